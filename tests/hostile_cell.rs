//! Hostile programs and the probe in the real cell, through the whole binary.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Entry, Home, Image, Layer, need};

/// Programs that need nothing but to be there, and what they are called with.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("fds", &[]),
    ("files_open", &["70000"]),
    ("forks", &["700"]),
    ("inherited", &[]),
    ("init_args", &[]),
    ("init_files", &[]),
    ("init_powers", &[]),
    ("io_uring", &[]),
    ("kernel_calls", &[]),
    ("keyring", &[]),
    ("mounts", &[]),
    ("new_namespaces", &[]),
    ("new_privileges", &[]),
    ("other_entry", &[]),
    ("outsiders", &[]),
    ("powers", &[]),
    ("proc_masks", &[]),
    ("proc_sys", &[]),
    ("program", &[]),
    ("ptrace", &[]),
    ("sockets", &[]),
    ("terminal", &[]),
    ("whiteout", &[]),
];

/// An image of one layer with these programs of `tests/programs/hostile` in `/`.
fn image(home: &Home, programs: &[&str]) -> String {
    let mut entries: Vec<Entry> = ["dev", "etc", "proc", "sys"].map(Entry::dir).into();
    entries.push(Entry::dir("tmp").mode(0o1777));
    for name in programs {
        let bytes = std::fs::read(support::program(&format!("hostile/{name}"))).unwrap();
        entries.push(Entry::file(*name, bytes).mode(0o755));
    }
    Image::new([Layer::of(&entries)]).layout(home, "hostile")
}

/// Runs `program args...` of `image` and wants `held`.
#[track_caller]
fn held(home: &Home, image: &str, options: &[&str], program: &str, args: &[&str]) {
    let program = format!("/{program}");
    let mut all = vec!["run", "--rm"];
    all.extend_from_slice(options);
    all.extend_from_slice(&[image, &program]);
    all.extend_from_slice(args);
    let ran = home.lazaret(all).run().ok();
    assert_eq!(ran.out().lines().last(), Some("held"), "{ran}");
}

#[test]
fn every_hostile_program_is_held() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let names: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
    let image = image(&home, &names);
    for (program, args) in PROGRAMS {
        held(&home, &image, &[], program, args);
    }
}

#[test]
fn an_ordinary_user_inside_is_held_as_well() {
    need!("userns", "overlay", "landlock", "subuids");
    let home = Home::new();
    let names: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
    let image = image(&home, &names);
    for (program, args) in PROGRAMS {
        // It makes a file in /, which is root's.
        if *program != "powers" {
            held(&home, &image, &["-u", "1000:1000"], program, args);
        }
    }
}

#[test]
fn the_callers_groups_are_gone() {
    need!("userns", "overlay", "subuids");
    let home = Home::new();
    let image = image(&home, &["groups"]);
    held(&home, &image, &[], "groups", &[]);
}

#[test]
fn no_device_driver_answers() {
    need!("userns", "overlay", "landlock-5");
    let home = Home::new();
    let image = image(&home, &["device_ioctl"]);
    held(&home, &image, &[], "device_ioctl", &[]);
}

#[test]
fn every_namespace_is_the_cells_own() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home, &["namespaces"]);
    let links: Vec<String> = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
        .map(|kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap())
        .map(|link| link.to_str().unwrap().to_owned())
        .into();
    let links: Vec<&str> = links.iter().map(String::as_str).collect();
    held(&home, &image, &[], "namespaces", &links);
}

#[test]
fn a_service_of_the_host_is_out_of_reach() {
    need!("userns", "overlay");
    use std::os::linux::net::SocketAddrExt as _;
    let home = Home::new();
    let image = image(&home, &["tcp", "abstract"]);
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    held(&home, &image, &[], "tcp", &[&port]);
    let name = format!("lazaret-hostile-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    held(&home, &image, &[], "abstract", &[&name]);
}

#[test]
fn a_file_of_the_host_is_out_of_reach() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home, &["host_file"]);
    let secret = home.path("secret");
    std::fs::write(&secret, "what only the host may read").unwrap();
    held(&home, &image, &[], "host_file", &[secret.to_str().unwrap()]);
}

