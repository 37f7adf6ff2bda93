//! What must be asked of the kernel itself before anything is planned.

use super::process::errno;
use rustix::io::Result;

/// The Landlock ABI (landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION), 1 or more.
/// ENOSYS: the kernel was built without it; EOPNOTSUPP: it was not switched on at boot.
pub fn landlock_abi() -> Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel requires a null pointer and size 0 and touches no memory.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    // Anything but a positive number is -1 with an errno.
    u32::try_from(answer).map_err(|_| errno())
}
