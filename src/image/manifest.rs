//! Manifests and indexes: OCI image-spec manifest.md and image-index.md, docker schema 2.
//!
//! A document that can be read as both a manifest and an index is refused whatever its media type
//! says (CVE-2021-41190), and so is one whose own `mediaType` is not its descriptor's.

#![forbid(unsafe_code)]

use super::descriptor::{MAX_DOCUMENT, annotations};
use super::json::{self, Document, Gated};
use super::quote::{listed, quoted};
use super::{Descriptor, Digest, MediaKind, Platform};
use crate::error::{Error, Kind, Result};
use oci_spec::image::{ImageIndex, ImageManifest};
use std::collections::BTreeMap;

/// The most layers that are read at all; how many an image may have is policy's word. Overlay
/// itself takes 500 lower folders.
pub const MAX_LAYERS: usize = 512;

/// The most entries of an index (one image, many platforms).
pub const MAX_ENTRIES: usize = 64;

/// The most entries of a layout's `index.json` (many images).
pub const MAX_LAYOUT_ENTRIES: usize = 4096;

const NAMES: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "digest",
    "size",
    "platform",
    "architecture",
    "os",
    "variant",
    "fsLayers",
];

const MANIFEST: Document = Document {
    what: "manifest",
    max_bytes: MAX_DOCUMENT,
    names: NAMES,
    objects: &["config", "subject", "platform", "annotations"],
    list: false,
    free: &["annotations"],
};

const INDEX: Document = Document {
    what: "index",
    ..MANIFEST
};

/// An image manifest. `layers` are lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The manifest's own digest: what `IMAGE@DIGEST` names.
    pub digest: Digest,
    /// The manifest's media type.
    pub media_type: String,
    /// The config blob.
    pub config: Descriptor,
    /// The layer blobs, lowest first.
    pub layers: Vec<Descriptor>,
    /// Annotations, as written.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest. `media_type` is what its descriptor (or a registry's header) calls it,
    /// where there is one.
    ///
    /// `Malformed` for a document that is ambiguous or not what its descriptor says, `Unsupported`
    /// for docker's schema 1 and for artifacts that are not images, `Limit` for size and counts.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self> {
        let gated = json::gate(bytes, &MANIFEST)?;
        schema_1(&gated, media_type)?;
        if gated.has("manifests") {
            let ambiguous = gated.has("layers") || gated.has("config");
            return Err(malformed(match ambiguous {
                true => "the manifest has both manifests and layers: it can be read as two images",
                false => "an index stands where a manifest is expected",
            }));
        }
        if !gated.has("config") || !gated.has("layers") {
            return Err(malformed("the manifest has no config or no layers"));
        }
        let wire: ImageManifest = gated.read()?;
        schema_version(wire.schema_version())?;
        let own = wire.media_type().as_ref().map(AsRef::as_ref);
        let media_type = agreed(own, media_type, MediaKind::Manifest)?
            .unwrap_or("application/vnd.oci.image.manifest.v1+json");
        let config = Descriptor::parse(wire.config())?;
        if config.kind() != MediaKind::Config {
            let kind = wire
                .artifact_type()
                .as_ref()
                .map_or(config.media_type.as_str(), AsRef::as_ref);
            return Err(Error::new(
                Kind::Unsupported,
                format!("this is an artifact ({}), not an image", quoted(kind)),
            )
            .hint("lazaret runs container images; charts, signatures and attestations are not"));
        }
        config.at_most(MAX_DOCUMENT, "config")?;
        let count = wire.layers().len();
        if count > MAX_LAYERS {
            return Err(Error::new(
                Kind::Limit,
                format!("the manifest has {count} layers, more than {MAX_LAYERS}"),
            ));
        }
        let layers = wire
            .layers()
            .iter()
            .map(layer)
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            digest: Digest::of(bytes),
            media_type: media_type.to_owned(),
            config,
            layers,
            annotations: annotations(wire.annotations().as_ref()),
        })
    }
}

fn layer(wire: &oci_spec::image::Descriptor) -> Result<Descriptor> {
    let layer = Descriptor::parse(wire)?;
    match layer.kind() {
        MediaKind::Layer(_) => Ok(layer),
        _ => Err(Error::new(
            Kind::Unsupported,
            format!(
                "layer {} has media type {}",
                layer.digest.short(),
                quoted(&layer.media_type)
            ),
        )
        .hint("layers are tar, tar+gzip or tar+zstd, under OCI's or docker's names")),
    }
}

/// An image index (multi-platform list). At most 64 entries, never nested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The entries in their order.
    pub manifests: Vec<Descriptor>,
    /// Of a layout's table of contents those that are no images by what it says of them: artifacts
    /// of some type, and what stands under the tag that registries keep signatures under.
    pub beside: Vec<Descriptor>,
}

