//! `--receipt`: the report of a run, signed, and `lazaret receipt`, which checks it.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use support::reports::{chmod, folder, home, receipt as run, taken, valid, verify};
use support::{Image, Ran, list, need, sha256};

#[test]
fn a_receipt_is_the_report_signed() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let both = ["--report", "r.json", &image, "exit", "7"];
    let ran = run(&home, &both).exits(7);
    let key = folder(&home).join("key.pub");
    let made = "a key for receipts was made, sha256:";
    assert_eq!(ran.err().matches(made).count(), 1, "{ran}");
    assert!(ran.err().contains(key.to_str().unwrap()), "{ran}");
    // Nobody else reads the key, and the receipt is the caller's as a report is.
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder(&home)), 0o700);
    assert_eq!(mode(&folder(&home).join("key.pem")), 0o600);
    assert_eq!(mode(&home.path("c.json")), 0o600);
    assert_eq!(list(&folder(&home)), ["key.pem", "key.pub"]);
    verify(&home, &["c.json"])
        .ok()
        .says("c.json: valid\n")
        .says("with 7, exit code 7");
    let receipt = std::fs::read(home.path("c.json")).unwrap();
    let (envelope, statement) = taken(&home.path("c.json"));
    // The predicate is the report, of the published form, whose name is its type.
    let report = std::fs::read_to_string(home.path("r.json")).unwrap();
    let report = valid(&report);
    assert_eq!(statement["predicate"], report);
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    assert_eq!(statement["predicateType"], schema["$id"]);
    let manifest = report["image"]["manifest"].as_str().unwrap();
    let subject = json!([{
        "name": report["image"]["canonical"],
        "digest": { "sha256": manifest.trim_start_matches("sha256:") },
    }]);
    assert_eq!(statement["subject"], subject);
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    // The same key from then on, and nothing more is said of it.
    let again = run(&home, &[&image, "true"]).ok();
    assert!(!again.err().contains("key for receipts"), "{again}");
    let (again, _) = taken(&home.path("c.json"));
    let keyid = |envelope: &Value| envelope["signatures"][0]["keyid"].clone();
    assert_eq!(keyid(&again), keyid(&envelope));
    let shown = home.lazaret(["receipt", "key"]).run().ok();
    assert_eq!(shown.stdout, std::fs::read(&key).unwrap());
    shown.complains(keyid(&envelope).as_str().unwrap());
    // What it is held against: the image by digest and by name.
    std::fs::write(home.path("kept.json"), &receipt).unwrap();
    for image in [
        manifest,
        &image,
        report["image"]["canonical"].as_str().unwrap(),
    ] {
        verify(&home, &["--image", image, "kept.json"]).ok();
    }
    let other = format!("sha256:{}", "0".repeat(64));
    for image in [other.as_str(), "debian", "oci:./other"] {
        let ran = verify(&home, &["--image", image, "kept.json"]).exits(1);
        assert!(ran.out().contains("NOT VALID: it is about"), "{ran}");
    }
    let from_stdin = home.lazaret(["receipt", "verify", "--format", "json", "-"]);
    let told = from_stdin.stdin(&receipt).run().ok();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["valid"], true);
    assert_eq!(told["why"], Value::Null);
    assert_eq!(told["key"]["fingerprint"], keyid(&envelope));
    assert_eq!(told["image"]["manifest"], manifest);
    assert_eq!(told["command"], json!(["exit", "7"]));
    assert_eq!(told["end"]["ended"], "exited");
    assert_eq!(told["started"], report["times"]["started"]);
    home.clean();
}

