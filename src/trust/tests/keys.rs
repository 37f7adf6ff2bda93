//! Key files.

use super::super::key::{Message, maker};
use super::signing::{Folder, How, Signer, openssl};
use super::{Digest, Fault, Key, KeyKind, Kind, MANIFEST, MAX_PEM};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn refusal(pem: &[u8]) -> crate::error::Error {
    Key::from_pem("lab.pub", pem).unwrap_err()
}

fn der_of(pem: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(pem).unwrap();
    let inner: String = text.lines().filter(|l| !l.starts_with('-')).collect();
    STANDARD.decode(inner).unwrap()
}

fn pem_of(der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes()
}

#[test]
fn every_kind_is_read_and_named() {
    for (how, kind) in [
        (How::P256, KeyKind::EcdsaP256),
        (How::P384, KeyKind::EcdsaP384),
        (How::Ed25519, KeyKind::Ed25519),
        (How::Rsa, KeyKind::Rsa(2048)),
        (How::RsaPss, KeyKind::Rsa(3072)),
    ] {
        let signer = Signer::new(how);
        let key = Key::from_pem("lab.pub", &signer.public).unwrap();
        assert_eq!(key.kind, kind);
        // What `openssl pkey -pubin -outform DER | sha256sum` says.
        assert_eq!(key.fingerprint, Digest::of(&der_of(&signer.public)));
        // Blanks around it are nothing; a byte behind it is.
        let around = [b"\n ", &signer.public[..], b"\n\n"].concat();
        assert_eq!(Key::from_pem("lab.pub", &around).unwrap(), key);
        for spoilt in [
            [&signer.public[..], b"x"].concat(),
            [&signer.public[..], &signer.public].concat(),
            [b"# a key\n", &signer.public[..]].concat(),
            signer.private.clone(),
        ] {
            assert_eq!(refusal(&spoilt).kind, Kind::Malformed);
        }
        assert!(
            refusal(&signer.private.clone())
                .cause
                .contains("private key")
        );
        // Bytes behind the DER, inside or outside of the outermost element.
        let der = der_of(&signer.public);
        assert_eq!(
            refusal(&pem_of(&[&der[..], &[0]].concat())).kind,
            Kind::Malformed
        );
        for at in 0..der.len() {
            let mut spoilt = der.clone();
            spoilt[at] ^= 0x20;
            if let Ok(other) = Key::from_pem("lab.pub", &pem_of(&spoilt)) {
                assert_ne!(other.fingerprint, key.fingerprint);
                assert!(
                    !other.made(&Message::new(MANIFEST), &signer.sign(MANIFEST)),
                    "byte {at}"
                );
                break;
            }
        }
    }
}

#[test]
fn weak_and_foreign_keys_are_refused_by_name() {
    for (kind, words) in [
        (
            "RSA -pkeyopt rsa_keygen_bits:512",
            "RSA of 512 bits can be forged",
        ),
        (
            "RSA -pkeyopt rsa_keygen_bits:1024",
            "RSA of 1024 bits can be forged",
        ),
        (
            "EC -pkeyopt ec_paramgen_curve:P-521",
            "of the curve 1.3.132.0.35",
        ),
        (
            "EC -pkeyopt ec_paramgen_curve:secp256k1",
            "of the curve 1.3.132.0.10",
        ),
        ("ED448", "its algorithm is 1.3.101.113"),
        ("X25519", "its algorithm is 1.3.101.110"),
    ] {
        let error = refusal(&Signer::of(How::Rsa, kind).public);
        assert_eq!(error.kind, Kind::Unsupported, "{kind}");
        assert!(error.cause.contains(words), "{kind}: {error}");
    }
}

#[test]
fn der_is_strict() {
    let signer = Signer::new(How::P256);
    let der = der_of(&signer.public);
    // The same length in two bytes (BER).
    assert_eq!(der[..2], [0x30, 0x59]);
    let long = [&[0x30, 0x81, 0x59], &der[2..]].concat();
    assert_eq!(refusal(&pem_of(&long)).kind, Kind::Malformed);
    // The compressed point is the same key in other bytes.
    let folder = Folder::new();
    folder.write("key.pub", &signer.public);
    openssl(
        &folder,
        "ec -pubin -in key.pub -conv_form compressed -pubout -out short.pub",
    );
    let error = refusal(&folder.read("short.pub"));
    assert!(error.cause.contains("uncompressed"), "{error}");
    // A point that is not on the curve.
    let mut off = der.clone();
    off[90] ^= 1;
    assert!(refusal(&pem_of(&off)).cause.contains("no ecdsa-p256 key"));
    // Base64 with bits that no byte has.
    let text = String::from_utf8(signer.public.clone()).unwrap();
    assert!(
        text.contains("==\n-----END"),
        "91 bytes end in two signs of padding"
    );
    let at = text.find("==\n-----END").unwrap() - 1;
    let last = text.as_bytes()[at];
    let mut spoilt = signer.public.clone();
    spoilt[at] = match last {
        b'A' => b'B',
        b'Q' => b'R',
        b'g' => b'h',
        _ => b'x',
    };
    assert!(refusal(&spoilt).cause.contains("base64"));
    // Other blocks and other files.
    for (text, words) in [
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "it is a CERTIFICATE",
        ),
        (
            "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----",
            "it is a RSA PUBLIC KEY",
        ),
        ("ssh-ed25519 AAAA ana@lab", "not one PEM block"),
        ("", "not one PEM block"),
        (
            "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----",
            "not a public key in DER",
        ),
    ] {
        let error = refusal(text.as_bytes());
        assert!(error.cause.contains(words), "{text}: {error}");
    }
    let huge = [&signer.public[..], &vec![b'\n'; MAX_PEM]].concat();
    assert_eq!(refusal(&huge).kind, Kind::Limit);
}

#[test]
fn a_long_message_is_hashed_as_often_for_many_keys_as_for_one() {
    let signer = Signer::new(How::Rsa);
    let key = Key::from_pem("lab.pub", &signer.public).unwrap();
    let mut keys = vec![&key; 64];
    let message = vec![7; 16 << 20];
    let took = |keys: &[&Key]| {
        let since = std::time::Instant::now();
        // As long as a signature of that key is.
        let outcome = maker(keys, &message, &[0x30; 256]);
        assert!(matches!(outcome, Err(Fault::WrongKey(_))), "{outcome:?}");
        since.elapsed()
    };
    let one = took(&keys[..1]);
    let all = took(&keys);
    // It would be 64 times as long, and is hardly longer.
    assert!(all < one * 12, "{one:?} for one key, {all:?} for 64");
    // What is right is found nevertheless, by the last of them too.
    let stranger = Signer::new(How::Rsa);
    let stranger = Key::from_pem("stranger.pub", &stranger.public).unwrap();
    keys = vec![&stranger; 63];
    keys.push(&key);
    let found = maker(&keys, &message, &signer.sign(&message)).unwrap();
    assert_eq!(found.name, "lab.pub");
}
