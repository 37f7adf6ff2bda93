//! `run --dry-run`: the plan as data, in the order in which it is walked, each step with its origin.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::Value;
use support::{Home, Image, need};

/// The default cell. A step that moves, comes or goes changes what a cell is: read the theory of
/// operation in `src/sandbox/mod.rs` before changing this list.
const DEFAULT: &[&str] = &[
    "supervisor clone",
    "init close_inherited",
    "init plain_process",
    "init map_ids",
    "init open_layers",
    "init become_container_root",
    "init die_with_supervisor",
    "init scrub_memory",
    "init undumpable",
    "init join_keyring",
    "init start_verifier",
    "verifier make_network",
    "verifier loopback_up",
    "verifier check_layers",
    "init private_mounts",
    "init mount_memory",
    "init mount_root",
    "init mount_dev",
    "init mount_shared",
    "init mount_shared",
    "init mount_proc",
    "init write_file",
    "init write_file",
    "init write_file",
    "init pivot",
    "init set_hostname",
    "init join_network",
    "init landlock",
    "init start_payload",
    "init confine_init",
    "payload new_session",
    "payload bound_capabilities",
    "payload become_user",
    "payload change_directory",
    "payload set_capabilities",
    "payload set_rlimits",
    "payload no_new_privileges",
    "payload close_files",
    "payload wait_for_go",
    "payload seccomp",
    "payload execute",
    "supervisor supervise",
];

fn plan(home: &Home, args: &[&str]) -> Vec<Value> {
    let mut line = vec!["run", "--dry-run", "--format", "json"];
    line.extend(args);
    let ran = home.lazaret(line).run().ok();
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"))
}

/// `actor step`, as the JSON names them.
fn named(step: &Value) -> String {
    let what = step
        .as_object()
        .unwrap()
        .keys()
        .find(|key| *key != "actor" && *key != "origin")
        .unwrap();
    format!("{} {what}", step["actor"].as_str().unwrap())
}

#[test]
fn the_default_cell_is_this_plan() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let steps = plan(&home, &["--rm", &image, "true"]);
    let names: Vec<String> = steps.iter().map(named).collect();
    assert_eq!(names, DEFAULT);
    for step in &steps {
        assert!(
            step["origin"].is_object(),
            "where does it come from? {step}"
        );
    }
    // The same question has the same answer.
    assert_eq!(plan(&home, &["--rm", &image, "true"]), steps);
}

#[test]
fn a_dry_run_does_nothing() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret([
        "run",
        "--dry-run",
        "--name",
        "dry",
        &image,
        "echo",
        "it ran",
    ])
    .run()
    .ok()
    .says("payload")
    .does_not_say("it ran\n");
    assert!(support::list(&home.store().join("containers")).is_empty());
    home.clean();
}

#[test]
fn flags_show_up_with_their_origin() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let args = [
        "--rm",
        "--read-only",
        "--tmpfs",
        "/scratch",
        "--hostname",
        "station",
        "-w",
        "/tmp",
        "-e",
        "A=b",
        "--timeout",
        "9s",
        &image,
        "true",
    ];
    let ran = home
        .lazaret(["run", "--dry-run"].iter().chain(&args))
        .run()
        .ok();
    let text = ran.out();
    for flag in ["--read-only", "--tmpfs", "--hostname", "-w", "--timeout"] {
        assert!(
            text.contains(&format!("flag {flag}")),
            "no origin {flag}\n{ran}"
        );
    }
    for value in ["station", "/scratch"] {
        assert!(text.contains(value), "no {value}\n{ran}");
    }
}

#[test]
fn each_variable_says_where_it_comes_from() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let ran = home
        .lazaret([
            "run",
            "--dry-run",
            "--rm",
            "-e",
            "A=b c",
            "-e",
            "LANG=\x1b[2J",
            &image,
            "true",
        ])
        .run()
        .ok();
    let text = ran.out();
    for (variable, origin) in [
        ("A=\"b c\"", "flag -e"),
        ("LANG=\"\\u{1b}[2J\"", "flag -e"),
        ("HOME=\"/root\"", "strict.toml:"),
        ("PATH=", "image config.Env"),
    ] {
        let after = text.split(&format!("\n      {variable}")).nth(1);
        let line = after.and_then(|rest| rest.lines().nth(1));
        assert!(
            line.is_some_and(|l| l.trim().starts_with(&format!("<- {origin}"))),
            "{variable}: {line:?}\n{ran}"
        );
    }
}

