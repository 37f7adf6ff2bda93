//! `lazaret policy`: what is in force, whether it is understood, and what it says to a request.

mod compare;
mod explain;
mod files;
mod import;
mod test;

pub use compare::diff;
pub(super) use explain::answers;
pub use explain::explain;
pub use files::{check, init, trust};
pub use import::import;
pub use test::test;

use super::request::PolicyShowRequest;
use crate::error::{Error, Kind, Result};
use crate::policy::{LevelView, profile_text};
use crate::report::{self, Format};
use std::fmt::Write as _;

/// The width of what is printed: the terminal's, within reason.
pub(super) fn width() -> usize {
    report::Screen::stdout()
        .columns
        .unwrap_or(76)
        .clamp(40, 100)
}

/// Prints the policy in force, one level of it, or a built-in profile with its comments.
///
/// # Errors
/// A policy file that cannot be used; `NotFound`: no such level; `Io`: standard output.
pub fn show(request: &PolicyShowRequest) -> Result<u8> {
    let level = request.level.as_deref();
    if let (Some(text), Format::Text) = (level.and_then(profile_text), request.format) {
        report::stdout(text)?;
        return Ok(0);
    }
    let force = crate::host::policy(request.profile.as_deref())?;
    let mut levels = force.policy.view();
    if let Some(wanted) = level {
        levels.retain(|view| view.level == wanted);
        if levels.is_empty() {
            let cause = format!("there is no level {wanted:?} in force");
            return Err(Error::new(Kind::NotFound, cause).hint(
                "levels are never, system, user and project; profiles are strict and compat",
            ));
        }
    }
    match request.format {
        Format::Json => {
            let value = serde_json::json!({ "levels": levels, "notes": force.notes });
            report::stdout(&(report::json_pretty(&value) + "\n"))?;
        }
        Format::Text => {
            report::stdout(&text(&levels))?;
            for note in &force.notes {
                report::note(note);
            }
        }
    }
    Ok(0)
}

/// As TOML that could be read again, with each rule's place behind it.
fn text(levels: &[LevelView]) -> String {
    let mut out = String::new();
    for view in levels {
        let what = match view.level {
            "never" => "what is built in; nothing gets past it",
            "system" => "the administrator's",
            "user" => "yours; what a cell has is given here",
            _ => "the project's",
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            out,
            "# level {}: {}\n# {what}\n",
            view.level,
            report::clean(&view.file)
        );
        for rule in &view.rules {
            out.push_str(&report::clean_lines(&rule.toml()));
            out.push('\n');
        }
        for ended in &view.ended {
            let _infallible = writeln!(out, "# {}\n", report::clean(ended));
        }
    }
    out
}
