//! What a cell promises, and what on this machine holds each promise.
//!
//! A promise is a property, not a mechanism: "no signal gets out" is held by the pid namespace, and
//! by a Landlock scope where the kernel has one. `decide` refuses where a needed property has no
//! holder and tells where the best holder is a weak one; `doctor` prints the whole table.

use super::facts::HostFacts;
use super::grants::Network;

/// How well a mechanism holds a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Only in part: it is printed at each run.
    Weak,
    /// Wholly.
    Full,
}

/// A mechanism that holds a property on this machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    /// The mechanism, in a person's words.
    pub by: String,
    /// How well.
    pub strength: Strength,
}

/// A property of every cell.
#[derive(Debug)]
pub struct Property {
    /// Its short name: `host-binary`.
    pub id: &'static str,
    /// The promise: `no signal gets out`.
    pub promise: &'static str,
    /// Without a holder nothing runs; else it runs and says so.
    pub needed: bool,
    holders: fn(&HostFacts, &mut Vec<Holder>),
    remedy: fn(&HostFacts) -> String,
}

impl Property {
    /// What holds it on this machine in a cell of that network; empty: nothing does.
    pub fn holders(&self, host: &HostFacts, network: Network) -> Vec<Holder> {
        let mut holders = Vec::new();
        match (network, self.id) {
            // What was given up.
            (Network::Host, "network") => {}
            (Network::Host, "abstract-sockets") => {
                landlock(&mut holders, host, 6, "Landlock scope");
            }
            (Network::Host, "leaks") => weak(
                &mut holders,
                "/proc/net tells the machine's interfaces, connections and paths of sockets",
            ),
            _ => (self.holders)(host, &mut holders),
        }
        holders
    }

    /// What would hold it, or hold it better; empty where nothing is missing.
    pub fn remedy(&self, host: &HostFacts, network: Network) -> String {
        match (network, self.id) {
            (Network::Host, "abstract-sockets") if host.landlock_abi < 6 => format!(
                "leave --network host out, or use Linux 6.12 with Landlock, which has scopes for \
                 them; this is {}.{}",
                host.kernel.0, host.kernel.1
            ),
            (Network::Host, "network" | "leaks") => "leave --network host out".to_owned(),
            _ => (self.remedy)(host),
        }
    }
}

fn full(holders: &mut Vec<Holder>, by: &str) {
    holders.push(Holder {
        by: by.to_owned(),
        strength: Strength::Full,
    });
}

fn weak(holders: &mut Vec<Holder>, by: &str) {
    holders.push(Holder {
        by: by.to_owned(),
        strength: Strength::Weak,
    });
}

/// A Landlock right that kernels have from an ABI on (landlock(7)).
fn landlock(holders: &mut Vec<Holder>, host: &HostFacts, abi: u32, by: &str) {
    if host.landlock_abi >= abi {
        full(holders, by);
    }
}

fn nothing(_: &HostFacts) -> String {
    String::new()
}

fn newer_landlock(host: &HostFacts) -> String {
    if host.landlock_abi > 0 {
        return String::new();
    }
    if host.kernel < (5, 13) {
        return format!(
            "Landlock came with Linux 5.13; this is {}.{}",
            host.kernel.0, host.kernel.1
        );
    }
    "build the kernel with CONFIG_SECURITY_LANDLOCK=y and add landlock to the lsm= list on its \
     command line (see /sys/kernel/security/lsm)"
        .to_owned()
}

fn groups(host: &HostFacts) -> String {
    let list: Vec<_> = host.groups.iter().map(u32::to_string).collect();
    list.join(" ")
}

