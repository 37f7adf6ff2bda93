//! `lazaret pull`, and what `run` does with an image that the store lacks: fetched by a worker that
//! sees nothing but the network, verified here, unpacked as any other image.

use super::load::Loader;
use super::{PullRequest, place};
use crate::error::{Context, Error, Kind, Result};
use crate::host;
use crate::image::{Digest, ImageConfig, ImageName, Index, Manifest, Platform, Reference};
use crate::plan::IdMap;
use crate::policy::{Admit, Policy, Seen, admit};
use crate::registry::{Auth, Client, Options, Roots};
use crate::report::{self, Progress};
use crate::store::source::{Source, SourceImage};
use crate::store::{Fetching, Store};
use crate::worker;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many layers come at once.
const AT_ONCE: usize = 3;

/// Where machines keep the certificates that they trust, as PEM.
pub(super) const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What the worker found out: an image's documents, not yet believed.
#[derive(serde::Serialize, serde::Deserialize)]
struct Found {
    /// The digest of what the registry served for the name: a manifest's or an index's.
    served: String,
    /// The index that the manifest was taken out of, where the name means one.
    index: Option<Vec<u8>>,
    media_type: String,
    manifest: Vec<u8>,
    config: Vec<u8>,
}

/// Fetches an image by its registry's name, and prints what `docker pull` prints.
///
/// # Errors
/// As [`fetch`].
pub fn pull(request: &PullRequest) -> Result<u8> {
    let store = place::open_store()?;
    let host = place::host(Some(&store))?;
    let map = place::map_of(&host);
    let policy = host::policy(None)?.policy;
    let fetched = fetch(&store, &map, policy, request)?;
    fetched.tell(request);
    report::stdout(&format!(
        "{}\n",
        report::clean(&request.reference.to_string())
    ))?;
    Ok(0)
}

/// What came of a fetch.
pub(super) struct Fetched {
    /// The digest that the registry served for the name.
    served: Digest,
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
    if let Some(kept) = kept.as_ref().filter(|_| reference.digest.is_some()) {
        // What a digest means never changes.
        let (manifest, config) = (&kept.image.manifest, &kept.image.config);
        allowed(&policy, reference, manifest, config, None)?;
        return Ok(Fetched {
            served: kept.served,
            news: false,
        });
    }
    let options = options(request)?;
    let etc: Vec<(&str, Vec<u8>)> = Fetching::ETC
        .iter()
        .filter_map(|name| Some((*name, std::fs::read(format!("/etc/{name}")).ok()?)))
        .collect();
    let fetching = store.fetching(&etc)?;
    let mut progress = Progress::new(request.quiet);

