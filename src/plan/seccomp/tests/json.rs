//! JSON profiles: read, refused, and what they leave of the set, against a slow reading of the JSON.

use super::*;
use crate::policy::Origin;
use serde_json::{Value, json};

const KERNEL: (u32, u32) = (6, 1);

fn read(json: &Value) -> JsonProfile {
    JsonProfile::parse(json.to_string().as_bytes(), "p.json").unwrap()
}

fn error(json: &Value) -> Error {
    JsonProfile::parse(json.to_string().as_bytes(), "p.json").expect_err(&json.to_string())
}

fn narrow(json: &Value, caps: &[&str]) -> Result<(Profile, Vec<String>)> {
    let set = Profile::builtin("default", caps.iter().copied())?;
    set.narrow(&read(json), Origin::Always("test"), caps, KERNEL)
}

/// A profile that allows everything, and these groups.
fn but(groups: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": groups })
}

/// What runs on x86_64 under this profile.
fn answer(json: &Value, name: &str, args: &[u64]) -> u32 {
    let (profile, _) = narrow(json, &[]).unwrap();
    let mut six = [0; 6];
    six[..args.len()].copy_from_slice(args);
    let call = Call {
        nr: Arch::X86_64.number(name).unwrap(),
        arch: NATIVE,
        args: six,
    };
    run_any(&profile.compile(Arch::X86_64).unwrap(), &call)
}

/// The slow reading: straight from the JSON, for one call, with nothing of the reader's.
fn slow(json: &Value, name: &str, args: [u64; 6], caps: &[&str]) -> Verdict {
    let verdict = |action: &Value, errno: &Value| match action.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => Verdict::Allow,
        "SCMP_ACT_LOG" => Verdict::Log,
        "SCMP_ACT_TRAP" => Verdict::Trap,
        "SCMP_ACT_ERRNO" => match errno.as_u64().unwrap_or(1) {
            0 => Verdict::Ignore,
            n => Verdict::Errno(n as u16),
        },
        _ => Verdict::Kill,
    };
    let default = verdict(&json["defaultAction"], &json["defaultErrnoRet"]);
    let strict = |v: &Verdict| match v {
        Verdict::Kill => 0,
        Verdict::Trap => 1,
        Verdict::Log => 3,
        Verdict::Allow => 4,
        _ => 2,
    };
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let (mut always, mut some) = (Vec::new(), Vec::new());
    for group in list(&json["syscalls"]) {
        let then = verdict(&group["action"], &group["errnoRet"]);
        let named = group["name"] == name || list(&group["names"]).iter().any(|n| n == name);
        let held = |c: &Value| caps.iter().any(|cap| c == &format!("CAP_{cap}"));
        let includes = list(&group["includes"]["caps"]).iter().all(held);
        let excludes = list(&group["excludes"]["caps"]).iter().any(held);
        if !named || then == default || !includes || excludes {
            continue;
        }
        let mut all = true;
        for arg in list(&group["args"]) {
            let v = args[arg["index"].as_u64().unwrap() as usize];
            let (want, two) = (arg["value"].as_u64().unwrap(), arg["valueTwo"].as_u64());
            let fulfils = |v: u64| match arg["op"].as_str().unwrap() {
                "SCMP_CMP_NE" => v != want,
                "SCMP_CMP_LT" => v < want,
                "SCMP_CMP_LE" => v <= want,
                "SCMP_CMP_EQ" => v == want,
                "SCMP_CMP_GE" => v >= want,
                "SCMP_CMP_GT" => v > want,
                _ => v & want == two.unwrap_or(0),
            };
            // Values beyond 32 bits speak of the whole; else who allows wants both, who refuses one.
            all &= match (want > u64::from(u32::MAX), then.passes()) {
                (true, _) => fulfils(v),
                (false, true) => fulfils(v) && fulfils(v & 0xffff_ffff),
                (false, false) => fulfils(v) || fulfils(v & 0xffff_ffff),
            };
        }
        match list(&group["args"]).is_empty() {
            true => always.push(then),
            false if all => some.push(then),
            false => {}
        }
    }
    let strictest = |all: &[Verdict]| all.iter().min_by_key(|v| strict(v)).copied();
    strictest(&always)
        .or_else(|| strictest(&some))
        .unwrap_or(default)
}

