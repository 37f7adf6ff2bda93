//! What the command line mounts in a cell: folders and files of the host, and tmpfs, where an image
//! has or has not a place for them.
//!
//! A source is opened twice: by the supervisor, which shows the policy what it opened, and by pid 1
//! in its own mount namespace, because the kernel mounts nothing that another namespace's
//! descriptor names. Between the two lies the decision; the second must be the very inode of the
//! first, which is held open meanwhile, so that its number is nobody else's.
//!
//! A target is resolved below the new root with the image's own links, and never out of it
//! (CVE-2021-30465, CVE-2023-28642). Where these links lead to is looked at once it is reached: on
//! the root itself, on what lazaret mounted (/proc, /dev, /sys), and on another mount's place
//! nothing is mounted.

use super::mounts::{
    IN_ROOT, NO_LINKS, attach, clone_mount, folder, new_tmpfs, open_below, relative, write_all,
};
use super::wire::{At, Fault};
use crate::plan::{HostBind, HostDevice, ProgramCopy, Tmpfs};
use crate::sys::{MountAttr, mount_setattr};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, fstat, major,
    minor, openat, openat2, statx,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use sha2::{Digest, Sha256};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

type Done<T = ()> = Result<T, Fault>;

/// What a person is told as it is, without the errno's words.
pub const PLAIN: &[&str] = &[
    NO_DEVICE, HIDES, SWAPPED, GONE, CLOSED, LINKED, DANGLING, TAKEN, OURS, ABSENT, NO_FOLDER,
    NO_FILE, NOT_IT, SHUT,
];
const NO_DEVICE: &str = "it is not the device of that name";
const HIDES: &str = "the image's links put it over another mount";
const SWAPPED: &str = "it is not what it was when the policy was asked";
const GONE: &str = "it is gone";
pub const CLOSED: &str = "a folder on the way is closed to this user without capabilities";
const LINKED: &str = "a symbolic link was put in its way";
const DANGLING: &str = "a link of the image on the way leads nowhere";
const TAKEN: &str = "the image's links lead it to / or onto another mount";
const OURS: &str = "the image's links lead it to a place that is the cell's own";
const ABSENT: &str = "the mount above has no such place, and nothing is made in it";
const NO_FOLDER: &str = "the place inside is no folder";
const SHUT: &str = "a folder on the way is closed to the ids inside";
pub const NOT_IT: &str = "its sha256 is another";
const NO_FILE: &str = "the place inside is a folder, and the source is a file";

fn plain(errno: Errno, call: &'static str) -> Fault {
    Fault { errno, call }
}

/// Opens `path`, which must be the inode that `judged` is.
pub fn open_source(path: &str, judged: BorrowedFd<'_>) -> Done<OwnedFd> {
    // Without O_NOFOLLOW, under which a link at the end would be opened itself (openat2(2)).
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let source = match openat2(CWD, path, flags, Mode::empty(), resolve) {
        Ok(source) => source,
        Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => return Err(plain(errno, GONE)),
        Err(errno @ Errno::LOOP) => return Err(plain(errno, LINKED)),
        Err(errno @ Errno::ACCESS) => return Err(plain(errno, CLOSED)),
        Err(errno) => return Err(errno).at("openat2 a source"),
    };
    let now = fstat(&source).at("fstat a source")?;
    let then = fstat(judged).at("fstat what was judged")?;
    let kind = FileType::from_raw_mode;
    let same = (now.st_dev, now.st_ino, kind(now.st_mode))
        == (then.st_dev, then.st_ino, kind(then.st_mode));
    match same {
        true => Ok(source),
        false => Err(plain(Errno::STALE, SWAPPED)),
    }
}

/// As [`open_source`], and its bytes: opened anew through the very inode that was compared.
pub fn open_readable(path: &str, judged: BorrowedFd<'_>) -> Done<OwnedFd> {
    let source = open_source(path, judged)?;
    let stat = fstat(&source).at("fstat a source")?;
    // An open of anything else can wait, or do something.
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(plain(Errno::STALE, SWAPPED));
    }
    let link = format!("/proc/self/fd/{}", source.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(CWD, link, flags, Mode::empty()).at("open a source for reading")
}

