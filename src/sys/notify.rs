//! Seccomp's user notifications (seccomp_unotify(2)): a filter whose refusals are answered by
//! whoever holds its listener. Only refusals can be said here: SECCOMP_USER_NOTIF_FLAG_CONTINUE,
//! which would let a call through, has no spelling.

use super::call::Filter;
use super::process::errno;
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19): once a call was received, only a signal that
/// kills ends its wait.
const WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
/// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6): who waits for the answer is woken on the processor
/// that gives it.
const SYNC_WAKE_UP: libc::c_ulong = 1;
/// The highest errno that the kernel takes for one (MAX_ERRNO).
const MAX_ERRNO: u16 = 4095;

/// A call that waits for its refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// What the refusal names.
    pub id: u64,
    /// The thread that made the call, in the receiver's pid namespace; 0: it has no number there.
    pub thread: u32,
    /// The system call's number.
    pub number: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Where it was made.
    pub instruction: u64,
    /// Its arguments, as they stood in registers: nothing is read of what they point to.
    pub args: [u64; 6],
}

/// Installs `program` and returns its listener, close-on-exec. Otherwise as
/// [`super::install_filter`].
///
/// # Errors
/// `BUSY`: a filter that is in force has one already; `INVAL`: this kernel has none (before 5.0);
/// `MFILE`, `NFILE`: there may be no descriptor more. Nothing is installed then.
pub fn install_told_filter(program: &[Filter]) -> Result<OwnedFd> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the kernel copies `len` instructions from `filter`, which points at as many, and
        // writes nothing.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        match i32::try_from(fd) {
            // SAFETY: on success the answer is a new fd that nobody else owns.
            Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(errno()),
        }
    };
    let listen = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match install(listen | WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => install(listen),
        other => other,
    }
}

/// The end at which refused calls arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Listens at what [`install_told_filter`] made.
    pub fn new(fd: OwnedFd) -> Self {
        // SAFETY: the argument is a number; touches no memory. A kernel that does not know it wakes
        // the payload on whatever processor, which is slower and not wrong.
        unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
        Self(fd)
    }

    /// The next call. To be asked for when poll(2) says that there is one: else it waits.
    ///
    /// # Errors
    /// `NOENT`: whoever made the call has ended.
    pub fn receive(&self) -> Result<Notification> {
        // SAFETY: an all-zero seccomp_notif is valid, and what the kernel asks for.
        let mut got: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: `got` is a seccomp_notif of the size that the request's number says.
        let answer = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut got,
            )
        };
        if answer == -1 {
            return Err(errno());
        }
        Ok(Notification {
            id: got.id,
            thread: got.pid,
            number: got.data.nr.cast_unsigned(),
            arch: got.data.arch,
            instruction: got.data.instruction_pointer,
            args: got.data.args,
        })
    }

    /// The call fails with `errno` (1 to 4095; anything else is EPERM).
    ///
    /// # Errors
    /// `NOENT`: nobody waits for it any more.
    pub fn refuse(&self, id: u64, refusal: u16) -> Result<()> {
        let refusal = match refusal {
            1..=MAX_ERRNO => i32::from(refusal),
            _ => libc::EPERM,
        };
        let response = libc::seccomp_notif_resp {
            id,
            val: 0,
            error: -refusal,
            flags: 0,
        };
        // SAFETY: `response` is a valid seccomp_notif_resp of the size that the request's number
        // says; the kernel only reads it.
        let answer = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw const response,
            )
        };
        if answer == -1 { Err(errno()) } else { Ok(()) }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
