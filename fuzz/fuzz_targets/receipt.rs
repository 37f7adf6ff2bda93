//! Receipts: any bytes fail in words that a terminal can bear. The bytes are an envelope, and what a
//! key has signed; what is read then is read again as it was written.
#![no_main]

use lazaret::image::Digest;
use lazaret::trust::{Key, SigningKey, new_private_pem, read_receipt, seal_receipt};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const PEM: &[u8] = include_bytes!("../seeds/key/ed25519");

/// Nobody here has its private half.
static KEY: LazyLock<Key> = LazyLock::new(|| Key::from_pem("k", PEM).expect("a key"));
static OWN: LazyLock<SigningKey> = LazyLock::new(|| {
    let pem = new_private_pem().expect("randomness");
    SigningKey::from_pem("own", pem.as_bytes()).expect("a key")
});

fuzz_target!(|bytes: &[u8]| {
    let fault = read_receipt(bytes, &[&*KEY]).expect_err("a forged signature");
    let words = fault.to_string();
    assert!(!words.chars().any(char::is_control), "{words:?}");
    let Ok(report) = std::str::from_utf8(bytes) else {
        return;
    };
    match seal_receipt(report, None, &OWN) {
        Ok(receipt) => {
            let read = read_receipt(receipt.as_bytes(), &[&OWN.public]).expect("sealed");
            assert_eq!(read.subject.1, Digest::of(bytes));
        }
        Err(error) => assert!(!error.cause.chars().any(char::is_control), "{error}"),
    }
    // As the report of an image, whatever it says of one.
    let digest = Digest::of(b"image");
    if let Ok(receipt) = seal_receipt(report, Some(("image", digest)), &OWN) {
        let read = read_receipt(receipt.as_bytes(), &[&OWN.public]).expect("sealed");
        let image = read.told.image.map(|image| image.manifest);
        let program = read.told.program.and_then(|program| program.sha256);
        assert_eq!(image.or(program), Some(digest.to_string()));
    }
});
