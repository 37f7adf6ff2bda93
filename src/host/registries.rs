//! `registries.toml`: how registries are reached from here, as the administrator and the caller say.
//!
//! ```toml
//! [[registry]]
//! name = "docker.io"                          # as in an image's name
//! mirrors = ["mirror.example/docker", "localhost:5000"]   # asked first, in this order
//! realms = ["auth.example"]                   # may hand out tokens beside the registry's own domain
//!
//! [[registry]]
//! name = "localhost:5000"
//! plain_http = true                           # may be spoken to without TLS
//! ```
//!
//! What a mirror serves is held against the digests all the same, and a tag is remembered under the
//! name that was asked for. Credentials of a registry never go to its mirrors, which have their own.

use super::policy_files::{Text, policy_folder, system_folder};
use crate::error::{Error, Kind, Result};
use crate::image::Reference;
use crate::image::quote::quoted;
use serde::Deserialize;
use toml::Spanned;

/// More registries or mirrors of one are a mistake.
const MAX: usize = 64;

/// What is said of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// `host[:port]`, as references name it.
    pub name: String,
    /// Where to ask first, in this order.
    pub mirrors: Vec<Mirror>,
    /// It may be spoken to without TLS.
    pub plain_http: bool,
    /// Hosts (`host[:port]`) that may hand out tokens for it.
    pub realms: Vec<String>,
}

/// Where a registry's images are kept too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `host[:port]`.
    pub domain: String,
    /// What stands before an image's path there; empty: nothing.
    pub prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registry: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    #[serde(default)]
    mirrors: Vec<Spanned<String>>,
    #[serde(default)]
    plain_http: bool,
    #[serde(default)]
    realms: Vec<Spanned<String>>,
}

/// What /etc/lazaret/registries.toml and `$XDG_CONFIG_HOME/lazaret/registries.toml` (else
/// `~/.config/lazaret/registries.toml`) say; of a registry that both name, the caller's word counts.
///
/// # Errors
/// `Malformed`, with file and line: what is not understood; `Policy`: others may write the file;
/// `Io`: it is there and cannot be read.
pub fn registries() -> Result<Vec<Registry>> {
    let uid = rustix::process::geteuid().as_raw();
    let mut all: Vec<Registry> = Vec::new();
    for (folder, owner) in [(system_folder(), 0), (policy_folder(), uid)] {
        let path = folder.map(|folder| folder.join("registries.toml"));
        let Some(text) = path
            .map(|path| Text::read(&path, owner))
            .transpose()?
            .flatten()
        else {
            continue;
        };
        let file = text.file();
        for registry in parse(file.name, file.bytes)? {
            all.retain(|known| known.name != registry.name);
            all.push(registry);
        }
    }
    Ok(all)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Registry>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::Malformed, format!("{name}: it is not UTF-8 text")))?;
    let wrong = |at: usize, why: &str| {
        let before = text.as_bytes().iter().take(at);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Error::new(Kind::Malformed, format!("{name}:{line}: {why}"))
    };
    let file: File = toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        wrong(at, &crate::image::quote::plain(e.message()))
            .hint("[[registry]] has name, mirrors, plain_http and realms")
    })?;
    if file.registry.len() > MAX {
        return Err(wrong(0, &format!("more than {MAX} registries")));
    }
    let mut all: Vec<Registry> = Vec::new();
    for entry in &file.registry {
        let entry = entry.get_ref();
        let at = |text: &Spanned<String>| text.span().start;
        let host = |text: &Spanned<String>| match place(text.get_ref()) {
            Some(found) if found.prefix.is_empty() => Ok(found.domain),
            _ => Err(wrong(
                at(text),
                &format!(
                    "{} is not the address of a registry",
                    quoted(text.get_ref())
                ),
            )
            .hint("it is HOST[:PORT], with a dot, a port or localhost")),
        };
        let registry = Registry {
            name: host(&entry.name)?,
            mirrors: entry
                .mirrors
                .iter()
                .map(|text| {
                    place(text.get_ref()).ok_or_else(|| {
                        let shown = quoted(text.get_ref());
                        wrong(at(text), &format!("{shown} is no mirror"))
                            .hint("it is HOST[:PORT][/PREFIX], without a scheme")
                    })
                })
                .collect::<Result<_>>()?,
            plain_http: entry.plain_http,
            realms: entry.realms.iter().map(host).collect::<Result<_>>()?,
        };
        if registry.mirrors.len() > MAX || registry.realms.len() > MAX {
            return Err(wrong(
                at(&entry.name),
                &format!("more than {MAX} of a kind"),
            ));
        }
        if all.iter().any(|known| known.name == registry.name) {
            let shown = quoted(&registry.name);
            return Err(wrong(
                at(&entry.name),
                &format!("{shown} stands here twice"),
            ));
        }
        all.push(registry);
    }
    Ok(all)
}

/// What `HOST[:PORT][/PREFIX]` means, by the grammar of references.
fn place(text: &str) -> Option<Mirror> {
    // Two words: docker.io would put library/ before one.
    let reference = Reference::parse(&format!("{text}/x/x")).ok()?;
    let prefix = reference.path.strip_suffix("x/x")?.trim_end_matches('/');
    let (domain, prefix) = (reference.domain, prefix.to_owned());
    let same = match prefix.is_empty() {
        true => domain == text,
        false => format!("{domain}/{prefix}") == text,
    };
    same.then_some(Mirror { domain, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = br#"
            [[registry]]
            name = "docker.io"
            mirrors = ["mirror.example/docker", "localhost:5000"]
            realms = ["auth.example"]
            [[registry]]
            name = "localhost:5000"
            plain_http = true
        "#;
        let all = parse("f", text).unwrap();
        assert_eq!(all.len(), 2);
        let mirror = |domain: &str, prefix: &str| Mirror {
            domain: domain.into(),
            prefix: prefix.into(),
        };
        assert_eq!(
            all[0].mirrors,
            [
                mirror("mirror.example", "docker"),
                mirror("localhost:5000", "")
            ]
        );
        assert_eq!(all[0].realms, ["auth.example"]);
        assert!(all[1].plain_http && !all[0].plain_http);
        assert!(parse("f", b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line() {
        for (text, line) in [
            ("x = 1", 1),
            ("[[registry]]\nname = 'a.b'\nmirror = []", 3),
            ("[[registry]]\nmirrors = []", 1),
            ("[[registry]]\nname = 'nodot'", 2),
            ("[[registry]]\nname = 'a.b/c'", 2),
            ("[[registry]]\nname = 'https://a.b'", 2),
            (
                "[[registry]]\nname = 'a.b'\nmirrors = ['c.d', 'http://c.d']",
                3,
            ),
            ("[[registry]]\nname = 'a.b'\nplain_http = 'yes'", 3),
            (
                "[[registry]]\nname = 'a.b'\n\n[[registry]]\nname = 'a.b'",
                5,
            ),
            ("[[registry]\n", 1),
        ] {
            let error = parse("/etc/r.toml", text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, Kind::Malformed);
            let begins = format!("/etc/r.toml:{line}: ");
            assert!(error.cause.starts_with(&begins), "{text}: {error}");
        }
    }
}
