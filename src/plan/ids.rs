//! Who ids inside are outside.

use std::fmt;

/// A range of ids: `count` ids from `inside` on are `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Who ids inside are outside (user_namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdMap {
    /// 0 inside is the caller; nothing else exists. Written by init itself.
    Single { uid: u32, gid: u32 },
    /// Subordinate ids, written by newuidmap and newgidmap, or by real root itself.
    Range {
        uid: IdRange,
        gid: IdRange,
        helpers: bool,
    },
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{} to {}", self.inside, self.count, self.outside)
    }
}
