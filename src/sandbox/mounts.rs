//! The mounts of a cell, made by pid 1 before anything untrusted runs.
//!
//! Targets are resolved below a descriptor of the new root with openat2, never following a link out
//! of it; sources are descriptors that were checked to be what they should be. Nothing inside runs
//! while this is done, so there is nobody to race (CVE-2025-31133, CVE-2025-52565).

use super::wire::{At, Fault};
use crate::plan::{Bind, Masks, Shared};
use crate::sys::{MountAttr, mount_setattr};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

type Done<T = ()> = Result<T, Fault>;

/// Inside the new root, links and all; never out of it, never through /proc's magic links.
pub(super) const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// As [`IN_ROOT`], and no link at all: for the places that lazaret itself mounts on, where a link in
/// the image would put the mount elsewhere (CVE-2019-19921).
pub(super) const NO_LINKS: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_SYMLINKS);

/// How often a lookup is begun anew; nobody who renames without end is waited for.
const LOOKUPS: usize = 256;

/// openat2(2) below `root`. A `..` in a link is EAGAIN while anybody on this machine renames
/// anything, because the kernel could not tell whether it stayed below.
pub(super) fn open_below(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    for _ in 1..LOOKUPS {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => rustix::thread::sched_yield(),
            other => return other,
        }
    }
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// `/a/b` as `a/b`; the root itself as `.`.
pub fn relative(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        rest => rest,
    }
}

/// A folder below `root`; made, parents too, where absent. `links`: whether the image's own
/// symbolic links are followed (inside the root).
pub(super) fn folder(root: BorrowedFd<'_>, path: &str, mode: u32, links: bool) -> Done<OwnedFd> {
    let resolve = if links { IN_ROOT } else { NO_LINKS };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &str| open_below(root, path, flags, resolve);
    let path = relative(path);
    match open(path) {
        Err(Errno::NOENT) => {}
        other => return other.at("openat2 a mount point below the new root"),
    }
    let mut sofar = String::with_capacity(path.len());
    let mut at: Option<OwnedFd> = None;
    for name in path.split('/').filter(|n| !n.is_empty() && *n != ".") {
        if !sofar.is_empty() {
            sofar.push('/');
        }
        sofar.push_str(name);
        // The whole path was just looked at.
        let found = match sofar.len() == path.len() {
            true => Err(Errno::NOENT),
            false => open(&sofar),
        };
        at = Some(match found {
            Err(Errno::NOENT) => {
                let above = at.as_ref().map_or(root, AsFd::as_fd);
                rustix::fs::mkdirat(above, name, Mode::from_raw_mode(mode))
                    .at("mkdirat below the new root")?;
                open(&sofar).at("openat2 a folder that was just made")?
            }
            other => other.at("openat2 a mount point below the new root")?,
        });
    }
    match at {
        Some(folder) => Ok(folder),
        None => open(".").at("openat2 the new root"),
    }
}

pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Done {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).at("move_mount")
}

pub(super) fn clone_mount(at: BorrowedFd<'_>, path: &str) -> Done<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(at, path, flags).at("open_tree")
}

/// A new tmpfs, not attached yet.
pub(super) fn new_tmpfs(
    size: u64,
    inodes: u64,
    mode: u32,
    attributes: MountAttrFlags,
) -> Done<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).at("fsopen tmpfs")?;
    let set = |key: &str, value: String| fsconfig_set_string(&fs, key, value.as_str());
    set("size", size.to_string()).at("fsconfig tmpfs size")?;
    set("nr_inodes", inodes.to_string()).at("fsconfig tmpfs nr_inodes")?;
    set("mode", format!("{mode:o}")).at("fsconfig tmpfs mode")?;
    fsconfig_create(&fs).at("fsconfig tmpfs create")?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("fsmount tmpfs")
}

/// Where this is private to the mount namespace, passable for every user, and not needed again: the
/// cell's tmpfs and root are attached here until the pivot takes the host's tree away.
const STAGE: &str = "/sys";

