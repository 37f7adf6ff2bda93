//! The answer: grants with their origins, or reasons.

use super::facts::Cgroup;
use super::ulimits::Ulimit;
use crate::image::Digest;
use crate::plan::seccomp::{Observe, Profile};
use std::fmt;
use std::time::Duration;

/// Where a setting comes from; printed beside each step of `--dry-run`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A policy rule: `strict.toml:29 (built in)`.
    Rule {
        file: String,
        line: usize,
        builtin: bool,
    },
    /// The image's config: `config.Env`.
    Image(&'static str),
    /// A flag on the command line: `-e`.
    Flag(&'static str),
    /// Lazaret always does this; the text says for what property.
    Always(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule {
                file,
                line,
                builtin: true,
            } => write!(f, "{file}:{line} (built in)"),
            Self::Rule {
                file,
                line,
                builtin: false,
            } => write!(f, "{file}:{line}"),
            Self::Image(key) => write!(f, "image {key}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Always(why) => write!(f, "always: {why}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Granted<T> {
    /// The value.
    pub value: T,
    /// The rule, flag or image key behind it.
    pub origin: Origin,
}

/// How unpacked layers are checked at each run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum VerifyMode {
    /// Type, size, mtime, ctime and inode of every file against the record.
    Stat,
    /// All hashes.
    Full,
}

/// What network the cell has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A namespace of its own with lo and nothing else.
    None,
    /// The host's.
    Host,
}

impl Network {
    /// As rules and flags spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
        }
    }

    /// The network of a name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::None, Self::Host]
            .into_iter()
            .find(|network| network.name() == name)
    }
}

/// What a run tells of that its cell was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Explain {
    /// Nothing: the filter of system calls answers by itself.
    Off,
    /// System calls that the filter refuses.
    Calls,
    /// Those, and what the kernel refuses because of how the cell is made: files, programs, sockets,
    /// other users.
    Full,
    /// Those, and all that the kernel lets pass: what `lazaret learn` sets, and no rule or flag spells.
    Learn,
}

impl Explain {
    /// As rules and flags spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Calls => "calls",
            Self::Full => "full",
            Self::Learn => "learn",
        }
    }

    /// That of a name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Off, Self::Calls, Self::Full]
            .into_iter()
            .find(|explain| explain.name() == name)
    }

    /// Whether refused system calls are told.
    pub fn calls(self) -> bool {
        self != Self::Off
    }

    /// Which calls are watched that pass.
    pub fn observes(self) -> Option<Observe> {
        match self {
            Self::Off | Self::Calls => None,
            Self::Full => Some(Observe::Outcomes),
            Self::Learn => Some(Observe::Everything),
        }
    }
}

/// Which ids a cell has (DESIGN.md, "Who the payload is").
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdMapKind {
    /// One id inside, and it is the caller's.
    Single,
    /// Subordinate ids; no id inside is the caller.
    Range,
    /// Subordinate ids, and one inside is the caller and has its number.
    Keep,
}

/// A tmpfs that a cell has beside its root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TmpfsMount {
    /// Absolute path inside.
    pub path: String,
    /// Size limit in bytes.
    pub size: u64,
    /// Permission bits of its root.
    pub mode: u32,
    /// It stays empty.
    pub read_only: bool,
}

/// A device of the host that a cell may use.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeviceMount {
    /// Its real path outside.
    pub source: String,
    /// Absolute path inside, below /dev.
    pub target: String,
    /// Its device number.
    pub major: u32,
    /// Its device number.
    pub minor: u32,
    /// As [`BindMount::number`]; the devices are counted on behind the binds.
    pub number: usize,
}

/// A folder or file of the host that a cell sees.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BindMount {
    /// Its real path outside.
    pub source: String,
    /// Absolute path inside.
    pub target: String,
    /// A folder; else a regular file.
    pub folder: bool,
    /// It is not written to.
    pub read_only: bool,
    /// Nothing in it is executed.
    pub no_exec: bool,
    /// Which of the request's binds it is: what was opened and judged under this number is mounted.
    pub number: usize,
}

/// A promise held by less than the best mechanism, because policy or this kernel says so: one
/// printed line, and a line in the report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Downgrade {
    /// The property: `payload ids are not the caller's`.
    pub property: String,
    /// What holds it instead, or what is lost.
    pub instead: String,
    /// The remedy.
    pub hint: String,
}

