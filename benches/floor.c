/* floor.c - the least that a launcher of a whole cell has to ask of the kernel, in one process.
 *
 *   floor [-o SCRATCH] ROOT COMMAND [ARG...]
 *
 * One clone3 with every namespace, the caller's id map, private mounts, ROOT bound (with -o: as an
 * overlay whose upper is a fresh tmpfs over SCRATCH), /proc, a /dev of five binds, pivot_root, host
 * name, every capability dropped, no_new_privs, a Landlock ruleset, a seccomp filter shaped as a
 * search tree, execve, wait. It verifies nothing, relays nothing and cleans nothing up: what
 * lazaret adds is measured against it in the same run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define MUST(call) do { if ((long)(call) < 0) { perror("floor: " #call); _exit(125); } } while (0)

static struct sock_filter code[1024];
static int used;

static void emit(uint16_t op, uint8_t jt, uint8_t jf, uint32_t k) { code[used++] = (struct sock_filter){op, jt, jf, k}; }

/* Allows numbers below 450 and answers ENOSYS above, split down to threes: about 400 instructions. */
static void search(int low, int high)
{
	if (high - low <= 3) { emit(BPF_RET | BPF_K, 0, 0, low < 450 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | ENOSYS); return; }
	int middle = (low + high) / 2, node = used;
	used += 2;
	search(low, middle);
	code[node] = (struct sock_filter){BPF_JMP | BPF_JGE | BPF_K, 0, 1, middle};
	code[node + 1] = (struct sock_filter){BPF_JMP | BPF_JA, 0, 0, used - node - 2};
	search(middle, high);
}

static void filter(void)
{
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	search(0, 512);
	struct sock_fprog program = {used, code};
	MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void landlock(void)
{
	struct landlock_ruleset_attr all = {.handled_access_fs = (1 << 13) - 1};
	const char *below[] = {"/", "/dev", "/proc"};
	int rules = syscall(SYS_landlock_create_ruleset, &all, sizeof all.handled_access_fs, 0);
	if (rules < 0) return;
	for (int i = 0; i < 3; i++) {
		struct landlock_path_beneath_attr rule = {.allowed_access = all.handled_access_fs, .parent_fd = open(below[i], O_PATH | O_CLOEXEC)};
		MUST(rule.parent_fd);
		MUST(syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
		close(rule.parent_fd);
	}
	MUST(syscall(SYS_landlock_restrict_self, rules, 0));
	close(rules);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	MUST(fd);
	MUST(write(fd, text, strlen(text)));
	close(fd);
}

static void child(const char *root, const char *scratch, char **command)
{
	static const char *nodes[] = {"null", "zero", "full", "random", "urandom"};
	char options[8192], from[64];
	MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
	MUST(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	if (scratch) {
		MUST(mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m"));
		snprintf(options, sizeof options, "%s/upper", scratch);
		MUST(mkdir(options, 0755));
		snprintf(options, sizeof options, "%s/work", scratch);
		MUST(mkdir(options, 0755));
		snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work,userxattr", root, scratch, scratch);
		MUST(mount("overlay", root, "overlay", 0, options));
	} else {
		MUST(mount(root, root, NULL, MS_BIND | MS_REC, NULL));
	}
	MUST(chdir(root));
	MUST(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k"));
	for (int i = 0; i < 5; i++) {
		snprintf(from, sizeof from, "/dev/%s", nodes[i]);
		int fd = open(from + 1, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
		MUST(fd);
		close(fd);
		MUST(mount(from, from + 1, NULL, MS_BIND, NULL));
	}
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	MUST(sethostname("box", 3));
	for (int cap = 0; cap <= 40; cap++) prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
	MUST(syscall(SYS_capset, &head, none));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	landlock();
	filter();
	char *environment[] = {"PATH=/bin", NULL};
	execve(command[0], command, environment);
	perror("floor: execve");
	_exit(125);
}

int main(int argc, char **argv)
{
	const char *scratch = NULL;
	int at = 1, ready[2], status;
	char path[64], map[64], byte;
	if (argc > 2 && !strcmp(argv[1], "-o")) scratch = argv[2], at = 3;
	if (argc - at < 2) return 125;
	MUST(pipe2(ready, O_CLOEXEC));
	struct clone_args how = {.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD};
	uid_t uid = getuid();
	gid_t gid = getgid();
	pid_t pid = syscall(SYS_clone3, &how, sizeof how);
	MUST(pid);
	if (!pid) {
		close(ready[1]);
		if (read(ready[0], &byte, 1)) _exit(125);
		child(argv[at], scratch, argv + at + 1);
	}
	snprintf(path, sizeof path, "/proc/%d/setgroups", pid);
	put(path, "deny");
	snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
	snprintf(map, sizeof map, "0 %d 1\n", uid);
	put(path, map);
	snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
	snprintf(map, sizeof map, "0 %d 1\n", gid);
	put(path, map);
	close(ready[1]);
	MUST(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
