//! What `require facts` can say of an image: plain data, and the readers of its values.

use super::compose::{Level, Policy};
use super::grants::Reason;
use super::parse::Require;
use super::pattern::matches;
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
    /// Patterns that no path of the image matches. Links in the folders before the first star are
    /// followed, also for `present`; a star takes names and follows nothing.
    pub(super) absent: Vec<String>,
    /// Patterns that some path of the image matches, each.
    pub(super) present: Vec<String>,
    /// Patterns one of which the image's `USER` matches, and the user that runs.
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
    let rooted = pattern.starts_with('/') || pattern.starts_with("**");
    let mut parts = pattern.split('/').skip(1);
    rooted && parts.all(|part| !matches!(part, "" | "." | ".."))
}

/// Reads one of `base`.
pub(super) fn base(text: &str) -> Option<Digest> {
    Digest::parse(text).ok()
}

/// A requirement that is not met. `asked`: what was found; `written`: the fact as the rule has it.
pub(super) fn unmet(
    policy: &Policy,
    level: &Level,
    rule: &Require,
    asked: String,
    written: &str,
) -> Reason {
    let origin = rule.head.at(rule.facts_line);
    Reason {
        asked,
        rule: format!("require facts = {{ {written} }}"),
        why: rule.head.reason.clone(),
        cure: policy.require_cure(level.whose, &origin),
        origin,
    }
}

/// Whether one of the patterns is about a user, given as `USER` is: `NAME|UID[:GROUP|GID]`. Nobody is
/// root, and so is every way to write 0. Groups are not looked at. A name is the image's own: what
/// number stands behind it is known only inside.
pub(super) fn has_user(patterns: &[String], user: &str) -> bool {
    let user = user_of(user);
    let fits = |pattern: &String| matches(&user_of(pattern), &user);
    patterns.iter().any(fits)
}

/// The one name of a user: `root`, the number without leading zeros, or as written.
pub(super) fn user_of(user: &str) -> String {
    let name = user.split(':').next().unwrap_or_default();
    match name.parse::<u32>() {
        _ if name.is_empty() => "root".to_owned(),
        Ok(0) => "root".to_owned(),
        Ok(number) => number.to_string(),
        Err(_) => name.to_owned(),
    }
}

/// Seconds since 1970 as a person reads them.
pub fn time(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{seconds} seconds after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused() {
        for fine in ["/x", "/x/**", "**", "**/x", "/*/.ssh", "/a..b", "/**"] {
            assert!(is_path(fine), "{fine}");
        }
        for bad in [
            "", "x", "*", "/", "/x/", "//x", "/./x", "/x/..", "**/", "~/x", "./x",
        ] {
            assert!(!is_path(bad), "{bad}");
        }
        assert_eq!(size("32GiB"), Some((32 << 30, "32GiB".to_owned())));
        assert_eq!(size("5%"), None);
        assert_eq!(age("90d"), Some((90 * 86_400, "90d".to_owned())));
        assert_eq!(age("0d"), None);
        assert_eq!(base("sha256:0"), None);
    }

    #[test]
    fn every_way_to_write_root_is_root() {
        for root in ["", "0", "root", "00", "0000:app", ":5", "root:root", "+0"] {
            assert_eq!(user_of(root), "root", "{root}");
        }
        for (user, name) in [
            ("01000", "1000"),
            ("app:root", "app"),
            ("4294967296", "4294967296"),
            ("0x0", "0x0"),
            ("Root", "Root"),
        ] {
            assert_eq!(user_of(user), name);
        }
        assert!(!has_user(&["app".to_owned(), "r".to_owned()], ""));
        assert!(has_user(&["ro*".to_owned()], "0"));
        assert!(!has_user(&[], "app"));
    }
}
