//! The tree that a cell sees: the lists of all layers, put together as overlayfs puts the folders.
//!
//! Every layer's list is walked once, all of them side by side. A whiteout, a file, a symlink and an
//! opaque folder end a name for the layers below. A device, fifo or socket does not: it is never
//! made, so what lies below shows. Below a layer whose root is opaque the store has no layers.

use super::tree::{Entry, Node, Tree};
use crate::error::Result;
use crate::policy::{FactsWanted, TreeFacts};
use std::collections::{HashMap, VecDeque};

/// Links that are followed on one way, as in path_resolution(7).
const MAX_LINKS: usize = 40;

struct Layer<'a> {
    tree: Tree<'a>,
    next: Option<Entry<'a>>,
}

impl<'a> Layer<'a> {
    fn advance(&mut self) -> Result<()> {
        self.next = self.tree.next_entry()?;
        Ok(())
    }

    /// The next entry, if it lies `depth` folders deep.
    fn at(&self, depth: usize) -> Option<&Entry<'a>> {
        self.next.as_ref().filter(|entry| entry.depth == depth)
    }

    /// Passes over what lies in a folder of this depth.
    fn skip(&mut self, depth: usize) -> Result<()> {
        while self.next.is_some_and(|entry| entry.depth > depth) {
            self.advance()?;
        }
        Ok(())
    }
}

/// Calls `each` with the path (absolute, `/` alone for the root) and the uppermost entry of
/// everything in the merged tree of `lists`, uppermost first. What a device, fifo or socket does not
/// hide comes under the same path after it.
///
/// Errors: `Store` when a list is damaged.
pub fn merged<'a>(lists: &[&'a [u8]], each: &mut dyn FnMut(&[u8], &Entry<'a>)) -> Result<()> {
    let mut layers = Vec::with_capacity(lists.len());
    for list in lists {
        let mut tree = Tree::new(list)?;
        let root = tree.next_entry()?;
        if let (Some(root), true) = (&root, layers.is_empty()) {
            each(b"/", root);
        }
        let next = tree.next_entry()?;
        layers.push(Layer { tree, next });
    }
    let all: Vec<usize> = (0..layers.len()).collect();
    folder(&mut layers, &all, 1, &mut Vec::new(), each)
}

