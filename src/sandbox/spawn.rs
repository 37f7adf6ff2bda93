//! The supervisor's side of a launch: the clone, the id map, and what arrives from inside.

use super::launch::{Launch, Streams};
use super::verifier::{self, Finding};
use super::wire::{Fault, Received, Record, receive, send};
use super::{binds, init, payload};
use crate::error::{Context, Error, Kind, Result, strerror};
use crate::plan::seccomp::Instruction;
use crate::plan::seccomp::told::{Data, refusal};
use crate::plan::{HELPER_FOLDERS, IdMap, IdRange, Plan, Step, Upper};
use crate::sys::{self, Cloned, Listener, Namespaces, Notification, SingleThread, Usage};
use rustix::buffer::spare_capacity;
use rustix::process::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};

/// A cell that was started. Dropping it ends the cell: pid 1 watches the control socket.
#[derive(Debug)]
pub struct Running {
    plan: Plan,
    /// pid 1 of the cell.
    pub init: OwnedFd,
    /// pid 1's number outside.
    pub init_pid: Pid,
    /// Records from pid 1.
    pub control: OwnedFd,
    /// Records from the payload; its end without a record means that the command runs.
    pub payload_records: OwnedFd,
    /// The verifier's report.
    pub report: OwnedFd,
    /// Its other end, held so that the report's end wakes nobody: go or refusal say it.
    report_end: Option<OwnedFd>,
    /// The supervisor's ends of the standard streams.
    pub streams: Streams,
    /// The payload's process, once started.
    pub payload: Option<OwnedFd>,
    /// The payload has become the command: its socket closed, and it had told no failure.
    pub executed: bool,
    reported: Vec<u8>,
    /// What the payload's filter answers by itself, where its refusals are told.
    answers: Option<Vec<Instruction>>,
}

/// Something that the cell told.
#[derive(Debug)]
pub enum Told {
    /// The payload of a cell with a pty was forked; the pty is there.
    Started,
    /// The layers are as recorded; the payload is known, and goes.
    Go,
    /// The payload ended, with waitpid's status.
    Ended { status: i32 },
    /// A step took this long.
    Took { step: usize, nanoseconds: u64 },
    /// Nothing executed: why.
    Failed(Error),
    /// The verifier says no: [`Running::findings`] says why.
    Refused,
    /// Calls that the payload's filter refuses arrive here; or why they do not, an errno.
    Listening(std::result::Result<Listener, i32>),
    /// The payload waits for who watches it ([`Running::observed`]).
    Unobserved,
    /// What [`Running::ask_for_view`] asked for: /proc of the cell, then its file systems in memory.
    View(Vec<OwnedFd>),
    /// The other side closed.
    Closed,
    /// Nothing there now.
    Nothing,
}

