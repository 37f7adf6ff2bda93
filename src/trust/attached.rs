//! What is kept beside an image, and what of it are signatures.
//!
//! Three places are known: cosign's tag `sha256-<hex>.sig` (cosign, specs/SIGNATURE_SPEC.md), the
//! referrers of a digest, and the tag `sha256-<hex>` under which a registry without that API keeps
//! their list (OCI distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema"). What is
//! found there is a manifest whose layers are payloads or bundles. Its `artifactType` may be
//! missing, so what counts is what its layers are.

use super::simple::{self, SignatureLayer};
use super::{Against, Evidence, Failure, Fault, Found, MAX_BUNDLE, MAX_SIGNATURES, Subject};
use crate::image::json::{self, Document};
use crate::image::{Descriptor, Digest, Index, MAX_DOCUMENT, MediaKind, Reference};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::{ImageIndex, ImageManifest};

/// The most bytes of everything together that is attached to one image.
pub const MAX_ATTACHED: u64 = 64 << 20;

/// How media types and artifact types of sigstore's bundles begin, of all their versions: what
/// version is read is the bundle's own affair.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// What an artifact type is that says nothing: the config's, where a manifest has none of its own.
const SAYS_NOTHING: [&str; 4] = [
    "",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// The tag under which cosign keeps signatures of a digest, in the repository of what is signed.
pub fn signature_tag(digest: &Digest) -> String {
    format!("{}.sig", referrers_tag(digest))
}

/// The tag of a digest's referrers, where a registry has no API for them.
pub fn referrers_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// The artifact type of cosign's own form, where it is kept as a referrer.
const SIMPLE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

const REFERRERS: Document = Document {
    what: "list of referrers",
    max_bytes: MAX_DOCUMENT,
    names: &[
        "schemaVersion",
        "mediaType",
        "artifactType",
        "manifests",
        "subject",
        "annotations",
        "digest",
        "size",
        "platform",
    ],
    objects: &["subject", "platform", "annotations"],
    list: false,
    free: &["annotations"],
};

/// Bytes that are written as base64 where they stand in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl serde::Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// How an attached manifest was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Under cosign's tag.
    Tag,
    /// By the referrers API.
    Referrers,
    /// In the list under the referrers' tag.
    Fallback,
    /// In the table of contents of a layout.
    Layout,
}

/// What an attached manifest is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The image's manifest.
    Manifest,
    /// The index that it was taken out of.
    Index,
}

/// A manifest that is attached to an image, with its signatures' blobs; nothing of it is believed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attachment {
    /// To what.
    pub over: Over,
    /// How it was found.
    pub how: How,
    /// The attached manifest.
    pub manifest: Bytes,
    /// Payloads and bundles that it names, in any order.
    pub blobs: Vec<Bytes>,
}

/// Something that was found and not taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Untaken {
    /// The digest of what; `None`: all of it.
    pub which: Option<Digest>,
    /// Why, in words that may be a stranger's.
    pub why: String,
}

/// All that was found in one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attachments {
    /// The index that the image's manifest was taken out of.
    pub index: Option<Bytes>,
    /// What was found.
    pub found: Vec<Attachment>,
    /// What was found and not taken.
    pub untaken: Vec<Untaken>,
}

impl Attachments {
    /// What they prove of the image with this manifest. Signatures over the index count if it names
    /// the manifest. `reference` as in [`Subject`].
    #[must_use]
    pub fn evidence(
        &self,
        manifest: &[u8],
        reference: Option<&Reference>,
        against: &Against<'_>,
    ) -> Evidence {
        let mut evidence = Evidence::default();
        let failed = |untaken: &Untaken| Failure {
            which: untaken.which,
            fault: Fault::Untaken(untaken.why.clone()),
        };
        evidence.failures.extend(self.untaken.iter().map(failed));
        evidence.extend(self.over(Over::Manifest, manifest, reference, against));
        let Some(index) = &self.index else {
            return evidence;
        };
        match names(&index.0, &Digest::of(manifest)) {
            Ok(()) => {
                evidence.index = Some(Digest::of(&index.0));
                evidence.extend(self.over(Over::Index, &index.0, reference, against));
            }
            Err(fault) => evidence.failures.push(Failure {
                which: Some(Digest::of(&index.0)),
                fault,
            }),
        }
        evidence
    }

