//! Signatures from the registry to the rule: found in each of the places where they are kept, fetched
//! by the worker, kept in the store, verified again at each run, and shown by `lazaret trust`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers fail by panicking"
)]

#[path = "signed_images/attested.rs"]
mod attested;
#[allow(
    dead_code,
    reason = "made for the tests of `trust`, and used here in part"
)]
#[path = "support/authority.rs"]
mod authority;
#[path = "signed_images/bad.rs"]
mod bad;
#[path = "signed_images/beside.rs"]
mod beside;
#[path = "signed_images/kept.rs"]
mod kept;
#[path = "signed_images/layout.rs"]
mod layout;
#[path = "signed_images/locked.rs"]
mod locked;
#[path = "signed_images/pages.rs"]
mod pages;
#[path = "signed_images/readme.rs"]
mod readme;
#[path = "signed_images/real.rs"]
mod real;
#[path = "signed_images/saved.rs"]
mod saved;
#[path = "signed_images/scene.rs"]
mod scene;
#[path = "signed_images/sent.rs"]
mod sent;
#[allow(
    dead_code,
    reason = "made for the tests of `trust`, and used here in part"
)]
#[path = "support/signing.rs"]
mod signing;
mod support;

use authority::{Authority, Wish};
use scene::{BUNDLE, Scene, Way, Words as _};
use signing::{How, Signer};
use support::{Answer, need};

#[test]
fn what_is_signed_runs_wherever_its_signature_is_kept() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    for way in Way::ALL {
        let mut scene = Scene::new(way.has_api());
        scene.key("lab.pub", &signer);
        scene.demands("[\"lab.pub\"]");
        scene
            .pull()
            .exits(125)
            .says_in_words("no signature was found");
        scene.sign(way, &signer);
        scene.pull().ok();
        // The registry is not needed any more.
        scene.hang_up();
        scene.run().ok().prints("first");
        let told = scene.trust(0);
        assert_eq!(told["accepted"], true, "{way:?}: {told:#}");
        let key = told["proofs"][0]["signer"]["key"]["name"].as_str();
        assert!(key.unwrap().ends_with("/lab.pub"), "{told:#}");
        assert_eq!(told["proofs"][0]["about"], told["manifest"]);
        assert_eq!(told["places"][0]["found"][0]["how"], way.how());
        scene.home.lazaret(["verify", &scene.name]).run().ok();
        scene.home.clean();
    }
}

#[test]
fn a_keyless_signature_is_held_against_the_root_of_the_rule() {
    need!("userns", "overlay", "landlock");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let mut scene = Scene::new(true);
    scene.file("root.json", authority.root().to_string().as_bytes());
    let who = "issuer = \"https://accounts.lab.example\", identity = \"ana@lab.example\"";
    scene.demands(&format!("[{{ {who}, root = \"root.json\" }}]"));
    let wish = Wish::new(&scene.manifest());
    let forged = stranger.bundle(&wish).to_string();
    scene.attach_bundle(forged.as_bytes(), Some(BUNDLE));
    scene
        .pull()
        .exits(125)
        .says_in_words("its log entry is not one of the trust root's logs");
    let bundle = authority.bundle(&wish).to_string();
    scene.attach_bundle(bundle.as_bytes(), Some(BUNDLE));
    scene.pull().ok();
    scene.hang_up();
    scene.run().ok().prints("first");
    let told = scene.trust(0);
    let identity = &told["proofs"][0]["signer"]["identity"];
    assert_eq!(identity["identity"]["email"], "ana@lab.example");
    assert!(told["proofs"][0]["when"].is_i64(), "{told:#}");
    assert_eq!(told["failures"].as_array().unwrap().len(), 1, "{told:#}");
    // Whoever it says it is, the rule's own names decide.
    scene.demands(&format!(
        "[{{ {}, root = \"root.json\" }}]",
        who.replace("ana@", "bob@")
    ));
    scene
        .run()
        .exits(125)
        .says_in_words("the issuer is right, and the identity is another");
}

#[test]
fn a_signature_over_the_index_is_one_over_what_it_names() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::Ed25519);
    let scene = Scene::new(false);
    scene.key("lab.pub", &signer);
    scene.demands("[\"lab.pub\"]");
    let index = scene.wrap_in_index();
    scene.sign_simple(&index, &scene.repository(), &signer);
    scene.pull().ok();
    scene.run().ok().prints("first");
    let told = scene.trust(0);
    assert_eq!(told["proofs"][0]["about"], told["index"], "{told:#}");
    // By the index's digest too; of the manifest's alone nobody says of which index it is.
    let mut before = scene.name.clone();
    for (digest, code) in [(&index, 0), (&scene.layout.manifest, 125)] {
        scene.home.lazaret(["rmi", &before]).run().ok();
        let name = format!("{}@{digest}", scene.repository());
        scene.home.lazaret(["pull", "-q", &name]).run().exits(code);
        let run = ["run", "--rm", &name, "true"];
        scene.home.lazaret(run).run().exits(code);
        before = name;
    }
}

