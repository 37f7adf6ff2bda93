//! Blobs and manifests to a registry (OCI distribution-spec, "Push").
//!
//! A blob goes in one piece, after its bytes have been held against its digest: what flipped at
//! rest is not handed on. An upload that broke off begins again with a session of its own, because
//! nobody says how much of it the old one kept.

use super::auth::Scope;
use super::exchange::{Errand, Place, To};
use super::http::{Ask, Http, Reply};
use super::origin::redirected;
use super::retry::Retries;
use super::{CONTENT_DIGEST, Client};
use crate::error::{Context, Error, Kind, Result};
use crate::image::quote::quoted;
use crate::image::{Descriptor, Digest, Hasher, Reference};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;
use ureq::SendBody;
use ureq::http::Request;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use ureq::http::request::Builder;

/// How a blob came to be at the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was there already.
    Exists,
    /// The registry took it from another repository of its own.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

impl Client {
    /// Sees to it that `to`'s repository has a blob, whose bytes `file` holds from its beginning.
    /// `from` is a repository of the same registry that may have it. Tells `progress` how many
    /// bytes have been sent.
    ///
    /// `Integrity`: the file holds other bytes, or the registry says that it has others;
    /// `Credentials`, `Registry`, `NotFound`, `Limit`: it is not taken; `Io`: reading failed.
    pub fn send_blob(
        &mut self,
        to: &Reference,
        blob: &Descriptor,
        from: Option<&str>,
        file: &File,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Sent> {
        let what = format!("blob {} of {to}", blob.digest.short());
        let plain = Scope::Push {
            path: to.path.clone(),
            from: None,
        };
        let mut retries = Retries::new(&self.limits);
        let path = format!("/v2/{}/blobs/{}", to.path, blob.digest);
        let errand = Errand {
            domain: &to.domain,
            what: &what,
            scope: &plain,
            to: To::Path(&path),
            aside: false,
            answers: |status| matches!(status, 200 | 404),
        };
        let there = self
            .exchange(&errand, &mut retries, &mut |http, at, authorization| {
                let ask = Ask {
                    accept: "*/*",
                    authorization,
                    head: true,
                    ..Ask::default()
                };
                http.get(&at.url, ask)
            })
            .map_err(may_write(to))?;
        if there.status == 200 {
            same(&what, &there, &blob.digest)?;
            let size = there.header(CONTENT_LENGTH);
            if !size.is_empty() && size != blob.size.to_string() {
                let why = format!("it has {} bytes of {}", quoted(size), blob.size);
                return Err(wrong(&what, &there, &why));
            }
            return Ok(Sent::Exists);
        }
        check(file, blob)?;
        let mut from = from;
        loop {
            let Some(place) = self.session(to, &what, blob, from, &mut retries)? else {
                // A mount that is none leaves a session; one that fails leaves nothing.
                match from.take() {
                    Some(_) => continue,
                    None => return Err(no_session(&what)),
                }
            };
            let place = match place {
                Session::Mounted => return Ok(Sent::Mounted),
                Session::Open(place) => place,
            };
            from = None;
            let mut once = Retries::none(&self.limits);
            let errand = Errand {
                to: To::There(&place),
                answers: |status| status == 201,
                ..errand
            };
            let (there, back) = (self.time_for(blob.size), self.time_to_keep(blob.size));
            let put = self.exchange(&errand, &mut once, &mut |http, at, authorization| {
                let mut body = Bytes {
                    file,
                    at: 0,
                    size: blob.size,
                    progress: &mut *progress,
                };
                let request = with(Request::put(&at.url), authorization)
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, blob.size)
                    .body(SendBody::from_reader(&mut body));
                http.upload(&at.origin, request, there, back)
            });
            match (put, once.given_up()) {
                (Ok(reply), _) => {
                    same(&what, &reply, &blob.digest)?;
                    return Ok(Sent::Uploaded);
                }
                (Err(error), Some(wait)) => retries.or(error.context(&what), wait)?,
                (Err(error), None) => return Err(may_write(to)(error)),
            }
        }
    }

    /// Begins an upload, or has the registry take the blob from `from`. None: it does not.
    fn session(
        &mut self,
        to: &Reference,
        what: &str,
        blob: &Descriptor,
        from: Option<&str>,
        retries: &mut Retries,
    ) -> Result<Option<Session>> {
        let scope = Scope::Push {
            path: to.path.clone(),
            from: from.map(str::to_owned),
        };
        let mount = from.map(|from| format!("?mount={}&from={from}", blob.digest));
        let path = format!(
            "/v2/{}/blobs/uploads/{}",
            to.path,
            mount.as_deref().unwrap_or_default()
        );
        let errand = Errand {
            domain: &to.domain,
            what,
            scope: &scope,
            to: To::Path(&path),
            aside: false,
            answers: match from {
                Some(_) => |status| matches!(status, 201 | 202 | 400 | 403 | 404 | 405),
                None => |status| status == 202,
            },
        };
        let reply = self.exchange(&errand, retries, &mut |http, at, authorization| {
            let request = with(Request::post(&at.url), authorization)
                .header(CONTENT_LENGTH, 0)
                .body(());
            http.send(&at.origin, request, true, None)
        });
        let reply = match reply {
            // Whoever may write here need not be one who may read there.
            Err(e) if from.is_some() && matches!(e.kind, Kind::Credentials | Kind::NotFound) => {
                return Ok(None);
            }
            reply => reply.map_err(may_write(to))?,
        };
        match reply.status {
            201 => same(what, &reply, &blob.digest).map(|()| Some(Session::Mounted)),
            202 => self.place(&reply, &blob.digest).map(Some),
            _ => Ok(None),
        }
    }

