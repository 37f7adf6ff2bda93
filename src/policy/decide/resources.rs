//! Memory, processors, output and disk: what is asked for or given, and who can hold it here.

use super::Judge;
use crate::policy::compose::Policy;
use crate::policy::facts::Cgroup;
use crate::policy::grants::{Downgrade, Granted, Origin, Reason, Resources};
use crate::policy::limit::{Limit, Unit};
use crate::policy::request::Request;
use crate::policy::subject::Subject;
use crate::policy::words;

/// How a run gets a cgroup of its own.
const SCOPE: &str =
    "start it in a scope: systemd-run --user --scope -p Delegate=yes lazaret run ...";

impl Judge<'_> {
    /// What a cell may take. `kept`: its writable layer is on disk.
    pub(super) fn resources(&mut self, request: &Request, kept: bool) -> Resources {
        let memory = self.asked_or_given(Limit::Memory, request.resources.memory, "--memory");
        let swap = self.swap(request, memory.is_some());
        let cpus = self.asked_or_given(Limit::Cpus, request.resources.cpus, "--cpus");
        let cpu_time = self.time(Limit::CpuTime, request.resources.cpu_time, "--cpu-time");
        let output = self.asked_or_given(Limit::Output, request.resources.output, "--output-limit");
        let disk = self.disk(request, kept);
        let mut resources = Resources {
            memory,
            swap,
            cpus,
            cpu_time,
            output,
            disk,
            cgroup: None,
        };
        if resources.wants_cgroup() {
            resources.cgroup = self.host.cgroup.clone();
        }
        self.hold_swap(request, &mut resources);
        self.hold_cpus(request, &mut resources);
        resources
    }

    /// The flag, which may ask for no more than is allowed; else what is given.
    fn asked_or_given(
        &mut self,
        limit: Limit,
        asked: Option<u64>,
        flag: &'static str,
    ) -> Option<Granted<u64>> {
        let Some(value) = asked else {
            return self.given_limit(limit);
        };
        let written = match (limit.unit(), value) {
            (_, u64::MAX) => "-1".to_owned(),
            (Unit::Bytes, n) => words::size(n),
            (Unit::Millicpus, n) => words::cpus(n),
            (_, n) => n.to_string(),
        };
        self.at_most(limit, value, &format!("{flag} {written}"), &written);
        Some(Granted {
            value,
            origin: Origin::Flag(flag),
        })
    }

    /// Swap beside the memory; none unless it is asked for or given.
    fn swap(&mut self, request: &Request, bounded: bool) -> Option<Granted<u64>> {
        if let Some(value) = request.resources.swap {
            let text = match value {
                u64::MAX => "--memory-swap -1".to_owned(),
                n => format!("--memory-swap with {} of swap", words::size(n)),
            };
            self.at_most(Limit::Swap, value, &text, &words::size(value));
            return Some(Granted {
                value,
                origin: Origin::Flag("--memory-swap"),
            });
        }
        if !bounded {
            return None;
        }
        self.given_limit(Limit::Swap).or(Some(Granted {
            value: 0,
            origin: Origin::Always("swap is memory too"),
        }))
    }

    /// The sampler counts swap as memory, and can hold none beside it.
    fn hold_swap(&mut self, request: &Request, resources: &mut Resources) {
        let by_cgroup = resources.by_cgroup("memory");
        let Some(swap) = resources.swap.as_mut().filter(|s| s.value > 0) else {
            return;
        };
        if by_cgroup {
            return;
        }
        if request.resources.swap.is_some() {
            let asked = "--memory-swap that is more than --memory".to_owned();
            let cure = "or make both the same: swap then counts as memory";
            let reason = self.no_cgroup("swap", "memory", asked, Some(cure));
            self.reasons.push(reason);
            return;
        }
        *swap = Granted {
            value: 0,
            origin: Origin::Always("nothing here tells swap and memory apart"),
        };
    }

    fn hold_cpus(&mut self, request: &Request, resources: &mut Resources) {
        let Some(cpus) = &resources.cpus else { return };
        if resources.by_cgroup("cpu") {
            return;
        }
        if let Some(asked) = request.resources.cpus {
            let asked = format!("--cpus {}", words::cpus(asked));
            let cure = "or bound the time that all processes together may take: --cpu-time";
            let reason = self.no_cgroup("cpus", "cpu", asked, Some(cure));
            self.reasons.push(reason);
            return;
        }
        self.downgrades.push(Downgrade {
            property: format!("{} processors at once", words::cpus(cpus.value)),
            instead: "nothing holds that here".to_owned(),
            hint: SCOPE.to_owned(),
        });
        resources.cpus = None;
    }

    /// Why a limit that only a cgroup can hold is refused.
    fn no_cgroup(
        &self,
        limit: &str,
        controller: &str,
        asked: String,
        other: Option<&str>,
    ) -> Reason {
        let why = match &self.host.cgroup {
            Some(cgroup) => format!(
                "the cgroup {} has no controller {controller}",
                words::shown(&cgroup.folder)
            ),
            None => self.host.no_cgroup.clone(),
        };
        let mut cure = vec![match &self.host.cgroup {
            Some(_) => format!(
                "have the administrator delegate {controller}: systemd.resource-control(5), Delegate="
            ),
            None => SCOPE.to_owned(),
        }];
        cure.extend(other.map(str::to_owned));
        Reason {
            asked,
            rule: format!("limit {limit}: held by a cgroup alone (controller {controller})"),
            origin: Origin::Always("a limit that nothing holds is a refusal"),
            why,
            cure,
        }
    }

    /// The writable layer: in memory a tmpfs has a size; on disk nobody but root sets a quota.
    fn disk(&mut self, request: &Request, kept: bool) -> Option<Granted<u64>> {
        let disk = self.asked_or_given(Limit::Disk, request.resources.disk, "--disk")?;
        if !kept {
            return Some(disk);
        }
        if request.resources.disk.is_some() {
            self.reasons.push(Reason {
                asked: format!("--disk {}", words::size(disk.value)),
                rule: "limit disk: held by the size of a tmpfs alone".to_owned(),
                origin: Origin::Always("a limit that nothing holds is a refusal"),
                why: "this run keeps what it writes on disk, where only root could set a quota"
                    .to_owned(),
                cure: vec![
                    "--rm keeps it in memory, where --disk is its size".to_owned(),
                    "or --read-only: then there is no writable layer".to_owned(),
                ],
            });
        }
        // What is only given is told by the property `disk`.
        None
    }

    /// Requirements of these limits: whether each is held, and what would bound it.
    pub(super) fn is_held(resources: &Resources, limit: Limit, kept: bool) -> (bool, &'static str) {
        match limit {
            Limit::Memory => (resources.memory.is_some(), "-m sets one"),
            Limit::Swap => (
                resources.swap.as_ref().is_some_and(|s| s.value < u64::MAX),
                "-m sets one, and --memory-swap another",
            ),
            Limit::Cpus => (
                resources.cpus.is_some(),
                "--cpus sets one, where a cgroup holds it",
            ),
            Limit::CpuTime => (resources.cpu_time.is_some(), "--cpu-time sets one"),
            Limit::Output => (resources.output.is_some(), "--output-limit sets one"),
            Limit::Disk => (
                !kept,
                "--rm keeps what is written in memory, where a size is set",
            ),
            // No core is ever written.
            _ => (limit == Limit::Core, ""),
        }
    }
}

