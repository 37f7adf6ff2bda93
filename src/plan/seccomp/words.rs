//! System calls in a person's words: `unshare(CLONE_NEWUSER|CLONE_NEWNS)`, `socket(AF_PACKET, ...)`.
//!
//! Only arguments that say what was wanted are shown: flags, kinds, requests. Numbers of processes
//! and descriptors, lengths and addresses say nothing to a reader and would make each call another
//! one. The names are the kernel's own (include/uapi/linux).

mod read;

pub use read::{Call, asked, read};

use super::Arch;
use std::fmt::Write as _;

/// How many arguments of a call are shown at most.
pub const SHOWN: usize = 3;

/// How an argument is written.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Bits, joined by `|`.
    Flags(&'static [(u64, &'static str)]),
    /// One of these.
    OneOf(&'static [(u64, &'static str)]),
    /// A number.
    Number,
}

/// An argument that is shown.
#[derive(Debug, Clone, Copy)]
struct Arg {
    /// Which, from 0.
    place: u8,
    /// The bits that count.
    mask: u64,
    kind: Kind,
}

/// A call whose arguments say something.
struct Shape {
    name: &'static str,
    args: &'static [Arg],
    /// There are others, which are not shown.
    more: bool,
}

const INT: u64 = 0xffff_ffff;

const fn arg(place: u8, mask: u64, kind: Kind) -> Arg {
    Arg { place, mask, kind }
}

const fn flags(place: u8, names: &'static [(u64, &'static str)]) -> Arg {
    arg(place, INT, Kind::Flags(names))
}

const fn one_of(place: u8, names: &'static [(u64, &'static str)]) -> Arg {
    arg(place, INT, Kind::OneOf(names))
}

const fn number(place: u8) -> Arg {
    arg(place, INT, Kind::Number)
}

const fn all(name: &'static str, args: &'static [Arg]) -> Shape {
    let more = false;
    Shape { name, args, more }
}

const fn some(name: &'static str, args: &'static [Arg]) -> Shape {
    let more = true;
    Shape { name, args, more }
}

/// linux/sched.h: those that make namespaces.
const NAMESPACES: &[(u64, &str)] = &[
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x0002_0000, "CLONE_NEWNS"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0000_0080, "CLONE_NEWTIME"),
];
/// What of clone(2)'s flags is a namespace: the low byte is the signal at its end.
const CLONE_MASK: u64 = 0x7e02_0000;

