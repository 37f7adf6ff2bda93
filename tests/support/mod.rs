//! What the whole-binary tests share: our own writer of images, static programs for their insides,
//! a private home for each test, and the skip machinery.
//!
//! ```ignore
//! mod support;
//! use support::{Home, Image, need};
//!
//! #[test]
//! fn the_exit_code_is_the_commands() {
//!     need!("userns");
//!     let home = Home::new();
//!     let image = Image::toolbox().layout(&home, "img");
//!     home.lazaret(["run", "--rm", &image, "exit", "7"]).run().exits(7);
//! }
//! ```
//!
//! Every `run()` also fails when a process outlives the command, whatever its exit code.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "each test binary uses its part of this module; helpers fail by panicking"
)]

mod home;
mod image;
pub mod learnt;
mod needs;
mod programs;
mod proxy;
mod pty;
mod real;
mod refused;
mod registry;
pub mod reports;
mod shelf;
mod tar;

pub use home::{Home, Ran, Run, Running, list, remove, walk};
pub use image::{Blob, Image, Layer, Layout, sha256};
pub(crate) use needs::need;
pub use needs::{check, find, have, python, skip_file, tell};
pub use programs::{program, toolbox};
pub use proxy::Proxy;
pub use pty::Pty;
pub use real::{Real, free_port};
pub use refused::{Refusals, error_of};
pub use registry::{Answer, Asked, Registry, honest, retag};
pub use shelf::Shelf;
pub use tar::{Entry, Pack, tar, tar_unended};
