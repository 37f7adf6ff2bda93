//! Keys: PEM and DER. Never a panic; a key that is read is written in one way only.
#![no_main]

use lazaret::image::Digest;
use lazaret::trust::{Key, KeyKind, MAX_PEM};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = Key::from_pem("k", bytes) {
        assert!(bytes.len() <= MAX_PEM);
        if let KeyKind::Rsa(bits) = key.kind {
            assert!((2048..=8192).contains(&bits));
        }
    }
    if let Ok(key) = Key::from_der("k", bytes) {
        assert_eq!(key.fingerprint, Digest::of(bytes));
        // Not one byte more or less.
        let longer = [bytes, &[0]].concat();
        assert!(Key::from_der("k", &longer).is_err());
        assert!(Key::from_der("k", &bytes[..bytes.len() - 1]).is_err());
    }
});
