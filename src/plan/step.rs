//! Steps, in the order in which they happen, each with the process that takes it.

use super::ids::IdMap;
use super::limits::{CellCgroup, Rlimit, Watched};
use super::mounts::{Bind, HostBind, HostDevice, Lower, Masks, ProgramCopy, Shared, Tmpfs, Upper};
use super::seccomp;
use crate::policy::{Origin, VerifyMode};
use std::fmt;
use std::time::Duration;

/// Which process takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The process that was started by the user; outside.
    Supervisor,
    /// pid 1 of the cell.
    Init,
    /// A child of init that checks the layers beside the mounts.
    Verifier,
    /// The process that becomes the command.
    Payload,
}

/// `USER` as granted; names are looked up inside, in the image's own files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UserSpec {
    /// A name or a number; empty means 0.
    pub user: String,
    /// A name or a number.
    pub group: Option<String>,
}

/// The payload's standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdio {
    /// Pipes; standard input is the cell's /dev/null.
    Output,
    /// Pipes, standard input too.
    Interactive,
    /// A pty of the cell's own devpts, standard input relayed if `input`.
    Terminal { input: bool },
}
/// What Landlock allows below a path (landlock(7)); everything else that this kernel's Landlock
/// knows is refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LandlockRule {
    /// Absolute path inside; `/` first.
    pub path: String,
    /// Read, write, execute, make, remove, rename: all but device nodes and device ioctls.
    pub files: bool,
    /// ioctl on devices (ABI 5).
    pub device_ioctl: bool,
}

/// What being root is worth (capabilities(7), "securebits"). Both are locked as they are, and no
/// ambient capability can be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Securebits {
    /// SECBIT_NOROOT: an exec as uid 0 brings no capability. Then KEEP_CAPS is locked too.
    pub no_root: bool,
    /// SECBIT_NO_SETUID_FIXUP: who leaves uid 0 takes its capabilities along.
    pub no_setuid_fixup: bool,
}

impl Securebits {
    /// Root is worth nothing: what is held is not had back once it is given up.
    pub const WORTHLESS_ROOT: Self = Self {
        no_root: true,
        no_setuid_fixup: true,
    };
    /// Root holds what the bounding set lets it, over any exec, and who leaves uid 0 holds nothing.
    pub const ROOT_ALONE: Self = Self {
        no_root: false,
        no_setuid_fixup: false,
    };
}

/// A capability of the command's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Capability {
    /// Without `CAP_`.
    pub name: String,
    /// The rule or flag behind it.
    pub origin: Origin,
}

/// A variable of the command's environment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The rule, flag or image key behind it.
    pub origin: Origin,
}

