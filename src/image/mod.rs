//! What an image is: names, digests, descriptors, manifests and configs. Pure: no I/O, so that all
//! of it is unit-test and fuzz surface.

mod config;
mod descriptor;
mod digest;
pub mod json;
mod manifest;
mod platform;
pub mod quote;
mod reference;

pub use config::ImageConfig;
pub use descriptor::{Compression, Descriptor, LayerMedia, MAX_DOCUMENT, MediaKind};
pub use digest::{DiffId, Digest, Hasher, LayerId};
pub use manifest::{Index, MAX_LAYERS, MAX_LAYOUT_ENTRIES, Manifest};
pub use platform::Platform;
pub use reference::{ImageName, Reference, is_transport};
