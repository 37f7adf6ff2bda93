//! Limits in a plan: of each process, of the cell's cgroup, and what the supervisor watches.

use crate::policy::{Granted, Grants, Origin, Which};
use std::fmt;

/// A resource limit (setrlimit(2)). Never more than the caller's own hard limit comes of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// Where the kernel stops a process; `u64::MAX`: nowhere.
    pub soft: u64,
    /// How far a process may raise it.
    pub hard: u64,
    /// The rule or flag behind it.
    pub origin: Origin,
}

/// The resources that a plan limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// RLIMIT_CORE: 1, not 0, because 0 does not stop a piped core handler (core(5)).
    Core,
    /// RLIMIT_NPROC: counted per user namespace, so that it bounds this cell alone.
    Processes,
    /// RLIMIT_NOFILE.
    Files,
    /// RLIMIT_MEMLOCK.
    LockedMemory,
    /// RLIMIT_MSGQUEUE.
    MessageQueues,
    /// RLIMIT_AS.
    AddressSpace,
    /// RLIMIT_FSIZE.
    FileSize,
    /// RLIMIT_CPU.
    CpuSeconds,
    /// RLIMIT_STACK.
    Stack,
    /// RLIMIT_DATA.
    Data,
    /// RLIMIT_SIGPENDING.
    PendingSignals,
}

/// A cgroup of the cell's own (cgroups(7), v2), and what is written to its files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CellCgroup {
    /// The folder that it is made in.
    pub folder: String,
    /// lazaret is in that folder itself and leaves it for one beside the cell's.
    pub leave: bool,
    /// Controllers that the folder must give its children: `memory`.
    pub controllers: Vec<String>,
    /// File and content, in the order in which they are written: `("memory.max", "67108864")`.
    pub files: Vec<(String, String)>,
}

/// What the supervisor watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// Memory and swap of all processes and files in memory, in bytes.
    Memory,
    /// Processor time of all processes together, in nanoseconds.
    CpuTime,
    /// Bytes of standard output and standard error together.
    Output,
}

/// A bound that the supervisor watches, and kills where it is crossed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Watched {
    /// What.
    pub what: Watch,
    /// The most there may be.
    pub bound: u64,
    /// The cell's cgroup counts; else the supervisor looks at every process again and again. Output
    /// goes through its hands.
    pub by_cgroup: bool,
    /// The rule or flag behind it.
    pub origin: Origin,
}

impl Watched {
    /// Whether the supervisor itself looks at the processes.
    pub fn sampled(&self) -> bool {
        !self.by_cgroup && self.what != Watch::Output
    }
}

/// The period of cpu.max, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;
/// Processes of lazaret's own in the cell: pid 1 and the verifier.
const OWN_PROCESSES: u64 = 2;

/// The cell's cgroup, if it has one, and what it is for.
pub(super) fn cgroup(grants: &Grants) -> Option<(CellCgroup, Origin)> {
    let resources = &grants.resources;
    let ground = resources.cgroup.as_ref()?;
    let mut controllers = Vec::new();
    let mut files: Vec<(String, String)> = Vec::new();
    let mut write = |name: &str, content: String| files.push((name.to_owned(), content));
    let amount = |n: u64| match n {
        u64::MAX => "max".to_owned(),
        n => n.to_string(),
    };
    let mut origin = None;
    if let Some(memory) = &resources.memory
        && resources.by_cgroup("memory")
    {
        controllers.push("memory".to_owned());
        write("memory.max", amount(memory.value));
        let swap = resources.swap.as_ref().map_or(0, |swap| swap.value);
        write("memory.swap.max", amount(swap));
        // Half a cell is no cell: all of it goes, and the exit code says why.
        write("memory.oom.group", "1".to_owned());
        origin = Some(&memory.origin);
    }
    if let Some(cpus) = &resources.cpus
        && resources.by_cgroup("cpu")
    {
        controllers.push("cpu".to_owned());
        let quota = cpus.value.saturating_mul(PERIOD / 1000);
        write("cpu.max", format!("{quota} {PERIOD}"));
        origin = origin.or(Some(&cpus.origin));
    }
    let time = resources.cpu_time.as_ref();
    let origin = origin.or(time.map(|time| &time.origin))?.clone();
    // RLIMIT_NPROC holds it too; this one also where ids change.
    if resources.by_cgroup("pids") {
        controllers.push("pids".to_owned());
        write(
            "pids.max",
            amount(grants.pids.value.saturating_add(OWN_PROCESSES)),
        );
    }
    let cgroup = CellCgroup {
        folder: ground.folder.clone(),
        leave: ground.leave,
        controllers,
        files,
    };
    Some((cgroup, origin))
}

