//! The catalogue of refusals: what each says, to the letter, and that its cure cures.
//!
//! Every case is a command that the policy refuses. What it prints stands in
//! `tests/snapshots/refusals__*.snap`; then the test does what the hint says and nothing else, in a
//! home of its own, and the same command runs. A refusal without a cure says that there is none.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use support::{Entry, Home, Image, Ran, have, need};

/// What a refusal must offer.
#[derive(Clone, Copy)]
enum Cure {
    /// Lines for the policy: pasted, the same command runs.
    Paste,
    /// What the hint says, as flags in front of the image; the hint must name the first word.
    Flags(&'static [&'static str]),
    /// These flags in the place of the refused ones; the hint must say the word.
    Instead(&'static str, &'static [&'static str]),
    /// The user's own rule stands in the way, and the hint says where: without the rules it runs.
    OwnRule,
    /// None, and the refusal says so.
    None,
}

struct Case {
    name: &'static str,
    rules: &'static str,
    flags: &'static [&'static str],
    cure: Cure,
}

const fn case(
    name: &'static str,
    rules: &'static str,
    flags: &'static [&'static str],
    cure: Cure,
) -> Case {
    Case {
        name,
        rules,
        flags,
        cure,
    }
}

/// A home where everything that the cases name is there.
fn scene() -> Home {
    let home = Home::new();
    for folder in ["data", "data/inner", "secret", "a*b"] {
        std::fs::create_dir(home.path(folder)).unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.path(folder), open).unwrap();
    }
    for file in ["data/file", "x.sock", "plain"] {
        std::fs::write(home.path(file), "x").unwrap();
    }
    let elsewhere = home.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::create_dir_all(home.root().join("home/.ssh")).unwrap();
    std::fs::create_dir_all(home.root().join("home/src")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, home.path("fifo"), fifo, mode, 0).unwrap();
    std::os::unix::net::UnixListener::bind(home.path("listening")).unwrap();
    home
}

fn policy_file(home: &Home) -> PathBuf {
    home.root().join("config/lazaret/policy.toml")
}

