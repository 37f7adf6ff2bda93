//! What a cell did, for who learns a policy from it: which calls it made, which files, programs,
//! addresses and sockets it used, and which capabilities that took.
//!
//! A capability is learned from what an act did and to whom: the kernel does not say which it asked
//! for. What a file's owner and mode let everybody do took none. Where they cannot be seen from
//! outside, nothing is claimed, and the act is counted as one of which nobody can tell.

use super::shape::{Access, Object};
use rustix::fs::{
    Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, Stat, fstat, fstatfs, openat, openat2,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Distinct paths that are kept, and their bytes together.
const PATHS: usize = 20_000;
const BYTES: usize = 4 << 20;
/// Distinct addresses, sockets and programs that are kept, of each.
const OTHERS: usize = 1_000;
/// Acts that are kept of each capability.
const ACTS: usize = 8;

/// How a path was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    pub caps: BTreeMap<String, BTreeSet<String>>,
    /// Acts of which it could not be told whether they took a capability, the first of them.
    pub unsure: BTreeSet<String>,
}

/// The ids and the effective capabilities of a thread as this process sees them (proc(5), "status").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    /// Real, effective, saved, of the file system.
    users: [u32; 4],
    groups: [u32; 4],
    others: Vec<u32>,
    caps: u64,
}

/// An act that the kernel let pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Act<'a> {
    pub(super) thread: u32,
    /// The call's name and arguments.
    pub(super) name: &'a str,
    pub(super) args: &'a [u64; 6],
    /// What it was about.
    pub(super) object: Option<&'a Object>,
    /// The folder that its path was said from; else it was from the root.
    pub(super) from: Option<&'a str>,
    /// Where a rename leads.
    pub(super) to: Option<&'a str>,
    pub(super) before: &'a Before,
    /// Who made it.
    pub(super) program: Option<&'a str>,
}

impl Act<'_> {
    fn told(&self, about: &str) -> String {
        let program = self.program.unwrap_or("somebody");
        format!("{}{about} by {program}", self.name)
    }
}

/// What was so before a call.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Who made it, as whom.
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
    /// The folder from which it is walked, which is open already; `None`: the root.
    from: Option<&'a str>,
    path: &'a str,
    /// Permission bits: 4 to read, 2 to write, 1 to execute.
    bits: u32,
}

#[derive(Debug, Default)]
pub(super) struct Learner {
    deeds: Deeds,
    /// Bytes of the paths that are kept.
    bytes: usize,
    /// Ids of threads that have not changed them since.
    ids: HashMap<u32, Ids>,
    /// What was looked at already: a path, what of it, and by whom.
    looked: HashSet<(String, u32, u32)>,
    looked_bytes: usize,
}

