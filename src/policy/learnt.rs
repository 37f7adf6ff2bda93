//! A policy that was learnt from what a cell did: a profile of the smallest rules that cover it, each
//! with what it was learnt from as its reason. It is data to be read by a person; nothing here applies it.
//!
//! What does not come from the run comes from the profile that it stood under, as it stands there: whose
//! images may come in, what must hold, and what nobody gets. Every other rule is about one thing, so
//! that what several runs taught is the union of their rules.

use super::compose::Policy;
use super::grants::Origin;
use super::words;
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use toml::{Table, Value};

/// What marks a rule that grants more than was seen.
pub const BROADER: &str = "broader than seen";
/// The words of rules, in the order in which they are written.
const WORDS: [&str; 5] = ["trust", "require", "give", "allow", "deny"];
/// What begins a line of what was run, and of what was seen.
const RUN: &str = "# run: ";
const SEEN: &str = "# seen: ";
/// The longest reason, in characters.
const REASON: usize = 600;
/// Lists and tables in one another, of which no rule has more than three.
const DEEPEST: usize = 16;
/// Lines of what was seen that no rule is about, and the characters of one.
const SEEN_LINES: usize = 200;
const SEEN_LENGTH: usize = 200;

/// A rule: its word, what it says, and why.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    word: String,
    /// All of its keys but `reason`.
    says: Table,
    reason: String,
}

/// The policy, as it grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    rules: Vec<Rule>,
    /// What was run, a line each.
    runs: Vec<String>,
    /// What was seen that no rule is about: a kind and a pattern, and what is to be said of it.
    seen: BTreeMap<(String, String), String>,
}

impl Learnt {
    /// Of a run that needed nothing, under the profile that the caller's level of `policy` extends: whose
    /// images come in, what must hold, what nobody gets, and within which limits, is as there. Rules of
    /// the caller's own file count whatever profile is named, and are not repeated.
    ///
    /// # Errors
    /// `Malformed`: a rule that cannot be written down.
    pub fn of(policy: &Policy) -> Result<Self> {
        /// What of a gift is no capability, device or mount.
        const KEPT: [&str; 4] = ["syscalls", "network", "env", "limits"];
        let mut rules = Vec::new();
        for level in policy
            .view()
            .into_iter()
            .filter(|level| level.level == "user")
        {
            for view in &level.rules {
                let own = matches!(&view.origin, Origin::Rule { file, .. } if *file == level.file);
                let of_tools = view.images.iter().all(|image| image.starts_with("tool:"));
                if own || view.word == "allow" || !view.images.is_empty() && of_tools {
                    continue;
                }
                let mut read = read(&view.toml())
                    .map_err(|e| Error::new(Kind::Malformed, format!("{}: {e}", view.origin)))?;
                if view.word == "give" {
                    for rule in &mut read {
                        rule.says
                            .retain(|key, _| key == "image" || KEPT.contains(&key));
                    }
                    read.retain(|rule| rule.says.keys().any(|key| key != "image"));
                }
                rules.extend(read);
            }
        }
        let mut nothing = Table::new();
        for key in ["caps", "devices"] {
            nothing.insert(key.to_owned(), Value::Array(Vec::new()));
        }
        rules.push(Rule {
            word: "give".into(),
            says: nothing,
            reason: "what was needed is given below".into(),
        });
        sort(&mut rules);
        Ok(Self {
            rules,
            runs: Vec::new(),
            seen: BTreeMap::new(),
        })
    }

    /// What was run, on one line.
    pub fn run(&mut self, line: &str) {
        let line = match line.contains(char::is_control) {
            true => words::comment(line),
            false => line.to_owned(),
        };
        if !self.runs.contains(&line) {
            self.runs.push(line);
        }
    }

    /// A use of what no rule is about: `read`, `written`, `executed`, `connected`, and of what.
    pub fn seen(&mut self, kind: &str, pattern: &str, more: &str) {
        let key = (kind.to_owned(), shortened(pattern, SEEN_LENGTH));
        self.seen.insert(key, shortened(more, SEEN_LENGTH));
    }

