//! What is printed and how: streams, terminals, colours, closed pipes, templates, completion.

mod support;

use std::process::Command;
use support::{Home, Image, Pty, find, need};

/// Runs a shell line with the binary as `$L`, for redirections that `Command` cannot make.
fn shell(home: &Home, line: &str) -> support::Ran {
    home.program("/bin/sh".as_ref(), ["-c", line])
        .env("L", env!("CARGO_BIN_EXE_lazaret"))
        .run()
}

#[test]
fn without_arguments_the_help() {
    let home = Home::new();
    let nothing: [&str; 0] = [];
    let ran = home.lazaret(nothing).run().ok().does_not_complain();
    for verb in [
        "run",
        "images",
        "load",
        "save",
        "verify",
        "rmi",
        "ps",
        "rm",
        "inspect",
        "doctor",
        "version",
        "completion",
        "image",
        "container",
        "system",
    ] {
        assert!(ran.out().contains(&format!("\n  {verb} ")), "{verb}\n{ran}");
    }
    let again = home.lazaret(["--help"]).run().ok();
    assert_eq!(ran.out(), again.out());
    // -h is run's --hostname, so its help has the long name only.
    home.lazaret(["run", "--help"])
        .run()
        .ok()
        .says("-h, --hostname")
        .says("lazaret run [OPTIONS] IMAGE [COMMAND] [ARG...]");
    // In a pipe, 100 columns wide, each option has its text beside it.
    for verb in ["run", "tool", "load", "save"] {
        let ran = home.lazaret([verb, "--help"]).run().ok();
        let help = ran.out();
        let options = help
            .lines()
            .filter(|line| line.trim_start().starts_with('-'));
        for option in options {
            let (_, text) = option.trim_start().split_once("  ").unwrap_or_default();
            assert!(!text.trim().is_empty(), "{verb}: {option}");
        }
    }
    for group in ["image", "container", "system"] {
        home.lazaret([group]).run().ok().says("Usage:");
    }
}

#[test]
fn version_in_every_form() {
    let home = Home::new();
    let version = env!("CARGO_PKG_VERSION");
    home.lazaret(["--version"])
        .run()
        .ok()
        .prints(&format!("lazaret version {version}\n"));
    home.lazaret(["-v"])
        .run()
        .ok()
        .prints(&format!("lazaret version {version}\n"));
    home.lazaret(["version"])
        .run()
        .ok()
        .says("lazaret:\n Version:")
        .says("Arch:");
    home.lazaret(["version", "-f", "{{.Client.Version}} {{.Os}}"])
        .run()
        .ok()
        .prints(&format!("{version} linux\n"));
    let ran = home.lazaret(["version", "--format", "json"]).run().ok();
    let value: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(value["Server"]["Version"], version);
    home.lazaret(["version", "-f", "{{.Nope}}"])
        .run()
        .exits(125)
        .complains("there is no field \"Nope\"");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    for verb in ["--help", "version", "completion bash"] {
        // The reader is gone before anything is written.
        let line = format!("{{ sleep 0.2; $L {verb}; echo $? >&2; }} | true");
        shell(&home, &line).complains("0\n").does_not_say("lazaret");
    }
    let ran = shell(&home, "{ sleep 0.2; $L version; } 2>err | true; cat err");
    assert_eq!(ran.out(), "", "something was said");
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let home = Home::new();
    shell(&home, "$L version > /dev/full")
        .exits(125)
        .complains("lazaret: version: write to standard output: no space left on device");
    // Nor does a standard output that is not there at all make it panic.
    let ran = shell(&home, "$L version >&-");
    assert!(!ran.err().contains("panicked"), "{ran}");
}

