/* What a device is and does: for each argument `PATH MAJOR:MINOR open|closed answers|REFUSED`. */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int main(int c, char **v)
{
	for (int i = 1; i < c; i++) {
		struct stat s;
		int count;
		if (stat(v[i], &s) || !S_ISCHR(s.st_mode)) {
			printf("%s is none\n", v[i]);
			continue;
		}
		int fd = open(v[i], O_RDWR);
		const char *answer = fd < 0 ? "-" : !ioctl(fd, RNDGETENTCNT, &count) ? "answers" : errno == EACCES ? "refused" : "else";
		printf("%s %u:%u %s %s\n", v[i], major(s.st_rdev), minor(s.st_rdev), fd < 0 ? "closed" : "open", answer);
	}
	return 0;
}
