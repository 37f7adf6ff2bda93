/* Mounting with capabilities in hand: what is left then is the filter, and Landlock, which governs
 * the old calls only (argv[1] is "old"). */
#include "hostile.h"
#include <sys/mount.h>

int main(int c, char **v)
{
	int all = c < 2 || strcmp(v[1], "old");
	if (all && syscall(SYS_fsopen, "tmpfs", 1) >= 0) escaped("fsopen opened a file system");
	if (all && syscall(SYS_open_tree, -100, "/", 0x80001) >= 0) escaped("open_tree copied /");
	if (all && !chroot("/")) escaped("the root was changed");
	if (!mount("none", "/dev/shm", "tmpfs", 0, 0)) escaped("a tmpfs was mounted");
	if (!umount2("/proc/keys", MNT_DETACH)) escaped("a mask was taken off");
	held();
}
