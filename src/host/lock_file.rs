//! Where `lazaret.lock` lies, who may have written it, and how it is replaced.
//!
//! It is found beside the project's `lazaret.toml`, else in the current folder, and then counts only
//! if it is the caller's or root's: in a folder that others may write to (/tmp) somebody else's lock
//! would choose what runs. A file that is named is the caller's choice. Neither may be a link, nor be
//! writable for everybody.

use super::project;
use crate::error::{Context, Error, Kind, Result, strerror};
use crate::policy::MAX_LOCK;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "lazaret.lock";

/// The mode of a new lock: it is no secret, and is kept with a project.
const MODE: u32 = 0o644;

/// How long another process may take to write. Whoever may read a folder may lock it as well, a cell
/// that was given it too: nobody waits for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of a lock.
#[derive(Debug, Clone)]
pub struct LockFile {
    path: PathBuf,
    /// Nobody named it.
    found: bool,
}

impl LockFile {
    /// The one that is `named`, or the one that belongs to the folder `from`.
    pub fn place(named: Option<&Path>, from: &Path) -> Self {
        match named {
            Some(path) => Self {
                path: from.join(path),
                found: false,
            },
            None => Self {
                path: project::folder(from).unwrap_or(from).join(NAME),
                found: true,
            },
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes, at most one more than may be; `None` where there is none.
    ///
    /// # Errors
    /// `Policy`: it is a link or no regular file, it was found and is somebody else's, or everybody
    /// may write it; `Io`.
    pub fn read(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.open()?.map(|(_, bytes)| bytes))
    }

    /// The file's mode and bytes.
    fn open(&self) -> Result<Option<(u32, Vec<u8>)>> {
        let shown = self.path.display();
        let refused = |why: String| Error::new(Kind::Policy, format!("the lock {shown} {why}"));
        // A fifo must not make us wait for somebody to write.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(refused("is a link".to_owned())
                    .hint("put the file itself there, or name it with --lock-file"));
            }
            Err(errno) => {
                return Err(Error::call(
                    format!("open the lock {shown}"),
                    errno.raw_os_error(),
                ));
            }
        };
        let stat = rustix::fs::fstat(&file).or_call(|| format!("fstat {shown}"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused("is no regular file".to_owned()));
        }
        let me = rustix::process::geteuid().as_raw();
        if self.found && stat.st_uid != me && stat.st_uid != 0 {
            let owner = stat.st_uid;
            return Err(refused(format!(
                "belongs to user {owner}, who would choose what runs"
            ))
            .hint(format!("if that is meant: --lock-file {shown}")));
        }
        if stat.st_mode & 0o002 != 0 {
            let mode = stat.st_mode & 0o7777;
            return Err(
                refused(format!("may be written by everybody (mode {mode:04o})"))
                    .hint(format!("chmod o-w {shown}")),
            );
        }
        let mut bytes = Vec::new();
        file.take(MAX_LOCK as u64 + 1)
            .read_to_end(&mut bytes)
            .or_call(|| format!("read the lock {shown}"))?;
        Ok(Some((stat.st_mode & 0o777, bytes)))
    }

    /// Makes this process the only one that changes what lies in the lock's folder this way, until
    /// what is given back is dropped.
    ///
    /// # Errors
    /// `Busy`: somebody else has the folder for longer than they should; `Io`: there is none.
    pub fn alone(&self) -> Result<OwnedFd> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(folder, flags, Mode::empty())
            .or_call(|| format!("open {folder:?}"))?;
        let since = Instant::now();
        loop {
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(fd),
                Err(Errno::WOULDBLOCK) if since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::WOULDBLOCK) => {
                    let cause = format!("somebody else holds {folder:?} (flock)");
                    return Err(Error::new(Kind::Busy, cause)
                        .hint("wait for the other lazaret, or end what holds it: lslocks"));
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::call(
                        format!("flock {folder:?}"),
                        errno.raw_os_error(),
                    ));
                }
            }
        }
    }

    /// Puts a text in its place, whole or not at all, and keeps the file's mode. To be called
    /// [`alone`](Self::alone).
    ///
    /// # Errors
    /// As [`LockFile::read`]; `Io`: it cannot be written, and what was there is as it was.
    pub fn write(&self, text: &str) -> Result<()> {
        let mode = self.open()?.map_or(MODE, |(mode, _)| mode);
        project::write_beside(&self.path, text.as_bytes(), mode).map_err(|error| {
            match error.errno {
                Some(errno @ (libc::ENOSPC | libc::EDQUOT)) => {
                    let hint = format!("{}: the lock is as it was", strerror(errno));
                    error.hint(hint)
                }
                _ => error,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn scene(name: &str) -> PathBuf {
        let base = std::env::temp_dir().join(format!("lazaret-lock-{name}-{}", std::process::id()));
        fs::create_dir_all(base.join("a/b")).unwrap();
        base
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_lies_beside_the_project_or_here() {
        let base = scene("place");
        let here = base.join("a/b");
        let place = |named| LockFile::place(named, &here).path().to_owned();
        assert_eq!(place(None), here.join(NAME));
        assert_eq!(place(Some(Path::new("x.lock"))), here.join("x.lock"));
        assert_eq!(place(Some(Path::new("/x/y"))), Path::new("/x/y"));
        fs::write(base.join("lazaret.toml"), "").unwrap();
        assert_eq!(place(None), base.join(NAME));
        fs::write(base.join("a/lazaret.toml"), "").unwrap();
        assert_eq!(place(None), base.join("a").join(NAME));
        if rustix::process::geteuid().is_root() {
            // A stranger's file makes no project.
            std::os::unix::fs::chown(base.join("a/lazaret.toml"), Some(4321), None).unwrap();
            assert_eq!(place(None), base.join(NAME));
        }
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn whose_it_is_and_what_it_is_matter() {
        let base = scene("whose");
        let found = LockFile::place(None, &base);
        let named = LockFile::place(Some(Path::new(NAME)), &base);
        assert_eq!(found.read().unwrap(), None);
        found.write("one").unwrap();
        assert_eq!(found.read().unwrap().unwrap(), b"one");
        assert_eq!(mode(found.path()), MODE);
        let set =
            |mode| fs::set_permissions(found.path(), PermissionsExt::from_mode(mode)).unwrap();
        set(0o664);
        found.write("two").unwrap();
        assert_eq!(mode(found.path()), 0o664, "kept");
        set(0o646);
        for lock in [&found, &named] {
            assert!(lock.read().unwrap_err().cause.contains("everybody"));
            assert!(lock.write("three").is_err());
        }
        set(0o600);
        assert_eq!(named.read().unwrap().unwrap(), b"two");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(found.path(), Some(4321), None).unwrap();
            let error = found.read().unwrap_err();
            assert!(error.cause.contains("belongs to user 4321"), "{error}");
            assert!(error.hint.unwrap().contains("--lock-file"));
            named.read().unwrap();
        }
        fs::remove_file(found.path()).unwrap();
        fs::write(base.join("real"), "real").unwrap();
        symlink("real", found.path()).unwrap();
        for lock in [&found, &named] {
            assert!(lock.read().unwrap_err().cause.contains("is a link"));
            assert!(lock.write("x").is_err());
        }
        assert_eq!(fs::read(base.join("real")).unwrap(), b"real");
        fs::remove_file(found.path()).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let rw = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, found.path(), fifo, rw, 0).unwrap();
        assert!(found.read().unwrap_err().cause.contains("no regular file"));
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn of_two_writers_one_waits() {
        let base = scene("alone");
        let lock = LockFile::place(None, &base);
        let held = lock.alone().unwrap();
        let other = std::thread::spawn({
            let lock = lock.clone();
            move || {
                let _alone = lock.alone().unwrap();
                lock.read().unwrap()
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(!other.is_finished());
        lock.write("first").unwrap();
        drop(held);
        assert_eq!(other.join().unwrap().unwrap(), b"first");
        fs::remove_dir_all(&base).unwrap();
    }
}
