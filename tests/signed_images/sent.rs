//! `lazaret push` of what is signed: signatures go behind the image, as they came, and nothing that is
//! there is lost.

use super::scene::{BUNDLE, MANIFEST, SIMPLE, Scene, Way, Words as _, bundle, payload};
use super::signing::{How, Signer};
use super::support::{Answer, Ran, Real, need, sha256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Pushes `from`'s image to where `to` looks.
fn push(from: &Scene, to: &Scene, flags: &[&str]) -> Ran {
    from.home.lazaret(["tag", &from.name, &to.name]).run().ok();
    let line = [&["push"], flags, &[to.name.as_str()]].concat();
    from.home.lazaret(line).run()
}

/// What a registry has under a tag of the image's repository.
fn tagged(scene: &Scene, suffix: &str) -> Option<Vec<u8>> {
    let tag = format!("{}{suffix}", scene.layout.manifest.replace(':', "-"));
    let held = scene.shelf.held();
    let found = held.manifests.get(&("lab/img".to_owned(), tag));
    found.map(|(_, bytes)| bytes.clone())
}

/// The entries of the list under the referrers' tag.
fn listed(scene: &Scene) -> Vec<Value> {
    let list: Value = serde_json::from_slice(&tagged(scene, "").unwrap()).unwrap();
    list["manifests"].as_array().unwrap().clone()
}

#[test]
fn signatures_go_behind_their_image_to_any_registry() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    for way in [Way::Fallback, Way::Api, Way::ApiUntyped] {
        for api in [false, true] {
            let from = Scene::pulled(way, &signer);
            let to = Scene::empty_handed(api);
            to.key("lab.pub", &signer);
            to.demands("[\"lab.pub\"]");
            let pushed = push(&from, &to, &[]).ok();
            pushed.says_in_words(match api {
                true => "Signatures: 1 among the registry's referrers",
                false => "Signatures: 1 in the list of referrers under its tag",
            });
            to.pull().ok();
            to.run().ok().prints("first");
            // The very bytes, and with the API no list of ours.
            let told = from.trust(0);
            let digest = told["places"][0]["found"][0]["manifest"].as_str();
            let digest = digest.unwrap_or_else(|| panic!("{told:#}")).to_owned();
            let key = ("lab/img".to_owned(), digest.clone());
            let (there, had) = (to.shelf.held(), from.shelf.held());
            assert_eq!(there.manifests[&key], had.manifests[&key]);
            drop((there, had));
            assert_eq!(tagged(&to, "").is_none(), api);
            if !api {
                let entry = listed(&to)[0].clone();
                assert_eq!(entry["digest"], digest);
                let kind = match way {
                    Way::ApiUntyped => "application/vnd.oci.empty.v1+json",
                    _ => BUNDLE,
                };
                assert_eq!(entry["artifactType"], kind);
            }
            // Again: nothing is added.
            push(&from, &to, &["-q"]).ok().does_not_complain();
            if !api {
                assert_eq!(listed(&to).len(), 1);
            }
            // The image alone.
            let bare = Scene::empty_handed(api);
            push(&from, &bare, &["--remove-signatures"]).ok();
            assert_eq!(
                bare.shelf.held().manifests.len(),
                2,
                "the tag and the digest"
            );
        }
    }
}

/// Simple signing names a repository: it is sent, and the push says for whom it counts.
#[test]
fn what_is_signed_in_anothers_name_is_sent_and_said() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    let from = Scene::new(false);
    from.key("lab.pub", &signer);
    from.demands("[\"lab.pub\"]");
    // cosign's config, which nobody needs to verify anything.
    let config = br#"{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let text = payload(&from.layout.manifest, &from.repository());
    let mut layer = from.blob(text.as_bytes());
    layer["mediaType"] = json!(SIMPLE);
    let signature = STANDARD.encode(signer.sign(text.as_bytes()));
    layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
    let mut named = from.blob(config);
    named["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": named, "layers": [layer],
    });
    let manifest = manifest.to_string().into_bytes();
    let tag = format!("{}.sig", from.layout.manifest.replace(':', "-"));
    from.document(MANIFEST, &manifest, Some(&tag));
    from.pull().ok();
    let to = Scene::empty_handed(true);
    to.key("lab.pub", &signer);
    to.demands("[\"lab.pub\"]");
    let pushed = push(&from, &to, &[]).ok();
    pushed.says_in_words("Signatures: 1 under cosign's tag");
    pushed.says_in_words(&format!(
        "a signature is in the name of \"{}\", and proves nothing under {}",
        from.repository(),
        to.repository()
    ));
    assert_eq!(tagged(&to, ".sig").unwrap(), manifest);
    assert_eq!(to.shelf.held().blobs[&sha256(config)], config);
    to.pull().exits(125).says_in_words("it signs \"127.0.0.1");
    push(&from, &to, &[])
        .ok()
        .says_in_words("under cosign's tag (1 there already)");
    // Back to where it was signed, from a registry that has lost it, nothing needs to be said.
    from.shelf.held().manifests.clear();
    let back = from.home.lazaret(["push", &from.name]).run().ok();
    assert!(!back.err().contains("proves nothing"), "{back}");
    assert_eq!(tagged(&from, ".sig").unwrap(), manifest);
}

