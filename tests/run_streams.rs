//! `lazaret run`: streams, terminals, signals, and that nothing survives.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use rustix::process::Signal;
use std::path::Path;
use support::{Home, Image, Pty, need};

#[test]
fn output_and_errors_come_apart_and_whole() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let ran = home
        .lazaret([
            "run", "--rm", &image, "toolbox", "all", "write", "3000000", ",", "write", "2000000",
            "2",
        ])
        .run()
        .ok();
    assert_eq!(ran.stdout.len(), 3_000_000);
    assert!(ran.stdout.iter().all(|b| *b == b'x'));
    assert_eq!(ran.stderr.iter().filter(|b| **b == b'x').count(), 2_000_000);
}

#[test]
fn input_is_relayed_only_when_asked() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let big = b"line\n".repeat(300_000);
    let ran = home
        .lazaret(["run", "--rm", "-i", &image, "cat"])
        .stdin(&big)
        .run()
        .ok();
    assert!(ran.stdout == big, "{} bytes came back", ran.stdout.len());
    home.lazaret(["run", "--rm", &image, "cat"])
        .stdin("must not be read")
        .run()
        .ok()
        .prints("");
    // The end of input is an end, also without any input.
    home.lazaret(["run", "--rm", "-i", &image, "toolbox", "line"])
        .stdin("")
        .run()
        .exits(3)
        .says("eof");
    // A command that does not read what it is given.
    home.lazaret(["run", "--rm", "-i", &image, "exit", "4"])
        .stdin(&big)
        .run()
        .exits(4);
}

#[test]
fn input_arrives_while_output_flows() {
    need!("userns", "overlay");
    use std::io::Write as _;
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut running = home
        .lazaret(["run", "--rm", "-i", &image, "toolbox", "line"])
        .spawn();
    running.until_out("ready\n");
    running
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"hello\n")
        .unwrap();
    running.until_out("[hello]\n");
    running.wait().ok();
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let script = format!(
        "{} run --rm {image} toolbox write 1000000000 | head -c 10; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_lazaret")
    );
    let bash = support::find("bash").unwrap();
    let ran = home.program(&bash, ["-c", &script]).run();
    assert_eq!(ran.out(), "xxxxxxxxxx");
    assert_ne!(ran.code, Some(0), "{ran}");
}

#[test]
fn the_payload_gets_no_descriptor_of_the_hosts() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let secret = home.path("secret");
    std::fs::write(&secret, "secret").unwrap();
    let script = format!(
        "exec 5<{secret} 9<. 200<{secret}; exec {bin} run --rm {image} toolbox fds",
        secret = secret.display(),
        bin = env!("CARGO_BIN_EXE_lazaret")
    );
    let bash = support::find("bash").unwrap();
    let ran = home.program(&bash, ["-c", &script]).run().ok();
    for line in ran.out().lines() {
        let (fd, target) = line.split_once(' ').unwrap();
        assert!(fd.parse::<u32>().unwrap() < 3, "{ran}");
        assert!(
            target.starts_with("pipe:") || target == "/dev/null",
            "{ran}"
        );
    }
    assert_eq!(ran.out().lines().count(), 3, "{ran}");
    // Standard output that is a file stays outside too: it could be opened again from inside.
    let file = home.path("out");
    let script = format!(
        "{} run --rm {image} toolbox fds >{}",
        env!("CARGO_BIN_EXE_lazaret"),
        file.display()
    );
    home.program(&bash, ["-c", &script]).run().ok();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains("/work/") && text.contains("1 pipe:"),
        "{text}"
    );
}

#[test]
fn signals_are_forwarded() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let running = home
        .lazaret(["run", "--rm", &image, "toolbox", "signals"])
        .spawn();
    running.until_out("ready\n");
    for (signal, line) in [
        (Signal::USR1, "got 10\n"),
        (Signal::USR2, "got 12\n"),
        (Signal::HUP, "got 1\n"),
        (Signal::INT, "got 2\n"),
    ] {
        running.signal(signal);
        running.until_out(line);
    }
    running.signal(Signal::TERM);
    running.wait().exits(40);
    // Without a handler, the signal's own effect: pid 1 inside must not swallow it.
    let running = home
        .lazaret([
            "run", "--rm", &image, "toolbox", "all", "echo", "up", ",", "sleep", "60",
        ])
        .spawn();
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(Signal::TERM);
    running.wait().exits(143);
    home.clean();
}

