//! pid 1 of the cell: walks its steps in the plan's order, starts the payload, gives up what it no
//! longer needs, then reaps until the payload ends.

use super::launch::{Launch, records_socket};
use super::wire::{At, Fault, Received, Record, receive, send};
use super::{binds, landlock, mounts, payload, verifier};
use crate::plan::{Actor, IdMap, Stdio, Step, Upper};
use crate::sys::{self, SingleThread};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

type Done<T = ()> = Result<T, Fault>;

/// What pid 1 gathers on its way.
#[derive(Default)]
struct State {
    lowers: Vec<OwnedFd>,
    /// The sources of binds, by their numbers.
    sources: Vec<OwnedFd>,
    ground: binds::Ground,
    disk: Option<OwnedFd>,
    memory: Option<OwnedFd>,
    root: Option<OwnedFd>,
    program: Option<binds::Program>,
    verifier: Option<Pid>,
    /// The supervisor has said that the command may run.
    released: bool,
    /// Where the verifier's network namespace comes from.
    network: Option<OwnedFd>,
    /// The verifier has not agreed yet.
    checking: bool,
    payload: Option<Pid>,
    /// The payload's process, for the supervisor, until it is sent.
    pidfd: Option<OwnedFd>,
    go: Option<OwnedFd>,
    signals: Option<nix::sys::signalfd::SignalFd>,
    /// /proc of the cell, for a supervisor that looks at its processes.
    proc: Option<OwnedFd>,
    /// The file systems in memory, for the same; the cell's own tmpfs is added at the end.
    in_memory: Vec<OwnedFd>,
}

/// A plan whose steps are in an order that cannot work.
fn out_of_order(call: &'static str) -> Fault {
    Fault {
        errno: Errno::INVAL,
        call,
    }
}

impl State {
    fn root(&self) -> Done<BorrowedFd<'_>> {
        let root = self.root.as_ref().map(OwnedFd::as_fd);
        root.ok_or(out_of_order("no root yet"))
    }

    fn memory(&self) -> Done<BorrowedFd<'_>> {
        let memory = self.memory.as_ref().map(OwnedFd::as_fd);
        memory.ok_or(out_of_order("no tmpfs yet"))
    }
}

/// Runs in the clone and never returns.
pub fn run(mut launch: Launch, one: SingleThread) -> ! {
    let mut state = State::default();
    for index in 0..launch.plan.steps().len() {
        // Each end is in one hand: the report's is the verifier's, or nobody's.
        if matches!(launch.plan.steps()[index].step, Step::StartPayload) {
            drop(launch.theirs.report.take());
        }
        // What was judged is opened anew by now, and is nobody's business any more.
        if matches!(
            launch.plan.steps()[index].step,
            Step::StartVerifier | Step::PrivateMounts
        ) {
            launch.sources.clear();
        }
        let planned = &launch.plan.steps()[index];
        let control = launch.theirs.control.as_fd();
        if planned.actor != Actor::Init {
            continue;
        }
        let begun = launch.timings.then(Instant::now);
        if let Err(fault) = take(&launch, &planned.step, &mut state, one) {
            let record = Record::Failed {
                step: index,
                errno: fault.errno.raw_os_error(),
                call: fault.call.to_owned(),
            };
            // Nothing was executed, whether or not the supervisor still reads.
            sys::exit_now(if send(control, &record, &[]).is_ok() {
                125
            } else {
                124
            });
        }
        // As above; the payload's socket and streams are its own.
        let done_with = match &planned.step {
            Step::StartVerifier => launch.theirs.report.take(),
            Step::StartPayload => {
                launch.child = super::launch::ChildStdio::default();
                launch.theirs.payload.take()
            }
            _ => None,
        };
        drop(done_with);
        let control = launch.theirs.control.as_fd();
        if let Some(begun) = begun {
            let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if send(
                control,
                &Record::Took {
                    step: index,
                    nanoseconds,
                },
                &[],
            )
            .is_err()
            {
                sys::exit_now(124);
            }
        }
    }
    let code = match reap(&launch, state) {
        Ok(()) => 0,
        Err(_) => 125,
    };
    sys::exit_now(code)
}

