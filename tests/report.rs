//! `--report`: what a run was, from what to how it ended, as one document of a published form.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use support::reports::{chmod, home, valid};
use support::{Entry, Home, Image, Ran, Registry, list, need, sha256};

/// Runs `run --report r.json` with these words; the report is removed again.
#[track_caller]
fn reported(home: &Home, line: &[&str]) -> (Ran, Value) {
    let words = [line[0], "--report", "r.json"]
        .into_iter()
        .chain(line[1..].iter().copied());
    let ran = home.lazaret(words).run();
    let path = home.path("r.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{e}\n{ran}"));
    std::fs::remove_file(&path).unwrap();
    (ran, valid(&text))
}

fn grants<'a>(report: &'a Value, what: &str) -> Vec<&'a Value> {
    let all = report["grants"].as_array().unwrap().iter();
    all.filter(|grant| grant["what"] == what).collect()
}

/// What only looks, and what was refused, say as well what the run was held to.
#[test]
fn a_locked_run_says_so() {
    need!("userns", "overlay", "landlock");
    let home = home();
    let registry = Registry::of(&Image::toolbox().build(), |_, _| None);
    let name = registry.image();
    home.lazaret(["lock", "-q", &name]).run().ok();
    let file = std::fs::read(home.path("lazaret.lock")).unwrap();
    let held = |lock: &Value, entry: bool| {
        let path = home.path("lazaret.lock");
        assert_eq!(lock["file"], path.to_str().unwrap());
        assert_eq!(lock["digest"], sha256(&file));
        assert_eq!(lock["entry"].is_object(), entry, "{lock}");
    };
    let (ran, report) = reported(&home, &["run", "--rm", "--locked", &name, "true"]);
    ran.ok();
    held(&report["lock"], true);
    assert_eq!(report["image"]["asked"], name);
    assert_eq!(report["lock"]["entry"]["reference"], name);
    assert_eq!(
        report["lock"]["entry"]["manifest"],
        report["image"]["manifest"]
    );
    assert_eq!(report["lock"]["entry"]["signers"], json!([]));
    let (ran, report) = reported(
        &home,
        &["run", "--rm", "--locked", "other.example/x", "true"],
    );
    ran.exits(125);
    assert_eq!(report["ended"], "denied");
    held(&report["lock"], false);
    let (ran, report) = reported(&home, &["run", "--rm", &name, "true"]);
    ran.ok();
    assert_eq!(report["lock"], Value::Null);

    let line = ["--locked", "--format", "json", &name, "true"];
    let ran = home
        .lazaret([&["policy", "explain"], &line[..]].concat())
        .run()
        .ok();
    let explained: Value = serde_json::from_str(&ran.out()).unwrap();
    held(&explained["lock"], true);
    let ran = home
        .lazaret(["policy", "explain", "--locked", &name, "true"])
        .run();
    ran.ok().says(&format!("locked: {name} (linux/"));
    let ran = home
        .lazaret(["run", "--dry-run", "--locked", &name, "true"])
        .run();
    ran.ok().complains(&format!("locked: {name} (linux/"));
}

#[test]
fn a_report_says_what_ran_and_how() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox()
        .with(&[Entry::file("etc/more", "more")])
        .layout(&home, "img");
    let line = [
        "--rm",
        "-e",
        "SECRET=hunter2",
        "--timeout",
        "60s",
        &image,
        "exit",
        "7",
    ];
    let (ran, report) = reported(&home, &[&["run"], &line[..]].concat());
    ran.exits(7);
    assert_eq!(report["ended"], "exited");
    assert_eq!(
        (&report["code"], &report["exit_code"]),
        (&json!(7), &json!(7))
    );
    assert_eq!(report["error"], Value::Null);
    // The image's own documents say the same.
    let index: Value =
        serde_json::from_slice(&std::fs::read(home.path("img/index.json")).unwrap()).unwrap();
    assert_eq!(report["image"]["manifest"], index["manifests"][0]["digest"]);
    let blob = |digest: &Value| -> Value {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        let path = home.path("img/blobs/sha256").join(hex);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let manifest = blob(&report["image"]["manifest"]);
    assert_eq!(report["image"]["config"], manifest["config"]["digest"]);
    let config = blob(&manifest["config"]["digest"]);
    let layers = report["image"]["layers"].as_array().unwrap();
    assert!(!layers.is_empty());
    assert_eq!(layers.len(), manifest["layers"].as_array().unwrap().len());
    for (at, layer) in layers.iter().enumerate() {
        assert_eq!(layer["digest"], manifest["layers"][at]["digest"]);
        assert_eq!(layer["size"], manifest["layers"][at]["size"]);
        assert_eq!(layer["diff_id"], config["rootfs"]["diff_ids"][at]);
    }
    assert!(report["container"]["id"].is_string());
    // Grants know their flag, image key or rule; variables do not tell their values.
    let origin = |what| grants(&report, what)[0]["origin"].clone();
    assert_eq!(origin("timeout_seconds")["flag"], "--timeout");
    assert_eq!(origin("network")["rule"]["builtin"], true);
    let env = grants(&report, "env");
    assert!(
        env.iter()
            .any(|e| e["value"] == "SECRET" && e["origin"]["flag"] == "-e"),
        "{env:?}"
    );
    assert!(!report.to_string().contains("hunter2"));
    assert_eq!(report["policy"]["levels"][1]["extends"], json!(["strict"]));
    // Time and memory are those of this run.
    let times = &report["times"];
    let us = |key: &str| times[key].as_u64().unwrap();
    assert!(us("wall_us") > 0 && us("wall_us") < 60_000_000);
    let stages = times["stages"].as_array().unwrap();
    let run = stages.iter().find(|stage| stage["stage"] == "run").unwrap();
    assert!(run["us"].as_u64().unwrap() <= us("wall_us"));
    assert!(report["peak_memory"].as_u64().unwrap() > 4096);
    home.clean();
}

