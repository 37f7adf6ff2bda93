//! Signatures in an OCI layout, where tools put them that copy them from a registry.

use super::beside::{add, attached, list};
use super::scene::{BUNDLE, SIMPLE, Scene, Words as _, bundle, payload};
use super::signing::{How, Signer};
use super::support::{Layout, need};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Signs the image of a layout in one of the three ways.
fn sign(layout: &mut Layout, way: &str, signer: &Signer) {
    let digest = layout.manifest.clone();
    let dashed = digest.replace(':', "-");
    if way == "tag" {
        let text = payload(&digest, "registry.lab.example/img");
        let mut layer = add(layout, SIMPLE, text.as_bytes());
        let signature = STANDARD.encode(signer.sign(text.as_bytes()));
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        let manifest = attached(layout, vec![layer], None);
        return list(layout, manifest, Some(&format!("{dashed}.sig")));
    }
    let layer = add(layout, BUNDLE, &bundle(&digest, signer));
    let mut manifest = attached(layout, vec![layer], Some(&digest));
    if way == "list" {
        let listed = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
        let listed = add(layout, INDEX, listed.to_string().as_bytes());
        return list(layout, listed, Some(&dashed));
    }
    manifest["artifactType"] = json!(BUNDLE);
    list(layout, manifest, None);
}

#[test]
fn what_lies_beside_an_image_is_read_and_loaded_with_it() {
    need!("userns", "overlay");
    let (signer, other) = (Signer::new(How::P256), Signer::new(How::P256));
    for way in ["tag", "list", "subject"] {
        let scene = Scene::new(false);
        let rules = |key: &str| {
            scene.policy(&format!(
                "[[trust]]\nimage = [\"oci:**\", \"oci-archive:**\", \"docker.io/library/lab\"]\n\
                 accept = {{ signed = [\"{key}\"] }}\nreason = \"the lab signs\"\n"
            ));
        };
        scene.key("lab.pub", &signer);
        scene.key("other.pub", &other);
        rules("lab.pub");
        let run = |image: &str| {
            let line = ["run", "--rm", image, "cat", "/marker"];
            scene.home.lazaret(line).run()
        };
        let mut layout = scene.layout.clone();
        let plain = layout.folder(&scene.home, &format!("plain-{way}"));
        run(&plain)
            .exits(125)
            .says_in_words("no signature was found");
        sign(&mut layout, way, &signer);
        let signed = layout.folder(&scene.home, &format!("signed-{way}"));
        let archive = layout.archive(&scene.home, &format!("signed-{way}.tar"));
        // What lies beside it is no second image: without a tag there is one to mean.
        let bare = signed.trim_end_matches(":test").to_owned();
        for image in [&signed, &archive, &bare] {
            run(image).ok().prints("first");
            let trust = ["trust", "--format", "json", image];
            let told = scene.home.lazaret(trust).run().ok().out();
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["places"][0]["found"][0]["how"], "layout", "{told:#}");
        }
        rules("other.pub");
        run(&signed)
            .exits(125)
            .says_in_words("/other.pub\" made it");
        // Another bundle in the place of the right one.
        rules("lab.pub");
        let start: &[u8] = match way {
            "tag" => b"{\"critical",
            _ => b"{\"dsse",
        };
        let mut blobs = layout.blobs.values_mut();
        blobs.find(|b| b.starts_with(start)).unwrap()[20] ^= 1;
        let swapped = layout.folder(&scene.home, &format!("swapped-{way}"));
        run(&swapped).exits(125).says_in_words("and the bytes are");
        // What the store keeps from here on counts for the same image anywhere.
        if way == "tag" {
            // It is in the name of another repository.
            let load = ["load", "-q", &signed, "lab:1"];
            let ran = scene.home.lazaret(load).run().exits(125);
            ran.says_in_words("it signs \"registry.lab.example/img\", and this is");
        } else {
            scene
                .home
                .lazaret(["load", "-q", &signed, "lab:1"])
                .run()
                .ok();
            run("lab:1").ok().prints("first");
            scene.home.lazaret(["verify", "lab:1"]).run().ok();
            scene.home.lazaret(["trust", "lab:1"]).run().ok();
            scene.home.lazaret(["rmi", "lab:1"]).run().ok();
        }
    }
}

#[test]
fn what_is_listed_thousands_of_times_is_not_read_as_often() {
    need!("userns", "overlay");
    let scene = Scene::new(false);
    let mut layout = scene.layout.clone();
    // It is attached to nothing, and has the most bytes that a document may have.
    let config = add(&mut layout, "application/vnd.oci.empty.v1+json", b"{}");
    let fit = (4 << 20) / (config.to_string().len() + 1) - 10;
    let layers = vec![config; fit];
    let mut large = attached(&mut layout, layers, None);
    large["artifactType"] = json!(BUNDLE);
    let mut index: Value = serde_json::from_str(&layout.index).unwrap();
    let all = index["manifests"].as_array_mut().unwrap();
    all.extend(vec![large; 4000]);
    layout.index = index.to_string();
    let image = layout.folder(&scene.home, "many");
    scene.key("lab.pub", &Signer::new(How::P256));
    scene.policy(
        "[[trust]]\nimage = \"oci:**\"\naccept = { signed = [\"lab.pub\"] }\nreason = \"r\"\n",
    );
    let since = std::time::Instant::now();
    scene
        .home
        .lazaret(["run", "--rm", &image, "true"])
        .run()
        .exits(125)
        .says_in_words("what lies beside the image has more than 67108864 bytes");
    // Some 16 of 4,000 are read: a tenth of a second each in a debug build, and not four minutes.
    let took = since.elapsed();
    assert!(took.as_secs() < 30, "{took:?}");
}
