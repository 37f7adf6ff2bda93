//! lazaret runs what people download, without trusting it.
//!
//! The way through is one direction: `cli` turns argv into a request, `image` names what is
//! meant, `store` brings verified bytes and unpacked layers, `trust` says who signed them, `policy`
//! decides, `plan` writes down everything the kernel will be asked to do, `sandbox` does exactly
//! that, `report` tells.
//! Imports point downward only; `tests/layering.rs` reads the sources and fails on one that
//! points up.

pub mod sys;

#[forbid(unsafe_code)]
pub mod error;
#[forbid(unsafe_code)]
pub mod image;
#[forbid(unsafe_code)]
pub mod plan;
#[forbid(unsafe_code)]
pub mod policy;
#[forbid(unsafe_code)]
pub mod sandbox;
#[forbid(unsafe_code)]
pub mod trust;

#[forbid(unsafe_code)]
pub mod container;
#[forbid(unsafe_code)]
pub mod host;
#[forbid(unsafe_code)]
pub mod registry;
#[forbid(unsafe_code)]
pub mod store;
#[forbid(unsafe_code)]
pub mod worker;

#[forbid(unsafe_code)]
pub mod engine;
#[forbid(unsafe_code)]
pub mod probe;
#[forbid(unsafe_code)]
pub mod report;

#[forbid(unsafe_code)]
pub mod cli;
