//! What is known of the image and of this machine when a decision is made.

use super::tree::TreeFacts;
use super::ulimits::Which;
use crate::image::{Digest, ImageConfig};

/// Facts of an unpacked image, from its layer indexes; `decide` reads nothing else of it.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// The manifest's digest.
    pub manifest: Digest,
    /// The verified config.
    pub config: ImageConfig,
    /// Number of layers.
    pub layers: u64,
    /// Uncompressed bytes of all regular files of all layers.
    pub size: u64,
    /// Number of entries of all layers.
    pub files: u64,
    /// Paths of setuid and setgid files of all layers, those too that an upper layer hides (the
    /// bits are stripped on disk).
    pub setuid: Vec<String>,
    /// Paths of files with capabilities (stripped on disk), as `setuid`.
    pub file_caps: Vec<String>,
    /// Paths of device, fifo and socket entries (never created), as `setuid`.
    pub special: Vec<String>,
    /// What [`super::Policy::facts_wanted`] asks for, found in the merged tree; `None` where it asks
    /// for nothing.
    pub tree: Option<TreeFacts>,
}

/// A range of subordinate ids from /etc/subuid or /etc/subgid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SubIds {
    /// First id outside.
    pub base: u32,
    /// How many.
    pub count: u32,
}

impl SubIds {
    /// Whether an id outside is one of these.
    pub fn holds(self, id: u32) -> bool {
        id.checked_sub(self.base).is_some_and(|n| n < self.count)
    }
}

/// What this machine offers, as probed by `host`.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The kernel's release: (major, minor).
    pub kernel: (u32, u32),
    /// GOARCH name of this machine: `amd64`, `arm64`.
    pub architecture: &'static str,
    /// The effective user id of the caller.
    pub uid: u32,
    /// The effective group id of the caller.
    pub gid: u32,
    /// The caller's supplementary groups other than `gid`; they stay in force under `Single`.
    pub groups: Vec<u32>,
    /// Started by real root (euid 0).
    pub root: bool,
    /// The Landlock ABI; 0 where the kernel has none.
    pub landlock_abi: u32,
    /// Subordinate user and group ids, and the helpers to use them (or real root, who needs none).
    pub subids: Option<(SubIds, SubIds)>,
    /// Why `subids` is `None`, in a person's words, with the remedy; empty where it is `Some`.
    pub no_subids: String,
    /// The caller's own hard limits (setrlimit(2)), which no process of its own may pass; what is
    /// not here has none.
    pub hard_limits: Vec<(Which, u64)>,
    /// Bytes of memory of this machine; percentages in policies are of this.
    pub memory: u64,
    /// Where a cell can be given a cgroup of its own; `None` also where nobody looked, because
    /// nothing that is asked for or given needs one.
    pub cgroup: Option<Cgroup>,
    /// Why `cgroup` is `None`, in a person's words.
    pub no_cgroup: String,
    /// What the request names of the host.
    pub outside: Outside,
}

/// What stands for the folder of a scope that systemd makes for this run alone: it is another one each
/// time, and nothing depends on which.
pub const SCOPE: &str = "a scope that systemd makes";

/// A cgroup (v2, cgroups(7)) below which the caller may make others.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cgroup {
    /// Its folder: `/sys/fs/cgroup/user.slice/...`; or [`SCOPE`].
    pub folder: String,
    /// What can be limited there: `memory`, `pids`, `cpu`.
    pub controllers: Vec<String>,
    /// lazaret itself is in it, alone, and must make room: a cgroup with processes of its own gives
    /// its children no controllers.
    pub leave: bool,
}

/// The files of the host that a request names, and the folders that rules speak from. All paths are
/// real ones: absolute, without links. Empty where a request names none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// The caller's current folder: `./` in rules.
    pub cwd: String,
    /// The caller's homes: first `HOME`, which is what `~` means where a rule allows; then what the
    /// user database says, which is denied as well.
    pub homes: Vec<String>,
    /// lazaret's own folders: the store, and where policies lie.
    pub own: Vec<String>,
    /// The source of every bind of the request, in its order.
    pub sources: Vec<SourceFacts>,
    /// Every device of the request, in its order.
    pub devices: Vec<DeviceFacts>,
}

/// A device node of the host, as it was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Where it is: its real path.
    pub path: String,
    /// It is a character device.
    pub character: bool,
    /// Its device number.
    pub major: u32,
    /// Its device number.
    pub minor: u32,
    /// What the kernel calls the device of this number, below /dev; `None` where it does not say.
    pub name: Option<String>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A file of the host, as it was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// Where it is: its real path.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Where the file system that it lies on and those that are mounted below it are mounted, and of
    /// what type they are: `("/srv/chroot/proc", "proc")`.
    pub mounts: Vec<(String, String)>,
    /// The real path of the folder that was named, where the source is a subpath of it.
    pub through: Option<String>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A character or block device.
    Device,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// What this kernel has beside these.
    Other,
}
