//! One request and its answer: limits, times, and redirects that we follow ourselves, because who
//! gets credentials is decided at each of them.

use super::failure::{Stage, Trouble, no_proxy_there, no_such_host, transport};
use super::options::{Limits, Options, certificates};
use super::origin::{NoProxy, Origin, address, redirected};
use crate::error::{Error, Kind, Result};
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RANGE,
};
use ureq::http::{HeaderMap, HeaderName, Request, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody, Body, Proxy};

/// How long a failure is listened to for its reason.
const EXPLANATION: Duration = Duration::from_secs(2);

/// What is sent, beside where to.
#[derive(Clone, Copy, Default)]
pub(super) struct Ask<'a> {
    pub(super) accept: &'a str,
    /// Sent to the first origin and, once a redirect has left it, to nobody.
    pub(super) authorization: Option<&'a str>,
    /// HEAD: the headers alone.
    pub(super) head: bool,
    /// The first byte wanted of a body.
    pub(super) from: Option<u64>,
    /// How long the whole body may take, if not as long as a document.
    pub(super) body: Option<Duration>,
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) origin: Origin,
    /// Whether `origin` was asked, not led to.
    pub(super) own: bool,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The client's connections.
#[derive(Debug)]
pub(super) struct Http {
    direct: Agent,
    proxied: Option<Agent>,
    proxied_plain: Option<Agent>,
    no_proxy: NoProxy,
    plain: Vec<String>,
    limits: Limits,
}

