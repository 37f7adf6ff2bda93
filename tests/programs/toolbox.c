/* toolbox.c - the one static program inside the tests' images: many small applets, no shell.
 *
 * Called by an applet's name (a link to it) or as `toolbox APPLET [ARG...]`. A failing call prints
 * "APPLET: ERRNO-NAME ARG" on stderr and exits 1. `all A x , B y` runs applets one after another.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static const char *applet = "toolbox";

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s %s\n", applet, strerrorname_np(errno), what);
	return 1;
}

static int put(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) return -1;
		p += done; n -= done;
	}
	return 0;
}

static int copy(int from, const char *name)
{
	char buf[65536];
	ssize_t n;
	while ((n = read(from, buf, sizeof buf)) > 0) if (put(1, buf, n)) return fail("stdout");
	return n < 0 ? fail(name) : 0;
}

static int do_true(int c, char **v) { (void)c; (void)v; return 0; }
static int do_false(int c, char **v) { (void)c; (void)v; return 1; }
static int do_exit(int c, char **v) { return c > 1 ? atoi(v[1]) : 0; }

static int do_echo(int c, char **v)
{
	for (int i = 1; i < c; i++) printf("%s%s", i > 1 ? " " : "", v[i]);
	printf("\n");
	return 0;
}

/* argv, one per line, between brackets */
static int do_args(int c, char **v)
{
	for (int i = 0; i < c; i++) printf("[%s]\n", v[i]);
	return 0;
}

static int do_env(int c, char **v)
{
	(void)c; (void)v;
	for (char **e = environ; *e; e++) printf("%s\n", *e);
	return 0;
}

static int do_id(int c, char **v)
{
	uid_t r, e, s; gid_t rg, eg, sg, groups[64];
	(void)c; (void)v;
	getresuid(&r, &e, &s); getresgid(&rg, &eg, &sg);
	printf("uid=%u,%u,%u gid=%u,%u,%u groups=", r, e, s, rg, eg, sg);
	int n = getgroups(64, groups);
	for (int i = 0; i < n; i++) printf("%s%u", i ? "," : "", groups[i]);
	printf("\n");
	return 0;
}

static int do_pwd(int c, char **v)
{
	char path[4096];
	(void)c; (void)v;
	if (!getcwd(path, sizeof path)) return fail(".");
	printf("%s\n", path);
	return 0;
}

