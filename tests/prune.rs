//! `container prune`, `image prune`, `system prune`, `images --tree`, `system df -v`, and records of
//! containers that are damaged.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test itself does"
)]

mod support;

use serde_json::json;
use support::{Entry, Home, Image, Ran, list, need};

fn run(home: &Home, line: &[&str]) -> Ran {
    home.lazaret(line).run()
}

/// An image with one layer more than the toolbox, which all share.
fn load(home: &Home, name: &str, created: &str) {
    let created = format!(r#"{{"created":"{created}","#);
    let source = Image::toolbox()
        .with(&[Entry::file("word", name)])
        .set("Labels", json!({"word": name}))
        .edit_config(move |text| text.replacen('{', &created, 1))
        .layout(home, name);
    run(home, &["load", "-q", &source, name]).ok();
}

fn names(home: &Home) -> String {
    let ran = run(home, &["images", "--format", "{{.Repository}}"]).ok();
    let mut names: Vec<_> = ran.out().lines().map(str::to_owned).collect();
    names.sort();
    names.join(" ")
}

fn ids(home: &Home) -> String {
    run(home, &["ps", "-aq", "--no-trunc"]).ok().out()
}

#[test]
fn prune_asks_and_does_as_docker() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    // Where there is nothing, nothing is made.
    run(&home, &["system", "prune", "-f"])
        .ok()
        .prints("Total reclaimed space: 0B\n");
    assert!(!home.store().exists());
    load(&home, "used", "2026-01-01T00:00:00Z");
    load(&home, "old", "2020-01-01T00:00:00Z");
    load(&home, "new", "2026-01-01T00:00:00Z");
    run(
        &home,
        &[
            "run", "--name", "kept", "used", "toolbox", "fill", "/f", "5000",
        ],
    )
    .ok();
    let id = ids(&home);

    // Nobody there to say yes, no, and something else: nothing goes, and that is no failure.
    let question = "WARNING! This will remove all stopped containers.\n\
                    Are you sure you want to continue? [y/N] ";
    for answer in ["", "n\n", "yes\n", "\n"] {
        let ran = home.lazaret(["container", "prune"]).stdin(answer).run();
        ran.ok().does_not_complain().prints(question);
    }
    // Without an input at all.
    run(&home, &["container", "prune"]).ok().prints(question);
    assert_eq!(ids(&home), id);

    // Labels of containers.
    let labelled = ["run", "--name", "mark", "--label", "mark=1", "used", "true"];
    run(&home, &labelled).ok();
    run(
        &home,
        &["container", "prune", "-f", "--filter", "label=mark=2"],
    )
    .ok()
    .prints("Total reclaimed space: 0B\n");
    run(
        &home,
        &["container", "prune", "-f", "--filter", "label=mark"],
    )
    .ok()
    .says("Deleted Containers:\n");
    assert_eq!(ids(&home), id);

    // What filters leave, and what is in use.
    run(
        &home,
        &["container", "prune", "-f", "--filter", "until=24h"],
    )
    .ok()
    .prints("Total reclaimed space: 0B\n");
    run(&home, &["container", "prune", "-f", "--filter", "label=x"])
        .ok()
        .prints("Total reclaimed space: 0B\n");
    let ran = run(
        &home,
        &["image", "prune", "-af", "--filter", "until=2021-01-01"],
    )
    .ok();
    assert!(
        ran.out()
            .starts_with("Deleted Images:\nuntagged: old:latest\n"),
        "{ran}"
    );
    assert_eq!(names(&home), "new used");
    run(&home, &["image", "prune", "-f"])
        .ok()
        .prints("Total reclaimed space: 0B\n");
    let keep = ["image", "prune", "-af", "--filter", "label!=word=new"];
    run(&home, &keep).ok();
    assert_eq!(names(&home), "new used");
    let ran = home
        .lazaret(["image", "prune", "-a"])
        .stdin(" Y\n")
        .run()
        .ok();
    assert!(
        ran.out().contains("without at least one container"),
        "{ran}"
    );
    assert!(
        ran.out().contains("untagged: new:latest\ndeleted: sha256:"),
        "{ran}"
    );
    assert_eq!(names(&home), "used");

    // The container with its bytes, then its image.
    let ran = home
        .lazaret(["system", "prune", "-a"])
        .stdin("y\n")
        .run()
        .ok();
    let text = ran.out();
    assert!(text.contains("  - all stopped containers\n"), "{ran}");
    assert!(
        text.contains(&format!("Deleted Containers:\n{id}\n")),
        "{ran}"
    );
    assert!(text.contains("untagged: used:latest\n"), "{ran}");
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("Total reclaimed space: ") && !last.ends_with(" 0B"),
        "{ran}"
    );
    assert_eq!(list(&home.store().join("containers")), [""; 0]);
    assert_eq!(list(&home.store().join("blobs/sha256")), [""; 0]);
    run(&home, &["system", "prune", "--volumes"])
        .exits(125)
        .complains("--volumes is not built yet");
    for filter in ["until=soon", "until", "size=1"] {
        run(&home, &["image", "prune", "-f", "--filter", filter])
            .exits(125)
            .complains(filter);
    }
    home.clean();
}

