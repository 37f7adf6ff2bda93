//! `lazaret tag` and `lazaret push`: what a registry gets is what the store has, byte by byte, or
//! nothing.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::process::Command;
use support::{
    Answer, Entry, Home, Image, Layer, Layout, Ran, Real, Registry, Shelf, find, list, need,
};

fn image() -> Image {
    Image::new([
        Layer::of(&[Entry::file("hello", "x".repeat(3_000_000))]),
        Layer::of(&[Entry::file("other", "y")]),
    ])
}

/// Loads the image as `lab/img:test` of a registry.
fn load(home: &Home, image: &Image, name: &str) -> Layout {
    let layout = image.layout(home, "ours");
    home.lazaret(["load", "-q", &layout, name]).run().ok();
    image.build()
}

fn push(home: &Home, args: &[&str]) -> Ran {
    home.lazaret(["push"].iter().chain(args)).run()
}

/// How many requests of a method there were.
fn count(registry: &Registry, method: &str) -> usize {
    let asked = registry.asked();
    asked.iter().filter(|a| a.method == method).count()
}

/// Where the store keeps a blob.
fn blob_file(home: &Home, digest: &str) -> std::path::PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    home.store().join("blobs/sha256").join(hex)
}

fn layers(layout: &Layout) -> Vec<String> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&layout.blobs[&layout.manifest]).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_is_pushed_is_what_was_loaded() {
    need!("userns", "landlock");
    let home = Home::new();
    let shelf = Shelf::default();
    let registry = shelf.registry(|_, _| None);
    let name = format!("{}/lab/img:test", registry.address);
    push(&home, &[&name])
        .exits(125)
        .complains(&format!("lazaret tag SOURCE {name}"));
    let ours = load(&home, &image(), "img:1");
    home.lazaret(["tag", "img:1", &name]).run().ok().prints("");
    let size = ours.blobs[&ours.manifest].len();
    push(&home, &[&name])
        .ok()
        .prints(&format!("test: digest: {} size: {size}\n", ours.manifest))
        .complains("The push refers to repository")
        .complains(": Pushed");
    {
        let held = shelf.held();
        let (media, bytes) = &held.manifests[&("lab/img".into(), "test".into())];
        assert_eq!(media, "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(*bytes, ours.blobs[&ours.manifest]);
        for (digest, bytes) in ours.blobs.iter().filter(|(d, _)| **d != ours.manifest) {
            assert_eq!(held.blobs[digest], *bytes);
        }
    }
    // A second time nothing is sent but the manifest.
    let puts = count(&registry, "PUT");
    push(&home, &[&name]).ok().complains("Layer already exists");
    assert_eq!(count(&registry, "PUT"), puts + 1);
    push(&home, &["-q", &name])
        .ok()
        .prints(&format!("{name}\n"))
        .does_not_complain();
    // A tag that somebody here pushed is no stranger's.
    home.lazaret(["pull", &name]).run().ok();
    assert!(list(&home.store().join("staging")).is_empty());
    home.clean();
}

#[test]
fn what_another_repository_has_is_mounted() {
    need!("userns", "landlock");
    let home = Home::new();
    let shelf = Shelf::default();
    let registry = shelf.registry(|_, _| None);
    let first = format!("{}/lab/img:test", registry.address);
    let second = format!("{}/lab/second", registry.address);
    load(&home, &image(), &first);
    // The other repository has a name here, and nothing at the registry yet.
    home.lazaret(["image", "tag", &first, &second]).run().ok();
    push(&home, &[&first]).ok().complains(": Pushed");
    let puts = count(&registry, "PUT");
    home.lazaret(["image", "push", &second])
        .run()
        .ok()
        .complains("Mounted from lab/img");
    assert_eq!(count(&registry, "PUT"), puts + 1);
}

#[test]
fn a_blob_that_changed_at_rest_is_not_sent() {
    need!("userns", "landlock");
    let home = Home::new();
    let shelf = Shelf::default();
    let registry = shelf.registry(|_, _| None);
    let name = format!("{}/lab/img:test", registry.address);
    let ours = load(&home, &image(), &name);
    let digest = &layers(&ours)[0];
    let file = blob_file(&home, digest);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    push(&home, &[&name])
        .exits(125)
        .complains("is damaged")
        .complains(digest);
    let held = shelf.held();
    assert!(held.manifests.is_empty());
    let sent = registry.asked();
    let of_it = |a: &&support::Asked| a.method == "PUT" && a.path.contains(digest.as_str());
    assert_eq!(sent.iter().filter(of_it).count(), 0);
}

#[test]
fn names_that_cannot_be_given_or_pushed_are_refused() {
    need!("userns", "landlock");
    let home = Home::new();
    let name = "registry.example/lab/img:1";
    load(&home, &image(), name);
    let digest = format!("registry.example/lab/img@sha256:{}", "0".repeat(64));
    for args in [
        ["tag", name, "oci:./x"],
        ["tag", name, &digest],
        ["tag", name, "UPPER"],
        ["tag", "none.example/x", "y"],
    ] {
        home.lazaret(args).run().exits(125);
    }
    push(&home, &[&digest]).exits(125).complains("digest");
    push(&home, &["oci:./x"]).exits(125).complains("registry");
    // A name that policy lets no image in under is not given.
    home.policy(
        "[[trust]]\nimage = \"good.example/**\"\naccept = \"pinned\"\nreason = \"by digest alone\"\n",
    );
    home.lazaret(["tag", name, "good.example/x"])
        .run()
        .exits(125)
        .complains("by digest alone");
    home.lazaret(["tag", name, "other.example/x"]).run().ok();
    let images = home
        .lazaret(["images", "--format", "{{.Repository}}"])
        .run();
    images
        .ok()
        .prints("other.example/x\nregistry.example/lab/img\n");
}

#[test]
fn a_refusal_leaves_nothing_and_says_who_may_push() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = Registry::new(|_, _| Answer::new(403, &[], ""));
    let name = format!("{}/lab/img:test", registry.address);
    load(&home, &image(), &name);
    push(&home, &[&name])
        .exits(125)
        .complains("403")
        .complains(&format!("lazaret login {}", registry.address));
    assert!(list(&home.store().join("staging")).is_empty());
    assert!(!home.store().join("tags").exists() || list(&home.store().join("tags")).is_empty());
}

