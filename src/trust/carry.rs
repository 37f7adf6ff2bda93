//! What is attached to an image, for whoever carries it elsewhere: to another registry, or into an OCI
//! layout. Nothing is made anew: manifests and blobs go as they came, and only the list of them is
//! written here (OCI distribution-spec 1.1, "Referrers Tag Schema").

use super::attached::{self, Attachment, Attachments, How, Over};
use super::{Fault, SIGNATURE_LAYER, simple};
use crate::image::{Descriptor, Digest};
use serde_json::{Map, Value, json};

/// The media type of lists of referrers.
pub const REFERRERS_LIST: &str = "application/vnd.oci.image.index.v1+json";

/// The config that means none (OCI image-spec, "Guidance for an Empty Descriptor").
pub const EMPTY_CONFIG: &[u8] = b"{}";

/// The largest config of an attached manifest that is carried along, in bytes.
pub const MAX_ATTACHED_CONFIG: u64 = 64 << 10;

/// What a manifest that is attached to something names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// What it comes as.
    pub media_type: String,
    /// Its artifact type: of its own, else its config's media type.
    pub artifact_type: String,
    /// What it says that it is attached to.
    pub subject: Option<Digest>,
    /// Its config.
    pub config: Descriptor,
    /// Its layers, signatures or not, in its order.
    pub layers: Vec<Descriptor>,
    annotations: Value,
}

/// Reads what an attached manifest names.
///
/// # Errors
/// [`Fault::Malformed`]: it is no manifest.
pub fn parts(manifest: &[u8]) -> Result<Parts, Fault> {
    let (wire, subject) = attached::read(manifest)?;
    let read = |one| Descriptor::parse(one).map_err(|e| Fault::of(&e));
    let config = read(wire.config())?;
    let media_type = wire.media_type().as_ref();
    let artifact_type = wire.artifact_type().as_ref();
    Ok(Parts {
        media_type: media_type.map_or_else(
            || "application/vnd.oci.image.manifest.v1+json".to_owned(),
            ToString::to_string,
        ),
        artifact_type: artifact_type.map_or_else(|| config.media_type.clone(), |t| t.to_string()),
        subject,
        layers: wire.layers().iter().map(read).collect::<Result<_, _>>()?,
        annotations: json!(wire.annotations()),
        config,
    })
}

/// Under what an attached manifest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// cosign's tag, `sha256-<hex>.sig`.
    Tag,
    /// The referrers of what it is attached to.
    Referrers,
}

/// An attached manifest with everything that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried<'a> {
    /// The manifest.
    pub manifest: &'a [u8],
    /// Its digest.
    pub digest: Digest,
    /// What it names.
    pub parts: Parts,
    /// Under what it is kept.
    pub keeping: Keeping,
    /// What it names with the bytes, each once.
    pub blobs: Vec<(Descriptor, &'a [u8])>,
}

impl<'a> Carried<'a> {
    /// Takes an attachment with all its parts; `None`: it says that it is attached to something else.
    ///
    /// # Errors
    /// [`Fault::Untaken`]: a part is not there; as [`parts`].
    pub fn of(one: &'a Attachment, subject: &Digest) -> Result<Option<Self>, Fault> {
        let parts = parts(&one.manifest.0)?;
        if parts.subject.is_some_and(|other| other != *subject) {
            return Ok(None);
        }
        let is_simple = |layer: &Descriptor| layer.media_type == SIGNATURE_LAYER;
        let keeping = match (one.how, parts.subject) {
            (How::Tag, _) => Keeping::Tag,
            // A layout does not say how it came by it.
            (How::Layout, None) if parts.layers.iter().any(is_simple) => Keeping::Tag,
            _ => Keeping::Referrers,
        };
        let mut blobs: Vec<(Descriptor, &[u8])> = Vec::new();
        for named in [&parts.config].into_iter().chain(&parts.layers) {
            if blobs.iter().any(|(had, _)| had.digest == named.digest) {
                continue;
            }
            let all = one.blobs.iter().map(|blob| blob.0.as_slice());
            let found = all
                .chain([EMPTY_CONFIG])
                .find(|bytes| Digest::of(bytes) == named.digest);
            let bytes = found
                .ok_or_else(|| Fault::Untaken(format!("its part {} is not kept", named.digest)))?;
            blobs.push((named.clone(), bytes));
        }
        Ok(Some(Self {
            manifest: &one.manifest.0,
            digest: Digest::of(&one.manifest.0),
            parts,
            keeping,
            blobs,
        }))
    }

