//! The limits of a run, outside of the decision: who looks whether there is a cgroup, who makes it,
//! and what is said of a bound that was crossed.

use crate::container::cgroup::Cgroup;
use crate::container::meter::What;
use crate::container::supervise::{Ended, Exit};
use crate::error::{Error, Kind, Result};
use crate::host::NoCgroup;
use crate::plan::{CellCgroup, Plan, Step, Watch};
use crate::policy::{Cgroup as Delegated, HostFacts, Policy, Request, SCOPE, wants_cgroup};
use crate::report;
use crate::sandbox::Launch;
use std::time::Duration;

/// What this machine offers, its cgroups too if what is asked for or given has any use for one. Where
/// none is delegated, systemd is asked for a scope, and this process is in it from then on; who only
/// `looks` learns that there would be one, and asks nobody.
pub(super) fn with_cgroup(
    host: HostFacts,
    policy: &Policy,
    request: &Request,
    looks: bool,
) -> HostFacts {
    if !wants_cgroup(policy, request) {
        return host;
    }
    let cgroup = crate::host::cgroup().or_else(|none| match none.scope {
        true => in_scope(looks).map_err(|why| NoCgroup {
            why: format!("{}, and {why}", none.why),
            ..none
        }),
        false => Err(none),
    });
    match cgroup {
        Ok(cgroup) => HostFacts {
            cgroup: Some(cgroup),
            ..host
        },
        Err(none) => HostFacts {
            no_cgroup: none.why,
            ..host
        },
    }
}

fn in_scope(looks: bool) -> std::result::Result<Delegated, String> {
    let offer = crate::host::scope::offer()?;
    if !looks {
        offer.take()?;
        crate::host::cgroup()
            .map_err(|none| format!("in the scope that systemd made {}", none.why))?;
        if offer.ends_with_session() {
            report::note(
                "the cgroup is one of systemd's for you: the run ends with your last session, unless you \
                 linger (loginctl enable-linger)",
            );
        }
    }
    Ok(offer.cgroup())
}

/// Makes the cell's cgroup, if the plan has one, for the clone to be born into.
///
/// # Errors
/// `Host`: the kernel refuses it.
pub(super) fn make(plan: &Plan) -> Result<Option<Cgroup>> {
    let planned = plan.steps().iter().find_map(|planned| match &planned.step {
        Step::MakeCgroup(cgroup) => Some(cgroup),
        _ => None,
    });
    let Some(planned) = planned else {
        return Ok(None);
    };
    if planned.folder != SCOPE {
        return Cgroup::make(planned).map(Some);
    }
    // This process has been in it since the decision.
    let scope = crate::host::cgroup().map_err(|none| Error::new(Kind::Host, none.why))?;
    Cgroup::make(&CellCgroup {
        folder: scope.folder,
        ..planned.clone()
    })
    .map(Some)
}

/// Has the clone be born into that.
pub(super) fn enter(launch: &mut Launch, cgroup: Option<&Cgroup>) -> Result<()> {
    if let Some(cgroup) = cgroup {
        launch.into_cgroup(cgroup.entrance()?);
    }
    Ok(())
}

/// Takes the cell's cgroup away again. The run is over: what could not be removed is told, and the
/// next run tries again.
pub(super) fn leave(cgroup: Option<Cgroup>) {
    if let Some(Err(error)) = cgroup.map(Cgroup::remove) {
        report::stderr(&format!(
            "lazaret: the container's cgroup could not be removed: {error}\n"
        ));
    }
}

/// Says which bound was crossed.
pub(super) fn tell(plan: &Plan, exit: &Exit) {
    let bound = |what| {
        let mut steps = plan.steps().iter();
        steps.find_map(|planned| match &planned.step {
            Step::Supervise { watched, .. } => watched.iter().find(|w| w.what == what),
            _ => None,
        })
    };
    let timeout = plan.steps().iter().find_map(|planned| match &planned.step {
        Step::Supervise { timeout, .. } => *timeout,
        _ => None,
    });
    let bytes = |what| bound(what).map(|w| size(w.bound));
    let text = match exit.how {
        Ended::Timeout => timeout.map(|t| format!("the time limit of {t:?} ran out")),
        Ended::Memory => {
            bytes(Watch::Memory).map(|b| format!("the memory limit of {b} was crossed"))
        }
        Ended::CpuTime => bound(Watch::CpuTime).map(|w| {
            let time = Duration::from_nanos(w.bound);
            format!("the limit of {time:?} of processor time was crossed")
        }),
        Ended::Output => {
            bytes(Watch::Output).map(|b| format!("the output limit of {b} was crossed"))
        }
        Ended::Disk => Some("the writable layer grew past its bound".to_owned()),
        Ended::Signal(libc::SIGKILL | libc::SIGXCPU) => one_process(exit),
        Ended::Code(_) | Ended::Signal(_) => None,
    };
    if let Some(text) = text {
        report::stderr(&format!("lazaret: {text}: killed\n"));
    }
}

/// The kernel ends a process at RLIMIT_CPU without a word (setrlimit(2)), and tells nobody why: that all
/// of them together have used as much is as near as it can be known.
fn one_process(exit: &Exit) -> Option<String> {
    let meter = exit.meters.iter().find(|meter| meter.what == What::Cpu)?;
    let bound = Duration::from_nanos(meter.bound?);
    let used = exit.usage.user + exit.usage.system;
    // The limit counts whole ticks of the kernel's clock, which have been seen to be a tenth too many.
    (used >= bound * 3 / 4).then(|| {
        format!(
            "a process may use {bound:?} of processor time (--ulimit cpu), and {used:?} were used"
        )
    })
}

/// Bytes in the largest unit that says them exactly.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units
        .iter()
        .find(|(_, shift)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    match unit {
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}
