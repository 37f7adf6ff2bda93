//! A terminal for `-it` tests: the outer side, driven by the test.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

pub struct Pty {
    /// The test's side.
    pub outer: OwnedFd,
    /// The program's side.
    pub inner: OwnedFd,
    seen: Vec<u8>,
}

impl Pty {
    /// A terminal of 24 rows and 80 columns.
    pub fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outer = openpt(flags).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        let name = ptsname(&outer, Vec::new()).unwrap();
        let inner = rustix::fs::open(
            name.as_c_str(),
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let pty = Self {
            outer,
            inner,
            seen: Vec::new(),
        };
        pty.resize(24, 80);
        pty
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.outer, size).unwrap();
    }

    pub fn send(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = rustix::io::write(&self.outer, rest).unwrap();
            rest = &rest[n..];
        }
    }

    /// Reads what there is, up to `wait`; false at the end of the terminal or of the wait.
    fn read(&mut self, wait: Duration) -> bool {
        let mut fds = [PollFd::new(&self.outer, PollFlags::IN)];
        let timeout = rustix::time::Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap(),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        if poll(&mut fds, Some(&timeout)).unwrap() == 0 {
            return false;
        }
        let mut buf = [0; 4096];
        match rustix::io::read(&self.outer, &mut buf) {
            Ok(n) if n > 0 => {
                self.seen.extend_from_slice(&buf[..n]);
                true
            }
            _ => false,
        }
    }

    /// Everything shown so far.
    pub fn shown(&mut self) -> String {
        while self.read(Duration::ZERO) {}
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Waits until `text` was shown; returns everything shown up to now and forgets it.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let now = String::from_utf8_lossy(&self.seen).into_owned();
            if now.contains(text) {
                self.seen.clear();
                return now;
            }
            assert!(
                Instant::now() < deadline,
                "the terminal never showed {text:?}, only {now:?}"
            );
            self.read(Duration::from_millis(50));
        }
    }
}