#[test]
fn what_did_not_run_has_a_receipt_too() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &["-v", "/etc:/x", &image, "true"]).exits(125);
    verify(&home, &["c.json", "--image", &image])
        .ok()
        .says("ended    denied");
    let (_, denied) = taken(&home.path("c.json"));
    assert_eq!(denied["predicate"]["ended"], "denied");
    assert_eq!(
        denied["predicate"]["reasons"][0]["asked"],
        "-v /etc:/x (read-write)"
    );
    // No image was known: it is about the report, as `--report` writes it.
    run(&home, &["--report", "r.json", "oci:./not-there"]).exits(125);
    verify(&home, &["c.json"]).ok().says("ended    error");
    verify(&home, &["c.json", "--image", "oci:./not-there"])
        .exits(1)
        .says("about no image");
    let (_, failed) = taken(&home.path("c.json"));
    let report = std::fs::read(home.path("r.json")).unwrap();
    let subject = &failed["subject"][0];
    assert_eq!(subject["name"], "report");
    let digest = sha256(&report);
    assert_eq!(
        digest,
        format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap())
    );
    // What is not done has none, and makes no key.
    let fresh = support::reports::home();
    let image = Image::toolbox().layout(&fresh, "img");
    run(&fresh, &["--dry-run", &image, "true"]).ok();
    assert!(!fresh.path("c.json").exists() && !folder(&fresh).exists());
    home.clean();
}

#[test]
fn a_tool_has_one() {
    need!("userns");
    let home = home();
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let digest = sha256(&std::fs::read(&shell).unwrap());
    let tool = |flags: &[&str]| {
        let words = [
            &["tool", "--receipt", "c.json"],
            flags,
            &["--", "sh", "-c", "exit 3"],
        ];
        home.lazaret(words.concat()).run().exits(3);
        verify(&home, &["c.json"]).ok().says("exited with 3");
        taken(&home.path("c.json")).1["subject"][0].clone()
    };
    let named = tool(&["--sha256", &digest]);
    assert_eq!(named["name"], shell.to_str().unwrap());
    assert_eq!(
        named["digest"]["sha256"],
        digest.trim_start_matches("sha256:")
    );
    assert_eq!(tool(&[])["name"], "report");
    home.clean();
}

/// A key that others could have read or put there signs nothing, and nothing runs.
#[test]
fn a_key_that_is_not_the_callers_alone_is_refused() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &[&image, "true"]).ok();
    std::fs::rename(home.path("c.json"), home.path("good.json")).unwrap();
    std::fs::create_dir(home.path("out")).unwrap();
    chmod(&home.path("out"), 0o777);
    let (place, private) = (folder(&home), folder(&home).join("key.pem"));
    let public = place.join("key.pub");
    let pem = std::fs::read(&private).unwrap();
    let public_pem = std::fs::read(&public).unwrap();
    let refused = |why: &str| {
        let line = [
            "-v",
            "./out:/out",
            &image,
            "toolbox",
            "put",
            "/out/ran",
            "x",
        ];
        let ran = run(&home, &line).exits(125);
        assert!(ran.err().contains(why), "{why}\n{ran}");
        assert!(list(&home.path("out")).is_empty(), "it ran\n{ran}");
        assert!(!home.path("c.json").exists(), "{ran}");
    };
    let shut = |path: &Path, open: u32, right: u32| {
        chmod(path, open);
        refused("is open to others");
        chmod(path, right);
    };
    shut(&private, 0o640, 0o600);
    shut(&private, 0o604, 0o600);
    shut(&place, 0o750, 0o700);
    shut(&place, 0o701, 0o700);
    shut(&public, 0o666, 0o644);
    shut(place.parent().unwrap(), 0o777, 0o755);
    // A link, to a good key of a good mode.
    let aside = home.root().join("aside");
    std::fs::rename(&private, &aside).unwrap();
    symlink(&aside, &private).unwrap();
    refused("key.pem is a link");
    std::fs::remove_file(&private).unwrap();
    std::fs::create_dir(&private).unwrap();
    refused("is no regular file");
    std::fs::remove_dir(&private).unwrap();
    let fifo = Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(&private)
        .status();
    assert!(fifo.unwrap().success());
    refused("is no regular file");
    std::fs::remove_file(&private).unwrap();
    let put = |path: &Path, bytes: &[u8], mode| {
        std::fs::write(path, bytes).unwrap();
        chmod(path, mode);
    };
    put(&private, b"what is this", 0o600);
    refused("is not one PEM block");
    put(&private, &vec![b'x'; 5000], 0o600);
    refused("more than 1024 bytes");
    std::fs::rename(&aside, &private).unwrap();
    // The public half of another key would have everybody check against that.
    let mut other = public_pem.clone();
    other[60] = if other[60] == b'A' { b'B' } else { b'A' };
    put(&public, &other, 0o644);
    refused("key.pub");
    std::fs::remove_file(&public).unwrap();
    symlink("key.pem", &public).unwrap();
    refused("key.pub is a link");
    std::fs::remove_file(&public).unwrap();
    // A link in the place of the folder.
    let moved = home.root().join("moved");
    std::fs::rename(&place, &moved).unwrap();
    symlink(&moved, &place).unwrap();
    refused("is a link or no folder");
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&moved, &place).unwrap();
    // The public half comes back by itself, and the key is what it was.
    run(&home, &[&image, "true"]).ok();
    assert_eq!(std::fs::read(&public).unwrap(), public_pem);
    assert_eq!(std::fs::read(&private).unwrap(), pem);
    std::fs::remove_file(&public).unwrap();
    verify(&home, &["good.json"]).ok();
    assert_eq!(std::fs::read(&public).unwrap(), public_pem);
    home.clean();
}

