//! Making processes: clone3, fork, execve, and the token that there is one thread.

use crate::error::{Error, Kind, Result};
use rustix::process::Pid;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Proof that this process has one thread. A clone of a process with several threads copies locks
/// that nobody will release.
#[derive(Debug, Clone, Copy)]
pub struct SingleThread(());

impl SingleThread {
    /// Counts the threads: /proc/self/task has one folder for each (proc(5)), so its link count is
    /// two more than their number.
    pub fn check() -> Result<Self> {
        let links = rustix::fs::stat("/proc/self/task")
            .map_err(|e| {
                Error::call("stat \"/proc/self/task\"", e.raw_os_error())
                    .kind(Kind::Host)
                    .hint("lazaret needs /proc mounted on the host")
            })?
            .st_nlink;
        if links != 3 {
            return Err(Error::new(
                Kind::Launch,
                format!(
                    "the launching process has {} threads, not one",
                    links.saturating_sub(2)
                ),
            ));
        }
        Ok(Self(()))
    }
}

/// Which namespaces a clone makes (clone(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Namespaces {
    /// CLONE_NEWNET as well as user, mount, pid, ipc, uts and cgroup, which are always made.
    pub network: bool,
}

impl Namespaces {
    fn flags(self) -> u64 {
        let mut flags = libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        if self.network {
            flags |= libc::CLONE_NEWNET;
        }
        u64::from(flags.cast_unsigned())
    }
}

/// Which side of a clone this is.
#[derive(Debug)]
pub enum Cloned {
    /// The caller: the child's pid here, and a pidfd of it.
    Parent {
        /// The child's pid in this pid namespace.
        pid: Pid,
        /// Refers to the child for ever (pidfd_open(2)).
        pidfd: OwnedFd,
    },
    /// The child: pid 1 of its namespaces.
    Child,
}

/// struct clone_args of clone3(2), version 2 (88 bytes, Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Bytes of version 0, which every clone3 knows.
const CLONE_ARGS_VER0: usize = 64;
/// CLONE_INTO_CGROUP (clone3(2)).
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// clone3(2) into new namespaces, and into `cgroup` if there is one, so that the child is in no other
/// for a moment; with copied memory like fork. The child must not return from the
/// function that called this; it ends with [`exit_now`] or [`execve`].
pub fn clone3(
    _one: SingleThread,
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let (into, cgroup, size) = match cgroup {
        Some(cgroup) => (
            CLONE_INTO_CGROUP,
            u64::from(cgroup.as_raw_fd().cast_unsigned()),
            size_of::<CloneArgs>(),
        ),
        None => (0, 0, CLONE_ARGS_VER0),
    };
    let args = CloneArgs {
        flags: namespaces.flags() | u64::from(libc::CLONE_PIDFD.cast_unsigned()) | into,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        cgroup,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM the child gets a copy of this memory, as with fork; there is one
    // thread (the token), so no lock is held by somebody else; `args` is a valid clone_args of at
    // least `size` bytes.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size) };
    match answer {
        -1 => Err(errno()),
        0 => Ok(Cloned::Child),
        pid => {
            let pid = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .ok_or(rustix::io::Errno::INVAL)?;
            // SAFETY: on success with CLONE_PIDFD the kernel stored a new fd that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// fork(2) through libc, so that its own bookkeeping fits the child and the child may start
/// threads. `None` in the child.
pub fn fork(_one: SingleThread) -> rustix::io::Result<Option<Pid>> {
    // SAFETY: one thread (the token): the child's copy of every lock is free.
    match unsafe { libc::fork() } {
        -1 => Err(errno()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Arguments and environment as execve(2) takes them: made beforehand, so that the call itself takes
/// no memory.
#[derive(Debug)]
pub struct ExecArgs {
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// What both point into.
    _strings: Vec<CString>,
}

impl ExecArgs {
    /// These arguments and this environment.
    pub fn new(argv: Vec<CString>, envp: Vec<CString>) -> Self {
        let terminated = |list: &[CString]| -> Vec<*const libc::c_char> {
            let pointers = list.iter().map(|s| s.as_ptr());
            pointers.chain([std::ptr::null()]).collect()
        };
        let (arguments, environment) = (terminated(&argv), terminated(&envp));
        // A CString is a pointer itself: what it points to stays where it is.
        let mut strings = argv;
        strings.extend(envp);
        Self {
            argv: arguments,
            envp: environment,
            _strings: strings,
        }
    }
}

/// execve(2); returns only on failure.
pub fn execve(path: &CStr, args: &ExecArgs) -> rustix::io::Errno {
    // SAFETY: both arrays are null-terminated and every string lives as long as `args`.
    unsafe { libc::execve(path.as_ptr(), args.argv.as_ptr(), args.envp.as_ptr()) };
    errno()
}

/// _exit(2): no destructors, no atexit; how every forked child of ours ends.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// errno of the last failed libc call of this thread.
pub(super) fn errno() -> rustix::io::Errno {
    let raw = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO);
    rustix::io::Errno::from_raw_os_error(raw)
}

/// What a process has used, and those that it had waited for (getrusage(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time outside the kernel.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// Bytes that the largest single process had in memory at once.
    pub largest: u64,
}

/// waitid(2) of a pidfd's process with WEXITED, and what it has used: the fifth argument of the
/// call, which the C library does not pass on.
pub fn wait_with_usage(pidfd: BorrowedFd<'_>) -> rustix::io::Result<Usage> {
    // SAFETY: a rusage is plain numbers, for which zero is a value.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a null siginfo is allowed and asks for none; `used` is a valid rusage.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd.as_raw_fd(),
            std::ptr::null_mut::<libc::siginfo_t>(),
            libc::WEXITED,
            &raw mut used,
        )
    };
    if answer == -1 {
        return Err(errno());
    }
    let time = |t: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(t.tv_sec).unwrap_or_default());
        seconds + Duration::from_micros(u64::try_from(t.tv_usec).unwrap_or_default())
    };
    Ok(Usage {
        user: time(used.ru_utime),
        system: time(used.ru_stime),
        // The kernel counts in kilobytes.
        largest: u64::try_from(used.ru_maxrss)
            .unwrap_or_default()
            .saturating_mul(1024),
    })
}
