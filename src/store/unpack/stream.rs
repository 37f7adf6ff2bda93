//! From compressed blob to plain tar bytes, in two threads: one reads, hashes and decompresses, one
//! hashes what came of it, which costs a third of the first one's time. What the next one gets are
//! recycled buffers over a bounded channel, so memory stays the same for any layer.
use super::{Expect, Limits};
use crate::error::{Error, Kind, Result};
use crate::image::{Compression, DiffId, Digest, Hasher};
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender};

/// Bytes of a buffer between the threads, and of the read buffer.
const BUFFER: usize = 256 << 10;
/// How many buffers wait at the most for the thread that hashes them, and for the one that unpacks
/// them.
pub(super) const BUFFERS: usize = 4;

/// The blob: bounded, counted and hashed while it is read.
struct Source<'a, R> {
    inner: R,
    expect: &'a Expect,
    /// `None`: whoever feeds hashes.
    hasher: Option<Hasher>,
    total: u64,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// What went wrong with reading; decompressors only see that something did.
    failure: Option<Error>,
}

impl<R: Read> Source<'_, R> {
    fn refill(&mut self) -> Result<()> {
        // One byte more than promised is enough to know that the promise was a lie.
        let most = (self.expect.size - self.total).saturating_add(1);
        let most = usize::try_from(most).unwrap_or(BUFFER).min(BUFFER);
        let read = loop {
            match self.inner.read(&mut self.buffer[..most]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|e| Error::io("read a layer", &e))?,
            }
        };
        let read = read.min(most);
        self.total += read as u64;
        if self.total > self.expect.size {
            self.total = self.expect.size;
            return Err(integrity(format!(
                "layer {} is longer than the {} bytes that its descriptor says",
                self.expect.digest, self.expect.size
            )));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.buffer[..read]);
        }
        (self.at, self.end) = (0, read);
        Ok(())
    }

    /// Reads what is left and says whether the blob is the one that was named.
    fn verify(mut self) -> Result<()> {
        loop {
            if let Some(failure) = self.failure {
                return Err(failure);
            }
            let len = match self.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => bytes.len(),
                Err(_) => continue,
            };
            self.consume(len);
        }
        if self.total != self.expect.size {
            return Err(integrity(format!(
                "layer {} has {} bytes, its descriptor says {}",
                self.expect.digest, self.total, self.expect.size
            )));
        }
        match self.hasher.map(Hasher::finish) {
            Some(found) if found != self.expect.digest => Err(integrity(format!(
                "layer {} has the digest {found}",
                self.expect.digest
            ))),
            _ => Ok(()),
        }
    }
}

impl<R: Read> BufRead for Source<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end
            && let Err(e) = self.refill()
        {
            (self.at, self.end) = (0, 0);
            self.failure.get_or_insert(e);
            return Err(io::Error::other("the layer cannot be read"));
        }
        Ok(&self.buffer[self.at..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.end.min(self.at + amount);
    }
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// How the reading thread ended, when nothing was wrong with the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything was handed over.
    Whole,
    /// The next thread stopped listening.
    Stopped,
}

/// The reading thread's work. `hurry` set: when the next thread stops listening, do not read the
/// rest of the blob to see whether it was the right one.
pub(super) fn produce<R: Read>(
    blob: R,
    expect: &Expect,
    limits: &Limits,
    hurry: &AtomicBool,
    out: SyncSender<Vec<u8>>,
    empties: Receiver<Vec<u8>>,
) -> Result<Ended> {
    let mut source = Source {
        inner: blob,
        expect,
        hasher: (!expect.hashed).then(Hasher::default),
        total: 0,
        buffer: vec![0; BUFFER],
        at: 0,
        end: 0,
        failure: None,
    };
    let pumped = match expect.compression {
        Compression::None => pump(&mut source, limits, expect, &out, &empties),
        Compression::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(&mut source);
            pump(decoder, limits, expect, &out, &empties)
        }
        Compression::Zstd => zstd_decoder(&mut source, limits)
            .and_then(|decoder| pump(decoder, limits, expect, &out, &empties)),
    };
    // The next thread may end as soon as it has all bytes, while the digest is still being made.
    drop(out);
    match pumped {
        Ok(Ended::Stopped) if hurry.load(Ordering::Acquire) => Ok(Ended::Stopped),
        Ok(ended) => source.verify().map(|()| ended),
        Err(e) if e.kind == Kind::Malformed => {
            // A flipped bit shows as a broken stream first; the digest is the better answer.
            source.verify()?;
            Err(e)
        }
        Err(e) => Err(e),
    }
}

