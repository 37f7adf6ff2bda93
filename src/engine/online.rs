//! What verbs that speak to a registry share: how to speak to it, and the worker that does.

use super::place;
use crate::error::{Context, Error, Kind, Result};
use crate::host;
use crate::registry::{Auth, Options, Roots};
use crate::store::{Fetching, Store};
use crate::worker;
use rustix::process::{Resource, Rlimit};
use std::os::fd::RawFd;

/// Where machines keep the certificates that they trust, as PEM.
pub(super) const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How to speak to a registry about a repository, with everything that lies on this machine read
/// here: credentials, mirrors, certificates, proxies.
///
/// # Errors
/// As [`host::credential`] and [`host::registries`]; `Io`: a file that is named cannot be read.
pub(super) fn options(domain: &str, path: &str, insecure: &[String]) -> Result<Options> {
    no_core()?;
    let auth = |domain: &str, path: &str| -> Result<Option<Auth>> {
        let secret = host::credential(domain, path)?;
        Ok(secret.map(|credential| Auth {
            registry: domain.to_owned(),
            credential,
        }))
    };
    let registries = host::registries()?;
    let own = registries.iter().find(|known| known.name == domain);
    let mirrors = own.map(|own| own.mirrors.clone()).unwrap_or_default();
    let mut mirror_auths = Vec::new();
    for mirror in &mirrors {
        // The registry's own come below.
        if mirror.domain != domain {
            let there = format!("{}/{path}", mirror.prefix);
            mirror_auths.extend(auth(&mirror.domain, there.trim_start_matches('/'))?);
        }
    }
    Ok(Options {
        auth: auth(domain, path)?,
        mirrors,
        mirror_auths,
        ..as_nobody(&registries, domain, insecure)?
    })
}

/// As [`options`], to be nobody and to ask no mirror.
///
/// # Errors
/// As [`host::registries`]; `Io`: a file that is named cannot be read.
pub(super) fn anonymous(domain: &str, insecure: &[String]) -> Result<Options> {
    as_nobody(&host::registries()?, domain, insecure)
}

fn as_nobody(registries: &[host::Registry], domain: &str, insecure: &[String]) -> Result<Options> {
    let own = registries.iter().find(|known| known.name == domain);
    let plain = registries.iter().filter(|known| known.plain_http);
    let plain = plain.map(|known| known.name.clone());
    let named = std::env::var_os("SSL_CERT_FILE");
    let extra = match named.as_ref().filter(|path| !path.is_empty()) {
        None => Vec::new(),
        Some(path) => std::fs::read(path).or_call(|| format!("read SSL_CERT_FILE {path:?}"))?,
    };
    let platform = ROOTS.iter().find_map(|path| std::fs::read(path).ok());
    let variable = |names: [&str; 2]| {
        let set = names.into_iter().find_map(|name| std::env::var(name).ok());
        set.filter(|value| !value.is_empty())
    };
    Ok(Options {
        plain_http: insecure.iter().cloned().chain(plain).collect(),
        realms: own.map(|own| own.realms.clone()).unwrap_or_default(),
        proxy: variable(["HTTPS_PROXY", "https_proxy"]),
        http_proxy: variable(["HTTP_PROXY", "http_proxy"]),
        no_proxy: variable(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
        roots: Roots {
            platform: platform.unwrap_or_default(),
            extra,
        },
        ..Options::default()
    })
}

/// A crash of this process writes no password down. One byte and not none: a program that
/// core_pattern names is started for a limit of 0, and not for one of 1 (core(5)).
///
/// # Errors
/// `Io`.
pub(super) fn no_core() -> Result<()> {
    let now = rustix::process::getrlimit(Resource::Core);
    let less = Rlimit {
        current: Some(now.maximum.map_or(1, |most| most.min(1))),
        maximum: now.maximum,
    };
    rustix::process::setrlimit(Resource::Core, less).or_call(|| "setrlimit RLIMIT_CORE")
}

/// Begins to fetch, with what name resolution needs.
///
/// # Errors
/// As [`Store::fetching`].
pub(super) fn fetching(store: &Store) -> Result<Fetching> {
    let etc: Vec<(&str, Vec<u8>)> = Fetching::ETC
        .iter()
        .filter_map(|name| Some((*name, std::fs::read(format!("/etc/{name}")).ok()?)))
        .collect();
    store.fetching(&etc)
}

/// Has the fetch worker ask a registry something whose answer is a value.
///
/// # Errors
/// The job's; as [`worker::fetch`].
pub(super) fn ask<T>(job: impl FnOnce() -> Result<T>) -> Result<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    ask_with(&place::open_store()?, &[], job)
}

/// As [`ask`], by a worker that has these descriptors too.
///
/// # Errors
/// As [`ask`].
pub(super) fn ask_with<T>(
    store: &Store,
    keep: &[RawFd],
    job: impl FnOnce() -> Result<T>,
) -> Result<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let map = place::own_map(Some(store))?;
    let fetching = fetching(store)?;
    let answer = worker::fetch(
        &map,
        fetching.root(),
        keep,
        |_| {
            serde_json::to_vec(&job()?)
                .map_err(|e| Error::new(Kind::Worker, format!("write an answer: {e}")))
        },
        || {},
    )?;
    serde_json::from_slice(&answer)
        .map_err(|_| Error::new(Kind::Worker, "the fetch worker answered nonsense"))
}
