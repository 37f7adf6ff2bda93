//! Sigstore bundles of version 0.3 (sigstore/protobuf-specs, sigstore_bundle.proto, as protobuf's
//! JSON).
//!
//! What two readers could understand differently is refused before anybody reads it: a key twice, two
//! contents, two sorts of verification material, fields under protobuf's other names.

use super::keyless;
use super::statement::{self, PAYLOAD_TYPE};
use super::{Against, Fault, Form, MAX_BUNDLE, Proof, Signer, Subject, key};
use crate::image::json::{self, Document};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sigstore_verify::types::{Bundle, HashAlgorithm, SignatureContent};

/// How bundles of version 0.3 call themselves.
const MEDIA_TYPES: [&str; 2] = [
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];

/// The kinds of log entries that are read, with their versions: of rekor's first version, and what its
/// second has for signatures over the bytes themselves.
const ENTRIES: [(&str, &str); 3] = [
    ("hashedrekord", "0.0.1"),
    ("hashedrekord", "0.0.2"),
    ("dsse", "0.0.1"),
];

/// The most log entries and timestamps of one bundle: each is looked at.
const MAX_WITNESSES: usize = 8;

const BUNDLE: Document = Document {
    what: "bundle",
    max_bytes: MAX_BUNDLE as u64,
    names: &[
        "mediaType",
        "verificationMaterial",
        "messageSignature",
        "dsseEnvelope",
        "publicKey",
        "hint",
        "certificate",
        "x509CertificateChain",
        "rawBytes",
        "tlogEntries",
        "timestampVerificationData",
        "rfc3161Timestamps",
        "signedTimestamp",
        "logIndex",
        "logId",
        "keyId",
        "kindVersion",
        "integratedTime",
        "inclusionPromise",
        "signedEntryTimestamp",
        "inclusionProof",
        "rootHash",
        "treeSize",
        "hashes",
        "checkpoint",
        "envelope",
        "canonicalizedBody",
        "messageDigest",
        "algorithm",
        "digest",
        "signature",
        "payload",
        "payloadType",
        "signatures",
        "sig",
        "keyid",
    ],
    objects: &[
        "verificationMaterial",
        "messageSignature",
        "dsseEnvelope",
        "publicKey",
        "certificate",
        "timestampVerificationData",
        "logId",
        "kindVersion",
        "inclusionPromise",
        "inclusionProof",
        "checkpoint",
        "messageDigest",
    ],
    list: false,
    free: &[],
};