/// The cell's one tmpfs, attached: writes go there, and /dev, /dev/shm and what is empty are folders
/// of it. One file system instead of five is made, and torn down, in a fifth of the time.
pub fn memory(size: u64, inodes: u64) -> Done<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let memory = new_tmpfs(size, inodes, 0o755, attributes)?;
    let stage = openat(CWD, STAGE, FOLDER, Mode::empty()).at("openat /sys")?;
    attach(memory.as_fd(), stage.as_fd())?;
    Ok(memory)
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The overlay of `lowers` (uppermost first) below the writable layer in `upper`, as a descriptor
/// of its root. The options name layers as /proc/self/fd/N, so that mountinfo inside shows no host
/// path.
///
/// `on_disk`: the writable layer is. Then it is `volatile` (overlayfs.rst, "Volatile mount"): the end of
/// a mount, and sync(2) by a cell, would write out all that anybody has written to the whole file system
/// and wait for it. A folder `work/incompat/volatile` stays, for which nothing mounts that layer again.
pub fn root(lowers: &[OwnedFd], upper: BorrowedFd<'_>, on_disk: bool) -> Done<OwnedFd> {
    let (upper_dir, work_dir) = upper_folders(upper)?;
    let mut options = String::with_capacity(64 + lowers.len() * 20);
    options.push_str(match on_disk {
        true => "userxattr,volatile,lowerdir=",
        false => "userxattr,lowerdir=",
    });
    for (i, lower) in lowers.iter().enumerate() {
        if i > 0 {
            options.push(':');
        }
        options.push_str("/proc/self/fd/");
        options.push_str(&lower.as_raw_fd().to_string());
    }
    for (key, fd) in [(",upperdir=", &upper_dir), (",workdir=", &work_dir)] {
        options.push_str(key);
        options.push_str("/proc/self/fd/");
        options.push_str(&fd.as_raw_fd().to_string());
    }
    nix::mount::mount(
        Some("overlay"),
        STAGE,
        Some("overlay"),
        nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .at("mount overlay")?;
    openat(CWD, STAGE, FOLDER, Mode::empty()).at("openat the new root")
}

/// A root of nothing: a folder of the cell's tmpfs.
pub fn empty_root(memory: BorrowedFd<'_>) -> Done<OwnedFd> {
    let stage = openat(CWD, STAGE, FOLDER, Mode::empty()).at("openat /sys")?;
    let attributes = MountAttr::NO_SUID.and(MountAttr::NO_DEV);
    bind_folder(memory, "root", 0o755, attributes, stage.as_fd())?;
    openat(CWD, STAGE, FOLDER, Mode::empty()).at("openat the new root")
}

/// A folder below the root, made if it is missing.
pub fn make_folder(root: BorrowedFd<'_>, path: &str, mode: u32, owner: (u32, u32)) -> Done {
    use rustix::fs::{Gid, Uid};
    let made = folder(root, path, 0o755, false)?;
    let mode = Mode::from_raw_mode(mode);
    // The owner first, whose change takes bits away.
    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    rustix::fs::chownat(&made, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .at("fchownat a folder of the root")?;
    rustix::fs::chmodat(root, relative(path), mode, AtFlags::empty())
        .at("fchmodat a folder of the root")
}

/// A folder of the cell's tmpfs, made and bound to `path` below the root.
pub fn shared(root: BorrowedFd<'_>, memory: BorrowedFd<'_>, s: &Shared) -> Done {
    let target = folder(root, &s.path, 0o755, false)?;
    let mut attributes = MountAttr::NO_SUID
        .and(MountAttr::NO_DEV)
        .and(MountAttr::NO_EXEC);
    if s.read_only {
        attributes = attributes.and(MountAttr::READ_ONLY);
    }
    bind_folder(memory, &s.folder, s.mode, attributes, target.as_fd()).map(drop)
}

fn bind_folder(
    memory: BorrowedFd<'_>,
    name: &str,
    mode: u32,
    attributes: MountAttr,
    target: BorrowedFd<'_>,
) -> Done<OwnedFd> {
    let mode = Mode::from_raw_mode(mode);
    rustix::fs::mkdirat(memory, name, mode).at("mkdirat the cell's tmpfs")?;
    // The umask took its part of a sticky 1777.
    rustix::fs::chmodat(memory, name, mode, AtFlags::empty()).at("fchmodat the cell's tmpfs")?;
    let tree = clone_mount(memory, name)?;
    mount_setattr(tree.as_fd(), attributes, false).at("mount_setattr a folder of the tmpfs")?;
    attach(tree.as_fd(), target)?;
    Ok(tree)
}

/// `upper` and `work` below `at`, made where absent.
fn upper_folders(at: BorrowedFd<'_>) -> Done<(OwnedFd, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let make = |name: &str| -> Done<OwnedFd> {
        match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e).at("mkdirat the writable layer"),
        }
        openat(at, name, flags, Mode::empty()).at("openat the writable layer")
    };
    Ok((make("upper")?, make("work")?))
}