#[test]
fn a_key_of_another_user_is_refused() {
    need!("userns", "overlay", "root");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &[&image, "true"]).ok();
    let place = folder(&home);
    for path in [place.join("key.pem"), place.join("key.pub"), place.clone()] {
        let is = std::fs::metadata(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
        run(&home, &[&image, "true"])
            .exits(125)
            .complains("belongs to user 4321");
        std::os::unix::fs::chown(&path, Some(is.uid()), None).unwrap();
    }
    home.clean();
}

#[test]
fn of_two_first_uses_one_makes_the_key() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    // The store is there: only the key is made for the first time.
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    for round in 0..5 {
        let running: Vec<_> = (0..4)
            .map(|n| {
                let receipt = format!("c{n}.json");
                home.lazaret(["run", "--rm", "--receipt", &receipt, &image, "true"])
                    .spawn()
            })
            .collect();
        let ran: Vec<Ran> = running.into_iter().map(|r| r.wait().ok()).collect();
        let made = ran
            .iter()
            .filter(|r| r.err().contains("key for receipts was made"));
        assert_eq!(made.count(), 1, "round {round}");
        for n in 0..4 {
            verify(&home, &[&format!("c{n}.json")]).ok();
        }
        assert_eq!(list(&folder(&home)), ["key.pem", "key.pub"]);
        std::fs::remove_dir_all(folder(&home)).unwrap();
    }
    home.clean();
}

