//! A lock under a rule that wants a signature: it names the signer, and holds by that signer alone.

use super::scene::{Scene, Way, Words as _};
use super::signing::{How, Signer};
use super::support::{Ran, need};
use lazaret::trust::Key;

/// What the lock calls a key.
fn fingerprint(signer: &Signer) -> String {
    let key = Key::from_pem("lab.pub", &signer.public).unwrap();
    key.fingerprint.to_string()
}

fn text(scene: &Scene) -> String {
    std::fs::read_to_string(scene.home.path("lazaret.lock")).unwrap()
}

fn lock(scene: &Scene, args: &[&str]) -> Ran {
    scene.home.lazaret([&["lock"], args].concat()).run()
}

fn run(scene: &Scene) -> Ran {
    let line = ["run", "--rm", "--locked", &scene.name, "cat", "/marker"];
    scene.home.lazaret(line).run()
}

/// A scene with an image that is signed, pulled and locked.
fn locked(signed: &str, signers: &[(&str, &Signer)]) -> Scene {
    let scene = Scene::new(false);
    for (name, signer) in signers {
        scene.key(name, signer);
    }
    scene.demands(signed);
    scene.sign(Way::Tag, signers[0].1);
    lock(&scene, &[&scene.name]).ok();
    let line = format!(
        "signers = [\n  {{ key = \"{}\" }},\n]\n",
        fingerprint(signers[0].1)
    );
    assert!(text(&scene).contains(&line), "{}", text(&scene));
    holds(&scene);
    scene
}

/// The lock holds, and nobody is asked.
#[track_caller]
fn holds(scene: &Scene) {
    let asked = scene.asked().len();
    lock(scene, &[]).ok().says("all 1 hold");
    run(scene).ok().prints("first");
    assert_eq!(scene.asked().len(), asked);
}

/// `lazaret lock --update` takes in what is now, and leaves one line changed for each fact.
#[track_caller]
fn updated(scene: &Scene, signer: &Signer, facts: &[&str]) {
    let ran = lock(scene, &["--update", &scene.name]).ok();
    for fact in ["platform", "digest", "manifest", "signers", "policy"] {
        let told = ran.out().contains(&format!("{fact:<8} was"));
        assert_eq!(told, facts.contains(&fact), "{fact}: {ran}");
    }
    assert!(text(scene).contains(&fingerprint(signer)), "{ran}");
    holds(scene);
}

#[test]
fn another_of_the_rules_signers_is_not_the_locked_one() {
    need!("userns", "overlay", "landlock");
    let (old, new) = (Signer::new(How::P256), Signer::new(How::Ed25519));
    let keys = [("old.pub", &old), ("new.pub", &new)];
    let scene = locked("[\"old.pub\", \"new.pub\"]", &keys);
    // A second signature by the same key, and nothing else.
    let before = text(&scene);
    scene.sign(Way::Tag, &old);
    scene.pull().ok();
    holds(&scene);
    lock(&scene, &[&scene.name]).ok().says("unchanged");
    // The image is the same, and so are the rules.
    scene.sign(Way::Tag, &new);
    scene.pull().ok();
    scene.run().ok().prints("first");
    let gone = format!("the key {}", fingerprint(&old));
    let ran = run(&scene).exits(125);
    ran.says_in_words(&format!(
        "was locked as signed by {gone}, of whom no signature"
    ));
    ran.says_in_words(&format!("lazaret lock --update {}", scene.name));
    lock(&scene, &[])
        .exits(1)
        .says(&format!("signers  of {gone} no signature proves that now"))
        .says("1 of 1 differ");
    lock(&scene, &[&scene.name])
        .exits(125)
        .says_in_words("is locked already");
    assert_eq!(text(&scene), before);
    updated(&scene, &new, &["signers"]);
    scene.home.clean();
}

#[test]
fn a_rotated_key_is_another_rule_and_another_signer() {
    need!("userns", "overlay", "landlock");
    let (old, new) = (Signer::new(How::P256), Signer::new(How::P256));
    let scene = locked("[\"lab.pub\"]", &[("lab.pub", &old)]);
    let before = text(&scene);
    // The file is called as before, and has another key.
    scene.key("lab.pub", &new);
    run(&scene)
        .exits(125)
        .says_in_words("was locked under other rules");
    scene.sign(Way::Tag, &new);
    scene.pull().ok();
    scene.run().ok().prints("first");
    run(&scene)
        .exits(125)
        .says_in_words("was locked under other rules");
    let gone = format!("signers  of the key {} no signature", fingerprint(&old));
    lock(&scene, &[])
        .exits(1)
        .says("policy   was sha256:")
        .says(&gone);
    assert_eq!(text(&scene), before);
    updated(&scene, &new, &["signers", "policy"]);
    // Back again: the old key's signature is no use to the new lock.
    scene.key("lab.pub", &old);
    run(&scene).exits(125);
    scene.home.clean();
}
