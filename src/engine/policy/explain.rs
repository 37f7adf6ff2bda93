//! `lazaret policy explain RUN-ARGS...`: what each level says to each thing that a run would ask.

use super::width;
use crate::engine::RunRequest;
use crate::engine::journal::Journal;
use crate::engine::run::{self, Looks};
use crate::error::Result;
use crate::policy::{Answered, Ear, Granted, Grants, Heard, Origin, Reason, Said, TRUST};
use crate::report::{self, Format, clean, wrap};
use std::fmt::Write as _;

/// Decides on a run and does not run it: prints what is trusted, asked and given, and by which rule
/// of which level. Exit code 0 if the run would be allowed, 1 if not.
///
/// # Errors
/// As `run`, up to the decision; `Io`: standard output.
pub fn explain(request: &RunRequest) -> Result<u8> {
    let ear = Ear::default();
    let mut journal = Journal::start();
    let looks = Looks {
        who: "policy explain",
        ear: Some(&ear),
    };
    let decided = run::decision(request, &mut journal, Some(looks));
    let lock = journal.lock();
    let (grants, reasons) = match decided {
        Ok(decision) => (Some(decision.grants), Vec::new()),
        // Any other error is no answer of the policy.
        Err(error) if !error.reasons.is_empty() => (None, error.reasons),
        Err(error) => return Err(error),
    };
    let (trust, heard): (Vec<_>, Vec<_>) = ear.take().into_iter().partition(|h| h.key == TRUST);
    // An image that was asked for by its id has another name to rules.
    let (image, trust) = match trust.into_iter().next() {
        Some(heard) => (heard.value, heard.answers),
        None => (request.request.image.to_string(), Vec::new()),
    };
    let given = grants.as_ref().map(given).unwrap_or_default();
    match request.format {
        Format::Json => {
            let value = serde_json::json!({
                "image": image,
                "lock": lock,
                "allowed": reasons.is_empty(),
                "trust": trust,
                "asked": heard,
                "given": given.iter().map(|(what, value, origin)| serde_json::json!({
                    "what": what, "value": value, "origin": origin,
                })).collect::<Vec<_>>(),
                "reasons": reasons,
            });
            report::stdout(&(report::json_pretty(&value) + "\n"))?;
        }
        Format::Text => {
            let locked = lock.map(|lock| clean(&lock.told()).into_owned() + "\n");
            let text = text(&image, &trust, &heard, &given, &reasons);
            report::stdout(&(locked.unwrap_or_default() + &text))?;
        }
    }
    Ok(u8::from(!reasons.is_empty()))
}

/// What, its value, and where it comes from.
type Given = (&'static str, String, Origin);

fn given(grants: &Grants) -> Vec<Given> {
    fn one<T: std::fmt::Debug>(
        what: &'static str,
        granted: &Granted<T>,
        shown: impl Fn(&T) -> String,
    ) -> Given {
        (what, shown(&granted.value), granted.origin.clone())
    }
    let names = |names: &Vec<String>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(" "),
    };
    let word = |value: serde_json::Result<serde_json::Value>| {
        let value = value.unwrap_or_default();
        value.as_str().map_or(value.to_string(), str::to_owned)
    };
    let bytes = |n: &u64| format!("{n} bytes");
    let mut given = vec![
        one("ids", &grants.id_map, |v| word(serde_json::to_value(v))),
        one("network", &grants.network, |v| {
            word(serde_json::to_value(v))
        }),
        one("syscalls", &grants.syscalls, Clone::clone),
        one("devices", &grants.devices, names),
        one("processes", &grants.pids, u64::to_string),
        one("tmp", &grants.tmp, bytes),
        one("verify", &grants.verify, |v| word(serde_json::to_value(v))),
        one("user", &grants.user, |user| match user.as_str() {
            "" => "root".to_owned(),
            user => user.to_owned(),
        }),
    ];
    given.extend(match grants.caps.value.is_empty() {
        true => vec![one("caps", &grants.caps, |_| "none".to_owned())],
        false => {
            let caps = grants.caps.value.iter();
            caps.map(|cap| one("cap", cap, Clone::clone)).collect()
        }
    });
    let narrowed = grants.narrowed.iter();
    given.extend(narrowed.map(|profile| one("seccomp", profile, ToString::to_string)));
    given.extend(grants.ulimits.iter().map(|limit| {
        one("ulimit", limit, |limit| {
            format!("{} {}", limit.which.name(), limit.soft)
        })
    }));
    given.extend(
        grants
            .timeout
            .iter()
            .map(|limit| one("timeout", limit, |d| format!("{}s", d.as_secs_f64()))),
    );
    given.extend(
        grants
            .env
            .iter()
            .map(|variable| one("env", variable, |(name, value)| format!("{name}={value}"))),
    );
    given
}

fn text(
    image: &str,
    trust: &[Answered],
    heard: &[Heard],
    given: &[Given],
    reasons: &[Reason],
) -> String {
    let width = width();
    // Writing to a String cannot fail.
    let mut out = format!("image {}\n", clean(image));
    answers(&mut out, trust, width);
    // What is given unasked stands below, with its rule.
    let asked = heard.iter().filter(|one| {
        let last = one.answers.last().map(|answer| answer.said);
        last.is_some() && last != Some(Said::Given)
    });
    for one in asked {
        let _infallible = writeln!(out, "\n{} {}", one.key, clean(&one.value));
        answers(&mut out, &one.answers, width);
    }
    if !given.is_empty() {
        out.push_str("\ngiven\n");
    }
    for (what, value, origin) in given {
        let line = format!("{} ({origin})", clean(value));
        let _infallible = writeln!(out, "  {what:<12} {}", wrap(&clean(&line), width, 15, 15));
    }
    match reasons.len() {
        0 => out.push_str("\nallowed\n"),
        1 => out.push_str("\nrefused:\n"),
        n => {
            let _infallible = writeln!(out, "\nrefused for {n} reasons:");
        }
    }
    for reason in reasons {
        let line = format!("{}: {}", reason.asked, reason.why);
        let _infallible = writeln!(out, "  {}", wrap(&clean(&line), width, 2, 4));
        for cure in &reason.cure {
            let _infallible = writeln!(out, "    {}", clean(cure));
        }
    }
    out
}

/// What each level said, a line each.
pub(in crate::engine) fn answers(out: &mut String, answers: &[Answered], width: usize) {
    for answer in answers {
        let line = format!("{} ({})", answer.rule, answer.origin);
        let _infallible = writeln!(
            out,
            "  {:<12} {}",
            answer.said.word(),
            wrap(&clean(&line), width, 15, 15)
        );
        // A refusal says why.
        let refused = matches!(answer.said, Said::Denied | Said::NotAllowed);
        if refused && !answer.why.is_empty() {
            let why = wrap(&clean(&answer.why), width, 15, 15);
            let _infallible = writeln!(out, "               {why}");
        }
    }
}