/// One thing that happens. The order of a plan's steps is the order in which they are taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A cgroup for the cell alone, which the clone is born into.
    MakeCgroup(CellCgroup),
    /// clone3 into new user, mount, pid, ipc, uts and cgroup namespaces.
    Clone,
    /// Say who ids inside are outside.
    MapIds(IdMap),
    /// A cgroup namespace whose root is the cell's own cgroup: the clone's was the caller's.
    HideCgroup,
    /// Close every inherited fd but the ones that the launch needs.
    CloseInherited,
    /// umask 022 and the plain personality: what the caller set for itself neither closes the
    /// folders of the cell nor takes the randomness out of its addresses.
    PlainProcess,
    /// Die when the supervisor does.
    DieWithSupervisor,
    /// Overwrite the launcher's arguments and environment in pid 1's memory.
    ScrubMemory,
    /// Open the layer folders while this process is still the caller to the file system.
    OpenLayers,
    /// Open a folder or file of the host while this process is still the caller to the file system.
    /// It must be the very one that the supervisor holds open and the policy decided on: the mount
    /// namespace is a copy, whose mounts only a descriptor of its own can name. `read`: its bytes are
    /// wanted as well.
    OpenSource {
        path: String,
        number: usize,
        read: bool,
    },
    /// Become uid 0 and gid 0 inside, with no supplementary group where the map allows setgroups.
    BecomeContainerRoot { clear_groups: bool },
    /// Not dumpable: nobody inside may trace pid 1 or read its memory. After the map, because
    /// before it this makes uid_map root's.
    Undumpable,
    /// Leave the caller's session keyring.
    JoinKeyring,
    /// Start the verifier, which takes its steps beside everything that follows.
    StartVerifier,
    /// Check the unpacked layers against their record; the payload's execve waits for the answer.
    CheckLayers { mode: VerifyMode },
    /// No mount made from here on reaches the host.
    PrivateMounts,
    /// One tmpfs for everything of the cell that is in memory, so that one bound holds for it.
    MountMemory { size: u64, inodes: u64 },
    /// The root: layers below, writes above. Without layers, an empty folder of the tmpfs.
    MountRoot { lowers: Vec<Lower>, upper: Upper },
    /// A small /dev: these nodes, a private devpts, links to the standard streams.
    MountDev {
        nodes: Vec<Bind>,
        terminal_group: bool,
    },
    /// A device of the host in the small /dev.
    MountDevice(HostDevice),
    /// A folder of the cell's tmpfs.
    MountShared(Shared),
    /// A tmpfs of its own.
    MountTmpfs(Tmpfs),
    /// A folder or file of the host.
    MountBind(HostBind),
    /// A program of the host, copied and hashed.
    MountProgram(ProgramCopy),
    /// A folder of the root; `owner`: user and group inside.
    MakeFolder {
        path: String,
        mode: u32,
        owner: (u32, u32),
    },
    /// A symbolic link of the root.
    MakeLink { path: String, target: String },
    /// A fresh /proc of this pid namespace, with what leaks or acts on the host hidden.
    MountProc(Masks),
    /// A file that every container has.
    WriteFile { path: String, content: String },
    /// A passwd line for a numeric user that the image does not know.
    NameUser { user: u32, line: String },
    /// Make the working directory if the image has none.
    MakeWorkdir { path: String },
    /// The root is read-only from here on.
    ReadOnlyRoot,
    /// The new root becomes /, the host's is gone.
    Pivot,
    /// The host name.
    SetHostname { name: String },
    /// unshare(2) CLONE_NEWNET, by the verifier, beside the mounts: it is the dearest of the
    /// namespaces, and pid 1 needs it only before it starts the payload.
    MakeNetwork,
    /// Join the network namespace that the verifier made; without one there is no payload.
    JoinNetwork,
    /// lo up; there is no other interface.
    LoopbackUp,
    /// Landlock and its scopes, for everything in the cell.
    Landlock {
        abi: u32,
        rules: Vec<LandlockRule>,
        scope_signals: bool,
        scope_abstract_sockets: bool,
        /// What it refuses the command goes into the kernel's audit log too (ABI 7).
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        logged: bool,
    },
    /// Start the payload, which waits for go.
    StartPayload,
    /// pid 1 gives up what it no longer needs: capabilities, system calls.
    ConfineInit { syscalls: seccomp::Profile },
    /// A session of its own, with the pty as its terminal if there is one.
    NewSession(Stdio),
    /// Resource limits.
    SetRlimits(Vec<Rlimit>),
    /// Lower the bounding set and lock the securebits; ambient stays empty.
    BoundCapabilities {
        keep: Vec<String>,
        securebits: Securebits,
    },
    /// Become the user.
    BecomeUser { user: UserSpec, set_groups: bool },
    /// Go to the working directory.
    ChangeDirectory { path: String },
    /// Keep these capabilities and no other, in permitted and effective, if the user is uid 0; else
    /// none.
    SetCapabilities { keep: Vec<Capability> },
    /// Nothing started from here on gains privileges.
    NoNewPrivileges,
    /// Every fd but the standard streams closes at exec.
    CloseFiles,
    /// Until the layers are checked, pid 1 is confined, and the supervisor has done its part.
    WaitForGo,
    /// Until somebody watches what system calls come to; before the filter, under which they fail where
    /// nobody does.
    AwaitObserver,
    /// System calls: last, so that nothing of the launch must be allowed.
    Seccomp(seccomp::Profile),
    /// The command; `path`: what is executed, where it is not looked up inside by `argv`.
    Execute {
        path: Option<String>,
        argv: Vec<String>,
        env: Vec<Variable>,
    },
    /// Pass SIGTERM on as `signal`, and kill the command that long afterwards.
    StopBy {
        signal: i32,
        kill_after: Option<Duration>,
    },
    /// Relay the standard streams and forward signals until pid 1 ends.
    Supervise {
        stdio: Stdio,
        timeout: Option<Duration>,
        watched: Vec<Watched>,
    },
}

/// A step, who takes it, and where its setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Planned {
    /// Who takes it.
    pub actor: Actor,
    /// What is done.
    #[serde(flatten)]
    pub step: Step,
    /// The rule, flag or image key behind it.
    pub origin: Origin,
}

/// Everything that will be done, in order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Plan {
    steps: Vec<Planned>,
}

