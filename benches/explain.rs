//! What telling of refused system calls costs: a launch, an allowed call, a refused one; and what being
//! watched does to a build. Interleaved in one run and printed as ratios.
//!
//! `cargo bench --bench explain` holds a refused call against the least that a listener takes
//! (`notifier.c`). `LAZARET_BENCH_ROUNDS` (200), `LAZARET_BIN`, `LAZARET_TEST_DEBIAN` (a layout with gcc).

#![allow(
    clippy::unwrap_used,
    reason = "a bench fails by panicking, and its numbers are small"
)]

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::{Table, bin, median, spawn_and_wait};
use std::ffi::OsString;
use std::process::Stdio;
use support::{Entry, Home, Image, program};

fn main() {
    // `cargo test --all-targets` runs benches too, with --test; nothing to measure then.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let home = Home::new();
    measure::environment(&home);
    let inside = |name: &str| {
        let bytes = std::fs::read(program(name)).unwrap();
        Entry::file(format!("bin/{name}"), bytes).mode(0o755)
    };
    let image = Image::toolbox()
        .with(&[inside("scloop"), inside("denied")])
        .layout(&home, "small");
    let line = |flag: &str, command: &[&str]| {
        let mut words = vec![bin().into_os_string(), "run".into(), "--rm".into()];
        words.push(flag.into());
        words.push(OsString::from(&image));
        words.extend(command.iter().map(OsString::from));
        words
    };
    let rounds = measure::rounds(200);
    launch(&line, rounds);
    allowed(&line, rounds.div_ceil(20));
    refused(&home, &line, rounds.div_ceil(20));
    built(rounds.div_ceil(20));
}

/// Sources that each open a hundred headers, compiled one after another.
const BUILD: &str = "cd /tmp && for n in 1 2 3 4 5 6 7 8 9 10; do \
     for h in stdio stdlib string unistd sys/socket sys/stat netdb pthread; do echo \"#include <$h.h>\"; done > $n.c && \
     gcc -c $n.c || exit 1; done";

/// A build of many files, watched and not. In an image with gcc: `LAZARET_TEST_DEBIAN`, a layout with
/// the tag `stable`.
fn built(rounds: usize) {
    let Some(layout) = std::env::var_os("LAZARET_TEST_DEBIAN") else {
        measure::tell(
            "a build, watched: not measured, LAZARET_TEST_DEBIAN names no layout with gcc",
        );
        return;
    };
    let image = format!("oci:{}:stable", layout.to_str().unwrap());
    let line = |flag: &str| -> Vec<OsString> {
        let words = ["run", "--rm", flag, &image, "/bin/sh", "-c", BUILD];
        let words = words.map(OsString::from).into_iter();
        [bin().into_os_string()].into_iter().chain(words).collect()
    };
    let (off, full) = (line("--explain=off"), line("--explain=full"));
    printed(&off);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        without.push(spawn_and_wait(&off).as_secs_f64() * 1e3);
        with.push(spawn_and_wait(&full).as_secs_f64() * 1e3);
    }
    let base = median(&without);
    let mut table = Table::new("a build of many files, ms");
    table.row("--explain=off", &without, base);
    table.row("--explain=full", &with, base);
    table.print("off");
    measure::goal("a build, watched", median(&with) / base, 3.0, "");
}

type Line<'a> = &'a dyn Fn(&str, &[&str]) -> Vec<OsString>;

fn launch(line: Line<'_>, rounds: usize) {
    let (off, on) = (
        line("--explain=off", &["/bin/true"]),
        line("--explain", &["/bin/true"]),
    );
    spawn_and_wait(&off);
    spawn_and_wait(&on);
    let (mut without, mut with, mut dearer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let milliseconds = |words: &[OsString]| spawn_and_wait(words).as_secs_f64() * 1e3;
        let (a, b) = match round % 2 {
            0 => {
                let a = milliseconds(&off);
                (a, milliseconds(&on))
            }
            _ => {
                let b = milliseconds(&on);
                (milliseconds(&off), b)
            }
        };
        without.push(a);
        with.push(b);
        dearer.push(b - a);
    }
    let base = median(&without);
    let mut table = Table::new("start to exit of a static true");
    table.row("--explain=off", &without, base);
    table.row("--explain", &with, base);
    table.print("off");
    let note = "median of the differences";
    measure::goal("telling, ms", median(&dearer), 0.15, note);
}

/// What a command printed.
fn printed(words: &[OsString]) -> String {
    let out = measure::command(&words[0])
        .args(&words[1..])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success(), "{words:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn allowed(line: Line<'_>, rounds: usize) {
    let read = |flag: &str| {
        let text = printed(&line(flag, &["/bin/scloop", "300000"]));
        text.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        off.push(read("--explain=off"));
        on.push(read("--explain"));
    }
    let base = median(&off);
    let mut table = Table::new("an allowed system call, ns");
    table.row("--explain=off", &off, base);
    table.row("--explain", &on, base);
    table.print("off");
    measure::goal(
        "an allowed call, told of none",
        median(&on) / base,
        1.03,
        "",
    );
}

fn refused(home: &Home, line: Line<'_>, rounds: usize) {
    let notifier = measure::compile(home, "benches/notifier.c");
    let number = libc::SYS_unshare.to_string();
    let time = ["time", "20000", &number];
    let alone = |flags: &[&str]| -> Vec<OsString> {
        let mut words = vec![notifier.clone().into_os_string()];
        words.extend(flags.iter().map(OsString::from));
        words.push(program("denied").into_os_string());
        words.extend(time.iter().map(OsString::from));
        words
    };
    let (minimal, sync) = (alone(&[]), alone(&["-s"]));
    let inside = [&["/bin/denied"][..], &time].concat();
    let told = line("--explain", &inside);
    let plain = line("--explain=off", &inside);
    let read = |words: &[OsString]| printed(words).trim().parse::<f64>().unwrap() / 1e3;
    let (mut least, mut same) = (Vec::new(), Vec::new());
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        least.push(read(&minimal));
        same.push(read(&sync));
        with.push(read(&told));
        without.push(read(&plain));
    }
    let base = median(&least);
    let mut table = Table::new("a refused system call, us");
    table.row("notifier.c", &least, base);
    table.row("notifier.c, woken in step", &same, base);
    table.row("--explain", &with, base);
    table.row("--explain=off", &without, base);
    table.print("notifier.c");
    measure::goal(
        "a refused call, told",
        median(&with) / base,
        1.3,
        "of notifier.c",
    );
}
