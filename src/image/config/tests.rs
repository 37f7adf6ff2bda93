use super::*;
use serde_json::{Value, json};

const DIFF: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn document(config: Value) -> Value {
    json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [DIFF]},
    })
}

fn parse(document: &Value) -> Result<ImageConfig> {
    ImageConfig::parse(document.to_string().as_bytes())
}

fn refused(config: Value) -> Error {
    let text = config.to_string();
    parse(&document(config)).expect_err(&text)
}

#[test]
fn a_config_as_docker_writes_it() {
    let mut wire = document(json!({
        "Hostname": "", "User": "app:1000", "AttachStdin": false, "Image": "",
        "Env": ["PATH=/bin", "EMPTY=", "EQ=a=b", "PATH=/sbin"],
        "Cmd": ["sh", "-c", "true"], "Entrypoint": ["/init"], "WorkingDir": "/srv/app/",
        "Volumes": {"/var/lib/b": {}, "/var/lib/a": {}}, "ExposedPorts": {"80/tcp": {}},
        "Labels": {"user": "x", "User": "y"}, "OnBuild": null, "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 3},
    }));
    wire["created"] = json!("2026-11-01T00:00:00Z");
    wire["variant"] = json!("");
    wire["container_config"] = json!({"User": ""});
    wire["history"] = json!([{"created_by": "ADD x"}, {"empty_layer": true, "comment": "c"}]);
    let config = parse(&wire).unwrap();
    assert_eq!(config.platform.to_string(), "linux/amd64");
    assert_eq!(config.user, "app:1000");
    let env: Vec<_> = config.env.iter().map(|(n, v)| format!("{n}|{v}")).collect();
    assert_eq!(env, ["PATH|/bin", "EMPTY|", "EQ|a=b", "PATH|/sbin"]);
    assert_eq!(config.cmd, ["sh", "-c", "true"]);
    assert_eq!(config.entrypoint, ["/init"]);
    assert_eq!(config.working_dir, "/srv/app/");
    assert_eq!(config.volumes, ["/var/lib/a", "/var/lib/b"]);
    assert_eq!(config.exposed_ports, ["80/tcp"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(config.labels["User"], "y");
    assert_eq!(config.diff_ids, [DiffId(Digest::of(b""))]);
    assert_eq!(config.history, ["ADD x", ""]);
    assert_eq!(config.created.as_deref(), Some("2026-11-01T00:00:00Z"));
}

#[test]
fn null_and_absent_fields_are_empty() {
    for config in [
        json!(null),
        json!({}),
        json!({"Env": null, "Volumes": null, "Labels": null}),
    ] {
        let config = parse(&document(config)).unwrap();
        assert!(config.env.is_empty() && config.user.is_empty() && config.volumes.is_empty());
    }
}

#[test]
fn other_systems_and_odd_platforms_are_refused() {
    let with = |os: &str, architecture: &str| {
        let mut wire = document(json!({}));
        wire["os"] = json!(os);
        wire["architecture"] = json!(architecture);
        parse(&wire).map(|c| c.platform.to_string())
    };
    assert_eq!(with("linux", "arm64").unwrap(), "linux/arm64");
    assert_eq!(with("windows", "amd64").unwrap_err().kind, Kind::Platform);
    for (os, architecture) in [
        ("", "amd64"),
        ("linux", ""),
        ("linux", "a\u{1b}[m"),
        ("linux", "a/b"),
    ] {
        assert_eq!(
            with(os, architecture).unwrap_err().kind,
            Kind::Malformed,
            "{os} {architecture}"
        );
    }
    for missing in ["os", "architecture", "rootfs"] {
        let mut wire = document(json!({}));
        wire.as_object_mut().unwrap().remove(missing);
        assert_eq!(parse(&wire).unwrap_err().kind, Kind::Malformed, "{missing}");
    }
}

#[test]
fn the_platform_is_checked_against_the_machine() {
    let machine = |architecture: &str| Platform {
        os: "linux".into(),
        architecture: architecture.into(),
        variant: None,
    };
    let config = parse(&document(json!({}))).unwrap();
    assert!(config.check_platform(&machine("amd64")).is_ok());
    let error = config.check_platform(&machine("arm64")).unwrap_err();
    assert_eq!(error.kind, Kind::Platform);
}

#[test]
fn env_needs_a_name_and_an_equals_sign() {
    for entry in ["NAME", "", "=value", "="] {
        assert_eq!(
            refused(json!({"Env": ["A=b", entry]})).kind,
            Kind::Malformed,
            "{entry}"
        );
    }
    assert!(refused(json!({"Env": ["A=b\0c"]})).cause.contains("NUL"));
    assert!(refused(json!({"Env": ["A\0=b"]})).cause.contains("NUL"));
    assert!(
        !refused(json!({"Env": ["\u{1b}[31m"]}))
            .cause
            .contains('\u{1b}')
    );
}

#[test]
fn env_and_arguments_stay_below_what_execve_takes() {
    let one = |bytes: usize| json!({"Env": [format!("A={}", "x".repeat(bytes - 2))]});
    assert!(parse(&document(one(MAX_STRING))).is_ok());
    assert_eq!(refused(one(MAX_STRING + 1)).kind, Kind::Limit);
    // With its NUL and its pointer each entry takes 128 bytes.
    let many = |count: usize| json!({"Env": vec![format!("A={}", "x".repeat(117)); count]});
    assert!(parse(&document(many(MAX_VECTOR / 128))).is_ok());
    assert_eq!(refused(many(MAX_VECTOR / 128 + 1)).kind, Kind::Limit);
    let empty = |count: usize| vec![String::new(); count];
    let cmd = json!({"Cmd": empty(20_000), "Entrypoint": empty(20_000)});
    assert_eq!(refused(cmd).kind, Kind::Limit);
}

#[test]
fn users_are_names_or_numbers_with_at_most_a_group() {
    for user in [
        "",
        "root",
        "0",
        "1000:1000",
        "app:staff",
        "2147483647",
        "a.b_c-d$",
        "0:0",
    ] {
        assert_eq!(parse(&document(json!({"User": user}))).unwrap().user, user);
    }
    for user in [
        "a:b:c",
        ":",
        "a:",
        ":b",
        "-1",
        "+1",
        "0:-1",
        "2147483648",
        "4294967295",
        "0:4294967296",
        "99999999999999999999",
        "a b",
        "a\nb",
        "root\u{1b}",
        "../x",
        "a,b",
        &"x".repeat(257),
    ] {
        assert_eq!(
            refused(json!({"User": user})).kind,
            Kind::Malformed,
            "{user}"
        );
    }
}

#[test]
fn working_dirs_and_volumes_stay_inside() {
    for path in ["/", "/a", "/a//b/./c", "/a..b", "/..."] {
        assert!(
            parse(&document(json!({"WorkingDir": path}))).is_ok(),
            "{path}"
        );
    }
    let long = format!("/{}", "x".repeat(MAX_PATH));
    for path in [
        "a", ".", "..", "/..", "/a/../b", "/a/..", "../a", "~", &long,
    ] {
        assert_eq!(
            refused(json!({"WorkingDir": path})).kind,
            Kind::Malformed,
            "{path}"
        );
        assert_eq!(
            refused(json!({"Volumes": {path: {}}})).kind,
            Kind::Malformed,
            "{path}"
        );
    }
    for path in [
        "/",
        "//",
        "/.",
        "/proc",
        "/proc/",
        "//proc",
        "/./proc/sys",
        "/sys",
        "/dev/shm",
    ] {
        assert_eq!(
            refused(json!({"Volumes": {path: {}}})).kind,
            Kind::Malformed,
            "{path}"
        );
    }
    for path in ["/data", "/process", "/a/proc", "/device"] {
        assert!(
            parse(&document(json!({"Volumes": {path: {}}}))).is_ok(),
            "{path}"
        );
    }
}

#[test]
fn rootfs_is_layers_with_a_diff_id_each() {
    let with = |rootfs: Value| {
        let mut wire = document(json!({}));
        wire["rootfs"] = rootfs;
        parse(&wire)
    };
    assert!(with(json!({"type": "layers", "diff_ids": vec![DIFF; MAX_LAYERS]})).is_ok());
    let many = with(json!({"type": "layers", "diff_ids": vec![DIFF; MAX_LAYERS + 1]}));
    assert_eq!(many.unwrap_err().kind, Kind::Limit);
    for rootfs in [
        json!({"type": "base", "diff_ids": [DIFF]}),
        json!({"diff_ids": [DIFF]}),
        json!({"type": "layers"}),
        json!({"type": "layers", "diff_ids": null}),
        json!({"type": "layers", "diff_ids": ["sha256:00"]}),
        json!(["layers", [DIFF]]),
    ] {
        let text = rootfs.to_string();
        assert_eq!(
            with(rootfs).expect_err(&text).kind,
            Kind::Malformed,
            "{text}"
        );
    }
}

#[test]
fn diff_ids_are_counted_against_the_manifest() {
    let config = parse(&document(json!({}))).unwrap();
    let descriptor = |media_type: &str| json!({"mediaType": media_type, "digest": DIFF, "size": 1});
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar");
    let manifest = |layers: usize| {
        let wire = json!({
            "schemaVersion": 2, "layers": vec![layer.clone(); layers],
            "config": descriptor("application/vnd.oci.image.config.v1+json"),
        });
        Manifest::parse(wire.to_string().as_bytes(), None).unwrap()
    };
    assert!(config.check_layers(&manifest(1)).is_ok());
    for layers in [0, 2] {
        let error = config.check_layers(&manifest(layers)).unwrap_err();
        assert_eq!(error.kind, Kind::Malformed);
    }
}

#[test]
fn keys_that_two_readers_would_read_differently_are_refused() {
    assert!(
        refused(json!({"User": "1000", "user": "0"}))
            .cause
            .contains("another spelling")
    );
    let twice = r#"{"architecture":"amd64","os":"linux","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    assert!(
        ImageConfig::parse(twice.as_bytes())
            .unwrap_err()
            .cause
            .contains("twice")
    );
    let padded = format!("{}{}", document(json!({})), " ".repeat(4 << 20));
    assert_eq!(
        ImageConfig::parse(padded.as_bytes()).unwrap_err().kind,
        Kind::Limit
    );
}

#[test]
fn the_fuzz_seed_is_honest() {
    let seed = include_bytes!("../../../fuzz/seeds/image_config/config");
    assert_eq!(ImageConfig::parse(seed).unwrap().volumes, ["/data"]);
}
