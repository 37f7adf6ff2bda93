//! Digests: one spelling each.
#![no_main]

use lazaret::image::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_bytes(*digest.bytes()), digest);
    }
});