/// Starts `launch`. SIGCHLD is put back to its default first: a caller that ignores it would have
/// the kernel throw every exit status away, here and in pid 1 (wait(2)). The token says that this process has one thread.
pub fn spawn(launch: Launch, one: SingleThread) -> Result<Running> {
    let map = launch.plan.steps().iter().find_map(|p| match &p.step {
        Step::MapIds(map) => Some(map.clone()),
        _ => None,
    });
    let map = map.ok_or_else(|| Error::new(Kind::Launch, "the plan maps no ids"))?;
    sys::default_signal(libc::SIGCHLD).or_call(|| "sigaction SIGCHLD")?;
    // The network namespace is the verifier's to make (Step::MakeNetwork).
    let without = Namespaces { network: false };
    let cgroup = launch.cgroup.as_ref().map(AsFd::as_fd);
    let (pid, init) = match sys::clone3(one, without, cgroup).map_err(no_clone)? {
        Cloned::Child => init::run(launch, one),
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    let Launch {
        plan,
        ours,
        mut theirs,
        streams,
        child,
        answers,
        ..
    } = launch;
    let report_end = theirs.report.take();
    drop((theirs, child));
    let running = Running {
        plan,
        init,
        init_pid: pid,
        control: ours.control,
        payload_records: ours.payload,
        report: ours.report,
        report_end,
        streams,
        payload: None,
        executed: false,
        reported: Vec::new(),
        answers,
    };
    if write_map(pid, &map)? {
        send(running.control.as_fd(), &Record::Mapped, &[]).map_err(no_send)?;
    }
    Ok(running)
}

/// Says a word to whoever is at the other end, if anybody still is.
fn say(socket: &OwnedFd, record: &Record) -> Result<()> {
    use rustix::io::Errno;
    match send(socket.as_fd(), record, &[]) {
        Err(fault) if matches!(fault.errno, Errno::PIPE | Errno::CONNRESET) => Ok(()),
        other => other.map_err(no_send),
    }
}

fn no_send(fault: Fault) -> Error {
    Error::new(
        Kind::Launch,
        format!("{}: {}", fault.call, strerror(fault.errno.raw_os_error())),
    )
}

/// What a failed clone means for a person.
pub(super) fn no_clone(errno: rustix::io::Errno) -> Error {
    no_namespace("clone3 into new namespaces", errno)
}

fn no_namespace(call: &str, errno: rustix::io::Errno) -> Error {
    let error = Error::call(call, errno.raw_os_error()).kind(Kind::Host);
    match errno {
        rustix::io::Errno::PERM => error.hint(
            "unprivileged user namespaces are off: see `lazaret doctor` for the setting that allows them",
        ),
        rustix::io::Errno::AGAIN => error.hint(
            "the limit of processes is reached: see ulimit -u, or the cgroup's pids.max",
        ),
        rustix::io::Errno::NOSPC | rustix::io::Errno::USERS => {
            error.hint("user.max_user_namespaces or its siblings are used up: see `lazaret doctor`")
        }
        _ => error,
    }
}

/// Writes the map of `pid`'s user namespace, unless that is for `pid` itself to do: false.
pub(super) fn write_map(pid: Pid, map: &IdMap) -> Result<bool> {
    match map.lines() {
        None => return Ok(false),
        Some((uid, gid, true)) => map_by_helpers(pid, &uid, &gid)?,
        Some((uid, gid, false)) => map_directly(pid, &uid, &gid)?,
    }
    Ok(true)
}

fn numbers(lines: &[IdRange]) -> impl Iterator<Item = String> {
    lines
        .iter()
        .flat_map(|line| [line.inside, line.outside, line.count])
        .map(|number| number.to_string())
}

/// newuidmap(1) and newgidmap(1), side by side.
fn map_by_helpers(pid: Pid, uid: &[IdRange], gid: &[IdRange]) -> Result<()> {
    let start = |helper: &str, lines: &[IdRange]| -> Result<Child> {
        for folder in HELPER_FOLDERS {
            let path = format!("{folder}/{helper}");
            let started = Command::new(&path)
                .args([pid.as_raw_nonzero().get().to_string()])
                .args(numbers(lines))
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn();
            match started {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => {
                    return other
                        .or_call(|| format!("start {path}"))
                        .map_err(|e| e.kind(Kind::Host));
                }
            }
        }
        Err(Error::new(Kind::Host, format!("{helper} is not installed"))
            .hint("install the package that has it (uidmap, shadow)"))
    };
    let both = [
        ("newuidmap", start("newuidmap", uid)?),
        ("newgidmap", start("newgidmap", gid)?),
    ];
    for (helper, child) in both {
        let out = child
            .wait_with_output()
            .or_call(|| format!("wait for {helper}"))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            return Err(
                Error::new(Kind::Host, format!("{helper} refused: {}", said.trim()))
                    .hint("see /etc/subuid and /etc/subgid, and `lazaret doctor`"),
            );
        }
    }
    Ok(())
}

