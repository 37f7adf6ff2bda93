//! What went wrong between us and a registry, in words that say what to do.

use super::origin::Origin;
use crate::error::{Error, Kind};
use crate::image::json::{self, Document};
use crate::image::quote::{plain, quoted};
use std::io::ErrorKind;
use ureq::Timeout;

/// A failed exchange, by what it means for the next attempt.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The other side does not speak TLS, or closed the connection before it did.
    NoTls(Error),
    /// The connection broke: another attempt may do better.
    Broken(Error),
    /// Another attempt would end as this one.
    Final(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Trouble {
    /// The error itself.
    pub(super) fn error(self) -> Error {
        match self {
            Self::NoTls(error) | Self::Broken(error) | Self::Final(error) => error,
        }
    }
}

/// How far an exchange had come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Up to the end of the headers.
    Head,
    /// While the body came.
    Body,
}

/// What ureq's error means. `at` is whom we were speaking to.
pub(super) fn transport(at: &Origin, stage: Stage, error: ureq::Error) -> Trouble {
    let registry = |cause: String| Error::new(Kind::Registry, format!("{at}: {cause}"));
    match error {
        ureq::Error::Io(e) => io(at, &e),
        ureq::Error::Rustls(e) => tls(at, &e),
        ureq::Error::Timeout(Timeout::PerRead) if stage == Stage::Body => {
            Trouble::Broken(registry("the connection stalled".into()))
        }
        ureq::Error::Timeout(Timeout::RecvBody) => Trouble::Final(too_slow(at)),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => Trouble::Final(
            registry("it cannot be reached in time".into())
                .hint("check the name, the network and the proxy"),
        ),
        ureq::Error::Timeout(_) => {
            Trouble::Final(registry("it does not answer in time".into()).hint("try again later"))
        }
        // Our own words, from inside the resolver.
        ureq::Error::Other(e) if e.is::<Error>() => Trouble::Final(match e.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => registry(plain(&other.to_string())),
        }),
        ureq::Error::HostNotFound => Trouble::Final(no_such_host(at, "no address has this name")),
        ureq::Error::LargeResponseHeader(_, most) => Trouble::Final(Error::new(
            Kind::Limit,
            format!("{at}: the headers of its answer are larger than {most} bytes"),
        )),
        ureq::Error::Protocol(e) => {
            let text = e.to_string();
            Trouble::Final(Error::new(
                match text.contains("too many headers") {
                    true => Kind::Limit,
                    false => Kind::Malformed,
                },
                format!("{at}: its answer is not HTTP/1.1: {}", plain(&text)),
            ))
        }
        ureq::Error::ConnectProxyFailed(why) => Trouble::Final(
            registry(format!("the proxy did not connect to it: {}", plain(&why)))
                .hint("check HTTPS_PROXY and NO_PROXY"),
        ),
        other => Trouble::Final(registry(plain(&other.to_string()))),
    }
}

/// A proxy that nobody is.
pub(super) fn no_proxy_there(at: &Origin, error: &std::io::Error) -> Error {
    let told = error.raw_os_error().map(crate::error::strerror);
    Error {
        errno: error.raw_os_error(),
        ..Error::new(
            Kind::Registry,
            format!(
                "{at}: connect to the proxy: {}",
                told.unwrap_or("connection refused".into())
            ),
        )
    }
    .hint("check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
}

/// An answer that drips.
pub(super) fn too_slow(at: &Origin) -> Error {
    Error::new(Kind::Registry, format!("{at}: the answer comes too slowly"))
        .hint("try again later, or over another network")
}

fn io(at: &Origin, error: &std::io::Error) -> Trouble {
    // rustls' own words travel inside an io::Error.
    if let Some(inner) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return tls(at, inner);
    }
    let told = match error.raw_os_error() {
        Some(errno) => crate::error::strerror(errno).into_owned(),
        None => plain(&error.to_string()),
    };
    let failed = |cause: String| Error {
        errno: error.raw_os_error(),
        ..Error::new(Kind::Registry, format!("{at}: {cause}"))
    };
    match error.kind() {
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => {
            Trouble::Broken(failed("it closed the connection in the middle".into()))
        }
        ErrorKind::ConnectionRefused => Trouble::Final(
            failed(format!("connect: {told}")).hint("nothing listens there: check the port"),
        ),
        _ => Trouble::Final(failed(told).hint("check the name, the network and the proxy")),
    }
}

