/* The host's name: argv[1] is the name that the cell was given. */
#include "hostile.h"
#include <sys/utsname.h>

int main(int c, char **v)
{
	struct utsname u;
	if (uname(&u) || c < 2) escaped("nothing was tried");
	if (strcmp(u.nodename, v[1])) escaped("the host is called %s", u.nodename);
	held();
}
