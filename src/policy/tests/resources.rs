//! Memory, processors, time, output and disk: what is given, asked for, held and refused.

use super::*;

fn asked(resources: ResourcesAsk) -> Request {
    Request {
        resources,
        ..request()
    }
}

/// A machine whose cgroup has these controllers.
fn delegated(controllers: &[&str]) -> HostFacts {
    HostFacts {
        cgroup: Some(Cgroup {
            folder: "/sys/fs/cgroup/x".to_owned(),
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
            leave: true,
        }),
        ..host()
    }
}

fn resources(request: &Request, host: &HostFacts) -> Resources {
    grants(&strict(), request, &facts(), host).resources
}

#[test]
fn memory_is_always_held_and_a_cgroup_is_for_who_asks() {
    let given = resources(&request(), &delegated(&["memory"]));
    assert_eq!(given.memory.as_ref().unwrap().value, 2 << 30);
    assert_eq!(given.swap.as_ref().unwrap().value, 0);
    assert_eq!(given.cgroup, None, "nobody asked");
    let ask = asked(ResourcesAsk {
        memory: Some(64 << 20),
        ..ResourcesAsk::default()
    });
    let held = resources(&ask, &delegated(&["memory"]));
    assert!(held.by_cgroup("memory"));
    assert_eq!(held.memory.unwrap().origin, Origin::Flag("--memory"));
    // Without one the supervisor looks itself.
    let sampled = resources(&ask, &host());
    assert_eq!(sampled.memory.unwrap().value, 64 << 20);
    assert_eq!(sampled.cgroup, None);
    let more = asked(ResourcesAsk {
        memory: Some(3 << 30),
        ..ResourcesAsk::default()
    });
    let why = reasons(&strict(), &more, &facts(), &host());
    assert_eq!(why[0].asked, "--memory 3GiB");
    assert_eq!(why[0].rule, "give limits = { memory = \"2GiB\" }");
}

#[test]
fn what_only_a_cgroup_holds_is_refused_without_one() {
    let cpus = asked(ResourcesAsk {
        cpus: Some(1500),
        ..ResourcesAsk::default()
    });
    let swap = asked(ResourcesAsk {
        memory: Some(1 << 30),
        swap: Some(1 << 30),
        ..ResourcesAsk::default()
    });
    for (ask, controller) in [(&cpus, "cpu"), (&swap, "memory")] {
        let why = reasons(&strict(), ask, &facts(), &host());
        assert_eq!(why.len(), 1, "{why:?}");
        assert_eq!(why[0].why, "no cgroup is delegated");
        assert!(why[0].cure[0].contains("systemd-run --user --scope -p Delegate=yes"));
        let why = reasons(&strict(), ask, &facts(), &delegated(&["pids"]));
        let lacks = format!("the cgroup /sys/fs/cgroup/x has no controller {controller}");
        assert_eq!(why[0].why, lacks);
        let held = resources(ask, &delegated(&[controller]));
        assert!(held.by_cgroup(controller));
    }
    // Swap that is memory needs none.
    let none = asked(ResourcesAsk {
        memory: Some(1 << 30),
        swap: Some(0),
        ..ResourcesAsk::default()
    });
    assert_eq!(resources(&none, &host()).swap.unwrap().value, 0);
}

#[test]
fn what_is_only_given_and_not_held_is_told() {
    let policy = extended("[[give]]\nlimits = { cpus = 1.5, swap = \"1GiB\" }\nreason = \"r\"");
    let granted = grants(&policy, &request(), &facts(), &host());
    assert_eq!(granted.resources.cpus, None);
    assert_eq!(granted.resources.swap.unwrap().value, 0);
    let told = granted.downgrades.iter();
    assert!(told.clone().any(|d| d.property == "1.5 processors at once"));
    let granted = grants(
        &policy,
        &request(),
        &facts(),
        &delegated(&["cpu", "memory"]),
    );
    assert_eq!(granted.resources.cpus.unwrap().value, 1500);
    assert_eq!(granted.resources.swap.unwrap().value, 1 << 30);
}

#[test]
fn rules_and_flags_of_every_limit() {
    let policy = extended(
        "[[give]]\nlimits = { cpu_time = \"1m\", output = \"1MiB\", disk = \"8MiB\" }\nreason = \"r\"\n\
         [[deny]]\nlimits = { cpu_time = \"2m\", output = \"2MiB\", disk = \"16MiB\" }\nreason = \"r\"",
    );
    let granted = grants(&policy, &request(), &facts(), &host());
    let resources = &granted.resources;
    assert_eq!(resources.cpu_time.as_ref().unwrap().value.as_secs(), 60);
    assert_eq!(resources.output.as_ref().unwrap().value, 1 << 20);
    assert_eq!(granted.tmp.value, 8 << 20, "its size is that of the tmpfs");
    let less = asked(ResourcesAsk {
        cpu_time: Some(Duration::from_millis(1500)),
        output: Some(5),
        disk: Some(1 << 20),
        ..ResourcesAsk::default()
    });
    let granted = grants(&policy, &less, &facts(), &host());
    assert_eq!(granted.resources.output.unwrap().value, 5);
    assert_eq!(granted.tmp.value, 1 << 20);
    let more = asked(ResourcesAsk {
        cpu_time: Some(Duration::from_millis(120_001)),
        output: Some((2 << 20) + 1),
        disk: Some((16 << 20) + 1),
        ..ResourcesAsk::default()
    });
    let why = reasons(&policy, &more, &facts(), &host());
    assert_eq!(why.len(), 3, "{why:?}");
    // On disk nobody holds it.
    let kept = Request { rm: false, ..less };
    let why = reasons(&policy, &kept, &facts(), &host());
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(why[0].cure[0].starts_with("--rm"), "{why:?}");
}

#[test]
fn what_must_be_held_is_or_nothing_runs() {
    let require =
        |limits: &str| extended(&format!("[[require]]\nlimits = [{limits}]\nreason = \"r\""));
    let held = require("\"memory\", \"swap\", \"core\", \"disk\"");
    grants(&held, &request(), &facts(), &host());
    for (limit, cure) in [
        ("cpus", "--cpus"),
        ("cpu_time", "--cpu-time"),
        ("output", "--output-limit"),
    ] {
        let why = reasons(
            &require(&format!("\"{limit}\"")),
            &request(),
            &facts(),
            &host(),
        );
        assert_eq!(why.len(), 1, "{why:?}");
        assert!(why[0].cure[0].starts_with(cure), "{why:?}");
    }
    let kept = Request {
        rm: false,
        ..request()
    };
    let why = reasons(&require("\"disk\""), &kept, &facts(), &host());
    assert!(why[0].cure[0].starts_with("--rm"), "{why:?}");
}

#[test]
fn the_cgroup_is_looked_for_where_it_is_of_use() {
    assert!(!wants_cgroup(&strict(), &request()));
    for ask in [
        ResourcesAsk {
            memory: Some(1 << 30),
            ..ResourcesAsk::default()
        },
        ResourcesAsk {
            cpus: Some(1000),
            ..ResourcesAsk::default()
        },
        ResourcesAsk {
            cpu_time: Some(Duration::from_secs(1)),
            ..ResourcesAsk::default()
        },
    ] {
        assert!(wants_cgroup(&strict(), &asked(ask)));
    }
    for limit in ["memory = \"1GiB\"", "cpus = 2", "cpu_time = \"1m\""] {
        let policy = extended(&format!("[[give]]\nlimits = {{ {limit} }}\nreason = \"r\""));
        assert!(wants_cgroup(&policy, &request()), "{limit}");
    }
}
