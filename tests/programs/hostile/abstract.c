/* The network namespace, and where it is shared Landlock's scope: an abstract socket of the host,
 * argv[1] is its name. */
#include "hostile.h"
#include <stddef.h>
#include <sys/un.h>

int main(int c, char **v)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *name = c > 1 ? v[1] : "";
	strncpy(to.sun_path + 1, name, sizeof to.sun_path - 2);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	if (s < 0) escaped("no socket, so nothing was tried: %m");
	if (!connect(s, (void *)&to, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)))
		escaped("connected to the host's abstract socket %s", name);
	held();
}
