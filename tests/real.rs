//! Images that others made: skopeo's archives, umoci's layouts, a shell by busybox, and a Debian
//! root by debootstrap with real programs in it.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::json;
use std::path::Path;
use std::process::Command;
use support::{Entry, Home, Image, Layer, Real, need};

#[track_caller]
fn tool(name: &str, args: &[&str]) {
    let path = support::find(name).unwrap();
    let out = Command::new(path).args(args).output().unwrap();
    assert!(
        out.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn what_skopeo_writes_runs() {
    need!("userns", "overlay", "skopeo");
    let home = Home::new();
    let ours = Image::toolbox()
        .with(&[Entry::file("hello", "skopeo")])
        .layout(&home, "ours");
    // Also: what we write is an image to skopeo.
    for (to, name) in [
        (format!("oci:{}:t", home.path("layout").display()), None),
        (
            format!("oci-archive:{}:t", home.path("oci.tar").display()),
            None,
        ),
        (
            format!("docker-archive:{}:img:t", home.path("docker.tar").display()),
            Some(format!(
                "docker-archive:{}",
                home.path("docker.tar").display()
            )),
        ),
    ] {
        tool("skopeo", &["--insecure-policy", "copy", &ours, &to]);
        let name = name.unwrap_or(to);
        home.lazaret(["run", "--rm", &name, "cat", "/hello"])
            .run()
            .ok()
            .prints("skopeo");
    }
    tool(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--dest-compress-format",
            "zstd",
            &ours,
            &format!("oci:{}:t", home.path("zstd").display()),
        ],
    );
    home.lazaret([
        "run",
        "--rm",
        &format!("oci:{}:t", home.path("zstd").display()),
        "cat",
        "/hello",
    ])
    .run()
    .ok()
    .prints("skopeo");
    home.clean();
}

#[test]
fn what_umoci_changes_runs() {
    need!("userns", "overlay", "umoci", "root");
    let home = Home::new();
    Image::toolbox()
        .with(&[Entry::file("kept", "x"), Entry::file("removed", "x")])
        .layout(&home, "img");
    let layout = home.path("img").display().to_string();
    let bundle = home.path("bundle").display().to_string();
    let image = format!("{layout}:test");
    tool("umoci", &["unpack", "--image", &image, &bundle]);
    let root = Path::new(&bundle).join("rootfs");
    std::fs::remove_file(root.join("removed")).unwrap();
    std::fs::write(root.join("added"), "by umoci").unwrap();
    tool("umoci", &["repack", "--image", &image, &bundle]);
    tool(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.workingdir",
            "/tmp",
            "--config.env",
            "BY=umoci",
        ],
    );
    let name = format!("oci:{image}");
    home.lazaret([
        "run", "--rm", &name, "all", "cat", "/added", ",", "pwd", ",", "env",
    ])
    .run()
    .ok()
    .says("by umoci/tmp\n")
    .says("BY=umoci\n");
    home.lazaret(["run", "--rm", &name, "ls", "/"])
        .run()
        .ok()
        .says("kept\n")
        .does_not_say("removed");
}

