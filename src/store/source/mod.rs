//! Images on disk that nobody trusts: `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`.
//!
//! Opening one reads only documents: the table of contents, then manifest and config, each checked
//! against size and digest before it is parsed. Layers are opened when they are unpacked, which a
//! run of a known image never does; whoever unpacks them checks their digests.

#![forbid(unsafe_code)]

mod archive;
mod beside;
mod docker;
mod folder;
mod layout;
mod stored;

pub use archive::{Archive, Member, MemberKind, scan_archive};
pub use beside::index_tag;
pub use folder::blob_name;

use crate::error::{Error, Kind, Result};
use crate::image::quote::quoted;
use crate::image::{
    Descriptor, DiffId, ImageConfig, ImageName, LayerId, LayerMedia, Manifest, Platform,
};
use crate::store::verify::Verified;
use docker::DockerArchive;
use folder::Folder;
use layout::{Files, Layout, Wanted};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// An image as found in a source: verified documents, and where its layers are.
#[derive(Debug)]
pub struct SourceImage {
    /// The manifest (of docker's old archives: the one written for them).
    pub manifest: Verified<Manifest>,
    /// The config.
    pub config: Verified<ImageConfig>,
    /// The manifest's bytes, whose digest is `manifest.digest`.
    pub manifest_bytes: Vec<u8>,
    /// The config's bytes, whose digest is `manifest.config.digest`.
    pub config_bytes: Vec<u8>,
    /// The layers, lowest first, one for each of `manifest.layers` and `config.diff_ids`.
    pub layers: Vec<LayerSource>,
    /// The names that the source gives the image, as written there: untrusted, not yet parsed.
    pub names: Vec<String>,
    /// The source with the path that the kernel knows: `oci:/srv/images/debian:stable`.
    pub canonical_name: String,
    beside: Option<beside::Beside>,
}

/// A layer that can be opened.
#[derive(Debug)]
pub struct LayerSource {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar stream.
    pub diff_id: DiffId,
    /// Its form.
    pub media: LayerMedia,
    place: LayerPlace,
}

#[derive(Debug)]
enum LayerPlace {
    Layout(Arc<Files>),
    Archive { archive: Arc<Archive>, offset: u64 },
}

impl LayerSource {
    /// What the store keeps it under.
    pub fn id(&self) -> LayerId {
        LayerId {
            diff_id: self.diff_id,
            blob: self.descriptor.digest,
        }
    }

    /// Opens the blob. Its length is the descriptor's (else `Integrity`); its digest is for the
    /// reader to check.
    pub fn open(&self) -> Result<BlobHandle> {
        match &self.place {
            LayerPlace::Layout(files) => files.layer(&self.descriptor),
            LayerPlace::Archive { archive, offset } => {
                docker::open_layer(archive, *offset, &self.descriptor)
            }
        }
    }
}

/// The bytes of a layer: a range of a regular file, to be read with pread(2) (the file's own
/// offset is shared between layers of one archive).
#[derive(Debug)]
pub struct BlobHandle {
    /// The file, close-on-exec.
    pub file: OwnedFd,
    /// Where the blob starts in it.
    pub offset: u64,
    /// How many bytes the blob has: `descriptor.size`.
    pub length: u64,
    /// What the bytes must be.
    pub descriptor: Descriptor,
}

impl BlobHandle {
    fn new(file: File, offset: u64, length: u64, descriptor: &Descriptor) -> Result<Self> {
        match length == descriptor.size {
            true => Ok(Self {
                file: file.into(),
                offset,
                length,
                descriptor: descriptor.clone(),
            }),
            false => Err(Error::new(
                Kind::Integrity,
                format!(
                    "the layer {} has {length} bytes, not {}",
                    descriptor.digest, descriptor.size
                ),
            )),
        }
    }
}

/// An open source.
#[derive(Debug)]
pub struct Source {
    place: Place,
    name: String,
}

#[derive(Debug)]
enum Place {
    Layout {
        layout: Layout,
        wanted: Wanted,
    },
    Docker {
        archive: DockerArchive,
        wanted: Option<crate::image::Reference>,
    },
}

