//! A function of this program in a cell of its own: how untrusted bytes are parsed.
//!
//! Two processes: pid 1 of new user, mount, pid, network, ipc, uts and cgroup namespaces, which
//! makes the given folder its root, gives up every capability that unpacking does not need, enters
//! a Landlock domain without execute, and waits; and the job, which installs seccomp last and runs.
//! No exec, no /proc, no /dev, and no network unless that is what it is for; open descriptors are
//! those that are named. The job's
//! bytes come back over a pipe; a job that ends without them has failed.

use super::launch::filter;
use super::wire::{At, Fault, Received, Record, receive, send};
use super::{init, landlock, mounts, payload, spawn};
use crate::error::{Context, Error, Kind, Result, strerror};
use crate::plan::{IdMap, Resource, Securebits, seccomp};
use crate::sys::{self, Cloned, Filter, Namespaces, SingleThread};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a confined job keeps: owners, modes and access below its root folder, nothing else.
const KEEP: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER"];
/// The most bytes that a job may answer.
const MAX_ANSWER: usize = 256 << 20;
/// How long an answer may take from its first byte until the job is gone.
const ANSWER: Duration = Duration::from_secs(30);
/// Address space of a job, in bytes: a bound on what hostile bytes can make it allocate.
const ADDRESS_SPACE: u64 = 2 << 30;

/// What a job is for, and so what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It makes the files of a layer, of all owners; it has no network.
    Unpack,
    /// It speaks to a registry: it has the network of the process that starts it, and no right over
    /// any file but its own.
    Fetch,
}

impl Purpose {
    /// The capabilities that it keeps in its user namespace.
    fn keeps(self) -> &'static [&'static str] {
        match self {
            Self::Unpack => KEEP,
            Self::Fetch => &[],
        }
    }

    /// Its profile of system calls.
    fn profile(self) -> &'static str {
        match self {
            Self::Unpack => "worker",
            Self::Fetch => "fetch",
        }
    }
}

/// Where and as whom a job runs.
#[derive(Debug)]
pub struct Confinement<'a> {
    /// What for.
    pub purpose: Purpose,
    /// Who ids inside are.
    pub map: &'a IdMap,
    /// The folder that becomes its root.
    pub root: BorrowedFd<'a>,
    /// Descriptors that the job uses; every other one is closed.
    pub keep: &'a [RawFd],
    /// This kernel's Landlock ABI; 0 is refused.
    pub landlock_abi: u32,
}

struct Ready {
    path: PathBuf,
    filter: Vec<Filter>,
    ours: (OwnedFd, OwnedFd),
    theirs: (OwnedFd, OwnedFd),
}

/// A job that was started. Dropped, it is killed.
#[derive(Debug)]
pub struct Job {
    pidfd: OwnedFd,
    control: OwnedFd,
    answer: OwnedFd,
    ended: bool,
}