/// A blob that no name refers to is what docker calls dangling.
#[test]
fn what_no_name_refers_to_goes_unless_a_container_needs_it() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    load(&home, "a", "2026-01-01T00:00:00Z");
    run(&home, &["run", "--name", "kept", "a", "true"]).ok();
    let blobs = || list(&home.store().join("blobs/sha256")).len();
    let before = blobs();
    // The name means another image from now on.
    let other = Image::toolbox().with(&[Entry::file("word", "other")]);
    let other = other.layout(&home, "other");
    run(&home, &["load", "-q", &other, "a"]).ok();
    assert!(blobs() > before);
    run(&home, &["image", "prune", "-f"]).ok().says("space: 0B");
    run(&home, &["rm", "kept"]).ok();
    run(&home, &["image", "prune", "-f", "--filter", "label=x"])
        .ok()
        .complains("stays, because a filter is given")
        .says("space: 0B");
    run(&home, &["image", "prune", "-f"])
        .ok()
        .says("Deleted Images:\ndeleted: sha256:")
        .does_not_say("space: 0B");
    assert_eq!(blobs(), before);
    run(&home, &["run", "--rm", "a", "true"]).ok();
}

#[test]
fn shared_layers_are_told() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    load(&home, "one", "2026-01-01T00:00:00Z");
    load(&home, "two", "2026-02-01T00:00:00Z");
    let ran = run(&home, &["images", "--tree"]).ok();
    let text = ran.out();
    assert_eq!(text.matches("also in one:latest\n").count(), 1, "{ran}");
    assert_eq!(text.matches("also in two:latest\n").count(), 1, "{ran}");
    assert!(
        text.contains("2 images, 3 layers, 1 of them shared: "),
        "{ran}"
    );
    assert!(text.contains("shared, 3B its own\n"), "{ran}");
    assert!(text.lines().all(|l| l.chars().count() <= 60), "{ran}");
    // What is left out of the list still shares.
    run(&home, &["images", "--tree", "one"])
        .ok()
        .says("also in two:latest")
        .does_not_say("\ntwo:latest");
    run(&home, &["images", "--tree", "-q"]).exits(125);

    run(
        &home,
        &[
            "run", "--name", "job", "two", "toolbox", "fill", "/f", "5000",
        ],
    )
    .ok();
    let ran = run(&home, &["system", "df", "-v"]).ok();
    let text = ran.out();
    let line = |word: &str| -> Vec<String> {
        let line = text.lines().find(|l| l.contains(word)).unwrap_or_default();
        line.split("  ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (one, two) = (line("one  "), line("two  "));
    assert_eq!(one.len(), 8, "{ran}");
    assert_eq!(
        (&one[5], &one[6][..], &one[7][..]),
        (&two[5], "3B", "0"),
        "{ran}"
    );
    assert_eq!(&two[7], "1", "{ran}");
    assert!(line("job")[4].starts_with("5."), "{ran}");
    for title in [
        "Containers space usage:",
        "VOLUME NAME   LINKS     SIZE",
        "Build cache usage: 0B",
    ] {
        assert!(text.contains(title), "{ran}");
    }
    // Of what is not in use all could go: what `two` has alone and what it shares stays.
    let free = run(&home, &["system", "df", "--format", "{{.Reclaimable}}"]).ok();
    assert!(!free.out().starts_with("0B"), "{free}");
    run(&home, &["system", "df", "-v", "--format", "json"]).exits(125);
}

#[test]
fn a_damaged_record_hides_nothing_and_can_be_removed() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &["run", "--name", "sound", &image, "true"]).ok();
    run(
        &home,
        &[
            "run", "--name", "broken", &image, "toolbox", "fill", "/f", "10",
        ],
    )
    .ok();
    let id = run(
        &home,
        &["ps", "-q", "--no-trunc", "-f", "name=broken", "-a"],
    )
    .ok()
    .out();
    let id = id.trim_end();
    let record = home.store().join(format!("containers/{id}.json"));
    std::fs::write(&record, "{").unwrap();
    let note = format!("note: the record of container {}", &id[..12]);

    run(&home, &["ps"])
        .ok()
        .does_not_say(&id[..12])
        .complains(&note);
    let ran = run(&home, &["ps", "-a"]).ok().complains(&note);
    assert!(ran.out().contains("sound"), "{ran}");
    assert!(ran.out().contains("Dead (damaged record)"), "{ran}");
    run(&home, &["ps", "-q", "--no-trunc", "-f", "status=dead"])
        .ok()
        .prints(&format!("{id}\n"));
    for verb in [&["inspect", &id[..12]][..], &["rm", &id[..12]]] {
        run(&home, verb)
            .exits(125)
            .complains(&format!("lazaret rm -f {}", &id[..12]));
    }
    run(&home, &["run", "--name", "third", &image, "true"]).ok();
    run(&home, &["system", "df"]).ok();
    run(&home, &["rm", "-f", &id[..12]])
        .ok()
        .prints(&format!("{}\n", &id[..12]));
    assert!(!record.exists() && !home.store().join("containers").join(id).exists());

    // And among others.
    let id = ids(&home);
    let id = id.lines().next().unwrap();
    std::fs::write(home.store().join(format!("containers/{id}.json")), "").unwrap();
    std::fs::write(home.store().join(format!("containers/{id}.json")), "\0").unwrap();
    run(&home, &["container", "prune", "-f"]).ok().says(id);
    run(&home, &["ps", "-a"]).ok().does_not_complain();
    assert_eq!(list(&home.store().join("containers")), [""; 0]);
}

/// What runs is ended though its record says nothing any more.
#[test]
fn a_running_container_with_a_damaged_record_is_ended() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let running = home
        .lazaret([
            "run", "--name", "job", &image, "all", "echo", "up", ",", "sleep", "60",
        ])
        .spawn();
    running.until_out("up\n");
    let id = ids(&home);
    let id = id.trim_end();
    let record = home.store().join(format!("containers/{id}.json"));
    std::fs::write(&record, "{}").unwrap();
    run(&home, &["ps"]).ok().says("Up (damaged record)");
    run(&home, &["container", "prune", "-f"])
        .ok()
        .prints("Total reclaimed space: 0B\n");
    run(&home, &["rm", "-f", &id[..12]]).ok();
    running.wait();
    assert_eq!(list(&home.store().join("containers")), [""; 0]);
    home.clean();
}
