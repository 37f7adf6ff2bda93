//! Subordinate ids: subuid(5), subgid(5), newuidmap(1), and a free range for real root.

use super::files::read;
use crate::error::{Error, Kind, Result};
use crate::plan::HELPER_FOLDERS;
use crate::policy::SubIds;
use std::path::Path;

/// Images own files as up to `nobody` (65534): fewer ids are of no use.
pub(super) const ENOUGH: u32 = 65_536;

/// Where a range for real root is looked for first: above what systemd-nspawn, LXD and podman take
/// (524288 to 1879048191) and below 2^31, where signed ids of old tools begin.
const HIGH: u64 = 0x7000_0000;
const HIGH_END: u64 = 0x8000_0000;

/// The ids that the caller may use beside its own, or why there are none and what to do.
///
/// Real root needs no helper: an entry of `root` or `lazaret`, else `recorded`, else a free range.
pub(super) fn subids(
    root: &Path,
    uid: u32,
    recorded: Option<(SubIds, SubIds)>,
) -> std::result::Result<(SubIds, SubIds), String> {
    let get = |path| read(root, path).unwrap_or_default();
    let subuid = get("/etc/subuid");
    if uid == 0 {
        let own = |text: &str| largest(text, "root", 0).or_else(|| largest(text, "lazaret", 0));
        if let Some(uids) = own(&subuid)
            && let Some(gids) = own(&get("/etc/subgid"))
        {
            return Ok((uids, gids));
        }
        if let Some(recorded) = recorded {
            return Ok(recorded);
        }
        return pick_range(root).map_err(|e| match e.hint {
            Some(hint) => format!("{}: {hint}", e.cause),
            None => e.cause,
        });
    }
    let passwd = get("/etc/passwd");
    let subgid = get("/etc/subgid");
    let name = user_name(&passwd, uid);
    let shown = name.map_or_else(|| uid.to_string(), str::to_owned);
    for (file, text, flag) in [
        ("/etc/subuid", &subuid, "--add-subuids"),
        ("/etc/subgid", &subgid, "--add-subgids"),
    ] {
        match largest(text, name.unwrap_or(""), uid) {
            None => {
                let base = next_free(&subuid, &subgid);
                let end = base + u64::from(ENOUGH) - 1;
                return Err(format!(
                    "{file} gives {shown} no ids: as root, usermod {flag} {base}-{end} {shown}"
                ));
            }
            Some(range) if range.count < ENOUGH => {
                return Err(format!(
                    "{file} gives {shown} only {} ids, and images need {ENOUGH}",
                    range.count
                ));
            }
            Some(_) => {}
        }
    }
    for helper in ["newuidmap", "newgidmap"] {
        helper_works(root, helper)?;
    }
    match (
        largest(&subuid, name.unwrap_or(""), uid),
        largest(&subgid, name.unwrap_or(""), uid),
    ) {
        (Some(uids), Some(gids)) => Ok((uids, gids)),
        _ => Err("no subordinate ids".to_owned()),
    }
}

/// The first field of the line of passwd(5) whose third is `uid`.
pub(super) fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// All ranges of subuid(5) lines: owner, first id, count. Lines that are not understood, ranges
/// that are empty, hold id 0 or go past 2^32 - 2 are passed over, as the kernel would refuse them.
fn ranges(text: &str) -> impl Iterator<Item = (&str, SubIds)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields
            .next()
            .filter(|owner| !owner.is_empty() && !owner.starts_with('#'))?;
        let base: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let fits =
            base > 0 && count > 0 && base.checked_add(count).is_some_and(|end| end < u32::MAX);
        (fits && fields.next().is_none()).then_some((owner, SubIds { base, count }))
    })
}

/// The largest range of an owner, by name or by number; of equal ones the first.
fn largest(text: &str, name: &str, uid: u32) -> Option<SubIds> {
    let number = uid.to_string();
    let mut best: Option<SubIds> = None;
    for (owner, range) in ranges(text) {
        if (owner == number || (!name.is_empty() && owner == name))
            && best.is_none_or(|have| range.count > have.count)
        {
            best = Some(range);
        }
    }
    best
}

/// The first id behind all that is given away, as useradd(8) would take it.
fn next_free(subuid: &str, subgid: &str) -> u64 {
    let ends = ranges(subuid)
        .chain(ranges(subgid))
        .map(|(_, r)| u64::from(r.base) + u64::from(r.count));
    ends.max().unwrap_or(0).max(100_000)
}

