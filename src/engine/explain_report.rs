//! `lazaret explain-report FILE`: a report of a run (`--report`), read back to people.
//!
//! The file may be anybody's: it is capped, refused unless it is what `docs/report.schema.json` says
//! of what is printed here, and its words are cleaned. Members that a later lazaret added are passed
//! over, as the schema promises to readers.

use super::ExplainReportRequest;
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::json::{Document, gate};
use crate::report::{self, By, Ended, Screen, clean, denial_lines, human_size, wrap};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use std::fmt;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

/// The largest report that is read, in bytes; one with every list at its bound has a tenth of it.
const MAX: u64 = 16 << 20;
/// The schema that is read.
const SCHEMA: u32 = 1;

const DOCUMENT: Document = Document {
    what: "report",
    max_bytes: MAX,
    names: &[
        "schema",
        "verb",
        "ended",
        "denials",
        "reasons",
        "error",
        "exit_code",
    ],
    objects: &["times", "policy"],
    list: false,
    // A grant's value may be anything, with names of its own.
    free: &["value"],
};

#[derive(Deserialize)]
struct Read {
    lazaret: String,
    verb: Verb,
    ended: Ended,
    exit_code: u8,
    code: Option<u8>,
    signal: Option<u8>,
    error: Option<Failure>,
    reasons: Vec<Reason>,
    image: Option<Image>,
    program: Option<Program>,
    policy: Option<Policy>,
    downgrades: Vec<Downgrade>,
    notes: Vec<String>,
    times: Times,
    peak_memory: Option<u64>,
    // A lazaret that told of no denials wrote none.
    #[serde(default)]
    denials: Option<Vec<Denial>>,
}

#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Run,
    Tool,
}

#[derive(Deserialize)]
struct Failure {
    cause: String,
    hint: Option<String>,
}

#[derive(Deserialize)]
struct Image {
    asked: String,
    manifest: String,
}

#[derive(Deserialize)]
struct Program {
    path: String,
}

#[derive(Deserialize)]
struct Policy {
    digest: String,
    profile: Option<String>,
}

#[derive(Deserialize)]
struct Downgrade {
    property: String,
    instead: String,
}

#[derive(Deserialize)]
struct Times {
    started: String,
    wall_us: u64,
}

#[derive(Deserialize)]
struct Reason {
    asked: String,
    rule: String,
    origin: Origin,
    why: String,
    cure: Vec<String>,
}

#[derive(Deserialize)]
struct Denial {
    call: String,
    program: Option<String>,
    count: u64,
    errno: u16,
    rule: String,
    origin: Origin,
    why: String,
    cure: Vec<String>,
}

/// [`crate::policy::Origin`], of a file.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    Rule {
        file: String,
        line: u64,
        builtin: bool,
    },
    Image(String),
    Flag(String),
    Always(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule {
                file,
                line,
                builtin,
            } => {
                let built_in = if *builtin { " (built in)" } else { "" };
                write!(f, "{file}:{line}{built_in}")
            }
            Self::Image(key) => write!(f, "image {key}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Always(why) => write!(f, "always: {why}"),
        }
    }
}

/// Prints the report.
///
/// # Errors
/// `Io`: it cannot be read, or standard output not written; `Limit`, `Malformed`: it is no report;
/// `Unsupported`: one of another form.
pub fn explain_report(request: &ExplainReportRequest) -> Result<u8> {
    let bytes = read(&request.file)?;
    let text = text(&bytes, Screen::stdout().columns)?;
    report::stdout(&text)?;
    Ok(0)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more than is taken, so that the gate says that it is too large.
    if path == Path::new("-") {
        let input = std::io::stdin().lock();
        let read = input.take(MAX + 1).read_to_end(&mut bytes);
        read.or_call(|| "read standard input")?;
        return Ok(bytes);
    }
    // A fifo in its place is not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).or_call(|| format!("open {path:?}"))?;
    let file = std::fs::File::from(file);
    let read = file.take(MAX + 1).read_to_end(&mut bytes);
    read.or_call(|| format!("read {path:?}"))?;
    Ok(bytes)
}

fn text(bytes: &[u8], columns: Option<usize>) -> Result<String> {
    #[derive(Deserialize)]
    struct Form {
        schema: u32,
    }
    let gated = gate(bytes, &DOCUMENT)?;
    let Form { schema } = gated.read()?;
    if schema != SCHEMA {
        let cause = format!("the report has the form {schema}; {SCHEMA} is read here");
        return Err(Error::new(Kind::Unsupported, cause)
            .hint("the lazaret that wrote it reads it; `lazaret` in it says which that is"));
    }
    Ok(people(&gated.read()?, columns))
}

