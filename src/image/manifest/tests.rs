use super::*;
use serde_json::{Value, json};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(b"").to_string(), "size": 10})
}

fn manifest() -> Value {
    json!({
        "schemaVersion": 2, "mediaType": OCI, "config": descriptor(CONFIG),
        "layers": [descriptor(LAYER)], "annotations": {"k": "v"},
    })
}

fn index(entries: Vec<Value>) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
}

fn parse(document: &Value, media_type: Option<&str>) -> Result<Manifest> {
    Manifest::parse(document.to_string().as_bytes(), media_type)
}

fn parse_index(document: &Value) -> Result<Index> {
    Index::parse(document.to_string().as_bytes(), Some(OCI_INDEX))
}

fn with(mut document: Value, name: &str, value: Value) -> Value {
    document[name] = value;
    document
}

fn entry(architecture: &str, variant: Option<&str>, size: u64) -> Value {
    let mut entry = descriptor(OCI);
    entry["size"] = json!(size);
    entry["platform"] = json!({"os": "linux", "architecture": architecture});
    if let Some(variant) = variant {
        entry["platform"]["variant"] = json!(variant);
    }
    entry
}

fn wanted(architecture: &str) -> Platform {
    Platform {
        os: "linux".into(),
        architecture: architecture.into(),
        variant: None,
    }
}

#[test]
fn an_ordinary_manifest() {
    let bytes = manifest().to_string();
    let parsed = Manifest::parse(bytes.as_bytes(), Some(OCI)).unwrap();
    assert_eq!(parsed.digest, Digest::of(bytes.as_bytes()));
    assert_eq!(parsed.media_type, OCI);
    assert_eq!(parsed.layers.len(), 1);
    assert_eq!(parsed.annotations["k"], "v");
    let docker = json!({
        "schemaVersion": 2, "mediaType": DOCKER,
        "config": descriptor("application/vnd.docker.container.image.v1+json"),
        "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip")],
    });
    assert_eq!(parse(&docker, None).unwrap().media_type, DOCKER);
    let silent = json!({"schemaVersion": 2, "config": descriptor(CONFIG), "layers": []});
    assert_eq!(parse(&silent, None).unwrap().media_type, OCI);
    assert_eq!(parse(&silent, Some(DOCKER)).unwrap().media_type, DOCKER);
}

#[test]
fn a_document_that_is_two_things_is_refused() {
    let both = with(manifest(), "manifests", json!([]));
    assert!(parse(&both, None).unwrap_err().cause.contains("two images"));
    for extra in ["layers", "config"] {
        let value = manifest()[extra].clone();
        let both = with(index(vec![]), extra, value);
        assert!(parse_index(&both).unwrap_err().cause.contains("two images"));
    }
    let both = with(manifest(), "manifests", json!(null));
    assert_eq!(parse(&both, None).unwrap_err().kind, Kind::Malformed);
    assert_eq!(
        parse(&index(vec![]), None).unwrap_err().kind,
        Kind::Malformed
    );
    assert_eq!(parse_index(&manifest()).unwrap_err().kind, Kind::Malformed);
    let spelled = with(manifest(), "Layers", json!([]));
    assert_eq!(parse(&spelled, None).unwrap_err().kind, Kind::Malformed);
    let text = manifest().to_string().replacen('{', r#"{"layers":[],"#, 1);
    let twice = Manifest::parse(text.as_bytes(), None).unwrap_err();
    assert!(twice.cause.contains("twice"));
}

#[test]
fn media_types_agree_with_the_descriptor() {
    for told in [DOCKER, OCI_INDEX, CONFIG, "application/json"] {
        let error = parse(&manifest(), Some(told)).expect_err(told);
        assert_eq!(error.kind, Kind::Malformed, "{told}");
        let silent = json!({"schemaVersion": 2, "config": descriptor(CONFIG), "layers": []});
        if told != DOCKER {
            assert!(parse(&silent, Some(told)).is_err(), "{told}");
        }
    }
    let lies = with(manifest(), "mediaType", json!(OCI_INDEX));
    assert!(parse(&lies, None).is_err());
    let lies = with(index(vec![]), "mediaType", json!(OCI));
    assert!(parse_index(&lies).is_err());
}

#[test]
fn only_schema_2() {
    for version in [
        json!(1),
        json!(3),
        json!(0),
        json!("2"),
        json!(-2),
        json!(null),
    ] {
        let other = with(manifest(), "schemaVersion", version.clone());
        assert_eq!(
            parse(&other, None).unwrap_err().kind,
            Kind::Malformed,
            "{version}"
        );
        let other = with(index(vec![]), "schemaVersion", version.clone());
        assert_eq!(
            parse_index(&other).unwrap_err().kind,
            Kind::Malformed,
            "{version}"
        );
    }
    let old = json!({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []});
    let error = parse(&old, None).unwrap_err();
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.hint.unwrap().contains("skopeo"));
    let told = Some("application/vnd.docker.distribution.manifest.v1+prettyjws");
    assert_eq!(parse(&json!({}), told).unwrap_err().kind, Kind::Unsupported);
}