/// Starts `job` confined. `job` gets its root folder.
///
/// Errors: `Host` when this machine cannot confine it; `Worker` when the protocol broke.
pub fn start(
    one: SingleThread,
    at: &Confinement<'_>,
    job: impl FnOnce(BorrowedFd<'_>) -> Vec<u8>,
) -> Result<Job> {
    if at.landlock_abi == 0 {
        return Err(Error::new(
            Kind::Host,
            "this kernel has no Landlock, without which no worker runs",
        )
        .hint("boot with lsm=...,landlock, or use Linux 5.13 or newer; see `lazaret doctor`"));
    }
    let (control, their_control) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .or_call(|| "socketpair")?;
    let (answer, their_answer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_call(|| "pipe2")?;
    // The child reopens the folder by name in its own mount namespace and compares inodes.
    let path = std::fs::read_link(format!("/proc/self/fd/{}", at.root.as_raw_fd()))
        .or_call(|| "readlink the worker's folder")?;
    let ready = Ready {
        path,
        filter: filter(&seccomp::Profile::builtin(at.purpose.profile(), [])?)?,
        ours: (control, answer),
        theirs: (their_control, their_answer),
    };
    let namespaces = Namespaces {
        network: at.purpose == Purpose::Unpack,
    };
    sys::default_signal(libc::SIGCHLD).or_call(|| "sigaction SIGCHLD")?;
    let (pid, pidfd) = match sys::clone3(one, namespaces, None).map_err(spawn::no_clone)? {
        Cloned::Child => child(one, at, ready, job),
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(ready.theirs);
    let (control, answer) = ready.ours;
    let job = Job {
        pidfd,
        control,
        answer,
        ended: false,
    };
    if !at.map.is_single() {
        // Where this fails, the job goes with its value.
        spawn::write_map(pid, at.map)?;
        send(job.control.as_fd(), &Record::Mapped, &[])
            .map_err(|f| Error::new(Kind::Worker, format!("{}: {}", f.call, f.errno)))?;
    }
    Ok(job)
}

impl Job {
    /// What poll(2) finds readable once the job answers or ends.
    pub fn answer(&self) -> BorrowedFd<'_> {
        self.answer.as_fd()
    }

    /// Waits for the job's end and returns its bytes. From its first byte on an answer has
    /// [`ANSWER`] until the job is gone.
    ///
    /// Errors: `Worker` when the job died or broke the protocol, or could not be confined.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let bytes = read_answer(&self.answer, &self.pidfd, ANSWER);
        if bytes.is_err() {
            self.signal()?;
        }
        self.ended = true;
        let status = wait(&self.pidfd)?;
        let failed = receive(self.control.as_fd(), true).or_call(|| "recvmsg from a worker")?;
        if let Received::Record(Record::Failed { errno, call, .. }, _) = failed {
            return Err(Error {
                errno: Some(errno),
                ..Error::new(
                    Kind::Worker,
                    format!("confine a worker: {call}: {}", strerror(errno)),
                )
            }
            .hint("`lazaret doctor` says what this machine lacks"));
        }
        let bytes = bytes?;
        match status {
            0 => Ok(bytes),
            // A job killed by its filter or for want of memory has said nothing that is believed.
            status => Err(Error::new(
                Kind::Worker,
                format!("a confined worker died (status {status})"),
            )
            .hint("the image may be hostile, or memory ran out")),
        }
    }

    fn signal(&self) -> Result<()> {
        sys::signal_pidfd(self.pidfd.as_fd(), libc::SIGKILL, false).or_call(|| "kill a worker")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.ended {
            // Whoever drops it has an error of their own; a job that cannot be killed ends with this
            // process, whose sockets it watches.
            let _reaped = self.signal().and_then(|()| wait(&self.pidfd)).is_ok();
        }
    }
}

fn wait(pidfd: &OwnedFd) -> Result<i32> {
    let wait = || rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    let status = rustix::io::retry_on_intr(wait).or_call(|| "waitid a worker")?;
    Ok(status.map_or(125, |s| {
        s.exit_status()
            .or(s.terminating_signal().map(|n| 128 + n))
            .unwrap_or(125)
    }))
}

/// Reads an answer to its end, and waits until `process` has ended. How long the first byte takes is
/// the job's affair; from there on there are `time`.
fn read_answer(answer: &OwnedFd, process: &OwnedFd, time: Duration) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let mut until = None;
    let ready = |fd: &OwnedFd, until: Option<Instant>| {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| rustix::time::Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()));
        match ready.or_call(|| "poll a worker")? {
            0 => Err(Error::new(
                Kind::Worker,
                "a worker began to answer and did not come to its end",
            )),
            _ => Ok(()),
        }
    };
    loop {
        ready(answer, until)?;
        let n = rustix::io::retry_on_intr(|| rustix::io::read(answer, &mut buffer[..]))
            .or_call(|| "read a worker's answer")?;
        let until = *until.get_or_insert_with(|| Instant::now() + time);
        if n == 0 {
            return ready(process, Some(until)).map(|()| bytes);
        }
        bytes.extend_from_slice(&buffer[..n]);
        if bytes.len() > MAX_ANSWER {
            return Err(Error::new(Kind::Worker, "a worker's answer is too long"));
        }
    }
}

