//! Running containers: the supervisor's loop, its relays, and the records of what is kept.

mod names;
pub mod record;
mod relay;
pub mod supervise;
mod terminal;
