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
    assert_eq!(grants.tmp.value, (8 << 30) / 100 * 25);
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
