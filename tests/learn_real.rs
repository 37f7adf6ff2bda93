//! `lazaret learn` on real programs of a Debian root, and on redis and postgres: what they did is learnt,
//! under it they run without a denial, one act more is refused and explained, and no system call is
//! missed that strace sees the same programs make.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::path::Path;
use std::process::Command;
use support::learnt::{UNDER, calls, install, learn, strace_calls};
use support::reports::denials;
use support::{Home, need};

/// What is run with `sh -c`, and a word of what it says.
const PROGRAMS: &[(&str, &str, &str)] = &[
    (
        "python",
        "python3 -c 'import threading, os, sys
threads = [threading.Thread(target=print, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
pid = os.fork()
if pid == 0: os._exit(3)
print(\"child\", os.WEXITSTATUS(os.waitpid(pid, 0)[1]))'",
        "child 3",
    ),
    (
        "gcc",
        "cd /root && printf '#include <stdio.h>\\nint main(void){puts(\"built\");return 0;}' > a.c && gcc -O2 a.c && ./a.out",
        "built",
    ),
    (
        "git",
        "cd /root && git init -q r && cd r && echo x > f && git add f && \
         git -c user.name=x -c user.email=x@x commit -q -m one && git log --format=%s && git status --short",
        "one",
    ),
    (
        "perl",
        "perl -e 'print join(\",\", sort { $a <=> $b } (10, 9, 8)), \"\\n\"; print `echo from a child`'",
        "from a child",
    ),
    (
        "tools",
        "cd /root && mkdir -p a/b && tar -cf x.tar a && tar -tf x.tar && find . -name b && dpkg --version | head -n 1 && apt-get --version | head -n 1",
        "apt ",
    ),
];

/// One act that none of them makes.
const ACT: &str = "; mount -t tmpfs x /mnt; true";

#[test]
fn real_programs_are_learnt_replayed_and_held() {
    need!("userns", "overlay", "debian");
    let home = Home::new();
    let layout = std::env::var("LAZARET_TEST_DEBIAN").unwrap();
    let image = format!("oci:{layout}:stable");
    for (name, script, says) in PROGRAMS {
        learn(&home, &[], &[&image, "sh", "-c", script])
            .ok()
            .says(says);
        install(&home, "learnt.toml");
        let (ran, denied) = denials(&home, &UNDER, &image, &["sh", "-c", script]);
        assert!(ran.ok().out().contains(says), "{name}");
        assert!(denied.is_empty(), "{name}: {denied:#?}");
        let more = format!("{script}{ACT}");
        let (_, denied) = denials(&home, &UNDER, &image, &["sh", "-c", &more]);
        let all: Vec<&str> = denied.iter().map(|d| d["call"].as_str().unwrap()).collect();
        assert!(
            all.iter().any(|call| call.starts_with("mount(")),
            "{name}: {all:?}"
        );
        for file in ["learnt.toml", "learnt.seccomp.json"] {
            std::fs::remove_file(home.path(file)).unwrap();
        }
    }
}

/// They prepare their folder as root, become a user of their own, answer and stop.
const SERVICES: &[(&str, &str, &str, &[&str])] = &[
    (
        "redis",
        "redis-entrypoint --unixsocket /tmp/s --save '' >/dev/null & \
         until redis-cli -s /tmp/s ping; do sleep 0.1; done; redis-cli -s /tmp/s set k v; \
         redis-cli -s /tmp/s shutdown nosave; wait; echo stopped",
        "stopped",
        &["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"],
    ),
    (
        "postgres",
        "export PGDATA=/var/lib/postgresql/data; postgres-entrypoint -c listen_addresses= -c unix_socket_directories=/tmp >/dev/null 2>&1 & \
         server=$!; until psql -h /tmp -U postgres -c 'select 41 + 1' 2>/dev/null; do sleep 0.2; done; \
         kill $server; wait $server; echo stopped",
        "stopped",
        &["CHOWN", "SETGID", "SETUID"],
    ),
];

#[test]
fn services_are_learnt_and_replayed() {
    need!("userns", "overlay", "services", "subuids");
    let home = Home::new();
    let layout = std::env::var("LAZARET_TEST_SERVICES").unwrap();
    for (name, script, says, caps) in SERVICES {
        let image = format!("oci:{layout}:{name}");
        let shell = ["--entrypoint", "sh", &image, "-c", script];
        let learnt = learn(&home, &[], &[&["--timeout", "180s"], &shell[..]].concat()).ok();
        assert!(learnt.out().contains(says), "{name}: {learnt}");
        let text = std::fs::read_to_string(home.path("learnt.toml")).unwrap();
        for cap in *caps {
            assert!(
                text.contains(&format!("caps = [\"{cap}\"]")),
                "{name} {cap}\n{text}"
            );
        }
        install(&home, "learnt.toml");
        let flags = [&UNDER[..], &["--timeout", "180s", "--entrypoint", "sh"]].concat();
        let (ran, denied) = denials(&home, &flags, &image, &["-c", script]);
        assert!(ran.ok().out().contains(says), "{name}");
        // What no policy gives, as of /sys, was refused before as well.
        for denial in &denied {
            let call = denial["call"].as_str().unwrap();
            assert!(learnt.err().contains(call), "{name}: {denial:#}\n{learnt}");
            assert_eq!(denial["cure"], serde_json::json!([]), "{name}: {denial:#}");
        }
        for file in ["learnt.toml", "learnt.seccomp.json"] {
            std::fs::remove_file(home.path(file)).unwrap();
        }
    }
}

/// Outside of any cell, on the same root: what strace sees there is in what was learnt.
#[test]
fn no_call_is_missed_that_strace_sees() {
    need!("userns", "overlay", "debian", "umoci", "strace", "root");
    let home = Home::new();
    let layout = std::env::var("LAZARET_TEST_DEBIAN").unwrap();
    let bundle = home.path("bundle");
    let unpacked = Command::new("umoci")
        .args(["unpack", "--image", &format!("{layout}:stable")])
        .arg(&bundle)
        .output()
        .unwrap();
    assert!(
        unpacked.status.success(),
        "{}",
        String::from_utf8_lossy(&unpacked.stderr)
    );
    let root = bundle.join("rootfs");
    for (name, script, _) in PROGRAMS {
        learn(
            &home,
            &[],
            &[&format!("oci:{layout}:stable"), "sh", "-c", script],
        )
        .ok();
        let learnt = calls(&home, "learnt.seccomp.json");
        let seen = seen_outside(&home, &root, script);
        assert!(seen.len() > 25, "{name}: {seen:?}");
        let missed: Vec<&String> = seen.difference(&learnt).collect();
        assert!(missed.is_empty(), "{name}: {missed:?}");
        for file in ["learnt.toml", "learnt.seccomp.json"] {
            std::fs::remove_file(home.path(file)).unwrap();
        }
    }
    home.clean();
}

/// With mounts of its own, so that nothing of them is left: /proc and /dev as a program finds them.
fn seen_outside(home: &Home, root: &Path, script: &str) -> std::collections::BTreeSet<String> {
    let log = home.path("strace.log");
    let root = root.to_str().unwrap();
    let inner = "mount -t proc proc \"$1/proc\" && mount --rbind /dev \"$1/dev\" && rm -rf \"$1\"/root/* && \
                 exec strace -f -qq -o \"$2\" chroot \"$1\" /bin/sh -c \"$3\"";
    let ran = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            inner,
            "sh",
            root,
        ])
        .arg(&log)
        .arg(script)
        .env_clear()
        .envs([
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
        ])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let text = std::fs::read_to_string(log).unwrap();
    // What chroot itself does is not the program's.
    let begins = text.find("execve(\"/bin/sh\"").unwrap();
    let line = text[..begins].rfind('\n').map_or(0, |at| at + 1);
    strace_calls(&text[line..])
}
