//! `lazaret run -v`, `--mount` and `--tmpfs`: what is mounted, how, and what is not.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt;
use support::{Entry, Home, Image, need};

/// A home whose policy lets everything below its working folder be written, and a folder `data` with
/// a file `f` there that everybody may read and write.
fn home() -> Home {
    let home = Home::new();
    home.policy("[[allow]]\nmounts = [\"./**:rw\"]\nreason = \"a test\"\n");
    let data = home.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("f"), "from outside\n").unwrap();
    open(&data, 0o777);
    open(&data.join("f"), 0o666);
    // The ids inside are others: they must come as far as here.
    for folder in [home.root().to_owned(), home.path("")] {
        open(&folder, 0o755);
    }
    home
}

fn open(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn run(home: &Home, image: &str, flags: &[&str], command: &[&str]) -> support::Ran {
    let mut line = vec!["run", "--rm"];
    line.extend(flags);
    line.push(image);
    line.extend(command);
    home.lazaret(line).run()
}

#[test]
fn a_folder_is_read_and_a_file_too() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    for flags in [
        &["-v", "./data:/in:ro"][..],
        &["-v", "./data:/in/deeper/still:ro"],
        &["-v", "./data:/etc:ro"],
        &["-v", "./data:/tmp:ro,noexec,nosuid"],
        &["--mount", "type=bind,source=./data,target=/in,readonly"],
        &["--read-only", "-v", "./data:/in:ro"],
    ] {
        let inside = match flags.last().unwrap() {
            text if text.contains("deeper") => "/in/deeper/still",
            text if text.contains("/etc") => "/etc",
            text if text.contains("/tmp") => "/tmp",
            _ => "/in",
        };
        run(&home, &image, flags, &["cat", &format!("{inside}/f")])
            .ok()
            .prints("from outside\n");
        let ran = run(
            &home,
            &image,
            flags,
            &["toolbox", "put", &format!("{inside}/new"), "x"],
        );
        assert!(ran.code != Some(0), "{flags:?}\n{ran}");
        let ran = run(
            &home,
            &image,
            flags,
            &["toolbox", "put", &format!("{inside}/f"), "x"],
        );
        assert!(ran.code != Some(0), "{flags:?}\n{ran}");
    }
    run(&home, &image, &["-v", "./data/f:/one:ro"], &["cat", "/one"])
        .ok()
        .prints("from outside\n");
    // A file of the image, and one that lazaret itself writes.
    for target in ["/etc/passwd", "/etc/hosts"] {
        let flag = format!("./data/f:{target}:ro");
        run(&home, &image, &["-v", &flag], &["cat", target])
            .ok()
            .prints("from outside\n");
    }
    assert_eq!(support::list(&home.path("data")), ["f"]);
    home.clean();
}

#[test]
fn a_writable_folder_is_written() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(
        &home,
        &image,
        &["--read-only", "-v", "./data:/out"],
        &["toolbox", "put", "/out/made", "inside"],
    )
    .ok();
    let made = std::fs::read_to_string(home.path("data/made")).unwrap();
    assert_eq!(made.trim_end(), "inside");
    home.clean();
}

/// Files of the launch, the working folder and mount points are never made in what is the host's.
#[test]
fn the_launch_writes_nothing_outside() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &image, &["-v", "./data:/etc", "-u", "0"], &["true"]).ok();
    let ran = run(
        &home,
        &image,
        &["-v", "./data:/w", "-w", "/w/sub"],
        &["pwd"],
    );
    ran.exits(125).complains("nothing is made in it");
    let ran = run(
        &home,
        &image,
        &["-v", "./data:/w", "--tmpfs", "/w/cache"],
        &["true"],
    );
    ran.exits(125).complains("nothing is made in it");
    assert_eq!(support::list(&home.path("data")), ["f"]);
    home.clean();
}

