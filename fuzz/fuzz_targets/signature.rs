//! Simple signing: manifest, payload and signature of strangers. Nobody without the key signs
//! anything, and no number of signatures is too many to be refused.
#![no_main]

use lazaret::trust::{
    Against, Found, Key, MAX_PAYLOAD, MAX_SIGNATURES, SignatureLayer, Subject, signature_layers, verify,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const PEM: &[u8] = include_bytes!("../seeds/key/ed25519");

static KEY: LazyLock<Key> = LazyLock::new(|| Key::from_pem("k", PEM).expect("a key"));

fuzz_target!(|parts: (&[u8], &[u8], &str)| {
    let (manifest, payload, signature) = parts;
    let Ok(layers) = signature_layers(manifest) else {
        return;
    };
    assert!(layers.len() <= MAX_SIGNATURES);
    let subject = Subject {
        bytes: manifest,
        reference: None,
    };
    let against = Against {
        keys: &[&*KEY],
        roots: &[],
    };
    for layer in &layers {
        assert!(layer.payload.size <= MAX_PAYLOAD as u64);
        let own = SignatureLayer {
            signature: signature.to_owned(),
            ..layer.clone()
        };
        for layer in [layer, &own] {
            let evidence = verify(&[Found::Simple { layer, payload }], &subject, &against);
            assert!(evidence.proofs.is_empty(), "{evidence:?}");
            let words = evidence.failures[0].to_string();
            assert!(!words.chars().any(char::is_control), "{words:?}");
        }
    }
});
