//! Unpacking one layer: a compressed tar of which nobody knows who wrote it becomes a folder below
//! a descriptor, a tree list, stat records, and facts.
//!
//! Runs inside the confined worker. Three threads: one reads, hashes and decompresses, one hashes what
//! comes of it (`stream`), one parses (`members`, `pax`), keeps the tree (`model`) and writes it (`disk`).
//! Nothing is synced: a file that a power cut loses is found by the check at the next run.
//!
//! What is decided here, beyond the OCI image-spec (layer.md):
//! - Paths are resolved in memory, inside the layer's root, as a process inside would; `..` in a
//!   member's own path is refused, a leading slash means the layer's root. Disk access goes by one
//!   component at a time and never follows a symlink.
//! - The last member of a name wins. A folder that has entries is not replaced by something else.
//! - `.wh.NAME` hides NAME of lower layers only: an entry of that name in this layer stays, and a
//!   folder becomes opaque. Other `.wh..wh.` names than the opaque marker are refused.
//! - setuid and setgid bits of files and `security.capability` stay in the list only; `user.*`
//!   attributes are written, all others stay in the list only; overlayfs's own are refused.
//! - Devices, fifos and sockets are recorded and never created.
mod disk;
mod members;
mod model;
mod pax;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

use crate::error::{Error, Kind, Result};
use crate::image::{Compression, DiffId, Digest, Hasher};
use crate::plan::tree::{self, Special};
use crate::sandbox::check;
use disk::Disk;
use members::{Members, What};
use model::{IMPLICIT, Id, Meta, Missing, Model, ROOT, Thing};
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use stream::{BUFFERS, Ended, Stream};

/// What a blob must turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// How it is compressed.
    pub compression: Compression,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Whoever hands them over holds them against `digest`, and shows their end only if they are
    /// right: once is enough.
    pub hashed: bool,
    /// The digest of what they decompress to.
    pub diff_id: DiffId,
}

/// Who owns what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerMode {
    /// The image's owners (an id map with a range).
    Chown,
    /// The one id there is; the image's owners stand in the list.
    Record,
}

/// How much a layer may ask for. What is above is [`Kind::Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed bytes.
    pub size: u64,
    /// Members, and entries of the tree.
    pub entries: u64,
    /// How deep folders may be nested; never more than [`tree::MAX_DEPTH`].
    pub depth: usize,
    /// Bytes of a path.
    pub path: usize,
    /// Bytes of one extension header (pax, GNU long name).
    pub extension: u64,
    /// Bytes of extended attributes of one entry.
    pub entry_xattrs: usize,
    /// Bytes of extended attributes of the layer.
    pub layer_xattrs: usize,
    /// Bytes of the layer's list.
    pub list: usize,
    /// How many times its compressed size a layer may unpack to, beyond `ratio_floor`.
    pub ratio: u64,
    /// Uncompressed bytes below which the ratio does not matter.
    pub ratio_floor: u64,
    /// The largest zstd window, as a power of two: bounds memory.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size: 32 << 30,
            entries: 2_000_000,
            depth: 200,
            path: 4096,
            extension: 1 << 20,
            entry_xattrs: 128 << 10,
            layer_xattrs: 16 << 20,
            list: 512 << 20,
            ratio: 250,
            ratio_floor: 128 << 20,
            zstd_window_log: 25,
        }
    }
}

/// What unpacking found that `decide` wants to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Bytes of all regular files; a file of several names counts once.
    pub size: u64,
    /// Entries, the root folder and specials included.
    pub files: u64,
    /// Paths of setuid and setgid files.
    pub setuid: Vec<String>,
    /// Paths of files with capabilities.
    pub file_caps: Vec<String>,
    /// Paths of devices, fifos and sockets.
    pub special: Vec<String>,
    /// The root folder is opaque: nothing of the layers below is seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
}

/// Most paths that one list of [`Facts`] holds: a layer with more is not one that anybody made in
/// good faith.
const MAX_FACTS: usize = 10_000;

/// A layer that was unpacked and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The tree list.
    pub list: Vec<u8>,
    /// The stat records beside it.
    pub stat: Vec<u8>,
    /// What was found.
    pub facts: Facts,
}

