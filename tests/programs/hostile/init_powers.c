/* What pid 1 has left: capabilities, and calls that it does not need. */
#include "hostile.h"

int main(void)
{
	static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		const char *set = status_line("/proc/1/status", sets[i]);
		if (!*set) escaped("pid 1 has no status, so nothing was tried");
		if (strspn(set, "0") != strlen(set)) escaped("pid 1 holds %s %s", sets[i], set);
	}
	if (strcmp(status_line("/proc/1/status", "Seccomp"), "2")) escaped("pid 1 has no filter");
	if (strcmp(status_line("/proc/1/status", "NoNewPrivs"), "1")) escaped("pid 1 may gain");
	held();
}
