//! What of the host may be mounted inside, and where: binds of folders and files.
//!
//! A value of `mounts` is `tmpfs`, or a pattern of paths with `:ro` or `:rw` behind it. In `allow`,
//! `:rw` lets be read and written, `:ro` or nothing lets be read. In `deny`, `:rw` refuses writing,
//! anything else refuses both. `./` is the caller's current folder, `~` the caller's home; what is
//! compared is the source's real path, without any symbolic link.

use super::command;
use super::compose::Policy;
use super::facts::{FileKind, HostFacts, Outside, SourceFacts};
use super::grants::{BindMount, Granted, Origin, Reason, TmpfsMount};
use super::parse::Key;
use super::pattern::{matches, matches_below};
use super::request::{BindAsk, Request};
use super::subject::Subject;
use super::tool;
use super::words;
use crate::error::{Error, Kind, Result};
use std::cell::Cell;

/// More binds than anybody needs.
const MAX_BINDS: usize = 64;

/// File systems that are the kernel itself, not files: below one of them the cell's masks mean
/// nothing.
const KERNEL: &[&str] = &[
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

/// A place of the host that is asked for.
struct Place<'a> {
    path: &'a str,
    write: bool,
    outside: &'a Outside,
}

/// Whether a pattern of a rule speaks of a place.
#[derive(PartialEq, Eq)]
enum Speaks {
    No,
    /// Of the place itself.
    OfIt,
    /// Of something that lies, or could lie, below it.
    Below,
}

/// `/x/**:ro` as `/x/**` and whether writing is meant.
fn mode(pattern: &str) -> (&str, Option<bool>) {
    match (pattern.strip_suffix(":ro"), pattern.strip_suffix(":rw")) {
        (Some(path), _) => (path, Some(false)),
        (_, Some(path)) => (path, Some(true)),
        _ => (pattern, None),
    }
}

/// Whether a value of `mounts` can mean anything: a rule that never matches refuses nothing.
pub(super) fn is_pattern(text: &str) -> bool {
    let (path, mode) = mode(text);
    let known = match path.split('/').next() {
        Some("" | "~" | ".") => !path.is_empty(),
        Some(first) => first.starts_with("**"),
        None => false,
    };
    // `/x:ro:rw` says that the colon is part of the name.
    text == "tmpfs" || known && is_real(path) && (mode.is_some() || !has_mode(path))
}

/// Whether a pattern is written as real paths are, behind its first part: without `.` and `..`, two
/// slashes in a row, or one at the end.
fn is_real(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    path == "/" || parts.all(|part| !matches!(part, "" | "." | ".."))
}

/// Whether a path ends with what may be meant to be a mode, as docker writes them: it would be taken
/// for part of a name.
fn has_mode(path: &str) -> bool {
    const MODES: [&str; 8] = ["ro", "rw", "r", "w", "rx", "rwx", "z", "noexec"];
    let last = path.rsplit_once(':').map_or("", |(_, last)| last);
    let mut words = last.split(',').map(str::to_ascii_lowercase);
    words.any(|word| MODES.contains(&word.as_str()))
}

/// As [`is_pattern`], of `targets`.
pub(super) fn is_target(text: &str) -> bool {
    (text.starts_with('/') || text.starts_with("**")) && is_real(text) && !has_mode(text)
}

