//! Which layers images have in common.

use super::Store;
use super::refs::ImageEntry;
use crate::error::Result;
use crate::image::LayerId;

/// A layer as one image has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Which it is: layers of several images are one where this is equal.
    pub id: LayerId,
    /// Bytes of its files where it was unpacked, else of its compressed blob.
    pub size: u64,
}

/// An image with its layers, lowest first.
#[derive(Debug, Clone)]
pub struct Layered {
    /// The image.
    pub entry: ImageEntry,
    /// Its layers.
    pub layers: Vec<Layer>,
}

impl Store {
    /// The layers of each of these images. One whose documents are damaged is left out.
    ///
    /// # Errors
    /// `Io`, `Store`: the store cannot be read.
    pub fn layered(&self, entries: Vec<ImageEntry>) -> Result<Vec<Layered>> {
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let Ok(image) = self.image(&entry.reference) else {
                continue;
            };
            let mut layers = Vec::with_capacity(image.layers.len());
            for (layer, descriptor) in image.layers.iter().zip(&image.manifest.layers) {
                let one = std::slice::from_ref(layer);
                let size = self.unpacked_size(one)?.unwrap_or(descriptor.size);
                layers.push(Layer {
                    id: layer.id(),
                    size,
                });
            }
            all.push(Layered { entry, layers });
        }
        Ok(all)
    }
}