#[test]
fn the_plan_is_the_one_that_dry_run_prints() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    for flags in [&["--rm"][..], &["--name", "kept"], &["--rm", "--read-only"]] {
        let line = [flags, &[image.as_str(), "true"]].concat();
        let dry = [&["run", "--dry-run", "--format", "json"], &line[..]].concat();
        let plan = home.lazaret(dry).run().ok();
        let (ran, report) = reported(&home, &[&["run"], &line[..]].concat());
        ran.ok();
        assert_eq!(report["plan"], support::sha256(&plan.stdout), "{flags:?}");
    }
    // What is not done is not reported.
    home.lazaret([
        "run",
        "--rm",
        "--dry-run",
        "--report",
        "r.json",
        &image,
        "true",
    ])
    .run()
    .ok();
    assert!(!home.path("r.json").exists());
    let listed = home
        .lazaret(["inspect", "--format", "{{.Id}}", "kept"])
        .run()
        .ok();
    assert_eq!(listed.out().trim().len(), 64);
    home.clean();
}

#[test]
fn every_end_has_its_word() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let run = |flags: &[&str], command: &[&str]| {
        reported(
            &home,
            &[&["run", "--rm"], flags, &[image.as_str()], command].concat(),
        )
    };
    let (ran, report) = run(&[], &["toolbox", "kill-self", "11"]);
    ran.exits(139);
    assert_eq!(
        (&report["ended"], &report["signal"]),
        (&json!("signal"), &json!(11))
    );
    let (ran, report) = run(&["--timeout", "100ms"], &["sleep", "60"]);
    ran.exits(137);
    assert_eq!(
        (&report["ended"], &report["exit_code"]),
        (&json!("timeout"), &json!(137))
    );
    assert!(report["times"]["wall_us"].as_u64().unwrap() >= 100_000);
    let (ran, report) = run(&[], &["nowhere"]);
    ran.exits(127);
    assert_eq!(report["ended"], "error");
    assert_eq!(report["error"]["kind"], "command_not_found");
    assert_eq!(report["code"], Value::Null);
    // What was decided is known all the same, and nobody calls this a run.
    assert!(report["grants"].is_array() && report["plan"].is_string());
    assert_eq!(report["times"]["user_us"], Value::Null);
    let (ran, report) = run(&["-v", "/etc:/x"], &["true"]);
    ran.exits(125);
    assert_eq!(report["ended"], "denied");
    assert_eq!(report["reasons"][0]["asked"], "-v /etc:/x (read-write)");
    assert!(report["image"]["manifest"].is_string() && report["policy"]["digest"].is_string());
    assert_eq!(report["grants"], Value::Null);
    let (ran, report) = reported(&home, &["run", "--rm", "oci:./not-there"]);
    ran.exits(125);
    assert_eq!(report["ended"], "error");
    assert_eq!(report["image"], Value::Null);
    home.clean();
}

