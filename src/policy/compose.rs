//! Levels and how they are put together: union inside a level, where `deny` beats `allow`;
//! between levels everyone must agree.

use super::grants::{Origin, Reason};
use super::limit::{Limit, Unit};
use super::parse::{self, Day, Entry, Head, Key, Parsed, PolicyFile, Require, Rule, Trust};
use super::pattern::{matches, specificity};
use super::shipped::{NEVER, STRICT};
use super::words;
use crate::error::{Error, Kind, Result};
use crate::image::ImageName;

/// Who set a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// `never.toml`.
    BuiltIn,
    /// /etc/lazaret/policy.toml.
    System,
    /// The user's, or `strict` where there is none.
    User,
}

#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) whose: Whose,
    pub(super) rules: Parsed,
}

/// The policy that is in force: what is built in, the administrator's file and the user's.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Outermost first; the last one is the user's, which gives.
    pub(super) levels: Vec<Level>,
    /// The user's policy file, there or not: where a cure goes.
    pub(super) user_file: String,
}

/// The image as rules see it: as named in full, and without tag and digest.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) full: String,
    bare: String,
}

impl Subject {
    pub(super) fn of(name: &ImageName) -> Self {
        let full = name.to_string();
        let bare = match name {
            ImageName::Registry(reference) => format!("{}/{}", reference.domain, reference.path),
            _ => full.clone(),
        };
        Self { full, bare }
    }

    /// The specificity of the best pattern that matches; no patterns match everything.
    fn fits(&self, patterns: &[String]) -> Option<usize> {
        if patterns.is_empty() {
            return Some(0);
        }
        patterns
            .iter()
            .filter(|p| matches(p, &self.full) || matches(p, &self.bare))
            .map(|p| specificity(p))
            .max()
    }

    fn is_of(&self, head: &Head) -> bool {
        self.fits(&head.images).is_some()
    }
}

/// What a level says to something that is asked.
pub(super) enum Answer<'a> {
    Yes(Origin),
    /// A `deny` matches.
    Denied(&'a Rule, &'a Entry<Key>),
    /// Nothing allows it; the rule that comes nearest, if any speaks of such things.
    NotAllowed(Option<(&'a Rule, &'a Entry<Key>)>),
}

impl Level {
    pub(super) fn trust(&self, subject: &Subject) -> Option<&Trust> {
        // Of equally specific ones the last, which is the file's own and not what it extends.
        self.rules
            .trust
            .iter()
            .filter_map(|rule| Some((subject.fits(&rule.head.images)?, rule)))
            .max_by_key(|(specificity, _)| *specificity)
            .map(|(_, rule)| rule)
    }

    pub(super) fn require<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Require> {
        self.rules
            .require
            .iter()
            .filter(|rule| subject.is_of(&rule.head))
    }

    pub(super) fn give<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Rule> {
        self.rules
            .give
            .iter()
            .filter(|rule| subject.is_of(&rule.head))
    }

    fn ceiling<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Rule> {
        self.rules
            .allow
            .iter()
            .chain(&self.rules.give)
            .filter(|rule| subject.is_of(&rule.head))
    }

    /// Whether this level lets something be had: `denied` and `allowed` say which patterns speak of
    /// it. Denials are looked at first.
    fn ask(
        &self,
        subject: &Subject,
        key: Key,
        denied: &dyn Fn(&str) -> bool,
        allowed: &dyn Fn(&str) -> bool,
    ) -> Answer<'_> {
        let denies = |entry: &&Entry<Key>| {
            entry.key == key && entry.values.iter().any(|pattern| denied(pattern))
        };
        let fits = |entry: &&Entry<Key>| {
            entry.key == key && entry.values.iter().any(|pattern| allowed(pattern))
        };
        for rule in self
            .rules
            .deny
            .iter()
            .filter(|rule| subject.is_of(&rule.head))
        {
            if let Some(entry) = rule.lists.iter().find(denies) {
                return Answer::Denied(rule, entry);
            }
        }
        let mut nearest = None;
        let ceiling = self.rules.allow.iter().chain(&self.rules.give);
        for rule in ceiling.filter(|rule| subject.is_of(&rule.head)) {
            if let Some(entry) = rule.lists.iter().find(fits) {
                return Answer::Yes(rule.head.at(entry.line));
            }
            if nearest.is_none() {
                let entry = rule.lists.iter().find(|entry| entry.key == key);
                nearest = entry.map(|entry| (rule, entry));
            }
        }
        Answer::NotAllowed(nearest)
    }

    /// The highest amount of a limit that this level lets be had, and the rule that says so;
    /// `None`: it says nothing of this limit.
    pub(super) fn most<'a>(
        &'a self,
        subject: &'a Subject,
        limit: Limit,
        whole: u64,
    ) -> Option<(u64, &'a Rule, &'a Entry<Limit>)> {
        self.ceiling(subject)
            .flat_map(|rule| rule.limits.iter().map(move |entry| (rule, entry)))
            .filter(|(_, entry)| entry.key == limit)
            .filter_map(|(rule, entry)| Some((amount(limit, entry, whole)?, rule, entry)))
            .max_by_key(|(amount, ..)| *amount)
    }
}