#[test]
fn mounts_below_mounts_whatever_their_order() {
    need!("userns", "overlay");
    let home = home();
    std::fs::create_dir(home.path("data/sub")).unwrap();
    std::fs::create_dir(home.path("more")).unwrap();
    std::fs::write(home.path("more/g"), "more\n").unwrap();
    open(&home.path("more"), 0o755);
    open(&home.path("data/sub"), 0o755);
    let image = Image::toolbox().layout(&home, "img");
    let outer = ["-v", "./data:/a:ro"];
    let inner = ["-v", "./more:/a/sub:ro"];
    for flags in [[outer, inner].concat(), [inner, outer].concat()] {
        run(
            &home,
            &image,
            &flags,
            &["all", "cat", "/a/f", ",", "cat", "/a/sub/g"],
        )
        .ok()
        .prints("from outside\nmore\n");
    }
    let tmpfs = ["--tmpfs", "/a/sub", "-v", "./data:/a:ro"];
    run(
        &home,
        &image,
        &tmpfs,
        &["all", "put", "/a/sub/x", "y", ",", "cat", "/a/f"],
    )
    .ok();
    let tmpfs = [
        "--tmpfs",
        "/t",
        "-v",
        "./data:/t/new/place:ro",
        "-w",
        "/t/work",
    ];
    run(
        &home,
        &image,
        &tmpfs,
        &["all", "cat", "/t/new/place/f", ",", "pwd"],
    )
    .ok()
    .prints("from outside\n/t/work\n");
    assert!(support::list(&home.path("data/sub")).is_empty());
    home.clean();
}

#[test]
fn an_images_links_lead_no_mount_astray() {
    need!("userns", "overlay");
    let home = home();
    let canary = home.path("canary");
    std::fs::create_dir(&canary).unwrap();
    let entries = [
        Entry::symlink("var/run", "/run"),
        Entry::dir("run"),
        Entry::symlink("up", "../../.."),
        Entry::symlink("root", "/"),
        Entry::symlink("p", "/proc"),
        Entry::symlink("s", "sys"),
        Entry::symlink("d", "/dev"),
        Entry::symlink("nowhere", "/no/such"),
        Entry::symlink("loop", "loop"),
        Entry::symlink("out", canary.to_str().unwrap()),
        Entry::symlink("magic", "/proc/self/root"),
        Entry::file("file", "x"),
        Entry::symlink("same", "in"),
        Entry::dir("in"),
    ];
    let image = Image::toolbox().with(&entries).layout(&home, "img");
    // As with docker, links inside are followed inside.
    run(
        &home,
        &image,
        &["-v", "./data:/var/run/x:ro"],
        &["cat", "/run/x/f"],
    )
    .ok()
    .prints("from outside\n");
    for (target, word) in [
        ("/up", "lead it to /"),
        ("/root", "lead it to /"),
        ("/p", "cell's own"),
        ("/p/fs", "cell's own"),
        ("/p/1", "cell's own"),
        ("/s", "cell's own"),
        ("/s/new", "nothing is made"),
        ("/d", "cell's own"),
        ("/d/pts", "cell's own"),
        ("/d/x", "nothing is made"),
        ("/nowhere", "leads nowhere"),
        ("/nowhere/x", "leads nowhere"),
        ("/out", "leads nowhere"),
        ("/out/x", "leads nowhere"),
        ("/loop", ""),
        ("/magic", ""),
        ("/magic/x", ""),
        ("/file/x", ""),
        ("/file", "no folder"),
    ] {
        for flags in [
            ["-v".to_owned(), format!("./data:{target}:ro")],
            ["--tmpfs".to_owned(), target.to_owned()],
        ] {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let ran = run(&home, &image, &flags, &["true"]);
            ran.exits(125).complains(word);
        }
    }
    for (target, word) in [("/in", "is a folder"), ("/nowhere", "leads nowhere")] {
        let flag = format!("./data/f:{target}:ro");
        run(&home, &image, &["-v", &flag], &["true"])
            .exits(125)
            .complains(word);
    }
    // Two mounts that a link makes one.
    let flags = ["-v", "./data:/in:ro", "-v", "./data:/same:ro"];
    run(&home, &image, &flags, &["true"])
        .exits(125)
        .complains("another mount");
    // One that would silently be put over another.
    let flags = ["-v", "./data:/run/x:ro", "--tmpfs", "/var/run"];
    run(&home, &image, &flags, &["true"])
        .exits(125)
        .complains("over another mount");
    let flags = ["-v", "./data:/run/x:ro", "--tmpfs", "/run"];
    run(&home, &image, &flags, &["cat", "/var/run/x/f"])
        .ok()
        .prints("from outside\n");
    // The working folder.
    for dir in ["/nowhere", "/out", "/nowhere/x"] {
        run(&home, &image, &["-w", dir], &["true"])
            .exits(125)
            .complains("leads nowhere");
    }
    assert!(support::list(&canary).is_empty());
    home.clean();
}

