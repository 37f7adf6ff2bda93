//! What tests of `lazaret learn` share.

use super::reports::chmod;
use super::{Home, Ran};
use serde_json::Value;
use std::collections::BTreeSet;

/// `learn FLAGS -- RUN`.
pub fn learn(home: &Home, flags: &[&str], run: &[&str]) -> Ran {
    let line = ["learn"].iter().chain(flags).chain(&["--"]).chain(run);
    home.lazaret(line.collect::<Vec<_>>()).run()
}

/// The values of a key in all rules of a word.
pub fn values(policy: &toml::Table, word: &str, key: &str) -> BTreeSet<String> {
    let rules = policy.get(word).and_then(|rules| rules.as_array());
    let lists = rules.into_iter().flatten().filter_map(|rule| rule.get(key));
    let lists = lists.filter_map(|list| list.as_array()).flatten();
    lists
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

/// A set of words.
pub fn set(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

/// A policy as a table.
pub fn policy(home: &Home, file: &str) -> toml::Table {
    std::fs::read_to_string(home.path(file))
        .unwrap()
        .parse()
        .unwrap()
}

/// The names of a learnt profile of system calls.
pub fn calls(home: &Home, file: &str) -> BTreeSet<String> {
    let json: Value = serde_json::from_slice(&std::fs::read(home.path(file)).unwrap()).unwrap();
    let groups = json["syscalls"].as_array().unwrap();
    let names = groups
        .iter()
        .flat_map(|group| group["names"].as_array().unwrap());
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Puts a learnt policy where `--profile` finds it.
pub fn install(home: &Home, file: &str) {
    let folder = home.policy("").parent().unwrap().join("profiles");
    std::fs::create_dir_all(&folder).unwrap();
    chmod(&folder, 0o700);
    std::fs::copy(home.path(file), folder.join(file)).unwrap();
    chmod(&folder.join(file), 0o600);
}

/// The flags of a run under `learnt.toml`, with all that is refused told.
pub const UNDER: [&str; 5] = [
    "--explain=full",
    "--profile",
    "learnt",
    "--security-opt",
    "seccomp=learnt.seccomp.json",
];

/// The names of the calls in what `strace -f -o` wrote.
pub fn strace_calls(log: &str) -> BTreeSet<String> {
    let names = log.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let call = match words.next()? {
            "<..." => words.next()?,
            call => call,
        };
        let other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let end = call.find(other).unwrap_or(call.len());
        Some(call[..end].to_owned()).filter(|name| !name.is_empty())
    });
    names.collect()
}
