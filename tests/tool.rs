//! `lazaret tool`: programs of this machine in a cell without an image.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use support::{Home, Ran, need};

/// A home whose working directory every id inside may enter, as root's cells need it.
fn home() -> Home {
    let home = Home::new();
    chmod(&home.path(""), 0o755);
    home
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn tool(home: &Home, line: &[&str]) -> Ran {
    home.lazaret(["tool"].iter().chain(line)).run()
}

/// A folder of `work` that a tool may write with `--rw`.
fn folder(home: &Home, name: &str) -> std::path::PathBuf {
    let path = home.path(name);
    std::fs::create_dir(&path).unwrap();
    chmod(&path, 0o777);
    path
}

fn sha256(path: &Path) -> String {
    let digest = support::sha256(&std::fs::read(path).unwrap());
    digest["sha256:".len()..].to_owned()
}

/// A program in `work`.
fn program(home: &Home, name: &str, bytes: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = home.path(name);
    std::fs::write(&path, bytes).unwrap();
    chmod(&path, 0o755);
    path
}

#[test]
fn dynamic_programs_run() {
    need!("userns", "python3", "perl", "git");
    let home = home();
    let script = "import ssl, json, threading, subprocess, sys, os\n\
                  t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n\
                  print(subprocess.run(['uname'], capture_output=True).stdout.decode().strip())\n\
                  print(sys.argv[1:], os.getcwd() == os.environ['WANT'])\n";
    std::fs::write(home.path("x.py"), script).unwrap();
    let want = home.path("").canonicalize().unwrap();
    let want = format!("WANT={}", want.to_str().unwrap().trim_end_matches('/'));
    tool(
        &home,
        &["-e", &want, "--", "/usr/bin/python3", "x.py", "-a", "b c"],
    )
    .ok()
    .prints("thread\nLinux\n['-a', 'b c'] True\n");
    tool(
        &home,
        &["perl", "-e", "use POSIX; print floor(2.5), qq(\\n)"],
    )
    .ok()
    .prints("2\n");
    tool(&home, &["git", "--version"]).ok().says("git version");
    // The name that it is called by is what it sees; links among programs lead on.
    tool(&home, &["sh", "-c", "echo $0; command -v awk"])
        .ok()
        .says("sh\n")
        .says("awk");
    home.clean();
}

#[test]
fn what_is_compiled_with_rw_is_the_callers() {
    need!("userns", "gcc");
    let home = home();
    std::fs::write(home.path("x.c"), "int main(void){return 7;}").unwrap();
    // Nothing of the current folder is written unasked.
    let ran = tool(&home, &["gcc", "-o", "x", "x.c"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.err().contains("Read-only file system"), "{ran}");
    let out = folder(&home, "out");
    tool(&home, &["--rw", "out", "--", "gcc", "-o", "out/x", "x.c"]).ok();
    if !rustix::process::geteuid().is_root() {
        let made = out.join("x").metadata().unwrap();
        assert_eq!(made.uid(), rustix::process::getuid().as_raw());
        assert_eq!(made.gid(), rustix::process::getgid().as_raw());
    }
    tool(&home, &["./out/x"]).exits(7);
    // A single file, and everything where one stands.
    let file = home.path("file");
    std::fs::write(&file, "old").unwrap();
    chmod(&file, 0o666);
    tool(
        &home,
        &[
            "--rw",
            "file",
            "sh",
            "-c",
            "echo new > file; echo x > beside",
        ],
    )
    .complains("Read-only");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new\n");
    chmod(&home.path(""), 0o777);
    tool(&home, &["--rw", ".", "sh", "-c", "echo x > beside"]).ok();
    assert!(home.path("beside").is_file());
    chmod(&home.path(""), 0o755);
    home.clean();
}

/// Folders that only the caller may enter, and whose group is nobody inside.
#[test]
fn the_callers_closed_folders_are_its_own_inside() {
    need!("userns", "not-root");
    let home = home();
    chmod(&home.path(""), 0o700);
    let out = folder(&home, "out");
    chmod(&out, 0o700);
    std::fs::write(home.path("secret"), "mine alone").unwrap();
    chmod(&home.path("secret"), 0o600);
    let line = "cat secret; echo x > out/made";
    tool(&home, &["--rw", "out", "sh", "-c", line])
        .ok()
        .prints("mine alone")
        .complains("no process inside is the caller");
    assert!(out.join("made").is_file());
    home.clean();
}

#[test]
fn folders_that_are_more_than_a_project_are_refused() {
    need!("userns");
    let home = home();
    let own = home.root().join("home");
    symlink(&own, home.path("link")).unwrap();
    std::fs::create_dir_all(own.join(".config/x")).unwrap();
    std::fs::create_dir(own.join("project")).unwrap();
    std::fs::create_dir_all(home.store()).unwrap();
    let link = home.path("link");
    let dots = own.join(".config/x");
    for folder in [
        &own,
        &link,
        &dots,
        Path::new("/"),
        Path::new("/tmp"),
        Path::new("/etc"),
        Path::new("/etc/ssl"),
        Path::new("/home"),
        &home.store().join(".."),
    ] {
        let ran = home.lazaret(["tool", "true"]).cwd(folder).run().exits(125);
        let said = ran.err();
        assert!(said.contains("asked   the current folder"), "{ran}");
        assert!(said.contains("cd to the folder of the project"), "{ran}");
        assert_eq!(said.matches("asked").count(), 1, "{ran}");
    }
    // Below it is a project, and programs' own folders are seen anyway.
    for folder in [own.join("project").as_path(), Path::new("/usr/lib")] {
        home.lazaret(["tool", "pwd"])
            .cwd(folder)
            .run()
            .ok()
            .says(folder.to_str().unwrap());
    }
    for (path, word) in [
        ("/etc", "--rw \"/etc\""),
        ("/usr", "--rw \"/usr\""),
        ("link", "--rw \"link\""),
    ] {
        tool(&home, &["--rw", path, "true"])
            .exits(125)
            .complains("refused by policy")
            .complains(&word.replace('"', ""));
    }
    tool(&home, &["--rw", "nothing", "true"])
        .exits(125)
        .complains("nothing is made outside");
    home.clean();
}

#[test]
fn a_program_must_be_what_its_sha256_says() {
    need!("userns");
    let home = home();
    let path = program(&home, "p", std::fs::read("/usr/bin/true").unwrap());
    let right = sha256(&path);
    let wrong = format!(
        "{}{}",
        &right[..62],
        if right.ends_with("00") { "01" } else { "00" }
    );
    tool(&home, &["--sha256", &right, "./p"]).ok();
    tool(&home, &["--sha256", &right.to_uppercase(), "./p"]).ok();
    tool(&home, &["--sha256", &wrong, "./p"])
        .exits(125)
        .complains(&format!("is not sha256:{wrong}; nothing was run"));
    // The same for a program that is seen anyway, by whatever link.
    let shell = Path::new("/bin/sh").canonicalize().unwrap();
    tool(&home, &["--sha256", &sha256(&shell), "sh", "-c", "echo $0"])
        .ok()
        .prints("sh\n");
    tool(&home, &["--sha256", &right, "sh", "-c", "echo ran"])
        .exits(125)
        .prints("");
    // Changed in place, and another file in its place.
    std::fs::write(&path, std::fs::read("/usr/bin/false").unwrap()).unwrap();
    tool(&home, &["--sha256", &right, "./p"])
        .exits(125)
        .complains("nothing was run");
    std::fs::remove_file(&path).unwrap();
    program(&home, "p", "#!/bin/sh\necho script $0 $1\n");
    tool(&home, &["--sha256", &right, "./p"])
        .exits(125)
        .complains("nothing was run");
    // A script is run by an interpreter of /usr, which opens the copy by its descriptor's name; it
    // is its own bytes that are checked.
    let right = sha256(&path);
    tool(&home, &["--sha256", &right, "./p", "x"])
        .ok()
        .says("script /proc/self/fd/")
        .says(" x\n");
    // A program finds itself where it was.
    let python = Path::new("/usr/bin/python3").canonicalize().unwrap();
    let script = "import os; print(os.readlink('/proc/self/exe'), os.listdir('/proc/self/fd'))";
    let line = ["--sha256", &sha256(&python), "python3", "-c", script];
    tool(&home, &line).ok().prints(&format!(
        "{} ['0', '1', '2', '3']\n",
        python.to_str().unwrap()
    ));
    home.clean();
}

/// Whoever writes into the file while it starts changes nothing of what is executed: each run that
/// goes at all is of the bytes that were named.
#[test]
fn a_program_that_is_written_to_meanwhile_is_the_one_that_was_checked() {
    need!("userns");
    use std::os::unix::fs::FileExt as _;
    let home = home();
    let good = "#!/bin/sh\necho good\n";
    let path = program(&home, "p", good);
    let right = sha256(&path);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut runs = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_at(b"evil", 15).unwrap();
                std::thread::yield_now();
                file.write_at(b"good", 15).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        for _ in 0..25 {
            runs.push(tool(&home, &["--sha256", &right, "./p"]));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    for ran in &runs {
        match ran.code {
            Some(0) => assert_eq!(ran.out(), "good\n", "{ran}"),
            _ => assert!(ran.err().contains("nothing was run"), "{ran}"),
        }
    }
    assert!(runs.iter().any(|ran| ran.code == Some(0)), "it never ran");
    home.clean();
}

/// The same where another file takes its name: the kernel takes a mount away whose place somebody
/// renames onto (rename(2) in another mount namespace), and what is seen then is the other file.
#[test]
fn a_program_that_is_replaced_meanwhile_is_the_one_that_was_checked() {
    need!("userns");
    for (good, evil) in [
        ("#!/bin/sh\necho good\n", "#!/bin/sh\necho evil\n"),
        ("/usr/bin/true", "/usr/bin/false"),
    ] {
        let home = home();
        let bytes = |what: &str| match what.starts_with('/') {
            true => std::fs::read(what).unwrap(),
            false => what.as_bytes().to_vec(),
        };
        let right = sha256(&program(&home, "good", bytes(good)));
        program(&home, "evil", bytes(evil));
        std::fs::hard_link(home.path("good"), home.path("p")).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let mut runs = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for name in ["evil", "good"] {
                        std::fs::hard_link(home.path(name), home.path("next")).unwrap();
                        std::fs::rename(home.path("next"), home.path("p")).unwrap();
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                }
            });
            for _ in 0..60 {
                runs.push(tool(&home, &["--sha256", &right, "./p"]));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        for ran in &runs {
            assert!(!ran.out().contains("evil"), "{ran}");
            assert_ne!(ran.code, Some(1), "{ran}");
        }
        home.clean();
    }
}

/// The kernel's name for a folder that is gone may be another folder's.
#[test]
fn a_folder_that_is_gone_is_no_other() {
    need!("userns");
    let home = home();
    let other = folder(&home, "x (deleted)");
    std::fs::write(other.join("f"), "other").unwrap();
    let line = "mkdir x && cd x && rmdir ../x && exec \"$0\" tool -- cat f";
    let lazaret = env!("CARGO_BIN_EXE_lazaret");
    home.program(Path::new("/bin/sh"), ["-c", line, lazaret])
        .run()
        .exits(125)
        .prints("")
        .complains("the current folder is gone");
    home.clean();
}

#[test]
fn nothing_else_of_the_machine_is_there() {
    need!("userns", "python3");
    let home = home();
    std::fs::write(home.root().join("home/private"), "x").unwrap();
    std::fs::write(home.root().join("beside"), "x").unwrap();
    let script = "import os, sys\n\
        for path in sys.argv[1:]:\n\
        \x20   if os.path.lexists(path): print('there:', path)\n\
        print(sorted(os.listdir(os.environ['HOME'])), os.environ['HOME'])\n\
        print([p for p in os.listdir('/proc') if p.isdigit()])\n\
        print(sorted(os.listdir('/home')), sorted(os.listdir('/tmp')) == [sys.argv[1].split('/')[2]])\n\
        print([l.split(':')[0] for l in open('/etc/passwd')])\n";
    let beside = home.root().join("beside").canonicalize().unwrap();
    let private = home.root().join("home/private");
    let ran = tool(
        &home,
        &[
            "/usr/bin/python3",
            "-c",
            script,
            beside.to_str().unwrap(),
            private.to_str().unwrap(),
            "/etc/shadow",
            "/etc/ssh",
            "/etc/sudoers",
            "/etc/machine-id",
            "/etc/ssl/private",
            "/etc/subuid",
            "/root",
            "/var/lib",
            "/run",
            "/boot",
            "/opt",
            "/srv",
            "/mnt",
        ],
    )
    .ok();
    let out = ran.out();
    assert!(!out.contains("there:"), "{ran}");
    assert!(out.contains("[] /home/tool\n"), "{ran}");
    // pid 1, this one, and perhaps the verifier that is about to go.
    assert!(out.contains("['tool'] True\n"), "{ran}");
    let users = match rustix::process::geteuid().is_root() || support::check("subuids").is_err() {
        true => "['root', 'nobody']",
        false => "['root', 'tool', 'nobody']",
    };
    assert!(out.contains(users), "{ran}");
    home.clean();
}

#[test]
fn hostile_programs_are_held() {
    need!("userns", "landlock");
    use std::os::linux::net::SocketAddrExt as _;
    let home = home();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    let name = format!("lazaret-tool-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let secret = home.root().join("secret");
    std::fs::write(&secret, "what only the host may read").unwrap();
    let secret = secret.to_str().unwrap();
    for (name, args) in [
        ("tcp", &[port.as_str()][..]),
        ("abstract", &[&name]),
        ("host_file", &[secret]),
        ("fds", &[]),
        ("inherited", &[]),
        ("init_args", &[]),
        ("init_files", &[]),
        ("init_powers", &[]),
        ("io_uring", &[]),
        ("kernel_calls", &[]),
        ("keyring", &[]),
        ("mounts", &[]),
        ("new_namespaces", &[]),
        ("new_privileges", &[]),
        ("other_entry", &[]),
        ("outsiders", &[]),
        ("proc_masks", &[]),
        ("proc_sys", &[]),
        ("ptrace", &[]),
        ("sockets", &[]),
        ("terminal", &[]),
        ("whiteout", &[]),
    ] {
        let bytes = std::fs::read(support::program(&format!("hostile/{name}"))).unwrap();
        program(&home, name, bytes);
        let path = format!("./{name}");
        let ran = tool(&home, &[&[path.as_str()], args].concat()).ok();
        assert_eq!(ran.out().lines().last(), Some("held"), "{ran}");
    }
    home.clean();
}

#[test]
fn exit_codes_are_those_of_a_shell() {
    need!("userns");
    let home = home();
    tool(&home, &["sh", "-c", "exit 42"]).exits(42);
    tool(&home, &["sh", "-c", "kill -9 $$"]).exits(137);
    tool(&home, &["no-such-program"])
        .exits(127)
        .complains("PATH");
    tool(&home, &["./no-such"]).exits(127);
    tool(&home, &[""]).exits(127);
    tool(&home, &["/usr/bin"]).exits(126);
    std::fs::write(home.path("data"), "x").unwrap();
    tool(&home, &["./data"]).exits(126).complains("chmod +x");
    program(&home, "script", "#!/no/such/interpreter\n");
    tool(&home, &["./script"])
        .exits(127)
        .complains("interpreter");
    program(&home, "bad", [0x7f, b'E', b'L', b'F', 0, 0]);
    tool(&home, &["./bad"]).exits(126);
    tool(&home, &["--timeout", "100ms", "sleep", "60"])
        .exits(137)
        .complains("time limit");
    tool(&home, &[]).exits(125).complains("missing PROGRAM");
    tool(&home, &["--bogus", "true"])
        .exits(125)
        .complains("--bogus");
    tool(&home, &["--sha256", "12", "true"])
        .exits(125)
        .complains("no sha256");
    // A program is no image.
    home.lazaret(["run", "tool:/usr/bin/true"])
        .run()
        .exits(125)
        .complains("lazaret tool -- ");
    home.clean();
}

#[test]
fn a_program_from_elsewhere_comes_alone() {
    need!("userns");
    let home = home();
    let elsewhere = home.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("sibling"), "x").unwrap();
    let there = elsewhere.join("p");
    std::fs::write(&there, "#!/bin/sh\nls ${0%/*}\nprintf x >> $0\n").unwrap();
    chmod(&there, 0o777);
    let path = there.to_str().unwrap();
    tool(&home, &[path])
        .says("p\n")
        .does_not_say("sibling")
        .complains("Read-only");
    // By a link in PATH, it is still the file that the link leads to.
    let bin = home.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink(&there, bin.join("called")).unwrap();
    home.lazaret(["tool", "called"])
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .run()
        .says("p\n")
        .does_not_say("sibling");
    // lazaret's own folders hold no program.
    std::fs::create_dir_all(home.store()).unwrap();
    let own = home.store().join("p");
    std::fs::copy(&there, &own).unwrap();
    tool(&home, &[own.to_str().unwrap()])
        .exits(125)
        .complains("lazaret's own");
    home.clean();
}

#[test]
fn input_is_what_it_is() {
    need!("userns");
    let home = home();
    home.lazaret(["tool", "cat"])
        .stdin("through a pipe\n")
        .run()
        .ok()
        .prints("through a pipe\n");
    tool(&home, &["cat"]).ok().prints("");
    tool(&home, &["sh", "-c", "echo out; echo err >&2"])
        .ok()
        .prints("out\n")
        .complains("err");
    tool(&home, &["-t", "true"])
        .exits(125)
        .complains("not a terminal");
    // Where all three are terminals there is one inside; where the output goes elsewhere, none.
    let mut pty = support::Pty::new();
    let ask = "test -t 0 && test -t 1 && test -t 2 && echo terminal $TERM";
    let running = home
        .lazaret(["tool", "sh", "-c", ask])
        .on_terminal(&pty.inner);
    pty.until("terminal xterm");
    running.wait().ok();
    home.clean();
}

#[test]
fn rules_speak_of_tools() {
    need!("userns");
    let home = home();
    let real = Path::new("/bin/sh").canonicalize().unwrap();
    let real = real.to_str().unwrap();
    home.policy(&format!(
        "[[trust]]\nimage = \"tool:{real}\"\naccept = \"reject\"\nreason = \"no shells\"\n"
    ));
    tool(&home, &["sh", "-c", "true"])
        .exits(125)
        .complains("no shells");
    tool(&home, &["true"]).ok();
    home.policy("[[trust]]\nimage = \"tool:/usr/**\"\naccept = \"pinned\"\nreason = \"only what is known\"\n",
    );
    tool(&home, &["true"]).exits(125).complains("--sha256 HEX");
    let hex = sha256(&Path::new("/usr/bin/true").canonicalize().unwrap());
    tool(&home, &["--sha256", &hex, "true"]).ok();
    // No rule gives what is never a tool's.
    for name in ["shadow", "ssl", "ssl/private", "passwd", "machine-id"] {
        if !Path::new("/etc").join(name).exists() {
            continue;
        }
        home.policy(&format!(
            "[[give]]\nimage = \"tool:**\"\netc = [\"{name}\"]\nreason = \"r\"\n"
        ));
        tool(&home, &["true"])
            .exits(125)
            .complains("deny etc")
            .complains(name);
    }
    home.policy("[[deny]]\nimage = \"tool:**\"\nuserns = [\"keep-id\"]\nreason = \"as nobody\"\n");
    let ran = tool(&home, &["id", "-u"]).ok();
    assert_eq!(ran.out(), "0\n", "{ran}");
    home.clean();
}

#[test]
fn the_network_is_asked_for() {
    need!("userns", "landlock-6", "python3");
    let home = home();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("import socket; socket.create_connection(('127.0.0.1', {port}))");
    let python = "/usr/bin/python3";
    tool(&home, &[python, "-c", &script]).exits(1);
    tool(&home, &["--network", python, "-c", &script])
        .exits(125)
        .complains("asked   --network host")
        .complains("network = [\"host\"]");
    home.policy(
        "[[allow]]\nimage = \"tool:/usr/bin/python3*\"\nnetwork = [\"host\"]\nreason = \"r\"\n",
    );
    tool(&home, &["--network", python, "-c", &script]).ok();
    tool(&home, &[python, "-c", &script]).exits(1);
    home.clean();
}

#[test]
fn the_plan_says_what_is_checked_and_does_nothing() {
    need!("userns");
    let home = home();
    let plan = |line: &[&str]| {
        let ran = tool(&home, line).ok();
        let value: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        value.as_array().unwrap().clone()
    };
    let steps = plan(&["--dry-run", "--format", "json", "true"]);
    let find = |steps: &[serde_json::Value], name: &str| {
        steps
            .iter()
            .any(|step| step.get(name).is_some() || step == name)
    };
    assert!(!find(&steps, "check_layers") && !find(&steps, "mount_program"));
    // Every mount has a rule behind it.
    let rules = steps.iter().filter(|step| step.get("mount_bind").is_some());
    let mut seen = 0;
    for step in rules {
        assert!(step["origin"]["rule"]["file"].is_string(), "{step}");
        seen += 1;
    }
    assert!(seen > 2);
    let hex = "0".repeat(64);
    let steps = plan(&["--dry-run", "--format", "json", "--sha256", &hex, "true"]);
    assert!(find(&steps, "mount_program"));
    let text = |line: &[&str]| {
        let out = tool(&home, line).ok().out();
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(text(&["--dry-run", "true"]).contains("no digest of it is checked"));
    let checked = text(&["--dry-run", "--sha256", &hex, "true"]);
    assert!(checked.contains("the copy whose sha256 was checked"));
    if !rustix::process::geteuid().is_root() {
        assert!(!home.store().exists());
    }
    home.clean();
}