/// What is handed in: opened as the caller, mounted when the launch has written its files, each
/// after what it lies below, and before the root is closed.
#[test]
fn what_is_handed_in_is_in_the_plan() {
    need!("userns", "overlay", "landlock-5");
    let home = Home::new();
    home.policy("[[allow]]\nmounts = [\"./**:rw\"]\ndevices = [\"full\"]\nreason = \"a test\"\n");
    for folder in ["data", "out"] {
        std::fs::create_dir(home.path(folder)).unwrap();
    }
    std::fs::write(home.path("file"), "x").unwrap();
    let image = Image::toolbox().layout(&home, "img");
    let flags = [
        "--rm",
        "--read-only",
        "-v",
        "./out:/in/out",
        "--tmpfs",
        "/in/out/t",
        "-v",
        "./data:/in:ro,noexec",
        "--mount",
        "type=bind,src=./file,dst=/f,ro",
        "--device",
        "/dev/full:/dev/filled",
        "-w",
        "/in",
        &image,
        "true",
    ];
    let mut want: Vec<&str> = DEFAULT.to_vec();
    let mut add = |before: &str, steps: &[&'static str]| {
        let at = want.iter().position(|step| *step == before).unwrap();
        want.splice(at..at, steps.iter().copied());
    };
    add("init become_container_root", &["init open_source"; 4]);
    add("init mount_shared", &["init mount_device"]);
    let mounts = [
        "init mount_bind",
        "init mount_bind",
        "init mount_bind",
        "init mount_tmpfs",
        "init make_workdir",
        "init read_only_root",
    ];
    add("init pivot", &mounts);
    let steps = plan(&home, &flags);
    assert_eq!(steps.iter().map(named).collect::<Vec<_>>(), want);
    let landlock = steps.iter().find(|step| step.get("landlock").is_some());
    assert!(landlock.unwrap().to_string().contains("/dev/filled"));

    let text = home
        .lazaret(["run", "--dry-run"].iter().chain(&flags))
        .run()
        .ok()
        .out();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let work = home.path("").canonicalize().unwrap();
    let work = work.to_str().unwrap().trim_end_matches('/').to_owned();
    let of = |line: &str| line.replace("WORK", &work);
    for line in [
        "init: open \"WORK/out\" of the host, the very one that was judged",
        "init: mount device \"/dev/full\" of the host, 1:7, on \"/dev/filled\"",
        "init: mount file \"WORK/file\" of the host on \"/f\": read-only, nosuid, nodev",
        "init: mount folder \"WORK/data\" of the host on \"/in\": read-only, nosuid, nodev, noexec",
        "init: mount folder \"WORK/out\" of the host on \"/in/out\": writable, nosuid, nodev",
    ] {
        assert!(text.contains(&of(line)), "{line}\n{text}");
    }
    assert!(text.contains("policy.toml:4"), "{text}");
}

#[test]
fn the_kept_id_is_in_the_plan() {
    need!("userns", "overlay", "subuids", "not-root");
    let home = Home::new();
    home.policy("[[allow]]\nuserns = [\"keep-id\"]\nreason = \"a test\"\n");
    let image = Image::toolbox().layout(&home, "img");
    let steps = plan(&home, &["--rm", "--userns", "keep-id", &image, "true"]);
    let uid = rustix::process::getuid().as_raw();
    let map = steps.iter().find_map(|step| step.get("map_ids")).unwrap();
    assert_eq!(map["keep"]["kept"][0], uid);
    let user = steps
        .iter()
        .find_map(|step| step.get("become_user"))
        .unwrap();
    assert_eq!(user["user"]["user"], uid.to_string());
}
