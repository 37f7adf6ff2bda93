//! Images for tests: honest by default, and wrong in any one place on demand.
//!
//! [`Image`] says what is wanted, [`Image::build`] makes a [`Layout`] (blobs by digest and an index)
//! whose fields a test may spoil before it is written as a folder, an OCI archive or a docker archive.

use super::{Entry, Home, Pack, tar, toolbox};
use serde_json::{Value, json};
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// `sha256:` and the hex digits of `bytes`' digest; independent of lazaret's own code.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("sha256:");
    for byte in sha2::Sha256::digest(bytes) {
        write!(out, "{byte:02x}").unwrap();
    }
    out
}

/// A blob and what its descriptor says of it.
#[derive(Clone)]
pub struct Blob {
    pub media: String,
    pub bytes: Vec<u8>,
    pub digest: String,
    pub size: u64,
}

impl Blob {
    pub fn new(media: &str, bytes: Vec<u8>) -> Self {
        Self {
            media: media.to_owned(),
            digest: sha256(&bytes),
            size: bytes.len() as u64,
            bytes,
        }
    }

    /// Its descriptor (OCI image-spec, descriptor.md).
    pub fn json(&self) -> Value {
        json!({"mediaType": self.media, "digest": self.digest, "size": self.size})
    }
}

/// One layer.
#[derive(Clone)]
pub struct Layer {
    /// The uncompressed bytes.
    pub tar: Vec<u8>,
    pub pack: Pack,
    /// The blob's bytes, if not the packed tar.
    pub packed: Option<Vec<u8>>,
    /// The media type, if not the pack's own.
    pub media: Option<String>,
    /// What the config says, if not the tar's digest.
    pub diff_id: Option<String>,
    /// What the manifest says, if not the truth.
    pub digest: Option<String>,
    pub size: Option<u64>,
    pub urls: Vec<String>,
    /// The blob is not there.
    pub absent: bool,
}

impl Layer {
    /// A gzip layer with these entries.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        Self::raw(tar(entries))
    }

    /// A gzip layer of these tar bytes.
    pub fn raw(tar: Vec<u8>) -> Self {
        Self {
            tar,
            pack: Pack::Gzip,
            packed: None,
            media: None,
            diff_id: None,
            digest: None,
            size: None,
            urls: Vec::new(),
            absent: false,
        }
    }

    pub fn packed_as(mut self, pack: Pack) -> Self {
        self.pack = pack;
        self
    }
}

/// A change to a document's text before it is hashed.
type Edit = Rc<dyn Fn(String) -> String>;

/// What an image shall be.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Layer>,
    /// The `config` object of the image config.
    pub config: Value,
    pub os: String,
    pub architecture: String,
    pub tag: Option<String>,
    /// docker's media types instead of the OCI's.
    pub docker: bool,
    pub edit_config: Option<Edit>,
    pub edit_manifest: Option<Edit>,
    pub edit_index: Option<Edit>,
}

