//! The default cell: grants and ground -> plan. The order of the steps is the security argument;
//! each group says why it stands where it stands.

use super::{
    Actor, Bind, Capability, HostBind, HostDevice, IdMap, LandlockRule, Lower, Masks, Plan,
    Planned, Securebits, Shared, Stdio, Step, Tmpfs, Upper, UserSpec, Variable, seccomp,
};
use super::{limits, tool};
use crate::error::Result;
use crate::policy::{Explain, Granted, Grants, Network, Origin};
use std::path::PathBuf;

/// What a plan stands on, beside what was granted.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The unpacked layers, uppermost first.
    pub lowers: Vec<Lower>,
    /// Where writes go when they are kept; used unless the grants say that they are not.
    pub disk: Option<PathBuf>,
    /// Who ids inside are outside.
    pub id_map: IdMap,
    /// This kernel's Landlock ABI.
    pub landlock_abi: u32,
    /// What the host's resolv.conf(5) says; used where the network is the host's.
    pub resolv_conf: String,
}

/// Files of /proc that tell of the host or act on it (THREATS.md, "Default profile").
const HIDDEN: &[&str] = &[
    "config.gz",
    "kallsyms",
    "keys",
    "key-users",
    "interrupts",
    "iomem",
    "ioports",
    "timer_list",
    "kcore",
    "kmsg",
    "modules",
    "cmdline",
    "sysrq-trigger",
    "latency_stats",
    "kpagecount",
    "kpageflags",
];
/// The same, folders.
const HIDDEN_FOLDERS: &[&str] = &["irq", "bus", "fs", "acpi", "scsi", "asound", "pressure"];
/// Parts of /proc that may be read and not written, whatever capabilities are held.
const READ_ONLY: &[&str] = &["sys"];
/// The character devices of the minimal /dev: Linux's devices.txt, majors 1 and 5.
const NODES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
/// One inode for this many bytes of a tmpfs, as ext4's default ratio.
const BYTES_PER_INODE: u64 = 16384;

/// The first line of a cell's resolv.conf where the network is the host's: what tells the probe that
/// it was granted, and is not a hole.
pub const HOST_NETWORK: &str = "# the network is the host's (--network host)";

/// The names below /dev that a rule can give a cell of its own.
pub fn own_nodes() -> impl Iterator<Item = &'static str> {
    NODES.iter().map(|(name, ..)| *name)
}

