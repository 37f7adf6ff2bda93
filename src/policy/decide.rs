//! The second decision: everything a cell gets, each with its origin, or all reasons why not.

use super::command;
use super::compose::{self, Policy, Subject, Whose};
use super::devices;
use super::facts::{HostFacts, ImageFacts};
use super::grants::{
    Downgrade, Granted, Grants, IdMapKind, Network, Origin, Reason, TmpfsMount, Verdict, VerifyMode,
};
use super::limit::{Limit, Unit};
use super::mounts;
use super::parse::{Entry, Key, NoneWord};
use super::property::{PROPERTIES, Property, Strength};
use super::request::Request;
use super::ulimits::Ulimit;
use super::userns;
use super::words;
use crate::error::{Error, Kind, Result};
use crate::image::quote::listed;
use std::time::Duration;

/// What of a policy is built: other values are refused by name.
const SYSCALLS: &[&str] = &["default"];

/// More tmpfs mounts than anybody needs.
const MAX_TMPFS: usize = 64;

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

    judge.facts(image);
    let ulimits = judge.ulimits(request);
    let limits = judge.limits(request, &ulimits)?;
    judge.properties(request, limits.memory.is_some());
    let user = command::user(request, image)?;
    let id_map = judge.id_map(request, &user);
    let given = judge.given()?;
    for (name, _) in &request.env {
        judge.ask(Key::Env, name, || format!("-e {}", words::shown(name)));
    }
    let tmpfs = judge.tmpfs(request, &limits)?;
    let binds = mounts::binds(policy, &subject, request, host, &mut judge.reasons)?;
    mounts::apart(&binds, &tmpfs)?;
    let host_devices = devices::devices(policy, &subject, request, host, &mut judge.reasons)?;
    let mut notes = Vec::new();
    if !request.keep_id {
        notes = mounts::strangers(&binds, host);
    }
    notes.extend(devices::strangers(&host_devices, host));
    let verify = judge.verify(request);
    let env = command::env(request, image, &given.env)?;
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
        network: given.network,
        caps: given.caps,
        syscalls: given.syscalls,
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
        ephemeral: flag(request.rm, "--rm", "what is written is kept until rm"),
        tmp: limits.tmp,
        tmpfs,
        binds,
        host_devices,
        pids: limits.pids,
        ulimits,
        timeout: limits.timeout,
        verify,
        tty: request.tty,
        interactive: request.interactive,
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

/// What is had unasked, clipped to what every level allows.
struct Given {
    caps: Granted<Vec<String>>,
    syscalls: Granted<String>,
    devices: Granted<Vec<String>>,
    network: Granted<Network>,
    env: Vec<(String, Origin)>,
}

struct Limits {
    pids: Granted<u64>,
    tmp: Granted<u64>,
    memory: Option<Granted<u64>>,
    timeout: Option<Granted<Duration>>,
}

