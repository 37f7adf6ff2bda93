//! `[[require]] attested`: what must be attested of an image, by whom, through the binary.

use super::authority::{envelope, of_key, pae, statement};
use super::scene::{BUNDLE, Scene, Way, Words as _};
use super::signing::{How, Signer};
use super::support::{need, sha256};

const SLSA: &str = "https://slsa.dev/provenance/v1";
const SPDX: &str = "https://spdx.dev/Document";

/// A statement about a digest, in a bundle.
fn attestation(digest: &str, predicate: &str, signer: &Signer) -> Vec<u8> {
    let statement = statement(digest.strip_prefix("sha256:").unwrap(), predicate);
    let signature = signer.sign(&pae(statement.as_bytes()));
    let envelope = envelope(statement.as_bytes(), &signature);
    of_key("dsseEnvelope", envelope).to_string().into_bytes()
}

fn requires(scene: &Scene, attested: &str) {
    let address = scene.repository();
    scene.policy(&format!(
        "[[require]]\nimage = \"{address}\"\nattested = {{ {attested} }}\n\
         reason = \"builds are traced\"\n"
    ));
}

#[test]
fn what_must_be_attested_is_fetched_kept_and_asked_for_at_each_run() {
    need!("userns", "overlay", "landlock");
    let (ci, other) = (Signer::new(How::P256), Signer::new(How::Ed25519));
    for way in [Way::Fallback, Way::Api] {
        let mut scene = Scene::new(way.has_api());
        scene.key("ci.pub", &ci);
        scene.key("other.pub", &other);
        requires(&scene, "slsa = [\"ci.pub\"]");
        let digest = scene.layout.manifest.clone();
        let attach = |bytes: Vec<u8>| scene.attach_bundle(&bytes, Some(BUNDLE));
        let refused = || {
            let ran = scene.pull().exits(125);
            ran.says_in_words("slsa");
            ran.says_in_words("builds are traced");
        };
        refused();
        // A signature is no attestation; nor is one of another sort, by somebody else, or of another
        // image.
        scene.sign(way, &ci);
        refused();
        attach(attestation(&digest, SPDX, &ci));
        refused();
        attach(attestation(&digest, SLSA, &other));
        refused();
        attach(attestation(&sha256(b"x"), SLSA, &ci));
        refused();
        attach(attestation(&digest, SLSA, &ci));
        scene.pull().ok();
        scene.hang_up();
        scene.run().ok().prints("first");
        let told = scene.trust(0);
        assert!(told["proofs"].to_string().contains(SLSA), "{told:#}");
        requires(&scene, "slsa = [\"ci.pub\"], spdx = [\"ci.pub\"]");
        scene.run().ok();
        // Who attested it is not enough any more; and what nobody has attested.
        requires(&scene, "slsa = { all_of = [\"ci.pub\", \"other.pub\"] }");
        scene.run().ok();
        requires(&scene, "spdx = { all_of = [\"ci.pub\", \"other.pub\"] }");
        scene.run().exits(125).says_in_words("spdx");
        requires(&scene, "cyclonedx = [\"ci.pub\"]");
        scene.run().exits(125).says_in_words("cyclonedx");
        scene.trust(1);
    }
}
