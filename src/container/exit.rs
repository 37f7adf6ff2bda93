//! How a cell ended, and what was counted and kept of it.

use super::audit::Logged;
use super::denials::Denied;
use super::learner::Deeds;
use super::meter::Meter;
use super::observer::Outcome;
use crate::error::Error;
use crate::sandbox::Finding;
use crate::sys::Usage;

/// How a cell ended.
#[derive(Debug)]
pub struct Exit {
    /// What ended it.
    pub how: Ended,
    /// What the verifier found and re-recorded, or would have to be.
    pub findings: Vec<Finding>,
    /// How long steps took, by their index, where that was asked for; in nanoseconds.
    pub took: Vec<(usize, u64)>,
    /// A stream that could not be written (a full disk), if any.
    pub stream_error: Option<Error>,
    /// What was counted.
    pub meters: Vec<Meter>,
    /// What pid 1 and all processes that it waited for have used together.
    pub usage: Usage,
    /// System calls that were refused, where that was to be told, in the order of their first.
    pub denied: Vec<Denied>,
    /// Why they could not be told, an errno.
    pub untold: Option<i32>,
    /// What the kernel refused of that which was watched, in the order of their first.
    pub outcomes: Vec<Outcome>,
    /// What the audit log says of Landlock's refusals, where that was to be told and may be read.
    pub logged: Vec<Logged>,
    /// What it let pass, where all of it was watched.
    pub deeds: Option<Deeds>,
}

/// What ended a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The command ended with this code.
    Code(u8),
    /// The command was ended by this signal.
    Signal(i32),
    /// The wall clock ran out and everything was killed.
    Timeout,
    /// The cell took more memory than it may, and everything was killed.
    Memory,
    /// The cell took more processor time than it may, and everything was killed.
    CpuTime,
    /// The command said more than it may, and everything was killed.
    Output,
    /// The writable layer grew past its bound, and everything was killed.
    Disk,
}

impl Ended {
    /// docker's exit code: the command's, or 128 + signal (a limit: SIGKILL's).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(n) => u8::try_from(128 + n).unwrap_or(255),
            Self::Timeout | Self::Memory | Self::CpuTime | Self::Output | Self::Disk => 137,
        }
    }
}

/// wait(2)'s status: a signal in the low seven bits, else an exit code in the next eight.
pub(super) fn ended(status: i32) -> Ended {
    match status & 0x7f {
        0 => Ended::Code(u8::try_from((status >> 8) & 0xff).unwrap_or(u8::MAX)),
        signal => Ended::Signal(signal),
    }
}
