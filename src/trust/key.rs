//! Public keys: PEM to a key of a known kind, and signatures by it.
//!
//! Verification is aws-lc's, by `aws-lc-rs`: it is in the binary for TLS already and knows all four
//! kinds. What stands around a key and an ECDSA signature is decoded by `der` and `spki`, which take
//! DER alone (ITU-T X.690, section 10) and not the BER that C libraries forgive.

use super::Fault;
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use aws_lc_rs::signature::{self as algorithms, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use spki::der::asn1::UintRef;
use spki::der::{Decode, Encode, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use std::cell::RefCell;
use std::fmt;

/// The largest key file, in bytes: RSA of 8192 bits has some 1,500.
pub const MAX_PEM: usize = 16 << 10;

/// The longest signature, in bytes: RSA of 8192 bits.
pub(super) const MAX_SIGNATURE: usize = 1024;

/// RSA keys of fewer bits are factored (NIST SP 800-57 part 1, table 2: 2048 bits are 112).
const MIN_RSA_BITS: usize = 2048;
/// aws-lc's own bound.
const MAX_RSA_BITS: usize = 8192;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What sort of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over NIST P-256 with SHA-256.
    EcdsaP256,
    /// ECDSA over NIST P-384 with SHA-384, or SHA-256 as cosign makes it.
    EcdsaP384,
    /// Ed25519 (RFC 8032), over the message itself.
    Ed25519,
    /// RSA of so many bits: PKCS#1 v1.5 or PSS, with SHA-256, SHA-384 or SHA-512.
    Rsa(usize),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ecdsa-p256"),
            Self::EcdsaP384 => f.write_str("ecdsa-p384"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa-{bits}"),
        }
    }
}

impl KeyKind {
    /// How signatures of such keys are made, and over which digest of the message; `None`: over the
    /// message itself.
    fn algorithms(self) -> &'static [(&'static dyn VerificationAlgorithm, Over)] {
        match self {
            Self::EcdsaP256 => &[(&algorithms::ECDSA_P256_SHA256_ASN1, Some(&SHA256))],
            Self::EcdsaP384 => &[
                (&algorithms::ECDSA_P384_SHA384_ASN1, Some(&SHA384)),
                (&algorithms::ECDSA_P384_SHA256_ASN1, Some(&SHA256)),
            ],
            Self::Ed25519 => &[(&algorithms::ED25519, None)],
            Self::Rsa(_) => &[
                (&algorithms::RSA_PKCS1_2048_8192_SHA256, Some(&SHA256)),
                (&algorithms::RSA_PKCS1_2048_8192_SHA384, Some(&SHA384)),
                (&algorithms::RSA_PKCS1_2048_8192_SHA512, Some(&SHA512)),
                (&algorithms::RSA_PSS_2048_8192_SHA256, Some(&SHA256)),
                (&algorithms::RSA_PSS_2048_8192_SHA384, Some(&SHA384)),
                (&algorithms::RSA_PSS_2048_8192_SHA512, Some(&SHA512)),
            ],
        }
    }
}

/// A digest that a signature is over.
type Over = Option<&'static digest::Algorithm>;

/// A message with its digests, each made once and when it is needed: a stranger chooses how long it
/// is, and it is held against every key in every way.
pub(super) struct Message<'m> {
    bytes: &'m [u8],
    digests: RefCell<Vec<digest::Digest>>,
}

impl<'m> Message<'m> {
    pub(super) fn new(bytes: &'m [u8]) -> Self {
        let digests = RefCell::default();
        Self { bytes, digests }
    }

