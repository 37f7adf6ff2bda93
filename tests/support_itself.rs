//! The harness is tested too: a leftover process is found, our tars are what tar(1) reads, a skip
//! is counted.

mod support;

use rustix::process::Signal;
use support::{Entry, Home, Image, Pack, Pty, program, sha256, tar};

#[test]
fn a_process_that_outlives_the_run_fails_the_test() {
    let home = Home::new();
    let toolbox = program("toolbox");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        home.program(&toolbox, ["linger", "60"]).run();
    }));
    let text = found.unwrap_err().downcast::<String>().unwrap();
    assert!(
        text.contains("outlive") && text.contains("linger 60"),
        "{text}"
    );
    home.program(&toolbox, ["exit", "7"]).run().exits(7);
    home.program(&toolbox, ["cat"])
        .stdin("x")
        .run()
        .ok()
        .prints("x");
}

#[test]
fn signals_reach_the_program_and_its_death_is_seen() {
    let home = Home::new();
    let running = home.program(&program("toolbox"), ["signals"]).spawn();
    running.until_out("ready\n");
    running.signal(Signal::USR1);
    running.until_out("got 10\n");
    running.signal(Signal::TERM);
    running.wait().exits(40);
    let ran = home.program(&program("toolbox"), ["kill-self", "9"]).run();
    assert_eq!(ran.signal, Some(9), "{ran}");
}

#[test]
fn a_terminal_can_be_driven() {
    let home = Home::new();
    let mut pty = Pty::new();
    let running = home
        .program(&program("toolbox"), ["line"])
        .on_terminal(&pty.inner);
    pty.until("ready");
    pty.send(b"hello\n");
    pty.until("[hello]");
    running.wait().ok();
    let running = home
        .program(&program("toolbox"), ["signals"])
        .on_terminal(&pty.inner);
    pty.until("ready");
    pty.resize(30, 100);
    pty.until("30 100");
    pty.send(b"\x03");
    pty.until("got 2");
    running.signal(Signal::TERM);
    running.wait().exits(40);
}

#[test]
fn our_tars_are_what_tar_reads() {
    let home = Home::new();
    let long = format!("{}/deep", "d".repeat(120));
    let entries = [
        Entry::dir("a"),
        Entry::file("a/f", "hello")
            .mode(0o640)
            .owner(3_000_000_000, 5),
        Entry::symlink("a/l", "f"),
        Entry::hardlink("a/h", "a/f"),
        Entry::file(&long, "long"),
        Entry::file("x", "pax").pax("path", "a/from-pax"),
    ];
    for pack in [Pack::Plain, Pack::Gzip, Pack::GzipMembers(3)] {
        let file = home.path("t.tar");
        std::fs::write(&file, pack.pack(&tar(&entries))).unwrap();
        let out = std::process::Command::new("tar")
            .arg("tvf")
            .arg(&file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{pack:?}: {out:?}");
        for part in [
            "-rw-r-----",
            "3000000000/5",
            "a/l -> f",
            "a/h link to a/f",
            &long,
            "a/from-pax",
        ] {
            assert!(text.contains(part), "{pack:?}: no {part}: {text}");
        }
    }
}

#[test]
fn our_layouts_name_what_they_hold() {
    let home = Home::new();
    let image = Image::toolbox().with(&[Entry::file("hello", "x")]);
    let layout = image.build();
    for (digest, bytes) in &layout.blobs {
        assert_eq!(digest, &sha256(bytes));
    }
    assert_eq!((layout.layers.len(), layout.blobs.len()), (2, 4));
    assert!(image.layout(&home, "img").ends_with("/work/img:test"));
    assert!(home.path("img/index.json").exists());
}
