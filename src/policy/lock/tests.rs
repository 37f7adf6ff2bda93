//! Locks: what is written is read as the same, and what is not understood is refused.

use super::super::{Composed, PolicyFile, Sources};
use super::*;
use crate::trust::{Form, Proof};
use proptest::prelude::*;

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

fn locked(name: &str, platform: &str, signers: &[LockedSigner]) -> Locked {
    let reference = Reference::parse(name).unwrap();
    Locked {
        digest: reference
            .digest
            .unwrap_or_else(|| digest(&reference.to_string())),
        manifest: digest(&format!("{name} {platform}")),
        platform: Platform::parse(platform).unwrap(),
        policy: digest("policy"),
        signers: signers.iter().cloned().collect(),
        reference,
    }
}

fn identity(issuer: &str, identity: San) -> LockedSigner {
    LockedSigner::Identity {
        issuer: issuer.to_owned(),
        identity,
    }
}

fn lock(images: &[Locked]) -> Lock {
    let mut lock = Lock::default();
    images.iter().cloned().for_each(|one| lock.put(one));
    lock
}

fn sample() -> Lock {
    let ci = San::Uri("https://ci.example/\u{202e}\"x\"".to_owned());
    let signers = [
        LockedSigner::Key(digest("key")),
        identity(
            "https://accounts.example",
            San::Email("a@b.example".to_owned()),
        ),
        identity("https://accounts.example", ci),
    ];
    lock(&[
        locked("redis:7", "linux/arm64", &[]),
        locked("redis:7", "linux/amd64", &signers),
        locked("localhost:5000/a/b", "linux/arm/v7", &[]),
    ])
}

#[test]
fn a_lock_is_read_as_it_was_written_one_fact_a_line() {
    let text = sample().text();
    assert_eq!(Lock::parse("l", text.as_bytes()).unwrap(), sample());
    // As git may check it out.
    let crlf = text.replace('\n', "\r\n");
    assert_eq!(Lock::parse("l", crlf.as_bytes()).unwrap(), sample());
    let (key, of, policy) = (
        digest("key"),
        digest("docker.io/library/redis:7"),
        digest("policy"),
    );
    let manifest = sample().images().next().unwrap().manifest;
    let first = text.split("\n\n").nth(1).unwrap();
    assert_eq!(
        first,
        format!(
            r#"[[image]]
reference = "docker.io/library/redis:7"
platform = "linux/amd64"
digest = "{of}"
manifest = "{manifest}"
policy = "{policy}"
signers = [
  {{ key = "{key}" }},
  {{ issuer = "https://accounts.example", email = "a@b.example" }},
  {{ issuer = "https://accounts.example", uri = "https://ci.example/\U0000202E\"x\"" }},
]"#
        )
    );
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");
    let empty = Lock::default().text();
    assert!(Lock::parse("l", empty.as_bytes()).unwrap().is_empty());
}

#[test]
fn what_no_lazaret_wrote_is_refused() {
    let text = sample().text();
    let edit = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        let error = Lock::parse("l", edited.as_bytes()).unwrap_err();
        (error.kind, error.cause)
    };
    let twice = text.split("\n[[image]]").nth(1).unwrap();
    let twice = format!("{}\n[[image]]{twice}", text.trim_end_matches('\n'));
    let twice = Lock::parse("l", twice.as_bytes()).unwrap_err();
    assert!(
        twice
            .cause
            .contains("a second entry for docker.io/library/redis:7"),
        "{twice}"
    );
    let fingerprint = digest("key").to_string();
    let key = format!("  {{ key = \"{fingerprint}\" }},\n");
    for (from, to, kind, word) in [
        (
            "version = 1",
            "version = 2",
            Kind::Unsupported,
            "of version 2",
        ),
        (
            "version = 1",
            "version = 0",
            Kind::Malformed,
            "no lazaret has written",
        ),
        ("version = 1", "version = \"1\"", Kind::Malformed, "l:3: "),
        ("version = 1\n", "", Kind::Malformed, "no version"),
        (
            "version = 1",
            "version = 2\nfuture = 1",
            Kind::Unsupported,
            "newer",
        ),
        (
            "version = 1",
            "version = 1\nmore = 1",
            Kind::Malformed,
            "more",
        ),
        (
            "policy = ",
            "note = \"x\"\npolicy = ",
            Kind::Malformed,
            "note",
        ),
        (
            "platform = ",
            "platform = \"x/y\"\nplatform = ",
            Kind::Malformed,
            "duplicate",
        ),
        (
            "docker.io/library/redis:7",
            "redis:7",
            Kind::Malformed,
            "written out",
        ),
        (
            "docker.io/library/redis:7",
            "Redis",
            Kind::Malformed,
            "lower case",
        ),
        ("linux/amd64", "amd64", Kind::Malformed, "no platform"),
        (
            "linux/arm64",
            "linux/amd64",
            Kind::Malformed,
            "a second entry",
        ),
        ("sha256:", "sha256:0", Kind::Malformed, "no digest"),
        (
            "key = \"sha256:",
            "key = \"sha512:",
            Kind::Malformed,
            "no digest",
        ),
        (
            "email = ",
            "uri = \"x\", email = ",
            Kind::Malformed,
            "a signer is",
        ),
        (
            "key = ",
            "uri = \"x\", key = ",
            Kind::Malformed,
            "a signer is",
        ),
        (&key, &format!("{key}{key}"), Kind::Malformed, "twice"),
        ("signers = []\n", "", Kind::Malformed, "signers"),
        ("\"docker.io/library/redis:7\"", "7", Kind::Malformed, "l:"),
    ] {
        let (is, cause) = edit(from, to);
        let newer = word == "newer" && cause.contains("version 2");
        assert!(
            is == kind && (newer || cause.contains(word)),
            "{to}: {is:?} {cause}"
        );
    }
    let pinned = format!("docker.io/library/redis:7@{}", digest("other"));
    let (_, cause) = edit("docker.io/library/redis:7", &pinned);
    assert!(cause.contains("cannot mean"), "{cause}");
    let error = |bytes: &[u8]| Lock::parse("l", bytes).unwrap_err();
    assert_eq!(error(&vec![b'#'; MAX_LOCK + 1]).kind, Kind::Limit);
    assert_eq!(error(b"\xff").kind, Kind::Malformed);
    assert!(
        !error(b"version = 1\n\"\x1b[2J\" = 1\n")
            .cause
            .contains('\x1b')
    );
}

