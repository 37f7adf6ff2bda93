//! Registries that lie, through the whole binary: each ends in time with an error that says what was
//! wrong, leaves nothing in the store, and learns no credentials that are not its own.
//!
//! What waits (stalls, bodies that drip) is tried with short limits in `registry_client`.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{
    Answer, Asked, Entry, Home, Image, Layout, Registry, honest, list, need, retag, sha256,
};

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "Content-Type: application/vnd.oci.image.index.v1+json";
const PASSWORD: &str = "correct-horse";
/// The longest that a case may take: retries with their pauses, on a busy machine.
const IN_TIME: Duration = Duration::from_secs(60);

fn layout() -> Layout {
    Image::toolbox().with(&[Entry::file("m", "x")]).build()
}

/// The manifest that the layout's tag names, and its digest.
fn manifest(layout: &Layout) -> (String, Value) {
    let index: Value = serde_json::from_str(&layout.index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = serde_json::from_slice(&layout.blobs[&digest]).unwrap();
    (digest, manifest)
}

fn last_layer(layout: &Layout) -> String {
    let (_, manifest) = manifest(layout);
    let layers = manifest["layers"].as_array().unwrap();
    layers.last().unwrap()["digest"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The layout under a manifest that somebody changed.
fn edited(edit: impl FnOnce(&mut Value)) -> Layout {
    let mut layout = layout();
    let (_, mut manifest) = manifest(&layout);
    edit(&mut manifest);
    retag(&mut layout, manifest.to_string());
    layout
}

fn is_of(asked: &Asked, digest: &str) -> bool {
    asked.method == "GET" && asked.path.ends_with(digest)
}

type Serve = Box<dyn Fn(&Asked, usize) -> Answer + Send + Sync>;

/// Answers requests for the manifest like this.
fn documents(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Serve {
    let layout = layout();
    Box::new(move |asked, _| match asked.is_manifest() {
        true => answer(),
        false => honest(&layout, asked),
    })
}

/// Answers requests for the uppermost layer like this, given its bytes.
fn layers(answer: impl Fn(&[u8]) -> Answer + Send + Sync + 'static) -> Serve {
    let layout = layout();
    let last = last_layer(&layout);
    Box::new(move |asked, _| match is_of(asked, &last) {
        true => answer(&layout.blobs[&last]),
        false => honest(&layout, asked),
    })
}

fn serves(layout: Layout) -> Serve {
    Box::new(move |asked, _| honest(&layout, asked))
}

fn cases(elsewhere: &str) -> Vec<(&'static str, &'static str, Serve)> {
    let good = layout();
    let (_, right) = manifest(&good);
    let right = right.to_string();
    let page = || Answer::new(200, &["Content-Type: text/html"], "<html>log in</html>");
    let elsewhere = elsewhere.to_owned();
    let length = |n: usize| format!("Content-Length: {n}");
    let mut cases: Vec<(&'static str, &'static str, Serve)> = vec![
        ("a login page for a manifest", "web page", documents(page)),
        (
            "a login page for a layer",
            "web page",
            layers(move |_| page()),
        ),
        (
            "no registry",
            "404",
            documents(|| Answer::new(404, &[], "")),
        ),
        ("no way in", "401", documents(|| Answer::new(401, &[], ""))),
        ("forbidden", "403", documents(|| Answer::new(403, &[], ""))),
        (
            "too often, for an hour",
            "429",
            documents(|| Answer::new(429, &["Retry-After: 3600"], "")),
        ),
        ("broken", "500", documents(|| Answer::new(500, &[], ""))),
        (
            "a layer that is never ready",
            "503",
            layers(|_| Answer::new(503, &["Retry-After: 1"], "")),
        ),
        (
            "headers without end",
            "headers",
            documents(|| {
                Answer::nothing()
                    .bytes("HTTP/1.1 200 OK\r\n")
                    .endless("X-A: ".to_owned() + &"a".repeat(4000) + "\r\n")
            }),
        ),
        (
            "one header of 100 MB",
            "headers",
            documents(|| {
                Answer::nothing()
                    .bytes("HTTP/1.1 200 OK\r\nX-A: ")
                    .endless("a".repeat(1 << 16))
            }),
        ),
        (
            "a manifest without end",
            "larger than",
            documents(|| Answer::head(200, &[MANIFEST]).endless(" ".repeat(1 << 16))),
        ),
        (
            "a manifest of another type",
            "no image",
            documents(|| Answer::new(200, &["Content-Type: text/plain"], "{}")),
        ),
        (
            "a manifest that is none",
            "not valid",
            documents(|| Answer::new(200, &[MANIFEST], "not json")),
        ),
        (
            "a manifest with another digest",
            "its header says",
            documents(move || {
                let header = format!("Docker-Content-Digest: {}", sha256(b"other"));
                Answer::new(200, &[MANIFEST, &header], &right)
            }),
        ),
        (
            "10,000 layers",
            "layers, more than",
            serves(edited(|manifest| {
                let layer = manifest["layers"][0].clone();
                manifest["layers"] = json!(vec![layer; 10_000]);
            })),
        ),
        (
            "a layer that comes from elsewhere",
            "foreign",
            serves(edited(|manifest| {
                manifest["layers"][0]["mediaType"] =
                    json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
                manifest["layers"][0]["urls"] = json!([format!("http://{elsewhere}/layer")]);
            })),
        ),
        (
            "a layer of an exabyte",
            "max_size",
            serves(edited(|manifest| {
                let last = manifest["layers"].as_array().unwrap().len() - 1;
                manifest["layers"][last]["size"] = json!(1_u64 << 60);
            })),
        ),
        ("an index in an index", "index", {
            let mut nested = layout();
            let inner = nested.add(
                    "application/vnd.oci.image.index.v1+json",
                    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).to_string().into_bytes(),
                );
            let mut entry = inner.json();
            entry["platform"] = json!({"os": "linux", "architecture": manifest_arch()});
            retag(
                &mut nested,
                json!({
                    "schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.index.v1+json",
                    "manifests": [entry],
                })
                .to_string(),
            );
            serves(nested)
        }),
        ("a config that is another", "its digest is", {
            let (_, manifest) = manifest(&good);
            let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
            let size = good.blobs[&config].len();
            let good = good.clone();
            Box::new(move |asked: &Asked, _| match is_of(asked, &config) {
                true => Answer::new(200, &[], " ".repeat(size)),
                false => honest(&good, asked),
            })
        }),
        (
            "a layer with a flipped bit",
            "the bytes are",
            layers(|bytes| {
                let mut bytes = bytes.to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                Answer::new(200, &[], bytes)
            }),
        ),
        (
            "a short layer",
            "bytes are announced",
            layers(|bytes| Answer::new(200, &[], &bytes[1..])),
        ),
        (
            "a layer that is cut off each time",
            "",
            layers(move |bytes| {
                Answer::head(200, &[&length(bytes.len())]).bytes(&bytes[..bytes.len() / 2])
            }),
        ),
        (
            "a long layer",
            "",
            layers(|bytes| Answer::new(200, &[], [bytes, b"x"].concat())),
        ),
        (
            "a layer without end",
            "more came",
            layers(|bytes| {
                Answer::head(200, &[])
                    .bytes(bytes)
                    .endless("x".repeat(1 << 16))
            }),
        ),
        (
            "a layer that is encoded",
            "encoded",
            layers(|bytes| Answer::new(200, &["Content-Encoding: gzip"], bytes)),
        ),
        (
            "a redirect into itself",
            "redirects more than",
            Box::new(|asked: &Asked, _| Answer::redirect(&asked.path)),
        ),
        (
            "a redirect to a file",
            "it leads to no address",
            documents(|| Answer::redirect("file:///etc/passwd")),
        ),
    ];
    let to = elsewhere.clone();
    cases.push((
        "a redirect of a layer to somebody else",
        "404",
        layers(move |_| Answer::redirect(&format!("http://{to}/layer"))),
    ));
    let to = elsewhere.clone();
    cases.push((
        "tokens from somebody else",
        "credentials stay here",
        documents(move || {
            let wants =
                format!("WWW-Authenticate: Bearer realm=\"http://{to}/token\",service=\"x\"");
            Answer::new(401, &[&wants], "")
        }),
    ));
    cases.push((
        "an index without this machine's image",
        "platform",
        documents(|| {
            Answer::new(200, &[INDEX], json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).to_string())
        }),
    ));
    cases
}

fn manifest_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn ends(name: &str, says: &str, serve: &Arc<Serve>, elsewhere: &Registry) {
    let home = Home::new();
    let serve = Arc::clone(serve);
    let registry = Registry::new(move |asked, count| serve(asked, count));
    let auths = json!({"auths": {
        registry.address.as_str(): {"auth": base64(&format!("ana:{PASSWORD}"))},
    }});
    std::fs::write(home.path("auth.json"), auths.to_string()).unwrap();
    let start = Instant::now();
    let ran = home
        .lazaret(["pull", &registry.image()])
        .env("REGISTRY_AUTH_FILE", home.path("auth.json"))
        .run();
    let took = start.elapsed();
    let ran = ran.exits(125).complains(says);
    assert!(ran.err().contains("lazaret: pull "), "{name}: {ran}");
    for word in ["panicked", "worker died", PASSWORD] {
        assert!(!ran.err().contains(word), "{name}: {ran}");
    }
    assert!(took < IN_TIME, "{name}: {took:?}");
    for folder in ["staging", "blobs/sha256", "refs", "tags"] {
        let left = list(&home.store().join(folder));
        assert!(left.is_empty(), "{name}: {folder}: {left:?}");
    }
    for map in list(&home.store().join("layers")) {
        let left = list(&home.store().join("layers").join(&map));
        assert!(left.is_empty(), "{name}: layers/{map}: {left:?}");
    }
    let told = elsewhere.asked();
    let told: Vec<_> = told
        .iter()
        .filter(|a| a.header("authorization").is_some())
        .collect();
    assert!(told.is_empty(), "{name}: {told:?}");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn each_lie_ends_in_time_and_leaves_nothing() {
    need!("userns", "landlock");
    let elsewhere = Registry::new(|_, _| Answer::new(404, &[], ""));
    let cases = cases(&elsewhere.address);
    let elsewhere = &elsewhere;
    // Most of the time they wait.
    for some in cases.into_iter().collect::<Vec<_>>().chunks_mut(8) {
        std::thread::scope(|scope| {
            for (name, says, serve) in some {
                let serve = std::mem::replace(serve, Box::new(|_, _| Answer::nothing()));
                let serve = Arc::new(serve);
                scope.spawn(move || ends(name, says, &serve, elsewhere));
            }
        });
    }
}
