//! The policy of a project: `lazaret.toml` in the current folder or the nearest one above it.
//!
//! Whoever sends a project sends this file too, so it counts only once its reader has trusted it,
//! and only as long as it stays the same: what is remembered is its path and its digest, in
//! `trusted` beside the caller's own policy. As every level it can only take away from what the
//! levels around it allow.

use super::policy_files::{Text, user_file};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{Digest, quote};
use rustix::fs::{Mode, OFlags};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What the file is called.
const NAME: &str = "lazaret.toml";
/// Where trusted ones are written down, beside the user's policy.
const RECORD: &str = "trusted";
/// The mode of what is the caller's alone.
const PRIVATE: u32 = 0o600;

/// A project's policy file.
#[derive(Debug)]
pub struct ProjectFile {
    /// Where it is: its real path.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    text: Text,
}

impl ProjectFile {
    /// The nearest one at or above `from`; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, is a link, or is no regular file.
    pub fn find(from: &Path) -> Result<Option<Self>> {
        let mut places = from.ancestors().map(|folder| folder.join(NAME));
        let there = places.find(|path| rustix::fs::lstat(path).is_ok());
        there.map(Self::read).transpose()
    }

    /// The one at `path`.
    ///
    /// # Errors
    /// As [`ProjectFile::find`].
    pub fn read(path: PathBuf) -> Result<Self> {
        let text = Text::any(&path)?;
        Ok(Self {
            digest: Digest::of(text.file().bytes),
            path,
            text,
        })
    }

    /// Its text.
    pub(super) fn text(&self) -> &Text {
        &self.text
    }
}

/// The project's file that counts, and what a person should know of one that does not: the nearest
/// that is trusted. Whoever can put a file into a folder of the project, or above it (/tmp), neither
/// hides that one nor keeps anybody from running: other files are not even opened.
pub(super) fn trusted(from: &Path, user: Option<&Path>) -> Result<(Option<Text>, Vec<String>)> {
    let record = TrustRecord::beside(user)?;
    let mut notes = Vec::new();
    for path in from.ancestors().map(|folder| folder.join(NAME)) {
        // Most folders have none, and this is part of every launch.
        let stat = rustix::fs::lstat(&path);
        let shown = quote::plain(&path.to_string_lossy());
        match (record.known(&path), stat) {
            (None, Err(_)) => {}
            (None, Ok(stat)) if notes.is_empty() => notes.push(unused(&shown, stat.st_uid)),
            (None, Ok(_)) => {}
            // What it took away would come back.
            (Some(_), Err(errno)) => {
                let cause = format!("the project's policy {shown} that you trusted is gone");
                let cause = Error::call(cause, errno.raw_os_error()).kind(Kind::Policy);
                return Err(cause.hint(format!(
                    "put it back, or: lazaret policy trust --forget{}",
                    named(&path)
                )));
            }
            (Some(digest), Ok(_)) => {
                let in_command = named(&path);
                let found = ProjectFile::read(path)?;
                if found.digest == *digest {
                    return Ok((Some(found.text), notes));
                }
                let cause = format!("the project's policy {shown} is not the one that you trusted");
                return Err(Error::new(Kind::Policy, cause)
                    .hint(format!("read it, then: lazaret policy trust{in_command}")));
            }
        }
    }
    Ok((None, notes))
}

/// The folder of the nearest project at or above `from`. A file of somebody else, who may write into
/// a folder above (/tmp), makes none.
pub(super) fn folder(from: &Path) -> Option<&Path> {
    let me = rustix::process::geteuid().as_raw();
    from.ancestors().find(|folder| {
        let stat = rustix::fs::lstat(folder.join(NAME));
        stat.is_ok_and(|stat| stat.st_uid == 0 || stat.st_uid == me)
    })
}

/// A path behind a command that is pasted into a shell, and a space before it: whoever named its
/// folders words no command, and it is left out where it would have to be quoted.
pub fn named(path: &Path) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/+@:".contains(&b);
    let text = path.to_str().filter(|text| text.bytes().all(plain));
    text.map_or(String::new(), |text| format!(" {text}"))
}

