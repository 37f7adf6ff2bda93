//! The process that becomes the command: a linear list of things given up, seccomp last.

use super::binds::Program;
use super::launch::Launch;
use super::mounts::read_file;
use super::users::{self, User};
use super::wire::{At, Fault, Received, Record, receive, send, send_plain};
use crate::plan::{Actor, Resource, Securebits, Stdio, Step, UserSpec, Variable};
use crate::sys;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

type Done<T = ()> = Result<T, Fault>;

/// What steps leave for later ones.
#[derive(Default)]
struct State<'a> {
    user: Option<User>,
    /// What is executed, where it is a copy.
    program: Option<&'a Program>,
    ready: Option<Ready>,
}

/// Runs in the fork and never returns.
pub fn run(
    launch: &Launch,
    wait: &OwnedFd,
    terminal: Option<&OwnedFd>,
    program: Option<&Program>,
) -> ! {
    let Some(socket) = &launch.theirs.payload else {
        sys::exit_now(125)
    };
    let socket = socket.as_fd();
    let mut state = State {
        program,
        ..State::default()
    };
    for (index, planned) in launch.plan.steps().iter().enumerate() {
        if planned.actor != Actor::Payload {
            continue;
        }
        let begun = launch.timings.then(Instant::now);
        if let Err(fault) = take(launch, &planned.step, &mut state, (wait, socket), terminal) {
            let record = Record::Failed {
                step: index,
                errno: fault.errno.raw_os_error(),
                call: fault.call.to_owned(),
            };
            // Nothing was executed, whether or not the supervisor still reads.
            sys::exit_now(if send_plain(socket, &record).is_ok() {
                125
            } else {
                124
            });
        }
        if let Some(begun) = begun {
            let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let took = Record::Took {
                step: index,
                nanoseconds,
            };
            if send_plain(socket, &took).is_err() {
                sys::exit_now(124);
            }
        }
    }
    // A plan without Execute.
    sys::exit_now(125)
}

