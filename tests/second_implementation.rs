//! Signatures that others make, and others' word on those that we read: keys and envelopes of PyPI's
//! securesystemslib, and PyPI's sigstore beside us on the same keyless bundles.
//!
//! `LAZARET_TEST_PYTHON` names a Python that has both (`.ci/run` makes one).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers fail by panicking"
)]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "the keys here are others', and not openssl's")]
mod signing;

use authority::{Authority, Wish, message, of_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lazaret::image::{Digest, Reference};
use lazaret::trust::{
    Against, Evidence, Form, Found, Key, Root, SIGNATURE_LAYER, Subject, signature_layers, verify,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use support::{Home, need};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"layers":[]}"#;

const NAME: &str = "registry.lab.example/grade/judge:1";

/// Runs a script of tests/programs/python on a folder.
fn run(script: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs/python")
        .join(script);
    let ran = Command::new(support::python())
        .arg("-B")
        .arg(script)
        .arg(folder)
        .env("HOME", folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    String::from_utf8(ran.stdout).unwrap()
}

fn evidence(found: Found<'_>, bytes: &[u8], keys: &[&Key], roots: &[&Root]) -> Evidence {
    let reference = Reference::parse(NAME).unwrap();
    let subject = Subject {
        bytes,
        reference: Some(&reference),
    };
    verify(&[found], &subject, &Against { keys, roots })
}

/// Every form, by every kind of key that securesystemslib has; for another image each fails.
#[test]
fn what_securesystemslib_signs_is_verified() {
    need!("securesystemslib");
    let home = Home::new();
    let folder = home.path("signed");
    std::fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).unwrap();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let digest = Digest::of(MANIFEST);
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": NAME },
            "image": { "docker-manifest-digest": digest.to_string() },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = payload.to_string();
    let predicate = "https://slsa.dev/provenance/v1";
    write("manifest", MANIFEST);
    write("payload", payload.as_bytes());
    write(
        "statement",
        authority::statement(&digest.hex(), predicate).as_bytes(),
    );
    run("sign.py", &folder);
    for kind in ["ecdsa", "ed25519", "rsa"] {
        let key = Key::from_pem("theirs.pub", &read(&format!("{kind}.pub"))).unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "config": { "mediaType": "a/b", "digest": Digest::of(b"{}").to_string(), "size": 2 },
            "layers": [{
                "mediaType": SIGNATURE_LAYER,
                "digest": Digest::of(payload.as_bytes()).to_string(), "size": payload.len(),
                "annotations": {
                    "dev.cosignproject.cosign/signature": STANDARD.encode(read(&format!("{kind}.simple"))),
                },
            }],
        });
        let layers = signature_layers(manifest.to_string().as_bytes()).unwrap();
        let simple = Found::Simple {
            layer: &layers[0],
            payload: payload.as_bytes(),
        };
        let hash: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&digest.hex()[2 * at..][..2], 16).unwrap())
            .collect();
        let signature = read(&format!("{kind}.message"));
        let over_manifest = of_key("messageSignature", message(&hash, &signature)).to_string();
        let envelope: Value = serde_json::from_slice(&read(&format!("{kind}.envelope"))).unwrap();
        let over_statement = of_key("dsseEnvelope", envelope).to_string();
        for (found, form, attests) in [
            (simple, Form::SimpleSigning, None),
            (
                Found::Bundle(over_manifest.as_bytes()),
                Form::BundleMessage,
                None,
            ),
            (
                Found::Bundle(over_statement.as_bytes()),
                Form::BundleStatement,
                Some(predicate),
            ),
        ] {
            let good = evidence(found, MANIFEST, &[&key], &[]);
            let [proof] = &good.proofs[..] else {
                panic!("{kind} {form}: {good:#?}")
            };
            assert_eq!((proof.form, proof.attests.as_deref()), (form, attests));
            let other = evidence(found, b"{}", &[&key], &[]);
            assert!(
                other.proofs.is_empty() && other.failures.len() == 1,
                "{other:#?}"
            );
        }
    }
}

