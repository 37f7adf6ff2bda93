//! What a person's word for an image means in the store.

use crate::error::{Error, Kind, Result};
use crate::image::{ImageName, Reference};
use crate::store::{ImageEntry, Store};

/// An image and how it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// All names of that one image: the named one first.
    pub entries: Vec<ImageEntry>,
    /// It was named by one of its names; else by its id.
    pub by_name: bool,
}

/// Finds an image by name, by id, or by a beginning of an id that no other image has; names win.
///
/// # Errors
/// `NotFound`, with how to bring an image in; `Usage`: several ids begin like this.
pub fn image(store: Option<&Store>, text: &str) -> Result<Found> {
    let all = match store {
        Some(store) => store.images()?,
        None => Vec::new(),
    };
    among(all, text)
}

fn among(all: Vec<ImageEntry>, text: &str) -> Result<Found> {
    let name = ImageName::parse(text);
    if let Ok(name) = &name {
        let named = all.iter().position(|entry| means(name, entry));
        if let Some(at) = named {
            let id = all[at].id;
            let first = all[at].clone();
            let others = all.into_iter().enumerate();
            let others = others.filter(|(n, entry)| *n != at && entry.id == id);
            return Ok(Found {
                entries: [first].into_iter().chain(others.map(|(_, e)| e)).collect(),
                by_name: true,
            });
        }
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let like: Vec<_> = all
            .into_iter()
            .filter(|entry| entry.id.hex().starts_with(&hex.to_ascii_lowercase()))
            .collect();
        if like.iter().any(|entry| entry.id != like[0].id) {
            return Err(
                Error::new(Kind::Usage, format!("several images' ids begin with {hex}"))
                    .hint("write more of it; `lazaret images --no-trunc` shows whole ids"),
            );
        }
        if !like.is_empty() {
            return Ok(Found {
                entries: like,
                by_name: false,
            });
        }
    }
    Err(
        Error::new(Kind::NotFound, format!("there is no image {text:?}"))
            .hint("`lazaret images` lists them"),
    )
}

/// Whether `name` is one that the entry has: its tag, or its digest where one is written.
fn means(name: &ImageName, entry: &ImageEntry) -> bool {
    let known = &entry.reference.name;
    match name {
        ImageName::Registry(reference) => match &reference.digest {
            None => name.to_string() == *known,
            // With both tag and digest, the digest decides.
            Some(digest) => {
                *digest == entry.reference.manifest
                    && Reference::parse(known).is_ok_and(|known| {
                        known.domain == reference.domain && known.path == reference.path
                    })
            }
        },
        other => *known == real(other).to_string(),
    }
}

/// A transport's name with the path that the kernel knows, as the store writes it down. A path
/// that is gone stays as it was typed.
fn real(name: &ImageName) -> ImageName {
    let real = |path: &str| match std::fs::canonicalize(path) {
        Ok(real) => real.to_string_lossy().into_owned(),
        Err(_) => path.to_owned(),
    };
    let mut name = name.clone();
    match &mut name {
        ImageName::OciDir { path, .. }
        | ImageName::OciArchive { path, .. }
        | ImageName::DockerArchive { path, .. } => *path = real(path),
        ImageName::Builtin(_) | ImageName::Tool(_) | ImageName::Registry(_) => {}
    }
    name
}

/// What to write for a file or folder here that was named without its transport.
pub(super) fn on_disk(reference: &Reference) -> Option<String> {
    let path = match reference.domain.as_str() {
        "docker.io" => reference
            .path
            .strip_prefix("library/")
            .unwrap_or(&reference.path),
        _ => return None,
    };
    let meta = std::fs::metadata(path).ok()?;
    Some(if meta.is_dir() {
        format!("there is a folder of that name: an OCI layout is named oci:{path}[:TAG]")
    } else {
        format!(
            "there is a file of that name: an archive is named docker-archive:{path} or oci-archive:{path}"
        )
    })
}

/// The error for an image that is not there and is not fetched, with what brings it in.
pub fn not_found(name: &ImageName, cause: &str) -> Error {
    let error = Error::new(Kind::NotFound, cause);
    match name {
        ImageName::Registry(reference) => {
            let familiar = reference.familiar();
            if let Some(path) = on_disk(reference) {
                return error.hint(path);
            }
            error.hint(format!(
                "lazaret pull {familiar}\n\
                 or load what `docker save` or `podman save` wrote: lazaret load -i FILE"
            ))
        }
        _ => error.hint("`lazaret images` lists what is there"),
    }
}
