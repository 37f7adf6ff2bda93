//! Refused system calls explain themselves (`--explain`): each is told once with its rule and cure,
//! the answers are the filter's own, and nobody inside gains, hides or slows anything by it.
#![allow(
    clippy::unwrap_used,
    clippy::cast_sign_loss,
    reason = "a test's helpers fail by panicking"
)]

mod support;

use serde::Deserialize;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};
use support::{Entry, Home, Image, Pty, Ran, Running, need, program};

/// The toolbox and `tests/programs/denied.c`, the latter also under a name that means harm.
fn image(home: &Home) -> String {
    let denied = std::fs::read(program("denied")).unwrap();
    let file = |path: &str| Entry::file(path, denied.clone()).mode(0o755);
    Image::toolbox()
        .with(&[file("bin/denied"), file("bin/evil\u{1b}[2J\n name")])
        .layout(home, "img")
}

fn run(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> Ran {
    let line = ["run", "--rm"].iter().chain(flags).chain([&image]);
    home.lazaret(line.chain(command).copied().collect::<Vec<_>>())
        .run()
}

/// Runs with `--explain` and a report; the run and its denials.
#[track_caller]
fn denials(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> (Ran, Vec<Value>) {
    support::reports::denials(home, &[&["--explain"], flags].concat(), image, command)
}

fn nr(name: &str) -> Option<String> {
    #[cfg(target_arch = "aarch64")]
    use syscalls::aarch64::Sysno;
    #[cfg(target_arch = "x86_64")]
    use syscalls::x86_64::Sysno;
    Sysno::from_str(name).ok().map(|s| s.id().to_string())
}

fn number(name: &str) -> String {
    nr(name).unwrap()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    denial: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    call: String,
    #[serde(default)]
    args: Vec<Value>,
    told: String,
    errno: String,
    why: String,
    cure: Option<String>,
    #[serde(default)]
    with: Vec<String>,
}

impl Row {
    /// The words that have the program make the call; `None`: this architecture has none.
    fn words(&self) -> Option<Vec<String>> {
        let args = self.args.iter().map(|arg| match arg {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        Some([nr(&self.call)?].into_iter().chain(args).collect())
    }
}

fn table() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/denials/calls.toml");
    let table: Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rows = table.denial.into_iter();
    rows.filter(|row| row.words().is_some()).collect()
}

const CHROOT: &str = "[[allow]]\ncaps = [\"SYS_CHROOT\"]\nreason = \"a test\"\n";

/// Every row: the answer is what the filter gives without telling, the line names call, rule and
/// cure, and there is one line for each.
#[test]
fn each_denial_is_told_with_its_rule_and_its_cure() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    home.policy(CHROOT);
    let rows = table();
    assert!(rows.len() >= 40);
    let mut words = vec!["denied".to_owned(), "sys".to_owned()];
    for row in &rows {
        words.extend(row.words().unwrap());
        words.push(",".to_owned());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (told, denials) = denials(&home, &[], &image, &words);
    let plain = run(&home, &["--explain=off"], &image, &words).ok();
    assert_eq!(told.out(), plain.out(), "telling changes an answer");
    assert!(!plain.err().contains("denied:"), "{plain}");
    assert_eq!(denials.len(), rows.len(), "{denials:#?}");
    for (row, denial) in rows.iter().zip(&denials) {
        let errno =
            nix::errno::Errno::from_raw(i32::try_from(denial["errno"].as_i64().unwrap()).unwrap());
        assert_eq!(denial["call"], row.told, "{denial:#}");
        assert_eq!(format!("{errno:?}"), row.errno, "{denial:#}");
        assert_eq!(denial["program"], "/bin/denied", "{denial:#}");
        assert_eq!(denial["rule"], "syscalls = \"default\"");
        assert_eq!(denial["origin"]["rule"]["file"], "strict.toml");
        assert!(
            denial["why"].as_str().unwrap().contains(&row.why),
            "{denial:#}"
        );
        let cure = denial["cure"].as_array().unwrap();
        match &row.cure {
            Some(part) => assert!(cure[0].as_str().unwrap().contains(part), "{denial:#}"),
            None => assert!(cure.is_empty(), "{denial:#}"),
        }
    }
    // What a person reads: the first of them, on one line where nobody has a terminal.
    let line = format!(
        "lazaret: denied: {} by /bin/denied: {} of syscalls = \"default\" (strict.toml:31 (built in)), ",
        rows[0].told, rows[0].errno
    );
    told.complains(&line)
        .complains("; no policy allows this")
        .complains("more, ")
        .complains("--report FILE has them all");
}

/// Exactly the cure that is told lets the same call pass.
#[test]
fn the_cure_cures() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    for row in table().iter().filter(|row| row.cure.is_some()) {
        let words = row.words().unwrap();
        let mut line = vec!["denied", "sys"];
        line.extend(words.iter().map(String::as_str));
        home.policy("");
        let (_, denied) = denials(&home, &[], &image, &line);
        // Without a rule, the cure is the rule and the flag.
        let cure: Vec<&str> = denied[0]["cure"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l.as_str().unwrap())
            .collect();
        assert!(cure[0].starts_with("to allow it, add to "), "{cure:?}");
        let last = cure.last().unwrap().strip_prefix("and run with ").unwrap();
        home.policy(&(cure[1..cure.len() - 1].join("\n") + "\n"));
        let flags: Vec<&str> = last.split(' ').collect();
        let (cured, denied) = denials(&home, &flags, &image, &line);
        assert!(denied.is_empty(), "{denied:#?}");
        assert_eq!(cured.ok().out(), format!("{} 0\n", words[0]));
        // With the rule, the flag alone.
        let (_, denied) = denials(&home, &[], &image, &line);
        assert_eq!(denied[0]["cure"], serde_json::json!([row.with.join(" ")]));
        // As another user it takes root as well.
        if support::have("explain", "subuids") {
            let (_, denied) = denials(&home, &["-u", "7"], &image, &line);
            assert_eq!(denied[0]["cure"][0], format!("{} -u 0", row.with.join(" ")));
        }
    }
}

#[test]
fn a_profile_that_narrows_is_the_rule_and_its_change_the_cure() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let profile = |action: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["sysinfo"], "action": "{action}"}}]}}"#
        )
    };
    let flags = ["--security-opt", "seccomp=p.json"];
    let call = [
        "denied",
        "sys",
        &number("sysinfo"),
        "@12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
    ];
    std::fs::write(
        home.path("p.json"),
        profile(r#"SCMP_ACT_ERRNO", "errnoRet": 33, "comment": ""#),
    )
    .unwrap();
    let (ran, denied) = denials(&home, &flags, &image, &call);
    assert_eq!(ran.ok().out(), format!("{} 33\n", number("sysinfo")));
    assert_eq!(denied[0]["rule"], "seccomp=\"p.json\"");
    assert_eq!(denied[0]["origin"]["flag"], "--security-opt");
    let cure = denied[0]["cure"][0].as_str().unwrap();
    assert!(cure.starts_with("allow sysinfo in that file"), "{cure}");
    std::fs::write(home.path("p.json"), profile("SCMP_ACT_ALLOW")).unwrap();
    let (_, denied) = denials(&home, &flags, &image, &call);
    assert!(denied.is_empty(), "{denied:#?}");
    // Where the listener could not leave, nothing is told, nothing hangs, and it is said.
    let shut = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sendmsg", "sysinfo"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(home.path("p.json"), shut).unwrap();
    let all = [&flags[..], &["--explain"]].concat();
    run(&home, &all, &image, &call)
        .ok()
        .complains("are not told: the seccomp profile does not allow sendmsg and close");
}

