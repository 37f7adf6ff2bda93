//! `lazaret learn`: what a cell did becomes the smallest policy that covers it; under that policy the
//! same runs, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::os::unix::fs::symlink;
use std::process::Command;
use support::learnt::{UNDER, calls, install, learn, policy, set, strace_calls, values};
use support::reports::{chmod, denials};
use support::{Entry, Home, Image, need, program};

/// `tests/programs/refused.c`, and files of several owners.
fn image(home: &Home) -> String {
    let refused = std::fs::read(program("refused")).unwrap();
    Image::toolbox()
        .with(&[
            Entry::file("bin/refused", refused.clone()).mode(0o755),
            Entry::file(
                "bin/evil\"\n[[allow]]\ncaps = [\"SYS_ADMIN\"]\n\u{202e}",
                refused,
            )
            .mode(0o755),
            Entry::dir("srv"),
            Entry::file("srv/open", "x").mode(0o644),
            Entry::file("srv/his", "x").mode(0o600).owner(7, 7),
            Entry::file("srv/theirs", "x").mode(0o604).owner(7, 0),
            Entry::dir("sticky").mode(0o1777).owner(7, 7),
            Entry::file("sticky/his", "x").mode(0o666).owner(8, 8),
            Entry::dir("his").mode(0o755).owner(7, 7),
            Entry::dir("root").mode(0o700),
            Entry::dir("root/deep").mode(0o700),
            Entry::file("root/deep/his", "x").mode(0o600).owner(7, 7),
        ])
        .layout(home, "img")
}

/// Each act, and the capabilities that it takes.
#[rustfmt::skip]
const ACTS: &[(&[&str], &[&str])] = &[
    (&["read", "/srv/open"], &[]),
    (&["write", "/srv/open"], &[]),
    (&["make", "/srv/new"], &[]),
    (&["chmod", "/srv/open"], &[]),
    (&["utime", "/srv/open"], &[]),
    (&["chown", "/srv/open", "0"], &[]),
    (&["unlink", "/srv/his"], &[]),
    (&["setuid", "0"], &[]),
    (&["kill", "0"], &[]),
    (&["bind", "0.0.0.0", "8080"], &[]),
    (&["chown", "/srv/open", "7"], &["CHOWN"]),
    (&["chown", "/srv/his", "7"], &["CHOWN"]),
    (&["chmod", "/srv/his"], &["FOWNER"]),
    (&["read", "/srv/his"], &["DAC_OVERRIDE"]),
    (&["write", "/srv/theirs"], &["DAC_OVERRIDE"]),
    (&["setuid", "7"], &["SETUID"]),
    (&["setgid", "7"], &["SETGID"]),
    (&["setgroups", "7"], &["SETGID"]),
    (&["kill", "7"], &["SETUID", "KILL"]),
    (&["bind", "0.0.0.0", "80"], &["NET_BIND_SERVICE"]),
    (&["descriptor", "/srv/open"], &["CHOWN", "FOWNER"]),
    // A folder that is closed meanwhile was open already; one below /root is closed to who looks.
    (&["far", "/srv/far"], &[]),
    (&["chown", "/root", "7"], &["CHOWN"]),
    (&["read", "/root/deep/his"], &["DAC_OVERRIDE"]),
    // A mode that changed meanwhile, another's file where everybody writes, a folder to rename into.
    (&["made", "/srv"], &["DAC_OVERRIDE"]),
    (&["unlink", "/sticky/his"], &["FOWNER"]),
    (&["rename", "/srv/open", "/his/x"], &["DAC_OVERRIDE"]),
];

/// Exactly the capabilities that an act takes are learnt; under what was learnt it passes, and without
/// any of them it does not.
#[test]
fn the_capabilities_that_acts_take_are_learnt() {
    need!("userns", "overlay", "subuids");
    let home = Home::new();
    let image = image(&home);
    for (act, caps) in ACTS {
        let line = [&[image.as_str(), "refused"][..], act].concat();
        let ran = learn(&home, &[], &line).ok();
        assert_eq!(ran.out(), "0\n", "{act:?}: {ran}");
        assert!(!ran.err().contains("cannot be seen"), "{act:?}: {ran}");
        let learnt = values(&policy(&home, "learnt.toml"), "give", "caps");
        assert_eq!(learnt, set(caps), "{act:?}\n{ran}");
        install(&home, "learnt.toml");
        let command = [&["refused"][..], act].concat();
        let (ran, denied) = denials(&home, &UNDER, &image, &command);
        assert_eq!(ran.out(), "0\n", "{act:?}: {ran}");
        assert!(denied.is_empty(), "{act:?}: {denied:#?}");
        for cap in *caps {
            let without = [&UNDER[..], &["--cap-drop", cap]].concat();
            let (ran, denied) = denials(&home, &without, &image, &command);
            assert_ne!(ran.out(), "0\n", "{act:?} without {cap}");
            let rule = denied.first().map(|d| d["rule"].to_string());
            assert!(
                rule.is_some_and(|rule| rule.contains(cap)),
                "{act:?}: {denied:#?}"
            );
        }
        for file in ["learnt.toml", "learnt.seccomp.json"] {
            std::fs::remove_file(home.path(file)).unwrap();
        }
    }
}

