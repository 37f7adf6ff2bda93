/* The network namespace: a listener on the host's loopback, argv[1] is its port. */
#include "hostile.h"
#include <arpa/inet.h>
#include <netinet/in.h>

int main(int c, char **v)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c > 1 ? atoi(v[1]) : 0)};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0) escaped("no socket, so nothing was tried: %m");
	if (!connect(s, (void *)&to, sizeof to)) escaped("connected to the host's 127.0.0.1:%s", v[1]);
	held();
}
