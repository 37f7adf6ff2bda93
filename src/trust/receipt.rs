//! Receipts: the report of a run as an in-toto statement (in-toto/attestation, spec/v1) in a DSSE
//! envelope (secure-systems-lab/dsse, protocol.md), signed by Ed25519.
//!
//! What is read here is what [`seal`] writes, and no freedom that the specifications leave is taken:
//! one signature, base64 of the standard alphabet with its padding, no member that nobody signed.

use super::signing::SigningKey;
use super::statement::{PAYLOAD_TYPE, V1};
use super::{Fault, Key, KeyKind, key};
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use crate::image::json::{self, Document};
use crate::image::quote::quoted;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What a receipt says of its subject: a report, in the form of `docs/report.schema.json`, whose
/// `$id` this is.
pub const REPORT_TYPE: &str = "urn:lazaret:report:1";

/// The form of the report.
const SCHEMA: u32 = 1;

/// The largest receipt, in bytes: a report holds the command line, which the kernel bounds to 6 MiB.
pub const MAX_RECEIPT: usize = 16 << 20;

/// The longest signature of Ed25519 in bytes, which is also the shortest.
const SIGNATURE: usize = 64;

/// What a report is called as a subject, where there is no image and no program of a known digest.
const REPORT: &str = "report";

const ENVELOPE: Document = Document {
    what: "receipt",
    max_bytes: MAX_RECEIPT as u64,
    names: &["payloadType", "payload", "signatures", "keyid", "sig"],
    objects: &[],
    list: false,
    free: &[],
};

const STATEMENT: Document = Document {
    what: "receipt's statement",
    max_bytes: MAX_RECEIPT as u64,
    names: &[
        "_type",
        "subject",
        "name",
        "digest",
        "sha256",
        "predicateType",
        "predicate",
    ],
    objects: &["digest", "predicate"],
    list: false,
    free: &["predicate"],
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    // Read once its type is known.
    #[serde(rename = "predicate")]
    _predicate: serde::de::IgnoredAny,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Sha256,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sha256 {
    sha256: String,
}

#[derive(Deserialize)]
struct Predicate {
    predicate: Told,
}

/// A receipt that a key has signed.
#[derive(Debug)]
pub struct Receipt<'k> {
    /// Whose key.
    pub key: &'k Key,
    /// What it is about: the image, the program of a tool that was named by its digest, else the
    /// report itself.
    pub subject: (String, Digest),
    /// What the report says. Strings are whatever the key's holder signed.
    pub told: Told,
}

/// What is read of a report; its form is `docs/report.schema.json`'s, and it may hold more.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    schema: u32,
    /// The version that wrote it.
    pub lazaret: String,
    /// `run` or `tool`.
    pub verb: String,
    /// How it ended.
    #[serde(flatten)]
    pub end: ToldEnd,
    /// `None`: no image was known by the end, or there was none.
    pub image: Option<ToldImage>,
    /// A tool's.
    pub program: Option<ToldProgram>,
    /// The plan's digest.
    pub plan: Option<String>,
    /// The policy that decided.
    pub policy: Option<ToldPolicy>,
    grants: Option<Vec<Grant>>,
    times: Times,
}

/// How a run ended, as the report says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToldEnd {
    /// `exited`, `signal`, `denied`, ...
    pub ended: String,
    /// lazaret's own exit code.
    pub exit_code: u8,
    /// The command's.
    pub code: Option<u8>,
    /// What ended it.
    pub signal: Option<u8>,
    /// lazaret's failure.
    pub error: Option<ToldError>,
}

/// A failure of lazaret's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToldError {
    /// What failed.
    pub cause: String,
}

/// An image as the report names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToldImage {
    /// As it was asked for, written out in full.
    pub asked: String,
    /// As policy calls it.
    pub canonical: String,
    /// The manifest's digest.
    pub manifest: String,
    /// The config's.
    pub config: String,
}

/// A tool's program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToldProgram {
    /// What was executed.
    pub path: String,
    /// What its file was held to be.
    pub sha256: Option<String>,
}

/// The policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToldPolicy {
    /// Over what its rules say.
    pub digest: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Grant {
    what: String,
    #[serde(default)]
    value: serde_json::Value,
}

#[derive(Debug, Clone, Deserialize)]
struct Times {
    started: String,
    wall_us: u64,
}

impl Told {
    /// When it began, RFC 3339.
    pub fn started(&self) -> &str {
        &self.times.started
    }

    /// How long it took, in microseconds.
    pub fn wall_us(&self) -> u64 {
        self.times.wall_us
    }

    /// The command line that was granted, if the run came that far.
    pub fn command(&self) -> Option<Vec<&str>> {
        let mut grants = self.grants.iter().flatten();
        let argv = grants
            .find(|grant| grant.what == "argv")?
            .value
            .as_array()?;
        Some(argv.iter().filter_map(serde_json::Value::as_str).collect())
    }

    /// The one subject that its statement has.
    fn subject(&self) -> Option<(&str, &str)> {
        if let Some(image) = &self.image {
            return Some((&image.canonical, &image.manifest));
        }
        let program = self.program.as_ref()?;
        Some((&program.path, program.sha256.as_deref()?))
    }
}

