//! `lazaret run`: what is run, as whom, where, with which environment, and what comes back.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::json;
use std::time::{Duration, Instant};
use support::{Entry, Home, Image, need};

#[test]
fn exit_codes_are_the_commands() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for code in [0, 1, 7, 125, 127, 255] {
        home.lazaret(["run", "--rm", &image, "exit", &code.to_string()])
            .run()
            .exits(code);
    }
    for signal in [1, 2, 9, 11, 13, 15] {
        home.lazaret([
            "run",
            "--rm",
            &image,
            "toolbox",
            "kill-self",
            &signal.to_string(),
        ])
        .run()
        .exits(128 + signal);
    }
    home.lazaret(["run", "--rm", &image, "toolbox", "abort"])
        .run()
        .exits(134);
    home.clean();
}

#[test]
fn the_environment_is_the_images_and_what_was_asked() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox()
        .set(
            "Env",
            json!(["PATH=/bin", "FROM_IMAGE=1", "BOTH=image", "EMPTY="]),
        )
        .layout(&home, "img");
    let file = home.path("env");
    std::fs::write(
        &file,
        "# a comment\nFILE=from file # not a comment\nINHERITED\nQUOTED=\"q\"\n",
    )
    .unwrap();
    let ran = home
        .lazaret([
            "run",
            "--rm",
            "--env-file",
            file.to_str().unwrap(),
            "-e",
            "BOTH=flag",
            "-e",
            "SECRET",
            "-e",
            "UNSET",
            "-e",
            "EQUALS=a=b=c",
            &image,
            "env",
        ])
        .env("SECRET", "inherited by name")
        .env("INHERITED", "by file")
        .env("OUTSIDE", "must not be seen")
        .run()
        .ok();
    let out = ran.out();
    for line in [
        "FROM_IMAGE=1",
        "BOTH=flag",
        "EMPTY=",
        "FILE=from file # not a comment",
        "INHERITED=by file",
        "QUOTED=\"q\"",
        "SECRET=inherited by name",
        "EQUALS=a=b=c",
        "PATH=/bin",
    ] {
        assert!(out.lines().any(|l| l == line), "no {line}\n{ran}");
    }
    assert_eq!(out.matches("BOTH=").count(), 1, "{ran}");
    for word in ["OUTSIDE", "UNSET", "XDG_", "LAZARET", "HOME=/tmp/lazaret"] {
        assert!(!out.contains(word), "{word} leaks\n{ran}");
    }
    assert!(out.contains("HOME=/root\n"), "{ran}");
}

#[test]
fn entrypoint_and_command_combine_as_with_docker() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox()
        .set("Entrypoint", json!(["args", "one"]))
        .set("Cmd", json!(["two"]))
        .layout(&home, "img");
    let run = |args: &[&str]| {
        let mut line = vec!["run", "--rm"];
        line.extend(args);
        home.lazaret(line).run().ok().out()
    };
    assert_eq!(run(&[&image]), "[args]\n[one]\n[two]\n");
    assert_eq!(
        run(&[&image, "three", "-x", "--", ""]),
        "[args]\n[one]\n[three]\n[-x]\n[--]\n[]\n"
    );
    assert_eq!(run(&["--entrypoint", "/bin/echo", &image]), "\n");
    assert_eq!(run(&["--entrypoint", "echo", &image, "a"]), "a\n");
    assert_eq!(run(&["--entrypoint", "", &image, "echo", "b"]), "b\n");
}

#[test]
fn the_working_directory_is_made_and_entered() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox()
        .set("WorkingDir", json!("/home/app"))
        .layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "pwd"])
        .run()
        .ok()
        .prints("/home/app\n");
    home.lazaret(["run", "--rm", "-w", "/tmp", &image, "pwd"])
        .run()
        .ok()
        .prints("/tmp\n");
    home.lazaret(["run", "--rm", "-w", "/new/deep/one", &image, "pwd"])
        .run()
        .ok()
        .prints("/new/deep/one\n");
}

#[test]
fn users_groups_and_homes() {
    need!("userns", "overlay", "subuids");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let run = |user: &str| {
        home.lazaret(["run", "--rm", "-u", user, &image, "all", "id", ",", "env"])
            .run()
            .ok()
    };
    run("app")
        .says("uid=1000,1000,1000 gid=1000,1000,1000 groups=")
        .says("2000")
        .says("HOME=/home/app\n");
    run("1000").says("uid=1000,1000,1000 gid=1000,1000,1000");
    run("app:extra").says("uid=1000,1000,1000 gid=2000,2000,2000");
    run("1234:4321")
        .says("uid=1234,1234,1234 gid=4321,4321,4321 groups=\n")
        .says("HOME=/\n");
    run("0").says("uid=0,0,0 gid=0,0,0").says("HOME=/root\n");
    // An unknown number gets a name, so that programs that ask who they are get an answer.
    home.lazaret(["run", "--rm", "-u", "1234", &image, "cat", "/etc/passwd"])
        .run()
        .ok()
        .says(":1234:");
    let owned = Image::toolbox()
        .with(&[Entry::file("mine", "x").owner(1000, 2000).mode(0o640)])
        .set("User", json!("app"))
        .layout(&home, "owned");
    home.lazaret([
        "run", "--rm", &owned, "all", "id", ",", "stat", "/mine", ",", "cat", "/mine",
    ])
    .run()
    .ok()
    .says("uid=1000,1000,1000")
    .says("file 0640 1000:2000 1 1 /mine\n");
}

