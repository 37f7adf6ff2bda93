//! Trust roots, and bundles signed by a certificate of an identity.

use super::{Against, Fault, San, Signer, Subject};
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use crate::image::json::{self, Document};
use crate::image::quote::plain;
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_verify::types::Bundle;
use sigstore_verify::{
    CertificateError, Error as Refusal, SubjectAltName, TimestampError, TransparencyLogError,
    VerificationPolicy, Verifier,
};

/// The largest trust root, in bytes; the public one has 7,000.
pub const MAX_ROOT: usize = 1 << 20;

const ROOT: Document = Document {
    what: "trust root",
    max_bytes: MAX_ROOT as u64,
    names: &[
        "mediaType",
        "tlogs",
        "certificateAuthorities",
        "ctlogs",
        "timestampAuthorities",
        "baseUrl",
        "hashAlgorithm",
        "publicKey",
        "rawBytes",
        "keyDetails",
        "validFor",
        "start",
        "end",
        "logId",
        "keyId",
        "certChain",
        "certificates",
        "uri",
        "subject",
    ],
    objects: &["publicKey", "validFor", "logId", "certChain", "subject"],
    list: false,
    free: &[],
};

/// The authorities and logs that vouch for identities: a `trusted_root.json`
/// (sigstore/protobuf-specs, sigstore_trustroot.proto).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What it is called: its file.
    pub name: String,
    /// The digest of its bytes: a proof names the root that it rests on.
    pub digest: Digest,
    text: String,
}

impl Root {
    /// Reads a trust root. What is in it is looked at when a signature needs it, and by
    /// [`Root::check`].
    ///
    /// # Errors
    /// `Limit`, `Malformed`: it is no such document.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        json::gate(bytes, &ROOT).map_err(|e| e.context(format!("trust root {name}")))?;
        let text = std::str::from_utf8(bytes).unwrap_or_default().to_owned();
        Ok(Self {
            name: name.to_owned(),
            digest: Digest::of(bytes),
            text,
        })
    }

    /// The root of sigstore's public instance as it was when lazaret was built.
    pub fn public() -> Self {
        Self {
            name: "sigstore's public instance".to_owned(),
            digest: Digest::of(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes()),
            text: SIGSTORE_PRODUCTION_TRUSTED_ROOT.to_owned(),
        }
    }

    /// Whether its keys and certificates can be used, and are any.
    ///
    /// # Errors
    /// `Malformed`, with what is the matter.
    pub fn check(&self) -> Result<()> {
        self.verifier().map(drop).map_err(|fault| {
            let cause = format!("trust root {}: {fault}", self.name);
            Error::new(Kind::Malformed, cause)
        })
    }

    fn verifier(&self) -> std::result::Result<Verifier, Fault> {
        let bad = |e: &dyn std::fmt::Display| Fault::BadRoot(e.to_string());
        let root = TrustedRoot::from_json(&self.text).map_err(|e| bad(&e))?;
        for (what, none) in [
            ("transparency log", root.tlogs.is_empty()),
            (
                "certificate authority",
                root.certificate_authorities.is_empty(),
            ),
            ("certificate log", root.ctlogs.is_empty()),
        ] {
            if none {
                return Err(Fault::BadRoot(format!("it has no {what}")));
            }
        }
        Verifier::new(&root).map_err(|e| bad(&e))
    }
}

/// Who signed a bundle, and when.
pub(super) struct Signed {
    pub(super) signer: Signer,
    /// Seconds since 1970.
    pub(super) when: i64,
}

/// Holds a bundle with a certificate against the roots.
pub(super) fn verify(
    bundle: &Bundle,
    subject: &Subject<'_>,
    against: &Against<'_>,
) -> std::result::Result<Signed, Fault> {
    let mut nearest = Fault::NoRoot;
    for root in against.roots {
        match by_root(bundle, subject, root) {
            Ok(signed) => return Ok(signed),
            // A root that does not know its authority has the least to say.
            Err(fault) if matches!(nearest, Fault::NoRoot | Fault::Untrusted(_)) => nearest = fault,
            Err(_) => {}
        }
    }
    Err(nearest)
}

fn by_root(
    bundle: &Bundle,
    subject: &Subject<'_>,
    root: &Root,
) -> std::result::Result<Signed, Fault> {
    // Which identity is good enough is for the policy: here it is only read.
    let any = VerificationPolicy::any_identity();
    let result = root
        .verifier()?
        .verify(subject.bytes, bundle, &any)
        .map_err(|refusal| fault(&refusal, subject))?;
    let all = result.certificate_verified() && result.sct_verified() && result.tlog_verified();
    if !all {
        return Err(Fault::Unsupported(
            "it was not verified as a whole".to_owned(),
        ));
    }
    let when = result.verified_timestamps().iter().min();
    let when = when.ok_or(Fault::NoTime)?.as_second();
    let identity = match result.identity() {
        Some(SubjectAltName::Email(email)) => San::Email(email.clone()),
        Some(SubjectAltName::Uri(uri)) => San::Uri(uri.clone()),
        _ => return Err(Fault::NoIdentity),
    };
    let issuer = result.issuer().ok_or(Fault::NoIdentity)?.to_owned();
    Ok(Signed {
        signer: Signer::Identity {
            issuer,
            identity,
            root: root.digest,
        },
        when,
    })
}

/// The words for what `sigstore-verify` refuses.
fn fault(refusal: &Refusal, subject: &Subject<'_>) -> Fault {
    let text = plain(&refusal.to_string());
    match refusal {
        Refusal::SignatureInvalid(_) => Fault::BadSignature,
        Refusal::ArtifactMismatch(_) => Fault::WrongDigest {
            is: "another digest".to_owned(),
            wanted: subject.digest(),
        },
        Refusal::Certificate(error) => match error {
            CertificateError::Expired { .. } | CertificateError::NotYetValid { .. } => {
                Fault::Expired(text)
            }
            // webpki's word for it.
            CertificateError::ChainInvalid(why)
                if why.contains("Expired") || why.contains("NotValidYet") =>
            {
                Fault::Expired(text)
            }
            CertificateError::Sct(_) => Fault::NotLoggedCertificate(text),
            _ => Fault::Untrusted(text),
        },
        Refusal::TransparencyLog(TransparencyLogError::IntegratedTime(_)) => Fault::Expired(text),
        Refusal::TransparencyLog(_) => Fault::ForgedLogEntry(text),
        Refusal::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => Fault::NoTime,
        Refusal::Timestamp(_) => Fault::ForgedTime(text),
        Refusal::InvalidTrustRoot(_) | Refusal::TrustRoot(_) | Refusal::TrustedCertificate(_) => {
            Fault::BadRoot(text)
        }
        Refusal::UnsupportedBundle(_) | Refusal::UnsupportedArtifact(_) => Fault::Unsupported(text),
        // A log index out of its tree, a checkpoint of another root.
        Refusal::Bundle(_) => Fault::ForgedLogEntry(text),
        _ => Fault::Malformed(text),
    }
}
