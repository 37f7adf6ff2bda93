//! What comes in, and policy files: understood, not understood, hostile.

use super::*;

pub(super) fn manifest(layers: usize, size: u64) -> Manifest {
    let blob = || Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        digest: digest(),
        size,
        platform: None,
        annotations: BTreeMap::new(),
    };
    Manifest {
        digest: digest(),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        config: blob(),
        layers: (0..layers).map(|_| blob()).collect(),
        annotations: BTreeMap::new(),
    }
}

#[test]
fn what_comes_in() {
    let ask = |policy: &Policy, name: &str, layers, size| {
        admit(
            policy,
            &ImageName::parse(name).unwrap(),
            &manifest(layers, size),
            &config(),
            None,
            &Evidence::default(),
            NOW,
        )
    };
    for name in [
        "redis",
        "oci:./x:tag",
        "oci-archive:x.tar",
        "docker-archive:x.tar",
        "builtin:probe",
    ] {
        assert_eq!(ask(&strict(), name, 1, 10), Admit::Go, "{name}");
    }
    let Admit::Deny(why) = ask(&strict(), "redis", 129, u64::MAX) else {
        panic!()
    };
    assert_eq!(why.len(), 2, "{why:?}");
    let policy = extended(
        "[[trust]]\nimage = \"docker.io/**\"\naccept = \"reject\"\nreason = \"not from there\"\n\
         [[trust]]\nimage = \"docker.io/library/redis\"\naccept = \"tofu\"\nreason = \"but this one\"",
    );
    assert_eq!(
        ask(&policy, "redis:7", 1, 1),
        Admit::Go,
        "the most specific pattern wins"
    );
    let Admit::Deny(why) = ask(&policy, "alpine", 1, 1) else {
        panic!()
    };
    assert_eq!(why[0].why, "not from there");
    // The cure, pasted, cures.
    let cure = why[0].cure[1..].join("\n").replace("...", "r");
    assert_eq!(ask(&extended(&cure), "alpine", 1, 1), Admit::Go);
}

#[test]
fn files_that_are_not_understood() {
    let head = "version = 1\nextends = \"strict\"\n";
    for (text, word, hint) in [
        ("", "version", ""),
        (
            "version = 2\nextends = \"strict\"",
            "version = 2",
            "version = 1",
        ),
        ("version = 1", "extends", "extends = \"strict\""),
        ("version = 1\nextends = \"loose\"", "loose", "strict"),
        ("version = 1\nextends = \"never\"", "never", "strict"),
    ] {
        let error = user_policy(text).unwrap_err();
        assert!(error.cause.contains(word), "{text}: {}", error.cause);
        assert!(error.cause.contains(USER_FILE));
        assert!(error.hint.unwrap_or_default().contains(hint), "{text}");
    }
    for (rule, word, hint) in [
        (
            "[[allow]]\nenv = [\"X\"]",
            ":3:1: a rule without a reason",
            "reason =",
        ),
        (
            "[[allow]]\nenv = [\"X\"]\nreason = \"\"",
            ":3:1: a rule without a reason",
            "reason = ",
        ),
        (
            "[[allow]]\nenvs = [\"X\"]\nreason = \"r\"",
            ":4:1: unknown key",
            "`env`",
        ),
        (
            "[[denny]]\nenv = [\"X\"]\nreason = \"r\"",
            "unknown key",
            "`deny`",
        ),
        (
            "[[deny]]\nverify = \"full\"\nreason = \"r\"",
            "unknown key",
            "",
        ),
        (
            "[[allow]]\nlimits = { pid = 1 }\nreason = \"r\"",
            "no limit is called",
            "`pids`",
        ),
        (
            "[[allow]]\nlimits = { tmp = \"lots\" }\nreason = \"r\"",
            "no amount",
            "",
        ),
        (
            "[[give]]\nlimits = { pids = 0 }\nreason = \"r\"",
            "no amount",
            "",
        ),
        (
            "[[trust]]\nimage = \"x\"\naccept = \"all\"\nreason = \"r\"",
            "means nothing",
            "tofu",
        ),
        (
            "[[trust]]\nimage = \"x\"\naccept = \"none\"\nreason = \"r\"",
            "means nothing",
            "did you mean \"reject\"?",
        ),
        (
            "[[trust]]\nimage = []\naccept = \"any\"\nreason = \"r\"",
            "no image at all",
            "",
        ),
        (
            "[[require]]\nfacts = { absent = [\"x\"] }\nreason = \"r\"",
            "absent = \"x\" is no path",
            "",
        ),
        (
            "[[require]]\nlimits = [\"cups\"]\nreason = \"r\"",
            "cups",
            "`cpu`",
        ),
        ("[[require]]\nverify = \"off\"\nreason = \"r\"", "off", ""),
        (
            "[[deny]]\nenv = [\"X\"]\nuntil = 10:00:00\nreason = \"r\"",
            "no date",
            "",
        ),
        (
            "[[give]]\nnetwork = \"bridge\"\nreason = \"r\"",
            "no network is called \"bridge\"",
            "none, host",
        ),
        ("[[allow]]\nreason = \"\u{1b}]0;x\u{7}\"", "", ""),
        ("x = 1\n\u{1b}[31m", "", ""),
    ] {
        let error = user_policy(&format!("{head}{rule}")).unwrap_err();
        assert!(error.cause.contains(word), "{rule}: {}", error.cause);
        let got = error.hint.unwrap_or_default();
        assert!(got.contains(hint), "{rule}: {got}");
        assert!(
            !error.cause.chars().any(char::is_control),
            "{:?}",
            error.cause
        );
    }
}

