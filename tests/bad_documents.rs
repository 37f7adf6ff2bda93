//! Bad input, part 1: digests, sizes, manifests, configs, indexes, platforms (THREATS.md, "manifest
//! confusion", "digest or size lies; flips at rest").
//!
//! Each case is the honest image with one thing wrong. Each must be a typed error with exit 125
//! that leaves nothing, and an honest image must still run in the same home afterwards.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Entry, Home, Image, Layer, Layout, Pack, Refusals, need, sha256};

fn two_layers() -> Image {
    Image::toolbox().with(&[Entry::file("second", "layer")])
}

/// Three layers, the upper two like no other case's: what was unpacked for another case is not
/// read again, and a spoiled blob of it would not be noticed.
fn three_layers(case: &str) -> Image {
    Image::toolbox()
        .with(&[Entry::file("second", case.repeat(100))])
        .with(&[Entry::file("third", case.repeat(200))])
}

/// The built image after a change to its parts.
fn spoiled(change: impl Fn(&mut Layout)) -> Layout {
    let mut layout = two_layers().build();
    change(&mut layout);
    layout
}

fn flip(layout: &mut Layout, digest: &str) {
    let blob = layout.blobs.get_mut(digest).unwrap();
    let middle = blob.len() / 2;
    blob[middle] ^= 1;
}

/// The index with its one entry changed.
fn entry(layout: &mut Layout, change: impl Fn(&mut Value)) {
    let mut index: Value = serde_json::from_str(&layout.index).unwrap();
    change(&mut index["manifests"][0]);
    layout.index = index.to_string();
}

fn edited(text: String, change: impl Fn(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    value.to_string()
}

#[test]
fn bytes_that_are_not_what_was_named() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let mut case = |name: &str, kinds: &str, word: &str, change: &dyn Fn(&mut Layout)| {
        let mut layout = three_layers(name).build();
        change(&mut layout);
        let image = layout.folder(&home, name);
        refuse.image(name, &image, kinds, word);
    };
    case("manifest-flipped", "integrity", "", &|l| {
        flip(l, &l.manifest.clone())
    });
    case("config-flipped", "integrity", "", &|l| {
        flip(l, &l.config.clone())
    });
    case("layer-flipped", "integrity|malformed", "", &|l| {
        flip(l, &l.layers[1].clone())
    });
    case("manifest-shorter", "integrity", "", &|l| {
        let manifest = l.manifest.clone();
        l.blobs.get_mut(&manifest).unwrap().pop();
    });
    case("config-longer", "integrity", "", &|l| {
        let config = l.config.clone();
        l.blobs.get_mut(&config).unwrap().push(b' ');
    });
    case("layer-longer", "integrity", "", &|l| {
        let layer = l.layers[1].clone();
        l.blobs.get_mut(&layer).unwrap().push(0);
    });
    case("layer-shorter", "integrity", "", &|l| {
        let layer = l.layers[1].clone();
        l.blobs.get_mut(&layer).unwrap().pop();
    });
    case("manifest-size-lie", "integrity", "", &|l| {
        entry(l, |e| e["size"] = json!(7))
    });
    case("layers-swapped", "integrity|malformed", "", &|l| {
        let (a, b) = (l.layers[1].clone(), l.layers[2].clone());
        let (x, y) = (l.blobs[&a].clone(), l.blobs[&b].clone());
        l.blobs.insert(a, y);
        l.blobs.insert(b, x);
    });
    case(
        "manifest-absent",
        "not_found|malformed|integrity",
        "",
        &|l| {
            l.blobs.remove(&l.manifest.clone());
        },
    );
    case("config-absent", "not_found|malformed|integrity", "", &|l| {
        l.blobs.remove(&l.config.clone());
    });
    case("layer-absent", "not_found|malformed|integrity", "", &|l| {
        l.blobs.remove(&l.layers[1].clone());
    });
    case("manifest-empty", "integrity", "", &|l| {
        l.blobs.insert(l.manifest.clone(), Vec::new());
    });
    refuse.finish();
}