    /// Gives or allows one value of a list: `caps`, `devices`, `env`.
    pub fn one(&mut self, word: &str, image: Option<&str>, key: &str, value: &str, reason: &str) {
        let mut says = Table::new();
        if let Some(image) = image {
            says.insert("image".into(), Value::String(image.to_owned()));
        }
        let list = Value::Array(vec![Value::String(value.to_owned())]);
        says.insert(key.to_owned(), list);
        self.add(Rule {
            word: word.to_owned(),
            says,
            reason: reason.to_owned(),
        });
    }

    /// The rules of a cure, for `reason`; false: it has none that is not there already.
    ///
    /// # Errors
    /// `Malformed`: the cure is no policy.
    pub fn cure(&mut self, lines: &[String], reason: impl Fn(&str) -> String) -> Result<bool> {
        let begin = lines.iter().position(|line| line.starts_with("[["));
        let end = lines.iter().rposition(|line| line.starts_with("reason = "));
        let (Some(begin), Some(end)) = (begin, end) else {
            return Ok(false);
        };
        let text = lines.get(begin..=end).unwrap_or_default().join("\n");
        let rules = read(&text).map_err(|e| Error::new(Kind::Malformed, format!("a cure: {e}")))?;
        let mut new = false;
        for mut rule in rules {
            let keys = rule.says.keys().filter(|key| *key != "image");
            let about: Vec<String> = keys.cloned().collect();
            rule.reason = reason(&about.join(" "));
            new |= self.add(rule);
        }
        Ok(new)
    }

    /// Adds a rule, if none says the same; of two reasons that counts which marks nothing.
    fn add(&mut self, rule: Rule) -> bool {
        let same = |have: &&mut Rule| have.word == rule.word && have.says == rule.says;
        match self.rules.iter_mut().find(same) {
            Some(have) => {
                if have.reason.contains(BROADER) && !rule.reason.contains(BROADER) {
                    have.reason = rule.reason;
                }
                false
            }
            None => {
                self.rules.push(rule);
                sort(&mut self.rules);
                true
            }
        }
    }

    /// Reads what [`Self::text`] wrote.
    ///
    /// # Errors
    /// `Malformed`: it is no policy.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let bad = |cause: String| Error::new(Kind::Malformed, format!("{file}: {cause}"));
        let rules = read(text).map_err(bad)?;
        let lines = |begin: &'static str| text.lines().filter_map(move |l| l.strip_prefix(begin));
        let seen = lines(SEEN).filter_map(|line| {
            let (kind, rest) = line.split_once(' ')?;
            let (pattern, more) = rest.split_once('\t').unwrap_or((rest, ""));
            Some(((kind.to_owned(), pattern.to_owned()), more.to_owned()))
        });
        Ok(Self {
            rules,
            runs: lines(RUN).map(str::to_owned).collect(),
            seen: seen.collect(),
        })
    }

    /// What both were learnt from, this one first.
    pub fn and(mut self, other: Self) -> Self {
        for run in other.runs {
            if !self.runs.contains(&run) {
                self.runs.push(run);
            }
        }
        self.seen.extend(other.seen);
        for rule in other.rules {
            self.add(rule);
        }
        self
    }

    /// How many rules mark that they are broader than what was seen.
    pub fn broader(&self) -> usize {
        let marked = self.rules.iter();
        marked.filter(|rule| rule.reason.contains(BROADER)).count()
    }

    /// The policy as the profile `name`; `json`: the file of its system calls.
    pub fn text(&self, name: &str, json: &str) -> String {
        let mut out = format!(
            "# Learnt by `lazaret learn` from what was run. Nothing applies it by itself: read it, then put\n\
             # it into profiles/ beside your policy.toml, and run under it with\n\
             #   --profile {name} --security-opt seccomp={json}\n\
             # Each rule's reason says what it was learnt from; \"{BROADER}\" marks what is more than that.\n#\n"
        );
        for run in &self.runs {
            // Writing to a String cannot fail.
            let _infallible = writeln!(out, "{RUN}{run}");
        }
        if !self.seen.is_empty() {
            out.push_str("#\n# What else was used, which no rule need be about:\n");
        }
        for ((kind, pattern), more) in self.seen.iter().take(SEEN_LINES) {
            let more = match more.as_str() {
                "" => String::new(),
                // No word of a stranger has one.
                more => format!("\t{more}"),
            };
            let _infallible = writeln!(out, "{SEEN}{kind} {pattern}{more}");
        }
        if let Some(more) = self
            .seen
            .len()
            .checked_sub(SEEN_LINES)
            .filter(|more| *more > 0)
        {
            let _infallible = writeln!(out, "# and {more} more");
        }
        out.push_str(&self.rules_text(name));
        out
    }

    /// The same without a word of what was run and seen: what is decided by.
    pub fn rules_text(&self, name: &str) -> String {
        // Writing to a String cannot fail.
        let mut out = format!("\nversion = 1\nprofile = {}\n", words::toml(name));
        for rule in &self.rules {
            let _infallible = writeln!(out, "\n[[{}]]", rule.word);
            for (key, value) in &rule.says {
                let _infallible = writeln!(out, "{} = {}", name_of(key), written(value));
            }
            let reason = cut(&rule.reason, REASON);
            let _infallible = writeln!(out, "reason = {}", words::toml(&reason));
        }
        out
    }
}

