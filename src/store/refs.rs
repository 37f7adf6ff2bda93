//! Names of images: one small file each, named by the sha256 of the name, so that no name of
//! anybody's becomes a path.

use super::source::SourceImage;
use super::{Store, files, verify};
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest, Platform};
use rustix::fs::FlockOperation;
use std::os::fd::{AsFd, OwnedFd};

/// A name and the image that it means.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ref {
    /// The canonical name: `docker.io/library/debian:stable`.
    pub name: String,
    /// The manifest's digest.
    pub manifest: Digest,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest's size in bytes.
    pub size: u64,
    /// What platform was picked.
    pub platform: Platform,
    /// Where the image came from: `oci:/srv/images/debian:stable`.
    pub source: String,
    /// When the name was given; seconds since 1970.
    pub stored: i64,
}

/// An image of the store, as `images` lists it.
#[derive(Debug, Clone)]
pub struct ImageEntry {
    /// The name.
    pub reference: Ref,
    /// The config's digest: docker's image id.
    pub id: Digest,
    /// The config's `created`, as written.
    pub created: Option<String>,
    /// The config's labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Bytes of all files of all layers where they were unpacked, else of the compressed layers.
    pub size: u64,
    /// How many layers it has.
    pub layers: usize,
}

/// The most bytes that a ref's file may have.
const MAX_REF: usize = 64 << 10;

fn file_name(name: &str) -> String {
    Digest::of(name.as_bytes()).hex()
}

impl Store {
    /// Records an image under `name`: its documents become blobs, then the name points at them.
    /// A name that meant another image means this one from now on. Layers are
    /// [`Store::ensure_layers`]'s affair, which comes first: an image with a name is whole.
    pub fn put_ref(&self, name: &str, image: &SourceImage) -> Result<Ref> {
        let _no_removal = self.lock_names(FlockOperation::LockShared)?;
        self.put_locked(name, image)
    }

    /// As [`Store::put_ref`], for an image whose layers' blobs the store must hold; `None`, and no
    /// name, where somebody removed one since [`Store::ensure_layers`] kept it.
    pub fn put_whole_ref(&self, name: &str, image: &SourceImage) -> Result<Option<Ref>> {
        let _no_removal = self.lock_names(FlockOperation::LockShared)?;
        for layer in &image.layers {
            if self.blob_size(&layer.descriptor.digest)?.is_none() {
                return Ok(None);
            }
        }
        self.put_locked(name, image).map(Some)
    }

