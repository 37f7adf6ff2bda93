//! What holds for every policy and every request.

use super::*;

/// A rule as text, without its head.
fn rule() -> impl Strategy<Value = String> {
    let image = prop::sample::select(vec![
        "",
        "image = \"docker.io/library/redis\"\n",
        "image = \"docker.io/**\"\n",
        "image = [\"quay.io/**\", \"docker.io/library/redis:7\"]\n",
        "image = \"quay.io/**\"\n",
    ]);
    let list = prop::sample::select(vec![
        "devices = [\"/dev/dri/renderD128\"]",
        "caps = [\"CHOWN\"]",
        "caps = [\"SETUID\", \"KILL\"]",
        "env = [\"A\"]",
        "env = [\"B*\", \"LANG\"]",
        "env = [\"**\"]",
        "devices = [\"tty\"]",
        "devices = [\"/dev/dri/*\"]",
        "mounts = [\"./**:ro\"]",
        "mounts = [\"./**:rw\"]",
        "mounts = [\"/srv/**:rw\"]",
        "mounts = [\"/srv/x\"]",
        "mounts = [\"~/**:rw\", \"tmpfs\"]",
        "mounts = [\"**:rw\"]",
        "userns = [\"keep-id\"]",
        "network = [\"none\"]",
        "limits = { pids = 20 }",
        "limits = { pids = 900, nofile = 100 }",
        "limits = { tmp = \"1MiB\" }",
        "limits = { timeout = \"9s\" }",
    ]);
    let word = prop::sample::select(vec!["give", "allow", "allow", "deny"]);
    (word, image, list).prop_filter_map("not a word's key", |(word, image, list)| {
        let key = list.split(' ').next().unwrap();
        let fits = match word {
            "give" => !matches!(key, "mounts" | "userns" | "env") && !list.contains('*'),
            _ => true,
        };
        fits.then(|| format!("[[{word}]]\n{image}{list}\nreason = \"r\"\n"))
    })
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(rule(), 0..7)
}

/// A request, and what the machine says to it.
fn asked() -> impl Strategy<Value = (Request, HostFacts)> {
    let paths = vec![
        "/srv/x",
        "/srv/x/y",
        "/home/ana/work/z",
        "/home/ana/q",
        "/etc",
    ];
    let bind = (prop::sample::select(paths), any::<bool>());
    (
        prop::collection::vec(prop::sample::select(vec!["A", "B1", "LANG", "C"]), 0..3),
        prop::collection::vec(bind, 0..3),
        prop::option::of(prop::sample::select(vec![5u64, 100, 800, 5000])),
        prop::option::of(1u64..20),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        prop::collection::vec(
            prop::sample::select(vec!["CHOWN", "KILL", "SYS_ADMIN"]),
            0..2,
        ),
    )
        .prop_map(
            |(env, binds, pids, timeout, (keep_id, device, tmpfs, rm), caps)| {
                let mut host = host();
                host.outside.cwd = "/home/ana/work".into();
                host.outside.homes = vec!["/home/ana".into()];
                host.outside.sources = binds
                    .iter()
                    .map(|(path, _)| SourceFacts {
                        path: (*path).into(),
                        kind: FileKind::Folder,
                        uid: 1000,
                        gid: 1000,
                        mode: 0o755,
                        mounts: vec![("/".into(), "ext4".into())],
                        through: None,
                    })
                    .collect();
                let card = "/dev/dri/renderD128";
                if device {
                    host.outside.devices = vec![DeviceFacts {
                        path: card.into(),
                        character: true,
                        major: 226,
                        minor: 128,
                        name: Some("dri/renderD128".into()),
                        uid: 0,
                        gid: 0,
                        mode: 0o666,
                    }];
                }
                let request = Request {
                    env: env
                        .iter()
                        .map(|n| ((*n).to_owned(), "v".to_owned()))
                        .collect(),
                    binds: (0..)
                        .zip(&binds)
                        .map(|(n, (path, read_only))| BindAsk {
                            flag: "-v",
                            source: (*path).into(),
                            subpath: None,
                            target: format!("/t{n}"),
                            read_only: *read_only,
                            no_exec: false,
                        })
                        .collect(),
                    devices: match device {
                        true => vec![DeviceAsk {
                            source: card.into(),
                            target: card.into(),
                        }],
                        false => vec![],
                    },
                    pids_limit: pids,
                    timeout: timeout.map(Duration::from_secs),
                    tmpfs: match tmpfs {
                        true => vec![tmpfs_ask("/tm", Some(2 << 20))],
                        false => vec![],
                    },
                    keep_id,
                    caps: CapsAsk {
                        add: caps.into_iter().map(str::to_owned).collect(),
                        ..CapsAsk::default()
                    },
                    rm,
                    ..request()
                };
                (request, host)
            },
        )
}

