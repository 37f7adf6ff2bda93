//! Capabilities: given, asked for, dropped; and a set of system calls that a flag narrows.

use super::*;
use crate::plan::seccomp::JsonProfile;

const MANY: &str = "[[allow]]\ncaps = [\"*\"]\nreason = \"a test\"";

fn asks(line: &str) -> Request {
    let mut caps = CapsAsk::default();
    for word in line.split_whitespace() {
        match word.split_at(1) {
            ("+", "ALL") => caps.add_all = true,
            ("-", "ALL") => caps.drop_all = true,
            ("+", name) => caps.add.push(name.to_owned()),
            (_, name) => caps.drop.push(name.to_owned()),
        }
    }
    Request { caps, ..request() }
}

fn had(policy: &Policy, line: &str) -> String {
    let grants = grants(policy, &asks(line), &facts(), &host());
    let names: Vec<_> = grants.caps.value.into_iter().map(|cap| cap.value).collect();
    names.join(" ")
}

#[test]
fn capabilities_need_a_rule_and_some_never_come() {
    let policy = extended("[[give]]\ncaps = [\"CAP_CHOWN\", \"SETUID\"]\nreason = \"r\"");
    assert_eq!(had(&policy, ""), "CHOWN SETUID");
    for cap in [
        "SYS_ADMIN",
        "NET_ADMIN",
        "SYS_PTRACE",
        "MKNOD",
        "BPF",
        "NET_RAW",
    ] {
        let policy = extended(&format!("[[give]]\ncaps = [\"{cap}\"]\nreason = \"r\""));
        let why = reasons(&policy, &request(), &facts(), &host());
        assert!(why[0].rule.starts_with("deny caps"), "{why:?}");
        assert!(why[0].cure.is_empty());
        let why = reasons(
            &extended(MANY),
            &asks(&format!("+{cap}")),
            &facts(),
            &host(),
        );
        assert_eq!(why[0].asked, format!("--cap-add {cap}"));
        assert!(why[0].rule.starts_with("deny caps"), "{why:?}");
        assert!(why[0].cure.is_empty());
    }
    let wrong = "version = 1\nextends = \"strict\"\n[[give]]\ncaps = [\"CHMOD\"]\nreason = \"r\"";
    assert!(user_policy(wrong).is_err());
    assert!(user_policy(&wrong.replace("CHMOD", "*")).is_err());
}

#[test]
fn a_flag_asks_and_the_cure_is_for_one() {
    let why = reasons(&strict(), &asks("+CHOWN"), &facts(), &host());
    assert_eq!(why.len(), 1);
    assert_eq!(why[0].asked, "--cap-add CHOWN");
    assert!(why[0].rule.starts_with("give caps = []"), "{why:?}");
    let cure = why[0].cure.join("\n");
    assert!(cure.contains("caps = [\"CHOWN\"]"), "{cure}");
    let why = reasons(&extended(MANY), &asks("+ALL -ALL"), &facts(), &host());
    assert_eq!(why[0].asked, "--cap-add ALL");
    assert_eq!(why[0].rule, "capabilities are asked for one by one");
}

#[test]
fn adding_and_dropping() {
    let policy = extended(
        "[[give]]\ncaps = [\"CHOWN\", \"SETUID\"]\nreason = \"r\"\n[[allow]]\ncaps = [\"KILL\", \"SETGID\"]\nreason = \"r\"",
    );
    for (line, want) in [
        ("", "CHOWN SETUID"),
        ("+KILL", "CHOWN SETUID KILL"),
        ("+CHOWN +KILL +KILL", "CHOWN SETUID KILL"),
        ("-CHOWN", "SETUID"),
        ("-SYS_ADMIN", "CHOWN SETUID"),
        ("-ALL", ""),
        ("-ALL +KILL +SETGID", "KILL SETGID"),
        ("-ALL +CHOWN", "CHOWN"),
        ("+KILL -KILL", "CHOWN SETUID"),
        ("-ALL +KILL -KILL", ""),
    ] {
        assert_eq!(had(&policy, line), want, "{line}");
    }
    let origins = |line: &str| {
        let caps = grants(&policy, &asks(line), &facts(), &host()).caps;
        let each = caps.value.iter().map(|cap| cap.origin.to_string());
        (each.collect::<Vec<_>>().join(", "), caps.origin.to_string())
    };
    let (each, _) = origins("+KILL -SETUID");
    assert!(each.contains("policy.toml:4, flag --cap-add"), "{each}");
    assert_eq!(origins("-ALL").1, "flag --cap-drop");
}