/// Unpacks `blob` into the empty folder `into` and verifies it: size and digest while it is read,
/// the diff id over what it decompresses to. After an error the folder holds leftovers, which the caller removes.
///
/// Errors: `Integrity` when the bytes are not what was named, `Malformed`, `Unsupported` and
/// `Limit` when they are and break the rules, `Io` and `Host` when the disk will not have them.
pub fn unpack(
    blob: impl Read + Send,
    expect: &Expect,
    into: BorrowedFd<'_>,
    owner: OwnerMode,
    limits: &Limits,
) -> Result<Unpacked> {
    let hurry = AtomicBool::new(false);
    let (plain, plains) = mpsc::sync_channel(BUFFERS);
    let (full, incoming) = mpsc::sync_channel(BUFFERS);
    let (empties, emptied) = mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // The sender goes with this thread's work: its end is the stream's end.
            let (plain, emptied) = (plain, emptied);
            stream::produce(blob, expect, limits, &hurry, plain, emptied)
        });
        let hasher = scope.spawn(|| stream::hash(plains, full, &hurry));
        let written = {
            let mut layer = Layer::new(Stream::new(incoming, empties), into, owner, limits);
            layer.unpack().and_then(|()| layer.finish())
        };
        if let Err(e) = &written
            && e.kind != Kind::Malformed
        {
            hurry.store(true, Ordering::Release);
        }
        let read = reader
            .join()
            .unwrap_or_else(|_| Err(Error::new(Kind::Worker, "the reading thread died")));
        // A thread that died has no digest, and without one nothing is whole.
        let found = hasher.join().ok().flatten();
        read.and_then(|ended| {
            let whole = found.filter(|_| ended == Ended::Whole);
            match (whole, written) {
                (Some(found), Ok(unpacked)) => {
                    stream::verify_diff_id(expect, found)?;
                    Ok(unpacked)
                }
                (None, Ok(_)) => Err(Error::new(Kind::Worker, "a layer was half read")),
                (Some(found), Err(e)) if e.kind == Kind::Malformed => {
                    stream::verify_diff_id(expect, found)?;
                    Err(e)
                }
                // A limit or a full disk ended it first; the others only heard of it.
                (_, Err(written)) => Err(written),
            }
        })
        .map_err(|e| match e.kind {
            Kind::Integrity => e,
            _ => e.context(format_args!("layer {}", expect.digest.short())),
        })
    })
}

/// A layer being unpacked.
struct Layer<'a> {
    members: Members<'a>,
    model: Model<'a>,
    disk: Disk<'a>,
    into: BorrowedFd<'a>,
    owner: OwnerMode,
    limits: &'a Limits,
    facts: Facts,
    missing: Missing,
    /// The folder part of the last member's path, and the folder that it led to.
    last: Option<(Vec<u8>, Id)>,
    steps: u64,
}

fn malformed(what: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, what)
}

impl<'a> Layer<'a> {
    fn new(stream: Stream, into: BorrowedFd<'a>, owner: OwnerMode, limits: &'a Limits) -> Self {
        Self {
            members: Members::new(stream, limits),
            model: Model::new(limits),
            disk: Disk::new(into, owner),
            into,
            owner,
            limits,
            facts: Facts::default(),
            missing: Missing::new(),
            last: None,
            steps: 0,
        }
    }

    fn unpack(&mut self) -> Result<()> {
        while self.members.step()? {
            self.steps += 1;
            if self.steps > self.limits.entries {
                return Err(Error::new(
                    Kind::Limit,
                    format!("the layer has more than {} members", self.limits.entries),
                ));
            }
            self.member()?;
        }
        Ok(())
    }

    /// Splits the member's path into folder and name; the name is empty for the root itself.
    fn split(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let path = &self.members.member.path;
        let mut parts = path
            .split(|b| *b == b'/')
            .filter(|part| !part.is_empty() && *part != b".");
        let mut above = Vec::new();
        let mut name: &[u8] = b"";
        while let Some(part) = parts.next_back() {
            if part == b".." {
                return Err(malformed(format!("{}: a path with ..", disk::quoted(path))));
            }
            if part.len() > tree::MAX_NAME {
                return Err(Error::new(
                    Kind::Limit,
                    format!("a name of {} bytes", part.len()),
                ));
            }
            if name.is_empty() {
                name = part;
                continue;
            }
            if part.starts_with(b".wh.") {
                return Err(malformed(format!(
                    "{}: something inside of a whiteout",
                    disk::quoted(path)
                )));
            }
            above.splice(0..0, part.iter().copied().chain(Some(b'/')));
        }
        Ok((above, name.to_vec()))
    }

