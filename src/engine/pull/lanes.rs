//! What the fetch worker and its parent say to each other, all of it over pipes.
//!
//! The worker says what it found out about a name, hears which layers are wanted, and brings them
//! over a few lanes at once: on each lane pieces of one layer after another, `number length bytes`,
//! a length of 0 behind the last one. The parent believes none of it: a lane only says where bytes
//! claim to belong, and what they are is counted and hashed by whoever takes them in.

use crate::engine::documents::Documents;
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::{Digest, Manifest, Platform, Reference};
use crate::registry::{Client, Options};
use crate::trust::{Attachments, MAX_ATTACHED};
use std::fs::File;
use std::io::{Read as _, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many layers come at once.
const LANES: usize = 3;
/// The most bytes that the documents of an image take on their way here: an index, a manifest and a
/// config of the largest size, written as JSON, and what is attached to it, in base64.
const MAX_FOUND: u64 = (128 << 20) + MAX_ATTACHED / 3 * 4;
/// The most bytes of a piece.
const PIECE: usize = 1 << 20;

/// What the worker is to find out.
pub(super) struct Asked<'a> {
    pub(super) reference: &'a Reference,
    pub(super) platform: &'a Platform,
    /// What the name meant when it was asked last, and the manifest that it is here.
    pub(super) known: Option<(Digest, Digest)>,
    /// What is attached to the image is wanted too.
    pub(super) signed: bool,
}

/// What the worker found out, not yet believed.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Found {
    /// `None`: the name means what was known.
    pub(super) documents: Option<Documents>,
    /// `None`: it was not wanted.
    pub(super) attached: Option<Attachments>,
}

/// The worker's ends.
pub(super) struct Theirs {
    found: OwnedFd,
    wanted: OwnedFd,
    lanes: Vec<OwnedFd>,
}

/// The parent's ends.
pub(super) struct Ours {
    found: File,
    wanted: File,
    pub(super) lanes: Vec<Lane>,
}

/// Both ends of everything.
///
/// # Errors
/// `Io`.
pub(super) fn pipes() -> Result<(Theirs, Ours)> {
    let (found, their_found) = crate::store::pipe()?;
    let (their_wanted, wanted) = crate::store::pipe()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..LANES {
        let (read, write) = crate::store::pipe()?;
        ours.push(Lane::new(read));
        theirs.push(write);
    }
    Ok((
        Theirs {
            found: their_found,
            wanted: their_wanted,
            lanes: theirs,
        },
        Ours {
            found: found.into(),
            wanted: wanted.into(),
            lanes: ours,
        },
    ))
}

impl Theirs {
    /// For the worker to keep.
    pub(super) fn fds(&self) -> Vec<RawFd> {
        let both = [self.found.as_raw_fd(), self.wanted.as_raw_fd()];
        both.into_iter()
            .chain(self.lanes.iter().map(|lane| lane.as_raw_fd()))
            .collect()
    }

    /// The worker's whole work.
    ///
    /// # Errors
    /// As the registry client's.
    pub(super) fn work(self, options: &Options, asked: &Asked<'_>) -> Result<Vec<u8>> {
        let mut client = Client::new(options)?;
        let tell = File::from(self.found);
        let reference = asked.reference;
        if let Some((served, manifest)) = &asked.known
            && client.still(reference, served)?
        {
            let attached = asked.signed.then(|| {
                let index = match served == manifest {
                    true => None,
                    false => Some(client.by_digest(reference, served)?),
                };
                client.signatures(reference, manifest, index)
            });
            let found = Found {
                documents: None,
                attached: attached.transpose()?,
            };
            say(tell, &found)?;
            return Ok(Vec::new());
        }
        let (documents, manifest) = Documents::fetch(&mut client, reference, asked.platform)?;
        let attached = asked.signed.then(|| {
            let index = documents.index.as_ref().map(|index| index.0.clone());
            client.signatures(reference, &manifest.digest, index)
        });
        let found = Found {
            attached: attached.transpose()?,
            documents: Some(documents),
        };
        say(tell, &found)?;
        drop(found);
        let mut wanted = Vec::new();
        File::from(self.wanted)
            .read_to_end(&mut wanted)
            .or_call(|| "read what is wanted")?;
        let wanted: Vec<usize> = match wanted.is_empty() {
            true => Vec::new(),
            false => serde_json::from_slice(&wanted)
                .map_err(|_| Error::new(Kind::Worker, "what is wanted is not said"))?,
        };
        fetch(options, reference, &manifest, &wanted, client, self.lanes)?;
        Ok(Vec::new())
    }
}

fn say(mut tell: File, found: &Found) -> Result<()> {
    let json = serde_json::to_vec(found)
        .map_err(|e| Error::new(Kind::Worker, format!("write what was found: {e}")))?;
    tell.write_all(&json).or_call(|| "write what was found")
}

