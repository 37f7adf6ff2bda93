//! A refused system call: the rule behind it, and the narrowest change that would let it through.

use super::command::is_root;
use super::compose::Policy;
use super::grants::{Grants, Origin};
use super::parse::Key;
use super::subject::Subject;
use super::words;
use crate::error::Result;
use crate::image::ImageName;
use crate::plan::seccomp::told::{Data, answer};
use crate::plan::seccomp::{Arch, Instruction, Profile, Rules};

/// A system call that a cell was refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// Its number, if it is one.
    pub number: Option<u32>,
    /// Its arguments.
    pub args: [u64; 6],
}

/// The rule behind a refusal, ready to be printed or serialised.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Denial {
    /// The rule that gives the cell its set, or the flag that narrows it, as written.
    pub rule: String,
    /// Where that stands.
    pub origin: Origin,
    /// Why the set, or the file, refuses the call.
    pub why: String,
    /// The narrowest change that would let it pass, in lines; empty: no policy allows it.
    pub cure: Vec<String>,
}

/// What judges the refusals of one cell: which rule is behind each, and what would let it pass. What
/// all of them take is read once, because a cell makes as many as it likes.
#[derive(Debug)]
pub struct Denials<'a> {
    policy: Policy,
    subject: Subject,
    grants: &'a Grants,
    /// The cell's set, without what narrows it.
    rules: Rules,
    program: Vec<Instruction>,
    /// The set of who holds one capability more, each by its name.
    more: Vec<(&'static str, Vec<Instruction>)>,
}

impl<'a> Denials<'a> {
    /// Of a cell of `image` that was granted `grants`.
    ///
    /// # Errors
    /// `Malformed`: a built-in set is not one.
    pub fn new(policy: &Policy, image: &ImageName, grants: &'a Grants) -> Result<Self> {
        let caps = grants.caps.value.iter().map(|cap| cap.value.as_str());
        let set = Profile::builtin(&grants.syscalls.value, caps)?;
        let arch = Arch::native();
        let more = set.more_caps().map(|cap| {
            let held = set.caps.iter().copied().chain([cap]);
            Ok((cap, Profile::builtin(&set.name, held)?.compile(arch)?))
        });
        let subject = Subject::of(image);
        Ok(Self {
            policy: policy.about(&subject),
            subject,
            grants,
            rules: set.rules()?,
            program: set.compile(arch)?,
            more: more.collect::<Result<_>>()?,
        })
    }

    /// Which rule refuses `refused`, and what would let it pass.
    pub fn of(&self, refused: &Refused) -> Denial {
        let grants = self.grants;
        let name = refused.number.and_then(|n| Arch::native().name(n));
        let narrowed = grants.narrowed.as_ref();
        if let Some((narrowed, origin)) =
            narrowed.and_then(|n| Some((n.value.narrowed.as_ref()?, &n.origin)))
            && passes(&self.program, refused)
        {
            return Denial {
                rule: format!("seccomp={}", narrowed.file),
                origin: origin.clone(),
                why: "the file does not allow it".to_owned(),
                cure: vec![format!(
                    "allow {} in that file, or leave --security-opt seccomp=... out",
                    name.unwrap_or("it")
                )],
            };
        }
        // The capability for which the set has the call that it refuses without.
        let more = self.more.iter();
        let mut wanted = more.filter(|(_, program)| passes(program, refused));
        let cap = wanted.next().map(|(cap, _)| *cap);
        Denial {
            rule: format!("syscalls = {}", words::toml(&grants.syscalls.value)),
            origin: grants.syscalls.origin.clone(),
            why: match cap {
                Some(cap) => format!("the set has it for who holds {cap}"),
                None => why(&self.rules, name),
            },
            cure: cap.map_or_else(Vec::new, |cap| by(cap, &self.policy, &self.subject, grants)),
        }
    }
}

/// Whether `program` lets the call pass.
fn passes(program: &[Instruction], refused: &Refused) -> bool {
    let Some(number) = refused.number else {
        return false;
    };
    let data = Data {
        number,
        arch: Arch::native().audit(),
        instruction: 0,
        args: refused.args,
    };
    answer(program, &data) == Some(libc::SECCOMP_RET_ALLOW)
}

fn why(rules: &Rules, name: Option<&'static str>) -> String {
    let group = name.and_then(|name| rules.rules.get(name));
    match (group.and_then(|rule| rules.reasons.get(rule.reason)), name) {
        (Some(reason), _) => reason.clone(),
        (None, Some(_)) => "what no group of the set names is refused".to_owned(),
        (None, None) => "a number that is not known here is refused".to_owned(),
    }
}

/// How a capability is had, if it can be.
fn by(cap: &str, policy: &Policy, subject: &Subject, grants: &Grants) -> Vec<String> {
    // A tool holds none.
    if grants.tool.is_some() {
        return Vec::new();
    }
    let as_root = match is_root(&grants.user.value) {
        true => "",
        false => " -u 0",
    };
    let flag = format!("--cap-add {cap}{as_root}");
    match policy.ask(subject, Key::Caps, cap) {
        Ok(_) => vec![flag],
        Err(mut reason) => {
            if !reason.cure.is_empty() {
                reason.cure.push(format!("and run with {flag}"));
            }
            reason.cure
        }
    }
}
