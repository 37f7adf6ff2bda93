//! `--userns keep-id`: the caller's own number inside, where a rule allows it.

use super::compose::Policy;
use super::facts::HostFacts;
use super::grants::{Origin, Reason};
use super::parse::Key;
use super::subject::Subject;
use crate::image::ImageName;

/// The one thing that can be asked for beside the default.
pub(super) const KEEP_ID: &str = "keep-id";

/// Whether an image may run as the caller. It is asked before any layer is unpacked, because the
/// layers of such a run are kept apart, and is part of `decide` as well.
///
/// # Errors
/// The reason why not.
pub fn keep_id(policy: &Policy, image: &ImageName, host: &HostFacts) -> Result<Origin, Reason> {
    let asked = || "--userns keep-id".to_owned();
    let impossible = |why: &str, cure: Vec<String>| Reason {
        asked: asked(),
        rule: "the caller's ids beside subordinate ones".to_owned(),
        origin: Origin::Always("ids inside are never root's, and each is one id outside"),
        why: why.to_owned(),
        cure,
    };
    let origin = policy
        .ask(&Subject::of(image), Key::Userns, KEEP_ID)
        .map_err(|reason| Reason {
            asked: asked(),
            ..reason
        })?;
    if host.root {
        let cure = vec!["run as the user whose files they are".to_owned()];
        return Err(impossible("root outside is never anybody inside", cure));
    }
    let Some((uids, gids)) = host.subids else {
        // The one id that there is, is the caller already.
        let why = "without subordinate ids the one id inside is the caller already, as root";
        return Err(impossible(why, vec![host.no_subids.clone()]));
    };
    if uids.holds(host.uid) || gids.holds(host.gid) {
        let why = "the caller's own id is among its subordinate ids";
        return Err(impossible(why, Vec::new()));
    }
    Ok(origin.unwrap_or(Origin::Flag("--userns")))
}
