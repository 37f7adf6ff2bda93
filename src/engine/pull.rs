//! `lazaret pull`, and what `run` does with an image that the store lacks: fetched by a worker that
//! sees nothing but the network, verified here, unpacked as any other image.

mod lanes;
mod layers;

use super::documents::Believed;
use super::evidence::{self, Signers};
use super::{PullRequest, locked, online, place};
use crate::error::{Context, Error, Kind, Result};
use crate::host::{self, Interrupts};
use crate::image::{Descriptor, Digest, ImageConfig, ImageName, Manifest, Platform, Reference};
use crate::plan::IdMap;
use crate::policy::{Admit, Policy, Seen, admit};
use crate::report::{self, Progress};
use crate::store::source::SourceImage;
use crate::store::{FetchLock, Store};
use crate::trust::{Attachments, Evidence};
use crate::worker::{Purpose, Worker};
use lanes::{Asked, Found, Ours};
use layers::Layers;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Fetches an image by its registry's name, and prints what `docker pull` prints.
///
/// # Errors
/// As [`fetch`].
pub fn pull(request: &PullRequest) -> Result<u8> {
    let store = place::open_store()?;
    let host = place::host(Some(&store))?;
    let map = place::map_of(&host);
    let policy = host::policy(None)?.policy;
    match &request.locked {
        Some(lock) => locked::pull(lock, &store, &map, policy, request)?,
        None => fetch(&store, &map, policy, request)?.tell(request),
    }
    report::stdout(&format!(
        "{}\n",
        report::clean(&request.reference.to_string())
    ))?;
    Ok(0)
}

/// When a person is told that a registry keeps them waiting.
const SILENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// What came of a fetch.
pub(super) struct Fetched {
    /// The digest that the registry served for the name.
    pub(super) served: Digest,
    /// The name means another image than before.
    news: bool,
}

impl Fetched {
    /// Prints what docker prints at the end.
    pub(super) fn tell(&self, request: &PullRequest) {
        if request.quiet {
            return;
        }
        let news = match self.news {
            true => "Downloaded newer image for",
            false => "Image is up to date for",
        };
        report::stderr(&format!(
            "Digest: {}\nStatus: {news} {}\n",
            self.served,
            report::clean(&request.reference.familiar())
        ));
    }
}

