//! The supervisor's loop: one poll over pid 1, its records, signals, the clock and the streams,
//! until pid 1 has ended.

use super::audit::Audit;
pub use super::audit::Logged;
use super::cgroup::Cgroup;
pub use super::denials::Denied;
use super::denials::{Denials, IN_A_TURN};
use super::exit::ended;
pub use super::exit::{Ended, Exit};
pub use super::learner::{Deeds, Used};
use super::meter::{Holder, Meter, What};
use super::observer::Observer;
pub use super::observer::Outcome;
use super::refused::refused;
use super::relay::{Own, Relay, ready};
pub use super::shape::{Access, Object};
pub use super::signals::Signals;
use super::terminal::{RawTerminal, copy_window_size, reopen_terminal};
use super::watch::Watcher;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::{Plan, Stdio, Step, Watch};
use crate::sandbox::{Running, Told};
use crate::sys::Usage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a reader that does not read is waited for once somebody wanted the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a signal asks for the end of the cell.
fn asks_for_the_end(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT
    )
}

/// The time until then, for poll(2); `None`: without end.
fn left_until(deadline: Option<Instant>) -> Option<Timespec> {
    let left = deadline?.saturating_duration_since(Instant::now());
    Some(Timespec::try_from(left).unwrap_or(Timespec {
        tv_sec: i64::MAX,
        tv_nsec: 0,
    }))
}

/// One of the three standard streams, by its place in [`Loop::relays`].
const INPUT: usize = 0;
const OUTPUT: usize = 1;
const ERROR: usize = 2;

/// What the poll woke up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Init,
    Signals,
    Control,
    Report,
    Payload,
    Denied,
    Stream(usize),
}

/// What SIGTERM does (`Step::StopBy`).
#[derive(Debug, Clone, Copy, Default)]
struct Stop {
    /// What the command gets instead.
    signal: Option<i32>,
    /// How long after that it is killed.
    kill_after: Option<Duration>,
    /// When, once that is known.
    kill_at: Option<Instant>,
}

struct Loop<'a> {
    running: &'a mut Running,
    beside: &'a mut dyn Beside,
    stdio: Stdio,
    relays: [Option<Relay>; 3],
    raw: Option<RawTerminal>,
    began: Instant,
    /// Standard output and error where they are terminals, opened again so as never to wait.
    shown: [Option<OwnedFd>; 2],
    status: Option<i32>,
    /// What everything was killed for.
    killed: Option<Ended>,
    watcher: Watcher<'a>,
    /// How many bytes the command may say, and how many of them are left.
    output: Option<u64>,
    output_left: u64,
    stop: Stop,
    /// A signal asked for the end of the cell.
    end_wanted: bool,
    /// The layers are as recorded.
    go: bool,
    failure: Option<Error>,
    exit: Exit,
    control_open: bool,
    payload_open: bool,
    report_open: bool,
    denials: Denials,
    observer: Option<Observer>,
    audit: Option<Audit>,
}

/// What is done while the supervisor would only wait. Each is called once at the most, and keeps
/// whatever it does short: signals, streams and bounds wait for it.
pub trait Beside {
    /// The layers are as recorded, and the command is executed.
    fn going(&mut self, plan: &Plan);
    /// The command has ended, and the kernel takes the cell down.
    fn ended(&mut self);
}

/// Nothing.
impl Beside for () {
    fn going(&mut self, _: &Plan) {}
    fn ended(&mut self) {}
}

