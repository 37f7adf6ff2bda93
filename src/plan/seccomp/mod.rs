//! Seccomp profiles as data, and their compilation to BPF.
//!
//! A profile is a file of `policies/syscalls`: groups of system calls, each with its reason, and
//! default-deny for the rest. [`Rules::parse`] reads it, [`Rules::compile`] turns it into a classic
//! BPF program (seccomp(2)). No kernel is asked for anything here; `sys` installs.
//!
//! A profile of docker's ([`JsonProfile`]) is read into the same rules, and never runs alone: what
//! runs is what both it and the policy's set allow ([`Profile::narrow`]).

#![forbid(unsafe_code)]

mod compile;
mod json;
mod lists;
mod narrow;
mod observed;
mod parse;
mod partly;
mod shipped;
mod table;
#[cfg(test)]
mod tests;
pub mod told;
pub mod words;

pub use json::{JsonProfile, MAX_JSON};
pub use narrow::Narrowed;
pub use observed::{MARK, Observe};
pub use seccompiler::sock_filter as Instruction;
pub use table::Arch;

use crate::error::{Error, Kind, Result};
use crate::policy::Origin;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// What a filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel decides, as without a filter.
    Allow,
    /// The call fails with this errno (1..=4095).
    Errno(u16),
    /// The call answers 0 and nothing happens.
    Ignore,
    /// The process dies of SIGSYS.
    Kill,
    /// The kernel decides, and writes the call into its audit log. Only of a JSON profile.
    Log,
    /// The thread gets a SIGSYS that it may handle. Only of a JSON profile.
    Trap,
    /// Whoever holds the filter's listener refuses it. Only of rules that are [`Rules::told`].
    Tell,
    /// The kernel decides, and whoever watches learns what it decided; where nobody does, ENOSYS. Only
    /// of rules that are [`Rules::observed`].
    Watch,
}

impl Verdict {
    /// The call reaches the kernel.
    pub fn passes(self) -> bool {
        matches!(self, Self::Allow | Self::Log | Self::Watch)
    }

    /// The filter's return value (seccomp(2), "SECCOMP_RET_*").
    pub fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Self::Ignore => libc::SECCOMP_RET_ERRNO,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Tell => libc::SECCOMP_RET_USER_NOTIF,
            Self::Watch => libc::SECCOMP_RET_TRACE | u32::from(observed::MARK),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Ignore => f.write_str("ignore"),
            Self::Kill => f.write_str("kill"),
            Self::Log => f.write_str("log"),
            Self::Trap => f.write_str("trap"),
            Self::Tell => f.write_str("tell"),
            Self::Watch => f.write_str("watch"),
            Self::Errno(errno) => match parse::errno_name(*errno) {
                Some(name) => f.write_str(name),
                None => write!(f, "errno {errno}"),
            },
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One comparison of one argument. The argument, cut to its low 32 bits unless `wide` and then
/// `mask`ed, must be one of `is`, none of `not`, `at_least` or `at_most` a number; exactly one of
/// the four is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub arg: u8,
    /// Compare all 64 bits; else the low 32, which is all that the kernel reads of an `int`.
    pub wide: bool,
    /// The bits that count; only with `is`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<u64>,
    /// The masked argument is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub is: Vec<u64>,
    /// The argument is none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<u64>,
    /// The argument is this or more. Only of a JSON profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u64>,
    /// The argument is this or less. Only of a JSON profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
}

/// A case of a rule: if all conditions hold, this verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// All must hold; never empty.
    pub when: Vec<Condition>,
    /// The verdict then.
    pub then: Verdict,
}

/// What happens to one system call: the first case that holds, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The cases in order; empty for a call whose arguments do not matter.
    pub cases: Vec<Case>,
    /// The verdict when no case holds.
    pub otherwise: Verdict,
    /// Which of [`Profile::reasons`] this is.
    pub reason: usize,
}

impl Serialize for Rule {
    /// A rule without cases is its answer; else its cases and `else`.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.cases.is_empty() {
            return self.otherwise.serialize(serializer);
        }
        let mut rule = serializer.serialize_struct("Rule", 2)?;
        rule.serialize_field("cases", &self.cases)?;
        rule.serialize_field("else", &self.otherwise)?;
        rule.end()
    }
}