/// What is said of a project's file that nobody has trusted. A stranger's is no invitation.
fn unused(shown: &str, owner: u32) -> String {
    match owner == 0 || owner == rustix::process::geteuid().as_raw() {
        true => format!("{shown} is not used: read it, then `lazaret policy trust`"),
        false => format!("{shown} is not used: it belongs to user {owner}"),
    }
}

/// Which project files the caller has trusted.
#[derive(Debug, Default)]
pub struct TrustRecord {
    file: Option<PathBuf>,
    /// Path and digest.
    known: Vec<(PathBuf, Digest)>,
}

impl TrustRecord {
    /// The caller's own.
    ///
    /// # Errors
    /// It cannot be read, is somebody else's, or is not understood.
    pub fn own() -> Result<Self> {
        Self::beside(user_file().as_deref())
    }

    fn beside(user: Option<&Path>) -> Result<Self> {
        let Some(file) = user.map(|user| user.with_file_name(RECORD)) else {
            return Ok(Self::default());
        };
        let owner = rustix::process::geteuid().as_raw();
        let damaged = || {
            Error::new(
                Kind::Malformed,
                format!("{}: not a record of trusted projects", file.display()),
            )
            .hint("remove it and trust the projects again")
        };
        let mut known = Vec::new();
        if let Some(text) = Text::read(&file, owner)? {
            let text = std::str::from_utf8(text.file().bytes).map_err(|_| damaged())?;
            for line in text.lines() {
                let (digest, path) = line.split_once(' ').ok_or_else(damaged)?;
                known.push((
                    PathBuf::from(path),
                    Digest::parse(digest).map_err(|_| damaged())?,
                ));
            }
        }
        Ok(Self {
            file: Some(file),
            known,
        })
    }

    /// The digest under which a path was trusted.
    pub fn known(&self, path: &Path) -> Option<&Digest> {
        let found = self.known.iter().find(|(known, _)| known == path);
        found.map(|(_, digest)| digest)
    }

    /// All of them: path and digest.
    pub fn all(&self) -> &[(PathBuf, Digest)] {
        &self.known
    }

    /// Trusts a file, or with `None` trusts it no longer, and writes it down.
    ///
    /// # Errors
    /// The record cannot be written; a path with a line break.
    pub fn set(&mut self, path: &Path, digest: Option<Digest>) -> Result<()> {
        let name = path.to_str().filter(|name| !name.contains('\n'));
        let Some(name) = name else {
            let cause = format!("{path:?} cannot be written down");
            return Err(Error::new(Kind::Unsupported, cause));
        };
        let file = self.file.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Usage,
                "there is no place to write down what is trusted",
            )
            .hint("set HOME or XDG_CONFIG_HOME")
        })?;
        self.known.retain(|(known, _)| known != Path::new(name));
        self.known
            .extend(digest.map(|digest| (PathBuf::from(name), digest)));
        let lines: String = self
            .known
            .iter()
            .map(|(path, digest)| format!("{digest} {}\n", path.display()))
            .collect();
        write_beside(file, lines.as_bytes(), PRIVATE)
    }
}

/// Writes a file of the caller's, with the folders above it; `false` if one is there and is not to
/// be replaced.
///
/// # Errors
/// It cannot be written.
pub fn write_new(file: &Path, bytes: &[u8], replace: bool) -> Result<bool> {
    if !replace && rustix::fs::lstat(file).is_ok() {
        return Ok(false);
    }
    put_beside(file, bytes, PRIVATE, replace)
}

/// Writes a file of the caller's beside its place, and moves it there when it is whole.
///
/// # Errors
/// It cannot be written; what was in its place is as it was.
pub(super) fn write_beside(file: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    put_beside(file, bytes, mode, true).map(drop)
}

