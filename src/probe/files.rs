//! Ways to a file of the host: paths, handles, pid 1's links, inherited fds, what mounts tell.

use super::attempt::Tester;
use super::finding::{Findings, Verdict, errno_name};
use super::mounts::mounts;
use crate::error::{Context, Error, Result};
use crate::sys::probe_calls::HANDLE_CALLS;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// statfs(2): OVERLAYFS_SUPER_MAGIC.
const OVERLAY: i64 = 0x794c_7630;

/// Files and folders that machines have and the probe's image has not.
const MARKERS: &[&str] = &[
    "/etc/shadow",
    "/etc/machine-id",
    "/etc/ssh",
    "/etc/fstab",
    "/boot",
    "/home",
    "/root",
    "/var",
    "/usr",
    "/lib/modules",
    "/opt",
    "/mnt",
    "/srv",
    "/sbin/init",
];

/// Links and files of pid 1 that lead out of the cell, or tell who started it.
const INIT_READ: &[&str] = &[
    "root",
    "cwd",
    "exe",
    "environ",
    "maps",
    "mem",
    "fd",
    "fdinfo",
    "map_files",
    "io",
    "auxv",
    "stack",
    "syscall",
    "personality",
    "pagemap",
    "ns/mnt",
    "ns/net",
    "ns/user",
    "ns/pid",
    "task/1/fd",
    "task/1/root",
    "task/1/environ",
];
const INIT_WRITE: &[&str] = &["exe", "mem", "clear_refs", "uid_map", "comm"];

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("files of the host");
    root(f)?;
    let found: Vec<String> = MARKERS
        .iter()
        .filter(|path| is_inhabited(path))
        .map(|path| (*path).to_owned())
        .collect();
    f.none_of(
        "files that only a machine has",
        format!("{} looked for", MARKERS.len()),
        &found,
    );
    for call in HANDLE_CALLS {
        t.refused(f, call.name, &[], || call.attempt())?;
    }
    init_links(f);
    own_program(f)?;
    inherited(f)?;
    for fd in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        standard_stream(f, fd);
    }
    working_directory(f);
    let leaks: Vec<String> = mounts()?
        .iter()
        .filter_map(super::mounts::Mount::leak)
        .collect();
    f.none_of("host paths in mountinfo", "read", &leaks);
    Ok(())
}

/// A file, or a folder with something in it.
fn is_inhabited(path: &str) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) => {
            e.raw_os_error() == Some(libc::ENOTDIR)
                || rustix::fs::stat(path)
                    .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) != FileType::Directory)
        }
    }
}

fn root(f: &mut Findings) -> Result<()> {
    let kind = rustix::fs::statfs("/").or_call(|| "statfs \"/\"")?.f_type;
    f.holds(
        "/ is an overlay of layers",
        kind == OVERLAY,
        format!("type {kind:#x}"),
    );
    let here = rustix::fs::stat("/").or_call(|| "stat \"/\"")?;
    let above = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .and_then(|root| rustix::fs::statat(root, "../../..", AtFlags::empty()))
        .or_call(|| "stat \"/../../..\"")?;
    f.holds(
        "nothing is above /",
        (here.st_dev, here.st_ino) == (above.st_dev, above.st_ino),
        "stat of /../../..",
    );
    Ok(())
}

fn init_links(f: &mut Findings) {
    if rustix::process::getpid().is_init() {
        f.add(
            "pid 1's files",
            Verdict::Open,
            "this process is pid 1 itself: nothing stands between it and its end",
        );
        return;
    }
    let mut leaks = Vec::new();
    for name in INIT_READ {
        let path = format!("/proc/1/{name}");
        let opened = if Path::new(&path).is_dir() {
            std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some())
        } else {
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()
                || std::fs::read_link(&path).is_ok()
        };
        if opened {
            leaks.push((*name).to_owned());
        }
    }
    f.none_of(
        "reading pid 1 through /proc",
        format!("{} tried", INIT_READ.len()),
        &leaks,
    );
    let leaks: Vec<String> = INIT_WRITE
        .iter()
        .filter(|name| {
            let path = format!("/proc/1/{name}");
            rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()
        })
        .map(|name| (*name).to_owned())
        .collect();
    f.none_of(
        "writing pid 1 through /proc",
        format!("{} tried", INIT_WRITE.len()),
        &leaks,
    );
}

