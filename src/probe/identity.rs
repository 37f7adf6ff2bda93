//! Who this process is, what it may do, and whether the filters stand.

use super::attempt::{Outcome, Tester};
use super::finding::{Findings, Verdict, errno_name};
use crate::error::{Context, Result};
use crate::sys::probe_calls::{PRIVILEGE_CALLS, Request, ioctl, securebits};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use std::os::fd::AsFd;

/// Capabilities that policy may grant; every other one is never granted by a profile.
const GRANTABLE: &[(u32, &str)] = &[
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (3, "FOWNER"),
    (4, "FSETID"),
    (5, "KILL"),
    (6, "SETGID"),
    (7, "SETUID"),
    (10, "NET_BIND_SERVICE"),
    (18, "SYS_CHROOT"),
    (31, "SETFCAP"),
];

/// securebits (capabilities(7)): NOROOT, and the locks of all four.
const NOROOT_AND_LOCKS: i64 = 0b1010_1011;

/// The value of `key` in /proc/self/status (proc_pid_status(5)).
fn status(text: &str, key: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("identity and privileges");
    let text =
        std::fs::read_to_string("/proc/self/status").or_call(|| "read \"/proc/self/status\"")?;
    let map =
        std::fs::read_to_string("/proc/self/uid_map").or_call(|| "read \"/proc/self/uid_map\"")?;
    let single = ids(f, &map);
    groups(f, &text, single);
    let granted = capabilities(f, &text);
    if granted == 0 {
        let bits = securebits().unwrap_or(0);
        f.holds(
            "securebits are locked",
            bits & NOROOT_AND_LOCKS == NOROOT_AND_LOCKS,
            format!("{bits:#x}"),
        );
    }
    let no_new = status(&text, "NoNewPrivs");
    f.holds(
        "no_new_privs is set",
        no_new.as_deref() == Some("1"),
        format!("NoNewPrivs {no_new:?}"),
    );
    let filter = status(&text, "Seccomp");
    f.holds(
        "a system call filter stands",
        filter.as_deref() == Some("2"),
        format!("Seccomp {filter:?}"),
    );
    landlock(t, f)?;
    for place in ["/", "/tmp", "/dev/shm"] {
        if let Ok(stat) = rustix::fs::statvfs(place) {
            let set = stat.f_flag.contains(StatVfsMountFlags::NOSUID);
            f.holds(
                &format!("setuid files gain nothing on {place}"),
                set || no_new.as_deref() == Some("1"),
                if set { "nosuid" } else { "no_new_privs" },
            );
        }
    }
    for call in PRIVILEGE_CALLS {
        // EINVAL: an id that does not exist in this user namespace.
        let outcome = t.in_child(|| call.attempt())?;
        let verdict = match outcome {
            o if o.is_refused(&[libc::EINVAL]) => Verdict::Contained,
            _ if granted != 0 && ungrantable(granted) == 0 => Verdict::Downgraded,
            _ => Verdict::Open,
        };
        f.add(call.name, verdict, outcome.describe());
    }
    Ok(())
}

/// uid_map (user_namespaces(7)): inside, outside, count. True for one id only.
fn ids(f: &mut Findings, map: &str) -> bool {
    let rows: Vec<Vec<u64>> = map
        .lines()
        .map(|line| {
            line.split_whitespace()
                .filter_map(|n| n.parse().ok())
                .collect()
        })
        .collect();
    let host_root = rows.iter().any(|row| matches!(row[..], [_, 0, _]));
    f.holds(
        "no id inside is the host's root",
        !host_root && !rows.is_empty(),
        map.split_whitespace().collect::<Vec<_>>().join(" "),
    );
    let single = matches!(&rows[..], [row] if row.last() == Some(&1));
    if single && !host_root {
        let outside = rows[0].get(1).copied().unwrap_or_default();
        f.add(
            "the payload's id is not the caller's",
            Verdict::Downgraded,
            format!(
                "one id inside, and outside it is the caller's, {outside}: no subordinate ids; \
                 add a range to /etc/subuid and /etc/subgid and install newuidmap"
            ),
        );
    } else {
        f.holds(
            "the payload's id is not the caller's",
            !host_root
                && rows
                    .iter()
                    .all(|row| row.get(2).is_some_and(|count| *count > 1)),
            "subordinate ids",
        );
    }
    single
}

fn groups(f: &mut Findings, text: &str, single: bool) {
    const CHECK: &str = "the caller's groups are gone";
    let groups = status(text, "Groups").unwrap_or_default();
    // The caller's own group, which most lists of groups hold, is the one that is mapped.
    let unmapped: Vec<&str> = groups
        .split_whitespace()
        .filter(|g| *g == "65534")
        .collect();
    if single && !unmapped.is_empty() {
        let detail = format!(
            "setgroups is refused with one id: {} supplementary groups of the caller stay in force",
            unmapped.len()
        );
        f.add(CHECK, Verdict::Downgraded, detail);
    } else {
        f.holds(CHECK, unmapped.is_empty(), format!("groups {groups:?}"));
    }
}

