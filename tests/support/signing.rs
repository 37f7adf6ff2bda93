//! Keys and signatures, made by openssl by hand.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lazaret-signing-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    /// Reads one.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Runs openssl in a folder. No argument has a blank.
pub fn openssl(folder: &Folder, arguments: &str) {
    let run = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(&folder.0)
        .output()
        .expect("openssl(1) is part of what the tests need: apt install openssl");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "openssl {arguments}: {said}");
}

/// A private key of openssl's.
pub struct Signer {
    how: How,
    /// Its private half, as PEM.
    pub private: Vec<u8>,
    /// Its public half, as PEM.
    pub public: Vec<u8>,
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// ECDSA over P-256 with SHA-256.
    P256,
    /// ECDSA over P-384 with SHA-384.
    P384,
    /// ECDSA over P-384 with SHA-256, as cosign makes it.
    P384Sha256,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits, PKCS#1 v1.5, SHA-256.
    Rsa,
    /// RSA of 2048 bits, PKCS#1 v1.5, SHA-512.
    RsaSha512,
    /// RSA of 3072 bits, PSS, SHA-384.
    RsaPss,
}

impl How {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::P256,
        Self::P384,
        Self::P384Sha256,
        Self::Ed25519,
        Self::Rsa,
        Self::RsaSha512,
        Self::RsaPss,
    ];
}

impl Signer {
    /// A fresh key.
    pub fn new(how: How) -> Self {
        let kind = match how {
            How::P256 => "EC -pkeyopt ec_paramgen_curve:P-256",
            How::P384 | How::P384Sha256 => "EC -pkeyopt ec_paramgen_curve:P-384",
            How::Ed25519 => "ED25519",
            How::Rsa | How::RsaSha512 => "RSA -pkeyopt rsa_keygen_bits:2048",
            How::RsaPss => "RSA -pkeyopt rsa_keygen_bits:3072",
        };
        Self::of(how, kind)
    }

    /// A fresh key of what `openssl genpkey -algorithm` calls so.
    pub fn of(how: How, kind: &str) -> Self {
        let folder = Folder::new();
        let genpkey = format!("genpkey -quiet -out key.pem -algorithm {kind}");
        openssl(&folder, &genpkey);
        openssl(&folder, "pkey -in key.pem -pubout -out key.pub");
        Self {
            how,
            private: folder.read("key.pem"),
            public: folder.read("key.pub"),
        }
    }

    /// The bytes of a signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        // Tests run side by side.
        let folder = Folder::new();
        folder.write("key.pem", &self.private);
        folder.write("message", message);
        let arguments = match self.how {
            How::P256 | How::P384Sha256 | How::Rsa => {
                "dgst -sha256 -sign key.pem -out signature message"
            }
            How::P384 => "dgst -sha384 -sign key.pem -out signature message",
            How::RsaSha512 => "dgst -sha512 -sign key.pem -out signature message",
            How::RsaPss => {
                "dgst -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -sign \
                 key.pem -out signature message"
            }
            How::Ed25519 => "pkeyutl -sign -inkey key.pem -rawin -in message -out signature",
        };
        openssl(&folder, arguments);
        folder.read("signature")
    }
}
