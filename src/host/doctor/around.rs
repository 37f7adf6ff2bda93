//! What lies around lazaret: name resolution, certificates, proxies, the clock, credentials. No cell
//! depends on them, pulls do. Nothing here speaks to the network.

use crate::host::NoCgroup;
use crate::host::credentials;
use crate::host::files::read;
use crate::policy::Cgroup;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Something will fail, or is not safe.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// `network`, `limits`, `names`, `certificates`, `proxy`, `clock`, `credentials`, `store`, `registry`.
    pub about: &'static str,
    /// How it stands.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where nothing is to be done.
    pub fix: String,
}

impl Check {
    /// As it should be.
    pub fn ok(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            about,
            level: Level::Ok,
            what: what.into(),
            fix: String::new(),
        }
    }

    /// Good to know.
    pub fn note(about: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            about,
            level: Level::Note,
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Something will fail, or is not safe.
    pub fn problem(about: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            about,
            level: Level::Problem,
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// No clock showed less when this was written: 2026-11-01, in seconds since 1970. What is built into
/// a program must not depend on when it was built.
const WRITTEN: i64 = 1_793_491_200;
/// A clock that is further ahead than this, in seconds (20 years), is wrong.
const AHEAD: i64 = 20 * 365 * 86_400;

type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Everything around lazaret on this machine. `roots` are the files that a pull takes certificates
/// from, the first that is there; `proxy` says whether a proxy's address is one.
pub fn around(roots: &[&str], proxy: &dyn Fn(&str) -> Result<(), String>) -> Vec<Check> {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let root = Path::new("/");
    let mut checks = vec![
        modes(&env),
        limits(
            crate::host::cgroup(),
            crate::host::scope::offer().map(|offer| offer.cgroup()),
        ),
        names(root),
        certificates(root, roots, &env),
    ];
    checks.extend(proxies(&env, proxy));
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    checks.push(clock(now, crate::sys::clock_is_synchronised().ok()));
    checks.extend(kept_credentials(&env));
    checks
}

/// What `--network` can be.
fn modes(env: Env<'_>) -> Check {
    let what = "a cell has no network, or this machine's where a rule allows --network host";
    let found = ["pasta", "slirp4netns"]
        .into_iter()
        .find_map(|name| in_path(name, env));
    let more = match found {
        Some(path) => format!("{} is here, and not used yet", path.display()),
        None => "neither pasta nor slirp4netns is here; nothing uses them yet".to_owned(),
    };
    Check::ok("network", format!("{what}; {more}"))
}

/// Who holds the limits that a run asks for: a cgroup that is there already, or one that systemd would
/// make.
fn limits(cgroup: Result<Cgroup, NoCgroup>, scope: Result<Cgroup, String>) -> Check {
    let found = cgroup.or_else(|none| match (none.scope, scope) {
        (true, Ok(scope)) => Ok(scope),
        (true, Err(nobody)) => Err(format!("{}, and {nobody}", none.why)),
        (false, _) => Err(none.why),
    });
    let held = "limits that a run asks for are held by a cgroup of its own, in";
    match found {
        Ok(Cgroup {
            folder,
            controllers,
            ..
        }) => {
            let lacks = ["memory", "pids", "cpu"].into_iter();
            let lacks = lacks.filter(|name| !controllers.iter().any(|have| have == name));
            let lacks: Vec<&str> = lacks.collect();
            match lacks.as_slice() {
                [] => Check::ok("limits", format!("{held} {folder}")),
                lacks => Check::note(
                    "limits",
                    format!(
                        "{held} {folder}, but {} cannot be limited there",
                        lacks.join(" and ")
                    ),
                    "have the administrator delegate it: systemd.resource-control(5), Delegate=",
                ),
            }
        }
        Err(none) => Check::note(
            "limits",
            format!("{none}: memory and time are bounded by looking, and --cpus is refused"),
            "log in where systemd manages your session, or have a cgroup v2 delegated to you",
        ),
    }
}

fn in_path(name: &str, env: Env<'_>) -> Option<PathBuf> {
    let path = env("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
        })
}

/// resolv.conf(5), as the fetch worker will read it.
fn names(root: &Path) -> Check {
    let fix = "write a line `nameserver ADDRESS` to /etc/resolv.conf";
    let Some(text) = read(root, "/etc/resolv.conf") else {
        return Check::problem(
            "names",
            "/etc/resolv.conf is not there or cannot be read: no registry's name is found",
            fix,
        );
    };
    let servers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    if servers.is_empty() {
        return Check::problem(
            "names",
            "/etc/resolv.conf names no server: names are asked of this machine alone",
            fix,
        );
    }
    Check::ok(
        "names",
        format!(
            "names are asked of {} (/etc/resolv.conf)",
            servers.join(", ")
        ),
    )
}

/// The certificates that registries are held against.
fn certificates(root: &Path, roots: &[&str], env: Env<'_>) -> Check {
    let count = |text: &str| text.matches("-----BEGIN CERTIFICATE-----").count();
    let about = "certificates";
    let own = match env("SSL_CERT_FILE") {
        None => String::new(),
        Some(path) => {
            let path = PathBuf::from(path);
            let fix = "name a file of -----BEGIN CERTIFICATE----- blocks, or unset SSL_CERT_FILE";
            match std::fs::read(&path).map(|bytes| count(&String::from_utf8_lossy(&bytes))) {
                Err(e) => {
                    let what = format!("SSL_CERT_FILE {path:?} cannot be read: {e}");
                    return Check::problem(about, what, fix);
                }
                Ok(0) => {
                    let what = format!("SSL_CERT_FILE {path:?} holds no certificate");
                    return Check::problem(about, what, fix);
                }
                Ok(n) => format!("; {n} more in SSL_CERT_FILE"),
            }
        }
    };
    let found = roots
        .iter()
        .find_map(|path| Some((path, read(root, path)?)));
    match found.map(|(path, text)| (path, count(&text))) {
        Some((path, n @ 1..)) => {
            Check::ok(about, format!("{n} certificate authorities in {path}{own}"))
        }
        found => {
            let what = match found {
                Some((path, _)) => format!("{path} holds no certificate{own}"),
                None => format!("no certificate authorities are here{own}"),
            };
            Check::problem(
                about,
                what,
                "install them (apt-get install ca-certificates), or name a file: SSL_CERT_FILE=/PATH",
            )
        }
    }
}

/// The variables that a pull obeys. No value is shown: it may hold a password.
fn proxies(env: Env<'_>, valid: &dyn Fn(&str) -> Result<(), String>) -> Vec<Check> {
    let mut checks = Vec::new();
    let about = "proxy";
    let pair = ["HTTPS_PROXY", "https_proxy"];
    let set: Vec<_> = pair
        .into_iter()
        .filter_map(|name| Some((name, env(name)?)))
        .collect();
    let fix = "write http://[USER:PASSWORD@]HOST:PORT, or unset it";
    match &set[..] {
        [] => checks.push(Check::ok(about, "registries are spoken to without a proxy")),
        [(name, value), others @ ..] => {
            match value
                .to_str()
                .map(|text| shape(text).and_then(|()| valid(text)))
            {
                None => {
                    checks.push(Check::problem(
                        about,
                        format!("{name} is not UTF-8 text"),
                        fix,
                    ));
                }
                Some(Err(why)) => {
                    checks.push(Check::problem(about, format!("{name}: {why}"), fix));
                }
                Some(Ok(())) => {
                    let except = match pair_of(env, "NO_PROXY", "no_proxy") {
                        Some(_) => "; NO_PROXY says what is reached without it",
                        None => "",
                    };
                    let what = format!("registries are spoken to through {name}{except}");
                    checks.push(Check::ok(about, what));
                }
            }
            if others.iter().any(|(_, other)| other != value) {
                checks.push(Check::note(
                    about,
                    "HTTPS_PROXY and https_proxy differ: the first counts",
                    "unset one of them",
                ));
            }
        }
    }
    if set.is_empty() && pair_of(env, "HTTP_PROXY", "http_proxy").is_some() {
        checks.push(Check::note(
            about,
            "HTTP_PROXY is set and HTTPS_PROXY is not: registries speak https, and are reached directly",
            "set HTTPS_PROXY, if they are behind a proxy",
        ));
    }
    checks
}

/// `[scheme://][user:password@]host[:port]`; the client that pulls is milder with a port that is none.
fn shape(text: &str) -> Result<(), String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or_default();
    let address = rest.rsplit('@').next().unwrap_or_default();
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() {
        Err("it names no host".to_owned())
    } else if !port.is_none_or(is_port) {
        Err("its port is none".to_owned())
    } else {
        Ok(())
    }
}

