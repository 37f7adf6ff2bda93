/* Settings of the caller's process: a umask that closes the cell's folders, addresses without
 * randomness. */
#include "hostile.h"
#include <sys/personality.h>

int main(void)
{
	mode_t mask = umask(022);
	if (mask != 022) escaped("the caller's umask is %o", mask);
	if (personality(0xffffffff)) escaped("the caller's personality is %x", personality(0xffffffff));
	held();
}
