//! Who ids inside are outside.

use std::fmt;

/// Folders where distributions put newuidmap and newgidmap; /run/wrappers/bin is where NixOS keeps
/// what is setuid. PATH is not asked: what it finds there would be trusted with the caller's ids.
pub const HELPER_FOLDERS: [&str; 5] = [
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/run/wrappers/bin",
];

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
    /// As `Range`, but for one user and one group, the caller's, which have the same number inside
    /// as outside; the subordinate ids of these numbers are left out, so that every other number is
    /// the same id outside as under `Range`.
    Keep {
        uid: IdRange,
        gid: IdRange,
        kept: (u32, u32),
        helpers: bool,
    },
}

impl IdMap {
    /// One id for all.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Single { .. })
    }

    /// The lines of uid_map and gid_map that somebody else than init writes, and whether it is
    /// newuidmap and newgidmap; `None` for `Single`.
    pub fn lines(&self) -> Option<(Vec<IdRange>, Vec<IdRange>, bool)> {
        match *self {
            Self::Single { .. } => None,
            Self::Range { uid, gid, helpers } => Some((vec![uid], vec![gid], helpers)),
            Self::Keep {
                uid,
                gid,
                kept: (own_uid, own_gid),
                helpers,
            } => Some((around(uid, own_uid), around(gid, own_gid), helpers)),
        }
    }
}

/// `range` with `own` in it, or beside it, as itself.
fn around(range: IdRange, own: u32) -> Vec<IdRange> {
    let itself = IdRange {
        inside: own,
        outside: own,
        count: 1,
    };
    let Some(before) = own
        .checked_sub(range.inside)
        .filter(|before| *before < range.count)
    else {
        return vec![range, itself];
    };
    let below = IdRange {
        count: before,
        ..range
    };
    // Within the range's own numbers, which were checked to fit when it was read.
    let above = IdRange {
        inside: own.saturating_add(1),
        outside: range.outside.saturating_add(before + 1),
        count: range.count - before - 1,
    };
    [below, itself, above]
        .into_iter()
        .filter(|part| part.count > 0)
        .collect()
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{} to {}", self.inside, self.count, self.outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange {
            inside,
            outside,
            count,
        }
    }

    #[test]
    fn the_kept_id_is_itself_and_the_others_are_as_without_it() {
        let all = range(0, 100_000, 65_536);
        for (own, want) in [
            (
                1000,
                vec![
                    range(0, 100_000, 1000),
                    range(1000, 1000, 1),
                    range(1001, 101_001, 64_535),
                ],
            ),
            (
                1,
                vec![
                    range(0, 100_000, 1),
                    range(1, 1, 1),
                    range(2, 100_002, 65_534),
                ],
            ),
            (
                65_535,
                vec![range(0, 100_000, 65_535), range(65_535, 65_535, 1)],
            ),
            (65_536, vec![all, range(65_536, 65_536, 1)]),
            (1_234_567, vec![all, range(1_234_567, 1_234_567, 1)]),
        ] {
            let lines = around(all, own);
            assert_eq!(lines, want);
            for line in lines.iter().filter(|line| line.inside != own) {
                assert_eq!(line.outside - line.inside, 100_000);
            }
        }
    }
}
