//! What another policy would change: asked of both, never compared as text.
//!
//! Both policies are asked about every value that either of them speaks of, for every group of
//! images that either of them names and for images that neither names. A pattern is asked about by
//! an instance of it.

use super::compose::Policy;
use super::facts::Outside;
use super::grants::Origin;
use super::limit::{Limit, Unit};
use super::mounts;
use super::parse::{Accept, Key};
use super::subject::Subject;
use super::words;
use crate::error::{Error, Kind, Result};
use std::collections::BTreeSet;

/// One thing that is otherwise under the second policy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The images that it is about, as rules name them; empty: those that no rule names.
    pub image: String,
    /// What it is: `mounts`, `limits pids`, `trust`.
    pub about: String,
    /// The value that rules speak of; empty where there is one alone.
    pub value: String,
    /// Under the first policy: `allowed`, `not allowed`, `given`, an amount, a word.
    pub before: String,
    /// Under the second.
    pub after: String,
    /// The second lets more be had.
    pub wider: bool,
}

/// The memory that percentages are of, to compare them.
const MEMORY: u64 = 100 << 30;

/// The most questions that two policies are asked.
const MOST: usize = 2_000_000;

/// What `after` changes of `before`.
///
/// # Errors
/// `Limit`: more images and values than can be asked about in a reasonable time.
pub fn diff(before: &Policy, after: &Policy) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut images: BTreeSet<String> = BTreeSet::from([String::new()]);
    let mut values_of_all = 0usize;
    for policy in [before, after] {
        images.extend(policy.named_images());
        values_of_all = values_of_all.saturating_add(policy.spoken());
    }
    if images.len().saturating_mul(values_of_all) > MOST {
        return Err(Error::new(
            Kind::Limit,
            format!(
                "{} groups of images and {values_of_all} values are too many to compare",
                images.len()
            ),
        ));
    }
    let mut of_all: Vec<Change> = Vec::new();
    for image in images {
        let subject = Subject::named(match image.as_str() {
            "" => "no-rule-names.invalid/it:latest".to_owned(),
            pattern => instance(pattern),
        });
        let sides = [before.about(&subject), after.about(&subject)];
        let mut here = Vec::new();
        trust(&sides, &subject, &mut here);
        for key in Key::ALL {
            values(&sides, &subject, key, &mut here);
        }
        for limit in Limit::ALL {
            amounts(&sides, &subject, limit, &mut here);
        }
        requirements(&sides, &subject, &mut here);
        // What changes for all images is told once, for those that no rule names.
        here.retain(|change| !of_all.contains(change));
        if image.is_empty() {
            of_all.clone_from(&here);
        }
        changes.extend(here.into_iter().map(|change| Change {
            image: image.clone(),
            ..change
        }));
    }
    Ok(changes)
}

/// Text that fits a pattern.
fn instance(pattern: &str) -> String {
    pattern.replace("**", "x").replace('*', "x")
}

fn change(about: &str, value: &str, before: &str, after: &str, wider: bool) -> Change {
    Change {
        image: String::new(),
        about: about.to_owned(),
        value: value.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
        wider,
    }
}

impl Policy {
    /// Every pattern of images that some rule names.
    fn named_images(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for level in &self.levels {
            let rules = &level.rules;
            let lists = rules.give.iter().chain(&rules.allow).chain(&rules.deny);
            let lists = lists.map(|rule| &rule.head);
            let trust = rules.trust.iter().map(|rule| &rule.head);
            let require = rules.require.iter().map(|rule| &rule.head);
            for head in lists.chain(trust).chain(require) {
                named.extend(head.images.iter().filter(|i| *i != "**").cloned());
            }
        }
        named
    }

    /// How many values its rules speak of.
    pub(super) fn spoken(&self) -> usize {
        let levels = self.levels.iter().map(|level| &level.rules);
        let rules =
            levels.flat_map(|rules| rules.give.iter().chain(&rules.allow).chain(&rules.deny));
        rules
            .flat_map(|rule| &rule.lists)
            .map(|entry| entry.values.len())
            .sum()
    }

