//! Every compiled verdict against a second, plain reading of the data.

// Registers are cut to 32 bits here on purpose: that is what is tested.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
use super::*;
use crate::plan::seccomp::table::X32_BIT;
use proptest::prelude::*;

mod json;
mod told;

const NATIVE: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ENOSYS: Verdict = Verdict::Errno(libc::ENOSYS as u16);
const EPERM: Verdict = Verdict::Errno(libc::EPERM as u16);

/// struct seccomp_data, as a filter sees it.
#[derive(Debug, Clone, Copy)]
struct Call {
    nr: u32,
    arch: u32,
    args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            16..64 => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) {
                    arg as u32
                } else {
                    (arg >> 32) as u32
                }
            }
            other => panic!("load at {other}"),
        }
    }
}

/// Runs a program as the kernel would; panics on what the kernel's checker would refuse.
fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut a, mut pc, mut steps) = (0u32, 0usize, 0);
    loop {
        steps += 1;
        let i = &program[pc];
        pc += 1;
        let (jt, jf) = (usize::from(i.jt), usize::from(i.jf));
        match i.code {
            0x20 => a = call.word(i.k),
            0x54 => a &= i.k,
            0x05 => pc += i.k as usize,
            0x15 => pc += if a == i.k { jt } else { jf },
            0x25 => pc += if a > i.k { jt } else { jf },
            0x35 => pc += if a >= i.k { jt } else { jf },
            0x06 => {
                assert!(steps < 80, "{steps} steps for {call:?}");
                return i.k;
            }
            other => panic!("code {other:#x} at {pc}"),
        }
    }
}

/// The reference: reads the data as the file's head says, with nothing of the compiler's.
fn expected(profile: &Rules, arch: Arch, call: &Call) -> Verdict {
    if call.arch != arch.audit() || call.nr >= 0x4000_0000 {
        return Verdict::Kill;
    }
    let Some(name) = arch.name(call.nr) else {
        return profile.unknown;
    };
    let Some(rule) = profile.rules.get(name) else {
        return profile.refused;
    };
    for case in &rule.cases {
        let holds = case.when.iter().all(|c| {
            let mut value = call.args[usize::from(c.arg)];
            if !c.wide {
                value %= 1 << 32;
            }
            value &= c.mask.unwrap_or(u64::MAX);
            (c.is.is_empty() || c.is.contains(&value))
                && !c.not.contains(&value)
                && c.at_least.is_none_or(|least| value >= least)
                && c.at_most.is_none_or(|most| value <= most)
        });
        if holds {
            return case.then;
        }
    }
    rule.otherwise
}

/// Values worth trying as arguments: all that the profile mentions, their neighbours, and all of
/// those with the upper half set.
fn interesting(profile: &Rules) -> Vec<u64> {
    let mut values = vec![
        0,
        1,
        2,
        3,
        5,
        6,
        0x80000,
        u64::MAX,
        u64::from(u32::MAX),
        1 << 32,
    ];
    for condition in profile
        .rules
        .values()
        .flat_map(|r| &r.cases)
        .flat_map(|c| &c.when)
    {
        for value in condition
            .is
            .iter()
            .chain(&condition.not)
            .chain(&condition.mask)
        {
            values.extend([*value, value.wrapping_add(1), value.wrapping_sub(1)]);
        }
    }
    values.extend(values.clone().iter().map(|v| v | 0xdead_beef_0000_0000));
    values.sort_unstable();
    values.dedup();
    values
}

fn profiles() -> Vec<Rules> {
    shipped::ALL.iter().map(|s| rules(s.name)).collect()
}

#[test]
fn compiled_verdicts_equal_the_data() {
    for profile in profiles() {
        let values = interesting(&profile);
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let program = profile.compile(arch).unwrap();
            assert!(program.len() < 512, "{} {}", profile.name, program.len());
            let mut calls = 0u32;
            for nr in 0..600 {
                for (i, value) in values.iter().enumerate() {
                    // One argument at a time, then three together.
                    let other = values[(i * 7 + nr as usize) % values.len()];
                    let third = values[(i * 13 + 5) % values.len()];
                    for args in [
                        [*value, 0, 0, 0, 0, 0],
                        [0, *value, 0, 0, 0, 0],
                        [0, 0, *value, 0, 0, 0],
                        [*value; 6],
                        [*value, other, third, other, *value, third],
                        [2, *value, other, 0, 0, 0],
                        [10, 1, *value, 0, 0, 0],
                        [16, *value, other, 0, 0, 0],
                        [0, 6, *value, 0, 0, 0],
                        [0, 4, *value, 0, 0, 0],
                    ] {
                        let call = Call {
                            nr,
                            arch: arch.audit(),
                            args,
                        };
                        let want = expected(&profile, arch, &call);
                        assert_eq!(run(&program, &call), want.code(), "{call:x?} {want:?}");
                        calls += 1;
                    }
                }
            }
            assert!(calls > 100_000);
        }
    }
}

