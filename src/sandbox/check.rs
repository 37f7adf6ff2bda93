//! Whether an unpacked layer is still what was unpacked.
//!
//! Runs in the cell's own user namespace, in a child of init, beside the mounts: only there can
//! files of other owners and of mode 0700 be read. The walk goes by folder descriptors, never
//! follows a symlink, and costs one newfstatat for each entry and one open for each folder. A
//! folder's names need no reading while its stat record holds: creating, removing or renaming a
//! name moves the folder's mtime and ctime.
//!
//! What the two modes answer: `Stat` finds accidents (a stray write, a half-restored backup, a
//! damaged filesystem that lost a file) and anybody who cannot set the clock or write the disk
//! below the filesystem. `Full` re-reads every byte and finds those too. Neither answers a process
//! of the same user that rewrites the store's own records; that is what the list's recorded digest
//! and the image's are for.

use crate::error::{Context, Error, Kind, Result};
use crate::plan::tree::{Entry, Hasher, Node, Stat, Stats, Tree, VerifyMode, xattr_on_disk};
use rustix::fs::{FileType, OFlags, readlinkat_raw, statat};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use walk::{Names, Walk, at_flags, expected_type, list_names, open, reduce, shown, stat_of, word};

mod walk;

/// At most so many differences are named.
pub const MAX_DIFFERENCES: usize = 100;
/// Read buffer of a hashing thread.
const BUFFER: usize = 256 << 10;
/// Files that a hashing thread claims at a time.
const BATCH: usize = 16;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as recorded.
    Same,
    /// Stat records differ and the contents do not (a restored backup): record these instead.
    Touched { stat: Vec<u8> },
    /// The layer is not what was unpacked: at most [`MAX_DIFFERENCES`] of them.
    Differs(Vec<Difference>),
}

/// One thing that is not as it was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path inside the layer, control characters and foreign bytes escaped.
    pub path: String,
    /// What differs, in a person's words.
    pub what: String,
}

/// Checks the tree below `root` against its list and stat records.
///
/// Errors: `Store` when list or records are damaged, `Io` when something could not be read.
pub fn check(root: BorrowedFd<'_>, list: &[u8], stat: &[u8], mode: VerifyMode) -> Result<Outcome> {
    let stats = Stats::new(stat)?;
    if mode == VerifyMode::Stat && unchanged(root, list, stats)? {
        return Ok(Outcome::Same);
    }
    let mut thorough = Thorough {
        root,
        list,
        full: mode == VerifyMode::Full,
        owners: stats.owners,
        found: Vec::new(),
        new: Vec::with_capacity(stat.len()),
        hash: Vec::new(),
    };
    thorough.compare(stats)?;
    if thorough.found.is_empty() {
        thorough.hash_files()?;
    }
    if !thorough.found.is_empty() {
        thorough.found.truncate(MAX_DIFFERENCES);
        return Ok(Outcome::Differs(thorough.found));
    }
    let mut new = Stats::header(stats.owners).to_vec();
    for record in &thorough.new {
        new.extend_from_slice(&record.encode());
    }
    Ok(if new == stat {
        Outcome::Same
    } else {
        Outcome::Touched { stat: new }
    })
}

/// Records what stat says of a tree that was unpacked just now. `owners`: the image's owners are
/// the owners on disk. Errors: `Store` when the tree is not the list's, `Io`.
pub fn record(root: BorrowedFd<'_>, list: &[u8], owners: bool) -> Result<Vec<u8>> {
    let mut out = Stats::header(owners).to_vec();
    let mut walk = Walk::new(root);
    let mut tree = Tree::new(list)?;
    while let Some(entry) = tree.next_entry()? {
        walk.enter(&entry);
        if !entry.on_disk() {
            continue;
        }
        let (found, file_type) = stat_of(walk.parent(entry.depth)?, entry.name)
            .or_call(|| format!("stat {:?}", walk.path()))?;
        if file_type != expected_type(&entry) {
            return Err(Error::new(
                Kind::Store,
                format!("{:?} is not what was unpacked there", walk.path()),
            ));
        }
        out.extend_from_slice(&found.encode());
    }
    Ok(out)
}

