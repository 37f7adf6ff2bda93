//! The report of a run (`--report`): one JSON document, whose form `docs/report.schema.json` says.

use super::clean::json_pretty_of;
use super::denials::Denial;
use super::grants::Given;
use crate::container::meter::Meter;
use crate::container::supervise;
use crate::error::{Error, Kind, Result};
use crate::image::{DiffId, Digest};
use crate::policy::{Downgrade, Grants, HostFacts, IdMapKind, LevelName, Locked, Reason};
use crate::sys::Usage;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The form's number: another one where a reader of this one would be misled.
const SCHEMA: u32 = 1;

/// A run as it is reported. What was not known when the run ended is `null`.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    schema: u32,
    lazaret: &'static str,
    /// `run` or `tool`.
    verb: &'static str,
    ended: Ended,
    /// lazaret's own exit code.
    exit_code: u8,
    /// The command's.
    code: Option<u8>,
    /// What ended the command.
    signal: Option<i32>,
    error: Option<Failure<'a>>,
    reasons: &'a [Reason],
    container: Option<&'a Container>,
    lock: Option<&'a Lock>,
    image: Option<&'a Image>,
    program: Option<Program<'a>>,
    policy: Option<&'a PolicyInForce>,
    /// sha256 of what `--dry-run --format json` prints.
    plan: Option<Digest>,
    grants: Option<Given<'a>>,
    /// What was refused; `null` where that was not told.
    denials: Option<&'a [Denial]>,
    downgrades: &'a [Downgrade],
    notes: Vec<&'a str>,
    times: Times<'a>,
    /// Bytes; the meter of memory says by whom they were counted.
    peak_memory: Option<u64>,
    meters: &'a [Meter],
    host: Option<Host<'a>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The command did, with a code.
    Exited,
    /// A signal ended the command.
    Signal,
    /// The time limit.
    Timeout,
    /// The limit of memory.
    Memory,
    /// The limit of processor time.
    Cpu,
    /// The limit of output.
    Output,
    /// The limit of the writable layer.
    Disk,
    /// Policy said no, and nothing ran.
    Denied,
    /// lazaret failed; where the command did not run, it never will have.
    Error,
}

#[derive(Debug, Serialize)]
struct Failure<'a> {
    kind: Kind,
    cause: &'a str,
    hint: Option<&'a str>,
    errno: Option<i32>,
    detail: &'a [String],
}

/// The container that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// `--name`, or the one that was made up.
    pub name: String,
}

/// The lock that a run was held to (`--locked`).
#[derive(Debug, Clone, Serialize)]
pub struct Lock {
    /// Where it is.
    pub file: String,
    /// sha256 of its bytes.
    pub digest: Digest,
    /// What it says of the image; `None`: nothing, and then nothing ran.
    pub entry: Option<Locked>,
}

impl Lock {
    /// What was locked, in a line.
    pub fn told(&self) -> String {
        match &self.entry {
            Some(entry) => format!("locked: {entry} is {} ({})", entry.manifest, self.file),
            None => format!("locked: {} does not name it", self.file),
        }
    }
}

/// The image that was run, each digest verified.
#[derive(Debug, Clone, Serialize)]
pub struct Image {
    /// As it was asked for, written out in full.
    pub asked: String,
    /// As policy calls it, or the place that was opened.
    pub canonical: String,
    /// The manifest's digest.
    pub manifest: Digest,
    /// The config's digest: docker's image id.
    pub config: Digest,
    /// Lowest first.
    pub layers: Vec<Layer>,
}

/// A layer of the image.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Layer {
    /// The blob's digest.
    pub digest: Digest,
    /// The digest of what it unpacks to.
    pub diff_id: DiffId,
    /// Bytes of the blob.
    pub size: u64,
}

#[derive(Debug, Serialize)]
struct Program<'a> {
    /// What was executed.
    path: &'a str,
    /// What its file was held to be.
    sha256: Option<Digest>,
}

/// The policy that decided.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyInForce {
    /// See [`crate::policy::Policy::digest`].
    pub digest: Digest,
    /// `--profile`.
    pub profile: Option<String>,
    /// Outermost first.
    pub levels: Vec<LevelName>,
}

#[derive(Debug, Serialize)]
struct Times<'a> {
    /// RFC 3339, UTC.
    started: String,
    wall_us: u64,
    user_us: Option<u64>,
    system_us: Option<u64>,
    stages: Vec<Stage<'a>>,
}

