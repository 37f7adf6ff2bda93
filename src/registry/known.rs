//! Whether a registry knows us (OCI distribution-spec, "end-1": `GET /v2/`).

use super::Client;
use super::auth::Scope;
use super::exchange::{Errand, To};
use super::failure;
use super::http::{Ask, Reply};
use super::retry::Retries;
use crate::error::Result;

/// What a registry says of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Known {
    /// It asked who we are, and took the answer.
    Yes,
    /// It asks nobody: credentials were not looked at.
    NotAsked,
}

impl Client {
    /// Shows a registry the credentials that this client has for it.
    ///
    /// `Credentials`: it does not take them, or asks where there are none; `NotFound`, `Registry`:
    /// there is no registry, or it does not answer.
    pub fn known(&mut self, domain: &str) -> Result<Known> {
        let scope = Scope::Login;
        self.page(domain, &scope, "/v2/")?;
        Ok(
            match self.granted.contains_key(&(domain.to_owned(), scope)) {
                true => Known::Yes,
                false => Known::NotAsked,
            },
        )
    }

    /// Asks a registry about itself.
    pub(super) fn page(&mut self, domain: &str, scope: &Scope, path: &str) -> Result<Reply> {
        let errand = Errand {
            domain,
            what: domain,
            scope,
            to: To::Path(path),
            aside: false,
            answers: |status| status == 200,
        };
        let mut retries = Retries::new(&self.limits);
        let reply = self.exchange(&errand, &mut retries, &mut |http, at, authorization| {
            let ask = Ask {
                accept: "application/json",
                authorization,
                ..Ask::default()
            };
            http.get(&at.url, ask)
        })?;
        match reply.is_page() {
            true => Err(failure::page(&reply.origin, domain)),
            false => Ok(reply),
        }
    }
}
