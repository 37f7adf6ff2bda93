//! The raw system calls that `probe` tries from inside a cell. Nothing else in lazaret calls them.
//!
//! Each is shaped so that it does no harm where it is *not* refused, because the probe also runs
//! unconfined, as root, in tests: it names what does not exist, passes a size or magic that the
//! kernel rejects after its permission check, or makes something that ends with the calling
//! process. An answer other than a refusal therefore means that the call reached kernel code.

use super::process::errno;
use rustix::io::Result;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One argument of a [`Call`].
#[derive(Debug, Clone, Copy)]
enum Arg {
    /// A number.
    Int(i64),
    /// A string.
    Text(&'static CStr),
    /// A struct given as 32-bit words, copied to the start of the scratch page.
    Words(&'static [u32]),
    /// A pointer to the second half of the scratch page, zeroed.
    Scratch,
}
use Arg::{Int, Scratch, Text, Words};

/// A system call with fixed, harmless arguments.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The name of the call, and what of it is tried.
    pub name: &'static str,
    number: libc::c_long,
    args: &'static [Arg],
}

const fn call(name: &'static str, number: libc::c_long, args: &'static [Arg]) -> Call {
    Call { name, number, args }
}

const CWD: Arg = Int(libc::AT_FDCWD as i64);
const NONE: Arg = Text(c"/lazaret-probe-none");

/// Calls that change what is mounted where.
pub const MOUNT_CALLS: &[Call] = &[
    // An unknown type: past the permission check the kernel answers ENODEV.
    call(
        "mount",
        libc::SYS_mount,
        &[Text(c"none"), Text(c"/"), Text(c"lazaret-none"), Int(0)],
    ),
    // Past the permission check MNT_EXPIRE only marks the mount; its next use unmarks it.
    call("umount2", libc::SYS_umount2, &[Text(c"/proc"), Int(4)]),
    call("fsopen", libc::SYS_fsopen, &[Text(c"tmpfs"), Int(1)]),
    call("fspick", libc::SYS_fspick, &[CWD, Text(c"/"), Int(1)]),
    // OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    call(
        "open_tree",
        libc::SYS_open_tree,
        &[CWD, Text(c"/"), Int(0x80001)],
    ),
    call(
        "move_mount",
        libc::SYS_move_mount,
        &[Int(-1), Text(c""), Int(-1), Text(c""), Int(0)],
    ),
    call(
        "mount_setattr",
        libc::SYS_mount_setattr,
        &[Int(-1), Text(c""), Int(0x1000), Scratch, Int(32)],
    ),
    call("pivot_root", libc::SYS_pivot_root, &[NONE, NONE]),
    call("chroot", libc::SYS_chroot, &[Text(c"/")]),
    // struct mnt_id_req, version 0: size, spare, mount id (-1: LSMT_ROOT), parameter.
    call(
        "statmount",
        457,
        &[Words(&[24, 0, 1, 0, 1, 0]), Scratch, Int(512), Int(0)],
    ),
    call(
        "listmount",
        458,
        &[
            Words(&[24, 0, u32::MAX, u32::MAX, 0, 0]),
            Scratch,
            Int(16),
            Int(0),
        ],
    ),
];

/// Calls that reach a file by its handle, around every path lookup (CVE-2014-3519 and its kin).
pub const HANDLE_CALLS: &[Call] = &[
    call(
        "name_to_handle_at",
        libc::SYS_name_to_handle_at,
        &[CWD, Text(c"/"), Words(&[128, 0]), Scratch, Int(0)],
    ),
    // struct file_handle: 8 bytes, FILEID_INO32_GEN, inode 2 (the root of an ext4), generation 0.
    call(
        "open_by_handle_at",
        libc::SYS_open_by_handle_at,
        &[CWD, Words(&[8, 1, 2, 0]), Int(0)],
    ),
];

