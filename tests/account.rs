//! `lazaret login` and `lazaret logout`: a password is shown to its registry alone, kept where it is
//! found again, and seen nowhere on the way.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use rustix::process::{Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Answer, Asked, Home, Pty, Ran, Real, Registry, list, need};

const PASSWORD: &str = "correct-horse";
/// Of `ana:correct-horse`.
const ENCODED: &str = "YW5hOmNvcnJlY3QtaG9yc2U=";

/// A registry that knows ana by her password.
fn knowing_ana() -> Registry {
    Registry::new(|asked, _| {
        let known = asked.header("authorization") == Some(&format!("Basic {ENCODED}"));
        match known && asked.path == "/v2/" {
            true => Answer::new(200, &[], "{}"),
            false => Answer::new(401, &["WWW-Authenticate: Basic realm=\"lab\""], ""),
        }
    })
}

fn login(home: &Home, registry: &str, password: &str) -> Ran {
    home.lazaret(["login", "-u", "ana", "--password-stdin", registry])
        .stdin(password)
        .run()
}

fn docker_file(home: &Home) -> PathBuf {
    home.root().join("home/.docker/config.json")
}

fn write(path: &Path, value: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn authorized(asked: &[Asked]) -> usize {
    let with = |a: &&Asked| a.header("authorization").is_some() || a.body.contains(PASSWORD);
    asked.iter().filter(with).count()
}

#[test]
fn what_the_registry_takes_is_kept_for_the_caller_alone() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = knowing_ana();
    let name = &registry.address;
    let file = docker_file(&home);
    // What it does not take is not kept, and is in no message.
    let ran = login(&home, name, "wrong-donkey\n").exits(125);
    assert!(!ran.err().contains("donkey"), "{ran}");
    assert!(ran.err().contains("401"), "{ran}");
    assert!(!file.exists());
    let ran = login(&home, name, &format!("{PASSWORD}\n")).ok();
    assert!(!ran.err().contains(PASSWORD), "{ran}");
    let ran = ran.prints("Login Succeeded\n");
    drop(ran.complains(file.to_str().unwrap()));
    assert_eq!(
        read(&file),
        json!({"auths": {name.as_str(): {"auth": ENCODED}}})
    );
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    // Without a name, what is kept is shown to the registry again.
    home.lazaret(["login", name])
        .run()
        .ok()
        .prints("Login Succeeded\n")
        .complains("existing credentials");
    home.lazaret(["logout", name])
        .run()
        .ok()
        .prints(&format!("Removing login credentials for {name}\n"));
    assert_eq!(read(&file), json!({"auths": {}}));
    home.lazaret(["logout", name])
        .run()
        .ok()
        .prints(&format!("Not logged in to {name}\n"));
    home.lazaret(["logout"])
        .run()
        .ok()
        .prints("Not logged in to https://index.docker.io/v1/\n");
    home.lazaret(["login", name])
        .run()
        .exits(125)
        .complains("--password-stdin");
    assert!(list(&home.store().join("staging")).is_empty());
    home.clean();
}

#[test]
fn a_password_is_no_argument() {
    let home = Home::new();
    home.lazaret(["login", "-u", "ana", "-p", PASSWORD, "localhost:1"])
        .run()
        .exits(125)
        .complains("-p (--password) is refused")
        .complains("--password-stdin");
    home.lazaret(["login", "--password-stdin", "localhost:1"])
        .stdin(PASSWORD)
        .run()
        .exits(125);
    for (args, stdin) in [
        (["-u", "an:a", "--password-stdin", "localhost:1"], PASSWORD),
        (["-u", "ana", "--password-stdin", "bare"], PASSWORD),
        (["-u", "ana", "--password-stdin", "localhost:1"], "\n"),
        (
            ["-u", "ana", "--password-stdin", "localhost:1/me"],
            PASSWORD,
        ),
    ] {
        let run = home.lazaret(["login"].iter().chain(&args)).stdin(stdin);
        let ran = run.run().exits(125);
        assert!(!ran.err().contains(PASSWORD), "{ran}");
    }
}

