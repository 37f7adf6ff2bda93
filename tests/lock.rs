//! `lazaret.lock`: what is locked is what runs, whatever its tag means by now and without asking
//! anybody; what is not, or is not any more as it was locked, does not run.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Entry, Home, Image, Layout, Ran, Registry, find, honest, list, need, retag};

fn other() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "amd64",
        _ => "arm64",
    }
}

/// An index with an image for this machine and one for another.
fn both(marker: &str) -> Layout {
    let image = Image::toolbox().with(&[Entry::file("marker", marker)]);
    let mut native = image.build();
    let mut foreign = image.with(&[Entry::file("foreign", "")]);
    foreign.architecture = other().to_owned();
    let foreign = foreign.build();
    let entry = |layout: &Layout, architecture: &str| {
        let index: Value = serde_json::from_str(&layout.index).unwrap();
        let mut entry = index["manifests"][0].clone();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry(&foreign, other()), entry(&native, &Image::toolbox().architecture)],
    });
    native.blobs.extend(foreign.blobs);
    retag(&mut native, index.to_string());
    native
}

/// A registry whose tag moves from "first" to "second"; by digest it has both.
struct Scene {
    home: Home,
    registry: Registry,
    name: String,
    moved: Arc<AtomicBool>,
}

impl Scene {
    fn new() -> Self {
        let (first, mut second) = (both("first"), both("second"));
        second.blobs.extend(first.blobs.clone());
        let moved = Arc::new(AtomicBool::new(false));
        let registry = Registry::new({
            let moved = Arc::clone(&moved);
            move |asked, _| match moved.load(Ordering::Relaxed) {
                false => honest(&first, asked),
                true => honest(&second, asked),
            }
        });
        Self {
            home: Home::new(),
            name: registry.image(),
            registry,
            moved,
        }
    }

    fn locked() -> Self {
        let scene = Self::new();
        scene.lock(&[&scene.name]).ok();
        scene
    }

    fn lazaret(&self, args: &[&str]) -> Ran {
        self.home.lazaret(args).run()
    }

    fn lock(&self, args: &[&str]) -> Ran {
        self.lazaret(&[&["lock"], args].concat())
    }

    fn run(&self, flags: &[&str]) -> Ran {
        let args = [&["run", "--rm"], flags, &[&self.name, "cat", "/marker"]].concat();
        self.lazaret(&args)
    }

