//! Unpacked layers: found, leased, or made by a confined worker.

use super::blobs::most_bytes;
use super::maps::{map_name, map_of_name};
use super::source::{BlobHandle, LayerSource, SourceImage};
use super::staging::Staged;
use super::unpack::{Expect, Facts, Limits, OwnerMode, unpack};
use super::{Store, files};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{DiffId, Digest, LayerId};
use crate::plan::tree::{self, Stats};
use crate::plan::{IdMap, Lower};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The most bytes that a layer's record may have: it names setuid and special files.
const MAX_RECORD: usize = 64 << 20;

/// `layer.json`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerRecord {
    pub(super) diff_id: DiffId,
    /// The digest of the blob that it was unpacked from.
    pub(super) blob: Digest,
    /// The sha256 of the tree list.
    pub(super) list: Digest,
    pub(super) facts: Facts,
}

/// What `decide` wants to know of all layers of an image together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerFacts {
    /// Number of layers, one that appears twice counted twice.
    pub layers: u64,
    /// Bytes of all regular files.
    pub size: u64,
    /// Number of entries.
    pub files: u64,
    /// Paths of setuid and setgid files.
    pub setuid: Vec<String>,
    /// Paths of files with capabilities.
    pub file_caps: Vec<String>,
    /// Paths of devices, fifos and sockets.
    pub special: Vec<String>,
}

/// Unpacked layers that nobody can remove while this value lives.
#[derive(Debug)]
pub struct Lease {
    /// Each layer's folder, under a shared flock(2) that goes with its last descriptor.
    pub(super) folders: Vec<OwnedFd>,
}

impl Lease {
    /// How many layers are held.
    pub fn len(&self) -> usize {
        self.folders.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }
}

/// What a root is made of.
#[derive(Debug)]
pub struct RootFs {
    /// The layers, uppermost first, each once: overlayfs refuses a folder that it has twice, and
    /// what a lower appearance of a layer says its uppermost says again.
    pub lowers: Vec<Lower>,
    /// The facts of all layers.
    pub facts: LayerFacts,
    /// Keeps the layers.
    pub lease: Lease,
}

impl RootFs {
    /// The lists of all layers, in the order of `lowers`. Errors: `Integrity` where one is not what
    /// was recorded.
    pub fn lists(&self) -> Result<Vec<Vec<u8>>> {
        let list = |lower: &Lower| {
            let path = lower.list.to_str().unwrap_or_default();
            let read = files::read(rustix::fs::CWD, path, most_bytes(&Limits::default()))?;
            let same = |list: &Vec<u8>| Digest::of(list).hex() == lower.list_sha256;
            read.filter(same).ok_or_else(|| {
                Error::new(
                    Kind::Integrity,
                    format!("{path:?} is not what was recorded"),
                )
                .hint("remove the image and load it again: lazaret rmi IMAGE")
            })
        };
        self.lowers.iter().map(list).collect()
    }
}

/// What is happening to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It is there.
    Cached,
    /// Another process is unpacking it; this one waits.
    Waiting,
    /// A worker unpacks it.
    Unpacking,
    /// It was unpacked and verified.
    Done,
}

/// Progress of [`Store::ensure_layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Which layer, from 0, lowest first.
    pub layer: usize,
    /// How many there are.
    pub layers: usize,
    /// Its blob's digest.
    pub digest: Digest,
    /// Its blob's size in bytes.
    pub size: u64,
    /// What happens to it.
    pub state: LayerState,
}

/// A layer that is there, under a shared lock.
pub(super) struct Held {
    pub(super) folder: OwnedFd,
    pub(super) record: LayerRecord,
}

