//! Bad input, part 4: what an image or a command line asks of the run itself: users, working
//! directories, commands, environments, and a home or a store that is not as it should be.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test's helpers fail by panicking"
)]

mod support;

use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use support::{Entry, Home, Image, Layer, Refusals, need};

#[test]
fn users_that_do_not_exist_or_make_no_sense() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let mut refuse = Refusals::new(&home).of(&image);
    for user in [
        "nobody-here",
        "app:nobody-here",
        "a:b:c",
        "-1",
        "4294967295",
        "4294967296",
        ":",
        "app:",
        "0x0",
        "1e3",
        " 0",
        "root\n",
    ] {
        refuse.run(
            &format!("user {user:?}"),
            &[
                "run", "--rm", "--format", "json", "-u", user, &image, "true",
            ],
            125,
            "malformed|not_found|usage|launch|limit|unsupported|policy",
            "",
        );
    }
    refuse.finish();
}

#[test]
fn a_passwd_that_is_no_file_is_not_read() {
    need!("userns", "overlay");
    let home = Home::new();
    let canary = home.path("passwd");
    std::fs::write(&canary, "app:x:0:0::/:\n").unwrap();
    let without = || -> Vec<Entry> {
        let mut entries = Image::toolbox_entries();
        entries.retain(|e| e.path != b"etc/passwd");
        entries
    };
    let huge = format!("{}\n", "x".repeat(1000)).repeat(20_000);
    let mut refuse = Refusals::new(&home);
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("fifo", vec![Entry::fifo("etc/passwd")]),
        ("folder", vec![Entry::dir("etc/passwd")]),
        (
            "link-to-zeros",
            vec![Entry::symlink("etc/passwd", "/dev/zero")],
        ),
        (
            "link-to-proc",
            vec![Entry::symlink("etc/passwd", "/proc/self/environ")],
        ),
        (
            "link-out",
            vec![Entry::symlink("etc/passwd", canary.to_str().unwrap())],
        ),
        ("link-loop", vec![Entry::symlink("etc/passwd", "passwd")]),
        ("huge", vec![Entry::file("etc/passwd", &huge)]),
        ("binary", vec![Entry::file("etc/passwd", [0xff; 4096])]),
        ("absent", vec![]),
    ];
    for (name, extra) in cases {
        let mut entries = without();
        entries.extend(extra);
        let image = Image::new([Layer::of(&entries)]).layout(&home, name);
        home.lazaret(["run", "--rm", &image, "true"]).run();
        refuse.run(
            name,
            &[
                "run", "--rm", "--format", "json", "-u", "app", &image, "true",
            ],
            125,
            "malformed|not_found|launch|limit|policy|unsupported",
            "",
        );
        // Root is a number and needs no file; one that cannot be read is an error all the same.
        let ran = home.lazaret(["run", "--rm", &image, "id"]).run();
        match ran.code {
            Some(0) => drop(ran.says("uid=0,0,0")),
            _ => drop(ran.exits(125).complains("become user")),
        }
    }
    refuse.finish();
}

#[test]
fn working_directories_do_not_lead_out() {
    need!("userns", "overlay");
    let home = Home::new();
    let canary = home.path("canary");
    std::fs::create_dir(&canary).unwrap();
    let out = canary.to_str().unwrap();
    let entries = [
        Entry::symlink("out", out),
        Entry::symlink("root-link", "/proc/1/root"),
        Entry::symlink("climbing", "../../../../.."),
        Entry::symlink("dangling", "/no/such/place"),
        Entry::symlink("looping", "looping"),
        Entry::file("file", "x"),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "img");
    let mut refuse = Refusals::new(&home).of(&image);
    for dir in [
        "/file",
        "/file/below",
        "/looping",
        "/proc/self/fd/3",
        "/proc/self/fd/7",
        "/proc/1/cwd",
        "/proc/self/cwd/../x/y",
    ] {
        refuse.run(
            dir,
            &["run", "--rm", "--format", "json", "-w", dir, &image, "pwd"],
            125,
            "launch|malformed|not_found|usage|policy",
            "",
        );
    }
    for dir in ["rel/ative", "../..", "/a/../../b", ""] {
        refuse.run(
            dir,
            &["run", "--rm", "--format", "json", "-w", dir, &image, "pwd"],
            125,
            "usage|malformed",
            "",
        );
    }
    refuse.finish();
    // A link that climbs ends at the cell's own root; whatever is made is made inside.
    let ran = home
        .lazaret(["run", "--rm", "-w", "/climbing", &image, "ls"])
        .run();
    assert!(
        ran.code == Some(125) || ran.out().contains("toolbox") || ran.out().contains("bin"),
        "{ran}"
    );
    for dir in ["/out", "/dangling", "/root-link"] {
        let ran = home
            .lazaret([
                "run", "--rm", "-w", dir, &image, "all", "put", "made", "x", ",", "pwd",
            ])
            .run();
        assert!(matches!(ran.code, Some(0 | 125)), "{ran}");
    }
    assert!(
        support::list(&canary).is_empty(),
        "a working directory led out"
    );
}

