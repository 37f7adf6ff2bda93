//! The policy in force as it can be shown: every level, every rule, each with where it stands.

use super::compose::{Level, Policy};
use super::grants::{Origin, VerifyMode};
use super::limit::{Limit, Unit};
use super::parse::{Entry, Head, Require, Rule, day_text};
use super::require::Facts;
use super::words;

/// A level as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LevelView {
    /// `never`, `system`, `user` or `project`.
    pub level: &'static str,
    /// Its own file; for the user's it may not be there yet.
    pub file: String,
    /// Its rules: trust, require, give, allow, deny.
    pub rules: Vec<RuleView>,
    /// Rules whose last day is over, a line each.
    pub ended: Vec<String>,
}

/// A rule as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RuleView {
    /// `trust`, `require`, `give`, `allow` or `deny`.
    pub word: &'static str,
    /// Where it stands.
    pub origin: Origin,
    /// Which images it is about; empty: all.
    pub images: Vec<String>,
    /// What it says, as lines of TOML.
    pub lines: Vec<String>,
    /// Why it is there.
    pub reason: String,
}

impl RuleView {
    fn of(word: &'static str, head: &Head, lines: Vec<String>) -> Self {
        Self {
            word,
            origin: head.at(head.line),
            images: head.images.clone(),
            lines,
            reason: head.reason.clone(),
        }
    }

    /// The rule as TOML, with where it stands behind its first line.
    pub fn toml(&self) -> String {
        let mut out = format!("[[{}]] # {}\n", self.word, self.origin);
        if !self.images.is_empty() {
            let images = words::toml_array(self.images.iter().map(String::as_str));
            out.push_str(&format!("image = {images}\n"));
        }
        for line in &self.lines {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(&format!("reason = {}\n", words::toml(&self.reason)));
        out
    }
}

impl Policy {
    /// Everything that is in force, outermost level first.
    pub fn view(&self) -> Vec<LevelView> {
        self.levels.iter().map(level).collect()
    }
}

fn level(level: &Level) -> LevelView {
    let rules = &level.rules;
    let trust = rules.trust.iter().map(|rule| {
        let accept = format!("accept = {}", rule.accept.written());
        RuleView::of("trust", &rule.head, vec![accept])
    });
    let require = rules.require.iter().map(|rule| {
        let lines = required(rule).into_iter().chain(attested(rule));
        RuleView::of("require", &rule.head, lines.collect())
    });
    let lists = rules.give.iter().chain(&rules.allow).chain(&rules.deny);
    let lists = lists.map(|rule| RuleView::of(rule.word, &rule.head, listed(rule)));
    let ended = rules.ended.iter().map(|ended| {
        format!(
            "{} at {}:{} ended on {}",
            ended.word,
            ended.file,
            ended.line,
            day_text(ended.day)
        )
    });
    LevelView {
        level: level.whose.name(),
        file: level.file.to_string(),
        rules: trust.chain(require).chain(lists).collect(),
        ended: ended.collect(),
    }
}

pub(super) fn listed(rule: &Rule) -> Vec<String> {
    let lists = rule.lists.iter().map(|entry| {
        let values = words::toml_array(entry.values.iter().map(String::as_str));
        format!("{} = {values}", entry.key.name())
    });
    let mut lines: Vec<String> = lists.collect();
    if !rule.limits.is_empty() {
        let limits: Vec<String> = rule.limits.iter().map(limit).collect();
        lines.push(format!("limits = {{ {} }}", limits.join(", ")));
    }
    lines
}

fn limit(entry: &Entry<Limit>) -> String {
    let value = entry.values.first().map_or("", String::as_str);
    match entry.key.unit() {
        Unit::Pieces | Unit::Millicpus => format!("{} = {value}", entry.key.name()),
        _ => format!("{} = {}", entry.key.name(), words::toml(value)),
    }
}

/// What must be attested, as one line; `None`: nothing.
pub(super) fn attested(rule: &Require) -> Option<String> {
    let all: Vec<String> = rule.attested.iter().map(|one| one.written()).collect();
    (!all.is_empty()).then(|| format!("attested = {{ {} }}", all.join(", ")))
}

/// What must hold, a line each, but for what must be attested.
pub(super) fn required(rule: &Require) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((mode, _)) = rule.verify {
        lines.push(match mode {
            VerifyMode::Stat => "verify = \"stat\"".to_owned(),
            VerifyMode::Full => "verify = \"full\"".to_owned(),
        });
    }
    if !rule.limits.is_empty() {
        let names = words::toml_array(rule.limits.iter().map(|(limit, _)| limit.name()));
        lines.push(format!("limits = {names}"));
    }
    let facts = facts(&rule.facts);
    if !facts.is_empty() {
        lines.push(format!("facts = {{ {} }}", facts.join(", ")));
    }
    lines
}