    fn digest(&self, algorithm: &'static digest::Algorithm) -> digest::Digest {
        let mut digests = self.digests.borrow_mut();
        let known = digests.iter().find(|one| one.algorithm() == algorithm);
        if let Some(known) = known {
            return *known;
        }
        let made = digest::digest(algorithm, self.bytes);
        digests.push(made);
        made
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it is called: its file.
    pub name: String,
    /// What sort.
    pub kind: KeyKind,
    /// sha256 of its SubjectPublicKeyInfo.
    pub fingerprint: Digest,
    /// The key alone: a point, 32 bytes, or an RSAPublicKey.
    raw: Vec<u8>,
}

impl Key {
    /// Reads a key file: one PEM block `PUBLIC KEY` (RFC 7468, section 13) and nothing else.
    ///
    /// # Errors
    /// `Limit`: a file that is larger than [`MAX_PEM`]; `Malformed`: it is no such file, or what is
    /// in it is not DER; `Unsupported`: a kind of key that is not taken, weak RSA among them.
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self> {
        let der = from_pem(name, pem)?;
        Self::from_der(name, &der)
    }

    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// As [`Key::from_pem`].
    pub fn from_der(name: &str, der: &[u8]) -> Result<Self> {
        let malformed = |why: String| Error::new(Kind::Malformed, format!("key {name}: {why}"));
        let spki = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|e| malformed(format!("it is not a public key in DER: {e}")))?;
        // What is not written back as it was read could be written in two ways.
        let again = spki
            .to_der()
            .map_err(|e| malformed(format!("it is not a public key in DER: {e}")))?;
        if again != der {
            return Err(malformed("it is not a public key in DER".to_owned()));
        }
        let raw = spki
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| malformed("its bits are not whole bytes".to_owned()))?;
        let kind = kind_of(name, &spki, raw)?;
        let usable = kind.algorithms().first().is_some_and(|(algorithm, _)| {
            let key = UnparsedPublicKey::new(*algorithm, raw);
            key.parse().is_ok()
        });
        if !usable {
            return Err(malformed(format!("it is no {kind} key")));
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            fingerprint: Digest::of(der),
            raw: raw.to_vec(),
        })
    }

    /// The key file of a SubjectPublicKeyInfo, in lines of 64 characters (RFC 7468, section 2).
    pub(super) fn pem_of(der: &[u8]) -> String {
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for (at, c) in STANDARD.encode(der).chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem + "\n-----END PUBLIC KEY-----\n"
    }

    /// Whether this key made `signature` over `message`.
    pub(super) fn made(&self, message: &Message<'_>, signature: &[u8]) -> bool {
        self.kind.algorithms().iter().any(|(algorithm, over)| {
            let key = UnparsedPublicKey::new(*algorithm, &self.raw);
            let verified = match over {
                Some(over) => key.verify_digest(&message.digest(over), signature),
                None => key.verify(message.bytes, signature),
            };
            verified.is_ok()
        })
    }
}

/// The key among `keys` that made a signature.
///
/// # Errors
/// [`Fault::NoKey`], [`Fault::TooLarge`], [`Fault::Malleable`], [`Fault::WrongKey`].
pub(super) fn maker<'k>(
    keys: &[&'k Key],
    message: &[u8],
    signature: &[u8],
) -> std::result::Result<&'k Key, Fault> {
    if keys.is_empty() {
        return Err(Fault::NoKey);
    }
    fits(signature)?;
    let message = Message::new(message);
    let maker = keys.iter().find(|key| match key.kind {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => {
            is_ecdsa_der(signature) && key.made(&message, signature)
        }
        KeyKind::Ed25519 | KeyKind::Rsa(_) => key.made(&message, signature),
    });
    if let Some(key) = maker {
        return Ok(key);
    }
    let mut kinds = keys.iter().map(|key| key.kind);
    let ecdsa = kinds.any(|kind| matches!(kind, KeyKind::EcdsaP256 | KeyKind::EcdsaP384));
    if ecdsa && looks_like_ecdsa(signature) && !is_ecdsa_der(signature) {
        return Err(Fault::Malleable);
    }
    Err(Fault::WrongKey(
        keys.iter().map(|key| key.name.clone()).collect(),
    ))
}

fn fits(signature: &[u8]) -> std::result::Result<(), Fault> {
    match signature.len() {
        0..=MAX_SIGNATURE => Ok(()),
        bytes => Err(Fault::TooLarge {
            what: "signature",
            bytes,
        }),
    }
}

/// Holds a signature by whatever key against the rules of its spelling.
///
/// # Errors
/// [`Fault::TooLarge`], [`Fault::Malleable`].
pub(super) fn well_formed(signature: &[u8]) -> std::result::Result<(), Fault> {
    fits(signature)?;
    match looks_like_ecdsa(signature) && !is_ecdsa_der(signature) {
        true => Err(Fault::Malleable),
        false => Ok(()),
    }
}

/// Whether a signature begins as a SEQUENCE and is as long as neither Ed25519's nor RSA's are.
fn looks_like_ecdsa(signature: &[u8]) -> bool {
    signature.first() == Some(&0x30) && signature.len() < MIN_RSA_BITS / 8 && signature.len() != 64
}

/// Whether a signature is `ECDSA-Sig-Value` (RFC 3279, section 2.2.3) in DER, and no byte more.
fn is_ecdsa_der(signature: &[u8]) -> bool {
    let read = || -> spki::der::Result<()> {
        let mut reader = SliceReader::new(signature)?;
        reader.sequence(|numbers| {
            UintRef::decode(numbers)?;
            UintRef::decode(numbers)
        })?;
        reader.finish(())
    };
    read().is_ok()
}

