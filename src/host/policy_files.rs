//! The policy files of this machine: found, checked for their owner, read and put together.

use super::project::{self, ProjectFile};
use crate::error::{Error, Kind, Result};
use crate::policy::{Composed, MAX_FILE, Policy, PolicyFile, Sources, Wanted};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const SYSTEM: &str = "/etc/lazaret/policy.toml";

/// The policy in force and what a person should know of where it comes from.
#[derive(Debug)]
pub struct InForce {
    /// The policy.
    pub policy: Policy,
    /// A line each: a project's file that is not used.
    pub notes: Vec<String>,
}

/// Where policies lie.
#[derive(Debug, Clone)]
pub struct Places {
    /// The administrator's file.
    pub system: PathBuf,
    /// The caller's own; `None` where nobody has a home.
    pub user: Option<PathBuf>,
    /// The folder from where a project's file is looked for, upward; `None`: nowhere.
    pub project: Option<PathBuf>,
}

impl Places {
    /// Those of this process: /etc/lazaret, `$XDG_CONFIG_HOME/lazaret` or `~/.config/lazaret`, and
    /// the current folder.
    pub fn own() -> Self {
        Self {
            system: SYSTEM.into(),
            user: user_file(),
            project: std::env::current_dir().ok(),
        }
    }
}

/// The policy in force: what is built in, /etc/lazaret/policy.toml, the caller's own
/// `$XDG_CONFIG_HOME/lazaret/policy.toml` (`~/.config/lazaret/policy.toml`), and the `lazaret.toml`
/// of the project around the current folder, if the caller has trusted it. `profile` is what the
/// caller's level extends instead of what its file says.
///
/// # Errors
/// A file that is there and cannot be read, is somebody else's, can be written by others, is a
/// link, or is not understood; a trusted project's file that is another by now. A file that is
/// there is never passed over.
pub fn policy(profile: Option<&str>) -> Result<InForce> {
    policy_from(&Places::own(), profile)
}

/// As [`policy`], with the places given.
///
/// # Errors
/// As [`policy`].
pub fn policy_from(places: &Places, profile: Option<&str>) -> Result<InForce> {
    let (project, notes) = match &places.project {
        Some(from) => project::trusted(from, places.user.as_deref())?,
        None => (None, Vec::new()),
    };
    let policy = put_together(places, project.as_ref(), profile, Vec::new())?;
    Ok(InForce { policy, notes })
}

/// As [`policy_from`] with the profile `name`, whose text is `text`: to see what it would decide where it
/// were one of the caller's own.
///
/// # Errors
/// As [`policy`].
pub fn policy_under(places: &Places, name: &str, text: &str) -> Result<InForce> {
    let (project, notes) = match &places.project {
        Some(from) => project::trusted(from, places.user.as_deref())?,
        None => (None, Vec::new()),
    };
    let own = Text {
        name: format!("{name}.toml"),
        bytes: text.as_bytes().to_vec(),
    };
    let wanted = Wanted {
        system: false,
        name: name.to_owned(),
        said_by: "--profile".to_owned(),
    };
    let policy = put_together(places, project.as_ref(), Some(name), vec![(wanted, own)])?;
    Ok(InForce { policy, notes })
}

/// As [`policy_from`], with a project's policy that nobody has trusted yet: to be looked at.
///
/// # Errors
/// As [`policy`].
pub fn policy_with(places: &Places, project: &ProjectFile) -> Result<Policy> {
    put_together(places, Some(project.text()), None, Vec::new())
}

