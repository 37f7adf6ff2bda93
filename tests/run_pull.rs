//! `run` and the registry: when an image is fetched (`--pull`), for which platform (`--platform`),
//! and that nothing is fetched by what only looks.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Answer, Asked, Entry, Home, Image, Layout, Ran, Registry, honest, need, retag};

const MARKER: [&str; 2] = ["cat", "/marker"];

fn toolbox(marker: &str) -> Layout {
    Image::toolbox()
        .with(&[Entry::file("marker", marker)])
        .build()
}

fn run(home: &Home, flags: &[&str], name: &str) -> Ran {
    let args = [&["run", "--rm"], flags, &[name], &MARKER].concat();
    home.lazaret(args).run()
}

/// An architecture that this machine does not run, under Go's name.
fn other() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "amd64",
        _ => "arm64",
    }
}

/// One name for this machine's image and another one's.
fn both() -> Layout {
    let mut native = toolbox("native");
    let mut foreign = Image::toolbox().with(&[Entry::file("marker", "foreign")]);
    foreign.architecture = other().to_owned();
    let foreign = foreign.build();
    let entry = |layout: &Layout| {
        let index: Value = serde_json::from_str(&layout.index).unwrap();
        let mut entry = index["manifests"][0].clone();
        let bytes = &layout.blobs[entry["digest"].as_str().unwrap()];
        let manifest: Value = serde_json::from_slice(bytes).unwrap();
        let config = &layout.blobs[manifest["config"]["digest"].as_str().unwrap()];
        let config: Value = serde_json::from_slice(config).unwrap();
        entry["platform"] = json!({"os": "linux", "architecture": config["architecture"]});
        entry
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry(&foreign), entry(&native)],
    });
    native.blobs.extend(foreign.blobs);
    retag(&mut native, index.to_string());
    native
}

#[test]
fn a_missing_image_is_fetched_and_a_known_one_is_not() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let registry = Registry::of(&toolbox("here"), |_, _| None);
    let name = registry.image();
    for (flags, why) in [
        (&["--pull", "never"][..], "--pull never fetches none"),
        (&["--dry-run"], "a dry run fetches none"),
        (&["--dry-run", "--pull", "always"], "a dry run fetches none"),
    ] {
        let ran = run(&home, flags, &name).exits(125).complains(why);
        assert!(ran.err().contains(&format!("lazaret pull {name}")), "{ran}");
    }
    home.lazaret(["policy", "explain", &name])
        .run()
        .exits(125)
        .complains("policy explain fetches none");
    assert!(registry.asked().is_empty(), "{:?}", registry.asked());
    run(&home, &[], &name)
        .ok()
        .prints("here")
        .complains(&format!("Unable to find image '{name}' locally\n"))
        .complains("test: Pulling from img\n")
        .complains("Status: Downloaded newer image for");
    // Known and here: no network.
    let asked = registry.asked().len();
    let ran = run(&home, &[], &name).ok().prints("here");
    assert!(!ran.err().contains("img"), "{ran}");
    run(&home, &["--pull", "missing"], &name).ok();
    run(&home, &["--pull", "never"], &name).ok();
    home.lazaret([
        "policy", "explain", "--rm", "--pull", "always", &name, "true",
    ])
    .run()
    .ok()
    .complains("nothing is fetched only to look");
    run(&home, &["--dry-run", "--pull=always"], &name)
        .ok()
        .complains("nothing is fetched only to look");
    assert_eq!(registry.asked().len(), asked);
    home.clean();
}