/// A profile that checks: what was used, with what it was learnt from, and nothing more. Another act is
/// refused under it and explained.
#[test]
fn what_was_learnt_runs_and_nothing_else_does() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let acts =
        "read /dev/zero , read /srv/open , mkdir /tmp/x , thread /srv/open , vfork /srv/open";
    let command: Vec<&str> = ["refused"]
        .into_iter()
        .chain(acts.split_whitespace())
        .collect();
    let ran = learn(
        &home,
        &[],
        &[&["-e", "WORD=x", &image], &command[..]].concat(),
    )
    .ok();
    assert_eq!(ran.out(), "0\n".repeat(5));
    ran.complains("to be read before they are used")
        .complains("--profile learnt");
    home.lazaret(["policy", "check", "learnt.toml"])
        .run()
        .ok()
        .says("ok");
    let text = std::fs::read_to_string(home.path("learnt.toml")).unwrap();
    for part in [
        format!("# run: {image} ("),
        "refused read /dev/zero".to_owned(),
        "# seen: read /srv/open".to_owned(),
        "# seen: written /tmp/**".to_owned(),
        "# seen: executed /bin/refused".to_owned(),
        "whether it is read cannot be seen".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}\n{text}");
    }
    let learnt = policy(&home, "learnt.toml");
    assert_eq!(values(&learnt, "give", "caps"), set(&[]));
    assert_eq!(values(&learnt, "give", "devices"), set(&["null", "zero"]));
    assert_eq!(values(&learnt, "allow", "env"), set(&["WORD"]));
    assert!(!learnt.contains_key("extends"));
    let calls = calls(&home, "learnt.seccomp.json");
    assert!(
        calls.contains("clone") && !calls.contains("unlink") && calls.len() < 60,
        "{calls:?}"
    );

    install(&home, "learnt.toml");
    let flags = [&UNDER[..], &["-e", "WORD=x"]].concat();
    let (again, denied) = denials(&home, &flags, &image, &command);
    assert_eq!(again.ok().out(), "0\n".repeat(5));
    assert!(denied.is_empty(), "{denied:#?}");
    for (act, rule, cure) in [
        (
            &["unlink", "/srv/open"][..],
            "seccomp=",
            "allow unlink in that file",
        ),
        (
            &["read", "/dev/full"],
            "no rule gives it",
            "devices = [\"full\"]",
        ),
        (&["chown", "/srv/open", "7"], "seccomp=", "in that file"),
    ] {
        let command = [&["refused"], act].concat();
        let (ran, denied) = denials(&home, &flags, &image, &command);
        assert_ne!(ran.out(), "0\n", "{act:?}");
        assert_eq!(denied.len(), 1, "{act:?}: {denied:#?}");
        assert!(
            denied[0]["rule"].as_str().unwrap().contains(rule),
            "{denied:#?}"
        );
        assert!(
            denied[0]["cure"]
                .to_string()
                .replace('\\', "")
                .contains(cure),
            "{denied:#?}"
        );
    }
    // A flag that the run did not have is not allowed.
    let more = [&flags[..], &["-e", "OTHER=x"]].concat();
    let line = [&["run", "--rm"][..], &more, &[&image, "true"]].concat();
    home.lazaret(line).run().exits(125).complains("-e OTHER");
}

