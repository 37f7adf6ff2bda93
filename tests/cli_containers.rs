//! ps, rm and inspect of containers: names, states, what keeps running and what is left.

mod support;

use serde_json::Value;
use support::{Home, Image, Ran, Running, list, need};

fn run(home: &Home, line: &[&str]) -> Ran {
    home.lazaret(line).run()
}

/// Starts a container that waits for signals, and waits until it does.
fn sleeping(home: &Home, image: &str, name: &str, rm: bool) -> Running {
    let mut line = vec!["run", "--name", name];
    if rm {
        line.push("--rm");
    }
    line.extend([image, "all", "echo", "up", ",", "sleep", "60"]);
    let running = home.lazaret(line).spawn();
    running.until_out("up\n");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let filter = format!("name={name}");
    while run(home, &["ps", "-q", "-f", &filter])
        .ok()
        .stdout
        .is_empty()
    {
        assert!(std::time::Instant::now() < until, "{name} never ran");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running
}

#[test]
fn from_run_to_rm() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &["run", "--name", "job", &image, "exit", "7"]).exits(7);
    run(&home, &["ps"]).ok().does_not_say("job");
    run(&home, &["ps", "-a"])
        .ok()
        .says("job")
        .says("Exited (7)");
    let format = [
        "ps",
        "-a",
        "--format",
        "{{.Names}} {{.State}} {{.Networks}}",
    ];
    run(&home, &format).ok().prints("job exited none\n");
    run(&home, &["ps", "-q", "-f", "exited=7"]).ok().says("\n");
    run(&home, &["ps", "-q", "-f", "exited=8"]).ok().prints("");
    run(&home, &["ps", "-aq", "-f", "ancestor=nosuch"])
        .ok()
        .prints("");
    let value: Value =
        serde_json::from_slice(&run(&home, &["inspect", "job"]).ok().stdout).unwrap();
    assert_eq!(value[0]["State"]["ExitCode"], 7);
    assert_eq!(value[0]["Name"], "/job");
    assert_eq!(value[0]["HostConfig"]["NetworkMode"], "none");

    // A name is taken until its container is removed.
    run(&home, &["run", "--name", "job", &image, "true"])
        .exits(125)
        .complains("the name \"job\" is taken")
        .complains("lazaret rm job");
    run(&home, &["run", "--rm", "--name", "job", &image, "true"]).exits(125);
    run(&home, &["rmi", &image])
        .exits(125)
        .complains("the stopped container job uses it");
    run(&home, &["system", "df"])
        .ok()
        .says("Containers        1         0");

    let id = run(&home, &["ps", "-aq", "--no-trunc"])
        .ok()
        .out()
        .trim()
        .to_owned();
    assert_eq!(id.len(), 64);
    run(&home, &["container", "rm", &id[..5], "nosuch"])
        .exits(125)
        .prints(&format!("{}\n", &id[..5]))
        .complains("rm nosuch: there is no container");
    run(&home, &["ps", "-aq"]).ok().prints("");
    // docker's -f does not mind what is gone.
    run(&home, &["rm", "-f", "nosuch"])
        .ok()
        .complains("there is no container");
    run(&home, &["rmi", &image]).ok();
    assert_eq!(list(&home.store().join("containers")), [""; 0]);
    home.clean();
}

#[test]
fn of_a_run_that_executed_nothing_nothing_is_left() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for (line, code) in [
        (
            &["run", "--name", "job", &image, "no-such-command"][..],
            127,
        ),
        (&["run", "--name", "job", &image, "/etc/passwd"], 126),
        (
            &[
                "run",
                "--name",
                "job",
                "-u",
                "nobody-of-that-name",
                &image,
                "true",
            ],
            125,
        ),
        (
            &["run", "--name", "job", "-w", "/etc/passwd", &image, "true"],
            125,
        ),
    ] {
        run(&home, line).exits(code);
        run(&home, &["ps", "-aq"]).ok().prints("");
        assert_eq!(list(&home.store().join("containers")), [""; 0], "{line:?}");
    }
    // What ran is there to be looked at, however it ended.
    run(&home, &["run", "--name", "job", &image, "exit", "126"]).exits(126);
    run(&home, &["ps", "-aq"]).ok().says("\n");
    home.clean();
}

