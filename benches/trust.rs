//! What a rule that wants signatures adds to a launch, once everything is kept: the same image without
//! such a rule, signed by a key in either form, and signed without one, interleaved in one run.
//!
//! `cargo bench --bench trust` prints the medians, and the medians of the differences of neighbours.
//! `LAZARET_BENCH_ROUNDS` (200), `LAZARET_BIN`.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench fails by panicking, its numbers are small, and it uses a part of the tests' helpers"
)]

#[path = "../tests/support/authority.rs"]
mod authority;
mod measure;
#[path = "../tests/signed_images/scene.rs"]
mod scene;
#[path = "../tests/support/signing.rs"]
mod signing;
#[path = "../tests/support/mod.rs"]
mod support;

use authority::{Authority, Wish};
use measure::{Table, bin, median, spawn_and_wait};
use scene::{BUNDLE, Scene, Way};
use signing::{How, Signer};
use std::ffi::OsString;

/// A pulled image whose registry is gone, in a home of its own.
fn pulled(mut scene: Scene) -> Scene {
    scene.pull().ok();
    scene.hang_up();
    scene
}

fn by_key(way: Way) -> Scene {
    let signer = Signer::new(How::P256);
    let scene = Scene::new(way.has_api());
    scene.key("lab.pub", &signer);
    scene.demands("[\"lab.pub\"]");
    scene.sign(way, &signer);
    pulled(scene)
}

fn keyless() -> Scene {
    let authority = Authority::new();
    let scene = Scene::new(true);
    scene.file("root.json", authority.root().to_string().as_bytes());
    let who = "issuer = \"https://accounts.lab.example\", identity = \"ana@lab.example\"";
    scene.demands(&format!("[{{ {who}, root = \"root.json\" }}]"));
    let bundle = authority.bundle(&Wish::new(&scene.manifest()));
    scene.attach_bundle(bundle.to_string().as_bytes(), Some(BUNDLE));
    pulled(scene)
}

/// The command line, in the scene's own home.
fn line(scene: &Scene) -> Vec<OsString> {
    let root = scene.home.root();
    let mut words: Vec<OsString> = vec!["env".into()];
    for (name, folder) in [
        ("HOME", "home"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_RUNTIME_DIR", "run"),
        ("LAZARET_STORE", "data/lazaret"),
    ] {
        let mut word = OsString::from(format!("{name}="));
        word.push(root.join(folder));
        words.push(word);
    }
    words.push(bin().into_os_string());
    for word in ["run", "--rm", &scene.name, "/bin/true"] {
        words.push(word.into());
    }
    words
}

fn main() {
    // `cargo test --all-targets` runs benches too, with --test; nothing to measure then.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let plain = pulled(Scene::new(true));
    // A policy file, as the others have one.
    plain.policy("");
    let scenes = [
        ("no rule wants a signature", plain, None),
        ("simple signing by a key", by_key(Way::Tag), Some(1.0)),
        ("a bundle by a key", by_key(Way::Api), Some(1.0)),
        ("a keyless bundle", keyless(), Some(3.0)),
    ];
    let lines: Vec<_> = scenes.iter().map(|(_, scene, _)| line(scene)).collect();
    let mut times = vec![Vec::new(); lines.len()];
    // The first time unpacks.
    for line in &lines {
        spawn_and_wait(line);
    }
    for round in 0..measure::rounds(200) {
        // Each begins a round in its turn.
        for at in 0..lines.len() {
            let which = (at + round) % lines.len();
            times[which].push(spawn_and_wait(&lines[which]).as_secs_f64() * 1e3);
        }
    }
    let base = median(&times[0]);
    let mut table = Table::new("start to exit of a static true, everything kept");
    for ((name, ..), times) in scenes.iter().zip(&times) {
        table.row(name, times, base);
    }
    table.print("without");
    for ((name, _, most), dearer) in scenes.iter().zip(&times) {
        let Some(most) = most else { continue };
        let pairs = dearer.iter().zip(&times[0]);
        let differences: Vec<f64> = pairs.map(|(with, without)| with - without).collect();
        let what = format!("{name}, ms");
        measure::goal(
            &what,
            median(&differences),
            *most,
            "median of the differences",
        );
    }
}