fn take(launch: &Launch, step: &Step, state: &mut State, one: SingleThread) -> Done {
    match step {
        Step::CloseInherited => close_inherited(launch),
        Step::PlainProcess => {
            rustix::process::umask(Mode::from_raw_mode(0o022));
            sys::plain_personality().at("personality")
        }
        Step::MapIds(map) => {
            if let IdMap::Keep { kept, .. } = map {
                state.ground.caller = Some(*kept);
            }
            map_ids(map, launch.theirs.control.as_fd())
        }
        Step::DieWithSupervisor => {
            state.released = die_with_supervisor(launch.theirs.control.as_fd())?;
            Ok(())
        }
        Step::HideCgroup => sys::new_cgroup_namespace().at("unshare CLONE_NEWCGROUP"),
        Step::ScrubMemory => {
            if !sys::scrub_arguments_and_environment() {
                return Err(Fault {
                    errno: Errno::FAULT,
                    call: "find the launcher's arguments",
                });
            }
            rustix::thread::set_name(c"lazaret-init").at("prctl PR_SET_NAME")
        }
        Step::OpenLayers => open_layers(launch, state),
        Step::OpenSource { path, number, read } => {
            let judged = launch.sources.get(*number);
            let judged = judged.ok_or(out_of_order("no source of that number"))?;
            if state.sources.len() != *number {
                return Err(out_of_order("a source out of its order"));
            }
            let open = match read {
                true => binds::open_readable,
                false => binds::open_source,
            };
            let source = open(path, judged.as_fd())?;
            state.sources.push(source);
            Ok(())
        }
        Step::BecomeContainerRoot { clear_groups } => become_container_root(*clear_groups),
        Step::Undumpable => {
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
                .at("prctl PR_SET_DUMPABLE")
        }
        Step::JoinKeyring => sys::join_new_session_keyring()
            .map(drop)
            .at("keyctl join session"),
        Step::StartVerifier => {
            state.checking = true;
            let (ours, theirs) = records_socket().at("socketpair")?;
            state.verifier = Some(verifier::start(launch, &state.lowers, theirs, one)?);
            state.network = Some(ours);
            Ok(())
        }
        Step::PrivateMounts => private_mounts(),
        Step::MountMemory { size, inodes } => {
            state.memory = Some(mounts::memory(*size, *inodes)?);
            Ok(())
        }
        Step::MountRoot { upper, .. } => {
            let at = match upper {
                Upper::Memory => state.memory()?,
                Upper::Disk { .. } => state
                    .disk
                    .as_ref()
                    .ok_or(out_of_order("no folder for writes yet"))?
                    .as_fd(),
            };
            let root = match state.lowers.as_slice() {
                [] => mounts::empty_root(at)?,
                lowers => mounts::root(lowers, at, matches!(upper, Upper::Disk { .. }))?,
            };
            state.ground.plain = state.lowers.is_empty();
            state.ground.add(root.as_fd(), true)?;
            state.root = Some(root);
            Ok(())
        }
        Step::MountDev {
            nodes,
            terminal_group,
        } => mounts::dev(state.root()?, state.memory()?, nodes, *terminal_group),
        Step::MountShared(shared) => mounts::shared(state.root()?, state.memory()?, shared),
        Step::MountTmpfs(tmpfs) => {
            let root = state.root.as_ref().ok_or(out_of_order("no root yet"))?;
            let mount = binds::tmpfs(root.as_fd(), &mut state.ground, tmpfs)?;
            if launch.sampled {
                state.in_memory.push(mount);
            }
            Ok(())
        }
        Step::MountDevice(device) => {
            let source = state.sources.get(device.number);
            let source = source.ok_or(out_of_order("a device that is not open"))?;
            binds::device(state.root()?, source.as_fd(), device)
        }
        Step::MountBind(bind) => {
            let root = state.root.as_ref().ok_or(out_of_order("no root yet"))?;
            let source = state.sources.get(bind.number);
            let source = source.ok_or(out_of_order("a source that is not open"))?;
            binds::bind(root.as_fd(), &mut state.ground, source.as_fd(), bind)
        }
        Step::MountProgram(program) => {
            let root = state.root.as_ref().ok_or(out_of_order("no root yet"))?;
            let memory = state.memory.as_ref().ok_or(out_of_order("no tmpfs yet"))?;
            let source = state.sources.get(program.number);
            let source = source.ok_or(out_of_order("a source that is not open"))?;
            let (root, memory) = (root.as_fd(), memory.as_fd());
            let program = binds::program(root, memory, &mut state.ground, source.as_fd(), program)?;
            state.program = Some(program);
            Ok(())
        }
        Step::MakeFolder { path, mode, owner } => {
            mounts::make_folder(state.root()?, path, *mode, *owner)
        }
        Step::MakeLink { path, target } => {
            let path = mounts::relative(path);
            rustix::fs::symlinkat(target.as_str(), state.root()?, path).at("symlinkat in the root")
        }
        Step::MountProc(masks) => {
            let proc = mounts::proc(state.root()?, masks)?;
            if launch.sampled {
                state.in_memory.extend(mounts::segments(proc.as_fd())?);
                state.proc = Some(proc);
            }
            Ok(())
        }
        Step::WriteFile { path, content } => mounts::write_file(state.root()?, path, content),
        Step::NameUser { user, line } => mounts::name_user(state.root()?, *user, line),
        Step::MakeWorkdir { path } => binds::workdir(state.root()?, &state.ground, path),
        Step::ReadOnlyRoot => sys::mount_setattr(state.root()?, sys::MountAttr::READ_ONLY, false)
            .at("mount_setattr /"),
        Step::Pivot => mounts::pivot(state.root()?),
        Step::SetHostname { name } => {
            rustix::system::sethostname(name.as_bytes()).at("sethostname")
        }
        Step::JoinNetwork => join_network(state),
        Step::Landlock {
            abi,
            rules,
            scope_signals,
            scope_abstract_sockets,
            logged,
        } => landlock::cell(
            *abi,
            rules,
            (*scope_signals, *scope_abstract_sockets),
            *logged,
        ),
        Step::StartPayload => start_payload(launch, state, one),
        Step::ConfineInit { .. } => confine(launch, state),
        _ => Err(Fault {
            errno: Errno::NOSYS,
            call: "a step that pid 1 does not know",
        }),
    }
}

