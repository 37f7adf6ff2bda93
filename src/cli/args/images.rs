//! The arguments of the verbs about images.

use super::{FormatArg, PullArg};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

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

/// Save images to an archive, standard output or a folder
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret save [-o FILE] IMAGE...\n       lazaret save --format oci-dir -o DIR IMAGE...",
    after_help = "What docker, podman, skopeo and `lazaret load` read. Signatures that are kept of an\n\
        image go along."
)]
pub struct SaveArgs {
    /// Write to this file, or into this new folder, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// oci-archive, which docker reads too, or oci-dir
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "oci-archive",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub format: SaveFormatArg,
    /// Save the images alone, without the signatures that are kept of them
    #[arg(long)]
    pub remove_signatures: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
}

/// As what images are saved.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SaveFormatArg {
    OciArchive,
    OciDir,
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
    /// Fetch the image for another platform: linux/arm64, linux/arm/v7
    #[arg(long, value_name = "OS/ARCH[/...]")]
    pub platform: Option<String>,
    /// Fetch what lazaret.lock says, and nothing else
    #[arg(long, conflicts_with = "accept")]
    pub locked: bool,
    /// The lock, in the place of the project's lazaret.lock
    #[arg(long, value_name = "FILE", requires = "locked")]
    pub lock_file: Option<PathBuf>,
    /// Speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// NAME[:TAG][@DIGEST]
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Write down what images' names mean, or check what is written down
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret lock [OPTIONS] [IMAGE...]",
    after_help = "Without IMAGE, every entry is held against the store and the policy, and nobody is\n\
        spoken to; the exit code is 1 if something differs. lazaret.lock lies beside the\n\
        project's lazaret.toml, else in the current folder."
)]
pub struct LockArgs {
    /// Write down anew what is locked already, and what its registry says now
    #[arg(long, requires = "images")]
    pub update: bool,
    /// Lock the image for this platform: linux/arm64, linux/arm/v7
    #[arg(long, value_name = "OS/ARCH[/...]", requires = "images")]
    pub platform: Option<String>,
    /// When to fetch: missing, always or never; with --update, always
    #[arg(
        long,
        value_name = "WHEN",
        hide_possible_values = true,
        requires = "images"
    )]
    pub pull: Option<PullArg>,
    /// Use this profile of the policy: strict, compat, or one of your own
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The lock, in the place of the project's lazaret.lock
    #[arg(long, value_name = "FILE")]
    pub lock_file: Option<PathBuf>,
    /// Print nothing of a fetch
    #[arg(short, long, requires = "images")]
    pub quiet: bool,
    /// Speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]", requires = "images")]
    pub insecure_registry: Vec<String>,
    /// Registries' names: NAME[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
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
    /// Show each image's layers, and with whom it shares them
    #[arg(long, conflicts_with_all = ["quiet", "format", "digests", "no_trunc"])]
    pub tree: bool,
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

/// Show who signed an image, and which rule lets it in
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Ask the image's registry for what it has now; no layer is fetched
    #[arg(long)]
    pub fetch: bool,
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// Speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]", requires = "fetch")]
    pub insecure_registry: Vec<String>,
    /// A name or an id
    #[arg(value_name = "IMAGE")]
    pub image: String,
}
