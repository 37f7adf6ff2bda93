//! What a flag asks for and a rule allows, seen from inside: limits, capabilities, the network,
//! system calls.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use support::{Home, Image, Ran, need};

fn run(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> Ran {
    let line = ["run", "--rm"].iter().chain(flags).chain([&image]);
    home.lazaret(line.chain(command).copied().collect::<Vec<_>>())
        .run()
}

/// The line of /proc/self/limits that begins with `name`, its spaces made one.
fn limit(ran: &Ran, name: &str) -> String {
    let text = ran.out();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn limits_of_processes() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let flags = [
        "--ulimit",
        "nofile=20:30",
        "--ulimit",
        "fsize=4096",
        "--ulimit",
        "cpu=7:9",
        "--ulimit",
        "stack=1048576",
        "--ulimit",
        "core=0",
        "--pids-limit",
        "33",
    ];
    let ran = run(&home, &flags, &image, &["toolbox", "rlimits"]).ok();
    for (name, is) in [
        ("Max open files", "Max open files 20 30 files"),
        ("Max file size", "Max file size 4096 4096 bytes"),
        ("Max cpu time", "Max cpu time 7 9 seconds"),
        ("Max stack size", "Max stack size 1048576 1048576 bytes"),
        ("Max processes", "Max processes 33 33 processes"),
        ("Max core file size", "Max core file size 1 1 bytes"),
    ] {
        assert_eq!(limit(&ran, name), is);
    }
    // What is given holds where nothing is asked for.
    let plain = run(&home, &[], &image, &["toolbox", "rlimits"]).ok();
    assert!(limit(&plain, "Max processes").starts_with("Max processes 512 512"));
    // SIGXFSZ ends who writes too much, and streams are no files.
    let small = ["--ulimit", "fsize=0"];
    run(&home, &small, &image, &["toolbox", "put", "/tmp/x", "1"]).exits(128 + 25);
    run(&home, &small, &image, &["echo", "heard"])
        .ok()
        .prints("heard\n");
    // CPU time: SIGXCPU at the soft limit.
    run(
        &home,
        &["--ulimit", "cpu=1:2"],
        &image,
        &["toolbox", "spin"],
    )
    .exits(128 + 24);
    // Too few descriptors for the command's own, not for the launch.
    run(&home, &["--ulimit", "nofile=3"], &image, &["echo", "three"])
        .ok()
        .prints("three\n");
    home.clean();
}

#[test]
fn limits_beyond_what_is_allowed() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &["--pids-limit", "100000"], &image, &["true"])
        .exits(125)
        .complains("asked   --pids-limit 100000")
        .complains("pids");
    run(&home, &["--ulimit", "nofile=1048577"], &image, &["true"])
        .exits(125)
        .complains("nofile");
    run(&home, &["--ulimit", "core=1"], &image, &["true"])
        .exits(125)
        .complains("--ulimit core is refused");
    home.policy("[[allow]]\nlimits = { pids = 600 }\nreason = \"r\"\n");
    let ran = run(
        &home,
        &["--pids-limit", "600"],
        &image,
        &["toolbox", "rlimits"],
    )
    .ok();
    assert_eq!(
        limit(&ran, "Max processes"),
        "Max processes 600 600 processes"
    );
}
