//! `sha256:<64 hex>`: OCI image-spec, descriptor.md, "Digests". Only sha256, only lower case.

use crate::error::{Error, Kind, Result};
use sha2::Digest as _;
use std::fmt;

/// A sha256 digest. Equality is byte equality; `Display` is `sha256:<64 lower-case hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The digest of a layer's uncompressed tar stream (OCI image-spec, config.md, "Layer DiffID").
/// A type of its own, so that it is never compared with the digest of the compressed blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiffId(pub Digest);

/// A layer as the store keeps it: what it unpacks to, and the blob that this was unpacked from. Both,
/// because the one is vouched for by whoever unpacks, the other by whoever hashes the blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LayerId {
    /// The diff id.
    pub diff_id: DiffId,
    /// The digest of the blob.
    pub blob: Digest,
}

impl LayerId {
    /// The name of its folder: both in hexadecimal, joined by `.`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.diff_id.0.hex(), self.blob.hex())
    }

    /// The inverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        let (diff_id, blob) = name.split_once('.')?;
        Some(Self {
            diff_id: DiffId(Digest::from_hex(diff_id)?),
            blob: Digest::from_hex(blob)?,
        })
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Parses `sha256:<64 lower-case hex>`; anything else is `Malformed` (another algorithm:
    /// `Unsupported`).
    pub fn parse(text: &str) -> Result<Self> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(malformed(text));
        };
        if algorithm != "sha256" {
            let known = matches!(algorithm, "sha512" | "sha384" | "blake3");
            return Err(if known {
                Error::new(
                    Kind::Unsupported,
                    format!("digest algorithm {algorithm:?} is not supported"),
                )
                .hint("lazaret checks sha256 digests; ask for the image by its sha256 digest")
            } else {
                malformed(text)
            });
        }
        Self::from_hex(hex).ok_or_else(|| malformed(text))
    }

    /// Parses 64 lower-case hex digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let hex = hex.as_bytes();
        if hex.len() != 64 {
            return None;
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(out))
    }

    /// The 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        self.digits().into_iter().map(char::from).collect()
    }

    /// One by one through a formatter they cost microseconds, and each file of the store is named so.
    fn digits(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }

    /// The first 12 hex digits, as docker shows ids.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// The 32 raw bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest from its 32 raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

fn malformed(text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::new(Kind::Malformed, format!("{shown:?} is not a digest"))
        .hint("a digest is sha256: and 64 lower-case hex digits")
}

fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(std::str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! serde_as_text {
    ($type:ty, $make:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(
                &self,
                s: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                d: D,
            ) -> std::result::Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                Digest::parse(&text)
                    .map($make)
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}
serde_as_text!(Digest, |d| d);
serde_as_text!(DiffId, DiffId);

/// Streaming sha256.
#[derive(Debug, Default, Clone)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_empty_string_has_its_well_known_digest() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn anything_but_lower_case_sha256_is_refused() {
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:00",
            ":",
            "md5:00",
            &EMPTY.to_uppercase(),
            &EMPTY.replace("e3", "E3"),
            &format!("{EMPTY}0"),
            &format!(" {EMPTY}"),
        ] {
            assert_eq!(
                Digest::parse(bad).unwrap_err().kind,
                Kind::Malformed,
                "{bad}"
            );
        }
        assert_eq!(
            Digest::parse("sha512:00").unwrap_err().kind,
            Kind::Unsupported
        );
    }
}