/// newuidmap or newgidmap is there and may do what it is for: setuid root, or with capabilities.
fn helper_works(root: &Path, helper: &str) -> std::result::Result<(), String> {
    for folder in HELPER_FOLDERS {
        let path = root.join(folder.trim_start_matches('/')).join(helper);
        let Ok(stat) = rustix::fs::stat(&path) else {
            continue;
        };
        if stat.st_mode & 0o4111 == 0o4111 && stat.st_uid == 0 {
            return Ok(());
        }
        let mut value = [0u8; 64];
        if rustix::fs::getxattr(&path, c"security.capability", &mut value[..]).is_ok_and(|n| n > 0)
        {
            return Ok(());
        }
        return Err(format!(
            "{folder}/{helper} is neither setuid root nor has capabilities: as root, reinstall it \
             (apt-get install --reinstall uidmap) or chmod u+s {folder}/{helper}"
        ));
    }
    Err(format!(
        "{helper} is not installed: as root, apt-get install uidmap (elsewhere: shadow-utils, shadow)"
    ))
}

/// A free range for real root, for users and groups alike: inside /proc/self/uid_map and gid_map,
/// in nobody's /etc/subuid or /etc/subgid, and nobody's own id. High ones first. Whoever picks
/// records it: another pick may find another range.
pub fn pick_range(root: &Path) -> Result<(SubIds, SubIds)> {
    let get = |path| read(root, path).unwrap_or_default();
    let (uid_map, gid_map) = (get("/proc/self/uid_map"), get("/proc/self/gid_map"));
    let (subuid, subgid) = (get("/etc/subuid"), get("/etc/subgid"));
    let (passwd, group) = (get("/etc/passwd"), get("/etc/group"));
    let taken: Vec<(u64, u64)> = ranges(&subuid)
        .chain(ranges(&subgid))
        .map(|(_, r)| (u64::from(r.base), u64::from(r.base) + u64::from(r.count)))
        .chain(
            numbers(&passwd)
                .chain(numbers(&group))
                .map(|id| (id, id + 1)),
        )
        .collect();
    let (users, groups): (Vec<_>, Vec<_>) =
        (extents(&uid_map).collect(), extents(&gid_map).collect());
    let mapped = |map: &[(u64, u64)], from: u64, to: u64| {
        map.iter().any(|(start, end)| *start <= from && to <= *end)
    };
    let size = u64::from(ENOUGH);
    let high = (HIGH..HIGH_END).step_by(65_536);
    // In a nested user namespace that has no high ids, whatever lies above the ordinary ones.
    let low = (1..HIGH / size).rev().map(|n| n * size);
    for base in high.chain(low) {
        let end = base + size;
        let free = taken.iter().all(|(from, to)| end <= *from || *to <= base);
        if free && mapped(&users, base, end) && mapped(&groups, base, end) {
            let (Ok(base), count) = (u32::try_from(base), ENOUGH) else {
                break;
            };
            let range = SubIds { base, count };
            return Ok((range, range));
        }
    }
    Err(Error::new(
        Kind::Host,
        format!("no {ENOUGH} ids are free for containers in this user namespace"),
    )
    .hint("start lazaret as an ordinary user, or as root of the machine itself"))
}

/// The extents of uid_map (user_namespaces(7)), as ids inside: from, to.
fn extents(map: &str) -> impl Iterator<Item = (u64, u64)> {
    map.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let inside: u64 = fields.next()?.parse().ok()?;
        let count: u64 = fields.nth(1)?.parse().ok()?;
        Some((inside, inside.checked_add(count)?))
    })
}