fn put_together(
    places: &Places,
    project: Option<&Text>,
    profile: Option<&str>,
    mut profiles: Vec<(Wanted, Text)>,
) -> Result<Policy> {
    let uid = rustix::process::geteuid().as_raw();
    let system = Text::read(&places.system, 0)?;
    let user = match &places.user {
        Some(path) => Text::read(path, uid)?,
        None => None,
    };
    let user_name = match &places.user {
        Some(path) => path.to_string_lossy().into_owned(),
        None => "your policy.toml".to_owned(),
    };
    // Only rules of files end.
    let today = match (&system, &user, project, profile) {
        (None, None, None, None) => (1970, 1, 1),
        _ => today(),
    };
    let mut beside: Vec<(String, Vec<u8>)> = Vec::new();
    loop {
        let read: Vec<_> = profiles
            .iter()
            .map(|(w, t)| (w.clone(), t.file()))
            .collect();
        let sources = Sources {
            system: system.as_ref().map(Text::file),
            user: user.as_ref().map(Text::file),
            project: project.map(Text::file),
            profile,
            profiles: &read,
            beside: &beside,
            user_file: &user_name,
            today,
        };
        let wanted = match Policy::compose(&sources)? {
            Composed::Policy(policy) => return Ok(policy),
            Composed::Needs(wanted) => wanted,
            Composed::NeedsFile(wanted) => {
                // Who may write a key decides what is signed by it.
                let owner = if wanted.system { 0 } else { uid };
                let bytes = self::read(Path::new(&wanted.path), Some(owner))?;
                beside.push((
                    wanted.path.clone(),
                    bytes.ok_or_else(|| wanted.not_there())?,
                ));
                continue;
            }
        };
        // Each is read once; a circle is an error of compose.
        let (beside, owner) = match wanted.system {
            true => (Some(&places.system), 0),
            false => (places.user.as_ref(), uid),
        };
        let path = beside.and_then(|file| file.parent()).map(|folder| {
            folder
                .join("profiles")
                .join(format!("{}.toml", wanted.name))
        });
        let text = match &path {
            Some(path) => Text::read(path, owner)?,
            None => None,
        };
        profiles.push((wanted.clone(), text.ok_or_else(|| wanted.not_there())?));
    }
}

/// A policy file's name and bytes.
#[derive(Debug)]
pub struct Text {
    name: String,
    bytes: Vec<u8>,
}

impl Text {
    /// What a policy is put together from.
    pub fn file(&self) -> PolicyFile<'_> {
        PolicyFile {
            name: &self.name,
            bytes: &self.bytes,
            builtin: false,
        }
    }

    /// The policy file at `path`, that only `owner` and root can have written; `None` if there is
    /// none.
    pub(super) fn read(path: &Path, owner: u32) -> Result<Option<Self>> {
        let bytes = read(path, Some(owner))?;
        Ok(bytes.map(|bytes| Self {
            name: path.to_string_lossy().into_owned(),
            bytes,
        }))
    }

    /// Any file, whoever may write it: to be looked at, not to be obeyed.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is no regular file.
    pub fn any(path: &Path) -> Result<Self> {
        let bytes = read(path, None)?.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("there is no file {}", path.display()),
            )
        })?;
        Ok(Self {
            name: path.to_string_lossy().into_owned(),
            bytes,
        })
    }
}

/// The bytes of a key that a rule of the caller's may name: who else may write it decides what is
/// signed by it.
///
/// # Errors
/// As [`policy`] has for the files that rules name.
pub fn key_file(path: &Path) -> Result<Vec<u8>> {
    let uid = rustix::process::geteuid().as_raw();
    read(path, Some(uid))?.ok_or_else(|| {
        let cause = format!("there is no file {}", path.display());
        Error::new(Kind::NotFound, cause)
    })
}

/// Where the caller's policy file is or would be. Relative values do not count (XDG base directory
/// specification).
pub(super) fn user_file() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(config.join("lazaret/policy.toml"))
}

/// The folder of the caller's policy file.
pub(super) fn policy_folder() -> Option<PathBuf> {
    user_file()?.parent().map(Path::to_owned)
}

/// The folder of the administrator's policy file.
pub(super) fn system_folder() -> Option<PathBuf> {
    Path::new(SYSTEM).parent().map(Path::to_owned)
}

/// The bytes of a policy file that only `owner`, if one is named, and root can have written; `None`
/// if there is none.
fn read(path: &Path, owner: Option<u32>) -> Result<Option<Vec<u8>>> {
    // A file in the current folder is named without it.
    let folder = path
        .parent()
        .map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        });
    let (Some(folder), Some(name)) = (folder, path.file_name()) else {
        return Err(Error::new(
            Kind::Usage,
            format!("{} is no file", path.display()),
        ));
    };
    let call = |what: &str, errno: Errno| {
        // One that cannot be read might forbid what is asked.
        Error::call(format!("open policy {what}"), errno.raw_os_error()).hint(match errno {
            Errno::ACCESS => format!("chmod u+r {what}"),
            _ => "a policy that cannot be read might forbid this; make it readable or remove it"
                .to_owned(),
        })
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder_fd = match rustix::fs::open(folder, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(call(&folder.to_string_lossy(), errno)),
    };
    // A fifo must not make us wait for somebody to write.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::openat(&folder_fd, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(
                Error::new(Kind::Policy, format!("policy {} is a link", path.display()))
                    .hint("put the file itself there: who may change a link decides what it says"),
            );
        }
        Err(errno) => return Err(call(&path.to_string_lossy(), errno)),
    };
    let of_folder =
        rustix::fs::fstat(&folder_fd).map_err(|e| call(&folder.to_string_lossy(), e))?;
    let of_file = rustix::fs::fstat(&file).map_err(|e| call(&path.to_string_lossy(), e))?;
    if FileType::from_raw_mode(of_file.st_mode) != FileType::RegularFile {
        return Err(Error::new(
            Kind::Policy,
            format!("policy {} is no regular file", path.display()),
        ));
    }
    if let Some(owner) = owner {
        only_of(folder, &of_folder, owner)?;
        only_of(path, &of_file, owner)?;
    }
    // One byte more than may be: the parser says that it is too much.
    let mut bytes = Vec::with_capacity(4096);
    file.take(MAX_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(format!("read policy {}", path.display()), &e))?;
    Ok(Some(bytes))
}

