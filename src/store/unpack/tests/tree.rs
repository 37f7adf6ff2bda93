//! Paths, links, whiteouts, specials, and who wins.

use super::super::*;
use super::support::*;
use crate::plan::tree::Tree;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

#[test]
fn an_honest_layer_is_unpacked_as_it_says() {
    let mut t = tar();
    t.raw(
        &Head {
            mode: 0o4755,
            size: 5,
            ..head(b'0', "bin/su")
        },
        b"hello",
    )
    .raw(
        &Head {
            mode: 0o2750,
            size: 5,
            ..head(b'0', "./bin/group")
        },
        b"hello",
    )
    .raw(
        &Head {
            mode: 0o1777,
            ..head(b'5', "tmp/")
        },
        b"",
    )
    .raw(
        &Head {
            mode: 0o2555,
            ..head(b'5', "closed/")
        },
        b"",
    )
    .file("closed/x", b"inside")
    .link(b'2', "lib", "usr/lib")
    .link(b'1', "bin/su2", "bin/su")
    .raw(
        &Head {
            mode: 0o700,
            ..head(b'5', "./")
        },
        b"",
    )
    .file("empty", b"");
    let done = good(&mut t);
    done.holds(&[
        ("/", "dir 700"),
        ("/bin", "dir 755"),
        ("/bin/group", "file 5 2750"),
        ("/bin/su", "file 5 link 1 4755"),
        ("/bin/su2", "file 5 link 1 4755"),
        ("/closed", "dir 2555"),
        ("/closed/x", "file 6 644"),
        ("/empty", "file 0 644"),
        ("/lib", "-> usr/lib 644"),
        ("/tmp", "dir 1777"),
    ]);
    let mode = |path: &str| fs::symlink_metadata(done.at(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("bin/su"), 0o755);
    assert_eq!(mode("bin/group"), 0o750);
    assert_eq!(mode("tmp"), 0o1777);
    assert_eq!(mode("closed"), 0o2555);
    assert_eq!(mode(""), 0o700);
    for path in ["bin/su", "closed", "lib"] {
        let mtime = fs::symlink_metadata(done.at(path)).unwrap().mtime();
        assert_eq!(mtime, 0o14_000_000_000, "{path}");
    }
    let facts = &done.unpacked.facts;
    assert_eq!(facts.setuid, ["/bin/su", "/bin/group", "/bin/su2"]);
    assert_eq!((facts.size, facts.files), (16, 10));
}

#[test]
fn a_leading_slash_means_the_layers_root() {
    let done = good(tar().file("/etc/passwd", b"x").file("//a///b/./c", b"y"));
    assert_eq!(fs::read(done.at("etc/passwd")).unwrap(), b"x");
    assert_eq!(fs::read(done.at("a/b/c")).unwrap(), b"y");
}

#[test]
fn dot_dot_in_a_path_is_refused() {
    for path in [
        "../canary/x",
        "a/../../canary/x",
        "..",
        "a/..",
        "/../x",
        "./../x",
        "../",
    ] {
        let kind = if path.ends_with('/') { b'5' } else { b'0' };
        refused(Kind::Malformed, "..", tar().raw(&head(kind, path), b""));
    }
}

#[test]
fn symlinks_on_the_way_are_resolved_inside_the_layer() {
    // As docker does in its chroot: `l -> /` then `l/x` is /x of the layer.
    for target in ["/", "..", "../../../..", "/../..", "."] {
        let done = good(tar().link(b'2', "l", target).file("l/secret", b"mine"));
        done.holds(&[
            ("/", "dir 755"),
            ("/l", &format!("-> {target} 644")),
            ("/secret", "file 4 644"),
        ]);
    }
    let done = good(
        tar()
            .dir("canary")
            .link(b'2', "a", "b/../c")
            .link(b'2', "c", "/../../canary")
            .dir("b")
            .file("a/secret", b"mine"),
    );
    assert_eq!(fs::read(done.at("canary/secret")).unwrap(), b"mine");
    // An absolute target means the layer's root, wherever the link stands.
    let done = good(
        tar()
            .dir("sub")
            .link(b'2', "sub/l", "/top/./..//top")
            .file("sub/l/f", b"mine"),
    );
    assert_eq!(fs::read(done.at("top/f")).unwrap(), b"mine");
    assert!(!done.at("sub/top").exists());
    refused(
        Kind::Malformed,
        "loop",
        tar()
            .link(b'2', "a", "b")
            .link(b'2', "b", "a")
            .file("a/x", b""),
    );
    refused(
        Kind::Malformed,
        "not a folder",
        tar().file("a", b"").file("a/x", b""),
    );
}

#[test]
fn a_symlink_is_replaced_and_never_written_through() {
    let done = good(
        tar()
            .link(b'2', "x", "../canary/secret")
            .file("x", b"mine")
            .link(b'2', "d", "../canary/dir")
            .dir("d")
            .file("d/file", b"mine"),
    );
    done.holds(&[
        ("/", "dir 755"),
        ("/d", "dir 755"),
        ("/d/file", "file 4 644"),
        ("/x", "file 4 644"),
    ]);
}

#[test]
fn hardlinks_stay_inside_and_lead_to_files() {
    for (target, word) in [
        ("../canary/secret", "not a path"),
        ("/../canary/secret", "not a path"),
        ("/etc/passwd", "not in the layer"),
        ("missing", "not in the layer"),
        ("s", "not a regular file"),
        ("s/secret", "not in the layer"),
        ("d", "not a regular file"),
        ("w", "not a regular file"),
        ("h", "not in the layer"),
        ("f/", "not a file's path"),
        ("..", "not a file's path"),
        (".", "not a file's path"),
        ("/", "not a file's path"),
    ] {
        let mut t = tar();
        t.link(b'2', "s", "../canary")
            .dir("d")
            .file("f", b"")
            .file(".wh.w", b"");
        refused(Kind::Malformed, word, t.link(b'1', "h", target));
    }
    refused(
        Kind::Malformed,
        "the link itself",
        tar().file("f", b"").link(b'1', "f", "f"),
    );
    let done = good(
        tar()
            .file("f", b"x")
            .link(b'1', "./d/h", "/./f")
            .file("f", b"yy"),
    );
    done.holds(&[
        ("/", "dir 755"),
        ("/d", "dir 755"),
        ("/d/h", "file 1 644"),
        ("/f", "file 2 644"),
    ]);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let done = good(
        tar()
            .file("d/.wh..wh..opq", b"")
            .file("d/kept", b"")
            .file(".wh.gone", b"")
            .file("both", b"here")
            .file(".wh.both", b"")
            .dir("dir")
            .file("dir/x", b"")
            .file(".wh.dir", b"")
            .file("late/.wh.x", b"")
            .dir("late/x")
            .file(".wh.deep", b"")
            .file("deep/er/x", b""),
    );
    done.holds(&[
        ("/", "dir 755"),
        ("/both", "file 4 644"),
        ("/d", "opaque dir 755"),
        ("/d/kept", "file 0 644"),
        ("/deep", "opaque dir 755"),
        ("/deep/er", "dir 755"),
        ("/deep/er/x", "file 0 644"),
        ("/dir", "opaque dir 755"),
        ("/dir/x", "file 0 644"),
        ("/gone", "whiteout"),
        ("/late", "dir 755"),
        ("/late/x", "opaque dir 755"),
    ]);
    let gone = fs::symlink_metadata(done.at("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(!done.at(".wh.gone").exists() && !done.at("d/.wh..wh..opq").exists());
    let mut value = [0; 4];
    let n = rustix::fs::getxattr(done.at("d"), "user.overlay.opaque", &mut value[..]).unwrap();
    assert_eq!(&value[..n], b"y");
}

#[test]
fn malformed_whiteouts_are_refused() {
    for name in [
        ".wh.",
        ".wh..",
        ".wh...",
        ".wh..wh.",
        ".wh..wh.aufs",
        "a/.wh..wh.plnk",
        ".wh..wh..opqx",
    ] {
        refused(Kind::Malformed, "whiteout", tar().file(name, b""));
    }
    refused(
        Kind::Malformed,
        "inside of a whiteout",
        tar().file(".wh.a/b", b""),
    );
    refused(Kind::Malformed, "whiteout", tar().dir(".wh.a"));
    refused(Kind::Malformed, "whiteout", tar().link(b'2', ".wh.a", "/"));
    refused(
        Kind::Malformed,
        "device 0:0",
        tar().raw(&head(b'3', "a"), b""),
    );
}

#[test]
fn overlay_attributes_are_refused_and_power_is_stripped() {
    for name in [
        "user.overlay.opaque",
        "user.overlay.redirect",
        "trusted.overlay.metacopy",
    ] {
        let key = format!("SCHILY.xattr.{name}");
        refused(
            Kind::Malformed,
            "overlay",
            tar().pax(&[(&key, b"y")]).dir("d"),
        );
    }
    let done = good(
        tar()
            .pax(&[
                ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0"),
                ("SCHILY.xattr.trusted.x", b"1"),
                ("SCHILY.xattr.user.note", b"a\n\0b"),
            ])
            .raw(
                &Head {
                    mode: 0o400,
                    size: 1,
                    ..head(b'0', "f")
                },
                b"x",
            )
            .pax(&[("SCHILY.xattr.user.dir", b"d")])
            .dir("d"),
    );
    let mut names = [0; 64];
    let n = rustix::fs::listxattr(done.at("f"), &mut names).unwrap();
    assert_eq!(&names[..n], b"user.note\0");
    let mut value = [0; 64];
    let n = rustix::fs::getxattr(done.at("f"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..n], b"a\n\0b");
    assert_eq!(fs::metadata(done.at("f")).unwrap().mode() & 0o7777, 0o400);
    assert_eq!(done.unpacked.facts.file_caps, ["/f"]);
    let mut tree = Tree::new(&done.unpacked.list).unwrap();
    let mut listed = Vec::new();
    while let Some(entry) = tree.next_entry().unwrap() {
        listed.extend(
            entry
                .xattrs
                .iter()
                .map(|(n, _)| String::from_utf8_lossy(n).into_owned()),
        );
    }
    assert_eq!(
        listed,
        ["user.dir", "security.capability", "trusted.x", "user.note"]
    );
}

#[test]
fn specials_are_recorded_and_never_created() {
    let done = good(
        tar()
            .raw(
                &Head {
                    device: (1, 3),
                    ..head(b'3', "dev/null")
                },
                b"",
            )
            .raw(
                &Head {
                    device: (8, 0),
                    ..head(b'4', "dev/sda")
                },
                b"",
            )
            .raw(&head(b'6', "dev/pipe"), b"")
            .link(b'1', "dev/zilch", "dev/null")
            .file("was", b"here")
            .raw(&head(b'6', "was"), b"")
            .raw(&head(b'6', "is"), b"")
            .file("is", b"here"),
    );
    done.holds(&[
        ("/", "dir 755"),
        ("/dev", "dir 755"),
        ("/dev/null", "Char { major: 1, minor: 3 } 644"),
        ("/dev/pipe", "Fifo 644"),
        ("/dev/sda", "Block { major: 8, minor: 0 } 644"),
        ("/dev/zilch", "Char { major: 1, minor: 3 } 644"),
        ("/is", "file 4 644"),
        ("/was", "Fifo 644"),
    ]);
    assert_eq!(fs::read_dir(done.at("dev")).unwrap().count(), 0);
    assert!(fs::symlink_metadata(done.at("was")).is_err());
    assert_eq!(
        done.unpacked.facts.special,
        ["/dev/null", "/dev/sda", "/dev/pipe", "/dev/zilch", "/was"]
    );
}

#[test]
fn the_last_of_several_members_wins() {
    let done = good(
        tar()
            .dir("a")
            .raw(
                &Head {
                    mode: 0o700,
                    ..head(b'5', "a")
                },
                b"",
            )
            .file("b", b"1")
            .file("./b", b"22")
            .dir("c")
            .file("c", b"333")
            .file("d", b"")
            .dir("d")
            .file("d/x", b""),
    );
    done.holds(&[
        ("/", "dir 755"),
        ("/a", "dir 700"),
        ("/b", "file 2 644"),
        ("/c", "file 3 644"),
        ("/d", "dir 755"),
        ("/d/x", "file 0 644"),
    ]);
    refused(
        Kind::Malformed,
        "has entries",
        tar().file("a/x", b"").file("a", b""),
    );
    refused(
        Kind::Malformed,
        "has entries",
        tar().file("a/x", b"").link(b'2', "a", "/"),
    );
    refused(Kind::Malformed, "root", tar().link(b'2', ".", "/etc"));
}
