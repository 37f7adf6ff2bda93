//! Mounts: what is allowed, what is denied, what would be uncovered, and the cures.

use super::*;

const HOME: &str = "/home/ana";

fn source(path: &str) -> SourceFacts {
    SourceFacts {
        path: path.into(),
        kind: FileKind::Folder,
        uid: 1000,
        gid: 1000,
        mode: 0o755,
        mounts: vec![("/".into(), "ext4".into())],
        through: None,
    }
}

fn at(cwd: &str, sources: Vec<SourceFacts>) -> HostFacts {
    HostFacts {
        outside: Outside {
            cwd: cwd.into(),
            homes: vec![HOME.into()],
            own: vec!["/data/store".into()],
            sources,
            devices: vec![],
        },
        ..host()
    }
}

fn bind(source: &str, target: &str, read_only: bool) -> BindAsk {
    BindAsk {
        flag: "-v",
        source: source.into(),
        subpath: None,
        target: target.into(),
        read_only,
        no_exec: false,
    }
}

/// Asks for `path` on /x from the folder `cwd`.
fn ask(policy: &Policy, cwd: &str, path: &str, read_only: bool) -> Verdict {
    let request = Request {
        binds: vec![bind(path, "/x", read_only)],
        ..request()
    };
    decide(policy, &request, &facts(), &at(cwd, vec![source(path)])).unwrap()
}

fn allowed(policy: &Policy, cwd: &str, path: &str, read_only: bool) -> bool {
    matches!(ask(policy, cwd, path, read_only), Verdict::Allow(_))
}

fn refusal(policy: &Policy, cwd: &str, path: &str, read_only: bool) -> Reason {
    match ask(policy, cwd, path, read_only) {
        Verdict::Deny(reasons) => reasons[0].clone(),
        Verdict::Allow(grants) => panic!("{path}: {:?}", grants.binds),
    }
}

#[test]
fn strict_lets_the_current_folder_be_read() {
    let strict = strict();
    for path in [
        "/home/ana/src",
        "/home/ana/src/deep/er",
        "/home/ana/src/.git",
    ] {
        assert!(allowed(&strict, "/home/ana/src", path, true), "{path}");
        assert!(!allowed(&strict, "/home/ana/src", path, false), "{path}");
    }
    for (cwd, path) in [
        // Not the folder that one stands in.
        ("/home/ana/src", "/home/ana/other"),
        ("/home/ana/src", "/home/ana/srcs"),
        ("/home/ana/src", "/home/ana"),
        // Homes, and what starts with a dot in them.
        ("/home/ana", "/home/ana"),
        ("/home/ana", "/home/ana/.ssh"),
        ("/home/ana", "/home/ana/.config/lazaret"),
        ("/home/ana/.ssh", "/home/ana/.ssh/id"),
        // What holds a home.
        ("/home", "/home"),
        ("/", "/home"),
        ("/", "/"),
        ("/", "/opt"),
        // What is the machine's.
        ("/etc", "/etc/ssl"),
        ("/proc/self", "/proc/self"),
        ("/run/user/1000", "/run/user/1000"),
        ("/srv", "/srv/docker.sock"),
        ("/var", "/var"),
    ] {
        assert!(!allowed(&strict, cwd, path, true), "{cwd} {path}");
    }
    assert!(allowed(&strict, "/home/ana", "/home/ana/src", true));
}

