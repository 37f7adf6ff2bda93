//! The image that `run` means: out of the store, or fetched first (`--pull`, `--platform`).

use super::{PullRequest, PullWhen, RunRequest, find, pull, source};
use crate::error::{Error, Kind, Result};
use crate::image::{ImageName, Platform, Reference};
use crate::plan::IdMap;
use crate::policy::Policy;
use crate::report::{self, clean};
use crate::store::Store;
use crate::store::source::SourceImage;

/// Finds the image of a run, and fetches it where that is wanted. `looks`: who only looks, and so
/// fetches nothing.
///
/// # Errors
/// `NotFound`: it is not here, and nothing is fetched; `Platform`: what is here is for another
/// platform, or this machine runs nothing for the one that was asked for; else as
/// [`source::resolve`] and [`pull::fetch`].
pub(super) fn image(
    request: &RunRequest,
    looks: Option<&str>,
    policy: &Policy,
    store: &Store,
    map: &IdMap,
) -> Result<SourceImage> {
    let name = &request.request.image;
    let platform = executable(request.platform.as_ref(), name)?;
    let ImageName::Registry(reference) = name else {
        return source::resolve(name, &platform, store, map);
    };
    let here = source::stored(reference, store)?;
    // An id names what is here, and no registry knows it.
    let by_id = |image: &SourceImage| {
        reference.digest.is_none() && image.canonical_name != reference.to_string()
    };
    let pull = match &here {
        Some(image) if by_id(image) => PullWhen::Never,
        _ => request.pull,
    };
    let fits = |image: &SourceImage| image.config.check_platform(&platform);
    let why = match (pull, here) {
        (PullWhen::Always, Some(image)) if looks.is_some() && fits(&image).is_ok() => {
            report::note("--pull always: nothing is fetched only to look; this is what is here");
            return Ok(image);
        }
        (PullWhen::Always, _) => None,
        (PullWhen::Missing | PullWhen::Never, None) => {
            Some("there is no such image in the store".to_owned())
        }
        (PullWhen::Missing | PullWhen::Never, Some(image)) => match fits(&image) {
            Ok(()) => return Ok(image),
            Err(e) => Some(
                e.cause
                    .replacen("the image is", "the image in the store is", 1),
            ),
        },
    };
    let none = |who: &str| {
        let why = why.as_deref().unwrap_or("this asks the registry");
        find::not_found(name, &format!("{why}, and {who} fetches none"))
    };
    match (looks, pull) {
        (Some(who), _) => return Err(none(who)),
        (None, PullWhen::Never) => return Err(none("--pull never")),
        (None, PullWhen::Missing | PullWhen::Always) => {}
    }
    if why.is_some() && !request.quiet {
        let familiar = clean(&reference.familiar()).into_owned();
        let line = match &request.platform {
            None => format!("Unable to find image '{familiar}' locally\n"),
            Some(platform) => format!("Unable to find image '{familiar}' for {platform} locally\n"),
        };
        report::stderr(&line);
    }
    fetched(reference, request, policy, store, map)?;
    match source::stored(reference, store)? {
        Some(image) => Ok(image),
        None => Err(find::not_found(name, "the image was removed meanwhile")),
    }
}

fn fetched(
    reference: &Reference,
    request: &RunRequest,
    policy: &Policy,
    store: &Store,
    map: &IdMap,
) -> Result<()> {
    let wanted = PullRequest {
        reference: reference.clone(),
        platform: request.platform.clone(),
        accept: false,
        locked: None,
        quiet: request.quiet,
        insecure: Vec::new(),
    };
    match pull::fetch(store, map, policy.clone(), &wanted) {
        Ok(fetched) => {
            fetched.tell(&wanted);
            Ok(())
        }
        Err(error) => Err(match (error.kind, find::on_disk(reference)) {
            // Perhaps no registry was meant at all.
            (Kind::NotFound | Kind::Credentials | Kind::Registry, Some(path)) => error.hint(path),
            _ => error,
        }),
    }
}

/// The platform to look for, which this machine must be able to run: other variants of its own
/// architecture are the caller's word.
fn executable(asked: Option<&Platform>, name: &ImageName) -> Result<Platform> {
    let native = Platform::native();
    let Some(asked) = asked else {
        return Ok(native);
    };
    if (&asked.os, &asked.architecture) == (&native.os, &native.architecture) {
        return Ok(asked.clone());
    }
    let error = Error::new(
        Kind::Platform,
        format!("--platform {asked}: this machine is {native}, and lazaret emulates no other"),
    );
    Err(match name {
        ImageName::Registry(reference) => error.hint(format!(
            "lazaret pull --platform {asked} {} fetches it without running it",
            reference.familiar()
        )),
        _ => error,
    })
}