/// Brings the layers `wanted`, by their numbers in the manifest, over all lanes at once.
fn fetch(
    options: &Options,
    reference: &Reference,
    manifest: &Manifest,
    wanted: &[usize],
    first: Client,
    lanes: Vec<OwnedFd>,
) -> Result<()> {
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed = Mutex::new(None);
    let first = Mutex::new(Some(first));
    let some = |lane: OwnedFd| -> Result<()> {
        // One of them goes on with the connection and the token that are there.
        let client = first.lock().ok().and_then(|mut first| first.take());
        let mut client = client.map_or_else(|| Client::new(options), Ok)?;
        let mut lane = File::from(lane);
        while let Some(number) = wanted.get(next.fetch_add(1, Ordering::Relaxed))
            && !over.load(Ordering::Relaxed)
        {
            let layer = manifest.layers.get(*number);
            let layer = layer.ok_or_else(|| Error::new(Kind::Worker, "no such layer"))?;
            let mut out = Pieces {
                number: *number,
                lane: &mut lane,
                over: &over,
            };
            client.blob(reference, layer, &mut out, &mut |_| {})?;
            out.piece(&[]).or_call(|| "write a layer")?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for lane in lanes.into_iter().take(wanted.len()) {
            scope.spawn(|| {
                if let Err(error) = some(lane)
                    && let Ok(mut failed) = failed.lock()
                {
                    failed.get_or_insert(error);
                    // The others stop at their next bytes: a slow one keeps nobody waiting.
                    over.store(true, Ordering::Relaxed);
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(Error::new(
            Kind::Worker,
            "a thread of the fetch worker died",
        )),
    }
}

/// A layer's way into a lane.
struct Pieces<'a> {
    number: usize,
    lane: &'a mut File,
    /// Another layer failed, and nobody wants this one any more.
    over: &'a AtomicBool,
}

impl Pieces<'_> {
    fn piece(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        let head = [word(self.number), word(bytes.len())].concat();
        self.lane.write_all(&head)?;
        self.lane.write_all(bytes)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.over.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("another layer failed"));
        }
        let bytes = &bytes[..bytes.len().min(PIECE)];
        if !bytes.is_empty() {
            self.piece(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Ours {
    /// What poll(2) finds readable once there is news, or there will be none.
    pub(super) fn found_fd(&self) -> BorrowedFd<'_> {
        self.found.as_fd()
    }

    /// Reads on; the whole text once the worker has closed its end.
    ///
    /// # Errors
    /// `Worker`: it is too long.
    pub(super) fn read_found(&mut self, text: &mut Vec<u8>) -> Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        let n = rustix::io::retry_on_intr(|| rustix::io::read(&self.found, &mut buffer[..]))
            .or_call(|| "read what was found")?;
        text.extend_from_slice(&buffer[..n]);
        match text.len() as u64 <= MAX_FOUND {
            true => Ok(n == 0),
            false => Err(Error::new(Kind::Worker, "what was found is too long")),
        }
    }

    /// Says which layers are wanted, by their numbers in the manifest, and gives the lanes back on
    /// which they come.
    pub(super) fn want(mut self, numbers: &[usize]) -> Vec<Lane> {
        // A worker that is gone says why at its end.
        if let Ok(json) = serde_json::to_vec(numbers) {
            let _said_at_its_end = self.wanted.write_all(&json).is_ok();
        }
        self.lanes
    }
}

/// One lane's parent end, and how far a piece has come.
pub(super) struct Lane {
    from: OwnedFd,
    head: Vec<u8>,
    /// The layer of the piece that is coming, and how many bytes of it are missing.
    number: usize,
    missing: usize,
}

impl Lane {
    fn new(from: OwnedFd) -> Self {
        Self {
            from,
            head: Vec::with_capacity(8),
            number: 0,
            missing: 0,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    /// Reads once and hands out what came: a layer's number and its bytes, none at its end. `false`
    /// at the end of the lane.
    ///
    /// # Errors
    /// `Io`; what `out` says.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut out: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        let n = rustix::io::retry_on_intr(|| rustix::io::read(&self.from, &mut *buffer))
            .or_call(|| "read what is fetched")?;
        let mut bytes = &buffer[..n];
        while !bytes.is_empty() {
            if self.missing > 0 {
                let (piece, rest) = bytes.split_at(self.missing.min(bytes.len()));
                out(self.number, piece)?;
                self.missing -= piece.len();
                bytes = rest;
                continue;
            }
            let (head, rest) = bytes.split_at((8 - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(head);
            bytes = rest;
            if let Ok(head) = <[u8; 8]>::try_from(&self.head[..]) {
                let [a, b, c, d, e, f, g, h] = head;
                let word = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
                (self.number, self.missing) = (word([a, b, c, d]), word([e, f, g, h]));
                self.head.clear();
                if self.missing == 0 {
                    out(self.number, &[])?;
                }
            }
        }
        Ok(n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_as_they_were_sent_however_they_are_cut() {
        let (read, write) = crate::store::pipe().unwrap();
        let (mut file, mut lane) = (File::from(write), Lane::new(read));
        for (number, text) in [(7, &b"first"[..]), (300, b"second")] {
            let mut pieces = Pieces {
                number,
                lane: &mut file,
                over: &AtomicBool::new(false),
            };
            pieces.write_all(text).unwrap();
            pieces.piece(&[]).unwrap();
        }
        drop(file);
        let mut got: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut ends = Vec::new();
        let mut buffer = [0; 3];
        while lane
            .read(&mut buffer, |number, bytes| {
                match (bytes, got.last_mut()) {
                    ([], _) => ends.push(number),
                    (_, Some((last, text))) if *last == number => text.extend_from_slice(bytes),
                    _ => got.push((number, bytes.to_vec())),
                }
                Ok(())
            })
            .unwrap()
        {}
        assert_eq!(got, [(7, b"first".to_vec()), (300, b"second".to_vec())]);
        assert_eq!(ends, [7, 300]);
    }
}