/// Closes everything but what the launch needs.
fn close_inherited(launch: &Launch) -> Done {
    let child = &launch.child;
    let streams = [&child.input, &child.output, &child.error];
    let keep = streams
        .into_iter()
        .flatten()
        .chain([&launch.theirs.control])
        .chain(&launch.theirs.payload)
        .chain(&launch.theirs.report)
        .chain(&launch.sources)
        .chain(launch.records.iter().flat_map(|r| [&r.list, &r.stat]))
        .map(AsRawFd::as_raw_fd)
        .collect();
    close_all_but(keep)
}

/// Closes every descriptor but `keep`; 0, 1 and 2 become /dev/null. The caller's umask goes too:
/// folders made here have the modes that they are made with.
pub(super) fn close_all_but(mut keep: Vec<RawFd>) -> Done {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let null = openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at("openat /dev/null")?;
    rustix::stdio::dup2_stdin(&null).at("dup2 0")?;
    rustix::stdio::dup2_stdout(&null).at("dup2 1")?;
    rustix::stdio::dup2_stderr(&null).at("dup2 2")?;
    drop(null);
    keep.retain(|fd| *fd > 2);
    keep.sort_unstable();
    keep.dedup();
    let mut next = 3;
    for fd in keep {
        sys::close_range(next, fd - 1).at("close_range")?;
        next = fd + 1;
    }
    sys::close_range_from(next).at("close_range")
}

/// No mount made from here on reaches the host.
pub(super) fn private_mounts() -> Done {
    use rustix::mount::{MountPropagationFlags, mount_change};
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .at("mount / private")
}

