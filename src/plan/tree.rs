//! The tree list: every entry of an unpacked layer, and the stat records beside it.
//!
//! A list is canonical: the same tree has one list, byte for byte, so its sha256 names it. It is
//! the magic [`LIST_MAGIC`], then the root folder, then every entry in pre-order, siblings sorted
//! by the bytes of their names. An entry is a tag byte (kind in the low four bits, flags above),
//! the name's length and bytes, then, unless it is a whiteout, mode, uid, gid as LEB128 numbers,
//! then what its kind adds, then its extended attributes sorted by name.
//!
//! The list says what the *image* says: a setuid bit and a file capability stand in it although
//! unpacking strips them, a device although it is never made. [`Entry::disk_mode`] and
//! [`Entry::on_disk`] say what unpacking makes of it.
//!
//! A stat record is [`STAT_SIZE`] bytes for each entry that exists on disk, in the list's order,
//! behind a header of [`STAT_HEADER`] bytes. Both are walked at each run, without an allocation
//! per entry. Decoding is total: any bytes give entries or [`Kind::Store`], never a panic.

use crate::error::{Error, Kind, Result};
use crate::image::Digest;

pub use crate::image::Hasher;
pub use crate::policy::VerifyMode;

/// The first bytes of a tree list; the last one is the version.
pub const LIST_MAGIC: &[u8; 8] = b"lzrtree\x01";
/// The first bytes of a stat file; the last one is the version.
pub const STAT_MAGIC: &[u8; 8] = b"lzrstat\x01";
/// Bytes before the first stat record: the magic, and flags (bit 0: owners are kept on disk).
pub const STAT_HEADER: usize = 16;
/// Bytes of a stat record.
pub const STAT_SIZE: usize = 40;
/// How deep a tree may be; each level costs the checker one descriptor.
pub const MAX_DEPTH: usize = 256;
/// Longest name of one entry (NAME_MAX).
pub const MAX_NAME: usize = 255;
/// Longest symlink target (PATH_MAX with its NUL).
pub const MAX_TARGET: usize = 4095;

const KIND_MASK: u8 = 0x0f;
const HAS_XATTRS: u8 = 0x10;
/// Of a file: it has several names. Of a folder: it is opaque.
const FLAG: u8 = 0x20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'a> {
    /// A regular file. `link` is 0, or the number of its hardlink group: groups are numbered from
    /// 1 on in the order in which the list first meets them.
    File {
        size: u64,
        sha256: Digest,
        link: u32,
    },
    /// A folder with as many entries directly below it; `opaque` hides what lower layers have there.
    Dir { children: u32, opaque: bool },
    /// A symbolic link and its target, as the image wrote it.
    Symlink { target: &'a [u8] },
    /// Hides an entry of this name in lower layers.
    Whiteout,
    /// A device, fifo or socket: recorded, never created.
    Special(Special),
}

/// A special file that an image asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A character device.
    Char { major: u32, minor: u32 },
    /// A block device.
    Block { major: u32, minor: u32 },
    /// A fifo.
    Fifo,
    /// A socket.
    Socket,
}

/// One entry of a tree list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// How many folders stand above it: 0 is the root folder itself.
    pub depth: usize,
    /// Its name inside its folder; empty for the root folder.
    pub name: &'a [u8],
    /// Permission bits with setuid, setgid and sticky, as the image says (0 for a whiteout).
    pub mode: u16,
    /// Owner inside the image.
    pub uid: u32,
    /// Group inside the image.
    pub gid: u32,
    /// What it is.
    pub node: Node<'a>,
    /// Its extended attributes, as the image says.
    pub xattrs: Xattrs<'a>,
}

impl Entry<'_> {
    /// Whether unpacking makes something of this name.
    pub fn on_disk(&self) -> bool {
        !matches!(self.node, Node::Special(_))
    }

    /// The permission bits on disk: files lose setuid and setgid, folders lose setuid.
    pub fn disk_mode(&self) -> u16 {
        disk_mode(self.mode, matches!(self.node, Node::Dir { .. }))
    }

    /// Whether this is a regular file with a setuid or setgid bit in the image.
    pub fn is_setuid(&self) -> bool {
        matches!(self.node, Node::File { .. }) && self.mode & 0o6000 != 0
    }
}

/// The permission bits that unpacking gives to a file or folder whose image mode is `mode`.
/// A folder's setgid bit passes on a group and no power, so it stays.
pub fn disk_mode(mode: u16, dir: bool) -> u16 {
    mode & if dir { 0o3777 } else { 0o1777 }
}