/// Telling takes a descriptor and a close(2) that nothing else does: where there is no room for the
/// one, or the profile kills for the other, the command runs as it does untold, and it is said.
#[test]
fn what_telling_takes_keeps_nothing_from_running() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let unshare = number("unshare");
    let call = ["denied", "sys", &unshare];
    for most in ["3", "5", "8"] {
        let flags = ["--explain", "--ulimit", &format!("nofile={most}:{most}")];
        let ran = run(&home, &flags, &image, &call).ok();
        assert_eq!(ran.out(), format!("{unshare} 1\n"), "{most}");
        ran.complains("were not told: the limit of open files (nofile) left no room");
    }
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["close"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    std::fs::write(home.path("p.json"), profile).unwrap();
    let flags = ["--explain", "--security-opt", "seccomp=p.json"];
    let ran = run(&home, &flags, &image, &call).ok();
    assert_eq!(ran.out(), format!("{unshare} 1\n"));
    ran.complains("are not told: the seccomp profile does not allow sendmsg and close");
}

/// Where from a call is made changes neither its answer nor its being told.
#[test]
fn threads_children_orphans_and_others_are_told_and_answered() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let unshare = number("unshare");
    for from in ["thread", "child", "vfork", "orphan", "hidden"] {
        let (ran, denied) = denials(&home, &[], &image, &["denied", from, &unshare]);
        assert_eq!(ran.ok().out(), format!("{unshare} 1\n"), "{from}");
        assert_eq!(denied.len(), 1, "{from}: {denied:#?}");
        assert_eq!(denied[0]["call"], "unshare(CLONE_NEWUSER)");
        assert_eq!(denied[0]["program"], "/bin/denied", "{from}");
    }
    if support::have("explain", "subuids") {
        home.policy("[[allow]]\ncaps = [\"SETUID\"]\nreason = \"a test\"\n");
        let user = ["denied", "user", "7", &unshare];
        let (ran, denied) = denials(&home, &["--cap-add", "SETUID"], &image, &user);
        assert_eq!(ran.ok().out(), format!("{unshare} 1\n"));
        assert_eq!(denied[0]["program"], "/bin/denied", "{denied:#?}");
    }
}