/// The quick walk: true when every record holds and nothing is missing.
fn unchanged(root: BorrowedFd<'_>, list: &[u8], mut stats: Stats<'_>) -> Result<bool> {
    let mut walk = Walk::new(root);
    let mut tree = Tree::new(list)?;
    while let Some(entry) = tree.next_entry()? {
        walk.enter(&entry);
        if !entry.on_disk() {
            continue;
        }
        let Some(recorded) = stats.next() else {
            return Ok(false);
        };
        let found = walk
            .parent(entry.depth)
            .ok()
            .and_then(|parent| stat_of(parent, entry.name).ok());
        match found {
            // The kind is compared too: a record that was swapped with another entry's lies.
            Some((found, kind)) if found == recorded && kind == expected_type(&entry) => {}
            _ => return Ok(false),
        }
    }
    Ok(stats.is_empty())
}

/// The slow walk, after a mismatch or when everything is to be hashed.
struct Thorough<'a> {
    root: BorrowedFd<'a>,
    list: &'a [u8],
    full: bool,
    owners: bool,
    found: Vec<Difference>,
    new: Vec<Stat>,
    /// Positions (of entries that exist on disk, in the list's order) of files to be hashed.
    hash: Vec<usize>,
}

impl Thorough<'_> {
    /// Compares everything but the contents of files with the list.
    fn compare(&mut self, mut stats: Stats<'_>) -> Result<()> {
        if stats.len() as u64 != crate::plan::tree::summary(self.list)?.on_disk {
            // Records of another tree, or none: believe nothing of them.
            stats = stats.none();
        }
        let mut walk = Walk::new(self.root);
        let mut tree = Tree::new(self.list)?;
        let mut names = Names::default();
        let mut root_uid = None;
        let mut missing: Option<usize> = None;
        while let Some(entry) = tree.next_entry()? {
            walk.enter(&entry);
            names.leave(entry.depth);
            if missing.is_some_and(|depth| entry.depth > depth) {
                continue;
            }
            missing = None;
            if !entry.on_disk() {
                continue;
            }
            if self.found.len() > MAX_DIFFERENCES {
                return Ok(());
            }
            let recorded = stats.next();
            names.seen(entry.name);
            walk.parent(entry.depth)?;
            let parent = walk.held();
            let found = match statat(parent, entry.name, at_flags(entry.name)) {
                Ok(found) => found,
                Err(rustix::io::Errno::NOENT) => {
                    self.differs(&walk, "is missing");
                    missing = Some(entry.depth);
                    continue;
                }
                Err(e) => return Err(e).or_call(|| format!("stat {:?}", walk.path())),
            };
            let (now, file_type) = reduce(&found);
            let root_uid = *root_uid.get_or_insert((found.st_uid, found.st_gid));
            self.new.push(now);
            let expected = expected_type(&entry);
            if file_type != expected {
                let what = format!("is a {}, not a {}", word(file_type), word(expected));
                self.differs(&walk, &what);
                missing = Some(entry.depth);
                continue;
            }
            let trusted = !self.full && recorded == Some(now);
            if trusted && expected != FileType::Directory {
                continue;
            }
            if !trusted {
                self.metadata(&walk, &entry, &found, root_uid)?;
            }
            match entry.node {
                Node::File { .. } => self.hash.push(self.new.len() - 1),
                Node::Dir { .. } => {
                    let listing = if trusted {
                        None
                    } else {
                        let dir = open(parent, entry.name, OFlags::DIRECTORY)
                            .or_call(|| format!("open {:?}", walk.path()))?;
                        self.xattrs(&walk, &entry, dir.as_fd())?;
                        Some(
                            list_names(dir.as_fd())
                                .or_call(|| format!("read the folder {:?}", walk.path()))?,
                        )
                    };
                    names.enter(listing, walk.path());
                }
                _ => {}
            }
        }
        names.leave(0);
        self.found.append(&mut names.foreign);
        Ok(())
    }

    fn differs(&mut self, walk: &Walk<'_>, what: &str) {
        self.found.push(Difference {
            path: walk.path(),
            what: what.to_owned(),
        });
    }

    fn metadata(
        &mut self,
        walk: &Walk<'_>,
        entry: &Entry<'_>,
        found: &rustix::fs::Stat,
        root_owner: (u32, u32),
    ) -> Result<()> {
        let mode = found.st_mode & 0o7777;
        let has_mode = !matches!(entry.node, Node::Symlink { .. } | Node::Whiteout);
        if has_mode && mode != u32::from(entry.disk_mode()) {
            self.differs(
                walk,
                &format!("has mode {mode:04o}, not {:04o}", entry.disk_mode()),
            );
        }
        // Without the image's owners on disk, everything belongs to the one id there is.
        let owner = match self.owners {
            true => (entry.uid, entry.gid),
            false => root_owner,
        };
        if (found.st_uid, found.st_gid) != owner {
            self.differs(
                walk,
                &format!(
                    "belongs to {}:{}, not {}:{}",
                    found.st_uid, found.st_gid, owner.0, owner.1
                ),
            );
        }
        match entry.node {
            Node::File { size, .. } if u64::try_from(found.st_size) != Ok(size) => {
                self.differs(walk, &format!("has {} bytes, not {size}", found.st_size));
            }
            Node::Symlink { target } => {
                let mut buffer = [MaybeUninit::uninit(); 4096];
                let (read, _) = readlinkat_raw(walk.held(), entry.name, &mut buffer)
                    .or_call(|| format!("readlink {:?}", walk.path()))?;
                if *read != *target {
                    self.differs(walk, "points elsewhere");
                }
            }
            Node::Whiteout if found.st_rdev != 0 => self.differs(walk, "is a device"),
            _ => {}
        }
        Ok(())
    }

    fn xattrs(&mut self, walk: &Walk<'_>, entry: &Entry<'_>, fd: BorrowedFd<'_>) -> Result<()> {
        if let Some(what) = xattrs_differ(entry, fd)? {
            self.differs(walk, &what);
        }
        Ok(())
    }

    /// Hashes the files of `self.hash` on all cores: each thread walks the list for itself and
    /// claims files in batches, so that threads share one counter and nothing else.
    fn hash_files(&mut self) -> Result<()> {
        if self.hash.is_empty() {
            return Ok(());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Each thread keeps at most one descriptor for each level: stay below the usual 1024.
        let threads = cores
            .min(self.hash.len().div_ceil(BATCH))
            .min(900 / (deepest(self.list)? + 2))
            .max(1);
        let claimed = AtomicUsize::new(0);
        let job = Job {
            root: self.root,
            list: self.list,
            stats: &self.new,
            hash: &self.hash,
            claimed: &claimed,
        };
        let results: Vec<Result<Vec<Difference>>> =
            std::thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| job.run())).collect();
                let mut results = vec![job.run()];
                for other in others {
                    results.push(other.join().unwrap_or_else(|_| {
                        Err(Error::new(Kind::Worker, "a hashing thread died"))
                    }));
                }
                results
            });
        for result in results {
            self.found.extend(result?);
        }
        self.found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }
}