/// The third fields of passwd(5) or group(5).
fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.lines()
        .filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok().map(u64::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// A root with these files.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path =
                std::env::temp_dir().join(format!("lazaret-ids-{name}-{}", std::process::id()));
            let _absent = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            for (file, text) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Self(path)
        }

        fn chmod(&self, file: &str, mode: u32) {
            fs::set_permissions(self.0.join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\n";
    const MAP: &str = "         0          0 4294967295\n";

    fn range(base: u32, count: u32) -> SubIds {
        SubIds { base, count }
    }

    #[test]
    fn lines_of_subuid() {
        let text = "# comment\nana:100000:65536\n1000:300000:131072\n:5:5\nx\nana:0:10\nana:5\nana:-1:7\n\
                    ana:4294967000:65536\nana:1:0\nana:7:8:9\nana:a:b\n";
        let all: Vec<_> = ranges(text).collect();
        assert_eq!(
            all,
            [
                ("ana", range(100_000, 65536)),
                ("1000", range(300_000, 131_072))
            ]
        );
        assert_eq!(largest(text, "ana", 1000), Some(range(300_000, 131_072)));
        assert_eq!(largest(text, "ana", 1001), Some(range(100_000, 65536)));
        assert_eq!(largest(text, "", 7), None);
        assert_eq!(largest("", "ana", 1000), None);
    }

    #[test]
    fn names_of_users() {
        assert_eq!(user_name(PASSWD, 1000), Some("ana"));
        assert_eq!(user_name(PASSWD, 7), None);
        assert_eq!(user_name(":x:7:\nx\n\nb:x:7:", 7), Some("b"));
    }

    #[test]
    fn an_ordinary_user_needs_ranges_and_helpers() {
        let subid = "ana:100000:65536\n";
        let fake = Fake::new(
            "user",
            &[
                ("etc/passwd", PASSWD),
                ("etc/subuid", subid),
                ("etc/subgid", subid),
                ("usr/bin/newuidmap", ""),
                ("usr/bin/newgidmap", ""),
            ],
        );
        let ask = || subids(&fake.0, 1000, None);
        let why = ask().unwrap_err();
        assert!(why.contains("neither setuid"), "{why}");
        if !rustix::process::geteuid().is_root() {
            return;
        }
        fake.chmod("usr/bin/newuidmap", 0o4755);
        assert!(ask().unwrap_err().contains("newgidmap"));
        fake.chmod("usr/bin/newgidmap", 0o4755);
        assert_eq!(ask(), Ok((range(100_000, 65536), range(100_000, 65536))));
        fs::remove_file(fake.0.join("usr/bin/newuidmap")).unwrap();
        assert!(ask().unwrap_err().contains("apt-get install uidmap"));
        // What root recorded is not for others.
        assert!(subids(&fake.0, 1001, Some((range(1, 2), range(1, 2)))).is_err());
    }

    #[test]
    fn what_is_missing_is_named_with_its_cure() {
        let fake = Fake::new(
            "none",
            &[("etc/passwd", PASSWD), ("etc/subuid", "bob:100000:65536\n")],
        );
        let why = subids(&fake.0, 1000, None).unwrap_err();
        assert_eq!(
            why,
            "/etc/subuid gives ana no ids: as root, usermod --add-subuids 165536-231071 ana"
        );
        assert!(subids(&fake.0, 4321, None).unwrap_err().contains("4321"));
        let few = Fake::new(
            "few",
            &[("etc/passwd", PASSWD), ("etc/subuid", "ana:100000:1000\n")],
        );
        assert!(
            subids(&few.0, 1000, None)
                .unwrap_err()
                .contains("only 1000")
        );
    }

    #[test]
    fn root_has_a_range_of_its_own() {
        let own = Fake::new(
            "root",
            &[
                ("etc/subuid", "lazaret:500000:65536\n"),
                ("etc/subgid", "root:600000:65536\n"),
            ],
        );
        assert_eq!(
            subids(&own.0, 0, None),
            Ok((range(500_000, 65536), range(600_000, 65536)))
        );
        let recorded = (range(0x7001_0000, 65536), range(0x7001_0000, 65536));
        let none = Fake::new(
            "root2",
            &[("proc/self/uid_map", MAP), ("proc/self/gid_map", MAP)],
        );
        assert_eq!(subids(&none.0, 0, Some(recorded)), Ok(recorded));
        let picked = subids(&none.0, 0, None).unwrap();
        assert_eq!(picked.0, range(0x7000_0000, 65536));
    }

    #[test]
    fn picked_ranges_are_free_and_mapped() {
        let pick = |files: &[(&str, &str)]| {
            let fake = Fake::new("pick", files);
            pick_range(&fake.0).map(|(uids, gids)| {
                assert_eq!(uids, gids);
                uids.base
            })
        };
        let maps = [("proc/self/uid_map", MAP), ("proc/self/gid_map", MAP)];
        // Somebody's range, and somebody's own id in the next.
        let taken = [
            maps[0],
            maps[1],
            ("etc/subuid", "x:1879048000:100\n"),
            ("etc/subgid", "y:1879048192:1\n"),
            ("etc/passwd", "z:x:1879113728:5::/:/bin/sh\n"),
        ];
        assert_eq!(pick(&taken).unwrap(), 0x7002_0000);
        // A nested namespace of 200000 ids; user and group maps must both hold it.
        let small = "0 100000 1\n1 200000 199999\n";
        assert_eq!(
            pick(&[("proc/self/uid_map", small), ("proc/self/gid_map", small)]).unwrap(),
            131_072
        );
        assert!(
            pick(&[
                ("proc/self/uid_map", small),
                ("proc/self/gid_map", "0 0 1\n")
            ])
            .is_err()
        );
        assert!(
            pick(&[
                ("proc/self/uid_map", "0 1000 1\n"),
                ("proc/self/gid_map", MAP)
            ])
            .is_err()
        );
        assert!(pick(&[]).is_err());
    }
}
