//! What the command line asks for: data, made by `cli`, never looked at by `sandbox`.

use crate::image::{Digest, ImageName};
use crate::plan::seccomp::JsonProfile;
use std::time::Duration;

/// One `run`, as asked. A flag only asks; the policy decides.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image, as named.
    pub image: ImageName,
    /// COMMAND and ARG...; empty: the image's own.
    pub command: Vec<String>,
    /// `--entrypoint`: replaces the image's entrypoint and drops its command; `Some("")` removes it.
    pub entrypoint: Option<String>,
    /// `-e` and `--env-file`, in order; a bare `-e NAME` was resolved by `cli`.
    pub env: Vec<(String, String)>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u`: `NAME|UID[:GROUP|GID]`.
    pub user: Option<String>,
    /// `--read-only`.
    pub read_only: bool,
    /// `--tmpfs PATH[:size=N]` and `--mount type=tmpfs,...`.
    pub tmpfs: Vec<TmpfsAsk>,
    /// `-v SOURCE:TARGET[:ro]` and `--mount type=bind,...`.
    pub binds: Vec<BindAsk>,
    /// `--userns keep-id`: as the caller, by the caller's own number.
    pub keep_id: bool,
    /// `--network`; `None`: what the policy gives.
    pub network: Option<super::Network>,
    /// `--device`.
    pub devices: Vec<DeviceAsk>,
    /// `--cap-add` and `--cap-drop`.
    pub caps: CapsAsk,
    /// `--security-opt seccomp=FILE`: narrows the set of system calls that the policy gives.
    pub seccomp: Option<JsonProfile>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--timeout`: wall time after which everything is killed.
    pub timeout: Option<Duration>,
    /// `--pids-limit`; `u64::MAX`: none.
    pub pids_limit: Option<u64>,
    /// Memory, processors, output, disk.
    pub resources: ResourcesAsk,
    /// `--ulimit`, each name once.
    pub ulimits: Vec<super::Ulimit>,
    /// `--rm`: the writable layer lives in memory and goes with the run.
    pub rm: bool,
    /// A cell without an image: what it stands on.
    pub tool: Option<ToolAsk>,
    /// `-t`.
    pub tty: bool,
    /// `-i`.
    pub interactive: bool,
    /// `--stop-signal`: what SIGTERM becomes on its way in.
    pub stop_signal: Option<i32>,
    /// `--stop-timeout`: how long after that the command is killed.
    pub stop_timeout: Option<Duration>,
    /// `--verify stat|full`: asks for a stricter check than the policy's.
    pub verify: Option<super::VerifyMode>,
    /// `--explain`: what is told of what the cell was refused. It gives nothing, and no rule is asked.
    pub explain: Option<super::Explain>,
}

impl Request {
    /// A run of an image that asks for nothing.
    pub fn of(image: ImageName) -> Self {
        Self {
            image,
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            workdir: None,
            user: None,
            read_only: false,
            tmpfs: Vec::new(),
            binds: Vec::new(),
            keep_id: false,
            network: None,
            devices: Vec::new(),
            caps: CapsAsk::default(),
            seccomp: None,
            hostname: None,
            timeout: None,
            pids_limit: None,
            resources: ResourcesAsk::default(),
            ulimits: Vec::new(),
            rm: false,
            tool: None,
            tty: false,
            interactive: false,
            stop_signal: None,
            stop_timeout: None,
            verify: None,
            explain: None,
        }
    }
}

/// What all processes of a cell together may take, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourcesAsk {
    /// `--memory`, in bytes.
    pub memory: Option<u64>,
    /// `--memory-swap`: bytes of swap beside the memory; `u64::MAX`: no bound.
    pub swap: Option<u64>,
    /// `--cpus`, in thousandths of a processor.
    pub cpus: Option<u64>,
    /// `--cpu-time`: processor time of all processes together.
    pub cpu_time: Option<Duration>,
    /// `--output-limit`: bytes of both outputs together.
    pub output: Option<u64>,
    /// `--disk`: bytes of the writable layer.
    pub disk: Option<u64>,
}

/// Capabilities, as asked for: by their names in capabilities(7), without `CAP_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapsAsk {
    /// `--cap-add NAME`.
    pub add: Vec<String>,
    /// `--cap-add ALL`.
    pub add_all: bool,
    /// `--cap-drop NAME`; stronger than `add`.
    pub drop: Vec<String>,
    /// `--cap-drop ALL`: what is given goes, what is added stays.
    pub drop_all: bool,
}

/// `tool`: a program of the host in a cell without an image. `Request::image` is its name for rules;
/// its root, the current folder and itself are among `Request::binds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolAsk {
    /// The absolute path inside that is executed.
    pub program: String,
    /// Links of the root, as the host has them: `("/bin", "usr/bin")`.
    pub links: Vec<(String, String)>,
    /// Which of the binds are names below /etc.
    pub etc: std::ops::Range<usize>,
    /// Which of the binds is the program's own file, where it is mounted alone.
    pub bind: Option<usize>,
    /// `--sha256`: what that file must be.
    pub sha256: Option<Digest>,
    /// The current folder: where it starts, at the same path.
    pub cwd: String,
}

/// A folder or file of the host, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAsk {
    /// The flag: `-v` or `--mount`.
    pub flag: &'static str,
    /// The path outside, as written.
    pub source: String,
    /// Of that folder only what this path leads to, without a symbolic link on the way.
    pub subpath: Option<String>,
    /// Absolute path inside.
    pub target: String,
    /// It is not written to.
    pub read_only: bool,
    /// Nothing in it is executed.
    pub no_exec: bool,
}

/// A device of the host, as asked for: to be read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAsk {
    /// The path outside, as written.
    pub source: String,
    /// The path inside.
    pub target: String,
}

/// A tmpfs, as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsAsk {
    /// The flag: `--tmpfs` or `--mount`.
    pub flag: &'static str,
    /// Absolute path inside.
    pub path: String,
    /// Size in bytes; `None`: the policy's.
    pub size: Option<u64>,
    /// Permission bits; `None`: 1777.
    pub mode: Option<u32>,
    /// It stays empty.
    pub read_only: bool,
}
