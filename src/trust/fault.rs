//! Why a signature proves nothing, each with words of its own.

use super::{MAX_BUNDLE, MAX_PAYLOAD, MAX_RECEIPT, MAX_SIGNATURES};
use crate::image::Digest;
use crate::image::quote::{listed, plain, quoted};
use std::fmt;

/// A signature that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// The digest of its payload or bundle; `None`: all of them.
    pub which: Option<Digest>,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Some(which) => write!(f, "signature {}: {}", which.short(), self.fault),
            None => write!(f, "{}", self.fault),
        }
    }
}

/// Why. Text is a stranger's, and printed through [`quoted`] or [`plain`] only.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// More signatures than are looked at.
    TooMany(usize),
    /// A signature, payload or bundle larger than any honest one.
    TooLarge {
        /// What: `bundle`, `receipt`, `payload`, `signature`.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
    },
    /// Not what its form prescribes: a key twice, a field missing.
    Malformed(String),
    /// Well-formed, and not read here.
    Unsupported(String),
    /// The signature is not in DER (ITU-T X.690): the same numbers in other bytes.
    Malleable,
    /// None of these keys made it.
    WrongKey(Vec<String>),
    /// Made by a key, and the policy names identities alone.
    NoKey,
    /// Made by an identity, and the policy names keys alone.
    NoRoot,
    /// Its certificate's key did not make it.
    BadSignature,
    /// It is about another image.
    WrongDigest {
        /// The digest that it names.
        is: String,
        /// The image's.
        wanted: Digest,
    },
    /// It is about another repository.
    WrongRepository {
        /// The one that it names.
        is: String,
        /// The one that was asked for.
        wanted: String,
    },
    /// The certificate was not valid when it was signed.
    Expired(String),
    /// No authority of the trust root issued the certificate.
    Untrusted(String),
    /// The certificate was not logged (RFC 6962), or the log did not say so.
    NotLoggedCertificate(String),
    /// The certificate names nobody, or no issuer.
    NoIdentity,
    /// No entry of a transparency log.
    NoLogEntry,
    /// A log entry that is not one of a log of the trust root, or about something else.
    ForgedLogEntry(String),
    /// Nobody vouches for the time.
    NoTime,
    /// A timestamp that no authority of the trust root made over this signature.
    ForgedTime(String),
    /// The trust root itself is of no use.
    BadRoot(String),
    /// It was found where signatures are kept, and not taken from there.
    Untaken(String),
    /// Nobody has asked the image's registry for signatures yet.
    NotKept,
}

impl Fault {
    /// A document that the JSON gate or a decoder refuses.
    pub(super) fn of(error: &crate::error::Error) -> Self {
        match error.kind {
            crate::error::Kind::Unsupported => Self::Unsupported(error.cause.clone()),
            _ => Self::Malformed(error.cause.clone()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => write!(
                f,
                "{count} signatures, of which no more than {MAX_SIGNATURES} are looked at: none is"
            ),
            Self::TooLarge { what, bytes } => {
                let most = match *what {
                    "bundle" => MAX_BUNDLE,
                    "receipt" => MAX_RECEIPT,
                    "payload" => MAX_PAYLOAD,
                    _ => super::key::MAX_SIGNATURE,
                };
                write!(f, "the {what} has {bytes} bytes, more than {most}")
            }
            Self::Malformed(why) | Self::Unsupported(why) | Self::Untaken(why) => {
                f.write_str(&plain(why))
            }
            Self::NotKept => f.write_str("its registry was not asked for signatures yet"),
            Self::Malleable => f.write_str(
                "the signature is not DER: its numbers can be written in one way only, and are not",
            ),
            Self::WrongKey(names) => write!(
                f,
                "none of the keys {} made it, or what it signs was changed since",
                listed(names.iter().map(String::as_str), 5)
            ),
            Self::NoKey => f.write_str("a key made it, and the rules name no key"),
            Self::NoRoot => f.write_str("an identity made it, and the rules name no identity"),
            Self::BadSignature => f.write_str(
                "its certificate's key did not make it, or what it signs was changed since",
            ),
            Self::WrongDigest { is, wanted } => {
                write!(f, "it signs {}, and this is {wanted}", quoted(is))
            }
            Self::WrongRepository { is, wanted } => {
                write!(f, "it signs {}, and this is {}", quoted(is), quoted(wanted))
            }
            Self::Expired(why) => write!(f, "its certificate was not valid then: {}", plain(why)),
            Self::Untrusted(why) => write!(
                f,
                "no authority of the trust root issued its certificate: {}",
                plain(why)
            ),
            Self::NotLoggedCertificate(why) => write!(
                f,
                "no certificate log of the trust root vouches for its certificate: {}",
                plain(why)
            ),
            Self::NoIdentity => f.write_str("its certificate names no identity or no issuer"),
            Self::NoLogEntry => f.write_str("it comes without a proof that it is in a log"),
            Self::ForgedLogEntry(why) => write!(
                f,
                "its log entry is not one of the trust root's logs about this signature: {}",
                plain(why)
            ),
            Self::NoTime => f.write_str("nobody that is trusted vouches for when it was made"),
            Self::ForgedTime(why) => write!(
                f,
                "no timestamp authority of the trust root made its timestamp: {}",
                plain(why)
            ),
            Self::BadRoot(why) => write!(f, "the trust root is of no use: {}", plain(why)),
        }
    }
}
