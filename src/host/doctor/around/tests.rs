//! Each thing around lazaret, well and not.

use super::*;
use std::fs;

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("lazaret-around-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(dir.join("etc")).unwrap();
    dir
}

fn env(pairs: &[(&'static str, &str)]) -> impl Fn(&str) -> Option<OsString> + use<> {
    let pairs: Vec<(&str, OsString)> = pairs.iter().map(|(k, v)| (*k, (*v).into())).collect();
    move |name| {
        let found = pairs.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.clone())
    }
}

#[test]
fn name_servers() {
    let root = folder("names");
    assert_eq!(names(&root).level, Level::Problem);
    for (text, level, what) in [
        (
            "nameserver 10.0.2.3\n nameserver\t::1 # x\n",
            Level::Ok,
            "10.0.2.3, ::1",
        ),
        ("", Level::Problem, "names no server"),
        (
            "# nameserver 1.1.1.1\nnameservers 2.2.2.2\n",
            Level::Problem,
            "names no server",
        ),
        (
            "search example\nnameserver\n",
            Level::Problem,
            "names no server",
        ),
    ] {
        fs::write(root.join("etc/resolv.conf"), text).unwrap();
        let check = names(&root);
        assert_eq!(check.level, level, "{text:?}: {check:?}");
        assert!(check.what.contains(what), "{check:?}");
        assert_eq!(check.fix.is_empty(), level == Level::Ok, "{check:?}");
    }
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn roots_of_trust() {
    let root = folder("roots");
    let places = ["/etc/none.pem", "/etc/roots.pem"];
    let nothing = env(&[]);
    let check = certificates(&root, &places, &nothing);
    assert!(
        check.what.contains("no certificate authorities"),
        "{check:?}"
    );
    assert!(check.fix.contains("ca-certificates"));
    fs::write(root.join("etc/roots.pem"), "rubbish").unwrap();
    assert_eq!(certificates(&root, &places, &nothing).level, Level::Problem);
    let pem = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
    fs::write(root.join("etc/roots.pem"), pem.repeat(3)).unwrap();
    let check = certificates(&root, &places, &nothing);
    assert_eq!(
        check,
        Check::ok(
            "certificates",
            "3 certificate authorities in /etc/roots.pem"
        )
    );
    let own = root.join("own.pem");
    let named = env(&[("SSL_CERT_FILE", own.to_str().unwrap())]);
    assert!(
        certificates(&root, &places, &named)
            .what
            .contains("cannot be read")
    );
    fs::write(&own, "").unwrap();
    assert!(
        certificates(&root, &places, &named)
            .what
            .contains("holds no certificate")
    );
    fs::write(&own, pem).unwrap();
    let check = certificates(&root, &places, &named);
    assert!(check.level == Level::Ok && check.what.ends_with("; 1 more in SSL_CERT_FILE"));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn proxy_variables() {
    let valid = |text: &str| match text.starts_with("http://") {
        true => Ok(()),
        false => Err("no".to_owned()),
    };
    let all = |pairs: &[(&'static str, &str)]| {
        let found = proxies(&env(pairs), &valid);
        let found = found.iter().map(|c| (c.level, c.what.clone()));
        found.collect::<Vec<_>>()
    };
    assert_eq!(all(&[])[0].0, Level::Ok);
    let bad = all(&[("HTTPS_PROXY", "hunter2:3128")]);
    assert_eq!(bad[0].0, Level::Problem);
    assert!(!bad[0].1.contains("hunter2"), "a value was shown");
    assert_eq!(
        all(&[("https_proxy", "http://p:1")]),
        [(
            Level::Ok,
            "registries are spoken to through https_proxy".to_owned()
        )]
    );
    let both = all(&[("HTTPS_PROXY", "http://p:1"), ("https_proxy", "http://q:1")]);
    assert_eq!(both[1].0, Level::Note);
    let other = all(&[("http_proxy", "http://p:1")]);
    assert!(other[1].1.contains("HTTP_PROXY is set"), "{other:?}");
}

#[test]
fn addresses_of_proxies() {
    for text in [
        "http://p:3128",
        "p:3128",
        "p",
        "http://u:p@[::1]:80/",
        "https://[::1]",
        "http://u:@p",
    ] {
        assert_eq!(shape(text), Ok(()), "{text}");
    }
    for text in [
        "",
        "http://",
        "http://:80",
        "p:",
        "p:0",
        "p:99999",
        "http://u@p:x",
        "u:p@",
    ] {
        assert!(shape(text).is_err(), "{text}");
    }
}

#[test]
fn clocks() {
    assert_eq!(clock(WRITTEN + 5, Some(true)).level, Level::Ok);
    assert_eq!(clock(WRITTEN + 5, None).level, Level::Ok);
    assert_eq!(clock(WRITTEN + 5, Some(false)).level, Level::Note);
    for (now, what) in [
        (0, "1970-01-01"),
        (-5, "before"),
        (WRITTEN - 1, "2026-10-31"),
        (WRITTEN + AHEAD + 1, "far ahead"),
        (i64::MAX, "seconds since 1970"),
    ] {
        let check = clock(now, Some(true));
        assert_eq!(check.level, Level::Problem);
        assert!(check.what.contains(what), "{check:?}");
    }
}

#[test]
fn credentials_that_others_can_read() {
    let root = folder("credentials");
    let file = root.join("auth.json");
    let path = file.to_str().unwrap().to_owned();
    let named = env(&[("REGISTRY_AUTH_FILE", &path[..]), ("PATH", "/nonexistent")]);
    assert_eq!(kept_credentials(&named)[0].level, Level::Ok);
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(
        &file,
        r#"{"auths":{"r.example":{"auth":"aHVudGVyMjpodW50ZXIy"}},"credsStore":"vault"}"#,
    )
    .unwrap();
    mode(&root, 0o755);
    mode(&file, 0o600);
    let checks = kept_credentials(&named);
    assert_eq!(checks[0].level, Level::Ok);
    assert!(
        checks[1]
            .what
            .contains("docker-credential-vault, which is not in PATH"),
        "{checks:?}"
    );
    for (file_mode, folder_mode, told) in [
        (0o644, 0o755, true),
        (0o640, 0o755, false),
        (0o640, 0o700, false),
        (0o644, 0o700, false),
        (0o644, 0o750, false),
        (0o600, 0o755, false),
    ] {
        mode(&file, file_mode);
        mode(&root, folder_mode);
        let what = &kept_credentials(&named)[0].what;
        let told_now = what.contains("others can read");
        assert_eq!(told_now, told, "{file_mode:o} {folder_mode:o}");
    }
    mode(&root, 0o755);
    mode(&file, 0o600);
    fs::write(&file, "{hunter2").unwrap();
    let checks = kept_credentials(&named);
    assert_eq!(checks[0].level, Level::Problem);
    assert!(!format!("{checks:?}").contains("hunter2"), "{checks:?}");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn who_holds_limits_is_said() {
    let cgroup = |controllers: &[&str]| Cgroup {
        folder: "/sys/fs/cgroup/mine".to_owned(),
        controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
        leave: false,
    };
    let none = |scope| {
        Err(NoCgroup {
            why: "no cgroup is delegated to you".to_owned(),
            scope,
        })
    };
    let nobody = || Err("no systemd runs here".to_owned());
    let all = ["cpu", "memory", "pids"];
    let said = |cgroup, scope| {
        let check = limits(cgroup, scope);
        (check.level, check.what)
    };
    assert_eq!(said(Ok(cgroup(&all)), nobody()).0, Level::Ok);
    assert_eq!(said(none(true), Ok(cgroup(&all))).0, Level::Ok);
    let (level, what) = said(Ok(cgroup(&["cpu"])), nobody());
    assert_eq!(level, Level::Note);
    assert!(what.contains("memory and pids cannot be limited"), "{what}");
    let (level, what) = said(none(true), nobody());
    assert_eq!(level, Level::Note);
    assert!(
        what.starts_with("no cgroup is delegated to you, and no systemd runs here: "),
        "{what}"
    );
    // Where a scope would be of no use nobody would ask for one.
    let (level, what) = said(none(false), Ok(cgroup(&all)));
    assert_eq!(level, Level::Note);
    assert!(
        what.starts_with("no cgroup is delegated to you: "),
        "{what}"
    );
}