/// Every call of a program against the set's data and the slow reading of the JSON.
fn agrees(json: &Value, caps: &[&str], calls: &[(u32, [u64; 6])]) {
    let (profile, _) = narrow(json, caps).unwrap();
    let program = profile.compile(Arch::X86_64).unwrap();
    let set = Profile::builtin("default", caps.iter().copied()).unwrap();
    let set = set.rules().unwrap();
    for (nr, args) in calls {
        let call = Call {
            nr: *nr,
            arch: NATIVE,
            args: *args,
        };
        let ceiling = expected(&set, Arch::X86_64, &call);
        let want = match (ceiling, Arch::X86_64.name(*nr)) {
            (Verdict::Allow, Some(name)) => slow(json, name, *args, caps),
            _ => ceiling,
        };
        let got = run_any(&program, &call);
        assert_eq!(got, want.code(), "{call:x?} {want:?} under {json}");
    }
}

/// Calls with arguments that the set treats in different ways, and some that it does not.
const NAMES: [&str; 14] = [
    "clone",
    "socket",
    "ioctl",
    "prlimit64",
    "personality",
    "mknod",
    "setsockopt",
    "read",
    "chroot",
    "mount",
    "kill",
    "prctl",
    "io_uring_setup",
    "fchmodat2",
];

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..20u64,
        Just(0x5412),
        Just(0x7e02_0000),
        Just(0x1000_0000),
        Just(u64::from(u32::MAX)),
        Just(u64::from(u32::MAX) + 1),
        Just(u64::MAX),
        (0..20u64).prop_map(|v| v | 0x28_0000_0000),
    ]
}

fn argument() -> impl Strategy<Value = Value> {
    let op = prop_oneof![
        Just("NE"),
        Just("LT"),
        Just("LE"),
        Just("EQ"),
        Just("GE"),
        Just("GT"),
        Just("MASKED_EQ")
    ];
    (value(), value(), op).prop_map(|(value, two, op)| {
        let two = if op == "MASKED_EQ" { two & value } else { 0 };
        json!({ "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}") })
    })
}

fn an_action() -> impl Strategy<Value = Value> {
    let action = |name: &str| json!({ "action": format!("SCMP_ACT_{name}") });
    prop_oneof![
        4 => Just(action("ALLOW")),
        1 => Just(action("LOG")),
        1 => Just(action("TRAP")),
        1 => Just(action("KILL_PROCESS")),
        1 => Just(action("ERRNO")),
        1 => (0..200u64).prop_map(move |n| {
            let mut action = action("ERRNO");
            action["errnoRet"] = n.into();
            action
        }),
    ]
}

fn a_group() -> impl Strategy<Value = Value> {
    let caps = prop_oneof![
        8 => Just(json!({})),
        1 => Just(json!({ "includes": { "caps": ["CAP_SYS_CHROOT"] } })),
        1 => Just(json!({ "excludes": { "caps": ["CAP_SYS_CHROOT"] } })),
    ];
    let names = prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..4);
    let args = prop::collection::vec(argument(), 0..4);
    (names, an_action(), args, caps, 0..3u64).prop_map(|(names, action, args, caps, first)| {
        let mut group = action;
        group["names"] = json!(names);
        let args = args.into_iter().zip(first..).map(|(mut arg, at)| {
            arg["index"] = at.into();
            arg
        });
        group["args"] = args.collect();
        for (key, value) in caps.as_object().unwrap() {
            group[key] = value.clone();
        }
        group
    })
}