#[test]
fn limits_that_are_crossed_are_named_with_who_held_them() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let meter = |report: &Value, what: &str| -> Value {
        let all = report["meters"].as_array().unwrap();
        let mut found = all
            .iter()
            .filter(|meter| meter["what"] == what && !meter["bound"].is_null());
        found
            .next()
            .unwrap_or_else(|| panic!("{what}: {all:#?}"))
            .clone()
    };
    for (flag, bound, command, ended, what) in [
        (
            "--output-limit",
            "100KiB",
            &["write", "1000000"][..],
            "output",
            "output",
        ),
        ("--cpu-time", "200ms", &["spin"], "cpu", "cpu-time"),
        (
            "--memory",
            "32MiB",
            // What is looked at again and again is seen only where it stays.
            &["all", "fill", "/dev/shm/x", "60000000", ",", "sleep", "60"],
            "memory",
            "memory",
        ),
    ] {
        let line = ["run", "--rm", flag, bound, &image, "toolbox"];
        let (ran, report) = reported(&home, &[&line, command].concat());
        ran.exits(137);
        assert_eq!(report["ended"], ended, "{report}");
        let meter = meter(&report, what);
        let number = |key: &str| meter[key].as_u64().unwrap();
        assert!(number("used") >= number("bound"), "{meter}");
        assert_ne!(meter["by"], "rusage");
    }
    let (ran, report) = reported(&home, &["run", "--rm", "--memory", "64MiB", &image, "true"]);
    ran.exits(0);
    assert_eq!(meter(&report, "memory")["bound"], 64 << 20);
    assert!(report["peak_memory"].as_u64().unwrap() > 4096);
    assert_eq!(grants(&report, "memory")[0]["value"], 64 << 20);
    assert_eq!(grants(&report, "memory")[0]["origin"]["flag"], "--memory");
    home.clean();
}

#[test]
fn processor_time_is_the_cells() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let run = |flags: &[&str], command: &[&str]| {
        let line = [&["run", "--rm"], flags, &[&image, "toolbox"], command].concat();
        reported(&home, &line)
    };
    let user = |report: &Value| report["times"]["user_us"].as_u64().unwrap();
    let (ran, spun) = run(&["--ulimit", "cpu=1"], &["spin"]);
    // The kernel says nothing.
    ran.complains("a process may use 1s of processor time (--ulimit cpu), and ");
    assert_eq!(spun["ended"], "signal");
    assert!((800_000..10_000_000).contains(&user(&spun)), "{spun}");
    let slept = ["all", "sleep", "0.6", ",", "kill-self", "9"];
    let (ran, slept) = run(&["--ulimit", "cpu=1"], &slept);
    assert_eq!(slept["signal"], 9);
    assert!(!ran.err().contains("a process may use"), "{ran}");
    assert!(user(&slept) < 500_000, "{slept}");
    // The kernel counts nothing of processes that are killed with their pid 1: no count is not 0.
    let (_, killed) = run(&["--timeout", "300ms"], &["spin"]);
    assert_eq!(killed["ended"], "timeout");
    assert_eq!(killed["times"]["user_us"], Value::Null);
    home.clean();
}

#[test]
fn a_tool_is_reported_too() {
    need!("userns");
    let home = home();
    let (ran, report) = reported(&home, &["tool", "--", "sh", "-c", "exit 3"]);
    ran.exits(3);
    assert_eq!(
        (&report["verb"], &report["code"]),
        (&json!("tool"), &json!(3))
    );
    let path = report["program"]["path"].as_str().unwrap();
    assert!(path.ends_with("/sh"), "{path}");
    assert_eq!(report["image"], Value::Null);
    let plan = [
        "tool",
        "--dry-run",
        "--format",
        "json",
        "--",
        "sh",
        "-c",
        "exit 3",
    ];
    let plan = home.lazaret(plan).run().ok();
    assert_eq!(report["plan"], support::sha256(&plan.stdout));
    home.clean();
}

#[test]
fn standard_output_gets_it_after_everything_else() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let ran = home
        .lazaret(["run", "--rm", "--report", "-", &image, "echo", "first"])
        .run()
        .ok();
    let out = ran.out();
    let text = out.strip_prefix("first\n").unwrap();
    assert_eq!(valid(text)["ended"], "exited");
    // A disk that is full behind standard output.
    let script = format!(
        "exec {} run --rm --report - '{image}' true >/dev/full",
        env!("CARGO_BIN_EXE_lazaret")
    );
    home.program(Path::new("/bin/sh"), ["-c", &script])
        .run()
        .exits(125)
        .complains("write to standard output: no space left on device");
    home.clean();
}

#[test]
fn where_no_report_can_be_written_nothing_runs() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    std::fs::create_dir(home.path("out")).unwrap();
    chmod(&home.path("out"), 0o777);
    std::fs::create_dir(home.path("closed")).unwrap();
    symlink("out/elsewhere", home.path("link")).unwrap();
    for (report, why) in [
        ("none/r.json", "no such file or directory"),
        ("out", "is a folder"),
        ("link", "is a link"),
        ("/dev/null", "is no regular file"),
        ("/proc/self/r.json", "--report"),
        ("..", "names no file"),
    ] {
        let line = [
            "run",
            "--rm",
            "--report",
            report,
            "-v",
            "./out:/out",
            &image,
        ];
        let command = ["toolbox", "put", "/out/ran", "x"];
        home.lazaret(line.iter().chain(&command))
            .run()
            .exits(125)
            .complains(why);
        assert!(list(&home.path("out")).is_empty(), "{report}");
    }
    home.clean();
}