#[test]
fn commands_that_cannot_be_run() {
    need!("userns", "overlay");
    let home = Home::new();
    let entries = [
        Entry::file("bin/text", "no magic number").mode(0o755),
        Entry::file("bin/not-executable", "x"),
        Entry::file("bin/no-interpreter", "#!/no/such/shell\n").mode(0o755),
        Entry::file("bin/empty", "").mode(0o755),
        Entry::symlink("bin/loop", "loop"),
        Entry::symlink("bin/dangling", "/no/such"),
        Entry::symlink("bin/self", "/proc/self/exe"),
        Entry::dir("bin/folder"),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "img");
    let mut refuse = Refusals::new(&home).of(&image);
    for (command, code) in [
        ("no-such-command", 127),
        ("/no/such/command", 127),
        ("/bin/dangling", 127),
        ("/bin/no-interpreter", 127),
        ("/bin/not-executable", 126),
        ("/bin/folder", 126),
        ("/etc/passwd", 126),
        ("/bin/text", 126),
        ("/bin/empty", 126),
        ("/bin/loop", 126),
        ("/dev/null", 126),
        ("/proc/self/status", 126),
    ] {
        let kind = if code == 127 {
            "command_not_found"
        } else {
            "command_not_executable"
        };
        refuse.run(
            command,
            &["run", "--rm", "--format", "json", &image, command],
            code,
            kind,
            "",
        );
    }
    refuse.run(
        "entrypoint missing",
        &[
            "run",
            "--rm",
            "--format",
            "json",
            "--entrypoint",
            "/no/such",
            &image,
        ],
        127,
        "command_not_found",
        "",
    );
    // An image without any command, and none given.
    refuse.run(
        "nothing to run",
        &["run", "--rm", "--format", "json", &image],
        125,
        "usage|malformed|not_found|policy|command_not_found",
        "",
    );
    refuse.finish();
    // CVE-2019-5736: the binary that init runs from is not inside and cannot be run or written.
    let ran = home
        .lazaret(["run", "--rm", &image, "/bin/self", "version"])
        .run();
    assert!(matches!(ran.code, Some(125..=127)), "{ran}");
    assert!(!ran.out().contains("lazaret 0"), "{ran}");
}

#[test]
fn a_number_beyond_the_map_is_refused_with_the_remedy() {
    need!("userns", "overlay", "no-subuids");
    let home = Home::new();
    let image = Image::toolbox()
        .set("User", json!("app"))
        .layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "true"])
        .run()
        .exits(125)
        .complains("subuid");
    home.lazaret(["run", "--rm", "-u", "1000", &image, "true"])
        .run()
        .exits(125)
        .complains("subuid");
    home.lazaret(["run", "--rm", "-u", "0", &image, "id"])
        .run()
        .ok()
        .says("uid=0,0,0");
}

#[test]
fn a_number_that_no_map_has_is_told_as_such() {
    need!("userns", "overlay", "subuids");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for user in ["4000000000", "0:4000000000"] {
        home.lazaret(["run", "--rm", "-u", user, &image, "true"])
            .run()
            .exits(125)
            .complains("has an id that this container does not have")
            .complains("hint: ");
    }
}

