//! What a registry has under a name: an image's documents, from the fetch worker to what is believed.

use crate::error::{Error, Kind, Result};
use crate::image::{Digest, ImageConfig, Index, Manifest, Platform, Reference};
use crate::registry::Client;
use crate::store::verify::Verified;
use crate::trust::Bytes;

/// An image's documents as the worker found them, not yet believed.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Documents {
    /// The digest of what the registry served for the name: a manifest's or an index's.
    served: String,
    /// The index that the manifest was taken out of, where the name means one.
    pub(super) index: Option<Bytes>,
    pub(super) media_type: String,
    pub(super) manifest: Bytes,
    pub(super) config: Bytes,
}

/// What of them is believed: each is what its digest says, and they belong together.
pub(super) struct Believed {
    /// The digest that the name means: the manifest's, or that of an index that names it.
    pub(super) served: Digest,
    pub(super) manifest: Manifest,
    pub(super) config: Verified<ImageConfig>,
}

impl Documents {
    /// Brings them, in the worker; also the manifest, read.
    ///
    /// # Errors
    /// As the registry client's.
    pub(super) fn fetch(
        client: &mut Client,
        name: &Reference,
        platform: &Platform,
    ) -> Result<(Self, Manifest)> {
        let served = client.resolve(name, platform)?;
        let mut config = Vec::new();
        client.blob(name, &served.parsed.config, &mut config, &mut |_| {})?;
        let documents = Self {
            served: served.top.to_string(),
            index: served.index.map(|(bytes, _)| Bytes(bytes)),
            media_type: served.media_type,
            manifest: Bytes(served.manifest),
            config: Bytes(config),
        };
        Ok((documents, served.parsed))
    }

    /// Holds them against each other and against the name, outside of the worker.
    ///
    /// # Errors
    /// `Integrity`: one is not what another says, or the name; `Malformed` and others as
    /// [`Manifest::parse`].
    pub(super) fn believed(&self, name: &Reference) -> Result<Believed> {
        let manifest = Manifest::parse(&self.manifest.0, Some(&self.media_type))?;
        let served = self.served(&manifest, name)?;
        let config = crate::store::verify::config(&self.config.0, &manifest)?;
        Ok(Believed {
            served,
            manifest,
            config,
        })
    }

    /// The digest that the name means, which the worker is not believed about.
    fn served(&self, manifest: &Manifest, name: &Reference) -> Result<Digest> {
        let lied = |what: &str| Err(Error::new(Kind::Integrity, format!("{name}: {what}")));
        let served = match &self.index {
            None => manifest.digest,
            Some(Bytes(index)) => {
                let listed = Index::parse(index, None)?;
                if !listed
                    .manifests
                    .iter()
                    .any(|entry| entry.digest == manifest.digest)
                {
                    return lied("the manifest does not stand in the index that was served");
                }
                Digest::of(index)
            }
        };
        if served.to_string() != self.served {
            return lied("what was served is not what its digest says");
        }
        match name.digest {
            Some(wanted) if wanted != served && wanted != manifest.digest => {
                lied(&format!("the registry served {served}"))
            }
            _ => Ok(served),
        }
    }
}