/// What all processes of a cell together may take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Memory, in bytes.
    pub memory: Option<Granted<u64>>,
    /// Swap beside the memory, in bytes; 0 where none was asked for, `u64::MAX`: no bound.
    pub swap: Option<Granted<u64>>,
    /// Processors at once, in thousandths of one.
    pub cpus: Option<Granted<u64>>,
    /// Processor time of all processes together.
    pub cpu_time: Option<Granted<Duration>>,
    /// Bytes of standard output and standard error together.
    pub output: Option<Granted<u64>>,
    /// The writable layer, in bytes; it is in [`Grants::tmp`] by now.
    pub disk: Option<Granted<u64>>,
    /// Where the cell's own cgroup is made; `None`: it has none.
    pub cgroup: Option<Cgroup>,
}

/// What a cell without an image stands on, beside its binds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ToolRoot {
    /// Links of the root: path and target.
    pub links: Vec<(String, String)>,
    /// The path that is executed.
    pub program: String,
    /// Which bind is the program, and what it must be: a copy of it is hashed and executed.
    pub sha256: Option<(usize, Digest)>,
}

/// Everything a cell is given. Made only by `decide`.
#[derive(Debug, Clone)]
pub struct Grants {
    /// The id map.
    pub id_map: Granted<IdMapKind>,
    /// The network.
    pub network: Granted<Network>,
    /// Capability names without `CAP_`, each with its own origin; empty under `strict`. Only root
    /// inside holds them.
    pub caps: Granted<Vec<Granted<String>>>,
    /// The seccomp set's name: `default`.
    pub syscalls: Granted<String>,
    /// What a JSON profile leaves of that set.
    pub narrowed: Option<Granted<Profile>>,
    /// Device nodes of /dev, by name: `null`.
    pub devices: Granted<Vec<String>>,
    /// The whole environment, in order, each variable with its origin.
    pub env: Vec<Granted<(String, String)>>,
    /// The whole command line, entrypoint first.
    pub argv: Granted<Vec<String>>,
    /// The working directory inside; absolute.
    pub workdir: Granted<String>,
    /// `USER` as asked or as the image says: `NAME|UID[:GROUP|GID]`; empty means root.
    pub user: Granted<String>,
    /// The host name inside.
    pub hostname: Granted<String>,
    /// The root is read-only.
    pub read_only: Granted<bool>,
    /// The writable layer lives in memory and goes with the run; else on disk, until `rm`.
    pub ephemeral: Granted<bool>,
    /// Size in bytes and number of inodes of the writable layer when it is in memory, and of /tmp.
    pub tmp: Granted<u64>,
    /// More tmpfs mounts.
    pub tmpfs: Vec<Granted<TmpfsMount>>,
    /// Folders and files of the host.
    pub binds: Vec<Granted<BindMount>>,
    /// Devices of the host beside those of every cell.
    pub host_devices: Vec<Granted<DeviceMount>>,
    /// Processes and threads at once.
    pub pids: Granted<u64>,
    /// Other limits of a process, each at most once.
    pub ulimits: Vec<Granted<Ulimit>>,
    /// A cell without an image.
    pub tool: Option<Granted<ToolRoot>>,
    /// Wall time.
    pub timeout: Option<Granted<Duration>>,
    /// Memory, processors, output, disk.
    pub resources: Resources,
    /// How layers are checked.
    pub verify: Granted<VerifyMode>,
    /// What is told of refusals; `None`: nobody said, and whether somebody reads it decides.
    pub explain: Option<Granted<Explain>>,
    /// A pty of its own.
    pub tty: bool,
    /// Standard input is relayed.
    pub interactive: bool,
    /// What SIGTERM becomes on its way to the command; `None`: it stays what it is.
    pub stop_signal: Option<Granted<i32>>,
    /// How long after a SIGTERM the command is killed; `None`: never.
    pub stop_timeout: Option<Granted<Duration>>,
    /// What is weaker than it could be.
    pub downgrades: Vec<Downgrade>,
    /// What else a person should know before the command runs, a line each.
    pub notes: Vec<String>,
}

/// One reason of a refusal, ready to be printed or serialised.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// What was asked: `-v /home/ana/data:/data (read-write)`.
    pub asked: String,
    /// The rule that says no, as written: `allow mounts = ["./**:ro"]`.
    pub rule: String,
    /// Where the rule stands.
    pub origin: Origin,
    /// The rule's own reason.
    pub why: String,
    /// The narrowest change that would allow it, in lines; empty: none exists, `why` says so.
    pub cure: Vec<String>,
}

/// The decision. Nobody obtains [`Grants`] except out of `Allow`.
#[must_use]
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Go on with exactly this.
    Allow(Box<Grants>),
    /// Refused, for these reasons.
    Deny(Vec<Reason>),
}
