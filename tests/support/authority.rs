//! A certificate authority, certificate log, transparency log and timestamp authority of the tests'
//! own: everything that a keyless sigstore bundle rests on, made anew at each start.
//!
//! Certificates are written byte by byte (ITU-T X.690, RFC 5280, RFC 6962), so that a test can ask
//! for one that no decent authority would issue; timestamps are made by openssl.

use super::signing::{Folder, openssl};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_KEY: &[u8] = &[0x55, 0x1d, 0x0e];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
/// 1.3.6.1.4.1.57264.1.8: the identity provider, as Fulcio writes it.
const ISSUER: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08];
/// 1.3.6.1.4.1.11129.2.4.2: signed certificate timestamps.
const SCTS: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];

/// An element in DER.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|b| **b == 0).count()..];
    let mut out = vec![tag];
    match content.len() {
        0..128 => out.push(u8::try_from(content.len()).unwrap()),
        _ => {
            out.push(0x80 | u8::try_from(length.len()).unwrap());
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

fn oid(bytes: &[u8]) -> Vec<u8> {
    tlv(0x06, &[bytes])
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    sequence(&[&oid(id), critical, &tlv(0x04, &[value])])
}

fn time(seconds: i64) -> Vec<u8> {
    let at = jiff::Timestamp::from_second(seconds).unwrap();
    let text = at.strftime("%Y%m%d%H%M%SZ").to_string();
    // UTCTime until 2049 (RFC 5280, section 4.1.2.5).
    tlv(0x17, &[&text.as_bytes()[2..]])
}

fn name(common: &str) -> Vec<u8> {
    match common {
        "" => sequence(&[]),
        common => {
            let text = tlv(0x0c, &[common.as_bytes()]);
            sequence(&[&tlv(0x31, &[&sequence(&[&oid(COMMON_NAME), &text])])])
        }
    }
}

/// The digest of some bytes one behind the other.
pub fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// An ECDSA P-256 key.
struct Pair {
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl Pair {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pkcs8 = pkcs8.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8).unwrap();
        Self { pkcs8, pair }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }

    fn spki(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        let algorithm = sequence(&[&oid(EC_PUBLIC_KEY), &oid(P256)]);
        sequence(&[&algorithm, &tlv(0x03, &[&[0], point])])
    }

    fn id(&self) -> Vec<u8> {
        sha256(&[&self.spki()])
    }
}

/// What a certificate says.
struct Certificate<'a> {
    issuer: &'a str,
    subject: &'a str,
    valid: (i64, i64),
    key: &'a Pair,
    extensions: Vec<Vec<u8>>,
}

impl Certificate<'_> {
    fn tbs(&self, more: &[&[u8]]) -> Vec<u8> {
        let algorithm = sequence(&[&oid(ECDSA_SHA256)]);
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = sequence(&[&extensions.concat(), &more.concat()]);
        sequence(&[
            &tlv(0xa0, &[&[0x02, 0x01, 0x02]]),
            &[0x02, 0x01, 0x2a],
            &algorithm,
            &name(self.issuer),
            &sequence(&[&time(self.valid.0), &time(self.valid.1)]),
            &name(self.subject),
            &self.key.spki(),
            &tlv(0xa3, &[&extensions]),
        ])
    }

    fn signed(&self, by: &Pair, more: &[&[u8]]) -> Vec<u8> {
        let tbs = self.tbs(more);
        let algorithm = sequence(&[&oid(ECDSA_SHA256)]);
        sequence(&[&tbs, &algorithm, &tlv(0x03, &[&[0], &by.sign(&tbs)])])
    }
}

/// What is signed, by whom, when.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Over a statement of this predicate type; `None`: over the manifest itself.
    pub predicate: Option<String>,
    /// An e-mail address, or a URI if it has a `:`.
    pub identity: String,
    /// The identity provider; empty: the certificate names none.
    pub issuer: String,
    /// When it is signed, in seconds since 1970.
    pub at: i64,
    /// How long before and after that the certificate is valid, in seconds.
    pub valid: (i64, i64),
    /// The log promises the time.
    pub promise: bool,
    /// A timestamp authority vouches for the present.
    pub timestamp: bool,
    /// The certificate was logged.
    pub logged: bool,
    /// The log is of rekor's second version, which promises nothing and knows no time.
    pub second_log: bool,
    /// What becomes of the statement before it is signed.
    pub said: fn(String) -> String,
    /// What becomes of the signature before it is logged.
    pub spoilt: fn(Vec<u8>) -> Vec<u8>,
}

