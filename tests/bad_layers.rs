//! Bad input, part 2: what is inside a layer (THREATS.md: tar paths and links, whiteouts, special
//! entries, bombs, pax confusion). A canary folder outside must never move.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use support::{Entry, Home, Image, Layer, Pack, Refusals, need, tar, tar_unended};

/// A folder outside that images point at: whoever follows a link out changes or reads it.
struct Canary {
    path: std::path::PathBuf,
}

impl Canary {
    fn new(home: &Home) -> Self {
        let path = home.path("canary");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("secret"), "the canary's").unwrap();
        Self { path }
    }

    #[track_caller]
    fn unharmed(&self) {
        assert_eq!(support::list(&self.path), ["secret"]);
        let secret = std::fs::read_to_string(self.path.join("secret")).unwrap();
        assert_eq!(secret, "the canary's");
    }
}

#[test]
fn paths_and_links_that_lead_out_are_refused() {
    need!("userns", "overlay");
    let home = Home::new();
    let canary = Canary::new(&home);
    let out = canary.path.to_str().unwrap().to_owned();
    let mut refuse = Refusals::new(&home);
    let long = "x/".repeat(3000);
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("dot-dot", vec![Entry::file("../evil", "x")]),
        ("dot-dot-inside", vec![Entry::file("a/../../evil", "x")]),
        ("dot-dot-alone", vec![Entry::dir("..")]),
        (
            "dot-dot-harmless",
            vec![Entry::dir("a"), Entry::file("a/../b", "x")],
        ),
        (
            "dot-dot-in-pax",
            vec![Entry::file("x", "x").pax("path", "../evil")],
        ),
        (
            "hardlink-outside",
            vec![Entry::hardlink("h", format!("{out}/secret"))],
        ),
        (
            "hardlink-dot-dot",
            vec![Entry::hardlink("h", "../../../../../../etc/passwd")],
        ),
        ("hardlink-to-nothing", vec![Entry::hardlink("h", "no/such")]),
        (
            "hardlink-to-folder",
            vec![Entry::dir("d"), Entry::hardlink("h", "d")],
        ),
        ("hardlink-to-itself", vec![Entry::hardlink("h", "h")]),
        (
            "hardlink-through-link",
            vec![Entry::symlink("l", &out), Entry::hardlink("h", "l/secret")],
        ),
        (
            "name-too-long",
            vec![Entry::file("x", "x").pax("path", "n".repeat(256))],
        ),
        (
            "path-too-long",
            vec![Entry::file("x", "x").pax("path", &long)],
        ),
        (
            "too-deep",
            vec![Entry::dir("x").pax("path", "d/".repeat(300))],
        ),
        (
            "nul-in-pax-path",
            vec![Entry::file("x", "x").pax("path", "a\0b")],
        ),
        ("empty-name", vec![Entry::file("", "x")]),
        ("root-is-a-file", vec![Entry::file(".", "x")]),
        ("root-is-a-link", vec![Entry::symlink("./", &out)]),
        (
            "loop",
            vec![Entry::symlink("l", "l"), Entry::file("l/x", "x")],
        ),
        (
            "through-a-file",
            vec![Entry::file("f", "x"), Entry::file("f/x", "x")],
        ),
        (
            "file-over-full-folder",
            vec![Entry::file("d/x", "x"), Entry::file("d", "x")],
        ),
    ];
    for (name, entries) in cases {
        let image = Image::toolbox().with(&entries).layout(&home, name);
        refuse.image(name, &image, "malformed|limit|unsupported", "");
        canary.unharmed();
    }
    refuse.finish();
}