/// In a folder as /tmp is, an older report of somebody else stays: that is known before anything runs.
#[test]
fn where_an_older_report_cannot_go_nothing_runs() {
    need!("userns", "overlay", "root");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let sticky = home.path("sticky");
    std::fs::create_dir(&sticky).unwrap();
    std::fs::write(sticky.join("r.json"), "theirs").unwrap();
    chmod(&sticky, 0o1777);
    std::os::unix::fs::chown(&sticky, Some(1), Some(1)).unwrap();
    std::os::unix::fs::chown(sticky.join("r.json"), Some(2), Some(2)).unwrap();
    // As who is no owner of either.
    let line = [
        "--bounding-set=-fowner",
        env!("CARGO_BIN_EXE_lazaret"),
        "run",
        "--rm",
    ];
    let more = ["--report", "sticky/r.json", &image, "echo", "ran"];
    home.program(&support::find("setpriv").unwrap(), line.iter().chain(&more))
        .run()
        .exits(125)
        .prints("")
        .complains("--report: remove the older \"sticky/r.json\": operation not permitted");
    assert_eq!(
        std::fs::read_to_string(sticky.join("r.json")).unwrap(),
        "theirs"
    );
    home.clean();
}

/// The command may write to the very folder: it sees nothing there, and what it puts in the report's
/// place is replaced, not followed.
#[test]
fn a_command_cannot_take_the_reports_place() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let out = home.path("out");
    std::fs::create_dir(&out).unwrap();
    chmod(&out, 0o777);
    std::fs::write(home.path("victim"), "mine").unwrap();
    let run = |command: &[&str]| {
        let line = [
            "run",
            "--rm",
            "--report",
            "out/r.json",
            "-v",
            "./out:/out",
            &image,
        ];
        home.lazaret(line.iter().chain(command)).run()
    };
    let link = [
        "toolbox",
        "all",
        "ls",
        "/out",
        ",",
        "symlink",
        "../victim",
        "/out/r.json",
    ];
    run(&link).ok().prints("");
    assert!(out.join("r.json").symlink_metadata().unwrap().is_file());
    assert_eq!(
        std::fs::read_to_string(home.path("victim")).unwrap(),
        "mine"
    );
    let text = std::fs::read_to_string(out.join("r.json")).unwrap();
    assert_eq!(valid(&text)["ended"], "exited");
    let mode = std::fs::metadata(out.join("r.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(list(&out), ["r.json"]);
    std::fs::remove_file(out.join("r.json")).unwrap();
    // A folder makes room, and that is said.
    run(&["toolbox", "mkdir", "/out/r.json"])
        .ok()
        .complains("a folder stood in the place of \"out/r.json\"; it is \"out/.lazaret-report-");
    assert!(out.join("r.json").symlink_metadata().unwrap().is_file());
    assert_eq!(list(&out).len(), 2);
    home.clean();
}

#[test]
fn a_killed_supervisor_leaves_no_half_report_and_nobody_elses() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    std::fs::create_dir(home.path("out")).unwrap();
    for older in ["r.json", "c.json"] {
        std::fs::write(home.path("out").join(older), "an earlier run's").unwrap();
    }
    let line = [
        "run",
        "--rm",
        "--report",
        "out/r.json",
        "--receipt",
        "out/c.json",
        &image,
    ];
    let command = ["toolbox", "all", "echo", "up", ",", "sleep", "60"];
    let running = home.lazaret(line.iter().chain(&command)).spawn();
    running.until_out("up");
    assert!(list(&home.path("out")).is_empty());
    running.signal(rustix::process::Signal::KILL);
    let ran = running.wait();
    assert_eq!(ran.signal, Some(9), "{ran}");
    assert!(list(&home.path("out")).is_empty());
}

/// Mounts need root.
#[test]
fn a_full_disk_is_said_and_leaves_no_other_runs_report() {
    need!("userns", "overlay", "root");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    std::fs::create_dir(home.path("small")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4k none small && echo old > small/r.json && \
         {} run --rm --report small/r.json '{image}' true; code=$?; ls -A small; exit $code",
        env!("CARGO_BIN_EXE_lazaret")
    );
    home.program(Path::new("/usr/bin/unshare"), ["-m", "sh", "-c", &script])
        .run()
        .exits(125)
        .prints("")
        .complains("write the report \"small/r.json\": no space left on device");
    home.clean();
}
