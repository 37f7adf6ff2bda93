//! Seccomp profiles as data, and their compilation to BPF.
//!
//! A profile is a file of `policies/syscalls`: groups of system calls, each with its reason, and
//! default-deny for the rest. [`Rules::parse`] reads it, [`Rules::compile`] turns it into a classic
//! BPF program (seccomp(2)). No kernel is asked for anything here; `sys` installs.

#![forbid(unsafe_code)]

mod compile;
mod parse;
mod shipped;
mod table;
#[cfg(test)]
mod tests;

pub use seccompiler::sock_filter as Instruction;
pub use table::Arch;

use crate::error::{Error, Kind, Result};
use serde::{Serialize, Serializer, ser::SerializeStruct};
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
}

impl Verdict {
    /// The filter's return value (seccomp(2), "SECCOMP_RET_*").
    pub fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Self::Ignore => libc::SECCOMP_RET_ERRNO,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Ignore => f.write_str("ignore"),
            Self::Kill => f.write_str("kill"),
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
/// `mask`ed, must be one of `is`, or none of `not`; exactly one of the two is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

impl Rules {
    /// Reads a profile's file. `file` is what errors call it. Errors are of kind `Malformed`.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        parse::parse(text, file)
    }

    /// The rules as a BPF program for `arch`; fewer than 4096 instructions, else an error.
    pub fn compile(&self, arch: Arch) -> Result<Vec<Instruction>> {
        compile::compile(self, arch)
    }
}

/// A profile that a cell or a worker gets: one of the built-in ones.
///
/// Its program lies compiled beside its source, because reading the source costs a tenth of a
/// whole launch; a test compiles the source and compares. Its rules are read when somebody wants
/// to see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `default` (a cell's), `worker` (the unpack worker's) or `init` (pid 1's of a cell).
    pub name: String,
    shipped: &'static shipped::Shipped,
}

impl Profile {
    /// A built-in profile. Another name is an error of kind `Unsupported`.
    pub fn builtin(name: &str) -> Result<Self> {
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
        Ok(Self {
            name: name.to_owned(),
            shipped,
        })
    }

    /// The rules, read from their source.
    pub fn rules(&self) -> Result<Rules> {
        Rules::parse(self.shipped.source, &format!("syscalls/{}.toml", self.name))
    }

    /// The profile as a BPF program for `arch`.
    pub fn compile(&self, arch: Arch) -> Result<Vec<Instruction>> {
        shipped::decode(self.shipped.program(arch))
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.rules()
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}
