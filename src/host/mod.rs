//! What this machine offers: kernel, Landlock, subordinate ids, and the policy files on it.
//!
//! [`facts`] asks only what a decision needs and takes a few dozen microseconds, because it is part
//! of every run; [`doctor`] looks at everything and says what to do about what is missing. A static
//! program must not call getpwnam and its kin, so /etc/passwd, /etc/subuid and /etc/subgid are read
//! here.

mod accounts;
mod cgroup;
mod containers;
mod credentials;
mod doctor;
mod files;
mod ids;
mod interrupts;
mod lock_file;
mod outside;
mod policy_files;
mod project;
pub mod prompt;
pub mod receipt_key;
mod registries;
pub mod scope;
pub mod tool;

pub use accounts::{Forgotten, Kept, forget, keep};
pub use cgroup::{NoCgroup, cgroup};
pub use containers::{Containers, containers};
pub use credentials::{Credential, credential};
pub use doctor::{
    Check, Checkup, Level, Line, Problem, Snapshot, Status, around, doctor, why_no_cell,
};
pub use ids::pick_range;
pub use interrupts::{Interrupts, unless_ignored};
pub use lock_file::LockFile;
pub use outside::outside;
pub use policy_files::{
    InForce, Places, Text, key_file, policy, policy_from, policy_under, policy_with, today,
};
pub use project::{ProjectFile, TrustRecord, named, write_new};
pub use registries::{Mirror, Registry, registries};

use crate::error::{Error, Kind, Result};
use crate::policy::{HostFacts, Outside, SubIds, Which};
use crate::sys;
use std::path::Path;

/// Refuses to be setuid or setgid: paths and settings are the caller's word.
///
/// # Errors
/// `Host`.
pub fn no_setuid() -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid != rustix::process::getuid() || gid != rustix::process::getgid() {
        return Err(Error::new(
            Kind::Host,
            "lazaret was started setuid or setgid, and is not made for that",
        )
        .hint("chmod ug-s the executable: it needs no privilege"));
    }
    Ok(())
}

/// What a decision needs to know of this machine. `recorded` is the range of ids that the store
/// recorded for real root, if any: real root without an entry of its own in /etc/subuid gets that
/// one, else one that is free ([`pick_range`]).
///
/// Errors: lazaret was made setuid or setgid, which it refuses to be.
pub fn facts(recorded: Option<(SubIds, SubIds)>) -> Result<HostFacts> {
    no_setuid()?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let root = uid.is_root();
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    let machine = rustix::system::uname();
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .map_err(|e| Error::call("getgroups", e.raw_os_error()))?
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .filter(|group| *group != gid)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    let memory = rustix::system::sysinfo();
    let (subids, no_subids) = match ids::subids(Path::new("/"), uid, recorded) {
        Ok(found) => (Some(found), String::new()),
        Err(why) => (None, why),
    };
    Ok(HostFacts {
        kernel: kernel_version(&machine.release().to_string_lossy()),
        architecture: architecture(),
        uid,
        gid,
        groups,
        root,
        landlock_abi: sys::landlock_abi().unwrap_or(0),
        subids,
        no_subids,
        hard_limits: hard_limits(),
        cgroup: None,
        no_cgroup: String::new(),
        memory: u64::from(memory.mem_unit).saturating_mul(memory.totalram),
        outside: Outside::default(),
    })
}

/// resolv.conf(5) of this machine, for a cell that has its network.
pub fn resolv_conf() -> String {
    let text = files::read(Path::new("/"), "/etc/resolv.conf");
    text.unwrap_or_else(|| "# this machine has no resolv.conf\n".to_owned())
}

/// The caller's own hard limits, where there are any.
fn hard_limits() -> Vec<(Which, u64)> {
    use rustix::process::{Resource, getrlimit};
    let limits = Which::ALL.into_iter().filter_map(|which| {
        let resource = match which {
            Which::Nproc => Resource::Nproc,
            Which::Nofile => Resource::Nofile,
            Which::Fsize => Resource::Fsize,
            Which::Cpu => Resource::Cpu,
            Which::Stack => Resource::Stack,
            Which::As => Resource::As,
            Which::Data => Resource::Data,
            Which::Memlock => Resource::Memlock,
            Which::Msgqueue => Resource::Msgqueue,
            Which::Sigpending => Resource::Sigpending,
        };
        Some((which, getrlimit(resource).maximum?))
    });
    limits.collect()
}

/// GOARCH's name of what this was built for.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

/// `6.18.44-fc` -> (6, 18); what is not understood is 0, which is older than anything needed.
fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(kernel_version("6.18.44-fc-v669"), (6, 18));
        assert_eq!(kernel_version("6.1.0-37-amd64"), (6, 1));
        assert_eq!(kernel_version("5.15+"), (5, 15));
        assert_eq!(kernel_version(""), (0, 0));
        assert_eq!(kernel_version("x.y"), (0, 0));
        assert_eq!(kernel_version("99999999999.1"), (0, 1));
    }

    #[test]
    fn this_machine_has_facts() {
        let facts = facts(None).unwrap();
        assert!(facts.kernel >= (4, 0), "{:?}", facts.kernel);
        assert!(facts.memory > 1 << 20);
        assert_eq!(facts.subids.is_some(), facts.no_subids.is_empty());
        assert_eq!(facts.root, facts.uid == 0);
        if let Some((uids, _)) = facts.subids {
            assert!(uids.base > 0 && uids.count >= ids::ENOUGH);
        }
    }
}
