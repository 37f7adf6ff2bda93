//! Where the store is.

use crate::container::record::{Containers, Damaged, Owners, Record};
use crate::error::{Context, Error, Kind, Result};
use crate::image::ImageName;
use crate::plan::{IdMap, IdRange};
use crate::policy::{HostFacts, Seen, SubIds};
use crate::store::Store;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Opens the store, making it where it is missing.
///
/// # Errors
/// `Usage`: nothing says where it should be; else as [`Store::open`].
pub fn open_store() -> Result<Store> {
    Store::open(&store_path()?)
}

/// Opens the store for a verb that only looks; `None` where there is none yet.
///
/// # Errors
/// As [`open_store`].
pub fn look_at_store() -> Result<Option<Store>> {
    Store::open_existing(&store_path()?)
}

/// The store's folder: `$LAZARET_STORE`; root's is /var/lib/lazaret; else `$XDG_DATA_HOME/lazaret`,
/// which is `~/.local/share/lazaret` (XDG base directory specification: a relative path there is
/// ignored).
///
/// # Errors
/// `Usage`: `LAZARET_STORE` is relative, or there is no `HOME` either; `Host`: started setuid.
pub fn store_path() -> Result<PathBuf> {
    // Before anything is made where the caller's environment says.
    crate::host::no_setuid()?;
    path_for(rustix::process::geteuid().is_root(), &|name| {
        std::env::var_os(name)
    })
}

/// What this machine offers, with what the store remembers of it.
///
/// # Errors
/// As `host::facts`.
pub fn host(store: Option<&Store>) -> Result<HostFacts> {
    // Only real root may be without an entry of its own in /etc/subuid.
    let store = store.filter(|_| rustix::process::geteuid().is_root());
    let recorded = store.map(Store::ids).transpose()?.flatten();
    let host = crate::host::facts(recorded)?;
    if let (Some(store), None, Some(ids)) = (store, recorded, host.subids) {
        store.record_ids(ids)?;
    }
    Ok(host)
}

/// Who ids inside are outside, for everything that is unpacked and removed here: subordinate ids
/// where the machine offers them.
pub fn map_of(host: &HostFacts) -> IdMap {
    match host.subids {
        // Real root writes the maps itself.
        Some((uids, gids)) => IdMap::Range {
            uid: range(uids),
            gid: range(gids),
            helpers: !host.root,
        },
        None => IdMap::Single {
            uid: host.uid,
            gid: host.gid,
        },
    }
}

/// The map of `--userns keep-id`: the caller's ids inside are the caller. `None` without
/// subordinate ids, and for root, who is never anybody inside.
pub fn keeping_map_of(host: &HostFacts) -> Option<IdMap> {
    let (uids, gids) = host.subids.filter(|_| !host.root)?;
    Some(IdMap::Keep {
        uid: range(uids),
        gid: range(gids),
        kept: (host.uid, host.gid),
        helpers: !host.root,
    })
}

fn range(ids: SubIds) -> IdRange {
    IdRange {
        inside: 0,
        outside: ids.base,
        count: ids.count,
    }
}

/// Every map that layers are unpacked under here.
///
/// # Errors
/// As [`host`].
pub fn own_maps(store: Option<&Store>) -> Result<Vec<IdMap>> {
    let host = host(store)?;
    let maps = [Some(map_of(&host)), keeping_map_of(&host)];
    Ok(maps.into_iter().flatten().collect())
}

/// The map of [`map_of`] for this machine.
///
/// # Errors
/// As [`host`].
pub fn own_map(store: Option<&Store>) -> Result<IdMap> {
    Ok(map_of(&host(store)?))
}

/// What the tag of a name meant when it was asked for at its registry; `None` where nobody has, and
/// for names that have no tag.
///
/// # Errors
/// As [`Store::seen`].
pub fn seen(store: &Store, name: &ImageName) -> Result<Option<Seen>> {
    match name {
        ImageName::Registry(reference) => store.seen(reference),
        _ => Ok(None),
    }
}

/// This machine's clock, in seconds since 1970.
pub fn now() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}

/// Removes a container: what it has written, then its record. The bytes that this frees.
///
/// # Errors
/// As [`empty`].
pub fn forget_container(containers: &Containers, record: &Record) -> Result<u64> {
    let mut bytes = 0;
    if !record.ephemeral {
        let map = map_of_owners(&record.owners, &host(None)?);
        bytes = empty(containers, &record.id, &map)?;
    }
    containers.forget(record)?;
    Ok(bytes)
}

/// Removes a container whose record is damaged: nobody knows whose its files are, so each map of
/// this machine is tried. The bytes that this frees.
///
/// # Errors
/// As [`empty`]; the record stays then.
pub fn forget_damaged(store: &Store, containers: &Containers, damaged: &Damaged) -> Result<u64> {
    let mut last = Ok(0);
    for map in own_maps(Some(store))? {
        last = empty(containers, &damaged.id, &map);
        if last.is_ok() {
            break;
        }
    }
    let bytes = last?;
    containers.forget_id(&damaged.id)?;
    Ok(bytes)
}

