//! The arguments of `why`.

use super::RunFlags;
use clap::Args;

/// Tell what a cell may, and by which rule
#[derive(Debug, Args)]
#[command(
    override_usage = "lazaret why [OPTIONS] QUESTION [--in IMAGE]",
    disable_help_flag = true,
    args_override_self = true,
    after_help = "QUESTION is a system call (mount, 165, socket(AF_PACKET), ioctl(TIOCSTI)), a\n\
        capability in capitals (NET_ADMIN), a path inside (/proc/kcore, /etc/passwd:rw),\n\
        a path of this machine (~/x, ./x), HOST:PORT, unix:/PATH or unix:@NAME.\n\
        Nothing runs. Exit code 0: yes, as things stand; 1: no."
)]
pub struct WhyArgs {
    /// A system call, capability, path, HOST:PORT or Unix socket
    #[arg(value_name = "QUESTION")]
    pub question: String,
    /// The image; without it, one that no rule names
    #[arg(long = "in", value_name = "IMAGE")]
    pub image: Option<String>,
    #[command(flatten)]
    pub flags: RunFlags,
}
