/* denied.c - makes system calls that a cell refuses, and prints what each got.
 *
 *   sys NR ARG... [, NR ARG...]...     "NR ERRNO" for each; an ARG @TEXT is a string
 *   flood THREADS COUNT NR [OTHER]     each thread makes COUNT calls with other arguments each time, and
 *                                      OTHER(5) is made once, beside them
 *   loop MILLISECONDS NR               one call that often, for ever, after "ready"
 *   time COUNT NR                      nanoseconds of a call
 *   thread|child|vfork|orphan NR       one call from there
 *   user UID NR                        one call from a child that became that user
 *   hidden NR                          one call after PR_SET_DUMPABLE 0 and a hostile thread name
 *   listener                           a filter of one's own with a listener: ERRNO
 *   over NR ERRNO                      one call under an ERRNO filter of one's own on top
 *   signals COUNT NR                   calls under a storm of signals: how many got another errno
 *   fds                                what /proc/self/fd says beyond 2
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long number(const char *text) { return text[0] == '@' ? (long)(text + 1) : (long)strtoull(text, 0, 0); }

static int call(long nr)
{
	errno = 0;
	long answer = syscall(nr, 0x10000000L, 0, 0, 0, 0, 0);
	return answer == -1 ? errno : 0;
}

static void say(long nr, int error) { printf("%ld %d\n", nr, error); fflush(stdout); }

static int sys(int c, char **v)
{
	for (int i = 0; i < c; i++) {
		long a[7] = {0};
		for (int n = 0; i < c && strcmp(v[i], ","); i++) if (n < 7) a[n++] = number(v[i]);
		errno = 0;
		long answer = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
		say(a[0], answer == -1 ? errno : 0);
	}
	return 0;
}

static long many, which;
static void *flood(void *start)
{
	long wrong = 0;
	for (long i = 0; i < many; i++) {
		errno = 0;
		if (syscall(which, (long)start * many + i, 0, 0, 0, 0, 0) != -1 || !errno) wrong++;
	}
	return (void *)wrong;
}

static void *once(void *nr) { say((long)nr, call((long)nr)); return 0; }

static volatile sig_atomic_t ticks;
static void tick(int s) { (void)s; ticks++; }

static int install(unsigned flags, long nr, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0 ? errno : 0;
}

int main(int c, char **v)
{
	if (c < 2) return 2;
	const char *what = v[1];
	long nr = c > 2 ? number(v[c - 1]) : 0;
	if (!strcmp(what, "sys")) return sys(c - 2, v + 2);
	if (!strcmp(what, "flood")) {
		int threads = atoi(v[2]);
		pthread_t all[64];
		many = atol(v[3]), which = number(v[4]);
		for (long i = 0; i < threads; i++) if (pthread_create(all + i, 0, flood, (void *)i)) return 3;
		long wrong = 0;
		if (c > 5 && (syscall(number(v[5]), 5L, 0, 0, 0, 0, 0) != -1 || !errno)) wrong++;
		for (int i = 0; i < threads; i++) { void *w; pthread_join(all[i], &w); wrong += (long)w; }
		printf("wrong %ld\n", wrong);
		return 0;
	}
	if (!strcmp(what, "loop")) {
		printf("ready\n"), fflush(stdout);
		for (;;) { call(nr); usleep(atoi(v[2]) * 1000); }
	}
	if (!strcmp(what, "time")) {
		long count = atol(v[2]);
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (long i = 0; i < count; i++) call(nr);
		clock_gettime(CLOCK_MONOTONIC, &b);
		printf("%ld\n", ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec) / count);
		return 0;
	}
	if (!strcmp(what, "thread")) {
		pthread_t t;
		if (pthread_create(&t, 0, once, (void *)nr)) return 3;
		pthread_join(t, 0);
		return 0;
	}
	if (!strcmp(what, "child") || !strcmp(what, "user")) {
		if (!fork()) {
			if (!strcmp(what, "user") && setuid(atoi(v[2]))) { printf("setuid %d\n", errno); fflush(stdout); _exit(4); }
			once((void *)nr);
			_exit(0);
		}
		wait(0);
		return 0;
	}
	if (!strcmp(what, "vfork")) {
		static volatile int error;
		if (!vfork()) { error = call(nr); _exit(0); }
		wait(0);
		say(nr, error);
		return 0;
	}
	if (!strcmp(what, "orphan")) {
		int p[2];
		if (pipe(p)) return 3;
		if (!fork()) {
			pid_t parent = getpid();
			if (!fork()) {
				while (getppid() == parent) usleep(1000);
				once((void *)nr);
				_exit(0);
			}
			_exit(0);
		}
		wait(0);
		close(p[1]);
		char b;
		return read(p[0], &b, 1) ? 3 : 0;
	}
	if (!strcmp(what, "hidden")) {
		prctl(PR_SET_DUMPABLE, 0);
		prctl(PR_SET_NAME, "\033[2Jevil\n");
		once((void *)nr);
		return 0;
	}
	if (!strcmp(what, "listener")) {
		printf("%d\n", install(SECCOMP_FILTER_FLAG_NEW_LISTENER, 4001, 1));
		return 0;
	}
	if (!strcmp(what, "over")) {
		long over = number(v[2]);
		if (install(0, over, atoi(v[3]))) return 3;
		say(over, call(over));
		return 0;
	}
	if (!strcmp(what, "signals")) {
		struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
		struct itimerval often = {{0, 100}, {0, 100}};
		sigaction(SIGALRM, &action, 0);
		setitimer(ITIMER_REAL, &often, 0);
		long other = 0;
		for (long i = 0; i < atol(v[2]); i++) if (call(nr) != EPERM) other++;
		printf("other %ld ticks %s\n", other, ticks > 0 ? "some" : "none");
		return 0;
	}
	if (!strcmp(what, "fds")) {
		DIR *dir = opendir("/proc/self/fd");
		for (struct dirent *e; (e = readdir(dir)); ) {
			char link[256];
			int fd = atoi(e->d_name);
			ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof link - 1);
			if (e->d_name[0] == '.' || fd <= 2 || fd == dirfd(dir)) continue;
			link[n > 0 ? n : 0] = 0;
			printf("%d %s\n", fd, link);
		}
		for (int fd = 3; fd < 4096; fd++) {
			/* SECCOMP_IOCTL_NOTIF_ID_VALID: ENOTTY or EBADF of what is no listener. */
			unsigned long id = 0;
			if (!syscall(SYS_ioctl, fd, 0x40082102UL, &id) || (errno != EBADF && errno != ENOTTY)) printf("listener %d\n", fd);
		}
		printf("done\n");
		return 0;
	}
	return 2;
}
