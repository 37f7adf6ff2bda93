//! Bytes by digest.

use super::staging::Staged;
use super::unpack::Limits;
use super::{Store, files};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{Digest, Hasher};
use rustix::fs::AtFlags;
use std::os::fd::{AsFd, OwnedFd};

/// Largest document (manifest, config) that is read into memory.
pub(super) const MAX_DOCUMENT: usize = 8 << 20;

impl Store {
    fn blobs(&self) -> Result<OwnedFd> {
        self.folder("blobs/sha256")
    }

    /// Adds a document. It is written even where it is there already and damaged.
    /// Errors: `Integrity` when the bytes have another digest.
    pub(super) fn add_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let found = Digest::of(bytes);
        if found != *digest {
            let cause = format!("a blob has the digest {found}, not {digest}");
            return Err(Error::new(Kind::Integrity, cause));
        }
        let blobs = self.blobs()?;
        let name = digest.hex();
        if let Ok(Some(there)) = files::read(blobs.as_fd(), &name, bytes.len())
            && there == bytes
        {
            return Ok(());
        }
        let staged = self.stage_file()?;
        files::write_to(staged.fd.as_fd(), bytes, || {
            format!("write the blob {digest}")
        })?;
        rustix::fs::fdatasync(&staged.fd).or_call(|| format!("sync the blob {digest}"))?;
        // The folder is synced with the ref that makes somebody ask for the document.
        staged.publish(blobs.as_fd(), &name)
    }

    /// A document's bytes, checked against its digest; `None` where it is not there.
    /// Errors: `Integrity` when it is damaged.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        self.blob_at_most(digest, MAX_DOCUMENT)
    }

    /// As [`Store::blob`], of at most so many bytes.
    pub(super) fn blob_at_most(&self, digest: &Digest, most: usize) -> Result<Option<Vec<u8>>> {
        let name = format!("blobs/sha256/{}", digest.hex());
        let Some(bytes) = files::read(self.root(), &name, most)? else {
            return Ok(None);
        };
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(damaged(digest));
        }
        Ok(Some(bytes))
    }

    /// A blob's file, unchecked, to read; `None` where it is not there.
    ///
    /// Errors: `Io`.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<std::fs::File>> {
        let name = format!("blobs/sha256/{}", digest.hex());
        Ok(files::open(self.root(), &name)?.map(std::fs::File::from))
    }

    /// The size of a blob that is there, checked or not.
    pub(super) fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let name = format!("blobs/sha256/{}", digest.hex());
        match rustix::fs::statat(&self.root, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e).or_call(|| format!("stat the blob {digest}")),
        }
    }

    /// Reads all of a blob of any size and says whether it is what its name says; `None` where it
    /// is not there.
    pub(super) fn check_blob(&self, digest: &Digest) -> Result<Option<bool>> {
        let name = format!("blobs/sha256/{}", digest.hex());
        let Some(fd) = files::open(self.root(), &name)? else {
            return Ok(None);
        };
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match rustix::io::read(&fd, &mut buffer[..]) {
                Ok(0) => return Ok(Some(hasher.finish() == *digest)),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).or_call(|| format!("read the blob {digest}")),
            }
        }
    }

    /// Puts layers' blobs, which were verified while they were copied, into their places.
    pub(super) fn publish_blobs(&self, copies: &[(Staged, Digest)]) -> Result<()> {
        if copies.is_empty() {
            return Ok(());
        }
        let blobs = self.blobs()?;
        for (staged, digest) in copies {
            rustix::fs::fdatasync(&staged.fd).or_call(|| format!("sync the blob {digest}"))?;
            staged.publish(blobs.as_fd(), &digest.hex())?;
        }
        files::sync(blobs.as_fd())
    }

    /// Removes a blob; the number of bytes that it had.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(size) = self.blob_size(digest)? else {
            return Ok(None);
        };
        let removed = files::unlink(self.blobs()?.as_fd(), &digest.hex())?;
        Ok(removed.then_some(size))
    }

    /// The digests of all blobs.
    pub(super) fn all_blobs(&self) -> Result<Vec<Digest>> {
        let names = files::names(self.blobs()?.as_fd())?;
        let digest = |name: &Vec<u8>| std::str::from_utf8(name).ok().and_then(Digest::from_hex);
        Ok(names.iter().filter_map(digest).collect())
    }
}

pub(super) fn damaged(digest: &Digest) -> Error {
    Error::new(
        Kind::Integrity,
        format!("the store's blob {digest} is damaged: its bytes have another digest"),
    )
    .hint("load the image again")
}

/// The most that a list, a stat file or a layer's record may have.
pub(super) fn most_bytes(limits: &Limits) -> usize {
    limits.list.saturating_add(1 << 20)
}