#[test]
fn options_of_a_tmpfs() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let flags = ["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700"];
    run(
        &home,
        &image,
        &flags,
        &["all", "put", "/t/x", "y", ",", "stat", "/t"],
    )
    .ok()
    .says("700");
    run(
        &home,
        &image,
        &["--tmpfs", "/t:mode=700"],
        &["toolbox", "stat", "/t"],
    )
    .ok()
    .says("0700");
    let flags = ["--mount", "type=tmpfs,dst=/t,readonly"];
    let ran = run(&home, &image, &flags, &["toolbox", "put", "/t/x", "y"]);
    assert!(ran.code != Some(0), "{ran}");
}

#[test]
fn what_is_no_folder_or_file_is_no_source() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let fifo = std::ffi::CString::new(home.path("fifo").to_str().unwrap()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fifo.as_c_str(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(home.path("socket")).unwrap();
    std::os::unix::fs::symlink("/etc", home.path("link")).unwrap();
    std::os::unix::fs::symlink("/dev/null", home.path("null")).unwrap();
    std::os::unix::fs::symlink("loop", home.path("loop")).unwrap();
    std::os::unix::fs::symlink("/proc/self/root", home.path("magic")).unwrap();
    let long = format!("./{}", "x".repeat(10_000));
    let deep = format!("./{}", "x/".repeat(2_500));
    for (source, kind, word) in [
        ("./fifo", "policy", "is a fifo"),
        ("./socket", "policy", "is a socket"),
        ("./link", "policy", "the machine's own files"),
        ("./link/ssl", "policy", "the machine's own files"),
        ("./null", "policy", "is a device"),
        ("./loop", "io", "open \"./loop\""),
        ("./magic", "io", "open \"./magic\""),
        ("./none", "not_found", "no such file"),
        ("./data/f/x", "io", "not a directory"),
        ("/", "policy", ""),
        ("/proc", "policy", ""),
        ("/proc/self/fd/0", "io", "open"),
        ("..", "policy", ""),
        (&long, "usage", "10002 bytes"),
        (&deep, "usage", "5002 bytes"),
    ] {
        let flag = format!("{source}:/x:ro");
        let ran = run(&home, &image, &["--format", "json", "-v", &flag], &["true"]).exits(125);
        let error = support::error_of(&ran);
        assert_eq!(error["kind"], kind, "{ran}");
        assert!(
            error.to_string().contains(&word.replace('"', "\\\"")),
            "{word}\n{ran}"
        );
        assert!(ran.err().len() < 4000, "{ran}");
    }
    // Nothing was made, and an image asks for nothing.
    assert!(!home.path("none").exists());
    home.clean();
}

/// Somebody swaps a folder for a link, and back, all the while: what is read is what the policy
/// allowed, or nothing.
#[test]
fn a_source_that_is_swapped_is_never_the_other() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &image, &[], &["true"]).ok();
    let other = home.root().join("other");
    std::fs::create_dir(&other).unwrap();
    open(&other, 0o755);
    std::fs::write(other.join("f"), "SECRET\n").unwrap();
    let (real, aside, link) = (home.path("data"), home.path("aside"), home.path("link"));
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::rename(&real, &aside).unwrap();
                std::fs::rename(&link, &real).unwrap();
                std::fs::rename(&real, &link).unwrap();
                std::fs::rename(&aside, &real).unwrap();
            }
        });
        let (mut read, mut refused) = (0, 0);
        for _ in 0..40 {
            let ran = run(&home, &image, &["-v", "./data:/in:ro"], &["cat", "/in/f"]);
            match ran.code {
                Some(0) => {
                    read += 1;
                    assert_eq!(ran.out(), "from outside\n", "{ran}");
                }
                _ => {
                    refused += 1;
                    assert_eq!(ran.code, Some(125), "{ran}");
                    assert!(ran.stdout.is_empty(), "{ran}");
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(
            read + refused == 40 && refused > 0,
            "{read} read, {refused} refused"
        );
    });
    home.clean();
}