impl Resources {
    /// Whether a cgroup would hold any of it better than what there is without one. A bound of the
    /// memory that nobody asked for is not worth making one.
    fn wants_cgroup(&self) -> bool {
        let asked = |origin: &Origin| !matches!(origin, Origin::Rule { builtin: true, .. });
        self.cpus.is_some()
            || self.cpu_time.is_some()
            || self.memory.as_ref().is_some_and(|m| asked(&m.origin))
            || self.swap.as_ref().is_some_and(|s| s.value > 0)
    }

    /// Whether the cell's cgroup has this controller.
    pub fn by_cgroup(&self, controller: &str) -> bool {
        let has = |cgroup: &Cgroup| cgroup.controllers.iter().any(|c| c == controller);
        self.cgroup.as_ref().is_some_and(has)
    }
}

/// Whether a decision would look at the caller's cgroup: `host` looks only then, because most runs
/// need none.
pub fn wants_cgroup(policy: &Policy, request: &Request) -> bool {
    let asked = request.resources.memory.is_some()
        || request.resources.swap.is_some()
        || request.resources.cpus.is_some();
    if asked || request.resources.cpu_time.is_some() {
        return true;
    }
    let subject = Subject::of(&request.image);
    let rules = policy.gives(&subject);
    rules.iter().any(|(_, rule)| {
        rule.limits.iter().any(|entry| match entry.key {
            Limit::Swap | Limit::Cpus | Limit::CpuTime => true,
            Limit::Memory => {
                !matches!(rule.head.at(entry.line), Origin::Rule { builtin: true, .. })
            }
            _ => false,
        })
    })
}
