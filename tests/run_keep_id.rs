//! `lazaret run --userns keep-id`: the caller inside, as itself, and nobody else of the host.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use support::{Entry, Home, Image, need};

fn home(rules: &str) -> Home {
    let home = Home::new();
    home.policy(rules);
    home
}

const ALLOWED: &str =
    "[[allow]]\nuserns = [\"keep-id\"]\nmounts = [\"./**:rw\"]\nreason = \"a test\"\n";

#[test]
fn what_is_made_is_the_callers_and_what_is_closed_is_read() {
    need!("userns", "overlay", "subuids", "not-root");
    let home = home(ALLOWED);
    let data = home.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("f"), "for me alone\n").unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
    let image = Image::toolbox().layout(&home, "img");
    let run = |flags: &[&str], command: &[&str]| {
        let mut line = vec!["run", "--rm", "-v", "./data:/data"];
        line.extend(flags);
        line.push(&image);
        line.extend(command);
        home.lazaret(line).run()
    };
    let keep = ["--userns", "keep-id"];
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let me = format!("uid={uid},{uid},{uid}", uid = uid.as_raw());
    run(
        &keep,
        &[
            "all",
            "cat",
            "/data/f",
            ",",
            "put",
            "/data/made",
            "x",
            ",",
            "id",
        ],
    )
    .ok()
    .says("for me alone")
    .says(&me)
    .complains("--userns keep-id: quotas are shared");
    let made = data.join("made").metadata().unwrap();
    assert_eq!((made.uid(), made.gid()), (uid.as_raw(), gid.as_raw()));
    // Root inside is still a subordinate id.
    let ran = run(&[keep[0], keep[1], "-u", "0"], &["cat", "/data/f"]);
    assert!(ran.code != Some(0), "{ran}");
    // Without it, it is closed, and that is said before anything runs.
    run(&[], &["cat", "/data/f"])
        .exits(1)
        .complains("/data cannot be read inside")
        .complains("--userns keep-id, where a rule allows it, would run as you");
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o777)).unwrap();
    run(&[], &["toolbox", "put", "/data/theirs", "x"])
        .ok()
        .complains("will belong to subordinate ids");
    assert_ne!(data.join("theirs").metadata().unwrap().uid(), uid.as_raw());
    std::fs::remove_file(data.join("theirs")).unwrap();
    home.clean();
}

#[test]
fn owners_of_an_image_are_as_it_says() {
    need!("userns", "overlay", "subuids", "not-root");
    let home = home(ALLOWED);
    let uid = rustix::process::getuid().as_raw();
    let entries = [
        Entry::file("of-me", "x")
            .mode(0o600)
            .owner(uid.into(), uid.into()),
        Entry::file("of-another", "x").mode(0o644).owner(4711, 42),
        Entry::file("of-root", "x").mode(0o644),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "img");
    for flags in [&["--userns", "keep-id"][..], &[]] {
        let mut line = vec!["run", "--rm"];
        line.extend(flags);
        line.push(&image);
        line.extend([
            "all",
            "stat",
            "/of-me",
            ",",
            "stat",
            "/of-another",
            ",",
            "stat",
            "/of-root",
        ]);
        let ran = home.lazaret(line).run().ok();
        let out = ran.out();
        let lines: Vec<&str> = out.lines().collect();
        for (line, owner) in
            lines
                .iter()
                .zip([format!("{uid}:{uid}"), "4711:42".into(), "0:0".into()])
        {
            assert!(line.contains(&owner), "{owner}\n{ran}");
        }
    }
    home.lazaret([
        "run", "--rm", "--userns", "keep-id", "--verify", "full", &image, "cat", "/of-me",
    ])
    .run()
    .ok()
    .prints("x");
    home.clean();
}

/// What such a container wrote belongs to two kinds of ids, and goes with it all the same; so do its
/// layers with the image.
#[test]
fn what_it_leaves_can_be_removed() {
    need!("userns", "overlay", "subuids", "not-root");
    let home = home(ALLOWED);
    let image = Image::toolbox()
        .with(&[Entry::dir("open").mode(0o777)])
        .layout(&home, "img");
    let keep = ["--userns", "keep-id", "--name", "kept"];
    let mut line = vec!["run"];
    line.extend(keep);
    line.push(&image);
    line.extend([
        "all",
        "put",
        "/open/x",
        "y",
        ",",
        "mkdir",
        "/open/closed",
        ",",
        "chmod",
        "0",
        "/open/closed",
    ]);
    home.lazaret(line).run().ok();
    home.lazaret(["rm", "kept"]).run().ok();
    assert!(
        support::list(&home.store().join("containers"))
            .iter()
            .all(|name| name.len() < 64)
    );
    let layers = support::list(&home.store().join("layers"));
    assert!(
        layers.iter().any(|name| name.starts_with("keep-")),
        "{layers:?}"
    );
    home.lazaret(["verify", "--all"]).run().ok();
    home.lazaret(["rmi", "-f", &image]).run().ok();
    for map in layers {
        assert!(support::list(&home.store().join("layers").join(map)).is_empty());
    }
    home.clean();
}

#[test]
fn it_must_be_allowed_and_possible() {
    need!("userns", "overlay");
    let home = home("");
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret(["run", "--rm", "--userns", "keep-id", &image, "true"])
        .run()
        .exits(125)
        .complains("userns = [\"keep-id\"]")
        .complains("asked   --userns keep-id");
    assert!(
        support::list(&home.store().join("layers")).is_empty(),
        "unpacked before it was refused"
    );
    for (value, word) in [
        ("host", "no policy can allow it"),
        ("auto", "not built"),
        ("keep-id:uid=0", "not built"),
    ] {
        home.lazaret(["run", "--userns", value, &image, "true"])
            .run()
            .exits(125)
            .complains(word);
    }
    home.clean();
}

#[test]
fn root_is_nobody_inside() {
    need!("userns", "overlay", "root");
    let home = home(ALLOWED);
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret(["run", "--rm", "--userns", "keep-id", &image, "true"])
        .run()
        .exits(125)
        .complains("root outside is never anybody inside");
    home.clean();
}