#[test]
fn signals_do_not_change_an_answer() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let line = ["denied", "signals", "20000", &number("unshare")];
    let (ran, denied) = denials(&home, &[], &image, &line);
    assert_eq!(ran.ok().out(), "other 0 ticks some\n");
    assert_eq!(denied[0]["count"], 20_000);
}

/// Millions of refused calls from many threads, so that one always waits, beside a time limit: it is
/// kept, what is kept is bounded, and another refusal is told.
#[test]
fn a_flood_slows_no_timer_and_hides_nothing() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let (bpf, unshare) = (number("bpf"), number("unshare"));
    let line = ["denied", "flood", "64", "100000", &unshare];
    let began = Instant::now();
    let (ran, denied) = denials(&home, &["--timeout", "3s"], &image, &line);
    let took = began.elapsed();
    ran.exits(137).complains("the time limit of 3s ran out");
    assert!(took < Duration::from_millis(4500), "{took:?}");
    assert!(denied.len() <= 17, "{}", denied.len());
    let times: u64 = denied.iter().map(|d| d["count"].as_u64().unwrap()).sum();
    assert!(times > 1000, "{times}");
    let others = denied.last().unwrap();
    assert_eq!(others["call"], "unshare, other than the above");
    assert_eq!(others["program"], Value::Null);
    // What came after a flood is told beside it, and every call was answered.
    let line = ["denied", "flood", "8", "2000", &unshare, &bpf];
    let (ran, denied) = denials(&home, &[], &image, &line);
    ran.says("wrong 0");
    let calls: Vec<&str> = denied.iter().map(|d| d["call"].as_str().unwrap()).collect();
    assert!(calls.contains(&"bpf(BPF_PROG_LOAD, ...)"), "{calls:?}");
    let times: u64 = denied.iter().map(|d| d["count"].as_u64().unwrap()).sum();
    assert_eq!(times, 16_001);
}

/// A command that has begun to make a refused call again and again.
fn refused_in_a_loop(home: &Home, image: &str) -> Running {
    let (unshare, told) = (number("unshare"), ["run", "--rm", "--explain", image]);
    let line = [&told[..], &["denied", "loop", "1", &unshare]].concat();
    let running = home.lazaret(line).spawn();
    running.until_out("ready");
    running
}

#[test]
fn a_killed_supervisor_takes_the_payload_along() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let running = refused_in_a_loop(&home, &image);
    running.signal(rustix::process::Signal::KILL);
    // `wait` fails when a process outlives the command.
    running.wait();
}

/// The supervisor alone holds the listener: not the command, not pid 1, not anything else.
#[test]
fn the_listener_has_one_holder() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let (ran, _) = denials(&home, &[], &image, &["denied", "fds"]);
    assert_eq!(ran.ok().out(), "done\n");
    let running = refused_in_a_loop(&home, &image);
    let holders = listeners(running.pid.as_raw_nonzero().get().cast_unsigned());
    running.signal(rustix::process::Signal::TERM);
    running.wait();
    assert_eq!(holders, 1);
}

/// How many descriptors of processes that can be looked at are listeners of filters, among the
/// process and all that descend from it.
fn listeners(root: u32) -> usize {
    let mut count = 0;
    let mut todo = vec![root];
    while let Some(pid) = todo.pop() {
        for fd in std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
        {
            let link = std::fs::read_link(fd.unwrap().path()).unwrap_or_default();
            count += usize::from(link == Path::new("anon_inode:seccomp notify"));
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        todo.extend(
            children
                .unwrap_or_default()
                .split_whitespace()
                .map(|p| p.parse::<u32>().unwrap()),
        );
    }
    count
}

/// A sandbox inside that wants a listener of its own is told that there is one; without `--explain`
/// it has one. A filter of its own on top answers as it says.
#[test]
fn filters_inside_stack_on_top() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let (ran, denied) = denials(&home, &[], &image, &["denied", "listener"]);
    assert_eq!(ran.ok().out(), format!("{}\n", libc::EBUSY));
    assert!(denied.is_empty(), "{denied:#?}");
    let ran = run(&home, &["--explain=off"], &image, &["denied", "listener"]);
    assert_eq!(ran.ok().out(), "0\n");
    let unshare = number("unshare");
    let (ran, denied) = denials(&home, &[], &image, &["denied", "over", &unshare, "33"]);
    assert_eq!(ran.ok().out(), format!("{unshare} 33\n"));
    assert!(denied.is_empty(), "{denied:#?}");
}

