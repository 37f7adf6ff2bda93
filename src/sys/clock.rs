//! The kernel's own word on its clock.

use super::process::errno;
use rustix::io::Result;

/// adjtimex(2): whether somebody keeps the clock right (an NTP client, a hypervisor's agent). Asking
/// needs no privilege and changes nothing.
pub fn clock_is_synchronised() -> Result<bool> {
    // SAFETY: an all-zero timex is valid; `modes` 0 asks and sets nothing.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is valid and outlives the call.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(errno()),
        code => Ok(code != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0),
    }
}
