//! A store that lost something, and how it is made whole again.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;

use serde_json::{Value, json};
use std::path::PathBuf;
use support::{Entry, Home, Image, Ran, list, need};

fn run(home: &Home, line: &[&str]) -> Ran {
    home.lazaret(line).run()
}

/// An image that nobody else's test has the layers of, as a layout of that name.
fn layout(home: &Home, word: &str) -> String {
    Image::toolbox()
        .with(&[Entry::file("word", word)])
        .set("Labels", json!({"word": word}))
        .layout(home, word)
}

fn inspect(home: &Home, name: &str) -> Value {
    let ran = run(home, &["inspect", name]).ok();
    let all: Value = serde_json::from_slice(&ran.stdout).unwrap();
    all[0].clone()
}

/// Where the store keeps the blob of this digest.
fn blob(home: &Home, digest: &Value) -> PathBuf {
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    home.store().join("blobs/sha256").join(hex)
}

#[test]
fn loading_again_replaces_a_damaged_blob() {
    need!("userns", "landlock");
    let home = Home::new();
    let source = layout(&home, "one");
    run(&home, &["load", "-q", &source, "tool"]).ok();
    for layer in inspect(&home, "tool")["Layers"].as_array().unwrap() {
        let file = blob(&home, &layer["Digest"]);
        let whole = std::fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&flipped[..], &whole[..whole.len() / 2], b""] {
            std::fs::write(&file, damaged).unwrap();
            run(&home, &["verify", "tool"]).exits(1);
            run(&home, &["load", "-q", &source, "tool"]).ok();
            run(&home, &["verify", "tool"]).ok();
        }
    }
    home.clean();
}

#[test]
fn a_damaged_name_is_told_with_a_cure_that_works() {
    need!("userns", "landlock");
    let home = Home::new();
    let (one, two) = (layout(&home, "one"), layout(&home, "two"));
    run(&home, &["load", "-q", &one, "one"]).ok();
    let refs = home.store().join("refs");
    let file = refs.join(&list(&refs)[0]);
    run(&home, &["load", "-q", &two, "two"]).ok();
    std::fs::write(&file, "{").unwrap();
    for line in [
        &["images"][..],
        &["verify", "-a"],
        &["rmi", "two"],
        &["load", "-q", &one, "one"],
    ] {
        run(&home, line)
            .exits(125)
            .complains(&format!("rm {file:?}"));
    }
    std::fs::remove_file(&file).unwrap();
    run(&home, &["load", "-q", &one, "one"]).ok();
    run(&home, &["verify", "-a"]).ok().says("one:latest: ok");
}

#[test]
fn a_damaged_image_is_not_left_out_silently() {
    need!("userns", "landlock");
    let home = Home::new();
    for word in ["one", "two"] {
        let source = layout(&home, word);
        run(&home, &["load", "-q", &source, word]).ok();
    }
    run(&home, &["images"]).ok().does_not_complain();
    let manifest = inspect(&home, "one")["Descriptor"]["digest"].clone();
    std::fs::write(blob(&home, &manifest), "{}").unwrap();
    run(&home, &["images", "-q"])
        .ok()
        .complains("1 damaged images are left out");
    // Nobody knows what the damaged one needs: nothing of it goes along with another.
    let before = list(&home.store().join("blobs/sha256")).len();
    run(&home, &["rmi", "two"]).ok();
    let gone = before - list(&home.store().join("blobs/sha256")).len();
    assert_eq!(gone, 0);
    let source = layout(&home, "mended");
    run(&home, &["rmi", "one"]).ok();
    run(&home, &["load", "-q", &source, "mended"]).ok();
    run(&home, &["rmi", "mended"]).ok();
    assert_eq!(list(&home.store().join("blobs/sha256")), [""; 0]);
}

#[test]
fn a_layer_that_is_gone_altogether_is_named() {
    need!("userns", "landlock");
    let home = Home::new();
    let source = layout(&home, "one");
    run(&home, &["load", "-q", &source, "tool"]).ok();
    let digest = inspect(&home, "tool")["Layers"][0]["Digest"].clone();
    std::fs::remove_file(blob(&home, &digest)).unwrap();
    // What was unpacked is still there, as it is of an image that was run and not loaded.
    run(&home, &["verify", "tool"]).ok();
    let layers = home.store().join("layers");
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    for map in list(&layers) {
        let of_it = list(&layers.join(&map));
        for name in of_it.iter().filter(|name| name.ends_with(hex)) {
            std::fs::remove_file(layers.join(&map).join(name).join("layer.json")).unwrap();
        }
    }
    run(&home, &["verify", "tool"]).exits(1).says(hex);
    run(&home, &["load", "-q", &source, "tool"]).ok();
    run(&home, &["verify", "tool"]).ok();
}

