//! Images that lie in wait for the launch itself: every way in which what an image says or holds
//! could bring the payload out, or the mounts to the wrong place.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;
use serde_json::json;
use support::{Entry, Home, Image, Layer, need};

fn hostile(name: &str) -> Entry {
    let bytes = std::fs::read(support::program(&format!("hostile/{name}"))).unwrap();
    Entry::file(name, bytes).mode(0o755)
}

#[test]
fn a_working_directory_is_no_open_descriptor() {
    need!("userns", "overlay");
    // CVE-2024-21626: /proc/self/fd/N of the launcher is a folder of the host.
    let home = Home::new();
    for n in 3..24 {
        let folder = format!("/proc/self/fd/{n}");
        let image = Image::toolbox()
            .set("WorkingDir", json!(folder))
            .layout(&home, &format!("img{n}"));
        let ran = home.lazaret(["run", "--rm", &image, "ls", ".."]).run();
        assert!(matches!(ran.code, Some(125..=127)), "{folder}\n{ran}");
        assert!(ran.stdout.is_empty(), "{folder}\n{ran}");
    }
}

#[test]
fn a_working_directory_behind_a_link_is_inside() {
    need!("userns", "overlay");
    let home = Home::new();
    for (n, target) in [
        "/proc/self/cwd/..",
        "/proc/1/cwd",
        "/proc/1/root",
        "/proc/self/root/..",
    ]
    .iter()
    .enumerate()
    {
        let image = Image::toolbox()
            .with([&Entry::symlink("work", target)])
            .set("WorkingDir", json!("/work"))
            .layout(&home, &format!("img{n}"));
        let ran = home.lazaret(["run", "--rm", &image, "ls", "."]).run();
        // Refused, or a folder of the image.
        if ran.code == Some(0) {
            let names = ran.out();
            assert!(
                names.contains("bin") && names.contains("work"),
                "{target}\n{ran}"
            );
        } else {
            assert!(matches!(ran.code, Some(125..=127)), "{target}\n{ran}");
        }
    }
}

#[test]
fn an_interpreter_is_not_the_hosts_program() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let scripts = [
        Entry::file("self", "#!/proc/self/exe version\n").mode(0o755),
        Entry::file("init", "#!/proc/1/exe version\n").mode(0o755),
        Entry::file("fd", "#!/proc/self/fd/3\n").mode(0o755),
        Entry::symlink("link", "/proc/self/exe"),
    ];
    let image = Image::toolbox().with(&scripts).layout(&home, "img");
    for script in ["/self", "/init", "/fd", "/link"] {
        let ran = home
            .lazaret(["run", "--rm", &image, script, "version"])
            .run();
        assert!(matches!(ran.code, Some(125..=127)), "{script}\n{ran}");
        assert!(ran.stdout.is_empty(), "{script}\n{ran}");
    }
}

/// Folders of the launch as links to elsewhere (CVE-2019-19921, CVE-2023-27561, CVE-2025-31133).
#[test]
fn mounts_and_masks_hold_wherever_an_image_links_them_to() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let traps: [&[(&str, &str)]; 6] = [
        &[("proc", "tmp/p")],
        &[("proc", "/tmp")],
        &[("sys", "/proc/sys"), ("dev", "/tmp/d")],
        &[("dev", "../../../../dev")],
        &[("etc", "/proc/self")],
        &[("tmp", "/proc"), ("run", "/dev")],
    ];
    for (n, links) in traps.iter().enumerate() {
        let mut entries = vec![
            hostile("proc_masks"),
            hostile("proc_sys"),
            hostile("whiteout"),
            Entry::dir("tmp/p"),
            Entry::dir("tmp/d"),
        ];
        if links.iter().any(|(name, _)| *name == "tmp") {
            entries.truncate(3);
        }
        for (name, target) in *links {
            entries.push(Entry::symlink(name, target));
        }
        let image = Image::new([Layer::of(&entries)]).layout(&home, &format!("img{n}"));
        for program in ["/proc_masks", "/proc_sys", "/whiteout"] {
            let ran = home.lazaret(["run", "--rm", &image, program]).run();
            // Refused with words, or held.
            match ran.code {
                Some(0) => assert_eq!(ran.out().lines().last(), Some("held"), "{links:?}\n{ran}"),
                code => assert_eq!(code, Some(125), "{links:?}\n{ran}"),
            }
            assert!(!ran.out().contains("ESCAPED"), "{links:?}\n{ran}");
        }
    }
}

#[test]
fn files_of_the_launch_are_written_inside_only() {
    need!("userns", "overlay");
    let home = Home::new();
    let canary = home.path("canary");
    std::fs::write(&canary, "untouched").unwrap();
    let outside = canary.to_str().unwrap();
    let links = ["etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/passwd"]
        .map(|name| Entry::symlink(name, outside));
    let image = Image::new([Layer::of(&[hostile("fds")]), Layer::of(&links)]).layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "/fds"]).run().ok();
    home.lazaret(["run", "--rm", "-u", "4711", &image, "/fds"])
        .run();
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "untouched");
}
