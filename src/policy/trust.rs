//! What `trust` says of an image: whether it comes in by the name that it was asked for by.

use super::admit::Admitted;
use super::compose::{Level, Policy, Whose};
use super::grants::{Origin, Reason};
use super::parse::{Accept, Trust};
use super::pattern::{matches, specificity};
use super::require::time;
use super::signed;
use super::subject::Subject;
use super::words;
use crate::image::{Digest, ImageName, Reference};

/// What a registry's tag meant when it was asked for last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The digest that the registry served: a manifest's, or that of an index.
    pub served: Digest,
    /// The manifests that were taken out of it here; the same digest where it is a manifest.
    pub manifests: Vec<Digest>,
    /// When it was first seen to mean this; seconds since 1970.
    pub first: i64,
    /// When it was last seen to.
    pub last: i64,
}

impl Seen {
    /// Whether the tag meant this manifest.
    pub fn means(&self, manifest: &Digest) -> bool {
        self.served == *manifest || self.manifests.contains(manifest)
    }
}

/// Why a level does not let the image in, a reason for each rule that does not; none: it does.
pub(super) fn refusals(policy: &Policy, level: &Level, asked: &Admitted<'_>) -> Vec<Reason> {
    let subject = asked.subject;
    let rules = level.trusts(subject);
    if rules.is_empty() {
        let origin = Origin::Always("only what somebody trusts comes in");
        return vec![Reason {
            asked: words::shown(&subject.full),
            rule: "no trust rule is about this image".to_owned(),
            why: "only what somebody trusts comes in".to_owned(),
            cure: policy.trust_cure(level.whose, subject, &origin),
            origin,
        }];
    }
    let rules = rules.into_iter();
    rules
        .filter_map(|rule| refusal(policy, level, rule, asked))
        .collect()
}

/// Why a rule does not let the image in; `None`: it does.
fn refusal(policy: &Policy, level: &Level, rule: &Trust, asked: &Admitted<'_>) -> Option<Reason> {
    let (subject, name, manifest) = (asked.subject, asked.name, &asked.manifest.digest);
    let at = || rule.head.at(rule.head.line);
    let rejected = || match named(rule, subject) && level.whose == Whose::User {
        true => vec![format!("your own rule says so: change it ({})", at())],
        false => policy.trust_cure(level.whose, subject, &at()),
    };
    let (asked, cure) = match (&rule.accept, name) {
        (Accept::Any, _) => return None,
        (Accept::Signed(who), _) => return signed::unsigned(policy, level, rule, who, asked),
        (Accept::Tofu, ImageName::Registry(reference)) => {
            let seen = asked.seen.filter(|seen| !seen.means(manifest))?;
            (moved(reference, seen, manifest), accepting(reference))
        }
        // The others have no tags that somebody else moves.
        (Accept::Tofu, _) => return None,
        (Accept::Pinned, name) if has_digest(name) => return None,
        (Accept::Pinned, name) => {
            let asked = format!("{} without a digest", words::shown(&subject.full));
            (
                asked,
                pinning(name, manifest).map_or_else(rejected, |c| vec![c]),
            )
        }
        (Accept::Reject, _) => (words::shown(&subject.full), rejected()),
    };
    Some(Reason {
        asked,
        rule: written(rule),
        why: rule.head.reason.clone(),
        cure,
        origin: at(),
    })
}

/// Whether a rule is about nothing but this image: another one about it is not more specific.
fn named(rule: &Trust, subject: &Subject) -> bool {
    let only = |pattern: &&String| specificity(pattern) >= subject.full.len();
    let mut patterns = rule.head.images.iter().filter(only);
    patterns.any(|pattern| matches(pattern, &subject.full))
}

fn has_digest(name: &ImageName) -> bool {
    match name {
        ImageName::Registry(reference) => reference.digest.is_some(),
        ImageName::OciDir { digest, .. } => digest.is_some(),
        _ => false,
    }
}

fn moved(reference: &Reference, seen: &Seen, now: &Digest) -> String {
    format!(
        "{}: was {}, first seen {}, last seen {}; now {now}",
        words::shown(&reference.to_string()),
        seen.served,
        time(seen.first),
        time(seen.last),
    )
}

const ACCEPTING: &str = "to accept what it means now";

/// Of an image that is no registry's answer: what its registry means by a tag makes nothing of it right,
/// so that a refusal of a moved tag has the cure `cure`.
pub fn of_a_copy(mut reasons: Vec<Reason>, cure: &str) -> Vec<Reason> {
    for reason in &mut reasons {
        if reason.cure.first().is_some_and(|line| line == ACCEPTING) {
            reason.cure = vec![cure.to_owned()];
        }
    }
    reasons
}

/// A moved tag is accepted by whoever runs it, whose level the rule is of: the record is theirs.
fn accepting(reference: &Reference) -> Vec<String> {
    vec![
        ACCEPTING.to_owned(),
        format!("lazaret pull --accept {reference}"),
    ]
}

/// How the very image is named by digest; archives have no such names.
fn pinning(name: &ImageName, manifest: &Digest) -> Option<String> {
    match name {
        ImageName::Registry(_) | ImageName::OciDir { .. } => Some(format!(
            "name it by its digest: {}",
            words::shown(&format!("{name}@{manifest}"))
        )),
        _ => None,
    }
}

/// The rule as it is written.
pub(super) fn written(rule: &Trust) -> String {
    format!(
        "trust image = {}, accept = {}",
        words::toml_array(rule.head.images.iter().map(String::as_str)),
        rule.accept.written()
    )
}
