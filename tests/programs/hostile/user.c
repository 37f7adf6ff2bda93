/* USER: argv[1] is the uid that this must run as. */
#include "hostile.h"

int main(int c, char **v)
{
	uid_t want = c > 1 ? atoi(v[1]) : 0;
	if (getuid() != want || geteuid() != want) escaped("runs as uid %d", getuid());
	if (getgid() == 0 && want) escaped("runs with gid 0");
	held();
}