fn take(
    launch: &Launch,
    step: &Step,
    state: &mut State<'_>,
    (wait, socket): (&OwnedFd, BorrowedFd<'_>),
    terminal: Option<&OwnedFd>,
) -> Done {
    match step {
        Step::NewSession(stdio) => new_session(launch, *stdio, terminal),
        Step::SetRlimits(limits) => limits
            .iter()
            .try_for_each(|l| set_rlimit(l.resource, l.soft, l.hard)),
        Step::BoundCapabilities { keep, securebits } => bound(keep, *securebits),
        Step::BecomeUser {
            user: spec,
            set_groups,
        } => {
            state.user = Some(become_user(spec, *set_groups)?);
            Ok(())
        }
        Step::ChangeDirectory { path } => change_directory(path),
        Step::SetCapabilities { keep } => {
            // An ordinary user's went with its uid 0; to ask for them back would be an error.
            let root = rustix::process::geteuid().is_root();
            let keep: Vec<String> = keep
                .iter()
                .filter(|_| root)
                .map(|cap| cap.name.clone())
                .collect();
            set_capabilities(&keep)
        }
        Step::NoNewPrivileges => {
            rustix::thread::set_no_new_privs(true).at("prctl PR_SET_NO_NEW_PRIVS")
        }
        Step::CloseFiles => {
            sys::close_range_cloexec(3).at("close_range")?;
            match state.program {
                // Its interpreter opens it by this descriptor's name.
                Some(program) if program.script => {
                    rustix::io::fcntl_setfd(&program.file, rustix::io::FdFlags::empty())
                        .at("fcntl F_SETFD")
                }
                _ => Ok(()),
            }
        }
        Step::WaitForGo => {
            let mut byte = [0];
            match rustix::io::retry_on_intr(|| rustix::io::read(wait, &mut byte)).at("read go")? {
                1 if byte == *b"g" => Ok(()),
                _ => Err(Fault {
                    errno: Errno::CANCELED,
                    call: "no go from pid 1",
                }),
            }
        }
        Step::AwaitObserver => await_observer(socket),
        Step::Seccomp(_) => {
            state.ready = Some(Ready::new(launch, state));
            match &launch.told_filter {
                None => sys::install_filter(&launch.payload_filter).at("seccomp"),
                Some(told) => install_told(launch, told, socket),
            }
        }
        Step::Execute { .. } => {
            let ready = state.ready.take();
            Err(ready.unwrap_or_else(|| Ready::new(launch, state)).execute())
        }
        _ => Err(Fault {
            errno: Errno::NOSYS,
            call: "a step that the payload does not know",
        }),
    }
}

/// Waits until it is watched. Who watches has every right over this user namespace, but the memory is
/// still the launcher's, of the namespace outside: only what is dumpable there may be watched
/// (ptrace(2), "Ptrace access mode checking"). Inside is nobody yet whom that lets in, and execve makes
/// it another's.
fn await_observer(socket: BorrowedFd<'_>) -> Done {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::Dumpable).at("prctl PR_SET_DUMPABLE")?;
    send_plain(socket, &Record::Observe)?;
    match receive(socket, false).at("recvmsg from the supervisor")? {
        Received::Record(Record::Observed, _) => Ok(()),
        _ => Err(Fault {
            errno: Errno::CANCELED,
            call: "nobody watches",
        }),
    }
}

/// Installs the filter that tells of refusals, and hands its listener to the supervisor before
/// anything of the command runs; here it is closed at once, and by exec at the latest. Where the
/// kernel gives none, the filter that refuses by itself: not less is refused, only nothing is told.
fn install_told(launch: &Launch, told: &[sys::Filter], socket: BorrowedFd<'_>) -> Done {
    match sys::install_told_filter(told) {
        Ok(listener) => send(socket, &Record::Listener, &[listener.as_fd()]),
        // A filter that is in force already has one (EBUSY), the kernel knows none, or the command may
        // hold no descriptor more.
        Err(errno @ (Errno::BUSY | Errno::INVAL | Errno::MFILE | Errno::NFILE)) => {
            sys::install_filter(&launch.payload_filter).at("seccomp")?;
            let errno = errno.raw_os_error();
            send_plain(socket, &Record::Deaf { errno })
        }
        Err(e) => Err(e).at("seccomp with a listener"),
    }
}

fn new_session(launch: &Launch, stdio: Stdio, terminal: Option<&OwnedFd>) -> Done {
    // An ignored signal survives exec: what the caller or the Rust runtime (SIGPIPE) ignores would
    // be ignored inside, and tell of it.
    use nix::sys::signal::{SigSet, Signal};
    for signal in Signal::iterator() {
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            sys::default_signal(signal as i32).at("sigaction")?;
        }
    }
    SigSet::empty().thread_set_mask().at("sigprocmask")?;
    rustix::process::setsid().at("setsid")?;
    let null = || {
        openat(
            CWD,
            "/dev/null",
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .at("openat /dev/null")
    };
    let (input, output, error): (OwnedFd, OwnedFd, OwnedFd);
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).at("fcntl F_DUPFD_CLOEXEC");
    match (stdio, terminal) {
        (Stdio::Terminal { .. }, Some(master)) => {
            let slave = sys::open_pty_peer(master.as_fd()).at("ioctl TIOCGPTPEER")?;
            rustix::process::ioctl_tiocsctty(&slave).at("ioctl TIOCSCTTY")?;
            (input, output, error) = (copy(&slave)?, copy(&slave)?, slave);
        }
        (Stdio::Terminal { .. }, None) => {
            return Err(Fault {
                errno: Errno::NOTTY,
                call: "no pty",
            });
        }
        _ => {
            let child = &launch.child;
            let or_null = |fd: &Option<OwnedFd>| match fd {
                Some(fd) => copy(fd),
                None => null(),
            };
            (input, output, error) = (
                or_null(&child.input)?,
                or_null(&child.output)?,
                or_null(&child.error)?,
            );
        }
    }
    rustix::stdio::dup2_stdin(&input).at("dup2 0")?;
    rustix::stdio::dup2_stdout(&output).at("dup2 1")?;
    rustix::stdio::dup2_stderr(&error).at("dup2 2")
}

