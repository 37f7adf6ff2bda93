/* Typing into a terminal as if its user had: TIOCSTI, also with bits above the 32 that the kernel
 * reads, TIOCLINUX and TIOCSETD, on a pty of one's own. */
#include "hostile.h"
#include <termios.h>

int main(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), zero = 0;
	if (master < 0 || unlockpt(master)) escaped("no pty, so nothing was tried: %m");
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	if (slave < 0) escaped("no pty, so nothing was tried: %m");
	pid_t pid = fork();
	if (!pid) {
		char byte = 'x';
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		if (!syscall(SYS_ioctl, slave, 0x5412L, &byte)) _exit(1);
		if (!syscall(SYS_ioctl, slave, 0x100005412L, &byte)) _exit(2);
		if (syscall(SYS_ioctl, slave, 0x541cL, &zero) >= 0 || errno != EPERM) _exit(3);
		if (!syscall(SYS_ioctl, slave, 0x5423L, &zero)) _exit(4);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	if (status) escaped("terminal request %d was answered", WEXITSTATUS(status));
	held();
}
