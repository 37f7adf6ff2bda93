//! Mounting, and making or joining namespaces.

use super::attempt::Tester;
use super::finding::Findings;
use crate::error::Result;
use crate::sys::probe_calls::{MOUNT_CALLS, clone_and_end, clone3_and_end, setns, unshare};
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsFd;

const FLAGS: &[(&str, i32)] = &[
    ("user", libc::CLONE_NEWUSER),
    ("mount", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("network", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
];
const NEW_TIME: i32 = 0x80;

/// The inode numbers of the machine's first namespaces (linux/nsfs.h, proc_ns.h). Before Linux
/// 6.18 the mount and network ones have no fixed number: other checks see those.
const FIRST: &[(&str, &str, u64)] = &[
    ("ipc", "ipc", 0xefff_ffff),
    ("uts", "uts", 0xefff_fffe),
    ("user", "user", 0xefff_fffd),
    ("pid", "pid", 0xefff_fffc),
    ("cgroup", "cgroup", 0xefff_fffb),
    ("network", "net", 0xefff_fff9),
    ("mount", "mnt", 0xefff_fff8),
];

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("mounts");
    for call in MOUNT_CALLS {
        t.refused(f, call.name, &[], || call.attempt())?;
    }
    f.group("namespaces");
    let first: Vec<String> = FIRST
        .iter()
        .filter(|(_, file, number)| {
            rustix::fs::stat(format!("/proc/self/ns/{file}")).is_ok_and(|s| s.st_ino == *number)
        })
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    let granted = super::network::granted().filter(|_| first == ["network"]);
    f.none_of_but(
        "namespaces shared with the machine",
        "none",
        &first,
        granted,
    );
    let attempts = FLAGS.iter().chain([&("time", NEW_TIME)]);
    t.all_refused(
        f,
        "unshare",
        &[],
        attempts.map(|(name, flag)| (*name, || unshare(*flag))),
    )?;
    t.all_refused(
        f,
        "clone with a new namespace",
        &[],
        FLAGS
            .iter()
            .map(|(name, flag)| (*name, || clone_and_end(*flag))),
    )?;
    t.all_refused(
        f,
        "clone3 with a new namespace",
        &[],
        FLAGS
            .iter()
            .map(|(name, flag)| (*name, || clone3_and_end(*flag))),
    )?;
    for (check, process) in [
        ("setns into its own", "self"),
        ("setns into those of pid 1", "1"),
    ] {
        let names = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
        let attempts = names.map(|name| {
            let path = format!("/proc/{process}/ns/{name}");
            (name, move || {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let namespace = rustix::fs::open(path, flags, Mode::empty())?;
                setns(namespace.as_fd())
            })
        });
        t.all_refused(f, check, &[], attempts)?;
    }
    Ok(())
}
