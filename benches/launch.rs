//! What a launch costs, whole processes, interleaved in one run and printed as ratios.
//!
//! `cargo bench --bench launch` prints: start to exit of a static `true` beside the floor (our
//! `floor.c`, or another at `LAZARET_FLOOR` with the same arguments) and bubblewrap; the memory of
//! a supervisor and its init while the payload sleeps; 500 launches, 8 at a time, with what they
//! leave; the cost of an allowed system call inside. Goals are DESIGN.md's, "Speed"; a goal that is
//! missed is marked, and does not fail the run, because machines differ.
//!
//! `LAZARET_BENCH_ROUNDS` (200), `LAZARET_BIN` (another binary than the one just built).

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its numbers are small"
)]

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::{Table, bin, median, spawn_and_wait, tell};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Entry, Home, Image, Layer, program};

type Line = (String, Vec<OsString>);

fn main() {
    // `cargo test --all-targets` runs benches too, with --test; nothing to measure then.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let home = Home::new();
    measure::environment(&home);
    let small = Image::toolbox()
        .with(&[Entry::file("bin/scloop", std::fs::read(program("scloop")).unwrap()).mode(0o755)])
        .layout(&home, "small");
    let large = many_files().layout(&home, "large");
    let root = plain_root(&home);
    latency(&home, &small, &large, &root);
    memory(&small);
    throughput(&home, &small);
    system_calls(&small);
}

/// The image of 30,000 files in 10 layers, with the toolbox.
fn many_files() -> Image {
    let mut image = Image::toolbox();
    for layer in 0..10 {
        let mut entries = Vec::new();
        for file in 0..3000 {
            let path = format!("usr/lib/p{layer}/m{:02}/f{file:04}.py", file / 60);
            entries.push(Entry::file(path, format!("# {layer} {file}\n").repeat(8)));
        }
        image = image.with_layer(Layer::of(&entries));
    }
    image
}

