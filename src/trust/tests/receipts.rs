//! Receipts: what is written is read, by openssl too, and each change of it is found.

use super::authority::pae;
use super::signing::{Folder, How, Signer as Openssl, openssl};
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What is done to an envelope.
type Change<'a> = &'a dyn Fn(&mut Value);

const REPORT: &str = r#"{
    "schema": 1, "lazaret": "0.1.0", "verb": "run", "ended": "exited", "exit_code": 7, "code": 7,
    "signal": null, "error": null, "program": null, "plan": null, "policy": null,
    "image": {"asked": "a", "canonical": "b", "manifest": "IMAGE", "config": "c", "layers": []},
    "grants": [{"what": "argv", "value": ["sh", "-c", "\u001b[2J"]}],
    "times": {"started": "2027-01-02T03:04:05Z", "wall_us": 12, "stages": []}, "new": [[1], {}]
}
"#;

fn key() -> SigningKey {
    SigningKey::from_pem("own", new_private_pem().unwrap().as_bytes()).unwrap()
}

fn image() -> Digest {
    Digest::of(MANIFEST)
}

/// A report about [`image`].
fn report() -> String {
    REPORT.replace("IMAGE", &image().to_string())
}

fn sealed(key: &SigningKey) -> String {
    seal_receipt(&report(), Some(("b", image())), key).unwrap()
}

/// What becomes of a receipt: the words of its fault, which a terminal can bear.
#[track_caller]
fn fault(receipt: &str, key: &SigningKey) -> String {
    let words = read_receipt(receipt.as_bytes(), &[&key.public])
        .unwrap_err()
        .to_string();
    assert!(
        !words.contains(['\n', '\x1b']) && words.len() < 1000,
        "{words}"
    );
    words
}

/// The envelope of any payload, of any type, signed as it should be.
fn envelope(payload: &str, key: &SigningKey) -> Value {
    json!({
        "payloadType": "application/vnd.in-toto+json",
        "payload": STANDARD.encode(payload),
        "signatures": [{
            "keyid": key.public.fingerprint.to_string(),
            "sig": STANDARD.encode(key.sign(&pae(payload.as_bytes())).unwrap()),
        }],
    })
}

fn payload_of(receipt: &str) -> String {
    let envelope: Value = serde_json::from_str(receipt).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap());
    String::from_utf8(payload.unwrap()).unwrap()
}

#[test]
fn what_is_sealed_is_read() {
    let (own, other) = (key(), key());
    let receipt = sealed(&own);
    let read = read_receipt(receipt.as_bytes(), &[&other.public, &own.public]).unwrap();
    assert_eq!(read.key.fingerprint, own.public.fingerprint);
    assert_eq!(read.subject, ("b".to_owned(), image()));
    assert_eq!((read.told.end.exit_code, read.told.end.code), (7, Some(7)));
    assert_eq!(read.told.command().unwrap(), ["sh", "-c", "\u{1b}[2J"]);
    assert_eq!(read.told.started(), "2027-01-02T03:04:05Z");
    // The statement is in-toto's, and the report in it is the very one.
    let payload = payload_of(&receipt);
    let statement: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "urn:lazaret:report:1");
    assert_eq!(
        statement["subject"],
        json!([{"name": "b", "digest": {"sha256": image().hex()}}])
    );
    let as_reported: Value = serde_json::from_str(&report()).unwrap();
    assert_eq!(statement["predicate"], as_reported);
    assert!(payload.contains(&report()));
    // Signing is of one outcome.
    assert_eq!(sealed(&own), receipt);
}

