//! The command line as clap sees it: one type per verb, both of docker's spellings.
//!
//! Building every verb's options costs more than the launch has to spare, so the subcommands are
//! deferred: only those of the verb that was typed are built. docker's flags that are not built yet
//! are not here at all; `usage` knows them by name when clap does not.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs what people download, without trusting it
#[derive(Debug, Parser)]
#[command(
    name = "lazaret",
    bin_name = "lazaret",
    override_usage = "lazaret COMMAND [OPTIONS] [ARG...]",
    disable_help_subcommand = true,
    disable_version_flag = true,
    arg_required_else_help = true,
    after_help = "Run 'lazaret COMMAND --help' for more on a command.\n\
        docker's other commands and options are refused by name until they are built."
)]
pub struct Cli {
    /// Print the version and quit
    #[arg(short = 'v', long)]
    pub version: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Verb {
    /// Run a command in a new cell made from an image
    Run(Box<RunArgs>),
    /// Run a program of this machine in a cell of its own, without an image
    Tool(Box<ToolArgs>),
    /// List images
    Images(ImagesArgs),
    /// Load an image from an archive, standard input or a folder
    Load(LoadArgs),
    /// Fetch an image from its registry
    Pull(PullArgs),
    /// Check every byte of images against its digest
    Verify(VerifyArgs),
    /// Remove images
    Rmi(RmiArgs),
    /// List containers
    Ps(PsArgs),
    /// Remove containers
    Rm(RmArgs),
    /// Show what is known of containers and images
    Inspect(InspectArgs),
    /// Show, check, explain and try policies
    Policy(PolicyArgs),
    /// Tell what holds each promise on this machine, and what would mend it
    Doctor(DoctorArgs),
    /// Show the version
    Version(VersionArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Manage images
    Image(ImageArgs),
    /// Manage containers
    Container(ContainerArgs),
    /// Manage the store
    System(SystemArgs),
}

/// Manage images
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct ImageArgs {
    #[command(subcommand)]
    pub verb: ImageVerb,
}

/// docker's management spelling of the image verbs.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum ImageVerb {
    /// List images
    #[command(alias = "list")]
    Ls(ImagesArgs),
    /// Load an image from an archive, standard input or a folder
    Load(LoadArgs),
    /// Fetch an image from its registry
    Pull(PullArgs),
    /// Remove images
    #[command(alias = "remove")]
    Rm(RmiArgs),
    /// Show what is known of images
    Inspect(InspectOneKindArgs),
}

/// Manage containers
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct ContainerArgs {
    #[command(subcommand)]
    pub verb: ContainerVerb,
}

/// docker's management spelling of the container verbs.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum ContainerVerb {
    /// Run a command in a new cell made from an image
    Run(Box<RunArgs>),
    /// List containers
    #[command(aliases = ["ps", "list"])]
    Ls(PsArgs),
    /// Remove containers
    #[command(alias = "remove")]
    Rm(RmArgs),
    /// Show what is known of containers
    Inspect(InspectOneKindArgs),
}

/// Manage the store
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct SystemArgs {
    #[command(subcommand)]
    pub verb: SystemVerb,
}

/// docker's management verbs for the whole.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum SystemVerb {
    /// Show disk usage
    Df(DfArgs),
}

/// Show, check, explain and try policies
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct PolicyArgs {
    #[command(subcommand)]
    pub verb: PolicyVerb,
}

/// What can be done with policies.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum PolicyVerb {
    /// Print the policy in force, rule by rule
    Show(PolicyShowArgs),
    /// Read files, or what is in force, and tell every problem
    Check(PolicyCheckArgs),
    /// Tell which rule gives, allows or denies each thing that a run would ask
    Explain(Box<RunArgs>),
    /// Try a table of requests with their expected verdicts
    Test(PolicyTestArgs),
    /// Tell what another policy would allow or deny
    Diff(PolicyDiffArgs),
    /// Write a commented policy file of your own
    Init(PolicyInitArgs),
    /// Trust the policy of a project, as it stands
    Trust(PolicyTrustArgs),
}

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

/// `--format` of verbs that print for people or for programs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatArg {
    Text,
    Json,
}

/// `--verify`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum VerifyArg {
    Stat,
    Full,
}

