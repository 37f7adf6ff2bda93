//! The distribution client against a registry of our own, honest and hostile: each case ends in
//! time, with a typed error, and with no credential where it does not belong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers fail by panicking"
)]

#[path = "registry_client/blobs.rs"]
mod blobs;
#[path = "registry_client/credentials.rs"]
mod credentials;
#[path = "registry_client/push.rs"]
mod push;
#[path = "registry_client/real.rs"]
mod real;
mod support;

use lazaret::error::{Error, Kind, Result};
use lazaret::host::Credential;
use lazaret::image::{Descriptor, ImageName, Manifest, Platform, Reference};
use lazaret::registry::{Auth, Client, Limits, Options, Served};
use serde_json::json;
use std::sync::mpsc;
use std::time::Duration;
use support::{Answer, Asked, Entry, Image, Layer, Layout, Pack, Registry, retag, sha256};

const PASSWORD: &str = "correct-horse";
const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "Content-Type: application/vnd.oci.image.index.v1+json";

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(1),
        stall: Duration::from_millis(400),
        document: Duration::from_millis(800),
        slowest: 1 << 30,
        retries: 2,
        pause: Duration::from_millis(5),
        longest_pause: Duration::from_secs(2),
        ..Limits::default()
    }
}

fn options() -> Options {
    Options {
        limits: limits(),
        ..Options::default()
    }
}

/// Credentials for `registry`, so that every test watches where they go.
fn known_to(registry: &Registry) -> Options {
    Options {
        auth: Some(Auth {
            registry: registry.address.clone(),
            credential: Credential::Basic {
                user: "ana".into(),
                password: PASSWORD.into(),
            },
        }),
        ..options()
    }
}

fn reference(name: &str) -> Reference {
    match ImageName::parse(name).unwrap() {
        ImageName::Registry(reference) => reference,
        other => panic!("{other:?}"),
    }
}

/// The result of `f`, which must come within five seconds.
fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(f()));
    told.recv_timeout(Duration::from_secs(5))
        .expect("it did not end in time")
}

fn resolve_as(options: Options, name: &str) -> Result<Served> {
    let reference = reference(name);
    in_time(move || Client::new(&options)?.resolve(&reference, &Platform::native()))
}

fn resolve(registry: &Registry) -> Result<Served> {
    resolve_as(known_to(registry), &registry.image())
}

/// The blob behind `blob`, and what `progress` was told last.
fn blob_as(options: Options, name: &str, blob: &Descriptor) -> Result<(Vec<u8>, u64)> {
    let (reference, blob) = (reference(name), blob.clone());
    in_time(move || {
        let (mut out, mut seen) = (Vec::new(), 0);
        let mut progress = |bytes| {
            assert!(bytes > seen, "progress goes forward");
            seen = bytes;
        };
        Client::new(&options)?.blob(&reference, &blob, &mut out, &mut progress)?;
        Ok((out, seen))
    })
}

fn blob(registry: &Registry, blob: &Descriptor) -> Result<(Vec<u8>, u64)> {
    blob_as(known_to(registry), &registry.image(), blob)
}

/// An image of one uncompressed layer that is larger than any buffer on the way.
fn layout() -> Layout {
    let noise: Vec<u8> = (0..400_000_u32)
        .map(|i| i.wrapping_mul(i).to_be_bytes()[2])
        .collect();
    let layer = Layer::of(&[Entry::file("noise", noise)]).packed_as(Pack::Plain);
    Image::new([layer]).build()
}

fn layer_of(layout: &Layout) -> Descriptor {
    let manifest = &layout.blobs[&layout.manifest];
    Manifest::parse(manifest, None).unwrap().layers.remove(0)
}

fn bytes_of(layout: &Layout) -> Vec<u8> {
    layout.blobs[&layout.layers[0]].clone()
}

fn authorized(asked: &[Asked]) -> usize {
    let with = |a: &&Asked| a.header("authorization").is_some() || a.body.contains(PASSWORD);
    asked.iter().filter(with).count()
}

#[track_caller]
fn fails(result: Result<impl std::fmt::Debug>, kind: Kind, says: &str) -> Error {
    let error = result.expect_err("it was taken");
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(says), "{error}: not {says:?}");
    assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
    error
}

