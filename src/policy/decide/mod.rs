//! The second decision: everything a cell gets, each with its origin, or all reasons why not.

mod facts;
mod given;
mod limits;
mod properties;
mod resources;
mod verify;

pub use resources::wants_cgroup;

use crate::error::Result;
use crate::policy::caps::narrowed;
use crate::policy::command;
use crate::policy::compose::Policy;
use crate::policy::devices;
use crate::policy::facts::{HostFacts, ImageFacts};
use crate::policy::grants::{
    Downgrade, Granted, Grants, IdMapKind, Network, Origin, Reason, ToolRoot, Verdict,
};
use crate::policy::mounts;
use crate::policy::parse::Key;
use crate::policy::request::Request;
use crate::policy::stop::stop_signal;
use crate::policy::subject::Subject;
use crate::policy::tool;
use crate::policy::userns;
use crate::policy::words;

/// What a person should know of binds, and of what would run as them instead.
fn strangers(
    binds: &[Granted<super::grants::BindMount>],
    request: &Request,
    user: &str,
    host: &HostFacts,
) -> Vec<String> {
    let number = user.split(':').next().unwrap_or_default().parse();
    let cure = match request.keep_id {
        // A name is looked up inside.
        true if number.is_ok_and(|uid: u32| uid != host.uid) => {
            Some("without -u it would run as you")
        }
        true => return Vec::new(),
        // Root outside is nobody inside, whatever is asked for.
        false if host.root => None,
        false if request.tool.is_some() => Some("a user with subordinate ids runs tools as itself"),
        false => Some("--userns keep-id, where a rule allows it, would run as you"),
    };
    mounts::strangers(binds, host, cure)
}

/// Decides on a whole request. `Deny` carries all reasons at once. An error is a request that means
/// nothing (no command, a relative folder), a policy that gives nothing, or one that uses what is
/// not built yet.
pub fn decide(
    policy: &Policy,
    request: &Request,
    image: &ImageFacts,
    host: &HostFacts,
) -> Result<Verdict> {
    let subject = Subject::of(&request.image);
    let policy = &policy.about(&subject);
    let as_caller;
    let request = match &request.user {
        None if request.keep_id => {
            let user = Some(format!("{}:{}", host.uid, host.gid));
            as_caller = Request {
                user,
                ..request.clone()
            };
            &as_caller
        }
        _ => request,
    };
    let mut judge = Judge {
        policy,
        subject: &subject,
        host,
        reasons: Vec::new(),
        downgrades: Vec::new(),
    };

    let user = command::user(request, image)?;
    judge.facts(image, &user);
    let ulimits = judge.ulimits(request);
    let limits = judge.limits(request, &ulimits)?;
    let id_map = judge.id_map(request, &user);
    let given = judge.given()?;
    let network = judge.network(request, given.network);
    judge.properties(request, network.value, limits.resources.memory.is_some());
    for (name, _) in &request.env {
        judge.ask(Key::Env, name, || format!("-e {}", words::shown(name)));
    }
    let tmpfs = judge.tmpfs(request, &limits)?;
    let binds = mounts::binds(policy, &subject, request, host, &mut judge.reasons)?;
    mounts::apart(&binds, &tmpfs)?;
    let host_devices = devices::devices(policy, &subject, request, host, &mut judge.reasons)?;
    let mut notes = Vec::new();
    let caps = judge.caps(request, given.caps, &user, id_map.value, &mut notes);
    let narrowed = narrowed(request, &given.syscalls, &caps, host, &mut notes)?;
    notes.extend(strangers(&binds, request, &user.value, host));
    notes.extend(devices::strangers(&host_devices, host));
    let verify = judge.verify(request);
    let tool = judge.tool(request);
    let mut env = command::env(request, image, &given.env)?;
    judge.own_env(&mut env, &mut notes);
    let argv = command::argv(request, image)?;
    let workdir = command::workdir(request, image)?;
    let hostname = command::hostname(request)?;
    let flag = |on: bool, name: &'static str, otherwise: &'static str| Granted {
        value: on,
        origin: if on {
            Origin::Flag(name)
        } else {
            Origin::Always(otherwise)
        },
    };
    let stop_signal = stop_signal(request, &image.config, &mut notes);
    let Judge {
        reasons,
        downgrades,
        ..
    } = judge;
    if !reasons.is_empty() {
        return Ok(Verdict::Deny(reasons));
    }
    Ok(Verdict::Allow(Box::new(Grants {
        id_map,
        network,
        caps,
        syscalls: given.syscalls,
        narrowed,
        devices: given.devices,
        env,
        argv,
        workdir,
        user,
        hostname,
        read_only: flag(
            request.read_only,
            "--read-only",
            "a root that can be written",
        ),
        ephemeral: match &tool {
            None => flag(request.rm, "--rm", "what is written is kept until rm"),
            Some(_) => Granted {
                value: true,
                origin: Origin::Always("a tool leaves nothing but what --rw names"),
            },
        },
        tool,
        tmp: limits.tmp,
        tmpfs,
        binds,
        host_devices,
        pids: limits.pids,
        ulimits,
        timeout: limits.timeout,
        resources: limits.resources,
        verify,
        explain: match request.explain {
            Some(value) => Some(Granted {
                value,
                origin: Origin::Flag("--explain"),
            }),
            None => given.explain,
        },
        tty: request.tty,
        interactive: request.interactive,
        stop_signal,
        stop_timeout: request.stop_timeout.map(|value| Granted {
            value,
            origin: Origin::Flag("--stop-timeout"),
        }),
        downgrades,
        notes,
    })))
}

