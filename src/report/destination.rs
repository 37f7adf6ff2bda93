//! Where a report, a receipt or a saved image goes: standard output, or a file that is there whole or
//! not at all.
//!
//! The folder is opened and found writable before anything runs, and held. All is written to a
//! file without a name (O_TMPFILE, open(2)), which is given its name at the end: nothing is there
//! to be seen, filled or replaced by a command that may write to the folder, and nothing is left by
//! a lazaret that is killed. Whatever has the name by then, a link too, is replaced, not followed.

use super::out::stdout;
use crate::error::{Context, Error, Kind, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Where a report goes.
#[derive(Debug)]
pub struct Destination(Place);

#[derive(Debug)]
enum Place {
    Stdout,
    File(Target),
}

#[derive(Debug)]
struct Target {
    /// The flag that asks for it.
    flag: &'static str,
    /// As it was asked for.
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    /// `None`: the file system has no files without names.
    file: Option<File>,
}

const OWN: Mode = Mode::RUSR.union(Mode::WUSR);

impl Destination {
    /// Opens the folder of `path` and makes sure that a file can be made there; `-` is standard
    /// output. The file itself, mode 0600, is not there until [`Self::write`]. `flag` is what asked
    /// for it: `--report`.
    ///
    /// # Errors
    /// `Usage`: the path ends in no name, or names a link, a folder or a device; `Io`: the folder
    /// cannot be opened or written.
    pub fn open(flag: &'static str, path: &Path) -> Result<Self> {
        Ok(Self(match path.as_os_str() == "-" {
            true => Place::Stdout,
            false => Place::File(Target::open(flag, path, true)?),
        }))
    }

    /// Whether both are one place: the later would take the other's.
    ///
    /// # Errors
    /// `Io`: a call failed.
    pub fn is_same(&self, other: &Self) -> Result<bool> {
        let (a, b) = match (&self.0, &other.0) {
            (Place::File(a), Place::File(b)) => (a, b),
            (Place::Stdout, Place::Stdout) => return Ok(true),
            _ => return Ok(false),
        };
        let place = |target: &Target| {
            let stat = rustix::fs::fstat(&target.folder)
                .or_call(|| format!("{}: stat the folder of {:?}", target.flag, target.path))?;
            Ok((stat.st_dev, stat.st_ino))
        };
        Ok(a.name == b.name && place(a)? == place(b)?)
    }

    /// Takes away what an earlier run left there, so that nobody takes it for this one's, however this
    /// one ends.
    ///
    /// # Errors
    /// `Io`: it is somebody else's in a sticky folder, or another call failed.
    pub fn make_way(&self) -> Result<()> {
        let Place::File(target) = &self.0 else {
            return Ok(());
        };
        match rustix::fs::unlinkat(&target.folder, &target.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e)
                .or_call(|| format!("{}: remove the older {:?}", target.flag, target.path))
                .map_err(|e| e.hint("name another file")),
        }
    }

    /// Writes the whole text.
    ///
    /// # Errors
    /// `Io`: a call failed; what was there before is there still, unless it made way.
    pub fn write(self, text: &str) -> Result<()> {
        match self.0 {
            Place::Stdout => stdout(text),
            Place::File(target) => target.fill(|file, call| {
                let mut file = file;
                file.write_all(text.as_bytes()).or_call(|| call)
            }),
        }
    }

    /// Has `fill` write all of what goes there, piece by piece; it is told in what words a failed
    /// call is named. A file is in its place once `fill` has succeeded.
    ///
    /// # Errors
    /// `fill`'s; `Io`: a call failed; what was there before is there still, unless it made way.
    pub fn fill(self, fill: impl FnOnce(&File, &str) -> Result<()>) -> Result<()> {
        match self.0 {
            Place::Stdout => {
                let call = "write to standard output";
                let out = std::io::stdout().as_fd().try_clone_to_owned();
                fill(&File::from(out.or_call(|| call)?), call)
            }
            Place::File(target) => target.fill(fill),
        }
    }
}

