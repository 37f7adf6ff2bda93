//! How much of the machine can be used up from inside.

use super::attempt::Tester;
use super::finding::{Findings, Verdict};
use crate::error::Result;
use crate::sys::{self, SingleThread};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, WaitOptions, getrlimit, setrlimit};

/// More processes than this at once are no bound that a default cell has.
const MOST_PROCESSES: u64 = 4096;
/// statfs(2): TMPFS_MAGIC.
const TMPFS: i64 = 0x0102_1994;

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("limits");
    processes(t, f)?;
    core(t, f)?;
    for (name, resource, most) in [
        ("open files", Resource::Nofile, 1 << 20),
        ("locked memory", Resource::Memlock, 64 << 20),
        ("message queues", Resource::Msgqueue, 16 << 20),
    ] {
        let limit = getrlimit(resource);
        let bounded = limit.maximum.is_some_and(|n| n <= most);
        f.holds(&format!("a bound of {name}"), bounded, shown(limit.maximum));
    }
    t.refused(f, "raising a hard limit", &[], || {
        let limit = getrlimit(Resource::Nofile);
        let more = Rlimit {
            current: limit.current,
            maximum: limit.maximum.map_or(Some(1 << 30), |n| n.checked_add(1)),
        };
        setrlimit(Resource::Nofile, more).map(|()| 0)
    })?;
    memory(f);
    for place in ["/", "/tmp", "/dev/shm", "/dev"] {
        disk(f, place);
    }
    t.refused(f, "hiding from the OOM killer", &[libc::EROFS], || {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty())?;
        rustix::io::write(&file, b"-1000").map(|_| 0)
    })
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "without limit".to_owned(), |n| n.to_string())
}

/// Forks until the limit says no: children that wait, and are all killed.
fn processes(t: Tester, f: &mut Findings) -> Result<()> {
    const CHECK: &str = "a fork bomb";
    let limit = getrlimit(Resource::Nproc).current;
    match limit {
        Some(limit) if limit <= MOST_PROCESSES => {
            let outcome = t.in_child_for(120, || fork_until_refused(limit + 16))?;
            f.holds(
                CHECK,
                outcome.is_refused(&[libc::EAGAIN]),
                format!("limit {limit}: {}", outcome.describe()),
            );
        }
        other => f.holds(CHECK, false, format!("processes: {}", shown(other))),
    }
    Ok(())
}

/// EAGAIN if the limit holds; else how many there were.
fn fork_until_refused(most: u64) -> rustix::io::Result<i64> {
    let one = SingleThread::check().map_err(|_| Errno::IO)?;
    let mut children = Vec::new();
    let mut ended = Ok(0);
    while u64::try_from(children.len()).is_ok_and(|n| n < most) {
        match sys::fork(one) {
            Ok(Some(pid)) => children.push(pid),
            Ok(None) => {
                // None stays when the one that forks is killed.
                if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
                    sys::exit_now(1);
                }
                loop {
                    std::thread::park();
                }
            }
            Err(errno) => {
                ended = Err(errno);
                break;
            }
        }
    }
    for pid in children {
        rustix::process::kill_process(pid, Signal::KILL)?;
        rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
    }
    ended
}

/// RLIMIT_CORE is 1 and stays 1: 0 does not stop a core handler that is a program (core(5)).
fn core(t: Tester, f: &mut Findings) -> Result<()> {
    let limit = getrlimit(Resource::Core);
    f.holds(
        "a crash reaches no core handler",
        (limit.current, limit.maximum) == (Some(1), Some(1)),
        format!("RLIMIT_CORE {}", shown(limit.maximum)),
    );
    let outcome = t.in_child(|| {
        for value in [Some(0), None] {
            let limit = Rlimit {
                current: value,
                maximum: value,
            };
            // Whether it answers success or not, the limit must stay.
            if setrlimit(Resource::Core, limit).is_ok()
                && getrlimit(Resource::Core).current != Some(1)
            {
                return Ok(0);
            }
        }
        Err(Errno::PERM)
    })?;
    f.holds(
        "changing RLIMIT_CORE",
        outcome.is_refused(&[]),
        if outcome.is_refused(&[]) {
            "it stays at 1"
        } else {
            "it moved"
        },
    );
    Ok(())
}

/// Only a cgroup bounds memory of every sort (RLIMIT_AS does not see memfd or shm), and a cgroup
/// namespace hides it. What shows is the machine's own figures.
fn memory(f: &mut Findings) {
    let bounded = getrlimit(Resource::As).maximum.is_some();
    if bounded {
        f.add(
            "memory",
            Verdict::Downgraded,
            "address space is bounded per process; memfd and shared memory are not",
        );
    } else {
        f.add(
            "memory",
            Verdict::Downgraded,
            "the kernel bounds none of it: lazaret looks at what all processes take, and kills a cell \
             that takes too much; with -m a cgroup holds it, where one is to be had (lazaret doctor)",
        );
    }
}

fn disk(f: &mut Findings, place: &str) {
    let check = format!("bytes and inodes of {place}");
    let Ok(stat) = rustix::fs::statvfs(place) else {
        f.add(check, Verdict::Contained, "absent");
        return;
    };
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        f.add(check, Verdict::Contained, "read-only");
        return;
    }
    let bytes = stat.f_blocks.saturating_mul(stat.f_frsize);
    let tmpfs = rustix::fs::statfs(place).is_ok_and(|s| s.f_type == TMPFS);
    let machine = rustix::system::sysinfo();
    let memory = u64::from(machine.mem_unit).saturating_mul(machine.totalram);
    let verdict = judge_size(tmpfs, bytes, stat.f_files, memory);
    let note = if verdict == Verdict::Downgraded {
        ": the writable layer is on the host's disk and may fill it; --rm keeps it in memory"
    } else {
        ""
    };
    let detail = format!("{} MiB, {} inodes{note}", bytes >> 20, stat.f_files);
    f.add(check, verdict, detail);
}

/// A tmpfs that nobody bounded takes half the memory, or says 0 (tmpfs(5)). An overlay tells the
/// size of what takes its writes: in memory it is smaller than that, else it is a disk's.
fn judge_size(tmpfs: bool, bytes: u64, inodes: u64, memory: u64) -> Verdict {
    let bounded = bytes > 0 && inodes > 0 && bytes < memory / 2;
    match (bounded, tmpfs) {
        (true, _) => Verdict::Contained,
        (false, true) => Verdict::Open,
        (false, false) => Verdict::Downgraded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_judged_by_what_takes_the_writes() {
        let memory = 8 << 30;
        assert_eq!(judge_size(true, 64 << 20, 4096, memory), Verdict::Contained);
        assert_eq!(judge_size(true, 4 << 30, 4096, memory), Verdict::Open);
        assert_eq!(judge_size(true, 64 << 20, 0, memory), Verdict::Open);
        assert_eq!(judge_size(true, 0, 0, memory), Verdict::Open);
        assert_eq!(
            judge_size(false, 512 << 20, 32_768, memory),
            Verdict::Contained
        );
        assert_eq!(
            judge_size(false, 1 << 40, 1 << 24, memory),
            Verdict::Downgraded
        );
    }
}