impl Wish {
    /// An honest one over a statement, signed now.
    pub fn new(manifest: &[u8]) -> Self {
        Self {
            manifest: manifest.to_vec(),
            predicate: Some("https://sigstore.dev/cosign/sign/v1".to_owned()),
            identity: "ana@lab.example".to_owned(),
            issuer: "https://accounts.lab.example".to_owned(),
            at: jiff::Timestamp::now().as_second() - 60,
            valid: (300, 600),
            promise: true,
            timestamp: false,
            logged: true,
            second_log: false,
            said: |statement| statement,
            spoilt: |signature| signature,
        }
    }
}

/// The authorities.
pub struct Authority {
    ca: Pair,
    ct_log: Pair,
    log: Pair,
    tsa: Pair,
    ca_certificate: Vec<u8>,
    /// The timestamp authority's, and that of its root.
    tsa_certificates: [Vec<u8>; 2],
    from: i64,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Fresh ones.
    pub fn new() -> Self {
        let from = jiff::Timestamp::now().as_second() - 365 * 86_400;
        let valid = (from, from + 730 * 86_400);
        let root_of = |subject, key| {
            Certificate {
                issuer: subject,
                subject,
                valid,
                key,
                extensions: vec![
                    extension(BASIC_CONSTRAINTS, true, &sequence(&[&[1, 1, 0xff]])),
                    extension(KEY_USAGE, true, &[0x03, 0x02, 0x01, 0x06]),
                    extension(SUBJECT_KEY, false, &tlv(0x04, &[&key.id()[..20]])),
                ],
            }
            .signed(key, &[])
        };
        let (ca, tsa_ca, tsa) = (Pair::new(), Pair::new(), Pair::new());
        let usage = sequence(&[&oid(TIME_STAMPING)]);
        let of_tsa = Certificate {
            issuer: "test timestamp root",
            subject: "test timestamps",
            valid,
            key: &tsa,
            extensions: vec![
                extension(KEY_USAGE, true, &[0x03, 0x02, 0x07, 0x80]),
                extension(EXTENDED_KEY_USAGE, true, &usage),
            ],
        };
        Self {
            ca_certificate: root_of("test authority", &ca),
            tsa_certificates: [
                of_tsa.signed(&tsa_ca, &[]),
                root_of("test timestamp root", &tsa_ca),
            ],
            ca,
            ct_log: Pair::new(),
            log: Pair::new(),
            tsa,
            from,
        }
    }