/// The minimal /dev: a folder of the cell's tmpfs with the host's nodes bound into it, each checked
/// to be the device of that name.
pub fn dev(
    root: BorrowedFd<'_>,
    memory: BorrowedFd<'_>,
    nodes: &[Bind],
    terminal_group: bool,
) -> Done {
    let target = folder(root, "/dev", 0o755, false)?;
    let attributes = MountAttr::NO_SUID.and(MountAttr::NO_EXEC);
    let dev = bind_folder(memory, "dev", 0o755, attributes, target.as_fd())?;
    rustix::process::fchdir(&dev).at("fchdir /dev")?;
    let mut path = String::with_capacity(24);
    for node in nodes {
        path.clear();
        path.push_str("/dev/");
        path.push_str(&node.name);
        let file = FileType::RegularFile;
        rustix::fs::mknodat(CWD, node.name.as_str(), file, Mode::from_raw_mode(0o444), 0)
            .at("mknodat a device's mount point")?;
        bind(&path, &node.name).at("mount --bind a device node")?;
        // What is there now, whatever it was when it was named.
        let stat =
            statat(CWD, node.name.as_str(), AtFlags::SYMLINK_NOFOLLOW).at("stat a device node")?;
        let is_it = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && rustix::fs::major(stat.st_rdev) == node.major
            && rustix::fs::minor(stat.st_rdev) == node.minor;
        if !is_it {
            return Err(Fault {
                errno: Errno::NODEV,
                call: "a node of the host's /dev is not the device of that name",
            });
        }
    }
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(&dev, "pts", mode).at("mkdirat /dev/pts")?;
    rustix::fs::mkdirat(&dev, "shm", mode).at("mkdirat /dev/shm")?;
    for (link, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        rustix::fs::symlinkat(to, &dev, link).at("symlinkat below /dev")?;
    }
    let fs = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC).at("fsopen devpts")?;
    fsconfig_set_flag(&fs, "newinstance").at("fsconfig devpts newinstance")?;
    for (key, value) in [("ptmxmode", "0666"), ("mode", "0620"), ("max", "64")] {
        fsconfig_set_string(&fs, key, value).at("fsconfig devpts")?;
    }
    if terminal_group {
        fsconfig_set_string(&fs, "gid", "5").at("fsconfig devpts gid")?;
    }
    fsconfig_create(&fs).at("fsconfig devpts create")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("fsmount devpts")?;
    let target =
        openat(&dev, "pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at("openat /dev/pts")?;
    attach(pts.as_fd(), target.as_fd())
}

/// mount(2) with MS_BIND, both sides by name: for places that pid 1 has just mounted itself.
fn bind(source: &str, target: &str) -> nix::Result<()> {
    nix::mount::mount(
        Some(source),
        target,
        None::<&str>,
        nix::mount::MsFlags::MS_BIND,
        None::<&str>,
    )
}

/// The table of the cell's SysV segments, for who looks from outside (proc_sysvipc(5)): it shows the
/// ipc namespace of who opened it. `None`: this kernel has none.
pub fn segments(proc: BorrowedFd<'_>) -> Done<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match openat(proc, "sysvipc/shm", flags, Mode::empty()) {
        Ok(table) => Ok(Some(table)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e).at("open /proc/sysvipc/shm"),
    }
}

