//! What docker's command line has and this one refuses by name: nothing is ever ignored silently.
//!
//! Taken from `docker --help` and `docker COMMAND --help` of docker 28.

/// Why a flag is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It comes later; the text says what to do meanwhile, or is empty.
    Later(&'static str),
    /// It will not come; the text says why.
    Never(&'static str),
    /// It is always so; the text says what holds.
    Always(&'static str),
}

use Why::{Always, Later, Never};

/// A refused flag: its long name, its short one, and why.
pub type Flag = (&'static str, Option<char>, Why);

const OFFLINE: &str = "every cell is offline for now: it has lo and nothing else";
const LIMITS: &str = "the policy's limits hold meanwhile; `lazaret run --dry-run` lists them";
const WINDOWS: &str = "it means something on Windows only";
const NO_DAEMON: &str = "there is no daemon to talk to; lazaret does the work itself";
const VOLUMES: &str = "a folder of yours is mounted with -v ./FOLDER:/TARGET";

/// Flags of `run`.
pub const RUN: &[Flag] = &[
    ("add-host", None, Later(OFFLINE)),
    ("annotation", None, Later("")),
    (
        "attach",
        Some('a'),
        Later("standard output and error are attached; -i attaches the input"),
    ),
    ("blkio-weight", None, Later(LIMITS)),
    ("blkio-weight-device", None, Later(LIMITS)),
    ("cgroup-parent", None, Later("")),
    (
        "cgroupns",
        None,
        Always("a cell has a cgroup namespace of its own"),
    ),
    ("cpu-count", None, Never(WINDOWS)),
    ("cpu-percent", None, Never(WINDOWS)),
    ("cpu-period", None, Later(LIMITS)),
    ("cpu-quota", None, Later(LIMITS)),
    ("cpu-rt-period", None, Later(LIMITS)),
    ("cpu-rt-runtime", None, Later(LIMITS)),
    ("cpu-shares", Some('c'), Later(LIMITS)),
    ("cpuset-cpus", None, Later(LIMITS)),
    ("cpuset-mems", None, Later(LIMITS)),
    (
        "detach",
        Some('d'),
        Later("run it in the foreground, or let your shell put it aside with &"),
    ),
    ("detach-keys", None, Later("")),
    ("device-cgroup-rule", None, Later("")),
    ("device-read-bps", None, Later(LIMITS)),
    ("device-read-iops", None, Later(LIMITS)),
    ("device-write-bps", None, Later(LIMITS)),
    ("device-write-iops", None, Later(LIMITS)),
    (
        "disable-content-trust",
        None,
        Never("nothing runs unverified"),
    ),
    ("dns", None, Later(OFFLINE)),
    ("dns-option", None, Later(OFFLINE)),
    ("dns-search", None, Later(OFFLINE)),
    ("domainname", None, Later("")),
    ("expose", None, Later(OFFLINE)),
    ("gpus", None, Later("")),
    ("group-add", None, Later("")),
    ("health-cmd", None, Later("")),
    ("health-interval", None, Later("")),
    ("health-retries", None, Later("")),
    ("health-start-interval", None, Later("")),
    ("health-start-period", None, Later("")),
    ("health-timeout", None, Later("")),
    ("io-maxbandwidth", None, Never(WINDOWS)),
    ("io-maxiops", None, Never(WINDOWS)),
    ("ip", None, Later(OFFLINE)),
    ("ip6", None, Later(OFFLINE)),
    ("ipc", None, Later("a cell has an ipc namespace of its own")),
    ("isolation", None, Never(WINDOWS)),
    (
        "kernel-memory",
        None,
        Never("the kernel has no such limit any more"),
    ),
    ("label-file", None, Later("")),
    ("link", None, Later(OFFLINE)),
    ("link-local-ip", None, Later(OFFLINE)),
    ("log-driver", None, Later("")),
    ("log-opt", None, Later("")),
    ("mac-address", None, Later(OFFLINE)),
    ("memory-reservation", None, Later(LIMITS)),
    ("memory-swappiness", None, Later(LIMITS)),
    ("net-alias", None, Later(OFFLINE)),
    ("network-alias", None, Later(OFFLINE)),
    ("no-healthcheck", None, Always("health checks are not run")),
    ("oom-kill-disable", None, Later("")),
    ("oom-score-adj", None, Later("")),
    ("pid", None, Later("a cell has a pid namespace of its own")),
    (
        "privileged",
        None,
        Never(
            "it takes every wall of the cell away at once: capabilities, seccomp, devices, masks; \
             no policy can allow it. Ask for the one thing that is missing",
        ),
    ),
    ("publish", Some('p'), Later(OFFLINE)),
    ("publish-all", Some('P'), Later(OFFLINE)),
    ("restart", None, Later("")),
    ("runtime", None, Never("lazaret is the runtime")),
    ("shm-size", None, Later(LIMITS)),
    ("sig-proxy", None, Always("signals are forwarded")),
    ("storage-opt", None, Later(LIMITS)),
    ("sysctl", None, Later("/proc/sys is read-only inside")),
    (
        "use-api-socket",
        None,
        Never("a container engine's socket inside is root outside; no policy can allow it"),
    ),
    ("uts", None, Later("a cell has a host name of its own")),
    ("volume-driver", None, Later("")),
    ("volumes-from", None, Later("")),
];

/// Flags of the other verbs, with the verb's last word.
pub const OTHERS: &[(&str, Flag)] = &[
    (
        "load",
        (
            "platform",
            None,
            Later("the image for this machine is loaded"),
        ),
    ),
    ("rmi", ("no-prune", None, Later(""))),
    ("rmi", ("platform", None, Later(""))),
    ("rm", ("no-prune", None, Later(""))),
    ("rm", ("platform", None, Later(""))),
    ("rm", ("link", Some('l'), Later(OFFLINE))),
    (
        "rm",
        (
            "volumes",
            Some('v'),
            Later("containers have no volumes yet; leave it out"),
        ),
    ),
    (
        "ps",
        ("size", Some('s'), Later("`lazaret system df` adds them up")),
    ),
    (
        "ls",
        ("size", Some('s'), Later("`lazaret system df` adds them up")),
    ),
    ("inspect", ("size", Some('s'), Later(""))),
    (
        "login",
        (
            "password",
            Some('p'),
            Never(
                "every process of this machine may read a command line; \
                 --password-stdin takes it from a pipe, and a terminal asks for it",
            ),
        ),
    ),
    (
        "push",
        ("all-tags", Some('a'), Later("push them one by one")),
    ),
    (
        "push",
        (
            "disable-content-trust",
            None,
            Later("leave it out: nothing is signed here, and --remove-signatures sends none"),
        ),
    ),
    (
        "push",
        (
            "platform",
            None,
            Later("an image of the store has one platform, and is sent as it is"),
        ),
    ),
    (
        "save",
        (
            "platform",
            None,
            Later("an image of the store has one platform, and is saved as it is"),
        ),
    ),
    ("search", ("filter", Some('f'), Later(""))),
    ("inspect", ("platform", None, Later(""))),
    (
        "prune",
        (
            "volumes",
            None,
            Later("there are no volumes yet; leave it out"),
        ),
    ),
];

/// Flags before the verb.
pub const GLOBAL: &[Flag] = &[
    ("config", None, Later("")),
    ("context", Some('c'), Never(NO_DAEMON)),
    (
        "debug",
        Some('D'),
        Later("errors name the failed call; `run --timings` shows the stages"),
    ),
    ("host", Some('H'), Never(NO_DAEMON)),
    ("log-level", Some('l'), Later("")),
    ("tls", None, Never(NO_DAEMON)),
    ("tlscacert", None, Never(NO_DAEMON)),
    ("tlscert", None, Never(NO_DAEMON)),
    ("tlskey", None, Never(NO_DAEMON)),
    ("tlsverify", None, Never(NO_DAEMON)),
];

const SWARM: &str = "lazaret runs on one machine";

/// docker's commands, with the management word where there is one, that lazaret lacks.
pub const VERBS: &[(&str, Why)] = &[
    ("attach", Later("")),
    (
        "build",
        Later("build with another tool, save an OCI layout, and load it"),
    ),
    ("builder", Later("")),
    ("buildx", Later("")),
    ("checkpoint", Later("")),
    ("commit", Later("")),
    ("compose", Later("")),
    ("config", Never(SWARM)),
    ("context", Never(NO_DAEMON)),
    ("cp", Later("")),
    ("create", Later("`lazaret run` creates and starts")),
    ("diff", Later("")),
    ("events", Later("")),
    ("exec", Later("")),
    ("export", Later("")),
    ("history", Later("")),
    ("import", Later("")),
    (
        "info",
        Later("`lazaret doctor` and `lazaret version` tell about this machine"),
    ),
    (
        "kill",
        Later("`lazaret rm -f` ends a container and removes it"),
    ),
    ("logs", Later("")),
    ("manifest", Later("")),
    ("network", Later(OFFLINE)),
    ("node", Never(SWARM)),
    ("pause", Later("")),
    ("plugin", Later("")),
    ("port", Later(OFFLINE)),
    (
        "prune",
        Never("docker has none either: `lazaret system prune`, `image prune`, `container prune`"),
    ),
    ("rename", Later("")),
    ("restart", Later("")),
    ("secret", Never(SWARM)),
    ("service", Never(SWARM)),
    ("stack", Never(SWARM)),
    ("start", Later("")),
    ("stats", Later("")),
    (
        "stop",
        Later("`lazaret rm -f` ends a container and removes it"),
    ),
    ("swarm", Never(SWARM)),
    ("top", Later("")),
    ("unpause", Later("")),
    ("update", Later("")),
    ("volume", Later(VOLUMES)),
    (
        "wait",
        Later("`lazaret run` waits and ends with the command's exit code"),
    ),
];

/// Looks up a flag as clap spells what it did not know: `--publish` or `-p`.
pub fn flag(verb: &str, spelled: &str) -> Option<Flag> {
    let matches = |(long, short, _): &&Flag| match spelled.strip_prefix("--") {
        Some(name) => name == *long,
        None => {
            spelled.strip_prefix('-').and_then(|s| s.chars().next()) == *short && short.is_some()
        }
    };
    match verb {
        "run" => RUN.iter().find(matches).copied(),
        "" => GLOBAL.iter().find(matches).copied(),
        _ => {
            let mut of_verb = OTHERS
                .iter()
                .filter(|(v, _)| *v == verb)
                .map(|(_, flag)| flag);
            of_verb.find(matches).copied()
        }
    }
}

/// Looks up a command.
pub fn verb(name: &str) -> Option<Why> {
    VERBS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, why)| *why)
}