/// What DSSE signs: the payload bound to its type (protocol.md, "PAE").
fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// A statement up to its predicate, which stands in it as it is.
fn head(name: &str, digest: Digest) -> String {
    let subject = [Subject {
        name: name.to_owned(),
        digest: Sha256 {
            sha256: digest.hex(),
        },
    }];
    // A string and a digest always have words in JSON.
    let subject = serde_json::to_string(&subject).unwrap_or_default();
    format!(r#"{{"_type":"{V1}","subject":{subject},"predicateType":"{REPORT_TYPE}","predicate":"#)
}

/// The receipt of a run: `report` is the document as it is reported, `subject` the name and digest
/// of the image, or of a tool's program; `None`: neither was known, and it is about the report.
///
/// # Errors
/// `Limit`: it would be larger than [`MAX_RECEIPT`]; `Malformed`: [`read`] would refuse it.
pub fn seal(report: &str, subject: Option<(&str, Digest)>, key: &SigningKey) -> Result<String> {
    let (name, digest) = subject.unwrap_or((REPORT, Digest::of(report.as_bytes())));
    let payload = head(name, digest) + report + "}";
    let signature = key.sign(&pae(payload.as_bytes()))?;
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: vec![Signature {
            keyid: key.public.fingerprint.to_string(),
            sig: STANDARD.encode(signature),
        }],
    };
    let text = serde_json::to_string(&envelope)
        .map_err(|e| Error::new(Kind::Unsupported, format!("receipt as JSON: {e}")))?
        + "\n";
    // Nobody is handed what nobody could check.
    match read(text.as_bytes(), &[&key.public]) {
        Ok(_) => Ok(text),
        Err(Fault::TooLarge { bytes, .. }) => Err(Error::new(
            Kind::Limit,
            format!("a receipt of {bytes} bytes, more than {MAX_RECEIPT}"),
        )),
        Err(fault) => Err(Error::new(Kind::Malformed, format!("the receipt: {fault}"))),
    }
}

/// Reads a receipt that one of `keys` has signed.
///
/// # Errors
/// Every [`Fault`] that a receipt can have: its size and form, its type, its signature, and what it
/// says of itself in two places.
pub fn read<'k>(bytes: &[u8], keys: &[&'k Key]) -> std::result::Result<Receipt<'k>, Fault> {
    if bytes.len() > MAX_RECEIPT {
        return Err(Fault::TooLarge {
            what: "receipt",
            bytes: bytes.len(),
        });
    }
    let gated = json::gate(bytes, &ENVELOPE).map_err(|e| Fault::of(&e))?;
    let envelope: Envelope = gated.read().map_err(|e| Fault::of(&e))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Fault::Unsupported(format!(
            "an envelope of {}, not of {PAYLOAD_TYPE}",
            quoted(&envelope.payload_type)
        )));
    }
    let [signature] = envelope.signatures.as_slice() else {
        return Err(Fault::Malformed(format!(
            "{} signatures: a receipt has one",
            envelope.signatures.len()
        )));
    };
    let payload = base64(&envelope.payload, "payload")?;
    let sig = base64(&signature.sig, "signature")?;
    if sig.len() != SIGNATURE {
        return Err(Fault::Malformed(format!(
            "a signature of {} bytes: Ed25519's have {SIGNATURE}",
            sig.len()
        )));
    }
    let ed25519: Vec<&Key> = keys
        .iter()
        .copied()
        .filter(|key| key.kind == KeyKind::Ed25519)
        .collect();
    let key = key::maker(&ed25519, &pae(&payload), &sig)?;
    if signature.keyid != key.fingerprint.to_string() {
        return Err(Fault::Malformed(format!(
            "its keyid is {}, and the key that made it is {}",
            quoted(&signature.keyid),
            key.fingerprint
        )));
    }
    let (subject, told) = statement(&payload)?;
    Ok(Receipt { key, subject, told })
}

fn base64(text: &str, what: &str) -> std::result::Result<Vec<u8>, Fault> {
    STANDARD.decode(text).map_err(|_| {
        Fault::Malformed(format!(
            "its {what} is not base64 of the standard alphabet, padded"
        ))
    })
}

/// What a statement is about, and the report in it.
fn statement(payload: &[u8]) -> std::result::Result<((String, Digest), Told), Fault> {
    let gated = json::gate(payload, &STATEMENT).map_err(|e| Fault::of(&e))?;
    let statement: Statement = gated.read().map_err(|e| Fault::of(&e))?;
    if statement.kind != V1 {
        return Err(Fault::Unsupported(format!(
            "a statement of type {}, not {V1}",
            quoted(&statement.kind)
        )));
    }
    if statement.predicate_type != REPORT_TYPE {
        return Err(Fault::Unsupported(format!(
            "a statement of {}, not of {REPORT_TYPE}",
            quoted(&statement.predicate_type)
        )));
    }
    let Predicate { predicate: told } = gated.read().map_err(|e| Fault::of(&e))?;
    if told.schema != SCHEMA {
        return Err(Fault::Unsupported(format!(
            "a report of form {}: those of form {SCHEMA} are read",
            told.schema
        )));
    }
    let [Subject { name, digest }] = statement.subject.as_slice() else {
        return Err(Fault::Malformed(format!(
            "a statement about {} subjects: a receipt is about one",
            statement.subject.len()
        )));
    };
    let digest = Digest::from_hex(&digest.sha256)
        .ok_or_else(|| Fault::Malformed(format!("{} is no sha256", quoted(&digest.sha256))))?;
    let agrees = match told.subject() {
        Some((of, is)) => of == name && is == digest.to_string(),
        None => name == REPORT && is_of_report(payload, name, digest),
    };
    match agrees {
        true => Ok(((name.clone(), digest), told)),
        false => Err(Fault::Malformed(
            "what it is about and what its report says are two things".to_owned(),
        )),
    }
}

/// Whether the report that stands in a statement has this digest.
fn is_of_report(payload: &[u8], name: &str, digest: Digest) -> bool {
    let report = payload
        .strip_prefix(head(name, digest).as_bytes())
        .and_then(|rest| rest.strip_suffix(b"}"));
    report.is_some_and(|report| Digest::of(report) == digest)
}