impl Store {
    /// Opens and leases an unpacked layer; `None` where it is not there or cannot be used.
    pub(super) fn layer(&self, map_name: &str, id: &LayerId) -> Result<Option<Held>> {
        let path = format!("layers/{map_name}/{}", id.name());
        let Some(folder) = files::open_folder(self.root(), &path)? else {
            return Ok(None);
        };
        // Only removal takes an exclusive lock, and only when nobody holds a shared one.
        files::lock(folder.as_fd(), FlockOperation::LockShared)?;
        // Removal takes the record away first: with it, the layer is whole.
        let Some(bytes) = files::read(folder.as_fd(), "layer.json", MAX_RECORD)? else {
            return Ok(None);
        };
        // A record that a power cut spoilt is one to be made again.
        let record = serde_json::from_slice::<LayerRecord>(&bytes).ok();
        Ok(record
            .filter(|record| (record.diff_id, record.blob) == (id.diff_id, id.blob))
            .map(|record| Held { folder, record }))
    }

    /// Leases all layers of `image` for `map`; those that are missing are unpacked by workers
    /// first. With `keep` their blobs are copied into the store on the way.
    ///
    /// Errors: as [`unpack`], `Worker` when a worker died or lied.
    pub fn ensure_layers(
        &self,
        image: &SourceImage,
        map: &IdMap,
        limits: &Limits,
        keep: bool,
        progress: &mut dyn FnMut(Event),
    ) -> Result<RootFs> {
        // Blobs are synced together, after the last layer: each sync waits for everything that
        // the filesystem has to write until then.
        let (mut copies, mut fresh) = (Vec::new(), Vec::new());
        let copies_to = keep.then_some(&mut copies);
        let made = self.each_layer(image, map, limits, copies_to, &mut fresh, progress);
        match made {
            Ok(root) => self.publish_blobs(&copies).map(|()| root),
            Err(e) => {
                // Nothing of a refused image stays, its honest layers neither.
                let mut remover = remover(map);
                let copies = copies.into_iter().map(|(copy, _)| copy);
                let left: Vec<String> = copies
                    .map(|copy| copy.discard(&mut remover))
                    .chain([self.forget(&fresh, map)])
                    .filter_map(|done| Some(format!("something stays: {}", done.err()?)))
                    .collect();
                Err(if left.is_empty() {
                    e
                } else {
                    Error { detail: left, ..e }
                })
            }
        }
    }

    fn each_layer(
        &self,
        image: &SourceImage,
        map: &IdMap,
        limits: &Limits,
        mut copies: Option<&mut Vec<(Staged, Digest)>>,
        fresh: &mut Vec<LayerId>,
        progress: &mut dyn FnMut(Event),
    ) -> Result<RootFs> {
        let map_name = map_name(map);
        let layers = image.layers.len();
        let mut collected = false;
        let mut facts = LayerFacts::default();
        let mut lowers: Vec<(LayerId, Lower)> = Vec::with_capacity(layers);
        let mut folders = Vec::with_capacity(layers);
        for (n, layer) in image.layers.iter().enumerate() {
            let digest = layer.descriptor.digest;
            let id = layer.id();
            let mut tell = |state| {
                progress(Event {
                    layer: n,
                    layers,
                    digest,
                    size: layer.descriptor.size,
                    state,
                });
            };
            // A copy is wanted where there is no good one, not from an earlier layer either.
            let copies = match &mut copies {
                Some(copies)
                    if copies.iter().all(|(_, copy)| *copy != digest)
                        && self.check_blob(&digest)? != Some(true) =>
                {
                    Some(&mut **copies)
                }
                _ => None,
            };
            let held = match self.layer(&map_name, &id)? {
                Some(held) => {
                    if let Some(copies) = copies {
                        copies.push((self.copy_blob(layer, map)?, digest));
                    }
                    tell(LayerState::Cached);
                    held
                }
                None => {
                    if !std::mem::replace(&mut collected, true) {
                        // What cannot be removed is in nobody's way here; `gc` tells of it.
                        let _told_later = self.collect(map).is_ok();
                    }
                    let mut tell = |state| {
                        if state == LayerState::Unpacking {
                            fresh.push(id);
                        }
                        tell(state);
                    };
                    self.make_layer(layer, map, &map_name, limits, copies, &mut tell)?
                }
            };
            add(&mut facts, &held.record.facts);
            let base = self.path().join("layers").join(&map_name).join(id.name());
            match held.record.facts.opaque {
                // Nothing below is seen.
                true => lowers.clear(),
                false => lowers.retain(|(other, _)| *other != id),
            }
            let lower = Lower {
                path: base.join("fs"),
                list: base.join("list"),
                list_sha256: held.record.list.hex(),
                stat: base.join("stat"),
            };
            lowers.push((id, lower));
            folders.push(held.folder);
        }
        let lowers = lowers.into_iter().rev().map(|(_, lower)| lower).collect();
        Ok(RootFs {
            lowers,
            facts,
            lease: Lease { folders },
        })
    }

