//! Ways around a level that somebody tried.

use super::*;

fn decided(policy: &Policy, request: &Request) -> Verdict {
    decide(policy, request, &facts(), &host()).unwrap()
}

fn allowed(policy: &Policy, request: &Request) -> Box<Grants> {
    match decided(policy, request) {
        Verdict::Allow(grants) => grants,
        Verdict::Deny(reasons) => panic!("{reasons:?}"),
    }
}

fn of(name: &str) -> Request {
    Request {
        rm: true,
        ..Request::of(ImageName::parse(name).unwrap())
    }
}

#[test]
fn a_project_gives_no_more_than_the_user_allows() {
    let project = "version = 1\nextends = \"never\"\n[[give]]\nlimits = { pids = 30000, tmp = \"50%\", nofile = 1000000, timeout = \"9d\" }\nreason = \"r\"\n";
    let user = "version = 1\nextends = \"strict\"\n[[give]]\nlimits = { timeout = \"60s\" }\nreason = \"r\"\n";
    let grants = allowed(
        &composed(None, Some(user), Some(project), None).unwrap(),
        &request(),
    );
    assert_eq!(grants.pids.value, 512);
    // What a project gives is not had: it only takes away.
    assert_eq!(grants.tmp.value, 512 << 20);
    assert_eq!(
        grants.timeout.as_ref().unwrap().value,
        Duration::from_secs(60)
    );
    let nofile = grants
        .ulimits
        .iter()
        .find(|u| u.value.which == Which::Nofile);
    assert_eq!(nofile.unwrap().value.hard, 65536);
}

#[test]
fn a_project_turns_nothing_that_may_be_asked_into_had() {
    let user = "version = 1\nextends = \"strict\"\n[[allow]]\ncaps = [\"KILL\"]\nnetwork = [\"host\"]\nreason = \"r\"\n";
    let project = "version = 1\nextends = \"never\"\n[[give]]\ncaps = [\"KILL\"]\nnetwork = \"host\"\nreason = \"r\"\n";
    let policy = composed(None, Some(user), Some(project), None).unwrap();
    let had = allowed(&policy, &request());
    assert_eq!(had.network.value, Network::None);
    assert!(had.caps.value.is_empty());
}

#[test]
fn a_rule_about_a_tag_is_about_its_digest_too_where_it_takes_away() {
    let pinned = format!("docker.io/library/redis:7@{}", digest());
    let denying = "version = 1\nextends = \"never\"\n[[deny]]\nimage = \"docker.io/library/redis:7\"\nenv = [\"A\"]\nreason = \"r\"\n[[require]]\nimage = \"docker.io/library/redis:7\"\nfacts = { setuid = \"none\" }\nreason = \"r\"\n[[trust]]\nimage = \"docker.io/library/redis:7\"\naccept = \"reject\"\nreason = \"r\"\n";
    let policy = system_policy(denying).unwrap();
    let asked = Request {
        env: vec![("A".into(), "x".into())],
        ..of(&pinned)
    };
    let Verdict::Deny(reasons) = decided(&policy, &asked) else {
        panic!("a digest beside the tag got around the rules")
    };
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(matches!(
        admit(
            &policy,
            &asked.image,
            &super::files::manifest(1, 10),
            &config(),
            None,
            &Evidence::default(),
            NOW
        ),
        Admit::Deny(_)
    ));
    // What is allowed for a tag is not allowed for whatever else has its name.
    let policy = user_policy("version = 1\nextends = \"strict\"\n[[allow]]\nimage = \"docker.io/library/redis:7\"\ncaps = [\"KILL\"]\nreason = \"r\"\n").unwrap();
    let asked = Request {
        caps: CapsAsk {
            add: vec!["KILL".into()],
            ..CapsAsk::default()
        },
        ..of(&pinned)
    };
    assert!(matches!(decided(&policy, &asked), Verdict::Deny(_)));
}

#[test]
fn a_cure_with_a_star_is_none() {
    let policy =
        user_policy("version = 1\nextends = \"strict\"\n[[deny]]\nenv = [\"zz\"]\nreason=\"r\"\n")
            .unwrap();
    for name in ["oci:**", "oci:/srv/*/x:1", "oci-archive:*.tar"] {
        let asked = Request {
            caps: CapsAsk {
                add: vec!["KILL".into()],
                ..CapsAsk::default()
            },
            timeout: None,
            pids_limit: Some(5000),
            ..of(name)
        };
        let Verdict::Deny(reasons) = decided(&policy, &asked) else {
            panic!()
        };
        for reason in reasons {
            let cure = reason.cure.join("\n");
            assert!(!cure.contains("[[allow]]") && cure.contains('*'), "{cure}");
        }
    }
}

