//! The whole look at a machine: each property with what holds it, each problem with its cure, and
//! what lies around lazaret (`around`).

mod around;

pub use around::{Check, Level, around};

use super::files::read;
use crate::policy::property::{Holder, PROPERTIES, Strength};
use crate::policy::{HostFacts, Network};
use std::path::Path;

/// How well a property is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// By at least one mechanism, wholly.
    Held,
    /// In part; printed at each run.
    Weaker,
    /// By nothing, and a cell runs without it; printed at each run where it was promised.
    NotHeld,
    /// By nothing, and nothing runs.
    Refused,
}

/// A property and what holds it here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// Its short name: `host-binary`.
    pub id: &'static str,
    /// The promise.
    pub promise: &'static str,
    /// How well it is held.
    pub status: Status,
    /// The mechanisms, best first.
    pub holders: Vec<Holder>,
    /// What would hold it better; empty if nothing is missing.
    pub remedy: String,
}

/// Something about this machine that stands in lazaret's way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// What is the matter, with the value that says so.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    /// Nothing runs until it is solved.
    pub blocks: bool,
}

/// Everything that `lazaret doctor` prints.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Checkup {
    /// All properties.
    pub lines: Vec<Line>,
    /// Blocking ones first.
    pub problems: Vec<Problem>,
    /// Network, clock, credentials, store: no cell depends on them.
    pub around: Vec<Check>,
}

impl Checkup {
    /// Whether cells can run here.
    pub fn is_well(&self) -> bool {
        self.problems.iter().all(|problem| !problem.blocks)
            && self.lines.iter().all(|line| line.status != Status::Refused)
    }
}

/// Texts of this machine that say what is possible; `None` where there is no such file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// /proc/sys/user/max_user_namespaces.
    pub max_user_namespaces: Option<String>,
    /// /proc/sys/kernel/unprivileged_userns_clone (Debian's and Arch's patch).
    pub unprivileged_userns_clone: Option<String>,
    /// /proc/sys/kernel/apparmor_restrict_unprivileged_userns (Ubuntu 23.10 and later).
    pub apparmor_restrict: Option<String>,
    /// /sys/kernel/security/lsm.
    pub lsm: Option<String>,
    /// /proc/self/mountinfo.
    pub mountinfo: Option<String>,
}

impl Snapshot {
    /// Reads it below `root`, which is `/` but in tests.
    pub fn read(root: &Path) -> Self {
        let get = |path: &str| read(root, path);
        Self {
            max_user_namespaces: get("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone: get("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restrict: get("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            lsm: get("/sys/kernel/security/lsm"),
            mountinfo: get("/proc/self/mountinfo"),
        }
    }

    /// The problems of a machine that says this, blocking ones first.
    pub fn problems(&self, host: &HostFacts) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.user_namespaces(host, &mut problems);
        self.proc_is_whole(&mut problems);
        self.landlock(host, &mut problems);
        kernel(host, &mut problems);
        if !host.no_subids.is_empty() {
            problems.push(Problem {
                what: "no subordinate ids: a cell has one id, which is yours".to_owned(),
                fix: host.no_subids.clone(),
                // Root inside must never be root outside.
                blocks: host.root,
            });
        }
        problems.sort_by_key(|problem| !problem.blocks);
        problems
    }

    fn user_namespaces(&self, host: &HostFacts, problems: &mut Vec<Problem>) {
        let is = |text: &Option<String>, value| text.as_deref().map(str::trim) == Some(value);
        let mut block = |what: &str, fix: &str| {
            problems.push(Problem {
                what: what.to_owned(),
                fix: fix.to_owned(),
                blocks: true,
            });
        };
        if self.max_user_namespaces.is_none() {
            block(
                "this kernel has no user namespaces (no /proc/sys/user/max_user_namespaces)",
                "use a kernel with CONFIG_USER_NS=y",
            );
        }
        if is(&self.max_user_namespaces, "0") {
            block(
                "user namespaces are switched off (user.max_user_namespaces = 0)",
                "as root: sysctl -w user.max_user_namespaces=15000, and the same line in /etc/sysctl.d/lazaret.conf",
            );
        }
        if host.root {
            return;
        }
        if is(&self.unprivileged_userns_clone, "0") {
            block(
                "user namespaces are for root only (kernel.unprivileged_userns_clone = 0)",
                "as root: sysctl -w kernel.unprivileged_userns_clone=1, and the same line in /etc/sysctl.d/lazaret.conf",
            );
        }
        if is(&self.apparmor_restrict, "1") {
            block(
                "AppArmor lets only programs with a profile use user namespaces \
                 (kernel.apparmor_restrict_unprivileged_userns = 1)",
                "as root, give lazaret a profile: write /etc/apparmor.d/lazaret with the two lines\n  \
                 abi <abi/4.0>,\n  \
                 profile lazaret /usr/{local/,}bin/lazaret flags=(unconfined) { userns, }\n\
                 and run apparmor_parser -r /etc/apparmor.d/lazaret",
            );
        }
    }

    /// The kernel mounts a fresh /proc in a user namespace only if one is wholly visible already
    /// (mount_too_revealing in fs/namespace.c).
    fn proc_is_whole(&self, problems: &mut Vec<Problem>) {
        let Some(mountinfo) = &self.mountinfo else {
            return;
        };
        let covered: Vec<&str> = mountinfo
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| point.starts_with("/proc/") && !MADE_FOR_MOUNTS.contains(point))
            .collect();
        let Some(first) = covered.first() else { return };
        problems.push(Problem {
            what: format!(
                "parts of /proc are covered here ({first} and {} more): the kernel will not mount \
                 a fresh one",
                covered.len() - 1
            ),
            fix: "lazaret seems to run inside a container: start that with an unmasked /proc \
                  (docker run --security-opt systempaths=unconfined, podman run --security-opt \
                  unmask=ALL), or run lazaret outside"
                .to_owned(),
            blocks: true,
        });
    }