    /// Unpacks one layer, unless another process does it meanwhile.
    fn make_layer(
        &self,
        layer: &LayerSource,
        map: &IdMap,
        map_name: &str,
        limits: &Limits,
        copies: Option<&mut Vec<(Staged, Digest)>>,
        tell: &mut dyn FnMut(LayerState),
    ) -> Result<Held> {
        let id = layer.id();
        let lock = format!("unpack-{map_name}-{}.lock", id.name());
        let _lock = self.lock_by_name(&lock, || tell(LayerState::Waiting))?;
        if let Some(held) = self.layer(map_name, &id)? {
            if let Some(copies) = copies {
                copies.push((self.copy_blob(layer, map)?, layer.descriptor.digest));
            }
            tell(LayerState::Done);
            return Ok(held);
        }
        self.remove_layer(map_name, &id, map)?;
        tell(LayerState::Unpacking);
        let copy = copies.as_ref().map(|_| self.stage_file()).transpose()?;
        let staged = self.stage_folder(map_name)?;
        let made = self
            .unpack_into(&staged, layer, map, limits, copy.as_ref())
            .and_then(|record| {
                self.publish_layer(&staged, map_name, &id.name())?;
                Ok(record)
            });
        let record = match made {
            Ok(record) => record,
            Err(e) => return Err(give_up(e, [Some(staged), copy], map)),
        };
        if let (Some(copies), Some(copy)) = (copies, copy) {
            copies.push((copy, id.blob));
        }
        tell(LayerState::Done);
        // From the maker's lock to a lease.
        files::lock(staged.fd.as_fd(), FlockOperation::LockShared)?;
        Ok(Held {
            folder: staged.fd,
            record,
        })
    }

    fn unpack_into(
        &self,
        staged: &Staged,
        layer: &LayerSource,
        map: &IdMap,
        limits: &Limits,
        copy: Option<&Staged>,
    ) -> Result<LayerRecord> {
        let expect = Expect {
            compression: layer.media.compression,
            digest: layer.descriptor.digest,
            size: layer.descriptor.size,
            hashed: false,
            diff_id: layer.diff_id,
        };
        let (blob, again) = (layer.open()?, layer.open()?);
        let copy_to = copy.map(Staged::file).transpose()?;
        let owner = match map {
            IdMap::Single { .. } => OwnerMode::Record,
            IdMap::Range { .. } | IdMap::Keep { .. } => OwnerMode::Chown,
        };
        let keep = [blob.file.as_raw_fd()];
        let job =
            |root: BorrowedFd<'_>| unpack_here(root, BlobReader::new(blob), &expect, owner, limits);
        // Whatever the worker says of it: this is the blob that was named, and the one that is kept.
        let mut named = Ok(());
        let beside = || named = check_blob(BlobReader::new(again), &expect, copy_to);
        let bytes = in_worker_beside(map, staged.fd.as_fd(), &keep, job, beside)?;
        named?;
        let record = accept(staged.fd.as_fd(), &bytes, &expect, limits)?;
        let json = serde_json::to_vec(&record)
            .map_err(|e| Error::new(Kind::Store, format!("write a layer's record: {e}")))?;
        files::write(staged.fd.as_fd(), "layer.json", &json, false)?;
        Ok(record)
    }