#[test]
fn a_hostile_name_is_cleaned() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let line = ["/bin/evil\u{1b}[2J\n name", "sys", &number("unshare")];
    let (ran, denied) = denials(&home, &[], &image, &line);
    assert_eq!(denied[0]["program"], "/bin/evil\u{1b}[2J\n name");
    let err = ran.err();
    assert!(!err.contains('\u{1b}'), "{err:?}");
    assert!(err.contains(r#"by "/bin/evil\u{1b}[2J\n name""#), "{err}");
}

/// Unasked, they are told where standard error is a terminal, unless the policy says otherwise.
#[test]
fn a_terminal_is_told_unasked() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let unshare = number("unshare");
    let command = [
        "run",
        "--rm",
        &image,
        "denied",
        "sys",
        &unshare,
        "0x10000000",
    ];
    let shown = |home: &Home, words: &[&str]| {
        let mut pty = Pty::new();
        home.lazaret(words).on_terminal(&pty.inner).wait();
        pty.shown()
    };
    let text = shown(&home, &command);
    assert!(text.contains("denied: unshare(CLONE_NEWUSER)"), "{text}");
    let lines = text.lines().map(str::trim_end);
    assert!(lines.clone().all(|l| l.chars().count() <= 80), "{text}");
    let plain = home.lazaret(command).run().ok();
    assert!(!plain.err().contains("denied:"), "{plain}");
    let off = [&["run", "--explain=off"], &command[1..]].concat();
    assert!(!shown(&home, &off).contains("denied:"));
    home.policy("[[give]]\nexplain = \"off\"\nreason = \"a test\"\n");
    assert!(!shown(&home, &command).contains("denied:"));
    let on = [&["run", "--explain"], &command[1..]].concat();
    home.lazaret(on)
        .run()
        .ok()
        .complains("denied: unshare(CLONE_NEWUSER)");
    home.policy("[[give]]\nexplain = \"calls\"\nreason = \"a test\"\n");
    home.lazaret(command)
        .run()
        .ok()
        .complains("denied: unshare(CLONE_NEWUSER)");
}

/// What libraries fall back from is refused and not told.
#[test]
fn the_quiet_are_quiet() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let line = [
        "denied",
        "sys",
        &number("clone3"),
        ",",
        &number("io_uring_setup"),
    ];
    let (ran, denied) = denials(&home, &[], &image, &line);
    assert!(denied.is_empty(), "{denied:#?}");
    assert_eq!(ran.ok().out().matches(" 38\n").count(), 2);
}

#[test]
fn the_plan_says_so_and_is_what_it_was_without() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let plan = |flag: &str| {
        let ran = run(&home, &["--dry-run", flag], &image, &["true"]).ok();
        ran.out().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(plan("--explain").contains("; what is refused is told"));
    assert!(!plan("--explain=off").contains("is told"));
    run(&home, &["--explain=what"], &image, &["true"]).exits(125);
}

#[test]
fn a_report_is_read_back() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = image(&home);
    let line = ["/bin/evil\u{1b}[2J\n name", "sys", &number("bpf"), "5"];
    let flags = ["--explain", "--report", "r.json"];
    run(&home, &flags, &image, &line).ok();
    let read = |file: &str| home.lazaret(["explain-report", file]).run();
    let ran = read("r.json").ok();
    let out = ran.out();
    assert!(out.contains("denied: bpf(BPF_PROG_LOAD, ...) by"), "{out}");
    assert!(out.contains("no policy allows this"), "{out}");
    assert!(!out.contains('\u{1b}'), "{out:?}");
    let text = std::fs::read(home.path("r.json")).unwrap();
    let piped = home
        .lazaret(["explain-report", "-"])
        .stdin(&text)
        .run()
        .ok();
    assert_eq!(piped.out(), out);
    run(&home, &["--report", "r.json"], &image, &["true"]).ok();
    assert!(read("r.json").ok().out().contains("denials   not told"));
    read("nothing.json").exits(125);
    std::fs::write(home.path("bad.json"), "{}").unwrap();
    read("bad.json")
        .exits(125)
        .complains("the report is not valid");
    // A fifo is not waited for.
    nix::unistd::mkfifo(&home.path("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    read("fifo").exits(125);
}

/// A tool of this machine is told of in the same way; it can be given no capability.
#[test]
fn tools_are_told_too() {
    need!("userns");
    let home = Home::new();
    for folder in [home.root().to_owned(), home.path("")] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let denied = home.path("denied");
    std::fs::copy(program("denied"), &denied).unwrap();
    let line = [
        "tool",
        "--explain",
        "--",
        "./denied",
        "sys",
        &number("chroot"),
        "@/",
    ];
    let ran = home.lazaret(line).run().ok();
    ran.complains("denied: chroot(...) by ")
        .complains("no policy allows this");
}
