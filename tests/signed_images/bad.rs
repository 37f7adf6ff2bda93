//! What a registry may have that proves nothing, each in its own words.

use super::scene::{BUNDLE, SIMPLE, Scene, Way, Words as _, bundle, payload};
use super::signing::{How, Signer};
use super::support::{need, sha256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// A scene whose policy wants `signer`.
fn scene(api: bool, signer: &Signer) -> Scene {
    let scene = Scene::new(api);
    scene.key("lab.pub", signer);
    scene.demands("[\"lab.pub\"]");
    scene
}

/// It is refused in these words, before any layer is fetched, and nothing is kept.
#[track_caller]
fn refused(scene: &Scene, words: &str) {
    scene.pull().exits(125).says_in_words(words);
    let asked = scene.asked();
    for layer in &scene.layout.layers {
        assert!(
            !asked.iter().any(|path| path.contains(layer.as_str())),
            "{asked:#?}"
        );
    }
    scene.home.lazaret(["images", "-q"]).run().ok().prints("");
    assert!(!scene.home.store().join("signatures").exists());
}

#[test]
fn what_was_signed_is_not_this_image() {
    need!("userns", "landlock");
    let signer = Signer::new(How::P256);
    let other = sha256(b"another image");
    let this = scene(false, &signer);
    let digest = this.layout.manifest.clone();
    this.sign_simple(&digest, "registry.lab.example/other", &signer);
    refused(
        &this,
        "it signs \"registry.lab.example/other\", and this is",
    );
    // A payload about another image, copied to this one's tag.
    let text = payload(&other, &this.repository());
    let signature = STANDARD.encode(signer.sign(text.as_bytes()));
    this.attach_simple(&digest, &[(text, signature)]);
    refused(
        &this,
        &format!("it signs \"{other}\", and this is {digest}"),
    );
    // Another image's bundle in the place of this one's.
    let this = scene(true, &signer);
    this.attach_bundle(&bundle(&other, &signer), Some(BUNDLE));
    refused(&this, &format!("it signs \"{other}\", and this is"));
    // A list that calls another image's signature one of this one.
    let this = scene(false, &signer);
    let mut layer = this.blob(&bundle(&this.layout.manifest, &signer));
    layer["mediaType"] = json!(BUNDLE);
    this.attach(&other, layer, Some(BUNDLE));
    refused(&this, &format!("it signs \"{other}\", and this is"));
}

#[test]
fn bytes_are_what_their_descriptors_say() {
    need!("userns", "landlock");
    let signer = Signer::new(How::P256);
    let lie = |what: &str, edit: &dyn Fn(&Scene, &str)| {
        let this = scene(false, &signer);
        let bytes = bundle(&this.layout.manifest, &signer);
        let attached = this.attach_bundle(&bytes, Some(BUNDLE));
        let of = match what {
            "bundle" => sha256(&bytes),
            _ => attached,
        };
        edit(&this, &of);
        this
    };
    // Another bundle, as long as the right one.
    let this = lie("bundle", &|this, digest| {
        if let Some(bytes) = this.shelf.held().blobs.get_mut(digest) {
            bytes[20] ^= 1;
        }
    });
    refused(&this, "and the bytes are");
    let this = lie("bundle", &|this, digest| {
        if let Some(bytes) = this.shelf.held().blobs.get_mut(digest) {
            bytes.push(b' ');
        }
    });
    refused(&this, "its size is");
    let this = lie("bundle", &|this, digest| {
        this.shelf.held().blobs.remove(digest);
        this.shelf.held().has.retain(|(_, had)| had != digest);
    });
    refused(&this, "has no such thing");
    let this = lie("manifest", &|this, digest| {
        let key = ("lab/img".to_owned(), digest.to_owned());
        if let Some((_, bytes)) = this.shelf.held().manifests.get_mut(&key) {
            bytes[20] ^= 1;
        }
    });
    refused(&this, "and the bytes are");
}

#[test]
fn many_and_large_ones_are_refused_unread() {
    need!("userns", "landlock");
    let signer = Signer::new(How::P256);
    let this = scene(false, &signer);
    let digest = this.layout.manifest.clone();
    let text = payload(&digest, &this.repository());
    let good = STANDARD.encode(signer.sign(text.as_bytes()));
    // A megabyte of signature.
    this.attach_simple(&digest, &[(text.clone(), "A".repeat(1 << 20))]);
    refused(&this, "the signature has 786432 bytes, more than 1024");
    // Ten thousand, the first of which is good.
    let many = vec![(text.clone(), good.clone()); 10_000];
    this.attach_simple(&digest, &many);
    refused(
        &this,
        "10000 signatures, of which no more than 64 are looked at",
    );
    // As many as there may be.
    this.attach_simple(&digest, &many[..64]);
    this.pull().ok();
    this.home.lazaret(["rmi", &this.name]).run().ok();
    // One more, in another place.
    this.sign(Way::Fallback, &signer);
    this.pull()
        .exits(125)
        .says_in_words("65 signatures, of which no more than 64 are looked at");
    // A payload, a bundle and a manifest that are none for their size.
    let huge = |media: &str, size: u64| {
        json!({
            "mediaType": media, "digest": sha256(b"x"), "size": size,
            "annotations": {"dev.cosignproject.cosign/signature": good},
        })
    };
    for (layer, words) in [
        (
            huge(SIMPLE, 1 << 20),
            "the payload has 1048576 bytes, more than 65536",
        ),
        (
            huge(BUNDLE, 17 << 20),
            "the bundle has 17825792 bytes, more than 16777216",
        ),
    ] {
        let this = scene(true, &signer);
        this.attach(&this.layout.manifest, layer, None);
        refused(&this, words);
    }
    let this = scene(false, &signer);
    let tag = format!("{}.sig", this.layout.manifest.replace(':', "-"));
    let padded = format!("{{{}}}", " ".repeat(5 << 20));
    this.document(
        "application/vnd.oci.image.manifest.v1+json",
        padded.as_bytes(),
        Some(&tag),
    );
    refused(&this, "is larger than 4194304 bytes");
}

#[test]
fn ten_thousand_referrers_are_refused_and_those_of_other_sorts_passed_over() {
    need!("userns", "landlock");
    let signer = Signer::new(How::P256);
    for api in [false, true] {
        let this = scene(api, &signer);
        let subject = this.layout.manifest.clone();
        // Bills of materials and the like are nobody's signatures.
        for number in 0..100 {
            let layer = this.blob(format!("sbom {number}").as_bytes());
            let digest = this.attach(&subject, layer, Some("application/spdx+json"));
            let _listed = digest;
        }
        this.sign(if api { Way::Api } else { Way::Fallback }, &signer);
        if api {
            this.pull().ok();
            continue;
        }
        let media = "application/vnd.oci.image.manifest.v1+json";
        let entries: Vec<_> = (0..10_000)
            .map(
                |n: u32| json!({"mediaType": media, "digest": sha256(&n.to_le_bytes()), "size": 9}),
            )
            .collect();
        let index = "application/vnd.oci.image.index.v1+json";
        let list = json!({"schemaVersion": 2, "mediaType": index, "manifests": entries});
        let tag = subject.replace(':', "-");
        this.document(index, list.to_string().as_bytes(), Some(&tag));
        refused(
            &this,
            "10000 signatures, of which no more than 64 are looked at",
        );
    }
}