impl Target {
    /// `nameless`: try a file without a name.
    fn open(flag: &'static str, path: &Path, nameless: bool) -> Result<Self> {
        let bytes = path.as_os_str().as_encoded_bytes();
        let name = match path.file_name() {
            Some(name) if !bytes.ends_with(b"/") && !bytes.ends_with(b"/.") => name.to_owned(),
            _ => {
                let cause = format!("{flag} {path:?} names no file");
                return Err(Error::new(Kind::Usage, cause)
                    .hint(format!("{flag} FILE, or - for standard output")));
            }
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(parent, flags, Mode::empty())
            .or_call(|| format!("{flag}: open {parent:?}"))?;
        match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => may_be_replaced(flag, path, &stat)?,
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e).or_call(|| format!("{flag}: stat {path:?}")),
        }
        let mut target = Self {
            flag,
            path: path.to_owned(),
            folder,
            name,
            file: None,
        };
        target.file = target.nameless(nameless)?;
        if target.file.is_none() {
            // That one can be made is known only by making one.
            let (name, _) = target.named()?;
            target.remove(&name)?;
        }
        Ok(target)
    }

    /// A file without a name; `None` where there are none (open(2), "O_TMPFILE").
    fn nameless(&self, wanted: bool) -> Result<Option<File>> {
        if !wanted {
            return Ok(None);
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.folder, ".", flags, OWN) {
            Ok(fd) => Ok(Some(fd.into())),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(e) => {
                Err(e).or_call(|| format!("{}: make a file beside {:?}", self.flag, self.path))
            }
        }
    }

    /// A new file under a name that nobody can guess.
    fn named(&self) -> Result<(OsString, File)> {
        let name = passing_name()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.folder, &name, flags, OWN)
            .or_call(|| format!("{}: make a file beside {:?}", self.flag, self.path))?;
        Ok((name, fd.into()))
    }

    fn remove(&self, name: &OsString) -> Result<()> {
        rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())
            .or_call(|| format!("{}: remove {name:?} beside {:?}", self.flag, self.path))
    }

    fn fill(mut self, fill: impl FnOnce(&File, &str) -> Result<()>) -> Result<()> {
        let call = format!(
            "write the {} {:?}",
            self.flag.trim_start_matches('-'),
            self.path
        );
        let passing = match self.file.take() {
            Some(file) => {
                fill(&file, &call)?;
                let from = format!("/proc/self/fd/{}", file.as_raw_fd());
                let link = |name: &OsString| {
                    let here = rustix::fs::CWD;
                    let follow = AtFlags::SYMLINK_FOLLOW;
                    rustix::fs::linkat(here, &from, &self.folder, name, follow)
                };
                match link(&self.name) {
                    Ok(()) => return Ok(()),
                    Err(Errno::EXIST) => {}
                    Err(e) => return Err(e).or_call(|| call.as_str()),
                }
                let passing = passing_name()?;
                link(&passing).or_call(|| call.as_str())?;
                passing
            }
            None => {
                let (name, file) = self.named()?;
                if let Err(e) = fill(&file, &call) {
                    return self.given_up(&name, e);
                }
                name
            }
        };
        let folder = &self.folder;
        match rustix::fs::renameat(folder, &passing, folder, &self.name) {
            Ok(()) => Ok(()),
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => self.exchange(&passing, call),
            Err(e) => self.given_up(&passing, Error::call(call, e.raw_os_error())),
        }
    }

    /// A folder that was put in the way, which nothing replaces, changes places with the file.
    fn exchange(&self, passing: &OsString, call: String) -> Result<()> {
        use rustix::fs::{RenameFlags, renameat_with};
        let (folder, flags) = (&self.folder, RenameFlags::EXCHANGE);
        match renameat_with(folder, passing, folder, &self.name, flags) {
            Ok(()) => {
                let was = self.path.with_file_name(passing);
                super::note(&format!(
                    "a folder stood in the place of {:?}; it is {was:?} now",
                    self.path
                ));
                Ok(())
            }
            // A file system that cannot do it.
            Err(e) => self.given_up(passing, Error::call(call, e.raw_os_error())),
        }
    }

    /// Leaves nothing half done; the first failure is the one to tell.
    fn given_up(&self, name: &OsString, error: Error) -> Result<()> {
        match self.remove(name) {
            Ok(()) => Err(error),
            Err(left) => Err(error.hint(left.cause)),
        }
    }
}

/// An older one is replaced. A link might be somebody else's, and what is no file is not
/// replaced by one: think of /dev/stdout, and of root.
fn may_be_replaced(flag: &str, path: &Path, stat: &Stat) -> Result<()> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Symlink => "a link",
        FileType::Directory => "a folder",
        _ => "no regular file",
    };
    let cause = format!("{flag} {path:?} is {what}");
    Err(Error::new(Kind::Usage, cause).hint(match what {
        "a link" => "name the file itself, or - for standard output",
        _ => "name a file that is a regular one or is not there yet, or - for standard output",
    }))
}

