//! Files by folder descriptors: what every part of the store does with them.

use crate::error::{Context, Error, Kind, Result};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens a folder; `None` where it is not there.
pub(super) fn open_folder(at: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>> {
    match rustix::fs::openat(at, name, FOLDER, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e).or_call(|| format!("open the store's {name}")),
    }
}

/// Makes a folder that may be there already, with exactly this mode: no setgid from above.
pub(super) fn make_folder(at: BorrowedFd<'_>, name: &str, mode: u32) -> Result<()> {
    let call = || format!("mkdir the store's {name}");
    match rustix::fs::mkdirat(at, name, Mode::from(mode)) {
        Ok(()) => rustix::fs::chmodat(at, name, Mode::from(mode), AtFlags::empty()).or_call(call),
        Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e).or_call(call),
    }
}

/// Opens a regular file for reading; `None` where it is not there.
pub(super) fn open(at: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e).or_call(|| format!("open the store's {name}")),
    }
}

/// A small file's bytes; `None` where it is not there, `Store` where it has more than `most`.
pub(super) fn read(at: BorrowedFd<'_>, name: &str, most: usize) -> Result<Option<Vec<u8>>> {
    match open(at, name)? {
        Some(fd) => read_all(fd.as_fd(), name, most).map(Some),
        None => Ok(None),
    }
}

/// All bytes of an open file, at most `most`.
pub(super) fn read_all(fd: BorrowedFd<'_>, name: &str, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2048);
    loop {
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        match rustix::io::read(fd, spare) {
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() > most => {
                let cause = format!("the store's {name} has more than {most} bytes");
                return Err(Error::new(Kind::Store, cause));
            }
            Ok(_) if bytes.len() == bytes.capacity() => bytes.reserve(bytes.len()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).or_call(|| format!("read the store's {name}")),
        }
    }
}

/// Makes a new file with these bytes, readable for the user; synced where it must survive.
pub(super) fn write(at: BorrowedFd<'_>, name: &str, bytes: &[u8], synced: bool) -> Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let call = || format!("write the store's {name}");
    let fd = rustix::fs::openat(at, name, flags, Mode::from(0o600)).or_call(call)?;
    write_to(fd.as_fd(), bytes, call)?;
    if synced {
        rustix::fs::fdatasync(&fd).or_call(|| format!("sync the store's {name}"))?;
    }
    Ok(())
}

pub(super) fn write_to(
    fd: BorrowedFd<'_>,
    mut bytes: &[u8],
    call: impl Fn() -> String,
) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(e @ (Errno::NOSPC | Errno::DQUOT)) => {
                return Err(Error::call(call(), e.raw_os_error())
                    .hint("the store's disk is full: free space, or run lazaret rmi"));
            }
            Err(e) => return Err(e).or_call(&call),
        }
    }
    Ok(())
}

/// Moves a name, over what is there.
pub(super) fn rename(
    from: BorrowedFd<'_>,
    name: &str,
    to: BorrowedFd<'_>,
    new_name: &str,
) -> Result<()> {
    rustix::fs::renameat(from, name, to, new_name)
        .or_call(|| format!("rename the store's {name} to {new_name}"))
}

/// Makes names that were given in a folder survive a power cut.
pub(super) fn sync(folder: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fsync(folder).or_call(|| "sync a folder of the store".to_owned())
}

/// Removes a file; false where it was not there.
pub(super) fn unlink(at: BorrowedFd<'_>, name: &str) -> Result<bool> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e).or_call(|| format!("remove the store's {name}")),
    }
}

/// The names in a folder, sorted.
pub(super) fn names(folder: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let call = || "read a folder of the store".to_owned();
    // A descriptor of its own, so that the position is at the start.
    let own = rustix::fs::openat(folder, ".", FOLDER, Mode::empty()).or_call(call)?;
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&own, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.or_call(call)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Takes a lock; false where it is held and `operation` does not wait.
pub(super) fn lock(fd: BorrowedFd<'_>, operation: FlockOperation) -> Result<bool> {
    loop {
        match rustix::fs::flock(fd, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e).or_call(|| "lock a file of the store".to_owned()),
        }
    }
}

/// Whether `name` in `at` is still the file that `fd` is.
pub(super) fn is_still(at: BorrowedFd<'_>, name: &str, fd: BorrowedFd<'_>) -> Result<bool> {
    let call = || format!("stat the store's {name}");
    let held = rustix::fs::fstat(fd).or_call(call)?;
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_ino, there.st_dev) == (held.st_ino, held.st_dev)),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e).or_call(call),
    }
}

/// Removes `name` in `at` with everything in it, by folder descriptors, never through a symlink.
/// Folders that shut their owner out are opened up. Nothing there is not an error. Files of other
/// owners need somebody who is root over them: a worker with the layer's id map.
pub fn remove_tree(at: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let call = |what: &str, name: &[u8]| format!("{what} {}", super::unpack::shown(name));
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says EISDIR, POSIX says EPERM; a folder without search permission says EACCES.
        Err(Errno::ISDIR | Errno::PERM | Errno::ACCESS) => {}
        Err(e) => return Err(e).or_call(|| call("unlink", name)),
    }
    // Each open folder with its name and what is still to be removed in it: no recursion, because
    // the tree's depth is a stranger's choice.
    let mut open = vec![enter(at, name)?];
    loop {
        let Some((folder, folder_name, left)) = open.last_mut() else {
            return Ok(());
        };
        let Some(next) = left.pop() else {
            let folder_name = std::mem::take(folder_name);
            open.pop();
            let above = open.last().map_or(at, |(fd, ..)| fd.as_fd());
            rustix::fs::unlinkat(above, &folder_name[..], AtFlags::REMOVEDIR)
                .or_call(|| call("rmdir", &folder_name))?;
            continue;
        };
        match rustix::fs::unlinkat(&*folder, &next[..], AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                let entered = enter(folder.as_fd(), &next)?;
                open.push(entered);
            }
            Err(e) => return Err(e).or_call(|| call("unlink", &next)),
        }
    }
}

type Entered = (OwnedFd, Vec<u8>, Vec<Vec<u8>>);

fn enter(at: BorrowedFd<'_>, name: &[u8]) -> Result<Entered> {
    let call = || format!("open the folder {}", super::unpack::shown(name));
    let stat = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).or_call(call)?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_folder && stat.st_mode & 0o700 != 0o700 {
        // Only the caller and its workers can write here: it is still that folder.
        let mode = Mode::from(0o700);
        rustix::fs::chmodat(at, name, mode, AtFlags::empty())
            .or_call(|| format!("chmod {}", super::unpack::shown(name)))?;
    }
    let fd = rustix::fs::openat(at, name, FOLDER, Mode::empty()).or_call(call)?;
    let names = names(fd.as_fd())?;
    Ok((fd, name.to_vec(), names))
}
