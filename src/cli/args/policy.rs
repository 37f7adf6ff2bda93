//! The arguments of `policy` and its verbs.

use super::FormatArg;
use clap::Args;
use std::path::PathBuf;

/// Print the policy in force, rule by rule
#[derive(Debug, Args)]
pub struct PolicyShowArgs {
    /// Only never, system, user or project; or a built-in profile's text: strict, compat
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<String>,
    /// As `run --profile`
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
}

/// Read files, or what is in force, and tell every problem
#[derive(Debug, Args)]
pub struct PolicyCheckArgs {
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// Policy files; none: those in force
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Try a table of requests with their expected verdicts
#[derive(Debug, Args)]
pub struct PolicyTestArgs {
    /// Try this file as your own policy, instead of what is in force
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// As `run --profile`
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// The table
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Tell what another policy would allow or deny
#[derive(Debug, Args)]
pub struct PolicyDiffArgs {
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// A file, a profile, or - for what is in force
    #[arg(value_name = "BEFORE", allow_hyphen_values = true)]
    pub before: String,
    /// The same
    #[arg(value_name = "AFTER", allow_hyphen_values = true)]
    pub after: String,
}

/// Turn the policy of podman and skopeo into one of lazaret's
#[derive(Debug, Args)]
pub struct PolicyImportArgs {
    /// Their policy.json; else ~/.config/containers/policy.json, or that of /etc/containers
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Their registries.d; else the one in the same places
    #[arg(long, value_name = "DIR")]
    pub registries_d: Option<PathBuf>,
    /// Write a new file, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Write a commented policy file of your own
#[derive(Debug, Args)]
pub struct PolicyInitArgs {
    /// Put it in the place of the one that is there
    #[arg(short, long)]
    pub force: bool,
}

/// Trust the policy of a project, as it stands
#[derive(Debug, Args)]
pub struct PolicyTrustArgs {
    /// List what is trusted
    #[arg(long, conflicts_with_all = ["forget", "file"])]
    pub list: bool,
    /// Trust it no longer
    #[arg(long)]
    pub forget: bool,
    /// A lazaret.toml; else the nearest one at or above the current folder
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}
