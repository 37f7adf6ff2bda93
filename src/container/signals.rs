//! The signals that the supervisor takes for the command.

use crate::error::{Context, Result};
use crate::host::unless_ignored;
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are taken by descriptor and passed on. Blocked before the clone, so that none is
/// lost in between; the payload unblocks everything for itself.
#[derive(Debug)]
pub struct Signals {
    pub(super) fd: SignalFd,
}

impl Signals {
    /// Blocks them and opens the descriptor. What asks for the end and was ignored when we were
    /// started stays so.
    pub fn take() -> Result<Self> {
        let mut set = unless_ignored(&[Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT])?;
        for signal in [
            Signal::SIGTERM,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGWINCH,
            Signal::SIGTSTP,
            Signal::SIGCONT,
            Signal::SIGALRM,
        ] {
            set.add(signal);
        }
        set.thread_block().or_call(|| "sigprocmask")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .or_call(|| "signalfd")?;
        Ok(Self { fd })
    }
}