proptest! {
    #[test]
    fn what_runs_is_what_both_allow(
        default in an_action(),
        groups in prop::collection::vec(a_group(), 0..12),
        held in any::<bool>(),
        calls in prop::collection::vec(
            (prop::sample::select(NAMES.to_vec()), prop::array::uniform6(value())), 60
        ),
        others in prop::collection::vec((0..700u32, prop::array::uniform6(value())), 60),
    ) {
        let mut groups = groups;
        groups.push(json!({ "names": ["execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW" }));
        let mut json = json!({ "defaultAction": default["action"], "syscalls": groups });
        if let Some(errno) = default.get("errnoRet") {
            json["defaultErrnoRet"] = errno.clone();
        }
        let named = calls.iter().map(|(n, args)| (Arch::X86_64.number(n).unwrap(), *args));
        let calls: Vec<_> = named.chain(others).collect();
        let caps: &[&str] = if held { &["SYS_CHROOT", "CHOWN"] } else { &[] };
        agrees(&json, caps, &calls);
    }
}

/// A profile of docker's size and shape: a long list, conditions, capabilities, other kernels.
fn large() -> Value {
    let set = rules("default");
    let mut names: Vec<&str> = set.rules.keys().copied().collect();
    names.retain(|name| !["clone", "personality", "socket", "chroot"].contains(name));
    names.extend([
        "mount",
        "umount2",
        "ptrace",
        "_llseek",
        "fcntl64",
        "no_such_call",
    ]);
    let personality = |value: u64| {
        json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }] })
    };
    let mut groups = vec![
        json!({ "names": names, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": ["process_vm_readv"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } }),
        json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_NE" }] }),
        json!({ "names": ["sync_file_range2"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["ppc64le"] } }),
        json!({ "names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_CHROOT"] } }),
        json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": { "caps": ["CAP_SYS_ADMIN"], "arches": ["s390"] },
            "args": [{ "index": 0, "value": 2_114_060_288u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": { "caps": ["CAP_SYS_ADMIN"] } }),
    ];
    groups.extend([0, 8, 0x20000, 0x20008, 0xffff_ffff].map(personality));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] }],
        "syscalls": groups,
    })
}

#[test]
fn a_profile_of_dockers_shape_leaves_the_set_as_it_is() {
    let set = rules("default");
    let values = interesting(&set);
    let mut calls = Vec::new();
    for nr in 0..600 {
        for (i, v) in values.iter().enumerate().step_by(5) {
            let other = values[(i * 7 + nr as usize) % values.len()];
            calls.push((nr, [*v, other, *v, other, 0, 0]));
            calls.push((nr, [2, other, *v, 0, 0, 0]));
        }
    }
    agrees(&large(), &[], &calls);
    agrees(&large(), &["SYS_CHROOT"], &calls);
    let (profile, notes) = narrow(&large(), &[]).unwrap();
    let narrowed = profile.narrowed.as_ref().unwrap();
    assert!(narrowed.refused.contains(&"mount") && narrowed.refused.contains(&"ptrace"));
    assert!(!narrowed.refused.contains(&"chroot"));
    assert!(narrowed.partly.contains(&"ioctl") && !narrowed.partly.contains(&"clone"));
    assert!(notes[0].contains("more; in part") && notes[0].contains("other architectures"));
    assert_eq!(notes.len(), 1);
    assert!(profile.compile(Arch::X86_64).unwrap().len() < 450);
    assert!(profile.compile(Arch::Aarch64).unwrap().len() < 450);
}

