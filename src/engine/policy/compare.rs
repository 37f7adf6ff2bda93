//! `lazaret policy diff A B`: what becomes allowed and what denied.

use super::width;
use crate::engine::request::PolicyDiffRequest;
use crate::error::Result;
use crate::host::{self, Places};
use crate::policy::{Change, Policy, diff as changes};
use crate::report::{self, Format, clean, wrap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Prints what the second policy lets be had more and less than the first. Each is a file, taken as
/// the user's own, a profile's name, or `-` for what is in force. Exit code 0 if nothing changes,
/// 1 if something does, as diff(1).
///
/// # Errors
/// A policy that cannot be used; `Io`: standard output.
pub fn diff(request: &PolicyDiffRequest) -> Result<u8> {
    let (before, after) = (side(&request.before)?, side(&request.after)?);
    let changes = changes(&before, &after)?;
    match request.format {
        Format::Json => report::stdout(&(report::json_pretty(&serde_json::json!(changes)) + "\n"))?,
        Format::Text => report::stdout(&text(&changes))?,
    }
    Ok(u8::from(!changes.is_empty()))
}

fn side(word: &str) -> Result<Policy> {
    if word == "-" {
        return Ok(host::policy(None)?.policy);
    }
    let own = Places::own();
    // The levels around the user's hold for both.
    let of = |user: Option<PathBuf>, profile: Option<&str>| {
        let places = Places {
            system: own.system.clone(),
            user,
            project: None,
        };
        host::policy_from(&places, profile).map(|force| force.policy)
    };
    let is_path = word.contains(['/', '.']) || Path::new(word).is_file();
    match is_path {
        // A file that is not there would mean strict.
        true => {
            host::Text::any(Path::new(word))?;
            let whole = std::path::absolute(word).unwrap_or_else(|_| word.into());
            of(Some(whole), None)
        }
        false => of(None, Some(word)),
    }
}

fn text(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing changes\n".to_owned();
    }
    let width = width();
    let mut out = String::new();
    let mut image = None;
    for change in changes {
        if image != Some(&change.image) {
            let name = match change.image.as_str() {
                "" => "images that no rule names",
                name => name,
            };
            let gap = if image.is_some() { "\n" } else { "" };
            // Writing to a String cannot fail.
            let _infallible = writeln!(out, "{gap}{}", clean(name));
            image = Some(&change.image);
        }
        let what = match change.value.as_str() {
            "" => change.about.clone(),
            value => format!("{} {value}", change.about),
        };
        let line = format!("{what}: {} -> {}", change.before, change.after);
        let mark = if change.wider { '+' } else { '-' };
        let _infallible = writeln!(out, "{mark} {}", wrap(&clean(&line), width, 2, 4));
    }
    out.push_str("\n+ lets more be had, - less\n");
    out
}
