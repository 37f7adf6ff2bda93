//! What is attached to an image: read strictly, and bound to what it is attached to.

use super::*;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn blob(media: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// A manifest with these layers, attached to a digest.
fn attach(layers: &[Value], subject: Option<&[u8]>) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": blob("application/vnd.oci.empty.v1+json", b"{}"), "layers": layers,
    });
    if let Some(subject) = subject {
        manifest["subject"] = blob(MANIFEST_TYPE, subject);
    }
    manifest.to_string().into_bytes()
}

fn key_and_bundle(over: &[u8]) -> (Key, Vec<u8>) {
    use super::authority::{envelope, of_key, pae, statement};
    use super::signing::{How, Signer as Openssl};
    let signer = Openssl::new(How::Ed25519);
    let statement = statement(
        &Digest::of(over).hex(),
        "https://sigstore.dev/cosign/sign/v1",
    );
    let signature = signer.sign(&pae(statement.as_bytes()));
    let bundle = of_key("dsseEnvelope", envelope(statement.as_bytes(), &signature));
    let key = Key::from_pem("lab.pub", &signer.public).unwrap();
    (key, bundle.to_string().into_bytes())
}

fn one(over: Over, manifest: Vec<u8>, blobs: &[&[u8]]) -> Attachment {
    Attachment {
        over,
        how: How::Referrers,
        manifest: Bytes(manifest),
        blobs: blobs.iter().map(|bytes| Bytes(bytes.to_vec())).collect(),
    }
}

#[test]
fn an_index_speaks_for_what_it_names() {
    let index = |named: &[u8]| {
        let list = json!({
            "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [blob(MANIFEST_TYPE, named)],
        });
        list.to_string().into_bytes()
    };
    for (named, proven) in [(MANIFEST, true), (OTHER, false)] {
        let index = index(named);
        let (key, bundle) = key_and_bundle(&index);
        let manifest = attach(&[blob(BUNDLE_TYPE, &bundle)], Some(&index));
        let attachments = Attachments {
            index: Some(Bytes(index.clone())),
            found: vec![one(Over::Index, manifest, &[&bundle])],
            untaken: Vec::new(),
        };
        let against = Against {
            keys: &[&key],
            roots: &[],
        };
        let evidence = attachments.evidence(MANIFEST, None, &against);
        assert_eq!(evidence.proofs.len(), usize::from(proven), "{evidence:#?}");
        assert_eq!(evidence.index, proven.then(|| Digest::of(&index)));
        assert_eq!(
            evidence.failures.len(),
            usize::from(!proven),
            "{evidence:#?}"
        );
        // Without the index nobody says what it names.
        let without = Attachments {
            index: None,
            ..attachments
        };
        assert!(without.evidence(MANIFEST, None, &against).proofs.is_empty());
    }
}

#[test]
fn what_is_attached_elsewhere_or_not_whole_is_a_failure() {
    let (key, bundle) = key_and_bundle(MANIFEST);
    let layer = [blob(BUNDLE_TYPE, &bundle)];
    let against = Against {
        keys: &[&key],
        roots: &[],
    };
    let evidence = |found: Vec<Attachment>| {
        let attachments = Attachments {
            found,
            ..Attachments::default()
        };
        attachments.evidence(MANIFEST, None, &against)
    };
    let over = Over::Manifest;
    // Who attached it needs not say to what.
    for subject in [Some(MANIFEST), None] {
        let evidence = evidence(vec![one(over, attach(&layer, subject), &[&bundle])]);
        assert_eq!(evidence.proofs.len(), 1, "{evidence:#?}");
    }
    for (attachment, words) in [
        (
            one(over, attach(&layer, Some(OTHER)), &[&bundle]),
            "it signs",
        ),
        (
            one(over, attach(&layer, None), &[]),
            "its bytes are not there",
        ),
        (
            one(over, attach(&layer, None), &[b"x"]),
            "its bytes are not there",
        ),
        (one(over, b"{".to_vec(), &[]), "is not valid"),
    ] {
        let evidence = evidence(vec![attachment]);
        assert!(evidence.proofs.is_empty());
        assert!(
            evidence.failures[0].to_string().contains(words),
            "{evidence:#?}"
        );
    }
    // Too many of all attachments together, as of one.
    let half = vec![blob(BUNDLE_TYPE, &bundle); MAX_SIGNATURES / 2 + 1];
    let attachment = one(over, attach(&half, None), &[&bundle]);
    let all = evidence(vec![attachment.clone(), attachment]);
    assert_eq!(all.failures[0].fault, Fault::TooMany(MAX_SIGNATURES + 2));
    assert!(all.proofs.is_empty());
}

#[test]
fn of_attached_manifests_signatures_are_read_and_capped() {
    let layers = |count: usize, size: u64| {
        let mut layer = blob(BUNDLE_TYPE, b"x");
        layer["size"] = json!(size);
        attach(&vec![layer; count], None)
    };
    let most = MAX_BUNDLE as u64;
    assert_eq!(
        attached(&layers(MAX_SIGNATURES, most))
            .unwrap()
            .bundles
            .len(),
        MAX_SIGNATURES
    );
    let many = MAX_SIGNATURES + 1;
    assert_eq!(attached(&layers(many, 1)), Err(Fault::TooMany(many)));
    let large = attached(&layers(1, most + 1));
    assert!(
        matches!(large, Err(Fault::TooLarge { what: "bundle", .. })),
        "{large:?}"
    );
    // An older bundle is one, and says itself that it is not read; other layers are none.
    let old = blob("application/vnd.dev.sigstore.bundle+json;version=0.2", b"x");
    let read = attached(&attach(&[old, blob("application/spdx+json", b"x")], None)).unwrap();
    assert_eq!((read.bundles.len(), read.blobs().count()), (1, 1));
    let list = |entries: &[Value]| {
        json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).to_string()
    };
    let entry = |kind: &str| {
        let mut entry = blob(MANIFEST_TYPE, kind.as_bytes());
        if !kind.is_empty() {
            entry["artifactType"] = json!(kind);
        }
        entry
    };
    let mixed = [
        "",
        BUNDLE_TYPE,
        "application/spdx+json",
        "application/vnd.oci.empty.v1+json",
    ];
    let listed = referrers(list(&mixed.map(entry)).as_bytes()).unwrap();
    assert_eq!(listed.len(), 3);
    let other_sorts = vec![entry("application/spdx+json"); 1000];
    assert_eq!(referrers(list(&other_sorts).as_bytes()), Ok(Vec::new()));
    let many = list(&vec![entry(BUNDLE_TYPE); 10_000]);
    assert_eq!(referrers(many.as_bytes()), Err(Fault::TooMany(10_000)));
    for text in [
        "{",
        "[]",
        r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#,
    ] {
        assert!(referrers(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn all_together_have_a_bound_too() {
    let large: Vec<Value> = (0..6_u8)
        .map(|number| {
            let mut layer = blob(BUNDLE_TYPE, &[number]);
            layer["size"] = json!(MAX_BUNDLE);
            layer
        })
        .collect();
    let mut collected = Collector::default();
    let mut brought = 0;
    let manifest = attach(&large, None);
    collected
        .take(Over::Manifest, How::Tag, manifest, |_| {
            brought += 1;
            Ok::<_, ()>(Ok(Vec::new()))
        })
        .unwrap();
    let all = collected.finish(None);
    // The attached manifest counts as well.
    assert_eq!(brought, MAX_ATTACHED / MAX_BUNDLE as u64 - 1);
    assert_eq!(all.untaken.len(), 3);
    assert!(all.untaken[0].why.contains("more than 67108864 bytes"));
}
