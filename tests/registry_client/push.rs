//! Sending to a registry that is wrong in one place: it ends in time, with a typed error, and
//! nobody is told a password who is not the registry.

use super::support::{Answer, Asked, Registry, Shelf, sha256};
use super::{PASSWORD, authorized, fails, in_time, known_to, options, reference};
use lazaret::error::{Kind, Result};
use lazaret::image::{Descriptor, Digest};
use lazaret::registry::{Client, Options, Sent};
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in a file without a name.
fn file(bytes: &[u8]) -> File {
    let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
    let fd = rustix::fs::open(std::env::temp_dir(), flags, 0o600.into()).unwrap();
    let mut file = File::from(fd);
    file.write_all(bytes).unwrap();
    file
}

fn bytes() -> Vec<u8> {
    let numbers = (0..200_000_u32).flat_map(u32::to_le_bytes);
    numbers.collect()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: Default::default(),
    }
}

fn send_as(options: Options, registry: &Registry, from: Option<&'static str>) -> Result<Sent> {
    let to = reference(&registry.image());
    in_time(move || {
        let bytes = bytes();
        let mut client = Client::new(&options).unwrap();
        client.send_blob(&to, &descriptor(&bytes), from, &file(&bytes), &mut |_| {})
    })
}

fn send(registry: &Registry) -> Result<Sent> {
    send_as(known_to(registry), registry, None)
}

fn basic(asked: &Asked) -> Option<Answer> {
    let question = || Answer::new(401, &["WWW-Authenticate: Basic realm=\"x\""], "");
    asked.header("authorization").is_none().then(question)
}

#[test]
fn a_blob_goes_whole_and_once() {
    let shelf = Shelf::default();
    let registry = shelf.registry(|asked, _| basic(asked));
    assert_eq!(send(&registry).unwrap(), Sent::Uploaded);
    assert_eq!(shelf.held().blobs[&sha256(&bytes())], bytes());
    assert_eq!(send(&registry).unwrap(), Sent::Exists);
    let puts = registry.asked().into_iter().filter(|a| a.method == "PUT");
    assert_eq!(puts.count(), 1);
    // Another repository is asked for what the first has.
    shelf.held().has.clear();
    shelf.held().has.insert(("lab/a".into(), sha256(&bytes())));
    let sent = send_as(known_to(&registry), &registry, Some("lab/a"));
    assert_eq!(sent.unwrap(), Sent::Mounted);
    // One that has it not, and one that is not there, cost nothing.
    shelf.held().has.clear();
    let sent = send_as(known_to(&registry), &registry, Some("lab/b"));
    assert_eq!(sent.unwrap(), Sent::Uploaded);
    for status in [400, 401, 403, 404, 405] {
        let registry = Shelf::default().registry(move |asked, _| {
            let refusal = || Answer::new(status, &["WWW-Authenticate: Basic"], "");
            asked.path.contains("mount=").then(refusal)
        });
        let sent = send_as(known_to(&registry), &registry, Some("lab/b"));
        assert_eq!(sent.unwrap(), Sent::Uploaded, "{status}");
    }
}

