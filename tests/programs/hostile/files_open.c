/* A flood of descriptors, stopped by itself at argv[1]. */
#include "hostile.h"

int main(int c, char **v)
{
	int most = c > 1 ? atoi(v[1]) : 2000;
	struct rlimit l;
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	for (int n = 0; n < most; n++)
		if (dup(0) < 0) held();
	escaped("%d descriptors, and no end", most);
}
