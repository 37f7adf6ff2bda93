//! The policy files of this machine: found, checked for their owner, read and put together.

use crate::error::{Error, Kind, Result};
use crate::policy::{MAX_FILE, Policy, PolicyFile};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const SYSTEM: &str = "/etc/lazaret/policy.toml";

/// The policy in force: what is built in, /etc/lazaret/policy.toml, and the caller's own
/// `$XDG_CONFIG_HOME/lazaret/policy.toml` (`~/.config/lazaret/policy.toml`).
///
/// Errors: a file that is there and cannot be read, is somebody else's, can be written by others,
/// is a link, or is not understood. A file that is there is never passed over.
pub fn policy() -> Result<Policy> {
    policy_from(Path::new(SYSTEM), user_file().as_deref())
}

/// As [`policy`], with the places given; the user's is `None` where nobody has a home.
pub fn policy_from(system: &Path, user: Option<&Path>) -> Result<Policy> {
    let uid = rustix::process::geteuid().as_raw();
    let system_text = read(system, 0)?;
    let user_text = user.map(|path| read(path, uid)).transpose()?.flatten();
    let (system_name, user_name) = (
        system.to_string_lossy(),
        user.map_or("your policy.toml".into(), Path::to_string_lossy),
    );
    let system_file = system_text.as_ref().map(|bytes| PolicyFile {
        name: &system_name,
        bytes,
        builtin: false,
    });
    let user_file = user_text.as_ref().map(|bytes| PolicyFile {
        name: &user_name,
        bytes,
        builtin: false,
    });
    // Only rules of files end.
    let today = match (&system_file, &user_file) {
        (None, None) => (1970, 1, 1),
        _ => today(),
    };
    Policy::compose(system_file.as_ref(), user_file.as_ref(), &user_name, today)
}

/// Where the caller's policy file is or would be. Relative values do not count (XDG base directory
/// specification).
fn user_file() -> Option<PathBuf> {
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

/// The bytes of a policy file that only `owner` and root can have written; `None` if there is none.
fn read(path: &Path, owner: u32) -> Result<Option<Vec<u8>>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(
            Kind::Usage,
            format!("{} is no file", path.display()),
        ));
    };
    let call = |what: &str, errno: Errno| {
        Error::call(format!("open policy {what}"), errno.raw_os_error())
            .hint("a policy that cannot be read might forbid this; make it readable or remove it")
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
    only_of(folder, &of_folder, owner)?;
    only_of(path, &of_file, owner)?;
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
fn today() -> (u16, u8, u8) {
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
            policy_from(Path::new("/nonexistent/policy.toml"), Some(&self.file()))
                .unwrap_err()
                .cause
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const GOOD: &str = "version = 1\nextends = \"strict\"\n";

    #[test]
    fn a_file_that_is_there_counts() {
        let none = Path::new("/nonexistent/policy.toml");
        policy_from(none, None).unwrap();
        let folder = Folder::new("counts");
        policy_from(none, Some(&folder.file())).unwrap();
        folder.write(GOOD, 0o644);
        policy_from(none, Some(&folder.file())).unwrap();
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
        policy_from(Path::new("/nonexistent/p"), Some(&folder.file())).unwrap();
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
        let (year, month, day) = today();
        assert!(year >= 2025 && (1..=12).contains(&month) && (1..=31).contains(&day));
    }
}
