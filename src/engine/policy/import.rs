//! `lazaret policy import`: what containers' programs obey, as a policy of lazaret's.

use crate::engine::request::PolicyImportRequest;
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::policy::import::{KeyFiles, PolicyJson, Registries, import as made};
use crate::policy::{PolicyFile, problems};
use crate::report::{self, clean};
use std::path::Path;

/// Writes what a policy.json and a registries.d say as a policy file, to standard output or a new file.
/// What is good to know and what could not be said go to standard error, a line each. Exit code 0 if
/// everything was said, 1 if something was rejected or left out instead.
///
/// # Errors
/// A file that is not there or is not understood, which containers' programs would not take either;
/// `Usage`: the file to write is there already; `Io`: it cannot be written.
pub fn import(request: &PolicyImportRequest) -> Result<u8> {
    let found = host::containers(request.policy.as_deref(), request.registries.as_deref())?;
    let (name, bytes) = &found.policy;
    let policy = PolicyJson::parse(name, bytes)?;
    let registries = Registries::parse(&found.registries)?;
    let keys: KeyFiles = policy
        .key_paths()
        .into_iter()
        .filter(|path| path.starts_with('/'))
        .map(|path| {
            let read = host::key_file(Path::new(path)).map_err(|error| error.cause);
            (path.to_owned(), read)
        })
        .collect();
    let imported = made(&policy, &registries, &keys)?;
    let file = PolicyFile {
        name: "what comes out of it",
        bytes: imported.toml.as_bytes(),
        builtin: false,
    };
    if let Some(problem) = problems(&file, host::today()).first() {
        let cause = format!("{name}: no policy comes out of it: {}", problem.cause);
        return Err(Error::new(Kind::Unsupported, cause));
    }
    match &request.out {
        None => report::stdout(&imported.toml)?,
        Some(path) => {
            if !host::write_new(path, imported.toml.as_bytes(), false)? {
                let cause = format!("{} is there already", path.display());
                let hint = "name another file, or move this one away";
                return Err(Error::new(Kind::Usage, cause).hint(hint));
            }
            report::stdout(&format!("{}\n", clean(&path.to_string_lossy())))?;
        }
    }
    imported.notes.iter().for_each(|note| report::note(note));
    for line in &imported.unmapped {
        report::note(&format!("not mapped: {line}"));
    }
    Ok(u8::from(!imported.unmapped.is_empty()))
}
