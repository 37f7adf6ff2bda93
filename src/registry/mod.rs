//! The client of OCI's distribution-spec: names to manifests, descriptors to bytes.
//!
//! It runs in the fetch worker, which has the network and next to nothing else: one thread, no
//! file, nothing out of the environment; what it needs is handed in as [`Options`], what it brings
//! goes out as values and into a `Write`. The other side is not believed: every answer is limited
//! in size and time, nothing is parsed before its digest or its descriptor has been held against
//! it, and a blob is hashed while it streams. A descriptor's `urls` are never followed (they end in
//! [`Descriptor::parse`](crate::image::Descriptor::parse)).
//!
//! Credentials go to the registry that they are for and to its own token server (see `auth`), over
//! TLS, or without it where the user said so; a redirect to another host, port or scheme leaves
//! them behind.

mod attach;
mod auth;
mod blob;
mod exchange;
mod failure;
mod http;
mod known;
mod options;
mod origin;
mod ping;
mod push;
mod retry;
mod search;
mod signatures;

pub use attach::{Attached, Bytes};
pub use known::Known;
pub use options::{Auth, Limits, Options, Roots};
pub use ping::Ping;
pub use push::Sent;
pub use search::Found;

use crate::error::{Error, Kind, Result};
use crate::host::Mirror;
use crate::image::quote::quoted;
use crate::image::{Descriptor, Digest, Index, Manifest, MediaKind, Platform, Reference};
use auth::{Authentication, Scope};
use exchange::{Errand, To};
use failure::Trouble;
use http::{Ask, Http, Reply};
use retry::Retries;
use std::collections::BTreeMap;

/// The documents that are taken, best first (OCI distribution-spec, "Pulling manifests"). Schema 1
/// is not among them.
const DOCUMENTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The header in which a registry says what it serves.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a name stands for at its registry; all bytes raw, and what their digests say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The digest of what was served under the name, an index or a manifest.
    pub top: Digest,
    /// The index, and its media type, where the name led to one.
    pub index: Option<(Vec<u8>, String)>,
    /// The image's manifest.
    pub manifest: Vec<u8>,
    /// The manifest's media type.
    pub media_type: String,
    /// The same manifest, read.
    pub parsed: Manifest,
}

/// Speaks to registries; keeps connections and tokens for the next request.
#[derive(Debug)]
pub struct Client {
    http: Http,
    auth: Authentication,
    limits: Limits,
    /// `Authorization` by registry and scope, as far as it was asked for.
    granted: BTreeMap<(String, Scope), String>,
    /// Mirrors that have not failed yet.
    mirrors: Vec<Mirror>,
    /// Whether a registry speaks TLS, once it has answered.
    tls: BTreeMap<String, bool>,
}

/// What is asked for, in the words of its errors.
struct Wanted<'a> {
    from: &'a Reference,
    /// `/v2/NAME/manifests/TAG`.
    path: String,
    what: String,
}

/// The same image at a mirror.
fn mirrored(reference: &Reference, mirror: &Mirror) -> Reference {
    let path = match mirror.prefix.as_str() {
        "" => reference.path.clone(),
        prefix => format!("{prefix}/{}", reference.path),
    };
    Reference {
        domain: mirror.domain.clone(),
        path,
        ..reference.clone()
    }
}

impl<'a> Wanted<'a> {
    /// What a name names, or the manifest that its index lists as `entry`.
    fn document(from: &'a Reference, entry: Option<&Descriptor>) -> Self {
        let named = entry.map(|entry| entry.digest).or(from.digest);
        let name = match (named, &from.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        };
        Self {
            from,
            path: format!("/v2/{}/manifests/{name}", from.path),
            what: match entry {
                Some(entry) => format!("manifest {} of {from}", entry.digest.short()),
                None => from.to_string(),
            },
        }
    }
}

