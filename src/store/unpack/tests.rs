//! Hostile and honest archives, built in memory. Every unpacking happens beside a canary folder,
//! whose contents must not have moved afterwards.

mod format;
pub(crate) mod support;
mod tree;
