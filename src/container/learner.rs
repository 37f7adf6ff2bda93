//! What a cell did, for who learns a policy from it: which calls it made, which files, programs,
//! addresses and sockets it used, and which capabilities that took.
//!
//! A capability is learned from what an act did and to whom: the kernel does not say which it asked
//! for. What a file's owner and mode let everybody do took none. Where they cannot be seen from
//! outside, nothing is claimed, and the act is counted as one of which nobody can tell.

use super::observer::{Access, Object};
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Distinct paths that are kept.
const PATHS: usize = 20_000;
/// Distinct addresses, sockets and programs that are kept, of each.
const OTHERS: usize = 1_000;
/// Acts that are kept of each capability.
const ACTS: usize = 8;

/// How a path was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// It was read.
    pub read: bool,
    /// It was written, made, changed or removed.
    pub written: bool,
    /// It was executed.
    pub executed: bool,
    /// How often any of that.
    pub times: u64,
}

/// What a cell did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deeds {
    /// System calls that reached the kernel, by their numbers, and how often.
    pub calls: BTreeMap<u32, u64>,
    /// Paths inside.
    pub paths: BTreeMap<String, Used>,
    /// Uses of paths beyond those that are kept.
    pub more_paths: u64,
    /// Addresses that were connected to or sent to: `10.0.0.1:80`.
    pub reached: BTreeSet<String>,
    /// Addresses that were listened or received at.
    pub bound: BTreeSet<String>,
    /// Unix sockets that were connected to; `@` begins an abstract name.
    pub sockets: BTreeSet<String>,
    /// Capabilities, without `CAP_`, each with acts that took it.
    pub caps: BTreeMap<&'static str, BTreeSet<String>>,
    /// Acts of which it could not be told whether they took a capability.
    pub unsure: u64,
}

/// The ids of a thread as this process sees them (proc(5), "status").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    /// Real, effective, saved, of the file system.
    users: [u32; 4],
    groups: [u32; 4],
    others: Vec<u32>,
}

/// What was so before a call.
#[derive(Debug, Default)]
pub(super) struct Before {
    ids: Option<Ids>,
    owner: Option<(u32, u32)>,
    /// A file that it may make was there.
    was_there: Option<bool>,
    /// Whom it signals is of another user.
    of_another: bool,
}

/// What an act asks of owner and mode.
#[derive(Debug, Clone, Copy)]
struct Asks<'a> {
    path: &'a str,
    /// Permission bits: 4 to read, 2 to write, 1 to execute.
    bits: u32,
}

#[derive(Debug, Default)]
pub(super) struct Learner {
    deeds: Deeds,
    /// Ids of threads that have not changed them since.
    ids: HashMap<u32, Ids>,
    /// What was looked at already: a path, what of it, and by whom.
    looked: HashSet<(String, u32, u32)>,
}

impl Learner {
    /// A call that reaches the kernel.
    pub(super) fn calls(&mut self, number: u32) {
        *self.deeds.calls.entry(number).or_default() += 1;
    }

    /// What has to be known before the kernel takes a call.
    pub(super) fn before(
        &mut self,
        proc: BorrowedFd<'_>,
        thread: u32,
        name: &str,
        args: &[u64; 6],
        object: Option<&Object>,
    ) -> Before {
        let mut before = Before::default();
        let path = match object {
            Some(Object::Path { path, .. }) => Some(path.as_str()),
            _ => None,
        };
        match name {
            "setuid" | "setgid" | "setreuid" | "setregid" | "setresuid" | "setresgid" => {
                before.ids = ids_of(proc, thread);
            }
            "chown" | "lchown" | "fchown" | "fchownat" => {
                before.owner =
                    path.and_then(|path| owner(proc, thread, path, !follows(name, args)));
            }
            "open" | "openat" | "openat2" | "creat" => {
                let writes = matches!(
                    object,
                    Some(Object::Path {
                        access: Access::Write,
                        ..
                    })
                );
                before.was_there =
                    path.filter(|_| writes)
                        .and_then(|path| match stat(proc, thread, path, true) {
                            Ok(_) => Some(true),
                            Err(Errno::NOENT) => Some(false),
                            Err(_) => None,
                        });
            }
            "kill" | "tkill" | "tgkill" => {
                before.of_another = self.signals_another(proc, thread, args[0]);
            }
            _ => {}
        }
        before
    }

