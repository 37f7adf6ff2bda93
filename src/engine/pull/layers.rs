//! Layers arrive, are hashed here, and are unpacked by workers while they arrive: one loop over all
//! descriptors, so that the network, the disk and both processors are busy at once.

use super::lanes::Lane;
use crate::error::{Context as _, Error, Kind, Result};
use crate::host::Interrupts;
use crate::image::{Digest, LayerId};
use crate::plan::IdMap;
use crate::report::Progress;
use crate::store::source::SourceImage;
use crate::store::unpack::Limits;
use crate::store::{Begun, Incoming, Lease, Making, Store};
use crate::worker::Worker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};

/// How many layers are unpacked at once.
const UNPACKERS: usize = 2;
/// Bytes read from a lane at once.
const BUFFER: usize = 256 << 10;
/// When to look again at a layer that another process unpacks, and at what is to be drawn.
pub(super) const AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// A layer's blob.
enum Blob {
    /// The store has it, and it is right.
    Kept(File, u64),
    Wanted,
    Coming(Incoming),
}

impl Blob {
    /// The file, how much of it is there, and whether that is all and right.
    fn at_hand(&self) -> Option<(BorrowedFd<'_>, u64, bool)> {
        match self {
            Self::Kept(file, size) => Some((file.as_fd(), *size, true)),
            Self::Wanted => None,
            Self::Coming(blob) => Some((blob.file(), blob.got(), blob.is_whole())),
        }
    }
}

/// An unpacked layer, on its way.
enum Layer<'a> {
    Todo,
    Making(Box<Making<'a>>),
    There,
}

/// The layers of an image under way.
pub(super) struct Layers<'a> {
    store: &'a Store,
    map: &'a IdMap,
    image: &'a SourceImage,
    blobs: BTreeMap<Digest, Blob>,
    /// Each once: by the number of one that is the same in the manifest.
    layers: Vec<(usize, Layer<'a>)>,
    /// What is unpacked stays, until it has a name.
    leases: Vec<Lease>,
    /// What was not there before, to be removed if the rest is not what was named.
    fresh: Vec<LayerId>,
    limits: Limits,
}

