//! `--locked`: what a name means stands in `lazaret.lock`, and what does not stand there does not run.
//!
//! A lock only takes away. What it names must come in by today's rules as well, and these must be
//! the ones that it was written under; so whoever edits it gains nothing that NAME@DIGEST on the
//! command line would not have given.

use super::journal::Journal;
use super::{LockPlace, PullRequest, RunRequest, place, pull};
use crate::error::{Error, Kind, Result};
use crate::host::{self, LockFile};
use crate::image::{Digest, ImageName, Platform, Reference};
use crate::plan::IdMap;
use crate::policy::{Lock, Locked, LockedSigner, Policy, Request};
use crate::report;
use crate::store::Store;
use crate::store::source::SourceImage;
use crate::trust::Evidence;

/// What a run is held to.
pub(super) struct Held<'a> {
    pub(super) entry: Locked,
    place: &'a LockPlace,
}

/// What the lock of a run says of its image; `None`: nobody asked for one.
///
/// # Errors
/// `Policy`: it does not name the image, or other rules are in force than it was written under;
/// `NotFound`: there is no lock; else as [`read`].
pub(super) fn of<'a>(
    request: &'a RunRequest,
    policy: &Policy,
    journal: &mut Journal,
) -> Result<Option<Held<'a>>> {
    let Some(place) = &request.locked else {
        return Ok(None);
    };
    let (file, digest, lock) = there(place)?;
    let mut known = report::Lock {
        file: file.path().to_string_lossy().into_owned(),
        digest,
        entry: None,
    };
    journal.locked(known.clone());
    let name = &request.request.image;
    let entry = entry(&file, &lock, name, request.platform.as_ref(), place)?;
    known.entry = Some(entry.clone());
    journal.locked(known);
    let held = Held { entry, place };
    held.same_rules(policy)?;
    Ok(Some(held))
}

/// `pull --locked`: fetches what the lock says, unless it is here.
///
/// # Errors
/// As [`of`] and [`pull::fetch`].
pub(super) fn pull(
    place: &LockPlace,
    store: &Store,
    map: &IdMap,
    policy: Policy,
    request: &PullRequest,
) -> Result<()> {
    let (file, _, lock) = there(place)?;
    let name = ImageName::Registry(request.reference.clone());
    let entry = entry(&file, &lock, &name, request.platform.as_ref(), place)?;
    let held = Held { entry, place };
    held.same_rules(&policy)?;
    let reference = match kept(store, &held.entry, true)? {
        Some((reference, _)) => reference,
        None => held.entry.pinned(),
    };
    let pinned = PullRequest {
        reference,
        platform: Some(held.entry.platform.clone()),
        ..request.clone()
    };
    let fetched = pull::fetch(store, map, policy, &pinned)?;
    if let Some(found) = store.get_ref(&pinned.reference.to_string())? {
        held.is_it(&found.manifest)?;
    }
    fetched.tell(&pinned);
    Ok(())
}

/// The file of a lock, and what it says; `None` where there is none.
///
/// # Errors
/// As [`LockFile::read`] and [`Lock::parse`].
pub(super) fn read(place: &LockPlace) -> Result<(LockFile, Option<(Digest, Lock)>)> {
    let here = std::env::current_dir().map_err(|e| Error::io("getcwd", &e))?;
    let file = match place {
        LockPlace::Project => LockFile::place(None, &here),
        LockPlace::At(path) => LockFile::place(Some(path), &here),
    };
    let lock = parsed(&file)?;
    Ok((file, lock))
}

/// What a file says now, and the digest of its bytes.
///
/// # Errors
/// As [`read`].
pub(super) fn parsed(file: &LockFile) -> Result<Option<(Digest, Lock)>> {
    let Some(bytes) = file.read()? else {
        return Ok(None);
    };
    let lock = Lock::parse(&file.path().to_string_lossy(), &bytes)?;
    Ok(Some((Digest::of(&bytes), lock)))
}

/// As [`read`], of a lock that must be there.
///
/// # Errors
/// `NotFound`; as [`read`].
pub(super) fn there(place: &LockPlace) -> Result<(LockFile, Digest, Lock)> {
    let (file, found) = read(place)?;
    match found {
        Some((digest, lock)) => Ok((file, digest, lock)),
        None => {
            let cause = format!("there is no lock {}", file.path().display());
            Err(Error::new(Kind::NotFound, cause)
                .hint(format!("{} makes it", command(place, "", "IMAGE..."))))
        }
    }
}

/// A command that is pasted: `lazaret lock --update redis:7`.
pub(super) fn command(place: &LockPlace, flag: &str, image: &str) -> String {
    let file = match place {
        LockPlace::Project => String::new(),
        LockPlace::At(path) => match host::named(path) {
            path if path.is_empty() => " --lock-file FILE".to_owned(),
            path => format!(" --lock-file{path}"),
        },
    };
    format!("lazaret lock{file}{flag} {image}")
}

fn refused(cause: String, hint: String) -> Error {
    Error::new(Kind::Policy, cause).hint(hint)
}

fn entry(
    file: &LockFile,
    lock: &Lock,
    name: &ImageName,
    platform: Option<&Platform>,
    place: &LockPlace,
) -> Result<Locked> {
    let not_there = |what: &str, hint: String| {
        let cause = format!("{name}{what} is not in the lock {}", file.path().display());
        Err(refused(cause, hint))
    };
    let ImageName::Registry(reference) = name else {
        return not_there("", "only images of registries are locked".to_owned());
    };
    let wanted = platform.cloned().unwrap_or_else(Platform::native);
    if let Some(found) = lock.find(reference, &wanted) {
        return Ok(found.clone());
    }
    let for_it = format!(" --platform {wanted}");
    let flag = platform.map_or("", |_| &for_it);
    let others = lock.of(reference).next().is_some();
    let what = if others || platform.is_some() {
        format!(" for {wanted}")
    } else {
        String::new()
    };
    not_there(&what, command(place, flag, &reference.familiar()))
}

