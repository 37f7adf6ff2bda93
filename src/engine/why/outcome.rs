//! What the kernel refused a cell that was watched, with what of the cell is behind it: each is asked
//! as `lazaret why` would be. Where nothing of the cell is, nothing is said.

use super::cell::{self, Cell};
use super::{blank, capability, network, path};
use crate::container::supervise::{Access, Logged, Object, Outcome};
use crate::error::Result;
use crate::plan::seccomp::{Arch, words};
use crate::plan::{IdMap, Merged, Step, What};
use crate::policy::{self, call_needs};
use crate::report::{Answer, Denial};
use std::net::IpAddr;

/// The cell's image, merged once for all of them.
type Image<'a> = Option<&'a Merged<'a>>;

/// The refusals that the cell is behind, in their order.
///
/// # Errors
/// As the decision.
pub(in crate::engine) fn denials(
    cell: &Cell,
    outcomes: &[Outcome],
    logged: &[Logged],
) -> Result<Vec<Denial>> {
    let lists = cell.lists()?;
    let image = cell::merged(lists.as_deref())?;
    let image = image.as_ref();
    let mut denials = Vec::new();
    for outcome in outcomes {
        let name = Arch::native().name(outcome.number).unwrap_or("a call");
        let by = match &outcome.object {
            Some(object) => by(cell, image, name, object, i32::from(outcome.errno))?,
            // Too many to be kept apart: the first ones say why, if the cell is behind any of them.
            None => denials
                .iter()
                .any(|denial: &Denial| {
                    (denial.number, denial.errno) == (Some(outcome.number), outcome.errno)
                })
                .then(more),
        };
        let Some(mut answer) = by else { continue };
        if let Some(log) = logged.iter().find(|log| is_of(log, outcome)) {
            let said = format!("; the kernel's audit log says {}", log.blockers);
            answer.why.push_str(&said);
        }
        denials.push(Denial {
            call: match &outcome.object {
                Some(object) => in_words(outcome.number, name, object),
                None => words::others(Arch::native(), outcome.number),
            },
            number: Some(outcome.number),
            program: outcome.program.clone(),
            count: outcome.times,
            errno: outcome.errno,
            by: of(answer),
        });
    }
    Ok(denials)
}

/// More of what was told already.
fn more() -> Answer {
    let mut answer = blank("", "path");
    answer.rule = "as those above, too many to be told apart".to_owned();
    answer.origin = policy::Origin::Always("the first of each call and errno are told");
    answer.why = "some may have another rule behind them".to_owned();
    answer.cure = Some(vec!["see those above".to_owned()]);
    answer
}

/// A call with what it was about.
fn in_words(number: u32, name: &str, object: &Object) -> String {
    let quoted = crate::image::quote::quoted;
    match object {
        Object::Path { path, access } => {
            let access = match (name, access) {
                ("open" | "openat" | "openat2", Access::Read) => ", to read",
                ("open" | "openat" | "openat2" | "creat", _) => ", to write",
                _ => "",
            };
            format!("{name}({}{access})", quoted(path))
        }
        Object::Address { host, port } => format!("{name}({})", endpoint(host, *port)),
        Object::Socket(path) => format!("{name}({})", quoted(path)),
        Object::Abstract(socket) => format!("{name}({})", quoted(&format!("@{socket}"))),
        Object::Driver { path, request } => format!("{name}({}, {request:#x})", quoted(path)),
        Object::Own => words::call(Arch::native(), number, &[0; words::SHOWN]),
    }
}

fn endpoint(host: &IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(*host, port).to_string()
}

/// An answer of `why` as what is behind a refusal.
fn of(answer: Answer) -> policy::Denial {
    let (rule, why) = match (answer.rule.is_empty(), answer.why.is_empty()) {
        (true, false) => (answer.answer, answer.why),
        (true, true) => (answer.answer.clone(), answer.answer),
        (false, true) => (answer.rule, answer.answer),
        (false, false) => (answer.rule, answer.why),
    };
    policy::Denial {
        rule,
        origin: answer.origin,
        why,
        cure: answer.cure.unwrap_or_default(),
    }
}