#[test]
fn what_others_have_signed_there_is_never_lost() {
    need!("userns", "overlay", "landlock");
    let (signer, other) = (Signer::new(How::P256), Signer::new(How::P256));
    // A list is extended.
    let from = Scene::pulled(Way::Fallback, &signer);
    let to = Scene::new(false);
    to.attach_bundle(&bundle(&to.layout.manifest, &other), Some(BUNDLE));
    let before = listed(&to);
    push(&from, &to, &[]).ok();
    let after = listed(&to);
    assert_eq!((after.len(), &after[0]), (2, &before[0]));
    for (key, signer) in [("lab.pub", &signer), ("other.pub", &other)] {
        to.key(key, signer);
    }
    to.demands("{ all_of = [\"lab.pub\", \"other.pub\"] }");
    to.pull().ok();
    // What is no list is left as it is.
    for (media, bytes) in [
        (MANIFEST, to.manifest()),
        ("application/vnd.oci.image.index.v1+json", b"{]".to_vec()),
    ] {
        let tag = to.layout.manifest.replace(':', "-");
        to.document(media, &bytes, Some(&tag));
        let pushed = push(&from, &to, &[]).exits(125);
        pushed.says_in_words("the image is pushed, and its signatures are not");
        pushed.says_in_words("it is left as it is");
        assert_eq!(tagged(&to, "").unwrap(), bytes);
    }
    // Under cosign's tag there is one manifest: it is replaced by one that has all of it, and by no
    // other.
    let from = Scene::pulled(Way::Tag, &signer);
    let to = Scene::new(false);
    let digest = to.layout.manifest.clone();
    let ours = payload(&digest, &from.repository());
    let one =
        |text: &str, by: &Signer| (text.to_owned(), STANDARD.encode(by.sign(text.as_bytes())));
    let theirs = one(&payload(&digest, &to.repository()), &other);
    to.attach_simple(&digest, std::slice::from_ref(&theirs));
    let before = tagged(&to, ".sig");
    let pushed = push(&from, &to, &[]).exits(125);
    pushed.says_in_words("the image is pushed, and its signatures are not");
    pushed.says_in_words("has signatures that are not kept here, and would be lost");
    assert_eq!(tagged(&to, ".sig"), before);
    let ours = one(&ours, &signer);
    from.attach_simple(&digest, &[ours, theirs]);
    from.pull().ok();
    push(&from, &to, &[]).ok();
    assert_eq!(tagged(&to, ".sig"), tagged(&from, ".sig"));
}

#[test]
fn a_registry_that_takes_no_signatures_has_the_image_nevertheless() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    let from = Scene::pulled(Way::Api, &signer);
    let to = Scene::instead(true, |asked| {
        let by_digest = asked.method == "PUT" && asked.path.contains("/manifests/sha256:");
        by_digest.then(|| Answer::new(403, &[], ""))
    });
    to.shelf.held().manifests.clear();
    let pushed = push(&from, &to, &[]).exits(125);
    pushed.says_in_words("the image is pushed, and its signatures are not");
    pushed.says_in_words("403");
    to.pull().ok();
    // A registry that says that it keeps something else.
    let to = Scene::instead(true, |asked| {
        let by_digest = asked.method == "PUT" && asked.path.contains("/manifests/sha256:");
        let said = format!("Docker-Content-Digest: {}", sha256(b"x"));
        by_digest.then(|| Answer::new(201, &[&said], ""))
    });
    push(&from, &to, &[])
        .exits(125)
        .says_in_words("the registry does not hold what it was sent");
    // A part that the store has lost is missed before anything is sent.
    let to = Scene::empty_handed(true);
    let bytes = bundle_of(&from);
    let hex = sha256(&bytes).replace("sha256:", "");
    std::fs::remove_file(from.home.store().join("blobs/sha256").join(hex)).unwrap();
    push_only(&from, &to).exits(125).says_in_words("is gone");
    assert!(to.shelf.held().manifests.is_empty());
}

fn bundle_of(scene: &Scene) -> Vec<u8> {
    let held = scene.shelf.held();
    let mut blobs = held.blobs.values();
    blobs.find(|b| b.starts_with(b"{\"dsse")).unwrap().clone()
}

/// As [`push`], where the name is given without a look at the signatures.
fn push_only(from: &Scene, to: &Scene) -> Ran {
    from.home.lazaret(["tag", &from.name, &to.name]).run();
    from.home.lazaret(["push", &to.name]).run()
}

/// What signs the index is not about what is pushed.
#[test]
fn signatures_over_the_index_stay_and_are_named() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    let from = Scene::new(false);
    from.key("lab.pub", &signer);
    from.demands("[\"lab.pub\"]");
    let index = from.wrap_in_index();
    from.sign_simple(&index, &from.repository(), &signer);
    from.pull().ok();
    let to = Scene::empty_handed(false);
    push(&from, &to, &[])
        .ok()
        .says_in_words(&format!("signatures over the index {index} stay here"));
    assert_eq!(to.shelf.held().manifests.len(), 2);
}

/// Debian's docker-registry has no referrers API.
#[test]
fn a_real_registry_gives_back_what_it_was_sent() {
    need!("userns", "overlay", "landlock", "docker-registry");
    let signer = Signer::new(How::Ed25519);
    let from = Scene::pulled(Way::Api, &signer);
    let other = Signer::new(How::P256);
    let to = Scene::empty_handed(true);
    let real = Real::start(&to.home, "", "");
    let to = to.at(&format!("127.0.0.1:{}", real.port));
    push(&from, &to, &[])
        .ok()
        .says_in_words("Signatures: 1 in the list of referrers under its tag");
    to.key("lab.pub", &signer);
    to.demands("[\"lab.pub\"]");
    to.pull().ok();
    to.run().ok().prints("first");
    // A second signature joins the first.
    from.attach_bundle(&bundle(&from.layout.manifest, &other), Some(BUNDLE));
    from.pull().ok();
    push(&from, &to, &[]).ok();
    to.key("other.pub", &other);
    to.demands("{ all_of = [\"lab.pub\", \"other.pub\"] }");
    to.pull().ok();
}