/// Each fault with its name: what becomes of an honest bundle.
fn cases(lab: &Authority, strangers: &Authority) -> BTreeMap<String, (Value, Value)> {
    let mut cases = BTreeMap::new();
    let day = 86_400;
    let over_manifest = |wish: &mut Wish| wish.predicate = None;
    type Change<'c> = &'c dyn Fn(&mut Wish);
    let wishes: [(&str, Change<'_>); 15] = [
        ("honest, in a log of the second version", &|w| {
            (w.second_log, w.timestamp) = (true, true);
        }),
        ("in a log of the second version without a time", &|w| {
            w.second_log = true
        }),
        ("honest", &|_| {}),
        ("honest, stamped", &|w| w.timestamp = true),
        ("honest, stamped alone", &|w| {
            (w.timestamp, w.promise) = (true, false)
        }),
        ("honest, old", &|w| w.at -= 30 * day),
        ("honest, of a workload", &|w| {
            w.identity = "https://lab.example/ci@v1".to_owned()
        }),
        ("expired", &|w| w.valid = (1200, -600)),
        ("not yet valid", &|w| w.valid = (-600, 1200)),
        ("expired by the clock", &|w| {
            w.at -= day;
            w.timestamp = true;
        }),
        ("signed tomorrow", &|w| w.at += day),
        ("without a time", &|w| w.promise = false),
        ("not logged", &|w| w.logged = false),
        ("another image", &|w| w.manifest = b"{}".to_vec()),
        ("another image, old", &|w| {
            w.manifest = b"{}".to_vec();
            w.at -= 30 * day;
        }),
    ];
    for (form, of_form) in [
        ("message", &over_manifest as Change<'_>),
        ("statement", &|_| {}),
    ] {
        let wish = |change: Change<'_>| {
            let mut wish = Wish::new(MANIFEST);
            of_form(&mut wish);
            change(&mut wish);
            wish
        };
        for (name, change) in wishes {
            let bundle = lab.bundle(&wish(change));
            cases.insert(format!("{form}: {name}"), (bundle, lab.root()));
        }
        let bundle = strangers.bundle(&wish(&|_| {}));
        cases.insert(
            format!("{form}: honest strangers"),
            (bundle.clone(), strangers.root()),
        );
        cases.insert(format!("{form}: strangers"), (bundle.clone(), lab.root()));
        for part in ["tlogs", "ctlogs", "certificateAuthorities"] {
            let mut root = strangers.root();
            root[part] = lab.root()[part].clone();
            cases.insert(
                format!("{form}: strangers but for {part}"),
                (bundle.clone(), root),
            );
        }
        let good = lab.bundle(&wish(&|w| w.timestamp = true));
        let other = lab.bundle(&wish(&|w| w.timestamp = true));
        let nothing = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let material = "verificationMaterial";
        let mut put = |name: &str, path: &[&str], value: Value| {
            let mut bundle = good.clone();
            let mut at = &mut bundle;
            for step in path {
                at = match step.parse::<usize>() {
                    Ok(index) => &mut at[index],
                    Err(_) => &mut at[*step],
                };
            }
            *at = value;
            cases.insert(format!("{form}: {name}"), (bundle, lab.root()));
        };
        let entry = |field: &'static str| [material, "tlogEntries", "0", field];
        let proof = |field: &'static str| [material, "tlogEntries", "0", "inclusionProof", field];
        put("no entry", &[material, "tlogEntries"], json!([]));
        put("another root hash", &proof("rootHash"), nothing.clone());
        put("other hashes", &proof("hashes"), json!([nothing]));
        put("no hashes", &proof("hashes"), json!([]));
        put("another place", &proof("logIndex"), json!("1"));
        put("a place outside", &proof("logIndex"), json!("2"));
        put("another tree", &proof("treeSize"), json!("3"));
        put("another log", &entry("logId"), json!({ "keyId": nothing }));
        put(
            "another time",
            &entry("integratedTime"),
            json!("1700000000"),
        );
        put(
            "another's entry",
            &[material, "tlogEntries"],
            other[material]["tlogEntries"].clone(),
        );
        put(
            "another's stamp",
            &[material, "timestampVerificationData"],
            other[material]["timestampVerificationData"].clone(),
        );
        put(
            "another's certificate",
            &[material, "certificate"],
            other[material]["certificate"].clone(),
        );
        let content = match form {
            "message" => "messageSignature",
            _ => "dsseEnvelope",
        };
        put("another's content", &[content], other[content].clone());
        let note =
            good[material]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"].clone();
        let note = note
            .as_str()
            .unwrap()
            .replacen("lab.example", "evil.example", 1);
        put(
            "another checkpoint",
            &proof("checkpoint"),
            json!({ "envelope": note }),
        );
        put(
            "no proof",
            &[material, "tlogEntries", "0", "inclusionProof"],
            Value::Null,
        );
        put(
            "another version",
            &["mediaType"],
            json!("application/vnd.dev.sigstore.bundle.v0.9+json"),
        );
    }
    cases
}

/// On honest bundles and on each fault two implementations agree; where they do not, ours refuses and
/// the case is named.
#[test]
fn sigstore_python_and_lazaret_take_the_same_bundles() {
    need!("sigstore", "openssl");
    /// Taken by sigstore-python alone, and why that is right for us.
    const STRICTER: &[(&str, &str)] = &[
        (
            "another's stamp",
            "beside the log's promise it passes over a stamp that is wrong",
        ),
        ("signed tomorrow", "it asks no clock"),
    ];
    /// Honest, and of a form that neither reads; ours in words of its own.
    const UNREAD: &[&str] = &["statement: honest, in a log of the second version"];
    let home = Home::new();
    let folder = home.path("bundles");
    std::fs::create_dir(&folder).unwrap();
    let (lab, strangers) = (Authority::new(), Authority::new());
    std::fs::write(folder.join("manifest"), MANIFEST).unwrap();
    let cases = cases(&lab, &strangers);
    let names: Vec<&String> = cases.keys().collect();
    for (at, name) in names.iter().enumerate() {
        let (bundle, root) = &cases[*name];
        let write = |end: &str, value: &Value| {
            let path = folder.join(format!("{at:03}.{end}"));
            std::fs::write(path, value.to_string()).unwrap();
        };
        write("bundle", bundle);
        write("root", root);
    }
    let theirs = run("verify.py", &folder);
    assert_eq!(theirs.lines().count(), names.len(), "{theirs}");
    let (mut table, mut bad) = (String::new(), Vec::new());
    for (name, line) in names.iter().zip(theirs.lines()) {
        let (_, theirs) = line.split_once('\t').unwrap();
        let (bundle, root) = &cases[*name];
        let root = Root::parse("lab.json", root.to_string().as_bytes()).unwrap();
        let bundle = bundle.to_string();
        let ours = evidence(Found::Bundle(bundle.as_bytes()), MANIFEST, &[], &[&root]);
        let said = match (&ours.proofs[..], &ours.failures[..]) {
            ([_], []) => "ok".to_owned(),
            ([], [failure]) => failure.fault.to_string(),
            _ => panic!("{ours:#?}"),
        };
        let stricter = STRICTER.iter().any(|(one, _)| name.ends_with(one));
        let is_good = name.contains("honest") && !UNREAD.contains(&name.as_str());
        let fine = match (said == "ok", theirs == "ok") {
            (true, true) => is_good,
            (false, false) => !is_good,
            (false, true) => stricter,
            (true, false) => false,
        };
        if UNREAD.contains(&name.as_str()) {
            assert!(said.contains("a log entry of \"dsse 0.0.2\""), "{said}");
        }
        let row = format!(
            "{name:<40} ours: {said:.100}\n{:<40} theirs: {theirs:.100}",
            ""
        );
        writeln!(table, "{row}").unwrap();
        if !fine {
            bad.push(row);
        }
    }
    println!("{table}");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