    /// A thread has ended, or is another program.
    pub(super) fn forget(&mut self, thread: u32) {
        self.ids.remove(&thread);
    }

    /// What the kernel let pass. `program` made it.
    pub(super) fn passed(
        &mut self,
        proc: BorrowedFd<'_>,
        thread: u32,
        name: &str,
        args: &[u64; 6],
        object: Option<&Object>,
        before: &Before,
        program: Option<&str>,
    ) {
        let act = |about: &str| format!("{name}{about} by {}", program.unwrap_or("somebody"));
        match object {
            Some(Object::Path { path, access }) => {
                self.uses(path, *access);
                self.of_path(proc, thread, name, args, path, *access, before, &act);
            }
            Some(Object::Address { host, port }) => {
                let address = std::net::SocketAddr::new(*host, *port).to_string();
                if name == "bind" && (1..1024).contains(port) {
                    self.took("NET_BIND_SERVICE", act(&format!("({address})")));
                }
                let of = match name {
                    "bind" => &mut self.deeds.bound,
                    _ => &mut self.deeds.reached,
                };
                keep(of, address);
            }
            Some(Object::Socket(path)) if name == "bind" => self.uses(path, Access::Write),
            Some(Object::Socket(path)) => keep(&mut self.deeds.sockets, path.clone()),
            Some(Object::Abstract(name)) => keep(&mut self.deeds.sockets, format!("@{name}")),
            Some(Object::Driver { path, .. }) => self.uses(path, Access::Write),
            Some(Object::Own) | None => self.of_ids(proc, thread, name, before, &act),
        }
    }

    pub(super) fn into_deeds(self) -> Deeds {
        self.deeds
    }

    fn uses(&mut self, path: &str, access: Access) {
        let is_known = self.deeds.paths.contains_key(path);
        if !is_known && self.deeds.paths.len() >= PATHS {
            self.deeds.more_paths += 1;
            return;
        }
        let used = self.deeds.paths.entry(path.to_owned()).or_default();
        used.times += 1;
        match access {
            Access::Read => used.read = true,
            Access::Write => used.written = true,
            Access::Execute => used.executed = true,
        }
    }

    fn took(&mut self, cap: &'static str, act: String) {
        let acts = self.deeds.caps.entry(cap).or_default();
        if acts.len() < ACTS {
            acts.insert(act);
        }
    }

