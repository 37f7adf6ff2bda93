//! Calls whose outcome is watched: the filter lets them pass as ever, by way of whoever watches
//! (SECCOMP_RET_TRACE), who then learns what the kernel decided. Where nobody watches, they fail with
//! ENOSYS.

use super::lists::{self, Listed};
use super::{Case, Condition, Rule, Rules, Verdict};
use crate::error::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

const SOURCE: &str = include_str!("../../../policies/syscalls/observed.toml");

/// What a filter says of a call that is watched (SECCOMP_RET_DATA), so that nobody takes another filter's
/// word for it.
pub const MARK: u16 = 0x4c5a;

/// Which calls are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Observe {
    /// Those whose refusal has something of the cell behind it (`policies/syscalls/observed.toml`).
    Outcomes,
    /// All that pass.
    Everything,
}

impl fmt::Display for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outcomes => {
                "what the kernel refuses of files, programs, sockets and users is watched"
            }
            Self::Everything => "all of them are watched",
        })
    }
}

impl Rules {
    /// The same rules with what `observe` means watched. Only what passes is: refusals stay as they
    /// are.
    ///
    /// # Errors
    /// `Malformed`: the list that is built in is not one.
    pub fn observed(&self, observe: Observe) -> Result<Self> {
        let wanted = match observe {
            Observe::Outcomes => Some(lists::read("observed.toml", SOURCE)?),
            Observe::Everything => None,
        };
        let rules = self.rules.iter().map(|(name, rule)| {
            let watched = match &wanted {
                None => Some(watch(rule, None)),
                Some(list) => list.get(name).map(|listed| watch(rule, Some(listed))),
            };
            (*name, watched.unwrap_or_else(|| rule.clone()))
        });
        Ok(Self {
            rules: rules.collect::<BTreeMap<_, _>>(),
            ..self.clone()
        })
    }
}

fn watch(rule: &Rule, listed: Option<&Listed>) -> Rule {
    let watched = |verdict: Verdict| match verdict {
        Verdict::Allow => Verdict::Watch,
        other => other,
    };
    let cases = rule.cases.iter().map(|case| Case {
        when: case.when.clone(),
        then: watched(case.then),
    });
    let mut cases: Vec<Case> = cases.collect();
    // What passes only by its arguments is watched whatever the pointer is.
    if let (Some(arg), true, Verdict::Allow) = (
        listed.and_then(|listed| listed.pointer),
        cases.is_empty(),
        rule.otherwise,
    ) {
        let null = Condition {
            arg,
            wide: true,
            is: vec![0],
            ..Condition::default()
        };
        cases.push(Case {
            when: vec![null],
            then: Verdict::Allow,
        });
    }
    Rule {
        cases,
        otherwise: watched(rule.otherwise),
        reason: rule.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::{Data, answer};
    use super::super::{Arch, Profile};
    use super::*;

    /// For every number and some arguments, the watched program passes on exactly what the plain one
    /// lets through.
    #[test]
    fn what_is_watched_is_what_passes() {
        for observe in [Observe::Outcomes, Observe::Everything] {
            for told in [false, true] {
                let mut profile = Profile::builtin("default", ["SYS_CHROOT"]).unwrap();
                (profile.told, profile.observed) = (told, Some(observe));
                let arch = Arch::native();
                let plain = profile.compile(arch).unwrap();
                let program = match told {
                    true => profile.compile_told(arch),
                    false => profile.compile_observed(arch),
                };
                let program = program.unwrap().unwrap();
                let mut watched = 0;
                for number in 0..600 {
                    for args in [[0; 6], [2; 6], [0x1002_0000; 6], [u64::MAX; 6]] {
                        let data = Data {
                            number,
                            arch: arch.audit(),
                            instruction: 0,
                            args,
                        };
                        let (was, is) = (answer(&plain, &data), answer(&program, &data));
                        let (was, is) = (was.unwrap(), is.unwrap());
                        if is == libc::SECCOMP_RET_TRACE | u32::from(MARK) {
                            assert_eq!(was, libc::SECCOMP_RET_ALLOW, "{number} {args:?}");
                            watched += 1;
                        } else if is == libc::SECCOMP_RET_USER_NOTIF {
                            assert!(told && was != libc::SECCOMP_RET_ALLOW, "{number}");
                        } else {
                            assert_eq!(was, is, "{number} {args:?}");
                            let all = observe == Observe::Everything;
                            assert!(!all || is != libc::SECCOMP_RET_ALLOW, "{number}");
                        }
                    }
                }
                assert!(watched > 80, "{watched}");
            }
        }
    }

    #[test]
    fn a_datagram_without_an_address_is_nobodys_business() {
        let mut profile = Profile::builtin("default", []).unwrap();
        profile.observed = Some(Observe::Outcomes);
        let program = profile.compile_observed(Arch::native()).unwrap().unwrap();
        let of = |address: u64| {
            let data = Data {
                number: Arch::native().number("sendto").unwrap(),
                arch: Arch::native().audit(),
                instruction: 0,
                args: [3, 1, 1, 0, address, 16],
            };
            answer(&program, &data).unwrap()
        };
        assert_eq!(of(0), libc::SECCOMP_RET_ALLOW);
        assert_eq!(of(1 << 40), Verdict::Watch.code());
    }
}
