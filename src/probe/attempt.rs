//! Trying something in a child process, so that what it changes, or dies of, stays there.

use super::finding::{Findings, Verdict, errno_name};
use crate::error::{Error, Result};
use crate::sys::{self, SingleThread};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It worked, with this answer.
    Worked(i64),
    /// The kernel answered this errno.
    Refused(i32),
    /// The process that tried was killed by this signal.
    Killed(i32),
    /// No answer in time.
    Hung,
}

/// The errnos that say "not allowed" or "not here", rather than "wrong arguments".
const REFUSALS: &[i32] = &[libc::EPERM, libc::EACCES, libc::ENOSYS];

impl Outcome {
    /// Refused by permission or by absence, also with one of `others`, or the process was killed by
    /// the filter.
    pub fn is_refused(self, others: &[i32]) -> bool {
        match self {
            Self::Refused(errno) => REFUSALS.contains(&errno) || others.contains(&errno),
            Self::Killed(signal) => signal == libc::SIGSYS,
            Self::Worked(_) | Self::Hung => false,
        }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Self::Worked(_) => "it worked".to_owned(),
            Self::Refused(errno) if REFUSALS.contains(&errno) => errno_name(errno),
            Self::Refused(errno) => format!("reached the kernel, {}", errno_name(errno)),
            Self::Killed(libc::SIGSYS) => "killed".to_owned(),
            Self::Killed(signal) => format!("killed by signal {signal}"),
            Self::Hung => "no answer".to_owned(),
        }
    }
}

/// Makes children that try things.
#[derive(Debug, Clone, Copy)]
pub struct Tester {
    one: SingleThread,
}

impl Tester {
    /// Checks that this process has one thread, so that it may fork.
    pub fn new() -> Result<Self> {
        SingleThread::check().map(|one| Self { one })
    }

    /// Runs `attempt` in a child and reports how it ended; after 20 seconds it is killed.
    pub fn in_child(self, attempt: impl FnOnce() -> rustix::io::Result<i64>) -> Result<Outcome> {
        self.in_child_for(20, attempt)
    }

    /// As [`Tester::in_child`] for this many seconds: an emulated machine is 50 times slower.
    pub fn in_child_for(
        self,
        seconds: i64,
        attempt: impl FnOnce() -> rustix::io::Result<i64>,
    ) -> Result<Outcome> {
        let (read, write) =
            rustix::pipe::pipe().map_err(|e| Error::call("pipe", e.raw_os_error()))?;
        let forked = sys::fork(self.one).map_err(|e| Error::call("fork", e.raw_os_error()))?;
        let Some(pid) = forked else {
            let (worked, value) = match attempt() {
                Ok(value) => (1u8, value),
                Err(errno) => (0, i64::from(errno.raw_os_error())),
            };
            let mut record = [worked; 9];
            record[1..].copy_from_slice(&value.to_ne_bytes());
            let sent = rustix::io::write(&write, &record) == Ok(record.len());
            sys::exit_now(if sent { 0 } else { 1 });
        };
        drop(write);
        let mut record = [0u8; 9];
        let limit = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&read, PollFlags::IN)];
        let answered = poll(&mut fds, Some(&limit)).is_ok_and(|n| n > 0);
        if !answered {
            // A child that ended by itself is still there to be killed until it is waited for.
            rustix::process::kill_process(pid, Signal::KILL)
                .map_err(|e| Error::call("kill", e.raw_os_error()))?;
        }
        let got = if answered {
            rustix::io::read(&read, &mut record).unwrap_or(0)
        } else {
            0
        };
        let status = loop {
            match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => break status,
                Ok(None) | Err(Errno::INTR) => {}
                Err(e) => return Err(Error::call("waitpid", e.raw_os_error())),
            }
        };
        if !answered {
            return Ok(Outcome::Hung);
        }
        if got == record.len() {
            let mut value = [0u8; 8];
            value.copy_from_slice(&record[1..]);
            let value = i64::from_ne_bytes(value);
            return Ok(if record[0] == 1 {
                Outcome::Worked(value)
            } else {
                Outcome::Refused(i32::try_from(value).unwrap_or(libc::EIO))
            });
        }
        Ok(match status.terminating_signal() {
            Some(signal) => Outcome::Killed(signal),
            None => Outcome::Worked(0),
        })
    }

    /// Adds a line for `attempt`: contained if it is refused, also with one of `others`.
    pub fn refused(
        self,
        findings: &mut Findings,
        check: &str,
        others: &[i32],
        attempt: impl FnOnce() -> rustix::io::Result<i64>,
    ) -> Result<()> {
        let outcome = self.in_child(attempt)?;
        let verdict = if outcome.is_refused(others) {
            Verdict::Contained
        } else {
            Verdict::Open
        };
        findings.add(check, verdict, outcome.describe());
        Ok(())
    }

    /// Adds a line for several attempts of one sort: contained if each is refused, else OPEN with
    /// the names of those that were not.
    pub fn all_refused<'a, A>(
        self,
        findings: &mut Findings,
        check: &str,
        others: &[i32],
        attempts: impl IntoIterator<Item = (&'a str, A)>,
    ) -> Result<()>
    where
        A: FnOnce() -> rustix::io::Result<i64>,
    {
        let (mut tried, mut leaks) = (0, Vec::new());
        for (name, attempt) in attempts {
            tried += 1;
            let outcome = self.in_child(attempt)?;
            if !outcome.is_refused(others) {
                leaks.push(format!("{name} ({})", outcome.describe()));
            }
        }
        findings.none_of(check, format!("{tried} tried"), &leaks);
        Ok(())
    }
}
