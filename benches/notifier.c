/* notifier.c - the least that telling of a refused call takes.
 *
 *   notifier [-s] COMMAND [ARG...]
 *
 * Installs a filter that hands unshare(2) to a listener, lets a child hand the listener over and become
 * COMMAND, and answers EPERM to each call until no process is left. It looks at nothing and counts
 * nothing: what lazaret adds to a refused call is measured against it in the same run. With -s, the
 * kernel wakes whoever waits on the same processor (SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call) do { if ((long)(call) < 0) { perror("notifier: " #call); _exit(125); } } while (0)
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static int listener(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		       SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
}

int main(int argc, char **argv)
{
	int pair[2], fd, status;
	char byte = 0, space[CMSG_SPACE(sizeof fd)] = {0};
	struct iovec io = {&byte, 1};
	struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	int sync = argc > 1 && !strcmp(argv[1], "-s");
	argc -= sync, argv += sync;
	if (argc < 2) return 125;
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	pid_t child = fork();
	MUST(child);
	if (!child) {
		MUST(fd = listener());
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
		MUST(sendmsg(pair[1], &message, 0));
		close(fd);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	MUST(recvmsg(pair[0], &message, MSG_CMSG_CLOEXEC));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	if (sync) MUST(ioctl(fd, _IOW('!', 4, __u64), 1UL)); /* SECCOMP_IOCTL_NOTIF_SET_FLAGS */
	for (;;) {
		struct pollfd ready = {fd, POLLIN, 0};
		struct seccomp_notif got = {0};
		if (poll(&ready, 1, -1) < 0 || !(ready.revents & POLLIN)) break;
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &got)) continue;
		struct seccomp_notif_resp answer = {.id = got.id, .error = -EPERM};
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT) break;
	}
	MUST(waitpid(child, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
