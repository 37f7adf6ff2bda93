//! What `--report FILE` costs a launch: the same line with and without, interleaved in one run.
//!
//! `cargo bench --bench report` prints the medians, their difference and the median of the
//! differences of neighbours, which drift of the machine does not move. `LAZARET_BENCH_ROUNDS`
//! (400), `LAZARET_BIN`.

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
    let report = home.path("r.json");
    let line = |flags: &[&OsString]| {
        let mut words = vec![bin().into_os_string(), "run".into(), "--rm".into()];
        words.extend(flags.iter().map(|flag| (*flag).clone()));
        words.extend([OsString::from(&image), "/bin/true".into()]);
        words
    };
    let plain = line(&[]);
    let reported = line(&[&"--report".into(), &report.into_os_string()]);
    // The first time unpacks.
    spawn_and_wait(&plain);
    spawn_and_wait(&reported);
    let (mut without, mut with, mut dearer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..measure::rounds(400) {
        let milliseconds = |words: &[OsString]| spawn_and_wait(words).as_secs_f64() * 1e3;
        let (a, b) = match round % 2 {
            0 => {
                let a = milliseconds(&plain);
                (a, milliseconds(&reported))
            }
            _ => {
                let b = milliseconds(&reported);
                (milliseconds(&plain), b)
            }
        };
        without.push(a);
        with.push(b);
        dearer.push(b - a);
    }
    let base = median(&without);
    let mut table = Table::new("start to exit of a static true");
    table.row("lazaret run --rm", &without, base);
    table.row("lazaret run --rm --report FILE", &with, base);
    table.print("without");
    let note = "median of the differences";
    measure::goal("a report, ms", median(&dearer), 0.1, note);
}
