//! `docker save` in its old form: `manifest.json`, a config and plain tars, no manifest of its own.
//!
//! The OCI manifest that such an image never had is written here, always with the same bytes for
//! the same config and layers, so that the image has a digest to be stored and compared by. Its
//! layers are what the config's diff ids say: a plain tar's blob digest *is* its diff id, so nothing
//! is hashed before it is unpacked.

#![forbid(unsafe_code)]

use super::archive::{Archive, Member};
use super::{BlobHandle, LayerPlace, LayerSource, SourceImage};
use crate::error::{Error, Kind, Result};
use crate::image::json::{self, Document};
use crate::image::quote::{listed, quoted};
use crate::image::{
    Compression, Descriptor, DiffId, Digest, Hasher, ImageConfig, LayerMedia, MAX_DOCUMENT,
    MAX_LAYERS, Platform, Reference,
};
use crate::store::verify;
use oci_spec::image::{DescriptorBuilder, ImageManifestBuilder, MediaType};
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::sync::Arc;

/// The most images of one archive.
const MAX_IMAGES: usize = 1024;

const MANIFEST_JSON: Document = Document {
    what: "manifest.json",
    max_bytes: MAX_DOCUMENT,
    names: &["Config", "RepoTags", "Layers"],
    objects: &["LayerSources"],
    list: true,
    free: &["LayerSources"],
};

/// One image of an archive, as docker writes it (moby, image/spec/v1.2.md).
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Entry {
    fn is_called(&self, wanted: &Reference) -> bool {
        self.tags()
            .any(|tag| Reference::parse(tag).is_ok_and(|tag| tag == *wanted))
    }

    fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().flatten().map(String::as_str)
    }
}

/// An archive of docker's old form.
#[derive(Debug)]
pub struct DockerArchive {
    archive: Arc<Archive>,
    entries: Vec<Entry>,
}

fn malformed(cause: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, cause)
}

impl DockerArchive {
    /// Reads the archive's `manifest.json`.
    pub fn open(archive: Archive) -> Result<Self> {
        let member = archive.find("manifest.json")?.ok_or_else(|| {
            malformed("this is no image archive: it has neither manifest.json nor oci-layout")
                .hint("docker save, podman save and skopeo copy write such archives")
        })?;
        let bytes = archive.bytes(member, MAX_DOCUMENT)?;
        let entries: Vec<Entry> = json::gate(&bytes, &MANIFEST_JSON)?.read()?;
        if entries.len() > MAX_IMAGES {
            return Err(Error::new(
                Kind::Limit,
                format!(
                    "the archive has {} images, more than {MAX_IMAGES}",
                    entries.len()
                ),
            ));
        }
        Ok(Self {
            archive: Arc::new(archive),
            entries,
        })
    }

    /// The image that is wanted, or the only one.
    pub fn image(
        &self,
        wanted: Option<&Reference>,
        platform: &Platform,
        name: &str,
    ) -> Result<SourceImage> {
        let mut matching = self
            .entries
            .iter()
            .filter(|entry| wanted.is_none_or(|wanted| entry.is_called(wanted)));
        let tags: Vec<&str> = self.entries.iter().flat_map(Entry::tags).collect();
        let there_are = match tags.is_empty() {
            true => "its images have no tags".to_owned(),
            false => format!("it has {}", listed(tags.iter().copied(), 12)),
        };
        match (matching.next(), matching.next(), wanted) {
            (Some(only), None, _) => self.read(only, platform, name),
            (Some(_), Some(_), None) => Err(Error::new(
                Kind::Usage,
                "the archive has several images, and no name was given",
            )
            .hint(there_are)),
            (Some(_), Some(_), Some(wanted)) => Err(malformed(format!(
                "the archive has several images called {wanted}"
            ))),
            (None, _, Some(wanted)) => Err(Error::new(
                Kind::NotFound,
                format!("the archive has no image {wanted}"),
            )
            .hint(there_are)),
            (None, _, None) => Err(Error::new(Kind::NotFound, "the archive holds no image")),
        }
    }

    /// All images with their names: for `load`.
    pub fn images(&self, platform: &Platform, name: &str) -> Result<Vec<SourceImage>> {
        let entries = self.entries.iter();
        entries
            .map(|entry| self.read(entry, platform, name))
            .collect()
    }

