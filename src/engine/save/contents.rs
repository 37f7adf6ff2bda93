//! What goes into a layout: its table of contents, docker's, and the blobs.

use super::sink::Sink;
use crate::error::{Error, Kind, Result};
use crate::host::Interrupts;
use crate::image::{Digest, ImageName, MAX_LAYOUT_ENTRIES, Platform, Reference};
use crate::report;
use crate::store::source::{SourceImage, blob_name, index_tag};
use crate::store::{Ref, Store};
use crate::trust::{Attachments, Carried, Keeping, Over, REFERRERS_LIST};
use crate::trust::{carried_from, list_with, referrers_tag, signature_tag};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

/// containerd's and docker's annotation with the full name.
const FULL_NAME: &str = "io.containerd.image.name";
const TAG: &str = "org.opencontainers.image.ref.name";

/// Everything that is written.
#[derive(Default)]
pub(super) struct Contents {
    images: Vec<Image>,
    /// What lies beside the images: signatures' entries in the table of contents.
    beside: Vec<Value>,
    blobs: BTreeMap<Digest, Blob>,
}

enum Blob {
    Bytes(Vec<u8>),
    /// A layer, as the store keeps it.
    Stored(File, u64),
}

struct Image {
    manifest: Digest,
    media_type: String,
    size: usize,
    platform: Platform,
    config: Digest,
    layers: Vec<Digest>,
    names: Vec<Reference>,
}

impl Contents {
    /// Takes in an image of the store under the name that it was asked for by, if any.
    ///
    /// # Errors
    /// `NotFound`: its layers are not kept as they came; `Store`: a part of its signatures is not;
    /// `Integrity`: documents are damaged.
    pub(super) fn add(
        &mut self,
        store: &Store,
        known: &Ref,
        name: Option<&str>,
        signatures: bool,
    ) -> Result<()> {
        let name = name.and_then(|name| match ImageName::parse(name) {
            Ok(ImageName::Registry(reference)) => Some(reference),
            // What lies on disk has a place, and no name.
            _ => None,
        });
        let same = |image: &&mut Image| image.manifest == known.manifest;
        if let Some(image) = self.images.iter_mut().find(same) {
            image
                .names
                .extend(name.filter(|name| !image.names.contains(name)));
            return Ok(());
        }
        let image = store.image(known)?;
        self.layers(store, known, &image)?;
        let (manifest, config) = (&image.manifest, &image.manifest.config);
        if signatures {
            self.signatures(store, &manifest.digest)?;
        }
        self.images.push(Image {
            manifest: manifest.digest,
            media_type: manifest.media_type.clone(),
            size: image.manifest_bytes.len(),
            platform: image.config.platform.clone(),
            config: config.digest,
            layers: manifest.layers.iter().map(|layer| layer.digest).collect(),
            names: name.into_iter().collect(),
        });
        self.bytes(config.digest, image.config_bytes);
        self.bytes(manifest.digest, image.manifest_bytes);
        Ok(())
    }

    fn bytes(&mut self, digest: Digest, bytes: Vec<u8>) {
        self.blobs.entry(digest).or_insert(Blob::Bytes(bytes));
    }

    /// Opens each layer's blob: whoever removes the image meanwhile takes nothing away.
    fn layers(&mut self, store: &Store, known: &Ref, image: &SourceImage) -> Result<()> {
        for layer in &image.manifest.layers {
            if self.blobs.contains_key(&layer.digest) {
                continue;
            }
            let file = store.open_blob(&layer.digest)?.ok_or_else(|| {
                let cause = format!(
                    "{}: its layers are unpacked here, and not kept as they came",
                    known.name
                );
                Error::new(Kind::NotFound, cause).hint(match ImageName::parse(&known.name) {
                    Ok(ImageName::Registry(reference)) => {
                        format!("lazaret pull {}, or load it again", reference.familiar())
                    }
                    _ => format!("lazaret load {} NAME keeps them", known.name),
                })
            })?;
            let blob = Blob::Stored(file, layer.size);
            self.blobs.insert(layer.digest, blob);
        }
        Ok(())
    }

    fn signatures(&mut self, store: &Store, manifest: &Digest) -> Result<()> {
        let kept = store.signatures(manifest)?.unwrap_or_default();
        let mut index: Option<Digest> = None;
        let mut attached = Vec::new();
        for place in &kept {
            attached.push((Over::Manifest, *manifest, &place.attached));
            let over_index = |one: &crate::trust::Attachment| one.over == Over::Index;
            let Some(bytes) = &place.attached.index else {
                continue;
            };
            if !place.attached.found.iter().any(over_index) {
                continue;
            }
            let digest = Digest::of(&bytes.0);
            if *index.get_or_insert(digest) != digest {
                report::note(&format!(
                    "signatures over the index {digest} are left out: {manifest} is saved out of one \
                     index alone"
                ));
                continue;
            }
            attached.push((Over::Index, digest, &place.attached));
            if !self.blobs.contains_key(&digest) {
                let entry = entry(REFERRERS_LIST, &digest, bytes.0.len());
                self.beside.push(tagged(entry, &index_tag(manifest)));
            }
            self.bytes(digest, bytes.0.clone());
        }
        for (over, digest) in [(Over::Manifest, Some(*manifest)), (Over::Index, index)] {
            let Some(subject) = digest else { continue };
            let of = attached
                .iter()
                .filter(|(o, d, _)| (*o, *d) == (over, subject));
            self.over(over, &subject, of.map(|(.., attached)| *attached))?;
        }
        Ok(())
    }

