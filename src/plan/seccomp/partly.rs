//! What rules answer to a call of which not every argument is known.

use super::table::X32_BIT;
use super::words::{self, Call};
use super::{Arch, Condition, Rule, Rules, Verdict};

impl Condition {
    /// Whether it holds; `None`: its argument is not known.
    fn holds(&self, args: &[Option<u64>; 6]) -> Option<bool> {
        let known = (*args.get(usize::from(self.arg))?)?;
        let cut = match self.wide {
            true => known,
            false => known & u64::from(u32::MAX),
        };
        let value = cut & self.mask.unwrap_or(u64::MAX);
        Some(match (self.at_least, self.at_most) {
            (Some(least), _) => value >= least,
            (_, Some(most)) => value <= most,
            _ if self.not.is_empty() => self.is.contains(&value),
            _ => !self.not.contains(&value),
        })
    }

    fn in_words(&self, name: &str) -> String {
        let values = |values: &[u64]| {
            let all = values.iter().map(|v| words::argument(name, self.arg, *v));
            all.collect::<Vec<_>>().join(" ")
        };
        let masked = self.mask.map_or_else(String::new, |m| format!(" & {m:#x}"));
        let what = match (self.at_least, self.at_most, self.is.len()) {
            (Some(least), ..) => format!("at least {least}"),
            (_, Some(most), _) => format!("at most {most}"),
            (_, _, 0) => format!("not {}", values(&self.not)),
            (_, _, 1) => values(&self.is),
            _ => format!("one of {}", values(&self.is)),
        };
        format!("argument {}{masked} is {what}", u32::from(self.arg) + 1)
    }
}

impl Rule {
    /// The cases in words, in the order in which they are tried; empty where arguments do not matter.
    pub fn in_words(&self, name: &str) -> Vec<String> {
        let cases = self.cases.iter().map(|case| {
            let when: Vec<String> = case.when.iter().map(|when| when.in_words(name)).collect();
            format!("{} where {}", case.then, when.join(" and "))
        });
        let mut cases: Vec<String> = cases.collect();
        if !cases.is_empty() {
            cases.push(format!("{} otherwise", self.otherwise));
        }
        cases
    }
}

impl Rules {
    /// Every answer that a call may get, whatever is not known of it: each once, never none.
    pub fn outcomes(&self, arch: Arch, call: &Call) -> Vec<Verdict> {
        let foreign = arch == Arch::X86_64 && call.number.is_some_and(|n| n >= X32_BIT);
        let rule = match call.name {
            _ if foreign => return vec![Verdict::Kill],
            None => return vec![self.unknown],
            Some(name) => self.rules.get(name),
        };
        let Some(rule) = rule else {
            return vec![self.refused];
        };
        let mut all = Vec::new();
        let mut add = |verdict| {
            if !all.contains(&verdict) {
                all.push(verdict);
            }
        };
        for case in &rule.cases {
            // One that does not hold is enough, whatever is not known of the others.
            let mut holds = Some(true);
            for when in &case.when {
                match when.holds(&call.args) {
                    Some(true) => {}
                    None => holds = None,
                    Some(false) => {
                        holds = Some(false);
                        break;
                    }
                }
            }
            if holds != Some(false) {
                add(case.then);
            }
            if holds == Some(true) {
                return all;
            }
        }
        add(rule.otherwise);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::{Data, answer};
    use super::super::{Instruction, Profile};
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::sync::LazyLock;

    const ARCH: Arch = Arch::X86_64;

    fn outcomes(text: &str) -> String {
        let rules = Profile::builtin("default", []).unwrap().rules().unwrap();
        let all = rules.outcomes(ARCH, &words::read(ARCH, text).unwrap());
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        all.join(" ")
    }

    #[test]
    fn what_is_not_known_leaves_more_than_one_answer() {
        for (call, want) in [
            ("read", "allow"),
            ("mount", "EPERM"),
            ("clone3", "ENOSYS"),
            ("4000", "ENOSYS"),
            ("0x40000001", "kill"),
            ("clone", "allow EPERM"),
            ("clone(CLONE_NEWUSER)", "EPERM"),
            ("clone(0)", "allow"),
            ("socket(AF_PACKET)", "EAFNOSUPPORT"),
            ("socket(AF_UNIX)", "allow"),
            ("socket(AF_NETLINK)", "EPROTONOSUPPORT allow"),
            ("socket(AF_INET, SOCK_RAW)", "EPROTONOSUPPORT EPERM"),
            ("socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)", "EPERM"),
            ("ioctl(TIOCSTI)", "EPERM"),
            ("ioctl", "EPERM allow"),
            ("prlimit64", "ignore allow"),
        ] {
            assert_eq!(outcomes(call), want, "{call}");
        }
    }

    #[test]
    fn cases_are_told_in_words() {
        let rules = Profile::builtin("default", []).unwrap().rules().unwrap();
        assert_eq!(
            rules.rules["ioctl"].in_words("ioctl"),
            [
                "EPERM where argument 2 is one of TIOCSTI TIOCLINUX TIOCSETD",
                "allow otherwise"
            ]
        );
        assert_eq!(
            rules.rules["clone"].in_words("clone"),
            [
                "allow where argument 1 & 0x7e020000 is 0",
                "EPERM otherwise"
            ]
        );
        assert_eq!(rules.rules["read"].in_words("read"), [""; 0]);
    }

    /// The default set, and its filter.
    static DEFAULT: LazyLock<(Rules, Vec<Instruction>)> = LazyLock::new(|| {
        let set = Profile::builtin("default", []).unwrap();
        (set.rules().unwrap(), set.compile(ARCH).unwrap())
    });

    /// The calls whose arguments decide.
    fn with_cases() -> Vec<u32> {
        let rules = DEFAULT.0.rules.iter();
        let cased = rules.filter(|(_, rule)| !rule.cases.is_empty());
        cased.filter_map(|(name, _)| ARCH.number(name)).collect()
    }

    proptest! {
        /// With all arguments known there is one answer, and it is the filter's.
        #[test]
        fn what_is_known_is_answered_as_by_the_filter(
            number in prop_oneof![0u32..470, select(with_cases())],
            args in proptest::array::uniform6(prop_oneof![
                0u64..20,
                any::<u64>(),
                // Bits that no condition counts, beside those that one does.
                select(vec![0x5412, 0x11, 0x8_0001, 0x8_0003, 0x10, 0x81a4, 0x21a4, 0x1000_0011]),
                (0u64..20).prop_map(|low| low | 1 << 40),
            ]),
        ) {
            let call = Call { name: ARCH.name(number), number: Some(number), args: args.map(Some) };
            let (rules, program) = &*DEFAULT;
            let all = rules.outcomes(ARCH, &call);
            let data = Data { number, arch: ARCH.audit(), instruction: 0, args };
            let said = answer(program, &data);
            prop_assert_eq!(all.len(), 1);
            prop_assert_eq!(Some(all[0].code()), said);
        }
    }
}