/// Real root writes the map itself, all lines in one write (user_namespaces(7)).
fn map_directly(pid: Pid, uid: &[IdRange], gid: &[IdRange]) -> Result<()> {
    let write = |name: &str, lines: &[IdRange]| {
        let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
        let line = |l: &IdRange| format!("{} {} {}\n", l.inside, l.outside, l.count);
        let text: String = lines.iter().map(line).collect();
        std::fs::write(&path, text)
            .or_call(|| format!("write {path:?}"))
            .map_err(|e| e.kind(Kind::Host))
    };
    write("uid_map", uid)?;
    write("gid_map", gid)
}

impl Running {
    /// Lets the command go as soon as pid 1 and the verifier agree: without this word it never runs.
    /// What has to be done before, and takes time, is done between [`spawn`] and here, beside the
    /// mounts.
    ///
    /// # Errors
    /// `Launch`: a call failed. That pid 1 is gone is none: why is what it told last.
    pub fn release(&self) -> Result<()> {
        say(&self.control, &Record::Release)
    }

    /// Asks pid 1 for what the cell's processes and its files in memory are seen through; it comes as
    /// [`Told::View`]. Only where the plan says that they are looked at, and once the command goes.
    ///
    /// # Errors
    /// As [`Running::release`].
    pub fn ask_for_view(&self) -> Result<()> {
        say(&self.control, &Record::View)
    }

    /// What pid 1 says, without waiting.
    pub fn next_told(&mut self) -> Result<Told> {
        let received = receive(self.control.as_fd(), true).or_call(|| "recvmsg from pid 1")?;
        Ok(match received {
            Received::Nothing => Told::Nothing,
            Received::Closed => Told::Closed,
            Received::Record(Record::Started, fds) => {
                let mut fds = fds.into_iter();
                self.payload = fds.next();
                self.streams.terminal = fds.next();
                Told::Started
            }
            Received::Record(Record::Go, fds) => {
                let payload = fds.into_iter().next();
                self.payload = payload.or(self.payload.take());
                Told::Go
            }
            Received::Record(Record::Refused, _) => Told::Refused,
            Received::Record(Record::View, fds) => Told::View(fds),
            Received::Record(Record::Ended { status }, _) => Told::Ended { status },
            Received::Record(Record::Took { step, nanoseconds }, _) => {
                Told::Took { step, nanoseconds }
            }
            Received::Record(Record::Failed { step, errno, call }, _) => {
                Told::Failed(self.failure(step, errno, &call))
            }
            Received::Record(
                Record::Mapped
                | Record::Release
                | Record::Network
                | Record::Listener
                | Record::Deaf { .. }
                | Record::Observe
                | Record::Observed,
                _,
            ) => {
                return Err(Error::new(Kind::Launch, "pid 1 broke the protocol"));
            }
        })
    }

    /// What the payload says before it is the command, without waiting.
    pub fn next_payload_told(&self) -> Result<Told> {
        let received =
            receive(self.payload_records.as_fd(), true).or_call(|| "recvmsg from the payload")?;
        Ok(match received {
            Received::Nothing => Told::Nothing,
            Received::Closed => Told::Closed,
            Received::Record(Record::Failed { step, errno, call }, _) => {
                Told::Failed(self.failure(step, errno, &call))
            }
            Received::Record(Record::Took { step, nanoseconds }, _) => {
                Told::Took { step, nanoseconds }
            }
            Received::Record(Record::Listener, fds) if self.answers.is_some() => {
                match fds.into_iter().next() {
                    Some(listener) => Told::Listening(Ok(Listener::new(listener))),
                    // No room for another descriptor: it was dropped, and nobody answers.
                    None => {
                        return Err(
                            Error::new(Kind::Launch, "the filter's listener did not come")
                                .hint("ulimit -n may be too low"),
                        );
                    }
                }
            }
            Received::Record(Record::Observe, _) if self.observes() => Told::Unobserved,
            Received::Record(Record::Deaf { errno }, _) if self.answers.is_some() => {
                Told::Listening(Err(errno))
            }
            Received::Record(..) => {
                return Err(Error::new(Kind::Launch, "the payload broke the protocol"));
            }
        })
    }