#[test]
fn hostile_bytes() {
    let read = |bytes: &[u8]| {
        let file = PolicyFile {
            name: "p",
            bytes,
            builtin: false,
        };
        Policy::compose(&Sources {
            user: Some(file),
            today: TODAY,
            ..Sources::default()
        })
    };
    assert_eq!(
        read(&vec![b'a'; 10 << 20]).unwrap_err().kind,
        crate::error::Kind::Limit
    );
    assert!(read(&[0xff, 0xfe, 0]).is_err());
    assert!(read(b"\0\0\0\0").is_err());
    assert!(read(&b"[".repeat(100_000)).is_err());
    assert!(read(format!("x = {}", "[".repeat(100_000)).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_policy(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = PolicyFile { name: "p", bytes: &bytes, builtin: false };
        let _either = Policy::compose(&Sources { user: Some(file), today: TODAY, ..Sources::default() });
    }

    /// Whatever is asked, what is granted beyond the policy's gifts was allowed by a rule.
    #[test]
    fn a_flag_never_adds_what_no_rule_allows(
        names in prop::collection::vec("[A-Z]{1,3}", 0..4),
        sizes in prop::collection::vec(1..(6u64 << 30), 0..4),
        rm in any::<bool>(), tty in any::<bool>(), user in "[0-9a-z:]{0,4}", timeout in prop::option::of(1..100u64),
    ) {
        let policy = user_policy(
            "version = 1\nextends = \"strict\"\n[[deny]]\nenv = [\"A*\"]\nreason = \"r\"\n[[give]]\nlimits = { timeout = \"50s\" }\nreason = \"r\"",
        ).unwrap();
        let asked = Request {
            env: names.iter().map(|n| (n.clone(), "v".to_owned())).collect(),
            tmpfs: sizes.iter().enumerate().map(|(i, size)| tmpfs_ask(&format!("/t{i}"), Some(*size))).collect(),
            rm, tty, user: Some(user),
            timeout: timeout.map(Duration::from_secs),
            ..request()
        };
        for host in [host(), single()] {
            let Ok(Verdict::Allow(grants)) = decide(&policy, &asked, &facts(), &host) else { continue };
            prop_assert!(names.iter().all(|n| !n.starts_with('A')));
            prop_assert!(sizes.iter().sum::<u64>() <= (host.memory / 100) * 25);
            prop_assert!(timeout.unwrap_or(0) <= 50);
            prop_assert!(grants.caps.value.is_empty());
            prop_assert_eq!(grants.network.value, Network::None);
            prop_assert_eq!(grants.pids.value, 512);
            prop_assert!(grants.id_map.value == IdMapKind::Range || host.subids.is_none());
            prop_assert!(grants.timeout.unwrap().value <= Duration::from_secs(50));
        }
    }
}
