//! The layer's tree in memory: what stands where, so that a path is resolved without asking the
//! disk and the list can be written sorted at the end.
use super::{Limits, shown};
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use crate::plan::tree::{Entry, MAX_DEPTH, Node, Special, Writer, Xattrs, is_name};
use std::hash::{BuildHasher, RandomState};

/// A position in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u32);

/// The layer's root folder.
pub(super) const ROOT: Id = Id(0);
/// How many symlinks a path may lead through (as the kernel's MAXSYMLINKS).
const MAX_LINKS: u32 = 40;

/// Bytes in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    len: u16,
}

/// What stands at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    /// Nothing any more, or nothing yet.
    Gone,
    File {
        size: u64,
        sha256: Digest,
        /// Number of the group of names that are this file; 0: this is its only one.
        link: u32,
    },
    Dir {
        opaque: bool,
        children: u32,
        mtime: (i64, u32),
    },
    Symlink(Span),
    Whiteout,
    Special(Special),
}

/// Mode, owner and extended attributes, as the image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Index into the model's sets of extended attributes; 0: none.
    pub(super) xattrs: u32,
}

/// What a folder has that no member describes.
pub(super) const IMPLICIT: Meta = Meta {
    mode: 0o755,
    uid: 0,
    gid: 0,
    xattrs: 0,
};

#[derive(Debug, Clone, Copy)]
struct Slot {
    parent: Id,
    name: Span,
    depth: u16,
    meta: Meta,
    thing: Thing,
}

type XattrSet = Box<[(Vec<u8>, Vec<u8>)]>;

/// The tree.
pub(super) struct Model<'a> {
    limits: &'a Limits,
    slots: Vec<Slot>,
    arena: Vec<u8>,
    /// Open addressing over (parent, name): index of a slot plus one, 0 for an empty place.
    table: Vec<u32>,
    hasher: RandomState,
    xattrs: Vec<XattrSet>,
    xattr_bytes: usize,
    links: u32,
}

/// Folders that a path goes through and that are to be made, in order.
pub(super) type Missing = Vec<Id>;

fn malformed(what: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, what)
}

fn limit(what: impl Into<String>) -> Error {
    Error::new(Kind::Limit, what)
}

