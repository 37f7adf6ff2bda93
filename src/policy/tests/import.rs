//! Policies of containers' programs: what they come to, and that it is never less than they say.

use super::super::import::{Imported, KeyFiles, PolicyJson, Registries, import};
use super::files::manifest;
use super::*;
use crate::trust::{Form, Key, Proof, Signer};
use serde_json::{Value, json};

/// Public keys that openssl made.
const A: &str = "MCowBQYDK2VwAyEAUxouOhYpEQ6cYkH9/3e0jZa832x2moh4sVej0gP6Tss=";
const B: &str = "MCowBQYDK2VwAyEAahTqRPLpbO1ZFr5ZAXdXyGW4WaJB0toRMq3B2FBdzIE=";

fn pem(key: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
}

fn files() -> KeyFiles {
    [
        ("/keys/a.pub", Ok(pem(A).into_bytes())),
        ("/keys/b.pub", Ok(pem(B).into_bytes())),
        ("/keys/again.pub", Ok(pem(A).into_bytes())),
        ("/keys/bad.pub", Ok(b"x".to_vec())),
        (
            "/keys/none.pub",
            Err("there is no file /keys/none.pub".to_owned()),
        ),
    ]
    .into_iter()
    .map(|(path, bytes)| (path.to_owned(), bytes))
    .collect()
}

fn try_import(source: &Value) -> crate::error::Result<Imported> {
    let policy = PolicyJson::parse("/p.json", source.to_string().as_bytes())?;
    import(&policy, &Registries::default(), &files())
}

fn imported(source: &Value) -> Imported {
    try_import(source).unwrap_or_else(|e| panic!("{source}: {e}"))
}

fn policy(imported: &Imported) -> Policy {
    let beside: Vec<(String, Vec<u8>)> = files()
        .into_iter()
        .filter_map(|(path, bytes)| Some((path, bytes.ok()?)))
        .collect();
    let composed = Policy::compose(&Sources {
        user: Some(PolicyFile {
            name: USER_FILE,
            bytes: imported.toml.as_bytes(),
            builtin: false,
        }),
        beside: &beside,
        user_file: USER_FILE,
        today: TODAY,
        ..Sources::default()
    });
    match composed {
        Ok(Composed::Policy(policy)) => policy,
        other => panic!("{other:?}\n{}", imported.toml),
    }
}

/// Whether an image comes in with signatures by these keys that name these images.
fn takes(policy: &Policy, name: &str, signed: &[(&str, Option<&str>)]) -> bool {
    let proofs = signed.iter().map(|(key, named)| {
        let key = Key::from_pem("k", pem(key).as_bytes()).unwrap();
        Proof {
            signer: Signer::Key {
                fingerprint: key.fingerprint,
                name: "k".to_owned(),
            },
            form: Form::SimpleSigning,
            about: digest(),
            reference: named.map(str::to_owned),
            when: None,
            attests: None,
        }
    });
    let evidence = Evidence {
        proofs: proofs.collect(),
        ..Evidence::default()
    };
    let name = ImageName::parse(name).unwrap();
    let admitted = admit(
        policy,
        &name,
        &manifest(1, 1),
        &config(),
        None,
        &evidence,
        NOW,
    );
    admitted == Admit::Go
}

fn of_scope(scope: &str, requirements: Value) -> Value {
    json!({
        "default": [{ "type": "reject" }],
        "transports": { "docker": { scope: requirements } },
    })
}

fn signed_by(key: &str, identity: Option<Value>) -> Value {
    let mut one = json!({ "type": "sigstoreSigned", "keyPath": key });
    if let Some(identity) = identity {
        one["signedIdentity"] = identity;
    }
    one
}

