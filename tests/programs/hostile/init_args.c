/* pid 1's command line, which everybody may read: it was the launcher's. */
#include "hostile.h"

int main(void)
{
	char text[4096];
	ssize_t n = slurp("/proc/1/cmdline", text, sizeof text);
	for (ssize_t i = 0; i < n; i++)
		if (text[i]) escaped("pid 1 was started as %s ...", text + i);
	held();
}