#[test]
fn what_else_the_file_says_stays_and_no_older_word_hides_the_new_one() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = knowing_ana();
    let name = registry.address.as_str();
    // podman's file is read before docker's, and has an old password.
    let podman = home.root().join("run/containers/auth.json");
    let team = format!("{name}/team");
    let old = json!({"auths": {name: {"auth": "YW5hOm9sZA=="}, team.as_str(): {"auth": "eDp5"}}});
    write(&podman, &old);
    write(&docker_file(&home), &json!({"psFormat": "table"}));
    home.lazaret(["login", name])
        .run()
        .exits(125)
        .complains("401");
    login(&home, name, PASSWORD).ok();
    let new = json!({"auths": {name: {"auth": ENCODED}, team.as_str(): {"auth": "eDp5"}}});
    assert_eq!(read(&podman), new);
    assert_eq!(read(&docker_file(&home)), json!({"psFormat": "table"}));
    home.lazaret(["login", name]).run().ok();
    home.lazaret(["logout", name])
        .run()
        .ok()
        .complains(&format!("{team} alone stays"));
    let left = json!({"auths": {team.as_str(): {"auth": "eDp5"}}});
    assert_eq!(read(&podman), left);
    // Where nobody speaks of it, docker's own file does, as a link if it is one.
    let real = home.path("dotfiles.json");
    std::fs::rename(docker_file(&home), &real).unwrap();
    std::os::unix::fs::symlink(&real, docker_file(&home)).unwrap();
    login(&home, name, PASSWORD).ok();
    let both = json!({"psFormat": "table", "auths": {name: {"auth": ENCODED}}});
    assert_eq!(read(&real), both);
    assert!(docker_file(&home).is_symlink());
    // The file that is named is the only one.
    let named = home.path("named.json");
    let asked = ["login", "-u", "ana", "--password-stdin", name];
    home.lazaret(asked)
        .env("REGISTRY_AUTH_FILE", &named)
        .stdin(PASSWORD)
        .run()
        .ok();
    assert_eq!(read(&named)["auths"][name]["auth"], ENCODED);
    // A file that is none is left as it is.
    std::fs::write(&named, "{\"auths\": [").unwrap();
    let before = std::fs::read(&named).unwrap();
    home.lazaret(asked)
        .env("REGISTRY_AUTH_FILE", &named)
        .stdin(PASSWORD)
        .run()
        .exits(125)
        .complains("no file of credentials");
    assert_eq!(std::fs::read(&named).unwrap(), before);
}

/// A helper that keeps what it is told in files beside itself, and writes down how it was started.
const HELPER: &str = r#"#!/bin/sh
here=${0%/*}
input=$(cat)
{ echo "args $*"; env; } >> "$here/seen"
url=$(printf %s "$input" | sed -n 's/.*"ServerURL":"\([^"]*\)".*/\1/p')
file=$here/kept.$(printf %s "${url:-$input}" | tr -c 'a-z0-9' _)
case $1 in
store) printf %s "$input" > "$file" ;;
get) cat "$file" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$file" ;;
esac
"#;

#[test]
fn a_helper_keeps_what_it_is_for() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = knowing_ana();
    let name = registry.address.as_str();
    let bin = home.root().join("home/bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("docker-credential-lab"), HELPER).unwrap();
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(bin.join("docker-credential-lab"), mode).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let run = |args: &[&str], stdin: &str| home.lazaret(args).env("PATH", &path).stdin(stdin).run();
    let file = docker_file(&home);
    for settings in [
        json!({"credsStore": "lab"}),
        json!({"credHelpers": {name: "lab"}, "credsStore": "none-such"}),
    ] {
        write(&file, &settings);
        let asked = ["login", "-u", "ana", "--password-stdin", name];
        let ran = run(&asked, PASSWORD).ok();
        assert!(!ran.err().contains("password"), "nothing lies open: {ran}");
        let mut with_mark = settings.clone();
        with_mark["auths"] = json!({name: {}});
        assert_eq!(read(&file), with_mark);
        // It is found again.
        run(&["login", name], "").ok().complains("existing");
        run(&["logout", name], "")
            .ok()
            .prints(&format!("Removing login credentials for {name}\n"));
        let kept = list(&bin).into_iter().filter(|f| f.starts_with("kept"));
        assert_eq!(kept.count(), 0);
        run(&["logout", name], "").ok().says("Not logged in");
    }
    let seen = std::fs::read_to_string(bin.join("seen")).unwrap();
    assert!(seen.contains("args store") && seen.contains("args erase"));
    assert!(
        !seen.contains(PASSWORD) && !seen.contains(ENCODED),
        "{seen}"
    );
    // One that fails keeps nothing, and what it says is not repeated.
    let failing = "#!/bin/sh\n[ $1 = get ] && { echo credentials not found; exit 1; }\ncat; cat >&2; exit 3\n";
    std::fs::write(bin.join("docker-credential-lab"), failing).unwrap();
    let ran = run(&["login", "-u", "ana", "--password-stdin", name], PASSWORD);
    let ran = ran.exits(125).complains("does not keep it");
    assert!(!ran.err().contains(PASSWORD), "{ran}");
}

#[test]
fn a_terminal_shows_no_password() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = knowing_ana();
    let name = registry.address.as_str();
    let mut pty = Pty::new();
    let asked = home.lazaret(["login", name]).on_terminal(&pty.inner);
    pty.until("Username: ");
    pty.send(b"ana\n");
    pty.until("Password: ");
    // A character of two bytes and a letter are taken back.
    pty.send("correct-horsé\x7fex\x7f\n".as_bytes());
    let shown = pty.until("Login Succeeded");
    asked.wait().ok();
    assert!(!shown.contains("correct"), "{shown:?}");
    assert_eq!(read(&docker_file(&home))["auths"][name]["auth"], ENCODED);
    let echoes = |pty: &Pty| {
        let modes = tcgetattr(&pty.inner).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    };
    assert!(echoes(&pty));
    // Who gives up has the terminal back as it was.
    let pty2 = Pty::new();
    let mut pty = pty2;
    let asked = home
        .lazaret(["login", "-u", "ana", name])
        .on_terminal(&pty.inner);
    pty.until("Password: ");
    assert!(!echoes(&pty));
    pty.send(b"half\x03");
    let ran = asked.wait();
    ran.exits(130);
    assert!(echoes(&pty));
    // And who is ended from outside.
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 143), (Signal::INT, 130)] {
        let mut pty = Pty::new();
        let asked = home
            .lazaret(["login", "-u", "ana", name])
            .on_terminal(&pty.inner);
        pty.until("Password: ");
        assert!(!echoes(&pty));
        kill_process(asked.pid, signal).unwrap();
        asked.wait().exits(code);
        assert!(echoes(&pty), "{signal:?}");
    }
}

