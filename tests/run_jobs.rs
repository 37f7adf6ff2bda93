//! `lazaret run` as a job of a shell on a terminal: stopped and continued, in the background, and the
//! terminal's modes all the while.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};
use std::time::{Duration, Instant};
use support::{Home, Image, Pty, Running, need};

/// A shell with job control on a terminal, that has said that it is ready.
fn shell(home: &Home, pty: &mut Pty) -> Running {
    let bash = support::find("bash").unwrap();
    let running = home
        .program(&bash, ["--norc", "--noprofile", "--noediting", "-i"])
        .env("PS1", "prompt> ")
        .on_terminal(&pty.inner);
    pty.until("prompt> ");
    running
}

/// A line that runs lazaret; the image's name is `$I`, so that no echo of it is what a test awaits.
fn line(image: &str, flags: &str, command: &str) -> String {
    let bin = env!("CARGO_BIN_EXE_lazaret");
    format!("I={image}; {bin} run --rm {flags} $I {command}\n")
}

/// Waits for `text` and for the shell's next prompt behind it.
#[track_caller]
fn then_prompt(pty: &mut Pty, text: &str) {
    let shown = pty.until(text);
    if !shown.rsplit(text).next().unwrap().contains("prompt> ") {
        pty.until("prompt> ");
    }
}

/// lazaret on the terminal, without a shell.
fn start(home: &Home, pty: &Pty, image: &str, flags: &[&str], command: &[&str]) -> Running {
    let mut line = vec!["run", "--rm"];
    line.extend(flags);
    line.push(image);
    line.extend(command);
    home.lazaret(line).on_terminal(&pty.inner)
}

/// The exit code of the last command, then the shell's end.
fn leave(running: Running, pty: &mut Pty) -> i32 {
    pty.send(b"exit $?\n");
    let ran = running.wait();
    ran.code.unwrap()
}

/// lazaret itself: the shell's only child, if it is there yet.
fn child(running: &Running) -> Option<Pid> {
    let pid = running.pid.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let mut children = children.split_whitespace();
    let child = Pid::from_raw(children.next()?.parse().unwrap());
    assert_eq!(children.next(), None);
    child
}

fn is_stopped(pid: Option<Pid>) -> bool {
    let pid = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap().starts_with(" T")
}

fn modes(pty: &Pty) -> Termios {
    tcgetattr(&pty.inner).unwrap()
}

fn same(one: &Termios, other: &Termios) -> bool {
    let of = |t: &Termios| {
        let modes = (
            t.input_modes,
            t.output_modes,
            t.control_modes,
            t.local_modes,
        );
        format!("{modes:?} {:?}", t.special_codes)
    };
    of(one) == of(other)
}

fn is_raw(pty: &Pty) -> bool {
    !modes(pty)
        .local_modes
        .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

#[track_caller]
fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_is_stopped_and_goes_on() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    let running = shell(&home, &mut pty);
    let before = modes(&pty);
    pty.send(line(&image, "-i", "toolbox line").as_bytes());
    pty.until("ready");
    pty.send(b"\x1a");
    then_prompt(&mut pty, "Stopped");
    assert!(same(&before, &modes(&pty)));
    pty.send(b"fg\n");
    pty.until("toolbox line");
    pty.send(b"typed\n");
    then_prompt(&mut pty, "[typed]");
    assert!(same(&before, &modes(&pty)));
    assert_eq!(leave(running, &mut pty), 0);
    home.clean();
}

/// With a terminal of its own, by whatever stops it: the shell finds its terminal as it was, and the
/// command finds its own again.
#[test]
fn a_raw_terminal_is_given_back_while_it_is_stopped() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for signal in [Signal::TSTP, Signal::STOP] {
        let mut pty = Pty::new();
        let running = shell(&home, &mut pty);
        let before = modes(&pty);
        pty.send(line(&image, "-it", "toolbox line").as_bytes());
        pty.until("ready");
        until("raw", || is_raw(&pty));
        kill_process(child(&running).unwrap(), signal).unwrap();
        then_prompt(&mut pty, "Stopped");
        assert!(same(&before, &modes(&pty)), "{signal:?}");
        pty.send(b"fg\n");
        until("raw again", || is_raw(&pty));
        pty.send(b"typed\r");
        then_prompt(&mut pty, "[typed]");
        assert!(same(&before, &modes(&pty)), "{signal:?}");
        assert_eq!(leave(running, &mut pty), 0);
    }
    home.clean();
}

/// Also to a shell that puts back nothing itself.
#[test]
fn it_puts_the_terminal_back_itself_before_it_stops() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    let before = modes(&pty);
    let running = start(&home, &pty, &image, &["-it"], &["toolbox", "line"]);
    pty.until("ready");
    until("raw", || is_raw(&pty));
    running.signal(Signal::TSTP);
    until("stopped", || is_stopped(Some(running.pid)));
    assert!(same(&before, &modes(&pty)));
    running.signal(Signal::CONT);
    until("raw again", || is_raw(&pty));
    pty.send(b"typed\r");
    pty.until("[typed]");
    running.wait().ok();
    assert!(same(&before, &modes(&pty)));
    home.clean();
}

