//! What both benches share: starting, timing, and tables of medians and ratios.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "each bench uses its part; a bench fails by panicking"
)]

pub mod layers;

use super::support::Home;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The binary that is measured.
pub fn bin() -> PathBuf {
    std::env::var_os("LAZARET_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_lazaret")),
        PathBuf::from,
    )
}

static ENVIRONMENT: OnceLock<Vec<(&str, PathBuf)>> = OnceLock::new();

/// Points everything that [`command`] starts at a private home.
pub fn environment(home: &Home) {
    let root = home.root();
    let set = vec![
        ("HOME", root.join("home")),
        ("XDG_DATA_HOME", root.join("data")),
        ("XDG_CONFIG_HOME", root.join("config")),
        ("XDG_RUNTIME_DIR", root.join("run")),
        ("LAZARET_STORE", root.join("data/lazaret")),
    ];
    ENVIRONMENT.set(set).unwrap();
}

/// A command in the private home, without standard input.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (key, value) in ENVIRONMENT.get().into_iter().flatten() {
        command.env(key, value);
    }
    command.stdin(Stdio::null());
    command
}

pub fn rounds(default: usize) -> usize {
    let asked = std::env::var("LAZARET_BENCH_ROUNDS").ok();
    asked.and_then(|r| r.parse().ok()).unwrap_or(default)
}

pub fn tell(line: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs it without streams; the wall time from before the spawn to after the wait.
#[track_caller]
pub fn spawn_and_wait(words: &[OsString]) -> Duration {
    let mut command = command(&words[0]);
    command
        .args(&words[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let status = command.spawn().unwrap().wait().unwrap();
    let took = start.elapsed();
    if !status.success() {
        let again = self::command(&words[0]).args(&words[1..]).output().unwrap();
        panic!(
            "{words:?}: {status}: {}",
            String::from_utf8_lossy(&again.stderr)
        );
    }
    took
}

/// A C program of this folder, static.
pub fn compile(home: &Home, source: &str) -> PathBuf {
    let out = home.path(Path::new(source).file_stem().unwrap());
    let done = Command::new("cc")
        .args(["-O2", "-static", "-o"])
        .arg(&out)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
        .status()
        .unwrap();
    assert!(done.success());
    out
}

/// Which ids cells have here.
pub fn id_map() -> &'static str {
    match super::support::check("no-subuids").is_ok() {
        true => "Single",
        false => "Range (goals are for Single: run as a user without subordinate ids)",
    }
}

/// One line that says whether a goal is met.
pub fn goal(what: &str, value: f64, most: f64, note: &str) {
    let verdict = if value <= most { "met" } else { "MISSED" };
    let note = if note.is_empty() {
        String::new()
    } else {
        format!(" ({note})")
    };
    tell(&format!(
        "goal {what}: {value:.2}, at most {most}{note}: {verdict}"
    ));
}

/// Times in milliseconds, as min, median, 95th percentile and ratio.
pub struct Table {
    title: String,
    rows: Vec<String>,
}

impl Table {
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, name: &str, times: &[f64], base: f64) {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let late = sorted[sorted.len() * 95 / 100];
        self.rows.push(format!(
            "  {name:<34} {:>5} {:>9.2} {:>9.2} {late:>9.2} {:>7.2}",
            sorted.len(),
            sorted[0],
            median(times),
            median(times) / base
        ));
    }

    pub fn print(&self, base: &str) {
        tell(&format!("\n{}", self.title));
        tell(&format!(
            "  {:<34} {:>5} {:>9} {:>9} {:>9} {:>7}",
            "",
            "n",
            "min ms",
            "median",
            "p95",
            format!("x {base}")
        ));
        self.rows.iter().for_each(|row| tell(row));
    }
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(candidate) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{candidate}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        if parent == Some(&pid.to_string()) {
            out.push(candidate);
        }
    }
    out
}

/// Kilobytes of proportional set size without mappings that the executable's file backs and
/// nothing has written; `None` where /proc does not tell.
pub fn private_pss(pid: u32) -> Option<f64> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let (mut total, mut counted) = (0.0, true);
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() >= 5 && words[0].contains('-') {
            let file = words.get(5).is_some_and(|name| name.starts_with('/'));
            counted = !file || words[1].contains('w');
        } else if counted && words.first() == Some(&"Pss:") {
            total += words[1].parse::<f64>().ok()?;
        }
    }
    (!smaps.is_empty()).then_some(total)
}
