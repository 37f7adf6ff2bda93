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

/// Runs `script` in a shell, with `$L` for lazaret and `$I` for the toolbox's image.
fn scripted(home: &Home, image: &str, script: &str) -> support::Ran {
    let bash = support::find("bash").unwrap();
    home.program(&bash, ["-c", script])
        .env("L", env!("CARGO_BIN_EXE_lazaret"))
        .env("I", image)
        .run()
}

#[test]
fn a_full_disk_behind_the_pipe_is_told() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for command in ["echo x", "toolbox write 1000000000"] {
        let script = format!("$L run --rm $I {command} >/dev/full");
        scripted(&home, &image, &script)
            .exits(125)
            .complains("write standard output: no space left");
    }
    // The other stream goes on.
    scripted(
        &home,
        &image,
        "$L run --rm $I toolbox all write 10 2 , echo still 2>/dev/full",
    )
    .exits(125)
    .prints("still\n");
    home.clean();
}

#[test]
fn a_reader_that_is_satisfied_ends_an_endless_command() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let script = "$L run --rm $I cat /dev/zero | head -c 5 | wc -c; echo ${PIPESTATUS[0]}";
    scripted(&home, &image, script).ok().prints("5\n141\n");
    home.clean();
}

/// Who writes to a command that reads no more learns of it at once, not when the command ends.
#[test]
fn input_that_is_not_wanted_is_refused() {
    need!("userns", "overlay");
    use std::io::Write as _;
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let command = ["toolbox", "all", "close", "0", ",", "signals"];
    let line = ["run", "--rm", "-i", &image];
    let mut running = home.lazaret(line.into_iter().chain(command)).spawn();
    running.until_out("ready");
    let mut input = running.stdin.take().unwrap();
    let (told, hear) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(input.write_all(&[b'x'; 1 << 20])));
    let written = hear.recv_timeout(std::time::Duration::from_secs(20));
    let error = written.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    running.signal(Signal::TERM);
    running.wait().exits(40);
    home.clean();
}

#[test]
fn streams_that_are_closed_or_no_streams() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for (script, code) in [
        ("$L run --rm -i $I toolbox all cat , exit 7 <&- >&- 2>&-", 7),
        ("$L run --rm -i $I toolbox all cat , exit 7 <&-", 7),
        ("$L run --rm $I toolbox all echo x , exit 7 >&-", 7),
    ] {
        scripted(&home, &image, script).exits(code).prints("");
    }
    // Whatever number is free here, inside there are three and they are pipes or nothing.
    let ran = scripted(&home, &image, "$L run --rm $I toolbox fds <&- 2>&-").ok();
    assert_eq!(ran.out().lines().count(), 3, "{ran}");
    assert!(ran.out().starts_with("0 /dev/null\n1 pipe:"), "{ran}");
    for (script, why) in [
        ("$L run --rm -i $I cat </", "is a directory"),
        ("$L run --rm -i $I cat 0>/dev/null", "bad file descriptor"),
    ] {
        scripted(&home, &image, script)
            .exits(125)
            .prints("")
            .complains(&format!("read standard input: {why}"));
    }
    home.clean();
}

/// Every byte, whatever kind of file is outside, and whoever made it one that does not wait.
#[test]
fn bytes_are_bytes() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    std::fs::write(home.path("in"), &bytes).unwrap();
    for script in [
        "$L run --rm -i $I cat <in >out",
        "$L run --rm -i $I cat <in >>out",
        "cat in | $L run --rm -i $I cat | cat >out",
        "$L run --rm -i $I cat <in | (sleep 0.2; cat) >out",
        "(sleep 0.2; cat in) | $L run --rm -i $I cat >out",
    ] {
        scripted(&home, &image, script).ok();
        assert!(
            std::fs::read(home.path("out")).unwrap() == bytes,
            "{script}"
        );
        std::fs::remove_file(home.path("out")).unwrap();
    }
    // A pair of sockets that never wait, as some programs start others.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_lazaret"))
        .args(["run", "--rm", "-i", &image, "cat"])
        .env("LAZARET_STORE", home.store())
        .env("XDG_CONFIG_HOME", home.root().join("config"))
        .stdin(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(std::os::fd::OwnedFd::from(theirs))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (mut sender, mut receiver) = (ours.try_clone().unwrap(), ours);
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || {
        std::io::Write::write_all(&mut sender, &sent).unwrap();
        sender.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    std::io::Read::read_to_end(&mut receiver, &mut back).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(back == bytes, "{} bytes came back", back.len());
    home.clean();
}

/// What fits into a pipe has been said, whether anybody reads it yet or not, in however small pieces.
#[test]
fn short_lines_wait_for_a_late_reader() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let lines = "echo line , sleep 0.01 , ".repeat(100);
    let script = format!(
        "mkfifo p; exec 3<>p; timeout 20 $L run --rm $I toolbox all {lines} true >&3 2>&1; \
         echo $?; head -n 100 <&3 | wc -l"
    );
    scripted(&home, &image, &script).ok().prints("0\n100\n");
    // Nor are they lost where the command is ended.
    let lines = "echo line , sleep 0.01 , ".repeat(40);
    let script = format!(
        "$L run --rm --timeout 3s $I toolbox all {lines} sleep 60 | (sleep 5; grep -c line)"
    );
    scripted(&home, &image, &script).ok().prints("40\n");
    home.clean();
}

/// Up to the limit all is passed on, also what had to wait for the reader, and with nothing behind it.
#[test]
fn what_is_within_the_limit_waits_for_a_late_reader() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let script = "$L run --rm --output-limit 69536 $I \
                  toolbox all write 65536 , write 4000 , sleep 12 \
                  | (sleep 1; head -c 69536 | wc -c; echo $((SECONDS < 10)))";
    scripted(&home, &image, script).ok().prints("69536\n1\n");
    home.clean();
}

/// A command may read its own output back through /proc/self/fd, between poll(2) and a read.
#[test]
fn output_that_is_taken_back_is_not_waited_for() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let command = [
        "toolbox", "all", "fds", ",", "echo", "up", ",", "sleep", "60",
    ];
    let line = ["run", "--rm", &image];
    let running = home.lazaret(line.into_iter().chain(command)).spawn();
    let said = running.until_out("up");
    let pid = running.pid.as_raw_nonzero();
    for number in ["1", "2"] {
        let line = said.lines().find_map(|line| line.strip_prefix(number));
        let pipe = line.unwrap().trim();
        let ours = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let ours = ours.map(|entry| entry.unwrap().path());
        let end =
            ours.filter(|path| std::fs::read_link(path).is_ok_and(|to| to == Path::new(pipe)));
        let [end] = &end.collect::<Vec<_>>()[..] else {
            panic!("{pipe} has not one end here");
        };
        let end = end.file_name().unwrap().to_str().unwrap();
        let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{end}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert!(flags & libc::O_NONBLOCK != 0, "{number}: {flags:o}");
    }
    running.signal(Signal::KILL);
    running.wait();
    home.clean();
}

/// A reader that takes its time: the command waits, and nothing is kept in memory meanwhile.
#[test]
fn a_slow_reader_costs_no_memory() {
    need!("userns", "overlay", "bash");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let script = "$L run --rm $I toolbox write 100000000 > >(sleep 1; exec wc -c) & pid=$!; \
                  sleep 0.8; grep VmHWM /proc/$pid/status >&2; wait $pid";
    let ran = scripted(&home, &image, script).ok().prints("100000000\n");
    let kilobytes: u64 = ran
        .err()
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap();
    assert!(kilobytes < 40_000, "{ran}");
    home.clean();
}
