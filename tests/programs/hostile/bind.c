/* A folder of the host on /bound, mounted read-only: written to, and what it holds used. */
#include "hostile.h"
#include <sys/mount.h>

#define FILE_OF "/bound/file"

static void write_it(void)
{
	char path[64];
	if (open(FILE_OF, O_WRONLY) >= 0) escaped("opened a file for writing");
	if (open(FILE_OF, O_RDONLY | O_TRUNC) >= 0 || !truncate(FILE_OF, 0)) escaped("emptied a file");
	if (open("/bound/new", O_WRONLY | O_CREAT, 0600) >= 0) escaped("made a file");
	if (open("/bound", O_RDWR | O_TMPFILE, 0600) >= 0) escaped("made a file without a name");
	if (!mkdir("/bound/folder", 0700)) escaped("made a folder");
	if (!symlink("x", "/bound/link")) escaped("made a link");
	if (!rename(FILE_OF, "/bound/other")) escaped("renamed a file");
	if (!unlink(FILE_OF)) escaped("removed a file");
	if (!chmod(FILE_OF, 0777)) escaped("changed a mode");
	if (!utimensat(AT_FDCWD, FILE_OF, 0, 0)) escaped("changed a time");
	int fd = open(FILE_OF, O_RDONLY);
	if (fd < 0) escaped("cannot even read");
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (open(path, O_RDWR) >= 0) escaped("opened a descriptor again for writing");
	if (!fchmod(fd, 0777)) escaped("changed a mode by descriptor");
	if (!mount(0, "/bound", 0, MS_REMOUNT | MS_BIND, 0)) escaped("mounted it writable");
	/* mount_setattr: clear MOUNT_ATTR_RDONLY. */
	uint64_t attr[4] = {0, 1, 0, 0};
	if (!syscall(SYS_mount_setattr, AT_FDCWD, "/bound", 0x8000, attr, sizeof attr)) escaped("made the mount writable");
	if (!umount2("/bound", MNT_DETACH)) escaped("took the mount away");
}

static void run_it(const char *path)
{
	pid_t pid = fork();
	if (!pid) {
		execl(path, path, "gained", (char *)0);
		_exit(7);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1) escaped("%s ran", path);
}

int main(int c, char **v)
{
	const char *what = c > 1 ? v[1] : "";
	if (!strcmp(what, "gained")) return geteuid() != getuid() || !strstr(v[0], "setuid");
	if (!strcmp(what, "write")) write_it();
	if (!strcmp(what, "device") && open("/bound/device", O_RDWR) >= 0) escaped("opened a device");
	if (!strcmp(what, "setuid")) run_it("/bound/setuid");
	if (!strcmp(what, "exec")) run_it("/bound/program");
	held();
}
