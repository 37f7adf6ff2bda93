//! Things being made, each locked by its maker, and the leftovers of makers that were killed.

use super::{Store, files};
use crate::error::{Context, Error, Kind, Result};
use crate::image::Digest;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// The label of a folder in which everything is this process's own, and nothing a worker's: a worker,
/// who is somebody else, could not remove it.
pub(super) const OWN: &str = "fetch";

/// A file or folder in `staging`, locked until it is dropped. Whoever drops it without having moved
/// or removed it leaves it to [`Store::collect`].
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) staging: OwnedFd,
    pub(super) name: String,
    pub(super) fd: OwnedFd,
}

/// A lock with a fixed name. Its name goes with it: who waits for it looks again.
#[derive(Debug)]
pub(super) struct NamedLock {
    staging: OwnedFd,
    name: String,
    /// Closed, and with that let go, after the name is gone.
    fd: OwnedFd,
}

/// See [`Store::try_lock_fetch`].
#[derive(Debug)]
pub struct FetchLock(#[expect(dead_code, reason = "held, and let go with the value")] NamedLock);

impl Drop for NamedLock {
    fn drop(&mut self) {
        // A collector may have been quicker, and takes what stays.
        if files::is_still(self.staging.as_fd(), &self.name, self.fd.as_fd()).unwrap_or(false) {
            let _collected_later = files::unlink(self.staging.as_fd(), &self.name).is_ok();
        }
    }
}

/// Names that no two things share: this process's number, its clock, and a counter.
pub(super) fn fresh(label: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let pid = std::process::id();
    format!("{label}+{pid}-{}-{}-{next}", now.tv_sec, now.tv_nsec)
}

/// Locks what was made a moment ago; false when a collector was quicker and took it for a leftover.
fn claim(staging: BorrowedFd<'_>, name: &str, fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(files::lock(fd, FlockOperation::NonBlockingLockExclusive)?
        && files::is_still(staging, name, fd)?)
}

impl Store {
    /// A new private folder. `label` (without `+`) says whose id map its contents need.
    pub(super) fn stage_folder(&self, label: &str) -> Result<Staged> {
        let staging = self.folder("staging")?;
        loop {
            let name = fresh(label);
            rustix::fs::mkdirat(&staging, &name, Mode::from(0o700))
                .or_call(|| format!("mkdir the store's staging/{name}"))?;
            if let Some(fd) = files::open_folder(staging.as_fd(), &name)?
                && claim(staging.as_fd(), &name, fd.as_fd())?
            {
                return Ok(Staged { staging, name, fd });
            }
        }
    }

    /// A new private file.
    pub(super) fn stage_file(&self) -> Result<Staged> {
        let staging = self.folder("staging")?;
        loop {
            let name = fresh("file");
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&staging, &name, flags, Mode::from(0o600))
                .or_call(|| format!("create the store's staging/{name}"))?;
            if claim(staging.as_fd(), &name, fd.as_fd())? {
                return Ok(Staged { staging, name, fd });
            }
        }
    }

    /// Takes a lock that lives in `staging` under a fixed name, and waits for it; `waiting` is
    /// called once if somebody else holds it.
    pub(super) fn lock_by_name(&self, name: &str, waiting: impl FnOnce()) -> Result<NamedLock> {
        let staging = self.folder("staging")?;
        let mut waiting = Some(waiting);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&staging, name, flags, Mode::from(0o600))
                .or_call(|| format!("open the store's staging/{name}"))?;
            if !files::lock(fd.as_fd(), FlockOperation::NonBlockingLockExclusive)? {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                files::lock(fd.as_fd(), FlockOperation::LockExclusive)?;
            }
            // Its last holder or a collector may have removed the name meanwhile.
            if files::is_still(staging.as_fd(), name, fd.as_fd())? {
                let name = name.to_owned();
                return Ok(NamedLock { staging, name, fd });
            }
        }
    }

    /// As [`Store::lock_by_name`], without waiting: `None` while somebody else holds it.
    pub(super) fn try_lock_by_name(&self, name: &str) -> Result<Option<NamedLock>> {
        let staging = self.folder("staging")?;
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&staging, name, flags, Mode::from(0o600))
                .or_call(|| format!("open the store's staging/{name}"))?;
            if !files::lock(fd.as_fd(), FlockOperation::NonBlockingLockExclusive)? {
                return Ok(None);
            }
            if files::is_still(staging.as_fd(), name, fd.as_fd())? {
                let name = name.to_owned();
                return Ok(Some(NamedLock { staging, name, fd }));
            }
        }
    }

    /// Takes the lock of whoever fetches an image, without waiting: `None` while somebody else does.
    ///
    /// # Errors
    /// `Io`.
    pub fn try_lock_fetch(&self, manifest: &Digest) -> Result<Option<FetchLock>> {
        let lock = self.try_lock_by_name(&format!("fetch-{}.lock", manifest.hex()))?;
        Ok(lock.map(FetchLock))
    }

    /// Removes what killed processes left behind. `remove_folder` removes the contents of a folder
    /// whose files may belong to the ids of a map, which it is told by name.
    ///
    /// Errors: the first of what could not be removed; the rest is gone.
    pub(super) fn collect_with(
        &self,
        remove_folder: &mut dyn FnMut(&str, BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let staging = self.folder("staging")?;
        let mut done = Ok(());
        for name in files::names(staging.as_fd())? {
            let Ok(name) = String::from_utf8(name) else {
                continue;
            };
            let collected = collect_one(staging.as_fd(), &name, remove_folder).map_err(|e| {
                // It may be of ids that this user has no more.
                let path = self.path.join("staging").join(&name);
                e.hint(format!(
                    "a leftover of a killed process; as root: rm -r {path:?}"
                ))
            });
            done = done.and(collected);
        }
        done
    }
}