/// `Single` is written here, by the one process that may without privilege; `Range` by the
/// supervisor, who says so (user_namespaces(7)).
pub(super) fn map_ids(map: &IdMap, control: BorrowedFd<'_>) -> Done {
    match map {
        IdMap::Single { uid, gid } => {
            let write = |path: &str, text: &str| {
                let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, text.as_bytes())
            };
            write("/proc/self/setgroups", "deny").at("write /proc/self/setgroups")?;
            write("/proc/self/uid_map", &format!("0 {uid} 1\n")).at("write /proc/self/uid_map")?;
            write("/proc/self/gid_map", &format!("0 {gid} 1\n")).at("write /proc/self/gid_map")?;
            Ok(())
        }
        IdMap::Range { .. } | IdMap::Keep { .. } => {
            match receive(control, false).at("recvmsg from the supervisor")? {
                Received::Record(Record::Mapped, _) => Ok(()),
                _ => Err(Fault {
                    errno: Errno::PIPE,
                    call: "wait for the id map",
                }),
            }
        }
    }
}

/// Both the signal and, because a change of ids clears it, the socket that [`reap`] watches. Whether
/// the supervisor has already let the command go.
pub(super) fn die_with_supervisor(control: BorrowedFd<'_>) -> Done<bool> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at("prctl PR_SET_PDEATHSIG")?;
    // The supervisor may have died before the call above.
    match receive(control, true).at("recvmsg from the supervisor")? {
        Received::Nothing => Ok(false),
        Received::Record(Record::Release, _) => Ok(true),
        _ => Err(GONE),
    }
}

/// The supervisor ended, or said what it never says.
const GONE: Fault = Fault {
    errno: Errno::PIPE,
    call: "the supervisor is gone",
};

fn open_layers(launch: &Launch, state: &mut State) -> Done {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for planned in launch.plan.steps() {
        if let Step::MountRoot { lowers, upper } = &planned.step {
            for lower in lowers {
                let fd =
                    openat(CWD, &lower.path, flags, Mode::empty()).at("openat a layer folder")?;
                state.lowers.push(fd);
            }
            if let Upper::Disk { path } = upper {
                let fd = openat(CWD, path, flags, Mode::empty());
                state.disk = Some(fd.at("openat the container's folder")?);
            }
        }
    }
    Ok(())
}

pub(super) fn become_container_root(clear_groups: bool) -> Done {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    if clear_groups {
        set_thread_groups(&[]).at("setgroups")?;
    }
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).at("setresgid 0")?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).at("setresuid 0")
}

/// Leaves the host's network for the namespace that the verifier made.
fn join_network(state: &mut State) -> Done {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let from = state.network.take().ok_or(out_of_order("no verifier"))?;
    match receive(from.as_fd(), false).at("recvmsg from the verifier")? {
        Received::Record(Record::Network, fds) => match fds.first() {
            Some(network) => {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .at("setns CLONE_NEWNET")
            }
            None => Err(Fault {
                errno: Errno::BADF,
                call: "wait for the network namespace",
            }),
        },
        Received::Record(Record::Failed { errno, .. }, _) => Err(Fault {
            errno: Errno::from_raw_os_error(errno),
            call: "unshare CLONE_NEWNET",
        }),
        _ => Err(Fault {
            errno: Errno::PIPE,
            call: "wait for the network namespace",
        }),
    }
}

