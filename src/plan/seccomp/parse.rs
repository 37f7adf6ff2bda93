//! From the text of a profile to [`Rules`]. Everything that is not understood is an error.

use super::{Arch, Case, Condition, Rule, Verdict};
use crate::error::{Error, Kind, Result};
use crate::policy::CAPABILITIES;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: u32,
    name: String,
    refused: &'a str,
    unknown: &'a str,
    #[serde(default)]
    allow: Vec<Allow<'a>>,
    #[serde(default)]
    answer: Vec<Answer<'a>>,
    #[serde(default)]
    check: Vec<Check<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow<'a> {
    #[serde(borrow)]
    names: Spanned<&'a str>,
    reason: &'a str,
    /// The group counts only where the cell holds all of these.
    #[serde(default)]
    caps: Vec<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer<'a> {
    #[serde(borrow)]
    names: Spanned<&'a str>,
    then: &'a str,
    reason: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check<'a> {
    #[serde(borrow)]
    names: Spanned<&'a str>,
    reason: &'a str,
    cases: Vec<CaseText<'a>>,
    #[serde(rename = "else")]
    otherwise: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText<'a> {
    when: Vec<ConditionText>,
    then: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionText {
    arg: u8,
    #[serde(default)]
    wide: bool,
    mask: Option<u64>,
    #[serde(default)]
    is: Vec<u64>,
    #[serde(default)]
    not: Vec<u64>,
}

/// Words that a profile can answer with, and their errno (errno-base.h, errno.h).
const ERRNOS: [(&str, i32); 11] = [
    ("EPERM", libc::EPERM),
    ("ENOSYS", libc::ENOSYS),
    ("EACCES", libc::EACCES),
    ("EINVAL", libc::EINVAL),
    ("ENOENT", libc::ENOENT),
    ("ENODEV", libc::ENODEV),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("ENOPROTOOPT", libc::ENOPROTOOPT),
    ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT),
    ("ESOCKTNOSUPPORT", libc::ESOCKTNOSUPPORT),
];

/// The name of an errno that a profile can answer with.
pub(super) fn errno_name(errno: u16) -> Option<&'static str> {
    ERRNOS
        .iter()
        .find(|(_, value)| *value == i32::from(errno))
        .map(|(name, _)| *name)
}

/// The errno of a name that a profile can answer with.
pub(super) fn errno(name: &str) -> Option<u16> {
    let found = ERRNOS.iter().find(|(known, _)| *known == name);
    found.and_then(|(_, errno)| u16::try_from(*errno).ok())
}

fn verdict(word: &str) -> std::result::Result<Verdict, String> {
    match word {
        "allow" => return Ok(Verdict::Allow),
        "ignore" => return Ok(Verdict::Ignore),
        "kill" => return Ok(Verdict::Kill),
        _ => {}
    }
    errno(word)
        .map(Verdict::Errno)
        .ok_or_else(|| format!("{word:?} is no verdict: allow, ignore, kill or an errno's name"))
}

/// The rules as they are gathered; a name may have only one.
#[derive(Default)]
struct Gathered {
    rules: BTreeMap<&'static str, Rule>,
    reasons: Vec<String>,
    lines: Vec<usize>,
}

impl Gathered {
    fn add(
        &mut self,
        names: &Spanned<&str>,
        text: &str,
        reason: &str,
        cases: &[Case],
        otherwise: Verdict,
    ) -> std::result::Result<(), String> {
        let line = 1 + text
            .bytes()
            .take(names.span().start)
            .filter(|b| *b == b'\n')
            .count();
        let names: &str = names.get_ref();
        if reason.trim().is_empty() {
            return Err(format!("a group without a reason: {names:?}"));
        }
        self.lines.push(line);
        let index = self.reasons.len();
        self.reasons.push(reason.to_owned());
        let mut some = false;
        for name in names.split_ascii_whitespace() {
            some = true;
            let name = Arch::canonical(name)
                .ok_or_else(|| format!("no system call is called {name:?}"))?;
            match self.rules.entry(name) {
                Entry::Occupied(_) => return Err(format!("{name:?} stands in two groups")),
                Entry::Vacant(place) => place.insert(Rule {
                    cases: cases.to_vec(),
                    otherwise,
                    reason: index,
                }),
            };
        }
        if some {
            Ok(())
        } else {
            Err(format!("a group without names: {reason:?}"))
        }
    }
}