impl Judge<'_> {
    /// What `require facts` says of the unpacked image.
    fn facts(&mut self, image: &ImageFacts) {
        for level in &self.policy.levels {
            for rule in level.require(self.subject) {
                let facts = &rule.facts;
                let at = rule.head.at(rule.facts_line);
                let cure = self.policy.require_cure(level.whose, &at);
                let mut refuse = |asked: String, rule_text: String| {
                    self.reasons.push(Reason {
                        asked,
                        rule: format!("require facts = {{ {rule_text} }}"),
                        origin: at.clone(),
                        why: rule.head.reason.clone(),
                        cure: cure.clone(),
                    });
                };
                let size = facts.max_size.as_deref();
                for (key, what, is, most, written) in [
                    ("max_layers", "layers", image.layers, facts.max_layers, None),
                    ("max_files", "files", image.files, facts.max_files, None),
                    (
                        "max_size",
                        "bytes",
                        image.size,
                        size.and_then(|s| words::parse_size(s, 0)),
                        size,
                    ),
                ] {
                    if let Some(most) = most
                        && is > most
                    {
                        let written = written.map_or(most.to_string(), words::toml);
                        refuse(
                            format!("an image with {is} {what}"),
                            format!("{key} = {written}"),
                        );
                    }
                }
                for (key, what, paths, word) in [
                    ("setuid", "setuid files", &image.setuid, facts.setuid),
                    (
                        "file_caps",
                        "files with capabilities",
                        &image.file_caps,
                        facts.file_caps,
                    ),
                    (
                        "special",
                        "devices, fifos or sockets",
                        &image.special,
                        facts.special,
                    ),
                ] {
                    if word == Some(NoneWord::None) && !paths.is_empty() {
                        let shown = listed(paths.iter().map(String::as_str), 3);
                        refuse(
                            format!("an image with {what}: {shown}"),
                            format!("{key} = \"none\""),
                        );
                    }
                }
            }
        }
    }

    /// Refuses where a needed property has no holder; tells where the best holder is weak.
    fn properties(&mut self, request: &Request, memory: bool) {
        for property in PROPERTIES {
            let holders = property.holders(self.host);
            let best = holders.iter().max_by_key(|holder| holder.strength);
            match best {
                None if property.needed => self.reasons.push(unheld(property, self.host)),
                // Nobody was promised a bound that the policy does not give.
                None if property.id == "memory" && !memory => {}
                None => self.downgrades.push(Downgrade {
                    property: property.promise.to_owned(),
                    instead: "nothing holds that here".to_owned(),
                    hint: property.remedy(self.host),
                }),
                Some(holder) if holder.strength == Strength::Weak => {
                    self.downgrades.push(Downgrade {
                        property: property.promise.to_owned(),
                        instead: holder.by.clone(),
                        hint: property.remedy(self.host),
                    });
                }
                Some(_) if property.id == "disk" && !request.rm && !request.read_only => {
                    self.downgrades.push(Downgrade {
                        property: property.promise.to_owned(),
                        instead: "what this run keeps is bounded by the disk alone".to_owned(),
                        hint: "--rm keeps it in memory, where a size is set".to_owned(),
                    });
                }
                Some(_) => {}
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
                instead: "--userns keep-id: quotas are shared, and so is what only the caller may \
                          read, should a path ever leak"
                    .to_owned(),
                hint: "leave --userns keep-id out".to_owned(),
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

    /// Asks every level; a refusal is noted.
    fn ask(&mut self, key: Key, value: &str, asked: impl FnOnce() -> String) -> bool {
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

    fn given(&mut self) -> Result<Given> {
        let mut caps: Option<Granted<Vec<String>>> = None;
        let mut nodes: Option<Granted<Vec<String>>> = None;
        let mut syscalls = None;
        let mut network = None;
        let mut env: Vec<(String, Origin)> = Vec::new();
        let policy = self.policy;
        for rule in policy
            .giver()
            .into_iter()
            .flat_map(|level| level.give(self.subject))
        {
            for Entry { key, values, line } in &rule.lists {
                let at = rule.head.at(*line);
                for value in values {
                    // The host's are asked for when they are looked at.
                    if *key == Key::Devices && devices::own(value).is_none() {
                        continue;
                    }
                    self.ask(*key, value, || {
                        format!("give {} {} ({at})", key.name(), words::toml(value))
                    });
                }
                let built =
                    |names: &[&str]| match values.iter().find(|v| !names.contains(&v.as_str())) {
                        None => Ok(()),
                        Some(other) => Err(Error::new(
                            Kind::Unsupported,
                            format!(
                                "{at}: {} {} is not built yet",
                                key.name(),
                                words::toml(other)
                            ),
                        )
                        .hint(format!("there is {}", names.join(", ")))),
                    };
                match key {
                    Key::Caps => join(&mut caps, values, &at),
                    Key::Devices => {
                        // The host's are mounted one by one.
                        let own: Vec<String> = values
                            .iter()
                            .filter_map(|value| devices::own(value).map(str::to_owned))
                            .collect();
                        join(&mut nodes, &own, &at);
                    }
                    Key::Syscalls => {
                        built(SYSCALLS)?;
                        syscalls = values.first().map(|v| Granted {
                            value: v.clone(),
                            origin: at,
                        });
                    }
                    Key::Network => {
                        built(&["none"])?;
                        network = Some(Granted {
                            value: Network::None,
                            origin: at,
                        });
                    }
                    Key::Env => {
                        env.retain(|(name, _)| !values.contains(name));
                        env.extend(values.iter().map(|name| (name.clone(), at.clone())));
                    }
                    Key::Mounts | Key::Targets | Key::Userns => {}
                }
            }
        }
        let missing = |what: &str| {
            Error::new(Kind::Policy, format!("no rule gives {what}")).hint(format!(
                "a rule of {} is about this image alone and nothing else gives it",
                policy.user_file
            ))
        };
        Ok(Given {
            caps: caps.ok_or_else(|| missing("caps"))?,
            syscalls: syscalls.ok_or_else(|| missing("syscalls"))?,
            devices: nodes.ok_or_else(|| missing("devices"))?,
            network: network.ok_or_else(|| missing("network"))?,
            env,
        })
    }

    fn limits(&mut self, request: &Request, ulimits: &[Granted<Ulimit>]) -> Result<Limits> {
        let missing =
            |what: &str| Error::new(Kind::Policy, format!("no rule gives limits = {{ {what} }}"));
        let pids = self.pids(request, ulimits).ok_or_else(|| missing("pids"))?;
        let tmp = self.given_limit(Limit::Tmp).ok_or_else(|| missing("tmp"))?;
        let memory = self.given_limit(Limit::Memory);
        let given = self.given_limit(Limit::Timeout);
        let timeout = self.timeout(request, given);
        for level in &self.policy.levels {
            for rule in level.require(self.subject) {
                for (limit, line) in &rule.limits {
                    let (held, cure) = match limit {
                        Limit::Pids => (true, ""),
                        Limit::Tmp => (
                            request.rm || request.read_only,
                            "--rm keeps what is written in memory, where a size is set",
                        ),
                        Limit::Memory => (false, "lazaret does not set memory limits yet"),
                        Limit::Timeout => (timeout.is_some(), "--timeout sets one"),
                        other => (
                            ulimits.iter().any(|u| u.value.which.limit() == *other),
                            "--ulimit sets one",
                        ),
                    };
                    if !held {
                        self.reasons.push(Reason {
                            asked: "a run without that limit".to_owned(),
                            rule: format!("require limits = [{}]", words::toml(limit.name())),
                            origin: rule.head.at(*line),
                            why: rule.head.reason.clone(),
                            cure: vec![cure.to_owned()],
                        });
                    }
                }
            }
        }
        Ok(Limits {
            pids,
            tmp,
            memory,
            timeout,
        })
    }

    /// What the user's level gives, or less where a level outside it says less.
    pub(super) fn given_limit(&self, limit: Limit) -> Option<Granted<u64>> {
        let giver = self.policy.giver()?;
        let rules = giver.give(self.subject);
        let entries = rules.flat_map(|rule| rule.limits.iter().map(move |entry| (rule, entry)));
        // The last one is the file's own and not what it extends.
        let (rule, entry) = entries.filter(|(_, entry)| entry.key == limit).last()?;
        let mut granted = Granted {
            value: compose::amount(limit, entry, self.host.memory)?,
            origin: rule.head.at(entry.line),
        };
        for level in self
            .policy
            .levels
            .iter()
            .filter(|level| level.whose != Whose::User)
        {
            if let Some((most, rule, entry)) = level.most(self.subject, limit, self.host.memory)
                && most < granted.value
            {
                granted = Granted {
                    value: most,
                    origin: rule.head.at(entry.line),
                };
            }
        }
        Some(granted)
    }

    /// The flag, which may ask for less than is given and for no more than is allowed.
    fn timeout(
        &mut self,
        request: &Request,
        given: Option<Granted<u64>>,
    ) -> Option<Granted<Duration>> {
        let given = given.map(|g| Granted {
            value: Duration::from_secs(g.value),
            origin: g.origin,
        });
        let Some(asked) = request.timeout else {
            return given;
        };
        let whole = asked
            .as_secs()
            .saturating_add(u64::from(asked.subsec_nanos() > 0));
        let text = format!("--timeout {}s", asked.as_secs_f64());
        self.at_most(Limit::Timeout, whole, &text, &format!("{whole}s"));
        Some(Granted {
            value: asked,
            origin: Origin::Flag("--timeout"),
        })
    }

    /// Refuses more of a limit than a level allows.
    pub(super) fn at_most(&mut self, limit: Limit, value: u64, asked: &str, written: &str) {
        for level in &self.policy.levels {
            let Some((most, rule, entry)) = level.most(self.subject, limit, self.host.memory)
            else {
                continue;
            };
            if value > most {
                let origin = rule.head.at(entry.line);
                let written = match limit.unit() {
                    Unit::Pieces => written.to_owned(),
                    _ => words::toml(written),
                };
                let snippet = format!("limits = {{ {} = {written} }}", limit.name());
                self.reasons.push(Reason {
                    asked: asked.to_owned(),
                    rule: compose::written_limit(rule, entry),
                    why: rule.head.reason.clone(),
                    cure: match level.whose {
                        Whose::BuiltIn => {
                            vec![format!("{} is the most there is here", amount(limit, most))]
                        }
                        whose => self.policy.cure(whose, self.subject, &snippet, &origin),
                    },
                    origin,
                });
                return;
            }
        }
    }

    fn tmpfs(&mut self, request: &Request, limits: &Limits) -> Result<Vec<Granted<TmpfsMount>>> {
        if request.tmpfs.len() > MAX_TMPFS {
            return Err(Error::new(
                Kind::Limit,
                format!("more than {MAX_TMPFS} --tmpfs"),
            ));
        }
        let mut granted: Vec<Granted<TmpfsMount>> = Vec::new();
        let mut sum = 0u64;
        for ask in &request.tmpfs {
            let text = format!("{} {}", ask.flag, words::shown(&ask.path));
            let path = mounts::target(&ask.path).ok_or_else(|| {
                let cause = format!("{text}: not an absolute path without \"..\"");
                Error::new(Kind::Usage, cause)
            })?;
            self.ask(Key::Mounts, "tmpfs", || text.clone());
            self.ask(Key::Targets, &path, || text.clone());
            let size = ask.size.unwrap_or(limits.tmp.value);
            if size == 0 {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{text}: a size of 0 means no limit to the kernel"),
                ));
            }
            sum = sum.saturating_add(size);
            granted.push(Granted {
                value: TmpfsMount {
                    path,
                    size,
                    mode: ask.mode.unwrap_or(0o1777),
                    read_only: ask.read_only,
                },
                origin: Origin::Flag(ask.flag),
            });
        }
        if sum > 0 {
            let text = format!("--tmpfs of {} together", words::size(sum));
            self.at_most(Limit::Tmp, sum, &text, &words::size(sum));
        }
        Ok(granted)
    }

    /// The strictest of all levels; a flag may ask for more and not for less.
    fn verify(&mut self, request: &Request) -> Granted<VerifyMode> {
        let mut verify = Granted {
            value: VerifyMode::Stat,
            origin: Origin::Always("nothing runs unverified"),
        };
        let mut strictest = None;
        for level in &self.policy.levels {
            for rule in level.require(self.subject) {
                if let Some((mode, line)) = rule.verify
                    && (strictest.is_none() || mode > verify.value)
                {
                    verify = Granted {
                        value: mode,
                        origin: rule.head.at(line),
                    };
                    strictest = Some((level.whose, rule));
                }
            }
        }
        match request.verify {
            Some(asked) if asked > verify.value => {
                verify = Granted {
                    value: asked,
                    origin: Origin::Flag("--verify"),
                };
            }
            Some(asked) if asked < verify.value => {
                if let Some((whose, rule)) = strictest {
                    self.reasons.push(Reason {
                        asked: "--verify stat".to_owned(),
                        rule: "require verify = \"full\"".to_owned(),
                        origin: verify.origin.clone(),
                        why: rule.head.reason.clone(),
                        cure: self.policy.require_cure(whose, &verify.origin),
                    });
                }
            }
            _ => {}
        }
        verify
    }
}

fn join(list: &mut Option<Granted<Vec<String>>>, values: &[String], at: &Origin) {
    let list = list.get_or_insert_with(|| Granted {
        value: Vec::new(),
        origin: at.clone(),
    });
    let new: Vec<String> = values
        .iter()
        .filter(|v| !list.value.contains(v))
        .cloned()
        .collect();
    if !new.is_empty() {
        list.value.extend(new);
        list.origin = at.clone();
    }
}

/// An amount of a limit as a person writes it.
fn amount(limit: Limit, amount: u64) -> String {
    match limit.unit() {
        Unit::Pieces => amount.to_string(),
        // Whole units, rounded down.
        Unit::Bytes if amount >= 1 << 20 => words::size(amount >> 20 << 20),
        Unit::Bytes => words::size(amount),
        Unit::Seconds => format!("{amount}s"),
    }
}

fn unheld(property: &Property, host: &HostFacts) -> Reason {
    let remedy = property.remedy(host);
    Reason {
        asked: format!("a cell where {}", property.promise),
        rule: format!("property {}: needed", property.id),
        origin: Origin::Always("a promise that nothing holds is a refusal"),
        why: "nothing on this machine holds that".to_owned(),
        cure: if remedy.is_empty() {
            Vec::new()
        } else {
            vec![remedy]
        },
    }
}
