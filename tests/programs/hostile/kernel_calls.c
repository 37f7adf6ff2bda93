/* Large or historical parts of the kernel, each with arguments that do nothing where allowed. */
#include "hostile.h"

int main(void)
{
	char page[4096] = {0};
	uint32_t map[16] = {2, 4, 8, 1}, event[16] = {1, 64};
#define TRY(name, ...) \
	do { \
		errno = 0; \
		long answer = syscall(__VA_ARGS__); \
		if (answer >= 0 || (errno != ENOSYS && errno != EPERM && errno != EACCES)) \
			escaped("%s was reached: %ld %m", name, answer); \
	} while (0)
	TRY("bpf", SYS_bpf, 0, map, 64);
	TRY("userfaultfd", SYS_userfaultfd, 1);
	TRY("perf_event_open", SYS_perf_event_open, event, 0, -1, -1, 0);
	TRY("fanotify_mark", SYS_fanotify_mark, -1, 1, 1L, -100, "/");
	TRY("keyctl", SYS_keyctl, 0, -3, 0);
	TRY("add_key", SYS_add_key, "user", "hostile", "x", 1, -2);
	TRY("request_key", SYS_request_key, "user", "hostile-none", 0, 0);
	TRY("name_to_handle_at", SYS_name_to_handle_at, -100, "/", page, page + 2048, 0);
	TRY("vmsplice", SYS_vmsplice, -1, page, 0, 0);
	TRY("memfd_secret", SYS_memfd_secret, 0);
	TRY("remap_file_pages", SYS_remap_file_pages, 0, 0, 0, 0, 0);
	TRY("mbind", SYS_mbind, 0, 0, 0, 0, 0, 0);
	TRY("io_setup", SYS_io_setup, 1, page);
	TRY("adjtimex", SYS_adjtimex, page);
	TRY("quotactl", SYS_quotactl, 0x80000100, 0, 0, 0);
	TRY("syncfs", SYS_syncfs, -1);
	TRY("personality", SYS_personality, 0x40000);
#ifdef __x86_64__
	TRY("modify_ldt", SYS_modify_ldt, 0, page, 16);
#endif
	held();
}
