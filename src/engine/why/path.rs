//! A path: what it is inside, or what it would take to have this machine's there.

use super::cell::{Beside, Cell};
use crate::error::{Kind, Result};
use crate::plan::{Found, HostBind, Lookup, Merged, Place, Step, Upper, What, own_nodes};
use crate::policy::{BindAsk, DeviceAsk, FileKind, Origin, shown};
use crate::report::{Answer, human_size};

/// What an answer says of this machine's file of the same name.
const UNSEEN: &str = "the cell sees no file of this machine";

/// Answers what the absolute path `path` is inside; `write`: whether it can be written. `image`: the
/// cell's, if it has one.
///
/// # Errors
/// As the decision.
pub(super) fn inside(
    cell: &Cell,
    image: Option<&Merged<'_>>,
    path: &str,
    write: bool,
    answer: &mut Answer,
) -> Result<()> {
    let Some(mut place) = cell.plan.place(path) else {
        return outside(cell, path, write, answer);
    };
    let mut at = path.to_owned();
    if place.is_root()
        && let Some(image) = image
    {
        let mounted = |at: &str| cell.plan.place(at).is_some_and(|place| !place.is_root());
        let is_folder = |path: &str| match image.lookup(path, &mounted) {
            Lookup::Found(found) => found.kind == "folder",
            _ => false,
        };
        match image.lookup(path, &mounted) {
            Lookup::Found(found) => return of_image(cell, path, write, place, &found, answer),
            Lookup::Mounted(to) => {
                answer.facts.push(("leads", shown(&to)));
                at = to;
                place = cell.plan.place(&at).unwrap_or(place);
            }
            Lookup::Missing(_) if write && is_folder(parent_of(path)) => {
                answer.allowed = true;
                answer.origin = place.by.origin.clone();
                answer.answer = format!("{} is not in the image, and can be made", shown(path));
                return writing(cell, path, place, answer);
            }
            other => {
                answer.rule = format!("the image's {} layers", image.layers());
                answer.origin = place.by.origin.clone();
                answer.answer = format!("{} is not in the image", shown(path));
                answer.why = match other {
                    Lookup::NoFolder(at) => format!("{} is no folder", shown(&at)),
                    Lookup::NeverMade(what) => {
                        format!("it is a {what} of the image, and those are never made")
                    }
                    Lookup::Circle => "its links lead round in a circle".to_owned(),
                    Lookup::Missing(at) => format!("no layer has {}", shown(&at)),
                    Lookup::Found(_) | Lookup::Mounted(_) => String::new(),
                };
                return unseen(cell, path, write, answer, true);
            }
        }
    }
    answer.origin = place.by.origin.clone();
    of_plan(cell, &at, write, place, answer)
}

