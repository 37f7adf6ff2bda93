//! `lazaret load`.

use super::{LoadRequest, LoadSource, evidence, place};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{ImageName, Platform, Reference};
use crate::plan::IdMap;
use crate::policy::{Policy, of_a_copy};
use crate::report::{self, Progress};
use crate::store::source::{Source, SourceImage};
use crate::store::unpack::Limits;
use crate::store::{LayerState, Store};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// An archive on standard input is not larger than this, in bytes.
const MAX_ARCHIVE: u64 = 64 << 30;

/// Verifies every image of the source, unpacks its layers, keeps its blobs, and names it.
///
/// # Errors
/// As the rooms below; what was loaded before a failure stays loaded.
pub fn load(request: &LoadRequest) -> Result<u8> {
    let store = place::open_store()?;
    let host = place::host(Some(&store))?;
    let map = place::map_of(&host);
    let policy = crate::host::policy(None)?.policy;
    let platform = Platform::native();
    let mut loader = Loader::new(&store, map, policy, Progress::new(request.quiet));
    match &request.source {
        LoadSource::Stdin => {
            let file = spool(&store, std::io::stdin().lock())?;
            let images = open_archive(&store, &loader.map, file, "-")?.images(&platform)?;
            loader.all(&images, None)?;
        }
        LoadSource::File(path) => {
            let text = path.to_str().ok_or_else(|| {
                Error::new(Kind::Usage, format!("the path {path:?} is not UTF-8 text"))
            })?;
            let file = Source::open_archive(text)?;
            let images = open_archive(&store, &loader.map, file, text)?.images(&platform)?;
            loader.all(&images, Some(text))?;
        }
        LoadSource::Named { image, name } => {
            let found = super::source::resolve(image, &platform, &store, &loader.map)?;
            let name = match name {
                Some(name) => vec![ImageName::Registry(name.clone())],
                None => names(&found, Some(&found.canonical_name)),
            };
            let place = super::source::meant(image, &found)?;
            loader.one(&found, Some(place.as_ref().unwrap_or(image)), &name)?;
        }
    }
    Ok(0)
}

/// Opens an archive of either kind: docker's saves are OCI layouts too, so docker's transport
/// looks for both.
fn open_archive(store: &Store, map: &IdMap, file: File, path: &str) -> Result<Source> {
    let mut head = [0; 6];
    let read = rustix::io::pread(&file, &mut head, 0).or_call(|| format!("read {path:?}"))?;
    if let Some(tool) = compressed(&head[..read]) {
        return Err(Error::new(
            Kind::Unsupported,
            format!("{path:?} is compressed as a whole, which is not built yet"),
        )
        .hint(format!("{tool} -dc FILE | lazaret load")));
    }
    let transport = ImageName::DockerArchive {
        path: path.to_owned(),
        reference: None,
    };
    let members = store.scan_archive(&file, map)?;
    Source::archive(&transport, file, members)
}

/// The tool that undoes a compression, by the magic number.
fn compressed(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xz"),
        _ => None,
    }
}

/// Copies a stream into a file without a name in the store's staging, so that it can be read twice
/// and is gone whatever happens.
fn spool(store: &Store, mut input: impl Read) -> Result<File> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(
            Error::new(Kind::Usage, "standard input is a terminal, and no archive")
                .hint("write lazaret load -i FILE, or lazaret load < FILE"),
        );
    }
    let mut file = unnamed(&store.path().join("staging"))?;
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0u64;
    loop {
        let n = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read standard input", &e)),
        };
        total += n as u64;
        if total > MAX_ARCHIVE {
            return Err(Error::new(
                Kind::Limit,
                format!("standard input is longer than {MAX_ARCHIVE} bytes"),
            ));
        }
        file.write_all(&buffer[..n])
            .or_call(|| "copy standard input into the store".to_owned())
            .map_err(|e| match e.errno {
                Some(libc::ENOSPC | libc::EDQUOT) => {
                    e.hint("the store's disk is full: free space, or load from a file with -i")
                }
                _ => e,
            })?;
    }
    if total == 0 {
        return Err(Error::new(Kind::Usage, "standard input is empty")
            .hint("write lazaret load -i FILE, or lazaret load < FILE"));
    }
    file.seek(SeekFrom::Start(0))
        .or_call(|| "rewind the copy of standard input".to_owned())?;
    Ok(file)
}

fn unnamed(folder: &Path) -> Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .or_call(|| format!("open a temporary file in {folder:?}"))
}

