//! `lazaret rm`.

use super::{RmRequest, place};
use crate::container::record::{Containers, Damaged, State};
use crate::error::{Context, Error, Kind, Result};
use crate::report::{self, Format};
use crate::store::Store;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::os::fd::OwnedFd;

/// How long `rm -f` waits before it takes to something harder, in milliseconds.
const GRACE_MS: u32 = 5000;
/// How often it looks again until then.
const PACE_MS: u32 = 20;

/// Removes containers. What cannot be removed is told, and the others are.
///
/// # Errors
/// `Io`, `Store`: the store cannot be opened; standard output.
pub fn rm(request: &RmRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let mut code = 0;
    for name in &request.containers {
        match remove(store.as_ref(), name, request.force) {
            Ok(()) => report::stdout(&format!("{}\n", report::clean(name)))?,
            // As docker's -f: what is gone already is as it should be.
            Err(e) if request.force && e.kind == Kind::NotFound => {
                report::error(&e.action(format!("rm {name}")), Format::Text);
            }
            Err(e) => {
                let error = e.action(format!("rm {name}"));
                report::error(&error, Format::Text);
                code = error.exit_code();
            }
        }
    }
    Ok(code)
}

fn remove(store: Option<&Store>, name: &str, force: bool) -> Result<()> {
    let (Some(store), Some(containers)) = (store, super::containers(store)?) else {
        return Err(
            Error::new(Kind::NotFound, format!("there is no container {name:?}"))
                .hint("`lazaret ps -a` lists them"),
        );
    };
    let container = match containers.find(name) {
        // docker's `dead`: it goes with -f.
        Err(e) if e.kind == Kind::Store && force => match containers.find_damaged(name)? {
            Some(damaged) => return remove_damaged(store, &containers, &damaged),
            None => return Err(e),
        },
        found => found?,
    };
    if container.state == State::Running {
        if !force {
            return Err(Error::new(Kind::Busy, "the container is running")
                .hint(format!("end it and remove it: lazaret rm -f {name}")));
        }
        if let Some(supervisor) = containers.supervisor(&container.record)? {
            end(container.record.pid, &supervisor)?;
        }
    }
    place::forget_container(&containers, &container.record).map(drop)
}

/// Ends and removes a container whose record is damaged.
fn remove_damaged(store: &Store, containers: &Containers, damaged: &Damaged) -> Result<()> {
    if damaged.running {
        match containers.holder(damaged)? {
            Some((pid, supervisor)) => end(pid, &supervisor)?,
            None => {
                let cause = "somebody holds its damaged record, and is not to be seen";
                return Err(Error::new(Kind::Busy, cause));
            }
        }
    }
    place::forget_damaged(store, containers, damaged).map(drop)
}

/// Ends a running container from inside outwards: the command, as if it had been killed by
/// itself, so that its supervisor can tidy its terminal and its record; pid 1 and the supervisor
/// only if that does not help.
fn end(pid: i32, supervisor: &OwnedFd) -> Result<()> {
    // Again and again, because a container that is just starting has no command yet.
    for _ in 0..GRACE_MS / PACE_MS {
        for init in children(pid) {
            for child in children(init.as_raw_pid()) {
                kill_child(child, init.as_raw_pid())?;
            }
        }
        if ended(supervisor, PACE_MS)? {
            return Ok(());
        }
    }
    for init in children(pid) {
        kill_child(init, pid)?;
    }
    if ended(supervisor, GRACE_MS)? {
        return Ok(());
    }
    kill(supervisor)?;
    if ended(supervisor, GRACE_MS)? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Busy,
        format!("the supervisor (process {pid}) does not end"),
    ))
}

/// Kills a process if it is still the child of that parent.
fn kill_child(child: Pid, of: i32) -> Result<()> {
    // Opened before the check, so that the pid cannot become somebody else's in between.
    match rustix::process::pidfd_open(child, PidfdFlags::empty()) {
        Ok(process) if parent(child) == Some(of) => kill(&process),
        // It has ended by itself.
        _ => Ok(()),
    }
}

fn kill(process: &OwnedFd) -> Result<()> {
    match rustix::process::pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e).or_call(|| "end the container".to_owned()),
    }
}

/// Whether the process is gone within so many milliseconds.
fn ended(process: &OwnedFd, millis: u32) -> Result<bool> {
    let timeout = Timespec {
        tv_sec: i64::from(millis / 1000),
        tv_nsec: i64::from(millis % 1000) * 1_000_000,
    };
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    poll(&mut fds, Some(&timeout))
        .map(|n| n > 0)
        .or_call(|| "wait for the container's end".to_owned())
}

/// The processes that a supervisor has made: pid 1 of its cell. Empty where this kernel does not
/// tell (CONFIG_PROC_CHILDREN).
fn children(pid: i32) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(Pid::from_raw).collect()
}

fn parent(pid: Pid) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