/// The mounts below the new root on which something may be mounted, by mount id.
#[derive(Default)]
pub struct Ground {
    /// And whether missing places may be made there: never in what is the host's.
    mounts: Vec<(u64, bool)>,
    /// What the command line mounted, and where.
    placed: Vec<(u64, String)>,
    /// The root has no layers, and mounts are at the real paths of their sources: no link is on the
    /// way to any of them.
    pub plain: bool,
    /// Who the caller is inside, if anybody: container root cannot pass the caller's closed folders.
    pub caller: Option<(u32, u32)>,
}

impl Ground {
    /// A mount is there now.
    pub fn add(&mut self, mount: BorrowedFd<'_>, makes: bool) -> Done {
        self.mounts.push((mount_of(mount)?.0, makes));
        Ok(())
    }

    /// A mount that the command line asked for is at `path` now, and those before it are where they
    /// were: none of them is below a place that another name leads to. In a root without links each
    /// is below what was mounted before it or beside it, and looking at all of them again, every
    /// time, would be the dearest part of the launch.
    fn placed(&mut self, root: BorrowedFd<'_>, mount: BorrowedFd<'_>, path: &str) -> Done {
        self.placed.push((mount_of(mount)?.0, path.to_owned()));
        let first = match self.plain {
            true => self.placed.len() - 1,
            false => 0,
        };
        for (id, path) in self.placed.iter().skip(first) {
            let seen = self.open(root, relative(path), !self.plain);
            let seen = seen.ok().map(|place| mount_of(place.as_fd())).transpose()?;
            if seen != Some((*id, true)) {
                return Err(plain(Errno::BUSY, HIDES));
            }
        }
        Ok(())
    }

    /// A place below the root, `links` followed inside it; as the caller where root may not go.
    fn open(&self, root: BorrowedFd<'_>, path: &str, links: bool) -> rustix::io::Result<OwnedFd> {
        use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
        use rustix::process::{
            DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal,
        };
        let open = || {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let resolve = if links { IN_ROOT } else { NO_LINKS };
            open_below(root, path, flags, resolve)
        };
        match (open(), self.caller) {
            (Err(Errno::ACCESS), Some((uid, gid))) => {
                // These two report nothing (setfsuid(2)): where they do nothing, nothing opens.
                setfsgid(Gid::from_raw(gid));
                setfsuid(Uid::from_raw(uid));
                let opened = open();
                // Root's capabilities over files come back with its number.
                setfsuid(Uid::from_raw(0));
                setfsgid(Gid::from_raw(0));
                // A change of ids clears the one and sets the other to fs.suid_dumpable (prctl(2)).
                set_parent_process_death_signal(Some(Signal::KILL))?;
                set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
                opened
            }
            (opened, _) => opened,
        }
    }

    fn makes(&self, mount: u64) -> bool {
        self.mounts.contains(&(mount, true))
    }

    fn has(&self, mount: u64) -> bool {
        self.mounts.iter().any(|(id, _)| *id == mount)
    }
}

/// The id of the mount that a file lies on, and whether it is that mount's root (statx(2), Linux
/// 5.8).
fn mount_of(file: BorrowedFd<'_>) -> Done<(u64, bool)> {
    let wanted = StatxFlags::MNT_ID;
    let stat = statx(file, "", AtFlags::EMPTY_PATH, wanted).at("statx a mount point")?;
    if stat.stx_mask & wanted.bits() == 0 {
        return Err(Errno::NOSYS).at("statx: no mount id");
    }
    let root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    Ok((stat.stx_mnt_id, root))
}