    /// Its `trusted_root.json`.
    pub fn root(&self) -> Value {
        let start = jiff::Timestamp::from_second(self.from).unwrap().to_string();
        let log = |pair: &Pair, url: &str| {
            json!({
                "baseUrl": url, "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(pair.spki()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": { "start": start },
                },
                "logId": { "keyId": STANDARD.encode(pair.id()) },
            })
        };
        let authority = |certificates: &[Vec<u8>]| {
            let certificates = certificates.iter();
            let certificates = certificates.map(|c| json!({ "rawBytes": STANDARD.encode(c) }));
            json!({
                "subject": { "organization": "lab.example", "commonName": "test" },
                "uri": "https://lab.example",
                "certChain": { "certificates": certificates.collect::<Vec<_>>() },
                "validFor": { "start": start },
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log, "https://log.lab.example")],
            "certificateAuthorities": [authority(std::slice::from_ref(&self.ca_certificate))],
            "ctlogs": [log(&self.ct_log, "https://ct.lab.example")],
            "timestampAuthorities": [authority(&self.tsa_certificates)],
        })
    }

    /// A signer's certificate, and its key.
    fn certificate(&self, wish: &Wish) -> (Vec<u8>, Pair) {
        let key = Pair::new();
        let tag = if wish.identity.contains(':') {
            0x86
        } else {
            0x81
        };
        let san = sequence(&[&tlv(tag, &[wish.identity.as_bytes()])]);
        let mut extensions = vec![
            extension(KEY_USAGE, true, &[0x03, 0x02, 0x07, 0x80]),
            extension(EXTENDED_KEY_USAGE, false, &sequence(&[&oid(CODE_SIGNING)])),
            extension(SUBJECT_ALT_NAME, true, &san),
            extension(
                AUTHORITY_KEY,
                false,
                &sequence(&[&tlv(0x80, &[&self.ca.id()[..20]])]),
            ),
        ];
        if !wish.issuer.is_empty() {
            let issuer = tlv(0x0c, &[wish.issuer.as_bytes()]);
            extensions.push(extension(ISSUER, false, &issuer));
        }
        let certificate = Certificate {
            issuer: "test authority",
            subject: "",
            valid: (wish.at - wish.valid.0, wish.at + wish.valid.1),
            key: &key,
            extensions,
        };
        let der = match wish.logged {
            false => certificate.signed(&self.ca, &[]),
            true => {
                let scts = self.scts(&certificate.tbs(&[]), wish.at);
                certificate.signed(&self.ca, &[&extension(SCTS, false, &scts)])
            }
        };
        (der, key)
    }

    /// The certificate log's promise (RFC 6962, sections 3.2 and 3.3).
    fn scts(&self, tbs: &[u8], at: i64) -> Vec<u8> {
        let milliseconds = u64::try_from(at * 1000).unwrap().to_be_bytes();
        let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
        let signed = [
            &[0, 0][..],
            &milliseconds,
            &[0, 1],
            &self.ca.id(),
            &length[1..],
            tbs,
            &[0, 0],
        ]
        .concat();
        let signature = self.ct_log.sign(&signed);
        let two = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
        let sct = [
            &[0][..],
            &self.ct_log.id(),
            &milliseconds,
            &[0, 0],
            &[4, 3],
            &two(signature.len()),
            &signature,
        ]
        .concat();
        let list = [&two(sct.len())[..], &sct].concat();
        tlv(0x04, &[&two(list.len()), &list])
    }

    /// The log's entry (rekor, version 1), in a tree of two.
    fn entry(&self, kind: &str, body: &Value, wish: &Wish) -> Value {
        let body = body.to_string();
        let other = [7; 32];
        let leaf = sha256(&[&[0], body.as_bytes()]);
        let root = sha256(&[&[1], &leaf, &other]);
        let note = format!("log.lab.example - 1\n2\n{}\n", STANDARD.encode(&root));
        let signature = [&self.log.id()[..4], &self.log.sign(note.as_bytes())].concat();
        let checkpoint = format!(
            "{note}\n\u{2014} log.lab.example {}\n",
            STANDARD.encode(signature)
        );
        // RFC 8785: keys in order, no blanks.
        let promised = json!({
            "body": STANDARD.encode(&body), "integratedTime": wish.at,
            "logID": hex(&self.log.id()), "logIndex": 0,
        });
        let mut entry = json!({
            "logIndex": "0",
            "logId": { "keyId": STANDARD.encode(self.log.id()) },
            "kindVersion": { "kind": kind, "version": "0.0.1" },
            "integratedTime": wish.at.to_string(),
            "inclusionProof": {
                "logIndex": "0", "treeSize": "2", "rootHash": STANDARD.encode(&root),
                "hashes": [STANDARD.encode(other)],
                "checkpoint": { "envelope": checkpoint },
            },
            "canonicalizedBody": STANDARD.encode(&body),
        });
        if wish.second_log {
            entry["kindVersion"]["version"] = json!("0.0.2");
            entry.as_object_mut().unwrap().remove("integratedTime");
        } else if wish.promise {
            let promise = self.log.sign(promised.to_string().as_bytes());
            entry["inclusionPromise"] = json!({ "signedEntryTimestamp": STANDARD.encode(promise) });
        }
        entry
    }

    /// An RFC 3161 response over a signature, made by openssl.
    fn timestamp(&self, signature: &[u8]) -> Vec<u8> {
        let folder = Folder::new();
        let config = "[tsa]\ndefault_tsa = it\n[it]\nserial = serial\ndefault_policy = 1.2.3.4\n\
                      digests = sha256\nsigner_digest = sha256\ness_cert_id_alg = sha256\n\
                      accuracy = secs:1\n";
        folder.write("tsa.cnf", config.as_bytes());
        folder.write("serial", b"01\n");
        folder.write("signed", signature);
        folder.write(
            "tsa.pem",
            pem("CERTIFICATE", &self.tsa_certificates[0]).as_bytes(),
        );
        folder.write("tsa.key", pem("PRIVATE KEY", &self.tsa.pkcs8).as_bytes());
        openssl(&folder, "ts -query -data signed -sha256 -cert -out query");
        openssl(
            &folder,
            "ts -reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey tsa.key -out reply",
        );
        folder.read("reply")
    }

    /// A bundle as wished.
    pub fn bundle(&self, wish: &Wish) -> Value {
        let (certificate, key) = self.certificate(wish);
        let verifier = STANDARD.encode(pem("CERTIFICATE", &certificate));
        let digest = sha256(&[&wish.manifest]);
        let (signature, content, kind, body) = match &wish.predicate {
            None => {
                let signature = (wish.spoilt)(key.sign(&wish.manifest));
                let content = message(&digest, &signature);
                let body = json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                    "data": { "hash": { "algorithm": "sha256", "value": hex(&digest) } },
                    "signature": {
                        "content": STANDARD.encode(&signature),
                        "publicKey": { "content": verifier },
                    },
                }});
                (
                    signature,
                    ("messageSignature", content),
                    "hashedrekord",
                    body,
                )
            }
            Some(predicate) => {
                let payload = (wish.said)(statement(&hex(&digest), predicate));
                let signature = (wish.spoilt)(key.sign(&pae(payload.as_bytes())));
                let body = json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": {
                    "envelopeHash": { "algorithm": "sha256", "value": hex(&[0; 32]) },
                    "payloadHash": {
                        "algorithm": "sha256", "value": hex(&sha256(&[payload.as_bytes()])),
                    },
                    "signatures": [{
                        "signature": STANDARD.encode(&signature), "verifier": verifier,
                    }],
                }});
                let content = envelope(payload.as_bytes(), &signature);
                (signature, ("dsseEnvelope", content), "dsse", body)
            }
        };
        let body = match wish.second_log {
            true => second_body(wish, &certificate, content.1.clone()),
            false => body,
        };
        let mut bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": STANDARD.encode(&certificate) },
                "tlogEntries": [self.entry(kind, &body, wish)],
            },
        });
        bundle[content.0] = content.1;
        if wish.timestamp {
            let reply = STANDARD.encode(self.timestamp(&signature));
            bundle["verificationMaterial"]["timestampVerificationData"] =
                json!({ "rfc3161Timestamps": [{ "signedTimestamp": reply }] });
        }
        bundle
    }
}