/// In the order of their words, and else as they came.
fn sort(rules: &mut [Rule]) {
    rules.sort_by_key(|rule| WORDS.iter().position(|word| *word == rule.word));
}

/// The first so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A stranger's word in a comment.
fn shortened(text: &str, most: usize) -> String {
    words::comment(&cut(text, most))
}

/// What a policy's text calls itself, where it is a profile.
pub fn profile_name(text: &[u8]) -> Option<String> {
    let table: Table = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(table.get("profile")?.as_str()?.to_owned())
}

/// The rules of a policy's text, in the order of their words.
fn read(text: &str) -> std::result::Result<Vec<Rule>, String> {
    let table: Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    let mut rules = Vec::new();
    for word in WORDS {
        let Some(all) = table.get(word) else { continue };
        for rule in all
            .as_array()
            .ok_or(format!("{word} is no list of rules"))?
        {
            let mut says = rule
                .as_table()
                .cloned()
                .ok_or(format!("a {word} that is no rule"))?;
            let reason = match says.remove("reason") {
                Some(Value::String(reason)) => cut(&reason, REASON),
                _ => return Err(format!("a {word} without a reason")),
            };
            let says = Value::Table(says);
            if depth(&says) > DEEPEST {
                return Err(format!("a {word} that nobody could read"));
            }
            let Value::Table(says) = says else { continue };
            rules.push(Rule {
                word: word.to_owned(),
                says,
                reason,
            });
        }
    }
    Ok(rules)
}

/// How many lists and tables stand in one another.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(all) => 1 + all.iter().map(depth).max().unwrap_or(0),
        Value::Table(all) => 1 + all.iter().map(|(_, v)| depth(v)).max().unwrap_or(0),
        _ => 0,
    }
}

/// A key: bare where TOML lets it be.
fn name_of(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match !key.is_empty() && key.bytes().all(bare) {
        true => key.to_owned(),
        false => words::toml(key),
    }
}