impl Http {
    /// Errors: `Usage` for a proxy or a certificate that is none.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let mut roots = certificates(&options.roots.platform, false)?;
        roots.extend(certificates(&options.roots.extra, true)?);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let limits = &options.limits;
        let agent = |proxy: Option<Proxy>| {
            let config = Agent::config_builder()
                // Set in any case: ureq's own default is what the environment says.
                .proxy(proxy)
                .tls_config(tls.clone())
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("lazaret/", env!("CARGO_PKG_VERSION")))
                .max_response_header_size(limits.headers)
                .timeout_connect(Some(limits.connect))
                .timeout_send_request(Some(limits.stall))
                .timeout_send_body(Some(limits.stall))
                .timeout_recv_response(Some(limits.stall))
                .timeout_recv_body(Some(limits.document))
                .timeout_per_read(Some(limits.stall))
                .timeout_per_write(Some(limits.stall))
                .build();
            Agent::with_parts(config, DefaultConnector::default(), Names)
        };
        let proxied = options.proxy.as_deref().map(proxy).transpose()?;
        let plain = options.http_proxy.as_deref().map(proxy).transpose()?;
        Ok(Self {
            direct: agent(None),
            proxied: proxied.map(|proxy| agent(Some(proxy))),
            proxied_plain: plain.map(|proxy| agent(Some(proxy))),
            no_proxy: NoProxy::parse(&options.no_proxy),
            plain: options.plain_http.clone(),
            limits: limits.clone(),
        })
    }

    /// Whether a registry or the target of a redirect may be spoken to without TLS.
    pub(super) fn may_be_plain(&self, domain: &str, origin: &Origin) -> bool {
        origin.is_loopback() || self.plain.iter().any(|plain| plain == domain)
    }

    /// GETs (or HEADs) `url` and follows redirects.
    pub(super) fn get(&self, url: &Uri, ask: Ask<'_>) -> std::result::Result<Reply, Trouble> {
        let first = origin(url)?;
        let (mut at, mut url, mut own) = (first.clone(), url.clone(), true);
        for _ in 0..=self.limits.redirects {
            let ask = Ask {
                authorization: ask.authorization.filter(|_| own),
                ..ask
            };
            let mut request = match ask.head {
                true => Request::head(&url),
                false => Request::get(&url),
            };
            for (name, value) in ask.headers() {
                request = request.header(name, value);
            }
            let reply = self.send(&at, request.body(()), own, ask.body)?;
            if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(reply);
            }
            let location = reply
                .headers
                .get(LOCATION)
                .map_or(&b""[..], |l| l.as_bytes());
            let plain = |to: &Origin| self.may_be_plain(&to.domain(), to);
            (url, at) = redirected(&first, &at, location, plain)?;
            // Who has been led elsewhere does not come back with credentials.
            own &= at == first;
        }
        Err(Trouble::Final(Error::new(
            Kind::Limit,
            format!(
                "{first}: it redirects more than {} times",
                self.limits.redirects
            ),
        )))
    }

    /// Sends one request and reads the answer's headers; follows nothing. `own` and `time` are as
    /// in [`Reply`] and [`Ask`].
    pub(super) fn send<B: AsSendBody>(
        &self,
        at: &Origin,
        request: ureq::http::Result<Request<B>>,
        own: bool,
        time: Option<Duration>,
    ) -> std::result::Result<Reply, Trouble> {
        let request = request
            .map_err(|e| Error::new(Kind::Registry, format!("{at}: cannot be asked this: {e}")))?;
        let (agent, proxied) = self.agent(at);
        let answer = match time {
            None => agent.run(request),
            Some(_) => agent.run(
                agent
                    .configure_request(request)
                    .timeout_recv_body(time)
                    .build(),
            ),
        };
        Self::reply(at, own, proxied, answer)
    }

    /// Sends one request whose body may take `there`, and whose answer `back`; follows nothing.
    pub(super) fn upload<B: AsSendBody>(
        &self,
        at: &Origin,
        request: ureq::http::Result<Request<B>>,
        there: Duration,
        back: Duration,
    ) -> std::result::Result<Reply, Trouble> {
        let request = request
            .map_err(|e| Error::new(Kind::Registry, format!("{at}: cannot be told this: {e}")))?;
        let (agent, proxied) = self.agent(at);
        let request = agent
            .configure_request(request)
            .timeout_send_body(Some(there))
            .timeout_recv_response(Some(back))
            .build();
        Self::reply(at, true, proxied, agent.run(request))
    }

    /// What speaks to `at`, and whether it goes through a proxy.
    fn agent(&self, at: &Origin) -> (&Agent, bool) {
        let proxied = match at.https {
            true => &self.proxied,
            false => &self.proxied_plain,
        };
        match proxied {
            Some(proxied) if !self.no_proxy.covers(at) => (proxied, true),
            _ => (&self.direct, false),
        }
    }

    fn reply(
        at: &Origin,
        own: bool,
        proxied: bool,
        answer: std::result::Result<ureq::http::Response<Body>, ureq::Error>,
    ) -> std::result::Result<Reply, Trouble> {
        let (head, body) = answer
            .map_err(|e| match e {
                ureq::Error::Io(e) if proxied && e.kind() == ErrorKind::ConnectionRefused => {
                    Trouble::Final(no_proxy_there(at, &e))
                }
                e => transport(at, Stage::Head, e),
            })?
            .into_parts();
        // The bytes that are hashed are those that were named, not what they unpack to.
        if let Some(coding) = head.headers.get(CONTENT_ENCODING)
            && coding != "identity"
        {
            return Err(Trouble::Final(Error::new(
                Kind::Malformed,
                format!("{at}: its answer is encoded, which was not asked for"),
            )));
        }
        Ok(Reply {
            origin: at.clone(),
            own,
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }
}

impl Ask<'_> {
    fn headers(&self) -> impl Iterator<Item = (HeaderName, String)> {
        let range = self.from.map(|from| format!("bytes={from}-"));
        [
            (ACCEPT, Some(self.accept.to_owned())),
            (ACCEPT_ENCODING, Some("identity".to_owned())),
            (AUTHORIZATION, self.authorization.map(str::to_owned)),
            (RANGE, range),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

impl Reply {
    /// A header's text; empty where it is not there, repeated or not text.
    pub(super) fn header(&self, name: impl ureq::http::header::AsHeaderName) -> &str {
        let mut all = self.headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (Some(value), None) => value.to_str().unwrap_or_default(),
            _ => "",
        }
    }

    /// The media type, without parameters.
    pub(super) fn media_type(&self) -> &str {
        let value = self.header(CONTENT_TYPE);
        value.split(';').next().unwrap_or_default().trim()
    }

    /// Whether the body is a web page.
    pub(super) fn is_page(&self) -> bool {
        self.media_type().eq_ignore_ascii_case("text/html")
    }

    /// The whole body, of at most `max` bytes.
    pub(super) fn read(self, max: u64, what: &str) -> std::result::Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let mut reader = self.body.into_reader().take(max.saturating_add(1));
        reader
            .read_to_end(&mut bytes)
            .map_err(|e| transport(&self.origin, Stage::Body, e.into()))?;
        match u64::try_from(bytes.len()) {
            Ok(len) if len <= max => Ok(bytes),
            _ => Err(Trouble::Final(Error::new(
                Kind::Limit,
                format!("{}: the {what} is larger than {max} bytes", self.origin),
            ))),
        }
    }

    /// The beginning of a body that explains a failure; what cannot be read of it, or does not come
    /// at once, explains nothing.
    pub(super) fn explanation(self) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4 << 10]);
        let mut reader = self.body.into_reader().take(16 << 10);
        let begun = Instant::now();
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return bytes,
                Ok(read) if begun.elapsed() < EXPLANATION => {
                    bytes.extend_from_slice(&buffer[..read]);
                }
                Ok(_) | Err(_) => return Vec::new(),
            }
        }
    }
}