/// As [`write_beside`]; `false` if a file came there meanwhile and is not to be replaced.
fn put_beside(file: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<bool> {
    // A file in the current folder is named without it.
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(folder)
        .or_call(|| format!("mkdir {folder:?}"))?;
    let new = file.with_extension(format!("new-{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(&new)
        .and_then(|mut out| {
            // Whatever the umask is.
            out.set_permissions(std::fs::Permissions::from_mode(mode))?;
            out.write_all(bytes)?;
            out.sync_all()
        })
        .and_then(|()| match replace {
            true => std::fs::rename(&new, file),
            // Of two at once one has it.
            false => std::fs::hard_link(&new, file),
        });
    if written.is_err() || !replace {
        let _gone_or_never_made = std::fs::remove_file(&new);
    }
    if matches!(&written, Err(e) if !replace && e.kind() == std::io::ErrorKind::AlreadyExists)
        && rustix::fs::lstat(file).is_ok()
    {
        return Ok(false);
    }
    written.or_call(|| format!("write {file:?}"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder_fd =
        rustix::fs::open(folder, flags, Mode::empty()).or_call(|| format!("open {folder:?}"))?;
    rustix::fs::fsync(&folder_fd).or_call(|| format!("fsync {folder:?}"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_counts_once_it_is_trusted_and_while_it_is_the_same() {
        let base = std::env::temp_dir().join(format!("lazaret-project-{}", std::process::id()));
        let below = base.join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let user = base.join("policy.toml");
        let look = || trusted(&below, Some(&user));
        assert!(look().unwrap().0.is_none() && look().unwrap().1.is_empty());
        let file = base.join("a").join(NAME);
        std::fs::write(&file, "version = 1\nextends = \"never\"\n").unwrap();
        let (none, notes) = look().unwrap();
        assert!(
            none.is_none() && notes[0].contains("lazaret policy trust"),
            "{notes:?}"
        );
        let found = ProjectFile::find(&below).unwrap().unwrap();
        let mut record = TrustRecord::beside(Some(&user)).unwrap();
        record.set(&found.path, Some(found.digest)).unwrap();
        assert!(look().unwrap().0.is_some());
        // Another file at its place is not what was trusted.
        std::fs::write(&file, "version = 1\nextends = \"strict\"\n").unwrap();
        assert_eq!(look().unwrap_err().kind, Kind::Policy);
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert!(look().is_err(), "a link is not what was trusted");
        record.set(&found.path, None).unwrap();
        assert!(look().unwrap().0.is_none());
        std::fs::write(base.join(RECORD), "what is this\n").unwrap();
        assert!(TrustRecord::beside(Some(&user)).is_err());
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn nobody_hides_what_is_trusted_nor_stops_a_run() {
        let base = std::env::temp_dir().join(format!("lazaret-hidden-{}", std::process::id()));
        let below = base.join("project/vendor/x");
        std::fs::create_dir_all(&below).unwrap();
        let user = base.join("policy.toml");
        let look = || trusted(&below, Some(&user));
        let text = "version = 1\nextends = \"never\"\n";
        let file = base.join("project").join(NAME);
        std::fs::write(&file, text).unwrap();
        let mut record = TrustRecord::beside(Some(&user)).unwrap();
        record
            .set(&file, Some(Digest::of(text.as_bytes())))
            .unwrap();
        let planted = base.join("project/vendor").join(NAME);
        let there = || {
            let (found, notes) = look().unwrap();
            assert!(found.is_some() && notes[0].contains("vendor"), "{notes:?}");
            std::fs::remove_file(&planted).unwrap();
        };
        std::fs::write(&planted, "what is this").unwrap();
        there();
        std::os::unix::fs::symlink("/etc/shadow", &planted).unwrap();
        there();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &planted, fifo, Mode::RUSR, 0).unwrap();
        there();
        if rustix::process::geteuid().is_root() {
            std::fs::write(&planted, text).unwrap();
            std::os::unix::fs::lchown(&planted, Some(4321), None).unwrap();
            let notes = look().unwrap().1;
            assert!(
                notes[0].contains("4321") && !notes[0].contains("trust"),
                "{notes:?}"
            );
        }
        std::fs::remove_file(&file).unwrap();
        let gone = look().unwrap_err();
        assert!(gone.hint.unwrap().contains("--forget"));
        record.set(&file, None).unwrap();
        assert!(look().unwrap().0.is_none());
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(named(Path::new("/a b;sh/lazaret.toml")), "");
        assert_eq!(named(Path::new("/a/lazaret.toml")), " /a/lazaret.toml");
    }
}