    fn file(&self) -> PathBuf {
        self.home.path("lazaret.lock")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    fn edit(&self, from: &str, to: &str) {
        let text = self.text();
        assert!(text.contains(from), "{from}\n{text}");
        std::fs::write(self.file(), text.replacen(from, to, 1)).unwrap();
    }

    fn moves(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.registry.asked().len()
    }

    /// The digest in a line of the lock.
    fn digest(&self, key: &str) -> String {
        let text = self.text();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    }
}

/// What was said, in one line however it was wrapped.
fn words(ran: &Ran) -> String {
    ran.err().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn refused(ran: Ran, all: &[&str]) {
    let ran = ran.exits(125);
    let words = words(&ran);
    assert!(!words.contains("panicked"), "{ran}");
    for word in all {
        assert!(words.contains(word), "wanted {word}\n{ran}");
    }
}

#[test]
fn what_is_locked_runs_though_its_tag_moved() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::new();
    let name = scene.name.clone();
    // Fetched because it is missing, and kept.
    let ran = scene.lock(&[&name]).ok();
    ran.says(&format!("locked {name} (linux/"));
    let (text, digest) = (scene.text(), scene.digest("digest"));
    assert!(
        text.contains(&format!("reference = \"{name}\"\n")),
        "{text}"
    );
    assert_ne!(digest, scene.digest("manifest"), "an index");
    assert_eq!(
        std::fs::metadata(scene.file())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o644
    );
    scene.lock(&[&name]).ok().prints(&format!(
        "unchanged {name} (linux/{})\n",
        Image::toolbox().architecture
    ));
    assert_eq!(scene.text(), text);
    scene.run(&["--locked"]).ok().prints("first");
    scene.lock(&[]).ok().says("all 1 hold");

    scene.moves();
    // A moved tag is accepted by nobody but `pull --accept`.
    refused(
        scene.lock(&["--update", &name]),
        &[
            "refused by policy",
            &format!("lazaret pull --accept {name}"),
        ],
    );
    assert_eq!(scene.text(), text);
    scene.lazaret(&["pull", "-q", "--accept", &name]).ok();
    scene.run(&[]).ok().prints("second");
    let before = scene.asked();
    let ran = scene.run(&["--locked", "--pull", "always"]).ok();
    ran.prints("first")
        .complains(&format!("rules see {name}@{digest}"));
    let ran = scene.lock(&[]).exits(1);
    ran.says("differs")
        .says("the name means")
        .says("1 of 1 differ");
    assert_eq!(scene.asked(), before, "nobody is asked");

    refused(
        scene.lock(&[&name]),
        &[
            "is locked already",
            &format!("was {digest}"),
            &format!("lazaret lock --update {name}"),
        ],
    );
    let ran = scene.lock(&["-q", "--update", &name]).ok();
    ran.says(&format!("updated {name}"))
        .says(&format!("digest   was {digest}"));
    scene.run(&["--locked"]).ok().prints("second");
    scene.lock(&[]).ok();
    // One fact, one line.
    let now = scene.text();
    let changed = text.lines().zip(now.lines()).filter(|(was, is)| was != is);
    assert_eq!(changed.count(), 2, "{text}{now}");
    assert_eq!(list(&scene.home.path("")), ["lazaret.lock"]);
    scene.home.clean();
}

#[test]
fn on_another_machine_it_is_fetched_by_its_digest() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::locked();
    let digest = scene.digest("digest");
    scene.moves();
    let there = Home::new();
    std::fs::copy(scene.file(), there.path("lazaret.lock")).unwrap();
    let run = |flags: &[&str]| {
        let args = [
            &["run", "--rm", "--locked"],
            flags,
            &[&scene.name, "cat", "/marker"],
        ]
        .concat();
        there.lazaret(args).run()
    };
    there
        .lazaret(["lock"])
        .run()
        .exits(1)
        .says("is not in the store");
    let before = scene.asked();
    refused(run(&["--pull", "never"]), &["--pull never fetches none"]);
    refused(run(&["--dry-run"]), &["a dry run fetches none"]);
    assert_eq!(scene.asked(), before);
    run(&["-q"]).ok().prints("first");
    let asked = scene.registry.asked();
    let asked: Vec<&str> = asked[before..].iter().map(|a| &a.path[..]).collect();
    assert!(
        asked.iter().any(|path| path.ends_with(&digest)),
        "{asked:?}"
    );
    assert!(
        !asked.iter().any(|path| path.ends_with("/test")),
        "{asked:?}"
    );
    there.lazaret(["lock"]).run().ok();
    let before = scene.asked();
    run(&[]).ok().prints("first");
    there.lazaret(["pull", "--locked", &scene.name]).run().ok();
    assert_eq!(scene.asked(), before);
    there.clean();

    let third = Home::new();
    std::fs::copy(scene.file(), third.path("my.lock")).unwrap();
    let lock = ["--locked", "--lock-file", "my.lock"];
    third
        .lazaret([&["pull", "-q"], &lock[..], &[&scene.name]].concat())
        .run()
        .ok();
    let before = scene.asked();
    let line = [
        &["run", "--rm"],
        &lock[..],
        &[&scene.name, "cat", "/marker"],
    ]
    .concat();
    third.lazaret(line).run().ok().prints("first");
    assert_eq!(scene.asked(), before);
    third.clean();
}

