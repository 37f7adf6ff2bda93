//! The supervisor's end of refusals that are told: it answers each with what the payload's filter
//! would have said by itself, and keeps count.
//!
//! Nothing is ever let through from here, and no memory of the payload is read. What is kept is
//! bounded however many calls there are, and by the number of a call, so that a flood of one hides
//! no other.

use crate::plan::seccomp::{Arch, words};
use crate::sys::{Listener, Notification};
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Distinct refusals that are kept of each system call; more are counted together.
pub const OF_A_CALL: usize = 16;
/// Programs that are told apart; others have no name.
pub const PROGRAMS: usize = 64;
/// Bytes of a program's name that are kept.
const NAME: usize = 256;
/// Calls that are answered in one turn of the supervisor's loop, a few milliseconds at most, as long as
/// nobody else wants anything.
pub(super) const IN_A_TURN: usize = 256;

/// A refusal, as often as it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The system call's number; `None`: numbers that no table has, beyond the first of them.
    pub number: Option<u32>,
    /// What of its arguments says something ([`words::shown`]); `None`: all that were too many to be
    /// kept apart.
    pub shown: Option<[u64; words::SHOWN]>,
    /// All arguments, of the first of them.
    pub args: [u64; 6],
    /// The errno that it got.
    pub errno: u16,
    /// The program that made it, a path inside, or a thread's name where that is not to be seen. It
    /// is a stranger's word. `None`: nobody could tell, or there were too many.
    pub program: Option<String>,
    /// How often.
    pub times: u64,
}

/// What makes two refusals one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    shown: [u64; words::SHOWN],
    errno: u16,
    program: Option<u8>,
}

#[derive(Debug)]
struct Kept {
    args: [u64; 6],
    times: u64,
    /// When it came first, among all.
    place: usize,
}

/// What is kept of one system call.
#[derive(Debug, Default)]
struct OfCall {
    kept: HashMap<Key, Kept>,
    /// The rest, and its first.
    others: Option<(u16, Kept)>,
}

/// Names of programs, each once, no more than [`PROGRAMS`].
#[derive(Debug, Default)]
pub(super) struct Programs(Vec<String>);

impl Programs {
    /// The place of a name; `None`: it has none, or there are too many.
    pub(super) fn place(&mut self, name: Option<String>) -> Option<u8> {
        let name = name?;
        let known = self.0.iter().position(|known| *known == name);
        let at = known.or_else(|| {
            (self.0.len() < PROGRAMS).then(|| {
                self.0.push(name);
                self.0.len() - 1
            })
        })?;
        u8::try_from(at).ok()
    }

    /// The name at a place.
    pub(super) fn name(&self, place: Option<u8>) -> Option<&String> {
        self.0.get(usize::from(place?))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Counts, bounded.
#[derive(Debug, Default)]
struct Table {
    /// By number; all that are in no table of ours are one.
    calls: HashMap<Option<u32>, OfCall>,
    programs: Programs,
    places: usize,
}

impl Table {
    fn add(&mut self, call: &Notification, errno: u16, program: Option<String>) {
        let arch = Arch::native();
        let program = self.programs.place(program);
        let known = arch.name(call.number).is_some();
        let of_call = self.calls.entry(known.then_some(call.number)).or_default();
        let mut shown = words::shown(arch, call.number, &call.args);
        if !known {
            // Its number is what tells it from others.
            shown[0] = call.number.into();
        }
        let key = Key {
            shown,
            errno,
            program,
        };
        if let Some(kept) = of_call.kept.get_mut(&key) {
            kept.times = kept.times.saturating_add(1);
            return;
        }
        let new = Kept {
            args: call.args,
            times: 1,
            place: self.places,
        };
        if of_call.kept.len() < OF_A_CALL {
            self.places += 1;
            of_call.kept.insert(key, new);
            return;
        }
        match &mut of_call.others {
            Some((_, others)) => others.times = others.times.saturating_add(1),
            none => {
                self.places += 1;
                *none = Some((errno, new));
            }
        }
    }

    /// Everything, in the order in which each came first.
    fn into_denied(self) -> Vec<Denied> {
        let mut all: Vec<(usize, Denied)> = Vec::new();
        let programs = &self.programs;
        for (number, of_call) in self.calls {
            for (key, kept) in of_call.kept {
                let program = programs.name(key.program);
                let unknown = || u32::try_from(key.shown[0]).ok();
                let denied = Denied {
                    number: number.or_else(unknown),
                    shown: Some(key.shown),
                    args: kept.args,
                    errno: key.errno,
                    program: program.cloned(),
                    times: kept.times,
                };
                all.push((kept.place, denied));
            }
            if let Some((errno, kept)) = of_call.others {
                let denied = Denied {
                    number,
                    shown: None,
                    args: kept.args,
                    errno,
                    program: None,
                    times: kept.times,
                };
                all.push((kept.place, denied));
            }
        }
        all.sort_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, denied)| denied).collect()
    }
}

