//! `lazaret lock`: writes down what names mean, or holds what is written against store and policy.

use super::evidence::Judged;
use super::locked::{self, command};
use super::{
    LockPlace, LockRequest, LockWhat, PullRequest, PullWhen, evidence, find, place, pull, source,
};
use crate::error::{Error, Kind, Result};
use crate::host::{self, LockFile};
use crate::image::quote::quoted;
use crate::image::{ImageName, Platform, Reference};
use crate::plan::IdMap;
use crate::policy::{Admit, Drift, Lock, Locked, LockedSigner, MAX_LOCK, Policy, admit};
use crate::report::{self, clean};
use crate::store::Store;
use crate::store::source::SourceImage;
use std::fmt::Write as _;

/// Locks images as they come in now, or, where none is named, checks the lock. Exit code 0, or 1 if
/// something differs from what is locked.
///
/// # Errors
/// `Policy`: an image is not let in, or is locked as another one; `NotFound`: there is no lock, or an
/// image is not in it that is to be updated; `Busy`, `Io`: the lock cannot be written; else as
/// [`pull::fetch`].
pub fn lock(request: &LockRequest) -> Result<u8> {
    let policy = host::policy(request.profile.as_deref())?.policy;
    match &request.what {
        LockWhat::Check => check(&request.place, &policy),
        LockWhat::Write {
            images,
            update,
            platform,
            pull,
            quiet,
            insecure,
        } => {
            let how = How {
                update: *update,
                pull: *pull,
                quiet: *quiet,
                insecure,
            };
            write(&request.place, &policy, images, platform.as_ref(), &how)
        }
    }
}

/// How images are brought in.
struct How<'a> {
    update: bool,
    pull: PullWhen,
    quiet: bool,
    insecure: &'a [String],
}

fn write(
    at: &LockPlace,
    policy: &Policy,
    images: &[Reference],
    platform: Option<&Platform>,
    how: &How<'_>,
) -> Result<u8> {
    let (file, before) = match how.update {
        true => locked::there(at).map(|(file, _, lock)| (file, lock))?,
        false => locked::read(at).map(|(file, _)| (file, Lock::default()))?,
    };
    let wanted = wanted(at, &file, &before, images, platform, how)?;
    let store = place::open_store()?;
    let map = place::own_map(Some(&store))?;
    let mut all = Vec::new();
    for (reference, platform) in wanted {
        let now = accepted(&store, &map, policy, &reference, &platform, how)
            .map_err(|error| error.action(format!("lock {reference}")))?;
        all.push(now);
    }
    // Nobody waits for a fetch: what others have written meanwhile is read again.
    let alone = file.alone()?;
    let there = locked::parsed(&file)?.map(|(_, lock)| lock);
    let mut lock = there.clone().unwrap_or_default();
    let mut told = String::new();
    for now in all {
        told.push_str(&put(at, &mut lock, now, how.update)?);
    }
    if there.as_ref() != Some(&lock) {
        let text = lock.text();
        if text.len() > MAX_LOCK {
            let cause = format!("the lock would have more than {MAX_LOCK} bytes");
            return Err(Error::new(Kind::Limit, cause).hint("another --lock-file has room"));
        }
        file.write(&text)?;
    }
    drop(alone);
    report::stdout(&told)?;
    Ok(0)
}

/// What is to be looked up: each name with its platform. This machine's own comes last: a name of the
/// store has one platform, and that is the one to be left with.
fn wanted(
    at: &LockPlace,
    file: &LockFile,
    lock: &Lock,
    images: &[Reference],
    platform: Option<&Platform>,
    how: &How<'_>,
) -> Result<Vec<(Reference, Platform)>> {
    let mut wanted = Vec::new();
    for reference in images {
        let own = Platform::native();
        if !how.update {
            wanted.push((reference.clone(), platform.cloned().unwrap_or(own)));
            continue;
        }
        let mut locked: Vec<Platform> = match platform {
            Some(one) => lock.find(reference, one).into_iter().collect::<Vec<_>>(),
            None => lock.of(reference).collect(),
        }
        .into_iter()
        .map(|one| one.platform.clone())
        .collect();
        if locked.is_empty() {
            let cause = format!("{reference} is not in the lock {}", file.path().display());
            return Err(Error::new(Kind::NotFound, cause).hint(format!(
                "{} adds it",
                command(at, "", &reference.familiar())
            )));
        }
        locked.sort_by_key(|one| one.level_for(&own).is_some());
        wanted.extend(locked.into_iter().map(|one| (reference.clone(), one)));
    }
    Ok(wanted)
}

