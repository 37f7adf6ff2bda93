//! What each level said to each thing that a decision asked: what `policy explain` prints. The
//! decision is the real one; it only is listened to.

use super::compose::Whose;
use super::grants::Origin;
use std::cell::RefCell;
use std::rc::Rc;

/// What [`Heard::key`] is where it is the image itself that was asked about.
pub const TRUST: &str = "trust";

/// What a level said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A rule gives it.
    Given,
    /// A rule allows it.
    Allowed,
    /// A rule denies it.
    Denied,
    /// No rule allows it.
    NotAllowed,
}

impl Said {
    /// As a person reads it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::NotAllowed => "not allowed",
        }
    }
}

/// One level's answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Answered {
    /// `never`, `system`, `user` or `project`.
    pub level: &'static str,
    /// What it said.
    pub said: Said,
    /// The rule's line as written, or why there is none.
    pub rule: String,
    /// Where that stands.
    pub origin: Origin,
    /// The rule's reason.
    pub why: String,
}

/// One question and the answers of all levels that were asked: the first refusal is the last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Heard {
    /// What it is about: `mounts`, `env`, `pids`.
    pub key: &'static str,
    /// What was asked: a path, a name, an amount.
    pub value: String,
    /// Outermost level first.
    pub answers: Vec<Answered>,
}

/// Listens to decisions of the policy that it was given to.
#[derive(Debug, Clone, Default)]
pub struct Ear(Rc<RefCell<Vec<Heard>>>);

impl Ear {
    /// Everything that was asked so far, each question once.
    pub fn take(&self) -> Vec<Heard> {
        let mut heard: Vec<Heard> = Vec::new();
        for one in self.0.take() {
            if !heard.contains(&one) {
                heard.push(one);
            }
        }
        heard
    }

    pub(super) fn hear(&self, heard: Heard) {
        // Nobody holds it between two calls.
        if let Ok(mut all) = self.0.try_borrow_mut() {
            all.push(heard);
        }
    }
}

impl Whose {
    /// As `policy show --level` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "never",
            Self::System => "system",
            Self::User => "user",
            Self::Project => "project",
        }
    }
}
