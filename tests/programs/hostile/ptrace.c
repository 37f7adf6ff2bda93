/* ptrace and its relatives, on a child of one's own: nothing in a cell needs them. */
#include "hostile.h"
#include <sys/ptrace.h>
#include <sys/uio.h>

int main(void)
{
	char here[8];
	struct iovec local = {here, sizeof here}, remote = {here, sizeof here};
	pid_t pid = fork();
	if (!pid) for (;;) pause();
	long traced = ptrace(PTRACE_SEIZE, pid, 0, 0);
	long read = syscall(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 0);
	long same = syscall(SYS_kcmp, getpid(), pid, 0, 0, 0);
	kill(pid, SIGKILL);
	if (!traced) escaped("a process was traced");
	if (read >= 0) escaped("a process's memory was read");
	if (same >= 0) escaped("kernel pointers were compared");
	held();
}
