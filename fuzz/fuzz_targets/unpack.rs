//! Unpacking: whatever a tar says, nothing outside its folder moves, nothing special or setuid comes
//! to be, and what is recorded can be read again.
//!
//! Half of the inputs are members made of a few names that like to meet (links to the canary
//! outside, `..`, whiteouts, replaced types), with checksums that hold; the other half are raw
//! bytes.
#![no_main]

use arbitrary::Arbitrary;
use lazaret::image::{Compression, DiffId, Digest};
use lazaret::plan::tree;
use lazaret::store::unpack::{Expect, Limits, OwnerMode, unpack};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[derive(Arbitrary, Debug)]
enum Input {
    Members(Vec<Member>),
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Member {
    kind: Kind,
    path: Vec<Part>,
    link: Vec<Part>,
    mode: u16,
    owner: u8,
    data: u8,
    size_lie: Option<u16>,
    pax: Option<Pax>,
    long_name: bool,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    File,
    Hardlink,
    Symlink,
    Char,
    Block,
    Dir,
    Fifo,
    Other(u8),
}

#[derive(Arbitrary, Debug)]
enum Part {
    A,
    B,
    C,
    Up,
    Dot,
    Empty,
    Root,
    Canary,
    WhiteoutA,
    Opaque,
    OtherWhiteout,
    Slash,
    Bytes(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Pax {
    Path(Vec<Part>),
    Link(Vec<Part>),
    Size(u16),
    Xattr(Vec<u8>, Vec<u8>),
    OverlayXattr,
    Raw(Vec<u8>),
}

struct Ground {
    top: PathBuf,
    canary: PathBuf,
}

/// A folder of this process: the canary, and `into`.
fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let top = std::env::temp_dir().join(format!("lazaret-fuzz-{}", std::process::id()));
        let canary = top.join("canary");
        fs::create_dir_all(&canary).unwrap();
        fs::write(canary.join("a"), "untouched").unwrap();
        fs::create_dir(canary.join("b")).unwrap();
        Ground { top, canary }
    })
}

/// Everything of a tree but `into`: names, modes, times, contents.
fn picture(dir: &Path, out: &mut Vec<(PathBuf, u32, i64, i64, Vec<u8>)>) {
    let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for path in names {
        if path.ends_with("into") {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        out.push((path.clone(), meta.mode(), meta.ctime(), meta.ctime_nsec(), content));
        if meta.is_dir() {
            picture(&path, out);
        }
    }
}

fn text(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, part) in parts.iter().take(12).enumerate() {
        if i > 0 {
            out.push(b'/');
        }
        let canary = ground().canary.as_os_str().as_encoded_bytes();
        out.extend_from_slice(match part {
            Part::A => b"a",
            Part::B => b"b",
            Part::C => b"c",
            Part::Up => b"..",
            Part::Dot => b".",
            Part::Empty => b"",
            Part::Root => b"/",
            Part::Canary => canary,
            Part::WhiteoutA => b".wh.a",
            Part::Opaque => b".wh..wh..opq",
            Part::OtherWhiteout => b".wh..wh.x",
            Part::Slash => b"/",
            Part::Bytes(bytes) => &bytes[..bytes.len().min(300)],
        });
    }
    out
}

fn header(out: &mut Vec<u8>, kind: u8, name: &[u8], link: &[u8], mode: u16, owner: u8, size: usize) {
    let mut block = [0; 512];
    let mut put = |at: usize, most: usize, bytes: &[u8]| {
        let n = bytes.len().min(most);
        block[at..at + n].copy_from_slice(&bytes[..n]);
    };
    put(0, 100, name);
    put(100, 8, format!("{mode:07o}").as_bytes());
    put(108, 8, format!("{owner:07o}").as_bytes());
    put(116, 8, format!("{owner:07o}").as_bytes());
    put(124, 12, format!("{size:011o}").as_bytes());
    put(136, 12, b"00000000000");
    put(148, 8, b"        ");
    put(156, 1, &[kind]);
    put(157, 100, link);
    put(257, 8, b"ustar\x0000");
    put(329, 8, b"0000001");
    put(337, 8, b"0000003");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend(block);
}

