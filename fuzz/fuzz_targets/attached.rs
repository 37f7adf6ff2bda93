//! What is attached to an image, of strangers: manifests, lists of referrers, and what of them is
//! carried elsewhere. However many there are, the bounds hold; what is carried is what came.
#![no_main]

use lazaret::image::Digest;
use lazaret::trust::{
    Attachment, Attachments, Bytes, Carried, EMPTY_CONFIG, How, MAX_BUNDLE, MAX_PAYLOAD, MAX_SIGNATURES,
    Over, There, attached, list_with, parts, referrers, there,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], Vec<&[u8]>, u8)| {
    let (manifest, list, blobs, how) = input;
    if let Ok(attached) = attached(manifest) {
        assert!(attached.blobs().count() <= MAX_SIGNATURES);
        assert!(attached.signatures.iter().all(|one| one.payload.size <= MAX_PAYLOAD as u64));
        assert!(attached.bundles.iter().all(|one| one.size <= MAX_BUNDLE as u64));
        // Whoever reads what is signed can also say what it is made of, or that it cannot.
        if let Ok(parts) = parts(manifest) {
            assert_eq!(parts.subject, attached.subject);
            assert!(parts.layers.len() >= attached.blobs().count());
            assert_eq!(there(manifest, &parts), There::Covers);
        }
    }
    let listed = referrers(list);
    if let Ok(listed) = &listed {
        assert!(listed.len() <= MAX_SIGNATURES);
    }
    let bytes = |bytes: &[u8]| Bytes(bytes.to_vec());
    let one = Attachment {
        over: Over::Manifest,
        how: [How::Tag, How::Referrers, How::Fallback, How::Layout][usize::from(how % 4)],
        manifest: bytes(manifest),
        blobs: blobs.iter().map(|blob| bytes(blob)).collect(),
    };
    let subject = Digest::of(list);
    let all = Attachments {
        index: None,
        found: vec![one.clone(), one],
        untaken: Vec::new(),
    };
    let (whole, _) = all.carried(Over::Manifest, &subject);
    assert!(whole.len() <= 1, "each once");
    for carried in &whole {
        assert_eq!(carried.manifest, manifest);
        for (named, bytes) in &carried.blobs {
            assert_eq!(Digest::of(bytes), named.digest);
            assert!(blobs.contains(bytes) || *bytes == EMPTY_CONFIG);
        }
    }
    let new: Vec<&Carried<'_>> = whole.iter().collect();
    // A list that is extended is read again, and then has everything.
    if let Ok(Some(longer)) = list_with(Some(list), &new) {
        assert!(referrers(&longer).is_ok() && !new.is_empty());
        assert_eq!(list_with(Some(&longer), &new), Ok(None));
    }
});
