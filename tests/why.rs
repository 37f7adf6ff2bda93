//! `lazaret why`: each answer names its rule and its cure, the real cell agrees, and exactly the cure
//! that is told makes it so.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::str::FromStr;
use support::{Entry, Home, Image, Layer, Ran, need, program};

fn ask(home: &Home, words: &[&str]) -> Ran {
    home.lazaret(["why"].iter().chain(words)).run()
}

/// The answer, whose exit code agrees with it.
#[track_caller]
fn answer(home: &Home, words: &[&str]) -> Value {
    let ran = ask(home, &[words, &["--format", "json"]].concat());
    let value: Value =
        serde_json::from_str(&ran.out()).unwrap_or_else(|e| panic!("{words:?}: {e}\n{ran}"));
    let allowed = value["allowed"].as_bool().unwrap();
    ran.exits(i32::from(!allowed));
    value
}

fn cure(answer: &Value) -> Option<Vec<&str>> {
    let lines = answer["cure"].as_array()?;
    Some(lines.iter().map(|line| line.as_str().unwrap()).collect())
}

/// What a cure has to be.
enum Cure {
    /// It is allowed.
    Needless,
    /// No policy allows it.
    None,
    /// This flag, as things stand.
    Flag(&'static str),
    /// A rule with this line, and this flag behind it.
    Rule(&'static str, &'static str),
}
use Cure::{Flag, Needless, None as Never, Rule};

/// A question, flags beside it, a part of the first line, a part of the rule and its place, the cure.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
    Cure,
);

