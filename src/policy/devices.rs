//! Which devices of the host a cell gets beside its own.
//!
//! A value of `devices` is a path, or a name that stands for the one below /dev: `null` is
//! `/dev/null`. What is compared is the node's real path, which must be what the kernel calls that
//! device: a node of another's number is neither.

use super::compose::Policy;
use super::facts::{DeviceFacts, HostFacts};
use super::grants::{DeviceMount, Granted, Origin, Reason};
use super::mounts;
use super::parse::Key;
use super::pattern::matches;
use super::request::{DeviceAsk, Request};
use super::subject::Subject;
use super::words;
use crate::error::{Error, Kind, Result};
use crate::image::ImageName;

/// What a cell can have without any device of the host's: names below its own /dev.
const OWN: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// More devices than anybody needs.
const MAX_DEVICES: usize = 64;

/// What /dev of every cell holds, or what the names in it lead to.
const TAKEN: &[&str] = &[
    "/dev/console",
    "/dev/fd",
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

/// Whether a pattern of a rule speaks of a device, by its path or by its name below /dev. Part of
/// every launch, so nothing is copied where both are names.
pub(super) fn fits(pattern: &str, device: &str) -> bool {
    let is_path = |text: &str| text.starts_with('/');
    let name = match is_path(device) {
        true => device.strip_prefix("/dev/"),
        false => Some(device),
    };
    let of_names = match is_path(pattern) || pattern.starts_with("**") {
        true => pattern.strip_prefix("/dev/"),
        false => Some(pattern),
    };
    match (of_names, name) {
        (Some(pattern), Some(name)) => matches(pattern, name),
        (Some(_), None) => is_path(pattern) && matches(pattern, device),
        (None, _) if is_path(device) => matches(pattern, device),
        (None, _) => matches(pattern, &format!("/dev/{device}")),
    }
}

/// Whether a value of `devices` can mean anything: a path below /dev, or what lies there, as real
/// paths are written.
pub(super) fn is_pattern(text: &str) -> bool {
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    let below_dev = match first {
        "" => rest.starts_with("dev/") || rest.starts_with('*'),
        first => !matches!(first, "." | ".."),
    };
    let mut parts = text.split('/').skip(1);
    below_dev && parts.all(|part| !matches!(part, "" | "." | ".."))
}

/// The devices of the host that a run of `image` would have: those that are asked for, then those
/// that the policy gives unasked, once each. What is looked at outside is in this order.
pub fn wanted_devices(policy: &Policy, image: &ImageName, asked: &[DeviceAsk]) -> Vec<DeviceAsk> {
    let subject = Subject::of(image);
    let rules = policy.gives(&subject);
    let lists = rules.iter().flat_map(|(_, rule)| rule.lists.iter());
    let given = lists
        .filter(|entry| entry.key == Key::Devices)
        .flat_map(|entry| &entry.values)
        .filter(|value| own(value).is_none());
    let mut wanted = asked.to_vec();
    for value in given {
        let path = match value.starts_with('/') {
            true => value.clone(),
            false => format!("/dev/{value}"),
        };
        if !wanted.iter().any(|ask| ask.target == path) {
            wanted.push(DeviceAsk {
                source: path.clone(),
                target: path,
            });
        }
    }
    wanted
}

/// The name of one of the cell's own devices, given by name or path.
pub(super) fn own(value: &str) -> Option<&'static str> {
    let name = value.strip_prefix("/dev/").unwrap_or(value);
    OWN.iter().find(|own| **own == name).copied()
}