#[test]
fn foreign_numbers_and_architectures_die() {
    for profile in profiles() {
        let program = profile.compile(Arch::X86_64).unwrap();
        for nr in [
            0,
            1,
            59,
            0x3fff_ffff,
            0x4000_0000,
            0x4000_0001,
            0x4000_0208,
            0x7fff_ffff,
            u32::MAX,
        ] {
            let call = Call {
                nr,
                arch: NATIVE,
                args: [0; 6],
            };
            let got = run(&program, &call);
            assert_eq!(got, expected(&profile, Arch::X86_64, &call).code());
            assert_eq!(
                nr >= X32_BIT,
                got == Verdict::Kill.code() && nr > 600,
                "{nr:#x}"
            );
            for arch in [I386, 0, 0xc000_00b7, NATIVE ^ 0x8000_0000] {
                let call = Call {
                    nr,
                    arch,
                    args: [0; 6],
                };
                assert_eq!(run(&program, &call), libc::SECCOMP_RET_KILL_PROCESS);
            }
        }
    }
}

/// A built-in profile's source, read and not yet compiled.
fn rules(name: &str) -> Rules {
    Profile::builtin(name, []).unwrap().rules().unwrap()
}

#[test]
fn shipped_programs_are_what_their_sources_compile_to() {
    for profile in profiles() {
        for (arch, suffix) in [(Arch::X86_64, "x86_64"), (Arch::Aarch64, "aarch64")] {
            let compiled = profile.compile(arch).unwrap();
            if std::env::var_os("LAZARET_BLESS").is_some() {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/syscalls");
                let file = format!("{folder}/{}.{suffix}.bpf", profile.name);
                std::fs::write(file, shipped::encode(&compiled)).unwrap();
                continue;
            }
            let shipped = Profile::builtin(&profile.name, []).unwrap();
            assert!(
                shipped.compile(arch).unwrap() == compiled,
                "{}.{suffix}.bpf is old: LAZARET_BLESS=1 cargo test --lib seccomp",
                profile.name
            );
        }
    }
    assert!(shipped::decode(&[]).is_err());
    assert!(shipped::decode(&[6, 0, 0, 0, 0, 0, 0]).is_err());
}

/// A verdict of the default profile on x86_64.
fn verdict(name: &str, args: &[u64]) -> Verdict {
    let profile = rules("default");
    let program = profile.compile(Arch::X86_64).unwrap();
    let mut six = [0; 6];
    six[..args.len()].copy_from_slice(args);
    let nr = Arch::X86_64.number(name).unwrap();
    let code = run(
        &program,
        &Call {
            nr,
            arch: NATIVE,
            args: six,
        },
    );
    match code {
        libc::SECCOMP_RET_ALLOW => Verdict::Allow,
        libc::SECCOMP_RET_ERRNO => Verdict::Ignore,
        libc::SECCOMP_RET_KILL_PROCESS => Verdict::Kill,
        code => Verdict::Errno((code ^ libc::SECCOMP_RET_ERRNO) as u16),
    }
}

fn errno(errno: i32) -> Verdict {
    Verdict::Errno(errno as u16)
}

const HIGH: u64 = 0x1234_5678_0000_0000;

#[test]
fn namespaces_stay_shut() {
    for flag in [
        0x20000,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000u64,
    ] {
        assert_eq!(verdict("clone", &[flag | 17]), EPERM, "{flag:#x}");
        assert_eq!(verdict("clone", &[flag | 0x3d0f00]), EPERM, "{flag:#x}");
        assert_eq!(verdict("clone", &[flag | HIGH]), EPERM, "{flag:#x}");
    }
    assert_eq!(verdict("clone", &[17]), Verdict::Allow);
    assert_eq!(verdict("clone", &[0x3d0f00]), Verdict::Allow);
    assert_eq!(verdict("clone", &[HIGH | 0x3d0f00]), Verdict::Allow);
    assert_eq!(verdict("clone3", &[0, 88]), ENOSYS);
    for name in [
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "sethostname",
    ] {
        assert_eq!(verdict(name, &[0x1000_0000]), EPERM, "{name}");
    }
}

