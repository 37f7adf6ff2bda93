//! A registry with an image, what is attached to it, and a policy that wants it signed.

use super::authority::{envelope, of_key, pae, statement};
use super::signing::Signer;
use super::support::{Answer, Asked, Entry, Home, Image, Layout, Ran, Registry, Shelf, sha256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const REPOSITORY: &str = "lab/img";

/// Where a signature is kept, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Simple signing, under cosign's tag.
    Tag,
    /// A bundle, in the list under the referrers' tag.
    Fallback,
    /// A bundle, by the referrers API.
    Api,
    /// The same, of which nobody says that it is one.
    ApiUntyped,
}

impl Way {
    pub const ALL: [Self; 4] = [Self::Tag, Self::Fallback, Self::Api, Self::ApiUntyped];

    pub fn has_api(self) -> bool {
        matches!(self, Self::Api | Self::ApiUntyped)
    }

    pub fn how(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Fallback => "fallback",
            Self::Api | Self::ApiUntyped => "referrers",
        }
    }
}

pub struct Scene {
    pub home: Home,
    pub shelf: Shelf,
    pub registry: Option<Registry>,
    pub layout: Layout,
    address: String,
    /// `ADDRESS/lab/img:test`.
    pub name: String,
}

/// What was said, in one line however it was wrapped.
pub trait Words {
    fn says_in_words(&self, text: &str);
}

impl Words for Ran {
    #[track_caller]
    fn says_in_words(&self, text: &str) {
        let said = self.err().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(text), "wanted {text:?}\n{self}");
    }
}

/// What a registry with the referrers API says of a digest.
fn referrers(shelf: &Shelf, asked: &Asked) -> Option<Answer> {
    let (_, digest) = asked.path.split_once("/referrers/")?;
    let held = shelf.held();
    let attached = held
        .manifests
        .iter()
        .filter_map(|((_, name), (media, bytes))| {
            let parsed: Value = serde_json::from_slice(bytes).ok()?;
            let about = parsed["subject"]["digest"] == digest && name.starts_with("sha256:");
            let mut entry = json!({"mediaType": media, "digest": name, "size": bytes.len()});
            if parsed["artifactType"].is_string() {
                entry["artifactType"] = parsed["artifactType"].clone();
            }
            about.then_some(entry)
        });
    let list = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": attached.collect::<Vec<_>>(),
    });
    let kind = format!("Content-Type: {INDEX}");
    Some(Answer::new(200, &[&kind], list.to_string()))
}

impl Scene {
    /// With the referrers API, or without.
    pub fn new(api: bool) -> Self {
        Self::instead(api, |_| None)
    }

    /// As [`Scene::new`], except where `instead` answers.
    pub fn instead(
        api: bool,
        instead: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let layout = Image::toolbox()
            .with(&[Entry::file("marker", "first")])
            .build();
        Self::with(layout, api, instead)
    }

    /// With another image, and without the referrers API.
    pub fn of(layout: Layout) -> Self {
        Self::with(layout, false, |_| None)
    }

    fn with(
        layout: Layout,
        api: bool,
        instead: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let shelf = Shelf::default();
        shelf.held().api = api;
        let registry = shelf.registry({
            let shelf = shelf.clone();
            move |asked, _| {
                let listed = || referrers(&shelf, asked).filter(|_| api);
                instead(asked).or_else(listed)
            }
        });
        let address = registry.address.clone();
        let scene = Self {
            home: Home::new(),
            shelf,
            name: format!("{address}/{REPOSITORY}:test"),
            address,
            registry: Some(registry),
            layout,
        };
        for bytes in scene.layout.blobs.values() {
            scene.blob(bytes);
        }
        scene.document(MANIFEST, &scene.manifest(), Some("test"));
        scene
    }

    /// As [`Scene::new`], and the registry has nothing yet.
    pub fn empty_handed(api: bool) -> Self {
        let scene = Self::new(api);
        let mut held = scene.shelf.held();
        held.blobs.clear();
        held.has.clear();
        held.manifests.clear();
        drop(held);
        scene
    }

    /// The same image at another registry.
    pub fn at(mut self, address: &str) -> Self {
        self.address = address.to_owned();
        self.name = format!("{address}/{REPOSITORY}:test");
        self
    }

    /// `ADDRESS/lab/img`.
    pub fn repository(&self) -> String {
        format!("{}/{REPOSITORY}", self.address)
    }

    pub fn manifest(&self) -> Vec<u8> {
        self.layout.blobs[&self.layout.manifest].clone()
    }

    /// The registry has a blob.
    pub fn blob(&self, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        let mut held = self.shelf.held();
        held.has.insert((REPOSITORY.to_owned(), digest.clone()));
        held.blobs.insert(digest.clone(), bytes.to_vec());
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
    }

    /// The registry has a document, by its digest and by a tag.
    pub fn document(&self, media: &str, bytes: &[u8], tag: Option<&str>) -> String {
        let digest = sha256(bytes);
        let mut held = self.shelf.held();
        for name in [Some(digest.as_str()), tag].into_iter().flatten() {
            let kept = (media.to_owned(), bytes.to_vec());
            held.manifests
                .insert((REPOSITORY.to_owned(), name.to_owned()), kept);
        }
        digest
    }