#[test]
fn an_honest_registry_serves_a_manifest_and_its_blobs() {
    let layout = layout();
    let registry = Registry::of(&layout, |_, _| None);
    let served = resolve(&registry).unwrap();
    assert_eq!(served.top.to_string(), layout.manifest);
    assert_eq!(served.manifest, layout.blobs[&layout.manifest]);
    assert_eq!(served.index, None);
    let by_digest = format!("{}/img@{}", registry.address, layout.manifest);
    assert_eq!(
        resolve_as(options(), &by_digest).unwrap().manifest,
        served.manifest
    );
    let (bytes, seen) = blob(&registry, &served.parsed.layers[0]).unwrap();
    assert_eq!(bytes, bytes_of(&layout));
    assert_eq!(seen, bytes.len() as u64);
    assert_eq!(authorized(&registry.asked()), 0, "nobody asked who we are");
}

fn index_of(layout: &mut Layout, entries: serde_json::Value) -> String {
    let index = json!({"schemaVersion": 2, "manifests": entries,
        "mediaType": "application/vnd.oci.image.index.v1+json"});
    retag(layout, index.to_string())
}

fn entry(layout: &Layout, architecture: &str) -> serde_json::Value {
    json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": layout.manifest,
        "size": layout.blobs[&layout.manifest].len(),
        "platform": {"os": "linux", "architecture": architecture}})
}

#[test]
fn the_platform_is_chosen_out_of_an_index() {
    let mut layout = layout();
    let native = Platform::native().architecture;
    let mut other = entry(&layout, "s390x");
    other["digest"] = json!(sha256(b"another"));
    let own = entry(&layout, &native);
    let top = index_of(&mut layout, json!([other, own]));
    let registry = Registry::of(&layout, |_, _| None);
    let served = resolve(&registry).unwrap();
    assert_eq!(served.top.to_string(), top);
    assert_eq!(served.index.unwrap().0, layout.blobs[&top]);
    assert_eq!(served.manifest, layout.blobs[&layout.manifest]);
    index_of(&mut layout, json!([other]));
    let registry = Registry::of(&layout, |_, _| None);
    fails(resolve(&registry), Kind::Platform, "not for");
    assert_eq!(registry.asked().len(), 1);
}

#[test]
fn an_index_that_lies_about_its_entry_is_found_out() {
    let native = Platform::native().architecture;
    for (field, value, kind, says) in [
        ("size", json!(7), Kind::Integrity, "more than the 7 bytes"),
        ("size", json!(100_000), Kind::Integrity, "100000 bytes"),
        ("size", json!(5_000_000), Kind::Limit, "more than"),
        (
            "mediaType",
            json!("application/vnd.docker.distribution.manifest.v2+json"),
            Kind::Malformed,
            "comes as",
        ),
        (
            "mediaType",
            json!("application/vnd.oci.image.index.v1+json"),
            Kind::Malformed,
            "another index",
        ),
    ] {
        let mut layout = layout();
        let mut entry = entry(&layout, &native);
        entry[field] = value.clone();
        index_of(&mut layout, json!([entry]));
        let registry = Registry::of(&layout, |_, _| None);
        fails(resolve(&registry), kind, says);
    }
    // The index is honest, the manifest behind it another.
    let mut layout = layout();
    let entry = entry(&layout, &native);
    index_of(&mut layout, json!([entry]));
    let digest = layout.manifest.clone();
    let bytes = String::from_utf8(layout.blobs[&digest].clone()).unwrap();
    layout
        .blobs
        .insert(digest, bytes.replace("1.tar", "2.tar").into());
    let registry = Registry::of(&layout, |_, _| None);
    fails(resolve(&registry), Kind::Integrity, "the bytes are");
}

