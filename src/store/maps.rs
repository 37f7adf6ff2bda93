//! The names of the folders that layers of different maps are kept in.

use crate::plan::{IdMap, IdRange};

/// The name of the folder in which layers for this map are kept: owners on disk differ by map.
pub fn map_name(map: &IdMap) -> String {
    let range = |r: &IdRange| format!("{}.{}.{}", r.inside, r.outside, r.count);
    match map {
        IdMap::Single { uid, gid } => format!("single-{uid}-{gid}"),
        IdMap::Range { uid, gid, .. } => format!("range-{}-{}", range(uid), range(gid)),
        IdMap::Keep { uid, gid, kept, .. } => {
            format!("keep-{}.{}-{}.{}", range(uid), kept.0, range(gid), kept.1)
        }
    }
}

/// The map of a folder's name; `helpers` as the caller's own maps have it.
pub(super) fn map_of_name(name: &str, helpers: bool) -> Option<IdMap> {
    let (kind, rest) = name.split_once('-')?;
    let (uid, gid) = rest.split_once('-')?;
    let range = |text: &str| {
        let mut numbers = text.split('.').map(str::parse);
        Some(IdRange {
            inside: numbers.next()?.ok()?,
            outside: numbers.next()?.ok()?,
            count: numbers.next()?.ok()?,
        })
    };
    let own = |text: &str| text.split('.').next_back()?.parse().ok();
    let map = match kind {
        "single" => IdMap::Single {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        },
        "range" => IdMap::Range {
            uid: range(uid)?,
            gid: range(gid)?,
            helpers,
        },
        "keep" => IdMap::Keep {
            uid: range(uid)?,
            gid: range(gid)?,
            kept: (own(uid)?, own(gid)?),
            helpers,
        },
        _ => return None,
    };
    (map_name(&map) == name).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_maps_read_back() {
        let range = |outside| IdRange {
            inside: 0,
            outside,
            count: 65_536,
        };
        let (uid, gid) = (range(100_000), range(300_000));
        let keep = IdMap::Keep {
            uid,
            gid,
            kept: (1000, 100),
            helpers: true,
        };
        let name = "keep-0.100000.65536.1000-0.300000.65536.100";
        assert_eq!(map_name(&keep), name);
        let helpers = true;
        for map in [
            keep,
            IdMap::Range { uid, gid, helpers },
            IdMap::Single { uid: 7, gid: 8 },
        ] {
            assert_eq!(map_of_name(&map_name(&map), true), Some(map));
        }
        for bad in [
            "keep-0.1.2-0.1.2",
            "keep-0.1.2.3",
            "keep-0.1.2.3-0.1.2.3.4",
            "keep-0.1.2.03-0.1.2.3",
        ] {
            assert_eq!(map_of_name(bad, true), None, "{bad}");
        }
    }
}
