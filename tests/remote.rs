//! `lazaret search` and `lazaret image inspect --remote`: what registries say of themselves, made
//! fit for a terminal, and nothing of it kept.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use support::{
    Answer, Entry, Home, Image, Real, Registry, find, free_port, list, need, retag, sha256,
};

fn catalog(names: &[&str]) -> Answer {
    let body = json!({ "repositories": names }).to_string();
    Answer::new(200, &["Link: </v2/_catalog?last=x>; rel=\"next\""], body)
}

#[test]
fn a_catalogue_is_read_page_by_page() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = Registry::new(|asked, _| match asked.path.as_str() {
        "/v2/_catalog?n=1000" => catalog(&["lab/a", "lab/\u{1b}[31mb", "lab/redis"]),
        "/v2/_catalog?n=1000&last=lab%2Fredis" => catalog(&["../x", "my/redis"]),
        "/v2/_catalog?n=1000&last=my%2Fredis" => Answer::new(200, &[], r#"{"repositories":[]}"#),
        _ => Answer::new(404, &[], ""),
    });
    let at = &registry.address;
    let search = |args: &[&str]| home.lazaret(["search"].iter().chain(args)).run();
    let ran = search(&["--format", "{{.Name}}", &format!("{at}/redis")]).ok();
    drop(ran.prints(&format!("{at}/lab/redis\n{at}/my/redis\n")));
    let ran = search(&[&format!("{at}/")]).ok();
    let text = ran.out();
    let header: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains(['\u{1b}']) && !text.contains(".."), "{text}");
    let ran = search(&["--limit", "1", "--format", "json", &format!("{at}/")]).ok();
    let one: Value = serde_json::from_str(ran.out().trim()).unwrap();
    assert_eq!(one["Name"], format!("{at}/lab/a"));
    for bad in ["0", "101", "x"] {
        search(&["--limit", bad, "x"]).exits(125);
    }
    search(&[""]).exits(125).complains("nothing to search");
    // One that goes on for ever is not read for ever.
    let endless = Registry::new(|_, count| catalog(&[&format!("a{count:05}")]));
    search(&[&format!("{}/none", endless.address)])
        .exits(125)
        .complains("more than 100 pages");
    let circle = Registry::new(|_, _| catalog(&["a", "b"]));
    search(&[&format!("{}/", circle.address)]).ok();
    assert!(circle.asked().len() < 5);
    let large = Registry::new(|_, _| Answer::head(200, &[]).endless("[".repeat(1000)));
    search(&[&format!("{}/", large.address)])
        .exits(125)
        .complains("larger than");
    assert!(list(&home.store().join("staging")).is_empty());
}

/// Connects whoever asks to `to`, wherever they want to go; returns its port and what it was asked.
fn proxy_to(to: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let list = asked.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() > 0 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            list.lock().unwrap().push(head);
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(std::net::Shutdown::Write));
                });
            }
        }
    });
    (port, asked)
}

/// docker.io's index is played by openssl behind a proxy of ours.
#[test]
fn docker_io_is_searched_through_a_proxy() {
    need!("userns", "landlock", "openssl");
    let home = Home::new();
    Real::certificates_for(&home, "index.docker.io");
    let results = json!({"num_results": 1, "results": [
        {"name": "redis", "description": "fast \u{1b}[2J\nand more than forty-five characters long, surely", "star_count": 13000, "is_official": true}
    ]})
    .to_string();
    std::fs::create_dir(home.path("v1")).unwrap();
    std::fs::write(
        home.path("v1/search?q=redis%20x&n=3"),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{results}",
            results.len()
        ),
    )
    .unwrap();
    let port = free_port();
    let mut server = Command::new(find("openssl").unwrap())
        .args([
            "s_server", "-quiet", "-HTTP", "-cert", "tls.pem", "-key", "tls.key",
        ])
        .args(["-accept", &format!("127.0.0.1:{port}")])
        .current_dir(home.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < std::time::Duration::from_secs(20));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (proxy, asked) = proxy_to(port);
    // A login there is nobody's business.
    let config = home.root().join("home/.docker/config.json");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(
        &config,
        r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YW5hOng="}}}"#,
    )
    .unwrap();
    let ran = home
        .lazaret(["search", "--limit", "3", "redis x"])
        .env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"))
        .env("SSL_CERT_FILE", home.path("ca.pem"))
        .run();
    drop(server.kill());
    drop(server.wait());
    let text = ran.ok().out();
    let line = text.lines().nth(1).unwrap();
    assert!(
        line.starts_with("redis") && line.ends_with("13000     [OK]"),
        "{text:?}"
    );
    assert!(
        line.contains("fast \u{fffd}[2J and more") && line.contains('…'),
        "{text:?}"
    );
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].starts_with("CONNECT index.docker.io:443"),
        "{asked:?}"
    );
    assert!(!asked[0].to_ascii_lowercase().contains("authorization"));
}

