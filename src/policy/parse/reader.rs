//! Walks the tree of a policy file, and gathers what is wrong with it.

use super::{Day, Entry, Head, Key, Parsed, PolicyFile, Problem};
use crate::error::Kind;
use crate::image::{ImageName, is_transport};
use crate::policy::words;
use std::ops::Range;
use std::rc::Rc;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// More problems than anybody reads.
const MAX_PROBLEMS: usize = 100;

/// The keys that every rule has.
pub(super) const COMMON: [&str; 3] = ["image", "until", "reason"];

const FILE_KEYS: [&str; 8] = [
    "version", "profile", "extends", "trust", "require", "give", "allow", "deny",
];

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

pub(super) struct Reader<'a> {
    pub(super) name: Rc<str>,
    pub(super) builtin: bool,
    pub(super) today: Day,
    text: &'a str,
    /// Files that rules name, by path.
    beside: &'a [(String, Vec<u8>)],
    /// Offsets of the line breaks.
    breaks: Vec<usize>,
    /// Where the piece begins that is being read; spans are from there on.
    base: usize,
    problems: Vec<Problem>,
}

/// What every rule has beside its own keys.
#[derive(Default)]
pub(super) struct Common {
    images: Option<Vec<String>>,
    until: Option<(Day, usize)>,
    reason: Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        file: &PolicyFile<'_>,
        text: &'a str,
        today: Day,
        beside: &'a [(String, Vec<u8>)],
    ) -> Self {
        let breaks = text.bytes().enumerate();
        let breaks = breaks.filter(|(_, b)| *b == b'\n').map(|(at, _)| at);
        Self {
            name: file.name.into(),
            builtin: file.builtin,
            today,
            text,
            beside,
            breaks: breaks.collect(),
            base: 0,
            problems: Vec::new(),
        }
    }

    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let start = self.base + span.start;
        self.breaks.partition_point(|at| *at < start) + 1
    }

    /// The bytes of a file that a rule names, if they are here.
    pub(super) fn beside(&self, path: &str) -> Option<&'a [u8]> {
        let mut files = self.beside.iter();
        let (_, bytes) = files.find(|(name, _)| name == path)?;
        Some(bytes)
    }

    pub(super) fn problem(
        &mut self,
        span: &Range<usize>,
        cause: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problem_of(Kind::Malformed, span, cause, hint);
    }

    pub(super) fn problem_of(
        &mut self,
        kind: Kind,
        span: &Range<usize>,
        cause: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let line = self.line(span);
        let begin = match line {
            1 => 0,
            line => self.breaks.get(line - 2).map_or(0, |at| at + 1),
        };
        let before = self
            .text
            .get(begin..self.base + span.start)
            .unwrap_or_default();
        let problem = Problem {
            line,
            column: before.chars().count() + 1,
            cause: cause.into(),
            hint: hint.into(),
            kind,
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// A key that is not known here.
    pub(super) fn unknown(&mut self, span: &Range<usize>, key: &str, place: &str, known: &[&str]) {
        let hint = match nearest(key, known) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("{place} has {}", known.join(", ")),
        };
        let cause = format!("unknown key {} in {place}", words::shown(key));
        self.problem(span, cause, hint);
    }

    /// The whole file.
    pub(super) fn file(mut self) -> Result<Parsed, Vec<Problem>> {
        let mut parsed = Parsed::default();
        let mut version = false;
        match DeTable::parse(self.text) {
            Ok(tree) => self.walk(&mut parsed, &mut version, tree.get_ref()),
            // A broken line breaks its own rule; the others are looked at all the same.
            Err(_) => {
                for (base, rule) in segments(self.text) {
                    self.base = base;
                    // The first error is the cause, what follows in the same rule its echo.
                    match DeTable::parse_recoverable(rule) {
                        (tree, errors) if errors.is_empty() => {
                            self.walk(&mut parsed, &mut version, tree.get_ref());
                        }
                        (_, errors) => {
                            let place = |error: &toml::de::Error| error.span().unwrap_or(0..0);
                            let first = errors.iter().min_by_key(|error| place(error).start);
                            if let Some(error) = first {
                                self.problem(&place(error), words::one_line(error.message()), "");
                            }
                        }
                    }
                }
                if self.problems.is_empty() {
                    let cause = "this is not TOML as a whole: a table or key stands twice";
                    self.problem(&(0..0), cause, "");
                }
            }
        }
        if !version && self.problems.is_empty() {
            let cause = "the version is missing";
            self.problem(&(0..0), cause, "the first line of a policy is version = 1");
        }
        self.problems.sort_by_key(|p| (p.line, p.column));
        match self.problems.is_empty() {
            true => Ok(parsed),
            false => Err(self.problems),
        }
    }

    fn walk(&mut self, parsed: &mut Parsed, version: &mut bool, tree: &DeTable<'_>) {
        for (key, value) in tree {
            let (word, span) = (key.get_ref().as_ref(), key.span());
            match word {
                "version" => *version = self.version(value),
                "profile" => drop(self.string(value, "profile")),
                "extends" => parsed.extends = self.string(value, "extends"),
                "trust" | "require" | "give" | "allow" | "deny" => {
                    let hint = format!("each begins with a line [[{word}]]");
                    let Some(rules) = value.get_ref().as_array() else {
                        self.problem(&span, format!("{word} is a list of rules"), hint);
                        continue;
                    };
                    for rule in rules {
                        match rule.get_ref().as_table() {
                            Some(table) => self.rule(parsed, word, table, &rule.span()),
                            None => {
                                let cause = format!("{word} is a list of rules");
                                self.problem(&rule.span(), cause, hint.clone());
                            }
                        }
                    }
                }
                other => self.unknown(&span, other, "a policy", &FILE_KEYS),
            }
        }
    }

    fn version(&mut self, value: &Value<'_>) -> bool {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        match number {
            Some(1) => {}
            _ => {
                let cause = match number {
                    Some(number) => format!("version = {number}"),
                    None => "version is not a number".to_owned(),
                };
                let hint = "this lazaret reads version = 1";
                self.problem_of(Kind::Unsupported, &value.span(), cause, hint);
            }
        }
        true
    }

    /// Takes a key that every rule has; else it is another.
    pub(super) fn common(&mut self, common: &mut Common, key: &str, value: &Value<'_>) -> bool {
        match key {
            "image" => {
                let patterns = self.strings(value, key);
                if patterns.as_ref().is_some_and(Vec::is_empty) {
                    self.problem(&value.span(), "image = [] is about no image at all", "");
                }
                let patterns = patterns.unwrap_or_default().into_iter();
                common.images = Some(patterns.map(|p| self.image(&value.span(), p)).collect());
            }
            "until" => {
                // A time of day would be passed over.
                let date = value.get_ref().as_datetime();
                let date = date.filter(|date| date.time.is_none());
                let date = date.and_then(|date| date.date);
                match date {
                    Some(date) => {
                        let line = self.line(&value.span());
                        common.until = Some(((date.year, date.month, date.day), line));
                    }
                    None => {
                        let hint = "until = 2027-03-31 is the rule's last day";
                        self.problem(&value.span(), "until is no date", hint);
                    }
                }
                if self.today < super::BORN {
                    let cause = format!(
                        "the clock says {}, so nobody knows whether this rule has ended",
                        super::day_text(self.today)
                    );
                    self.problem(&value.span(), cause, "set the clock, or remove the rule");
                }
            }
            "reason" => common.reason = Some(self.string(value, key).unwrap_or("?".to_owned())),
            _ => return false,
        }
        true
    }

    /// A pattern of images in its one spelling; what could match none is a problem.
    fn image(&mut self, span: &Range<usize>, pattern: String) -> String {
        let first = pattern.split('/').next().unwrap_or_default();
        let transport = pattern.split_once(':').map(|(word, _)| word);
        // Programs of this machine, which are no images; `tool:5000/x` is a registry.
        let tool = pattern.starts_with("tool:/") || pattern.starts_with("tool:*");
        if pattern.starts_with('*') || tool {
            return pattern;
        }
        if let Some(word) = transport.filter(|word| is_transport(word)) {
            let place = pattern.get(word.len() + 1..).unwrap_or_default();
            let plain = |part: &str| !matches!(part, "." | "..");
            let fits = word == "builtin"
                || (place.starts_with(['/', '*'])
                    && place.split('/').all(plain)
                    && !place.contains("//"));
            if !fits {
                let cause = format!("{} matches no image", words::toml(&pattern));
                let hint =
                    format!("{word}: images are compared by their real path: {word}:/srv/**");
                self.problem(span, cause, hint);
            }
            return pattern;
        }
        if !pattern.contains('*') {
            return match ImageName::parse(&pattern) {
                // A name without tag and digest is about all of them.
                Ok(ImageName::Registry(name)) if !names_one(&pattern) => {
                    format!("{}/{}", name.domain, name.path)
                }
                Ok(name) => name.to_string(),
                Err(error) => {
                    let cause = format!("{} is no image: {}", words::toml(&pattern), error.cause);
                    self.problem(span, cause, error.hint.unwrap_or_default());
                    pattern
                }
            };
        }
        if !could_be_named(first, &pattern) {
            let cause = format!("{} matches no image", words::toml(&pattern));
            let hint = "names are compared in full: registry.example/path/name:tag; docker's own \
                        are docker.io/library/NAME";
            self.problem(span, cause, hint);
        }
        pattern
    }

    /// Whether a rule has ended; if so, it stands on with another reason. What came in by proof alone
    /// does not come in by less once nobody's proof counts.
    pub(super) fn outlives(&self, common: &mut Common) -> bool {
        let (Some((day, _)), Some(reason)) = (common.until, &common.reason) else {
            return false;
        };
        let over = day < self.today && !reason.trim().is_empty();
        if over {
            let day = super::day_text(day);
            common.reason = Some(format!(
                "nobody's signature counts here after {day}: {reason}"
            ));
            common.until = None;
        }
        over
    }

    /// The head of a rule; `None` if the rule has ended or says not enough.
    pub(super) fn head(
        &mut self,
        common: Common,
        word: &'static str,
        span: &Range<usize>,
        parsed: &mut Parsed,
    ) -> Option<Head> {
        let line = self.line(span);
        let reason = match common.reason {
            Some(reason) if !reason.trim().is_empty() => reason,
            _ => {
                let hint = "every rule says why it is there: reason = \"...\"";
                self.problem(span, "a rule without a reason", hint);
                return None;
            }
        };
        if let Some((day, _)) = common.until
            && day < self.today
        {
            parsed.ended.push(super::Ended {
                word,
                file: Rc::clone(&self.name),
                line,
                day,
            });
            return None;
        }
        Some(Head {
            images: common.images.unwrap_or_default(),
            reason,
            file: Rc::clone(&self.name),
            builtin: self.builtin,
            line,
            depth: 0,
        })
    }

    pub(super) fn string(&mut self, value: &Value<'_>, key: &str) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            let cause = format!("{key} is {}, and should be text", kind(value.get_ref()));
            self.problem(&value.span(), cause, format!("{key} = \"...\""));
        }
        text
    }

    /// A list of texts; one alone may stand without brackets.
    pub(super) fn strings(&mut self, value: &Value<'_>, key: &str) -> Option<Vec<String>> {
        if let Some(one) = value.get_ref().as_str() {
            return Some(vec![one.to_owned()]);
        }
        let Some(list) = value.get_ref().as_array() else {
            let cause = format!("{key} is {}, and should be a list", kind(value.get_ref()));
            self.problem(&value.span(), cause, format!("{key} = [\"...\"]"));
            return None;
        };
        Some(self.texts(list, key))
    }

    fn texts(&mut self, list: &DeArray<'_>, key: &str) -> Vec<String> {
        let texts = list.iter().filter_map(|item| self.string(item, key));
        texts.collect()
    }

    /// A number from 0 on.
    pub(super) fn number(&mut self, value: &Value<'_>, key: &str) -> Option<u64> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        if number.is_none() {
            let cause = format!("{key} is not a number from 0 on");
            self.problem(&value.span(), cause, format!("{key} = 100"));
        }
        number
    }

    pub(super) fn entry(&self, key: Key, values: Vec<String>, value: &Value<'_>) -> Entry<Key> {
        Entry {
            key,
            values,
            line: self.line(&value.span()),
        }
    }
}