    fn read(&self, entry: &Entry, platform: &Platform, name: &str) -> Result<SourceImage> {
        let member = self
            .archive
            .find(&entry.config)?
            .ok_or_else(|| absent(&entry.config))?;
        let config_bytes = self.archive.bytes(member, MAX_DOCUMENT)?;
        let config_digest = Digest::of(&config_bytes);
        named_by_digest(&entry.config, &config_digest)?;
        // Only to learn the diff ids; what is handed on goes through `verify` below.
        let draft = ImageConfig::parse(&config_bytes)?;
        if draft.diff_ids.len() != entry.layers.len() || entry.layers.len() > MAX_LAYERS {
            return Err(malformed(format!(
                "the image config has {} diff ids, manifest.json {} layers",
                draft.diff_ids.len(),
                entry.layers.len()
            )));
        }
        let layers = entry.layers.iter().zip(&draft.diff_ids);
        let layers = layers
            .map(|(layer, diff_id)| self.layer(layer, diff_id))
            .collect::<Result<Vec<_>>>()?;
        let manifest_bytes = synthesise(&config_digest, config_bytes.len(), &layers)?;
        let own = Descriptor {
            media_type: MediaType::ImageManifest.to_string(),
            digest: Digest::of(&manifest_bytes),
            size: u64::try_from(manifest_bytes.len()).unwrap_or(u64::MAX),
            platform: None,
            annotations: Default::default(),
        };
        let manifest = verify::manifest(&manifest_bytes, &own)?;
        let config = verify::config(&config_bytes, &manifest)?;
        config.check_platform(platform)?;
        Ok(SourceImage {
            manifest,
            config,
            manifest_bytes,
            config_bytes,
            layers,
            names: entry.tags().map(str::to_owned).collect(),
            canonical_name: name.to_owned(),
            beside: None,
        })
    }

    fn layer(&self, name: &str, diff_id: &DiffId) -> Result<LayerSource> {
        let member = self
            .archive
            .find_through_link(name)?
            .ok_or_else(|| absent(name))?;
        let compression = sniff(&self.archive, member)?;
        let (media_type, digest) = match compression {
            Compression::None => (MediaType::ImageLayer, diff_id.0),
            Compression::Gzip => (MediaType::ImageLayerGzip, hash(&self.archive, member)?),
            Compression::Zstd => (MediaType::ImageLayerZstd, hash(&self.archive, member)?),
        };
        Ok(LayerSource {
            descriptor: Descriptor {
                media_type: media_type.to_string(),
                digest,
                size: member.size,
                platform: None,
                annotations: Default::default(),
            },
            diff_id: *diff_id,
            media: LayerMedia {
                compression,
                foreign: false,
            },
            place: LayerPlace::Archive {
                archive: Arc::clone(&self.archive),
                offset: member.offset,
            },
        })
    }
}

/// A layer's bytes, as a range of the archive.
pub fn open_layer(archive: &Archive, offset: u64, descriptor: &Descriptor) -> Result<BlobHandle> {
    let file = archive.file.try_clone();
    let file = file.map_err(|e| Error::io("duplicate the archive's fd", &e))?;
    BlobHandle::new(file, offset, descriptor.size, descriptor)
}

fn absent(name: &str) -> Error {
    malformed(format!("the archive has no {}", quoted(name)))
        .hint("the archive is incomplete: save the image again")
}

/// A config named `<64 hex>.json` or `blobs/sha256/<64 hex>` is the one with that digest.
fn named_by_digest(name: &str, found: &Digest) -> Result<()> {
    let stem = name.rsplit('/').next().unwrap_or(name);
    let stem = stem.strip_suffix(".json").unwrap_or(stem);
    match Digest::from_hex(stem) {
        Some(named) if named != *found => Err(Error::new(
            Kind::Integrity,
            format!("the image config is not {named}: its digest is {found}"),
        )),
        _ => Ok(()),
    }
}

/// How a layer is compressed: this format does not say. A tar starts with a name, and no name that
/// a layer's first entry has starts like these.
fn sniff(archive: &Archive, member: &Member) -> Result<Compression> {
    let mut magic = [0; 4];
    if member.size >= 4 {
        archive
            .file
            .read_exact_at(&mut magic, member.offset)
            .map_err(|e| Error::io(format!("read {}", quoted(&member.name)), &e))?;
    }
    Ok(match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    })
}

fn hash(archive: &Archive, member: &Member) -> Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    let mut done = 0;
    while done < member.size {
        let left = usize::try_from(member.size - done).unwrap_or(usize::MAX);
        let chunk = left.min(buffer.len());
        archive
            .file
            .read_exact_at(&mut buffer[..chunk], member.offset + done)
            .map_err(|e| Error::io(format!("read {}", quoted(&member.name)), &e))?;
        hasher.update(&buffer[..chunk]);
        done += u64::try_from(chunk).unwrap_or(u64::MAX);
    }
    Ok(hasher.finish())
}

/// The manifest of these, in oci-spec's field order and without anything optional.
fn synthesise(config: &Digest, config_size: usize, layers: &[LayerSource]) -> Result<Vec<u8>> {
    let wire = |media_type: MediaType, digest: &Digest, size: u64| {
        let digest = oci_spec::image::Digest::from_str(&digest.to_string())?;
        let descriptor = DescriptorBuilder::default()
            .media_type(media_type)
            .digest(digest);
        descriptor.size(size).build()
    };
    let write = || {
        let layers = layers
            .iter()
            .map(|layer| {
                let media_type = MediaType::from(layer.descriptor.media_type.as_str());
                wire(media_type, &layer.descriptor.digest, layer.descriptor.size)
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let config_size = u64::try_from(config_size).unwrap_or(u64::MAX);
        ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .config(wire(MediaType::ImageConfig, config, config_size)?)
            .layers(layers)
            .build()?
            .to_string()
    };
    let text = write().map_err(|e: oci_spec::OciSpecError| malformed(e.to_string()))?;
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests;
