//! `lazaret run --device`: the node that is there is the one that was asked for, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use support::{Entry, Home, Image, need};

fn home(devices: &str) -> Home {
    let home = Home::new();
    home.policy(&format!(
        "[[allow]]\ndevices = [{devices}]\nreason = \"a test\"\n"
    ));
    home
}

fn image(home: &Home) -> String {
    let program = std::fs::read(support::program("device")).unwrap();
    Image::toolbox()
        .with(&[Entry::file("bin/device", program).mode(0o755)])
        .layout(home, "img")
}

fn run(home: &Home, flags: &[&str], command: &[&str]) -> support::Ran {
    let image = image(home);
    let mut line = vec!["run", "--rm"];
    line.extend(flags);
    line.push(&image);
    line.extend(command);
    home.lazaret(line).run()
}

#[test]
fn a_granted_device_is_there_and_answers() {
    need!("userns", "overlay", "landlock-5");
    let home = home("\"random\", \"/dev/full\"");
    let flags = [
        "--device",
        "/dev/random:/dev/of/the/host",
        "--device=/dev/full:/dev/filled:rw",
    ];
    let looked = ["device", "/dev/of/the/host", "/dev/filled", "/dev/urandom"];
    let ran = run(&home, &flags, &looked).ok();
    ran.prints(
        "/dev/of/the/host 1:8 open answers\n/dev/filled 1:7 open else\n\
         /dev/urandom 1:9 open refused\n",
    );
    // Not asked for, not there.
    run(&home, &[], &looked[..2])
        .ok()
        .prints("/dev/of/the/host is none\n");
    home.clean();
}

#[test]
fn what_is_not_allowed_or_is_no_device_is_refused() {
    need!("userns", "overlay");
    let home = home("\"**\"");
    std::fs::write(home.path("file"), "x").unwrap();
    let file = home.path("file");
    let file = file.to_str().unwrap();
    for (flag, kind, word) in [
        ("/dev/kmsg", "policy", "deny devices"),
        ("/dev/tty1", "policy", "deny devices"),
        ("/dev/shm:/dev/x", "policy", "is none"),
        (file, "usage", "no path below /dev"),
        (&format!("{file}:/dev/x"), "policy", "is none"),
        ("/dev/null:/x", "usage", "no path below /dev"),
        ("/dev/null:/dev/full", "usage", "every cell's own"),
        ("/dev/null:/dev/x:rwm", "policy", "devices be made"),
        ("/dev/null:/dev/x:r", "unsupported", "enforced"),
        ("/dev/no-such-device", "not_found", "no such file"),
        ("/proc/self/fd/0:/dev/x", "io", "open"),
    ] {
        let ran = run(&home, &["--format", "json", "--device", flag], &["true"]).exits(125);
        let error = support::error_of(&ran);
        assert_eq!(error["kind"], kind, "{ran}");
        assert!(error.to_string().contains(word), "{word}\n{ran}");
    }
    home.clean();
}

/// A node of the name of one device and the number of another, and one that is nobody's.
#[test]
fn a_node_of_another_number_is_refused() {
    need!("userns", "overlay", "root");
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let home = home("\"**\"");
    for (name, number, word) in [
        ("mem", makedev(1, 1), "deny devices"),
        ("other", makedev(1, 3), "which is /dev/null"),
        ("nobodys", makedev(250, 77), "no name for it"),
    ] {
        let node = format!("/dev/lazaret-test-{}-{name}", std::process::id());
        let node = if name == "mem" {
            "/dev/mem".to_owned()
        } else {
            node
        };
        let made = mknodat(
            CWD,
            &node,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            number,
        );
        if name != "mem" {
            made.unwrap();
        }
        let ran = run(&home, &["--device", &format!("{node}:/dev/x")], &["true"]);
        if made.is_ok() {
            std::fs::remove_file(&node).unwrap();
        }
        let said = ran.exits(125).err().replace("\n          ", " ");
        assert!(said.contains(word), "{said}");
    }
    home.clean();
}
