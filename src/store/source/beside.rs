//! What lies beside an image in an OCI layout: signatures, as registries keep them and as tools copy
//! them, by the tags `sha256-<hex>.sig` and `sha256-<hex>`, or as manifests that name their subject.

#![forbid(unsafe_code)]

use super::SourceImage;
use super::layout::Files;
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest, MediaKind};
use crate::trust::{self, Attachments, Collector, Fault, How, MAX_ATTACHED, Over};
use std::sync::Arc;

/// What a document is counted as at least, in bytes: one that is small or missing costs a look too.
const A_LOOK: u64 = 4 << 10;

/// Where to look.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) files: Arc<Files>,
    /// Entries of the table of contents that are no images.
    pub(super) entries: Arc<[Descriptor]>,
    /// The index that the image was taken out of.
    pub(super) index: Option<Descriptor>,
}

/// Under which tag a layout keeps the index that an image was taken out of, where it has the image
/// without the others of its index: what was signed may be the index.
pub fn index_tag(manifest: &Digest) -> String {
    format!("{}.index", trust::referrers_tag(manifest))
}

impl SourceImage {
    /// What the source has of what is attached to the image; `None` where nobody could look: an
    /// archive of docker's own form, an image of the store.
    ///
    /// # Errors
    /// `Io`.
    pub fn attached(&self) -> Result<Option<Attachments>> {
        let Some(beside) = &self.beside else {
            return Ok(None);
        };
        let mut collected = Collector::default();
        let mut left = MAX_ATTACHED;
        let left = &mut left;
        beside.over(Over::Manifest, &self.manifest.digest, &mut collected, left)?;
        let index = match beside.index(&self.manifest.digest, left)? {
            None => None,
            Some(index) => {
                beside.over(Over::Index, &Digest::of(&index), &mut collected, left)?;
                Some(index)
            }
        };
        Ok(Some(collected.finish(index)))
    }
}

impl Beside {
    /// The index that the image was taken out of: here, or before it was saved without the others.
    /// Whether it names the image is for whoever counts signatures over it.
    fn index(&self, manifest: &Digest, left: &mut u64) -> Result<Option<Vec<u8>>> {
        if let Some(index) = &self.index {
            return self.files.blob(index, "index").map(Some);
        }
        let tag = index_tag(manifest);
        let saved = |entry: &&Descriptor| {
            entry.kind() == MediaKind::Index && entry.ref_name() == Some(&tag)
        };
        match self.entries.iter().find(saved) {
            None => Ok(None),
            Some(entry) => Ok(self.bytes(entry, left)?.ok()),
        }
    }

    /// Collects what is attached to a digest. `left`: bytes of documents that may still be read. The
    /// same few can be listed thousands of times.
    fn over(
        &self,
        over: Over,
        digest: &Digest,
        collected: &mut Collector,
        left: &mut u64,
    ) -> Result<()> {
        let (list, tag) = (trust::referrers_tag(digest), trust::signature_tag(digest));
        for entry in self.entries.iter() {
            let name = entry.ref_name();
            match entry.kind() {
                MediaKind::Index if name == Some(&list) => {
                    let listed = self
                        .bytes(entry, left)?
                        .and_then(|bytes| trust::referrers(&bytes));
                    match listed {
                        Err(fault) => collected.untaken(Some(entry.digest), &fault),
                        Ok(listed) => {
                            for entry in &listed {
                                self.take(over, entry, collected, left)?;
                            }
                        }
                    }
                }
                MediaKind::Manifest if name == Some(&tag) => {
                    self.take(over, entry, collected, left)?;
                }
                MediaKind::Manifest if name.is_none() && self.is_about(entry, digest, left)? => {
                    self.take(over, entry, collected, left)?;
                }
                _ => {}
            }
        }
        collected.end(over);
        if *left == 0 {
            collected.untaken(None, &too_much());
        }
        Ok(())
    }

    /// Whether a manifest says that it is attached to a digest. One that cannot be read says nothing.
    fn is_about(&self, entry: &Descriptor, digest: &Digest, left: &mut u64) -> Result<bool> {
        let bytes = self.bytes(entry, left)?;
        let subject = bytes.and_then(|bytes| trust::subject(&bytes));
        Ok(subject.is_ok_and(|subject| subject == Some(*digest)))
    }

    fn take(
        &self,
        over: Over,
        entry: &Descriptor,
        collected: &mut Collector,
        left: &mut u64,
    ) -> Result<()> {
        match self.bytes(entry, left)? {
            Err(fault) => {
                collected.untaken(Some(entry.digest), &fault);
                Ok(())
            }
            Ok(manifest) => collected.take(over, How::Layout, manifest, |blob| {
                let bytes = self
                    .files
                    .document(&super::folder::blob_name(&blob.digest), blob.size);
                Ok::<_, Error>(itself(bytes)?.and_then(|bytes| match bytes {
                    Some(bytes) => right(bytes, blob),
                    None => Err(Fault::Untaken("the layout does not have it".to_owned())),
                }))
            }),
        }
    }

    /// A document's bytes, which are what its entry says, as long as something is `left`.
    fn bytes(
        &self,
        entry: &Descriptor,
        left: &mut u64,
    ) -> Result<std::result::Result<Vec<u8>, Fault>> {
        if *left == 0 {
            return Ok(Err(too_much()));
        }
        let bytes = itself(self.files.blob(entry, "attached document"))?;
        let read = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        *left = left.saturating_sub(read.max(A_LOOK));
        Ok(bytes.and_then(|bytes| right(bytes, entry)))
    }
}

fn too_much() -> Fault {
    let why = format!("what lies beside the image has more than {MAX_ATTACHED} bytes");
    Fault::Untaken(why)
}

fn right(bytes: Vec<u8>, named: &Descriptor) -> std::result::Result<Vec<u8>, Fault> {
    let found = Digest::of(&bytes);
    match found == named.digest {
        true => Ok(bytes),
        false => Err(Fault::Untaken(format!(
            "its digest is {}, and the bytes are {found}",
            named.digest
        ))),
    }
}

/// Parts what is wrong with one document from what keeps all of them from being read.
fn itself<T>(done: Result<T>) -> Result<std::result::Result<T, Fault>> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(e) if e.kind == Kind::Io => Err(e),
        Err(e) => Ok(Err(Fault::Untaken(e.cause))),
    }
}