#[test]
fn sockets_are_the_plain_ones() {
    let socket =
        |domain: u64, kind: u64, protocol: u64| verdict("socket", &[domain, kind, protocol]);
    // With SOCK_CLOEXEC and SOCK_NONBLOCK, and with rubbish in the half the kernel drops.
    for extra in [0, 0x80000, 0x80800, HIGH] {
        for (domain, kind, protocol) in [
            (1, 1, 0),
            (1, 2, 0),
            (1, 5, 0),
            (2, 1, 0),
            (2, 1, 6),
            (2, 2, 17),
            (2, 2, 1),
            (10, 1, 0),
            (10, 2, 0),
            (10, 2, 58),
            (16, 3, 0),
            (16, 2, 0),
        ] {
            assert_eq!(
                socket(domain, kind | extra, protocol),
                Verdict::Allow,
                "{domain} {kind} {protocol}"
            );
        }
        for high in [0, HIGH] {
            // MPTCP, SCTP, DCCP, UDPLITE, SMC.
            for protocol in [262, 132, 33, 136, 256] {
                for domain in [2, 10] {
                    assert_eq!(
                        socket(domain | high, 1 | extra, protocol | high),
                        errno(libc::EPROTONOSUPPORT)
                    );
                }
            }
            // packet, vsock, alg, bluetooth, can, tipc, kcm, xdp, smc, rds, ax25, unspec, 256 + unix.
            for domain in [17, 40, 38, 31, 29, 30, 41, 44, 43, 21, 3, 0, 257] {
                assert_eq!(
                    socket(domain | high, 1 | extra, 0),
                    errno(libc::EAFNOSUPPORT),
                    "{domain}"
                );
            }
            // netfilter, audit, generic, crypto, xfrm.
            for protocol in [12, 9, 16, 21, 6] {
                assert_eq!(
                    socket(16 | high, 3 | extra, protocol),
                    errno(libc::EPROTONOSUPPORT)
                );
            }
        }
        // SOCK_SEQPACKET with the family's own protocol is SCTP; SOCK_DCCP; SOCK_PACKET.
        for kind in [5, 6, 10, 0, 4] {
            assert_eq!(
                socket(2, kind | extra, 0),
                errno(libc::ESOCKTNOSUPPORT),
                "{kind}"
            );
        }
        assert_eq!(socket(2, 3 | extra, 1), EPERM);
        assert_eq!(socket(2, 3 | extra, 255), errno(libc::EPROTONOSUPPORT));
    }
    assert_eq!(verdict("socketpair", &[1, 1, 0]), Verdict::Allow);
    assert_eq!(
        verdict("socketpair", &[30, 1, 0]),
        errno(libc::EAFNOSUPPORT)
    );
    assert_eq!(verdict("setsockopt", &[3, 6, 31]), errno(libc::ENOPROTOOPT));
    assert_eq!(
        verdict("setsockopt", &[3, HIGH | 6, HIGH | 31]),
        errno(libc::ENOPROTOOPT)
    );
    assert_eq!(verdict("setsockopt", &[3, 1, 31]), Verdict::Allow);
    assert_eq!(verdict("setsockopt", &[3, 6, 1]), Verdict::Allow);
}

#[test]
fn terminals_are_not_typed_into() {
    for request in [0x5412, 0x541c, 0x5423u64] {
        for high in [0, HIGH, u64::MAX << 32, 1 << 32] {
            assert_eq!(verdict("ioctl", &[0, request | high]), EPERM);
        }
    }
    for request in [0x5401, 0x5413, 0x5411, 0x541b, 0x5421] {
        assert_eq!(verdict("ioctl", &[0, request]), Verdict::Allow);
    }
}

#[test]
fn the_core_limit_stays() {
    assert_eq!(verdict("setrlimit", &[4, 0x1000]), Verdict::Ignore);
    assert_eq!(verdict("setrlimit", &[HIGH | 4, 0x1000]), Verdict::Ignore);
    assert_eq!(verdict("setrlimit", &[7, 0x1000]), Verdict::Allow);
    assert_eq!(verdict("prlimit64", &[0, 4, 0x1000, 0]), Verdict::Ignore);
    assert_eq!(
        verdict("prlimit64", &[0, HIGH | 4, 0x1000, 0x2000]),
        Verdict::Ignore
    );
    // A pointer whose low half is zero is a pointer.
    assert_eq!(
        verdict("prlimit64", &[0, 4, 0x7f00_0000_0000, 0]),
        Verdict::Ignore
    );
    assert_eq!(verdict("prlimit64", &[0, 4, 0, 0x1000]), Verdict::Allow);
    assert_eq!(verdict("prlimit64", &[0, 7, 0x1000, 0]), Verdict::Allow);
}