    /// Whether something is had or may be asked for.
    fn lets(&self, subject: &Subject, key: Key, value: &str) -> bool {
        match key {
            Key::Mounts if value != "tmpfs" => {
                let (path, write) = match value.strip_suffix(":rw") {
                    Some(path) => (path, true),
                    None => (value.strip_suffix(":ro").unwrap_or(value), false),
                };
                let outside = Outside {
                    cwd: "/home/somebody/here".to_owned(),
                    homes: vec!["/home/somebody".to_owned()],
                    ..Outside::default()
                };
                let path = match (path.strip_prefix("./"), path.strip_prefix('~')) {
                    (Some(rest), _) => format!("{}/{rest}", outside.cwd),
                    (_, Some(rest)) => format!("/home/somebody{rest}"),
                    _ => path.replacen("**", "/x", usize::from(path.starts_with("**"))),
                };
                mounts::lets(self, subject, &instance(&path), write, &outside)
            }
            _ => self.ask(subject, key, &instance(value)).is_ok(),
        }
    }

    fn gives_value(&self, subject: &Subject, key: Key, value: &str) -> bool {
        let rules = self.gives(subject);
        let entries = rules.iter().flat_map(|(_, rule)| rule.lists.iter());
        let mut of_key = entries.filter(|entry| entry.key == key);
        match key {
            // A cell has one, the weightiest rule's.
            Key::Network | Key::Syscalls => {
                let last = of_key.next_back();
                last.is_some_and(|entry| entry.values.iter().any(|v| v == value))
            }
            _ => of_key.any(|entry| entry.values.iter().any(|v| v == value)),
        }
    }

    /// Whether a rule gives what another refuses, so that nothing runs: of the user's own, or where what
    /// refuses is built in.
    fn refuses_a_gift(&self, subject: &Subject, key: Key, value: &str) -> bool {
        if matches!(
            key,
            Key::Etc | Key::Explain | Key::Mounts | Key::Targets | Key::Userns
        ) {
            return false;
        }
        let Err(refusal) = self.ask(subject, key, value) else {
            return false;
        };
        let by_builtin = matches!(refusal.origin, Origin::Rule { builtin: true, .. });
        let rules = self.gives(subject);
        let mut gives = rules.iter().filter(|(_, rule)| {
            let mut entries = rule.lists.iter().filter(|entry| entry.key == key);
            entries.any(|entry| entry.values.iter().any(|have| have == value))
        });
        gives.any(|(_, rule)| !rule.head.builtin || by_builtin)
    }

    fn says(&self, subject: &Subject, key: Key, value: &str) -> &'static str {
        match self.lets(subject, key, value) {
            // A gift that is refused is a refusal of the run.
            false if self.refuses_a_gift(subject, key, value) => "given and refused",
            false => "not allowed",
            true if self.gives_value(subject, key, value) => "given",
            true => "allowed",
        }
    }
}

fn rank(said: &str) -> u8 {
    match said {
        "given" => 3,
        "allowed" => 2,
        "given and refused" => 0,
        _ => 1,
    }
}

fn values(sides: &[Policy; 2], subject: &Subject, key: Key, changes: &mut Vec<Change>) {
    let mut spoken: BTreeSet<&str> = BTreeSet::new();
    for level in sides.iter().flat_map(|side| &side.levels) {
        let rules = &level.rules;
        let rules = rules.give.iter().chain(&rules.allow).chain(&rules.deny);
        let entries = rules.flat_map(|rule| rule.lists.iter());
        let of_key = entries.filter(|entry| entry.key == key);
        spoken.extend(of_key.flat_map(|entry| entry.values.iter().map(String::as_str)));
    }
    for value in spoken {
        let [before, after] = sides.each_ref().map(|side| side.says(subject, key, value));
        if before != after {
            let wider = rank(after) > rank(before);
            changes.push(change(key.name(), value, before, after, wider));
        }
    }
}