/// In the background it runs as any command does, until it wants the terminal.
#[test]
fn in_the_background_it_waits_for_the_terminal() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    let running = shell(&home, &mut pty);
    let before = modes(&pty);
    let background = |flags: &str, command: &str| {
        let line = line(&image, flags, command);
        format!("{} & echo\n", line.trim_end())
    };
    // Without -i it does not want it, and its input is empty.
    pty.send(background("", "toolbox all cat , echo en''d").as_bytes());
    pty.until("end");
    // With -i it reads.
    pty.send(background("-i", "toolbox line").as_bytes());
    pty.until("ready");
    let stopped = |running: &Running| is_stopped(child(running));
    // Only where the shell does not take the line first.
    until("stopped by SIGTTIN", || {
        pty.send(b"\n");
        std::thread::sleep(Duration::from_millis(20));
        stopped(&running)
    });
    pty.send(b"fg\n");
    pty.until("line");
    pty.send(b"typed\n");
    then_prompt(&mut pty, "[typed]");
    // With -it it sets modes: those that it finds once it is in the foreground are the caller's.
    pty.send(background("-it", "toolbox line").as_bytes());
    until("stopped by SIGTTOU", || stopped(&running));
    assert!(same(&before, &modes(&pty)));
    pty.send(b"stty -ixon; fg\n");
    pty.until("ready");
    until("raw", || is_raw(&pty));
    pty.send(b"typed\r");
    then_prompt(&mut pty, "[typed]");
    let after = modes(&pty);
    let ixon = rustix::termios::InputModes::IXON;
    assert_eq!(before.input_modes - ixon, after.input_modes);
    assert_eq!(before.local_modes, after.local_modes);
    // A terminal that stops who writes from the background.
    pty.send(b"stty tostop\n");
    pty.until("prompt> ");
    pty.send(background("", "toolbox echo sho''wn").as_bytes());
    until("stopped by SIGTTOU", || stopped(&running));
    pty.send(b"fg\n");
    then_prompt(&mut pty, "shown");
    assert_eq!(leave(running, &mut pty), 0);
    home.clean();
}

#[test]
fn keys_are_signals_each_time() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    let running = start(&home, &pty, &image, &[], &["toolbox", "signals"]);
    pty.until("ready");
    for (key, text) in [
        (b"\x03", "got 2"),
        (b"\x03", "got 2"),
        (b"\x1c", "got 3"),
        (b"\x03", "got 2"),
    ] {
        pty.send(key);
        pty.until(text);
    }
    running.signal(Signal::TERM);
    running.wait().exits(40);
    for (key, code) in [(b"\x03", 130), (b"\x1c", 131)] {
        let command = ["toolbox", "all", "echo", "up", ",", "sleep", "60"];
        let running = start(&home, &pty, &image, &[], &command);
        pty.until("up");
        pty.send(key);
        running.wait().exits(code);
    }
    home.clean();
}

/// Whatever the command does to its own terminal and however it ends: the caller's is as before.
#[test]
fn the_terminal_is_as_before() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let pty = Pty::new();
    let before = modes(&pty);
    for (command, code) in [
        (&["toolbox", "kill-self", "9"][..], 137),
        (&["toolbox", "abort"], 134),
        (&["toolbox", "exit", "3"], 3),
        (&["no-such-program"], 127),
    ] {
        let running = start(&home, &pty, &image, &["-it"], command);
        running.wait().exits(code);
        assert!(same(&before, &modes(&pty)), "{command:?}");
    }
    let flags = ["-it", "--timeout", "1s"];
    let running = start(&home, &pty, &image, &flags, &["toolbox", "sleep", "60"]);
    running.wait().exits(137);
    assert!(same(&before, &modes(&pty)));
    home.clean();
}

/// More than a terminal holds is typed at a command that reads none of it: signals still arrive.
#[test]
fn a_paste_that_nobody_reads_holds_nothing_up() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    let command = ["toolbox", "all", "echo", "up", ",", "sleep", "60"];
    let running = start(&home, &pty, &image, &["-it"], &command);
    pty.until("up");
    until("raw", || is_raw(&pty));
    rustix::io::ioctl_fionbio(&pty.outer, true).unwrap();
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 20 && sent < 1 << 20 {
        match rustix::io::write(&pty.outer, &b"a line\n".repeat(500)) {
            Ok(n) => (sent, quiet) = (sent + n, 0),
            Err(_) => quiet += 1,
        }
        // What is echoed must not be what holds it up.
        pty.shown();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(quiet == 20 && sent > 10_000, "{sent} bytes were taken");
    running.signal(Signal::TERM);
    running.wait().exits(143);
    home.clean();
}

/// A terminal that is closed takes the command's along, as if it had been the command's.
#[test]
fn a_terminal_that_hangs_up_ends_the_command() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    // Nobody forwards a SIGHUP here: it is the command's own terminal that sends it.
    let script = "trap '' HUP; exec $0 run --rm -it $1 toolbox line";
    let args = ["-c", script, env!("CARGO_BIN_EXE_lazaret"), &image];
    let bash = support::find("bash").unwrap();
    let running = home.program(&bash, args).on_terminal(&pty.inner);
    pty.until("ready");
    until("raw", || is_raw(&pty));
    let Pty { outer, inner, .. } = pty;
    drop((outer, inner));
    running.wait().exits(129);
    home.clean();
}

#[test]
fn a_long_line_passes_a_terminal() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut pty = Pty::new();
    let command = ["toolbox", "all", "write", "300000", ",", "echo", "END"];
    let running = start(&home, &pty, &image, &["-it"], &command);
    let shown = pty.until("END");
    assert_eq!(shown.matches('x').count(), 300_000);
    running.wait().ok();
    home.clean();
}
