/* RLIMIT_CORE: at 1 a crash reaches no core handler, at 0 a piped one still runs (core(5)). */
#include "hostile.h"

int main(void)
{
	struct rlimit l, to[] = {{0, 0}, {RLIM_INFINITY, RLIM_INFINITY}};
	getrlimit(RLIMIT_CORE, &l);
	if (l.rlim_cur != 1 || l.rlim_max != 1) escaped("a crash would reach the host's core handler");
	for (int i = 0; i < 2; i++) {
		setrlimit(RLIMIT_CORE, &to[i]);
		prlimit(0, RLIMIT_CORE, &to[i], 0);
		getrlimit(RLIMIT_CORE, &l);
		if (l.rlim_cur != 1) escaped("the limit could be moved: a crash reaches the host's core handler");
	}
	held();
}
