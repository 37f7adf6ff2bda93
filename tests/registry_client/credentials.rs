//! Where credentials go: redirects, token servers, passwords, proxies.

use super::support::{Answer, Asked, Registry};
use super::{
    PASSWORD, authorized, blob, bytes_of, fails, in_time, known_to, layer_of, layout, options,
    reference, resolve, resolve_as,
};
use lazaret::error::{Error, Kind};
use lazaret::host::Credential;
use lazaret::image::Platform;
use lazaret::registry::{Auth, Client, Options};

#[test]
fn redirects_are_followed_without_credentials() {
    let layout = layout();
    let good = bytes_of(&layout);
    let body = good.clone();
    let store = Registry::new(move |_, _| Answer::new(200, &[], &body));
    let to = format!("http://{}/bucket?signature=x", store.address);
    let registry = Registry::of(&layout, move |asked, _| {
        if asked.header("authorization").is_none() {
            return Some(Answer::new(
                401,
                &["WWW-Authenticate: Basic realm=\"x\""],
                "",
            ));
        }
        asked.is_blob().then(|| Answer::redirect(&to))
    });
    assert_eq!(blob(&registry, &layer_of(&layout)).unwrap().0, good);
    assert_eq!(authorized(&registry.asked()), 1);
    assert_eq!(store.asked()[0].path, "/bucket?signature=x");
    assert_eq!(
        authorized(&store.asked()),
        0,
        "credentials followed a redirect"
    );
}

#[test]
fn who_was_led_elsewhere_does_not_come_back_with_credentials() {
    let layout = layout();
    let back: std::sync::Arc<std::sync::Mutex<String>> = std::sync::Arc::default();
    let there = back.clone();
    let elsewhere = Registry::new(move |_, _| Answer::redirect(&there.lock().unwrap()));
    let to = format!("http://{}/", elsewhere.address);
    let registry = Registry::of(&layout, move |asked, _| match asked.path.as_str() {
        "/v2/admin" => None,
        _ if asked.header("authorization").is_none() => {
            Some(Answer::new(401, &["WWW-Authenticate: Basic"], ""))
        }
        _ => Some(Answer::redirect(&to)),
    });
    *back.lock().unwrap() = format!("http://{}/v2/admin", registry.address);
    fails(resolve(&registry), Kind::NotFound, "404");
    let asked = registry.asked();
    assert_eq!(asked.last().unwrap().path, "/v2/admin");
    assert_eq!(authorized(&asked), 1);
    assert_eq!(authorized(&elsewhere.asked()), 0);
}

#[test]
fn redirects_end_and_lead_nowhere_else() {
    let registry =
        Registry::new(|asked, count| Answer::redirect(&format!("{}?{count}", asked.path)));
    fails(
        resolve(&registry),
        Kind::Limit,
        "redirects more than 5 times",
    );
    assert_eq!(registry.asked().len(), 6);
    for location in [
        "",
        "x",
        "ftp://127.0.0.1/",
        "http://192.0.2.1/",
        "http://u:p@127.0.0.1/",
        "http://[::1",
    ] {
        let registry = Registry::new(move |_, _| Answer::redirect(location));
        fails(resolve(&registry), Kind::Registry, "is not followed");
        assert_eq!(registry.asked().len(), 1, "{location}");
    }
    let none = Registry::new(|_, _| Answer::new(302, &[], ""));
    fails(resolve(&none), Kind::Registry, "is not followed");
    // A 401 from elsewhere is no question that is answered.
    let elsewhere = Registry::new(|_, _| Answer::new(401, &["WWW-Authenticate: Basic"], ""));
    let to = format!("http://{}/", elsewhere.address);
    let registry = Registry::new(move |_, _| Answer::redirect(&to));
    fails(resolve(&registry), Kind::Credentials, "401");
    assert_eq!(
        authorized(&registry.asked()) + authorized(&elsewhere.asked()),
        0
    );
}

