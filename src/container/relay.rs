//! Moves bytes between the caller's standard streams and the cell's pipes or pty, without ever
//! waiting in a call: the loop must stay able to see timers and signals.

use crate::error::{Context, Error, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// At most this much is in flight in one direction, in bytes; as large as a pipe.
const CHUNK: usize = 1 << 16;
/// The first read's, which for most commands is the last.
const FIRST: usize = 4096;
/// A pipe that is ready takes this much without waiting (pipe(7), PIPE_BUF).
const ATOMIC: usize = 4096;

/// How a destination is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A pipe from a pipe: splice(2), no copy, never waits.
    Splice,
    /// Waits for nobody: a regular file.
    Whole,
    /// May wait: only when ready, and little at a time.
    Ready,
}

/// One direction. Done when the source ended or the destination went away.
#[derive(Debug)]
pub struct Relay {
    buffer: Vec<u8>,
    /// What the next read makes room for, in bytes.
    chunk: usize,
    start: usize,
    blocked: bool,
    way: Way,
    /// The source ended or the destination is gone.
    pub done: bool,
    /// Why the destination is gone, if that is an error worth telling (a full disk).
    pub failed: Option<Error>,
}

fn file_type(fd: BorrowedFd<'_>) -> FileType {
    rustix::fs::fstat(fd).map_or(FileType::Unknown, |s| FileType::from_raw_mode(s.st_mode))
}

impl Relay {
    /// From `source` to `to`.
    pub fn new(source: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Self {
        let way = match (file_type(source), file_type(to)) {
            (FileType::Fifo, FileType::Fifo) => Way::Splice,
            (_, FileType::RegularFile) => Way::Whole,
            _ => Way::Ready,
        };
        Self {
            buffer: Vec::new(),
            chunk: FIRST,
            start: 0,
            blocked: false,
            way,
            done: false,
            failed: None,
        }
    }

    /// Whether the destination must be waited for, rather than the source.
    pub fn wants_write(&self) -> bool {
        self.blocked || self.pending()
    }

    fn pending(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// Moves what can be moved without waiting; to be called when what [`Relay::wants_write`] names
    /// is ready.
    pub fn step(&mut self, source: BorrowedFd<'_>, to: BorrowedFd<'_>) {
        if self.done {
            return;
        }
        self.blocked = false;
        if self.way == Way::Splice {
            return self.splice(source, to);
        }
        if !self.pending() {
            self.fill(source);
        }
        while self.pending() {
            let rest = &self.buffer[self.start..];
            let part = match self.way {
                Way::Whole => rest,
                _ if !ready(to, PollFlags::OUT) => return,
                _ => &rest[..rest.len().min(ATOMIC)],
            };
            match rustix::io::retry_on_intr(|| rustix::io::write(to, part)) {
                Ok(n) => self.start += n,
                Err(Errno::AGAIN) => return,
                Err(e) => return self.gone(e),
            }
        }
        self.buffer.clear();
        self.start = 0;
    }

    fn fill(&mut self, source: BorrowedFd<'_>) {
        self.buffer.clear();
        self.buffer.reserve(self.chunk);
        self.start = 0;
        let read = || rustix::io::read(source, spare_capacity(&mut self.buffer));
        match rustix::io::retry_on_intr(read) {
            // EIO: the last process on the pty is gone (pty(7)).
            Ok(0) | Err(Errno::IO) => self.done = true,
            Ok(n) if n < FIRST => {}
            Ok(_) => self.chunk = CHUNK,
            Err(Errno::AGAIN) => {}
            Err(e) => self.fail(Error::call("read a standard stream", e.raw_os_error())),
        }
    }

    fn splice(&mut self, source: BorrowedFd<'_>, to: BorrowedFd<'_>) {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match rustix::io::retry_on_intr(|| splice(source, None, to, None, CHUNK, flags)) {
            Ok(0) => self.done = true,
            Ok(_) => {}
            // The source was ready, so it is the destination that is full; should it be the source
            // after all, the destination is ready at once and nothing is lost.
            Err(Errno::AGAIN) => self.blocked = !ready(to, PollFlags::OUT),
            Err(Errno::INVAL) => {
                self.way = Way::Ready;
                self.step(source, to);
            }
            Err(e) => self.gone(e),
        }
    }

    fn gone(&mut self, errno: Errno) {
        // A reader that went away is its own affair: the command gets the same signal it would have
        // had without us.
        if errno == Errno::PIPE {
            self.done = true;
            self.buffer.clear();
        } else {
            self.fail(Error::call("write a standard stream", errno.raw_os_error()));
        }
    }

    fn fail(&mut self, error: Error) {
        self.done = true;
        self.buffer.clear();
        self.failed = Some(error);
    }
}

/// Whether `fd` is ready now.
pub fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
}

/// A description of its own of the terminal that `fd` is, whose writes never wait: a terminal is
/// ready for a first byte, and a write of more waits for whoever shows it. The caller's own is left
/// alone, because others share its flags. `None`: no terminal, or one that may not be opened again.
pub fn reopen_terminal(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    if !rustix::termios::isatty(fd) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// A terminal in raw mode; put back when dropped.
#[derive(Debug)]
pub struct RawTerminal {
    before: rustix::termios::Termios,
}

impl RawTerminal {
    /// Makes standard input raw; `None` if it is not a terminal.
    pub fn enter() -> Result<Option<Self>> {
        let input = rustix::stdio::stdin();
        if !rustix::termios::isatty(input) {
            return Ok(None);
        }
        let before = rustix::termios::tcgetattr(input).or_call(|| "tcgetattr standard input")?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(input, rustix::termios::OptionalActions::Now, &raw)
            .or_call(|| "tcsetattr standard input")?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let input = rustix::stdio::stdin();
        let back =
            rustix::termios::tcsetattr(input, rustix::termios::OptionalActions::Now, &self.before);
        // The terminal may be gone; there is nobody left to tell.
        back.unwrap_or_default();
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
