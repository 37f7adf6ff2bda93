//! `--cap-add`, `--cap-drop` and `--security-opt`, seen from inside.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use support::{Entry, Home, Image, Layer, Ran, need};

const MANY: &str = "[[allow]]\ncaps = [\"*\"]\nreason = \"a test\"\n";

fn run(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> Ran {
    let line = ["run", "--rm"].iter().chain(flags).chain([&image]);
    home.lazaret(line.chain(command).copied().collect::<Vec<_>>())
        .run()
}

/// The capability sets of a run, as numbers.
fn sets(ran: &Ran) -> Vec<(String, u64)> {
    let text = ran.out();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, hex)| {
            let number = u64::from_str_radix(hex.trim(), 16).unwrap();
            (name.to_owned(), number)
        })
        .collect()
}

/// What every set but the bounding one holds, and that one.
fn held(home: &Home, flags: &[&str], image: &str) -> (u64, u64) {
    let ran = run(home, flags, image, &["toolbox", "status", "Cap"]).ok();
    let of = |name: &str| {
        let all = sets(&ran);
        all.iter().find(|(have, _)| have == name).unwrap().1
    };
    assert_eq!((of("CapInh"), of("CapAmb")), (0, 0), "{ran}");
    assert_eq!(of("CapPrm"), of("CapEff"), "{ran}");
    (of("CapEff"), of("CapBnd"))
}

#[test]
fn capabilities_are_what_was_asked_for() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    assert_eq!(held(&home, &[], &image), (0, 0));
    assert_eq!(held(&home, &["--cap-drop", "ALL"], &image), (0, 0));
    assert_eq!(held(&home, &["--cap-drop", "sys_admin"], &image), (0, 0));
    home.policy(MANY);
    // CHOWN 0, KILL 5, NET_BIND_SERVICE 10.
    let two = ["--cap-add", "chown", "--cap-add=CAP_NET_BIND_SERVICE"];
    assert_eq!(held(&home, &two, &image), (0x401, 0x401));
    let less = [&two[..], &["--cap-drop", "CHOWN"]].concat();
    assert_eq!(held(&home, &less, &image), (0x400, 0x400));
    let given = format!("{MANY}[[give]]\ncaps = [\"KILL\"]\nreason = \"a test\"\n");
    home.policy(&given);
    assert_eq!(held(&home, &[], &image), (0x20, 0x20));
    assert_eq!(held(&home, &["--cap-drop=ALL"], &image), (0, 0));
    let other = ["--cap-drop=all", "--cap-add=chown"];
    assert_eq!(held(&home, &other, &image), (1, 1));
    home.clean();
}

#[test]
fn an_ordinary_user_holds_none_and_it_is_said() {
    need!("userns", "overlay", "subuids");
    let home = Home::new();
    home.policy(MANY);
    let image = Image::toolbox().layout(&home, "img");
    let flags = ["--cap-add", "CHOWN", "--cap-add", "SETUID", "-u", "1000"];
    assert_eq!(held(&home, &flags, &image).0, 0);
    run(&home, &flags, &image, &["true"])
        .ok()
        .complains("only root inside holds capabilities: CHOWN SETUID");
    // Root, which then becomes one.
    let root = ["--cap-add", "CHOWN", "--cap-add", "SETUID"];
    let ran = run(
        &home,
        &root,
        &image,
        &["toolbox", "all", "setuid", "1000", ",", "status", "Cap"],
    );
    for (name, set) in sets(&ran.ok()) {
        assert!(set == 0 || name == "CapBnd", "{name} {set:x}");
    }
    run(&home, &root, &image, &["true"])
        .ok()
        .complains("root inside holds CHOWN SETUID");
    home.clean();
}

#[test]
fn capabilities_are_refused_with_their_cure() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let refused = run(&home, &["--cap-add", "chown"], &image, &["true"])
        .exits(125)
        .complains("asked   --cap-add CHOWN");
    let text = refused.err();
    let cure: Vec<&str> = text
        .lines()
        .skip_while(|line| line.trim() != "[[allow]]")
        .map(str::trim)
        .collect();
    home.policy(&cure.join("\n"));
    assert_eq!(held(&home, &["--cap-add", "chown"], &image), (1, 1));
    home.policy(MANY);
    for (cap, word) in [
        ("SYS_ADMIN", "deny caps"),
        ("cap_net_raw", "deny caps"),
        ("all", "one by one"),
        ("SYS_EVERYTHING", "no capability is called that"),
    ] {
        run(&home, &["--cap-add", cap], &image, &["true"])
            .exits(125)
            .complains(word);
    }
    home.clean();
}

#[test]
fn a_capability_opens_the_call_that_it_is_for() {
    need!("userns", "overlay");
    let home = Home::new();
    home.policy(MANY);
    let image = Image::toolbox().layout(&home, "img");
    let chroot = ["toolbox", "chroot", "/bin"];
    run(&home, &["--cap-add", "SYS_CHROOT"], &image, &chroot)
        .ok()
        .prints("chroot\n");
    run(&home, &["--cap-add", "CHOWN"], &image, &chroot).exits(1);
    home.clean();
}

