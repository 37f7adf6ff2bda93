//! What policy says of images: facts by manifest and config before any layer is unpacked, by the
//! tree that a cell sees after; and what a tag may mean.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use lazaret::image::{Digest, Reference};
use lazaret::store::Store;
use serde_json::json;
use support::{Entry, Home, Image, Layer, Ran, need, sha256, walk};

fn requiring(home: &Home, facts: &str) {
    let rule = format!("[[require]]\nreason = \"the lab says so\"\nfacts = {{ {facts} }}\n");
    home.policy(&rule);
}

/// A refusal by that rule: what was found, and which fact.
#[track_caller]
fn refused(ran: Ran, found: &str, fact: &str) {
    let ran = ran.exits(125).complains("refused by policy");
    assert!(words(&ran).contains(found), "wanted {found}\n{ran}");
    ran.complains(&format!("rule    require facts = {{ {fact} }}"))
        .complains("policy.toml:5")
        .complains("the lab says so")
        .complains("your own rule requires it");
}

/// What was said, in one line however it was wrapped.
fn words(ran: &Ran) -> String {
    ran.err().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unpacked(home: &Home) -> Vec<String> {
    walk(&home.store().join("layers"))
}

#[test]
fn what_a_layer_hides_is_not_there() {
    need!("userns", "overlay");
    let home = Home::new();
    let run = |image: &str| home.lazaret(["run", "--rm", image, "true"]).run();
    let power = Image::toolbox().with(&[
        Entry::file("bin/su", "x").mode(0o4755),
        Entry::file("bin/both", "x").mode(0o2755).pax(
            "SCHILY.xattr.security.capability",
            b"\x01\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        Entry::file("etc/open", "x").mode(0o666),
        Entry::dir("srv").mode(0o777),
        Entry::char_device("dev/sda", 8, 0),
    ]);
    let seen = power.layout(&home, "seen");
    let hidden = power
        .with(&[
            Entry::file("bin/.wh.su", ""),
            Entry::file("bin/both", "x").mode(0o755),
            Entry::file("etc/open", "x").mode(0o644),
            Entry::dir("srv"),
            Entry::file("dev/.wh.sda", ""),
        ])
        .layout(&home, "hidden");
    for (fact, found) in [
        ("setuid", "setuid files: \"/bin/both\", \"/bin/su\""),
        ("file_caps", "files with capabilities: \"/bin/both\""),
        ("special", "devices, fifos or sockets: \"/dev/sda\""),
        ("world_writable", "\"/etc/open\", \"/srv\""),
    ] {
        let fact = format!("{fact} = \"none\"");
        requiring(&home, &fact);
        refused(run(&seen), found, &fact);
        run(&hidden).ok();
    }
    home.clean();
}

#[test]
fn paths_are_those_that_a_process_inside_would_reach() {
    need!("userns", "overlay");
    let home = Home::new();
    let run = |image: &str| home.lazaret(["run", "--rm", image, "true"]).run();
    let absent = "absent = [\"/root/.ssh/**\"]";
    requiring(&home, absent);
    let key = [
        Entry::dir("root/.ssh"),
        Entry::file("root/.ssh/id_\u{1b}[31m", "key").mode(0o600),
    ];
    let keys = Image::toolbox().with(&key);
    run(&Image::toolbox().layout(&home, "none")).ok();
    refused(
        run(&keys.layout(&home, "keys")),
        "\"/root/.ssh\", \"/root/.ssh/id_\\u{1b}[31m\"",
        absent,
    );
    let hidden = keys.with(&[Entry::file("root/.wh..wh..opq", "")]);
    run(&hidden.layout(&home, "opaque")).ok();
    // The folder is elsewhere, and a link leads there.
    let linked = Image::toolbox().with(&[
        Entry::file("home/app/.ssh/id", "key").mode(0o600),
        Entry::file(".wh.root", ""),
    ]);
    let linked = linked.with(&[Entry::symlink("root", "home/app")]);
    refused(
        run(&linked.layout(&home, "linked")),
        "\"/home/app/.ssh\", \"/home/app/.ssh/id\"",
        absent,
    );

    let present = "present = [\"/usr/bin/true\"]";
    requiring(&home, present);
    let merged = Image::toolbox().with(&[Entry::symlink("usr", ".")]);
    run(&merged.layout(&home, "usr")).ok();
    refused(
        run(&Image::toolbox().layout(&home, "no-usr")),
        "an image without \"/usr/bin/true\"",
        present,
    );
    let device = Image::toolbox().with(&[Entry::char_device("usr/bin/true", 1, 3)]);
    refused(
        run(&device.layout(&home, "device")),
        "an image without \"/usr/bin/true\"",
        present,
    );
    home.clean();
}

/// Layers that hide each other in all the ways there are: what the facts call present is what a cell
/// finds.
#[test]
fn the_merged_tree_is_the_one_that_a_cell_sees() {
    need!("userns", "overlay");
    let home = Home::new();
    let low = Image::toolbox().with(&[
        Entry::file("a/x", "1"),
        Entry::file("a/y", "1"),
        Entry::file("b", "1"),
        Entry::file("c/old", "1"),
        Entry::file("d/in", "1"),
        Entry::file("f", "1"),
        Entry::file("g/in", "1"),
        Entry::symlink("l", "a"),
        Entry::fifo("p"),
    ]);
    let high = low.clone().with(&[
        Entry::file("a/.wh.y", ""),
        Entry::file("b/n", "1"),
        Entry::file("c/.wh..wh..opq", ""),
        Entry::file("c/new", "1"),
        Entry::file("d", "1"),
        Entry::fifo("f"),
        Entry::fifo("g"),
        Entry::file("l/n", "1"),
        Entry::file("p", "1"),
    ]);
    let again = high.clone().with(&[
        Entry::file("b", "1"),
        Entry::file("d/again", "1"),
        Entry::file("g/more", "1"),
        Entry::file(".wh.a", ""),
    ]);
    // The tools of the test are hidden too, and come anew.
    let mut all_new = vec![Entry::file(".wh..wh..opq", ""), Entry::file("c/new", "1")];
    all_new.extend(Image::toolbox_entries());
    let root = low.clone().with(&all_new);
    let paths = [
        "/a", "/a/x", "/a/y", "/b", "/b/n", "/c/old", "/c/new", "/d", "/d/in", "/d/again", "/f",
        "/g", "/g/in", "/g/more", "/l", "/l/n", "/p", "/nothing",
    ];
    for (n, image) in [low, high, again, root].iter().enumerate() {
        let image = image.layout(&home, &format!("img{n}"));
        requiring(&home, "");
        let ran = home
            .lazaret(["run", "--rm", &image, "stat"].iter().chain(&paths))
            .run();
        let out = ran.out();
        let seen: Vec<&str> = out
            .lines()
            .filter_map(|l| l.split(' ').next_back())
            .collect();
        requiring(&home, &format!("present = {paths:?}"));
        let ran = home.lazaret(["run", "--rm", &image, "true"]).run();
        let said = words(&ran.exits(125));
        let found: Vec<&str> = paths
            .into_iter()
            .filter(|path| !said.contains(&format!("an image without \"{path}\" ")))
            .collect();
        assert_eq!(found, seen, "image {n}");
    }
    home.clean();
}

#[test]
fn what_the_config_says_is_refused_before_a_layer_is_unpacked() {
    let home = Home::new();
    let base = Layer::of(&Image::toolbox_entries());
    let base_id = sha256(&base.tar);
    let image = Image::new([base])
        .set("User", json!("00:app"))
        .set("Labels", json!({"tier": "te\u{202e}st"}))
        .edit_config(|text| text.replacen('{', "{\"created\":\"2020-02-02T00:00:00Z\",", 1))
        .layout(&home, "img");
    let other = sha256(b"");
    let base_is = format!("base = [\"{other}\"]");
    for (fact, found) in [
        ("users = [\"app\"]", "with USER root"),
        ("labels = { \"tier\" = \"prod\" }", "\"te\\u{202e}st\""),
        (
            "labels = { \"owner\" = \"**\" }",
            "without a label \"owner\"",
        ),
        ("max_age = \"30d\"", "made 2020-02-02T00:00:00Z"),
        ("max_layers = 0", "with 1 layers"),
        (&base_is, &base_id),
    ] {
        requiring(&home, fact);
        let ran = home.lazaret(["run", "--rm", &image, "true"]).run();
        refused(ran, found, fact);
        let ran = home.lazaret(["load", &image, "some:name"]).run();
        refused(ran, found, fact);
    }
    assert_eq!(unpacked(&home), [""; 0]);
    // It runs as a user and a group of the image's.
    need!("userns", "overlay", "subuids");
    requiring(
        &home,
        &format!(
            "users = [\"root\"], labels = {{ tier = \"te*\" }}, max_age = \"36500d\", base = [\"{other}\", \"{base_id}\"]"
        ),
    );
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    refused(
        home.lazaret(["run", "--rm", "-u", "app", &image, "true"])
            .run(),
        "-u app",
        "users = [\"root\"]",
    );
    home.clean();
}

#[test]
fn a_list_that_was_changed_is_not_believed() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    requiring(&home, "absent = [\"/secret\"]");
    let run = || home.lazaret(["run", "--rm", &image, "true"]).run();
    run().ok();
    let list = unpacked(&home)
        .into_iter()
        .find(|path| path.ends_with("/list"))
        .unwrap();
    let list = home.store().join("layers").join(list);
    let mut bytes = std::fs::read(&list).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    // The file is a subordinate id's, the folder that it lies in the caller's.
    std::fs::remove_file(&list).unwrap();
    std::fs::write(&list, bytes).unwrap();
    run().exits(125).complains("is not what was recorded");
}

/// An image that is called `docker.io/library/img:test` when it is loaded, and its manifest's digest.
fn tagged(home: &Home, file: &str, content: &str) -> (String, String) {
    let image = Image::toolbox().with(&[Entry::file("content", content)]);
    let archive = image.docker_archive(home, file);
    let probe = Home::new();
    probe.lazaret(["load", &archive]).run().ok();
    let ran = probe
        .lazaret([
            "images",
            "--no-trunc",
            "--digests",
            "--format",
            "{{.Digest}}",
        ])
        .run()
        .ok();
    (archive, ran.out().trim().to_owned())
}

const NAME: &str = "docker.io/library/img:test";

struct Tags(Store, Reference);

impl Tags {
    fn of(home: &Home) -> Self {
        let store = Store::open(&home.store()).unwrap();
        Self(store, Reference::parse(NAME).unwrap())
    }

    fn record(&self, digest: &str) {
        let digest = Digest::parse(digest).unwrap();
        self.0
            .record_seen(&self.1, &digest, &digest, 1_700_000_000)
            .unwrap();
    }

    fn accept(&self, digest: &str) {
        let digest = Digest::parse(digest).unwrap();
        self.0
            .accept_moved(&self.1, &digest, &digest, 1_700_000_000)
            .unwrap();
    }
}

/// The files below `tags`, with their bytes.
fn records(home: &Home) -> Vec<(String, Vec<u8>)> {
    let tags = home.store().join("tags");
    let read = |name: String| {
        let bytes = std::fs::read(tags.join(&name)).unwrap();
        (name, bytes)
    };
    support::list(&tags).into_iter().map(read).collect()
}

#[track_caller]
fn moved(ran: Ran, was: &str, now: &str) {
    let cure = "to accept what it means now\nlazaret pull --accept docker.io/library/img:test";
    of_a_moved_tag(ran, was, now, cure);
}

/// What the registry means by the name is not what lies in the archive.
#[track_caller]
fn not_loaded(ran: Ran, was: &str, now: &str) {
    let cure = "bring it in under another name: lazaret load SOURCE NAME";
    of_a_moved_tag(ran, was, now, cure);
}

#[track_caller]
fn of_a_moved_tag(ran: Ran, was: &str, now: &str, cure: &str) {
    let ran = ran
        .exits(125)
        .complains("refused by policy")
        .complains("rule    trust image = [\"**\"], accept = \"tofu\"")
        .complains("strict.toml:14 (built in)")
        .complains(cure);
    assert!(
        words(&ran).contains(&format!(
            "{NAME}: was {was}, first seen 2023-11-14T22:13:20Z, last seen 2023-11-14T22:13:20Z; \
             now {now}"
        )),
        "{ran}"
    );
}

#[test]
fn a_moved_tag_is_refused_until_it_is_accepted() {
    need!("userns", "overlay");
    let home = Home::new();
    let (archive, old) = tagged(&home, "old.tar", "old");
    let (newer, new) = tagged(&home, "new.tar", "new");
    let load = |archive: &str| home.lazaret(["load", archive]).run();
    let run = || home.lazaret(["run", "--rm", NAME, "cat", "/content"]).run();
    // Nobody asked a registry: an archive says itself what it is, and writes no record.
    load(&archive).ok();
    run().ok().prints("old");
    assert!(!home.store().join("tags").exists());

    let tags = Tags::of(&home);
    tags.record(&old);
    let before = records(&home);
    run().ok();
    not_loaded(load(&newer), &old, &new);
    // The image of the store is what it was.
    run().ok().prints("old");
    let beside = home.lazaret(["load", &newer, "beside:1"]).run();
    beside.ok().says("Loaded image: beside:1");
    home.lazaret(["tag", "beside:1", NAME])
        .run()
        .exits(125)
        .complains("give it another name, or another tag");
    home.lazaret(["rmi", "beside:1"]).run().ok();
    home.lazaret(["rmi", NAME]).run().ok();
    not_loaded(load(&newer), &old, &new);
    load(&archive).ok();
    home.lazaret(["verify", NAME]).run().ok();
    run().ok();
    assert_eq!(records(&home), before, "only a pull writes records");

    tags.accept(&new);
    moved(run(), &new, &old);
    load(&newer).ok();
    run().ok().prints("new");
    // By its digest an image is what it says; the tag's record has no word in it.
    tags.accept(&old);
    moved(run(), &old, &new);
    let pinned = format!("docker.io/library/img@{new}");
    let by_digest = |name: &str| home.lazaret(["run", "--rm", name, "true"]).run();
    by_digest(&pinned).ok();
    by_digest(&format!("{NAME}@{new}")).ok();
    // Who takes any takes it.
    home.policy("[[trust]]\nimage = \"docker.io/library/img\"\naccept = \"any\"\nreason = \"a scratch registry\"\n",
    );
    run().ok();
    home.clean();
}

#[test]
fn a_pinned_image_is_named_by_its_digest() {
    need!("userns", "overlay");
    let home = Home::new();
    let (archive, digest) = tagged(&home, "img.tar", "x");
    home.lazaret(["load", &archive]).run().ok();
    home.policy(
        "[[trust]]\nimage = \"**\"\naccept = \"pinned\"\nreason = \"results can be repeated\"\n",
    );
    let cure = format!("{NAME}@{digest}");
    let ran = home.lazaret(["run", "--rm", NAME, "true"]).run();
    ran.exits(125)
        .complains("docker.io/library/img:test without a digest")
        .complains("rule    trust image = [\"**\"], accept = \"pinned\"")
        .complains("policy.toml:3")
        .complains("results can be repeated")
        .complains(&format!("hint: name it by its digest: {cure}"));
    home.lazaret(["run", "--rm", &cure, "true"]).run().ok();
    home.clean();
}

#[test]
fn an_id_gets_around_no_rule() {
    need!("userns", "overlay");
    let home = Home::new();
    let (archive, _) = tagged(&home, "img.tar", "x");
    home.lazaret(["load", &archive]).run().ok();
    let id = home.lazaret(["images", "-q"]).run().ok().out();
    let run = || home.lazaret(["run", "--rm", id.trim(), "true"]).run();
    run().ok();
    // It names one image, as a digest does.
    Tags::of(&home).record(&sha256(b"another"));
    run().ok();
    let trust = |image: &str, accept: &str| {
        home.policy(&format!(
            "[[trust]]\nimage = {image:?}\naccept = {accept:?}\nreason = \"r\"\n"
        ));
    };
    trust("**", "pinned");
    run().ok();
    trust("docker.io/library/img", "reject");
    run().exits(125).complains("accept = \"reject\"");
    let fact = "absent = [\"/content\"]";
    home.policy(&format!(
        "[[require]]\nimage = \"docker.io/library/img\"\nfacts = {{ {fact} }}\nreason = \"r\"\n"
    ));
    run().exits(125).complains(fact);
    home.clean();
}

#[test]
fn a_record_that_is_not_understood_stops_the_run() {
    let home = Home::new();
    let (archive, digest) = tagged(&home, "img.tar", "x");
    let tags = Tags::of(&home);
    tags.record(&digest);
    let (name, bytes) = records(&home).remove(0);
    let file = home.store().join("tags").join(name);
    let text = String::from_utf8(bytes).unwrap();
    for (bad, word) in [
        (String::new(), "is damaged"),
        (
            text.replace("\"version\":1", "\"version\":2"),
            "a newer lazaret's",
        ),
        (text.replace("img:test", "img:rest"), "another name"),
    ] {
        std::fs::write(&file, bad).unwrap();
        home.lazaret(["load", &archive])
            .run()
            .exits(125)
            .complains("what docker.io/library/img:test meant")
            .complains(word);
        assert_eq!(unpacked(&home), [""; 0]);
    }
    std::fs::remove_file(&file).unwrap();
    need!("userns", "overlay");
    home.lazaret(["load", &archive]).run().ok();
    home.clean();
}

/// However a path is spelled, rules speak of where it leads; a name that an image gets when it is
/// loaded hides not where it came from.
#[test]
fn a_place_is_judged_by_where_it_leads() {
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let archive = Image::toolbox().docker_archive(&home, "a.tar");
    std::os::unix::fs::symlink("img", home.path("link")).unwrap();
    let root = home.root().canonicalize().unwrap();
    home.policy(&format!(
            "[[trust]]\nimage = [\"oci:{0}/work/img\", \"docker-archive:{0}/**\"]\naccept = \"reject\"\nreason = \"from nowhere\"\n",
            root.display()
        ),
    );
    let spelled = format!("oci:{}/.//work/../work/img:test", home.root().display());
    for name in [
        image.as_str(),
        "oci:img:test",
        "oci:./img:test",
        "oci:link:test",
        &spelled,
    ] {
        home.lazaret(["run", "--rm", name, "true"])
            .run()
            .exits(125)
            .complains("from nowhere");
        home.lazaret(["load", name, "registry.example/nice:1"])
            .run()
            .exits(125)
            .complains("from nowhere");
    }
    let file = archive.split_once(':').unwrap().1;
    home.lazaret(["load", "-i", file])
        .run()
        .exits(125)
        .complains("from nowhere");
    assert_eq!(unpacked(&home), [""; 0]);
    // One whose path no rule can name.
    std::fs::rename(home.path("img"), home.path("a:b")).unwrap();
    std::fs::remove_file(home.path("link")).unwrap();
    std::os::unix::fs::symlink("a:b", home.path("link")).unwrap();
    home.lazaret(["run", "--rm", "oci:link:test", "true"])
        .run()
        .exits(125)
        .complains("a path with a colon");
}