/// linux/socket.h.
const DOMAINS: &[(u64, &str)] = &[
    (0, "AF_UNSPEC"),
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (3, "AF_AX25"),
    (4, "AF_IPX"),
    (5, "AF_APPLETALK"),
    (10, "AF_INET6"),
    (15, "AF_KEY"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (21, "AF_RDS"),
    (26, "AF_LLC"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (38, "AF_ALG"),
    (39, "AF_NFC"),
    (40, "AF_VSOCK"),
    (41, "AF_KCM"),
    (42, "AF_QIPCRTR"),
    (43, "AF_SMC"),
    (44, "AF_XDP"),
    (45, "AF_MCTP"),
];
/// linux/net.h; SOCK_CLOEXEC and SOCK_NONBLOCK say nothing.
const TYPES: &[(u64, &str)] = &[
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (4, "SOCK_RDM"),
    (5, "SOCK_SEQPACKET"),
    (6, "SOCK_DCCP"),
    (10, "SOCK_PACKET"),
];
/// linux/bpf.h.
const BPF: &[(u64, &str)] = &[
    (0, "BPF_MAP_CREATE"),
    (1, "BPF_MAP_LOOKUP_ELEM"),
    (2, "BPF_MAP_UPDATE_ELEM"),
    (3, "BPF_MAP_DELETE_ELEM"),
    (4, "BPF_MAP_GET_NEXT_KEY"),
    (5, "BPF_PROG_LOAD"),
    (6, "BPF_OBJ_PIN"),
    (7, "BPF_OBJ_GET"),
    (8, "BPF_PROG_ATTACH"),
    (9, "BPF_PROG_DETACH"),
    (10, "BPF_PROG_TEST_RUN"),
    (17, "BPF_RAW_TRACEPOINT_OPEN"),
    (18, "BPF_BTF_LOAD"),
    (28, "BPF_LINK_CREATE"),
    (36, "BPF_TOKEN_CREATE"),
];
/// linux/keyctl.h.
const KEYCTL: &[(u64, &str)] = &[
    (0, "KEYCTL_GET_KEYRING_ID"),
    (1, "KEYCTL_JOIN_SESSION_KEYRING"),
    (2, "KEYCTL_UPDATE"),
    (3, "KEYCTL_REVOKE"),
    (4, "KEYCTL_CHOWN"),
    (5, "KEYCTL_SETPERM"),
    (6, "KEYCTL_DESCRIBE"),
    (8, "KEYCTL_LINK"),
    (9, "KEYCTL_UNLINK"),
    (10, "KEYCTL_SEARCH"),
    (11, "KEYCTL_READ"),
    (22, "KEYCTL_GET_PERSISTENT"),
    (31, "KEYCTL_CAPABILITIES"),
];
/// linux/ptrace.h.
const PTRACE: &[(u64, &str)] = &[
    (0, "PTRACE_TRACEME"),
    (1, "PTRACE_PEEKTEXT"),
    (2, "PTRACE_PEEKDATA"),
    (4, "PTRACE_POKETEXT"),
    (5, "PTRACE_POKEDATA"),
    (7, "PTRACE_CONT"),
    (8, "PTRACE_KILL"),
    (12, "PTRACE_GETREGS"),
    (16, "PTRACE_ATTACH"),
    (17, "PTRACE_DETACH"),
    (24, "PTRACE_SYSCALL"),
    (0x4200, "PTRACE_SETOPTIONS"),
    (0x4204, "PTRACE_GETREGSET"),
    (0x4206, "PTRACE_SEIZE"),
    (0x4207, "PTRACE_INTERRUPT"),
];
/// linux/mount.h.
const MOUNT: &[(u64, &str)] = &[
    (0x1, "MS_RDONLY"),
    (0x2, "MS_NOSUID"),
    (0x4, "MS_NODEV"),
    (0x8, "MS_NOEXEC"),
    (0x20, "MS_REMOUNT"),
    (0x1000, "MS_BIND"),
    (0x2000, "MS_MOVE"),
    (0x4000, "MS_REC"),
    (0x2_0000, "MS_UNBINDABLE"),
    (0x4_0000, "MS_PRIVATE"),
    (0x8_0000, "MS_SLAVE"),
    (0x10_0000, "MS_SHARED"),
];
/// linux/fs.h.
const UMOUNT: &[(u64, &str)] = &[
    (0x1, "MNT_FORCE"),
    (0x2, "MNT_DETACH"),
    (0x4, "MNT_EXPIRE"),
    (0x8, "UMOUNT_NOFOLLOW"),
];
/// linux/stat.h, in octal there.
const FILE_TYPES: &[(u64, &str)] = &[
    (0o020_000, "S_IFCHR"),
    (0o060_000, "S_IFBLK"),
    (0o040_000, "S_IFDIR"),
    (0o120_000, "S_IFLNK"),
];
/// linux/personality.h.
const PERSONALITY: &[(u64, &str)] = &[
    (0x0004_0000, "ADDR_NO_RANDOMIZE"),
    (0x0010_0000, "MMAP_PAGE_ZERO"),
    (0x0020_0000, "ADDR_COMPAT_LAYOUT"),
    (0x0040_0000, "READ_IMPLIES_EXEC"),
    (0x0080_0000, "ADDR_LIMIT_32BIT"),
    (0x0800_0000, "ADDR_LIMIT_3GB"),
];
/// asm-generic/ioctls.h.
const IOCTLS: &[(u64, &str)] = &[
    (0x5412, "TIOCSTI"),
    (0x541c, "TIOCLINUX"),
    (0x5423, "TIOCSETD"),
];
/// linux/in.h.
const PROTOCOLS: &[(u64, &str)] = &[
    (0, "0"),
    (1, "IPPROTO_ICMP"),
    (6, "IPPROTO_TCP"),
    (17, "IPPROTO_UDP"),
    (33, "IPPROTO_DCCP"),
    (58, "IPPROTO_ICMPV6"),
    (132, "IPPROTO_SCTP"),
    (136, "IPPROTO_UDPLITE"),
    (255, "IPPROTO_RAW"),
    (262, "IPPROTO_MPTCP"),
];
/// linux/netlink.h.
const NETLINK: &[(u64, &str)] = &[
    (4, "NETLINK_SOCK_DIAG"),
    (6, "NETLINK_XFRM"),
    (7, "NETLINK_SELINUX"),
    (9, "NETLINK_AUDIT"),
    (11, "NETLINK_CONNECTOR"),
    (12, "NETLINK_NETFILTER"),
    (15, "NETLINK_KOBJECT_UEVENT"),
    (16, "NETLINK_GENERIC"),
    (21, "NETLINK_CRYPTO"),
];
/// linux/reboot.h.
const REBOOT: &[(u64, &str)] = &[
    (0x0123_4567, "LINUX_REBOOT_CMD_RESTART"),
    (0xcdef_0123, "LINUX_REBOOT_CMD_HALT"),
    (0x4321_fedc, "LINUX_REBOOT_CMD_POWER_OFF"),
    (0x89ab_cdef, "LINUX_REBOOT_CMD_CAD_ON"),
    (0, "LINUX_REBOOT_CMD_CAD_OFF"),
];
/// linux/time.h.
const CLOCKS: &[(u64, &str)] = &[
    (0, "CLOCK_REALTIME"),
    (1, "CLOCK_MONOTONIC"),
    (7, "CLOCK_BOOTTIME"),
    (11, "CLOCK_TAI"),
];
/// syslog(2).
const SYSLOG: &[(u64, &str)] = &[
    (2, "SYSLOG_ACTION_READ"),
    (3, "SYSLOG_ACTION_READ_ALL"),
    (4, "SYSLOG_ACTION_READ_CLEAR"),
    (5, "SYSLOG_ACTION_CLEAR"),
    (9, "SYSLOG_ACTION_SIZE_UNREAD"),
    (10, "SYSLOG_ACTION_SIZE_BUFFER"),
];
/// linux/userfaultfd.h.
const USERFAULTFD: &[(u64, &str)] = &[(0x1, "UFFD_USER_MODE_ONLY")];
/// linux/fanotify.h: the class.
const FANOTIFY: &[(u64, &str)] = &[
    (0, "FAN_CLASS_NOTIF"),
    (4, "FAN_CLASS_CONTENT"),
    (8, "FAN_CLASS_PRE_CONTENT"),
];
/// By name.
const SHAPES: &[Shape] = &[
    some("bpf", &[one_of(0, BPF)]),
    some("clock_adjtime", &[one_of(0, CLOCKS)]),
    some("clock_settime", &[one_of(0, CLOCKS)]),
    some("clone", &[arg(0, CLONE_MASK, Kind::Flags(NAMESPACES))]),
    some("fanotify_init", &[arg(0, 0xc, Kind::OneOf(FANOTIFY))]),
    some("ioctl", &[one_of(1, IOCTLS)]),
    all("iopl", &[number(0)]),
    some("keyctl", &[one_of(0, KEYCTL)]),
    some("mknod", &[arg(1, 0xf000, Kind::OneOf(FILE_TYPES))]),
    some("mknodat", &[arg(2, 0xf000, Kind::OneOf(FILE_TYPES))]),
    some("mount", &[flags(3, MOUNT)]),
    all("personality", &[flags(0, PERSONALITY)]),
    some("ptrace", &[one_of(0, PTRACE)]),
    some("reboot", &[one_of(2, REBOOT)]),
    some("setns", &[flags(1, NAMESPACES)]),
    some("setsockopt", &[number(1), number(2)]),
    // The protocol's names depend on the domain.
    all(
        "socket",
        &[
            one_of(0, DOMAINS),
            arg(1, 0xf, Kind::OneOf(TYPES)),
            number(2),
        ],
    ),
    some(
        "socketpair",
        &[one_of(0, DOMAINS), arg(1, 0xf, Kind::OneOf(TYPES))],
    ),
    some("syslog", &[one_of(0, SYSLOG)]),
    some("umount2", &[flags(1, UMOUNT)]),
    all("unshare", &[flags(0, NAMESPACES)]),
    all("userfaultfd", &[flags(0, USERFAULTFD)]),
];

/// Calls without arguments.
const BARE: &[&str] = &["sync", "vhangup", "pause"];

fn shape(name: &str) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.name == name)
}