/// Whether a record of the audit log is of this refusal.
fn is_of(log: &Logged, outcome: &Outcome) -> bool {
    match &outcome.object {
        Some(Object::Driver { path, .. }) => {
            log.blockers == "fs.ioctl_dev" && log.path.as_ref() == Some(path)
        }
        Some(Object::Abstract(_)) => log.blockers == "scope.abstract_unix_socket",
        _ => false,
    }
}

/// What the audit log says that Landlock refused, and that was not told otherwise.
///
/// # Errors
/// `Malformed`: the plan has no Landlock domain.
pub(in crate::engine) fn logged(
    cell: &Cell,
    outcomes: &[Outcome],
    logged: &[Logged],
) -> Result<Vec<Denial>> {
    let mut denials = Vec::new();
    for one in logged {
        // Every file is asked whether it is a terminal, and that is not told.
        if one.blockers == "fs.ioctl_dev" || outcomes.iter().any(|outcome| is_of(one, outcome)) {
            continue;
        }
        let about = one.path.as_deref().map(crate::image::quote::quoted);
        denials.push(Denial {
            call: format!("Landlock {}({})", one.blockers, about.unwrap_or_default()),
            number: None,
            program: None,
            count: one.times,
            errno: u16::try_from(libc::EACCES).unwrap_or_default(),
            by: policy::Denial {
                rule: format!("the Landlock right {}", one.blockers),
                origin: domain(cell)?,
                why: "no rule of the cell's domain gives this right".to_owned(),
                cure: Vec::new(),
            },
        });
    }
    Ok(denials)
}

/// Where the cell's domain comes from.
fn domain(cell: &Cell) -> Result<policy::Origin> {
    let (_, origin) = cell.step(|step| matches!(step, Step::Landlock { .. }).then_some(()))?;
    Ok(origin.clone())
}

/// What of the cell is behind a refusal; `None`: nothing.
fn by(
    cell: &Cell,
    image: Image<'_>,
    name: &str,
    object: &Object,
    errno: i32,
) -> Result<Option<Answer>> {
    match object {
        Object::Path { path, access } => of_path(cell, image, name, path, *access, errno),
        Object::Address { host, port } => of_address(cell, name, *host, *port, errno),
        Object::Socket(at) => of_socket(cell, image, name, at, errno),
        Object::Abstract(socket) => {
            let mut answer = blank("", "socket");
            network::abstract_socket(cell, socket, &mut answer)?;
            let is_there = || listens(&format!("@{socket}"));
            Ok((!answer.allowed && (errno == libc::EPERM || is_there())).then_some(answer))
        }
        Object::Driver { path, .. } => of_driver(cell, path),
        Object::Own => of_ids(cell, name, errno),
    }
}

fn of_path(
    cell: &Cell,
    image: Image<'_>,
    name: &str,
    path: &str,
    access: Access,
    errno: i32,
) -> Result<Option<Answer>> {
    let mut answer = blank("", "path");
    path::inside(cell, image, path, access == Access::Write, &mut answer)?;
    let place = cell.plan.place(path).map(|place| place.what);
    let no_exec = match place {
        Some(What::Tmpfs(tmpfs)) => tmpfs.no_exec.then_some(&tmpfs.path),
        Some(What::Bind(bind)) => bind.no_exec.then_some(&bind.path),
        _ => None,
    };
    if let (Access::Execute, libc::EACCES, Some(at)) = (access, errno, no_exec) {
        answer.rule = format!("noexec on {}", policy::shown(at));
        answer.why = "nothing that lies there is executed".to_owned();
        answer.cure = Some(vec![format!(
            "leave noexec out where {} is mounted, or say exec",
            policy::shown(at)
        )]);
        return Ok(Some(answer));
    }
    let of_root = matches!(place, Some(What::Root { .. }));
    match errno {
        libc::EINVAL if name.contains("chown") => of_map(cell),
        libc::EINVAL => Ok(None),
        libc::ENOENT if answer.allowed => Ok(None),
        // It was made since, or the image has it: who may, owner and mode say.
        libc::EACCES | libc::EPERM if of_root || answer.allowed => {
            by_permission(cell, image, (name, errno), path, answer)
        }
        libc::ENOENT | libc::EROFS => Ok((!answer.allowed).then_some(answer)),
        _ if of_root => Ok(None),
        _ => Ok((!answer.allowed).then_some(answer)),
    }
}

