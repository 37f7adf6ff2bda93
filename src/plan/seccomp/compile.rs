//! From [`Rules`] to BPF.
//!
//! The kernel walks a filter from the top at its installation (once per number, for its bitmap of
//! constant answers) and at each call that the bitmap does not know. A list of two hundred
//! comparisons makes both slow, so the program is a binary search over ranges of numbers with the
//! same answer. At its leaves stands an answer, or for calls whose arguments count a chain of
//! rules, compiled by seccompiler.

use super::table::X32_BIT;
use super::{Arch, Case, Condition, Instruction, Rule, Rules, Verdict};
use crate::error::{Error, Kind, Result};
use seccompiler::{
    BpfProgram, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompRule,
};

// linux/bpf_common.h, linux/filter.h.
pub(super) const LD_W_ABS: u16 = 0x20;
pub(super) const JA: u16 = 0x05;
pub(super) const JEQ_K: u16 = 0x15;
pub(super) const JGE_K: u16 = 0x35;
pub(super) const RET_K: u16 = 0x06;

// struct seccomp_data.
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// BPF_MAXINSNS.
const MAX_LEN: usize = 4096;

/// A conditional jump goes 255 instructions far; a few less, so that what is put in between to make
/// one end near does not push the other out of reach.
const REACH: usize = 250;

fn stmt(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn ret(verdict: Verdict) -> Instruction {
    stmt(RET_K, verdict.code())
}

/// What happens from number `first` on, up to the next range.
struct Range<'a> {
    first: u32,
    leaf: Leaf<'a>,
}

#[derive(PartialEq)]
enum Leaf<'a> {
    Answer(Verdict),
    Chain(&'a Rule),
}

pub(super) fn compile(profile: &Rules, arch: Arch) -> Result<Vec<Instruction>> {
    let mut program = Backward::default();
    let entry = program.search(&ranges(profile, arch))?;
    // Runs on into the search, wherever that begins.
    let distance = u32::try_from(program.distance(entry)).map_err(|_| broken("too long"))?;
    if distance > 0 {
        program.push(stmt(JA, distance));
    }
    program.push(stmt(LD_W_ABS, OFFSET_NR));
    program.push(ret(Verdict::Kill));
    program.push(jump(JEQ_K, arch.audit(), 1, 0));
    program.push(stmt(LD_W_ABS, OFFSET_ARCH));
    let mut program = program.reversed;
    program.reverse();
    if program.len() >= MAX_LEN {
        return Err(broken(&format!("{} instructions", program.len())));
    }
    Ok(program)
}

fn broken(what: &str) -> Error {
    Error::new(Kind::Malformed, format!("system call profile: {what}"))
}

/// All numbers, 0 to 2^32 - 1, as ranges of equal answers.
fn ranges(profile: &Rules, arch: Arch) -> Vec<Range<'_>> {
    let mut rules: Vec<Option<&Rule>> = vec![None; arch.last() as usize + 1];
    for (name, rule) in &profile.rules {
        if let Some(nr) = arch.number(name)
            && let Some(place) = rules.get_mut(nr as usize)
        {
            *place = Some(rule);
        }
    }
    let mut ranges: Vec<Range<'_>> = Vec::with_capacity(160);
    for (nr, rule) in (0u32..).zip(&rules) {
        let leaf = match rule {
            Some(rule) if rule.cases.is_empty() => Leaf::Answer(rule.otherwise),
            Some(rule) => Leaf::Chain(rule),
            None if arch.name(nr).is_some() => Leaf::Answer(profile.refused),
            None => Leaf::Answer(profile.unknown),
        };
        extend(&mut ranges, nr, leaf);
    }
    extend(&mut ranges, arch.last() + 1, Leaf::Answer(profile.unknown));
    // x32 enters with the same architecture token; its numbers would be unknown, and nobody who
    // uses them means well.
    extend(&mut ranges, X32_BIT, Leaf::Answer(Verdict::Kill));
    ranges
}

fn extend<'a>(ranges: &mut Vec<Range<'a>>, first: u32, leaf: Leaf<'a>) {
    if ranges.last().is_none_or(|last| last.leaf != leaf) {
        ranges.push(Range { first, leaf });
    }
}

/// A program that grows from its end to its start, because jumps go forward only: what a jump leads
/// to stands already. Places are counted from the end.
#[derive(Default)]
struct Backward {
    reversed: Vec<Instruction>,
    /// Where each answer stands, for all who are near enough to jump to it.
    answers: Vec<(Verdict, usize)>,
}

