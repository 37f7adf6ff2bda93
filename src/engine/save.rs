//! `lazaret save`: images of the store, with what is kept of their signatures, as an OCI layout.
//!
//! An archive is what `docker save` writes since version 25: a layout with docker's `manifest.json`
//! beside, so that docker, podman, skopeo and `lazaret load` read it. Blobs go as they are kept, each
//! once however many images share it, and are held against their digests on the way; members have no
//! times and no owners, so that the same images are the same bytes.

mod contents;
mod sink;

use super::{SaveFormat, SaveRequest, find, place};
use crate::error::{Context, Error, Kind, Result};
use crate::host::Interrupts;
use crate::report::Destination;
use contents::Contents;
use rustix::fs::{AtFlags, Mode, OFlags};
use sink::Sink;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// Writes images to a file, to standard output or into a folder.
///
/// # Errors
/// `NotFound`: there is no such image; `Store`: its layers, or a part of its signatures, are not kept
/// as they came; `Integrity`: the store's bytes changed; `Usage`: what is there is not replaced;
/// `Interrupted`, `Io`: nothing of a file or folder is left.
pub fn save(request: &SaveRequest) -> Result<u8> {
    let output = request
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    // Into a pipe that nobody reads, ^C ends this process as it always does: there is nothing to clean.
    let interrupts = output.map(|_| Interrupts::take()).transpose()?;
    let interrupts = interrupts.as_ref();
    let target = match (request.format, output) {
        (SaveFormat::OciDir, None) => {
            return Err(
                Error::new(Kind::Usage, "a folder cannot be written to a pipe")
                    .hint("name it: lazaret save --format oci-dir -o DIR IMAGE"),
            );
        }
        (SaveFormat::OciDir, Some(path)) => Target::Folder(NewFolder::begin(path)?),
        (SaveFormat::OciArchive, path) => {
            if path.is_none() && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
                return Err(Error::new(Kind::Usage, "standard output is a terminal")
                    .hint("write lazaret save -o FILE IMAGE, or lazaret save IMAGE > FILE"));
            }
            Target::Archive(Destination::open("-o", path.unwrap_or(Path::new("-")))?)
        }
    };
    let store = place::look_at_store()?;
    let mut contents = Contents::default();
    for text in &request.images {
        let found = find::image(store.as_ref(), text)?;
        let (Some(store), Some(entry)) = (&store, found.entries.first()) else {
            return Err(Error::new(Kind::NotFound, "there is no such image"));
        };
        let name = found.by_name.then_some(entry.reference.name.as_str());
        contents.add(store, &entry.reference, name, request.signatures)?;
    }
    let written = match target {
        Target::Archive(destination) => destination.fill(|file, call| {
            let mut sink = Sink::archive(file, call);
            contents.write(&mut sink, true, interrupts)?;
            sink.end()
        }),
        Target::Folder(folder) => folder.fill(|fd| {
            let mut sink = Sink::folder(fd);
            contents.write(&mut sink, false, interrupts)?;
            sink.end()
        }),
    };
    written.map(|()| 0).map_err(full)
}

/// The error of a write, with the remedy where the disk is full.
fn full(e: Error) -> Error {
    match e.errno {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            e.hint("nothing is left of it: free space, or name a place on another disk with -o")
        }
        _ => e,
    }
}

enum Target {
    Archive(Destination),
    Folder(NewFolder),
}

/// A folder that is there whole or not at all.
struct NewFolder {
    parent: OwnedFd,
    name: OsString,
    /// Its name while it is being filled.
    passing: OsString,
    done: bool,
}

impl NewFolder {
    /// Makes a folder beside `path`, where nothing or an empty folder may be.
    fn begin(path: &Path) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            Error::new(Kind::Usage, format!("-o {path:?} names no folder")).hint("-o DIR")
        })?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags, Mode::empty())
            .or_call(|| format!("-o: open {parent:?}"))?;
        let passing = OsString::from(format!(".lazaret-save-{}", std::process::id()));
        rustix::fs::mkdirat(&parent, &passing, Mode::RWXU)
            .or_call(|| format!("-o: make a folder beside {path:?}"))?;
        Ok(Self {
            parent,
            name: name.to_owned(),
            passing,
            done: false,
        })
    }

    fn fd(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.parent, &self.passing, flags, Mode::empty())
            .or_call(|| format!("open {:?}", self.passing))
    }

    /// Has `fill` fill the folder, and puts it in its place.
    fn fill(mut self, fill: impl FnOnce(OwnedFd) -> Result<()>) -> Result<()> {
        fill(self.fd()?)?;
        let (parent, name) = (&self.parent, &self.name);
        match rustix::fs::renameat(parent, &self.passing, parent, name) {
            Ok(()) => self.done = true,
            Err(e) => {
                let error = Error::call(format!("rename to {name:?}"), e.raw_os_error());
                let is_there = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
                return Err(match is_there {
                    true => error
                        .kind(Kind::Usage)
                        .hint("-o names a folder that is not there yet, or an empty one"),
                    false => error,
                });
            }
        }
        rustix::fs::fsync(parent).or_call(|| "fsync the folder of -o")
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.done {
            let name = self.passing.as_encoded_bytes();
            // The failure that led here is the one to tell.
            let _nothing_half_done = crate::store::remove_tree(self.parent.as_fd(), name).is_ok();
        }
    }
}

/// Whoever writes a file that must survive.
fn sync(file: &File, call: &str) -> Result<()> {
    match rustix::fs::fdatasync(file) {
        // A pipe or a terminal has nothing to be synced.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::ROFS) => Ok(()),
        Err(e) => Err(Error::call(format!("sync: {call}"), e.raw_os_error())),
    }
}
