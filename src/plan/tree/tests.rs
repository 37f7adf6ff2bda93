use super::*;
use proptest::prelude::*;

fn entry<'a>(name: &'a [u8], node: Node<'a>) -> Entry<'a> {
    Entry {
        depth: 0,
        name,
        mode: if node == Node::Whiteout { 0 } else { 0o755 },
        uid: 0,
        gid: 0,
        node,
        xattrs: Xattrs::default(),
    }
}

fn file(n: u8, link: u32) -> Node<'static> {
    Node::File {
        size: u64::from(n) << 30,
        sha256: Digest::of(&[n]),
        link,
    }
}

fn dir(children: u32) -> Node<'static> {
    Node::Dir {
        children,
        opaque: false,
    }
}

type Item<'a> = (Entry<'a>, Vec<(&'a [u8], &'a [u8])>);

fn sample() -> Vec<Item<'static>> {
    let caps: Vec<(&[u8], &[u8])> = vec![(b"security.capability", b"\x01"), (b"user.x", b"")];
    vec![
        (entry(b"", dir(5)), vec![]),
        (entry(b".wh", Node::Whiteout), vec![]),
        (
            entry(
                b"a",
                Node::Dir {
                    children: 2,
                    opaque: true,
                },
            ),
            vec![],
        ),
        (
            Entry {
                mode: 0o6755,
                uid: u32::MAX,
                ..entry(b"x", file(7, 1))
            },
            caps,
        ),
        (entry(b"y", Node::Symlink { target: b"../.." }), vec![]),
        (entry(b"a.b", file(7, 1)), vec![]),
        (entry(b"b", dir(0)), vec![]),
        (
            entry(
                b"\xff",
                Node::Special(Special::Char {
                    major: 1,
                    minor: 300,
                }),
            ),
            vec![],
        ),
    ]
}

fn encode(items: &[Item<'_>]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (entry, xattrs) in items {
        writer.push(entry, xattrs);
    }
    writer.finish()
}

/// Decodes all of a list and writes it again.
fn again(list: &[u8]) -> Result<Vec<u8>> {
    let mut tree = Tree::new(list)?;
    let mut writer = Writer::default();
    while let Some(entry) = tree.next_entry()? {
        let xattrs: Vec<_> = entry.xattrs.iter().collect();
        assert_eq!(xattrs.len(), entry.xattrs.len());
        writer.push(&entry, &xattrs);
    }
    Ok(writer.finish())
}

#[test]
fn a_list_decodes_to_what_was_written() {
    let list = encode(&sample());
    let mut tree = Tree::new(&list).unwrap();
    let mut depths = Vec::new();
    for (wrote, xattrs) in sample() {
        let read = tree.next_entry().unwrap().unwrap();
        depths.push(read.depth);
        assert_eq!(read.xattrs.iter().collect::<Vec<_>>(), xattrs);
        let read = Entry {
            depth: 0,
            xattrs: Xattrs::default(),
            ..read
        };
        assert_eq!(read, wrote);
    }
    assert_eq!(tree.next_entry().unwrap(), None);
    assert_eq!(depths, [0, 1, 1, 2, 2, 1, 1, 1]);
    assert_eq!(again(&list).unwrap(), list);
    let sum = summary(&list).unwrap();
    assert_eq!((sum.entries, sum.on_disk, sum.size), (8, 7, 7 << 30));
}

#[test]
fn every_truncation_is_refused() {
    let list = encode(&sample());
    for len in 0..list.len() {
        assert_eq!(again(&list[..len]).unwrap_err().kind, Kind::Store, "{len}");
    }
    let longer = [&list[..], b"\0"].concat();
    assert_eq!(again(&longer).unwrap_err().kind, Kind::Store);
}

#[test]
fn what_is_not_canonical_is_refused() {
    let root = |n| (entry(b"", dir(n)), vec![]);
    let bad: Vec<(&str, Vec<Item<'_>>)> = vec![
        ("no root", vec![(entry(b"a", dir(0)), vec![])]),
        ("root is a file", vec![(entry(b"", file(1, 0)), vec![])]),
        (
            "unsorted",
            vec![
                root(2),
                (entry(b"b", dir(0)), vec![]),
                (entry(b"a", dir(0)), vec![]),
            ],
        ),
        (
            "twice",
            vec![
                root(2),
                (entry(b"a", dir(0)), vec![]),
                (entry(b"a", dir(0)), vec![]),
            ],
        ),
        ("dot dot", vec![root(1), (entry(b"..", dir(0)), vec![])]),
        ("slash", vec![root(1), (entry(b"a/b", dir(0)), vec![])]),
        ("empty name", vec![root(1), (entry(b"", dir(0)), vec![])]),
        ("NUL", vec![root(1), (entry(b"a\0", dir(0)), vec![])]),
        (
            "too many children",
            vec![root(2), (entry(b"a", dir(0)), vec![])],
        ),
        (
            "too few children",
            vec![root(0), (entry(b"a", dir(0)), vec![])],
        ),
        (
            "group 2 first",
            vec![root(1), (entry(b"a", file(1, 2)), vec![])],
        ),
        (
            "empty target",
            vec![
                root(1),
                (entry(b"a", Node::Symlink { target: b"" }), vec![]),
            ],
        ),
        (
            "xattrs unsorted",
            vec![
                root(1),
                (
                    entry(b"a", dir(0)),
                    vec![(b"user.b", b""), (b"user.a", b"")],
                ),
            ],
        ),
    ];
    for (what, items) in bad {
        let err = again(&encode(&items)).expect_err(what);
        assert_eq!(err.kind, Kind::Store, "{what}");
    }
}

#[test]
fn numbers_have_one_spelling() {
    for (bytes, ok) in [
        (&b"\x00"[..], true),
        (b"\x80\x00", false),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", true),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", false),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false),
    ] {
        assert_eq!(Cursor { bytes }.number().is_ok(), ok, "{bytes:?}");
    }
}

#[test]
fn stat_records_survive_the_way_to_disk() {
    let one = Stat {
        ino: 1,
        size: u64::MAX,
        mtime: -5,
        ctime: i64::MAX,
        mode: 0o100_644,
    };
    let mut bytes = Stats::header(true).to_vec();
    bytes.extend_from_slice(&one.encode());
    let mut stats = Stats::new(&bytes).unwrap();
    assert!(stats.owners);
    assert_eq!((stats.next(), stats.next()), (Some(one), None));
    for len in 0..STAT_HEADER {
        assert_eq!(Stats::new(&bytes[..len]).unwrap_err().kind, Kind::Store);
    }
    assert_eq!(Stats::new(&bytes[..20]).unwrap_err().kind, Kind::Store);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(mut bytes: Vec<u8>, magic: bool) {
        if magic {
            bytes.splice(0..0, *LIST_MAGIC);
        }
        if let Ok(list) = again(&bytes) {
            prop_assert_eq!(list, bytes);
        }
    }

    #[test]
    fn a_changed_byte_never_panics_and_never_aliases(at: prop::sample::Index, byte: u8) {
        let mut list = encode(&sample());
        let at = at.index(list.len());
        list[at] = byte;
        if let Ok(out) = again(&list) {
            prop_assert_eq!(out, list);
        }
    }
}
