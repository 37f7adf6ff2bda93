//! Debian's docker-registry, which has no referrers API.

use super::scene::{Scene, Way, Words as _};
use super::signing::{How, Signer};
use super::support::{Home, Real, need};
use lazaret::image::{Descriptor, Digest, Reference};
use lazaret::registry::{Client, Options};
use std::io::Write as _;

/// Puts everything that a shelf holds into a real registry.
pub fn stock(scene: &Scene, real: &Real) {
    let at = format!("127.0.0.1:{}/lab/img", real.port);
    let mut client = Client::new(&Options::default()).unwrap();
    let held = scene.shelf.held();
    let to = Reference::parse(&format!("{at}:x")).unwrap();
    for bytes in held.blobs.values() {
        let mut file = tempfile(bytes);
        file.flush().unwrap();
        let blob = Descriptor {
            media_type: String::new(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: Default::default(),
        };
        client
            .send_blob(&to, &blob, None, &file, &mut |_| {})
            .unwrap();
    }
    // Lists last: what they name must be there.
    let mut all: Vec<_> = held
        .manifests
        .iter()
        .map(|((_, name), kept)| (name.clone(), kept))
        .collect();
    all.sort_by_key(|(_, (media, _))| media.contains("index"));
    for (name, (media, bytes)) in all {
        let name = match name.starts_with("sha256:") {
            true => name.replace("sha256:", "by-"),
            false => name,
        };
        let to = Reference::parse(&format!("{at}:{name}")).unwrap();
        client.send_manifest(&to, bytes, media).unwrap();
    }
}

fn tempfile(bytes: &[u8]) -> std::fs::File {
    let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
    let fd = rustix::fs::open(std::env::temp_dir(), flags, 0o600.into()).unwrap();
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_registry_without_the_referrers_api_keeps_them_under_tags() {
    need!("userns", "overlay", "landlock", "docker-registry");
    let signer = Signer::new(How::P384);
    for way in [Way::Tag, Way::Fallback] {
        let keep = Home::new();
        let real = Real::start(&keep, "", "");
        let scene = Scene::new(false).at(&format!("127.0.0.1:{}", real.port));
        scene.key("lab.pub", &signer);
        scene.demands("[\"lab.pub\"]");
        stock(&scene, &real);
        scene
            .pull()
            .exits(125)
            .says_in_words("no signature was found");
        scene.sign(way, &signer);
        stock(&scene, &real);
        scene.pull().ok();
        scene.run().ok().prints("first");
        let told = scene.trust(0);
        assert_eq!(told["places"][0]["found"][0]["how"], way.how(), "{told:#}");
        // It goes on without the registry.
        drop(real);
        scene.run().ok().prints("first");
    }
}
