/* io_uring: a ring does what seccomp and Landlock never see. */
#include "hostile.h"

int main(void)
{
	char params[256] = {0};
	if (syscall(SYS_io_uring_setup, 1, params) >= 0) escaped("a ring was made");
	if (errno != ENOSYS && errno != EPERM) escaped("io_uring was reached: %m");
	held();
}
