//! What a cell was refused, told when it has ended: which call, by whom, by which rule, and what
//! would let it through. By the filter of system calls, or by the kernel because of how the cell is
//! made.

use super::journal::Journal;
use super::why::{self, Cell};
use crate::container::supervise::{Denied, Exit};
use crate::error::{Result, strerror};
use crate::image::ImageName;
use crate::plan::seccomp::{self, Arch, words};
use crate::policy::{Denials, Explain, Granted, Grants, Origin, Policy, Refused};
use crate::report::{self, Denial};
use rustix::io::Errno;
use std::collections::BTreeMap;

/// Decides on what nobody decided, whether refusals are told, by whether somebody reads it; and says
/// so where they cannot be. To be called before there is a plan.
pub(super) fn settle(grants: &mut Grants) {
    let asked = grants.explain.get_or_insert_with(|| {
        match rustix::termios::isatty(rustix::stdio::stderr()) {
            true => Granted {
                value: Explain::Calls,
                origin: Origin::Always("standard error is a terminal"),
            },
            false => Granted {
                value: Explain::Off,
                origin: Origin::Always("nobody asks what is refused"),
            },
        }
    });
    let narrowed = grants.narrowed.as_ref();
    let Some(narrowed) = narrowed.filter(|narrowed| !narrowed.value.can_tell()) else {
        return;
    };
    if asked.value.calls() && matches!(asked.origin, Origin::Flag(_)) {
        grants.notes.push(
            "refused system calls are not told: the seccomp profile does not allow sendmsg and \
             close, by which they would be"
                .to_owned(),
        );
    }
    // What is watched needs nothing of the profile.
    if asked.value == Explain::Calls {
        *asked = Granted {
            value: Explain::Off,
            origin: narrowed.origin.clone(),
        };
    }
}

/// Tells what was refused, on standard error and to the journal. `cell`: what was decided, for who asks
/// it more; called where something was watched.
///
/// # Errors
/// `Malformed`: a built-in set of system calls is not one. As the decision, which is asked again.
pub(super) fn tell(
    policy: &Policy,
    image: &ImageName,
    grants: &Grants,
    exit: &Exit,
    cell: impl FnOnce() -> Result<Cell>,
    journal: &mut Journal,
) -> Result<()> {
    let Some(asked) = &grants.explain else {
        return Ok(());
    };
    if asked.value == Explain::Off {
        return Ok(());
    }
    if let Some(errno) = exit.untold {
        if matches!(asked.origin, Origin::Flag(_)) {
            report::note(&untold(errno));
        }
        if asked.value.observes().is_none() {
            return Ok(());
        }
    }
    let mut denials = Vec::with_capacity(exit.denied.len());
    if !exit.denied.is_empty() {
        let rules = Denials::new(policy, image, grants)?;
        // Who learns hears of those that libraries fall back from, too.
        let quiet = match asked.value {
            Explain::Learn => seccomp::told::quiet()?,
            _ => BTreeMap::new(),
        };
        let name = |denied: &&Denied| Arch::native().name(denied.number?);
        let told_of = |denied: &&Denied| name(denied).is_none_or(|name| !quiet.contains_key(name));
        denials.extend(exit.denied.iter().filter(told_of).map(|denied| {
            let refused = Refused {
                number: denied.number,
                args: denied.args,
            };
            told(denied, rules.of(&refused))
        }));
    }
    if !exit.outcomes.is_empty() || !exit.logged.is_empty() {
        let cell = cell()?;
        denials.extend(why::denials(&cell, &exit.outcomes, &exit.logged)?);
        denials.extend(why::logged(&cell, &exit.outcomes, &exit.logged)?);
    }
    report::denials(&denials);
    journal.denials(denials);
    Ok(())
}

/// Why nothing could be told.
fn untold(errno: i32) -> String {
    let why = match Errno::from_raw_os_error(errno) {
        Errno::BUSY => "a filter around lazaret itself is told of them already".into(),
        Errno::INVAL => "this kernel tells nobody (Linux 5.0 does)".into(),
        Errno::MFILE => "the limit of open files (nofile) left no room for who is told".into(),
        _ => strerror(errno),
    };
    format!("refused system calls were not told: {why}")
}

fn told(denied: &Denied, by: crate::policy::Denial) -> Denial {
    let arch = Arch::native();
    let call = match (denied.number, &denied.shown) {
        (Some(number), Some(shown)) => words::call(arch, number, shown),
        (Some(number), None) => words::others(arch, number),
        (None, _) => "system calls of other numbers".to_owned(),
    };
    Denial {
        call,
        number: denied.number,
        program: denied.program.clone(),
        count: denied.times,
        errno: denied.errno,
        by,
    }
}
