//! Refusals that are told: where a filter would answer with an errno, it hands the call to whoever
//! holds its listener (seccomp_unotify(2)), who answers with the very same errno.
//!
//! The quiet list (`policies/syscalls/quiet.toml`) names the calls that libraries try and fall back
//! from. They are refused by the filter itself, as without a listener.

use super::compile::{JA, JEQ_K, JGE_K, LD_W_ABS, RET_K};
use super::{Instruction, Rule, Rules, Verdict, lists};
use crate::error::Result;
use std::collections::BTreeMap;

const SOURCE: &str = include_str!("../../../policies/syscalls/quiet.toml");

/// The calls whose refusal nobody is told of, each with its reason.
///
/// # Errors
/// `Malformed`: the list that is built in is not one.
pub fn quiet() -> Result<BTreeMap<&'static str, String>> {
    read(SOURCE)
}

fn read(text: &str) -> Result<BTreeMap<&'static str, String>> {
    let listed = lists::read("quiet.toml", text)?.into_iter();
    Ok(listed.map(|(name, listed)| (name, listed.reason)).collect())
}

impl Rules {
    /// The same rules with every refusal told but those of `quiet`. What passes, is ignored or kills
    /// stays as it is.
    pub fn told(&self, quiet: &BTreeMap<&'static str, String>) -> Self {
        let mut rules = self.rules.clone();
        for name in quiet.keys() {
            rules.entry(name).or_insert_with(|| Rule {
                cases: Vec::new(),
                otherwise: self.refused,
                reason: 0,
            });
        }
        for (name, rule) in &mut rules {
            if !quiet.contains_key(name) {
                for case in &mut rule.cases {
                    case.then = case.then.told();
                }
                rule.otherwise = rule.otherwise.told();
            }
        }
        Self {
            name: self.name.clone(),
            refused: self.refused.told(),
            unknown: self.unknown.told(),
            rules,
            reasons: self.reasons.clone(),
            lines: self.lines.clone(),
        }
    }
}

/// What a filter sees of a call: struct seccomp_data (seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// The system call's number.
    pub number: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Where it was made.
    pub instruction: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

impl Data {
    /// The 32 bits at a multiple of 4, in little endian as on every architecture that is known here.
    fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64| match offset % 8 {
            0 => u32::try_from(value & u64::from(u32::MAX)).ok(),
            _ => u32::try_from(value >> 32).ok(),
        };
        match offset {
            0 => Some(self.number),
            4 => Some(self.arch),
            8 | 12 => half(self.instruction),
            16..64 if offset.is_multiple_of(4) => half(
                *self
                    .args
                    .get(usize::try_from(offset / 8).ok()?.checked_sub(2)?)?,
            ),
            _ => None,
        }
    }
}

// linux/bpf_common.h: what seccompiler writes beside the compiler's own.
const AND_K: u16 = 0x54;
const JGT_K: u16 = 0x25;

/// What `program` answers to a call, as the kernel would run it; `None`: it is no program of the
/// compiler's. It ends because jumps go forward only.
pub fn answer(program: &[Instruction], data: &Data) -> Option<u32> {
    let (mut accumulator, mut next) = (0u32, 0usize);
    loop {
        let instruction = program.get(next)?;
        next += 1;
        let k = instruction.k;
        let branch = |taken: bool| {
            usize::from(if taken {
                instruction.jt
            } else {
                instruction.jf
            })
        };
        match instruction.code {
            LD_W_ABS => accumulator = data.word(k)?,
            AND_K => accumulator &= k,
            JA => next = next.checked_add(usize::try_from(k).ok()?)?,
            JEQ_K => next += branch(accumulator == k),
            JGT_K => next += branch(accumulator > k),
            JGE_K => next += branch(accumulator >= k),
            RET_K => return Some(k),
            _ => return None,
        }
    }
}

/// The errno with which `program` refuses a call. A call that it would not refuse so is none that
/// could be asked about, and is refused with EPERM: never more is had than by the filter.
pub fn refusal(program: &[Instruction], data: &Data) -> u16 {
    const EPERM: u16 = 1;
    let Some(code) = answer(program, data) else {
        return EPERM;
    };
    match u16::try_from(code & libc::SECCOMP_RET_DATA) {
        Ok(errno @ 1..) if code & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO => errno,
        _ => EPERM,
    }
}

impl Verdict {
    /// As it is where refusals are told.
    fn told(self) -> Self {
        match self {
            Self::Errno(_) => Self::Tell,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn the_quiet_list_is_of_refused_calls_and_each_has_its_reason() {
        let quiet = quiet().unwrap();
        let rules = super::super::Profile::builtin("default", [])
            .unwrap()
            .rules()
            .unwrap();
        for name in quiet.keys() {
            let refused = rules.rules.get(name).is_none_or(|rule| {
                let cases = rule.cases.iter().map(|case| case.then);
                cases.chain([rule.otherwise]).any(|v| !v.passes())
            });
            assert!(refused, "{name} is not refused at all");
        }
        for bad in [
            "version = 2\nquiet = []",
            "version = 1\n[[quiet]]\nnames = \"clone3\"\nreason = \" \"",
            "version = 1\n[[quiet]]\nnames = \"clone3 clone3\"\nreason = \"x\"",
            "version = 1\n[[quiet]]\nnames = \"klone\"\nreason = \"x\"",
        ] {
            assert_eq!(read(bad).unwrap_err().kind, Kind::Malformed, "{bad}");
        }
    }

    #[test]
    fn what_is_no_program_refuses_with_eperm() {
        let data = Data {
            number: 1,
            arch: 2,
            instruction: 3,
            args: [4; 6],
        };
        let ret = |k| Instruction {
            code: RET_K,
            jt: 0,
            jf: 0,
            k,
        };
        assert_eq!(refusal(&[], &data), 1);
        assert_eq!(refusal(&[ret(libc::SECCOMP_RET_ALLOW)], &data), 1);
        assert_eq!(refusal(&[ret(libc::SECCOMP_RET_ERRNO)], &data), 1);
        assert_eq!(refusal(&[ret(libc::SECCOMP_RET_ERRNO | 38)], &data), 38);
    }
}