    pub(super) fn publish_layer(&self, staged: &Staged, map_name: &str, hex: &str) -> Result<()> {
        let layers = self.folder("layers")?;
        files::make_folder(layers.as_fd(), map_name, 0o700)?;
        let folder = self.folder(&format!("layers/{map_name}"))?;
        staged.publish(folder.as_fd(), hex)
    }

    /// Copies the blob of a layer that is unpacked already, and verifies it on the way.
    fn copy_blob(&self, layer: &LayerSource, map: &IdMap) -> Result<Staged> {
        let expect = Expect {
            compression: layer.media.compression,
            digest: layer.descriptor.digest,
            size: layer.descriptor.size,
            hashed: false,
            diff_id: layer.diff_id,
        };
        let staged = self.stage_file()?;
        let copied = layer.open().and_then(|blob| {
            let copy_to = Some(staged.file()?);
            check_blob(BlobReader::new(blob), &expect, copy_to)
        });
        match copied {
            Ok(()) => Ok(staged),
            Err(e) => Err(give_up(e, [Some(staged), None], map)),
        }
    }

    /// Removes what killed processes left in `staging`. `map`: the caller's own; leftovers of other
    /// maps are removed in theirs.
    pub fn collect(&self, map: &IdMap) -> Result<()> {
        self.collect_with(&mut remover(map))
    }

    /// The unpacked size of all these layers, where each is unpacked for some map.
    pub(super) fn unpacked_size(&self, layers: &[LayerSource]) -> Result<Option<u64>> {
        let maps = self.map_names()?;
        let mut size = 0u64;
        for layer in layers {
            let mut found = None;
            for map_name in &maps {
                if let Some(held) = self.layer(map_name, &layer.id())? {
                    found = Some(held.record.facts.size);
                    break;
                }
            }
            match found {
                Some(found) => size = size.saturating_add(found),
                None => return Ok(None),
            }
        }
        Ok(Some(size))
    }

    /// The names of all maps that layers are kept for.
    pub(super) fn map_names(&self) -> Result<Vec<String>> {
        let names = files::names(self.folder("layers")?.as_fd())?;
        Ok(names
            .into_iter()
            .filter_map(|name| String::from_utf8(name).ok())
            .collect())
    }

    /// Replaces a layer's stat records after a check found its contents unchanged.
    /// `stat`: [`Lower::stat`]. Errors: `Store` when it is not in this store.
    pub fn record_again(&self, stat: &Path, bytes: &[u8]) -> Result<()> {
        Stats::new(bytes)?;
        let foreign = || Error::new(Kind::Store, format!("{stat:?} is not a layer's record"));
        let folder = stat
            .strip_prefix(self.path())
            .ok()
            .and_then(Path::parent)
            .and_then(Path::to_str)
            .ok_or_else(foreign)?;
        let folder = files::open_folder(self.root(), folder)?.ok_or_else(foreign)?;
        let staged = self.stage_file()?;
        files::write_to(staged.fd.as_fd(), bytes, || format!("write {stat:?}"))?;
        // As the unpacker left it: who verifies may be another id.
        rustix::fs::fchmod(&staged.fd, Mode::from(0o644)).or_call(|| format!("chmod {stat:?}"))?;
        staged.publish(folder.as_fd(), "stat")
    }
}

fn add(sum: &mut LayerFacts, facts: &Facts) {
    sum.layers += 1;
    sum.size = sum.size.saturating_add(facts.size);
    sum.files = sum.files.saturating_add(facts.files);
    sum.setuid.extend_from_slice(&facts.setuid);
    sum.file_caps.extend_from_slice(&facts.file_caps);
    sum.special.extend_from_slice(&facts.special);
}