/// What a log of rekor's second version says of a bundle's content (sigstore/rekor-tiles, entry.proto).
fn second_body(wish: &Wish, certificate: &[u8], content: Value) -> Value {
    let verifier = json!({
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": { "rawBytes": STANDARD.encode(certificate) },
    });
    let hash = |bytes: &[u8]| json!({ "algorithm": "SHA2_256", "digest": STANDARD.encode(sha256(&[bytes])) });
    match &wish.predicate {
        None => {
            json!({ "apiVersion": "0.0.2", "kind": "hashedrekord", "spec": { "hashedRekordV002": {
                "data": hash(&wish.manifest),
                "signature": { "content": content["signature"], "verifier": verifier },
            }}})
        }
        Some(_) => {
            let payload = STANDARD
                .decode(content["payload"].as_str().unwrap())
                .unwrap();
            json!({ "apiVersion": "0.0.2", "kind": "dsse", "spec": { "dsseV002": {
                "payloadHash": hash(&payload),
                "signatures": [{ "content": content["signatures"][0]["sig"], "verifier": verifier }],
            }}})
        }
    }
}

/// An in-toto statement about one digest, in hexadecimal.
pub fn statement(hex: &str, predicate: &str) -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "image", "digest": { "sha256": hex } }],
        "predicateType": predicate,
        "predicate": { "Nested": [[1], [[2]]] },
    })
    .to_string()
}

/// What is signed of an envelope (DSSE, protocol.md).
pub fn pae(payload: &[u8]) -> Vec<u8> {
    let kind = "application/vnd.in-toto+json";
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// A DSSE envelope.
pub fn envelope(payload: &[u8], signature: &[u8]) -> Value {
    json!({
        "payloadType": "application/vnd.in-toto+json",
        "payload": STANDARD.encode(payload),
        "signatures": [{ "sig": STANDARD.encode(signature) }],
    })
}

/// A signature over a manifest itself.
pub fn message(digest: &[u8], signature: &[u8]) -> Value {
    json!({
        "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
        "signature": STANDARD.encode(signature),
    })
}

/// A bundle by a key that it names by a hint.
pub fn of_key(content: &str, value: Value) -> Value {
    let mut bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "lab" } },
    });
    bundle[content] = value;
    bundle
}
