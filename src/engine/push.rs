//! `lazaret push`: an image of the store to its registry, by a worker that has the blobs as open
//! files and nothing else of this machine's.

mod signatures;

use super::{PushRequest, online, place};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{Descriptor, ImageName, Reference};
use crate::registry::{Client, Options, Sent};
use crate::report::{self, Progress};
use crate::store::Store;
use crate::worker;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many blobs go at once.
const AT_ONCE: usize = 3;

/// A blob that the registry is to have.
struct Blob {
    descriptor: Descriptor,
    file: File,
    /// Another repository there that may have it.
    from: Option<String>,
    /// It is a layer, and is shown.
    layer: bool,
}

/// Sends an image to its registry, and what the store keeps of its signatures behind it, and prints
/// what `docker push` prints.
///
/// # Errors
/// `NotFound`: no image of the store has the name; `Integrity`: the store's bytes changed, or the
/// registry's are others; `Store`: a part of the signatures is not kept; `Credentials`, `Registry`
/// and others: it is not taken, or the image is and its signatures are not.
pub fn push(request: &PushRequest) -> Result<u8> {
    let reference = &request.reference;
    let name = reference.to_string();
    let none = || {
        Error::new(
            Kind::NotFound,
            format!("no image here has the name {}", reference.familiar()),
        )
        .hint(format!(
            "name one: lazaret tag SOURCE {}",
            reference.familiar()
        ))
    };
    let store = place::look_at_store()?.ok_or_else(none)?;
    let known = store.get_ref(&name)?.ok_or_else(none)?;
    let image = store.image(&known)?;
    let kept = match request.signatures {
        true => store.signatures(&image.manifest.digest)?,
        false => None,
    };
    let kept = kept.unwrap_or_default();
    let signatures = signatures::Signatures::of(&kept, reference, &image.manifest.digest)?;
    let options = online::options(&reference.domain, &reference.path, &request.insecure)?;
    let others = others(&store, reference)?;
    let (mut blobs, mut had) = (Vec::new(), BTreeSet::new());
    let layers = image.manifest.layers.iter().map(|layer| (layer, true));
    for (descriptor, layer) in layers.chain([(&image.manifest.config, false)]) {
        if !had.insert(descriptor.digest) {
            continue;
        }
        let file = store.open_blob(&descriptor.digest)?.ok_or_else(|| {
            let cause = format!("the store has no blob {}", descriptor.digest);
            Error::new(Kind::Store, cause).hint("load or pull the image again")
        })?;
        let from = others
            .iter()
            .find(|(_, digests)| digests.contains(&descriptor.digest));
        blobs.push(Blob {
            descriptor: descriptor.clone(),
            file,
            from: from.map(|(path, _)| path.clone()),
            layer,
        });
    }
    if !request.quiet {
        report::stderr(&format!(
            "The push refers to repository [{}/{}]\n",
            reference.domain, reference.path
        ));
    }
    let mut progress = Progress::new(request.quiet);
    let manifest = (
        &image.manifest_bytes[..],
        image.manifest.media_type.as_str(),
    );
    send(&store, &options, reference, &blobs, manifest, &mut progress)?;

    // Who pushes a tag says what it means, as who accepts one does.
    let digest = image.manifest.digest;
    let was = store.accept_moved(reference, &digest, &digest, place::now())?;
    if let Some(was) = was.filter(|was| was.served != digest && !was.means(&digest)) {
        report::note(&format!(
            "{} meant {}, and means {digest} from now on",
            reference.familiar(),
            was.served
        ));
    }
    let tag = reference.tag.as_deref().unwrap_or_default();
    report::stdout(&match request.quiet {
        true => format!("{name}\n"),
        false => format!(
            "{tag}: digest: {digest} size: {}\n",
            image.manifest_bytes.len()
        ),
    })?;
    signatures.send(&store, &options, request)?;
    Ok(0)
}

/// The other repositories of the same registry that images here are named after, with the blobs
/// that those have; first the ones whose registry was asked for them.
fn others(
    store: &Store,
    reference: &Reference,
) -> Result<Vec<(String, BTreeSet<crate::image::Digest>)>> {
    let mut all = Vec::new();
    for known in store.refs()? {
        let Ok(ImageName::Registry(name)) = ImageName::parse(&known.name) else {
            continue;
        };
        if name.domain != reference.domain || name.path == reference.path {
            continue;
        }
        // One that is damaged offers nothing.
        let Ok(image) = store.image(&known) else {
            continue;
        };
        let layers = image.manifest.layers.iter().map(|layer| layer.digest);
        let digests = layers.chain([image.manifest.config.digest]).collect();
        let asked = matches!(store.seen(&name), Ok(Some(_)));
        all.push((!asked, name.path, digests));
    }
    all.sort_by_key(|(not_asked, ..)| *not_asked);
    Ok(all
        .into_iter()
        .map(|(_, path, digests)| (path, digests))
        .collect())
}