/// The plan of the default cell.
pub fn build(grants: &Grants, ground: &Ground) -> Result<Plan> {
    let mut steps = Vec::with_capacity(48);
    let mut add = |actor, step, origin: &Origin| {
        steps.push(Planned {
            actor,
            step,
            origin: origin.clone(),
        });
    };
    use Actor::{Init, Payload, Supervisor, Verifier};
    let range = !ground.id_map.is_single();
    let stdio = match (grants.tty, grants.interactive) {
        (true, input) => Stdio::Terminal { input },
        (false, true) => Stdio::Interactive,
        (false, false) => Stdio::Output,
    };

    // Before anything else: nothing of the caller's comes along, and nothing outlives it.
    let cgroup = limits::cgroup(grants);
    let in_cgroup = cgroup.is_some();
    if let Some((cgroup, origin)) = cgroup {
        add(Supervisor, Step::MakeCgroup(cgroup), &origin);
    }
    add(
        Supervisor,
        Step::Clone,
        &Origin::Always(match grants.network.value {
            Network::None => "every namespace is the cell's own",
            Network::Host => "every namespace but that of the network is the cell's own",
        }),
    );
    add(
        Init,
        Step::CloseInherited,
        &Origin::Always("no host file is reachable"),
    );
    add(
        Init,
        Step::PlainProcess,
        &Origin::Always("nothing of the caller's is inherited"),
    );
    add(
        Init,
        Step::MapIds(ground.id_map.clone()),
        &grants.id_map.origin,
    );
    // The layer folders lie below the caller's home, where container root may not go.
    if grants.tool.is_none() {
        add(
            Init,
            Step::OpenLayers,
            &Origin::Always("layers are named by descriptor"),
        );
    }
    let hashed = tool::hashed(grants).map(|(number, _)| number);
    // The same holds for folders of the caller's.
    let binds = grants.binds.iter();
    let binds = binds.map(|b| (&b.value.source, b.value.number, &b.origin));
    let devices = grants.host_devices.iter();
    let devices = devices.map(|d| (&d.value.source, d.value.number, &d.origin));
    for (path, number, origin) in binds.chain(devices) {
        let path = path.clone();
        let read = hashed == Some(number);
        add(Init, Step::OpenSource { path, number, read }, origin);
    }
    if in_cgroup {
        let origin = Origin::Always("no host path is readable");
        add(Init, Step::HideCgroup, &origin);
    }
    add(
        Init,
        Step::BecomeContainerRoot {
            clear_groups: range,
        },
        &grants.id_map.origin,
    );
    add(
        Init,
        Step::DieWithSupervisor,
        &Origin::Always("nothing survives"),
    );
    add(
        Init,
        Step::ScrubMemory,
        &Origin::Always("no host environment is readable"),
    );
    // After the map: before it, not being dumpable makes uid_map root's and the map fails.
    add(
        Init,
        Step::Undumpable,
        &Origin::Always("pid 1 is out of reach"),
    );
    add(
        Init,
        Step::JoinKeyring,
        &Origin::Always("no host key is reachable"),
    );
    // Forked here, it works beside all the mounts below.
    add(Init, Step::StartVerifier, &grants.verify.origin);

    // First, because pid 1 waits for it; the checks of a small image take less time than this. The
    // host's network is its own user namespace's, and nothing of it is changed.
    let own_network = grants.network.value == Network::None;
    if own_network {
        add(Verifier, Step::MakeNetwork, &grants.network.origin);
        add(Verifier, Step::LoopbackUp, &grants.network.origin);
    }
    if grants.tool.is_none() {
        let mode = grants.verify.value;
        add(Verifier, Step::CheckLayers { mode }, &grants.verify.origin);
    }

    add(
        Init,
        Step::PrivateMounts,
        &Origin::Always("no mount reaches the host"),
    );
    let memory = Step::MountMemory {
        size: grants.tmp.value,
        inodes: (grants.tmp.value / BYTES_PER_INODE).max(1024),
    };
    add(Init, memory, &grants.tmp.origin);
    let upper = match (&ground.disk, grants.ephemeral.value) {
        (Some(path), false) => Upper::Disk { path: path.clone() },
        _ => Upper::Memory,
    };
    let lowers = ground.lowers.clone();
    add(
        Init,
        Step::MountRoot { lowers, upper },
        &grants.ephemeral.origin,
    );
    let nodes = grants
        .devices
        .value
        .iter()
        .filter_map(|name| NODES.iter().find(|(n, ..)| n == name))
        .map(|(name, major, minor)| Bind {
            name: (*name).to_owned(),
            major: *major,
            minor: *minor,
        })
        .collect();
    add(
        Init,
        Step::MountDev {
            nodes,
            terminal_group: range,
        },
        &grants.devices.origin,
    );
    for Granted { value, origin } in &grants.host_devices {
        let device = HostDevice {
            source: value.source.clone(),
            number: value.number,
            path: value.target.clone(),
            major: value.major,
            minor: value.minor,
        };
        add(Init, Step::MountDevice(device), origin);
    }
    let shared = |folder: &str, path: &str, mode, read_only| {
        Step::MountShared(Shared {
            folder: folder.to_owned(),
            path: path.to_owned(),
            mode,
            read_only,
        })
    };
    let shm = Origin::Always("shared memory is bounded");
    add(Init, shared("shm", "/dev/shm", 0o1777, false), &shm);
    let sys = Origin::Always("no host device is visible");
    add(Init, shared("empty", "/sys", 0o555, true), &sys);
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let masks = Masks {
        hidden: owned(HIDDEN),
        hidden_folders: owned(HIDDEN_FOLDERS),
        read_only: owned(READ_ONLY),
    };
    add(
        Init,
        Step::MountProc(masks),
        &Origin::Always("no host kernel file is reachable"),
    );

    for (step, origin) in tool::skeleton(grants) {
        add(Init, step, &origin);
    }

    // Files are written while the root still is writable, links followed inside it only.
    let host = &grants.hostname.value;
    let file = |path: &str, content: String| Step::WriteFile {
        path: path.to_owned(),
        content,
    };
    add(
        Init,
        file("/etc/hostname", format!("{host}\n")),
        &grants.hostname.origin,
    );
    let hosts = format!("127.0.0.1\tlocalhost {host}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    add(Init, file("/etc/hosts", hosts), &grants.hostname.origin);
    let resolv = match grants.network.value {
        Network::None => "# no network: no name server\n".to_owned(),
        Network::Host => format!("{HOST_NETWORK}\n{}", ground.resolv_conf),
    };
    add(
        Init,
        file("/etc/resolv.conf", resolv),
        &grants.network.origin,
    );
    let user = user_spec(&grants.user.value);
    if let Ok(number) = user.user.parse::<u32>()
        && number != 0
        && grants.tool.is_none()
    {
        let line = format!("{number}:x:{number}:0::/:/bin/sh");
        add(
            Init,
            Step::NameUser { user: number, line },
            &grants.user.origin,
        );
    }
    // After the files, which are never written to what is the host's; a place below another's after
    // that one.
    for (step, origin) in mounts(grants) {
        add(Init, step, origin);
    }
    let workdir = &grants.workdir.value;
    if workdir != "/" {
        add(
            Init,
            Step::MakeWorkdir {
                path: workdir.clone(),
            },
            &grants.workdir.origin,
        );
    }
    if grants.read_only.value {
        add(Init, Step::ReadOnlyRoot, &grants.read_only.origin);
    }
    add(
        Init,
        Step::Pivot,
        &Origin::Always("no host file is reachable"),
    );
    add(
        Init,
        Step::SetHostname { name: host.clone() },
        &grants.hostname.origin,
    );
    if own_network {
        add(Init, Step::JoinNetwork, &grants.network.origin);
    }
    // After the last mount, because a Landlock domain refuses all of them; before the payload, so
    // that everything in the cell shares the one domain. Device ioctls only where terminals are.
    let abi = ground.landlock_abi;
    let mut rules = vec![LandlockRule {
        path: "/".to_owned(),
        files: true,
        device_ioctl: false,
    }];
    if abi >= 5 {
        let granted = grants.host_devices.iter();
        let granted = granted.map(|device| device.value.target.as_str());
        let tty = grants.devices.value.iter().any(|node| node == "tty");
        let tty = tty.then_some("/dev/tty");
        for path in ["/dev/pts"].into_iter().chain(tty).chain(granted) {
            rules.push(LandlockRule {
                path: path.to_owned(),
                files: false,
                device_ioctl: true,
            });
        }
    }
    let scopes = abi >= 6;
    let watched = grants.explain.as_ref().and_then(|e| e.value.observes());
    let landlock = Step::Landlock {
        abi,
        logged: abi >= 7 && watched.is_some(),
        rules,
        scope_signals: scopes,
        scope_abstract_sockets: scopes,
    };
    add(
        Init,
        landlock,
        &Origin::Always("no host file, signal or socket is reachable"),
    );
    add(Init, Step::StartPayload, &Origin::Always("the command"));
    let init = seccomp::Profile::builtin("init", [])?;
    add(
        Init,
        Step::ConfineInit { syscalls: init },
        &Origin::Always("pid 1 is out of reach"),
    );

    // The payload: what needs a capability first, then none is left, then system calls.
    add(
        Payload,
        Step::NewSession(stdio),
        &Origin::Always("no host terminal is reachable"),
    );
    let caps = grants.caps.value.iter().map(|cap| Capability {
        name: cap.value.clone(),
        origin: cap.origin.clone(),
    });
    let caps: Vec<Capability> = caps.collect();
    let names = || caps.iter().map(|cap| cap.name.as_str());
    add(
        Payload,
        Step::BoundCapabilities {
            keep: names().map(str::to_owned).collect(),
            securebits: match caps.is_empty() {
                true => Securebits::WORTHLESS_ROOT,
                false => Securebits::ROOT_ALONE,
            },
        },
        &grants.caps.origin,
    );
    add(
        Payload,
        Step::BecomeUser {
            user,
            set_groups: range,
        },
        &grants.user.origin,
    );
    add(
        Payload,
        Step::ChangeDirectory {
            path: workdir.clone(),
        },
        &grants.workdir.origin,
    );
    add(
        Payload,
        Step::SetCapabilities { keep: caps.clone() },
        &grants.caps.origin,
    );
    // Late, because few open files or little memory are for the command and not for the launch.
    let bounded = Origin::Always("no process takes more than its share");
    add(Payload, Step::SetRlimits(limits::rlimits(grants)), &bounded);
    add(
        Payload,
        Step::NoNewPrivileges,
        &Origin::Always("no new privileges"),
    );
    add(
        Payload,
        Step::CloseFiles,
        &Origin::Always("no host file is reachable"),
    );
    add(
        Payload,
        Step::WaitForGo,
        &Origin::Always("nothing runs unverified"),
    );
    let (syscalls, origin) = match &grants.narrowed {
        Some(narrowed) => (narrowed.value.clone(), &narrowed.origin),
        None => (
            seccomp::Profile::builtin(&grants.syscalls.value, names())?,
            &grants.syscalls.origin,
        ),
    };
    let explain = grants.explain.as_ref().map(|explain| explain.value);
    let mut syscalls = syscalls;
    syscalls.told = explain.is_some_and(Explain::calls) && syscalls.can_tell();
    syscalls.observed = explain.and_then(Explain::observes);
    if let (Some(_), Some(asked)) = (syscalls.observed, &grants.explain) {
        add(Payload, Step::AwaitObserver, &asked.origin);
    }
    add(Payload, Step::Seccomp(syscalls), origin);
    let variable = |e: &Granted<(String, String)>| Variable {
        name: e.value.0.clone(),
        value: e.value.1.clone(),
        origin: e.origin.clone(),
    };
    let env = grants.env.iter().map(variable).collect();
    let execute = Step::Execute {
        path: grants.tool.as_ref().map(|tool| tool.value.program.clone()),
        argv: grants.argv.value.clone(),
        env,
    };
    let named = tool::origin(grants);
    add(
        Payload,
        execute,
        named.as_ref().unwrap_or(&grants.argv.origin),
    );
    let (signal, kill_after) = (&grants.stop_signal, &grants.stop_timeout);
    let flag = signal.as_ref().map(|s| &s.origin);
    if let Some(origin) = flag.or(kill_after.as_ref().map(|k| &k.origin)) {
        let stop = Step::StopBy {
            signal: signal.as_ref().map_or(libc::SIGTERM, |s| s.value),
            kill_after: kill_after.as_ref().map(|k| k.value),
        };
        add(Supervisor, stop, origin);
    }
    let timeout = grants.timeout.as_ref().map(|t| t.value);
    let supervise_origin = grants
        .timeout
        .as_ref()
        .map_or(Origin::Always("exit codes and signals"), |t| {
            t.origin.clone()
        });
    add(
        Supervisor,
        Step::Supervise {
            stdio,
            timeout,
            watched: limits::watched(grants),
        },
        &supervise_origin,
    );
    Ok(Plan::new(steps))
}

/// What the command line mounts, each after what it lies below.
fn mounts(grants: &Grants) -> Vec<(Step, &Origin)> {
    let mut mounts: Vec<(&str, Step, &Origin)> = Vec::new();
    for Granted { value, origin } in &grants.tmpfs {
        let tmpfs = Step::MountTmpfs(Tmpfs {
            path: value.path.clone(),
            size: value.size,
            inodes: (value.size / BYTES_PER_INODE).max(64),
            mode: value.mode,
            no_exec: true,
            read_only: value.read_only,
        });
        mounts.push((&value.path, tmpfs, origin));
    }
    for Granted { value, origin } in &grants.binds {
        if let Some(program) = tool::copy(grants, value) {
            mounts.push((&value.target, Step::MountProgram(program), origin));
            continue;
        }
        let bind = Step::MountBind(HostBind {
            source: value.source.clone(),
            number: value.number,
            path: value.target.clone(),
            folder: value.folder,
            read_only: value.read_only,
            no_suid: true,
            no_dev: true,
            no_exec: value.no_exec,
        });
        mounts.push((&value.target, bind, origin));
    }
    mounts.sort_by(|(a, ..), (b, ..)| a.split('/').cmp(b.split('/')));
    mounts
        .into_iter()
        .map(|(_, step, origin)| (step, origin))
        .collect()
}

/// `USER[:GROUP]` split.
fn user_spec(text: &str) -> UserSpec {
    match text.split_once(':') {
        Some((user, group)) => UserSpec {
            user: user.to_owned(),
            group: Some(group.to_owned()),
        },
        None => UserSpec {
            user: text.to_owned(),
            group: None,
        },
    }
}
