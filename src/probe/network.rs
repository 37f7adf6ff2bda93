//! The network, sockets of every family, and System V and POSIX objects.

use super::attempt::Tester;
use super::finding::{Findings, Verdict, errno_name};
use crate::error::Result;
use crate::sys::probe_calls::{KEY_CALLS, socket, socketpair};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Interfaces that some kernels make, down and without a way anywhere, in every new namespace.
const FALLBACK: &[&str] = &[
    "lo", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0",
    "ip6gre0",
];

/// Ports on which machines serve themselves.
const PORTS: &[u16] = &[
    22, 25, 53, 80, 111, 443, 631, 2375, 3000, 3306, 5000, 5432, 6379, 8000, 8080, 9090,
];

const STREAM: i64 = 1;
const DATAGRAM: i64 = 2;
const RAW: i64 = 3;
const SEQUENCED: i64 = 5;
const NETLINK: i64 = 16;

/// Sockets that hide kernel code or powers behind an ordinary family: family, type, protocol.
const SPECIAL: &[(&str, i64, i64, i64)] = &[
    ("raw IP", 2, RAW, 255),
    ("raw ICMP", 2, RAW, 1),
    ("raw IPv6", 10, RAW, 255),
    ("SCTP", 2, STREAM, 132),
    ("SCTP (sequenced)", 2, SEQUENCED, 0),
    ("SCTP over IPv6", 10, SEQUENCED, 132),
    ("MPTCP", 2, STREAM, 262),
    ("MPTCP over IPv6", 10, STREAM, 262),
    ("UDP-Lite", 2, DATAGRAM, 136),
    ("DCCP", 2, 6, 33),
    ("L2TP", 2, DATAGRAM, 115),
    (
        "IPPROTO_RAW with high bits",
        (1 << 32) | 2,
        (1 << 32) | RAW,
        255,
    ),
    ("packet with high bits", (1 << 32) | 17, RAW, 0),
    ("crypto with high bits", (1 << 32) | 38, SEQUENCED, 0),
    (
        "netlink audit with high bits",
        (1 << 32) | NETLINK,
        RAW,
        (1 << 32) | 9,
    ),
    ("MPTCP with high bits", 2, STREAM, (1 << 32) | 262),
];

/// A filter's own words for "not here".
const NOT_HERE: &[i32] = &[
    libc::EAFNOSUPPORT,
    libc::EPROTONOSUPPORT,
    libc::ESOCKTNOSUPPORT,
];

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("network");
    let granted = granted();
    interfaces(f, granted);
    ways_out(f, granted);
    unix_sockets(f, granted);
    families(t, f)?;
    let special = SPECIAL.iter().map(|(name, family, kind, protocol)| {
        (*name, || socket(*family, *kind, *protocol).map(|_| 0))
    });
    t.all_refused(f, "raw sockets and odd protocols", NOT_HERE, special)?;
    let names: Vec<String> = (1..=22).map(|n: i64| format!("protocol {n}")).collect();
    let others = names.iter().zip(1..).map(|(name, protocol)| {
        (name.as_str(), move || {
            socket(NETLINK, RAW, protocol).map(|_| 0)
        })
    });
    t.all_refused(f, "netlink other than routes", NOT_HERE, others)?;
    // AF_TIPC has pairs, and AF_UNIX is the only family whose pairs anybody needs.
    t.refused(f, "socketpair of TIPC", NOT_HERE, || {
        socketpair(30, SEQUENCED)
    })?;

    f.group("shared objects and keys");
    objects(f);
    for call in KEY_CALLS {
        t.refused(f, call.name, &[], || call.attempt())?;
    }
    Ok(())
}

/// What gives the host's network, if anything does: the launch says so in a file that is its own.
pub fn granted() -> Option<&'static str> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let marked = text.lines().next() == Some(crate::plan::HOST_NETWORK);
    marked.then_some("granted with --network host")
}

fn interfaces(f: &mut Findings, granted: Option<&str>) {
    let text = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let others: Vec<String> = text
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| !FALLBACK.contains(&name.as_str()))
        .collect();
    f.none_of_but("interfaces other than lo", "none", &others, granted);
    let routes: Vec<String> = std::fs::read_to_string("/proc/self/net/route")
        .unwrap_or_default()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| format!("through {name}"))
        .collect();
    f.none_of_but("routes", "none", &routes, granted);
}