/// Puts an image into the lock, and says so.
fn put(at: &LockPlace, lock: &mut Lock, now: Locked, update: bool) -> Result<String> {
    let Some(was) = lock.same_place(&now) else {
        let told = format!("locked {now}: {}\n", now.manifest);
        lock.put(now);
        return Ok(told);
    };
    let changes = was.changes(&now);
    if changes.is_empty() {
        return Ok(format!("unchanged {now}\n"));
    }
    if !update {
        let familiar = now.reference.familiar();
        let mut error = Error::new(Kind::Policy, format!("{now} is locked already"));
        error.detail = lines(&changes).lines().map(str::to_owned).collect();
        return Err(error.hint(format!(
            "to move it: {}",
            command(at, " --update", &familiar)
        )));
    }
    let told = format!("updated {now}\n{}", lines(&changes));
    lock.put(now);
    Ok(told)
}

/// A line for what was, and one for what is.
fn lines(changes: &[Drift]) -> String {
    let mut out = String::new();
    for Drift { fact, was, is } in changes {
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            out,
            "  {fact:<8} was {}\n           is  {}",
            clean(was),
            clean(is)
        );
    }
    out
}

/// The image that a name means for a platform, fetched where it is missing or asked for, as policy
/// lets it in under that name.
fn accepted(
    store: &Store,
    map: &IdMap,
    policy: &Policy,
    reference: &Reference,
    platform: &Platform,
    how: &How<'_>,
) -> Result<Locked> {
    let name = ImageName::Registry(reference.clone());
    let here = || -> Result<Option<SourceImage>> {
        let found = source::stored(reference, store)?;
        // An id names what is here alone.
        let named = |image: &SourceImage| {
            reference.digest.is_some() || image.canonical_name == reference.to_string()
        };
        let fits = |image: &SourceImage| image.config.check_platform(platform).is_ok();
        Ok(found.filter(|image| named(image) && fits(image)))
    };
    let mut served = reference.digest;
    let found = match (how.pull, here()?) {
        (PullWhen::Missing | PullWhen::Never, Some(image)) => Some(image),
        (PullWhen::Never, None) => {
            let why = "there is no such image in the store, and --pull never fetches none";
            return Err(find::not_found(&name, why));
        }
        (PullWhen::Missing | PullWhen::Always, _) => {
            let wanted = PullRequest {
                reference: reference.clone(),
                platform: Some(platform.clone()),
                accept: false,
                locked: None,
                quiet: how.quiet,
                insecure: how.insecure.to_vec(),
            };
            let fetched = pull::fetch(store, map, policy.clone(), &wanted)?;
            fetched.tell(&wanted);
            served = Some(fetched.served);
            here()?
        }
    };
    let image = found.ok_or_else(|| find::not_found(&name, "the image was removed meanwhile"))?;
    let Judged {
        seen,
        evidence,
        reasons,
    } = evidence::judged(policy, &name, &image, store)?;
    if !reasons.is_empty() {
        return Err(super::run::refused(reasons));
    }
    let (manifest, config) = (&image.manifest, &image.config);
    let recorded = seen.filter(|seen| seen.means(&manifest.digest));
    let served = served.or(recorded.map(|seen| seen.served));
    let now = Locked {
        reference: reference.clone(),
        platform: writable(&config.platform)?,
        digest: served.unwrap_or(manifest.digest),
        manifest: manifest.digest,
        policy: policy.admitting(&name),
        signers: LockedSigner::proven(&evidence, &manifest.digest),
    };
    keep(store, &now, &image)?;
    Ok(now)
}

