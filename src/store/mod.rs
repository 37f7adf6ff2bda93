//! The store: blobs, refs, layers, locks and garbage collection, by folder descriptors.
//!
//! ```text
//! version                           this layout's number
//! blobs/sha256/HEX                  bytes by digest, checked when they are read
//! refs/HEX                          JSON: a name (HEX is its sha256) and its manifest's digest
//! layers/MAP/DIFFID.BLOB/{fs,list,stat,layer.json}
//!                                   a layer unpacked for an id map, by diff id
//! signatures/HEX                    JSON: what is attached to an image, by its manifest's digest
//! tags/HEX                          JSON: what a registry's tag meant (HEX is its name's sha256)
//! containers/                       records of containers (`container`)
//! staging/                          what is being made, and what is being removed
//! ```
//!
//! Everything is made in `staging` and renamed to its place, so a process that is killed at any
//! point leaves whole things in their places and leftovers in `staging`. Each of those is locked
//! (flock(2)) by whoever makes it; [`Store::collect`] removes the ones whose lock is free.
//!
//! Blobs, refs and tags are synced: the file that an image came from may be gone tomorrow. Layers are
//! not: they can be made again, and what a power cut took is found by the check at the next run.
//!
//! Locks: a shared one on a layer's folder is a [`Lease`]; removal takes an exclusive one and
//! gives up with [`Kind::Busy`]. Giving a name takes a shared lock on `refs`, removal of what no name
//! refers to an exclusive one. Whoever unpacks a layer holds `staging/unpack-MAP-HEX.lock`.

mod blobs;
mod fetching;
mod files;
mod ids;
mod incoming;
mod layers;
mod making;
mod maps;
mod refs;
mod remove;
mod shares;
mod signatures;
pub mod source;
mod staging;
mod tags;
#[cfg(test)]
mod tests;
pub mod unpack;
pub mod verify;
mod verify_all;

pub use fetching::Fetching;
pub use files::remove_tree;
pub use incoming::Incoming;
pub use layers::{Event, LayerFacts, LayerState, Lease, RootFs};
pub use making::{Begun, Making, pipe};
pub use maps::map_name;
pub use refs::{ImageEntry, Ref};
pub use remove::{Removed, Tally, Usage};
pub use shares::{Layer, Layered};
pub use signatures::KeptSignatures;
pub use staging::FetchLock;
pub use verify_all::{Finding, Verification};

