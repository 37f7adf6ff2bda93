//! What `require facts` can say of an image: plain data, and the readers of its values.

use super::words;
use crate::image::Digest;

/// What must be true of an image before it runs. What is not said is not asked.
///
/// Paths are absolute inside the image; patterns are as everywhere (`*`, `**`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// At most as many layers.
    pub(super) max_layers: Option<u64>,
    /// At most as many bytes, and as the policy writes them.
    pub(super) max_size: Option<(u64, String)>,
    /// At most as many entries of all layers.
    pub(super) max_files: Option<u64>,
    /// No setuid or setgid file.
    pub(super) setuid: Option<NoneWord>,
    /// No file with capabilities.
    pub(super) file_caps: Option<NoneWord>,
    /// No device, fifo or socket.
    pub(super) special: Option<NoneWord>,
    /// No file that everybody may write, and no such folder without the sticky bit.
    pub(super) world_writable: Option<NoneWord>,
    /// Patterns that no path of the image matches.
    pub(super) absent: Vec<String>,
    /// Patterns that some path of the image matches, each.
    pub(super) present: Vec<String>,
    /// Patterns one of which the user that runs matches.
    pub(super) users: Option<Vec<String>>,
    /// Labels that must be there, and the pattern of each one's value. An image's author words its
    /// labels: they can only take away.
    pub(super) labels: Vec<(String, String)>,
    /// `created` lies at most as many seconds back; and as the policy writes it.
    pub(super) max_age: Option<(u64, String)>,
    /// Diff ids one of which the lowest layer has.
    pub(super) base: Vec<Digest>,
}

/// The one word that may stand where a fact is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoneWord {
    None,
}

/// Reads the value of `max_size`: bytes, never a part of something.
pub(super) fn size(text: &str) -> Option<(u64, String)> {
    let bytes = words::parse_size(text, 0).filter(|_| !text.contains('%'))?;
    Some((bytes, text.to_owned()))
}

/// Reads the value of `max_age`: `90d`.
pub(super) fn age(text: &str) -> Option<(u64, String)> {
    Some((words::parse_duration(text)?.as_secs(), text.to_owned()))
}

/// Whether a pattern of `absent` or `present` can match a path of an image at all.
pub(super) fn is_path(pattern: &str) -> bool {
    pattern.starts_with('/') || pattern.starts_with("**")
}

/// Reads one of `base`.
pub(super) fn base(text: &str) -> Option<Digest> {
    Digest::parse(text).ok()
}
