//! A policy that was learnt from what a cell did: a profile of the smallest rules that cover it, each
//! with what it was learnt from as its reason. It is data to be read by a person; nothing here applies it.
//!
//! What does not come from the run comes from `strict`, as it stands there: whose images may come in,
//! what must hold, and what nobody gets. Every other rule is about one thing, so that what several
//! runs taught is the union of their rules.

use super::pattern;
use super::shipped::profile_text;
use super::words;
use crate::error::{Error, Kind, Result};
use crate::image::ImageName;
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
/// The longest reason.
const REASON: usize = 600;

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
    /// Of a run of `image` that needed nothing.
    ///
    /// # Errors
    /// `Malformed`: the built-in profile is not one.
    pub fn of(image: &ImageName) -> Result<Self> {
        let text = profile_text("strict").unwrap_or_default();
        let strict = read(text).map_err(|e| Error::new(Kind::Malformed, format!("strict: {e}")))?;
        let mut rules = Vec::new();
        for mut rule in strict {
            match rule.word.as_str() {
                // Whose images come in: the rule that such a name falls under, as general as it is
                // there, so that any rule of the user's own is stricter.
                "trust" => {
                    let images = images(&rule.says);
                    let name = image.to_string();
                    let literal = images.iter().any(|image| !image.starts_with("**"));
                    let is_about = |image: &String| pattern::matches(image, &name);
                    if literal == matches!(image, ImageName::Registry(_))
                        || !images.iter().any(is_about)
                    {
                        continue;
                    }
                }
                // What ordinary programs need is learnt, not given.
                "give" => {
                    for key in ["caps", "devices"] {
                        rule.says.insert(key.to_owned(), Value::Array(Vec::new()));
                    }
                    rule.reason =
                        "as strict has it, less the devices; what was needed beside is below"
                            .into();
                }
                "allow" => continue,
                _ => {}
            }
            rules.push(rule);
        }
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
        let key = (kind.to_owned(), words::comment(pattern));
        self.seen.insert(key, words::comment(more));
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
        for ((kind, pattern), more) in &self.seen {
            let more = match more.as_str() {
                "" => String::new(),
                // No word of a stranger has one.
                more => format!("\t{more}"),
            };
            let _infallible = writeln!(out, "{SEEN}{kind} {pattern}{more}");
        }
        let _infallible = write!(out, "\nversion = 1\nprofile = {}\n", words::toml(name));
        let of = |word: &'static str| self.rules.iter().filter(move |rule| rule.word == word);
        for rule in WORDS.into_iter().flat_map(of) {
            let _infallible = writeln!(out, "\n[[{}]]", rule.word);
            for (key, value) in &rule.says {
                let _infallible = writeln!(out, "{key} = {}", written(value));
            }
            let end = rule.reason.floor_char_boundary(REASON);
            let reason = rule.reason.get(..end).unwrap_or_default();
            let _infallible = writeln!(out, "reason = {}", words::toml(reason));
        }
        out
    }
}

/// The images that a rule is about.
fn images(says: &Table) -> Vec<String> {
    match says.get("image") {
        Some(Value::String(image)) => vec![image.clone()],
        Some(Value::Array(images)) => {
            let texts = images.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
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
                Some(Value::String(reason)) => reason,
                _ => return Err(format!("a {word} without a reason")),
            };
            rules.push(Rule {
                word: word.to_owned(),
                says,
                reason,
            });
        }
    }
    Ok(rules)
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
                .map(|(key, value)| format!("{key} = {}", written(value)))
                .collect();
            format!("{{ {} }}", all.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(image: &str) -> Learnt {
        Learnt::of(&ImageName::parse(image).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut one = learnt("busybox");
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
    fn trust_is_as_general_as_in_strict() {
        let of = |image: &str| {
            let text = learnt(image).text("x", "y");
            let at = text.find("[[trust]]").unwrap();
            assert_eq!(text.matches("[[trust]]").count(), 1, "{text}");
            text[at..]
                .lines()
                .skip(1)
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of("busybox"), "accept = \"tofu\" image = \"**\"");
        assert!(of("oci:/x:y").starts_with("accept = \"any\" image = [\"oci:**\""));
        assert!(!learnt("busybox").text("x", "y").contains("[[allow]]"));
    }

    #[test]
    fn several_runs_are_the_union_and_a_mark_goes_once_it_is_wrong() {
        let (mut one, mut two) = (learnt("busybox"), learnt("busybox"));
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
        let mut one = learnt("busybox");
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
