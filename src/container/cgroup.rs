//! The cell's own cgroup: made before the clone, counted by the kernel, removed at the end.

use crate::error::{Context, Error, Kind, Result};
use crate::plan::CellCgroup;
use rustix::fs::{AtFlags, CWD, Dir};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What the cells' are called: whoever finds one that nobody holds removes it.
const CELL: &str = "lazaret-cell-";
/// What lazaret's own is called, where it had to leave its cgroup for one.
const OWN: &str = "lazaret-own-";
/// How often, a millisecond apart, the kernel is asked to remove what it is still emptying.
const TRIES: usize = 200;

/// A cgroup of a cell. Dropped, it is removed, with everything that is still in it.
#[derive(Debug)]
pub struct Cgroup {
    parent: OwnedFd,
    name: String,
    /// Locked as long as the cell is somebody's.
    folder: OwnedFd,
    /// Ours, where we left the parent.
    own: Option<String>,
    /// The controllers that we had the parent give its children.
    enabled: Vec<String>,
    removed: bool,
}

fn folder(at: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(at, name, flags, Mode::empty())
}

fn write(at: BorrowedFd<'_>, name: &str, content: &str) -> Result<()> {
    let call = || format!("write {content:?} to {name:?} of the cgroup");
    let file = openat(at, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).or_call(call)?;
    rustix::io::write(&file, content.as_bytes())
        .or_call(call)
        .map(drop)
}

fn read(at: BorrowedFd<'_>, name: &str) -> Option<String> {
    let file = openat(at, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::with_capacity(4096);
    rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)).ok()?;
    String::from_utf8(bytes).ok()
}

impl Cgroup {
    /// Makes it, with its limits set and nothing in it.
    ///
    /// # Errors
    /// `Host`: the kernel refuses a part of it, though the cgroup looked like one of the caller's.
    pub fn make(plan: &CellCgroup) -> Result<Self> {
        let host = |error: Error| {
            error
                .kind(Kind::Host)
                .hint("start lazaret in a scope: systemd-run --user --scope -p Delegate=yes")
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat(CWD, plan.folder.as_str(), flags, Mode::empty())
            .or_call(|| format!("open {:?}", plan.folder))
            .map_err(host)?;
        sweep(parent.as_fd());
        let pid = rustix::process::getpid().as_raw_nonzero();
        let own = match plan.leave {
            true => Some(leave(parent.as_fd(), &format!("{OWN}{pid}")).map_err(host)?),
            false => None,
        };
        let had = read(parent.as_fd(), "cgroup.subtree_control").unwrap_or_default();
        let missing = plan.controllers.iter();
        let missing = missing.filter(|c| !had.split_whitespace().any(|have| have == *c));
        let enabled: Vec<String> = missing.cloned().collect();
        if !enabled.is_empty() {
            let words: Vec<String> = enabled.iter().map(|c| format!("+{c}")).collect();
            write(parent.as_fd(), "cgroup.subtree_control", &words.join(" ")).map_err(host)?;
        }
        let name = format!("{CELL}{pid}");
        let call = || format!("mkdir {:?}", format!("{}/{name}", plan.folder));
        let mode = Mode::from_raw_mode(0o755);
        mkdirat(&parent, name.as_str(), mode)
            .or_call(call)
            .map_err(host)?;
        let opened = folder(parent.as_fd(), &name).or_call(call).map_err(host)?;
        let made = Self {
            parent,
            name,
            folder: opened,
            own,
            enabled,
            removed: false,
        };
        flock(&made.folder, FlockOperation::NonBlockingLockExclusive)
            .or_call(|| "flock the container's cgroup")
            .map_err(host)?;
        for (file, content) in &plan.files {
            match write(made.folder.as_fd(), file, content) {
                // A kernel without swap has no such file, and no swap to bound.
                Err(error) if error.errno == Some(libc::ENOENT) && file == "memory.swap.max" => {}
                other => other.map_err(host)?,
            }
        }
        Ok(made)
    }

    /// For the clone.
    ///
    /// # Errors
    /// `Launch`: no descriptor is left.
    pub fn entrance(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.folder, 3).or_call(|| "fcntl F_DUPFD_CLOEXEC")
    }

