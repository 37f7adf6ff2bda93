//! Signatures by keys: each form, each kind of key, each fault.

use super::authority::{envelope, message, of_key, pae, statement};
use super::signing::{How, Signer as Openssl};
use super::*;
use std::fmt::Write as _;
use std::sync::LazyLock;

const NAME: &str = "registry.lab.example/grade/judge:1";

const FORMS: [Form; 3] = [
    Form::SimpleSigning,
    Form::BundleMessage,
    Form::BundleStatement,
];

/// What is wrong with a signature.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    /// Another key of the same kind.
    Key,
    /// Signed for another image.
    Digest,
    /// Signed for another repository.
    Repository,
    /// Changed after it was signed.
    Changed,
    /// The same numbers in BER.
    Malleable,
    /// A byte behind the signature.
    Trailing,
    /// 1 MiB of signature.
    Huge,
    /// What was signed has a key twice, or is of another type.
    Twice,
    Type,
    /// No key is asked for.
    NoKey,
}

const WRONGS: [Wrong; 11] = [
    Wrong::Nothing,
    Wrong::Key,
    Wrong::Digest,
    Wrong::Repository,
    Wrong::Changed,
    Wrong::Malleable,
    Wrong::Trailing,
    Wrong::Huge,
    Wrong::Twice,
    Wrong::Type,
    Wrong::NoKey,
];

/// Two keys of each kind.
static SIGNERS: LazyLock<Vec<(How, Openssl, Openssl)>> = LazyLock::new(|| {
    let pair = |how| (how, Openssl::new(how), Openssl::new(how));
    How::ALL.into_iter().map(pair).collect()
});

fn is_ecdsa(how: How) -> bool {
    matches!(how, How::P256 | How::P384 | How::P384Sha256)
}

/// What becomes of a signature that was made.
fn spoilt(wrong: Wrong, how: How, mut signature: Vec<u8>) -> Vec<u8> {
    match wrong {
        Wrong::Malleable if is_ecdsa(how) => {
            // The length of the sequence in two bytes, which BER permits and DER does not.
            signature.insert(1, 0x81);
            signature
        }
        Wrong::Trailing => [&signature[..], &[0]].concat(),
        Wrong::Huge => vec![0x30; 1 << 20],
        _ => signature,
    }
}

/// A signature of a form with a fault.
fn made(form: Form, how: How, signer: &Openssl, wrong: Wrong) -> (Option<SignatureLayer>, Vec<u8>) {
    let image = match wrong {
        Wrong::Digest => OTHER,
        _ => MANIFEST,
    };
    let digest = Digest::of(image);
    let sign = |bytes: &[u8]| spoilt(wrong, how, signer.sign(bytes));
    match form {
        Form::SimpleSigning => {
            let name = match wrong {
                Wrong::Repository => "registry.lab.example/grade/other",
                _ => "registry.lab.example/grade/judge",
            };
            let text = payload(&digest.to_string(), name).to_string();
            let text = match wrong {
                // The first of two is the right one, or the second.
                Wrong::Twice => text.replace(
                    "\"docker-manifest-digest\":",
                    &format!(
                        "\"docker-manifest-digest\":\"{}\",\"docker-manifest-digest\":",
                        Digest::of(OTHER)
                    ),
                ),
                Wrong::Type => text.replace("cosign container image", "atomic container"),
                _ => text,
            };
            let signature = sign(text.as_bytes());
            let text = match wrong {
                Wrong::Changed => text.replace("null", "{\"a\":1}"),
                _ => text,
            };
            (Some(layer(text.as_bytes(), &signature)), text.into_bytes())
        }
        Form::BundleMessage => {
            let hash: Vec<u8> = (0..64)
                .step_by(2)
                .map(|at| u8::from_str_radix(&digest.hex()[at..at + 2], 16).unwrap())
                .collect();
            let bytes = match wrong {
                Wrong::Changed => OTHER,
                _ => image,
            };
            let bundle = of_key("messageSignature", message(&hash, &sign(bytes))).to_string();
            let bundle = match wrong {
                Wrong::Twice => {
                    bundle.replace("\"signature\":", "\"signature\":\"\",\"signature\":")
                }
                Wrong::Type => bundle.replace("v0.3", "v0.4"),
                _ => bundle,
            };
            (None, bundle.into_bytes())
        }
        Form::BundleStatement => {
            let text = statement(&digest.hex(), "https://sigstore.dev/cosign/sign/v1");
            let text = match wrong {
                Wrong::Twice => text.replace("\"subject\":", "\"subject\":[],\"subject\":"),
                Wrong::Type => text.replace("Statement/v1", "Statement/v9"),
                _ => text,
            };
            let signature = sign(&pae(text.as_bytes()));
            let text = match wrong {
                Wrong::Changed => text.replace("\"image\"", "\"imago\""),
                _ => text,
            };
            let bundle = of_key("dsseEnvelope", envelope(text.as_bytes(), &signature));
            (None, bundle.to_string().into_bytes())
        }
    }
}

