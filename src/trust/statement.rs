//! in-toto statements (in-toto/attestation, spec/v1/statement.md): which digests, and what is said
//! of them.

use super::{Fault, MAX_BUNDLE};
use crate::image::Digest;
use crate::image::json::{self, Document};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The payload type of a statement in a DSSE envelope.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The predicate type of cosign's plain signatures in bundles: that it is signed, and nothing more.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// `_type` of version 1.
pub(super) const V1: &str = "https://in-toto.io/Statement/v1";

/// That, and the one of version 0.1 that some tools still write.
const TYPES: [&str; 2] = [V1, "https://in-toto.io/Statement/v0.1"];

/// The most subjects: a release of many platforms has a few dozen.
const MAX_SUBJECTS: usize = 1024;

const STATEMENT: Document = Document {
    what: "statement",
    max_bytes: MAX_BUNDLE as u64,
    names: &["_type", "subject", "predicateType", "predicate"],
    objects: &["digest"],
    list: false,
    // What a predicate says is for those who ask for it.
    free: &["predicate", "digest", "annotations"],
};

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

/// The predicate type of a statement about `digest`; `None`: a plain signature.
pub(super) fn about(payload: &[u8], digest: Digest) -> Result<Option<String>, Fault> {
    let gated = json::gate(payload, &STATEMENT).map_err(|e| Fault::of(&e))?;
    let statement: Statement = gated.read().map_err(|e| Fault::of(&e))?;
    if !TYPES.contains(&statement.kind.as_str()) {
        return Err(Fault::Unsupported(format!(
            "a statement of type {:?}",
            statement.kind
        )));
    }
    if statement.subject.len() > MAX_SUBJECTS {
        return Err(Fault::Malformed(format!(
            "a statement about {} subjects, more than {MAX_SUBJECTS}",
            statement.subject.len()
        )));
    }
    let hex = digest.hex();
    let mut named = statement.subject.iter().map(|one| one.digest.get("sha256"));
    if !named.any(|one| one == Some(&hex)) {
        let first = statement.subject.iter().find_map(|one| {
            let (algorithm, hex) = one.digest.iter().next()?;
            Some(format!("{algorithm}:{hex}"))
        });
        return Err(Fault::WrongDigest {
            is: first.unwrap_or_else(|| "nothing".to_owned()),
            wanted: digest,
        });
    }
    if statement.predicate_type.is_empty() {
        return Err(Fault::Malformed(
            "a statement without a predicate type".to_owned(),
        ));
    }
    Ok(Some(statement.predicate_type).filter(|kind| kind != SIGNED))
}