#[test]
fn what_is_not_in_the_lock_does_not_run() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::new();
    let name = scene.name.clone();
    scene.lazaret(&["pull", "-q", &name]).ok();
    refused(
        scene.run(&["--locked"]),
        &["there is no lock", "lazaret.lock", "lazaret lock IMAGE..."],
    );
    refused(scene.lock(&[]), &["there is no lock"]);
    refused(scene.lock(&["--update", &name]), &["there is no lock"]);
    scene.lock(&[&name]).ok();
    let tag = name.replace(":test", ":other");
    let run = |image: &str| scene.lazaret(&["run", "--rm", "--locked", image, "true"]);
    let before = scene.asked();
    refused(
        run(&tag),
        &[
            &tag,
            "is not in the lock",
            &format!("hint: lazaret lock {tag}"),
        ],
    );
    refused(
        run(&format!("{name}@{}", scene.digest("digest"))),
        &["is not in the lock"],
    );
    refused(run("builtin:probe"), &["builtin:probe is not in the lock"]);
    let layout = Image::toolbox().layout(&scene.home, "img");
    refused(
        run(&layout),
        &["is not in the lock", "only images of registries"],
    );
    let id = scene.lazaret(&["images", "-q"]).ok().out();
    refused(run(id.lines().next().unwrap()), &["is not in the lock"]);
    refused(
        scene.lazaret(&["pull", "--locked", &tag]),
        &["is not in the lock"],
    );
    refused(
        scene.lock(&["--update", &tag]),
        &["is not in the lock", &format!("lazaret lock {tag}")],
    );
    refused(scene.lock(&[&layout]), &["no name of a registry's image"]);
    refused(
        scene.run(&["--locked", "--lock-file", "none.lock"]),
        &["there is no lock", "--lock-file none.lock IMAGE..."],
    );
    assert_eq!(scene.asked(), before);
    // What asks for nothing, or for two things at once.
    refused(scene.run(&["--lock-file", "x"]), &["--locked"]);
    refused(scene.lock(&["--update"]), &["IMAGE"]);
    refused(
        scene.lazaret(&["pull", "--locked", "--accept", &name]),
        &["--accept"],
    );
    scene.home.clean();
}

#[test]
fn edits_by_hand_are_found_where_they_matter() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::locked();
    let text = scene.text();
    let back = || std::fs::write(scene.file(), &text).unwrap();
    let (digest, manifest) = (scene.digest("digest"), scene.digest("manifest"));
    let rules = scene.digest("policy");
    let zeros = format!("sha256:{}", "0".repeat(64));
    let update = format!("lazaret lock --update {}", scene.name);
    let signer = format!("signers = [\n  {{ key = \"{zeros}\" }},\n]");
    let entry = text.split("\n[[image]]").nth(1).unwrap().to_owned();
    for (from, to, said) in [
        // Another digest is another image: it is not here, and the registry has none.
        (&digest[..], &zeros[..], &[&zeros[..]][..]),
        (
            &manifest,
            &zeros,
            &["the lock was edited", &zeros, &manifest],
        ),
        (
            &rules,
            &zeros,
            &["or the lock was edited", &rules, &zeros, &update],
        ),
        (
            "signers = []",
            &signer,
            &[
                "as signed by the key",
                &zeros,
                "the lock was edited",
                &update,
            ],
        ),
        (
            "version = 1",
            "version = 2",
            &["of version 2", "use the newer lazaret"],
        ),
        ("policy =", "more = 1\npolicy =", &["lazaret.lock:", "more"]),
        (
            "signers = []",
            &format!("signers = []\n\n[[image]]{entry}"),
            &["a second entry for"],
        ),
        (
            "platform = \"linux/",
            "platform = \"plan9/",
            &["is not in the lock", "for linux/"],
        ),
        (
            &format!("\"{}\"", scene.name),
            "\"\\u001b[2J\"",
            &["is not an image name"],
        ),
    ] {
        scene.edit(from, to);
        let ran = scene.run(&["--locked", "-q"]);
        assert!(!ran.err().contains('\x1b'), "{ran}");
        refused(ran, said);
        let ran = scene.lock(&[]);
        assert!(ran.code != Some(0), "{to}\n{ran}");
        back();
    }
    std::fs::write(scene.file(), vec![b'#'; (1 << 20) + 1]).unwrap();
    refused(scene.run(&["--locked"]), &["more than 1048576 bytes"]);
    back();
    scene.run(&["--locked"]).ok().prints("first");
    // No edit gave a name to anything.
    let names = scene
        .lazaret(&["images", "--digests", "--no-trunc"])
        .ok()
        .out();
    assert!(!names.contains(&zeros), "{names}");
    scene.home.clean();
}

