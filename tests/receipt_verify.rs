//! `lazaret receipt verify` on strangers' files, and other programs on ours.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::reports::{base64, folder, home, receipt as run, taken, verify};
use support::{Image, need, python, sha256};

/// Strangers' files end with words that a terminal can bear; what cannot be read is no verdict.
#[test]
fn receipts_of_strangers_are_checked_strictly() {
    need!("userns", "overlay", "openssl");
    let (home, stranger) = (home(), home());
    for home in [&home, &stranger] {
        let image = Image::toolbox().layout(home, "img");
        run(home, &[&image, "true"]).ok();
    }
    let good = std::fs::read_to_string(home.path("c.json")).unwrap();
    let theirs = std::fs::read_to_string(stranger.path("c.json")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(home.path(name), text).unwrap();
    put("theirs.json", &theirs);
    let ran = verify(&home, &["theirs.json"]).exits(1);
    assert!(ran.out().contains("NOT VALID: none of the keys"), "{ran}");
    // By their key it is theirs, and ours is not any more.
    let key = folder(&stranger).join("key.pub");
    let key = key.to_str().unwrap();
    verify(&home, &["--key", key, "theirs.json"]).ok();
    verify(&home, &["--key", key, "c.json"]).exits(1);
    let own = folder(&home).join("key.pub");
    let own = own.to_str().unwrap();
    verify(&home, &["--key", key, "--key", own, "c.json"]).ok();
    let payload = |text: &str| text.split('"').nth(7).unwrap().to_owned();
    for (name, text, why) in [
        ("empty", String::new(), "not valid"),
        (
            "swapped",
            good.replace(&payload(&good), &payload(&theirs)),
            "none of the keys",
        ),
        (
            "twice",
            good.replacen('{', "{\"payload\":\"\",", 1),
            "appears twice",
        ),
        (
            "more",
            good.replacen('{', "{\"\u{1b}[2Jx\":1,", 1),
            "not valid",
        ),
        (
            "type",
            good.replace("vnd.in-toto", "vnd.other\\u001b[2J"),
            "an envelope of",
        ),
        (
            "unsigned",
            format!(
                "{}\"signatures\":[]}}",
                good.split("\"signatures\"").next().unwrap()
            ),
            "0 signatures",
        ),
        ("deep", "[".repeat(100_000), "not valid"),
        (
            "huge",
            format!("{good}{}", " ".repeat(16 << 20)),
            "more than 16777216 bytes",
        ),
        ("report", "{\"schema\":1}".to_owned(), "not valid"),
    ] {
        put(name, &text);
        let ran = verify(&home, &[name]).exits(1);
        assert!(
            ran.out().starts_with(&format!("{name}: NOT VALID: ")),
            "{ran}"
        );
        assert!(ran.out().contains(why), "{ran}");
        assert!(!ran.out().contains('\u{1b}'), "{ran}");
        let told = verify(&home, &["--format", "json", name]).exits(1);
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(
            (&told["valid"], &told["key"]),
            (&json!(false), &Value::Null)
        );
        assert!(told["why"].as_str().unwrap().contains(why), "{told}");
    }
    // A name that words a verdict.
    let name = "x: valid\ny";
    put(name, "");
    let ran = verify(&home, &[name]).exits(1);
    assert_eq!(ran.out().lines().count(), 1, "{ran}");
    // A file without end is read no further than a receipt goes.
    verify(&home, &["/dev/zero"])
        .exits(1)
        .says("more than 16777216 bytes");
    for (words, why) in [
        (&["none.json"][..], "no such file or directory"),
        (&["."], "is a directory"),
        (&["--key", "none.pub", "c.json"], "--key: open"),
        (&["--key", "c.json", "c.json"], "it is not one PEM block"),
        (&["--key", "/dev/zero", "c.json"], "more than 16384"),
        (&["--image", "Bad Name", "c.json"], "Bad Name"),
        (&["--image", "sha256:00", "c.json"], "is not a digest"),
        (&[], "missing FILE|-"),
        (&["a", "b"], "one argument too many"),
    ] {
        let ran = verify(&home, words).exits(125);
        assert!(ran.err().contains(why), "{words:?}\n{ran}");
    }
    let private = folder(&home).join("key.pem");
    verify(&home, &["--key", private.to_str().unwrap(), "c.json"])
        .exits(125)
        .complains("a private key stands where a public one belongs");
    let rsa = home.path("p256.pem");
    let script = "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout -out p256.pem";
    home.program(Path::new("/bin/sh"), ["-c", script])
        .run()
        .ok();
    verify(&home, &["--key", rsa.to_str().unwrap(), "c.json"])
        .exits(125)
        .complains("is an ecdsa-p256 key");
    // Without a key of one's own there is nothing to check against, and none is made.
    std::fs::remove_dir_all(folder(&home)).unwrap();
    verify(&home, &["c.json"])
        .exits(125)
        .complains("you have no key for receipts");
    home.lazaret(["receipt", "key"])
        .run()
        .exits(125)
        .complains("you have no key for receipts");
    assert!(!folder(&home).exists());
    verify(&home, &["--key", key, "theirs.json"]).ok();
    home.clean();
}

/// openssl, over what DSSE says is signed (protocol.md, "PAE"), as this test puts it together.
#[test]
fn openssl_verifies_a_receipt() {
    need!("userns", "overlay", "openssl");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &[&image, "true"]).ok();
    let (envelope, _) = taken(&home.path("c.json"));
    let payload = base64(&envelope["payload"]);
    let kind = envelope["payloadType"].as_str().unwrap();
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    let message = [head.as_bytes(), &payload].concat();
    std::fs::write(home.path("sig"), base64(&envelope["signatures"][0]["sig"])).unwrap();
    let check = |message: &[u8]| {
        std::fs::write(home.path("message"), message).unwrap();
        let key = folder(&home).join("key.pub");
        let line = [
            "pkeyutl", "-verify", "-pubin", "-rawin", "-in", "message", "-sigfile", "sig", "-inkey",
        ];
        let line = line
            .iter()
            .map(std::ffi::OsStr::new)
            .chain([key.as_os_str()]);
        home.program(Path::new("/usr/bin/openssl"), line).run()
    };
    check(&message).ok();
    check(&[&message[..], b" "].concat()).exits(1);
    // The fingerprint is what everybody computes.
    let line = ["pkey", "-pubin", "-outform", "DER", "-in"].map(std::ffi::OsString::from);
    let key = folder(&home).join("key.pub").into_os_string();
    let der = home.program(Path::new("/usr/bin/openssl"), line.into_iter().chain([key]));
    let der = der.run().ok().stdout;
    assert_eq!(envelope["signatures"][0]["keyid"], sha256(&der));
    home.clean();
}

/// The library of in-toto's own reference implementation.
#[test]
fn securesystemslib_verifies_a_receipt() {
    need!("userns", "overlay", "securesystemslib");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &[&image, "true"]).ok();
    let script = r#"
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
text = json.load(open("c.json"))
keyid = text["signatures"][0]["keyid"]
key = SSlibKey.from_crypto(load_pem_public_key(open(sys.argv[1], "rb").read()), keyid=keyid)
envelope = Envelope.from_dict(text)
accepted = envelope.verify([key], 1)
assert list(accepted) == [keyid], accepted
statement = json.loads(envelope.payload)
print(statement["_type"], statement["predicate"]["ended"])
envelope.payload += b" "
try:
    envelope.verify([key], 1)
except VerificationError:
    print("changed: refused")
"#;
    std::fs::write(home.path("check.py"), script).unwrap();
    let key = folder(&home).join("key.pub");
    let line = [Path::new("check.py"), &key];
    home.program(&python(), line)
        .run()
        .ok()
        .prints("https://in-toto.io/Statement/v1 exited\nchanged: refused\n");
    home.clean();
}