    fn member(&mut self) -> Result<()> {
        let (above, name) = self.split()?;
        let parent = self.folder(above)?;
        if name.is_empty() {
            return match self.members.member.what {
                What::Dir => self.dir(ROOT),
                _ => Err(malformed("the layer's root is not a folder")),
            };
        }
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.whiteout(parent, hidden);
        }
        let id = self.model.place(parent, &name)?;
        match self.members.member.what {
            What::Dir => self.dir(id),
            What::File => self.file(id),
            What::Symlink => self.symlink(id),
            What::Hardlink => self.hardlink(id),
            What::Special(special) => self.special(id, special),
        }
    }

    /// The folder that a path leads to, made with those above it where it is missing.
    fn folder(&mut self, above: Vec<u8>) -> Result<Id> {
        if let Some((path, id)) = &self.last
            && *path == above
        {
            return Ok(*id);
        }
        let id = self.model.resolve(&above, true, &mut self.missing)?;
        let mut missing = std::mem::take(&mut self.missing);
        for (at, id) in missing.iter().enumerate() {
            // Named twice: a whiteout stands there, which goes before the folder comes.
            if missing.get(at + 1) == Some(id) {
                self.disk.remove(&self.model, *id, false)?;
            } else {
                self.disk.make_folder(&self.model, *id, IMPLICIT.mode)?;
            }
        }
        missing.clear();
        self.missing = missing;
        self.last = Some((above, id));
        Ok(id)
    }

    fn meta(&mut self) -> Result<Meta> {
        let member = &mut self.members.member;
        let (mode, uid, gid) = (member.mode, member.uid, member.gid);
        let xattrs = std::mem::take(&mut member.xattrs);
        Ok(Meta {
            mode,
            uid,
            gid,
            xattrs: self.model.keep_xattrs(xattrs)?,
        })
    }

    /// Takes away what stands at `id`, because a later member wants the place.
    fn clear(&mut self, id: Id) -> Result<()> {
        match self.model.thing(id) {
            Thing::Gone => return Ok(()),
            Thing::Special(_) => {}
            Thing::Dir { children: 0, .. } => self.disk.remove(&self.model, id, true)?,
            Thing::Dir { .. } => {
                return Err(malformed(format!(
                    "{:?}: a folder that has entries becomes something else",
                    self.model.path(id)
                )));
            }
            Thing::File { .. } | Thing::Symlink(_) | Thing::Whiteout => {
                self.disk.remove(&self.model, id, false)?;
            }
        }
        self.model.set(id, Thing::Gone, IMPLICIT);
        self.last = None;
        Ok(())
    }

    fn dir(&mut self, id: Id) -> Result<()> {
        let meta = self.meta()?;
        let mtime = self.members.member.mtime;
        let (opaque, children) = match self.model.thing(id) {
            Thing::Dir {
                opaque, children, ..
            } => (opaque, children),
            before => {
                self.clear(id)?;
                (before == Thing::Whiteout, 0)
            }
        };
        match self.model.thing(id) {
            Thing::Gone => self.disk.make_folder(&self.model, id, meta.mode)?,
            _ if id == ROOT => {}
            _ => self.disk.remake_folder(&self.model, id, meta.mode)?,
        }
        let thing = Thing::Dir {
            opaque,
            children,
            mtime,
        };
        self.model.set(id, thing, meta);
        Ok(())
    }

    fn file(&mut self, id: Id) -> Result<()> {
        self.clear(id)?;
        let meta = self.meta()?;
        let (size, mtime) = (self.members.member.size, self.members.member.mtime);
        let fd = self.disk.make_file(&self.model, id, meta)?;
        let mut hasher = Hasher::default();
        loop {
            let bytes = self.members.data()?;
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            disk::write(&fd, bytes, || self.model.path(id))?;
            let n = bytes.len();
            self.members.consume(n);
        }
        self.disk.finish_file(&self.model, id, meta, mtime, fd)?;
        let thing = Thing::File {
            size,
            sha256: hasher.finish(),
            link: 0,
        };
        self.model.set(id, thing, meta);
        Ok(())
    }

    fn symlink(&mut self, id: Id) -> Result<()> {
        self.clear(id)?;
        let meta = self.meta()?;
        let member = &self.members.member;
        let target = self.model.keep(&member.link)?;
        self.disk
            .make_symlink(&self.model, id, meta, &member.link, member.mtime)?;
        self.model.set(id, Thing::Symlink(target), meta);
        Ok(())
    }

    /// Gives a file of this layer another name. Mode and owner of the link's own header are
    /// ignored: they are the file's.
    fn hardlink(&mut self, id: Id) -> Result<()> {
        let link = &self.members.member.link;
        let says = |what: &str| {
            let path = disk::quoted(&self.members.member.path);
            malformed(format!(
                "{path}: a hardlink to {}, {what}",
                disk::quoted(link)
            ))
        };
        let end = link.len() - link.iter().rev().take_while(|b| **b == b'/').count();
        let (above, name) = match link[..end].iter().rposition(|b| *b == b'/') {
            Some(slash) => (&link[..slash], &link[slash + 1..end]),
            None => (&b""[..], &link[..end]),
        };
        if end != link.len() || !tree::is_name(name) {
            return Err(says("which is not a file's path"));
        }
        let parent = self.model.resolve(above, false, &mut self.missing)?;
        let Some(target) = self.model.lookup(parent, name) else {
            return Err(says("which is not in the layer"));
        };
        if target == id {
            return Err(says("which is the link itself"));
        }
        let meta = self.model.meta(target);
        match self.model.thing(target) {
            Thing::File { size, sha256, link } => {
                self.clear(id)?;
                self.disk.make_link(&self.model, target, id)?;
                let link = match link {
                    0 => self.model.new_link(),
                    link => link,
                };
                let thing = Thing::File { size, sha256, link };
                self.model.set(target, thing, meta);
                self.model.set(id, thing, meta);
                Ok(())
            }
            // Old images link device nodes; neither name is made.
            thing @ Thing::Special(_) => {
                self.clear(id)?;
                self.model.set(id, thing, meta);
                Ok(())
            }
            _ => Err(says("which is not a regular file")),
        }
    }

    fn special(&mut self, id: Id, special: Special) -> Result<()> {
        if matches!(special, Special::Char { major: 0, minor: 0 }) {
            // overlayfs would take it for a whiteout.
            return Err(malformed(format!(
                "{:?}: a device 0:0",
                self.model.path(id)
            )));
        }
        self.clear(id)?;
        let meta = self.meta()?;
        self.model.set(id, Thing::Special(special), meta);
        Ok(())
    }

    /// `.wh.HIDDEN` in `parent` (OCI image-spec, layer.md, "Whiteouts").
    fn whiteout(&mut self, parent: Id, hidden: &[u8]) -> Result<()> {
        let refuse = |what: &str| {
            let path = disk::quoted(&self.members.member.path);
            Err(malformed(format!("{path}: {what}")))
        };
        if self.members.member.what != What::File {
            return refuse("a whiteout that is not a file");
        }
        if hidden == b".wh..opq" {
            if let Thing::Dir {
                children, mtime, ..
            } = self.model.thing(parent)
            {
                let thing = Thing::Dir {
                    opaque: true,
                    children,
                    mtime,
                };
                self.model.set(parent, thing, self.model.meta(parent));
            }
            return Ok(());
        }
        if hidden.starts_with(b".wh.") || !tree::is_name(hidden) {
            return refuse("not a name that a whiteout can have");
        }
        let id = self.model.place(parent, hidden)?;
        match self.model.thing(id) {
            Thing::Gone => {
                self.disk.make_whiteout(&self.model, id)?;
                self.model.set(id, Thing::Whiteout, IMPLICIT);
            }
            // What lower layers have in it is hidden, what this layer has stays.
            Thing::Dir {
                children, mtime, ..
            } => {
                let thing = Thing::Dir {
                    opaque: true,
                    children,
                    mtime,
                };
                self.model.set(id, thing, self.model.meta(id));
            }
            _ => {}
        }
        Ok(())
    }

    /// Folders get what they could not have while they were filled; then list, records, facts.
    fn finish(mut self) -> Result<Unpacked> {
        let ids: Vec<Id> = self.model.ids().collect();
        // What is inside comes before what it is in: a folder's own mode may shut it.
        for id in ids.iter().rev() {
            if let Thing::Dir { opaque, mtime, .. } = self.model.thing(*id) {
                self.disk.finish_folder(&self.model, *id, opaque, mtime)?;
            }
        }
        drop(self.disk);
        let facts = &mut self.facts;
        let mut seen = vec![false; self.model.len() + 1];
        for id in ids {
            let meta = self.model.meta(id);
            let fact = match self.model.thing(id) {
                Thing::Gone => continue,
                Thing::File { size, link, .. } => {
                    if link == 0 || !std::mem::replace(&mut seen[link as usize], true) {
                        facts.size = facts.size.saturating_add(size);
                    }
                    (meta.mode & 0o6000 != 0).then_some(&mut facts.setuid)
                }
                Thing::Special(_) => Some(&mut facts.special),
                // overlayfs does not look whether the root itself is opaque.
                Thing::Dir { opaque, .. } if id == ROOT => {
                    facts.opaque = opaque;
                    None
                }
                _ => None,
            };
            facts.files += 1;
            let mut note = |list: &mut Vec<String>| {
                if list.len() == MAX_FACTS {
                    return Err(Error::new(
                        Kind::Limit,
                        format!("more than {MAX_FACTS} setuid or special files"),
                    ));
                }
                list.push(self.model.path(id));
                Ok(())
            };
            fact.map_or(Ok(()), &mut note)?;
            let caps = |(name, _): &(Vec<u8>, Vec<u8>)| name == b"security.capability";
            if meta.xattrs != 0 && self.model.xattrs(meta).iter().any(caps) {
                note(&mut facts.file_caps)?;
            }
        }
        let list = self.model.list()?;
        drop(self.model);
        let stat = check::record(self.into, &list, self.owner == OwnerMode::Chown)?;
        Ok(Unpacked {
            list,
            stat,
            facts: self.facts,
        })
    }
}

/// An image's own words made fit for a terminal: control and format characters (bidi overrides)
/// are escaped as Rust escapes them, bytes that are no text as `\xNN`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes.escape_ascii().to_string();
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}
