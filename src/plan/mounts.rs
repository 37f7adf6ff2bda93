//! What is mounted in a cell, as data.

use crate::image::Digest;
use std::path::PathBuf;

/// A layer that stands below the root, uppermost first in a plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lower {
    /// The unpacked layer's folder (host path; opened before the pivot, never seen inside).
    pub path: PathBuf,
    /// Its tree list (see [`super::tree`]): what the verifier checks it against.
    pub list: PathBuf,
    /// The sha256 that the tree list's canonical part must have, 64 hex digits.
    pub list_sha256: String,
    /// The stat records beside the list.
    pub stat: PathBuf,
}

/// Where writes go.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Upper {
    /// The cell's tmpfs, which goes with it.
    Memory,
    /// A host folder, writable for container root, in which `upper` and `work` are made.
    Disk { path: PathBuf },
}

/// A device node bound from the host's /dev, checked to be that very device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bind {
    /// Name below /dev, on both sides.
    pub name: String,
    /// Its device number.
    pub major: u32,
    /// Its device number.
    pub minor: u32,
}

/// What of a fresh /proc is hidden or read-only. Paths are below /proc; an absent one is skipped,
/// because kernels differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Masks {
    /// Files, hidden below /dev/null.
    pub hidden: Vec<String>,
    /// Folders, hidden below an empty read-only one.
    pub hidden_folders: Vec<String>,
    /// Read-only.
    pub read_only: Vec<String>,
}

/// A tmpfs (tmpfs(5)).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tmpfs {
    /// Absolute path inside.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Inodes.
    pub inodes: u64,
    /// Permission bits of its root.
    pub mode: u32,
    /// Nothing in it may be executed.
    pub no_exec: bool,
    /// Nothing in it may be written.
    pub read_only: bool,
}

/// A folder of the cell's tmpfs that is mounted on a place of its own, without devices, setuid or
/// execution.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shared {
    /// Its name in the tmpfs.
    pub folder: String,
    /// Absolute path inside.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Nothing in it may be written.
    pub read_only: bool,
}

/// A folder or file of the host, mounted inside with everything that is mounted below it; what holds
/// for it holds for all of them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HostBind {
    /// Its path outside, which was opened under this number.
    pub source: String,
    /// The number of its [`Step::OpenSource`].
    pub number: usize,
    /// Absolute path inside; made if it is missing.
    pub path: String,
    /// A folder; else a regular file.
    pub folder: bool,
    /// Nothing in it may be written.
    pub read_only: bool,
    /// Setuid, setgid and file capabilities in it mean nothing.
    pub no_suid: bool,
    /// Device nodes in it cannot be opened.
    pub no_dev: bool,
    /// Nothing in it may be executed.
    pub no_exec: bool,
}

/// A program of the host as a copy in memory that was hashed while it was made: nobody outside
/// writes into what is executed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProgramCopy {
    /// Its path outside, which was opened under this number.
    pub source: String,
    /// The number of its [`Step::OpenSource`], which opens it for reading.
    pub number: usize,
    /// Absolute path inside.
    pub path: String,
    /// The sha256 that it must have.
    pub sha256: Digest,
}

/// A device node of the host, checked to be that very device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HostDevice {
    /// Its path outside, which was opened under this number.
    pub source: String,
    /// The number of its [`Step::OpenSource`].
    pub number: usize,
    /// Absolute path inside, below /dev, where nothing is yet.
    pub path: String,
    /// Its device number.
    pub major: u32,
    /// Its device number.
    pub minor: u32,
}