static int do_cat(int c, char **v)
{
	int bad = 0;
	if (c < 2) return copy(0, "stdin");
	for (int i = 1; i < c; i++) {
		int fd = open(v[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0) { bad |= fail(v[i]); continue; }
		bad |= copy(fd, v[i]);
		close(fd);
	}
	return bad;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int do_ls(int c, char **v)
{
	struct dirent **list;
	int n = scandir(c > 1 ? v[1] : ".", &list, NULL, by_name);
	if (n < 0) return fail(c > 1 ? v[1] : ".");
	for (int i = 0; i < n; i++)
		if (strcmp(list[i]->d_name, ".") && strcmp(list[i]->d_name, "..")) printf("%s\n", list[i]->d_name);
	return 0;
}

/* type mode uid:gid size nlink [major:minor] [-> target] path */
static int do_stat(int c, char **v)
{
	int bad = 0;
	for (int i = 1; i < c; i++) {
		struct stat s;
		char target[4096];
		if (lstat(v[i], &s)) { bad |= fail(v[i]); continue; }
		const char *type = S_ISREG(s.st_mode) ? "file" : S_ISDIR(s.st_mode) ? "dir" : S_ISLNK(s.st_mode) ? "link"
			: S_ISCHR(s.st_mode) ? "char" : S_ISBLK(s.st_mode) ? "block" : S_ISFIFO(s.st_mode) ? "fifo" : "socket";
		printf("%s %04o %u:%u %lld %lu", type, s.st_mode & 07777, s.st_uid, s.st_gid, (long long)s.st_size, (unsigned long)s.st_nlink);
		if (S_ISCHR(s.st_mode) || S_ISBLK(s.st_mode)) printf(" %u:%u", major(s.st_rdev), minor(s.st_rdev));
		ssize_t n = S_ISLNK(s.st_mode) ? readlink(v[i], target, sizeof target - 1) : -1;
		if (n >= 0) { target[n] = 0; printf(" -> %s", target); }
		printf(" %s\n", v[i]);
	}
	return bad;
}

static int do_mounts(int c, char **v)
{
	char *w[] = {v[0], (char *)"/proc/self/mountinfo"};
	(void)c;
	return do_cat(2, w);
}

/* total size in bytes, total inodes, read-only? */
static int do_statfs(int c, char **v)
{
	struct statvfs s;
	if (c < 2 || statvfs(v[1], &s)) return fail(c < 2 ? "" : v[1]);
	printf("%llu %llu %s\n", (unsigned long long)s.f_blocks * s.f_frsize, (unsigned long long)s.f_files, s.f_flag & ST_RDONLY ? "ro" : "rw");
	return 0;
}

static int do_hostname(int c, char **v)
{
	struct utsname u;
	(void)c; (void)v;
	uname(&u);
	printf("%s\n", u.nodename);
	return 0;
}

static int do_kill_self(int c, char **v)
{
	int sig = c > 1 ? atoi(v[1]) : SIGKILL;
	signal(sig, SIG_DFL);
	kill(getpid(), sig);
	pause();
	return 1;
}

static int do_kill(int c, char **v)
{
	if (c < 3) return 2;
	return kill(atoi(v[1]), atoi(v[2])) ? fail(v[1]) : 0;
}

static int do_sleep(int c, char **v)
{
	double s = c > 1 ? atof(v[1]) : 1;
	struct timespec t = {(time_t)s, (long)((s - (time_t)s) * 1e9)};
	nanosleep(&t, NULL);
	return 0;
}

/* leaves a process in a session of its own, with our stdout and stderr, and goes */
static int do_linger(int c, char **v)
{
	pid_t pid = fork();
	if (pid < 0) return fail("fork");
	if (pid) { printf("left %d\n", pid); return 0; }
	setsid();
	for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
	do_sleep(c, v);
	return 0;
}

/* N bytes of 'x' to fd (1) */
static int do_write(int c, char **v)
{
	char buf[4096];
	long long n = c > 1 ? atoll(v[1]) : 1;
	int fd = c > 2 ? atoi(v[2]) : 1;
	memset(buf, 'x', sizeof buf);
	while (n > 0) {
		size_t part = n < (long long)sizeof buf ? (size_t)n : sizeof buf;
		if (put(fd, buf, part)) return fail("write");
		n -= part;
	}
	return 0;
}

static int do_tty(int c, char **v)
{
	char name[256];
	(void)c; (void)v;
	for (int fd = 0; fd < 3; fd++) {
		if (!isatty(fd)) printf("%d no\n", fd);
		else printf("%d %s\n", fd, ttyname_r(fd, name, sizeof name) ? "unnamed" : name);
	}
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	printf("controlling %s\n", tty >= 0 ? "yes" : strerrorname_np(errno));
	return 0;
}

static int do_winsize(int c, char **v)
{
	struct winsize w;
	(void)c; (void)v;
	if (ioctl(0, TIOCGWINSZ, &w)) return fail("TIOCGWINSZ");
	printf("%u %u\n", w.ws_row, w.ws_col);
	return 0;
}

static volatile sig_atomic_t seen[65];
static void note(int sig) { seen[sig] = 1; }

/* prints "ready", then "got N" per signal; ends with 40 at TERM. A WINCH prints the size too. */
static int do_signals(int c, char **v)
{
	static const int list[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH, SIGCONT, SIGALRM, SIGTSTP, SIGPIPE};
	sigset_t all, none;
	(void)c; (void)v;
	sigfillset(&all); sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (unsigned i = 0; i < sizeof list / sizeof *list; i++) signal(list[i], note);
	put(1, "ready\n", 6);
	while (1) {
		sigsuspend(&none);
		for (int s = 1; s < 65; s++) {
			char line[32];
			if (!seen[s]) continue;
			seen[s] = 0;
			put(1, line, snprintf(line, sizeof line, "got %d\n", s));
			if (s == SIGWINCH) do_winsize(1, v), fflush(stdout);
			if (s == SIGTERM) return 40;
		}
	}
}

static int do_fds(int c, char **v)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	(void)c; (void)v;
	if (!d) return fail("/proc/self/fd");
	while ((e = readdir(d))) {
		char target[4096];
		if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(d)) continue;
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
		if (n < 0) continue;
		target[n] = 0;
		printf("%s %s\n", e->d_name, target);
	}
	return 0;
}