    /// What is attached to one manifest or index.
    fn over<'a>(
        &mut self,
        over: Over,
        subject: &Digest,
        places: impl Iterator<Item = &'a Attachments>,
    ) -> Result<()> {
        let all = carried_from(places, over, subject).map_err(|(which, fault)| {
            let cause = format!("the signature {which} cannot be saved as it came: {fault}");
            Error::new(Kind::Store, cause).hint(
                "`lazaret pull IMAGE` fetches all of it again, and --remove-signatures leaves \
                 signatures out",
            )
        })?;
        let all: Vec<Carried<'_>> = all.into_iter().map(|(_, one)| one).collect();
        for one in all.iter().filter(|one| one.keeping == Keeping::Tag) {
            let entry = entry(&one.parts.media_type, &one.digest, one.manifest.len());
            self.beside.push(tagged(entry, &signature_tag(subject)));
        }
        let referrers = all.iter().filter(|one| one.keeping == Keeping::Referrers);
        let referrers: Vec<&Carried<'_>> = referrers.collect();
        let list = list_with(None, &referrers).map_err(|fault| {
            Error::new(Kind::Limit, format!("the signatures of {subject}: {fault}"))
        })?;
        if let Some(list) = list {
            let digest = Digest::of(&list);
            let entry = entry(REFERRERS_LIST, &digest, list.len());
            self.beside.push(tagged(entry, &referrers_tag(subject)));
            self.bytes(digest, list);
        }
        for one in all {
            self.bytes(one.digest, one.manifest.to_vec());
            for (blob, bytes) in &one.blobs {
                self.bytes(blob.digest, bytes.to_vec());
            }
        }
        Ok(())
    }

    /// Writes all of it; `docker`: with docker's own table of contents.
    ///
    /// # Errors
    /// `Integrity`: the store's bytes changed; `Limit`: more images than a layout has; `Io`,
    /// `Interrupted`.
    pub(super) fn write(
        &self,
        sink: &mut Sink<'_>,
        docker: bool,
        interrupts: Option<&Interrupts>,
    ) -> Result<()> {
        let entries = self.entries();
        if entries.len() > MAX_LAYOUT_ENTRIES {
            let cause = format!("more than {MAX_LAYOUT_ENTRIES} images and signatures at once");
            return Err(Error::new(Kind::Limit, cause).hint("save them into several files"));
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": REFERRERS_LIST, "manifests": entries,
        });
        sink.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        sink.bytes("index.json", index.to_string().as_bytes())?;
        if docker {
            sink.bytes("manifest.json", self.dockers().to_string().as_bytes())?;
        }
        sink.make_folder("blobs")?;
        sink.make_folder("blobs/sha256")?;
        for (digest, blob) in &self.blobs {
            interrupts.map_or(Ok(()), Interrupts::check)?;
            let name = blob_name(digest);
            match blob {
                Blob::Bytes(bytes) => sink.bytes(&name, bytes)?,
                Blob::Stored(file, size) => sink.blob(&name, (digest, *size), file, interrupts)?,
            }
        }
        Ok(())
    }

    /// The table of contents: an entry for each name of each image, then what lies beside.
    fn entries(&self) -> Vec<Value> {
        let mut of_tag: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
        for (image, name) in self.named() {
            of_tag.entry(tag(name)).or_default().insert(image.manifest);
        }
        let mut entries = Vec::new();
        for image in &self.images {
            let mut entry = entry(&image.media_type, &image.manifest, image.size);
            entry["platform"] = json!({
                "architecture": image.platform.architecture, "os": image.platform.os,
            });
            if let Some(variant) = &image.platform.variant {
                entry["platform"]["variant"] = json!(variant);
            }
            for name in &image.names {
                // Tools that pick an image by its tag must be able to.
                let only = of_tag.get(tag(name)).is_some_and(|all| all.len() == 1);
                let ref_name = match only {
                    true => tag(name).to_owned(),
                    false => name.to_string(),
                };
                let mut entry = tagged(entry.clone(), &ref_name);
                entry["annotations"][FULL_NAME] = json!(name.to_string());
                entries.push(entry);
            }
            if image.names.is_empty() {
                entries.push(entry);
            }
        }
        entries.extend(self.beside.iter().cloned());
        entries
    }

    fn named(&self) -> impl Iterator<Item = (&Image, &Reference)> {
        let images = self.images.iter();
        images.flat_map(|image| image.names.iter().map(move |name| (image, name)))
    }

    fn dockers(&self) -> Value {
        let images = self.images.iter().map(|image| {
            let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
            let layers: Vec<String> = image.layers.iter().map(blob_name).collect();
            json!({"Config": blob_name(&image.config), "RepoTags": names, "Layers": layers})
        });
        images.collect()
    }
}

fn tag(name: &Reference) -> &str {
    name.tag.as_deref().unwrap_or("latest")
}

fn entry(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

fn tagged(mut entry: Value, tag: &str) -> Value {
    entry["annotations"] = json!({TAG: tag});
    entry
}
