//! What a cell has unasked.

use super::Judge;
use crate::error::{Error, Kind, Result};
use crate::policy::devices;
use crate::policy::grants::{Explain, Granted, Network, Origin, Reason};
use crate::policy::parse::{Entry, Key, Rule};
use crate::policy::words;

/// What of a policy is built: other values are refused by name.
const SYSCALLS: &[&str] = &["default"];

/// What is had unasked, clipped to what every level allows.
pub(super) struct Given {
    pub(super) caps: Granted<Vec<Granted<String>>>,
    pub(super) syscalls: Granted<String>,
    pub(super) devices: Granted<Vec<String>>,
    pub(super) network: Granted<Network>,
    pub(super) env: Vec<(String, Origin)>,
    pub(super) explain: Option<Granted<Explain>>,
}

impl Judge<'_> {
    pub(super) fn given(&mut self) -> Result<Given> {
        let mut caps: Option<Granted<Vec<Granted<String>>>> = None;
        let mut nodes: Option<Granted<Vec<String>>> = None;
        let mut syscalls = None;
        let mut network = None;
        let mut explain = None;
        let mut env: Vec<(String, Origin)> = Vec::new();
        let policy = self.policy;
        for (_, rule) in policy.gives(self.subject) {
            for Entry { key, values, line } in &rule.lists {
                let at = rule.head.at(*line);
                let mut values = values.clone();
                values.retain(|value| {
                    // The host's are asked for when they are looked at.
                    // Nothing is had by telling, or by not telling.
                    matches!(key, Key::Etc | Key::Explain)
                        || (*key == Key::Devices && devices::own(value).is_none())
                        || self.is_given(rule, *key, value, &at)
                });
                let values = &values;
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
                    Key::Caps => {
                        let each = values.iter().map(|value| Granted {
                            value: value.clone(),
                            origin: at.clone(),
                        });
                        join(&mut caps, each.collect(), &at);
                    }
                    Key::Devices => {
                        // The host's are mounted one by one.
                        let own: Vec<String> = values
                            .iter()
                            .filter_map(|value| devices::own(value).map(str::to_owned))
                            .collect();
                        join(&mut nodes, own, &at);
                    }
                    Key::Syscalls => {
                        built(SYSCALLS)?;
                        syscalls = values.first().map(|v| Granted {
                            value: v.clone(),
                            origin: at,
                        });
                    }
                    Key::Network => {
                        built(&["none", "host"])?;
                        // Less than none is not to be had, whoever denies it.
                        let given = values.first().and_then(|name| Network::of(name));
                        network = Some(Granted {
                            value: given.unwrap_or(Network::None),
                            origin: at,
                        });
                    }
                    Key::Env => {
                        env.retain(|(name, _)| !values.contains(name));
                        env.extend(values.iter().map(|name| (name.clone(), at.clone())));
                    }
                    Key::Explain => {
                        let said = values.first().and_then(|name| Explain::of(name));
                        explain = said.map(|value| Granted { value, origin: at });
                    }
                    Key::Mounts | Key::Targets | Key::Userns | Key::Etc => {}
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
            explain,
        })
    }
}

impl Judge<'_> {
    /// Whether what a rule gives is had. What the user's own rule gives and a level refuses is a
    /// refusal; what a built-in profile gives is clipped to what the other levels leave of it.
    fn is_given(&mut self, rule: &Rule, key: Key, value: &str, at: &Origin) -> bool {
        let Err(refusal) = self.policy.ask(self.subject, key, value) else {
            return true;
        };
        let by_builtin = matches!(refusal.origin, Origin::Rule { builtin: true, .. });
        if !rule.head.builtin || by_builtin {
            self.reasons.push(Reason {
                asked: format!("give {} {} ({at})", key.name(), words::toml(value)),
                ..refusal
            });
        }
        false
    }
}

fn join<T: PartialEq>(list: &mut Option<Granted<Vec<T>>>, values: Vec<T>, at: &Origin) {
    let list = list.get_or_insert_with(|| Granted {
        value: Vec::new(),
        origin: at.clone(),
    });
    let new: Vec<T> = values
        .into_iter()
        .filter(|v| !list.value.contains(v))
        .collect();
    if !new.is_empty() {
        list.value.extend(new);
        list.origin = at.clone();
    }
}
