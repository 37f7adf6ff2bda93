use super::super::lookup::{Lookup, Merged};
use super::super::tree::{Special, Writer, Xattrs};
use super::*;
use crate::image::Digest;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a layer has under a name.
#[derive(Debug, Clone)]
enum Thing {
    File(u16),
    Caps,
    Link(&'static str),
    White,
    Fifo,
    Dir(bool, u16, Tree3),
}
type Tree3 = BTreeMap<String, Thing>;

fn dir<const N: usize>(things: [(&str, Thing); N]) -> Thing {
    Thing::Dir(false, 0o755, tree(things))
}

fn tree<const N: usize>(things: [(&str, Thing); N]) -> Tree3 {
    things.map(|(n, thing)| (n.to_owned(), thing)).into()
}

fn write(out: &mut Writer, name: &str, thing: &Thing) {
    let (node, mode) = match thing {
        Thing::File(mode) => (file(), *mode),
        Thing::Caps => (file(), 0o755),
        Thing::Link(to) => {
            let target = to.as_bytes();
            (Node::Symlink { target }, 0o777)
        }
        Thing::White => (Node::Whiteout, 0),
        Thing::Fifo => (Node::Special(Special::Fifo), 0o666),
        Thing::Dir(opaque, mode, below) => {
            let children = u32::try_from(below.len()).unwrap();
            let opaque = *opaque;
            (Node::Dir { children, opaque }, *mode)
        }
    };
    let entry = Entry {
        depth: 0,
        name: name.as_bytes(),
        mode,
        uid: 0,
        gid: 0,
        node,
        xattrs: Xattrs::default(),
    };
    let caps: &[(&[u8], &[u8])] = &[(b"security.capability", b"x")];
    let has_caps = matches!(thing, Thing::Caps);
    out.push(&entry, if has_caps { caps } else { &[] });
    if let Thing::Dir(_, _, below) = thing {
        for (name, thing) in below {
            write(out, name, thing);
        }
    }
}

fn file() -> Node<'static> {
    Node::File {
        size: 0,
        sha256: Digest::of(b""),
        link: 0,
    }
}

fn list(layer: &Tree3) -> Vec<u8> {
    let mut out = Writer::default();
    write(&mut out, "", &Thing::Dir(false, 0o755, layer.clone()));
    out.finish()
}

/// Paths and what is there, of layers given lowest first.
fn seen(layers: &[Tree3]) -> Vec<(String, String)> {
    let lists: Vec<Vec<u8>> = layers.iter().rev().map(list).collect();
    let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
    let mut out = Vec::new();
    merged(&lists, &mut |path, entry| {
        let kind = match entry.node {
            Node::File { .. } => format!("file {:o}", entry.mode),
            Node::Symlink { .. } => "link".to_owned(),
            Node::Special(_) => "special".to_owned(),
            Node::Dir { .. } => format!("dir {:o}", entry.mode),
            Node::Whiteout => "whiteout".to_owned(),
        };
        out.push((String::from_utf8(path.to_vec()).unwrap(), kind));
    })
    .unwrap();
    out.sort();
    out
}

