//! The command line as clap sees it: one type per verb, both of docker's spellings.
//!
//! Building every verb's options costs more than the launch has to spare, so the subcommands are
//! deferred: only those of the verb that was typed are built. docker's flags that are not built yet
//! are not here at all; `usage` knows them by name when clap does not.

mod account;
mod images;
mod learn;
mod policy;
mod receipt;
mod run;
mod why;

pub use account::{ImageInspectArgs, LoginArgs, LogoutArgs, PushArgs, SearchArgs, TagArgs};
pub use images::{
    ImagesArgs, LoadArgs, LockArgs, PullArgs, RmiArgs, SaveArgs, SaveFormatArg, TrustArgs,
    VerifyArgs,
};
pub use learn::LearnArgs;
pub use policy::{
    PolicyCheckArgs, PolicyDiffArgs, PolicyImportArgs, PolicyInitArgs, PolicyShowArgs,
    PolicyTestArgs, PolicyTrustArgs,
};
pub use receipt::{ReceiptArgs, ReceiptVerb, ReceiptVerifyArgs};
pub use run::{ImageAndCommand, ProgramAndArgs, ResourceArgs, RunArgs, RunFlags, ToolArgs};
pub use why::WhyArgs;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Save images to an archive, standard output or a folder
    Save(SaveArgs),
    /// Fetch an image from its registry
    Pull(PullArgs),
    /// Send an image to its registry
    Push(PushArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Write down what images' names mean, or check what is written down
    Lock(LockArgs),
    /// Search docker.io, or the catalogue of a registry
    Search(SearchArgs),
    /// Log in to a registry
    Login(LoginArgs),
    /// Log out of a registry
    Logout(LogoutArgs),
    /// Check every byte of images against its digest
    Verify(VerifyArgs),
    /// Show who signed an image, and which rule lets it in
    Trust(TrustArgs),
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
    /// Check receipts of runs, and show the key that signs yours
    Receipt(ReceiptArgs),
    /// Tell what holds each promise on this machine, and what would mend it
    Doctor(DoctorArgs),
    /// Tell what a cell may, and by which rule
    Why(Box<WhyArgs>),
    /// Run a command, and write the smallest policy that covers what it did
    Learn(LearnArgs),
    /// Read a report of a run (run --report) back to people
    ExplainReport(ExplainReportArgs),
    /// Show the version
    Version(VersionArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Print a manual page
    Man(ManArgs),
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
    /// Save images to an archive, standard output or a folder
    Save(SaveArgs),
    /// Fetch an image from its registry
    Pull(PullArgs),
    /// Send an image to its registry
    Push(PushArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Remove images
    #[command(alias = "remove")]
    Rm(RmiArgs),
    /// Show what is known of images
    Inspect(ImageInspectArgs),
    /// Remove images that nothing refers to
    Prune(PruneArgs),
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
    /// Remove containers that do not run
    Prune(ContainerPruneArgs),
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
    /// Remove containers that do not run, and what nothing refers to
    Prune(PruneArgs),
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
    /// Turn the policy of podman and skopeo into one of lazaret's
    Import(PolicyImportArgs),
    /// Write a commented policy file of your own
    Init(PolicyInitArgs),
    /// Trust the policy of a project, as it stands
    Trust(PolicyTrustArgs),
}

/// `--format` of verbs that print for people or for programs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatArg {
    Text,
    Json,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PullArg {
    Missing,
    Always,
    Never,
}

/// `--verify`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum VerifyArg {
    Stat,
    Full,
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

/// Show what is known of containers
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

/// Remove containers that do not run
#[derive(Debug, Args)]
pub struct ContainerPruneArgs {
    /// until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// Remove what no name and no container refers to
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Also images that have names, where no container is made of them
    #[arg(short, long)]
    pub all: bool,
    /// until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// Show disk usage
#[derive(Debug, Args)]
pub struct DfArgs {
    /// Show each image and container
    #[arg(short, long, conflicts_with = "format")]
    pub verbose: bool,
    /// table, 'table TEMPLATE', json or TEMPLATE
    #[arg(long)]
    pub format: Option<String>,
}

/// Tell what holds each promise on this machine, and what would mend it
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Also speak to this registry, and tell what holds
    #[arg(long, value_name = "HOST[:PORT]")]
    pub registry: Option<String>,
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
}

/// Read a report of a run (run --report) back to people
#[derive(Debug, Args)]
pub struct ExplainReportArgs {
    /// What --report wrote; - is standard input
    #[arg(value_name = "FILE|-", allow_hyphen_values = true)]
    pub file: std::path::PathBuf,
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

/// Print a manual page
#[derive(Debug, Args)]
#[command(after_help = "Shown by man: lazaret man run | man -l -\n\
    lazaret-policy(5), the language of policies, is lazaret man policy.5")]
pub struct ManArgs {
    /// Write all pages to DIR/man1 and DIR/man5, for `man -M DIR`
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    pub dir: Option<std::path::PathBuf>,
    /// A verb, or policy.5; without it, lazaret's own
    #[arg(value_name = "PAGE")]
    pub page: Vec<String>,
}

/// The shells that have a completion script.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ShellArg {
    Bash,
    Zsh,
    Fish,
}
