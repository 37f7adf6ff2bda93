//! What init, payload and verifier tell the supervisor: fixed-size records over sockets that close
//! at exec.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Bytes of a record.
pub const RECORD: usize = 128;
const TEXT: usize = RECORD - 16;
/// Descriptors that come with a record at most: /proc and all file systems in memory with a view.
pub const MOST_FDS: usize = 72;

/// A step that failed: which call, with which errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What the kernel answered.
    pub errno: Errno,
    /// The failed call and its fixed argument: `openat2 /dev`.
    pub call: &'static str,
}

/// Attaches the call to an errno.
pub trait At<T> {
    /// The failed call.
    fn at(self, call: &'static str) -> Result<T, Fault>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, call: &'static str) -> Result<T, Fault> {
        self.map_err(|errno| Fault { errno, call })
    }
}

impl<T> At<T> for nix::Result<T> {
    fn at(self, call: &'static str) -> Result<T, Fault> {
        self.map_err(|e| Fault {
            errno: Errno::from_raw_os_error(e as i32),
            call,
        })
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A step failed; nothing was executed.
    Failed {
        step: usize,
        errno: i32,
        call: String,
    },
    /// init forked the payload of a cell with a pty; its pidfd and the pty's master come along.
    Started,
    /// The verifier found the layers as recorded, and the payload may go. Without a pty the
    /// payload's pidfd comes along: every record wakes the supervisor, often on the very core that
    /// init needs.
    Go,
    /// The verifier said no; its own report says what.
    Refused,
    /// The payload ended; the status is waitpid's.
    Ended { status: i32 },
    /// Supervisor to init: the id map is written.
    Mapped,
    /// Supervisor to init: on its side everything is done that has to be before the command runs.
    Release,
    /// The verifier made the network namespace, which comes along.
    Network,
    /// Supervisor to init: show the cell's processes and its files in memory. Its answer, with them.
    View,
    /// How long a step took.
    Took { step: usize, nanoseconds: u64 },
    /// The payload's filter is in force, and its listener comes along.
    Listener,
    /// The payload's filter is in force, and refuses by itself: the kernel gave it no listener, why.
    Deaf { errno: i32 },
    /// The payload has the go, and waits for who watches it.
    Observe,
    /// Supervisor to payload: it is watched.
    Observed,
}

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> [u8; RECORD] {
        let mut out = [0; RECORD];
        let (tag, step, number, text): (u8, usize, u64, &str) = match self {
            Self::Failed { step, errno, call } => {
                (1, *step, u64::from(errno.cast_unsigned()), call.as_str())
            }
            Self::Started => (2, 0, 0, ""),
            Self::Go => (3, 0, 0, ""),
            Self::Refused => (4, 0, 0, ""),
            Self::Ended { status } => (5, 0, u64::from(status.cast_unsigned()), ""),
            Self::Mapped => (6, 0, 0, ""),
            Self::Release => (9, 0, 0, ""),
            Self::Network => (8, 0, 0, ""),
            Self::View => (10, 0, 0, ""),
            Self::Took { step, nanoseconds } => (7, *step, *nanoseconds, ""),
            Self::Listener => (11, 0, 0, ""),
            Self::Deaf { errno } => (12, 0, u64::from(errno.cast_unsigned()), ""),
            Self::Observe => (13, 0, 0, ""),
            Self::Observed => (14, 0, 0, ""),
        };
        out[0] = tag;
        out[4..8].copy_from_slice(&u32::try_from(step).unwrap_or(u32::MAX).to_le_bytes());
        out[8..16].copy_from_slice(&number.to_le_bytes());
        for (to, from) in out[16..].iter_mut().zip(text.bytes().take(TEXT - 1)) {
            *to = from;
        }
        out
    }

    /// The record in `bytes`; `None` if they are not exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != RECORD {
            return None;
        }
        let step = u32::from_le_bytes(bytes[4..8].try_into().ok()?) as usize;
        let number = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        let low = u32::try_from(number).ok().map(u32::cast_signed);
        Some(match bytes[0] {
            1 => {
                let text: Vec<u8> = bytes[16..]
                    .iter()
                    .copied()
                    .take_while(|b| *b != 0)
                    .collect();
                Self::Failed {
                    step,
                    errno: low?,
                    call: String::from_utf8_lossy(&text).into_owned(),
                }
            }
            2 => Self::Started,
            3 => Self::Go,
            4 => Self::Refused,
            5 => Self::Ended { status: low? },
            6 => Self::Mapped,
            7 => Self::Took {
                step,
                nanoseconds: number,
            },
            8 => Self::Network,
            9 => Self::Release,
            10 => Self::View,
            11 => Self::Listener,
            12 => Self::Deaf { errno: low? },
            13 => Self::Observe,
            14 => Self::Observed,
            _ => return None,
        })
    }
}

