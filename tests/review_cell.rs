//! The finished cell under a caller, a reader and a worker that mean it no good.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;

use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Home, Image, Run, need};

/// `lazaret run --rm IMAGE ARGS` started by a shell that does `first`.
fn after(home: &Home, first: &str, args: &[&str]) -> Run {
    let image = Image::toolbox().layout(home, "img");
    let script = format!("{first}; exec \"$0\" run --rm \"$@\"");
    let mut all = vec!["-c".to_owned(), script];
    all.push(env!("CARGO_BIN_EXE_lazaret").to_owned());
    all.push(image);
    all.extend(args.iter().map(|a| (*a).to_owned()));
    home.program(Path::new("/bin/sh"), all)
}

#[test]
fn the_callers_umask_stays_outside() {
    need!("userns", "overlay");
    for umask in ["077", "0777"] {
        let home = Home::new();
        let inside = "mkdir f , stat / /dev/pts /etc/hosts f";
        let args: Vec<&str> = ["all"].into_iter().chain(inside.split(' ')).collect();
        let ran = after(&home, &format!("umask {umask}"), &args).run().ok();
        for (path, mode) in [
            ("/", "755"),
            ("/dev/pts", "755"),
            ("/etc/hosts", "644"),
            ("f", "755"),
        ] {
            let out = ran.out();
            let line = out.lines().find(|l| l.ends_with(&format!(" {path}")));
            let line = line.unwrap_or_else(|| panic!("no {path}\n{ran}"));
            assert!(line.contains(mode), "{path} under umask {umask}: {line}");
        }
    }
}

#[test]
fn a_caller_that_ignores_the_end_of_its_children() {
    need!("userns", "overlay", "python3");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    // dash takes no `trap '' CHLD` to heart.
    let script = "import os, signal, sys\n\
                  signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
                  signal.alarm(20)\n\
                  os.execv(sys.argv[1], sys.argv[1:])";
    let args = [
        "-c",
        script,
        env!("CARGO_BIN_EXE_lazaret"),
        "run",
        "--rm",
        &image,
        "exit",
        "7",
    ];
    let python = support::find("python3").unwrap();
    home.program(&python, args).run().exits(7);
}

/// Runs with a standard output that nobody reads for `seconds`; kills the program by `signal` after
/// a second, if that is asked for. The exit code, and how long it took.
fn unread(home: &Home, options: &str, signal: Option<Signal>, seconds: u32) -> (i32, Duration) {
    let image = Image::toolbox().layout(home, "img");
    let script = format!(
        "mkfifo pipe; sleep {seconds} <pipe & reader=$!; \"$0\" run --rm {options} \"$1\" cat /dev/zero >pipe &\n\
         pid=$!; {kill}\n wait $pid; code=$?; echo $code; kill $reader",
        kill = signal.map_or(String::new(), |s| format!(
            "sleep 1; kill -{} $pid;",
            s.as_raw()
        )),
    );
    let begun = Instant::now();
    let args = ["-c", &script, env!("CARGO_BIN_EXE_lazaret"), &image];
    let running = home.program(Path::new("/bin/sh"), args).spawn();
    running.until_out("\n");
    let took = begun.elapsed();
    let ran = running.wait();
    let Ok(answer) = ran.out().trim().parse() else {
        panic!("not a number: {:?}", ran.out());
    };
    (answer, took)
}

#[test]
fn a_reader_that_does_not_read_holds_no_timeout_up() {
    need!("userns", "overlay");
    let (code, took) = unread(&Home::new(), "--timeout 1s", None, 15);
    assert_eq!(code, 137);
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}

#[test]
fn a_reader_that_does_not_read_holds_no_signal_up() {
    need!("userns", "overlay");
    let (code, took) = unread(&Home::new(), "", Some(Signal::TERM), 15);
    assert_eq!(code, 143);
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}

#[test]
fn what_writes_without_end_is_ended_by_the_timeout() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let script = "exec \"$0\" run --rm --timeout 1s \"$1\" cat /dev/zero >/dev/null";
    let begun = Instant::now();
    let args = ["-c", script, env!("CARGO_BIN_EXE_lazaret"), &image];
    home.program(Path::new("/bin/sh"), args).run().exits(137);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}

#[test]
fn setuid_makes_nothing_where_the_caller_says() {
    need!("root");
    let home = Home::new();
    let binary = home.path("setuid");
    std::fs::copy(env!("CARGO_BIN_EXE_lazaret"), &binary).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(&binary, mode).unwrap();
    for folder in [home.root(), &home.path("")] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder, mode).unwrap();
    }
    let script =
        "import os, sys; os.setgid(54321); os.setuid(54321); os.execv(sys.argv[1], sys.argv[1:])";
    let python = support::find("python3");
    need!("python3");
    let args = [
        "-c",
        script,
        binary.to_str().unwrap(),
        "run",
        "--rm",
        "builtin:probe",
    ];
    home.program(&python.unwrap(), args)
        .run()
        .exits(125)
        .complains("setuid or setgid");
    assert!(!home.store().exists(), "the store was made by setuid");
}

#[test]
fn a_terminal_that_shows_nothing_holds_no_signal_up() {
    need!("userns", "overlay");
    for options in [&["--rm"][..], &["--rm", "-t"]] {
        let home = Home::new();
        let image = Image::toolbox().layout(&home, "img");
        home.lazaret(["run", "--rm", &image, "true"]).run().ok();
        let pty = support::Pty::new();
        let args: Vec<&str> = ["run"]
            .iter()
            .chain(options)
            .copied()
            .chain([image.as_str(), "cat", "/dev/zero"])
            .collect();
        let running = home.lazaret(args).on_terminal(&pty.inner);
        // Something is there to be shown, and nobody shows it.
        let mut fds = [rustix::event::PollFd::new(
            &pty.outer,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, None).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        running.signal(Signal::TERM);
        running.wait().exits(143);
    }
}

#[test]
fn a_fifo_in_the_place_of_a_record_is_not_waited_for() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    let layers = home.store().join("layers");
    let list = support::walk(&layers);
    let list = list.iter().find(|p| p.ends_with("/list")).unwrap();
    let list = layers.join(list);
    std::fs::remove_file(&list).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &list, kind, 0o644.into(), 0).unwrap();
    home.lazaret(["run", "--rm", &image, "true"])
        .run()
        .exits(125)
        .complains("not the one that was recorded");
}