/// Removes what an unpacking that failed has made. The reason matters more than what the clean-up
/// met; what it leaves, a later process collects.
fn give_up(e: Error, made: [Option<Staged>; 2], map: &IdMap) -> Error {
    let mut remover = remover(map);
    let mut left = Vec::new();
    for staged in made.into_iter().flatten() {
        if let Err(e) = staged.discard(&mut remover) {
            left.push(format!("leftovers stay in the store's staging: {e}"));
        }
    }
    if left.is_empty() {
        return e;
    }
    Error { detail: left, ..e }
}

/// Reads a blob to its end, copies it if wanted, and says whether it is what was named. Hashing
/// and copying are all that is done with these bytes outside of a worker.
fn check_blob(mut blob: BlobReader, expect: &Expect, mut copy_to: Option<File>) -> Result<()> {
    let mut hasher = crate::image::Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0u64;
    loop {
        let n = blob
            .read(&mut buffer)
            .map_err(|e| Error::io("read a layer", &e))?;
        if n == 0 {
            break;
        }
        total += n as u64;
        hasher.update(&buffer[..n]);
        if let Some(copy) = &mut copy_to {
            io::Write::write_all(copy, &buffer[..n])
                .map_err(|e| Error::io("write a layer's blob", &e))?;
        }
    }
    if total == expect.size && hasher.finish() == expect.digest {
        return Ok(());
    }
    Err(Error::new(
        Kind::Integrity,
        format!("layer {} has another digest or size", expect.digest),
    )
    .hint("no policy allows this; the bytes are not what was named"))
}

/// The worker's whole work: `root` is its root folder, and becomes the layer's.
pub(super) fn unpack_here(
    root: BorrowedFd<'_>,
    blob: impl Read + Send,
    expect: &Expect,
    owner: OwnerMode,
    limits: &Limits,
) -> Result<Vec<u8>> {
    files::make_folder(root, "fs", 0o755)?;
    let fs = files::open_folder(root, "fs")?
        .ok_or_else(|| Error::new(Kind::Worker, "the layer's folder vanished"))?;
    let unpacked = unpack(blob, expect, fs.as_fd(), owner, limits)?;
    for (name, bytes) in [("list", &unpacked.list), ("stat", &unpacked.stat)] {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let call = || format!("write the layer's {name}");
        let fd = rustix::fs::openat(root, name, flags, Mode::from(0o644)).or_call(call)?;
        // Our umask may be stricter, and the reader may be another id.
        rustix::fs::fchmod(&fd, Mode::from(0o644)).or_call(call)?;
        files::write_to(fd.as_fd(), bytes, call)?;
    }
    serde_json::to_vec(&unpacked.facts)
        .map_err(|e| Error::new(Kind::Worker, format!("write a layer's facts: {e}")))
}

/// Believes a worker as far as its files bear it out: list, records and facts must fit together.
pub(super) fn accept(
    folder: BorrowedFd<'_>,
    facts: &[u8],
    expect: &Expect,
    limits: &Limits,
) -> Result<LayerRecord> {
    let lies = |what: &str| {
        Error::new(
            Kind::Worker,
            format!(
                "the worker that unpacked layer {} lied: {what}",
                expect.digest
            ),
        )
    };
    // Exactly these: our own record comes beside them, and a fifo of its name would be waited for.
    let names = files::names(folder)?;
    if names != [&b"fs"[..], b"list", b"stat"] {
        return Err(lies("it left something else than fs, list and stat"));
    }
    let facts: Facts = serde_json::from_slice(facts).map_err(|e| lies(&e.to_string()))?;
    let read = |name: &str| {
        let bytes = files::read(folder, name, most_bytes(limits))?;
        bytes.ok_or_else(|| lies(&format!("there is no {name}")))
    };
    let list = read("list")?;
    let sum = tree::summary(&list).map_err(|e| lies(&e.to_string()))?;
    let stat = read("stat")?;
    let records = Stats::new(&stat).map_err(|e| lies(&e.to_string()))?;
    if (sum.entries, sum.size) != (facts.files, facts.size) || records.len() as u64 != sum.on_disk {
        return Err(lies("its list, records and facts do not fit together"));
    }
    Ok(LayerRecord {
        diff_id: expect.diff_id,
        blob: expect.digest,
        list: Digest::of(&list),
        facts,
    })
}

