//! An OCI image layout (OCI image-spec, image-layout.md), as a folder or inside a tar.

#![forbid(unsafe_code)]

use super::archive::Archive;
use super::beside::Beside;
use super::folder::{self, Folder, blob_name};
use super::{BlobHandle, LayerPlace, LayerSource, SourceImage};
use crate::error::{Error, Kind, Result};
use crate::image::json::{self, Document};
use crate::image::quote::{listed, quoted};
use crate::image::{
    Descriptor, Digest, Index, MAX_DOCUMENT, Manifest, MediaKind, Platform, Reference,
};
use crate::store::verify::{self, Verified};
use oci_spec::image::OciLayout;
use std::sync::Arc;

/// containerd's and docker's annotation with the full name, beside `ref.name` with the tag alone.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// `oci-layout` holds one short string.
const LAYOUT: Document = Document {
    what: "oci-layout file",
    max_bytes: 4096,
    names: &["imageLayoutVersion"],
    objects: &[],
    list: false,
    free: &[],
};

/// Where a layout's files are.
#[derive(Debug)]
pub enum Files {
    /// In a folder.
    Folder(Folder),
    /// In a tar.
    Archive(Archive),
}

impl Files {
    /// The bytes of a document of at most `most` bytes; `None` where it is not there.
    pub fn document(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => match folder.open(name)? {
                Some((file, size)) => folder::read_all(file, size, most, name).map(Some),
                None => Ok(None),
            },
            Self::Archive(archive) => match archive.find(name)? {
                Some(member) => archive.bytes(member, most).map(Some),
                None => Ok(None),
            },
        }
    }

    /// The bytes of a manifest, an index or a config: not yet verified, and as many as
    /// `descriptor` says or up to one more.
    pub(super) fn blob(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>> {
        descriptor.at_most(MAX_DOCUMENT, what)?;
        let bytes = self.document(&blob_name(&descriptor.digest), MAX_DOCUMENT)?;
        bytes.ok_or_else(|| missing(what, &descriptor.digest))
    }

    /// A layer's bytes, as a range of a file. They are not verified yet: who unpacks them checks
    /// that they have the descriptor's digest.
    pub fn layer(&self, descriptor: &Descriptor) -> Result<BlobHandle> {
        let (file, offset, length) = match self {
            Self::Folder(folder) => {
                let blob = folder.blob(&descriptor.digest)?;
                let (file, size) = blob.ok_or_else(|| missing("layer", &descriptor.digest))?;
                (file, 0, size)
            }
            Self::Archive(archive) => {
                let member = archive.find(&blob_name(&descriptor.digest))?;
                let member = member.ok_or_else(|| missing("layer", &descriptor.digest))?;
                let file = archive.file.try_clone();
                let file = file.map_err(|e| Error::io("duplicate the archive's fd", &e))?;
                (file, member.offset, member.size)
            }
        };
        BlobHandle::new(file, offset, length, descriptor)
    }
}

fn missing(what: &str, digest: &Digest) -> Error {
    Error::new(
        Kind::NotFound,
        format!("the layout has no blob {digest} (a {what})"),
    )
    .hint("the layout is incomplete: copy or save the image again")
}

/// What is asked for inside a layout.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// The only image.
    Only,
    /// The image with this `ref.name` or full name.
    Tag(String),
    /// The manifest, or the index, with this digest.
    Digest(Digest),
    /// The image that docker calls so.
    Reference(Reference),
}

/// An open layout whose version and table of contents have been read.
#[derive(Debug)]
pub struct Layout {
    files: Arc<Files>,
    index: Index,
    /// What is no image, for each image to look through.
    beside: Arc<[Descriptor]>,
}

