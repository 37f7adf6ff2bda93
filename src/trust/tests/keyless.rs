//! Signatures by identities: each form, each witness, each fault.

use super::authority::{Authority, Wish};
use super::*;
use std::sync::LazyLock;

static LAB: LazyLock<Authority> = LazyLock::new(Authority::new);
static STRANGERS: LazyLock<Authority> = LazyLock::new(Authority::new);

fn root(of: &Authority) -> Root {
    Root::parse("lab.json", of.root().to_string().as_bytes()).unwrap()
}

fn of(bundle: &Value) -> Result<Proof, Fault> {
    let bytes = bundle.to_string();
    outcome(Found::Bundle(bytes.as_bytes()), None, &[], &[&root(&LAB)])
}

/// An honest wish with a change.
fn wish(change: impl Fn(&mut Wish)) -> Wish {
    let mut wish = Wish::new(MANIFEST);
    change(&mut wish);
    wish
}

fn made(change: impl Fn(&mut Wish)) -> Result<Proof, Fault> {
    of(&LAB.bundle(&wish(change)))
}

#[test]
fn who_signed_and_when_is_what_the_certificate_and_the_witnesses_say() {
    for predicate in [None, Some("https://sigstore.dev/cosign/sign/v1".to_owned())] {
        for (identity, san) in [
            ("ana@lab.example", San::Email("ana@lab.example".to_owned())),
            (
                "https://lab.example/ci/.github/workflows/release.yml@refs/tags/v1",
                San::Uri(
                    "https://lab.example/ci/.github/workflows/release.yml@refs/tags/v1".to_owned(),
                ),
            ),
        ] {
            for (promise, timestamp) in [(true, false), (false, true), (true, true)] {
                let wish = wish(|w| {
                    w.predicate.clone_from(&predicate);
                    w.identity = identity.to_owned();
                    (w.promise, w.timestamp) = (promise, timestamp);
                });
                let proof = of(&LAB.bundle(&wish)).unwrap();
                let signer = Signer::Identity {
                    issuer: "https://accounts.lab.example".to_owned(),
                    identity: san.clone(),
                    root: root(&LAB).digest,
                };
                assert_eq!(proof.signer, signer);
                let form = match &predicate {
                    None => Form::BundleMessage,
                    Some(_) => Form::BundleStatement,
                };
                assert_eq!(
                    (proof.form, proof.attests, proof.reference),
                    (form, None, None)
                );
                assert_eq!(proof.about, Digest::of(MANIFEST));
                // The log's time is earlier than the authority's, which is now.
                let when = proof.when.unwrap();
                assert_eq!(when == wish.at, promise, "{when} {}", wish.at);
            }
        }
    }
    let attested = made(|w| w.predicate = Some("https://spdx.dev/Document".to_owned())).unwrap();
    assert_eq!(
        attested.attests.as_deref(),
        Some("https://spdx.dev/Document")
    );
}

/// A certificate lives for minutes, and a signature by it for years.
#[test]
fn an_old_signature_stays_good_and_one_by_an_expired_certificate_never_was() {
    let day = 86_400;
    assert!(made(|w| w.at -= 30 * day).is_ok());
    for change in [
        // Signed ten minutes after its last moment, and before its first.
        &(|w: &mut Wish| w.valid = (1200, -600)) as &dyn Fn(&mut Wish),
        &|w| w.valid = (-600, 1200),
    ] {
        let outcome = made(change);
        assert!(matches!(outcome, Err(Fault::Expired(_))), "{outcome:?}");
    }
    // By the authority's clock it had expired, whatever the log says.
    let outcome = made(|w| {
        w.at -= day;
        w.timestamp = true;
    });
    assert!(matches!(outcome, Err(Fault::Expired(_))), "{outcome:?}");
    // Nobody signs tomorrow.
    let outcome = made(|w| w.at += day);
    assert!(matches!(outcome, Err(Fault::Expired(_))), "{outcome:?}");
}