#[test]
fn links_are_followed_inside_the_layer_only() {
    need!("userns", "overlay");
    let home = Home::new();
    let canary = Canary::new(&home);
    let out = canary.path.to_str().unwrap().to_owned();
    // Absolute links mean the image's own root, so these land inside or nowhere.
    let entries = [
        Entry::symlink("l", &out),
        Entry::file("l/dropped", "through an absolute link"),
        Entry::symlink("up", "../../../../../.."),
        Entry::file("up/climbed", "through a climbing link"),
        Entry::symlink("first", "tmp"),
        Entry::file("first/replaced", "x"),
        Entry::file("/rooted", "a leading slash means the layer's root"),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "links");
    home.lazaret([
        "run",
        "--rm",
        &image,
        "cat",
        "/rooted",
        "/climbed",
        "/tmp/replaced",
    ])
    .run()
    .ok()
    .prints("a leading slash means the layer's rootthrough a climbing linkx");
    home.lazaret(["run", "--rm", &image, "cat", &format!("{out}/dropped")])
        .run()
        .ok()
        .prints("through an absolute link");
    // What exists outside at that path is not what is seen inside.
    home.lazaret(["run", "--rm", &image, "cat", &format!("{out}/secret")])
        .run()
        .exits(1)
        .complains("ENOENT");
    canary.unharmed();
    home.clean();
}

#[test]
fn whiteouts_that_are_none_are_refused() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("of-nothing", vec![Entry::file(".wh.", "")]),
        ("of-dot", vec![Entry::file(".wh..", "")]),
        ("of-dot-dot", vec![Entry::file(".wh...", "")]),
        ("aufs-metadata", vec![Entry::file(".wh..wh.plnk", "")]),
        ("a-folder", vec![Entry::dir(".wh.etc")]),
        ("a-link", vec![Entry::symlink(".wh.etc", "/etc")]),
        ("inside-of-one", vec![Entry::file(".wh.etc/passwd", "x")]),
        ("overlays-own", vec![Entry::char_device("etc", 0, 0)]),
        (
            "trusted-opaque",
            vec![Entry::dir("d").pax("SCHILY.xattr.trusted.overlay.opaque", "y")],
        ),
        (
            "user-opaque",
            vec![Entry::dir("d").pax("SCHILY.xattr.user.overlay.opaque", "y")],
        ),
        (
            "user-redirect",
            vec![Entry::dir("d").pax("SCHILY.xattr.user.overlay.redirect", "/etc")],
        ),
        (
            "user-metacopy",
            vec![Entry::file("f", "").pax("SCHILY.xattr.user.overlay.metacopy", "")],
        ),
    ];
    for (name, entries) in cases {
        let image = Image::toolbox().with(&entries).layout(&home, name);
        refuse.image(name, &image, "malformed|unsupported|limit", "");
    }
    refuse.finish();
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox()
        .with(&[
            Entry::file("lower/gone", "x"),
            Entry::file("lower/kept", "lower"),
            Entry::file("opaque/gone", "x"),
        ])
        .with(&[
            // The whiteout comes after what it must not hide: it concerns lower layers.
            Entry::file("lower/new", "upper"),
            Entry::file("lower/.wh.new", ""),
            Entry::file("lower/.wh.gone", ""),
            Entry::file("lower/.wh.never-was", ""),
            Entry::file("opaque/new", "upper"),
            Entry::file("opaque/.wh..wh..opq", ""),
        ]);
    let image = image.layout(&home, "whiteouts");
    home.lazaret([
        "run", "--rm", &image, "all", "ls", "/lower", ",", "ls", "/opaque",
    ])
    .run()
    .ok()
    .prints("kept\nnew\nnew\n");
}

#[test]
fn special_files_are_recorded_and_never_made() {
    need!("userns", "overlay");
    let home = Home::new();
    let entries = [
        Entry::char_device("dev/mem", 1, 1),
        Entry::char_device("etc/kmem", 1, 2),
        Entry::new(b'4', "etc/sda", 0o666),
        Entry::fifo("etc/fifo"),
        Entry::file("bin/su", "x").mode(0o4755),
        Entry::file("bin/sg", "x").mode(0o2755),
        Entry::dir("shared").mode(0o3777),
        // A folder of another group: setgid stays, and the record says the same.
        Entry::dir("mail").mode(0o2775).owner(0, 8),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "special");
    home.lazaret(["run", "--rm", &image, "ls", "/etc"])
        .run()
        .ok()
        .does_not_say("kmem")
        .does_not_say("sda")
        .does_not_say("fifo");
    home.lazaret([
        "run", "--rm", &image, "stat", "/bin/su", "/bin/sg", "/shared",
    ])
    .run()
    .ok()
    .says("file 0755 0:0 1 1 /bin/su\n")
    .says("file 0755 0:0 1 1 /bin/sg\n")
    .says("dir 3777 ");
    home.lazaret(["run", "--rm", "--verify", "full", &image, "stat", "/mail"])
        .run()
        .ok()
        .says("dir 2775 ");
}

