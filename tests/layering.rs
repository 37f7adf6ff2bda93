//! The house rules, read from the sources (DESIGN.md, "The house"): imports point downward only,
//! `unsafe` lives in `sys`, only `report` and the probe print, `sandbox` knows no image and no
//! policy, the pure rooms touch neither files nor processes, and a file stays one sitting long.
//!
//! The sources are cut into tokens (comments, strings and lifetimes dropped), so that neither a
//! comment nor a string can trip or fool a rule, and `crate::`, `super::` and `self::` paths are
//! resolved through `use` groups and inline modules.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Layer of each room. A room may name rooms of its own layer and of the layers below.
const LAYERS: &[(&str, u8)] = &[
    ("cli", 6),
    ("oci", 6),
    ("engine", 5),
    ("build", 5),
    ("judge", 5),
    ("report", 5),
    ("probe", 5),
    ("container", 4),
    ("registry", 4),
    ("store", 4),
    ("worker", 4),
    ("host", 4),
    ("sandbox", 3),
    ("policy", 2),
    ("plan", 2),
    ("trust", 2),
    ("image", 1),
    ("error", 1),
    ("sys", 0),
];

/// What may point up, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    // An error carries the reasons of a refusal, which are plain data.
    ("error", "policy"),
    // A failed call is an error with its arguments; error.rs itself imports nothing of ours but
    // those reasons.
    ("sys", "error"),
];

/// What `sandbox` may name: it executes a plan and knows nothing else.
const SANDBOX_MAY: &[&str] = &["sandbox", "plan", "error", "sys"];

/// Rooms without any input or output: unit-test and fuzz surface.
const PURE: &[&str] = &["image", "policy", "plan", "trust"];

/// Crates and std modules that a pure room has no business naming, outside its unit tests.
const IMPURE: &[&str] = &["rustix", "nix", "landlock", "caps"];
const IMPURE_STD: &[&str] = &["fs", "net", "process", "env", "thread"];

/// What of those modules is plain data.
const HARMLESS: &[&str] = &["consts", "IpAddr", "Ipv4Addr", "Ipv6Addr"];

const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];
const PRINTERS: &[&str] = &["report", "probe"];
const MAX_LINES: usize = 700;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Ident(String),
    /// `::`
    PathSep,
    Punct(char),
}

/// Cuts Rust source into identifiers and punctuation, each with its line.
fn tokens(source: &str) -> Vec<(Token, usize)> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    while i < text.len() {
        let c = text[i];
        if c == '\n' {
            line += 1;
            i += 1;
        } else if c == '/' && at(i + 1) == '/' {
            while i < text.len() && text[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 1;
            i += 2;
            while i < text.len() && depth > 0 {
                match (text[i], at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    ('\n', _) => (line, i) = (line + 1, i + 1),
                    _ => i += 1,
                }
            }
        } else if let Some((hashes, start)) = raw_string(&text, i) {
            i = start;
            let mut close = String::from("\"");
            close.extend(std::iter::repeat_n('#', hashes));
            let close: Vec<char> = close.chars().collect();
            while i < text.len() && !text[i..].starts_with(&close) {
                line += usize::from(text[i] == '\n');
                i += 1;
            }
            i += close.len();
        } else if c == '"' {
            i += 1;
            while i < text.len() && text[i] != '"' {
                line += usize::from(text[i] == '\n');
                // The escaped character of a line continuation is the newline itself.
                if text[i] == '\\' {
                    i += 1;
                    line += usize::from(at(i) == '\n');
                }
                i += 1;
            }
            i += 1;
        } else if c == '\'' && at(i + 1) == '\\' {
            i += 3;
            while i < text.len() && text[i] != '\'' {
                i += 1;
            }
            i += 1;
        } else if c == '\'' && at(i + 2) == '\'' {
            i += 3;
        } else if c == '\'' {
            // A lifetime.
            i += 1;
            while at(i) == '_' || at(i).is_alphanumeric() {
                i += 1;
            }
        } else if c == '_' || c.is_alphanumeric() {
            let start = i;
            while at(i) == '_' || at(i).is_alphanumeric() {
                i += 1;
            }
            out.push((Token::Ident(text[start..i].iter().collect()), line));
        } else if c == ':' && at(i + 1) == ':' {
            out.push((Token::PathSep, line));
            i += 2;
        } else {
            if !c.is_whitespace() {
                out.push((Token::Punct(c), line));
            }
            i += 1;
        }
    }
    out
}