#[test]
fn other_rules_than_those_that_let_it_in_are_a_refusal() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::locked();
    let run = || scene.run(&["--locked"]);
    // What a cell may have is no question of what comes in.
    scene
        .home
        .policy("[[allow]]\nmounts = [\"/srv:ro\"]\nreason = \"r\"\n");
    run().ok();
    let rule = "[[require]]\nfacts = { max_layers = 40 }\nreason = \"small ones\"\n";
    scene.home.policy(rule);
    refused(
        run(),
        &[
            "was locked under other rules",
            "lazaret policy show",
            "lazaret lock --update",
        ],
    );
    scene.lock(&[]).exits(1).says("policy   was");
    refused(
        scene.lock(&[&scene.name]),
        &["is locked already", "policy was"],
    );
    let ran = scene
        .lock(&["--update", "--pull", "never", &scene.name])
        .ok();
    ran.says("policy   was");
    run().ok();
    // The lock of a machine where it comes in lets it in nowhere else.
    let rule = "[[require]]\nfacts = { max_layers = 0 }\nreason = \"none at all\"\n";
    scene.home.policy(rule);
    let ran = scene.lock(&[]).exits(1);
    ran.says("refused").says("none at all");
    refused(
        scene.lock(&["--update", "--pull", "never", &scene.name]),
        &["none at all"],
    );
    scene.home.clean();
}

/// Rules about a tag are about what it means here: a lock cannot give what they allow to another image.
#[test]
fn an_edited_lock_has_nothing_of_what_a_tag_is_allowed() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::new();
    let name = scene.name.clone();
    std::fs::create_dir(scene.home.path("data")).unwrap();
    let data = scene.home.path("data");
    let allow = format!(
        "[[allow]]\nimage = \"{name}\"\nmounts = [\"{}:rw\"]\nreason = \"r\"\n",
        data.display()
    );
    scene.home.policy(&allow);
    let run = |scene: &Scene| scene.run(&["--locked", "-v", &format!("{}:/data", data.display())]);
    scene.lock(&[&name]).ok();
    let chmod = |path: &std::path::Path| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    [
        scene.home.root().to_owned(),
        scene.home.path(""),
        data.clone(),
    ]
    .iter()
    .for_each(|path| chmod(path));
    run(&scene).ok().prints("first");
    let first = scene.text();
    // Another home is where the other image is locked as this tag.
    scene.moves();
    let there = Home::new();
    there.lazaret(["lock", "-q", &name]).run().ok();
    let second = std::fs::read_to_string(there.path("lazaret.lock")).unwrap();
    assert_ne!(first, second);
    std::fs::write(scene.file(), second).unwrap();
    refused(run(&scene), &["refused by policy", "-v", "rules see"]);
    scene.run(&["--locked", "-q"]).ok().prints("second");
}

#[test]
fn each_platform_has_its_entry() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::locked();
    let platform = format!("linux/{}", other());
    let one = scene.text();
    let ran = scene.run(&["--locked", "--platform", &platform]);
    let hint = format!("lazaret lock --platform {platform} {}", scene.name);
    refused(ran, &[&format!("for {platform} is not in the lock"), &hint]);
    scene
        .lock(&["-q", "--platform", &platform, &scene.name])
        .ok()
        .says(&platform);
    let two = scene.text();
    assert_eq!(two.matches("[[image]]").count(), 2, "{two}");
    assert!(one.lines().all(|line| two.contains(line)), "{one}{two}");
    let before = scene.asked();
    scene.run(&["--locked"]).ok().prints("first");
    scene.lock(&[]).ok().says("all 2 hold");
    assert_eq!(scene.asked(), before);
    // Both are moved, and this machine's is what the name is left with.
    scene.moves();
    scene.lazaret(&["pull", "-q", "--accept", &scene.name]).ok();
    let ran = scene.lock(&["-q", "--update", &scene.name]).ok();
    assert_eq!(ran.out().matches("updated").count(), 2, "{ran}");
    scene.run(&["--pull", "never"]).ok().prints("second");
    scene
        .run(&["--locked", "--pull", "never"])
        .ok()
        .prints("second");
    scene.lock(&[]).ok();
    scene.home.clean();
}

#[test]
fn two_that_lock_at_once_both_are_in_it() {
    need!("userns", "overlay", "landlock");
    let home = Home::new();
    let layout = both("x");
    let registries: Vec<Registry> = (0..4).map(|_| Registry::of(&layout, |_, _| None)).collect();
    let running: Vec<_> = registries
        .iter()
        .map(|registry| home.lazaret(["lock", "-q", &registry.image()]).spawn())
        .collect();
    running.into_iter().for_each(|one| drop(one.wait().ok()));
    let text = std::fs::read_to_string(home.path("lazaret.lock")).unwrap();
    for registry in &registries {
        assert!(text.contains(&registry.image()), "{text}");
    }
    let mut sorted: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("reference"))
        .collect();
    sorted.sort_unstable();
    let names: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("reference"))
        .collect();
    assert_eq!(names, sorted);
    assert_eq!(list(&home.path("")), ["lazaret.lock"]);
    home.clean();
}