const SET: &str = "syscalls = \"default\"";
const NET: &str = "give network = [\"none\"]";
const STRICT: &str = "strict.toml:";
const NEVER: &str = "never.toml:";
const ALWAYS: &str = "always";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // System calls.
    ("read", &[], "read reaches the kernel", SET, STRICT, Needless),
    ("mount", &[], "mount answers EPERM", SET, STRICT, Never),
    ("mount(MS_BIND)", &[], "mount(MS_BIND, ...) answers EPERM", SET, STRICT, Never),
    ("unshare(CLONE_NEWUSER|CLONE_NEWNS)", &[], "unshare(CLONE_NEWUSER|CLONE_NEWNS) answers EPERM", SET, STRICT, Never),
    ("clone", &[], "clone, for some arguments; else answers EPERM", SET, STRICT, Needless),
    ("clone(0)", &[], "clone(0, ...) reaches", SET, STRICT, Needless),
    ("clone(CLONE_NEWNET)", &[], "clone(CLONE_NEWNET, ...) answers EPERM", SET, STRICT, Never),
    ("clone3", &[], "clone3 answers ENOSYS", SET, STRICT, Never),
    ("socket(AF_UNIX)", &[], "reaches the kernel", SET, STRICT, Needless),
    ("socket(AF_PACKET)", &[], "socket(AF_PACKET, ...) answers EAFNOSUPPORT", SET, STRICT, Never),
    ("socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)", &[], "answers EPERM", SET, STRICT, Never),
    ("socket(AF_NETLINK, _, NETLINK_AUDIT)", &[], "answers EPROTONOSUPPORT", SET, STRICT, Never),
    ("ioctl(TIOCSTI)", &[], "ioctl(TIOCSTI, ...) answers EPERM", SET, STRICT, Never),
    ("ioctl", &[], "for some arguments", SET, STRICT, Needless),
    ("ptrace(PTRACE_ATTACH)", &[], "answers ENOSYS", SET, STRICT, Never),
    ("bpf(BPF_PROG_LOAD)", &[], "bpf(BPF_PROG_LOAD, ...) answers ENOSYS", SET, STRICT, Never),
    ("keyctl", &[], "answers ENOSYS", SET, STRICT, Never),
    ("io_uring_setup", &[], "answers ENOSYS", SET, STRICT, Never),
    ("personality(ADDR_NO_RANDOMIZE)", &[], "answers EPERM", SET, STRICT, Never),
    ("mknodat(S_IFCHR)", &[], "answers EPERM", SET, STRICT, Never),
    ("swapon", &[], "answers EPERM", SET, STRICT, Never),
    ("setrlimit", &[], "else answers success and does nothing", SET, STRICT, Needless),
    ("4000", &[], "system call 4000 answers ENOSYS", SET, STRICT, Never),
    ("chroot", &[], "chroot answers EPERM", SET, STRICT, Rule("caps = [\"SYS_CHROOT\"]", "--cap-add SYS_CHROOT")),
    // Capabilities.
    ("NET_ADMIN", &[], "NET_ADMIN is not held", "deny caps", NEVER, Never),
    ("CAP_SYS_PTRACE", &[], "SYS_PTRACE is not held", "deny caps", NEVER, Never),
    ("BPF", &[], "BPF is not held", "deny caps", NEVER, Never),
    ("CHOWN", &[], "CHOWN is not held", "give caps = []", STRICT, Rule("caps = [\"CHOWN\"]", "--cap-add CHOWN")),
    ("cap_net_bind_service", &[], "is not held", "give caps = []", STRICT, Rule("caps = [\"NET_BIND_SERVICE\"]", "--cap-add NET_BIND_SERVICE")),
    // Paths inside.
    ("/proc/kcore", &[], "/proc/kcore is hidden", "", ALWAYS, Never),
    ("/proc/bus/pci", &[], "is hidden", "", ALWAYS, Never),
    ("/proc/self/status", &[], "of the cell's own /proc", "", ALWAYS, Needless),
    ("/proc/sys/kernel/hostname", &[], "may be read", "", ALWAYS, Needless),
    ("/proc/sys/kernel/hostname:rw", &[], "cannot be written", "", ALWAYS, Never),
    ("/sys/kernel", &[], "/sys is empty", "an empty folder on /sys", ALWAYS, Never),
    ("/dev/null", &[], "the cell's own node, 1:3", "", STRICT, Needless),
    ("/dev/shm/x:rw", &[], "the cell's own, in memory", "", ALWAYS, Needless),
    ("/dev/kvm", &[], "/dev/kvm is not there", "deny devices", NEVER, Never),
    ("/dev/sda", &[], "is not there", "deny devices", NEVER, Never),
    ("/dev/dri/renderD128", &[], "is not there", "give devices", STRICT, Rule("devices = [\"/dev/dri/renderD128\"]", "--device /dev/dri/renderD128")),
    ("/etc/hosts", &[], "is written by lazaret", "", ALWAYS, Needless),
    ("/etc/shadow", &[], "/etc/shadow is the image's own", "", ALWAYS, Needless),
    ("/opt/x:rw", &["--read-only"], "cannot be written", "--read-only", "--read-only", Flag("leave --read-only out, or --tmpfs /opt")),
    ("/opt/x", &["--read-only"], "is the image's own", "", ALWAYS, Needless),
    ("/t/x:rw", &["--tmpfs", "/t"], "is in a tmpfs on /t", "", "--tmpfs", Needless),
    ("/t/x:rw", &["--tmpfs", "/t:ro"], "cannot be written", "", "--tmpfs", Flag("leave ro out where /t is mounted")),
    ("/w/there", &["-v", "./there:/w:ro"], "mounted from", "-v ", STRICT, Needless),
    // Paths of this machine.
    ("./there", &[], "sees no file of this machine", "", ALWAYS, Flag("-v ./there:")),
    ("./there", &["-v", ".:/w:ro"], "./there is seen as /w/there", "-v ", STRICT, Needless),
    ("./there:rw", &[], "sees no file of this machine", "allow mounts", STRICT, Rule("mounts = [\"", "-v ./there:")),
    ("~/nothing", &[], "sees no file of this machine", "allow mounts", STRICT, Rule("mounts = [\"", "-v ~/nothing:")),
    ("~/.ssh/id", &[], "sees no file of this machine", "deny mounts", STRICT, Never),
    // The network.
    ("127.0.0.1:80", &[], "the cell's own loopback", "none", STRICT, Needless),
    ("[::1]:53", &[], "the cell's own loopback", "none", STRICT, Needless),
    ("registry.example:443", &[], "is not reached", NET, STRICT, Rule("network = [\"host\"]", "--network host")),
    ("[2001:db8::1]:443", &[], "is not reached", NET, STRICT, Rule("network = [\"host\"]", "--network host")),
    ("unix:/run/x.sock", &[], "sees no /run/x.sock", "deny mounts", NEVER, Never),
    ("unix:@bus", &[], "@bus of this machine is not reached", "none", "", Never),
];

