//! Lists of calls by their names, in groups that each have a reason: `policies/syscalls/quiet.toml`
//! and `observed.toml`.

use super::Arch;
use crate::error::{Error, Kind, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: u32,
    #[serde(borrow, alias = "quiet", alias = "observe")]
    groups: Vec<Group<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group<'a> {
    names: &'a str,
    reason: &'a str,
    pointer: Option<u8>,
}

/// What a list says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Why it stands there.
    pub(super) reason: String,
    /// It is meant only where this argument is not 0.
    pub(super) pointer: Option<u8>,
}

/// Reads a list. `file` is what errors call it.
///
/// # Errors
/// `Malformed`: anything that is not understood, a group without a reason, a name in two groups.
pub(super) fn read(file: &str, text: &str) -> Result<BTreeMap<&'static str, Listed>> {
    let malformed = |cause: String| Error::new(Kind::Malformed, format!("{file}: {cause}"));
    let list: File<'_> = toml::from_str(text).map_err(|e| malformed(e.to_string()))?;
    if list.version != 1 {
        return Err(malformed(format!("version = {}", list.version)));
    }
    let mut listed = BTreeMap::new();
    for Group {
        names,
        reason,
        pointer,
    } in list.groups
    {
        if reason.trim().is_empty() {
            return Err(malformed(format!("a group without a reason: {names:?}")));
        }
        if pointer.is_some_and(|pointer| pointer > 5) {
            return Err(malformed(format!(
                "no call has so many arguments: {names:?}"
            )));
        }
        for name in names.split_ascii_whitespace() {
            let known = Arch::canonical(name)
                .ok_or_else(|| malformed(format!("no system call is called {name:?}")))?;
            let entry = Listed {
                reason: reason.to_owned(),
                pointer,
            };
            if listed.insert(known, entry).is_some() {
                return Err(malformed(format!("{name:?} stands in two groups")));
            }
        }
    }
    Ok(listed)
}
