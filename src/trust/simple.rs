//! cosign's simple signing (cosign, specs/SIGNATURE_SPEC.md): a manifest under the tag
//! `sha256-<hex>.sig` whose layers are payloads, with the signature of each in an annotation.

use super::{Against, Fault, Form, MAX_PAYLOAD, MAX_SIGNATURES, Proof, Signer, Subject, key};
use crate::image::json::{self, Document};
use crate::image::{Descriptor, MAX_DOCUMENT, Reference};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::ImageManifest;
use serde::Deserialize;

/// The media type of a layer that is a payload.
pub const SIGNATURE_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation with the signature, in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The annotation with the certificate of a keyless signature in this form.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";

/// What a payload calls itself.
const TYPE: &str = "cosign container image signature";

pub(super) const MANIFEST: Document = Document {
    what: "signature manifest",
    max_bytes: MAX_DOCUMENT,
    names: &[
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "subject",
        "annotations",
        "digest",
        "size",
    ],
    objects: &["config", "subject", "annotations"],
    list: false,
    free: &["annotations"],
};

const PAYLOAD: Document = Document {
    what: "payload",
    max_bytes: MAX_PAYLOAD as u64,
    names: &[
        "critical",
        "identity",
        "docker-reference",
        "image",
        "docker-manifest-digest",
        "type",
        "optional",
    ],
    objects: &["critical", "identity", "image", "optional"],
    list: false,
    free: &["optional"],
};

/// A layer of a signature manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLayer {
    /// Its blob, the payload: digest and size. At most [`MAX_PAYLOAD`] bytes.
    pub payload: Descriptor,
    /// The signature over the payload's bytes, in base64.
    pub signature: String,
    /// A certificate stands beside it.
    pub keyless: bool,
}

/// The signatures that a `.sig` manifest names; layers of other media types are passed over.
///
/// # Errors
/// [`Fault::TooMany`], [`Fault::TooLarge`]; [`Fault::Malformed`]: it is no manifest, or a signature
/// is missing.
pub fn signature_layers(manifest: &[u8]) -> Result<Vec<SignatureLayer>, Fault> {
    let gated = json::gate(manifest, &MANIFEST).map_err(|e| Fault::of(&e))?;
    let wire: ImageManifest = gated.read().map_err(|e| Fault::of(&e))?;
    layers_of(&wire)
}

/// As [`signature_layers`], of a manifest that has been read.
pub(super) fn layers_of(wire: &ImageManifest) -> Result<Vec<SignatureLayer>, Fault> {
    let is_signature = |layer: &&oci_spec::image::Descriptor| {
        let media_type: &str = layer.media_type().as_ref();
        media_type == SIGNATURE_LAYER
    };
    let count = wire.layers().iter().filter(is_signature).count();
    if count > MAX_SIGNATURES {
        return Err(Fault::TooMany(count));
    }
    let layers = wire.layers().iter().filter(is_signature).map(|layer| {
        let payload = Descriptor::parse(layer).map_err(|e| Fault::of(&e))?;
        let bytes = usize::try_from(payload.size).unwrap_or(usize::MAX);
        if bytes > MAX_PAYLOAD {
            return Err(Fault::TooLarge {
                what: "payload",
                bytes,
            });
        }
        let signature = payload.annotations.get(SIGNATURE).cloned();
        Ok(SignatureLayer {
            keyless: payload.annotations.contains_key(CERTIFICATE),
            signature: signature
                .ok_or_else(|| Fault::Malformed(format!("a layer has no {SIGNATURE}")))?,
            payload,
        })
    });
    layers.collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(rename = "optional")]
    _optional: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    #[serde(default)]
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// Holds a payload and its signature against the keys.
pub(super) fn verify(
    layer: &SignatureLayer,
    payload: &[u8],
    subject: &Subject<'_>,
    against: &Against<'_>,
) -> Result<Proof, Fault> {
    if payload.len() > MAX_PAYLOAD {
        return Err(Fault::TooLarge {
            what: "payload",
            bytes: payload.len(),
        });
    }
    // Base64 of the longest.
    if layer.signature.len() > key::MAX_SIGNATURE.div_ceil(3) * 4 {
        return Err(Fault::TooLarge {
            what: "signature",
            bytes: layer.signature.len() / 4 * 3,
        });
    }
    let signature = STANDARD
        .decode(&layer.signature)
        .map_err(|_| Fault::Malformed("the signature is not base64".to_owned()))?;
    // What nobody has signed is not even read.
    let key = key::maker(against.keys, payload, &signature).map_err(|fault| match fault {
        Fault::WrongKey(_) | Fault::NoKey if layer.keyless => Fault::Unsupported(
            "a keyless signature in cosign's old form is not read: sign with \
             --new-bundle-format, or with a key"
                .to_owned(),
        ),
        fault => fault,
    })?;
    let gated = json::gate(payload, &PAYLOAD).map_err(|e| Fault::of(&e))?;
    let critical = gated.read::<Payload>().map_err(|e| Fault::of(&e))?.critical;
    if critical.r#type != TYPE {
        return Err(Fault::Unsupported(format!(
            "its payload is a {:?}, not a {TYPE:?}",
            critical.r#type
        )));
    }
    let digest = subject.digest();
    if critical.image.docker_manifest_digest != digest.to_string() {
        return Err(Fault::WrongDigest {
            is: critical.image.docker_manifest_digest,
            wanted: digest,
        });
    }
    let named = Some(critical.identity.docker_reference).filter(|name| !name.is_empty());
    if let (Some(named), Some(asked)) = (&named, subject.reference)
        && !is_named(named, asked, &digest.to_string())
    {
        return Err(Fault::WrongRepository {
            is: named.clone(),
            wanted: asked.to_string(),
        });
    }
    Ok(Proof {
        signer: Signer::Key {
            fingerprint: key.fingerprint,
            name: key.name.clone(),
        },
        form: Form::SimpleSigning,
        about: digest,
        reference: named,
        when: None,
        attests: None,
    })
}

/// The name in a payload, which nobody has verified.
pub(super) fn named(payload: &[u8]) -> Option<String> {
    let read = json::gate(payload, &PAYLOAD).and_then(|gated| gated.read::<Payload>());
    read.ok()
        .map(|payload| payload.critical.identity.docker_reference)
}

/// `docker.io/library/redis` of a name with or without tag; of what is none, itself.
pub(super) fn repository(named: &str) -> String {
    match Reference::parse(named) {
        Ok(reference) => format!("{}/{}", reference.domain, reference.path),
        Err(_) => named.to_owned(),
    }
}

/// Whether the name in a payload is that of the image that was asked for: the repository always, a
/// tag where both name one, a digest where it names one.
fn is_named(named: &str, asked: &Reference, digest: &str) -> bool {
    let Ok(reference) = Reference::as_written(named) else {
        return false;
    };
    let other_tag = reference
        .tag
        .zip(asked.tag.as_ref())
        .is_some_and(|(named, asked)| named != *asked);
    let other_digest = reference
        .digest
        .is_some_and(|named| named.to_string() != digest);
    (&reference.domain, &reference.path) == (&asked.domain, &asked.path)
        && !other_tag
        && !other_digest
}