/// Whether unpacking writes this extended attribute to disk. All others are kept in the list only:
/// `security.capability` gives power, the rest needs some that the unpacker does not have. Only
/// files and folders can carry `user.*` (xattr(7)).
pub fn xattr_on_disk(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

/// Extended attributes in the list's own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Xattrs<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Xattrs<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        // The bytes were walked once when the entry was decoded: the reads cannot fail here.
        let mut cursor = Cursor { bytes: self.bytes };
        std::iter::from_fn(move || {
            let name = cursor.block(MAX_NAME).ok()?;
            let value = cursor.block(usize::MAX).ok()?;
            Some((name, value))
        })
        .take(self.count)
    }
}

/// Writes a tree list. The caller brings the entries in the list's order, with honest counts of
/// children; [`Tree`] refuses a list that was not made so.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            out: LIST_MAGIC.to_vec(),
        }
    }
}

impl Writer {
    /// Appends an entry; `xattrs` replace the entry's own and must be sorted by name.
    pub fn push(&mut self, entry: &Entry<'_>, xattrs: &[(&[u8], &[u8])]) {
        let (kind, flag) = match entry.node {
            Node::File { link, .. } => (0, link != 0),
            Node::Dir { opaque, .. } => (1, opaque),
            Node::Symlink { .. } => (2, false),
            Node::Whiteout => (3, false),
            Node::Special(Special::Char { .. }) => (4, false),
            Node::Special(Special::Block { .. }) => (5, false),
            Node::Special(Special::Fifo) => (6, false),
            Node::Special(Special::Socket) => (7, false),
        };
        let flag = if flag { FLAG } else { 0 };
        let has = if xattrs.is_empty() { 0 } else { HAS_XATTRS };
        self.out.push(kind | flag | has);
        self.block(entry.name);
        if entry.node == Node::Whiteout {
            return;
        }
        self.number(entry.mode.into());
        self.number(entry.uid.into());
        self.number(entry.gid.into());
        match entry.node {
            Node::File { size, sha256, link } => {
                self.number(size);
                self.out.extend_from_slice(sha256.bytes());
                if link != 0 {
                    self.number(link.into());
                }
            }
            Node::Dir { children, .. } => self.number(children.into()),
            Node::Symlink { target } => self.block(target),
            Node::Special(Special::Char { major, minor } | Special::Block { major, minor }) => {
                self.number(major.into());
                self.number(minor.into());
            }
            Node::Special(Special::Fifo | Special::Socket) | Node::Whiteout => {}
        }
        if !xattrs.is_empty() {
            self.number(xattrs.len() as u64);
            for (name, value) in xattrs {
                self.block(name);
                self.block(value);
            }
        }
    }

    /// The list's bytes.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// How many bytes were written so far.
    pub fn size(&self) -> usize {
        self.out.len()
    }

    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.out.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.out.push((n & 0x7f) as u8);
    }

    fn block(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
}

/// A tree list being walked, entry by entry.
#[derive(Debug)]
pub struct Tree<'a> {
    cursor: Cursor<'a>,
    /// The folders that are open: how many of their entries are still to come, and the name of the
    /// last one, which the next must follow.
    open: Vec<(u32, &'a [u8])>,
    links: u32,
    started: bool,
}

impl<'a> Tree<'a> {
    /// Opens a list. Errors: `Store` when it is not one, or one of a newer version.
    pub fn new(list: &'a [u8]) -> Result<Self> {
        let bytes = list
            .strip_prefix(LIST_MAGIC)
            .ok_or_else(|| damaged("tree list", "its first bytes are not a tree list's"))?;
        Ok(Self {
            cursor: Cursor { bytes },
            open: Vec::with_capacity(16),
            links: 0,
            started: false,
        })
    }

