//! The fetch worker: it has the network, and nothing else of this machine.
//!
//! A worker needs a launcher of one thread, so this file has no libtest harness.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test without harness prints its own lines, and fails by panicking"
)]

mod support;

use lazaret::error::{Kind, Result};
use lazaret::plan::IdMap;
use lazaret::worker::{Purpose, Worker};
use rustix::net::{AddressFamily, SocketType, socket};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

const TESTS: [(&str, fn()); 6] = [
    ("it_speaks_and_writes_to_what_it_was_given", speaks),
    ("it_sees_no_file_of_the_host", sees_no_file),
    (
        "it_reaches_no_local_socket_and_no_process",
        reaches_no_socket,
    ),
    ("it_starts_no_program_and_takes_no_call", starts_nothing),
    (
        "it_reaches_no_listener_by_a_socket_it_was_left",
        reaches_no_listener,
    ),
    ("it_has_namespaces_of_its_own", has_namespaces_of_its_own),
];

fn main() {
    if std::env::args().any(|arg| arg == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return;
    }
    let mut ran = 0;
    for (name, test) in TESTS {
        let name = format!("fetch_worker::{name}");
        if support::have(&name, "userns") && support::have(&name, "landlock") {
            test();
            println!("test {name} ... ok");
            ran += 1;
        }
    }
    println!("test result: ok. {ran} passed; 0 failed");
}

fn map() -> IdMap {
    IdMap::Single {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

/// Runs a job in a fetch worker whose folder holds /etc/resolv.conf alone.
fn fetch(keep: &[i32], job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    let home = support::Home::new();
    std::fs::create_dir_all(home.path("root/etc")).unwrap();
    std::fs::write(home.path("root/etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let root = std::fs::File::open(home.path("root")).unwrap();
    lazaret::worker::fetch(&map(), root.as_fd(), keep, job, || {})
}

fn speaks() {
    let home = support::Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::fs::File::create(home.path("blob")).unwrap();
    // The kernel takes the connection before anybody accepts it.
    let answer = fetch(&[served.as_raw_fd()], |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"hello").unwrap();
        (&served).write_all(b"what was fetched").unwrap();
        Ok(std::fs::read("/etc/resolv.conf").unwrap())
    })
    .unwrap();
    assert_eq!(answer, b"nameserver 127.0.0.1\n");
    let mut heard = String::new();
    listener
        .accept()
        .unwrap()
        .0
        .read_to_string(&mut heard)
        .unwrap();
    assert_eq!(heard, "hello");
    assert_eq!(
        std::fs::read(home.path("blob")).unwrap(),
        b"what was fetched"
    );
}

fn sees_no_file() {
    let secret = support::Home::new();
    std::fs::write(secret.path("key"), "secret").unwrap();
    let path = secret.path("key");
    let seen = fetch(&[], |root| {
        let mut seen = Vec::new();
        let paths = [
            path.to_str().unwrap(),
            "/etc/passwd",
            "/etc/shadow",
            "/proc/self",
            "/dev/null",
        ];
        for path in paths {
            if std::fs::metadata(path).is_ok() {
                seen.push(path.to_owned());
            }
        }
        for fd in [root.as_raw_fd()].into_iter().chain(0..64) {
            // SAFETY: a number that is no open descriptor makes the call fail, no more.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let up = rustix::fs::statat(fd, "../../etc/passwd", rustix::fs::AtFlags::empty());
            if up.is_ok() {
                seen.push(format!("{fd:?}"));
            }
        }
        Ok(seen.join("\n").into_bytes())
    });
    assert_eq!(String::from_utf8_lossy(&seen.unwrap()), "");
}

fn reaches_no_socket() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("lazaret-fetch-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let me = rustix::process::getpid();
    let reached = fetch(&[], |_| {
        let mut reached = Vec::new();
        if std::os::unix::net::UnixStream::connect_addr(&address).is_ok() {
            reached.push("an abstract socket of the host");
        }
        for (what, family, kind) in [
            ("a local socket", AddressFamily::UNIX, SocketType::STREAM),
            ("a raw socket", AddressFamily::INET, SocketType::RAW),
            ("a packet socket", AddressFamily::PACKET, SocketType::RAW),
            (
                "a socket of a virtual machine",
                AddressFamily::VSOCK,
                SocketType::STREAM,
            ),
        ] {
            if socket(family, kind, None).is_ok() {
                reached.push(what);
            }
        }
        if rustix::process::test_kill_process(me).is_ok() && me.as_raw_nonzero().get() > 2 {
            reached.push("a process of the host");
        }
        Ok(reached.join("\n").into_bytes())
    });
    assert_eq!(String::from_utf8_lossy(&reached.unwrap()), "");
}

/// What no honest worker does ends it, and that is an error of its own kind.
fn starts_nothing() {
    let ended = |job: fn()| {
        let error = fetch(&[], |_| {
            job();
            Ok(b"still here".to_vec())
        })
        .unwrap_err();
        assert_eq!(error.kind, Kind::Worker, "{error}");
    };
    ended(|| {
        use std::os::unix::process::CommandExt as _;
        let _killed = std::process::Command::new("/bin/true").exec();
    });
    ended(|| {
        let _killed = TcpListener::bind("127.0.0.1:0");
    });
    ended(|| {
        let flags = rustix::thread::UnshareFlags::NEWNET;
        // SAFETY: nothing else runs in this process, which the call ends.
        let _killed = unsafe { rustix::thread::unshare_unsafe(flags) };
    });
}

/// Every namespace but the network's is its own. Root alone may look at one that is not dumpable.
fn has_namespaces_of_its_own() {
    let name = "fetch_worker::it_has_namespaces_of_its_own";
    if !support::have(name, "root") {
        return;
    }
    let home = support::Home::new();
    std::fs::create_dir(home.path("root")).unwrap();
    let root = std::fs::File::open(home.path("root")).unwrap();
    let (mut theirs, ours) = std::io::pipe().unwrap();
    let keep = [theirs.as_raw_fd()];
    let worker = Worker::start(Purpose::Fetch, &map(), root.as_fd(), &keep, |_| {
        let _until_it_is_closed = theirs.read(&mut [0]);
        Ok(Vec::new())
    })
    .unwrap();
    let me = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap();
    let child = children.split_whitespace().next_back().unwrap();
    let shared: Vec<&str> = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"]
        .into_iter()
        .filter(|kind| {
            let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            of(child) == of("self")
        })
        .collect();
    drop(ours);
    worker.finish().unwrap();
    assert_eq!(shared, ["net"]);
}

/// The filter makes no local socket; Landlock's scope holds where one is there already.
fn reaches_no_listener() {
    use rustix::net::{SocketAddrUnix, connect};
    if !support::have(
        "fetch_worker::it_reaches_no_listener_by_a_socket_it_was_left",
        "landlock-6",
    ) {
        return;
    }
    let name = format!("lazaret-left-{}", std::process::id());
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 4).unwrap();
    let left = || socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    connect(left(), &address).unwrap();
    let left = left();
    let told = fetch(&[left.as_raw_fd()], |_| {
        Ok(format!("{:?}", connect(&left, &address)).into_bytes())
    })
    .unwrap();
    let refused = format!("{:?}", Err::<(), _>(rustix::io::Errno::PERM));
    assert_eq!(String::from_utf8_lossy(&told), refused);
}