#[test]
fn what_a_registry_has_is_shown_and_nothing_kept() {
    need!("userns", "landlock");
    let home = Home::new();
    let image = Image::toolbox().with(&[Entry::file("marker", "remote")]);
    let mut layout = image.build();
    let manifest = layout.manifest.clone();
    let bytes = layout.blobs[&manifest].clone();
    let parsed: Value = serde_json::from_slice(&bytes).unwrap();
    let native = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let media = "application/vnd.oci.image.manifest.v1+json";
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {"mediaType": media, "digest": sha256(b"other"), "size": 5,
             "platform": {"os": "linux", "architecture": "riscv64"}},
            {"mediaType": media, "digest": manifest, "size": bytes.len(),
             "platform": {"os": "linux", "architecture": native}},
        ],
    });
    let top = retag(&mut layout, index.to_string());
    let registry = Registry::of(&layout, |_, _| None);
    let name = registry.image();
    let inspect = |args: &[&str]| {
        home.lazaret(["image", "inspect", "--remote"].iter().chain(args))
            .run()
    };
    let ran = inspect(&[&name]).ok();
    let all: Value = serde_json::from_str(&ran.out()).unwrap();
    let there = &all[0];
    assert_eq!(there["Id"], parsed["config"]["digest"]);
    assert_eq!(there["Descriptor"]["digest"], manifest);
    assert_eq!(there["RepoTags"], json!([name]));
    let repository = name.strip_suffix(":test").unwrap();
    assert_eq!(there["RepoDigests"], json!([format!("{repository}@{top}")]));
    assert_eq!(there["Platforms"][0]["platform"]["architecture"], "riscv64");
    assert_eq!(there["Platforms"][1]["digest"], manifest);
    // Nothing is kept, and a tag that was only looked at may move.
    let blobs = registry.asked().iter().filter(|a| a.is_blob()).count();
    assert_eq!(blobs, 1, "the config alone");
    home.lazaret(["images", "-q"]).run().ok().prints("");
    for folder in ["tags", "refs", "blobs/sha256", "layers", "staging"] {
        let left = list(&home.store().join(folder));
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    inspect(&["-f", "{{.Os}}/{{.Architecture}}", &name])
        .ok()
        .prints(&format!("linux/{native}\n"));
    // Of an index, any platform may be asked for; what is served for it must be for it.
    let platform = format!("linux/{native}");
    inspect(&[
        "--platform",
        &platform,
        "-f",
        "{{.Os}}/{{.Architecture}}",
        &name,
    ])
    .ok()
    .prints(&format!("{platform}\n"));
    inspect(&["--platform", "linux/riscv64", &name]).exits(125);
    inspect(&["--platform", "linux/s390x", &name])
        .exits(125)
        .complains("s390x");
    let none = name.replace(":test", ":none");
    inspect(&[&none, &name])
        .exits(125)
        .says(&manifest)
        .complains("404");
    inspect(&["oci:./x"]).exits(125).complains("registry");
    home.lazaret(["image", "inspect", "--insecure-registry", "x", "y"])
        .run()
        .exits(125);
}

#[test]
fn a_local_image_looks_the_same_from_afar() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let layout = Image::toolbox().build();
    let registry = Registry::of(&layout, |_, _| None);
    let name = registry.image();
    let of = |args: &[&str]| -> Value {
        let ran = home.lazaret(args).run().ok();
        serde_json::from_str::<Value>(&ran.out()).unwrap()[0].clone()
    };
    let mut there = of(&["image", "inspect", "--remote", &name]);
    home.lazaret(["pull", "-q", &name]).run().ok();
    let mut here = of(&["image", "inspect", &name]);
    // Unpacked it is larger, and only a registry knows of other platforms.
    for object in [&mut there, &mut here] {
        let object = object.as_object_mut().unwrap();
        for key in ["Size", "Platforms", "Source"] {
            object.remove(key);
        }
    }
    assert_eq!(there, here);
}
