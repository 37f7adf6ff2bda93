use crate::error::{Error, Kind, Result};
use crate::image::{Compression, Digest, ImageName};
use crate::store::source::tests::{Scratch, amd64, bytes_of, config, open, tar_of};
use crate::store::source::{Source, SourceImage};
use serde_json::{Value, json};

const BASE: &[u8] = b"a layer that both images have";
const TOP: &[u8] = b"another layer";

type Files = Vec<(String, Vec<u8>)>;

fn file(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.into(), bytes.to_vec())
}

fn config_name(config: &[u8]) -> String {
    format!("{}.json", Digest::of(config).hex())
}

/// One image, as docker saved it before version 25.
fn files() -> Files {
    let config = config("amd64", &[BASE, TOP]);
    let manifest = json!([{
        "Config": config_name(&config), "RepoTags": ["busybox:1.36", "r.example/b:x"],
        "Layers": ["aa/layer.tar", "bb/layer.tar"],
    }]);
    vec![
        file("aa/layer.tar", BASE),
        file("bb/layer.tar", TOP),
        file(&config_name(&config), &config),
        file("manifest.json", manifest.to_string().as_bytes()),
    ]
}

fn read_tar(tar: &[u8], rest: &str) -> Result<SourceImage> {
    let scratch = Scratch::new();
    let path = scratch.path("a.tar");
    std::fs::write(&path, tar).unwrap();
    open(&format!("docker-archive:{}{rest}", path.display()))
}

fn read(files: &Files, rest: &str) -> Result<SourceImage> {
    read_tar(&tar_of(files), rest)
}

fn with_manifest(manifest: &Value) -> Error {
    let mut files = files();
    files[3].1 = manifest.to_string().into_bytes();
    read(&files, "").expect_err(&manifest.to_string())
}

#[test]
fn an_old_archive_gets_a_manifest_of_its_own() {
    let image = read(&files(), "").unwrap();
    assert_eq!(image.config.cmd, ["amd64"]);
    assert_eq!(image.names, ["busybox:1.36", "r.example/b:x"]);
    assert_eq!(Digest::of(&image.manifest_bytes), image.manifest.digest);
    let text = String::from_utf8(image.manifest_bytes.clone()).unwrap();
    let expected = format!(
        concat!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
            r#""config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"#,
            r#""layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}},"#,
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#
        ),
        Digest::of(&image.config_bytes),
        image.config_bytes.len(),
        Digest::of(BASE),
        BASE.len(),
        Digest::of(TOP),
        TOP.len(),
    );
    assert_eq!(text, expected);
    for (layer, bytes) in image.layers.iter().zip([BASE, TOP]) {
        assert_eq!(bytes_of(&layer.open().unwrap()), bytes);
        assert_eq!(layer.diff_id.0, layer.descriptor.digest);
    }
    assert_eq!(
        read(&files(), "").unwrap().manifest_bytes,
        image.manifest_bytes
    );
}

#[test]
fn names_select_as_docker_reads_them() {
    for rest in [
        "",
        ":busybox:1.36",
        ":docker.io/library/busybox:1.36",
        ":r.example/b:x",
    ] {
        assert!(read(&files(), rest).is_ok(), "{rest}");
    }
    let error = read(&files(), ":busybox").unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert!(error.hint.unwrap().contains("busybox:1.36"));
}

#[test]
fn several_images_need_a_name_and_can_all_be_loaded() {
    let mut files = files();
    let other = config("amd64", &[TOP]);
    let mut manifest: Value = serde_json::from_slice(&files[3].1).unwrap();
    manifest.as_array_mut().unwrap().push(json!({
        "Config": config_name(&other), "RepoTags": null, "Layers": ["bb/layer.tar"],
    }));
    files[3].1 = manifest.to_string().into_bytes();
    files.push(file(&config_name(&other), &other));
    let error = read(&files, "").unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
    assert!(read(&files, ":busybox:1.36").is_ok());
    let scratch = Scratch::new();
    std::fs::write(scratch.path("a.tar"), tar_of(&files)).unwrap();
    let name = format!("docker-archive:{}", scratch.path("a.tar").display());
    let source = Source::open(&ImageName::parse(&name).unwrap()).unwrap();
    let images = source.images(&amd64()).unwrap();
    assert_eq!(images.len(), 2);
    assert!(images[1].names.is_empty());
}

#[test]
fn a_config_named_by_another_digest_is_refused() {
    let mut files = files();
    let spaced = [files[2].1.as_slice(), b" "].concat();
    files[2].1 = spaced;
    assert_eq!(read(&files, "").unwrap_err().kind, Kind::Integrity);
}