/// What lies directly in the folder `path`, whose entries are `depth` deep, and everything below.
/// `parts`: the layers that have a part in it, uppermost first. Calls itself as deep as a list is
/// at most ([`super::tree::MAX_DEPTH`]).
fn folder<'a>(
    layers: &mut [Layer<'a>],
    parts: &[usize],
    depth: usize,
    path: &mut Vec<u8>,
    each: &mut dyn FnMut(&[u8], &Entry<'a>),
) -> Result<()> {
    loop {
        let names = parts.iter().filter_map(|n| layers[*n].at(depth));
        let Some(name) = names.map(|entry| entry.name).min() else {
            return Ok(());
        };
        let above = path.len();
        path.push(b'/');
        path.extend_from_slice(name);
        let mut below = Vec::new();
        let (mut ended, mut special) = (false, false);
        for n in parts {
            let layer = &mut layers[*n];
            let Some(entry) = layer.at(depth).filter(|e| e.name == name).copied() else {
                continue;
            };
            layer.advance()?;
            if ended {
                layer.skip(depth)?;
                continue;
            }
            let told = match entry.node {
                Node::Whiteout => true,
                Node::Special(_) => std::mem::replace(&mut special, true),
                _ => false,
            };
            if below.is_empty() && !told {
                each(path, &entry);
            }
            match entry.node {
                Node::Special(_) => {}
                Node::Whiteout | Node::File { .. } | Node::Symlink { .. } => ended = true,
                Node::Dir { opaque, .. } => {
                    below.push(*n);
                    ended = opaque;
                }
            }
        }
        if !below.is_empty() {
            folder(layers, &below, depth + 1, path, each)?;
        }
        path.truncate(above);
    }
}

/// Looks for what is wanted in the merged tree of `lists`, uppermost first.
///
/// Errors: `Store` when a list is damaged.
pub fn tree_facts(lists: &[&[u8]], wanted: &FactsWanted) -> Result<TreeFacts> {
    // Not for patterns that speak of no folder by name.
    let patterns = wanted.patterns.iter().enumerate();
    let folders: Vec<_> = patterns
        .map(|(n, pattern)| (n, folders(pattern)))
        .filter(|(_, (folders, _))| !folders.is_empty())
        .collect();
    let mut links = HashMap::new();
    if !folders.is_empty() {
        merged(lists, &mut |path, entry| {
            if let Node::Symlink { target } = entry.node {
                links.insert(path.to_vec(), target);
            }
        })?;
    }
    let way = |(n, (folders, rest)): (usize, (VecDeque<_>, &str))| {
        let prefix = followed(folders, &links)?;
        let rest = rest.to_owned();
        Some((n, Way { prefix, rest }))
    };
    let ways: Vec<(usize, Way)> = folders.into_iter().filter_map(way).collect();
    let mut facts = wanted.nothing_found();
    merged(lists, &mut |path, entry| {
        let path = String::from_utf8_lossy(path);
        let caps = |(name, _): (&[u8], &[u8])| name == b"security.capability";
        let open = entry.mode & 0o002 != 0
            && match entry.node {
                Node::File { .. } => true,
                Node::Dir { .. } => entry.mode & 0o1000 == 0,
                _ => false,
            };
        for (yes, found) in [
            (entry.is_setuid(), &mut facts.setuid),
            (!entry.on_disk(), &mut facts.special),
            (open, &mut facts.world_writable),
            (entry.xattrs.iter().any(caps), &mut facts.file_caps),
        ] {
            if let Some(found) = found.as_mut().filter(|_| yes) {
                found.note(&path);
            }
        }
        for (n, (pattern, found)) in facts.paths.iter_mut().enumerate() {
            let leads_there = |(of, way): &(usize, Way)| *of == n && way.matches(&path);
            if FactsWanted::matches(pattern, &path) || ways.iter().any(leads_there) {
                found.note(&path, entry.on_disk());
            }
        }
    })?;
    Ok(facts)
}

/// A pattern whose literal folders lead elsewhere by links: where to, and what is left of it.
struct Way {
    prefix: String,
    rest: String,
}

impl Way {
    fn matches(&self, path: &str) -> bool {
        path.strip_prefix(&self.prefix)
            .is_some_and(|path| FactsWanted::matches(&self.rest, path))
    }
}

/// The folders that a pattern names before its first star, and what is left of it. Its last part is
/// a name and not a folder.
fn folders(pattern: &str) -> (VecDeque<&[u8]>, &str) {
    let mut folders = VecDeque::new();
    let mut rest = pattern;
    while let Some((folder, _)) = rest.strip_prefix('/').and_then(|r| r.split_once('/'))
        && !folder.contains('*')
        && let Some(behind) = rest.get(1 + folder.len()..)
    {
        folders.push_back(folder.as_bytes());
        rest = behind;
    }
    (folders, rest)
}

/// Where folders lead, as a process inside would go; `None` where they lead where they say, or round
/// in a circle.
fn followed<'a>(parts: VecDeque<&'a [u8]>, links: &HashMap<Vec<u8>, &'a [u8]>) -> Option<String> {
    let mut walk = Walk::new(parts);
    while walk.step() {
        if let Some(target) = links.get(&walk.at)
            && !walk.follow(target)
        {
            return None;
        }
    }
    (walk.links > 0).then(|| String::from_utf8_lossy(&walk.at).into_owned())
}

/// A way through folders and links, as a process inside goes it (path_resolution(7)).
pub(super) struct Walk<'a> {
    /// What is still to be gone.
    parts: VecDeque<&'a [u8]>,
    /// Where it has come to: empty for the root, else a path without links.
    pub(super) at: Vec<u8>,
    /// How much of that is the folder of the last step.
    parent: usize,
    links: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(parts: VecDeque<&'a [u8]>) -> Self {
        Self {
            parts,
            at: Vec::new(),
            parent: 0,
            links: 0,
        }
    }

    /// Goes to the next name; `false`: that was the last.
    pub(super) fn step(&mut self) -> bool {
        while let Some(part) = self.parts.pop_front() {
            self.parent = self.at.len();
            match part {
                b"" | b"." => {}
                b".." => {
                    let above = self.at.iter().rposition(|b| *b == b'/');
                    self.at.truncate(above.unwrap_or(0));
                }
                _ => {
                    self.at.push(b'/');
                    self.at.extend_from_slice(part);
                    return true;
                }
            }
        }
        false
    }

    /// Goes on where the link leads that was come to; `false`: those were too many.
    pub(super) fn follow(&mut self, target: &'a [u8]) -> bool {
        self.links += 1;
        if self.links > MAX_LINKS {
            return false;
        }
        let absolute = target.starts_with(b"/");
        self.at.truncate(if absolute { 0 } else { self.parent });
        for part in target.split(|b| *b == b'/').rev() {
            self.parts.push_front(part);
        }
        true
    }

    /// The names that are still to come.
    pub(super) fn rest(&self) -> impl Iterator<Item = &'a [u8]> {
        self.parts.iter().copied().filter(|part| !part.is_empty())
    }
}

#[cfg(test)]
mod tests;