fn start_payload(launch: &Launch, state: &mut State, one: SingleThread) -> Done {
    state.sources.clear();
    let terminal = match launch.stdio {
        Stdio::Terminal { .. } => Some(
            openat(
                CWD,
                "/dev/ptmx",
                OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .at("openat /dev/ptmx")?,
        ),
        _ => None,
    };
    if let Some(master) = &terminal {
        rustix::pty::unlockpt(master).at("ioctl TIOCSPTLCK")?;
    }
    // Blocked before the fork, so that no end is missed; the payload unblocks everything.
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::Signal::SIGCHLD);
    set.thread_block().at("sigprocmask")?;
    let flags =
        nix::sys::signalfd::SfdFlags::SFD_CLOEXEC | nix::sys::signalfd::SfdFlags::SFD_NONBLOCK;
    state.signals = Some(nix::sys::signalfd::SignalFd::with_flags(&set, flags).at("signalfd")?);
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("pipe2")?;
    match sys::fork(one).at("fork the payload")? {
        None => {
            drop(go);
            payload::run(launch, &wait, terminal.as_ref(), state.program.as_ref())
        }
        Some(pid) => {
            state.payload = Some(pid);
            state.go = Some(go);
            let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
                .at("pidfd_open the payload")?;
            match terminal {
                // The supervisor gives the pty its size before the command can ask for it.
                Some(master) => {
                    let fds = [pidfd.as_fd(), master.as_fd()];
                    send(launch.theirs.control.as_fd(), &Record::Started, &fds)
                }
                None => {
                    state.pidfd = Some(pidfd);
                    Ok(())
                }
            }
        }
    }
}

/// pid 1 keeps no capability, and few system calls.
fn confine(launch: &Launch, state: &mut State) -> Done {
    state.lowers.clear();
    state.disk = None;
    let memory = state.memory.take();
    state.in_memory.extend(memory.filter(|_| launch.sampled));
    state.root = None;
    state.program = None;
    payload::no_capabilities()?;
    rustix::thread::set_no_new_privs(true).at("prctl PR_SET_NO_NEW_PRIVS")?;
    sys::install_filter(&launch.init_filter).at("seccomp for pid 1")
}

/// Says go once the verifier and the supervisor agree, reaps everything, and ends when the payload does.
fn reap(launch: &Launch, mut state: State) -> Done {
    use rustix::event::{PollFd, PollFlags, poll};
    let control = launch.theirs.control.as_fd();
    let fault = Fault {
        errno: Errno::INVAL,
        call: "the plan starts no payload",
    };
    let (payload, signals) = (
        state.payload.ok_or(fault)?,
        state.signals.take().ok_or(fault)?,
    );
    loop {
        loop {
            let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(Errno::CHILD) => break,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e).at("waitpid"),
            };
            if pid == payload {
                return send(
                    control,
                    &Record::Ended {
                        status: status.as_raw(),
                    },
                    &[],
                );
            }
            if Some(pid) == state.verifier {
                state.verifier = None;
                if status.exit_status() == Some(0) {
                    state.checking = false;
                } else {
                    return send(control, &Record::Refused, &[]);
                }
            }
        }
        if state.released && !state.checking && state.go.is_some() {
            go(&mut state, control)?;
        }
        let mut fds = [
            PollFd::new(&control, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).at("poll"),
        }
        if !fds[0].revents().is_empty() {
            // Nothing else is said to pid 1 after the map.
            match receive(control, true).at("recvmsg from the supervisor")? {
                Received::Record(Record::Release, _) if !state.released => state.released = true,
                Received::Record(Record::View, _) if state.proc.is_some() => {
                    show(&mut state, control)?;
                }
                _ => return Err(GONE),
            }
            continue;
        }
        while matches!(signals.read_signal(), Ok(Some(_))) {}
    }
}

/// Hands out what the supervisor looks at the cell through, once.
fn show(state: &mut State, control: BorrowedFd<'_>) -> Done {
    let proc = state.proc.take();
    let fds: Vec<BorrowedFd<'_>> = proc
        .iter()
        .chain(&state.in_memory)
        .map(AsFd::as_fd)
        .collect();
    send(control, &Record::View, &fds)?;
    state.in_memory.clear();
    Ok(())
}

fn go(state: &mut State, control: BorrowedFd<'_>) -> Done {
    let pidfd = state.pidfd.take();
    let fds: Vec<BorrowedFd<'_>> = pidfd.iter().map(AsFd::as_fd).collect();
    send(control, &Record::Go, &fds)?;
    match state.go.take() {
        Some(go) => rustix::io::write(&go, b"g").map(drop).at("write go"),
        None => Ok(()),
    }
}
