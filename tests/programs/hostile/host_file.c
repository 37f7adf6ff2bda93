/* The host's files: argv[1] by its name, upwards from here, and through every process. */
#include "hostile.h"

int main(int c, char **v)
{
	static const char *const ways[] = {"", "/..", "/../../../..", "/proc/1/root", "/proc/self/root/..", "/proc/self/cwd/../.."};
	char path[4096], text[64] = "";
	for (size_t i = 0; c > 1 && i < sizeof ways / sizeof *ways; i++) {
		snprintf(path, sizeof path, "%s%s", ways[i], v[1]);
		if (slurp(path, text, sizeof text) >= 0) escaped("%s reads %s", path, text);
	}
	held();
}
