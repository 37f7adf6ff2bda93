//! Services made from Debian's packages, as their authors mean them to be run: they begin as root,
//! prepare their folder, become a user of their own, and answer on a socket in a volume.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Home, need};

/// A folder that every id inside may make a socket in, and a policy under which it may be given.
fn ready(home: &Home) -> PathBuf {
    let layout = std::env::var("LAZARET_TEST_SERVICES").unwrap();
    let sockets = home.path("sockets");
    std::fs::create_dir(&sockets).unwrap();
    std::fs::set_permissions(&sockets, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let policy = home.root().join("config/lazaret");
    std::fs::create_dir_all(&policy).unwrap();
    std::fs::write(
        policy.join("policy.toml"),
        format!(
            "version = 1\nextends = \"compat\"\n[[allow]]\nimage = \"oci:{layout}:*\"\n\
             mounts = [\"./**:rw\"]\nreason = \"their sockets\"\n"
        ),
    )
    .unwrap();
    sockets
}

fn service(home: &Home, name: &str, args: &[&str]) -> support::Run {
    let layout = std::env::var("LAZARET_TEST_SERVICES").unwrap();
    let image = format!("oci:{layout}:{name}");
    let options = ["run", "--rm", "-v", "./sockets:/run/sockets:rw"];
    home.lazaret(
        options
            .into_iter()
            .chain([image.as_str()])
            .chain(args.iter().copied()),
    )
    .cwd(home.path("."))
}

/// The socket, once somebody listens.
fn connected(path: &Path) -> UnixStream {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                let limit = Some(Duration::from_secs(30));
                stream.set_read_timeout(limit).unwrap();
                return stream;
            }
            Err(e) => assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{}: {e}",
                path.display()
            ),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is read until `end` has come.
fn until(stream: &mut UnixStream, end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    while !all.ends_with(end) {
        match stream.read(&mut some).unwrap() {
            0 => panic!("closed after {:?}", String::from_utf8_lossy(&all)),
            n => all.extend_from_slice(&some[..n]),
        }
    }
    all
}

/// One test for both: their layer is large, and unpacked once.
#[test]
fn services_answer_on_a_socket_in_a_volume_and_end_on_sigterm() {
    need!("userns", "overlay", "subuids", "services");
    let home = Home::new();
    let sockets = ready(&home);
    redis(&home, &sockets);
    postgres(&home, &sockets);
    home.clean();
}

fn redis(home: &Home, sockets: &Path) {
    let socket = sockets.join("redis.sock");
    let path = ["--unixsocket", "/run/sockets/redis.sock"];
    let open = ["--unixsocketperm", "777"];
    let args = [["--port", "0"], path, open].concat();
    let running = service(home, "redis", &args).spawn();
    let mut client = connected(&socket);
    client
        .write_all(b"SET answer 42\r\nINCR answer\r\n")
        .unwrap();
    assert_eq!(until(&mut client, b":43\r\n"), b"+OK\r\n:43\r\n");
    running.signal(Signal::TERM);
    let ran = running.wait().ok();
    let out = ran.out();
    assert!(out.contains("DB saved on disk"), "{out}");
    assert!(out.contains("ready to exit"), "{out}");
    assert!(!socket.exists(), "redis removes its socket");
}

/// One message of PostgreSQL's protocol 3.0 ("Message Formats").
fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap();
    [kind, &length.to_be_bytes(), body].concat()
}

fn postgres(home: &Home, sockets: &Path) {
    let socket = sockets.join(".s.PGSQL.5432");
    let running = service(
        home,
        "postgres",
        &[
            "-c",
            "listen_addresses=",
            "-c",
            "unix_socket_directories=/run/sockets",
        ],
    )
    .spawn();
    const READY: &[u8] = b"Z\0\0\0\x05I";
    let version = 196_608_i32.to_be_bytes();
    let names = b"user\0postgres\0database\0postgres\0\0";
    let hello = message(b"", &[&version[..], names].concat());
    let begun = Instant::now();
    let mut client = loop {
        let mut client = connected(&socket);
        client.write_all(&hello).unwrap();
        // R: who you are is fine; E: it listens, and is not ready yet.
        let mut kind = [0];
        client.read_exact(&mut kind).unwrap();
        match &kind {
            b"R" => break client,
            other => assert_eq!(other, b"E"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never ready");
        std::thread::sleep(Duration::from_millis(20));
    };
    until(&mut client, READY);
    client
        .write_all(&message(b"Q", b"select 6 * 7 as answer\0"))
        .unwrap();
    let answer = until(&mut client, READY);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("answer") && text.contains("42"), "{text:?}");
    drop(client);
    running.signal(Signal::TERM);
    let ran = running.wait().ok();
    assert!(ran.err().contains("database system is shut down"));
    assert!(!socket.exists(), "postgres removes its socket");
}

/// With one id inside there is nobody to become: refused before anything runs, with the remedy.
#[test]
fn without_subordinate_ids_they_are_refused_with_the_remedy() {
    need!("userns", "overlay", "no-subuids", "services");
    let home = Home::new();
    ready(&home);
    for name in ["redis", "postgres"] {
        service(&home, name, &[])
            .run()
            .exits(125)
            .prints("")
            .complains("CHOWN SETGID SETUID, which compat.toml:")
            .complains("add-subuids")
            .complains("--cap-drop CHOWN --cap-drop SETGID --cap-drop SETUID");
    }
    home.clean();
}
