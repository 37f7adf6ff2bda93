//! One thing asked of a registry until there is an answer: over TLS if the registry speaks it, with
//! what its 401 wants, again where that may help.

use super::auth::Scope;
use super::failure::{self, Trouble};
use super::http::{Http, Reply};
use super::origin::Origin;
use super::retry::{Retries, retry_after};
use super::{Client, no_address};
use crate::error::{Error, Result};
use ureq::http::Uri;

/// What is asked, in the words of its errors.
pub(super) struct Errand<'a> {
    /// The registry, as references name it.
    pub(super) domain: &'a str,
    pub(super) what: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) to: To<'a>,
    /// The statuses that are an answer.
    pub(super) answers: fn(u16) -> bool,
    /// A question on the side: whatever is said to it, and is no question about us, is an answer.
    pub(super) aside: bool,
}

/// Whom it is asked.
#[derive(Clone, Copy)]
pub(super) enum To<'a> {
    /// The registry, by a path.
    Path(&'a str),
    /// Where the registry itself sent us. Credentials go there if it is the registry's own origin.
    There(&'a Place),
}

/// An address with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) url: Uri,
    pub(super) origin: Origin,
}

/// Sends the request once, with this `Authorization` if there is one.
pub(super) type Send<'a> =
    dyn FnMut(&Http, &Place, Option<&str>) -> std::result::Result<Reply, Trouble> + 'a;

impl Client {
    /// Sends a request until one of `errand.answers` comes.
    pub(super) fn exchange(
        &mut self,
        errand: &Errand<'_>,
        retries: &mut Retries,
        send: &mut Send<'_>,
    ) -> Result<Reply> {
        let domain = errand.domain;
        let key = (domain.to_owned(), errand.scope.clone());
        let mut answered = false;
        loop {
            let known = self.tls.get(domain).copied();
            let https = known.unwrap_or(true);
            let registry = Origin::registry(domain, https).ok_or_else(|| no_address(domain))?;
            let may_be_plain = known.is_none() && self.http.may_be_plain(domain, &registry);
            let at = match errand.to {
                To::There(place) => place.clone(),
                To::Path(path) => Place {
                    url: registry.url(path).ok_or_else(|| no_address(domain))?,
                    origin: registry.clone(),
                },
            };
            let own = at.origin == registry;
            let granted = self.granted.get(&key).filter(|_| own);
            let reply = match send(&self.http, &at, granted.map(String::as_str)) {
                Ok(reply) => {
                    self.tls.insert(domain.to_owned(), https);
                    reply
                }
                // A plain server may just hang up on a TLS hello.
                Err(Trouble::NoTls(_) | Trouble::Broken(_)) if may_be_plain => {
                    self.tls.insert(domain.to_owned(), false);
                    continue;
                }
                Err(Trouble::Broken(e)) => {
                    retries.or(e, None)?;
                    continue;
                }
                Err(other) => return Err(other.error()),
            };
            match reply.status {
                status if (errand.answers)(status) => return Ok(reply),
                // Once: what was granted earlier may have run out, what was granted now has not.
                401 if own && reply.own && !answered => {
                    answered = true;
                    self.granted.remove(&key);
                    let answer = self.auth.answer(
                        &self.http,
                        domain,
                        &registry,
                        errand.scope,
                        &reply.headers,
                        retries,
                    )?;
                    if let Some(answer) = answer {
                        self.granted.insert(key.clone(), answer);
                        continue;
                    }
                    return match errand.aside {
                        true => Ok(reply),
                        false => Err(refused(errand, reply)),
                    };
                }
                _ if errand.aside => return Ok(reply),
                429 | 500 | 502 | 503 | 504 => {
                    let wait = retry_after(&reply.headers);
                    retries.or(refused(errand, reply), wait)?;
                }
                _ => return Err(refused(errand, reply)),
            }
        }
    }
}

fn refused(errand: &Errand<'_>, reply: Reply) -> Error {
    let (at, status, html) = (reply.origin.clone(), reply.status, reply.is_page());
    let body = reply.explanation();
    failure::status(&at, errand.domain, errand.what, status, html, &body)
}