    /// The repositories that its payloads name, other than `repository`, each once: what was signed
    /// in the name of one is proof under no other.
    pub fn names_other_than(&self, repository: &str) -> Vec<String> {
        let mut all = Vec::new();
        for (blob, bytes) in &self.blobs {
            if blob.media_type != SIGNATURE_LAYER {
                continue;
            }
            let named = simple::named(bytes).filter(|named| !named.is_empty());
            let other = named.filter(|named| simple::repository(named) != repository);
            all.extend(other.filter(|other| !all.contains(other)));
        }
        all
    }

    /// What a list of referrers says of it.
    fn entry(&self) -> Value {
        let mut entry = json!({
            "mediaType": self.parts.media_type,
            "digest": self.digest.to_string(),
            "size": self.manifest.len(),
            "artifactType": self.parts.artifact_type,
        });
        if let (Value::Object(entry), Value::Object(_)) = (&mut entry, &self.parts.annotations) {
            entry.insert("annotations".to_owned(), self.parts.annotations.clone());
        }
        entry
    }
}

impl Attachments {
    /// What of these can be carried with an image's manifest, or with its index; each manifest once.
    /// Of what cannot, why.
    pub fn carried(
        &self,
        over: Over,
        subject: &Digest,
    ) -> (Vec<Carried<'_>>, Vec<(Digest, Fault)>) {
        let (mut whole, mut lacking) = (Vec::<Carried<'_>>::new(), Vec::new());
        for one in self.found.iter().filter(|one| one.over == over) {
            match Carried::of(one, subject) {
                Ok(Some(carried)) if !whole.iter().any(|had| had.digest == carried.digest) => {
                    whole.push(carried);
                }
                Ok(_) => {}
                Err(fault) => lacking.push((Digest::of(&one.manifest.0), fault)),
            }
        }
        (whole, lacking)
    }
}

/// What of several places can be carried together: each manifest once, with the place of the first
/// that has it.
///
/// # Errors
/// What of it cannot, and why: part of it is not what was signed.
pub fn carried_from<'a>(
    places: impl IntoIterator<Item = &'a Attachments>,
    over: Over,
    subject: &Digest,
) -> Result<Vec<(usize, Carried<'a>)>, (Digest, Fault)> {
    let mut all: Vec<(usize, Carried<'a>)> = Vec::new();
    for (place, attached) in places.into_iter().enumerate() {
        let (whole, lacking) = attached.carried(over, subject);
        if let Some(lacking) = lacking.into_iter().next() {
            return Err(lacking);
        }
        for one in whole {
            if !all.iter().any(|(_, had)| had.digest == one.digest) {
                all.push((place, one));
            }
        }
    }
    Ok(all)
}

/// The list of referrers with these in it as well; `list` is the one that is there. `None`: it has
/// them all.
///
/// # Errors
/// [`Fault::Malformed`]: what is there is no list; [`Fault::TooMany`]: it would have more than
/// anybody reads.
pub fn list_with(list: Option<&[u8]>, new: &[&Carried<'_>]) -> Result<Option<Vec<u8>>, Fault> {
    let mut whole: Map<String, Value> = match list {
        None => Map::from_iter([
            ("schemaVersion".to_owned(), json!(2)),
            ("mediaType".to_owned(), json!(REFERRERS_LIST)),
            ("manifests".to_owned(), json!([])),
        ]),
        Some(list) => {
            attached::referrers(list)?;
            serde_json::from_slice(list).map_err(|e| Fault::Malformed(e.to_string()))?
        }
    };
    let none = || Fault::Malformed("the list of referrers has no manifests".to_owned());
    let Some(Value::Array(entries)) = whole.get_mut("manifests") else {
        return Err(none());
    };
    let before = entries.len();
    for one in new {
        let digest = one.digest.to_string();
        if !entries
            .iter()
            .any(|entry| entry["digest"] == digest.as_str())
        {
            entries.push(one.entry());
        }
    }
    if entries.len() == before {
        return Ok(None);
    }
    let bytes = Value::Object(whole).to_string().into_bytes();
    attached::referrers(&bytes)?;
    Ok(Some(bytes))
}

/// What a manifest under a tag is beside the one that is to have the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// It has every layer of the new one.
    Covers,
    /// The new one has every layer of it, and more.
    Less,
    /// It has layers that the new one lacks.
    Other,
}

/// Holds the manifest that is under cosign's tag against the one that is to be put there. One that
/// cannot be read is another.
pub fn there(old: &[u8], new: &Parts) -> There {
    let Ok(old) = parts(old) else {
        return There::Other;
    };
    let covers = |a: &[Descriptor], b: &[Descriptor]| b.iter().all(|layer| a.contains(layer));
    if covers(&old.layers, &new.layers) {
        There::Covers
    } else if covers(&new.layers, &old.layers) {
        There::Less
    } else {
        There::Other
    }
}
