//! The narrowest change that would allow what was refused, or nothing.

use super::compose::{Policy, Whose, written};
use super::grants::{Origin, Reason};
use super::parse::{Entry, Key, Rule};
use super::subject::Subject;
use super::words;
use crate::image::ImageName;

impl Policy {
    /// The project's file, where there is one.
    fn project_file(&self) -> &str {
        let project = self.levels.iter().find(|l| l.whose == Whose::Project);
        project.map_or("lazaret.toml", |level| &level.file)
    }

    pub(super) fn not_allowed(
        &self,
        whose: Whose,
        subject: &Subject,
        key: Key,
        nearest: Option<(&Rule, &Entry<Key>)>,
        snippet: &str,
    ) -> Reason {
        let (rule, origin, why) = match nearest {
            Some((rule, entry)) => (
                written(rule, entry),
                rule.head.at(entry.line),
                rule.head.reason.clone(),
            ),
            None => (
                format!("no rule allows any {}", key.name()),
                Origin::Always("what no rule allows is refused"),
                "nothing is had that is neither given nor allowed".to_owned(),
            ),
        };
        let cure = self.cure(whose, subject, snippet, &origin);
        Reason {
            asked: String::new(),
            rule,
            origin,
            why,
            cure,
        }
    }

    /// The lines that give a cell of this image something that every cell could have.
    pub fn give_cure(&self, image: &ImageName, snippet: &str) -> Vec<String> {
        vec![
            format!("to give it, {}", self.add()),
            "[[give]]".to_owned(),
            format!("image = {}", words::toml(&Subject::of(image).full)),
            snippet.to_owned(),
            "reason = \"...\"".to_owned(),
        ]
    }

    /// The lines that allow something for this image alone, if the level is the user's own.
    pub(super) fn cure(
        &self,
        whose: Whose,
        subject: &Subject,
        snippet: &str,
        origin: &Origin,
    ) -> Vec<String> {
        match whose {
            Whose::BuiltIn => Vec::new(),
            Whose::System => vec![format!("only the administrator can allow this ({origin})")],
            // Whoever names the image or the thing would word a rule for many.
            Whose::User if subject.full.contains('*') || snippet.contains('*') => vec![starred()],
            Whose::User => vec![
                format!("to allow it, {}", self.add()),
                "[[allow]]".to_owned(),
                format!("image = {}", words::toml(&subject.full)),
                snippet.to_owned(),
                "reason = \"...\"".to_owned(),
            ],
            Whose::Project => vec![format!(
                "the project's policy does not allow it ({}): change it and run `lazaret policy \
                 trust` again, or run elsewhere",
                self.project_file()
            )],
        }
    }

    /// The cure of an image that is not trusted: the narrowest that lets this one in.
    pub(super) fn trust_cure(
        &self,
        whose: Whose,
        subject: &Subject,
        origin: &Origin,
    ) -> Vec<String> {
        match whose {
            Whose::User if subject.full.contains('*') => vec![starred()],
            Whose::User => vec![
                format!("to trust it, {}", self.add()),
                "[[trust]]".to_owned(),
                format!("image = {}", words::toml(&subject.full)),
                "accept = \"tofu\"".to_owned(),
                "reason = \"...\"".to_owned(),
            ],
            Whose::Project => vec![projects(origin)],
            _ => vec![format!("only the administrator can allow this ({origin})")],
        }
    }

    /// The cure of a requirement that is not met: there is none but to change the rule, and only
    /// who set it can.
    pub(super) fn require_cure(&self, whose: Whose, origin: &Origin) -> Vec<String> {
        match whose {
            Whose::User if !matches!(origin, Origin::Rule { builtin: true, .. }) => {
                vec![format!("your own rule requires it ({origin})")]
            }
            Whose::System => vec![format!("only the administrator can allow this ({origin})")],
            Whose::Project if !matches!(origin, Origin::Rule { builtin: true, .. }) => {
                vec![projects(origin)]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn cure_of_denial(&self, whose: Whose, rule: &Rule, line: usize) -> Vec<String> {
        match whose {
            Whose::BuiltIn => Vec::new(),
            Whose::System => vec![format!(
                "only the administrator can allow this ({}:{line})",
                rule.head.file
            )],
            // A profile's denials are why it is extended.
            Whose::User if rule.head.builtin => Vec::new(),
            Whose::Project => vec![format!(
                "the project says so ({}:{line}): change it there and run `lazaret policy trust` \
                 again",
                rule.head.file
            )],
            Whose::User => {
                vec![format!(
                    "your own rule says so: narrow it at {}:{line}",
                    rule.head.file
                )]
            }
        }
    }
}

fn starred() -> String {
    "no rule can speak of this alone: rename it, a * in a rule stands for any name".to_owned()
}

fn projects(origin: &Origin) -> String {
    format!("the project says so ({origin}): change it there and run `lazaret policy trust` again")
}