/// The number of hashes and the start of the text, if a raw string starts at `i`.
fn raw_string(text: &[char], i: usize) -> Option<(usize, usize)> {
    let rest = &text[i..];
    let before = i.checked_sub(1).map(|b| text[b]);
    if before.is_some_and(|c| c == '_' || c.is_alphanumeric()) {
        return None;
    }
    let prefix = ["r", "br", "cr"]
        .iter()
        .find(|p| rest.starts_with(&p.chars().collect::<Vec<_>>()))?
        .len();
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    (rest.get(prefix + hashes) == Some(&'"')).then_some((hashes, i + prefix + hashes + 1))
}

/// The module path of a source file below `src`: `store/layer.rs` is `[store, layer]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

fn layer(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(n, _)| *n == room).map(|(_, l)| *l)
}

/// One file under inspection.
struct File<'a> {
    /// Path below `src`.
    path: &'a Path,
    tokens: Vec<(Token, usize)>,
    complaints: Vec<String>,
}

impl File<'_> {
    fn complain(&mut self, line: usize, what: impl AsRef<str>) {
        let at = self.path.display();
        let complaint = format!("src/{at}:{line}: {}", what.as_ref());
        if !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }

    fn ident(&self, i: usize) -> Option<&str> {
        match self.tokens.get(i) {
            Some((Token::Ident(name), _)) => Some(name),
            _ => None,
        }
    }

    fn is(&self, i: usize, token: &Token) -> bool {
        self.tokens.get(i).is_some_and(|(t, _)| t == token)
    }

    /// Follows the path or use tree at `i` from module `base` and collects each absolute module
    /// path that it names (two segments are enough: room and what is taken from it).
    fn follow(&self, mut i: usize, mut base: Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
        loop {
            if self.is(i, &Token::Punct('{')) {
                i += 1;
                while i < self.tokens.len() && !self.is(i, &Token::Punct('}')) {
                    if self.is(i, &Token::Punct(',')) {
                        i += 1;
                    } else {
                        let next = self.follow(i, base.clone(), out);
                        // `as name` and whatever else stands before the next comma.
                        i = next.max(i + 1);
                        while i < self.tokens.len()
                            && !self.is(i, &Token::Punct(','))
                            && !self.is(i, &Token::Punct('}'))
                        {
                            i += 1;
                        }
                    }
                }
                return i + 1;
            }
            match self.ident(i) {
                Some("crate") => base.clear(),
                Some("self") => {}
                Some("super") => {
                    base.pop();
                }
                Some(name) => base.push(name.to_owned()),
                None => {
                    out.push(base);
                    return i;
                }
            }
            i += 1;
            if !self.is(i, &Token::PathSep) {
                out.push(base);
                return i;
            }
            i += 1;
        }
    }

    fn check(&mut self) {
        let module = module_of(self.path);
        let room = module.first().cloned();
        if let Some(room) = &room
            && layer(room).is_none()
        {
            self.complain(
                1,
                format!("room `{room}` has no layer in tests/layering.rs"),
            );
            return;
        }
        let room = room.as_deref();
        // Inline modules: (name, brace depth at which it ends).
        let (mut inline, mut depth): (Vec<(String, usize)>, usize) = (Vec::new(), 0);
        let mut i = 0;
        while i < self.tokens.len() {
            let (token, line) = self.tokens[i].clone();
            let in_tests = module
                .iter()
                .chain(inline.iter().map(|(name, _)| name))
                .any(|name| name == "tests");
            match &token {
                Token::Punct('{') => depth += 1,
                Token::Punct('}') => {
                    depth = depth.saturating_sub(1);
                    if inline.last().is_some_and(|(_, d)| *d == depth) {
                        inline.pop();
                    }
                }
                Token::Ident(word) => {
                    let word = word.as_str();
                    let after_sep = i > 0 && self.is(i - 1, &Token::PathSep);
                    let path_next = self.is(i + 1, &Token::PathSep);
                    let bang = self.is(i + 1, &Token::Punct('!'));
                    if word == "mod" && self.is(i + 2, &Token::Punct('{')) {
                        if let Some(name) = self.ident(i + 1) {
                            inline.push((name.to_owned(), depth));
                        }
                    } else if matches!(word, "crate" | "super" | "self") && path_next && !after_sep
                    {
                        let mut base = module.clone();
                        base.extend(inline.iter().map(|(name, _)| name.clone()));
                        let mut found = Vec::new();
                        let next = self.follow(i, base, &mut found);
                        for path in found {
                            self.check_import(room, &path, in_tests, line);
                        }
                        i = next;
                        continue;
                    } else if word == "unsafe" && room != Some("sys") {
                        self.complain(line, "`unsafe` belongs into src/sys");
                    } else if PRINTING.contains(&word)
                        && bang
                        && !in_tests
                        && !room.is_some_and(|r| PRINTERS.contains(&r))
                    {
                        self.complain(line, format!("`{word}!`: only report and probe print"));
                    }
                    if room.is_some_and(|r| PURE.contains(&r))
                        && !in_tests
                        && path_next
                        && !after_sep
                    {
                        self.check_pure(word, i, line);
                    }
                }
                _ => {}
            }
            i += 1;
        }
    }

    fn check_import(&mut self, room: Option<&str>, path: &[String], in_tests: bool, line: usize) {
        // lib.rs and main.rs stand on the roof.
        let (Some(room), Some(target)) = (room, path.first()) else {
            return;
        };
        let Some(to) = layer(target) else {
            self.complain(
                line,
                format!("`crate::{target}` is no room that this test knows"),
            );
            return;
        };
        if layer(room).is_some_and(|from| from < to) && !EXCEPTIONS.contains(&(room, target)) {
            self.complain(line, format!("`{room}` points up to `{target}`"));
        }
        if room == "sandbox" && !in_tests && !SANDBOX_MAY.contains(&target.as_str()) {
            self.complain(line, format!("`sandbox` must not know `{target}`"));
        }
    }

    fn check_pure(&mut self, word: &str, i: usize, line: usize) {
        if IMPURE.contains(&word) {
            self.complain(line, format!("a pure room names `{word}`"));
        }
        if word == "std" {
            let mut found = Vec::new();
            self.follow(i, Vec::new(), &mut found);
            for path in found {
                if let Some(part) = path.get(1)
                    && IMPURE_STD.contains(&part.as_str())
                    && !path.get(2).is_some_and(|p| HARMLESS.contains(&p.as_str()))
                {
                    self.complain(line, format!("a pure room names `std::{part}`"));
                }
            }
        }
    }
}

