//! Which devices of the host a cell gets beside its own.
//!
//! A value of `devices` is a path, or a name that stands for the one below /dev: `null` is
//! `/dev/null`. What is compared is the node's real path, which must be what the kernel calls that
//! device: a node of another's number is neither.

use super::compose::{Policy, Subject};
use super::facts::{DeviceFacts, HostFacts};
use super::grants::{DeviceMount, Granted, Origin, Reason};
use super::mounts;
use super::parse::Key;
use super::pattern::matches;
use super::request::{DeviceAsk, Request};
use super::words;
use crate::error::{Error, Kind, Result};

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

/// Whether a pattern of a rule speaks of a device, by its path or by its name below /dev.
pub(super) fn fits(pattern: &str, device: &str) -> bool {
    let whole = |name: &str| match name.starts_with('/') || name.starts_with("**") {
        true => name.to_owned(),
        false => format!("/dev/{name}"),
    };
    matches(&whole(pattern), &whole(device))
}

/// Decides on every device that is asked for. An error is a request that means nothing.
pub(super) fn devices(
    policy: &Policy,
    subject: &Subject,
    request: &Request,
    host: &HostFacts,
    reasons: &mut Vec<Reason>,
) -> Result<Vec<Granted<DeviceMount>>> {
    if request.devices.len() > MAX_DEVICES {
        let cause = format!("more than {MAX_DEVICES} devices are asked for");
        return Err(Error::new(Kind::Limit, cause));
    }
    if request.devices.len() != host.outside.devices.len() {
        return Err(Error::new(Kind::Usage, "a device was not looked at"));
    }
    let mut granted: Vec<Granted<DeviceMount>> = Vec::new();
    for (at, (ask, device)) in request
        .devices
        .iter()
        .zip(&host.outside.devices)
        .enumerate()
    {
        let target = target(ask)?;
        let asked = match ask.source == target {
            true => format!("--device {}", words::shown(&ask.source)),
            false => format!(
                "--device {}:{}",
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
        let origin = match policy.ask(subject, Key::Devices, &device.path) {
            Ok(origin) => origin.unwrap_or(Origin::Flag("--device")),
            Err(mut reason) => {
                if device.path.contains('*') {
                    reason.cure = Vec::new();
                }
                refuse(reason);
                continue;
            }
        };
        if let Some(reason) = unfit(device) {
            refuse(reason);
            continue;
        }
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