#[test]
fn what_everybody_takes_is_taken_by_its_first_digest() {
    let source = json!({ "default": [{ "type": "insecureAcceptAnything" }] });
    let all = imported(&source);
    assert_eq!(
        all.toml,
        "# Made out of /p.json by `lazaret policy import`.\n\
         # note: insecureAcceptAnything is written as accept = \"tofu\": a tag means one digest until \
         somebody here accepts another\n\
         \nversion = 1\nextends = \"strict\"\n\
         \n[[trust]]\nimage = [\"**\"]\naccept = \"tofu\"\n\
         reason = \"/p.json, default: insecureAcceptAnything\"\n\
         \n[[trust]]\nimage = [\"oci:**\", \"oci-archive:**\", \"docker-archive:**\"]\naccept = \"tofu\"\n\
         reason = \"/p.json, default: insecureAcceptAnything\"\n"
    );
    assert_eq!(all.unmapped, Vec::<String>::new());
    let policy = policy(&all);
    for name in ["redis", "oci:/srv/x:1", "docker-archive:/x.tar"] {
        assert!(takes(&policy, name, &[]), "{name}");
    }
}

/// What `strict` takes from disk unasked does not get past a default that rejects.
#[test]
fn what_is_rejected_by_default_is_rejected_from_disk_too() {
    let policy = policy(&imported(&json!({ "default": [{ "type": "reject" }] })));
    for name in [
        "redis",
        "a.example/b:1",
        "oci:/srv/x",
        "oci-archive:/x",
        "docker-archive:/x",
    ] {
        assert!(!takes(&policy, name, &[]), "{name}");
    }
    // lazaret's own, of which no policy.json speaks.
    assert!(takes(&policy, "builtin:probe", &[]));
}

#[test]
fn what_a_signature_must_name_is_what_its_source_says() {
    let digest = digest();
    let by_digest = format!("a.example/b@{digest}");
    for (identity, asked, named, fine) in [
        // The default: matchRepoDigestOrExact.
        (None, "a.example/b:1", Some("a.example/b:1"), true),
        (None, "a.example/b:1", Some("a.example/b:2"), false),
        (None, "a.example/b:1", Some("a.example/b"), false),
        (None, "a.example/b:1", Some("a.example/c:1"), false),
        (None, "a.example/b:1", None, false),
        (None, "a.example/b", Some("a.example/b"), false),
        (None, "a.example/b", Some("a.example/b:latest"), true),
        (None, by_digest.as_str(), Some("a.example/b:7"), true),
        (None, by_digest.as_str(), Some("a.example/c"), false),
        (None, by_digest.as_str(), None, false),
        (
            Some("matchRepository"),
            "a.example/b:1",
            Some("a.example/b:2"),
            true,
        ),
        (
            Some("matchRepository"),
            "a.example/b:1",
            Some("a.example/b"),
            true,
        ),
        (
            Some("matchRepository"),
            "a.example/b:1",
            Some("a.example/bb"),
            false,
        ),
        (Some("matchRepository"), "a.example/b:1", None, false),
    ] {
        let identity = identity.map(|kind| json!({ "type": kind }));
        let source = of_scope(
            "a.example",
            json!([signed_by("/keys/a.pub", identity.clone())]),
        );
        let policy = policy(&imported(&source));
        let case = format!("{identity:?} {asked} {named:?}");
        assert_eq!(takes(&policy, asked, &[(A, named)]), fine, "{case}");
        assert!(!takes(&policy, asked, &[(B, named)]), "{case}");
        assert!(!takes(&policy, asked, &[]), "{case}");
    }
}