/// Sends a record, with fds if any.
pub fn send(socket: BorrowedFd<'_>, record: &Record, fds: &[BorrowedFd<'_>]) -> Result<(), Fault> {
    let bytes = record.encode();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Fault {
            errno: Errno::NOBUFS,
            call: "sendmsg with too many fds",
        });
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(
            socket,
            &[IoSlice::new(&bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })
    .at("sendmsg")?;
    if sent == RECORD {
        Ok(())
    } else {
        Err(Fault {
            errno: Errno::IO,
            call: "short sendmsg",
        })
    }
}

/// Sends a record with write(2) alone, which is what any filter of system calls lets pass.
pub fn send_plain(socket: BorrowedFd<'_>, record: &Record) -> Result<(), Fault> {
    let bytes = record.encode();
    match rustix::io::retry_on_intr(|| rustix::io::write(socket, &bytes)).at("write")? {
        RECORD => Ok(()),
        _ => Err(Fault {
            errno: Errno::IO,
            call: "short write",
        }),
    }
}

/// What arrived on a socket of records.
#[derive(Debug)]
pub enum Received {
    /// A record and its fds.
    Record(Record, Vec<OwnedFd>),
    /// The other side is gone.
    Closed,
    /// Nothing there now.
    Nothing,
}

/// Receives a record without waiting if `nonblocking`. At most [`MOST_FDS`] fds are taken,
/// close-on-exec.
pub fn receive(socket: BorrowedFd<'_>, nonblocking: bool) -> rustix::io::Result<Received> {
    let mut bytes = [0; RECORD];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if nonblocking {
        flags |= RecvFlags::DONTWAIT;
    }
    let mut take = || {
        rustix::io::retry_on_intr(|| {
            recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut control,
                flags,
            )
        })
    };
    let got = match take() {
        // The other side closed with something unread, which says nothing of what it sent before:
        // that comes now, once the error is taken (unix(7)).
        Err(Errno::CONNRESET) => take(),
        other => other,
    };
    let got = match got {
        Ok(got) => got,
        Err(Errno::AGAIN) => return Ok(Received::Nothing),
        Err(Errno::CONNRESET) => return Ok(Received::Closed),
        Err(e) => return Err(e),
    };
    if got.bytes == 0 {
        return Ok(Received::Closed);
    }
    let fds = control
        .drain()
        .filter_map(|m| match m {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    match Record::decode(&bytes[..got.bytes]) {
        Some(record) => Ok(Received::Record(record, fds)),
        None => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_was_said_before_the_end_is_heard() {
        let (ours, theirs) = crate::sandbox::launch::records_socket().unwrap();
        send(ours.as_fd(), &Record::Release, &[]).unwrap();
        send(theirs.as_fd(), &Record::Refused, &[]).unwrap();
        // With the release unread: the socket is reset.
        drop(theirs);
        let heard = receive(ours.as_fd(), true).unwrap();
        assert!(
            matches!(heard, Received::Record(Record::Refused, _)),
            "{heard:?}"
        );
        let heard = receive(ours.as_fd(), true).unwrap();
        assert!(matches!(heard, Received::Closed), "{heard:?}");
    }

    #[test]
    fn records_survive_the_wire() {
        for record in [
            Record::Failed {
                step: 7,
                errno: 13,
                call: "openat2 /dev".into(),
            },
            Record::Started,
            Record::Go,
            Record::Refused,
            Record::Ended { status: 0x8b },
            Record::Mapped,
            Record::Release,
            Record::Network,
            Record::View,
            Record::Listener,
            Record::Deaf { errno: 16 },
            Record::Took {
                step: 3,
                nanoseconds: u64::MAX,
            },
        ] {
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        assert_eq!(Record::decode(&[0; RECORD]), None);
        assert_eq!(Record::decode(&[1; RECORD - 1]), None);
    }
}