#[test]
fn devices_are_not_made() {
    for (name, at) in [("mknod", 1), ("mknodat", 2)] {
        let ask = |mode: u64| {
            let mut args = [0; 6];
            args[at] = mode;
            verdict(name, &args)
        };
        for mode in [0o644, 0o100644, 0o010644, 0o140777, HIGH | 0o100644] {
            assert_eq!(ask(mode), Verdict::Allow, "{mode:o}");
        }
        // Character, block, folder, link, and what only the low 16 bits of the mode reveal.
        for mode in [
            0o020666,
            0o060660,
            0o040755,
            0o120777,
            HIGH | 0o020000,
            0x1_0000 | 0o020000,
        ] {
            assert_eq!(ask(mode), EPERM, "{mode:o}");
        }
    }
}

#[test]
fn personalities() {
    for value in [0, 8, 0x20000, 0x20008, 0xffff_ffff, HIGH, u64::MAX] {
        assert_eq!(
            verdict("personality", &[value]),
            Verdict::Allow,
            "{value:#x}"
        );
    }
    for value in [
        0x0040000,
        0x0400000,
        0x0100000,
        1,
        0x20009,
        HIGH | 0x0040000,
    ] {
        assert_eq!(verdict("personality", &[value]), EPERM, "{value:#x}");
    }
}

#[test]
fn what_libraries_fall_back_from_is_absent_and_the_rest_refused() {
    for name in [
        "io_uring_setup",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "keyctl",
        "add_key",
        "kexec_load",
        "fanotify_init",
        "ptrace",
        "process_vm_readv",
        "pidfd_getfd",
        "kcmp",
        "fsopen",
        "open_tree",
        "name_to_handle_at",
        "vmsplice",
        "memfd_secret",
        "modify_ldt",
        "quotactl",
        "listmount",
        "statmount",
        "mbind",
    ] {
        assert_eq!(verdict(name, &[]), ENOSYS, "{name}");
    }
    for name in [
        "reboot",
        "swapon",
        "init_module",
        "settimeofday",
        "syslog",
        "acct",
        "iopl",
        "open_by_handle_at",
    ] {
        assert_eq!(verdict(name, &[]), EPERM, "{name}");
    }
}

#[test]
fn the_launch_path_passes() {
    for name in [
        "execve",
        "write",
        "read",
        "sendmsg",
        "close",
        "poll",
        "ppoll",
        "wait4",
        "waitid",
        "exit_group",
        "exit",
        "kill",
        "clone",
        "fork",
        "prctl",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "seccomp",
        "close_range",
    ] {
        assert_eq!(verdict(name, &[0; 6]), Verdict::Allow, "{name}");
    }
}

#[test]
fn about_as_many_names_as_designed() {
    let profile = rules("default");
    let allowed = profile
        .rules
        .values()
        .filter(|r| {
            r.otherwise == Verdict::Allow || r.cases.iter().any(|c| c.then == Verdict::Allow)
        })
        .count();
    assert!((255..300).contains(&allowed), "{allowed}");
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let length = profile.compile(arch).unwrap().len();
        assert!((100..=400).contains(&length), "{arch:?}: {length}");
    }
}

fn parse(body: &str) -> String {
    let text =
        format!("version = 1\nname = \"t\"\nrefused = \"EPERM\"\nunknown = \"ENOSYS\"\n{body}");
    match Rules::parse(&text, "t.toml", &[]) {
        Ok(_) => String::new(),
        Err(error) => error.cause,
    }
}