#[test]
fn protections_of_the_set_stand_under_any_profile() {
    let open = but(json!([]));
    let eperm = EPERM.code();
    assert_eq!(answer(&open, "clone", &[0x1000_0011]), eperm);
    assert_eq!(answer(&open, "ioctl", &[0, 0x5412]), eperm);
    assert_eq!(answer(&open, "setrlimit", &[4, 1]), Verdict::Ignore.code());
    assert_eq!(
        answer(&open, "socket", &[40, 1, 0]),
        errno(libc::EAFNOSUPPORT).code()
    );
    assert_eq!(answer(&open, "mount", &[]), eperm);
    assert_eq!(answer(&open, "io_uring_setup", &[]), ENOSYS.code());
    let (profile, notes) = narrow(&open, &[]).unwrap();
    for (nr, arch) in [(1, I386), (0x4000_0001, NATIVE), (1, 0)] {
        let call = Call {
            nr,
            arch,
            args: [0; 6],
        };
        let program = profile.compile(Arch::X86_64).unwrap();
        assert_eq!(run_any(&program, &call), Verdict::Kill.code());
    }
    // Over a hundred, of which some are told.
    assert!(notes[0].contains(" more"), "{notes:?}");
    assert!(notes[0].len() < 400);
}

#[test]
fn no_condition_is_stepped_around_above_32_bits() {
    let rule = |action: &str, op: &str, value: u64| {
        let mut json = but(json!([{ "names": ["kill"], "action": action,
            "args": [{ "index": 0, "value": value, "op": format!("SCMP_CMP_{op}") }] }]));
        if action == "SCMP_ACT_ALLOW" {
            json["defaultAction"] = "SCMP_ACT_ERRNO".into();
            let group =
                json!({ "names": ["execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW" });
            json["syscalls"].as_array_mut().unwrap().push(group);
        }
        json
    };
    let (allow, eperm) = (Verdict::Allow.code(), EPERM.code());
    for (action, op, value, arg, want) in [
        ("SCMP_ACT_ERRNO", "EQ", 10, 10, eperm),
        ("SCMP_ACT_ERRNO", "EQ", 10, HIGH | 10, eperm),
        ("SCMP_ACT_ERRNO", "LT", 10, HIGH | 3, eperm),
        ("SCMP_ACT_ERRNO", "LE", 10, HIGH | 10, eperm),
        ("SCMP_ACT_ERRNO", "NE", 10, HIGH | 10, eperm),
        ("SCMP_ACT_ERRNO", "GT", 10, HIGH | 3, eperm),
        ("SCMP_ACT_ERRNO", "EQ", 10, HIGH | 11, allow),
        // A value of more than 32 bits means what it says.
        ("SCMP_ACT_ERRNO", "EQ", 1 << 32, 0, allow),
        ("SCMP_ACT_ERRNO", "EQ", 1 << 32, 1 << 32, eperm),
        ("SCMP_ACT_ALLOW", "NE", 40, 41, allow),
        ("SCMP_ACT_ALLOW", "NE", 40, HIGH | 40, eperm),
        ("SCMP_ACT_ALLOW", "GT", 40, HIGH | 3, eperm),
        ("SCMP_ACT_ALLOW", "GE", 40, HIGH | 3, eperm),
        ("SCMP_ACT_ALLOW", "EQ", 40, HIGH | 40, eperm),
        ("SCMP_ACT_ALLOW", "LT", 40, HIGH | 3, eperm),
        // The ends of the range.
        ("SCMP_ACT_ALLOW", "LT", 0, 0, eperm),
        ("SCMP_ACT_ALLOW", "GT", u64::MAX, u64::MAX, eperm),
        ("SCMP_ACT_ALLOW", "GT", 0xffff_ffff, u64::MAX, eperm),
        ("SCMP_ACT_ALLOW", "LE", u64::MAX, u64::MAX, allow),
    ] {
        let got = answer(&rule(action, op, value), "kill", &[arg]);
        assert_eq!(got, want, "{action} {op} {value:#x} of {arg:#x}");
    }
}

#[test]
fn what_lazaret_needs_must_be_allowed() {
    for name in NEEDED_NAMES {
        for group in [
            json!({ "names": [name], "action": "SCMP_ACT_ERRNO" }),
            json!({ "names": [name], "action": "SCMP_ACT_KILL" }),
            json!({ "names": [name], "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": 1, "value": 7, "op": "SCMP_CMP_EQ" }] }),
        ] {
            let error = narrow(&but(json!([group])), &[]).unwrap_err();
            assert_eq!(error.kind, Kind::Unsupported);
            assert!(error.cause.contains(name), "{error}");
            assert!(error.hint.is_some());
        }
    }
    let strict = json!({ "defaultAction": "SCMP_ACT_KILL" });
    assert!(narrow(&strict, &[]).is_err());
    let logged = json!({ "defaultAction": "SCMP_ACT_LOG" });
    assert_eq!(answer(&logged, "read", &[]), libc::SECCOMP_RET_LOG);
}

