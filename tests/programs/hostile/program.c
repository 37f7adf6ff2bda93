/* The host's program behind the links of /proc (CVE-2019-5736): opened for writing, or executed. */
#include "hostile.h"

int main(int c, char **v)
{
	(void)c;
	char path[64], link[256];
	struct stat own, root;
	if (stat("/proc/self/exe", &own) || stat(v[0], &root)) escaped("nothing was tried: %m");
	if (own.st_ino != root.st_ino) escaped("/proc/self/exe is not this program");
	for (int pid = 1; pid < 64; pid++) {
		snprintf(path, sizeof path, "/proc/%d/exe", pid);
		if (pid == getpid()) continue;
		if (open(path, O_RDONLY) >= 0) escaped("%s opens", path);
		if (open(path, O_WRONLY) >= 0) escaped("%s opens for writing", path);
		if (readlink(path, link, sizeof link) >= 0) escaped("%s can be read", path);
	}
	held();
}
