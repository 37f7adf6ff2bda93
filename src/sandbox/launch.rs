//! Everything that can be made ready before the clone: compiled filters, C strings, pipes, open
//! records. What fails here fails in words, in the supervisor, with nothing started.

use crate::error::{Context, Error, Kind, Result};
use crate::plan::{Lower, Plan, Stdio, Step, Upper, Watched, seccomp};
use crate::sys::Filter;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// The payload's ends of its standard streams.
#[derive(Debug, Default)]
pub struct ChildStdio {
    /// Standard input; `None`: the cell's /dev/null.
    pub input: Option<OwnedFd>,
    /// Standard output; `None` with a pty.
    pub output: Option<OwnedFd>,
    /// Standard error; `None` with a pty.
    pub error: Option<OwnedFd>,
}

/// The supervisor's ends of the payload's standard streams.
#[derive(Debug, Default)]
pub struct Streams {
    /// Written by the supervisor.
    pub input: Option<OwnedFd>,
    /// Read by the supervisor.
    pub output: Option<OwnedFd>,
    /// Read by the supervisor.
    pub error: Option<OwnedFd>,
    /// The pty's master, once init has sent it.
    pub terminal: Option<OwnedFd>,
}

/// A layer's record, opened by the supervisor, who may read it.
#[derive(Debug)]
pub struct LayerRecord {
    /// The tree list.
    pub list: OwnedFd,
    /// Its sha256.
    pub sha256: [u8; 32],
    /// The stat records.
    pub stat: OwnedFd,
}

/// The supervisor's ends.
#[derive(Debug)]
pub(super) struct OurEnds {
    pub control: OwnedFd,
    pub payload: OwnedFd,
    pub report: OwnedFd,
}

/// The cell's ends; pid 1 gives each up once it is in the hands it is for.
#[derive(Debug)]
pub(super) struct TheirEnds {
    pub control: OwnedFd,
    /// The payload's: closes at a successful exec.
    pub payload: Option<OwnedFd>,
    /// The verifier's.
    pub report: Option<OwnedFd>,
}

/// A plan made ready. Dropping it undoes everything.
#[derive(Debug)]
pub struct Launch {
    pub(super) plan: Plan,
    pub(super) init_filter: Vec<Filter>,
    pub(super) payload_filter: Vec<Filter>,
    /// The same that tells of refusals, where the plan says that they are told.
    pub(super) told_filter: Option<Vec<Filter>>,
    /// What is answered to what it tells: by the filter that neither tells nor hands over, run by the
    /// supervisor.
    pub(super) answers: Option<Vec<seccomp::Instruction>>,
    /// What is executed, where it is not looked up.
    pub(super) path: Option<CString>,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) records: Vec<LayerRecord>,
    /// The sources of binds that the policy decided on, by their numbers.
    pub(super) sources: Vec<OwnedFd>,
    pub(super) stdio: Stdio,
    pub(super) child: ChildStdio,
    pub(super) streams: Streams,
    pub(super) ours: OurEnds,
    pub(super) theirs: TheirEnds,
    pub(super) timings: bool,
    /// The supervisor will look at the cell's processes.
    pub(super) sampled: bool,
    /// The cgroup that the clone is born into.
    pub(super) cgroup: Option<OwnedFd>,
}

impl Launch {
    /// The cell is born into this cgroup (its folder, clone3(2) CLONE_INTO_CGROUP): what
    /// [`Step::MakeCgroup`] made.
    pub fn into_cgroup(&mut self, cgroup: OwnedFd) {
        self.cgroup = Some(cgroup);
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).or_call(|| "pipe2")
}

/// A pair of sockets for records.
pub(super) fn records_socket() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

fn c_strings(texts: impl Iterator<Item = String>, what: &str) -> Result<Vec<CString>> {
    texts
        .map(|t| {
            CString::new(t).map_err(|e| {
                Error::new(
                    Kind::Malformed,
                    format!("{what} holds a NUL byte at offset {}", e.nul_position()),
                )
            })
        })
        .collect()
}

/// The profile as instructions for this machine.
pub(super) fn filter(profile: &seccomp::Profile) -> Result<Vec<Filter>> {
    Ok(for_kernel(profile.compile(seccomp::Arch::native())?))
}

/// Instructions as the kernel takes them.
fn for_kernel(program: Vec<seccomp::Instruction>) -> Vec<Filter> {
    let plain = |i: seccomp::Instruction| Filter {
        code: i.code,
        jt: i.jt,
        jf: i.jf,
        k: i.k,
    };
    program.into_iter().map(plain).collect()
}