#[test]
fn archives_that_break_their_format_are_refused() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let honest = || tar(&[Entry::file("a", "x".repeat(3000))]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = honest();
        change(&mut bytes);
        bytes
    };
    let one = |entry: Entry| tar(&[entry]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("checksum", one(Entry::file("a", "x").bad_checksum())),
        ("cut-in-data", honest()[..1024].to_vec()),
        ("cut-in-header", honest()[..300].to_vec()),
        (
            "not-a-tar",
            b"hello, this is no tar archive at all".repeat(40),
        ),
        (
            "data-behind-the-end",
            with(&|b| b.extend(tar(&[Entry::file("b", "x")]))),
        ),
        ("garbage-behind-the-end", with(&|b| b.extend([7; 512]))),
        (
            "size-lie",
            tar_unended(&[Entry::file("a", "x").size(1 << 40)]),
        ),
        (
            "size-negative",
            one(Entry::file("a", "x").patch(124, [0xff; 12])),
        ),
        (
            "size-not-octal",
            one(Entry::file("a", "x").patch(124, b"9999999999\0")),
        ),
        (
            "mode-not-octal",
            one(Entry::file("a", "x").patch(100, b"zzzzzz\0")),
        ),
        (
            "uid-negative",
            one(Entry::file("a", "x").patch(108, [0xff; 8])),
        ),
        ("uid-huge", one(Entry::file("a", "x").owner(1 << 40, 0))),
        ("sparse", one(Entry::new(b'S', "a", 0o644))),
        (
            "sparse-pax",
            one(Entry::file("a", "x").pax("GNU.sparse.major", "1")),
        ),
        ("multi-volume", one(Entry::new(b'M', "a", 0o644))),
        (
            "pax-twice-path",
            one(Entry::file("a", "x").pax("path", "b").pax("path", "c")),
        ),
        (
            "pax-size-differs",
            tar_unended(&[Entry::file("a", "x").pax("size", "100000")]),
        ),
        (
            "pax-size-not-a-number",
            one(Entry::file("a", "x").pax("size", "-5")),
        ),
        (
            "pax-length-short",
            one(Entry::file("a", "x").pax_raw("5 path=b\n")),
        ),
        (
            "pax-length-long",
            one(Entry::file("a", "x").pax_raw("99 path=b\n")),
        ),
        (
            "pax-length-zero",
            one(Entry::file("a", "x").pax_raw("0 path=b\n")),
        ),
        (
            "pax-without-equals",
            one(Entry::file("a", "x").pax_raw("9 path b\n")),
        ),
        (
            "pax-without-newline",
            one(Entry::file("a", "x").pax_raw("9 path=bc")),
        ),
        (
            "pax-for-nobody",
            tar(&[Entry {
                data: b"9 path=b\n".to_vec(),
                ..Entry::new(b'x', "p", 0o644)
            }]),
        ),
        (
            "global-path",
            tar(&[
                Entry {
                    data: b"9 path=b\n".to_vec(),
                    ..Entry::new(b'g', "p", 0o644)
                },
                Entry::file("a", "x"),
            ]),
        ),
        (
            "two-long-names",
            tar(&[
                Entry {
                    data: b"b\0".to_vec(),
                    ..Entry::new(b'L', "././@LongLink", 0)
                },
                Entry {
                    data: b"c\0".to_vec(),
                    ..Entry::new(b'L', "././@LongLink", 0)
                },
                Entry::file("a", "x"),
            ]),
        ),
        (
            "gnu-and-pax-name",
            tar(&[
                Entry {
                    data: b"b\0".to_vec(),
                    ..Entry::new(b'L', "././@LongLink", 0)
                },
                Entry::file("a", "x").pax("path", "c"),
            ]),
        ),
    ];
    for (name, bytes) in cases {
        let layer = Layer::raw(bytes);
        let image = Image::toolbox().with_layer(layer).layout(&home, name);
        refuse.image(name, &image, "malformed|limit|unsupported", "");
    }
    refuse.finish();
}

