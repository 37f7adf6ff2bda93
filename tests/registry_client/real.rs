//! Debian's docker-registry, plain, with htpasswd, and over TLS with a CA of our own; the image is
//! pushed by skopeo.

use super::support::{Home, Image, Real, find, need};
use super::{Entry, Layer, PASSWORD, blob_as, fails, in_time, options, reference, resolve_as};
use lazaret::error::Kind;
use lazaret::host::Credential;
use lazaret::image::Platform;
use lazaret::registry::{Auth, Client, Options, Roots};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pushes an image with skopeo and returns what it is called.
fn push(real: &Real, home: &Home, host: &str, credentials: Option<&str>) -> String {
    let name = format!("{host}:{}/lab/img:test", real.port);
    let ours = image().layout(home, "ours");
    let mut skopeo = Command::new(find("skopeo").unwrap());
    skopeo
        .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
        .args(credentials.map(|c| format!("--dest-creds={c}")))
        .args([ours, format!("docker://{name}")]);
    let out = skopeo.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "skopeo: {said}");
    name
}

fn image() -> Image {
    Image::new([Layer::of(&[Entry::file("hello", "x".repeat(100_000))])])
}

/// The image comes back as it was built.
#[track_caller]
fn pulls(options: &Options, name: &str) {
    let ours = image().build();
    let served = resolve_as(options.clone(), name).unwrap();
    assert_eq!(served.top.to_string(), ours.manifest);
    assert_eq!(served.manifest, ours.blobs[&ours.manifest]);
    let manifest = served.parsed;
    for descriptor in manifest.layers.iter().chain([&manifest.config]) {
        let (bytes, _) = blob_as(options.clone(), name, descriptor).unwrap();
        assert_eq!(bytes, ours.blobs[&descriptor.digest.to_string()]);
    }
}

fn login(registry: &str, password: &str) -> Options {
    Options {
        auth: Some(Auth {
            registry: registry.into(),
            credential: Credential::Basic {
                user: "ana".into(),
                password: password.into(),
            },
        }),
        ..options()
    }
}

/// Docker-registry closes nothing early and may be slow to start: its times are its own.
fn patient(options: Options) -> Options {
    let mut limits = options.limits.clone();
    limits.stall = Duration::from_secs(4);
    limits.document = Duration::from_secs(4);
    Options { limits, ..options }
}

#[test]
fn docker_registry_in_the_clear() {
    need!("docker-registry", "skopeo");
    let home = Home::new();
    let real = Real::start(&home, "", "");
    let name = push(&real, &home, "127.0.0.1", None);
    let options = patient(options());
    pulls(&options, &name);
    // By its name, which is not looked up.
    pulls(&options, &name.replace("127.0.0.1", "localhost"));
    let other = name.replace(":test", ":other");
    let error = fails(resolve_as(options.clone(), &other), Kind::NotFound, "404");
    assert!(error.cause.contains("MANIFEST_UNKNOWN"), "{error}");
    let other = name.replace("lab/img", "lab/other");
    fails(resolve_as(options, &other), Kind::NotFound, "404");
}

#[test]
fn docker_registry_with_a_password() {
    need!("docker-registry", "skopeo", "htpasswd");
    let home = Home::new();
    let auth = Real::htpasswd(&home, "ana", PASSWORD);
    let real = Real::start(&home, "", &auth);
    let name = push(&real, &home, "127.0.0.1", Some(&format!("ana:{PASSWORD}")));
    let registry = format!("127.0.0.1:{}", real.port);
    pulls(&patient(login(&registry, PASSWORD)), &name);
    for options in [
        options(),
        login(&registry, "wrong"),
        login("docker.io", PASSWORD),
    ] {
        let error = fails(
            resolve_as(patient(options), &name),
            Kind::Credentials,
            "401",
        );
        let hint = error.hint.unwrap();
        assert!(
            hint.contains(&format!("lazaret login {registry}")),
            "{hint}"
        );
    }
}