#[derive(Debug, Serialize)]
struct Stage<'a> {
    stage: &'a str,
    us: u64,
}

#[derive(Debug, Serialize)]
struct Host<'a> {
    /// `6.12`.
    kernel: String,
    architecture: &'a str,
    landlock_abi: u32,
    /// Who the ids inside are; `null` where it was not decided.
    id_map: Option<IdMapKind>,
    uid: u32,
    gid: u32,
}

/// What became known of a run, in the order in which it does.
#[derive(Debug, Default)]
pub struct Known {
    /// The machine.
    pub host: Option<HostFacts>,
    /// What the run was held to.
    pub lock: Option<Lock>,
    /// The image.
    pub image: Option<Image>,
    /// The policy.
    pub policy: Option<PolicyInForce>,
    /// What was said of where the policy comes from.
    pub notes: Vec<String>,
    /// What was granted.
    pub grants: Option<Grants>,
    /// The plan's digest.
    pub plan: Option<Digest>,
    /// The container.
    pub container: Option<Container>,
    /// How the command ended, if it ran.
    pub how: Option<supervise::Ended>,
    /// What it used, where all of that was counted.
    pub usage: Option<Usage>,
    /// What was counted.
    pub meters: Vec<Meter>,
    /// What was refused, where that was told.
    pub denials: Option<Vec<Denial>>,
}

/// When a run began and how long it and its stages took.
#[derive(Debug, Clone, Copy)]
pub struct Took<'a> {
    /// When.
    pub started: jiff::Timestamp,
    /// How long.
    pub wall: Duration,
    /// The stages; those whose names begin with a space are parts of the one above.
    pub stages: &'a [(&'static str, Duration)],
}

impl<'a> Report<'a> {
    /// The report of a run by `verb` that came to `done`.
    pub fn of(
        verb: &'static str,
        known: &'a Known,
        took: Took<'a>,
        done: std::result::Result<u8, &'a Error>,
    ) -> Self {
        use supervise::Ended as How;
        let error = done.err();
        let denied = |error: &&Error| error.kind == Kind::Policy || !error.reasons.is_empty();
        let (ended, code, signal) = match known.how {
            Some(How::Code(code)) => (Ended::Exited, Some(code), None),
            Some(How::Signal(signal)) => (Ended::Signal, None, Some(signal)),
            Some(How::Timeout) => (Ended::Timeout, None, None),
            Some(How::Memory) => (Ended::Memory, None, None),
            Some(How::CpuTime) => (Ended::Cpu, None, None),
            Some(How::Output) => (Ended::Output, None, None),
            Some(How::Disk) => (Ended::Disk, None, None),
            None if error.is_some_and(|e| denied(&e)) => (Ended::Denied, None, None),
            None => (Ended::Error, None, None),
        };
        let grants = known.grants.as_ref();
        let host = known.host.as_ref().map(|host| Host {
            kernel: format!("{}.{}", host.kernel.0, host.kernel.1),
            architecture: host.architecture,
            landlock_abi: host.landlock_abi,
            id_map: grants.map(|grants| grants.id_map.value),
            uid: host.uid,
            gid: host.gid,
        });
        let tool = grants.and_then(|grants| grants.tool.as_ref());
        let of_grants = grants.into_iter().flat_map(|grants| &grants.notes);
        Self {
            schema: SCHEMA,
            lazaret: env!("CARGO_PKG_VERSION"),
            verb,
            ended,
            exit_code: done.unwrap_or_else(Error::exit_code),
            code,
            signal,
            error: error.map(Failure::of),
            reasons: error.map_or(&[], |error| &error.reasons),
            container: known.container.as_ref(),
            lock: known.lock.as_ref(),
            image: known.image.as_ref(),
            program: tool.map(|tool| Program {
                path: &tool.value.program,
                sha256: tool.value.sha256.map(|(_, sha256)| sha256),
            }),
            policy: known.policy.as_ref(),
            plan: known.plan,
            grants: grants.map(Given),
            denials: known.denials.as_deref(),
            downgrades: grants.map_or(&[], |grants| &grants.downgrades),
            notes: known
                .notes
                .iter()
                .chain(of_grants)
                .map(String::as_str)
                .collect(),
            times: Times {
                started: took.started.to_string(),
                wall_us: micros(took.wall),
                user_us: known.usage.map(|usage| micros(usage.user)),
                system_us: known.usage.map(|usage| micros(usage.system)),
                stages: stages(took.stages),
            },
            peak_memory: known.peak_memory(),
            meters: &known.meters,
            host,
        }
    }