/// The place at `path` below `root`, links followed inside it; it and its parents are made where
/// they are missing and lie on the root or a tmpfs. `folder`: what is made in the end.
fn reach(
    root: BorrowedFd<'_>,
    ground: &Ground,
    path: &str,
    folder: bool,
    links: bool,
) -> Done<OwnedFd> {
    let open = |path: &str| ground.open(root, path, links);
    let path = relative(path);
    match open(path) {
        Err(Errno::NOENT) => {}
        Err(errno @ Errno::ACCESS) => return Err(plain(errno, SHUT)),
        Err(errno @ Errno::LOOP) if !links => return Err(plain(errno, LINKED)),
        other => return other.at("openat2 a place below the new root"),
    }
    let mut sofar = String::with_capacity(path.len());
    let mut at = open(".").at("openat2 the new root")?;
    let mut names = path
        .split('/')
        .filter(|name| !name.is_empty() && *name != ".")
        .peekable();
    while let Some(name) = names.next() {
        if !sofar.is_empty() {
            sofar.push('/');
        }
        sofar.push_str(name);
        at = match open(&sofar) {
            Err(Errno::NOENT) => {
                if !ground.makes(mount_of(at.as_fd())?.0) {
                    return Err(plain(Errno::NOENT, ABSENT));
                }
                make(at.as_fd(), name, folder || names.peek().is_some())?;
                open(&sofar).at("openat2 a place that was just made")?
            }
            other => other.at("openat2 a place below the new root")?,
        };
    }
    Ok(at)
}

fn make(at: BorrowedFd<'_>, name: &str, folder: bool) -> Done {
    let made = match folder {
        true => rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)),
        false => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(at, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // It was not there when it was opened: its name is a link.
        Err(errno @ Errno::EXIST) => Err(plain(errno, DANGLING)),
        made => made.at("make a place below the new root"),
    }
}

/// The place for a mount.
fn target(root: BorrowedFd<'_>, ground: &Ground, path: &str, folder: bool) -> Done<OwnedFd> {
    let target = reach(root, ground, path, folder, !ground.plain)?;
    let (mount, is_root) = mount_of(target.as_fd())?;
    if !ground.has(mount) {
        return Err(plain(Errno::BUSY, OURS));
    }
    if is_root {
        return Err(plain(Errno::BUSY, TAKEN));
    }
    let stat = fstat(&target).at("fstat a mount point")?;
    match (FileType::from_raw_mode(stat.st_mode), folder) {
        (FileType::Directory, true) => Ok(target),
        (FileType::Directory, false) => Err(plain(Errno::ISDIR, NO_FILE)),
        (_, false) => Ok(target),
        (_, true) => Err(plain(Errno::NOTDIR, NO_FOLDER)),
    }
}

/// The working directory, made if the image has none.
pub fn workdir(root: BorrowedFd<'_>, ground: &Ground, path: &str) -> Done {
    reach(root, ground, path, true, true).map(drop)
}

/// A tmpfs below the root.
pub fn tmpfs(root: BorrowedFd<'_>, ground: &mut Ground, t: &Tmpfs) -> Done<OwnedFd> {
    let target = target(root, ground, &t.path, true)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, t.no_exec);
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, t.read_only);
    let mount = new_tmpfs(t.size, t.inodes, t.mode, attributes)?;
    attach(mount.as_fd(), target.as_fd())?;
    ground.add(mount.as_fd(), !t.read_only)?;
    ground.placed(root, mount.as_fd(), &t.path)?;
    Ok(mount)
}

/// A source, with all that is mounted below it: the kernel would not let a part be uncovered. The
/// attributes are set on all of it before any of it can be reached.
pub fn bind(
    root: BorrowedFd<'_>,
    ground: &mut Ground,
    source: BorrowedFd<'_>,
    b: &HostBind,
) -> Done {
    let target = target(root, ground, &b.path, b.folder)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(source, "", flags).at("open_tree a source")?;
    let attributes = [
        (b.read_only, MountAttr::READ_ONLY),
        (b.no_suid, MountAttr::NO_SUID),
        (b.no_dev, MountAttr::NO_DEV),
        (b.no_exec, MountAttr::NO_EXEC),
    ];
    let attributes = attributes
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(MountAttr::NONE, |all, (_, one)| all.and(one));
    mount_setattr(tree.as_fd(), attributes, true).at("mount_setattr a source")?;
    attach(tree.as_fd(), target.as_fd())?;
    ground.add(tree.as_fd(), false)?;
    ground.placed(root, tree.as_fd(), &b.path)
}

/// The copy that is executed, by its descriptor.
pub struct Program {
    pub file: OwnedFd,
    /// It names an interpreter, which opens it anew (execve(2)).
    pub script: bool,
}