/// skopeo's word for what the registry has.
fn digest_by_skopeo(args: &[&str], name: &str) -> String {
    let out = Command::new(find("skopeo").unwrap())
        .args(["inspect", "--format", "{{.Digest}}"])
        .args(args)
        .arg(format!("docker://{name}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "skopeo: {said}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[test]
fn docker_registry_takes_it_with_a_password() {
    need!(
        "userns",
        "landlock",
        "docker-registry",
        "skopeo",
        "htpasswd"
    );
    let home = Home::new();
    let auth = Real::htpasswd(&home, "ana", "correct-horse");
    let real = Real::start(&home, "", &auth);
    let registry = format!("127.0.0.1:{}", real.port);
    let (name, other) = (
        format!("{registry}/lab/img:test"),
        format!("{registry}/lab/other:1"),
    );
    let ours = load(&home, &image(), &name);
    push(&home, &[&name]).exits(125).complains("401");
    home.lazaret(["login", "-u", "ana", "--password-stdin", &registry])
        .stdin("correct-horse\n")
        .run()
        .ok();
    push(&home, &[&name]).ok().complains(": Pushed");
    let tls = ["--tls-verify=false", "--creds=ana:correct-horse"];
    assert_eq!(digest_by_skopeo(&tls, &name), ours.manifest);
    home.lazaret(["tag", &name, &other]).run().ok();
    push(&home, &[&other])
        .ok()
        .complains("Mounted from lab/img");
    assert_eq!(digest_by_skopeo(&tls, &other), ours.manifest);
    // Somebody else's client brings every byte back.
    let copied = Command::new(find("skopeo").unwrap())
        .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
        .arg("--src-creds=ana:correct-horse")
        .args([
            format!("docker://{other}"),
            format!("oci:{}:x", home.path("back").display()),
        ])
        .output()
        .unwrap();
    assert!(copied.status.success());
    for (digest, bytes) in &ours.blobs {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let back = std::fs::read(home.path("back/blobs/sha256").join(hex)).unwrap();
        assert_eq!(back, *bytes);
    }
}

#[test]
fn docker_registry_takes_it_over_tls() {
    need!("userns", "landlock", "docker-registry", "skopeo", "openssl");
    let home = Home::new();
    Real::certificates(&home);
    let real = Real::start(&home, &Real::tls(&home), "");
    let name = format!("localhost:{}/lab/img:test", real.port);
    let ours = load(&home, &image(), &name);
    push(&home, &[&name]).exits(125).complains("certificate");
    home.lazaret(["push", &name])
        .env("SSL_CERT_FILE", home.path("ca.pem"))
        .run()
        .ok();
    let digest = digest_by_skopeo(&["--tls-verify=false"], &name);
    assert_eq!(digest, ours.manifest);
}