const NEEDED_NAMES: [&str; 3] = ["execve", "write", "exit_group"];

#[test]
fn old_spellings_and_words_of_podmans() {
    let json = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [
            { "name": "kill", "action": "SCMP_ACT_ERRNO", "args": null, "comment": "c", "includes": {}, "excludes": {} },
            { "names": ["tkill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "errno": "ENOSYS" },
            { "names": ["tgkill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0 },
            { "names": ["pause"], "action": "SCMP_ACT_TRAP", "includes": { "minKernel": "6.1" } },
            { "names": ["alarm"], "action": "SCMP_ACT_TRAP", "includes": { "minKernel": "6.2" } },
            { "names": ["times"], "action": "SCMP_ACT_KILL_THREAD", "excludes": { "arches": ["arm64"] } },
            { "names": ["umask"], "action": "SCMP_ACT_KILL", "includes": { "arches": ["s390x"] } },
        ],
    });
    for (name, want) in [
        ("kill", EPERM),
        ("tkill", ENOSYS),
        ("tgkill", Verdict::Ignore),
        ("pause", Verdict::Trap),
        ("alarm", Verdict::Allow),
        ("times", Verdict::Kill),
        ("umask", Verdict::Allow),
    ] {
        assert_eq!(answer(&json, name, &[]), want.code(), "{name}");
    }
    // A typing error in a list of what is not allowed is said.
    let typo = but(json!([{ "names": ["sokcet\u{1b}"], "action": "SCMP_ACT_ERRNO" }]));
    let (_, notes) = narrow(&typo, &[]).unwrap();
    assert!(notes[1].contains(r#""sokcet\u{1b}""#), "{notes:?}");
}

#[test]
fn an_unconditional_rule_clears_conditional_ones() {
    let both = but(json!([
        { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] },
        { "names": ["kill"], "action": "SCMP_ACT_TRAP" },
    ]));
    assert_eq!(answer(&both, "kill", &[1]), Verdict::Trap.code());
    let or = but(json!([
        { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] },
        { "names": ["kill"], "action": "SCMP_ACT_KILL", "args": [{ "index": 1, "value": 9, "op": "SCMP_CMP_EQ" }] },
    ]));
    assert_eq!(answer(&or, "kill", &[1, 0]), EPERM.code());
    assert_eq!(answer(&or, "kill", &[2, 9]), Verdict::Kill.code());
    assert_eq!(answer(&or, "kill", &[1, 9]), Verdict::Kill.code());
    assert_eq!(answer(&or, "kill", &[2, 0]), Verdict::Allow.code());
}

#[test]
fn what_is_not_understood_or_not_built_is_refused() {
    let arg =
        |arg: Value| but(json!([{ "names": ["kill"], "action": "SCMP_ACT_KILL", "args": [arg] }]));
    let (eq, errno) = ("SCMP_CMP_EQ", "SCMP_ACT_ERRNO");
    for (json, kind, word) in [
        (json!([]), Kind::Malformed, "array"),
        (json!({}), Kind::Malformed, "defaultAction"),
        (
            json!({ "defaultAction": "ALLOW" }),
            Kind::Malformed,
            "ALLOW",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_TRACE" }),
            Kind::Unsupported,
            "tracer",
        ),
        (
            json!({ "DefaultAction": "SCMP_ACT_KILL" }),
            Kind::Malformed,
            "spelling",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "extra": 1 }),
            Kind::Malformed,
            "extra",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "listenerPath": "/x" }),
            Kind::Malformed,
            "listenerPath",
        ),
        (
            json!({ "defaultAction": errno, "defaultErrnoRet": 5000 }),
            Kind::Malformed,
            "5000",
        ),
        (
            json!({ "defaultAction": errno, "defaultErrnoRet": -1 }),
            Kind::Malformed,
            "-1",
        ),
        (
            json!({ "defaultAction": errno, "defaultErrnoRet": 1, "defaultErrno": "ENOSYS" }),
            Kind::Malformed,
            "ENOSYS",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }),
            Kind::Malformed,
            "no errno",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "architectures": ["X86"] }),
            Kind::Malformed,
            "X86",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_X86"], "archMap": [{ "architecture": "SCMP_ARCH_ARM" }] }),
            Kind::Malformed,
            "both",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] }),
            Kind::Unsupported,
            "SPEC_ALLOW",
        ),
        (
            but(json!([{ "names": ["kill"], "action": "SCMP_ACT_NOTIFY" }])),
            Kind::Unsupported,
            "outside",
        ),
        (
            but(json!([{ "names": ["kill"] }])),
            Kind::Malformed,
            "action",
        ),
        (
            but(json!([{ "name": "kill", "names": ["tkill"], "action": errno }])),
            Kind::Malformed,
            "both name",
        ),
        (
            but(json!([{ "names": ["kill"], "action": errno, "includes": [] }])),
            Kind::Malformed,
            "array",
        ),
        (
            but(
                json!([{ "names": ["kill"], "action": errno, "includes": { "minKernel": "six" } }]),
            ),
            Kind::Malformed,
            "six",
        ),
        (
            but(json!([{ "names": ["kill"], "action": errno, "excludes": { "kernel": "6.1" } }])),
            Kind::Malformed,
            "kernel",
        ),
        (but(json!([[]])), Kind::Malformed, "array"),
        (
            arg(json!({ "index": 6, "value": 0, "op": eq })),
            Kind::Malformed,
            "0 to 5",
        ),
        (
            arg(json!({ "index": 0, "value": 0, "op": "==" })),
            Kind::Malformed,
            "==",
        ),
        (
            arg(json!({ "index": 0, "value": 1.5, "op": eq })),
            Kind::Malformed,
            "1.5",
        ),
        (
            arg(json!({ "index": 0, "value": 1, "valueTwo": 2, "op": eq })),
            Kind::Malformed,
            "valueTwo",
        ),
        (
            arg(json!({ "index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ" })),
            Kind::Malformed,
            "never holds",
        ),
        (
            arg(json!({ "index": 0, "op": eq })),
            Kind::Malformed,
            "value",
        ),
        (
            but(json!([{ "names": ["kill"], "action": errno, "args": [
            { "index": 0, "value": 1, "op": "SCMP_CMP_GE" }, { "index": 0, "value": 5, "op": "SCMP_CMP_LE" }] }])),
            Kind::Malformed,
            "two conditions",
        ),
        (
            but(json!(vec![
                json!({ "names": ["kill"], "action": errno });
                2049
            ])),
            Kind::Limit,
            "groups",
        ),
        (
            but(json!([{ "names": vec!["kill"; 16_385], "action": errno }])),
            Kind::Limit,
            "names",
        ),
    ] {
        let error = error(&json);
        let shown: String = json.to_string().chars().take(200).collect();
        assert_eq!(error.kind, kind, "{shown}: {error}");
        assert!(error.cause.contains(word), "{word}: {error}");
        assert!(error.cause.contains("\"p.json\""), "{error}");
    }
    let parse = |text: &str| JsonProfile::parse(text.as_bytes(), "p.json").unwrap_err();
    let twice = r#"{"defaultAction":"SCMP_ACT_KILL","defaultAction":"SCMP_ACT_ALLOW"}"#;
    assert!(parse(twice).cause.contains("twice"));
    assert_eq!(parse(&" ".repeat(2 << 20)).kind, Kind::Limit);
    assert_eq!(parse("").kind, Kind::Malformed);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    assert_eq!(parse(&deep).kind, Kind::Limit);
}

