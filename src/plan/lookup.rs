//! A path of an image, looked up in the layers' lists as a process inside would find it.

use super::merged::{Walk, merged};
use super::tree::{Entry, Node, Special};
use crate::error::Result;
use std::collections::HashMap;

/// What a path of an image leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// This.
    Found(Found),
    /// Out of the image, to a place that is mounted over it: the path there.
    Mounted(String),
    /// Nothing has this name.
    Missing(String),
    /// This is no folder, and something below it was asked for.
    NoFolder(String),
    /// A device, fifo or socket of the image, which is never made.
    NeverMade(String),
    /// Links lead round in a circle.
    Circle,
}

/// A file, folder or link of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is, without links.
    pub path: String,
    /// Links that were followed, each with where it says it leads.
    pub links: Vec<(String, String)>,
    /// `folder` or `file`.
    pub kind: &'static str,
    /// Bytes of a file.
    pub size: Option<u64>,
    /// Permission bits, as the image says.
    pub mode: u16,
    /// Permission bits inside.
    pub disk_mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The image gives it capabilities, which are stripped.
    pub file_caps: bool,
    /// The uppermost layer that has it: its place among `lists`.
    pub layer: usize,
}

/// The merged tree of an image, to look paths up in.
#[derive(Debug)]
pub struct Merged<'a> {
    entries: HashMap<Vec<u8>, Entry<'a>>,
    /// The uppermost layer that has something of a path that is made.
    layers: HashMap<Vec<u8>, usize>,
    many: usize,
}

impl<'a> Merged<'a> {
    /// That of `lists`, uppermost first.
    ///
    /// # Errors
    /// `Store`: a list is damaged.
    pub fn of(lists: &[&'a [u8]]) -> Result<Self> {
        let mut entries: HashMap<Vec<u8>, Entry<'a>> = HashMap::new();
        merged(lists, &mut |path, entry| {
            // What a device does not hide comes after it.
            entries.insert(path.to_vec(), *entry);
        })?;
        let mut layers = HashMap::with_capacity(entries.len());
        for (n, list) in lists.iter().enumerate() {
            merged(&[list], &mut |path, entry| {
                if entry.on_disk() {
                    layers.entry(path.to_vec()).or_insert(n);
                }
            })?;
        }
        Ok(Self {
            entries,
            layers,
            many: lists.len(),
        })
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        self.many
    }

    /// Looks `path` up. `mounted`: what is not the image's, where the way ends.
    pub fn lookup(&self, path: &str, mounted: &dyn Fn(&str) -> bool) -> Lookup {
        lookup(self, path, mounted)
    }
}

fn lookup(image: &Merged<'_>, path: &str, mounted: &dyn Fn(&str) -> bool) -> Lookup {
    let tree = &image.entries;
    let mut walk = Walk::new(path.as_bytes().split(|b| *b == b'/').collect());
    let mut links = Vec::new();
    let text = |path: &[u8]| match path {
        b"" => "/".to_owned(),
        path => String::from_utf8_lossy(path).into_owned(),
    };
    while walk.step() {
        let at = text(&walk.at);
        if mounted(&at) {
            let rest = walk.rest();
            let rest = rest.map(|part| format!("/{}", String::from_utf8_lossy(part)));
            return Lookup::Mounted(at + &rest.collect::<String>());
        }
        let more = walk.rest().next().is_some();
        match tree.get(&walk.at).map(|entry| entry.node) {
            None | Some(Node::Whiteout) => return Lookup::Missing(at),
            Some(Node::Special(special)) => {
                let what = match special {
                    Special::Char { .. } | Special::Block { .. } => "device",
                    Special::Fifo => "fifo",
                    Special::Socket => "socket",
                };
                return Lookup::NeverMade(what.to_owned());
            }
            Some(Node::File { .. }) if more => return Lookup::NoFolder(at),
            Some(Node::File { .. } | Node::Dir { .. }) => {}
            Some(Node::Symlink { target }) => {
                links.push((at, String::from_utf8_lossy(target).into_owned()));
                if !walk.follow(target) {
                    return Lookup::Circle;
                }
            }
        }
    }
    let at = &walk.at;
    let key: &[u8] = if at.is_empty() { b"/" } else { at };
    let Some(entry) = tree.get(key) else {
        return Lookup::Missing(text(at));
    };
    let folder = matches!(entry.node, Node::Dir { .. });
    Lookup::Found(Found {
        path: text(at),
        links,
        kind: if folder { "folder" } else { "file" },
        size: match entry.node {
            Node::File { size, .. } => Some(size),
            _ => None,
        },
        mode: entry.mode,
        disk_mode: entry.disk_mode(),
        uid: entry.uid,
        gid: entry.gid,
        file_caps: entry
            .xattrs
            .iter()
            .any(|(name, _)| name == b"security.capability"),
        layer: image.layers.get(key).copied().unwrap_or(0),
    })
}