#[test]
fn where_no_receipt_can_be_written_nothing_runs() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    // Nor is an earlier run's report left to be taken for this one's.
    std::fs::write(home.path("r.json"), "an earlier run's").unwrap();
    let line = [
        "run",
        "--rm",
        "--report",
        "r.json",
        "--receipt",
        "none/c.json",
        &image,
        "true",
    ];
    home.lazaret(line).run().exits(125);
    assert!(!home.path("r.json").exists());
    std::fs::create_dir(home.path("out")).unwrap();
    chmod(&home.path("out"), 0o777);
    symlink("out/elsewhere", home.path("link")).unwrap();
    for (flags, why) in [
        (
            &["--receipt", "none/c.json"][..],
            "--receipt: open \"none\": no such file",
        ),
        (&["--receipt", "out"], "is a folder"),
        (&["--receipt", "link"], "is a link"),
        (&["--receipt", "/dev/null"], "is no regular file"),
        (&["--receipt", ".."], "--receipt \"..\" names no file"),
        (
            &["--receipt", "c", "--report", "out/../c"],
            "name one place",
        ),
        (&["--receipt", "-", "--report", "-"], "name one place"),
    ] {
        let put = [
            "-v",
            "./out:/out",
            &image,
            "toolbox",
            "put",
            "/out/ran",
            "x",
        ];
        let words = [&["run", "--rm"], flags, &put].concat();
        home.lazaret(words).run().exits(125).complains(why);
        assert!(list(&home.path("out")).is_empty(), "{flags:?}");
        assert!(!folder(&home).exists(), "{flags:?}");
    }
    // Nobody's home: no place for a key.
    let line = ["run", "--rm", "--receipt", "c.json", &image, "true"];
    let nowhere = home
        .lazaret(line)
        .env_remove("HOME")
        .env_remove("XDG_CONFIG_HOME");
    nowhere
        .run()
        .exits(125)
        .complains("set HOME or XDG_CONFIG_HOME");
    // Standard output has it after everything else, and the report may go elsewhere.
    let line = [
        "run",
        "--rm",
        "--receipt",
        "-",
        "--report",
        "r.json",
        &image,
        "echo",
        "first",
    ];
    let ran = home.lazaret(line).run().ok();
    let out = ran.out();
    std::fs::write(home.path("c.json"), out.strip_prefix("first\n").unwrap()).unwrap();
    verify(&home, &["c.json"]).ok();
    valid(&std::fs::read_to_string(home.path("r.json")).unwrap());
    // A key that goes while the command runs is told of with the command's code.
    let gone = home.path("gone");
    std::fs::create_dir(&gone).unwrap();
    let line = ["run", "--rm", "--receipt", "late.json", &image];
    let running = home
        .lazaret(
            line.iter()
                .chain(&["toolbox", "all", "echo", "up", ",", "sleep", "1"]),
        )
        .spawn();
    running.until_out("up");
    std::fs::rename(folder(&home), gone.join("receipt")).unwrap();
    running
        .wait()
        .exits(125)
        .complains("there is no key for receipts")
        .complains("its exit code was 0");
    assert!(!home.path("late.json").exists());
    home.clean();
}

/// Mounts need root.
#[test]
fn a_full_disk_is_said() {
    need!("userns", "overlay", "root", "unshare");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    for name in ["small", "config/lazaret/receipt"] {
        std::fs::create_dir(home.root().join(name)).unwrap();
    }
    chmod(&folder(&home), 0o700);
    let within = |script: &str| {
        let script = format!("L={}; {script}", env!("CARGO_BIN_EXE_lazaret"));
        home.program(Path::new("/usr/bin/unshare"), ["-m", "sh", "-c", &script])
            .cwd(home.root())
            .run()
    };
    // For the receipt: there is none, not an older one either, and what ran is told.
    let ran = within(&format!(
        "mount -t tmpfs -o size=4k none small && echo old > small/c.json &&
         $L run --rm --receipt small/c.json '{image}' true; code=$?
         ls -A small; exit $code"
    ));
    ran.exits(125)
        .prints("")
        .complains("write the receipt \"small/c.json\": no space left on device")
        .complains("its exit code was 0");
    std::fs::remove_dir_all(folder(&home)).unwrap();
    std::fs::create_dir(folder(&home)).unwrap();
    chmod(&folder(&home), 0o700);
    // For the key: nothing runs, and nothing of it is left.
    let ran = within(&format!(
        "mount -t tmpfs -o size=4k,mode=700 none config/lazaret/receipt &&
         head -c 4096 /dev/zero > config/lazaret/receipt/full &&
         $L run --rm --receipt c.json '{image}' echo ran; code=$?
         ls -A config/lazaret/receipt; exit $code"
    ));
    ran.exits(125)
        .prints("full\n")
        .complains("no space left on device");
    home.clean();
}

