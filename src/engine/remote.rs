//! `lazaret image inspect --remote`: what a registry has under a name. Nothing is kept, and no tag
//! counts as seen.

use super::documents::{Believed, Documents};
use super::{RemoteRequest, inspect, online};
use crate::error::Result;
use crate::image::{Digest, Index, MediaKind, Platform, Reference};
use crate::registry::Client;
use crate::report::{self, Format};
use crate::trust::Bytes;
use serde_json::{Value, json};

/// Prints what registries have under names, in the shape of `image inspect`. What cannot be had is
/// told, and the others are printed.
///
/// # Errors
/// `Usage`: the template; `Io`, `Store`: there is no place for the worker.
pub fn remote(request: &RemoteRequest) -> Result<u8> {
    let mut found = Vec::with_capacity(request.names.len());
    let mut code = 0;
    for name in &request.names {
        match look(request, name) {
            Ok(value) => found.push(value),
            Err(error) => {
                let error = error.action(format!("inspect {}", name.familiar()));
                report::error(&error, Format::Text);
                code = error.exit_code();
            }
        }
    }
    inspect::print(found, request.format.as_ref())?;
    Ok(code)
}

fn look(request: &RemoteRequest, name: &Reference) -> Result<Value> {
    let options = online::options(&name.domain, &name.path, &request.insecure)?;
    let platform = request.platform.clone().unwrap_or_else(Platform::native);
    let there = online::ask(|| {
        let (there, _) = Documents::fetch(&mut Client::new(&options)?, name, &platform)?;
        Ok(there)
    })?;
    let Believed {
        served,
        manifest,
        config,
    } = there.believed(name)?;
    if request.platform.is_some() {
        config.check_platform(&platform)?;
    }
    let mut object = inspect::object(&manifest, there.manifest.0.len(), &config);
    let tag = Reference {
        digest: None,
        ..name.clone()
    };
    let tags: Vec<_> = name.tag.iter().map(|_| tag.familiar()).collect();
    let (repository, _) = super::images::split_name(&tag.to_string());
    let sizes = manifest.layers.iter().map(|layer| layer.size);
    let one = |digest: &Digest, size: u64, platform: Option<&Platform>| json!({ "digest": digest.to_string(), "size": size, "platform": platform });
    let platforms = match &there.index {
        None => {
            let size = there.manifest.0.len() as u64;
            vec![one(&manifest.digest, size, Some(&config.platform))]
        }
        Some(Bytes(index)) => Index::parse(index, None)?
            .manifests
            .iter()
            .filter(|entry| entry.kind() == MediaKind::Manifest)
            .map(|entry| one(&entry.digest, entry.size, entry.platform.as_ref()))
            .collect(),
    };
    for (key, value) in [
        ("RepoTags", json!(tags)),
        ("RepoDigests", json!([format!("{repository}@{served}")])),
        ("Size", json!(sizes.fold(0, u64::saturating_add))),
        ("Source", json!(name.to_string())),
        ("Platforms", json!(platforms)),
    ] {
        object.insert(key.to_owned(), value);
    }
    Ok(Value::Object(object))
}
