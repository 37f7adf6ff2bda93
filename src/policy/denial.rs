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
use crate::plan::seccomp::{Arch, Profile, Rules};

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

/// Which rule refuses `refused` in a cell of `image` that was granted `grants`, and what would let it
/// pass.
///
/// # Errors
/// `Malformed`: a built-in set is not one.
pub fn denial(
    policy: &Policy,
    image: &ImageName,
    grants: &Grants,
    refused: &Refused,
) -> Result<Denial> {
    let caps = grants.caps.value.iter().map(|cap| cap.value.as_str());
    let held: Vec<&str> = caps.collect();
    let set = Profile::builtin(&grants.syscalls.value, held.iter().copied())?;
    let name = refused.number.and_then(|n| Arch::native().name(n));
    let narrowed = grants.narrowed.as_ref();
    if let Some((narrowed, origin)) =
        narrowed.and_then(|n| Some((n.value.narrowed.as_ref()?, &n.origin)))
        && passes(&set, refused)?
    {
        return Ok(Denial {
            rule: format!("seccomp={}", narrowed.file),
            origin: origin.clone(),
            why: "the file does not allow it".to_owned(),
            cure: vec![format!(
                "allow {} in that file, or leave --security-opt seccomp=... out",
                name.unwrap_or("it")
            )],
        });
    }
    let subject = Subject::of(image);
    let policy = &policy.about(&subject);
    let cap = wanted(&set, refused)?;
    Ok(Denial {
        rule: format!("syscalls = {}", words::toml(&grants.syscalls.value)),
        origin: grants.syscalls.origin.clone(),
        why: match cap {
            Some(cap) => format!("the set has it for who holds {cap}"),
            None => why(&set.rules()?, name),
        },
        cure: cap.map_or_else(Vec::new, |cap| by(cap, policy, &subject, grants)),
    })
}

/// The capability for which the set has a call that it refuses without.
fn wanted(set: &Profile, refused: &Refused) -> Result<Option<&'static str>> {
    for cap in set.more_caps() {
        let held = set.caps.iter().copied().chain([cap]);
        if passes(&Profile::builtin(&set.name, held)?, refused)? {
            return Ok(Some(cap));
        }
    }
    Ok(None)
}

fn passes(set: &Profile, refused: &Refused) -> Result<bool> {
    let Some(number) = refused.number else {
        return Ok(false);
    };
    let arch = Arch::native();
    let data = Data {
        number,
        arch: arch.audit(),
        instruction: 0,
        args: refused.args,
    };
    Ok(answer(&set.compile(arch)?, &data) == Some(libc::SECCOMP_RET_ALLOW))
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
