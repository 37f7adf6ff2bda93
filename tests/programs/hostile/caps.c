/* A cell's root that holds CHOWN, SETGID and SETUID.
 *   more [effective]  tries to hold more: by capset, and by an exec as uid 0; "effective": without a
 *                     look at the bounding set
 *   leave             becomes uid 1000, which must hold nothing, also after an exec
 *   ambient           becomes uid 1000 with what it holds (PR_SET_KEEPCAPS) and hands it on to an exec
 */
#include "hostile.h"
#include <linux/capability.h>

#define GRANTED 0xc1ull

static uint64_t set(const char *name) { return strtoull(status_line("/proc/self/status", name), NULL, 16); }

static void at_most(uint64_t most, int bounding)
{
	static const char *const sets[] = {"CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"};
	for (int i = 0; i < 4 + bounding; i++)
		if (set(sets[i]) & ~most) escaped("uid %d: %s is %llx", getuid(), sets[i], (unsigned long long)set(sets[i]));
}

static int hold(uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		data[i].effective = data[i].permitted = permitted >> 32 * i;
		data[i].inheritable = inheritable >> 32 * i;
	}
	return syscall(SYS_capset, &head, data);
}

static void again(const char *what, const char *how)
{
	execl("/proc/self/exe", "caps", what, how, (char *)NULL);
	escaped("no exec, so nothing was tried: %m");
}

static void leave(void)
{
	if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000)) escaped("not uid 1000, so nothing was tried: %m");
}

int main(int c, char **v)
{
	const char *what = c > 1 ? v[1] : "", *how = c > 2 ? v[2] : "";
	int bounding = !!strcmp(how, "effective");
	if (!strcmp(what, "more")) {
		if (set("CapEff") != GRANTED) at_most(GRANTED, bounding), escaped("holds %llx, so nothing was tried", (unsigned long long)set("CapEff"));
		at_most(GRANTED, bounding);
		if (!hold(0x1ffffffffffull, 0) || !hold(GRANTED | 1 << CAP_SYS_CHROOT, 0)) escaped("capset gives more");
		prctl(PR_SET_SECUREBITS, 0);
		again("after", how);
	} else if (!strcmp(what, "after")) {
		at_most(GRANTED, bounding);
	} else if (!strcmp(what, "leave")) {
		leave();
		at_most(0, 0);
		if (!hold(GRANTED, 0)) escaped("capset gives back what uid 0 held");
		if (!setresuid(0, 0, 0)) escaped("uid 0 again");
		again("left", "");
	} else if (!strcmp(what, "ambient")) {
		if (prctl(PR_SET_KEEPCAPS, 1)) escaped("PR_SET_KEEPCAPS, so nothing was tried: %m");
		leave();
		if (hold(GRANTED, GRANTED)) escaped("nothing was kept, so nothing was tried: %m");
		for (int cap = 0; cap < 41; cap++) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
		again("left", "");
	} else if (!strcmp(what, "left")) {
		/* Inheritable alone gives nothing without a file's own capabilities, which are stripped. */
		if (set("CapPrm") | set("CapEff") | set("CapAmb")) escaped("uid %d holds %llx after an exec", getuid(), (unsigned long long)set("CapPrm"));
	} else {
		escaped("no such attempt");
	}
	held();
}
