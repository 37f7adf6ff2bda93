/* pid 1's environment, memory, root and descriptors: the host's program and the host's words. */
#include "hostile.h"

int main(void)
{
	static const char *const files[] = {"environ", "maps", "mem", "auxv", "io", "ns/mnt", "ns/net"};
	static const char *const links[] = {"root", "cwd", "exe", "fd/0", "ns/user"};
	char path[64], text[64];
	if (getpid() == 1) escaped("this is pid 1");
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "/proc/1/%s", files[i]);
		if (open(path, O_RDONLY | O_CLOEXEC) >= 0) escaped("%s opens", path);
	}
	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		snprintf(path, sizeof path, "/proc/1/%s", links[i]);
		if (readlink(path, text, sizeof text) >= 0) escaped("%s can be followed", path);
	}
	if (open("/proc/1/exe", O_WRONLY | O_CLOEXEC) >= 0) escaped("pid 1's program opens for writing");
	if (open("/proc/1/mem", O_RDWR | O_CLOEXEC) >= 0) escaped("pid 1's memory opens for writing");
	held();
}