fn only_of(path: &Path, stat: &Stat, owner: u32) -> Result<()> {
    let shown = path.display();
    if stat.st_uid != owner && stat.st_uid != 0 {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "policy: {shown} belongs to user {}, who would decide what may run",
                stat.st_uid
            ),
        )
        .hint(format!("chown {owner} {shown}")));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(Error::new(
            Kind::Policy,
            format!(
                "policy: others may write {shown} (mode {:04o})",
                stat.st_mode & 0o7777
            ),
        )
        .hint(format!("chmod go-w {shown}")));
    }
    Ok(())
}

/// Today in UTC: year, month, day.
pub fn today() -> (u16, u8, u8) {
    let date = jiff::tz::Offset::UTC
        .to_datetime(jiff::Timestamp::now())
        .date();
    (
        u16::try_from(date.year()).unwrap_or(0),
        u8::try_from(date.month()).unwrap_or(1),
        u8::try_from(date.day()).unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("lazaret-policy-{name}-{}", std::process::id()));
            let _absent = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("policy.toml")
        }

        fn write(&self, text: &str, mode: u32) {
            fs::write(self.file(), text).unwrap();
            fs::set_permissions(self.file(), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn cause(&self) -> String {
            policy_from(&places(Some(&self.file())), None)
                .unwrap_err()
                .cause
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn places(user: Option<&Path>) -> Places {
        Places {
            system: "/nonexistent/policy.toml".into(),
            user: user.map(Path::to_owned),
            project: None,
        }
    }

    const GOOD: &str = "version = 1\nextends = \"strict\"\n";

    #[test]
    fn a_file_that_is_there_counts() {
        policy_from(&places(None), None).unwrap();
        let folder = Folder::new("counts");
        policy_from(&places(Some(&folder.file())), None).unwrap();
        folder.write(GOOD, 0o644);
        policy_from(&places(Some(&folder.file())), None).unwrap();
        folder.write("version = 1\n", 0o644);
        assert!(folder.cause().contains("extends"));
        folder.write(&" ".repeat(MAX_FILE + 1), 0o644);
        assert!(folder.cause().contains("more than"));
    }

    #[test]
    fn who_may_write_it_matters() {
        let folder = Folder::new("owner");
        folder.write(GOOD, 0o664);
        assert!(
            folder.cause().contains("others may write"),
            "{}",
            folder.cause()
        );
        folder.write(GOOD, 0o646);
        assert!(folder.cause().contains("0646"));
        folder.write(GOOD, 0o600);
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(folder.cause().contains("others may write"));
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        policy_from(&places(Some(&folder.file())), None).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(folder.file(), Some(4321), None).unwrap();
            assert!(folder.cause().contains("belongs to user 4321"));
        }
    }

    #[test]
    fn links_fifos_and_folders_are_refused() {
        let folder = Folder::new("kinds");
        fs::write(folder.0.join("real.toml"), GOOD).unwrap();
        symlink("real.toml", folder.file()).unwrap();
        assert!(folder.cause().contains("is a link"));
        fs::remove_file(folder.file()).unwrap();
        symlink("nowhere", folder.file()).unwrap();
        assert!(
            folder.cause().contains("is a link"),
            "a dangling link is there"
        );
        fs::remove_file(folder.file()).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.file(),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(folder.cause().contains("no regular file"));
        fs::remove_file(folder.file()).unwrap();
        fs::create_dir(folder.file()).unwrap();
        assert!(folder.cause().contains("no regular file"));
    }

    #[test]
    fn days() {
        let (year, month, day) = super::today();
        assert!(year >= 2025 && (1..=12).contains(&month) && (1..=31).contains(&day));
    }
}