    fn landlock(&self, host: &HostFacts, problems: &mut Vec<Problem>) {
        let (what, fix, blocks) = match host.landlock_abi {
            0 if host.kernel < (5, 13) => (
                "no Landlock: this kernel is older than 5.13".to_owned(),
                "use Linux 5.13 or later".to_owned(),
                true,
            ),
            0 => {
                let lsm = self.lsm.as_deref().map_or("", str::trim);
                let fix = if lsm.is_empty() {
                    "add landlock to the lsm= list on the kernel's command line, or build it with \
                     CONFIG_SECURITY_LANDLOCK=y"
                        .to_owned()
                } else {
                    format!(
                        "boot with lsm=landlock,{lsm} (and a kernel with CONFIG_SECURITY_LANDLOCK=y)"
                    )
                };
                ("no Landlock: it is not switched on".to_owned(), fix, true)
            }
            abi @ 1..=5 => (
                format!("old Landlock (ABI {abi}): {}", missing_rights(abi)),
                "nothing to do: namespaces hold these properties; Linux 6.12 brings ABI 6"
                    .to_owned(),
                false,
            ),
            _ => return,
        };
        problems.push(Problem { what, fix, blocks });
    }
}

/// Folders that the kernel makes to be mounted on (proc_create_mount_point, and binfmt_misc's): they
/// are empty for ever, so a mount on them hides nothing.
const MADE_FOR_MOUNTS: [&str; 4] = [
    "/proc/sys/fs/binfmt_misc",
    "/proc/fs/nfsd",
    "/proc/openprom",
    "/proc/xen",
];

/// What kernels of an ABI lack that later ones have (landlock(7)).
fn missing_rights(abi: u32) -> String {
    let all = [
        "",
        "moving files between folders",
        "truncating",
        "TCP",
        "device ioctls",
        "scopes",
    ];
    let missing: Vec<&str> = all.iter().skip(abi as usize).copied().collect();
    format!("it knows nothing of {}", missing.join(", "))
}

fn kernel(host: &HostFacts, problems: &mut Vec<Problem>) {
    let (major, minor) = host.kernel;
    if host.kernel < (5, 11) {
        problems.push(Problem {
            what: format!("Linux {major}.{minor} mounts no overlay in a user namespace"),
            fix: "use Linux 5.11 or later".to_owned(),
            blocks: true,
        });
    } else if host.kernel < (6, 6) {
        problems.push(Problem {
            what: format!("tmpfs of Linux {major}.{minor} has no user extended attributes"),
            fix:
                "nothing to do: only programs that set some in a writable layer in memory notice; \
                  Linux 6.6 has them"
                    .to_owned(),
            blocks: false,
        });
    }
}

/// Each property with what holds it on this machine, each problem with its cure.
pub fn doctor(host: &HostFacts) -> Checkup {
    checkup(host, &Snapshot::read(Path::new("/")))
}

fn checkup(host: &HostFacts, snapshot: &Snapshot) -> Checkup {
    let lines = PROPERTIES
        .iter()
        .map(|property| {
            let mut holders = property.holders(host, Network::None);
            holders.sort_by_key(|holder| std::cmp::Reverse(holder.strength));
            let status = match holders.first().map(|holder| holder.strength) {
                Some(Strength::Full) => Status::Held,
                Some(Strength::Weak) => Status::Weaker,
                None if property.needed => Status::Refused,
                None => Status::NotHeld,
            };
            let remedy = match status {
                Status::Held => String::new(),
                _ => property.remedy(host, Network::None),
            };
            Line {
                id: property.id,
                promise: property.promise,
                status,
                holders,
                remedy,
            }
        })
        .collect();
    Checkup {
        lines,
        problems: snapshot.problems(host),
        around: Vec::new(),
    }
}

/// The problem that keeps cells from running here, for the hint of a launch that failed.
pub fn why_no_cell(host: &HostFacts) -> Option<Problem> {
    let problems = Snapshot::read(Path::new("/")).problems(host);
    problems.into_iter().find(|problem| problem.blocks)
}

#[cfg(test)]
mod tests;