pub(super) struct Judge<'a> {
    pub(super) policy: &'a Policy,
    pub(super) subject: &'a Subject,
    pub(super) host: &'a HostFacts,
    pub(super) reasons: Vec<Reason>,
    pub(super) downgrades: Vec<Downgrade>,
}

impl Judge<'_> {
    fn tool(&mut self, request: &Request) -> Option<Granted<ToolRoot>> {
        let ask = request.tool.as_ref()?;
        match tool::trusted(self.policy, &request.image, ask.sha256.is_some()) {
            Ok(origin) => Some(tool::root(ask, origin)),
            Err(reason) => {
                self.reasons.push(reason);
                None
            }
        }
    }

    fn id_map(&mut self, request: &Request, user: &Granted<String>) -> Granted<IdMapKind> {
        if request.keep_id {
            let origin = match userns::keep_id(self.policy, &request.image, self.host) {
                Ok(origin) => origin,
                Err(reason) => {
                    self.reasons.push(reason);
                    Origin::Flag("--userns")
                }
            };
            self.downgrades.push(Downgrade {
                property: "no process inside is the caller".to_owned(),
                instead: format!(
                    "{}: quotas are shared, and so is what only the caller may read, should a \
                     path ever leak",
                    match request.tool {
                        None => "--userns keep-id",
                        Some(_) => "a tool runs as you",
                    }
                ),
                hint: match request.tool {
                    None => "leave --userns keep-id out",
                    Some(_) => "a rule that denies it userns = [\"keep-id\"] has it run as nobody",
                }
                .to_owned(),
            });
            return Granted {
                value: IdMapKind::Keep,
                origin,
            };
        }
        if self.host.subids.is_some() {
            return Granted {
                value: IdMapKind::Range,
                origin: Origin::Always("no id inside is the caller"),
            };
        }
        if !command::is_root(&user.value) {
            let asked = match &user.origin {
                Origin::Flag(flag) => format!("{flag} {}", words::shown(&user.value)),
                _ => format!("an image with USER {}", words::shown(&user.value)),
            };
            self.reasons.push(Reason {
                asked,
                rule: "one id inside, because no subordinate ids are usable".to_owned(),
                origin: Origin::Always("ids inside are never more than the caller's own"),
                why: "the only user inside is root, which is the caller outside".to_owned(),
                cure: vec![
                    self.host.no_subids.clone(),
                    "or run as the one user there is: -u 0".to_owned(),
                ],
            });
        }
        Granted {
            value: IdMapKind::Single,
            origin: Origin::Always("no subordinate ids are usable here"),
        }
    }

    /// The network that is asked for, else the given one, which was asked for when it was given.
    fn network(&mut self, request: &Request, given: Granted<Network>) -> Granted<Network> {
        let Some(asked) = request.network else {
            return given;
        };
        self.ask(Key::Network, asked.name(), || {
            format!("--network {}", asked.name())
        });
        Granted {
            value: asked,
            origin: Origin::Flag("--network"),
        }
    }

    /// Leaves out what the image sets and a rule denies: nobody gets that, and the image's author
    /// asks for nothing. Variables that no rule denies are the image's own.
    fn own_env(&self, env: &mut Vec<Granted<(String, String)>>, notes: &mut Vec<String>) {
        let mut left_out: Vec<(String, Origin)> = Vec::new();
        env.retain(|variable| {
            let name = &variable.value.0;
            let denial = match variable.origin {
                Origin::Image(_) => self.policy.denial(self.subject, Key::Env, name),
                _ => None,
            };
            let stays = denial.is_none();
            left_out.extend(denial.map(|at| (words::shown(name), at)));
            stays
        });
        if let Some((name, at)) = left_out.first() {
            let others = match left_out.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            notes.push(format!(
                "the image's variable {name}{others} is left out: {at} denies it"
            ));
        }
    }

    /// Asks every level; a refusal is noted.
    pub(super) fn ask(&mut self, key: Key, value: &str, asked: impl FnOnce() -> String) -> bool {
        match self.policy.ask(self.subject, key, value) {
            Ok(_) => true,
            Err(refusal) => {
                self.reasons.push(Reason {
                    asked: asked(),
                    ..refusal
                });
                false
            }
        }
    }
}
