//! From a name to verified documents: the stages `store`, `worker` and `verify` of the way through.

use crate::error::{Error, Kind, Result};
use crate::image::{Digest, ImageName, Platform, Reference};
use crate::plan::IdMap;
use crate::store::Store;
use crate::store::source::{Source, SourceImage, scan_archive};

/// The image that a name means, its manifest and config verified. Nothing is fetched: a registry's
/// image must be there.
///
/// # Errors
/// `NotFound` where the store has no such image; else as the source's.
pub fn resolve(
    name: &ImageName,
    platform: &Platform,
    store: &Store,
    map: &IdMap,
) -> Result<SourceImage> {
    match name {
        ImageName::Registry(reference) => {
            let found = stored(reference, store)?;
            found.ok_or_else(|| super::find::not_found(name, "there is no such image in the store"))
        }
        ImageName::Builtin(builtin) if builtin == "probe" => {
            let archive = crate::probe::image::image()?.archive()?;
            // These bytes are this program's own.
            let members = scan_archive(&archive)?;
            Source::archive(name, archive, members)?.image(platform)
        }
        ImageName::Builtin(builtin) => Err(Error::new(
            Kind::NotFound,
            format!("no image is built in by the name {builtin:?}"),
        )
        .hint("builtin:probe is the only one")),
        ImageName::Tool(_) => Err(Error::new(Kind::Usage, "a program is no image")),
        ImageName::OciDir { .. } => Source::open(name)?.image(platform),
        ImageName::OciArchive { path, .. } | ImageName::DockerArchive { path, .. } => {
            let archive = Source::open_archive(path)?;
            let members = store.scan_archive(&archive, map)?;
            Source::archive(name, archive, members)?.image(platform)
        }
    }
}

/// The image that the store has under a registry's name, whatever its platform, or under an id.
///
/// # Errors
/// As [`Store::image`].
pub(super) fn stored(reference: &Reference, store: &Store) -> Result<Option<SourceImage>> {
    let name = reference.to_string();
    if let Some(found) = store.get_ref(&name)? {
        return store.image(&found).map(Some);
    }
    if let Some(digest) = reference.digest {
        // With tag and digest the digest decides: any name of the same repository will do.
        let same = |other: &str| {
            Reference::parse(other)
                .is_ok_and(|o| o.domain == reference.domain && o.path == reference.path)
        };
        let found = store
            .refs()?
            .into_iter()
            .find(|r| r.manifest == digest && same(&r.name));
        return found.map(|found| store.image(&found)).transpose();
    }
    by_id(reference, store)
}

/// What policy calls an image, where that is not the name that it was asked for by. `None`: it is.
///
/// One that was asked for by its id is the name that it is kept by, pinned to what the id named: an
/// id is no name, and rules are about names. One on disk is the place that was opened, without
/// links, `.` and `..`: however a path is spelled, rules speak of where it leads.
///
/// # Errors
/// `Usage`: a place that no rule can name, because its path has a colon that reads as a tag's.
pub fn meant(name: &ImageName, image: &SourceImage) -> Result<Option<ImageName>> {
    let place = |same: &dyn Fn(&ImageName) -> bool| match ImageName::parse(&image.canonical_name) {
        Ok(real) if same(&real) => Ok(Some(real).filter(|real| real != name)),
        _ => Err(Error::new(
            Kind::Usage,
            format!("{name}: rules cannot name a path with a colon"),
        )
        .hint("rename the folder or file that it leads to")),
    };
    match name {
        ImageName::Builtin(_) | ImageName::Tool(_) => Ok(None),
        ImageName::OciDir { tag, digest, .. } => place(
            &|real| matches!(real, ImageName::OciDir { tag: t, digest: d, .. } if t == tag && d == digest),
        ),
        ImageName::OciArchive { tag, .. } => {
            place(&|real| matches!(real, ImageName::OciArchive { tag: t, .. } if t == tag))
        }
        ImageName::DockerArchive { reference, .. } => place(
            &|real| matches!(real, ImageName::DockerArchive { reference: r, .. } if r == reference),
        ),
        ImageName::Registry(asked) => {
            if asked.digest.is_some() || asked.to_string() == image.canonical_name {
                return Ok(None);
            }
            Ok(match ImageName::parse(&image.canonical_name).ok() {
                Some(ImageName::Registry(kept)) => Some(ImageName::Registry(Reference {
                    digest: Some(image.manifest.digest),
                    ..kept
                })),
                other => other,
            })
        }
    }
}

/// docker takes an image's id, or the start of one, where a name is expected; a name wins.
fn by_id(reference: &Reference, store: &Store) -> Result<Option<SourceImage>> {
    let word = reference
        .path
        .strip_prefix("library/")
        .unwrap_or(&reference.path);
    let is_id = reference.domain == "docker.io"
        && reference.tag.as_deref() == Some("latest")
        && (12..=64).contains(&word.len())
        && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_id {
        return Ok(None);
    }
    let mut matching: Vec<(Digest, _)> = store
        .images()?
        .into_iter()
        .filter(|i| i.id.hex().starts_with(word))
        .map(|i| (i.id, i.reference))
        .collect();
    matching.dedup_by_key(|(id, _)| *id);
    match matching.as_slice() {
        [(_, found)] => store.image(found).map(Some),
        _ => Ok(None),
    }
}