/// What no name refers to is of names that moved, and of processes that were killed before they
/// gave one.
#[test]
fn what_no_name_refers_to_goes_with_the_next_image() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let sources = ["one", "two", "three"].map(|word| layout(&home, word));
    let load = |at: usize, name: &str| run(&home, &["load", "-q", &sources[at], name]).ok();
    let stays = |digest: &Value| blob(&home, digest).exists();
    load(0, "tool");
    let old = inspect(&home, "tool")["Descriptor"]["digest"].clone();
    run(&home, &["run", "--name", "kept", "tool", "true"]).ok();
    load(1, "tool");
    load(2, "other");
    // A container's image stays for as long as the container does.
    run(&home, &["rmi", "other"]).ok();
    assert!(stays(&old));
    run(&home, &["rm", "kept"]).ok();
    load(2, "other");
    run(&home, &["rmi", "other"])
        .ok()
        .says(&format!("Deleted: {}\n", old.as_str().unwrap()));
    assert!(!stays(&old));
    run(&home, &["verify", "-a"]).ok().says("tool:latest: ok");
    // Nothing but the one image: its manifest, its config and its layers.
    let tool = inspect(&home, "tool");
    let layers = tool["RootFS"]["Layers"].as_array().unwrap().len();
    assert_eq!(list(&home.store().join("blobs/sha256")).len(), layers + 2);
    run(&home, &["rmi", "tool"]).ok();
    assert_eq!(list(&home.store().join("blobs/sha256")), [""; 0]);
    home.clean();
}

#[test]
fn a_damaged_record_of_a_container_fails_no_rmi() {
    need!("userns", "landlock");
    let home = Home::new();
    let source = layout(&home, "one");
    for name in ["one", "two"] {
        run(&home, &["load", "-q", &source, name]).ok();
    }
    let record = format!("{}.json", "0".repeat(64));
    std::fs::write(home.store().join("containers").join(&record), "{").unwrap();
    run(&home, &["rmi", "one"])
        .ok()
        .says("Untagged: one:latest")
        .complains("note: what no name refers to stays");
}

/// What was unpacked for ids that the user has no more, cannot be removed by it, and is no reason
/// to unpack nothing else.
#[test]
fn a_leftover_of_lost_ids_is_in_nobodys_way() {
    need!("userns", "landlock", "not-root");
    let home = Home::new();
    let source = layout(&home, "one");
    run(&home, &["load", "-q", &source, "one"]).ok();
    run(&home, &["rmi", "one"]).ok().does_not_complain();
    let range = "0.4000000000.65536";
    let left = home
        .store()
        .join(format!("staging/range-{range}-{range}+1-1-1-1"));
    std::fs::create_dir_all(left.join("fs")).unwrap();
    run(&home, &["load", "-q", &source, "one"]).ok();
    run(&home, &["rmi", "one"])
        .ok()
        .complains("note: what no name refers to stays")
        .complains("rm -r");
    std::fs::remove_dir_all(&left).unwrap();
}

/// The command ran: its exit code is told, whatever the disk says of the record.
#[test]
fn a_command_that_fills_the_disk_keeps_its_exit_code() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let small = home.root().join("small");
    std::fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=8m tmpfs {small}; export LAZARET_STORE={small}/store; \
         {bin} run {image} toolbox fill /big 100000000; code=$?; \
         ls {small}/store/containers; exit $code",
        small = small.display(),
        bin = env!("CARGO_BIN_EXE_lazaret"),
    );
    let unshare = support::find("unshare").unwrap();
    let ran = home
        .program(&unshare, ["-m", "sh", "-c", &script])
        .run()
        .exits(1)
        .complains("could not be written down");
    assert_eq!(ran.out().matches(".json").count(), 1, "{ran}");
    assert!(!ran.out().contains(".new"), "{ran}");
}
