//! The built-in policies as they were read: `strict.lines` beside `strict.toml`.
//!
//! Reading two TOML files costs a quarter of what a launch may cost at all, and these two never
//! change between builds. So what the reader makes of them lies beside them, one line for each rule
//! and each of its keys, and a test reads the sources and compares. After a change of a source:
//! `LAZARET_BLESS=1 cargo test --lib shipped`.

use super::grants::VerifyMode;
use super::limit::Limit;
use super::parse::{Accept, Entry, Head, Key, Parsed, Require, Rule, Trust};
use super::require::{self, Facts, NoneWord};
use crate::error::{Error, Kind, Result};
use std::rc::Rc;

/// A built-in policy.
#[derive(Debug)]
pub(super) struct Shipped {
    /// What `extends` calls it.
    pub(super) name: &'static str,
    /// What refusals call it.
    pub(super) file: &'static str,
    /// What it is made from: the file with its comments.
    pub(super) source: &'static str,
    lines: &'static str,
}

macro_rules! shipped {
    ($name:literal) => {
        Shipped {
            name: $name,
            file: concat!($name, ".toml"),
            source: include_str!(concat!("../../policies/", $name, ".toml")),
            lines: include_str!(concat!("../../policies/", $name, ".lines")),
        }
    };
}

pub(super) const NEVER: Shipped = shipped!("never");
/// About programs of the host alone: what extends `strict` has it too.
pub(super) const TOOL: Shipped = shipped!("tool");

/// All of them.
pub(super) const ALL: [Shipped; 4] = [shipped!("strict"), shipped!("compat"), TOOL, NEVER];

/// The one of a name.
pub(super) fn named(name: &str) -> Option<&'static Shipped> {
    const THEM: &[Shipped] = &ALL;
    THEM.iter().find(|shipped| shipped.name == name)
}

const ACCEPTS: &[(&str, Accept)] = &[
    ("any", Accept::Any),
    ("pinned", Accept::Pinned),
    ("tofu", Accept::Tofu),
    ("reject", Accept::Reject),
];
const MODES: [(&str, VerifyMode); 2] = [("stat", VerifyMode::Stat), ("full", VerifyMode::Full)];

/// The text of a built-in profile, with its comments: `strict`, `compat`, `never`.
pub fn profile_text(name: &str) -> Option<&'static str> {
    named(name).map(|shipped| shipped.source)
}

impl Shipped {
    /// The rules.
    pub(super) fn rules(&self) -> Result<Parsed> {
        decode(self.file, self.lines).ok_or_else(|| {
            Error::new(
                Kind::Malformed,
                format!("the built-in policy {} is damaged", self.file),
            )
        })
    }
}

/// Fields are separated by tabs. A line that begins with `=` belongs to the rule before it.
fn decode(name: &str, lines: &str) -> Option<Parsed> {
    let file: Rc<str> = name.into();
    let mut parsed = Parsed::default();
    // Which list the lines with `=` go to.
    let mut last = "";
    for text in lines.lines() {
        let mut fields = text.split('\t');
        let word = fields.next()?;
        if word == "extends" {
            parsed.extends = Some(fields.next()?.to_owned());
            continue;
        }
        let line = fields.next()?.parse().ok()?;
        if let Some(key) = word.strip_prefix('=') {
            continued(&mut parsed, last, key, line, fields)?;
            continue;
        }
        let head = Head {
            reason: fields.next()?.to_owned(),
            images: fields.map(str::to_owned).collect(),
            file: Rc::clone(&file),
            builtin: true,
            line,
            depth: 0,
        };
        let rule = |word, head| Rule {
            word,
            head,
            lists: Vec::new(),
            limits: Vec::new(),
        };
        match word {
            "trust" => parsed.trust.push(Rc::new(Trust {
                head,
                accept: Accept::Reject,
            })),
            "require" => parsed.require.push(Rc::new(Require {
                facts_line: head.line,
                head,
                verify: None,
                limits: Vec::new(),
                facts: Facts::default(),
                attested: Vec::new(),
            })),
            "give" => parsed.give.push(Rc::new(rule("give", head))),
            "allow" => parsed.allow.push(Rc::new(rule("allow", head))),
            "deny" => parsed.deny.push(Rc::new(rule("deny", head))),
            _ => return None,
        }
        last = word;
    }
    Some(parsed)
}