/// Owner and permission bits refuse, and a capability would pass over them. `answer` says what is
/// there.
fn by_permission(
    cell: &Cell,
    image: Image<'_>,
    (name, errno): (&str, i32),
    path: &str,
    answer: Answer,
) -> Result<Option<Answer>> {
    let cap = match (name, call_needs(name)) {
        (_, Some((cap @ ("CHOWN" | "FOWNER"), _))) => cap,
        ("utime" | "utimes" | "futimesat" | "utimensat", _) => "FOWNER",
        // A sticky folder (unlink(2)); where the folder itself is shut, it is EACCES.
        _ if errno == libc::EPERM => "FOWNER",
        _ => "DAC_OVERRIDE",
    };
    let of = |answer: Answer| {
        let mut facts = answer.facts.into_iter();
        facts.find_map(|(label, mode)| (label == "mode").then_some(mode))
    };
    // Whether something can be made or removed is its folder's to say.
    let of_file = match name {
        "open" | "openat" | "openat2" | "creat" | "chdir" | "execve" | "execveat" | "truncate" => {
            true
        }
        _ => cap != "DAC_OVERRIDE",
    };
    let bits = of(answer).filter(|_| of_file);
    let bits = match bits {
        Some(bits) => Some(bits),
        None => {
            let mut folder = blank("", "path");
            path::inside(cell, image, path::parent_of(path), false, &mut folder)?;
            of(folder)
        }
    };
    let root_owns = bits.as_ref().is_some_and(|mode| mode.contains("owner 0:"));
    if !policy::is_root(&cell.grants.user.value) && root_owns && cap != "CHOWN" {
        let user = policy::shown(&cell.grants.user.value);
        let mut answer = blank("", "path");
        answer.rule = format!("permission bits {}", bits.unwrap_or_default());
        answer.origin = cell.grants.user.origin.clone();
        answer.why = format!("the command runs as {user}");
        answer.cure = Some(vec!["-u 0".to_owned()]);
        return Ok(Some(answer));
    }
    needs(cell, cap, bits.map(|bits| format!("mode {bits}")))
}

/// A capability that is not held is behind it; where it is held, something else is.
fn needs(cell: &Cell, cap: &str, because: Option<String>) -> Result<Option<Answer>> {
    let mut answer = blank("", "capability");
    capability::capability(cell, cap, &mut answer)?;
    if answer.allowed {
        return Ok(None);
    }
    answer.rule = format!("{cap} is not held");
    let when = because.into_iter();
    let why = when.chain((!answer.why.is_empty()).then(|| answer.why.clone()));
    answer.why = why.collect::<Vec<_>>().join("; ");
    Ok(Some(answer))
}