/// Calls into large or privileged parts of the kernel.
pub const KERNEL_CALLS: &[Call] = &[
    call(
        "io_uring_setup",
        libc::SYS_io_uring_setup,
        &[Int(1), Scratch],
    ),
    call(
        "io_uring_enter",
        libc::SYS_io_uring_enter,
        &[Int(-1), Int(0), Int(0), Int(0), Int(0)],
    ),
    call(
        "io_uring_register",
        libc::SYS_io_uring_register,
        &[Int(-1), Int(0), Int(0), Int(0)],
    ),
    // BPF_MAP_CREATE of an array: key 4, value 8, one entry.
    call(
        "bpf",
        libc::SYS_bpf,
        &[Int(0), Words(&[2, 4, 8, 1]), Int(64)],
    ),
    // PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, on itself.
    call(
        "perf_event_open",
        libc::SYS_perf_event_open,
        &[Words(&[1, 64]), Int(0), Int(-1), Int(-1), Int(0)],
    ),
    // UFFD_USER_MODE_ONLY, which needs no privilege.
    call("userfaultfd", libc::SYS_userfaultfd, &[Int(1)]),
    call(
        "fanotify_init",
        libc::SYS_fanotify_init,
        &[Int(0x200), Int(0)],
    ),
    call(
        "fanotify_mark",
        libc::SYS_fanotify_mark,
        &[Int(-1), Int(1), Int(1), CWD, Text(c"/")],
    ),
    call("io_setup", libc::SYS_io_setup, &[Int(1), Scratch]),
    call("memfd_secret", libc::SYS_memfd_secret, &[Int(0)]),
    call(
        "vmsplice",
        libc::SYS_vmsplice,
        &[Int(-1), Scratch, Int(0), Int(0)],
    ),
    call(
        "remap_file_pages",
        libc::SYS_remap_file_pages,
        &[Int(0), Int(0), Int(0), Int(0), Int(0)],
    ),
    call(
        "mbind",
        libc::SYS_mbind,
        &[Int(0), Int(0), Int(0), Int(0), Int(0), Int(0)],
    ),
    call(
        "set_mempolicy",
        libc::SYS_set_mempolicy,
        &[Int(0), Int(0), Int(0)],
    ),
    call(
        "migrate_pages",
        libc::SYS_migrate_pages,
        &[Int(0), Int(0), Int(0), Int(0)],
    ),
    call(
        "move_pages",
        libc::SYS_move_pages,
        &[Int(0), Int(0), Int(0), Int(0), Int(0), Int(0)],
    ),
    call(
        "kexec_load",
        libc::SYS_kexec_load,
        &[Int(0), Int(0), Int(0), Int(0x10000)],
    ),
    call(
        "kexec_file_load",
        libc::SYS_kexec_file_load,
        &[Int(-1), Int(-1), Int(0), Int(0), Int(0)],
    ),
    call(
        "init_module",
        libc::SYS_init_module,
        &[Int(0), Int(0), Text(c"")],
    ),
    call(
        "finit_module",
        libc::SYS_finit_module,
        &[Int(-1), Text(c""), Int(0)],
    ),
    call(
        "delete_module",
        libc::SYS_delete_module,
        &[Text(c"lazaret_none"), Int(0)],
    ),
    // Magic numbers that no kernel takes: EINVAL past the permission check.
    call(
        "reboot",
        libc::SYS_reboot,
        &[Int(0), Int(0), Int(0), Int(0)],
    ),
    call("swapon", libc::SYS_swapon, &[NONE, Int(0)]),
    call("swapoff", libc::SYS_swapoff, &[NONE]),
    call("acct", libc::SYS_acct, &[NONE]),
    // Q_SYNC of all user quotas.
    call(
        "quotactl",
        libc::SYS_quotactl,
        &[Int(0x8000_0100), Int(0), Int(0), Int(0)],
    ),
    // Neither time nor zone: nothing is set where it is allowed.
    call("settimeofday", libc::SYS_settimeofday, &[Int(0), Int(0)]),
    // modes 0 only reads the host's clock discipline.
    call("adjtimex", libc::SYS_adjtimex, &[Scratch]),
    call("clock_adjtime", libc::SYS_clock_adjtime, &[Int(0), Scratch]),
    // SYSLOG_ACTION_READ_ALL: dmesg.
    call("syslog", libc::SYS_syslog, &[Int(3), Scratch, Int(1024)]),
    // A negative length: EINVAL past the permission check.
    call("sethostname", libc::SYS_sethostname, &[Int(0), Int(-1)]),
    call("setdomainname", libc::SYS_setdomainname, &[Int(0), Int(-1)]),
    call("syncfs", libc::SYS_syncfs, &[Int(-1)]),
    // ADDR_NO_RANDOMIZE.
    call(
        "personality(no randomize)",
        libc::SYS_personality,
        &[Int(0x0004_0000)],
    ),
    // READ_IMPLIES_EXEC.
    call(
        "personality(read is exec)",
        libc::SYS_personality,
        &[Int(0x0040_0000)],
    ),
    // The number after the last that any kernel has today.
    call("an unknown number", 4000, &[]),
    #[cfg(target_arch = "x86_64")]
    call(
        "modify_ldt",
        libc::SYS_modify_ldt,
        &[Int(0), Scratch, Int(16)],
    ),
    #[cfg(target_arch = "x86_64")]
    call("iopl", libc::SYS_iopl, &[Int(3)]),
    #[cfg(target_arch = "x86_64")]
    call("ioperm", libc::SYS_ioperm, &[Int(0x80), Int(1), Int(1)]),
];