#[test]
fn what_capabilities_mean_is_told() {
    let policy = extended(MANY);
    let told = |line: &str, user: &str, host: &HostFacts| {
        let request = Request {
            user: Some(user.to_owned()),
            ..asks(line)
        };
        let grants = grants(&policy, &request, &facts(), host);
        let held = grants.downgrades.iter().map(|d| d.instead.clone());
        (
            held.filter(|text| text.starts_with("root inside"))
                .collect::<String>(),
            grants.notes.join("\n"),
        )
    };
    let range = host();
    let single = HostFacts {
        subids: None,
        no_subids: "add subids".into(),
        ..host()
    };
    assert_eq!(told("", "0", &range), (String::new(), String::new()));
    let (held, notes) = told("+SETUID +CHOWN", "0", &range);
    assert_eq!(
        (held.as_str(), notes.as_str()),
        ("root inside holds SETUID CHOWN", "")
    );
    // Nobody but root holds any.
    for user in ["1000", "1000:0", "postgres", "00001"] {
        let (held, notes) = told("+SETUID", user, &range);
        assert_eq!(held, "", "{user}");
        assert!(notes.contains("only root inside holds"), "{user}: {notes}");
    }
    for user in ["root", "0", "0:5", "00"] {
        assert_eq!(told("+SETUID", user, &range).1, "", "{user}");
    }
    // One id, and it is the caller's.
    let (_, notes) = told("+SETUID +CHOWN +NET_BIND_SERVICE", "0", &single);
    assert!(
        notes.contains("SETUID CHOWN can give, become or reach no other"),
        "{notes}"
    );
    assert!(!notes.contains("NET_BIND"));
    assert_eq!(told("+NET_BIND_SERVICE", "0", &single).1, "");
    let (_, notes) = told("+AUDIT_WRITE", "0", &range);
    assert!(
        notes.contains("AUDIT_WRITE outside of user namespaces only"),
        "{notes}"
    );
}

/// A rule gives capabilities to images that become somebody else, which one id cannot be.
#[test]
fn what_one_id_cannot_honour_is_not_given_in_vain() {
    let text = "version = 1\nextends = \"compat\"\n";
    let policy = user_policy(text).unwrap();
    let single = single();
    let reasons = reasons(&policy, &asks(""), &facts(), &single);
    let [reason] = reasons.as_slice() else {
        panic!("{reasons:?}")
    };
    let asked = &reason.asked;
    assert!(
        asked.starts_with("CHOWN SETGID SETUID, which compat.toml:"),
        "{asked}"
    );
    let drop = "--cap-drop CHOWN --cap-drop SETGID --cap-drop SETUID";
    let cure = format!("or, for a command that stays root: {drop}");
    assert_eq!(reason.cure, ["apt install uidmap", &cure]);
    for line in ["-CHOWN -SETGID -SETUID", "-ALL"] {
        grants(&policy, &asks(line), &facts(), &single);
    }
}

fn with_profile(text: &str) -> Request {
    Request {
        seccomp: Some(JsonProfile::parse(text.as_bytes(), "p.json").unwrap()),
        ..request()
    }
}

#[test]
fn a_profile_needs_no_rule_and_is_told() {
    let open = with_profile(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    let got = grants(&strict(), &open, &facts(), &host());
    let narrowed = got.narrowed.unwrap();
    assert_eq!(narrowed.origin, Origin::Flag("--security-opt"));
    assert_eq!(got.syscalls.value, "default");
    assert!(got.notes[0].starts_with("\"p.json\" allows what the set \"default\" refuses"));
    let closed = with_profile(r#"{"defaultAction": "SCMP_ACT_KILL"}"#);
    let error = decide(&strict(), &closed, &facts(), &host()).unwrap_err();
    assert!(error.cause.contains("execve"), "{error}");
    assert!(error.cause.contains("--security-opt seccomp"), "{error}");
}

/// Only granted capabilities count for `includes`, as does only this kernel.
#[test]
fn a_profile_sees_what_is_granted() {
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_KILL"]}}]}"#;
    let policy = extended(MANY);
    for (line, refused) in [("", true), ("+KILL", false)] {
        let request = Request {
            caps: asks(line).caps,
            ..with_profile(text)
        };
        let profile = grants(&policy, &request, &facts(), &host())
            .narrowed
            .unwrap();
        let rules = profile.value.rules().unwrap();
        let answer = rules.rules["kill"].otherwise;
        assert_eq!(!answer.passes(), refused, "{line}");
    }
}