#[test]
fn rules_that_could_never_match_are_refused() {
    for rule in [
        "[[deny]]\nmounts = [\"/srv/secret/\"]",
        "[[deny]]\nmounts = [\"/srv//secret/**\"]",
        "[[deny]]\nmounts = [\"/srv/./secret/**\"]",
        "[[allow]]\nmounts = [\"./\"]",
        "[[deny]]\nmounts = [\"/srv/secret/**:RW\"]",
        "[[allow]]\nmounts = [\"./out:rw,noexec\"]",
        "[[allow]]\nmounts = [\"./out:z\"]",
        "[[deny]]\ntargets = [\"/etc/\"]",
        "[[deny]]\ntargets = [\"/etc/**:rw\"]",
        "[[deny]]\ntargets = [\"//etc\"]",
        "[[deny]]\ndevices = [\"/dev/dri/\"]",
        "[[deny]]\ndevices = [\"/dev//dri/card0\"]",
        "[[deny]]\ndevices = [\"dri/../mem\"]",
        "[[deny]]\ndevices = [\"/dri/card0\"]",
        "[[trust]]\nimage = \"Evil.Example/**\"\naccept = \"reject\"",
        "[[trust]]\nimage = \"index.docker.io/**\"\naccept = \"reject\"",
        "[[trust]]\nimage = \"docker.io/redis*\"\naccept = \"reject\"",
        "[[trust]]\nimage = \"docker.io/*\"\naccept = \"reject\"",
        "[[trust]]\nimage = \"quay.io/Lab/**\"\naccept = \"reject\"",
        "[[trust]]\nimage = \"quay.io//lab/*\"\naccept = \"reject\"",
    ] {
        let text = format!("version = 1\nextends = \"strict\"\n{rule}\nreason = \"r\"\n");
        assert!(user_policy(&text).is_err(), "{rule}");
    }
    for rule in [
        "[[deny]]\nmounts = [\".\", \"~\", \"/\", \"/**\", \"**/x:y/**\", \"/a:b\", \"/a:ro:rw\", \"~/.*/**:rw\"]",
        "[[deny]]\ntargets = [\"/\", \"**\", \"/a:b/**\"]",
        "[[deny]]\ndevices = [\"*\", \"**\", \"/dev/**\", \"dri/*\", \"/**\", \"**/card0\"]",
        "[[trust]]\nimage = [\"docker.io/*/redis\", \"docker.io/**\", \"*.example/**\", \"quay.io/a/b:RC*\", \"quay.io/a/b@sha256:*\", \"docker.io/library/redis*\", \"*/lab/x:*\"]\naccept = \"reject\"",
    ] {
        let text = format!("version = 1\nextends = \"strict\"\n{rule}\nreason = \"r\"\n");
        user_policy(&text).unwrap();
    }
}

#[test]
fn disks_and_memory_have_other_names() {
    let policy = user_policy(
        "version = 1\nextends = \"strict\"\n[[allow]]\ndevices = [\"**\"]\nreason = \"r\"\n",
    )
    .unwrap();
    for name in [
        "sg0",
        "bsg/0:0:0:0",
        "ng0n1",
        "mtd0",
        "raw/raw1",
        "mapper/control",
        "vfio/vfio",
        "uio0",
        "userfaultfd",
    ] {
        let device = DeviceAsk {
            source: format!("/dev/{name}"),
            target: format!("/dev/{name}"),
        };
        let mut host = host();
        host.outside.devices = vec![DeviceFacts {
            path: device.source.clone(),
            character: true,
            major: 21,
            minor: 0,
            name: Some(name.into()),
            uid: 0,
            gid: 0,
            mode: 0o666,
        }];
        let asked = Request {
            devices: vec![device],
            ..request()
        };
        let verdict = decide(&policy, &asked, &facts(), &host).unwrap();
        assert!(matches!(verdict, Verdict::Deny(_)), "{name}");
    }
}

#[test]
fn deep_files_are_refused_and_do_not_end_the_program() {
    for text in [
        format!("version = 1\nx = {}", "[".repeat(1 << 19)),
        format!(
            "version = 1\nx = {}{}",
            "[".repeat(1 << 19),
            "]".repeat(1 << 19)
        ),
        format!("version = 1\nx{} = 1\n", ".x".repeat(500_000)),
        format!("version = 1\n[x{}]\n", ".x".repeat(500_000)),
        format!("version = 1\n[[deny]]\nx = {}\n", "{x=".repeat(300_000)),
        format!(
            "version = 1\n[[deny]]\nx.x{} = 1\n[[x\n",
            ".x".repeat(500_000)
        ),
        "[[x\n".repeat(250_000),
        "[[deny]]\n".repeat(110_000),
        format!(
            "version = 1\n{}",
            "[[deny]]\nenv=[\"a\"]\nreason=\"r\"\nimage=\"q.io/**\"\n".repeat(18_000)
        ),
    ] {
        let started = std::time::Instant::now();
        let file = PolicyFile {
            name: "p",
            bytes: text.as_bytes(),
            builtin: false,
        };
        let found = problems(&file, TODAY);
        assert!(!found.is_empty() || text.contains("q.io"));
        assert!(started.elapsed().as_secs() < 20);
    }
}