/// Runs the loop to the end of the cell. `cgroup`: the cell's, if it has one. An error means that
/// nothing was executed, or that the cell was killed because the supervisor could not go on.
pub fn supervise(
    running: &mut Running,
    signals: &Signals,
    cgroup: Option<&Cgroup>,
    beside: &mut dyn Beside,
) -> Result<Exit> {
    let (mut stdio, mut timeout, mut output) = (Stdio::Output, None, None);
    let mut stop = Stop::default();
    for planned in running.plan().steps() {
        if let Step::StopBy { signal, kill_after } = planned.step {
            stop = Stop {
                signal: Some(signal),
                kill_after,
                kill_at: None,
            };
        }
        if let Step::Supervise {
            stdio: s,
            timeout: t,
            watched,
        } = &planned.step
        {
            (stdio, timeout) = (*s, *t);
            output = watched
                .iter()
                .find(|w| w.what == Watch::Output)
                .map(|w| w.bound);
        }
    }
    let watcher = Watcher::new(running.plan(), cgroup);
    let mut this = Loop {
        running,
        beside,
        stdio,
        relays: [None, None, None],
        raw: None,
        began: Instant::now(),
        shown: [
            reopen_terminal(rustix::stdio::stdout()),
            reopen_terminal(rustix::stdio::stderr()),
        ],
        status: None,
        killed: None,
        watcher,
        output,
        output_left: output.unwrap_or(u64::MAX),
        stop,
        end_wanted: false,
        go: false,
        failure: None,
        exit: Exit {
            how: Ended::Code(0),
            findings: Vec::new(),
            took: Vec::new(),
            stream_error: None,
            meters: Vec::new(),
            usage: Usage::default(),
            denied: Vec::new(),
            untold: None,
            outcomes: Vec::new(),
            logged: Vec::new(),
            deeds: None,
        },
        control_open: true,
        payload_open: true,
        report_open: true,
        denials: Denials::default(),
        observer: None,
        audit: None,
    };
    if this.running.observes() {
        this.audit = Audit::listen();
    }
    let result = this
        .open_pipes()
        .and_then(|()| this.turn(signals, timeout.map(|t| Instant::now() + t)));
    let killed = if result.is_err() {
        this.running.kill()
    } else {
        Ok(())
    };
    // Whoever is watched ends only once that is known to who watches.
    let watched = this.observer.take().map(Observer::end);
    // pid 1 has ended or was killed: wait until the kernel has taken everything down.
    this.exit.usage = this.running.reap()?;
    // First of all, and one whatever the other says: whether the command ran.
    let (told, payload_told) = (this.hear_control_out(), this.hear_payload_out());
    killed?;
    result?;
    told?;
    payload_told?;
    (this.exit.denied, this.exit.untold) = this.denials.take();
    if let Some(watched) = watched.transpose()? {
        (this.exit.outcomes, this.exit.deeds) = (watched.outcomes, watched.deeds);
    }
    if let Some(audit) = this.audit.take() {
        let init = this.running.init_pid.as_raw_nonzero().get();
        this.exit.logged = audit.read(init);
    }
    this.drain_streams(signals)?;
    drop(this.raw.take());
    if let Some(failure) = this.failure.take() {
        return Err(failure);
    }
    let began = this.began;
    this.exit.meters = this.meters(timeout, began.elapsed());
    this.exit.how = match (this.killed, this.status) {
        (Some(killed), _) => killed,
        (None, Some(status)) => ended(status),
        (None, None) => {
            return Err(Error::new(
                Kind::Launch,
                "pid 1 of the container died before the command ended",
            )
            .hint("it may have been killed from outside, or by the kernel for want of memory"));
        }
    };
    Ok(this.exit)
}

/// An end of ours never waits: a command that does not read, or reads what is ours, must not keep the loop
/// from signals and the clock. The command's end is another description, with flags of its own.
fn never_wait(end: &OwnedFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(end).or_call(|| "fcntl F_GETFL")?;
    rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK).or_call(|| "fcntl F_SETFL")
}

