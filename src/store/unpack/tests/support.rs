//! A writer of honest and hostile archives, and what every unpacking is held to.

use super::super::*;
use crate::plan::tree::{Entry, Node, Tree};
use crate::policy::VerifyMode;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;

pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lazaret-{what}-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        open_folders(&self.0);
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Makes every folder below `at` one that its owner may empty: what is unpacked keeps the modes of
/// its image, and only root removes what is in a folder of mode 0555.
fn open_folders(at: &Path) {
    fs::set_permissions(at, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            open_folders(&entry.path());
        }
    }
}

/// A tar being written, honestly or not.
#[derive(Default, Clone)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

pub(crate) struct Head<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) link: &'a [u8],
    pub(crate) device: (u32, u32),
}

pub(crate) fn head(kind: u8, name: &str) -> Head<'_> {
    Head {
        name: name.as_bytes(),
        kind,
        mode: if kind == b'5' { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        size: 0,
        link: b"",
        device: (0, 0),
    }
}

impl Tar {
    pub(crate) fn raw(&mut self, head: &Head<'_>, body: &[u8]) -> &mut Self {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &head.name[..head.name.len().min(100)]);
        put(100, format!("{:07o}\0", head.mode).as_bytes());
        put(108, format!("{:07o}\0", head.uid).as_bytes());
        put(116, format!("{:07o}\0", head.gid).as_bytes());
        put(124, format!("{:011o}\0", head.size).as_bytes());
        put(136, b"14000000000\0");
        put(156, &[head.kind]);
        put(157, &head.link[..head.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", head.device.0).as_bytes());
        put(337, format!("{:07o}\0", head.device.1).as_bytes());
        self.block(block, body)
    }

    /// A header block, its checksum put in, and a body.
    pub(crate) fn block(&mut self, mut block: [u8; 512], body: &[u8]) -> &mut Self {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(&mut self, name: &str, body: &[u8]) -> &mut Self {
        let size = body.len() as u64;
        self.raw(
            &Head {
                size,
                ..head(b'0', name)
            },
            body,
        )
    }

    pub(crate) fn dir(&mut self, name: &str) -> &mut Self {
        self.raw(&head(b'5', name), b"")
    }

    pub(crate) fn link(&mut self, kind: u8, name: &str, target: &str) -> &mut Self {
        let link = target.as_bytes();
        self.raw(
            &Head {
                link,
                ..head(kind, name)
            },
            b"",
        )
    }

    pub(crate) fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        let body: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        self.extension(b'x', &body)
    }

    pub(crate) fn extension(&mut self, kind: u8, body: &[u8]) -> &mut Self {
        let size = body.len() as u64;
        self.raw(
            &Head {
                size,
                ..head(kind, "ext")
            },
            body,
        )
    }

    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.0);
        out.resize(out.len() + 1024, 0);
        out
    }
}

pub(super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(crate) fn expect(compression: Compression, blob: &[u8], plain: &[u8]) -> Expect {
    Expect {
        compression,
        digest: Digest::of(blob),
        size: blob.len() as u64,
        hashed: false,
        diff_id: DiffId(Digest::of(plain)),
    }
}

pub(super) struct Done {
    pub(super) scratch: Scratch,
    pub(super) unpacked: Unpacked,
}

impl Done {
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.scratch.0.join("fs").join(path)
    }

    /// Path to entry, in words.
    pub(super) fn list(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        let mut tree = Tree::new(&self.unpacked.list).unwrap();
        let mut names: Vec<String> = Vec::new();
        while let Some(entry) = tree.next_entry().unwrap() {
            names.truncate(entry.depth.saturating_sub(1));
            if entry.depth > 0 {
                names.push(String::from_utf8_lossy(entry.name).into_owned());
            }
            out.insert(format!("/{}", names.join("/")), words(&entry));
        }
        out
    }

    #[track_caller]
    pub(super) fn holds(&self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(self.list(), expected);
    }
}

pub(super) fn words(entry: &Entry<'_>) -> String {
    let kind = match entry.node {
        Node::File { size, link: 0, .. } => format!("file {size}"),
        Node::File { size, link, .. } => format!("file {size} link {link}"),
        Node::Dir { opaque: false, .. } => "dir".to_owned(),
        Node::Dir { opaque: true, .. } => "opaque dir".to_owned(),
        Node::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
        Node::Whiteout => return "whiteout".to_owned(),
        Node::Special(special) => format!("{special:?}"),
    };
    format!("{kind} {:o}", entry.mode)
}

/// What must not change outside of the folder that is unpacked into.
pub(super) fn canary(root: &Path) -> Vec<(PathBuf, u32, i64, i64, Vec<u8>)> {
    let mut out = Vec::new();
    for path in ["", "secret", "dir", "dir/file"].map(|p| root.join("canary").join(p)) {
        let meta = fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        out.push((path, meta.mode(), meta.ctime(), meta.ctime_nsec(), bytes));
    }
    let mut names: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["canary", "fs"]);
    out
}

pub(super) fn try_with(
    compression: Compression,
    blob: &[u8],
    expect: Expect,
    limits: &Limits,
) -> (Scratch, Result<Unpacked>) {
    let scratch = Scratch::new("unpack");
    for dir in ["canary", "canary/dir", "fs"] {
        fs::create_dir(scratch.0.join(dir)).unwrap();
    }
    for file in ["secret", "dir/file"] {
        fs::write(scratch.0.join("canary").join(file), "kept").unwrap();
    }
    let before = canary(&scratch.0);
    let into = fs::File::open(scratch.0.join("fs")).unwrap();
    let expect = Expect {
        compression,
        ..expect
    };
    let unpacked = unpack(blob, &expect, into.as_fd(), OwnerMode::Record, limits);
    assert_eq!(canary(&scratch.0), before, "something outside was touched");
    if let Ok(unpacked) = &unpacked {
        let outcome = check::check(
            into.as_fd(),
            &unpacked.list,
            &unpacked.stat,
            VerifyMode::Full,
        );
        assert_eq!(
            outcome.unwrap(),
            check::Outcome::Same,
            "unpacked other than listed"
        );
        let sum = tree::summary(&unpacked.list).unwrap();
        assert_eq!(
            (sum.entries, sum.size),
            (unpacked.facts.files, unpacked.facts.size)
        );
    }
    (scratch, unpacked)
}

pub(super) fn try_plain(tar: &[u8], limits: &Limits) -> (Scratch, Result<Unpacked>) {
    try_with(
        Compression::None,
        tar,
        expect(Compression::None, tar, tar),
        limits,
    )
}

#[track_caller]
pub(super) fn good(tar: &mut Tar) -> Done {
    let (scratch, unpacked) = try_plain(&tar.end(), &Limits::default());
    Done {
        scratch,
        unpacked: unpacked.unwrap(),
    }
}

#[track_caller]
pub(super) fn refused(kind: Kind, word: &str, tar: &mut Tar) {
    refused_raw(kind, word, &tar.end(), &Limits::default());
}

#[track_caller]
pub(super) fn refused_raw(kind: Kind, word: &str, tar: &[u8], limits: &Limits) {
    let (_scratch, unpacked) = try_plain(tar, limits);
    let err = unpacked.expect_err("this archive must be refused");
    assert_eq!(err.kind, kind, "{err}");
    assert!(
        err.to_string().contains(word),
        "{err} does not say {word:?}"
    );
    assert!(!err.to_string().contains(char::is_control), "{err:?}");
}

pub(super) fn tar() -> Tar {
    Tar::default()
}
