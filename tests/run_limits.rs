//! `lazaret run`: memory, processor time, output and disk are held, whoever holds them here.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::time::{Duration, Instant};
use support::{Entry, Home, Image, Layer, Pty, Ran, need};

/// An image with `greedy` and `fill` in `/`.
fn image(home: &Home) -> String {
    let mut entries: Vec<Entry> = ["dev", "etc", "proc", "sys"].map(Entry::dir).into();
    entries.push(Entry::dir("tmp").mode(0o1777));
    for name in ["greedy", "fill"] {
        let bytes = std::fs::read(support::program(&format!("hostile/{name}"))).unwrap();
        entries.push(Entry::file(name, bytes).mode(0o755));
    }
    Image::new([Layer::of(&entries)]).layout(home, "greedy")
}

/// `run OPTIONS IMAGE /greedy WAY...`
fn greedy(home: &Home, image: &str, options: &[&str], way: &[&str]) -> Ran {
    let mut args = vec!["run"];
    args.extend_from_slice(options);
    args.extend_from_slice(&[image, "/greedy"]);
    args.extend_from_slice(way);
    home.lazaret(args).run()
}

#[test]
fn memory_is_held_however_it_is_taken() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let said = "lazaret: the memory limit of 48 MiB was crossed: killed";
    for way in [
        &["malloc"][..],
        &["shared"],
        &["memfd"],
        &["descriptors"],
        &["segment"],
        &["tables"],
        &["file", "/in-the-root"],
        &["file", "/dev/shm/x"],
        &["file", "/more/x"],
        &["forks"],
        &["orphan"],
    ] {
        let options = ["--rm", "-m", "48m", "--tmpfs", "/more:size=500m"];
        let ran = greedy(&home, &image, &options, way).exits(137);
        assert!(ran.err().contains(said), "{ran}");
        assert!(!ran.out().contains("ESCAPED"), "{ran}");
    }
    // One that is kept has its layer on disk, and its memory all the same.
    greedy(&home, &image, &["-m", "48m"], &["malloc"])
        .exits(137)
        .complains(said);
}

/// What a process says of itself before it says what it holds is as long as it likes.
#[test]
fn memory_is_held_behind_many_groups() {
    need!("userns", "overlay", "subuids");
    let home = Home::new();
    let image = image(&home);
    let options = ["--rm", "-m", "48m", "--profile", "compat"];
    let ran = greedy(&home, &image, &options, &["groups"]).exits(137);
    assert!(!ran.out().contains("ESCAPED"), "{ran}");
    assert!(ran.err().contains("the memory limit of 48 MiB was crossed"));
}

#[test]
fn memory_that_processes_share_counts_once() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    for way in ["together", "mapped", "attached"] {
        let ran = greedy(&home, &image, &["--rm", "-m", "40m"], &[way]);
        assert_eq!(ran.ok().out(), "held\n");
    }
}

#[test]
fn a_rule_holds_memory_as_a_flag_does() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    home.policy(
        "[[give]]\nlimits = { memory = \"40MiB\", output = \"100KiB\" }\n\
         reason = \"r\"\n[[require]]\nlimits = [\"memory\", \"output\"]\nreason = \"r\"\n\
         [[deny]]\nlimits = { memory = \"41MiB\" }\nreason = \"r\"\n",
    );
    greedy(&home, &image, &["--rm"], &["malloc"])
        .exits(137)
        .complains("the memory limit of 40 MiB was crossed");
    greedy(&home, &image, &["--rm", "-m", "42m"], &["malloc"])
        .exits(125)
        .complains("deny limits = { memory = \"41MiB\" }");
    greedy(&home, &image, &["--rm"], &["flood"])
        .exits(137)
        .complains("the output limit of 100 KiB was crossed");
}

#[test]
fn processor_time_is_held_however_it_is_hidden() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    for way in ["spin", "threads", "daemons", "naps", "unwaited"] {
        let ran = greedy(&home, &image, &["--rm", "--cpu-time", "300ms"], &[way]).exits(137);
        let said = "lazaret: the limit of 300ms of processor time was crossed: killed";
        assert!(ran.err().contains(said), "{way}: {ran}");
        assert!(!ran.out().contains("ESCAPED"), "{ran}");
    }
}

/// Who takes less than the bound ends as it would without one; what lazaret itself takes to start it
/// does not count.
#[test]
fn processor_time_within_the_bound_is_nobodys_business() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    for n in 0..3 {
        let ran = greedy(&home, &image, &["--rm", "--cpu-time", "300ms"], &["little"]);
        assert_eq!(ran.ok().out(), "held\n", "{n}");
    }
}

#[test]
fn output_is_held_to_the_byte() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let options = ["--rm", "--output-limit", "100k"];
    let ran = greedy(&home, &image, &options, &["flood"]).exits(137);
    let own = b"lazaret: the output limit of 100 KiB was crossed: killed\n";
    let said = ran
        .stderr
        .strip_suffix(own)
        .unwrap_or_else(|| panic!("{ran}"));
    // Behind the lines that lazaret said before the command ran.
    let said = said.rsplit(|b| *b == b'\n').next().unwrap();
    assert!(said.iter().chain(&ran.stdout).all(|b| *b == b'x'));
    assert_eq!(ran.stdout.len() + said.len(), 100 << 10);
    // A file and a terminal are written to in other ways than a pipe.
    let file = home.path("out");
    let ran = home
        .program(
            std::path::Path::new("/bin/sh"),
            [
                "-c",
                "\"$0\" run --rm --output-limit 100k \"$1\" /greedy flood >out 2>/dev/null",
                env!("CARGO_BIN_EXE_lazaret"),
                &image,
            ],
        )
        .run();
    ran.exits(137);
    let written = std::fs::read(&file).unwrap();
    assert!(
        !written.is_empty() && written.len() <= 100 << 10,
        "{}",
        written.len()
    );
    assert!(written.iter().all(|b| *b == b'x'));
    let mut pty = Pty::new();
    let running = home
        .lazaret([
            "run",
            "--rm",
            "-it",
            "--output-limit",
            "100k",
            &image,
            "/greedy",
            "flood",
        ])
        .on_terminal(&pty.inner);
    pty.until("the output limit of 100 KiB was crossed: killed");
    running.wait().exits(137);
}