fn text(base: &str, rules: &[String]) -> String {
    format!("version = 1\nextends = \"{base}\"\n{}", rules.concat())
}

/// What is decided, without where it comes from; `None`: refused. Gifts of devices that nobody
/// looked at are no request of these tests.
fn decided(policy: &Policy, (request, host): &(Request, HostFacts)) -> Option<Vec<String>> {
    let mut host = host.clone();
    let wanted = wanted_devices(policy, &request.image, &request.devices);
    let card = host.outside.devices.first().cloned();
    host.outside.devices = wanted
        .iter()
        .map(|ask| {
            card.clone().unwrap_or(DeviceFacts {
                path: ask.source.clone(),
                character: true,
                major: 1,
                minor: 1,
                name: ask.source.strip_prefix("/dev/").map(Into::into),
                uid: 0,
                gid: 0,
                mode: 0o666,
            })
        })
        .collect();
    match decide(policy, request, &facts(), &host).unwrap() {
        Verdict::Deny(_) => None,
        Verdict::Allow(grants) => {
            let mut had: Vec<String> = Vec::new();
            had.extend(
                grants
                    .caps
                    .value
                    .iter()
                    .map(|cap| format!("cap {}", cap.value)),
            );
            had.extend(grants.devices.value.iter().map(|d| format!("device {d}")));
            had.extend(grants.env.iter().map(|e| format!("env {:?}", e.value)));
            had.extend(
                grants
                    .binds
                    .iter()
                    .map(|b| format!("bind {} {}", b.value.source, b.value.read_only)),
            );
            had.extend(
                grants
                    .host_devices
                    .iter()
                    .map(|d| format!("host {}", d.value.source)),
            );
            had.extend(
                grants
                    .ulimits
                    .iter()
                    .map(|u| format!("limit {:?}", u.value)),
            );
            had.push(format!("pids {}", grants.pids.value));
            had.push(format!("tmp {}", grants.tmp.value));
            had.push(format!("timeout {:?}", grants.timeout.map(|t| t.value)));
            had.push(format!("network {:?}", grants.network.value));
            had.push(format!("syscalls {:?}", grants.syscalls.value));
            had.push(format!("ids {:?}", grants.id_map.value));
            had.sort();
            Some(had)
        }
    }
}

/// A limit that is had: which one, and how much of it.
fn amount(had: &str) -> Option<(&str, u64)> {
    let what = had.split(char::is_numeric).next()?;
    let digits = had.get(what.len()..)?;
    let end = digits
        .find(|c: char| !c.is_numeric())
        .unwrap_or(digits.len());
    let known = ["pids ", "tmp ", "limit "];
    let of_limit = known.iter().any(|known| what.starts_with(known));
    Some((what, digits.get(..end)?.parse().ok()?)).filter(|_| of_limit)
}

