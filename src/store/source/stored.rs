//! Images that the store itself holds: its blobs lie as in an OCI layout.

use super::folder::Folder;
use super::layout::Files;
use super::{LayerPlace, LayerSource, SourceImage};
use crate::image::{ImageConfig, Manifest, MediaKind};
use crate::store::verify::Verified;
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl SourceImage {
    /// An image whose layers open from `blobs/sha256` below `root`.
    pub(in crate::store) fn stored(
        root: OwnedFd,
        (manifest, manifest_bytes): (Verified<Manifest>, Vec<u8>),
        (config, config_bytes): (Verified<ImageConfig>, Vec<u8>),
        name: &str,
    ) -> Self {
        let files = Arc::new(Files::Folder(Folder::new(root)));
        let layers = manifest.layers.iter().zip(&config.diff_ids);
        let layers = layers
            .filter_map(|(descriptor, diff_id)| match descriptor.kind() {
                MediaKind::Layer(media) => Some(LayerSource {
                    descriptor: descriptor.clone(),
                    diff_id: *diff_id,
                    media,
                    place: LayerPlace::Layout(Arc::clone(&files)),
                }),
                // Manifest::parse lets nothing else through.
                _ => None,
            })
            .collect();
        Self {
            manifest,
            config,
            manifest_bytes,
            config_bytes,
            layers,
            names: vec![name.to_owned()],
            canonical_name: name.to_owned(),
            beside: None,
        }
    }
}