/// Removes what a container has written, in a worker that is root over its files, and says how many
/// bytes it was.
///
/// # Errors
/// `Io`, `Worker`: something cannot be removed; `Host`: no worker can be made.
fn empty(containers: &Containers, id: &str, map: &IdMap) -> Result<u64> {
    let folder = match containers.folder_of(id) {
        Ok(folder) => folder,
        // Gone already.
        Err(e) if e.kind == Kind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    if names(folder.as_fd())?.is_empty() {
        return Ok(0);
    }
    let answer = crate::worker::run(map, folder.as_fd(), &[], |root| {
        let bytes = tree_size(root);
        for name in names(root)? {
            crate::store::remove_tree(root, &name)?;
        }
        Ok(bytes.to_le_bytes().to_vec())
    })?;
    Ok(answer.try_into().map_or(0, u64::from_le_bytes))
}

/// Bytes of the regular files below a folder; what may not be read counts nothing. No symlink is
/// followed.
pub fn tree_size(folder: BorrowedFd<'_>) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = |at: BorrowedFd<'_>, name: &[u8]| openat(at, name, flags, Mode::empty()).ok();
    let mut size = 0u64;
    let mut folders: Vec<OwnedFd> = open(folder, b".").into_iter().collect();
    while let Some(folder) = folders.pop() {
        for name in names(folder.as_fd()).unwrap_or_default() {
            let Ok(stat) = statat(&folder, &name[..], AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                // A tree of more folders than there are descriptors is counted in part.
                FileType::Directory => folders.extend(open(folder.as_fd(), &name)),
                FileType::RegularFile => {
                    size = size.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
                }
                _ => {}
            }
        }
    }
    size
}

fn names(folder: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let call = || "read a container's folder".to_owned();
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).or_call(call)? {
        let entry = entry.or_call(call)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// The map under which a container ran.
fn map_of_owners(owners: &Owners, host: &HostFacts) -> IdMap {
    match owners {
        Owners::Caller => IdMap::Single {
            uid: host.uid,
            gid: host.gid,
        },
        Owners::Range { uid, gid } => map_of(&HostFacts {
            subids: Some((*uid, *gid)),
            ..host.clone()
        }),
        Owners::Keep { uid, gid, kept } => IdMap::Keep {
            uid: range(*uid),
            gid: range(*gid),
            kept: *kept,
            helpers: !host.root,
        },
    }
}

fn path_for(root: bool, env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let named = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(path) = named("LAZARET_STORE") {
        if path.is_absolute() {
            return Ok(path);
        }
        return Err(Error::new(
            Kind::Usage,
            format!("LAZARET_STORE={path:?} is not an absolute path"),
        ));
    }
    if root {
        return Ok(PathBuf::from("/var/lib/lazaret"));
    }
    let data = named("XDG_DATA_HOME").filter(|p| p.is_absolute());
    let home = || named("HOME").filter(|p| p.is_absolute());
    match data.or_else(|| home().map(|home| home.join(".local/share"))) {
        Some(data) => Ok(data.join("lazaret")),
        None => Err(Error::new(
            Kind::Usage,
            "HOME and XDG_DATA_HOME are not set: nothing says where the store is",
        )
        .hint("set HOME, XDG_DATA_HOME or LAZARET_STORE to an absolute path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(root: bool, env: &[(&str, &str)]) -> Result<PathBuf> {
        path_for(root, &|name| {
            let found = env.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn where_it_is() {
        for (root, env, want) in [
            (
                false,
                &[("HOME", "/home/a")][..],
                "/home/a/.local/share/lazaret",
            ),
            (
                false,
                &[("HOME", "/home/a"), ("XDG_DATA_HOME", "/d")],
                "/d/lazaret",
            ),
            (
                false,
                &[("HOME", "/home/a"), ("XDG_DATA_HOME", "d")],
                "/home/a/.local/share/lazaret",
            ),
            (
                false,
                &[("HOME", "/home/a"), ("XDG_DATA_HOME", "")],
                "/home/a/.local/share/lazaret",
            ),
            (
                true,
                &[("HOME", "/root"), ("XDG_DATA_HOME", "/d")],
                "/var/lib/lazaret",
            ),
            (true, &[("LAZARET_STORE", "/s")], "/s"),
        ] {
            assert_eq!(path(root, env).unwrap(), PathBuf::from(want));
        }
        for env in [
            &[][..],
            &[("HOME", "")],
            &[("HOME", "rel")],
            &[("LAZARET_STORE", "rel")],
        ] {
            assert_eq!(path(false, env).unwrap_err().kind, Kind::Usage, "{env:?}");
        }
    }
}