#[test]
fn a_token_is_for_writing_here_and_reading_there() {
    let shelf = Shelf::default();
    let registry = shelf.registry(|asked, _| {
        if asked.path.starts_with("/token") {
            return Some(Answer::new(200, &[], r#"{"token":"good"}"#));
        }
        let own = format!("http://{}/token", asked.header("host").unwrap());
        let question = format!("WWW-Authenticate: Bearer realm=\"{own}\",service=\"reg\"");
        (asked.header("authorization") != Some("Bearer good"))
            .then(|| Answer::new(401, &[&question], ""))
    });
    let sent = send_as(known_to(&registry), &registry, Some("lab/a"));
    assert_eq!(sent.unwrap(), Sent::Uploaded);
    let asked = registry.asked();
    let tokens: Vec<_> = asked
        .iter()
        .filter(|a| a.path.starts_with("/token"))
        .map(|a| a.path.as_str())
        .collect();
    assert_eq!(
        tokens,
        [
            "/token?service=reg&scope=repository:img:pull,push",
            "/token?service=reg&scope=repository:img:pull,push&scope=repository:lab/a:pull",
        ]
    );
    let with_password = |a: &&Asked| {
        a.header("authorization")
            .is_some_and(|value| value.starts_with("Basic"))
    };
    assert_eq!(asked.iter().filter(with_password).count(), 2);
}

#[test]
fn an_upload_elsewhere_has_no_credentials() {
    let elsewhere = Registry::new(|_, _| Answer::new(201, &[], ""));
    let to = format!("Location: http://{}/bucket?signature=x", elsewhere.address);
    let registry = Shelf::default().registry(move |asked, _| {
        let moved = asked.method == "POST";
        basic(asked).or_else(|| moved.then(|| Answer::new(202, &[&to], "")))
    });
    assert_eq!(send(&registry).unwrap(), Sent::Uploaded);
    let asked = elsewhere.asked();
    let path = format!("/bucket?signature=x&digest={}", sha256(&bytes()));
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, path.as_str()));
    assert_eq!(authorized(&asked), 0, "credentials followed a Location");
    // Its 401 is no question that is answered, whatever it asks.
    let elsewhere =
        Registry::new(|_, _| Answer::new(401, &["WWW-Authenticate: Basic realm=\"x\""], ""));
    let to = format!("Location: http://{}/", elsewhere.address);
    let registry = Shelf::default().registry(move |asked, _| {
        let moved = asked.method == "POST";
        basic(asked).or_else(|| moved.then(|| Answer::new(202, &[&to], "")))
    });
    fails(send(&registry), Kind::Credentials, "401");
    assert_eq!(
        (elsewhere.asked().len(), authorized(&elsewhere.asked())),
        (1, 0)
    );
}

#[test]
fn an_upload_goes_where_it_may() {
    for location in [
        "",
        "x",
        "ftp://127.0.0.1/",
        "http://192.0.2.1/",
        "http://u:p@127.0.0.1/",
        "//",
    ] {
        let registry = Shelf::default().registry(move |asked, _| {
            let to = format!("Location: {location}");
            (asked.method == "POST").then(|| Answer::new(202, &[&to], ""))
        });
        fails(send(&registry), Kind::Registry, "is not followed");
        let puts = registry.asked().into_iter().filter(|a| a.method == "PUT");
        assert_eq!(puts.count(), 0, "{location}");
    }
    // A redirect of what is written is followed nowhere.
    for method in ["POST", "PUT"] {
        let elsewhere = Registry::new(|_, _| Answer::new(201, &[], ""));
        let to = format!("http://{}/", elsewhere.address);
        let registry = Shelf::default()
            .registry(move |asked, _| (asked.method == method).then(|| Answer::redirect(&to)));
        fails(send(&registry), Kind::Registry, "307");
        assert_eq!(elsewhere.asked().len(), 0);
    }
}

#[test]
fn questions_without_end_are_answered_once() {
    for method in ["HEAD", "POST", "PUT"] {
        let registry = Shelf::default().registry(move |asked, _| {
            let question = || Answer::new(401, &["WWW-Authenticate: Basic realm=\"x\""], "");
            (asked.method == method).then(question)
        });
        let error = fails(send(&registry), Kind::Credentials, "401");
        assert!(!error.to_string().contains(PASSWORD));
        let asked = registry.asked();
        let there = asked.iter().filter(|a| a.method == method).count();
        assert_eq!(there, 2, "{method}");
    }
}