/// Calls on the kernel's keyrings, which all processes of a user share.
pub const KEY_CALLS: &[Call] = &[
    // KEYCTL_GET_KEYRING_ID of the session keyring, without making one.
    call(
        "keyctl(session keyring)",
        libc::SYS_keyctl,
        &[Int(0), Int(-3), Int(0)],
    ),
    // The user's own keyring, shared with every process of that uid.
    call(
        "keyctl(user keyring)",
        libc::SYS_keyctl,
        &[Int(0), Int(-4), Int(0)],
    ),
    // Into the process keyring (-2), which ends with the process.
    call(
        "add_key",
        libc::SYS_add_key,
        &[
            Text(c"user"),
            Text(c"lazaret-probe"),
            Text(c"x"),
            Int(1),
            Int(-2),
        ],
    ),
    call(
        "request_key",
        libc::SYS_request_key,
        &[Text(c"user"), Text(c"lazaret-none"), Int(0), Int(0)],
    ),
];

/// Calls at pid 1 and at other processes' insides.
pub const PROCESS_CALLS: &[Call] = &[
    // PTRACE_SEIZE does not stop the tracee, and ends with the tracer.
    call(
        "ptrace pid 1",
        libc::SYS_ptrace,
        &[Int(0x4206), Int(1), Int(0), Int(0)],
    ),
    // PTRACE_TRACEME
    call(
        "ptrace at all",
        libc::SYS_ptrace,
        &[Int(0), Int(0), Int(0), Int(0)],
    ),
    // KCMP_FILE of pid 1's stdin and its own.
    call(
        "kcmp pid 1",
        libc::SYS_kcmp,
        &[Int(1), Int(1), Int(0), Int(0), Int(0)],
    ),
    call(
        "pidfd_getfd",
        libc::SYS_pidfd_getfd,
        &[Int(-1), Int(0), Int(0)],
    ),
    call(
        "process_madvise",
        libc::SYS_process_madvise,
        &[Int(-1), Scratch, Int(0), Int(20), Int(0)],
    ),
    call(
        "process_mrelease",
        libc::SYS_process_mrelease,
        &[Int(-1), Int(0)],
    ),
];

/// Calls that raise what this process may do.
pub const PRIVILEGE_CALLS: &[Call] = &[
    call("setuid to another id", libc::SYS_setuid, &[Int(1)]),
    call("setgid to another id", libc::SYS_setgid, &[Int(1)]),
    // One group, number 1.
    call("setgroups", libc::SYS_setgroups, &[Int(1), Words(&[1])]),
    // PR_CAPBSET_DROP of CAP_CHOWN in a process that ends: takes CAP_SETPCAP.
    call("CAP_SETPCAP", libc::SYS_prctl, &[Int(24), Int(0)]),
    // PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN.
    call(
        "raise an ambient capability",
        libc::SYS_prctl,
        &[Int(47), Int(2), Int(0), Int(0), Int(0)],
    ),
    // SCHED_FIFO priority 1: takes CAP_SYS_NICE or a limit nobody gave.
    call(
        "real-time scheduling",
        libc::SYS_sched_setscheduler,
        &[Int(0), Int(1), Words(&[1])],
    ),
    call(
        "a higher priority",
        libc::SYS_setpriority,
        &[Int(0), Int(0), Int(-5)],
    ),
];