static int do_put(int c, char **v)
{
	int fd = c < 3 ? -1 : open(v[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || put(fd, v[2], strlen(v[2])) || close(fd)) return fail(c < 2 ? "" : v[1]);
	return 0;
}

/* a file of N bytes */
static int do_fill(int c, char **v)
{
	char buf[65536];
	long long n = c > 2 ? atoll(v[2]) : 0;
	int fd = c < 3 ? -1 : open(v[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) return fail(c < 2 ? "" : v[1]);
	memset(buf, 'x', sizeof buf);
	for (; n > 0; n -= sizeof buf) if (put(fd, buf, n < (long long)sizeof buf ? (size_t)n : sizeof buf)) return fail(v[1]);
	return 0;
}

/* empty files DIR/0 ... until N or failure; prints how many */
static int do_many(int c, char **v)
{
	char path[4096];
	int i, n = c > 2 ? atoi(v[2]) : 0;
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/%d", v[1], i);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0) { fail(v[1]); break; }
		close(fd);
	}
	printf("%d\n", i);
	return i < n;
}

static int do_rm(int c, char **v)
{
	int bad = 0;
	for (int i = 1; i < c; i++) if (remove(v[i])) bad |= fail(v[i]);
	return bad;
}

static int do_mkdir(int c, char **v)
{
	int bad = 0;
	for (int i = 1; i < c; i++) if (mkdir(v[i], 0755)) bad |= fail(v[i]);
	return bad;
}

static int do_chmod(int c, char **v) { return c < 3 || chmod(v[2], strtol(v[1], NULL, 8)) ? fail(c < 3 ? "" : v[2]) : 0; }
static int do_chown(int c, char **v) { return c < 4 || lchown(v[3], atoi(v[1]), atoi(v[2])) ? fail(c < 4 ? "" : v[3]) : 0; }
static int do_symlink(int c, char **v) { return c < 3 || symlink(v[1], v[2]) ? fail(c < 3 ? "" : v[2]) : 0; }
static int do_mknod(int c, char **v) { return c < 4 || mknod(v[1], S_IFCHR | 0666, makedev(atoi(v[2]), atoi(v[3]))) ? fail(c < 2 ? "" : v[1]) : 0; }
static int do_setuid(int c, char **v) { return c < 2 || setresuid(atoi(v[1]), atoi(v[1]), atoi(v[1])) ? fail(c < 2 ? "" : v[1]) : 0; }

static int do_xattrs(int c, char **v)
{
	char names[4096];
	ssize_t n = c < 2 ? -1 : llistxattr(v[1], names, sizeof names);
	if (n < 0) return fail(c < 2 ? "" : v[1]);
	for (char *p = names; p < names + n; p += strlen(p) + 1) printf("%s\n", p);
	return 0;
}

/* lines of /proc/self/status that begin with one of the words */
static int do_status(int c, char **v)
{
	char line[1024];
	FILE *f = fopen("/proc/self/status", "re");
	if (!f) return fail("/proc/self/status");
	while (fgets(line, sizeof line, f)) {
		int wanted = c < 2;
		for (int i = 1; i < c; i++) wanted |= !strncmp(line, v[i], strlen(v[i]));
		if (wanted) fputs(line, stdout);
	}
	return 0;
}

static int do_rlimits(int c, char **v)
{
	char *w[] = {v[0], (char *)"/proc/self/limits"};
	(void)c;
	return do_cat(2, w);
}

/* forks until refused or N, prints how many came up; they go with us */
static int do_forks(int c, char **v)
{
	int i, n = c > 1 ? atoi(v[1]) : 0;
	for (i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0) { fail("fork"); break; }
		if (!pid) { prctl(PR_SET_PDEATHSIG, SIGKILL); pause(); _exit(0); }
	}
	printf("%d\n", i);
	return i < n;
}

/* session, process group, foreground process group, parent */
static int do_session(int c, char **v)
{
	(void)c; (void)v;
	printf("pid %d ppid %d pgrp %d sid %d\n", getpid(), getppid(), getpgrp(), getsid(0));
	return 0;
}

/* ifaces from /proc/net/dev, names only */
static int do_ifaces(int c, char **v)
{
	char line[512];
	FILE *f = fopen("/proc/net/dev", "re");
	(void)c; (void)v;
	if (!f) return fail("/proc/net/dev");
	for (int i = 0; fgets(line, sizeof line, f); i++) {
		char *colon = strchr(line, ':'), *p = line;
		if (i < 2 || !colon) continue;
		*colon = 0;
		while (*p == ' ') p++;
		printf("%s\n", p);
	}
	return 0;
}

/* reads one line from stdin, raw, and prints it between brackets */
static int do_line(int c, char **v)
{
	char line[4096];
	(void)c; (void)v;
	printf("ready\n"); fflush(stdout);
	if (!fgets(line, sizeof line, stdin)) { printf("eof\n"); return 3; }
	line[strcspn(line, "\n")] = 0;
	printf("[%s]\n", line);
	return 0;
}