fn paths(layers: &[Tree3]) -> Vec<String> {
    seen(layers).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn upper_layers_hide_what_they_hide_and_no_more() {
    let low = tree([
        (
            "a",
            dir([("x", Thing::File(0o644)), ("y", Thing::File(0o4755))]),
        ),
        ("b", Thing::File(0o644)),
        ("c", dir([("z", Thing::File(0o644))])),
    ]);
    let with = |thing: (&str, Thing)| paths(&[low.clone(), tree([thing])]);
    assert_eq!(
        with(("a", dir([("y", Thing::White)]))),
        ["/", "/a", "/a/x", "/b", "/c", "/c/z"]
    );
    assert_eq!(with(("a", Thing::White)), ["/", "/b", "/c", "/c/z"]);
    let opaque = Thing::Dir(true, 0o755, tree([("new", Thing::File(0o644))]));
    assert_eq!(
        with(("a", opaque)),
        ["/", "/a", "/a/new", "/b", "/c", "/c/z"]
    );
    assert_eq!(
        with(("a", Thing::Link("c"))),
        ["/", "/a", "/b", "/c", "/c/z"]
    );
    assert_eq!(
        with(("b", dir([("x", Thing::File(0o644))]))),
        ["/", "/a", "/a/x", "/a/y", "/b", "/b/x", "/c", "/c/z"]
    );
    // What is never made hides nothing.
    assert_eq!(
        with(("a", Thing::Fifo)),
        ["/", "/a", "/a", "/a/x", "/a/y", "/b", "/c", "/c/z"]
    );
    // A file ends a folder for good: the folder above it starts anew.
    let three = [
        low.clone(),
        tree([("a", Thing::File(0o600))]),
        tree([("a", dir([("n", Thing::File(0o644))]))]),
    ];
    assert_eq!(paths(&three), ["/", "/a", "/a/n", "/b", "/c", "/c/z"]);
}

fn facts(layers: &[Tree3], patterns: &[&str]) -> TreeFacts {
    let lists: Vec<Vec<u8>> = layers.iter().rev().map(list).collect();
    let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
    let wanted = FactsWanted {
        setuid: true,
        file_caps: true,
        special: true,
        world_writable: true,
        patterns: patterns.iter().map(|p| (*p).to_owned()).collect(),
    };
    tree_facts(&lists, &wanted).unwrap()
}

#[test]
fn kinds_are_found_where_they_are_seen() {
    let low = tree([
        ("caps", Thing::Caps),
        ("fifo", Thing::Fifo),
        ("open", Thing::File(0o666)),
        ("su", Thing::File(0o4755)),
        ("tmp", Thing::Dir(false, 0o1777, tree([]))),
        (
            "worse",
            Thing::Dir(false, 0o777, tree([("l", Thing::Link("/"))])),
        ),
    ]);
    let of = |found: Option<crate::policy::Found>| found.map(|f| format!("{f:?}")).unwrap();
    let all = facts(std::slice::from_ref(&low), &[]);
    assert!(of(all.setuid).contains("count: 1, first: [\"/su\"]"));
    assert!(of(all.file_caps).contains("count: 1, first: [\"/caps\"]"));
    assert!(of(all.special).contains("count: 1, first: [\"/fifo\"]"));
    assert!(of(all.world_writable).contains("count: 2, first: [\"/open\", \"/worse\"]"));
    let hides = tree([
        ("caps", Thing::White),
        ("fifo", Thing::White),
        ("open", Thing::File(0o644)),
        ("su", Thing::File(0o755)),
        ("worse", Thing::Dir(false, 0o755, tree([]))),
    ]);
    let none = facts(&[low, hides], &[]);
    for found in [
        none.setuid,
        none.file_caps,
        none.special,
        none.world_writable,
    ] {
        assert!(found.unwrap().is_empty());
    }
    // Nobody looked is not nothing found.
    let unwanted = tree_facts(&[&list(&tree([]))], &FactsWanted::default()).unwrap();
    assert!(unwanted.setuid.is_none() && unwanted.paths.is_empty());
}

/// Whether something matches, and whether something of that is made.
fn matching(layers: &[Tree3], pattern: &str) -> (bool, bool) {
    let (_, found) = facts(layers, &[pattern]).paths.remove(0);
    (!found.all.is_empty(), found.made)
}

#[test]
fn patterns_follow_the_links_of_their_folders() {
    let keys = || dir([("id", Thing::File(0o600))]);
    let image = [tree([
        ("bin", Thing::Link("usr/bin")),
        ("dev", dir([("null", Thing::Fifo)])),
        ("loop", Thing::Link("loop")),
        (
            "r",
            dir([
                ("s", Thing::Link("../../hidden/./x")),
                ("up", Thing::Link("..")),
            ]),
        ),
        ("hidden", dir([("x", keys())])),
        ("root", Thing::Link("/r")),
        ("usr", dir([("bin", dir([("sh", Thing::File(0o755))]))])),
    ])];
    for (pattern, all, made) in [
        ("/bin/sh", true, true),
        ("/usr/bin/sh", true, true),
        ("/bin/zsh", false, false),
        ("/bin", true, true),
        ("/root/s/**", true, true),
        ("/root/s/id", true, true),
        ("/root/s/id/**", true, true),
        ("/root/s/*/x", false, false),
        ("/root/up/bin/sh", true, true),
        ("/loop/x", false, false),
        ("/loop/**", true, true),
        ("/dev/null", true, false),
        ("/nowhere/**", false, false),
        ("**/id", true, true),
        ("/**", true, true),
    ] {
        assert_eq!(matching(&image, pattern), (all, made), "{pattern}");
    }
    // A link that an upper layer took away leads nowhere; a star in a target is a name.
    let gone = tree([("root", Thing::White), ("bin", Thing::Link("/*"))]);
    let image = [image[0].clone(), gone];
    assert_eq!(matching(&image, "/root/s/id"), (false, false));
    assert_eq!(matching(&image, "/bin/x"), (false, false));
    assert_eq!(matching(&image, "/hidden/x/id"), (true, true));
}

/// Where a path leads in layers given lowest first, told short.
fn looked_up(layers: &[Tree3], path: &str) -> String {
    let lists: Vec<Vec<u8>> = layers.iter().rev().map(list).collect();
    let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
    let mounted = |at: &str| at == "/proc" || at.starts_with("/proc/");
    match Merged::of(&lists).unwrap().lookup(path, &mounted) {
        Lookup::Found(f) => format!(
            "{} {} {:o}>{:o} layer {} by {}{}",
            f.kind,
            f.path,
            f.mode,
            f.disk_mode,
            f.layer,
            f.links.len(),
            if f.file_caps { " caps" } else { "" }
        ),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_path_is_looked_up_as_a_process_inside_would() {
    let low = tree([
        ("bin", Thing::Link("usr/bin")),
        (
            "usr",
            dir([(
                "bin",
                dir([
                    ("su", Thing::File(0o4755)),
                    ("ping", Thing::Caps),
                    ("old", Thing::File(0o755)),
                    ("pipe", Thing::Fifo),
                ]),
            )]),
        ),
        ("self", Thing::Link("/proc/self")),
        ("round", Thing::Link("round")),
        ("up", Thing::Link("../../usr")),
        ("gone", Thing::Link("nowhere")),
    ]);
    let high = tree([(
        "usr",
        dir([(
            "bin",
            dir([("old", Thing::White), ("new", Thing::File(0o755))]),
        )]),
    )]);
    let layers = [low, high];
    for (path, want) in [
        ("/", "folder / 755>755 layer 0 by 0"),
        ("/usr/bin/su", "file /usr/bin/su 4755>755 layer 1 by 0"),
        ("/bin/su", "file /usr/bin/su 4755>755 layer 1 by 1"),
        ("/bin/ping", "file /usr/bin/ping 755>755 layer 1 by 1 caps"),
        ("/bin/new", "file /usr/bin/new 755>755 layer 0 by 1"),
        ("/up/bin", "folder /usr/bin 755>755 layer 0 by 1"),
        ("/bin/old", "Missing(\"/usr/bin/old\")"),
        ("/bin/pipe", "NeverMade(\"fifo\")"),
        ("/bin/su/x", "NoFolder(\"/usr/bin/su\")"),
        ("/gone", "Missing(\"/nowhere\")"),
        ("/round", "Circle"),
        ("/self/fd/1", "Mounted(\"/proc/self/fd/1\")"),
        ("/proc", "Mounted(\"/proc\")"),
    ] {
        assert_eq!(looked_up(&layers, path), want, "{path}");
    }
}

#[test]
fn damaged_lists_are_errors() {
    let good = list(&tree([("a", Thing::File(0o644))]));
    for bad in [&b""[..], b"lzrtree\x01", &good[..good.len() - 1]] {
        for lists in [[bad, &good[..]], [&good[..], bad]] {
            assert!(merged(&lists, &mut |_, _| {}).is_err());
        }
    }
    assert!(merged(&[], &mut |_, _| panic!("nothing is there")).is_ok());
}

/// The obvious way: layer upon layer into one map.
fn slowly(layers: &[Tree3]) -> Vec<(String, String)> {
    fn put(
        at: &str,
        layer: &Tree3,
        made: &mut BTreeMap<String, String>,
        special: &mut BTreeSet<String>,
    ) {
        for (name, thing) in layer {
            let path = format!("{at}/{name}");
            let below = format!("{path}/");
            if matches!(thing, Thing::Fifo) {
                special.insert(path);
                continue;
            }
            let was_dir = made.get(&path).is_some_and(|kind| kind.starts_with("dir"));
            special.remove(&path);
            if !matches!(thing, Thing::Dir(false, ..)) || !was_dir {
                made.retain(|p, _| !p.starts_with(&below));
                special.retain(|p| !p.starts_with(&below));
            }
            match thing {
                Thing::White => _ = made.remove(&path),
                Thing::File(mode) => _ = made.insert(path, format!("file {mode:o}")),
                Thing::Caps => _ = made.insert(path, "file 755".to_owned()),
                Thing::Link(_) => _ = made.insert(path, "link".to_owned()),
                Thing::Dir(_, mode, things) => {
                    made.insert(path.clone(), format!("dir {mode:o}"));
                    put(&path, things, made, special);
                }
                Thing::Fifo => {}
            }
        }
    }
    let (mut made, mut special) = (BTreeMap::new(), BTreeSet::new());
    for layer in layers {
        put("", layer, &mut made, &mut special);
    }
    let mut out: Vec<_> = made.into_iter().collect();
    out.extend(special.into_iter().map(|path| (path, "special".to_owned())));
    out.push(("/".to_owned(), "dir 755".to_owned()));
    out.sort();
    out
}

fn things() -> impl Strategy<Value = Tree3> {
    let leaf = prop_oneof![
        Just(Thing::File(0o644)),
        Just(Thing::File(0o4755)),
        Just(Thing::Link("x")),
        Just(Thing::White),
        Just(Thing::Fifo),
    ];
    let name = "[a-c]{1}";
    let thing = leaf.prop_recursive(3, 20, 3, move |inner| {
        let below = prop::collection::btree_map(name, inner, 0..4);
        (any::<bool>(), below).prop_map(|(opaque, below)| Thing::Dir(opaque, 0o755, below))
    });
    prop::collection::btree_map(name, thing, 0..4)
}

proptest! {
    #[test]
    fn as_layer_upon_layer(layers in prop::collection::vec(things(), 1..5)) {
        prop_assert_eq!(seen(&layers), slowly(&layers));
    }

    #[test]
    fn any_bytes_are_an_error_or_a_tree(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let list = [&b"lzrtree\x01"[..], &bytes].concat();
        let good = self::list(&tree([("a", dir([]))]));
        let _either = merged(&[&list, &good], &mut |_, _| {});
    }
}