/// lazaret's own folders are refused, whatever the rules say, and so is what holds them.
#[test]
fn the_store_and_the_policy_stay_outside() {
    need!("userns", "overlay");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &image, &[], &["true"]).ok();
    let root = home.root().to_str().unwrap();
    for source in [
        format!("{root}/data/lazaret"),
        format!("{root}/data/lazaret/layers"),
        format!("{root}/data"),
        format!("{root}/config/lazaret"),
        format!("{root}/config"),
    ] {
        let flag = format!("{source}:/x");
        let mut line = vec!["run", "--rm", "-v", &flag, &image];
        line.push("true");
        let ran = home.lazaret(line).cwd("/tmp").run().exits(125);
        assert!(ran.err().contains("lazaret's own folders"), "{ran}");
    }
}

/// What is mounted below a source comes along with the same attributes, and nothing of the kernel's.
#[test]
fn what_is_mounted_below_comes_along() {
    need!("userns", "overlay", "root");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    run(&home, &image, &[], &["true"]).ok();
    for folder in ["sub", "proc"] {
        std::fs::create_dir(home.path("data").join(folder)).unwrap();
    }
    // Mounted in a namespace of the test's own.
    let inside = |mounts: &str, flags: &str, command: &str| {
        let lazaret = env!("CARGO_BIN_EXE_lazaret");
        let script = format!("{mounts} && exec {lazaret} run --rm {flags} {image} {command}");
        let args = ["-m", "sh", "-ec", &script];
        home.program(std::path::Path::new("/usr/bin/unshare"), args)
            .run()
    };
    let tmpfs =
        "mount -t tmpfs -o mode=777 t data/sub && echo below > data/sub/g && chmod 666 data/sub/g";
    inside(tmpfs, "-v ./data:/in:ro", "cat /in/sub/g")
        .ok()
        .prints("below\n");
    for path in ["/in/sub/g", "/in/sub/new", "/in/f"] {
        let ran = inside(tmpfs, "-v ./data:/in:ro", &format!("toolbox put {path} x"));
        assert!(ran.code != Some(0) && ran.code != Some(125), "{ran}");
    }
    let ran = inside(tmpfs, "-v ./data:/in:ro,noexec", "toolbox mounts").ok();
    let of = |ran: &support::Ran| {
        let out = ran.out();
        let of: Vec<String> = out
            .lines()
            .filter(|l| l.contains(" /in"))
            .map(str::to_owned)
            .collect();
        assert_eq!(of.len(), 2, "{ran}");
        of
    };
    for line in of(&ran) {
        for word in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(line.split([' ', ',']).any(|w| w == word), "{word}: {line}");
        }
    }
    inside("mount -t proc p data/proc", "-v ./data:/in:ro", "true")
        .exits(125)
        .complains("no file system of the kernel is mounted");
    // Seen, but not what is asked for.
    inside("mount -t proc p data/proc", "-v ./data/sub:/in:ro", "true").ok();
    home.clean();
}

