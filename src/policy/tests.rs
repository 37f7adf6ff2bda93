//! Both decisions, on the shipped policy and on hostile ones.

use super::*;
use crate::image::{Descriptor, Digest, ImageConfig, ImageName, Manifest, Platform};
use crate::trust::Evidence;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

mod caps;
mod devices;
mod facts;
mod files;
mod hostile;
mod import;
mod laws;
mod mounts;
mod network;
mod resources;
mod signed;
mod tool;
mod trust;
mod ulimits;
mod userns;

const TODAY: (u16, u8, u8) = (2026, 11, 23);
const NOW: i64 = 1_795_392_000;
const USER_FILE: &str = "/home/ana/.config/lazaret/policy.toml";

fn digest() -> Digest {
    Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap()
}

fn config() -> ImageConfig {
    ImageConfig {
        platform: Platform {
            os: "linux".into(),
            architecture: "amd64".into(),
            variant: None,
        },
        user: String::new(),
        env: vec![("PATH".into(), "/bin".into()), ("A".into(), "image".into())],
        entrypoint: vec!["/entry".into()],
        cmd: vec!["cmd".into(), "arg".into()],
        working_dir: "/srv".into(),
        volumes: vec![],
        exposed_ports: vec![],
        stop_signal: None,
        labels: BTreeMap::new(),
        diff_ids: vec![],
        created: None,
        history: vec![],
    }
}

fn facts() -> ImageFacts {
    ImageFacts {
        manifest: digest(),
        config: config(),
        layers: 1,
        size: 1000,
        files: 10,
        setuid: vec!["usr/bin/su".into()],
        file_caps: vec![],
        special: vec!["dev/null".into()],
        tree: None,
    }
}

fn host() -> HostFacts {
    HostFacts {
        kernel: (6, 18),
        architecture: "amd64",
        uid: 1000,
        gid: 1000,
        groups: vec![],
        root: false,
        landlock_abi: 7,
        subids: Some((
            SubIds {
                base: 100_000,
                count: 65536,
            },
            SubIds {
                base: 100_000,
                count: 65536,
            },
        )),
        no_subids: String::new(),
        hard_limits: vec![(Which::Nofile, 1 << 20)],
        cgroup: None,
        no_cgroup: "no cgroup is delegated".to_owned(),
        memory: 8 << 30,
        outside: Outside::default(),
    }
}

fn single() -> HostFacts {
    HostFacts {
        subids: None,
        no_subids: "apt install uidmap".into(),
        ..host()
    }
}

fn request() -> Request {
    Request {
        rm: true,
        ..Request::of(ImageName::parse("docker.io/library/redis:7").unwrap())
    }
}

/// A policy out of texts: the administrator's, the user's, the project's, `--profile`.
fn composed(
    system: Option<&str>,
    user: Option<&str>,
    project: Option<&str>,
    profile: Option<&str>,
) -> crate::error::Result<Policy> {
    let file = |name, text: &'static str| PolicyFile {
        name,
        bytes: text.as_bytes(),
        builtin: false,
    };
    // A test's texts may live as long as they like.
    let kept = |text: Option<&str>| text.map(|text| &*Box::leak(text.to_owned().into_boxed_str()));
    let sources = Sources {
        system: kept(system).map(|text| file("/etc/lazaret/policy.toml", text)),
        user: kept(user).map(|text| file(USER_FILE, text)),
        project: kept(project).map(|text| file("/src/lazaret.toml", text)),
        profile,
        profiles: &[],
        beside: &[],
        user_file: USER_FILE,
        today: TODAY,
    };
    match Policy::compose(&sources)? {
        Composed::Policy(policy) => Ok(policy),
        Composed::Needs(wanted) => Err(wanted.not_there()),
        Composed::NeedsFile(wanted) => Err(wanted.not_there()),
    }
}

fn user_policy(text: &str) -> crate::error::Result<Policy> {
    composed(None, Some(text), None, None)
}

fn system_policy(text: &str) -> crate::error::Result<Policy> {
    composed(Some(text), None, None, None)
}

fn extended(rules: &str) -> Policy {
    user_policy(&format!("version = 1\nextends = \"strict\"\n{rules}")).unwrap()
}

fn grants(policy: &Policy, request: &Request, image: &ImageFacts, host: &HostFacts) -> Grants {
    match decide(policy, request, image, host).unwrap() {
        Verdict::Allow(grants) => *grants,
        Verdict::Deny(reasons) => panic!("{reasons:#?}"),
    }
}

fn reasons(
    policy: &Policy,
    request: &Request,
    image: &ImageFacts,
    host: &HostFacts,
) -> Vec<Reason> {
    match decide(policy, request, image, host).unwrap() {
        Verdict::Allow(_) => panic!("allowed"),
        Verdict::Deny(reasons) => reasons,
    }
}

