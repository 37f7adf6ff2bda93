//! The plan: everything the kernel will be asked to do, as data.
//!
//! [`Plan::steps`] is what `--dry-run` prints and what the child walks; there is no second
//! description. Pure: no I/O.

mod build;
pub mod seccomp;
mod step;
pub mod tree;

/// How layers are checked stands in plans too.
pub use crate::policy::VerifyMode;
pub use build::{Ground, build};
pub use step::{
    Actor, Bind, HostBind, IdMap, IdRange, LandlockRule, Lower, Masks, Plan, Planned, Resource,
    Rlimit, Shared, Stdio, Step, Tmpfs, Upper, UserSpec, Variable,
};
