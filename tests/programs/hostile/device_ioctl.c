/* Landlock: an ioctl of a device that the mounts leave in reach (RNDGETENTCNT of /dev/urandom). */
#include "hostile.h"
#include <linux/random.h>

int main(void)
{
	int count, fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0) escaped("no /dev/urandom, so nothing was tried: %m");
	if (!ioctl(fd, RNDGETENTCNT, &count)) escaped("a device driver answered");
	if (errno != EACCES) escaped("a device driver was reached: %m");
	held();
}