fn tls(at: &Origin, error: &rustls::Error) -> Trouble {
    use rustls::CertificateError as Bad;
    let failed = |cause: String| Error::new(Kind::Registry, format!("{at}: {cause}"));
    let certificate =
        |why: &str, hint: &str| Trouble::Final(failed(format!("its certificate {why}")).hint(hint));
    match error {
        rustls::Error::InvalidMessage(_) => {
            Trouble::NoTls(failed("it does not speak TLS".into()).hint(super::origin::PLAIN_HINT))
        }
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => certificate(
            "is signed by nobody that is trusted here",
            "put the registry's certificate authority into the machine's store, or its file into the \
             variable SSL_CERT_FILE; without ca-certificates nobody is trusted",
        ),
        rustls::Error::InvalidCertificate(
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. },
        ) => certificate(
            "is not valid now",
            "check this machine's clock; otherwise the registry must renew it",
        ),
        rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        ) => certificate(
            "is for another name",
            "check the name: somebody else may be answering",
        ),
        other => Trouble::Final(failed(format!("TLS failed: {}", plain(&other.to_string())))),
    }
}

/// A name that leads nowhere.
pub(super) fn no_such_host(at: &Origin, why: &str) -> Error {
    Error::new(Kind::Registry, format!("{at}: no address: {}", plain(why)))
        .hint("check the registry's name and this machine's name resolution")
}

/// What an answer other than the wished one means. `what` is what was asked for, in the user's
/// words; `domain` the registry as the user names it; `body` the beginning of what came.
pub(super) fn status(
    at: &Origin,
    domain: &str,
    what: &str,
    status: u16,
    html: bool,
    body: &[u8],
) -> Error {
    let said = said(body).map_or(String::new(), |said| format!(" ({said})"));
    let error =
        |kind, cause: &str| Error::new(kind, format!("{what}: {at} {cause}: {status}{said}"));
    match status {
        401 => error(Kind::Credentials, "wants a valid login").hint(format!(
            "check the name; if the image is private: lazaret login {domain}"
        )),
        403 => error(Kind::Credentials, "refuses it").hint(format!(
            "whoever is logged in may not read this: lazaret login {domain}"
        )),
        404 => error(Kind::NotFound, "has no such thing")
            .hint("check the name and the tag; private images may look like this too"),
        407 => error(Kind::Registry, "is behind a proxy that wants credentials")
            .hint("put them into the proxy's address: http://user:password@proxy:port"),
        413 => error(Kind::Limit, "does not take it, for its size")
            .hint("whoever runs the registry, or the proxy before it, sets that limit"),
        429 => error(Kind::Registry, "has had too many requests").hint(format!(
            "wait some minutes; lazaret login {domain} often allows more"
        )),
        _ if html => page(at, what),
        500..=599 => error(Kind::Registry, "is in trouble").hint("try again later"),
        _ => error(Kind::Registry, "gives an answer that is none"),
    }
}

/// An html page where an image is expected.
pub(super) fn page(at: &Origin, what: &str) -> Error {
    Error::new(
        Kind::Registry,
        format!("{what}: {at} answers with a web page"),
    )
    .hint("a network that wants a login, or no registry: open the address in a browser")
}

const ERRORS: Document = Document {
    what: "error",
    max_bytes: 16 << 10,
    names: &["errors", "code", "message", "detail"],
    objects: &[],
    list: false,
    free: &["detail"],
};

#[derive(serde::Deserialize)]
struct Errors {
    errors: Vec<Said>,
}

#[derive(serde::Deserialize)]
struct Said {
    code: String,
    #[serde(default)]
    message: String,
}

/// The first error of a registry's own (OCI distribution-spec, "Error codes"), quoted.
fn said(body: &[u8]) -> Option<String> {
    let errors: Errors = json::gate(body, &ERRORS).ok()?.read().ok()?;
    let first = errors.errors.first()?;
    Some(match first.message.is_empty() {
        true => quoted(&first.code),
        false => format!("{}: {}", plain(&first.code), quoted(&first.message)),
    })
}