impl Loop<'_> {
    fn open_pipes(&mut self) -> Result<()> {
        let streams = &self.running.streams;
        // A command may read its own output back through /proc/self/fd: between poll(2) and a read.
        let ours = [&streams.input, &streams.output, &streams.error];
        ours.into_iter().flatten().try_for_each(never_wait)?;
        let out = |name, from: &OwnedFd, to| Relay::new(name, from.as_fd(), to, Own::Source);
        self.relays[OUTPUT] = streams
            .output
            .as_ref()
            .map(|from| out("standard output", from, rustix::stdio::stdout()));
        self.relays[ERROR] = streams
            .error
            .as_ref()
            .map(|from| out("standard error", from, rustix::stdio::stderr()));
        if let Some(to) = &streams.input {
            let relay = Relay::new(
                "standard input",
                rustix::stdio::stdin(),
                to.as_fd(),
                Own::Destination,
            );
            self.relays[INPUT] = Some(relay);
        }
        Ok(())
    }

    fn open_terminal(&mut self) -> Result<()> {
        let Stdio::Terminal { input } = self.stdio else {
            return Ok(());
        };
        let Some(master) = &self.running.streams.terminal else {
            return Err(Error::new(Kind::Launch, "pid 1 sent no pty"));
        };
        copy_window_size(master)?;
        never_wait(master)?;
        let out = Relay::new(
            "standard output",
            master.as_fd(),
            rustix::stdio::stdout(),
            Own::Source,
        );
        self.relays[OUTPUT] = Some(out);
        if input {
            self.raw = RawTerminal::enter()?;
            let relay = Relay::new(
                "standard input",
                rustix::stdio::stdin(),
                master.as_fd(),
                Own::Destination,
            );
            self.relays[INPUT] = Some(relay);
        }
        Ok(())
    }

    /// Source and destination of a stream.
    fn ends(&self, stream: usize) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        let streams = &self.running.streams;
        let terminal = streams.terminal.as_ref();
        Some(match stream {
            INPUT => (
                rustix::stdio::stdin(),
                streams.input.as_ref().or(terminal)?.as_fd(),
            ),
            OUTPUT => (
                streams.output.as_ref().or(terminal)?.as_fd(),
                self.shown[0]
                    .as_ref()
                    .map_or(rustix::stdio::stdout(), AsFd::as_fd),
            ),
            _ => (
                streams.error.as_ref()?.as_fd(),
                self.shown[1]
                    .as_ref()
                    .map_or(rustix::stdio::stderr(), AsFd::as_fd),
            ),
        })
    }

    /// The loop itself; ends when pid 1 has.
    fn turn(&mut self, signals: &Signals, deadline: Option<Instant>) -> Result<()> {
        loop {
            let woken = self.wait(signals, deadline)?;
            self.denials.rest();
            // Whatever else there is to do: a command that never stops writing gets no more time.
            if self.killed.is_none() && deadline.is_some_and(|d| Instant::now() >= d) {
                self.kill_for(Ended::Timeout)?;
            }
            if let Some(crossed) = self.watcher.look(self.running)? {
                self.kill_for(crossed)?;
            }
            // Of the command alone: pid 1 tells how it ended.
            if self.stop.kill_at.is_some_and(|at| Instant::now() >= at) {
                self.stop = Stop::default();
                self.running.signal(libc::SIGKILL)?;
            }
            // Streams first, so that nothing said before the end is lost behind it.
            for wake in &woken {
                if let Wake::Stream(stream) = *wake {
                    self.move_stream(stream)?;
                }
            }
            for wake in woken.iter().copied() {
                match wake {
                    Wake::Init => return Ok(()),
                    Wake::Signals => self.forward(signals)?,
                    Wake::Control => self.hear_control_out()?,
                    Wake::Report => self.report_open = self.running.read_report()?,
                    Wake::Payload => {
                        self.hear_control_out()?;
                        self.hear_payload()?;
                    }
                    Wake::Denied | Wake::Stream(_) => {}
                }
            }
        }
    }

    fn wait(&self, signals: &Signals, deadline: Option<Instant>) -> Result<Vec<Wake>> {
        let running = &*self.running;
        let mut watched: Vec<(Wake, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(8);
        watched.push((Wake::Init, running.init.as_fd(), PollFlags::IN));
        watched.push((Wake::Signals, signals.fd.as_fd(), PollFlags::IN));
        // Not for its mere end, once it has told the command's: pid 1's own follows. The payload's
        // socket is heard after that too: whatever it tells, the payload ends of it.
        if self.control_open && self.status.is_none() {
            watched.push((Wake::Control, running.control.as_fd(), PollFlags::IN));
        }
        if self.report_open {
            watched.push((Wake::Report, running.report.as_fd(), PollFlags::IN));
        }
        if let Some(listener) = self.denials.fd() {
            watched.push((Wake::Denied, listener, PollFlags::IN));
        } else if self.payload_open && self.speaks() {
            let records = running.payload_records.as_fd();
            watched.push((Wake::Payload, records, PollFlags::IN));
        }
        for stream in [INPUT, OUTPUT, ERROR] {
            if let (Some(relay), Some((from, to))) = (&self.relays[stream], self.ends(stream)) {
                watched.push(if relay.wants_write() {
                    (Wake::Stream(stream), to, PollFlags::OUT)
                } else {
                    (Wake::Stream(stream), from, PollFlags::IN)
                });
            }
        }
        let mut fds: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let deadline = deadline.filter(|_| self.killed.is_none());
        let due = deadline.into_iter().chain(self.watcher.due());
        let due = due.chain(self.stop.kill_at).min();
        let denied = watched.iter().position(|(wake, ..)| *wake == Wake::Denied);
        // Whoever is refused waits for the answer, so that it comes at once; but whoever else there
        // is, and the clock, wait for no more than the turn's share of them.
        for _ in 0..IN_A_TURN {
            let ready = match poll(&mut fds, left_until(due).as_ref()) {
                Ok(ready) => ready,
                // What the fds say is of the last call.
                Err(Errno::INTR) => break,
                Err(e) => return Err(e).or_call(|| "poll"),
            };
            let Some(listener) = denied.and_then(|at| fds.get(at)) else {
                break;
            };
            let said = listener.revents();
            if said.is_empty() {
                break;
            }
            self.denials.answer(|call| running.refusal(call), said);
            if ready > 1 || !said.contains(PollFlags::IN) {
                break;
            }
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(watched
            .iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|((wake, ..), _)| *wake)
            .collect())
    }

    /// Whether the payload says something before it is the command that is waited for.
    fn speaks(&self) -> bool {
        let tells = self.running.tells() && !self.denials.is_settled();
        tells || self.running.observes() && self.observer.is_none()
    }

    /// Moves a stream on; closes our end when it is done, so that the other side learns of it.
    fn move_stream(&mut self, stream: usize) -> Result<()> {
        let Some(mut relay) = self.relays[stream].take() else {
            return Ok(());
        };
        if let Some((from, to)) = self.ends(stream) {
            if stream != INPUT {
                relay.left = self.output_left;
            }
            relay.step(from, to);
            if stream != INPUT {
                self.output_left = relay.left;
            }
        }
        if relay.crossed && self.killed.is_none() {
            self.kill_for(Ended::Output)?;
        }
        if !relay.done {
            self.relays[stream] = Some(relay);
            return Ok(());
        }
        if let Some(error) = relay.failed {
            self.exit.stream_error.get_or_insert(error);
        }
        if stream == INPUT && relay.unwanted && self.raw.is_none() {
            self.close_input();
        }
        let streams = &mut self.running.streams;
        match stream {
            // Its terminal hung up: so does the command's, whose session gets SIGHUP (pty(7)).
            INPUT if self.raw.is_some() => streams.terminal = None,
            INPUT => streams.input = None,
            OUTPUT => streams.output = None,
            _ => streams.error = None,
        }
        Ok(())
    }

    /// Everything inside ends, for crossing a bound.
    fn kill_for(&mut self, crossed: Ended) -> Result<()> {
        self.killed = Some(crossed);
        self.watcher.stop();
        self.running.kill()
    }

    /// What was counted of the cell, which has ended.
    fn meters(&mut self, timeout: Option<Duration>, wall: Duration) -> Vec<Meter> {
        if let Some(ended) = self.watcher.end()
            && self.killed.is_none()
        {
            self.killed = Some(ended);
        }
        let nanoseconds = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let said = self.output.unwrap_or(u64::MAX) - self.output_left;
        let of = |what, bound, used| Meter::exact(what, Holder::Supervisor, bound, Some(used));
        let mut meters = self.watcher.meters(self.running.plan());
        meters.push(of(What::Output, self.output, said));
        meters.push(of(What::Wall, timeout.map(nanoseconds), nanoseconds(wall)));
        meters
    }

    /// The command reads no more: whoever writes to our standard input gets the signal that it would
    /// have got without us.
    fn close_input(&self) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty());
        // Where there is none, it learns of it when we end.
        null.and_then(|null| rustix::stdio::dup2_stdin(&null))
            .unwrap_or_default();
    }

    /// After the end: everything that is still in the pipes, however slow its reader is. But
    /// where a signal or the timeout ended the command, or a signal comes now, a reader that does
    /// not read is waited for [`PATIENCE`] and no more.
    fn drain_streams(&mut self, signals: &Signals) -> Result<()> {
        self.relays[INPUT] = None;
        // A command that took the signal and went on to its own end keeps its whole output.
        let by_signal = |status| matches!(ended(status), Ended::Signal(_));
        let cut = self.killed.is_some() || self.end_wanted && self.status.is_none_or(by_signal);
        let mut deadline = cut.then(|| Instant::now() + PATIENCE);
        for stream in [OUTPUT, ERROR] {
            while let Some(relay) = &self.relays[stream] {
                let Some((from, to)) = self.ends(stream) else {
                    break;
                };
                if relay.wants_write() {
                    let mut fds = [
                        PollFd::from_borrowed_fd(to, PollFlags::OUT),
                        PollFd::from_borrowed_fd(signals.fd.as_fd(), PollFlags::IN),
                    ];
                    match poll(&mut fds, left_until(deadline).as_ref()) {
                        Ok(0) => return Ok(()),
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(e) => return Err(e).or_call(|| "poll"),
                    }
                    let (writable, signalled) =
                        (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
                    if signalled && self.ends_it(signals)? && deadline.is_none() {
                        deadline = Some(Instant::now() + PATIENCE);
                    }
                    if !writable {
                        continue;
                    }
                } else if !ready(from, PollFlags::IN) {
                    break;
                }
                self.move_stream(stream)?;
            }
        }
        Ok(())
    }

    /// Takes in the signals that came after the end; whether one of them asks for it.
    fn ends_it(&self, signals: &Signals) -> Result<bool> {
        let mut ends = false;
        while let Some(info) = signals.fd.read_signal().or_call(|| "read signalfd")? {
            ends |= asks_for_the_end(i32::try_from(info.ssi_signo).unwrap_or(libc::SIGTERM));
        }
        Ok(ends)
    }

    fn forward(&mut self, signals: &Signals) -> Result<()> {
        while let Some(info) = signals.fd.read_signal().or_call(|| "read signalfd")? {
            let number = i32::try_from(info.ssi_signo).unwrap_or(libc::SIGTERM);
            self.end_wanted |= asks_for_the_end(number);
            match number {
                libc::SIGWINCH => {
                    if let Some(terminal) = &self.running.streams.terminal {
                        copy_window_size(terminal)?;
                    }
                }
                // The command is in a session of its own, where SIGTSTP is not heard: stop it for
                // certain, then stop as the shell expects of us.
                libc::SIGTSTP => {
                    self.running.signal(libc::SIGSTOP)?;
                    if let Some(raw) = &self.raw {
                        raw.pause()?;
                    }
                    rustix::process::kill_process(
                        rustix::process::getpid(),
                        rustix::process::Signal::STOP,
                    )
                    .or_call(|| "kill SIGSTOP to ourselves")?;
                }
                libc::SIGCONT => {
                    if let Some(raw) = &mut self.raw {
                        raw.resume()?;
                    }
                    self.running.signal(number)?;
                }
                _ if self.running.payload.is_none() => {
                    // Nothing runs yet that could answer.
                    if asks_for_the_end(number) {
                        self.failure.get_or_insert(Error::new(
                            Kind::Launch,
                            "interrupted before the command ran",
                        ));
                        self.running.kill()?;
                    }
                }
                libc::SIGTERM => {
                    if let Some(after) = self.stop.kill_after {
                        self.stop.kill_at.get_or_insert(Instant::now() + after);
                    }
                    self.running.signal(self.stop.signal.unwrap_or(number))?;
                }
                _ => self.running.signal(number)?,
            }
        }
        Ok(())
    }

    fn hear_control_out(&mut self) -> Result<()> {
        while self.control_open && self.hear_control()? {}
        Ok(())
    }

    fn hear_payload_out(&mut self) -> Result<()> {
        while self.payload_open && self.hear_payload()? {}
        Ok(())
    }

    /// One record of pid 1; false when there is none now.
    fn hear_control(&mut self) -> Result<bool> {
        match self.running.next_told()? {
            Told::Nothing => return Ok(false),
            Told::Closed => {
                self.control_open = false;
                return Ok(false);
            }
            Told::Started => self.open_terminal()?,
            Told::Go => {
                self.go = true;
                self.exit.findings = self.running.findings()?;
                self.report_open = false;
                self.watcher.start(self.running)?;
                self.beside.going(self.running.plan());
            }
            Told::View(view) => self.watcher.see(view)?,
            Told::Listening(_) | Told::Unobserved => {
                return Err(Error::new(Kind::Launch, "pid 1 broke the protocol"));
            }
            Told::Refused => {
                self.exit.findings = self.running.findings()?;
                self.report_open = false;
                self.failure.get_or_insert(refused(&self.exit.findings));
            }
            Told::Ended { status } => {
                if self.status.replace(status).is_none() {
                    self.beside.ended();
                }
            }
            Told::Took { step, nanoseconds } => self.exit.took.push((step, nanoseconds)),
            Told::Failed(error) => {
                self.failure.get_or_insert(error);
            }
        }
        Ok(true)
    }

    /// One record of the payload before it is the command; false when there is none now.
    fn hear_payload(&mut self) -> Result<bool> {
        match self.running.next_payload_told()? {
            Told::Nothing => return Ok(false),
            Told::Closed => {
                self.payload_open = false;
                // pid 1's go is heard first: it was sent before the payload could go.
                self.running.executed = self.go && self.failure.is_none();
                return Ok(false);
            }
            Told::Took { step, nanoseconds } => self.exit.took.push((step, nanoseconds)),
            Told::Listening(listening) => self.denials.settle(listening),
            // Known since pid 1's go, which is heard first.
            Told::Unobserved => match (&self.running.payload, &self.observer) {
                (Some(payload), None) => {
                    self.observer = Some(Observer::start(payload, self.running.plan())?);
                    self.running.observed()?;
                }
                _ => return Err(Error::new(Kind::Launch, "the payload broke the protocol")),
            },
            // The payload without go only says that there was none: pid 1 or the verifier says why.
            Told::Failed(error) if error.errno == Some(libc::ECANCELED) => {}
            Told::Failed(error) => {
                self.failure.get_or_insert(error);
            }
            _ => return Err(Error::new(Kind::Launch, "the payload broke the protocol")),
        }
        Ok(true)
    }
}