fn people(report: &Read, columns: Option<usize>) -> String {
    let mut out = String::new();
    let width = columns.unwrap_or(usize::MAX);
    let mut put = |what: &str, text: &str| {
        let text = wrap(&clean(text), width, 10, 10);
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{what:<9} {text}");
    };
    let what = match (report.verb, &report.image, &report.program) {
        (Verb::Tool, _, Some(program)) => format!("tool {:?}", program.path),
        (Verb::Tool, ..) => "tool".to_owned(),
        (Verb::Run, Some(image), _) => format!("run {} ({})", image.asked, image.manifest),
        (Verb::Run, ..) => "run".to_owned(),
    };
    put("what", &what);
    put("ended", &ended(report));
    let milliseconds = report.times.wall_us / 1000;
    let (started, lazaret) = (&report.times.started, &report.lazaret);
    put(
        "when",
        &format!("{started}, {milliseconds} ms; lazaret {lazaret}"),
    );
    if let Some(bytes) = report.peak_memory {
        put("memory", &format!("{} at most", human_size(bytes)));
    }
    if let Some(policy) = &report.policy {
        let profile = policy.profile.as_ref();
        let profile = profile.map_or(String::new(), |name| format!(", --profile {name}"));
        put("policy", &format!("{}{profile}", policy.digest));
    }
    for downgrade in &report.downgrades {
        put(
            "weaker",
            &format!("\"{}\": {}", downgrade.property, downgrade.instead),
        );
    }
    for note in &report.notes {
        put("note", note);
    }
    if let Some(error) = &report.error {
        put("error", &error.cause);
        if let Some(hint) = &error.hint {
            put("hint", hint);
        }
    }
    for reason in &report.reasons {
        put("asked", &reason.asked);
        put("rule", &format!("{} ({})", reason.rule, reason.origin));
        put("why", &reason.why);
        for line in &reason.cure {
            put("cure", line);
        }
    }
    match &report.denials {
        None => put("denials", "not told"),
        Some(denials) if denials.is_empty() => put("denials", "none"),
        Some(denials) => out.push_str(&lines(denials, columns)),
    }
    out
}

fn lines(denials: &[Denial], columns: Option<usize>) -> String {
    let origins: Vec<String> = denials.iter().map(|d| d.origin.to_string()).collect();
    let all = denials.iter().zip(&origins).map(|(denial, origin)| By {
        call: &denial.call,
        program: denial.program.as_deref(),
        count: denial.count,
        errno: denial.errno,
        rule: &denial.rule,
        origin,
        why: &denial.why,
        cure: &denial.cure,
    });
    denial_lines("", &all.collect::<Vec<_>>(), columns, usize::MAX)
}

fn ended(report: &Read) -> String {
    let how = match report.ended {
        Ended::Exited => format!("the command, with {}", report.code.unwrap_or_default()),
        Ended::Signal => format!("by signal {}", report.signal.unwrap_or_default()),
        Ended::Timeout => "killed: the time limit".to_owned(),
        Ended::Memory => "killed: the memory limit".to_owned(),
        Ended::Cpu => "killed: the limit of processor time".to_owned(),
        Ended::Output => "killed: the output limit".to_owned(),
        Ended::Disk => "killed: the limit of the writable layer".to_owned(),
        Ended::Denied => "refused by policy, nothing ran".to_owned(),
        Ended::Error => "lazaret failed".to_owned(),
    };
    format!("{how}; exit code {}", report.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sample() -> Value {
        json!({
            "schema": 1, "lazaret": "0.1.0", "verb": "run", "ended": "exited", "exit_code": 3,
            "code": 3, "signal": null, "error": null, "reasons": [], "image": null,
            "program": null, "policy": null, "downgrades": [], "notes": ["\u{1b}[2Jnote"],
            "times": {"started": "2026-11-26T00:00:00Z", "wall_us": 12_345},
            "peak_memory": null, "grants": [{"what": "env", "value": {"A": 1, "a": 2}}],
            "denials": [{
                "call": "bpf(BPF_PROG_LOAD, ...)", "number": 321, "program": "/bin/x\u{1b}[2J",
                "count": 2, "errno": 38, "rule": "syscalls = \"default\"",
                "origin": {"rule": {"file": "strict.toml", "line": 31, "builtin": true}},
                "why": "large interfaces", "cure": [],
            }],
        })
    }

    fn read(value: &Value) -> Result<String> {
        text(value.to_string().as_bytes(), Some(80))
    }

    #[test]
    fn a_report_is_read_back_and_cleaned() {
        let text = read(&sample()).unwrap();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("the command, with 3; exit code 3"), "{text}");
        assert!(
            words.contains("denied: bpf(BPF_PROG_LOAD, ...) by"),
            "{text}"
        );
        assert!(words.contains("ENOSYS of syscalls = \"default\""), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        let mut untold = sample();
        untold.as_object_mut().unwrap().remove("denials");
        assert!(read(&untold).unwrap().contains("not told"));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for (key, value, kind) in [
            ("schema", json!(2), Kind::Unsupported),
            ("schema", json!("1"), Kind::Malformed),
            ("ended", json!("sometime"), Kind::Malformed),
            ("exit_code", json!(256), Kind::Malformed),
            ("reasons", json!(null), Kind::Malformed),
            ("denials", json!([{"call": 1}]), Kind::Malformed),
            ("times", json!([]), Kind::Malformed),
        ] {
            let mut bad = sample();
            bad[key] = value;
            assert_eq!(read(&bad).unwrap_err().kind, kind, "{key}");
        }
        let mut less = sample();
        less.as_object_mut().unwrap().remove("notes");
        assert_eq!(read(&less).unwrap_err().kind, Kind::Malformed);
        let twice = sample().to_string().replacen('{', "{\"verb\":\"tool\",", 1);
        assert_eq!(
            text(twice.as_bytes(), None).unwrap_err().kind,
            Kind::Malformed
        );
        let large = vec![b' '; usize::try_from(MAX).unwrap() + 1];
        assert_eq!(text(&large, None).unwrap_err().kind, Kind::Limit);
    }
}