static int do_close(int c, char **v) { return c < 2 || close(atoi(v[1])) ? fail("close") : 0; }

/* a unix socket at PATH for everybody; answers one line of one caller with it in brackets */
static int do_listen(int c, char **v)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char line[256];
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c < 2 || s < 0) return fail("socket");
	snprintf(at.sun_path, sizeof at.sun_path, "%s", v[1]);
	if (bind(s, (struct sockaddr *)&at, sizeof at) || chmod(v[1], 0666) || listen(s, 1)) return fail(v[1]);
	put(1, "listening\n", 10);
	int peer = accept(s, NULL, NULL);
	ssize_t n = peer < 0 ? -1 : read(peer, line, sizeof line - 1);
	if (n < 0) return fail(v[1]);
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	return dprintf(peer, "[%s]\n", line) < 0;
}

/* says TEXT to the unix socket at PATH and prints the answer */
static int do_connect(int c, char **v)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char line[256];
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c < 3 || s < 0) return fail("socket");
	snprintf(at.sun_path, sizeof at.sun_path, "%s", v[1]);
	if (connect(s, (struct sockaddr *)&at, sizeof at)) return fail(v[1]);
	dprintf(s, "%s\n", v[2]);
	ssize_t n = read(s, line, sizeof line);
	return n < 0 ? fail(v[1]) : put(1, line, (size_t)n);
}

static int do_spin(int c, char **v) { (void)c; (void)v; for (volatile unsigned long i = 1; i; i++) {} return 0; }
static int do_abort(int c, char **v) { (void)c; (void)v; abort(); }

/* removes itself as the command's parent would: exec of another path */
static int do_exec(int c, char **v) { if (c > 1) execv(v[1], v + 1); return fail(c > 1 ? v[1] : ""); }

static int do_chroot(int c, char **v)
{
	if (c < 2 || chroot(v[1]) || chdir("/")) return fail(c > 1 ? v[1] : "");
	return puts("chroot") < 0;
}

static int dispatch(int c, char **v);

/* applets one after another, separated by "," ; the first failure ends it */
static int do_all(int c, char **v)
{
	int at = 1;
	while (at < c) {
		int end = at, code;
		while (end < c && strcmp(v[end], ",")) end++;
		v[end] = NULL;
		code = dispatch(end - at, v + at);
		fflush(stdout);
		if (code) return code;
		at = end + 1;
	}
	return 0;
}

static const struct { const char *name; int (*run)(int, char **); } applets[] = {
	{"true", do_true}, {"false", do_false}, {"exit", do_exit}, {"echo", do_echo}, {"args", do_args}, {"env", do_env},
	{"id", do_id}, {"pwd", do_pwd}, {"cat", do_cat}, {"ls", do_ls}, {"stat", do_stat}, {"mounts", do_mounts},
	{"statfs", do_statfs}, {"hostname", do_hostname}, {"kill-self", do_kill_self}, {"kill", do_kill},
	{"sleep", do_sleep}, {"linger", do_linger}, {"write", do_write}, {"tty", do_tty}, {"winsize", do_winsize},
	{"signals", do_signals}, {"fds", do_fds}, {"put", do_put}, {"fill", do_fill}, {"many", do_many}, {"rm", do_rm},
	{"mkdir", do_mkdir}, {"chmod", do_chmod}, {"chown", do_chown}, {"symlink", do_symlink}, {"mknod", do_mknod},
	{"setuid", do_setuid}, {"xattrs", do_xattrs}, {"status", do_status}, {"rlimits", do_rlimits}, {"forks", do_forks},
	{"session", do_session}, {"ifaces", do_ifaces}, {"line", do_line}, {"spin", do_spin}, {"abort", do_abort},
	{"exec", do_exec}, {"all", do_all}, {"chroot", do_chroot},
	{"close", do_close}, {"listen", do_listen}, {"connect", do_connect},
};

static int dispatch(int c, char **v)
{
	const char *base = c ? strrchr(v[0], '/') : NULL;
	if (!c) return 2;
	base = base ? base + 1 : v[0];
	if (!strncmp(base, "toolbox", 7)) return dispatch(c - 1, v + 1);
	for (unsigned i = 0; i < sizeof applets / sizeof *applets; i++)
		if (!strcmp(base, applets[i].name)) { applet = applets[i].name; return applets[i].run(c, v); }
	fprintf(stderr, "toolbox: no applet %s\n", base);
	return 2;
}

int main(int argc, char **argv)
{
	int code = dispatch(argc, argv);
	if (fflush(stdout)) return 1;
	return code;
}