#[test]
fn compressed_streams_that_are_cut_or_longer_are_refused() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let honest = tar(&[Entry::file("a", "hello ".repeat(5000))]);
    for pack in [Pack::Gzip, Pack::GzipMembers(3), Pack::Zstd] {
        let whole = pack.pack(&honest);
        let cut = |n: usize| whole[..whole.len() - n].to_vec();
        let longer = |tail: &[u8]| [&whole[..], tail].concat();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        for (name, packed) in [
            ("cut-by-one", cut(1)),
            ("cut-in-half", cut(whole.len() / 2)),
            ("empty", Vec::new()),
            ("garbage-behind", longer(b"garbage")),
            ("zeros-behind", longer(&[0; 64])),
            ("half-a-member-behind", longer(&whole[..whole.len() / 3])),
            ("flipped-and-rehashed", flipped),
        ] {
            let case = format!("{pack:?}-{name}").replace(['(', ')'], "");
            let layer = Layer {
                packed: Some(packed),
                ..Layer::raw(honest.clone()).packed_as(pack)
            };
            let image = Image::toolbox().with_layer(layer).layout(&home, &case);
            refuse.image(&case, &image, "malformed|integrity", "");
        }
    }
    refuse.finish();
}

#[test]
fn bombs_end_early() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    // 400 MB of zeros in some 400 kB of gzip and 40 kB of zstd.
    let zeros = |pack: Pack| {
        let head = tar_unended(&[Entry::file(format!("{pack:?}"), "").size(400 << 20)]);
        let mut bytes = head;
        bytes.resize(bytes.len() + (400 << 20) + 1024, 0);
        Layer {
            packed: Some(pack.pack(&bytes)),
            ..Layer::raw(bytes).packed_as(pack)
        }
    };
    for pack in [Pack::GzipBest, Pack::Zstd] {
        let name = format!("zeros-{pack:?}");
        let image = Image::toolbox()
            .with_layer(zeros(pack))
            .layout(&home, &name);
        refuse.image(&name, &image, "limit", "");
    }
    let big = "v".repeat(200_000);
    let many: Vec<Entry> = (0..400)
        .map(|n| Entry::file(format!("f{n}"), "").pax("SCHILY.xattr.user.a", "v".repeat(60_000)))
        .collect();
    for (name, entries) in [
        (
            "long-pax",
            vec![Entry::file("a", "").pax("comment", "c".repeat(2 << 20))],
        ),
        (
            "long-xattr",
            vec![Entry::file("a", "").pax("SCHILY.xattr.user.a", &big)],
        ),
        ("many-xattrs", many),
        ("long-link", vec![Entry::symlink("l", "t".repeat(5000))]),
    ] {
        let image = Image::toolbox().with(&entries).layout(&home, name);
        refuse.image(name, &image, "limit|malformed", "");
    }
    refuse.finish();
}

#[test]
fn the_last_of_several_entries_of_one_name_wins() {
    need!("userns", "overlay");
    let home = Home::new();
    let entries = [
        Entry::file("etc/twice", "first"),
        Entry::file("etc/twice", "second"),
        Entry::symlink("etc/link-then-file", "/etc/passwd"),
        Entry::file("etc/link-then-file", "a file"),
        Entry::file("etc/file-then-link", "a file"),
        Entry::symlink("etc/file-then-link", "twice"),
        Entry::dir("empty-then-file"),
        Entry::file("empty-then-file", "x"),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "twice");
    home.lazaret([
        "run",
        "--rm",
        &image,
        "cat",
        "/etc/twice",
        "/etc/link-then-file",
        "/etc/file-then-link",
        "/empty-then-file",
    ])
    .run()
    .ok()
    .prints("seconda filesecondx");
    home.lazaret(["run", "--rm", &image, "cat", "/etc/passwd"])
        .run()
        .ok()
        .says("root:x:0:0");
}