#[test]
fn errors_go_to_standard_error_alone() {
    let home = Home::new();
    let ran = home.lazaret(["run", "-d", "x"]).run().exits(125);
    assert!(ran.stdout.is_empty(), "{ran}");
    insta::assert_snapshot!(ran.err(), @r"
    lazaret: run: -d (--detach) is not built yet
    hint: run it in the foreground, or let your shell put it aside with &
    ");
}

/// What a terminal of sixty columns shows of `line`.
fn on_sixty_columns(home: &Home, line: &[&str], no_color: Option<&str>) -> String {
    let mut pty = Pty::new();
    pty.resize(24, 60);
    let mut run = home.lazaret(line).env("TERM", "xterm");
    if let Some(value) = no_color {
        run = run.env("NO_COLOR", value);
    }
    run.on_terminal(&pty.inner).wait().exits(125);
    pty.shown().replace("\r\n", "\n")
}

#[test]
fn a_narrow_terminal_gets_narrow_lines_and_colours_only_if_welcome() {
    let home = Home::new();
    let line = ["run", "--privileged", "x"];
    let plain = on_sixty_columns(&home, &line, Some("1"));
    assert!(plain.lines().all(|l| l.chars().count() <= 60), "{plain}");
    insta::assert_snapshot!(plain, @r"
    lazaret: run: --privileged is refused
    hint: it takes every wall of the cell away at once:
          capabilities, seccomp, devices, masks; no policy can
          allow it. Ask for the one thing that is missing
    ");
    assert!(!plain.contains('\x1b'));
    // no-color.org: empty is as if it were not set.
    for no_color in [None, Some("")] {
        let coloured = on_sixty_columns(&home, &line, no_color);
        assert!(
            coloured.contains("\x1b[1;31mlazaret\x1b[0m"),
            "{coloured:?}"
        );
        let bare = coloured
            .replace("\x1b[1;31m", "")
            .replace("\x1b[1;36m", "")
            .replace("\x1b[0m", "");
        assert_eq!(bare, plain);
    }
}

#[test]
fn completion_scripts_are_what_their_shells_read() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = home.lazaret(["completion", shell]).run().ok();
        for word in ["images", "doctor", "entrypoint"] {
            assert!(ran.out().contains(word), "{shell} knows no {word}");
        }
        std::fs::write(home.path(shell), ran.out()).unwrap();
    }
    need!("bash");
    let bash = find("bash").unwrap();
    let script = home.path("bash");
    let done = Command::new(bash)
        .args(["--norc", "-c", "source \"$0\" && complete -p lazaret"])
        .arg(script)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_dry_run_prints_the_plan_and_makes_no_container() {
    need!("userns", "landlock");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let line = [
        "run",
        "--rm",
        "--dry-run",
        "-e",
        "A=\u{1b}[2J",
        &image,
        "true",
    ];
    let ran = home.lazaret(line).run().ok().says("<- ").says("execute");
    for line in ran.out().lines() {
        assert!(line.chars().count() <= 60, "{line}");
    }
    assert!(!ran.out().contains('\x1b'), "{ran}");
    let json = [
        "run",
        "--rm",
        "--dry-run",
        "--format",
        "json",
        &image,
        "true",
    ];
    let ran = home.lazaret(json).run().ok();
    let steps: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let steps = steps.as_array().unwrap();
    assert!(steps.len() > 30, "{ran}");
    for step in steps {
        assert!(
            step["actor"].is_string() && step["origin"].is_object(),
            "{step}"
        );
    }
    home.lazaret(["ps", "-aq"]).run().ok().prints("");
}

#[test]
fn timings_go_beside_the_commands_output() {
    need!("userns", "landlock");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret(["run", "--rm", "--timings", &image, "echo", "out"])
        .run()
        .ok()
        .prints("out\n")
        .complains("MICROSECONDS")
        .complains("\ntotal ");
    let line = [
        "run",
        "--rm",
        "--timings",
        "--format",
        "json",
        &image,
        "true",
    ];
    let ran = home.lazaret(line).run().ok();
    let line = ran.err();
    let line = line.lines().find(|l| l.starts_with('{')).unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(value["timings"].as_array().unwrap().len() > 5, "{value}");
}

#[test]
fn a_refusal_says_what_was_asked_the_rule_and_why() {
    need!("userns", "landlock");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let asked = ["run", "--rm", "--tmpfs", "/x:size=4000g", &image, "true"];
    let ran = home.lazaret(asked).run().exits(125);
    for word in [
        ": refused by policy\n",
        "\n  asked   ",
        "\n  rule    ",
        "\n  why     ",
    ] {
        assert!(ran.err().contains(word), "{word:?}\n{ran}");
    }
    let mut json = asked.to_vec();
    json.splice(1..1, ["--format", "json"]);
    let ran = home.lazaret(json).run().exits(125);
    let text = ran.err();
    let last = text.lines().last().unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(value["kind"], "policy");
    assert_eq!(value["exit_code"], 125);
    for field in ["asked", "rule", "why", "origin", "cure"] {
        assert!(!value["reasons"][0][field].is_null(), "{field}\n{value}");
    }
}
