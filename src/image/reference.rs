//! Image names: docker's reference grammar (distribution/reference) and lazaret's transports.

#![forbid(unsafe_code)]

use super::Digest;
use super::quote::quoted;
use crate::error::{Error, Kind, Result};
use std::fmt;

/// The longest `domain/path`, as in distribution/reference.
const MAX_NAME: usize = 255;

/// The longest tag, as in distribution/reference.
const MAX_TAG: usize = 128;

/// The longest text that is looked at: a path of PATH_MAX with a tag and a digest.
const MAX_TEXT: usize = 4096 + 512;

/// What a person wrote where an image is named. A transport prefix always wins: a registry's image
/// of such a name is reached by its full name (`docker.io/library/oci:latest`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// `builtin:NAME`: an image that lazaret makes out of itself.
    Builtin(String),
    /// `oci:DIR[:TAG][@DIGEST]`: an OCI image layout folder.
    OciDir {
        path: String,
        tag: Option<String>,
        digest: Option<Digest>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar of an OCI image layout.
    OciArchive { path: String, tag: Option<String> },
    /// `docker-archive:FILE[:REFERENCE]`: what `docker save` writes, old or OCI-flavoured.
    DockerArchive {
        path: String,
        reference: Option<Reference>,
    },
    /// `tool:PATH`: no image, but a program of the host as rules name it; never parsed.
    Tool(String),
    /// A registry's image, fully qualified.
    Registry(Reference),
}

/// A fully qualified registry reference: `busybox` is `docker.io/library/busybox:latest`.
/// With both tag and digest, the digest decides. `Display` is the canonical form, which parses to
/// the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `docker.io`, `registry.example:5000`, `localhost`; in lower case.
    pub domain: String,
    /// `library/busybox`.
    pub path: String,
    /// The tag; `latest` where neither tag nor digest was written.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// Transports of other tools, with what to write instead. `docker` is not among them: it is an
/// image of its own (`docker:cli`), told apart by what follows.
const FOREIGN: [(&str, &str); 8] = [
    (
        "docker-daemon",
        "docker save IMAGE -o FILE, then docker-archive:FILE",
    ),
    (
        "containers-storage",
        "podman save --format oci-archive -o FILE IMAGE, then oci-archive:FILE",
    ),
    ("dir", "skopeo copy dir:DIR oci:DIR2:TAG, then oci:DIR2:TAG"),
    (
        "ostree",
        "skopeo copy ostree:... oci:DIR:TAG, then oci:DIR:TAG",
    ),
    (
        "tarball",
        "skopeo copy tarball:... oci:DIR:TAG, then oci:DIR:TAG",
    ),
    ("sif", "skopeo copy sif:FILE oci:DIR:TAG, then oci:DIR:TAG"),
    ("http", "leave out the scheme: registry.example/name:tag"),
    ("https", "leave out the scheme: registry.example/name:tag"),
];

impl ImageName {
    /// Parses what stands where an image is named; errors are `Usage` (a digest of another
    /// algorithm: `Unsupported`).
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_TEXT || text.contains('\0') {
            return Err(usage(text, "is not an image name"));
        }
        let Some((prefix, rest)) = text.split_once(':') else {
            return Reference::parse(text).map(Self::Registry);
        };
        match prefix {
            "builtin" => builtin(text, rest),
            "tool" if rest.starts_with('/') => Err(usage(text, "is a program, and no image")
                .hint(format!("lazaret tool -- {}", quoted(rest)))),
            "oci" => oci_dir(text, rest),
            "oci-archive" => {
                let (path, tag) = path_and_tag(text, rest)?;
                Ok(Self::OciArchive { path, tag })
            }
            "docker-archive" => {
                let (path, reference) = split_path(text, rest)?;
                let reference = reference.map(Reference::parse).transpose()?;
                Ok(Self::DockerArchive { path, reference })
            }
            _ => {
                transport_of_others(text, prefix, rest)?;
                Reference::parse(text).map(Self::Registry)
            }
        }
    }
}

fn usage(text: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{} {why}", quoted(text)))
}

