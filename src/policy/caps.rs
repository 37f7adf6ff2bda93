//! Capabilities: their names, and which of them a cell's root holds.

use super::decide::Judge;
use super::facts::HostFacts;
use super::grants::{Downgrade, Granted, IdMapKind, Origin, Reason};
use super::parse::Key;
use super::request::Request;
use super::words;
use crate::error::Result;
use crate::plan::seccomp::Profile;

/// capabilities(7), without `CAP_`, in the order of their numbers.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What the kernel asks for outside of every user namespace only (`capable()`, not `ns_capable()`),
/// so that it opens nothing inside one; of those that can be granted.
const EMPTY: &[&str] = &[
    "LINUX_IMMUTABLE",
    "NET_BROADCAST",
    "SYS_PACCT",
    "SYS_TTY_CONFIG",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
];

/// What is of use with a second id only: who is given it is about to become somebody else, or to give
/// files away, and fails at that where there is one id.
const OF_OTHER_IDS: &[&str] = &["CHOWN", "SETUID", "SETGID"];

/// Which system calls ask for which capability, and when (capabilities(7)): what is told beside an
/// answer, and decides nothing.
const OF_CALLS: &[(&str, &str, &str)] = &[
    (
        "CHOWN",
        "to give files away",
        "chown fchown lchown fchownat",
    ),
    (
        "FOWNER",
        "for files of others",
        "chmod fchmod fchmodat fchmodat2",
    ),
    ("IPC_LOCK", "beyond the limit", "mlock mlock2 mlockall"),
    (
        "KILL",
        "for processes of others",
        "kill tkill tgkill pidfd_send_signal",
    ),
    ("MKNOD", "for devices", "mknod mknodat"),
    ("NET_BIND_SERVICE", "for ports below 1024", "bind"),
    (
        "SETGID",
        "to become another group",
        "setgid setregid setresgid setfsgid setgroups",
    ),
    (
        "SETUID",
        "to become somebody else",
        "setuid setreuid setresuid setfsuid",
    ),
    (
        "SYS_ADMIN",
        "in every case or nearly so",
        "mount umount2 pivot_root setns unshare move_mount fsmount open_tree mount_setattr \
         sethostname setdomainname swapon swapoff quotactl fanotify_init",
    ),
    (
        "SYS_BOOT",
        "in every case",
        "reboot kexec_load kexec_file_load",
    ),
    ("SYS_CHROOT", "in every case", "chroot"),
    (
        "SYS_MODULE",
        "in every case",
        "init_module finit_module delete_module",
    ),
    (
        "SYS_NICE",
        "to raise it",
        "setpriority sched_setscheduler sched_setattr",
    ),
    (
        "SYS_PTRACE",
        "for processes of others",
        "ptrace process_vm_readv process_vm_writev kcmp",
    ),
    (
        "SYS_RESOURCE",
        "beyond the hard limit",
        "setrlimit prlimit64",
    ),
    (
        "SYS_TIME",
        "in every case",
        "settimeofday clock_settime adjtimex clock_adjtime",
    ),
    ("SYSLOG", "in nearly every case", "syslog"),
];

/// The capability that a system call asks for, and when.
pub fn call_needs(call: &str) -> Option<(&'static str, &'static str)> {
    let is_of = |calls: &str| calls.split_ascii_whitespace().any(|name| name == call);
    let mut all = OF_CALLS.iter();
    all.find_map(|(cap, when, calls)| is_of(calls).then_some((*cap, *when)))
}

/// The system calls that ask for a capability, where they say what it is for.
pub fn calls_of(cap: &str) -> Option<&'static str> {
    let mut all = OF_CALLS.iter();
    all.find_map(|(name, _, calls)| (*name == cap).then_some(*calls))
}

