//! One file per verb, each composing the rooms below in the order in which a reader expects them.

mod cidfile;
pub mod df;
pub mod doctor;
pub mod find;
pub mod images;
pub mod inspect;
mod journal;
mod limits;
pub mod load;
pub mod names;
mod obtain;
pub mod place;
pub mod policy;
pub mod prune;
pub mod ps;
pub mod pull;
mod request;
pub mod rm;
pub mod rmi;
pub mod run;
mod source;
pub mod tool;
pub mod verify;
pub mod version;

pub use request::{
    ContainerFilter, DfRequest, DoctorRequest, ImageFilter, ImagesRequest, InspectKind,
    InspectRequest, LoadRequest, LoadSource, PolicyCheckRequest, PolicyDiffRequest,
    PolicyInitRequest, PolicyShowRequest, PolicyTestRequest, PolicyTrustRequest, Prune,
    PruneFilter, PruneRequest, PsRequest, PullRequest, PullWhen, RmRequest, RmiRequest, RunRequest,
    ToolRequest, VerifyRequest, VersionRequest,
};

use crate::container::record::Containers;
use crate::error::Result;
use crate::store::Store;

/// The store's containers; `None` where there is no store yet.
fn containers(store: Option<&Store>) -> Result<Option<Containers>> {
    store
        .map(|store| store.containers().map(Containers::new))
        .transpose()
}
