//! Limits of processes: what is given, asked for and refused.

use super::*;

fn ask(which: Which, soft: u64, hard: u64) -> Request {
    Request {
        ulimits: vec![Ulimit { which, soft, hard }],
        ..request()
    }
}

fn ulimit(policy: &Policy, request: &Request, which: Which) -> Option<Granted<Ulimit>> {
    let granted = grants(policy, request, &facts(), &host());
    granted.ulimits.into_iter().find(|u| u.value.which == which)
}

#[test]
fn less_may_be_asked_for_and_more_may_not() {
    let given = ulimit(&strict(), &request(), Which::Nofile).unwrap();
    assert_eq!((given.value.soft, given.value.hard), (65536, 65536));
    assert!(given.origin.to_string().starts_with("strict.toml:"));
    let less = ulimit(&strict(), &ask(Which::Nofile, 10, 20), Which::Nofile).unwrap();
    assert_eq!((less.value.soft, less.value.hard), (10, 20));
    assert_eq!(less.origin, Origin::Flag("--ulimit"));
    let more = ask(Which::Nofile, 10, 65537);
    let why = reasons(&strict(), &more, &facts(), &host());
    assert_eq!(why[0].rule, "give limits = { nofile = 65536 }");
    assert_eq!(why[0].asked, "--ulimit nofile=10:65537");
    // The cure cures, numbers as numbers.
    assert!(why[0].cure.contains(&"limits = { nofile = 65537 }".into()));
    let policy = extended("[[allow]]\nlimits = { nofile = 65537 }\nreason = \"r\"");
    assert!(ulimit(&policy, &more, Which::Nofile).is_some());
}

#[test]
fn what_no_rule_speaks_of_is_bounded_by_the_caller() {
    assert_eq!(ulimit(&strict(), &request(), Which::Fsize), None);
    let none = ulimit(&strict(), &ask(Which::Fsize, 0, u64::MAX), Which::Fsize);
    assert_eq!(none.unwrap().value.soft, 0);
    let mut poor = host();
    poor.hard_limits.push((Which::Memlock, 65536));
    let why = reasons(&strict(), &ask(Which::Memlock, 1, 65537), &facts(), &poor);
    assert!(why[0].rule.contains("memlock: 65536"), "{why:?}");
    assert!(why[0].cure[0].contains("65536"));
    grants(&strict(), &ask(Which::Memlock, 1, 65536), &facts(), &poor);
}

#[test]
fn rules_set_every_limit_in_its_own_unit() {
    let policy = extended(
        "[[give]]\nlimits = { fsize = \"1MiB\", cpu = \"2m\", stack = \"8MiB\", as = \"1GiB\", \
         data = \"1GiB\", memlock = \"64KiB\", msgqueue = \"800KiB\", sigpending = 100 }\nreason = \"r\"",
    );
    let granted = grants(&policy, &request(), &facts(), &host());
    let of = |which| {
        let found = granted.ulimits.iter().find(|u| u.value.which == which);
        found.unwrap().value.hard
    };
    assert_eq!(of(Which::Fsize), 1 << 20);
    assert_eq!(of(Which::Cpu), 120);
    assert_eq!(of(Which::Sigpending), 100);
    assert_eq!(of(Which::Memlock), 65536);
    let more = ask(Which::Cpu, 121, 121);
    let why = reasons(&policy, &more, &facts(), &host());
    assert!(why[0].cure.contains(&"limits = { cpu = \"121s\" }".into()));
    for bad in ["nofile = 0", "cpu = \"0s\"", "fsize = \"0\"", "as = 5"] {
        let text = format!(
            "version = 1\nextends = \"strict\"\n[[give]]\nlimits = {{ {bad} }}\nreason = \"r\""
        );
        assert!(user_policy(&text).is_err(), "{bad}");
    }
}

#[test]
fn processes_are_the_fewest_that_were_asked_for() {
    let pids = |request: &Request| grants(&strict(), request, &facts(), &host()).pids;
    let mut both = ask(Which::Nproc, 5, 50);
    assert_eq!(pids(&both).value, 50);
    both.pids_limit = Some(40);
    assert_eq!(pids(&both).value, 40);
    assert_eq!(pids(&both).origin, Origin::Flag("--pids-limit"));
    both.pids_limit = Some(u64::MAX);
    let why = reasons(&strict(), &both, &facts(), &host());
    assert_eq!(why[0].asked, "--pids-limit unlimited");
    assert!(why[0].rule.contains("pids = "), "{why:?}");
}

#[test]
fn a_required_limit_is_held_by_a_rule_or_a_flag() {
    let policy = extended("[[require]]\nlimits = [\"cpu\", \"nofile\"]\nreason = \"r\"");
    let why = reasons(&policy, &request(), &facts(), &host());
    assert_eq!(why.len(), 1, "{why:?}");
    assert_eq!(why[0].cure, ["--ulimit sets one"]);
    grants(&policy, &ask(Which::Cpu, 1, 1), &facts(), &host());
}
