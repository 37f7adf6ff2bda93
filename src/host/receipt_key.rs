//! The caller's own key for receipts: `receipt/key.pem` beside the caller's policy, and its public
//! half, `receipt/key.pub`, to be handed on.
//!
//! The folder is 0700 and the key 0600; a key that anybody else could have read or put there signs
//! nothing. It lies below the policy's folder because no cell is ever shown anything of that
//! (`policy::mounts`). It is made on first use, whole or not at all, and never replaced: of two that
//! are first at once, one makes it and both sign with it.
//!
//! The key is read when there is something to sign. A cell begins as a copy of this process, so
//! nothing of a key is left in memory by then (`trust::signing`).

use super::policy_files::policy_folder;
use crate::error::{Context, Error, Kind, Result};
use crate::trust::{Key, MAX_PEM, MAX_PRIVATE_PEM, SigningKey, new_private_pem};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FOLDER: &str = "receipt";
const PRIVATE: &str = "key.pem";
const PUBLIC: &str = "key.pub";

/// The caller's key with its place.
#[derive(Debug)]
pub struct OwnKey {
    /// The public half.
    pub key: Key,
    /// The same as a key file.
    pub pem: String,
    /// Where that file is.
    pub file: PathBuf,
    /// Whether it was made just now.
    pub made: bool,
}

/// Makes sure that there is a key that can sign, making one on first use.
///
/// # Errors
/// `Usage`: nobody has a home; `Policy`: others could have read or changed what is there;
/// `Malformed`: it is no key; `Io`.
pub fn ready() -> Result<OwnKey> {
    let place = Place::open(true)?.ok_or_else(none)?;
    let made = match place.private()? {
        Some(_) => false,
        None => place.make()?,
    };
    let key = place.signing()?.ok_or_else(none)?;
    place.publish(&key)?;
    Ok(place.own(key.public, key.public_pem, made))
}

/// The key that signs.
///
/// # Errors
/// As [`ready`]; `NotFound`: there is none.
pub fn signing() -> Result<SigningKey> {
    let place = Place::open(false)?.ok_or_else(none)?;
    place.signing()?.ok_or_else(none)
}

/// The public half, by itself; `None`: no key was ever made.
///
/// # Errors
/// As [`ready`].
pub fn public() -> Result<Option<OwnKey>> {
    let Some(place) = Place::open(false)? else {
        return Ok(None);
    };
    if let Some((key, pem)) = place.published()? {
        return Ok(Some(place.own(key, pem, false)));
    }
    // Whoever made it was ended in between.
    let Some(key) = place.signing()? else {
        return Ok(None);
    };
    place.publish(&key)?;
    Ok(Some(place.own(key.public, key.public_pem, false)))
}

/// A public key of anybody's, from a file.
///
/// # Errors
/// `NotFound`, `Io`; as [`Key::from_pem`]; `Unsupported`: it is of another kind than receipts' are.
pub fn read_public(path: &Path) -> Result<Key> {
    let call = || format!("--key: open {path:?}");
    let file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::io(call(), &e).kind(Kind::NotFound));
        }
        opened => opened.or_call(call)?,
    };
    let mut bytes = Vec::new();
    // One byte more than may be: the parser says that it is too much.
    file.take(MAX_PEM as u64 + 1)
        .read_to_end(&mut bytes)
        .or_call(|| format!("--key: read {path:?}"))?;
    let key = Key::from_pem(&path.to_string_lossy(), &bytes)?;
    match key.kind {
        crate::trust::KeyKind::Ed25519 => Ok(key),
        other => Err(Error::new(
            Kind::Unsupported,
            format!("--key {path:?} is an {other} key"),
        )
        .hint("receipts are signed by Ed25519; `lazaret receipt key` prints the public half")),
    }
}

fn none() -> Error {
    Error::new(Kind::NotFound, "there is no key for receipts yet")
        .hint("the first run with --receipt FILE makes one")
}

/// The folder of the key, held open.
struct Place {
    path: PathBuf,
    folder: OwnedFd,
}

impl Place {
    /// `None`: it is not there, and not to be made.
    fn open(make: bool) -> Result<Option<Self>> {
        let beside = policy_folder().ok_or_else(|| {
            Error::new(Kind::Usage, "there is no place for the key of receipts")
                .hint("set HOME or XDG_CONFIG_HOME")
        })?;
        if make {
            std::fs::DirBuilder::new()
                .recursive(true)
                .create(&beside)
                .or_call(|| format!("mkdir {beside:?}"))?;
        }
        Self::below(&beside, make)
    }

