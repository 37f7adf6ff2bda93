//! A line from the terminal on standard input, shown or hidden while it is typed.

use super::Interrupts;
use crate::error::{Context, Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::IsTerminal as _;

/// The most bytes of a line.
const MAX: usize = 64 << 10;

/// Whether somebody sits at standard input.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

/// All of standard input, without the line end that `echo` leaves.
///
/// # Errors
/// `Io`; `Limit`: more than 64 KiB; `Usage`: not text.
pub fn all_of_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(byte) = byte()? {
        bytes.push(byte);
        if bytes.len() > MAX {
            return Err(too_long());
        }
    }
    let end = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    text(end.strip_suffix(b"\r").unwrap_or(end).to_vec())
}

/// A line as the terminal edits it.
///
/// # Errors
/// As [`all_of_stdin`].
pub fn line() -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(byte) = byte()?.filter(|byte| *byte != b'\n') {
        bytes.push(byte);
        if bytes.len() > MAX {
            return Err(too_long());
        }
    }
    text(bytes)
}

/// A line of which nothing is shown. `ask` prints the question, once nothing that is typed is
/// shown any more. The keys that end a program are read here, and the signals that do are taken,
/// because a program that ends at once would leave a terminal that shows nothing.
///
/// # Errors
/// As [`line`]; `Interrupted`, `Terminated`: one of those came.
pub fn hidden(ask: impl FnOnce()) -> Result<String> {
    let interrupts = Interrupts::take()?;
    let _shown_again = Quiet::begin()?;
    ask();
    let mut bytes = Vec::new();
    loop {
        let (stdin, signals) = (stdin(), interrupts.fd());
        let mut fds = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).or_call(|| "poll")?;
        interrupts.check()?;
        match byte()? {
            None | Some(b'\n' | b'\r' | END) => break,
            Some(INTERRUPT) => return Err(Error::new(Kind::Interrupted, "ended by ^C")),
            // A character may have several bytes.
            Some(BACKSPACE | DELETE) => {
                while bytes.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            Some(KILL) => bytes.clear(),
            Some(byte) => bytes.push(byte),
        }
        if bytes.len() > MAX {
            return Err(too_long());
        }
    }
    text(bytes)
}

/// ^C, ^D, ^U and the two that delete.
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const KILL: u8 = 21;
const DELETE: u8 = 127;

fn byte() -> Result<Option<u8>> {
    let mut byte = [0];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(stdin(), &mut byte))
        .or_call(|| "read standard input")?;
    Ok((read > 0).then_some(byte[0]))
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::Usage, "what was typed or piped is not UTF-8 text"))
}

fn too_long() -> Error {
    Error::new(Kind::Limit, format!("a line of more than {MAX} bytes"))
}

/// A terminal that shows nothing, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self> {
        let before = tcgetattr(stdin()).or_call(|| "tcgetattr")?;
        let mut quiet = before.clone();
        quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        // What was typed before the question may be the answer.
        tcsetattr(stdin(), OptionalActions::Drain, &quiet).or_call(|| "tcsetattr")?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _gone_terminals_show_nothing =
            tcsetattr(stdin(), OptionalActions::Drain, &self.0).is_ok();
    }
}