/// Reads a range of a file by pread(2): its own offset is shared with other readers.
struct BlobReader {
    file: File,
    at: u64,
    left: u64,
}

impl BlobReader {
    fn new(blob: BlobHandle) -> Self {
        Self {
            file: blob.file.into(),
            at: blob.offset,
            left: blob.length,
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(out.len());
        let n = self.file.read_at(&mut out[..most], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// Runs `job` in a worker that is root over the files of `map` and has `folder` as its root; `keep`
/// are the descriptors that it uses.
pub(super) fn in_worker(
    map: &IdMap,
    folder: BorrowedFd<'_>,
    keep: &[RawFd],
    job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    in_worker_beside(map, folder, keep, job, || {})
}

/// As [`in_worker`]; `beside` runs here while the job does.
fn in_worker_beside(
    map: &IdMap,
    folder: BorrowedFd<'_>,
    keep: &[RawFd],
    job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>,
    beside: impl FnOnce(),
) -> Result<Vec<u8>> {
    // Unit tests run in a process of many threads, which cannot be cloned; the tests of the whole
    // binary go the real way.
    #[cfg(test)]
    if crate::sys::SingleThread::check().is_err() && map.is_single() {
        beside();
        return job(folder);
    }
    // Container root may be another id than ours. The folder's parents stay private.
    let open = |mode: u32| {
        rustix::fs::fchmod(folder, Mode::from(mode)).or_call(|| "chmod a layer's folder".to_owned())
    };
    let range = !map.is_single();
    if range {
        open(0o777)?;
    }
    let done = crate::worker::run_beside(map, folder, keep, job, beside);
    if range {
        open(0o755)?;
    }
    done
}

/// Removes all that is in a folder whose files belong to the ids of a map, given by name.
pub(super) fn remover(own: &IdMap) -> impl FnMut(&str, BorrowedFd<'_>) -> Result<()> + use<> {
    let helpers = matches!(
        own,
        IdMap::Range { helpers: true, .. } | IdMap::Keep { helpers: true, .. }
    );
    let own = own.clone();
    move |label, folder| {
        let map = map_of_name(label, helpers).unwrap_or_else(|| own.clone());
        in_worker(&map, folder, &[], |root| {
            for name in files::names(root)? {
                files::remove_tree(root, &name)?;
            }
            Ok(Vec::new())
        })
        .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::super::unpack::tests::support::Scratch;
    use super::*;
    use crate::image::Compression;
    use std::fs;

    /// What is published is what this process hashed, and nothing that a worker says.
    #[test]
    fn a_blob_is_checked_and_copied_here() {
        let scratch = Scratch::new("check-blob");
        let blob = scratch.0.join("blob");
        fs::write(&blob, b"the blob").unwrap();
        let check = |digest: Digest, size: u64, copy: Option<File>| {
            let file = File::open(&blob).unwrap();
            let length = file.metadata().unwrap().len();
            let reader = BlobReader {
                file,
                at: 0,
                left: length,
            };
            let expect = Expect {
                compression: Compression::None,
                digest,
                size,
                hashed: false,
                diff_id: DiffId(digest),
            };
            check_blob(reader, &expect, copy).map_err(|e| e.kind)
        };
        let right = Digest::of(b"the blob");
        let copy = scratch.0.join("copy");
        check(right, 8, Some(File::create(&copy).unwrap())).unwrap();
        assert_eq!(fs::read(copy).unwrap(), b"the blob");
        assert_eq!(check(right, 9, None), Err(Kind::Integrity));
        assert_eq!(check(Digest::of(b"x"), 8, None), Err(Kind::Integrity));
    }
}
