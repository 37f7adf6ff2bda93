//! What is attached to images: a small record for each, by its manifest's digest, of what lies among
//! the blobs. Nothing of it is believed when it is read: a signature proves what it proves again at
//! each run.
//!
//! One manifest may have been fetched from several repositories. What one of them has is replaced by
//! what the same one has later.

use super::{Store, files};
use crate::error::{Context, Error, Kind, Result};
use crate::image::Digest;
use crate::trust::{Attachment, Attachments, Bytes, How, MAX_BUNDLE, Over, Untaken};
use rustix::fs::FlockOperation;
use std::os::fd::AsFd;

/// The format that is written and read here.
const VERSION: u32 = 1;

/// The most bytes that a record may have.
const MAX_RECORD: usize = 1 << 20;

/// The most repositories of one record: of more, those that were asked last.
const MAX_PLACES: usize = 8;

/// The most of what was not taken that is remembered, and the most characters of each reason.
const MAX_UNTAKEN: usize = 32;
const MAX_WHY: usize = 240;

/// What was attached to an image in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSignatures {
    /// Where: `docker.io/library/redis`.
    pub from: String,
    /// When it was asked for, in seconds since 1970.
    pub fetched: i64,
    /// What was there.
    pub attached: Attachments,
}

/// A record as it lies on disk.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    manifest: Digest,
    places: Vec<Place>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    from: String,
    fetched: i64,
    index: Option<Digest>,
    found: Vec<Listed>,
    untaken: Vec<Untaken>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    over: Over,
    how: How,
    manifest: Digest,
    blobs: Vec<Digest>,
}

/// The version alone: fields of a newer format are not this one's mistakes.
#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

impl Place {
    fn of(from: &str, attached: &Attachments, now: i64) -> Self {
        let digest = |bytes: &Bytes| Digest::of(&bytes.0);
        let untaken = attached.untaken.iter().take(MAX_UNTAKEN);
        Self {
            from: from.to_owned(),
            fetched: now,
            index: attached.index.as_ref().map(digest),
            found: attached
                .found
                .iter()
                .map(|one| Listed {
                    over: one.over,
                    how: one.how,
                    manifest: digest(&one.manifest),
                    blobs: one.blobs.iter().map(digest).collect(),
                })
                .collect(),
            untaken: untaken
                .map(|one| Untaken {
                    which: one.which,
                    why: one.why.chars().take(MAX_WHY).collect(),
                })
                .collect(),
        }
    }

    fn blobs(&self) -> impl Iterator<Item = Digest> {
        let found = self.found.iter();
        let found = found.flat_map(|one| [one.manifest].into_iter().chain(one.blobs.clone()));
        self.index.into_iter().chain(found)
    }
}

