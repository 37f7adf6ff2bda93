//! `accept = { signed = ... }` and `attested = { ... }`: how they are read, and what they take.

use super::files::manifest;
use super::*;
use crate::trust::{Evidence, Failure, Fault, Form, Proof, Root, San, Signer};

mod words;

/// Public keys that openssl made; what they have signed is for `trust`'s tests.
const KEYS: [&str; 3] = [
    "MCowBQYDK2VwAyEAUxouOhYpEQ6cYkH9/3e0jZa832x2moh4sVej0gP6Tss=",
    "MCowBQYDK2VwAyEAahTqRPLpbO1ZFr5ZAXdXyGW4WaJB0toRMq3B2FBdzIE=",
    "MCowBQYDK2VwAyEAxKWSLnOi1PJUoUa5R/vbFnGYqeUGvr19Wbbb3UwAiGQ=",
];

const IMAGE: &str = "registry.lab.example/grade/judge:1";
const ISSUER: &str = "https://accounts.lab.example";
const FOLDER: &str = "/home/ana/.config/lazaret";

fn pem(at: usize) -> String {
    let key = KEYS[at];
    format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
}

/// The policy of a user's file, with `a.pub`, `b.pub`, `c.pub` and `root.json` beside it.
fn read(text: &str) -> crate::error::Result<Composed> {
    let text = format!("version = 1\nextends = \"strict\"\n{text}");
    let mut beside: Vec<(String, Vec<u8>)> = ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(at, name)| (format!("{FOLDER}/{name}.pub"), pem(at).into_bytes()))
        .collect();
    beside.push((format!("{FOLDER}/root.json"), b"{\"tlogs\":[]}".to_vec()));
    beside.push(("/srv/a.pub".to_owned(), pem(0).into_bytes()));
    beside.push(("/srv/bad.pub".to_owned(), b"x".to_vec()));
    let file = PolicyFile {
        name: USER_FILE,
        bytes: text.as_bytes(),
        builtin: false,
    };
    Policy::compose(&Sources {
        user: Some(file),
        beside: &beside,
        user_file: USER_FILE,
        today: TODAY,
        ..Sources::default()
    })
}