/// Whether the outcome is the one that a fault must have. `None`: the fault does not exist there.
fn expected(form: Form, how: How, wrong: Wrong, outcome: &Result<Proof, Fault>) -> Option<bool> {
    let is = match (wrong, outcome) {
        (Wrong::Repository, _) if form != Form::SimpleSigning => return None,
        (Wrong::Malleable, _) if !is_ecdsa(how) => return None,
        (Wrong::Nothing, outcome) => outcome.is_ok(),
        (Wrong::Key | Wrong::Changed, Err(Fault::WrongKey(names))) => names == &["lab.pub"],
        (Wrong::Digest, Err(Fault::WrongDigest { is, wanted })) => {
            *is == Digest::of(OTHER).to_string() && *wanted == Digest::of(MANIFEST)
        }
        (Wrong::Repository, Err(Fault::WrongRepository { is, .. })) => is.ends_with("grade/other"),
        (Wrong::Malleable, Err(Fault::Malleable)) => true,
        (Wrong::Trailing, Err(Fault::Malleable)) => is_ecdsa(how),
        (Wrong::Trailing, Err(Fault::WrongKey(_))) => !is_ecdsa(how),
        (
            Wrong::Huge,
            Err(Fault::TooLarge {
                what: "signature", ..
            }),
        ) => true,
        (Wrong::Twice, Err(Fault::Malformed(why))) => why.contains("appears twice"),
        (Wrong::Type, Err(Fault::Unsupported(_))) => true,
        (Wrong::NoKey, Err(Fault::NoKey)) => true,
        _ => false,
    };
    Some(is)
}

