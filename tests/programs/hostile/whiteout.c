/* Devices: a whiteout, which takes no privilege, and real ones, which do. */
#include "hostile.h"
#include <sys/sysmacros.h>

int main(void)
{
	static const char *const places[] = {"/tmp", "/dev/shm", "/dev", "/"};
	char path[64];
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, sizeof path, "%s/node", places[i]);
		if (!mknod(path, S_IFCHR | 0600, makedev(0, 0))) escaped("made a whiteout in %s", places[i]);
		if (!mknod(path, S_IFCHR | 0600, makedev(1, 1))) escaped("made /dev/mem in %s", places[i]);
		if (!mknod(path, S_IFBLK | 0600, makedev(8, 0))) escaped("made a disk in %s", places[i]);
	}
	held();
}