/// Every complaint about one source file.
fn inspect(path: &Path, source: &str) -> Vec<String> {
    let mut file = File {
        path,
        tokens: tokens(source),
        complaints: Vec::new(),
    };
    let lines = source.lines().count();
    if lines > MAX_LINES {
        file.complain(
            lines,
            format!("{lines} lines are two things (at most {MAX_LINES})"),
        );
    }
    file.check();
    file.complaints
}

/// Complaints about rooms without `forbid(unsafe_code)`: either in the room's own root file or as
/// an attribute on its `mod` line in lib.rs.
fn unforbidden(rooms: &[(String, String)], lib: &str) -> Vec<String> {
    let forbids = |text: &str, name: &str| {
        let wanted: Vec<Token> = tokens(text).into_iter().map(|(t, _)| t).collect();
        let pattern: Vec<Token> = tokens(&format!("#[forbid(unsafe_code)] pub mod {name};"))
            .into_iter()
            .map(|(t, _)| t)
            .collect();
        wanted.windows(pattern.len()).any(|w| w == pattern)
    };
    let own = |text: &str| {
        let found: Vec<Token> = tokens(text).into_iter().map(|(t, _)| t).collect();
        let pattern: Vec<Token> = tokens("#![forbid(unsafe_code)]")
            .into_iter()
            .map(|(t, _)| t)
            .collect();
        found.windows(pattern.len()).any(|w| w == pattern)
    };
    rooms
        .iter()
        .filter(|(name, text)| name != "sys" && !own(text) && !forbids(lib, name))
        .map(|(name, _)| format!("room `{name}` does not forbid(unsafe_code)"))
        .collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn the_sources_keep_the_house_rules() {
    let mut files = Vec::new();
    sources(&src(), &mut files);
    files.sort();
    assert!(files.len() > 10, "the sources were not found");
    let mut report = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for complaint in inspect(file.strip_prefix(src()).unwrap(), &text) {
            writeln!(report, "{complaint}").unwrap();
        }
    }
    assert!(report.is_empty(), "the house rules are broken:\n{report}");
}

#[test]
fn every_room_but_sys_forbids_unsafe_code() {
    let lib = std::fs::read_to_string(src().join("lib.rs")).unwrap();
    let mut rooms = Vec::new();
    for (name, _) in LAYERS {
        for file in [
            src().join(name).join("mod.rs"),
            src().join(format!("{name}.rs")),
        ] {
            if let Ok(text) = std::fs::read_to_string(file) {
                rooms.push(((*name).to_owned(), text));
            }
        }
    }
    let found = unforbidden(&rooms, &lib);
    assert!(found.is_empty(), "{found:#?}");
}

/// What the rules say of a synthetic source.
fn complaints(path: &str, source: &str) -> Vec<String> {
    inspect(Path::new(path), source)
}

