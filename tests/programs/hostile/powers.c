/* Capabilities after exec: a file that its mode closes even to its owner, and what /proc says; of
 * the bounding set too, unless argv[1] is "effective". */
#include "hostile.h"

int main(int c, char **v)
{
	int fd = open("/closed", O_WRONLY | O_CREAT | O_CLOEXEC, 0);
	if (fd < 0) escaped("no file could be made, so nothing was tried: %m");
	close(fd);
	if (open("/closed", O_RDONLY | O_CLOEXEC) >= 0) escaped("a file of mode 000 opens: CAP_DAC_OVERRIDE");
	static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"};
	for (int i = 0; i < (c > 1 && !strcmp(v[1], "effective") ? 4 : 5); i++) {
		const char *set = status_line("/proc/self/status", sets[i]);
		if (strspn(set, "0") != strlen(set)) escaped("%s is %s", sets[i], set);
	}
	held();
}