/// Writes the user's policy: `rules` under `strict`.
fn policy(home: &Home, rules: &str) {
    let file = policy_file(home);
    let folder = file.parent().unwrap();
    std::fs::create_dir_all(folder).unwrap();
    for path in [folder, folder.parent().unwrap()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    std::fs::write(&file, format!("version = 1\nextends = \"strict\"\n{rules}")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// `$ROOT` in a flag is the home's folder.
fn run(home: &Home, flags: &[&str], image: &str) -> Ran {
    let root = home.root().to_str().unwrap();
    let flags = flags.iter().map(|flag| flag.replace("$ROOT", root));
    let line: Vec<String> = ["run".to_owned(), "--rm".to_owned()]
        .into_iter()
        .filter(|word| word != "--rm" || !flags.clone().any(|flag| flag == "--kept"))
        .chain(flags.clone().filter(|flag| flag != "--kept"))
        .chain([image.to_owned(), "true".to_owned()])
        .collect();
    home.lazaret(line).run()
}

/// What was said, with nothing of this machine in it.
fn told(home: &Home, ran: &Ran) -> String {
    let err = ran.err();
    let lines = err.lines().filter(|line| {
        // What this machine holds weakly is another test's matter.
        !line.starts_with("lazaret: weaker here") && !line.contains(": Unpack")
    });
    let root = home.root().to_str().unwrap();
    let real = home.root().canonicalize().unwrap();
    let mut out: Vec<String> = Vec::new();
    // Where lines are broken depends on how long this home's path is: a block is one line here.
    let mut words = false;
    for line in lines {
        let line = line
            .replace(real.to_str().unwrap(), "$ROOT")
            .replace(root, "$ROOT");
        match out.last_mut() {
            Some(block) if words && line.starts_with("          ") => {
                block.push(' ');
                block.push_str(line.trim_start());
            }
            _ => {
                words = line.starts_with("  asked") || line.starts_with("  why");
                out.push(line);
            }
        }
    }
    // How large the test's own program is, is the compiler's matter.
    let number = |word: &str| word.len() > 3 && word.bytes().all(|b| b.is_ascii_digit());
    let digest = |word: &str| word.starts_with("sha256:") && word.len() == 71;
    let plain = |line: &String| match line.contains(" compressed bytes") || line.contains("sha256:")
    {
        true => line
            .split(' ')
            .map(|word| match word {
                word if number(word) => "$N",
                word if digest(word) => "sha256:$DIGEST",
                word => word,
            })
            .collect::<Vec<_>>()
            .join(" "),
        false => line.clone(),
    };
    out.iter().map(plain).collect::<Vec<_>>().join("\n") + "\n"
}

/// The lines that a refusal wants to have pasted, of all its reasons.
fn pasted(text: &str) -> String {
    let mut cure = String::new();
    let mut inside = false;
    for line in text.lines() {
        inside = match line {
            line if line.starts_with("[[") => true,
            line if line.starts_with("hint") || line.starts_with("or ") => false,
            line => inside && !line.starts_with("  asked"),
        };
        if inside {
            cure.push_str(&line.replace("\"...\"", "\"asked for\""));
            cure.push('\n');
        }
    }
    assert!(cure.lines().count() >= 4, "no cure to paste:\n{text}");
    cure
}

/// Compares with `tests/snapshots/refusals__NAME.snap`.
fn golden(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

fn hints(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("hint:"));
    lines.collect::<Vec<_>>().join(" ")
}

fn try_case(case: &Case, image: impl Fn(&Home) -> String) {
    let home = scene();
    let image = image(&home);
    policy(&home, case.rules);
    let ran = run(&home, case.flags, &image).exits(125);
    let text = told(&home, &ran);
    golden(case.name, &text);
    for line in ran.err().lines() {
        // Rules, paths and lines to paste are not broken.
        let words = line.starts_with("  asked") || line.starts_with("  why");
        let fits = line.chars().count() <= 60 || line.contains('/');
        assert!(!words || fits, "{}: {line}", case.name);
    }
    match case.cure {
        Cure::Paste => {
            policy(&home, &format!("{}{}", case.rules, pasted(&ran.err())));
            run(&home, case.flags, &image).ok();
        }
        Cure::Flags(flags) => {
            assert!(hints(&text).contains(flags[0]), "{}: {text}", case.name);
            let all: Vec<&str> = case.flags.iter().chain(flags).copied().collect();
            let all: Vec<&str> = all.into_iter().filter(|flag| *flag != "--kept").collect();
            run(&home, &all, &image).ok();
        }
        Cure::Instead(word, flags) => {
            assert!(hints(&text).contains(word), "{}: {text}", case.name);
            run(&home, flags, &image).ok();
        }
        Cure::OwnRule => {
            assert!(
                hints(&text).contains("policy.toml:"),
                "{}: {text}",
                case.name
            );
            policy(&home, "");
            run(&home, case.flags, &image).ok();
        }
        Cure::None => {
            let says = |word| hints(&text).contains(word);
            assert!(
                says("hint: no ") || says("the most there is"),
                "{}: {text}",
                case.name
            );
        }
    }
    home.clean();
}

fn toolbox(home: &Home) -> String {
    Image::toolbox().layout(home, "img")
}

/// Who has no policy file yet is told how to have one that the lines can be added to.
#[test]
fn the_first_cure_of_a_person() {
    need!("userns", "overlay");
    let home = scene();
    let image = toolbox(&home);
    let flags = ["-v", "./data:/data"];
    let ran = run(&home, &flags, &image).exits(125);
    let file = policy_file(&home);
    assert!(!file.exists());
    let ran = ran.complains(&format!(
        "hint: to allow it, run `lazaret policy init`, and add to {}\n[[allow]]\n",
        file.display()
    ));
    home.lazaret(["policy", "init"]).run().ok();
    let begun = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, begun + &pasted(&ran.err())).unwrap();
    run(&home, &flags, &image).ok();
    home.clean();
}

#[test]
fn mounts() {
    need!("userns", "overlay");
    let deny = "[[deny]]\nmounts = [\"./secret\"]\nreason = \"nobody's business\"\n";
    let cases = [
        case("mount_write", "", &["-v", "./data:/data"], Cure::Paste),
        case(
            "mount_write_read_only_instead",
            "",
            &["-v", "./data:/data:rw"],
            Cure::Instead("-v ./data:/data:ro", &["-v", "./data:/data:ro"]),
        ),
        case(
            "mount_elsewhere",
            "",
            &["-v", "$ROOT/elsewhere:/x:ro"],
            Cure::Paste,
        ),
        case(
            "mount_long_form",
            "",
            &["--mount", "type=bind,source=$ROOT/elsewhere,target=/x"],
            Cure::Paste,
        ),
        case("mount_file", "", &["-v", "./data/file:/f"], Cure::Paste),
        case(
            "mount_two_at_once",
            "",
            &["-v", "./data:/data", "-v", "/etc:/x:ro"],
            Cure::None,
        ),
        case("mount_home", "", &["-v", "$ROOT/home:/x:ro"], Cure::None),
        case(
            "mount_home_dot",
            "",
            &["-v", "$ROOT/home/.ssh:/x:ro"],
            Cure::None,
        ),
        case(
            "mount_below_home",
            "",
            &["-v", "$ROOT/home/src:/x:ro"],
            Cure::Paste,
        ),
        case("mount_root", "", &["-v", "/:/x:ro"], Cure::None),
        case("mount_etc", "", &["-v", "/etc:/x:ro"], Cure::None),
        case("mount_proc", "", &["-v", "/proc:/x:ro"], Cure::None),
        case("mount_run", "", &["-v", "/run:/x:ro"], Cure::None),
        case(
            "mount_allowed_all_but_etc",
            "[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"all\"\n",
            &["-v", "/etc:/x"],
            Cure::None,
        ),
        case(
            "mount_device",
            "",
            &["-v", "/dev/null:/x:ro"],
            Cure::Instead("--device", &["-v", "./data:/x:ro"]),
        ),
        case("mount_sock", "", &["-v", "./x.sock:/x:ro"], Cure::None),
        case("mount_socket", "", &["-v", "./listening:/x:ro"], Cure::None),
        case(
            "mount_fifo",
            "",
            &["-v", "./fifo:/x:ro"],
            Cure::Instead("bind the folder", &["-v", "./data:/x:ro"]),
        ),
        case(
            "mount_own_deny",
            deny,
            &["-v", "./secret:/x:ro"],
            Cure::OwnRule,
        ),
        case(
            "mount_holds_denied",
            deny,
            &["-v", "./:/x:ro"],
            Cure::OwnRule,
        ),
        case(
            "mount_star",
            "",
            &["-v", "./a*b:/x"],
            Cure::Instead("rename it", &["-v", "./data:/x:ro"]),
        ),
        case("target_proc", "", &["-v", "./data:/proc/x:ro"], Cure::None),
        case("target_dev", "", &["-v", "./data:/dev/x:ro"], Cure::None),
        case("target_sys", "", &["--tmpfs", "/sys/x"], Cure::None),
        case(
            "tmpfs_own_deny",
            "[[deny]]\nmounts = [\"tmpfs\"]\nreason = \"no more memory\"\n",
            &["--tmpfs", "/x"],
            Cure::OwnRule,
        ),
        case(
            "mount_store",
            "[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"all\"\n",
            &["-v", "$ROOT/data/lazaret:/x:ro"],
            Cure::None,
        ),
        case(
            "mount_policy",
            "[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"all\"\n",
            &["-v", "$ROOT/config/lazaret:/x:ro"],
            Cure::None,
        ),
    ];
    for case in &cases {
        try_case(case, toolbox);
    }
}

#[test]
fn limits() {
    need!("userns", "overlay");
    let some = "[[give]]\nlimits = { fsize = \"1MiB\", cpu = \"1h\", stack = \"8MiB\", timeout = \"1h\", msgqueue = \"4KiB\", sigpending = 10 }\nreason = \"small\"\n";
    let cases = [
        case("limit_pids", "", &["--pids-limit", "10000"], Cure::Paste),
        case(
            "limit_pids_most",
            "",
            &["--pids-limit", "40000"],
            Cure::None,
        ),
        case("limit_nproc", "", &["--ulimit", "nproc=600"], Cure::Paste),
        case(
            "limit_fsize",
            some,
            &["--ulimit", "fsize=2097152"],
            Cure::Paste,
        ),
        case("limit_cpu", some, &["--ulimit", "cpu=7200"], Cure::Paste),
        case(
            "limit_stack",
            some,
            &["--ulimit", "stack=16777216"],
            Cure::Paste,
        ),
        case(
            "limit_msgqueue",
            some,
            &["--ulimit", "msgqueue=8192"],
            Cure::Paste,
        ),
        case(
            "limit_sigpending",
            some,
            &["--ulimit", "sigpending=20"],
            Cure::Paste,
        ),
        case("limit_timeout", some, &["--timeout", "2h"], Cure::Paste),
        case(
            "require_tmp",
            "[[require]]\nlimits = [\"tmp\"]\nreason = \"the disk is small\"\n",
            &["--kept"],
            Cure::Flags(&["--rm"]),
        ),
        case(
            "require_timeout",
            "[[require]]\nlimits = [\"timeout\"]\nreason = \"nothing runs for ever\"\n",
            &[],
            Cure::Flags(&["--timeout", "60s"]),
        ),
        case(
            "require_fsize",
            "[[require]]\nlimits = [\"fsize\"]\nreason = \"small files\"\n",
            &[],
            Cure::Flags(&["--ulimit", "fsize=1000000"]),
        ),
    ];
    for case in &cases {
        try_case(case, toolbox);
    }
}

#[test]
fn names() {
    need!("userns", "overlay");
    let cases = [
        case(
            "env_own_deny",
            "[[deny]]\nenv = [\"LD_*\"]\nreason = \"nothing is preloaded\"\n",
            &["-e", "LD_PRELOAD=x"],
            Cure::OwnRule,
        ),
        case(
            "env_given_and_denied",
            "[[deny]]\nenv = [\"*TOKEN*\"]\nreason = \"tokens stay here\"\n",
            &["-e", "CI_TOKEN_X=1", "-e", "A=b"],
            Cure::OwnRule,
        ),
        case(
            "verify_less",
            "[[require]]\nverify = \"full\"\nreason = \"the disk is old\"\n",
            &["--verify", "stat"],
            Cure::OwnRule,
        ),
        case("cap_add", "", &["--cap-add", "CHOWN"], Cure::Paste),
        case(
            "cap_add_two",
            "",
            &["--cap-add", "cap_setuid", "--cap-add", "KILL"],
            Cure::Paste,
        ),
        case(
            "cap_add_never",
            "[[allow]]\ncaps = [\"*\"]\nreason = \"all\"\n",
            &["--cap-add", "SYS_ADMIN"],
            Cure::None,
        ),
        case("cap_add_raw", "", &["--cap-add", "NET_RAW"], Cure::None),
        case("network_host", "", &["--network", "host"], Cure::Paste),
        case(
            "network_own_deny",
            "[[allow]]\nnetwork = [\"host\"]\nreason = \"r\"\n[[deny]]\nnetwork = [\"host\"]\nreason = \"offline\"\n",
            &["--network", "host"],
            Cure::Instead("policy.toml:", &["--network", "none"]),
        ),
        case(
            "give_never",
            "[[give]]\ncaps = [\"SYS_ADMIN\"]\nreason = \"it asked\"\n",
            &[],
            Cure::None,
        ),
        case("device_memory", "", &["--device", "/dev/kmsg"], Cure::None),
        case(
            "device_allowed_all_but_log",
            "[[allow]]\ndevices = [\"**\"]\nreason = \"all\"\n",
            &["--device", "/dev/kmsg"],
            Cure::None,
        ),
        case(
            "device_file",
            "",
            &["--device", "$ROOT/work/plain:/dev/x"],
            Cure::None,
        ),
    ];
    for case in &cases {
        try_case(case, toolbox);
    }
}

#[test]
fn the_callers_own_number() {
    need!("userns", "overlay", "subuids", "not-root");
    try_case(
        &case("userns", "", &["--userns", "keep-id"], Cure::Paste),
        toolbox,
    );
}

#[test]
fn a_device_that_nobody_named() {
    need!("userns", "overlay", "landlock-5");
    let devices = ["/dev/net/tun", "/dev/rtc0", "/dev/hwrng", "/dev/ppp"];
    let device = devices.iter().find(|path| Path::new(path).exists());
    let device = *device.expect("none of the devices that this test knows is here");
    let home = scene();
    let image = toolbox(&home);
    policy(&home, "");
    let ran = run(&home, &["--device", device], &image).exits(125);
    golden("device", &told(&home, &ran).replace(device, "/dev/$DEVICE"));
    policy(&home, &pasted(&ran.err()));
    run(&home, &["--device", device], &image).ok();
    home.clean();
}

/// An image that every fact can be held against.
fn odd(home: &Home) -> String {
    Image::toolbox()
        .with(&[
            Entry::file("bin/su", "x").mode(0o4755),
            Entry::file("bin/ping", "x").pax(
                "SCHILY.xattr.security.capability",
                b"\x01\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
            Entry::file("etc/open", "x").mode(0o666),
            Entry::char_device("dev/sda", 8, 0),
            Entry::dir("root/.ssh").mode(0o700),
        ])
        .set("Labels", json!({ "vendor": "acme" }))
        .layout(home, "img")
}

#[test]
fn facts() {
    need!("userns", "overlay");
    let require =
        |facts: &str| format!("[[require]]\nfacts = {{ {facts} }}\nreason = \"the lab says so\"\n");
    let zeros = format!("base = [\"sha256:{}\"]", "0".repeat(64));
    for (name, fact) in [
        ("fact_layers", "max_layers = 1"),
        ("fact_files", "max_files = 3"),
        ("fact_size", "max_size = \"1KiB\""),
        ("fact_setuid", "setuid = \"none\""),
        ("fact_file_caps", "file_caps = \"none\""),
        ("fact_special", "special = \"none\""),
        ("fact_world_writable", "world_writable = \"none\""),
        ("fact_absent", "absent = [\"/root/.ssh/**\"]"),
        ("fact_present", "present = [\"/etc/os-release\"]"),
        ("fact_users", "users = [\"app\"]"),
        ("fact_labels", "labels = { vendor = \"lab\" }"),
        ("fact_age", "max_age = \"90d\""),
        ("fact_base", zeros.as_str()),
    ] {
        let rules: &'static str = Box::leak(require(fact).into_boxed_str());
        try_case(&case(name, rules, &[], Cure::OwnRule), odd);
    }
}

#[test]
fn trust() {
    need!("userns", "overlay");
    let reject = "[[trust]]\nimage = \"oci:**\"\naccept = \"reject\"\nreason = \"from nowhere\"\n";
    try_case(&case("trust_reject", reject, &[], Cure::Paste), toolbox);
    // Named by its digest it is what was pinned.
    let home = scene();
    let image = toolbox(&home);
    home.lazaret(["load", &image, "registry.example/lab/x:1"])
        .run()
        .ok();
    policy(
        &home,
        "[[trust]]\nimage = \"registry.example/**\"\naccept = \"pinned\"\nreason = \"by digest only\"\n",
    );
    let ran = run(&home, &[], "registry.example/lab/x:1").exits(125);
    let text = ran.err();
    let pinned = text.split_whitespace().find(|w| w.contains("@sha256:"));
    let pinned = pinned.unwrap();
    let (_, digest) = pinned.split_once("sha256:").unwrap();
    golden(
        "trust_pinned",
        &told(&home, &ran).replace(digest, "$DIGEST"),
    );
    run(&home, &[], pinned).ok();
    home.clean();
}

/// Writes a project's policy and trusts it.
fn project(home: &Home, rules: &str) {
    let text = format!("version = 1\nextends = \"never\"\n{rules}");
    std::fs::write(home.path("lazaret.toml"), text).unwrap();
    home.lazaret(["policy", "trust"]).run().ok();
}

#[test]
fn projects() {
    need!("userns", "overlay");
    let home = scene();
    let image = toolbox(&home);
    policy(&home, "");
    let told = |name: &str, ran: &Ran| golden(name, &told(&home, ran));
    project(
        &home,
        "[[deny]]\nenv = [\"SECRET\"]\nmounts = [\"./secret\"]\nreason = \"this project needs none\"\n",
    );
    told(
        "project_env",
        &run(&home, &["-e", "SECRET=1"], &image).exits(125),
    );
    told(
        "project_mount",
        &run(&home, &["-v", "./secret:/x:ro"], &image).exits(125),
    );
    run(&home, &["-v", "./data:/x:ro"], &image).ok();
    // Other bytes than those that were trusted.
    std::fs::write(
        home.path("lazaret.toml"),
        "version = 1\nextends = \"never\"\n",
    )
    .unwrap();
    let changed = run(&home, &["-e", "SECRET=1"], &image).exits(125);
    told("project_changed", &changed);
    assert!(hints(&changed.err()).contains("lazaret policy trust"));
    home.lazaret(["policy", "trust"]).run().ok();
    run(&home, &["-e", "SECRET=1"], &image).ok();
    home.clean();
}

#[test]
fn files() {
    need!("userns", "overlay");
    let home = scene();
    let image = toolbox(&home);
    let file = policy_file(&home);
    let told = |name: &str, ran: &Ran| golden(name, &told(&home, ran));
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // What the hint says is a command.
    let obey = |ran: &Ran| {
        let text = ran.err();
        let hint = text.lines().find_map(|line| line.strip_prefix("hint: "));
        let words: Vec<&str> = hint.unwrap().split(' ').collect();
        let done = std::process::Command::new(words[0])
            .args(&words[1..])
            .status();
        assert!(done.unwrap().success(), "{words:?}");
    };
    policy(&home, "");
    set(&file, 0o664);
    let ran = run(&home, &[], &image).exits(125);
    told("file_group_writes", &ran);
    obey(&ran);
    run(&home, &[], &image).ok();
    if have("refusals::files of another", "root") {
        std::os::unix::fs::chown(&file, Some(4321), None).unwrap();
        let ran = run(&home, &[], &image).exits(125);
        told("file_of_another", &ran);
        obey(&ran);
        run(&home, &[], &image).ok();
    }
    if have("refusals::files unreadable", "not-root") {
        set(&file, 0o200);
        let ran = run(&home, &[], &image).exits(125);
        told("file_unreadable", &ran);
        obey(&ran);
        run(&home, &[], &image).ok();
    }
    set(file.parent().unwrap(), 0o777);
    let ran = run(&home, &[], &image).exits(125);
    told("file_folder_writable", &ran);
    obey(&ran);
    run(&home, &[], &image).ok();
    std::fs::rename(&file, file.with_extension("real")).unwrap();
    std::os::unix::fs::symlink("policy.real", &file).unwrap();
    told("file_link", &run(&home, &[], &image).exits(125));
    std::fs::remove_file(&file).unwrap();
    for (name, text) in [
        ("file_empty", ""),
        ("file_no_extends", "version = 1\n"),
        ("file_newer", "version = 2\nextends = \"strict\"\n"),
        (
            "file_unknown_profile",
            "version = 1\nextends = \"compact\"\n",
        ),
        (
            "file_many_problems",
            "version = 1\nextends = \"strict\"\n[[alow]]\nenv = [\"A\"]\n[[allow]]\nenvs = [\"A\"]\nlimits = { pids = \"many\" }\n",
        ),
        (
            "file_no_key",
            "version = 1\nextends = \"strict\"\n[[trust]]\nimage = \"registry.example/**\"\naccept = { signed = [\"lab.pub\"] }\nreason = \"ours\"\n",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        set(&file, 0o600);
        told(name, &run(&home, &[], &image).exits(125));
    }
    // Profiles beside the policy that extend each other.
    let profiles = file.parent().unwrap().join("profiles");
    std::fs::create_dir(&profiles).unwrap();
    set(&profiles, 0o700);
    for (name, base) in [("a", "b"), ("b", "a")] {
        let text = format!("version = 1\nextends = \"{base}\"\n");
        std::fs::write(profiles.join(format!("{name}.toml")), text).unwrap();
    }
    std::fs::write(&file, "version = 1\nextends = \"a\"\n").unwrap();
    told("file_circle", &run(&home, &[], &image).exits(125));
    std::fs::write(
        profiles.join("b.toml"),
        "version = 1\nextends = \"strict\"\n",
    )
    .unwrap();
    run(&home, &[], &image).ok();
    run(&home, &["--profile", "b"], &image).ok();
    told(
        "flag_unknown_profile",
        &run(&home, &["--profile", "strickt"], &image).exits(125),
    );
    home.clean();
}
