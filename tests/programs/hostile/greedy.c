/* Taking too much of memory, processor time or output, in the way argv[1]. Whoever is not stopped
 * says so after some MiB and seconds (those in PATIENCE, if it is set), so that nothing comes of it but
 * a red test. */
#include "hostile.h"
#include <grp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <time.h>

enum { GIVE_UP_MIB = 400 };
static int patience = 20;
static char block[1 << 20];

static double now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void nap(int milliseconds)
{
	struct timespec t = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
	nanosleep(&t, 0);
}

/* Until somebody puts an end to it. */
__attribute__((noreturn)) static void hold(const char *how)
{
	sleep(patience);
	escaped("%s: nobody minded", how);
}

static void touch(int shared, long mib)
{
	for (long n = 0; n < mib; n++) {
		int flags = MAP_ANONYMOUS | (shared ? MAP_SHARED : MAP_PRIVATE);
		char *p = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
		if (p == MAP_FAILED) break;
		for (int i = 0; i < 1 << 20; i += 4096) p[i] = 1;
	}
}

static void fill(int fd)
{
	if (fd < 0) escaped("nothing could be written, so nothing was tried: %m");
	for (long n = 0; n < GIVE_UP_MIB; n++)
		if (write(fd, block, sizeof block) != sizeof block) break;
}

/* A file in memory behind more descriptors than anybody likes to look at. */
static void behind_descriptors(void)
{
	struct rlimit most;
	getrlimit(RLIMIT_NOFILE, &most);
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
	for (int i = 0; i < 10000; i++)
		if (dup(1) < 0) escaped("no descriptors, so nothing was tried: %m");
	fill(memfd_create("x", 0));
}

/* A segment that nobody is attached to for long, nor maps a page of. */
static void segment(void)
{
	int id = shmget(IPC_PRIVATE, (size_t)GIVE_UP_MIB << 20, IPC_CREAT | 0600);
	for (long n = 0; n < GIVE_UP_MIB; n++) {
		char *p = shmat(id, 0, 0);
		if (p == (void *)-1) escaped("no segment, so nothing was tried: %m");
		memset(p + (n << 20), 1, 1 << 20);
		madvise(p + (n << 20), 1 << 20, MADV_DONTNEED);
		shmdt(p);
	}
}

/* Nothing is in memory but the way to it: a page of the kernel's for each 2 MiB of addresses. */
static void tables(void)
{
	size_t size = 1UL << 38;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *p = mmap(0, size, PROT_READ, flags, -1, 0);
	if (p == MAP_FAILED) escaped("no addresses, so nothing was tried: %m");
	madvise(p, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += 2 << 20) *(volatile char *)(p + at);
}

/* So many groups that they fill what is read of /proc/PID/status. */
static void groups(void)
{
	static gid_t many[5000];
	if (setgroups(5000, many)) escaped("no groups, so nothing was tried: %m");
	touch(0, GIVE_UP_MIB);
}

/* Processor time for as long as nobody minds. */
__attribute__((noreturn)) static void spin(void)
{
	double end = now(CLOCK_MONOTONIC) + patience;
	while (now(CLOCK_MONOTONIC) < end) {}
	escaped("nobody minded");
}

static void burn(double seconds)
{
	double end = now(CLOCK_PROCESS_CPUTIME_ID) + seconds;
	while (now(CLOCK_PROCESS_CPUTIME_ID) < end) {}
}

static int thread(void *stack)
{
	(void)stack;
	spin();
}

static void daemonize(void)
{
	if (fork()) return;
	setsid();
	if (fork()) _exit(0);
	spin();
}

int main(int c, char **v)
{
	const char *how = c > 1 ? v[1] : "";
	setvbuf(stdout, 0, _IOLBF, 0);
	if (getenv("PATIENCE")) patience = atoi(getenv("PATIENCE"));
	if (!strcmp(how, "malloc")) touch(0, GIVE_UP_MIB);
	else if (!strcmp(how, "shared")) touch(1, GIVE_UP_MIB);
	else if (!strcmp(how, "descriptors")) behind_descriptors();
	else if (!strcmp(how, "segment")) segment();
	else if (!strcmp(how, "tables")) tables();
	else if (!strcmp(how, "groups")) groups();
	else if (!strcmp(how, "memfd")) fill(memfd_create("x", 0));
	else if (!strcmp(how, "file")) fill(open(v[2], O_CREAT | O_WRONLY, 0600));
	else if (!strcmp(how, "forks")) {
		/* Each alone is small. */
		for (int i = 0; i < 40; i++)
			if (!fork()) touch(0, GIVE_UP_MIB / 40), hold(how);
	} else if (!strcmp(how, "orphan")) {
		if (!fork()) {
			setsid();
			if (!fork()) touch(0, GIVE_UP_MIB), hold(how);
			_exit(0);
		}
	} else if (!strcmp(how, "together")) {
		/* No more than 24 MiB, which nine processes see. */
		touch(0, 24);
		for (int i = 0; i < 8; i++)
			if (!fork()) nap(500), _exit(0);
		while (wait(0) > 0) {}
		held();
	} else if (!strcmp(how, "mapped")) {
		/* A file in memory of 24 MiB, which is there once, also where it is mapped. */
		int fd = open("/dev/shm/x", O_CREAT | O_RDWR, 0600);
		if (fd < 0 || ftruncate(fd, 24 << 20)) escaped("no file, so nothing was tried: %m");
		char *p = mmap(0, 24 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		for (int i = 0; i < 24 << 20; i += 4096) p[i] = 1;
		nap(500);
		held();
	} else if (!strcmp(how, "attached")) {
		/* So is a segment. */
		int id = shmget(IPC_PRIVATE, 24 << 20, IPC_CREAT | 0600);
		char *p = shmat(id, 0, 0);
		if (p == (void *)-1) escaped("no segment, so nothing was tried: %m");
		memset(p, 1, 24 << 20);
		nap(500);
		held();
	} else if (!strcmp(how, "spin")) spin();
	else if (!strcmp(how, "threads")) {
		for (int i = 0; i < 4; i++) {
			int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
			clone(thread, (char *)malloc(1 << 16) + (1 << 16), flags | CLONE_SYSVSEM, 0);
		}
	} else if (!strcmp(how, "daemons")) {
		for (int i = 0; i < 3; i++) daemonize();
	} else if (!strcmp(how, "naps")) {
		double end = now(CLOCK_MONOTONIC) + patience;
		while (now(CLOCK_MONOTONIC) < end) burn(0.004), nap(2);
	} else if (!strcmp(how, "unwaited")) {
		/* Nobody gets their time: their parent does not wait. */
		signal(SIGCHLD, SIG_IGN);
		double end = now(CLOCK_MONOTONIC) + patience;
		while (now(CLOCK_MONOTONIC) < end) {
			pid_t pid = fork();
			if (!pid) burn(0.06), _exit(0);
			waitpid(pid, 0, 0);
		}
	} else if (!strcmp(how, "little")) {
		burn(0.05);
		held();
	} else if (!strcmp(how, "flood")) {
		memset(block, 'x', sizeof block);
		for (long n = 0; n < GIVE_UP_MIB; n++) {
			ssize_t a = write(1, block, sizeof block), b = write(2, block, sizeof block);
			if (a < 0 && b < 0) break;
		}
	} else
		escaped("no such way: %s", how);
	hold(how);
}
