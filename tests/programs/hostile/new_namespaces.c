/* Nested namespaces: user namespaces open kernel code that was meant for root. */
#include "hostile.h"
#include <linux/sched.h>

static int is_refused(long answer) { return answer < 0 && (errno == EPERM || errno == ENOSYS); }

int main(void)
{
	static const struct { const char *name; int flag; } all[] = {
		{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET},
		{"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct clone_args args = {.flags = all[i].flag, .exit_signal = SIGCHLD};
		long pid = syscall(SYS_clone, all[i].flag | SIGCHLD, 0, 0, 0, 0);
		if (!pid) _exit(0);
		if (!is_refused(pid)) escaped("clone made a %s namespace", all[i].name);
		pid = syscall(SYS_clone3, &args, sizeof args);
		if (!pid) _exit(0);
		if (!is_refused(pid)) escaped("clone3 made a %s namespace", all[i].name);
		if (!is_refused(unshare(all[i].flag))) escaped("unshare made a %s namespace", all[i].name);
	}
	held();
}
