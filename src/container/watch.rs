//! What the supervisor watches beside streams and signals: the memory and the processor time of the
//! cell, by its cgroup or by looking at its processes.

use super::cgroup::Cgroup;
use super::helper::Helper;
use super::meter::{Holder, Meter, What};
use super::sampler::{Count, DESCRIPTORS, SHORTEST, Sample, Sampler, pause, processors};
use super::supervise::Ended;
use crate::error::{Error, Kind, Result};
use crate::plan::{Plan, Resource, Step, Watch, Watched};
use crate::sandbox::Running;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A view that takes no longer than this is asked for at once: the first look is near.
const SOON: Duration = Duration::from_millis(20);
/// How long pid 1 may take to show the cell.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the cell is seen.
#[derive(Debug)]
enum View {
    NotAsked,
    Asked(Instant),
    Here(Box<Sampler>),
    Helped(Helper),
}

impl View {
    /// Looks, with help from where that is needed.
    fn look(&mut self, count: Count) -> Result<Sample> {
        let sampler = match self {
            Self::Helped(helper) => return helper.look(count),
            Self::Here(sampler) => sampler,
            Self::NotAsked | Self::Asked(_) => return Err(unseen("nothing is shown")),
        };
        let sample = sampler.look(count)?;
        if let Some(pid) = sampler.blind()
            && let Some(helper) = Helper::start(sampler, pid)?
        {
            *self = Self::Helped(helper);
            return self.look(count);
        }
        Ok(sample)
    }
}

/// The watch over one cell.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    memory: Option<Watched>,
    time: Option<Watched>,
    cgroup: Option<&'a Cgroup>,
    view: View,
    due: Option<Instant>,
    processors: u64,
    /// The most memory that was seen, and the processor time at the last look.
    peak: Option<u64>,
    used: Option<u64>,
    /// The cgroup's processor time when the command started.
    base: u64,
    /// What the last look found of memory.
    seen: u64,
    longest: Duration,
    most: usize,
}

impl<'a> Watcher<'a> {
    /// Watches what the plan says. `cgroup`: the cell's, if it has one.
    pub(super) fn new(plan: &Plan, cgroup: Option<&'a Cgroup>) -> Self {
        let watched = plan.steps().iter().find_map(|planned| match &planned.step {
            Step::Supervise { watched, .. } => Some(watched.as_slice()),
            _ => None,
        });
        let of = |what| {
            let mut watched = watched.unwrap_or_default().iter();
            watched.find(|w| w.what == what).cloned()
        };
        Self {
            memory: of(Watch::Memory),
            time: of(Watch::CpuTime),
            cgroup,
            view: View::NotAsked,
            due: None,
            processors: 1,
            peak: None,
            used: None,
            base: 0,
            seen: 0,
            longest: Duration::ZERO,
            most: 0,
        }
    }

    fn sampled(&self, watched: &Option<Watched>) -> Option<u64> {
        watched.as_ref().filter(|w| w.sampled()).map(|w| w.bound)
    }

    /// The command goes: from here on its bounds count.
    pub(super) fn start(&mut self, running: &Running) -> Result<()> {
        let counted = self.time.as_ref().filter(|w| w.by_cgroup);
        if self.sampled(&self.memory).is_none() && self.time.is_none() {
            return Ok(());
        }
        self.processors = processors();
        if counted.is_some() {
            self.base = self.cgroup.and_then(Cgroup::time).unwrap_or(0);
        }
        let time = self.time.as_ref().map(|w| w.bound);
        let first = pause(
            self.sampled(&self.memory),
            time,
            self.processors,
            Duration::ZERO,
        );
        let sampled = self
            .sampled(&self.memory)
            .or(self.sampled(&self.time))
            .is_some();
        // The time counts from the first look on.
        if sampled && (first <= SOON || self.sampled(&self.time).is_some()) {
            self.ask(running)?;
        }
        self.due = Some(Instant::now() + first);
        Ok(())
    }

    fn ask(&mut self, running: &Running) -> Result<()> {
        running.ask_for_view()?;
        self.view = View::Asked(Instant::now());
        Ok(())
    }

    /// pid 1 shows the cell.
    pub(super) fn see(&mut self, view: Vec<OwnedFd>) -> Result<()> {
        self.view = View::Here(Box::new(Sampler::new(view)?));
        self.due = Some(Instant::now());
        Ok(())
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks, if it is time. What ends the cell, if anything does.
    ///
    /// # Errors
    /// `Launch`: the cell cannot be looked at, so that nothing would hold its bounds.
    pub(super) fn look(&mut self, running: &Running) -> Result<Option<Ended>> {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return Ok(None);
        }
        if let Some(time) = self.time.as_ref().filter(|w| w.by_cgroup) {
            let used = self.cgroup.and_then(Cgroup::time);
            let used = used.ok_or_else(|| unseen("its cgroup says no time"))?;
            let used = used.saturating_sub(self.base);
            self.used = Some(used);
            if used > time.bound {
                return Ok(Some(Ended::CpuTime));
            }
        }
        let (memory, time) = (self.sampled(&self.memory), self.sampled(&self.time));
        let (mut took, mut behind) = (Duration::ZERO, false);
        if memory.or(time).is_some() {
            match &mut self.view {
                View::NotAsked => {
                    self.ask(running)?;
                    self.due = Some(now + SHORTEST);
                    return Ok(None);
                }
                View::Asked(since) if now - *since > PATIENCE => {
                    return Err(unseen("pid 1 did not show its processes"));
                }
                View::Asked(_) => {
                    self.due = Some(now + SHORTEST);
                    return Ok(None);
                }
                View::Here(_) | View::Helped(_) => {
                    let time_too = time.is_some();
                    let sample = self.view.look(Count {
                        memory,
                        time: time_too,
                    })?;
                    took = now.elapsed();
                    behind = sample.behind;
                    self.longest = self.longest.max(took);
                    self.most = self.most.max(sample.processes);
                    if memory.is_some() && sample.exact {
                        self.peak = self.peak.max(Some(sample.memory));
                    }
                    self.seen = sample.memory;
                    if time.is_some() {
                        self.used = Some(sample.time);
                    }
                    if memory.is_some_and(|bound| sample.memory > bound) {
                        return Ok(Some(Ended::Memory));
                    }
                    if time.is_some_and(|bound| sample.time > bound) {
                        return Ok(Some(Ended::CpuTime));
                    }
                }
            }
        }
        // What was not looked at yet may be anything.
        let seen = if behind { u64::MAX } else { self.seen };
        let left = memory.map(|bound| bound.saturating_sub(seen));
        let time = self.time.as_ref().map(|w| w.bound);
        let time = time.map(|bound| bound.saturating_sub(self.used.unwrap_or(0)));
        self.due = Some(Instant::now() + pause(left, time, self.processors, took));
        Ok(None)
    }

