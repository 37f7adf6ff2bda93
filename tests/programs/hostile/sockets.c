/* Socket families and protocols beyond local, IP and routes; also with high bits set. */
#include "hostile.h"

static void try(const char *name, long family, long type, long protocol)
{
	long s = syscall(SYS_socket, family, type, protocol);
	if (s >= 0) escaped("a socket of %s", name);
	if (errno != EAFNOSUPPORT && errno != EPROTONOSUPPORT && errno != ESOCKTNOSUPPORT && errno != EPERM && errno != EACCES)
		escaped("%s was reached: %m", name);
}

int main(void)
{
	static const int ordinary[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
	char name[32];
	for (int family = 0; family < 64; family++) {
		int skip = 0;
		for (int i = 0; i < 4; i++) skip |= family == ordinary[i];
		snprintf(name, sizeof name, "family %d", family);
		for (int type = 1; type <= 5 && !skip; type++) try(name, family, type, 0);
	}
	for (int protocol = 1; protocol <= 22; protocol++) {
		snprintf(name, sizeof name, "netlink %d", protocol);
		try(name, AF_NETLINK, SOCK_RAW, protocol);
	}
	try("MPTCP", AF_INET, SOCK_STREAM, 262);
	try("MPTCP, high bits", AF_INET, SOCK_STREAM, (1L << 32) | 262);
	try("raw", AF_INET, SOCK_RAW, 255);
	try("packet, high bits", (1L << 32) | AF_PACKET, SOCK_RAW, 0);
	try("SCTP", AF_INET, SOCK_SEQPACKET, 132);
	int pair[2];
	if (!syscall(SYS_socketpair, 30, SOCK_SEQPACKET, 0, pair)) escaped("a pair of TIPC");
	held();
}
