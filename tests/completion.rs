//! Completion of names in real shells: bash, zsh and fish, on a terminal, with the key that people
//! press.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;

use support::{Home, Image, Pty, Ran, find, need};

fn run(home: &Home, line: &[&str]) -> Ran {
    home.lazaret(line).run()
}

/// A store with an image of two names and a container, and the script of `shell` in `script`.
fn prepare(home: &Home, shell: &str) {
    let image = Image::toolbox().layout(home, "img");
    for name in ["quartz:7", "registry.example:5000/team/granite:1"] {
        run(home, &["load", "-q", &image, name]).ok();
    }
    run(home, &["run", "--name", "pebble", "quartz:7", "true"]).ok();
    let script = run(home, &["completion", shell]).ok();
    std::fs::write(home.path("script"), &script.stdout).unwrap();
    std::fs::create_dir(home.path("bin")).unwrap();
    let binary = env!("CARGO_BIN_EXE_lazaret");
    std::os::unix::fs::symlink(binary, home.path("bin/lazaret")).unwrap();
}

/// Types lines that end in a tab, and sees what they become.
fn types(home: &Home, shell: &str, flags: &[&str], setup: &str) {
    let mut pty = Pty::new();
    pty.resize(50, 200);
    let path = format!("{}:/usr/bin:/bin", home.path("bin").display());
    let running = home
        .program(&find(shell).unwrap(), flags)
        .env("PATH", path)
        .env("TERM", "xterm")
        .on_terminal(&pty.inner);
    // Two parts, so that what is typed is not taken for what is printed.
    pty.send(format!("{setup}; echo read''y\r").as_bytes());
    pty.until("ready");
    let cases = [
        ("rmi qu", "quartz:7"),
        ("run --rm -e A=B qu", "quartz:7"),
        ("image rm registry.example:5000/te", "granite:1"),
        ("rm -f peb", "pebble"),
        ("inspect peb", "pebble"),
        ("why mount --in qu", "quartz:7"),
        ("why pivot_", "pivot_root"),
        ("why SYS_CHR", "SYS_CHROOT"),
        // clap's part.
        ("run --read", "--read-only"),
        ("doct", "doctor"),
    ];
    for (at, (typed, becomes)) in cases.into_iter().enumerate() {
        pty.send(format!("lazaret {typed}\t").as_bytes());
        // A shell may draw only what it adds to the word that was begun.
        let begun = typed.rsplit([' ', ':']).next().unwrap();
        pty.until(becomes.strip_prefix(begun).unwrap_or(becomes));
        // ^U takes the line away; the next one begins when this one has been drawn.
        pty.send(format!("\x15echo st''ep{at}\r").as_bytes());
        pty.until(&format!("step{at}"));
    }
    pty.send(b"\rexit\r");
    drop(pty);
    // It was told to exit, and its terminal is gone: it may be too.
    running.signal_unless_ended(rustix::process::Signal::HUP);
    running.wait();
}

#[test]
fn bash_completes_names() {
    need!("bash", "userns", "landlock", "overlay");
    let home = Home::new();
    prepare(&home, "bash");
    types(
        &home,
        "bash",
        &["--norc", "--noprofile", "-i"],
        ". ./script",
    );
}

#[test]
fn zsh_completes_names() {
    need!("zsh", "userns", "landlock", "overlay");
    let home = Home::new();
    prepare(&home, "zsh");
    std::fs::create_dir(home.path("functions")).unwrap();
    std::fs::rename(home.path("script"), home.path("functions/_lazaret")).unwrap();
    let setup = "fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D";
    types(&home, "zsh", &["-f", "-i"], setup);
}

#[test]
fn fish_completes_names() {
    need!("fish", "userns", "landlock", "overlay");
    let home = Home::new();
    prepare(&home, "fish");
    types(&home, "fish", &["--no-config", "-i"], "source script");
}

#[test]
fn what_the_scripts_ask_never_fails_and_makes_nothing() {
    let home = Home::new();
    let nothing: [&str; 0] = [];
    for words in [
        &nothing[..],
        &["rmi", ""],
        &["run"],
        &["--", "x"],
        &["\x1b", ""],
    ] {
        let mut line = vec!["__complete"];
        line.extend(words);
        run(&home, &line).ok().does_not_complain().prints("");
    }
    assert!(!home.store().exists());
    // A store that is none, and one whose names are damaged.
    std::fs::write(home.path("file"), "").unwrap();
    home.lazaret(["__complete", "rmi", ""])
        .env("LAZARET_STORE", home.path("file"))
        .run()
        .ok()
        .does_not_complain()
        .prints("");
    need!("userns", "landlock");
    // A folder's name that would be a command of the shell's is not offered.
    let image = Image::toolbox().layout(&home, "a;b");
    run(&home, &["load", "-q", &image]).ok();
    run(&home, &["load", "-q", &image, "fine"]).ok();
    run(&home, &["__complete", "rmi", ""])
        .ok()
        .prints("fine:latest\n");
    std::fs::write(home.store().join("refs").join("0".repeat(64)), "{").unwrap();
    run(&home, &["__complete", "rmi", ""])
        .ok()
        .does_not_complain()
        .prints("");
}