fn zstd_decoder<B: BufRead>(
    source: B,
    limits: &Limits,
) -> Result<zstd::stream::read::Decoder<'static, B>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(source)
        .map_err(|e| Error::io("start a zstd decoder", &e))?;
    decoder
        .window_log_max(limits.zstd_window_log)
        .map_err(|e| Error::io("cap the zstd window", &e))?;
    Ok(decoder)
}

fn pump(
    mut plain: impl Read,
    limits: &Limits,
    expect: &Expect,
    out: &SyncSender<Vec<u8>>,
    empties: &Receiver<Vec<u8>>,
) -> Result<Ended> {
    let mut total = 0u64;
    loop {
        // The channels that they wait in bound how many there are.
        let mut buffer = empties.try_recv().unwrap_or_default();
        buffer.resize(BUFFER, 0);
        let mut filled = 0;
        while filled < BUFFER {
            match plain.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(expect, &e)),
            }
        }
        if filled == 0 {
            return Ok(Ended::Whole);
        }
        total += filled as u64;
        let bomb = total > limits.ratio_floor && total / limits.ratio > expect.size;
        if total > limits.size || bomb {
            let most = if bomb {
                format!("{} times its compressed size", limits.ratio)
            } else {
                format!("{} bytes", limits.size)
            };
            return Err(Error::new(
                Kind::Limit,
                format!("layer {} unpacks to more than {most}", expect.digest),
            ));
        }
        buffer.truncate(filled);
        if out.send(buffer).is_err() {
            return Ok(Ended::Stopped);
        }
    }
}

/// The hashing thread's work: hands on what it gets, and gives its digest. Once nobody listens any
/// more it goes on alone, because the digest tells what was wrong better than a parser does; `hurry`
/// set: then it stops, and has none.
pub(super) fn hash(
    plain: Receiver<Vec<u8>>,
    out: SyncSender<Vec<u8>>,
    hurry: &AtomicBool,
) -> Option<DiffId> {
    let (mut hasher, mut out) = (Hasher::default(), Some(out));
    for buffer in plain {
        hasher.update(&buffer);
        if let Some(to) = &out
            && to.send(buffer).is_err()
        {
            out = None;
        }
        if out.is_none() && hurry.load(Ordering::Acquire) {
            return None;
        }
    }
    Some(DiffId(hasher.finish()))
}

fn broken(expect: &Expect, e: &io::Error) -> Error {
    let what = match expect.compression {
        Compression::None => "plain",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    Error::new(
        Kind::Malformed,
        format!("layer {} is not a {what} stream: {e}", expect.digest),
    )
}

pub(super) fn integrity(cause: String) -> Error {
    Error::new(Kind::Integrity, cause)
        .hint("no policy allows this; the bytes are not what was named")
}

/// Checks the digest of the whole uncompressed stream.
pub(super) fn verify_diff_id(expect: &Expect, found: DiffId) -> Result<()> {
    let DiffId(wanted) = expect.diff_id;
    let DiffId(found) = found;
    if wanted == found {
        return Ok(());
    }
    let blob: &Digest = &expect.digest;
    Err(integrity(format!(
        "layer {blob} unpacks to {found}, the image config says {wanted}"
    )))
}

/// The plain tar bytes, as the unpacking thread reads them.
pub(super) struct Stream {
    incoming: Receiver<Vec<u8>>,
    empties: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    at: usize,
}

impl Stream {
    pub(super) fn new(incoming: Receiver<Vec<u8>>, empties: Sender<Vec<u8>>) -> Self {
        Self {
            incoming,
            empties,
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// The bytes at hand, at least one of them; empty at the end of the stream.
    pub(super) fn fill(&mut self) -> &[u8] {
        if self.at == self.buffer.len() {
            let used = std::mem::take(&mut self.buffer);
            if used.capacity() > 0 && self.empties.send(used).is_err() {
                // The reading thread has no more use for buffers: it is at its end.
            }
            self.buffer = self.incoming.recv().unwrap_or_default();
            self.at = 0;
        }
        &self.buffer[self.at..]
    }

    /// Takes `amount` of the bytes that [`Stream::fill`] gave.
    pub(super) fn consume(&mut self, amount: usize) {
        self.at = self.buffer.len().min(self.at + amount);
    }

    /// Fills `out`; false when the stream was at its end, an error when it ends inside.
    pub(super) fn read_block(&mut self, out: &mut [u8; 512]) -> Result<bool> {
        let mut filled = 0;
        while filled < out.len() {
            let bytes = self.fill();
            if bytes.is_empty() {
                return match filled {
                    0 => Ok(false),
                    _ => Err(Error::new(
                        Kind::Malformed,
                        "the archive ends inside a block",
                    )),
                };
            }
            let n = bytes.len().min(out.len() - filled);
            out[filled..filled + n].copy_from_slice(&bytes[..n]);
            self.consume(n);
            filled += n;
        }
        Ok(true)
    }
}
