//! Devices of the host: by path, by name, and by what the kernel calls them.

use super::*;

fn device(path: &str) -> DeviceFacts {
    DeviceFacts {
        path: path.into(),
        character: true,
        major: 226,
        minor: 128,
        name: path.strip_prefix("/dev/").map(str::to_owned),
        uid: 0,
        gid: 44,
        mode: 0o660,
    }
}

fn ask(policy: &Policy, device: DeviceFacts, target: &str) -> crate::error::Result<Verdict> {
    let request = Request {
        devices: vec![DeviceAsk {
            source: device.path.clone(),
            target: target.into(),
        }],
        ..request()
    };
    let outside = Outside {
        devices: vec![device],
        ..Outside::default()
    };
    decide(policy, &request, &facts(), &HostFacts { outside, ..host() })
}

fn refused(policy: &Policy, device: DeviceFacts) -> Reason {
    match ask(policy, device, "/dev/x").unwrap() {
        Verdict::Deny(reasons) => reasons[0].clone(),
        Verdict::Allow(grants) => panic!("{:?}", grants.host_devices),
    }
}

fn allowing(devices: &str) -> Policy {
    extended(&format!(
        "[[allow]]\ndevices = [{devices}]\nreason = \"r\"\n"
    ))
}

const CARD: &str = "/dev/dri/renderD128";

#[test]
fn devices_are_allowed_by_path_or_name() {
    for rule in [
        r#""/dev/dri/renderD128""#,
        r#""dri/renderD128""#,
        r#""/dev/dri/**""#,
        r#""dri/*""#,
        r#""**""#,
    ] {
        let Verdict::Allow(grants) = ask(&allowing(rule), device(CARD), CARD).unwrap() else {
            panic!("{rule}");
        };
        let granted = &grants.host_devices[0];
        assert_eq!(granted.value.target, CARD);
        assert!(matches!(
            granted.origin,
            Origin::Rule { builtin: false, .. }
        ));
        assert!(grants.notes[0].contains("660"), "{:?}", grants.notes);
    }
    for rule in [r#""/dev/dri""#, r#""renderD128""#, r#""*""#] {
        refused(&allowing(rule), device(CARD));
    }
    // The cure, taken literally.
    let why = refused(&strict(), device(CARD));
    assert_eq!(why.asked, "--device /dev/dri/renderD128:/dev/x");
    let cured = extended(&why.cure[1..].join("\n").replace("...", "because"));
    assert!(matches!(
        ask(&cured, device(CARD), "/dev/x"),
        Ok(Verdict::Allow(_))
    ));
}

#[test]
fn devices_are_given_unasked() {
    let policy = extended(
        "[[give]]\ndevices = [\"/dev/null\", \"dri/renderD128\", \"/dev/dri/renderD128\"]\n\
         reason = \"r\"\n",
    );
    let wanted = wanted_devices(&policy, &request().image, &[]);
    assert_eq!(wanted.len(), 1);
    assert_eq!(
        (wanted[0].source.as_str(), wanted[0].target.as_str()),
        (CARD, CARD)
    );
    let with = |devices: Vec<DeviceFacts>, policy: &Policy| {
        let outside = Outside {
            devices,
            ..Outside::default()
        };
        decide(
            policy,
            &request(),
            &facts(),
            &HostFacts { outside, ..host() },
        )
    };
    let Verdict::Allow(granted) = with(vec![device(CARD)], &policy).unwrap() else {
        panic!("refused");
    };
    assert_eq!(granted.host_devices.len(), 1);
    assert_eq!(granted.devices.value.len(), 6, "{:?}", granted.devices);
    // Not looked at, not decided on; asked for as well, had once.
    assert!(with(vec![], &policy).is_err());
    assert_eq!(wanted_devices(&policy, &request().image, &wanted).len(), 1);
    // What is built in stays.
    let never = extended("[[give]]\ndevices = [\"kvm\"]\nreason = \"r\"\n");
    let Verdict::Deny(why) = with(vec![device("/dev/kvm")], &never).unwrap() else {
        panic!("given");
    };
    assert!(
        why.iter().any(|r| r.asked == "give devices /dev/kvm"),
        "{why:?}"
    );
}

