//! `--network`: asked of every level, and what is given up with it.

use super::*;

const ALLOWED: &str = "[[allow]]\nnetwork = [\"host\"]\nreason = \"r\"\n";

fn asked(network: Network) -> Request {
    Request {
        network: Some(network),
        ..request()
    }
}

#[test]
fn the_hosts_is_refused_and_cured_for_this_image() {
    let why = reasons(&strict(), &asked(Network::Host), &facts(), &host());
    assert_eq!(why.len(), 1);
    assert_eq!(why[0].asked, "--network host");
    assert_eq!(why[0].rule, "give network = [\"none\"]");
    assert!(why[0].cure.contains(&"network = [\"host\"]".to_owned()));
    let granted = grants(&extended(ALLOWED), &asked(Network::Host), &facts(), &host());
    assert_eq!(granted.network.value, Network::Host);
    // None needs no rule beyond what gives it.
    let granted = grants(&extended(ALLOWED), &asked(Network::None), &facts(), &host());
    assert_eq!(granted.network.value, Network::None);
    assert_eq!(granted.network.origin, Origin::Flag("--network"));
}

#[test]
fn what_is_given_up_is_told_and_not_listed_as_held() {
    let granted = grants(&extended(ALLOWED), &asked(Network::Host), &facts(), &host());
    let told = |promise: &str| {
        let lines = granted.downgrades.iter();
        lines.filter(|d| d.property == promise).count()
    };
    assert_eq!(told("no packet gets out or in"), 1);
    let network = property::property("network").unwrap();
    assert!(network.holders(&host(), Network::Host).is_empty());
    assert_eq!(told("no abstract socket outside is reachable"), 0);
    let granted = grants(&extended(ALLOWED), &request(), &facts(), &host());
    assert!(granted.downgrades.iter().all(|d| !d.hint.contains("host")));
}

#[test]
fn abstract_sockets_need_a_scope_there() {
    let old = HostFacts {
        landlock_abi: 5,
        kernel: (6, 10),
        ..host()
    };
    let why = reasons(&extended(ALLOWED), &asked(Network::Host), &facts(), &old);
    assert_eq!(why.len(), 1);
    assert!(why[0].asked.contains("no abstract socket"));
    assert!(why[0].cure[0].contains("leave --network host out"));
    grants(&extended(ALLOWED), &asked(Network::None), &facts(), &old);
}
