/* Processes outside: every pid that may be signalled or seen beside pid 1 and this one. */
#include "hostile.h"

int main(void)
{
	char path[64];
	for (int pid = 2; pid < 70000; pid++) {
		if (pid == getpid()) continue;
		if (!kill(pid, 0) || errno != ESRCH) escaped("pid %d is in reach", pid);
	}
	for (int pid = 2; pid < 70000; pid++) {
		snprintf(path, sizeof path, "/proc/%d", pid);
		if (pid != getpid() && !access(path, F_OK)) escaped("pid %d is in sight", pid);
	}
	if (!kill(-1, 0)) escaped("somebody else gets kill -1");
	if (!getsid(0)) escaped("the session's leader is outside");
	held();
}