impl Image {
    /// An image of these layers, for this machine, tagged `test`, without a command.
    pub fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            config: json!({"Env": ["PATH=/bin"]}),
            os: "linux".into(),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }
            .into(),
            tag: Some("test".into()),
            docker: false,
            edit_config: None,
            edit_manifest: None,
            edit_index: None,
        }
    }

    /// One layer with the toolbox under all its names, a passwd with `root` and `app` (1000:1000,
    /// also in group `extra`, 2000) and the usual folders.
    pub fn toolbox() -> Self {
        Self::new([Layer::of(&Self::toolbox_entries())])
    }

    /// The entries of that layer.
    pub fn toolbox_entries() -> Vec<Entry> {
        let mut out: Vec<Entry> = ["bin", "dev", "etc", "proc", "root", "sys", "home", "run"]
            .map(Entry::dir)
            .into();
        out.push(Entry::dir("tmp").mode(0o1777));
        out.push(Entry::dir("home/app").owner(1000, 1000));
        out.push(Entry::file("bin/toolbox", toolbox()).mode(0o755));
        for name in [
            "true", "false", "exit", "echo", "args", "env", "id", "pwd", "cat", "ls", "stat",
            "sleep", "all",
        ] {
            out.push(Entry::symlink(format!("bin/{name}"), "toolbox"));
        }
        out.push(Entry::file(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/home/app:/bin/sh\n",
        ));
        out.push(Entry::file(
            "etc/group",
            "root:x:0:\napp:x:1000:\nextra:x:2000:app\n",
        ));
        out
    }

    /// One more layer on top.
    pub fn with<'a>(self, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        self.with_layer(Layer::of(entries))
    }

    pub fn with_layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Sets a member of the `config` object: `set("User", json!("app"))`.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    pub fn edit_config(mut self, edit: impl Fn(String) -> String + 'static) -> Self {
        self.edit_config = Some(Rc::new(edit));
        self
    }

    pub fn edit_manifest(mut self, edit: impl Fn(String) -> String + 'static) -> Self {
        self.edit_manifest = Some(Rc::new(edit));
        self
    }

    pub fn edit_index(mut self, edit: impl Fn(String) -> String + 'static) -> Self {
        self.edit_index = Some(Rc::new(edit));
        self
    }

    fn media(&self, what: &str) -> String {
        match (self.docker, what) {
            (false, "manifest") => "application/vnd.oci.image.manifest.v1+json".into(),
            (false, "config") => "application/vnd.oci.image.config.v1+json".into(),
            (false, suffix) => format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
            (true, "manifest") => "application/vnd.docker.distribution.manifest.v2+json".into(),
            (true, "config") => "application/vnd.docker.container.image.v1+json".into(),
            (true, "+gzip") => "application/vnd.docker.image.rootfs.diff.tar.gzip".into(),
            (true, "") => "application/vnd.docker.image.rootfs.diff.tar".into(),
            (true, suffix) => format!("application/vnd.docker.image.rootfs.diff.tar{suffix}"),
        }
    }

    /// Its config, manifest and layers as blobs.
    pub fn build(&self) -> Layout {
        let mut layout = Layout::empty();
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for layer in &self.layers {
            let bytes = layer
                .packed
                .clone()
                .unwrap_or_else(|| layer.pack.pack(&layer.tar));
            let media = layer
                .media
                .clone()
                .unwrap_or_else(|| self.media(layer.pack.suffix()));
            let mut blob = Blob::new(&media, bytes);
            let truth = blob.digest.clone();
            blob.size = layer.size.unwrap_or(blob.size);
            blob.digest = layer.digest.clone().unwrap_or(truth);
            let mut json = blob.json();
            if !layer.urls.is_empty() {
                json["urls"] = json!(layer.urls);
            }
            descriptors.push(json);
            diff_ids.push(layer.diff_id.clone().unwrap_or_else(|| sha256(&layer.tar)));
            layout.layers.push(blob.digest.clone());
            if !layer.absent {
                layout.blobs.insert(blob.digest, blob.bytes);
            }
        }
        let edit = |text: Value, edit: &Option<Edit>| match edit {
            Some(edit) => edit(text.to_string()),
            None => text.to_string(),
        };
        let config = edit(
            json!({
                "architecture": self.architecture, "os": self.os,
                "config": self.config,
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }),
            &self.edit_config,
        );
        let config = layout.add(&self.media("config"), config.into_bytes());
        let manifest = edit(
            json!({
                "schemaVersion": 2, "mediaType": self.media("manifest"),
                "config": config.json(), "layers": descriptors,
            }),
            &self.edit_manifest,
        );
        let manifest = layout.add(&self.media("manifest"), manifest.into_bytes());
        let mut entry = manifest.json();
        if let Some(tag) = &self.tag {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        }
        layout.index = edit(
            json!({"schemaVersion": 2, "manifests": [entry]}),
            &self.edit_index,
        );
        layout.config = config.digest;
        layout.manifest = manifest.digest;
        layout.tag.clone_from(&self.tag);
        layout
    }

    /// Written as an OCI layout folder; how to name it on the command line.
    pub fn layout(&self, home: &Home, name: &str) -> String {
        self.build().folder(home, name)
    }

    /// Written as an OCI archive; how to name it.
    pub fn archive(&self, home: &Home, name: &str) -> String {
        self.build().archive(home, name)
    }

    /// Written as an old `docker save` archive; how to name it.
    pub fn docker_archive(&self, home: &Home, name: &str) -> String {
        let path = home.path(name);
        std::fs::write(&path, tar(&self.docker_entries())).unwrap();
        format!("docker-archive:{}", path.display())
    }

    /// The entries of an old `docker save` archive: uncompressed layers, and `manifest.json`.
    pub fn docker_entries(&self) -> Vec<Entry> {
        let layout = self.build();
        let config = &layout.blobs[&layout.config];
        let config_name = format!("{}.json", &layout.config["sha256:".len()..]);
        let mut out = vec![Entry::file(&config_name, config)];
        let mut names = Vec::new();
        for layer in &self.layers {
            let id = sha256(&layer.tar)["sha256:".len()..].to_owned();
            let name = format!("{id}/layer.tar");
            if !names.contains(&name) {
                out.push(Entry::dir(format!("{id}/")));
                out.push(Entry::file(format!("{id}/VERSION"), "1.0"));
                out.push(Entry::file(&name, &layer.tar));
            }
            names.push(name);
        }
        let tags: Vec<String> = self.tag.iter().map(|t| format!("img:{t}")).collect();
        let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
        out.push(Entry::file("manifest.json", manifest.to_string()));
        out
    }
}

