//! What the client is told by whoever starts it: it reads no file and no environment of its own.

use crate::error::{Error, Kind, Result};
use crate::host::{Credential, Mirror};
use std::time::Duration;

/// How the client may speak to registries.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Registries (`host[:port]` as references name them) that may be spoken to without TLS,
    /// beside loopback. TLS is tried first all the same.
    pub plain_http: Vec<String>,
    /// Who to be, at one registry; everywhere else the client is anonymous.
    pub auth: Option<Auth>,
    /// Where to ask first, in this order, for what `registry` has; each anonymously, unless
    /// `mirror_auths` says otherwise.
    pub mirrors: Vec<Mirror>,
    /// Who to be at mirrors.
    pub mirror_auths: Vec<Auth>,
    /// Hosts (`host[:port]`) that may hand out tokens beside the registry's own domain.
    pub realms: Vec<String>,
    /// The proxy to use: `http[s]://[user:password@]host[:port]`.
    pub proxy: Option<String>,
    /// The proxy to use where a registry is spoken to without TLS.
    pub http_proxy: Option<String>,
    /// What is reached without the proxy, as `NO_PROXY` lists it; loopback always is.
    pub no_proxy: String,
    /// The certificates that servers are held against.
    pub roots: Roots,
    /// What the other side may ask of us.
    pub limits: Limits,
}

/// Credentials for one registry; `Debug` does not show the secret.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The registry that they are for: a reference's domain (`docker.io`).
    pub registry: String,
    /// What opens it; a token is a refresh token (distribution, docs/spec/auth/oauth.md).
    pub credential: Credential,
}

/// Root certificates as PEM bytes that the parent has read.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// The machine's own (`/etc/ssl/certs/ca-certificates.crt`): what cannot be parsed is passed
    /// over, as every other program on the machine does.
    pub platform: Vec<u8>,
    /// Those that the user named: each must be a certificate.
    pub extra: Vec<u8>,
}

/// What the other side may ask of us: sizes in bytes. More than 128 headers are never taken.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A manifest or an index.
    pub manifest: u64,
    /// A token server's answer.
    pub token: u64,
    /// All headers of one answer.
    pub headers: usize,
    /// A blob.
    pub blob: u64,
    /// Redirects of one request.
    pub redirects: u32,
    /// From the first packet to the end of the TLS handshake; name resolution has its own limits.
    pub connect: Duration,
    /// Without a single byte; and until an answer's headers are complete.
    pub stall: Duration,
    /// The body of a manifest, an index or a token.
    pub document: Duration,
    /// Bytes in a second that a blob brings at the least, over its whole length.
    pub slowest: u64,
    /// Further attempts after a 429, a 5xx or a broken connection.
    pub retries: u32,
    /// Before the first further attempt; doubled for each one after.
    pub pause: Duration,
    /// The longest pause, also where `Retry-After` wants a longer one: then the attempt is the last.
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: crate::image::MAX_DOCUMENT,
            token: 64 << 10,
            headers: 32 << 10,
            blob: 32 << 30,
            redirects: 5,
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            document: Duration::from_secs(60),
            slowest: 4 << 10,
            retries: 4,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// Certificates out of PEM bytes. `strict` refuses (`Usage`) bytes without any, and any that is none.
pub(super) fn certificates(
    pem: &[u8],
    strict: bool,
) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    let mut out = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => {
                let der = rustls::pki_types::CertificateDer::from(certificate.der());
                match rustls::RootCertStore::empty().add(der) {
                    Ok(()) => out.push(certificate),
                    Err(e) if strict => return Err(not_a_certificate(&e.to_string())),
                    Err(_) => {}
                }
            }
            Ok(_) if strict => return Err(not_a_certificate("it holds a private key")),
            Err(_) if strict => return Err(not_a_certificate("it is not PEM")),
            Ok(_) | Err(_) => {}
        }
    }
    match strict && out.is_empty() && !pem.is_empty() {
        true => Err(not_a_certificate("it holds none")),
        false => Ok(out),
    }
}

fn not_a_certificate(why: &str) -> Error {
    Error::new(
        Kind::Usage,
        format!("the certificate authority that was given cannot be used: {why}"),
    )
    .hint("it is a file of -----BEGIN CERTIFICATE----- blocks")
}
