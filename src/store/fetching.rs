//! The folder that is the fetch worker's whole file system: what name resolution reads, and nothing
//! else. What the worker brings goes out over pipes.
//!
//! A fetch that ends badly leaves nothing; one that is killed leaves what the next collector takes.

use super::staging::{OWN, Staged};
use super::{Store, files};
use crate::error::{Context, Error, Kind, Result};
use rustix::fs::{AtFlags, Mode};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The files that name resolution of the C library reads, below /etc of the worker
/// (resolv.conf(5), hosts(5), nsswitch.conf(5), gai.conf(5)).
const ETC: [&str; 4] = ["resolv.conf", "hosts", "nsswitch.conf", "gai.conf"];

/// The folder of a fetch under way.
#[derive(Debug)]
pub struct Fetching {
    staged: Option<Staged>,
    root: OwnedFd,
}

impl Store {
    /// Begins to fetch: `etc` are the contents of files that name resolution needs, by their names
    /// below /etc; others are not taken.
    ///
    /// # Errors
    /// `Io`: the store's disk.
    pub fn fetching(&self, etc: &[(&str, Vec<u8>)]) -> Result<Fetching> {
        let staged = self.stage_folder(OWN)?;
        files::make_folder(staged.fd.as_fd(), "root", 0o755)?;
        let root = files::open_folder(staged.fd.as_fd(), "root")?;
        let root = root.ok_or_else(|| Error::new(Kind::Store, "a folder of staging is gone"))?;
        // What fails from here on leaves nothing.
        let fetching = Fetching {
            staged: Some(staged),
            root,
        };
        let at = fetching.root();
        files::make_folder(at, "etc", 0o755)?;
        for (name, bytes) in etc.iter().filter(|(name, _)| ETC.contains(name)) {
            // Whoever the worker is to the file system.
            let path = format!("etc/{name}");
            files::write(at, &path, bytes, false).map_err(super::full)?;
            rustix::fs::chmodat(at, &*path, Mode::from(0o644), AtFlags::empty())
                .or_call(|| format!("chmod the worker's {name}"))?;
        }
        Ok(fetching)
    }
}

impl Fetching {
    /// The names of files that name resolution may need, below /etc.
    pub const ETC: [&'static str; 4] = ETC;

    /// The worker's whole file system.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let Some(staged) = self.staged.take() else {
            return;
        };
        // All of it is this process's own; what cannot be removed is a later collector's.
        let _collected_later = staged
            .discard(&mut |_, folder| {
                for name in files::names(folder)? {
                    files::remove_tree(folder, &name)?;
                }
                Ok(())
            })
            .is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_sees_what_resolves_names_and_it_goes_with_the_fetch() {
        let path = std::env::temp_dir().join(format!("lazaret-fetching-{}", std::process::id()));
        let store = Store::open(&path).unwrap();
        {
            let etc = [
                ("resolv.conf", b"nameserver 127.0.0.1\n".to_vec()),
                ("shadow", b"no".to_vec()),
            ];
            let _fetching = store.fetching(&etc).unwrap();
            let root = std::fs::read_dir(path.join("staging")).unwrap();
            let root = root.map(|e| e.unwrap().path().join("root/etc")).next();
            let names = std::fs::read_dir(root.unwrap()).unwrap();
            let names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["resolv.conf"]);
        }
        let left = std::fs::read_dir(path.join("staging")).unwrap().count();
        assert_eq!(left, 0);
        std::fs::remove_dir_all(&path).unwrap();
    }

    /// No worker is asked to: its container root is nobody to these files.
    #[test]
    fn what_a_killed_fetch_left_is_collected() {
        let path = std::env::temp_dir().join(format!("lazaret-killed-{}", std::process::id()));
        let store = Store::open(&path).unwrap();
        let left = path.join("staging").join(super::super::staging::fresh(OWN));
        std::fs::create_dir_all(left.join("root/etc")).unwrap();
        std::fs::write(left.join("root/etc/hosts"), "").unwrap();
        store
            .collect_with(&mut |label, _| Err(Error::new(Kind::Worker, label)))
            .unwrap();
        let left = std::fs::read_dir(path.join("staging")).unwrap().count();
        assert_eq!(left, 0);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