/// What the run did not hold it did not take, and another profile's rules are that profile's.
#[test]
fn nothing_is_learnt_that_the_run_did_not_have() {
    need!("userns", "overlay", "subuids");
    let home = Home::new();
    let image = image(&home);
    let run = [
        "--cap-drop",
        "ALL",
        &image,
        "refused",
        "chown",
        "/srv/open",
        "0",
        ",",
        "far",
        "/srv/far",
    ];
    learn(&home, &[], &run).ok();
    assert_eq!(
        values(&policy(&home, "learnt.toml"), "give", "caps"),
        set(&[])
    );

    std::fs::write(
        home.path("narrow.toml"),
        "version = 1\nprofile = \"narrow\"\nextends = \"strict\"\n\
         [[trust]]\nimage = \"oci:/nothing/**\"\naccept = \"reject\"\nreason = \"a\"\n\
         [[deny]]\ncaps = [\"CHOWN\"]\nreason = \"b\"\n\
         [[give]]\nlimits = { nofile = 100 }\nreason = \"c\"\n",
    )
    .unwrap();
    install(&home, "narrow.toml");
    let run = [
        "--profile",
        "narrow",
        &image,
        "refused",
        "read",
        "/srv/open",
    ];
    learn(&home, &["-o", "under.toml"], &run).ok();
    let text = std::fs::read_to_string(home.path("under.toml")).unwrap();
    for part in ["oci:/nothing/**", "nofile = 100", "caps = [\"CHOWN\"]"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

/// What a hostile file beside a policy says is not learnt on.
#[test]
fn a_strangers_profile_is_not_learnt_on() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    learn(&home, &[], &[&image, "true"]).ok();
    let strange = r#"{"syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_LOG"}]}"#;
    std::fs::write(home.path("learnt.seccomp.json"), strange).unwrap();
    learn(&home, &["--merge", "learnt.toml"], &[&image, "true"])
        .exits(125)
        .complains("an action that was not learnt");
}

/// What was asked for is allowed as it was asked; where less would have done, that is marked.
#[test]
fn what_is_broader_than_seen_is_marked() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    for folder in [home.root().to_owned(), home.path("")] {
        chmod(&folder, 0o755);
    }
    for folder in ["written", "read", "idle", "idle2"] {
        std::fs::create_dir(home.path(folder)).unwrap();
        std::fs::write(home.path(folder).join("file"), "x").unwrap();
        chmod(&home.path(folder), 0o777);
        chmod(&home.path(folder).join("file"), 0o666);
    }
    home.policy("[[allow]]\nmounts = [\"./**:rw\"]\nnetwork = [\"host\"]\nreason = \"a test\"\n");
    let flags = [
        "-v",
        "./written:/w:rw",
        "-v",
        "./read:/r:rw",
        "-v",
        "./idle:/i:ro",
        "-v",
        "./idle2:/data/w:ro",
        "--network",
        "host",
        "--memory",
        "100m",
    ];
    let acts = "write /w/file , read /r/file";
    let command: Vec<&str> = ["refused"]
        .into_iter()
        .chain(acts.split_whitespace())
        .collect();
    learn(&home, &[], &[&flags[..], &[&image], &command].concat())
        .ok()
        .complains("4 of its rules grant more than was seen");
    let text = std::fs::read_to_string(home.path("learnt.toml")).unwrap();
    let reason = |part: &str| {
        let rules = text
            .split("\n\n")
            .filter(|rule| rule.starts_with("[[allow]]"));
        let mut found = rules.filter(|rule| rule.contains(part));
        let rule = found.next().unwrap_or_else(|| panic!("{part}\n{text}"));
        rule.lines()
            .find(|line| line.starts_with("reason"))
            .unwrap()
            .to_owned()
    };
    let written = reason("/written:rw");
    assert!(written.contains("written and read: /w/file"), "{written}");
    assert!(!written.contains("broader"), "{written}");
    assert!(reason("/read:rw").contains("broader than seen: nothing was written, :ro would do"));
    assert!(reason("/idle2").contains("broader than seen: nothing of it was used"));
    assert!(reason("/idle:").contains("broader than seen: nothing of it was used"));
    assert!(reason("network").contains("broader than seen: nothing but loopback was used"));
    // The same flags run under it, whatever the user's own rules allow.
    install(&home, "learnt.toml");
    let (ran, denied) = denials(&home, &[&UNDER[..], &flags].concat(), &image, &command);
    assert_eq!(ran.ok().out(), "0\n0\n");
    assert!(denied.is_empty(), "{denied:#?}");
}