impl Backward {
    fn push(&mut self, instruction: Instruction) -> usize {
        self.reversed.push(instruction);
        self.reversed.len() - 1
    }

    /// How far the next instruction would have to jump.
    fn distance(&self, place: usize) -> usize {
        self.reversed.len() - place - 1
    }

    fn answer(&mut self, verdict: Verdict) -> usize {
        let known = self.answers.iter().rev().find(|(have, _)| *have == verdict);
        match known {
            Some((_, place)) if self.distance(*place) <= REACH => *place,
            _ => {
                let place = self.push(ret(verdict));
                self.answers.push((verdict, place));
                place
            }
        }
    }

    /// A place from where the next instructions reach `place`: itself, or a jump to it.
    fn near(&mut self, place: usize) -> Result<usize> {
        let distance = self.distance(place);
        if distance <= REACH {
            return Ok(place);
        }
        let distance = u32::try_from(distance).map_err(|_| broken("too long"))?;
        Ok(self.push(stmt(JA, distance)))
    }

    /// The search over `ranges`; the accumulator holds the number on entry. Returns where it begins.
    fn search(&mut self, ranges: &[Range<'_>]) -> Result<usize> {
        match ranges {
            [] => Err(broken("empty")),
            [
                Range {
                    leaf: Leaf::Answer(verdict),
                    ..
                },
            ] => Ok(self.answer(*verdict)),
            [
                Range {
                    leaf: Leaf::Chain(rule),
                    ..
                },
            ] => {
                self.reversed.extend(chain(rule)?.into_iter().rev());
                Ok(self.reversed.len() - 1)
            }
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let pivot = high.first().map_or(0, |range| range.first);
                let (high, low) = (self.search(high)?, self.search(low)?);
                let (high, low) = (self.near(high)?, self.near(low)?);
                let offset =
                    |place| u8::try_from(self.distance(place)).map_err(|_| broken("too far"));
                let branch = jump(JGE_K, pivot, offset(high)?, offset(low)?);
                Ok(self.push(branch))
            }
        }
    }
}

/// The cases of a rule in order, each an argument chain of seccompiler's with its own answer.
fn chain(rule: &Rule) -> Result<Vec<Instruction>> {
    let mut program = Vec::new();
    for Case { when, then } in &rule.cases {
        for conditions in alternatives(when)? {
            let rule = SeccompRule::new(conditions).map_err(|e| broken(&e.to_string()))?;
            let compiled = BpfProgram::from(rule);
            // seccompiler enters a rule by a jump over one instruction that only its own linear
            // list needs. Jumps are relative and go forward, so dropping both changes nothing.
            let skip = match compiled.as_slice() {
                [first, _, ..] if first.code == JA && first.k == 1 => 2,
                _ => 0,
            };
            program.extend(compiled.into_iter().skip(skip));
            // Falls through to here when all conditions hold; else jumps behind it.
            program.push(ret(*then));
        }
    }
    program.push(ret(rule.otherwise));
    Ok(program)
}

/// `is` with several values means one rule for each; all combinations of all conditions.
fn alternatives(when: &[Condition]) -> Result<Vec<Vec<SeccompCondition>>> {
    let mut rules: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
    for condition in when {
        let len = || {
            if condition.wide {
                Len::Qword
            } else {
                Len::Dword
            }
        };
        let make = |op: Op, value: u64| {
            SeccompCondition::new(condition.arg, len(), op, value)
                .map_err(|e| broken(&e.to_string()))
        };
        for value in &condition.not {
            let test = make(Op::Ne, *value)?;
            for rule in &mut rules {
                rule.push(test.clone());
            }
        }
        let bounds = [(Op::Ge, condition.at_least), (Op::Le, condition.at_most)];
        for (op, value) in bounds {
            let Some(value) = value else { continue };
            let test = make(op, value)?;
            for rule in &mut rules {
                rule.push(test.clone());
            }
        }
        if condition.is.is_empty() {
            continue;
        }
        let mut wider = Vec::with_capacity(rules.len() * condition.is.len());
        for rule in &rules {
            for value in &condition.is {
                let op = condition.mask.map_or(Op::Eq, Op::MaskedEq);
                let mut rule = rule.clone();
                rule.push(make(op, *value)?);
                wider.push(rule);
            }
        }
        rules = wider;
    }
    Ok(rules)
}
