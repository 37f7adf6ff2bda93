//! Who signed an image: from bytes to facts.
//!
//! Pure: no I/O. Signatures come as bytes from wherever they are kept; [`verify`] holds them against
//! the keys and trust roots that a policy names, and answers with a [`Proof`] for each that is one and
//! a [`Failure`] for each that is not. Whether a proof is enough is the policy's word
//! (`policy::admit`), never this room's.
//!
//! Two forms are read:
//! - **simple signing** as cosign keeps it under the tag `sha256-<hex>.sig`
//!   (cosign, specs/SIGNATURE_SPEC.md): a JSON payload that names a digest, and a signature over its
//!   bytes. Its `docker-reference` binds the signature to a repository.
//! - **sigstore bundles** of version 0.3 (sigstore/protobuf-specs, sigstore_bundle.proto), over the
//!   manifest itself or over an in-toto statement, by a key or by a certificate of an identity
//!   ("keyless"). They name no repository: what binds them to one is the image pattern of the rule.
//!
//! A keyless bundle is checked offline against a trust root that is data: certificate chain, signed
//! certificate timestamp, log inclusion with its checkpoint, and a time that a timestamp authority or
//! the log vouches for. `sigstore-verify` does that part. It asks the clock for one thing: nothing may
//! be signed in the future.
//!
//! Beside images, [`read_receipt`] reads receipts: a run's report that lazaret itself has signed.
//!
//! For a signature by key the key is the whole proof: log entries and timestamps beside it are not
//! looked at, and say nothing.

mod attached;
mod bundle;
mod carry;
mod collect;
mod fault;
mod key;
mod keyless;
mod proof;
mod receipt;
mod signing;
mod simple;
mod statement;
#[cfg(test)]
mod tests;

pub use attached::{
    Attached, Attachment, Attachments, Bytes, How, MAX_ATTACHED, Over, Untaken, attached,
    referrers, referrers_tag, signature_tag, subject,
};
pub use carry::{
    Carried, EMPTY_CONFIG, Keeping, MAX_ATTACHED_CONFIG, Parts, REFERRERS_LIST, There,
    carried_from, list_with, parts, there,
};
pub use collect::Collector;
pub use fault::{Failure, Fault};
pub use key::{Key, KeyKind, MAX_PEM};
pub use keyless::{MAX_ROOT, Root};
pub use proof::{Evidence, Form, Proof, San, Signer};
pub use receipt::{
    MAX_RECEIPT, REPORT_TYPE, Receipt, Told, ToldEnd, ToldImage, read as read_receipt,
    seal as seal_receipt,
};
pub use signing::{MAX_PRIVATE_PEM, SigningKey, new_private_pem};
pub use simple::{SIGNATURE_LAYER, SignatureLayer, signature_layers};

use crate::image::{Digest, Reference};

/// The most signatures and attestations of one image that are looked at; more are refused together,
/// because what is looked at costs time.
pub const MAX_SIGNATURES: usize = 64;

/// The largest bundle, in bytes: a bill of materials of many packages fits.
pub const MAX_BUNDLE: usize = 16 << 20;

/// The largest simple signing payload, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// What is said to be signed: an image's manifest or index.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The repository and tag by which it was asked for; `None` where its name is no registry's.
    pub reference: Option<&'a Reference>,
}

impl Subject<'_> {
    /// The digest of its bytes: nobody's word is taken for it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes)
    }
}

/// A signature as it was found.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// A layer of a `.sig` manifest with the blob that it names.
    Simple {
        /// The layer.
        layer: &'a SignatureLayer,
        /// The blob's bytes.
        payload: &'a [u8],
    },
    /// A bundle's JSON.
    Bundle(&'a [u8]),
}

/// What signatures are held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Against<'a> {
    /// Keys that a policy names.
    pub keys: &'a [&'a Key],
    /// Trust roots of the identities that a policy names.
    pub roots: &'a [&'a Root],
}

/// Verifies what was found of one manifest or index. A signature is about `subject` or fails.
#[must_use]
pub fn verify(found: &[Found<'_>], subject: &Subject<'_>, against: &Against<'_>) -> Evidence {
    let mut evidence = Evidence::default();
    if found.len() > MAX_SIGNATURES {
        evidence.failures.push(Failure {
            which: None,
            fault: Fault::TooMany(found.len()),
        });
        return evidence;
    }
    for one in found {
        let (which, outcome) = match one {
            Found::Simple { layer, payload } => (
                Digest::of(payload),
                simple::verify(layer, payload, subject, against),
            ),
            Found::Bundle(bytes) => (Digest::of(bytes), bundle::verify(bytes, subject, against)),
        };
        match outcome {
            Ok(proof) => evidence.proofs.push(proof),
            Err(fault) => evidence.failures.push(Failure {
                which: Some(which),
                fault,
            }),
        }
    }
    evidence
}