/// What the supervisor watches.
pub(super) fn watched(grants: &Grants) -> Vec<Watched> {
    let resources = &grants.resources;
    let of = |what, bound, by_cgroup, origin: &Origin| Watched {
        what,
        bound,
        by_cgroup,
        origin: origin.clone(),
    };
    let memory = resources.memory.as_ref();
    let memory = memory.map(|Granted { value, origin }| {
        of(Watch::Memory, *value, resources.by_cgroup("memory"), origin)
    });
    let time = resources
        .cpu_time
        .as_ref()
        .map(|Granted { value, origin }| {
            let nanoseconds = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
            of(
                Watch::CpuTime,
                nanoseconds,
                resources.cgroup.is_some(),
                origin,
            )
        });
    let output = resources.output.as_ref();
    let output = output.map(|Granted { value, origin }| of(Watch::Output, *value, false, origin));
    memory.into_iter().chain(time).chain(output).collect()
}

/// The limits of a process, core dumps first.
pub(super) fn rlimits(grants: &Grants) -> Vec<Rlimit> {
    let asked = |which| grants.ulimits.iter().find(|u| u.value.which == which);
    let mut limits = vec![Rlimit {
        resource: Resource::Core,
        soft: 1,
        hard: 1,
        origin: Origin::Always("a crash reaches no core handler outside"),
    }];
    // The smallest that was asked for, and of it the soft part.
    let hard = grants.pids.value;
    let soft = asked(Which::Nproc).map_or(hard, |u| u.value.soft.min(hard));
    limits.push(Rlimit {
        resource: Resource::Processes,
        soft,
        hard,
        origin: grants.pids.origin.clone(),
    });
    limits.extend(grants.ulimits.iter().filter_map(|granted| {
        let resource = match granted.value.which {
            Which::Nproc => return None,
            Which::Nofile => Resource::Files,
            Which::Fsize => Resource::FileSize,
            Which::Cpu => Resource::CpuSeconds,
            Which::Stack => Resource::Stack,
            Which::As => Resource::AddressSpace,
            Which::Data => Resource::Data,
            Which::Memlock => Resource::LockedMemory,
            Which::Msgqueue => Resource::MessageQueues,
            Which::Sigpending => Resource::PendingSignals,
        };
        Some(Rlimit {
            resource,
            soft: granted.value.soft,
            hard: granted.value.hard,
            origin: granted.origin.clone(),
        })
    }));
    // Should the one who counts all processes together sleep: none alone takes much more.
    if let Some(time) = &grants.resources.cpu_time
        && asked(Which::Cpu).is_none()
    {
        let seconds = time.value.as_secs().saturating_add(2);
        limits.push(Rlimit {
            resource: Resource::CpuSeconds,
            soft: seconds,
            hard: seconds,
            origin: time.origin.clone(),
        });
    }
    limits
}

impl fmt::Display for CellCgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make a cgroup in {:?}", self.folder)?;
        if self.leave {
            f.write_str(", leave that for one beside it")?;
        }
        for (name, content) in &self.files {
            write!(f, ", {name} {content}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.bound;
        match self.what {
            Watch::Memory => write!(f, "kill past {bound} bytes of memory")?,
            Watch::CpuTime => {
                let time = std::time::Duration::from_nanos(bound);
                write!(f, "kill past {time:?} of processor time")?;
            }
            Watch::Output => return write!(f, "kill past {bound} bytes of output"),
        }
        f.write_str(match self.by_cgroup {
            true => ", which the cgroup counts",
            false => ", looked at again and again",
        })
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.resource {
            Resource::Core => "core",
            Resource::Processes => "processes",
            Resource::Files => "open files",
            Resource::LockedMemory => "bytes locked in memory",
            Resource::MessageQueues => "bytes in message queues",
            Resource::AddressSpace => "bytes of address space",
            Resource::FileSize => "bytes of a file",
            Resource::CpuSeconds => "seconds of CPU time",
            Resource::Stack => "bytes of stack",
            Resource::Data => "bytes of data",
            Resource::PendingSignals => "pending signals",
        };
        let amount = |n: u64| match n {
            u64::MAX => "unlimited".to_owned(),
            n => n.to_string(),
        };
        write!(f, "{what}: {}", amount(self.soft))?;
        if self.soft < self.hard {
            write!(f, ", may be raised to {}", amount(self.hard))?;
        }
        Ok(())
    }
}
