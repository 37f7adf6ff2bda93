/* launch.c - starts a command for the tests and tells what it leaves behind.
 *
 *   launch [--tty] REPORT COMMAND [ARG...]
 *   launch --userns            exit 0 if an ordinary user may make user and mount namespaces here
 *   launch --landlock          prints the Landlock ABI
 *
 * It is a child subreaper (prctl(2)), so whatever outlives the command becomes its child and is
 * found without guessing. REPORT gets "pid N" at once and "left PID CMDLINE" for each process
 * that is still there three seconds after the command ended; those are killed. The exit status is
 * the command's; a command killed by a signal makes launch kill itself by the same one.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) { perror(what); _exit(124); }

static int parent_of(const char *pid)
{
	char path[300], text[1024], *p;
	snprintf(path, sizeof path, "/proc/%s/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0) return -1;
	text[n] = 0;
	p = strrchr(text, ')');
	return p ? atoi(p + 4) : -1;
}

/* Reports and kills every child that is left; returns how many there were. */
static int leftovers(FILE *report)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int found = 0;
	if (!d) die("/proc");
	while ((e = readdir(d))) {
		char path[300], line[256];
		if (e->d_name[0] < '0' || e->d_name[0] > '9' || parent_of(e->d_name) != getpid()) continue;
		snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
		if (fd >= 0) close(fd);
		if (n < 0) n = 0;
		for (ssize_t i = 0; i < n; i++) if (!line[i] || line[i] == '\n') line[i] = ' ';
		line[n] = 0;
		fprintf(report, "left %s %s\n", e->d_name, line);
		fflush(report);
		kill(atoi(e->d_name), SIGKILL);
		found++;
	}
	closedir(d);
	return found;
}

int main(int argc, char **argv)
{
	int tty = 0, status, at = 1;
	if (argc == 2 && !strcmp(argv[1], "--userns")) return unshare(CLONE_NEWUSER | CLONE_NEWNS) ? 1 : 0;
	if (argc == 2 && !strcmp(argv[1], "--landlock")) {
		long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
		printf("%ld\n", abi < 0 ? 0 : abi);
		return 0;
	}
	if (at < argc && !strcmp(argv[at], "--tty")) tty = 1, at++;
	if (argc - at < 2) return 124;
	FILE *report = fopen(argv[at], "we");
	if (!report) die(argv[at]);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) die("subreaper");
	pid_t pid = fork();
	if (pid < 0) die("fork");
	if (!pid) {
		if (tty && (setsid() < 0 || ioctl(0, TIOCSCTTY, 0))) die("tty");
		/* Whoever runs the tests in the background ignores these for us, and means the tests. */
		signal(SIGHUP, SIG_DFL), signal(SIGINT, SIG_DFL), signal(SIGQUIT, SIG_DFL);
		execv(argv[at + 1], argv + at + 1);
		die(argv[at + 1]);
	}
	fprintf(report, "pid %d\n", pid);
	fflush(report);
	/* Our end of the terminal and of the pipes must not keep them open. */
	for (int fd = 0; fd < 3; fd++) close(fd);
	if (open("/dev/null", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2) _exit(124);
	while (1) {
		int st;
		pid_t done = wait(&st);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) _exit(124);
		if (done == pid) { status = st; break; }
	}
	for (int tick = 0;; tick++) {
		int rest;
		while ((rest = waitpid(-1, NULL, WNOHANG)) > 0) {}
		if (rest < 0) break;
		if (tick == 300) { leftovers(report); break; }
		usleep(tick < 20 ? 500 : 10000);
	}
	fclose(report);
	if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	_exit(124);
}