/// Removes one leftover, if it is one.
fn collect_one(
    staging: BorrowedFd<'_>,
    name: &str,
    remove_folder: &mut dyn FnMut(&str, BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(staging, name, flags, Mode::empty()) else {
        // Gone meanwhile, or nothing that was made here.
        return Ok(());
    };
    if !claim(staging, name, fd.as_fd())? {
        return Ok(());
    }
    let stat = rustix::fs::fstat(&fd).or_call(|| format!("stat the store's {name}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return files::unlink(staging, name).map(drop);
    }
    let label = name.split_once('+').map_or("", |(label, _)| label);
    empty(label, fd.as_fd(), remove_folder)?;
    rustix::fs::unlinkat(staging, name, AtFlags::REMOVEDIR)
        .or_call(|| format!("remove the store's staging/{name}"))
}

/// Empties a folder of `staging`: what a worker made, by whatever name, is its map's affair (to us
/// a folder of a subordinate id is closed), what is left of it is ours.
fn empty(
    label: &str,
    folder: BorrowedFd<'_>,
    remove_folder: &mut dyn FnMut(&str, BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    if files::names(folder)?.is_empty() {
        return Ok(());
    }
    if label != OWN {
        // A container root of another id must be able to take a name away here.
        rustix::fs::fchmod(folder, Mode::from(0o777))
            .or_call(|| "chmod a folder of staging".to_owned())?;
        remove_folder(label, folder)?;
    }
    for name in files::names(folder)? {
        files::remove_tree(folder, &name)?;
    }
    Ok(())
}

impl Staged {
    /// Moves the thing to its place, over a file that is there.
    pub(super) fn publish(&self, to: BorrowedFd<'_>, name: &str) -> Result<()> {
        files::rename(self.staging.as_fd(), &self.name, to, name)
    }

    /// Removes the thing with what is in it.
    pub(super) fn discard(
        self,
        remove_folder: &mut dyn FnMut(&str, BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let label = self.name.split_once('+').map_or("", |(label, _)| label);
        let stat = rustix::fs::fstat(&self.fd).or_call(|| "stat a staged file".to_owned())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            files::unlink(self.staging.as_fd(), &self.name)?;
            return Ok(());
        }
        empty(label, self.fd.as_fd(), remove_folder)?;
        rustix::fs::unlinkat(&self.staging, &self.name, AtFlags::REMOVEDIR)
            .or_call(|| format!("remove the store's staging/{}", self.name))
    }

    /// The same descriptor as a file of the standard library, sharing its lock.
    pub(super) fn file(&self) -> Result<std::fs::File> {
        self.fd
            .try_clone()
            .map(Into::into)
            .map_err(|e| Error::io("duplicate a descriptor", &e).kind(Kind::Io))
    }
}