#[test]
fn layers_that_lie_about_themselves() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let layer = || Layer::of(&[Entry::file("second", "layer ".repeat(1000))]);
    let cases: Vec<(&str, Layer, &str)> = vec![
        (
            "diff-id-of-another",
            Layer {
                diff_id: Some(sha256(b"another")),
                ..layer()
            },
            "integrity",
        ),
        (
            "diff-id-is-the-blobs",
            Layer {
                diff_id: Some(sha256(&Pack::Gzip.pack(&layer().tar))),
                ..layer()
            },
            "integrity",
        ),
        (
            "digest-of-another",
            Layer {
                digest: Some(sha256(b"another")),
                ..layer()
            },
            "integrity",
        ),
        (
            "size-smaller",
            Layer {
                size: Some(5),
                ..layer()
            },
            "integrity",
        ),
        (
            "size-larger",
            Layer {
                size: Some(5_000_000),
                ..layer()
            },
            "integrity",
        ),
        (
            "size-huge",
            Layer {
                size: Some(u64::MAX / 2),
                ..layer()
            },
            "integrity|limit|malformed|policy",
        ),
        (
            "gzip-called-plain",
            Layer {
                media: Some("application/vnd.oci.image.layer.v1.tar".into()),
                ..layer()
            },
            "integrity|malformed",
        ),
        (
            "plain-called-gzip",
            Layer {
                media: Some("application/vnd.oci.image.layer.v1.tar+gzip".into()),
                ..layer().packed_as(Pack::Plain)
            },
            "integrity|malformed",
        ),
        (
            "gzip-called-zstd",
            Layer {
                media: Some("application/vnd.oci.image.layer.v1.tar+zstd".into()),
                ..layer()
            },
            "integrity|malformed",
        ),
        (
            "encrypted",
            Layer {
                media: Some("application/vnd.oci.image.layer.v1.tar+gzip+encrypted".into()),
                ..layer()
            },
            "unsupported",
        ),
        (
            "no-layer-at-all",
            Layer {
                media: Some("text/plain".into()),
                ..layer()
            },
            "unsupported|malformed",
        ),
        (
            "foreign-and-absent",
            Layer {
                urls: vec!["http://127.0.0.1:9/layer".into()],
                absent: true,
                ..layer()
            },
            "not_found|unsupported|integrity|malformed",
        ),
    ];
    for (name, layer, kinds) in cases {
        let image = Image::toolbox().with_layer(layer).layout(&home, name);
        refuse.image(name, &image, kinds, "");
    }
    refuse.finish();
}

#[test]
fn urls_beside_a_layer_that_is_there_are_ignored() {
    need!("userns", "overlay");
    let home = Home::new();
    let layer = Layer {
        urls: vec!["http://127.0.0.1:9/layer".into()],
        ..Layer::of(&[Entry::file("hello", "from the layout")])
    };
    let image = Image::toolbox().with_layer(layer).layout(&home, "urls");
    home.lazaret(["run", "--rm", &image, "cat", "/hello"])
        .run()
        .ok()
        .prints("from the layout");
}