    /// Everything was killed: nothing more is looked at.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    /// After the end: whether the kernel killed for want of memory; and the last counts.
    pub(super) fn end(&mut self) -> Option<Ended> {
        self.due = None;
        // Ends a helper, if there is one.
        self.view = View::NotAsked;
        let cgroup = self.cgroup?;
        if self.time.as_ref().is_some_and(|w| w.by_cgroup)
            && let Some(used) = cgroup.time()
        {
            self.used = Some(used.saturating_sub(self.base));
        }
        let bounded = self.memory.as_ref().is_some_and(|w| w.by_cgroup);
        (bounded && cgroup.memory_ran_out()).then_some(Ended::Memory)
    }

    /// What was counted.
    pub(super) fn meters(&self, plan: &Plan) -> Vec<Meter> {
        let mut meters = Vec::new();
        let error = |text: String, by| match by {
            Holder::Sampler => text,
            _ => String::new(),
        };
        let by = |watched: &Watched| match watched.by_cgroup {
            true => Holder::Cgroup,
            false => Holder::Sampler,
        };
        let late = (self.longest + SHORTEST * 3).as_millis();
        if let Some(watched) = &self.memory {
            let by = by(watched);
            let used = match by {
                Holder::Cgroup => self.cgroup.and_then(Cgroup::peak),
                _ => self.peak,
            };
            meters.push(Meter {
                error: error(
                    format!(
                        "looked at every {} ms or less often the further from the bound: noticed at \
                         most {late} ms late, in descriptors beyond {DESCRIPTORS} a look later for \
                         each; what no process maps is not seen",
                        SHORTEST.as_millis()
                    ),
                    by,
                ),
                ..Meter::exact(What::Memory, by, Some(watched.bound), used)
            });
        }
        if let Some(watched) = &self.time {
            let by = by(watched);
            meters.push(Meter {
                error: error(
                    format!(
                        "up to 20 ms of each process, and children that nobody waited for since they \
                         were last looked at, are not seen; noticed at most {late} ms late"
                    ),
                    by,
                ),
                ..Meter::exact(What::CpuTime, by, Some(watched.bound), self.used)
            });
        }
        for planned in plan.steps() {
            match &planned.step {
                Step::MakeCgroup(made) => {
                    for (file, content) in &made.files {
                        meters.extend(self.of_cgroup(file, content));
                    }
                }
                Step::MountMemory { size, .. } => {
                    let exact = Meter::exact(What::Tmp, Holder::Tmpfs, Some(*size), None);
                    meters.push(exact);
                }
                Step::SetRlimits(limits) => {
                    let bound = |n: u64| (n < u64::MAX).then_some(n);
                    meters.extend(limits.iter().map(|limit| {
                        let what = of_resource(limit.resource);
                        let bound = match what {
                            // 1 stands for nothing at all (core(5)).
                            What::Core => Some(0),
                            What::Cpu => bound(limit.soft).map(|s| s.saturating_mul(1_000_000_000)),
                            _ => bound(limit.soft),
                        };
                        Meter::exact(what, Holder::Rlimit, bound, None)
                    }));
                }
                _ => {}
            }
        }
        meters
    }

    fn of_cgroup(&self, file: &str, content: &str) -> Option<Meter> {
        let bound = content.parse().ok();
        let of = |what, bound, used| Some(Meter::exact(what, Holder::Cgroup, bound, used));
        match file {
            "memory.swap.max" => of(What::Swap, bound, self.cgroup.and_then(Cgroup::swap_peak)),
            "pids.max" => of(What::Pids, bound, self.cgroup.and_then(Cgroup::processes)),
            "cpu.max" => {
                let (quota, period) = content.split_once(' ')?;
                let millis = quota.parse::<u64>().ok()?.checked_mul(1000)?;
                of(What::Cpus, millis.checked_div(period.parse().ok()?), None)
            }
            _ => None,
        }
    }
}

fn of_resource(resource: Resource) -> What {
    match resource {
        Resource::Core => What::Core,
        Resource::Processes => What::Pids,
        Resource::Files => What::Nofile,
        Resource::LockedMemory => What::Memlock,
        Resource::MessageQueues => What::Msgqueue,
        Resource::AddressSpace => What::As,
        Resource::FileSize => What::Fsize,
        Resource::CpuSeconds => What::Cpu,
        Resource::Stack => What::Stack,
        Resource::Data => What::Data,
        Resource::PendingSignals => What::Sigpending,
    }
}

fn unseen(why: &str) -> Error {
    Error::new(
        Kind::Launch,
        format!("the container's memory or time cannot be measured: {why}; it was killed"),
    )
}