impl Plan {
    /// A plan of these steps. `super::build` is what makes the default cell; tests make others.
    pub fn new(steps: Vec<Planned>) -> Self {
        Self { steps }
    }

    /// The steps in order: what `--dry-run` prints and what the child walks.
    pub fn steps(&self) -> &[Planned] {
        &self.steps
    }
}

impl Step {
    /// The step's short name, for timings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MakeCgroup(_) => "  make the cgroup",
            Self::Clone => "  clone",
            Self::HideCgroup => "  hide the cgroup",
            Self::MapIds(_) => "  map ids",
            Self::CloseInherited => "  close inherited fds",
            Self::PlainProcess => "  plain process",
            Self::DieWithSupervisor => "  die with supervisor",
            Self::ScrubMemory => "  scrub memory",
            Self::OpenLayers => "  open layers",
            Self::OpenSource { .. } => "  open a source",
            Self::BecomeContainerRoot { .. } => "  become container root",
            Self::Undumpable => "  undumpable",
            Self::JoinKeyring => "  join keyring",
            Self::StartVerifier => "  start the verifier",
            Self::CheckLayers { .. } => "  check the layers",
            Self::PrivateMounts => "  private mounts",
            Self::MountMemory { .. } => "  make the tmpfs",
            Self::MountShared(_) => "  mount its folder",
            Self::MountRoot { .. } => "  mount /",
            Self::MountDev { .. } => "  mount /dev",
            Self::MountDevice(_) => "  mount a device",
            Self::MountTmpfs(_) => "  mount a tmpfs",
            Self::MountBind(_) => "  mount a bind",
            Self::MountProgram(_) => "  mount the program",
            Self::MakeFolder { .. } => "  make a folder",
            Self::MakeLink { .. } => "  make a link",
            Self::MountProc(_) => "  mount /proc",
            Self::WriteFile { .. } => "  write a file",
            Self::NameUser { .. } => "  name the user",
            Self::MakeWorkdir { .. } => "  make the workdir",
            Self::ReadOnlyRoot => "  read-only /",
            Self::Pivot => "  pivot",
            Self::SetHostname { .. } => "  hostname",
            Self::MakeNetwork => "  make the network",
            Self::JoinNetwork => "  join the network",
            Self::LoopbackUp => "  lo up",
            Self::Landlock { .. } => "  Landlock",
            Self::StartPayload => "  fork the payload",
            Self::ConfineInit { .. } => "  confine pid 1",
            Self::NewSession(_) => "    new session",
            Self::SetRlimits(_) => "    rlimits",
            Self::BoundCapabilities { .. } => "    bound capabilities",
            Self::BecomeUser { .. } => "    become the user",
            Self::ChangeDirectory { .. } => "    change directory",
            Self::SetCapabilities { .. } => "    set capabilities",
            Self::NoNewPrivileges => "    no new privileges",
            Self::CloseFiles => "    close files",
            Self::WaitForGo => "    wait for go",
            Self::AwaitObserver => "    await observer",
            Self::Seccomp(_) => "    seccomp",
            Self::Execute { .. } => "    execute",
            Self::StopBy { .. } => "  how to stop",
            Self::Supervise { .. } => "  supervise",
        }
    }

    /// The settings of a step that come from more than one place, each with its own origin, in a
    /// person's words, quoted as [`Step::describe`] does.
    pub fn parts(&self) -> Vec<(String, Origin)> {
        match self {
            Self::Execute { env, .. } => {
                let known = env.iter().any(|v| v.name == "HOME");
                // Only inside is known whose it is.
                let home = (
                    "HOME, the user's own, from the image's passwd".to_owned(),
                    Origin::Always("a home for the user"),
                );
                env.iter()
                    .map(|v| {
                        let text = format!("{}={:?}", name(&v.name), v.value);
                        (text, v.origin.clone())
                    })
                    .chain((!known).then_some(home))
                    .collect()
            }
            Self::SetRlimits(limits) => limits
                .iter()
                .map(|l| (l.to_string(), l.origin.clone()))
                .collect(),
            Self::SetCapabilities { keep } => keep
                .iter()
                .map(|cap| (cap.name.clone(), cap.origin.clone()))
                .collect(),
            Self::Seccomp(profile) => profile.parts(),
            Self::Supervise { watched, .. } => watched
                .iter()
                .map(|w| (w.to_string(), w.origin.clone()))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The step in a person's words, one line; everything from the image or the command line is
    /// quoted.
    pub fn describe(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeCgroup(cgroup) => write!(f, "{cgroup}"),
            Self::HideCgroup => f.write_str("make that cgroup the only one that is seen"),
            Self::Clone => {
                f.write_str("clone into new user, mount, pid, ipc, uts and cgroup namespaces")
            }
            Self::MapIds(IdMap::Single { uid, gid }) => {
                write!(
                    f,
                    "map 0 inside to uid {uid}, gid {gid}: the caller, and nobody else"
                )
            }
            Self::MapIds(IdMap::Range { uid, gid, .. }) => {
                write!(f, "map uids {uid} and gids {gid}")
            }
            Self::MapIds(IdMap::Keep { uid, gid, kept, .. }) => write!(
                f,
                "map uids {uid} and gids {gid}, but keep uid {} and gid {}: the caller",
                kept.0, kept.1
            ),
            Self::CloseInherited => f.write_str("close every inherited fd"),
            Self::PlainProcess => f.write_str("umask 022, plain personality"),
            Self::DieWithSupervisor => f.write_str("die when the supervisor dies"),
            Self::ScrubMemory => f.write_str("overwrite the launcher's arguments and environment"),
            Self::OpenLayers => f.write_str("open the layer folders"),
            Self::OpenSource { path, .. } => {
                write!(f, "open {path:?} of the host, the very one that was judged")
            }
            Self::BecomeContainerRoot { clear_groups } => write!(
                f,
                "become uid 0 and gid 0 inside{}",
                if *clear_groups {
                    ", no supplementary group"
                } else {
                    ""
                }
            ),
            Self::Undumpable => f.write_str("pid 1 cannot be traced or read"),
            Self::JoinKeyring => f.write_str("leave the session keyring"),
            Self::StartVerifier => f.write_str("start the verifier beside what follows"),
            Self::CheckLayers {
                mode: VerifyMode::Stat,
            } => f.write_str("check every file of the layers against its record (stat)"),
            Self::CheckLayers {
                mode: VerifyMode::Full,
            } => f.write_str("hash every file of the layers (full)"),
            Self::PrivateMounts => f.write_str("make all mounts private"),
            Self::MountMemory { size, inodes } => {
                write!(f, "make a tmpfs of {size} bytes, {inodes} inodes")
            }
            Self::MountShared(s) => write!(
                f,
                "mount its folder {:?} on {:?}, mode {:o}{}",
                s.folder,
                s.path,
                s.mode,
                if s.read_only { ", read-only" } else { "" }
            ),
            Self::MountRoot { lowers, .. } if lowers.is_empty() => {
                f.write_str("mount / empty, in memory")
            }
            Self::MountRoot { lowers, upper } => {
                write!(f, "mount / of {} layers, writes ", lowers.len())?;
                match upper {
                    Upper::Memory => f.write_str("in memory"),
                    Upper::Disk { path } => write!(f, "on disk in {path:?}, unsynced"),
                }
            }
            Self::MountDev { nodes, .. } => {
                let names: Vec<_> = nodes.iter().map(|n| n.name.as_str()).collect();
                write!(f, "mount /dev with {} and a private pts", names.join(" "))
            }
            Self::MountTmpfs(t) => write!(
                f,
                "mount tmpfs on {:?}: {} bytes, {} inodes, mode {:o}{}{}",
                t.path,
                t.size,
                t.inodes,
                t.mode,
                if t.no_exec { ", noexec" } else { "" },
                if t.read_only { ", read-only" } else { "" }
            ),
            Self::MountDevice(d) => write!(
                f,
                "mount device {:?} of the host, {}:{}, on {:?}",
                d.source, d.major, d.minor, d.path
            ),
            Self::MountBind(b) => write!(
                f,
                "mount {} {:?} of the host on {:?}: {}{}{}{}",
                if b.folder { "folder" } else { "file" },
                b.source,
                b.path,
                if b.read_only { "read-only" } else { "writable" },
                if b.no_suid { ", nosuid" } else { "" },
                if b.no_dev { ", nodev" } else { "" },
                if b.no_exec { ", noexec" } else { "" }
            ),
            Self::MountProgram(p) => write!(
                f,
                "copy {:?} of the host into memory, refuse it unless it is {}, mount the copy on \
                 {:?}: read-only, nosuid, nodev, and execute that copy whatever is there by then",
                p.source, p.sha256, p.path
            ),
            Self::MakeFolder { path, mode, .. } => {
                write!(f, "make the folder {path:?}, empty, mode {mode:o}")
            }
            Self::MakeLink { path, target } => write!(f, "link {path:?} to {target:?}"),
            Self::MountProc(m) => write!(
                f,
                "mount /proc; hide {} {}; read-only {}",
                m.hidden.join(" "),
                m.hidden_folders.join(" "),
                m.read_only.join(" ")
            ),
            Self::WriteFile { path, .. } => write!(f, "write {path:?}"),
            Self::NameUser { user, .. } => write!(f, "add a passwd line for uid {user} if none"),
            Self::MakeWorkdir { path } => write!(f, "make {path:?} if absent"),
            Self::ReadOnlyRoot => f.write_str("make / read-only"),
            Self::Pivot => f.write_str("pivot into the new root and drop the host's"),
            Self::SetHostname { name } => write!(f, "set the host name {name:?}"),
            Self::MakeNetwork => f.write_str("make a network namespace"),
            Self::JoinNetwork => {
                f.write_str("join the verifier's network namespace and leave the host's")
            }
            Self::LoopbackUp => f.write_str("bring lo up; no other interface exists"),
            Self::Landlock {
                abi,
                rules,
                scope_signals,
                scope_abstract_sockets,
                logged,
            } => {
                let paths: Vec<_> = rules.iter().map(|r| r.path.as_str()).collect();
                write!(f, "Landlock (ABI {abi}) below {}", paths.join(" "))?;
                if *scope_signals {
                    f.write_str(", signals")?;
                }
                if *scope_abstract_sockets {
                    f.write_str(", abstract sockets")?;
                }
                if *logged {
                    f.write_str("; what it refuses is logged")?;
                }
                Ok(())
            }
            Self::StartPayload => f.write_str("fork the payload"),
            Self::ConfineInit { syscalls } => {
                write!(f, "pid 1: no capability, system calls {:?}", syscalls.name)
            }
            Self::NewSession(Stdio::Terminal { .. }) => f.write_str("new session with the pty"),
            Self::NewSession(Stdio::Interactive) => f.write_str("new session, pipes"),
            Self::NewSession(Stdio::Output) => f.write_str("new session, pipes, no input"),
            Self::SetRlimits(_) => f.write_str("limit each process"),
            Self::BoundCapabilities { keep, securebits } => {
                write!(f, "bound capabilities to {}", list(keep))?;
                f.write_str(", lock securebits")?;
                match *securebits {
                    Securebits::ROOT_ALONE => f.write_str(": who leaves uid 0 holds none"),
                    _ => Ok(()),
                }
            }
            Self::BecomeUser { user, set_groups } => {
                write!(f, "become user {user}")?;
                if *set_groups {
                    f.write_str(" with the image's groups")
                } else {
                    Ok(())
                }
            }
            Self::ChangeDirectory { path } => write!(f, "change to {path:?}"),
            Self::SetCapabilities { keep } if keep.is_empty() => {
                f.write_str("keep capabilities none")
            }
            Self::SetCapabilities { .. } => f.write_str("keep these capabilities if uid 0"),
            Self::NoNewPrivileges => f.write_str("no new privileges"),
            Self::CloseFiles => f.write_str("close every fd but 0, 1 and 2"),
            Self::WaitForGo => f.write_str("wait until layers are checked and pid 1 is confined"),
            Self::AwaitObserver => {
                f.write_str("wait until somebody watches what system calls come to")
            }
            Self::Seccomp(profile) => write!(f, "system calls: {profile}"),
            Self::Execute {
                path: Some(path),
                argv,
                ..
            } => write!(f, "execute {path:?} as {argv:?} with these variables"),
            Self::Execute { argv, .. } => write!(f, "execute {argv:?} with these variables"),
            Self::StopBy { signal, kill_after } => {
                write!(f, "pass SIGTERM on as signal {signal}")?;
                match kill_after {
                    Some(time) => write!(f, ", and kill the command {time:?} later"),
                    None => Ok(()),
                }
            }
            Self::Supervise {
                timeout: Some(limit),
                ..
            } => {
                write!(f, "relay streams and signals for at most {limit:?}")
            }
            Self::Supervise { timeout: None, .. } => f.write_str("relay streams and signals"),
        }
    }
}

/// A variable's name, quoted unless it is what shells take for one.
fn name(text: &str) -> String {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        true => text.to_owned(),
        false => format!("{text:?}"),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}",
            if self.user.is_empty() {
                "0"
            } else {
                &self.user
            }
        )?;
        match &self.group {
            Some(group) => write!(f, ":{group:?}"),
            None => Ok(()),
        }
    }
}
