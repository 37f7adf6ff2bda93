use super::*;
use crate::image::Digest;
use crate::plan::tree::{Special, Writer, Xattrs};
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;

/// A folder of its own, removed with all that is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lazaret-check-{}-{n}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

struct Layer {
    scratch: Scratch,
    root: fs::File,
    list: Vec<u8>,
    stat: Vec<u8>,
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Layer {
    /// `/`, `/.wh` (whiteout), `/a` (setuid in the image), `/d` (opaque) with `/d/l -> ../a` and
    /// `/d/y`, `/e` empty, `/null` (special).
    fn new() -> Self {
        let scratch = Scratch::new();
        let p = &scratch.0;
        fs::write(p.join("a"), "hello").unwrap();
        fs::create_dir(p.join("d")).unwrap();
        fs::create_dir(p.join("e")).unwrap();
        symlink("../a", p.join("d/l")).unwrap();
        fs::write(p.join("d/y"), vec![7; 300_000]).unwrap();
        let root = fs::File::open(p).unwrap();
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(&root, "wh", kind, Mode::from(0o000), 0).unwrap();
        let xattr = |path: &str, name: &str, value: &[u8]| {
            rustix::fs::setxattr(p.join(path), name, value, XattrFlags::empty()).unwrap();
        };
        xattr("d", "user.overlay.opaque", b"y");
        xattr("d/y", "user.note", b"kept");
        for (path, bits) in [
            ("a", 0o755),
            ("d", 0o711),
            ("d/y", 0o600),
            ("e", 0o1777),
            ("", 0o755),
        ] {
            mode(&p.join(path), bits);
        }
        let file = |bytes: &[u8]| Node::File {
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
            link: 0,
        };
        let dir = |children, opaque| Node::Dir { children, opaque };
        let mut writer = Writer::default();
        let mut push = |name: &[u8], mode, node, xattrs: &[(&[u8], &[u8])]| {
            let entry = Entry {
                depth: 0,
                name,
                mode,
                uid: 1234,
                gid: 1234,
                node,
                xattrs: Xattrs::default(),
            };
            writer.push(&entry, xattrs);
        };
        push(b"", 0o755, dir(5, false), &[]);
        push(
            b"a",
            0o4755,
            file(b"hello"),
            &[(b"security.capability", b"\x01")],
        );
        push(b"d", 0o711, dir(2, true), &[]);
        push(b"l", 0o777, Node::Symlink { target: b"../a" }, &[]);
        push(b"y", 0o600, file(&[7; 300_000]), &[(b"user.note", b"kept")]);
        push(b"e", 0o1777, dir(0, false), &[]);
        push(
            b"null",
            0o666,
            Node::Special(Special::Char { major: 1, minor: 3 }),
            &[],
        );
        push(b"wh", 0, Node::Whiteout, &[]);
        let list = writer.finish();
        let stat = record(root.as_fd(), &list, false).unwrap();
        Self {
            scratch,
            root,
            list,
            stat,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.0.join(path)
    }

    fn check(&self, mode: VerifyMode) -> Outcome {
        check(self.root.as_fd(), &self.list, &self.stat, mode).unwrap()
    }

    /// The differences that both modes find, which must be the same.
    fn differences(&self) -> Vec<(String, String)> {
        let outcomes = [VerifyMode::Stat, VerifyMode::Full].map(|mode| match self.check(mode) {
            Outcome::Differs(found) => found.into_iter().map(|d| (d.path, d.what)).collect(),
            other => panic!("{mode:?}: {other:?}"),
        });
        let [stat, full]: [Vec<_>; 2] = outcomes;
        assert_eq!(stat, full);
        stat
    }

    #[track_caller]
    fn one_difference(&self, path: &str, what: &str) {
        let found = self.differences();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, path);
        assert!(found[0].1.contains(what), "{found:?}");
    }
}

#[test]
fn an_untouched_layer_is_the_same() {
    let layer = Layer::new();
    assert_eq!(layer.check(VerifyMode::Stat), Outcome::Same);
    assert_eq!(layer.check(VerifyMode::Full), Outcome::Same);
}

#[test]
fn a_restored_backup_is_recorded_again() {
    let layer = Layer::new();
    let bytes = fs::read(layer.at("d/y")).unwrap();
    fs::remove_file(layer.at("d/y")).unwrap();
    fs::write(layer.at("d/y"), bytes).unwrap();
    mode(&layer.at("d/y"), 0o600);
    let path = layer.at("d/y");
    rustix::fs::setxattr(&path, "user.note", b"kept", XattrFlags::empty()).unwrap();
    for mode in [VerifyMode::Stat, VerifyMode::Full] {
        let Outcome::Touched { stat } = layer.check(mode) else {
            panic!("{:?}", layer.check(mode));
        };
        assert_ne!(stat, layer.stat);
        let again = check(layer.root.as_fd(), &layer.list, &stat, VerifyMode::Stat).unwrap();
        assert_eq!(again, Outcome::Same);
    }
}

#[test]
fn changed_contents_are_found_though_size_and_mtime_are_put_back() {
    let layer = Layer::new();
    let before = fs::metadata(layer.at("a")).unwrap();
    fs::write(layer.at("a"), "jello").unwrap();
    let time = Timespec {
        tv_sec: before.mtime(),
        tv_nsec: before.mtime_nsec(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, layer.at("a"), &times, AtFlags::empty()).unwrap();
    assert_eq!(
        fs::metadata(layer.at("a")).unwrap().mtime_nsec(),
        before.mtime_nsec()
    );
    layer.one_difference("/a", "other contents");
}

#[test]
fn changed_bytes_below_the_record_are_found_by_full_only() {
    let mut layer = Layer::new();
    fs::write(layer.at("a"), "jello").unwrap();
    layer.stat = record(layer.root.as_fd(), &layer.list, false).unwrap();
    assert_eq!(layer.check(VerifyMode::Stat), Outcome::Same);
    assert!(matches!(layer.check(VerifyMode::Full), Outcome::Differs(_)));
}

#[test]
fn a_foreign_name_is_found_in_every_folder() {
    for at in ["b", "zz", "d/a", "d/m", "e/x", "null"] {
        let layer = Layer::new();
        fs::write(layer.at(at), "").unwrap();
        layer.one_difference(&format!("/{at}"), "was not there");
    }
}

#[test]
fn what_is_missing_is_found() {
    for at in ["a", "d/l", "d/y", "wh"] {
        let layer = Layer::new();
        fs::remove_file(layer.at(at)).unwrap();
        layer.one_difference(&format!("/{at}"), "missing");
    }
    let layer = Layer::new();
    fs::remove_dir_all(layer.at("d")).unwrap();
    layer.one_difference("/d", "missing");
}

#[test]
fn another_kind_of_file_is_found_and_never_followed() {
    let (layer, elsewhere) = (Layer::new(), Scratch::new());
    let moved = elsewhere.0.join("d");
    fs::rename(layer.at("d"), &moved).unwrap();
    symlink(&moved, layer.at("d")).unwrap();
    assert_eq!(
        layer.differences(),
        [("/d".to_owned(), "is a symlink, not a folder".to_owned())]
    );

    let layer = Layer::new();
    fs::remove_file(layer.at("a")).unwrap();
    rustix::fs::mknodat(&layer.root, "a", FileType::Fifo, Mode::from(0o755), 0).unwrap();
    layer.one_difference("/a", "is a fifo, not a file");
}

#[test]
fn modes_targets_and_xattrs_are_part_of_a_layer() {
    let layer = Layer::new();
    mode(&layer.at("a"), 0o4755);
    layer.one_difference("/a", "has mode 4755, not 0755");

    let layer = Layer::new();
    mode(&layer.at("e"), 0o777);
    layer.one_difference("/e", "has mode 0777, not 1777");

    let layer = Layer::new();
    fs::remove_file(layer.at("d/l")).unwrap();
    symlink("../b", layer.at("d/l")).unwrap();
    layer.one_difference("/d/l", "points elsewhere");

    let layer = Layer::new();
    let path = layer.at("d/y");
    rustix::fs::setxattr(&path, "user.note", b"else", XattrFlags::empty()).unwrap();
    layer.one_difference("/d/y", "another value");

    let layer = Layer::new();
    rustix::fs::setxattr(layer.at("a"), "user.more", b"", XattrFlags::empty()).unwrap();
    layer.one_difference("/a", "user.more");

    let layer = Layer::new();
    rustix::fs::removexattr(layer.at("d"), "user.overlay.opaque").unwrap();
    layer.one_difference("/d", "lost");
}

#[test]
fn records_of_another_tree_are_not_believed() {
    let mut layer = Layer::new();
    fs::write(layer.at("a"), "jello").unwrap();
    layer
        .stat
        .truncate(layer.stat.len() - crate::plan::tree::STAT_SIZE);
    layer.one_difference("/a", "other contents");
    layer.stat = Stats::header(false).to_vec();
    layer.one_difference("/a", "other contents");
}

#[test]
fn many_differences_are_capped() {
    let layer = Layer::new();
    for n in 0..3 * MAX_DIFFERENCES {
        fs::write(layer.at(&format!("d/{n}")), "").unwrap();
    }
    assert_eq!(layer.differences().len(), MAX_DIFFERENCES);
}
