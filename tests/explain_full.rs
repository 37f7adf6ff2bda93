//! `--explain=full`: what the kernel refuses because of how a cell is made is told with the rule behind
//! it and its cure; the kernel alone decides, and nobody inside gains, hides or breaks anything by
//! being watched.
#![allow(
    clippy::unwrap_used,
    clippy::cast_sign_loss,
    reason = "a test's helpers fail by panicking"
)]

mod support;

use serde_json::Value;
use std::time::{Duration, Instant};
use support::reports::chmod;
use support::{Entry, Home, Image, Pty, Ran, Running, need, program};

/// The toolbox, `tests/programs/refused.c`, and files to be refused.
fn image(home: &Home) -> String {
    let refused = std::fs::read(program("refused")).unwrap();
    Image::toolbox()
        .with(&[
            Entry::file("bin/refused", refused).mode(0o755),
            Entry::file("srv/closed", "x").mode(0o600),
            Entry::file("srv/open", "x").mode(0o644),
            Entry::dir("srv"),
        ])
        .layout(home, "img")
}

/// A home that those inside can reach, with a folder `there`.
fn home() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.path("there")).unwrap();
    std::fs::write(home.path("there/file"), "seen").unwrap();
    let copy = home.path("there/refused");
    std::fs::copy(program("refused"), &copy).unwrap();
    for (path, mode) in [
        (home.root().to_owned(), 0o755),
        (home.path(""), 0o755),
        (home.path("there"), 0o777),
        (home.path("there/file"), 0o666),
        (copy, 0o755),
    ] {
        chmod(&path, mode);
    }
    home
}

