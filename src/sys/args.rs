//! The memory that /proc/PID/cmdline and /proc/PID/environ show.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// glibc calls the functions of `.init_array` with main's own arguments, in static programs too.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn(i32, *const *mut u8, *const *mut u8) = remember;

extern "C" fn remember(argc: i32, argv: *const *mut u8, envp: *const *mut u8) {
    if argc < 1 || argv.is_null() || envp.is_null() {
        return;
    }
    // SAFETY: the System V ABI (x86-64 psABI 3.4.1) lays argv, a null, envp, a null one after the
    // other at process start, each entry a NUL-terminated string; nothing else runs yet.
    let (start, length) = unsafe {
        let start = *argv;
        if start.is_null() {
            return;
        }
        let mut last = start;
        let mut at = argv;
        while !(*at).is_null() {
            last = *at;
            at = at.add(1);
        }
        at = envp;
        while !(*at).is_null() {
            last = *at;
            at = at.add(1);
        }
        let end = last.add(std::ffi::CStr::from_ptr(last.cast()).count_bytes());
        (start, (end as usize).saturating_sub(start as usize))
    };
    START.store(start, Ordering::Relaxed);
    LENGTH.store(length, Ordering::Relaxed);
}

/// Overwrites the launcher's arguments and environment in this process's own memory, so that
/// pid 1's /proc/1/cmdline and /proc/1/environ say nothing of the host. To be called in a forked
/// child only: `std::env` sees empty strings afterwards.
///
/// False if the strings' place is unknown (not started by glibc), which callers treat as failure.
#[must_use]
pub fn scrub_arguments_and_environment() -> bool {
    let start = START.load(Ordering::Relaxed);
    let length = LENGTH.load(Ordering::Relaxed);
    if start.is_null() {
        return false;
    }
    // SAFETY: `remember` measured this range at process start; the kernel keeps it mapped and
    // writable for the life of the process, and the only Rust references into it are made and
    // dropped inside std::env calls, none of which is under way in this single-threaded child.
    unsafe { std::ptr::write_bytes(start, 0, length) };
    true
}