#[test]
fn modes_of_rules() {
    let rules =
        |mounts: &str| extended(&format!("[[allow]]\nmounts = [{mounts}]\nreason = \"r\"\n"));
    for (mounts, path, read, write) in [
        (r#""/data/**:ro""#, "/data/x", true, false),
        (r#""/data/**:rw""#, "/data/x", true, true),
        (r#""/data/**""#, "/data/x", true, false),
        (r#""/data""#, "/data/x", false, false),
        (r#""~/data:rw""#, "/home/ana/data", true, true),
        (r#""~/data:rw""#, "/home/bob/data", false, false),
        (r#""**:rw""#, "/data/x", true, true),
    ] {
        let policy = rules(mounts);
        assert_eq!(allowed(&policy, "/", path, true), read, "{mounts} {path}");
        assert_eq!(allowed(&policy, "/", path, false), write, "{mounts} {path}");
    }
    let denied = |mounts: &str, path: &str, read_only: bool| {
        let policy = extended(&format!(
            "[[allow]]\nmounts = [\"/d/**:rw\"]\nreason = \"r\"\n\
             [[deny]]\nmounts = [{mounts}]\nreason = \"no\"\n"
        ));
        !allowed(&policy, "/", path, read_only)
    };
    for (mounts, path, read, write) in [
        (r#""/d/x:rw""#, "/d/x", false, true),
        (r#""/d/x:ro""#, "/d/x", true, true),
        (r#""/d/x""#, "/d/x", true, true),
        (r#""/d/x/y/**""#, "/d/x", true, true),
        (r#""/d/x/y/**""#, "/d/z", false, false),
        (r#""/d/x/y:rw""#, "/d/x", false, true),
        (r#""**/*.key""#, "/d/x", false, false),
        (r#""**/*.key""#, "/d/x.key", true, true),
    ] {
        assert_eq!(denied(mounts, path, true), read, "{mounts} {path}");
        assert_eq!(denied(mounts, path, false), write, "{mounts} {path}");
    }
}

#[test]
fn a_rule_that_could_never_match_is_an_error() {
    for (word, value) in [
        ("mounts", "~bob/x"),
        ("mounts", "secrets/**"),
        ("mounts", "*:rw"),
        ("mounts", "tmpfs:rw"),
        ("mounts", ""),
        ("mounts", ":ro"),
        ("mounts", "/a/../b"),
        ("mounts", "..:ro"),
        ("targets", "x"),
        ("targets", "~/x"),
        ("targets", "/x/.."),
    ] {
        let text = format!(
            "version = 1\nextends = \"strict\"\n[[deny]]\n{word} = [\"{value}\"]\nreason = \"r\"\n"
        );
        let error = user_policy(&text).unwrap_err();
        assert!(error.cause.contains("policy.toml:4:"), "{error}");
        assert!(error.hint.is_some());
    }
}

#[test]
fn a_home_that_home_hides_is_denied_as_well() {
    let policy = extended("[[allow]]\nmounts = [\"/**:ro\", \"~/x:rw\"]\nreason = \"r\"\n");
    let mut host = at("/", vec![source("/home/ana/.ssh")]);
    host.outside.homes = vec!["/tmp/h".into(), HOME.into()];
    let request = Request {
        binds: vec![bind("/home/ana/.ssh", "/x", true)],
        ..request()
    };
    reasons(&policy, &request, &facts(), &host);
    host.outside.sources = vec![source("/home/ana")];
    reasons(&policy, &request, &facts(), &host);
    // But `~` in an allow is HOME alone.
    let mut write = request;
    write.binds[0].read_only = false;
    host.outside.sources = vec![source("/home/ana/x")];
    reasons(&policy, &write, &facts(), &host);
    host.outside.sources = vec![source("/tmp/h/x")];
    grants(&policy, &write, &facts(), &host);
}

#[test]
fn cures_are_the_narrowest() {
    let strict = strict();
    let why = refusal(&strict, "/home/ana/src", "/home/ana/src/x", false);
    assert_eq!(why.asked, "-v /home/ana/src/x:/x (read-write)");
    assert!(
        why.rule.starts_with("allow mounts = [\"./**:ro\""),
        "{why:?}"
    );
    assert!(
        why.cure
            .contains(&"mounts = [\"/home/ana/src/x:rw\"]".to_owned())
    );
    assert_eq!(
        why.cure.last().unwrap(),
        "or read only: -v /home/ana/src/x:/x:ro"
    );
    let why = refusal(&strict, "/home/ana/src", "/home/ana/data", false);
    assert_eq!(
        why.cure.last().unwrap(),
        "or read only: run from /home/ana with -v ./data:/x:ro"
    );
    // Each cure, taken literally.
    for cwd in ["/home/ana/src", "/"] {
        let why = refusal(&strict, cwd, "/home/ana/data", false);
        let lines = why.cure[1..5].join("\n").replace("...", "because");
        assert!(
            allowed(&extended(&lines), cwd, "/home/ana/data", false),
            "{lines}"
        );
        assert!(!allowed(&extended(&lines), cwd, "/home/ana", false));
        assert!(!allowed(&extended(&lines), cwd, "/home/ana/data/x", false));
    }
    assert!(allowed(&strict, "/home/ana", "/home/ana/data", true));
    // There is none for what is built in, and none that would mean more than what was asked.
    assert!(refusal(&strict, "/", "/etc/ssl", true).cure.is_empty());
    let why = refusal(&strict, "/", "/d/*", false);
    assert!(!why.cure.join("\n").contains("[[allow]]"), "{why:?}");
    // Nothing that somebody else named is run by who pastes a cure.
    for (name, want) in [
        ("a b", Some("or read only: -v '/home/ana/src/a b:/x:ro'")),
        (
            "$(id)",
            Some("or read only: -v '/home/ana/src/$(id):/x:ro'"),
        ),
        ("a'b", None),
        ("a:b", None),
        ("a\nb", None),
        ("a\u{202e}b", None),
    ] {
        let why = refusal(
            &strict,
            "/home/ana/src",
            &format!("/home/ana/src/{name}"),
            false,
        );
        let line = why.cure.iter().find(|line| line.starts_with("or read"));
        assert_eq!(line.map(String::as_str), want, "{why:?}");
    }
    // Two refusals of one thing say it once, without a cure that ends at the other.
    let policy = extended("[[allow]]\nmounts = [\"/d/**:ro\"]\nreason = \"r\"\n");
    let request = Request {
        binds: vec![bind("/d/x", "/x", false)],
        ..request()
    };
    let mut fifo = source("/d/x");
    fifo.kind = FileKind::Fifo;
    let why = reasons(&policy, &request, &facts(), &at("/", vec![fifo]));
    assert!(why.len() == 1 && why[0].why.contains("fifo"), "{why:?}");
    // What it would uncover is said.
    let why = refusal(&strict, "/", "/home", true);
    assert!(why.why.contains("below it"), "{why:?}");
}

#[test]
fn only_folders_and_files_that_are_not_the_kernels() {
    let policy = extended("[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"r\"\n");
    let request = Request {
        binds: vec![bind("/d/x", "/x", true)],
        ..request()
    };
    let with = |change: &dyn Fn(&mut SourceFacts)| {
        let mut source = source("/d/x");
        change(&mut source);
        at("/d", vec![source])
    };
    for kind in [
        FileKind::Device,
        FileKind::Fifo,
        FileKind::Socket,
        FileKind::Other,
    ] {
        reasons(&policy, &request, &facts(), &with(&|s| s.kind = kind));
    }
    grants(
        &policy,
        &request,
        &facts(),
        &with(&|s| s.kind = FileKind::File),
    );
    for kind in ["proc", "sysfs", "cgroup2", "devtmpfs", "nsfs", "debugfs"] {
        let host = with(&|s| s.mounts.push(("/d/x/p".into(), kind.into())));
        let why = reasons(&policy, &request, &facts(), &host);
        assert!(why[0].why.contains(kind), "{why:?}");
    }
    grants(
        &policy,
        &request,
        &facts(),
        &with(&|s| s.mounts.push(("/d/x/m".into(), "tmpfs".into()))),
    );
}

#[test]
fn the_store_and_the_policy_are_nobodys() {
    let policy = extended("[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"r\"\n");
    for path in ["/data/store", "/data/store/layers/x", "/data"] {
        let why = refusal(&policy, "/", path, true);
        assert!(why.why.contains("/data/store"), "{why:?}");
    }
    assert!(allowed(&policy, "/", "/data/stores", true));
}

#[test]
fn targets() {
    let policy = extended("[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"r\"\n");
    let on = |target: &str| Request {
        binds: vec![bind("/d/x", target, true)],
        ..request()
    };
    let host = at("/d", vec![source("/d/x")]);
    for target in [
        "/",
        "/proc",
        "/proc/self",
        "/sys/x",
        "/dev/shm",
        "//dev/./x/",
    ] {
        let why = reasons(&policy, &on(target), &facts(), &host);
        assert!(why[0].rule.starts_with("deny targets"), "{why:?}");
    }
    for target in [
        "",
        "x",
        "/a/../b",
        "/a\0",
        &format!("/{}", "a".repeat(5000)),
    ] {
        assert!(
            decide(&policy, &on(target), &facts(), &host).is_err(),
            "{target:?}"
        );
    }
    let granted = grants(&policy, &on("/a//b/./c/"), &facts(), &host);
    assert_eq!(granted.binds[0].value.target, "/a/b/c");
    // Two mounts on one place, of either sort.
    let mut twice = on("/a/b");
    twice.tmpfs = vec![tmpfs_ask("/a//b/", None)];
    assert!(decide(&policy, &twice, &facts(), &host).is_err());
    let mut many = on("/a");
    many.binds = (0..65)
        .map(|i| bind("/d/x", &format!("/a{i}"), true))
        .collect();
    let many_sources = at("/d", vec![source("/d/x"); 65]);
    assert!(decide(&policy, &many, &facts(), &many_sources).is_err());
    // What was not looked at is not decided on.
    assert!(decide(&policy, &on("/a"), &facts(), &at("/d", vec![])).is_err());
}

#[test]
fn ids_that_do_not_fit_are_told() {
    let policy = extended("[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"r\"\n");
    let told = |mode: u32, uid: u32, read_only: bool, host: HostFacts| {
        let request = Request {
            binds: vec![bind("/d/x", "/x", read_only)],
            ..request()
        };
        let mut found = source("/d/x");
        (found.mode, found.uid) = (mode, uid);
        let host = HostFacts {
            outside: at("/d", vec![found]).outside,
            ..host
        };
        let granted = grants(&policy, &request, &facts(), &host);
        assert!(granted.notes.len() < 2, "{granted:?}");
        granted.notes.first().cloned().unwrap_or_default()
    };
    for (mode, read_only, word) in [
        (0o700, true, "/x cannot be read inside"),
        (
            0o755,
            false,
            "/x itself cannot be written inside: others may not, which all ids inside are, and what \
             is made below where they may will not be yours to change; ",
        ),
        (
            0o777,
            false,
            "files made in /x will belong to subordinate ids",
        ),
    ] {
        let note = told(mode, 1000, read_only, host());
        assert!(note.starts_with(word), "{note}");
    }
    assert_eq!(told(0o755, 1000, true, host()), "");
    // A folder of a subordinate id.
    assert_eq!(told(0o700, 100_005, true, host()), "");
    // Root outside is nobody inside, but may change whatever is made.
    let root = || HostFacts {
        root: true,
        uid: 0,
        gid: 0,
        ..host()
    };
    assert_eq!(told(0o777, 0, false, root()), "");
    let note = told(0o700, 0, true, root());
    assert!(
        note.ends_with("inside are; chmod o+rX would open it"),
        "{note}"
    );
    // One id, which is the caller's.
    assert_eq!(told(0o700, 1000, false, single()), "");
}

/// Who keeps the own number and takes another is told that the folder is not theirs.
#[test]
fn another_user_beside_keep_id_is_told() {
    let policy =
        extended("[[allow]]\nuserns = [\"keep-id\"]\nmounts = [\"/**:rw\"]\nreason = \"r\"\n");
    let host = at("/d", vec![source("/d/x")]);
    for (user, told) in [(None, false), (Some("1000"), false), (Some("0"), true)] {
        let request = Request {
            binds: vec![bind("/d/x", "/x", false)],
            keep_id: true,
            user: user.map(str::to_owned),
            ..request()
        };
        let notes = grants(&policy, &request, &facts(), &host).notes;
        let said = notes
            .iter()
            .any(|note| note.contains("without -u it would run as you"));
        assert_eq!(said, told, "{user:?}: {notes:?}");
    }
}

/// A subpath is judged as what it is, and the folder that it is looked up from too.
#[test]
fn subpaths_are_judged_twice() {
    let policy = extended(
        "[[allow]]\nmounts = [\"/d/base/sub/**:rw\", \"/e/**\"]\nreason = \"r\"\n\
         [[deny]]\nmounts = [\"/e/secret/**\"]\nreason = \"s\"\n",
    );
    let asked = |base: &str, subpath: &str, read_only: bool| {
        let mut found = source(&format!("{base}/{subpath}"));
        found.through = Some(base.to_owned());
        let request = Request {
            binds: vec![BindAsk {
                subpath: Some(subpath.to_owned()),
                ..bind(base, "/x", read_only)
            }],
            ..request()
        };
        decide(
            &policy,
            &request,
            &facts(),
            &at("/home/ana/project", vec![found]),
        )
        .unwrap()
    };
    let refused = |verdict: Verdict| match verdict {
        Verdict::Deny(reasons) => reasons.into_iter().next().unwrap(),
        Verdict::Allow(grants) => panic!("{:?}", grants.binds),
    };
    assert!(matches!(
        asked("/d/base/sub", "a", false),
        Verdict::Allow(_)
    ));
    // What is mounted is allowed, the folder that was named is not; and the other way round.
    let reason = refused(asked("/d/base", "sub/a", false));
    assert!(
        reason.asked.contains("/d/base below it sub/a:/x"),
        "{reason:?}"
    );
    assert!(reason.cure.join("\n").contains("/d/base:ro"), "{reason:?}");
    let reason = refused(asked("/e", "a", false));
    assert!(
        !reason.cure.iter().any(|line| line.contains("-v")),
        "{reason:?}"
    );
    refused(asked("/e", "secret/a", true));
    // What is denied below the named folder is not what is asked for.
    assert!(matches!(asked("/e", "a", true), Verdict::Allow(_)));
}

#[test]
fn folders_in_memory() {
    let granted = grants(
        &strict(),
        &tmpfs("/cache//x/", Some(64 << 20)),
        &facts(),
        &host(),
    )
    .tmpfs;
    assert_eq!(
        granted[0].value,
        TmpfsMount {
            path: "/cache/x".into(),
            size: 64 << 20,
            mode: 0o1777,
            read_only: false,
        }
    );
    assert_eq!(
        grants(&strict(), &tmpfs("/c", None), &facts(), &host()).tmpfs[0]
            .value
            .size,
        512 << 20
    );
    for bad in ["", "c", "../c", "/a/../b"] {
        assert!(
            decide(&strict(), &tmpfs(bad, None), &facts(), &host()).is_err(),
            "{bad}"
        );
    }
    assert!(decide(&strict(), &tmpfs("/c", Some(0)), &facts(), &host()).is_err());
    for hidden in [
        "/",
        "/proc",
        "/proc/sys",
        "/sys/fs",
        "/dev",
        "/dev/shm",
        "//proc",
        "/./proc",
        "/proc/",
    ] {
        let why = reasons(&strict(), &tmpfs(hidden, None), &facts(), &host());
        assert!(why[0].rule.starts_with("deny targets"), "{hidden} {why:?}");
        assert!(why[0].cure.is_empty(), "what never may be has no cure");
    }
    // A quarter of 8 GiB, all together.
    let why = reasons(&strict(), &tmpfs("/c", Some(3 << 30)), &facts(), &host());
    assert_eq!(why[0].rule, "allow limits = { tmp = \"25%\" }");
    assert_eq!(why[0].cure[3], "limits = { tmp = \"3GiB\" }");
    let mut many = request();
    many.tmpfs = (0..5)
        .map(|i| tmpfs_ask(&format!("/c{i}"), Some(500 << 20)))
        .collect();
    reasons(&strict(), &many, &facts(), &host());
    // The cure, pasted, cures.
    let cure = why[0].cure[1..].join("\n").replace("...", "r");
    let policy = extended(&cure);
    grants(&policy, &tmpfs("/c", Some(3 << 30)), &facts(), &host());
    // Not for another image, and not past the ceiling.
    let other = Request {
        image: ImageName::parse("alpine").unwrap(),
        ..tmpfs("/c", Some(3 << 30))
    };
    reasons(&policy, &other, &facts(), &host());
    reasons(&policy, &tmpfs("/c", Some(5 << 30)), &facts(), &host());
}