impl Client {
    /// A client that has spoken to nobody yet.
    ///
    /// `Usage`: a proxy, a certificate or credentials that cannot be used.
    pub fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            http: Http::new(options)?,
            auth: Authentication::new(options)?,
            limits: options.limits.clone(),
            granted: BTreeMap::new(),
            mirrors: options.mirrors.clone(),
            tls: BTreeMap::new(),
        })
    }

    /// Asks what a name stands for, and of an index for the manifest for `platform`.
    ///
    /// `NotFound`, `Credentials`, `Registry`: there is no answer; `Integrity`: bytes are not what
    /// was named or announced; `Malformed`, `Unsupported`, `Limit`, `Platform`: as
    /// [`Manifest::parse`] and [`Index::select`].
    pub fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<Served> {
        self.anywhere(reference, |client, at| client.resolve_at(at, platform))
    }

    /// Asks the mirrors in their order, then the registry itself. A mirror that has no answer is not
    /// asked again; that it does not have this image is one.
    ///
    /// Errors: the registry's own, with the mirrors' behind it.
    fn anywhere<T>(
        &mut self,
        reference: &Reference,
        mut ask: impl FnMut(&mut Self, &Reference) -> Result<T>,
    ) -> Result<T> {
        let mut failed = Vec::new();
        for mirror in self.mirrors.clone() {
            match ask(self, &mirrored(reference, &mirror)) {
                Ok(answer) => return Ok(answer),
                // What is written to is the same everywhere.
                Err(e) if e.kind == Kind::Io => return Err(e),
                Err(e) => {
                    if e.kind != Kind::NotFound {
                        self.mirrors.retain(|other| *other != mirror);
                    }
                    failed.push(format!("  mirror {}: {}", mirror.domain, e.cause));
                }
            }
        }
        ask(self, reference).map_err(|e| Error {
            detail: failed,
            ..e
        })
    }

    fn resolve_at(&mut self, reference: &Reference, platform: &Platform) -> Result<Served> {
        let (bytes, media_type) = self.document(reference, None)?;
        let top = Digest::of(&bytes);
        if MediaKind::of(&media_type) != MediaKind::Index {
            let parsed = Manifest::parse(&bytes, Some(&media_type))?;
            return Ok(Served {
                top,
                index: None,
                manifest: bytes,
                media_type,
                parsed,
            });
        }
        let index = Index::parse(&bytes, Some(&media_type))?;
        let entry = index.select(platform)?;
        entry.at_most(self.limits.manifest, "manifest")?;
        let (manifest, manifest_type) = self.document(reference, Some(entry))?;
        let parsed = Manifest::parse(&manifest, Some(&manifest_type))?;
        Ok(Served {
            top,
            index: Some((bytes, media_type)),
            manifest,
            media_type: manifest_type,
            parsed,
        })
    }

    /// Whether a name still stands for what has the digest `known`, in one round trip (HEAD) and
    /// without any document. `false` also where the registry does not say, in which case
    /// [`Client::resolve`] does, or says why not.
    ///
    /// Nothing is learnt from a `true` but that there is nothing to learn: a registry that lies here
    /// could as well serve what it served before.
    ///
    /// `Registry`: there is no answer; `Credentials`: none to this caller.
    pub fn still(&mut self, reference: &Reference, known: &Digest) -> Result<bool> {
        let ask = Ask {
            accept: DOCUMENTS,
            head: true,
            ..Ask::default()
        };
        let reply = self.anywhere(reference, |client, at| {
            let wanted = Wanted::document(at, None);
            client.ask(&wanted, ask, &mut Retries::new(&client.limits))
        })?;
        let kind = MediaKind::of(reply.media_type());
        Ok(reply.status == 200
            && matches!(kind, MediaKind::Index | MediaKind::Manifest)
            && Digest::parse(reply.header(CONTENT_DIGEST)).is_ok_and(|said| said == *known))
    }

    /// A manifest or an index with its media type; `entry` is what an index says of it, else it is
    /// what the reference names. Its bytes are what was named, as far as a digest names them.
    fn document(
        &mut self,
        from: &Reference,
        entry: Option<&Descriptor>,
    ) -> Result<(Vec<u8>, String)> {
        let named = entry.map(|entry| entry.digest).or(from.digest);
        let wanted = Wanted::document(from, entry);
        let ask = Ask {
            accept: DOCUMENTS,
            ..Ask::default()
        };
        let mut retries = Retries::new(&self.limits);
        loop {
            let reply = self.ask(&wanted, ask, &mut retries)?;
            let at = reply.origin.clone();
            let wrong =
                |kind, why: String| Err(Error::new(kind, format!("{}: {at}: {why}", wanted.what)));
            if reply.is_page() {
                return Err(failure::page(&at, &wanted.what));
            }
            let media_type = reply.media_type().to_owned();
            if let Some(entry) = entry
                && media_type != entry.media_type
            {
                return wrong(
                    Kind::Malformed,
                    format!(
                        "its index says {}, and it comes as {}",
                        quoted(&entry.media_type),
                        quoted(&media_type)
                    ),
                );
            }
            match MediaKind::of(&media_type) {
                MediaKind::Index | MediaKind::Manifest | MediaKind::Schema1 => {}
                _ => {
                    return wrong(
                        Kind::Malformed,
                        format!("it comes as {}, which is no image", quoted(&media_type)),
                    );
                }
            }
            let said = match reply.headers.contains_key(CONTENT_DIGEST) {
                true => match Digest::parse(reply.header(CONTENT_DIGEST)) {
                    Ok(said) => Some(said),
                    Err(e) => return Err(e.context(format!("{}: {at}", wanted.what))),
                },
                false => None,
            };
            // What is longer than announced is not worth reading to its end.
            let most = entry.map_or(self.limits.manifest, |entry| entry.size);
            let bytes = match reply.read(most, "manifest") {
                Ok(bytes) => bytes,
                Err(Trouble::Broken(e)) => {
                    retries.or(e, None)?;
                    continue;
                }
                Err(Trouble::Final(e)) if entry.is_some() && e.kind == Kind::Limit => {
                    return wrong(
                        Kind::Integrity,
                        format!("more than the {most} bytes that its index says"),
                    );
                }
                Err(other) => return Err(other.error()),
            };
            let got = Digest::of(&bytes);
            for (says, digest) in [("the name", named), ("its header", said)] {
                if let Some(digest) = digest
                    && digest != got
                {
                    return wrong(
                        Kind::Integrity,
                        format!("{says} says {digest}, and the bytes are {got}"),
                    );
                }
            }
            if let Some(entry) = entry
                && u64::try_from(bytes.len()) != Ok(entry.size)
            {
                return wrong(
                    Kind::Integrity,
                    format!(
                        "its index says {} bytes, and {} came",
                        entry.size,
                        bytes.len()
                    ),
                );
            }
            return Ok((bytes, media_type));
        }
    }

    /// GETs until it is answered with 200 or 206, or with 416 where a range was asked for. HEAD is
    /// a question on the side: any answer to it is one.
    fn ask(&mut self, wanted: &Wanted<'_>, ask: Ask<'_>, retries: &mut Retries) -> Result<Reply> {
        let errand = Errand {
            domain: &wanted.from.domain,
            what: &wanted.what,
            scope: &Scope::Pull(wanted.from.path.clone()),
            to: To::Path(&wanted.path),
            aside: ask.head,
            answers: match ask.from {
                Some(_) => |status| matches!(status, 200 | 206 | 416),
                None => |status| matches!(status, 200 | 206),
            },
        };
        self.exchange(&errand, retries, &mut |http, at, authorization| {
            let ask = Ask {
                authorization,
                ..ask
            };
            http.get(&at.url, ask)
        })
    }
}

fn no_address(domain: &str) -> Error {
    Error::new(
        Kind::Usage,
        format!("{} is not the address of a registry", quoted(domain)),
    )
}
