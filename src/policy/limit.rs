//! The limits that rules speak about.

/// A limit that rules set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Pids,
    Tmp,
    Memory,
    Timeout,
    Nofile,
    Fsize,
    Cpu,
    Stack,
    As,
    Data,
    Memlock,
    Msgqueue,
    Sigpending,
    /// Swap beside the memory.
    Swap,
    /// Processors at once.
    Cpus,
    /// Processor time of the whole cell.
    CpuTime,
    /// What is said on standard output and standard error.
    Output,
    /// The writable layer.
    Disk,
    /// A core dump: none is ever written.
    Core,
}

/// What an amount of a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Pieces,
    Bytes,
    Seconds,
    /// Thousandths of a processor; written as processors: `1.5`.
    Millicpus,
}

impl Limit {
    pub(super) const ALL: [Self; 19] = [
        Self::Pids,
        Self::Tmp,
        Self::Memory,
        Self::Timeout,
        Self::Nofile,
        Self::Fsize,
        Self::Cpu,
        Self::Stack,
        Self::As,
        Self::Data,
        Self::Memlock,
        Self::Msgqueue,
        Self::Sigpending,
        Self::Swap,
        Self::Cpus,
        Self::CpuTime,
        Self::Output,
        Self::Disk,
        Self::Core,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pids => "pids",
            Self::Tmp => "tmp",
            Self::Memory => "memory",
            Self::Timeout => "timeout",
            Self::Nofile => "nofile",
            Self::Fsize => "fsize",
            Self::Cpu => "cpu",
            Self::Stack => "stack",
            Self::As => "as",
            Self::Data => "data",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Sigpending => "sigpending",
            Self::Swap => "swap",
            Self::Cpus => "cpus",
            Self::CpuTime => "cpu_time",
            Self::Output => "output",
            Self::Disk => "disk",
            Self::Core => "core",
        }
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Pids | Self::Nofile | Self::Sigpending => Unit::Pieces,
            Self::Timeout | Self::Cpu | Self::CpuTime => Unit::Seconds,
            Self::Cpus => Unit::Millicpus,
            Self::Tmp
            | Self::Memory
            | Self::Fsize
            | Self::Stack
            | Self::As
            | Self::Data
            | Self::Memlock
            | Self::Msgqueue
            | Self::Swap
            | Self::Output
            | Self::Disk
            | Self::Core => Unit::Bytes,
        }
    }
}