fn condition(text: ConditionText) -> std::result::Result<Condition, String> {
    let ConditionText {
        arg,
        wide,
        mask,
        is,
        not,
    } = text;
    if arg > 5 {
        return Err(format!("arg = {arg}: a system call has arguments 0 to 5"));
    }
    if is.is_empty() == not.is_empty() {
        return Err("a condition needs `is` or `not`, and not both".into());
    }
    if mask.is_some() && !not.is_empty() {
        return Err("`mask` goes with `is`".into());
    }
    let narrow = u64::from(u32::MAX);
    let values = is.iter().chain(&not).chain(&mask);
    if let Some(value) = values.clone().find(|v| !wide && **v > narrow) {
        return Err(format!("{value:#x} has more than 32 bits: say `wide`"));
    }
    if let Some(mask) = mask
        && let Some(value) = is.iter().find(|v| **v & !mask != 0)
    {
        return Err(format!(
            "{value:#x} has bits outside the mask {mask:#x}: it never holds"
        ));
    }
    Ok(Condition {
        arg,
        wide,
        mask,
        is,
        not,
        ..Condition::default()
    })
}

fn case(text: CaseText<'_>) -> std::result::Result<Case, String> {
    if text.when.is_empty() {
        return Err("a case without conditions: use `else`".into());
    }
    Ok(Case {
        then: verdict(text.then)?,
        when: text
            .when
            .into_iter()
            .map(condition)
            .collect::<std::result::Result<_, _>>()?,
    })
}

fn profile(file: File<'_>, text: &str, held: &[&str]) -> std::result::Result<super::Rules, String> {
    if file.version != 1 {
        return Err(format!("version = {}: only 1 is known", file.version));
    }
    let mut rules = Gathered::default();
    for group in file.allow {
        if let Some(cap) = group.caps.iter().find(|cap| !CAPABILITIES.contains(cap)) {
            return Err(format!("no capability is called {cap:?}"));
        }
        if group.caps.iter().any(|cap| !held.contains(cap)) {
            continue;
        }
        rules.add(&group.names, text, group.reason, &[], Verdict::Allow)?;
    }
    for group in file.answer {
        rules.add(&group.names, text, group.reason, &[], verdict(group.then)?)?;
    }
    for group in file.check {
        let cases = group
            .cases
            .into_iter()
            .map(case)
            .collect::<std::result::Result<Vec<_>, _>>()?;
        rules.add(
            &group.names,
            text,
            group.reason,
            &cases,
            verdict(group.otherwise)?,
        )?;
    }
    let (refused, unknown) = (verdict(file.refused)?, verdict(file.unknown)?);
    if matches!(refused, Verdict::Allow) || matches!(unknown, Verdict::Allow) {
        return Err(
            "`refused` and `unknown` cannot be allow: a profile is a list of what may be".into(),
        );
    }
    Ok(super::Rules {
        name: file.name,
        refused,
        unknown,
        rules: rules.rules,
        reasons: rules.reasons,
        lines: rules.lines,
    })
}

pub(super) fn parse(text: &str, file: &str, caps: &[&str]) -> Result<super::Rules> {
    let malformed = |cause: String| Error::new(Kind::Malformed, format!("{file}: {cause}"));
    let parsed = toml::from_str(text).map_err(|e| malformed(e.to_string()))?;
    profile(parsed, text, caps).map_err(malformed)
}
