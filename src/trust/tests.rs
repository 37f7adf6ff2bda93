//! Form by key by fault: what was signed by another implementation (openssl, and the authorities of
//! `tests/support/authority.rs`) against what is made of it here.

use super::*;
use crate::error::Kind;
use serde_json::{Value, json};

#[path = "../../tests/support/authority.rs"]
mod authority;
#[path = "../../tests/support/signing.rs"]
mod signing;

mod attached;
mod carried;
mod keyless;
mod keys;
mod matrix;
mod receipts;

/// What is signed.
const MANIFEST: &[u8] = br#"{"schemaVersion":2,"layers":[]}"#;

/// Another image's.
const OTHER: &[u8] = br#"{"schemaVersion":2,"layers":[1]}"#;

fn reference(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

/// What one signature is worth against some keys and roots.
fn outcome(
    found: Found<'_>,
    name: Option<&str>,
    keys: &[&Key],
    roots: &[&Root],
) -> Result<Proof, Fault> {
    let reference = name.map(reference);
    let subject = Subject {
        bytes: MANIFEST,
        reference: reference.as_ref(),
    };
    let evidence = verify(&[found], &subject, &Against { keys, roots });
    match (evidence.proofs.as_slice(), evidence.failures.as_slice()) {
        ([proof], []) => Ok(proof.clone()),
        ([], [failure]) => {
            // Words that a terminal can bear, and an end.
            let words = failure.to_string();
            assert!(
                !words.contains(['\n', '\x1b']) && words.len() < 1000,
                "{words}"
            );
            Err(failure.fault.clone())
        }
        _ => panic!("{evidence:#?}"),
    }
}

/// A layer with a signature.
fn layer(payload: &[u8], signature: &[u8]) -> SignatureLayer {
    use base64::Engine as _;
    let signature = base64::engine::general_purpose::STANDARD.encode(signature);
    let manifest = json!({
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(b"{}").to_string(), "size": 2,
        },
        "layers": [{
            "mediaType": SIGNATURE_LAYER,
            "digest": Digest::of(payload).to_string(), "size": payload.len(),
            "annotations": { "dev.cosignproject.cosign/signature": signature },
        }],
    });
    let layers = signature_layers(manifest.to_string().as_bytes()).unwrap();
    let [layer] = &layers[..] else {
        panic!("{layers:#?}")
    };
    assert_eq!(layer.payload.digest, Digest::of(payload));
    layer.clone()
}

/// cosign's payload.
fn payload(digest: &str, name: &str) -> Value {
    json!({
        "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    })
}
