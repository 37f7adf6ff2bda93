//! Meters: what was counted of a run, by whom, and how far the count can be wrong.

use serde::Serialize;

/// What a meter counts. Its unit is [`What::unit`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Memory of all processes and of the cell's tmpfs.
    Memory,
    /// Swap beside the memory.
    Swap,
    /// Processors at once.
    Cpus,
    /// Processor time of all processes together.
    CpuTime,
    /// Time from the release to the end.
    Wall,
    /// Processes and threads at once.
    Pids,
    /// Bytes of standard output and standard error together.
    Output,
    /// The writable layer.
    Disk,
    /// The cell's memory-backed files.
    Tmp,
    /// Descriptors of one process.
    Nofile,
    /// One file that a process writes.
    Fsize,
    /// A core dump.
    Core,
    /// Processor time of one process.
    Cpu,
    /// The stack of one process.
    Stack,
    /// The addresses of one process.
    As,
    /// The data of one process.
    Data,
    /// The locked memory of one process.
    Memlock,
    /// Message queues.
    Msgqueue,
    /// Queued signals.
    Sigpending,
}

/// What a meter's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
    /// Things.
    Pieces,
    /// Thousandths of one processor.
    Millicpus,
}

impl What {
    /// What its numbers are.
    pub fn unit(self) -> Unit {
        match self {
            Self::Cpus => Unit::Millicpus,
            Self::CpuTime | Self::Wall | Self::Cpu => Unit::Nanoseconds,
            Self::Pids | Self::Nofile | Self::Sigpending => Unit::Pieces,
            _ => Unit::Bytes,
        }
    }
}

/// Who counts, and stops what crosses the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A cgroup of the cell's own (cgroup v2).
    Cgroup,
    /// setrlimit(2).
    Rlimit,
    /// The size of a tmpfs (tmpfs(5)).
    Tmpfs,
    /// The supervisor looks at the cell's processes again and again.
    Sampler,
    /// The supervisor, through whose hands it goes.
    Supervisor,
    /// getrusage(2): it counts and stops nothing.
    Rusage,
}

/// One thing that was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meter {
    /// What.
    pub what: What,
    /// What `bound` and `used` are.
    pub unit: Unit,
    /// By whom.
    pub by: Holder,
    /// Where it is stopped; `None`: nowhere, it was only counted.
    pub bound: Option<u64>,
    /// The most there was at once, or all there was of what only grows; `None`: nobody counted.
    pub used: Option<u64>,
    /// How far `used` can be from the truth and how late the bound can be noticed, in words; empty
    /// where the count is exact.
    pub error: String,
}

impl Meter {
    /// A meter that counts exactly.
    pub fn exact(what: What, by: Holder, bound: Option<u64>, used: Option<u64>) -> Self {
        Self {
            what,
            unit: what.unit(),
            by,
            bound,
            used,
            error: String::new(),
        }
    }
}