fn policy(text: &str) -> Policy {
    match read(text).unwrap() {
        Composed::Policy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

fn signed(what: &str) -> String {
    format!(
        "[[trust]]\nimage = \"registry.lab.example/**\"\naccept = {{ signed = {what} }}\n\
         reason = \"our CI signs\"\n"
    )
}

fn by(signer: Signer) -> Proof {
    Proof {
        signer,
        form: Form::SimpleSigning,
        about: digest(),
        reference: None,
        when: None,
        attests: None,
    }
}

/// What the key `a`, `b` or `c` has signed.
fn key(at: usize) -> Proof {
    let key = crate::trust::Key::from_pem("its.pub", pem(at).as_bytes()).unwrap();
    by(Signer::Key {
        fingerprint: key.fingerprint,
        name: "its.pub".to_owned(),
    })
}

fn email(issuer: &str, name: &str) -> Proof {
    by(Signer::Identity {
        issuer: issuer.to_owned(),
        identity: San::Email(name.to_owned()),
        root: Root::public().digest,
    })
}

fn attesting(kind: &str, proof: Proof) -> Proof {
    Proof {
        attests: Some(kind.to_owned()),
        ..proof
    }
}

fn ask_for(policy: &Policy, name: &str, evidence: &Evidence) -> Vec<Reason> {
    let name = ImageName::parse(name).unwrap();
    match admit(
        policy,
        &name,
        &manifest(1, 1),
        &config(),
        None,
        evidence,
        NOW,
    ) {
        Admit::Go => vec![],
        Admit::Deny(reasons) => reasons,
    }
}

fn ask(policy: &Policy, proofs: &[Proof]) -> Vec<Reason> {
    let evidence = Evidence {
        proofs: proofs.to_vec(),
        ..Evidence::default()
    };
    ask_for(policy, IMAGE, &evidence)
}

#[test]
fn any_all_and_some_of_the_signers() {
    let identity = format!("{{ issuer = \"{ISSUER}\", identity = \"*@lab.example\" }}");
    let ana = || email(ISSUER, "ana@lab.example");
    let bob = || email(ISSUER, "bob@lab.example");
    let two = format!("{{ at_least = 2, of = [\"a.pub\", \"b.pub\", {identity}] }}");
    // Whoever fits two patterns is one.
    let patterns =
        format!("{{ all_of = [{identity}, {{ issuer = \"{ISSUER}\", identity = \"ana@**\" }}] }}");
    for (rule, proofs, fine) in [
        ("\"a.pub\"", vec![key(0)], true),
        ("[\"a.pub\"]", vec![key(0)], true),
        ("[\"/srv/a.pub\"]", vec![key(0)], true),
        ("[{ key = \"a.pub\" }]", vec![key(1), key(0)], true),
        ("[\"a.pub\"]", vec![], false),
        ("[\"a.pub\"]", vec![key(1)], false),
        ("[\"a.pub\", \"b.pub\"]", vec![key(1)], true),
        ("{ any_of = [\"a.pub\", \"b.pub\"] }", vec![key(1)], true),
        ("{ all_of = [\"a.pub\", \"b.pub\"] }", vec![key(1)], false),
        (
            "{ all_of = [\"a.pub\", \"b.pub\"] }",
            vec![key(1), key(1)],
            false,
        ),
        (
            "{ all_of = [\"a.pub\", \"b.pub\"] }",
            vec![key(1), key(2), key(0)],
            true,
        ),
        (&two, vec![key(0)], false),
        (&two, vec![ana(), bob()], false),
        (&two, vec![ana(), key(1)], true),
        (&two, vec![key(0), key(1)], true),
        (&patterns, vec![ana()], false),
        (&patterns, vec![ana(), ana()], false),
        // ana can only be the second pattern, whichever is looked at first.
        (&patterns, vec![ana(), bob()], true),
        (&patterns, vec![bob(), ana()], true),
    ] {
        let reasons = ask(&policy(&signed(rule)), &proofs);
        assert_eq!(reasons.is_empty(), fine, "{rule}: {reasons:#?}");
    }
}

#[test]
fn identities_are_whole_and_of_their_issuer() {
    let rule = |issuer: &str, identity: &str| {
        policy(&signed(&format!(
            "[{{ issuer = \"{issuer}\", identity = \"{identity}\" }}]"
        )))
    };
    let exact = rule(ISSUER, "ana@lab.example");
    assert_eq!(ask(&exact, &[email(ISSUER, "ana@lab.example")]), []);
    for (issuer, name, words) in [
        (
            ISSUER,
            "bob@lab.example",
            ": the issuer is right, and the identity is another",
        ),
        (
            "https://evil.example",
            "ana@lab.example",
            ": the identity is right, and the issuer is another",
        ),
        (
            ISSUER,
            "diana@lab.example",
            ": its identity only contains the one that is wanted",
        ),
        (
            ISSUER,
            "ana@lab.example.evil.example",
            ": its identity only contains the one that is wanted",
        ),
        (
            "https://accounts.lab.example.evil",
            "x@y",
            ", whom this rule does not name",
        ),
        (
            ISSUER,
            "Ana@lab.example",
            ": the issuer is right, and the identity is another",
        ),
    ] {
        let reasons = ask(&exact, &[email(issuer, name)]);
        assert_eq!(reasons.len(), 1);
        assert!(
            reasons[0].asked.contains(words),
            "{name}: {}",
            reasons[0].asked
        );
        // Words of whoever signed are in no cure.
        let cure = reasons[0].cure.concat();
        assert!(name == "ana@lab.example" || !cure.contains(name), "{cure}");
        assert!(!cure.contains("evil"), "{cure}");
    }
    let workflow = |repository: &str| {
        by(Signer::Identity {
            issuer: "https://token.example".to_owned(),
            identity: San::Uri(format!(
                "https://github.com/{repository}/.github/workflows/r.yml@refs/tags/v1"
            )),
            root: Root::public().digest,
        })
    };
    let pattern = rule(
        "https://token.example",
        "https://github.com/lab/*/.github/workflows/r.yml@refs/tags/*",
    );
    assert_eq!(ask(&pattern, &[workflow("lab/judge")]), []);
    assert_eq!(ask(&pattern, &[workflow("lab/a/b")]).len(), 1);
    assert_eq!(ask(&pattern, &[workflow("evil/judge")]).len(), 1);
    // Another root vouches for the same words.
    let own = policy(&signed(&format!(
        "[{{ issuer = \"{ISSUER}\", identity = \"ana@lab.example\", root = \"root.json\" }}]"
    )));
    let reasons = ask(&own, &[email(ISSUER, "ana@lab.example")]);
    assert!(
        reasons[0].asked.contains(": by another trust root"),
        "{reasons:#?}"
    );
    // A key's name is not an identity.
    assert_eq!(ask(&exact, &[key(0)]).len(), 1);
}

#[test]
fn a_refusal_names_each_signature_in_its_own_words() {
    let policy = policy(&signed("[\"a.pub\"]"));
    let reasons = ask(&policy, &[]);
    let [reason] = &reasons[..] else {
        panic!("{reasons:#?}")
    };
    assert_eq!(
        reason.asked,
        format!("{IMAGE} is not signed by the key {FOLDER}/a.pub: no signature was found")
    );
    assert_eq!(
        reason.rule,
        format!(
            "trust image = [\"registry.lab.example/**\"], accept = {{ signed = [{{ key = \"{FOLDER}/a.pub\" }}] }}"
        )
    );
    assert_eq!(reason.why, "our CI signs");
    assert_eq!(
        reason.cure,
        [
            format!(
                "it comes in once the key {FOLDER}/a.pub has signed {}",
                digest()
            ),
            format!("or change your own rule ({USER_FILE}:3)"),
        ]
    );
    let failure = |fault| Failure {
        which: Some(Digest::of(b"1")),
        fault,
    };
    let wrong = failure(Fault::WrongDigest {
        is: "sha256:1\u{1b}[31m".to_owned(),
        wanted: digest(),
    });
    let evidence = |failures: &[Failure]| Evidence {
        failures: failures.to_vec(),
        ..Evidence::default()
    };
    // What was signed is not what this is: nothing that a policy says would help.
    let reasons = ask_for(&policy, IMAGE, &evidence(std::slice::from_ref(&wrong)));
    assert!(
        reasons[0]
            .asked
            .contains("it signs \"sha256:1\\u{1b}[31m\", and this is sha256:000")
    );
    assert_eq!(reasons[0].cure.len(), 1);
    assert!(reasons[0].cure[0].starts_with("no policy allows this"));
    let stranger = failure(Fault::WrongKey(vec!["a.pub".to_owned()]));
    let reasons = ask_for(&policy, IMAGE, &evidence(&[wrong.clone(), stranger]));
    assert!(reasons[0].cure[0].starts_with("it comes in once"));
    // Of many a few.
    let reasons = ask_for(&policy, IMAGE, &evidence(&vec![wrong; 60]));
    assert!(
        reasons[0].asked.ends_with("; and 55 more"),
        "{}",
        reasons[0].asked
    );
    assert!(reasons[0].asked.len() < 2000);
    // Two of which one is good: in, whatever the other is.
    let mut both = evidence(&[failure(Fault::Malleable)]);
    both.proofs.push(key(0));
    assert_eq!(ask_for(&policy, IMAGE, &both), []);
    // A proof about something else proves nothing here, but for the index of this manifest.
    let about = |about| Proof { about, ..key(0) };
    let other = Digest::of(b"index");
    let reasons = ask(&policy, &[about(other)]);
    assert!(
        reasons[0]
            .asked
            .contains(&format!("its.pub signed {other}"))
    );
    let of_index = Evidence {
        index: Some(other),
        proofs: vec![about(other)],
        ..Evidence::default()
    };
    assert_eq!(ask_for(&policy, IMAGE, &of_index), []);
    // An attestation says something of it, and not that it may run.
    let reasons = ask(&policy, &[attesting("https://spdx.dev/Document", key(0))]);
    assert!(
        reasons[0]
            .asked
            .contains("its.pub attested \"https://spdx.dev/Document\"")
    );
}

#[test]
fn attestations_are_of_their_type_and_signer() {
    let policy = policy(
        "[[require]]\nimage = \"registry.lab.example/**\"\n\
         attested = { slsa = [\"a.pub\"], \"https://lab.example/tested/v1\" = { all_of = [\"a.pub\", \"b.pub\"] } }\n\
         reason = \"what runs was built and tested here\"\n",
    );
    let slsa =
        |version: &str, at| attesting(&format!("https://slsa.dev/provenance/{version}"), key(at));
    let tested = |at| attesting("https://lab.example/tested/v1", key(at));
    assert_eq!(ask(&policy, &[slsa("v1", 0), tested(0), tested(1)]), []);
    assert_eq!(ask(&policy, &[slsa("v0.2", 0), tested(1), tested(0)]), []);
    for (proofs, count) in [
        (vec![], 2),
        (vec![key(0), key(1)], 2),
        (vec![slsa("v1", 1), tested(0), tested(1)], 1),
        (vec![slsa("v1", 0), tested(0)], 1),
        (vec![slsa("v1", 0), tested(0), tested(0)], 1),
        (
            vec![
                attesting("https://slsa.dev.evil/provenance/v1", key(0)),
                tested(0),
                tested(1),
            ],
            1,
        ),
    ] {
        assert_eq!(ask(&policy, &proofs).len(), count, "{proofs:#?}");
    }
    let reasons = ask(&policy, &[slsa("v1", 0), tested(0)]);
    assert!(
        reasons[0]
            .asked
            .contains("is not attested https://lab.example/tested/v1 by"),
        "{reasons:#?}"
    );
    assert!(reasons[0].asked.contains("(1 of 2)"), "{reasons:#?}");
    assert!(
        reasons[0]
            .rule
            .starts_with("require attested = { \"https://lab.example/tested/v1\" = { all_of = ")
    );
    // Other images need none.
    assert_eq!(ask_for(&policy, "redis:7", &Evidence::default()), []);
}

#[test]
fn equally_specific_rules_all_hold() {
    let pinned =
        "[[trust]]\nimage = \"registry.lab.example/**\"\naccept = \"pinned\"\nreason = \"r\"\n";
    let any = pinned.replace("pinned", "any");
    let reject = pinned.replace("pinned", "reject");
    let (a, b) = (signed("\"a.pub\""), signed("\"b.pub\""));
    for order in [[&a, &b], [&b, &a]] {
        let both = policy(&format!("{}{}", order[0], order[1]));
        assert_eq!(ask(&both, &[key(0)]).len(), 1);
        assert_eq!(ask(&both, &[key(0), key(1)]), []);
    }
    let and_pinned = policy(&format!("{a}{pinned}"));
    assert_eq!(ask(&and_pinned, &[]).len(), 2);
    assert_eq!(ask(&and_pinned, &[key(0)]).len(), 1);
    assert_eq!(ask(&policy(&format!("{a}{any}")), &[]).len(), 1);
    assert_eq!(ask(&policy(&format!("{reject}{a}")), &[key(0)]).len(), 1);
    let idle = |text: &str| policy(text).idle().len();
    assert_eq!(idle(&format!("{a}{any}")), 1);
    assert_eq!(idle(&format!("{a}{pinned}")), 0);
    assert_eq!(idle(&format!("{a}{reject}")), 1);
    // A more specific rule decides alone, as ever; a digest beside the tag is no way around one.
    let one = format!("{any}{}", a.replace("/**", "/grade/judge:1"));
    let one = policy(&one);
    assert_eq!(ask(&one, &[]).len(), 1);
    assert_eq!(
        ask_for(
            &one,
            "registry.lab.example/grade/judge:2",
            &Evidence::default()
        ),
        []
    );
    let pinned = format!("{IMAGE}@{}", digest());
    assert_eq!(ask_for(&one, &pinned, &Evidence::default()).len(), 1);
}

#[test]
fn what_is_wanted_is_what_the_rules_about_an_image_name() {
    let text = format!(
        "{}[[require]]\nattested = {{ spdx = [\"a.pub\", \"b.pub\"] }}\nreason = \"r\"\n\
         [[trust]]\nimage = \"quay.example/**\"\naccept = {{ signed = \"c.pub\" }}\nreason = \"r\"\n",
        signed(&format!(
            "[\"a.pub\", {{ issuer = \"{ISSUER}\", identity = \"a@b\" }}]"
        )),
    );
    let wanted = |name: &str| {
        let wanted = policy(&text).wanted_signers(&ImageName::parse(name).unwrap());
        let keys = wanted
            .keys
            .iter()
            .map(|key| key.name.rsplit('/').next().unwrap().to_owned());
        (keys.collect::<Vec<_>>().join(" "), wanted.roots.len())
    };
    assert_eq!(wanted(IMAGE), ("a.pub b.pub".to_owned(), 1));
    assert_eq!(
        wanted("quay.example/x"),
        ("c.pub a.pub b.pub".to_owned(), 0)
    );
    assert_eq!(wanted("redis"), ("a.pub b.pub".to_owned(), 0));
    assert!(
        strict()
            .wanted_signers(&ImageName::parse("redis").unwrap())
            .is_empty()
    );
}

#[test]
fn a_rule_that_wanted_proof_and_is_over_lets_nothing_in() {
    let over = signed("[\"a.pub\"]").replace("reason", "until = 2020-01-01\nreason");
    let policy = policy(&over);
    let evidence = Evidence {
        proofs: vec![key(0)],
        ..Evidence::default()
    };
    // The wider rule of `strict` would take it without any proof.
    for evidence in [&evidence, &Evidence::default()] {
        let [reason] = &ask_for(&policy, IMAGE, evidence)[..] else {
            panic!("one reason");
        };
        assert_eq!(
            reason.why,
            "nobody's signature counts here after 2020-01-01: our CI signs"
        );
    }
    assert!(ask_for(&policy, "docker.io/library/redis:7", &evidence).is_empty());
}