/// What hashing threads share.
#[derive(Clone, Copy)]
struct Job<'a> {
    root: BorrowedFd<'a>,
    list: &'a [u8],
    stats: &'a [Stat],
    hash: &'a [usize],
    claimed: &'a AtomicUsize,
}

impl Job<'_> {
    fn run(&self) -> Result<Vec<Difference>> {
        let mut found = Vec::new();
        let mut buffer = vec![0; BUFFER];
        let mut walk = Walk::new(self.root);
        let mut tree = Tree::new(self.list)?;
        let mut position = 0;
        let mut batch: std::ops::Range<usize> = 0..0;
        loop {
            let Some(next) = batch.next() else {
                let start = self.claimed.fetch_add(BATCH, Ordering::Relaxed);
                batch = start..self.hash.len().min(start.saturating_add(BATCH));
                if batch.is_empty() {
                    return Ok(found);
                }
                continue;
            };
            // `hash` ascends, so the walk never has to turn back.
            let wanted = self.hash[next];
            let entry = loop {
                let Some(entry) = tree.next_entry()? else {
                    return Err(Error::new(Kind::Store, "a tree list lost its end"));
                };
                walk.enter(&entry);
                position += usize::from(entry.on_disk());
                if entry.on_disk() && position > wanted {
                    walk.parent(entry.depth)?;
                    break entry;
                }
            };
            if let Some(what) = self.file(&walk, &entry, wanted, &mut buffer)? {
                found.push(Difference {
                    path: walk.path(),
                    what,
                });
                if found.len() > MAX_DIFFERENCES {
                    return Ok(found);
                }
            }
        }
    }

    fn file(
        &self,
        walk: &Walk<'_>,
        entry: &Entry<'_>,
        position: usize,
        buffer: &mut [u8],
    ) -> Result<Option<String>> {
        let Node::File { sha256, .. } = entry.node else {
            return Err(Error::new(
                Kind::Store,
                "a tree list changed while it was read",
            ));
        };
        let name = || format!("read {:?}", walk.path());
        let fd = open(walk.held(), entry.name, OFlags::empty()).or_call(name)?;
        if let Some(what) = xattrs_differ(entry, fd.as_fd())? {
            return Ok(Some(what));
        }
        let mut hasher = Hasher::default();
        loop {
            let n = rustix::io::read(&fd, &mut *buffer).or_call(name)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
        // The record must be that of the very bytes that were hashed.
        let after = rustix::fs::fstat(&fd).or_call(name)?;
        if self.stats.get(position) != Some(&reduce(&after).0) {
            return Ok(Some("changed while it was checked".to_owned()));
        }
        Ok((hasher.finish() != sha256).then(|| "has other contents".to_owned()))
    }
}

