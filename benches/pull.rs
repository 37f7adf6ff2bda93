//! Pull, verify and unpack from a registry on loopback, beside `podman pull` of the same image and
//! `tar -xz` of the same layers, with peak memory.
//!
//! `cargo bench --bench pull` measures the image of 30,000 files in 10 layers, and, where
//! `LAZARET_TEST_DEBIAN` names an OCI layout (see `.ci/run`), that Debian root too. It wants Debian's
//! docker-registry and skopeo, and says so where podman is missing.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its numbers are small"
)]

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::layers::{extract, layer_files, layers_of, many_files, size_of, watched};
use measure::{Table, bin, median, tell};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{Home, Real};

fn main() {
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let home = Home::new();
    measure::environment(&home);
    for tool in ["docker-registry", "skopeo"] {
        if support::find(tool).is_none() {
            tell(&format!("{tool} is not installed: nothing is measured"));
            return;
        }
    }
    let registry = Real::start(&home, "", "");
    let many = many_files().build();
    many.write(&home.path("many"));
    let layers = layer_files(&home.path("many"), &many.layers);
    let title = "10 layers, 30,000 files";
    compare(&home, &registry, title, &home.path("many"), "test", &layers);
    if let Some(layout) = std::env::var_os("LAZARET_TEST_DEBIAN").map(PathBuf::from) {
        let layers = layers_of(&layout);
        compare(&home, &registry, "Debian root", &layout, "stable", &layers);
    }
}

fn quiet(program: &str, args: &[&str]) -> Command {
    let mut command = measure::command(support::find(program).unwrap());
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn timed(of: impl FnOnce()) -> f64 {
    let start = Instant::now();
    of();
    start.elapsed().as_secs_f64() * 1e3
}

fn compare(
    home: &Home,
    registry: &Real,
    title: &str,
    layout: &Path,
    tag: &str,
    layers: &[PathBuf],
) {
    let image = format!("127.0.0.1:{}/bench/{tag}:1", registry.port);
    let from = format!("oci:{}:{tag}", layout.display());
    let to = format!("docker://{image}");
    let sent = quiet(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            &from,
            &to,
        ],
    )
    .status()
    .unwrap();
    assert!(sent.success(), "skopeo copy {from} {to}: {sent}");

    let podman = support::find("podman").is_some();
    let state = home.path("podman-run").display().to_string();
    let (mut tar, mut theirs, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0;
    for round in 0..measure::rounds(200).div_ceil(40) {
        let place = |who: &str| home.path(format!("{who}-{tag}-{round}"));
        // In turn first, second and third.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => tar.push(extract(layers, &place("tar"))),
                1 => ours.push(timed(|| {
                    let mut pull = measure::command(bin());
                    pull.env("LAZARET_STORE", place("store"))
                        .args(["pull", "-q", &image])
                        .stdout(Stdio::null());
                    peak = peak.max(watched(&mut pull));
                })),
                _ if podman => theirs.push(timed(|| {
                    let root = place("podman").display().to_string();
                    let words = ["--root", &root, "--runroot", &state];
                    let words = [&words[..], &["pull", "-q", "--tls-verify=false", &image]];
                    let done = quiet("podman", &words.concat()).status().unwrap();
                    assert!(done.success(), "podman pull: {done}");
                })),
                _ => {}
            }
        }
    }
    let size = size_of(layers);
    let mut table = Table::new(&format!("{title}: {} MB compressed", size / 1_000_000));
    table.row("tar -xz of the layers", &tar, median(&tar));
    if podman {
        table.row("podman pull", &theirs, median(&tar));
    }
    table.row("lazaret pull (verify, unpack)", &ours, median(&tar));
    table.print("tar");
    measure::goal("pull / tar -xz", median(&ours) / median(&tar), 1.0, title);
    match podman {
        true => measure::goal(
            "pull / podman pull",
            median(&ours) / median(&theirs),
            0.5,
            title,
        ),
        false => tell("podman is not installed: nothing is compared with it"),
    }
    measure::goal(
        "peak memory, MB",
        peak as f64 / 1024.0,
        64.0,
        "the whole family",
    );
    tell("");
}