    /// The image's tag means an index that names it; its digest.
    pub fn wrap_in_index(&self) -> String {
        let manifest = self.manifest();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
            "mediaType": MANIFEST, "digest": sha256(&manifest), "size": manifest.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }]});
        self.document(INDEX, index.to_string().as_bytes(), Some("test"))
    }

    /// Signs the image with a key.
    pub fn sign(&self, way: Way, signer: &Signer) {
        let digest = self.layout.manifest.clone();
        if way == Way::Tag {
            return self.sign_simple(&digest, &self.repository(), signer);
        }
        let bundle = bundle(&digest, signer);
        match way {
            Way::ApiUntyped => self.attach_bundle(&bundle, None),
            _ => self.attach_bundle(&bundle, Some(BUNDLE)),
        };
    }

    /// Puts a payload for a digest, in the name of a repository, under cosign's tag.
    pub fn sign_simple(&self, digest: &str, repository: &str, signer: &Signer) {
        let payload = payload(digest, repository);
        let signature = STANDARD.encode(signer.sign(payload.as_bytes()));
        self.attach_simple(digest, &[(payload, signature)]);
    }

    /// Puts payloads and their signatures under cosign's tag of a digest.
    pub fn attach_simple(&self, digest: &str, signatures: &[(String, String)]) {
        let layers = signatures.iter().map(|(payload, signature)| {
            let mut layer = self.blob(payload.as_bytes());
            layer["mediaType"] = json!(SIMPLE);
            layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
            layer
        });
        self.under_tag(digest, &layers.collect::<Vec<_>>());
    }

    /// Puts layers under cosign's tag of a digest.
    pub fn under_tag(&self, digest: &str, layers: &[Value]) {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.empty(), "layers": layers,
        });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        self.document(MANIFEST, manifest.to_string().as_bytes(), Some(&tag));
    }

    /// An empty config.
    pub fn empty(&self) -> Value {
        let mut config = self.blob(b"{}");
        config["mediaType"] = json!("application/vnd.oci.empty.v1+json");
        config
    }

    /// Attaches a bundle to the image, as a referrer of that type; its manifest's digest.
    pub fn attach_bundle(&self, bundle: &[u8], kind: Option<&str>) -> String {
        let mut layer = self.blob(bundle);
        layer["mediaType"] = json!(BUNDLE);
        self.attach(&self.layout.manifest, layer, kind)
    }

    /// Attaches a layer to a digest.
    pub fn attach(&self, subject: &str, layer: Value, kind: Option<&str>) -> String {
        self.attach_all(subject, &[layer], kind)
    }

    /// Attaches layers to a digest, in one manifest.
    pub fn attach_all(&self, subject: &str, layers: &[Value], kind: Option<&str>) -> String {
        let size = self.manifest().len();
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.empty(), "layers": layers,
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": size},
        });
        if let Some(kind) = kind {
            manifest["artifactType"] = json!(kind);
        }
        let bytes = manifest.to_string();
        let digest = self.document(MANIFEST, bytes.as_bytes(), None);
        let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": bytes.len()});
        self.list(entry);
        digest
    }

    /// Adds an entry to the list under the referrers' tag, which is what a registry without the API
    /// has.
    pub fn list(&self, entry: Value) {
        let tag = self.layout.manifest.replace(':', "-");
        let key = (REPOSITORY.to_owned(), tag.clone());
        let before = self.shelf.held().manifests.get(&key).cloned();
        let mut list = match before {
            Some((_, bytes)) => serde_json::from_slice(&bytes).unwrap(),
            None => json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
        };
        list["manifests"].as_array_mut().unwrap().push(entry);
        self.document(INDEX, list.to_string().as_bytes(), Some(&tag));
    }

    /// A scene with an image that is signed with a key that the policy wants, and pulled.
    pub fn pulled(way: Way, signer: &Signer) -> Self {
        let scene = Self::new(way.has_api());
        scene.key("lab.pub", signer);
        scene.demands("[\"lab.pub\"]");
        scene.sign(way, signer);
        scene.pull().ok();
        scene
    }

    fn config(&self) -> std::path::PathBuf {
        let folder = self.home.root().join("config/lazaret");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        folder
    }

    /// A file beside the policy.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.config().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// A public key beside the policy.
    pub fn key(&self, name: &str, signer: &Signer) {
        self.file(name, &signer.public);
    }

    /// The policy wants images of this registry signed so.
    pub fn demands(&self, signed: &str) {
        self.demands_until(signed, "2999-12-31");
    }

    /// As [`Scene::demands`], until some day.
    pub fn demands_until(&self, signed: &str, until: &str) {
        let address = self.address.clone();
        self.policy(&format!(
            "[[trust]]\nimage = [\"{address}/lab/**\", \"{address}/other/**\"]\naccept = {{ signed = {signed} }}\n\
             until = {until}\nreason = \"the lab signs\"\n"
        ));
    }

    pub fn policy(&self, rules: &str) {
        self.home.policy(rules);
    }

    pub fn pull(&self) -> Ran {
        self.home.lazaret(["pull", "-q", &self.name]).run()
    }

    pub fn run(&self) -> Ran {
        let line = ["run", "--rm", &self.name, "cat", "/marker"];
        self.home.lazaret(line).run()
    }

    /// What `lazaret trust` says, which must end so.
    #[track_caller]
    pub fn trust(&self, code: i32) -> Value {
        let line = ["trust", "--format", "json", &self.name];
        let ran = self.home.lazaret(line).run().exits(code);
        serde_json::from_str(&ran.out()).unwrap()
    }

    /// What was asked of the registry.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.registry.as_ref().unwrap().asked();
        asked.into_iter().map(|asked| asked.path).collect()
    }

    /// The registry is gone.
    pub fn hang_up(&mut self) {
        self.registry = None;
    }
}

/// cosign's payload.
pub fn payload(digest: &str, repository: &str) -> String {
    json!({
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
}

/// A bundle over a statement about a digest.
pub fn bundle(digest: &str, signer: &Signer) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let statement = statement(hex, "https://sigstore.dev/cosign/sign/v1");
    let signature = signer.sign(&pae(statement.as_bytes()));
    let envelope = envelope(statement.as_bytes(), &signature);
    of_key("dsseEnvelope", envelope).to_string().into_bytes()
}
