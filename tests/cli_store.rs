//! load, images, inspect, verify, rmi and system df, as a user of docker would use them.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::{Entry, Home, Image, Ran, need};

fn run(home: &Home, line: &[&str]) -> Ran {
    home.lazaret(line).run()
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{ran}"))
}

/// An image that nobody else's test has the layers of.
fn image(word: &str, created: &str) -> Image {
    let created = format!(r#"{{"created":"{created}","#);
    Image::toolbox()
        .with(&[Entry::file("word", word)])
        .set("Labels", json!({"word": word}))
        .set("Entrypoint", json!(["/bin/echo"]))
        .edit_config(move |text| text.replacen('{', &created, 1))
}

#[test]
fn an_empty_store() {
    let home = Home::new();
    run(&home, &["images"])
        .ok()
        .does_not_complain()
        .prints("REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
    run(&home, &["image", "ls"]).ok().says("REPOSITORY");
    run(&home, &["images", "-q"]).ok().prints("");
    run(&home, &["images", "--format", "json"]).ok().prints("");
    run(&home, &["ps", "-a"])
        .ok()
        .prints("CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n");
    run(&home, &["container", "ls", "-aq"]).ok().prints("");
    insta::assert_snapshot!(run(&home, &["system", "df"]).ok().out(), @r"
    TYPE              TOTAL     ACTIVE    SIZE      RECLAIMABLE
    Images            0         0         0B        0B
    Unpacked Layers   0         0         0B        0B
    Containers        0         0         0B        0B
    Local Volumes     0         0         0B        0B
    Build Cache       0         0         0B        0B
    ");
    run(&home, &["verify", "--all"])
        .ok()
        .prints("there are no images\n");
    for verb in ["rmi", "rm", "inspect", "verify"] {
        run(&home, &[verb, "nosuch"]).exits(125).complains("nosuch");
    }
    // Looking makes nothing.
    assert!(
        !home.store().exists(),
        "a verb that only looks made a store"
    );
    // A template that can never be filled is a mistake even where there is nothing to fill in.
    run(&home, &["images", "--format", "{{.Nope}}"])
        .exits(125)
        .complains("there is no field \"Nope\"");
}

#[test]
fn running_what_is_not_there_says_how_to_bring_it_in() {
    let home = Home::new();
    let ran = run(&home, &["run", "--rm", "--pull=never", "busybox"]).exits(125);
    insta::assert_snapshot!(ran.err(), @r"
    lazaret: run docker.io/library/busybox:latest: there is no such image in the store, and --pull never fetches none
    hint: lazaret pull busybox:latest
    or load what `docker save` or `podman save` wrote: lazaret load -i FILE
    ");
    std::fs::write(home.path("img.tar"), "").unwrap();
    std::fs::create_dir(home.path("layout")).unwrap();
    run(&home, &["run", "--rm", "--pull=never", "img.tar"])
        .exits(125)
        .complains("docker-archive:img.tar");
    run(&home, &["run", "--rm", "--pull=never", "layout"])
        .exits(125)
        .complains("oci:layout[:TAG]");
}

#[test]
fn loading_naming_listing_and_removing() {
    need!("userns", "landlock");
    let home = Home::new();
    let one = image("one", "2026-01-01T00:00:00Z").layout(&home, "one");
    let two = image("two", "2026-02-01T00:00:00Z").layout(&home, "two");
    run(&home, &["load", &one, "tool:1"])
        .ok()
        .prints("Loaded image: tool:1\n")
        .complains(": Unpacked and verified");
    run(
        &home,
        &["load", "-q", &one, "registry.example:5000/team/tool:1"],
    )
    .ok()
    .does_not_complain()
    .prints("Loaded image: registry.example:5000/team/tool:1\n");
    run(&home, &["image", "load", &two])
        .ok()
        .prints(&format!("Loaded image: {two}\n"));

    // Newest first; the names as docker shows them.
    let names = ["images", "--format", "{{.Repository}} {{.Tag}}"];
    let (place, _) = two.rsplit_once(':').unwrap();
    let listed = run(&home, &names).ok().out();
    let mut lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.remove(0), format!("{place} test"));
    lines.sort_unstable();
    assert_eq!(lines, ["registry.example:5000/team/tool 1", "tool 1"]);
    for (filter, count) in [
        ("reference=tool", 1),
        ("reference=*/*/tool:*", 1),
        ("label=word=two", 1),
        ("label=word", 3),
        ("label=nope", 0),
        ("before=tool:1", 0),
        ("since=tool:1", 1),
        ("dangling=true", 0),
        ("dangling=false", 3),
    ] {
        let ran = run(&home, &["images", "-q", "--filter", filter]).ok();
        assert_eq!(ran.out().lines().count(), count, "{filter}\n{ran}");
    }
    run(&home, &["images", "tool"])
        .ok()
        .says("tool")
        .does_not_say("team");
    run(&home, &["images", "--filter", "before=nosuch"]).exits(125);

    // Inspecting: docker's shape, by name and by a beginning of the id.
    let value = json_of(&run(&home, &["inspect", "tool:1"]).ok());
    assert_eq!(value[0]["Config"]["Entrypoint"], json!(["/bin/echo"]));
    assert_eq!(value[0]["Config"]["Labels"]["word"], "one");
    assert_eq!(value[0]["Created"], "2026-01-01T00:00:00Z");
    assert_eq!(value[0]["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let tags = value[0]["RepoTags"].as_array().unwrap();
    assert_eq!(tags[0], "tool:1");
    assert_eq!(tags.len(), 2);
    let id = value[0]["Id"].as_str().unwrap();
    let short = &id["sha256:".len().."sha256:".len() + 12];
    for name in [id, short, "registry.example:5000/team/tool:1"] {
        let line = ["image", "inspect", "-f", "{{.Id}}", name];
        run(&home, &line).ok().prints(&format!("{id}\n"));
    }
    let digest = &value[0]["RepoDigests"][0];
    let by_digest = [
        "inspect",
        "--format",
        "{{index .RepoTags 0}}",
        digest.as_str().unwrap(),
    ];
    run(&home, &by_digest).ok().prints("tool:1\n");
    // What is found is printed, what is not is told.
    run(&home, &["inspect", "-f", "{{.Os}}", "nosuch", "tool:1"])
        .exits(125)
        .prints("linux\n")
        .complains("inspect nosuch");
    run(&home, &["container", "inspect", "tool:1"])
        .exits(125)
        .complains("no container");

    // Removing: a name at a time, the image with its last one.
    run(&home, &["rmi", short])
        .exits(125)
        .complains("the image has several names");
    run(&home, &["rmi", "tool:1"])
        .ok()
        .prints("Untagged: tool:1\n");
    let ran = run(&home, &["rmi", short, "nosuch"])
        .exits(125)
        .complains("nosuch");
    assert!(
        ran.out()
            .starts_with("Untagged: registry.example:5000/team/tool:1\n"),
        "{ran}"
    );
    assert!(ran.out().contains(&format!("Deleted: {id}\n")), "{ran}");
    run(&home, &["rmi", &two]).ok().says("Deleted: sha256:");
    run(&home, &["images", "-q"]).ok().prints("");
    let usage = run(&home, &["system", "df", "--format", "{{.Size}}"]).ok();
    usage.prints("0B\n0B\n0B\n0B\n0B\n");
    home.clean();
}

#[test]
fn archives_from_files_and_standard_input() {
    need!("userns", "landlock");
    let home = Home::new();
    let made = image("archive", "2026-01-01T00:00:00Z");
    made.docker_archive(&home, "old.tar");
    run(&home, &["load", "-i", "old.tar"])
        .ok()
        .prints("Loaded image: img:test\n");
    run(&home, &["rmi", "-f", "img:test"]).ok();
    let bytes = std::fs::read(home.path("old.tar")).unwrap();
    for line in [&["load"][..], &["load", "-q", "-i", "-"]] {
        home.lazaret(line)
            .stdin(&bytes)
            .run()
            .ok()
            .prints("Loaded image: img:test\n");
    }
    // An OCI archive whose image has a bare tag is named by its file.
    made.archive(&home, "oci.tar");
    run(&home, &["load", "--input", "oci.tar"])
        .ok()
        .says("Loaded image: ")
        .says("oci.tar");
    home.lazaret(["load"])
        .stdin(std::fs::read(home.path("oci.tar")).unwrap())
        .run()
        .exits(125)
        .complains("the archive has no name for the image");

    home.lazaret(["load"])
        .run()
        .exits(125)
        .complains("standard input is empty");
    home.lazaret(["load"]).stdin("no archive").run().exits(125);
    home.lazaret(["load"])
        .stdin(b"\x1f\x8b\x08\0rest")
        .run()
        .exits(125)
        .complains("compressed as a whole")
        .complains("gzip -dc");
    run(&home, &["load", "-i", "absent.tar"])
        .exits(125)
        .complains("absent.tar");
    run(&home, &["load", "-i", "."]).exits(125);
    run(
        &home,
        &["load", "oci:x", &format!("tool@sha256:{}", "0".repeat(64))],
    )
    .exits(125)
    .complains("cannot be given as a name");
    run(&home, &["load", "busybox"])
        .exits(125)
        .complains("is not an image on disk");
    run(
        &home,
        &["load", &format!("oci:{}", home.path("absent").display())],
    )
    .exits(125);
    home.clean();
}

#[test]
fn a_name_that_moves_is_told() {
    need!("userns", "landlock");
    let home = Home::new();
    let one = image("one", "2026-01-01T00:00:00Z").layout(&home, "one");
    let two = image("two", "2026-02-01T00:00:00Z").layout(&home, "two");
    run(&home, &["load", "-q", &one, "tool"])
        .ok()
        .does_not_complain();
    run(&home, &["load", "-q", &one, "tool"])
        .ok()
        .does_not_complain();
    run(&home, &["load", "-q", &two, "tool"])
        .ok()
        .complains("tool:latest meant sha256:")
        .prints("Loaded image: tool:latest\n");
}

#[test]
fn ids_that_begin_alike() {
    need!("userns", "landlock");
    let home = Home::new();
    // Seventeen images: at least two ids begin with the same digit.
    let mut first = std::collections::BTreeMap::<char, u32>::new();
    for n in 0..17 {
        let word = n.to_string();
        let source = Image::new([])
            .set("Labels", json!({"n": word}))
            .layout(&home, &word);
        run(&home, &["load", "-q", &source, &format!("n:{n}")]).ok();
        let id = run(&home, &["images", "-q", &format!("n:{n}")]).ok().out();
        *first.entry(id.chars().next().unwrap()).or_default() += 1;
    }
    let shared = first.iter().find(|(_, count)| **count > 1).unwrap().0;
    for verb in ["inspect", "rmi", "verify"] {
        run(&home, &[verb, &shared.to_string()])
            .exits(125)
            .complains(&format!("several images' ids begin with {shared}"));
    }
}

/// The first file below `dir` whose path ends in `suffix`.
fn find_file(dir: &Path, suffix: &str) -> PathBuf {
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                return path;
            }
        }
    }
    panic!("no {suffix} below {dir:?}");
}

#[test]
fn verify_names_what_differs() {
    need!("userns", "landlock");
    let home = Home::new();
    let source = image("word", "2026-01-01T00:00:00Z").layout(&home, "img");
    run(&home, &["load", "-q", &source, "tool"]).ok();
    run(&home, &["verify", "tool"])
        .ok()
        .says("tool:latest: ok (");
    let value = json_of(&run(&home, &["verify", "--all", "--format", "json"]).ok());
    assert_eq!(value[0]["ok"], true);

    // One byte of an unpacked file, same length: only a hash tells. It may be a subordinate id's,
    // and only root can change that from outside.
    let file = find_file(&home.store().join("layers"), "fs/word");
    if std::fs::write(&file, "wOrd").is_err() {
        need!("root");
    }
    run(&home, &["verify", "tool"])
        .exits(1)
        .says("DIFFERS")
        .says("word");
    std::fs::write(&file, "word").unwrap();
    run(&home, &["verify", "tool"]).ok();

    let value = json_of(&run(&home, &["inspect", "tool"]).ok());
    let digest = value[0]["Layers"][0]["Digest"].as_str().unwrap().to_owned();
    let blob = home
        .store()
        .join("blobs/sha256")
        .join(&digest["sha256:".len()..]);
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let ran = run(&home, &["verify", "tool"]).exits(1);
    assert!(ran.out().contains(&digest), "{ran}");

    // A damaged manifest is named too, though the image cannot be listed any more.
    let manifest = value[0]["Descriptor"]["digest"].as_str().unwrap();
    let blob = home
        .store()
        .join("blobs/sha256")
        .join(&manifest["sha256:".len()..]);
    std::fs::write(blob, "{}").unwrap();
    let ran = run(&home, &["verify", "tool"]).exits(1);
    assert!(ran.out().contains(manifest), "{ran}");
    run(&home, &["verify", "--all"]).exits(1);
    // And it can be taken away.
    run(&home, &["rmi", "tool"])
        .ok()
        .says("Untagged: tool:latest\n");
    run(&home, &["verify", "--all"])
        .ok()
        .prints("there are no images\n");
}

#[test]
fn a_home_that_cannot_be_used() {
    let home = Home::new();
    let line = ["images"];
    let store = |path: &str| home.lazaret(line).env("LAZARET_STORE", path).run();
    // A file where a folder must be; relative; somebody else's; writable for all.
    std::fs::write(home.path("file"), "").unwrap();
    store(&home.path("file").display().to_string())
        .exits(125)
        .complains("hint: set LAZARET_STORE");
    store(&home.path("file/below").display().to_string())
        .exits(125)
        .complains("not a directory");
    store("relative")
        .exits(125)
        .complains("is not an absolute path");
    std::fs::create_dir(home.path("other")).unwrap();
    std::fs::write(home.path("other/thing"), "").unwrap();
    store(&home.path("other").display().to_string())
        .exits(125)
        .complains("holds something that is no lazaret store");
    std::fs::create_dir(home.path("newer")).unwrap();
    std::fs::write(home.path("newer/version"), "9\n").unwrap();
    store(&home.path("newer").display().to_string())
        .exits(125)
        .complains("is a store of version 9");
    need!("not-root");
    home.lazaret(line)
        .env_remove("LAZARET_STORE")
        .env_remove("XDG_DATA_HOME")
        .env_remove("HOME")
        .run()
        .exits(125)
        .complains("nothing says where the store is");
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(home.path("shut")).unwrap();
    std::fs::set_permissions(home.path("shut"), PermissionsExt::from_mode(0o000)).unwrap();
    home.lazaret(line)
        .env_remove("LAZARET_STORE")
        .env_remove("XDG_DATA_HOME")
        .env("HOME", home.path("shut"))
        .run()
        .exits(125)
        .complains("permission denied")
        .complains("hint: set LAZARET_STORE");
    // Where XDG_DATA_HOME says where the store is, that is what must change.
    home.lazaret(line)
        .env_remove("LAZARET_STORE")
        .env("XDG_DATA_HOME", home.path("shut"))
        .run()
        .exits(125)
        .complains("hint: set XDG_DATA_HOME");
}

#[test]
fn doctor_tells_and_its_code_says_whether_cells_run() {
    let home = Home::new();
    let ran = run(&home, &["doctor"]);
    let wide = |line: &&str| line.chars().count() > 60;
    // Only what is to be copied, a word too long for a line, may be wider.
    for line in ran.out().lines().filter(wide) {
        assert!(
            line.starts_with("           ") || !line.trim().contains(' '),
            "{line}"
        );
    }
    assert!(ran.out().contains("no signal gets out"), "{ran}");
    let value = json_of(&run(&home, &["doctor", "--format", "json"]));
    assert_eq!(
        value["well"].as_bool().unwrap(),
        ran.code == Some(0),
        "{ran}"
    );
    assert!(value["lines"].as_array().unwrap().len() > 15);
}