#[test]
fn what_is_not_understood_is_an_error() {
    assert_eq!(parse("[[allow]]\nnames = \"read\"\nreason = \"r\""), "");
    for (body, word) in [
        ("[[allow]]\nnames = \"read\"", "reason"),
        (
            "[[allow]]\nnames = \"read\"\nreason = \" \"",
            "without a reason",
        ),
        ("[[allow]]\nnames = \"reed\"\nreason = \"r\"", "reed"),
        ("[[allow]]\nnames = \"\"\nreason = \"r\"", "without names"),
        (
            "[[allow]]\nnames = \"read read\"\nreason = \"r\"",
            "two groups",
        ),
        (
            "[[allow]]\nnames = \"read\"\nreason = \"r\"\nextra = 1",
            "extra",
        ),
        (
            "[[answer]]\nnames = \"read\"\nthen = \"EWHAT\"\nreason = \"r\"",
            "EWHAT",
        ),
        (
            "[[check]]\nnames = \"read\"\nreason = \"r\"\ncases = [{ when = [], then = \"allow\" }]\nelse = \"EPERM\"",
            "without conditions",
        ),
        (
            "[[check]]\nnames = \"read\"\nreason = \"r\"\ncases = [{ when = [{ arg = 6, is = [1] }], then = \"allow\" }]\nelse = \"EPERM\"",
            "0 to 5",
        ),
        (
            "[[check]]\nnames = \"read\"\nreason = \"r\"\ncases = [{ when = [{ arg = 0 }], then = \"allow\" }]\nelse = \"EPERM\"",
            "not both",
        ),
        (
            "[[check]]\nnames = \"read\"\nreason = \"r\"\ncases = [{ when = [{ arg = 0, is = [0x100000000] }], then = \"allow\" }]\nelse = \"EPERM\"",
            "wide",
        ),
        (
            "[[check]]\nnames = \"read\"\nreason = \"r\"\ncases = [{ when = [{ arg = 0, mask = 1, is = [2] }], then = \"allow\" }]\nelse = \"EPERM\"",
            "never holds",
        ),
        (
            "[[check]]\nnames = \"read\"\nreason = \"r\"\ncases = [{ when = [{ arg = 0, is = [1] }], then = \"allow\" }]",
            "else",
        ),
        ("nonsense", "t.toml"),
    ] {
        let cause = parse(body);
        assert!(cause.contains(word), "{body}: {cause}");
    }
    let open = "version = 1\nname = \"t\"\nrefused = \"allow\"\nunknown = \"ENOSYS\"";
    assert!(Rules::parse(open, "t.toml", &[]).is_err());
    assert!(Rules::parse("", "t.toml", &[]).is_err());
    assert!(Rules::parse(&open.replace('1', "2"), "t.toml", &[]).is_err());
    assert!(Profile::builtin("none", []).is_err());
}

fn condition() -> impl Strategy<Value = Condition> {
    let value = prop_oneof![0..8u64, Just(0xffff_ffff), any::<u32>().prop_map(u64::from)];
    (
        0..6u8,
        any::<bool>(),
        prop::collection::vec(value, 1..4),
        any::<bool>(),
        prop::option::of(0..256u64),
    )
        .prop_map(|(arg, wide, values, positive, mask)| {
            let mask = mask.filter(|_| positive);
            let values: Vec<u64> = values
                .into_iter()
                .map(|v| v & mask.unwrap_or(u64::MAX))
                .collect();
            let (is, not) = if positive {
                (values, vec![])
            } else {
                (vec![], values)
            };
            Condition {
                arg,
                wide,
                mask,
                is,
                not,
                ..Condition::default()
            }
        })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Allow),
        Just(Verdict::Ignore),
        Just(Verdict::Kill),
        (1..200u16).prop_map(Verdict::Errno)
    ]
}

proptest! {
    #[test]
    fn any_profile_compiles_to_its_meaning(
        rules in prop::collection::vec(
            (0..450u32, prop::collection::vec((prop::collection::vec(condition(), 1..4), any_verdict()), 0..4), any_verdict()),
            0..60,
        ),
        calls in prop::collection::vec((0..500u32, prop::array::uniform6(prop_oneof![0..8u64, any::<u64>()])), 100),
    ) {
        let mut profile = Rules {
            name: "any".into(), refused: EPERM, unknown: ENOSYS, rules: BTreeMap::new(), reasons: vec![], lines: vec![],
        };
        for (nr, cases, otherwise) in rules {
            let Some(name) = Arch::X86_64.name(nr) else { continue };
            let cases = cases.into_iter().map(|(when, then)| Case { when, then }).collect();
            profile.rules.insert(name, Rule { cases, otherwise, reason: 0 });
        }
        // Too long is an error, never a wrong program.
        if let Ok(program) = profile.compile(Arch::X86_64) {
            for (nr, args) in calls {
                let call = Call { nr, arch: NATIVE, args };
                prop_assert_eq!(run_any(&program, &call), expected(&profile, Arch::X86_64, &call).code());
            }
        }
    }
}

/// As [`run`], for programs whose chains may be longer than ours.
fn run_any(program: &[Instruction], call: &Call) -> u32 {
    let (mut a, mut pc) = (0u32, 0usize);
    loop {
        let i = &program[pc];
        pc += 1;
        let (jt, jf) = (usize::from(i.jt), usize::from(i.jf));
        match i.code {
            0x20 => a = call.word(i.k),
            0x54 => a &= i.k,
            0x05 => pc += i.k as usize,
            0x15 => pc += if a == i.k { jt } else { jf },
            0x25 => pc += if a > i.k { jt } else { jf },
            0x35 => pc += if a >= i.k { jt } else { jf },
            0x06 => return i.k,
            other => panic!("code {other:#x} at {pc}"),
        }
    }
}