fn continued<'a>(
    parsed: &mut Parsed,
    word: &str,
    key: &str,
    line: usize,
    mut values: impl Iterator<Item = &'a str>,
) -> Option<()> {
    let rule = match word {
        "trust" => {
            let value = values.next()?;
            Rc::get_mut(parsed.trust.last_mut()?)?.accept =
                ACCEPTS.iter().find(|(name, _)| *name == value)?.1.clone();
            return Some(());
        }
        "require" => return required(Rc::get_mut(parsed.require.last_mut()?)?, key, line, values),
        "give" => Rc::get_mut(parsed.give.last_mut()?)?,
        "allow" => Rc::get_mut(parsed.allow.last_mut()?)?,
        "deny" => Rc::get_mut(parsed.deny.last_mut()?)?,
        _ => return None,
    };
    let values = values.map(str::to_owned).collect();
    if let Some(key) = Key::ALL.into_iter().find(|k| k.name() == key) {
        rule.lists.push(Entry { key, values, line });
        return Some(());
    }
    let key = Limit::ALL.into_iter().find(|l| l.name() == key)?;
    rule.limits.push(Entry { key, values, line });
    Some(())
}

fn required<'a>(
    rule: &mut Require,
    key: &str,
    line: usize,
    mut values: impl Iterator<Item = &'a str>,
) -> Option<()> {
    if key == "verify" {
        let value = values.next()?;
        rule.verify = Some((MODES.iter().find(|(name, _)| *name == value)?.1, line));
        return Some(());
    }
    if key == "limits" {
        for value in values {
            rule.limits
                .push((Limit::ALL.into_iter().find(|l| l.name() == value)?, line));
        }
        return Some(());
    }
    rule.facts_line = line;
    let facts = &mut rule.facts;
    let texts: Vec<String> = values.map(str::to_owned).collect();
    match key {
        "absent" => facts.absent = texts,
        "present" => facts.present = texts,
        "users" => facts.users = Some(texts),
        "label" => facts
            .labels
            .push((texts.first()?.clone(), texts.get(1)?.clone())),
        "base" => {
            facts.base = texts
                .iter()
                .map(|t| require::base(t))
                .collect::<Option<_>>()?
        }
        _ => {
            let value = texts.first()?;
            match key {
                "max_layers" => facts.max_layers = Some(value.parse().ok()?),
                "max_files" => facts.max_files = Some(value.parse().ok()?),
                "max_size" => facts.max_size = Some(require::size(value)?),
                "max_age" => facts.max_age = Some(require::age(value)?),
                "setuid" => facts.setuid = Some(NoneWord::None),
                "file_caps" => facts.file_caps = Some(NoneWord::None),
                "special" => facts.special = Some(NoneWord::None),
                "world_writable" => facts.world_writable = Some(NoneWord::None),
                _ => return None,
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::parse::{PolicyFile, parse};
    use super::*;

    /// The lines of rules; panics on what they cannot say.
    fn encode(parsed: &Parsed) -> String {
        let mut out = String::new();
        let mut line = |fields: Vec<String>| {
            assert!(
                fields.iter().all(|f| !f.contains(['\t', '\n'])),
                "{fields:?}"
            );
            out.push_str(&fields.join("\t"));
            out.push('\n');
        };
        let head = |word: &str, head: &Head| {
            let start = [word.to_owned(), head.line.to_string(), head.reason.clone()];
            start
                .into_iter()
                .chain(head.images.clone())
                .collect::<Vec<_>>()
        };
        let entry = |key: &str, at: usize, values: Vec<String>| {
            [format!("={key}"), at.to_string()]
                .into_iter()
                .chain(values)
                .collect::<Vec<_>>()
        };
        if let Some(base) = &parsed.extends {
            line(vec!["extends".into(), base.clone()]);
        }
        for rule in &parsed.trust {
            line(head("trust", &rule.head));
            let word = ACCEPTS.iter().find(|(_, a)| *a == rule.accept).unwrap().0;
            line(entry("accept", rule.head.line, vec![word.into()]));
        }
        for rule in &parsed.require {
            line(head("require", &rule.head));
            assert!(rule.attested.is_empty(), "no shipped policy names a signer");
            if let Some((mode, at)) = rule.verify {
                let word = MODES.iter().find(|(_, m)| *m == mode).unwrap().0;
                line(entry("verify", at, vec![word.into()]));
            }
            for (limit, at) in &rule.limits {
                line(entry("limits", *at, vec![limit.name().into()]));
            }
            let facts = &rule.facts;
            let none = |word: Option<NoneWord>| word.map(|_| "none".to_owned());
            for (key, value) in [
                ("max_layers", facts.max_layers.map(|n| n.to_string())),
                ("max_files", facts.max_files.map(|n| n.to_string())),
                ("max_size", facts.max_size.clone().map(|(_, text)| text)),
                ("max_age", facts.max_age.clone().map(|(_, text)| text)),
                ("setuid", none(facts.setuid)),
                ("file_caps", none(facts.file_caps)),
                ("special", none(facts.special)),
                ("world_writable", none(facts.world_writable)),
            ] {
                if let Some(value) = value {
                    line(entry(key, rule.facts_line, vec![value]));
                }
            }
            if let Some(users) = &facts.users {
                line(entry("users", rule.facts_line, users.clone()));
            }
            for (key, value) in &facts.labels {
                let label = vec![key.clone(), value.clone()];
                line(entry("label", rule.facts_line, label));
            }
            let base = facts.base.iter().map(ToString::to_string).collect();
            for (key, values) in [
                ("absent", facts.absent.clone()),
                ("present", facts.present.clone()),
                ("base", base),
            ] {
                if !values.is_empty() {
                    line(entry(key, rule.facts_line, values));
                }
            }
        }
        for rule in parsed.give.iter().chain(&parsed.allow).chain(&parsed.deny) {
            line(head(rule.word, &rule.head));
            for list in &rule.lists {
                line(entry(list.key.name(), list.line, list.values.clone()));
            }
            for limit in &rule.limits {
                line(entry(limit.key.name(), limit.line, limit.values.clone()));
            }
        }
        out
    }

    #[test]
    fn shipped_lines_are_what_their_sources_say() {
        for shipped in &ALL {
            let file = PolicyFile {
                name: shipped.file,
                bytes: shipped.source.as_bytes(),
                builtin: true,
            };
            let parsed = parse(&file, (9999, 12, 31), &[]).unwrap();
            assert!(
                !shipped.source.lines().any(|line| line.starts_with("until")),
                "a rule that ends cannot be shipped as lines"
            );
            if std::env::var_os("LAZARET_BLESS").is_some() {
                let path = format!(
                    "{}/policies/{}.lines",
                    env!("CARGO_MANIFEST_DIR"),
                    shipped.name
                );
                std::fs::write(path, encode(&parsed)).unwrap();
                continue;
            }
            assert!(
                shipped.rules().unwrap() == parsed,
                "the lines of {} are old: LAZARET_BLESS=1 cargo test --lib shipped",
                shipped.file
            );
        }
    }

    #[test]
    fn every_kind_of_rule_survives() {
        let source = "version = 1\nextends = \"strict\"\n\
            [[trust]]\nimage = [\"a\", \"b.c/**\"]\naccept = \"reject\"\nreason = \"r 1\"\n\
            [[require]]\nimage = \"x\"\nverify = \"full\"\nlimits = [\"pids\", \"memory\"]\n\
            facts = { max_layers = 1, max_files = 2, max_size = \"3k\", setuid = \"none\", file_caps = \"none\", special = \"none\", \
            world_writable = \"none\", absent = [\"/a\", \"/b/**\"], present = [\"**/c\"], users = [], labels = { x = \"*\", \"y.z\" = \"1\" }, max_age = \"9d\", \
            base = [\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"] }\nreason = \"r\"\n\
            [[give]]\ncaps = []\nsyscalls = \"default\"\nenv = [\"HOME\", \"LANG\"]\nlimits = { pids = 1, timeout = \"1m\" }\nreason = \"r\"\n\
            [[allow]]\nmounts = [\"./x y:ro\"]\nlimits = { tmp = \"1%\", memory = \"1M\" }\nreason = \"r\"\n\
            [[deny]]\nimage = \"y\"\ntargets = [\"/\"]\ndevices = [\"*\"]\nnetwork = [\"host\"]\nreason = \"r\"\n";
        let file = PolicyFile {
            name: "t",
            bytes: source.as_bytes(),
            builtin: true,
        };
        let parsed = parse(&file, (2026, 11, 25), &[]).unwrap();
        assert_eq!(decode("t", &encode(&parsed)), Some(parsed));
    }

    #[test]
    fn damage_is_seen() {
        for lines in [
            "x",
            "give",
            "give\tx\tr",
            "what\t1\tr",
            "=caps\t1\tx",
            "trust\t1\tr\n=accept\t1\tall",
            "give\t1\tr\n=nothing\t2\tx",
            "",
        ] {
            assert_eq!(decode("t", lines).is_some(), lines.is_empty(), "{lines:?}");
        }
    }
}
