//! `login`, `logout`, `push`, `tag`, `search`, `image inspect --remote`: argv -> requests.

use super::args::{ImageInspectArgs, LoginArgs, LogoutArgs, PushArgs, SearchArgs, TagArgs};
use super::objects::{name_to_give, no_registrys, template};
use crate::engine::{
    LoginRequest, LogoutRequest, PushRequest, RemoteRequest, SearchRequest, TagRequest,
};
use crate::error::{Error, Kind, Result};
use crate::image::{ImageName, Platform, Reference};
use crate::report::Layout;

/// `login`.
///
/// # Errors
/// `Usage`: no registry's name.
pub(super) fn login(args: LoginArgs) -> Result<LoginRequest> {
    Ok(LoginRequest {
        registry: registry(args.registry.as_deref())?,
        user: args.username,
        password_stdin: args.password_stdin,
        insecure: args.insecure_registry,
    })
}

/// `logout`.
///
/// # Errors
/// As [`login`].
pub(super) fn logout(args: &LogoutArgs) -> Result<LogoutRequest> {
    let registry = registry(args.registry.as_deref())?;
    Ok(LogoutRequest { registry })
}

/// A registry by its name, or by the address that docker.io and old habits have.
fn registry(text: Option<&str>) -> Result<String> {
    let Some(text) = text else {
        return Ok("docker.io".to_owned());
    };
    let bare = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let bare = bare.unwrap_or(text);
    let (host, rest) = bare.split_once('/').unwrap_or((bare, ""));
    let wrong = |hint: &str| {
        let cause = format!("{text:?} is not the name of a registry");
        Err(Error::new(Kind::Usage, cause).hint(hint.to_owned()))
    };
    if !matches!(rest.trim_end_matches('/'), "" | "v1" | "v2") {
        return wrong("write HOST[:PORT] alone: one login opens everything there");
    }
    match host_of(host) {
        Some(domain) => Ok(domain),
        None => wrong("write HOST[:PORT], with a dot, a port or localhost"),
    }
}

/// A registry's name in the one spelling that references have.
fn host_of(host: &str) -> Option<String> {
    let like = host == "localhost" || host.contains(['.', ':']);
    let found = Reference::parse(&format!("{host}/x")).ok()?;
    like.then_some(found.domain)
}

/// `push`.
///
/// # Errors
/// `Usage`: a name that no registry has, or one with a digest.
pub(super) fn push(args: PushArgs) -> Result<PushRequest> {
    Ok(PushRequest {
        reference: registrys(&args.name)?,
        quiet: args.quiet,
        signatures: !args.remove_signatures,
        insecure: args.insecure_registry,
    })
}

/// `tag`.
///
/// # Errors
/// As [`push`].
pub(super) fn tag(args: TagArgs) -> Result<TagRequest> {
    Ok(TagRequest {
        target: registrys(&args.target)?,
        source: args.source,
    })
}

const SPELLING: &str = "write [HOST[:PORT]/]NAME[:TAG]";

/// A name that an image of a registry can be given.
fn registrys(text: &str) -> Result<Reference> {
    match ImageName::parse(text)? {
        ImageName::Registry(_) => name_to_give(text),
        other => Err(no_registrys(&other, SPELLING)),
    }
}

/// `search`.
///
/// # Errors
/// `Usage`: a template that is none, an empty term.
pub(super) fn search(args: SearchArgs) -> Result<SearchRequest> {
    let (host, rest) = match args.term.split_once('/') {
        Some((host, rest)) => (host_of(host), rest),
        None => (None, ""),
    };
    let (registry, term) = match host {
        Some(host) if host == "docker.io" => (None, rest.to_owned()),
        Some(host) => (Some(host), rest.to_owned()),
        None => (None, args.term),
    };
    if registry.is_none() && term.trim().is_empty() {
        return Err(Error::new(Kind::Usage, "there is nothing to search for"));
    }
    Ok(SearchRequest {
        registry,
        term,
        limit: usize::from(args.limit),
        no_trunc: args.no_trunc,
        layout: Layout::parse(args.format.as_deref().unwrap_or_default())?,
        insecure: args.insecure_registry,
    })
}

/// `image inspect --remote`.
///
/// # Errors
/// `Usage`: a template that is none, a name that no registry has, a platform that is none.
pub(super) fn remote(args: ImageInspectArgs) -> Result<RemoteRequest> {
    let name = |text: &String| match ImageName::parse(text)? {
        ImageName::Registry(reference) => Ok(reference),
        other => Err(no_registrys(&other, SPELLING)),
    };
    Ok(RemoteRequest {
        names: args.names.iter().map(name).collect::<Result<_>>()?,
        platform: args.platform.as_deref().map(Platform::parse).transpose()?,
        format: template(args.format)?,
        insecure: args.insecure_registry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_in_many_ways() {
        for (text, name) in [
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("Registry.Example:5000", "registry.example:5000"),
            ("http://127.0.0.1:5000/", "127.0.0.1:5000"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("localhost", "localhost"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(registry(Some(text)).unwrap(), name, "{text}");
        }
        assert_eq!(registry(None).unwrap(), "docker.io");
        for bad in [
            "",
            "bare",
            "ghcr.io/me",
            "a b.c",
            "u:p@r.example",
            "ftp://r.example",
        ] {
            assert!(registry(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_term_may_begin_with_a_registry() {
        let of = |term: &str| {
            let asked = search(SearchArgs {
                format: None,
                limit: 25,
                no_trunc: false,
                insecure_registry: Vec::new(),
                term: term.to_owned(),
            });
            asked.map(|asked| (asked.registry, asked.term)).ok()
        };
        let own = |host: Option<&str>, term: &str| Some((host.map(str::to_owned), term.to_owned()));
        assert_eq!(of("redis"), own(None, "redis"));
        assert_eq!(of("bitnami/redis"), own(None, "bitnami/redis"));
        assert_eq!(of("docker.io/redis"), own(None, "redis"));
        assert_eq!(of("r.example/red"), own(Some("r.example"), "red"));
        assert_eq!(of("localhost:5000/"), own(Some("localhost:5000"), ""));
        assert_eq!(of(""), None);
    }
}
