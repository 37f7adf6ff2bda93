//! docker's seccomp profiles: no panic, and whatever one says, it lets nothing pass that the set
//! refuses, and answers as the set where the set answers.
#![no_main]

use lazaret::plan::seccomp::{Arch, Instruction, JsonProfile, Profile};
use lazaret::policy::Origin;
use libfuzzer_sys::fuzz_target;

/// SECCOMP_RET_ALLOW.
const ALLOW: u32 = 0x7fff_0000;

fn set() -> Profile {
    Profile::builtin("default", []).expect("a built-in profile")
}

/// The answer of a program, as the kernel would run it.
fn run(program: &[Instruction], nr: u32, args: [u64; 2]) -> u32 {
    let word = |offset: u32| match offset {
        0 => nr,
        4 => Arch::native().audit(),
        16 => args[0] as u32,
        20 => (args[0] >> 32) as u32,
        24 => args[1] as u32,
        28 => (args[1] >> 32) as u32,
        _ => 0,
    };
    let (mut a, mut at) = (0u32, 0usize);
    loop {
        let i = &program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
        match i.code {
            0x20 => a = word(i.k),
            0x54 => a &= i.k,
            0x05 => at += i.k as usize,
            0x15 => at += jump(a == i.k),
            0x25 => at += jump(a > i.k),
            0x35 => at += jump(a >= i.k),
            0x06 => return i.k,
            code => panic!("code {code:#x}"),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(json) = JsonProfile::parse(bytes, "fuzz.json") else {
        return;
    };
    let Ok((narrowed, notes)) = set().narrow(&json, Origin::Always("fuzz"), &["KILL"], (6, 1))
    else {
        return;
    };
    assert!(notes.iter().all(|note| note.len() < 2000 && !note.contains(char::is_control)));
    let native = Arch::native();
    let ceiling = set().compile(native).expect("a built-in program");
    let program = narrowed.compile(native).expect("it was compiled before");
    assert!(program.len() < 4096);
    let end = bytes.iter().rev().take(8).fold(0u64, |n, b| n << 8 | u64::from(*b));
    for nr in (0..600).chain([0x4000_0000, u32::MAX]) {
        for args in [[0, 0], [2, 0x5412], [0x1000_0000, 4], [end, end >> 32]] {
            let (set, both) = (run(&ceiling, nr, args), run(&program, nr, args));
            assert!(set == ALLOW || both == set, "{nr} {args:x?}: {both:#x} for {set:#x}");
        }
    }
});
