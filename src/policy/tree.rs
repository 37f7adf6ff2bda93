//! What rules want to know of an image's files, and what was found.
//!
//! Only rules that name files ask for it: reading every layer's index is not for a launch that no
//! such rule is about.

use super::compose::Policy;
use super::facts::ImageFacts;
use super::pattern;
use super::require::Facts;
use super::subject::Subject;
use crate::image::ImageName;
use crate::image::quote::quoted;
use std::collections::BTreeSet;

/// How many of the paths that were found are shown.
const SHOWN: usize = 3;

/// What the rules about an image want to know of its merged tree: all layers as a cell sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactsWanted {
    /// Setuid and setgid files.
    pub setuid: bool,
    /// Files with capabilities.
    pub file_caps: bool,
    /// Devices, fifos and sockets.
    pub special: bool,
    /// What everybody may write.
    pub world_writable: bool,
    /// Patterns of `absent` and `present`, each once.
    pub patterns: Vec<String>,
}

impl FactsWanted {
    /// Whether no file needs to be looked at.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Facts in which nothing was found yet.
    pub fn nothing_found(&self) -> TreeFacts {
        let each = |pattern: &String| (pattern.clone(), FoundPath::default());
        let looked = |for_it: bool| for_it.then(Found::default);
        TreeFacts {
            setuid: looked(self.setuid),
            file_caps: looked(self.file_caps),
            special: looked(self.special),
            world_writable: looked(self.world_writable),
            paths: self.patterns.iter().map(each).collect(),
        }
    }

    /// Whether a path of the image matches a pattern of `absent` or `present`.
    pub fn matches(pattern: &str, path: &str) -> bool {
        pattern::matches(pattern, path)
    }
}

/// What was found in the merged tree of an image. `None`, and a pattern that is not there: nobody
/// has looked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeFacts {
    /// Setuid and setgid files.
    pub setuid: Option<Found>,
    /// Files with capabilities.
    pub file_caps: Option<Found>,
    /// Devices, fifos and sockets, which are never made.
    pub special: Option<Found>,
    /// Files that everybody may write, and folders that have no sticky bit either.
    pub world_writable: Option<Found>,
    /// For each pattern what matches it.
    pub paths: Vec<(String, FoundPath)>,
}

/// Paths that were found: how many, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    count: u64,
    first: Vec<String>,
}

impl Found {
    /// These paths.
    pub(super) fn of(paths: &[String]) -> Self {
        let mut found = Self::default();
        for path in paths {
            found.note(path);
        }
        found
    }

    /// One more.
    pub fn note(&mut self, path: &str) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < SHOWN {
            self.first.push(path.to_owned());
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first few, quoted, and how many more there are.
    pub(super) fn shown(&self) -> String {
        let first: Vec<_> = self.first.iter().map(|path| quoted(path)).collect();
        let first = first.join(", ");
        match self.count.saturating_sub(self.first.len() as u64) {
            0 => first,
            more => format!("{first} and {more} more"),
        }
    }
}

/// What matches a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundPath {
    /// All of it.
    pub all: Found,
    /// Some of it is more than a device, fifo or socket that is never made.
    pub made: bool,
}

impl FoundPath {
    /// One more; `made`: unpacking makes it.
    pub fn note(&mut self, path: &str, made: bool) {
        self.all.note(path);
        self.made |= made;
    }
}

impl Policy {
    /// What [`super::decide`] needs to know of the image's merged tree ([`ImageFacts::tree`]).
    /// Setuid files and the like are not looked for again where no layer has any.
    pub fn facts_wanted(&self, name: &ImageName, image: &ImageFacts) -> FactsWanted {
        let mut wanted = FactsWanted::default();
        let mut rules = self.levels.iter().flat_map(|l| &l.rules.require);
        // Launches that no such rule could be about stop here.
        if !rules.any(|rule| of_files(&rule.facts)) {
            return wanted;
        }
        let mut patterns = BTreeSet::new();
        let subject = Subject::of(name);
        for rule in self.levels.iter().flat_map(|l| l.require(&subject)) {
            let facts = &rule.facts;
            wanted.setuid |= facts.setuid.is_some() && !image.setuid.is_empty();
            wanted.file_caps |= facts.file_caps.is_some() && !image.file_caps.is_empty();
            wanted.special |= facts.special.is_some() && !image.special.is_empty();
            wanted.world_writable |= facts.world_writable.is_some();
            patterns.extend(facts.absent.iter().chain(&facts.present).cloned());
        }
        wanted.patterns = patterns.into_iter().collect();
        wanted
    }
}

/// Whether a rule speaks of files at all.
fn of_files(facts: &Facts) -> bool {
    let kinds = [
        facts.setuid,
        facts.file_caps,
        facts.special,
        facts.world_writable,
    ];
    kinds.iter().any(Option::is_some) || !facts.absent.is_empty() || !facts.present.is_empty()
}
