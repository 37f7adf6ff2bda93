//! A cgroup of this run's own where none is delegated: systemd makes a scope of this process and hands
//! its cgroup over (systemd, "Control Group APIs and Delegation"; org.freedesktop.systemd1(5),
//! `StartTransientUnit()`).
//!
//! systemd-run(1) does it for a program that it executes. Here this very process moves, by the same call,
//! which busctl(1) makes: nothing that was done before is done again. A scope that is empty is gone.

use super::cgroup;
use rustix::fs::FileType;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Folders where distributions put busctl: root's, whatever PATH says.
const FOLDERS: [&str; 3] = ["/usr/bin", "/bin", "/run/current-system/sw/bin"];
/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of what busctl complains of, in bytes.
const MOST: u64 = 512;

/// Who would be asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    busctl: String,
    /// The user whose service manager it is; else the system's.
    user: Option<u32>,
}

/// Whether there is somebody to ask: a systemd that runs (sd_booted(3)), its bus, and busctl. An error is
/// what is missing, in a person's words.
pub fn offer() -> Result<Offer, String> {
    if rustix::fs::stat("/run/systemd/system").is_err() {
        return Err("no systemd runs here".to_owned());
    }
    let uid = rustix::process::geteuid();
    let user = (!uid.is_root()).then(|| uid.as_raw());
    let socket = |stat: &rustix::fs::Stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        kind == FileType::Socket && user.is_none_or(|uid| stat.st_uid == uid)
    };
    let bus = bus_of(user);
    if !rustix::fs::stat(bus.as_str()).is_ok_and(|stat| socket(&stat)) {
        return Err(format!("there is no bus to ask systemd by at {bus}"));
    }
    let there = |path: &String| rustix::fs::stat(path.as_str()).is_ok();
    let mut paths = FOLDERS.iter().map(|folder| format!("{folder}/busctl"));
    match paths.find(there) {
        Some(busctl) => Ok(Offer { busctl, user }),
        None => Err("busctl, which comes with systemd, is not installed".to_owned()),
    }
}

/// Where logind and systemd put the bus (user@.service(5), dbus-daemon(1)).
fn bus_of(user: Option<u32>) -> String {
    match user {
        Some(uid) => format!("/run/user/{uid}/bus"),
        None => "/run/dbus/system_bus_socket".to_owned(),
    }
}

impl Offer {
    /// Moves this process into a scope, and returns once it is there. An error is why that did not come
    /// about, in a person's words.
    pub fn take(&self) -> Result<(), String> {
        let mut nonce = [0; 4];
        // 256 bytes or fewer are never cut short (getrandom(2)).
        rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| format!("getrandom: {e}"))?;
        let pid = rustix::process::getpid().as_raw_nonzero().to_string();
        let scope = format!("lazaret-{pid}-{:08x}.scope", u32::from_ne_bytes(nonce));
        let mut child = self
            .call(&scope, &pid)
            .spawn()
            .map_err(|e| format!("{} cannot be started: {e}", self.busctl))?;
        let came = wait(&mut child, &scope);
        // It has ended, or is of no use any more; one that is gone cannot be killed, and that is well.
        child.kill().unwrap_or_default();
        let reaped = child.wait().map_err(|e| format!("wait for busctl: {e}"));
        came.and(reaped.map(drop))
    }

    fn call(&self, scope: &str, pid: &str) -> Command {
        let mut busctl = Command::new(&self.busctl);
        busctl.env_clear();
        // Other names for the user's bus than logind's would be the caller's word.
        match self.user {
            Some(uid) => {
                busctl.env("XDG_RUNTIME_DIR", format!("/run/user/{uid}"));
                busctl.env(
                    "DBUS_SESSION_BUS_ADDRESS",
                    format!("unix:path={}", bus_of(Some(uid))),
                );
                busctl.arg("--user")
            }
            None => busctl.arg("--system"),
        };
        busctl.args([
            "--quiet",
            "--no-pager",
            "--allow-interactive-authorization=no",
        ]);
        busctl.arg(format!("--timeout={}", PATIENCE.as_secs()));
        busctl.args([
            "call",
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "StartTransientUnit",
            "ssa(sv)a(sa(sv))",
            scope,
            // Another unit of that name is not ended for it.
            "fail",
            "4",
        ]);
        busctl.args(["Description", "s", "a container of lazaret"]);
        busctl.args(["PIDs", "au", "1", pid]);
        busctl.args(["Delegate", "b", "true"]);
        // One whose processes were killed is forgotten like any other.
        busctl.args(["CollectMode", "s", "inactive-or-failed", "0"]);
        busctl
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        busctl
    }
}

/// Until this process is in `scope`: the call's answer comes before the move.
fn wait(child: &mut Child, scope: &str) -> Result<(), String> {
    let began = Instant::now();
    let moved = || cgroup::own().is_some_and(|own| own.rsplit('/').next() == Some(scope));
    while !moved() {
        match child.try_wait() {
            Err(e) => return Err(format!("wait for busctl: {e}")),
            Ok(Some(status)) if !status.success() => return Err(complaint(child, status)),
            Ok(_) => {}
        }
        if began.elapsed() > PATIENCE {
            return Err("systemd has not answered in time".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What it said, on one line.
fn complaint(child: &mut Child, status: std::process::ExitStatus) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // It has ended; whoever holds the pipe on is not waited for.
        let quiet = rustix::io::ioctl_fionbio(&stderr, true).is_ok();
        let read = quiet.then(|| stderr.take(MOST).read_to_end(&mut said));
        if !matches!(read, Some(Ok(_))) && said.is_empty() {
            return format!("busctl failed ({status})");
        }
    }
    let said = String::from_utf8_lossy(&said);
    let words: Vec<&str> = said.split_whitespace().collect();
    match words.is_empty() {
        true => format!("busctl failed ({status})"),
        false => format!("systemd gave none: {}", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_asks_its_own_manager_and_nothing_of_the_environment_goes_along() {
        let offer = |user| Offer {
            busctl: "/usr/bin/busctl".to_owned(),
            user,
        };
        let call = |user| {
            let call = offer(user).call("lazaret-7-00000001.scope", "7");
            let words = call.get_args().map(|word| word.to_string_lossy());
            let words: Vec<_> = words.map(std::borrow::Cow::into_owned).collect();
            (words.join(" "), call.get_envs().count())
        };
        let (words, variables) = call(Some(1000));
        assert!(words.starts_with("--user --quiet"), "{words}");
        assert!(
            words.contains(
                " StartTransientUnit ssa(sv)a(sa(sv)) lazaret-7-00000001.scope fail 4 Description"
            ),
            "{words}"
        );
        assert!(
            words.contains(" PIDs au 1 7 Delegate b true CollectMode s inactive-or-failed 0"),
            "{words}"
        );
        assert_eq!(variables, 2);
        let (words, variables) = call(None);
        assert!(words.starts_with("--system "), "{words}");
        assert_eq!(variables, 0);
    }
}