    /// The image, or the program whose file was held to be what was named: name and digest; `None`:
    /// neither was known by the end.
    pub fn subject(&self) -> Option<(&str, Digest)> {
        match (self.image, &self.program) {
            (Some(image), _) => Some((&image.canonical, image.manifest)),
            (None, Some(program)) => Some((program.path, program.sha256?)),
            (None, None) => None,
        }
    }

    /// The document, ending in a line feed.
    ///
    /// # Errors
    /// `Unsupported`: a value that JSON has no word for.
    pub fn text(&self) -> Result<String> {
        let text = json_pretty_of(self)
            .map_err(|e| Error::new(Kind::Unsupported, format!("report as JSON: {e}")))?;
        Ok(text + "\n")
    }
}

impl Known {
    /// What was counted of memory, by whoever counted more of it than one process.
    fn peak_memory(&self) -> Option<u64> {
        use crate::container::meter::What;
        let memory = self
            .meters
            .iter()
            .filter(|meter| meter.what == What::Memory);
        memory.filter_map(|meter| meter.used).max()
    }
}

impl<'a> Failure<'a> {
    fn of(error: &'a Error) -> Self {
        Self {
            kind: error.kind,
            cause: &error.cause,
            hint: error.hint.as_deref(),
            errno: error.errno,
            detail: &error.detail,
        }
    }
}

/// Without the parts, which only `--timings` has measured.
fn stages<'a>(stages: &'a [(&'static str, Duration)]) -> Vec<Stage<'a>> {
    let whole = stages.iter().filter(|(stage, _)| !stage.starts_with(' '));
    let shown = whole.map(|(stage, time)| Stage {
        stage,
        us: micros(*time),
    });
    shown.collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn report(known: &Known, done: std::result::Result<u8, &Error>) -> Value {
        let took = Took {
            started: jiff::Timestamp::UNIX_EPOCH,
            wall: Duration::from_millis(5),
            stages: &[("run", Duration::from_millis(3)), (" part", Duration::ZERO)],
        };
        let text = Report::of("run", known, took, done).text().unwrap();
        assert!(text.ends_with("}\n"));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn how_it_ended_is_one_word() {
        use supervise::Ended as How;
        let error = Error::new(Kind::CommandNotFound, "no \u{1b}[2J");
        let denied = Error::new(Kind::Policy, "refused by policy");
        let cases = [
            (Some(How::Code(7)), Ok(7), "exited", 7),
            (Some(How::Signal(9)), Ok(137), "signal", 137),
            (Some(How::Timeout), Ok(137), "timeout", 137),
            (Some(How::Memory), Ok(137), "memory", 137),
            (Some(How::CpuTime), Ok(137), "cpu", 137),
            (Some(How::Output), Ok(137), "output", 137),
            (Some(How::Disk), Ok(137), "disk", 137),
            (None, Err(&denied), "denied", 125),
            (None, Err(&error), "error", 127),
            // The command ended, and its output had nowhere to go.
            (Some(How::Code(0)), Err(&error), "exited", 127),
        ];
        for (how, done, ended, exit_code) in cases {
            let known = Known {
                how,
                ..Known::default()
            };
            let value = report(&known, done);
            assert_eq!(value["ended"], ended);
            assert_eq!(value["exit_code"], exit_code);
            assert_eq!(value["error"].is_null(), done.is_ok());
            assert_eq!(value["code"].is_u64(), matches!(how, Some(How::Code(_))));
        }
    }

    #[test]
    fn nothing_that_others_word_reaches_a_terminal() {
        let error = Error::new(Kind::Io, "\u{1b}[2J \u{202e}");
        let took = Took {
            started: jiff::Timestamp::UNIX_EPOCH,
            wall: Duration::ZERO,
            stages: &[],
        };
        let known = Known::default();
        let text = Report::of("run", &known, took, Err(&error)).text().unwrap();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["error"]["cause"], "\u{1b}[2J \u{202e}");
        assert_eq!(value["times"]["started"], "1970-01-01T00:00:00Z");
    }
}
