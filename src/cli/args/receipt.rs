//! The arguments of `receipt` and its verbs.

use super::FormatArg;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Check receipts of runs, and show the key that signs yours
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct ReceiptArgs {
    #[command(subcommand)]
    pub verb: ReceiptVerb,
}

/// What can be done with receipts.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum ReceiptVerb {
    /// Check who signed a receipt, and tell what it says
    Verify(ReceiptVerifyArgs),
    /// Print the public half of your key, and its fingerprint
    Key(ReceiptKeyArgs),
}

/// Check who signed a receipt, and tell what it says
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0: one of the keys signed it; 1: none did, or it is damaged.")]
pub struct ReceiptVerifyArgs {
    /// A public key to accept, instead of your own
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Only if it is about this image; a digest is the manifest's
    #[arg(long, value_name = "NAME|DIGEST")]
    pub image: Option<String>,
    /// How it is printed
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    pub format: Option<FormatArg>,
    /// The receipt; - is standard input
    #[arg(value_name = "FILE|-", allow_hyphen_values = true)]
    pub file: PathBuf,
}

/// Print the public half of your key, and its fingerprint
#[derive(Debug, Args)]
pub struct ReceiptKeyArgs {}