impl Store {
    /// Keeps what is attached to an image in one place, instead of what was there before.
    ///
    /// # Errors
    /// `Io`; `Limit`: it is more than a record holds.
    pub fn keep_signatures(
        &self,
        manifest: &Digest,
        from: &str,
        attached: &Attachments,
        now: i64,
    ) -> Result<()> {
        let _no_removal = self.lock_names(FlockOperation::LockShared)?;
        let lock = format!("signatures-{}.lock", manifest.hex());
        let _alone = self.lock_by_name(&lock, || {})?;
        // A record that is damaged is mended by this.
        let mut places = match self.record_of(manifest) {
            Ok(record) => record.map(|record| record.places).unwrap_or_default(),
            Err(e) if e.kind == Kind::Store => Vec::new(),
            Err(e) => return Err(e),
        };
        places.retain(|place| place.from != from);
        places.insert(0, Place::of(from, attached, now));
        places.truncate(MAX_PLACES);
        let documents = attached.found.iter().flat_map(|one| {
            let blobs = one.blobs.iter();
            [&one.manifest].into_iter().chain(blobs)
        });
        for bytes in attached.index.iter().chain(documents) {
            self.add_blob(&Digest::of(&bytes.0), &bytes.0)?;
        }
        let record = Record {
            version: VERSION,
            manifest: *manifest,
            places,
        };
        let call = || format!("write the signatures of {manifest}");
        let bytes = serde_json::to_vec(&record)
            .map_err(|e| Error::new(Kind::Store, format!("{}: {e}", call())))?;
        if bytes.len() > MAX_RECORD {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: they are too many", call()),
            ));
        }
        // Stores that were made before there were records have no folder for them.
        files::make_folder(self.root(), "signatures", 0o700)?;
        let folder = self.folder("signatures")?;
        let staged = self.stage_file()?;
        files::write_to(staged.fd.as_fd(), &bytes, call)?;
        rustix::fs::fdatasync(&staged.fd)
            .or_call(|| format!("sync the signatures of {manifest}"))?;
        staged.publish(folder.as_fd(), &manifest.hex())?;
        files::sync(folder.as_fd())?;
        // The folder itself may be new.
        files::sync(self.root())
    }

    /// What is kept of what is attached to an image; `None` where nobody has asked for it.
    ///
    /// # Errors
    /// `Store`: the record or a part of what it lists is gone or damaged; `Integrity`: a part has
    /// other bytes.
    pub fn signatures(&self, manifest: &Digest) -> Result<Option<Vec<KeptSignatures>>> {
        let Some(record) = self.record_of(manifest)? else {
            return Ok(None);
        };
        let part = |digest: &Digest| -> Result<Bytes> {
            match self.blob_at_most(digest, MAX_BUNDLE) {
                Ok(Some(bytes)) => Ok(Bytes(bytes)),
                Ok(None) => Err(again(Error::new(
                    Kind::Store,
                    format!("a part of the signatures of {manifest} is gone: {digest}"),
                ))),
                Err(e) if matches!(e.kind, Kind::Integrity | Kind::Store) => Err(again(e)),
                Err(e) => Err(e),
            }
        };
        let places = record.places.into_iter().map(|place| {
            let found = place.found.iter().map(|one| {
                Ok(Attachment {
                    over: one.over,
                    how: one.how,
                    manifest: part(&one.manifest)?,
                    blobs: one.blobs.iter().map(part).collect::<Result<_>>()?,
                })
            });
            Ok(KeptSignatures {
                attached: Attachments {
                    index: place.index.as_ref().map(part).transpose()?,
                    found: found.collect::<Result<_>>()?,
                    untaken: place.untaken,
                },
                from: place.from,
                fetched: place.fetched,
            })
        });
        places.collect::<Result<Vec<_>>>().map(Some)
    }

    /// The blobs of what is attached to an image.
    ///
    /// # Errors
    /// `Store`: the record is damaged.
    pub(super) fn signature_blobs(&self, manifest: &Digest) -> Result<Vec<Digest>> {
        let record = self.record_of(manifest)?;
        let places = record.map(|record| record.places).unwrap_or_default();
        Ok(places.iter().flat_map(Place::blobs).collect())
    }

    /// The manifests of all images whose signatures are kept.
    pub(super) fn signed_manifests(&self) -> Result<Vec<Digest>> {
        let Some(folder) = files::open_folder(self.root(), "signatures")? else {
            return Ok(Vec::new());
        };
        let names = files::names(folder.as_fd())?;
        let digest = |name: &Vec<u8>| std::str::from_utf8(name).ok().and_then(Digest::from_hex);
        Ok(names.iter().filter_map(digest).collect())
    }

    /// Removes the record of an image; its blobs are whoever's that counts them.
    pub(super) fn forget_signatures(&self, manifest: &Digest) -> Result<()> {
        match files::open_folder(self.root(), "signatures")? {
            Some(folder) => files::unlink(folder.as_fd(), &manifest.hex()).map(drop),
            None => Ok(()),
        }
    }

    fn record_of(&self, manifest: &Digest) -> Result<Option<Record>> {
        let path = format!("signatures/{}", manifest.hex());
        let damaged = |why: &str| {
            let cause = format!("the record of the signatures of {manifest} is damaged: {why}");
            again(Error::new(Kind::Store, cause))
        };
        let bytes = match files::read(self.root(), &path, MAX_RECORD) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(e) if e.kind == Kind::Store => return Err(damaged(&e.cause)),
            Err(e) => return Err(e),
        };
        let version: Version =
            serde_json::from_slice(&bytes).map_err(|e| damaged(&e.to_string()))?;
        if version.version > VERSION {
            let cause = format!("the signatures of {manifest} are a newer lazaret's");
            return Err(Error::new(Kind::Store, cause).hint("use the newer lazaret"));
        }
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| damaged(&e.to_string()))?;
        match record.manifest == *manifest {
            true => Ok(Some(record)),
            false => Err(damaged("it is another image's")),
        }
    }
}

/// The error with its cure.
fn again(error: Error) -> Error {
    error.hint("`lazaret pull IMAGE` fetches the signatures again")
}