#[test]
fn each_answer_names_its_rule_and_its_cure() {
    need!("userns", "landlock-6");
    assert!(TABLE.len() >= 40);
    let home = Home::new();
    std::fs::create_dir(home.path("there")).unwrap();
    for (question, flags, first, rule, origin, want) in TABLE {
        let answer = answer(&home, &[&[*question], *flags].concat());
        let told = format!("{question}: {answer:#}");
        assert!(answer["answer"].as_str().unwrap().contains(first), "{told}");
        assert!(answer["rule"].as_str().unwrap().contains(rule), "{told}");
        assert!(place(&answer["origin"]).contains(origin), "{told}");
        assert_eq!(answer["question"], *question);
        assert_eq!(answer["image"], Value::Null);
        assert!(
            !answer["why"].as_str().unwrap().is_empty() || cure(&answer).is_none(),
            "{told}"
        );
        match (want, cure(&answer)) {
            (Needless, None) => assert_eq!(answer["allowed"], true, "{told}"),
            (Never, Some(lines)) => assert!(lines.is_empty(), "{told}"),
            (Flag(flag), Some(lines)) => {
                assert_eq!(lines.len(), 1, "{told}");
                assert!(lines[0].starts_with(flag), "{told}");
            }
            (Rule(line, flag), Some(lines)) => {
                assert!(lines.iter().any(|have| have.starts_with(line)), "{told}");
                let flag = format!("and run with {flag}");
                assert!(lines.iter().any(|have| have.starts_with(&flag)), "{told}");
                // Nobody copies a rule for an image that there is not.
                assert!(!told.contains(".invalid"), "{told}");
            }
            _ => panic!("{told}"),
        }
        // A person's screen: the same, in sixty columns but for what is to be copied.
        let text = ask(&home, &[&[*question], *flags].concat()).out();
        let yes = if answer["allowed"] == true {
            "yes: "
        } else {
            "no: "
        };
        assert!(text.starts_with(yes), "{text}");
        assert!(text.lines().count() <= 24, "{text}");
        let prose = text.lines().take_while(|line| !line.starts_with("cure: "));
        for line in prose.filter(|line| line.contains(' ')) {
            assert!(
                line.chars().count() <= 60 || !line.trim().contains("  "),
                "{line}"
            );
        }
    }
}

/// Where a rule stands, in words.
fn place(origin: &Value) -> String {
    let (kind, value) = origin.as_object().unwrap().iter().next().unwrap();
    match value {
        Value::Object(rule) => format!("{}:{}", rule["file"].as_str().unwrap(), rule["line"]),
        value => format!("{kind} {value}"),
    }
}

fn number(name: &str) -> String {
    #[cfg(target_arch = "aarch64")]
    use syscalls::aarch64::Sysno;
    #[cfg(target_arch = "x86_64")]
    use syscalls::x86_64::Sysno;
    Sysno::from_str(name).unwrap().id().to_string()
}

fn image(home: &Home) -> String {
    let file =
        |path: &str, of: &str| Entry::file(path, std::fs::read(program(of)).unwrap()).mode(0o755);
    Image::toolbox()
        .with(&[
            file("bin/denied", "denied"),
            file("bin/tcp", "hostile/tcp"),
            Entry::dir("opt"),
        ])
        .layout(home, "img")
}