#[test]
fn what_breaks_off_begins_again_and_ends() {
    let shelf = Shelf::default();
    let puts = Arc::new(AtomicUsize::new(0));
    let registry = shelf.registry({
        let puts = puts.clone();
        move |asked, _| {
            let first = asked.method == "PUT" && puts.fetch_add(1, Ordering::Relaxed) < 2;
            match puts.load(Ordering::Relaxed) {
                1 if first => Some(Answer::new(503, &[], "")),
                _ if first => Some(Answer::nothing()),
                _ => None,
            }
        }
    });
    assert_eq!(send(&registry).unwrap(), Sent::Uploaded);
    assert_eq!(shelf.held().blobs[&sha256(&bytes())], bytes());
    // Each attempt has a session of its own.
    let asked = registry.asked();
    let mut paths: Vec<_> = asked.iter().filter(|a| a.method == "PUT").collect();
    assert_eq!(paths.len(), 3);
    paths.dedup_by_key(|a| a.path.clone());
    assert_eq!(paths.len(), 3);
    let registry = Shelf::default()
        .registry(|asked, _| (asked.method == "PUT").then(|| Answer::new(500, &[], "")));
    fails(send(&registry), Kind::Registry, "500");
    let puts = registry.asked().into_iter().filter(|a| a.method == "PUT");
    assert_eq!(puts.count(), 3, "one, and two retries");
}

#[test]
fn a_registry_that_says_it_has_something_else_is_not_believed() {
    let other = format!("Docker-Content-Digest: sha256:{}", "1".repeat(64));
    for (method, status) in [("HEAD", 200), ("POST", 201), ("PUT", 201)] {
        let other = other.clone();
        let registry = Shelf::default().registry(move |asked, _| {
            (asked.method == method).then(|| Answer::head(status, &[&other]))
        });
        let sent = send_as(options(), &registry, Some("lab/a"));
        fails(sent, Kind::Integrity, "it has \"sha256:1111");
    }
    let registry = Shelf::default().registry(|asked, _| {
        (asked.method == "HEAD").then(|| Answer::head(200, &["Content-Length: 7"]))
    });
    fails(send(&registry), Kind::Integrity, "7");
    // The manifest as well.
    let registry = Registry::new(move |_, _| Answer::new(201, &[&other], ""));
    let (to, options) = (reference(&registry.image()), options());
    let sent = in_time(move || {
        let mut client = Client::new(&options).unwrap();
        client.send_manifest(&to, b"{}", "application/vnd.oci.image.manifest.v1+json")
    });
    fails(sent, Kind::Integrity, "it has \"sha256:1111");
    assert_eq!(registry.asked()[0].bytes, b"{}");
}

#[test]
fn answers_end_in_time() {
    for method in ["HEAD", "POST", "PUT"] {
        let hanging = Shelf::default()
            .registry(move |asked, _| (asked.method == method).then(|| Answer::nothing().hang()));
        fails(
            send_as(options(), &hanging, None),
            Kind::Registry,
            "in time",
        );
        let headers = Shelf::default().registry(move |asked, _| {
            let answer = || {
                Answer::nothing()
                    .bytes("HTTP/1.1 201 X\r\n")
                    .endless("A: b\r\n")
            };
            (asked.method == method).then(answer)
        });
        let error = send_as(options(), &headers, None).unwrap_err();
        assert_eq!(error.kind, Kind::Limit, "{method}: {error}");
        let body = Shelf::default().registry(move |asked, _| {
            (asked.method == method).then(|| Answer::head(400, &[]).endless("x"))
        });
        fails(send_as(options(), &body, None), Kind::Registry, "400");
    }
}

#[test]
fn a_file_of_other_bytes_is_not_sent() {
    let registry = Shelf::default().registry(|_, _| None);
    let good = bytes();
    let mut flipped = good.clone();
    flipped[77] ^= 4;
    let longer = [&good[..], b"x"].concat();
    for bad in [&flipped[..], &good[1..], &longer, b""] {
        let (to, options, bad) = (reference(&registry.image()), options(), file(bad));
        let blob = descriptor(&good);
        let sent = in_time(move || {
            let mut client = Client::new(&options).unwrap();
            client.send_blob(&to, &blob, None, &bad, &mut |_| {})
        });
        fails(sent, Kind::Integrity, "is damaged");
    }
    let asked = registry.asked();
    assert!(asked.iter().all(|a| a.method == "HEAD"), "{asked:?}");
}
