//! From the text of a policy file to rules that know their lines. Whatever is not understood, or
//! not built yet, is a [`Problem`] with its line and column, and all of them are told at once: a
//! rule is never passed over in silence.
//!
//! The text becomes a tree whose values know where they stand (TOML 1.1, by the `toml` crate);
//! `reader` walks it, `rules` knows what each of the five words may say.

mod reader;
mod rules;
mod signed;
#[cfg(test)]
mod tests;

use super::grants::{Origin, VerifyMode};
use super::limit::Limit;
use super::require::Facts;
use super::signed::{Attested, Signed};
use crate::error::{Error, Kind};
use reader::Reader;
pub(super) use reader::nearest;
use std::rc::Rc;

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

/// Something in a policy file that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is the matter.
    pub cause: String,
    /// What would mend it; empty where nothing can be said.
    pub hint: String,
    /// The whole file is too large rather than wrong, or asks for what is not built.
    #[serde(skip)]
    pub(super) kind: Kind,
}

/// The problems of the file `name` as one error: the first as its cause, or all in its details.
pub(super) fn error(name: &str, problems: &[Problem]) -> Error {
    let text = |p: &Problem| format!("{name}:{}:{}: {}", p.line, p.column, p.cause);
    match problems {
        [] => Error::new(Kind::Malformed, format!("policy {name}")),
        [one] => {
            let error = Error::new(one.kind, format!("policy {}", text(one)));
            match one.hint.as_str() {
                "" => error,
                hint => error.hint(hint),
            }
        }
        many => {
            let mut error = Error::new(
                Kind::Malformed,
                format!("policy {name} has {} problems", many.len()),
            );
            for problem in many {
                error.detail.push(format!("  {}", text(problem)));
                if !problem.hint.is_empty() {
                    error.detail.push(format!("    {}", problem.hint));
                }
            }
            error
        }
    }
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
    Etc,
    Explain,
}

impl Key {
    pub(super) const ALL: [Self; 10] = [
        Self::Caps,
        Self::Syscalls,
        Self::Devices,
        Self::Network,
        Self::Mounts,
        Self::Targets,
        Self::Env,
        Self::Userns,
        Self::Etc,
        Self::Explain,
    ];

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
            Self::Etc => "etc",
            Self::Explain => "explain",
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
    /// How many `extends` lie between the level's own file and this one.
    pub(super) depth: u8,
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

/// Which copies of an image come in; a later one is stricter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Accept {
    /// Any that its digests agree with.
    Any,
    /// A tag means the digest that it first had here.
    Tofu,
    /// Only what is named by its digest.
    Pinned,
    /// Only what they have signed.
    Signed(Rc<Signed>),
    /// None at all.
    Reject,
}

impl Accept {
    /// As policies write it: `"tofu"`, `{ signed = [...] }`.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Signed(signed) => {
                let names = signed.names.written();
                format!("{{ signed = {}{names} }}", signed.written())
            }
            other => format!("\"{}\"", other.word()),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Tofu => "tofu",
            Self::Pinned => "pinned",
            Self::Signed(_) => "signed",
            Self::Reject => "reject",
        }
    }

    /// What it takes, whatever the files of its keys are called.
    pub(super) fn identified(&self) -> String {
        match self {
            Self::Signed(signed) => {
                let names = signed.names.written();
                format!("signed {}{names}", signed.identified())
            }
            other => other.word().to_owned(),
        }
    }

    /// How strict it is. What is signed and what is pinned are two things: of equally specific rules
    /// both hold.
    pub(super) fn strictness(&self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Tofu => 1,
            Self::Pinned => 2,
            Self::Signed(_) => 3,
            Self::Reject => 4,
        }
    }
}

/// A `trust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trust {
    pub(super) head: Head,
    pub(super) accept: Accept,
}

/// A `require`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Require {
    pub(super) head: Head,
    pub(super) verify: Option<(VerifyMode, usize)>,
    pub(super) limits: Vec<(Limit, usize)>,
    pub(super) facts: Facts,
    pub(super) facts_line: usize,
    pub(super) attested: Vec<Attested>,
}

/// A file that a rule names: a key, a trust root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beside {
    /// Its absolute path.
    pub(super) path: String,
    /// Where the rule names it.
    pub(super) file: Rc<str>,
    pub(super) line: usize,
}

/// A rule whose last day is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) word: &'static str,
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    pub(super) day: Day,
}

/// Everything in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) extends: Option<String>,
    pub(super) trust: Vec<Rc<Trust>>,
    pub(super) require: Vec<Rc<Require>>,
    pub(super) give: Vec<Rc<Rule>>,
    pub(super) allow: Vec<Rc<Rule>>,
    pub(super) deny: Vec<Rc<Rule>>,
    pub(super) ended: Vec<Ended>,
    pub(super) beside: Vec<Beside>,
}

impl Parsed {
    /// The heads of rules that nobody shares yet.
    pub(super) fn heads_mut(&mut self) -> impl Iterator<Item = &mut Head> {
        let rules = self.give.iter_mut().chain(&mut self.allow);
        let rules = rules.chain(&mut self.deny);
        let rules = rules.filter_map(|rule| Some(&mut Rc::get_mut(rule)?.head));
        let trust = self.trust.iter_mut();
        let trust = trust.filter_map(|rule| Some(&mut Rc::get_mut(rule)?.head));
        let require = self.require.iter_mut();
        let require = require.filter_map(|rule| Some(&mut Rc::get_mut(rule)?.head));
        rules.chain(trust).chain(require)
    }

    /// The rules of a file that this one extends, behind its own.
    pub(super) fn extend(&mut self, mut base: Self) {
        for head in base.heads_mut() {
            head.depth = head.depth.saturating_add(1);
        }
        self.trust.extend(base.trust);
        self.require.extend(base.require);
        self.give.extend(base.give);
        self.allow.extend(base.allow);
        self.deny.extend(base.deny);
        self.ended.extend(base.ended);
        self.beside.extend(base.beside);
    }
}

/// A date, as (year, month, day).
pub(super) type Day = (u16, u8, u8);

/// The first day on which a clock can be right: this language is not older. A clock that says less
/// cannot tell whether a rule has ended.
const BORN: Day = (2026, 11, 1);

/// The day as policies write it.
pub(super) fn day_text((year, month, day): Day) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

/// Reads a file. `today` is for rules that end. `beside`: the files that rules name, by their paths,
/// as far as they have been read; the rest is nobody's signature.
///
/// # Errors
/// Every problem of the file, in the order of their places.
pub(super) fn parse(
    file: &PolicyFile<'_>,
    today: Day,
    beside: &[(String, Vec<u8>)],
) -> Result<Parsed, Vec<Problem>> {
    let whole = |kind, cause: String| {
        Err(vec![Problem {
            line: 1,
            column: 1,
            cause,
            hint: String::new(),
            kind,
        }])
    };
    if file.bytes.len() > MAX_FILE {
        let cause = format!("{} bytes, more than {MAX_FILE}", file.bytes.len());
        return whole(Kind::Limit, cause);
    }
    let text = match std::str::from_utf8(file.bytes) {
        Ok(text) => text,
        Err(e) => return whole(Kind::Malformed, format!("this is no text: {e}")),
    };
    Reader::new(file, text, today, beside).file()
}
