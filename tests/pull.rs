//! `lazaret pull`: from a registry on loopback to a cell, through the fetch worker; what a tag means
//! is remembered, and what is wrong is refused and leaves nothing.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Answer, Entry, Home, Image, Layout, Ran, Registry, honest, list, need};

fn toolbox(marker: &str) -> Layout {
    Image::toolbox()
        .with(&[Entry::file("marker", marker)])
        .build()
}

fn pull(home: &Home, args: &[&str]) -> Ran {
    home.lazaret(["pull"].iter().chain(args)).run()
}

/// Nothing of a fetch is left.
fn nothing_staged(home: &Home) {
    let left = list(&home.store().join("staging"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_pulled_runs() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let registry = Registry::of(&toolbox("first"), |_, _| None);
    let name = registry.image();
    home.lazaret(["run", "--rm", "--pull=never", &name, "cat", "/marker"])
        .run()
        .exits(125)
        .complains(&format!("lazaret pull {name}"));
    let ran = pull(&home, &[&name]).ok();
    ran.prints(&format!("{name}\n"))
        .complains("Digest: sha256:")
        .complains("Status: Downloaded newer image");
    home.lazaret(["run", "--rm", &name, "cat", "/marker"])
        .run()
        .ok()
        .prints("first");
    // A second time nothing is fetched.
    let before = registry.asked().iter().filter(|a| a.is_blob()).count();
    pull(&home, &[&name]).ok().complains("up to date");
    let after = registry.asked().iter().filter(|a| a.is_blob()).count();
    assert_eq!(after, before);
    pull(&home, &["-q", &name]).ok().does_not_complain();
    home.lazaret(["verify", &name]).run().ok();
    nothing_staged(&home);
    home.clean();
}

#[test]
fn a_moved_tag_is_refused_until_it_is_accepted() {
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
    pull(&home, &[&name]).ok();
    moved.store(true, Ordering::Relaxed);
    let ran = pull(&home, &[&name])
        .exits(125)
        .complains("refused by policy");
    assert!(
        ran.err().contains(&format!("lazaret pull --accept {name}")),
        "{ran}"
    );
    let run = || home.lazaret(["run", "--rm", &name, "cat", "/marker"]).run();
    run().ok().prints("first");
    // The record outlives the image.
    home.lazaret(["rmi", &name]).run().ok();
    pull(&home, &[&name]).exits(125);
    pull(&home, &["--accept", &name])
        .ok()
        .complains("means sha256:");
    run().ok().prints("second");
    nothing_staged(&home);
    home.clean();
}

#[test]
fn what_is_not_let_in_has_no_layer_fetched() {
    need!("userns", "landlock");
    let home = Home::new();
    home.policy("[[require]]\nfacts = { max_layers = 1 }\nreason = \"small ones\"\n");
    let registry = Registry::of(&toolbox("x"), |_, _| None);
    pull(&home, &[&registry.image()])
        .exits(125)
        .complains("small ones");
    // The config is a blob, and the only one that was asked for.
    let blobs = registry.asked().iter().filter(|a| a.is_blob()).count();
    assert_eq!(blobs, 1);
    home.lazaret(["images", "-q"]).run().ok().prints("");
    nothing_staged(&home);
}

#[test]
fn wrong_bytes_are_refused_and_leave_nothing() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = Registry::of(&toolbox("x"), |asked, before| {
        // The config comes first, then the layers.
        (asked.is_blob() && before > 2).then(|| Answer::new(200, &[], "not what was named"))
    });
    let ran = pull(&home, &[&registry.image()]).exits(125);
    assert!(!ran.err().contains("died"), "{ran}");
    home.lazaret(["images", "-q"]).run().ok().prints("");
    nothing_staged(&home);
    let registry = Registry::new(|_, _| Answer::new(404, &[], ""));
    pull(&home, &[&registry.image()]).exits(125);
    pull(&home, &["oci:./x"]).exits(125).complains("registry");
    nothing_staged(&home);
}