#[test]
fn every_requirement_of_a_scope_holds_and_any_key_of_one() {
    let name = "a.example/b:1";
    let (a, b) = ((A, Some(name)), (B, Some(name)));
    let keys = |field: &str, value: Value| json!({ "type": "sigstoreSigned", field: value });
    let of = |requirements: Value| policy(&imported(&of_scope("a.example/b", requirements)));
    let both = of(json!([
        signed_by("/keys/a.pub", None),
        signed_by("/keys/b.pub", None)
    ]));
    assert!(takes(&both, name, &[a, b]) && !takes(&both, name, &[a]) && !takes(&both, name, &[b]));
    // The same key twice is one requirement, whatever its file is called.
    let twice = of(json!([
        signed_by("/keys/a.pub", None),
        signed_by("/keys/again.pub", None)
    ]));
    assert!(takes(&twice, name, &[a]));
    let any = of(json!([keys(
        "keyPaths",
        json!(["/keys/a.pub", "/keys/b.pub", "/keys/again.pub"])
    )]));
    assert!(takes(&any, name, &[a]) && takes(&any, name, &[b]) && !takes(&any, name, &[]));
    let accepting =
        of(json!([{ "type": "insecureAcceptAnything" }, signed_by("/keys/a.pub", None)]));
    assert!(takes(&accepting, name, &[a]) && !takes(&accepting, name, &[]));
    let rejecting = of(json!([{ "type": "reject" }, signed_by("/keys/a.pub", None)]));
    assert!(!takes(&rejecting, name, &[a]));
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(pem(B));
    let inside = of(json!([keys("keyData", json!(data))]));
    assert!(takes(&inside, name, &[b]) && !takes(&inside, name, &[a]));
    // A key that cannot be read is left out and named; the others are as good as before.
    let source = of_scope(
        "a.example/b",
        json!([keys("keyPaths", json!(["/keys/bad.pub", "/keys/a.pub"]))]),
    );
    let fewer = imported(&source);
    assert!(
        fewer.unmapped[0].contains("left out"),
        "{:?}",
        fewer.unmapped
    );
    assert!(takes(&policy(&fewer), name, &[a]));
}