#[test]
fn a_limit_that_lowers_nothing_is_told() {
    let text = "version = 1\nextends = \"never\"\n[[allow]]\nlimits = { pids = 100 }\nreason = \"few\"\n[[give]]\nlimits = { nofile = 9 }\nreason = \"few\"\n";
    let policy = system_policy(text).unwrap();
    assert_eq!(allowed(&policy, &request()).pids.value, 512);
    let idle = policy.idle();
    // Only the user's level gives, and the profile of the same level says more.
    assert_eq!(idle.len(), 2, "{idle:?}");
    assert!(idle[0].rule.contains("give") && idle[0].why.contains("[[deny]] limits"));
    assert!(idle[1].rule.contains("pids = 100") && idle[1].why.contains("never.toml"));
    // What lowers a limit is a denial of more.
    let text = "version = 1\nextends = \"never\"\n[[deny]]\nlimits = { pids = 100, tmp = \"1MiB\" }\nreason = \"few\"\n";
    let policy = system_policy(text).unwrap();
    let had = allowed(&policy, &request());
    assert_eq!((had.pids.value, had.tmp.value), (100, 1 << 20));
    assert_eq!(policy.idle(), []);
    let more = Request {
        pids_limit: Some(101),
        ..request()
    };
    let Verdict::Deny(reasons) = decided(&policy, &more) else {
        panic!("more than what is denied")
    };
    assert_eq!(reasons[0].rule, "deny limits = { pids = 100 }");
    let text = "version = 1\nextends = \"strict\"\n[[allow]]\nlimits = { pids = 1000 }\nreason = \"r\"\n[[give]]\nlimits = { pids = 9 }\nreason = \"few\"\n";
    assert_eq!(user_policy(text).unwrap().idle(), []);
}
#[test]
fn what_is_told_of_trust_is_what_was_decided() {
    let text = "version = 1\nextends = \"strict\"\n[[trust]]\nimage = \"docker.io/**\"\naccept = \"pinned\"\nreason = \"r\"\n";
    let ear = Ear::default();
    let policy = user_policy(text).unwrap().heard_by(&ear);
    let manifest = super::files::manifest(1, 10);
    let refused = admit(
        &policy,
        &request().image,
        &manifest,
        &config(),
        None,
        &Evidence::default(),
        NOW,
    );
    assert!(matches!(refused, Admit::Deny(_)));
    let heard = ear.take();
    let said: Vec<Said> = heard[0].answers.iter().map(|answer| answer.said).collect();
    assert_eq!(
        (heard[0].key, said),
        (TRUST, vec![Said::Allowed, Said::NotAllowed])
    );
}
#[test]
fn a_last_day_has_no_hour() {
    for (until, fine) in [
        ("2027-03-31", true),
        ("2027-03-31T00:00:00Z", false),
        ("2027-03-31T08:00:00", false),
    ] {
        let text = format!(
            "version = 1\nextends = \"strict\"\n[[deny]]\nenv = [\"A\"]\nuntil = {until}\nreason = \"r\"\n"
        );
        assert_eq!(user_policy(&text).is_ok(), fine, "{until}");
    }
}
#[test]
fn what_is_denied_does_not_come_with_the_image() {
    let denying = "version = 1\nextends = \"never\"\n[[deny]]\nimage = \"docker.io/**\"\nenv = [\"A\"]\nreason = \"r\"\n";
    let grants = allowed(&system_policy(denying).unwrap(), &request());
    assert!(
        grants.env.iter().all(|variable| variable.value.0 != "A"),
        "{:?}",
        grants.env
    );
    assert!(grants.env.iter().any(|variable| variable.value.0 == "PATH"));
    let told = "variable A is left out: /etc/lazaret/policy.toml:5 denies it";
    assert!(
        grants.notes.iter().any(|note| note.contains(told)),
        "{:?}",
        grants.notes
    );
    // Only a denial does that: no rule needs to allow what is the image's own.
    let silent = "version = 1\nextends = \"never\"\n[[deny]]\nimage = \"quay.io/**\"\nenv = [\"A\"]\nreason = \"r\"\n";
    let grants = allowed(&system_policy(silent).unwrap(), &request());
    assert!(grants.env.iter().any(|variable| variable.value.0 == "A"));
}

#[test]
fn policies_that_are_too_large_to_compare_are_refused() {
    let text: String = (0..3000)
        .map(|n| {
            format!("[[allow]]\nimage = \"r.example/{n}\"\nenv = [\"V{n}\"]\nreason = \"r\"\n")
        })
        .collect();
    let large = user_policy(&format!("version = 1\nextends = \"strict\"\n{text}")).unwrap();
    assert!(diff(&strict(), &large).is_err());
    assert!(diff(&strict(), &strict()).unwrap().is_empty());
}
