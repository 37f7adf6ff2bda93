//! Lists of referrers that come in pages, and mirrors that have them or not.

use super::scene::{BUNDLE, MANIFEST, Scene, Way, Words as _, bundle};
use super::signing::{How, Signer};
use super::support::{Answer, need};
use serde_json::json;
use std::sync::{Arc, Mutex};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that lists referrers on so many pages, of which the last one has the signature.
fn in_pages(pages: usize, signer: &Signer) -> Scene {
    let entry = Arc::new(Mutex::new(json!(null)));
    let listed = entry.clone();
    let scene = Scene::instead(true, move |asked| {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, "p=1"));
        let page: usize = query.strip_prefix("p=")?.parse().ok()?;
        path.contains("/referrers/").then(|| {
            let last = page == pages;
            let entries: Vec<_> = last
                .then(|| listed.lock().unwrap().clone())
                .into_iter()
                .collect();
            let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
            let kind = format!("Content-Type: {INDEX}");
            // Wherever the link leads, it is this registry that is asked.
            let next = format!(
                "Link: <http://127.0.0.1:1{path}?p={}>; rel=\"next\"",
                page + 1
            );
            let headers = [kind.as_str(), next.as_str()];
            Answer::new(200, &headers[..1 + usize::from(!last)], list.to_string())
        })
    });
    scene.key("lab.pub", signer);
    scene.demands("[\"lab.pub\"]");
    let digest = scene.attach_bundle(&bundle(&scene.layout.manifest, signer), Some(BUNDLE));
    let key = ("lab/img".to_owned(), digest.clone());
    let size = scene.shelf.held().manifests[&key].1.len();
    *entry.lock().unwrap() = json!({
        "mediaType": MANIFEST, "digest": digest, "size": size, "artifactType": BUNDLE,
    });
    scene
}

#[test]
fn a_list_is_read_to_its_last_page_if_that_is_the_sixteenth() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    for pages in [1, 2, 16] {
        let scene = in_pages(pages, &signer);
        scene.pull().ok();
        let asked = scene.asked();
        let of_list = asked.iter().filter(|path| path.contains("/referrers/"));
        assert_eq!(of_list.count(), pages, "{asked:#?}");
    }
    for pages in [17, usize::MAX] {
        let scene = in_pages(pages, &signer);
        scene
            .pull()
            .exits(125)
            .says_in_words("the list of referrers has more than 16 pages");
        let asked = scene.asked();
        let of_list = asked.iter().filter(|path| path.contains("/referrers/"));
        assert_eq!(of_list.count(), 16, "{asked:#?}");
    }
}

/// A scene whose registry has another one for a mirror.
fn mirrored(way: Way, mirror_api: bool, signer: &Signer) -> (Scene, Scene) {
    let scene = Scene::new(way.has_api());
    let mirror = Scene::new(mirror_api);
    scene.key("lab.pub", signer);
    scene.demands("[\"lab.pub\"]");
    let address = |scene: &Scene| scene.repository().replace("/lab/img", "");
    let text = format!(
        "[[registry]]\nname = \"{}\"\nmirrors = [\"{}\"]\n",
        address(&scene),
        address(&mirror)
    );
    scene.file("registries.toml", text.as_bytes());
    (scene, mirror)
}

#[test]
fn a_mirror_that_knows_of_no_signature_does_not_hide_its_registrys() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    for way in Way::ALL {
        for mirror_api in [false, true] {
            if way == Way::Fallback && mirror_api {
                // Below.
                continue;
            }
            let (scene, mirror) = mirrored(way, mirror_api, &signer);
            scene.sign(way, &signer);
            scene.pull().ok();
            // The image itself came from the mirror.
            let asked = scene.asked();
            let layer = &scene.layout.layers[0];
            assert!(!asked.iter().any(|path| path.contains(layer)), "{asked:#?}");
            assert!(mirror.asked().iter().any(|path| path.contains(layer)));
        }
    }
}

#[test]
fn a_mirror_with_signatures_is_enough_and_is_believed_no_more() {
    need!("userns", "overlay", "landlock");
    let (signer, stranger) = (Signer::new(How::P256), Signer::new(How::P256));
    for way in [Way::Fallback, Way::Api] {
        let (scene, mirror) = mirrored(Way::Fallback, way.has_api(), &signer);
        mirror.sign(way, &stranger);
        scene.pull().exits(125).says_in_words("/lab.pub\" made it");
        mirror.sign(way, &signer);
        scene.pull().ok();
        scene.run().ok().prints("first");
    }
}
