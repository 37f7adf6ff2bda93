//! What is understood and does not do what its writer may think: for `policy check`.

use super::compose::{Level, Policy, Whose, amount, written_limit};
use super::grants::Origin;
use super::parse::{Accept, Entry, Key, Rule, day_text};
use super::pattern::matches;
use super::words;

/// A rule that has no effect, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Idle {
    /// Where it stands.
    pub origin: Origin,
    /// The line.
    pub rule: String,
    /// Why it does nothing.
    pub why: String,
}

/// More values than this are not held against each other.
const FEW: usize = 5_000;

impl Policy {
    /// Rules of files that do nothing: they are over, denied beside themselves, refused by a level
    /// around them, or outdone by a stricter one. What a built-in profile says is not told.
    pub fn idle(&self) -> Vec<Idle> {
        let mut idle = Vec::new();
        // Every value is held against every denial.
        let few = self.spoken() <= FEW;
        for (at, level) in self.levels.iter().enumerate() {
            ended(level, &mut idle);
            trusts(level, &mut idle);
            let around = self.levels.get(..at).unwrap_or_default();
            if level.whose != Whose::User {
                let own = level.rules.give.iter().filter(|rule| !rule.head.builtin);
                idle.extend(own.map(|rule| Idle {
                    origin: rule.head.at(rule.head.line),
                    rule: "[[give]]".to_owned(),
                    why: "the user's level gives; here it only lets be had. [[deny]] limits = { ... } \
                          lowers a limit"
                        .to_owned(),
                }));
            }
            for rule in level.rules.allow.iter().chain(&level.rules.give) {
                if rule.head.builtin || !few {
                    continue;
                }
                for entry in &rule.lists {
                    allowed(level, around, rule, entry, &mut idle);
                }
                outdone(level, rule, &mut idle);
            }
        }
        idle
    }
}

fn ended(level: &Level, idle: &mut Vec<Idle>) {
    for ended in &level.rules.ended {
        idle.push(Idle {
            origin: Origin::Rule {
                file: ended.file.to_string(),
                line: ended.line,
                builtin: false,
            },
            rule: format!("[[{}]]", ended.word),
            why: format!("its last day was {}", day_text(ended.day)),
        });
    }
}

/// A trust rule that a stricter one of the same level always outdoes.
fn trusts(level: &Level, idle: &mut Vec<Idle>) {
    for rule in level.rules.trust.iter().filter(|r| !r.head.builtin) {
        for image in &rule.head.images {
            let stricter = level.rules.trust.iter().find(|other| {
                outdoes(&other.accept, &rule.accept) && other.head.images.iter().any(|i| i == image)
            });
            if let Some(other) = stricter {
                idle.push(Idle {
                    origin: rule.head.at(rule.head.line),
                    rule: format!("trust image = {}", words::toml(image)),
                    why: format!(
                        "{} is stricter about the same images, and the strictest counts",
                        other.head.at(other.head.line)
                    ),
                });
            }
        }
    }
}

/// Whether nothing is left of a rule beside another one of the same images. What must be signed must
/// still be pinned where that is said too.
fn outdoes(other: &Accept, rule: &Accept) -> bool {
    match (other, rule) {
        (Accept::Signed(_), rule) => *rule == Accept::Any,
        (other, Accept::Signed(_)) => *other == Accept::Reject,
        (other, rule) => other.strictness() > rule.strictness(),
    }
}

/// A limit beside a larger one of the same level. What is allowed together counts, so it lowers
/// nothing; what the user or a project gives still is what is had unasked.
fn outdone(level: &Level, rule: &Rule, idle: &mut Vec<Idle>) {
    /// The memory that percentages are of, to compare them.
    const MEMORY: u64 = 100 << 30;
    if rule.word == "give" && level.whose != Whose::System {
        return;
    }
    for entry in &rule.limits {
        let own = amount(entry.key, entry, MEMORY);
        let ceiling = level.rules.allow.iter().chain(&level.rules.give);
        let of_all = ceiling
            .filter(|other| other.head.images.is_empty() || other.head.images == rule.head.images);
        let mut more = of_all.flat_map(|other| {
            let entries = other.limits.iter().filter(|other| other.key == entry.key);
            entries.map(move |entry| (other, entry))
        });
        let more = more.find(|(_, other)| amount(other.key, other, MEMORY) > own);
        if let Some((other, larger)) = more {
            idle.push(Idle {
                origin: rule.head.at(entry.line),
                rule: written_limit(rule, entry),
                why: format!(
                    "{} of the same level says more, and the most counts",
                    other.head.at(larger.line)
                ),
            });
        }
    }
}

/// A value that is allowed or given and yet not had.
fn allowed(level: &Level, around: &[Level], rule: &Rule, entry: &Entry<Key>, idle: &mut Vec<Idle>) {
    for value in &entry.values {
        let denial = denied(level, rule, entry.key, value).map(|at| (at, "denied beside it"));
        let denial = denial.or_else(|| {
            around
                .iter()
                .find_map(|outer| denied(outer, rule, entry.key, value))
                .map(|at| (at, "denied by a level around it"))
        });
        if let Some((at, how)) = denial {
            idle.push(Idle {
                origin: rule.head.at(entry.line),
                rule: format!(
                    "{} {} = {}",
                    rule.word,
                    entry.key.name(),
                    words::toml(value)
                ),
                why: format!("{how}: {at}"),
            });
        }
        let silent = around.iter().find(|outer| {
            matches!(outer.whose, Whose::System | Whose::User)
                && !value.contains('*')
                && entry.key != Key::Mounts
                && !allows(outer, entry.key, value)
        });
        if let Some(outer) = silent {
            idle.push(Idle {
                origin: rule.head.at(entry.line),
                rule: format!(
                    "{} {} = {}",
                    rule.word,
                    entry.key.name(),
                    words::toml(value)
                ),
                why: format!("no rule of {} allows it, and all levels must", outer.file),
            });
        }
    }
}

/// A denial that covers the whole of a pattern, for whatever image the rule is about.
fn denied(level: &Level, rule: &Rule, key: Key, value: &str) -> Option<Origin> {
    let covers = |pattern: &String| {
        pattern == value
            || match key {
                // What `:ro` and `:rw` mean beside each other is for the decision.
                Key::Mounts => false,
                Key::Devices => super::devices::fits(pattern, value),
                _ => matches(pattern, value),
            }
    };
    level.rules.deny.iter().find_map(|deny| {
        let all_images = deny.head.images.is_empty() || deny.head.images == rule.head.images;
        let entry = deny
            .lists
            .iter()
            .find(|entry| entry.key == key && entry.values.iter().any(covers))?;
        all_images.then(|| deny.head.at(entry.line))
    })
}

fn allows(level: &Level, key: Key, value: &str) -> bool {
    let rules = level.rules.allow.iter().chain(&level.rules.give);
    let mut entries = rules.flat_map(|rule| rule.lists.iter());
    entries.any(|entry| {
        entry.key == key
            && entry.values.iter().any(|pattern| match key {
                Key::Devices => super::devices::fits(pattern, value),
                _ => matches(pattern, value),
            })
    })
}
