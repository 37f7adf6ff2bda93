//! The arguments of `learn`.

use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Run a command, and write the smallest policy that covers what it did
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret learn [OPTIONS] [--] RUN-ARGS...",
    disable_help_flag = true,
    after_help = "RUN-ARGS are those of `lazaret run`. The cell goes with the command, stands under every\n\
        rule in force, and holds the capabilities of compat unless they name another --profile.\n\
        Nothing applies what is written: NAME.toml is a profile to be read, NAME.seccomp.json\n\
        its system calls."
)]
pub struct LearnArgs {
    /// Write the policy here; its system calls go to NAME.seccomp.json beside it [default: learnt.toml]
    #[arg(short, long, value_name = "NAME.toml")]
    pub output: Option<PathBuf>,
    /// Learn on from what was learnt before; without -o it is replaced
    #[arg(long, value_name = "NAME.toml")]
    pub merge: Option<PathBuf>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
    /// What is run, as for `lazaret run`
    #[arg(
        value_name = "RUN-ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    pub words: Vec<OsString>,
}