    fn below(beside: &Path, make: bool) -> Result<Option<Self>> {
        let path = beside.join(FOLDER);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let outer = match rustix::fs::open(beside, flags, Mode::empty()) {
            Err(Errno::NOENT) if !make => return Ok(None),
            opened => opened.or_call(|| format!("open {beside:?}"))?,
        };
        if make {
            match rustix::fs::mkdirat(&outer, FOLDER, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e).or_call(|| format!("mkdir {path:?}")),
            }
        }
        let folder =
            match rustix::fs::openat(&outer, FOLDER, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if !make => return Ok(None),
                // What open(2) says of a link where a folder is wanted.
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(refused(&path, "is a link or no folder", "remove it"));
                }
                Err(e) => return Err(e).or_call(|| format!("open {path:?}")),
            };
        // Who may write above could put another folder here.
        let stat = fstat(&outer).or_call(|| format!("fstat {beside:?}"))?;
        only_mine(beside, &stat, 0o022, true)?;
        let stat = fstat(&folder).or_call(|| format!("fstat {path:?}"))?;
        only_mine(&path, &stat, 0o077, false)?;
        Ok(Some(Self { path, folder }))
    }

    fn own(&self, key: Key, pem: String, made: bool) -> OwnKey {
        OwnKey {
            key,
            pem,
            file: self.path.join(PUBLIC),
            made,
        }
    }

    /// A file of the folder that nobody else can have read, or with `shut` 022 written.
    fn file(&self, name: &str, shut: u32) -> Result<Option<File>> {
        let path = self.path.join(name);
        // A fifo must not make us wait for somebody to write.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(refused(&path, "is a link", "put the file itself there"));
            }
            Err(e) => return Err(e).or_call(|| format!("open {path:?}")),
        };
        let stat = fstat(&file).or_call(|| format!("fstat {path:?}"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused(&path, "is no regular file", "remove it"));
        }
        only_mine(&path, &stat, shut, false)?;
        Ok(Some(file))
    }

    fn private(&self) -> Result<Option<File>> {
        self.file(PRIVATE, 0o077)
    }

    fn signing(&self) -> Result<Option<SigningKey>> {
        let Some(file) = self.private()? else {
            return Ok(None);
        };
        let path = self.path.join(PRIVATE);
        let name = path.to_string_lossy();
        // Read into one place that is wiped: one byte more than may be tells of more.
        let mut bytes = Zeroizing::new(vec![0; MAX_PRIVATE_PEM + 1]);
        let mut read = 0;
        let (mut file, mut rest) = (file, bytes.as_mut_slice());
        while !rest.is_empty() {
            match file.read(rest).or_call(|| format!("read {path:?}"))? {
                0 => break,
                n => {
                    read += n;
                    rest = rest.get_mut(n..).unwrap_or_default();
                }
            }
        }
        if read > MAX_PRIVATE_PEM {
            let cause = format!("key {name}: more than {MAX_PRIVATE_PEM} bytes");
            return Err(Error::new(Kind::Limit, cause));
        }
        SigningKey::from_pem(&name, bytes.get(..read).unwrap_or_default()).map(Some)
    }

    fn published(&self) -> Result<Option<(Key, String)>> {
        let Some(file) = self.file(PUBLIC, 0o022)? else {
            return Ok(None);
        };
        let path = self.path.join(PUBLIC);
        let mut pem = Vec::new();
        file.take(MAX_PEM as u64 + 1)
            .read_to_end(&mut pem)
            .or_call(|| format!("read {path:?}"))?;
        let key = Key::from_pem(&path.to_string_lossy(), &pem)?;
        // It was read as text.
        Ok(Some((key, String::from_utf8_lossy(&pem).into_owned())))
    }

    /// Makes the key; `false`: somebody else was first.
    fn make(&self) -> Result<bool> {
        let pem = new_private_pem()?;
        let (name, path) = (passing(PRIVATE)?, self.path.join(PRIVATE));
        self.write(&name, pem.as_bytes())?;
        // Unlike a rename, a link never takes the place of what is there.
        let linked =
            rustix::fs::linkat(&self.folder, &name, &self.folder, PRIVATE, AtFlags::empty());
        rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty())
            .or_call(|| format!("remove {name:?} beside {path:?}"))?;
        match linked {
            Ok(()) => {
                self.sync()?;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(e).or_call(|| format!("make {path:?}")),
        }
    }

    /// Puts the public half there where it is missing.
    fn publish(&self, key: &SigningKey) -> Result<()> {
        let path = self.path.join(PUBLIC);
        match self.published()? {
            Some((public, _)) if public.fingerprint == key.public.fingerprint => return Ok(()),
            Some(_) => {
                let what = format!("is not the public half of {PRIVATE}");
                return Err(refused(&path, &what, "remove it, and it is written anew"));
            }
            None => {}
        }
        let name = passing(PUBLIC)?;
        self.write(&name, key.public_pem.as_bytes())?;
        if let Err(e) = rustix::fs::renameat(&self.folder, &name, &self.folder, PUBLIC) {
            let _nothing_half_done =
                rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty()).is_ok();
            return Err(e).or_call(|| format!("write {path:?}"));
        }
        self.sync()
    }

    /// Writes a new file, mode 0600, whole, or leaves none.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let call = || format!("write {:?}", self.path.join(name));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let own = Mode::RUSR | Mode::WUSR;
        let fd = rustix::fs::openat(&self.folder, name, flags, own).or_call(call)?;
        let mut file = File::from(fd);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            let _nothing_half_done =
                rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()).is_ok();
        }
        written.or_call(call)
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::fsync(self.folder.as_fd()).or_call(|| format!("fsync {:?}", self.path))
    }
}

/// A name that nobody else uses at the same time.
fn passing(name: &str) -> Result<String> {
    let mut bytes = [0; 8];
    // 256 bytes or fewer are never cut short (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .or_call(|| "getrandom")?;
    Ok(format!(".{name}-{:016x}", u64::from_ne_bytes(bytes)))
}

fn refused(path: &Path, what: &str, cure: &str) -> Error {
    let cause = format!("the key of receipts: {} {what}", path.display());
    Error::new(Kind::Policy, cause).hint(cure)
}

/// Whether a file is the caller's, or with `or_root` root's, and has none of the mode bits `shut`.
fn only_mine(path: &Path, stat: &Stat, shut: u32, or_root: bool) -> Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own && !(or_root && stat.st_uid == 0) {
        let what = format!("belongs to user {}", stat.st_uid);
        let cure = format!("chown {own} {}", path.display());
        return Err(refused(path, &what, &cure));
    }
    let mode = stat.st_mode & 0o7777;
    if mode & shut != 0 {
        let what = format!("is open to others (mode {mode:04o})");
        let cure = format!(
            "chmod {} {}; who has read a key signs as you",
            if shut == 0o077 { "go=" } else { "go-w" },
            path.display()
        );
        return Err(refused(path, &what, &cure));
    }
    Ok(())
}
