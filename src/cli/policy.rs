//! `policy` and its verbs: argv -> requests.

use super::args::{
    Cli, PolicyCheckArgs, PolicyDiffArgs, PolicyImportArgs, PolicyInitArgs, PolicyShowArgs,
    PolicyTestArgs, PolicyTrustArgs, Verb,
};
use super::{run, usage};
use crate::engine::{
    PolicyCheckRequest, PolicyDiffRequest, PolicyImportRequest, PolicyInitRequest,
    PolicyShowRequest, PolicyTestRequest, PolicyTrustRequest,
};
use crate::error::{Error, Kind, Result};
use crate::host::Text;
use crate::policy::{Case, Request, Table};
use crate::report::Format;
use clap::Parser as _;
use std::ffi::OsString;

pub(super) fn show(args: PolicyShowArgs) -> PolicyShowRequest {
    PolicyShowRequest {
        level: args.level,
        profile: args.profile,
        format: args.format.map_or(Format::Text, Format::from),
    }
}

pub(super) fn check(args: PolicyCheckArgs) -> PolicyCheckRequest {
    PolicyCheckRequest {
        files: args.files,
        format: args.format.map_or(Format::Text, Format::from),
    }
}

pub(super) fn diff(args: PolicyDiffArgs) -> PolicyDiffRequest {
    PolicyDiffRequest {
        before: args.before,
        after: args.after,
        format: args.format.map_or(Format::Text, Format::from),
    }
}

pub(super) fn import(args: PolicyImportArgs) -> PolicyImportRequest {
    PolicyImportRequest {
        policy: args.policy,
        registries: args.registries_d,
        out: args.output,
    }
}

pub(super) fn init(args: &PolicyInitArgs) -> PolicyInitRequest {
    PolicyInitRequest { force: args.force }
}

pub(super) fn trust(args: PolicyTrustArgs) -> PolicyTrustRequest {
    PolicyTrustRequest {
        file: args.file,
        list: args.list,
        forget: args.forget,
    }
}

/// Reads the table and every case's command line.
///
/// # Errors
/// The table cannot be read or is not understood.
pub(super) fn test(args: PolicyTestArgs) -> Result<PolicyTestRequest> {
    let text = Text::any(&args.file)?;
    let file = args.file.to_string_lossy().into_owned();
    let table = Table::parse(&file, text.file().bytes)?;
    let cases = table.cases.into_iter().map(|case| {
        let run = asked(&case);
        (case, run)
    });
    Ok(PolicyTestRequest {
        file,
        cases: cases.collect(),
        policy: args.policy,
        profile: args.profile,
        format: args.format.map_or(Format::Text, Format::from),
    })
}

/// What a case's words mean after `lazaret run`.
fn asked(case: &Case) -> Result<Request> {
    let words = ["lazaret", "run"].into_iter();
    let words = words.chain(case.run.iter().map(String::as_str));
    match Cli::try_parse_from(words).map(|cli| cli.verb) {
        Ok(Some(Verb::Run(args))) if args.flags.locked => {
            let cause =
                "--locked: a table asks nothing of this machine, and there is no lock in it";
            Err(Error::new(Kind::Usage, cause))
        }
        Ok(Some(Verb::Run(args))) => run::request(*args).map(|run| run.request),
        Ok(_) => Err(Error::new(Kind::Usage, "missing IMAGE")),
        Err(error) => {
            let argv: Vec<OsString> = ["lazaret", "run"].map(OsString::from).into();
            Err(usage::explain(&error, &argv))
        }
    }
}