#[test]
fn hostname_and_the_files_that_name_it() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret([
        "run",
        "--rm",
        "--hostname",
        "station",
        &image,
        "toolbox",
        "all",
        "hostname",
        ",",
        "cat",
        "/etc/hosts",
        ",",
        "cat",
        "/etc/hostname",
    ])
    .run()
    .ok()
    .says("station\n")
    .says("127.0.0.1\tlocalhost")
    .says("station");
    let outside = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let ran = home
        .lazaret(["run", "--rm", &image, "toolbox", "hostname"])
        .run()
        .ok();
    assert_ne!(ran.out(), outside);
    // Whatever the host resolves by is the host's.
    home.lazaret(["run", "--rm", &image, "cat", "/etc/resolv.conf"])
        .run()
        .ok()
        .does_not_say("search");
    home.lazaret(["run", "--rm", &image, "toolbox", "ifaces"])
        .run()
        .ok()
        .prints("lo\n");
}

#[test]
fn what_is_written_goes_with_the_run() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret([
        "run",
        "--rm",
        &image,
        "toolbox",
        "all",
        "put",
        "/etc/new",
        "x",
        ",",
        "put",
        "/etc/passwd",
        "y",
        ",",
        "rm",
        "/bin/ls",
        ",",
        "cat",
        "/etc/new",
    ])
    .run()
    .ok()
    .prints("x");
    home.lazaret([
        "run",
        "--rm",
        &image,
        "all",
        "ls",
        "/etc",
        ",",
        "cat",
        "/etc/passwd",
    ])
    .run()
    .ok()
    .does_not_say("new")
    .says("root:x:0:0");
    home.clean();
}

#[test]
fn read_only_means_the_root_and_not_the_tmpfs() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for path in ["/etc/x", "/x", "/bin/x", "/etc/passwd"] {
        home.lazaret([
            "run",
            "--rm",
            "--read-only",
            &image,
            "toolbox",
            "put",
            path,
            "x",
        ])
        .run()
        .exits(1)
        .complains("EROFS");
    }
    home.lazaret([
        "run",
        "--rm",
        "--read-only",
        "--tmpfs",
        "/scratch",
        &image,
        "toolbox",
        "all",
        "put",
        "/scratch/x",
        "y",
        ",",
        "cat",
        "/scratch/x",
    ])
    .run()
    .ok()
    .prints("y");
}

#[test]
fn a_tmpfs_has_the_size_that_was_asked() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let ran = home
        .lazaret([
            "run",
            "--rm",
            "--tmpfs",
            "/small:size=1m",
            &image,
            "toolbox",
            "all",
            "statfs",
            "/small",
            ",",
            "fill",
            "/small/x",
            "2000000",
        ])
        .run()
        .exits(1)
        .complains("ENOSPC");
    assert!(ran.out().starts_with("1048576 "), "{ran}");
}

#[test]
fn the_writable_layer_has_a_size_and_a_number_of_inodes() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let ran = home
        .lazaret([
            "run", "--rm", &image, "toolbox", "all", "statfs", "/", ",", "statfs", "/tmp", ",",
            "statfs", "/dev/shm",
        ])
        .run()
        .ok();
    for line in ran.out().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (bytes, inodes): (u64, u64) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        assert!(bytes > 0 && bytes <= 1 << 30, "{line}\n{ran}");
        assert!(inodes > 0 && inodes <= 1 << 20, "{line}\n{ran}");
    }
    home.lazaret([
        "run",
        "--rm",
        &image,
        "toolbox",
        "fill",
        "/big",
        "800000000",
    ])
    .run()
    .exits(1)
    .complains("ENOSPC");
}

#[test]
fn a_timeout_ends_everything() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    for command in [
        &["sleep", "60"][..],
        &["toolbox", "spin"],
        &["toolbox", "signals"],
        &["toolbox", "all", "linger", "60", ",", "sleep", "60"],
    ] {
        let mut line = vec!["run", "--rm", "--timeout", "1s", &image];
        line.extend(command);
        let start = Instant::now();
        let ran = home.lazaret(line).run();
        let took = start.elapsed();
        assert!(matches!(ran.code, Some(124 | 137)), "{ran}");
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_secs(15),
            "{took:?}"
        );
    }
    home.lazaret(["run", "--rm", "--timeout", "30s", &image, "exit", "3"])
        .run()
        .exits(3);
    home.clean();
}