/// What several runs needed is learnt on, and nothing that is there is replaced unasked.
#[test]
fn it_learns_on() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let own = ["-o", "own.toml"];
    learn(&home, &own, &[&image, "refused", "read", "/dev/zero"]).ok();
    learn(&home, &own, &[&image, "true"])
        .exits(125)
        .complains("is there already")
        .complains("--merge own.toml learns on");
    let first = calls(&home, "own.seccomp.json");
    assert!(!first.contains("unlink"));
    learn(
        &home,
        &["--merge", "own.toml"],
        &[&image, "refused", "unlink", "/srv/open"],
    )
    .ok();
    let both = policy(&home, "own.toml");
    assert_eq!(both["profile"].as_str(), Some("own"));
    assert_eq!(values(&both, "give", "devices"), set(&["null", "zero"]));
    let more = calls(&home, "own.seccomp.json");
    assert!(more.is_superset(&first) && more.contains("unlink"));
    let text = std::fs::read_to_string(home.path("own.toml")).unwrap();
    assert_eq!(text.matches("# run: ").count(), 2, "{text}");
    // The same again changes nothing; elsewhere, what was learnt on stays.
    let line = [&image, "refused", "unlink", "/srv/open"].map(|word| word as &str);
    learn(&home, &["--merge", "own.toml"], &line).ok();
    assert_eq!(
        std::fs::read_to_string(home.path("own.toml")).unwrap(),
        text
    );
    learn(
        &home,
        &["--merge", "own.toml", "-o", "third.toml"],
        &[&image, "refused", "mkdir", "/d"],
    )
    .ok();
    assert_eq!(
        std::fs::read_to_string(home.path("own.toml")).unwrap(),
        text
    );
    assert!(calls(&home, "third.seccomp.json").is_superset(&more));
    for (name, said) in [
        ("a b.toml", "is no name of a profile"),
        (".toml", "is no name of a profile"),
        ("x.json", "is no name of a profile"),
        ("no/x.toml", "no such file"),
    ] {
        learn(&home, &["-o", name], &[&image, "true"])
            .exits(125)
            .complains(said);
    }
    std::fs::write(home.path("bad.toml"), "version = 1\n[[give]]\ncaps = []\n").unwrap();
    std::fs::write(home.path("bad.seccomp.json"), "{}").unwrap();
    learn(&home, &["--merge", "bad.toml"], &[&image, "true"])
        .exits(125)
        .complains("without a reason");
    learn(&home, &["--merge", "none.toml"], &[&image, "true"]).exits(125);
    // A link is not written through.
    symlink("target", home.path("link.toml")).unwrap();
    learn(&home, &["-o", "link.toml"], &[&image, "true"]).exits(125);
    assert!(!home.path("target").exists());
}

/// Names that programs, files and arguments have are words of strangers.
#[test]
fn what_hostile_programs_say_is_no_rule() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let evil = "/bin/evil\"\n[[allow]]\ncaps = [\"SYS_ADMIN\"]\n\u{202e}";
    let path = "/srv/\n[[give]]\ncaps = [\"KILL\"]\nreason = \"x\"\n\u{1b}[2J\u{202e}";
    let bind = ["bind", "0.0.0.0", "80"];
    let words = [
        &[
            image.as_str(),
            evil,
            "mkdir",
            path,
            ",",
            "mkdir",
            "/srv/x  y",
            ",",
        ],
        &bind[..],
    ]
    .concat();
    learn(&home, &[], &words).ok();
    let learnt = policy(&home, "learnt.toml");
    // With one id inside nobody holds any.
    let held: &[&str] = match support::have("learn", "subuids") {
        true => &["NET_BIND_SERVICE"],
        false => &[],
    };
    assert_eq!(values(&learnt, "give", "caps"), set(held));
    assert_eq!(values(&learnt, "allow", "caps"), set(&[]));
    let text = std::fs::read_to_string(home.path("learnt.toml")).unwrap();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    home.lazaret(["policy", "check", "learnt.toml"]).run().ok();
    // Nor are they after they were read back.
    learn(&home, &["--merge", "learnt.toml"], &words).ok();
    assert_eq!(
        std::fs::read_to_string(home.path("learnt.toml")).unwrap(),
        text
    );
}

/// Learning is under every rule in force, and what is learnt takes none of them away.
#[test]
fn rules_in_force_stay_in_force() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    learn(&home, &[], &["-v", "/etc:/x", &image, "true"])
        .exits(125)
        .complains("refused by policy");
    assert!(!home.path("learnt.toml").exists());
    learn(&home, &[], &[&image, "true"]).ok();
    install(&home, "learnt.toml");
    let under = ["run", "--rm", "--profile", "learnt", &image, "true"];
    home.lazaret(under).run().ok();
    home.policy("[[trust]]\nimage = \"oci:/**\"\naccept = \"reject\"\nreason = \"a test\"\n");
    home.lazaret(under)
        .run()
        .exits(125)
        .complains("refused by policy");
    learn(&home, &["-o", "x.toml"], &[&image, "true"])
        .exits(125)
        .complains("refused by policy");
    home.policy("[[deny]]\ncaps = [\"NET_BIND_SERVICE\"]\nreason = \"a test\"\n");
    let ran = learn(
        &home,
        &["-o", "y.toml"],
        &[&image, "refused", "bind", "0.0.0.0", "80"],
    );
    assert_eq!(ran.ok().out(), format!("{}\n", libc::EACCES));
    assert_eq!(values(&policy(&home, "y.toml"), "give", "caps"), set(&[]));
}

