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
}

/// What an amount of a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Pieces,
    Bytes,
    Seconds,
}

impl Limit {
    pub(super) const ALL: [Self; 13] = [
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
        }
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Pids | Self::Nofile | Self::Sigpending => Unit::Pieces,
            Self::Timeout | Self::Cpu => Unit::Seconds,
            Self::Tmp
            | Self::Memory
            | Self::Fsize
            | Self::Stack
            | Self::As
            | Self::Data
            | Self::Memlock
            | Self::Msgqueue => Unit::Bytes,
        }
    }
}
