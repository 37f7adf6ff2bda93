//! A blob on its way into the store. Its bytes come from somebody who is not believed: they are
//! counted and hashed here, while they are written, and nobody else can write to the file.

use super::source::SourceImage;
use super::staging::Staged;
use super::{Ref, Store, files};
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest, Hasher};
use crate::sys;
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};

/// So many bytes at once are on their way to the disk while further ones arrive: at the end all must
/// be there, and a disk that begins then keeps everybody waiting.
const WRITEBACK: u64 = 8 << 20;

/// A blob that arrives. Dropped before it is published, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    digest: Digest,
    size: u64,
    staged: Option<Staged>,
    file: File,
    hasher: Hasher,
    got: u64,
    /// How many of them are on their way to the disk.
    sent: u64,
    whole: bool,
}

impl Store {
    /// Begins to take in what `blob` describes.
    ///
    /// # Errors
    /// `Io`.
    pub fn incoming(&self, blob: &Descriptor) -> Result<Incoming> {
        let staged = self.stage_file()?;
        Ok(Incoming {
            digest: blob.digest,
            size: blob.size,
            file: staged.file()?,
            staged: Some(staged),
            hasher: Hasher::default(),
            got: 0,
            sent: 0,
            whole: false,
        })
    }

    /// A blob that the store has and that is what its name says, read to its end to know that;
    /// `None` if there is none.
    ///
    /// # Errors
    /// `Io`.
    pub fn good_blob(&self, digest: &Digest) -> Result<Option<File>> {
        if self.check_blob(digest)? != Some(true) {
            return Ok(None);
        }
        let name = format!("blobs/sha256/{}", digest.hex());
        Ok(files::open(self.root(), &name)?.map(File::from))
    }

    /// Names an image whose blobs have arrived, and puts them into their places first: they survive
    /// a power cut from then on. `None`, and no name, where somebody removed a blob that was here.
    ///
    /// # Errors
    /// `Io`; `Integrity`: a blob has not arrived whole.
    pub fn put_arrived(
        &self,
        name: &str,
        image: &SourceImage,
        blobs: Vec<Incoming>,
    ) -> Result<Option<Ref>> {
        let _no_removal = self.lock_names(FlockOperation::LockShared)?;
        self.publish_incoming(blobs).map_err(super::full)?;
        self.put_whole_ref(name, image).map_err(super::full)
    }

    fn publish_incoming(&self, blobs: Vec<Incoming>) -> Result<()> {
        let mut staged = Vec::with_capacity(blobs.len());
        for mut blob in blobs {
            match blob.staged.take_if(|_| blob.whole) {
                Some(file) => staged.push((file, blob.digest)),
                None => return Err(blob.wrong("it has not arrived")),
            }
        }
        self.publish_blobs(&staged)
    }
}

impl Incoming {
    /// How many bytes are here.
    pub fn got(&self) -> u64 {
        self.got
    }

    /// Whether all of them are here and are what was named.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The file that they are in, to be read.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// `Integrity`: they are more than was named; `Io`: the store's disk.
    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if self.whole || bytes.len() as u64 > self.size - self.got {
            return Err(self.wrong("more bytes came than its size says"));
        }
        self.file
            .write_all(bytes)
            .map_err(|e| super::full(Error::io("write a layer's blob", &e)))?;
        self.hasher.update(bytes);
        self.got += bytes.len() as u64;
        let new = self.got - self.sent;
        if new >= WRITEBACK {
            // A file system that cannot do it writes it all at the end.
            let _slower = sys::begin_writeback(self.file.as_fd(), self.sent, new).is_ok();
            self.sent = self.got;
        }
        Ok(())
    }

    /// Says that these were all.
    ///
    /// # Errors
    /// `Integrity`: they are not what was named.
    pub fn end(&mut self) -> Result<()> {
        if self.got != self.size {
            let why = format!("its size is {}, and {} bytes came", self.size, self.got);
            return Err(self.wrong(&why));
        }
        let found = std::mem::take(&mut self.hasher).finish();
        if found != self.digest {
            return Err(self.wrong(&format!("the bytes are {found}")));
        }
        self.whole = true;
        Ok(())
    }

    fn wrong(&self, why: &str) -> Error {
        Error::new(Kind::Integrity, format!("layer {}: {why}", self.digest))
            .hint("no policy allows this; the bytes are not what was named")
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(staged) = self.staged.take() {
            // What stays is a later collector's.
            let _collected_later = staged.discard(&mut |_, _| Ok(())).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever brings the bytes is not asked whether they are right.
    #[test]
    fn what_is_published_was_hashed_here() {
        let path = std::env::temp_dir().join(format!("lazaret-incoming-{}", std::process::id()));
        let store = Store::open(&path).unwrap();
        let blob = |bytes: &[u8], size: u64| Descriptor {
            media_type: String::new(),
            digest: Digest::of(bytes),
            size,
            platform: None,
            annotations: Default::default(),
        };
        let right = blob(b"the blob", 8);
        let ends = |named: &Descriptor, pieces: &[&[u8]]| {
            let mut incoming = store.incoming(named).unwrap();
            pieces.iter().try_for_each(|piece| incoming.take(piece))?;
            incoming.end().map(|()| incoming)
        };
        for (named, pieces) in [
            (&right, &[&b"the bl0b"[..]][..]),
            (&right, &[b"the blo"]),
            (&right, &[b"the ", b"blob", b"s"]),
            (&right, &[]),
            (&blob(b"the blob", 9), &[b"the blob"]),
        ] {
            assert_eq!(ends(named, pieces).unwrap_err().kind, Kind::Integrity);
        }
        let unfinished = store.incoming(&right).unwrap();
        assert!(store.publish_incoming(vec![unfinished]).is_err());
        assert!(store.good_blob(&right.digest).unwrap().is_none());
        let mut whole = ends(&right, &[b"the ", b"blob"]).unwrap();
        assert!(whole.is_whole() && whole.take(b"x").is_err());
        store.publish_incoming(vec![whole]).unwrap();
        assert!(store.good_blob(&right.digest).unwrap().is_some());
        assert_eq!(std::fs::read_dir(path.join("staging")).unwrap().count(), 0);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
