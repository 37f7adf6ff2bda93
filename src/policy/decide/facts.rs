//! What `require facts` says of the unpacked image, and of who runs in it.

use super::Judge;
use crate::policy::facts::ImageFacts;
use crate::policy::grants::{Granted, Origin};
use crate::policy::require::{Facts, has_user, unmet};
use crate::policy::tree::{Found, FoundPath, TreeFacts};
use crate::policy::words;

/// Takes what was found, and the fact as the rule has it.
type Refuse<'a> = &'a mut dyn FnMut(String, String);

impl Judge<'_> {
    /// What `require facts` says of the unpacked image. `user`: who will run.
    pub(super) fn facts(&mut self, image: &ImageFacts, user: &Granted<String>) {
        for level in &self.policy.levels {
            for rule in level.require(self.subject) {
                let mut refuse = |asked: String, rule_text: String| {
                    let reason = unmet(self.policy, level, rule, asked, &rule_text);
                    self.reasons.push(reason);
                };
                counts(&rule.facts, image, &mut refuse);
                lists(&rule.facts, image, &mut refuse);
                paths(&rule.facts, image.tree.as_ref(), &mut refuse);
                runs(&rule.facts, user, &mut refuse);
            }
        }
    }
}

fn counts(facts: &Facts, image: &ImageFacts, refuse: Refuse<'_>) {
    let size = facts.max_size.as_ref();
    for (key, what, is, most, written) in [
        ("max_layers", "layers", image.layers, facts.max_layers, None),
        ("max_files", "files", image.files, facts.max_files, None),
        (
            "max_size",
            "bytes",
            image.size,
            size.map(|(most, _)| *most),
            size.map(|(_, text)| text.as_str()),
        ),
    ] {
        if let Some(most) = most.filter(|most| is > *most) {
            let written = written.map_or(most.to_string(), words::toml);
            refuse(
                format!("an image with {is} {what}"),
                format!("{key} = {written}"),
            );
        }
    }
}

/// Files of a kind that must not be there. Without a look at the merged tree every layer's count:
/// more is refused, never less.
fn lists(facts: &Facts, image: &ImageFacts, refuse: Refuse<'_>) {
    let tree = image.tree.as_ref();
    let found = |paths: &[String], merged: fn(&TreeFacts) -> Option<&Found>| {
        let merged = tree.and_then(merged).cloned();
        merged.unwrap_or_else(|| Found::of(paths))
    };
    let mut none = |key: &str, what: &str, found: Found| {
        if !found.is_empty() {
            let asked = format!("an image with {what}: {}", found.shown());
            refuse(asked, format!("{key} = \"none\""));
        }
    };
    if facts.setuid.is_some() {
        none(
            "setuid",
            "setuid files",
            found(&image.setuid, |tree| tree.setuid.as_ref()),
        );
    }
    if facts.file_caps.is_some() {
        none(
            "file_caps",
            "files with capabilities",
            found(&image.file_caps, |tree| tree.file_caps.as_ref()),
        );
    }
    if facts.special.is_some() {
        none(
            "special",
            "devices, fifos or sockets",
            found(&image.special, |tree| tree.special.as_ref()),
        );
    }
}

/// What only the merged tree tells. It is there where [`Policy::facts_wanted`] asks for it; whoever
/// did not look is refused.
///
/// [`Policy::facts_wanted`]: crate::policy::Policy::facts_wanted
fn paths(facts: &Facts, tree: Option<&TreeFacts>, refuse: Refuse<'_>) {
    let unread = || "an image whose files were not looked at".to_owned();
    if facts.world_writable.is_some() {
        let rule = "world_writable = \"none\"".to_owned();
        match tree.and_then(|tree| tree.world_writable.as_ref()) {
            Some(found) if found.is_empty() => {}
            Some(found) => {
                let shown = found.shown();
                refuse(
                    format!("an image with files that everybody may write: {shown}"),
                    rule,
                );
            }
            None => refuse(unread(), rule),
        }
    }
    let found = |pattern: &String| -> Option<&FoundPath> {
        let paths = tree.map(|tree| tree.paths.iter())?;
        let mut same = paths.filter(|(of, _)| of == pattern);
        same.next().map(|(_, found)| found)
    };
    for pattern in &facts.absent {
        let rule = format!("absent = {}", words::toml_array([pattern.as_str()]));
        match found(pattern) {
            Some(found) if found.all.is_empty() => {}
            Some(found) => refuse(format!("an image with {}", found.all.shown()), rule),
            None => refuse(unread(), rule),
        }
    }
    for pattern in &facts.present {
        let rule = format!("present = {}", words::toml_array([pattern.as_str()]));
        match found(pattern) {
            Some(found) if found.made => {}
            Some(_) => refuse(format!("an image without {}", words::toml(pattern)), rule),
            None => refuse(unread(), rule),
        }
    }
}

/// The image's own user was judged when it was admitted; a flag does not get around that.
fn runs(facts: &Facts, user: &Granted<String>, refuse: Refuse<'_>) {
    if let Some(users) = &facts.users
        && !has_user(users, &user.value)
    {
        let asked = match &user.origin {
            Origin::Flag(flag) => format!("{flag} {}", words::shown(&user.value)),
            _ => format!("an image with USER {}", words::shown(&user.value)),
        };
        let users = words::toml_array(users.iter().map(String::as_str));
        refuse(asked, format!("users = {users}"));
    }
}
