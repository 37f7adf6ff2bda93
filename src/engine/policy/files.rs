//! `lazaret policy check`, `init` and `trust`: the files themselves.

use super::width;
use crate::engine::request::{PolicyCheckRequest, PolicyInitRequest, PolicyTrustRequest};
use crate::error::{Error, Kind, Result};
use crate::host::{self, Places, ProjectFile, TrustRecord};
use crate::policy::{Idle, Policy, Problem, diff, problems, profile_name};
use crate::report::{self, Format, clean, wrap};
use std::fmt::Write as _;
use std::path::Path;

/// The file that `init` writes.
const TEMPLATE: &str = include_str!("../../../policies/user.toml");

/// What a project's policy is called.
const PROJECT: &str = "lazaret.toml";

/// What `check` found in a file.
struct Found {
    file: String,
    problems: Vec<Problem>,
    /// What concerns the file as a whole: its owner, what it extends.
    error: Option<Error>,
    idle: Vec<Idle>,
}

/// Reads files as policies, or those that are in force, and prints every problem with its place;
/// then the rules that do nothing. Exit code 1 if there is a problem.
///
/// # Errors
/// A file that is not there; `Io`: standard output.
pub fn check(request: &PolicyCheckRequest) -> Result<u8> {
    let mut found = Vec::new();
    for file in &request.files {
        let text = host::Text::any(file)?;
        let problems = problems(&text.file(), host::today());
        let (error, idle) = match problems.is_empty() {
            false => (None, Vec::new()),
            true => in_its_place(file, &text),
        };
        found.push(Found {
            file: file.to_string_lossy().into_owned(),
            problems,
            error,
            idle,
        });
    }
    if request.files.is_empty() {
        let force = host::policy(None);
        let (error, idle) = match force {
            Ok(force) => looked_at(&force.policy),
            Err(error) => (Some(error), Vec::new()),
        };
        found.push(Found {
            file: "the policy in force".to_owned(),
            problems: Vec::new(),
            error,
            idle,
        });
    }
    let bad = found
        .iter()
        .any(|f| !f.problems.is_empty() || f.error.is_some());
    match request.format {
        Format::Json => {
            let files = found.iter().map(|f| {
                serde_json::json!({
                    "file": f.file, "problems": f.problems, "idle": f.idle,
                    "error": f.error.as_ref().map(|e| serde_json::json!({
                        "kind": e.kind, "cause": e.cause, "hint": e.hint, "detail": e.detail,
                    })),
                })
            });
            let value = serde_json::json!({ "ok": !bad, "files": files.collect::<Vec<_>>() });
            report::stdout(&(report::json_pretty(&value) + "\n"))?;
        }
        Format::Text => report::stdout(&checked(&found))?,
    }
    Ok(u8::from(bad))
}

/// Whether a file could be put in force at its own level, and which rules would do nothing: the
/// administrator's by its path, a project's by its name, a profile as `--profile` would take it, any
/// other as the user's.
fn in_its_place(file: &Path, text: &host::Text) -> (Option<Error>, Vec<Idle>) {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let places = Places {
        project: None,
        ..Places::own()
    };
    let policy = if whole == places.system {
        host::policy_from(&places, None).map(|force| force.policy)
    } else if whole.file_name().is_some_and(|name| name == PROJECT) {
        ProjectFile::read(whole).and_then(|project| host::policy_with(&places, &project))
    } else if let Some(name) = profile_name(text.file().bytes) {
        let text = String::from_utf8_lossy(text.file().bytes).into_owned();
        host::policy_under(&places, &name, &text).map(|force| force.policy)
    } else {
        let user = Some(whole);
        host::policy_from(&Places { user, ..places }, None).map(|force| force.policy)
    };
    match policy {
        Ok(policy) => looked_at(&policy),
        Err(error) => (Some(error), Vec::new()),
    }
}

/// What is the matter with a policy that is understood: a trust root that vouches for nobody, rules
/// that do nothing.
fn looked_at(policy: &Policy) -> (Option<Error>, Vec<Idle>) {
    (policy.check_roots().err(), policy.idle())
}

fn checked(found: &[Found]) -> String {
    let width = width();
    let mut out = String::new();
    for one in found {
        for problem in &one.problems {
            let line = format!(
                "{}:{}:{}: {}",
                one.file, problem.line, problem.column, problem.cause
            );
            // Writing to a String cannot fail.
            let _infallible = writeln!(out, "{}", wrap(&clean(&line), width, 0, 2));
            if !problem.hint.is_empty() {
                let hint = wrap(&clean(&problem.hint), width, 8, 8);
                let _infallible = writeln!(out, "  hint: {hint}");
            }
        }
        if let Some(error) = &one.error {
            let _infallible = writeln!(out, "{}", wrap(&clean(&error.cause), width, 0, 2));
            for line in &error.detail {
                let _infallible = writeln!(out, "{}", clean(line));
            }
            if let Some(hint) = &error.hint {
                let _infallible = writeln!(out, "  hint: {}", wrap(&clean(hint), width, 8, 8));
            }
        }
        for idle in &one.idle {
            let line = format!("{}: does nothing: {}: {}", idle.origin, idle.rule, idle.why);
            let _infallible = writeln!(out, "{}", wrap(&clean(&line), width, 0, 2));
        }
        if one.problems.is_empty() && one.error.is_none() {
            let _infallible = writeln!(out, "{}: ok", clean(&one.file));
        }
    }
    out
}

