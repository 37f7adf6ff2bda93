//! What a signature proves.

use super::Failure;
use crate::image::Digest;
use std::fmt;

/// A signature that is one: who made it, over what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Proof {
    /// Who made it.
    pub signer: Signer,
    /// In which form.
    pub form: Form,
    /// The manifest or index that it is about.
    pub about: Digest,
    /// The repository that it names, where its form does; it was compared with the one asked for
    /// if that is known.
    pub reference: Option<String>,
    /// When, in seconds since 1970, as a timestamp authority or the log vouches; keys vouch for no
    /// time.
    pub when: Option<i64>,
    /// The predicate type, where it is an attestation and no plain signature.
    pub attests: Option<String>,
}

/// Who made a signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signer {
    /// Whoever has this key.
    Key {
        /// sha256 of its SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
        fingerprint: Digest,
        /// The file that it was read from.
        name: String,
    },
    /// Whom an identity provider calls so.
    Identity {
        /// The provider: `https://accounts.example`.
        issuer: String,
        /// The name.
        identity: San,
        /// The digest of the trust root that vouches for both.
        root: Digest,
    },
}

/// A certificate's subject alternative name (RFC 5280, section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum San {
    /// An e-mail address: a person.
    Email(String),
    /// A URI: a workload.
    Uri(String),
}

impl San {
    /// The name, whatever its kind.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email(text) | Self::Uri(text) => text,
        }
    }
}

/// The form of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// cosign's payload and signature.
    SimpleSigning,
    /// A sigstore bundle over the manifest itself.
    BundleMessage,
    /// A sigstore bundle over an in-toto statement that names it.
    BundleStatement,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SimpleSigning => "simple signing",
            Self::BundleMessage => "bundle over the manifest",
            Self::BundleStatement => "bundle over a statement",
        })
    }
}

/// Everything that is known of who signed an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// The index that the manifest was taken out of, where there is one: a signature over it is over
    /// all that it names. Whoever fills this in has checked that it names the manifest.
    pub index: Option<Digest>,
    /// What is proven.
    pub proofs: Vec<Proof>,
    /// What was found and proves nothing.
    pub failures: Vec<Failure>,
}

impl Evidence {
    /// Adds what is known of another document of the same image: of its index.
    pub fn extend(&mut self, other: Self) {
        self.index = self.index.or(other.index);
        self.proofs.extend(other.proofs);
        self.failures.extend(other.failures);
    }
}