fn pair_of(env: Env<'_>, upper: &str, lower: &str) -> Option<OsString> {
    env(upper).or_else(|| env(lower))
}

/// Certificates, `until` of rules and `prune --filter until=` go by it.
fn clock(now: i64, synchronised: Option<bool>) -> Check {
    let shown = |at: i64| match jiff::Timestamp::from_second(at) {
        Ok(at) => at.to_string(),
        Err(_) => format!("{at} seconds since 1970"),
    };
    let fix = "set the clock, or have it set: timedatectl set-ntp true";
    if now < WRITTEN {
        let what = format!(
            "the clock says {}, which is before this lazaret was written: certificates and rules \
             with `until` are judged by it",
            shown(now)
        );
        return Check::problem("clock", what, fix);
    }
    if now > WRITTEN + AHEAD {
        let what = format!(
            "the clock says {}, which is far ahead: certificates and rules with `until` have run out",
            shown(now)
        );
        return Check::problem("clock", what, fix);
    }
    match synchronised {
        Some(true) => Check::ok("clock", "the clock is kept right"),
        None => Check::ok("clock", format!("the clock says {}", shown(now))),
        Some(false) => Check::note(
            "clock",
            format!("the clock says {}, and nobody keeps it right", shown(now)),
            fix,
        ),
    }
}

