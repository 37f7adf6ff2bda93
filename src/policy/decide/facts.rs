//! What `require facts` says of the unpacked image.

use super::Judge;
use crate::image::quote::listed;
use crate::policy::facts::ImageFacts;
use crate::policy::grants::Reason;
use crate::policy::require::NoneWord;
use crate::policy::words;

impl Judge<'_> {
    /// What `require facts` says of the unpacked image.
    pub(super) fn facts(&mut self, image: &ImageFacts) {
        for level in &self.policy.levels {
            for rule in level.require(self.subject) {
                let facts = &rule.facts;
                let at = rule.head.at(rule.facts_line);
                let cure = self.policy.require_cure(level.whose, &at);
                let mut refuse = |asked: String, rule_text: String| {
                    self.reasons.push(Reason {
                        asked,
                        rule: format!("require facts = {{ {rule_text} }}"),
                        origin: at.clone(),
                        why: rule.head.reason.clone(),
                        cure: cure.clone(),
                    });
                };
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
                    if let Some(most) = most
                        && is > most
                    {
                        let written = written.map_or(most.to_string(), words::toml);
                        refuse(
                            format!("an image with {is} {what}"),
                            format!("{key} = {written}"),
                        );
                    }
                }
                for (key, what, paths, word) in [
                    ("setuid", "setuid files", &image.setuid, facts.setuid),
                    (
                        "file_caps",
                        "files with capabilities",
                        &image.file_caps,
                        facts.file_caps,
                    ),
                    (
                        "special",
                        "devices, fifos or sockets",
                        &image.special,
                        facts.special,
                    ),
                ] {
                    if word == Some(NoneWord::None) && !paths.is_empty() {
                        let shown = listed(paths.iter().map(String::as_str), 3);
                        refuse(
                            format!("an image with {what}: {shown}"),
                            format!("{key} = \"none\""),
                        );
                    }
                }
            }
        }
    }
}