fn facts(facts: &Facts) -> Vec<String> {
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    let text = |t: &Option<(u64, String)>| t.as_ref().map(|(_, text)| words::toml(text));
    let none = |is: bool| is.then(|| "\"none\"".to_owned());
    let list = |texts: &[String]| {
        (!texts.is_empty()).then(|| words::toml_array(texts.iter().map(String::as_str)))
    };
    let labels: Vec<String> = facts
        .labels
        .iter()
        .map(|(key, value)| format!("{} = {}", words::toml(key), words::toml(value)))
        .collect();
    let base: Vec<String> = facts.base.iter().map(ToString::to_string).collect();
    [
        ("max_layers", number(facts.max_layers)),
        ("max_size", text(&facts.max_size)),
        ("max_files", number(facts.max_files)),
        ("max_age", text(&facts.max_age)),
        ("setuid", none(facts.setuid.is_some())),
        ("file_caps", none(facts.file_caps.is_some())),
        ("special", none(facts.special.is_some())),
        ("world_writable", none(facts.world_writable.is_some())),
        ("absent", list(&facts.absent)),
        ("present", list(&facts.present)),
        (
            "users",
            facts
                .users
                .as_ref()
                .map(|users| words::toml_array(users.iter().map(String::as_str))),
        ),
        (
            "labels",
            (!labels.is_empty()).then(|| format!("{{ {} }}", labels.join(", "))),
        ),
        ("base", list(&base)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(format!("{key} = {}", value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse::{PolicyFile, parse};
    use super::super::shipped;

    /// What is shown of a rule says what its file says: read again, it is the same rule.
    #[test]
    fn what_is_shown_reads_back() {
        let source = "version = 1\n\
            [[trust]]\nimage = [\"docker.io/a\", \"b.c/**\"]\naccept = \"pinned\"\nreason = \"r \\\"1\\\"\"\n\
            [[require]]\nimage = \"oci:/x\"\nverify = \"full\"\nlimits = [\"pids\", \"memory\"]\n\
            facts = { max_layers = 1, max_files = 2, max_size = \"3k\", setuid = \"none\", file_caps = \"none\", special = \"none\", \
            world_writable = \"none\", absent = [\"/a\"], present = [\"**/c\"], users = [], labels = { x = \"*\" }, max_age = \"9d\", \
            base = [\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"] }\nreason = \"r\"\n\
            [[give]]\ncaps = []\nsyscalls = \"default\"\nlimits = { pids = 1, timeout = \"1m\" }\nreason = \"r\"\n\
            [[deny]]\nimage = \"oci:/y\"\ntargets = [\"/\"]\ndevices = [\"*\"]\nreason = \"r\"\n";
        let policies = shipped::ALL.iter().map(|s| s.source).chain([source]);
        for source in policies {
            let read = |text: &str| {
                let file = PolicyFile {
                    name: "p",
                    bytes: text.as_bytes(),
                    builtin: false,
                };
                parse(&file, (2026, 11, 25), &[]).unwrap()
            };
            let shown = |text: &str| {
                let level = super::Level {
                    whose: super::super::compose::Whose::User,
                    file: "p".into(),
                    extends: Vec::new(),
                    rules: read(text),
                };
                let rules = super::level(&level).rules;
                // Where a rule stands is not what it says.
                let toml = |rule: &super::RuleView| {
                    let text = rule.toml();
                    let (head, rest) = text.split_once('\n').unwrap();
                    format!("{}\n{rest}", head.split(" # ").next().unwrap())
                };
                let rules: String = rules.iter().map(toml).collect();
                format!("version = 1\n{rules}")
            };
            assert_eq!(shown(&shown(source)), shown(source));
            assert_eq!(
                shown(source).matches("[[").count(),
                source.lines().filter(|l| l.starts_with("[[")).count()
            );
        }
    }
}