/// Answers and counts.
#[derive(Debug, Default)]
pub(super) struct Denials {
    listener: Option<Listener>,
    /// Why there is no listener, an errno.
    deaf: Option<i32>,
    /// The payload has said how it is.
    settled: bool,
    /// Nobody is left under the filter, or nobody can be answered.
    over: Cell<bool>,
    /// Why nobody can be answered.
    broken: Cell<Option<Errno>>,
    /// /proc, once it is looked at.
    proc: OnceCell<Option<OwnedFd>>,
    table: RefCell<Table>,
}

impl Denials {
    /// The payload's filter is in force.
    pub(super) fn settle(&mut self, listening: Result<Listener, i32>) {
        self.settled = true;
        match listening {
            Ok(listener) => self.listener = Some(listener),
            Err(errno) => self.deaf = Some(errno),
        }
    }

    /// Whether the payload has said how it is.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Where refused calls arrive.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        let listener = self.listener.as_ref().filter(|_| !self.over.get());
        listener.map(AsFd::as_fd)
    }

    /// Answers the call that waits, where poll(2) said this of the listener. Without POLLIN it says
    /// POLLHUP: the last process under the filter has ended; or something is broken for good.
    /// `refusal`: what the filter would have said.
    pub(super) fn answer(&self, refusal: impl Fn(&Notification) -> u16, ready: PollFlags) {
        if !ready.contains(PollFlags::IN) {
            self.over.set(true);
            return;
        }
        let Some(listener) = &self.listener else {
            return;
        };
        let call = match listener.receive() {
            Ok(call) => call,
            Err(errno) => return self.failed(errno),
        };
        let errno = refusal(&call);
        let program = self.program(call.thread);
        // The kernel refuses an answer to a call that nobody waits for: then the number may have
        // become another's before the name was read (seccomp_unotify(2)).
        let answered = listener.refuse(call.id, errno);
        let program = program.filter(|_| answered.is_ok());
        self.table.borrow_mut().add(&call, errno, program);
        if let Err(errno) = answered {
            self.failed(errno);
        }
    }

    /// Whoever made a call may have ended since. Another failure would be that of every call, and all
    /// who make one would wait for ever: [`Denials::rest`].
    fn failed(&self, errno: Errno) {
        if !matches!(errno, Errno::NOENT | Errno::INTR) {
            self.broken.set(Some(errno));
            self.over.set(true);
        }
    }

    /// Closes a listener at which nothing more is heard. Whoever is refused then gets ENOSYS from the
    /// kernel, and does not wait.
    pub(super) fn rest(&mut self) {
        if self.over.get() {
            self.listener = None;
            let broken = self.broken.take().map(Errno::raw_os_error);
            self.deaf = broken.or(self.deaf);
        }
    }

    fn program(&self, thread: u32) -> Option<String> {
        let proc = self.proc.get_or_init(open_proc);
        program_of(proc.as_ref()?.as_fd(), thread)
    }

    /// What was refused, and why nothing could be told, an errno.
    pub(super) fn take(&mut self) -> (Vec<Denied>, Option<i32>) {
        self.listener = None;
        (self.table.take().into_denied(), self.deaf)
    }
}

/// /proc, where threads are looked up.
pub(super) fn open_proc() -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc", flags, Mode::empty()).ok()
}

