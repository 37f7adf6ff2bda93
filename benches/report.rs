//! What `--report FILE` costs a launch: the same line with and without, interleaved in one run.
//!
//! `cargo bench --bench report` prints the medians, their difference and the median of the
//! differences of neighbours, which drift of the machine does not move: of a report to standard output,
//! of one in a new file, and of one where an older one is, which goes first.
//! `LAZARET_BENCH_ROUNDS` (400), `LAZARET_BIN`.

#![allow(
    clippy::unwrap_used,
    reason = "a bench fails by panicking, and its numbers are small"
)]

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::{Table, bin, median, spawn_and_wait};
use std::ffi::OsString;
use support::{Home, Image};

fn main() {
    // `cargo test --all-targets` runs benches too, with --test; nothing to measure then.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let home = Home::new();
    measure::environment(&home);
    let image = Image::toolbox().layout(&home, "small");
    let file = home.path("r.json");
    let line = |flags: &[&OsString]| {
        let mut words = vec![bin().into_os_string(), "run".into(), "--rm".into()];
        words.extend(flags.iter().map(|flag| (*flag).clone()));
        words.extend([OsString::from(&image), "/bin/true".into()]);
        words
    };
    let plain = line(&[]);
    let reported = line(&[&"--report".into(), &file.clone().into_os_string()]);
    let said = line(&[&"--report".into(), &"-".into()]);
    // The first time unpacks.
    spawn_and_wait(&plain);
    spawn_and_wait(&reported);
    let milliseconds = |words: &[OsString]| spawn_and_wait(words).as_secs_f64() * 1e3;
    let [mut without, mut out, mut new, mut over] = [const { Vec::new() }; 4];
    for round in 0..measure::rounds(400) {
        // In turn first to fourth.
        for place in 0..4 {
            match (round + place) % 4 {
                0 => without.push(milliseconds(&plain)),
                1 => out.push(milliseconds(&said)),
                2 => {
                    std::fs::remove_file(&file).unwrap();
                    new.push(milliseconds(&reported));
                }
                _ => over.push(milliseconds(&reported)),
            }
        }
    }
    let base = median(&without);
    let mut table = Table::new("start to exit of a static true");
    table.row("lazaret run --rm", &without, base);
    table.row("lazaret run --rm --report -", &out, base);
    table.row("lazaret run --rm --report FILE, new", &new, base);
    table.row(
        "lazaret run --rm --report FILE, where an older one is",
        &over,
        base,
    );
    table.print("without");
    let note = "median of the differences";
    for (what, with) in [
        ("a report to standard output, ms", &out),
        ("a report in a new file, ms", &new),
        ("a report where an older one is, ms", &over),
    ] {
        let dearer: Vec<f64> = with.iter().zip(&without).map(|(a, b)| a - b).collect();
        measure::goal(what, median(&dearer), 0.1, note);
    }
}