fn deepest(list: &[u8]) -> Result<usize> {
    let mut tree = Tree::new(list)?;
    let mut deepest = 0;
    while let Some(entry) = tree.next_entry()? {
        deepest = deepest.max(entry.depth);
    }
    Ok(deepest)
}

/// Compares the extended attributes of an open file or folder with those that unpacking writes.
/// Labels of the host's security modules are its own affair; file capabilities and ACLs are not.
fn xattrs_differ(entry: &Entry<'_>, fd: BorrowedFd<'_>) -> Result<Option<String>> {
    let mut expected: Vec<(&[u8], &[u8])> = entry
        .xattrs
        .iter()
        .filter(|(name, _)| xattr_on_disk(name))
        .collect();
    if let Node::Dir { opaque: true, .. } = entry.node {
        expected.push((OPAQUE.0, OPAQUE.1));
    }
    let mut small = [0u8; 256];
    let mut large = Vec::new();
    let call = || format!("listxattr {:?}", shown(entry.name));
    let listed: &[u8] = match rustix::fs::flistxattr(fd, &mut small) {
        Ok(n) => &small[..n],
        Err(rustix::io::Errno::RANGE) => {
            large.resize(64 << 10, 0);
            let n = rustix::fs::flistxattr(fd, &mut large[..]).or_call(call)?;
            &large[..n]
        }
        Err(rustix::io::Errno::OPNOTSUPP) => &[],
        Err(e) => return Err(e).or_call(call),
    };
    let mut count = 0;
    for name in listed.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        if name.starts_with(b"security.") && name != b"security.capability" {
            continue;
        }
        let Some((_, value)) = expected.iter().find(|(n, _)| *n == name) else {
            return Ok(Some(format!("has the extended attribute {}", shown(name))));
        };
        let mut buffer = vec![0; value.len() + 1];
        match rustix::fs::fgetxattr(fd, name, &mut buffer[..]) {
            Ok(n) if buffer[..n] == **value => count += 1,
            Ok(_) | Err(rustix::io::Errno::RANGE) => {
                return Ok(Some(format!(
                    "has another value of the extended attribute {}",
                    shown(name)
                )));
            }
            Err(e) => return Err(e).or_call(|| format!("getxattr {:?}", shown(entry.name))),
        }
    }
    Ok((count != expected.len()).then(|| "lost an extended attribute".to_owned()))
}

/// What makes a folder opaque on disk, for overlayfs mounted with `userxattr`.
pub const OPAQUE: (&[u8], &[u8]) = (b"user.overlay.opaque", b"y");

#[cfg(test)]
mod tests;