/// A connected UDP socket sends nothing, and needs a route.
fn ways_out(f: &mut Findings, granted: Option<&str>) {
    let reach = |from: &str, to: &str| UdpSocket::bind(from).and_then(|s| s.connect(to));
    let reached: Vec<String> = [
        ("0.0.0.0:0", "192.0.2.1:9"),
        ("0.0.0.0:0", "169.254.169.254:80"),
        ("0.0.0.0:0", "10.0.0.1:53"),
        ("[::]:0", "[2001:db8::1]:9"),
    ]
    .into_iter()
    .filter(|(from, to)| reach(from, to).is_ok())
    .map(|(_, to)| to.to_owned())
    .collect();
    f.none_of_but("a way to any address", "4 tried", &reached, granted);
    let answered: Vec<String> = PORTS
        .iter()
        .filter(|port| {
            let address = SocketAddr::from(([127, 0, 0, 1], **port));
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
        })
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    f.none_of_but(
        "services on the host's loopback",
        format!("{} ports tried", PORTS.len()),
        &answered,
        granted,
    );
    let mut listed = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6", "raw", "packet"] {
        let text = std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        let count = text.lines().count().saturating_sub(1);
        if count > 0 {
            listed.push(format!("{count} {table}"));
        }
    }
    f.none_of_but(
        "sockets of others in sight",
        "6 tables read",
        &listed,
        granted,
    );
}

/// unix(7): names in the abstract space belong to the network namespace.
fn unix_sockets(f: &mut Findings, granted: Option<&str>) {
    let text = std::fs::read_to_string("/proc/self/net/unix").unwrap_or_default();
    let mut named: Vec<String> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(7))
        .map(str::to_owned)
        .collect();
    named.sort();
    named.dedup();
    f.none_of_but("local sockets of others in sight", "none", &named, granted);
    let known = [
        "@/tmp/.X11-unix/X0",
        "@/tmp/.ICE-unix/1",
        "@/org/kernel/udev/udevd",
    ];
    let reached: Vec<String> = named
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with('@'))
        .chain(known)
        .filter(|name| connects(&name.as_bytes()[1..]))
        .map(str::to_owned)
        .collect();
    f.none_of("abstract sockets outside", "3 names tried", &reached);
}

/// Whether a socket of any kind connects to an abstract name: the wrong kind is told apart before
/// anybody asks whether it may.
fn connects(name: &[u8]) -> bool {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    [SocketType::STREAM, SocketType::DGRAM, SocketType::SEQPACKET]
        .into_iter()
        .any(|kind| {
            let socket =
                rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
            let address = SocketAddrUnix::new_abstract_name(name);
            matches!((socket, address), (Ok(socket), Ok(address))
            if rustix::net::connect(&socket, &address).is_ok())
        })
}

/// Every family number but the four that a cell may use, with every type.
fn families(t: Tester, f: &mut Findings) -> Result<()> {
    let mut reached = Vec::new();
    let mut tried = 0;
    for family in (0..=63).filter(|n| ![1, 2, 10, NETLINK].contains(n)) {
        tried += 1;
        let outcomes = [STREAM, DATAGRAM, RAW, SEQUENCED]
            .map(|kind| t.in_child(|| socket(family, kind, 0).map(|_| 0)));
        for outcome in outcomes {
            let outcome = outcome?;
            if !outcome.is_refused(&[libc::EAFNOSUPPORT]) {
                reached.push(format!("{} ({})", family_name(family), outcome.describe()));
                break;
            }
        }
    }
    f.none_of(
        "socket families beyond local, IP and routes",
        format!("{tried} tried"),
        &reached,
    );
    Ok(())
}

fn family_name(family: i64) -> String {
    match family {
        15 => "key".to_owned(),
        17 => "packet".to_owned(),
        29 => "can".to_owned(),
        30 => "tipc".to_owned(),
        31 => "bluetooth".to_owned(),
        38 => "alg".to_owned(),
        40 => "vsock".to_owned(),
        44 => "xdp".to_owned(),
        other => format!("family {other}"),
    }
}

fn objects(f: &mut Findings) {
    let mut seen = Vec::new();
    for table in ["shm", "sem", "msg"] {
        let text = std::fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default();
        let count = text.lines().count().saturating_sub(1);
        if count > 0 {
            seen.push(format!("{count} {table}"));
        }
    }
    f.none_of("System V objects of others", "3 tables read", &seen);
    let mut seen = Vec::new();
    for folder in ["/dev/shm", "/dev/mqueue"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen.push(entry.path().display().to_string());
        }
    }
    f.none_of("POSIX objects of others", "2 folders read", &seen);
    match std::fs::read_to_string("/proc/swaps") {
        Ok(text) if text.lines().count() > 1 => f.add(
            "swap files of the host",
            Verdict::Downgraded,
            "their paths are readable in /proc/swaps",
        ),
        Ok(_) => f.add("swap files of the host", Verdict::Contained, "none listed"),
        Err(e) => f.add(
            "swap files of the host",
            Verdict::Contained,
            errno_name(e.raw_os_error().unwrap_or(libc::EIO)),
        ),
    }
}
