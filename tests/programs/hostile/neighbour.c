/* Another cell of the same user: `neighbour serve NAME PORT` offers what it can, in every way that
 * processes meet; `neighbour reach NAME PORT` looks for it. */
#include "hostile.h"
#include <arpa/inet.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/un.h>

int main(int c, char **v)
{
	if (c != 4) escaped("neighbour serve|reach NAME PORT");
	int serve = !strcmp(v[1], "serve");
	struct sockaddr_in net = {.sin_family = AF_INET, .sin_port = htons(atoi(v[3]))};
	net.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	strncpy(name.sun_path + 1, v[2], sizeof name.sun_path - 2);
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(v[2]);
	int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
	char queue[128], file[128];
	snprintf(queue, sizeof queue, "/%s", v[2]);
	snprintf(file, sizeof file, "/dev/shm/%s", v[2]);
	key_t key = 0x1a2a3e7;
	if (serve) {
		if (bind(tcp, (void *)&net, sizeof net) || listen(tcp, 1)) escaped("no port to serve: %m");
		if (bind(local, (void *)&name, length) || listen(local, 1)) escaped("no socket to serve: %m");
		if (shmget(key, 4096, IPC_CREAT | 0666) < 0) escaped("no memory to serve: %m");
		if (msgget(key, IPC_CREAT | 0666) < 0) escaped("no queue to serve: %m");
		/* The mqueue root of an ipc namespace belongs to whoever made it, who has no id inside where
		 * ids are subordinate: EACCES then. */
		if (mq_open(queue, O_CREAT | O_RDWR, 0666, 0) < 0 && errno != EACCES)
			escaped("no POSIX queue to serve: %m");
		if (open(file, O_CREAT | O_RDWR, 0666) < 0) escaped("no file to serve: %m");
		printf("serving\n");
		fflush(stdout);
		for (;;) pause();
	}
	if (!connect(tcp, (void *)&net, sizeof net)) escaped("a neighbour's port answers");
	if (!connect(local, (void *)&name, length)) escaped("a neighbour's abstract socket answers");
	if (shmget(key, 0, 0) >= 0) escaped("a neighbour's shared memory is there");
	if (msgget(key, 0) >= 0) escaped("a neighbour's message queue is there");
	if (mq_open(queue, O_RDONLY) >= 0) escaped("a neighbour's POSIX queue is there");
	if (open(file, O_RDONLY) >= 0) escaped("a neighbour's file in /dev/shm is there");
	held();
}
