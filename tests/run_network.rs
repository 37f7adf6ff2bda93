//! `lazaret run --network host`: the host's network where a rule allows it, and what stays outside
//! all the same.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::Value;
use support::{Entry, Home, Image, Layer, Ran, need};

const ALLOWED: &str = "[[allow]]\nnetwork = [\"host\"]\nreason = \"a test\"\n";

fn home(rules: &str) -> Home {
    let home = Home::new();
    home.policy(rules);
    home
}

fn hostile(home: &Home) -> String {
    let mut entries: Vec<Entry> = ["dev", "etc", "proc", "sys"].map(Entry::dir).into();
    for name in ["tcp", "abstract"] {
        let bytes = std::fs::read(support::program(&format!("hostile/{name}"))).unwrap();
        entries.push(Entry::file(name, bytes).mode(0o755));
    }
    Image::new([Layer::of(&entries)]).layout(home, "hostile")
}

fn run(home: &Home, network: &str, image: &str, command: &[&str]) -> Ran {
    let line = ["run", "--rm", "--network", network, image];
    home.lazaret(line.iter().chain(command)).run()
}

#[test]
fn it_must_be_allowed_for_this_image() {
    need!("userns", "overlay");
    let strict = home("");
    let image = Image::toolbox().layout(&strict, "img");
    run(&strict, "host", &image, &["true"])
        .exits(125)
        .complains("asked   --network host")
        .complains("rule    give network = [\"none\"]")
        .complains(&format!("image = \"{image}"))
        .complains("network = [\"host\"]");
    // The narrowest cure, applied, is one.
    let rule = format!("[[allow]]\nimage = \"{image}\"\nnetwork = [\"host\"]\nreason = \"r\"\n");
    strict.policy(&rule);
    run(&strict, "host", &image, &["true"]).ok();
    // What is given needs no flag, and a flag takes it back.
    let given = home("[[give]]\nnetwork = \"host\"\nreason = \"r\"\n");
    let image = Image::toolbox().layout(&given, "img");
    let show = ["cat", "/proc/self/net/dev"];
    let interfaces = |ran: Ran| ran.ok().out().lines().count();
    let host = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = ["run", "--rm", &image];
    let ran = given.lazaret(line.iter().chain(&show)).run();
    assert_eq!(interfaces(ran), host.lines().count());
    run(&given, "none", &image, &["true"]).ok();
}

#[test]
fn services_are_reached_and_abstract_sockets_are_not() {
    need!("userns", "overlay", "landlock-6");
    use std::os::linux::net::SocketAddrExt as _;
    let home = home(ALLOWED);
    let image = hostile(&home);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    run(&home, "none", &image, &["/tcp", &port]).ok();
    run(&home, "host", &image, &["/tcp", &port])
        .exits(1)
        .says("connected to the host's 127.0.0.1")
        .complains("\"no packet gets out or in\": --network host")
        .complains("/proc/net tells");
    let name = format!("lazaret-network-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    run(&home, "host", &image, &["/abstract", &name])
        .ok()
        .prints("held\n");
    home.clean();
}

#[test]
fn names_are_the_hosts_and_hosts_are_the_cells() {
    need!("userns", "overlay", "landlock-6");
    let home = home(ALLOWED);
    let image = Image::toolbox().layout(&home, "img");
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    run(&home, "host", &image, &["cat", "/etc/resolv.conf"])
        .ok()
        .says("# the network is the host's")
        .says(&resolv);
    let hosts = run(&home, "host", &image, &["cat", "/etc/hosts"]).ok();
    assert_eq!(hosts.out().lines().count(), 2, "{hosts}");
    // Only a namespace of its own has an lo of its own to bring up.
    let line = [
        "run",
        "--network=host",
        "--dry-run",
        "--format=json",
        &image,
    ];
    let ran = home.lazaret(line.iter().chain(&["true"])).run().ok();
    for step in ["make_network", "join_network", "loopback_up"] {
        assert!(!ran.out().contains(step), "{step}");
    }
    home.clean();
}

#[test]
fn the_probe_names_what_was_granted() {
    need!("userns", "overlay", "landlock-6");
    let home = home(ALLOWED);
    let _socket = std::os::unix::net::UnixListener::bind(home.path("socket")).unwrap();
    let line = ["run", "--rm", "--network", "host", "builtin:probe"];
    let ran = home
        .lazaret(line.iter().chain(&["--format", "json"]))
        .run()
        .ok();
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(found["open"], 0, "{ran}");
    let checks = found["checks"].as_array().unwrap();
    let verdict = |name: &str| {
        let check = checks.iter().find(|check| check["check"] == name);
        check.unwrap()["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict("local sockets of others in sight"), "downgraded");
    assert_eq!(verdict("abstract sockets outside"), "contained");
    assert_eq!(
        verdict("socket families beyond local, IP and routes"),
        "contained"
    );
    // Unasked, none of it is there.
    let ran = run(&home, "none", "builtin:probe", &["--format", "json"]).ok();
    assert!(!ran.out().contains("--network host"), "{ran}");
    home.clean();
}