#[test]
fn form_by_key_by_fault() {
    // The fault is the column: ok where its outcome is the one that it must have, - where it cannot be.
    let columns = WRONGS.map(|wrong| format!("{wrong:?}"));
    let mut table = format!("{:<24} {:<11} {}\n", "form", "key", columns.join(" "));
    let mut bad = Vec::new();
    for form in FORMS {
        for (how, signer, other) in SIGNERS.iter() {
            let key = Key::from_pem("lab.pub", &signer.public).unwrap();
            let stranger = Key::from_pem("lab.pub", &other.public).unwrap();
            let mut row = format!("{:<24} {:<11}", form.to_string(), format!("{how:?}"));
            for wrong in WRONGS {
                let (layer, bytes) = made(form, *how, signer, wrong);
                let found = match &layer {
                    Some(layer) => Found::Simple {
                        layer,
                        payload: &bytes,
                    },
                    None => Found::Bundle(&bytes),
                };
                let keys: &[&Key] = match wrong {
                    Wrong::Key => &[&stranger],
                    Wrong::NoKey => &[],
                    _ => &[&key],
                };
                let outcome = outcome(found, Some(NAME), keys, &[]);
                let cell = match expected(form, *how, wrong, &outcome) {
                    None => "-",
                    Some(true) => "ok",
                    Some(false) => {
                        bad.push(format!("{form} {how:?} {wrong:?}: {outcome:?}"));
                        "BAD"
                    }
                };
                let width = format!("{wrong:?}").len();
                write!(row, " {cell:<width$}").unwrap();
                if let (Wrong::Nothing, Ok(proof)) = (wrong, outcome) {
                    let signer = Signer::Key {
                        fingerprint: key.fingerprint,
                        name: "lab.pub".to_owned(),
                    };
                    assert_eq!(proof.signer, signer);
                    assert_eq!((proof.form, proof.about), (form, Digest::of(MANIFEST)));
                    assert_eq!((proof.when, proof.attests), (None, None));
                }
            }
            writeln!(table, "{row}").unwrap();
        }
    }
    println!("{table}");
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A simple signature by the first key.
fn simple(text: &str) -> Result<Proof, Fault> {
    named(text, Some(NAME))
}

fn named(text: &str, name: Option<&str>) -> Result<Proof, Fault> {
    let (_, signer, _) = &SIGNERS[0];
    let key = Key::from_pem("lab.pub", &signer.public).unwrap();
    let layer = layer(text.as_bytes(), &signer.sign(text.as_bytes()));
    let found = Found::Simple {
        layer: &layer,
        payload: text.as_bytes(),
    };
    outcome(found, name, &[&key], &[])
}

#[test]
fn the_name_in_a_payload_is_the_one_asked_for() {
    let digest = Digest::of(MANIFEST).to_string();
    let at = |digit: &str| format!("@sha256:{}", digit.repeat(64));
    for (signed, asked, fine) in [
        ("registry.lab.example/grade/judge", Some(NAME), true),
        ("registry.lab.example/grade/judge:1", Some(NAME), true),
        ("registry.lab.example/grade/judge:2", Some(NAME), false),
        ("registry.lab.example/grade/judge:latest", Some(NAME), false),
        ("registry.lab.example/grade/judger", Some(NAME), false),
        ("registry.lab.example:5000/grade/judge", Some(NAME), false),
        ("grade/judge", Some(NAME), false),
        ("registry.lab.example/GRADE/judge", Some(NAME), false),
        ("redis", Some("redis:7"), true),
        ("index.docker.io/library/redis", Some("redis:7"), true),
        ("", Some(NAME), true),
        // A layout's name says nothing of a repository: the proof keeps the one that was signed.
        ("registry.lab.example/grade/other", None, true),
    ] {
        let text = payload(&digest, signed).to_string();
        let outcome = named(&text, asked);
        match fine {
            true => {
                let kept = Some(signed.to_owned()).filter(|name| !name.is_empty());
                assert_eq!(outcome.unwrap().reference, kept);
            }
            false => assert!(
                matches!(&outcome, Err(Fault::WrongRepository { is, .. }) if is == signed),
                "{signed}: {outcome:?}"
            ),
        }
    }
    let by_digest = format!("registry.lab.example/grade/judge@{digest}");
    let other = format!("registry.lab.example/grade/judge{}", at("1"));
    assert!(simple(&payload(&digest, &by_digest).to_string()).is_ok());
    assert!(matches!(
        simple(&payload(&digest, &other).to_string()),
        Err(Fault::WrongRepository { .. })
    ));
    // Asked for by digest, the tag that was signed is as good as none.
    let asked = format!("registry.lab.example/grade/judge@{digest}");
    assert!(named(&payload(&digest, NAME).to_string(), Some(&asked)).is_ok());
}

#[test]
fn a_payload_is_what_it_should_be_and_nothing_more() {
    let digest = Digest::of(MANIFEST).to_string();
    let good = payload(&digest, "registry.lab.example/grade/judge");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        simple(&value.to_string())
    };
    assert!(changed(&|v| v["optional"] = json!({ "Image": [[1]], "creator": "x" })).is_ok());
    assert!(changed(&|v| drop(v.as_object_mut().unwrap().remove("optional"))).is_ok());
    for change in [
        &(|v: &mut Value| v["critical"]["more"] = json!(1)) as &dyn Fn(&mut Value),
        &|v| v["more"] = json!(1),
        &|v| v["Critical"] = json!({}),
        &|v| v["critical"]["image"]["Docker-manifest-digest"] = json!("x"),
        &|v| v["critical"]["image"] = json!({}),
        &|v| v["critical"]["image"] = json!([digest]),
        &|v| v["critical"] = json!(null),
        &|v| drop(v["critical"].as_object_mut().unwrap().remove("type")),
        &|v| v["critical"]["type"] = json!(1),
        &|v| v["critical"]["identity"]["docker-reference"] = json!("a\u{0}b"),
    ] {
        let outcome = changed(change);
        assert!(matches!(outcome, Err(Fault::Malformed(_))), "{outcome:?}");
    }
    for digest in [
        Digest::of(MANIFEST).to_string().to_uppercase(),
        format!("{} ", Digest::of(MANIFEST)),
        Digest::of(MANIFEST).hex(),
        String::new(),
    ] {
        let outcome =
            changed(&|v| v["critical"]["image"]["docker-manifest-digest"] = json!(digest));
        assert!(
            matches!(outcome, Err(Fault::WrongDigest { .. })),
            "{outcome:?}"
        );
    }
    // What is behind the document, and a document that is too large.
    assert!(matches!(
        simple(&format!("{good}{good}")),
        Err(Fault::Malformed(_))
    ));
    let large = format!("{good}{}", " ".repeat(MAX_PAYLOAD));
    let layer = SignatureLayer {
        ..layer(b"{}", b"x")
    };
    let found = Found::Simple {
        layer: &layer,
        payload: large.as_bytes(),
    };
    let outcome = outcome(found, None, &[], &[]);
    assert!(matches!(
        outcome,
        Err(Fault::TooLarge {
            what: "payload",
            ..
        })
    ));
}