#[test]
fn manifests_that_are_not_what_was_named_are_refused() {
    let whole = layout();
    let good = whole.blobs[&whole.manifest].clone();
    let digest = |of: &[u8]| format!("Docker-Content-Digest: {}", sha256(of));
    let nested = json!({"schemaVersion": 2, "manifests": []}).to_string();
    let both = json!({"schemaVersion": 2, "manifests": [], "layers": [], "config": {}}).to_string();
    let page = Answer::new(
        200,
        &["Content-Type: text/html; charset=utf-8"],
        "<html>log in</html>",
    );
    for (name, answer, kind, says) in [
        (
            "its header lies",
            Answer::new(200, &[MANIFEST, &digest(b"x")], &good),
            Kind::Integrity,
            "its header says",
        ),
        (
            "two headers",
            Answer::new(200, &[MANIFEST, &digest(&good), &digest(&good)], &good),
            Kind::Malformed,
            "is not a digest",
        ),
        (
            "no digest",
            Answer::new(200, &[MANIFEST, "Docker-Content-Digest: sha256:00"], &good),
            Kind::Malformed,
            "is not a digest",
        ),
        ("a web page", page, Kind::Registry, "web page"),
        (
            "octets",
            Answer::new(200, &["Content-Type: application/octet-stream"], &good),
            Kind::Malformed,
            "which is no image",
        ),
        (
            "no type",
            Answer::new(200, &[], &good),
            Kind::Malformed,
            "which is no image",
        ),
        (
            "two types",
            Answer::new(200, &[MANIFEST, INDEX], &good),
            Kind::Malformed,
            "which is no image",
        ),
        (
            "another type",
            Answer::new(200, &[INDEX], &good),
            Kind::Malformed,
            "a manifest stands where an index",
        ),
        (
            "an index called a manifest",
            Answer::new(200, &[MANIFEST], nested),
            Kind::Malformed,
            "an index stands where",
        ),
        (
            "both",
            Answer::new(200, &[INDEX], both),
            Kind::Malformed,
            "both",
        ),
        (
            "schema 1",
            Answer::new(
                200,
                &["Content-Type: application/vnd.docker.distribution.manifest.v1+json"],
                "{}",
            ),
            Kind::Unsupported,
            "schema 1",
        ),
        (
            "gzip",
            Answer::new(200, &[MANIFEST, "Content-Encoding: gzip"], &good),
            Kind::Malformed,
            "encoded",
        ),
        (
            "part of it",
            Answer::new(200, &[MANIFEST], &good[..100]),
            Kind::Malformed,
            "not valid",
        ),
        (
            "empty",
            Answer::new(200, &[MANIFEST], ""),
            Kind::Malformed,
            "not valid",
        ),
        (
            "a status of its own",
            Answer::new(299, &[MANIFEST], &good),
            Kind::Registry,
            "299",
        ),
        (
            "a part, unasked",
            Answer::new(416, &[MANIFEST], &good),
            Kind::Registry,
            "416",
        ),
    ] {
        let registry = Registry::new(move |_, _| answer.clone());
        let error = fails(resolve(&registry), kind, says);
        assert!(
            error.to_string().contains(&registry.address) || kind != Kind::Registry,
            "{name}: {error}"
        );
    }
    let by_digest = |registry: &Registry| format!("{}/img@{}", registry.address, sha256(b"other"));
    let registry = Registry::new(move |_, _| Answer::new(200, &[MANIFEST], &good));
    fails(
        resolve_as(options(), &by_digest(&registry)),
        Kind::Integrity,
        "the name says",
    );
}