/// The origin of an address that we made ourselves or have judged.
pub(super) fn origin(url: &Uri) -> Result<Origin> {
    Origin::of(url).ok_or_else(|| Error::new(Kind::Registry, "this is no http or https address"))
}

fn proxy(text: &str) -> Result<Proxy> {
    // Its text may hold a password: it is not shown.
    let refused = || {
        Error::new(
            Kind::Usage,
            "the proxy that was given is no proxy's address",
        )
        .hint("it is http://[user:password@]host:port; https and no scheme are taken too")
    };
    let proxy = Proxy::new(text).map_err(|_| refused())?;
    match proxy.protocol() {
        ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https => Ok(proxy),
        _ => Err(Error::new(
            Kind::Unsupported,
            "only http and https proxies are spoken to",
        )
        .hint("see https_proxy, http_proxy and all_proxy in the environment")),
    }
}

/// Name resolution by libc, on this very thread: ureq's own starts another one to give up early.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let mut url = uri.clone().into_parts();
        // A proxy's address may carry credentials, which are no part of whom to connect to.
        if let Some(authority) = &url.authority
            && let Some((_, host)) = authority.as_str().rsplit_once('@')
        {
            url.authority = Some(host.parse().map_err(|_| ureq::Error::HostNotFound)?);
        }
        let at = Uri::from_parts(url)
            .ok()
            .as_ref()
            .and_then(Origin::of)
            .ok_or(ureq::Error::HostNotFound)?;
        let mut out = self.empty();
        let mut push = |address: SocketAddr| {
            if out.len() < 16 {
                out.push(address);
            }
        };
        if at.host == "localhost" {
            push((Ipv4Addr::LOCALHOST, at.port).into());
            push((Ipv6Addr::LOCALHOST, at.port).into());
        } else if let Some(address) = address(&at.host) {
            push((address, at.port).into());
        } else {
            (at.host.as_str(), at.port)
                .to_socket_addrs()
                .map_err(|e| {
                    let error = no_such_host(&at, &e.to_string());
                    ureq::Error::Other(Box::new(error))
                })?
                .for_each(push);
        }
        match out.is_empty() {
            true => Err(ureq::Error::HostNotFound),
            false => Ok(out),
        }
    }
}
