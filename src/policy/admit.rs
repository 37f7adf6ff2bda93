//! The first decision: whether an image may come in at all, before any layer is looked at.

use super::compose::Policy;
use super::grants::{Origin, Reason};
use super::parse::Accept;
use super::subject::Subject;
use super::words;
use crate::image::{ImageConfig, ImageName, Manifest};

/// The first decision.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admit {
    /// Go on.
    Go,
    /// Refused, for these reasons.
    Deny(Vec<Reason>),
}

/// Decides on an image by its name, manifest and config: whether it is trusted, has no more layers
/// and no more compressed bytes than `require` says. All levels must agree.
///
/// `accept = "tofu"` passes here: what a tag meant before is for the store to say, once there is a
/// registry client.
pub fn admit(
    policy: &Policy,
    name: &ImageName,
    manifest: &Manifest,
    _config: &ImageConfig,
) -> Admit {
    let subject = Subject::of(name);
    let policy = &policy.about(&subject);
    let mut reasons = Vec::new();
    for level in &policy.levels {
        match level.trust(&subject) {
            Some(rule) if rule.accept == Accept::Reject => reasons.push(Reason {
                asked: words::shown(&subject.full),
                rule: format!(
                    "trust image = {}, accept = \"reject\"",
                    words::toml_array(rule.head.images.iter().map(String::as_str))
                ),
                origin: rule.head.at(rule.head.line),
                why: rule.head.reason.clone(),
                cure: policy.trust_cure(level.whose, &subject, &rule.head.at(rule.head.line)),
            }),
            Some(_) => {}
            None => {
                let origin = Origin::Always("only what somebody trusts comes in");
                reasons.push(Reason {
                    asked: words::shown(&subject.full),
                    rule: "no trust rule is about this image".to_owned(),
                    why: "only what somebody trusts comes in".to_owned(),
                    cure: policy.trust_cure(level.whose, &subject, &origin),
                    origin,
                });
            }
        }
        for rule in level.require(&subject) {
            let mut too_much = |what: &str, is: String, key: &str, most: String| {
                let at = rule.head.at(rule.facts_line);
                reasons.push(Reason {
                    asked: format!("{} with {is} {what}", words::shown(&subject.full)),
                    rule: format!("require facts = {{ {key} = {most} }}"),
                    why: rule.head.reason.clone(),
                    cure: policy.require_cure(level.whose, &at),
                    origin: at,
                });
            };
            let layers = manifest.layers.len() as u64;
            if let Some(most) = rule.facts.max_layers
                && layers > most
            {
                too_much("layers", layers.to_string(), "max_layers", most.to_string());
            }
            let bytes = manifest
                .layers
                .iter()
                .fold(0u64, |sum, layer| sum.saturating_add(layer.size));
            if let Some((most, text)) = &rule.facts.max_size
                && bytes > *most
            {
                too_much(
                    "compressed bytes",
                    bytes.to_string(),
                    "max_size",
                    words::toml(text),
                );
            }
        }
    }
    if reasons.is_empty() {
        Admit::Go
    } else {
        Admit::Deny(reasons)
    }
}
