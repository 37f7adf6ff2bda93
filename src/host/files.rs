//! Reading small files of the system, with a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// More than any of these files has on a sane machine (LDAP sites have large /etc/subuid).
const MAX: u64 = 4 << 20;

/// The text of a file below `root`; `None` if it is not there or cannot be read. Bytes that are no
/// text are replaced: the parsers skip such lines.
pub(super) fn read(root: &Path, path: &str) -> Option<String> {
    let file = File::open(root.join(path.trim_start_matches('/'))).ok()?;
    // One read for what these files have on most machines, and one that finds the end.
    let mut bytes = Vec::with_capacity(8192);
    file.take(MAX).read_to_end(&mut bytes).ok()?;
    Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}