/// What PATH finds would be trusted with the caller's ids.
#[test]
fn helpers_are_not_looked_for_in_path() {
    need!("userns", "overlay", "subuids", "not-root");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let evil = home.path("evil");
    std::fs::create_dir(&evil).unwrap();
    for helper in ["newuidmap", "newgidmap"] {
        let file = evil.join(helper);
        let script = format!("#!/bin/sh\n: >{}/called\nexit 1\n", evil.display());
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", evil.display());
    for path in [&path[..], "/nowhere", ""] {
        home.lazaret(["run", "--rm", &image, "true"])
            .env("PATH", path)
            .run()
            .ok();
    }
    assert!(!evil.join("called").exists());
}

#[test]
fn a_home_that_cannot_be_used() {
    need!("userns", "overlay", "not-root");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let data = home.root().join("data");
    let set =
        |mode| std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
    let run = || {
        home.lazaret(["run", "--rm", "--format", "json", &image, "true"])
            .run()
    };
    for mode in [0o000, 0o500] {
        set(mode);
        let ran = run().exits(125);
        let error = support::error_of(&ran);
        assert!(
            matches!(error["kind"].as_str(), Some("io" | "store" | "host")),
            "{ran}"
        );
        assert!(ran.err().contains("lazaret"), "{ran}");
        set(0o700);
    }
    std::fs::remove_dir(&data).unwrap();
    std::fs::write(&data, "a file").unwrap();
    run().exits(125);
    std::fs::remove_file(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    run().ok();
}

#[test]
fn no_home_at_all_is_a_usage_error() {
    need!("not-root");
    let home = Home::new();
    let ran = home
        .lazaret(["run", "--rm", "--format", "json", "oci:./nothing", "true"])
        .env_remove("HOME")
        .env_remove("XDG_DATA_HOME")
        .env_remove("LAZARET_STORE")
        .run()
        .exits(125);
    let error = support::error_of(&ran);
    assert!(
        matches!(error["kind"].as_str(), Some("usage" | "not_found")),
        "{ran}"
    );
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    let version = home.store().join("version");
    let ours = std::fs::read_to_string(&version).unwrap();
    let next: u32 = ours.trim().parse::<u32>().unwrap() + 1;
    std::fs::write(&version, format!("{next}\n")).unwrap();
    let before = support::walk(&home.store());
    let ran = home
        .lazaret(["run", "--rm", "--format", "json", &image, "true"])
        .run()
        .exits(125);
    assert_eq!(support::error_of(&ran)["kind"], "store", "{ran}");
    assert_eq!(support::walk(&home.store()), before);
    std::fs::write(&version, "garbage").unwrap();
    let ran = home
        .lazaret(["run", "--rm", "--format", "json", &image, "true"])
        .run()
        .exits(125);
    assert_eq!(support::error_of(&ran)["kind"], "store", "{ran}");
    std::fs::write(&version, ours).unwrap();
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
}

#[test]
fn too_few_descriptors_accuse_no_layer() {
    need!("userns", "overlay");
    let home = Home::new();
    let mut image = Image::toolbox();
    for layer in 0..40 {
        image = image.with(&[Entry::file(format!("layer/{layer}"), "")]);
    }
    let image = image.layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    let script = "ulimit -n 100; exec \"$0\" run --rm \"$1\" true";
    let args = ["-c", script, env!("CARGO_BIN_EXE_lazaret"), &image];
    let ran = home
        .program(std::path::Path::new("/bin/sh"), args)
        .run()
        .exits(125)
        .complains("ulimit -n");
    assert!(!ran.err().contains("not whole"), "{ran}");
}

/// As in a container of another tool, whose root is an overlay.
#[test]
fn a_store_that_no_layer_can_be_written_to_says_what_helps() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let at = home.root().join("overlay");
    std::fs::create_dir(&at).unwrap();
    let script = format!(
        "cd {at}; mount -t tmpfs tmpfs .; cd {at}; mkdir l u w m; \
         mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m; \
         export LAZARET_STORE={at}/m/store; {bin} run --rm {image} true && {bin} run {image} true",
        at = at.display(),
        bin = env!("CARGO_BIN_EXE_lazaret"),
    );
    let unshare = support::find("unshare").unwrap();
    home.program(&unshare, ["-m", "sh", "-c", &script])
        .run()
        .exits(125)
        .complains("mount overlay")
        .complains("use --rm");
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    let image = Image::toolbox()
        .with(&[Entry::file("big", random(6 << 20))])
        .layout(&home, "img");
    let small = home.root().join("small");
    std::fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4m tmpfs {small}; export LAZARET_STORE={small}/store; \
         {bin} run --rm --format json {image} true; code=$?; ls -A {small}/store/staging | grep -v 'lock$'; ls {small}/store/layers/*/; exit $code",
        small = small.display(),
        bin = env!("CARGO_BIN_EXE_lazaret"),
    );
    let unshare = support::find("unshare").unwrap();
    let ran = home
        .program(&unshare, ["-m", "sh", "-c", &script])
        .run()
        .exits(125);
    let error = support::error_of(&ran);
    assert_eq!(error["kind"], "io", "{ran}");
    assert_eq!(error["errno"], 28, "{ran}");
    // The first layer is whole and may stay; nothing of the second does.
    assert!(ran.out().lines().count() <= 1, "{ran}");
}

/// Bytes that do not compress.
fn random(n: usize) -> Vec<u8> {
    let mut seed = 88_172_645_463_325_252_u64;
    (0..n)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 32) as u8
        })
        .collect()
}
