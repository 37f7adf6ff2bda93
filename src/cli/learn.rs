//! `learn`: argv -> [`LearnRequest`].

use super::args::{Cli, LearnArgs, RunFlags, Verb};
use super::{run, usage};
use crate::engine::LearnRequest;
use crate::error::{Error, Kind, Result};
use clap::Parser as _;
use std::ffi::OsString;

/// Reads the arguments of the run that is learnt from.
///
/// # Errors
/// `Usage`: a flag that says what becomes of a run that is kept; else as [`run::request`].
pub fn request(args: LearnArgs) -> Result<LearnRequest> {
    let words = ["lazaret", "run"].map(OsString::from).into_iter();
    let words: Vec<OsString> = words.chain(args.words).collect();
    let run = match Cli::try_parse_from(&words).map(|cli| cli.verb) {
        Ok(Some(Verb::Run(run))) => *run,
        Ok(_) => return Err(Error::new(Kind::Usage, "missing IMAGE")),
        Err(error) => return Err(usage::explain(&error, &words)),
    };
    plain(&run.flags)?;
    Ok(LearnRequest {
        run: run::request(run)?,
        output: args.output,
        merge: args.merge,
    })
}

/// Refuses what speaks of a run that leaves something, or is told of in another way.
fn plain(flags: &RunFlags) -> Result<()> {
    let narrowed = (!flags.security_opt.is_empty()).then_some("--security-opt");
    match run::of_what_is_kept(flags).or(narrowed) {
        None => Ok(()),
        Some(flag) => Err(Error::new(
            Kind::Usage,
            format!("{flag}: learn keeps nothing of the run but what it learns"),
        )
        .hint("flags of `run` that say what a cell is are taken: -v, -e, --network, ...")),
    }
}
