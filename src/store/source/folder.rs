//! Files of an OCI layout folder, opened without following anything.
//!
//! The folder belongs to somebody else, who may change it meanwhile: every name is resolved by the
//! kernel below one directory fd, without symlinks (openat2(2)), and only regular files are read.

#![forbid(unsafe_code)]

use crate::error::{Context, Error, Kind, Result};
use crate::image::Digest;
use crate::image::quote::quoted;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Opens what a person named by path, where symlinks are theirs to use: a folder with `O_PATH`, or
/// a file for reading.
pub fn open_named(path: &str, folder: bool) -> Result<OwnedFd> {
    let flags = match folder {
        true => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        // A fifo must not hold us, a terminal not become ours.
        false => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
    };
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(fd),
        Err(errno) => {
            let error = Error::call(format!("open {}", quoted(path)), errno.raw_os_error());
            Err(match errno {
                Errno::NOENT => error.kind(Kind::NotFound),
                Errno::NOTDIR if folder => error.kind(Kind::Usage).hint(
                    "oci: names a folder; a tar file is oci-archive:FILE or docker-archive:FILE",
                ),
                _ => error,
            })
        }
    }
}

/// Refuses what is not a regular file: fifos, devices, folders.
pub fn regular(fd: OwnedFd, name: &str) -> Result<(File, u64)> {
    let stat = rustix::fs::fstat(&fd).or_call(|| format!("fstat {}", quoted(name)))?;
    let file_type = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if file_type != rustix::fs::FileType::RegularFile {
        return Err(Error::new(
            Kind::Malformed,
            format!("{} is not a regular file", quoted(name)),
        ));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok((File::from(fd), size))
}

/// The path of an open file as the kernel knows it now: for names that are shown and matched by
/// policy, never for opening. Symlinks and `..` that a person wrote do not appear in it.
pub fn path_racy(fd: impl AsFd) -> Result<String> {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let path = rustix::fs::readlink(&link, Vec::new()).or_call(|| format!("readlink {link}"))?;
    path.into_string().map_err(|e| {
        Error::new(
            Kind::Unsupported,
            format!(
                "the path {} is not UTF-8",
                quoted(&String::from_utf8_lossy(e.into_cstring().as_bytes()))
            ),
        )
    })
}

/// An OCI layout folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
}

impl Folder {
    /// The folder behind an open fd.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The regular file `name`, with its size; `None` where it is not there.
    pub fn open(&self, name: &str) -> Result<Option<(File, u64)>> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), resolve) {
            Ok(fd) => regular(fd, name).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(Error::new(
                Kind::Malformed,
                format!(
                    "{} in the layout is, or lies behind, a symlink",
                    quoted(name)
                ),
            )),
            // A socket, or a device without a driver: open says so before fstat could.
            Err(Errno::NXIO | Errno::NODEV) => Err(Error::new(
                Kind::Malformed,
                format!("{} is not a regular file", quoted(name)),
            )),
            Err(errno) => Err(Error::call(
                format!("openat2 {}", quoted(name)),
                errno.raw_os_error(),
            )),
        }
    }

    /// The blob with this digest, if it is there.
    pub fn blob(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        self.open(&blob_name(digest))
    }
}

/// Where a layout keeps a blob (OCI image-spec, image-layout.md).
pub fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The first `size` bytes of a file, of which there may be `most`: as many as it had when it was
/// opened. Its owner may change it meanwhile; what is read is checked, not the file.
pub fn read_all(mut file: File, size: u64, most: u64, name: &str) -> Result<Vec<u8>> {
    if size > most {
        return Err(Error::new(
            Kind::Limit,
            format!("{} has {size} bytes, more than {most}", quoted(name)),
        ));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    file.read_exact(&mut bytes)
        .or_call(|| format!("read {}", quoted(name)))?;
    Ok(bytes)
}
