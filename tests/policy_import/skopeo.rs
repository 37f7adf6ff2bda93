//! The same policy in skopeo's hands and in ours: images in Debian's docker-registry and on disk, signed
//! by openssl as cosign does, and who takes which.

use super::signing::{How, Signer};
use super::support::{Entry, Home, Image, Layer, Layout, Real, find, need, sha256};
use super::{file, import};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lazaret::host::{Places, policy_from};
use lazaret::image::{ImageConfig, ImageName, Manifest};
use lazaret::policy::{Admit, admit};
use lazaret::trust::{Against, Found, Subject, signature_layers, verify};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

/// Asks a registry on loopback: the status and the headers.
fn ask(port: u16, method: &str, path: &str, media: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: {media}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn put_blob(port: u16, repository: &str, bytes: &[u8]) -> Value {
    let uploads = format!("/v2/{repository}/blobs/uploads/");
    let (status, answer) = ask(port, "POST", &uploads, "application/octet-stream", b"");
    assert_eq!(status, 202, "{answer}");
    let place = answer
        .lines()
        .find_map(|line| line.strip_prefix("Location: "))
        .unwrap();
    let path = place.split_once(&format!(":{port}")).unwrap().1.trim();
    let digest = sha256(bytes);
    let path = format!("{path}&digest={digest}");
    let (status, answer) = ask(port, "PUT", &path, "application/octet-stream", bytes);
    assert_eq!(status, 201, "{answer}");
    json!({ "digest": digest, "size": bytes.len() })
}

/// A signature as it was attached: the manifest that names it, and its payload.
type Attached = (Vec<u8>, Vec<Vec<u8>>);

/// Attaches signatures to an image in a repository, as cosign does: each by a signer, naming an image.
fn attach(port: u16, repository: &str, digest: &str, signatures: &[(&Signer, String)]) -> Attached {
    const MEDIA: &str = "application/vnd.oci.image.manifest.v1+json";
    let mut config = put_blob(port, repository, b"{}");
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let mut payloads = Vec::new();
    let layers = signatures.iter().map(|(signer, named)| {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": named },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let mut layer = put_blob(port, repository, &payload);
        layer["mediaType"] = json!("application/vnd.dev.cosign.simplesigning.v1+json");
        layer["annotations"] =
            json!({ "dev.cosignproject.cosign/signature": STANDARD.encode(signer.sign(&payload)) });
        payloads.push(payload);
        layer
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MEDIA, "config": config,
        "layers": layers.collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string().into_bytes();
    let path = format!(
        "/v2/{repository}/manifests/{}.sig",
        digest.replace(':', "-")
    );
    let (status, answer) = ask(port, "PUT", &path, MEDIA, &manifest);
    assert_eq!(status, 201, "{answer}");
    (manifest, payloads)
}

/// A registry and a layout with one image, under several names.
struct Scene {
    home: Home,
    _real: Real,
    image: Layout,
    /// What is attached to it, by repository in full.
    attached: BTreeMap<String, Attached>,
    registries: String,
}

impl Scene {
    /// Whether skopeo takes an image under a policy, and what it says.
    fn skopeo(&self, policy: &str, name: &str) -> (bool, String) {
        let out = self.home.path("copied");
        super::support::remove(&out);
        let source = match name.starts_with("oci") {
            true => name.to_owned(),
            false => format!("docker://{name}"),
        };
        let ran = Command::new(find("skopeo").unwrap())
            .args([
                "--policy",
                policy,
                "--registries.d",
                &self.registries,
                "copy",
                "-q",
            ])
            .args([
                "--src-tls-verify=false",
                &source,
                &format!("dir:{}", out.display()),
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        // Anything else that goes wrong is no answer.
        assert!(
            ran.status.success() || said.contains("Source image rejected"),
            "{name}: {said}"
        );
        (ran.status.success(), said.into_owned())
    }

    /// Whether lazaret does, under what was made out of that policy.
    fn lazaret(&self, policy: &str, name: &str) -> bool {
        let places = Places {
            system: "/nonexistent/policy.toml".into(),
            user: Some(policy.into()),
            project: None,
        };
        let policy = policy_from(&places, None).unwrap().policy;
        let name = ImageName::parse(name).unwrap();
        let reference = match &name {
            ImageName::Registry(reference) => Some(reference),
            _ => None,
        };
        let repository = reference.map(|name| format!("{}/{}", name.domain, name.path));
        let attached = repository.and_then(|repository| self.attached.get(&repository));
        let layers = attached.map_or(Vec::new(), |(manifest, _)| {
            signature_layers(manifest).unwrap()
        });
        let payloads = attached.into_iter().flat_map(|(_, payloads)| payloads);
        let found: Vec<Found<'_>> = layers
            .iter()
            .zip(payloads)
            .map(|(layer, payload)| Found::Simple { layer, payload })
            .collect();
        let bytes = &self.image.blobs[&self.image.manifest];
        let wanted = policy.wanted_signers(&name);
        let keys: Vec<_> = wanted.keys.iter().map(|key| &**key).collect();
        let against = Against {
            keys: &keys,
            roots: &[],
        };
        let evidence = verify(&found, &Subject { bytes, reference }, &against);
        let manifest = Manifest::parse(bytes, None).unwrap();
        let config = &self.image.blobs[&manifest.config.digest.to_string()];
        let config = ImageConfig::parse(config).unwrap();
        admit(
            &policy,
            &name,
            &manifest,
            &config,
            None,
            &evidence,
            1_800_000_000,
        ) == Admit::Go
    }
}

#[test]
fn skopeo_and_lazaret_take_the_same_images() {
    need!("docker-registry", "skopeo", "openssl");
    let home = Home::new();
    let real = Real::start(&home, "", "");
    let host = format!("127.0.0.1:{}", real.port);
    let image = Image::new([Layer::of(&[Entry::file("hello", "x".repeat(1000))])]);
    let layout = image.layout(&home, "ours");
    let image = image.build();
    let [ana, ben, eve] = [How::P256, How::P256, How::P256].map(Signer::new);
    let mut attached = BTreeMap::new();
    for (repository, tags, signatures) in [
        ("lab/none", &["1"][..], vec![]),
        (
            "lab/full",
            &["1", "2"],
            vec![(&ana, format!("{host}/lab/full:1"))],
        ),
        ("lab/repo", &["1"], vec![(&ana, format!("{host}/lab/repo"))]),
        (
            "lab/other",
            &["1"],
            vec![(&ana, format!("{host}/lab/full:1"))],
        ),
        ("lab/eve", &["1"], vec![(&eve, format!("{host}/lab/eve:1"))]),
        (
            "lab/both",
            &["1"],
            vec![
                (&ana, format!("{host}/lab/both:1")),
                (&ben, format!("{host}/lab/both:1")),
            ],
        ),
        (
            "lab/mixed",
            &["1"],
            vec![
                (&eve, format!("{host}/lab/mixed:1")),
                (&ana, format!("{host}/lab/mixed:1")),
            ],
        ),
    ] {
        for tag in tags {
            let to = format!("docker://{host}/{repository}:{tag}");
            let ran = Command::new(find("skopeo").unwrap())
                .args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"])
                .args([&layout, &to])
                .output()
                .unwrap();
            assert!(
                ran.status.success(),
                "{}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
        if !signatures.is_empty() {
            let found = attach(real.port, repository, &image.manifest, &signatures);
            attached.insert(format!("{host}/{repository}"), found);
        }
    }
    let keys = [("ana", &ana), ("ben", &ben)].map(|(name, signer)| {
        let text = std::str::from_utf8(&signer.public).unwrap();
        file(&home, &format!("{name}.pub"), text)
    });
    let digest = &image.manifest;
    let folder = layout.strip_prefix("oci:").unwrap().rsplit_once(':');
    let folder = folder.map_or(layout.strip_prefix("oci:").unwrap(), |(folder, _)| folder);
    let parent = std::path::Path::new(folder)
        .parent()
        .unwrap()
        .to_str()
        .unwrap();
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    let reject = json!([{ "type": "reject" }]);
    let by = |key: &str, identity: Value| {
        let mut one = json!({ "type": "sigstoreSigned", "keyPath": key });
        if !identity.is_null() {
            one["signedIdentity"] = identity;
        }
        one
    };
    let of = |kind: &str| json!({ "type": kind });
    let docker = |scopes: Value| json!({ "docker": scopes });
    let exact =
        json!({ "type": "exactReference", "dockerReference": format!("{host}/lab/full:1") });
    let repository =
        json!({ "type": "exactRepository", "dockerRepository": format!("{host}/lab/full") });
    let data = json!({ "type": "sigstoreSigned", "keyData": STANDARD.encode(&ana.public) });
    let by_default = json!([by(&keys[0], of("matchRepository"))]);
    // Whom the manual's rules would let in; skopeo itself is asked where it was built with sigstore,
    // which Debian's is not.
    let exactly = ["lab/full:1", "lab/both:1", "lab/mixed:1", "lab/full@"];
    let named = [
        "lab/full:1",
        "lab/full:2",
        "lab/repo:1",
        "lab/both:1",
        "lab/mixed:1",
        "lab/full@",
    ];
    let signed = |requirements: &Value| docker(json!({ host.clone(): requirements }));
    let policies: Vec<(&str, &Value, Value, &[&str])> = vec![
        ("accept", &accept, json!({}), &[]),
        ("reject", &reject, json!({}), &[]),
        (
            "host",
            &reject,
            docker(json!({ host.clone(): accept })),
            &[],
        ),
        (
            "host without port",
            &reject,
            docker(json!({ "127.0.0.1": accept })),
            &[],
        ),
        (
            "wildcard",
            &reject,
            docker(json!({ "*.0.0.1": accept })),
            &[],
        ),
        (
            "namespace",
            &accept,
            docker(json!({ format!("{host}/lab"): reject, format!("{host}/lab/full"): accept })),
            &[],
        ),
        (
            "half a name",
            &accept,
            docker(json!({ format!("{host}/la"): reject, format!("{host}/lab/ful"): reject })),
            &[],
        ),
        (
            "tag",
            &reject,
            docker(json!({ format!("{host}/lab/full:1"): accept })),
            &[],
        ),
        (
            "digest",
            &accept,
            docker(json!({ format!("{host}/lab/full@{digest}"): reject })),
            &[],
        ),
        ("docker", &accept, docker(json!({ "": reject })), &[]),
        (
            "disk",
            &reject,
            json!({ "oci": { parent: accept }, "docker": { "": accept, host.clone(): reject } }),
            &[],
        ),
        ("layout", &accept, json!({ "oci": { folder: reject } }), &[]),
        (
            "longer path",
            &accept,
            json!({ "oci": { format!("{folder}x"): reject } }),
            &[],
        ),
        (
            "signed",
            &reject,
            signed(&json!([by(&keys[0], Value::Null)])),
            &exactly,
        ),
        ("signed, data", &reject, signed(&json!([data])), &exactly),
        ("signed by default", &by_default, json!({}), &named),
        (
            "exactly",
            &reject,
            signed(&json!([by(&keys[0], of("matchExact"))])),
            &exactly[..3],
        ),
        (
            "repository",
            &reject,
            signed(&json!([by(&keys[0], of("matchRepository"))])),
            &named,
        ),
        (
            "two",
            &reject,
            signed(&json!([
                by(&keys[0], Value::Null),
                by(&keys[1], Value::Null)
            ])),
            &["lab/both:1"],
        ),
        (
            "and anything",
            &reject,
            signed(&json!([accept[0], by(&keys[0], Value::Null)])),
            &exactly,
        ),
        (
            "and nothing",
            &accept,
            signed(&json!([reject[0], by(&keys[0], Value::Null)])),
            &[],
        ),
        (
            "reference",
            &reject,
            docker(json!({ format!("{host}/lab/full:1"): [by(&keys[0], exact.clone())] })),
            &["lab/full:1"],
        ),
        (
            "another reference",
            &reject,
            signed(&json!([by(&keys[0], exact)])),
            &[
                "lab/full:1",
                "lab/full:2",
                "lab/full@",
                "lab/other:1",
                "lab/other@",
            ],
        ),
        (
            "another repository",
            &reject,
            signed(&json!([by(&keys[0], repository)])),
            &[
                "lab/full:1",
                "lab/full:2",
                "lab/full@",
                "lab/other:1",
                "lab/other@",
            ],
        ),
    ];
    let registries = home.root().join("registries.d");
    file(
        &home,
        "registries.d/all.yaml",
        "default-docker:\n  use-sigstore-attachments: true\n",
    );
    let mut names: Vec<String> = [
        "lab/none:1",
        "lab/full:1",
        "lab/full:2",
        "lab/repo:1",
        "lab/other:1",
        "lab/eve:1",
        "lab/both:1",
        "lab/mixed:1",
    ]
    .iter()
    .map(|name| format!("{host}/{name}"))
    .collect();
    names.push(format!("{host}/lab/full@{digest}"));
    names.push(format!("{host}/lab/other@{digest}"));
    names.push(layout.clone());
    let scene = Scene {
        home,
        _real: real,
        image,
        attached,
        registries: registries.to_str().unwrap().to_owned(),
    };
    let (mut bad, mut table) = (Vec::new(), String::new());
    let mut counts = [0; 2];
    for (what, default, transports, manual) in policies {
        let text = json!({ "default": default, "transports": transports }).to_string();
        let source = file(&scene.home, "policy.json", &text);
        let ran = import(
            &scene.home,
            &["--policy", &source, "--registries-d", &scene.registries],
        );
        let whole = !ran.err().contains("not mapped");
        let less = !whole || ran.err().contains("which takes less");
        let made = file(
            &scene.home,
            "made.toml",
            &ran.exits(i32::from(!whole)).out(),
        );
        write!(table, "{what:<20}").unwrap();
        for name in &names {
            let (theirs, said) = match scene.skopeo(&source, name) {
                (_, said) if said.contains("sigstore disabled") => {
                    let fits = |one: &&str| name.starts_with(&format!("{host}/{one}"));
                    (manual.iter().any(fits), said)
                }
                answer => answer,
            };
            let ours = scene.lazaret(&made, name);
            counts[usize::from(theirs)] += 1;
            let cell = match (theirs, ours) {
                (true, true) => "both",
                (false, false) => "none",
                // What could not be said is rejected.
                (true, false) if less => "less",
                _ => {
                    bad.push(format!(
                        "{what}: {name}: skopeo {theirs}, lazaret {ours}\n{text}\n{said}"
                    ));
                    "BAD"
                }
            };
            write!(table, " {cell}").unwrap();
        }
        writeln!(table).unwrap();
    }
    println!("{table}");
    assert!(bad.is_empty(), "{table}\n{}", bad.join("\n"));
    // A skopeo that refuses all of it, or nothing, would prove nothing.
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