/// Landlock lets only some drivers be asked for anything.
fn of_driver(cell: &Cell, path: &str) -> Result<Option<Answer>> {
    let (rules, origin) = cell.step(|step| match step {
        Step::Landlock { rules, .. } => Some(rules),
        _ => None,
    })?;
    let open: Vec<&str> = rules
        .iter()
        .filter(|rule| rule.device_ioctl)
        .map(|rule| rule.path.as_str())
        .collect();
    let is_open = |folder: &&str| {
        let rest = path.strip_prefix(*folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // Nothing is held where no rule says what is open (Landlock before ABI 5).
    if open.is_empty() || open.iter().any(is_open) {
        return Ok(None);
    }
    let mut answer = blank("", "path");
    answer.rule = format!("Landlock opens the drivers of {} alone", open.join(" "));
    answer.origin = origin.clone();
    answer.why =
        "a driver is code of the kernel that a plain read or write does not reach".to_owned();
    Ok(Some(answer))
}

/// Other ids than the map has, where it has one alone.
fn of_map(cell: &Cell) -> Result<Option<Answer>> {
    let (map, origin) = cell.step(|step| match step {
        Step::MapIds(map) => Some(map),
        _ => None,
    })?;
    if matches!(map, IdMap::Single { .. }) {
        let mut answer = blank("", "user");
        answer.rule = "one id inside, because no subordinate ids are usable".to_owned();
        answer.origin = origin.clone();
        answer.why = "the only user and group inside are the caller's, as root".to_owned();
        answer.cure = Some(vec![cell.no_subids().to_owned()]);
        return Ok(Some(answer));
    }
    Ok(None)
}

fn of_ids(cell: &Cell, name: &str, errno: i32) -> Result<Option<Answer>> {
    if name.starts_with("set")
        && let Some(answer) = of_map(cell)?
    {
        return Ok(Some(answer));
    }
    match (errno, call_needs(name)) {
        (libc::EPERM, Some((cap, _))) => needs(cell, cap, None),
        _ => Ok(None),
    }
}

fn of_address(
    cell: &Cell,
    name: &str,
    host: IpAddr,
    port: u16,
    errno: i32,
) -> Result<Option<Answer>> {
    let mut answer = blank("", "network");
    let refused = matches!(errno, libc::EACCES | libc::EPERM);
    match name {
        "bind" if refused && port < 1024 => {
            return needs(cell, "NET_BIND_SERVICE", Some(format!("port {port}")));
        }
        // Only an address that the cell's own network lacks.
        "bind" if errno != libc::EADDRNOTAVAIL => return Ok(None),
        _ => {}
    }
    let shown = endpoint(&host, port);
    network::network(cell, &shown, host.is_loopback(), &mut answer)?;
    // Nobody listens on the cell's own loopback; somebody may on this machine's.
    if answer.allowed && host.is_loopback() && errno == libc::ECONNREFUSED && listens_at(port) {
        network::loopback(cell, &shown, &mut answer)?;
    }
    Ok((!answer.allowed).then_some(answer))
}

fn of_socket(
    cell: &Cell,
    image: Image<'_>,
    name: &str,
    at: &str,
    errno: i32,
) -> Result<Option<Answer>> {
    if name == "bind" {
        return of_path(cell, image, name, at, Access::Write, errno);
    }
    // Relative, or nobody's: the cell is not behind it.
    if !at.starts_with('/') || !listens(at) {
        return Ok(None);
    }
    let mut answer = blank("", "socket");
    network::socket(cell, at, &mut answer)?;
    Ok((!answer.allowed).then_some(answer))
}

/// Whether somebody of this machine listens at this port over TCP (proc(5), "net/tcp").
fn listens_at(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let end = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|path| {
        let all = std::fs::read_to_string(path).unwrap_or_default();
        all.lines().any(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
            matches!(words.as_slice(), [_, own, _, LISTEN] if own.ends_with(&end))
        })
    })
}

/// Whether somebody of this machine has a Unix socket of this name (proc(5), "net/unix").
fn listens(name: &str) -> bool {
    let Ok(all) = std::fs::read("/proc/net/unix") else {
        return false;
    };
    let all = String::from_utf8_lossy(&all);
    all.lines()
        .any(|line| line.split_ascii_whitespace().nth(7) == Some(name))
}
