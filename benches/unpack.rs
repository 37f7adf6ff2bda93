//! Load, verify and unpack beside `tar -xz` of the same layers, with peak memory.
//!
//! `cargo bench --bench unpack` measures the image of 30,000 files in 10 layers, and, where
//! `LAZARET_TEST_DEBIAN` names an OCI layout (see `.ci/run`), that Debian root too.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its numbers are small"
)]

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::{Table, bin, median, tell};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{Entry, Home, Image, Layer};

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

/// 30,000 files of a few kilobytes in 10 layers, about 120 MB; contents compress like sources do.
fn many_files() -> Image {
    let mut layers = Vec::new();
    let mut seed = 7_u64;
    for layer in 0..10 {
        let mut entries = Vec::new();
        for file in 0..3000 {
            let path = format!("usr/lib/p{layer}/m{:02}/f{file:04}.py", file / 60);
            let mut text = format!("# {layer} {file}\n");
            while text.len() < 4000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (a, b) = (seed >> 60, seed >> 40 & 0xffff);
                text.push_str(&format!(
                    "    def method_{a}(self, value): return self.table[{b}] + value\n"
                ));
            }
            entries.push(Entry::file(path, text));
        }
        layers.push(Layer::of(&entries));
    }
    Image::new(layers)
}

fn layer_files(layout: &Path, digests: &[String]) -> Vec<PathBuf> {
    let file = |d: &String| layout.join("blobs").join(d.replacen(':', "/", 1));
    digests.iter().map(file).collect()
}

/// The layer blobs of the first manifest of a layout's index.
fn layers_of(layout: &Path) -> Vec<PathBuf> {
    let read = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let index = read(layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = read(layer_files(layout, &[digest]).remove(0));
    let digests: Vec<String> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["digest"].as_str().unwrap().to_owned())
        .collect();
    layer_files(layout, &digests)
}

fn compare(home: &Home, title: &str, layout: &Path, tag: &str, layers: &[PathBuf]) {
    let rounds = measure::rounds(200).div_ceil(40);
    let (mut tar, mut ours) = (Vec::new(), Vec::new());
    let mut peak = 0;
    let size: u64 = layers
        .iter()
        .map(|l| std::fs::metadata(l).unwrap().len())
        .sum();
    for _ in 0..rounds {
        let out = home.path("extracted");
        std::fs::create_dir(&out).unwrap();
        let start = Instant::now();
        for layer in layers {
            let done = Command::new("tar")
                .args(["--exclude=./dev/*", "--exclude=dev/*", "-xzf"])
                .arg(layer)
                .arg("-C")
                .arg(&out)
                .status()
                .unwrap();
            assert!(done.success());
        }
        tar.push(start.elapsed().as_secs_f64() * 1e3);
        support::remove(&out);

        let name = format!("oci:{}:{tag}", layout.display());
        let start = Instant::now();
        let child = measure::command(bin())
            .args(["load", "-q", &name])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = child;
        let pid = child.id();
        let status = loop {
            // The sum over the whole family, as the kernel keeps each one's peak.
            peak = peak.max(family_peak(pid));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        ours.push(start.elapsed().as_secs_f64() * 1e3);
        assert!(status.success(), "{name}: {status}");
        support::remove(&home.root().join("data"));
        std::fs::create_dir(home.root().join("data")).unwrap();
    }
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

/// Kilobytes of peak resident memory, summed over a process and its descendants.
fn family_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    own + measure::children(pid)
        .into_iter()
        .map(family_peak)
        .sum::<u64>()
}