/// Under which names an image is kept: those that its source gives it and that are names (a bare
/// tag of an OCI layout is none), else that of the source itself.
fn names(image: &SourceImage, source: Option<&str>) -> Vec<ImageName> {
    let full = |name: &&String| name.contains([':', '/']);
    let mut names: Vec<ImageName> = image
        .names
        .iter()
        .filter(full)
        .filter_map(|name| Reference::parse(name).ok())
        .filter(|reference| reference.tag.is_some())
        .map(ImageName::Registry)
        .collect();
    names.dedup();
    if names.is_empty() && source.is_some() {
        names.extend(ImageName::parse(&image.canonical_name));
    }
    names
}

/// Brings images in under names.
pub(super) struct Loader<'a> {
    store: &'a Store,
    map: IdMap,
    policy: Policy,
    progress: Progress,
}

impl<'a> Loader<'a> {
    pub(super) fn new(store: &'a Store, map: IdMap, policy: Policy, progress: Progress) -> Self {
        Self {
            store,
            map,
            policy,
            progress,
        }
    }

    fn all(&mut self, images: &[SourceImage], source: Option<&str>) -> Result<()> {
        for image in images {
            let names = names(image, source);
            if names.is_empty() {
                return Err(Error::new(
                    Kind::Usage,
                    format!(
                        "the archive has no name for the image {}",
                        image.manifest.digest
                    ),
                )
                .hint("save it to a file and name it: lazaret load docker-archive:FILE NAME"));
            }
            // Where the file is, is a name too, that rules speak of; a stream has none.
            let place = source.and_then(|_| ImageName::parse(&image.canonical_name).ok());
            self.one(image, place.as_ref(), &names)?;
        }
        Ok(())
    }

    /// Brings in one image, which is let in by where it lies and by every name that it gets.
    fn one(
        &mut self,
        image: &SourceImage,
        place: Option<&ImageName>,
        names: &[ImageName],
    ) -> Result<()> {
        for name in place.into_iter().chain(names) {
            let judged = evidence::judged(&self.policy, name, image, self.store)?;
            if !judged.reasons.is_empty() {
                let mut error =
                    Error::new(Kind::Policy, "refused by policy").action(format!("load {name}"));
                let cure = "bring it in under another name: lazaret load SOURCE NAME";
                error.reasons = of_a_copy(judged.reasons, cure);
                return Err(error);
            }
        }
        self.layers(image)?;
        // Signatures come along, for whoever wants them later.
        if let Some(attached) = image.attached()?.filter(|all| !all.found.is_empty()) {
            let (manifest, from) = (&image.manifest.digest, &image.canonical_name);
            self.store
                .keep_signatures(manifest, from, &attached, place::now())?;
        }
        for name in names {
            let canonical = name.to_string();
            let before = self.store.get_ref(&canonical)?;
            self.name(image, &canonical)?;
            let shown = super::rmi::familiar(&canonical);
            if let Some(before) = before.filter(|b| b.manifest != image.manifest.digest) {
                report::stderr(&format!(
                    "lazaret: {} meant {} until now\n",
                    report::clean(&shown),
                    before.manifest
                ));
            }
            report::stdout(&format!("Loaded image: {}\n", report::clean(&shown)))?;
        }
        Ok(())
    }

    fn name(&mut self, image: &SourceImage, canonical: &str) -> Result<()> {
        // Somebody may remove the same image under another name in between.
        while self.store.put_whole_ref(canonical, image)?.is_none() {
            self.layers(image)?;
        }
        Ok(())
    }

    fn layers(&mut self, image: &SourceImage) -> Result<()> {
        let progress = &mut self.progress;
        let limits = Limits::default();
        self.store
            .ensure_layers(image, &self.map, &limits, true, &mut |event| {
                let state = match event.state {
                    LayerState::Cached => "Already exists",
                    LayerState::Waiting => "Waiting for another process",
                    LayerState::Unpacking => "Unpacking",
                    LayerState::Done => "Unpacked and verified",
                };
                progress.state(&event.digest.short(), state);
            })
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_known_by_their_magic() {
        assert_eq!(compressed(b"\x1f\x8b\x08\0"), Some("gzip"));
        assert_eq!(compressed(b"\x28\xb5\x2f\xfd"), Some("zstd"));
        assert_eq!(compressed(b"manifest.json"), None);
        assert_eq!(compressed(b""), None);
    }
}
