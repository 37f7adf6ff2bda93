use super::*;
use crate::image::{Compression, Digest};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A folder for one test, removed with it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lazaret-source-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(super) fn amd64() -> Platform {
    Platform {
        os: "linux".into(),
        architecture: "amd64".into(),
        variant: None,
    }
}

pub(super) fn config(architecture: &str, layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": [architecture]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// A layout under construction: files by name.
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn new() -> Self {
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
        Self(vec![("oci-layout".into(), layout)])
    }

    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.0.push((folder::blob_name(&digest), bytes.to_vec()));
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    }

    fn image(&mut self, architecture: &str) -> Value {
        let layer = format!("layer of {architecture}");
        let config = config(architecture, &[layer.as_bytes()]);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob(CONFIG, &config),
            "layers": [self.blob(LAYER, layer.as_bytes())],
        });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    fn index(&mut self, entries: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        self.blob(INDEX, index.to_string().as_bytes())
    }

    fn with(mut self, entries: &[Value]) -> Self {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        self.0
            .push(("index.json".into(), index.to_string().into_bytes()));
        self
    }

    fn folder(&self) -> Scratch {
        let scratch = Scratch::new();
        for (name, bytes) in &self.0 {
            let path = scratch.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        scratch
    }

    fn archive(&self) -> Scratch {
        let scratch = Scratch::new();
        std::fs::write(scratch.path("a.tar"), tar_of(&self.0)).unwrap();
        scratch
    }
}

pub(super) fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn called(mut entry: Value, name: &str) -> Value {
    entry["annotations"] = json!({REF_NAME: name});
    entry
}

fn platform(mut entry: Value, architecture: &str) -> Value {
    entry["platform"] = json!({"os": "linux", "architecture": architecture});
    entry
}

pub(super) fn open(text: &str) -> Result<SourceImage> {
    Source::open(&ImageName::parse(text)?)?.image(&amd64())
}

fn oci(scratch: &Scratch, rest: &str) -> Result<SourceImage> {
    open(&format!("oci:{}{rest}", scratch.0.display()))
}

fn oci_archive(scratch: &Scratch, rest: &str) -> Result<SourceImage> {
    open(&format!(
        "oci-archive:{}{rest}",
        scratch.path("a.tar").display()
    ))
}

pub(super) fn bytes_of(blob: &BlobHandle) -> Vec<u8> {
    let file = File::from(blob.file.try_clone().unwrap());
    let mut bytes = vec![0; usize::try_from(blob.length).unwrap()];
    file.read_exact_at(&mut bytes, blob.offset).unwrap();
    bytes
}

fn one() -> Files {
    let mut files = Files::new();
    let image = called(files.image("amd64"), "stable");
    files.with(&[image])
}

#[test]
fn a_folder_and_an_archive_hold_the_same_image() {
    let (in_folder, in_archive) = (one().folder(), one().archive());
    for image in [
        oci(&in_folder, ":stable").unwrap(),
        oci_archive(&in_archive, ":stable").unwrap(),
    ] {
        assert_eq!(Digest::of(&image.manifest_bytes), image.manifest.digest);
        assert_eq!(
            Digest::of(&image.config_bytes),
            image.manifest.config.digest
        );
        assert_eq!(image.config.cmd, ["amd64"]);
        assert_eq!(image.names, ["stable"]);
        assert_eq!(image.layers.len(), 1);
        assert_eq!(image.layers[0].media.compression, Compression::None);
        assert_eq!(image.layers[0].diff_id, image.config.diff_ids[0]);
        let blob = image.layers[0].open().unwrap();
        assert_eq!(bytes_of(&blob), b"layer of amd64");
        assert_eq!(Digest::of(&bytes_of(&blob)), blob.descriptor.digest);
    }
}

