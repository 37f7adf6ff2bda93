//! Bad input, part 3: archives as a whole (`oci-archive:`, `docker-archive:`), old and new.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::json;
use support::{Entry, Home, Image, Pack, Refusals, need, sha256, tar};

fn image() -> Image {
    Image::toolbox().with(&[Entry::file("second", "layer")])
}

fn write(home: &Home, name: &str, bytes: &[u8]) -> String {
    std::fs::write(home.path(name), bytes).unwrap();
    home.path(name).display().to_string()
}

#[test]
fn oci_archives() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let honest = || image().build().entries();
    let secret = home.path("secret");
    std::fs::write(&secret, r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let secret = secret.to_str().unwrap();
    let with = |extra: Vec<Entry>| {
        let mut entries = honest();
        entries.extend(extra);
        tar(&entries)
    };
    let without = |name: &str| {
        let kept: Vec<Entry> = honest()
            .into_iter()
            .filter(|e| e.path != name.as_bytes())
            .collect();
        tar(&kept)
    };
    let whole = tar(&honest());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("cut-in-header", whole[..700].to_vec()),
        ("trailing", [&whole[..], b"trailing garbage"].concat()),
        ("compressed", Pack::Gzip.pack(&whole)),
        ("no-index", without("index.json")),
        ("no-layout", without("oci-layout")),
        ("index-twice", with(vec![Entry::file("index.json", "{}")])),
        (
            "index-twice-spelled",
            with(vec![Entry::file("./index.json", "{}")]),
        ),
        ("dot-dot", with(vec![Entry::file("../evil", "x")])),
        ("layout-is-a-link-out", {
            let mut entries = honest();
            entries.retain(|e| e.path != b"oci-layout");
            entries.push(Entry::symlink("oci-layout", secret));
            tar(&entries)
        }),
        ("layout-is-a-hardlink-out", {
            let mut entries = honest();
            entries.retain(|e| e.path != b"oci-layout");
            entries.push(Entry::hardlink("oci-layout", secret));
            tar(&entries)
        }),
        ("sparse", with(vec![Entry::new(b'S', "x", 0o644)])),
        ("checksum", with(vec![Entry::file("x", "x").bad_checksum()])),
        ("size-lie", with(vec![Entry::file("x", "x").size(1 << 40)])),
    ];
    for (name, bytes) in cases {
        let path = write(&home, name, &bytes);
        refuse.image(
            name,
            &format!("oci-archive:{path}:test"),
            "malformed|integrity|not_found|unsupported",
            "",
        );
    }
    let folder = home.path("folder");
    std::fs::create_dir(&folder).unwrap();
    refuse.image(
        "a-folder",
        &format!("oci-archive:{}", folder.display()),
        "malformed|usage|io|unsupported",
        "",
    );
    refuse.image("no-file", "oci-archive:./nothing", "not_found|io", "");
    let fifo = home.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    refuse.image(
        "a-fifo",
        &format!("oci-archive:{}", fifo.display()),
        "malformed|usage|io|unsupported",
        "",
    );
    refuse.image(
        "a-device",
        "oci-archive:/dev/zero",
        "malformed|usage|io|unsupported",
        "",
    );
    refuse.finish();
}