    /// The next entry, or `None` after the last. Errors: `Store` for anything that a [`Writer`]
    /// used as it should be would not have written.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>> {
        let depth = if self.started {
            while let Some((0, _)) = self.open.last() {
                self.open.pop();
            }
            self.open.len()
        } else {
            0
        };
        if self.started && depth == 0 {
            return match self.cursor.bytes {
                [] => Ok(None),
                _ => Err(bad("bytes behind the last entry")),
            };
        }
        let tag = self.cursor.byte()?;
        let name = self.cursor.block(MAX_NAME)?;
        if self.started {
            if !is_name(name) {
                return Err(bad("an entry's name is not one"));
            }
            let (left, last) = match self.open.last_mut() {
                Some(top) => top,
                None => return Err(bad("an entry outside of the root")),
            };
            if *last >= name {
                return Err(bad("entries are not sorted"));
            }
            *last = name;
            *left -= 1;
        } else if !name.is_empty() || tag & KIND_MASK != 1 {
            return Err(bad("the first entry is not the root folder"));
        }
        self.started = true;
        let flag = tag & FLAG != 0;
        if tag & !(KIND_MASK | HAS_XATTRS | FLAG) != 0 || (flag && tag & KIND_MASK > 1) {
            return Err(bad("unknown flags"));
        }
        if tag == 3 {
            return Ok(Some(Entry {
                depth,
                name,
                mode: 0,
                uid: 0,
                gid: 0,
                node: Node::Whiteout,
                xattrs: Xattrs::default(),
            }));
        }
        let mode = u16::try_from(self.cursor.number()?)
            .ok()
            .filter(|m| *m <= 0o7777)
            .ok_or_else(|| bad("a mode has more than twelve bits"))?;
        let uid = self.cursor.number_u32()?;
        let gid = self.cursor.number_u32()?;
        let node = match tag & KIND_MASK {
            0 => self.file(flag)?,
            1 => {
                let children = self.cursor.number_u32()?;
                if children > 0 && self.open.len() >= MAX_DEPTH {
                    return Err(bad("folders are too deep"));
                }
                self.open.push((children, b""));
                Node::Dir {
                    children,
                    opaque: flag,
                }
            }
            2 => {
                let target = self.cursor.block(MAX_TARGET)?;
                if target.is_empty() || target.contains(&0) {
                    return Err(bad("a symlink's target is not one"));
                }
                Node::Symlink { target }
            }
            4 => Node::Special(Special::Char {
                major: self.cursor.number_u32()?,
                minor: self.cursor.number_u32()?,
            }),
            5 => Node::Special(Special::Block {
                major: self.cursor.number_u32()?,
                minor: self.cursor.number_u32()?,
            }),
            6 => Node::Special(Special::Fifo),
            7 => Node::Special(Special::Socket),
            _ => return Err(bad("unknown kind of entry")),
        };
        let xattrs = if tag & HAS_XATTRS != 0 {
            self.xattrs()?
        } else {
            Xattrs::default()
        };
        Ok(Some(Entry {
            depth,
            name,
            mode,
            uid,
            gid,
            node,
            xattrs,
        }))
    }

    fn file(&mut self, linked: bool) -> Result<Node<'a>> {
        let size = self.cursor.number()?;
        if i64::try_from(size).is_err() {
            return Err(bad("a size is more than a file can have"));
        }
        let sha256 = self
            .cursor
            .take(32)?
            .first_chunk::<32>()
            .ok_or_else(|| bad("a digest is too short"))?;
        let link = if linked {
            let link = self.cursor.number_u32()?;
            if link == 0 || link > self.links.saturating_add(1) {
                return Err(bad("hardlink groups are not numbered in order"));
            }
            self.links = self.links.max(link);
            link
        } else {
            0
        };
        Ok(Node::File {
            size,
            sha256: Digest::from_bytes(*sha256),
            link,
        })
    }

    fn xattrs(&mut self) -> Result<Xattrs<'a>> {
        let count = self.cursor.number_u32()?;
        if count == 0 {
            return Err(bad("no xattrs where some are announced"));
        }
        let start = self.cursor.bytes;
        let mut last: &[u8] = b"";
        for _ in 0..count {
            let name = self.cursor.block(MAX_NAME)?;
            if name <= last || name.contains(&0) {
                return Err(bad("xattrs are not sorted"));
            }
            last = name;
            self.cursor.block(usize::MAX)?;
        }
        let used = start.len() - self.cursor.bytes.len();
        Ok(Xattrs {
            count: count as usize,
            bytes: start.get(..used).unwrap_or_default(),
        })
    }
}

/// Whether `name` can be one entry of a folder: not empty, at most 255 bytes, no slash, no NUL,
/// neither `.` nor `..`.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name != b"."
        && name != b".."
        && !name.iter().any(|b| *b == b'/' || *b == 0)
}

/// What a list holds, as one walk through all of it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Entries, the root folder and specials included.
    pub entries: u64,
    /// Entries that have a stat record.
    pub on_disk: u64,
    /// Bytes of all regular files; a file of several names counts once.
    pub size: u64,
}

