//! The arguments of the verbs that speak for somebody to a registry, or to it about itself.

use clap::Args;

/// Log in to a registry
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The user's name
    #[arg(short, long, value_name = "USER")]
    pub username: Option<String>,
    /// Read the password from standard input, to its end
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// Speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// HOST[:PORT]; without it, docker.io
    #[arg(value_name = "REGISTRY")]
    pub registry: Option<String>,
}

/// Log out of a registry
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// HOST[:PORT]; without it, docker.io
    #[arg(value_name = "REGISTRY")]
    pub registry: Option<String>,
}

/// Send an image to its registry
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Print the name alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Send the image alone, without the signatures that are kept of it
    #[arg(long)]
    pub remove_signatures: bool,
    /// Speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// NAME[:TAG]
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Give an image another name
#[derive(Debug, Args)]
pub struct TagArgs {
    /// A name or an id
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// NAME[:TAG]
    #[arg(value_name = "TARGET")]
    pub target: String,
}

/// Search docker.io, or the catalogue of a registry
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// table, 'table TEMPLATE', json or TEMPLATE
    #[arg(long)]
    pub format: Option<String>,
    /// At most this many, up to 100
    #[arg(long, value_name = "N", default_value_t = 25, hide_default_value = true,
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub limit: u8,
    /// Show whole descriptions
    #[arg(long)]
    pub no_trunc: bool,
    /// Speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// A word; HOST[:PORT]/WORD asks that registry, and HOST[:PORT]/ for everything
    #[arg(value_name = "TERM")]
    pub term: String,
}

/// Show what is known of images
#[derive(Debug, Args)]
pub struct ImageInspectArgs {
    /// A template, or json
    #[arg(short, long)]
    pub format: Option<String>,
    /// Ask the registries, and keep nothing: no image, and not what a tag means there now
    #[arg(long)]
    pub remote: bool,
    /// With --remote: speak to this registry without TLS, if it has none; loopback may always
    #[arg(long, value_name = "HOST[:PORT]", requires = "remote")]
    pub insecure_registry: Vec<String>,
    /// With --remote: of an index, the image for this platform: linux/arm64
    #[arg(long, value_name = "OS/ARCH[/...]", requires = "remote")]
    pub platform: Option<String>,
    /// Names or ids; with --remote, names
    #[arg(value_name = "NAME|ID", required = true)]
    pub names: Vec<String>,
}

impl ImageInspectArgs {
    /// As `inspect --type image`.
    pub fn here(self) -> super::InspectArgs {
        super::InspectArgs {
            format: self.format,
            kind: Some(super::KindArg::Image),
            names: self.names,
        }
    }
}