#[test]
fn always_asks_once_and_fetches_nothing_that_is_here() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let (first, second) = (toolbox("first"), toolbox("second"));
    let moved = Arc::new(AtomicBool::new(false));
    let registry = Registry::new({
        let moved = Arc::clone(&moved);
        move |asked, _| match moved.load(Ordering::Relaxed) {
            false => honest(&first, asked),
            true => honest(&second, asked),
        }
    });
    let name = registry.image();
    let ran = run(&home, &["-q", "--pull", "always"], &name).ok();
    assert!(!ran.err().contains("img"), "{ran}");
    for again in [
        &["run", "--rm", "--pull", "always", &name, "cat", "/marker"][..],
        &["pull", &name],
    ] {
        let before = registry.asked().len();
        home.lazaret(again)
            .run()
            .ok()
            .complains("Status: Image is up to date");
        let asked = registry.asked()[before..].to_vec();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!(asked[0].method, "HEAD");
    }
    // A digest never changes: nobody is asked.
    let digest = home
        .lazaret(["images", "--digests", "--format", "{{.Digest}}"])
        .run()
        .ok();
    let pinned = format!("{}/img@{}", registry.address, digest.out().trim());
    home.lazaret(["pull", &pinned]).run().ok();
    let before = registry.asked().len();
    home.lazaret(["pull", &pinned])
        .run()
        .ok()
        .complains("up to date");
    run(&home, &["--pull", "always"], &pinned)
        .ok()
        .prints("first");
    assert_eq!(registry.asked().len(), before);
    // A moved tag is refused as by pull, and what is here runs still.
    moved.store(true, Ordering::Relaxed);
    run(&home, &["--pull", "always"], &name)
        .exits(125)
        .complains("refused by policy");
    run(&home, &[], &name).ok().prints("first");
    // Without its registry, always is an error, and missing is none.
    drop(registry);
    run(&home, &["--pull", "always"], &name)
        .exits(125)
        .complains("connect");
    run(&home, &[], &name).ok().prints("first");
    home.clean();
}

/// Registries that do not know HEAD, or say nothing with it, are asked in full.
#[test]
fn head_that_says_nothing_is_followed_by_get() {
    need!("userns", "overlay", "landlock");
    let silent = |asked: &Asked, answer: fn() -> Answer| (asked.method == "HEAD").then(answer);
    for (n, answer) in [
        (|| Answer::new(405, &[], "")) as fn() -> Answer,
        || Answer::new(404, &[], ""),
        || Answer::new(503, &[], ""),
        || {
            Answer::head(
                200,
                &["Content-Type: application/vnd.oci.image.manifest.v1+json"],
            )
        },
        || {
            Answer::head(
                200,
                &[
                    "Content-Type: text/html",
                    "Docker-Content-Digest: sha256:00",
                ],
            )
        },
    ]
    .into_iter()
    .enumerate()
    {
        let home = Home::new();
        let registry = Registry::of(&toolbox("here"), move |asked, _| silent(asked, answer));
        home.lazaret(["pull", &registry.image()]).run().ok();
        let before = registry.asked().len();
        home.lazaret(["pull", &registry.image()])
            .run()
            .ok()
            .complains("up to date");
        let asked = registry.asked()[before..].to_vec();
        let gets = asked
            .iter()
            .filter(|a| a.method == "GET" && a.is_manifest());
        assert_eq!(gets.count(), 1, "{n}: {asked:?}");
        home.clean();
    }
}

#[test]
fn an_image_of_another_platform_is_fetched_and_never_run() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let registry = Registry::of(&both(), |_, _| None);
    let name = registry.image();
    let foreign = format!("linux/{}", other());
    run(&home, &["--platform", &foreign], &name)
        .exits(125)
        .complains("lazaret emulates no other");
    assert!(registry.asked().is_empty());
    home.lazaret(["pull", "--platform", &foreign, &name])
        .run()
        .ok();
    // What is here is not for this machine.
    for flag in [&["--pull", "never"][..], &["--dry-run"]] {
        run(&home, flag, &name)
            .exits(125)
            .complains(&format!("the image in the store is for {foreign}"));
    }
    run(&home, &[], &name).ok().prints("native");
    run(&home, &["--platform", std::env::consts::ARCH], &name)
        .ok()
        .prints("native");
    home.lazaret(["pull", "--platform", "linux/s390x", &name])
        .run()
        .exits(125)
        .complains("linux/s390x");
    // One that is for one platform alone.
    let single = Registry::of(&toolbox("x"), |_, _| None);
    home.lazaret(["pull", "--platform", &foreign, &single.image()])
        .run()
        .exits(125)
        .complains(&format!("not for {foreign}"));
    let blobs = single.asked().iter().filter(|a| a.is_blob()).count();
    assert_eq!(blobs, 1, "its layers are not fetched");
    home.clean();
}