    /// Whether the store has a blob of the right size for each layer of an image. Their bytes are
    /// checked when they are read.
    ///
    /// # Errors
    /// `Io`.
    pub fn has_layers(&self, image: &SourceImage) -> Result<bool> {
        for layer in &image.layers {
            if self.blob_size(&layer.descriptor.digest)? != Some(layer.descriptor.size) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The lock between those who name what is there (shared) and those who remove what no name
    /// refers to (exclusive), let go with the descriptor. Waits.
    pub(super) fn lock_names(&self, operation: FlockOperation) -> Result<OwnedFd> {
        let refs = self.folder("refs")?;
        files::lock(refs.as_fd(), operation)?;
        Ok(refs)
    }

    fn put_locked(&self, name: &str, image: &SourceImage) -> Result<Ref> {
        self.add_blob(&image.manifest.config.digest, &image.config_bytes)?;
        self.add_blob(&image.manifest.digest, &image.manifest_bytes)?;
        let reference = Ref {
            name: name.to_owned(),
            manifest: image.manifest.digest,
            media_type: image.manifest.media_type.clone(),
            size: image.manifest_bytes.len() as u64,
            platform: image.config.platform.clone(),
            source: image.canonical_name.clone(),
            stored: rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec,
        };
        let bytes = serde_json::to_vec(&reference)
            .map_err(|e| Error::new(Kind::Store, format!("write the ref {name:?}: {e}")))?;
        if bytes.len() > MAX_REF {
            return Err(Error::new(Kind::Limit, "an image's name is too long"));
        }
        let refs = self.folder("refs")?;
        let staged = self.stage_file()?;
        files::write_to(staged.fd.as_fd(), &bytes, || {
            format!("write the ref {name:?}")
        })?;
        rustix::fs::fdatasync(&staged.fd)
            .map_err(|e| Error::call(format!("sync the ref {name:?}"), e.raw_os_error()))?;
        staged.publish(refs.as_fd(), &file_name(name))?;
        // Journals keep the order of renames: with this one, those of the documents are kept. Where
        // a filesystem does not, a document is missing after a power cut, and that is an error.
        files::sync(refs.as_fd())?;
        Ok(reference)
    }

    /// What a canonical name means; `None` where nobody gave it.
    pub fn get_ref(&self, name: &str) -> Result<Option<Ref>> {
        let path = format!("refs/{}", file_name(name));
        let Some(bytes) = files::read(self.root(), &path, MAX_REF)? else {
            return Ok(None);
        };
        let found: Ref = self.parse(&bytes, &file_name(name))?;
        if found.name != name {
            return Err(self.damaged(&file_name(name), "it holds another name"));
        }
        Ok(Some(found))
    }

    /// All names, sorted.
    pub fn refs(&self) -> Result<Vec<Ref>> {
        let folder = self.folder("refs")?;
        let mut refs = Vec::new();
        for name in files::names(folder.as_fd())? {
            let Ok(name) = String::from_utf8(name) else {
                continue;
            };
            // Gone meanwhile is gone.
            if let Some(bytes) = files::read(folder.as_fd(), &name, MAX_REF)? {
                refs.push(self.parse(&bytes, &name)?);
            }
        }
        refs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(refs)
    }

    /// Takes a name away; false where nobody gave it.
    pub(super) fn remove_ref(&self, name: &str) -> Result<bool> {
        let folder = self.folder("refs")?;
        let removed = files::unlink(folder.as_fd(), &file_name(name))?;
        if removed {
            files::sync(folder.as_fd())?;
        }
        Ok(removed)
    }

    /// The image that a ref means, its documents read and verified again; its layers open from the
    /// store's blobs. Errors: `Integrity` where a document is damaged, `Store` where one is missing.
    pub fn image(&self, reference: &Ref) -> Result<SourceImage> {
        let document = |digest: &Digest| {
            self.blob(digest)?.ok_or_else(|| {
                Error::new(Kind::Store, format!("the store has no blob {digest}"))
                    .hint("load the image again")
            })
        };
        let manifest_bytes = document(&reference.manifest)?;
        let descriptor = Descriptor {
            media_type: reference.media_type.clone(),
            digest: reference.manifest,
            size: reference.size,
            platform: None,
            annotations: Default::default(),
        };
        let config = verify::manifest(&manifest_bytes, &descriptor)?
            .config
            .digest;
        let config_bytes = document(&config)?;
        self.image_of(&reference.name, &descriptor, manifest_bytes, config_bytes)
    }

    /// The image that these documents are, once they are verified; its layers open from the store's
    /// blobs, as far as they are there.
    ///
    /// # Errors
    /// `Integrity`, `Malformed` and others: the documents are not what `descriptor` says.
    pub fn image_of(
        &self,
        name: &str,
        descriptor: &Descriptor,
        manifest: Vec<u8>,
        config: Vec<u8>,
    ) -> Result<SourceImage> {
        let verified = verify::manifest(&manifest, descriptor)?;
        let its_config = verify::config(&config, &verified)?;
        let root = self
            .root
            .try_clone()
            .map_err(|e| Error::io("duplicate a descriptor", &e))?;
        Ok(SourceImage::stored(
            root,
            (verified, manifest),
            (its_config, config),
            name,
        ))
    }

    /// All images, by name. One whose documents are damaged or missing is left out: `verify` names
    /// it.
    pub fn images(&self) -> Result<Vec<ImageEntry>> {
        let mut entries = Vec::new();
        for reference in self.refs()? {
            let Ok(image) = self.image(&reference) else {
                continue;
            };
            let compressed = image.manifest.layers.iter().map(|l| l.size);
            let compressed = compressed.fold(0, u64::saturating_add);
            let unpacked = self.unpacked_size(&image.layers)?;
            entries.push(ImageEntry {
                reference,
                id: image.manifest.config.digest,
                created: image.config.created.clone(),
                labels: image.config.labels.clone(),
                size: unpacked.unwrap_or(compressed),
                layers: image.manifest.layers.len(),
            });
        }
        Ok(entries)
    }

    fn parse(&self, bytes: &[u8], file: &str) -> Result<Ref> {
        serde_json::from_slice(bytes).map_err(|e| self.damaged(file, &e.to_string()))
    }

    /// The name is lost with its file, so the cure is the file's: `rmi` would not find it.
    fn damaged(&self, file: &str, why: &str) -> Error {
        let path = self.path.join("refs").join(file);
        Error::new(Kind::Store, format!("a ref of the store is damaged: {why}")).hint(format!(
            "the name of one image is lost: rm {path:?}, and load that image again"
        ))
    }
}