impl<'a> Model<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        let root = Slot {
            parent: ROOT,
            name: Span { start: 0, len: 0 },
            depth: 0,
            meta: IMPLICIT,
            thing: Thing::Dir {
                opaque: false,
                children: 0,
                mtime: (0, 0),
            },
        };
        Self {
            limits,
            slots: vec![root],
            arena: Vec::new(),
            table: vec![0; 1024],
            hasher: RandomState::new(),
            xattrs: vec![Box::default()],
            xattr_bytes: 0,
            links: 0,
        }
    }

    fn slot(&self, id: Id) -> &Slot {
        &self.slots[id.0 as usize]
    }

    fn slot_mut(&mut self, id: Id) -> &mut Slot {
        &mut self.slots[id.0 as usize]
    }

    pub(super) fn thing(&self, id: Id) -> Thing {
        self.slot(id).thing
    }

    pub(super) fn meta(&self, id: Id) -> Meta {
        self.slot(id).meta
    }

    pub(super) fn parent(&self, id: Id) -> Id {
        self.slot(id).parent
    }

    pub(super) fn name(&self, id: Id) -> &[u8] {
        self.bytes(self.slot(id).name)
    }

    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        &self.arena[start..start + usize::from(span.len)]
    }

    pub(super) fn xattrs(&self, meta: Meta) -> &[(Vec<u8>, Vec<u8>)] {
        &self.xattrs[meta.xattrs as usize]
    }

    /// How many positions there are; none is ever given up.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Every position, parents before what is in them.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        let end = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        (0..end).map(Id)
    }

    /// The path inside the layer, with a leading slash, for people and facts.
    pub(super) fn path(&self, mut id: Id) -> String {
        let mut names = Vec::new();
        while id != ROOT {
            names.push(shown(self.name(id)));
            id = self.parent(id);
        }
        names.push(String::new());
        names.reverse();
        if names.len() == 1 {
            return "/".to_owned();
        }
        names.join("/")
    }

    /// The folders from below the root down to `id`, the outermost first.
    pub(super) fn chain(&self, mut id: Id, out: &mut Vec<Id>) {
        out.clear();
        while id != ROOT {
            out.push(id);
            id = self.parent(id);
        }
        out.reverse();
    }

    /// Where `name` stands in `parent`: its place in the table, and its position if it has one.
    fn find(&self, parent: Id, name: &[u8]) -> (usize, Option<Id>) {
        let mask = self.table.len() - 1;
        let hash = self.hasher.hash_one((parent.0, name));
        let mut place = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & mask;
        loop {
            match self.table[place].checked_sub(1).map(Id) {
                None => return (place, None),
                Some(id) => {
                    let slot = self.slot(id);
                    if slot.parent == parent && self.bytes(slot.name) == name {
                        return (place, Some(id));
                    }
                }
            }
            place = (place + 1) & mask;
        }
    }

    /// The position of `name` in `parent`, made (as [`Thing::Gone`]) if there is none.
    pub(super) fn place(&mut self, parent: Id, name: &[u8]) -> Result<Id> {
        let (place, found) = self.find(parent, name);
        if let Some(id) = found {
            return Ok(id);
        }
        let depth = self.slot(parent).depth + 1;
        if usize::from(depth) > self.limits.depth.min(MAX_DEPTH - 1) {
            return Err(limit(format!(
                "folders are more than {} deep",
                self.limits.depth
            )));
        }
        if self.slots.len() as u64 > self.limits.entries {
            return Err(limit(format!(
                "the layer has more than {} entries",
                self.limits.entries
            )));
        }
        let name = self.keep(name)?;
        let id = Id(u32::try_from(self.slots.len()).map_err(|_| limit("too many entries"))?);
        self.slots.push(Slot {
            parent,
            name,
            depth,
            meta: IMPLICIT,
            thing: Thing::Gone,
        });
        self.table[place] = id.0 + 1;
        if self.slots.len() * 2 > self.table.len() {
            self.grow();
        }
        Ok(id)
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 2];
        for id in self.ids().skip(1) {
            let slot = *self.slot(id);
            let (place, _) = self.find(slot.parent, self.bytes(slot.name));
            self.table[place] = id.0 + 1;
        }
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<Span> {
        let start = u32::try_from(self.arena.len()).map_err(|_| limit("too many names"))?;
        let len = u16::try_from(bytes.len()).map_err(|_| limit("a name that is too long"))?;
        self.arena.extend_from_slice(bytes);
        Ok(Span { start, len })
    }

    /// Keeps a set of extended attributes, for [`Meta::xattrs`].
    pub(super) fn keep_xattrs(&mut self, set: Vec<(Vec<u8>, Vec<u8>)>) -> Result<u32> {
        if set.is_empty() {
            return Ok(0);
        }
        self.xattr_bytes += set.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        if self.xattr_bytes > self.limits.layer_xattrs {
            return Err(limit("the layer has too many extended attributes"));
        }
        self.xattrs.push(set.into());
        u32::try_from(self.xattrs.len() - 1).map_err(|_| limit("too many extended attributes"))
    }

    /// Puts a thing at a position, or takes what is there away, and counts it in its folder.
    pub(super) fn set(&mut self, id: Id, thing: Thing, meta: Meta) {
        let was = std::mem::replace(&mut self.slot_mut(id).thing, thing) != Thing::Gone;
        self.slot_mut(id).meta = meta;
        let is = thing != Thing::Gone;
        let parent = self.parent(id);
        if id != ROOT
            && let Thing::Dir { children, .. } = &mut self.slot_mut(parent).thing
        {
            *children = *children + u32::from(is) - u32::from(was);
        }
    }

    /// A new group of names that are one file.
    pub(super) fn new_link(&mut self) -> u32 {
        self.links += 1;
        self.links
    }

    /// Resolves the folder part of a member's path the way a process inside would: symlinks of this
    /// layer are followed, their absolute targets and `..` never leave the layer's root. Folders
    /// that are not there become [`Thing::Dir`] here, and are handed back to be made on disk;
    /// without `make` they are an error.
    pub(super) fn resolve(&mut self, path: &[u8], make: bool, missing: &mut Missing) -> Result<Id> {
        let mut followed = 0;
        let mut at = ROOT;
        // What is still to be walked, the next part last.
        let mut rest: Vec<Vec<u8>> = Vec::new();
        let mut parts = path.split(|b| *b == b'/');
        loop {
            // Owned parts come from symlinks, which are rare; the path's own are only borrowed.
            let from_link = rest.pop();
            let part: &[u8] = match &from_link {
                Some(part) => part,
                None => match parts.next() {
                    Some(part) => part,
                    None => return Ok(at),
                },
            };
            match part {
                b"" | b"." => continue,
                b".." if from_link.is_some() => {
                    at = self.parent(at);
                    continue;
                }
                _ if !is_name(part) => {
                    return Err(malformed(format!("{} is not a path", shown(path))));
                }
                _ => {}
            }
            let id = match self.find(at, part) {
                (_, Some(id)) => id,
                (_, None) if make => self.place(at, part)?,
                _ => return Err(malformed(format!("{} is not in the layer", shown(path)))),
            };
            match self.thing(id) {
                Thing::Dir { .. } => at = id,
                Thing::Symlink(target) => {
                    followed += 1;
                    if followed > MAX_LINKS {
                        return Err(malformed(format!("{}: a loop of symlinks", shown(path))));
                    }
                    let target = self.bytes(target);
                    if target.starts_with(b"/") {
                        at = ROOT;
                    }
                    rest.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                    if rest.len() > 4096 {
                        return Err(limit(format!(
                            "{}: symlinks that are too long",
                            shown(path)
                        )));
                    }
                }
                before @ (Thing::Gone | Thing::Whiteout) if make => {
                    // Hidden below and new here: nothing of lower layers may show through.
                    let opaque = before == Thing::Whiteout;
                    let thing = Thing::Dir {
                        opaque,
                        children: 0,
                        mtime: (0, 0),
                    };
                    missing.push(id);
                    if opaque {
                        // The caller takes the whiteout off the disk before it makes the folder.
                        missing.push(id);
                    }
                    self.set(id, thing, IMPLICIT);
                    at = id;
                }
                _ => {
                    return Err(malformed(format!(
                        "{}: {} is not a folder",
                        shown(path),
                        self.path(id)
                    )));
                }
            }
        }
    }

    /// What stands at `name` in `parent`, if anything.
    pub(super) fn lookup(&self, parent: Id, name: &[u8]) -> Option<Id> {
        let (_, id) = self.find(parent, name);
        id.filter(|id| self.thing(*id) != Thing::Gone)
    }

    /// Writes the list: pre-order, sorted, hardlink groups numbered as they are met.
    pub(super) fn list(&self) -> Result<Vec<u8>> {
        let mut order: Vec<Id> = self
            .ids()
            .skip(1)
            .filter(|id| self.thing(*id) != Thing::Gone)
            .collect();
        order.sort_unstable_by(|a, b| {
            let key = |id: &Id| (self.parent(*id), self.name(*id));
            key(a).cmp(&key(b))
        });
        // Where each folder's entries start in `order`.
        let mut first = vec![0u32; self.slots.len()];
        let mut members = vec![0u32; self.links as usize + 1];
        for (at, id) in order.iter().enumerate().rev() {
            first[self.parent(*id).0 as usize] = u32::try_from(at).unwrap_or(u32::MAX);
            if let Thing::File { link, .. } = self.thing(*id) {
                members[link as usize] += 1;
            }
        }
        let mut numbers = vec![0u32; members.len()];
        let mut next = 0;
        let mut out = Writer::default();
        let mut stack = vec![ROOT];
        while let Some(id) = stack.pop() {
            let slot = self.slot(id);
            let node = match slot.thing {
                Thing::File { size, sha256, link } => {
                    let link = link as usize;
                    if link != 0 && members[link] > 1 && numbers[link] == 0 {
                        next += 1;
                        numbers[link] = next;
                    }
                    Node::File {
                        size,
                        sha256,
                        link: numbers[link],
                    }
                }
                Thing::Dir {
                    opaque, children, ..
                } => {
                    let start = first[id.0 as usize] as usize;
                    let end = start + children as usize;
                    stack.extend(order[start..end].iter().rev());
                    Node::Dir { children, opaque }
                }
                Thing::Symlink(target) => Node::Symlink {
                    target: self.bytes(target),
                },
                Thing::Whiteout | Thing::Gone => Node::Whiteout,
                Thing::Special(special) => Node::Special(special),
            };
            let xattrs: Vec<(&[u8], &[u8])> = self
                .xattrs(slot.meta)
                .iter()
                .map(|(n, v)| (&n[..], &v[..]))
                .collect();
            let entry = Entry {
                depth: 0,
                name: self.bytes(slot.name),
                mode: slot.meta.mode,
                uid: slot.meta.uid,
                gid: slot.meta.gid,
                node,
                xattrs: Xattrs::default(),
            };
            out.push(&entry, &xattrs);
            if out.size() > self.limits.list {
                return Err(limit(format!(
                    "the layer's index is longer than {} bytes",
                    self.limits.list
                )));
            }
        }
        Ok(out.finish())
    }
}