/// Without an image and a program of a known digest a receipt is about its report.
#[test]
fn a_receipt_is_about_something_always() {
    let own = key();
    let text = report();
    let none = text.replace(
        &text[text.find("{\"asked").unwrap()..text.find(",\n    \"grants").unwrap()],
        "null",
    );
    let receipt = seal_receipt(&none, None, &own).unwrap();
    let read = read_receipt(receipt.as_bytes(), &[&own.public]).unwrap();
    assert_eq!(
        read.subject,
        ("report".to_owned(), Digest::of(none.as_bytes()))
    );
    let payload = payload_of(&receipt);
    for (from, to) in [
        ("\"code\": 7", "\"code\": 8"),
        ("\"name\":\"report\"", "\"name\":\"b\""),
    ] {
        let changed = payload.replace(from, to);
        assert_ne!(changed, payload);
        let words = fault(&envelope(&changed, &own).to_string(), &own);
        assert!(words.contains("are two things"), "{words}");
    }
    let tool = |sha256: &str| {
        none.replace(
            "\"program\": null",
            &format!("\"program\": {{\"path\": \"/bin/x\", \"sha256\": {sha256}}}"),
        )
    };
    let of = |report: &str, subject| {
        let receipt = seal_receipt(report, subject, &own)?;
        let read = read_receipt(receipt.as_bytes(), &[&own.public]);
        Ok::<_, crate::error::Error>(read.unwrap().subject.0)
    };
    let known = tool(&format!("\"{}\"", image()));
    assert_eq!(of(&known, Some(("/bin/x", image()))).unwrap(), "/bin/x");
    assert_eq!(of(&tool("null"), None).unwrap(), "report");
    // What its reader would refuse is not written.
    for (report, subject) in [
        (&known, None),
        (&known, Some(("/bin/y", image()))),
        (&none, Some(("b", image()))),
        (&text, Some(("b", Digest::of(OTHER)))),
    ] {
        let error = of(report, subject).unwrap_err();
        assert_eq!(error.kind, Kind::Malformed, "{error}");
    }
    let huge = format!("{}{}", " ".repeat(MAX_RECEIPT), none);
    assert_eq!(of(&huge, None).unwrap_err().kind, Kind::Limit);
}