use crate::error::{Context, Error, Kind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The layout that is written and read here.
const VERSION: u32 = 1;
const FOLDERS: [&str; 6] = [
    "blobs",
    "blobs/sha256",
    "containers",
    "layers",
    "refs",
    "staging",
];

/// An open store.
#[derive(Debug)]
pub struct Store {
    root: OwnedFd,
    path: PathBuf,
}

impl Store {
    /// Opens the store in the folder `path` (absolute), making it where it is missing.
    ///
    /// Errors: `Store` when the folder is another user's, writable for others, holds something
    /// else or a store of a newer version; `Io` with a remedy when it cannot be reached.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = match Self::open_folder(path)? {
            Some(store) => store,
            None => {
                make_folders(path)?;
                Self::open_folder(path)?.ok_or_else(|| unreachable_store(path, Errno::NOENT))?
            }
        };
        opened.check_version(true)?;
        Ok(opened)
    }

    /// Opens the store in the folder `path` for verbs that only look; `None` where there is none.
    /// Errors as [`Store::open`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>> {
        let Some(store) = Self::open_folder(path)? else {
            return Ok(None);
        };
        Ok(store.check_version(false)?.then_some(store))
    }

    fn open_folder(path: &Path) -> Result<Option<Self>> {
        if !path.is_absolute() {
            let cause = format!("the store's path {path:?} is not absolute");
            return Err(Error::new(Kind::Usage, cause)
                .hint("LAZARET_STORE, XDG_DATA_HOME and HOME must be absolute paths"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(unreachable_store(path, e)),
        };
        let stat = rustix::fs::fstat(&root).or_call(|| format!("fstat {path:?}"))?;
        let me = rustix::process::geteuid().as_raw();
        if stat.st_uid != me {
            let cause = format!("{path:?} belongs to user {}, not to {me}", stat.st_uid);
            return Err(Error::new(Kind::Store, cause)
                .hint(format!("set {} to a folder of your own", variable())));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(
                Error::new(Kind::Store, format!("{path:?} is writable for others")).hint(format!(
                    "chmod go-w {path:?}, after a look at what is in it"
                )),
            );
        }
        let path = path.to_owned();
        Ok(Some(Self { root, path }))
    }

    /// Whether this is a store of our version. A folder that is empty, or that somebody was killed
    /// in while making it, becomes one where `make` says so.
    fn check_version(&self, make: bool) -> Result<bool> {
        let path = &self.path;
        let read = || files::read(self.root.as_fd(), "version", 64);
        let known = |name: &Vec<u8>| {
            let staged = name.starts_with(b"version.");
            staged || FOLDERS.iter().any(|f| f.as_bytes() == &name[..])
        };
        let mut text = read()?;
        if text.is_none() && !files::names(self.root.as_fd())?.iter().all(known) {
            // Another process may have made the store between the two looks.
            text = read()?;
            if text.is_none() {
                let cause = format!("{path:?} holds something that is no lazaret store");
                return Err(Error::new(Kind::Store, cause)
                    .hint(format!("set {} to another folder", variable())));
            }
        }
        let Some(text) = text else {
            if make {
                self.make()?;
            }
            return Ok(make);
        };
        let text = String::from_utf8_lossy(&text);
        match text.trim_end().parse::<u32>() {
            Ok(VERSION) => Ok(true),
            Ok(newer) if newer > VERSION => Err(Error::new(
                Kind::Store,
                format!("{path:?} is a store of version {newer}; this lazaret knows {VERSION}"),
            )
            .hint(format!(
                "use the newer lazaret, or set {} to another folder",
                variable()
            ))),
            _ => Err(Error::new(
                Kind::Store,
                format!(
                    "{path:?} is a store of the unknown version {:?}",
                    text.trim_end()
                ),
            )
            .hint(format!("set {} to another folder", variable()))),
        }
    }

    fn make(&self) -> Result<()> {
        for folder in FOLDERS {
            files::make_folder(self.root.as_fd(), folder, 0o700)?;
        }
        // The version comes last: without it the next process starts again.
        let staged = format!("version.{}", std::process::id());
        let bytes = format!("{VERSION}\n");
        files::write(self.root.as_fd(), &staged, bytes.as_bytes(), true)?;
        files::rename(self.root.as_fd(), &staged, self.root.as_fd(), "version")?;
        files::sync(self.root.as_fd())
    }

    /// The store's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of containers' records.
    pub fn containers(&self) -> Result<OwnedFd> {
        self.folder("containers")
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn folder(&self, name: &str) -> Result<OwnedFd> {
        files::open_folder(self.root(), name)?.ok_or_else(|| {
            Error::new(Kind::Store, format!("{:?} has no {name}", self.path))
                .hint("the store is damaged: remove it and load the images again")
        })
    }
}

/// The variable that says where the store is: the one that is set, else the one that always counts
/// (root's store follows no XDG_DATA_HOME).
fn variable() -> &'static str {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let xdg = set("XDG_DATA_HOME") && !rustix::process::geteuid().is_root();
    if xdg && !set("LAZARET_STORE") {
        "XDG_DATA_HOME"
    } else {
        "LAZARET_STORE"
    }
}

fn unreachable_store(path: &Path, e: Errno) -> Error {
    let error = Error::call(format!("open the store {path:?}"), e.raw_os_error());
    match e {
        Errno::ACCESS | Errno::PERM | Errno::NOTDIR | Errno::ROFS | Errno::NOENT => error.hint(
            format!("set {} to a folder that you can read and write", variable()),
        ),
        _ => error,
    }
}

/// The error of a write, with the remedy where the store's disk is full.
fn full(e: Error) -> Error {
    match e.errno {
        Some(libc::ENOSPC | libc::EDQUOT) => e.hint(
            "the store's disk is full: free space (lazaret system df says what the store holds), or \
             set XDG_DATA_HOME to a folder on a larger one",
        ),
        _ => e,
    }
}

/// Makes the folders of a path that the caller's environment named, private for the caller.
fn make_folders(path: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |at: BorrowedFd<'_>, name: &OsStr| {
        rustix::fs::openat(at, name.as_bytes(), flags, Mode::empty())
            .map_err(|e| unreachable_store(path, e))
    };
    let mut at = open(rustix::fs::CWD, OsStr::new("/"))?;
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => {
                match rustix::fs::mkdirat(&at, name.as_bytes(), Mode::from(0o700)) {
                    // Read-only folders on the way say EROFS or EACCES where EEXIST is the truth.
                    Err(Errno::EXIST | Errno::ROFS | Errno::ACCESS) => {}
                    // Whatever the umask is.
                    Ok(()) => rustix::fs::chmodat(
                        &at,
                        name.as_bytes(),
                        Mode::from(0o700),
                        rustix::fs::AtFlags::empty(),
                    )
                    .map_err(|e| unreachable_store(path, e))?,
                    Err(e) => return Err(unreachable_store(path, e)),
                }
                at = open(at.as_fd(), name)?;
            }
            // `..` of an absolute path is one folder up, as the caller's shell has it too.
            other => at = open(at.as_fd(), other.as_os_str())?,
        }
    }
    Ok(())
}
