/* Files of /proc about the whole machine: any byte of any of them. */
#include "hostile.h"
#include <dirent.h>

int main(void)
{
	static const char *const files[] = {"interrupts", "timer_list", "kallsyms", "keys", "key-users", "config.gz",
					    "iomem", "modules", "cmdline", "kcore", "kmsg", "sched_debug"};
	static const char *const folders[] = {"irq", "bus", "fs", "acpi", "scsi", "pressure"};
	char path[64], text[64];
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "/proc/%s", files[i]);
		if (slurp(path, text, sizeof text) > 0) escaped("%s reads", path);
	}
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		snprintf(path, sizeof path, "/proc/%s", folders[i]);
		DIR *d = opendir(path);
		struct dirent *e;
		while (d && (e = readdir(d)))
			if (e->d_name[0] != '.') escaped("%s holds %s", path, e->d_name);
	}
	struct stat s;
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && !fstat(fd, &s) && !S_ISCHR(s.st_mode)) escaped("sysrq-trigger opens for writing");
	held();
}