/// The same insides as a plain folder, for launchers that know no images.
fn plain_root(home: &Home) -> PathBuf {
    let root = home.path("root");
    for dir in ["bin", "dev", "etc", "proc", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::copy(program("toolbox"), root.join("bin/toolbox")).unwrap();
    std::os::unix::fs::symlink("toolbox", root.join("bin/true")).unwrap();
    root
}

fn line(name: &str, words: &[&str]) -> Line {
    (name.to_owned(), words.iter().map(OsString::from).collect())
}

fn latency(home: &Home, small: &str, large: &str, root: &Path) {
    let floor = std::env::var("LAZARET_FLOOR")
        .ok()
        .map_or_else(|| measure::compile(home, "benches/floor.c"), PathBuf::from);
    let (floor, root) = (floor.display().to_string(), root.display().to_string());
    let scratch = home.path("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let scratch = scratch.display().to_string();
    let lazaret = bin().display().to_string();
    let mut lines = vec![
        line("spawn of true", &[&format!("{root}/bin/true")]),
        line("floor", &[&floor, &root, "/bin/true"]),
        line(
            "floor, overlay on tmpfs",
            &[&floor, "-o", &scratch, &root, "/bin/true"],
        ),
        line("lazaret --version", &[&lazaret, "version"]),
        line(
            "lazaret run --rm",
            &[&lazaret, "run", "--rm", small, "/bin/true"],
        ),
        line(
            "lazaret run --rm, from the store",
            &[
                &lazaret,
                "run",
                "--rm",
                "bench.invalid/small:1",
                "/bin/true",
            ],
        ),
        line(
            "lazaret run --rm, 30,000 files",
            &[&lazaret, "run", "--rm", large, "/bin/true"],
        ),
    ];
    if support::find("bwrap").is_some() {
        lines.push(line(
            "bwrap --unshare-all",
            &[
                "bwrap",
                "--unshare-all",
                "--die-with-parent",
                "--uid",
                "0",
                "--gid",
                "0",
                "--hostname",
                "box",
                "--cap-drop",
                "ALL",
                "--ro-bind",
                &root,
                "/",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--",
                "/bin/true",
            ],
        ));
    }
    let load = ["load", "-q", small, "bench.invalid/small:1"];
    let loaded = measure::command(bin())
        .args(load)
        .stdout(Stdio::null())
        .status();
    assert!(loaded.unwrap().success());
    let rounds = measure::rounds(200);
    let mut table = Table::new("start to exit of a static true");
    let samples = interleave(&lines, rounds);
    let base = median(&samples[1]);
    for ((name, _), times) in lines.iter().zip(&samples) {
        table.row(name, times, base);
    }
    table.print("floor");
    let of = |name: &str| {
        let at = lines.iter().position(|(n, _)| n == name)?;
        Some(median(&samples[at]))
    };
    if let Some(ours) = of("lazaret run --rm") {
        measure::goal("run --rm / floor", ours / base, 1.3, "Single map");
        if let Some(bwrap) = of("bwrap --unshare-all") {
            measure::goal("run --rm / bwrap", ours / bwrap, 0.75, "Single map");
        }
    }
    tell(&format!("id map: {}", measure::id_map()));
}

/// Milliseconds of each line, every line once per round, in an order that changes.
fn interleave(lines: &[Line], rounds: usize) -> Vec<Vec<f64>> {
    let mut samples = vec![Vec::new(); lines.len()];
    for (_, words) in lines {
        // The first time loads and unpacks.
        spawn_and_wait(words);
    }
    for round in 0..rounds {
        for i in 0..lines.len() {
            // A stride that is coprime to the count walks all of them, from another start.
            let at = (round + i * (1 + round % 2 * (lines.len() - 2))) % lines.len();
            samples[at].push(spawn_and_wait(&lines[at].1).as_secs_f64() * 1e3);
        }
    }
    samples
}

/// Proportional set size of the supervisor and of the cell's init while the payload sleeps, in kB,
/// without what the binary's own file backs (shared text).
fn memory(small: &str) {
    const COPIES: usize = 8;
    let mut running = Vec::new();
    for _ in 0..COPIES {
        let child = measure::command(bin())
            .args(["run", "--rm", small, "/bin/sleep", "60"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        running.push(child);
    }
    std::thread::sleep(Duration::from_millis(1500));
    let mut kinds: Vec<(&str, Vec<f64>)> = vec![("supervisor", vec![]), ("init", vec![])];
    for child in &running {
        let pid = child.id();
        kinds[0].1.extend(measure::private_pss(pid));
        for init in measure::children(pid) {
            kinds[1].1.extend(measure::private_pss(init));
        }
    }
    tell(&format!(
        "\nmemory beyond shared text, {COPIES} sleeping cells"
    ));
    for (name, values) in &kinds {
        match values.is_empty() {
            true => tell(&format!(
                "  {name:<12} not readable here (not dumpable; run as root)"
            )),
            false => tell(&format!("  {name:<12} {:>7.0} kB PSS", median(values))),
        }
    }
    if !kinds[0].1.is_empty() {
        measure::goal("supervisor PSS, kB", median(&kinds[0].1), 300.0, "");
    }
    for mut child in running {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// 500 launches, 8 at a time: none fails, nothing is left.
fn throughput(home: &Home, small: &str) {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let (total, at_once) = (500, 8);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::atomic::AtomicUsize::new(0);
    let started = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < total {
                    let out = measure::command(bin())
                        .args(["run", "--rm", small, "/bin/true"])
                        .output()
                        .unwrap();
                    if !out.status.success() {
                        failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        tell(&format!(
                            "  failed: {}",
                            String::from_utf8_lossy(&out.stderr)
                        ));
                    }
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(300));
    let left = measure::children(std::process::id());
    let root = home.root().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounted = mounts.lines().filter(|l| l.contains(&root)).count();
    let listed = measure::command(bin())
        .args(["ps", "-aq"])
        .output()
        .unwrap();
    let records = String::from_utf8_lossy(&listed.stdout).lines().count();
    tell(&format!(
        "\n{total} launches, {at_once} at a time: {:.0} per second",
        f64::from(total as u32) / seconds
    ));
    tell(&format!(
        "  failed {}, processes left {}, mounts left {mounted}, containers left {records}",
        failed.into_inner(),
        left.len()
    ));
}

/// Nanoseconds per allowed system call, inside and outside, alternating.
fn system_calls(small: &str) {
    let read = |command: &mut Command| {
        let out = command.output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let text = String::from_utf8(out.stdout).unwrap();
        let number = |i: usize| {
            text.split_whitespace()
                .nth(i)
                .unwrap()
                .parse::<f64>()
                .unwrap()
        };
        (number(1), number(3))
    };
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        outside.push(read(measure::command(program("scloop")).arg("500000")));
        inside.push(read(measure::command(bin()).args([
            "run",
            "--rm",
            small,
            "/bin/scloop",
            "500000",
        ])));
    }
    tell("\nan allowed system call, ns outside -> inside");
    for (name, take) in [("getpid", 0), ("read", 1)] {
        let of = |v: &[(f64, f64)]| median(&v.iter().map(|p| [p.0, p.1][take]).collect::<Vec<_>>());
        let (out, inn) = (of(&outside), of(&inside));
        tell(&format!("  {name:<8} {out:>7.1} -> {inn:>7.1}"));
        measure::goal(&format!("{name}, ns dearer"), inn - out, 45.0, "");
    }
}