impl Index {
    /// Reads an image's index; errors as [`Manifest::parse`]. An index inside is refused.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self> {
        let (_, index) = Self::read(bytes, media_type, MAX_ENTRIES)?;
        match index
            .manifests
            .iter()
            .find(|e| e.kind() == MediaKind::Index)
        {
            Some(nested) => Err(malformed(format!(
                "the index holds another index ({})",
                nested.digest.short()
            ))),
            None => Ok(index),
        }
    }

    /// Reads a layout's `index.json`, which lists images: its entries may be indexes (OCI
    /// image-spec, image-layout.md).
    pub fn parse_layout(bytes: &[u8]) -> Result<Self> {
        let (wire, mut index) =
            Self::read(bytes, None, MAX_LAYOUT_ENTRIES).map_err(|e| e.context("index.json"))?;
        let all = std::mem::take(&mut index.manifests);
        let (images, beside): (Vec<_>, Vec<_>) = all
            .into_iter()
            .zip(wire.manifests())
            .partition(|(entry, wire)| is_image(entry, wire));
        let entries = |all: Vec<(Descriptor, _)>| all.into_iter().map(|(entry, _)| entry);
        index.manifests = entries(images).collect();
        index.beside = entries(beside).collect();
        Ok(index)
    }

    fn read(bytes: &[u8], media_type: Option<&str>, most: usize) -> Result<(ImageIndex, Self)> {
        let gated = json::gate(bytes, &INDEX)?;
        schema_1(&gated, media_type)?;
        if gated.has("layers") || gated.has("config") {
            return Err(malformed(match gated.has("manifests") {
                true => "the index has both manifests and layers: it can be read as two images",
                false => "a manifest stands where an index is expected",
            }));
        }
        if !gated.has("manifests") {
            return Err(malformed("the index has no manifests"));
        }
        let wire: ImageIndex = gated.read()?;
        schema_version(wire.schema_version())?;
        let own = wire.media_type().as_ref().map(AsRef::as_ref);
        agreed(own, media_type, MediaKind::Index)?;
        let count = wire.manifests().len();
        if count > most {
            return Err(Error::new(
                Kind::Limit,
                format!("the index has {count} entries, more than {most}"),
            ));
        }
        let manifests = wire
            .manifests()
            .iter()
            .map(Descriptor::parse)
            .collect::<Result<_>>()?;
        let beside = Vec::new();
        Ok((wire, Self { manifests, beside }))
    }

    /// The entry for `wanted`: same os and architecture, and the highest variant that `wanted`
    /// runs; the first of several. A single manifest that names no platform is taken (its config
    /// says the platform, and is checked). None: `Platform`, with what there is.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor> {
        let images = || {
            self.manifests
                .iter()
                .filter(|e| e.kind() == MediaKind::Manifest)
        };
        let mut best: Option<(u32, &Descriptor)> = None;
        for entry in images() {
            let level = entry.platform.as_ref().and_then(|p| p.level_for(wanted));
            if let Some(level) = level
                && best.is_none_or(|(so_far, _)| level > so_far)
            {
                best = Some((level, entry));
            }
        }
        let mut all = images();
        match (best, all.next(), all.next()) {
            (Some((_, entry)), _, _) => Ok(entry),
            (None, Some(only), None) if only.platform.is_none() => Ok(only),
            _ => Err(self.not_for(wanted)),
        }
    }

    fn not_for(&self, wanted: &Platform) -> Error {
        let known: Vec<String> = self
            .manifests
            .iter()
            .filter_map(|e| e.platform.as_ref())
            // Attestations stand in indexes as unknown/unknown.
            .filter(|p| p.os != "unknown")
            .map(Platform::to_string)
            .collect();
        let error = Error::new(Kind::Platform, format!("the image is not for {wanted}"));
        match known.is_empty() {
            true => error.hint("its index names no platform"),
            false => error.hint(format!(
                "it is for {}",
                listed(known.iter().map(String::as_str), 12)
            )),
        }
    }
}

/// Whether an entry of a layout is an image's, by its artifact type and its tag: `sha256-<hex>` with
/// or without an ending is where signatures and their lists are kept.
fn is_image(entry: &Descriptor, wire: &oci_spec::image::Descriptor) -> bool {
    let kind = wire.artifact_type().as_ref().map(AsRef::as_ref);
    let artifact = kind.is_some_and(|kind| MediaKind::of(kind) != MediaKind::Config);
    let tag = entry.ref_name().and_then(|tag| tag.strip_prefix("sha256-"));
    let hex = tag.and_then(|tag| tag.get(..64));
    let signatures = hex.is_some_and(|hex| Digest::from_hex(hex).is_some());
    !artifact && !signatures
}

fn malformed(cause: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, cause)
}

fn schema_1(gated: &Gated<'_>, media_type: Option<&str>) -> Result<()> {
    match gated.has("fsLayers") || media_type.map(MediaKind::of) == Some(MediaKind::Schema1) {
        true => Err(Error::new(
            Kind::Unsupported,
            "the image is in docker's old format (schema 1), which names no uncompressed digests",
        )
        .hint("convert it: skopeo copy --format oci docker://IMAGE oci:DIR:TAG")),
        false => Ok(()),
    }
}

fn schema_version(version: u32) -> Result<()> {
    match version {
        2 => Ok(()),
        other => Err(malformed(format!("schemaVersion is {other}, not 2"))),
    }
}

/// The media type that the document and its descriptor agree on, and that is of `kind`.
fn agreed<'a>(
    own: Option<&'a str>,
    told: Option<&'a str>,
    kind: MediaKind,
) -> Result<Option<&'a str>> {
    if let (Some(own), Some(told)) = (own, told)
        && own != told
    {
        return Err(malformed(format!(
            "the document calls itself {}, its descriptor {}",
            quoted(own),
            quoted(told)
        )));
    }
    match told.or(own) {
        Some(media_type) if MediaKind::of(media_type) != kind => Err(malformed(format!(
            "media type {} stands where {} is expected",
            quoted(media_type),
            if kind == MediaKind::Index {
                "an index"
            } else {
                "a manifest"
            }
        ))),
        media_type => Ok(media_type),
    }
}

#[cfg(test)]
mod tests;