impl Call {
    /// Makes the call: what the kernel answered. Meant for a child process that ends afterwards.
    pub fn attempt(&self) -> Result<i64> {
        #[repr(C, align(4096))]
        struct Page([u32; 1024]);
        let mut page = Page([0; 1024]);
        if let Some(words) = self.args.iter().find_map(|arg| match arg {
            Words(words) => Some(*words),
            _ => None,
        }) {
            page.0[..words.len()].copy_from_slice(words);
        }
        let start = (&raw mut page).cast::<u8>();
        let mut args: [libc::c_long; 6] = [0; 6];
        for (slot, arg) in args.iter_mut().zip(self.args) {
            *slot = match arg {
                Int(n) => *n,
                Text(text) => text.as_ptr() as libc::c_long,
                Words(_) => start as libc::c_long,
                Scratch => start.wrapping_add(2048) as libc::c_long,
            };
        }
        // SAFETY: the tables above are the only source of calls (the fields are private). Every
        // pointer in them is a NUL-terminated constant that the call only reads, or lies in `page`
        // with 2048 bytes behind it, more than any of these calls writes. None of them changes the
        // mappings of this process: those that could have zero lengths.
        answer(unsafe {
            libc::syscall(
                self.number,
                args[0],
                args[1],
                args[2],
                args[3],
                args[4],
                args[5],
            )
        })
    }
}

fn answer(answer: libc::c_long) -> Result<i64> {
    if answer == -1 {
        Err(errno())
    } else {
        Ok(answer)
    }
}

/// unshare(2). In a child that ends afterwards.
pub fn unshare(flags: i32) -> Result<i64> {
    // SAFETY: changes namespaces of this process; touches no memory. CLONE_FS, CLONE_FILES and
    // CLONE_VM mean nothing to a process of one thread.
    answer(unsafe { libc::syscall(libc::SYS_unshare, libc::c_long::from(flags)) })
}

/// process_vm_readv(2) or, if `write`, process_vm_writev(2) of 8 bytes of pid 1 at an address that
/// nothing maps: EFAULT where it is allowed.
pub fn init_memory(write: bool) -> Result<i64> {
    let mut here = [0u8; 8];
    let local = libc::iovec {
        iov_base: here.as_mut_ptr().cast(),
        iov_len: here.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(0x1000),
        iov_len: here.len(),
    };
    let number = if write {
        libc::SYS_process_vm_writev
    } else {
        libc::SYS_process_vm_readv
    };
    // SAFETY: at most 8 bytes go into or come out of `here`; the remote address is another
    // process's and means nothing here.
    answer(unsafe { libc::syscall(number, 1, &raw const local, 1, &raw const remote, 1, 0) })
}

/// The answer of a clone, its process waited for: it would be in sight of later checks.
fn reaped(pid: libc::c_long) -> Result<i64> {
    let pid = answer(pid)?;
    let number = i32::try_from(pid).map_err(|_| rustix::io::Errno::INVAL)?;
    // SAFETY: no status is asked for.
    answer(unsafe { libc::waitpid(number, std::ptr::null_mut(), 0) }.into())?;
    Ok(pid)
}

/// clone(2) with `flags` and its own copy of memory; the new process ends at once.
pub fn clone_and_end(flags: i32) -> Result<i64> {
    let flags = libc::c_long::from(flags) | libc::c_long::from(libc::SIGCHLD);
    // SAFETY: no CLONE_VM, no stack: as fork. The new process calls _exit and nothing else, which
    // is sound whatever locks were held.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid == 0 {
        // SAFETY: ends this process without running anything of ours.
        unsafe { libc::_exit(0) }
    }
    reaped(pid)
}

/// clone3(2) with `flags`; the new process ends at once.
pub fn clone3_and_end(flags: i32) -> Result<i64> {
    // struct clone_args, version 0: flags first, exit_signal fifth.
    let mut args = [0u64; 8];
    args[0] = u64::from(flags.cast_unsigned());
    args[4] = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: as in `clone_and_end`; `args` is a valid clone_args of the size given.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    if pid == 0 {
        // SAFETY: ends this process without running anything of ours.
        unsafe { libc::_exit(0) }
    }
    reaped(pid)
}

