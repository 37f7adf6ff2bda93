//! Where no cgroup is delegated, systemd is asked for a scope: who is asked, in what words, and what
//! comes of an answer that is none. A real systemd is asked by `.ci/systemd-scope`.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use support::reports::chmod;
use support::{Home, Ran, need};

/// A machine that systemd booted, made of this one in namespaces of its own, with a busctl that does
/// `body` once it has written down what it was asked; then `lazaret WORDS`.
fn with_busctl(home: &Home, body: &str, words: &[&str]) -> Ran {
    let folder = home.path("fake");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("busctl");
    let asked = home.path("asked");
    let fake = format!(
        "#!/bin/sh\n{{ echo \"$@\"; cat /proc/self/environ | tr '\\0' '\\n'; }} > {asked:?}\n{body}\n"
    );
    std::fs::write(&file, fake).unwrap();
    chmod(&file, 0o755);
    let script = "set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/dbus
touch /run/dbus/system_bus_socket
mount --bind bus /run/dbus/system_bus_socket
mount -t overlay overlay -o lowerdir=\"$PWD/fake\":/usr/bin,userxattr /usr/bin
exec \"$@\"";
    let lazaret = env!("CARGO_BIN_EXE_lazaret");
    let line = ["-Urm", "sh", "-c", script, "sh", lazaret];
    let unshare = support::find("unshare").unwrap();
    let line = line.iter().chain(words);
    // What a caller's environment could lead busctl by.
    home.program(&unshare, line)
        .env("LD_LIBRARY_PATH", "/nowhere/evil")
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/evil")
        .run()
}

/// What was complained of, however wide the screen is.
fn words(ran: &Ran) -> String {
    ran.err().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Root of the machine may write to its cgroups without anybody's leave.
#[test]
fn what_systemd_answers_is_the_reason() {
    need!("userns", "overlay", "unshare", "not-root");
    let home = Home::new();
    let _bus = UnixListener::bind(home.path("bus")).unwrap();
    let line = ["tool", "--dry-run", "--cpus", "1", "--", "/bin/true"];
    let asked = || std::fs::read_to_string(home.path("asked"));

    let refused = "echo 'Call failed: \u{1b}[31mno room' >&2; exit 1";
    let ran = with_busctl(&home, refused, &line).exits(125);
    assert!(
        words(&ran)
            .contains("why no cgroup is delegated to you, and systemd gave none: Call failed: "),
        "{ran}"
    );
    assert!(words(&ran).contains("systemd-run --user --scope"), "{ran}");
    assert!(!ran.err().contains('\u{1b}'), "{ran}");
    let told = asked().unwrap();
    let (call, environment) = told.split_once('\n').unwrap();
    assert!(call.starts_with("--system --quiet"), "{call}");
    assert!(
        call.contains(" StartTransientUnit ssa(sv)a(sa(sv)) lazaret-"),
        "{call}"
    );
    assert!(call.contains(" Delegate b true "), "{call}");
    assert!(!environment.contains("evil"), "{environment}");
    std::fs::remove_file(home.path("asked")).unwrap();

    // It says yes, and nothing happens.
    let began = Instant::now();
    let ran = with_busctl(&home, "exit 0", &line).exits(125);
    assert!(words(&ran).contains("has not answered in time"), "{ran}");
    // It says nothing, and stays.
    let ran = with_busctl(&home, "exec sleep 60", &line).exits(125);
    assert!(words(&ran).contains("has not answered in time"), "{ran}");
    let ran = with_busctl(&home, "exit 7", &line).exits(125);
    assert!(words(&ran).contains("busctl failed"), "{ran}");
    assert!(began.elapsed() < Duration::from_secs(30));
    std::fs::remove_file(home.path("asked")).unwrap();

    // What asks for no limit asks nobody; -m is held by looking all the same.
    let line = ["tool", "--dry-run", "--", "/bin/true"];
    with_busctl(&home, "exit 1", &line);
    assert!(asked().is_err());
    let line = ["tool", "--dry-run", "-m", "1g", "--", "/bin/true"];
    let ran = with_busctl(&home, "exit 1", &line);
    assert!(!ran.err().contains("limit memory"), "{ran}");
    assert!(asked().is_ok());
}
