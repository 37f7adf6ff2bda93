/* A process that outlives its run: twice forked, in a session of its own, deaf to signals. argv[1]
 * is "stay" if the first process stays too. */
#include "hostile.h"

int main(int c, char **v)
{
	if (!fork()) {
		setsid();
		for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
		if (fork()) _exit(0);
		close(0); close(1); close(2);
		for (;;) pause();
	}
	wait(0);
	printf("held\n");
	fflush(stdout);
	while (c > 1 && !strcmp(v[1], "stay")) pause();
	return 0;
}