/// A program in the cell's tmpfs, byte for byte as it is hashed, and on its place if it is the one
/// that was named. Between a check of the host's own file and its execution somebody could write
/// into it. Its place is there for a program that looks for itself; what is executed is the copy's
/// descriptor, because whoever renames another file onto the place outside takes the mount away.
pub fn program(
    root: BorrowedFd<'_>,
    memory: BorrowedFd<'_>,
    ground: &mut Ground,
    source: BorrowedFd<'_>,
    p: &ProgramCopy,
) -> Done<Program> {
    const NAME: &str = "program";
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let copy = openat(memory, NAME, flags, Mode::from_raw_mode(0o555));
    let copy = copy.at("openat the program's copy")?;
    let mut hash = Sha256::new();
    let (mut buffer, mut head) = (vec![0; 1 << 16], Vec::<u8>::with_capacity(2));
    loop {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(source, &mut buffer[..]));
        match read.at("read the program")? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                head.extend(buffer[..n].iter().take(2 - head.len()));
                write_all(copy.as_fd(), &buffer[..n])?;
            }
        }
    }
    if <[u8; 32]>::from(hash.finalize()) != *p.sha256.bytes() {
        return Err(plain(Errno::STALE, NOT_IT));
    }
    // What is open for writing is not executed.
    drop(copy);
    let target = target(root, ground, &p.path, false)?;
    let tree = clone_mount(memory, NAME)?;
    let attributes = MountAttr::READ_ONLY
        .and(MountAttr::NO_SUID)
        .and(MountAttr::NO_DEV);
    mount_setattr(tree.as_fd(), attributes, false).at("mount_setattr the program")?;
    attach(tree.as_fd(), target.as_fd())?;
    ground.placed(root, tree.as_fd(), &p.path)?;
    Ok(Program {
        file: tree,
        script: head == b"#!",
    })
}

/// A device node of the host in the cell's /dev, where nothing has its name.
pub fn device(root: BorrowedFd<'_>, source: BorrowedFd<'_>, d: &HostDevice) -> Done {
    let stat = fstat(source).at("fstat a device")?;
    let is_it = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (d.major, d.minor);
    if !is_it {
        return Err(plain(Errno::NODEV, NO_DEVICE));
    }
    let (parent, name) = d.path.rsplit_once('/').unwrap_or(("", &d.path));
    let parent = folder(root, parent, 0o755, false)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
    openat(&parent, name, flags, Mode::from_raw_mode(0o444)).at("openat a device's place")?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(&parent, name, flags, Mode::empty()).at("openat a device's place")?;
    let tree = clone_mount(source, "")?;
    let attributes = MountAttr::NO_SUID.and(MountAttr::NO_EXEC);
    mount_setattr(tree.as_fd(), attributes, false).at("mount_setattr a device")?;
    attach(tree.as_fd(), target.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// What was judged is opened again only where it still is, and only as itself.
    #[test]
    fn a_source_is_the_one_that_was_judged() {
        let folder = std::env::temp_dir().join(format!("lazaret-binds-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        let (source, aside) = (folder.join("source"), folder.join("aside"));
        fs::create_dir(&source).unwrap();
        let path = source.to_str().unwrap();
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let judged = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let call = || {
            open_source(path, judged.as_fd())
                .map_err(|fault| fault.call)
                .err()
        };
        assert_eq!(call(), None);
        fs::rename(&source, &aside).unwrap();
        assert_eq!(call(), Some(GONE));
        symlink(&aside, &source).unwrap();
        assert_eq!(call(), Some(LINKED));
        fs::remove_file(&source).unwrap();
        fs::create_dir(&source).unwrap();
        assert_eq!(call(), Some(SWAPPED));
        fs::remove_dir(&source).unwrap();
        fs::rename(&aside, &source).unwrap();
        assert_eq!(call(), None);
        // A link on the way to it.
        let moved = folder.join("moved");
        let below = source.join("below");
        fs::create_dir(&below).unwrap();
        let path = below.to_str().unwrap();
        let judged = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        fs::rename(&source, &moved).unwrap();
        symlink(&moved, &source).unwrap();
        let fault = open_source(path, judged.as_fd()).unwrap_err();
        assert_eq!(fault.call, LINKED);
        fs::remove_dir_all(&folder).unwrap();
    }
}