    fn of_ids(
        &mut self,
        proc: BorrowedFd<'_>,
        thread: u32,
        name: &str,
        before: &Before,
        act: &dyn Fn(&str) -> String,
    ) {
        let any = |one: &[u32; 4], of: &[u32; 4]| one[..3].iter().all(|id| of[..3].contains(id));
        match name {
            "setgroups" => self.took("SETGID", act("")),
            "kill" | "tkill" | "tgkill" if before.of_another => self.took("KILL", act("")),
            "setuid" | "setreuid" | "setresuid" | "setgid" | "setregid" | "setresgid" => {
                match (&before.ids, ids_of(proc, thread)) {
                    (Some(was), Some(is)) => {
                        if !any(&is.users, &was.users) {
                            self.took("SETUID", act(""));
                        }
                        if !any(&is.groups, &was.groups) {
                            self.took("SETGID", act(""));
                        }
                    }
                    _ => self.deeds.unsure += 1,
                }
            }
            _ => return,
        }
        self.ids.remove(&thread);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a call and what is known of it, each once"
    )]
    fn of_path(
        &mut self,
        proc: BorrowedFd<'_>,
        thread: u32,
        name: &str,
        args: &[u64; 6],
        path: &str,
        access: Access,
        before: &Before,
        act: &dyn Fn(&str) -> String,
    ) {
        // What is there is the cell's own, and everybody's who may see it.
        if ["/proc", "/dev", "/sys"]
            .iter()
            .any(|own| is_below(path, own))
        {
            return;
        }
        let about = format!("({})", crate::image::quote::quoted(path));
        let Some(ids) = self.ids_of(proc, thread) else {
            self.deeds.unsure += 1;
            return;
        };
        let who = ids.users[3];
        let stays = |at| stat(proc, thread, at, true).ok();
        match name {
            "chown" | "lchown" | "fchown" | "fchownat" => {
                let is = owner(proc, thread, path, !follows(name, args));
                match (before.owner, is) {
                    (Some(was), Some(is)) => {
                        let own_group = ids.others.contains(&is.1) || ids.groups[3] == is.1;
                        let plain = was.0 == who && is.0 == who && (was.1 == is.1 || own_group);
                        if !plain {
                            self.took("CHOWN", act(&about));
                        }
                    }
                    _ => self.deeds.unsure += 1,
                }
            }
            "chmod" | "fchmodat" | "fchmodat2" => {
                if stays(path).is_some_and(|stat| stat.st_uid != who) {
                    self.took("FOWNER", act(&about));
                }
            }
            // Without times whoever may write it may.
            "utime" | "utimes" | "futimesat" | "utimensat" => {
                let times = match name {
                    "utime" | "utimes" => args[1],
                    _ => args[2],
                };
                if times != 0 && stays(path).is_some_and(|stat| stat.st_uid != who) {
                    self.took("FOWNER", act(&about));
                }
            }
            _ => {}
        }
        let folder = match path.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((folder, _)) => folder,
        };
        let asks = |path, bits| Asks { path, bits };
        let asks = match (name, access) {
            ("open" | "openat" | "openat2" | "creat", Access::Write) => match before.was_there {
                Some(true) => asks(path, 2),
                Some(false) => asks(folder, 3),
                None => {
                    self.deeds.unsure += 1;
                    return;
                }
            },
            ("open" | "openat" | "openat2", _) => asks(path, 4),
            ("execve" | "execveat", _) => asks(path, 1),
            ("truncate", _) => asks(path, 2),
            ("fchown", _) => return,
            (
                "chmod" | "fchmodat" | "fchmodat2" | "chown" | "lchown" | "fchownat" | "utime"
                | "utimes" | "futimesat" | "utimensat",
                _,
            ) => asks(folder, 1),
            _ => asks(folder, 3),
        };
        if !self.looked.insert((asks.path.to_owned(), asks.bits, who)) {
            return;
        }
        match is_open(proc, thread, asks, &ids) {
            Some(true) => {}
            Some(false) => self.took("DAC_OVERRIDE", act(&about)),
            None => self.deeds.unsure += 1,
        }
    }

    fn ids_of(&mut self, proc: BorrowedFd<'_>, thread: u32) -> Option<Ids> {
        if let Some(ids) = self.ids.get(&thread) {
            return Some(ids.clone());
        }
        let ids = ids_of(proc, thread)?;
        self.ids.insert(thread, ids.clone());
        Some(ids)
    }

    /// Whether `pid`, a number inside, is a process of a user that `thread` is not (kill(2)).
    fn signals_another(&mut self, proc: BorrowedFd<'_>, thread: u32, pid: u64) -> bool {
        let pid = u32::try_from(pid & 0xffff_ffff).unwrap_or(0).cast_signed();
        let inside = format!("{thread}/root/proc/{pid}/status");
        let (Some(own), true) = (self.ids_of(proc, thread), pid > 0) else {
            return false;
        };
        let Some(whose) = read(proc, &inside).as_deref().and_then(ids_in) else {
            return false;
        };
        let may = |id: u32| id == whose.users[0] || id == whose.users[2];
        !may(own.users[0]) && !may(own.users[1])
    }
}

fn keep(of: &mut BTreeSet<String>, one: String) {
    if of.len() < OTHERS {
        of.insert(one);
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a call follows a link at the end of its path.
fn follows(name: &str, args: &[u64; 6]) -> bool {
    match name {
        "lchown" => false,
        "fchownat" => args[4] & u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned()) == 0,
        _ => true,
    }
}

fn read(proc: BorrowedFd<'_>, path: &str) -> Option<String> {
    let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = vec![0; 1 << 14];
    let n = rustix::io::read(&file, &mut bytes[..]).ok()?;
    bytes.truncate(n);
    String::from_utf8(bytes).ok()
}

fn ids_of(proc: BorrowedFd<'_>, thread: u32) -> Option<Ids> {
    ids_in(&read(proc, &format!("{thread}/status"))?)
}

fn ids_in(status: &str) -> Option<Ids> {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let numbers = |text: &str| -> Vec<u32> {
        let each = text.split_ascii_whitespace();
        each.filter_map(|number| number.parse().ok()).collect()
    };
    let four = |name: &str| -> Option<[u32; 4]> { numbers(line(name)?).try_into().ok() };
    Some(Ids {
        users: four("Uid:")?,
        groups: four("Gid:")?,
        others: numbers(line("Groups:")?),
    })
}

/// What is at a path inside, as a thread sees it, links within its own root.
fn stat(proc: BorrowedFd<'_>, thread: u32, path: &str, follow: bool) -> rustix::io::Result<Stat> {
    let root = root(proc, thread)?;
    stat_in(root.as_fd(), path, follow)
}

fn root(proc: BorrowedFd<'_>, thread: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(proc, format!("{thread}/root"), flags, Mode::empty())
}

fn stat_in(root: BorrowedFd<'_>, path: &str, follow: bool) -> rustix::io::Result<Stat> {
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    };
    fstat(openat2(root, path, flags, Mode::empty(), resolve)?)
}