#[test]
fn manifests_that_can_be_read_in_two_ways() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let mut case =
        |name: &str, kinds: &str, word: &str, edit: &'static dyn Fn(String) -> String| {
            let image = two_layers().edit_manifest(edit).layout(&home, name);
            refuse.image(name, &image, kinds, word);
        };
    case("duplicate-layers", "malformed", "", &|t| {
        t.replacen('{', r#"{"layers":[],"#, 1)
    });
    case("duplicate-config-escaped", "malformed", "", &|t| {
        t.replacen('{', r#"{"c\u006fnfig":{},"#, 1)
    });
    case("other-case-layers", "malformed", "", &|t| {
        t.replacen('{', r#"{"Layers":[],"#, 1)
    });
    case("manifests-and-layers", "malformed", "two images", &|t| {
        t.replacen('{', r#"{"manifests":[],"#, 1)
    });
    case("duplicate-digest-in-layer", "malformed", "", &|t| {
        t.replacen(
            r#""digest":"#,
            &format!(r#""digest":"{}","digest":"#, sha256(b"x")),
            1,
        )
    });
    case("calls-itself-an-index", "malformed", "", &|t| {
        edited(t, |m| {
            m["mediaType"] = json!("application/vnd.oci.image.index.v1+json")
        })
    });
    case("calls-itself-docker", "malformed", "", &|t| {
        edited(t, |m| {
            m["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json")
        })
    });
    case("schema-1", "unsupported|malformed", "", &|_| {
        r#"{"schemaVersion":1,"name":"x","tag":"y","architecture":"amd64","fsLayers":[],"history":[]}"#.into()
    });
    case("trailing-bytes", "malformed", "", &|t| t + "{}");
    case("not-json", "malformed", "", &|_| "hello".into());
    case("an-array", "malformed", "", &|t| format!("[{t}]"));
    case("deep", "malformed|limit", "", &|t| {
        t.replacen(
            '{',
            &format!(r#"{{"x":{}{},"#, "[".repeat(2000), "]".repeat(2000)),
            1,
        )
    });
    case("no-config", "malformed", "", &|t| {
        edited(t, |m| drop(m.as_object_mut().unwrap().remove("config")))
    });
    case("artifact", "unsupported", "", &|t| {
        edited(t, |m| {
            m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json")
        })
    });
    case("too-many-layers", "limit", "", &|t| {
        edited(t, |m| {
            let layer = m["layers"][0].clone();
            m["layers"] = Value::Array(vec![layer; 600]);
        })
    });
    case("a-layer-more-than-diff-ids", "malformed", "", &|t| {
        edited(t, |m| {
            let layer = m["layers"][0].clone();
            m["layers"].as_array_mut().unwrap().push(layer);
        })
    });
    case("negative-size", "malformed", "", &|t| {
        edited(t, |m| m["layers"][0]["size"] = json!(-1))
    });
    case("sha512", "unsupported", "", &|t| {
        edited(t, |m| {
            m["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))
        })
    });
    case("upper-case-digest", "malformed", "", &|t| {
        edited(t, |m| {
            let digest = m["layers"][0]["digest"].as_str().unwrap().to_uppercase();
            m["layers"][0]["digest"] = json!(digest.replace("SHA256", "sha256"));
        })
    });
    case("path-as-digest", "malformed", "", &|t| {
        edited(t, |m| {
            m["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd")
        })
    });
    refuse.finish();
}

#[test]
fn configs_that_are_not_what_they_must_be() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let mut case = |name: &str, kinds: &str, edit: &'static dyn Fn(String) -> String| {
        let image = two_layers().edit_config(edit).layout(&home, name);
        refuse.image(name, &image, kinds, "");
    };
    case("duplicate-config", "malformed", &|t| {
        t.replacen('{', r#"{"config":{},"#, 1)
    });
    case("duplicate-user-inside", "malformed", &|t| {
        t.replacen(r#""config":{"#, r#""config":{"User":"1","User":"0","#, 1)
    });
    case("other-platform", "platform", &|t| {
        edited(t, |c| c["architecture"] = json!("s390x"))
    });
    case("other-os", "platform", &|t| {
        edited(t, |c| c["os"] = json!("windows"))
    });
    case("no-rootfs", "malformed", &|t| {
        edited(t, |c| drop(c.as_object_mut().unwrap().remove("rootfs")))
    });
    case("rootfs-of-another-type", "malformed|unsupported", &|t| {
        edited(t, |c| c["rootfs"]["type"] = json!("volume"))
    });
    case("a-diff-id-less", "malformed", &|t| {
        edited(t, |c| {
            drop(c["rootfs"]["diff_ids"].as_array_mut().unwrap().pop())
        })
    });
    case("nul-in-env", "malformed", &|t| {
        edited(t, |c| c["config"]["Env"] = json!(["A=b\u{0}c"]))
    });
    case("env-without-equals", "malformed", &|t| {
        edited(t, |c| c["config"]["Env"] = json!(["NOTHING"]))
    });
    case("env-without-name", "malformed", &|t| {
        edited(t, |c| c["config"]["Env"] = json!(["=x"]))
    });
    case("env-too-large", "limit|malformed", &|t| {
        edited(t, |c| {
            let one = format!("A{}=x", "y".repeat(100_000));
            c["config"]["Env"] = json!(vec![one; 30]);
        })
    });
    case("nul-in-entrypoint", "malformed", &|t| {
        edited(t, |c| {
            c["config"]["Entrypoint"] = json!(["/bin/true\u{0}x"])
        })
    });
    case("nul-in-cmd", "malformed", &|t| {
        edited(t, |c| c["config"]["Cmd"] = json!(["a\u{0}"]))
    });
    case("entrypoint-is-a-string", "malformed", &|t| {
        edited(t, |c| c["config"]["Entrypoint"] = json!("/bin/true"))
    });
    case("workdir-relative", "malformed", &|t| {
        edited(t, |c| c["config"]["WorkingDir"] = json!("a/b"))
    });
    case("workdir-climbs", "malformed", &|t| {
        edited(t, |c| c["config"]["WorkingDir"] = json!("/a/../../../etc"))
    });
    case("volume-over-proc", "malformed|unsupported|policy", &|t| {
        edited(t, |c| c["config"]["Volumes"] = json!({"/proc": {}}))
    });
    case("volume-climbs", "malformed", &|t| {
        edited(t, |c| c["config"]["Volumes"] = json!({"/a/../..": {}}))
    });
    case("user-of-three-parts", "malformed", &|t| {
        edited(t, |c| c["config"]["User"] = json!("a:b:c"))
    });
    case("user-negative", "malformed", &|t| {
        edited(t, |c| c["config"]["User"] = json!("-1"))
    });
    case("user-too-large", "malformed|limit", &|t| {
        edited(t, |c| c["config"]["User"] = json!("4294967296"))
    });
    case("user-minus-one", "malformed|limit", &|t| {
        edited(t, |c| c["config"]["User"] = json!("4294967295"))
    });
    case("user-nul", "malformed", &|t| {
        edited(t, |c| c["config"]["User"] = json!("a\u{0}b"))
    });
    refuse.finish();
}

#[test]
fn indexes_and_layouts_that_confuse() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let index_media = "application/vnd.oci.image.index.v1+json";
    // An index as a blob, named by index.json.
    let nested = |inner: &dyn Fn(&mut Layout) -> Value| {
        let mut layout = two_layers().build();
        let inner = inner(&mut layout).to_string().into_bytes();
        let blob = layout.add(index_media, inner);
        let mut entry = blob.json();
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "test"});
        layout.index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        layout
    };
    let manifest = |layout: &Layout| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": layout.manifest,
            "size": layout.blobs[&layout.manifest].len()})
    };
    let for_platform = |layout: &Layout, os: &str, architecture: &str| {
        let mut entry = manifest(layout);
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    };
    let mut case = |name: &str, kinds: &str, layout: Layout| {
        let image = layout.folder(&home, name);
        refuse.image(name, &image, kinds, "");
    };
    case(
        "index-in-index",
        "malformed",
        nested(&|l| {
            let inner = json!({"schemaVersion": 2, "manifests": [manifest(l)]});
            let inner = l.add(index_media, inner.to_string().into_bytes());
            json!({"schemaVersion": 2, "manifests": [inner.json()]})
        }),
    );
    case(
        "too-many-entries",
        "limit",
        nested(&|l| json!({"schemaVersion": 2, "manifests": vec![manifest(l); 65]})),
    );
    case(
        "no-entry-for-this-machine",
        "platform",
        nested(&|l| {
            json!({"schemaVersion": 2, "manifests":
                [for_platform(l, "linux", "s390x"), for_platform(l, "windows", "amd64")]})
        }),
    );
    case(
        "index-with-layers",
        "malformed",
        nested(&|l| json!({"schemaVersion": 2, "manifests": [manifest(l)], "layers": []})),
    );
    case(
        "index-called-manifest",
        "malformed",
        spoiled(|l| {
            let index = json!({"schemaVersion": 2, "manifests": [manifest(l)]});
            let blob = l.add(index_media, index.to_string().into_bytes());
            entry(l, |e| {
                e["digest"] = json!(blob.digest);
                e["size"] = json!(blob.size);
            });
        }),
    );
    case(
        "version-of-the-future",
        "malformed|unsupported",
        spoiled(|l| {
            l.version = Some(r#"{"imageLayoutVersion":"2.0.0"}"#.into());
        }),
    );
    case(
        "no-layout-file",
        "malformed|not_found",
        spoiled(|l| l.version = None),
    );
    case(
        "index-not-json",
        "malformed",
        spoiled(|l| l.index = "]".into()),
    );
    case(
        "index-duplicate-key",
        "malformed",
        spoiled(|l| {
            l.index = l.index.replacen('{', r#"{"manifests":[],"#, 1);
        }),
    );
    case(
        "no-such-tag",
        "not_found",
        spoiled(|l| {
            entry(l, |e| {
                e["annotations"]["org.opencontainers.image.ref.name"] = json!("other")
            });
        }),
    );
    case(
        "two-of-one-tag",
        "malformed|usage",
        spoiled(|l| {
            let mut index: Value = serde_json::from_str(&l.index).unwrap();
            let mut twin = index["manifests"][0].clone();
            twin["digest"] = json!(sha256(b"another"));
            index["manifests"].as_array_mut().unwrap().push(twin);
            l.index = index.to_string();
        }),
    );
    refuse.run(
        "no-such-folder",
        &[
            "run",
            "--rm",
            "--format",
            "json",
            "oci:./nothing:test",
            "true",
        ],
        125,
        "not_found|io",
        "",
    );
    refuse.finish();
}

#[test]
fn an_index_of_several_platforms_gives_this_machines_image() {
    need!("userns", "overlay");
    let home = Home::new();
    let ours = Image::toolbox().with(&[Entry::file("which", "ours")]);
    let mut other = Image::toolbox().with(&[Entry::file("which", "another's")]);
    other.architecture = "s390x".into();
    let (mut layout, other) = (ours.build(), other.build());
    let platform = |l: &Layout, architecture: &str| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": l.manifest,
            "size": l.blobs[&l.manifest].len(), "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = json!({"schemaVersion": 2, "manifests":
        [platform(&other, "s390x"), platform(&layout, &ours.architecture)]});
    layout.blobs.extend(other.blobs);
    let blob = layout.add(
        "application/vnd.oci.image.index.v1+json",
        index.to_string().into_bytes(),
    );
    let mut top = blob.json();
    top["annotations"] = json!({"org.opencontainers.image.ref.name": "test"});
    layout.index = json!({"schemaVersion": 2, "manifests": [top]}).to_string();
    let image = layout.folder(&home, "multi");
    home.lazaret(["run", "--rm", &image, "cat", "/which"])
        .run()
        .ok()
        .prints("ours");
}

#[test]
fn every_honest_packing_runs() {
    need!("userns", "overlay");
    let home = Home::new();
    for (n, pack) in [Pack::Plain, Pack::Gzip, Pack::GzipMembers(4), Pack::Zstd]
        .into_iter()
        .enumerate()
    {
        let top = Layer::of(&[Entry::file("hello", format!("{pack:?}"))]).packed_as(pack);
        let image = Image::toolbox().with_layer(top);
        let docker = Image {
            docker: true,
            ..image.clone()
        };
        let mut names = vec![
            image.layout(&home, &format!("layout{n}")),
            image.archive(&home, &format!("archive{n}")),
            image.docker_archive(&home, &format!("docker-old{n}")),
            image
                .build()
                .docker_archive(&home, &format!("docker-new{n}")),
        ];
        if pack != Pack::Zstd {
            names.push(docker.layout(&home, &format!("docker-types{n}")));
        }
        for name in names {
            home.lazaret(["run", "--rm", &name, "cat", "/hello"])
                .run()
                .ok()
                .prints(&format!("{pack:?}"));
        }
    }
    home.clean();
}
