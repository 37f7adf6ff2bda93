//! A layer that a confined worker unpacks while its bytes still arrive.
//!
//! What is unpacked lies in staging and is nobody's until the blob's digest (hashed by whoever feeds
//! it), the diff id (hashed by the worker) and the worker's records are right: the worker sees the
//! end of its input only after the digest was.

use super::layers::{accept, remover, unpack_here};
use super::maps::map_name;
use super::source::LayerSource;
use super::staging::{NamedLock, Staged};
use super::unpack::{Expect, Limits, OwnerMode};
use super::{Lease, Store, files};
use crate::error::{Context, Error, Kind, Result};
use crate::image::LayerId;
use crate::plan::IdMap;
use crate::worker::{Purpose, Worker};
use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

/// What pipes between processes here hold; less where the user's quota says so (pipe(7)).
const PIPE: usize = 1 << 20;

/// What comes of wanting to unpack a layer.
#[derive(Debug)]
pub enum Begun<'a> {
    /// It is there.
    There(Lease),
    /// Another process unpacks it at this moment.
    Busy,
    /// A worker waits for its bytes.
    Making(Box<Making<'a>>),
}

/// A worker that unpacks a layer. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct Making<'a> {
    store: &'a Store,
    map: IdMap,
    id: LayerId,
    expect: Expect,
    limits: Limits,
    /// Taken when there is nothing left to remove.
    staged: Option<Staged>,
    worker: Option<Worker>,
    /// `None`: it has all, or wants no more.
    feed: Option<OwnedFd>,
    fed: u64,
    _lock: NamedLock,
}

/// A pipe whose reader may be another process, as large as it may be.
///
/// # Errors
/// `Io`.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let ends = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).or_call(|| "pipe2")?;
    // A smaller one is slower, and no more.
    let _slower = rustix::pipe::fcntl_setpipe_size(&ends.1, PIPE).is_ok();
    Ok(ends)
}

impl Store {
    /// Begins to unpack a layer, unless it is there.
    ///
    /// # Errors
    /// `Io`; `Host`: no worker can be confined.
    pub fn begin_layer(
        &self,
        layer: &LayerSource,
        map: &IdMap,
        limits: &Limits,
    ) -> Result<Begun<'_>> {
        let (map_name, id) = (map_name(map), layer.id());
        let lock = format!("unpack-{map_name}-{}.lock", id.name());
        let Some(lock) = self.try_lock_by_name(&lock)? else {
            return Ok(Begun::Busy);
        };
        if let Some(held) = self.layer(&map_name, &id)? {
            return Ok(Begun::There(Lease {
                folders: vec![held.folder],
            }));
        }
        self.remove_layer(&map_name, &id, map)?;
        let staged = self.stage_folder(&map_name)?;
        let mut making = Making {
            store: self,
            map: map.clone(),
            id,
            expect: Expect {
                compression: layer.media.compression,
                digest: layer.descriptor.digest,
                size: layer.descriptor.size,
                hashed: true,
                diff_id: layer.diff_id,
            },
            limits: *limits,
            staged: Some(staged),
            worker: None,
            feed: None,
            fed: 0,
            _lock: lock,
        };
        making.start()?;
        Ok(Begun::Making(Box::new(making)))
    }
}

