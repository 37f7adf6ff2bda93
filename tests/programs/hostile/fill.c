/* Using up a file system: bytes up to argv[2] MiB, then files up to argv[3], in the folder argv[1]. */
#include "hostile.h"

int main(int c, char **v)
{
	static char block[1 << 20];
	char path[4096];
	if (c != 4) escaped("fill FOLDER MIB FILES");
	long mib = atol(v[2]), files = atol(v[3]), n;
	snprintf(path, sizeof path, "%s/big", v[1]);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0) escaped("nothing could be written, so nothing was tried: %m");
	for (n = 0; n < mib; n++)
		if (write(fd, block, sizeof block) != sizeof block) break;
	if (n == mib) escaped("%ld MiB written, and no end", n);
	close(fd);
	unlink(path);
	for (n = 0; n < files; n++) {
		snprintf(path, sizeof path, "%s/%ld", v[1], n);
		if (mknod(path, S_IFREG | 0600, 0)) break;
	}
	if (n == files) escaped("%ld files made, and no end", n);
	held();
}