fn strict() -> Policy {
    composed(None, None, None, None).unwrap()
}

#[test]
fn strict_gives_what_it_says_and_where() {
    let grants = grants(&strict(), &request(), &facts(), &host());
    assert_eq!(grants.id_map.value, IdMapKind::Range);
    assert!(grants.caps.value.is_empty());
    assert_eq!(grants.syscalls.value, "default");
    assert_eq!(
        grants.devices.value,
        ["null", "zero", "full", "random", "urandom", "tty"]
    );
    assert_eq!((grants.pids.value, grants.tmp.value), (512, 512 << 20));
    assert_eq!(grants.verify.value, VerifyMode::Stat);
    assert_eq!(grants.hostname.value, "lazaret");
    // Every origin is the very line.
    let text: Vec<&str> = include_str!("../../policies/strict.toml").lines().collect();
    for (origin, word) in [
        (&grants.caps.origin, "caps = []"),
        (&grants.syscalls.origin, "syscalls = \"default\""),
        (&grants.devices.origin, "devices = "),
        (&grants.network.origin, "network = "),
        (&grants.pids.origin, "limits = "),
        (&grants.tmp.origin, "limits = "),
        (&grants.verify.origin, "verify = "),
    ] {
        let Origin::Rule {
            file,
            line,
            builtin: true,
        } = origin
        else {
            panic!("{origin}")
        };
        assert_eq!(file, "strict.toml");
        assert!(
            text[line - 1].starts_with(word),
            "{line}: {}",
            text[line - 1]
        );
    }
    // Memory is bounded by looking alone: one line says so.
    let properties: Vec<_> = grants
        .downgrades
        .iter()
        .map(|d| d.property.as_str())
        .collect();
    assert_eq!(properties, ["memory is bounded"]);
}

#[test]
fn commands_are_put_together_as_docker_does() {
    let argv = |entrypoint: Option<&str>, command: &[&str]| {
        let request = Request {
            entrypoint: entrypoint.map(Into::into),
            command: command.iter().map(|s| (*s).to_owned()).collect(),
            ..request()
        };
        grants(&strict(), &request, &facts(), &host()).argv
    };
    assert_eq!(argv(None, &[]).value, ["/entry", "cmd", "arg"]);
    assert_eq!(argv(None, &[]).origin, Origin::Image("config.Entrypoint"));
    assert_eq!(argv(None, &["x"]).value, ["/entry", "x"]);
    assert_eq!(argv(None, &["x"]).origin, Origin::Flag("COMMAND"));
    assert_eq!(argv(Some("/other"), &[]).value, ["/other"]);
    assert_eq!(
        argv(Some("/other"), &["y", "z"]).value,
        ["/other", "y", "z"]
    );
    assert_eq!(argv(Some(""), &["y"]).value, ["y"]);
    let bare = Request {
        entrypoint: Some(String::new()),
        ..request()
    };
    let error = decide(&strict(), &bare, &facts(), &host()).unwrap_err();
    assert!(error.cause.contains("no command"));
    let mut image = facts();
    image.config.entrypoint.clear();
    assert_eq!(
        grants(&strict(), &request(), &image, &host()).argv.origin,
        Origin::Image("config.Cmd")
    );
    image.config.cmd.clear();
    assert!(decide(&strict(), &request(), &image, &host()).is_err());
}