/// The platform of a config, which a stranger worded.
fn writable(platform: &Platform) -> Result<Platform> {
    let read = Platform::parse(&platform.to_string());
    read.ok().filter(|read| read == platform).ok_or_else(|| {
        let cause = format!("the image is for {:?}", platform.to_string());
        Error::new(Kind::Unsupported, cause).hint("no platform of that name is written down")
    })
}

/// Gives the image a name of its own, by which it stays when its tag means something else. An index
/// has the image of this machine under its digest; others have their own.
fn keep(store: &Store, now: &Locked, image: &SourceImage) -> Result<()> {
    let own = now.platform.level_for(&Platform::native()).is_some();
    let digest = match own {
        true => now.digest,
        false => now.manifest,
    };
    let name = Reference {
        digest: Some(digest),
        ..now.reference.clone()
    };
    let name = name.to_string();
    let there = store.get_ref(&name)?;
    if there.is_none_or(|there| there.manifest != now.manifest)
        && store.put_whole_ref(&name, image)?.is_none()
    {
        report::note(&format!(
            "{now} is not kept as it came: it is fetched again once its tag means something else"
        ));
    }
    Ok(())
}

/// Holds every entry against what is here, without speaking to anybody.
fn check(at: &LockPlace, policy: &Policy) -> Result<u8> {
    let (file, _, lock) = locked::there(at)?;
    let store = place::look_at_store()?;
    let (mut told, mut differ) = (String::new(), 0);
    for entry in lock.images() {
        let found = differences(entry, policy, store.as_ref())?;
        let word = if found.is_empty() { "holds" } else { "differs" };
        // Writing to a String cannot fail.
        let _infallible = writeln!(told, "{word} {entry}");
        for line in &found {
            let _infallible = writeln!(told, "  {}", clean(line));
        }
        differ += usize::from(!found.is_empty());
    }
    let all = lock.images().count();
    let shown = file.path().display().to_string();
    let shown = clean(&shown);
    let end = match (all, differ) {
        (0, _) => format!("{shown} locks nothing\n"),
        (_, 0) => format!("{shown}: all {all} hold\n"),
        _ => format!("{shown}: {differ} of {all} differ\n"),
    };
    report::stdout(&(told + &end))?;
    Ok(u8::from(differ > 0))
}

/// What of an entry is not as it is locked, a line each.
fn differences(entry: &Locked, policy: &Policy, store: Option<&Store>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let name = ImageName::Registry(entry.reference.clone());
    let rules = policy.admitting(&name);
    if rules != entry.policy {
        lines.push(format!("policy   was {}, is {rules}", entry.policy));
    }
    let found = match store {
        Some(store) => locked::kept(store, entry, false)?.map(|(_, image)| (store, image)),
        None => None,
    };
    let Some((store, image)) = found else {
        lines.push(format!("{} is not in the store", entry.digest));
        return Ok(lines);
    };
    if image.config.platform != entry.platform {
        let (was, is) = (&entry.platform, image.config.platform.to_string());
        lines.push(format!("platform was {was}, is {}", quoted(&is)));
    }
    let evidence = evidence::of(policy, &name, &image, store)?;
    let unproven = entry.unproven(&evidence);
    if !unproven.is_empty() {
        let names = locked::names(&unproven);
        lines.push(format!("signers  of {names} no signature proves that now"));
    }
    let meant = locked::meant(entry, policy, store)?.unwrap_or(name);
    let seen = place::seen(store, &meant)?;
    let (manifest, config, now) = (&image.manifest, &image.config, place::now());
    let admitted = admit(
        policy,
        &meant,
        manifest,
        config,
        seen.as_ref(),
        &evidence,
        now,
    );
    if let Admit::Deny(reasons) = admitted {
        let reasons = reasons.iter();
        lines.extend(reasons.map(|reason| format!("refused  {}: {}", reason.asked, reason.why)));
    }
    let tag = store.get_ref(&entry.reference.to_string())?;
    let serves = |platform: &Platform| platform.level_for(&entry.platform).is_some();
    if let Some(tag) = tag.filter(|tag| tag.manifest != entry.manifest && serves(&tag.platform)) {
        lines.push(format!(
            "manifest was {}, and the name means {} in the store",
            entry.manifest, tag.manifest
        ));
    }
    Ok(lines)
}
