/* Entries around the filter: i386's int 0x80 and the x32 numbers. Whoever takes one must die. */
#include "hostile.h"

static void try(const char *name, int x32)
{
	pid_t pid = fork();
	if (!pid) {
		long answer = -1;
#ifdef __x86_64__
		if (x32) answer = syscall(0x40000000 + SYS_getpid);
		else __asm__ volatile("int $0x80" : "=a"(answer) : "a"(20L) : "r8", "r9", "r10", "r11", "memory");
#else
		(void)x32;
#endif
		_exit(answer == getpid() ? 1 : 0);
	}
	int status;
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1) escaped("the %s entry answers", name);
}

int main(void)
{
	try("i386", 0);
	try("x32", 1);
	held();
}
