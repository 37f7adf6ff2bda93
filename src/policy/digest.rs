//! What policies have in common that decide alike: a digest of what is in force.

use super::compose::Policy;
use super::parse::{Head, Rule};
use super::signed::Attested;
use super::view::{listed, required};
use super::words;
use crate::image::Digest;

/// A level by its file and what that extends.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LevelName {
    /// `never`, `system`, `user` or `project`.
    pub level: &'static str,
    /// Its own file; the user's may not be there.
    pub file: String,
    /// The profiles behind that file, the nearest first: `["strict"]`.
    pub extends: Vec<String>,
}

impl Policy {
    /// The levels, outermost first.
    pub fn levels(&self) -> Vec<LevelName> {
        let levels = self.levels.iter().map(|level| LevelName {
            level: level.whose.name(),
            file: level.file.to_string(),
            extends: level.extends.clone(),
        });
        levels.collect()
    }

    /// sha256 over every rule that is in force, level by level: which images it is about, what it
    /// says, and how many `extends` away it stands, which is what nearness counts. Where a rule
    /// stands and why it is there decide nothing: the same rules in another file of another person
    /// have the same digest. Keys and trust roots count by their bytes, whatever their files are
    /// called. A rule whose last day is over is not in force.
    pub fn digest(&self) -> Digest {
        let mut text = String::with_capacity(16 << 10);
        for level in &self.levels {
            text.push_str("level ");
            text.push_str(level.whose.name());
            text.push('\n');
            let rules = &level.rules;
            for rule in &rules.trust {
                put(&mut text, "trust", &rule.head, &[rule.accept.identified()]);
            }
            for rule in &rules.require {
                let mut lines = required(rule);
                lines.extend(rule.attested.iter().map(Attested::identified));
                put(&mut text, "require", &rule.head, &lines);
            }
            let lists = rules.give.iter().chain(&rules.allow).chain(&rules.deny);
            for rule in lists {
                let rule: &Rule = rule;
                put(&mut text, rule.word, &rule.head, &listed(rule));
            }
        }
        Digest::of(text.as_bytes())
    }
}

/// Every value in it is quoted as TOML, so that no two policies are written alike.
fn put(text: &mut String, word: &str, head: &Head, lines: &[String]) {
    text.push_str(word);
    text.push(' ');
    text.push_str(&head.depth.to_string());
    text.push(' ');
    text.push_str(&words::toml_array(head.images.iter().map(String::as_str)));
    text.push('\n');
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Composed, PolicyFile, Sources};
    use super::*;

    fn policy(name: &str, text: &str) -> Policy {
        let user = Some(PolicyFile {
            name,
            bytes: text.as_bytes(),
            builtin: false,
        });
        let sources = Sources {
            user,
            user_file: name,
            today: (2026, 11, 26),
            ..Sources::default()
        };
        match Policy::compose(&sources).unwrap() {
            Composed::Policy(policy) => policy,
            other => panic!("{other:?}"),
        }
    }

    const HEAD: &str = "version = 1\nextends = \"strict\"\n";

    fn digest(rule: &str) -> Digest {
        policy("p", &format!("{HEAD}{rule}")).digest()
    }

    #[test]
    fn a_rule_more_or_another_word_is_another_policy() {
        let rules = [
            "",
            "[[allow]]\nmounts = [\"/a:rw\"]\nreason = \"r\"\n",
            "[[allow]]\nmounts = [\"/a:ro\"]\nreason = \"r\"\n",
            "[[deny]]\nmounts = [\"/a:rw\"]\nreason = \"r\"\n",
            "[[allow]]\nimage = \"docker.io/**\"\nmounts = [\"/a:rw\"]\nreason = \"r\"\n",
            "[[allow]]\nimage = \"docker.io/a\"\nmounts = [\"/a:rw\"]\nreason = \"r\"\n",
            "[[trust]]\nimage = \"**\"\naccept = \"pinned\"\nreason = \"r\"\n",
            "[[trust]]\nimage = \"**\"\naccept = \"reject\"\nreason = \"r\"\n",
            "[[require]]\nverify = \"full\"\nreason = \"r\"\n",
            "[[allow]]\nlimits = { pids = 9 }\nreason = \"r\"\n",
        ];
        let mut digests: Vec<Digest> = rules.iter().map(|rule| digest(rule)).collect();
        let compat = "version = 1\nextends = \"compat\"\n";
        digests.push(policy("p", compat).digest());
        let all = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), all);
        assert_eq!(digest(""), Policy::strict().unwrap().digest());
    }

    #[test]
    fn where_a_rule_stands_and_why_makes_no_difference() {
        let one = "[[allow]]\nmounts = [\"/a:rw\"]\nreason = \"r\"\n";
        let two = "# a comment\n\n[[allow]]\nreason = \"another\"\nmounts = [\"/a:rw\"]\n";
        let over = "[[deny]]\nmounts = [\"/a:rw\"]\nuntil = 2020-01-01\nreason = \"r\"\n";
        assert_eq!(digest(one), digest(two));
        assert_eq!(digest(one), digest(&format!("{one}{over}")));
        let elsewhere = policy("/home/other/policy.toml", &format!("{HEAD}{one}"));
        assert_eq!(digest(one), elsewhere.digest());
        let levels = elsewhere.levels();
        assert_eq!(levels[1].file, "/home/other/policy.toml");
        assert_eq!(levels[1].extends, ["strict"]);
        assert_eq!(levels[0].level, "never");
    }
}