/// `path` as seen from `folder`: `WORD` or `WORD/...`, where it is that folder or below it.
fn from(folder: &str, word: &str, path: &str) -> Option<String> {
    if folder == "/" {
        return Some(format!("{word}{}", if path == "/" { "" } else { path }));
    }
    match path.strip_prefix(folder)? {
        "" => Some(word.to_owned()),
        rest if rest.starts_with('/') => Some(format!("{word}{rest}")),
        _ => None,
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path != folder && from(folder, "", path).is_some()
}

impl Place<'_> {
    /// The spellings of the path that a pattern could be about: from the root, from the home, from
    /// the current folder.
    fn spelled(&self, pattern: &str, homes: &[String]) -> Vec<String> {
        let first = pattern.split('/').next().unwrap_or_default();
        match first {
            "" => vec![self.path.to_owned()],
            "~" => homes
                .iter()
                .filter_map(|home| from(home, "~", self.path))
                .collect(),
            // The root is no folder that anybody stands in to share it.
            "." if self.outside.cwd != "/" => from(&self.outside.cwd, ".", self.path)
                .into_iter()
                .collect(),
            _ if first.starts_with("**") => vec![self.path.to_owned()],
            _ => Vec::new(),
        }
    }

    /// Whether `allow` or `give` with this pattern lets the place be had.
    fn allowed_by(&self, pattern: &str) -> bool {
        let (path, write) = mode(pattern);
        if self.write && write != Some(true) {
            return false;
        }
        // Whoever sets HOME says what `~` is where something is allowed.
        let homes = self.outside.homes.get(..1).unwrap_or_default();
        self.spelled(path, homes).iter().any(|it| matches(path, it))
    }

    /// Whether `deny` with this pattern refuses the place, or what it would uncover. Patterns that
    /// begin with `**` could be about something anywhere, and speak of the source itself only.
    fn denied_by(&self, pattern: &str) -> Speaks {
        let (path, write) = mode(pattern);
        if write == Some(true) && !self.write {
            return Speaks::No;
        }
        let spelled = self.spelled(path, &self.outside.homes);
        if spelled.iter().any(|it| matches(path, it)) {
            return Speaks::OfIt;
        }
        if path.starts_with("**") {
            return Speaks::No;
        }
        let anchors: &[String] = match path.split('/').next() {
            Some("~") => &self.outside.homes,
            Some(".") => std::slice::from_ref(&self.outside.cwd),
            _ => &[],
        };
        if spelled.iter().any(|it| matches_below(path, it))
            || anchors.iter().any(|anchor| is_below(anchor, self.path))
        {
            return Speaks::Below;
        }
        Speaks::No
    }

    /// Asks all levels. The second is whether it is refused for what lies below it.
    fn ask(
        &self,
        policy: &Policy,
        subject: &Subject,
    ) -> std::result::Result<Option<Origin>, (Reason, bool)> {
        let value = format!("{}:{}", self.path, if self.write { "rw" } else { "ro" });
        let below = Cell::new(false);
        let denied = |pattern: &str| {
            let speaks = self.denied_by(pattern);
            below.set(speaks == Speaks::Below);
            speaks != Speaks::No
        };
        let allowed = |pattern: &str| {
            below.set(false);
            self.allowed_by(pattern)
        };
        policy
            .ask_by(subject, Key::Mounts, &value, &denied, &allowed)
            .map_err(|reason| (reason, below.get()))
    }
}

/// Whether a folder may be named for something below it: none of it is uncovered but that, so that it
/// is enough if it may be read, and what is denied below it is not asked for.
fn passes(
    policy: &Policy,
    subject: &Subject,
    path: &str,
    outside: &Outside,
) -> std::result::Result<(), Reason> {
    let place = Place {
        path,
        write: false,
        outside,
    };
    let denied = |pattern: &str| place.denied_by(pattern) == Speaks::OfIt;
    let allowed = |pattern: &str| place.allowed_by(pattern);
    policy
        .ask_by(
            subject,
            Key::Mounts,
            &format!("{path}:ro"),
            &denied,
            &allowed,
        )
        .map(drop)
}

/// Whether a path may be had: for comparing policies.
pub(super) fn lets(
    policy: &Policy,
    subject: &Subject,
    path: &str,
    write: bool,
    outside: &Outside,
) -> bool {
    let place = Place {
        path,
        write,
        outside,
    };
    place.ask(policy, subject).is_ok()
}