#[test]
fn names_are_what_the_kernel_knows() {
    let scratch = one().folder();
    std::os::unix::fs::symlink(&scratch.0, scratch.path("alias")).unwrap();
    let image = oci(&scratch, "/blobs/../alias/blobs/..:stable").unwrap();
    let real = std::fs::canonicalize(&scratch.0).unwrap();
    assert_eq!(
        image.canonical_name,
        format!("oci:{}:stable", real.display())
    );
}

#[test]
fn tags_select_and_a_missing_one_is_listed() {
    let mut files = Files::new();
    let stable = called(files.image("amd64"), "stable");
    let other = called(files.index(&[]), "testing\u{1b}[31m");
    let scratch = files.with(&[stable, other]).folder();
    assert!(oci(&scratch, ":stable").is_ok());
    let error = oci(&scratch, ":stabel").unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("did you mean \"stable\"") && hint.contains("testing"),
        "{hint}"
    );
    assert!(!hint.contains('\u{1b}'));
    let error = oci(&scratch, "").unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
    assert!(error.hint.unwrap().contains("stable"));
}

#[test]
fn a_single_image_needs_no_tag() {
    let mut files = Files::new();
    let image = files.image("amd64");
    let unrelated =
        json!({"mediaType": "application/x", "digest": Digest::of(b"").to_string(), "size": 0});
    assert!(oci(&files.with(&[unrelated, image]).folder(), "").is_ok());
    assert!(oci(&one().folder(), "").is_ok());
    let error = oci(&Files::new().with(&[]).folder(), "").unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

#[test]
fn one_image_under_two_tags_is_one_image() {
    let mut files = Files::new();
    let image = files.image("amd64");
    let entries = [called(image.clone(), "a"), called(image, "b")];
    assert!(oci(&files.with(&entries).folder(), "").is_ok());
}

#[test]
fn a_digest_selects_in_the_layout_and_in_its_indexes() {
    let mut files = Files::new();
    let (a, b) = (files.image("amd64"), files.image("arm64"));
    let digest = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
    let (da, db) = (digest(&a), digest(&b));
    let index = files.index(&[platform(a.clone(), "amd64"), platform(b, "arm64")]);
    let di = digest(&index);
    let scratch = files.with(&[called(index, "multi")]).folder();
    assert_eq!(
        oci(&scratch, &format!("@{da}"))
            .unwrap()
            .manifest
            .digest
            .to_string(),
        da
    );
    assert_eq!(
        oci(&scratch, &format!("@{di}"))
            .unwrap()
            .manifest
            .digest
            .to_string(),
        da
    );
    // With a tag too, the digest decides.
    assert_eq!(
        oci(&scratch, &format!(":x@{da}"))
            .unwrap()
            .manifest
            .digest
            .to_string(),
        da
    );
    let error = oci(&scratch, &format!("@{db}")).unwrap_err();
    assert_eq!(error.kind, Kind::Platform);
    let error = oci(&scratch, &format!("@{}", Digest::of(b"none"))).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

#[test]
fn the_platform_is_selected_and_what_lies_about_it_refused() {
    let mut files = Files::new();
    let (a, b) = (files.image("amd64"), files.image("arm64"));
    let index = files.index(&[platform(b.clone(), "arm64"), platform(a.clone(), "amd64")]);
    let scratch = files.with(&[called(index, "multi")]).folder();
    assert_eq!(oci(&scratch, ":multi").unwrap().config.cmd, ["amd64"]);
    // The same, listed in index.json itself.
    let mut files = Files::new();
    let (a, b) = (files.image("amd64"), files.image("arm64"));
    let flat = [
        called(platform(b.clone(), "arm64"), "t"),
        called(platform(a, "amd64"), "t"),
    ];
    assert_eq!(
        oci(&files.with(&flat).folder(), ":t").unwrap().config.cmd,
        ["amd64"]
    );
    let mut files = Files::new();
    let b = files.image("arm64");
    let liar = files.with(&[called(platform(b, "amd64"), "t")]).folder();
    assert_eq!(oci(&liar, ":t").unwrap_err().kind, Kind::Platform);
}

#[test]
fn bytes_that_are_not_what_was_named_are_refused() {
    let flip = |place: usize| {
        let mut files = one();
        let bytes = &mut files.0[place].1;
        let last = bytes.len() - 1;
        bytes[last] = if bytes[last] == b' ' { b'\n' } else { b' ' };
        files
    };
    // Config, layer, manifest in the order in which they were made.
    for place in [1, 3] {
        let (in_folder, in_archive) = (flip(place).folder(), flip(place).archive());
        assert_eq!(
            oci(&in_folder, "").unwrap_err().kind,
            Kind::Integrity,
            "{place}"
        );
        assert_eq!(
            oci_archive(&in_archive, "").unwrap_err().kind,
            Kind::Integrity,
            "{place}"
        );
    }
    let mut longer = one();
    longer.0[3].1.push(b' ');
    assert_eq!(oci(&longer.folder(), "").unwrap_err().kind, Kind::Integrity);
    // A layer's size is checked on opening, its digest where it is unpacked.
    let mut longer = one();
    longer.0[2].1.push(b' ');
    for image in [
        oci(&longer.folder(), ""),
        oci_archive(&longer.archive(), ""),
    ] {
        assert_eq!(
            image.unwrap().layers[0].open().unwrap_err().kind,
            Kind::Integrity
        );
    }
}

#[test]
fn missing_blobs_are_said_to_be_missing() {
    for place in [1, 3] {
        let mut files = one();
        files.0.remove(place);
        assert_eq!(oci(&files.folder(), "").unwrap_err().kind, Kind::NotFound);
        assert_eq!(
            oci_archive(&files.archive(), "").unwrap_err().kind,
            Kind::NotFound
        );
    }
    let mut files = one();
    files.0.remove(2);
    let scratch = files.folder();
    let image = oci(&scratch, "").unwrap();
    assert_eq!(image.layers[0].open().unwrap_err().kind, Kind::NotFound);
}

#[test]
fn huge_documents_are_refused_unread() {
    let mut files = Files::new();
    let mut image = files.image("amd64");
    image["size"] = json!(5 << 20);
    assert_eq!(
        oci(&files.with(&[image]).folder(), "").unwrap_err().kind,
        Kind::Limit
    );
    let scratch = one().folder();
    let index = std::fs::File::options()
        .write(true)
        .open(scratch.path("index.json"))
        .unwrap();
    index.set_len(1 << 40).unwrap();
    assert_eq!(oci(&scratch, "").unwrap_err().kind, Kind::Limit);
}

#[test]
fn other_layouts_and_no_layouts_are_refused() {
    let with_version = |text: &str| {
        let mut files = one();
        files.0[0].1 = text.as_bytes().to_vec();
        oci(&files.folder(), "").unwrap_err().kind
    };
    assert_eq!(
        with_version(r#"{"imageLayoutVersion":"2.0.0"}"#),
        Kind::Unsupported
    );
    for text in [
        "",
        "{}",
        "[]",
        r#"{"imageLayoutVersion":1}"#,
        r#"{"imageLayoutVersion":"1.0.0"}x"#,
    ] {
        assert_eq!(with_version(text), Kind::Malformed, "{text}");
    }
    for place in [0, 4] {
        let mut files = one();
        files.0.remove(place);
        assert_eq!(oci(&files.folder(), "").unwrap_err().kind, Kind::Malformed);
        assert_eq!(
            oci_archive(&files.archive(), "").unwrap_err().kind,
            Kind::Malformed
        );
    }
    let scratch = Scratch::new();
    assert_eq!(oci(&scratch, "/absent").unwrap_err().kind, Kind::NotFound);
    std::fs::write(scratch.path("file"), "").unwrap();
    assert_eq!(oci(&scratch, "/file").unwrap_err().kind, Kind::Usage);
    assert_eq!(
        open(&format!("oci-archive:{}", scratch.0.display()))
            .unwrap_err()
            .kind,
        Kind::Usage
    );
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
}

#[test]
fn symlinks_fifos_and_folders_are_no_blobs() {
    let manifest = one().0[3].0.clone();
    let layer = one().0[2].0.clone();
    for name in ["oci-layout", "index.json", &manifest, &layer] {
        let replaced = |replace: &dyn Fn(&Path)| {
            let scratch = one().folder();
            std::fs::rename(scratch.path(name), scratch.path("aside")).unwrap();
            replace(&scratch.path(name));
            let image = oci(&scratch, "");
            match name == layer {
                true => image.unwrap().layers[0].open().unwrap_err(),
                false => image.unwrap_err(),
            }
        };
        let up = "../".repeat(name.matches('/').count());
        let link = |path: &Path| std::os::unix::fs::symlink(format!("{up}aside"), path).unwrap();
        assert!(replaced(&link).cause.contains("symlink"), "{name}");
        let kind = replaced(&|path| std::fs::create_dir(path).unwrap()).kind;
        assert_eq!(kind, Kind::Malformed, "{name}");
        assert_eq!(replaced(&fifo).kind, Kind::Malformed, "{name}");
    }
    // A symlinked folder on the way.
    let scratch = one().folder();
    std::fs::rename(scratch.path("blobs"), scratch.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", scratch.path("blobs")).unwrap();
    assert!(oci(&scratch, "").unwrap_err().cause.contains("symlink"));
    // A fifo as an archive does not hold us either.
    let scratch = Scratch::new();
    fifo(&scratch.path("a.tar"));
    assert_eq!(oci_archive(&scratch, "").unwrap_err().kind, Kind::Usage);
}

#[test]
fn documents_that_are_in_an_archive_twice_are_refused() {
    let manifest = one().0[3].0.clone();
    for name in ["oci-layout", "index.json", &manifest] {
        let mut files = one();
        let again = files.0.iter().find(|(n, _)| n == name).unwrap().clone();
        files.0.push(again);
        let error = oci_archive(&files.archive(), "").unwrap_err();
        assert!(error.cause.contains("more than once"), "{error}");
    }
}

#[test]
fn all_images_of_a_layout_can_be_listed() {
    let mut files = Files::new();
    let (a, b) = (files.image("amd64"), files.image("amd64"));
    let scratch = files.with(&[called(a, "a"), called(b, "b")]).folder();
    let name = ImageName::parse(&format!("oci:{}", scratch.0.display())).unwrap();
    let images = Source::open(&name).unwrap().images(&amd64()).unwrap();
    let names: Vec<_> = images.iter().flat_map(|image| &image.names).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_new_docker_save_is_read_as_the_layout_that_it_is() {
    let mut files = Files::new();
    let mut image = files.image("amd64");
    image["annotations"] = json!({
        REF_NAME: "1.36", "io.containerd.image.name": "docker.io/library/busybox:1.36",
    });
    let mut files = files.with(&[image]);
    // Whatever the old table of contents says is not looked at.
    files.0.push(("manifest.json".into(), b"[{}]".to_vec()));
    let scratch = files.archive();
    let path = scratch.path("a.tar").display().to_string();
    for rest in ["", ":busybox:1.36", ":docker.io/library/busybox:1.36"] {
        let image = open(&format!("docker-archive:{path}{rest}")).unwrap();
        assert_eq!(image.config.cmd, ["amd64"]);
        assert_eq!(image.names, ["docker.io/library/busybox:1.36", "1.36"]);
    }
    let error = open(&format!("docker-archive:{path}:busybox")).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert!(open(&format!("oci-archive:{path}:1.36")).is_ok());
}

#[test]
fn sources_are_on_disk() {
    for name in ["builtin:probe", "busybox"] {
        let error = Source::open(&ImageName::parse(name).unwrap()).unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported);
    }
}
