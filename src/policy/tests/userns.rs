//! `--userns keep-id`.

use super::*;

fn keeping() -> Request {
    Request {
        keep_id: true,
        ..request()
    }
}

#[test]
fn keep_id_must_be_allowed_and_possible() {
    let policy = extended("[[allow]]\nuserns = [\"keep-id\"]\nreason = \"r\"\n");
    let granted = grants(&policy, &keeping(), &facts(), &host());
    assert_eq!(granted.id_map.value, IdMapKind::Keep);
    assert!(matches!(
        granted.id_map.origin,
        Origin::Rule { builtin: false, .. }
    ));
    assert_eq!(granted.user.value, "1000:1000");
    assert_eq!(
        granted
            .downgrades
            .iter()
            .filter(|d| d.instead.contains("keep-id"))
            .count(),
        1
    );
    let other = Request {
        user: Some("5".into()),
        ..keeping()
    };
    assert_eq!(grants(&policy, &other, &facts(), &host()).user.value, "5");
    // Not by default; the cure, taken literally.
    let why = reasons(&strict(), &keeping(), &facts(), &host());
    assert_eq!(why[0].asked, "--userns keep-id");
    let cured = extended(&why[0].cure[1..].join("\n").replace("...", "because"));
    grants(&cured, &keeping(), &facts(), &host());
    let denied = "[[allow]]\nuserns = [\"*\"]\nreason = \"r\"\n\
                  [[deny]]\nuserns = [\"keep-id\"]\nreason = \"r\"\n";
    reasons(&extended(denied), &keeping(), &facts(), &host());
    // Never as root, without subordinate ids, or as one of them.
    let root = HostFacts {
        root: true,
        uid: 0,
        gid: 0,
        ..host()
    };
    let among = HostFacts {
        uid: 100_000,
        ..host()
    };
    for host in [root, single(), among] {
        let why = reasons(&policy, &keeping(), &facts(), &host);
        assert!(why.iter().any(|r| r.asked == "--userns keep-id"), "{why:?}");
    }
}
