//! The system calls that a cell made, as a profile for them (OCI runtime specification, config-linux.md,
//! "Seccomp").

use crate::container::supervise::{Deeds, Denied};
use crate::error::{Error, Kind, Result};
use crate::plan::seccomp::Arch;
use crate::policy::BROADER;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Calls that a profile of system calls has whether they were seen or not, because chance decides
/// whether a program makes them: what waits for a thread, a child, a signal or a descriptor, and does not
/// where that came first; memory that grows in place or moves, how it ends; clocks that are read without
/// a call on most machines (vdso(7)); and what the launch itself makes under it. All of them act on the
/// program alone.
const BY_CHANCE: &[&str] = &[
    "brk",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "getcpu",
    "getpid",
    "getrusage",
    "gettid",
    "gettimeofday",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pselect6",
    "read",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "sched_yield",
    "select",
    "sendmsg",
    "tgkill",
    "time",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// What was made, and what was tried and refused, each with its errno: other runtimes refuse it alike.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Calls {
    made: BTreeSet<String>,
    refused: BTreeMap<String, u16>,
}

impl Calls {
    pub(super) fn of(deeds: &Deeds, denied: &[Denied]) -> Self {
        let arch = Arch::native();
        let made = deeds.calls.keys().filter_map(|number| arch.name(*number));
        let refused = denied.iter().filter_map(|denied| {
            let name = arch.name(denied.number?)?;
            Some((name.to_owned(), denied.errno))
        });
        let none = Self::default();
        none.and(Self {
            made: made.map(str::to_owned).collect(),
            refused: refused.collect(),
        })
    }

    /// How many were made.
    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    /// What both have; what was made once is not refused.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.made.extend(other.made);
        self.refused.extend(other.refused);
        let made = &self.made;
        self.refused.retain(|name, _| !made.contains(name));
        self
    }

    /// Reads what [`Self::profile`] wrote.
    ///
    /// # Errors
    /// `Malformed`: anything else.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self> {
        let bad = |cause: &str| Error::new(Kind::Malformed, format!("{file:?}: {cause}"));
        let value: Value = serde_json::from_str(text).map_err(|e| bad(&e.to_string()))?;
        let groups = value["syscalls"].as_array();
        let mut calls = Self::default();
        for group in groups.ok_or_else(|| bad("no syscalls"))? {
            if !group["args"].is_null() {
                return Err(bad("a group with args was not learnt"));
            }
            // What was added for chance is added anew.
            let comment = group["comment"].as_str().unwrap_or_default();
            if comment.starts_with(BROADER) {
                continue;
            }
            let names = group["names"]
                .as_array()
                .ok_or_else(|| bad("a group without names"))?;
            for name in names {
                let name = name.as_str().unwrap_or_default();
                if Arch::canonical(name).is_none() {
                    return Err(bad(&format!("no system call is called {name:?}")));
                }
                let errno = group["errnoRet"]
                    .as_u64()
                    .and_then(|errno| u16::try_from(errno).ok());
                match (group["action"].as_str(), errno) {
                    (Some("SCMP_ACT_ALLOW"), _) => {
                        calls.made.insert(name.to_owned());
                    }
                    (Some("SCMP_ACT_ERRNO"), Some(errno)) => {
                        calls.refused.insert(name.to_owned(), errno);
                    }
                    _ => return Err(bad("an action that was not learnt")),
                }
            }
        }
        Ok(Self::default().and(calls))
    }

    /// The profile.
    ///
    /// # Errors
    /// `Malformed`: it cannot be written.
    pub(super) fn profile(&self) -> Result<String> {
        let arch = match std::env::consts::ARCH {
            "aarch64" => "SCMP_ARCH_AARCH64",
            _ => "SCMP_ARCH_X86_64",
        };
        let by_chance: Vec<&&str> = BY_CHANCE
            .iter()
            .filter(|name| Arch::native().number(name).is_some() && !self.made.contains(**name))
            .collect();
        let mut groups = vec![
            serde_json::json!({
                "names": self.made,
                "action": "SCMP_ACT_ALLOW",
                "comment": "made by what was run",
            }),
            serde_json::json!({
                "names": by_chance,
                "action": "SCMP_ACT_ALLOW",
                "comment": format!("{BROADER}: chance decides whether a program makes these"),
            }),
        ];
        let errnos: BTreeSet<u16> = self.refused.values().copied().collect();
        for errno in errnos {
            let names = self.refused.iter().filter(|(_, of)| **of == errno);
            let names: Vec<&String> = names.map(|(name, _)| name).collect();
            groups.push(serde_json::json!({
                "names": names,
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": errno,
                "comment": "tried and refused: programs that fall back from this answer get it again",
            }));
        }
        let profile = serde_json::json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": libc::EPERM,
            "architectures": [arch],
            "syscalls": groups,
        });
        let text = serde_json::to_string_pretty(&profile);
        let text = text.map_err(|e| Error::new(Kind::Malformed, format!("the profile: {e}")))?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(made: &[&str], refused: &[(&str, u16)]) -> Calls {
        Calls {
            made: made.iter().map(|name| (*name).to_owned()).collect(),
            refused: refused
                .iter()
                .map(|(name, errno)| ((*name).to_owned(), *errno))
                .collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_what_was_made_once_is_allowed() {
        let one = calls(&["read", "futex"], &[("clone3", 38), ("mount", 1)]);
        let text = one.profile().unwrap();
        assert_eq!(Calls::parse(&text, Path::new("f")).unwrap(), one);
        let two = calls(&["clone3"], &[("read", 1)]);
        let both = calls(&["clone3", "futex", "read"], &[("mount", 1)]);
        assert_eq!(one.clone().and(two.clone()), both);
        assert_eq!(two.and(one), both);
        let profile: Value = serde_json::from_str(&text).unwrap();
        for group in profile["syscalls"].as_array().unwrap() {
            let allows = group["action"] == "SCMP_ACT_ALLOW";
            let names = group["names"].as_array().unwrap();
            assert!(
                !allows || !names.contains(&"mount".into()) && !names.contains(&"clone3".into())
            );
        }
    }

    #[test]
    fn what_was_not_learnt_is_not_learnt_on() {
        let group = |inner: &str| format!("{{\"syscalls\": [{{{inner}}}]}}");
        for bad in [
            "{}".to_owned(),
            "[".to_owned(),
            group("\"names\": [\"klone\"], \"action\": \"SCMP_ACT_ALLOW\""),
            group("\"names\": [\"clone\"], \"action\": \"SCMP_ACT_LOG\""),
            group("\"names\": [\"clone\"], \"action\": \"SCMP_ACT_ERRNO\""),
            group("\"names\": [\"clone\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": []"),
            group("\"action\": \"SCMP_ACT_ALLOW\""),
        ] {
            assert!(Calls::parse(&bad, Path::new("f")).is_err(), "{bad}");
        }
    }
}
