//! ^C and its like while something must not be left as it is: half made, or a terminal that shows
//! nothing.

use crate::error::{Context as _, Error, Kind, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd as _, BorrowedFd};

/// Signals that ask for the end, taken by descriptor for as long as this value lives: whoever holds
/// it looks, cleans up and ends. Workers inherit the mask, so that they end by this process's word.
#[derive(Debug)]
pub struct Interrupts {
    fd: SignalFd,
    before: SigSet,
}

impl Interrupts {
    /// What was ignored when this process was started stays so (nohup(1)).
    ///
    /// # Errors
    /// `Io`.
    pub fn take() -> Result<Self> {
        let set = unless_ignored(&[
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ])?;
        let before = set
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .or_call(|| "sigprocmask")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        match fd.or_call(|| "signalfd") {
            Ok(fd) => Ok(Self { fd, before }),
            Err(e) => {
                before.thread_set_mask().or_call(|| "sigprocmask")?;
                Err(e)
            }
        }
    }

    /// What poll(2) finds readable once there is a signal.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether none has come.
    ///
    /// # Errors
    /// `Interrupted` where the terminal's signals have come, `Terminated` where others have.
    pub fn check(&self) -> Result<()> {
        match self.fd.read_signal().or_call(|| "read a signal")? {
            None => Ok(()),
            Some(found) => {
                let signal = i32::try_from(found.ssi_signo).ok();
                let signal = signal.and_then(|number| Signal::try_from(number).ok());
                let kind = match signal {
                    Some(Signal::SIGINT | Signal::SIGQUIT) => Kind::Interrupted,
                    _ => Kind::Terminated,
                };
                let name = signal.map_or("a signal", Signal::as_str);
                Err(Error::new(
                    kind,
                    format!("ended by {name}; nothing was kept"),
                ))
            }
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // It was in force before, and this thread's mask can always be set.
        let _cannot_fail = self.before.thread_set_mask().is_ok();
    }
}

/// Those of `signals` that were not ignored when this process was started: nohup(1) means it, and so
/// does a shell that puts us in the background. Blocked, such a signal would arrive (signal(7)).
///
/// # Errors
/// `Io`.
pub fn unless_ignored(signals: &[Signal]) -> Result<SigSet> {
    let mut set = SigSet::empty();
    for signal in signals {
        if !crate::sys::is_ignored(*signal as i32).or_call(|| "sigaction")? {
            set.add(*signal);
        }
    }
    Ok(set)
}
