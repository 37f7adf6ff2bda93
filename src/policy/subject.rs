//! The image as rules see it.

use super::parse::Head;
use super::pattern::{matches, specificity};
use crate::image::ImageName;

/// The image as rules see it: as named in full, and without tag and digest.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) full: String,
    bare: String,
}

impl Subject {
    pub(super) fn of(name: &ImageName) -> Self {
        let full = name.to_string();
        let bare = match name {
            ImageName::Registry(reference) => format!("{}/{}", reference.domain, reference.path),
            _ => full.clone(),
        };
        Self { full, bare }
    }

    /// An image by its full name alone.
    pub(super) fn named(full: String) -> Self {
        let of_registry = !full
            .split_once(':')
            .is_some_and(|(word, _)| crate::image::is_transport(word));
        let last = full.rfind('/').map_or(0, |at| at + 1);
        let end = match full.get(last..).and_then(|name| name.find(['@', ':'])) {
            Some(at) if of_registry => last + at,
            _ => full.len(),
        };
        let bare = full.get(..end).unwrap_or_default().to_owned();
        Self { full, bare }
    }

    /// The specificity of the best pattern that matches; no patterns match everything.
    pub(super) fn fits(&self, patterns: &[String]) -> Option<usize> {
        if patterns.is_empty() {
            return Some(0);
        }
        patterns
            .iter()
            .filter(|p| matches(p, &self.full) || matches(p, &self.bare))
            .map(|p| specificity(p))
            .max()
    }

    pub(super) fn is_of(&self, head: &Head) -> bool {
        self.fits(&head.images).is_some()
    }
}
