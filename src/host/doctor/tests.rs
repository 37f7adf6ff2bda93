//! Machines that are well, and each way in which one is not.

use super::*;
use crate::policy::SubIds;

fn host() -> HostFacts {
    let ids = SubIds {
        base: 100_000,
        count: 65536,
    };
    HostFacts {
        kernel: (6, 18),
        architecture: "amd64",
        uid: 1000,
        gid: 1000,
        groups: vec![],
        root: false,
        landlock_abi: 7,
        subids: Some((ids, ids)),
        no_subids: String::new(),
        hard_limits: vec![],
        cgroup: None,
        no_cgroup: "no cgroup is delegated".to_owned(),
        outside: crate::policy::Outside::default(),
        memory: 1 << 30,
    }
}

fn well() -> Snapshot {
    let text = |t: &str| Some(t.to_owned());
    Snapshot {
        max_user_namespaces: text("15000\n"),
        unprivileged_userns_clone: text("1\n"),
        apparmor_restrict: text("0\n"),
        lsm: text("capability,landlock,yama\n"),
        mountinfo: text(
            "22 28 0:20 / /sys rw - sysfs sysfs rw\n23 28 0:21 / /proc rw - proc proc rw\n\
             30 23 0:26 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n\
             31 23 0:27 / /proc/fs/nfsd rw - nfsd nfsd rw\n",
        ),
    }
}

#[test]
fn a_good_machine_has_no_problems() {
    let checkup = checkup(&host(), &well());
    assert_eq!(checkup.problems, []);
    assert!(checkup.is_well());
    assert_eq!(checkup.lines.len(), PROPERTIES.len());
    let open: Vec<_> = checkup
        .lines
        .iter()
        .filter(|l| l.status != Status::Held)
        .map(|l| l.id)
        .collect();
    assert_eq!(open, ["memory"]);
}

#[test]
fn each_obstacle_is_named_with_its_cure() {
    let text = |t: &str| Some(t.to_owned());
    let cases = [
        (
            Snapshot {
                max_user_namespaces: None,
                ..well()
            },
            host(),
            "no user namespaces",
            "CONFIG_USER_NS",
        ),
        (
            Snapshot {
                max_user_namespaces: text("0\n"),
                ..well()
            },
            host(),
            "switched off",
            "max_user_namespaces=15000",
        ),
        (
            Snapshot {
                unprivileged_userns_clone: text("0\n"),
                ..well()
            },
            host(),
            "root only",
            "unprivileged_userns_clone=1",
        ),
        (
            Snapshot {
                apparmor_restrict: text("1\n"),
                ..well()
            },
            host(),
            "AppArmor",
            "/etc/apparmor.d/lazaret",
        ),
        (
            Snapshot {
                mountinfo: text(
                    "1 2 0:1 / /proc rw - proc proc rw\n2 1 0:2 /null /proc/kcore rw - devtmpfs x rw\n",
                ),
                ..well()
            },
            host(),
            "/proc/kcore and 0 more",
            "unmask=ALL",
        ),
        (
            well(),
            HostFacts {
                landlock_abi: 0,
                ..host()
            },
            "not switched on",
            "lsm=landlock,capability",
        ),
        (
            Snapshot {
                lsm: None,
                ..well()
            },
            HostFacts {
                landlock_abi: 0,
                ..host()
            },
            "not switched on",
            "CONFIG_SECURITY_LANDLOCK",
        ),
        (
            well(),
            HostFacts {
                landlock_abi: 0,
                kernel: (5, 12),
                ..host()
            },
            "older than 5.13",
            "5.13",
        ),
        (
            well(),
            HostFacts {
                kernel: (5, 10),
                ..host()
            },
            "no overlay",
            "5.11",
        ),
        (
            well(),
            HostFacts {
                root: true,
                subids: None,
                no_subids: "no ids are free".into(),
                ..host()
            },
            "one id",
            "no ids are free",
        ),
    ];
    for (snapshot, host, what, fix) in cases {
        let checkup = checkup(&host, &snapshot);
        let problem = &checkup.problems[0];
        assert!(problem.what.contains(what), "{what}: {problem:?}");
        assert!(problem.fix.contains(fix), "{fix}: {problem:?}");
        assert!(problem.blocks && !checkup.is_well(), "{what}");
    }
}

#[test]
fn what_only_weakens_does_not_block() {
    let cases = [
        (
            HostFacts {
                landlock_abi: 2,
                kernel: (6, 1),
                ..host()
            },
            "ABI 2): it knows nothing of truncating, TCP",
        ),
        (
            HostFacts {
                kernel: (6, 1),
                ..host()
            },
            "tmpfs of Linux 6.1",
        ),
        (
            HostFacts {
                subids: None,
                no_subids: "apt-get install uidmap".into(),
                ..host()
            },
            "one id",
        ),
    ];
    for (host, what) in cases {
        let checkup = checkup(&host, &well());
        assert!(
            checkup.problems[0].what.contains(what),
            "{:?}",
            checkup.problems
        );
        assert!(checkup.is_well());
    }
    let single = HostFacts {
        subids: None,
        no_subids: "apt-get install uidmap".into(),
        groups: vec![27],
        ..host()
    };
    let lines = checkup(&single, &well()).lines;
    let weak: Vec<_> = lines
        .iter()
        .filter(|l| l.status == Status::Weaker)
        .collect();
    assert_eq!(
        weak.iter().map(|l| l.id).collect::<Vec<_>>(),
        ["ids", "groups", "memory"]
    );
    assert!(
        weak[..2]
            .iter()
            .all(|l| l.remedy == "apt-get install uidmap")
    );
    assert!(
        weak[2].remedy.starts_with("with -m a cgroup"),
        "{}",
        weak[2].remedy
    );
}

#[test]
fn root_is_not_bound_by_what_binds_others() {
    let snapshot = Snapshot {
        unprivileged_userns_clone: Some("0".into()),
        apparmor_restrict: Some("1".into()),
        ..well()
    };
    let root = HostFacts {
        root: true,
        uid: 0,
        ..host()
    };
    assert_eq!(snapshot.problems(&root), []);
}

#[test]
fn hostile_or_empty_texts() {
    let rubbish = Some("\u{fffd}\n \n".to_owned());
    let snapshot = Snapshot {
        mountinfo: rubbish,
        ..well()
    };
    assert_eq!(checkup(&host(), &snapshot).problems, []);
}