const EVERYTHING: &str = "[[allow]]\ncaps = [\"*\"]\nenv = [\"**\"]\ndevices = [\"**\"]\nmounts = [\"**:rw\", \"tmpfs\"]\nuserns = [\"*\"]\nnetwork = [\"*\"]\nlimits = { pids = 30000, tmp = \"50%\", timeout = \"10d\", nofile = 900000 }\nreason = \"all\"\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A level only takes away: what runs under two levels runs under the inner one alone, and it
    /// runs under the outer one with an inner one that allows everything besides.
    #[test]
    fn a_wider_level_never_yields_more(outer in rules(), inner in rules(), ask in asked()) {
        let user = text("strict", &inner);
        let both = composed(Some(&text("never", &outer)), Some(&user), None, None).unwrap();
        if decided(&both, &ask).is_some() {
            let alone = user_policy(&user).unwrap();
            prop_assert!(decided(&alone, &ask).is_some());
            let wide = text("strict", &[inner.concat(), EVERYTHING.to_owned()]);
            let wide = composed(Some(&text("never", &outer)), Some(&wide), None, None).unwrap();
            prop_assert!(decided(&wide, &ask).is_some());
        }
        // The same of a project inside the user's level.
        let narrowed = composed(None, Some(&user), Some(&text("never", &outer)), None).unwrap();
        if decided(&narrowed, &ask).is_some() {
            let trusting = outer.iter().any(|rule| rule.starts_with("[[give]]"));
            let alone = user_policy(&user).unwrap();
            prop_assert!(trusting || decided(&alone, &ask).is_some());
        }
    }

    /// Whatever the levels around it say, what is had was allowed by each of them.
    #[test]
    fn nothing_is_had_that_a_level_does_not_allow(outer in rules(), inner in rules(), ask in asked()) {
        let system = text("strict", &outer);
        let both = composed(Some(&system), Some(&text("strict", &inner)), None, None).unwrap();
        let alone = composed(None, Some(&system), None, None).unwrap();
        if let Ok(Verdict::Allow(grants)) = decide(&both, &ask.0, &facts(), &ask.1) {
            let subject = subject::Subject::of(&ask.0.image);
            for cap in &grants.caps.value {
                prop_assert!(alone.ask(&subject, parse::Key::Caps, &cap.value).is_ok(), "{cap:?}");
            }
            for device in &grants.devices.value {
                prop_assert!(alone.ask(&subject, parse::Key::Devices, device).is_ok(), "{device}");
            }
            for name in ask.0.env.iter().map(|(name, _)| name) {
                prop_assert!(alone.ask(&subject, parse::Key::Env, name).is_ok(), "{name}");
            }
        }
    }

    /// One more denial refuses what was refused, and gives nothing new.
    #[test]
    fn a_deny_never_allows_more(
        some in rules(), more in rule().prop_filter("a deny", |r| r.starts_with("[[deny]]")), ask in asked(), inside in any::<bool>(),
    ) {
        let before = user_policy(&text("strict", &some)).unwrap();
        let after = match inside {
            true => user_policy(&text("strict", &[some.concat(), more])).unwrap(),
            false => composed(Some(&text("never", &[more])), Some(&text("strict", &some)), None, None).unwrap(),
        };
        match (decided(&before, &ask), decided(&after, &ask)) {
            (None, after) => prop_assert_eq!(after, None),
            (Some(before), Some(after)) => {
                for had in &after {
                    // Of a limit there may be less.
                    let less = before.iter().any(|b| match (amount(b), amount(had)) {
                        (Some((what, most)), Some((same, is))) => what == same && is <= most,
                        _ => false,
                    });
                    prop_assert!(before.contains(had) || less, "{:?} {:?}", before, after);
                }
            }
            (Some(_), None) => {}
        }
    }

    /// The order of rules in a file means nothing, nor does it of the keys of an image list.
    #[test]
    fn the_order_of_rules_means_nothing(
        (some, other) in rules().prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())), ask in asked(),
    ) {
        let one = user_policy(&text("strict", &some)).unwrap();
        let two = user_policy(&text("strict", &other)).unwrap();
        prop_assert_eq!(decided(&one, &ask), decided(&two, &ask));
    }

    /// Rules about other images change nothing.
    #[test]
    fn rules_about_others_change_nothing(some in rules(), more in rules(), ask in asked()) {
        let others: Vec<String> = more
            .iter()
            .map(|rule| {
                let (head, rest) = rule.split_once('\n').unwrap();
                let rest: Vec<&str> = rest.lines().filter(|l| !l.starts_with("image")).collect();
                format!("{head}\nimage = \"registry.example/**\"\n{}\n", rest.join("\n"))
            })
            .collect();
        let one = user_policy(&text("strict", &some)).unwrap();
        let two = user_policy(&text("strict", &[some.concat(), others.concat()])).unwrap();
        prop_assert_eq!(decided(&one, &ask), decided(&two, &ask));
    }

    /// A flag adds nothing else: what a request has beyond a bare one is what it names.
    #[test]
    fn a_flag_adds_what_it_names_alone(some in rules(), ask in asked()) {
        let policy = user_policy(&text("strict", &some)).unwrap();
        let bare = (request(), HostFacts { outside: Outside { devices: vec![], sources: vec![], ..ask.1.outside.clone() }, ..ask.1.clone() });
        if let (Some(with), Some(without)) = (decided(&policy, &ask), decided(&policy, &bare)) {
            for had in with.iter().filter(|had| !without.contains(had)) {
                let (what, _) = had.split_once(' ').unwrap();
                let named = match what {
                    "env" => ask.0.env.iter().any(|(name, _)| had.contains(name.as_str())),
                    "bind" => !ask.0.binds.is_empty(),
                    "cap" => ask.0.caps.add.iter().any(|name| had.ends_with(name.as_str())),
                    "host" => !ask.0.devices.is_empty(),
                    "pids" => ask.0.pids_limit.is_some(),
                    "timeout" => ask.0.timeout.is_some(),
                    "ids" => ask.0.keep_id,
                    _ => false,
                };
                prop_assert!(named, "{}", had);
            }
        }
    }

    /// What a comparison of two policies calls unchanged is decided alike.
    #[test]
    fn no_difference_means_the_same_decisions(some in rules(), more in rule(), ask in asked()) {
        let one = user_policy(&text("strict", &some)).unwrap();
        // Often one that says nothing new.
        let two = user_policy(&text("strict", &[some.concat(), more])).unwrap();
        if diff(&one, &two).unwrap().is_empty() {
            prop_assert_eq!(decided(&one, &ask), decided(&two, &ask));
        }
        prop_assert!(diff(&one, &one).unwrap().is_empty());
    }
}
