/* hostile.h - what the hostile programs share. Each tries one thing against one defence and ends
 * with one line: `ESCAPED: how` (exit 1) or `held` (exit 0). Anything else is a broken program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 1, 2), unused)) static void escaped(const char *how, ...)
{
	va_list args;
	va_start(args, how);
	printf("ESCAPED: ");
	vprintf(how, args);
	printf("\n");
	va_end(args);
	exit(1);
}

__attribute__((noreturn, unused)) static void held(void)
{
	printf("held\n");
	exit(0);
}

/* The start of a file, or -1. */
__attribute__((unused)) static ssize_t slurp(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return -1;
	ssize_t n = read(fd, to, size - 1);
	close(fd);
	to[n > 0 ? n : 0] = 0;
	return n;
}

/* A line `key:\tvalue` of a status file of /proc, as text; empty if absent. */
__attribute__((unused)) static const char *status_line(const char *path, const char *key)
{
	static char text[8192], value[256];
	value[0] = 0;
	if (slurp(path, text, sizeof text) <= 0) return value;
	for (char *line = strtok(text, "\n"); line; line = strtok(0, "\n")) {
		size_t n = strlen(key);
		if (!strncmp(line, key, n) && line[n] == ':') {
			snprintf(value, sizeof value, "%s", line + n + 1 + strspn(line + n + 1, " \t"));
			break;
		}
	}
	return value;
}