#[test]
fn docker_registry_over_tls() {
    need!("docker-registry", "skopeo", "openssl");
    let home = Home::new();
    Real::certificates(&home);
    let real = Real::start(&home, &Real::tls(&home), "");
    let name = push(&real, &home, "localhost", None);
    let ca = std::fs::read(home.path("ca.pem")).unwrap();
    let trusting = |roots| patient(Options { roots, ..options() });
    let extra = Roots {
        extra: ca.clone(),
        ..Roots::default()
    };
    pulls(&trusting(extra.clone()), &name);
    pulls(
        &trusting(extra.clone()),
        &name.replace("localhost", "127.0.0.1"),
    );
    let platform = Roots {
        platform: [
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &ca[..],
        ]
        .concat(),
        ..Roots::default()
    };
    pulls(&trusting(platform), &name);
    // Loopback may be spoken to in the clear, but not because its certificate is bad.
    let error = fails(
        resolve_as(trusting(Roots::default()), &name),
        Kind::Registry,
        "nobody",
    );
    assert!(error.hint.unwrap().contains("certificate authority"));
    let other = name.replace("localhost", "127.0.0.2");
    let result = resolve_as(trusting(extra), &other);
    fails(result, Kind::Registry, "refused");
    for bad in [
        &b"x"[..],
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let roots = Roots {
            extra: bad.to_vec(),
            ..Roots::default()
        };
        fails(
            resolve_as(trusting(roots), &name),
            Kind::Usage,
            "certificate",
        );
    }
}

/// Passes connections on to `port` until it is told to hang up, and keeps the first byte of each.
struct Between {
    port: u16,
    first: Arc<Mutex<Vec<u8>>>,
    hang_up: Arc<AtomicBool>,
}

impl Between {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = Self {
            port: listener.local_addr().unwrap().port(),
            first: Arc::default(),
            hang_up: Arc::default(),
        };
        let (first, hang_up) = (between.first.clone(), between.hang_up.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut byte = [0];
                if client.peek(&mut byte).unwrap_or(0) > 0 {
                    first.lock().unwrap().push(byte[0]);
                }
                if hang_up.load(Ordering::Relaxed) {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server.try_clone().unwrap(), client.try_clone().unwrap()),
                ] {
                    // Ends with either connection.
                    std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
                }
                let hang_up = hang_up.clone();
                std::thread::spawn(move || {
                    while !hang_up.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    for stream in [&client, &server] {
                        drop(stream.shutdown(Shutdown::Both));
                    }
                });
            }
        });
        between
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.hang_up.store(true, Ordering::Relaxed);
    }
}

/// Who cuts connections must not be able to have the next one in the clear.
#[test]
fn a_registry_that_spoke_tls_is_not_asked_in_the_clear() {
    need!("docker-registry", "skopeo", "openssl");
    let home = Home::new();
    Real::certificates(&home);
    let real = Real::start(&home, &Real::tls(&home), "");
    let pushed = push(&real, &home, "localhost", None);
    let between = Between::start(real.port);
    let name = pushed.replace(&real.port.to_string(), &between.port.to_string());
    let roots = Roots {
        extra: std::fs::read(home.path("ca.pem")).unwrap(),
        ..Roots::default()
    };
    let options = patient(Options { roots, ..options() });
    let (name, hang_up) = (reference(&name), between.hang_up.clone());
    let result = in_time(move || {
        let mut client = Client::new(&options).unwrap();
        let served = client.resolve(&name, &Platform::native()).unwrap();
        hang_up.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
        let layer = &served.parsed.layers[0];
        client.blob(&name, layer, &mut Vec::new(), &mut |_| {})
    });
    fails(result, Kind::Registry, "closed the connection");
    let first = between.first.lock().unwrap().clone();
    assert_eq!(
        first, [0x16; 4],
        "a TLS hello each, and one for each attempt"
    );
}
