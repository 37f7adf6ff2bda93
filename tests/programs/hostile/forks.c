/* A fork bomb, stopped by itself at argv[1] processes. */
#include "hostile.h"

int main(int c, char **v)
{
	static pid_t children[4096];
	int most = c > 1 ? atoi(v[1]) : 600, n = 0;
	if (most > 4096) most = 4096;
	for (; n < most; n++) {
		pid_t pid = fork();
		if (!pid) for (;;) pause();
		if (pid < 0) break;
		children[n] = pid;
	}
	for (int i = 0; i < n; i++) kill(children[i], SIGKILL);
	while (wait(0) > 0) {}
	if (n == most) escaped("%d processes, and no end", n);
	held();
}