#[test]
fn what_is_written_goes_with_rm() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    run(
        &home,
        &[
            "run",
            "--name",
            "writer",
            "-w",
            "/new/folder",
            &image,
            "true",
        ],
    )
    .ok();
    run(&home, &["rm", "writer"]).ok().prints("writer\n");
    assert_eq!(list(&home.store().join("containers")), [""; 0]);
    // And without rm nothing is left of an ephemeral one, whatever its end.
    for command in [&["exit", "3"][..], &["nosuch"]] {
        let mut line = vec!["run", "--rm", image.as_str()];
        line.extend(command);
        run(&home, &line);
        assert_eq!(list(&home.store().join("containers")), [""; 0]);
    }
    home.clean();
}

#[test]
fn a_running_one_is_removed_only_by_force() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for rm in [false, true] {
        let running = sleeping(&home, &image, "web", rm);
        run(&home, &["ps"]).ok().says("web").says("Up ");
        run(
            &home,
            &[
                "inspect",
                "-f",
                "{{.State.Status}} {{.State.Running}}",
                "web",
            ],
        )
        .ok()
        .prints("running true\n");
        run(&home, &["rm", "web"])
            .exits(125)
            .complains("the container is running")
            .complains("lazaret rm -f web");
        run(&home, &["rmi", "-f", &image])
            .exits(125)
            .complains("web uses it");
        run(&home, &["rm", "-f", "web"]).ok().prints("web\n");
        running.wait().exits(137);
        run(&home, &["ps", "-aq"]).ok().prints("");
        assert_eq!(list(&home.store().join("containers")), [""; 0]);
    }
    home.clean();
}

/// Removed while its layers are still being checked, it dies of that, and not of its layers.
#[test]
fn one_that_is_starting_is_removed_without_an_accusation() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &["run", "--rm", &image, "true"]).ok();
    for _ in 0..10 {
        let starting = home
            .lazaret([
                "run", "--name", "web", "--verify", "full", &image, "sleep", "60",
            ])
            .spawn();
        while run(&home, &["ps", "-q"]).ok().stdout.is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        run(&home, &["rm", "-f", "web"]).ok();
        let ran = starting.wait();
        assert!(!ran.err().contains("not what was unpacked"), "{ran}");
        assert!(matches!(ran.code, Some(125 | 137)), "{ran}");
    }
    home.clean();
}

#[test]
fn a_killed_supervisor_leaves_nothing_running_and_a_record_that_says_so() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    for (name, rm) in [("kept", false), ("gone", true)] {
        let running = sleeping(&home, &image, name, rm);
        running.signal(rustix::process::Signal::KILL);
        let ran = running.wait();
        assert_eq!(ran.signal, Some(9), "{ran}");
    }
    let format = ["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}"];
    run(&home, &format).ok().prints("kept dead Dead\n");
    run(&home, &["ps", "-q", "--filter", "status=dead"])
        .ok()
        .says("\n");
    run(&home, &["ps", "-q", "--filter", "status=exited"])
        .ok()
        .prints("");
    run(&home, &["rm", "kept"]).ok();
    assert_eq!(list(&home.store().join("containers")), [""; 0]);
}