#[test]
fn documents_have_an_end() {
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    let dripping = (0..60).fold(Answer::head(200, &[MANIFEST]), |answer, _| {
        answer.bytes(" ").pause(Duration::from_millis(100))
    });
    let drip_head = (0..60).fold(
        Answer::nothing().bytes("HTTP/1.1 200 OK\r\n"),
        |answer, i| {
            answer
                .bytes(format!("X-{i}: y\r\n"))
                .pause(Duration::from_millis(100))
        },
    );
    let many: Vec<String> = (0..200).map(|i| format!("X-{i}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (answer, kind, says) in [
        (
            Answer::head(200, &[MANIFEST, "Transfer-Encoding: chunked"]).endless(&chunk),
            Kind::Limit,
            "larger than",
        ),
        (
            Answer::head(200, &[MANIFEST]).endless(" ".repeat(4096)),
            Kind::Limit,
            "larger than",
        ),
        (
            Answer::head(200, &[MANIFEST, "Content-Length: 99999999999"]).endless(" ".repeat(4096)),
            Kind::Limit,
            "larger than",
        ),
        (
            Answer::nothing()
                .bytes("HTTP/1.1 200 OK\r\n")
                .endless(format!("X: {}\r\n", "y".repeat(1000))),
            Kind::Limit,
            "headers",
        ),
        (
            Answer::nothing()
                .bytes("HTTP/1.1 200 OK\r\nX: ")
                .endless("y".repeat(4096)),
            Kind::Limit,
            "headers",
        ),
        (Answer::new(200, &many, ""), Kind::Limit, "headers"),
        (
            Answer::nothing().endless("HTTP/1.1 100 Continue\r\n\r\n"),
            Kind::Limit,
            "headers",
        ),
        (
            Answer::nothing().bytes("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            Kind::Malformed,
            "HTTP",
        ),
        (
            Answer::nothing().hang(),
            Kind::Registry,
            "does not answer in time",
        ),
        (drip_head, Kind::Registry, "does not answer in time"),
        (dripping, Kind::Registry, "too slowly"),
        (
            Answer::head(200, &[MANIFEST, "Content-Length: 10"])
                .bytes("{")
                .hang(),
            Kind::Registry,
            "stalled",
        ),
        (
            Answer::head(200, &[MANIFEST, "Content-Length: 10"]).bytes("{"),
            Kind::Registry,
            "closed",
        ),
        (Answer::nothing(), Kind::Registry, "closed"),
    ] {
        let shown = format!("{answer:.200?}");
        let registry = Registry::new(move |_, _| answer.clone());
        let error = resolve(&registry).expect_err(&shown);
        assert_eq!(error.kind, kind, "{error} for {shown}");
        assert!(error.to_string().contains(says), "{error} for {shown}");
    }
}

#[test]
fn what_a_status_means_is_said() {
    for (status, kind, hint) in [
        (401, Kind::Credentials, "lazaret login"),
        (403, Kind::Credentials, "lazaret login"),
        (404, Kind::NotFound, "check the name"),
        (429, Kind::Registry, "wait"),
        (500, Kind::Registry, "later"),
        (503, Kind::Registry, "later"),
        (418, Kind::Registry, ""),
        (304, Kind::Registry, ""),
    ] {
        let body = "{\"errors\":[{\"code\":\"C\",\"message\":\"no\\u001b[31m\"}]}";
        let registry = Registry::new(move |_, _| Answer::new(status, &[], body));
        let error = fails(resolve(&registry), kind, &status.to_string());
        assert!(
            error.hint.clone().unwrap_or_default().contains(hint),
            "{error:?}"
        );
        assert!(!error.cause.contains('\x1b'), "{error:?}");
        let again = matches!(status, 429 | 500 | 503);
        assert_eq!(
            registry.asked().len(),
            if again { 3 } else { 1 },
            "{status}"
        );
    }
    let page = Answer::new(404, &["Content-Type: text/html"], "<html>");
    let registry = Registry::new(move |_, _| page.clone());
    fails(resolve(&registry), Kind::NotFound, "404");
    let gone = {
        let registry = Registry::new(|_, _| Answer::nothing());
        registry.image()
    };
    std::thread::sleep(Duration::from_millis(100));
    fails(
        resolve_as(options(), &gone),
        Kind::Registry,
        "connection refused",
    );
}

#[test]
fn what_passes_is_tried_again() {
    let layout = layout();
    for status in [429, 500, 502, 503, 504, 0] {
        let registry = Registry::of(&layout, move |_, count| {
            (count < 2).then(|| match status {
                0 => Answer::nothing(),
                status => Answer::new(status, &["Retry-After: 0"], ""),
            })
        });
        assert!(resolve(&registry).is_ok(), "{status}");
        assert_eq!(registry.asked().len(), 3, "{status}");
    }
    // A pause longer than any that is made is not begun.
    let registry = Registry::of(&layout, |_, _| {
        Some(Answer::new(429, &["Retry-After: 86400"], ""))
    });
    fails(resolve(&registry), Kind::Registry, "429");
    assert_eq!(registry.asked().len(), 1);
    // One that is not too long is kept.
    let registry = Registry::of(&layout, |_, count| {
        (count == 0).then(|| Answer::new(503, &["Retry-After: 1"], ""))
    });
    let start = std::time::Instant::now();
    assert!(resolve(&registry).is_ok());
    assert!(start.elapsed() >= Duration::from_secs(1));
}