#[test]
fn an_import_that_points_up_is_found_however_it_is_written() {
    for (path, source) in [
        ("sys/mod.rs", "use crate::image::Digest;"),
        (
            "image/digest.rs",
            "use crate::{error::Error, store::{self, Store}};",
        ),
        ("image/digest.rs", "fn f() { crate::store::open() }"),
        ("image/digest.rs", "use super::super::store::Store;"),
        ("image/mod.rs", "use super::store::Store;"),
        ("image/mod.rs", "use super::{error::Error, cli};"),
        (
            "image/mod.rs",
            "mod inner { use super::super::store::Store; }",
        ),
        ("image/mod.rs", "mod inner { } use super::store::Store;"),
        ("store/mod.rs", "use crate::\n    engine\n    ::run;"),
        ("plan/mod.rs", "/* \" */ use crate::host::probe; // '"),
        (
            "plan/mod.rs",
            "macro_rules! m { () => { $crate::sandbox::go() } }",
        ),
        ("error.rs", "type T = crate::plan::Plan;"),
        (
            "policy/mod.rs",
            "const C: &str = r#\"\"#; use crate::report::x as y;",
        ),
        (
            "policy/mod.rs",
            "fn f<'a>(c: char) -> bool { c == '\"' || crate::cli::f() }",
        ),
    ] {
        assert_eq!(complaints(path, source).len(), 1, "{path}: {source}");
    }
}

#[test]
fn an_import_that_points_down_or_sideways_passes() {
    for (path, source) in [
        (
            "cli/mod.rs",
            "use crate::{engine, report::Table, error::{Error, Kind}};",
        ),
        (
            "store/source/mod.rs",
            "use super::super::worker; use super::blobs; use self::x::y;",
        ),
        ("plan/mod.rs", "use crate::policy::Origin;"),
        ("error.rs", "pub reasons: Vec<crate::policy::Reason>,"),
        (
            "image/mod.rs",
            "// use crate::store::x\nconst A: &str = \"crate::store::x\";",
        ),
        (
            "image/mod.rs",
            "mod tests { use super::*; use super::digest::x; }",
        ),
        ("image/mod.rs", "pub(crate) fn f() {} pub(super) fn g() {}"),
        ("main.rs", "fn main() { lazaret::cli::main() }"),
    ] {
        assert_eq!(
            complaints(path, source),
            Vec::<String>::new(),
            "{path}: {source}"
        );
    }
}

#[test]
fn the_other_rules_bite_too() {
    let long = "\n".repeat(MAX_LINES + 1);
    for (path, source) in [
        ("store/mod.rs", "fn f() { unsafe { g() } }"),
        ("store/mod.rs", "unsafe impl Send for X {}"),
        ("store/mod.rs", "fn f() { eprintln!(\"x\") }"),
        ("sandbox/mod.rs", "use crate::policy::VerifyMode;"),
        ("sandbox/mod.rs", "use crate::image::Digest;"),
        ("image/mod.rs", "use std::{fmt, fs::File};"),
        ("plan/mod.rs", "fn f() { std::env::var(\"X\"); }"),
        ("plan/mod.rs", "use rustix::fs::open;"),
        ("nowhere/mod.rs", "fn f() {}"),
        ("image/mod.rs", "use crate::nowhere::x;"),
        ("image/mod.rs", long.as_str()),
    ] {
        assert_eq!(complaints(path, source).len(), 1, "{path}: {source:.80}");
    }
    for (path, source) in [
        ("sys/mod.rs", "fn f() { unsafe { g() } }"),
        (
            "image/mod.rs",
            "use std::net::Ipv6Addr; const A: &str = std::env::consts::ARCH;",
        ),
        ("sandbox/check/tests.rs", "use crate::image::Digest;"),
        ("report/mod.rs", "fn f() { eprintln!(\"x\") }"),
        (
            "plan/mod.rs",
            "mod tests { fn f() { std::fs::read(\"x\"); } }",
        ),
        ("store/mod.rs", "#![forbid(unsafe_code)]"),
    ] {
        assert_eq!(
            complaints(path, source),
            Vec::<String>::new(),
            "{path}: {source}"
        );
    }
}

#[test]
fn a_room_without_forbid_is_found() {
    let room = |text: &str| vec![("store".to_owned(), text.to_owned())];
    assert_eq!(unforbidden(&room("fn f() {}"), "pub mod store;").len(), 1);
    assert_eq!(
        unforbidden(&room("// #![forbid(unsafe_code)]"), "pub mod store;").len(),
        1
    );
    assert!(unforbidden(&room("//! x\n#![forbid(unsafe_code)]"), "pub mod store;").is_empty());
    assert!(unforbidden(&room(""), "#[forbid(unsafe_code)]\npub mod store;").is_empty());
}
