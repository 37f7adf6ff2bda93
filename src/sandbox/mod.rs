//! Executes a [`Plan`](crate::plan::Plan). Knows no image, no policy, no argv.
//!
//! # Theory of operation
//!
//! Four processes take part.
//!
//! * The **supervisor** is the process that the user started, with the user's own rights. It makes
//!   everything ready that can be ([`prepare`]), clones pid 1 into new namespaces ([`spawn`]), and
//!   afterwards only relays, forwards and waits.
//! * **init** is pid 1 inside. It holds every capability, over its own namespaces alone. It walks
//!   its steps of the plan: closes what it inherited, becomes container root, mounts, pivots,
//!   enters the Landlock domain, forks the payload, gives everything up, and reaps. When it ends,
//!   the kernel kills everything else inside.
//! * The **verifier** is forked by init before the mounts. While they are made it makes the network
//!   namespace, which init joins before it starts the payload, and checks the unpacked layers
//!   against their record.
//! * The **payload** is forked by init inside the Landlock domain. It gives up its rights one by one,
//!   waits until the verifier agreed, init is confined and the supervisor let it go, installs
//!   seccomp, and becomes the command.
//!
//! They speak over sockets that close at exec. init and supervisor share one of records (release,
//! failure, started, go, ended), the payload has one of its own, the verifier a pipe for its report.
//! Each closes the others' ends; the supervisor alone keeps the report's, until the go. The end of a socket without the expected word is an error; the
//! supervisor's end is noticed by init and ends the cell.

mod binds;
pub mod check;
pub mod confined;
mod init;
mod landlock;
mod launch;
mod mounts;
mod payload;
mod spawn;
pub mod users;
mod verifier;
mod wire;

pub use launch::{Launch, Streams, prepare};
pub use spawn::{Running, Told, spawn};
pub use verifier::Finding;
