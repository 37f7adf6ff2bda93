//! Who is on the other side: scheme, host and port (RFC 6454), where a redirect may lead, and what
//! is reached without a proxy.

use crate::error::{Error, Kind, Result};
use crate::image::quote::quoted;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ureq::http::Uri;

/// The longest address that is followed; object stores sign theirs with one or two kilobytes.
const MAX_URL: usize = 8192;

/// Scheme, host and port: the unit that credentials belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) https: bool,
    /// In lower case; an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// The origin of an absolute http or https address without user information.
    pub(super) fn of(url: &Uri) -> Option<Self> {
        let https = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = url.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let default = if https { 443 } else { 80 };
        // `host:` and `host:99999` are not addresses: the port is there and is none.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => default,
            _ => authority.port_u16()?,
        };
        Some(Self {
            https,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }

    /// The origin of a registry as references name it, with where docker.io really is.
    pub(super) fn registry(domain: &str, https: bool) -> Option<Self> {
        let host = match domain {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let scheme = if https { "https" } else { "http" };
        Self::of(&format!("{scheme}://{host}/").parse().ok()?)
    }

    /// The address of a path at this origin.
    pub(super) fn url(&self, path: &str) -> Option<Uri> {
        format!("{self}{path}").parse().ok()
    }

    /// `host`, or `host:port` where the port is not the scheme's own.
    pub(super) fn domain(&self) -> String {
        match (self.https, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.domain())
    }
}

/// The address in a host, where it is one and not a name.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Whether a host is this machine. `localhost` is never looked up (RFC 6761, section 6.3).
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(|address| address.to_canonical().is_loopback())
}

/// Where a `Location` leads from `from`, which is where the redirects that began at `first` stand.
/// Never from https to http, never from elsewhere into this machine (what listens on loopback
/// trusts who can reach it), and to plain http only where `plain` allows it.
pub(super) fn redirected(
    first: &Origin,
    from: &Origin,
    location: &[u8],
    plain: impl Fn(&Origin) -> bool,
) -> Result<(Uri, Origin)> {
    let refused = |why: &str| {
        Error::new(
            Kind::Registry,
            format!("{first}: a redirect from {from} is not followed: {why}"),
        )
    };
    let text = std::str::from_utf8(location)
        .ok()
        .filter(|text| text.len() <= MAX_URL && text.bytes().all(|b| b.is_ascii_graphic()))
        .ok_or_else(|| refused("it leads to no address"))?;
    let text = text.split('#').next().unwrap_or_default();
    let scheme = if from.https { "https" } else { "http" };
    let absolute = match text {
        t if t.starts_with("//") => format!("{scheme}:{t}"),
        t if t.starts_with('/') => format!("{from}{t}"),
        t => t.to_owned(),
    };
    let url: Uri = absolute
        .parse()
        .map_err(|_| refused("it leads to no address"))?;
    let to = Origin::of(&url).ok_or_else(|| refused("it leads to no http or https address"))?;
    if from.https && !to.https {
        return Err(refused(&format!("{} has no TLS", quoted(&to.domain()))));
    }
    if !to.https && !plain(&to) {
        return Err(refused(&format!("{} has no TLS", quoted(&to.domain()))).hint(PLAIN_HINT));
    }
    if to.is_loopback() && !first.is_loopback() {
        return Err(refused("it leads into this machine"));
    }
    Ok((url, to))
}

/// How plain http is allowed for one registry: by a flag, which not every verb has, or by the file. No
/// name: it may be one that a registry wants to be pasted.
pub(super) const PLAIN_HINT: &str = "plain http for one registry: --insecure-registry HOST[:PORT], or \
     plain_http = true for it in registries.toml";

/// What is reached without the proxy: `NO_PROXY` as curl and Go read it.
#[derive(Debug, Clone, Default)]
pub(super) struct NoProxy(Vec<String>);

impl NoProxy {
    /// Entries separated by commas or spaces: `*`, a name (also what is below it), `.name` (only
    /// what is below it), an address or a network in CIDR notation, each with or without a port.
    pub(super) fn parse(text: &str) -> Self {
        let entries = text.split([',', ' ']).filter(|entry| !entry.is_empty());
        Self(entries.map(str::to_ascii_lowercase).collect())
    }

    /// Whether `origin` is reached without the proxy. Loopback always is.
    pub(super) fn covers(&self, origin: &Origin) -> bool {
        origin.is_loopback() || self.0.iter().any(|entry| covers(entry, origin))
    }
}