/// What the worker tells: which blob, what of it, and how many bytes.
const SENDING: u8 = 0;
const EXISTS: u8 = 1;
const MOUNTED: u8 = 2;
const UPLOADED: u8 = 3;
const RECORD: usize = 17;

fn record(at: usize, what: u8, bytes: u64) -> [u8; RECORD] {
    let mut record = [what; RECORD];
    record[1..9].copy_from_slice(&(at as u64).to_le_bytes());
    record[9..].copy_from_slice(&bytes.to_le_bytes());
    record
}

fn send(
    store: &Store,
    options: &Options,
    reference: &Reference,
    blobs: &[Blob],
    (manifest, media_type): (&[u8], &str),
    progress: &mut Progress,
) -> Result<()> {
    let map = place::own_map(Some(store))?;
    let fetching = online::fetching(store)?;
    for blob in blobs.iter().filter(|blob| blob.layer) {
        progress.state(&blob.descriptor.digest.short(), "Preparing");
    }
    let (told, tell) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_call(|| "pipe2")?;
    let mut keep: Vec<i32> = blobs.iter().map(|blob| blob.file.as_raw_fd()).collect();
    keep.push(tell.as_raw_fd());
    let ours = std::cell::RefCell::new(Some(tell));
    let job = |_: std::os::fd::BorrowedFd<'_>| {
        let tell = ours.take();
        all(options, reference, blobs, tell.as_ref())?;
        // A manifest is taken once everything that it names is there.
        Client::new(options)?.send_manifest(reference, manifest, media_type)?;
        Ok(Vec::new())
    };
    let beside = || {
        drop(ours.take());
        follow(File::from(told), blobs, progress);
    };
    worker::fetch(&map, fetching.root(), &keep, job, beside).map(drop)
}

/// In the worker: all blobs, several at once.
fn all(
    options: &Options,
    reference: &Reference,
    blobs: &[Blob],
    tell: Option<&OwnedFd>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(blobs.len()) {
            scope.spawn(|| {
                if let Err(error) = some(options, reference, blobs, &next, tell)
                    && let Ok(mut failed) = failed.lock()
                {
                    // The others stop at their next blob.
                    next.store(blobs.len(), Ordering::Relaxed);
                    failed.get_or_insert(error);
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

/// In the worker: one blob after another, as long as there are some.
fn some(
    options: &Options,
    reference: &Reference,
    blobs: &[Blob],
    next: &AtomicUsize,
    tell: Option<&OwnedFd>,
) -> Result<()> {
    let mut client = Client::new(options)?;
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(blob) = blobs.get(at) else {
            return Ok(());
        };
        // Progress that nobody reads is no failure.
        let say = |what: u8, bytes: u64| {
            let record = record(at, what, bytes);
            let _nobody_reads = tell.is_some_and(|tell| rustix::io::write(tell, &record).is_ok());
        };
        let mut last = 0;
        let sent = client.send_blob(
            reference,
            &blob.descriptor,
            blob.from.as_deref(),
            &blob.file,
            &mut |done| {
                // Every MiB; an upload may begin again.
                if done >= last + (1 << 20) || done < last {
                    last = done;
                    say(SENDING, done);
                }
            },
        )?;
        say(
            match sent {
                Sent::Exists => EXISTS,
                Sent::Mounted => MOUNTED,
                Sent::Uploaded => UPLOADED,
            },
            blob.descriptor.size,
        );
    }
}

/// Shows what the worker tells of its progress until it ends.
fn follow(mut told: File, blobs: &[Blob], progress: &mut Progress) {
    let mut record = [0; RECORD];
    while told.read_exact(&mut record).is_ok() {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let at = usize::try_from(number(&record[1..9])).unwrap_or(usize::MAX);
        let Some(blob) = blobs.get(at).filter(|blob| blob.layer) else {
            continue;
        };
        let (id, size) = (blob.descriptor.digest.short(), blob.descriptor.size);
        match record[0] {
            SENDING => progress.bytes(&id, "Pushing", number(&record[9..]).min(size), size),
            EXISTS => progress.state(&id, "Layer already exists"),
            MOUNTED => {
                let from = blob.from.as_deref().unwrap_or_default();
                progress.state(&id, &format!("Mounted from {from}"));
            }
            _ => progress.state(&id, "Pushed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_which_what_and_how_much() {
        let record = record(258, MOUNTED, 0x0102_0304_0506_0708);
        assert_eq!(record[0], MOUNTED);
        assert_eq!(record[1..9], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record[9..], [8, 7, 6, 5, 4, 3, 2, 1]);
    }
}
