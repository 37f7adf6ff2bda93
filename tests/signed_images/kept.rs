//! What the store keeps of signatures: verified again at each run, refreshed by a pull, and gone with
//! the image.

use super::scene::{BUNDLE, Scene, Way, Words as _, bundle};
use super::signing::{How, Signer};
use super::support::{Home, list, need, sha256};

/// A scene with an image that is signed and pulled, and runs.
fn signed(way: Way, signer: &Signer) -> Scene {
    let scene = Scene::pulled(way, signer);
    scene.run().ok().prints("first");
    scene
}

fn blob(home: &Home, digest: &str) -> std::path::PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    home.store().join("blobs/sha256").join(hex)
}

fn record(scene: &Scene) -> std::path::PathBuf {
    let hex = scene.layout.manifest.strip_prefix("sha256:").unwrap();
    scene.home.store().join("signatures").join(hex)
}

#[test]
fn a_key_that_leaves_the_policy_and_a_day_that_passes_stop_the_next_run() {
    need!("userns", "overlay", "landlock");
    let (signer, other) = (Signer::new(How::P256), Signer::new(How::P256));
    let scene = signed(Way::Tag, &signer);
    scene.key("other.pub", &other);
    scene.demands("[\"other.pub\"]");
    let ran = scene.run().exits(125);
    ran.says_in_words("/other.pub\" made it");
    scene.trust(1);
    let dry = ["run", "--dry-run", "--rm", &scene.name, "true"];
    scene.home.lazaret(dry).run().exits(125);
    let explain = ["policy", "explain", &scene.name, "true"];
    scene.home.lazaret(explain).run().exits(1);
    // The key's file has another key.
    scene.demands("[\"lab.pub\"]");
    scene.run().ok();
    scene.home.lazaret(dry).run().ok();
    scene.home.lazaret(explain).run().ok();
    scene.key("lab.pub", &other);
    scene.run().exits(125);
    scene.key("lab.pub", &signer);
    scene.demands_until("[\"lab.pub\"]", "2020-01-01");
    scene
        .run()
        .exits(125)
        .says_in_words("nobody's signature counts here after 2020-01-01");
    // Both must have signed now.
    scene.demands("{ all_of = [\"lab.pub\", \"other.pub\"] }");
    scene.run().exits(125).says_in_words("(1 of 2)");
    scene.attach_bundle(&bundle(&scene.layout.manifest, &other), Some(BUNDLE));
    scene.run().exits(125);
    // What is new is fetched though the image is here and its tag has not moved.
    let blobs = |scene: &Scene| {
        let layers = &scene.layout.layers;
        let of_layer = |path: &&String| layers.iter().any(|layer| path.contains(layer.as_str()));
        scene.asked().iter().filter(of_layer).count()
    };
    let before = blobs(&scene);
    scene.pull().ok();
    assert_eq!(blobs(&scene), before);
    scene.run().ok();
}

#[test]
fn an_edited_store_is_refused_and_mended_by_a_pull() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    let scene = signed(Way::Api, &signer);
    let bytes = {
        let held = scene.shelf.held();
        let bundle = held.blobs.values().find(|b| b.starts_with(b"{\"dsse"));
        bundle.unwrap().clone()
    };
    let path = blob(&scene.home, &sha256(&bytes));
    let whole = std::fs::read(record(&scene)).unwrap();
    let mended = |scene: &Scene| {
        scene.pull().ok();
        scene.run().ok();
        scene.home.lazaret(["verify", &scene.name]).run().ok();
    };
    // Other bytes under the digest.
    std::fs::write(
        &path,
        String::from_utf8(bytes.clone())
            .unwrap()
            .replace("lab", "bal"),
    )
    .unwrap();
    let ran = scene.run().exits(125);
    ran.says_in_words("is damaged: its bytes have another digest");
    ran.says_in_words("lazaret pull IMAGE");
    scene.home.lazaret(["verify", &scene.name]).run().exits(1);
    scene.home.lazaret(["trust", &scene.name]).run().exits(125);
    mended(&scene);
    std::fs::remove_file(&path).unwrap();
    scene.run().exits(125).says_in_words("is gone");
    scene.home.lazaret(["verify", &scene.name]).run().exits(1);
    mended(&scene);
    // A record that lists nothing, nothing that is read, another image's, a newer one.
    let text = String::from_utf8(whole).unwrap();
    let empty = text.find("\"found\":[").unwrap();
    let emptied = format!("{}\"found\":[],\"untaken\":[]}}]}}", &text[..empty]);
    let other = text.replacen(&scene.layout.manifest, &sha256(b"x"), 1);
    let newer = text.replacen("\"version\":1", "\"version\":2,\"x\":1", 1);
    for (text, words) in [
        (emptied.as_str(), "no signature was found"),
        ("{", "the record of the signatures of"),
        (&other, "it is another image's"),
        (&newer, "are a newer lazaret's"),
        (&"x".repeat(2 << 20), "has more than"),
    ] {
        std::fs::write(record(&scene), text).unwrap();
        scene.run().exits(125).says_in_words(words);
        mended(&scene);
    }
    // No record at all.
    std::fs::remove_file(record(&scene)).unwrap();
    scene.run().exits(125).says_in_words(&format!(
        "lazaret pull {} fetches its signatures",
        scene.name
    ));
    mended(&scene);
}

