//! A cgroup of this run's own where none is delegated: systemd makes a scope of this process and hands
//! its cgroup over (systemd, "Control Group APIs and Delegation"; org.freedesktop.systemd1(5),
//! `StartTransientUnit()`).
//!
//! systemd-run(1) does it for a program that it executes. Here this very process moves, by the same call,
//! which busctl(1) makes: nothing that was done before is done again. A scope that is empty is gone.

use super::{cgroup, files, ids};
use crate::policy::{Cgroup, SCOPE};
use rustix::fs::FileType;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Folders where distributions put busctl: root's, whatever PATH says.
const FOLDERS: [&str; 3] = ["/usr/bin", "/bin", "/run/current-system/sw/bin"];
/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of what busctl complains of, in bytes.
const MOST: u64 = 512;
/// Bounds of a cgroup that a run must not leave behind, and what each says where there is none.
const BOUNDS: [&str; 4] = ["memory.max", "memory.high", "memory.swap.max", "cpu.max"];

/// Who would be asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    busctl: String,
    /// The user whose service manager it is; else the system's.
    user: Option<u32>,
    /// What a scope of theirs can limit.
    controllers: Vec<String>,
    /// This process is in a login session, and those of its user outlive no logout.
    ends_with_session: bool,
}

/// Whether there is somebody to ask: a systemd that runs (sd_booted(3)) and numbers processes as this
/// one does, its bus, and busctl; and whether this process may go.
///
/// # Errors
/// What is missing, in a person's words.
pub fn offer() -> Result<Offer, String> {
    // A container may see its host's folder and bus, where its processes have other numbers.
    let first = files::read(Path::new("/"), "/proc/1/comm").unwrap_or_default();
    if first.trim_end() != "systemd" || rustix::fs::stat("/run/systemd/system").is_err() {
        return Err("no systemd runs here".to_owned());
    }
    let uid = rustix::process::geteuid();
    let user = (!uid.is_root()).then(|| uid.as_raw());
    let own = cgroup::own().ok_or("this process's cgroup is not visible")?;
    let mount = cgroup::mount().ok_or("no cgroup v2 is mounted")?;
    let below = below(&own, uid.as_raw())?;
    for folder in below.bounded {
        let folder = format!("{mount}{folder}");
        // `max`, and `max 100000` of cpu.max; no file where there is no controller.
        let bound = |name: &&&str| {
            let text = cgroup::read(&folder, name);
            !text.is_empty() && !text.starts_with("max")
        };
        if let Some(name) = BOUNDS.iter().find(bound) {
            return Err(format!(
                "{folder} has a bound, {name}, which this run must not leave"
            ));
        }
    }
    let bus = bus_of(user);
    is_bus(&bus, user).map_err(|why| format!("{bus}, where systemd is asked, {why}"))?;
    let there = |path: &String| rustix::fs::stat(path.as_str()).is_ok();
    let mut paths = FOLDERS.iter().map(|folder| format!("{folder}/busctl"));
    let busctl = paths.find(there);
    let busctl = busctl.ok_or("busctl, which comes with systemd, is not installed")?;
    let manager = user.map_or_else(String::new, manager_of);
    Ok(Offer {
        busctl,
        user,
        controllers: cgroup::controllers(&format!("{mount}{manager}")),
        ends_with_session: below.session && user.is_some_and(|uid| !lingers(uid)),
    })
}

/// The cgroup of a user's service manager.
fn manager_of(uid: u32) -> String {
    format!("/user.slice/user-{uid}.slice/user@{uid}.service")
}

/// Where a process is that may go.
#[derive(Debug, PartialEq, Eq)]
struct Below<'a> {
    /// In a login session, not below a service manager.
    session: bool,
    /// The folders whose bounds it would leave.
    bounded: Vec<&'a str>,
}