/// A profile's rules, for every architecture: names that an architecture lacks are passed over
/// when it is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// `default`.
    pub name: String,
    /// What a call answers that is known here and has no rule.
    pub refused: Verdict,
    /// What a number answers that is in no table of ours.
    pub unknown: Verdict,
    /// System call names and their rules.
    pub rules: BTreeMap<&'static str, Rule>,
    /// Why, for each group of the file.
    pub reasons: Vec<String>,
    /// At which line of the file its names begin, for each group; empty for rules of no file of ours.
    #[serde(skip)]
    pub lines: Vec<usize>,
}

impl Rules {
    /// Reads a profile's file for a cell that holds the capabilities `caps`: groups that say `caps`
    /// count only where all of theirs are held. `file` is what errors call it. Errors are of kind
    /// `Malformed`.
    pub fn parse(text: &str, file: &str, caps: &[&str]) -> Result<Self> {
        parse::parse(text, file, caps)
    }

    /// The rules as a BPF program for `arch`; fewer than 4096 instructions, else an error.
    pub fn compile(&self, arch: Arch) -> Result<Vec<Instruction>> {
        compile::compile(self, arch)
    }
}

/// A profile that a cell or a worker gets: one of the built-in ones, or what a JSON profile leaves
/// of it.
///
/// A built-in one's program lies compiled beside its source, because reading the source costs a
/// tenth of a whole launch; a test compiles the source and compares. Its rules are read when
/// somebody wants to see them, or when a capability changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `default` (a cell's), `worker` (the unpack worker's) or `init` (pid 1's of a cell).
    pub name: String,
    /// Those of the cell's capabilities that the profile has groups for.
    pub caps: Vec<&'static str>,
    /// What `--security-opt seccomp=FILE` leaves of it.
    pub narrowed: Option<Narrowed>,
    /// Refusals are told, but those of the quiet list.
    pub told: bool,
    /// Calls that pass and whose outcome is watched.
    pub observed: Option<Observe>,
    shipped: &'static shipped::Shipped,
}

impl Profile {
    /// A built-in profile, for a process that holds the capabilities `caps` (without `CAP_`).
    /// Another name is an error of kind `Unsupported`.
    pub fn builtin<'a>(name: &str, caps: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let shipped = shipped::ALL
            .iter()
            .find(|s| s.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = shipped::ALL.iter().map(|s| s.name).collect();
                Error::new(
                    Kind::Unsupported,
                    format!("no system call profile is called {name:?}"),
                )
                .hint(format!("there are {}", names.join(", ")))
            })?;
        let held: Vec<&str> = caps.into_iter().collect();
        let counts = |cap: &&&str| held.contains(*cap);
        Ok(Self {
            name: name.to_owned(),
            caps: shipped.caps.iter().filter(counts).copied().collect(),
            narrowed: None,
            told: false,
            observed: None,
            shipped,
        })
    }

    /// The rules, read from their source.
    pub fn rules(&self) -> Result<Rules> {
        match &self.narrowed {
            Some(narrowed) => Ok(narrowed.rules.clone()),
            None => {
                let file = format!("syscalls/{}.toml", self.name);
                Rules::parse(self.shipped.source, &file, &self.caps)
            }
        }
    }

    /// The profile as a BPF program for `arch`, which answers by itself and is watched by nobody.
    pub fn compile(&self, arch: Arch) -> Result<Vec<Instruction>> {
        match &self.narrowed {
            Some(narrowed) if narrowed.arch == arch => Ok(narrowed.program.clone()),
            None if self.caps.is_empty() => shipped::decode(self.shipped.program(arch)),
            _ => self.rules()?.compile(arch),
        }
    }

    /// The same profile as a program that hands observed calls over, if there are any.
    pub fn compile_observed(&self, arch: Arch) -> Result<Option<Vec<Instruction>>> {
        let Some(observe) = self.observed else {
            return Ok(None);
        };
        let rules = self.rules()?.observed(observe)?;
        rules.compile(arch).map(Some)
    }

    /// The same profile as a program that tells of refusals, if they are told; it hands observed calls
    /// over as well.
    pub fn compile_told(&self, arch: Arch) -> Result<Option<Vec<Instruction>>> {
        if !self.told {
            return Ok(None);
        }
        if let Some(observe) = self.observed {
            let quiet = match observe {
                Observe::Outcomes => told::quiet()?,
                // Who learns wants to know what was tried, too.
                Observe::Everything => BTreeMap::new(),
            };
            let rules = self.rules()?.told(&quiet).observed(observe)?;
            return rules.compile(arch).map(Some);
        }
        let ready = self.shipped.told(arch).filter(|_| self.caps.is_empty());
        let program = match (&self.narrowed, ready) {
            (None, Some(ready)) => shipped::decode(ready),
            _ => self.rules()?.told(&told::quiet()?).compile(arch),
        };
        program.map(Some)
    }

    /// Whether refusals can be told under it: the filter's listener leaves the cell by sendmsg(2), and
    /// is closed there by close(2), both under the filter.
    pub fn can_tell(&self) -> bool {
        let passes = |narrowed: &Narrowed| {
            let mut needed = ["sendmsg", "close"].iter();
            needed.all(|name| narrow::always_passes(&narrowed.rules, name))
        };
        self.narrowed.as_ref().is_none_or(passes)
    }

    /// The capabilities beyond its own that its source has groups for.
    pub fn more_caps(&self) -> impl Iterator<Item = &'static str> {
        let all = self.shipped.caps.iter().copied();
        all.filter(|cap| !self.caps.contains(cap))
    }
}

