//! The probe judges: unconfined it says OPEN, in a half-closed sandbox it tells the halves apart,
//! and in the default cell nothing is OPEN.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;
use serde_json::Value;
use support::{Home, Ran, need};

const LAZARET: &str = env!("CARGO_BIN_EXE_lazaret");

/// The checks with this verdict.
fn checks(ran: &Ran, verdict: &str) -> Vec<String> {
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap();
    value["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["verdict"] == verdict)
        .map(|check| check["check"].as_str().unwrap().to_owned())
        .collect()
}

/// What must be OPEN for anybody, root or not, on a machine without a sandbox.
const OPEN_UNCONFINED: &[&str] = &[
    "/ is an overlay of layers",
    "files that only a machine has",
    "name_to_handle_at",
    "/proc/self/exe is of this root",
    "host paths in mountinfo",
    "machine-wide files of /proc",
    "file systems of the kernel",
    "/sys is empty",
    "what stands in /dev",
    "making a whiteout (0:0)",
    "namespaces shared with the machine",
    "clone3 with a new namespace",
    "processes in sight",
    "signals to any pid",
    "ptrace at all",
    "netlink other than routes",
    "raw sockets and odd protocols",
    "keyctl(session keyring)",
    "add_key",
    "the payload's id is not the caller's",
    "bounding capabilities",
    "no_new_privs is set",
    "a system call filter stands",
    "Landlock stands behind the mounts",
    "io_uring_setup",
    "quotactl",
    "personality(no randomize)",
    "a fork bomb",
    "a crash reaches no core handler",
    "changing RLIMIT_CORE",
    "the machine's host name",
];

#[test]
fn unconfined_the_probe_says_open() {
    let home = Home::new();
    let ran = home
        .lazaret(["probe-inside", "--format", "json"])
        .run()
        .exits(1);
    let open = checks(&ran, "OPEN");
    for check in OPEN_UNCONFINED {
        assert!(open.iter().any(|o| o == check), "{check} is not OPEN");
    }
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(value["open"], open.len());
}

#[test]
fn the_table_is_grouped_and_readable_at_60_columns() {
    let home = Home::new();
    let ran = home.lazaret(["probe-inside"]).run().exits(1);
    let text = ran.out();
    let wide: Vec<&str> = text.lines().filter(|l| l.chars().count() > 60).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    for group in ["files of the host", "devices", "network", "system calls"] {
        assert!(text.lines().any(|line| line == group), "{group}\n{text}");
    }
    assert!(text.trim_end().ends_with(" OPEN"), "{text}");
}

#[test]
fn unknown_arguments_of_the_probe_are_refused() {
    let home = Home::new();
    home.lazaret(["probe-inside", "--fast"])
        .run()
        .exits(125)
        .complains("--format json");
}

#[test]
fn in_another_sandbox_the_probe_tells_the_halves_apart() {
    need!("bwrap", "userns");
    let home = Home::new();
    let bwrap = support::find("bwrap").unwrap();
    let ran = home
        .program(
            &bwrap,
            [
                "--unshare-all",
                "--ro-bind",
                LAZARET,
                "/probe",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--tmpfs",
                "/tmp",
                "/probe",
                "probe-inside",
                "--format=json",
            ],
        )
        .run()
        .exits(1);
    let contained = checks(&ran, "contained");
    for check in [
        "files that only a machine has",
        "processes in sight",
        "interfaces other than lo",
        "a way to any address",
        "making a device of memory (1:1)",
        "no_new_privs is set",
        "namespaces shared with the machine",
    ] {
        assert!(contained.iter().any(|c| c == check), "{check}");
    }
    let open = checks(&ran, "OPEN");
    for check in [
        "a system call filter stands",
        "Landlock stands behind the mounts",
        "io_uring_setup",
        "clone3 with a new namespace",
        "host paths in mountinfo",
        "machine-wide files of /proc",
        "the launcher's command line",
    ] {
        assert!(open.iter().any(|o| o == check), "{check}");
    }
}
