//! Levels and how they are put together: union inside a level, where `deny` beats `allow`;
//! between levels everyone must agree.

use super::explain::{Answered, Ear, Heard, Said};
use super::grants::{Origin, Reason};
use super::levels::level;
use super::limit::{Limit, Unit};
use super::parse::{Accept, Day, Entry, Head, Key, Parsed, PolicyFile, Require, Rule, Trust};
use super::pattern::matches;
use super::shipped::NEVER;
use super::subject::Subject;
use super::words;
use crate::error::Result;
use std::rc::Rc;

/// Who set a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// `never.toml`.
    BuiltIn,
    /// /etc/lazaret/policy.toml.
    System,
    /// The user's, or `strict` where there is none.
    User,
    /// The file of a project that the user has trusted.
    Project,
}

#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) whose: Whose,
    /// The level's own file.
    pub(super) file: Rc<str>,
    /// The profiles behind it, the nearest first.
    pub(super) extends: Vec<String>,
    pub(super) rules: Parsed,
}

/// The policy that is in force: what is built in, the administrator's file, the user's and the
/// project's.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Outermost first.
    pub(super) levels: Vec<Level>,
    /// The user's policy file, there or not: where a cure goes.
    pub(super) user_file: String,
    /// Whether it is there.
    has_file: bool,
    /// Who listens to what is asked.
    ear: Option<Ear>,
}

/// What a policy is put together from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// /etc/lazaret/policy.toml, where it exists.
    pub system: Option<PolicyFile<'a>>,
    /// The user's file, where it exists; without one the level is `strict`.
    pub user: Option<PolicyFile<'a>>,
    /// The project's file, where there is one that the user has trusted.
    pub project: Option<PolicyFile<'a>>,
    /// `--profile`: what the user's level extends instead of what its file says.
    pub profile: Option<&'a str>,
    /// Profiles beside a policy file that were asked for ([`Composed::Needs`]).
    pub profiles: &'a [(Wanted, PolicyFile<'a>)],
    /// Files that rules name, by their paths, that were asked for ([`Composed::NeedsFile`]).
    pub beside: &'a [(String, Vec<u8>)],
    /// Where the user's file is or would be.
    pub user_file: &'a str,
    /// (year, month, day), UTC, for rules that end.
    pub today: Day,
}

/// A profile that is not built in: `profiles/NAME.toml` beside a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Beside the administrator's file; else beside the user's.
    pub system: bool,
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// Who extends it: a file, or `--profile`.
    pub said_by: String,
}

/// A file that a rule names: a key, a trust root. Its bytes become part of the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// A rule of the administrator's names it; else one of the user's.
    pub system: bool,
    /// Its path: absolute if that of the policy file is.
    pub path: String,
    /// Which rule names it: `FILE:LINE`.
    pub said_by: String,
}

/// A policy, or what must be read first.
#[derive(Debug)]
pub enum Composed {
    /// All is there.
    Policy(Policy),
    /// A file extends this profile: look for it, and try again with it among the sources.
    Needs(Wanted),
    /// A rule names this file: read it, and try again with it among the sources.
    NeedsFile(WantedFile),
}

/// Nearness of the file, specificity: the larger counts.
pub(super) type Weight = (u8, usize);

/// What a level says to something that is asked.
pub(super) enum Answer<'a> {
    /// This allows or gives it.
    Yes(&'a Rule, &'a Entry<Key>),
    /// A `deny` matches.
    Denied(&'a Rule, &'a Entry<Key>),
    /// Nothing allows it; the rule that comes nearest, if any speaks of such things.
    NotAllowed(Option<(&'a Rule, &'a Entry<Key>)>),
}

impl Level {
    /// The trust rules that all must let an image in: of the most specific ones the strictest word,
    /// in whatever order they stand, and whatever they say of signatures. None: nobody speaks of it.
    pub(super) fn trusts(&self, subject: &Subject) -> Vec<&Trust> {
        let about: Vec<(usize, &Trust)> = self
            .rules
            .trust
            .iter()
            .filter_map(|rule| {
                let fits = match rule.accept {
                    Accept::Reject | Accept::Signed(_) => subject.fits_away(&rule.head.images)?,
                    _ => subject.fits(&rule.head.images)?,
                };
                Some((fits, &**rule))
            })
            .collect();
        let most = about.iter().map(|(specificity, _)| *specificity).max();
        let about = about.iter().filter(|(fits, _)| Some(*fits) == most);
        let about = about.map(|(_, rule)| *rule);
        let is_signed = |rule: &&Trust| matches!(rule.accept, Accept::Signed(_));
        let word = about
            .clone()
            .filter(|rule| !is_signed(rule))
            .max_by_key(|rule| rule.accept.strictness());
        let signed = about.filter(is_signed);
        match word {
            Some(word) if word.accept == Accept::Reject => vec![word],
            word => word.into_iter().chain(signed).collect(),
        }
    }

