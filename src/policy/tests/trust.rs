//! Whose images come in, and by which names.

use super::files::manifest;
use super::*;

fn digest_of(digit: &str) -> Digest {
    Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap()
}

fn seen(served: &str, manifests: &[&str]) -> Seen {
    Seen {
        served: digest_of(served),
        manifests: manifests.iter().map(|m| digest_of(m)).collect(),
        first: NOW - 86_400,
        last: NOW - 60,
    }
}

/// The reasons against an image whose manifest's digest is all zeros.
fn ask(policy: &Policy, name: &str, seen: Option<&Seen>) -> Vec<Reason> {
    let name = ImageName::parse(name).unwrap();
    match admit(
        policy,
        &name,
        &manifest(1, 1),
        &config(),
        seen,
        &Evidence::default(),
        NOW,
    ) {
        Admit::Go => vec![],
        Admit::Deny(reasons) => reasons,
    }
}

fn trusting(image: &str, accept: &str) -> String {
    format!("[[trust]]\nimage = {image:?}\naccept = {accept:?}\nreason = \"as we say\"\n")
}

#[test]
fn a_moved_tag_is_refused_with_what_it_was() {
    let strict = strict();
    assert_eq!(ask(&strict, "redis:7", None), []);
    assert_eq!(ask(&strict, "redis:7", Some(&seen("0", &["0"]))), []);
    // Served as an index, of which this manifest was a part.
    assert_eq!(ask(&strict, "redis:7", Some(&seen("8", &["9", "0"]))), []);
    let reasons = ask(&strict, "redis:7", Some(&seen("8", &["9"])));
    let [reason] = &reasons[..] else {
        panic!("{reasons:#?}")
    };
    assert_eq!(
        reason.asked,
        format!(
            "docker.io/library/redis:7: was {}, first seen 2026-11-22T00:00:00Z, \
             last seen 2026-11-22T23:59:00Z; now {}",
            digest_of("8"),
            digest()
        )
    );
    assert_eq!(reason.rule, "trust image = [\"**\"], accept = \"tofu\"");
    assert!(
        matches!(&reason.origin, Origin::Rule { file, builtin: true, .. } if file == "strict.toml")
    );
    assert_eq!(
        reason.why,
        "a tag means one digest until someone here accepts another"
    );
    assert_eq!(
        reason.cure,
        [
            "to accept what it means now",
            "lazaret pull --accept docker.io/library/redis:7"
        ]
    );
    // Another one's level does not change who accepts: the record is the user's.
    let system = system_policy(
        "version = 1\nextends = \"never\"\n[[trust]]\nimage = \"**\"\naccept = \"tofu\"\nreason = \"r\"",
    )
    .unwrap();
    let reasons = ask(&system, "redis:7", Some(&seen("8", &[])));
    assert_eq!(reasons.len(), 2);
    assert_eq!(reasons[0].cure, reasons[1].cure);
    // Who accepts any takes it.
    let any = extended(&trusting("docker.io/**", "any"));
    assert_eq!(ask(&any, "redis:7", Some(&seen("8", &[]))), []);
}

#[test]
fn pinned_images_are_named_by_digest() {
    let policy = extended(&trusting("**", "pinned"));
    let own = extended(&format!(
        "{}{}{}",
        trusting("**", "pinned"),
        trusting("oci:**", "pinned"),
        trusting("docker-archive:**", "pinned")
    ));
    let zeros = digest().to_string();
    for name in ["redis:7", "redis", "quay.example/a/b:c"] {
        let reasons = ask(&policy, name, Some(&seen("0", &[])));
        assert_eq!(reasons.len(), 1, "{reasons:#?}");
        let full = ImageName::parse(name).unwrap().to_string();
        assert_eq!(reasons[0].asked, format!("{full} without a digest"));
        assert_eq!(
            reasons[0].rule,
            "trust image = [\"**\"], accept = \"pinned\""
        );
        let cure = format!("{full}@{zeros}");
        assert_eq!(reasons[0].cure, [format!("name it by its digest: {cure}")]);
        // The cure cures.
        assert_eq!(ask(&policy, &cure, None), []);
    }
    // What strict says of layouts is more specific.
    assert_eq!(ask(&policy, "oci:/srv/x:tag", None), []);
    let reasons = ask(&own, "oci:/srv/x:tag", None);
    let cure = reasons[0].cure[0].strip_prefix("name it by its digest: ");
    assert_eq!(cure.unwrap(), format!("oci:/srv/x:tag@{zeros}"));
    assert_eq!(ask(&own, cure.unwrap(), None), []);
    // An archive has no such name: the cure is a rule.
    let reasons = ask(&own, "docker-archive:/srv/x.tar", None);
    let cure = reasons[0].cure[1..].join("\n").replace("...", "r");
    let rules = format!("{}{cure}", trusting("docker-archive:**", "pinned"));
    assert_eq!(
        ask(&extended(&rules), "docker-archive:/srv/x.tar", None),
        []
    );
}

