//! `builtin:probe`: what an intruder would find and try, told from inside a cell.
//!
//! The probe is this same static executable, packed by [`image`] into a real OCI image that goes
//! the way of every image. Inside it is started as `/probe probe-inside`, and [`main`] looks
//! around: each line of its table is something that was really read, opened or called, and each
//! can come out OPEN. Three verdicts:
//!
//! - `contained`: refused, absent, or harmless;
//! - `downgraded`: weaker than lazaret's best, for a reason that the line names (no subordinate
//!   ids, memory without a limit, a capability that was granted);
//! - `OPEN`: the default cell promises that this is closed (SECURITY.md), and it is not.
//!
//! It trusts nothing that it is told from outside: what is downgraded is seen from inside. Attempts
//! that would change the process, or end it, run in children. None does harm where it succeeds, so
//! the probe can be run unconfined, where it says OPEN, as the tests do.

mod attempt;
mod devices;
mod files;
mod finding;
mod identity;
pub mod image;
mod kernel;
mod kernel_files;
mod leaks;
mod limits;
mod mounts;
mod namespaces;
mod network;
mod processes;

pub use finding::{Finding, Findings, Verdict};

use crate::error::{Error, Kind, Result};
use std::io::Write;
use std::process::ExitCode;

/// The hidden argument that makes the executable look around instead of anything else.
pub const ARGUMENT: &str = "probe-inside";

/// How the findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Table,
    Json,
}

/// The arguments after [`ARGUMENT`], if it is the first one.
pub fn asked() -> Option<Vec<String>> {
    let mut args = std::env::args_os().skip(1);
    let asked = args.next().is_some_and(|first| first == ARGUMENT);
    asked.then(|| args.map(|arg| arg.to_string_lossy().into_owned()).collect())
}

/// Looks around and prints. `args` are those after [`ARGUMENT`]. Exit code 0: nothing is OPEN;
/// 1: something is; 125: it could not look.
pub fn main(args: &[String]) -> ExitCode {
    let answered = format(args).and_then(|format| {
        let findings = look()?;
        print(&findings, format)?;
        Ok(findings.count(Verdict::Open))
    });
    match answered {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            // Nothing is left to do if standard error is closed too.
            drop(writeln!(std::io::stderr(), "lazaret: probe: {error}"));
            ExitCode::from(125)
        }
    }
}

fn format(args: &[String]) -> Result<Format> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] | ["--format", "table"] | ["--format=table"] => Ok(Format::Table),
        ["--format", "json"] | ["--format=json"] => Ok(Format::Json),
        _ => Err(Error::new(
            Kind::Usage,
            "the probe takes --format json or --format table, and nothing else",
        )),
    }
}

/// Everything that was found, in the order of the table.
pub fn look() -> Result<Findings> {
    let tester = attempt::Tester::new()?;
    let mut findings = Findings::default();
    for group in [
        files::look,
        kernel_files::look,
        devices::look,
        namespaces::look,
        processes::look,
        network::look,
        identity::look,
        kernel::look,
        limits::look,
    ] {
        group(tester, &mut findings)?;
    }
    leaks::look(&mut findings);
    Ok(findings)
}

fn print(findings: &Findings, format: Format) -> Result<()> {
    let mut text = Vec::new();
    match format {
        Format::Table => findings.write_table(&mut text),
        Format::Json => findings.write_json(&mut text),
    }
    .map_err(|e| Error::io("print", &e))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&text)
        .and_then(|()| out.flush())
        .map_err(|e| Error::io("write to standard output", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_the_two_and_nothing_is_ignored() {
        let parse = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
            format(&args)
        };
        assert_eq!(parse(&[]).unwrap(), Format::Table);
        assert_eq!(parse(&["--format", "json"]).unwrap(), Format::Json);
        assert_eq!(parse(&["--format=json"]).unwrap(), Format::Json);
        for bad in [&["json"][..], &["--format"], &["--format", "json", "x"]] {
            assert_eq!(parse(bad).unwrap_err().kind, Kind::Usage, "{bad:?}");
        }
    }
}