/// A command's exit code is that of `learn`; flags of a run that is kept are refused by name.
#[test]
fn its_ends_and_its_mistakes() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    learn(&home, &[], &[&image, "toolbox", "exit", "7"]).exits(7);
    learn(
        &home,
        &["-o", "k.toml"],
        &[&image, "toolbox", "kill-self", "9"],
    )
    .exits(137);
    let long = ["--timeout", "300ms", &image, "toolbox", "sleep", "60"];
    learn(&home, &["-o", "t.toml"], &long).exits(137);
    assert!(home.path("t.toml").exists());
    learn(&home, &["-o", "n.toml"], &[&image, "nothing-there"]).exits(127);
    for flag in [
        &["--name", "x"][..],
        &["--report", "r"],
        &["--dry-run"],
        &["--security-opt", "seccomp=x"],
    ] {
        learn(
            &home,
            &["-o", "f.toml"],
            &[flag, &[&image, "true"]].concat(),
        )
        .exits(125)
        .complains(&format!("{}: learn keeps nothing", flag[0]));
    }
    home.lazaret(["learn"])
        .run()
        .exits(125)
        .complains("missing RUN-ARGS");
    home.lazaret(["learn", "--", "--rm"])
        .run()
        .exits(125)
        .complains("missing IMAGE");
    home.lazaret(["learn", "--help"]).run().ok().says("--merge");
}

/// Every call that strace sees the same program make outside is in what was learnt.
#[test]
fn no_call_is_missed_that_strace_sees() {
    need!("userns", "overlay", "strace");
    let home = Home::new();
    let image = image(&home);
    let acts = "read /etc/passwd , thread /etc/passwd , vfork /etc/passwd , exec /bin/refused , mkdir /tmp/lazaret-learn-x , \
                unlink /nothing , chmod /nothing , connect 127.0.0.1 9 , send 127.0.0.1 9 , utime /nothing , kill 0 , stop-not";
    let acts: Vec<&str> = acts.split_whitespace().collect();
    learn(
        &home,
        &[],
        &[&[image.as_str(), "refused"], &acts[..]].concat(),
    );
    let learnt = calls(&home, "learnt.seccomp.json");
    let log = home.path("strace.log");
    let ran = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&log)
        .arg(program("refused"))
        .args(&acts)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    std::fs::remove_dir("/tmp/lazaret-learn-x").unwrap_or_default();
    let seen = strace_calls(&std::fs::read_to_string(log).unwrap());
    assert!(seen.len() > 25, "{seen:?}");
    let missed: Vec<&String> = seen.difference(&learnt).collect();
    assert!(missed.is_empty(), "{missed:?}\n{learnt:?}");
}

/// A shell waits for a child by a call that it does not make where the child was faster.
#[test]
fn what_chance_decides_is_allowed() {
    need!("userns", "overlay", "busybox");
    let home = Home::new();
    let busybox = std::fs::read(support::find("busybox").unwrap()).unwrap();
    let entries = [
        Entry::file("bin/sh", busybox).mode(0o755),
        Entry::hardlink("bin/sleep", "bin/sh"),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "shell");
    let script =
        |child: &str, shell: &str| format!("sleep {child} & sleep {shell}; wait; echo waited");
    learn(&home, &[], &[&image, "sh", "-c", &script("0", "2")])
        .ok()
        .says("waited");
    install(&home, "learnt.toml");
    let slow = script("2", "0");
    let flags = [&UNDER[..], &["--timeout", "30s"]].concat();
    let (ran, denied) = denials(&home, &flags, &image, &["sh", "-c", &slow]);
    assert_eq!(ran.ok().out(), "waited\n");
    assert!(denied.is_empty(), "{denied:#?}");
}

/// More paths than are kept, and calls without end, are bounded, and the clock goes on.
#[test]
fn a_flood_is_bounded() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let began = std::time::Instant::now();
    let line = [
        "--timeout",
        "3s",
        &image,
        "refused",
        "race",
        "100000000",
        "/srv/open",
    ];
    learn(&home, &[], &line).exits(137);
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    let size = std::fs::metadata(home.path("learnt.toml")).unwrap().len();
    assert!(size < 1 << 16, "{size}");
}
