//! System calls without a wrapper elsewhere.

use super::process::errno;
use rustix::io::{Errno, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

fn check(answer: libc::c_long) -> Result<libc::c_long> {
    if answer == -1 {
        Err(errno())
    } else {
        Ok(answer)
    }
}

/// close_range(2) from `first` to the end: no inherited fd stays.
pub fn close_range_from(first: RawFd) -> Result<()> {
    // SAFETY: closing fds touches no memory. Callers own nothing from `first` on that is used later.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) }).map(drop)
}

/// close_range(2) from `first` to `last`, both closed too; an empty range is nothing.
pub fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: as in `close_range_from`.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// sync_file_range(2) with SYNC_FILE_RANGE_WRITE: begins to write a range of a file to its disk, so
/// that a later fdatasync(2) has less to wait for. Promises nothing by itself.
pub fn begin_writeback(file: BorrowedFd<'_>, from: u64, bytes: u64) -> Result<()> {
    let number = |n: u64| libc::off64_t::try_from(n).map_err(|_| Errno::INVAL);
    let (from, bytes) = (number(from)?, number(bytes)?);
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: takes a descriptor and numbers; touches no memory.
    check(unsafe { libc::sync_file_range(file.as_raw_fd(), from, bytes, flags) }.into()).map(drop)
}

/// personality(2) PER_LINUX: no flag of the caller's, such as ADDR_NO_RANDOMIZE, goes on.
pub fn plain_personality() -> Result<()> {
    // SAFETY: takes a number; changes nothing of this program's own memory.
    check(unsafe { libc::syscall(libc::SYS_personality, 0) }).map(drop)
}

/// sigaction(2) to SIG_DFL.
pub fn default_signal(signal: i32) -> Result<()> {
    // SAFETY: an all-zero sigaction is SIG_DFL with an empty mask; no handler of ours exists.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` is valid and outlives the call; the old action is not asked for.
    check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }.into())
        .map(drop)
}

/// Whether sigaction(2) says SIG_IGN.
pub fn is_ignored(signal: i32) -> Result<bool> {
    // SAFETY: an all-zero sigaction is a valid place for the kernel to write the old one to.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` is valid and outlives the call; nothing is changed.
    check(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) }.into())?;
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC (Linux 5.11): everything from `first` on closes at exec.
pub fn close_range_cloexec(first: RawFd) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: sets a flag on fds; touches no memory.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// Attributes for [`mount_setattr`] (mount_setattr(2)); the values are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountAttr(u64);

impl MountAttr {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// MOUNT_ATTR_RDONLY.
    pub const READ_ONLY: Self = Self(0x1);
    /// MOUNT_ATTR_NOSUID.
    pub const NO_SUID: Self = Self(0x2);
    /// MOUNT_ATTR_NODEV.
    pub const NO_DEV: Self = Self(0x4);
    /// MOUNT_ATTR_NOEXEC.
    pub const NO_EXEC: Self = Self(0x8);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// mount_setattr(2), Linux 5.12: sets `attributes` on the mount at `mount`, and below it if
/// `recursive`.
pub fn mount_setattr(mount: BorrowedFd<'_>, attributes: MountAttr, recursive: bool) -> Result<()> {
    #[repr(C)]
    struct Attr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attr = Attr {
        set: attributes.0,
        clear: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty NUL-terminated string and `attr` is a valid mount_attr of the
    // size that is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<Attr>(),
        )
    })
    .map(drop)
}

/// keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL): an anonymous session keyring of our own instead of
/// the caller's (keyctl(2)). A kernel without keys answers ENOSYS, which is as good: `Ok(false)`.
pub fn join_new_session_keyring() -> Result<bool> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name is allowed and means an anonymous keyring.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) }) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOSYS) => Ok(false),
        Err(e) => Err(e),
    }
}

/// One instruction of a classic BPF program (struct sock_filter).
pub type Filter = libc::sock_filter;

/// seccomp(SECCOMP_SET_MODE_FILTER) (seccomp(2)): in force at once for this thread and everything
/// it starts. Needs no_new_privs.
pub fn install_filter(program: &[Filter]) -> Result<()> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| rustix::io::Errno::INVAL)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter`, which points at as many, and
    // writes nothing.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0 as libc::c_ulong,
            &raw const program,
        )
    })
    .map(drop)
}

/// pidfd_send_signal(2); `group` reaches the whole process group (PIDFD_SIGNAL_PROCESS_GROUP, Linux
/// 6.9; older kernels: the process alone).
pub fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32, group: bool) -> Result<()> {
    const PROCESS_GROUP: libc::c_uint = 1 << 2;
    let send = |flags: libc::c_uint| {
        // SAFETY: a null siginfo is allowed; touches no memory.
        check(unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                pidfd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                flags,
            )
        })
        .map(drop)
    };
    if group {
        match send(PROCESS_GROUP) {
            Err(rustix::io::Errno::INVAL) => {}
            other => return other,
        }
    }
    send(0)
}

/// unshare(2) CLONE_NEWNET: a network namespace of this process's own, with lo and nothing else.
pub fn new_network_namespace() -> Result<()> {
    // SAFETY: takes a number; memory and descriptors stay as they are.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into()).map(drop)
}

/// Bytes of a page (sysconf(3) _SC_PAGESIZE).
pub fn page_size() -> u64 {
    // SAFETY: takes a number and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// unshare(2) CLONE_NEWCGROUP: the cgroup that this process is in becomes the root of what it and its
/// children see (cgroup_namespaces(7)).
pub fn new_cgroup_namespace() -> Result<()> {
    // SAFETY: takes a number; memory and descriptors stay as they are.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}

/// Brings lo up in this network namespace (netdevice(7), SIOCGIFFLAGS and SIOCSIFFLAGS).
pub fn loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    // SAFETY: `request` is a valid ifreq with a NUL-terminated name; SIOCGIFFLAGS writes the flags
    // member of the union, which is then read, changed and passed back.
    unsafe {
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) == -1 {
            return Err(errno());
        }
        request.ifr_ifru.ifru_flags |= libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) == -1 {
            return Err(errno());
        }
    }
    Ok(())
}

/// ioctl(TIOCGPTPEER) (ioctl_tty(2)): the other end of a pty by its master, without a path that
/// somebody could have put in between.
pub fn open_pty_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    const TIOCGPTPEER: libc::c_ulong = 0x5441;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the argument is an integer; on success the answer is a new fd that nobody owns.
    unsafe {
        let fd = libc::ioctl(master.as_raw_fd(), TIOCGPTPEER, flags);
        if fd == -1 {
            Err(errno())
        } else {
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }
}