fn run(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> Ran {
    let line = ["run", "--rm"].iter().chain(flags).chain([&image]);
    home.lazaret(line.chain(command)).run()
}

/// Runs with `--explain=full` and a report; the run and its denials.
#[track_caller]
fn denials(home: &Home, flags: &[&str], image: &str, command: &[&str]) -> (Ran, Vec<Value>) {
    support::reports::denials(home, &[&["--explain=full"], flags].concat(), image, command)
}

/// What a cure has to be.
#[derive(Debug)]
enum Cure {
    /// No policy allows it.
    Never,
    /// This, which a person has to follow; then these flags instead of the row's make it pass.
    Words(&'static str, &'static [&'static str]),
    /// A flag that begins so; with it beside the row's the act passes.
    Flag(&'static str),
    /// A rule with this line, and a flag behind it that begins so; with both the act passes.
    Rule(&'static str, &'static str),
    /// The same, where this machine has nothing to try it with.
    Untried(&'static str, &'static str),
}
use Cure::{Flag, Never, Rule, Untried, Words};

/// Flags, what `refused` does, what is told of the call, its errno, a part of the rule, the cure.
type Row = (
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
    Cure,
);

const READ_ONLY: &[&str] = &["--read-only"];
const LEAVE: Cure = Words("leave --read-only out, or --tmpfs /srv", &[]);
const STRANGER: &[&str] = &["-u", "7"];

/// What every cell refuses; `@` is the folder of the test.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Devices and what lazaret hides.
    (&[], &["read", "/dev/kvm"], "openat(\"/dev/kvm\", to read)", "ENOENT", "deny devices", Never),
    (&[], &["write", "/dev/mem"], "openat(\"/dev/mem\", to write)", "ENOENT", "deny devices", Never),
    (&[], &["read", "/dev/dri/renderD128"], "openat(\"/dev/dri/renderD128\", to read)", "ENOENT", "give devices", Untried("devices = [\"/dev/dri/renderD128\"]", "--device")),
    (&[], &["read", "/proc/kcore"], "openat(\"/proc/kcore\", to read)", "ENOENT", "/proc/kcore is hidden", Never),
    (&[], &["read", "/sys/class/net"], "openat(\"/sys/class/net\", to read)", "ENOENT", "an empty folder on /sys", Never),
    (&[], &["make", "/proc/sys/kernel/hostname"], "openat(\"/proc/sys/kernel/hostname\", to write)", "EROFS", "/proc/sys/kernel/hostname cannot be written", Never),
    (&[], &["at", "/dev", "kvm"], "openat(\"/dev/kvm\", to read)", "ENOENT", "deny devices", Never),
    (&[], &["here", "/dev", "./dri/../kvm"], "openat(\"/dev/kvm\", to read)", "ENOENT", "deny devices", Never),
    // A root that is read-only.
    (READ_ONLY, &["make", "/srv/new"], "openat(\"/srv/new\", to write)", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["write", "/srv/open"], "openat(\"/srv/open\", to write)", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["mkdir", "/srv/d"], "mkdir(\"/srv/d\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["unlink", "/srv/open"], "unlink(\"/srv/open\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["symlink", "/srv/l"], "symlink(\"/srv/l\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["fifo", "/srv/f"], "mknod(\"/srv/f\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["utime", "/srv/open"], "utimensat(\"/srv/open\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["truncate", "/srv/open"], "truncate(\"/srv/open\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["rename", "/srv/open", "/srv/b"], "rename(\"/srv/open\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["link", "/srv/open", "/srv/b"], "link(\"/srv/b\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["chmod", "/srv/open"], "chmod(\"/srv/open\")", "EROFS", "--read-only", LEAVE),
    (READ_ONLY, &["socket", "/srv/s"], "bind(\"/srv/s\")", "EROFS", "--read-only", LEAVE),
    // Mounts.
    (&["--tmpfs", "/t:ro"], &["make", "/t/x"], "openat(\"/t/x\", to write)", "EROFS", "/t/x cannot be written", Words("leave ro out where /t is mounted", &["--tmpfs", "/t"])),
    (&["-v", "./there:/w:ro"], &["write", "/w/file"], "openat(\"/w/file\", to write)", "EROFS", "allow mounts", Rule("mounts = [\"@/there:rw\"]", "-v ./there:/w:rw")),
    (&["-v", "./there:/w:ro,noexec"], &["exec", "/w/refused"], "execve(\"/w/refused\")", "EACCES", "noexec on /w", Words("leave noexec out where /w is mounted", &["-v", "./there:/w:ro"])),
    (&[], &["read", "@/there/file"], "openat(\"@/there/file\", to read)", "ENOENT", "", Flag("-v @/there/file:@/there/file:ro")),
    // The network.
    (&[], &["connect", "10.1.2.3", "80"], "connect(10.1.2.3:80)", "ENETUNREACH", "give network", Untried("network = [\"host\"]", "--network host")),
    (&[], &["connect", "2001:db8::1", "80"], "connect([2001:db8::1]:80)", "ENETUNREACH", "give network", Untried("network = [\"host\"]", "--network host")),
    (&[], &["send", "10.1.2.3", "53"], "sendto(10.1.2.3:53)", "ENETUNREACH", "give network", Untried("network = [\"host\"]", "--network host")),
    (&[], &["bind", "10.1.2.3", "8080"], "bind(10.1.2.3:8080)", "EADDRNOTAVAIL", "give network", Untried("network = [\"host\"]", "--network host")),
    (&[], &["bind", "0.0.0.0", "80"], "bind(0.0.0.0:80)", "EACCES", "NET_BIND_SERVICE is not held", Rule("caps = [\"NET_BIND_SERVICE\"]", "--cap-add NET_BIND_SERVICE")),
];

/// What takes other ids inside.
#[rustfmt::skip]
const OF_IDS: &[Row] = &[
    (&[], &["chown", "/srv/open", "7"], "chown(\"/srv/open\")", "EPERM", "CHOWN is not held", Rule("caps = [\"CHOWN\"]", "--cap-add CHOWN")),
    (&[], &["setuid", "7"], "setuid(...)", "EPERM", "SETUID is not held", Rule("caps = [\"SETUID\"]", "--cap-add SETUID")),
    (&[], &["setgid", "7"], "setgid(...)", "EPERM", "SETGID is not held", Rule("caps = [\"SETGID\"]", "--cap-add SETGID")),
    (&[], &["setgroups", "7"], "setgroups(...)", "EPERM", "SETGID is not held", Rule("caps = [\"SETGID\"]", "--cap-add SETGID")),
    (STRANGER, &["read", "/srv/closed"], "openat(\"/srv/closed\", to read)", "EACCES", "permission bits 600, owner 0:0", Words("-u 0", &["-u", "0"])),
    (STRANGER, &["exec", "/srv/open"], "execve(\"/srv/open\")", "EACCES", "permission bits 644", Words("-u 0", &[])),
    (STRANGER, &["make", "/srv/new"], "openat(\"/srv/new\", to write)", "EACCES", "", Words("-u 0", &["-u", "0"])),
    (STRANGER, &["chmod", "/srv/open"], "chmod(\"/srv/open\")", "EPERM", "permission bits 644", Words("-u 0", &["-u", "0"])),
];

fn all<'a>(home: &Home, words: &[&'a str]) -> Vec<std::borrow::Cow<'a, str>> {
    let at = home.path("");
    let at = at.to_str().unwrap().trim_end_matches('/');
    words
        .iter()
        .map(|word| word.replace('@', at).into())
        .collect()
}

/// Each row: the errno is what it is unwatched, the denial names call, rule and cure, and exactly the
/// cure makes the same act pass.
fn hold(home: &Home, image: &str, rows: &[Row]) {
    for (flags, act, told, errno, rule, want) in rows {
        let flags_in = all(home, flags);
        let flags: Vec<&str> = flags_in.iter().map(AsRef::as_ref).collect();
        let act = all(home, act);
        let line: Vec<&str> = ["refused"]
            .into_iter()
            .chain(act.iter().map(AsRef::as_ref))
            .collect();
        let at = |text: &str| all(home, &[text])[0].clone().into_owned();
        home.policy("");
        let (ran, denied) = denials(home, &flags, image, &line);
        let plain = run(
            home,
            &[&["--explain=off"][..], &flags].concat(),
            image,
            &line,
        );
        assert_eq!(
            ran.out(),
            plain.out(),
            "watching changes an answer: {line:?}"
        );
        assert!(!plain.err().contains("denied:"), "{plain}");
        assert_eq!(denied.len(), 1, "{line:?}: {denied:#?}\n{ran}");
        let denial = &denied[0];
        let about = format!("{line:?}: {denial:#}");
        let number = i32::try_from(denial["errno"].as_i64().unwrap()).unwrap();
        let is = nix::errno::Errno::from_raw(number);
        assert_eq!(ran.out(), format!("{number}\n"), "{about}");
        assert_eq!(format!("{is:?}"), *errno, "{about}");
        // libc's own spelling differs from one architecture to the next.
        let call = denial["call"].as_str().unwrap();
        let named = |call: &str| call.replace("openat(", "open(").replace("at(", "(");
        assert_eq!(named(call), named(&at(told)), "{about}");
        assert_eq!(denial["program"], "/bin/refused", "{about}");
        assert_eq!(denial["count"], 1, "{about}");
        assert!(denial["rule"].as_str().unwrap().contains(rule), "{about}");
        assert!(!denial["why"].as_str().unwrap().is_empty(), "{about}");
        let cure: Vec<&str> = denial["cure"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l.as_str().unwrap())
            .collect();
        let line_of = format!("denied: {call} by ");
        assert!(ran.err().contains(&line_of), "{line_of}\n{ran}");
        let passes = |flags: &[&str]| {
            let (ran, denied) = denials(home, flags, image, &line);
            assert!(denied.is_empty(), "{about}\ncured: {denied:#?}\n{ran}");
            assert!(ran.out().ends_with("0\n"), "{about}\ncured: {ran}");
        };
        match want {
            Never => {
                assert!(cure.is_empty(), "{about}");
                ran.complains("no policy allows this");
            }
            Words(words, instead) => {
                assert!(cure[0].starts_with(words), "{about}");
                // A text is no program, whoever asks.
                if line[1] != "exec" || line[2] != "/srv/open" {
                    passes(instead);
                }
            }
            Flag(flag) => {
                let (flag, words) = (at(flag), cure[0].split(' ').collect::<Vec<_>>());
                assert_eq!((cure[0], cure.len()), (flag.as_str(), 1), "{about}");
                passes(&[&flags[..], &words].concat());
            }
            Rule(rule, flag) | Untried(rule, flag) => {
                let with = cure
                    .iter()
                    .find_map(|line| line.strip_prefix("and run with "));
                let with = with.unwrap_or_else(|| panic!("{about}"));
                assert!(cure.contains(&at(rule).as_str()), "{rule} {about}");
                assert!(with.starts_with(&at(flag)), "{about}");
                if matches!(want, Rule(..)) {
                    let end = cure
                        .iter()
                        .position(|l| l.starts_with("reason = "))
                        .unwrap();
                    home.policy(&(cure[1..=end].join("\n") + "\n"));
                    let words: Vec<&str> = with.split(' ').collect();
                    // A mount at the same place takes the first one's.
                    let kept: &[&str] = if words[0] == "-v" { &[] } else { &flags };
                    passes(&[kept, &words].concat());
                }
            }
        }
    }
}

#[test]
fn each_refusal_is_told_with_its_rule_and_its_cure() {
    need!("userns", "overlay");
    let home = home();
    hold(&home, &image(&home), TABLE);
}

#[test]
fn those_of_other_ids_too() {
    need!("userns", "overlay", "subuids");
    let home = home();
    hold(&home, &image(&home), OF_IDS);
}

#[test]
fn without_subordinate_ids_their_lack_is_the_rule() {
    need!("userns", "overlay", "no-subuids");
    let home = home();
    let image = image(&home);
    for act in [["setuid", "7"], ["setgid", "7"], ["setgroups", "7"]] {
        let (_, denied) = denials(&home, &[], &image, &["refused", act[0], act[1]]);
        assert_eq!(denied.len(), 1, "{act:?}: {denied:#?}");
        let rule = denied[0]["rule"].as_str().unwrap();
        assert!(rule.starts_with("one id inside"), "{denied:#?}");
        let cure = denied[0]["cure"][0].as_str().unwrap();
        assert!(cure.contains("subuid"), "{denied:#?}");
    }
}

/// Landlock's own refusals, which say EACCES and no more.
#[test]
fn drivers_that_landlock_keeps_shut() {
    need!("userns", "overlay", "landlock-5");
    let home = home();
    let image = image(&home);
    let line = ["refused", "drive", "/dev/zero", ",", "drive", "/srv/open"];
    let (ran, denied) = denials(&home, &[], &image, &line);
    assert_eq!(ran.out(), format!("{}\n{}\n", libc::EACCES, libc::ENOTTY));
    assert_eq!(denied.len(), 1, "{denied:#?}");
    assert_eq!(denied[0]["call"], "ioctl(\"/dev/zero\", 0x1234)");
    let rule = denied[0]["rule"].as_str().unwrap();
    assert_eq!(
        rule,
        "Landlock opens the drivers of /dev/pts /dev/tty alone"
    );
    assert_eq!(denied[0]["cure"], serde_json::json!([]));
}

/// The kernel's audit, switched on until the value goes (linux/audit.h).
struct Audit {
    socket: std::os::fd::OwnedFd,
    was: u32,
}

impl Audit {
    /// `None`: nobody may here.
    fn on() -> Option<Self> {
        let family = rustix::net::AddressFamily::NETLINK;
        let kind = rustix::net::SocketType::RAW;
        let protocol = Some(rustix::net::netlink::AUDIT);
        let socket = rustix::net::socket(family, kind, protocol).ok()?;
        // AUDIT_GET: the acknowledgement, and, if it is one, struct audit_status: mask, enabled, ...
        const GET: u16 = 1000;
        if !is_done(&asked(&socket, GET, &[])) {
            return None;
        }
        let was = heard(&socket)[20..24].try_into().unwrap();
        let was = u32::from_ne_bytes(was);
        switched(&socket, 1).then_some(Self { socket, was })
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let back = switched(&self.socket, self.was);
        assert!(
            back || std::thread::panicking(),
            "the kernel's audit is not as it was"
        );
    }
}

/// AUDIT_SET, with AUDIT_STATUS_ENABLED.
fn switched(socket: &std::os::fd::OwnedFd, enabled: u32) -> bool {
    const SET: u16 = 1001;
    let status = [1, enabled, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let status: Vec<u8> = status
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect();
    is_done(&asked(socket, SET, &status))
}

/// Sends a message of netlink's, with NLM_F_REQUEST and NLM_F_ACK; the acknowledgement.
fn asked(socket: &std::os::fd::OwnedFd, kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(5u16.to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    rustix::net::send(socket, &message, rustix::net::SendFlags::empty()).unwrap();
    heard(socket)
}

fn heard(socket: &std::os::fd::OwnedFd) -> Vec<u8> {
    let mut buffer = vec![0; 8192];
    let flags = rustix::net::RecvFlags::empty();
    let (n, _) = rustix::net::recv(socket, &mut buffer[..], flags).unwrap();
    buffer.truncate(n);
    buffer
}

/// An acknowledgement without an errno (NLMSG_ERROR, netlink(7)).
fn is_done(answer: &[u8]) -> bool {
    answer.get(16..20) == Some(&[0; 4])
}

/// Where the caller may read the audit log and it is on, it says which right was missing.
#[test]
fn the_audit_log_is_used_where_it_is_read() {
    need!("userns", "overlay", "landlock-7");
    let home = home();
    let image = image(&home);
    let line = ["refused", "drive", "/dev/zero"];
    let on = Audit::on();
    let (_, denied) = denials(&home, &[], &image, &line);
    let why = denied[0]["why"].as_str().unwrap();
    let by_log = why.ends_with("; the kernel's audit log says fs.ioctl_dev");
    assert_eq!(by_log, on.is_some(), "{denied:#?}");
}

/// Sockets of this machine: of its loopback, by a path, and by an abstract name; nobody's are not told.
#[test]
fn sockets_of_this_machine() {
    need!("userns", "overlay", "landlock-6");
    let home = home();
    let image = image(&home);
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    let line = ["refused", "connect", "127.0.0.1", &port];
    let (_, denied) = denials(&home, &[], &image, &line);
    assert_eq!(denied[0]["call"], format!("connect(127.0.0.1:{port})"));
    assert_eq!(denied[0]["errno"], libc::ECONNREFUSED);
    assert_eq!(denied[0]["rule"], "give network = [\"none\"]");
    home.policy("[[allow]]\nnetwork = [\"host\"]\nreason = \"a test\"\n");
    let (_, denied) = denials(&home, &[], &image, &line);
    assert_eq!(denied[0]["cure"], serde_json::json!(["--network host"]));
    let (ran, denied) = denials(&home, &["--network", "host"], &image, &line);
    assert_eq!(
        (ran.out(), denied.len()),
        ("0\n".to_owned(), 0),
        "{denied:#?}"
    );

    let path = home.path("there/socket");
    let _unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    chmod(&path, 0o666);
    let path = path.to_str().unwrap();
    let line = ["refused", "unix", path];
    let (_, denied) = denials(&home, &[], &image, &line);
    assert_eq!(
        denied[0]["call"],
        format!("connect({path:?})"),
        "{denied:#?}"
    );
    let cure = denied[0]["cure"][0].as_str().unwrap();
    let flags: Vec<&str> = cure.split(' ').collect();
    let (ran, denied) = denials(&home, &flags, &image, &line);
    assert_eq!(
        (ran.out(), denied.len()),
        ("0\n".to_owned(), 0),
        "{denied:#?}"
    );

    let name = format!("lazaret-test-{}", std::process::id());
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let (_, denied) = denials(
        &home,
        &[],
        &image,
        &["refused", "unix", &format!("@{name}")],
    );
    assert_eq!(denied[0]["call"], format!("connect(\"@{name}\")"));
    assert_eq!(denied[0]["cure"], serde_json::json!([]));

    for nobodys in ["/run/nobody", "@nobody"] {
        let (ran, denied) = denials(&home, &[], &image, &["refused", "unix", nobodys]);
        assert!(denied.is_empty(), "{denied:#?}");
        assert_ne!(ran.out(), "0\n");
    }
}

/// What an image lacks of its own, what is refused by nobody of the cell, and what passes is not told.
#[test]
fn what_is_not_the_cells_doing_is_not_told() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let acts = "read /usr/lib/nothing , read /srv/nothing , exec /nothing , mkdir /srv , \
                unlink /tmp/x , read /proc/1234567 , connect 127.0.0.1 9 , read /srv/open , \
                make /srv/new , read /dev/null";
    let line: Vec<&str> = ["refused"]
        .into_iter()
        .chain(acts.split_whitespace())
        .collect();
    home.policy("[[allow]]\nnetwork = [\"host\"]\nreason = \"a test\"\n");
    let (ran, denied) = denials(&home, &["--network", "host"], &image, &line);
    assert!(denied.is_empty(), "{denied:#?}");
    assert_eq!(ran.out(), "2\n2\n2\n17\n2\n2\n111\n0\n0\n0\n");
}

/// Refused calls and refused files stand in one list.
#[test]
fn refused_calls_are_told_beside() {
    need!("userns", "overlay");
    let home = home();
    let denied = std::fs::read(program("denied")).unwrap();
    let image = Image::toolbox()
        .with(&[Entry::file("bin/denied", denied).mode(0o755)])
        .layout(&home, "img");
    let all = ["toolbox", "all", "exec", "/bin/denied", "sys", "1000"];
    let (ran, both) = denials(&home, &[], &image, &all);
    assert_eq!(both.len(), 1, "{both:#?}\n{ran}");
    assert_eq!(both[0]["call"], "system call 1000");
}

/// Where from a call is made changes neither its outcome nor its being told.
#[test]
fn threads_and_children_are_watched_and_go_on() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    for from in ["thread", "vfork"] {
        let (ran, denied) = denials(&home, &[], &image, &["refused", from, "/dev/kvm"]);
        assert_eq!(ran.ok().out(), "2\n", "{from}");
        assert_eq!(denied.len(), 1, "{from}: {denied:#?}");
        assert_eq!(denied[0]["program"], "/bin/refused");
    }
    // A thread that is not the first makes another program of the process.
    let line = ["refused", "change", "/bin/refused"];
    let (ran, denied) = denials(&home, &[], &image, &line);
    assert_eq!(ran.ok().out(), "2\n");
    assert_eq!(denied.len(), 1, "{denied:#?}");
    // Signals, ends and standard streams are as ever.
    let (ran, _) = denials(&home, &[], &image, &["toolbox", "kill-self", "15"]);
    ran.exits(143);
    let ran = home
        .lazaret([
            "run",
            "--rm",
            "-i",
            "--explain=full",
            &image,
            "toolbox",
            "cat",
        ])
        .stdin(b"through")
        .run();
    assert_eq!(ran.ok().out(), "through");
}

/// Who asks not to be watched can do nothing of what is watched: nothing is had, and nothing is hidden.
#[test]
fn who_hides_opens_nothing() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let line = ["refused", "untraced", "/srv/open"];
    let (ran, _) = denials(&home, &[], &image, &line);
    assert_eq!(ran.ok().out(), format!("{}\n", libc::ENOSYS));
    run(&home, &["--explain=off"], &image, &line).says("0");
}

/// A command that goes on for a while is looked at for its memory meanwhile, by whoever it takes.
#[test]
fn who_is_watched_is_measured_too() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let line = [
        "toolbox",
        "all",
        "fill",
        "/dev/shm/x",
        "60000000",
        ",",
        "sleep",
        "60",
    ];
    let (ran, _) = denials(&home, &["--memory", "32m"], &image, &line);
    ran.exits(137)
        .complains("the memory limit of 32 MiB was crossed");
    let (ran, _) = denials(&home, &[], &image, &["toolbox", "sleep", "1.5"]);
    ran.ok();
}

/// A filter of a program's own that hands a call to a watcher has it refused, as where nobody watches.
#[test]
fn nobody_elses_filter_is_answered() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let line = ["refused", "filter"];
    let refused = format!("{}", libc::ENOSYS);
    run(&home, &["--explain=off"], &image, &line).says(&refused);
    let (ran, _) = denials(&home, &[], &image, &line);
    assert_eq!((ran.code, ran.out().as_str()), (Some(137), ""), "{ran}");
}

/// What was made in the run is judged by owner and mode, not by what the image lacks.
#[test]
fn files_that_were_made_meanwhile() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let (ran, denied) = denials(&home, &[], &image, &["refused", "made", "/srv"]);
    assert_eq!(ran.out(), format!("{}\n", libc::EACCES));
    assert_eq!(denied.len(), 1, "{denied:#?}");
    assert_eq!(denied[0]["rule"], "DAC_OVERRIDE is not held");
}

/// Who opens and opens keeps nobody else from it.
#[test]
fn everybody_has_a_turn() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let began = Instant::now();
    let line = ["refused", "crowd", "40", "/srv/open"];
    let (ran, _) = denials(&home, &["--timeout", "30s"], &image, &line);
    assert_eq!(ran.ok().out(), "0\n");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

/// Refusals without end are bounded and hide no other; what they say is a stranger's word.
#[test]
fn a_flood_is_bounded_and_hides_nothing() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let evil = "/dev/\u{1b}[2J\n, 1 times: EPERM of \u{202e}";
    let line = [
        "refused",
        "flood",
        "20000",
        evil,
        ",",
        "make",
        "/proc/sys/kernel/hostname",
        ",",
        "race",
        "20000",
        "/dev/kvm",
    ];
    let (ran, denied) = denials(&home, &[], &image, &line);
    assert!(ran.out().starts_with("0\n30\n0\n"), "{ran}");
    assert!(denied.len() <= 40, "{}", denied.len());
    let calls: Vec<&str> = denied.iter().map(|d| d["call"].as_str().unwrap()).collect();
    assert!(
        calls.iter().any(|call| call.contains("hostname")),
        "{calls:?}"
    );
    assert!(
        !ran.err().contains(['\u{1b}', '\u{202e}']),
        "{:?}",
        ran.err()
    );
    // What this machine lacks as well takes nobody's place.
    let there = home.path("there/file");
    let there = there.to_str().unwrap();
    let line = [
        "refused",
        "flood",
        "200",
        "/data/cache/",
        ",",
        "read",
        there,
    ];
    let (_, denied) = denials(&home, &[], &image, &line);
    assert_eq!(denied.len(), 1, "{denied:#?}");
    // The clock goes on.
    let began = Instant::now();
    let line = ["refused", "flood", "1000000000", "/dev/x"];
    let (ran, _) = denials(&home, &["--timeout", "1s"], &image, &line);
    ran.exits(137);
    assert!(began.elapsed() < Duration::from_secs(4));
}

/// With who watches, whoever is watched ends.
#[test]
fn a_killed_supervisor_takes_the_watched_along() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let line = ["run", "--rm", "--explain=full", &image, "refused", "ready"];
    let running: Running = home.lazaret(line).spawn();
    running.until_out("ready");
    running.signal(rustix::process::Signal::KILL);
    // `wait` fails when a process outlives the command.
    running.wait();
}

/// ^Z and fg, at a terminal: who is stopped stays so until it is continued.
#[test]
fn what_is_stopped_stays_and_goes_on() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let line = [
        "refused",
        "read",
        "/srv/open",
        ",",
        "stop",
        ",",
        "read",
        "/dev/kvm",
    ];
    let words = [&["run", "--rm", "--explain=full", "-it", &image][..], &line].concat();
    let mut pty = Pty::new();
    let running = home.lazaret(words).on_terminal(&pty.inner);
    pty.until("0\r\n");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!pty.shown().contains("0\r\n"));
    running.signal(rustix::process::Signal::CONT);
    running.wait();
    let shown = pty.shown();
    assert!(shown.contains("0\r\n2\r\n"), "{shown}");
    assert!(shown.contains("denied: open"), "{shown}");
}

/// The plan says that it is watched, a rule can say so, and a tool is watched too.
#[test]
fn the_plan_says_so_and_rules_and_tools_can() {
    need!("userns", "overlay");
    let home = home();
    let image = image(&home);
    let plan = |flag: &str| {
        let ran = run(&home, &["--dry-run", flag], &image, &["true"]).ok();
        ran.out().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(
        plan("--explain=full").contains("wait until somebody watches what system calls come to")
    );
    assert!(plan("--explain=full").contains("of files, programs, sockets and users is watched"));
    assert!(!plan("--explain").contains("watch"));
    home.policy("[[give]]\nexplain = \"full\"\nreason = \"a test\"\n");
    run(&home, &[], &image, &["refused", "read", "/dev/kvm"])
        .complains("denied: open")
        .complains("no policy allows this");
    let tool = [
        "tool",
        "--explain=full",
        "--",
        "./there/refused",
        "read",
        "/dev/kvm",
    ];
    home.lazaret(tool)
        .run()
        .complains("/dev/kvm\", to read) by ");
}