impl Making<'_> {
    fn start(&mut self) -> Result<()> {
        let (theirs, ours) = pipe()?;
        rustix::io::ioctl_fionbio(&ours, true).or_call(|| "ioctl FIONBIO")?;
        let owner = match self.map {
            IdMap::Single { .. } => OwnerMode::Record,
            IdMap::Range { .. } | IdMap::Keep { .. } => OwnerMode::Chown,
        };
        // Container root may be another id than ours. The folder's parents stay private.
        self.chmod(0o777)?;
        let keep = [theirs.as_raw_fd()];
        let (expect, limits) = (&self.expect, &self.limits);
        let job =
            |root: BorrowedFd<'_>| unpack_here(root, File::from(theirs), expect, owner, limits);
        let folder = self.folder()?;
        self.worker = Some(Worker::start(
            Purpose::Unpack,
            &self.map,
            folder,
            &keep,
            job,
        )?);
        self.feed = Some(ours);
        Ok(())
    }

    fn folder(&self) -> Result<BorrowedFd<'_>> {
        let staged = self.staged.as_ref().map(|staged| staged.fd.as_fd());
        staged.ok_or_else(|| Error::new(Kind::Store, "a layer that was given up"))
    }

    fn chmod(&self, mode: u32) -> Result<()> {
        match self.map.is_single() {
            true => Ok(()),
            false => rustix::fs::fchmod(self.folder()?, Mode::from(mode))
                .or_call(|| "chmod a layer's folder"),
        }
    }

    /// Where the next bytes go, if some of the `available` ones are not there yet: for poll(2).
    pub fn hungry(&self, available: u64) -> Option<BorrowedFd<'_>> {
        let feed = self.feed.as_ref().filter(|_| available > self.fed);
        feed.map(AsFd::as_fd)
    }

    /// What poll(2) finds readable once the worker has come to an end; `None` while it is fed.
    pub fn answer(&self) -> Option<BorrowedFd<'_>> {
        match self.feed {
            Some(_) => None,
            None => self.worker.as_ref().map(Worker::answer),
        }
    }

    /// Hands the worker what it takes of the first `available` bytes of `file`. `whole`: these are
    /// all, and their digest is the one that was named.
    ///
    /// # Errors
    /// `Io`.
    pub fn feed(&mut self, file: BorrowedFd<'_>, available: u64, whole: bool) -> Result<()> {
        while let Some(feed) = &self.feed {
            let left = available - self.fed;
            if left == 0 {
                if whole {
                    self.feed = None;
                }
                return Ok(());
            }
            let most = usize::try_from(left).unwrap_or(PIPE).min(PIPE);
            let mut at = self.fed;
            match rustix::pipe::splice(
                file,
                Some(&mut at),
                feed,
                None,
                most,
                SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
            ) {
                Ok(0) => return Err(Error::new(Kind::Io, "a blob of the store became shorter")),
                Ok(n) => self.fed += n as u64,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => self.feed = None,
                Err(e) => return Err(e).or_call(|| "splice a layer to its worker"),
            }
        }
        Ok(())
    }

    /// Waits for the worker's end, and puts the layer into its place.
    ///
    /// # Errors
    /// The worker's own, which is about the layer (`Malformed`, `Limit`, `Integrity`), or `Worker`:
    /// it died or lied.
    pub fn finish(mut self) -> Result<Lease> {
        let all = self.feed.is_none() && self.fed == self.expect.size;
        self.feed = None;
        let Some(worker) = self.worker.take() else {
            return Err(Error::new(Kind::Worker, "a worker that was not started"));
        };
        let answer = worker.finish();
        self.chmod(0o755)?;
        let answer = answer.map_err(super::full)?;
        if !all {
            let cause = "a worker says that it unpacked a layer that it had not seen to its end";
            return Err(Error::new(Kind::Worker, cause));
        }
        let folder = self.folder()?;
        let record = accept(folder, &answer, &self.expect, &self.limits)?;
        let json = serde_json::to_vec(&record)
            .map_err(|e| Error::new(Kind::Store, format!("write a layer's record: {e}")))?;
        files::write(folder, "layer.json", &json, false).map_err(super::full)?;
        let Some(staged) = &self.staged else {
            return Err(Error::new(Kind::Store, "a layer that was given up"));
        };
        let map_name = map_name(&self.map);
        self.store
            .publish_layer(staged, &map_name, &self.id.name())?;
        // From the maker's lock to a lease.
        files::lock(staged.fd.as_fd(), FlockOperation::LockShared)?;
        let folders = self.staged.take().map(|staged| staged.fd);
        Ok(Lease {
            folders: folders.into_iter().collect(),
        })
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        // The worker first: it writes where the remover removes.
        self.feed = None;
        self.worker = None;
        if let Some(staged) = self.staged.take() {
            let _collected_later = staged.discard(&mut remover(&self.map)).is_ok();
        }
    }
}