fn trust(sides: &[Policy; 2], subject: &Subject, changes: &mut Vec<Change>) {
    let [before, after] = sides.each_ref().map(|side| trusted(side, subject));
    if before != after {
        // Which of two sets of signers is the wider is not for us to say: a person should look.
        let wider = after.0 < before.0 || (after.0 == before.0 && after.1 != before.1);
        let texts = [before, after].map(|(_, texts)| texts.join(" and "));
        changes.push(change("trust", "", &texts[0], &texts[1], wider));
    }
}

/// How strict a policy is about an image, and what it accepts: nobody's trust is a refusal, and the
/// strictest level counts, beside all that is said of signatures.
fn trusted(side: &Policy, subject: &Subject) -> (u8, Vec<String>) {
    let (mut word, mut signed) = (Accept::Any, BTreeSet::new());
    for level in &side.levels {
        let rules = level.trusts(subject);
        if rules.is_empty() {
            word = Accept::Reject;
        }
        for rule in rules {
            match &rule.accept {
                Accept::Signed(_) => drop(signed.insert(rule.accept.written())),
                accept if accept.strictness() > word.strictness() => word = accept.clone(),
                _ => {}
            }
        }
    }
    if word == Accept::Reject {
        signed.clear();
    }
    let strictness = match signed.is_empty() {
        true => word.strictness(),
        // As strict as both.
        false => 3 + word.strictness(),
    };
    let bare = word.written().trim_matches('"').to_owned();
    let word = (signed.is_empty() || word != Accept::Any).then_some(bare);
    (strictness, word.into_iter().chain(signed).collect())
}

fn amounts(sides: &[Policy; 2], subject: &Subject, limit: Limit, changes: &mut Vec<Change>) {
    let shown = |amount: Option<u64>| match (amount, limit.unit()) {
        (None, _) => "no limit".to_owned(),
        (Some(n), Unit::Pieces) => n.to_string(),
        (Some(n), Unit::Bytes) if n % (MEMORY / 100) == 0 => {
            format!("{}% of the memory", n / (MEMORY / 100))
        }
        (Some(n), Unit::Bytes) => words::size(n),
        (Some(n), Unit::Seconds) => format!("{n}s"),
        (Some(n), Unit::Millicpus) => words::cpus(n),
    };
    let most = |side: &Policy| {
        let levels = side.levels.iter();
        let amounts = levels.filter_map(|level| level.most(subject, limit, MEMORY));
        amounts.map(|(amount, ..)| amount).min()
    };
    let given = |side: &Policy| {
        let rules = side.gives(subject);
        let entries = rules
            .iter()
            .flat_map(|(weight, rule)| rule.limits.iter().map(move |entry| (*weight, entry)));
        let of_limit = entries.filter(|(_, entry)| entry.key == limit);
        let amounts = of_limit.filter_map(|(weight, entry)| {
            Some((weight, super::compose::amount(limit, entry, MEMORY)?))
        });
        let weightiest =
            amounts.max_by_key(|(weight, amount)| (*weight, std::cmp::Reverse(*amount)));
        weightiest.map(|(_, amount)| amount)
    };
    for (about, [before, after]) in [
        ("most", sides.each_ref().map(most)),
        ("given", sides.each_ref().map(given)),
    ] {
        if before != after {
            let wider = after.unwrap_or(u64::MAX) > before.unwrap_or(u64::MAX);
            changes.push(change(
                &format!("limits {}", limit.name()),
                about,
                &shown(before),
                &shown(after),
                wider,
            ));
        }
    }
}

/// What must hold: a line each, as it is written.
fn requirements(sides: &[Policy; 2], subject: &Subject, changes: &mut Vec<Change>) {
    let [before, after] = sides.each_ref().map(|side| {
        let rules = side.levels.iter().flat_map(|level| level.require(subject));
        rules
            .flat_map(|rule| {
                let lines = super::view::required(rule).into_iter();
                lines.chain(super::view::attested(rule))
            })
            .collect::<BTreeSet<_>>()
    });
    for gone in before.difference(&after) {
        changes.push(change("require", gone, "required", "not required", true));
    }
    for new in after.difference(&before) {
        changes.push(change("require", new, "not required", "required", false));
    }
}