#[test]
fn names_without_a_registry_have_no_tags() {
    let policy = extended(
        &["oci:**", "oci-archive:**", "docker-archive:**", "builtin:*"]
            .map(|image| trusting(image, "tofu"))
            .concat(),
    );
    for name in [
        "oci:/srv/x:tag",
        "oci-archive:/srv/x:t",
        "docker-archive:/srv/x",
        "builtin:probe",
    ] {
        assert_eq!(ask(&policy, name, Some(&seen("8", &[]))), [], "{name}");
        let reject = extended(&trusting(name, "reject"));
        let reasons = ask(&reject, name, None);
        assert_eq!(reasons[0].why, "as we say");
        assert!(reasons[0].rule.ends_with("accept = \"reject\""));
        // A rule beside one of the same image is no cure: the stricter counts.
        let cure = format!("your own rule says so: change it ({USER_FILE}:3)");
        assert_eq!(reasons[0].cure, [cure]);
    }
}

#[test]
fn the_most_specific_rule_decides_and_every_level_must_accept() {
    let user = format!(
        "{}{}{}",
        trusting("docker.io/**", "reject"),
        trusting("docker.io/library/*", "tofu"),
        trusting("docker.io/library/redis", "reject")
    );
    for (name, fine) in [
        ("redis", false),
        ("redis:7", false),
        ("alpine", true),
        ("a/b", false),
        ("quay.example/a/b", true),
    ] {
        assert_eq!(ask(&extended(&user), name, None).is_empty(), fine, "{name}");
    }
    let system = "version = 1\nextends = \"never\"\n[[trust]]\n\
        image = \"docker.io/library/alpine\"\naccept = \"reject\"\nreason = \"r\"";
    let user = format!("version = 1\nextends = \"strict\"\n{user}");
    let both = composed(Some(system), Some(&user), None, None).unwrap();
    let reasons = ask(&both, "alpine", None);
    assert_eq!(
        reasons[0].cure,
        ["only the administrator can allow this (/etc/lazaret/policy.toml:3)"]
    );
    assert_eq!(ask(&both, "redis", None).len(), 1);
    assert_eq!(ask(&both, "quay.example/a/b", None), []);
}

#[test]
fn a_projects_rules_are_the_projects_to_change() {
    let project = format!(
        "version = 1\nextends = \"strict\"\n{}[[require]]\nimage = \"docker.io/library/redis\"\n\
         facts = {{ max_layers = 0 }}\nreason = \"r\"",
        trusting("quay.example/**", "reject")
    );
    let policy = composed(None, None, Some(&project), None).unwrap();
    for (name, line) in [("quay.example/a/b", 3), ("redis", 9)] {
        let cure = format!(
            "the project says so (/src/lazaret.toml:{line}): change it there and run `lazaret \
             policy trust` again"
        );
        assert_eq!(ask(&policy, name, None)[0].cure, [cure]);
    }
}

fn rules() -> impl Strategy<Value = String> {
    let image = prop_oneof![
        Just("**"),
        Just("docker.io/**"),
        Just("docker.io/library/*"),
        Just("docker.io/library/a"),
        Just("docker.io/library/a:latest"),
        Just("quay.example/**"),
    ];
    let accept = prop_oneof![Just("any"), Just("pinned"), Just("tofu"), Just("reject")];
    let rule = (image, accept).prop_map(|(image, accept)| trusting(image, accept));
    prop::collection::vec(rule, 0..4).prop_map(|rules| rules.concat())
}

proptest! {
    /// What a level above refuses, no level below lets in; and all that every level lets in comes in.
    #[test]
    fn a_wider_level_never_yields_more(
        above in rules(), below in rules(),
        name in prop_oneof![Just("a".to_owned()), Just("b:1".to_owned()), Just(format!("a@{}", digest())), Just("quay.example/x".to_owned())],
        moved in any::<bool>(),
    ) {
        let record = seen(if moved { "8" } else { "0" }, &[]);
        let seen = (!name.contains('@')).then_some(&record);
        let system = format!("version = 1\nextends = \"never\"\n{above}");
        let user = format!("version = 1\nextends = \"strict\"\n{below}");
        let compose = |system, user| composed(system, user, None, None).unwrap();
        let both = ask(&compose(Some(system.as_str()), Some(user.as_str())), &name, seen);
        let one = ask(&compose(None, Some(user.as_str())), &name, seen);
        // Strict takes every tag that has not moved.
        let other = ask(&compose(Some(system.as_str()), None), &name, seen);
        let strict = ask(&compose(None, None), &name, seen);
        prop_assert_eq!(both.len(), one.len() + other.len() - strict.len());
        prop_assert!(both.iter().all(|r| one.contains(r) || other.contains(r)));
        prop_assert!(one.iter().all(|r| both.contains(r)));
    }

    /// Which of the rules is written first makes no difference where they are not equally specific.
    #[test]
    fn the_order_of_rules_does_not_matter(accepts in prop::collection::vec(prop_oneof![Just("any"), Just("pinned"), Just("tofu"), Just("reject")], 3), turn in 0..3usize) {
        let images = ["docker.io/**", "docker.io/library/*", "docker.io/library/a"];
        let mut rules: Vec<_> = images.iter().zip(&accepts).map(|(i, a)| trusting(i, a)).collect();
        let verdict = |rules: &[String]| {
            let mut why: Vec<_> = ["a", "b", "c/d"].iter().map(|name| {
                ask(&extended(&rules.concat()), name, None).into_iter().map(|r| r.rule).collect::<Vec<_>>()
            }).collect();
            why.sort();
            why
        };
        let before = verdict(&rules);
        rules.rotate_left(turn);
        prop_assert_eq!(verdict(&rules), before);
    }
}