#[test]
fn names_stand_for_paths() {
    // The plain way: both as paths.
    let whole = |text: &str| match text.starts_with('/') || text.starts_with("**") {
        true => text.to_owned(),
        false => format!("/dev/{text}"),
    };
    let texts = [
        "null",
        "/dev/null",
        "dri/card0",
        "/dev/dri/card0",
        "/tmp/null",
        "/dev",
    ];
    for pattern in [
        "null",
        "/dev/null",
        "*",
        "**",
        "/dev/*",
        "/dev/**",
        "dri/**",
        "/dev/dri/**",
        "**/null",
        "/**/null",
        "/tmp/**",
        "/d*/null",
        "n*",
        "/dev",
        "dri",
        "/dev/**/card0",
        "**/card*",
    ] {
        for text in texts {
            let want = pattern::matches(&whole(pattern), &whole(text));
            assert_eq!(
                super::super::devices::fits(pattern, text),
                want,
                "{pattern} {text}"
            );
        }
    }
}

#[test]
fn what_is_denied_is_denied_by_any_name() {
    let all = allowing(r#""**""#);
    for path in [
        "/dev/kvm",
        "/dev/mem",
        "/dev/fuse",
        "/dev/kmsg",
        "/dev/console",
        "/dev/tty1",
        "/dev/input/event0",
        "/dev/cpu/0/msr",
        "/dev/loop-control",
        "/dev/vcs1",
        "/dev/uinput",
    ] {
        assert!(refused(&all, device(path)).cure.is_empty(), "{path}");
    }
    for denied in [r#""dri/**""#, r#""/dev/dri/**""#, r#""dri/renderD128""#] {
        let policy = extended(&format!(
            "[[allow]]\ndevices = [\"**\"]\nreason = \"r\"\n\
             [[deny]]\ndevices = [{denied}]\nreason = \"no\"\n"
        ));
        refused(&policy, device(CARD));
    }
    // What is given by name is denied by path as well.
    let policy = extended("[[deny]]\ndevices = [\"/dev/tty\"]\nreason = \"no\"\n");
    let had = grants(&policy, &request(), &facts(), &host()).devices.value;
    assert!(
        !had.contains(&"tty".to_owned()) && had.contains(&"null".to_owned()),
        "{had:?}"
    );
}

#[test]
fn a_node_is_the_device_of_its_name() {
    let all = allowing(r#""**""#);
    let with = |change: &dyn Fn(&mut DeviceFacts)| {
        let mut it = device(CARD);
        change(&mut it);
        refused(&all, it)
    };
    let why = with(&|d| d.name = Some("mem".into()));
    assert!(why.why.ends_with("which is /dev/mem"), "{why:?}");
    with(&|d| d.name = None);
    with(&|d| d.character = false);
    with(&|d| d.path = "/tmp/dev/dri/renderD128".into());
}

#[test]
fn targets_are_below_dev_and_free() {
    let all = allowing(r#""**""#);
    for target in [
        "/x",
        "dev/x",
        "/dev",
        "/dev/",
        "/dev/../x",
        "/dev/null",
        "/dev/pts/3",
        "/dev/shm/x",
        "/dev/fd/3",
        "/dev//tty",
        "/device",
    ] {
        assert!(ask(&all, device(CARD), target).is_err(), "{target}");
    }
    assert!(ask(&all, device(CARD), "/dev/ttyS0").is_ok());
    let mut twice = request();
    let one = DeviceAsk {
        source: CARD.into(),
        target: CARD.into(),
    };
    twice.devices = vec![one.clone(), one];
    let mut host = host();
    assert!(decide(&all, &twice, &facts(), &host).is_err());
    host.outside.devices = vec![device(CARD), device(CARD)];
    assert!(decide(&all, &twice, &facts(), &host).is_err());
}
