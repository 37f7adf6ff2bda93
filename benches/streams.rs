//! What passes a cell's streams beside what passes a bare pipe, interleaved in one run.
//!
//! `cargo bench --bench streams` prints the time for a gigabyte into a command, out of one, and
//! through one. A goal that is missed is marked, and does not fail the run.
//!
//! `LAZARET_BENCH_ROUNDS` (7), `LAZARET_BIN` (another binary than the one just built).

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::{Table, bin, goal, median, spawn_and_wait};
use std::ffi::OsString;
use support::{Home, Image, program};

/// The name, the shell's pipeline with `@` for the start of a command in a cell or without.
const CASES: [(&str, &str); 3] = [
    ("in", "head -c 1G /dev/zero | @ cat >/dev/null"),
    ("out", "@ cat /dev/zero | head -c 1G | wc -c"),
    ("through", "head -c 1G /dev/zero | @ cat | wc -c"),
];

fn main() {
    // `cargo test --all-targets` runs benches too, with --test; nothing to measure then.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let home = Home::new();
    measure::environment(&home);
    let image = Image::toolbox().layout(&home, "small");
    let cell = format!("{} run --rm -i {image}", bin().display());
    let bare = program("toolbox").display().to_string();
    let mut table = Table::new("1 GiB, ms");
    let mut met = Vec::new();
    for (name, pipeline) in CASES {
        let line = |start: &str| -> Vec<OsString> {
            let script = pipeline.replace('@', start);
            ["sh", "-c", &script].map(OsString::from).into()
        };
        let (mut in_cell, mut without) = (Vec::new(), Vec::new());
        for _ in 0..measure::rounds(7) {
            without.push(spawn_and_wait(&line(&bare)).as_secs_f64() * 1e3);
            in_cell.push(spawn_and_wait(&line(&cell)).as_secs_f64() * 1e3);
        }
        let base = median(&without);
        table.row(&format!("{name}: bare"), &without, base);
        table.row(&format!("{name}: lazaret"), &in_cell, base);
        met.push((name, median(&in_cell) / base));
    }
    table.print("bare");
    for (name, ratio) in met {
        goal(
            &format!("time {name} / bare pipe"),
            ratio,
            1.0 / 0.6,
            "60% of its speed",
        );
    }
}