/// pid 1 opens a source without any capability, also root's: what only root's could reach is refused
/// with the cure, and not with a riddle.
#[test]
fn a_closed_folder_on_the_way_is_named_with_its_cure() {
    need!("userns", "overlay", "root");
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let closed = home.path("data/closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::create_dir(closed.join("below")).unwrap();
    open(&closed, 0o700);
    std::os::unix::fs::chown(&closed, Some(54_321), Some(54_321)).unwrap();
    run(
        &home,
        &image,
        &["-v", "./data/closed/below:/x:ro"],
        &["true"],
    )
    .exits(125)
    .complains("closed to this user without capabilities")
    .complains("hint: pid 1 of a cell has no capability outside: chmod o+x");
    home.clean();
}

/// Each cure of a refusal, as it is printed: the rule into the policy, the command line instead.
#[test]
fn each_cure_cures() {
    need!("userns", "overlay");
    let home = home();
    let policy = home.root().join("config/lazaret/policy.toml");
    let strict = "version = 1\nextends = \"strict\"\n";
    let image = Image::toolbox().layout(&home, "img");
    let elsewhere = home.root().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("sub dir")).unwrap();
    let elsewhere = elsewhere.to_str().unwrap();
    let mut cases = vec![
        vec!["-v".to_owned(), "./data:/x".to_owned()],
        vec!["-v".to_owned(), "./data/f:/x:noexec".to_owned()],
        vec!["-v".to_owned(), format!("{elsewhere}:/x")],
        vec!["-v".to_owned(), format!("{elsewhere}:/x:ro")],
        vec!["-v".to_owned(), format!("{elsewhere}/sub dir:/x")],
        vec![
            "--mount".to_owned(),
            "type=bind,source=./data,target=/x".to_owned(),
        ],
    ];
    if !rustix::process::geteuid().is_root() && support::check("subuids").is_ok() {
        cases.push(vec!["--userns".to_owned(), "keep-id".to_owned()]);
    }
    for flags in cases {
        std::fs::write(&policy, strict).unwrap();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let refused = run(&home, &image, &flags, &["true"])
            .exits(125)
            .complains("refused by policy");
        let text = refused.err();
        let rule: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("[[allow]]"))
            .take(4)
            .collect();
        assert_eq!(rule.len(), 4, "{refused}");
        let rule = rule.join("\n").replace("\"...\"", "\"asked for\"");
        std::fs::write(&policy, format!("{strict}{rule}\n")).unwrap();
        run(&home, &image, &flags, &["true"]).ok();
        // What was not asked for is still refused.
        run(&home, &image, &["-v", "../home:/x:ro"], &["true"]).exits(125);
        let Some(other) = text
            .lines()
            .find_map(|line| line.strip_prefix("or read only: "))
        else {
            assert!(
                flags[0] == "--userns" || flags[1].contains("elsewhere:/x:ro"),
                "{refused}"
            );
            continue;
        };
        std::fs::write(&policy, strict).unwrap();
        let (cwd, flag) = match other
            .strip_prefix("run from ")
            .and_then(|o| o.split_once(" with "))
        {
            Some((cwd, flag)) => (cwd.to_owned(), flag),
            None => (home.path("").to_str().unwrap().to_owned(), other),
        };
        let bind = flag.strip_prefix("-v ").unwrap().trim_matches('\'');
        home.lazaret(["run", "--rm", "-v", bind, &image, "true"])
            .cwd(cwd)
            .run()
            .ok();
    }
    home.clean();
}