/// What has no words here rejects, and is named with its place.
#[test]
fn what_cannot_be_said_is_rejected_and_named() {
    let sigstore = |more: Value| {
        let mut one = json!({ "type": "sigstoreSigned" });
        one.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!([one])
    };
    let identity = |value: Value| json!([signed_by("/keys/a.pub", Some(value))]);
    let fulcio = json!({
        "fulcio": { "caData": "AA==", "oidcIssuer": "https://x", "subjectEmail": "a@b" },
        "rekorPublicKeyData": "AA==",
    });
    for (requirements, why) in [
        (
            json!([{ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k" }]),
            "signedBy: signatures by GPG",
        ),
        (
            json!([{ "type": "signedBaseLayer", "baseLayerIdentity": {} }]),
            "signedBaseLayer",
        ),
        (sigstore(fulcio), "fulcio"),
        (sigstore(json!({ "pki": {} })), "pki"),
        (
            sigstore(json!({ "keyPath": "/keys/a.pub", "rekorPublicKeyPath": "/r" })),
            "no log is asked",
        ),
        (
            sigstore(json!({ "keyPath": "keys/a.pub" })),
            "no absolute path",
        ),
        (
            sigstore(json!({ "keyPath": "/keys/../a.pub" })),
            "no absolute path",
        ),
        (
            sigstore(json!({ "keyPath": "/keys/none.pub" })),
            "there is no file",
        ),
        (sigstore(json!({ "keyPath": "/keys/bad.pub" })), "PEM"),
        (
            sigstore(json!({ "keyPath": "/keys/unread.pub" })),
            "not read",
        ),
        (identity(json!({ "type": "matchExact" })), "matchExact"),
        (
            identity(json!({ "type": "exactReference", "dockerReference": "a.example/b:1" })),
            "exactReference",
        ),
        (
            identity(json!({ "type": "exactRepository", "dockerRepository": "a.example/b" })),
            "exactRepository",
        ),
        (
            identity(
                json!({ "type": "remapIdentity", "prefix": "a.example", "signedPrefix": "c.example" }),
            ),
            "remapIdentity",
        ),
    ] {
        let all = imported(&of_scope("a.example/b", requirements.clone()));
        let [told] = &all.unmapped[..] else {
            panic!("{requirements}: {all:#?}")
        };
        assert!(
            told.starts_with("transports.docker[\"a.example/b\"]: "),
            "{told}"
        );
        assert!(
            told.contains(why) && told.ends_with("rejected instead"),
            "{told}"
        );
        assert!(
            all.toml.contains("# not mapped: transports"),
            "{}",
            all.toml
        );
        let name = "a.example/b:1";
        assert!(
            !takes(&policy(&all), name, &[(A, Some(name)), (B, Some(name))]),
            "{told}"
        );
    }
    // Of one tag three of these say what `names` says.
    let name = "a.example/b:1";
    for (of_tag, others) in [
        (json!({ "type": "matchExact" }), false),
        (
            json!({ "type": "exactReference", "dockerReference": name }),
            false,
        ),
        (
            json!({ "type": "exactRepository", "dockerRepository": "a.example/b" }),
            true,
        ),
    ] {
        let all = imported(&of_scope(name, identity(of_tag)));
        assert_eq!(all.unmapped, Vec::<String>::new());
        let policy = policy(&all);
        assert!(takes(&policy, name, &[(A, Some(name))]));
        assert_eq!(takes(&policy, name, &[(A, Some("a.example/b:2"))]), others);
        assert!(!takes(&policy, name, &[(A, Some("a.example/c:1"))]));
    }
}

/// A tag beside a digest is no way around what is said of the digest.
#[test]
fn a_digest_that_is_rejected_is_so_beside_any_tag() {
    let digest = digest();
    let source = json!({
        "default": [{ "type": "insecureAcceptAnything" }],
        "transports": { "docker": { format!("a.example/b@{digest}"): [{ "type": "reject" }] } },
    });
    let policy = policy(&imported(&source));
    assert!(takes(&policy, "a.example/b:1", &[]));
    assert!(!takes(&policy, &format!("a.example/b@{digest}"), &[]));
    assert!(!takes(&policy, &format!("a.example/b:1@{digest}"), &[]));
}

#[test]
fn containers_own_readers_would_refuse_these_too() {
    let accept = r#"[{"type":"insecureAcceptAnything"}]"#;
    let of = |requirement: &str| format!(r#"{{"default":[{requirement}]}}"#);
    let scope = |transport: &str, scope: &str| {
        format!(r#"{{"default":{accept},"transports":{{"{transport}":{{"{scope}":{accept}}}}}}}"#)
    };
    let mut bad = Vec::new();
    for (text, why) in [
        (String::new(), "not valid"),
        ("[]".to_owned(), "array"),
        ("{}".to_owned(), "no default"),
        (r#"{"default":[]}"#.to_owned(), "empty"),
        (r#"{"default":{}}"#.to_owned(), "no list"),
        (
            format!(r#"{{"default":{accept},"default":{accept}}}"#),
            "twice",
        ),
        (
            format!(r#"{{"default":{accept},"Default":{accept}}}"#),
            "another spelling",
        ),
        (
            format!(r#"{{"default":{accept},"more":1}}"#),
            "unknown field more",
        ),
        (
            format!(r#"{{"default":{accept},"transports":[]}}"#),
            "array",
        ),
        (
            format!(r#"{{"default":{accept},"transports":{{"docker":[]}}}}"#),
            "object",
        ),
        (format!(r#"{{"default":{accept}}}{{}}"#), "trailing"),
        (
            format!(
                r#"{{"default":{accept},"transports":{{"docker":{{"a.b":{accept},"a.b":[{{"type":"reject"}}]}}}}}}"#
            ),
            "twice",
        ),
        (
            of(r#"{"type":"acceptAnything"}"#),
            "no requirement is of type",
        ),
        (of(r#"{"Type":"reject"}"#), "no type"),
        (of(r#"{"type":"reject","more":1}"#), "unknown field more"),
        (of(r#"["reject"]"#), "array"),
        (of(r#"{"type":"sigstoreSigned"}"#), "exactly one of"),
        (
            of(r#"{"type":"sigstoreSigned","keyPath":"/a","keyData":"AA=="}"#),
            "exactly one of",
        ),
        (of(r#"{"type":"sigstoreSigned","keyPath":""}"#), "empty"),
        (of(r#"{"type":"sigstoreSigned","keyPath":1}"#), "no text"),
        (of(r#"{"type":"sigstoreSigned","keyPaths":[]}"#), "empty"),
        (of(r#"{"type":"sigstoreSigned","keyData":"?"}"#), "base64"),
        (
            of(r#"{"type":"sigstoreSigned","keyPath":"/a","fulcio":{}}"#),
            "one of keys",
        ),
        (
            of(r#"{"type":"sigstoreSigned","fulcio":{}}"#),
            "fulcio needs it",
        ),
        (
            of(r#"{"type":"sigstoreSigned","keyPath":"/a","signedIdentity":{"type":"x"}}"#),
            "no identity",
        ),
        (
            of(
                r#"{"type":"sigstoreSigned","keyPath":"/a","signedIdentity":{"type":"exactReference"}}"#,
            ),
            "dockerReference",
        ),
        (
            of(
                r#"{"type":"sigstoreSigned","keyPath":"/a","signedIdentity":{"type":"matchExact","x":1}}"#,
            ),
            "unknown field",
        ),
        (of(r#"{"type":"signedBy","keyPath":"/a"}"#), "keyType"),
        (scope("docker-archive", "/x"), "no scope"),
        (scope("oci", "/"), "absolute path"),
        (scope("oci", "srv/x"), "absolute path"),
        (scope("oci", "/srv/../x"), "absolute path"),
        (
            format!(r#"{{"default":{}1{}}}"#, "[".repeat(99), "]".repeat(99)),
            "array",
        ),
        (
            format!(
                "{{\"default\":{accept}}}{}",
                " ".repeat(crate::policy::MAX_FILE)
            ),
            "larger",
        ),
    ] {
        let source = PolicyJson::parse("/p.json", text.as_bytes());
        let done = source.and_then(|source| import(&source, &Registries::default(), &files()));
        let cause = match done {
            Err(error) => error.cause,
            Ok(all) => all.toml,
        };
        if !cause.contains(why) {
            bad.push(format!("{text:.200}: {cause}"));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Words of whoever wrote the file stay words: neither a rule nor a terminal's.
#[test]
fn hostile_words_stay_words() {
    let scope = "x.example/a\"]\naccept = \"any\"\n[[trust]]\nimage = [\"**\u{202e}\u{1b}[2J";
    let source = json!({
        "default": [{ "type": "reject" }],
        "transports": {
            "docker": { scope: [{ "type": "insecureAcceptAnything" }] },
            "oci": { format!("/srv/\n{scope}"): [{ "type": "insecureAcceptAnything" }] },
            "new\nversion = 2": { "": [{ "type": "reject" }] },
        },
    });
    let all = imported(&source);
    assert!(!all.toml.contains(['\u{1b}', '\u{202e}']));
    let policy = policy(&all);
    assert!(!takes(&policy, "x.example/a:1", &[]) && !takes(&policy, "redis", &[]));
    assert_eq!(all.toml.matches("\n[[trust]]\n").count(), 3, "{}", all.toml);
}

/// How containers' programs look up what counts for a name (containers-policy.json(5)): the scopes
/// that could be about it, the nearest first.
fn lookup<'s>(source: &'s Value, transport: &str, scopes: &[String]) -> &'s Value {
    let of = &source["transports"][transport];
    let found = scopes.iter().map(|scope| &of[scope.as_str()]);
    let mut found = found.chain([&of[""], &source["default"]]);
    found.find(|value| !value.is_null()).unwrap()
}

/// What is asked for, and the scopes that are about it.
fn asked(at: usize) -> (String, &'static str, Vec<String>) {
    let hosts = ["a.b.example", "b.example", "b.example:5000", "docker.io"];
    let paths = ["x", "x/y", "x/y/z"];
    let (host, path) = (hosts[at % 4], paths[at / 4 % 3]);
    let path = match host {
        "docker.io" if path == "x" => "library/x",
        _ => path,
    };
    if at >= 48 {
        let (word, folder) = [
            ("oci", "/srv/x"),
            ("oci-archive", "/srv/x/y.tar"),
            ("oci", "/opt"),
        ][at % 3];
        let parents = std::path::Path::new(folder).ancestors();
        let scopes = parents.map(|path| path.to_str().unwrap().to_owned());
        let scopes: Vec<String> = scopes.filter(|path| path != "/").collect();
        return (format!("{word}:{folder}"), word, scopes);
    }
    let name = match at / 12 % 4 {
        0 => format!("{host}/{path}:1"),
        1 => format!("{host}/{path}:latest"),
        2 => format!("{host}/{path}@{}", digest()),
        _ => format!("{host}/{path}:2"),
    };
    let mut scopes = vec![name.clone(), format!("{host}/{path}")];
    let repository = scopes[1].clone();
    scopes.extend(
        repository
            .match_indices('/')
            .rev()
            .map(|(end, _)| repository[..end].to_owned()),
    );
    let mut rest = host.split(':').next().unwrap();
    while let Some((_, below)) = rest.split_once('.') {
        scopes.push(format!("*.{below}"));
        rest = below;
    }
    (name, "docker", scopes)
}

fn requirement(at: usize) -> Value {
    match at % 6 {
        0 | 1 => json!([{ "type": "insecureAcceptAnything" }]),
        2 => json!([{ "type": "reject" }]),
        3 => json!([signed_by("/keys/a.pub", None)]),
        4 => json!([signed_by(
            "/keys/b.pub",
            Some(json!({ "type": "matchRepository" }))
        )]),
        _ => json!([
            signed_by("/keys/a.pub", None),
            signed_by("/keys/b.pub", None)
        ]),
    }
}

proptest! {
    /// Whatever scopes there are: what is taken unsigned, and signed by whom, is what containers'
    /// programs would take.
    #[test]
    fn the_same_scope_counts(
        default in 0usize..6,
        rules in prop::collection::vec((0usize..60, 0usize..9, 0usize..6), 0..10),
        at in 0usize..60,
    ) {
        let mut source = json!({ "default": requirement(default), "transports": {} });
        for (of, depth, what) in rules {
            let (_, transport, mut scopes) = asked(of);
            scopes.push(String::new());
            let scope = &scopes[depth % scopes.len()];
            source["transports"][transport][scope.as_str()] = requirement(what);
        }
        let (name, transport, scopes) = asked(at);
        let all = imported(&source);
        prop_assert_eq!(&all.unmapped, &Vec::<String>::new());
        let policy = policy(&all);
        let wanted = lookup(&source, transport, &scopes);
        let types: Vec<&str> = wanted.as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
        let full = ImageName::parse(&name).unwrap().to_string();
        for signed in [&[][..], &[A], &[B], &[A, B]] {
            let proofs: Vec<_> = signed.iter().map(|key| (*key, Some(full.as_str()))).collect();
            let fine = !types.contains(&"reject") && wanted.as_array().unwrap().iter().all(|one| {
                match one["keyPath"].as_str() {
                    None => true,
                    Some(path) => {
                        let key = if path == "/keys/a.pub" { A } else { B };
                        transport == "docker" && signed.contains(&key)
                    }
                }
            });
            prop_assert_eq!(takes(&policy, &name, &proofs), fine, "{} {:?} {}\n{}", name, signed, source, all.toml);
        }
    }
}
