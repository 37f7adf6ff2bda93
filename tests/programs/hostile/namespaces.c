/* Which namespaces this is in: argv has links of the host's, `user:[4026531837]`; none may be here. */
#include "hostile.h"

int main(int c, char **v)
{
	static const char *const kinds[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
	char path[64], link[64];
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
		ssize_t n = readlink(path, link, sizeof link - 1);
		if (n < 0) escaped("%s has no link, so nothing was tried", path);
		link[n] = 0;
		for (int k = 1; k < c; k++)
			if (!strcmp(v[k], link)) escaped("shares %s with the host", link);
	}
	if (c < 8) escaped("nothing to compare with");
	held();
}
