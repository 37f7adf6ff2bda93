//! `lazaret doctor`: what lies around lazaret, and a registry where one is named.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use support::{Answer, Home, Ran, Registry, list, need};

fn around(ran: &Ran) -> Vec<(String, String, String)> {
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"));
    let checks = value["around"].as_array().unwrap().iter();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    checks
        .map(|c| {
            (
                text(c, "about"),
                text(c, "level"),
                text(c, "what") + "; " + &text(c, "fix"),
            )
        })
        .collect()
}

#[track_caller]
fn has(ran: &Ran, about: &str, level: &str, what: &str) {
    let all = around(ran);
    let found = all
        .iter()
        .any(|(a, l, w)| a == about && l == level && w.contains(what));
    assert!(found, "no {level} about {about} with {what:?} in {all:#?}");
}

const JSON: [&str; 3] = ["doctor", "--format", "json"];

#[test]
fn what_lies_around_is_told_with_a_cure() {
    let home = Home::new();
    let plain = home.lazaret(JSON).run();
    for about in [
        "network",
        "names",
        "certificates",
        "proxy",
        "clock",
        "credentials",
        "store",
    ] {
        assert!(
            around(&plain).iter().any(|(a, ..)| a == about),
            "{about}\n{plain}"
        );
    }
    has(&plain, "proxy", "ok", "without a proxy");
    has(&plain, "store", "ok", "the store will be");
    // Looking makes nothing, and speaks to nobody unasked.
    assert!(!home.store().exists());
    assert!(
        !around(&plain).iter().any(|(about, ..)| about == "registry"),
        "{plain}"
    );

    // Each obstacle, by what it does to the answer; none of them keeps cells from running.
    let secret = "hunter2";
    for proxy in [
        format!("socks5://u:{secret}@p:1"),
        format!("http://u:{secret}@:1"),
        format!("http://u:{secret}@p:port"),
        format!("http://u:{secret}@p:"),
    ] {
        let ran = home.lazaret(JSON).env("HTTPS_PROXY", &proxy).run();
        has(&ran, "proxy", "problem", "HTTPS_PROXY");
        assert!(!ran.out().contains(secret), "{ran}");
        assert_eq!(ran.code, plain.code);
    }
    let good = home
        .lazaret(JSON)
        .env("https_proxy", format!("http://u:{secret}@p:3128"))
        .run();
    has(&good, "proxy", "ok", "through https_proxy");
    assert!(!good.out().contains(secret), "{good}");
    let ran = home
        .lazaret(JSON)
        .env("SSL_CERT_FILE", "/nonexistent")
        .run();
    has(
        &ran,
        "certificates",
        "problem",
        "SSL_CERT_FILE \"/nonexistent\" cannot be read",
    );
    std::fs::write(
        home.path("auth.json"),
        r#"{"auths":{},"credsStore":"nosuch"}"#,
    )
    .unwrap();
    let named = |run: support::Run| run.env("REGISTRY_AUTH_FILE", home.path("auth.json")).run();
    let ran = named(home.lazaret(JSON));
    has(
        &ran,
        "credentials",
        "problem",
        "docker-credential-nosuch, which is not in PATH",
    );
    std::fs::write(home.path("auth.json"), secret).unwrap();
    let ran = named(home.lazaret(JSON));
    has(&ran, "credentials", "problem", "is no file of credentials");
    assert!(!ran.out().contains(secret), "{ran}");
    // In a home that nobody else enters it does not matter; in one that all may, it does.
    let mode = |m| std::fs::set_permissions(home.root(), PermissionsExt::from_mode(m)).unwrap();
    let file =
        |m| std::fs::set_permissions(home.path("auth.json"), PermissionsExt::from_mode(m)).unwrap();
    std::fs::set_permissions(home.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    file(0o644);
    assert!(!named(home.lazaret(JSON)).out().contains("others can read"));
    mode(0o755);
    has(
        &named(home.lazaret(JSON)),
        "credentials",
        "problem",
        "others can read",
    );
    has(
        &named(home.lazaret(JSON)),
        "credentials",
        "problem",
        "chmod 600",
    );
    mode(0o700);
    // A store that cannot be used.
    std::fs::write(home.path("file"), "").unwrap();
    let ran = home
        .lazaret(JSON)
        .env("LAZARET_STORE", home.path("file"))
        .run();
    has(&ran, "store", "problem", "LAZARET_STORE");
}

fn ask(home: &Home, registry: &Registry) -> Ran {
    let image = registry.image();
    let (address, _) = image.split_once('/').unwrap();
    home.lazaret(["doctor", "--format", "json", "--registry", address])
        .run()
}

#[test]
fn a_registry_is_spoken_to_where_it_is_named() {
    need!("userns", "landlock");
    let home = Home::new();
    // Credentials are not for this: nobody is told who asks.
    let open = Registry::new(|_, _| Answer::new(200, &["Content-Type: application/json"], "{}"));
    let ran = ask(&home, &open).ok();
    has(&ran, "registry", "note", "speaks no TLS");
    has(&ran, "registry", "note", "it answers everybody");
    let asked = open.asked();
    assert!(
        asked
            .iter()
            .all(|a| a.path == "/v2/" && a.header("authorization").is_none()),
        "{asked:?}"
    );
    let shut =
        Registry::new(|_, _| Answer::new(401, &["WWW-Authenticate: Basic realm=\"x\""], "{}"));
    has(
        &ask(&home, &shut).ok(),
        "registry",
        "note",
        "it wants to know who asks",
    );
    for (answer, what) in [
        (Answer::new(404, &[], "no"), "answers 404 to /v2/"),
        (
            Answer::new(200, &["Content-Type: text/html"], "<html>"),
            "web page",
        ),
        (Answer::redirect("http://127.0.0.1:1/v2/"), ""),
        (Answer::nothing(), ""),
    ] {
        let wrong = Registry::new(move |_, _| answer.clone());
        let ran = ask(&home, &wrong).exits(1);
        has(&ran, "registry", "problem", what);
    }
    let nobody = ["doctor", "--registry", "127.0.0.1:1"];
    home.lazaret(nobody)
        .run()
        .exits(1)
        .says("PROBLEM registry: https://127.0.0.1:1: connect:");
    home.lazaret(["doctor", "--registry", "not a name"])
        .run()
        .exits(1)
        .says("PROBLEM registry");
    let left = list(&home.store().join("staging"));
    assert!(left.is_empty(), "{left:?}");
    home.clean();
}
