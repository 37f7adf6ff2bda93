//! Whether somebody answers as a registry does (OCI distribution-spec, "Determining support").

use super::failure::{self, Trouble};
use super::http::Ask;
use super::origin::Origin;
use super::{Client, no_address};
use crate::error::{Error, Kind, Result};

/// What answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ping {
    /// `https://registry.example`.
    pub origin: String,
    /// It speaks TLS, with a certificate that was held against the roots.
    pub tls: bool,
    /// It wants to know who asks, before it answers anything.
    pub credentials: bool,
}

impl Client {
    /// Asks a registry (`docker.io`, `host:port`) for nothing, without credentials.
    ///
    /// # Errors
    /// `Usage`: no address; `Registry` and others as for every request; `Registry`: what answers is
    /// no registry.
    pub fn ping(&self, domain: &str) -> Result<Ping> {
        let mut https = true;
        loop {
            let at = Origin::registry(domain, https).ok_or_else(|| no_address(domain))?;
            let url = at.url("/v2/").ok_or_else(|| no_address(domain))?;
            let may_be_plain = https && self.http.may_be_plain(domain, &at);
            let reply = match self.http.get(&url, Ask::default()) {
                Ok(reply) => reply,
                // A plain server may just hang up on a TLS hello.
                Err(Trouble::NoTls(_) | Trouble::Broken(_)) if may_be_plain => {
                    https = false;
                    continue;
                }
                Err(other) => return Err(other.error()),
            };
            return match reply.status {
                200 | 401 if reply.own && !reply.is_page() => Ok(Ping {
                    origin: at.to_string(),
                    tls: https,
                    credentials: reply.status == 401,
                }),
                _ if reply.is_page() => Err(failure::page(&at, domain)),
                status => Err(Error::new(
                    Kind::Registry,
                    format!("{at}: it answers {status} to /v2/: it seems to be no registry"),
                )
                .hint("check the address: a registry is named HOST[:PORT]")),
            };
        }
    }
}
