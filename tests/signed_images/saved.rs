//! `lazaret save` and `load` of what is signed: the archive proves what the registry did, without it.

use super::scene::{Scene, Way, Words as _};
use super::signing::{How, Signer};
use super::support::{Ran, need};
use serde_json::Value;

fn lazaret(scene: &Scene, line: &[&str]) -> Ran {
    scene.home.lazaret(line).run()
}

#[test]
fn a_saved_image_is_loaded_under_the_rule_without_a_network() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    for way in Way::ALL {
        let mut scene = Scene::pulled(way, &signer);
        scene.hang_up();
        let (archive, dir) = (scene.home.path("saved.tar"), scene.home.path("saved"));
        let (archive, dir) = (archive.to_str().unwrap(), dir.to_str().unwrap());
        lazaret(&scene, &["save", "-o", archive, &scene.name]).ok();
        let folder = ["save", "--format", "oci-dir", "-o", dir, &scene.name];
        lazaret(&scene, &folder).ok();
        let bare = scene.home.path("bare.tar");
        let bare = bare.to_str().unwrap();
        let line = ["save", "--remove-signatures", "-o", bare, &scene.name];
        lazaret(&scene, &line).ok();
        lazaret(&scene, &["rmi", &scene.name]).ok();
        lazaret(&scene, &["load", "-i", bare])
            .exits(125)
            .says_in_words("no signature was found");
        lazaret(&scene, &["load", "-i", archive]).ok();
        scene.run().ok().prints("first");
        let told = scene.trust(0);
        assert_eq!(told["places"][0]["found"][0]["how"], "layout", "{told:#}");
        // What was loaded is saved again, the same to the byte.
        let again = scene.home.path("again.tar");
        let line = ["save", "-o", again.to_str().unwrap(), &scene.name];
        lazaret(&scene, &line).ok();
        assert!(std::fs::read(archive).unwrap() == std::fs::read(&again).unwrap());
        lazaret(&scene, &["rmi", &scene.name]).ok();
        let from = format!("oci:{dir}:test");
        lazaret(&scene, &["load", &from, &scene.name]).ok();
        scene.run().ok().prints("first");
        // One byte of the bundle or payload.
        let mut bytes = std::fs::read(archive).unwrap();
        let start: &[u8] = match way {
            Way::Tag => b"{\"critical",
            _ => b"{\"dsse",
        };
        let at = bytes.windows(start.len()).position(|w| w == start);
        bytes[at.unwrap() + 30] ^= 1;
        let bad = scene.home.path("bad.tar");
        std::fs::write(&bad, bytes).unwrap();
        lazaret(&scene, &["rmi", &scene.name]).ok();
        lazaret(&scene, &["load", "-i", bad.to_str().unwrap()])
            .exits(125)
            .says_in_words("and the bytes are");
        scene.home.clean();
    }
}

/// What was signed is the index, which is saved without its other images.
#[test]
fn a_signature_over_the_index_is_saved_with_the_index() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::Ed25519);
    let mut scene = Scene::new(false);
    scene.key("lab.pub", &signer);
    scene.demands("[\"lab.pub\"]");
    let index = scene.wrap_in_index();
    scene.sign_simple(&index, &scene.repository(), &signer);
    scene.pull().ok();
    scene.hang_up();
    let archive = scene.home.path("saved.tar");
    let archive = archive.to_str().unwrap();
    lazaret(&scene, &["save", "-o", archive, &scene.name]).ok();
    lazaret(&scene, &["rmi", &scene.name]).ok();
    lazaret(&scene, &["load", "-i", archive]).ok();
    scene.run().ok().prints("first");
    let told = scene.trust(0);
    assert_eq!(told["proofs"][0]["about"], Value::String(index), "{told:#}");
    // Another index in its place names another image, and is no proof of this one.
    let text = std::fs::read(archive).unwrap();
    let hex = scene.layout.manifest.replace("sha256:", "");
    let tag = format!("sha256-{hex}.index").into_bytes();
    let at = text.windows(tag.len()).position(|w| w == tag).unwrap();
    let mut moved = text.clone();
    moved[at + 10] = if moved[at + 10] == b'0' { b'1' } else { b'0' };
    let bad = scene.home.path("bad.tar");
    std::fs::write(&bad, moved).unwrap();
    lazaret(&scene, &["rmi", &scene.name]).ok();
    lazaret(&scene, &["load", "-i", bad.to_str().unwrap()])
        .exits(125)
        .says_in_words("no signature was found");
}
