//! The plan: everything the kernel will be asked to do, as data.
//!
//! [`Plan::steps`] is what `--dry-run` prints and what the child walks; there is no second
//! description. Pure: no I/O.

mod build;
mod ids;
mod limits;
mod lookup;
mod merged;
mod mounts;
mod place;
pub mod seccomp;
mod step;
mod tool;
pub mod tree;

/// How layers are checked stands in plans too.
pub use crate::policy::VerifyMode;
pub use build::{Ground, HOST_NETWORK, build, own_nodes};
pub use ids::{HELPER_FOLDERS, IdMap, IdRange};
pub use limits::{CellCgroup, Resource, Rlimit, Watch, Watched};
pub use lookup::{Found, Lookup, Merged};
pub use merged::{merged, tree_facts};
pub use mounts::{Bind, HostBind, HostDevice, Lower, Masks, ProgramCopy, Shared, Tmpfs, Upper};
pub use place::{Place, What, plain_path};
pub use step::{
    Actor, Capability, LandlockRule, Plan, Planned, Securebits, Stdio, Step, UserSpec, Variable,
};