fn child(
    one: SingleThread,
    at: &Confinement<'_>,
    ready: Ready,
    job: impl FnOnce(BorrowedFd<'_>) -> Vec<u8>,
) -> ! {
    let (control, answer) = ready.theirs;
    drop(ready.ours);
    match enter(one, at, &ready.path, &control, &answer) {
        Ok(None) => {}
        Ok(Some(pid)) => {
            drop(answer);
            // The ends of pipes among them are the job's: who reads at the other end waits for the
            // last holder.
            let control = control.as_raw_fd();
            if sys::close_range(3, control - 1).is_err()
                || sys::close_range_from(control + 1).is_err()
            {
                sys::exit_now(125)
            }
            let status = rustix::io::retry_on_intr(|| {
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
            });
            let code = match status {
                Ok(Some((_, s))) => s.exit_status().or(s.terminating_signal().map(|n| 128 + n)),
                _ => None,
            };
            sys::exit_now(code.unwrap_or(125))
        }
        Err(fault) => fail(&control, fault),
    }
    // The job.
    drop(control);
    let root = openat(
        CWD,
        "/",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let (Ok(root), Ok(())) = (root, sys::install_filter(&ready.filter)) else {
        sys::exit_now(125)
    };
    let bytes = job(root.as_fd());
    sys::exit_now(if mounts::write_all(answer.as_fd(), &bytes).is_ok() {
        0
    } else {
        125
    })
}

fn fail(control: &OwnedFd, fault: Fault) -> ! {
    let record = Record::Failed {
        step: 0,
        errno: fault.errno.raw_os_error(),
        call: fault.call.to_owned(),
    };
    sys::exit_now(if send(control.as_fd(), &record, &[]).is_ok() {
        125
    } else {
        124
    })
}

/// Everything up to the job's own filter, in order. `None` in the job, its pid in pid 1.
fn enter(
    one: SingleThread,
    at: &Confinement<'_>,
    path: &Path,
    control: &OwnedFd,
    answer: &OwnedFd,
) -> std::result::Result<Option<rustix::process::Pid>, Fault> {
    let fds = at.keep.iter().copied();
    let keep: Vec<RawFd> = fds
        .chain([control.as_raw_fd(), answer.as_raw_fd(), at.root.as_raw_fd()])
        .collect();
    init::close_all_but(keep)?;
    init::map_ids(at.map, control.as_fd())?;
    // While this process still is the caller to the file system.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, path, flags, Mode::empty()).at("openat the worker's folder")?;
    let (meant, found) = (
        rustix::fs::fstat(at.root).at("fstat the worker's folder")?,
        rustix::fs::fstat(&folder).at("fstat the worker's folder")?,
    );
    if (meant.st_dev, meant.st_ino) != (found.st_dev, found.st_ino) {
        return Err(Fault {
            errno: Errno::STALE,
            call: "the worker's folder was moved",
        });
    }
    // This one lies in the host's mounts: `..` leads from it to the host's root, past the pivot, and
    // Landlock governs neither stat nor chmod there. Whoever takes a worker over must not find it.
    let outside = at.root.as_raw_fd();
    sys::close_range(outside, outside).at("close the worker's folder")?;
    init::become_container_root(!at.map.is_single())?;
    init::die_with_supervisor(control.as_fd())?;
    if !sys::scrub_arguments_and_environment() {
        return Err(Fault {
            errno: Errno::FAULT,
            call: "find the launcher's arguments",
        });
    }
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .at("prctl PR_SET_DUMPABLE")?;
    sys::join_new_session_keyring()
        .map(drop)
        .at("keyctl join session")?;
    init::private_mounts()?;
    mounts::only(folder.as_fd())?;
    drop(folder);
    rustix::system::sethostname(b"lazaret-worker").at("sethostname")?;
    landlock::worker(at.landlock_abi)?;
    payload::set_rlimit(Resource::Core, 1, 1)?;
    payload::set_rlimit(Resource::AddressSpace, ADDRESS_SPACE, ADDRESS_SPACE)?;
    let keep = at.purpose.keeps().iter();
    let keep: Vec<String> = keep.map(|c| (*c).to_owned()).collect();
    payload::bound(&keep, Securebits::WORTHLESS_ROOT)?;
    payload::set_capabilities(&keep)?;
    rustix::thread::set_no_new_privs(true).at("prctl PR_SET_NO_NEW_PRIVS")?;
    // libc's own fork, so that the job may start threads.
    sys::fork(one).at("fork the job")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of some bytes by who then does not go, or does.
    fn answer(bytes: &[u8], ends: bool) -> Result<Vec<u8>> {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (process, end) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, bytes).unwrap();
        let held = (!ends).then_some(end);
        let kept = held.is_some().then_some(write);
        let time = Duration::from_millis(50);
        let answer = read_answer(&read, &process, time);
        drop((held, kept));
        answer
    }

    #[test]
    fn who_has_begun_to_answer_comes_to_an_end() {
        assert_eq!(answer(b"+all", true).unwrap(), b"+all");
        let error = answer(b"+half", false).unwrap_err();
        assert_eq!(error.kind, Kind::Worker);
        assert!(error.cause.contains("its end"), "{error}");
    }

    #[test]
    fn who_has_answered_goes() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (process, _stays) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, b"+all").unwrap();
        drop(write);
        let error = read_answer(&read, &process, Duration::from_millis(50)).unwrap_err();
        assert!(error.cause.contains("its end"), "{error}");
    }
}
