use super::*;
use ureq::http::HeaderValue;

fn told(values: &[&str]) -> Result<Option<Challenge>> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
    }
    challenge(&headers)
}

fn bearer_of(realm: &str, service: Option<&str>) -> Option<Challenge> {
    Some(Challenge::Bearer {
        realm: realm.to_owned(),
        service: service.map(str::to_owned),
    })
}

#[test]
fn challenges_are_read() {
    for (values, expected) in [
        (
            &[r#"Bearer realm="https://a/t",service="s, \"x\"",scope="repository:a:push""#][..],
            bearer_of("https://a/t", Some("s, \"x\"")),
        ),
        (&["bearer REALM = https"], bearer_of("https", None)),
        (&["Basic realm=\"x\""], Some(Challenge::Basic)),
        (&["Basic"], Some(Challenge::Basic)),
        (
            &["Basic realm=\"x\", Bearer realm=\"y\""],
            bearer_of("y", None),
        ),
        (&["Basic realm=x", "Bearer realm=y"], bearer_of("y", None)),
        (&["Negotiate"], None),
        (&[], None),
    ] {
        assert_eq!(told(values).unwrap(), expected, "{values:?}");
    }
}

#[test]
fn challenges_that_can_be_read_two_ways_are_refused() {
    let long = format!("Bearer realm=\"{}\"", "x".repeat(MAX_CHALLENGE));
    for value in [
        "Bearer realm=\"a\",realm=\"b\"",
        "Bearer realm=\"a",
        "Bearer realm=\"a\\",
        "Bearer realm=\"a\" service=\"b\"",
        "Bearer",
        "realm=\"a\"",
        "Bearer realm=",
        "\"",
        &long,
    ] {
        let error = told(&[value]).unwrap_err();
        assert_eq!(error.kind, Kind::Malformed, "{value}");
    }
}

#[test]
fn a_token_server_is_the_registrys_own() {
    let own = |registry: &str, realm: &str| {
        let origin = |url: &str| Origin::of(&url.parse().unwrap()).unwrap();
        is_own(&origin(registry), &origin(realm))
    };
    for (registry, realm) in [
        ("https://r.example", "https://r.example/token"),
        ("https://r.example:5000", "https://r.example:5000/token"),
        ("https://r.example:5000", "https://r.example/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://r.example", "https://auth.r.example"),
        (
            "https://registry-1.docker.io",
            "https://auth.docker.io/token",
        ),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/t"),
    ] {
        assert!(own(registry, realm), "{registry} {realm}");
    }
    for (registry, realm) in [
        ("https://r.example", "http://r.example/token"),
        ("https://r.example", "https://example/token"),
        ("https://r.example", "https://r.example:5000/token"),
        ("https://r.example", "https://xr.example/token"),
        ("https://good.github.io", "https://evil.github.io/token"),
        (
            "https://docker.io",
            "https://auth.docker.io.evil.example/token",
        ),
        ("https://evil.example", "https://auth.docker.io/token"),
        ("http://127.0.0.1:1", "http://127.0.0.1:2/t"),
        ("http://127.0.0.1:1", "http://localhost:1/t"),
        ("https://10.0.0.1", "https://0.0.1/t"),
    ] {
        assert!(!own(registry, realm), "{registry} {realm}");
    }
}

#[test]
fn tokens_are_text_that_fits_a_header() {
    for (json, expected) in [
        (r#"{"token":"a.b-c"}"#, "Bearer a.b-c"),
        (r#"{"access_token":"x","expires_in":60}"#, "Bearer x"),
        (r#"{"token":"","access_token":"x"}"#, "Bearer x"),
    ] {
        assert_eq!(bearer(json.as_bytes()).unwrap(), expected, "{json}");
    }
    for json in [
        "",
        "<html>",
        "{}",
        r#"{"token":""}"#,
        r#"{"token":"a\r\nX: y"}"#,
        r#"{"token":"a","token":"b"}"#,
        r#"{"Token":"a"}"#,
        r#"{"token":7}"#,
    ] {
        let error = bearer(json.as_bytes()).unwrap_err();
        assert_eq!(error.kind, Kind::Malformed, "{json}");
    }
}

#[test]
fn what_is_asked_for_is_ours() {
    let asked = |scope: Scope| {
        let wanted = Wanted {
            service: Some("a b&scope=repository:x:push"),
            scope: &scope,
            credential: None,
        };
        let (query, form) = (wanted.query(), wanted.form());
        let service = "service=a%20b%26scope%3Drepository%3Ax%3Apush";
        let rest = |text: String| text.strip_prefix(service).unwrap().to_owned();
        (rest(query), rest(form))
    };
    let same = |text: &str| (text.to_owned(), text.to_owned());
    assert_eq!(
        asked(Scope::Pull("lab/x_y".into())),
        same("&scope=repository:lab/x_y:pull")
    );
    assert_eq!(asked(Scope::Login), same(""));
    assert_eq!(asked(Scope::Catalog), same("&scope=registry:catalog:*"));
    let push = Scope::Push {
        path: "a".into(),
        from: Some("b/c".into()),
    };
    assert_eq!(
        asked(push),
        (
            "&scope=repository:a:pull,push&scope=repository:b/c:pull".into(),
            "&scope=repository:a:pull,push%20repository:b/c:pull".into()
        )
    );
    assert_eq!(basic("u", "p:q"), "Basic dTpwOnE=");
}

#[test]
fn secrets_are_not_shown() {
    let auth = Auth {
        registry: "r.example".into(),
        credential: Credential::Basic {
            user: "ana".into(),
            password: "hunter2".into(),
        },
    };
    let token = Credential::Token("hunter2".into());
    let options = Options {
        auth: Some(auth.clone()),
        ..Options::default()
    };
    let shown = format!("{auth:?} {:?} {token:?} {options:?}", auth.credential);
    assert!(!shown.contains("hunter2"), "{shown}");
    let colon = Options {
        auth: Some(Auth {
            credential: Credential::Basic {
                user: "a:b".into(),
                password: String::new(),
            },
            ..auth
        }),
        ..Options::default()
    };
    assert_eq!(Authentication::new(&colon).unwrap_err().kind, Kind::Usage);
}
