//! What tags of registries meant: one small file each, named by the sha256 of the name.
//!
//! A tag means one digest until somebody here accepts another (`accept = "tofu"`), so a record is
//! kept when its image goes, and only [`Store::accept_moved`] gives a tag another meaning. Whoever
//! asks a registry writes it; what is loaded from an archive is judged by it and never writes it.

use super::{Store, files};
use crate::error::{Error, Kind, Result};
use crate::image::{Digest, Reference};
use crate::policy::Seen;
use std::os::fd::AsFd;

/// The format that is written and read here.
const VERSION: u32 = 1;

/// The most bytes that a record may have, and the most manifests in it: an index has no more.
const MAX_RECORD: usize = 16 << 10;
const MAX_MANIFESTS: usize = 64;

/// A record as it lies on disk.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    /// `docker.io/library/redis:7`.
    name: String,
    /// The digest as the registry served it.
    served: Digest,
    /// The manifests that were taken out of it.
    manifests: Vec<Digest>,
    /// Seconds since 1970.
    first: i64,
    last: i64,
}

/// The name of a tag; `None` for a name with a digest, which says itself what it means.
fn tag_of(reference: &Reference) -> Option<String> {
    let tag = reference
        .tag
        .as_ref()
        .filter(|_| reference.digest.is_none());
    tag.map(|_| reference.to_string())
}

fn must_have_tag(reference: &Reference) -> Result<String> {
    tag_of(reference).ok_or_else(|| {
        let cause = format!("{reference} names a digest, and no tag");
        Error::new(Kind::Usage, cause).hint("what a digest means never changes")
    })
}

fn file_name(tag: &str) -> String {
    Digest::of(tag.as_bytes()).hex()
}

impl Store {
    /// What a tag meant when its registry was asked; `None` where it never was, and for a name with
    /// a digest.
    ///
    /// Errors: `Store` where the record is damaged or a newer lazaret's: what is not understood is
    /// not passed over.
    pub fn seen(&self, reference: &Reference) -> Result<Option<Seen>> {
        match tag_of(reference) {
            Some(tag) => self.read_tag(&tag),
            None => Ok(None),
        }
    }

    /// Records that a registry served `served` for a tag, and that `manifest` is it or was taken out
    /// of it, and gives back what the tag means. That is something else where the tag had another
    /// meaning before, which stays; another process may have been quicker. So what comes back is to
    /// be admitted, and not what was found before.
    ///
    /// An index that is known may be recorded before its manifest for another platform is admitted.
    ///
    /// Errors: `Usage` for a name with a digest; `Store` as [`Store::seen`]; `Limit`.
    pub fn record_seen(
        &self,
        reference: &Reference,
        served: &Digest,
        manifest: &Digest,
        now: i64,
    ) -> Result<Seen> {
        let tag = must_have_tag(reference)?;
        let _lock = self.lock_tag(&tag)?;
        let Some(mut seen) = self.read_tag(&tag)? else {
            return self.write_tag(&tag, fresh(served, manifest, now));
        };
        if seen.served == *served && !seen.means(manifest) {
            seen.manifests.push(*manifest);
        }
        // Another index around the same manifest: what runs here is what ran before. The record
        // keeps the index that was accepted, for the sake of the other platforms.
        if !seen.means(manifest) {
            return Ok(seen);
        }
        // A clock that was set back makes nothing unseen.
        seen.last = seen.last.max(now);
        self.write_tag(&tag, seen)
    }

    /// Gives a tag the meaning that its registry serves now, because somebody here says so
    /// (`pull --accept`). Gives back what it meant before.
    ///
    /// Errors: as [`Store::record_seen`].
    pub fn accept_moved(
        &self,
        reference: &Reference,
        served: &Digest,
        manifest: &Digest,
        now: i64,
    ) -> Result<Option<Seen>> {
        let tag = must_have_tag(reference)?;
        let _lock = self.lock_tag(&tag)?;
        let before = self.read_tag(&tag)?;
        self.write_tag(&tag, fresh(served, manifest, now))?;
        Ok(before)
    }

    fn lock_tag(&self, tag: &str) -> Result<super::staging::NamedLock> {
        self.lock_by_name(&format!("tag-{}.lock", file_name(tag)), || {})
    }

    fn read_tag(&self, tag: &str) -> Result<Option<Seen>> {
        let path = format!("tags/{}", file_name(tag));
        let Some(bytes) = files::read(self.root(), &path, MAX_RECORD)? else {
            return Ok(None);
        };
        let damaged = |why: &str| {
            let cause = format!("the record of what {tag} meant is damaged: {why}");
            Error::new(Kind::Store, cause).hint(format!(
                "after rm {:?} the next answer of the registry is believed",
                self.path().join(&path)
            ))
        };
        let version: Version =
            serde_json::from_slice(&bytes).map_err(|e| damaged(&e.to_string()))?;
        if version.version > VERSION {
            let cause = format!("the record of what {tag} meant is a newer lazaret's");
            return Err(Error::new(Kind::Store, cause).hint("use the newer lazaret"));
        }
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| damaged(&e.to_string()))?;
        if record.version != VERSION {
            return Err(damaged("no lazaret has written this version"));
        }
        if record.name != tag {
            return Err(damaged("it holds another name"));
        }
        Ok(Some(Seen {
            served: record.served,
            manifests: record.manifests,
            first: record.first,
            last: record.last,
        }))
    }

    fn write_tag(&self, tag: &str, seen: Seen) -> Result<Seen> {
        if seen.manifests.len() > MAX_MANIFESTS {
            let cause = format!("more than {MAX_MANIFESTS} manifests of {tag}");
            return Err(Error::new(Kind::Limit, cause));
        }
        let record = Record {
            version: VERSION,
            name: tag.to_owned(),
            served: seen.served,
            manifests: seen.manifests.clone(),
            first: seen.first,
            last: seen.last,
        };
        let call = || format!("write the record of {tag}");
        let bytes = serde_json::to_vec(&record)
            .map_err(|e| Error::new(Kind::Store, format!("{}: {e}", call())))?;
        // Stores that were made before there were records have no folder for them.
        files::make_folder(self.root(), "tags", 0o700)?;
        let folder = self.folder("tags")?;
        let staged = self.stage_file()?;
        files::write_to(staged.fd.as_fd(), &bytes, call)?;
        rustix::fs::fdatasync(&staged.fd)
            .map_err(|e| Error::call(format!("sync the record of {tag}"), e.raw_os_error()))?;
        staged.publish(folder.as_fd(), &file_name(tag))?;
        files::sync(folder.as_fd())?;
        // The folder itself may be new.
        files::sync(self.root())?;
        Ok(seen)
    }
}

/// The version alone: fields of a newer format are not this one's mistakes.
#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

fn fresh(served: &Digest, manifest: &Digest, now: i64) -> Seen {
    Seen {
        served: *served,
        manifests: vec![*manifest],
        first: now,
        last: now,
    }
}

#[cfg(test)]
mod tests;