fn transport_of_others(text: &str, prefix: &str, rest: &str) -> Result<()> {
    if prefix == "docker" && rest.starts_with("//") {
        let name = rest.trim_start_matches('/');
        return Err(
            usage(text, "names a transport that is not needed here").hint(format!(
                "a registry's image is named alone: {}",
                quoted(name)
            )),
        );
    }
    if let Some((_, remedy)) = FOREIGN.iter().find(|(name, _)| *name == prefix) {
        return Err(usage(text, "names a transport that lazaret does not read").hint(*remedy));
    }
    if rest.starts_with("//") {
        return Err(
            usage(text, "names a transport that lazaret does not know").hint(
                "there are oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE and builtin:NAME",
            ),
        );
    }
    Ok(())
}

fn builtin(text: &str, name: &str) -> Result<ImageName> {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match !name.is_empty() && name.len() <= 64 && name.bytes().all(known) {
        true => Ok(ImageName::Builtin(name.to_owned())),
        false => Err(usage(text, "is not the name of a built-in image")
            .hint("lazaret run builtin:probe shows what an intruder would find")),
    }
}

/// `DIR[:TAG][@DIGEST]`. A digest is taken off first; what is left splits as skopeo splits it.
fn oci_dir(text: &str, rest: &str) -> Result<ImageName> {
    let (rest, digest) = match rest.rsplit_once('@') {
        Some((before, digest))
            if digest.starts_with("sha256:") || digest.starts_with("sha512:") =>
        {
            (before, Some(Digest::parse(digest)?))
        }
        _ => (rest, None),
    };
    let (path, tag) = path_and_tag(text, rest)?;
    Ok(ImageName::OciDir { path, tag, digest })
}

/// The path ends at the first colon (containers/image, transports `oci:` and `docker-archive:`).
fn split_path<'a>(text: &str, rest: &'a str) -> Result<(String, Option<&'a str>)> {
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(usage(text, "names no path"));
    }
    if path.starts_with("//") && !path.starts_with("///") {
        return Err(usage(text, "names a registry, and oci: names a folder")
            .hint("leave out the prefix: registry.example/name:tag"));
    }
    Ok((path.to_owned(), tag))
}

fn path_and_tag(text: &str, rest: &str) -> Result<(String, Option<String>)> {
    let (path, tag) = split_path(text, rest)?;
    match tag {
        Some(tag) if !is_ref_name(tag) => Err(usage(
            text,
            &format!("has {} after its path, which is not a tag", quoted(tag)),
        )
        .hint("a path with a colon is not reachable this way; give another one with ln -s")),
        tag => Ok((path, tag.map(str::to_owned))),
    }
}

/// A name as layouts have them (OCI image-spec, annotations.md, `ref.name`): more than a tag.
fn is_ref_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:@+/".contains(&b))
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tagged = |f: &mut fmt::Formatter<'_>, tag: &Option<String>| match tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        };
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::OciDir { path, tag, digest } => {
                write!(f, "oci:{path}")?;
                tagged(f, tag)?;
                match digest {
                    Some(digest) => write!(f, "@{digest}"),
                    None => Ok(()),
                }
            }
            Self::OciArchive { path, tag } => {
                write!(f, "oci-archive:{path}")?;
                tagged(f, tag)
            }
            Self::DockerArchive { path, reference } => {
                write!(f, "docker-archive:{path}")?;
                match reference {
                    Some(reference) => write!(f, ":{reference}"),
                    None => Ok(()),
                }
            }
            Self::Tool(path) => write!(f, "tool:{path}"),
            Self::Registry(reference) => reference.fmt(f),
        }
    }
}

impl Reference {
    /// As [`Reference::parse`], but a name without a tag has none: where something was signed or
    /// written down, nobody meant what docker fills in.
    pub fn as_written(text: &str) -> Result<Self> {
        let reference = Self::parse(text)?;
        let last = text.rsplit('/').next().unwrap_or_default();
        let tag = reference.tag.filter(|_| last.contains(':'));
        Ok(Self { tag, ..reference })
    }

