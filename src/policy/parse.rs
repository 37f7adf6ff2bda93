//! From the text of a policy file to rules that know their lines. Whatever is not understood, or
//! not built yet, is an error with its file and line: a rule is never passed over in silence.

use super::grants::{Origin, VerifyMode};
use super::limit::{Limit, Unit};
use super::mounts;
use super::require::{self, Facts, NoneWord};
use super::words;
use crate::error::{Error, Kind, Result};
use serde::Deserialize;
use std::ops::Range;
use std::rc::Rc;
use toml::Spanned;

/// The largest policy file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// A policy file: what it is called and what stands in it.
#[derive(Debug, Clone, Copy)]
pub struct PolicyFile<'a> {
    /// What it is called in refusals: `/etc/lazaret/policy.toml`, `strict.toml`.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// It is one of those that are built in.
    pub builtin: bool,
}

/// What rules speak about; the keys of `give`, `allow` and `deny`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Caps,
    Syscalls,
    Devices,
    Network,
    Mounts,
    Targets,
    Env,
    Userns,
}

impl Key {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Caps => "caps",
            Self::Syscalls => "syscalls",
            Self::Devices => "devices",
            Self::Network => "network",
            Self::Mounts => "mounts",
            Self::Targets => "targets",
            Self::Env => "env",
            Self::Userns => "userns",
        }
    }
}

/// Values and the line where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<K> {
    pub(super) key: K,
    pub(super) values: Vec<String>,
    pub(super) line: usize,
}

/// Which images a rule is about, where it stands and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Patterns; empty: all.
    pub(super) images: Vec<String>,
    pub(super) reason: String,
    pub(super) file: Rc<str>,
    pub(super) builtin: bool,
    pub(super) line: usize,
}

impl Head {
    /// The origin of a line of this rule.
    pub(super) fn at(&self, line: usize) -> Origin {
        Origin::Rule {
            file: self.file.to_string(),
            line,
            builtin: self.builtin,
        }
    }
}

/// A `give`, `allow` or `deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) word: &'static str,
    pub(super) head: Head,
    pub(super) lists: Vec<Entry<Key>>,
    pub(super) limits: Vec<Entry<Limit>>,
}

/// Which copies of an image come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Accept {
    /// Any that its digests agree with.
    Any,
    /// Only those that are named by digest.
    Pinned,
    /// A tag means the digest that it first had here.
    Tofu,
    /// None at all.
    Reject,
}

/// A `trust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trust {
    pub(super) head: Head,
    pub(super) accept: Accept,
}

/// `facts` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsText {
    max_layers: Option<u64>,
    max_size: Option<String>,
    max_files: Option<u64>,
    setuid: Option<NoneWord>,
    file_caps: Option<NoneWord>,
    special: Option<NoneWord>,
    world_writable: Option<NoneWord>,
    #[serde(default)]
    absent: Vec<String>,
    #[serde(default)]
    present: Vec<String>,
    users: Option<Vec<String>>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    max_age: Option<String>,
    #[serde(default)]
    base: Vec<String>,
}

/// A `require`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Require {
    pub(super) head: Head,
    pub(super) verify: Option<(VerifyMode, usize)>,
    pub(super) limits: Vec<(Limit, usize)>,
    pub(super) facts: Facts,
    pub(super) facts_line: usize,
}

