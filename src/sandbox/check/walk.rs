//! Walking a tree on disk in the order of its list, by folder descriptors.

use super::{Difference, MAX_DIFFERENCES};
use crate::error::{Context, Result};
use crate::plan::tree::{Entry, Node, Stat};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, statat};
use std::iter::Peekable;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::vec::IntoIter;

type Listing = Peekable<IntoIter<Vec<u8>>>;

/// The names that folders really have, beside those that the list gives them. Both are sorted, so
/// one walk through each finds the foreign ones.
#[derive(Default)]
pub(super) struct Names {
    /// Per open folder: its names still to be met (`None`: its record holds), and its path.
    open: Vec<(Option<Listing>, String)>,
    pub(super) foreign: Vec<Difference>,
}

impl Names {
    pub(super) fn enter(&mut self, listing: Option<Vec<Vec<u8>>>, path: String) {
        let names = listing.map(|names| names.into_iter().peekable());
        self.open.push((names, path));
    }

    /// Meets the list's next entry of the innermost open folder.
    pub(super) fn seen(&mut self, name: &[u8]) {
        if let Some((Some(names), path)) = self.open.last_mut() {
            while let Some(other) = names.next_if(|n| n.as_slice() < name) {
                foreign(&mut self.foreign, path, &other);
            }
            names.next_if(|n| n == name);
        }
    }

    /// Closes folders until `depth` of them are open; names that the list did not have are foreign.
    pub(super) fn leave(&mut self, depth: usize) {
        while self.open.len() > depth
            && let Some((names, path)) = self.open.pop()
        {
            for name in names.into_iter().flatten() {
                foreign(&mut self.foreign, &path, &name);
            }
        }
    }
}

fn foreign(found: &mut Vec<Difference>, folder: &str, name: &[u8]) {
    if found.len() < MAX_DIFFERENCES {
        let slash = if folder == "/" { "" } else { "/" };
        found.push(Difference {
            path: format!("{folder}{slash}{}", shown(name)),
            what: "was not there".to_owned(),
        });
    }
}

/// The sorted names in a folder, without `.` and `..`.
pub(super) fn list_names(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The folders above the entry that a walk through a list stands at, opened when first needed.
pub(super) struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// Names from below the root to the entry itself.
    names: Vec<&'a [u8]>,
    /// `open[i]` is the folder whose path is `names[..=i]`.
    open: Vec<OwnedFd>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            names: Vec::with_capacity(16),
            open: Vec::with_capacity(16),
        }
    }

    /// Steps to the list's next entry.
    pub(super) fn enter(&mut self, entry: &Entry<'a>) {
        let Some(above) = entry.depth.checked_sub(1) else {
            return;
        };
        self.names.truncate(above);
        self.names.push(entry.name);
        self.open.truncate(above);
    }

    /// The folder that holds the entry of `depth` that the walk stands at; for the root itself, the
    /// root.
    pub(super) fn parent(&mut self, depth: usize) -> Result<BorrowedFd<'_>> {
        while self.open.len() + 1 < depth {
            let above = self.open.last().map_or(self.root, AsFd::as_fd);
            let name = self.names.get(self.open.len()).copied().unwrap_or_default();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = openat(above, name, flags, Mode::empty())
                .or_call(|| format!("open the folder {:?}", self.path()))?;
            self.open.push(next);
        }
        Ok(self.held())
    }

    /// What [`Walk::parent`] answered last, until the walk goes on.
    pub(super) fn held(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root, AsFd::as_fd)
    }

    /// The path of the entry that the walk stands at, for people.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for name in &self.names {
            path.push('/');
            path.push_str(&shown(name));
        }
        if path.is_empty() {
            path.push('/');
        }
        path
    }
}

/// Foreign bytes made fit for a terminal.
pub(super) fn shown(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => name.escape_ascii().to_string(),
    }
}

/// Opens one name for reading, never through a symlink, never waiting for a fifo's other end.
pub(super) fn open(
    parent: BorrowedFd<'_>,
    name: &[u8],
    more: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let name: &[u8] = if name.is_empty() { b"." } else { name };
    openat(parent, name, flags | more, Mode::empty())
}

pub(super) fn at_flags(name: &[u8]) -> AtFlags {
    if name.is_empty() {
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    }
}

pub(super) fn stat_of(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<(Stat, FileType)> {
    statat(parent, name, at_flags(name)).map(|found| reduce(&found))
}

/// What of a stat is recorded.
pub(super) fn reduce(found: &rustix::fs::Stat) -> (Stat, FileType) {
    let file_type = FileType::from_raw_mode(found.st_mode);
    let nanos = |secs: i64, nanos: u64| {
        let nanos = i64::try_from(nanos).unwrap_or_default();
        secs.saturating_mul(1_000_000_000).saturating_add(nanos)
    };
    let size = match file_type {
        FileType::Directory => 0,
        _ => u64::try_from(found.st_size).unwrap_or_default(),
    };
    let stat = Stat {
        ino: found.st_ino,
        size,
        mtime: nanos(found.st_mtime, found.st_mtime_nsec),
        ctime: nanos(found.st_ctime, found.st_ctime_nsec),
        mode: found.st_mode,
    };
    (stat, file_type)
}

pub(super) fn expected_type(entry: &Entry<'_>) -> FileType {
    match entry.node {
        Node::File { .. } => FileType::RegularFile,
        Node::Dir { .. } => FileType::Directory,
        Node::Symlink { .. } => FileType::Symlink,
        // overlayfs: a whiteout is a character device 0:0.
        Node::Whiteout => FileType::CharacterDevice,
        Node::Special(_) => FileType::Unknown,
    }
}

pub(super) fn word(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "symlink",
        FileType::CharacterDevice => "device or whiteout",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Unknown => "something else",
    }
}