/// All of them, in the order in which `doctor` prints them.
pub const PROPERTIES: &[Property] = &[
    Property {
        id: "verified",
        promise: "nothing runs unverified",
        needed: true,
        holders: |_, h| {
            full(h, "digests of manifest, config and layers before use");
            full(h, "every file against its record at each run");
        },
        remedy: nothing,
    },
    Property {
        id: "host-files",
        promise: "no host file is reachable",
        needed: true,
        holders: |host, h| {
            full(h, "mount namespace with a root of its own");
            landlock(h, host, 1, "Landlock: files outside the root");
        },
        remedy: newer_landlock,
    },
    Property {
        id: "host-binary",
        promise: "the host's lazaret can be neither changed nor run",
        needed: true,
        // /proc/PID/exe reaches it around every mount (CVE-2019-5736); only Landlock looks there.
        holders: |host, h| landlock(h, host, 1, "Landlock: it lies outside the root"),
        remedy: newer_landlock,
    },
    Property {
        id: "ids",
        promise: "no process inside is the caller",
        needed: false,
        holders: |host, h| match host.subids {
            Some(_) => full(h, "subordinate ids in a user namespace"),
            None => weak(
                h,
                "one id inside, which is the caller's: quotas are shared, and so is what only the \
                 caller may read, should a path ever leak",
            ),
        },
        remedy: |host| host.no_subids.clone(),
    },
    Property {
        id: "host-root",
        promise: "root inside is never root outside",
        needed: true,
        holders: |host, h| match (host.root, host.subids) {
            (true, None) => {}
            (true, Some(_)) => full(h, "subordinate ids in a user namespace"),
            (false, _) => full(h, "the caller is not root"),
        },
        remedy: |host| {
            if host.root {
                host.no_subids.clone()
            } else {
                String::new()
            }
        },
    },
    Property {
        id: "groups",
        promise: "the caller's groups stay outside",
        needed: false,
        holders: |host, h| {
            if host.subids.is_some() {
                full(h, "the list of groups is emptied");
            } else if host.groups.is_empty() {
                full(h, "the caller has no other groups");
            } else {
                weak(
                    h,
                    &format!(
                        "without subordinate ids these stay in force: {}",
                        groups(host)
                    ),
                );
            }
        },
        remedy: |host| {
            if host.groups.is_empty() {
                String::new()
            } else {
                host.no_subids.clone()
            }
        },
    },
    Property {
        id: "privileges",
        promise: "no privilege can be gained",
        needed: true,
        holders: |_, h| {
            full(h, "no_new_privs");
            full(
                h,
                "no capability in any set but what a rule grants, securebits locked",
            );
            full(h, "setuid bits and file capabilities are stripped");
        },
        remedy: nothing,
    },
    Property {
        id: "system-calls",
        promise: "only ordinary system calls reach the kernel",
        needed: true,
        holders: |_, h| full(h, "seccomp, default-deny"),
        remedy: nothing,
    },
    Property {
        id: "namespaces",
        promise: "no namespace can be opened inside",
        needed: true,
        holders: |_, h| full(h, "seccomp: clone flags, clone3, unshare and setns"),
        remedy: nothing,
    },
    Property {
        id: "signals",
        promise: "no signal gets out",
        needed: true,
        holders: |host, h| {
            full(h, "pid namespace");
            landlock(h, host, 6, "Landlock scope");
        },
        remedy: nothing,
    },
    Property {
        id: "abstract-sockets",
        promise: "no abstract socket outside is reachable",
        needed: true,
        holders: |host, h| {
            full(h, "network namespace");
            landlock(h, host, 6, "Landlock scope");
        },
        remedy: nothing,
    },
    Property {
        id: "network",
        promise: "no packet gets out or in",
        needed: true,
        holders: |_, h| full(h, "network namespace with nothing but lo"),
        remedy: nothing,
    },
    Property {
        id: "ipc",
        promise: "no shared memory, semaphore or queue is common",
        needed: true,
        holders: |_, h| full(h, "ipc namespace"),
        remedy: nothing,
    },
    Property {
        id: "devices",
        promise: "no host device is usable",
        needed: true,
        holders: |host, h| {
            full(h, "a /dev of six harmless ones; none can be made");
            landlock(h, host, 5, "Landlock: device ioctls");
        },
        remedy: nothing,
    },
    Property {
        id: "terminal",
        promise: "nobody types into the caller's terminal",
        needed: true,
        holders: |_, h| {
            full(h, "a session, and a pty, of its own");
            full(h, "seccomp: TIOCSTI and TIOCLINUX");
        },
        remedy: nothing,
    },
    Property {
        id: "keys",
        promise: "no key of the caller's is usable",
        needed: true,
        holders: |_, h| {
            full(h, "a new session keyring");
            full(h, "seccomp: add_key, keyctl, request_key");
        },
        remedy: nothing,
    },
    Property {
        id: "leaks",
        promise: "no host environment, argument or path is readable",
        needed: true,
        holders: |_, h| {
            full(h, "pid 1 overwrites its own; /proc is fresh and masked");
            full(h, "everything from descriptor 3 on is closed");
        },
        remedy: nothing,
    },
    Property {
        id: "core-dumps",
        promise: "a crash reaches no core handler outside",
        needed: true,
        holders: |_, h| {
            full(h, "RLIMIT_CORE 1, which seccomp keeps");
        },
        remedy: nothing,
    },
    Property {
        id: "nothing-survives",
        promise: "nothing outlives the run",
        needed: true,
        holders: |_, h| {
            full(h, "pid namespace: it ends with its init");
            full(h, "init ends with its supervisor");
        },
        remedy: nothing,
    },
    Property {
        id: "pids",
        promise: "the number of processes is bounded",
        needed: true,
        holders: |host, h| {
            // Before 5.14 RLIMIT_NPROC counted a user's processes in all namespaces together.
            if host.kernel >= (5, 14) {
                full(h, "RLIMIT_NPROC, counted in the cell's user namespace");
            } else {
                weak(
                    h,
                    "RLIMIT_NPROC, counted together with all of the caller's processes",
                );
            }
        },
        remedy: |host| match host.kernel >= (5, 14) {
            true => String::new(),
            false => "Linux 5.14 counts them for each user namespace".to_owned(),
        },
    },
    Property {
        id: "disk",
        promise: "disk and inodes are bounded",
        needed: false,
        // `decide` adds the weak one for a run that keeps its files.
        holders: |_, h| full(h, "tmpfs with a size and a number of inodes (with --rm)"),
        remedy: nothing,
    },
    Property {
        id: "memory",
        promise: "memory is bounded",
        needed: false,
        holders: |host, h| {
            let cgroup = host.cgroup.as_ref();
            if cgroup.is_some_and(|c| c.controllers.iter().any(|name| name == "memory")) {
                full(
                    h,
                    "memory.max of a cgroup of the cell's own (where -m asks for one)",
                );
            }
            weak(
                h,
                "lazaret looks at the cell's processes again and again, and kills what takes too much",
            );
        },
        remedy: |_| {
            "with -m a cgroup bounds it without fail, where one is delegated to you or systemd makes a \
             scope: see \"limits\" of lazaret doctor"
                .to_owned()
        },
    },
];

/// The property of a short name.
pub fn property(id: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|p| p.id == id)
}