#[test]
fn compressed_layers_are_hashed_as_they_lie() {
    let mut files = files();
    let gzip = b"\x1f\x8bnot really gzip, and nobody here looks".repeat(20_000);
    files[0].1 = gzip.clone();
    files[1].1 = b"\x28\xb5\x2f\xfd zstd".to_vec();
    let image = read(&files, "").unwrap();
    assert_eq!(image.layers[0].media.compression, Compression::Gzip);
    assert_eq!(image.layers[0].descriptor.digest, Digest::of(&gzip));
    assert_eq!(image.layers[0].diff_id.0, Digest::of(BASE));
    assert_eq!(image.layers[1].media.compression, Compression::Zstd);
    assert!(image.manifest.layers[0].media_type.ends_with("tar+gzip"));
}

#[test]
fn equal_layers_are_links_in_old_archives() {
    let config = config("amd64", &[BASE, BASE]);
    let manifest = json!([{
        "Config": config_name(&config), "RepoTags": [], "Layers": ["aa/layer.tar", "bb/layer.tar"],
    }]);
    let mut builder = tar::Builder::new(Vec::new());
    let mut put = |kind, name: &str, bytes: &[u8], target: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_path(name).unwrap();
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    };
    put(tar::EntryType::Regular, "aa/layer.tar", BASE, "");
    put(
        tar::EntryType::Symlink,
        "bb/layer.tar",
        b"",
        "../aa/layer.tar",
    );
    put(tar::EntryType::Regular, &config_name(&config), &config, "");
    put(
        tar::EntryType::Regular,
        "manifest.json",
        manifest.to_string().as_bytes(),
        "",
    );
    let image = read_tar(&builder.into_inner().unwrap(), "").unwrap();
    assert_eq!(bytes_of(&image.layers[1].open().unwrap()), BASE);
}

#[test]
fn tables_of_contents_that_lie_are_refused() {
    let honest: Value = serde_json::from_slice(&files()[3].1).unwrap();
    let entry = |name: &str, value: Value| {
        let mut manifest = honest.clone();
        manifest[0][name] = value;
        manifest
    };
    for manifest in [
        json!({}),
        json!([[]]),
        json!([{"Config": "x"}]),
        entry("Layers", json!(["aa/layer.tar"])),
        entry(
            "Layers",
            json!(["aa/layer.tar", "bb/layer.tar", "aa/layer.tar"]),
        ),
        entry("Layers", json!(["aa/layer.tar", "cc/layer.tar"])),
        entry("Layers", json!(["aa/layer.tar", "../../etc/passwd"])),
        entry("Layers", json!(["aa/layer.tar", "/etc/passwd"])),
        entry("Layers", json!(null)),
        entry("Config", json!("/etc/passwd")),
        entry("Config", json!("")),
        entry("layers", json!([])),
    ] {
        assert_eq!(with_manifest(&manifest).kind, Kind::Malformed, "{manifest}");
    }
    assert_eq!(with_manifest(&json!([])).kind, Kind::NotFound);
    let twice = json!([honest[0], honest[0]]);
    assert_eq!(with_manifest(&twice).kind, Kind::Usage);
    let mut twins = files();
    twins[3].1 = twice.to_string().into_bytes();
    assert_eq!(
        read(&twins, ":busybox:1.36").unwrap_err().kind,
        Kind::Malformed
    );
}

#[test]
fn archives_that_are_something_else_are_refused() {
    let mut files = files();
    files.remove(3);
    assert_eq!(read(&files, "").unwrap_err().kind, Kind::Malformed);
    let mut files = self::files();
    let again = files[3].clone();
    files.push(again);
    assert!(
        read(&files, "")
            .unwrap_err()
            .cause
            .contains("more than once")
    );
    let scratch = Scratch::new();
    std::fs::write(scratch.path("a.tar"), tar_of(&self::files())).unwrap();
    let error = open(&format!("oci-archive:{}", scratch.path("a.tar").display())).unwrap_err();
    assert!(error.hint.unwrap().contains("docker-archive:"));
}

#[test]
fn another_platform_is_refused() {
    let config = config("arm64", &[BASE, TOP]);
    let mut files = files();
    let mut manifest: Value = serde_json::from_slice(&files[3].1).unwrap();
    manifest[0]["Config"] = json!(config_name(&config));
    files[3].1 = manifest.to_string().into_bytes();
    files[2] = file(&config_name(&config), &config);
    assert_eq!(read(&files, "").unwrap_err().kind, Kind::Platform);
}