/// What the plan makes of a path. First whether it is had, then whether it can be written.
fn of_plan(
    cell: &Cell,
    path: &str,
    write: bool,
    place: Place<'_>,
    answer: &mut Answer,
) -> Result<()> {
    let name = shown(path);
    let (had, is, why): (bool, String, &str) = match place.what {
        What::Root { .. } => (true, format!("{name} is the image's own"), ""),
        What::Written => (
            true,
            format!("{name} is written by lazaret"),
            "every container has it",
        ),
        What::Made => (true, format!("{name} is made by lazaret"), ""),
        What::Node(node) => (
            true,
            format!(
                "{name} is the cell's own node, {}:{}",
                node.major, node.minor
            ),
            "what ordinary programs need of /dev",
        ),
        What::Dev => (
            true,
            format!("{name} is the cell's own"),
            "its /dev is small and private",
        ),
        What::NoDevice => return no_device(cell, path, answer),
        What::Device(device) => (
            true,
            format!("{name} is this machine's {}", shown(&device.source)),
            "it was asked for, or is given, and a rule allows it",
        ),
        What::Shared(shared) if shared.read_only => {
            answer.rule = format!("an empty folder on {}", shared.path);
            answer.answer = match path == shared.path {
                true => format!("{name} is empty"),
                false => format!("{name} is not there: {} is empty", shared.path),
            };
            answer.why = "what lies there outside tells of the machine and acts on it".to_owned();
            answer.cure = Some(Vec::new());
            return Ok(());
        }
        What::Shared(_) => (true, format!("{name} is the cell's own, in memory"), ""),
        What::Tmpfs(tmpfs) => {
            let size = human_size(tmpfs.size);
            let text = format!("{size}, mode {:o}", tmpfs.mode);
            answer.facts.push(("size", text));
            (
                true,
                format!("{name} is in a tmpfs on {}", shown(&tmpfs.path)),
                "",
            )
        }
        What::Bind(bind) => {
            answer.rule = written(bind);
            let text = format!(
                "{name} is this machine's, mounted from {}",
                shown(&bind.source)
            );
            (true, text, "it was asked for and a rule allows it")
        }
        What::Program(copy) => (
            true,
            format!("{name} is a copy of this machine's {}", shown(&copy.source)),
            "what was hashed is what runs",
        ),
        What::Hidden => (
            false,
            format!("{name} is hidden: something empty stands there"),
            "it tells of the machine or acts on it",
        ),
        What::ReadOnlyProc => (
            true,
            format!("{name} may be read"),
            "settings of the kernel",
        ),
        What::Proc => (
            true,
            format!("{name} is of the cell's own /proc"),
            "it shows the cell's processes alone",
        ),
    };
    answer.allowed = had;
    answer.answer = is;
    if answer.why.is_empty() {
        answer.why = why.to_owned();
    }
    if !had {
        answer.cure = Some(Vec::new());
        return Ok(());
    }
    if write {
        writing(cell, path, place, answer)?;
    }
    match place.what {
        What::Root { upper } => {
            answer.facts.push(("writes", kept(upper).to_owned()));
            unseen(cell, path, write, answer, false)
        }
        _ => Ok(()),
    }
}

/// Where what is written goes.
fn kept(upper: &Upper) -> &'static str {
    match upper {
        // A run without --rm has its folder once there is a container.
        Upper::Memory => "over the layers, not into them",
        Upper::Disk { .. } => "over the layers, in the container's folder",
    }
}

/// Whether what is there can be written, and what would let it be.
fn writing(cell: &Cell, path: &str, place: Place<'_>, answer: &mut Answer) -> Result<()> {
    let closed = |answer: &mut Answer, why: &str, cure: Vec<String>| {
        answer.allowed = false;
        answer.answer = format!("{} cannot be written", shown(path));
        answer.why = why.to_owned();
        answer.cure = Some(cure);
    };
    match place.what {
        What::ReadOnlyProc => closed(answer, "settings of the kernel are this machine's", vec![]),
        What::Tmpfs(tmpfs) if tmpfs.read_only => {
            let cure = vec![format!(
                "leave ro out where {} is mounted",
                shown(&tmpfs.path)
            )];
            closed(answer, "the tmpfs is read-only", cure);
        }
        What::Program(_) => closed(answer, "nobody writes into what runs", vec![]),
        What::Bind(bind) if bind.read_only => {
            closed(answer, "the mount is read-only", vec![]);
            let at = cell.request.binds.iter();
            let number = at.enumerate().find(|(n, _)| *n == bind.number);
            let asked = cell.ask(Beside::Nothing, |request| {
                if let Some(bind) = request.binds.get_mut(bind.number) {
                    bind.read_only = false;
                }
            })?;
            let source = number.map_or(bind.source.as_str(), |(_, ask)| ask.source.as_str());
            let flag = format!("-v {}:{}:rw", shown(source), shown(&bind.path));
            match asked.refused {
                Some(reason) => answer.refused(&reason, &flag),
                None => answer.cure = Some(vec![flag]),
            }
        }
        _ => {
            if let Some(planned) = place.read_only {
                closed(
                    answer,
                    "the root is read-only",
                    vec![format!(
                        "leave --read-only out, or --tmpfs {}",
                        tmpfs_for(path)
                    )],
                );
                answer.rule = "--read-only".to_owned();
                answer.origin = planned.origin.clone();
            } else {
                let text = "owner and permission bits decide who may".to_owned();
                answer.facts.push(("note", text));
            }
        }
    }
    Ok(())
}