/// The program of a thread: its executable inside, or else the thread's own name.
pub(super) fn program_of(proc: BorrowedFd<'_>, thread: u32) -> Option<String> {
    if thread == 0 {
        return None;
    }
    let exe = readlinkat(proc, format!("{thread}/exe"), Vec::new());
    let mut name = match exe {
        Ok(path) if !path.as_bytes().is_empty() => path.to_string_lossy().into_owned(),
        _ => comm(proc, thread)?,
    };
    let end = name.floor_char_boundary(NAME);
    name.truncate(end);
    Some(name)
}

/// A thread's name (proc(5), "comm"): 15 bytes and a line feed.
fn comm(proc: BorrowedFd<'_>, thread: u32) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(proc, format!("{thread}/comm"), flags, Mode::empty()).ok()?;
    let mut name = [0; 64];
    let n = rustix::io::read(&file, &mut name).ok()?;
    let name = String::from_utf8_lossy(name.get(..n)?);
    let name = name.strip_suffix('\n').unwrap_or(&name);
    // The kernel names a thread by its program's last part; a path here is somebody else's.
    let own = !name.is_empty() && !name.contains('/');
    own.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, args: [u64; 6]) -> Notification {
        Notification {
            id: 1,
            thread: 1,
            number: Arch::native().number(name).unwrap(),
            arch: Arch::native().audit(),
            instruction: 0,
            args,
        }
    }

    #[test]
    fn a_flood_is_bounded_and_hides_nothing() {
        let mut table = Table::default();
        for n in 0..100_000u64 {
            let program = Some(format!("/bin/{n}"));
            table.add(&call("unshare", [n, 0, 0, 0, 0, 0]), 1, program);
        }
        for number in 100_000..200_000 {
            let unknown = Notification {
                number,
                ..call("unshare", [0; 6])
            };
            table.add(&unknown, 38, None);
        }
        table.add(&call("bpf", [5, 0, 0, 0, 0, 0]), 38, None);
        table.add(&call("bpf", [5, 9, 9, 9, 9, 9]), 38, None);
        assert_eq!(table.programs.len(), PROGRAMS);
        let denied = table.into_denied();
        assert_eq!(denied.len(), 2 * (OF_A_CALL + 1) + 1);
        let last = denied.last().unwrap();
        assert_eq!((last.number, last.times), (Arch::native().number("bpf"), 2));
        let times: u64 = denied.iter().map(|d| d.times).sum();
        assert_eq!(times, 200_002);
        let others: Vec<_> = denied.iter().filter(|d| d.shown.is_none()).collect();
        assert_eq!(others.len(), 2);
        assert_eq!(others[0].times, 100_000 - OF_A_CALL as u64);
        assert_eq!(denied[0].number, Arch::native().number("unshare"));
        assert_eq!(denied[0].program.as_deref(), Some("/bin/0"));
        assert_eq!(others[1].number, None);
    }

    #[test]
    fn a_listener_that_cannot_be_answered_is_closed() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, b"x").unwrap();
        let mut denials = Denials::default();
        denials.settle(Ok(Listener::new(read)));
        denials.rest();
        assert!(denials.fd().is_some());
        denials.answer(|_| 1, PollFlags::IN);
        denials.rest();
        assert!(denials.fd().is_none() && denials.is_settled());
        // The other end knows that it is closed.
        assert_eq!(rustix::io::write(&write, b"x"), Err(Errno::PIPE));
        let (denied, deaf) = denials.take();
        assert_eq!((denied, deaf), (Vec::new(), Some(libc::ENOTTY)));
    }

    #[test]
    fn a_threads_name_is_no_path() {
        let proc = rustix::fs::open("/proc", OFlags::PATH, Mode::empty()).unwrap();
        for (name, told) in [("worker", Some("worker")), ("/bin/sh", None)] {
            let thread = std::thread::Builder::new().name(name.to_owned());
            let proc = proc.as_fd();
            let heard = std::thread::scope(|scope| {
                let own = || rustix::thread::gettid().as_raw_nonzero().get();
                let hear = move || comm(proc, own().cast_unsigned());
                thread.spawn_scoped(scope, hear).unwrap().join().unwrap()
            });
            assert_eq!(heard.as_deref(), told);
        }
    }

    #[test]
    fn a_thread_that_is_gone_has_no_program() {
        let denials = Denials::default();
        assert_eq!(denials.program(0), None);
        assert_eq!(denials.program(u32::MAX), None);
        let own = denials.program(std::process::id()).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(own, exe.to_str().unwrap());
    }
}
