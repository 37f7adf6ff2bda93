//! Signatures, good and otherwise.

use super::authority::{self, Authority, Wish, envelope, message, of_key, pae, statement};
use super::scene::{self, BUNDLE, payload};
use super::signing::{How, Signer};
use super::support::sha256;
use super::{Case, Fault, Form, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::LazyLock;

const OTHER_IMAGE: &[u8] = b"another image";
const OTHER_REPOSITORY: &str = "registry.lab.example/other";
/// Whom the rule wants.
pub const WANTED: &str = "ana@lab.example";

/// Who signs.
pub struct Cast {
    p256: Signer,
    p384: Signer,
    ed25519: Signer,
    rsa: Signer,
    weak: Signer,
    /// No rule names it.
    stranger: Signer,
    /// Whom the rule of an earlier day wanted.
    pub earlier: Signer,
    authority: Authority,
    /// Its logs and identities are as good, and no rule names it.
    other_authority: Authority,
}

/// The same for all rows.
pub static CAST: LazyLock<Cast> = LazyLock::new(|| Cast {
    p256: Signer::new(How::P256),
    p384: Signer::new(How::P384),
    ed25519: Signer::new(How::Ed25519),
    rsa: Signer::new(How::Rsa),
    weak: Signer::of(How::Rsa, "RSA -pkeyopt rsa_keygen_bits:512"),
    stranger: Signer::new(How::P256),
    earlier: Signer::new(How::P256),
    authority: Authority::new(),
    other_authority: Authority::new(),
});

impl Cast {
    /// Whose key the rule names; a certificate's key is in no rule.
    pub fn signer(&self, key: Key) -> Option<&Signer> {
        match key {
            Key::P256 => Some(&self.p256),
            Key::P384 => Some(&self.p384),
            Key::Ed25519 => Some(&self.ed25519),
            Key::Rsa => Some(&self.rsa),
            Key::Weak => Some(&self.weak),
            Key::Identity => None,
        }
    }

    /// The trust root that the rule names.
    pub fn root(&self, fault: Fault) -> Value {
        match fault {
            // The logs are the signer's, and the authority is not.
            Fault::WrongKey => {
                let mut root = self.other_authority.root();
                let own = self.authority.root();
                root["certificateAuthorities"] = own["certificateAuthorities"].clone();
                root
            }
            _ => self.authority.root(),
        }
    }
}

/// A layer of what is attached.
pub struct Layer {
    pub media: &'static str,
    pub bytes: Vec<u8>,
    /// Where its form puts it there.
    pub signature: Option<String>,
}

impl Layer {
    /// Completes its descriptor.
    pub fn describe(&self, mut descriptor: Value) -> Value {
        descriptor["mediaType"] = json!(self.media);
        if let Some(signature) = &self.signature {
            descriptor["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        }
        descriptor
    }
}

/// What is attached to an image with this manifest in this repository, in the case that is tried.
pub fn made(case: &Case, manifest: &[u8], repository: &str) -> Vec<Layer> {
    let one = |fault| layer(&Case { fault, ..*case }, manifest, repository);
    match case.fault {
        Fault::NothingAttached => Vec::new(),
        Fault::OneOfTwo => vec![one(Fault::WrongKey), one(Fault::Nothing)],
        fault => vec![one(fault)],
    }
}

fn layer(case: &Case, manifest: &[u8], repository: &str) -> Layer {
    let image = match case.fault {
        Fault::WrongDigest => OTHER_IMAGE,
        _ => manifest,
    };
    let Some(signer) = CAST.signer(case.key) else {
        return in_bundle(keyless(case, image).to_string());
    };
    let signer = match case.fault {
        Fault::WrongKey => &CAST.stranger,
        _ => signer,
    };
    let sign = |text: &[u8]| spoilt(case.fault)(signer.sign(text));
    let twice = |text: String, name: &str, first: &str| match case.fault {
        Fault::Twice => twice(&text, name, first),
        _ => text,
    };
    match case.form {
        Form::Simple => {
            let repository = match case.fault {
                Fault::WrongRepository => OTHER_REPOSITORY,
                _ => repository,
            };
            let text = payload(&sha256(image), repository);
            let text = twice(text, "docker-manifest-digest", "\"sha256:0\"");
            Layer {
                media: scene::SIMPLE,
                signature: Some(STANDARD.encode(sign(text.as_bytes()))),
                bytes: text.into_bytes(),
            }
        }
        Form::Message => {
            let content = message(&authority::sha256(&[image]), &sign(image));
            let bundle = of_key("messageSignature", content).to_string();
            in_bundle(twice(bundle, "signature", "\"\""))
        }
        _ => {
            let text = statement(
                sha256(image).trim_start_matches("sha256:"),
                "https://sigstore.dev/cosign/sign/v1",
            );
            let text = twice(text, "subject", "[]");
            let signature = sign(&pae(text.as_bytes()));
            in_bundle(of_key("dsseEnvelope", envelope(text.as_bytes(), &signature)).to_string())
        }
    }
}

fn in_bundle(text: String) -> Layer {
    Layer {
        media: BUNDLE,
        bytes: text.into_bytes(),
        signature: None,
    }
}

/// A document with a name that is there twice, and at first of no good.
fn twice(text: &str, name: &str, first: &str) -> String {
    let name = format!("\"{name}\":");
    text.replacen(&name, &format!("{name}{first},{name}"), 1)
}

/// What becomes of a signature.
fn spoilt(fault: Fault) -> fn(Vec<u8>) -> Vec<u8> {
    match fault {
        Fault::Huge => |_| vec![0x30; 786_432],
        // The length of the sequence in two bytes, which BER permits and DER does not.
        Fault::Malleable => |mut signature| {
            signature.insert(1, 0x81);
            signature
        },
        _ => |signature| signature,
    }
}

fn keyless(case: &Case, image: &[u8]) -> Value {
    let mut wish = Wish::new(image);
    wish.spoilt = spoilt(case.fault);
    match case.fault {
        // Signed ten minutes after its last moment.
        Fault::Expired => wish.valid = (1200, -600),
        Fault::WrongIdentity => wish.identity = "bob@lab.example".to_owned(),
        Fault::Containing => wish.identity = format!("{WANTED}.evil.example"),
        Fault::Twice => wish.said = |text| twice(&text, "subject", "[]"),
        _ => {}
    }
    let by = match case.fault {
        Fault::WrongKey => &CAST.other_authority,
        _ => &CAST.authority,
    };
    let mut bundle = by.bundle(&wish);
    let entries = &mut bundle["verificationMaterial"]["tlogEntries"];
    match case.fault {
        Fault::NoLogEntry => *entries = json!([]),
        Fault::ForgedLogEntry => entries[0]["integratedTime"] = json!("1700000000"),
        _ => {}
    }
    bundle
}

/// A signature by the signer of an earlier day.
pub fn earlier(manifest: &[u8]) -> Vec<u8> {
    scene::bundle(&sha256(manifest), &CAST.earlier)
}
