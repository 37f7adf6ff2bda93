//! A blob's bytes: counted and hashed while they stream, and taken up again where they broke off.

use super::failure::{self, Stage, Trouble, transport};
use super::http::{Ask, Reply};
use super::retry::Retries;
use super::{Client, Wanted};
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Hasher, MediaKind, Reference};
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, TRANSFER_ENCODING};

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// An attempt that brought this many bytes was worth one more.
const PROGRESS: u64 = 1 << 20;

/// What has arrived of a blob.
struct Arrived<'a> {
    blob: &'a Descriptor,
    what: String,
    bytes: u64,
    hasher: Hasher,
    out: &'a mut dyn Write,
    progress: &'a mut dyn FnMut(u64),
    pace: Pace,
}

/// What a connection brings while it is waited for, in windows as long as a document may take: one
/// that drips ends after one of them, and not after all the time that its size would give it.
struct Pace {
    window: Duration,
    slowest: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn of(limits: &super::Limits) -> Self {
        Self {
            window: limits.document,
            slowest: limits.slowest,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Counts a read that took so long. Whether it goes on fast enough.
    fn goes_on(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < self.window {
            return true;
        }
        let least = u128::from(self.slowest) * self.window.as_millis() / 1000;
        let enough = u128::from(self.bytes) >= least;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        enough
    }
}

impl Client {
    /// Brings a blob of `from`'s repository: writes its bytes to `out` as they come, and tells
    /// `progress` how many of them have been written so far. Only after `Ok` are they what the
    /// descriptor says; after an error what was written is to be thrown away.
    ///
    /// `Unsupported`: a foreign layer, whose bytes would come from elsewhere; `Limit`: larger than
    /// is taken; `Integrity`: size or digest are others; `Io`: writing failed; `NotFound`,
    /// `Credentials`, `Registry`: there is no answer, or none that goes on.
    pub fn blob(
        &mut self,
        from: &Reference,
        blob: &Descriptor,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        if let MediaKind::Layer(layer) = blob.kind()
            && layer.foreign
        {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "{from}: layer {} is a foreign one, which registries do not hold",
                    blob.digest.short()
                ),
            )
            .hint(
                "such images are made for Windows; lazaret brings bytes from their registry only",
            ));
        }
        blob.at_most(self.limits.blob, "blob")?;
        let mut arrived = Arrived {
            blob,
            what: String::new(),
            bytes: 0,
            hasher: Hasher::default(),
            out,
            progress,
            pace: Pace::of(&self.limits),
        };
        // What a mirror brought stays, if the next one goes on: all of it is hashed.
        self.anywhere(from, |client, at| client.bring(at, &mut arrived))?;
        let got = arrived.hasher.finish();
        match got == blob.digest {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Integrity,
                format!(
                    "{}: its digest is {}, and the bytes are {got}",
                    arrived.what, blob.digest
                ),
            )
            .hint("the registry or somebody on the way to it changed the bytes; nothing was kept")),
        }
    }

    /// Brings what is missing of a blob from one place.
    fn bring(&mut self, from: &Reference, arrived: &mut Arrived<'_>) -> Result<()> {
        let blob = arrived.blob;
        let what = format!("blob {} of {from}", blob.digest.short());
        arrived.what.clone_from(&what);
        let wanted = Wanted {
            from,
            path: format!("/v2/{}/blobs/{}", from.path, blob.digest),
            what: what.clone(),
        };
        let (mut retries, mut ranged) = (Retries::new(&self.limits), true);
        let mut before = arrived.bytes;
        loop {
            let ask = Ask {
                accept: "*/*",
                from: (ranged && arrived.bytes > 0).then_some(arrived.bytes),
                body: Some(self.time_for(blob.size)),
                ..Ask::default()
            };
            let reply = self.ask(&wanted, ask, &mut retries)?;
            let skip = match arrived.starts(&reply, ask.from)? {
                Some(skip) => skip,
                // It goes on somewhere else than asked: from the start, then, as others do.
                None if ranged => {
                    ranged = false;
                    continue;
                }
                None => {
                    return Err(arrived.wrong(
                        Kind::Malformed,
                        &reply,
                        "part of it, unasked".into(),
                    ));
                }
            };
            match arrived.pour(reply, skip) {
                Ok(()) => return Ok(()),
                Err(Trouble::Broken(e)) => {
                    if arrived.bytes - before >= PROGRESS {
                        retries.refresh();
                    }
                    before = arrived.bytes;
                    retries.or(e.context(&what), None)?;
                }
                Err(other) => return Err(other.error()),
            }
        }
    }

    /// How long a body of `size` bytes may take at the slowest.
    pub(super) fn time_for(&self, size: u64) -> Duration {
        let seconds = size / self.limits.slowest.max(1);
        self.limits
            .document
            .saturating_add(Duration::from_secs(seconds))
    }
}

