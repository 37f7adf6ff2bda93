//! Landlock domains (landlock(7)) of exactly the rights that a kernel's ABI has; anything that the
//! kernel does not take in full is a failure.

use super::wire::Fault;
use crate::plan::LandlockRule;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::io::Errno;

type Done<T = ()> = Result<T, Fault>;

fn fault(errno: Errno, call: &'static str) -> Fault {
    Fault { errno, call }
}

fn known(abi: u32) -> BitFlags<AccessFs> {
    AccessFs::from_all(ABI::from(i32::try_from(abi).unwrap_or(0)))
}

/// One domain for pid 1 of a cell and everything after it.
pub fn cell(
    abi: u32,
    rules: &[LandlockRule],
    (signals, sockets): (bool, bool),
    logged: bool,
) -> Done {
    let nodes = AccessFs::MakeChar | AccessFs::MakeBlock;
    let rules = rules.iter().map(|rule| {
        let mut access = BitFlags::<AccessFs>::empty();
        if rule.files {
            access |= known(abi) & !(nodes | AccessFs::IoctlDev);
        }
        if rule.device_ioctl {
            access |= known(abi) & AccessFs::IoctlDev;
        }
        (rule.path.as_str(), access)
    });
    let mut scopes = BitFlags::empty();
    if signals {
        scopes |= Scope::Signal;
    }
    if sockets {
        scopes |= Scope::AbstractUnixSocket;
    }
    enforce(abi, rules, scopes, logged)
}

/// A worker's domain: files below its root, made (whiteouts are character devices 0:0), changed and
/// removed; nothing executed.
pub fn worker(abi: u32) -> Done {
    let access = known(abi) & !(AccessFs::Execute | AccessFs::IoctlDev | AccessFs::MakeBlock);
    let scopes = if abi >= 6 {
        Scope::Signal | Scope::AbstractUnixSocket
    } else {
        BitFlags::empty()
    };
    enforce(abi, [("/", access)].into_iter(), scopes, false)
}

fn enforce<'a>(
    abi: u32,
    rules: impl Iterator<Item = (&'a str, BitFlags<AccessFs>)>,
    scopes: BitFlags<Scope>,
    logged: bool,
) -> Done {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(known(abi))
        .map_err(|_| fault(Errno::INVAL, "landlock handled access"))?;
    if !scopes.is_empty() {
        ruleset = ruleset
            .scope(scopes)
            .map_err(|_| fault(Errno::INVAL, "landlock scope"))?;
    }
    let mut created = ruleset
        .create()
        .map_err(|_| fault(Errno::INVAL, "landlock_create_ruleset"))?;
    for (path, access) in rules.filter(|(_, access)| !access.is_empty()) {
        let path = PathFd::new(path).map_err(|_| fault(Errno::NOENT, "open a Landlock path"))?;
        created = created
            .add_rule(PathBeneath::new(path, access))
            .map_err(|_| fault(Errno::INVAL, "landlock_add_rule"))?;
    }
    if logged {
        created = created
            .log_new_exec(true)
            .map_err(|_| fault(Errno::INVAL, "landlock log of new programs"))?;
    }
    let status = created
        .restrict_self()
        .map_err(|_| fault(Errno::PERM, "landlock_restrict_self"))?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        return Err(fault(Errno::NOSYS, "landlock: not fully enforced"));
    }
    Ok(())
}
