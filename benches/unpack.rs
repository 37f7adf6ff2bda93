//! Load, verify and unpack beside `tar -xz` of the same layers, with peak memory.
//!
//! `cargo bench --bench unpack` measures the image of 30,000 files in 10 layers, and, where
//! `LAZARET_TEST_DEBIAN` names an OCI layout (see `.ci/run`), that Debian root too: some gigabytes until its end.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its numbers are small"
)]

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::layers::{extract, layer_files, layers_of, many_files, size_of, watched};
use measure::{Table, bin, median, tell};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use support::Home;

fn main() {
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let home = Home::new();
    measure::environment(&home);
    let many = many_files().build();
    many.write(&home.path("many"));
    let layers = layer_files(&home.path("many"), &many.layers);
    compare(
        &home,
        "10 layers, 30,000 files",
        &home.path("many"),
        "test",
        &layers,
    );
    if let Some(layout) = std::env::var_os("LAZARET_TEST_DEBIAN").map(PathBuf::from) {
        let layers = layers_of(&layout);
        compare(&home, "Debian root", &layout, "stable", &layers);
    }
}

fn compare(home: &Home, title: &str, layout: &Path, tag: &str, layers: &[PathBuf]) {
    let (mut tar, mut ours) = (Vec::new(), Vec::new());
    let mut peak = 0;
    let name = format!("oci:{}:{tag}", layout.display());
    for round in 0..measure::rounds(200).div_ceil(40) {
        let place = |who: &str| home.path(format!("{who}-{tag}-{round}"));
        let mut load = || {
            let mut load = measure::command(bin());
            load.env("LAZARET_STORE", place("store"))
                .args(["load", "-q", &name])
                .stdout(Stdio::null());
            let start = Instant::now();
            peak = peak.max(watched(&mut load));
            ours.push(start.elapsed().as_secs_f64() * 1e3);
        };
        // In turn first and second.
        if round % 2 == 1 {
            load();
            tar.push(extract(layers, &place("tar")));
        } else {
            tar.push(extract(layers, &place("tar")));
            load();
        }
    }
    let size = size_of(layers);
    let mut table = Table::new(&format!("{title}: {} MB compressed", size / 1_000_000));
    table.row("tar -xz of the layers", &tar, median(&tar));
    table.row("lazaret load (verify, unpack)", &ours, median(&tar));
    table.print("tar");
    measure::goal("load / tar -xz", median(&ours) / median(&tar), 1.0, title);
    measure::goal(
        "peak memory, MB",
        peak as f64 / 1024.0,
        64.0,
        "the whole family",
    );
    tell("");
}
