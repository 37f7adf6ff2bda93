//! What tells about the caller and the machine: variables, names, arguments.

use super::finding::{Findings, Verdict, shorten};

/// What lazaret sets unasked, and what the probe's own image sets.
const OWN: &[&str] = &["PATH", "HOME", "TERM", "LANG", "HOSTNAME", "container"];

/// Variables that a session has and nobody passes on purpose.
const SESSION: &[&str] = &[
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "MAIL",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "SSH_AUTH_SOCK",
    "SSH_CONNECTION",
    "SSH_CLIENT",
    "SSH_TTY",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "SUDO_USER",
    "SUDO_UID",
    "SUDO_COMMAND",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
];
const SESSION_PREFIXES: &[&str] = &["XDG_", "CARGO", "RUST", "LAZARET_", "LC_", "SYSTEMD_"];

/// Everything of this group.
pub fn look(f: &mut Findings) {
    f.group("what tells about the host");
    environment(f);
    init_arguments(f);
    names(f);
    resolver(f);
}

fn environment(f: &mut Findings) {
    let (mut session, mut given) = (Vec::new(), Vec::new());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if OWN.contains(&name.as_str()) {
            continue;
        }
        let prefixed = SESSION_PREFIXES.iter().any(|p| name.starts_with(p));
        if prefixed || SESSION.contains(&name.as_str()) {
            session.push(name);
        } else {
            given.push(name);
        }
    }
    session.sort();
    f.none_of("variables of the caller's session", "none", &session);
    if !given.is_empty() {
        given.sort();
        f.add(
            "variables beyond the image's",
            Verdict::Downgraded,
            format!("given with -e: {}", shorten(&given)),
        );
    }
}

/// proc_pid_cmdline(5) of pid 1 is readable by everybody: it must say nothing.
fn init_arguments(f: &mut Findings) {
    let text = std::fs::read("/proc/1/cmdline").unwrap_or_default();
    let words: Vec<String> = text
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let telling = words.len() > 1 || words.iter().any(|word| word.contains('/'));
    let leaks = if telling { words } else { Vec::new() };
    f.none_of("the launcher's command line", "scrubbed", &leaks);
}

fn names(f: &mut Findings) {
    let names = rustix::system::uname();
    let first = rustix::fs::stat("/proc/self/ns/uts").is_ok_and(|s| s.st_ino == 0xefff_fffe);
    f.holds(
        "the machine's host name",
        !first,
        format!("here it is {}", names.nodename().to_string_lossy()),
    );
    // A new uts namespace starts with a copy of both names (uts_namespaces(7)).
    let domain = names.domainname().to_string_lossy();
    f.holds(
        "the machine's domain name",
        matches!(&*domain, "" | "(none)" | "localdomain"),
        domain.clone(),
    );
}

/// The host's resolver and hosts file name its networks.
fn resolver(f: &mut Findings) {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            ["nameserver", "search", "domain"]
                .iter()
                .any(|k| line.starts_with(k))
        })
        .filter(|line| !line.ends_with("127.0.0.1") && !line.ends_with("::1"))
        .map(str::to_owned)
        .collect();
    let granted = super::network::granted();
    f.none_of_but("the host's name servers", "none", &servers, granted);
    let own = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let strangers: Vec<String> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split_whitespace().skip(1))
        .filter(|name| *name != own && !name.starts_with("localhost") && !name.starts_with("ip6-"))
        .map(str::to_owned)
        .collect();
    f.none_of("names in the host's hosts file", "none", &strangers);
}
