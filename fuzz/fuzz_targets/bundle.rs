//! Bundles: any bytes fail in words that a terminal can bear, by key and by trust root.
#![no_main]

use lazaret::trust::{Against, Found, Key, Root, Subject, verify};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const PEM: &[u8] = include_bytes!("../seeds/key/ed25519");

static KEY: LazyLock<Key> = LazyLock::new(|| Key::from_pem("k", PEM).expect("a key"));
static ROOT: LazyLock<Root> = LazyLock::new(Root::public);

fuzz_target!(|bytes: &[u8]| {
    let subject = Subject {
        bytes: b"{}",
        reference: None,
    };
    let against = Against {
        keys: &[&*KEY],
        roots: &[&*ROOT],
    };
    let evidence = verify(&[Found::Bundle(bytes)], &subject, &against);
    assert!(evidence.proofs.is_empty(), "{evidence:?}");
    let words = evidence.failures[0].to_string();
    assert!(!words.chars().any(char::is_control), "{words:?}");
    if let Ok(root) = Root::parse("r", bytes) {
        drop(root.check());
    }
});
