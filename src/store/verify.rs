//! Bytes become documents here and nowhere else: size, then digest, then the parser.
//!
//! [`Verified`] has no other constructor, so that what the rooms above act on has been checked
//! against the descriptor that named it.

#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest, ImageConfig, Index, Manifest};
use std::ops::Deref;

/// A value whose bytes had the size and the digest that its descriptor said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Verified<T> {
    /// The value; what it was checked against is forgotten.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// The manifest that `descriptor` names. `Integrity` where the bytes are not those, else as
/// [`Manifest::parse`].
pub fn manifest(bytes: &[u8], descriptor: &Descriptor) -> Result<Verified<Manifest>> {
    matches("manifest", bytes, descriptor)?;
    Manifest::parse(bytes, Some(&descriptor.media_type)).map(Verified)
}

/// The index that `descriptor` names; errors as [`manifest`].
pub fn index(bytes: &[u8], descriptor: &Descriptor) -> Result<Verified<Index>> {
    matches("index", bytes, descriptor)?;
    Index::parse(bytes, Some(&descriptor.media_type)).map(Verified)
}

/// The config of `manifest`, with one diff id for each of its layers; errors as [`manifest`].
pub fn config(bytes: &[u8], manifest: &Manifest) -> Result<Verified<ImageConfig>> {
    matches("image config", bytes, &manifest.config)?;
    let config = ImageConfig::parse(bytes)?;
    config.check_layers(manifest)?;
    Ok(Verified(config))
}

fn matches(what: &str, bytes: &[u8], descriptor: &Descriptor) -> Result<()> {
    let refused = |cause: String| Err(Error::new(Kind::Integrity, cause));
    if u64::try_from(bytes.len()) != Ok(descriptor.size) {
        return refused(format!(
            "the {what} {} has {} bytes, not {}",
            descriptor.digest,
            bytes.len(),
            descriptor.size
        ));
    }
    let found = Digest::of(bytes);
    match found == descriptor.digest {
        true => Ok(()),
        false => refused(format!(
            "the {what} is not {}: its digest is {found}",
            descriptor.digest
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

    fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: Default::default(),
        }
    }

    fn documents(diff_ids: usize) -> (Vec<u8>, Vec<u8>) {
        let diff_ids = vec![Digest::of(b"").to_string(); diff_ids];
        let config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {"mediaType": CONFIG, "digest": Digest::of(config.as_bytes()).to_string(), "size": config.len()},
        });
        (manifest.to_string().into_bytes(), config.into_bytes())
    }

    #[test]
    fn honest_bytes_become_verified_documents() {
        let (bytes, config_bytes) = documents(0);
        let verified = manifest(&bytes, &descriptor(MANIFEST, &bytes)).unwrap();
        assert_eq!(verified.digest, Digest::of(&bytes));
        assert_eq!(
            config(&config_bytes, &verified).unwrap().platform.os,
            "linux"
        );
        let bytes = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).to_string();
        assert!(index(bytes.as_bytes(), &descriptor(INDEX, bytes.as_bytes())).is_ok());
    }

    #[test]
    fn other_sizes_and_digests_are_refused_before_parsing() {
        // Bytes that would not parse: an Integrity error shows that nothing looked at them.
        let bytes = b"not json".as_slice();
        let honest = descriptor(MANIFEST, bytes);
        assert_eq!(manifest(bytes, &honest).unwrap_err().kind, Kind::Malformed);
        let longer = Descriptor {
            size: 9,
            ..honest.clone()
        };
        let shorter = Descriptor {
            size: 7,
            ..honest.clone()
        };
        let other = Descriptor {
            digest: Digest::of(b"x"),
            ..honest
        };
        for lie in [longer, shorter, other] {
            assert_eq!(manifest(bytes, &lie).unwrap_err().kind, Kind::Integrity);
            assert_eq!(index(bytes, &lie).unwrap_err().kind, Kind::Integrity);
        }
        let (bytes, mut config_bytes) = documents(0);
        let verified = manifest(&bytes, &descriptor(MANIFEST, &bytes)).unwrap();
        config_bytes[3] ^= 1;
        assert_eq!(
            config(&config_bytes, &verified).unwrap_err().kind,
            Kind::Integrity
        );
        config_bytes.push(b' ');
        assert_eq!(
            config(&config_bytes, &verified).unwrap_err().kind,
            Kind::Integrity
        );
    }

    #[test]
    fn a_document_under_another_media_type_is_refused() {
        let (bytes, _) = documents(0);
        assert_eq!(
            manifest(&bytes, &descriptor(INDEX, &bytes))
                .unwrap_err()
                .kind,
            Kind::Malformed
        );
    }

    #[test]
    fn a_config_that_vouches_for_other_layers_is_refused() {
        let (bytes, config_bytes) = documents(1);
        let verified = manifest(&bytes, &descriptor(MANIFEST, &bytes)).unwrap();
        assert_eq!(
            config(&config_bytes, &verified).unwrap_err().kind,
            Kind::Malformed
        );
    }
}
