//! The private key of receipts: Ed25519 in PKCS#8 (RFC 8410, section 7), as openssl has it.
//!
//! What holds a private key is wiped when it goes: the process that reads it also starts cells.

use super::Key;
use crate::error::{Error, Kind, Result};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The largest private key file, in bytes: Ed25519 has some 120, with its public half 180.
pub const MAX_PRIVATE_PEM: usize = 1 << 10;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    /// Its public half.
    pub public: Key,
    /// The public half as a key file.
    pub public_pem: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public.fingerprint)
    }
}

impl SigningKey {
    /// Reads a key file: one PEM block `PRIVATE KEY` (RFC 7468, section 10) of an Ed25519 key.
    /// `name`: what errors call it, and the public half.
    ///
    /// # Errors
    /// `Malformed`: it is no such file.
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self> {
        let malformed = |why: &str| {
            Error::new(Kind::Malformed, format!("key {name}: {why}"))
                .hint("openssl genpkey -algorithm ed25519 writes such a key")
        };
        let text = std::str::from_utf8(pem).map_err(|_| malformed("it is no PEM text"))?;
        let inner = text
            .trim_ascii()
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END))
            .filter(|inner| !inner.contains("-----"))
            .ok_or_else(|| malformed(&format!("it is not one PEM block {BEGIN}")))?;
        // As long as can be from the beginning: what a growing buffer leaves behind is not wiped.
        let mut base64 = Zeroizing::new(String::with_capacity(inner.len()));
        base64.extend(inner.split_ascii_whitespace());
        let mut der = Zeroizing::new(vec![0; base64.len()]);
        let length = STANDARD
            .decode_slice(base64.as_bytes(), &mut der)
            .map_err(|_| malformed("what stands in it is not base64"))?;
        let der = der.get(..length).unwrap_or_default();
        let pair = Ed25519KeyPair::from_pkcs8(der)
            .map_err(|_| malformed("it is no Ed25519 key in PKCS#8"))?;
        let spki = pair
            .public_key()
            .as_der()
            .map_err(|_| malformed("its public half cannot be written"))?;
        Ok(Self {
            public: Key::from_der(name, spki.as_ref())?,
            public_pem: Key::pem_of(spki.as_ref()),
            pair,
        })
    }

    /// Signs a message: 64 bytes, always the same for the same message (RFC 8032).
    ///
    /// # Errors
    /// `Unsupported`: the library would not.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.pair.try_sign(message);
        let signature =
            signature.map_err(|_| Error::new(Kind::Unsupported, "Ed25519 would not sign"))?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A new private key as a key file.
///
/// # Errors
/// `Host`: there is no randomness.
pub fn new_private_pem() -> Result<Zeroizing<String>> {
    let failed = |_| Error::new(Kind::Host, "no Ed25519 key could be made");
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(failed)?;
    let mut base64 = Zeroizing::new([0; 256]);
    let length = STANDARD
        .encode_slice(document.as_ref(), &mut base64[..])
        .map_err(|_| Error::new(Kind::Limit, "an Ed25519 key of more than 192 bytes"))?;
    let mut pem = Zeroizing::new(String::with_capacity(MAX_PRIVATE_PEM));
    pem.push_str(BEGIN);
    for (at, byte) in base64.iter().take(length).enumerate() {
        if at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(char::from(*byte));
    }
    pem.push('\n');
    pem.push_str(END);
    pem.push('\n');
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let pem = new_private_pem().unwrap();
        let key = SigningKey::from_pem("k", pem.as_bytes()).unwrap();
        let again = SigningKey::from_pem("k", pem.as_bytes()).unwrap();
        assert_eq!(key.public.fingerprint, again.public.fingerprint);
        assert_eq!(key.sign(b"m").unwrap(), again.sign(b"m").unwrap());
        let public = Key::from_pem("k", key.public_pem.as_bytes()).unwrap();
        assert_eq!(public.fingerprint, key.public.fingerprint);
        let message = super::super::key::Message::new(b"m");
        assert!(public.made(&message, &key.sign(b"m").unwrap()));
        let other = SigningKey::from_pem("k", new_private_pem().unwrap().as_bytes()).unwrap();
        assert_ne!(other.public.fingerprint, key.public.fingerprint);
        assert!(!format!("{key:?}").contains("pair"), "{key:?}");
    }

    #[test]
    fn what_is_no_private_key_of_ours_is_refused() {
        let pem = new_private_pem().unwrap();
        let twice = [pem.as_bytes(), pem.as_bytes()].concat();
        let key = SigningKey::from_pem("k", pem.as_bytes()).unwrap();
        let cut = pem.replace("MC4C", "MC4D");
        let cases: [&[u8]; 6] = [
            b"",
            b"\xff",
            &twice,
            key.public_pem.as_bytes(),
            cut.as_bytes(),
            b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
        ];
        for bytes in cases {
            let error = SigningKey::from_pem("k", bytes).unwrap_err();
            assert_eq!(error.kind, Kind::Malformed, "{error}");
        }
    }
}
