//! Manifests and indexes: no panic, limits kept, and no document that is both.
#![no_main]

use lazaret::image::{Digest, Index, Manifest, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let manifest = Manifest::parse(bytes, None);
    let index = Index::parse(bytes, None);
    assert!(manifest.is_err() || index.is_err(), "read as two images");
    if let Ok(manifest) = manifest {
        assert_eq!(manifest.digest, Digest::of(bytes));
        assert!(manifest.layers.len() <= 512);
    }
    if let Ok(index) = index {
        assert!(index.manifests.len() <= 64);
        // Which entry is chosen may be an error, never a panic.
        drop(index.select(&Platform::native()));
    }
    drop(Index::parse_layout(bytes));
});
