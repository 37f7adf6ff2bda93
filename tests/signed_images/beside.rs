//! What lies beside an image in an OCI layout.

use super::scene::{BUNDLE, MANIFEST};
use super::support::Layout;
use serde_json::{Value, json};

/// A blob of the layout, as a descriptor.
pub fn add(layout: &mut Layout, media: &str, bytes: &[u8]) -> Value {
    layout.add(media, bytes.to_vec()).json()
}

/// Adds an entry to the table of contents.
pub fn list(layout: &mut Layout, mut entry: Value, tag: Option<&str>) {
    if let Some(tag) = tag {
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    }
    let mut index: Value = serde_json::from_str(&layout.index).unwrap();
    index["manifests"].as_array_mut().unwrap().push(entry);
    layout.index = index.to_string();
}

/// An attached manifest with these layers; `about`: whose referrer it is.
pub fn attached(layout: &mut Layout, layers: Vec<Value>, about: Option<&str>) -> Value {
    let mut config = add(layout, "application/vnd.oci.empty.v1+json", b"{}");
    config["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
    });
    if let Some(about) = about {
        let size = layout.blobs[about].len();
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": about, "size": size});
        manifest["artifactType"] = json!(BUNDLE);
    }
    add(layout, MANIFEST, manifest.to_string().as_bytes())
}