impl Judge<'_> {
    /// What is given and asked for, less what is dropped; and what a person should know of it.
    pub(super) fn caps(
        &mut self,
        request: &Request,
        given: Granted<Vec<Granted<String>>>,
        user: &Granted<String>,
        map: IdMapKind,
        notes: &mut Vec<String>,
    ) -> Granted<Vec<Granted<String>>> {
        let ask = &request.caps;
        if ask.add_all {
            self.reasons.push(Reason {
                asked: "--cap-add ALL".to_owned(),
                rule: "capabilities are asked for one by one".to_owned(),
                origin: Origin::Always("a grant says what it grants"),
                why: "ALL holds SYS_ADMIN and others that no policy allows, and whatever a newer \
                      kernel adds"
                    .to_owned(),
                cure: vec![
                    "name what the command needs: --cap-add CHOWN --cap-add SETUID".to_owned(),
                ],
            });
        }
        for name in &ask.add {
            self.ask(Key::Caps, name, || format!("--cap-add {name}"));
        }
        let Granted {
            mut value,
            mut origin,
        } = given;
        let before = value.len();
        value.retain(|cap| !ask.drop_all && !ask.drop.contains(&cap.value));
        if value.is_empty() && before > 0 {
            origin = Origin::Flag("--cap-drop");
        }
        for name in ask.add.iter().filter(|name| !ask.drop.contains(name)) {
            if !value.iter().any(|have| have.value == *name) {
                value.push(Granted {
                    value: name.clone(),
                    origin: Origin::Flag("--cap-add"),
                });
                origin = Origin::Flag("--cap-add");
            }
        }
        if !value.is_empty() {
            self.tell_caps(&value, user, map, notes);
        }
        Granted { value, origin }
    }

    fn tell_caps(
        &mut self,
        caps: &[Granted<String>],
        user: &Granted<String>,
        map: IdMapKind,
        notes: &mut Vec<String>,
    ) {
        let of = |kind: &[&str]| {
            let names = caps.iter().map(|cap| cap.value.as_str());
            names
                .filter(|name| kind.contains(name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let all = of(&NAMES);
        let name = user.value.split(':').next().unwrap_or_default();
        if !matches!(name, "" | "root") && name.parse() != Ok(0u32) {
            notes.push(format!(
                "the command runs as user {}, and only root inside holds capabilities: {all} go \
                 unused unless that user is uid 0",
                words::shown(name)
            ));
            return;
        }
        self.downgrades.push(Downgrade {
            property: "nobody inside holds a capability".to_owned(),
            instead: format!("root inside holds {all}"),
            hint: "--cap-drop takes them away by name, or ALL".to_owned(),
        });
        let empty = of(EMPTY);
        if !empty.is_empty() {
            notes.push(format!(
                "the kernel honours {empty} outside of user namespaces only: inside, this opens \
                 nothing"
            ));
        }
        if map == IdMapKind::Single {
            self.no_other_ids(caps, notes);
        }
    }

    /// What one id cannot honour. A rule that gives it speaks of images that become somebody else,
    /// which would fail halfway: refused. Who asks for it by name gets it, and is told.
    fn no_other_ids(&mut self, caps: &[Granted<String>], notes: &mut Vec<String>) {
        let of_others = |cap: &&Granted<String>| OF_OTHER_IDS.contains(&cap.value.as_str());
        let (asked, given): (Vec<_>, Vec<_>) = caps
            .iter()
            .filter(of_others)
            .partition(|cap| matches!(cap.origin, Origin::Flag(_)));
        let names = |caps: &[&Granted<String>], before: &str| {
            let each = caps.iter().map(|cap| format!("{before}{}", cap.value));
            each.collect::<Vec<_>>().join(" ")
        };
        if !asked.is_empty() {
            notes.push(format!(
                "there is one id inside, for want of subordinate ids: {} can give, become or reach \
                 no other",
                names(&asked, "")
            ));
        }
        let Some(first) = given.first() else {
            return;
        };
        self.reasons.push(Reason {
            asked: format!("{}, which {} gives", names(&given, ""), first.origin),
            rule: "one id inside, because no subordinate ids are usable".to_owned(),
            origin: Origin::Always("ids inside are never more than the caller's own"),
            why: "there is no other id to become, or to give a file to: a command that tries fails"
                .to_owned(),
            cure: vec![
                self.host.no_subids.clone(),
                format!(
                    "or, for a command that stays root: {}",
                    names(&given, "--cap-drop ")
                ),
            ],
        });
    }
}

/// What a JSON profile leaves of the set of system calls; it only narrows, so no rule is asked.
///
/// # Errors
/// As [`Profile::narrow`].
pub(super) fn narrowed(
    request: &Request,
    set: &Granted<String>,
    caps: &Granted<Vec<Granted<String>>>,
    host: &HostFacts,
    notes: &mut Vec<String>,
) -> Result<Option<Granted<Profile>>> {
    let Some(json) = &request.seccomp else {
        return Ok(None);
    };
    let caps: Vec<&str> = caps.value.iter().map(|cap| cap.value.as_str()).collect();
    let profile = Profile::builtin(&set.value, caps.iter().copied())?;
    let narrow = profile.narrow(json, set.origin.clone(), &caps, host.kernel);
    let (value, told) = narrow.map_err(|e| e.context("--security-opt seccomp"))?;
    notes.extend(told);
    Ok(Some(Granted {
        value,
        origin: Origin::Flag("--security-opt"),
    }))
}
