//! How a pull ends: seen on a terminal, by ^C, by a full disk, beside another one, and with what a
//! lying registry left of its layers.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Answer, Asked, Entry, Home, Image, Layout, Pty, Registry, honest, list, need};

/// The toolbox and a second layer of a few megabytes that do not compress.
fn large() -> Layout {
    let mut seed = 7_u64;
    let noise = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + u8::try_from(seed >> 60).unwrap())
    };
    let noise: String = (0..4 << 20).map(noise).collect();
    Image::toolbox()
        .with(&[Entry::file("noise", &noise)])
        .build()
}

/// Whether it asks for the large layer.
fn is_large(layout: &Layout, asked: &Asked) -> bool {
    let largest = layout.blobs.iter().max_by_key(|(_, bytes)| bytes.len());
    asked.path.ends_with(largest.unwrap().0)
}

/// Serves `layout`, but stops in the middle of its large layer until `go` is set.
fn halting(layout: &Layout, go: &Arc<AtomicBool>) -> Registry {
    let (layout, go) = (layout.clone(), Arc::clone(go));
    Registry::of(&layout.clone(), move |asked, _| {
        if go.load(Ordering::Relaxed) || asked.method != "GET" || !is_large(&layout, asked) {
            return None;
        }
        let digest = asked.path.rsplit('/').next().unwrap();
        let bytes = &layout.blobs[digest];
        let head = Answer::head(200, &[&format!("Content-Length: {}", bytes.len())]);
        Some(head.bytes(&bytes[..bytes.len() / 2]).hang())
    })
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The store as it was before anything was fetched.
fn nothing_is_left(home: &Home) {
    for folder in ["staging", "blobs/sha256", "refs", "tags"] {
        let left = list(&home.store().join(folder));
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    for map in list(&home.store().join("layers")) {
        let left = list(&home.store().join("layers").join(&map));
        assert!(left.is_empty(), "layers/{map}: {left:?}");
    }
}

#[test]
fn a_terminal_has_a_line_for_each_layer_and_a_pipe_plain_ones() {
    need!("userns", "landlock");
    let home = Home::new();
    let layout = large();
    let go = Arc::new(AtomicBool::new(false));
    let registry = halting(&layout, &go);
    let mut pty = Pty::new();
    pty.resize(24, 60);
    let running = home
        .lazaret(["pull", &registry.image()])
        .on_terminal(&pty.inner);
    let shown = pty.until("Downloading [");
    running.signal(Signal::INT);
    let ran = running.wait();
    assert_eq!(ran.code, Some(130), "{ran}");
    assert!(shown.contains("\x1b["), "{shown:?}");
    let lines = shown.split(['\r', '\n']).map(|line| {
        let visible: String = line.split("\x1b[").map(after_sequence).collect();
        visible.chars().count()
    });
    assert!(lines.clone().all(|len| len < 60), "{shown:?}");
    nothing_is_left(&home);
    go.store(true, Ordering::Relaxed);
    let ran = home.lazaret(["pull", &registry.image()]).run().ok();
    assert!(!ran.err().contains(['\x1b', '\r']), "{ran}");
    assert!(ran.err().contains(": Download complete\n"), "{ran}");
    assert!(ran.err().contains(": Pull complete\n"), "{ran}");
    home.clean();
}

/// What follows a control sequence's beginning, without the rest of it.
fn after_sequence(text: &str) -> &str {
    text.split_once(['A', 'K']).map_or(text, |(_, rest)| rest)
}

#[test]
fn an_interrupted_pull_leaves_nothing() {
    need!("userns", "landlock");
    let layout = large();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let home = Home::new();
        let go = Arc::new(AtomicBool::new(false));
        let registry = halting(&layout, &go);
        let running = home.lazaret(["pull", &registry.image()]).spawn();
        until("the large layer was not asked for", || {
            registry.asked().iter().any(|a| is_large(&layout, a))
        });
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        running.signal(signal);
        running.wait().exits(code).complains("nothing was kept");
        assert!(start.elapsed() < Duration::from_secs(5));
        nothing_is_left(&home);
        // And before anything is known.
        let silent = Registry::new(|_, _| Answer::nothing().hang());
        let running = home.lazaret(["pull", &silent.image()]).spawn();
        until("nothing was asked", || !silent.asked().is_empty());
        running.signal(signal);
        running.wait().exits(code);
        nothing_is_left(&home);
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    need!("userns", "landlock", "unshare");
    let home = Home::new();
    let registry = Registry::of(&large(), |_, _| None);
    let script = "mount -t tmpfs -o mode=700,size=$1 tmpfs $2 || exit 99\n\
        LAZARET_STORE=$2 $3 pull -q $4; echo exit $?\n\
        find $2 -type f ! -name version; find $2 -mindepth 3";
    let place = home.path("small");
    std::fs::create_dir(&place).unwrap();
    // Too small for the blob, and large enough for it alone.
    for size in ["3m", "6m"] {
        let ran = home
            .program(
                &support::find("unshare").unwrap(),
                [
                    "-rm",
                    "sh",
                    "-c",
                    script,
                    "sh",
                    size,
                    place.to_str().unwrap(),
                    env!("CARGO_BIN_EXE_lazaret"),
                    &registry.image(),
                ],
            )
            .run()
            .ok();
        assert_eq!(ran.out(), "exit 125\n", "{size}: {ran}");
        assert!(ran.err().contains("no space left on device"), "{ran}");
        assert!(ran.err().contains("the store's disk is full"), "{ran}");
    }
}

#[test]
fn two_pulls_at_once_fetch_once_and_end_in_one_image() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let layout = Image::toolbox()
        .with(&[Entry::file("marker", "both")])
        .build();
    let registry = Registry::of(&layout, |asked, _| {
        // Long enough for the other to come.
        asked
            .is_blob()
            .then(|| std::thread::sleep(Duration::from_millis(200)));
        None
    });
    let name = registry.image();
    let pulls: Vec<_> = (0..2)
        .map(|_| home.lazaret(["pull", &name]).spawn())
        .collect();
    for pull in pulls {
        pull.wait().ok();
    }
    let asked = registry.asked();
    for digest in layout
        .blobs
        .keys()
        .filter(|d| asked.iter().any(|a| a.is_blob() && a.path.ends_with(*d)))
    {
        let times = asked
            .iter()
            .filter(|a| a.is_blob() && a.path.ends_with(digest))
            .count();
        let bytes = &layout.blobs[digest];
        // The config is part of the question.
        let most = if serde_json::from_slice::<serde_json::Value>(bytes).is_ok() {
            2
        } else {
            1
        };
        assert!(times <= most, "{digest}: {times}");
    }
    home.lazaret(["run", "--rm", &name, "cat", "/marker"])
        .run()
        .ok()
        .prints("both");
    home.lazaret(["verify", &name]).run().ok();
    assert!(list(&home.store().join("staging")).is_empty());
    home.clean();
}

/// Who waits for a failure is told of it at once.
#[test]
fn a_layer_that_failed_waits_for_no_slow_one() {
    need!("userns", "landlock");
    let home = Home::new();
    let layout = large();
    let registry = Registry::of(&layout.clone(), move |asked, _| {
        if asked.method != "GET" || !asked.is_blob() {
            return None;
        }
        let digest = asked.path.rsplit('/').next().unwrap();
        let bytes = &layout.blobs[digest];
        if bytes.first() == Some(&b'{') {
            return None;
        }
        if !is_large(&layout, asked) {
            return Some(Answer::nothing().pause(Duration::from_millis(300)).bytes(
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ));
        }
        let head = Answer::head(200, &[&format!("Content-Length: {}", bytes.len())]);
        Some((0..300).fold(head, |answer, at| {
            let piece = &bytes[at * 100..(at + 1) * 100];
            answer.bytes(piece).pause(Duration::from_millis(100))
        }))
    });
    let start = Instant::now();
    home.lazaret(["pull", &registry.image()])
        .run()
        .exits(125)
        .complains("404");
    assert!(start.elapsed() < Duration::from_secs(10));
    nothing_is_left(&home);
}

/// What the store has of a digest is as large as it is, whatever a manifest says of it.
#[test]
fn a_kept_blob_of_another_size_is_refused() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let right = Image::toolbox().build();
    let registry = Registry::of(&right, |_, _| None);
    home.lazaret(["pull", &registry.image()]).run().ok();
    let lying = Image::toolbox()
        .edit_manifest(|text| {
            let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
            let size = manifest["layers"][0]["size"].as_u64().unwrap();
            manifest["layers"][0]["size"] = (size - 1).into();
            manifest.to_string()
        })
        .build();
    let registry = Registry::of(&lying, |_, _| None);
    home.lazaret(["pull", &registry.image()])
        .run()
        .exits(125)
        .complains("the blob of that digest has");
    assert!(list(&home.store().join("staging")).is_empty());
    home.clean();
}

/// A tag's first meaning is that of an image that was whole.
#[test]
fn a_broken_image_gives_its_tag_no_meaning() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let (broken, right) = (large(), Image::toolbox().build());
    let lies = Arc::new(AtomicBool::new(true));
    let registry = Registry::new({
        let lies = Arc::clone(&lies);
        move |asked, _| match lies.load(Ordering::Relaxed) {
            true if is_large(&broken, asked) => {
                let digest = asked.path.rsplit('/').next().unwrap();
                let mut bytes = broken.blobs[digest].clone();
                *bytes.last_mut().unwrap() ^= 1;
                Answer::new(200, &[], bytes)
            }
            true => honest(&broken, asked),
            false => honest(&right, asked),
        }
    });
    let name = registry.image();
    home.lazaret(["pull", &name])
        .run()
        .exits(125)
        .complains("the bytes are");
    nothing_is_left(&home);
    lies.store(false, Ordering::Relaxed);
    home.lazaret(["pull", &name]).run().ok();
    home.clean();
}
