//! Moves bytes between the caller's standard streams and the cell's pipes or pty, without ever
//! waiting in a call: the loop must stay able to see timers and signals.

use super::terminal::reopen;
use crate::error::Error;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// At most this much is read at once, in bytes; as large as a pipe.
const CHUNK: usize = 1 << 16;
/// What a pipe of the cell's grows to once a whole one was moved at a time, in bytes. Below what any
/// user may have (pipe(7), /proc/sys/fs/pipe-max-size).
const LARGE: usize = 1 << 20;
/// How often a stream is moved before the others, signals and the clock have their turn.
const TURNS: usize = 16;
/// The first read's, which for most commands is the last.
const FIRST: usize = 4096;
/// A pipe that is ready takes this much without waiting (pipe(7), PIPE_BUF).
const ATOMIC: usize = 4096;
/// So many bytes are worth more to be moved than to be copied.
const WORTH: u64 = 16 << 10;

/// Which end is the supervisor's own, and nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// What the command writes.
    Source,
    /// What the command reads; a write to it was told not to wait (O_NONBLOCK).
    Destination,
}

/// How a destination is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A pipe from a pipe: splice(2), no copy, never waits. What a command says little of is copied all
    /// the same ([`Relay::own_end`]).
    Splice,
    /// Waits for nobody: a regular file, /dev/null, an end of ours that was told not to.
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
    own: Own,
    /// Our pipe is as large as it was made.
    small: bool,
    /// The caller's pipe once more, as a description of our own that never waits; `Some(None)`: there is
    /// none to be had, and nothing is copied.
    again: Option<Option<OwnedFd>>,
    /// How many bytes may still be taken from the source.
    pub left: u64,
    /// The source had more than that.
    pub crossed: bool,
    /// The source ended or the destination is gone.
    pub done: bool,
    /// The destination is gone, and whoever writes to the source may know.
    pub unwanted: bool,
    /// What it is called where it fails.
    name: &'static str,
    /// Why the destination is gone, if that is an error worth telling (a full disk).
    pub failed: Option<Error>,
}

fn file_type(fd: BorrowedFd<'_>) -> FileType {
    rustix::fs::fstat(fd).map_or(FileType::Unknown, |s| FileType::from_raw_mode(s.st_mode))
}

/// /dev/null, /dev/zero and /dev/full: memory devices (Linux, devices.txt).
fn is_memory(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|s| rustix::fs::major(s.st_rdev) == 1)
}

