//! The only place that prints.
//!
//! Data goes to standard output, everything about it (progress, downgrades, errors) to standard
//! error. What an image's author, an archive or a program inside can word passes through
//! [`clean`] or, in JSON, is escaped: a terminal sees none of its control characters.
//!
//! A reader that closes our standard output has seen enough: what is left is dropped quietly. Any
//! other failure to write is an error like every other.

mod clean;
mod columns;
mod denials;
mod destination;
mod error;
mod grants;
mod out;
mod plan;
mod progress;
mod run;
mod table;
mod template;
mod timings;
mod units;
mod why;
mod wrap;

pub use clean::{clean, clean_lines, json, json_pretty};
pub use columns::{Column, Layout, Rows};
pub use denials::{By, Denial, denial_lines, denials};
pub use destination::Destination;
pub use error::{error, note, warning};
pub use out::{Screen, stderr, stdout};
pub use plan::{plan, plan_digest};
pub use progress::Progress;
pub use run::{Container, Ended, Image, Known, Layer, Lock, PolicyInForce, Report, Took};
pub use table::table;
pub use template::Template;
pub use timings::timings;
pub use units::{ago, human_size, human_total, instant, since};
pub use why::Answer;
pub use wrap::wrap;

/// How a verb that has both prints: for people, or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}
