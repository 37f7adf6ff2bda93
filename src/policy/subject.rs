//! The image as rules see it.

use super::parse::Head;
use super::pattern::{matches, specificity};
use crate::image::ImageName;

/// The image as rules see it: as named in full, and without tag and digest.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) full: String,
    bare: String,
    /// With the tag and without the digest, where both were named. The digest decides, so what is
    /// allowed for the tag is not allowed for this; what is refused for the tag is refused.
    tagged: Option<String>,
}

impl Subject {
    pub(super) fn of(name: &ImageName) -> Self {
        let full = name.to_string();
        let (bare, tagged) = match name {
            ImageName::Registry(reference) => {
                let bare = format!("{}/{}", reference.domain, reference.path);
                let tag = reference
                    .tag
                    .as_ref()
                    .filter(|_| reference.digest.is_some());
                let tagged = tag.map(|tag| format!("{bare}:{tag}"));
                (bare, tagged)
            }
            // A place on disk without the tag in it.
            ImageName::OciDir { path, .. } => (format!("oci:{path}"), None),
            ImageName::OciArchive { path, .. } => (format!("oci-archive:{path}"), None),
            ImageName::DockerArchive { path, .. } => (format!("docker-archive:{path}"), None),
            ImageName::Builtin(_) | ImageName::Tool(_) => (full.clone(), None),
        };
        Self { full, bare, tagged }
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
        let tagged = full.split_once('@').map(|(tagged, _)| tagged.to_owned());
        let tagged = tagged.filter(|_| of_registry);
        Self { full, bare, tagged }
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

    /// As [`Subject::fits`], for rules that take away: those about its tag alone as well.
    pub(super) fn fits_away(&self, patterns: &[String]) -> Option<usize> {
        let of_tag = patterns.iter().filter(|pattern| {
            let tagged = self.tagged.as_ref();
            tagged.is_some_and(|tagged| matches(pattern, tagged))
        });
        let of_tag = of_tag.map(|pattern| specificity(pattern)).max();
        self.fits(patterns).max(of_tag)
    }

    /// Whether a rule that gives or allows is about this image.
    pub(super) fn is_of(&self, head: &Head) -> bool {
        self.fits(&head.images).is_some()
    }

    /// Whether a rule that denies or requires is about this image.
    pub(super) fn is_away_of(&self, head: &Head) -> bool {
        self.fits_away(&head.images).is_some()
    }
}