/// Whatever rules say, and also where the configuration is looked for elsewhere this time.
#[test]
fn no_rule_lets_the_key_into_a_cell() {
    need!("userns", "overlay");
    let home = home();
    let config = home.root().join("home/.config");
    // A profile of one's own: as strict, but that it denies nothing of homes.
    let strict = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/strict.toml");
    let strict = std::fs::read_to_string(strict).unwrap();
    let open = strict.replace("profile = \"strict\"", "profile = \"open\"");
    let open = open.split("[[deny]]").next().unwrap();
    let policy =
        "version = 1\nextends = \"open\"\n[[allow]]\nmounts = [\"**:rw\"]\nreason = \"a test\"\n";
    for place in [config.join("lazaret"), home.root().join("config/lazaret")] {
        std::fs::create_dir_all(place.join("profiles")).unwrap();
        std::fs::write(place.join("profiles/open.toml"), open).unwrap();
        std::fs::write(place.join("policy.toml"), policy).unwrap();
    }
    let image = Image::toolbox().layout(&home, "img");
    let line = ["run", "--rm", "--receipt", "c.json", &image, "true"];
    let usual = |line: &[&str]| home.lazaret(line).env_remove("XDG_CONFIG_HOME");
    usual(&line).run().ok();
    let place = config.join("lazaret/receipt");
    assert!(place.join("key.pem").exists());
    let place = place.to_str().unwrap();
    // The rule does let in what lies beside.
    let beside = home.root().join("home/.beside");
    std::fs::create_dir(&beside).unwrap();
    let flag = format!("{}:/x", beside.display());
    usual(&["run", "--rm", "-v", &flag, &image, "true"])
        .run()
        .ok();
    let file = format!("{place}/key.pem");
    let home_folder = home.root().join("home");
    for source in [
        place,
        &file,
        config.to_str().unwrap(),
        home_folder.to_str().unwrap(),
        &format!("{place}/../receipt"),
    ] {
        for elsewhere in [false, true] {
            let flag = format!("{source}:/x:ro");
            let line = ["run", "--rm", "-v", &flag, &image, "true"];
            let ran = match elsewhere {
                false => usual(&line).run(),
                true => home.lazaret(line).run(),
            };
            let ran = ran.exits(125);
            assert!(
                ran.err().contains("lazaret's own folders are not mounted"),
                "{source}\n{ran}"
            );
        }
    }
    // A tool stands in no such folder.
    let ran = usual(&["tool", "--", "ls"]).cwd(place).run().exits(125);
    assert!(ran.err().contains("lazaret's own"), "{ran}");
    home.clean();
}

/// A cell begins as a copy of the process: neither it nor what waits for it has the key.
#[test]
fn no_process_holds_the_key_while_a_command_runs() {
    need!("userns", "overlay", "root", "openssl");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let line = ["run", "--rm", "--receipt", "c.json", &image];
    let command = ["toolbox", "all", "echo", "up", ",", "sleep", "2"];
    // The first run makes the key, the second reads it.
    for round in ["made", "read"] {
        let running = home.lazaret(line.iter().chain(&command)).spawn();
        running.until_out("up");
        let pem = folder(&home).join("key.pem");
        let der = Command::new("openssl")
            .args(["pkey", "-outform", "DER", "-in"])
            .arg(&pem)
            .output()
            .unwrap()
            .stdout;
        let seed = &der[der.len() - 32..];
        let pem = std::fs::read_to_string(&pem).unwrap();
        let base64 = pem.lines().nth(1).unwrap();
        let pid = running.pid.as_raw_nonzero().get();
        let mut pids = vec![pid];
        let mut at = 0;
        while let Some(pid) = pids.get(at) {
            let children = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .map(|pid| pid.parse::<i32>().unwrap()),
            );
            at += 1;
        }
        assert!(pids.len() >= 3, "lazaret, pid 1, the command: {pids:?}");
        for pid in &pids {
            let memory = memory_of(*pid);
            assert!(memory.len() > 50_000, "{pid}: {}", memory.len());
            for (what, bytes) in [("seed", seed), ("base64", &base64.as_bytes()[24..])] {
                let found = memory.windows(bytes.len()).any(|window| window == bytes);
                assert!(
                    !found,
                    "{round}: process {pid} of {pids:?} holds the {what}"
                );
            }
        }
        running.wait().ok();
        verify(&home, &["c.json"]).ok();
    }
    home.clean();
}

/// What a process has written to or may write to.
fn memory_of(pid: i32) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let number = |hex| u64::from_str_radix(hex, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(number(to) - number(from)).unwrap()];
        if memory.read_exact_at(&mut bytes, number(from)).is_ok() {
            all.extend(bytes);
        }
    }
    all
}