#[test]
fn docker_archives() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut refuse = Refusals::new(&home);
    let image = image();
    let built = image.build();
    let config_name = format!("{}.json", &built.config["sha256:".len()..]);
    let layer_names: Vec<String> = image
        .layers
        .iter()
        .map(|l| format!("{}/layer.tar", &sha256(&l.tar)["sha256:".len()..]))
        .collect();
    let honest = || image.docker_entries();
    let secret = write(&home, "secret", b"{}");
    // The archive with another manifest.json, and entries changed.
    let with = |manifest: serde_json::Value, change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = honest();
        entries.retain(|e| e.path != b"manifest.json");
        change(&mut entries);
        entries.push(Entry::file("manifest.json", manifest.to_string()));
        tar(&entries)
    };
    let same = |_: &mut Vec<Entry>| {};
    let one = |config: &str, layers: &[String]| json!([{"Config": config, "RepoTags": ["img:test"], "Layers": layers}]);
    let whole = tar(&honest());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("compressed", Pack::Gzip.pack(&whole)),
        ("no-manifest", {
            let mut entries = honest();
            entries.retain(|e| e.path != b"manifest.json");
            tar(&entries)
        }),
        (
            "config-outside",
            with(one(&format!("../../../..{secret}"), &layer_names), &same),
        ),
        ("config-absolute", with(one(&secret, &layer_names), &same)),
        (
            "config-absent",
            with(one("nothing.json", &layer_names), &same),
        ),
        (
            "config-of-another-name",
            with(
                one(&format!("{}.json", "0".repeat(64)), &layer_names),
                &|entries| {
                    let config = entries
                        .iter_mut()
                        .find(|e| e.path == config_name.as_bytes())
                        .unwrap();
                    config.path = format!("{}.json", "0".repeat(64)).into_bytes();
                },
            ),
        ),
        (
            "layer-absent",
            with(
                one(
                    &config_name,
                    &["nothing/layer.tar".into(), layer_names[1].clone()],
                ),
                &same,
            ),
        ),
        (
            "layer-less",
            with(one(&config_name, &layer_names[..1]), &same),
        ),
        (
            "layers-swapped",
            with(
                one(
                    &config_name,
                    &[layer_names[1].clone(), layer_names[0].clone()],
                ),
                &same,
            ),
        ),
        (
            "layer-is-a-link-out",
            with(one(&config_name, &layer_names), &|entries| {
                let layer = entries
                    .iter_mut()
                    .find(|e| e.path == layer_names[1].as_bytes())
                    .unwrap();
                *layer = Entry::symlink(&layer_names[1], &secret);
            }),
        ),
        (
            "layer-changed",
            with(one(&config_name, &layer_names), &|entries| {
                let layer = entries
                    .iter_mut()
                    .find(|e| e.path == layer_names[1].as_bytes())
                    .unwrap();
                let middle = 520;
                layer.data[middle] ^= 1;
            }),
        ),
        ("duplicate-key", {
            let text = one(&config_name, &layer_names).to_string();
            let text = text.replacen('{', r#"{"Layers":[],"#, 1);
            let mut entries = honest();
            entries.retain(|e| e.path != b"manifest.json");
            entries.push(Entry::file("manifest.json", text));
            tar(&entries)
        }),
        ("manifest-twice", {
            let mut entries = honest();
            entries.push(Entry::file("manifest.json", "[]"));
            tar(&entries)
        }),
        ("no-image-in-it", with(json!([]), &same)),
    ];
    for (name, bytes) in cases {
        let path = write(&home, name, &bytes);
        refuse.image(
            name,
            &format!("docker-archive:{path}"),
            "malformed|integrity|not_found|unsupported|usage",
            "",
        );
    }
    refuse.finish();
}

#[test]
fn an_archive_of_several_images_wants_a_name() {
    need!("userns", "overlay");
    let home = Home::new();
    let first = Image::toolbox().with(&[Entry::file("which", "first")]);
    let second = Image::toolbox().with(&[Entry::file("which", "second")]);
    let mut entries = Vec::new();
    let mut manifest = Vec::new();
    for (name, image) in [("first", first), ("second", second)] {
        for entry in image.docker_entries() {
            if entry.path == b"manifest.json" {
                let mut one: serde_json::Value = serde_json::from_slice(&entry.data).unwrap();
                one[0]["RepoTags"] = json!([format!("{name}:latest")]);
                manifest.push(one[0].clone());
            } else if !entries.iter().any(|e: &Entry| e.path == entry.path) {
                entries.push(entry);
            }
        }
    }
    entries.push(Entry::file("manifest.json", json!(manifest).to_string()));
    let path = write(&home, "two.tar", &tar(&entries));
    let run = |name: &str| home.lazaret(["run", "--rm", name, "cat", "/which"]).run();
    run(&format!("docker-archive:{path}"))
        .exits(125)
        .complains("several images");
    run(&format!("docker-archive:{path}:second"))
        .ok()
        .prints("second");
    run(&format!("docker-archive:{path}:third"))
        .exits(125)
        .complains("no image");
}
