//! The observer: a process that watches what the cell's system calls come to, and keeps what the kernel
//! refused.
//!
//! It is forked from the supervisor, which has to stay of one thread, and joins the cell's user
//! namespace, where it may watch whoever is in there, and see into files that are closed to the caller.
//! It decides nothing: a call that is watched goes on as it is. What it reads of the payload's memory, a
//! path or an address, is read after the kernel has decided, is a stranger's word, and only ever
//! printed. What is kept is bounded, and by call and errno, so that a flood of one hides no other. Where
//! the observer ends, all that it watches ends (PTRACE_O_EXITKILL).
//!
//! A filter of the payload's own that hands calls to a watcher (SECCOMP_RET_TRACE) has none and is
//! refused them by the kernel. Here one is there, so that the kernel would let them pass: who makes such
//! a call is killed.

use super::denials::{Programs, open_proc, program_of};
use super::helper::{become_a_helper, close_all_but};
use super::learner::{Act, Before, Deeds, Learner};
use super::shape::{Access, Object, Shape, address_of, low, may_be_the_cells, shape, worth_a_look};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::seccomp::{Arch, MARK, Observe};
use crate::plan::{Plan, Step, plain_path};
use crate::sys::{self, SingleThread, Stop, Tracer};
use rustix::fs::{Mode, OFlags, readlinkat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Distinct outcomes that are kept of each call and errno; more are counted together.
const OF_EACH: usize = 32;
/// Bytes of a path (PATH_MAX).
const PATH: usize = 4096;

/// What the kernel refused, as often as it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The system call's number.
    pub number: u32,
    /// What it was about; `None`: all that were too many to be kept apart.
    pub object: Option<Object>,
    /// The errno that the kernel gave.
    pub errno: u16,
    /// The program that made it, as [`super::denials::Denied::program`].
    pub program: Option<String>,
    /// How often.
    pub times: u64,
}

/// The process, while it watches.
#[derive(Debug)]
pub(super) struct Observer {
    pid: Pid,
    /// Whether it watches, an errno; then what it has seen.
    told: OwnedFd,
}

/// What was watched.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Watched {
    /// What the kernel refused.
    pub(super) outcomes: Vec<Outcome>,
    /// What it let pass, where all is watched.
    pub(super) deeds: Option<Deeds>,
}

/// Bytes of what was watched.
const MOST: u64 = 64 << 20;

impl Observer {
    /// Watches the process of `payload`, and everybody that it makes, from here on.
    ///
    /// # Errors
    /// `Host`: this machine lets nobody watch; `Launch`: it has ended, or there can be no process.
    pub(super) fn start(payload: &OwnedFd, plan: &Plan) -> Result<Self> {
        let pid = pid_of(payload)?;
        let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(&path, flags, Mode::empty());
        let namespace = namespace.or_call(|| format!("open {path:?}"))?;
        let one = SingleThread::check()?;
        let (told, tells) = pipe_with(PipeFlags::CLOEXEC).or_call(|| "pipe2")?;
        let observer = match sys::fork(one).or_call(|| "fork the observer")? {
            None => serve(pid, plan, &namespace, tells),
            Some(pid) => Self { pid, told },
        };
        drop(tells);
        let mut errno = [0; 4];
        let mut told = std::fs::File::from(observer.told.try_clone().or_call(|| "dup")?);
        match told.read_exact(&mut errno).map(|()| i32::from_le_bytes(errno)) {
            Ok(0) => Ok(observer),
            Ok(errno) => Err(Error::call("ptrace the command", errno)
                .kind(Kind::Host)
                .hint("--explain=full and learn watch the command, which this machine forbids (kernel.yama.ptrace_scope = 3, or a debugger around lazaret); --explain=calls does not")),
            Err(_) => Err(Error::new(Kind::Launch, "the observer ended at once")),
        }
    }