#[test]
fn the_hosts_program_is_not_executed_inside() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let image = image(&home, &["fds"]);
    // At that moment the link leads to lazaret itself (CVE-2019-5736).
    home.lazaret([
        "run",
        "--rm",
        "--entrypoint",
        "/proc/self/exe",
        &image,
        "version",
    ])
    .run()
    .exits(126)
    .prints("");
}

#[test]
fn neighbours_do_not_meet() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home, &["neighbour"]);
    let name = format!("neighbour-{}", std::process::id());
    let served = home
        .lazaret(["run", "--rm", &image, "/neighbour", "serve", &name, "4711"])
        .spawn();
    served.until_out("serving");
    held(&home, &image, &[], "neighbour", &["reach", &name, "4711"]);
    served.signal(Signal::KILL);
    drop(served.wait());
}

#[test]
fn writes_stay_in_their_cell() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "toolbox");
    let run = |args: &[&str]| {
        let mut all = vec!["run", "--rm", &image];
        all.extend_from_slice(args);
        home.lazaret(all).run()
    };
    run(&["toolbox", "put", "/etc/passwd", "changed"]).ok();
    run(&["cat", "/etc/passwd"])
        .ok()
        .says("app:x:1000")
        .does_not_say("changed");
}

#[test]
fn a_daemon_dies_with_its_run() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home, &["daemon"]);
    // The harness fails a run that something outlives.
    held(&home, &image, &[], "daemon", &[]);
}

#[test]
fn everything_dies_with_a_killed_supervisor() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home, &["daemon"]);
    let running = home
        .lazaret(["run", "--rm", &image, "/daemon", "stay"])
        .spawn();
    running.until_out("held");
    running.signal(Signal::KILL);
    let ran = running.wait();
    assert_eq!(ran.signal.or(ran.code), Some(9), "{ran}");
}

#[test]
fn writes_are_bounded_in_bytes_and_inodes() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home, &["fill"]);
    let small = ["--tmpfs", "/small:size=2m"];
    held(&home, &image, &small, "fill", &["/small", "8", "4096"]);
    // One tmpfs of 512 MiB and 32,768 inodes is behind everything of a cell that is in memory.
    held(&home, &image, &[], "fill", &["/dev/shm", "600", "40000"]);
}

#[test]
fn the_hosts_name_and_variables_stay_outside() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "toolbox");
    home.lazaret(["run", "--rm", &image, "env"])
        .env("SECRET_OF_THE_HOST", "hunter2")
        .run()
        .ok()
        .does_not_say("hunter2")
        .does_not_say("SECRET");
    let home_folder = home.root().to_str().unwrap().to_owned();
    home.lazaret(["run", "--rm", &image, "cat", "/proc/self/mountinfo"])
        .run()
        .ok()
        .does_not_say(&home_folder);
}

/// Runs the built-in image and returns what it found.
#[track_caller]
fn probe(home: &Home, options: &[&str]) -> Value {
    let mut args = vec!["run", "--rm"];
    args.extend_from_slice(options);
    args.extend_from_slice(&["builtin:probe", "--format", "json"]);
    let ran = home.lazaret(args).run();
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| {
        panic!("{e}\n{ran}");
    });
    let open = with_verdict(&found, "OPEN");
    assert!(open.is_empty(), "OPEN: {open:#?}");
    assert_eq!(ran.code, Some(0), "{ran}");
    found
}

fn with_verdict(found: &Value, verdict: &str) -> Vec<Value> {
    let checks = found["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["verdict"] == verdict)
        .cloned()
        .collect()
}

#[test]
fn the_probe_finds_nothing_open() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let found = probe(&home, &[]);
    assert!(found["contained"].as_u64().unwrap() > 100, "{found}");
}

#[test]
fn the_probe_finds_nothing_open_for_another_user_or_a_read_only_root() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    probe(&home, &["--read-only"]);
    if support::have("the_probe_as_another_user", "subuids") {
        probe(&home, &["-u", "1234:1234"]);
    }
}

#[test]
fn one_id_for_all_is_named_as_a_downgrade() {
    need!("userns", "overlay", "landlock", "no-subuids");
    let home = Home::new();
    let found = probe(&home, &[]);
    let names: Vec<Value> = with_verdict(&found, "downgraded")
        .into_iter()
        .map(|check| check["check"].clone())
        .collect();
    assert!(names.contains(&json!("the payload's id is not the caller's")));
}
