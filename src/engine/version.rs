//! `lazaret version`.

use super::VersionRequest;
use crate::error::Result;
use crate::report;

/// Prints what this is, in docker's layout.
///
/// # Errors
/// `Usage`: a field that is not there; `Io`: standard output.
pub fn version(request: &VersionRequest) -> Result<u8> {
    let fields = [
        ("Version", "Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Os", "OS", std::env::consts::OS.to_owned()),
        ("Arch", "Arch", goarch().to_owned()),
        ("KernelVersion", "Kernel", kernel()),
    ];
    let text = match &request.format {
        Some(template) => {
            let object: serde_json::Map<_, _> = fields
                .iter()
                .map(|(field, _, value)| ((*field).to_owned(), value.clone().into()))
                .collect();
            // docker users ask for .Client.Version and .Server.Version; here both are this binary.
            let mut data = object.clone();
            data.insert("Client".to_owned(), object.clone().into());
            data.insert("Server".to_owned(), object.into());
            template.render(&data.into())? + "\n"
        }
        None => {
            let lines = fields.iter().map(|(_, label, value)| {
                let label = format!("{label}:");
                format!(" {label:<18}{}\n", report::clean(value))
            });
            format!("lazaret:\n{}", lines.collect::<String>())
        }
    };
    report::stdout(&text)?;
    Ok(0)
}

/// `lazaret --version`: one line.
///
/// # Errors
/// `Io`: standard output.
pub fn short() -> Result<u8> {
    report::stdout(concat!("lazaret version ", env!("CARGO_PKG_VERSION"), "\n"))?;
    Ok(0)
}

/// This machine in Go's words, which are the images' too.
fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}