/// Fetches an image and keeps it under its name.
///
/// # Errors
/// `Policy`: it is not let in, or its tag moved; `NotFound`, `Integrity` and others as the registry
/// client's; `Worker`: the worker died. Nothing of the fetch is left then.
pub(super) fn fetch(
    store: &Store,
    map: &IdMap,
    policy: Policy,
    request: &PullRequest,
) -> Result<Fetched> {
    let reference = &request.reference;
    let platform = request.platform.clone().unwrap_or_else(Platform::native);
    let name = reference.to_string();
    let kept = Kept::of(store, reference, &platform)?;
    let signers = Signers::of(&policy, reference);
    let signed = signers.are_wanted();
    if let Some(kept) = kept
        .as_ref()
        .filter(|_| reference.digest.is_some() && !signed)
    {
        // What a digest means never changes, and who signed it does not matter.
        let (manifest, config) = (&kept.image.manifest, &kept.image.config);
        allowed(
            &policy,
            reference,
            manifest,
            config,
            None,
            &Evidence::default(),
        )?;
        return Ok(Fetched {
            served: kept.served,
            news: false,
        });
    }
    let options = online::options(&reference.domain, &reference.path, &request.insecure)?;
    let fetching = online::fetching(store)?;
    let mut progress = Progress::new(request.quiet);

    let known = kept.as_ref();
    let asked = Asked {
        reference,
        platform: &platform,
        known: known.map(|kept| (kept.served, kept.image.manifest.digest)),
        signed,
    };
    let interrupts = Interrupts::take()?;
    let (theirs, mut ours) = lanes::pipes()?;
    let keep = theirs.fds();
    let worker = Worker::start(Purpose::Fetch, map, fetching.root(), &keep, |_| {
        theirs.work(&options, &asked)
    })?;
    // Names and documents first: what is not let in has no layer fetched.
    let found = found(&mut ours, &interrupts, || {
        if !request.quiet {
            let at = report::clean(&reference.domain);
            report::note(&format!("waiting for {at}; ^C ends it"));
        }
    })?;
    if found.is_empty() {
        answered(&worker, &interrupts)?;
        worker.finish()?;
        return Err(Error::new(
            Kind::Worker,
            "the fetch worker found nothing and says no why",
        ));
    }
    if !request.quiet {
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let shown = reference
            .digest
            .map_or_else(|| tag.to_owned(), |digest| digest.to_string());
        let line = format!("{shown}: Pulling from {}", reference.path);
        report::stderr(&format!("{}\n", report::clean(&line)));
    }
    let Found {
        documents,
        attached,
    } = serde_json::from_slice(&found)
        .map_err(|_| Error::new(Kind::Worker, "the fetch worker answered nonsense"))?;
    let found = match (documents, kept) {
        (Some(found), _) => found,
        (None, Some(kept)) => {
            let (manifest, config) = (&kept.image.manifest, &kept.image.config);
            let seen = match reference.digest {
                Some(_) => None,
                None => {
                    let (served, now) = (&kept.served, place::now());
                    Some(store.record_seen(reference, served, &manifest.digest, now)?)
                }
            };
            let evidence = signers.evidence(attached.as_ref(), &kept.image.manifest_bytes);
            allowed(
                &policy,
                reference,
                manifest,
                config,
                seen.as_ref(),
                &evidence,
            )?;
            keep_attached(store, reference, &manifest.digest, attached.as_ref())?;
            return Ok(Fetched {
                served: kept.served,
                news: false,
            });
        }
        (None, None) => {
            return Err(Error::new(
                Kind::Worker,
                "the fetch worker knows what it was not asked",
            ));
        }
    };
    let Believed {
        served,
        manifest,
        config,
    } = found.believed(reference)?;
    config.check_platform(&platform)?;
    let (now, accept) = (place::now(), request.accept && reference.digest.is_none());
    let evidence = signers.evidence(attached.as_ref(), &found.manifest.0);
    let allowed =
        |seen: Option<&Seen>| allowed(&policy, reference, &manifest, &config, seen, &evidence);
    let before = match accept {
        true => None,
        false => store.seen(reference)?,
    };
    match before {
        // A known index has one more platform.
        Some(seen) if seen.served == served => {
            let seen = store.record_seen(reference, &served, &manifest.digest, now)?;
            allowed(Some(&seen))?;
        }
        seen => allowed(seen.as_ref())?,
    }
    let descriptor = Descriptor {
        media_type: found.media_type,
        digest: manifest.digest,
        size: found.manifest.0.len() as u64,
        platform: None,
        annotations: Default::default(),
    };
    let image = store.image_of(&name, &descriptor, found.manifest.0, found.config.0)?;
    let _alone = alone(store, &image.manifest.digest, &interrupts, &mut progress)?;
    let before = store.get_ref(&name)?;
    let layers = Layers::new(store, map, &image, &mut progress)?;
    let lanes = ours.want(&layers.wanted());
    // A tag's first meaning is that of something that was whole.
    let image = &image;
    let record = || {
        keep_attached(store, reference, &image.manifest.digest, attached.as_ref())?;
        record(store, reference, &served, image, &policy, accept, &evidence)
    };
    layers.bring((&name, record), worker, lanes, &interrupts, &mut progress)?;
    Ok(Fetched {
        served,
        news: before.is_none_or(|before| before.manifest != image.manifest.digest),
    })
}

/// Keeps what was attached to an image.
fn keep_attached(
    store: &Store,
    reference: &Reference,
    manifest: &Digest,
    attached: Option<&Attachments>,
) -> Result<()> {
    let Some(attached) = attached else {
        return Ok(());
    };
    let from = evidence::place_of(reference);
    store.keep_signatures(manifest, &from, attached, place::now())
}

