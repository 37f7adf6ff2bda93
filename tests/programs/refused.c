/* refused.c - does what a kernel refuses in a cell, and prints the errno of each, or 0.
 *
 *   WHAT ARG..., [WHAT ARG...]...
 *     read|write|make PATH         open it to read, to write, or anew
 *     at FOLDER NAME               open it to read, from a descriptor of the folder
 *     here FOLDER NAME             the same, from the working directory
 *     exec PATH                    execute it in a child
 *     mkdir|unlink|symlink|fifo|utime|truncate PATH, rename|link PATH TO
 *     chmod PATH, chown PATH UID
 *     setuid|setgid|setgroups ID
 *     connect|bind|send HOST PORT  over TCP; send is UDP
 *     unix PATH|@NAME              connect to it
 *     socket PATH                  bind it
 *     descriptor PATH              owner, mode and times of it by a descriptor
 *     far FOLDER                   makes FOLDER/a/b/file, goes to b, closes a, and reads file from there
 *     made FOLDER                  makes FOLDER/file of mode 0 and reads it
 *     filter                       getppid under a filter of our own that hands it to a watcher
 *     crowd COUNT PATH             that many threads open it for ever, and we ten times
 *     drive PATH                   ask its driver for something that there is not (ioctl 0x1234)
 *     kill UID                     kill a child that became that user
 *     untraced PATH                open it in a child that asks not to be watched (CLONE_UNTRACED)
 *     thread PATH                  open it in a thread
 *     vfork PATH                   open it in a vforked child
 *     change PATH                  a thread replaces the whole process by PATH, with "read /dev/kvm"
 *     flood COUNT PATH             open PATH0, PATH1...: how many were there
 *     race COUNT PATH              open a path that another thread changes meanwhile
 *     stop                         stop ourselves, then 0
 *     ready                        says so and sleeps
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);
	return fd < 0 ? errno : (close(fd), 0);
}

static int inet(const char *what, const char *host, int port)
{
	union { struct sockaddr any; struct sockaddr_in four; struct sockaddr_in6 six; } to = {0};
	socklen_t size = sizeof to.four;
	to.four.sin_family = AF_INET, to.four.sin_port = htons(port);
	if (inet_pton(AF_INET, host, &to.four.sin_addr) != 1) {
		to.six.sin6_family = AF_INET6, to.six.sin6_port = htons(port), size = sizeof to.six;
		if (inet_pton(AF_INET6, host, &to.six.sin6_addr) != 1) return 255;
	}
	int s = socket(to.any.sa_family, (*what == 's' ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (s < 0) return 254;
	int answer = *what == 'c' ? connect(s, &to.any, size) : *what == 'b' ? bind(s, &to.any, size)
		: (int)sendto(s, "x", 1, 0, &to.any, size);
	int error = answer < 0 ? errno : 0;
	close(s);
	return error;
}

static int local(int made, const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t n = strlen(name);
	memcpy(at.sun_path, name, n);
	if (*name == '@') at.sun_path[0] = 0;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int (*act)(int, const struct sockaddr *, socklen_t) = made ? bind : connect;
	int error = act(s, (struct sockaddr *)&at, offsetof(struct sockaddr_un, sun_path) + n + (*name != '@')) ? errno : 0;
	close(s);
	return error;
}

static int in_child(int (*act)(const char *), const char *path)
{
	int status;
	pid_t child = fork();
	if (!child) _exit(act(path));
	return waitpid(child, &status, 0) < 0 ? 253 : WEXITSTATUS(status);
}

static int execute(const char *path) { return execl(path, path, NULL) ? errno : 0; }

static void *in_thread(void *path) { return (void *)(long)opened(path, O_RDONLY); }
static void *change(void *path) { execl(path, path, "read", "/dev/kvm", NULL); return 0; }

static void *crowd(void *path) { for (;;) opened(path, O_RDONLY); return 0; }

static char raced[64];
static volatile int racing;
static void *race(void *path)
{
	while (racing) strcpy(raced, path), strcpy(raced, "/dev/null");
	return 0;
}

static int act(char **v)
{
	const char *what = v[0], *a = v[1], *b = a ? v[2] : NULL;
#define IS(name) !strcmp(what, name)
#define GOT(answer) ((answer) < 0 ? errno : 0)
	if (IS("read")) return opened(a, O_RDONLY);
	if (IS("write")) return opened(a, O_WRONLY);
	if (IS("make")) return opened(a, O_WRONLY | O_CREAT | O_TRUNC);
	if (IS("at")) { int d = open(a, O_PATH | O_CLOEXEC), e = GOT(openat(d, b, O_RDONLY)); close(d); return e; }
	if (IS("here")) return chdir(a) ? 252 : opened(b, O_RDONLY);
	if (IS("exec")) return in_child(execute, a);
	if (IS("mkdir")) return GOT(mkdir(a, 0755));
	if (IS("unlink")) return GOT(unlink(a));
	if (IS("symlink")) return GOT(symlink("to", a));
	if (IS("fifo")) return GOT(mkfifo(a, 0600));
	if (IS("utime")) return GOT(utimensat(AT_FDCWD, a, NULL, 0));
	if (IS("truncate")) return GOT(truncate(a, 0));
	if (IS("rename")) return GOT(rename(a, b));
	if (IS("link")) return GOT(link(a, b));
	if (IS("chmod")) return GOT(chmod(a, 0711));
	if (IS("chown")) return GOT(chown(a, atoi(b), -1));
	if (IS("setuid")) return GOT(setuid(atoi(a)));
	if (IS("setgid")) return GOT(setgid(atoi(a)));
	if (IS("setgroups")) { gid_t g = atoi(a); return GOT(setgroups(1, &g)); }
	if (IS("connect") || IS("bind") || IS("send")) return inet(what, a, atoi(b));
	if (IS("unix")) return local(0, a);
	if (IS("socket")) return local(1, a);
	if (IS("descriptor")) {
		int d = open(a, O_RDWR | O_CLOEXEC), e = d < 0 ? errno : GOT(fchown(d, 12, 12));
		if (!e) e = GOT(fchmod(d, 0640));
		if (!e) e = GOT(futimens(d, (struct timespec[2]){{1, 0}, {1, 0}}));
		return close(d), e;
	}
	if (IS("far")) {
		char path[4096];
		if (mkdir(a, 0700) || chdir(a) || mkdir("a", 0700) || mkdir("a/b", 0700) || chdir("a/b")) return 247;
		snprintf(path, sizeof path, "%s/a", a);
		int e = opened("file", O_WRONLY | O_CREAT);
		if (e || chmod(path, 0)) return 246;
		return opened("file", O_RDONLY);
	}
	if (IS("made")) {
		char path[4096];
		snprintf(path, sizeof path, "%s/file", a);
		int d = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0);
		return d < 0 ? 245 : (close(d), opened(path, O_RDONLY));
	}
	if (IS("filter")) {
		struct sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 7),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog program = {sizeof code / sizeof *code, code};
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) return 244;
		return GOT(syscall(SYS_getppid));
	}
	if (IS("crowd")) {
		pthread_t t;
		for (int i = 0; i < atoi(a); i++) if (pthread_create(&t, 0, crowd, (void *)b)) return 243;
		usleep(100000);
		for (int i = 0; i < 10; i++) opened(b, O_RDONLY);
		return 0;
	}
	if (IS("drive")) { int d = open(a, O_RDONLY | O_CLOEXEC), e = d < 0 ? errno : GOT(ioctl(d, 0x1234, 0)); close(d); return e; }
	if (IS("kill")) {
		int p[2], status;
		char b = 0;
		if (pipe(p)) return 249;
		pid_t child = fork();
		if (!child) { b = setuid(atoi(a)) ? errno : 0; if (write(p[1], &b, 1) == 1 && !b) for (;;) pause(); _exit(1); }
		if (read(p[0], &b, 1) != 1 || b) return 248;
		int e = GOT(kill(child, SIGTERM));
		kill(child, SIGKILL);
		waitpid(child, &status, WNOHANG);
		return e;
	}
	if (IS("untraced")) {
		int status;
		pid_t child = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0L, 0L, 0L, 0L);
		if (child < 0) return errno;
		if (!child) _exit(opened(a, O_RDONLY));
		waitpid(child, &status, 0);
		return WEXITSTATUS(status);
	}
	if (IS("thread")) {
		pthread_t t;
		void *e;
		if (pthread_create(&t, 0, in_thread, (void *)a)) return 251;
		pthread_join(t, &e);
		return (int)(long)e;
	}
	if (IS("vfork")) {
		int status;
		pid_t child = vfork();
		if (!child) _exit(opened(a, O_RDONLY));
		waitpid(child, &status, 0);
		return WEXITSTATUS(status);
	}
	if (IS("change")) {
		pthread_t t;
		fflush(stdout);
		if (pthread_create(&t, 0, change, (void *)a)) return 251;
		for (;;) pause();
	}
	if (IS("flood")) {
		int there = 0;
		for (int i = 0; i < atoi(a); i++) {
			char path[4096];
			snprintf(path, sizeof path, "%s%d", b, i);
			there += !opened(path, O_RDONLY);
		}
		return there;
	}
	if (IS("race")) {
		pthread_t t;
		racing = 1;
		if (pthread_create(&t, 0, race, (void *)b)) return 251;
		for (int i = 0; i < atoi(a); i++) opened(raced, O_RDONLY);
		racing = 0;
		pthread_join(t, 0);
		return 0;
	}
	if (IS("stop")) return raise(SIGSTOP);
	if (IS("ready")) { printf("ready\n"), fflush(stdout); for (;;) pause(); }
	return 250;
}

int main(int c, char **v)
{
	for (int i = 1; i < c; i++) {
		char **from = v + i;
		while (i < c && strcmp(v[i], ",")) i++;
		if (i < c) v[i] = NULL;
		printf("%d\n", act(from));
		fflush(stdout);
	}
	return 0;
}