fn kind_of(name: &str, spki: &SubjectPublicKeyInfoRef<'_>, raw: &[u8]) -> Result<KeyKind> {
    let unsupported = |why: String| {
        Error::new(Kind::Unsupported, format!("key {name}: {why}"))
            .hint("keys are ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits")
    };
    let malformed = |why: &str| Error::new(Kind::Malformed, format!("key {name}: {why}"));
    let algorithm = &spki.algorithm;
    match algorithm.oid {
        EC_PUBLIC_KEY => {
            let curve = algorithm
                .parameters_oid()
                .map_err(|_| malformed("it names no curve"))?;
            let (kind, size) = match curve {
                P256 => (KeyKind::EcdsaP256, 65),
                P384 => (KeyKind::EcdsaP384, 97),
                other => return Err(unsupported(format!("it is of the curve {other}"))),
            };
            // A compressed point is the same key in other bytes, and so another fingerprint.
            match raw.len() == size && raw.first() == Some(&4) {
                true => Ok(kind),
                false => Err(malformed("its point is not an uncompressed one")),
            }
        }
        ED25519 if algorithm.parameters.is_some() => {
            Err(malformed("Ed25519 has no parameters (RFC 8410, section 3)"))
        }
        ED25519 if raw.len() != 32 => Err(malformed("an Ed25519 key has 32 bytes")),
        ED25519 => Ok(KeyKind::Ed25519),
        RSA => {
            let null = |any: spki::der::asn1::AnyRef<'_>| any == spki::der::asn1::AnyRef::NULL;
            if !algorithm.parameters.is_some_and(null) {
                return Err(malformed("RSA has NULL as parameters (RFC 3279, 2.3.1)"));
            }
            let bits = rsa_bits(raw).ok_or_else(|| malformed("it is no RSAPublicKey in DER"))?;
            match bits {
                0..MIN_RSA_BITS => Err(unsupported(format!(
                    "RSA of {bits} bits can be forged: {MIN_RSA_BITS} are the least"
                ))),
                MIN_RSA_BITS..=MAX_RSA_BITS => Ok(KeyKind::Rsa(bits)),
                _ => Err(unsupported(format!("RSA of {bits} bits"))),
            }
        }
        other => Err(unsupported(format!("its algorithm is {other}"))),
    }
}

/// The bits of the modulus of an RSAPublicKey (RFC 8017, appendix A.1.1).
fn rsa_bits(raw: &[u8]) -> Option<usize> {
    let read = || -> spki::der::Result<usize> {
        let mut reader = SliceReader::new(raw)?;
        let bits = reader.sequence(|numbers| {
            let modulus = UintRef::decode(numbers)?;
            UintRef::decode(numbers)?;
            let bytes = modulus.as_bytes();
            let unused = bytes.first().map_or(0, |byte| byte.leading_zeros());
            Ok((bytes.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or(0)))
        })?;
        reader.finish(bits)
    };
    read().ok()
}

/// The bytes in a PEM block of a public key.
fn from_pem(name: &str, pem: &[u8]) -> Result<Vec<u8>> {
    const HINT: &str = "openssl pkey -in key.pem -pubout -out key.pub writes one";
    let malformed =
        |why: &str| Error::new(Kind::Malformed, format!("key {name}: {why}")).hint(HINT);
    if pem.len() > MAX_PEM {
        let cause = format!("key {name}: {} bytes, more than {MAX_PEM}", pem.len());
        return Err(Error::new(Kind::Limit, cause));
    }
    let text = std::str::from_utf8(pem).map_err(|_| malformed("it is no PEM text"))?;
    let text = text.trim_ascii();
    if text.contains("PRIVATE KEY-----") {
        return Err(Error::new(
            Kind::Malformed,
            format!("key {name}: a private key stands where a public one belongs"),
        )
        .hint("put it away: openssl pkey -in key.pem -pubout -out key.pub writes the public one"));
    }
    let inner = text
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
        .ok_or_else(|| {
            let first = text.lines().next().unwrap_or_default();
            let label = first.strip_prefix("-----BEGIN ");
            match label.and_then(|label| label.strip_suffix("-----")) {
                Some("PUBLIC KEY") | None => {
                    malformed("it is not one PEM block -----BEGIN PUBLIC KEY-----")
                }
                Some(label) => malformed(&format!(
                    "it is a {}, not a PUBLIC KEY",
                    crate::image::quote::plain(label)
                )),
            }
        })?;
    if inner.contains("-----") {
        return Err(malformed("it is more than one PEM block"));
    }
    let base64: String = inner.split_ascii_whitespace().collect();
    // Strict: no other bits than the bytes have, and padding where it belongs.
    STANDARD
        .decode(base64)
        .map_err(|_| malformed("what stands in it is not base64"))
}