/// A fresh /proc, masked. /dev and the empty /sys are mounted beside it by now.
///
/// The masks go by name, one call each: below the working directory is the /proc that was made a
/// moment ago, beside it what was mounted before, and nobody is there to change either.
pub fn proc(root: BorrowedFd<'_>, masks: &Masks) -> Done<OwnedFd> {
    use nix::mount::MsFlags;
    let target = folder(root, "/proc", 0o555, false)?;
    let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).at("fsopen proc")?;
    fsconfig_create(&fs).at("fsconfig proc create")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let proc = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("fsmount proc")?;
    attach(proc.as_fd(), target.as_fd())?;
    rustix::process::fchdir(&proc).at("fchdir /proc")?;
    // A failed bind is undone with a wait for all CPUs: what is a folder is known beforehand.
    let files = masks.hidden.iter().map(|name| ("../dev/null", name));
    let folders = masks.hidden_folders.iter().map(|name| ("../sys", name));
    for (cover, name) in files.chain(folders) {
        match bind(cover, name) {
            // This kernel has none.
            Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
            Err(e) => return Err(e).at("mount --bind over a part of /proc"),
        }
    }
    for name in &masks.read_only {
        match bind(name, name) {
            Ok(()) => {}
            Err(nix::errno::Errno::ENOENT) => continue,
            Err(e) => return Err(e).at("mount --bind a part of /proc"),
        }
        let flags = MsFlags::MS_BIND
            | MsFlags::MS_REMOUNT
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC;
        nix::mount::mount(
            None::<&str>,
            name.as_str(),
            None::<&str>,
            flags,
            None::<&str>,
        )
        .at("mount --bind -o remount,ro a part of /proc")?;
    }
    Ok(proc)
}

/// Writes a small file below the root in place of whatever the image has there.
pub fn write_file(root: BorrowedFd<'_>, path: &str, content: &str) -> Done {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = folder(root, parent, 0o755, true)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(&parent, name, flags, Mode::from_raw_mode(0o644));
    let file = match open() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&parent, name, AtFlags::empty()).at("unlinkat below /etc")?;
            open().at("openat a file below /etc")?
        }
        other => other.at("openat a file below /etc")?,
    };
    write_all(file.as_fd(), content.as_bytes())
}

/// Writes everything.
pub fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Done {
    while !bytes.is_empty() {
        let n = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes)).at("write")?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// A regular file below the root, at most `limit` bytes; `None` where there is none. Anything else
/// than a regular file (a fifo as /etc/passwd) is an error, and is not waited for.
pub fn read_file(root: BorrowedFd<'_>, path: &str, limit: usize) -> Done<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match open_below(root, relative(path), flags, IN_ROOT) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(e) => return Err(e).at("openat2 a file of the image"),
    };
    let stat = rustix::fs::fstat(&file).at("fstat a file of the image")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault {
            errno: Errno::INVAL,
            call: "not a regular file: /etc/passwd or /etc/group",
        });
    }
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[..]))
            .at("read a file of the image")?;
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..n]);
        if bytes.len() > limit {
            return Err(Fault {
                errno: Errno::FBIG,
                call: "too large: /etc/passwd or /etc/group",
            });
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A passwd line for a uid that the image does not know, where it has an /etc/passwd at all.
pub fn name_user(root: BorrowedFd<'_>, uid: u32, line: &str) -> Done {
    match read_file(root, "/etc/passwd", super::users::MAX_FILE)? {
        Some(passwd) if super::users::knows(&passwd, uid) => Ok(()),
        Some(passwd) => {
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = open_below(root, "etc/passwd", flags, IN_ROOT)
                .at("openat2 /etc/passwd for appending")?;
            let newline = if passwd.is_empty() || passwd.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            write_all(file.as_fd(), format!("{newline}{line}\n").as_bytes())
        }
        None => write_file(
            root,
            "/etc/passwd",
            &format!("root:x:0:0:root:/root:/bin/sh\n{line}\n"),
        ),
    }
}

/// `folder` becomes /, alone: no suid, no device, nothing executable, and no /proc.
pub fn only(folder: BorrowedFd<'_>) -> Done {
    let tree = clone_mount(folder, "")?;
    let attributes = MountAttr::NO_SUID
        .and(MountAttr::NO_DEV)
        .and(MountAttr::NO_EXEC);
    mount_setattr(tree.as_fd(), attributes, true).at("mount_setattr the worker's root")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let stage = openat(CWD, "/sys", flags, Mode::empty()).at("openat /sys")?;
    attach(tree.as_fd(), stage.as_fd())?;
    pivot(tree.as_fd())
}

/// `root` becomes / and the host's root is gone (pivot_root(2), "pivot_root(".", ".")").
pub fn pivot(root: BorrowedFd<'_>) -> Done {
    rustix::process::fchdir(root).at("fchdir to the new root")?;
    rustix::process::pivot_root(".", ".").at("pivot_root")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).at("umount2 the old root")?;
    rustix::process::chdir("/").at("chdir /")
}
