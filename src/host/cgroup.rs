//! The cgroup that cells can be given cgroups of their own in (cgroups(7), v2; Linux,
//! Documentation/admin-guide/cgroup-v2.rst, "Delegation").

use super::files;
use crate::policy::Cgroup;
use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};
use std::path::Path;

/// Where cgroup v2 is mounted: alone, or beside v1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// CGROUP2_SUPER_MAGIC (statfs(2)).
const MAGIC: u64 = 0x6367_7270;
/// What lazaret writes in a folder that it may use.
const NEEDED: [&str; 3] = ["", "cgroup.procs", "cgroup.subtree_control"];

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCgroup {
    /// In a person's words.
    pub why: String,
    /// It is there, and somebody else's: a scope of this run's own would be of use.
    pub scope: bool,
}

/// The caller's own cgroup, or the one that it is a leaf of: whichever may be written, and is not
/// somebody else's to manage.
///
/// # Errors
/// Why there is none.
pub fn cgroup() -> Result<Cgroup, NoCgroup> {
    let none = |why: &str, scope| NoCgroup {
        why: why.to_owned(),
        scope,
    };
    let Some(mount) = mount() else {
        return Err(none("no cgroup v2 is mounted", false));
    };
    let Some(own) = own() else {
        return Err(none("this process's cgroup is not visible", false));
    };
    let folder = format!("{mount}{own}");
    let of = |folder: String, leave: bool| Cgroup {
        controllers: controllers(&folder),
        folder,
        leave,
    };
    // The root may have processes beside children.
    if own.is_empty() {
        return match writable(&folder) {
            true => Ok(of(folder, false)),
            false => Err(none("no cgroup is delegated to you", false)),
        };
    }
    if writable(&folder) && alone(&folder) {
        return Ok(of(folder, true));
    }
    if let Some((parent, _)) = folder.rsplit_once('/')
        && parent.len() >= mount.len()
        && writable(parent)
        && delegated(parent)
        && (parent == mount || read(parent, "cgroup.procs").is_empty())
    {
        return Ok(of(parent.to_owned(), false));
    }
    let why = match writable(&folder) {
        true => "other processes are in the cgroup of this one",
        false => "no cgroup is delegated to you",
    };
    Err(none(why, true))
}

/// Where cgroup v2 is mounted.
pub(super) fn mount() -> Option<&'static str> {
    let is_v2 = |path: &&str| {
        statfs(*path).is_ok_and(|s| u64::try_from(s.f_type).is_ok_and(|magic| magic == MAGIC))
    };
    MOUNTS.into_iter().find(is_v2)
}

/// What can be limited below a folder.
pub(super) fn controllers(folder: &str) -> Vec<String> {
    let controllers = read(folder, "cgroup.controllers");
    controllers.split_whitespace().map(str::to_owned).collect()
}

/// The path of this process's cgroup below the mount, without a `/` at its end; `None` where it is not
/// visible (cgroup_namespaces(7)).
pub(super) fn own() -> Option<String> {
    let text = files::read(Path::new("/"), "/proc/self/cgroup")?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let visible = own.starts_with('/') && !own.contains("/..");
    visible.then(|| own.trim_end_matches('/').to_owned())
}

pub(super) fn read(folder: &str, name: &str) -> String {
    let text = files::read(Path::new("/"), &format!("{folder}/{name}"));
    text.unwrap_or_default()
}

fn writable(folder: &str) -> bool {
    NEEDED.iter().all(|name| {
        let path = format!("{folder}/{name}");
        accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    })
}

/// Whether this process is the only one in it.
fn alone(folder: &str) -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    read(folder, "cgroup.procs").lines().eq([own.as_str()])
}

/// Whether systemd leaves it to others, where there is a systemd: it says so in an attribute
/// (systemd, "Control Group APIs and Delegation").
fn delegated(folder: &str) -> bool {
    if rustix::fs::stat("/run/systemd/system").is_err() {
        return true;
    }
    ["user.delegate", "trusted.delegate"]
        .into_iter()
        .any(|name| {
            let mut value = [0u8; 8];
            matches!(rustix::fs::getxattr(folder, name, &mut value), Ok(1) if value[0] == b'1')
        })
}
