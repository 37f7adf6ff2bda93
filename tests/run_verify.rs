//! Unpacked layers are checked again at each run: what changed on disk does not run, what only
//! looks changed is recorded anew, `verify` names what differs.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use support::{Entry, Home, Image, need};

/// A home with an image that ran once, and the unpacked file `/etc/checked` of it.
struct Scene {
    home: Home,
    image: String,
    file: PathBuf,
}

fn scene() -> Scene {
    let home = Home::new();
    let image = Image::toolbox()
        .with(&[
            Entry::file("etc/checked", "the image's own"),
            Entry::file("etc/other", "x"),
        ])
        .layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "cat", "/etc/checked"])
        .run()
        .ok()
        .prints("the image's own");
    let layers = home.store().join("layers");
    let found = support::walk(&layers)
        .into_iter()
        .find(|path| path.ends_with("fs/etc/checked"))
        .unwrap();
    let file = layers.join(found);
    Scene { home, image, file }
}

impl Scene {
    /// Writes to the unpacked file as whoever owns it would: as root, or, where its owner is a
    /// subordinate id or another's, as root of a namespace that maps it.
    fn change(&self, script: &str) {
        let path = self.file.display().to_string();
        let script = script.replace("FILE", &path);
        let mut command = if rustix::process::geteuid().is_root() || owned_by_us(&self.file) {
            std::process::Command::new("/bin/sh")
        } else {
            let mut unshare = std::process::Command::new(support::find("unshare").unwrap());
            unshare.args(["--map-auto", "--map-root-user", "--", "/bin/sh"]);
            unshare
        };
        let out = command.args(["-ec", &script]).output().unwrap();
        assert!(out.status.success(), "{script}: {out:?}");
    }

    /// Other bytes in a record, in place.
    fn rewrite(&self, path: &Path, bytes: &[u8]) {
        let new = self.home.path("new-bytes");
        std::fs::write(&new, bytes).unwrap();
        let path = path.display();
        self.change(&format!("chmod u+w {path}; cat {} > {path}", new.display()));
    }

    fn run(&self, verify: &str) -> support::Ran {
        self.home
            .lazaret([
                "run",
                "--rm",
                "--format",
                "json",
                "--verify",
                verify,
                &self.image,
                "cat",
                "/etc/checked",
            ])
            .run()
    }
}

fn owned_by_us(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|m| m.uid() == rustix::process::geteuid().as_raw())
}

#[test]
fn a_layer_that_changed_on_disk_does_not_run() {
    need!("userns", "overlay", "unshare");
    for (what, script) in [
        ("contents", "echo changed > FILE"),
        ("same size", "printf 'THE IMAGE'\"'\"'S OWN' > FILE"),
        ("mode", "chmod 0777 FILE"),
        ("gone", "rm FILE"),
        ("new beside", "touch FILE.new"),
        ("a link instead", "rm FILE; ln -s /etc/passwd FILE"),
        ("a folder instead", "rm FILE; mkdir FILE"),
        ("setuid", "chmod 4755 FILE"),
    ] {
        let scene = scene();
        scene.change(script);
        for verify in ["stat", "full"] {
            let ran = scene.run(verify).exits(125);
            let error = support::error_of(&ran);
            assert_eq!(error["kind"], "integrity", "{what}, {verify}\n{ran}");
            assert!(
                ran.err().contains("checked"),
                "{what}, {verify}: which file?\n{ran}"
            );
            assert!(ran.stdout.is_empty(), "{what}, {verify}: it ran\n{ran}");
        }
        scene
            .home
            .lazaret(["verify", &scene.image])
            .run()
            .exits(1)
            .says("checked");
        scene.home.clean();
    }
}

#[test]
fn what_was_restored_with_its_contents_runs_and_is_recorded_anew() {
    need!("userns", "overlay", "unshare");
    let scene = scene();
    // A restored backup: other inode, other times, same bytes and mode.
    scene.change("cp -p FILE FILE.tmp; mv FILE.tmp FILE");
    scene.run("stat").ok().prints("the image's own");
    scene.run("full").ok().prints("the image's own");
    scene.home.lazaret(["verify", &scene.image]).run().ok();
    scene.run("stat").ok();
}

#[test]
fn forged_times_are_answered_by_full() {
    need!("userns", "overlay", "root");
    let scene = scene();
    let before = scene.file.metadata().unwrap();
    let inode = before.ino();
    std::fs::write(&scene.file, "THE IMAGE'S OWN").unwrap();
    let back = Timestamps {
        last_access: Timespec {
            tv_sec: before.atime(),
            tv_nsec: before.atime_nsec(),
        },
        last_modification: Timespec {
            tv_sec: before.mtime(),
            tv_nsec: before.mtime_nsec(),
        },
    };
    utimensat(CWD, &scene.file, &back, AtFlags::empty()).unwrap();
    assert_eq!(scene.file.metadata().unwrap().ino(), inode);
    // The ctime cannot be put back, so stat sees it too and hashes.
    for verify in ["full", "stat"] {
        let ran = scene.run(verify).exits(125);
        assert_eq!(support::error_of(&ran)["kind"], "integrity", "{ran}");
    }
}

#[test]
fn records_that_were_tampered_with_are_not_believed() {
    need!("userns", "overlay");
    let scene = scene();
    let layer = scene.file.ancestors().nth(3).unwrap().to_owned();
    for name in ["list", "stat"] {
        let path = layer.join(name);
        let honest = std::fs::read(&path).unwrap();
        for spoiled in [
            Vec::new(),
            honest[..honest.len() / 2].to_vec(),
            [&honest[..], b"x"].concat(),
            b"garbage".to_vec(),
            {
                let mut flipped = honest.clone();
                let middle = flipped.len() / 2;
                flipped[middle] ^= 0x40;
                flipped
            },
        ] {
            scene.rewrite(&path, &spoiled);
            let ran = scene.run("stat");
            // A stat record may be made again from the hashes; a list may not.
            if name == "list" || ran.code != Some(0) {
                let ran = ran.exits(125);
                let kind = support::error_of(&ran)["kind"].clone();
                assert!(
                    kind == "store" || kind == "integrity" || kind == "launch",
                    "{name}\n{ran}"
                );
                assert!(ran.stdout.is_empty(), "{ran}");
            }
            scene.rewrite(&path, &honest);
        }
        scene.run("full").ok().prints("the image's own");
    }
}

#[test]
fn a_layer_that_lost_a_part_says_what_helps() {
    need!("userns", "overlay", "landlock");
    for part in ["stat", "list", "fs"] {
        let Scene { home, image, file } = scene();
        let layer = file.ancestors().nth(3).unwrap();
        // The folder is the caller's, whoever owns what is in it.
        std::fs::rename(layer.join(part), layer.join("elsewhere")).unwrap();
        let again = || home.lazaret(["run", "--rm", &image, "true"]).run();
        again()
            .exits(125)
            .complains("hint: ")
            .complains("lazaret rmi");
        home.lazaret(["rmi", &image]).run().ok();
        again().ok();
    }
}

#[test]
fn a_blob_that_rotted_is_named_by_verify() {
    need!("userns", "overlay");
    let scene = scene();
    scene.home.lazaret(["verify", "--all"]).run().ok();
    let blobs = scene.home.store().join("blobs/sha256");
    let name = support::list(&blobs).remove(0);
    let path = blobs.join(&name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    scene
        .home
        .lazaret(["verify", "--all"])
        .run()
        .exits(1)
        .says(&name[..12]);
}
