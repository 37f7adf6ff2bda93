//! Tests that need something say so, are skipped by name where it is missing, and are counted.
//!
//! A skip is a line in a file that belongs to this very run of cargo (its pid and start time), so
//! that `tests/zz_summary.rs`, the last test binary, can say `skipped 5: subuids 3, umoci 2`.
//! `LAZARET_TEST_REQUIRE=all` or a list of names turns skips into failures. `all` means what a
//! machine provides; who the run is (`root`, `not-root`, `no-subuids`) cannot all hold at once and
//! is required only by name.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Leaves the test, counted as skipped, unless everything named is there.
macro_rules! need {
    ($($name:literal),+ $(,)?) => {{
        fn here() {}
        let test = std::any::type_name_of_val(&here).trim_end_matches("::here");
        $(
            if !$crate::support::have(test, $name) {
                return;
            }
        )+
    }};
}
pub(crate) use need;

/// Whether `name` is there for `test`; if not, records the skip or fails as required.
pub fn have(test: &str, name: &str) -> bool {
    let Err(why) = check(name) else {
        return true;
    };
    let required = std::env::var("LAZARET_TEST_REQUIRE").unwrap_or_default();
    let role = matches!(name, "root" | "not-root" | "no-subuids");
    let by_name = required.split(',').any(|r| r.trim() == name);
    assert!(
        !(by_name || required.split(',').any(|r| r.trim() == "all") && !role),
        "LAZARET_TEST_REQUIRE={required}: {test} needs {name}: {why}"
    );
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(skip_file())
        .unwrap();
    file.write_all(format!("{name}\t{test}\n").as_bytes())
        .unwrap();
    tell(&format!("skipped {test}: needs {name}: {why}"));
    false
}

/// A line on the real standard error; libtest swallows what the print macros write.
pub fn tell(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The skips of this run of cargo.
pub fn skip_file() -> PathBuf {
    let parent = std::os::unix::process::parent_id();
    let stat = std::fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
    // Field 22, counted from behind the command's name.
    let started = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(19).map(str::to_owned))
        .unwrap_or_default();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skips-{parent}-{started}"))
}

pub fn check(name: &str) -> Result<(), String> {
    let uid = rustix::process::geteuid();
    let yes = |ok: bool, why: &str| if ok { Ok(()) } else { Err(why.to_owned()) };
    match name {
        "root" => yes(uid.is_root(), "started by an ordinary user"),
        "not-root" => yes(!uid.is_root(), "started by root"),
        "subuids" => yes(
            uid.is_root() || has_subids(),
            "no entry in /etc/subuid and /etc/subgid, or no newuidmap",
        ),
        "no-subuids" => yes(
            !uid.is_root() && !has_subids(),
            "this user has subordinate ids",
        ),
        "userns" => {
            let launch = super::program("launch");
            let ok = Command::new(launch).arg("--userns").status().unwrap();
            yes(ok.success(), "user namespaces may not be made here")
        }
        "landlock" => {
            let launch = super::program("launch");
            let out = Command::new(launch).arg("--landlock").output().unwrap();
            yes(out.stdout != b"0\n", "this kernel has no Landlock")
        }
        // ABI 5 refuses device ioctls, ABI 6 has scopes.
        "landlock-5" | "landlock-6" | "landlock-7" => {
            let launch = super::program("launch");
            let out = Command::new(launch).arg("--landlock").output().unwrap();
            let abi = String::from_utf8_lossy(&out.stdout).trim().parse::<u32>();
            let wanted = name.trim_start_matches("landlock-").parse().unwrap();
            yes(
                abi.is_ok_and(|abi| abi >= wanted),
                "this kernel's Landlock is older",
            )
        }
        "overlay" => {
            let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
            yes(
                known.contains("\toverlay\n"),
                "this kernel knows no overlay",
            )
        }
        "cgroup2" => yes(
            ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
                .iter()
                .any(|m| Path::new(m).join("cgroup.controllers").exists()),
            "no cgroup v2 is mounted",
        ),
        "debian" => yes(
            std::env::var_os("LAZARET_TEST_DEBIAN").is_some_and(|v| !v.is_empty()),
            "LAZARET_TEST_DEBIAN names no layout of a Debian root (.ci/run makes one)",
        ),
        "services" => yes(
            std::env::var_os("LAZARET_TEST_SERVICES").is_some_and(|v| !v.is_empty()),
            "LAZARET_TEST_SERVICES names no layout with redis and postgres (.ci/run makes one)",
        ),
        "securesystemslib" | "sigstore" => {
            let asked = Command::new(python())
                .args(["-c", &format!("import {name}")])
                .output();
            yes(
                asked.is_ok_and(|out| out.status.success()),
                "python3 does not know it: pip install securesystemslib cryptography sigstore, and name \
                 that python in LAZARET_TEST_PYTHON",
            )
        }
        "umoci" | "skopeo" | "buildah" | "debootstrap" | "bwrap" | "busybox" | "unshare"
        | "python3" | "bash" | "strace" | "perl" | "git" | "gcc" | "docker-registry"
        | "htpasswd" | "openssl" | "zsh" | "fish" | "man" | "mandoc" => {
            yes(find(name).is_some(), "not installed")
        }
        _ => panic!("support::need! does not know {name:?}"),
    }
}

/// The python that knows what is from PyPI.
pub fn python() -> PathBuf {
    let named = std::env::var_os("LAZARET_TEST_PYTHON").filter(|path| !path.is_empty());
    named.map_or_else(|| "/usr/bin/python3".into(), PathBuf::from)
}

/// A tool, searched for where Debian puts it, whatever PATH says.
pub fn find(tool: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(tool))
        .find(|path| path.exists())
}

/// Whether the caller has ranges in both files and a helper to use them.
fn has_subids() -> bool {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd
        .lines()
        .map(|l| l.split(':').collect::<Vec<_>>())
        .find(|f| f.get(2) == Some(&uid.as_str()))
        .map(|f| f[0].to_owned());
    let listed = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .filter_map(|l| l.split(':').next())
            .any(|owner| owner == uid || Some(owner) == name.as_deref())
    };
    listed("/etc/subuid") && listed("/etc/subgid") && find("newuidmap").is_some()
}
