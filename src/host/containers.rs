//! Where containers' programs (podman, skopeo, buildah) keep their policy: policy.json and
//! registries.d (containers-policy.json(5), containers-registries.d(5)), to be looked at and not obeyed.

use crate::error::{Error, Kind, Result};
use crate::policy::MAX_FILE;
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most files of a registries.d.
const MAX_FILES: usize = 1000;

/// A file by its name and bytes.
pub type Named = (String, Vec<u8>);

/// What containers' programs would read.
#[derive(Debug)]
pub struct Containers {
    /// Their policy.json.
    pub policy: Named,
    /// The files of their registries.d, by name.
    pub registries: Vec<Named>,
}

/// Reads a policy.json and a registries.d; those that are not named where their manuals say:
/// `~/.config/containers`, else /etc/containers.
///
/// # Errors
/// `NotFound`: what is named is not there, or there is no policy.json; `Limit`: more than an honest one
/// has; `Io`: it cannot be read.
pub fn containers(policy: Option<&Path>, registries: Option<&Path>) -> Result<Containers> {
    let policy = match policy {
        Some(path) => path.to_owned(),
        None => place("policy.json").ok_or_else(|| {
            let cause = "there is no policy.json in ~/.config/containers or /etc/containers";
            Error::new(Kind::NotFound, cause).hint("--policy FILE names it")
        })?,
    };
    let registries = match registries {
        Some(folder) => Some(folder.to_owned()),
        None => place("registries.d"),
    };
    Ok(Containers {
        policy: read(&policy)?,
        registries: registries.map_or(Ok(Vec::new()), |folder| all(&folder))?,
    })
}

/// The first of the two that is there, whatever it is: a broken one is no reason to take the other.
fn place(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|home| home.is_absolute());
    let own = home.map(|home| home.join(".config/containers"));
    let places = own.into_iter().chain([PathBuf::from("/etc/containers")]);
    let mut places = places.map(|folder| folder.join(name));
    places.find(|path| rustix::fs::lstat(path).is_ok())
}

/// The files `*.yaml` of a folder, in the order of their names.
fn all(folder: &Path) -> Result<Vec<Named>> {
    let failed = |e: std::io::Error| {
        let error = Error::io(format!("read folder {}", folder.display()), &e);
        match e.kind() {
            std::io::ErrorKind::NotFound => error.kind(Kind::NotFound),
            _ => error,
        }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(b".yaml") {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            let cause = format!("{}: more than {MAX_FILES} files", folder.display());
            return Err(Error::new(Kind::Limit, cause));
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Named> {
    let name = path.to_string_lossy().into_owned();
    // A fifo must not make us wait for somebody to write. Links are followed, as containers' programs do.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        let error = Error::call(format!("open {name}"), errno.raw_os_error());
        match errno {
            rustix::io::Errno::NOENT => error.kind(Kind::NotFound),
            _ => error,
        }
    })?;
    let stat = rustix::fs::fstat(&fd)
        .map_err(|errno| Error::call(format!("fstat {name}"), errno.raw_os_error()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        let cause = format!("{name} is no regular file");
        return Err(Error::new(Kind::Malformed, cause));
    }
    // One byte more than may be: the parser says that it is too much.
    let mut bytes = Vec::new();
    let file = File::from(fd).take(MAX_FILE as u64 + 1);
    let mut file = std::io::BufReader::new(file);
    file.read_to_end(&mut bytes)
        .map_err(|e| Error::io(format!("read {name}"), &e))?;
    Ok((name, bytes))
}