#[test]
fn a_crash_writes_no_password_down() {
    need!("userns", "landlock");
    let home = Home::new();
    let asked = ["login", "-u", "ana", "--password-stdin", "localhost:1"];
    let running = home.lazaret(asked).spawn();
    let limits = format!("/proc/{}/limits", running.pid.as_raw_nonzero());
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(&limits).unwrap();
        let core = text.lines().find(|l| l.starts_with("Max core file size"));
        let soft = core.unwrap().split_whitespace().nth(4).unwrap().to_owned();
        // With a limit of 0 the program that core_pattern names would have it.
        let hard = core.unwrap().split_whitespace().nth(5).unwrap();
        if soft == "1" || (soft == "0" && hard == "0") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{core:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.wait().exits(125);
}

/// A registry whose tokens come from `realm`; `None`: its own.
fn with_tokens(realm: Option<String>) -> Registry {
    Registry::new(move |asked, _| {
        if asked.path.starts_with("/token") {
            let known = asked.header("authorization") == Some(&format!("Basic {ENCODED}"));
            return match known {
                true => Answer::new(200, &[], r#"{"token":"good"}"#),
                false => Answer::new(401, &[], ""),
            };
        }
        if asked.header("authorization") == Some("Bearer good") {
            return Answer::new(200, &[], "{}");
        }
        let own = format!("http://{}/token", asked.header("host").unwrap());
        let realm = realm.clone().unwrap_or(own);
        let question = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"reg\"");
        Answer::new(401, &[&question], "")
    })
}

#[test]
fn a_token_server_is_asked_if_it_is_the_registrys_own() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = with_tokens(None);
    login(&home, &registry.address, "wrong").exits(125);
    assert!(!docker_file(&home).exists());
    login(&home, &registry.address, PASSWORD).ok();
    let asked = registry.asked();
    let token = asked.iter().rfind(|a| a.path.starts_with("/token"));
    assert_eq!(token.unwrap().path, "/token?service=reg");
    let elsewhere = with_tokens(None);
    let realm = format!("http://{}/token", elsewhere.address);
    let registry = with_tokens(Some(realm));
    login(&home, &registry.address, PASSWORD)
        .exits(125)
        .complains("not its own");
    assert_eq!(authorized(&registry.asked()) + elsewhere.asked().len(), 0);
}

#[test]
fn who_asks_nobody_and_who_asks_for_ever() {
    need!("userns", "landlock");
    let home = Home::new();
    let open = Registry::new(|_, _| Answer::new(200, &[], "{}"));
    login(&home, &open.address, PASSWORD)
        .ok()
        .complains("did not look at the password");
    assert_eq!(authorized(&open.asked()), 0);
    let never = Registry::new(|_, _| Answer::new(401, &["WWW-Authenticate: Basic"], ""));
    login(&home, &never.address, PASSWORD).exits(125);
    assert_eq!(never.asked().len(), 2);
    let page = Registry::new(|_, _| Answer::new(200, &["Content-Type: text/html"], "<html>"));
    login(&home, &page.address, PASSWORD)
        .exits(125)
        .complains("web page");
    let elsewhere = Registry::new(|_, _| Answer::new(401, &["WWW-Authenticate: Basic"], ""));
    let to = format!("http://{}/v2/", elsewhere.address);
    let leading = Registry::new(move |_, _| Answer::redirect(&to));
    login(&home, &leading.address, PASSWORD).exits(125);
    assert_eq!(authorized(&elsewhere.asked()), 0);
    assert_eq!(
        read(&docker_file(&home))["auths"]
            .as_object()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn docker_registry_knows_who_logged_in() {
    need!(
        "userns",
        "landlock",
        "docker-registry",
        "htpasswd",
        "openssl"
    );
    let home = Home::new();
    Real::certificates(&home);
    let auth = Real::htpasswd(&home, "ana", PASSWORD);
    let real = Real::start(&home, &Real::tls(&home), &auth);
    let name = format!("localhost:{}", real.port);
    let with = |password: &str| {
        home.lazaret(["login", "-u", "ana", "--password-stdin", &name])
            .env("SSL_CERT_FILE", home.path("ca.pem"))
            .stdin(password)
            .run()
    };
    with("wrong").exits(125).complains("401");
    // Nobody is told a password whose certificate nobody has signed.
    login(&home, &name, PASSWORD)
        .exits(125)
        .complains("certificate");
    with(PASSWORD).ok().prints("Login Succeeded\n");
}