    /// Parses `[domain/]path[:tag][@digest]` and fills in what docker fills in. The first
    /// component is a domain where it has a dot or a colon, or is `localhost`
    /// (distribution/reference, `splitDockerDomain`, which also takes a bare `Host` with an
    /// upper-case letter: refused here, because policy matches domains in lower case).
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |why: &str| Err(usage(text, &format!("is not an image name: {why}")));
        if text.is_empty() {
            return refused("it is empty");
        }
        if text.len() > MAX_NAME + MAX_TAG + 100 {
            return refused("it is too long");
        }
        if is_id(text) {
            return refused("64 hex digits are an id")
                .map_err(|e: Error| e.hint("to name an image by digest, write NAME@sha256:..."));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let slash = name.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match name[slash..].find(':') {
            Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
            None => (name, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return refused("its tag is not 1 to 128 letters, digits, '_', '.' or '-'");
        }
        let (domain, path) = match name.split_once('/') {
            Some((first, path)) if is_domain_like(first) => (first.to_ascii_lowercase(), path),
            _ => ("docker.io".to_owned(), name),
        };
        if !is_domain(&domain) {
            return refused("its registry is not a host[:port]");
        }
        // Written out, `oci:5000/x` would be a folder: a host of such a name is reached with a dot.
        let host = domain.split(':').next().unwrap_or_default();
        if domain.len() > host.len() && is_transport(host) {
            return refused("its registry has the name of a transport");
        }
        let domain = match domain.as_str() {
            "index.docker.io" => "docker.io".to_owned(),
            _ => domain,
        };
        let path = match domain == "docker.io" && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        };
        if path.contains(|c: char| c.is_ascii_uppercase()) {
            return refused("names are in lower case");
        }
        if !path.split('/').all(is_path_component) {
            return refused(
                "a name is a-z and 0-9, joined by one '.', one or two '_', or any number of '-'",
            );
        }
        if domain.len() + 1 + path.len() > MAX_NAME {
            return refused("its name is longer than 255 characters");
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        Ok(Self {
            domain,
            path,
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The shortest form that means the same: without `docker.io/` and `library/`, unless what is
    /// left would be read as something else (a transport, another registry).
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else {
            return full;
        };
        let shorter = short.strip_prefix("library/");
        let same = |text: &&str| matches!(ImageName::parse(text), Ok(ImageName::Registry(r)) if r == *self);
        shorter
            .into_iter()
            .chain([short])
            .find(same)
            .map_or_else(|| full.clone(), str::to_owned)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Whether a word before a colon names a transport, and never a registry: `oci`, `docker-archive`.
pub fn is_transport(word: &str) -> bool {
    matches!(word, "builtin" | "oci" | "oci-archive" | "docker-archive")
        || FOREIGN.iter().any(|(name, _)| *name == word)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_domain_like(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

/// `host[:port]`, where host is labels of letters, digits and inner hyphens, or `[IPv6]`. A port and
/// an address have one spelling (RFC 5952): rules are about names.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            let parsed = address.parse::<std::net::Ipv6Addr>();
            if parsed
                .ok()
                .is_none_or(|parsed| parsed.to_string() != address)
            {
                return false;
            }
            (None, (!port.is_empty()).then_some(port))
        }
        None => match domain.find(':') {
            Some(colon) => (Some(&domain[..colon]), Some(&domain[colon..])),
            None => (Some(domain), None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let port_is_good = port.is_none_or(|port| {
        port.strip_prefix(':').is_some_and(|digits| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
            plain && digits.parse::<u16>().is_ok()
        })
    });
    host.is_none_or(|host| host.split('.').all(label)) && port_is_good
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = component;
    loop {
        let after = rest.trim_start_matches(word);
        if after.len() == rest.len() {
            return false;
        }
        if after.is_empty() {
            return true;
        }
        rest = after.trim_start_matches(|c| !word(c));
        let separator = &after[..after.len() - rest.len()];
        let known = matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
        if !known {
            return false;
        }
    }
}

#[cfg(test)]
mod tests;