impl Profile {
    /// What it is made of, each with its own origin; empty for a built-in one.
    pub fn parts(&self) -> Vec<(String, Origin)> {
        let Some(narrowed) = &self.narrowed else {
            return Vec::new();
        };
        let file = format!("{} ({})", narrowed.file, narrowed.digest);
        let mut parts = vec![
            (file, Origin::Flag("--security-opt")),
            (format!("the set {:?}", self.name), narrowed.set.clone()),
        ];
        for (what, names) in [
            ("refused although the file allows it", &narrowed.refused),
            (
                "in part refused although the file allows it",
                &narrowed.partly,
            ),
        ] {
            if !names.is_empty() {
                parts.push((format!("{what}: {}", names.join(" ")), narrowed.set.clone()));
            }
        }
        parts
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            rules: &'a Rules,
            #[serde(skip_serializing_if = "Option::is_none")]
            narrowed_by: Option<&'a Narrowed>,
            /// All refusals are told but these.
            #[serde(skip_serializing_if = "Option::is_none")]
            told_but: Option<BTreeMap<&'static str, String>>,
            /// What the kernel decides on is learned.
            #[serde(skip_serializing_if = "Option::is_none")]
            observed: Option<Observe>,
        }
        let plain = self.narrowed.is_none() && self.caps.is_empty();
        if let Some(json) = self.shipped.json.filter(|_| plain)
            && !self.told
            && self.observed.is_none()
        {
            let ready: &RawValue = serde_json::from_str(json).map_err(serde::ser::Error::custom)?;
            return ready.serialize(serializer);
        }
        let rules = self.rules().map_err(serde::ser::Error::custom)?;
        let quiet = self.told.then(told::quiet).transpose();
        Shown {
            rules: &rules,
            narrowed_by: self.narrowed.as_ref(),
            told_but: quiet.map_err(serde::ser::Error::custom)?,
            observed: self.observed,
        }
        .serialize(serializer)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(narrowed) = &self.narrowed {
            write!(
                f,
                "only those that both {} and {:?} allow",
                narrowed.file, self.name
            )?;
        } else {
            write!(f, "{:?}", self.name)?;
        }
        match self.caps.as_slice() {
            [] => {}
            caps => write!(f, " with {}", caps.join(" "))?,
        }
        if self.told {
            f.write_str("; what is refused is told")?;
        }
        match self.observed {
            Some(observe) => write!(f, "; {observe}"),
            None => Ok(()),
        }
    }
}