impl Layout {
    /// Checks `oci-layout` and reads `index.json`.
    pub fn open(files: Files) -> Result<Self> {
        let not_one = |name: &str| {
            Error::new(
                Kind::Malformed,
                format!("this is no OCI layout: it has no {name}"),
            )
            .hint("an OCI layout has oci-layout, index.json and blobs/sha256")
        };
        let version = files.document("oci-layout", LAYOUT.max_bytes)?;
        let version = version.ok_or_else(|| not_one("oci-layout"))?;
        let version: OciLayout = json::gate(&version, &LAYOUT)?.read()?;
        if version.image_layout_version() != "1.0.0" {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "the layout's version is {}, not 1.0.0",
                    quoted(version.image_layout_version())
                ),
            ));
        }
        let index = files.document("index.json", MAX_DOCUMENT)?;
        let index = Index::parse_layout(&index.ok_or_else(|| not_one("index.json"))?)?;
        Ok(Self {
            files: Arc::new(files),
            beside: index.beside.clone().into(),
            index,
        })
    }

    /// The image that is wanted, for `platform`.
    pub fn image(&self, wanted: &Wanted, platform: &Platform, name: &str) -> Result<SourceImage> {
        let entry = self.entry(wanted, platform)?;
        self.read(&entry, platform, name)
    }

    /// All images with their names: for `load`.
    pub fn images(&self, platform: &Platform, name: &str) -> Result<Vec<SourceImage>> {
        self.entries()
            .map(|entry| self.read(entry, platform, name))
            .collect()
    }

    fn entries(&self) -> impl Iterator<Item = &Descriptor> {
        let known = |kind| matches!(kind, MediaKind::Index | MediaKind::Manifest);
        self.index
            .manifests
            .iter()
            .filter(move |entry| known(entry.kind()))
    }

    fn entry(&self, wanted: &Wanted, platform: &Platform) -> Result<Descriptor> {
        let matching: Vec<&Descriptor> = match wanted {
            Wanted::Digest(digest) => return self.by_digest(digest),
            Wanted::Only => self.entries().collect(),
            Wanted::Tag(tag) => self.entries().filter(|entry| has_tag(entry, tag)).collect(),
            Wanted::Reference(reference) => self
                .entries()
                .filter(|entry| is_called(entry, reference))
                .collect(),
        };
        let Some(first) = matching.first() else {
            return Err(self.not_found(wanted));
        };
        if matching.iter().all(|entry| entry.digest == first.digest) {
            return Ok((*first).clone());
        }
        // One name with a manifest for each platform is an index without its own document.
        let manifests = |entry: &&Descriptor| {
            entry.kind() == MediaKind::Manifest
                && entry.platform.is_some()
                && entry.ref_name() == first.ref_name()
        };
        if matching.iter().all(manifests) {
            let index = Index {
                manifests: matching.into_iter().cloned().collect(),
                beside: Vec::new(),
            };
            return index.select(platform).cloned();
        }
        Err(self.ambiguous(wanted))
    }

    /// The entry with this digest: in the table of contents, or in an index that it lists.
    fn by_digest(&self, digest: &Digest) -> Result<Descriptor> {
        if let Some(entry) = self.entries().find(|entry| entry.digest == *digest) {
            return Ok(entry.clone());
        }
        for entry in self
            .entries()
            .filter(|entry| entry.kind() == MediaKind::Index)
        {
            let index = self.nested(entry)?;
            if let Some(found) = index.manifests.iter().find(|inner| inner.digest == *digest) {
                return Ok(found.clone());
            }
        }
        Err(Error::new(
            Kind::NotFound,
            format!("the layout lists no manifest {digest}"),
        ))
    }

    fn nested(&self, entry: &Descriptor) -> Result<Verified<Index>> {
        let bytes = self.files.blob(entry, "index")?;
        verify::index(&bytes, entry)
    }

    fn read(&self, entry: &Descriptor, platform: &Platform, name: &str) -> Result<SourceImage> {
        let selected = match entry.kind() {
            MediaKind::Index => self.nested(entry)?.select(platform)?.clone(),
            _ => entry.clone(),
        };
        if selected.kind() != MediaKind::Manifest {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{} is not an image manifest", quoted(&selected.media_type)),
            ));
        }
        let manifest_bytes = self.files.blob(&selected, "manifest")?;
        let manifest = verify::manifest(&manifest_bytes, &selected)?;
        let config_bytes = self.files.blob(&manifest.config, "config")?;
        let config = verify::config(&config_bytes, &manifest)?;
        config.check_platform(platform)?;
        let layers = self.layers(&manifest, &config.diff_ids);
        Ok(SourceImage {
            manifest,
            config,
            manifest_bytes,
            config_bytes,
            layers,
            names: names(entry),
            canonical_name: name.to_owned(),
            beside: Some(Beside {
                files: Arc::clone(&self.files),
                entries: Arc::clone(&self.beside),
                index: Some(entry.clone()).filter(|entry| entry.kind() == MediaKind::Index),
            }),
        })
    }

    fn layers(&self, manifest: &Manifest, diff_ids: &[crate::image::DiffId]) -> Vec<LayerSource> {
        let layers = manifest.layers.iter().zip(diff_ids);
        layers
            .filter_map(|(descriptor, diff_id)| {
                let MediaKind::Layer(media) = descriptor.kind() else {
                    // Manifest::parse lets nothing else through.
                    return None;
                };
                Some(LayerSource {
                    descriptor: descriptor.clone(),
                    diff_id: *diff_id,
                    media,
                    place: LayerPlace::Layout(Arc::clone(&self.files)),
                })
            })
            .collect()
    }

    fn known_names(&self) -> Vec<&str> {
        self.entries()
            .filter_map(|entry| entry.ref_name().or_else(|| full_name(entry)))
            .collect()
    }

    fn not_found(&self, wanted: &Wanted) -> Error {
        let names = self.known_names();
        let sought = match wanted {
            Wanted::Tag(tag) => tag.clone(),
            Wanted::Reference(reference) => reference.to_string(),
            Wanted::Only | Wanted::Digest(_) => {
                return Error::new(Kind::NotFound, "the layout holds no image");
            }
        };
        let error = Error::new(
            Kind::NotFound,
            format!("the layout has no image {}", quoted(&sought)),
        );
        let near = names
            .iter()
            .map(|name| (distance(name, &sought), *name))
            .filter(|(distance, name)| *distance * 3 <= name.len().max(sought.len()))
            .min();
        error.hint(match near {
            _ if names.is_empty() => "its images have no tags: name the folder alone".to_owned(),
            Some((_, near)) => format!(
                "did you mean {}? it has {}",
                quoted(near),
                listed(names.iter().copied(), 12)
            ),
            None => format!("it has {}", listed(names.iter().copied(), 12)),
        })
    }

    fn ambiguous(&self, wanted: &Wanted) -> Error {
        let names = self.known_names();
        match wanted {
            Wanted::Only if !names.is_empty() => Error::new(
                Kind::Usage,
                "the layout has several images, and no tag was given",
            )
            .hint(format!("it has {}", listed(names.into_iter(), 12))),
            _ => {
                let digests: Vec<String> = self.entries().map(|e| e.digest.to_string()).collect();
                Error::new(Kind::Usage, "the layout has several images of this name").hint(format!(
                    "name one by digest: {}",
                    listed(digests.iter().map(String::as_str), 4)
                ))
            }
        }
    }
}

fn full_name(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(CONTAINERD_NAME).map(String::as_str)
}

fn has_tag(entry: &Descriptor, tag: &str) -> bool {
    entry.ref_name() == Some(tag) || full_name(entry) == Some(tag)
}

/// Whether docker would call the entry so: by its full name, or by a `ref.name` that is one.
fn is_called(entry: &Descriptor, wanted: &Reference) -> bool {
    let called = full_name(entry).or_else(|| entry.ref_name());
    called.is_some_and(|name| Reference::parse(name).is_ok_and(|name| name == *wanted))
}

/// The names that a source gives an image: the full one first.
fn names(entry: &Descriptor) -> Vec<String> {
    let names = full_name(entry).into_iter().chain(entry.ref_name());
    names.map(str::to_owned).collect()
}

/// The edit distance of two short names (Levenshtein), in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
