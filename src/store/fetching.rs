//! What is being fetched: a folder of staging that becomes an OCI layout, and beside it the folder
//! that is the fetch worker's whole file system.
//!
//! The worker gets blobs to write as descriptors; the files are this process's own, and so is every
//! name. A fetch that ends badly leaves nothing; one that is killed leaves what the next collector
//! takes.

use super::staging::Staged;
use super::{Store, files};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{Digest, ImageName};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The files that name resolution of the C library reads, below /etc of the worker
/// (resolv.conf(5), hosts(5), nsswitch.conf(5), gai.conf(5)).
const ETC: [&str; 4] = ["resolv.conf", "hosts", "nsswitch.conf", "gai.conf"];

/// A fetch under way.
#[derive(Debug)]
pub struct Fetching<'a> {
    store: &'a Store,
    staged: Option<Staged>,
    root: OwnedFd,
    blobs: OwnedFd,
    path: String,
}

impl Store {
    /// Begins to fetch: `etc` are the contents of files that name resolution needs, by their names
    /// below /etc; others are not taken.
    ///
    /// # Errors
    /// `Io`: the store's disk; `Usage`: the store's path is not UTF-8.
    pub fn fetching(&self, etc: &[(&str, Vec<u8>)]) -> Result<Fetching<'_>> {
        let staged = self.stage_folder("fetch")?;
        let path = self.path().join("staging").join(&staged.name);
        let path = path.to_str().map(|path| format!("{path}/layout"));
        let path =
            path.ok_or_else(|| Error::new(Kind::Usage, "the store's path is not UTF-8 text"))?;
        let at = staged.fd.as_fd();
        for folder in [
            "root",
            "root/etc",
            "layout",
            "layout/blobs",
            "layout/blobs/sha256",
        ] {
            files::make_folder(at, folder, 0o755)?;
        }
        for (name, bytes) in etc.iter().filter(|(name, _)| ETC.contains(name)) {
            // Whoever the worker is to the file system.
            let path = format!("root/etc/{name}");
            files::write(at, &path, bytes, false)?;
            rustix::fs::chmodat(at, &*path, Mode::from(0o644), AtFlags::empty())
                .or_call(|| format!("chmod the worker's {name}"))?;
        }
        let folder = |name: &str| {
            files::open_folder(at, name)?
                .ok_or_else(|| Error::new(Kind::Store, "a folder of staging is gone"))
        };
        let (root, blobs) = (folder("root")?, folder("layout/blobs/sha256")?);
        Ok(Fetching {
            store: self,
            staged: Some(staged),
            root,
            blobs,
            path,
        })
    }
}

impl Fetching<'_> {
    /// The names of files that name resolution may need, below /etc.
    pub const ETC: [&'static str; 4] = ETC;

    /// The worker's whole file system.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A new empty file for a blob.
    ///
    /// # Errors
    /// `Io`.
    pub fn blob(&self, digest: &Digest) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(&self.blobs, digest.hex(), flags, Mode::from(0o600))
            .map(File::from)
            .or_call(|| format!("create a file for the blob {}", digest.short()))
    }

    /// Takes a blob that the store has and that is what its name says; `false` if there is none.
    ///
    /// # Errors
    /// `Io`.
    pub fn have(&self, digest: &Digest) -> Result<bool> {
        if self.store.check_blob(digest)? != Some(true) {
            return Ok(false);
        }
        let kept = self.store.folder("blobs/sha256")?;
        match rustix::fs::linkat(
            &kept,
            digest.hex(),
            &self.blobs,
            digest.hex(),
            AtFlags::empty(),
        ) {
            Ok(()) => Ok(true),
            // Removed meanwhile, or a file system without links: it is fetched.
            Err(_) => Ok(false),
        }
    }

    /// Writes a document that was verified, and the layout's table of contents around the manifest;
    /// returns the layout's name.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(
        &self,
        manifest: (&Digest, &str, &[u8]),
        config: (&Digest, &[u8]),
    ) -> Result<ImageName> {
        let (digest, media_type, bytes) = manifest;
        let index = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": media_type,
                "digest": digest.to_string(),
                "size": bytes.len(),
            }],
        });
        for (digest, bytes) in [(digest, bytes), config] {
            files::write(self.blobs.as_fd(), &digest.hex(), bytes, false)?;
        }
        let staged = self.staged.as_ref();
        let staged = staged.ok_or_else(|| Error::new(Kind::Store, "a fetch that has ended"))?;
        let version: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
        files::write(staged.fd.as_fd(), "layout/oci-layout", version, false)?;
        let index = index.to_string();
        files::write(
            staged.fd.as_fd(),
            "layout/index.json",
            index.as_bytes(),
            false,
        )?;
        Ok(ImageName::OciDir {
            path: self.path.clone(),
            tag: None,
            digest: None,
        })
    }
}

impl Drop for Fetching<'_> {
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
    use crate::image::Platform;
    use crate::store::source::Source;
    use std::io::Write as _;

    #[test]
    fn what_is_fetched_is_a_layout_and_goes_with_the_fetch() {
        let path = std::env::temp_dir().join(format!("lazaret-fetching-{}", std::process::id()));
        let store = Store::open(&path).unwrap();
        let config =
            br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config_digest = Digest::of(config);
        let media = "application/vnd.oci.image.manifest.v1+json";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},"layers":[]}}"#,
            config.len()
        );
        let digest = Digest::of(manifest.as_bytes());
        {
            let etc = [
                ("resolv.conf", b"nameserver 127.0.0.1\n".to_vec()),
                ("shadow", b"no".to_vec()),
            ];
            let fetching = store.fetching(&etc).unwrap();
            let root = std::fs::read_dir(path.join("staging")).unwrap();
            let root = root.map(|e| e.unwrap().path().join("root/etc")).next();
            let names = std::fs::read_dir(root.unwrap()).unwrap();
            let names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["resolv.conf"]);
            let other = Digest::of(b"x");
            fetching.blob(&other).unwrap().write_all(b"x").unwrap();
            assert!(fetching.blob(&other).is_err(), "a blob comes once");
            assert!(!fetching.have(&digest).unwrap());
            let name = fetching
                .finish(
                    (&digest, media, manifest.as_bytes()),
                    (&config_digest, config),
                )
                .unwrap();
            if Platform::native().architecture == "amd64" {
                let image = Source::open(&name).unwrap().image(&Platform::native());
                assert_eq!(image.unwrap().manifest.digest, digest);
            }
        }
        let left = std::fs::read_dir(path.join("staging")).unwrap().count();
        assert_eq!(left, 0);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