/// Of a call's arguments those that are shown, cut to what counts: calls that agree in these are one
/// to a reader.
pub fn shown(arch: Arch, call: u32, args: &[u64; 6]) -> [u64; SHOWN] {
    let mut out = [0; SHOWN];
    if let Some(shape) = arch.name(call).and_then(shape) {
        for (to, arg) in out.iter_mut().zip(shape.args) {
            *to = args[usize::from(arg.place)] & arg.mask;
        }
    }
    out
}

/// The call with what [`shown`] left of its arguments.
pub fn call(arch: Arch, call: u32, shown: &[u64; SHOWN]) -> String {
    let Some(name) = arch.name(call) else {
        return format!("system call {call}");
    };
    if BARE.contains(&name) {
        return format!("{name}()");
    }
    let Some(shape) = shape(name) else {
        return format!("{name}(...)");
    };
    let mut words: Vec<String> = Vec::with_capacity(SHOWN + 1);
    for (place, (arg, value)) in shape.args.iter().zip(shown).enumerate() {
        words.push(word(kind(shape, arg, place, Some(shown[0])), *value));
    }
    if shape.more {
        words.push("...".to_owned());
    }
    format!("{name}({})", words.join(", "))
}

/// How the argument at `place` is written, which may hang on the first one.
fn kind(shape: &Shape, arg: &Arg, place: usize, first: Option<u64>) -> Kind {
    match (shape.name, place, first) {
        ("socket", 2, Some(2 | 10)) => Kind::OneOf(PROTOCOLS),
        ("socket", 2, Some(16)) => Kind::OneOf(NETLINK),
        _ => arg.kind,
    }
}

