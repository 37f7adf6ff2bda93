//! The caller's terminal while a command has one of its own inside: raw, of the same size, and as it
//! was whenever somebody else looks at it.

use crate::error::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{Action, OptionalActions, Termios, tcflow, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A description of its own of the terminal that `fd` is, whose writes never wait: a terminal is
/// ready for a first byte, and a write of more waits for whoever shows it. The caller's own is left
/// alone, because others share its flags. `None`: no terminal, or one that may not be opened again.
pub fn reopen_terminal(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    rustix::termios::isatty(fd).then(|| reopen(fd)).flatten()
}

/// A description of its own of what `fd` is, to be written without waiting; `None` where it may not be
/// opened again.
pub(super) fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// A terminal in raw mode; put back when dropped.
#[derive(Debug)]
pub struct RawTerminal {
    before: Termios,
    raw: Termios,
}

impl RawTerminal {
    /// Makes standard input raw; `None` if it is not a terminal.
    ///
    /// # Errors
    /// The terminal is gone, or another job's for ever.
    pub fn enter() -> Result<Option<Self>> {
        let input = rustix::stdio::stdin();
        if !rustix::termios::isatty(input) {
            return Ok(None);
        }
        wait_for_foreground().or_call(|| "tcflow standard input")?;
        let before = tcgetattr(input).or_call(|| "tcgetattr standard input")?;
        let mut raw = before.clone();
        raw.make_raw();
        set(&raw).or_call(|| "tcsetattr standard input")?;
        Ok(Some(Self { before, raw }))
    }

    /// As it was: whoever stops us gives the terminal to a shell.
    ///
    /// # Errors
    /// tcsetattr(3)'s; a terminal that is gone is none.
    pub fn pause(&self) -> Result<()> {
        unless_gone(set(&self.before)).or_call(|| "tcsetattr standard input")
    }

    /// Raw again, once we are in the foreground. What was set meanwhile is what will be put back.
    ///
    /// # Errors
    /// As [`RawTerminal::pause`].
    pub fn resume(&mut self) -> Result<()> {
        let mut again = || {
            wait_for_foreground()?;
            let now = tcgetattr(rustix::stdio::stdin())?;
            // Stopped by a signal that nobody hears of, and started by a shell that put back our
            // modes: these are not the caller's.
            if !same(&now, &self.raw) {
                self.before = now;
            }
            set(&self.raw)
        };
        unless_gone(again()).or_call(|| "tcsetattr standard input")
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody left to tell.
        set(&self.before).unwrap_or_default();
    }
}

fn set(modes: &Termios) -> rustix::io::Result<()> {
    tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, modes)
}

/// Stops us by SIGTTOU while another job has the terminal: its modes must not be taken for the
/// caller's. The call itself changes nothing (tcflow(3)).
fn wait_for_foreground() -> rustix::io::Result<()> {
    tcflow(rustix::stdio::stdin(), Action::OOn)
}

fn same(one: &Termios, other: &Termios) -> bool {
    let modes = |t: &Termios| {
        (
            t.input_modes,
            t.output_modes,
            t.control_modes,
            t.local_modes,
        )
    };
    modes(one) == modes(other)
}

fn unless_gone(done: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match done {
        // Its other side is closed (pty(7)), or our process group is nobody's.
        Err(Errno::IO | Errno::NOTTY) => Ok(()),
        done => done,
    }
}

/// Copies the caller's window size to the pty, if the caller has one.
pub fn copy_window_size(terminal: &OwnedFd) -> Result<()> {
    for fd in [
        rustix::stdio::stdout(),
        rustix::stdio::stdin(),
        rustix::stdio::stderr(),
    ] {
        if let Ok(size) = rustix::termios::tcgetwinsize(fd) {
            return rustix::termios::tcsetwinsize(terminal.as_fd(), size)
                .or_call(|| "ioctl TIOCSWINSZ");
        }
    }
    Ok(())
}