#[test]
fn many_at_once() {
    need!("userns", "landlock", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    // Nothing is unpacked yet: they meet at the layer, and at the names.
    let started: Vec<_> = (0..6)
        .map(|n| {
            let name = format!("n{}", n % 3);
            home.lazaret(["run", "--name", &name, &image, "exit", "4"])
                .spawn()
        })
        .collect();
    let codes: Vec<_> = started.into_iter().map(|r| r.wait().code).collect();
    let ran = codes.iter().filter(|code| **code == Some(4)).count();
    let taken = codes.iter().filter(|code| **code == Some(125)).count();
    assert_eq!((ran, taken), (3, 3), "{codes:?}");
    let names = run(&home, &["ps", "-a", "--format", "{{.Names}}"])
        .ok()
        .out();
    let mut names: Vec<_> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["n0", "n1", "n2"]);
    run(&home, &["rm", "n0", "n1", "n2"])
        .ok()
        .prints("n0\nn1\nn2\n");
    home.clean();
}

#[test]
fn labels_are_the_images_and_what_was_asked() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox()
        .set(
            "Labels",
            serde_json::json!({"from": "image", "both": "image"}),
        )
        .layout(&home, "img");
    let flags = [
        "-l",
        "both=flag",
        "--label",
        "bare",
        "--label=x=a=b",
        "-l",
        "both=last",
    ];
    let line = [&["run", "--name", "one"], &flags[..], &[&image, "true"]].concat();
    run(&home, &line).ok();
    run(&home, &["run", "--name", "other", "--init", &image, "true"]).ok();
    run(
        &home,
        &["inspect", "--format", "{{json .Config.Labels}}", "one"],
    )
    .ok()
    .prints("{\"bare\":\"\",\"both\":\"last\",\"from\":\"image\",\"x\":\"a=b\"}\n");
    let found = |filters: &[&str]| {
        let filters = filters.iter().flat_map(|filter| ["-f", filter]);
        let line: Vec<&str> = ["ps", "-a", "--format", "{{.Names}}"]
            .into_iter()
            .chain(filters)
            .collect();
        run(&home, &line).ok().out()
    };
    assert_eq!(found(&["label=both=last"]), "one\n");
    assert_eq!(found(&["label=bare"]), "one\n");
    assert_eq!(found(&["label=from=image"]).lines().count(), 2);
    assert_eq!(found(&["label=from=image", "label=x=a=b"]), "one\n");
    assert_eq!(found(&["label=both=other"]), "");
    run(
        &home,
        &["ps", "-a", "-f", "label=bare", "--format", "{{.Labels}}"],
    )
    .ok()
    .prints("bare=,both=last,from=image,x=a=b\n");
    run(&home, &["run", "-l", "=x", &image, "true"])
        .exits(125)
        .complains("has no key");
}

#[test]
fn the_id_is_written_where_it_was_asked_for() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let id = home.path("id");
    run(
        &home,
        &[
            "run",
            "--cidfile",
            "id",
            "--name",
            "one",
            &image,
            "exit",
            "3",
        ],
    )
    .exits(3);
    let written = std::fs::read_to_string(&id).unwrap();
    run(&home, &["inspect", "--format", "{{.Id}}", "one"])
        .ok()
        .prints(&format!("{written}\n"));
    // What is there is another container's, be it a link to nowhere.
    run(&home, &["run", "--rm", "--cidfile", "id", &image, "true"])
        .exits(125)
        .complains("--cidfile \"id\" is there already");
    assert_eq!(std::fs::read_to_string(&id).unwrap(), written);
    std::os::unix::fs::symlink("nowhere", home.path("link")).unwrap();
    run(&home, &["run", "--rm", "--cidfile", "link", &image, "true"]).exits(125);
    // Without a container there is no file.
    std::fs::remove_file(&id).unwrap();
    for line in [
        &["run", "--cidfile", "id", "--name", "one", &image, "true"][..],
        &["run", "--cidfile", "id", &image, "nowhere"],
        &["run", "--cidfile", "id", "--dry-run", &image, "true"],
        &["run", "--cidfile", "id", "-v", "/etc:/x", &image, "true"],
    ] {
        run(&home, line);
        assert!(!id.exists() && !home.path("nowhere").exists(), "{line:?}");
    }
    run(
        &home,
        &["run", "--rm", "--cidfile", "none/id", &image, "true"],
    )
    .exits(125)
    .complains("no such file or directory");
    home.clean();
}
