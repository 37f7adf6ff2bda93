//! Where a layout is written: members of a tar, or files of a folder.

use super::sync;
use crate::error::{Context, Error, Kind, Result};
use crate::host::Interrupts;
use crate::image::{Digest, Hasher};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;

/// The size of the pieces that blobs are copied in, in bytes.
const PIECE: usize = 1 << 20;

/// A tar's block, in bytes.
const BLOCK: u64 = 512;
const ZEROES: [u8; 1024] = [0; 1024];

/// A layout that is being written. One that is given up ends in the middle of a member: nobody takes
/// it for whole.
pub(super) enum Sink<'a> {
    Archive { file: &'a File, call: &'a str },
    Folder(OwnedFd),
}

impl<'a> Sink<'a> {
    /// A tar in `file`; `call` is how a failed write is named.
    pub(super) fn archive(file: &'a File, call: &'a str) -> Self {
        Self::Archive { file, call }
    }

    /// Files below a folder.
    pub(super) fn folder(folder: OwnedFd) -> Self {
        Self::Folder(folder)
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn make_folder(&mut self, name: &str) -> Result<()> {
        match self {
            Self::Archive { file, call } => {
                let name = format!("{name}/");
                let header = header(&name, tar::EntryType::Directory, 0o755, 0);
                let written = header.and_then(|header| file.write_all(header.as_bytes()));
                written.map_err(|e| Error::io(*call, &e))
            }
            Self::Folder(folder) => {
                let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
                rustix::fs::mkdirat(folder, name, mode).or_call(|| format!("mkdir {name:?}"))
            }
        }
    }

    /// Writes a file of bytes that are here.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.file(name, bytes.len() as u64, &mut &*bytes)
    }

    /// Writes a file of `size` bytes that are read until they are these; `Integrity` where they are
    /// others.
    ///
    /// # Errors
    /// `Integrity`; `Interrupted`: ^C; `Io`.
    pub(super) fn blob(
        &mut self,
        name: &str,
        (digest, size): (&Digest, u64),
        from: &File,
        interrupts: Option<&Interrupts>,
    ) -> Result<()> {
        let mut checked = Checked {
            from,
            digest,
            left: size,
            hasher: Some(Hasher::default()),
            interrupts,
            wrong: None,
        };
        let written = self.file(name, size, &mut checked);
        match checked.wrong {
            Some(wrong) => Err(wrong),
            None => written,
        }
    }

    fn file(&mut self, name: &str, size: u64, from: &mut dyn Read) -> Result<()> {
        match self {
            Self::Archive { file, call } => {
                let header = header(name, tar::EntryType::Regular, 0o644, size);
                let pad = size.next_multiple_of(BLOCK) - size;
                let written = header.and_then(|header| {
                    file.write_all(header.as_bytes())?;
                    copy(from, file)?;
                    file.write_all(&ZEROES[..usize::try_from(pad).unwrap_or(0)])
                });
                written.map_err(|e| Error::io(*call, &e))
            }
            Self::Folder(folder) => {
                let call = || format!("write {name:?}");
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
                let fd = rustix::fs::openat(&*folder, name, flags, mode).or_call(call)?;
                let file = File::from(fd);
                copy(from, &file).or_call(call)?;
                sync(&file, name)
            }
        }
    }

    /// Ends the layout, whose bytes are on the disk then.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn end(self) -> Result<()> {
        match self {
            Self::Archive { mut file, call } => {
                // The end of a tar is two empty blocks (pax(1), "ustar Interchange Format").
                file.write_all(&ZEROES).map_err(|e| Error::io(call, &e))?;
                sync(file, call)
            }
            Self::Folder(folder) => {
                rustix::fs::fsync(&folder).or_call(|| "fsync the layout's folder")
            }
        }
    }
}

/// Copies in large pieces.
fn copy(from: &mut dyn Read, mut to: &File) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&buffer[..n])?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The same for everybody and at any time.
fn header(name: &str, kind: tar::EntryType, mode: u32, size: u64) -> std::io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

/// A blob on its way: exactly its size, and at its end its digest.
struct Checked<'a> {
    from: &'a File,
    digest: &'a Digest,
    left: u64,
    hasher: Option<Hasher>,
    interrupts: Option<&'a Interrupts>,
    /// Why it was broken off, in better words than a reader's.
    wrong: Option<Error>,
}

impl Checked<'_> {
    fn broken(&mut self, error: Error) -> std::io::Error {
        self.wrong = Some(error);
        std::io::ErrorKind::InvalidData.into()
    }

    fn damaged(&mut self) -> std::io::Error {
        let cause = format!(
            "the store's blob {} is damaged: its bytes have another digest",
            self.digest
        );
        self.broken(Error::new(Kind::Integrity, cause).hint("load or pull the image again"))
    }
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Err(interrupted) = self.interrupts.map_or(Ok(()), Interrupts::check) {
            return Err(self.broken(interrupted));
        }
        let n = self.from.read(buffer)?;
        let Some(left) = self.left.checked_sub(n as u64) else {
            return Err(self.damaged());
        };
        self.left = left;
        if n > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..n]);
            }
            return Ok(n);
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != *self.digest || left > 0 => Err(self.damaged()),
            _ => Ok(0),
        }
    }
}