impl Learner {
    /// A call that reaches the kernel.
    pub(super) fn calls(&mut self, thread: u32, number: u32, name: &str) {
        *self.deeds.calls.entry(number).or_default() += 1;
        // What it holds, and who it is to files, may be others from here on.
        if matches!(
            name,
            "capset" | "prctl" | "setfsuid" | "setfsgid" | "setgroups"
        ) {
            self.ids.remove(&thread);
        }
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
        before.ids = self.ids_of(proc, thread);
        match name {
            "chown" | "lchown" | "fchown" | "fchownat" => {
                before.owner =
                    path.and_then(|path| owner(proc, thread, path, !follows(name, args)));
            }
            "unlink" | "unlinkat" | "rmdir" | "rename" | "renameat" | "renameat2" => {
                before.owner = path.and_then(|path| owner(proc, thread, path, true));
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

    /// What the kernel let pass.
    pub(super) fn passed(&mut self, proc: BorrowedFd<'_>, act: &Act<'_>) {
        match act.object {
            Some(Object::Path { path, access }) => {
                self.uses(path, *access);
                self.of_path(proc, act, path, *access);
            }
            Some(Object::Address { host, port }) => {
                let address = std::net::SocketAddr::new(*host, *port).to_string();
                if act.name == "bind" && (1..1024).contains(port) {
                    self.took(act, "NET_BIND_SERVICE", &format!("({address})"));
                }
                let of = match act.name {
                    "bind" => &mut self.deeds.bound,
                    _ => &mut self.deeds.reached,
                };
                keep(of, address);
            }
            Some(Object::Socket(path)) if act.name == "bind" => {
                self.uses(path, Access::Write);
                self.of_path(proc, act, path, Access::Write);
            }
            Some(Object::Socket(path)) => {
                keep(&mut self.deeds.sockets, path.clone());
                self.of_path(proc, act, path, Access::Write);
            }
            Some(Object::Abstract(name)) => keep(&mut self.deeds.sockets, format!("@{name}")),
            Some(Object::Driver { path, .. }) => self.uses(path, Access::Write),
            Some(Object::Own) | None => self.of_ids(proc, act),
        }
    }

    pub(super) fn into_deeds(self) -> Deeds {
        self.deeds
    }

    fn uses(&mut self, path: &str, access: Access) {
        if !self.deeds.paths.contains_key(path) {
            if self.deeds.paths.len() >= PATHS || self.bytes + path.len() > BYTES {
                self.deeds.more_paths += 1;
                return;
            }
            self.bytes += path.len();
        }
        let used = self.deeds.paths.entry(path.to_owned()).or_default();
        used.times += 1;
        match access {
            Access::Read => used.read = true,
            Access::Write => used.written = true,
            Access::Execute => used.executed = true,
        }
    }

    /// An act took a capability: only one that was held can have been.
    fn took(&mut self, act: &Act<'_>, cap: &str, about: &str) {
        let Some(ids) = &act.before.ids else {
            return self.unsure(act, about);
        };
        if !ids.holds(cap) {
            return;
        }
        let acts = self.deeds.caps.entry(cap.to_owned()).or_default();
        if acts.len() < ACTS {
            acts.insert(act.told(about));
        }
    }

    fn unsure(&mut self, act: &Act<'_>, about: &str) {
        if self.deeds.unsure.len() < ACTS {
            self.deeds.unsure.insert(act.told(about));
        }
    }

    fn of_ids(&mut self, proc: BorrowedFd<'_>, act: &Act<'_>) {
        let any = |one: &[u32; 4], of: &[u32; 4]| one[..3].iter().all(|id| of[..3].contains(id));
        match act.name {
            "setgroups" => self.took(act, "SETGID", ""),
            "kill" | "tkill" | "tgkill" if act.before.of_another => self.took(act, "KILL", ""),
            "setuid" | "setreuid" | "setresuid" | "setgid" | "setregid" | "setresgid" => {
                match (&act.before.ids, ids_of(proc, act.thread)) {
                    (Some(was), Some(is)) => {
                        if !any(&is.users, &was.users) {
                            self.took(act, "SETUID", "");
                        }
                        if !any(&is.groups, &was.groups) {
                            self.took(act, "SETGID", "");
                        }
                    }
                    _ => self.unsure(act, ""),
                }
            }
            _ => return,
        }
        self.ids.remove(&act.thread);
    }

    fn of_path(&mut self, proc: BorrowedFd<'_>, act: &Act<'_>, path: &str, access: Access) {
        // What is there is the cell's own, and everybody's who may see it; a path that is not from the
        // root is not known well enough.
        if !path.starts_with('/')
            || ["/proc", "/dev", "/sys"]
                .iter()
                .any(|own| is_below(path, own))
        {
            return;
        }
        let about = format!("({})", crate::image::quote::quoted(path));
        let Some(ids) = &act.before.ids else {
            return self.unsure(act, &about);
        };
        let (who, thread) = (ids.users[3], act.thread);
        let stays = |at| stat(proc, thread, at, true).ok();
        match act.name {
            "chown" | "lchown" | "fchown" | "fchownat" => {
                let is = owner(proc, thread, path, !follows(act.name, act.args));
                match (act.before.owner, is) {
                    (Some(was), Some(is)) => {
                        let own_group = ids.others.contains(&is.1) || ids.groups[3] == is.1;
                        let plain = was.0 == who && is.0 == who && (was.1 == is.1 || own_group);
                        if !plain {
                            self.took(act, "CHOWN", &about);
                        }
                    }
                    _ => self.unsure(act, &about),
                }
            }
            "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => match stays(path) {
                Some(stat) if stat.st_uid != who => self.took(act, "FOWNER", &about),
                Some(_) => {}
                None => self.unsure(act, &about),
            },
            // Without times whoever may write it may.
            "utime" | "utimes" | "futimesat" | "utimensat" => {
                let times = match act.name {
                    "utime" | "utimes" => act.args[1],
                    _ => act.args[2],
                };
                if times != 0 && stays(path).is_some_and(|stat| stat.st_uid != who) {
                    self.took(act, "FOWNER", &about);
                }
            }
            _ => {}
        }
        let folder = folder_of(path);
        // In a sticky folder who owns neither it nor the file may not remove it (unlink(2)).
        if let ("unlink" | "unlinkat" | "rmdir" | "rename" | "renameat" | "renameat2", Some(was)) =
            (act.name, act.before.owner)
            && stays(folder).is_some_and(|stat| {
                stat.st_mode & libc::S_ISVTX != 0 && stat.st_uid != who && was.0 != who
            })
        {
            self.took(act, "FOWNER", &about);
        }
        // What everybody may do is another matter from here on.
        if act.name.contains("chown") || act.name.contains("chmod") {
            self.looked.clear();
            self.looked_bytes = 0;
        }
        if let Some(to) = act.to {
            let asks = Asks {
                from: None,
                path: folder_of(to),
                bits: 3,
            };
            self.asks(proc, act, asks, ids, &about);
        }
        // What `..` leads through is not known.
        let from = act.from.filter(|from| is_below(path, from));
        let from = match (act.from, from) {
            (Some(_), None) => Some(folder),
            (_, from) => from,
        };
        let asks = |path, bits| Asks { from, path, bits };
        let asks = match (act.name, access) {
            ("open" | "openat" | "openat2" | "creat", Access::Write) => {
                match act.before.was_there {
                    Some(true) if reads_too(act) => asks(path, 6),
                    Some(true) => asks(path, 2),
                    Some(false) => asks(folder, 3),
                    None => return self.unsure(act, &about),
                }
            }
            ("open" | "openat" | "openat2", _) => asks(path, 4),
            ("execve" | "execveat" | "chdir", _) => asks(path, 1),
            // To connect to a socket takes writing to it (unix(7)).
            ("truncate" | "connect" | "sendto", _) => asks(path, 2),
            ("fchown" | "fchmod", _) => return,
            (
                "chmod" | "fchmodat" | "fchmodat2" | "chown" | "lchown" | "fchownat" | "utime"
                | "utimes" | "futimesat" | "utimensat",
                _,
            ) => asks(folder, 1),
            _ => asks(folder, 3),
        };
        self.asks(proc, act, asks, ids, &about);
    }

    /// Whether owner and mode let it be done, else a capability was taken.
    fn asks(
        &mut self,
        proc: BorrowedFd<'_>,
        act: &Act<'_>,
        asks: Asks<'_>,
        ids: &Ids,
        about: &str,
    ) {
        if asks.from.is_none() && !self.looks(asks, ids.users[3]) {
            return;
        }
        match is_open(proc, act.thread, asks, ids) {
            Some(true) => {}
            Some(false) => self.took(act, "DAC_OVERRIDE", about),
            None => self.unsure(act, about),
        }
    }

    /// Whether that was not looked at yet.
    fn looks(&mut self, asks: Asks<'_>, who: u32) -> bool {
        let one = (asks.path.to_owned(), asks.bits, who);
        if self.looked.contains(&one) {
            return false;
        }
        // Looked at again rather than remembered without end.
        if self.looked_bytes + asks.path.len() > BYTES || self.looked.len() >= PATHS {
            self.looked.clear();
            self.looked_bytes = 0;
        }
        self.looked_bytes += asks.path.len();
        self.looked.insert(one)
    }

    /// As whom a thread acts, looked up once until it may have changed.
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
        let (Some(own), true) = (self.ids_of(proc, thread), pid > 0) else {
            return false;
        };
        let status = status_inside(proc, thread, pid);
        let Some(whose) = status.as_deref().and_then(ids_in) else {
            return false;
        };
        let may = |id: u32| id == whose.users[0] || id == whose.users[2];
        !may(own.users[0]) && !may(own.users[1])
    }
}

impl Ids {
    /// Whether it may use a capability, without `CAP_`.
    fn holds(&self, cap: &str) -> bool {
        let cap = format!("CAP_{cap}").parse::<caps::Capability>();
        cap.is_ok_and(|cap| self.caps & cap.bitmask() != 0)
    }
}

/// What /proc inside says of a process. Whatever else lies there is a program's own, and is not opened.
fn status_inside(proc: BorrowedFd<'_>, thread: u32, pid: i32) -> Option<String> {
    let root = root(proc, thread).ok()?;
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let path = format!("proc/{pid}/status");
    let found = openat2(&root, path, flags, Mode::empty(), resolve).ok()?;
    if fstatfs(&found).ok()?.f_type != PROC_SUPER_MAGIC {
        return None;
    }
    read(proc, &format!("self/fd/{}", found.as_raw_fd()))
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

/// The folder that a path lies in.
fn folder_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// Whether a file is opened to be read as well as written.
fn reads_too(act: &Act<'_>) -> bool {
    let flags = match act.name {
        "open" => act.args[1],
        "openat" => act.args[2],
        // Its flags lie behind a pointer, and whoever writes with it mostly reads.
        "openat2" => return true,
        _ => 0,
    };
    flags & 3 == 2
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
        caps: u64::from_str_radix(line("CapEff:")?.trim(), 16).ok()?,
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
    // The folder that it is walked from is open already; to go on from it takes searching it.
    let mut end = asks.from.map_or(0, |from| from.trim_end_matches('/').len());
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
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapEff:\t0000000000000021\n";
        let ids = ids_in(status).unwrap();
        assert_eq!((ids.users, ids.groups), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!(ids.others, [9, 10]);
        assert!(ids.holds("CHOWN") && ids.holds("KILL") && !ids.holds("SETUID"));
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
        let from = None;
        let opens = |ids: &Ids, bits| is_open(proc.as_fd(), own, Asks { from, path, bits }, ids);
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
        let ids = Ids {
            users: [0; 4],
            groups: [0; 4],
            others: Vec::new(),
            caps: 1,
        };
        let before = Before {
            ids: Some(ids),
            ..Before::default()
        };
        let act = Act {
            thread: 1,
            name: "chown",
            args: &[0; 6],
            object: None,
            from: None,
            to: None,
            before: &before,
            program: None,
        };
        for n in 0..PATHS + 5 {
            learner.uses(&format!("/{n}"), Access::Read);
            learner.took(&act, "CHOWN", &format!("{n}"));
            // What is not held cannot have been taken.
            learner.took(&act, "KILL", &format!("{n}"));
            let (path, bits) = (format!("/{n:0100}"), 1);
            let asks = Asks {
                from: None,
                path: &path,
                bits,
            };
            assert!(learner.looks(asks, 0));
            assert!(!learner.looks(asks, 0));
            keep(&mut learner.deeds.reached, format!("{n}"));
        }
        assert!(learner.looked.len() <= PATHS && learner.looked_bytes <= BYTES);
        learner.uses("/0", Access::Write);
        let deeds = learner.into_deeds();
        assert_eq!((deeds.paths.len(), deeds.more_paths), (PATHS, 5));
        assert_eq!(deeds.caps["CHOWN"].len(), ACTS);
        assert_eq!(deeds.caps.len(), 1);
        assert_eq!(deeds.reached.len(), OTHERS);
        let first = deeds.paths["/0"];
        assert!(first.read && first.written && !first.executed);
        assert_eq!(first.times, 2);
    }
}
