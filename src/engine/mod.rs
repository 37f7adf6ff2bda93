//! One file per verb, each composing the rooms below in the order in which a reader expects them.

mod cidfile;
pub mod df;
pub mod doctor;
mod documents;
mod evidence;
mod explain;
pub mod explain_report;
pub mod find;
pub mod images;
pub mod inspect;

mod journal;
pub mod learn;
mod limits;
pub mod load;
pub mod lock;
mod locked;
pub mod login;
pub mod names;
mod obtain;
mod online;
pub mod place;
pub mod policy;
pub mod prune;
pub mod ps;
pub mod pull;
pub mod push;
pub mod receipt;
pub mod remote;
mod request;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod save;
pub mod search;
mod source;
pub mod tag;
pub mod tool;
pub mod trust;
pub mod verify;
pub mod version;
pub mod why;

pub use request::{
    ContainerFilter, DfRequest, DoctorRequest, ExplainReportRequest, ImageFilter, ImagesRequest,
    InspectKind, InspectRequest, LearnRequest, LoadRequest, LoadSource, LockPlace, LockRequest,
    LockWhat, LoginRequest, LogoutRequest, PolicyCheckRequest, PolicyDiffRequest,
    PolicyImportRequest, PolicyInitRequest, PolicyShowRequest, PolicyTestRequest,
    PolicyTrustRequest, Prune, PruneFilter, PruneRequest, PsRequest, PullRequest, PullWhen,
    PushRequest, ReceiptVerifyRequest, RemoteRequest, RmRequest, RmiRequest, RunRequest,
    SaveFormat, SaveRequest, SearchRequest, TagRequest, ToolRequest, TrustRequest, VerifyRequest,
    VersionRequest, WantedImage, WhyQuestion, WhyRequest,
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