#[test]
fn later_variables_take_the_place_of_earlier_ones() {
    let request = Request {
        env: vec![
            ("A".into(), "flag".into()),
            ("HOME".into(), "/h".into()),
            ("A".into(), "last".into()),
        ],
        tty: true,
        ..request()
    };
    let env = grants(&strict(), &request, &facts(), &host()).env;
    let plain: Vec<_> = env
        .iter()
        .map(|e| (e.value.0.as_str(), e.value.1.as_str()))
        .collect();
    assert_eq!(
        plain,
        [
            ("PATH", "/bin"),
            ("HOME", "/h"),
            ("TERM", "xterm"),
            ("LANG", "C.UTF-8"),
            ("A", "last")
        ]
    );
    assert_eq!(env[0].origin, Origin::Image("config.Env"));
    assert_eq!(env[4].origin, Origin::Flag("-e"));
    let quiet = grants(&strict(), &super::tests::request(), &facts(), &host()).env;
    assert!(quiet.iter().all(|e| e.value.0 != "TERM"));
    assert!(
        quiet
            .iter()
            .any(|e| e.value == ("HOME".into(), "/root".into()))
    );
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
        let bad = Request {
            env: vec![(name.into(), value.into())],
            ..super::tests::request()
        };
        assert!(
            decide(&strict(), &bad, &facts(), &host()).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn users() {
    for (user, fine) in [
        ("", true),
        ("0", true),
        ("root", true),
        ("1000", true),
        ("1000:1000", true),
        ("redis", true),
        ("redis:redis", true),
        (":5", true),
        ("4294967294", true),
        ("a:b:c", false),
        ("a:", false),
        ("a b", false),
        ("a\nb", false),
        ("../x", false),
        ("-1", false),
        ("4294967295", false),
        ("4294967296", false),
        ("99999999999999999999", false),
        ("0:-1", false),
    ] {
        let asked = Request {
            user: Some(user.into()),
            ..request()
        };
        assert_eq!(
            decide(&strict(), &asked, &facts(), &host()).is_ok(),
            fine,
            "{user:?}"
        );
        let mut image = facts();
        image.config.user = user.into();
        assert_eq!(
            decide(&strict(), &request(), &image, &host()).is_ok(),
            fine,
            "{user:?}"
        );
    }
}

#[test]
fn without_subids_only_root_runs_and_it_is_said() {
    let allowed = grants(&strict(), &request(), &facts(), &single());
    assert_eq!(allowed.id_map.value, IdMapKind::Single);
    let line = allowed
        .downgrades
        .iter()
        .find(|d| d.property.contains("the caller"))
        .unwrap();
    assert_eq!(line.hint, "apt install uidmap");
    for user in ["1000", "redis", "0:5", ":27"] {
        let mut image = facts();
        image.config.user = user.into();
        let why = reasons(&strict(), &request(), &image, &single());
        assert_eq!(why.len(), 1);
        assert_eq!(why[0].cure[0], "apt install uidmap");
        // The flag is what counts, in both directions.
        let root = Request {
            user: Some("0".into()),
            ..request()
        };
        grants(&strict(), &root, &image, &single());
        let asked = Request {
            user: Some(user.into()),
            ..request()
        };
        reasons(&strict(), &asked, &facts(), &single());
    }
    let groups = HostFacts {
        groups: vec![27, 108],
        ..single()
    };
    let told = grants(&strict(), &request(), &facts(), &groups).downgrades;
    assert!(
        told.iter().any(|d| d.instead.contains("27 108")),
        "{told:?}"
    );
    // With subids they are emptied, and there is nothing to tell.
    let emptied = HostFacts {
        groups: vec![27, 108],
        ..host()
    };
    let told = grants(&strict(), &request(), &facts(), &emptied).downgrades;
    assert!(told.iter().all(|d| !d.instead.contains("27")));
}

#[test]
fn a_needed_property_without_holder_is_a_refusal() {
    let why = reasons(
        &strict(),
        &request(),
        &facts(),
        &HostFacts {
            landlock_abi: 0,
            ..host()
        },
    );
    assert!(why[0].asked.contains("neither changed nor run"), "{why:?}");
    assert!(why[0].cure[0].contains("CONFIG_SECURITY_LANDLOCK"));
    let root = HostFacts {
        root: true,
        uid: 0,
        ..single()
    };
    let why = reasons(&strict(), &request(), &facts(), &root);
    assert!(why[0].asked.contains("never root outside"));
    // Old Landlock: namespaces hold what scopes would.
    grants(
        &strict(),
        &request(),
        &facts(),
        &HostFacts {
            landlock_abi: 2,
            kernel: (6, 1),
            ..host()
        },
    );
    for property in property::PROPERTIES {
        let holders = property.holders(&host(), Network::None);
        assert!(
            !holders.is_empty() || property.id == "memory",
            "{}",
            property.id
        );
    }
}

fn tmpfs_ask(path: &str, size: Option<u64>) -> TmpfsAsk {
    TmpfsAsk {
        flag: "--tmpfs",
        path: path.into(),
        size,
        mode: None,
        read_only: false,
    }
}

fn tmpfs(path: &str, size: Option<u64>) -> Request {
    Request {
        tmpfs: vec![tmpfs_ask(path, size)],
        ..request()
    }
}

#[test]
fn deny_beats_allow() {
    let policy = extended(
        "[[deny]]\nenv = [\"LD_*\"]\nreason = \"no preloading\"\n[[allow]]\nenv = [\"LD_PRELOAD\"]\nreason = \"r\"",
    );
    let ask = Request {
        env: vec![("LD_PRELOAD".into(), "x".into())],
        ..request()
    };
    let why = reasons(&policy, &ask, &facts(), &host());
    assert_eq!(why[0].rule, "deny env = [\"LD_*\"]");
    assert_eq!(why[0].why, "no preloading");
    assert_eq!(why[0].asked, "-e LD_PRELOAD");
    assert_eq!(why[0].origin.to_string(), format!("{USER_FILE}:4"));
    assert!(why[0].cure[0].contains(":4"), "{why:?}");
    let fine = Request {
        env: vec![("X".into(), "x".into())],
        ..request()
    };
    grants(&policy, &fine, &facts(), &host());
}

#[test]
fn the_system_level_is_a_ceiling() {
    let policy = system_policy(
        "version = 1\nextends = \"strict\"\n[[deny]]\nenv = [\"SECRET\"]\nreason = \"house rule\"\n\
         [[require]]\nverify = \"full\"\nreason = \"shared machine\"\n",
    )
    .unwrap();
    let ask = Request {
        env: vec![("SECRET".into(), "x".into())],
        ..request()
    };
    let why = reasons(&policy, &ask, &facts(), &host());
    assert!(why[0].cure[0].contains("only the administrator"), "{why:?}");
    assert_eq!(
        grants(&policy, &request(), &facts(), &host()).verify.value,
        VerifyMode::Full
    );
    let less = Request {
        verify: Some(VerifyMode::Stat),
        ..request()
    };
    assert_eq!(
        reasons(&policy, &less, &facts(), &host())[0].rule,
        "require verify = \"full\""
    );
    // Less of a limit outside wins over more inside, and less inside stays.
    let tight = system_policy(
        "version = 1\nextends = \"never\"\n[[allow]]\nlimits = { pids = 100 }\nreason = \"r\"",
    )
    .unwrap();
    assert_eq!(
        grants(&tight, &request(), &facts(), &host()).pids.value,
        512,
        "never allows more in the same level"
    );
    let user =
        "version = 1\nextends = \"strict\"\n[[give]]\nlimits = { pids = 4000 }\nreason = \"r\"";
    let system = "version = 1\nextends = \"strict\"\n";
    let both = composed(Some(system), Some(user), None, None).unwrap();
    assert_eq!(grants(&both, &request(), &facts(), &host()).pids.value, 512);
    let alone = user_policy(user).unwrap();
    assert_eq!(
        grants(&alone, &request(), &facts(), &host()).pids.value,
        4000
    );
}

#[test]
fn facts_of_images() {
    let policy = extended(
        "[[require]]\nfacts = { setuid = \"none\", special = \"none\", max_files = 9 }\nreason = \"hostile\"",
    );
    let why = reasons(&policy, &request(), &facts(), &host());
    let asked: Vec<_> = why.iter().map(|r| r.asked.as_str()).collect();
    assert_eq!(
        asked,
        [
            "an image with 10 files",
            "an image with setuid files: \"usr/bin/su\"",
            "an image with devices, fifos or sockets: \"dev/null\"",
        ]
    );
    let mut many = facts();
    many.layers = 129;
    assert_eq!(
        reasons(&strict(), &request(), &many, &host())[0].rule,
        "require facts = { max_layers = 128 }"
    );
}

#[test]
fn rules_end() {
    let rule = |until: &str| {
        extended(&format!(
            "[[deny]]\nenv = [\"X\"]\nuntil = {until}\nreason = \"r\""
        ))
    };
    let ask = Request {
        env: vec![("X".into(), "x".into())],
        ..request()
    };
    reasons(&rule("2026-11-23"), &ask, &facts(), &host());
    reasons(&rule("2027-01-01"), &ask, &facts(), &host());
    grants(&rule("2026-11-22"), &ask, &facts(), &host());
}

#[test]
fn required_limits_must_be_held() {
    let policy = extended(
        "[[require]]\nlimits = [\"memory\", \"pids\", \"tmp\", \"timeout\"]\nreason = \"r\"",
    );
    let kept = Request {
        rm: false,
        ..request()
    };
    let why = reasons(&policy, &kept, &facts(), &host());
    let rules: Vec<_> = why.iter().map(|r| r.rule.as_str()).collect();
    assert_eq!(
        rules,
        [
            "require limits = [\"tmp\"]",
            "require limits = [\"timeout\"]"
        ]
    );
    let policy = extended("[[give]]\nlimits = { timeout = \"10s\" }\nreason = \"r\"");
    let ask = |seconds| Request {
        timeout: Some(Duration::from_millis(seconds)),
        ..request()
    };
    assert_eq!(
        grants(&policy, &request(), &facts(), &host())
            .timeout
            .unwrap()
            .value,
        Duration::from_secs(10)
    );
    assert_eq!(
        grants(&policy, &ask(500), &facts(), &host())
            .timeout
            .unwrap()
            .value,
        Duration::from_millis(500)
    );
    reasons(&policy, &ask(10_001), &facts(), &host());
}

#[test]
fn hostnames() {
    for (name, fine) in [
        ("a", true),
        ("a-b.c", true),
        ("", false),
        ("-a", false),
        ("a..b", false),
        ("a_b", true),
        ("a\n127.0.0.1 x", false),
    ] {
        let ask = Request {
            hostname: Some(name.into()),
            ..request()
        };
        assert_eq!(
            decide(&strict(), &ask, &facts(), &host()).is_ok(),
            fine,
            "{name:?}"
        );
    }
}