/// The amount that an entry sets: pieces, bytes or seconds.
pub(super) fn amount(limit: Limit, entry: &Entry<Limit>, whole: u64) -> Option<u64> {
    let text = entry.values.first()?;
    match limit.unit() {
        Unit::Pieces => text.parse().ok(),
        Unit::Bytes => words::parse_size(text, whole),
        Unit::Seconds => words::parse_duration(text).map(|d| d.as_secs()),
    }
}

impl Policy {
    /// Puts the policy together. `system` is /etc/lazaret/policy.toml where it exists, `user` the
    /// user's file; `user_file` says where that is or would be. A missing user's file means
    /// `strict`. `today` is (year, month, day), UTC, for rules that end.
    ///
    /// Errors: a file that is not understood or uses what is not built yet, by name and line.
    pub fn compose(
        system: Option<&PolicyFile<'_>>,
        user: Option<&PolicyFile<'_>>,
        user_file: &str,
        today: Day,
    ) -> Result<Self> {
        let never = Level {
            whose: Whose::BuiltIn,
            rules: NEVER.rules()?,
        };
        let mut levels = vec![never];
        if let Some(file) = system {
            levels.push(level(Whose::System, file, today)?);
        }
        levels.push(match user {
            Some(file) => level(Whose::User, file, today)?,
            None => Level {
                whose: Whose::User,
                rules: STRICT.rules()?,
            },
        });
        Ok(Self {
            levels,
            user_file: user_file.to_owned(),
        })
    }

    /// `strict` alone, as it stands on a machine without policy files.
    pub fn strict() -> Result<Self> {
        Self::compose(None, None, "~/.config/lazaret/policy.toml", (1970, 1, 1))
    }

    /// The level that gives: the user's.
    pub(super) fn giver(&self) -> Option<&Level> {
        self.levels.last()
    }

    /// Asks all levels, the outermost first; the origin is the innermost level's. A refusal's
    /// `asked` is left to the caller.
    pub(super) fn ask(
        &self,
        subject: &Subject,
        key: Key,
        value: &str,
    ) -> std::result::Result<Option<Origin>, Reason> {
        let fits = |pattern: &str| match key {
            Key::Devices => super::devices::fits(pattern, value),
            _ => matches(pattern, value),
        };
        self.ask_by(subject, key, value, &fits, &fits)
    }

    /// As [`Policy::ask`], where `denied` and `allowed` say which patterns speak of what is asked;
    /// `value` is how a cure writes it.
    pub(super) fn ask_by(
        &self,
        subject: &Subject,
        key: Key,
        value: &str,
        denied: &dyn Fn(&str) -> bool,
        allowed: &dyn Fn(&str) -> bool,
    ) -> std::result::Result<Option<Origin>, Reason> {
        let mut origin = None;
        for level in &self.levels {
            let whose = level.whose;
            match level.ask(subject, key, denied, allowed) {
                Answer::Yes(at) => origin = Some(at),
                Answer::Denied(rule, entry) => {
                    return Err(Reason {
                        asked: String::new(),
                        rule: written(rule, entry),
                        origin: rule.head.at(entry.line),
                        why: rule.head.reason.clone(),
                        cure: self.cure_of_denial(whose, rule, entry.line),
                    });
                }
                // Only denials speak of targets.
                Answer::NotAllowed(_) if key == Key::Targets => {}
                Answer::NotAllowed(nearest) => {
                    let snippet = format!("{} = {}", key.name(), words::toml_array([value]));
                    return Err(self.not_allowed(whose, subject, key, nearest, &snippet));
                }
            }
        }
        Ok(origin)
    }