    // Names and documents first: what is not let in has no layer fetched.
    let known = kept.as_ref().map(|kept| kept.served);
    let found = worker::fetch(
        map,
        fetching.root(),
        &[],
        |_| resolve(&options, reference, &platform, known.as_ref()),
        || {},
    )?;
    if !request.quiet {
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let shown = reference
            .digest
            .map_or_else(|| tag.to_owned(), |digest| digest.to_string());
        let line = format!("{shown}: Pulling from {}", reference.path);
        report::stderr(&format!("{}\n", report::clean(&line)));
    }
    let found: Option<Found> = serde_json::from_slice(&found)
        .map_err(|_| Error::new(Kind::Worker, "the fetch worker answered nonsense"))?;
    let found = match (found, kept) {
        (Some(found), _) => found,
        (None, Some(kept)) => {
            let (manifest, config) = (&kept.image.manifest, &kept.image.config);
            let seen =
                store.record_seen(reference, &kept.served, &manifest.digest, place::now())?;
            allowed(&policy, reference, manifest, config, Some(&seen))?;
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
    let manifest = Manifest::parse(&found.manifest, Some(&found.media_type))?;
    let served = served(&found, &manifest, reference)?;
    let config = crate::store::verify::config(&found.config, &manifest)?;
    config.check_platform(&platform)?;
    let (now, accept) = (place::now(), request.accept && reference.digest.is_none());
    let allowed = |seen: Option<&Seen>| allowed(&policy, reference, &manifest, &config, seen);
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
    if reference.tag.is_some() && reference.digest.is_none() {
        match accept {
            true => {
                let was = store.accept_moved(reference, &served, &manifest.digest, now)?;
                if let Some(was) = was.filter(|was| was.served != served) {
                    report::note(&format!(
                        "{} meant {}, and means {served} from now on",
                        reference.familiar(),
                        was.served
                    ));
                }
            }
            // Another process may have been quicker: what is recorded counts.
            false => {
                let seen = store.record_seen(reference, &served, &manifest.digest, now)?;
                allowed(Some(&seen))?;
            }
        }
    }

    layers(
        &fetching,
        map,
        &options,
        reference,
        &manifest,
        &mut progress,
    )?;
    let layout = fetching.finish(
        (&manifest.digest, &found.media_type, &found.manifest),
        (&manifest.config.digest, &found.config),
    )?;
    let image: SourceImage = Source::open(&layout)?.image(&platform)?;
    let before = store.get_ref(&name)?;
    let mut loader = Loader::new(store, map.clone(), policy, progress);
    loader.keep(&image, &name)?;
    Ok(Fetched {
        served,
        news: before.is_none_or(|before| before.manifest != manifest.digest),
    })
}

/// Whether policy lets an image in under a registry's name.
fn allowed(
    policy: &Policy,
    reference: &Reference,
    manifest: &Manifest,
    config: &ImageConfig,
    seen: Option<&Seen>,
) -> Result<()> {
    let name = ImageName::Registry(reference.clone());
    match admit(policy, &name, manifest, config, seen, place::now()) {
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

/// The digest that the name means, which the worker is not believed about: that of the manifest, or
/// of an index that holds it.
fn served(found: &Found, manifest: &Manifest, reference: &Reference) -> Result<Digest> {
    let lied = |what: &str| Err(Error::new(Kind::Integrity, format!("{reference}: {what}")));
    let served = match &found.index {
        None => manifest.digest,
        Some(index) => {
            let listed = Index::parse(index, None)?;
            if !listed
                .manifests
                .iter()
                .any(|entry| entry.digest == manifest.digest)
            {
                return lied("the manifest does not stand in the index that was served");
            }
            Digest::of(index)
        }
    };
    if served.to_string() != found.served {
        return lied("what was served is not what its digest says");
    }
    match reference.digest {
        Some(wanted) if wanted != served && wanted != manifest.digest => {
            lied(&format!("the registry served {served}"))
        }
        _ => Ok(served),
    }
}

/// In the worker: what the registry has under the name, down to the config; `null` where that still
/// is what has the digest `known`.
fn resolve(
    options: &Options,
    reference: &Reference,
    platform: &Platform,
    known: Option<&Digest>,
) -> Result<Vec<u8>> {
    let mut client = Client::new(options)?;
    if let Some(known) = known
        && client.still(reference, known)?
    {
        return Ok(b"null".to_vec());
    }
    let served = client.resolve(reference, platform)?;
    let mut config = Vec::new();
    client.blob(reference, &served.parsed.config, &mut config, &mut |_| {})?;
    let found = Found {
        served: served.top.to_string(),
        index: served.index.map(|(bytes, _)| bytes),
        media_type: served.media_type,
        manifest: served.manifest,
        config,
    };
    serde_json::to_vec(&found)
        .map_err(|e| Error::new(Kind::Worker, format!("write what was found: {e}")))
}

/// Fetches the layers that the store does not have, several at once, each into its own file.
fn layers(
    fetching: &Fetching<'_>,
    map: &IdMap,
    options: &Options,
    reference: &Reference,
    manifest: &Manifest,
    progress: &mut Progress,
) -> Result<()> {
    let mut wanted = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for layer in &manifest.layers {
        if !seen.insert(layer.digest) {
            continue;
        }
        if fetching.have(&layer.digest)? {
            progress.state(&layer.digest.short(), "Already exists");
            continue;
        }
        progress.state(&layer.digest.short(), "Pulling fs layer");
        wanted.push((layer, fetching.blob(&layer.digest)?));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let (told, tell) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_call(|| "pipe2")?;
    let mut keep: Vec<i32> = wanted.iter().map(|(_, file)| file.as_raw_fd()).collect();
    keep.push(tell.as_raw_fd());
    let ours = std::cell::RefCell::new(Some(tell));
    let job = |_: std::os::fd::BorrowedFd<'_>| {
        let tell = ours.take();
        let next = AtomicUsize::new(0);
        let failed = std::sync::Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(wanted.len()) {
                scope.spawn(|| {
                    let done = some(options, reference, &wanted, &next, tell.as_ref());
                    if let Err(error) = done
                        && let Ok(mut failed) = failed.lock()
                    {
                        // The others stop at their next layer.
                        next.store(wanted.len(), Ordering::Relaxed);
                        failed.get_or_insert(error);
                    }
                });
            }
        });
        match failed.into_inner() {
            Ok(None) => Ok(Vec::new()),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(Error::new(
                Kind::Worker,
                "a thread of the fetch worker died",
            )),
        }
    };
    let beside = || {
        drop(ours.take());
        follow(std::fs::File::from(told), &wanted, progress);
    };
    worker::fetch(map, fetching.root(), &keep, job, beside)?;
    for (layer, _) in &wanted {
        progress.state(&layer.digest.short(), "Download complete");
    }
    Ok(())
}

type Wanted<'a> = (&'a crate::image::Descriptor, std::fs::File);

/// In the worker: one layer after another, as long as there are some.
fn some(
    options: &Options,
    reference: &Reference,
    wanted: &[Wanted<'_>],
    next: &AtomicUsize,
    tell: Option<&std::os::fd::OwnedFd>,
) -> Result<()> {
    let mut client = Client::new(options)?;
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some((layer, file)) = wanted.get(at) else {
            return Ok(());
        };
        let mut file = file;
        let mut last = 0;
        client.blob(reference, layer, &mut file, &mut |done| {
            // Progress that nobody reads is no failure; it is told every MiB.
            if done >= last + (1 << 20) || done == layer.size {
                last = done;
                let mut record = [0; 16];
                record[..8].copy_from_slice(&(at as u64).to_le_bytes());
                record[8..].copy_from_slice(&done.to_le_bytes());
                let _nobody_reads =
                    tell.is_some_and(|tell| rustix::io::write(tell, &record).is_ok());
            }
        })?;
        file.flush().or_call(|| "write a blob")?;
    }
}

/// Shows what the worker tells of its progress until it ends.
fn follow(mut told: std::fs::File, wanted: &[Wanted<'_>], progress: &mut Progress) {
    let mut record = [0; 16];
    while told.read_exact(&mut record).is_ok() {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let at = usize::try_from(number(&record[..8])).unwrap_or(usize::MAX);
        if let Some((layer, _)) = wanted.get(at) {
            let done = number(&record[8..]).min(layer.size);
            progress.bytes(&layer.digest.short(), "Downloading", done, layer.size);
        }
    }
}

/// How to speak to the registry, with everything that lies on this machine read here.
pub(super) fn options(request: &PullRequest) -> Result<Options> {
    let reference = &request.reference;
    let secret = host::credential(&reference.domain, &reference.path)?;
    let auth = secret.map(|credential| Auth {
        registry: reference.domain.clone(),
        credential,
    });
    let named = std::env::var_os("SSL_CERT_FILE");
    let extra = match named.as_ref().filter(|path| !path.is_empty()) {
        None => Vec::new(),
        Some(path) => std::fs::read(path).or_call(|| format!("read SSL_CERT_FILE {path:?}"))?,
    };
    let platform = ROOTS.iter().find_map(|path| std::fs::read(path).ok());
    let variable = |names: [&str; 2]| {
        let set = names.into_iter().find_map(|name| std::env::var(name).ok());
        set.filter(|value| !value.is_empty())
    };
    Ok(Options {
        plain_http: request.insecure.clone(),
        auth,
        proxy: variable(["HTTPS_PROXY", "https_proxy"]),
        no_proxy: variable(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
        roots: Roots {
            platform: platform.unwrap_or_default(),
            extra,
        },
        ..Options::default()
    })
}