/// Decides on every device that is asked for or given. An error is a request that means nothing.
pub(super) fn devices(
    policy: &Policy,
    subject: &Subject,
    request: &Request,
    host: &HostFacts,
    reasons: &mut Vec<Reason>,
) -> Result<Vec<Granted<DeviceMount>>> {
    let wanted = wanted_devices(policy, &request.image, &request.devices);
    if wanted.len() > MAX_DEVICES {
        let cause = format!("more than {MAX_DEVICES} devices are asked for");
        return Err(Error::new(Kind::Limit, cause));
    }
    if wanted.len() != host.outside.devices.len() {
        return Err(Error::new(Kind::Usage, "a device was not looked at"));
    }
    let mut granted: Vec<Granted<DeviceMount>> = Vec::new();
    for (at, (ask, device)) in wanted.iter().zip(&host.outside.devices).enumerate() {
        let target = target(ask)?;
        let word = match at < request.devices.len() {
            true => "--device",
            false => "give devices",
        };
        let asked = match ask.source == target {
            true => format!("{word} {}", words::shown(&ask.source)),
            false => format!(
                "{word} {}:{}",
                words::shown(&ask.source),
                words::shown(&target)
            ),
        };
        let mut refuse = |reason: Reason| {
            reasons.push(Reason {
                asked: asked.clone(),
                ..reason
            });
        };
        let origin = match (
            policy.ask(subject, Key::Devices, &device.path),
            unfit(device),
        ) {
            // A cure that would end at the next refusal is none.
            (Err(reason), _) if reason.cure.is_empty() => {
                refuse(reason);
                continue;
            }
            (_, Some(reason)) => {
                refuse(reason);
                continue;
            }
            (Err(mut reason), None) => {
                if device.path.contains('*') {
                    reason.cure = Vec::new();
                }
                refuse(reason);
                continue;
            }
            (Ok(origin), None) => origin.unwrap_or(Origin::Flag("--device")),
        };
        if granted.iter().any(|have| have.value.target == target) {
            let cause = format!("{asked}: a device of that name is asked for twice");
            return Err(Error::new(Kind::Usage, cause));
        }
        granted.push(Granted {
            value: DeviceMount {
                source: device.path.clone(),
                target,
                major: device.major,
                minor: device.minor,
                number: request.binds.len() + at,
            },
            origin,
        });
    }
    Ok(granted)
}

/// Where the node is inside: below /dev, and not on what every cell has there.
fn target(ask: &DeviceAsk) -> Result<String> {
    let wrong = |why: &str| {
        let cause = format!("--device: {} {why}", words::shown(&ask.target));
        Err(Error::new(Kind::Usage, cause))
    };
    let Some(target) = mounts::target(&ask.target).filter(|path| path.starts_with("/dev/")) else {
        return wrong("is no path below /dev");
    };
    let is_taken = |taken: &&&str| {
        let rest = target.strip_prefix(**taken);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match TAKEN.iter().find(is_taken) {
        Some(_) => wrong("is every cell's own"),
        None => Ok(target),
    }
}

/// What no policy can allow: what is no character device, or not the one of its name.
fn unfit(device: &DeviceFacts) -> Option<Reason> {
    let path = words::shown(&device.path);
    let (rule, why) = if !device.character {
        (
            "a device is a character device",
            format!("{path} is none, and disks are not handed in"),
        )
    } else {
        let number = format!("{}:{}", device.major, device.minor);
        let why = match &device.name {
            Some(name) if format!("/dev/{name}") == device.path => return None,
            Some(name) => format!(
                "{path} has the number {number}, which is /dev/{}",
                words::shown(name)
            ),
            None => format!("{path} has the number {number}, and the kernel has no name for it"),
        };
        ("a device is the one of its name", why)
    };
    Some(Reason {
        asked: String::new(),
        rule: rule.to_owned(),
        origin: Origin::Always("a device is what its name says"),
        why,
        cure: Vec::new(),
    })
}

/// As for folders: what a person should know of a node that no id inside may open.
pub(super) fn strangers(devices: &[Granted<DeviceMount>], host: &HostFacts) -> Vec<String> {
    let Some((uids, gids)) = host.subids else {
        return Vec::new();
    };
    let closed = |device: &&DeviceFacts| {
        !uids.holds(device.uid) && !gids.holds(device.gid) && device.mode & 6 != 6
    };
    let of = |granted: &Granted<DeviceMount>| {
        let all = host.outside.devices.iter();
        all.clone()
            .find(|device| device.path == granted.value.source)
    };
    devices
        .iter()
        .filter(|granted| of(granted).as_ref().is_some_and(closed))
        .map(|granted| {
            format!(
                "{} cannot be opened for reading and writing inside: its mode ({:o}) keeps \
                 others out, which all ids inside are",
                words::shown(&granted.value.target),
                of(granted).map_or(0, |device| device.mode)
            )
        })
        .collect()
}
