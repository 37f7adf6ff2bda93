//! `lazaret tag`.

use super::{TagRequest, evidence, find, place};
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::image::ImageName;
use crate::policy::of_a_copy;
use crate::report;

/// Gives an image of the store another name, under which policy must let it in.
///
/// # Errors
/// `NotFound`: there is no such image, or its layers are not kept as they came; `Policy`: it may
/// not have that name; `Store`, `Io`.
pub fn tag(request: &TagRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let found = find::image(store.as_ref(), &request.source)?;
    let (Some(store), Some(entry)) = (store, found.entries.first()) else {
        return Err(Error::new(Kind::NotFound, "there is no such image"));
    };
    let image = store.image(&entry.reference)?;
    let policy = host::policy(None)?.policy;
    let name = ImageName::Registry(request.target.clone());
    let judged = evidence::judged(&policy, &name, &image, &store)?;
    if !judged.reasons.is_empty() {
        return Err(Error {
            reasons: of_a_copy(judged.reasons, "give it another name, or another tag"),
            ..Error::new(Kind::Policy, "refused by policy").action(format!("tag {name}"))
        });
    }
    let name = name.to_string();
    let before = store.get_ref(&name)?;
    if store.put_whole_ref(&name, &image)?.is_none() {
        return Err(Error::new(
            Kind::NotFound,
            "its layers are unpacked here, and not kept as they came",
        )
        .hint(format!(
            "lazaret load {} {}",
            entry.reference.name,
            request.target.familiar()
        )));
    }
    if let Some(before) = before.filter(|before| before.manifest != image.manifest.digest) {
        report::note(&format!(
            "{} meant {} until now",
            request.target.familiar(),
            before.manifest
        ));
    }
    Ok(0)
}
