//! `--cidfile`: the container's id in a file of the caller's, for scripts.

use crate::error::{Context, Error, Kind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The file, mode 0600: removed again unless it is kept.
#[derive(Debug)]
pub(super) struct CidFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl CidFile {
    /// Makes the file, empty. As with docker, one that is there is another container's, and stays.
    ///
    /// # Errors
    /// `Usage`: it is there, be it a link to nowhere; `Io`: it cannot be made.
    pub(super) fn make(path: &Path) -> Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok(Self {
                path: path.to_owned(),
                file: fd.into(),
                kept: false,
            }),
            Err(Errno::EXIST) => {
                let cause = format!("--cidfile {path:?} is there already");
                let hint = "another container may have it: remove the file, or name another";
                Err(Error::new(Kind::Usage, cause).hint(hint))
            }
            Err(e) => Err(e).or_call(|| format!("--cidfile: create {path:?}")),
        }
    }

    /// Writes the id, without a line feed, as docker does.
    ///
    /// # Errors
    /// `Io`: a full disk, for instance.
    pub(super) fn write(&mut self, id: &str) -> Result<()> {
        self.file
            .write_all(id.as_bytes())
            .or_call(|| format!("--cidfile: write {:?}", self.path))
    }

    /// There was a container.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.kept {
            // Why there was no container is what is told.
            let _told_already = rustix::fs::unlink(&self.path).is_ok();
        }
    }
}
