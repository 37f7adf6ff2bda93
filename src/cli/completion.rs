//! `completion`: clap knows every flag, so clap writes the script.

use super::args::{Cli, ShellArg};
use crate::error::Result;
use crate::report;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Prints the script for `shell` on standard output.
///
/// # Errors
/// Standard output cannot be written.
pub fn completion(shell: ShellArg) -> Result<u8> {
    let shell = match shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "lazaret", &mut script);
    report::stdout(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
