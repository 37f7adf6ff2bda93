//! Writing a layer's tree to disk: one component at a time below folder descriptors, never through
//! a symlink. The folder is private and nobody else writes to it, and still nothing here trusts
//! what it finds there.
use super::model::{Id, Meta, Model, ROOT};
use super::{OwnerMode, shown};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::tree::{disk_mode, xattr_on_disk};
use crate::sandbox::check::OPAQUE;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chownat, fchmod,
    fchown, fsetxattr, futimens, mkdirat, mknodat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::umask;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The tree on disk, with the folders that were used last held open.
pub(super) struct Disk<'a> {
    root: BorrowedFd<'a>,
    owner: OwnerMode,
    umask: Mode,
    /// Open folders from below the root on, each inside the one before.
    held: Vec<(Id, OwnedFd)>,
    chain: Vec<Id>,
}

impl<'a> Disk<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, owner: OwnerMode) -> Self {
        // There is no other way to ask for it.
        let old = umask(Mode::from(0o022));
        umask(old);
        Self {
            root,
            owner,
            umask: old,
            held: Vec::new(),
            chain: Vec::new(),
        }
    }

    /// Opens the folder at `id`, or hands out the descriptor that is held.
    pub(super) fn folder(&mut self, model: &Model<'_>, id: Id) -> Result<BorrowedFd<'_>> {
        if id == ROOT {
            return Ok(self.root);
        }
        if self.held.last().is_none_or(|(last, _)| *last != id) {
            model.chain(id, &mut self.chain);
            let same = self
                .held
                .iter()
                .zip(&self.chain)
                .take_while(|((held, _), wanted)| held == *wanted)
                .count();
            self.held.truncate(same);
            for id in self.chain.iter().skip(same) {
                let above = self.held.last().map_or(self.root, |(_, fd)| fd.as_fd());
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(above, model.name(*id), flags, Mode::empty())
                    .or_call(|| format!("open the folder {:?}", model.path(*id)))?;
                self.held.push((*id, fd));
            }
        }
        Ok(self.held.last().map_or(self.root, |(_, fd)| fd.as_fd()))
    }

    /// Forgets the descriptors of folders: one of them is about to go.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    fn parent(&mut self, model: &Model<'_>, id: Id) -> Result<BorrowedFd<'_>> {
        self.folder(model, model.parent(id))
    }

    /// Makes a folder; it is writable for its owner until [`Disk::finish_folder`].
    pub(super) fn make_folder(&mut self, model: &Model<'_>, id: Id, mode: u16) -> Result<()> {
        let mode = Mode::from(u32::from(mode & 0o777 | 0o700));
        mkdirat(self.parent(model, id)?, model.name(id), mode)
            .or_call(|| format!("mkdir {:?}", model.path(id)))
    }

    /// Gives a folder that is there the mode that [`Disk::make_folder`] would have given it.
    pub(super) fn remake_folder(&mut self, model: &Model<'_>, id: Id, mode: u16) -> Result<()> {
        let call = || format!("chmod {:?}", model.path(id));
        let wanted = Mode::from(u32::from(mode & 0o777 | 0o700)) & !self.umask;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = self.parent(model, id)?;
        let fd = openat(parent, model.name(id), flags, Mode::empty()).or_call(call)?;
        fchmod(&fd, wanted).or_call(call)
    }

    /// Makes an empty file for writing.
    pub(super) fn make_file(&mut self, model: &Model<'_>, id: Id, meta: Meta) -> Result<OwnedFd> {
        let mut mode = disk_mode(meta.mode, false);
        if meta.xattrs != 0 {
            // Setting user.* wants write permission, where the unpacker is not root.
            mode |= 0o600;
        }
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        openat(
            self.parent(model, id)?,
            model.name(id),
            flags,
            Mode::from(u32::from(mode)),
        )
        .or_call(|| format!("create {:?}", model.path(id)))
    }

    /// Gives a file that was written its owner, attributes, mode and time.
    pub(super) fn finish_file(
        &self,
        model: &Model<'_>,
        id: Id,
        meta: Meta,
        mtime: (i64, u32),
        fd: OwnedFd,
    ) -> Result<()> {
        let call = |what: &str| format!("{what} {:?}", model.path(id));
        let bits = disk_mode(meta.mode, false);
        if let Some((uid, gid)) = self.owner_of(meta) {
            fchown(&fd, Some(uid), Some(gid)).map_err(|e| self.no_owner(model, id, meta, e))?;
        }
        for (name, value) in on_disk(model, meta) {
            fsetxattr(&fd, name, value, XattrFlags::empty()).map_err(|e| no_xattr(model, id, e))?;
        }
        let wanted = Mode::from(u32::from(bits));
        if wanted.intersects(self.umask) || meta.xattrs != 0 {
            fchmod(&fd, wanted).or_call(|| call("chmod"))?;
        }
        futimens(&fd, &times(mtime)).or_call(|| call("set the time of"))
    }

    pub(super) fn make_symlink(
        &mut self,
        model: &Model<'_>,
        id: Id,
        meta: Meta,
        target: &[u8],
        mtime: (i64, u32),
    ) -> Result<()> {
        let call = |what: &str| format!("{what} {:?}", model.path(id));
        let owner = self.owner_of(meta);
        let parent = self.parent(model, id)?;
        let name = model.name(id);
        symlinkat(target, parent, name).or_call(|| call("make the symlink"))?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let owned = match owner {
            Some((uid, gid)) => chownat(parent, name, Some(uid), Some(gid), flags),
            None => Ok(()),
        };
        utimensat(parent, name, &times(mtime), flags).or_call(|| call("set the time of"))?;
        owned.map_err(|e| self.no_owner(model, id, meta, e))
    }

    /// Makes `id` another name of the file at `target`.
    pub(super) fn make_link(&mut self, model: &Model<'_>, target: Id, id: Id) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let call = || format!("link {:?} to {:?}", model.path(target), model.path(id));
        // The two folders may not fit into the chain of held ones together: keep one by itself.
        let from = openat(
            self.parent(model, target)?,
            ".",
            flags | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .or_call(call)?;
        let to = self.parent(model, id)?;
        // No flag: a symlink that stood at the target would be linked, not followed.
        rustix::fs::linkat(
            &from,
            model.name(target),
            to,
            model.name(id),
            AtFlags::empty(),
        )
        .or_call(call)
    }

    /// overlayfs: a character device 0:0 hides the name below. Anybody may make one (Linux 5.8).
    pub(super) fn make_whiteout(&mut self, model: &Model<'_>, id: Id) -> Result<()> {
        let parent = self.parent(model, id)?;
        let kind = FileType::CharacterDevice;
        mknodat(parent, model.name(id), kind, Mode::empty(), 0)
            .or_call(|| format!("mknod the whiteout {:?}", model.path(id)))
    }

    /// Removes a file, symlink, whiteout, or empty folder.
    pub(super) fn remove(&mut self, model: &Model<'_>, id: Id, folder: bool) -> Result<()> {
        self.forget();
        let flags = match folder {
            true => AtFlags::REMOVEDIR,
            false => AtFlags::empty(),
        };
        let parent = self.parent(model, id)?;
        unlinkat(parent, model.name(id), flags).or_call(|| format!("unlink {:?}", model.path(id)))
    }

    /// Gives a folder its owner, attributes, mode and time, after everything in it was made.
    pub(super) fn finish_folder(
        &mut self,
        model: &Model<'_>,
        id: Id,
        opaque: bool,
        mtime: (i64, u32),
    ) -> Result<()> {
        let call = |what: &str| format!("{what} {:?}", model.path(id));
        let meta = model.meta(id);
        let owner = self.owner_of(meta);
        let wanted = Mode::from(u32::from(disk_mode(meta.mode, true)));
        let made = Mode::from(u32::from(meta.mode & 0o777 | 0o700)) & !self.umask;
        let plain = wanted == made && meta.xattrs == 0 && !opaque && id != ROOT;
        let (parent, name): (_, &[u8]) = match id {
            ROOT => (self.root, b"."),
            _ => (self.parent(model, id)?, model.name(id)),
        };
        if plain {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            if let Some((uid, gid)) = owner
                && let Err(e) = chownat(parent, name, Some(uid), Some(gid), flags)
            {
                return Err(self.no_owner(model, id, meta, e));
            }
            return utimensat(parent, name, &times(mtime), flags)
                .or_call(|| call("set the time of"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(parent, name, flags, Mode::empty()).or_call(|| call("open the folder"))?;
        for (name, value) in on_disk(model, meta).chain(opaque.then_some(OPAQUE)) {
            fsetxattr(&fd, name, value, XattrFlags::empty()).map_err(|e| no_xattr(model, id, e))?;
        }
        // While the group is still ours: chmod(2) drops the setgid bit of another's group without
        // CAP_FSETID, and chown(2) leaves a folder's alone.
        fchmod(&fd, wanted).or_call(|| call("chmod"))?;
        if let Some((uid, gid)) = owner {
            fchown(&fd, Some(uid), Some(gid)).map_err(|e| self.no_owner(model, id, meta, e))?;
        }
        futimens(&fd, &times(mtime)).or_call(|| call("set the time of"))
    }

    /// The owner to give, where it is not the one that a new file has anyway.
    fn owner_of(&self, meta: Meta) -> Option<(rustix::fs::Uid, rustix::fs::Gid)> {
        let give = self.owner == OwnerMode::Chown && (meta.uid, meta.gid) != (0, 0);
        give.then(|| {
            let uid = rustix::fs::Uid::from_raw(meta.uid);
            (uid, rustix::fs::Gid::from_raw(meta.gid))
        })
    }

    fn no_owner(&self, model: &Model<'_>, id: Id, meta: Meta, e: Errno) -> Error {
        let call = format!("chown {:?} to {}:{}", model.path(id), meta.uid, meta.gid);
        let error = Error::call(call, e.raw_os_error());
        match e {
            Errno::INVAL | Errno::OVERFLOW => error.kind(Kind::Host).hint(
                "the image has owners outside of this user's subordinate ids: give the user a \
                 longer range in /etc/subuid and /etc/subgid, and run as it again",
            ),
            _ => error,
        }
    }
}

fn no_xattr(model: &Model<'_>, id: Id, e: Errno) -> Error {
    let error = Error::call(format!("setxattr {:?}", model.path(id)), e.raw_os_error());
    match e {
        Errno::OPNOTSUPP => error.kind(Kind::Host).hint(
            "the store's filesystem has no user extended attributes: keep the store on another",
        ),
        Errno::NOSPC | Errno::RANGE | Errno::TOOBIG => error
            .kind(Kind::Limit)
            .hint("the store's filesystem has no room for this many extended attributes"),
        _ => error,
    }
}

fn on_disk<'m>(
    model: &'m Model<'_>,
    meta: Meta,
) -> impl Iterator<Item = (&'m [u8], &'m [u8])> + use<'m> {
    let set = model.xattrs(meta).iter();
    set.map(|(n, v)| (&n[..], &v[..]))
        .filter(|(name, _)| xattr_on_disk(name))
}

fn times((secs, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: secs,
            tv_nsec: nanos.into(),
        },
    }
}

/// Writes all of `bytes`.
pub(super) fn write(fd: &OwnedFd, mut bytes: &[u8], path: impl Fn() -> String) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(e) => {
                let error = Error::call(format!("write {:?}", path()), e.raw_os_error());
                return Err(match e {
                    Errno::NOSPC | Errno::DQUOT => {
                        error.hint("the store's disk is full: free space, or run lazaret rmi")
                    }
                    _ => error,
                });
            }
        }
    }
    Ok(())
}

/// Names of use in errors only.
pub(super) fn quoted(path: &[u8]) -> String {
    format!("\"{}\"", shown(path))
}
