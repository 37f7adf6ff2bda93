//! Limits: what is given, what may be asked for, what must be held.

use super::Judge;
use crate::error::{Error, Kind, Result};
use crate::policy::compose::{self, Whose};
use crate::policy::explain::{Answered, Heard, Said};
use crate::policy::grants::{Granted, Origin, Reason, Resources, TmpfsMount};
use crate::policy::limit::{Limit, Unit};
use crate::policy::mounts;
use crate::policy::parse::Key;
use crate::policy::request::Request;
use crate::policy::ulimits::Ulimit;
use crate::policy::words;
use std::cmp::Reverse;
use std::time::Duration;

/// More tmpfs mounts than anybody needs.
const MAX_TMPFS: usize = 64;

/// The limits of the cell.
pub(super) struct Limits {
    pub(super) pids: Granted<u64>,
    pub(super) tmp: Granted<u64>,
    pub(super) resources: Resources,
    pub(super) timeout: Option<Granted<Duration>>,
}

impl Judge<'_> {
    pub(super) fn limits(
        &mut self,
        request: &Request,
        ulimits: &[Granted<Ulimit>],
    ) -> Result<Limits> {
        let missing =
            |what: &str| Error::new(Kind::Policy, format!("no rule gives limits = {{ {what} }}"));
        let pids = self.pids(request, ulimits).ok_or_else(|| missing("pids"))?;
        let mut tmp = self.given_limit(Limit::Tmp).ok_or_else(|| missing("tmp"))?;
        let kept = !request.rm && !request.read_only;
        let resources = self.resources(request, kept);
        if let Some(disk) = resources.disk.as_ref().filter(|d| d.value < tmp.value) {
            tmp = disk.clone();
        }
        let timeout = self.time(Limit::Timeout, request.timeout, "--timeout");
        for level in &self.policy.levels {
            for rule in level.require(self.subject) {
                for (limit, line) in &rule.limits {
                    let (held, cure) = match limit {
                        Limit::Pids => (true, ""),
                        Limit::Tmp => (
                            !kept,
                            "--rm keeps what is written in memory, where a size is set",
                        ),
                        Limit::Timeout => (timeout.is_some(), "--timeout sets one"),
                        Limit::Memory
                        | Limit::Swap
                        | Limit::Cpus
                        | Limit::CpuTime
                        | Limit::Output
                        | Limit::Disk
                        | Limit::Core => Self::is_held(&resources, *limit, kept),
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
            resources,
            timeout,
        })
    }

    /// What the weightiest rule gives, or less where any level allows less.
    pub(in crate::policy) fn given_limit(&self, limit: Limit) -> Option<Granted<u64>> {
        let rules = self.policy.gives(self.subject);
        let given = rules
            .iter()
            .flat_map(|(weight, rule)| rule.limits.iter().map(move |entry| (*weight, *rule, entry)))
            .filter(|(.., entry)| entry.key == limit)
            .filter_map(|(weight, rule, entry)| {
                let amount = compose::amount(limit, entry, self.host.memory)?;
                Some((weight, Reverse(amount), rule, entry))
            });
        // The weightiest rule's; of equal ones the smallest, in whatever order they stand.
        let (_, Reverse(amount), rule, entry) =
            given.max_by_key(|(weight, amount, ..)| (*weight, *amount))?;
        let mut granted = Granted {
            value: amount,
            origin: rule.head.at(entry.line),
        };
        // The user's too: a project's file may be the one that gives.
        for level in &self.policy.levels {
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

    /// A time that a flag asks for, no more than is allowed; else what is given.
    pub(super) fn time(
        &mut self,
        limit: Limit,
        asked: Option<Duration>,
        flag: &'static str,
    ) -> Option<Granted<Duration>> {
        let Some(asked) = asked else {
            let given = self.given_limit(limit)?;
            return Some(Granted {
                value: Duration::from_secs(given.value),
                origin: given.origin,
            });
        };
        let whole = asked
            .as_secs()
            .saturating_add(u64::from(asked.subsec_nanos() > 0));
        let text = format!("{flag} {}s", asked.as_secs_f64());
        self.at_most(limit, whole, &text, &format!("{whole}s"));
        Some(Granted {
            value: asked,
            origin: Origin::Flag(flag),
        })
    }

    /// Refuses more of a limit than a level allows.
    pub(in crate::policy) fn at_most(
        &mut self,
        limit: Limit,
        value: u64,
        asked: &str,
        written: &str,
    ) {
        let mut answers = Vec::new();
        for level in &self.policy.levels {
            let Some((most, rule, entry)) = level.most(self.subject, limit, self.host.memory)
            else {
                continue;
            };
            answers.push(Answered {
                level: level.whose.name(),
                said: match value > most {
                    true => Said::NotAllowed,
                    false => Said::Allowed,
                },
                rule: compose::written_limit(rule, entry),
                origin: rule.head.at(entry.line),
                why: rule.head.reason.clone(),
            });
            if value > most {
                let origin = rule.head.at(entry.line);
                let written = match limit.unit() {
                    Unit::Pieces | Unit::Millicpus => written.to_owned(),
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
                break;
            }
        }
        self.policy.tell(|| Heard {
            key: limit.name(),
            value: amount(limit, value),
            answers,
        });
    }

    pub(super) fn tmpfs(
        &mut self,
        request: &Request,
        limits: &Limits,
    ) -> Result<Vec<Granted<TmpfsMount>>> {
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
}

/// An amount of a limit as a person writes it.
fn amount(limit: Limit, amount: u64) -> String {
    match limit.unit() {
        Unit::Pieces => amount.to_string(),
        // Whole units, rounded down.
        Unit::Bytes if amount >= 1 << 20 => words::size(amount >> 20 << 20),
        Unit::Bytes => words::size(amount),
        Unit::Seconds => format!("{amount}s"),
        Unit::Millicpus => words::cpus(amount),
    }
}