    /// What was watched, once everybody who is has ended.
    ///
    /// # Errors
    /// `Launch`: the observer was killed, and with it all that it watched.
    pub(super) fn end(self) -> Result<Watched> {
        let mut bytes = Vec::new();
        let told = self.told.try_clone().or_call(|| "dup")?;
        let read = std::fs::File::from(told).take(MOST).read_to_end(&mut bytes);
        read.or_call(|| "read what was watched")?;
        serde_json::from_slice(&bytes).map_err(|_| {
            Error::new(
                Kind::Launch,
                "the observer ended before the command did, which ended with it",
            )
        })
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // It has ended, or ends with those that it watches.
        let wait = || waitpid(Some(self.pid), WaitOptions::empty());
        rustix::io::retry_on_intr(wait).unwrap_or_default();
    }
}

/// The forked process.
fn serve(pid: Pid, plan: &Plan, namespace: &OwnedFd, tells: OwnedFd) -> ! {
    let kept = vec![namespace.as_raw_fd(), tells.as_raw_fd()];
    let mut tells = std::fs::File::from(tells);
    let ready = close_all_but(kept)
        .and_then(|()| become_a_helper(namespace.as_fd()))
        .and_then(|()| Tracer::seize(pid));
    let errno = ready.as_ref().err().map_or(0, |errno| errno.raw_os_error());
    let heard = tells.write_all(&errno.to_le_bytes());
    let (Ok(tracer), Ok(())) = (ready, heard) else {
        sys::exit_now(1)
    };
    let watched = Watch::new(tracer, plan.clone()).watch();
    let told = serde_json::to_vec(&watched).map(|bytes| tells.write_all(&bytes));
    sys::exit_now(i32::from(!matches!(told, Ok(Ok(())))))
}

/// The process that a pidfd refers to (proc(5), "fdinfo").
fn pid_of(pidfd: &OwnedFd) -> Result<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).or_call(|| format!("read {path:?}"))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let pid = pid.and_then(|pid| pid.trim().parse().ok());
    pid.and_then(Pid::from_raw)
        .ok_or_else(|| Error::new(Kind::Launch, "the command ended before it was watched"))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    object: Object,
    program: Option<u8>,
}

/// What is kept of one call and errno: each with how often, and when it came first among all.
#[derive(Debug, Default)]
struct OfEach {
    kept: HashMap<Key, (u64, usize)>,
    others: Option<(u64, usize)>,
}

/// Counts, bounded.
#[derive(Debug, Default)]
struct Table {
    each: HashMap<(u32, u16), OfEach>,
    programs: Programs,
    places: usize,
}

impl Table {
    fn add(&mut self, number: u32, errno: u16, object: Object, program: Option<String>) {
        let program = self.programs.place(program);
        let each = self.each.entry((number, errno)).or_default();
        let key = Key { object, program };
        if let Some((times, _)) = each.kept.get_mut(&key) {
            *times += 1;
        } else if each.kept.len() < OF_EACH {
            each.kept.insert(key, (1, self.places));
            self.places += 1;
        } else if let Some((times, _)) = &mut each.others {
            *times += 1;
        } else {
            each.others = Some((1, self.places));
            self.places += 1;
        }
    }