/// Others of the same number, of which only that is known.
pub fn others(arch: Arch, call: u32) -> String {
    match arch.name(call) {
        Some(name) => format!("{name}, other than the above"),
        None => "system calls of other numbers".to_owned(),
    }
}

/// An argument's value as [`call`] would write it; a number where it would not.
pub fn argument(name: &str, place: u8, value: u64) -> String {
    let shown = shape(name).and_then(|shape| shape.args.iter().find(|arg| arg.place == place));
    word(shown.map_or(Kind::Number, |arg| arg.kind), value)
}

fn word(kind: Kind, value: u64) -> String {
    let plain = |value: u64| match value {
        0..=0xffff => value.to_string(),
        more => format!("{more:#x}"),
    };
    match kind {
        Kind::Number => plain(value),
        Kind::OneOf(names) => match names.iter().find(|(have, _)| *have == value) {
            Some((_, name)) => (*name).to_owned(),
            None => plain(value),
        },
        Kind::Flags(names) => {
            let (mut rest, mut out) = (value, String::new());
            for (bits, name) in names {
                if rest & bits == *bits {
                    rest &= !bits;
                    out.push_str(if out.is_empty() { "" } else { "|" });
                    out.push_str(name);
                }
            }
            if rest != 0 || out.is_empty() {
                let bar = if out.is_empty() { "" } else { "|" };
                // Writing to a String cannot fail.
                let _infallible = write!(out, "{bar}{}", plain(rest));
            }
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, args: &[u64]) -> String {
        let arch = Arch::X86_64;
        let mut six = [0; 6];
        six[..args.len()].copy_from_slice(args);
        let number = arch.number(name).unwrap();
        call(arch, number, &shown(arch, number, &six))
    }

    #[test]
    fn calls_are_told_in_words() {
        for (name, args, words) in [
            (
                "unshare",
                &[0x1002_0000][..],
                "unshare(CLONE_NEWUSER|CLONE_NEWNS)",
            ),
            ("unshare", &[0x8000_0000], "unshare(0x80000000)"),
            ("unshare", &[0], "unshare(0)"),
            ("clone", &[0x2000_0011, 7], "clone(CLONE_NEWPID, ...)"),
            (
                "socket",
                &[17, 0x8_0003, 768],
                "socket(AF_PACKET, SOCK_RAW, 768)",
            ),
            (
                "socket",
                &[2, 1, 262],
                "socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)",
            ),
            (
                "socket",
                &[16, 3, 9],
                "socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT)",
            ),
            (
                "socketpair",
                &[30, 1],
                "socketpair(AF_TIPC, SOCK_STREAM, ...)",
            ),
            ("bpf", &[5, 0xdead_beef], "bpf(BPF_PROG_LOAD, ...)"),
            ("ioctl", &[7, 0x5412], "ioctl(TIOCSTI, ...)"),
            ("mount", &[1, 2, 3, 0x5000], "mount(MS_BIND|MS_REC, ...)"),
            ("mknod", &[1, 0o020_644], "mknod(S_IFCHR, ...)"),
            ("personality", &[0x4_0000], "personality(ADDR_NO_RANDOMIZE)"),
            ("ptrace", &[16, 1], "ptrace(PTRACE_ATTACH, ...)"),
            ("setns", &[3, 0x4000_0000], "setns(CLONE_NEWNET, ...)"),
            ("swapon", &[1], "swapon(...)"),
            ("sync", &[], "sync()"),
        ] {
            assert_eq!(told(name, args), words);
        }
        assert_eq!(call(Arch::X86_64, 4000, &[0; SHOWN]), "system call 4000");
    }

    #[test]
    fn what_says_nothing_makes_no_other_call() {
        let (arch, nr) = (Arch::X86_64, Arch::X86_64.number("socket").unwrap());
        let a = shown(arch, nr, &[17, 0x8_0003, 768, 1, 2, 3]);
        let b = shown(arch, nr, &[17 | 1 << 40, 3, 768, 4, 5, 6]);
        assert_eq!(a, b);
    }

    #[test]
    fn every_shape_is_of_a_call_and_fits() {
        for shape in SHAPES {
            assert!(Arch::canonical(shape.name).is_some(), "{}", shape.name);
            assert!(shape.args.len() <= SHOWN, "{}", shape.name);
            for arg in shape.args {
                assert!(arg.place < 6);
            }
        }
        assert!(SHAPES.is_sorted_by_key(|shape| shape.name));
    }
}
