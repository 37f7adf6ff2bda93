//! `lazaret verify`.

use super::{VerifyRequest, find, place};
use crate::error::{Error, Kind, Result};
use crate::plan::IdMap;
use crate::report::{self, Format};
use crate::store::{ImageEntry, Ref, Store, Verification};
use serde_json::{Value, json};

/// Reads every byte of images again and names what differs. Exit code 0 if nothing does, 1 if
/// something does.
///
/// # Errors
/// `NotFound`; `Io`, `Store`, `Worker`: the store cannot be read.
pub fn verify(request: &VerifyRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let refs = wanted(store.as_ref(), request)?;
    let mut reports = Vec::with_capacity(refs.len());
    let mut sound = true;
    if let Some(store) = &store {
        let maps = place::own_maps(Some(store))?;
        for reference in &refs {
            let checked = check(store, reference, &maps)?;
            sound &= checked.differs.is_empty();
            if request.format == Format::Text {
                report::stdout(&as_text(&checked))?;
            }
            reports.push(checked);
        }
    }
    match request.format {
        Format::Json => {
            let all: Vec<Value> = reports.iter().map(as_json).collect();
            report::stdout(&(report::json_pretty(&Value::Array(all)) + "\n"))?;
        }
        Format::Text if reports.is_empty() => report::stdout("there are no images\n")?,
        Format::Text => {}
    }
    Ok(u8::from(!sound))
}

fn wanted(store: Option<&Store>, request: &VerifyRequest) -> Result<Vec<Ref>> {
    if request.images.is_empty() {
        return match store {
            Some(store) => store.refs(),
            None => Ok(Vec::new()),
        };
    }
    let mut refs: Vec<Ref> = Vec::new();
    for text in &request.images {
        // An image whose documents are damaged is not listed, and is what this verb is for.
        if let Some(store) = store
            && let Ok(name) = crate::image::ImageName::parse(text)
            && let Some(reference) = store.get_ref(&name.to_string())?
        {
            refs.push(reference);
            continue;
        }
        let found = find::image(store, text)?;
        let first = found.entries.into_iter().next();
        refs.extend(first.map(|entry: ImageEntry| entry.reference));
    }
    Ok(refs)
}

/// What was read of an image, and what is not as it should be.
struct Checked {
    name: String,
    blobs: u64,
    layers: u64,
    /// Digest, path, what.
    differs: Vec<(String, String, String)>,
}

fn check(store: &Store, reference: &Ref, maps: &[IdMap]) -> Result<Checked> {
    let mut checked = Checked {
        name: super::rmi::familiar(&reference.name),
        blobs: 0,
        layers: 0,
        differs: Vec::new(),
    };
    match store.image(reference) {
        Ok(image) => {
            let found: Verification = store.verify_image(&image, maps)?;
            checked.blobs = found.blobs;
            checked.layers = found.layers;
            let findings = found.findings.into_iter();
            checked.differs = findings
                .chain(store.lost_layers(&image)?)
                .map(|f| (f.digest.to_string(), f.path, f.what))
                .collect();
        }
        // A manifest or config that is not what it was is the finding.
        Err(Error {
            kind: Kind::Integrity | Kind::Malformed | Kind::Store,
            cause,
            ..
        }) => {
            let digest = reference.manifest.to_string();
            checked.differs.push((digest, String::new(), cause));
        }
        Err(other) => return Err(other),
    }
    Ok(checked)
}

fn as_text(checked: &Checked) -> String {
    let name = report::clean(&checked.name);
    let read = format!(
        "{} blobs, {} unpacked layers",
        checked.blobs, checked.layers
    );
    if checked.differs.is_empty() {
        return format!("{name}: ok ({read})\n");
    }
    let mut out = format!("{name}: DIFFERS ({read})\n");
    for (digest, path, what) in &checked.differs {
        let place = if path.is_empty() {
            digest.clone()
        } else {
            format!("{digest} {path:?}")
        };
        out.push_str(&report::clean(&format!("  {place}: {what}")));
        out.push('\n');
    }
    out
}

fn as_json(checked: &Checked) -> Value {
    let findings: Vec<_> = checked
        .differs
        .iter()
        .map(|(digest, path, what)| json!({"digest": digest, "path": path, "what": what}))
        .collect();
    json!({
        "image": checked.name,
        "ok": checked.differs.is_empty(),
        "blobs": checked.blobs,
        "layers": checked.layers,
        "findings": findings,
    })
}