/// A registry that wants a token from its own `/token`, which `token` answers.
fn with_tokens(
    realm: Option<String>,
    token: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
) -> Registry {
    let layout = layout();
    Registry::of(&layout, move |asked, count| {
        if asked.path.starts_with("/token") {
            return Some(token(asked, count));
        }
        if asked.header("authorization") == Some("Bearer good") {
            return None;
        }
        let own = format!("http://{}/token", asked.header("host").unwrap());
        let realm = realm.clone().unwrap_or(own);
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"{realm}\",service=\"reg\",scope=\"repository:img:push\""
        );
        Some(Answer::new(401, &[&challenge], ""))
    })
}

fn good_token(_: &Asked, _: usize) -> Answer {
    Answer::new(200, &[], r#"{"token":"good","expires_in":300}"#)
}

#[test]
fn a_token_is_fetched_once_and_for_reading_alone() {
    let registry = with_tokens(None, good_token);
    let options = known_to(&registry);
    let name = reference(&registry.image());
    let served = in_time(move || {
        let mut client = Client::new(&options)?;
        let served = client.resolve(&name, &Platform::native())?;
        client.blob(
            &name,
            &served.parsed.layers[0],
            &mut Vec::new(),
            &mut |_| {},
        )?;
        Ok::<_, Error>(served)
    })
    .unwrap();
    assert_eq!(served.parsed.layers.len(), 1);
    let asked = registry.asked();
    let paths: Vec<&str> = asked.iter().map(|a| a.path.as_str()).collect();
    let token = "/token?service=reg&scope=repository:img:pull";
    assert_eq!(
        paths[..3],
        ["/v2/img/manifests/test", token, "/v2/img/manifests/test"]
    );
    assert_eq!(asked.len(), 4);
    assert!(
        asked[1]
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
}

#[test]
fn strangers_get_tokens_too_and_others_credentials_stay_home() {
    let registry = with_tokens(None, good_token);
    assert!(resolve_as(options(), &registry.image()).is_ok());
    let elsewhere = Options {
        auth: Some(Auth {
            registry: "docker.io".into(),
            credential: Credential::Basic {
                user: "ana".into(),
                password: PASSWORD.into(),
            },
        }),
        ..options()
    };
    assert!(resolve_as(elsewhere, &registry.image()).is_ok());
    let asked = registry.asked();
    let tokens: Vec<&Asked> = asked
        .iter()
        .filter(|a| a.path.starts_with("/token"))
        .collect();
    assert_eq!(tokens.len(), 2);
    assert!(tokens.iter().all(|a| a.header("authorization").is_none()));
}

#[test]
fn an_identity_token_is_posted() {
    let registry = with_tokens(None, |asked, _| match asked.method.as_str() {
        "POST" => Answer::new(200, &[], r#"{"access_token":"good"}"#),
        _ => Answer::new(405, &[], ""),
    });
    let options = Options {
        auth: Some(Auth {
            registry: registry.address.clone(),
            credential: Credential::Token("refresh me/=".into()),
        }),
        ..options()
    };
    assert!(resolve_as(options, &registry.image()).is_ok());
    let asked = registry.asked();
    assert_eq!(
        asked[1].body,
        "grant_type=refresh_token&client_id=lazaret&service=reg&scope=repository:img:pull\
         &refresh_token=refresh%20me%2F%3D"
    );
}

#[test]
fn a_token_realm_elsewhere_is_refused_unless_it_is_named() {
    let thief = Registry::new(good_token);
    let registry = with_tokens(Some(format!("http://{}/token", thief.address)), good_token);
    fails(
        resolve(&registry),
        Kind::Credentials,
        "which is not its own",
    );
    assert_eq!(thief.asked().len(), 0);
    for realm in ["https://evil.example/t", "file:///etc/passwd", "x", ""] {
        let registry = with_tokens(Some(realm.into()), good_token);
        fails(resolve(&registry), Kind::Credentials, "wants a token from");
    }
    let named = Options {
        realms: vec![thief.address.clone()],
        ..known_to(&registry)
    };
    assert!(resolve_as(named, &registry.image()).is_ok());
    assert_eq!(thief.asked().len(), 1);
}

#[test]
fn token_servers_are_not_believed_either() {
    let thief = Registry::new(good_token);
    let to = format!("http://{}/", thief.address);
    let huge = format!("{{\"token\":\"{}\"}}", "x".repeat(70_000));
    for (answer, kind, says) in [
        (Answer::redirect(&to), Kind::Registry, "307"),
        (Answer::new(401, &[], ""), Kind::Credentials, "401"),
        (Answer::new(404, &[], ""), Kind::NotFound, "404"),
        (Answer::new(503, &[], ""), Kind::Registry, "503"),
        (
            Answer::new(200, &[], huge),
            Kind::Limit,
            "larger than 65536",
        ),
        (
            Answer::head(200, &[]).endless("x".repeat(4096)),
            Kind::Limit,
            "larger than",
        ),
        (Answer::new(200, &[], "<html>"), Kind::Malformed, "token"),
        (
            Answer::new(200, &[], r#"{"token":"a\r\nX: y"}"#),
            Kind::Malformed,
            "token",
        ),
        (
            Answer::new(200, &[], r#"{"token":"bad"}"#),
            Kind::Credentials,
            "401",
        ),
        (Answer::nothing().hang(), Kind::Registry, "in time"),
    ] {
        let registry = with_tokens(None, move |_, _| answer.clone());
        fails(resolve(&registry), kind, says);
    }
    assert_eq!(thief.asked().len(), 0, "a token server led us elsewhere");
}

#[test]
fn a_password_that_is_refused_is_shown_once() {
    let registry = Registry::new(|_, _| Answer::new(401, &["WWW-Authenticate: Basic"], ""));
    let error = fails(resolve(&registry), Kind::Credentials, "401");
    assert!(
        error
            .hint
            .unwrap()
            .contains(&format!("lazaret login {}", registry.address))
    );
    let asked = registry.asked();
    assert_eq!((asked.len(), authorized(&asked)), (2, 1));
    let anonymous = resolve_as(options(), &registry.image());
    fails(anonymous, Kind::Credentials, "401");
    assert_eq!(registry.asked().len(), 3);
}

/// Runs the honest case in a process of its own, whose environment names a proxy.
#[test]
fn the_environment_names_no_proxy() {
    let proxy = Registry::new(|_, _| Answer::nothing());
    let url = format!("http://{}", proxy.address);
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args([
        "--exact",
        "an_honest_registry_serves_a_manifest_and_its_blobs",
    ]);
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "all_proxy",
    ] {
        again.env(name, &url);
    }
    let ran = again.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(proxy.asked().len(), 0);
}

#[test]
fn a_proxy_is_used_where_it_is_named() {
    let proxy = Registry::new(|_, _| Answer::nothing());
    let options = Options {
        proxy: Some(format!("http://ana:{PASSWORD}@{}", proxy.address)),
        ..options()
    };
    // Loopback is reached without it.
    let registry = Registry::of(&layout(), |_, _| None);
    assert!(resolve_as(options.clone(), &registry.image()).is_ok());
    assert_eq!(proxy.asked().len(), 0);
    // What is elsewhere is reached through it alone.
    fails(
        resolve_as(options.clone(), "registry.invalid/img:test"),
        Kind::Registry,
        "",
    );
    let asked = proxy.asked();
    assert_eq!(asked[0].method, "CONNECT");
    assert_eq!(asked[0].path, "registry.invalid:443");
    let direct = Options {
        no_proxy: "registry.invalid".into(),
        ..options
    };
    fails(
        resolve_as(direct, "registry.invalid/img:test"),
        Kind::Registry,
        "no address",
    );
}
