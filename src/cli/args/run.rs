//! The arguments of `run` and `tool`.

use super::{FormatArg, PullArg, VerifyArg};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Run a command in a new cell made from an image
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    disable_help_flag = true,
    disable_help_subcommand = true,
    args_override_self = true,
    after_help = "IMAGE is a registry's name, or oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE,\n\
        builtin:NAME. The network is none unless asked."
)]
pub struct RunArgs {
    #[command(flatten)]
    pub flags: RunFlags,
    #[command(subcommand)]
    pub image: ImageAndCommand,
}

/// What `run` and `why` are asked beside the image
#[derive(Debug, Args)]
pub struct RunFlags {
    /// The writable layer lives in memory and goes with the run
    #[arg(long)]
    pub rm: bool,
    /// Set an environment variable; NAME alone takes it over from here
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User inside
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub user: Option<String>,
    /// Run as yourself, by your own number
    #[arg(long, value_name = "keep-id")]
    pub userns: Option<String>,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub entrypoint: Option<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Give a device of the host
    #[arg(long, value_name = "FILE[:TARGET][:rw]")]
    pub device: Vec<String>,
    /// Mount a folder or file of the host
    #[arg(short, long, value_name = "FROM:TARGET[:ro]")]
    pub volume: Vec<String>,
    /// Mount a folder or file of the host, or a tmpfs
    #[arg(long, value_name = "type=bind,...")]
    pub mount: Vec<String>,
    /// Mount a tmpfs
    #[arg(long, value_name = "PATH[:size=N,...]")]
    pub tmpfs: Vec<String>,
    /// Let root inside hold a capability
    #[arg(long, value_name = "NAME")]
    pub cap_add: Vec<String>,
    /// Take a given capability away, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_drop: Vec<String>,
    /// seccomp=FILE narrows the system calls by a profile of docker's
    #[arg(long, value_name = "NAME=VALUE")]
    pub security_opt: Vec<String>,
    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Name the container
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Label the container
    #[arg(short, long, value_name = "KEY[=VALUE]", allow_hyphen_values = true)]
    pub label: Vec<String>,
    /// Write the container's id to a new file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Have an init as pid 1, as is always so
    #[arg(long)]
    pub init: bool,
    /// Network: lo alone, or this machine's
    #[arg(long, alias = "net", value_name = "none|host")]
    pub network: Option<String>,
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Most processes and threads at once
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<String>,
    /// Limit of each process: nofile, fsize, cpu, stack, as, ...
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Kill everything inside after this long (10s, 1m30s)
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Run what lazaret.lock says, and nothing else
    #[arg(long)]
    pub locked: bool,
    /// The lock, in the place of the project's lazaret.lock
    #[arg(long, value_name = "FILE", requires = "locked")]
    pub lock_file: Option<PathBuf>,
    /// When to fetch the image: missing, always or never
    #[arg(long, value_name = "WHEN", hide_possible_values = true)]
    pub pull: Option<PullArg>,
    /// Print nothing of a fetch
    #[arg(short, long)]
    pub quiet: bool,
    /// The platform of the image: linux/amd64, linux/arm/v7
    #[arg(long, value_name = "OS/ARCH[/...]")]
    pub platform: Option<String>,
    /// Ask for a stricter check of the unpacked layers than the policy's
    #[arg(long, value_name = "stat|full", hide_possible_values = true)]
    pub verify: Option<VerifyArg>,
    /// What SIGTERM to lazaret becomes inside, instead of the image's
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Kill the command this many seconds after a SIGTERM; -1: never
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub stop_timeout: Option<String>,
    /// Use this profile of the policy: strict, compat, or one of your own
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print every step and where it comes from, and do none
    #[arg(long)]
    pub dry_run: bool,
    /// Print how long each stage took
    #[arg(long)]
    pub timings: bool,
    /// Tell at the end which system calls were refused, and by which rule; full: files and sockets too
    #[arg(long, value_name = "calls|full|off", num_args = 0..=1, require_equals = true, default_missing_value = "calls")]
    pub explain: Option<String>,
    /// Write a report of the run, as JSON; - is standard output
    #[arg(long, value_name = "FILE|-", allow_hyphen_values = true)]
    pub report: Option<PathBuf>,
    /// Write the same, signed by your key; - is standard output
    #[arg(long, value_name = "FILE|-", allow_hyphen_values = true)]
    pub receipt: Option<PathBuf>,
    /// How plan, timings and errors are printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
}

