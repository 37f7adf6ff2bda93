//! `lazaret policy test FILE`: a table of requests with the verdicts that are expected.

use super::width;
use crate::engine::request::PolicyTestRequest;
use crate::error::{Kind, Result};
use crate::host::{self, Places};
use crate::policy::Outcome;
use crate::report::{self, Format, clean, wrap};
use std::fmt::Write as _;

/// Puts every case to the policy in force, or to a file's as the user's own, and prints those that
/// end otherwise. Exit code 0 if all end as expected, 1 if not.
///
/// # Errors
/// A policy that cannot be used; `Io`: standard output.
pub fn test(request: &PolicyTestRequest) -> Result<u8> {
    let mut places = Places::own();
    if let Some(file) = &request.policy {
        host::Text::any(file)?;
        let whole = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        places.user = Some(whole);
        places.project = None;
    }
    let policy = host::policy_from(&places, request.profile.as_deref())?.policy;
    let now = jiff::Timestamp::now().as_second();
    let mut rows = Vec::new();
    for (case, run) in &request.cases {
        let outcome = match run {
            Ok(run) => case.verdict(&policy, run, now),
            // Refused whatever a policy says: `--privileged`.
            Err(error) if error.kind == Kind::Policy => case.refused(&error.cause),
            Err(error) => Outcome::Failed(format!("not a command line: {error}")),
        };
        rows.push((case, outcome));
    }
    let failed = rows.iter().filter(|(_, o)| *o != Outcome::Passed).count();
    let passed = rows.len() - failed;
    match request.format {
        Format::Json => {
            let cases = rows.iter().map(|(case, outcome)| {
                let instead = match outcome {
                    Outcome::Passed => None,
                    Outcome::Failed(instead) => Some(instead),
                };
                serde_json::json!({
                    "name": case.name, "line": case.line,
                    "expect": if case.allow { "allow" } else { "deny" },
                    "passed": instead.is_none(), "instead": instead,
                })
            });
            let value = serde_json::json!({
                "passed": passed, "failed": failed, "cases": cases.collect::<Vec<_>>(),
            });
            report::stdout(&(report::json_pretty(&value) + "\n"))?;
        }
        Format::Text => {
            let mut out = String::new();
            for (case, outcome) in &rows {
                let Outcome::Failed(instead) = outcome else {
                    continue;
                };
                let expected = if case.allow { "allow" } else { "deny" };
                let what = format!("{}:{}: {}", request.file, case.line, case.name);
                let why = format!("expected {expected}, and it was {instead}");
                // Writing to a String cannot fail.
                let _infallible = writeln!(
                    out,
                    "FAILED {}\n  {}",
                    clean(&what),
                    wrap(&clean(&why), width(), 2, 4)
                );
            }
            let _infallible = writeln!(out, "{passed} passed, {failed} failed");
            report::stdout(&out)?;
        }
    }
    Ok(u8::from(failed > 0))
}
