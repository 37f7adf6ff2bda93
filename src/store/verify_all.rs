//! `lazaret verify`: every byte of an image that the store holds, read again.

use super::layers::in_worker;
use super::source::{LayerSource, SourceImage};
use super::{Store, files, map_name};
use crate::error::{Error, Kind, Result};
use crate::image::{Digest, LayerId};
use crate::plan::IdMap;
use crate::policy::VerifyMode;
use crate::sandbox::check::{self, Outcome};
use std::os::fd::AsFd;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// The blob or layer, by digest.
    pub digest: Digest,
    /// The path inside a layer; empty for a blob or a whole layer.
    pub path: String,
    /// What differs.
    pub what: String,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Blobs that were read, manifest and config included.
    pub blobs: u64,
    /// Unpacked layers that were read.
    pub layers: u64,
    /// What differs; empty: nothing.
    pub findings: Vec<Finding>,
}

/// The most that a list or stat file of a layer may have here; unpacking has made them.
const MAX_FILE: usize = 1 << 30;

impl Store {
    /// Reads everything again that the store holds of an image whose documents were verified when
    /// they were read (see [`Store::image`]): the layers' blobs, and the layers that are unpacked
    /// under one of `maps`.
    /// A blob that the store does not keep is no finding.
    pub fn verify_image(&self, image: &SourceImage, maps: &[IdMap]) -> Result<Verification> {
        let mut out = Verification::default();
        for digest in [image.manifest.digest, image.manifest.config.digest] {
            self.verify_blob(&digest, &mut out)?;
        }
        match self.signature_blobs(&image.manifest.digest) {
            Ok(blobs) => {
                for digest in blobs {
                    self.verify_signature(&digest, &mut out)?;
                }
            }
            Err(e) if e.kind == Kind::Store => out.findings.push(Finding {
                digest: image.manifest.digest,
                path: String::new(),
                what: e.cause,
            }),
            Err(e) => return Err(e),
        }
        for layer in &image.layers {
            self.verify_blob(&layer.descriptor.digest, &mut out)?;
        }
        let mut layers: Vec<LayerId> = image.layers.iter().map(LayerSource::id).collect();
        layers.sort_unstable();
        layers.dedup();
        for (id, map) in layers
            .iter()
            .flat_map(|id| maps.iter().map(move |map| (id, map)))
        {
            let Some(held) = self.layer(&map_name(map), id)? else {
                continue;
            };
            out.layers += 1;
            let recorded = held.record.list;
            let bytes = in_worker(map, held.folder.as_fd(), &[], |root| {
                let found = verify_layer(root, &id.diff_id.0, &recorded)?;
                serde_json::to_vec(&found)
                    .map_err(|e| Error::new(Kind::Worker, format!("write findings: {e}")))
            })?;
            let found: Vec<Finding> = serde_json::from_slice(&bytes)
                .map_err(|e| Error::new(Kind::Worker, format!("a worker's findings: {e}")))?;
            out.findings.extend(found);
        }
        Ok(out)
    }

    /// Layers of an image with a name of which there is nothing left: no blob, and nothing unpacked
    /// under any map.
    pub fn lost_layers(&self, image: &SourceImage) -> Result<Vec<Finding>> {
        let mut lost = Vec::new();
        for layer in &image.layers {
            let digest = layer.descriptor.digest;
            if self.blob_size(&digest)?.is_none()
                && self.unpacked_size(std::slice::from_ref(layer))?.is_none()
            {
                lost.push(Finding {
                    digest,
                    path: String::new(),
                    what: "the layer is gone, its blob and what was unpacked of it".to_owned(),
                });
            }
        }
        Ok(lost)
    }

    /// As [`Store::verify_blob`]; that it is not there is a finding.
    fn verify_signature(&self, digest: &Digest, out: &mut Verification) -> Result<()> {
        match self.blob_size(digest)? {
            Some(_) => self.verify_blob(digest, out),
            None => {
                out.findings.push(Finding {
                    digest: *digest,
                    path: String::new(),
                    what: "a part of the image's signatures is gone".to_owned(),
                });
                Ok(())
            }
        }
    }

    fn verify_blob(&self, digest: &Digest, out: &mut Verification) -> Result<()> {
        match self.check_blob(digest)? {
            None => {}
            Some(true) => out.blobs += 1,
            Some(false) => {
                out.blobs += 1;
                out.findings.push(Finding {
                    digest: *digest,
                    path: String::new(),
                    what: "the blob has another digest".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn verify_layer(
    root: std::os::fd::BorrowedFd<'_>,
    diff_id: &Digest,
    recorded: &Digest,
) -> Result<Vec<Finding>> {
    let finding = |path: String, what: String| Finding {
        digest: *diff_id,
        path,
        what,
    };
    let (Some(fs), Some(list), Some(stat)) = (
        files::open_folder(root, "fs")?,
        files::read(root, "list", MAX_FILE)?,
        files::read(root, "stat", MAX_FILE)?,
    ) else {
        let what = "the unpacked layer is not whole".to_owned();
        return Ok(vec![finding(String::new(), what)]);
    };
    if Digest::of(&list) != *recorded {
        let what = "the layer's list has another digest".to_owned();
        return Ok(vec![finding(String::new(), what)]);
    }
    match check::check(fs.as_fd(), &list, &stat, VerifyMode::Full) {
        Ok(Outcome::Same | Outcome::Touched { .. }) => Ok(Vec::new()),
        Ok(Outcome::Differs(found)) => {
            Ok(found.into_iter().map(|d| finding(d.path, d.what)).collect())
        }
        Err(e) if e.kind == Kind::Store => Ok(vec![finding(String::new(), e.cause)]),
        Err(e) => Err(e),
    }
}