/// Everything in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) extends: Option<String>,
    pub(super) trust: Vec<Trust>,
    pub(super) require: Vec<Require>,
    pub(super) give: Vec<Rule>,
    pub(super) allow: Vec<Rule>,
    pub(super) deny: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    version: u32,
    #[serde(rename = "profile")]
    _profile: Option<String>,
    extends: Option<String>,
    #[serde(default)]
    trust: Vec<Spanned<TrustText>>,
    #[serde(default)]
    require: Vec<Spanned<RequireText>>,
    #[serde(default)]
    give: Vec<Spanned<GiveText>>,
    #[serde(default)]
    allow: Vec<Spanned<AllowText>>,
    #[serde(default)]
    deny: Vec<Spanned<DenyText>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustText {
    image: OneOrMany,
    accept: Spanned<toml::Value>,
    until: Option<toml::value::Datetime>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequireText {
    image: Option<OneOrMany>,
    verify: Option<Spanned<VerifyMode>>,
    limits: Option<Spanned<Vec<String>>>,
    facts: Option<Spanned<FactsText>>,
    until: Option<toml::value::Datetime>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GiveText {
    image: Option<OneOrMany>,
    caps: Option<Spanned<Vec<String>>>,
    syscalls: Option<Spanned<String>>,
    devices: Option<Spanned<Vec<String>>>,
    network: Option<Spanned<String>>,
    env: Option<Spanned<Vec<String>>>,
    limits: Option<Spanned<LimitsText>>,
    until: Option<toml::value::Datetime>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowText {
    image: Option<OneOrMany>,
    caps: Option<Spanned<Vec<String>>>,
    syscalls: Option<Spanned<Vec<String>>>,
    devices: Option<Spanned<Vec<String>>>,
    network: Option<Spanned<Vec<String>>>,
    mounts: Option<Spanned<Vec<String>>>,
    userns: Option<Spanned<Vec<String>>>,
    env: Option<Spanned<Vec<String>>>,
    limits: Option<Spanned<LimitsText>>,
    until: Option<toml::value::Datetime>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenyText {
    image: Option<OneOrMany>,
    caps: Option<Spanned<Vec<String>>>,
    devices: Option<Spanned<Vec<String>>>,
    network: Option<Spanned<Vec<String>>>,
    mounts: Option<Spanned<Vec<String>>>,
    targets: Option<Spanned<Vec<String>>>,
    userns: Option<Spanned<Vec<String>>>,
    env: Option<Spanned<Vec<String>>>,
    until: Option<toml::value::Datetime>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsText {
    pids: Option<u64>,
    tmp: Option<String>,
    memory: Option<String>,
    timeout: Option<String>,
    nofile: Option<u64>,
    sigpending: Option<u64>,
    cpu: Option<String>,
    fsize: Option<String>,
    stack: Option<String>,
    #[serde(rename = "as")]
    address_space: Option<String>,
    data: Option<String>,
    memlock: Option<String>,
    msgqueue: Option<String>,
}

/// A date, as (year, month, day).
pub(super) type Day = (u16, u8, u8);

struct Reader<'a> {
    file: &'a PolicyFile<'a>,
    name: Rc<str>,
    /// Offsets of the line breaks.
    breaks: Vec<usize>,
    today: Day,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        self.breaks.partition_point(|at| *at < span.start) + 1
    }

    fn error(&self, kind: Kind, line: usize, cause: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("policy {}:{line}: {cause}", self.name))
    }

    /// The head of a rule; `None` if the rule has ended.
    fn head(
        &self,
        span: &Range<usize>,
        images: Option<OneOrMany>,
        until: Option<toml::value::Datetime>,
        reason: String,
    ) -> Result<Option<Head>> {
        let line = self.line(span);
        if reason.trim().is_empty() {
            return Err(self
                .error(Kind::Malformed, line, "a rule without a reason")
                .hint("every rule says why it is there: reason = \"...\""));
        }
        if let Some(until) = until {
            let day = until.date.map(|d| (d.year, d.month, d.day));
            let day = day.ok_or_else(|| {
                self.error(Kind::Malformed, line, "until is no date")
                    .hint("until = 2027-03-31 is the rule's last day")
            })?;
            if day < self.today {
                return Ok(None);
            }
        }
        let images = images.map(OneOrMany::into_vec);
        if images.as_ref().is_some_and(Vec::is_empty) {
            return Err(self.error(Kind::Malformed, line, "image = [] is about no image at all"));
        }
        Ok(Some(Head {
            images: images.unwrap_or_default(),
            reason,
            file: Rc::clone(&self.name),
            builtin: self.file.builtin,
            line,
        }))
    }

    fn list(
        &self,
        to: &mut Vec<Entry<Key>>,
        key: Key,
        values: Option<Spanned<Vec<String>>>,
    ) -> Result<()> {
        let Some(values) = values else { return Ok(()) };
        let line = self.line(&values.span());
        let mut values = values.into_inner();
        if key == Key::Caps {
            for cap in &mut values {
                let bare = cap.strip_prefix("CAP_").unwrap_or(cap);
                if bare != "*" && !super::caps::NAMES.contains(&bare) {
                    return Err(self.error(
                        Kind::Malformed,
                        line,
                        format!("no capability is called {}", words::toml(cap)),
                    ));
                }
                *cap = bare.to_owned();
            }
        }
        let bad = match key {
            Key::Mounts => values.iter().find(|value| !mounts::is_pattern(value)),
            Key::Targets => values.iter().find(|value| !mounts::is_target(value)),
            _ => None,
        };
        if let Some(bad) = bad {
            let cause = format!("{} = {} is no path", key.name(), words::toml(bad));
            return Err(self.error(Kind::Malformed, line, cause).hint(
                "a path begins with /, ./ (where you stand), ~/ (your home) or **, and ends with \
                 :ro or :rw where it is mounted",
            ));
        }
        to.push(Entry { key, values, line });
        Ok(())
    }

    fn one(
        &self,
        to: &mut Vec<Entry<Key>>,
        key: Key,
        value: Option<Spanned<String>>,
    ) -> Result<()> {
        let value = value.map(|v| {
            let span = v.span();
            Spanned::new(span, vec![v.into_inner()])
        });
        self.list(to, key, value)
    }

    fn limits(&self, limits: Option<Spanned<LimitsText>>) -> Result<Vec<Entry<Limit>>> {
        let Some(limits) = limits else {
            return Ok(Vec::new());
        };
        let line = self.line(&limits.span());
        let read = limits.into_inner();
        let count = |n: Option<u64>| n.map(|n| n.to_string());
        let mut entries = Vec::new();
        for (key, text) in [
            (Limit::Pids, count(read.pids)),
            (Limit::Tmp, read.tmp),
            (Limit::Memory, read.memory),
            (Limit::Timeout, read.timeout),
            (Limit::Nofile, count(read.nofile)),
            (Limit::Fsize, read.fsize),
            (Limit::Cpu, read.cpu),
            (Limit::Stack, read.stack),
            (Limit::As, read.address_space),
            (Limit::Data, read.data),
            (Limit::Memlock, read.memlock),
            (Limit::Msgqueue, read.msgqueue),
            (Limit::Sigpending, count(read.sigpending)),
        ] {
            let Some(text) = text else { continue };
            let fits = match key.unit() {
                Unit::Pieces => text != "0",
                Unit::Bytes => words::parse_size(&text, 100).is_some_and(|n| n > 0),
                Unit::Seconds => words::parse_duration(&text).is_some(),
            };
            if !fits {
                return Err(self.error(
                    Kind::Malformed,
                    line,
                    format!("{} = {} is no amount", Limit::name(key), words::toml(&text)),
                ));
            }
            entries.push(Entry {
                key,
                values: vec![text],
                line,
            });
        }
        Ok(entries)
    }

    fn trust(&self, rule: Spanned<TrustText>) -> Result<Option<Trust>> {
        let span = rule.span();
        let rule = rule.into_inner();
        let line = self.line(&rule.accept.span());
        let Some(head) = self.head(&span, Some(rule.image), rule.until, rule.reason)? else {
            return Ok(None);
        };
        let accept = match rule.accept.into_inner() {
            toml::Value::String(word) if word == "any" => Accept::Any,
            toml::Value::String(word) if word == "pinned" => Accept::Pinned,
            toml::Value::String(word) if word == "tofu" => Accept::Tofu,
            toml::Value::String(word) if word == "reject" => Accept::Reject,
            toml::Value::String(word) if word == "none" => {
                return Err(self
                    .error(Kind::Malformed, line, "accept = \"none\" means nothing")
                    .hint("did you mean `reject`?"));
            }
            toml::Value::Table(table) if table.contains_key("signed") => {
                return Err(self.error(
                    Kind::Unsupported,
                    line,
                    "accept = { signed = ... } is not built yet",
                ));
            }
            other => {
                return Err(self
                    .error(
                        Kind::Malformed,
                        line,
                        format!("accept = {other} means nothing"),
                    )
                    .hint("accept is \"any\", \"pinned\", \"tofu\" or \"reject\""));
            }
        };
        Ok(Some(Trust { head, accept }))
    }

    fn require(&self, rule: Spanned<RequireText>) -> Result<Option<Require>> {
        let span = rule.span();
        let rule = rule.into_inner();
        let Some(head) = self.head(&span, rule.image, rule.until, rule.reason)? else {
            return Ok(None);
        };
        let verify = rule.verify.map(|v| (*v.get_ref(), self.line(&v.span())));
        let mut limits = Vec::new();
        if let Some(names) = rule.limits {
            let line = self.line(&names.span());
            for name in names.into_inner() {
                let limit = Limit::ALL.into_iter().find(|l| l.name() == name);
                let limit = limit.ok_or_else(|| {
                    let cause = format!("no limit is called {}", words::toml(&name));
                    self.error(Kind::Malformed, line, cause).hint(format!(
                        "limits are {}",
                        Limit::ALL.map(Limit::name).join(", ")
                    ))
                })?;
                limits.push((limit, line));
            }
        }
        let facts_line = rule
            .facts
            .as_ref()
            .map_or(head.line, |f| self.line(&f.span()));
        let facts = match rule.facts {
            Some(text) => self.facts(text.into_inner(), facts_line)?,
            None => Facts::default(),
        };
        Ok(Some(Require {
            head,
            verify,
            limits,
            facts,
            facts_line,
        }))
    }

    fn facts(&self, text: FactsText, line: usize) -> Result<Facts> {
        type Read<R> = std::result::Result<Vec<R>, String>;
        fn each<R>(texts: Vec<String>, read: fn(&str) -> Option<R>) -> Read<R> {
            texts
                .into_iter()
                .map(|text| read(&text).ok_or(text))
                .collect()
        }
        let bad = |key: &str, text: &str, what: &str| {
            let cause = format!("{key} = {} is no {what}", words::toml(text));
            self.error(Kind::Malformed, line, cause)
        };
        let path = |text: &str| require::is_path(text).then(|| text.to_owned());
        let size = each(text.max_size.into_iter().collect(), require::size);
        let age = each(text.max_age.into_iter().collect(), require::age);
        Ok(Facts {
            max_layers: text.max_layers,
            max_size: size.map_err(|t| bad("max_size", &t, "size"))?.pop(),
            max_files: text.max_files,
            setuid: text.setuid,
            file_caps: text.file_caps,
            special: text.special,
            world_writable: text.world_writable,
            absent: each(text.absent, path).map_err(|t| bad("absent", &t, "path"))?,
            present: each(text.present, path).map_err(|t| bad("present", &t, "path"))?,
            users: text.users,
            labels: text.labels.into_iter().collect(),
            max_age: age.map_err(|t| bad("max_age", &t, "time"))?.pop(),
            base: each(text.base, require::base).map_err(|t| bad("base", &t, "diff id"))?,
        })
    }

    fn give(&self, rule: Spanned<GiveText>) -> Result<Option<Rule>> {
        let span = rule.span();
        let rule = rule.into_inner();
        let Some(head) = self.head(&span, rule.image, rule.until, rule.reason)? else {
            return Ok(None);
        };
        let mut lists = Vec::new();
        self.list(&mut lists, Key::Caps, rule.caps)?;
        self.one(&mut lists, Key::Syscalls, rule.syscalls)?;
        self.list(&mut lists, Key::Devices, rule.devices)?;
        self.one(&mut lists, Key::Network, rule.network)?;
        self.list(&mut lists, Key::Env, rule.env)?;
        let limits = self.limits(rule.limits)?;
        Ok(Some(Rule {
            word: "give",
            head,
            lists,
            limits,
        }))
    }

    fn allow(&self, rule: Spanned<AllowText>) -> Result<Option<Rule>> {
        let span = rule.span();
        let rule = rule.into_inner();
        let Some(head) = self.head(&span, rule.image, rule.until, rule.reason)? else {
            return Ok(None);
        };
        let mut lists = Vec::new();
        self.list(&mut lists, Key::Caps, rule.caps)?;
        self.list(&mut lists, Key::Syscalls, rule.syscalls)?;
        self.list(&mut lists, Key::Devices, rule.devices)?;
        self.list(&mut lists, Key::Network, rule.network)?;
        self.list(&mut lists, Key::Mounts, rule.mounts)?;
        self.list(&mut lists, Key::Userns, rule.userns)?;
        self.list(&mut lists, Key::Env, rule.env)?;
        let limits = self.limits(rule.limits)?;
        Ok(Some(Rule {
            word: "allow",
            head,
            lists,
            limits,
        }))
    }

    fn deny(&self, rule: Spanned<DenyText>) -> Result<Option<Rule>> {
        let span = rule.span();
        let rule = rule.into_inner();
        let Some(head) = self.head(&span, rule.image, rule.until, rule.reason)? else {
            return Ok(None);
        };
        let mut lists = Vec::new();
        self.list(&mut lists, Key::Caps, rule.caps)?;
        self.list(&mut lists, Key::Devices, rule.devices)?;
        self.list(&mut lists, Key::Network, rule.network)?;
        self.list(&mut lists, Key::Mounts, rule.mounts)?;
        self.list(&mut lists, Key::Targets, rule.targets)?;
        self.list(&mut lists, Key::Userns, rule.userns)?;
        self.list(&mut lists, Key::Env, rule.env)?;
        Ok(Some(Rule {
            word: "deny",
            head,
            lists,
            limits: Vec::new(),
        }))
    }
}

/// Reads a file. Errors are `Malformed`, `Limit`, or `Unsupported` for what is not built yet; all
/// name the file, and the line where there is one.
pub(super) fn parse(file: &PolicyFile<'_>, today: Day) -> Result<Parsed> {
    let name = file.name;
    if file.bytes.len() > MAX_FILE {
        return Err(Error::new(
            Kind::Limit,
            format!(
                "policy {name} has {} bytes, more than {MAX_FILE}",
                file.bytes.len()
            ),
        ));
    }
    let text = std::str::from_utf8(file.bytes)
        .map_err(|e| Error::new(Kind::Malformed, format!("policy {name} is no text: {e}")))?;
    let breaks = text
        .bytes()
        .enumerate()
        .filter(|(_, b)| *b == b'\n')
        .map(|(at, _)| at);
    let reader = Reader {
        file,
        name: name.into(),
        breaks: breaks.collect(),
        today,
    };
    let read: FileText = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| reader.line(&span));
        let error = reader.error(Kind::Malformed, line, words::one_line(e.message()));
        match suggestion(e.message()) {
            Some(word) => error.hint(format!("did you mean `{word}`?")),
            None => error,
        }
    })?;
    if read.version != 1 {
        return Err(reader
            .error(Kind::Unsupported, 1, format!("version = {}", read.version))
            .hint("this lazaret reads version = 1"));
    }
    fn each<T, R>(texts: Vec<T>, read: impl Fn(T) -> Result<Option<R>>) -> Result<Vec<R>> {
        texts
            .into_iter()
            .filter_map(|text| read(text).transpose())
            .collect()
    }
    Ok(Parsed {
        extends: read.extends,
        trust: each(read.trust, |rule| reader.trust(rule))?,
        require: each(read.require, |rule| reader.require(rule))?,
        give: each(read.give, |rule| reader.give(rule))?,
        allow: each(read.allow, |rule| reader.allow(rule))?,
        deny: each(read.deny, |rule| reader.deny(rule))?,
    })
}

/// The expected word nearest to the unknown one, out of serde's "unknown field `x`, expected one of
/// `y`, `z`".
fn suggestion(message: &str) -> Option<&str> {
    let mut quoted = message
        .strip_prefix("unknown field")?
        .split('`')
        .skip(1)
        .step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|word| (words::distance(unknown, word), word))
        .filter(|(distance, word)| *distance <= 2 && *distance < word.len())
        .min()
        .map(|(_, word)| word)
}