#[test]
fn every_witness_is_needed() {
    let outcome = made(|w| w.promise = false);
    assert_eq!(outcome, Err(Fault::NoTime));
    let outcome = made(|w| w.logged = false);
    assert!(
        matches!(outcome, Err(Fault::NotLoggedCertificate(_))),
        "{outcome:?}"
    );
    let outcome = made(|w| w.issuer = String::new());
    assert_eq!(outcome, Err(Fault::NoIdentity));
    let good = LAB.bundle(&wish(|w| w.timestamp = true));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        of(&value)
    };
    assert!(changed(&|_| {}).is_ok());
    fn entry(v: &mut Value) -> &mut Value {
        &mut v["verificationMaterial"]["tlogEntries"][0]
    }
    for change in [
        &(|v: &mut Value| v["verificationMaterial"]["tlogEntries"] = json!([]))
            as &dyn Fn(&mut Value),
        &|v| {
            drop(
                v["verificationMaterial"]
                    .as_object_mut()
                    .unwrap()
                    .remove("tlogEntries"),
            )
        },
        &|v| drop(entry(v).as_object_mut().unwrap().remove("inclusionProof")),
        // A second one that nothing proves.
        &|v| {
            let mut second = entry(v).clone();
            second.as_object_mut().unwrap().remove("inclusionProof");
            let first = entry(v).clone();
            v["verificationMaterial"]["tlogEntries"] = json!([first, second]);
        },
    ] {
        assert_eq!(changed(change), Err(Fault::NoLogEntry));
    }
    let nothing = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    for change in [
        &(|v: &mut Value| entry(v)["inclusionProof"]["rootHash"] = nothing.clone())
            as &dyn Fn(&mut Value),
        &|v| entry(v)["inclusionProof"]["hashes"] = json!([nothing]),
        &|v| entry(v)["inclusionProof"]["hashes"] = json!([]),
        &|v| entry(v)["inclusionProof"]["logIndex"] = json!("1"),
        &|v| entry(v)["inclusionProof"]["logIndex"] = json!("2"),
        &|v| entry(v)["inclusionProof"]["treeSize"] = json!("3"),
        &|v| entry(v)["logId"]["keyId"] = nothing.clone(),
        &|v| entry(v)["integratedTime"] = json!("1700000000"),
        &|v| entry(v)["logIndex"] = json!("1"),
        &|v| {
            let note = entry(v)["inclusionProof"]["checkpoint"]["envelope"]
                .as_str()
                .unwrap();
            let note = note.replacen("lab.example", "evil.example", 1);
            entry(v)["inclusionProof"]["checkpoint"]["envelope"] = json!(note);
        },
        &|v| {
            let body = entry(v)["canonicalizedBody"].as_str().unwrap().to_owned();
            entry(v)["canonicalizedBody"] = json!(body.replacen('e', "f", 1));
        },
    ] {
        let outcome = changed(change);
        assert!(
            matches!(outcome, Err(Fault::ForgedLogEntry(_))),
            "{outcome:?}"
        );
    }
    // Another signature's entry, with all its proofs, and another's time.
    let other = LAB.bundle(&wish(|w| {
        w.predicate = Some("https://spdx.dev/Document".to_owned());
        w.timestamp = true;
    }));
    let outcome = changed(&|v| *entry(v) = other["verificationMaterial"]["tlogEntries"][0].clone());
    assert!(
        matches!(outcome, Err(Fault::ForgedLogEntry(_))),
        "{outcome:?}"
    );
    let outcome = changed(&|v| {
        v["verificationMaterial"]["timestampVerificationData"] =
            other["verificationMaterial"]["timestampVerificationData"].clone();
    });
    assert!(matches!(outcome, Err(Fault::ForgedTime(_))), "{outcome:?}");
    // Another's certificate: swapped bundles.
    let outcome = changed(&|v| {
        v["verificationMaterial"]["certificate"] =
            other["verificationMaterial"]["certificate"].clone();
    });
    assert!(outcome.is_err(), "{outcome:?}");
    // Another's content under this one's witnesses.
    let outcome = changed(&|v| v["dsseEnvelope"] = other["dsseEnvelope"].clone());
    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn a_signature_has_one_spelling_whoever_made_it() {
    let outcome = made(|w| {
        w.spoilt = |mut signature| {
            signature.insert(1, 0x81);
            signature
        };
    });
    assert_eq!(outcome, Err(Fault::Malleable));
    let outcome = made(|w| w.spoilt = |signature| [signature, vec![0]].concat());
    assert_eq!(outcome, Err(Fault::Malleable));
    for (bytes, said) in [(1025, true), (1024, false)] {
        let outcome = match bytes {
            1024 => made(|w| w.spoilt = |_| vec![1; 1024]),
            _ => made(|w| w.spoilt = |_| vec![1; 1025]),
        };
        let large = Err(Fault::TooLarge {
            what: "signature",
            bytes,
        });
        assert_eq!(outcome == large, said, "{outcome:?}");
        assert!(outcome.is_err());
    }
    // Another's, as well-formed as it is.
    let outcome = made(|w| {
        w.spoilt = |mut signature| {
            let last = signature.len() - 1;
            signature[last] ^= 1;
            signature
        };
    });
    assert_eq!(outcome, Err(Fault::BadSignature));
}

