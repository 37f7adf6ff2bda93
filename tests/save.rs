//! `lazaret save`: an archive that others and `load` read, whole or not at all, and the same each time.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use rustix::process::Signal;
use std::process::Command;
use support::{Entry, Home, Image, Layer, Pack, Pty, Ran, find, list, need};

/// An image on top of the toolbox's layer, which all share.
fn image(marker: &str) -> Image {
    Image::toolbox().with(&[Entry::file("marker", marker)])
}

fn load(home: &Home, marker: &str, names: &[&str]) {
    let layout = image(marker).layout(home, &format!("layout-{marker}"));
    for name in names {
        home.lazaret(["load", "-q", &layout, name]).run().ok();
    }
}

fn save(home: &Home, args: &[&str]) -> Ran {
    home.lazaret(["save"].iter().chain(args)).run()
}

fn shell(home: &Home, line: &str) -> Ran {
    home.program("/bin/sh".as_ref(), ["-c", line])
        .env("L", env!("CARGO_BIN_EXE_lazaret"))
        .run()
}

/// The document of that name in a tar.
fn document(home: &Home, archive: &str, name: &str) -> serde_json::Value {
    let out = shell(home, &format!("tar -xOf {archive} {name}")).ok();
    serde_json::from_str(&out.out()).unwrap()
}

#[test]
fn several_images_share_their_blobs_and_come_back_under_their_names() {
    need!("userns", "overlay");
    let home = Home::new();
    load(&home, "one", &["one:1", "registry.example/lab/one:1"]);
    load(&home, "two", &["two:2"]);
    let line = [
        "-o",
        "both.tar",
        "one:1",
        "two:2",
        "registry.example/lab/one:1",
        "one:1",
    ];
    save(&home, &line).ok().prints("").does_not_complain();
    shell(
        &home,
        "$L save one:1 two:2 registry.example/lab/one:1 | cmp - both.tar",
    )
    .ok();
    // Two manifests, two configs, two layers of their own and one of both.
    shell(&home, "tar -tf both.tar | grep -c blobs/sha256/.")
        .ok()
        .prints("7\n");
    shell(
        &home,
        "tar -tvf both.tar | grep -v ' 0/0 .* 1970-01-01 00:00 '",
    )
    .exits(1);
    let index = document(&home, "both.tar", "index.json");
    let entries = index["manifests"].as_array().unwrap();
    let named: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| {
            let annotations = &entry["annotations"];
            let text = |name: &str| annotations[name].as_str().unwrap();
            (
                text("io.containerd.image.name"),
                text("org.opencontainers.image.ref.name"),
            )
        })
        .collect();
    let expected = [
        ("docker.io/library/one:1", "1"),
        ("registry.example/lab/one:1", "1"),
        ("docker.io/library/two:2", "2"),
    ];
    assert_eq!(named, expected);
    let dockers = document(&home, "both.tar", "manifest.json");
    let tags = serde_json::json!(["one:1", "registry.example/lab/one:1"]);
    assert_eq!(dockers[0]["RepoTags"], tags, "{dockers:#}");
    for name in ["one:1", "registry.example/lab/one:1", "two:2"] {
        home.lazaret(["rmi", name]).run().ok();
    }
    assert_eq!(list(&home.store().join("blobs/sha256")), [""; 0]);
    shell(&home, "$L load -q < both.tar").ok();
    for (name, marker) in [
        ("one:1", "one"),
        ("registry.example/lab/one:1", "one"),
        ("two:2", "two"),
    ] {
        let run = ["run", "--rm", name, "cat", "/marker"];
        home.lazaret(run).run().ok().prints(marker);
    }
    home.clean();
}

#[test]
fn an_image_by_its_id_has_no_name_and_two_of_one_tag_are_told_apart() {
    need!("userns", "overlay");
    let home = Home::new();
    load(&home, "one", &["one"]);
    load(&home, "two", &["two"]);
    let id = home.lazaret(["images", "-q", "one"]).run().ok().out();
    save(&home, &["-o", "id.tar", id.trim()]).ok();
    let index = document(&home, "id.tar", "index.json");
    assert!(index["manifests"][0]["annotations"].is_null(), "{index:#}");
    shell(&home, "$L load < id.tar")
        .exits(125)
        .complains("the archive has no name for the image");
    save(&home, &["-o", "same.tar", "one", "two"]).ok();
    let run = |image: &str| {
        let line = ["run", "--rm", image, "cat", "/marker"];
        home.lazaret(line).run().ok().out()
    };
    assert_eq!(
        run("oci-archive:same.tar:docker.io/library/two:latest"),
        "two"
    );
    assert_eq!(run("docker-archive:same.tar:one:latest"), "one");
}

#[test]
fn what_cannot_be_saved_whole_leaves_nothing() {
    need!("userns", "overlay");
    let home = Home::new();
    load(&home, "one", &["one:1"]);
    let here = |home: &Home| list(&home.path("out"));
    std::fs::create_dir(home.path("out")).unwrap();
    let both = |home: &Home, image: &str, words: &str| {
        for args in [
            ["-o", "out/x", image].as_slice(),
            &["--format", "oci-dir", "-o", "out/x", image],
        ] {
            save(home, args).exits(125).complains(words);
            assert_eq!(here(home), [""; 0]);
        }
    };
    both(&home, "none:1", "there is no image");
    // An image that was run from where it lies keeps no blobs.
    let layout = image("two").layout(&home, "unkept");
    let run = ["run", "--rm", &layout, "true"];
    home.lazaret(run).run().ok();
    both(&home, &layout, "not kept as they came");
    // Bytes that changed at rest: longer, shorter, others.
    let layers = image("one").build().layers;
    let hex = layers.last().unwrap().replace("sha256:", "");
    let file = home.store().join("blobs/sha256").join(hex);
    let whole = std::fs::read(&file).unwrap();
    let mut other = whole.clone();
    other[20] ^= 1;
    for bytes in [[&whole[..], b"x"].concat(), whole[1..].to_vec(), other] {
        std::fs::write(&file, bytes).unwrap();
        both(&home, "one:1", "is damaged: its bytes have another digest");
    }
    // A pipe has what went through it, and no reader takes it for whole.
    shell(&home, "$L save one:1 > part.tar").exits(125);
    shell(&home, "tar -tf part.tar").exits(2);
    std::fs::remove_file(&file).unwrap();
    both(&home, "one:1", "not kept as they came");
    std::fs::write(&file, whole).unwrap();
    save(&home, &["-o", "out/x", "one:1"]).ok();
    assert_eq!(here(&home), ["x"]);
}