/// Run a command in a new cell made from an image
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    disable_help_flag = true,
    disable_help_subcommand = true,
    args_override_self = true,
    after_help = "IMAGE is a name of the store, or oci:DIR[:TAG], oci-archive:FILE,\n\
        docker-archive:FILE, builtin:NAME. The network is none unless asked."
)]
pub struct RunArgs {
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
    #[arg(long, value_name = "DEVICE[:TARGET][:rw]")]
    pub device: Vec<String>,
    /// Mount a folder or file of the host
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]")]
    pub volume: Vec<String>,
    /// Mount a folder or file of the host, or a tmpfs
    #[arg(long, value_name = "type=bind|tmpfs,...")]
    pub mount: Vec<String>,
    /// Mount a tmpfs
    #[arg(long, value_name = "PATH[:size=N,mode=N,ro]")]
    pub tmpfs: Vec<String>,
    /// Let root inside hold a capability
    #[arg(long, value_name = "NAME")]
    pub cap_add: Vec<String>,
    /// Take a given capability away, or ALL
    #[arg(long, value_name = "NAME")]
    pub cap_drop: Vec<String>,
    /// Narrow the system calls by a profile of docker's
    #[arg(long, value_name = "seccomp=FILE")]
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
    /// Network: lo alone, or this machine's
    #[arg(long, alias = "net", value_name = "none|host")]
    pub network: Option<String>,
    /// Most processes and threads at once
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<String>,
    /// Limit of each process: nofile, fsize, cpu, stack, as, ...
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Kill everything inside after this long (10s, 1m30s)
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Ask for a stricter check of the unpacked layers than the policy's
    #[arg(long, value_name = "stat|full", hide_possible_values = true)]
    pub verify: Option<VerifyArg>,
    /// Use this profile of the policy: strict, compat, or one of your own
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print every step and where it comes from, and do none
    #[arg(long)]
    pub dry_run: bool,
    /// Print how long each stage took
    #[arg(long)]
    pub timings: bool,
    /// How plan, timings and errors are printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
    #[command(subcommand)]
    pub image: ImageAndCommand,
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

/// Load an image from an archive, standard input or a folder
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret load [-q] [-i FILE]\n       lazaret load [-q] oci:DIR[:TAG] [NAME]",
    after_help = "FILE is an OCI or docker archive; without it, or with -, standard input is read."
)]
pub struct LoadArgs {
    /// Read from this file instead of standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "image")]
    pub input: Option<PathBuf>,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// An image by its transport: oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE
    #[arg(value_name = "SOURCE")]
    pub image: Option<String>,
    /// The name to keep it by
    #[arg(value_name = "NAME", requires = "image")]
    pub name: Option<String>,
}

/// Fetch an image from its registry
#[derive(Debug, Args)]
pub struct PullArgs {
    /// What the tag means at its registry now is what it means from here on
    #[arg(long)]
    pub accept: bool,
    /// Print the name alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// NAME[:TAG][@DIGEST]
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// List images
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// All images; there are no intermediate ones, so this changes nothing
    #[arg(short, long)]
    pub all: bool,
    /// Show manifest digests
    #[arg(long)]
    pub digests: bool,
    /// dangling=BOOL, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// table, 'table TEMPLATE', json or TEMPLATE
    #[arg(long)]
    pub format: Option<String>,
    /// Show whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Show ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

/// Remove images
#[derive(Debug, Args)]
pub struct RmiArgs {
    /// Also where several names or stopped containers stand in the way
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
}

/// Check every byte of images against its digest
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// How differences are printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// Check every image of the store
    #[arg(short, long, conflicts_with = "images")]
    pub all: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    pub images: Vec<String>,
}

/// List containers
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    pub all: bool,
    /// id=, name=, status=, ancestor=, exited=
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// table, 'table TEMPLATE', json or TEMPLATE
    #[arg(long)]
    pub format: Option<String>,
    /// The last N, whatever their state
    #[arg(short = 'n', long, value_name = "N")]
    pub last: Option<usize>,
    /// The last one, whatever its state
    #[arg(short, long, conflicts_with = "last")]
    pub latest: bool,
    /// Show whole ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// Show ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Remove containers
#[derive(Debug, Args)]
pub struct RmArgs {
    /// End those that run, and do not complain of those that are gone
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Show what is known of containers and images
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A template, or json
    #[arg(short, long)]
    pub format: Option<String>,
    /// What the names may name
    #[arg(
        long = "type",
        value_name = "container|image",
        hide_possible_values = true
    )]
    pub kind: Option<KindArg>,
    /// Names or ids
    #[arg(value_name = "NAME|ID", required = true)]
    pub names: Vec<String>,
}

/// Show what is known of images or containers
#[derive(Debug, Args)]
pub struct InspectOneKindArgs {
    /// A template, or json
    #[arg(short, long)]
    pub format: Option<String>,
    /// Names or ids
    #[arg(value_name = "NAME|ID", required = true)]
    pub names: Vec<String>,
}

impl InspectOneKindArgs {
    /// As `inspect --type KIND`.
    pub fn of(self, kind: KindArg) -> InspectArgs {
        InspectArgs {
            format: self.format,
            kind: Some(kind),
            names: self.names,
        }
    }
}

/// `inspect --type`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KindArg {
    Container,
    Image,
}

/// Show disk usage
#[derive(Debug, Args)]
pub struct DfArgs {
    /// table, 'table TEMPLATE', json or TEMPLATE
    #[arg(long)]
    pub format: Option<String>,
}

/// Tell what holds each promise on this machine, and what would mend it
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
}

/// Show the version
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// A template, or json
    #[arg(short, long)]
    pub format: Option<String>,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_name = "bash|zsh|fish", hide_possible_values = true)]
    pub shell: ShellArg,
}

/// The shells that have a completion script.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ShellArg {
    Bash,
    Zsh,
    Fish,
}