    /// Everything, in the order in which each came first.
    fn into_outcomes(self) -> Vec<Outcome> {
        let mut all: Vec<(usize, Outcome)> = Vec::new();
        for ((number, errno), each) in self.each {
            let of = |object, program: Option<&String>, times| Outcome {
                number,
                object,
                errno,
                program: program.cloned(),
                times,
            };
            for (key, (times, place)) in each.kept {
                let program = self.programs.name(key.program);
                all.push((place, of(Some(key.object), program, times)));
            }
            let others = each.others.into_iter();
            all.extend(others.map(|(times, place)| (place, of(None, None, times))));
        }
        all.sort_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

/// The watch.
struct Watch {
    tracer: Tracer,
    plan: Plan,
    proc: Option<OwnedFd>,
    /// Calls that have begun, by their threads.
    begun: HashMap<u32, Begun>,
    table: Table,
    learner: Option<Learner>,
}

/// A call that has begun.
#[derive(Debug)]
struct Begun {
    number: u32,
    args: [u64; 6],
    /// Where one learns: what is known of it before the kernel takes it.
    learned: Option<Learned>,
}

/// What a call is about, which execve leaves nobody to ask for, and what was so.
#[derive(Debug)]
struct Learned {
    object: Option<Object>,
    from: Option<String>,
    /// The other path of a rename.
    to: Option<String>,
    before: Before,
}

impl Watch {
    fn new(tracer: Tracer, plan: Plan) -> Self {
        let all = plan.steps().iter().any(|planned| match &planned.step {
            Step::Seccomp(profile) => profile.observed == Some(Observe::Everything),
            _ => false,
        });
        Self {
            tracer,
            plan,
            proc: open_proc(),
            begun: HashMap::new(),
            table: Table::default(),
            learner: all.then(Learner::default),
        }
    }

    /// Until nobody is left; or until ptrace(2) fails in a way that is none of theirs: then they end
    /// with this process.
    fn watch(mut self) -> Watched {
        while let Ok((thread, stop)) = self.tracer.wait() {
            let goes_on = match stop {
                Stop::Call { said, .. } if said != MARK => self.tracer.kill(thread),
                Stop::Call { number, args, .. } => match self.begins(thread, number, args) {
                    true => self.tracer.go_to_the_end(thread),
                    false => self.tracer.go_on(thread, 0),
                },
                Stop::Done(outcome) => {
                    match (self.begun.remove(&thread), outcome) {
                        // It goes on, and the program does not wait for it.
                        (Some(begun), Err(errno)) if i32::from(errno) == libc::EINPROGRESS => {
                            self.passed(thread, begun);
                        }
                        (Some(begun), Err(errno)) => {
                            self.refused(thread, begun.number, &begun.args, errno);
                        }
                        (Some(begun), Ok(_)) => self.passed(thread, begun),
                        (None, _) => {}
                    }
                    self.tracer.go_on(thread, 0)
                }
                Stop::Executed { former } => {
                    let begun = self.begun.remove(&former);
                    self.forget(former);
                    self.forget(thread);
                    if let Some(begun) = begun {
                        self.passed(thread, begun);
                    }
                    self.tracer.go_on(thread, 0)
                }
                Stop::Signal(signal) => self.tracer.go_on(thread, signal),
                Stop::Stopped => self.tracer.stay(thread),
                Stop::Other => self.tracer.go_on(thread, 0),
                Stop::Ended => {
                    self.forget(thread);
                    Ok(())
                }
            };
            if goes_on.is_err() {
                break;
            }
        }
        Watched {
            outcomes: self.table.into_outcomes(),
            deeds: self.learner.map(Learner::into_deeds),
        }
    }

    fn forget(&mut self, thread: u32) {
        self.begun.remove(&thread);
        if let Some(learner) = &mut self.learner {
            learner.forget(thread);
        }
    }

    /// A call begins; whether its end says something.
    fn begins(&mut self, thread: u32, number: u32, args: [u64; 6]) -> bool {
        let name = Arch::native().name(number).unwrap_or_default();
        let shape = shape(name);
        let mut learned = None;
        if self.learner.is_some() {
            let object = shape.and_then(|shape| self.object(thread, shape, &args));
            let (object, from) = object.unzip();
            let to = match name {
                "rename" => self.path(thread, None, args[1]),
                "renameat" | "renameat2" => self.path(thread, Some(args[2]), args[3]),
                _ => None,
            };
            if let (Some(learner), Some(proc)) = (&mut self.learner, &self.proc) {
                learner.calls(thread, number, name);
                if shape.is_some() {
                    let before = learner.before(proc.as_fd(), thread, name, &args, object.as_ref());
                    learned = Some(Learned {
                        object,
                        from: from.flatten(),
                        to: to.map(|(path, _)| path),
                        before,
                    });
                }
            }
        }
        if shape.is_some() {
            let begun = Begun {
                number,
                args,
                learned,
            };
            self.begun.insert(thread, begun);
        }
        shape.is_some()
    }

    /// What the kernel let pass.
    fn passed(&mut self, thread: u32, begun: Begun) {
        let name = Arch::native().name(begun.number).unwrap_or_default();
        let (Some(learner), Some(proc), Some(learned)) =
            (&mut self.learner, &self.proc, begun.learned)
        else {
            return;
        };
        let (proc, args) = (proc.as_fd(), &begun.args);
        let program = program_of(proc, thread);
        let act = Act {
            thread,
            name,
            args,
            object: learned.object.as_ref(),
            from: learned.from.as_deref(),
            to: learned.to.as_deref(),
            before: &learned.before,
            program: program.as_deref(),
        };
        learner.passed(proc, &act);
    }

    /// Takes a refusal in, if the cell may be behind it.
    fn refused(&mut self, thread: u32, number: u32, args: &[u64; 6], errno: u16) {
        let name = Arch::native().name(number);
        let Some(shape) = name.and_then(shape) else {
            return;
        };
        if !worth_a_look(shape, i32::from(errno)) {
            return;
        }
        let Some((object, _)) = self.object(thread, shape, args) else {
            return;
        };
        // Every file is asked whether it is a terminal.
        if let Object::Driver { request, .. } = object
            && request >> 8 & 0xff == u32::from(b'T')
        {
            return;
        }
        let is_lack = i32::from(errno) == libc::ENOENT;
        if let (true, Object::Path { path, access }) = (is_lack, &object)
            && !may_be_the_cells(&self.plan, path, *access)
        {
            return;
        }
        let proc = self.proc.as_ref();
        let program = proc.and_then(|proc| program_of(proc.as_fd(), thread));
        self.table.add(number, errno, object, program);
    }

    /// What a call is about, and the folder that a path was said from.
    fn object(
        &self,
        thread: u32,
        shape: Shape,
        args: &[u64; 6],
    ) -> Option<(Object, Option<String>)> {
        let argument = |at: usize| args.get(at).copied().unwrap_or_default();
        let path = |folder: Option<usize>, at: usize, access| {
            let (path, from) = self.path(thread, folder.map(argument), argument(at))?;
            Some((Object::Path { path, access }, from))
        };
        let alone = |object| Some((object, None));
        let wanted = |flags: u64| {
            let flags = i32::try_from(flags & 0x7fff_ffff).unwrap_or(0);
            let changes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
            match flags & libc::O_ACCMODE {
                libc::O_RDONLY if !changes => Access::Read,
                _ => Access::Write,
            }
        };
        match shape {
            Shape::Path {
                folder,
                path: at,
                access,
            } => path(folder, at, access),
            Shape::Open {
                folder,
                path: at,
                flags,
            } => path(folder, at, wanted(argument(flags))),
            Shape::How => {
                let mut how = [0; 8];
                self.tracer.read(thread, argument(2), &mut how).ok()?;
                path(Some(0), 1, wanted(u64::from_le_bytes(how)))
            }
            Shape::File => {
                let path = self.link(thread, &format!("fd/{}", low(argument(0))))?;
                let is_path = path.starts_with('/');
                alone(Object::Path {
                    path,
                    access: Access::Write,
                })
                .filter(|_| is_path)
            }
            Shape::Driver => {
                let path = self.link(thread, &format!("fd/{}", low(argument(0))))?;
                let request = low(argument(1)).cast_unsigned();
                let is_device = path.starts_with("/dev/");
                alone(Object::Driver { path, request }).filter(|_| is_device)
            }
            Shape::Address { address, length } => {
                let mut bytes = [0; 128];
                let length = usize::try_from(argument(length)).ok()?.min(bytes.len());
                let bytes = bytes.get_mut(..length)?;
                let read = self.tracer.read(thread, argument(address), bytes).ok()?;
                alone(address_of(bytes.get(..read)?)?)
            }
            Shape::Own => alone(Object::Own),
        }
    }

    /// The path at `address`, from the root, and the folder that it was said from, if it was; without a
    /// path, what the descriptor is.
    fn path(
        &self,
        thread: u32,
        folder: Option<u64>,
        address: u64,
    ) -> Option<(String, Option<String>)> {
        let of_fd = |fd: i32| self.link(thread, &format!("fd/{fd}"));
        let text = match (address, folder) {
            (0, Some(fd)) => {
                return of_fd(low(fd))
                    .filter(|at| at.starts_with('/'))
                    .map(|at| (at, None));
            }
            _ => self.text(thread, address)?,
        };
        // A descriptor by its name, as tar and cp use it.
        let named = ["/proc/self/fd/", "/dev/fd/"].iter();
        let mut named = named.filter_map(|folder| text.strip_prefix(folder)?.parse().ok());
        if let Some(fd) = named.next() {
            let at = of_fd(fd).filter(|at| at.starts_with('/'))?;
            return Some((at, None));
        }
        if text.starts_with('/') {
            return Some((plain_path(&text), None));
        }
        let at = match folder.map(low) {
            None | Some(libc::AT_FDCWD) => self.link(thread, "cwd"),
            Some(fd) => of_fd(fd),
        };
        let at = at.filter(|at| at.starts_with('/'))?;
        Some((plain_path(&format!("{at}/{text}")), Some(at)))
    }

    /// What a link of a thread's /proc says.
    fn link(&self, thread: u32, name: &str) -> Option<String> {
        let proc = self.proc.as_ref()?;
        let path = readlinkat(proc, format!("{thread}/{name}"), Vec::new()).ok()?;
        Some(path.to_string_lossy().into_owned())
    }

    /// The bytes up to NUL, at most [`PATH`], page by page: the next one may not be there.
    fn text(&self, thread: u32, address: u64) -> Option<String> {
        const PAGE: u64 = 4096;
        let (mut text, mut at) = (Vec::new(), address);
        while text.len() < PATH {
            let mut bytes = [0; 4096];
            let room = usize::try_from(PAGE - at % PAGE)
                .ok()?
                .min(PATH - text.len());
            let read = self.tracer.read(thread, at, bytes.get_mut(..room)?).ok()?;
            let bytes = bytes.get(..read)?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(bytes.get(..end)?);
                break;
            }
            text.extend_from_slice(bytes);
            at = at.checked_add(u64::try_from(read).ok().filter(|n| *n > 0)?)?;
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::denials::PROGRAMS;
    use super::*;

    #[test]
    fn a_flood_is_bounded_and_hides_nothing() {
        let mut table = Table::default();
        let path = |n: u32| Object::Path {
            path: format!("/{n}"),
            access: Access::Read,
        };
        for n in 0..100_000 {
            table.add(2, 2, path(n), Some(format!("/bin/{n}")));
        }
        table.add(2, 13, path(1), None);
        table.add(2, 13, path(1), None);
        assert_eq!(table.programs.len(), PROGRAMS);
        let all = table.into_outcomes();
        assert_eq!(all.len(), OF_EACH + 2);
        let last = all.last().unwrap();
        assert_eq!((last.errno, last.times), (13, 2));
        assert_eq!(all.iter().map(|o| o.times).sum::<u64>(), 100_002);
        let others: Vec<_> = all.iter().filter(|o| o.object.is_none()).collect();
        assert_eq!(others.len(), 1);
        assert_eq!(others[0].times, 100_000 - OF_EACH as u64);
    }
}