    /// Processor time of everything that was ever in it, in nanoseconds (cpu.stat).
    pub fn time(&self) -> Option<u64> {
        let text = read(self.folder.as_fd(), "cpu.stat")?;
        value(&text, "usage_usec")?.checked_mul(1000)
    }

    /// The most memory there was (memory.peak, Linux 5.19).
    pub fn peak(&self) -> Option<u64> {
        number(self.folder.as_fd(), "memory.peak")
    }

    /// The most swap there was (memory.swap.peak, Linux 6.5).
    pub fn swap_peak(&self) -> Option<u64> {
        number(self.folder.as_fd(), "memory.swap.peak")
    }

    /// The most processes there were (pids.peak, Linux 6.11).
    pub fn processes(&self) -> Option<u64> {
        number(self.folder.as_fd(), "pids.peak")
    }

    /// The kernel has killed something in it for want of memory (memory.events).
    pub fn memory_ran_out(&self) -> bool {
        let events = read(self.folder.as_fd(), "memory.events").unwrap_or_default();
        let count = |name| value(&events, name).unwrap_or(0);
        count("oom_kill") + count("oom_group_kill") > 0
    }

    /// Removes it, once nothing is in it any more.
    ///
    /// # Errors
    /// `Io`: the kernel does not.
    pub fn remove(mut self) -> Result<()> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.removed, true) {
            return Ok(());
        }
        remove(self.parent.as_fd(), &self.name).or_call(|| "rmdir the container's cgroup")?;
        let Some(own) = &self.own else { return Ok(()) };
        // As it was: a cgroup with processes of its own gives its children no controllers.
        if !self.enabled.is_empty() {
            let words: Vec<String> = self.enabled.iter().map(|c| format!("-{c}")).collect();
            write(
                self.parent.as_fd(),
                "cgroup.subtree_control",
                &words.join(" "),
            )?;
        }
        write(self.parent.as_fd(), "cgroup.procs", "0")?;
        remove(self.parent.as_fd(), own).or_call(|| "rmdir our own cgroup")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Nobody is told: an error is on its way already, and the next run sweeps.
        self.take_away().unwrap_or_default();
    }
}

/// Moves this process to a cgroup of its own below `parent`.
fn leave(parent: BorrowedFd<'_>, name: &str) -> Result<String> {
    let mode = Mode::from_raw_mode(0o755);
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e).or_call(|| format!("mkdir {name:?} in the cgroup")),
    }
    let own = folder(parent, name).or_call(|| format!("open {name:?} in the cgroup"))?;
    write(own.as_fd(), "cgroup.procs", "0")?;
    Ok(name.to_owned())
}

/// Kills what is in a cgroup and removes it.
fn remove(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    for turn in 0..TRIES {
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {}
            Err(e) => return Err(e),
        }
        if turn == 0
            && let Ok(folder) = folder(parent, name)
        {
            // Linux 5.14; without it the pid namespace's end is everybody's all the same.
            write(folder.as_fd(), "cgroup.kill", "1").unwrap_or_default();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Errno::BUSY)
}

/// Removes what killed supervisors left: cells that nobody has locked, and own ones that are empty.
fn sweep(parent: BorrowedFd<'_>) {
    let Ok(entries) = Dir::read_from(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        // One that is in use is not removed by the kernel, and stays.
        let left = if name.starts_with(CELL) {
            let free =
                |folder: &OwnedFd| flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok();
            folder(parent, name).is_ok_and(|folder| free(&folder))
        } else {
            false
        };
        if left {
            remove(parent, name).unwrap_or_default();
        } else if name.starts_with(OWN) {
            unlinkat(parent, name, AtFlags::REMOVEDIR).unwrap_or_default();
        }
    }
}

fn number(at: BorrowedFd<'_>, name: &str) -> Option<u64> {
    read(at, name)?.trim().parse().ok()
}

/// The value of a line `name value`.
fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line?.trim().parse().ok()
}