#[test]
fn a_signature_manifest_is_read_strictly() {
    let layer = |size: usize| {
        json!({
            "mediaType": SIGNATURE_LAYER, "digest": Digest::of(b"x").to_string(), "size": size,
            "annotations": { "dev.cosignproject.cosign/signature": "AAAA" },
        })
    };
    let manifest = |layers: Vec<Value>| {
        json!({ "schemaVersion": 2, "config": { "mediaType": "a/b", "digest": Digest::of(b"").to_string(), "size": 0 }, "layers": layers })
            .to_string()
    };
    let read = |text: String| signature_layers(text.as_bytes());
    assert_eq!(
        read(manifest(vec![layer(1); MAX_SIGNATURES]))
            .unwrap()
            .len(),
        MAX_SIGNATURES
    );
    let many = read(manifest(vec![layer(1); 10_000])).unwrap_err();
    assert_eq!(many, Fault::TooMany(10_000));
    assert_eq!(
        many.to_string(),
        "10000 signatures, of which no more than 64 are looked at: none is"
    );
    let large = read(manifest(vec![layer(MAX_PAYLOAD + 1)]));
    assert!(matches!(
        large,
        Err(Fault::TooLarge {
            what: "payload",
            ..
        })
    ));
    let mut bare = layer(1);
    bare["annotations"] = json!({});
    assert!(matches!(
        read(manifest(vec![bare])),
        Err(Fault::Malformed(_))
    ));
    // A layer of something else is not a signature.
    let mut other = layer(1);
    other["mediaType"] = json!("application/spdx+json");
    assert_eq!(read(manifest(vec![other])).unwrap(), []);
    let twice = manifest(vec![]).replace("\"layers\":", "\"layers\":[],\"layers\":");
    assert!(matches!(read(twice), Err(Fault::Malformed(why)) if why.contains("appears twice")));
    for text in ["", "[]", "{}", "{\"layers\":[]}"] {
        assert!(
            matches!(read(text.to_owned()), Err(Fault::Malformed(_))),
            "{text}"
        );
    }
}

#[test]
fn many_signatures_and_several_keys() {
    let text = payload(&Digest::of(MANIFEST).to_string(), "").to_string();
    let all: Vec<Key> = SIGNERS
        .iter()
        .map(|(how, signer, _)| Key::from_pem(&format!("{how:?}.pub"), &signer.public).unwrap())
        .collect();
    let all: Vec<&Key> = all.iter().collect();
    let layers: Vec<SignatureLayer> = SIGNERS
        .iter()
        .flat_map(|(_, signer, other)| [signer, other])
        .map(|signer| layer(text.as_bytes(), &signer.sign(text.as_bytes())))
        .collect();
    let found: Vec<Found<'_>> = layers
        .iter()
        .map(|layer| Found::Simple {
            layer,
            payload: text.as_bytes(),
        })
        .collect();
    let subject = Subject {
        bytes: MANIFEST,
        reference: None,
    };
    let against = Against {
        keys: &all,
        roots: &[],
    };
    let evidence = verify(&found, &subject, &against);
    // Each by its own key, in their order; the strangers are told.
    let names: Vec<String> = evidence
        .proofs
        .iter()
        .map(|proof| match &proof.signer {
            Signer::Key { name, .. } => name.clone(),
            Signer::Identity { .. } => panic!("{proof:?}"),
        })
        .collect();
    let wanted: Vec<String> = How::ALL.iter().map(|how| format!("{how:?}.pub")).collect();
    assert_eq!(names, wanted);
    assert_eq!(evidence.failures.len(), How::ALL.len());
    let words = evidence.failures[0].to_string();
    assert!(
        words.contains("none of the keys \"P256.pub\"") && words.contains("and 2 more"),
        "{words}"
    );
    // More than are looked at: not even the good one counts.
    let flood: Vec<Found<'_>> = found.iter().cycle().take(10_000).copied().collect();
    let evidence = verify(&flood, &subject, &against);
    assert_eq!(evidence.proofs, []);
    assert_eq!(evidence.failures.len(), 1);
    assert_eq!(evidence.failures[0].fault, Fault::TooMany(10_000));
}

