//! Where no cgroup is delegated, systemd is asked for a scope: who is asked, in what words, and what
//! comes of an answer that is none. A real systemd is asked by `.ci/systemd-scope`.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use support::reports::chmod;
use support::{Home, Ran, need};

/// A machine that systemd booted, made of this one in namespaces of its own, where a process in the
/// cgroup `own` has a busctl that does `body` once it has written down what it was asked; then
/// `lazaret WORDS`. `$moved` is a file: what is written there is the process's cgroup from then on.
fn with_busctl(home: &Home, own: &str, body: &str, words: &[&str]) -> Ran {
    let folder = home.path("fake");
    std::fs::create_dir_all(&folder).unwrap();
    let busctl = folder.join("busctl");
    let (asked, moved) = (home.path("asked"), home.path("cgroup"));
    let fake = format!(
        "#!/bin/sh\n{{ echo \"$@\"; cat /proc/self/environ | tr '\\0' '\\n'; }} > {asked:?}\nmoved={moved:?}\n{body}\n"
    );
    std::fs::write(&busctl, fake).unwrap();
    chmod(&busctl, 0o755);
    std::fs::write(&moved, format!("0::{own}\n")).unwrap();
    // Unless a test has put another first process there.
    if !home.path("comm").exists() {
        std::fs::write(home.path("comm"), "systemd\n").unwrap();
    }
    let script = "set -e
mount --bind cgroup /proc/$$/cgroup
mount --bind comm /proc/1/comm
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

const SESSION: &str = "/user.slice/user-0.slice/session-7.scope";
const ASKS: [&str; 5] = ["tool", "--cpus", "1", "--", "/bin/true"];

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
    let asked = || std::fs::read_to_string(home.path("asked"));
    let why = |body: &str, why: &str| {
        let ran = with_busctl(&home, SESSION, body, &ASKS).exits(125);
        let why = format!("why no cgroup is delegated to you, and {why}");
        assert!(words(&ran).contains(&why), "{ran}");
        assert!(words(&ran).contains("systemd-run --user --scope"), "{ran}");
        assert!(!ran.err().contains('\x1b'), "{ran}");
    };
    why(
        "echo 'Call failed: \u{1b}[31mno room' >&2; exit 1",
        "systemd gave none: Call failed: ",
    );
    let told = asked().unwrap();
    let (call, environment) = told.split_once('\n').unwrap();
    assert!(call.starts_with("--system --quiet"), "{call}");
    assert!(
        call.contains(" StartTransientUnit ssa(sv)a(sa(sv)) lazaret-"),
        "{call}"
    );
    assert!(call.contains(" Delegate b true "), "{call}");
    assert!(!environment.contains("evil"), "{environment}");

    why("exit 7", "busctl failed (exit status: 7)");
    let began = Instant::now();
    why("exit 0", "systemd said yes and did not move this process");
    why("exec sleep 60", "systemd has not answered in time");
    assert!(began.elapsed() < Duration::from_secs(30));
    // It says yes, moves, and the cgroup is nobody's here.
    let moves = "for word; do case $word in lazaret-*.scope) echo \"0::/system.slice/$word\" > \"$moved\";; esac; done";
    why(
        moves,
        "in the scope that systemd made no cgroup is delegated to you",
    );
    home.clean();
}

/// Who only looks moves nothing, what needs none asks for none, and what confines this process is not
/// left.
#[test]
fn systemd_is_asked_only_where_that_is_of_use_and_leaves_nothing() {
    need!("userns", "overlay", "unshare", "not-root");
    let home = Home::new();
    let _bus = UnixListener::bind(home.path("bus")).unwrap();
    let asks = |own: &str, line: &[&str]| {
        let ran = with_busctl(&home, own, "exit 1", line);
        let asked = std::fs::remove_file(home.path("asked")).is_ok();
        (asked, words(&ran))
    };
    let manager = "/user.slice/user-0.slice/user@0.service/app.slice/app-term.scope";
    for own in [SESSION, manager] {
        let (asked, said) = asks(own, &ASKS);
        assert!(asked, "{own}: {said}");
    }
    for own in ["/system.slice/ci.service", "/", "/../outside"] {
        let (asked, said) = asks(own, &ASKS);
        assert!(!asked, "{own}: {said}");
        assert!(said.contains("asked --cpus 1"), "{own}: {said}");
    }
    let service = asks("/system.slice/ci.service", &ASKS).1;
    assert!(
        service.contains("\"/system.slice/ci.service\" is not this run's to leave"),
        "{service}"
    );
    // In a container that sees its host's systemd, another process has this one's number.
    std::fs::write(home.path("comm"), "sh\n").unwrap();
    let (asked, said) = asks(SESSION, &ASKS);
    assert!(!asked && said.contains("no systemd runs here"), "{said}");
    std::fs::remove_file(home.path("comm")).unwrap();
    // -m is held by looking all the same: nothing of it is refused.
    let (asked, said) = asks(SESSION, &["tool", "-m", "1g", "--", "/bin/true"]);
    assert!(asked && !said.contains("asked -m"), "{said}");
    let (asked, said) = asks(SESSION, &["tool", "--", "/bin/true"]);
    assert!(!asked, "{said}");
    let line = ["tool", "--dry-run", "--cpus", "1", "--", "/bin/true"];
    let (asked, said) = asks(SESSION, &line);
    // It is decided on all the same, as if there were one.
    assert!(!asked && !said.contains("is delegated"), "{said}");
    home.clean();
}