impl Held<'_> {
    /// The same run, of the image by its digest.
    ///
    /// # Errors
    /// As [`kept`].
    pub(super) fn request(&self, request: &RunRequest, store: &Store) -> Result<RunRequest> {
        let reference = match kept(store, &self.entry, true)? {
            Some((reference, _)) => reference,
            None => self.entry.pinned(),
        };
        Ok(RunRequest {
            request: Request {
                image: ImageName::Registry(reference),
                ..request.request.clone()
            },
            ..request.clone()
        })
    }

    fn update(&self) -> String {
        let familiar = self.entry.reference.familiar();
        command(self.place, " --update", &familiar)
    }

    /// What rules call the image, where that is not its name; and that it is the locked one.
    ///
    /// # Errors
    /// `Policy`: it is another one.
    pub(super) fn meant(
        &self,
        policy: &Policy,
        store: &Store,
        image: &SourceImage,
    ) -> Result<Option<ImageName>> {
        self.is_it(&image.manifest.digest)?;
        let meant = meant(&self.entry, policy, store)?;
        if meant.is_some() {
            let name = self.entry.reference.familiar();
            report::note(&format!(
                "{name} means something else here by now: rules see {name}@{}",
                self.entry.digest
            ));
        }
        Ok(meant)
    }

    fn is_it(&self, manifest: &Digest) -> Result<()> {
        let entry = &self.entry;
        if *manifest == entry.manifest {
            return Ok(());
        }
        let cause = format!(
            "the lock says that {entry} is the manifest {}, and by its digest {} it is {manifest}: \
             the lock was edited",
            entry.manifest, entry.digest
        );
        Err(refused(
            cause,
            format!("put the lock back, or: {}", self.update()),
        ))
    }

    fn same_rules(&self, policy: &Policy) -> Result<()> {
        let entry = &self.entry;
        let now = policy.admitting(&ImageName::Registry(entry.reference.clone()));
        if now == entry.policy {
            return Ok(());
        }
        let cause = format!(
            "{} was locked under other rules (was {}, is {now}): the policy's trust and require \
             about it changed, or the lock was edited",
            entry.reference, entry.policy
        );
        let hint = format!(
            "`lazaret policy show` lists the rules; if they are as you want them: {}",
            self.update()
        );
        Err(refused(cause, hint))
    }

    /// Holds the locked signers against what is proven now.
    ///
    /// # Errors
    /// `Policy`: one of them has not signed.
    pub(super) fn signed(&self, evidence: &Evidence) -> Result<()> {
        let unproven = self.entry.unproven(evidence);
        if unproven.is_empty() {
            return Ok(());
        }
        let cause = format!(
            "{} was locked as signed by {}, of whom no signature proves that now: it is gone, or \
             the lock was edited",
            self.entry.reference,
            names(&unproven)
        );
        Err(refused(
            cause,
            format!("if that is meant: {}", self.update()),
        ))
    }
}

/// Signers in words.
pub(super) fn names(signers: &[&LockedSigner]) -> String {
    let names: Vec<String> = signers.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

/// What rules call a locked image, where that is not its name alone. Where `tofu` counts and the tag
/// means another image here by now, it is NAME@DIGEST: what is allowed for the tag is not allowed
/// for what it once meant, or was never seen to mean.
///
/// # Errors
/// As [`Store::seen`].
pub(super) fn meant(entry: &Locked, policy: &Policy, store: &Store) -> Result<Option<ImageName>> {
    let name = ImageName::Registry(entry.reference.clone());
    let seen = place::seen(store, &name)?;
    let other = seen.is_some_and(|seen| !seen.means(&entry.manifest));
    let pinned = other && policy.counts_on_record(&name);
    Ok(pinned.then(|| ImageName::Registry(entry.pinned())))
}

/// The locked image, if the store has it under a name that is known to be of that very digest, and
/// the name that `run` finds it by. With `pin` that name is given to it, so that it stays when its
/// tag means something else.
///
/// # Errors
/// As [`Store::image`] and [`Store::put_whole_ref`].
pub(super) fn kept(
    store: &Store,
    entry: &Locked,
    pin: bool,
) -> Result<Option<(Reference, SourceImage)>> {
    let pinned = entry.pinned();
    let by_manifest = Reference {
        digest: Some(entry.manifest),
        ..pinned.clone()
    };
    let under = store.get_ref(&pinned.to_string())?;
    if let Some(found) = under
        .as_ref()
        .filter(|found| found.manifest == entry.manifest)
    {
        return Ok(Some((pinned, store.image(found)?)));
    }
    for found in store.refs()? {
        let Ok(name) = Reference::parse(&found.name) else {
            continue;
        };
        let same = (&name.domain, &name.path) == (&pinned.domain, &pinned.path);
        if !same || found.manifest != entry.manifest {
            continue;
        }
        let means =
            |seen: crate::policy::Seen| seen.served == entry.digest && seen.means(&entry.manifest);
        // An index is known by who fetched it: by that digest, or by a tag that meant it.
        let tag = Reference {
            digest: None,
            ..name.clone()
        };
        let known = entry.digest == entry.manifest
            || name.digest == Some(entry.digest)
            || store.seen(&tag)?.is_some_and(means);
        if !known {
            continue;
        }
        let image = store.image(&found)?;
        let free = under.is_none() && pin;
        if free && store.put_whole_ref(&pinned.to_string(), &image)?.is_some() {
            return Ok(Some((pinned, image)));
        }
        return Ok(Some((by_manifest, image)));
    }
    Ok(None)
}
