/* The session keyring of the host: the key "lazaret-secret", by every keyring that may lead there. */
#include "hostile.h"

int main(void)
{
	for (int ring = -1; ring >= -5; ring--) {
		char text[64] = "";
		/* KEYCTL_SEARCH, KEYCTL_READ */
		long key = syscall(SYS_keyctl, 10, ring, "user", "lazaret-secret", 0);
		if (key >= 0 && syscall(SYS_keyctl, 11, key, text, sizeof text - 1) >= 0)
			escaped("the host's key says %s", text);
		if (key >= 0) escaped("the host's key was found");
	}
	held();
}