fn covers(entry: &str, origin: &Origin) -> bool {
    if entry == "*" {
        return true;
    }
    let host = address(&origin.host);
    if let Some((network, bits)) = entry.split_once('/') {
        return match (host, network.parse(), bits.parse()) {
            (Some(host), Ok(network), Ok(bits)) => within(host, network, bits),
            _ => false,
        };
    }
    if let (Some(host), Ok(entry)) = (host, entry.parse::<IpAddr>()) {
        return host == entry;
    }
    let name = match entry.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            if port.parse() != Ok(origin.port) {
                return false;
            }
            name
        }
        _ => entry,
    };
    if host.is_some() {
        return address(name) == host;
    }
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(parent) => is_below(&origin.host, parent),
        None => origin.host == name || is_below(&origin.host, name),
    }
}

/// Whether `host` is a name below `parent`.
pub(super) fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.') && !parent.is_empty())
}

fn within(host: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (host, network, width) = match (host, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    match bits {
        0 => true,
        bits if bits <= width => host >> (width - bits) == network >> (width - bits),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(
            origin("https://A.example/x"),
            origin("https://a.example:443/y")
        );
        assert_ne!(origin("https://a.example/"), origin("http://a.example/"));
        assert_ne!(
            origin("https://a.example/"),
            origin("https://a.example:444/")
        );
        assert_eq!(
            origin("http://[::1]:5000/").to_string(),
            "http://[::1]:5000"
        );
        assert_eq!(
            Origin::registry("docker.io", true).unwrap().to_string(),
            "https://registry-1.docker.io"
        );
        for bad in [
            "ftp://a/",
            "https://u@a/",
            "https://u:p@a/",
            "/x",
            "https://a:99999/",
        ] {
            let url: std::result::Result<Uri, _> = bad.parse();
            assert!(url.ok().and_then(|url| Origin::of(&url)).is_none(), "{bad}");
        }
        for (host, is) in [
            ("localhost", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), is, "{host}");
        }
    }

    #[test]
    fn redirects_lead_where_they_may() {
        let to = |from: &str, location: &str| {
            let from = origin(from);
            redirected(&from, &from, location.as_bytes(), |to| to.is_loopback())
                .map(|(url, _)| url.to_string())
        };
        for (from, location, url) in [
            ("https://r.example", "/x?y#z", "https://r.example/x?y"),
            ("https://r.example", "//c.example/x", "https://c.example/x"),
            (
                "https://r.example",
                "https://c.example/",
                "https://c.example/",
            ),
            (
                "http://localhost:1",
                "http://127.0.0.1:2/",
                "http://127.0.0.1:2/",
            ),
            (
                "http://localhost:1",
                "https://r.example/",
                "https://r.example/",
            ),
        ] {
            assert_eq!(to(from, location).unwrap(), url, "{from} {location}");
        }
        for (from, location) in [
            ("https://r.example", "http://r.example/x"),
            ("https://localhost:1", "http://127.0.0.1:2/"),
            ("https://localhost:1", "http://localhost:1/"),
            ("https://r.example", "http://127.0.0.1/"),
            ("https://r.example", "https://127.0.0.1/"),
            ("https://r.example", "https://localhost:8443/"),
            ("http://localhost:1", "http://r.example/"),
            ("https://r.example", "https://u:p@r.example/"),
            ("https://r.example", "file:///etc/passwd"),
            ("https://r.example", "x/y"),
            ("https://r.example", ""),
            ("https://r.example", "https://r.example/ x"),
            ("https://r.example", "https://r.example/\r\nX: y"),
        ] {
            assert!(to(from, location).is_err(), "{from} {location}");
        }
    }

    #[test]
    fn no_proxy_is_read_as_others_read_it() {
        let covers = |list: &str, url: &str| NoProxy::parse(list).covers(&origin(url));
        for (list, url) in [
            ("", "http://127.0.0.1:5000"),
            ("", "https://localhost"),
            ("*", "https://a.example"),
            ("x, a.example", "https://a.example"),
            ("example", "https://a.example"),
            (".example", "https://a.example"),
            ("a.example:5000", "https://a.example:5000"),
            ("10.0.0.0/8", "https://10.9.8.7"),
            ("10.1.2.3", "https://10.1.2.3"),
            ("fd00::/8", "https://[fd12::1]"),
        ] {
            assert!(covers(list, url), "{list} {url}");
        }
        for (list, url) in [
            ("", "https://a.example"),
            ("a.example", "https://ba.example"),
            (".a.example", "https://a.example"),
            ("a.example:5000", "https://a.example"),
            ("10.0.0.0/8", "https://11.9.8.7"),
            ("10.0.0.0/99", "https://11.9.8.7"),
            ("1.2.3", "https://0.1.2.3"),
        ] {
            assert!(!covers(list, url), "{list} {url}");
        }
    }
}