/// The executable behind /proc/self/exe is a file of this root, not the host's (CVE-2019-5736).
fn own_program(f: &mut Findings) -> Result<()> {
    let mount = |path: &str| {
        rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)
            .map(|s| s.stx_mnt_id)
            .or_call(|| format!("statx {path:?}"))
    };
    let inside = mount("/proc/self/exe")? == mount("/")?;
    let link = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let writable = rustix::fs::open(
        "/proc/self/exe",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let write = match writable {
        Ok(_) => "it opens for writing".to_owned(),
        Err(e) => errno_name(e.raw_os_error()),
    };
    f.holds(
        "/proc/self/exe is of this root",
        inside && link == Path::new("/probe"),
        format!("{}; writing: {write}", link.display()),
    );
    Ok(())
}

fn inherited(f: &mut Findings) -> Result<()> {
    let names: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .or_call(|| "list \"/proc/self/fd\"")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The listing's own fd is closed by now and has no link.
    let leaks: Vec<String> = names
        .into_iter()
        .filter(|fd| *fd > 2)
        .filter_map(|fd| {
            let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some(format!("{fd}: {}", target.display()))
        })
        .collect();
    f.none_of("inherited fds from 3 up", "none", &leaks);
    Ok(())
}

/// A pipe, /dev/null or a pty of this cell's own /dev/pts; anything else belongs to somebody
/// outside, and can be opened again with other rights through /proc/self/fd.
fn standard_stream(f: &mut Findings, fd: BorrowedFd<'_>) {
    let number = rustix_number(fd);
    let check = format!("fd {number} is nobody else's");
    let Ok(stat) = rustix::fs::fstat(fd) else {
        f.add(check, Verdict::Contained, "closed");
        return;
    };
    let device = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    let link = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
    let link = link.display();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => f.add(check, Verdict::Contained, "a pipe"),
        FileType::CharacterDevice if device == (1, 3) => {
            f.add(check, Verdict::Contained, "/dev/null");
        }
        FileType::CharacterDevice if (136..=143).contains(&device.0) => {
            let own = rustix::fs::stat("/dev/pts").is_ok_and(|pts| pts.st_dev == stat.st_dev)
                && mounts().is_ok_and(|m| m.iter().any(|m| m.point == "/dev/pts"));
            let here = rustix::fs::stat(format!("/dev/pts/{}", device.1))
                .is_ok_and(|s| s.st_ino == stat.st_ino);
            f.holds(&check, own && here, format!("terminal {link}"));
        }
        kind => {
            let reopened = rustix::fs::open(
                format!("/proc/self/fd/{number}"),
                OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK,
                Mode::empty(),
            )
            .is_ok();
            let again = if reopened {
                ", and opens read-write"
            } else {
                ""
            };
            f.add(check, Verdict::Open, format!("{kind:?} {link}{again}"));
        }
    }
}

fn rustix_number(fd: BorrowedFd<'_>) -> i32 {
    use std::os::fd::AsRawFd;
    fd.as_fd().as_raw_fd()
}

fn working_directory(f: &mut Findings) {
    let cwd = std::env::current_dir();
    let inside = match (&cwd, rustix::fs::stat(".")) {
        (Ok(path), Ok(here)) => rustix::fs::stat(path)
            .is_ok_and(|named| (named.st_dev, named.st_ino) == (here.st_dev, here.st_ino)),
        _ => false,
    };
    let shown = cwd.map_or_else(
        |e| Error::io("getcwd", &e).cause,
        |path| path.display().to_string(),
    );
    f.holds("the working directory is of this root", inside, shown);
}