#[test]
fn every_change_of_an_envelope_is_found() {
    let own = key();
    let receipt: Value = serde_json::from_str(&sealed(&own)).unwrap();
    let changed = |change: Change<'_>| {
        let mut value = receipt.clone();
        change(&mut value);
        assert_ne!(value, receipt);
        fault(&value.to_string(), &own)
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let payload = text(&receipt["payload"]);
    let sig = text(&receipt["signatures"][0]["sig"]);
    let keyid = text(&receipt["signatures"][0]["keyid"]);
    let one = &receipt["signatures"][0];
    let cases: &[(&str, Change<'_>)] = &[
        ("an envelope of \"text/plain\"", &|v| {
            v["payloadType"] = json!("text/plain")
        }),
        // Signed as in-toto's, and so no other.
        ("an envelope of", &|v| {
            v["payloadType"] = json!("application/vnd.in-toto+JSON")
        }),
        ("none of the keys", &|v| {
            v["payload"] = json!(STANDARD.encode("{}"))
        }),
        ("none of the keys", &|v| {
            let bytes = STANDARD.decode(&payload).unwrap();
            v["payload"] = json!(STANDARD.encode([&bytes[..], b" "].concat()));
        }),
        ("payload is not base64", &|v| {
            v["payload"] = json!(format!("{payload}\n"))
        }),
        ("payload is not base64", &|v| {
            v["payload"] = json!(format!("{payload}===="))
        }),
        ("payload is not base64", &|v| {
            v["payload"] = json!(format!("-_{}", &payload[2..]))
        }),
        ("0 signatures", &|v| v["signatures"] = json!([])),
        ("2 signatures", &|v| v["signatures"] = json!([one, one])),
        ("not valid", &|v| v["signatures"] = json!(one)),
        ("not valid", &|v| v["signatures"] = Value::Null),
        ("not valid", &|v| v["signatures"] = json!([[one]])),
        ("signature is not base64", &|v| {
            v["signatures"][0]["sig"] = json!(sig.trim_end_matches('='));
        }),
        // The same bytes, and bits behind them that nobody reads.
        ("signature is not base64", &|v| {
            let last = sig.len() - 3;
            let next = char::from(sig.as_bytes()[last] + 1);
            v["signatures"][0]["sig"] = json!(format!("{}{next}==", &sig[..last]));
        }),
        ("63 bytes", &|v| {
            let bytes = STANDARD.decode(&sig).unwrap();
            v["signatures"][0]["sig"] = json!(STANDARD.encode(&bytes[..63]));
        }),
        ("65 bytes", &|v| {
            let bytes = STANDARD.decode(&sig).unwrap();
            v["signatures"][0]["sig"] = json!(STANDARD.encode([&bytes[..], &[0]].concat()));
        }),
        ("none of the keys", &|v| {
            let mut bytes = STANDARD.decode(&sig).unwrap();
            bytes[0] ^= 1;
            v["signatures"][0]["sig"] = json!(STANDARD.encode(bytes));
        }),
        ("its keyid is \"sha256:other\"", &|v| {
            v["signatures"][0]["keyid"] = json!("sha256:other");
        }),
        ("its keyid is", &|v| {
            v["signatures"][0]["keyid"] = json!(keyid.to_uppercase())
        }),
        ("not valid", &|v| {
            v["signatures"][0].as_object_mut().unwrap().remove("keyid");
        }),
        ("not valid", &|v| v["note"] = json!("nobody signed this")),
        ("not valid", &|v| {
            v["signatures"][0]["note"] = json!("nor this")
        }),
    ];
    for (words, change) in cases {
        let said = changed(change);
        assert!(said.contains(words), "{words}: {said}");
    }
    let receipt = sealed(&own);
    let twice = receipt.replacen('{', "{\"payload\":\"\",", 1);
    assert!(fault(&twice, &own).contains("twice"));
    let spelled = receipt.replacen("payloadType", "payloadtype", 1);
    assert!(fault(&spelled, &own).contains("another spelling"));
    assert!(fault(&format!("{receipt}x"), &own).contains("trailing"));
    assert!(fault(&format!("[{receipt}]"), &own).contains("not valid"));
    assert!(fault("", &own).contains("not valid"));
    let deep = format!("{}{}", "{\"a\":".repeat(100), "1");
    assert!(fault(&deep, &own).contains("deeper"));
    let huge = format!("{receipt}{}", " ".repeat(MAX_RECEIPT));
    assert!(fault(&huge, &own).contains("bytes, more than"));
    let words = fault(&sealed(&key()), &own);
    assert!(words.contains("none of the keys \"own\""), "{words}");
    let error = read_receipt(receipt.as_bytes(), &[]).unwrap_err();
    assert_eq!(error, Fault::NoKey);
}

/// RFC 8032, section 5.1.7: S is below the order of the group, else there would be two signatures.
#[test]
fn a_signature_has_one_spelling() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let own = key();
    let mut receipt: Value = serde_json::from_str(&sealed(&own)).unwrap();
    let sig = receipt["signatures"][0]["sig"].as_str().unwrap();
    let mut bytes = STANDARD.decode(sig).unwrap();
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    receipt["signatures"][0]["sig"] = json!(STANDARD.encode(bytes));
    assert!(fault(&receipt.to_string(), &own).contains("none of the keys"));
}

