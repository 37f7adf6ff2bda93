//! The signals that the supervisor takes for the command.

use crate::error::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are taken by descriptor and passed on. Blocked before the clone, so that none is
/// lost in between; the payload unblocks everything for itself.
#[derive(Debug)]
pub struct Signals {
    pub(super) fd: SignalFd,
}

impl Signals {
    /// Blocks them and opens the descriptor. What asks for the end and was ignored when we were
    /// started stays so: nohup(1) means it, and so does a shell that puts us in the background.
    /// Blocked, such a signal would arrive (signal(7)).
    pub fn take() -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGWINCH,
            Signal::SIGTSTP,
            Signal::SIGCONT,
            Signal::SIGALRM,
        ] {
            let may_stay_ignored =
                matches!(signal, Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT);
            let ignored = may_stay_ignored
                && crate::sys::is_ignored(signal as i32).or_call(|| "sigaction")?;
            if !ignored {
                set.add(signal);
            }
        }
        set.thread_block().or_call(|| "sigprocmask")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .or_call(|| "signalfd")?;
        Ok(Self { fd })
    }
}