#[test]
fn what_is_there_is_replaced_only_if_it_is_a_file_or_empty() {
    need!("userns", "overlay");
    let home = Home::new();
    load(&home, "one", &["one:1"]);
    std::fs::write(home.path("file"), "old").unwrap();
    std::os::unix::fs::symlink("file", home.path("link")).unwrap();
    std::fs::create_dir_all(home.path("full/x")).unwrap();
    std::fs::create_dir(home.path("empty")).unwrap();
    for out in ["link", "full", "/dev/null", "none/x", ""] {
        save(&home, &["-o", out, "one:1"]).exits(125);
    }
    for out in ["link", "full", "file", "none/x", "/"] {
        let dir = ["--format", "oci-dir", "-o", out, "one:1"];
        save(&home, &dir).exits(125);
    }
    assert_eq!(std::fs::read(home.path("file")).unwrap(), b"old");
    save(&home, &["-o", "file", "one:1"]).ok();
    save(&home, &["--format", "oci-dir", "-o", "empty", "one:1"]).ok();
    let left = list(&home.path(""));
    assert!(
        !left.iter().any(|name| name.contains(".lazaret")),
        "{left:?}"
    );
    save(&home, &["--format", "oci-dir", "one:1"])
        .exits(125)
        .complains("-o DIR");
    save(&home, &["--format", "docker-archive", "-o", "x", "one:1"]).exits(125);
    save(&home, &[]).exits(125);
    save(&home, &["--platform", "linux/arm64", "one:1"])
        .exits(125)
        .complains("--platform");
    let terminal = Pty::new();
    let on = home.lazaret(["save", "one:1"]).on_terminal(&terminal.inner);
    on.wait().exits(125);
    let run = ["run", "--rm", "oci:./empty:1", "cat", "/marker"];
    home.lazaret(run).run().ok().prints("one");
}

/// A file's place is filled without a name, so it is the folder that could be left behind.
#[test]
fn an_interrupted_save_leaves_nothing() {
    need!("userns", "overlay");
    let home = Home::new();
    let big = Layer::of(&[Entry::file("big", "x".repeat(200 << 20))]);
    let layout = Image::toolbox()
        .with_layer(big.packed_as(Pack::Plain))
        .layout(&home, "big");
    home.lazaret(["load", "-q", &layout, "big:1"]).run().ok();
    std::fs::create_dir(home.path("out")).unwrap();
    let line = ["save", "--format", "oci-dir", "-o", "out/x", "big:1"];
    let running = home.lazaret(line).spawn();
    while list(&home.path("out")).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    running.signal(Signal::INT);
    running
        .wait()
        .exits(130)
        .complains("ended by SIGINT; nothing was kept");
    assert_eq!(list(&home.path("out")), [""; 0]);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    load(&home, "one", &["one:1"]);
    std::fs::create_dir(home.path("small")).unwrap();
    for format in ["oci-archive", "oci-dir"] {
        let script = format!(
            "mount -t tmpfs -o size=64k tmpfs small
             $L save --format {format} -o small/x one:1; echo code $?
             ls -A small"
        );
        let ran = home
            .program(&find("unshare").unwrap(), ["-m", "sh", "-c", &script])
            .env("L", env!("CARGO_BIN_EXE_lazaret"))
            .run()
            .ok()
            .prints("code 125\n");
        ran.complains("no space left on device")
            .complains("free space");
    }
}

#[test]
fn others_read_it() {
    need!("userns", "overlay", "skopeo");
    let home = Home::new();
    load(&home, "one", &["one:1"]);
    load(&home, "two", &["registry.example/two:2"]);
    let images = ["one:1", "registry.example/two:2"];
    save(&home, &[&["-o", "both.tar"], &images[..]].concat()).ok();
    let folder = ["--format", "oci-dir", "-o", "both"];
    save(&home, &[&folder[..], &images].concat()).ok();
    let digest = |place: &str| {
        let out = Command::new(find("skopeo").unwrap())
            .args(["inspect", "--format", "{{.Digest}}", place])
            .current_dir(home.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{place}: {said}");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let (one, two) = (image("one").build(), image("two").build());
    assert_eq!(digest("oci-archive:both.tar:1"), one.manifest);
    assert_eq!(digest("oci:both:2"), two.manifest);
    // Of docker's table only what it points at has digests.
    let copy = Command::new(find("skopeo").unwrap())
        .args(["--insecure-policy", "copy"])
        .args([
            "docker-archive:both.tar:registry.example/two:2",
            "oci:back:x",
        ])
        .current_dir(home.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&copy.stderr);
    assert!(copy.status.success(), "{said}");
    let run = ["run", "--rm", "oci:back:x", "cat", "/marker"];
    home.lazaret(run).run().ok().prints("two");
}