/// Decides on every bind that is asked for. An error is a request that means nothing.
pub(super) fn binds(
    policy: &Policy,
    subject: &Subject,
    request: &Request,
    host: &HostFacts,
    reasons: &mut Vec<Reason>,
) -> Result<Vec<Granted<BindMount>>> {
    if request.binds.len() > MAX_BINDS {
        let cause = format!("more than {MAX_BINDS} folders and files are asked for");
        return Err(Error::new(Kind::Limit, cause));
    }
    if request.binds.len() != host.outside.sources.len() {
        return Err(Error::new(Kind::Usage, "a source was not looked at"));
    }
    let mut mounts: Vec<Granted<BindMount>> = Vec::new();
    for (number, (ask, source)) in request.binds.iter().zip(&host.outside.sources).enumerate() {
        let target = target(&ask.target).ok_or_else(|| {
            let cause = format!(
                "{}: {} is not an absolute path without \"..\"",
                ask.flag,
                words::shown(&ask.target)
            );
            Error::new(Kind::Usage, cause)
        })?;
        if let Some(tool) = &request.tool
            && !tool.etc.contains(&number)
            && target != source.path
        {
            let cause = format!("{} was moved while it was looked at", words::shown(&target));
            return Err(Error::new(Kind::Io, cause));
        }
        let asked = match request.tool {
            None => written(ask),
            Some(_) => format!("{} {}", ask.flag, words::shown(&ask.source)),
        };
        let mut refuse = |reason: Reason| {
            reasons.push(Reason {
                asked: asked.clone(),
                ..reason
            });
        };
        let place = Place {
            path: &source.path,
            write: !ask.read_only,
            outside: &host.outside,
        };
        let impossible = unfit(source).or_else(|| shows_own(&place));
        let answer = match &request.tool {
            // Trust is what lets the program's own file in; a refusal is told where it is asked.
            Some(tool) if tool.bind == Some(number) => {
                let pinned = tool.sha256.is_some();
                Ok(tool::trusted(policy, &request.image, pinned).ok())
            }
            Some(tool) if tool.etc.contains(&number) && ask.read_only => {
                match source.path.strip_prefix("/etc/") {
                    Some(name) => tool::etc(policy, subject, name).map_err(|why| (why, false)),
                    None => place.ask(policy, subject),
                }
            }
            _ => place.ask(policy, subject),
        };
        let origin = match (answer, impossible) {
            (Ok(origin), None) => origin,
            (Err((reason, below)), impossible)
                if impossible.as_ref().is_none_or(|other| {
                    // A device is asked for by another flag, which may be allowed.
                    let another_way = below || source.kind == FileKind::Device;
                    reason.cure.is_empty() && (!another_way || other.cure.is_empty())
                }) =>
            {
                refuse(match request.tool {
                    None => cured(reason, below, &place, ask, policy, subject),
                    Some(_) => tool::cured(reason, below, ask),
                });
                None
            }
            // What no rule changes comes first: a cure that ends at the next refusal is none.
            (_, reason) => {
                let reason = reason.into_iter().map(|reason| match request.tool {
                    None => reason,
                    Some(_) => tool::cured(reason, false, ask),
                });
                reason.for_each(&mut refuse);
                None
            }
        };
        if let (Some(_), Some(through)) = (&origin, &source.through)
            && let Err(reason) = passes(policy, subject, through, &host.outside)
        {
            refuse(reason);
        }
        // A tool's mounts are at their own places: one refusal says it.
        if (request.tool.is_none() || origin.is_some())
            && let Err(reason) = policy.ask(subject, Key::Targets, &target)
        {
            refuse(reason);
        }
        mounts.push(Granted {
            value: BindMount {
                source: source.path.clone(),
                target,
                folder: source.kind == FileKind::Folder,
                read_only: ask.read_only,
                no_exec: ask.no_exec,
                number,
            },
            origin: origin.unwrap_or(Origin::Flag(ask.flag)),
        });
    }
    Ok(mounts)
}

/// A path inside, without what means nothing in it; `None` if it is relative or has `..`.
pub(super) fn target(path: &str) -> Option<String> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    command::inside(path).then(|| format!("/{}", parts.join("/")))
}

/// Refuses two mounts on one place.
pub(super) fn apart(binds: &[Granted<BindMount>], tmpfs: &[Granted<TmpfsMount>]) -> Result<()> {
    let targets = binds.iter().map(|m| &m.value.target);
    let mut all: Vec<&String> = targets.chain(tmpfs.iter().map(|m| &m.value.path)).collect();
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            let cause = format!("a mount on {} is asked for twice", words::shown(pair[0]));
            Err(Error::new(Kind::Usage, cause))
        }
    }
}

fn written(ask: &BindAsk) -> String {
    let below = match &ask.subpath {
        Some(subpath) => format!(" below it {}", words::shown(subpath)),
        None => String::new(),
    };
    format!(
        "{} {}{below}:{} ({})",
        ask.flag,
        words::shown(&ask.source),
        words::shown(&ask.target),
        if ask.read_only {
            "read-only"
        } else {
            "read-write"
        }
    )
}

/// A refusal with what can be done instead: the narrower things that the policy does allow.
fn cured(
    mut reason: Reason,
    below: bool,
    place: &Place<'_>,
    ask: &BindAsk,
    policy: &Policy,
    subject: &Subject,
) -> Reason {
    if below {
        reason.why = format!("{}; this folder has such a place below it", reason.why);
        reason
            .cure
            .push("name the folder below it that is needed".to_owned());
        return reason;
    }
    let policy = &policy.unheard();
    // A rule for one path must not be one for many.
    if place.path.contains('*') && !reason.cure.is_empty() {
        reason.cure = vec!["rename it: a * in a rule stands for any name".to_owned()];
    }
    let reading = |outside: &Outside| {
        let place = Place {
            path: place.path,
            write: false,
            outside,
        };
        place.ask(policy, subject).is_ok()
    };
    // -v takes no path with a colon, and no subpath.
    let unwritable = ask.subpath.is_some() || ask.target.contains(':');
    let flag = |source: &str| match unwritable || source.contains(':') {
        true => None,
        false => in_a_shell(&format!("{source}:{}:ro", ask.target)),
    };
    if place.write && reading(place.outside) {
        let line = flag(&ask.source).map(|flag| format!("or read only: -v {flag}"));
        reason.cure.extend(line);
    } else if let Some((parent, name)) = place.path.rsplit_once('/')
        && !parent.is_empty()
        && reading(&Outside {
            cwd: parent.to_owned(),
            ..place.outside.clone()
        })
        && let (Some(parent), Some(flag)) = (in_a_shell(parent), flag(&format!("./{name}")))
    {
        let line = format!("or read only: run from {parent} with -v {flag}");
        reason.cure.push(line);
    }
    reason
}