/// 64 hex digits as 32 bytes.
fn parse_sha256(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

/// What helps when a part of an unpacked layer is not there.
pub(super) const LOST: &str = "the unpacked layer is not whole: remove the image with `lazaret rmi` and load it again; `lazaret verify` says what is missing";

fn open_record(lower: &Lower) -> Result<LayerRecord> {
    let open = |path: &std::path::Path| {
        // A fifo in its place is not waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        rustix::fs::open(path, flags, Mode::empty())
            .or_call(|| format!("open {path:?}"))
            .map_err(|e| match e.errno {
                Some(libc::ENOENT) => e.hint(LOST),
                Some(libc::EMFILE) => {
                    e.hint("each layer takes four descriptors: ulimit -n must be higher than that")
                }
                _ => e,
            })
    };
    let sha256 = parse_sha256(&lower.list_sha256).ok_or_else(|| {
        Error::new(
            Kind::Store,
            format!("{:?} is not a sha256", lower.list_sha256),
        )
    })?;
    Ok(LayerRecord {
        list: open(&lower.list)?,
        sha256,
        stat: open(&lower.stat)?,
    })
}

/// Makes `plan` ready. `sources` are the files of the host that its [`Step::OpenSource`] must find,
/// held open since they were decided on. `timings`: every step reports how long it took.
pub fn prepare(plan: Plan, sources: Vec<OwnedFd>, timings: bool) -> Result<Launch> {
    let (mut init_filter, mut payload_filter) = (Vec::new(), Vec::new());
    let (mut told_filter, mut answers) = (None, None);
    let (mut argv, mut env, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut path = None;
    let mut stdio = Stdio::Output;
    let (mut check, mut sampled) = (false, false);
    for planned in plan.steps() {
        match &planned.step {
            Step::ConfineInit { syscalls } => init_filter = filter(syscalls)?,
            Step::Seccomp(profile) => {
                let arch = seccomp::Arch::native();
                let program = profile.compile(arch)?;
                told_filter = profile.compile_told(arch)?.map(for_kernel);
                answers = told_filter.is_some().then(|| program.clone());
                // Where the kernel gives no listener, what is watched is watched all the same.
                let observed = profile.compile_observed(arch)?;
                payload_filter = for_kernel(observed.unwrap_or(program));
            }
            Step::CheckLayers { .. } => check = true,
            Step::MountRoot { lowers, upper } => {
                if check {
                    records = lowers.iter().map(open_record).collect::<Result<_>>()?;
                }
                if let Upper::Disk { path } = upper
                    && !path.is_absolute()
                {
                    return Err(Error::new(Kind::Store, format!("{path:?} is not absolute")));
                }
            }
            Step::Execute {
                path: p,
                argv: a,
                env: e,
            } => {
                path = c_strings(p.iter().cloned(), "the program's path")?.pop();
                argv = c_strings(a.iter().cloned(), "the command")?;
                let texts = e.iter().map(|v| format!("{}={}", v.name, v.value));
                env = c_strings(texts, "the environment")?;
            }
            Step::NewSession(s) => stdio = *s,
            Step::Supervise { watched, .. } => sampled = watched.iter().any(Watched::sampled),
            _ => {}
        }
    }
    if argv.is_empty() {
        return Err(Error::new(Kind::Usage, "no command to execute"));
    }
    let (mut child, mut streams) = (ChildStdio::default(), Streams::default());
    if !matches!(stdio, Stdio::Terminal { .. }) {
        let (read, write) = pipe()?;
        (streams.output, child.output) = (Some(read), Some(write));
        let (read, write) = pipe()?;
        (streams.error, child.error) = (Some(read), Some(write));
    }
    if stdio == Stdio::Interactive {
        let (read, write) = pipe()?;
        (child.input, streams.input) = (Some(read), Some(write));
    }
    let socket = || records_socket().or_call(|| "socketpair");
    let (control, payload, report) = (socket()?, socket()?, pipe()?);
    Ok(Launch {
        init_filter,
        payload_filter,
        told_filter,
        answers,
        path,
        argv,
        env,
        records,
        sources,
        stdio,
        child,
        streams,
        ours: OurEnds {
            control: control.0,
            payload: payload.0,
            report: report.0,
        },
        theirs: TheirEnds {
            control: control.1,
            payload: Some(payload.1),
            report: Some(report.1),
        },
        timings,
        sampled,
        cgroup: None,
        plan,
    })
}