fn owner(proc: BorrowedFd<'_>, thread: u32, path: &str, nofollow: bool) -> Option<(u32, u32)> {
    let stat = stat(proc, thread, path, !nofollow).ok()?;
    Some((stat.st_uid, stat.st_gid))
}

/// Whether owner and mode alone let it be done; `None`: nobody can tell from here.
fn is_open(proc: BorrowedFd<'_>, thread: u32, asks: Asks<'_>, ids: &Ids) -> Option<bool> {
    let root = root(proc, thread).ok()?;
    let lets = |path: &str, bits: u32| match stat_in(root.as_fd(), path, true) {
        Ok(stat) => Some(has(&stat, bits, ids)),
        // It went since.
        Err(Errno::NOENT | Errno::NOTDIR) => Some(true),
        Err(_) => None,
    };
    let mut end = 0;
    while let Some(at) = asks.path.get(end..).and_then(|rest| rest.find('/')) {
        let folder = asks
            .path
            .get(..end + at)
            .filter(|folder| !folder.is_empty());
        if !lets(folder.unwrap_or("/"), 1)? {
            return Some(false);
        }
        end += at + 1;
    }
    lets(asks.path, asks.bits)
}

/// Whether a file's mode lets somebody do all of `bits` (path_resolution(7)).
fn has(stat: &Stat, bits: u32, ids: &Ids) -> bool {
    let class = if stat.st_uid == ids.users[3] {
        6
    } else if stat.st_gid == ids.groups[3] || ids.others.contains(&stat.st_gid) {
        3
    } else {
        0
    };
    (stat.st_mode >> class) & bits == bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_half_ones_are_none() {
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n";
        let ids = ids_in(status).unwrap();
        assert_eq!((ids.users, ids.groups), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!(ids.others, [9, 10]);
        assert_eq!(ids_in("Uid:\t1\t2\t3\nGid:\t5\t6\t7\t8\nGroups:\n"), None);
        assert_eq!(ids_in(""), None);
    }

    #[test]
    fn owner_and_mode_are_judged_by_class() {
        let own = std::process::id();
        let proc = super::super::denials::open_proc().unwrap();
        let mut ids = ids_of(proc.as_fd(), own).unwrap();
        let at = std::env::temp_dir().join(format!("lazaret-learner-{own}"));
        std::fs::write(&at, "x").unwrap();
        let set = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&at, mode).unwrap();
        };
        let path = at.to_str().unwrap();
        let opens = |ids: &Ids, bits| is_open(proc.as_fd(), own, Asks { path, bits }, ids);
        set(0o604);
        assert_eq!(opens(&ids, 6), Some(true));
        assert_eq!(opens(&ids, 1), Some(false));
        ids.users[3] += 1;
        // Of its group, and in no class that may.
        assert_eq!(opens(&ids, 4), Some(false));
        ids.groups[3] = ids.groups[3].wrapping_add(1);
        ids.others.clear();
        assert_eq!(opens(&ids, 4), Some(true));
        assert_eq!(opens(&ids, 2), Some(false));
        std::fs::remove_file(&at).unwrap();
        assert_eq!(opens(&ids, 4), Some(true));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut learner = Learner::default();
        for n in 0..PATHS + 5 {
            learner.uses(&format!("/{n}"), Access::Read);
            learner.took("CHOWN", format!("{n}"));
            keep(&mut learner.deeds.reached, format!("{n}"));
        }
        learner.uses("/0", Access::Write);
        let deeds = learner.into_deeds();
        assert_eq!((deeds.paths.len(), deeds.more_paths), (PATHS, 5));
        assert_eq!(deeds.caps["CHOWN"].len(), ACTS);
        assert_eq!(deeds.reached.len(), OTHERS);
        let first = deeds.paths["/0"];
        assert!(first.read && first.written && !first.executed);
        assert_eq!(first.times, 2);
    }
}