/// Writes a policy file for its user to fill: commented, and meaning `strict` as it stands.
///
/// # Errors
/// `Usage`: there is one already, or no place for it; `Io`: it cannot be written.
pub fn init(request: PolicyInitRequest) -> Result<u8> {
    let Some(path) = Places::own().user else {
        return Err(
            Error::new(Kind::Usage, "nothing says where your policy belongs")
                .hint("set HOME or XDG_CONFIG_HOME"),
        );
    };
    let written = host::write_new(&path, TEMPLATE.as_bytes(), request.force)?;
    if !written {
        return Err(
            Error::new(Kind::Usage, format!("{} is there already", path.display()))
                .hint("--force puts a new one in its place; `lazaret policy check` reads this one"),
        );
    }
    report::stdout(&format!("{}\n", clean(&path.to_string_lossy())))?;
    Ok(0)
}

/// Trusts a project's policy: what it changes is printed, and its path and digest written down.
///
/// # Errors
/// There is none, or it is not understood; the record cannot be written; `Io`: standard output.
pub fn trust(request: &PolicyTrustRequest) -> Result<u8> {
    let mut record = TrustRecord::own()?;
    if request.list {
        let mut out = String::new();
        for (path, digest) in record.all() {
            let is = match ProjectFile::read(path.clone()) {
                Ok(found) if found.digest == *digest => "trusted",
                Ok(_) => "changed",
                Err(_) => "gone",
            };
            let path = path.to_string_lossy();
            let _infallible = writeln!(out, "{is:<8} {}", clean(&path));
        }
        report::stdout(&out)?;
        return Ok(0);
    }
    let here = std::env::current_dir().map_err(|e| Error::io("getcwd", &e))?;
    if request.forget {
        return forget(&mut record, request.file.as_deref(), &here);
    }
    let found = match &request.file {
        Some(file) => {
            let whole = std::fs::canonicalize(file)
                .map_err(|e| Error::io(format!("open {file:?}"), &e).kind(Kind::NotFound))?;
            Some(ProjectFile::read(whole)?)
        }
        None => ProjectFile::find(&here)?,
    };
    let Some(found) = found else {
        return Err(
            Error::new(Kind::NotFound, "no lazaret.toml here or in a folder above")
                .hint("name it: lazaret policy trust FILE"),
        );
    };
    let shown = found.path.to_string_lossy().into_owned();
    if found.path.file_name().is_none_or(|name| name != PROJECT) {
        return Err(Error::new(
            Kind::Usage,
            format!("{shown}: a project's policy is called lazaret.toml"),
        ));
    }
    // It must be understood, and a person should see what it means.
    let places = Places {
        project: None,
        ..Places::own()
    };
    let without = host::policy_from(&places, None)?.policy;
    let with = host::policy_with(&places, &found)?;
    let changes = diff(&without, &with)?;
    record.set(&found.path, Some(found.digest))?;
    let mut out = format!("{} is trusted as it stands\n", clean(&shown));
    for change in &changes {
        let line = format!(
            "{}{} {}: {} -> {}",
            match change.image.as_str() {
                "" => String::new(),
                image => format!("{image}: "),
            },
            change.about,
            change.value,
            change.before,
            change.after
        );
        let mark = if change.wider { '+' } else { '-' };
        let _infallible = writeln!(out, "{mark} {}", wrap(&clean(&line), width(), 2, 4));
    }
    if changes.is_empty() {
        out.push_str("it changes nothing\n");
    }
    report::stdout(&out)?;
    Ok(0)
}

/// Trusts a file no longer, whether it still is there or not; without a name the nearest that is
/// trusted.
fn forget(record: &mut TrustRecord, file: Option<&Path>, here: &Path) -> Result<u8> {
    let nearest = || {
        let mut places = here.ancestors().map(|folder| folder.join(PROJECT));
        places.find(|path| record.known(path).is_some())
    };
    let path = match file {
        Some(file) => std::fs::canonicalize(file)
            .or_else(|_gone| std::path::absolute(file))
            .map_err(|e| Error::io(format!("name {file:?}"), &e))?,
        None => nearest().ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "no trusted lazaret.toml here or in a folder above",
            )
            .hint("name it: `lazaret policy trust --list` has them all")
        })?,
    };
    let shown = path.to_string_lossy().into_owned();
    if record.known(&path).is_none() {
        let cause = format!("{shown} was not trusted");
        return Err(Error::new(Kind::NotFound, cause));
    }
    record.set(&path, None)?;
    report::stdout(&format!("{} is trusted no longer\n", clean(&shown)))?;
    Ok(0)
}
