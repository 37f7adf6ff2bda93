//! What tests of reports and receipts share.

use super::{Home, Ran};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A home whose policy lets what is below its working folder be written, and that the ids inside can
/// reach.
pub fn home() -> Home {
    let home = Home::new();
    home.policy(
        "[[allow]]\nmounts = [\"./**:rw\"]\nlimits = { cpu = \"1s\" }\nreason = \"a test\"\n",
    );
    for folder in [home.root().to_owned(), home.path("")] {
        chmod(&folder, 0o755);
    }
    home
}

/// Changes the mode of a file.
pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A report as it was read, of the form that is published.
#[track_caller]
pub fn valid(text: &str) -> Value {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let report: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(&report)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{text}");
    report
}

/// Bytes of base64 of the standard alphabet.
pub fn base64(text: &Value) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => u32::from(b - b'A'),
        b'a'..=b'z' => u32::from(b - b'a') + 26,
        b'0'..=b'9' => u32::from(b - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{b}"),
    };
    let mut out = Vec::new();
    let text = text.as_str().unwrap().trim_end_matches('=').as_bytes();
    for four in text.chunks(4) {
        let bits = four.iter().fold(0, |bits, b| bits << 6 | digit(*b)) << (6 * (4 - four.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}

/// The folder of the home's key.
pub fn folder(home: &Home) -> PathBuf {
    home.root().join("config/lazaret/receipt")
}

/// Removes a receipt and returns its envelope and statement.
#[track_caller]
pub fn taken(path: &Path) -> (Value, Value) {
    let envelope: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let statement = serde_json::from_slice(&base64(&envelope["payload"])).unwrap();
    std::fs::remove_file(path).unwrap();
    (envelope, statement)
}

/// `run --rm --receipt c.json` with these words.
pub fn receipt(home: &Home, words: &[&str]) -> Ran {
    let flags = ["run", "--rm", "--receipt", "c.json"];
    home.lazaret(flags.iter().chain(words)).run()
}

/// `receipt verify` with these words.
pub fn verify(home: &Home, words: &[&str]) -> Ran {
    home.lazaret(["receipt", "verify"].iter().chain(words))
        .run()
}

/// Runs with these flags and a report; the run and what it was refused.
#[track_caller]
pub fn denials(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> (Ran, Vec<Value>) {
    let line = [
        &["run", "--rm", "--report", "r.json"],
        flags,
        &[image],
        command,
    ]
    .concat();
    let ran = home.lazaret(line).run();
    let text = std::fs::read_to_string(home.path("r.json"));
    let text = text.unwrap_or_else(|e| panic!("{e}\n{ran}"));
    std::fs::remove_file(home.path("r.json")).unwrap();
    let report = valid(&text);
    let denials = report["denials"].as_array();
    let denials = denials.unwrap_or_else(|| panic!("{report:#}\n{ran}"));
    (ran, denials.clone())
}
