//! SECURITY.md names a test behind each promise: each must exist, and each promise have one.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

use std::path::Path;

const ROW: &str = "protections: ";

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).ok()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// References to tests: `FILE.rs::NAME` and `protections: ROW`.
fn references(text: &str) -> Vec<&str> {
    quoted(text)
        .filter(|word| {
            word.contains(".rs::") || word.starts_with(ROW) && *word != "protections: NAME"
        })
        .collect()
}

/// Whether a reference leads to a test.
fn exists(reference: &str) -> bool {
    if let Some(row) = reference.strip_prefix(ROW) {
        let text = read("tests/protections.rs").unwrap();
        if let Some(attempt) = row.strip_prefix("worker: ") {
            let text = read("tests/protections/worker.rs").unwrap();
            return text.contains(&format!("    \"{attempt}\",\n"));
        }
        return text.contains(&format!("\"{row}\"")) || text.contains(&format!("test {row} ..."));
    }
    let Some((file, name)) = reference.split_once("::") else {
        return false;
    };
    let text = read(file).unwrap_or_default();
    // A file without libtest's harness lists its own.
    if file == "tests/fetch_worker.rs" {
        return text.contains(&format!("(\n        \"{name}\""))
            || text.contains(&format!("(\"{name}\","));
    }
    // A property test takes arguments.
    let at = text.find(&format!("fn {name}("));
    at.is_some_and(|at| text[..at].trim_end().ends_with("#[test]"))
}

#[test]
fn every_test_that_security_md_names_exists() {
    let text = read("SECURITY.md").unwrap();
    let references = references(&text);
    assert!(references.len() > 50, "{references:?}");
    let missing: Vec<&&str> = references.iter().filter(|r| !exists(r)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_promise_has_a_test() {
    let text = read("SECURITY.md").unwrap();
    let promises = text.split("## What is promised").nth(1).unwrap();
    let promises = promises.split("## Not promised").next().unwrap();
    let (mut rows, mut bare) = (0, Vec::new());
    for line in promises.lines().filter(|line| line.starts_with("| ")) {
        if line.starts_with("| outcome") {
            continue;
        }
        rows += 1;
        if references(line).is_empty() {
            bare.push(line);
        }
    }
    assert!(rows > 30, "{rows}");
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn every_protection_is_promised_somewhere() {
    let text = read("SECURITY.md").unwrap();
    let rows = read("tests/protections.rs").unwrap();
    let names: Vec<&str> = rows
        .split("row(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.starts_with("wrong "))
        .collect();
    assert!(names.len() > 30, "{names:?}");
    let silent: Vec<&&str> = names
        .iter()
        .filter(|name| !text.contains(&format!("`{ROW}{name}`")))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn a_test_that_is_not_there_is_missed() {
    assert!(exists("tests/security_md.rs::every_promise_has_a_test"));
    assert!(!exists("tests/security_md.rs::no_such_test"));
    assert!(!exists("tests/no_such_file.rs::no_such_test"));
    // A function that is no test.
    assert!(!exists("tests/zz_summary.rs::main"));
    assert!(!exists("protections: no such row"));
}