/// A value on one line.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => words::toml(text),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(written).collect();
            format!("[{}]", all.join(", "))
        }
        Value::Table(table) => {
            let all: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{} = {}", name_of(key), written(value)))
                .collect();
            format!("{{ {} }}", all.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_key_is_called_is_read_back() {
        let text = "[[give]]\n\"a b\" = { \"\" = 1, c = 2 }\nreason = \"r\"\n";
        let learnt = Learnt::parse(text, "l").unwrap();
        let written = learnt.text("p", "p.json");
        assert_eq!(Learnt::parse(&written, "l").unwrap(), learnt);
    }

    fn learnt() -> Learnt {
        Learnt::of(&Policy::strict().unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut one = learnt();
        one.run("busybox sh -c 'echo \"x\"'\n[[allow]]");
        one.seen("read", "/usr/**", "3 files");
        one.seen("connected", "10.0.0.1:80", "");
        one.one(
            "give",
            Some("busybox"),
            "caps",
            "CHOWN",
            "chown(\"/x\\n[[give]]\")",
        );
        let text = one.text("own", "own.seccomp.json");
        let back = Learnt::parse(&text, "own.toml").unwrap();
        assert_eq!(back, one);
        assert_eq!(back.text("own", "own.seccomp.json"), text);
        assert_eq!(one.clone().and(back), one);
    }

    #[test]
    fn trust_and_denials_are_the_profiles() {
        let text = learnt().text("x", "y");
        let strict = super::super::shipped::profile_text("strict").unwrap();
        for (word, many) in [("trust", 2), ("require", 1), ("deny", 1), ("allow", 0)] {
            assert_eq!(text.matches(&format!("[[{word}]]")).count(), many, "{text}");
        }
        let rules = |text: &str, word: &str| -> Vec<Table> {
            let rules = super::read(text).unwrap().into_iter();
            let mut of: Vec<Table> = rules
                .filter(|rule| rule.word == word)
                .map(|rule| rule.says)
                .collect();
            // A single image is a list of one.
            for says in &mut of {
                if let Some(Value::String(image)) = says.get("image").cloned() {
                    says.insert("image".into(), Value::Array(vec![Value::String(image)]));
                }
            }
            of
        };
        for word in ["trust", "deny"] {
            assert_eq!(rules(&text, word), rules(strict, word), "{word}");
        }
        // The same rules once they are read as a profile, and no capability, device or mount.
        let gifts = rules(&text, "give");
        assert!(gifts.iter().any(|says| says.contains_key("limits")));
        let lists = gifts
            .iter()
            .flat_map(|says| [says.get("caps"), says.get("devices")]);
        assert!(
            lists
                .flatten()
                .all(|list| list.as_array().unwrap().is_empty())
        );
    }

    #[test]
    fn what_was_seen_is_bounded_and_no_rule() {
        let mut one = learnt();
        for n in 0..1000 {
            one.seen("read", &format!("/{n}/{}", "é".repeat(4000)), "");
        }
        let text = one.text("x", "y");
        assert!(text.len() < 200_000, "{}", text.len());
        assert!(text.contains("# and 800 more"));
        assert!(text.ends_with(&one.rules_text("x")));
        assert!(!one.rules_text("x").contains('é'));
        // A mark is not cut off.
        let long = format!("{BROADER}: {}", "é".repeat(4000));
        one.one("allow", None, "mounts", "/a", &long);
        let back = Learnt::parse(&one.text("x", "y"), "f").unwrap();
        assert_eq!((one.broader(), back.broader()), (1, 1));
    }

    #[test]
    fn several_runs_are_the_union_and_a_mark_goes_once_it_is_wrong() {
        let (mut one, mut two) = (learnt(), learnt());
        let broad = format!("asked for ({BROADER}: only read)");
        one.one("allow", None, "mounts", "/a:rw", &broad);
        two.one("allow", None, "mounts", "/a:rw", "written");
        two.one("give", None, "caps", "KILL", "kill");
        two.one("allow", None, "network", "host", "10.0.0.1:80");
        assert_eq!((one.broader(), two.broader()), (1, 0));
        for both in [one.clone().and(two.clone()), two.and(one)] {
            assert_eq!(both.broader(), 0);
            let text = both.text("x", "y");
            for part in ["/a:rw", "\"KILL\"", "network = [\"host\"]"] {
                assert_eq!(text.matches(part).count(), 1, "{text}");
            }
        }
    }

    #[test]
    fn a_cure_is_taken_in_once() {
        let mut one = learnt();
        let lines = [
            "to allow it, add to x",
            "[[allow]]",
            "image = \"a\"",
            "mounts = [\"/b:rw\"]",
            "reason = \"...\"",
            "and run with -v",
        ];
        let lines = lines.map(str::to_owned);
        let reason = |key: &str| format!("asked for, {key}");
        assert!(one.cure(&lines, reason).unwrap());
        assert!(!one.cure(&lines, reason).unwrap());
        assert!(!one.cure(&["-u 0".to_owned()], reason).unwrap());
        assert!(
            one.text("x", "y")
                .contains("reason = \"asked for, mounts\"")
        );
        assert!(Learnt::parse("[[give]]\ncaps = []\n", "f").is_err());
        assert!(Learnt::parse("give = 1\n", "f").is_err());
    }
}