/// The folder that a path lies in.
pub(super) fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// Where a tmpfs would let a path be written: the root is no place for one.
fn tmpfs_for(path: &str) -> String {
    match parent_of(path) {
        "/" => shown(path),
        folder => shown(folder),
    }
}

/// A name below /dev where nothing is.
fn no_device(cell: &Cell, path: &str, answer: &mut Answer) -> Result<()> {
    answer.answer = format!("{} is not there", shown(path));
    answer.rule = "no rule gives it".to_owned();
    answer.why = "its /dev is small and private".to_owned();
    let flag = format!("--device {}", shown(path));
    let asked = cell.ask(Beside::Device, |request| {
        let device = DeviceAsk {
            source: path.to_owned(),
            target: path.to_owned(),
        };
        request.devices.push(device);
    });
    let asked = match asked {
        Ok(asked) => asked,
        // A name that every cell's own /dev has for itself, where it is given.
        Err(error) if error.kind == Kind::Usage => {
            let name = path.strip_prefix("/dev/").unwrap_or(path);
            let line = format!("devices = [{name:?}]");
            (answer.why, answer.cure) = match own_nodes().any(|own| own == name) {
                true => (
                    "a cell has of its own what a rule gives".to_owned(),
                    Some(cell.policy.give_cure(&cell.request.image, &line)),
                ),
                false => (error.cause, Some(Vec::new())),
            };
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if !asked.there {
        let text = "this machine has none, or it cannot be looked at";
        answer.facts.push(("host", text.to_owned()));
    }
    match asked.refused {
        Some(reason) => answer.refused(&reason, &flag),
        None => answer.cure = Some(vec![flag]),
    }
    Ok(())
}

/// A file of the image's.
fn of_image(
    cell: &Cell,
    path: &str,
    write: bool,
    place: Place<'_>,
    found: &Found,
    answer: &mut Answer,
) -> Result<()> {
    answer.allowed = true;
    answer.answer = format!("{} is a {} of the image", shown(path), found.kind);
    answer.origin = place.by.origin.clone();
    let layers = cell.rootfs.as_ref().map_or(0, |rootfs| rootfs.lowers.len());
    answer.rule = format!("layer {} of {layers}", layers - found.layer.min(layers));
    for (link, to) in found.links.iter().take(4) {
        let text = format!("{} to {}", shown(link), shown(to));
        answer.facts.push(("link", text));
    }
    if found.path != path {
        answer.facts.push(("leads", shown(&found.path)));
    }
    let mode = format!("{:o}, owner {}:{}", found.disk_mode, found.uid, found.gid);
    answer.facts.push(("mode", mode));
    if let Some(size) = found.size {
        answer.facts.push(("size", human_size(size)));
    }
    if found.mode != found.disk_mode {
        let text = format!(
            "the image says {:o}: setuid and setgid are stripped",
            found.mode
        );
        answer.facts.push(("setuid", text));
    }
    if found.file_caps {
        let text = "the image gives it some, which are stripped".to_owned();
        answer.facts.push(("caps", text));
    }
    if write {
        writing(cell, &found.path, place, answer)?;
    }
    unseen(cell, path, write, answer, false)
}

/// Says of this machine's file of the same name that it is not seen, and what a flag would get; as the
/// cure where `cure`.
fn unseen(cell: &Cell, path: &str, write: bool, answer: &mut Answer, cure: bool) -> Result<()> {
    let mut other = answer.clone();
    hand_in(cell, path, FileKind::File, write, &mut other)?;
    let flag = format!("-v {}", shown(path));
    let would = match other.cure.as_deref() {
        Some([one]) if one.starts_with("-v ") => format!("{flag} is allowed"),
        _ => format!("{flag} is refused ({})", other.origin),
    };
    answer.facts.push(("host", format!("{UNSEEN}; {would}")));
    if cure && other.facts.iter().any(|(label, _)| *label == "there") {
        let text = format!("put one of yours there: -v FROM:{}", shown(path));
        answer.cure = Some(vec![text]);
    } else if cure {
        answer.cure = other.cure;
        // The rule that the cure is about.
        if answer.cure.as_ref().is_some_and(|lines| lines.len() != 1) {
            (answer.rule, answer.origin) = (other.rule, other.origin);
        }
    }
    Ok(())
}

/// What of this machine is mounted where a path of it is seen, and by whom.
pub(super) fn mounted_from<'a>(cell: &'a Cell, path: &str) -> Option<(&'a HostBind, &'a Origin)> {
    let mut steps = cell.plan.steps().iter();
    steps.find_map(|planned| match &planned.step {
        Step::MountBind(bind) => {
            let rest = path.strip_prefix(bind.source.as_str())?;
            let is_in = rest.is_empty() || rest.starts_with('/');
            is_in.then_some((bind, &planned.origin))
        }
        _ => None,
    })
}

/// Answers whether a path of this machine, as written, is seen inside.
///
/// # Errors
/// As the decision.
pub(super) fn outside(cell: &Cell, path: &str, write: bool, answer: &mut Answer) -> Result<()> {
    let whole = cell.real(path)?;
    if let Some((bind, origin)) = mounted_from(cell, &whole) {
        let rest = whole.strip_prefix(bind.source.as_str()).unwrap_or_default();
        let at = format!("{}{rest}", bind.path);
        answer.origin = origin.clone();
        answer.rule = written(bind);
        answer.allowed = true;
        answer.answer = format!("{} is seen as {}", shown(path), shown(&at));
        answer.why = "it was asked for and a rule allows it".to_owned();
        if let (true, Some(place)) = (write, cell.plan.place(&at)) {
            writing(cell, &at, place, answer)?;
        }
        return Ok(());
    }
    answer.answer = format!("{UNSEEN}, and {} is one", shown(path));
    answer.origin = Origin::Always("no host file is reachable");
    answer.why = "its mounts are its own".to_owned();
    hand_in(cell, path, FileKind::Folder, write, answer)
}

/// The rule on handing a path of this machine in, and what it takes. `kind`: what it is taken for
/// where it is not there.
pub(super) fn hand_in(
    cell: &Cell,
    path: &str,
    kind: FileKind,
    write: bool,
    answer: &mut Answer,
) -> Result<()> {
    let whole = cell.real(path)?;
    let target = match whole.as_str() {
        // Where every path could be.
        "/" => "/mnt".to_owned(),
        whole => whole.to_owned(),
    };
    let mode = if write { "rw" } else { "ro" };
    let flag = format!("-v {}:{}:{mode}", shown(path), shown(&target));
    let asked = cell.ask(Beside::Bind(kind), |request| {
        request.binds.push(BindAsk {
            flag: "-v",
            source: cell.expanded(path),
            subpath: None,
            target,
            read_only: !write,
            no_exec: false,
        });
    })?;
    if !asked.there {
        let text = "this machine has none, or it cannot be looked at; judged by its name";
        answer.facts.push(("there", text.to_owned()));
    }
    match asked.refused {
        Some(reason) => answer.refused(&reason, &flag),
        None => answer.cure = Some(vec![flag]),
    }
    Ok(())
}

/// A mount as a flag.
fn written(bind: &HostBind) -> String {
    let mode = if bind.read_only { "ro" } else { "rw" };
    format!("-v {}:{}:{mode}", shown(&bind.source), shown(&bind.path))
}
