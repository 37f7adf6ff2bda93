//! What a JSON profile leaves of the policy's set: the intersection of both.
//!
//! Where the set allows, the profile decides; where the set answers otherwise, that answer stands.
//! So a profile only narrows, and every protection of the set (clone's flags, terminal requests,
//! the core limit, socket families) stays in force under any of them.

use super::{Arch, Case, Instruction, JsonProfile, Profile, Rule, Rules, Verdict};
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use crate::image::quote::listed;
use crate::policy::Origin;
use serde::Serialize;
use std::collections::BTreeMap;

/// What lazaret itself does under the filter: execute the command, else say why not and end.
const NEEDED: [&str; 3] = ["execve", "exit_group", "write"];

/// As many names as a note tells.
const TOLD: usize = 8;

/// What a JSON profile leaves of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Narrowed {
    /// The file, quoted.
    pub file: String,
    /// Its digest.
    pub digest: Digest,
    /// Where the set that it narrows comes from.
    pub set: Origin,
    /// Calls that the profile would allow and the set refuses.
    pub refused: Vec<&'static str>,
    /// Calls that the profile would allow in more cases than the set.
    pub partly: Vec<&'static str>,
    /// The rules of both.
    #[serde(skip)]
    pub(super) rules: Rules,
    /// For which the program is.
    #[serde(skip)]
    pub(super) arch: Arch,
    #[serde(skip)]
    pub(super) program: Vec<Instruction>,
}

impl Profile {
    /// What `profile` leaves of this set, which comes from `set`, in a process that holds the
    /// capabilities `caps` on this kernel, and what a person should know of it, a line each.
    ///
    /// # Errors
    /// `Unsupported`: it refuses what lazaret itself needs; `Limit`: the rules are too many.
    pub fn narrow(
        self,
        profile: &JsonProfile,
        set: Origin,
        caps: &[&str],
        kernel: (u32, u32),
    ) -> Result<(Self, Vec<String>)> {
        let arch = Arch::native();
        let ceiling = self.rules()?;
        let asked = profile.rules(arch, caps, kernel)?;
        let rules = intersection(&ceiling, &asked);
        if let Some(name) = NEEDED.iter().find(|name| !always_passes(&rules, name)) {
            let cause = format!(
                "{} does not allow {name} whatever its arguments",
                profile.quoted()
            );
            return Err(Error::new(Kind::Unsupported, cause).hint(
                "the command is started under this filter: execve starts it, and write and \
                 exit_group say why where it cannot be; allow the three",
            ));
        }
        let program = rules.compile(arch).map_err(|error| {
            let error = error.context(profile.quoted());
            error.kind(Kind::Limit)
        })?;
        let (refused, partly) = beyond(&ceiling, &asked, arch);
        let narrowed = Narrowed {
            file: profile.quoted(),
            digest: profile.digest,
            set,
            refused,
            partly,
            rules,
            arch,
            program,
        };
        let notes = notes(&self.name, profile, &narrowed);
        let profile = Self {
            narrowed: Some(narrowed),
            ..self
        };
        Ok((profile, notes))
    }
}

fn notes(set: &str, profile: &JsonProfile, narrowed: &Narrowed) -> Vec<String> {
    let bare = |names: &[&'static str]| {
        let shown = names
            .iter()
            .take(TOLD)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        match names.len().saturating_sub(TOLD) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    };
    let mut beyond = Vec::new();
    if !narrowed.refused.is_empty() {
        beyond.push(bare(&narrowed.refused));
    }
    if !narrowed.partly.is_empty() {
        beyond.push(format!("in part {}", bare(&narrowed.partly)));
    }
    if profile.is_foreign() {
        beyond.push("programs of other architectures".to_owned());
    }
    let mut notes = Vec::new();
    if !beyond.is_empty() {
        notes.push(format!(
            "{} allows what the set {set:?} refuses, and which stays refused: {}",
            narrowed.file,
            beyond.join("; ")
        ));
    }
    let strange = profile.strange_names();
    if !strange.is_empty() {
        notes.push(format!(
            "{} names system calls that are not known here, and are refused: {}",
            narrowed.file,
            listed(strange.into_iter(), TOLD)
        ));
    }
    notes
}