    pub(super) fn require<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Require> {
        self.rules
            .require
            .iter()
            .map(|rule| &**rule)
            .filter(|rule| subject.is_away_of(&rule.head))
    }

    fn ceiling<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Rule> {
        let rules = self.rules.allow.iter().chain(&self.rules.give);
        let rules = rules.map(|rule| &**rule);
        rules.filter(|rule| subject.is_of(&rule.head))
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
        let fits = |entry: &&Entry<Key>| {
            entry.key == key && entry.values.iter().any(|pattern| allowed(pattern))
        };
        if let Some((rule, entry)) = self.denied(subject, key, denied) {
            return Answer::Denied(rule, entry);
        }
        // What is given is had without being asked for, so that says it first.
        let had = self.rules.give.iter().chain(&self.rules.allow);
        for rule in had.filter(|rule| subject.is_of(&rule.head)) {
            if let Some(entry) = rule.lists.iter().find(fits) {
                return Answer::Yes(rule, entry);
            }
        }
        let ceiling = self.rules.allow.iter().chain(&self.rules.give);
        let mut ceiling = ceiling.filter(|rule| subject.is_of(&rule.head));
        let nearest = ceiling.find_map(|rule| {
            let entry = rule.lists.iter().find(|entry| entry.key == key)?;
            Some((&**rule, entry))
        });
        Answer::NotAllowed(nearest)
    }

    /// The denial of this level that speaks of something.
    fn denied(
        &self,
        subject: &Subject,
        key: Key,
        speaks: &dyn Fn(&str) -> bool,
    ) -> Option<(&Rule, &Entry<Key>)> {
        let denies = |entry: &&Entry<Key>| {
            entry.key == key && entry.values.iter().any(|pattern| speaks(pattern))
        };
        let mut rules = self.rules.deny.iter();
        rules.find_map(|rule| {
            let about = subject.is_away_of(&rule.head);
            let entry = about.then(|| rule.lists.iter().find(denies))??;
            Some((&**rule, entry))
        })
    }

    /// The highest amount of a limit that this level lets be had, and the rule that says so: the
    /// most that is allowed or given, and no more than the least that is denied. `None`: it says
    /// nothing of this limit.
    pub(super) fn most<'a>(
        &'a self,
        subject: &'a Subject,
        limit: Limit,
        whole: u64,
    ) -> Option<(u64, &'a Rule, &'a Entry<Limit>)> {
        let of_limit = |rule: &'a Rule| {
            let entries = rule.limits.iter().filter(|entry| entry.key == limit);
            entries.filter_map(move |entry| Some((amount(limit, entry, whole)?, rule, entry)))
        };
        let allowed = self.ceiling(subject).flat_map(of_limit);
        let allowed = allowed.max_by_key(|(amount, ..)| *amount);
        let denied = self.rules.deny.iter().map(|rule| &**rule);
        let denied = denied.filter(|rule| subject.is_away_of(&rule.head));
        let denied = denied.flat_map(of_limit).min_by_key(|(amount, ..)| *amount);
        match (allowed, denied) {
            (Some(allowed), Some(denied)) if allowed.0 <= denied.0 => Some(allowed),
            (allowed, None) => allowed,
            (_, denied) => denied,
        }
    }
}

/// The amount that an entry sets: pieces, bytes, seconds or thousandths of a processor.
pub(super) fn amount(limit: Limit, entry: &Entry<Limit>, whole: u64) -> Option<u64> {
    let text = entry.values.first()?;
    match limit.unit() {
        Unit::Pieces => text.parse().ok(),
        Unit::Bytes => words::parse_size(text, whole),
        Unit::Seconds => words::parse_duration(text).map(|d| d.as_secs()),
        Unit::Millicpus => words::parse_cpus(text),
    }
}

impl Policy {
    /// Puts the policy together.
    ///
    /// # Errors
    /// A file that is not understood or uses what is not built yet, by name and line; one that
    /// extends what is not there, or itself.
    pub fn compose(sources: &Sources<'_>) -> Result<Composed> {
        let mut levels = vec![Level {
            whose: Whose::BuiltIn,
            file: NEVER.file.into(),
            extends: Vec::new(),
            rules: NEVER.rules()?,
        }];
        let own = [
            (Whose::System, sources.system),
            (Whose::User, sources.user),
            (Whose::Project, sources.project),
        ];
        for (whose, file) in own {
            if file.is_none() && whose != Whose::User {
                continue;
            }
            match level(whose, file.as_ref(), sources)? {
                Ok(level) => levels.push(level),
                Err(wanted) => return Ok(wanted),
            }
        }
        Ok(Composed::Policy(Self {
            levels,
            user_file: sources.user_file.to_owned(),
            has_file: sources.user.is_some(),
            ear: None,
        }))
    }