#[test]
fn artifacts_and_unknown_layers_are_unsupported() {
    let chart = "application/vnd.cncf.helm.config.v1+json";
    let error = parse(&with(manifest(), "config", descriptor(chart)), None).unwrap_err();
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.cause.contains("helm"));
    let empty = with(
        manifest(),
        "config",
        descriptor("application/vnd.oci.empty.v1+json"),
    );
    let empty = with(empty, "artifactType", json!("application/spdx+json"));
    assert!(parse(&empty, None).unwrap_err().cause.contains("spdx"));
    for media_type in ["application/octet-stream", OCI, CONFIG] {
        let layers = json!([descriptor(LAYER), descriptor(media_type)]);
        let error = parse(&with(manifest(), "layers", layers), None).unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported, "{media_type}");
    }
}

#[test]
fn foreign_layers_are_layers_and_their_urls_are_gone() {
    let mut layer = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    layer["urls"] = json!(["http://127.0.0.1/steal"]);
    let parsed = parse(&with(manifest(), "layers", json!([layer])), None).unwrap();
    let MediaKind::Layer(media) = parsed.layers[0].kind() else {
        panic!("not a layer");
    };
    assert!(media.foreign);
    assert!(!format!("{parsed:?}").contains("steal"));
}

#[test]
fn counts_and_sizes_are_capped() {
    let layers = |count: usize| with(manifest(), "layers", json!(vec![descriptor(LAYER); count]));
    assert_eq!(
        parse(&layers(MAX_LAYERS), None).unwrap().layers.len(),
        MAX_LAYERS
    );
    assert_eq!(
        parse(&layers(MAX_LAYERS + 1), None).unwrap_err().kind,
        Kind::Limit
    );
    let entries = |count: usize| index(vec![descriptor(OCI); count]);
    assert!(parse_index(&entries(MAX_ENTRIES)).is_ok());
    assert_eq!(
        parse_index(&entries(MAX_ENTRIES + 1)).unwrap_err().kind,
        Kind::Limit
    );
    let layout = |count: usize| Index::parse_layout(entries(count).to_string().as_bytes());
    assert!(layout(MAX_LAYOUT_ENTRIES).is_ok());
    assert_eq!(
        layout(MAX_LAYOUT_ENTRIES + 1).unwrap_err().kind,
        Kind::Limit
    );
    let mut config = descriptor(CONFIG);
    config["size"] = json!(MAX_DOCUMENT + 1);
    let error = parse(&with(manifest(), "config", config), None).unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    let padded = format!("{}{}", manifest(), " ".repeat(4 << 20));
    assert_eq!(
        Manifest::parse(padded.as_bytes(), None).unwrap_err().kind,
        Kind::Limit
    );
    assert_eq!(
        Index::parse(padded.as_bytes(), None).unwrap_err().kind,
        Kind::Limit
    );
}