    /// Whether refused calls are told ([`Told::Listening`]).
    pub fn tells(&self) -> bool {
        self.answers.is_some()
    }

    /// Whether the payload waits for who watches it ([`Told::Unobserved`]).
    pub fn observes(&self) -> bool {
        let mut steps = self.plan.steps().iter();
        steps.any(|planned| matches!(planned.step, Step::AwaitObserver))
    }

    /// The payload is watched, and goes on.
    ///
    /// # Errors
    /// As [`Running::release`].
    pub fn observed(&self) -> Result<()> {
        say(&self.payload_records, &Record::Observed)
    }

    /// What the payload's filter would answer to `call` by itself, if it told of nothing.
    pub fn refusal(&self, call: &Notification) -> u16 {
        let data = Data {
            number: call.number,
            arch: call.arch,
            instruction: call.instruction,
            args: call.args,
        };
        refusal(self.answers.as_deref().unwrap_or_default(), &data)
    }

    /// Takes in what of the verifier's report is there, to be called when [`Running::report`] is
    /// readable; false at its end, which does not come before [`Running::findings`].
    pub fn read_report(&mut self) -> Result<bool> {
        // Most say nothing, so little room is made; what is said of many files comes in more calls.
        self.reported.reserve(4096);
        let read = || rustix::io::read(&self.report, spare_capacity(&mut self.reported));
        let n = rustix::io::retry_on_intr(read).or_call(|| "read the verifier's report")?;
        Ok(n > 0)
    }

    /// The verifier's findings; reads its report to the end, which has come when pid 1 said go or
    /// refused.
    pub fn findings(&mut self) -> Result<Vec<Finding>> {
        drop(self.report_end.take());
        while self.read_report()? {}
        verifier::findings(&self.reported)
            .ok_or_else(|| Error::new(Kind::Launch, "the verifier's report is cut short"))
    }