    /// `strict` alone, as it stands on a machine without policy files.
    pub fn strict() -> Result<Self> {
        let sources = Sources {
            user_file: "~/.config/lazaret/policy.toml",
            today: (1970, 1, 1),
            ..Sources::default()
        };
        match Self::compose(&sources)? {
            Composed::Policy(policy) => Ok(policy),
            Composed::Needs(wanted) => Err(wanted.not_there()),
            Composed::NeedsFile(wanted) => Err(wanted.not_there()),
        }
    }

    /// The rules that could be about one image, and no others: what the rest of a decision looks at.
    pub(super) fn about(&self, subject: &Subject) -> Self {
        fn of<'r, T: 'r>(
            rules: &'r [Rc<T>],
            subject: &Subject,
            head: fn(&T) -> &Head,
        ) -> Vec<Rc<T>> {
            let rules = rules.iter();
            let rules = rules.filter(|rule| subject.is_away_of(head(rule)));
            rules.map(Rc::clone).collect()
        }
        let levels = self.levels.iter().map(|level| Level {
            whose: level.whose,
            file: Rc::clone(&level.file),
            extends: level.extends.clone(),
            rules: Parsed {
                extends: None,
                trust: of(&level.rules.trust, subject, |rule| &rule.head),
                require: of(&level.rules.require, subject, |rule| &rule.head),
                give: of(&level.rules.give, subject, |rule| &rule.head),
                allow: of(&level.rules.allow, subject, |rule| &rule.head),
                deny: of(&level.rules.deny, subject, |rule| &rule.head),
                ended: Vec::new(),
                beside: Vec::new(),
            },
        });
        Self {
            levels: levels.collect(),
            user_file: self.user_file.clone(),
            has_file: self.has_file,
            ear: self.ear.clone(),
        }
    }

    /// How a person adds lines to the user's file, after "to ...,". A file has two lines before its
    /// first rule, which nobody guesses.
    pub(super) fn add(&self) -> String {
        match self.has_file {
            true => format!("add to {}", self.user_file),
            false => format!("run `lazaret policy init`, and add to {}", self.user_file),
        }
    }

    /// The same policy, whose answers are listened to.
    #[must_use]
    pub fn heard_by(self, ear: &Ear) -> Self {
        Self {
            ear: Some(ear.clone()),
            ..self
        }
    }

    /// The same policy, to be asked what was not asked of it: for a cure.
    pub(super) fn unheard(&self) -> Self {
        Self {
            ear: None,
            ..self.clone()
        }
    }

    /// Lets whoever listens know what was said; `heard` is made only then.
    pub(super) fn tell(&self, heard: impl FnOnce() -> Heard) {
        if let Some(ear) = &self.ear {
            ear.hear(heard());
        }
    }