fn run(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> Ran {
    let line = ["run", "--rm"].iter().chain(flags).chain([&image]);
    home.lazaret(line.chain(command)).run()
}

/// Whether the act that was asked about was done.
type Done = fn(&Ran) -> bool;

/// What a question is about, done in a real cell: yes is yes, no is no, and where there is a cure,
/// exactly that makes it a yes.
#[test]
fn the_real_cell_agrees_and_the_cure_cures() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    std::fs::create_dir(home.path("there")).unwrap();
    std::fs::write(home.path("there/file"), "seen").unwrap();
    std::fs::set_permissions(home.path("there"), PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::set_permissions(home.path("."), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(home.root(), PermissionsExt::from_mode(0o755)).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let there = home.path("there/file").to_str().unwrap().to_owned();
    let new = home.path("there/new").to_str().unwrap().to_owned();
    let nr = |name: &str| number(name);
    let sys = |call: &[&str]| -> Vec<String> {
        let words = ["denied", "sys", &nr(call[0])]
            .map(str::to_owned)
            .into_iter();
        words
            .chain(call[1..].iter().map(|w| (*w).to_owned()))
            .collect()
    };
    let words = |line: &[&str]| -> Vec<String> { line.iter().map(|w| (*w).to_owned()).collect() };
    let ok: Done = |ran| ran.code == Some(0);
    let no_errno: Done = |ran| ran.out().ends_with(" 0\n");
    let not_empty: Done = |ran| ran.code == Some(0) && !ran.out().is_empty();
    let connected: Done = |ran| ran.out().contains("connected to the host's");
    let rows: &[(&str, &[&str], Vec<String>, Done)] = &[
        ("getpid", &[], sys(&["getpid"]), |ran| {
            !ran.out().ends_with(" 38\n")
        }),
        ("mount", &[], sys(&["mount"]), no_errno),
        (
            "unshare(CLONE_NEWNS)",
            &[],
            sys(&["unshare", "0x20000"]),
            no_errno,
        ),
        (
            "socket(AF_PACKET)",
            &[],
            sys(&["socket", "17", "3"]),
            no_errno,
        ),
        (
            "socket(AF_INET, SOCK_STREAM, 0)",
            &[],
            sys(&["socket", "2", "1"]),
            no_errno,
        ),
        (
            "personality(ADDR_NO_RANDOMIZE)",
            &[],
            sys(&["personality", "0x40000"]),
            no_errno,
        ),
        (
            "chroot",
            &[],
            words(&["all", "toolbox", "chroot", "/opt"]),
            ok,
        ),
        (
            "SYS_CHROOT",
            &[],
            words(&["all", "toolbox", "chroot", "/opt"]),
            ok,
        ),
        (
            "/proc/kcore",
            &[],
            words(&["cat", "/proc/kcore"]),
            not_empty,
        ),
        (
            "/proc/self/status",
            &[],
            words(&["cat", "/proc/self/status"]),
            not_empty,
        ),
        (
            "/proc/sys/kernel/hostname:rw",
            &[],
            words(&["all", "toolbox", "put", "/proc/sys/kernel/hostname", "x"]),
            ok,
        ),
        ("/sys/kernel", &[], words(&["stat", "/sys/kernel"]), ok),
        ("/dev/null", &[], words(&["stat", "/dev/null"]), ok),
        ("/dev/kvm", &[], words(&["stat", "/dev/kvm"]), ok),
        ("/etc/hosts", &[], words(&["cat", "/etc/hosts"]), not_empty),
        ("/etc/shadow", &[], words(&["cat", "/etc/shadow"]), ok),
        ("/bin/cat", &[], words(&["stat", "/bin/cat"]), ok),
        (
            "/opt/x:rw",
            &["--read-only"],
            words(&["all", "toolbox", "put", "/opt/x", "x"]),
            ok,
        ),
        (
            "/t/x:rw",
            &["--tmpfs", "/t"],
            words(&["all", "toolbox", "put", "/t/x", "x"]),
            ok,
        ),
        ("./there/file", &[], words(&["cat", &there]), not_empty),
        (
            "./there:rw",
            &[],
            words(&["all", "toolbox", "put", &new, "x"]),
            ok,
        ),
        ("203.0.113.1:80", &[], words(&["tcp", &port]), connected),
    ];
    let mut cured = 0;
    for (question, flags, command, done) in rows {
        home.policy("");
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let asked = |flags: &[&str]| answer(&home, &[&[*question, "--in", &image], flags].concat());
        let said = asked(flags);
        let ran = run(&home, flags, &image, &command);
        // A name that the image lacks is no file that is kept from it.
        assert_eq!(said["allowed"], done(&ran), "{question}: {said:#}\n{ran}");
        let lines = cure(&said).unwrap_or_default();
        let flag = lines.iter().find_map(|line| {
            let line = line.strip_prefix("and run with ").unwrap_or(line);
            line.starts_with("-")
                .then(|| line.split(' ').collect::<Vec<_>>())
        });
        let flag = match (flag, lines.first()) {
            (Some(flag), _) => [*flags, &flag].concat(),
            // What is left out is left out.
            (None, Some(line)) if line.starts_with("leave --read-only out") => Vec::new(),
            (None, _) => continue,
        };
        if let Some(from) = lines.iter().position(|line| *line == "[[allow]]") {
            home.policy(&(lines[from..from + 4].join("\n") + "\n"));
        }
        let ran = run(&home, &flag, &image, &command);
        assert!(done(&ran), "{question}: cured by {lines:#?}\n{ran}");
        cured += 1;
        let said = asked(&flag);
        // Another host has the same network.
        assert_eq!(said["allowed"], true, "{question}: {said:#}");
    }
    assert!(cured >= 6, "{cured}");
}

/// With an image, its layers are looked at as a process would look.
#[test]
fn an_image_is_looked_into() {
    need!("userns", "overlay");
    let home = Home::new();
    let lower = Layer::of(&[
        Entry::dir("usr"),
        Entry::dir("usr/bin"),
        Entry::file("usr/bin/su", "x").mode(0o4755),
        Entry::file("usr/bin/old", "x"),
        Entry::symlink("bin", "usr/bin"),
        Entry::symlink("mtab", "/proc/self/mounts"),
        Entry::symlink("keys", "/proc/keys"),
    ]);
    let upper = Layer::of(&[
        Entry::dir("usr"),
        Entry::dir("usr/bin"),
        Entry::file("usr/bin/.wh.old", ""),
    ]);
    let image = Image::new([lower, upper]).layout(&home, "img");
    let asked = |question: &str| answer(&home, &[question, "--in", &image]);
    let su = asked("/bin/su");
    assert_eq!(su["allowed"], true);
    assert_eq!(su["rule"], "layer 1 of 2");
    assert_eq!(su["facts"]["leads"][0], "/usr/bin/su");
    assert_eq!(su["facts"]["mode"][0], "755, owner 0:0");
    assert!(
        su["facts"]["setuid"][0].as_str().unwrap().contains("4755"),
        "{su:#}"
    );
    assert!(su["image"].as_str().unwrap().starts_with("oci:/"), "{su:#}");
    let old = asked("/bin/old");
    assert_eq!(old["allowed"], false);
    assert!(
        old["why"].as_str().unwrap().contains("/usr/bin/old"),
        "{old:#}"
    );
    // Where links lead out of the image, the plan decides.
    assert_eq!(asked("/mtab")["allowed"], true);
    let keys = asked("/keys");
    assert_eq!(
        (&keys["allowed"], &keys["facts"]["leads"][0]),
        (&false.into(), &"/proc/keys".into())
    );
    // A user of the image's holds nothing, whatever is asked for.
    home.policy("[[allow]]\ncaps = [\"KILL\"]\nreason = \"a test\"\n");
    if support::have("why", "subuids") {
        let flags = ["KILL", "--in", &image, "--cap-add", "KILL", "-u", "7"];
        let kill = answer(&home, &flags);
        assert_eq!(kill["allowed"], false);
        assert_eq!(cure(&kill).unwrap(), ["-u 0"]);
    }
    let kill = answer(&home, &["KILL", "--in", &image, "--cap-add", "KILL"]);
    assert_eq!(kill["allowed"], true);
}

/// Rules about one image are about it alone, profiles count, and a run that is refused is no cell.
#[test]
fn rules_profiles_and_refusals() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.policy("[[allow]]\nimage = \"oci:/**\"\nnetwork = [\"host\"]\nreason = \"a test\"\n");
    let question = "registry.example:443";
    assert_eq!(cure(&answer(&home, &[question])).unwrap().len(), 6);
    let named = answer(&home, &[question, "--in", &image]);
    assert_eq!(cure(&named).unwrap(), ["--network host"]);
    let had = answer(&home, &[question, "--in", &image, "--network", "host"]);
    assert_eq!(had["allowed"], true);
    let refused = answer(&home, &["mount", "--network", "host"]);
    assert!(
        refused["answer"].as_str().unwrap().contains("is refused"),
        "{refused:#}"
    );
    assert_eq!(refused["facts"]["asked"][0], "--network host");
    if support::have("why", "subuids") {
        let chown = answer(&home, &["CHOWN", "--profile", "compat"]);
        assert_eq!(chown["allowed"], true, "{chown:#}");
        assert!(
            place(&chown["origin"]).starts_with("compat.toml:"),
            "{chown:#}"
        );
    }
    // A profile that narrows is the rule.
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sysinfo"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(home.path("p.json"), json).unwrap();
    let sysinfo = answer(&home, &["sysinfo", "--security-opt", "seccomp=p.json"]);
    assert_eq!(sysinfo["allowed"], false);
    assert_eq!(sysinfo["origin"]["flag"], "--security-opt");
    assert!(
        cure(&sysinfo).unwrap()[0].contains("that file"),
        "{sysinfo:#}"
    );
}

#[test]
fn what_is_no_question_is_a_mistake() {
    let home = Home::new();
    for (words, told) in [
        (&["nosuch"][..], "no system call is called \"nosuch\""),
        (&["NOSUCH"], "no capability is called"),
        (
            &["socket(AF_NOSUCH)"],
            "\"AF_NOSUCH\" is no argument of socket",
        ),
        (&["/a/../b"], "without .."),
        (&["a:99999"], "is no HOST:PORT"),
        (&["unix:x"], "is no socket"),
        (&["mount", "x"], "one argument too many"),
        (&[], "missing QUESTION"),
        (&["mount", "--report", "x"], "--report: nothing runs"),
        (&["mount", "--locked"], "--locked: nothing runs"),
        (&["mount", "--privileged"], "--privileged is refused"),
        (&["mount", "--in", "no.example/x:1"], "why fetches none"),
        (&["a\u{1b}[2J:1"], "is no HOST:PORT"),
    ] {
        let ran = ask(&home, words).exits(125).complains(told);
        assert!(!ran.err().contains('\u{1b}'), "{ran}");
    }
    // Nothing is made by asking.
    let home = Home::new();
    ask(&home, &["mount"]).exits(1);
    assert!(!home.store().exists());
}