/// nohup(1), and a shell that puts a command in the background: what they ignore for us, stays so.
#[test]
fn signals_that_the_caller_ignores_end_nothing() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let script = "trap '' HUP INT QUIT; exec \"$0\" run --rm \"$1\" toolbox signals";
    let args = ["-c", script, env!("CARGO_BIN_EXE_lazaret"), &image];
    let running = home.program(Path::new("/bin/sh"), args).spawn();
    running.until_out("ready\n");
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1] {
        running.signal(signal);
    }
    // The last one arrived, and inside nothing is ignored.
    running.until_out("got 10\n");
    running.signal(Signal::TERM);
    let ran = running.wait().exits(40);
    assert_eq!(ran.out().matches("got").count(), 2, "{ran}");
    home.clean();
}

#[test]
fn what_the_command_leaves_behind_goes_with_it() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    // The daemon holds our stdout open; the run must end all the same. `run()` fails if a process
    // outlives it.
    let start = std::time::Instant::now();
    home.lazaret(["run", "--rm", &image, "toolbox", "linger", "60"])
        .run()
        .ok()
        .says("left ");
    assert!(start.elapsed().as_secs() < 20);
    home.lazaret([
        "run", "--rm", &image, "toolbox", "all", "linger", "60", ",", "exit", "9",
    ])
    .run()
    .exits(9);
    home.clean();
}

#[test]
fn a_killed_supervisor_takes_everything_along() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let running = home
        .lazaret([
            "run", "--rm", &image, "toolbox", "all", "linger", "60", ",", "signals",
        ])
        .spawn();
    running.until_out("ready\n");
    running.signal(Signal::KILL);
    let ran = running.wait();
    assert_eq!(ran.signal, Some(9), "{ran}");
    // The next run collects what was left, and finds the store sound.
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    home.clean();
}

#[test]
fn a_terminal_of_its_own() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    pty.resize(33, 111);
    let running = home
        .lazaret([
            "run", "--rm", "-it", &image, "toolbox", "all", "tty", ",", "winsize", ",", "session",
            ",", "signals",
        ])
        .on_terminal(&pty.inner);
    let shown = pty.until("ready");
    assert!(
        shown.contains("0 /dev/") && shown.contains("controlling yes"),
        "{shown}"
    );
    assert!(shown.contains("33 111"), "{shown}");
    pty.resize(20, 70);
    pty.until("20 70");
    // ^C is the inner terminal's to turn into a signal; ^\ and ^Z alike.
    pty.send(b"\x03");
    pty.until("got 2");
    pty.send(b"\x1c");
    pty.until("got 3");
    pty.send(b"\x1a");
    pty.until("got 20");
    running.signal(Signal::TERM);
    running.wait().exits(40);
    // The outer terminal is as it was: it echoes and cooks.
    let modes = rustix::termios::tcgetattr(&pty.inner).unwrap();
    assert!(
        modes
            .local_modes
            .contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    );
}

#[test]
fn a_terminal_takes_lines_and_ends_of_input() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    let running = home
        .lazaret(["run", "--rm", "-it", &image, "toolbox", "line"])
        .on_terminal(&pty.inner);
    pty.until("ready");
    pty.send(b"typed\r");
    pty.until("[typed]");
    running.wait().ok();
    let running = home
        .lazaret(["run", "--rm", "-it", &image, "toolbox", "line"])
        .on_terminal(&pty.inner);
    pty.until("ready");
    pty.send(b"\x04");
    pty.until("eof");
    running.wait().exits(3);
}

#[test]
fn without_a_terminal_t_is_refused_or_harmless() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    // docker: "the input device is not a TTY".
    let ran = home
        .lazaret(["run", "--rm", "-it", &image, "toolbox", "tty"])
        .stdin("")
        .run();
    assert!(
        ran.code == Some(125) || ran.out().contains("/dev/"),
        "{ran}"
    );
    // -t alone gives a terminal to write to.
    home.lazaret(["run", "--rm", "-t", &image, "toolbox", "tty"])
        .run()
        .ok()
        .says("1 /dev/");
}