fn body(out: &mut Vec<u8>, data: &[u8]) {
    out.extend(data);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    len = rest + len.to_string().len();
    [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn member(out: &mut Vec<u8>, member: &Member) {
    let (path, link) = (text(&member.path), text(&member.link));
    if let Some(pax) = &member.pax {
        let data = match pax {
            Pax::Path(parts) => record(b"path", &text(parts)),
            Pax::Link(parts) => record(b"linkpath", &text(parts)),
            Pax::Size(size) => record(b"size", size.to_string().as_bytes()),
            Pax::Xattr(name, value) => record(&[b"SCHILY.xattr.user.", &name[..]].concat(), value),
            Pax::OverlayXattr => record(b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
            Pax::Raw(bytes) => bytes.clone(),
        };
        header(out, b'x', b"pax", b"", 0o644, 0, data.len());
        body(out, &data);
    }
    if member.long_name {
        header(out, b'L', b"././@LongLink", b"", 0, 0, path.len() + 1);
        body(out, &[&path[..], b"\0"].concat());
    }
    let kind = match member.kind {
        Kind::File => b'0',
        Kind::Hardlink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Dir => b'5',
        Kind::Fifo => b'6',
        Kind::Other(kind) => kind,
    };
    let data = vec![b'x'; usize::from(member.data) * usize::from(kind == b'0')];
    let size = member.size_lie.map_or(data.len(), usize::from);
    header(out, kind, &path, &link, member.mode, member.owner, size);
    body(out, &data);
}

/// Nothing special, and no setuid or setgid file, exists below.
fn harmless(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let kind = meta.file_type();
        // overlayfs knows a whiteout as the character device 0:0, which opens nothing.
        let whiteout = kind.is_char_device() && meta.rdev() == 0;
        assert!(kind.is_file() || kind.is_dir() || kind.is_symlink() || whiteout, "{path:?}");
        assert!(!kind.is_file() || meta.mode() & 0o6000 == 0, "{path:?}");
        if kind.is_dir() {
            harmless(&path);
        }
    }
}

fn remove(dir: &Path) {
    // Folders come with the image's modes; only root may ignore them.
    fn open(dir: &Path) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open(&entry.path());
            }
        }
    }
    open(dir);
    fs::remove_dir_all(dir).unwrap();
}

fuzz_target!(|input: Input| {
    let tar = match &input {
        Input::Members(members) => {
            let mut out = Vec::new();
            members.iter().take(24).for_each(|m| member(&mut out, m));
            out.extend([0; 1024]);
            out
        }
        Input::Raw(bytes) => bytes.clone(),
    };
    let ground = ground();
    let into = ground.top.join("into");
    fs::create_dir(&into).unwrap();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    picture(&ground.top, &mut before);
    let digest = Digest::of(&tar);
    let expect = Expect {
        compression: Compression::None,
        digest,
        size: tar.len() as u64,
        hashed: false,
        diff_id: DiffId(digest),
    };
    let limits = Limits {
        size: 1 << 20,
        entries: 1000,
        ..Limits::default()
    };
    let folder = fs::File::open(&into).unwrap();
    let done = unpack(&tar[..], &expect, folder.as_fd(), OwnerMode::Record, &limits);
    picture(&ground.top, &mut after);
    assert_eq!(before, after, "something outside moved");
    harmless(&into);
    if let Ok(unpacked) = done {
        let sum = tree::summary(&unpacked.list).unwrap();
        let stats = tree::Stats::new(&unpacked.stat).unwrap();
        assert_eq!(stats.len() as u64, sum.on_disk);
        assert_eq!(unpacked.facts.files, sum.entries);
    }
    remove(&into);
});