    /// Sends `signal` to the command's process group.
    pub fn signal(&self, signal: i32) -> Result<()> {
        match &self.payload {
            Some(payload) => match sys::signal_pidfd(payload.as_fd(), signal, true) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(e) => Err(e).or_call(|| format!("pidfd_send_signal {signal}")),
            },
            None => Ok(()),
        }
    }

    /// Kills the whole cell: pid 1's end is everybody's.
    pub fn kill(&self) -> Result<()> {
        match sys::signal_pidfd(self.init.as_fd(), libc_sigkill(), false) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e).or_call(|| "pidfd_send_signal SIGKILL to pid 1"),
        }
    }

    /// Waits for pid 1's end, which is the end of every process of the cell (pid_namespaces(7)).
    /// What pid 1 has waited for is in what it used. Not counted are processes that are killed with
    /// it, which the kernel waits for without counting, and children of a process that ignores
    /// SIGCHLD (getrusage(2)).
    pub fn reap(&self) -> Result<Usage> {
        let wait = || sys::wait_with_usage(self.init_fd());
        rustix::io::retry_on_intr(wait).or_call(|| "waitid pid 1")
    }

    fn init_fd(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// The steps that are being walked.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A failed step in the plan's own words.
    fn failure(&self, step: usize, errno: i32, call: &str) -> Error {
        let Some(planned) = self.plan.steps().get(step) else {
            return Error::new(
                Kind::Launch,
                format!("step {step} of the plan: {call}: {}", strerror(errno)),
            );
        };
        let errno_words = strerror(errno);
        let error = match &planned.step {
            Step::Execute { path, argv, .. } => {
                let command = path.as_ref().or(argv.first()).map_or("", String::as_str);
                let noent = rustix::io::Errno::NOENT.raw_os_error();
                if call == payload::COPY_IS_GONE {
                    Error::new(
                        Kind::CommandNotExecutable,
                        format!("cannot execute {command:?}: {errno_words}; nothing was run"),
                    )
                    .hint("another file took its place while it started, or it is a script whose interpreter may not be executed")
                } else if errno == noent && call != "execve" {
                    Error::new(
                        Kind::CommandNotFound,
                        format!(
                            "{command:?} is there, but the interpreter or loader that it names is not"
                        ),
                    )
                } else if errno == noent || errno == rustix::io::Errno::NOTDIR.raw_os_error() {
                    match path {
                        None => Error::new(
                            Kind::CommandNotFound,
                            format!("{command:?} was not found in the image"),
                        )
                        .hint("a command without / is looked up in the image's PATH"),
                        Some(_) => Error::new(
                            Kind::CommandNotFound,
                            format!("{command:?} leads nowhere in the cell"),
                        )
                        .hint("name the file that it is a link to"),
                    }
                } else {
                    Error::new(
                        Kind::CommandNotExecutable,
                        format!("cannot execute {command:?}: {errno_words}"),
                    )
                }
            }
            Step::BecomeUser { user, .. } if call.starts_with("look up") => Error::new(
                Kind::Launch,
                format!("user {user} is not known in the image: {call}"),
            )
            .hint("-u takes a name of the image's /etc/passwd, or a number"),
            // An id that the map does not have (setresuid(2)).
            Step::BecomeUser { user, .. }
                if errno == rustix::io::Errno::INVAL.raw_os_error()
                    && call.starts_with("setres") =>
            {
                Error::new(
                    Kind::Launch,
                    format!("user {user} has an id that this container does not have"),
                )
                .hint(
                    "`lazaret run --dry-run` prints the ids that are mapped; -u takes one of them",
                )
            }
            Step::OpenSource { path, .. } if call == binds::CLOSED => {
                Error::new(Kind::Launch, format!("open {path:?}: {call}")).hint(
                    "pid 1 of a cell has no capability outside: chmod o+x the folders above it",
                )
            }
            Step::MountProgram(program) if call == binds::NOT_IT => Error::new(
                Kind::Integrity,
                format!(
                    "{:?} is not {}; nothing was run",
                    program.source, program.sha256
                ),
            )
            .hint("sha256sum tells what it is now"),
            step if binds::PLAIN.contains(&call) => {
                Error::new(Kind::Launch, format!("{}: {call}", step.describe()))
            }
            Step::JoinNetwork if call.starts_with("unshare") => {
                no_namespace(call, rustix::io::Errno::from_raw_os_error(errno))
            }
            // overlayfs wants xattrs and d_type of what it writes to, and refuses another overlay.
            Step::MountRoot {
                upper: Upper::Disk { .. },
                ..
            } if call == "mount overlay" && errno == rustix::io::Errno::INVAL.raw_os_error() => {
                let step = planned.step.describe();
                Error::new(Kind::Launch, format!("{step}: {call}: {errno_words}")).hint(
                    "the store's file system may be one that overlayfs cannot write to: use --rm, or keep the store (LAZARET_STORE) on another",
                )
            }
            Step::OpenLayers if errno == rustix::io::Errno::NOENT.raw_os_error() => {
                let step = planned.step.describe();
                Error::new(Kind::Launch, format!("{step}: {call}: {errno_words}"))
                    .hint(super::launch::LOST)
            }
            Step::ChangeDirectory { path } => Error::new(
                Kind::Launch,
                format!("cannot change to the working directory {path:?}: {errno_words}"),
            ),
            step => Error::new(
                Kind::Launch,
                format!("{}: {call}: {errno_words}", step.describe()),
            ),
        };
        Error {
            errno: Some(errno),
            ..error
        }
    }
}

fn libc_sigkill() -> i32 {
    rustix::process::Signal::KILL.as_raw()
}