/// Whether the process of `own` may leave its cgroup: a login session, or what the user's own service
/// manager runs. A service of the system's confines what it runs by more than can be seen here.
fn below(own: &str, uid: u32) -> Result<Below<'_>, String> {
    let manager = manager_of(uid);
    let session = own
        .strip_prefix("/user.slice/user-")
        .and_then(|rest| rest.split_once(".slice/"))
        .is_some_and(|(number, scope)| {
            let is_scope = scope.starts_with("session-") && scope.ends_with(".scope");
            is_scope && !scope.contains('/') && number.bytes().all(|b| b.is_ascii_digit())
        });
    if session {
        return Ok(Below {
            session: true,
            bounded: vec![own],
        });
    }
    let Some(rest) = own
        .strip_prefix(&manager)
        .filter(|rest| rest.starts_with('/'))
    else {
        return Err(format!("{own:?} is not this run's to leave"));
    };
    // Each folder up to the manager's; the slice of applications is where the scope will be, too.
    let ends = rest
        .match_indices('/')
        .skip(1)
        .map(|(at, _)| manager.len() + at);
    let folders = ends.chain([own.len()]).filter_map(|end| own.get(..end));
    let bounded = folders.filter(|folder| !folder.ends_with("/app.slice"));
    Ok(Below {
        session: false,
        bounded: bounded.collect(),
    })
}

/// Whether a user's processes stay after the last logout (loginctl(1), enable-linger).
fn lingers(uid: u32) -> bool {
    let passwd = files::read(Path::new("/"), "/etc/passwd").unwrap_or_default();
    let name = ids::user_name(&passwd, uid);
    name.is_some_and(|name| rustix::fs::stat(format!("/var/lib/systemd/linger/{name}")).is_ok())
}

/// Whether a bus is one, and the user's own or the system's.
fn is_bus(bus: &str, user: Option<u32>) -> Result<(), &'static str> {
    let stat = rustix::fs::stat(bus).map_err(|_| "is not there")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err("is no socket");
    }
    match user.is_none_or(|uid| stat.st_uid == uid) {
        true => Ok(()),
        false => Err("is not yours"),
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
    /// The cgroup that a scope would be.
    pub fn cgroup(&self) -> Cgroup {
        Cgroup {
            folder: SCOPE.to_owned(),
            controllers: self.controllers.clone(),
            leave: true,
        }
    }

    /// The run would outlive its session where it is, and will not in a scope.
    pub fn ends_with_session(&self) -> bool {
        self.ends_with_session
    }

    /// Moves this process into a scope, and returns once it is there.
    ///
    /// # Errors
    /// Why that did not come about, in a person's words.
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
    let (began, mut said_yes) = (Instant::now(), false);
    let moved = || cgroup::own().is_some_and(|own| own.rsplit('/').next() == Some(scope));
    while !moved() {
        match child.try_wait() {
            Err(e) => return Err(format!("wait for busctl: {e}")),
            Ok(Some(status)) if !status.success() => return Err(complaint(child, status)),
            Ok(Some(_)) => said_yes = true,
            Ok(None) => {}
        }
        if began.elapsed() > PATIENCE {
            return Err(match said_yes {
                true => "systemd said yes and did not move this process".to_owned(),
                false => "systemd has not answered in time".to_owned(),
            });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What it said, on one line.
fn complaint(child: &mut Child, status: std::process::ExitStatus) -> String {
    let mut said = Vec::new();
    // It has ended; whoever holds the pipe on is not waited for.
    if let Some(stderr) = child.stderr.take()
        && rustix::io::ioctl_fionbio(&stderr, true).is_ok()
    {
        let _all_of_it = stderr.take(MOST).read_to_end(&mut said).is_ok();
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
            controllers: Vec::new(),
            ends_with_session: false,
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

    #[test]
    fn only_what_confines_nothing_is_left() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        let session = "/user.slice/user-1000.slice/session-4.scope";
        let found = below(session, 1000).unwrap();
        assert_eq!((found.session, found.bounded), (true, vec![session]));
        assert!(below("/user.slice/user-1000.slice/session-c2.scope", 0).is_ok());
        let app = format!("{manager}/app.slice/app-x.slice/term.scope");
        let found = below(&app, 1000).unwrap();
        let slice = format!("{manager}/app.slice/app-x.slice");
        assert_eq!(
            (found.session, found.bounded),
            (false, vec![slice.as_str(), &app])
        );
        for other in [
            "",
            "/",
            "/system.slice/ci.service",
            "/user.slice/user-1000.slice",
            manager,
            "/user.slice/user-1000.slice/user@1000.servicex/a.scope",
            "/user.slice/user-1000.slice/session-4.scope/inner",
            "/user.slice/user-1/x.slice/session-4.scope",
            "/x/user.slice/user-1000.slice/session-4.scope",
        ] {
            let refused = below(other, 1000).unwrap_err();
            assert!(refused.ends_with("is not this run's to leave"), "{other}");
        }
        // Another user's manager is another user's.
        assert!(below(&app, 1001).is_err());
    }
}
