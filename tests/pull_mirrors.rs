//! Mirrors and proxies: asked first, believed no more than their registry, and told nothing.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Answer, Entry, Home, Image, Layout, Proxy, Ran, Registry, honest, need};

const PASSWORD: &str = "correct-horse";

fn toolbox(marker: &str) -> Layout {
    Image::toolbox()
        .with(&[Entry::file("marker", marker)])
        .build()
}

/// Writes the caller's registries.toml.
fn says(home: &Home, text: &str) {
    let config = home.root().join("config/lazaret");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("registries.toml"), text).unwrap();
}

fn mirrored(home: &Home, registry: &Registry, mirrors: &[&str]) {
    says(
        home,
        &format!(
            "[[registry]]\nname = \"{}\"\nmirrors = {mirrors:?}\n",
            registry.address
        ),
    );
}

fn pull(home: &Home, name: &str) -> Ran {
    home.lazaret(["pull", name]).run()
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_where_it_fails() {
    need!("userns", "overlay", "landlock");
    let layout = toolbox("x");
    let registry = Registry::of(&layout, |_, _| None);
    let mirror = Registry::of(&layout, |_, _| None);
    let home = Home::new();
    mirrored(&home, &registry, &[&mirror.address]);
    pull(&home, &registry.image()).ok();
    assert!(registry.asked().is_empty(), "{:?}", registry.asked());
    // The image has the name that was asked for.
    home.lazaret([
        "run",
        "--rm",
        "--pull=never",
        &registry.image(),
        "cat",
        "/marker",
    ])
    .run()
    .ok()
    .prints("x");
    // And whether its tag has moved is the mirror's to say.
    let before = mirror.asked().len();
    pull(&home, &registry.image()).ok().complains("up to date");
    assert_eq!(mirror.asked().len(), before + 1);
    home.clean();

    // One that has not the image, that is gone, that breaks off, and that is below a prefix.
    let empty = Registry::new(|_, _| Answer::new(404, &[], ""));
    let gone = Registry::new(|_, _| Answer::nothing()).address.clone();
    let breaks = Registry::of(&layout, |asked, _| {
        asked
            .is_blob()
            .then(|| Answer::new(500, &["Retry-After: 99999"], ""))
    });
    let below = format!("{}/cache/of", mirror.address);
    for mirrors in [
        &[empty.address.as_str(), &gone][..],
        &[breaks.address.as_str()],
        &[below.as_str()],
    ] {
        let home = Home::new();
        mirrored(&home, &registry, mirrors);
        let before = registry.asked().len();
        pull(&home, &registry.image()).ok();
        assert!(registry.asked().len() > before, "{mirrors:?}");
        home.lazaret(["verify", &registry.image()]).run().ok();
        home.clean();
    }
    let path = mirror.asked().last().unwrap().path.clone();
    assert!(path.starts_with("/v2/cache/of/img/"), "{path}");
}

#[test]
fn a_mirror_is_believed_no_more_than_its_registry() {
    need!("userns", "overlay", "landlock");
    let (first, second) = (toolbox("first"), toolbox("second"));
    let moved = Arc::new(AtomicBool::new(false));
    let registry = Registry::of(&first, |_, _| None);
    let mirror = Registry::new({
        let (first, moved) = (first.clone(), Arc::clone(&moved));
        move |asked, _| match moved.load(Ordering::Relaxed) {
            false => honest(&first, asked),
            true => honest(&second, asked),
        }
    });
    let home = Home::new();
    mirrored(&home, &registry, &[&mirror.address]);
    pull(&home, &registry.image()).ok();
    // Trust on first use is the name's, whoever answers for it.
    moved.store(true, Ordering::Relaxed);
    pull(&home, &registry.image())
        .exits(125)
        .complains("refused by policy");
    home.clean();
    // Wrong bytes stay wrong.
    let largest = first.blobs.values().map(Vec::len).max().unwrap();
    let liar = Registry::of(&first, {
        let first = first.clone();
        move |asked, _| {
            let digest = asked.path.rsplit('/').next().unwrap();
            let bytes = first.blobs.get(digest).filter(|b| b.len() == largest)?;
            Some(Answer::new(200, &[], vec![b'x'; bytes.len()]))
        }
    });
    let home = Home::new();
    mirrored(&home, &registry, &[&liar.address]);
    pull(&home, &registry.image())
        .exits(125)
        .complains("the bytes are");
    home.lazaret(["images", "-q"]).run().ok().prints("");
}

#[test]
fn a_mirror_has_its_own_credentials_or_none() {
    need!("userns", "landlock");
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let layout = toolbox("x");
    let wants = |header: String| {
        move |asked: &support::Asked, _| match asked.header("authorization") {
            Some(sent) if sent == header => None,
            _ => Some(Answer::new(
                401,
                &["WWW-Authenticate: Basic realm=\"x\""],
                "",
            )),
        }
    };
    let own = format!("Basic {}", encode(&format!("ana:{PASSWORD}")));
    let others = format!("Basic {}", encode("ben:other"));
    let registry = Registry::of(&layout, wants(own.clone()));
    let mirror = Registry::of(&layout, wants(others.clone()));
    for known in [false, true] {
        let home = Home::new();
        mirrored(&home, &registry, &[&mirror.address]);
        let mut auths =
            json!({registry.address.as_str(): {"auth": encode(&format!("ana:{PASSWORD}"))}});
        if known {
            auths[mirror.address.as_str()] = json!({"auth": encode("ben:other")});
        }
        std::fs::write(home.path("auth.json"), json!({"auths": auths}).to_string()).unwrap();
        let before = registry.asked().len();
        home.lazaret(["pull", &registry.image()])
            .env("REGISTRY_AUTH_FILE", home.path("auth.json"))
            .run()
            .ok();
        // Without credentials of its own the mirror is passed over.
        assert_eq!(registry.asked().len() == before, known);
        home.clean();
    }
    let told = mirror.asked();
    let told = told.iter().filter_map(|a| a.header("authorization"));
    for sent in told {
        assert_eq!(sent, others);
    }
}

#[test]
fn what_is_said_of_registries_is_strict() {
    need!("userns", "landlock");
    let home = Home::new();
    let registry = Registry::of(&toolbox("x"), |_, _| None);
    says(&home, "[[registry]]\nname = \"a.example\"\nmirror = []\n");
    pull(&home, &registry.image())
        .exits(125)
        .complains("lazaret/registries.toml:3: unknown field `mirror`");
    assert!(registry.asked().is_empty());
    says(&home, "");
    let file = home.root().join("config/lazaret/registries.toml");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&file, mode).unwrap();
    pull(&home, &registry.image())
        .exits(125)
        .complains("others may write");
}

