//! A system call: what the cell's filter answers.

use super::cell::Cell;
use crate::error::Result;
use crate::plan::Step;
use crate::plan::seccomp::words::{self, Call};
use crate::plan::seccomp::{Arch, Profile, Verdict, told};
use crate::policy::{CAPABILITIES, Denials, Refused, call_needs};
use crate::report::Answer;

/// Answers `call`, with the condition where its arguments decide.
///
/// # Errors
/// `Malformed`: a built-in set of system calls is not one.
pub(super) fn call(cell: &Cell, call: &Call, answer: &mut Answer) -> Result<()> {
    let arch = Arch::native();
    let (profile, origin) = cell.step(|step| match step {
        Step::Seccomp(profile) => Some(profile),
        _ => None,
    })?;
    let rules = profile.rules()?;
    let shown = words::asked(arch, call);
    let Some(number) = call.number else {
        answer.answer = format!("{shown}: {} has no such system call", arch.go_name());
        answer.why = "only other architectures have it".to_owned();
        return Ok(());
    };
    let outcomes = rules.outcomes(arch, call);
    let (pass, stay): (Vec<Verdict>, Vec<Verdict>) = outcomes.iter().partition(|v| v.passes());
    answer.allowed = !pass.is_empty();
    answer.answer = match (pass.is_empty(), stay.is_empty()) {
        (false, true) => format!("{shown} reaches the kernel, which decides"),
        (false, false) => format!("{shown}, for some arguments; else {}", in_words(&stay)),
        (true, _) => format!("{shown} {}", in_words(&stay)),
    };
    let group = call.name.and_then(|name| rules.rules.get(name));
    answer.rule = format!("give syscalls = {:?}", cell.grants.syscalls.value);
    answer.origin = origin.clone();
    // What passes stands in a group; why something is refused is said below.
    let reason = group.and_then(|rule| rules.reasons.get(rule.reason));
    answer.why = reason.cloned().unwrap_or_default();
    if !answer.allowed {
        let refused = Refused {
            number: Some(number),
            args: call.filled(),
        };
        let image = &cell.request.image;
        let by = Denials::new(&cell.policy, image, &cell.grants)?.of(&refused);
        (answer.rule, answer.origin, answer.why) = (by.rule, by.origin, by.why);
        answer.cure = Some(by.cure);
    }
    // With every capability held, every group of the set counts.
    let all = Profile::builtin(&profile.name, CAPABILITIES)?.rules()?;
    let line = call.name.and_then(|name| all.rules.get(name));
    let place = match line.and_then(|rule| all.lines.get(rule.reason)) {
        Some(line) => format!("syscalls/{}.toml:{line} (built in)", profile.name),
        None => format!("syscalls/{}.toml (built in), in no group", profile.name),
    };
    answer.facts.push(("set", place));
    if let (Some(rule), Some(name), true) = (group, call.name, outcomes.len() > 1) {
        for case in rule.in_words(name) {
            answer.facts.push(("case", case));
        }
    }
    if let Some((cap, when)) = call.name.and_then(call_needs) {
        let held = cell.grants.caps.value.iter().any(|have| have.value == cap);
        let held = if held { "held" } else { "not held" };
        answer
            .facts
            .push(("needs", format!("{cap} {when} ({held})")));
    }
    if let (Some(reason), false) = (
        call.name.and_then(|name| told::quiet().ok()?.remove(name)),
        answer.allowed,
    ) {
        let text = format!("--explain does not tell of it: {reason}");
        answer.facts.push(("quiet", text));
    }
    Ok(())
}

/// What refusals do.
fn in_words(verdicts: &[Verdict]) -> String {
    let each = verdicts.iter().map(|verdict| match verdict {
        Verdict::Ignore => "answers success and does nothing".to_owned(),
        Verdict::Kill => "kills the process".to_owned(),
        Verdict::Trap => "is answered by a SIGSYS".to_owned(),
        other => format!("answers {other}"),
    });
    each.collect::<Vec<_>>().join(" or ")
}
