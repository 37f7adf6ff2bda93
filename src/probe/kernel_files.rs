//! What the kernel shows and lets be set through files: /proc, /sys, cgroups.

use super::attempt::Tester;
use super::finding::{Findings, Verdict};
use super::mounts::mounts;
use crate::error::Result;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Files and folders of /proc that tell about the whole machine, or act on it.
const MASKED: &[&str] = &[
    "acpi",
    "bus",
    "cmdline",
    "config.gz",
    "fs",
    "interrupts",
    "iomem",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "modules",
    "sched_debug",
    "scsi",
    "slabinfo",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
];

/// File systems that are windows into the kernel.
const KERNEL_TYPES: &[&str] = &[
    "sysfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "bpf",
    "fusectl",
    "efivarfs",
    "binfmt_misc",
    "pstore",
    "hugetlbfs",
    "nfsd",
    "selinuxfs",
    "resctrl",
];

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("files of the kernel");
    let leaks: Vec<String> = MASKED
        .iter()
        .filter(|name| shows_something(&format!("/proc/{name}")))
        .map(|name| (*name).to_owned())
        .collect();
    f.none_of(
        "machine-wide files of /proc",
        format!("{} tried", MASKED.len()),
        &leaks,
    );
    let (mut tried, mut leaks) = (0, Vec::new());
    writable(Path::new("/proc"), 0, &mut tried, &mut leaks);
    f.none_of(
        "settings of /proc and /proc/sys",
        format!("{tried} tried to open for writing"),
        &leaks,
    );
    for (name, path) in [
        ("the core handler", "/proc/sys/kernel/core_pattern"),
        ("the module loader's path", "/proc/sys/kernel/modprobe"),
    ] {
        // Opened, not written: an open for writing is what the kernel refuses.
        t.refused(
            f,
            &format!("setting {name}"),
            &[libc::EROFS, libc::ENOENT],
            || rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map(|_| 0),
        )?;
    }
    let windows: Vec<String> = mounts()?
        .iter()
        .filter(|m| KERNEL_TYPES.contains(&m.kind.as_str()))
        .map(|m| format!("{} on {}", m.kind, m.point))
        .collect();
    f.none_of("file systems of the kernel", "none mounted", &windows);
    let entries = std::fs::read_dir("/sys").map_or(0, Iterator::count);
    f.holds("/sys is empty", entries == 0, format!("{entries} entries"));
    cgroup(f);
    Ok(())
}

/// Opens without blocking, for reading or else for writing, unless it is a mask: /dev/null.
fn open_any(path: &str) -> Option<OwnedFd> {
    let open = |access| {
        rustix::fs::open(
            path,
            access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
        )
    };
    let fd = open(OFlags::RDONLY)
        .or_else(|_| open(OFlags::WRONLY))
        .ok()?;
    (!is_null(&fd)).then_some(fd)
}

fn is_null(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|s| {
        FileType::from_raw_mode(s.st_mode) == FileType::CharacterDevice
            && s.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// Something other than an empty folder, an empty file or a mask.
fn shows_something(path: &str) -> bool {
    if Path::new(path).is_dir() {
        return std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    let Some(fd) = open_any(path) else {
        return false;
    };
    // Reading kmsg takes lines away from whoever logs them; that it opens is enough.
    if ["/proc/kmsg", "/proc/kcore", "/proc/sysrq-trigger"].contains(&path) {
        return true;
    }
    let mut start = [0u8; 64];
    !matches!(
        rustix::io::read(&fd, &mut start),
        Ok(0) | Err(Errno::PERM | Errno::ACCESS | Errno::AGAIN)
    )
}

/// Opens every file for writing, and writes nothing.
fn writable(folder: &Path, depth: usize, tried: &mut usize, leaks: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let process = depth == 0 && name.starts_with(|c: char| c.is_ascii_digit());
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if process || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            if depth < 8 {
                writable(&path, depth + 1, tried, leaks);
            }
            continue;
        }
        *tried += 1;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if rustix::fs::open(&path, flags, Mode::empty()).is_ok_and(|fd| !is_null(&fd)) {
            leaks.push(path.display().to_string());
        }
    }
}

/// cgroup_namespaces(7): a namespace of its own shows `/`, or a path that climbs out.
fn cgroup(f: &mut Findings) {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let paths: Vec<String> = text
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .filter(|path| *path != "/")
        .map(str::to_owned)
        .collect();
    f.none_of("the cgroup's path on the host", "shown as /", &paths);
    let own = std::fs::read_link("/proc/self/ns/cgroup")
        .is_ok_and(|link| link != Path::new("cgroup:[4026531835]"));
    if !own && paths.is_empty() {
        f.add(
            "a cgroup namespace of its own",
            Verdict::Open,
            "this is the machine's first one",
        );
    }
}