    fn over(
        &self,
        over: Over,
        bytes: &[u8],
        reference: Option<&Reference>,
        against: &Against<'_>,
    ) -> Evidence {
        let subject = Subject { bytes, reference };
        let digest = subject.digest();
        let mut read = Vec::new();
        let mut failures = Vec::new();
        for one in self.found.iter().filter(|one| one.over == over) {
            let which = Some(Digest::of(&one.manifest.0));
            match attached(&one.manifest.0) {
                Ok(attached) => match attached.subject {
                    Some(other) if other != digest => failures.push(Failure {
                        which,
                        fault: Fault::WrongDigest {
                            is: other.to_string(),
                            wanted: digest,
                        },
                    }),
                    _ => read.push((attached, one)),
                },
                Err(fault) => failures.push(Failure { which, fault }),
            }
        }
        let mut found = Vec::new();
        for (attached, one) in &read {
            let digests: Vec<Digest> = one.blobs.iter().map(|blob| Digest::of(&blob.0)).collect();
            let mut blob = |named: &Descriptor| {
                let at = digests.iter().position(|digest| *digest == named.digest);
                let bytes = at.and_then(|at| one.blobs.get(at));
                let which = Some(named.digest);
                if bytes.is_none() && !self.untaken.iter().any(|one| one.which == which) {
                    let fault = Fault::Untaken("its bytes are not there".to_owned());
                    failures.push(Failure { which, fault });
                }
                bytes.map(|bytes| bytes.0.as_slice())
            };
            for layer in &attached.signatures {
                let payload = blob(&layer.payload);
                found.extend(payload.map(|payload| Found::Simple { layer, payload }));
            }
            for bundle in &attached.bundles {
                found.extend(blob(bundle).map(Found::Bundle));
            }
        }
        let mut evidence = super::verify(&found, &subject, against);
        evidence.failures.extend(failures);
        evidence
    }
}

/// Whether an index names a manifest.
fn names(index: &[u8], manifest: &Digest) -> Result<(), Fault> {
    let listed = Index::parse(index, None).map_err(|e| Fault::of(&e))?;
    let mut entries = listed.manifests.iter();
    match entries.any(|entry| entry.digest == *manifest) {
        true => Ok(()),
        false => Err(Fault::Malformed(format!(
            "the index does not name the manifest {manifest}"
        ))),
    }
}

/// What of an attached manifest are signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// What it says that it is attached to.
    pub subject: Option<Digest>,
    /// Signatures in cosign's own form.
    pub signatures: Vec<SignatureLayer>,
    /// Bundles: at most [`MAX_BUNDLE`] bytes each.
    pub bundles: Vec<Descriptor>,
}

impl Attached {
    /// The blobs that they are in.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let payloads = self.signatures.iter().map(|layer| &layer.payload);
        payloads.chain(&self.bundles)
    }
}

/// What an attached manifest says that it is attached to, whatever its layers are.
///
/// # Errors
/// [`Fault::Malformed`]: it is no manifest.
pub fn subject(manifest: &[u8]) -> Result<Option<Digest>, Fault> {
    read(manifest).map(|(_, subject)| subject)
}

/// An attached manifest, and what it says that it is attached to.
pub(super) fn read(manifest: &[u8]) -> Result<(ImageManifest, Option<Digest>), Fault> {
    let gated = json::gate(manifest, &simple::MANIFEST).map_err(|e| Fault::of(&e))?;
    let wire: ImageManifest = gated.read().map_err(|e| Fault::of(&e))?;
    let subject = wire.subject().as_ref().map(Descriptor::parse).transpose();
    let subject = subject.map_err(|e| Fault::of(&e))?;
    Ok((wire, subject.map(|subject| subject.digest)))
}

/// Reads an attached manifest; layers that are no signatures are passed over.
///
/// # Errors
/// [`Fault::TooMany`], [`Fault::TooLarge`]; [`Fault::Malformed`]: it is no manifest.
pub fn attached(manifest: &[u8]) -> Result<Attached, Fault> {
    let (wire, subject) = read(manifest)?;
    let signatures = simple::layers_of(&wire)?;
    let is_bundle = |layer: &&oci_spec::image::Descriptor| {
        let media_type: &str = layer.media_type().as_ref();
        media_type.starts_with(BUNDLE)
    };
    let bundles = wire.layers().iter().filter(is_bundle);
    let count = signatures.len() + bundles.clone().count();
    if count > MAX_SIGNATURES {
        return Err(Fault::TooMany(count));
    }
    let bundles = bundles.map(|layer| {
        let bundle = Descriptor::parse(layer).map_err(|e| Fault::of(&e))?;
        match usize::try_from(bundle.size).unwrap_or(usize::MAX) {
            0..=MAX_BUNDLE => Ok(bundle),
            bytes => Err(Fault::TooLarge {
                what: "bundle",
                bytes,
            }),
        }
    });
    Ok(Attached {
        subject,
        signatures,
        bundles: bundles.collect::<Result<_, _>>()?,
    })
}

/// The manifests in a list of referrers that may be signatures, by what the list says of them.
///
/// # Errors
/// [`Fault::TooMany`]; [`Fault::Malformed`]: it is no list.
pub fn referrers(list: &[u8]) -> Result<Vec<Descriptor>, Fault> {
    let gated = json::gate(list, &REFERRERS).map_err(|e| Fault::of(&e))?;
    let wire: ImageIndex = gated.read().map_err(|e| Fault::of(&e))?;
    let may_be = |entry: &&oci_spec::image::Descriptor| {
        let kind = entry.artifact_type().as_ref();
        let kind = kind.map_or("", AsRef::as_ref);
        SAYS_NOTHING.contains(&kind) || kind == SIMPLE || kind.starts_with(BUNDLE)
    };
    let entries = wire.manifests().iter().filter(may_be);
    let count = entries.clone().count();
    if count > MAX_SIGNATURES {
        return Err(Fault::TooMany(count));
    }
    let entries = entries.map(|entry| Descriptor::parse(entry).map_err(|e| Fault::of(&e)));
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.retain(|entry| entry.kind() == MediaKind::Manifest);
    Ok(entries)
}