#[test]
fn a_container_that_is_kept_is_listed_and_removed() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret([
        "run", "--name", "kept", &image, "toolbox", "put", "/etc/new", "x",
    ])
    .run()
    .ok();
    home.lazaret(["ps", "-a"]).run().ok().says("kept");
    home.lazaret(["ps"]).run().ok().does_not_say("kept");
    home.lazaret(["run", "--name", "kept", &image, "true"])
        .run()
        .exits(125)
        .complains("kept");
    home.lazaret(["rm", "kept"]).run().ok();
    home.lazaret(["ps", "-a"]).run().ok().does_not_say("kept");
    assert!(support::list(&home.store().join("containers")).is_empty());
    home.clean();
}

/// Neither a cell's sync(2) nor its end waits for what others have written to the store's disk.
#[test]
fn a_kept_layer_is_synced_by_nobody() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let root = |flags: &[&str]| {
        let line = [&["run"], flags, &[&image, "toolbox", "mounts"]].concat();
        let out = home.lazaret(line).run().ok().out();
        let root = out.lines().find(|line| line.contains(" / / ")).unwrap();
        assert!(root.contains(" overlay "), "{root}");
        root.to_owned()
    };
    assert!(root(&["--name", "kept"]).contains("volatile"));
    assert!(!root(&["--rm"]).contains("volatile"));
    home.lazaret(["rm", "kept"]).run().ok();
    assert!(support::list(&home.store().join("containers")).is_empty());
    home.clean();
}

/// `.wh..wh..opq` in an image's root hides every layer below, which overlayfs does not do by itself.
#[test]
fn an_opaque_root_hides_all_that_is_below() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut whole = vec![Entry::file(".wh..wh..opq", "")];
    whole.extend(Image::toolbox_entries());
    let image = Image::toolbox()
        .with(&[Entry::file("below", "x")])
        .with(&whole)
        .with(&[Entry::file("above", "x")])
        .layout(&home, "img");
    for (path, code) in [("/below", 1), ("/above", 0)] {
        home.lazaret(["run", "--rm", &image, "cat", path])
            .run()
            .exits(code);
    }
    home.clean();
}

#[test]
fn sigterm_becomes_what_the_image_or_the_flag_says() {
    need!("userns", "overlay");
    let home = Home::new();
    let quit = Image::toolbox()
        .set("StopSignal", json!("SIGQUIT"))
        .layout(&home, "quit");
    let odd = Image::toolbox()
        .set("StopSignal", json!("SIGNOTHING"))
        .layout(&home, "odd");
    let term = rustix::process::Signal::TERM;
    for (image, flags, got) in [
        (&quit, &[][..], "got 3\n"),
        (&quit, &["--stop-signal", "usr1"], "got 10\n"),
        (&odd, &[], "got 15\n"),
    ] {
        let line = [&["run", "--rm"], flags, &[image, "toolbox", "signals"]].concat();
        let running = home.lazaret(line).spawn();
        running.until_out("ready\n");
        running.signal(term);
        running.until_out(got);
        if got != "got 15\n" {
            // It would end of SIGTERM, and that never came.
            running.signal(rustix::process::Signal::HUP);
            running.until_out("got 1\n");
            running.signal(rustix::process::Signal::KILL);
        }
        let ran = running
            .wait()
            .does_not_say(if got == "got 15\n" { "got 3" } else { "got 15" });
        assert_eq!(
            ran.err().contains("StopSignal \"SIGNOTHING\" is no signal"),
            image == &odd,
            "{ran}"
        );
    }
    home.clean();
}

#[test]
fn who_does_not_stop_is_killed_after_the_stop_timeout() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox()
        .set("StopSignal", json!("SIGUSR1"))
        .layout(&home, "img");
    let line = [
        "run",
        "--rm",
        "--stop-timeout",
        "1",
        &image,
        "toolbox",
        "signals",
    ];
    let running = home.lazaret(line).spawn();
    running.until_out("ready\n");
    let start = Instant::now();
    running.signal(rustix::process::Signal::TERM);
    running.until_out("got 10\n");
    running.wait().exits(137);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(20),
        "{took:?}"
    );
    for (flag, value) in [
        ("--stop-signal", "NOTHING"),
        ("--stop-timeout", "-2"),
        ("--stop-timeout", "x"),
    ] {
        home.lazaret(["run", flag, value, &image])
            .run()
            .exits(125)
            .complains(flag);
    }
    home.clean();
}