/// Signed by the right key, and still not what a receipt is.
#[test]
fn a_statement_is_what_it_should_be() {
    let own = key();
    let payload = payload_of(&sealed(&own));
    let said = |payload: &str| fault(&envelope(payload, &own).to_string(), &own);
    for (words, from, to) in [
        ("a statement of type", "Statement/v1", "Statement/v0.1"),
        ("a statement of type", "Statement/v1", "Statement/v2"),
        (
            "a statement of \"urn:lazaret:report:2\"",
            "report:1\"",
            "report:2\"",
        ),
        (
            "a statement of",
            "urn:lazaret:report:1",
            "https://slsa.dev/provenance/v1",
        ),
        ("a report of form 2", "\"schema\": 1", "\"schema\": 2"),
        ("twice", "\"schema\": 1", "\"schema\": 1, \"schema\": 1"),
        ("twice", "\"subject\"", "\"subject\":[],\"subject\""),
        (
            "two things",
            image().hex().as_str(),
            Digest::of(OTHER).hex().as_str(),
        ),
        ("two things", "\"canonical\": \"b\"", "\"canonical\": \"x\""),
        ("two things", "\"name\":\"b\"", "\"name\":\"report\""),
        ("is no sha256", "\"sha256\":\"", "\"sha256\":\"0"),
        ("not valid", "\"sha256\"", "\"sha512\""),
        (
            "not valid",
            "\"subject\":[{",
            "\"subject\":[{\"uri\":\"x\",",
        ),
        ("not valid", "\"predicate\":", "\"note\":1,\"predicate\":"),
        ("not valid", "\"exit_code\": 7", "\"exit_code\": 256"),
        ("not valid", "\"ended\": \"exited\"", "\"ended\": null"),
    ] {
        let changed = payload.replacen(from, to, 1);
        assert_ne!(changed, payload, "{from}");
        let said = said(&changed);
        assert!(said.contains(words), "{from} {to}: {said}");
    }
    let mut statement: Value = serde_json::from_str(&payload).unwrap();
    statement["subject"] = json!([]);
    assert!(said(&statement.to_string()).contains("0 subjects"));
    statement["subject"] = json!([
        {"name": "b", "digest": {"sha256": image().hex()}},
        {"name": "c", "digest": {"sha256": image().hex()}},
    ]);
    assert!(said(&statement.to_string()).contains("2 subjects"));
    statement["predicate"] = json!([]);
    assert!(said(&statement.to_string()).contains("an array is not expected"));
    assert!(said("null").contains("not valid"));
}

/// Both ways: openssl takes ours, by its own reading of our keys, and we take what openssl made.
#[test]
fn openssl_agrees() {
    let pem = new_private_pem().unwrap();
    let own = SigningKey::from_pem("own", pem.as_bytes()).unwrap();
    let receipt: Value = serde_json::from_str(&sealed(&own)).unwrap();
    let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
    let folder = Folder::new();
    folder.write("message", &pae(&bytes(&receipt["payload"])));
    folder.write("sig", &bytes(&receipt["signatures"][0]["sig"]));
    folder.write("key.pub", own.public_pem.as_bytes());
    folder.write("key.pem", pem.as_bytes());
    openssl(
        &folder,
        "pkeyutl -verify -pubin -inkey key.pub -rawin -in message -sigfile sig",
    );
    // The same public half, byte by byte, and the fingerprint is what everybody computes.
    openssl(&folder, "pkey -in key.pem -pubout -out again.pub");
    assert_eq!(folder.read("again.pub"), own.public_pem.as_bytes());
    openssl(
        &folder,
        "pkey -in key.pem -pubout -outform DER -out key.der",
    );
    assert_eq!(Digest::of(&folder.read("key.der")), own.public.fingerprint);

    let theirs = Openssl::new(How::Ed25519);
    let as_ours = SigningKey::from_pem("theirs", &theirs.private).unwrap();
    let payload = payload_of(&sealed(&own));
    let mut made = envelope(&payload, &as_ours);
    let signature = theirs.sign(&pae(payload.as_bytes()));
    made["signatures"][0]["sig"] = json!(STANDARD.encode(signature));
    let public = Key::from_pem("theirs", &theirs.public).unwrap();
    let receipt = made.to_string();
    let read = read_receipt(receipt.as_bytes(), &[&public]).unwrap();
    assert_eq!(read.subject.1, image());
    // Another kind of key signs no receipt, though it be the right one.
    let p256 = Openssl::new(How::P256);
    let public = Key::from_pem("p256", &p256.public).unwrap();
    let error = read_receipt(receipt.as_bytes(), &[&public]).unwrap_err();
    assert_eq!(error, Fault::NoKey);
}