/// Writes down what a tag means, in front of the image's name.
fn record(
    store: &Store,
    reference: &Reference,
    served: &Digest,
    image: &SourceImage,
    policy: &Policy,
    accept: bool,
    evidence: &Evidence,
) -> Result<()> {
    if reference.tag.is_none() || reference.digest.is_some() {
        return Ok(());
    }
    let (manifest, now) = (&image.manifest, place::now());
    if accept {
        let was = store.accept_moved(reference, served, &manifest.digest, now)?;
        if let Some(was) = was.filter(|was| was.served != *served) {
            report::note(&format!(
                "{} meant {}, and means {served} from now on",
                reference.familiar(),
                was.served
            ));
        }
        return Ok(());
    }
    // Another process may have been quicker: what is recorded counts.
    let seen = store.record_seen(reference, served, &manifest.digest, now)?;
    allowed(
        policy,
        reference,
        manifest,
        &image.config,
        Some(&seen),
        evidence,
    )
}

/// Waits until nobody else fetches the same image: what they bring need not be brought again.
fn alone(
    store: &Store,
    manifest: &Digest,
    interrupts: &Interrupts,
    progress: &mut Progress,
) -> Result<FetchLock> {
    loop {
        if let Some(lock) = store.try_lock_fetch(manifest)? {
            return Ok(lock);
        }
        progress.state(&manifest.short(), "Waiting for another process");
        let mut fds = [PollFd::from_borrowed_fd(interrupts.fd(), PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&layers::AGAIN))).or_call(|| "poll")?;
        interrupts.check()?;
    }
}

/// What the worker found out, as text; empty where it ended before it had anything. `silent`: called
/// once, where nothing has come for [`SILENCE`]: a registry may ask to be left alone for a while.
fn found(ours: &mut Ours, interrupts: &Interrupts, silent: impl FnOnce()) -> Result<Vec<u8>> {
    let (mut text, mut silent) = (Vec::new(), Some(silent));
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(interrupts.fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(ours.found_fd(), PollFlags::IN),
        ];
        let patience = silent.is_some().then_some(&SILENCE);
        let said = rustix::io::retry_on_intr(|| poll(&mut fds, patience)).or_call(|| "poll")?;
        let ready = !fds[1].revents().is_empty();
        interrupts.check()?;
        if said == 0
            && let Some(silent) = silent.take()
        {
            silent();
        }
        if ready && ours.read_found(&mut text)? {
            return Ok(text);
        }
    }
}

/// Waits until the worker says how it ended.
fn answered(worker: &Worker, interrupts: &Interrupts) -> Result<()> {
    let mut fds = [
        PollFd::from_borrowed_fd(interrupts.fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(worker.answer(), PollFlags::IN),
    ];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).or_call(|| "poll")?;
    interrupts.check()
}

/// Whether policy lets an image in under a registry's name.
fn allowed(
    policy: &Policy,
    reference: &Reference,
    manifest: &Manifest,
    config: &ImageConfig,
    seen: Option<&Seen>,
    evidence: &Evidence,
) -> Result<()> {
    let name = ImageName::Registry(reference.clone());
    let now = place::now();
    match admit(policy, &name, manifest, config, seen, evidence, now) {
        Admit::Go => Ok(()),
        Admit::Deny(reasons) => Err(super::run::refused(reasons)),
    }
}

/// An image that the store has whole under the very name that is fetched.
struct Kept {
    image: SourceImage,
    /// What the registry served for the name when it was asked last.
    served: Digest,
}

impl Kept {
    /// `None` where anything is missing, damaged or for another platform: then all is asked anew.
    fn of(store: &Store, reference: &Reference, platform: &Platform) -> Result<Option<Self>> {
        let Some(known) = store.get_ref(&reference.to_string())? else {
            return Ok(None);
        };
        let served = match reference.digest {
            Some(digest) => Some(digest),
            None => store
                .seen(reference)?
                .filter(|seen| seen.means(&known.manifest))
                .map(|seen| seen.served),
        };
        let (Some(served), Ok(image)) = (served, store.image(&known)) else {
            return Ok(None);
        };
        let whole = store.has_layers(&image)? && image.config.check_platform(platform).is_ok();
        Ok(whole.then_some(Self { image, served }))
    }
}