impl Arrived<'_> {
    fn wrong(&self, kind: Kind, reply: &Reply, why: String) -> Error {
        Error::new(kind, format!("{}: {}: {why}", self.what, reply.origin))
    }

    /// How many bytes of the body are here already, given that those from `from` on were asked
    /// for. None: the body is another part than that.
    fn starts(&self, reply: &Reply, from: Option<u64>) -> Result<Option<u64>> {
        if reply.is_page() {
            return Err(failure::page(&reply.origin, &self.what));
        }
        let size = self.blob.size;
        let skip = match (reply.status, from) {
            (200, _) => self.bytes,
            (206, Some(from)) => {
                let last = size.saturating_sub(1);
                let range = reply.header(CONTENT_RANGE);
                let right = [size.to_string(), "*".to_owned()]
                    .iter()
                    .any(|all| range == format!("bytes {from}-{last}/{all}"));
                match right {
                    true => 0,
                    false => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let expected = size - self.bytes + skip;
        match reply.headers.get(CONTENT_LENGTH) {
            Some(length) if length.as_bytes() != expected.to_string().as_bytes() => Err(self
                .wrong(
                    Kind::Integrity,
                    reply,
                    format!(
                        "its size is {size}, and {} bytes are announced where {expected} are due",
                        crate::image::quote::plain(reply.header(CONTENT_LENGTH))
                    ),
                )),
            _ => Ok(Some(skip)),
        }
    }

    /// Takes in a body whose first `skip` bytes are here already. They need not be the same: what
    /// is hashed is what was written.
    fn pour(&mut self, reply: Reply, mut skip: u64) -> std::result::Result<(), Trouble> {
        let at = reply.origin.clone();
        // Only chunks and a length tell an end from a break.
        let says_its_end = reply.headers.contains_key(TRANSFER_ENCODING)
            || reply.headers.contains_key(CONTENT_LENGTH);
        let size = self.blob.size;
        let wrong = |what: &str, why: String| {
            Trouble::Final(Error::new(Kind::Integrity, format!("{what}: {at}: {why}")))
        };
        let mut reader = reply
            .body
            .into_reader()
            .take((size - self.bytes + skip).saturating_add(1));
        let mut buffer = vec![0; BUFFER];
        loop {
            let begun = Instant::now();
            let read = match reader.read(&mut buffer) {
                Ok(0) if self.bytes == size => return Ok(()),
                Ok(0) if says_its_end => {
                    let came = self.bytes;
                    return Err(wrong(
                        &self.what,
                        format!("its size is {size}, and {came} bytes came"),
                    ));
                }
                Ok(0) => {
                    let gone =
                        Error::new(Kind::Registry, format!("{at}: it stopped in the middle"));
                    return Err(Trouble::Broken(gone));
                }
                Ok(read) => match self.pace.goes_on(begun.elapsed(), read) {
                    true => read,
                    false => return Err(Trouble::Final(failure::too_slow(&at))),
                },
                // All bytes are here, and their digest decides.
                Err(_) if self.bytes == size => return Ok(()),
                Err(e) => return Err(transport(&at, Stage::Body, e.into())),
            };
            let here = usize::try_from(skip).unwrap_or(usize::MAX).min(read);
            skip -= here as u64;
            let new = &buffer[here..read];
            if new.len() as u64 > size - self.bytes {
                return Err(wrong(
                    &self.what,
                    format!("its size is {size}, and more came"),
                ));
            }
            self.hasher.update(new);
            self.out
                .write_all(new)
                .map_err(|e| Trouble::Final(Error::io(format!("write {}", self.what), &e)))?;
            self.bytes += new.len() as u64;
            if !new.is_empty() {
                (self.progress)(self.bytes);
            }
        }
    }
}