/// Rekor's second version promises nothing and knows no time: a timestamp authority does.
#[test]
fn the_second_version_of_the_log_is_read_over_a_manifest() {
    let second = |change: &dyn Fn(&mut Wish)| {
        made(|w| {
            (w.second_log, w.timestamp, w.predicate) = (true, true, None);
            change(w);
        })
    };
    let proof = second(&|_| {}).unwrap();
    assert_eq!(proof.form, Form::BundleMessage);
    assert_eq!(second(&|w| w.timestamp = false), Err(Fault::NoTime));
    let predicate = Some("https://spdx.dev/Document".to_owned());
    let statement = second(&|w| w.predicate.clone_from(&predicate));
    assert_eq!(
        statement,
        Err(Fault::Unsupported(
            "a log entry of \"dsse 0.0.2\"".to_owned()
        ))
    );
}

#[test]
fn strangers_vouch_for_nobody() {
    let stranger = STRANGERS.bundle(&wish(|_| {}));
    let outcome_of = |roots: &[&Root]| {
        let bytes = stranger.to_string();
        outcome(Found::Bundle(bytes.as_bytes()), None, &[], roots)
    };
    // Its log is not ours either, and that is what is seen first.
    let (lab, strangers, public) = (root(&LAB), root(&STRANGERS), Root::public());
    assert!(outcome_of(&[&lab]).is_err());
    assert!(outcome_of(&[&lab, &public]).is_err());
    assert_eq!(outcome_of(&[]), Err(Fault::NoRoot));
    // A proof names the root that it rests on.
    let proof = outcome_of(&[&lab, &strangers]).unwrap();
    let Signer::Identity { root, .. } = proof.signer else {
        panic!("{proof:?}")
    };
    assert_eq!(root, strangers.digest);
    // Only one of the authorities is theirs.
    for (part, fault) in [
        ("certificateAuthorities", "untrusted"),
        ("ctlogs", "not_logged_certificate"),
        ("tlogs", "forged_log_entry"),
    ] {
        let mut mixed = STRANGERS.root();
        mixed[part] = LAB.root()[part].clone();
        let mixed = Root::parse("mixed", mixed.to_string().as_bytes()).unwrap();
        let fault_is = serde_json::to_value(outcome_of(&[&mixed]).unwrap_err()).unwrap();
        assert!(fault_is.get(fault).is_some(), "{part}: {fault_is}");
    }
    // A key of the policy's is no use to it, nor a root to a key's.
    let text = LAB.bundle(&Wish::new(OTHER));
    let outcome = of(&text);
    assert!(
        matches!(outcome, Err(Fault::WrongDigest { .. })),
        "{outcome:?}"
    );
}

#[test]
fn a_trust_root_is_checked() {
    root(&LAB).check().unwrap();
    Root::public().check().unwrap();
    for part in ["tlogs", "certificateAuthorities", "ctlogs"] {
        let mut empty = LAB.root();
        empty[part] = json!([]);
        let empty = Root::parse("lab.json", empty.to_string().as_bytes()).unwrap();
        assert!(
            empty.check().unwrap_err().cause.contains("it has no"),
            "{part}"
        );
    }
    for text in [
        "",
        "[]",
        "{}",
        "{\"tlogs\":[],\"tlogs\":[]}",
        "{\"tlogs\":{}}",
    ] {
        let root = Root::parse("lab.json", text.as_bytes());
        assert!(root.and_then(|root| root.check()).is_err(), "{text}");
    }
    let huge = " ".repeat(MAX_ROOT + 1);
    assert_eq!(
        Root::parse("x", huge.as_bytes()).unwrap_err().kind,
        Kind::Limit
    );
}

/// A bundle that cosign 3 made with sigstore's public instance, of sigstore-rust's test data
/// (Apache-2.0): signed by a person, witnessed by the public log and timestamp authority.
#[test]
fn a_real_bundle_is_verified_with_the_public_root() {
    let signed = include_bytes!("public/cosign-v3-blob.txt");
    let bundle = include_bytes!("public/cosign-v3-blob.sigstore.json");
    let root = Root::public();
    let subject = Subject {
        bytes: signed,
        reference: None,
    };
    let against = Against {
        keys: &[],
        roots: &[&root],
    };
    let evidence = verify(&[Found::Bundle(bundle)], &subject, &against);
    let [proof] = &evidence.proofs[..] else {
        panic!("{evidence:#?}")
    };
    assert_eq!(proof.form, Form::BundleMessage);
    assert!(
        matches!(
            &proof.signer,
            Signer::Identity { issuer, identity: San::Email(email), .. }
                if issuer.starts_with("https://") && email.contains('@')
        ),
        "{proof:?}"
    );
    let other = Subject {
        bytes: MANIFEST,
        reference: None,
    };
    let evidence = verify(&[Found::Bundle(bundle)], &other, &against);
    assert!(
        matches!(evidence.failures[0].fault, Fault::WrongDigest { .. }),
        "{evidence:#?}"
    );
}
