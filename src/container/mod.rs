//! Running containers: the supervisor's loop, its relays, and the records of what is kept.

pub mod meter;
mod names;
pub mod record;
mod relay;
pub mod supervise;
mod terminal;