    fn not_allowed(
        &self,
        whose: Whose,
        subject: &Subject,
        key: Key,
        nearest: Option<(&Rule, &Entry<Key>)>,
        snippet: &str,
    ) -> Reason {
        let (rule, origin, why) = match nearest {
            Some((rule, entry)) => (
                written(rule, entry),
                rule.head.at(entry.line),
                rule.head.reason.clone(),
            ),
            None => (
                format!("no rule allows any {}", key.name()),
                Origin::Always("what no rule allows is refused"),
                "nothing is had that is neither given nor allowed".to_owned(),
            ),
        };
        let cure = self.cure(whose, subject, snippet, &origin);
        Reason {
            asked: String::new(),
            rule,
            origin,
            why,
            cure,
        }
    }

    /// The lines that allow something for this image alone, if the level is the user's own.
    pub(super) fn cure(
        &self,
        whose: Whose,
        subject: &Subject,
        snippet: &str,
        origin: &Origin,
    ) -> Vec<String> {
        match whose {
            Whose::BuiltIn => Vec::new(),
            Whose::System => vec![format!("only the administrator can allow this ({origin})")],
            Whose::User => vec![
                format!("to allow it, add to {}", self.user_file),
                "[[allow]]".to_owned(),
                format!("image = {}", words::toml(&subject.full)),
                snippet.to_owned(),
                "reason = \"...\"".to_owned(),
            ],
        }
    }

    /// The cure of an image that is not trusted: the narrowest that lets this one in.
    pub(super) fn trust_cure(
        &self,
        whose: Whose,
        subject: &Subject,
        origin: &Origin,
    ) -> Vec<String> {
        match whose {
            Whose::User => vec![
                format!("to trust it, add to {}", self.user_file),
                "[[trust]]".to_owned(),
                format!("image = {}", words::toml(&subject.full)),
                "accept = \"tofu\"".to_owned(),
                "reason = \"...\"".to_owned(),
            ],
            _ => vec![format!("only the administrator can allow this ({origin})")],
        }
    }

    /// The cure of a requirement that is not met: there is none but to change the rule, and only
    /// who set it can.
    pub(super) fn require_cure(&self, whose: Whose, origin: &Origin) -> Vec<String> {
        match whose {
            Whose::User if !matches!(origin, Origin::Rule { builtin: true, .. }) => {
                vec![format!("your own rule requires it ({origin})")]
            }
            Whose::System => vec![format!("only the administrator can allow this ({origin})")],
            _ => Vec::new(),
        }
    }

    fn cure_of_denial(&self, whose: Whose, rule: &Rule, line: usize) -> Vec<String> {
        match whose {
            Whose::BuiltIn => Vec::new(),
            Whose::System => vec![format!(
                "only the administrator can allow this ({}:{line})",
                rule.head.file
            )],
            // A profile's denials are why it is extended.
            Whose::User if rule.head.builtin => Vec::new(),
            Whose::User => {
                vec![format!(
                    "your own rule says so: narrow it at {}:{line}",
                    rule.head.file
                )]
            }
        }
    }
}

/// A line of a rule as it is written.
pub(super) fn written(rule: &Rule, entry: &Entry<Key>) -> String {
    let values = words::toml_array(entry.values.iter().map(String::as_str));
    format!("{} {} = {values}", rule.word, entry.key.name())
}

/// A limit of a rule as it is written.
pub(super) fn written_limit(rule: &Rule, entry: &Entry<Limit>) -> String {
    let value = entry.values.first().map_or("", String::as_str);
    let value = match entry.key.unit() {
        Unit::Pieces => value.to_owned(),
        _ => words::toml(value),
    };
    format!(
        "{} limits = {{ {} = {value} }}",
        rule.word,
        entry.key.name()
    )
}

/// A level from a file and what it extends.
fn level(whose: Whose, file: &PolicyFile<'_>, today: Day) -> Result<Level> {
    let own = parse::parse(file, today)?;
    let base = match (own.extends.as_deref(), whose) {
        (Some("strict"), _) => STRICT.rules()?,
        (Some("never"), Whose::System) => NEVER.rules()?,
        (None, _) => {
            return Err(Error::new(
                Kind::Malformed,
                format!("policy {} does not say what it extends", file.name),
            )
            .hint(match whose {
                Whose::System => {
                    "extends = \"strict\" for a machine where nothing more than that may be had, \
                     extends = \"never\" to only take away"
                }
                _ => "add a line: extends = \"strict\"",
            }));
        }
        (Some(other), _) => {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "policy {}: no profile {} can be extended here",
                    file.name,
                    words::toml(other)
                ),
            )
            .hint("extends = \"strict\""));
        }
    };
    let mut rules = base;
    rules.trust.extend(own.trust);
    rules.require.extend(own.require);
    rules.give.extend(own.give);
    rules.allow.extend(own.allow);
    rules.deny.extend(own.deny);
    Ok(Level { whose, rules })
}