/// Blobs by digest and an index: what an OCI layout holds.
#[derive(Clone)]
pub struct Layout {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub index: String,
    /// The `oci-layout` file; `None`: not there.
    pub version: Option<String>,
    /// Digests of what `Image::build` made.
    pub manifest: String,
    pub config: String,
    pub layers: Vec<String>,
    pub tag: Option<String>,
}

impl Layout {
    pub fn empty() -> Self {
        Self {
            blobs: BTreeMap::new(),
            index: json!({"schemaVersion": 2, "manifests": []}).to_string(),
            version: Some(r#"{"imageLayoutVersion":"1.0.0"}"#.into()),
            manifest: String::new(),
            config: String::new(),
            layers: Vec::new(),
            tag: None,
        }
    }

    /// Takes in a blob under its true digest.
    pub fn add(&mut self, media: &str, bytes: Vec<u8>) -> Blob {
        let blob = Blob::new(media, bytes);
        self.blobs.insert(blob.digest.clone(), blob.bytes.clone());
        blob
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut out: Vec<(String, Vec<u8>)> = Vec::new();
        if let Some(version) = &self.version {
            out.push(("oci-layout".into(), version.clone().into_bytes()));
        }
        out.push(("index.json".into(), self.index.clone().into_bytes()));
        for (digest, bytes) in &self.blobs {
            out.push((
                format!("blobs/{}", digest.replacen(':', "/", 1)),
                bytes.clone(),
            ));
        }
        out
    }

    /// Writes the folder.
    pub fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        for (name, bytes) in self.files() {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn suffix(&self) -> String {
        self.tag.as_ref().map_or(String::new(), |t| format!(":{t}"))
    }

    pub fn folder(&self, home: &Home, name: &str) -> String {
        self.write(&home.path(name));
        format!("oci:{}{}", home.path(name).display(), self.suffix())
    }

    /// The entries of an OCI archive.
    pub fn entries(&self) -> Vec<Entry> {
        let mut out = vec![Entry::dir("blobs/"), Entry::dir("blobs/sha256/")];
        out.extend(self.files().into_iter().map(|(n, b)| Entry::file(n, b)));
        out
    }

    pub fn archive(&self, home: &Home, name: &str) -> String {
        let path = home.path(name);
        std::fs::write(&path, tar(&self.entries())).unwrap();
        format!("oci-archive:{}{}", path.display(), self.suffix())
    }

    /// A new `docker save` archive: an OCI archive with docker's `manifest.json` beside.
    pub fn docker_archive(&self, home: &Home, name: &str) -> String {
        let blob = |digest: &str| format!("blobs/{}", digest.replacen(':', "/", 1));
        let layers: Vec<String> = self.layers.iter().map(|d| blob(d)).collect();
        let tags: Vec<String> = self.tag.iter().map(|t| format!("img:{t}")).collect();
        let manifest = json!([{"Config": blob(&self.config), "RepoTags": tags, "Layers": layers}]);
        let mut entries = self.entries();
        entries.push(Entry::file("manifest.json", manifest.to_string()));
        let path = home.path(name);
        std::fs::write(&path, tar(&entries)).unwrap();
        format!("docker-archive:{}", path.display())
    }
}