#[test]
fn what_no_rule_wants_signed_is_not_asked_for() {
    need!("userns", "overlay", "landlock");
    let signer = Signer::new(How::P256);
    let scene = Scene::new(true);
    scene.sign(Way::Tag, &signer);
    scene.pull().ok();
    scene.run().ok();
    let asked = scene.asked();
    assert!(
        !asked
            .iter()
            .any(|path| path.contains("sha256-") || path.contains("referrers")),
        "{asked:#?}"
    );
    assert!(!scene.home.store().join("signatures").exists());
    // A rule that comes later says how to go on.
    scene.key("lab.pub", &signer);
    scene.demands("[\"lab.pub\"]");
    let ran = scene.run().exits(125);
    ran.says_in_words("its registry was not asked for signatures yet");
    let told = scene.trust(1);
    assert_eq!(told["fetched"], false);
    scene.pull().ok();
    scene.run().ok();
}

#[test]
fn trust_names_every_signature_and_every_rule() {
    need!("userns", "overlay", "landlock");
    let (good, other) = (Signer::new(How::P256), Signer::new(How::Rsa));
    let scene = Scene::new(true);
    scene.key("lab.pub", &good);
    scene.demands("[\"lab.pub\"]");
    scene.sign(Way::Api, &other);
    let ran = scene.pull().exits(125);
    ran.says_in_words("/lab.pub\" made it");
    // Nothing is kept of what was refused, and its registry can be asked all the same.
    let image = scene.name.clone();
    let trust = |args: &[&str]| scene.home.lazaret(["trust"].iter().chain(args)).run();
    trust(&[&image])
        .exits(125)
        .complains("lazaret trust --fetch");
    trust(&["--fetch", &image])
        .exits(1)
        .says("not accepted:")
        .says("lab.pub");
    assert!(!scene.home.store().join("signatures").exists());
    scene.sign(Way::Api, &good);
    scene.pull().ok();
    scene.run().ok();
    let told = scene.trust(0);
    assert_eq!(told["proofs"].as_array().unwrap().len(), 1, "{told:#}");
    assert_eq!(told["failures"].as_array().unwrap().len(), 1, "{told:#}");
    let rules = told["rules"].to_string();
    assert!(
        rules.contains("lab.pub") && rules.contains("policy.toml"),
        "{told:#}"
    );
    let trust = |args: &[&str]| scene.home.lazaret(["trust"].iter().chain(args)).run();
    trust(&[&image])
        .ok()
        .says("signed by\n  the key /")
        .says("found, and proves nothing")
        .says("nobody vouches when")
        .says("\naccepted\n");
    trust(&["oci:/nowhere"]).exits(125);
    trust(&["--fetch", "oci:/nowhere"])
        .exits(125)
        .complains("no name of a registry");
}

#[test]
fn registries_that_do_not_answer_are_no_registries_without_signatures() {
    need!("userns", "landlock");
    let signer = Signer::new(How::P256);
    for (path, status, word) in [
        (".sig", 503, "is in trouble"),
        (".sig", 403, "refuses it"),
        ("/referrers/", 503, "is in trouble"),
        ("/referrers/", 403, "refuses it"),
    ] {
        let scene = Scene::instead(true, move |asked| {
            let answer = || Answer::new(status, &["Retry-After: 1000"], "");
            asked.path.contains(path).then(answer)
        });
        // Who wants no signature does not notice.
        scene.pull().ok();
        scene.home.lazaret(["rmi", &scene.name]).run().ok();
        scene.key("lab.pub", &signer);
        scene.demands("[\"lab.pub\"]");
        scene.pull().exits(125).says_in_words(word);
    }
    // A page, and the other ways to say that there is no such thing.
    for (status, kind) in [(200, "text/html"), (405, "text/plain"), (501, "text/plain")] {
        let scene = Scene::instead(true, move |asked| {
            let kind = format!("Content-Type: {kind}");
            let answer = || Answer::new(status, &[&kind], "<html>");
            asked.path.contains("/referrers/").then(answer)
        });
        scene.key("lab.pub", &signer);
        scene.demands("[\"lab.pub\"]");
        scene.sign(Way::Fallback, &signer);
        scene.pull().ok();
    }
}
