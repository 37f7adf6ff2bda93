//! What registries have: docker.io's search, and the catalogue of any other (distribution,
//! docs/spec/api, "Catalog"; the OCI specification has none).

use super::Client;
use super::auth::Scope;
use crate::error::{Error, Kind, Result};
use crate::image::Reference;
use crate::image::json::{self, Document};
use ureq::http::header::LINK;

/// Where docker.io is searched; another host than its images', and nobody's password goes there.
const INDEX: &str = "index.docker.io";

/// The most that one answer may have, in bytes, and names that are asked for at once.
const MAX_PAGE: u64 = 4 << 20;
const AT_ONCE: usize = 1000;

/// The most pages of a catalogue that are read.
const MAX_PAGES: usize = 100;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// `redis`, `bitnami/redis`; of other registries with their name before it.
    pub name: String,
    /// In its owner's words.
    #[serde(default)]
    pub description: String,
    /// How many people like it.
    #[serde(default, rename = "star_count")]
    pub stars: u64,
    /// Whether docker.io itself publishes it.
    #[serde(default, rename = "is_official")]
    pub official: bool,
    /// Whether docker.io built it.
    #[serde(default, rename = "is_automated")]
    pub automated: bool,
}

const RESULTS: Document = Document {
    what: "list of results",
    max_bytes: MAX_PAGE,
    names: &["results", "name"],
    objects: &[],
    list: false,
    free: &[],
};

#[derive(serde::Deserialize)]
struct Results {
    results: Vec<Found>,
}

const CATALOG: Document = Document {
    what: "catalogue",
    max_bytes: MAX_PAGE,
    names: &["repositories"],
    objects: &[],
    list: false,
    free: &[],
};

#[derive(serde::Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

impl Client {
    /// Asks docker.io's index for at most `limit` repositories that fit `term`.
    ///
    /// `Registry` and others: there is no answer; `Malformed`, `Limit`: it is none.
    pub fn search(&mut self, term: &str, limit: usize) -> Result<Vec<Found>> {
        let path = format!("/v1/search?q={}&n={limit}", super::auth::escaped(term));
        let reply = self.page(INDEX, &Scope::Login, &path)?;
        let at = reply.origin.clone();
        let bytes = reply.read(MAX_PAGE, RESULTS.what).map_err(|e| e.error())?;
        results(&bytes, limit).map_err(|e| e.context(at))
    }

    /// The names of at most `limit` repositories of a registry whose name contains `term`.
    ///
    /// As [`Client::search`]; `NotFound`, `Credentials`: the registry shows no catalogue.
    pub fn catalog(&mut self, domain: &str, term: &str, limit: usize) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        let mut last: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let from = last.as_deref().map(super::auth::escaped);
            let from = from.map_or(String::new(), |last| format!("&last={last}"));
            let path = format!("/v2/_catalog?n={AT_ONCE}{from}");
            let reply = self.page(domain, &Scope::Catalog, &path)?;
            let more = reply.headers.contains_key(LINK);
            let at = reply.origin.clone();
            let bytes = reply.read(MAX_PAGE, CATALOG.what).map_err(|e| e.error())?;
            let page: Catalog = json::gate(&bytes, &CATALOG)
                .and_then(|gated| gated.read())
                .map_err(|e| e.context(&at))?;
            let names = page.repositories.unwrap_or_default();
            let end = names.last().cloned();
            for name in names {
                let full = format!("{domain}/{name}");
                if name.contains(term) && is_name(&full) {
                    found.push(Found {
                        name: full,
                        description: String::new(),
                        stars: 0,
                        official: false,
                        automated: false,
                    });
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
            // Where the next page begins we say ourselves; a link may lead anywhere.
            match end {
                Some(end) if more && last.as_ref().is_none_or(|last| end > *last) => {
                    last = Some(end);
                }
                _ => return Ok(found),
            }
        }
        Err(Error::new(
            Kind::Limit,
            format!("{domain}: its catalogue has more than {MAX_PAGES} pages"),
        ))
    }
}

/// What docker.io's index answers, without what cannot be named here.
fn results(bytes: &[u8], limit: usize) -> Result<Vec<Found>> {
    let results: Results = json::gate(bytes, &RESULTS)?.read()?;
    let named = results.results.into_iter().filter(|r| is_name(&r.name));
    Ok(named.take(limit).collect())
}

fn is_name(text: &str) -> bool {
    Reference::parse(text).is_ok_and(|name| name.digest.is_none())
        && !text.rsplit('/').next().is_some_and(|end| end.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_and_names_that_are_none_left_out() {
        let text = br#"{"num_pages":1,"num_results":3,"page":1,"page_size":25,"query":"redis","results":[
            {"is_automated":false,"is_official":true,"is_trusted":false,"name":"redis","description":"Redis is \u001b[31m","star_count":13000},
            {"name":"../evil"},{"name":"evil:latest"},{"name":"me/redis","is_automated":true}]}"#;
        let found = results(text, 25).unwrap();
        let names: Vec<_> = found.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["redis", "me/redis"]);
        assert!(found[0].official && found[0].stars == 13000 && !found[0].automated);
        assert!(found[1].automated && found[1].description.is_empty());
        assert_eq!(results(text, 1).unwrap().len(), 1);
        for bad in [&b"[]"[..], b"{}", br#"{"results":[],"Results":[]}"#] {
            assert!(results(bad, 1).is_err());
        }
    }
}