/// The answer of both, for every call: the first case that holds decides, as in each of them.
pub(super) fn intersection(ceiling: &Rules, asked: &Rules) -> Rules {
    let mut reasons = ceiling.reasons.clone();
    let both = reasons.len();
    reasons.extend(asked.reasons.first().cloned());
    let default = Rule {
        cases: Vec::new(),
        otherwise: asked.refused,
        reason: 0,
    };
    // What the ceiling does not name it refuses, whatever is asked.
    let rules: BTreeMap<&'static str, Rule> = ceiling
        .rules
        .iter()
        .map(|(name, ceiling)| {
            let asked = asked.rules.get(name).unwrap_or(&default);
            let mut rule = meet(ceiling, asked);
            if rule.cases != ceiling.cases || rule.otherwise != ceiling.otherwise {
                rule.reason = both;
            }
            (*name, rule)
        })
        .collect();
    Rules {
        name: ceiling.name.clone(),
        refused: ceiling.refused,
        unknown: ceiling.unknown,
        rules,
        reasons,
        lines: ceiling.lines.clone(),
    }
}

fn meet(ceiling: &Rule, asked: &Rule) -> Rule {
    let mut cases: Vec<Case> = Vec::with_capacity(ceiling.cases.len());
    for case in &ceiling.cases {
        if case.then != Verdict::Allow {
            cases.push(case.clone());
            continue;
        }
        cases.extend(asked.cases.iter().map(|asked| {
            let more = asked.when.iter().filter(|more| !case.when.contains(more));
            Case {
                when: case.when.iter().chain(more).cloned().collect(),
                then: asked.then,
            }
        }));
        cases.push(Case {
            when: case.when.clone(),
            then: asked.otherwise,
        });
    }
    let otherwise = match ceiling.otherwise {
        Verdict::Allow => {
            cases.extend(asked.cases.iter().cloned());
            asked.otherwise
        }
        refused => refused,
    };
    // Cases before `otherwise` that answer the same decide nothing.
    while cases.last().is_some_and(|case| case.then == otherwise) {
        cases.pop();
    }
    Rule {
        cases,
        otherwise,
        reason: ceiling.reason,
    }
}

pub(super) fn always_passes(rules: &Rules, name: &str) -> bool {
    let rule = rules.rules.get(name);
    rule.is_some_and(|rule| rule.cases.is_empty() && rule.otherwise.passes())
}

/// Calls of this architecture that `asked` lets pass: where the ceiling lets none pass, and where it
/// lets pass in fewer cases.
fn beyond(ceiling: &Rules, asked: &Rules, arch: Arch) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut refused, mut partly) = (Vec::new(), Vec::new());
    for name in (0..=arch.last()).filter_map(|nr| arch.name(nr)) {
        let passes = |rule: &Rule, all: bool| {
            let mut answers = rule.cases.iter().map(|case| case.then);
            let otherwise = rule.otherwise.passes();
            match all {
                true => otherwise && answers.all(Verdict::passes),
                false => otherwise || answers.any(Verdict::passes),
            }
        };
        let asks = match asked.rules.get(name) {
            Some(rule) => passes(rule, false),
            None => asked.refused.passes(),
        };
        if !asks {
            continue;
        }
        match ceiling.rules.get(name) {
            Some(rule) if passes(rule, true) => {}
            // Nothing of what it asks for is taken away.
            Some(rule)
                if asked.rules.get(name).is_some_and(|asked| {
                    let both = meet(rule, asked);
                    both.cases == asked.cases && both.otherwise == asked.otherwise
                }) => {}
            Some(rule) if passes(rule, false) => partly.push(name),
            _ => refused.push(name),
        }
    }
    (refused, partly)
}