impl Source {
    /// Opens the source that a name names and reads its table of contents. A registry's or a
    /// built-in image is no source (`Unsupported`). An archive is scanned here; to scan it in a
    /// confined worker, see [`Source::open_archive`] and [`Source::archive`].
    pub fn open(name: &ImageName) -> Result<Self> {
        match name {
            ImageName::OciDir { path, tag, digest } => {
                let fd = folder::open_named(path, true)?;
                let name = ImageName::OciDir {
                    path: folder::path_racy(&fd)?,
                    tag: tag.clone(),
                    digest: *digest,
                };
                let wanted = match (digest, tag) {
                    (Some(digest), _) => Wanted::Digest(*digest),
                    (None, Some(tag)) => Wanted::Tag(tag.clone()),
                    (None, None) => Wanted::Only,
                };
                let layout = Layout::open(Files::Folder(Folder::new(fd)));
                let layout = layout.map_err(|e| e.context(quoted(path)))?;
                Ok(Self {
                    place: Place::Layout { layout, wanted },
                    name: name.to_string(),
                })
            }
            ImageName::OciArchive { path, .. } | ImageName::DockerArchive { path, .. } => {
                let file = Self::open_archive(path)?;
                let members = scan_archive(&file).map_err(|e| e.context(quoted(path)))?;
                Self::archive(name, file, members).map_err(|e| e.context(quoted(path)))
            }
            ImageName::Builtin(_) | ImageName::Tool(_) | ImageName::Registry(_) => Err(Error::new(
                Kind::Unsupported,
                format!("{name} is not an image on disk"),
            )),
        }
    }

    /// Opens an archive for [`scan_archive`]: a regular file, named by a person.
    pub fn open_archive(path: &str) -> Result<File> {
        let fd = folder::open_named(path, false)?;
        let (file, _) = folder::regular(fd, path).map_err(|e| {
            e.kind(Kind::Usage)
                .hint("an archive is a regular file; a layout folder is oci:DIR")
        })?;
        Ok(file)
    }

    /// The source in an archive whose members are known. New docker saves are OCI layouts and are
    /// read as such, whatever the transport calls them.
    pub fn archive(name: &ImageName, file: File, members: Vec<Member>) -> Result<Self> {
        let path = folder::path_racy(&file)?;
        let archive = Archive::new(file, members)?;
        let is_layout =
            archive.find("oci-layout")?.is_some() && archive.find("index.json")?.is_some();
        let (name, wanted, reference) = match name {
            ImageName::DockerArchive { reference, .. } => {
                let wanted = reference.clone().map_or(Wanted::Only, Wanted::Reference);
                let reference = reference.clone();
                let name = ImageName::DockerArchive {
                    path,
                    reference: reference.clone(),
                };
                (name, wanted, reference)
            }
            ImageName::OciArchive { tag, .. } => {
                let wanted = tag.clone().map_or(Wanted::Only, Wanted::Tag);
                let tag = tag.clone();
                (ImageName::OciArchive { path, tag }, wanted, None)
            }
            // An OCI archive that this very program wrote; it has no path to be named by.
            ImageName::Builtin(_) => (name.clone(), Wanted::Only, None),
            other => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("{other} is not an archive"),
                ));
            }
        };
        let is_docker = matches!(name, ImageName::DockerArchive { .. });
        let place = match is_docker && !is_layout {
            true => Place::Docker {
                archive: DockerArchive::open(archive)?,
                wanted: reference,
            },
            false => {
                let old = !is_layout && archive.find("manifest.json")?.is_some();
                let layout = Layout::open(Files::Archive(archive));
                Place::Layout {
                    layout: layout.map_err(|e| match old {
                        true => e.hint("it looks like docker's: docker-archive:FILE"),
                        false => e,
                    })?,
                    wanted,
                }
            }
        };
        Ok(Self {
            place,
            name: name.to_string(),
        })
    }

    /// The image that was named, for `platform`.
    pub fn image(&self, platform: &Platform) -> Result<SourceImage> {
        match &self.place {
            Place::Layout { layout, wanted } => layout.image(wanted, platform, &self.name),
            Place::Docker { archive, wanted } => {
                archive.image(wanted.as_ref(), platform, &self.name)
            }
        }
    }

    /// Every image of the source, for `platform`, with the names it has there: for `load`.
    pub fn images(&self, platform: &Platform) -> Result<Vec<SourceImage>> {
        match &self.place {
            Place::Layout { layout, .. } => layout.images(platform, &self.name),
            Place::Docker { archive, .. } => archive.images(platform, &self.name),
        }
    }
}

#[cfg(test)]
mod tests;