impl<'a> Layers<'a> {
    /// Looks at what the store has of an image.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn new(
        store: &'a Store,
        map: &'a IdMap,
        image: &'a SourceImage,
        progress: &mut Progress,
    ) -> Result<Self> {
        let mut blobs = BTreeMap::new();
        let mut layers: Vec<(usize, Layer<'_>)> = Vec::new();
        for (number, layer) in image.layers.iter().enumerate() {
            let digest = layer.descriptor.digest;
            if let std::collections::btree_map::Entry::Vacant(entry) = blobs.entry(digest) {
                let (blob, state) = match store.good_blob(&digest)? {
                    Some(file) => {
                        let size = layer.descriptor.size;
                        right_size(&file, &digest, size)?;
                        (Blob::Kept(file, size), "Already exists")
                    }
                    None => (Blob::Wanted, "Pulling fs layer"),
                };
                progress.state(&digest.short(), state);
                entry.insert(blob);
            }
            let same = |(other, _): &(usize, Layer<'_>)| image.layers[*other].id() == layer.id();
            if !layers.iter().any(same) {
                layers.push((number, Layer::Todo));
            }
        }
        Ok(Self {
            store,
            map,
            image,
            blobs,
            layers,
            leases: Vec::new(),
            fresh: Vec::new(),
            limits: Limits::default(),
        })
    }

    /// The numbers of the layers whose blobs are to be fetched.
    pub(super) fn wanted(&self) -> Vec<usize> {
        let mut wanted: Vec<usize> = Vec::new();
        for (number, layer) in self.image.layers.iter().enumerate() {
            let digest = layer.descriptor.digest;
            let first = wanted
                .iter()
                .all(|other| self.image.layers[*other].descriptor.digest != digest);
            if first && matches!(self.blobs.get(&digest), Some(Blob::Wanted)) {
                wanted.push(number);
            }
        }
        wanted
    }

    /// Takes in what comes over the lanes and unpacks it, until all layers are there and `worker`
    /// has ended; then the image has the name of `named`, once its other half has said yes. After an
    /// error nothing of it is left that nobody else uses.
    ///
    /// # Errors
    /// What the worker says; `Integrity`: bytes are not what was named; what is wrong with a layer;
    /// `Busy`: another process removed some of it; `Interrupted`.
    pub(super) fn bring(
        mut self,
        named: (&str, impl FnOnce() -> Result<()>),
        worker: Worker,
        lanes: Vec<Lane>,
        interrupts: &Interrupts,
        progress: &mut Progress,
    ) -> Result<()> {
        // What cannot be removed is in nobody's way here; `gc` tells of it.
        let _told_later = self.store.collect(self.map).is_ok();
        let done = self.turn(worker, lanes, interrupts, progress);
        // Workers first, then their folders.
        self.layers.clear();
        let blobs = std::mem::take(&mut self.blobs).into_values();
        let blobs = blobs.filter_map(|blob| match blob {
            Blob::Coming(blob) => Some(blob),
            Blob::Kept(..) | Blob::Wanted => None,
        });
        let blobs: Vec<Incoming> = blobs.collect();
        let (name, record) = named;
        let done = done.and_then(|()| record());
        let error = match done.and_then(|()| self.store.put_arrived(name, self.image, blobs)) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => Error::new(Kind::Busy, "another process removed some of it meanwhile")
                .hint("pull it again"),
            Err(e) => e,
        };
        // Nothing of a refused image stays, its honest layers neither.
        self.leases.clear();
        Err(match self.store.forget(&self.fresh, self.map) {
            Ok(()) => error,
            Err(left) => Error {
                detail: vec![format!("something stays: {left}")],
                ..error
            },
        })
    }

    fn turn(
        &mut self,
        worker: Worker,
        mut lanes: Vec<Lane>,
        interrupts: &Interrupts,
        progress: &mut Progress,
    ) -> Result<()> {
        let mut worker = Some(worker);
        let mut answered = false;
        let mut buffer = vec![0; BUFFER];
        loop {
            let busy = self.begin(progress)?;
            for (number, layer) in &mut self.layers {
                if let Layer::Making(making) = layer
                    && let Some((file, there, whole)) = self
                        .blobs
                        .get(&self.image.layers[*number].descriptor.digest)
                        .and_then(Blob::at_hand)
                {
                    making.feed(file, there, whole)?;
                }
            }
            if answered && let Some(worker) = worker.take() {
                worker.finish()?;
                self.all_came()?;
            }
            let done = self
                .layers
                .iter()
                .all(|(_, layer)| matches!(layer, Layer::There));
            if done && worker.is_none() {
                return Ok(());
            }
            progress.tick();
            // A worker that stays silent keeps nobody who presses ^C.
            let asked = worker.as_ref().filter(|_| lanes.is_empty());
            let again = busy || progress.is_behind();
            let ready = self.wait(interrupts, &lanes, asked, again)?;
            interrupts.check()?;
            answered = ready.worker;
            let mut ended = Vec::new();
            for (at, lane) in lanes.iter_mut().enumerate() {
                if ready.lanes.get(at) == Some(&true) {
                    let more = lane.read(&mut buffer, |number, bytes| {
                        self.came(number, bytes, progress)
                    })?;
                    if !more {
                        ended.push(at);
                    }
                }
            }
            for at in ended.into_iter().rev() {
                lanes.remove(at);
            }
            self.end(&ready.answers, progress)?;
        }
    }

    /// Starts workers for layers of which something is here, as many as there may be. Whether a
    /// layer is another process's at the moment.
    fn begin(&mut self, progress: &mut Progress) -> Result<bool> {
        let making = |(_, layer): &&(usize, Layer<'_>)| matches!(layer, Layer::Making(_));
        let mut free = UNPACKERS.saturating_sub(self.layers.iter().filter(making).count());
        let mut busy = false;
        for (number, state) in &mut self.layers {
            let layer = &self.image.layers[*number];
            let blob = self.blobs.get(&layer.descriptor.digest);
            let some = blob.and_then(Blob::at_hand);
            let some = some.is_some_and(|(_, there, whole)| there > 0 || whole);
            if free == 0 || !some || !matches!(state, Layer::Todo) {
                continue;
            }
            match self.store.begin_layer(layer, self.map, &self.limits)? {
                Begun::There(lease) => {
                    self.leases.push(lease);
                    *state = Layer::There;
                }
                Begun::Busy => {
                    busy = true;
                    progress.state(
                        &layer.descriptor.digest.short(),
                        "Waiting for another process",
                    );
                }
                Begun::Making(making) => {
                    free -= 1;
                    *state = Layer::Making(making);
                }
            }
        }
        Ok(busy)
    }

    fn wait(
        &self,
        interrupts: &Interrupts,
        lanes: &[Lane],
        worker: Option<&Worker>,
        again: bool,
    ) -> Result<Ready> {
        let mut fds = vec![PollFd::from_borrowed_fd(interrupts.fd(), PollFlags::IN)];
        for lane in lanes {
            fds.push(PollFd::from_borrowed_fd(lane.fd(), PollFlags::IN));
        }
        let mut answers = Vec::new();
        for (at, (number, layer)) in self.layers.iter().enumerate() {
            let Layer::Making(making) = layer else {
                continue;
            };
            if let Some(answer) = making.answer() {
                answers.push((at, fds.len()));
                fds.push(PollFd::from_borrowed_fd(answer, PollFlags::IN));
            } else {
                let digest = self.image.layers[*number].descriptor.digest;
                let there = self.blobs.get(&digest).and_then(Blob::at_hand);
                if let Some(feed) = making.hungry(there.map_or(0, |(_, there, _)| there)) {
                    fds.push(PollFd::from_borrowed_fd(feed, PollFlags::OUT));
                }
            }
        }
        let asked = worker.map(|worker| {
            fds.push(PollFd::from_borrowed_fd(worker.answer(), PollFlags::IN));
            fds.len() - 1
        });
        let timeout = again.then_some(&AGAIN);
        rustix::io::retry_on_intr(|| poll(&mut fds, timeout)).or_call(|| "poll")?;
        let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready {
            lanes: (1..=lanes.len()).map(ready).collect(),
            worker: asked.is_some_and(ready),
            answers: answers
                .into_iter()
                .filter(|(_, fd)| ready(*fd))
                .map(|(at, _)| at)
                .collect(),
        })
    }

    /// Takes in what a lane brought of a layer: bytes, or none at its end.
    fn came(&mut self, number: usize, bytes: &[u8], progress: &mut Progress) -> Result<()> {
        let layer = self.image.layers.get(number);
        let descriptor = layer.map(|layer| &layer.descriptor);
        let blob = descriptor.and_then(|descriptor| self.blobs.get_mut(&descriptor.digest));
        let (Some(descriptor), Some(blob)) = (descriptor, blob) else {
            return Err(Error::new(
                Kind::Worker,
                "the fetch worker brings what nobody asked for",
            ));
        };
        if matches!(blob, Blob::Wanted) {
            *blob = Blob::Coming(self.store.incoming(descriptor)?);
        }
        let Blob::Coming(blob) = blob else {
            return Err(Error::new(
                Kind::Worker,
                "the fetch worker brings what is here",
            ));
        };
        let id = descriptor.digest.short();
        if bytes.is_empty() {
            blob.end()?;
            progress.state(&id, "Download complete");
        } else {
            blob.take(bytes)?;
            progress.bytes(&id, "Downloading", blob.got(), descriptor.size);
        }
        Ok(())
    }

    /// After the worker's end: it says that it brought everything.
    fn all_came(&self) -> Result<()> {
        let whole = |blob: &Blob| blob.at_hand().is_some_and(|(_, _, whole)| whole);
        match self.blobs.values().all(whole) {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Worker,
                "the fetch worker ended before everything was here",
            )),
        }
    }

    /// Ends workers that have answered.
    fn end(&mut self, answered: &[usize], progress: &mut Progress) -> Result<()> {
        for at in answered {
            let Some((number, state)) = self.layers.get_mut(*at) else {
                continue;
            };
            let layer = &self.image.layers[*number];
            let Layer::Making(making) = std::mem::replace(state, Layer::There) else {
                continue;
            };
            self.fresh.push(layer.id());
            self.leases.push(making.finish()?);
            progress.state(&layer.descriptor.digest.short(), "Pull complete");
        }
        Ok(())
    }
}

/// Holds a blob of the store against the size that this manifest says.
fn right_size(file: &File, digest: &Digest, size: u64) -> Result<()> {
    let is = file.metadata().or_call(|| "fstat a blob")?.len();
    match is == size {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Integrity,
            format!("layer {digest}: its size is {size}, and the blob of that digest has {is}"),
        )),
    }
}

/// What poll(2) found.
struct Ready {
    lanes: Vec<bool>,
    /// Whether the fetch worker answers, where it was asked.
    worker: bool,
    /// The places of layers whose workers have answered.
    answers: Vec<usize>,
}
