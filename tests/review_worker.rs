//! A job that took over its worker: what is still within its reach.
//!
//! A worker needs a launcher of one thread, so this file has no libtest harness.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test without harness prints its own lines, and fails by panicking"
)]

mod support;

use lazaret::plan::IdMap;
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        println!("no_folder_of_the_host_is_open: test");
        return;
    }
    if support::have("review_worker::no_folder_of_the_host_is_open", "userns")
        && support::have("review_worker::no_folder_of_the_host_is_open", "landlock")
    {
        no_folder_of_the_host_is_open();
    }
    println!("test result: ok. 1 passed; 0 failed");
}

/// A folder descriptor from before the pivot leads, by `..`, to the host's root, where Landlock
/// governs neither stat nor chmod.
fn no_folder_of_the_host_is_open() {
    let home = support::Home::new();
    std::fs::write(home.path("outside"), "").unwrap();
    std::fs::create_dir(home.path("folder")).unwrap();
    let folder = std::fs::File::open(home.path("folder")).unwrap();
    let map = IdMap::Single {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let raw = folder.as_raw_fd();
    let found = lazaret::worker::run(&map, folder.as_fd(), &[], |root| {
        let mut reached = Vec::new();
        // Its own root leads nowhere else, and neither does what it inherited.
        for fd in [root.as_raw_fd(), raw].into_iter().chain(0..64) {
            if reaches_outside(fd) {
                reached.extend_from_slice(format!("fd {fd}\n").as_bytes());
            }
        }
        Ok(reached)
    })
    .unwrap();
    assert_eq!(String::from_utf8_lossy(&found), "", "reached the host by");
}

fn reaches_outside(fd: i32) -> bool {
    // SAFETY: a number that is no open descriptor makes the calls below fail, no more.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::chmodat(fd, "../outside", mode, rustix::fs::AtFlags::empty()).is_ok()
        || rustix::fs::openat(fd, "..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .and_then(|up| rustix::fs::statat(&up, "outside", rustix::fs::AtFlags::empty()))
            .is_ok()
}