/// A word as it can be pasted into a shell, whoever named the folder: plain, or in single quotes,
/// which nothing inside ends.
fn in_a_shell(word: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/:@+,".contains(&b);
    if word.bytes().all(plain) {
        return Some(word.to_owned());
    }
    let quotable = |b: u8| (b' '..=b'~').contains(&b) && b != b'\'';
    word.bytes().all(quotable).then(|| format!("'{word}'"))
}

/// What no policy can allow: a source that is neither folder nor regular file, or shows the kernel.
fn unfit(source: &SourceFacts) -> Option<Reason> {
    let reason = |rule: &str, why: String, cure: &str| {
        Some(Reason {
            asked: String::new(),
            rule: rule.to_owned(),
            origin: Origin::Always("no way out of the cell is mounted"),
            why,
            cure: match cure {
                "" => Vec::new(),
                cure => vec![cure.to_owned()],
            },
        })
    };
    let kind = match source.kind {
        FileKind::Folder | FileKind::File => None,
        FileKind::Device => Some(("a device", "a device is asked for with --device")),
        FileKind::Fifo => Some(("a fifo", "bind the folder that it lies in")),
        FileKind::Socket => Some(("a socket", "")),
        FileKind::Other => Some(("neither folder nor file", "")),
    };
    if let Some((what, cure)) = kind {
        let why = format!("{} is {what}", words::shown(&source.path));
        return reason("a source is a folder or a regular file", why, cure);
    }
    let (path, kind) = source
        .mounts
        .iter()
        .find(|(_, kind)| KERNEL.contains(&kind.as_str()))?;
    let why = format!(
        "{} is a {} of the host, which the cell's own hides",
        words::shown(path),
        words::shown(kind)
    );
    reason(
        "no file system of the kernel is mounted",
        why,
        "name a folder that has none in it",
    )
}

/// Whoever could read the store would read what other cells wrote; whoever could write it, or a
/// policy, would need no other way out.
fn shows_own(place: &Place<'_>) -> Option<Reason> {
    let own = place.outside.own.iter();
    let shown = own.clone().find(|own| {
        place.path == own.as_str() || is_below(place.path, own) || is_below(own, place.path)
    })?;
    Some(Reason {
        asked: String::new(),
        rule: "lazaret's own folders are not mounted".to_owned(),
        origin: Origin::Always("cells do not meet, and do not decide"),
        why: format!("{} is lazaret's own", words::shown(shown)),
        cure: Vec::new(),
    })
}

/// What a person should know of the granted binds before the command runs: files that no id inside
/// may read or write, and whose the new ones will be. Nothing where the ids inside are the caller's;
/// `cure`: what would make them so. Root outside may change whatever they make.
pub(super) fn strangers(
    mounts: &[Granted<BindMount>],
    host: &HostFacts,
    cure: Option<&str>,
) -> Vec<String> {
    let or = cure.map_or_else(String::new, |cure| format!("{cure}, "));
    let Some((uids, gids)) = host.subids else {
        return Vec::new();
    };
    let told = |mount: &Granted<BindMount>| {
        let source = host.outside.sources.get(mount.value.number)?;
        let owned = uids.holds(source.uid) || gids.holds(source.gid);
        let others = if owned { 7 } else { source.mode & 7 };
        let folder = source.kind == FileKind::Folder;
        let needed = if folder { 5 } else { 4 };
        let target = words::shown(&mount.value.target);
        if others & needed != needed {
            return Some(format!(
                "{target} cannot be read inside: it is closed to others, which all ids inside \
                 are; {or}chmod o+rX would open it"
            ));
        }
        if mount.value.read_only {
            return None;
        }
        if others & 2 == 0 {
            // What is below it may be open to them.
            let (itself, below) = match folder && !host.root {
                true => (
                    " itself",
                    ", and what is made below where they may will not be yours to change",
                ),
                false => ("", ""),
            };
            return Some(format!(
                "{target}{itself} cannot be written inside: others may not, which all ids inside \
                 are{below}; {or}chmod o+w would open it"
            ));
        }
        cure.filter(|_| folder && !host.root).map(|cure| {
            format!(
                "files made in {target} will belong to subordinate ids and not be yours to \
                 change; {cure}"
            )
        })
    };
    mounts.iter().filter_map(told).collect()
}
