//! What `lazaret tool` takes of this machine: a program, found as a shell finds it, the folders that
//! programs are made of, and names below /etc.

use super::outside::{open_path, real, utf8_path_racy};
use crate::error::{Error, Kind, Result};
use crate::policy::matches;
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat};
use std::os::fd::AsFd;
use std::path::Path;

/// A program of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Absolute, as it was found: links are not followed. Without `..`, else the real path.
    pub found: String,
    /// Its real path.
    pub real: String,
}

/// Where PATH does not say (execvp(3), confstr(3)).
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Finds a program: a word without `/` in the folders of `PATH`, any other as the path that it is.
///
/// # Errors
/// `CommandNotFound`; `CommandNotExecutable`: a folder, or a file that the caller may not execute;
/// `Unsupported`: a name that is not UTF-8.
pub fn program(word: &str, cwd: &str) -> Result<Program> {
    let absolute = |path: &str| match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", cwd.trim_end_matches('/')),
    };
    let candidates: Vec<String> = match word.contains('/') {
        true => vec![absolute(word)],
        false => {
            let path = std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
            let folder = |folder: &str| match folder {
                "" => absolute(word),
                folder => absolute(&format!("{}/{word}", folder.trim_end_matches('/'))),
            };
            path.split(':').map(folder).collect()
        }
    };
    let mut there = None;
    for candidate in candidates.into_iter().filter(|_| !word.is_empty()) {
        let Ok(kind) = rustix::fs::stat(candidate.as_str()) else {
            continue;
        };
        let regular = FileType::from_raw_mode(kind.st_mode) == FileType::RegularFile;
        let may = accessat(CWD, candidate.as_str(), Access::EXEC_OK, AtFlags::EACCESS).is_ok();
        if !(regular && may) {
            there.get_or_insert((candidate, regular));
            continue;
        }
        let file = open_path(&candidate, "PROGRAM")?;
        let real = utf8_path_racy(file.as_fd(), "PROGRAM")?;
        return Ok(Program {
            found: plain(&candidate).unwrap_or_else(|| real.clone()),
            real,
        });
    }
    Err(match there {
        Some((path, true)) => Error::new(
            Kind::CommandNotExecutable,
            format!("{path:?} may not be executed"),
        )
        .hint("chmod +x makes a program of a file of yours"),
        Some((path, false)) => Error::new(
            Kind::CommandNotExecutable,
            format!("{path:?} is no regular file"),
        ),
        None if word.contains('/') => {
            Error::new(Kind::CommandNotFound, format!("there is no {word:?}"))
        }
        None => Error::new(
            Kind::CommandNotFound,
            format!("{word:?} is in no folder of PATH"),
        ),
    })
}

/// A path without `.` and empty parts; `None` where `..` is in it, which means what links say.
fn plain(path: &str) -> Option<String> {
    let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let mut out = String::with_capacity(path.len());
    parts.try_for_each(|part| {
        out.push('/');
        out.push_str(part);
        (part != "..").then_some(())
    })?;
    Some(out)
}

/// The real path of a file that is asked for.
///
/// # Errors
/// As `outside`.
pub fn real_path(path: &str, flag: &'static str) -> Result<String> {
    utf8_path_racy(open_path(path, flag)?.as_fd(), flag)
}

/// The current folder's real path.
///
/// # Errors
/// `Io`: it is gone or has no name.
pub fn current_folder() -> Result<String> {
    let inode = |path: &str| {
        let stat = rustix::fs::stat(path).ok();
        stat.map(|stat| (stat.st_dev, stat.st_ino))
    };
    real(".")
        .filter(|path| path.starts_with('/'))
        // "/x (deleted)", which may be the name of another folder (proc_pid_fd(5)).
        .filter(|path| inode(path) == inode("."))
        .ok_or_else(|| {
            Error::new(Kind::Io, "the current folder is gone or cannot be named")
                .hint("change to a folder that is there")
        })
}

/// Where programs and libraries lie (hier(7), and the multilib names of distributions).
const FOLDERS: &[&str] = &[
    "bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin", "usr",
];

/// How the root is laid out: the folders that programs and libraries lie in, and the links among
/// them (`("/bin", "usr/bin")`), each in order.
pub fn layout() -> (Vec<String>, Vec<(String, String)>) {
    let (mut folders, mut links) = (Vec::new(), Vec::new());
    let mut names: Vec<String> = std::fs::read_dir("/")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| FOLDERS.contains(&name.as_str()))
        .collect();
    names.sort();
    for path in names.iter().map(|name| format!("/{name}")) {
        match std::fs::symlink_metadata(&path) {
            Ok(stat) if stat.is_dir() => folders.push(path),
            Ok(stat) if stat.is_symlink() => {
                let target = std::fs::read_link(&path).ok();
                let target = target.and_then(|target| target.into_os_string().into_string().ok());
                links.extend(target.map(|target| (path, target)));
            }
            _ => {}
        }
    }
    (folders, links)
}

/// The names below /etc that fit the patterns and are there: files and folders of /etc or /usr. A
/// link that leads elsewhere is not followed for a tool.
pub fn etc(patterns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for pattern in patterns {
        let found = match pattern.contains('*') {
            true => glob(pattern),
            false => vec![pattern.clone()],
        };
        for name in found {
            let path = format!("/etc/{name}");
            let fits = Path::new(&path)
                .metadata()
                .is_ok_and(|stat| stat.is_file() || stat.is_dir())
                && real(&path)
                    .is_some_and(|path| path.starts_with("/etc/") || path.starts_with("/usr/"));
            if fits && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The names of one folder that fit; stars stand in the last part of a pattern only.
fn glob(pattern: &str) -> Vec<String> {
    let (folder, prefix) = match pattern.rsplit_once('/') {
        Some((folder, _)) => (format!("/etc/{folder}"), format!("{folder}/")),
        None => ("/etc".to_owned(), String::new()),
    };
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| format!("{prefix}{name}"))
        .filter(|name| matches(pattern, name))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let shell = program("sh", "/").unwrap();
        assert!(shell.found.ends_with("/sh") && shell.real.starts_with('/'));
        assert_eq!(program("./bin/../bin/sh", "/").unwrap().found, shell.real);
        assert_eq!(program("bin//./sh", "/").unwrap().found, "/bin/sh");
        for (word, kind) in [
            ("", Kind::CommandNotFound),
            ("no-such-program", Kind::CommandNotFound),
            ("/no/such", Kind::CommandNotFound),
            ("/etc", Kind::CommandNotExecutable),
            ("/etc/passwd", Kind::CommandNotExecutable),
            ("/dev/null", Kind::CommandNotExecutable),
        ] {
            assert_eq!(program(word, "/").unwrap_err().kind, kind, "{word}");
        }
    }

    #[test]
    fn the_root_has_usr_and_what_leads_there() {
        let (folders, links) = layout();
        assert!(folders.contains(&"/usr".to_owned()), "{folders:?}");
        let has = |name: &str| {
            folders.iter().any(|path| path == name) || links.iter().any(|(path, _)| path == name)
        };
        assert!(has("/bin") && has("/lib"), "{folders:?} {links:?}");
    }

    #[test]
    fn names_of_etc_are_those_that_are_there() {
        let names = etc(&["passwd".into(), "no-such-name".into(), "pass*d".into()]);
        assert_eq!(names, ["passwd"]);
        assert!(etc(&["*.no-such".into()]).is_empty());
    }
}
