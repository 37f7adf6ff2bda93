//! Device nodes: what stands in /dev, what can be made, what terminals can be typed into.

use super::attempt::Tester;
use super::finding::Findings;
use crate::error::{Context, Error, Result};
use crate::sys::probe_calls::{Request, ioctl, take_terminal};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::pty::OpenptFlags;
use std::path::Path;

/// The six devices that a cell has, and the master side of its own ptys.
const ALLOWED: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("ptmx", 5, 2),
];

/// Links and folders that belong into any /dev.
const ALLOWED_OTHERS: &[&str] = &[
    "fd", "stdin", "stdout", "stderr", "ptmx", "core", "pts", "shm", "mqueue",
];

/// Nodes that lead to memory, disks, the network or other hardware. None does anything on open.
const DANGEROUS: &[&str] = &[
    "mem",
    "kmem",
    "port",
    "kmsg",
    "sda",
    "vda",
    "nvme0n1",
    "loop0",
    "loop-control",
    "kvm",
    "fuse",
    "net/tun",
    "vhost-net",
    "vhost-vsock",
    "vsock",
    "dri/card0",
    "dri/renderD128",
    "uinput",
    "input/event0",
    "snd/timer",
    "mapper/control",
    "userfaultfd",
    "vfio/vfio",
    "hpet",
    "cpu/0/msr",
    "autofs",
    "bus/usb/001/001",
    "tty0",
    "tty1",
    "console",
    "hwrng",
];

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("devices");
    nodes(f)?;
    let opened: Vec<String> = DANGEROUS
        .iter()
        .filter(|name| {
            let path = format!("/dev/{name}");
            let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let own = **name == "console" && is_own_terminal(&path);
            !own && rustix::fs::open(path, flags, Mode::empty()).is_ok()
        })
        .map(|name| (*name).to_owned())
        .collect();
    f.none_of(
        "opening memory, disks, hardware",
        format!("{} tried", DANGEROUS.len()),
        &opened,
    );
    for (check, kind, major, minor) in [
        (
            "making a device of memory (1:1)",
            FileType::CharacterDevice,
            1,
            1,
        ),
        (
            "making a device of a disk (8:0)",
            FileType::BlockDevice,
            8,
            0,
        ),
        ("making a whiteout (0:0)", FileType::CharacterDevice, 0, 0),
    ] {
        let places = ["/tmp", "/dev", "/dev/shm", "/"];
        let attempts = places.map(|place| (place, move || make_node(place, kind, major, minor)));
        let harmless = [libc::EROFS, libc::ENOENT];
        t.all_refused(f, check, &harmless, attempts)?;
    }
    terminals(t, f)
}

fn make_node(place: &str, kind: FileType, major: u32, minor: u32) -> rustix::io::Result<i64> {
    let path = format!("{place}/lazaret-probe-node");
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(CWD, &path, kind, Mode::RUSR, device)?;
    rustix::fs::unlink(&path).map(|()| 0)
}

/// Each entry of /dev against the list, and each device against its number.
fn nodes(f: &mut Findings) -> Result<()> {
    let mut leaks = Vec::new();
    let entries = std::fs::read_dir("/dev").or_call(|| "list \"/dev\"")?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let stat = rustix::fs::lstat(entry.path()).or_call(|| format!("stat /dev/{name}"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let allowed = match kind {
            FileType::Symlink | FileType::Directory => ALLOWED_OTHERS.contains(&name.as_str()),
            FileType::CharacterDevice => {
                let number = (
                    rustix::fs::major(stat.st_rdev),
                    rustix::fs::minor(stat.st_rdev),
                );
                ALLOWED.contains(&(name.as_str(), number.0, number.1))
                    || (name == "console" && is_own_terminal("/dev/console"))
            }
            _ => false,
        };
        if !allowed {
            leaks.push(format!("{name} ({kind:?})"));
        }
    }
    leaks.sort();
    f.none_of("what stands in /dev", "the six and links", &leaks);
    Ok(())
}

/// The path is a pty of the devpts that is mounted here.
fn is_own_terminal(path: &str) -> bool {
    let (Ok(stat), Ok(pts)) = (rustix::fs::stat(path), rustix::fs::stat("/dev/pts")) else {
        return false;
    };
    stat.st_dev == pts.st_dev
}

fn terminals(t: Tester, f: &mut Findings) -> Result<()> {
    let mine: Vec<u64> = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ]
    .into_iter()
    .filter_map(|fd| rustix::fs::fstat(fd).ok())
    .map(|s| s.st_rdev)
    .collect();
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/dev/pts")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = rustix::fs::stat(entry.path()).map(|s| s.st_rdev);
        if name != "ptmx" && !number.is_ok_and(|n| mine.contains(&n)) {
            others.push(format!("/dev/pts/{name}"));
        }
    }
    f.none_of("terminals of others", "none in /dev/pts", &others);
    for (check, request) in [
        ("typing into the terminal (TIOCSTI)", Request::TypeInto),
        ("TIOCSTI with high bits set", Request::TypeIntoWide),
        ("console pasting (TIOCLINUX)", Request::Console),
        ("line disciplines (TIOCSETD)", Request::LineDiscipline),
    ] {
        // EIO: the kernel's own refusal where dev.tty.legacy_tiocsti is 0.
        t.refused(f, check, &[libc::EIO], || {
            let side = own_terminal()?;
            ioctl(std::os::fd::AsFd::as_fd(&side), request)
        })?;
    }
    if Path::new("/dev/tty").exists() {
        let tty = rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let foreign = tty.is_ok()
            && !mine
                .iter()
                .any(|n| (136..=143).contains(&rustix::fs::major(*n)));
        f.holds(
            "no controlling terminal of outside",
            !foreign,
            match tty {
                Ok(_) => "/dev/tty opens".to_owned(),
                Err(e) => Error::call("open /dev/tty", e.raw_os_error()).cause,
            },
        );
    }
    Ok(())
}

/// A fresh pty, made the controlling terminal of a session of this child's own.
fn own_terminal() -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let side = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    take_terminal(std::os::fd::AsFd::as_fd(&side))?;
    // The master stays open until this child ends, or the other side would hang up.
    std::mem::forget(master);
    Ok(side)
}