#[test]
fn output_within_the_bound_arrives_whole() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let options = ["run", "--rm", "--output-limit", "300000"];
    let ran = home
        .lazaret(options.into_iter().chain([
            image.as_str(),
            "toolbox",
            "all",
            "write",
            "200000",
            ",",
            "write",
            "100000",
            "2",
        ]))
        .run()
        .ok();
    assert_eq!(ran.stdout.len(), 200_000);
    let one_less = ["run", "--rm", "--output-limit", "199999"];
    let ran = home
        .lazaret(
            one_less
                .into_iter()
                .chain([image.as_str(), "toolbox", "write", "200000"]),
        )
        .run()
        .exits(137);
    assert_eq!(ran.stdout.len(), 199_999);
}

#[test]
fn a_disk_in_memory_has_its_size_and_one_on_disk_none() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let fill = |options: &[&str]| {
        let mut args = vec!["run"];
        args.extend_from_slice(options);
        args.extend_from_slice(&[&image, "/fill", "/", "8", "40000"]);
        home.lazaret(args).run()
    };
    let ran = fill(&["--rm", "--disk", "4m"]).ok();
    assert_eq!(ran.out(), "held\n");
    fill(&["--disk", "4m"])
        .exits(125)
        .complains("--disk 4MiB")
        .complains("--rm keeps it in memory");
    // Without the flag there is room for more than that.
    fill(&["--rm"]).exits(1).says("ESCAPED: 8 MiB written");
}

#[test]
fn what_a_limit_cannot_be_is_refused() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    for (options, why) in [
        (&["-m", "0"][..], "--memory \"0\" is nothing at all"),
        (&["-m", "1m"], "is too little"),
        (&["-m", "64"], "is too little"),
        (&["--memory-swap", "1g"], "without --memory"),
        (&["-m", "64m", "--memory-swap", "32m"], "less than --memory"),
        (&["--cpus", "0"], "no number of processors"),
        (&["--cpu-time", "0"], "no time at all"),
        (&["--output-limit", "x"], "is no size"),
        (&["-m", "64g"], "limits = { memory = "),
    ] {
        greedy(&home, &image, options, &["little"])
            .exits(125)
            .complains(why);
    }
}

/// The programs are what they seem: where nothing bounds them, nothing stops them.
#[test]
fn without_a_bound_all_of_that_can_be_had() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    for way in [
        &["malloc"][..],
        &["shared"],
        &["memfd"],
        &["file", "/dev/shm/x"],
        &["forks"],
        &["orphan"],
        &["spin"],
        &["threads"],
        &["daemons"],
        &["naps"],
        &["unwaited"],
    ] {
        let options = ["--rm", "-m", "2g", "-e", "PATIENCE=1"];
        let ran = greedy(&home, &image, &options, way).exits(1);
        assert!(ran.out().contains("ESCAPED"), "{way:?}: {ran}");
    }
}

/// A look is never far: what crosses the bound and then sleeps is not there for long.
#[test]
fn who_crosses_the_bound_is_killed_at_once() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let begun = Instant::now();
    greedy(&home, &image, &["--rm", "-m", "48m"], &["malloc"]).exits(137);
    // It would sleep for twenty seconds; a busy machine takes its time too.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

/// Where root can make a cgroup (also one without controllers), it counts the time, nothing of it is
/// left, and what a killed supervisor left is taken away by the next.
#[test]
fn a_cgroup_goes_with_its_cell() {
    need!("userns", "overlay", "root", "cgroup2");
    let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|m| std::path::Path::new(m).join("cgroup.procs").exists())
        .unwrap();
    let ours = || {
        let names = support::list(std::path::Path::new(mount)).into_iter();
        names
            .filter(|n| n.starts_with("lazaret-cell-"))
            .collect::<Vec<_>>()
    };
    let home = Home::new();
    let image = image(&home);
    let left = format!("{mount}/lazaret-cell-4194999");
    std::fs::create_dir(&left).unwrap();
    let shown = home
        .lazaret(["run", "--dry-run", "--cpu-time", "300ms", &image, "/greedy"])
        .run()
        .ok();
    assert!(shown.out().contains("make a cgroup in"), "{shown}");
    greedy(
        &home,
        &image,
        &["--rm", "--cpu-time", "300ms"],
        &["daemons"],
    )
    .exits(137);
    assert!(!ours().contains(&"lazaret-cell-4194999".to_owned()));
    // Its own name is all that is seen of it.
    let toolbox = Image::toolbox().layout(&home, "toolbox");
    let ran = home
        .lazaret([
            "run",
            "--rm",
            "--cpu-time",
            "9s",
            &toolbox,
            "cat",
            "/proc/self/cgroup",
        ])
        .run()
        .ok();
    assert!(ran.out().contains("0::/\n"), "{ran}");
}