    /// The rules of the user's level that give something, the weightiest last: a file's own before
    /// those that it extends, those for fewer images before those for more. The order in a file
    /// means nothing, so equal weights are told. Other levels only take away from it.
    pub(super) fn gives<'a>(&'a self, subject: &'a Subject) -> Vec<(Weight, &'a Rule)> {
        let user = self
            .levels
            .iter()
            .filter(|level| level.whose == Whose::User);
        let mut rules: Vec<(Weight, &Rule)> = user
            .flat_map(|level| &level.rules.give)
            .filter_map(|rule| {
                let specificity = subject.fits(&rule.head.images)?;
                Some(((u8::MAX - rule.head.depth, specificity), &**rule))
            })
            .collect();
        rules.sort_by_key(|(weight, _)| *weight);
        rules
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
        let mut refusal = None;
        let mut answers = Vec::new();
        for level in &self.levels {
            let whose = level.whose;
            let answer = level.ask(subject, key, denied, allowed);
            // Of targets only denials speak.
            let spoken = key != Key::Targets || matches!(answer, Answer::Denied(..));
            if self.ear.is_some() && spoken {
                answers.push(answered(whose, &answer, denied, allowed));
            }
            match answer {
                Answer::Yes(rule, entry) => origin = Some(rule.head.at(entry.line)),
                Answer::Denied(rule, entry) => {
                    refusal = Some(Reason {
                        asked: String::new(),
                        rule: speaking(rule, entry, denied),
                        origin: rule.head.at(entry.line),
                        why: rule.head.reason.clone(),
                        cure: self.cure_of_denial(whose, rule, entry.line),
                    });
                }
                Answer::NotAllowed(_) if key == Key::Targets => {}
                Answer::NotAllowed(nearest) => {
                    let snippet = format!("{} = {}", key.name(), words::toml_array([value]));
                    refusal = Some(self.not_allowed(whose, subject, key, nearest, &snippet));
                }
            }
            if refusal.is_some() {
                break;
            }
        }
        self.tell(|| Heard {
            key: key.name(),
            value: value.to_owned(),
            answers,
        });
        match refusal {
            Some(reason) => Err(reason),
            None => Ok(origin),
        }
    }

    /// Where what nobody asked for, an image's own variable, is denied.
    pub(super) fn denial(&self, subject: &Subject, key: Key, value: &str) -> Option<Origin> {
        let speaks = |pattern: &str| matches(pattern, value);
        self.levels.iter().find_map(|level| {
            let (rule, entry) = level.denied(subject, key, &speaks)?;
            Some(rule.head.at(entry.line))
        })
    }

    /// What each level says of trusting an image, and whether it `lets` it in.
    pub(super) fn trusted_by(&self, subject: &Subject, lets: &[bool]) -> Vec<Answered> {
        let told = self.levels.iter().zip(lets).map(|(level, lets)| {
            let rules = level.trusts(subject);
            let Some(rule) = rules.first() else {
                return Answered {
                    level: level.whose.name(),
                    said: Said::NotAllowed,
                    rule: "no trust rule is about this image".to_owned(),
                    origin: Origin::Always("only what somebody trusts comes in"),
                    why: String::new(),
                };
            };
            let written: Vec<String> = rules
                .iter()
                .map(|rule| super::trust::written(rule))
                .collect();
            Answered {
                level: level.whose.name(),
                said: match rule.accept {
                    Accept::Reject => Said::Denied,
                    _ if !lets => Said::NotAllowed,
                    _ => Said::Allowed,
                },
                rule: written.join("; "),
                origin: rule.head.at(rule.head.line),
                why: rule.head.reason.clone(),
            }
        });
        told.collect()
    }
}

/// An answer as it is told: of the rule's values only those that speak of what was asked.
fn answered(
    whose: Whose,
    answer: &Answer<'_>,
    denied: &dyn Fn(&str) -> bool,
    allowed: &dyn Fn(&str) -> bool,
) -> Answered {
    let all = |_: &str| true;
    let (said, found, speaks): (_, _, &dyn Fn(&str) -> bool) = match answer {
        Answer::Yes(rule, entry) => match rule.word {
            "give" => (Said::Given, Some((*rule, *entry)), allowed),
            _ => (Said::Allowed, Some((*rule, *entry)), allowed),
        },
        Answer::Denied(rule, entry) => (Said::Denied, Some((*rule, *entry)), denied),
        Answer::NotAllowed(nearest) => (Said::NotAllowed, *nearest, &all),
    };
    match found {
        Some((rule, entry)) => Answered {
            level: whose.name(),
            said,
            rule: only(rule, entry, speaks),
            origin: rule.head.at(entry.line),
            why: rule.head.reason.clone(),
        },
        None => Answered {
            level: whose.name(),
            said,
            rule: "no rule speaks of it".to_owned(),
            origin: Origin::Always("what no rule allows is refused"),
            why: String::new(),
        },
    }
}

/// The longest line of a rule that a refusal shows whole, in characters.
const WHOLE: usize = 48;

/// A line of a rule as it is written; of a long one the values that speak of what was asked.
fn speaking(rule: &Rule, entry: &Entry<Key>, speaks: &dyn Fn(&str) -> bool) -> String {
    let whole = written(rule, entry);
    match whole.chars().count() <= WHOLE {
        true => whole,
        false => only(rule, entry, speaks),
    }
}

/// A line of a rule with those of its values that speak of what was asked.
fn only(rule: &Rule, entry: &Entry<Key>, speaks: &dyn Fn(&str) -> bool) -> String {
    let values = entry.values.iter().map(String::as_str);
    let mut shown: Vec<String> = values.filter(|v| speaks(v)).map(words::toml).collect();
    if shown.len() < entry.values.len() {
        shown.push("...".to_owned());
    }
    format!(
        "{} {} = [{}]",
        rule.word,
        entry.key.name(),
        shown.join(", ")
    )
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
        Unit::Pieces | Unit::Millicpus => value.to_owned(),
        _ => words::toml(value),
    };
    format!(
        "{} limits = {{ {} = {value} }}",
        rule.word,
        entry.key.name()
    )
}
