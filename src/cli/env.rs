//! `-e` and `--env-file`: docker's rules.

use crate::error::{Context, Error, Kind, Result};
use std::path::{Path, PathBuf};

/// An env file and a single line of it are at most this long, in bytes: a kernel takes no longer
/// environment.
const MAX: u64 = 6 << 20;

/// All variables asked for: those of the files first, then those of `-e`, so that the latter win.
/// A bare name takes its value over from `inherit`, and is left out where that has none.
///
/// # Errors
/// `Usage`: an empty name, NUL, a name with white space in a file; `Io`: a file cannot be read.
pub fn collect(
    files: &[PathBuf],
    flags: &[String],
    inherit: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for file in files {
        let bytes = read(file)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::new(
                Kind::Usage,
                format!("--env-file {file:?} is not UTF-8 text"),
            )
        })?;
        out.extend(parse_file(&text, file, inherit)?);
    }
    for flag in flags {
        let what = || format!("--env {flag:?}");
        out.extend(variable(flag, inherit).map_err(|e| e.context(what()))?);
    }
    Ok(out)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let opened = std::fs::File::open(file).or_call(|| format!("open {file:?}"))?;
    let mut bytes = Vec::new();
    let read = opened.take(MAX + 1).read_to_end(&mut bytes);
    read.or_call(|| format!("read {file:?}"))?;
    if bytes.len() as u64 > MAX {
        return Err(Error::new(
            Kind::Limit,
            format!("--env-file {file:?} is longer than {MAX} bytes"),
        ));
    }
    Ok(bytes)
}

/// docker's env files: `NAME=value`, a bare `NAME` inherits, `#` only at the start of a line,
/// leading white space of a line goes, everything after `=` stays as it is.
fn parse_file(
    text: &str,
    file: &Path,
    inherit: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = Vec::new();
    for (at, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let here = || format!("--env-file {file:?}, line {}", at + 1);
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.contains(char::is_whitespace) {
            let what = format!("variable {name:?} contains white space");
            return Err(Error::new(Kind::Usage, what).context(here()));
        }
        out.extend(variable(line, inherit).map_err(|e| e.context(here()))?);
    }
    Ok(out)
}

fn variable(
    text: &str,
    inherit: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>> {
    if text.contains('\0') {
        return Err(Error::new(Kind::Usage, "a variable cannot hold NUL"));
    }
    match text.split_once('=') {
        Some(("", _)) => Err(Error::new(Kind::Usage, "the variable has no name")),
        Some((name, value)) => Ok(Some((name.to_owned(), value.to_owned()))),
        None if text.is_empty() => Err(Error::new(Kind::Usage, "the variable has no name")),
        None => Ok(inherit(text).map(|value| (text.to_owned(), value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(name: &str) -> Option<String> {
        (name == "HERE").then(|| "from here".to_owned())
    }

    #[test]
    fn a_file_as_docker_reads_it() {
        let text = "\u{feff}# comment\nA=1\r\n  B= spaced # not a comment \n\nC=\"quoted\"\nHERE\nABSENT\nE=\nF=a=b\n";
        let got = parse_file(text, Path::new("f"), &here).unwrap();
        let want = [
            ("A", "1"),
            ("B", " spaced # not a comment "),
            ("C", "\"quoted\""),
            ("HERE", "from here"),
            ("E", ""),
            ("F", "a=b"),
        ];
        assert_eq!(got, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn hostile_lines_are_refused_with_their_place() {
        for text in ["=x", "ok=1\na b=c", "A=\0", "B\0=x"] {
            let error = parse_file(text, Path::new("f"), &here).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{text:?}");
            assert!(error.cause.contains("line"), "{}", error.cause);
        }
        for flag in ["", "=x", "A=\0", "\0"] {
            assert!(collect(&[], &[flag.to_owned()], &here).is_err(), "{flag:?}");
        }
    }

    #[test]
    fn flags_follow_files_and_bare_names_inherit() {
        let flags = [
            "X=1".to_owned(),
            "HERE".to_owned(),
            "ABSENT".to_owned(),
            "X=2".to_owned(),
        ];
        let got = collect(&[], &flags, &here).unwrap();
        let names: Vec<_> = got.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(names, ["X=1", "HERE=from here", "X=2"]);
        let missing = collect(&["/nonexistent/env".into()], &[], &here).unwrap_err();
        assert_eq!(missing.kind, Kind::Io);
    }
}