    /// Where an upload goes: as a redirect may lead there, with the digest that ends it.
    fn place(&self, reply: &Reply, digest: &Digest) -> Result<Session> {
        let first = &reply.origin;
        let location = reply.headers.get(LOCATION);
        let location = location.map_or(&b""[..], |location| location.as_bytes());
        let plain = |to: &super::origin::Origin| self.http.may_be_plain(&to.domain(), to);
        let (url, origin) = redirected(first, first, location, plain)?;
        let joint = if url.query().is_some() { '&' } else { '?' };
        let url = format!("{url}{joint}digest={digest}");
        let url = url.parse().map_err(|_| {
            let cause = format!("{first}: the address of an upload is too long");
            Error::new(Kind::Registry, cause)
        })?;
        Ok(Session::Open(Place { url, origin }))
    }

    /// Puts a manifest under `to`'s tag: these very bytes, as this media type.
    ///
    /// `Integrity`: the registry keeps it by another digest; else as [`Client::send_blob`].
    pub fn send_manifest(&mut self, to: &Reference, bytes: &[u8], media_type: &str) -> Result<()> {
        let tag = to.tag.as_deref().unwrap_or("latest");
        self.put(to, tag, bytes, media_type).map(drop)
    }

    /// As [`Client::send_manifest`], under any tag or by its digest; the answer.
    pub(super) fn put(
        &mut self,
        to: &Reference,
        name: &str,
        bytes: &[u8],
        media_type: &str,
    ) -> Result<Reply> {
        let what = match to.tag.as_deref() == Some(name) {
            true => to.to_string(),
            false => format!("{name} of {}/{}", to.domain, to.path),
        };
        let path = format!("/v2/{}/manifests/{name}", to.path);
        let errand = Errand {
            domain: &to.domain,
            what: &what,
            scope: &Scope::Push {
                path: to.path.clone(),
                from: None,
            },
            to: To::Path(&path),
            aside: false,
            answers: |status| matches!(status, 200 | 201),
        };
        let back = self.time_to_keep(bytes.len() as u64);
        let mut retries = Retries::new(&self.limits);
        let reply = self
            .exchange(&errand, &mut retries, &mut |http: &Http, at, auth| {
                let request = with(Request::put(&at.url), auth)
                    .header(CONTENT_TYPE, media_type)
                    .body(bytes);
                http.upload(&at.origin, request, back, back)
            })
            .map_err(may_write(to))?;
        same(&what, &reply, &Digest::of(bytes))?;
        Ok(reply)
    }

    /// How long a registry may think about `size` bytes that it has been sent: some copy them.
    fn time_to_keep(&self, size: u64) -> Duration {
        let more = Duration::from_secs(size >> 24);
        self.limits.document.saturating_add(more)
    }
}

enum Session {
    Mounted,
    Open(Place),
}

fn with(request: Builder, authorization: Option<&str>) -> Builder {
    match authorization {
        Some(authorization) => request.header(AUTHORIZATION, authorization),
        None => request,
    }
}

/// What an answer says that it is about is what was sent.
fn same(what: &str, reply: &Reply, digest: &Digest) -> Result<()> {
    let said = reply.header(CONTENT_DIGEST);
    match reply.headers.contains_key(CONTENT_DIGEST) && said != digest.to_string() {
        true => Err(wrong(what, reply, &format!("it has {}", quoted(said)))),
        false => Ok(()),
    }
}

fn wrong(what: &str, reply: &Reply, why: &str) -> Error {
    let cause = format!("{what}: {}: {why}", reply.origin);
    Error::new(Kind::Integrity, cause).hint("the registry does not hold what it was sent")
}

fn no_session(what: &str) -> Error {
    Error::new(Kind::Registry, format!("{what}: no upload is begun"))
}

/// Refusals here are about writing.
fn may_write(to: &Reference) -> impl Fn(Error) -> Error {
    let (domain, path) = (to.domain.clone(), to.path.clone());
    move |error| match error.kind {
        Kind::Credentials => error.hint(format!(
            "log in as somebody who may write {path}: lazaret login {domain}"
        )),
        _ => error,
    }
}

/// Holds a blob's bytes against its descriptor.
fn check(file: &File, blob: &Descriptor) -> Result<()> {
    let call = || format!("read the blob {}", blob.digest.short());
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                at += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).or_call(call),
        }
    }
    match hasher.finish() == blob.digest && at == blob.size {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Integrity,
            format!(
                "the store's blob {} is damaged: its bytes have another digest",
                blob.digest
            ),
        )
        .hint("nothing of it was sent; load or pull the image again")),
    }
}

/// A blob on its way.
struct Bytes<'a> {
    file: &'a File,
    at: u64,
    size: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        if read == 0 && most > 0 {
            let gone = std::io::ErrorKind::InvalidData;
            return Err(std::io::Error::new(gone, "the blob became shorter"));
        }
        self.at += read as u64;
        (self.progress)(self.at);
        Ok(read)
    }
}
