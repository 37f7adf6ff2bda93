//! Limits of processes that a flag may ask for (setrlimit(2)), within what policies allow and what
//! the caller's own hard limits leave.

use super::decide::Judge;
use super::grants::{Granted, Origin, Reason};
use super::limit::{Limit, Unit};
use super::request::Request;
use super::words;

/// Descriptors of a process where no rule gives `nofile`.
const OPEN_FILES: u64 = 65_536;

/// A resource, by docker's name of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// RLIMIT_NPROC; policies call it `pids`.
    Nproc,
    /// RLIMIT_NOFILE.
    Nofile,
    /// RLIMIT_FSIZE, in bytes. A write past it raises SIGXFSZ, which ends a program that does not
    /// expect it; 0 lets a process write to no file at all.
    Fsize,
    /// RLIMIT_CPU, in seconds of a single process.
    Cpu,
    /// RLIMIT_STACK, in bytes.
    Stack,
    /// RLIMIT_AS, in bytes.
    As,
    /// RLIMIT_DATA, in bytes.
    Data,
    /// RLIMIT_MEMLOCK, in bytes.
    Memlock,
    /// RLIMIT_MSGQUEUE, in bytes.
    Msgqueue,
    /// RLIMIT_SIGPENDING.
    Sigpending,
}

impl Which {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Nproc,
        Self::Nofile,
        Self::Fsize,
        Self::Cpu,
        Self::Stack,
        Self::As,
        Self::Data,
        Self::Memlock,
        Self::Msgqueue,
        Self::Sigpending,
    ];

    /// docker's name: `nofile`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nproc => "nproc",
            other => other.limit().name(),
        }
    }

    /// What policies say of it.
    pub(super) fn limit(self) -> Limit {
        match self {
            Self::Nproc => Limit::Pids,
            Self::Nofile => Limit::Nofile,
            Self::Fsize => Limit::Fsize,
            Self::Cpu => Limit::Cpu,
            Self::Stack => Limit::Stack,
            Self::As => Limit::As,
            Self::Data => Limit::Data,
            Self::Memlock => Limit::Memlock,
            Self::Msgqueue => Limit::Msgqueue,
            Self::Sigpending => Limit::Sigpending,
        }
    }
}

/// A limit of a process; `u64::MAX` means none (RLIM_INFINITY).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Ulimit {
    /// Of what.
    pub which: Which,
    /// Where the kernel stops it.
    pub soft: u64,
    /// How far a process may raise its own soft limit; at least `soft`.
    pub hard: u64,
}

impl Judge<'_> {
    /// What is asked for, and for the rest what is given.
    pub(super) fn ulimits(&mut self, request: &Request) -> Vec<Granted<Ulimit>> {
        let mut granted = Vec::new();
        for which in Which::ALL {
            if let Some(ask) = request.ulimits.iter().find(|u| u.which == which) {
                let text = format!(
                    "--ulimit {}={}:{}",
                    which.name(),
                    number(ask.soft),
                    number(ask.hard)
                );
                self.within(which, ask.hard, &text);
                granted.push(Granted {
                    value: *ask,
                    origin: Origin::Flag("--ulimit"),
                });
            } else if which != Which::Nproc {
                granted.extend(self.given_ulimit(which));
            }
        }
        granted
    }

    /// What is given of a limit, and of descriptors a bound in any case; no more than the caller's own
    /// hard limit, which the kernel would not let a process of its pass.
    fn given_ulimit(&self, which: Which) -> Option<Granted<Ulimit>> {
        let given = match self.given_limit(which.limit()) {
            None if which == Which::Nofile => Granted {
                value: OPEN_FILES,
                origin: Origin::Always("the number of descriptors is bounded"),
            },
            given => given?,
        };
        let own = self.host.hard_limits.iter().find(|(w, _)| *w == which);
        let given = match own {
            Some((_, most)) if *most < given.value => Granted {
                value: *most,
                origin: Origin::Always("a cell has no more than its caller"),
            },
            _ => given,
        };
        Some(Granted {
            value: Ulimit {
                which,
                soft: given.value,
                hard: given.value,
            },
            origin: given.origin,
        })
    }

    /// Processes at once: `--pids-limit`, `--ulimit nproc` or what is given; the smallest that was
    /// asked for.
    pub(super) fn pids(
        &mut self,
        request: &Request,
        ulimits: &[Granted<Ulimit>],
    ) -> Option<Granted<u64>> {
        if let Some(asked) = request.pids_limit {
            let text = format!("--pids-limit {}", number(asked));
            self.within(Which::Nproc, asked, &text);
        }
        let by_limit = request.pids_limit.map(|value| Granted {
            value,
            origin: Origin::Flag("--pids-limit"),
        });
        let nproc = ulimits.iter().find(|u| u.value.which == Which::Nproc);
        let by_ulimit = nproc.map(|u| Granted {
            value: u.value.hard,
            origin: u.origin.clone(),
        });
        let asked = by_limit.into_iter().chain(by_ulimit);
        let least = asked.min_by_key(|granted| granted.value);
        least.or_else(|| self.given_limit(Limit::Pids))
    }

    /// Refuses what is more than policies allow, or than the caller could have outside.
    fn within(&mut self, which: Which, hard: u64, asked: &str) {
        // What no rule changes comes first: a cure that ends at the next refusal is none.
        let own = self.host.hard_limits.iter().find(|(w, _)| *w == which);
        if let Some((_, most)) = own
            && hard > *most
        {
            self.reasons.push(Reason {
                asked: asked.to_owned(),
                rule: format!("the caller's own hard limit of {}: {most}", which.name()),
                origin: Origin::Always("a cell has no more than its caller"),
                why: "no process may pass the hard limit of the one that started it".to_owned(),
                cure: vec![format!(
                    "ask for at most {most}, or raise your own: ulimit -H, limits.conf(5)"
                )],
            });
            return;
        }
        let written = match which.limit().unit() {
            Unit::Bytes => words::size(hard),
            Unit::Pieces | Unit::Millicpus => hard.to_string(),
            Unit::Seconds => format!("{hard}s"),
        };
        self.at_most(which.limit(), hard, asked, &written);
    }
}

/// A number as it was asked for.
fn number(n: u64) -> String {
    match n {
        u64::MAX => "unlimited".to_owned(),
        n => n.to_string(),
    }
}
