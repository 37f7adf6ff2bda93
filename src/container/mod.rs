//! Running containers: the supervisor's loop, its relays, and the records of what is kept.

mod audit;
pub mod cgroup;
mod denials;
mod exit;
mod helper;
mod learner;
pub mod meter;
mod names;
mod observer;
pub mod record;
mod refused;
mod relay;
mod sampler;
mod shape;
mod signals;
pub mod supervise;
mod terminal;
mod watch;