#[test]
fn an_index_in_an_index_is_refused_except_in_a_layout() {
    let nested = index(vec![entry("amd64", None, 1), descriptor(OCI_INDEX)]);
    assert_eq!(parse_index(&nested).unwrap_err().kind, Kind::Malformed);
    assert!(Index::parse_layout(nested.to_string().as_bytes()).is_ok());
}

#[test]
fn objects_given_as_arrays_are_refused() {
    let config = json!([CONFIG, Digest::of(b"").to_string(), 10]);
    assert_eq!(
        parse(&with(manifest(), "config", config), None)
            .unwrap_err()
            .kind,
        Kind::Malformed
    );
    let layer = json!([[LAYER, Digest::of(b"").to_string(), 10]]);
    assert_eq!(
        parse(&with(manifest(), "layers", layer), None)
            .unwrap_err()
            .kind,
        Kind::Malformed
    );
    assert_eq!(
        parse(&json!([2, OCI]), None).unwrap_err().kind,
        Kind::Malformed
    );
}

#[test]
fn the_platforms_entry_is_selected() {
    let attestation = json!({"os": "unknown", "architecture": "unknown"});
    let list = parse_index(&index(vec![
        with(descriptor(OCI), "platform", attestation),
        entry("arm", Some("v6"), 1),
        entry("arm", Some("v7"), 2),
        entry("arm", Some("v5"), 3),
        entry("amd64", Some("v3"), 4),
        entry("amd64", None, 5),
        entry("amd64", Some("v1"), 6),
        with(
            entry("arm64", Some("v8"), 7),
            "mediaType",
            json!("application/x"),
        ),
    ]))
    .unwrap();
    assert_eq!(list.select(&wanted("arm")).unwrap().size, 2);
    assert_eq!(list.select(&wanted("amd64")).unwrap().size, 5);
    let v3 = Platform {
        variant: Some("v3".into()),
        ..wanted("amd64")
    };
    assert_eq!(list.select(&v3).unwrap().size, 4);
    assert_eq!(
        list.select(&wanted("arm64")).unwrap_err().kind,
        Kind::Platform
    );
    assert_eq!(
        list.select(&wanted("s390x")).unwrap_err().kind,
        Kind::Platform
    );
}

#[test]
fn a_single_entry_without_a_platform_is_taken() {
    let bare = |count: usize| parse_index(&index(vec![descriptor(OCI); count])).unwrap();
    assert!(bare(1).select(&wanted("amd64")).is_ok());
    assert_eq!(
        bare(2).select(&wanted("amd64")).unwrap_err().kind,
        Kind::Platform
    );
    assert_eq!(
        bare(0).select(&wanted("amd64")).unwrap_err().kind,
        Kind::Platform
    );
    let other = parse_index(&index(vec![entry("arm64", None, 1)])).unwrap();
    assert!(other.select(&wanted("amd64")).is_err());
}

#[test]
fn what_an_index_offers_is_listed_harmlessly() {
    let list = parse_index(&index(vec![
        entry("arm64", Some("v8"), 1),
        entry("\u{1b}]0;owned\u{7}", None, 2),
    ]))
    .unwrap();
    let error = list.select(&wanted("amd64")).unwrap_err();
    let hint = error.hint.unwrap();
    assert!(hint.contains("linux/arm64/v8"), "{hint}");
    assert!(hint.chars().all(|c| !c.is_control()), "{hint}");
}

#[test]
fn the_fuzz_seeds_are_honest() {
    let manifest = include_bytes!("../../../fuzz/seeds/manifest/manifest");
    assert_eq!(Manifest::parse(manifest, None).unwrap().layers.len(), 1);
    let index = include_bytes!("../../../fuzz/seeds/manifest/index");
    assert!(
        Index::parse(index, None)
            .unwrap()
            .select(&wanted("amd64"))
            .is_ok()
    );
}