pub(super) fn set_rlimit(resource: Resource, soft: u64, hard: u64) -> Done {
    use rustix::process::{Resource as R, Rlimit as L, getrlimit, setrlimit};
    let resource = match resource {
        Resource::Core => R::Core,
        Resource::Processes => R::Nproc,
        Resource::Files => R::Nofile,
        Resource::LockedMemory => R::Memlock,
        Resource::MessageQueues => R::Msgqueue,
        Resource::AddressSpace => R::As,
        Resource::FileSize => R::Fsize,
        Resource::CpuSeconds => R::Cpu,
        Resource::Stack => R::Stack,
        Resource::Data => R::Data,
        Resource::PendingSignals => R::Sigpending,
    };
    // Never above the caller's own hard limit, which would need a capability outside.
    let own = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    // RLIM_INFINITY has no number here.
    let value = |n: u64| Some(n.min(own)).filter(|n| *n != u64::MAX);
    setrlimit(
        resource,
        L {
            current: value(soft),
            maximum: value(hard),
        },
    )
    .at("setrlimit")
}

fn parse_caps(names: &[String]) -> Done<caps::CapsHashSet> {
    names
        .iter()
        .map(|n| {
            n.parse::<caps::Capability>()
                .or_else(|_| format!("CAP_{n}").parse())
                .map_err(|_| Fault {
                    errno: Errno::INVAL,
                    call: "a capability of unknown name",
                })
        })
        .collect()
}

fn caps_fault(call: &'static str) -> impl Fn(caps::errors::CapsError) -> Fault {
    move |_| Fault {
        errno: Errno::PERM,
        call,
    }
}

/// Lowers the bounding set, clears ambient, and locks the securebits (capabilities(7)): where root
/// is worth nothing no exec as uid 0 brings anything back, else no change of uid takes anything
/// along. Only there may a daemon keep for itself what it holds (PR_SET_KEEPCAPS): without ambient
/// capabilities that ends at its next exec.
pub(super) fn bound(keep: &[String], securebits: Securebits) -> Done {
    let keep = parse_caps(keep)?;
    let kept = keep.iter().fold(0, |bits, cap| bits | cap.bitmask());
    for number in 0..64 {
        let cap = rustix::thread::CapabilitySet::from_bits_retain(1 << number & !kept);
        if cap.is_empty() {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(cap) {
            Ok(()) => {}
            // The first that this kernel does not have (capabilities(7), cap_last_cap).
            Err(Errno::INVAL) => break,
            Err(e) => return Err(e).at("prctl PR_CAPBSET_DROP"),
        }
    }
    caps::clear(None, caps::CapSet::Ambient).map_err(caps_fault("prctl PR_CAP_AMBIENT"))?;
    use rustix::thread::CapabilitiesSecureBits as Bits;
    let mut bits = Bits::NO_ROOT_LOCKED
        | Bits::NO_SETUID_FIXUP_LOCKED
        | Bits::NO_CAP_AMBIENT_RAISE
        | Bits::NO_CAP_AMBIENT_RAISE_LOCKED;
    bits.set(Bits::NO_ROOT | Bits::KEEP_CAPS_LOCKED, securebits.no_root);
    bits.set(Bits::NO_SETUID_FIXUP, securebits.no_setuid_fixup);
    rustix::thread::set_capabilities_secure_bits(bits).at("prctl PR_SET_SECUREBITS")
}

/// Every set empty; for pid 1.
pub fn no_capabilities() -> Done {
    bound(&[], Securebits::WORTHLESS_ROOT)?;
    set_capabilities(&[])
}

pub(super) fn set_capabilities(keep: &[String]) -> Done {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let bits = parse_caps(keep)?
        .iter()
        .fold(0, |bits, cap| bits | cap.bitmask());
    let set = CapabilitySet::from_bits_retain(bits);
    let sets = CapabilitySets {
        effective: set,
        permitted: set,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).at("capset")
}

fn become_user(spec: &UserSpec, set_groups: bool) -> Done<User> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let plain_root = matches!(spec.user.as_str(), "" | "0") && spec.group.is_none();
    let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at("openat /")?;
    let read = |path| read_file(root.as_fd(), path, users::MAX_FILE).map(Option::unwrap_or_default);
    let (passwd, group) = if plain_root && !set_groups {
        (String::new(), String::new())
    } else {
        (read("/etc/passwd")?, read("/etc/group")?)
    };
    let user = users::look_up(spec, &passwd, &group).map_err(|what| Fault {
        errno: Errno::NOENT,
        call: if what == "user" {
            "look up the user in /etc/passwd"
        } else {
            "look up the group in /etc/group"
        },
    })?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if set_groups {
        let groups: Vec<Gid> = user.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        set_thread_groups(&groups).at("setgroups")?;
    }
    set_thread_res_gid(gid, gid, gid).at("setresgid")?;
    set_thread_res_uid(uid, uid, uid).at("setresuid")?;
    Ok(user)
}

