//! Programs that tell of refusals, against the plain ones.

use super::*;
use crate::plan::seccomp::told;

#[test]
fn shipped_told_programs_are_what_their_sources_compile_to() {
    let profile = Profile {
        told: true,
        ..Profile::builtin("default", []).unwrap()
    };
    let told = rules("default").told(&told::quiet().unwrap());
    for (arch, suffix) in [(Arch::X86_64, "x86_64"), (Arch::Aarch64, "aarch64")] {
        let compiled = told.compile(arch).unwrap();
        if std::env::var_os("LAZARET_BLESS").is_some() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/syscalls");
            let file = format!("{folder}/default.told.{suffix}.bpf");
            std::fs::write(file, shipped::encode(&compiled)).unwrap();
            continue;
        }
        assert!(
            profile.compile_told(arch).unwrap() == Some(compiled),
            "default.told.{suffix}.bpf is old: LAZARET_BLESS=1 cargo test --lib seccomp"
        );
    }
}

/// Telling changes who answers, and nothing else: the refusals but the quiet ones, each with the
/// errno that the plain program has for it.
#[test]
fn told_programs_refuse_what_the_plain_ones_refuse() {
    let quiet = told::quiet().unwrap();
    for rules in profiles() {
        let told_rules = rules.told(&quiet);
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let plain = rules.compile(arch).unwrap();
            let told = told_rules.compile(arch).unwrap();
            let values = interesting(&rules);
            let numbers = (0..=arch.last() + 3).chain([X32_BIT, u32::MAX]);
            for (number, at) in numbers.flat_map(|nr| (0..values.len()).map(move |at| (nr, at))) {
                let args = std::array::from_fn(|i| values[(at + i * 7) % values.len()]);
                let (arch_token, instruction) = (arch.audit(), 0);
                let data = told::Data {
                    number,
                    arch: arch_token,
                    instruction,
                    args,
                };
                let call = Call {
                    nr: number,
                    arch: arch_token,
                    args,
                };
                let (before, after) = (run(&plain, &call), run(&told, &call));
                // The product's own reading against the tests'.
                assert_eq!(told::answer(&plain, &data), Some(before), "{call:?}");
                let refused = before & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO
                    && before & libc::SECCOMP_RET_DATA != 0;
                let silent = arch
                    .name(number)
                    .is_some_and(|name| quiet.contains_key(name));
                if refused && !silent {
                    assert_eq!(after, libc::SECCOMP_RET_USER_NOTIF, "{call:?}");
                    let errno = before & libc::SECCOMP_RET_DATA;
                    assert_eq!(u32::from(told::refusal(&plain, &data)), errno, "{call:?}");
                } else {
                    assert_eq!(after, before, "{call:?}");
                }
            }
        }
    }
}
