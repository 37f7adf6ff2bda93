//! What lies beside an image in an OCI layout: signatures, as registries keep them and as tools copy
//! them, by the tags `sha256-<hex>.sig` and `sha256-<hex>`, or as manifests that name their subject.

#![forbid(unsafe_code)]

use super::SourceImage;
use super::layout::Files;
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest, MediaKind};
use crate::trust::{self, Attachments, Collector, Fault, How, Over};
use std::sync::Arc;

/// Where to look.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) files: Arc<Files>,
    /// Entries of the table of contents that are no images.
    pub(super) entries: Arc<[Descriptor]>,
    /// The index that the image was taken out of.
    pub(super) index: Option<Descriptor>,
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
        beside.over(Over::Manifest, &self.manifest.digest, &mut collected)?;
        let index = match &beside.index {
            None => None,
            Some(index) => {
                beside.over(Over::Index, &index.digest, &mut collected)?;
                Some(beside.files.blob(index, "index")?)
            }
        };
        Ok(Some(collected.finish(index)))
    }
}

impl Beside {
    fn over(&self, over: Over, digest: &Digest, collected: &mut Collector) -> Result<()> {
        let list = digest.to_string().replace(':', "-");
        let tag = format!("{list}.sig");
        for entry in self.entries.iter() {
            let name = entry.ref_name();
            match entry.kind() {
                MediaKind::Index if name == Some(&list) => {
                    let listed = self
                        .bytes(entry)?
                        .and_then(|bytes| trust::referrers(&bytes));
                    match listed {
                        Err(fault) => collected.untaken(Some(entry.digest), &fault),
                        Ok(listed) => {
                            for entry in &listed {
                                self.take(over, entry, collected)?;
                            }
                        }
                    }
                }
                MediaKind::Manifest if name == Some(&tag) => {
                    self.take(over, entry, collected)?;
                }
                MediaKind::Manifest if name.is_none() && self.is_about(entry, digest)? => {
                    self.take(over, entry, collected)?;
                }
                _ => {}
            }
        }
        collected.end(over);
        Ok(())
    }

    /// Whether a manifest says that it is attached to a digest. One that cannot be read says nothing.
    fn is_about(&self, entry: &Descriptor, digest: &Digest) -> Result<bool> {
        let attached = self.bytes(entry)?.and_then(|bytes| trust::attached(&bytes));
        Ok(attached.is_ok_and(|attached| attached.subject == Some(*digest)))
    }

    fn take(&self, over: Over, entry: &Descriptor, collected: &mut Collector) -> Result<()> {
        match self.bytes(entry)? {
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

    /// A document's bytes, which are what its entry says.
    fn bytes(&self, entry: &Descriptor) -> Result<std::result::Result<Vec<u8>, Fault>> {
        let bytes = itself(self.files.blob(entry, "attached document"))?;
        Ok(bytes.and_then(|bytes| right(bytes, entry)))
    }
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