/// A file in pieces, each from a line that begins with `[[` to the next, with their offsets.
fn segments(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![0];
    starts.extend(text.match_indices("\n[[").map(|(at, _)| at + 1));
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pieces = starts.iter().copied().zip(ends);
    pieces
        .filter_map(|(start, end)| Some((start, text.get(start..end)?)))
        .collect()
}

/// Whether a pattern with a star, whose first part this is, can match the full name of a registry's
/// image: `domain/path:tag`, lower case but for the tag, docker's own below `docker.io/library`.
fn could_be_named(first: &str, pattern: &str) -> bool {
    let is_domain = first.contains(['.', ':', '*']) || first == "localhost";
    let Some((_, path)) = pattern.split_once('/').filter(|_| is_domain) else {
        return false;
    };
    let name = path.split([':', '@']).next().unwrap_or_default();
    let mut parts = name.split('/');
    let is_deep = first != "docker.io" || path.contains('/') || path.contains("**");
    let is_lower = |text: &str| !text.bytes().any(|b| b.is_ascii_uppercase());
    let is_whole = parts.all(|part| !matches!(part, "" | "." | ".."));
    is_deep && is_whole && is_lower(first) && is_lower(name) && first != "index.docker.io"
}

/// Whether a registry's name has a tag or a digest.
fn names_one(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    last.contains(['@', ':'])
}

/// What a value is, as a person says it.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word that is nearest to another, if one is near.
pub(in crate::policy) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|known| (words::distance(word, known), *known))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}