/// What all processes inside together may take
#[derive(Debug, Args)]
pub struct ResourceArgs {
    /// Most memory of all processes together (64m, 2g)
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Most memory and swap together; -1: any swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Most processors at once (1.5)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpus: Option<String>,
    /// Kill everything inside after this much processor time
    #[arg(long, value_name = "DURATION")]
    pub cpu_time: Option<String>,
    /// Kill everything inside after this much output
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub output_limit: Option<String>,
    /// Size of the writable layer; with --rm, which keeps it in memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub disk: Option<String>,
}

/// IMAGE and what follows it. To clap this is a subcommand of any name, because that alone leaves
/// everything behind it untouched: `run IMAGE --help` and `run IMAGE -- -x` are the command's.
#[derive(Debug, Subcommand)]
pub enum ImageAndCommand {
    /// IMAGE [COMMAND] [ARG...]
    #[command(external_subcommand)]
    Words(Vec<String>),
}

/// Run a program of this machine in a cell of its own, without an image
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret tool [OPTIONS] [--] PROGRAM [ARG...]",
    disable_help_subcommand = true,
    args_override_self = true,
    after_help = "Inside are this machine's programs and libraries and the current folder, all\n\
        read-only, an empty home, and nothing else. A pipe or file as standard input\n\
        is read; where all three streams are terminals, PROGRAM has one too."
)]
pub struct ToolArgs {
    /// Let a folder or file be written, at its own path
    #[arg(long, value_name = "PATH")]
    pub rw: Vec<String>,
    /// Run PROGRAM only if its file has this sha256
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// Set an environment variable; NAME alone takes it over from here
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory inside, instead of the current folder
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Ask for this machine's network; without it there is none
    #[arg(long, value_name = "none|host", num_args = 0..=1, require_equals = true, default_missing_value = "host")]
    pub network: Option<String>,
    /// Read standard input, also from a terminal while the output goes elsewhere
    #[arg(short, long)]
    pub interactive: bool,
    /// Give PROGRAM a terminal, also while its output goes elsewhere
    #[arg(short, long)]
    pub tty: bool,
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Most processes and threads at once
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<String>,
    /// Limit of each process: nofile, fsize, cpu, stack, as, ...
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Kill everything inside after this long (10s, 1m30s)
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Use this profile of the policy
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print every step and where it comes from, and do none
    #[arg(long)]
    pub dry_run: bool,
    /// Print how long each stage took
    #[arg(long)]
    pub timings: bool,
    /// Tell at the end which system calls were refused, and by which rule; full: files and sockets too
    #[arg(long, value_name = "calls|full|off", num_args = 0..=1, require_equals = true, default_missing_value = "calls")]
    pub explain: Option<String>,
    /// Write a report of the run, as JSON; - is standard output
    #[arg(long, value_name = "FILE|-", allow_hyphen_values = true)]
    pub report: Option<PathBuf>,
    /// Write the same, signed by your key; - is standard output
    #[arg(long, value_name = "FILE|-", allow_hyphen_values = true)]
    pub receipt: Option<PathBuf>,
    /// How plan, timings and errors are printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    #[command(subcommand)]
    pub program: ProgramAndArgs,
}

/// PROGRAM and what follows it, as [`ImageAndCommand`].
#[derive(Debug, Subcommand)]
pub enum ProgramAndArgs {
    /// PROGRAM [ARG...]
    #[command(external_subcommand)]
    Words(Vec<String>),
}