/// Signatures of a stranger's own, in a record that names the right image.
#[test]
fn what_is_kept_is_not_believed() {
    need!("userns", "overlay", "landlock");
    let (signer, stranger) = (Signer::new(How::P256), Signer::new(How::P256));
    let scene = signed(Way::Api, &signer);
    let forged = bundle(&scene.layout.manifest, &stranger);
    let text = std::fs::read_to_string(record(&scene)).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let found = &kept["places"][0]["found"][0];
    let attached = blob(&scene.home, found["manifest"].as_str().unwrap());
    let was = found["blobs"][0].as_str().unwrap();
    let manifest = std::fs::read_to_string(&attached).unwrap();
    let size = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap()["layers"][0]["size"].to_string()
    };
    let manifest = manifest.replace(was, &sha256(&forged)).replace(
        &format!("\"size\":{}", size(&manifest)),
        &format!("\"size\":{}", forged.len()),
    );
    for bytes in [manifest.as_bytes(), &forged] {
        std::fs::write(blob(&scene.home, &sha256(bytes)), bytes).unwrap();
    }
    let text = text.replace(was, &sha256(&forged)).replace(
        found["manifest"].as_str().unwrap(),
        &sha256(manifest.as_bytes()),
    );
    std::fs::write(record(&scene), text).unwrap();
    scene.run().exits(125).says_in_words("/lab.pub\" made it");
}

#[test]
fn signatures_go_with_the_last_name_of_their_image() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    let mut scene = signed(Way::Api, &signer);
    let blobs = || list(&scene.home.store().join("blobs/sha256")).len();
    // Manifest, config, layers; the attached manifest and its bundle.
    assert_eq!(blobs(), scene.layout.blobs.len() + 2);
    let df = ["system", "df", "--format", "{{.Type}} {{.Reclaimable}}"];
    scene.home.lazaret(df).run().ok();
    let other = format!("{}/lab/img:other", scene.registry.as_ref().unwrap().address);
    scene.home.lazaret(["tag", &scene.name, &other]).run().ok();
    scene.home.lazaret(["rmi", &scene.name]).run().ok();
    assert_eq!(blobs(), scene.layout.blobs.len() + 2);
    let run = ["run", "--rm", &other, "true"];
    scene.home.lazaret(run).run().ok();
    scene.home.lazaret(["system", "prune", "-f"]).run().ok();
    scene.home.lazaret(run).run().ok();
    scene.home.lazaret(["rmi", &other]).run().ok();
    assert_eq!(blobs(), 0);
    assert_eq!(list(&scene.home.store().join("signatures")), [""; 0]);
    scene.hang_up();
    scene.home.clean();
}

/// A bundle names no repository, and the rule's pattern does; simple signing names its own.
#[test]
fn another_name_is_another_question() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    for (way, code) in [(Way::Tag, 125), (Way::Fallback, 0)] {
        let mut scene = signed(way, &signer);
        let address = scene.registry.as_ref().unwrap().address.clone();
        let other = format!("{address}/other/img:1");
        let tag = ["tag", &scene.name, &other];
        let ran = scene.home.lazaret(tag).run().exits(code);
        if code == 125 {
            ran.says_in_words("it signs \"127.0.0.1");
        }
        // A rule about one repository says nothing of another.
        scene.policy(&format!(
            "[[trust]]\nimage = \"{address}/lab/**\"\naccept = {{ signed = [\"lab.pub\"] }}\n\
             reason = \"the lab signs\"\n\
             [[trust]]\nimage = \"{address}/other/**\"\naccept = \"reject\"\nreason = \"not here\"\n"
        ));
        scene
            .home
            .lazaret(tag)
            .run()
            .exits(125)
            .says_in_words("not here");
        scene.run().ok();
        scene.hang_up();
    }
}
