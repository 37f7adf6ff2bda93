//! The first decision: whether an image may come in at all, before any layer is looked at.

use super::compose::Policy;
use super::explain::{Heard, TRUST};
use super::grants::Reason;
use super::pattern::matches;
use super::require::{Facts, has_user, time, unmet, user_of};
use super::signed;
use super::subject::Subject;
use super::trust::{self, Seen};
use super::words;
use crate::image::quote::quoted;
use crate::image::{ImageConfig, ImageName, Manifest};
use crate::trust::Evidence;

/// How far in the future `created` may lie, in seconds: clocks differ, and time zones get mixed up.
const CLOCKS: i64 = 86_400;

/// The first decision.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admit {
    /// Go on.
    Go,
    /// Refused, for these reasons.
    Deny(Vec<Reason>),
}

/// What is asked about.
pub(super) struct Admitted<'a> {
    pub(super) subject: &'a Subject,
    pub(super) name: &'a ImageName,
    pub(super) manifest: &'a Manifest,
    pub(super) seen: Option<&'a Seen>,
    pub(super) evidence: &'a Evidence,
}

/// Decides on an image by its name, manifest and config: whether it is trusted, and whether it is
/// what `require facts` says as far as these two tell: number of layers, compressed bytes, the
/// user, labels, age, lowest layer. All levels must agree.
///
/// `seen`: what the tag of a registry's image meant, if that was recorded. A name with a digest says
/// itself what it means, and names without a registry have no tags: `None`. `evidence`: what its
/// signatures are worth, held against [`Policy::wanted_signers`]; nothing where these are none. `now`:
/// seconds since 1970.
pub fn admit(
    policy: &Policy,
    name: &ImageName,
    manifest: &Manifest,
    config: &ImageConfig,
    seen: Option<&Seen>,
    evidence: &Evidence,
    now: i64,
) -> Admit {
    let subject = Subject::of(name);
    let asked = Admitted {
        subject: &subject,
        name,
        manifest,
        seen,
        evidence,
    };
    let policy = &policy.about(&subject);
    let mut reasons = Vec::new();
    let mut trusted = Vec::new();
    for level in &policy.levels {
        let refusals = trust::refusals(policy, level, &asked);
        trusted.push(refusals.is_empty());
        reasons.extend(refusals);
        for rule in level.require(&subject) {
            reasons.extend(signed::unattested(policy, level, rule, &asked));
            let mut refuse = |is: String, rule_text: String| {
                let asked = format!("{} {is}", words::shown(&subject.full));
                reasons.push(unmet(policy, level, rule, asked, &rule_text));
            };
            counts(&rule.facts, manifest, &mut refuse);
            words_of(&rule.facts, config, now, &mut refuse);
        }
    }
    policy.tell(|| Heard {
        key: TRUST,
        value: subject.full.clone(),
        answers: policy.trusted_by(&subject, &trusted),
    });
    if reasons.is_empty() {
        Admit::Go
    } else {
        Admit::Deny(reasons)
    }
}

/// What the manifest counts.
fn counts(facts: &Facts, manifest: &Manifest, refuse: &mut dyn FnMut(String, String)) {
    let layers = manifest.layers.len() as u64;
    if let Some(most) = facts.max_layers.filter(|most| layers > *most) {
        refuse(
            format!("with {layers} layers"),
            format!("max_layers = {most}"),
        );
    }
    let sizes = manifest.layers.iter().map(|layer| layer.size);
    let bytes = sizes.fold(0u64, u64::saturating_add);
    if let Some((_, text)) = facts.max_size.as_ref().filter(|(most, _)| bytes > *most) {
        refuse(
            format!("with {bytes} compressed bytes"),
            format!("max_size = {}", words::toml(text)),
        );
    }
}

/// What the config says.
fn words_of(facts: &Facts, config: &ImageConfig, now: i64, refuse: &mut dyn FnMut(String, String)) {
    if let Some(users) = &facts.users
        && !has_user(users, &config.user)
    {
        let patterns = words::toml_array(users.iter().map(String::as_str));
        refuse(
            format!("with USER {}", words::shown(&user_of(&config.user))),
            format!("users = {patterns}"),
        );
    }
    for (key, pattern) in &facts.labels {
        let is = match config.labels.get(key) {
            Some(value) if matches(pattern, value) => continue,
            Some(value) => format!("with the label {} = {}", quoted(key), quoted(value)),
            None => format!("without a label {}", quoted(key)),
        };
        let (key, pattern) = (words::toml(key), words::toml(pattern));
        refuse(is, format!("labels = {{ {key} = {pattern} }}"));
    }
    if let Some((most, text)) = &facts.max_age
        && let Some(is) = too_old(config.created.as_deref(), *most, now)
    {
        refuse(is, format!("max_age = {}", words::toml(text)));
    }
    if !facts.base.is_empty() {
        let lowest = config.diff_ids.first().map(|id| id.0);
        if !lowest.is_some_and(|id| facts.base.contains(&id)) {
            let is = match lowest {
                Some(id) => format!("whose lowest layer is {id}"),
                None => "without layers".to_owned(),
            };
            let base: Vec<_> = facts.base.iter().map(ToString::to_string).collect();
            let base = words::toml_array(base.iter().map(String::as_str));
            refuse(is, format!("base = {base}"));
        }
    }
}

/// Why `created` is not within so many seconds before now.
fn too_old(created: Option<&str>, most: u64, now: i64) -> Option<String> {
    let Some(text) = created else {
        return Some("which does not say when it was made".to_owned());
    };
    let Ok(made) = text.parse::<jiff::Timestamp>() else {
        return Some(format!("made {}, which is no time", quoted(text)));
    };
    let age = now.saturating_sub(made.as_second());
    if age < -CLOCKS {
        return Some(format!(
            "made {}, which is in the future",
            time(made.as_second())
        ));
    }
    let old = u64::try_from(age).is_ok_and(|age| age > most);
    old.then(|| format!("made {}", time(made.as_second())))
}