fn profile(home: &Home, name: &str, text: &str) -> String {
    std::fs::write(home.path(name), text).unwrap();
    format!("seccomp={name}")
}

const OPEN: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;

/// Everything that the set holds, under a profile that allows everything.
#[test]
fn a_profile_that_allows_everything_opens_nothing() {
    need!("userns", "overlay");
    let home = Home::new();
    let option = profile(&home, "open.json", OPEN);
    let names = [
        "io_uring",
        "new_namespaces",
        "other_entry",
        "terminal",
        "kernel_calls",
        "core",
        "sockets",
        "ptrace",
    ];
    let programs: Vec<Entry> = names
        .iter()
        .map(|name| {
            let bytes = std::fs::read(support::program(&format!("hostile/{name}"))).unwrap();
            Entry::file(*name, bytes).mode(0o755)
        })
        .collect();
    let image = Image::new([Layer::of(&programs)]).layout(&home, "hostile");
    for name in names {
        let program = format!("/{name}");
        run(&home, &["--security-opt", &option], &image, &[&program])
            .ok()
            .prints("held\n")
            .complains("and which stays refused: ");
    }
    home.clean();
}

#[test]
fn a_profile_narrows() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let hostname = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;
    let option = profile(&home, "narrow.json", hostname);
    let mkdir = ["toolbox", "mkdir", "/x"];
    run(&home, &[], &image, &mkdir).ok();
    for flags in [
        &["--security-opt", option.as_str()][..],
        &[
            "--security-opt=no-new-privileges",
            "--security-opt",
            &option,
        ],
    ] {
        let ran = run(&home, flags, &image, &mkdir).exits(1);
        assert!(ran.err().contains("ENOSYS"), "{ran}");
    }
    run(&home, &["--security-opt=seccomp=builtin"], &image, &mkdir)
        .ok()
        .prints("");
    home.clean();
}

/// Under a filter that kills for everything else, why a command cannot be executed is still said.
#[test]
fn a_launch_under_the_strictest_profile_says_what_failed() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox()
        .with(&[
            Entry::file("script", "#!/no/such/shell\n").mode(0o755),
            Entry::file("text", "no program").mode(0o644),
        ])
        .layout(&home, "img");
    let three = r#"{"defaultAction": "SCMP_ACT_KILL", "syscalls": [
        {"names": ["execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let option = profile(&home, "three.json", three);
    for (command, code, word) in [
        ("no-such-command", 127, "was not found"),
        ("/no/such/command", 127, "was not found"),
        ("/script", 127, "interpreter"),
        ("/text", 126, "cannot execute"),
        // Executed, and then it needs more.
        ("true", 128 + 31, ""),
    ] {
        for more in [&[][..], &["--timings"]] {
            let flags = [&["--security-opt", option.as_str()], more].concat();
            run(&home, &flags, &image, &[command])
                .exits(code)
                .complains(word);
        }
    }
    for name in ["execve", "write", "exit_group"] {
        let without = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["NAME"], "action": "SCMP_ACT_ERRNO"}]}"#;
        let option = profile(&home, "without.json", &without.replace("NAME", name));
        run(&home, &["--security-opt", &option], &image, &["true"])
            .exits(125)
            .complains(&format!("does not allow {name}"));
    }
    home.clean();
}

#[test]
fn the_plan_names_the_profile_and_bad_ones_are_refused() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let option = profile(&home, "open.json", OPEN);
    let digest = support::sha256(OPEN.as_bytes());
    let flags = ["--security-opt", &option, "--dry-run"];
    let ran = run(&home, &flags, &image, &["true"]).ok();
    let said = ran.out().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("only those that both \"open.json\" and \"default\" allow"));
    assert!(said.contains("<- flag --security-opt"), "{said}");
    assert!(said.contains(&digest), "{said}");
    assert!(
        said.contains("refused although the file allows it:"),
        "{said}"
    );
    for (text, kind, word) in [
        ("", "malformed", "EOF"),
        ("{}", "malformed", "defaultAction"),
        (
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
            "unsupported",
            "NOTIFY",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_KILL", "x\u001b[2J": 1}"#,
            "malformed",
            "unknown field",
        ),
    ] {
        let option = profile(&home, "bad.json", text);
        let flags = ["--format", "json", "--security-opt", &option];
        let ran = run(&home, &flags, &image, &["true"]).exits(125);
        let error = support::error_of(&ran);
        assert_eq!(error["kind"], kind, "{ran}");
        assert!(error["cause"].as_str().unwrap().contains(word), "{ran}");
        assert!(!ran.err().contains('\x1b'), "{ran}");
    }
    for option in [
        "seccomp=unconfined",
        "no-new-privileges=false",
        "apparmor=unconfined",
        "label=disable",
        "systempaths=unconfined",
    ] {
        let flags = ["--format", "json", "--security-opt", option];
        let ran = run(&home, &flags, &image, &["true"]).exits(125);
        let error = support::error_of(&ran);
        assert_eq!(error["kind"], "policy", "{ran}");
        assert!(error["cause"].as_str().unwrap().contains(option), "{ran}");
    }
    home.clean();
}
