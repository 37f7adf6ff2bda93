/* The caller's supplementary groups: what is not mapped shows as 65534. */
#include "hostile.h"

int main(void)
{
	gid_t groups[256];
	int n = getgroups(256, groups);
	for (int i = 0; i < n; i++)
		if (groups[i] == 65534) escaped("a group of the host's is still in force");
	held();
}