#[test]
fn too_many_rules_are_an_error_and_no_wrong_program() {
    let rule = |n: u64| {
        json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": (0..6).map(|at| {
            json!({ "index": at, "value": n + at, "op": "SCMP_CMP_NE" })
        }).collect::<Value>() })
    };
    let many = |count: u64| but((0..count).map(rule).collect());
    assert!(narrow(&many(50), &[]).is_ok());
    assert_eq!(narrow(&many(65), &[]).unwrap_err().kind, Kind::Limit);
    // Below that limit, and still more than a program may be long.
    let wide = |name: &str| {
        (0..60u64)
            .map(|n| {
                let mut group = rule(n);
                group["names"] = json!([name]);
                group
            })
            .collect::<Vec<_>>()
    };
    let long: Vec<Value> = ["kill", "tkill", "tgkill", "read", "pause"]
        .iter()
        .flat_map(|n| wide(n))
        .collect();
    let error = narrow(&but(json!(long)), &[]).unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    assert!(error.cause.contains("instructions"), "{error}");
}

#[test]
fn a_capability_opens_what_it_is_for() {
    let chroot = |caps: &[&str]| {
        let profile = Profile::builtin("default", caps.iter().copied()).unwrap();
        let call = Call {
            nr: Arch::X86_64.number("chroot").unwrap(),
            arch: NATIVE,
            args: [0; 6],
        };
        run(&profile.compile(Arch::X86_64).unwrap(), &call)
    };
    assert_eq!(chroot(&[]), EPERM.code());
    assert_eq!(chroot(&["CHOWN", "SETUID"]), EPERM.code());
    assert_eq!(chroot(&["CHOWN", "SYS_CHROOT"]), Verdict::Allow.code());
    // The shipped list of such capabilities is what the source says: with all others the rules are
    // those of none, and with each of these they are not.
    for shipped in &shipped::ALL {
        let none = Rules::parse(shipped.source, "t", &[]).unwrap();
        let others: Vec<&str> = crate::policy::CAPABILITIES
            .into_iter()
            .filter(|cap| !shipped.caps.contains(cap))
            .collect();
        assert_eq!(Rules::parse(shipped.source, "t", &others).unwrap(), none);
        for cap in shipped.caps {
            assert_ne!(Rules::parse(shipped.source, "t", &[cap]).unwrap(), none);
        }
    }
    let text = |caps: &str| {
        format!(
            "version = 1\nname = \"t\"\nrefused = \"EPERM\"\nunknown = \"ENOSYS\"\n\
             [[allow]]\nnames = \"read\"\nreason = \"r\"\ncaps = [{caps}]"
        )
    };
    let parse = |caps: &str| Rules::parse(&text(caps), "t", &["KILL"]);
    assert_eq!(parse("\"KILL\"").unwrap().rules.len(), 1);
    assert_eq!(parse("\"KILL\", \"CHOWN\"").unwrap().rules.len(), 0);
    assert!(parse("\"KIL\"").unwrap_err().cause.contains("KIL"));
}

#[test]
fn the_plan_says_what_it_is_made_of() {
    let (profile, _) = narrow(&large(), &["SYS_CHROOT"]).unwrap();
    assert_eq!(
        profile.to_string(),
        "only those that both \"p.json\" and \"default\" allow with SYS_CHROOT"
    );
    let parts = profile.parts();
    assert!(parts[0].0.starts_with("\"p.json\" (sha256:"));
    assert_eq!(parts[0].1, Origin::Flag("--security-opt"));
    assert!(parts[2].0.contains("mount"));
    let shown = serde_json::to_value(&profile).unwrap();
    assert_eq!(shown["narrowed_by"]["file"], "\"p.json\"");
    assert!(shown["rules"]["read"] == "allow", "{shown}");
}