/// All five sets; what is in them, as bits.
fn capabilities(f: &mut Findings, text: &str) -> u64 {
    let mut all = 0;
    for (key, name) in [
        ("CapInh", "inheritable"),
        ("CapPrm", "permitted"),
        ("CapEff", "effective"),
        ("CapBnd", "bounding"),
        ("CapAmb", "ambient"),
    ] {
        let set = status(text, key).and_then(|hex| u64::from_str_radix(&hex, 16).ok());
        let (verdict, detail) = judge_set(key, set.unwrap_or(u64::MAX));
        f.add(format!("{name} capabilities"), verdict, detail);
        all |= set.unwrap_or(u64::MAX);
    }
    all
}

/// What of a set policy never grants.
fn ungrantable(set: u64) -> u64 {
    GRANTABLE
        .iter()
        .fold(set, |rest, (bit, _)| rest & !(1 << bit))
}

fn judge_set(key: &str, set: u64) -> (Verdict, String) {
    let never = GRANTABLE
        .iter()
        .fold(set, |rest, (bit, _)| rest & !(1 << bit));
    // Ambient and inheritable stay empty in every tier.
    if never != 0 || (set != 0 && matches!(key, "CapAmb" | "CapInh")) {
        return (Verdict::Open, format!("{set:016x}"));
    }
    if set == 0 {
        return (Verdict::Contained, "none".to_owned());
    }
    let names: Vec<&str> = GRANTABLE
        .iter()
        .filter(|(bit, _)| set & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect();
    (Verdict::Downgraded, format!("granted: {}", names.join(" ")))
}

/// Landlock refuses ioctls of devices from ABI 5 on; without it, anybody who may read /dev/urandom
/// may ask for the entropy count. Before that, nothing that only Landlock refuses is left to try.
fn landlock(t: Tester, f: &mut Findings) -> Result<()> {
    const CHECK: &str = "Landlock stands behind the mounts";
    let outcome = t.in_child(|| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/urandom", flags, Mode::empty())?;
        ioctl(device.as_fd(), Request::EntropyCount)
    })?;
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let version: (u32, u32) = (
        numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0),
        numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0),
    );
    match outcome {
        Outcome::Refused(errno) if errno == libc::EACCES => {
            f.add(CHECK, Verdict::Contained, errno_name(errno));
        }
        // ABI 5 came with Linux 6.10.
        _ if version < (6, 10) => f.add(
            CHECK,
            Verdict::Downgraded,
            format!(
                "cannot be seen from inside on Linux {}.{}",
                version.0, version.1
            ),
        ),
        other => f.add(
            CHECK,
            Verdict::Open,
            format!("a device ioctl: {}", other.describe()),
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_sets_are_judged_by_what_policy_may_grant() {
        assert_eq!(judge_set("CapEff", 0).0, Verdict::Contained);
        assert_eq!(judge_set("CapEff", 0b11).0, Verdict::Downgraded);
        // NET_RAW and SYS_ADMIN are never granted; ambient is empty in every tier.
        assert_eq!(judge_set("CapEff", 1 << 13).0, Verdict::Open);
        assert_eq!(judge_set("CapBnd", 1 << 21).0, Verdict::Open);
        assert_eq!(judge_set("CapAmb", 1).0, Verdict::Open);
        assert_eq!(judge_set("CapEff", u64::MAX).0, Verdict::Open);
    }

    #[test]
    fn the_callers_own_group_is_no_other() {
        let verdict = |single: bool, list: &str| {
            let mut f = Findings::default();
            groups(&mut f, &format!("Groups:\t{list} \n"), single);
            (f.list()[0].verdict, f.list()[0].detail.clone())
        };
        use Verdict::{Contained, Downgraded, Open};
        for (single, list) in [(false, ""), (false, "0"), (true, ""), (true, "0")] {
            assert_eq!(verdict(single, list).0, Contained, "{list:?}");
        }
        assert_eq!(verdict(false, "0 65534").0, Open);
        let (weaker, why) = verdict(true, "0 65534 65534");
        assert_eq!(weaker, Downgraded);
        assert!(why.contains(": 2 supplementary"), "{why}");
    }

    #[test]
    fn id_maps_tell_host_root_single_and_range_apart() {
        let verdicts = |map: &str| {
            let mut f = Findings::default();
            ids(&mut f, map);
            f.list().iter().map(|x| x.verdict).collect::<Vec<_>>()
        };
        use Verdict::{Contained, Downgraded, Open};
        assert_eq!(verdicts("0 1000 1\n"), [Contained, Downgraded]);
        assert_eq!(verdicts("0 100000 65536\n"), [Contained, Contained]);
        assert_eq!(verdicts("0 0 4294967295\n"), [Open, Open]);
        assert_eq!(verdicts("0 0 1\n"), [Open, Open]);
        assert_eq!(verdicts("")[0], Open);
    }
}