/// The registry's name means nothing here: only the proxy knows where it is.
#[test]
fn what_is_elsewhere_is_reached_through_the_proxy() {
    need!("userns", "overlay", "landlock");
    let registry = Registry::of(&toolbox("far"), |_, _| None);
    let proxy = Proxy::to(&registry.address);
    let name = "registry.invalid:5000/img:test";
    let home = Home::new();
    says(
        &home,
        "[[registry]]\nname = \"registry.invalid:5000\"\nplain_http = true\n",
    );
    let run = |variable: &str, none: &str| {
        home.lazaret(["run", "--rm", name, "cat", "/marker"])
            .env(variable, format!("http://{}", proxy.address))
            .env("HTTPS_PROXY", format!("http://{}", proxy.address))
            .env("NO_PROXY", none)
            .run()
    };
    run("HTTP_PROXY", "other.invalid,.invalid:5000")
        .exits(125)
        .complains("no address");
    assert!(proxy.asked().is_empty());
    run("HTTP_PROXY", "other.invalid").ok().prints("far");
    let asked = proxy.asked();
    assert!(
        asked
            .iter()
            .any(|line| line.starts_with("CONNECT registry.invalid:5000 ")),
        "{asked:?}"
    );
    // Where nobody is a proxy, the registry is not to blame.
    home.lazaret(["pull", "elsewhere.invalid/img:test"])
        .env("HTTPS_PROXY", "http://ana:correct-horse@127.0.0.1:1")
        .run()
        .exits(125)
        .complains("connect to the proxy")
        .complains("NO_PROXY");
    // Loopback is reached without it.
    let before = proxy.asked().len();
    home.lazaret(["pull", &registry.image()])
        .env("HTTP_PROXY", format!("http://{}", proxy.address))
        .env("HTTPS_PROXY", format!("http://{}", proxy.address))
        .run()
        .ok();
    assert_eq!(proxy.asked().len(), before);
    home.clean();
}