/// Which parts there are; what is in them is read by `sigstore-verify`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Shape {
    media_type: String,
    verification_material: Material,
    message_signature: Option<IgnoredAny>,
    dsse_envelope: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    public_key: Option<IgnoredAny>,
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
    #[serde(default)]
    tlog_entries: Vec<LogEntry>,
    #[serde(default)]
    timestamp_verification_data: Option<Timestamps>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry {
    inclusion_proof: Option<IgnoredAny>,
    #[serde(default)]
    kind_version: KindVersion,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KindVersion {
    kind: String,
    version: String,
}

impl LogEntry {
    /// Its kind and version, if it is one that is not read.
    fn unread(&self) -> Option<String> {
        let KindVersion { kind, version } = &self.kind_version;
        let read = ENTRIES.contains(&(kind.as_str(), version.as_str()));
        (!read).then(|| format!("{kind} {version}"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timestamps {
    #[serde(default)]
    rfc3161_timestamps: Vec<IgnoredAny>,
}

/// Holds a bundle against keys and trust roots.
pub(super) fn verify(
    bytes: &[u8],
    subject: &Subject<'_>,
    against: &Against<'_>,
) -> Result<Proof, Fault> {
    if bytes.len() > MAX_BUNDLE {
        return Err(Fault::TooLarge {
            what: "bundle",
            bytes: bytes.len(),
        });
    }
    let gated = json::gate(bytes, &BUNDLE).map_err(|e| Fault::of(&e))?;
    let shape: Shape = gated.read().map_err(|e| Fault::of(&e))?;
    let material = &shape.verification_material;
    if !MEDIA_TYPES.contains(&shape.media_type.as_str()) {
        return Err(Fault::Unsupported(format!(
            "a bundle of media type {:?}: those of version 0.3 are read",
            shape.media_type
        )));
    }
    if shape.message_signature.is_some() == shape.dsse_envelope.is_some() {
        return Err(Fault::Malformed(
            "a bundle has either a messageSignature or a dsseEnvelope".to_owned(),
        ));
    }
    let by_key = match (&material.public_key, &material.certificate) {
        (Some(_), None) => true,
        (None, Some(_)) => false,
        _ => {
            return Err(Fault::Malformed(
                "a bundle has either a publicKey or a certificate".to_owned(),
            ));
        }
    };
    let timestamps = material.timestamp_verification_data.as_ref();
    let timestamps = timestamps.map_or(0, |data| data.rfc3161_timestamps.len());
    if material.x509_certificate_chain.is_some()
        || material.tlog_entries.len().max(timestamps) > MAX_WITNESSES
    {
        return Err(Fault::Malformed(format!(
            "a bundle of version 0.3 has one certificate, and no more than {MAX_WITNESSES} log \
             entries and timestamps"
        )));
    }
    // The gate has taken it, so it is text.
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let bundle = Bundle::from_json(text).map_err(|e| {
        match material.tlog_entries.iter().find_map(LogEntry::unread) {
            Some(kind) => Fault::Unsupported(format!("a log entry of {kind:?}")),
            None => Fault::Malformed(format!("the bundle is not valid: {e}")),
        }
    })?;
    if by_key {
        return of_key(&bundle, subject, against);
    }
    // Any entry beside one that is proven could have been put there later.
    let proven = |entry: &LogEntry| entry.inclusion_proof.is_some();
    if material.tlog_entries.is_empty() || !material.tlog_entries.iter().all(proven) {
        return Err(Fault::NoLogEntry);
    }
    key::well_formed(signature(&bundle)?)?;
    let signed = keyless::verify(&bundle, subject, against)?;
    let (form, attests) = content(&bundle, subject)?;
    Ok(Proof {
        signer: signed.signer,
        form,
        about: subject.digest(),
        reference: None,
        when: Some(signed.when),
        attests,
    })
}

/// The bytes of its signature.
fn signature(bundle: &Bundle) -> Result<&[u8], Fault> {
    match &bundle.content {
        SignatureContent::MessageSignature(message) => Ok(message.signature.as_bytes()),
        SignatureContent::DsseEnvelope(envelope) => Ok(envelope.signature.sig.as_bytes()),
        _ => Err(Fault::Unsupported("a bundle of another content".to_owned())),
    }
}

/// A bundle by a key. The hint names it as its maker likes, so all keys are tried.
fn of_key(bundle: &Bundle, subject: &Subject<'_>, against: &Against<'_>) -> Result<Proof, Fault> {
    let signature = signature(bundle)?;
    let message = match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => envelope.pae(),
        _ => subject.bytes.to_vec(),
    };
    // What a message signature says of its digest is told in words of its own, and decides nothing:
    // the manifest's own bytes are what was signed.
    if let SignatureContent::MessageSignature(_) = &bundle.content {
        content(bundle, subject)?;
    }
    let key = key::maker(against.keys, &message, signature)?;
    let (form, attests) = content(bundle, subject)?;
    Ok(Proof {
        signer: Signer::Key {
            fingerprint: key.fingerprint,
            name: key.name.clone(),
        },
        form,
        about: subject.digest(),
        reference: None,
        when: None,
        attests,
    })
}

/// The form of a bundle and what it attests, if it is about `subject`.
fn content(bundle: &Bundle, subject: &Subject<'_>) -> Result<(Form, Option<String>), Fault> {
    let digest = subject.digest();
    match &bundle.content {
        SignatureContent::MessageSignature(message) => {
            if let Some(named) = &message.message_digest {
                if named.algorithm != HashAlgorithm::Sha2256 {
                    return Err(Fault::Unsupported(format!(
                        "a message digest of {}: images are named by sha256",
                        named.algorithm
                    )));
                }
                if named.digest.to_hex() != digest.hex() {
                    return Err(Fault::WrongDigest {
                        is: format!("sha256:{}", named.digest.to_hex()),
                        wanted: digest,
                    });
                }
            }
            Ok((Form::BundleMessage, None))
        }
        SignatureContent::DsseEnvelope(envelope) => {
            if envelope.payload_type != PAYLOAD_TYPE {
                return Err(Fault::Unsupported(format!(
                    "an envelope of {:?}, not of {PAYLOAD_TYPE}",
                    envelope.payload_type
                )));
            }
            let attests = statement::about(envelope.payload.as_bytes(), digest)?;
            Ok((Form::BundleStatement, attests))
        }
        _ => Err(Fault::Unsupported("a bundle of another content".to_owned())),
    }
}