/// Only the subpath is mounted; whoever may write in the source leads the lookup nowhere.
#[test]
fn a_subpath_is_mounted_alone() {
    need!("userns", "overlay");
    let home = home();
    std::fs::create_dir_all(home.path("data/sub/deep")).unwrap();
    std::fs::write(home.path("data/sub/deep/g"), "deep\n").unwrap();
    std::os::unix::fs::symlink("sub", home.path("data/link")).unwrap();
    std::os::unix::fs::symlink("/etc", home.path("data/etc")).unwrap();
    for folder in ["data/sub", "data/sub/deep"] {
        open(&home.path(folder), 0o777);
    }
    open(&home.path("data/sub/deep/g"), 0o644);
    let image = Image::toolbox().layout(&home, "img");
    let mount = |subpath: &str, more: &str, command: &[&str]| {
        let flag = format!("type=bind,source=./data,{subpath},target=/in{more}");
        run(&home, &image, &["--mount", &flag], command)
    };
    mount("subpath=sub/deep", ",ro", &["ls", "/in"])
        .ok()
        .prints("g\n");
    mount(
        "volume-subpath=sub/deep",
        "",
        &["toolbox", "put", "/in/new", "x"],
    )
    .ok();
    assert_eq!(support::list(&home.path("data/sub/deep")), ["g", "new"]);
    mount("subpath=sub/deep/g", ",ro", &["cat", "/in"])
        .ok()
        .prints("deep\n");
    for (subpath, word) in [
        ("subpath=link", "no symbolic link is followed"),
        ("subpath=link/deep", "no symbolic link is followed"),
        ("subpath=etc/ssl", "no symbolic link is followed"),
        ("subpath=..", "not below the source"),
        ("subpath=/etc", "not below the source"),
        ("subpath=none", "nothing is made outside"),
        ("subpath=f/x", "not a directory"),
    ] {
        mount(subpath, ",ro", &["true"]).exits(125).complains(word);
    }
    home.clean();
}

/// A socket in a folder that is mounted is one for both sides, also where nothing may be written.
#[test]
fn a_socket_in_a_folder_serves_both_sides() {
    need!("userns", "overlay");
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let inside = home
        .lazaret([
            "run",
            "--rm",
            "-v",
            "./data:/s",
            &image,
            "toolbox",
            "listen",
            "/s/in",
        ])
        .spawn();
    inside.until_out("listening\n");
    let mut to = UnixStream::connect(home.path("data/in")).unwrap();
    to.write_all(b"from outside\n").unwrap();
    let mut answer = String::new();
    BufReader::new(to).read_line(&mut answer).unwrap();
    assert_eq!(answer, "[from outside]\n");
    inside.wait().ok();
    let listener = UnixListener::bind(home.path("data/out")).unwrap();
    open(&home.path("data/out"), 0o666);
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(peer.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        peer.write_all(format!("<{}>\n", line.trim_end()).as_bytes())
            .unwrap();
    });
    let command = ["toolbox", "connect", "/s/out", "from inside"];
    run(&home, &image, &["-v", "./data:/s:ro"], &command)
        .ok()
        .prints("<from inside>\n");
    server.join().unwrap();
    home.clean();
}

/// Files that are made in a folder are the caller's to delete, or it is said that they will not be,
/// before anything is made.
#[test]
fn whose_new_files_are_is_said_before() {
    need!("userns", "overlay");
    use std::os::unix::fs::MetadataExt as _;
    let home = home();
    let image = Image::toolbox().layout(&home, "img");
    let ran = run(
        &home,
        &image,
        &["-v", "./data:/out"],
        &["toolbox", "put", "/out/made", "x"],
    )
    .ok();
    let owner = home.path("data/made").metadata().unwrap().uid();
    let me = rustix::process::geteuid();
    let said = ran
        .err()
        .contains("files made in /out will belong to subordinate ids");
    assert_eq!(said, owner != me.as_raw() && !me.is_root(), "{ran}");
    let ran = run(&home, &image, &["-v", "./data:/out:ro"], &["true"]).ok();
    assert!(!ran.err().contains("/out"), "{ran}");
    open(&home.path("data"), 0o700);
    let ran = run(
        &home,
        &image,
        &["-v", "./data:/in:ro"],
        &["toolbox", "ls", "/in"],
    );
    let told = ran.err().contains("/in cannot be read inside");
    assert_eq!(told, ran.code != Some(0), "{ran}");
    home.clean();
}