/// Its archives have no end, nor padding behind their last member.
#[test]
fn what_umoci_inserts_runs() {
    need!("userns", "overlay", "umoci", "root");
    let home = Home::new();
    Image::toolbox().layout(&home, "img");
    let image = format!("{}:test", home.path("img").display());
    let folder = home.path("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("inserted"), "by umoci").unwrap();
    let source = folder.display().to_string();
    tool("umoci", &["insert", "--image", &image, &source, "/new"]);
    let name = format!("oci:{image}");
    home.lazaret(["run", "--rm", &name, "cat", "/new/inserted"])
        .run()
        .ok()
        .prints("by umoci");
}

/// A registry that wants a password, which the caller of lazaret has.
fn registry(home: &Home) -> (Real, String) {
    let auth = Real::htpasswd(home, "ana", "correct-horse");
    let real = Real::start(home, "", &auth);
    let registry = format!("127.0.0.1:{}", real.port);
    home.lazaret(["login", "-u", "ana", "--password-stdin", &registry])
        .stdin("correct-horse\n")
        .run()
        .ok();
    (real, registry)
}

fn pushed(image: &str, name: &str, more: &[&str]) {
    let mut args = vec!["--insecure-policy", "copy", "--dest-tls-verify=false"];
    args.extend(["--dest-creds=ana:correct-horse", image]);
    let to = format!("docker://{name}");
    args.push(&to);
    args.extend(more);
    tool("skopeo", &args);
}

#[test]
fn what_skopeo_pushes_is_pulled_and_runs() {
    need!(
        "userns",
        "overlay",
        "landlock",
        "skopeo",
        "docker-registry",
        "htpasswd"
    );
    let home = Home::new();
    let (_real, registry) = registry(&home);
    let ours = Image::toolbox()
        .with(&[Entry::file("hello", "skopeo")])
        .layout(&home, "ours");
    for (at, more) in [
        &[][..],
        &["--format=v2s2"],
        &["--dest-compress-format=zstd", "--format=oci"],
    ]
    .iter()
    .enumerate()
    {
        let name = format!("{registry}/lab/img{at}:1");
        pushed(&ours, &name, more);
        home.lazaret(["pull", &name])
            .run()
            .ok()
            .complains("Downloaded newer image");
        home.lazaret(["run", "--rm", &name, "cat", "/hello"])
            .run()
            .ok()
            .prints("skopeo");
    }
    home.clean();
}

#[test]
fn what_buildah_and_umoci_change_is_pulled_and_runs() {
    need!(
        "userns",
        "overlay",
        "landlock",
        "skopeo",
        "buildah",
        "umoci",
        "docker-registry",
        "htpasswd",
        "root"
    );
    let home = Home::new();
    let (_real, registry) = registry(&home);
    let ours = Image::toolbox().layout(&home, "img");
    let (first, second) = (format!("{registry}/lab/a:1"), format!("{registry}/lab/b:1"));
    pushed(&ours, &first, &[]);

    let path = |name: &str| home.path(name).display().to_string();
    std::fs::write(home.path("added"), "by buildah").unwrap();
    let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
    std::fs::write(home.path("policy.json"), policy).unwrap();
    let (root, run) = (path("containers"), path("containers-run"));
    let policy = format!("--signature-policy={}", path("policy.json"));
    let store = ["--storage-driver=vfs", "--root", &root, "--runroot", &run];
    let login = ["--tls-verify=false", "--creds=ana:correct-horse", &policy];
    let buildah = |args: &[&str]| tool("buildah", &[&store[..], args].concat());
    buildah(&[&["from", "--name=work"], &login[..], &[&first]].concat());
    buildah(&["copy", "work", &path("added"), "/added"]);
    let to = format!("docker://{second}");
    buildah(&[&["commit"], &login[..], &["work", &to]].concat());
    home.lazaret(["run", "--rm", &second, "cat", "/added"])
        .run()
        .ok()
        .prints("by buildah");

    let image = format!("{}:test", path("img"));
    let source = path("added");
    std::fs::write(&source, "by umoci").unwrap();
    tool("umoci", &["insert", "--image", &image, &source, "/new"]);
    pushed(&ours, &first, &[]);
    home.lazaret(["run", "--rm", "--pull=always", &first, "cat", "/new"])
        .run()
        .ok()
        .prints("by umoci");
    home.clean();
}

#[test]
fn a_shell_does_a_shells_work() {
    need!("userns", "overlay", "busybox");
    let home = Home::new();
    let busybox = std::fs::read(support::find("busybox").unwrap()).unwrap();
    let mut entries = Image::toolbox_entries();
    entries.push(Entry::file("bin/busybox", busybox).mode(0o755));
    for applet in [
        "sh", "seq", "sort", "wc", "mktemp", "tar", "gzip", "find", "mount", "ping", "ps", "head",
    ] {
        entries.push(Entry::hardlink(format!("bin/{applet}"), "bin/busybox"));
    }
    let image = Image::new([Layer::of(&entries)])
        .set("Cmd", json!(["sh", "-c", "echo $0 $#"]))
        .layout(&home, "busybox");
    let sh = |script: &str| {
        home.lazaret(["run", "--rm", &image, "sh", "-ec", script])
            .run()
    };
    home.lazaret(["run", "--rm", &image])
        .run()
        .ok()
        .prints("sh 0\n");
    sh("seq 1 1000 | sort -rn | head -n 1")
        .ok()
        .prints("1000\n");
    sh("d=$(mktemp -d); cd $d; seq 1 9 >a; tar czf b.tgz a; rm a; tar xzf b.tgz; wc -l <a")
        .ok()
        .prints("9\n");
    sh("(sleep 100 &) ; echo gone").ok().prints("gone\n");
    sh("trap 'echo trapped; exit 5' TERM; kill $$; sleep 1")
        .exits(5)
        .prints("trapped\n");
    sh("ps | wc -l").ok();
    sh("mount -t tmpfs x /tmp").exits(1);
    sh("exit 42").exits(42);
}

#[test]
fn debians_own_programs_run_under_the_default_cell() {
    need!("userns", "overlay", "debian");
    let layout = std::env::var("LAZARET_TEST_DEBIAN").unwrap();
    let image = format!("oci:{layout}:stable");
    let home = Home::new();
    let sh = |script: &str| {
        home.lazaret(["run", "--rm", &image, "bash", "-ec", script])
            .run()
    };
    home.lazaret(["run", "--rm", &image, "apt-get", "--version"])
        .run()
        .ok()
        .says("apt ");
    sh("dpkg -l | wc -l; dpkg --verify coreutils").ok();
    sh("perl -e 'use strict; use POSIX; my %h = map { $_ => 1 } 1..10; print scalar(keys %h), \"\\n\"'").ok().prints("10\n");
    sh("python3 -c 'import os, subprocess, threading; \
        t = threading.Thread(target=lambda: None); t.start(); t.join(); \
        print(subprocess.check_output([\"echo\", \"hi\"]).decode(), end=\"\")'")
    .ok()
    .prints("hi\n");
    sh("cd /tmp; printf '#include <stdio.h>\\nint main(void){puts(\"compiled\");return 3;}' >a.c; gcc -O2 -o a a.c; ./a")
        .exits(3)
        .prints("compiled\n");
    sh(
        "cd /tmp; git -c init.defaultBranch=main init -q r; cd r; echo x >f; git add f; \
        git -c user.name=a -c user.email=a@b commit -qm first; git log --oneline | wc -l; git fsck",
    )
    .ok()
    .says("1\n");
    // The second run finds the layers unpacked and checks them.
    home.lazaret(["run", "--rm", "--verify", "full", &image, "true"])
        .run()
        .ok();
    home.clean();
}