#[test]
fn the_largest_lock_that_is_read() {
    let mut text = Lock::default().text();
    text.push_str(&"#".repeat(MAX_LOCK - text.len()));
    assert!(Lock::parse("l", text.as_bytes()).unwrap().is_empty());
}

#[test]
fn the_best_platform_of_a_name_counts() {
    let lock = lock(&[
        locked("a:1", "linux/arm/v6", &[]),
        locked("a:1", "linux/arm/v7", &[]),
        locked("b:1", "linux/amd64", &[]),
    ]);
    let find = |name: &str, platform: &str| {
        let (name, platform) = (
            Reference::parse(name).unwrap(),
            Platform::parse(platform).unwrap(),
        );
        lock.find(&name, &platform)
            .map(|one| one.platform.to_string())
    };
    assert_eq!(find("a:1", "linux/arm").as_deref(), Some("linux/arm/v7"));
    assert_eq!(find("a:1", "linux/arm/v6").as_deref(), Some("linux/arm/v6"));
    assert_eq!(find("a:1", "linux/amd64"), None);
    assert_eq!(find("a:2", "linux/arm"), None);
    let pinned = format!("b:1@{}", digest("x"));
    assert_eq!(find(&pinned, "linux/amd64"), None, "another name");
}

#[test]
fn a_platform_has_one_place_however_it_is_written() {
    let mut one = lock(&[locked("a:1", "linux/arm64", &[])]);
    one.put(locked("a:1", "linux/arm64/v8", &[]));
    one.put(locked("a:1", "linux/arm64/v9", &[]));
    let platforms: Vec<String> = one.images().map(|one| one.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/arm64/v8", "linux/arm64/v9"]);
    let text = one.text().replace("arm64/v9", "arm64");
    let error = Lock::parse("l", text.as_bytes()).unwrap_err();
    assert!(error.cause.contains("a second entry"), "{error}");
}

#[test]
fn signers_are_those_of_this_image_and_no_witnesses() {
    let (manifest, index, key) = (digest("m"), digest("i"), digest("key"));
    let proof = |about: Digest, name: &str, attests: Option<&str>| Proof {
        signer: Signer::Key {
            fingerprint: digest(name),
            name: format!("{name}.pub"),
        },
        form: Form::SimpleSigning,
        about,
        reference: None,
        when: None,
        attests: attests.map(str::to_owned),
    };
    let evidence = Evidence {
        index: Some(index),
        proofs: vec![
            proof(manifest, "key", None),
            proof(index, "of the index", None),
            proof(digest("other"), "elsewhere", None),
            proof(manifest, "witness", Some("https://slsa.dev/provenance/v1")),
        ],
        failures: Vec::new(),
    };
    let found = LockedSigner::proven(&evidence, &manifest);
    let both = [
        LockedSigner::Key(key),
        LockedSigner::Key(digest("of the index")),
    ];
    assert_eq!(found, both.clone().into_iter().collect());
    // One more today is no harm, one less is.
    let mut one = locked("a:1", "linux/amd64", &both[..1]);
    one.manifest = manifest;
    assert!(one.unproven(&evidence).is_empty());
    one.signers.insert(LockedSigner::Key(digest("witness")));
    assert_eq!(
        one.unproven(&evidence),
        [&LockedSigner::Key(digest("witness"))]
    );
    assert_eq!(one.unproven(&Evidence::default()).len(), 2);
}

#[test]
fn changes_are_told_fact_by_fact() {
    let was = locked("a:1", "linux/amd64", &[]);
    assert!(was.changes(&was).is_empty());
    let is = Locked {
        signers: [LockedSigner::Key(digest("k"))].into(),
        digest: digest("new"),
        ..was.clone()
    };
    let changes = was.changes(&is);
    let facts: Vec<&str> = changes.iter().map(|change| change.fact).collect();
    assert_eq!(facts, ["digest", "signers"]);
    assert_eq!(changes[1].was, "none");
    assert!(changes[1].is.contains(&digest("k").to_string()));
}

fn policy(extends: &str, rules: &str) -> Policy {
    let text = format!("version = 1\nextends = \"{extends}\"\n{rules}");
    let user = Some(PolicyFile {
        name: "p",
        bytes: text.as_bytes(),
        builtin: false,
    });
    let sources = Sources {
        user,
        user_file: "p",
        today: (2026, 11, 26),
        ..Sources::default()
    };
    match Policy::compose(&sources).unwrap() {
        Composed::Policy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_decides_about_the_image_is_in_the_policys_digest() {
    let name = ImageName::parse("lab.example/a:1").unwrap();
    let digest = |rules: &str| policy("strict", rules).admitting(&name);
    let plain = digest("");
    let trust = |image: &str, accept: &str| {
        format!("[[trust]]\nimage = \"{image}\"\naccept = \"{accept}\"\nreason = \"r\"\n")
    };
    let require = |what: &str| format!("[[require]]\n{what}\nreason = \"r\"\n");
    for same in [
        trust("lab.example/b", "reject"),
        trust("lab.example/**", "tofu"),
        "[[allow]]\nmounts = [\"/a:rw\"]\nreason = \"r\"\n".to_owned(),
        "[[deny]]\nnetwork = [\"host\"]\nreason = \"r\"\n".to_owned(),
        require("image = \"other.example/**\"\nverify = \"full\""),
        format!("{}until = 2020-01-01\n", trust("lab.example/a:1", "pinned")),
    ] {
        assert_eq!(digest(&same), plain, "{same}");
    }
    assert_eq!(policy("compat", "").admitting(&name), plain);
    let others = [
        trust("lab.example/**", "any"),
        trust("lab.example/a:1", "pinned"),
        trust("lab.example/a:1", "reject"),
        require("verify = \"full\""),
        require("facts = { max_layers = 3 }"),
        require("facts = { max_layers = 4 }"),
    ];
    let mut all: Vec<Digest> = others.iter().map(|rules| digest(rules)).collect();
    all.push(plain);
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
    // The order of rules, and the same said by two patterns.
    let two = [require("verify = \"full\""), require("limits = [\"pids\"]")];
    assert_eq!(
        digest(&two.concat()),
        digest(&format!("{}{}", two[1], two[0]))
    );
}

fn any_signer() -> impl Strategy<Value = LockedSigner> {
    prop_oneof![
        any::<u64>().prop_map(|n| LockedSigner::Key(digest(&n.to_string()))),
        (any::<String>(), any::<String>(), any::<bool>()).prop_map(|(issuer, name, mail)| {
            identity(
                &issuer,
                if mail {
                    San::Email(name)
                } else {
                    San::Uri(name)
                },
            )
        }),
    ]
}

fn any_locked() -> impl Strategy<Value = Locked> {
    let name = ("[a-c]{1,3}", "[a-z0-9][a-z0-9.]{0,2}", any::<bool>());
    let platform = prop_oneof!["linux/amd64", "linux/arm/v[5-8]", "linux/arm64"];
    let signers = prop::collection::vec(any_signer(), 0..4);
    (name, platform, signers).prop_map(|((name, tag, pinned), platform, signers)| {
        let name = match pinned {
            true => format!("{name}:{tag}@{}", digest(&tag)),
            false => format!("{name}:{tag}"),
        };
        locked(&name, &platform, &signers)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(images in prop::collection::vec(any_locked(), 0..6)) {
        let one = lock(&images);
        let text = one.text();
        let read = Lock::parse("l", text.as_bytes()).unwrap();
        prop_assert_eq!(&read, &one);
        prop_assert_eq!(read.text(), text);
        // In whatever order they came.
        let mut other = images;
        other.reverse();
        let places: BTreeSet<_> = other.iter().map(Locked::place).collect();
        prop_assume!(places.len() == other.len());
        prop_assert_eq!(lock(&other).text(), one.text());
    }
}
