/* Settings: opened for writing, never written. */
#include "hostile.h"

int main(void)
{
	static const char *const files[] = {"kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/domainname",
					    "kernel/shmmax", "kernel/msgmni", "kernel/ns_last_pid", "vm/overcommit_memory",
					    "fs/mqueue/msg_max", "net/ipv4/ip_forward", "net/ipv4/tcp_syncookies",
					    "net/ipv4/conf/lo/forwarding", "net/core/somaxconn", "net/ipv4/ping_group_range",
					    "user/max_user_namespaces", "net/ipv6/conf/lo/disable_ipv6"};
	char path[128];
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "/proc/sys/%s", files[i]);
		if (open(path, O_WRONLY | O_CLOEXEC) >= 0) escaped("%s opens for writing", path);
	}
	held();
}
