//! A cell without an image (`lazaret tool`): what of the host it stands on, and which rules let it.
//!
//! The subject of rules is `tool:PATH`, the program's real path. Its own file is had by `trust`, as
//! an image is; names below /etc by `etc`; every other mount by `mounts`, as any mount is.

use super::compose::Policy;
use super::grants::{Granted, Origin, Reason, ToolRoot};
use super::parse::{Accept, Key};
use super::pattern::{matches, matches_below};
use super::request::{BindAsk, ToolAsk};
use super::subject::Subject;
use super::words;
use crate::image::ImageName;

/// The home of whoever a tool runs as: an empty folder in memory.
pub const TOOL_HOME: &str = "/home/tool";

/// The names below /etc that a tool sees unasked: patterns, in the order of their rules.
pub fn wanted_etc(policy: &Policy, tool: &ImageName) -> Vec<String> {
    let subject = Subject::of(tool);
    let mut wanted: Vec<String> = Vec::new();
    let rules = policy.gives(&subject);
    let lists = rules.iter().flat_map(|(_, rule)| rule.lists.iter());
    for name in lists
        .filter(|entry| entry.key == Key::Etc)
        .flat_map(|entry| &entry.values)
    {
        if !wanted.contains(name) {
            wanted.push(name.clone());
        }
    }
    wanted
}

/// Whether a value of `etc` can mean anything: names below /etc, without `..`.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Asks every level for a name below /etc. A folder that holds what is denied is denied; patterns
/// that begin with `**` speak of the name itself only.
pub(super) fn etc(
    policy: &Policy,
    subject: &Subject,
    name: &str,
) -> Result<Option<Origin>, Reason> {
    let denied = |pattern: &str| {
        matches(pattern, name) || !pattern.starts_with("**") && matches_below(pattern, name)
    };
    let allowed = |pattern: &str| matches(pattern, name);
    policy.ask_by(subject, Key::Etc, name, &denied, &allowed)
}

/// Whether every level trusts a program. `tofu` has no tag to hold on to and is as `any`; `pinned`
/// wants `--sha256`.
///
/// # Errors
/// The reason why not.
pub fn trusted(policy: &Policy, tool: &ImageName, pinned: bool) -> Result<Origin, Reason> {
    let subject = Subject::of(tool);
    let mut origin = Origin::Always("only what somebody trusts runs");
    for level in &policy.levels {
        let reason = |rule: String, why: String, origin: Origin, cure: Vec<String>| Reason {
            asked: format!("the program {}", words::shown(&subject.full)),
            rule,
            origin,
            why,
            cure,
        };
        let rules = level.trusts(&subject);
        let Some(rule) = rules.first() else {
            let at = Origin::Always("only what somebody trusts runs");
            let cure = policy.trust_cure(level.whose, &subject, &at);
            let why = "only what somebody trusts runs".to_owned();
            return Err(reason(
                "no trust rule is about this program".to_owned(),
                why,
                at,
                cure,
            ));
        };
        let at = rule.head.at(rule.head.line);
        let why = rule.head.reason.clone();
        let signed = rules.iter().find(|r| matches!(r.accept, Accept::Signed(_)));
        if let Some(rule) = signed.filter(|_| rule.accept != Accept::Reject) {
            let cure = vec![
                "nobody signs programs of this machine: accept = \"pinned\", and say \
                             which file it must be: --sha256 HEX"
                    .to_owned(),
            ];
            let at = rule.head.at(rule.head.line);
            return Err(reason(
                super::trust::written(rule),
                rule.head.reason.clone(),
                at,
                cure,
            ));
        }
        let written = super::trust::written(rule);
        match rule.accept {
            Accept::Reject => {
                let cure = policy.trust_cure(level.whose, &subject, &at);
                return Err(reason(written, why, at, cure));
            }
            Accept::Pinned if !pinned => {
                let cure = vec!["say which file it must be: --sha256 HEX".to_owned()];
                return Err(reason(written, why, at, cure));
            }
            Accept::Any | Accept::Tofu | Accept::Pinned | Accept::Signed(_) => origin = at,
        }
    }
    Ok(origin)
}

/// What the plan needs to know of a tool.
pub(super) fn root(ask: &ToolAsk, trusted: Origin) -> Granted<ToolRoot> {
    Granted {
        value: ToolRoot {
            links: ask.links.clone(),
            program: ask.program.clone(),
            sha256: ask.bind.zip(ask.sha256),
        },
        origin: trusted,
    }
}

/// A refused mount with what can be done instead.
pub(super) fn cured(mut reason: Reason, below: bool, ask: &BindAsk) -> Reason {
    if ask.flag == CWD {
        reason.cure = vec!["cd to the folder of the project, and call it from there".to_owned()];
        if below {
            reason.why = format!("{}; this folder has such a place below it", reason.why);
        }
        return reason;
    }
    if below {
        reason.why = format!("{}; this folder has such a place below it", reason.why);
        let cure = "name the folder below it that is needed";
        reason.cure.push(cure.to_owned());
    }
    if ask.source.contains('*') && !reason.cure.is_empty() {
        reason.cure = vec!["rename it: a * in a rule stands for any name".to_owned()];
    }
    reason
}

/// What asks for the binds of a tool, in the place of a flag.
pub const CWD: &str = "the current folder";
pub const PROGRAM: &str = "PROGRAM";
pub const ROOT: &str = "tool";