/// setns(2) of any type. In a child that ends afterwards.
pub fn setns(namespace: BorrowedFd<'_>) -> Result<i64> {
    // SAFETY: changes namespaces of this process; touches no memory.
    answer(unsafe { libc::syscall(libc::SYS_setns, namespace.as_raw_fd(), 0) })
}

/// socket(2), arguments at their full 64 bits: the kernel reads the low 32, and a filter that
/// compares more is fooled by the rest.
pub fn socket(family: i64, kind: i64, protocol: i64) -> Result<OwnedFd> {
    // SAFETY: makes an fd; touches no memory.
    let fd = answer(unsafe { libc::syscall(libc::SYS_socket, family, kind, protocol) })?;
    let fd = i32::try_from(fd).map_err(|_| rustix::io::Errno::BADF)?;
    // SAFETY: a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// socketpair(2) of a family; the pair is closed at exit of the calling child.
pub fn socketpair(family: i64, kind: i64) -> Result<i64> {
    let mut pair = [0i32; 2];
    // SAFETY: the kernel stores two ints at `pair`.
    answer(unsafe { libc::syscall(libc::SYS_socketpair, family, kind, 0, pair.as_mut_ptr()) })
}

/// Terminal and device requests that the probe tries; each takes a pointer to at least 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// TIOCSTI: type a byte into the terminal.
    TypeInto,
    /// TIOCSTI with bits above the 32 that the kernel reads.
    TypeIntoWide,
    /// TIOCLINUX subcode 0, invalid: console selection and pasting.
    Console,
    /// TIOCSETD 0: set the line discipline that it has.
    LineDiscipline,
    /// RNDGETENTCNT: the entropy count, which any reader of /dev/urandom may ask.
    EntropyCount,
}

/// ioctl(2) of a [`Request`].
pub fn ioctl(fd: BorrowedFd<'_>, request: Request) -> Result<i64> {
    let number: libc::c_long = match request {
        Request::TypeInto => 0x5412,
        Request::TypeIntoWide => 0x1_0000_5412,
        Request::Console => 0x541c,
        Request::LineDiscipline => 0x5423,
        Request::EntropyCount => 0x8004_5200,
    };
    let mut buffer = [0u64; 8];
    // SAFETY: each request reads or writes at most 4 bytes at its pointer; 64 are there.
    answer(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), number, buffer.as_mut_ptr()) })
}

/// Makes `terminal` the controlling terminal of a new session of the calling child.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> Result<i64> {
    // SAFETY: no memory involved.
    answer(unsafe { libc::syscall(libc::SYS_setsid) })?;
    // SAFETY: TIOCSCTTY takes a number.
    answer(unsafe { libc::syscall(libc::SYS_ioctl, terminal.as_raw_fd(), libc::TIOCSCTTY, 0) })
}

/// The securebits (capabilities(7)).
pub fn securebits() -> Result<i64> {
    // SAFETY: PR_GET_SECUREBITS takes no pointer.
    answer(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_SECUREBITS, 0, 0, 0, 0) })
}

/// getpid as an i386 program would ask: `int 0x80`. Where the entry is filtered, the process dies.
#[cfg(target_arch = "x86_64")]
pub fn i386_getpid() -> i64 {
    let answer: i64;
    // SAFETY: system call 20 of the i386 table is getpid: no arguments, no memory. The kernel's
    // i386 entry clears r8 to r11, which are declared lost.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") 20i64 => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    answer
}

/// getpid by its x32 number.
#[cfg(target_arch = "x86_64")]
pub fn x32_getpid() -> Result<i64> {
    // SAFETY: getpid takes no arguments.
    answer(unsafe { libc::syscall(0x4000_0000 + libc::SYS_getpid) })
}

/// Sends no signal to `pid`, only asks whether one might be sent (kill(2), signal 0). `-1` asks for
/// everybody.
pub fn may_signal(pid: i32) -> Result<i64> {
    // SAFETY: signal 0 is only a check.
    answer(unsafe { libc::syscall(libc::SYS_kill, libc::c_long::from(pid), 0) })
}

/// getsid(2) of this process: 0 if the session's leader cannot be seen from this pid namespace,
/// which rustix takes for impossible.
pub fn session() -> Result<i64> {
    // SAFETY: no memory involved.
    answer(unsafe { libc::syscall(libc::SYS_getsid, 0) })
}
