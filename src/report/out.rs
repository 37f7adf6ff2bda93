//! The two streams, and what is known of a terminal behind them.

use crate::error::{Error, Result};
use std::io::{IsTerminal, Write};

/// Writes data to standard output. A reader that has gone away is not an error.
///
/// # Errors
/// The write failed for another reason: a full disk, for instance.
pub fn stdout(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", &e))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error. There is nowhere to tell of a failure, so it is not told.
pub fn stderr(text: &str) {
    let mut err = std::io::stderr().lock();
    let _nowhere_to_tell = err.write_all(text.as_bytes());
}

/// What is behind a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// A terminal's columns; `None`: not a terminal, lines are as long as they are.
    pub columns: Option<usize>,
    /// A terminal's rows; 24 where it does not say.
    pub rows: usize,
    /// Colours are welcome (no-color.org: `NO_COLOR` set and not empty forbids them).
    pub colour: bool,
}

impl Screen {
    /// What is behind standard error.
    pub fn stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    /// What is behind standard output.
    pub fn stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    fn of(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Self {
        if !stream.is_terminal() {
            return Self {
                columns: None,
                rows: 24,
                colour: false,
            };
        }
        let size = rustix::termios::tcgetwinsize(stream);
        let (columns, rows) = size.map_or((0, 0), |size| (size.ws_col, size.ws_row));
        // A terminal that does not know its size says 0.
        let columns = if columns == 0 { 80 } else { columns };
        let rows = if rows == 0 { 24 } else { rows };
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self {
            columns: Some(usize::from(columns).max(20)),
            rows: usize::from(rows).max(2),
            colour: !forbidden,
        }
    }
}