fn passing_name() -> Result<OsString> {
    let mut bytes = [0; 8];
    // 256 bytes or fewer are never cut short (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .or_call(|| "getrandom")?;
    Ok(format!(".lazaret-report-{:016x}", u64::from_ne_bytes(bytes)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn written(target: Target, text: &str) -> Result<()> {
        Destination(Place::File(target)).write(text)
    }

    fn folder(name: &str) -> PathBuf {
        let pid = std::process::id();
        let path = std::env::temp_dir().join(format!("lazaret-destination-{pid}-{name}"));
        std::fs::create_dir(&path).unwrap();
        path
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// With files that have no name and without, in turn.
    fn both(name: &str, test: impl Fn(&Path, bool)) {
        for nameless in [true, false] {
            let folder = folder(&format!("{name}-{nameless}"));
            test(&folder, nameless);
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        both("whole", |folder, nameless| {
            let path = folder.join("r.json");
            let target = Target::open("--report", &path, nameless).unwrap();
            assert_eq!(target.file.is_some(), nameless, "a file without a name");
            assert!(names(folder).is_empty(), "nothing is to be seen before");
            drop(target);
            assert!(names(folder).is_empty(), "and nothing stays");
            for text in ["one", "another"] {
                let target = Target::open("--report", &path, nameless).unwrap();
                written(target, text).unwrap();
                assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
                assert_eq!(names(folder), ["r.json"]);
                let mode = std::fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o600);
            }
        });
    }

    #[test]
    fn an_older_one_makes_way_and_nothing_else_does() {
        both("way", |folder, nameless| {
            let path = folder.join("r.json");
            let to = || {
                Destination(Place::File(
                    Target::open("--report", &path, nameless).unwrap(),
                ))
            };
            to().make_way().unwrap();
            std::fs::write(&path, "old").unwrap();
            std::fs::write(folder.join("other"), "mine").unwrap();
            let new = to();
            assert_eq!(names(folder), ["other", "r.json"]);
            new.make_way().unwrap();
            assert_eq!(names(folder), ["other"]);
            // Planted meanwhile: a link goes, what it names stays.
            symlink(folder.join("other"), &path).unwrap();
            new.make_way().unwrap();
            assert_eq!(names(folder), ["other"]);
            std::fs::create_dir(&path).unwrap();
            assert_eq!(new.make_way().unwrap_err().kind, Kind::Io);
            assert_eq!(names(folder), ["other", "r.json"]);
            std::fs::remove_dir(&path).unwrap();
            new.write("new").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
            assert_eq!(
                std::fs::read_to_string(folder.join("other")).unwrap(),
                "mine"
            );
        });
    }

    #[test]
    fn a_link_is_never_followed() {
        both("link", |folder, nameless| {
            let (path, victim) = (folder.join("r.json"), folder.join("victim"));
            std::fs::write(&victim, "mine").unwrap();
            symlink(&victim, &path).unwrap();
            let error = Target::open("--report", &path, nameless).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.cause.ends_with("is a link"), "{error}");
            std::fs::remove_file(&path).unwrap();
            // Planted while the command runs.
            let target = Target::open("--report", &path, nameless).unwrap();
            symlink(&victim, &path).unwrap();
            written(target, "report").unwrap();
            assert!(path.symlink_metadata().unwrap().is_file());
            assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "report");
        });
    }

    #[test]
    fn the_folder_is_the_one_that_was_opened() {
        both("folder", |folder, nameless| {
            let (old, new) = (folder.join("old"), folder.join("new"));
            std::fs::create_dir(&old).unwrap();
            let target = Target::open("--report", &old.join("r.json"), nameless).unwrap();
            std::fs::rename(&old, &new).unwrap();
            symlink("/", &old).unwrap();
            written(target, "report").unwrap();
            assert_eq!(names(&new), ["r.json"]);
        });
    }

    #[test]
    fn one_place_is_known_by_whatever_path() {
        both("same", |folder, _| {
            std::fs::create_dir(folder.join("a")).unwrap();
            symlink("a", folder.join("b")).unwrap();
            let open = |path: &str| Destination::open("--receipt", &folder.join(path)).unwrap();
            let stdout = || Destination::open("--report", Path::new("-")).unwrap();
            assert!(open("a/r").is_same(&open("a/r")).unwrap());
            assert!(open("a/r").is_same(&open("b/../a/./r")).unwrap());
            assert!(open("a/r").is_same(&open("b/r")).unwrap());
            assert!(!open("a/r").is_same(&open("a/s")).unwrap());
            assert!(!open("a/r").is_same(&open("r")).unwrap());
            assert!(!open("r").is_same(&stdout()).unwrap());
            assert!(stdout().is_same(&stdout()).unwrap());
        });
    }

    #[test]
    fn what_cannot_be_is_refused_before() {
        both("refused", |folder, nameless| {
            let kind = |path: &Path| Target::open("--report", path, nameless).unwrap_err().kind;
            assert_eq!(kind(folder), Kind::Usage);
            assert_eq!(kind(Path::new("/dev/null")), Kind::Usage);
            assert_eq!(kind(Path::new("..")), Kind::Usage);
            assert_eq!(kind(Path::new("")), Kind::Usage);
            assert_eq!(kind(&folder.join("r/")), Kind::Usage);
            assert_eq!(kind(&folder.join("none/r")), Kind::Io);
            assert_eq!(kind(Path::new("/proc/lazaret-report")), Kind::Io);
        });
    }

    #[test]
    fn a_folder_in_its_place_makes_room() {
        both("in-place", |folder, nameless| {
            let path = folder.join("r.json");
            let target = Target::open("--report", &path, nameless).unwrap();
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("in it"), "").unwrap();
            written(target, "report").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "report");
            let names = names(folder);
            assert_eq!(names.len(), 2, "{names:?}");
            assert!(folder.join(&names[0]).join("in it").exists(), "{names:?}");
        });
    }
}