/// Files of docker's and podman's that credentials are taken from.
fn kept_credentials(env: Env<'_>) -> Vec<Check> {
    let about = "credentials";
    let mut checks = Vec::new();
    for (path, read) in credentials::kept(env) {
        let shown = path.display();
        if let Some(mode) = readable_by_others(&path) {
            checks.push(Check::problem(
                about,
                format!("others can read {shown} (mode {mode:04o})"),
                format!("chmod 600 {shown}, and change what it holds"),
            ));
        }
        match read {
            Err(e) => checks.push(Check::problem(
                about,
                e.cause,
                e.hint.unwrap_or_else(|| format!("mend or move {shown}")),
            )),
            Ok(helpers) => {
                checks.push(Check::ok(
                    about,
                    format!("credentials are taken from {shown}"),
                ));
                for helper in helpers {
                    let program = format!("docker-credential-{helper}");
                    if in_path(&program, env).is_none() {
                        checks.push(Check::problem(
                            about,
                            format!("{shown} names the helper {program}, which is not in PATH"),
                            "install it, or take the line out",
                        ));
                    }
                }
            }
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(
            about,
            "none are kept: registries are asked without (docker login and podman login keep some)",
        ));
    }
    checks
}

/// The mode of a file that somebody else can reach and read.
fn readable_by_others(path: &Path) -> Option<u32> {
    let mode = |path: &Path| {
        path.metadata()
            .ok()
            .map(|m| m.permissions().mode() & 0o7777)
    };
    let own = mode(path)?;
    let reached = |bit: u32| {
        let mut folders = path.ancestors().skip(1);
        folders.all(|folder| mode(folder).is_none_or(|m| m & bit != 0))
    };
    // The caller's own group is the caller's affair: most have one of their own.
    let group = path.metadata().ok()?.gid() != rustix::process::getegid().as_raw()
        && own & 0o040 != 0
        && reached(0o010);
    let others = own & 0o004 != 0 && reached(0o001);
    (group || others).then_some(own)
}

#[cfg(test)]
mod tests;