/// What another process wrote while this one waited for it is kept.
#[test]
fn who_waits_reads_again() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::locked();
    let theirs = scene.text();
    std::fs::remove_file(scene.file()).unwrap();
    let registry = Registry::of(&both("x"), |_, _| None);
    let folder = std::fs::File::open(scene.home.path("")).unwrap();
    let exclusive = rustix::fs::FlockOperation::LockExclusive;
    rustix::fs::flock(&folder, exclusive).unwrap();
    let running = scene
        .home
        .lazaret(["lock", "-q", &registry.image()])
        .spawn();
    // Its image is there: what is left to do is to write.
    let there = || scene.lazaret(&["images"]).out().contains(&registry.address);
    while !there() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!scene.file().exists());
    std::fs::write(scene.file(), &theirs).unwrap();
    drop(folder);
    running.wait().ok();
    let text = scene.text();
    assert!(
        text.contains(&scene.name) && text.contains(&registry.image()),
        "{text}"
    );
    scene.home.clean();
}

#[test]
fn it_lies_beside_the_project_and_is_a_file_of_ones_own() {
    need!("userns", "overlay", "landlock");
    let scene = Scene::locked();
    let below = scene.home.path("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let run = || {
        let line = ["run", "--rm", "--locked", &scene.name, "true"];
        scene.home.lazaret(line).cwd(&below).run()
    };
    refused(run(), &["there is no lock", "a/b/lazaret.lock"]);
    std::fs::write(
        scene.home.path("lazaret.toml"),
        "version = 1\nextends = \"never\"\n",
    )
    .unwrap();
    run().ok();
    // Whatever it is that lies in its place.
    let kept = scene.home.path("kept");
    std::fs::rename(scene.file(), &kept).unwrap();
    symlink("kept", scene.file()).unwrap();
    refused(run(), &["is a link"]);
    refused(scene.lock(&["--update", &scene.name]), &["is a link"]);
    std::fs::remove_file(scene.file()).unwrap();
    std::fs::copy(&kept, scene.file()).unwrap();
    std::fs::set_permissions(scene.file(), PermissionsExt::from_mode(0o666)).unwrap();
    refused(run(), &["may be written by everybody", "chmod o-w"]);
    std::fs::set_permissions(scene.file(), PermissionsExt::from_mode(0o640)).unwrap();
    scene
        .home
        .policy("[[require]]\nfacts = { max_layers = 40 }\nreason = \"r\"\n");
    scene
        .lock(&["--update", "--pull", "never", &scene.name])
        .ok();
    let mode = std::fs::metadata(scene.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640, "as it was");
    scene.home.clean();
}

#[test]
fn a_full_disk_leaves_the_lock_as_it_was() {
    need!("userns", "overlay", "landlock", "root", "unshare");
    let scene = Scene::locked();
    scene
        .home
        .policy("[[require]]\nfacts = { max_layers = 40 }\nreason = \"r\"\n");
    let small = scene.home.root().join("small");
    std::fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {small} && cp {lock} {small}/x.lock && cp {lock} {small}/before
         head -c 1000000 /dev/zero > {small}/fill 2>&-
         $L lock --update --pull never --lock-file {small}/x.lock {name}; echo code $?
         cmp {small}/x.lock {small}/before && ls {small}; rm {small}/fill
         $L lock --update --pull never --lock-file {small}/x.lock {name}",
        small = small.display(),
        lock = scene.file().display(),
        name = scene.name,
    );
    let ran = scene
        .home
        .program(&find("unshare").unwrap(), ["-m", "sh", "-c", &script])
        .env("L", env!("CARGO_BIN_EXE_lazaret"))
        .run()
        .ok();
    let ran = ran
        .complains("no space left on device")
        .complains("the lock is as it was");
    let ran = ran.says("code 125\nbefore\nfill\nx.lock\n");
    ran.says("updated");
}