#[test]
fn a_bundle_is_one_thing() {
    let (_, signer, _) = &SIGNERS[0];
    let key = Key::from_pem("lab.pub", &signer.public).unwrap();
    let text = statement(
        &Digest::of(MANIFEST).hex(),
        "https://slsa.dev/provenance/v1",
    );
    let signed = |text: &str| {
        let signature = signer.sign(&pae(text.as_bytes()));
        of_key("dsseEnvelope", envelope(text.as_bytes(), &signature))
    };
    let good = signed(&text);
    let of = |bundle: &Value| {
        let bytes = bundle.to_string();
        outcome(Found::Bundle(bytes.as_bytes()), None, &[&key], &[])
    };
    let proof = of(&good).unwrap();
    assert_eq!(
        proof.attests.as_deref(),
        Some("https://slsa.dev/provenance/v1")
    );
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        of(&value)
    };
    for change in [
        &(|v: &mut Value| v["messageSignature"] = message(&[0; 32], b"x")) as &dyn Fn(&mut Value),
        &|v| v["verificationMaterial"]["certificate"] = json!({ "rawBytes": "" }),
        &|v| v["verificationMaterial"]["x509CertificateChain"] = json!({ "certificates": [] }),
        &|v| v["verificationMaterial"] = json!({}),
        &|v| v["verification_material"] = json!({}),
        &|v| v["VerificationMaterial"] = json!({}),
        &|v| drop(v.as_object_mut().unwrap().remove("dsseEnvelope")),
        &|v| {
            let one = v["dsseEnvelope"]["signatures"][0].clone();
            v["dsseEnvelope"]["signatures"] = json!([one, one]);
        },
        &|v| v["dsseEnvelope"]["signatures"] = json!([]),
        &|v| v["dsseEnvelope"]["payload"] = json!("?"),
    ] {
        let outcome = changed(change);
        assert!(matches!(outcome, Err(Fault::Malformed(_))), "{outcome:?}");
    }
    let other_type = changed(&|v| v["dsseEnvelope"]["payloadType"] = json!("text/plain"));
    assert!(
        matches!(other_type, Err(Fault::WrongKey(_))),
        "{other_type:?}"
    );
    // Many subjects, ours among them; the digest of ours under another algorithm.
    let hex = Digest::of(MANIFEST).hex();
    let mut many: Value = serde_json::from_str(&text).unwrap();
    many["subject"] = json!([
        { "name": "a", "digest": { "sha256": "0".repeat(64) } },
        { "name": "b", "digest": { "sha512": "1", "sha256": hex } },
    ]);
    assert!(of(&signed(&many.to_string())).is_ok());
    for subjects in [
        json!([]),
        json!([{ "name": "a", "digest": { "sha512": hex } }]),
        json!([{ "name": "a", "digest": { "sha256": hex.to_uppercase() } }]),
        json!([{ "name": hex, "digest": {} }]),
    ] {
        many["subject"] = subjects;
        let outcome = of(&signed(&many.to_string()));
        assert!(
            matches!(outcome, Err(Fault::WrongDigest { .. })),
            "{outcome:?}"
        );
    }
    // A signature of one form is none of another.
    let signature = signer.sign(MANIFEST);
    let envelope = of_key("dsseEnvelope", envelope(MANIFEST, &signature));
    assert!(matches!(of(&envelope), Err(Fault::WrongKey(_))));
    let huge = format!("{{\"mediaType\":\"{}\"}}", "x".repeat(MAX_BUNDLE));
    let outcome = outcome(Found::Bundle(huge.as_bytes()), None, &[&key], &[]);
    assert!(matches!(
        outcome,
        Err(Fault::TooLarge { what: "bundle", .. })
    ));
}
