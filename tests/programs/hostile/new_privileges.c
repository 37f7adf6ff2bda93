/* no_new_privs: without it, a setuid file would gain. */
#include "hostile.h"

int main(void)
{
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) escaped("an exec may gain privileges");
	held();
}