/// As the user; the folder that is reached is checked to be below / (CVE-2024-21626).
fn change_directory(path: &str) -> Done {
    rustix::process::chdir(path).at("chdir to the working directory")?;
    let cwd = rustix::process::getcwd(Vec::new()).at("getcwd")?;
    if cwd.as_bytes().first() != Some(&b'/') {
        return Err(Fault {
            errno: Errno::XDEV,
            call: "the working directory is outside /",
        });
    }
    Ok(())
}

/// Everything of the execve that takes memory or looks at files. It is made before the filter is in
/// force, because a filter of the user's own may refuse both: behind it only execve, write (a record)
/// and exit_group are called.
struct Ready {
    args: sys::ExecArgs,
    /// Where the command may be, in order, and whether something is there.
    paths: Vec<(CString, bool)>,
    /// The one path is that of a [`Program`].
    copy: bool,
}

/// Why a copied program may not be executed.
pub(super) const COPY_IS_GONE: &str = "execve: the copy";

impl Ready {
    /// As execvp(3) looks for a command, but with the image's PATH and nothing of the host.
    fn new(launch: &Launch, state: &State<'_>) -> Self {
        let steps = launch.plan.steps().iter();
        let mut env = steps.filter_map(|planned| match &planned.step {
            Step::Execute { env, .. } => Some(env.as_slice()),
            _ => None,
        });
        let env: &[Variable] = env.next_back().unwrap_or_default();
        let mut envp = launch.env.clone();
        if !env.iter().any(|v| v.name == "HOME") {
            let home = state
                .user
                .as_ref()
                .and_then(|u| u.home.as_deref())
                .unwrap_or("/");
            envp.extend(CString::new(format!("HOME={home}")));
        }
        let command = launch.argv.first().map_or(&[][..], |c| c.to_bytes());
        let mut paths: Vec<CString> = Vec::new();
        if let Some(program) = state.program {
            let fd = program.file.as_raw_fd();
            paths.extend(CString::new(format!("/proc/self/fd/{fd}")));
        } else if let Some(path) = &launch.path {
            paths.push(path.clone());
        } else if command.contains(&b'/') {
            paths.extend(CString::new(command));
        } else if !command.is_empty() {
            const DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            let path = env.iter().rev().find(|v| v.name == "PATH");
            for folder in path.map_or(DEFAULT, |v| v.value.as_str()).split(':') {
                let folder = if folder.is_empty() { "." } else { folder };
                paths.extend(CString::new([folder.as_bytes(), b"/", command].concat()));
            }
        }
        let there = |path: &CString| {
            let seen = rustix::fs::access(path.as_c_str(), rustix::fs::Access::EXISTS);
            // Only these say that nothing is there; of the rest execve has more to say.
            !matches!(seen, Err(Errno::NOENT | Errno::NOTDIR))
        };
        let looked = paths.into_iter().map(|path| {
            let there = there(&path);
            (path, there)
        });
        Self {
            paths: looked.collect(),
            copy: state.program.is_some(),
            args: sys::ExecArgs::new(launch.argv.clone(), envp),
        }
    }

    /// Tries one path after the other; of the failures the last that says more than "not found".
    fn execute(&self) -> Fault {
        let mut worst = Fault {
            errno: Errno::NOENT,
            call: "execve",
        };
        for (path, there) in &self.paths {
            // Nobody is there to put a file where a moment ago was none.
            if !there && self.paths.len() > 1 {
                continue;
            }
            let errno = sys::execve(path, &self.args);
            // A file that is there and still "not found" lacks its interpreter.
            let call = match errno {
                Errno::NOENT if *there => "execve: its interpreter",
                // Landlock lets nothing be executed that is mounted nowhere.
                Errno::ACCESS if self.copy => COPY_IS_GONE,
                _ => "execve",
            };
            let found = !matches!(errno, Errno::NOENT | Errno::NOTDIR) || call != "execve";
            if found || self.paths.len() == 1 {
                worst = Fault { errno, call };
            }
        }
        worst
    }
}