impl Relay {
    /// From `source` to `to`; `name`: `standard output`.
    ///
    /// What comes from a regular file is copied: by splice(2) the payload would hold the very pages
    /// of the caller's file, with a kernel's mistake between it and a write (CVE-2022-0847).
    pub fn new(name: &'static str, source: BorrowedFd<'_>, to: BorrowedFd<'_>, own: Own) -> Self {
        let way = match (file_type(source), file_type(to)) {
            (FileType::Fifo, FileType::Fifo) => Way::Splice,
            (_, FileType::RegularFile) => Way::Whole,
            (_, FileType::CharacterDevice) if is_memory(to) => Way::Whole,
            _ if own == Own::Destination => Way::Whole,
            _ => Way::Ready,
        };
        Self {
            buffer: Vec::new(),
            chunk: FIRST,
            start: 0,
            blocked: false,
            way,
            small: true,
            again: None,
            name,
            own,
            left: u64::MAX,
            crossed: false,
            done: false,
            unwanted: false,
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
        if self.way == Way::Splice && !self.pending() {
            if self.left == 0 {
                // What is beyond is looked at, and goes nowhere.
                if !ready(source, PollFlags::IN) {
                    return;
                }
                self.way = Way::Ready;
            } else if !self.is_copied(source, to) {
                return self.splice(source, to);
            }
        }
        if !self.pending() {
            self.fill(source);
        }
        while self.pending() {
            match self.write(to) {
                Ok(n) => self.start += n,
                Err(Errno::AGAIN) => return,
                Err(e) => return self.gone(e),
            }
        }
        self.buffer.clear();
        self.start = 0;
        self.done |= self.crossed;
    }

    /// Writes some of what is pending; `AGAIN`: the destination would have to be waited for.
    fn write(&self, to: BorrowedFd<'_>) -> rustix::io::Result<usize> {
        let rest = &self.buffer[self.start..];
        let (to, part) = match (&self.again, self.way) {
            (Some(Some(again)), Way::Splice) => (again.as_fd(), rest),
            (_, Way::Whole) => (to, rest),
            _ if !ready(to, PollFlags::OUT) => return Err(Errno::AGAIN),
            _ => (to, &rest[..rest.len().min(ATOMIC)]),
        };
        rustix::io::retry_on_intr(|| rustix::io::write(to, part))
    }

    /// Whether what a command says is copied, not moved. A move takes a slot of the caller's pipe for each
    /// page, however little is in it, and there are 16 (pipe(7)): a reader that comes late would find 16 short
    /// lines, and who wrote the next would wait. A copy fills up the last slot. What would fill a pipe is
    /// moved, and what the caller says: there the pipe that is waited for has room for itself.
    fn is_copied(&mut self, source: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
        let little = match (ioctl_fionread(source), ioctl_fionread(to)) {
            // Its end, or nothing after all: splice(2) knows, without waiting.
            (Ok(0), _) => false,
            (Ok(there), Ok(held)) => there < CHUNK as u64 && (held > 0 || there < WORTH),
            _ => false,
        };
        self.own == Own::Source && little && self.again.get_or_insert_with(|| own_end(to)).is_some()
    }

    fn fill(&mut self, source: BorrowedFd<'_>) {
        self.buffer.clear();
        self.buffer.reserve(self.chunk);
        self.start = 0;
        let read = || rustix::io::read(source, spare_capacity(&mut self.buffer));
        match rustix::io::retry_on_intr(read) {
            // EIO: the last process on the pty is gone (pty(7)).
            Ok(0) | Err(Errno::IO) => self.done = true,
            Ok(n) => {
                let room = usize::try_from(self.left).unwrap_or(usize::MAX);
                self.crossed = n > room;
                self.buffer.truncate(room);
                self.left -= self.buffer.len() as u64;
                if n >= FIRST {
                    self.chunk = CHUNK;
                }
            }
            Err(Errno::AGAIN) => {}
            Err(e) => self.fail("read", e),
        }
    }

    fn splice(&mut self, source: BorrowedFd<'_>, to: BorrowedFd<'_>) {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        for turn in 0..TURNS {
            let most = usize::try_from(self.left).map_or(LARGE, |left| left.min(LARGE));
            if most == 0 {
                return;
            }
            let moved = || splice(source, None, to, None, most, flags);
            let moved = rustix::io::retry_on_intr(moved);
            self.left -= moved.map_or(0, |n| n as u64);
            match moved {
                Ok(0) => return self.done = true,
                Ok(n) if n < CHUNK => {}
                Ok(_) if self.small => self.grow(source, to),
                Ok(_) => {}
                // The source was ready, so it is the destination that is full; should it be the
                // source after all, the destination is ready at once and nothing is lost.
                Err(Errno::AGAIN) if turn == 0 => {
                    self.blocked = !ready(to, PollFlags::OUT);
                    return;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INVAL) => {
                    self.way = Way::Ready;
                    return self.step(source, to);
                }
                Err(e) => return self.gone(e),
            }
        }
    }

    /// Fewer and larger steps for who needs them. The caller's own pipe stays as it is.
    fn grow(&mut self, source: BorrowedFd<'_>, to: BorrowedFd<'_>) {
        self.small = false;
        let ours = match self.own {
            Own::Source => source,
            Own::Destination => to,
        };
        // Beyond what this user's pipes may hold altogether, it stays as large as it is.
        rustix::pipe::fcntl_setpipe_size(ours, LARGE).unwrap_or_default();
    }

    fn gone(&mut self, errno: Errno) {
        // A reader that went away is its own affair: the command gets the same signal it would have
        // had without us.
        if errno == Errno::PIPE {
            self.done = true;
            self.unwanted = true;
            self.buffer.clear();
        } else {
            self.fail("write", errno);
        }
    }

    fn fail(&mut self, what: &str, errno: Errno) {
        self.done = true;
        self.buffer.clear();
        let call = format!("{what} {}", self.name);
        self.failed = Some(Error::call(call, errno.raw_os_error()));
    }
}

/// The writing end of a pipe once more. Others write to the caller's: between poll(2) and a write it may
/// be full again, and whether that waits is for all who share the description. `None`: another user's, one
/// that nobody reads any more, or there is no /proc.
fn own_end(pipe: BorrowedFd<'_>) -> Option<OwnedFd> {
    let again = reopen(pipe)?;
    let (is, was) = (
        rustix::fs::fstat(&again).ok()?,
        rustix::fs::fstat(pipe).ok()?,
    );
    ((is.st_dev, is.st_ino) == (was.st_dev, was.st_ino)).then_some(again)
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