/// Walks a whole list, so that an unreadable one is found before it is recorded.
pub fn summary(list: &[u8]) -> Result<Summary> {
    let mut tree = Tree::new(list)?;
    let mut sum = Summary::default();
    let mut links = 0;
    while let Some(entry) = tree.next_entry()? {
        sum.entries += 1;
        sum.on_disk += u64::from(entry.on_disk());
        if let Node::File { size, link, .. } = entry.node {
            if link == 0 || link > links {
                sum.size = sum.size.saturating_add(size);
            }
            links = links.max(link);
        }
    }
    Ok(sum)
}

/// What stat(2) said of an entry when it was last known to be right. No device number: it changes
/// over a reboot. Times are nanoseconds since 1970; the size of a folder is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub ino: u64,
    pub size: u64,
    pub mtime: i64,
    pub ctime: i64,
    /// Type and permission bits (`st_mode`).
    pub mode: u32,
}

impl Stat {
    /// The record's bytes.
    pub fn encode(&self) -> [u8; STAT_SIZE] {
        let mut out = [0; STAT_SIZE];
        out[..8].copy_from_slice(&self.ino.to_le_bytes());
        out[8..16].copy_from_slice(&self.size.to_le_bytes());
        out[16..24].copy_from_slice(&self.mtime.to_le_bytes());
        out[24..32].copy_from_slice(&self.ctime.to_le_bytes());
        out[32..36].copy_from_slice(&self.mode.to_le_bytes());
        out
    }
}

/// The stat records of a tree, read in the order of its list.
#[derive(Debug, Clone, Copy)]
pub struct Stats<'a> {
    /// Whether the image's owners are the owners on disk (`Range`); else all belong to one id.
    pub owners: bool,
    records: &'a [[u8; STAT_SIZE]],
}

impl<'a> Stats<'a> {
    /// Opens a stat file's bytes. Errors: `Store` when they are not one.
    pub fn new(stat: &'a [u8]) -> Result<Self> {
        let what = "stat record";
        let (head, rest) = stat
            .split_first_chunk::<STAT_HEADER>()
            .ok_or_else(|| damaged(what, "it is too short"))?;
        if !head.starts_with(STAT_MAGIC) {
            return Err(damaged(what, "its first bytes are not a stat record's"));
        }
        if head[9..] != [0; 7] || head[8] > 1 {
            return Err(damaged(what, "unknown flags"));
        }
        let (records, []) = rest.as_chunks::<STAT_SIZE>() else {
            return Err(damaged(what, "its size is not one of whole records"));
        };
        Ok(Self {
            owners: head[8] == 1,
            records,
        })
    }

    /// The same without any record.
    #[must_use]
    pub fn none(self) -> Self {
        Self {
            records: &[],
            ..self
        }
    }

    /// How many records are left.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The header of a stat file.
    pub fn header(owners: bool) -> [u8; STAT_HEADER] {
        let mut out = [0; STAT_HEADER];
        out[..8].copy_from_slice(STAT_MAGIC);
        out[8] = owners.into();
        out
    }
}

impl Iterator for Stats<'_> {
    type Item = Stat;

    fn next(&mut self) -> Option<Stat> {
        let (r, rest) = self.records.split_first()?;
        self.records = rest;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&r[at..at + 8]);
            word
        };
        Some(Stat {
            ino: u64::from_le_bytes(word(0)),
            size: u64::from_le_bytes(word(8)),
            mtime: i64::from_le_bytes(word(16)),
            ctime: i64::from_le_bytes(word(24)),
            mode: u32::from_le_bytes([r[32], r[33], r[34], r[35]]),
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self
            .bytes
            .split_first()
            .ok_or_else(|| bad("it ends early"))?;
        self.bytes = rest;
        Ok(*byte)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or_else(|| bad("it ends early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn block(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if len > max {
            return Err(bad("a name or value is too long"));
        }
        self.take(len)
    }

    fn number_u32(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| bad("a number is too big"))
    }

    /// LEB128, shortest form only: two spellings would be two lists of one tree.
    fn number(&mut self) -> Result<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift != 0 {
                    break;
                }
                return Ok(n);
            }
        }
        Err(bad("a number is not in its shortest form"))
    }
}

fn bad(why: &str) -> Error {
    damaged("tree list", why)
}

fn damaged(what: &str, why: &str) -> Error {
    Error::new(Kind::Store, format!("a layer's {what} is damaged: {why}"))
        .hint("remove the image and load it again: lazaret rmi IMAGE")
}

#[cfg(test)]
mod tests;
