//! `require facts`: by manifest and config before layers are fetched, by the merged tree after.

use super::files::manifest;
use super::*;

/// A user's policy with these facts, on line 6.
fn requiring(facts: &str) -> Policy {
    extended(&format!(
        "[[require]]\nimage = \"docker.io/**\"\nreason = \"the lab says so\"\nfacts = {{ {facts} }}\n"
    ))
}

fn admitted(policy: &Policy, config: &ImageConfig) -> Vec<Reason> {
    let name = ImageName::parse("redis").unwrap();
    match admit(
        policy,
        &name,
        &manifest(2, 500),
        config,
        None,
        &Evidence::default(),
        NOW,
    ) {
        Admit::Go => vec![],
        Admit::Deny(reasons) => reasons,
    }
}

/// The one reason, which is of the user's rule and says what was found and what is asked.
fn one(reasons: Vec<Reason>, asked: &str, rule: &str) {
    let [reason] = &reasons[..] else {
        panic!("{reasons:#?}")
    };
    assert!(reason.asked.contains(asked), "{reason:#?}");
    assert_eq!(reason.rule, format!("require facts = {{ {rule} }}"));
    assert_eq!(reason.origin.to_string(), format!("{USER_FILE}:6"));
    assert_eq!(reason.why, "the lab says so");
    assert_eq!(
        reason.cure,
        [format!("your own rule requires it ({USER_FILE}:6)")]
    );
    let text = format!("{reason:?}");
    assert!(!text.chars().any(char::is_control), "{text}");
}

#[test]
fn what_manifest_and_config_tell_is_judged_before_layers_come() {
    let image = |change: &dyn Fn(&mut ImageConfig)| {
        let mut config = config();
        change(&mut config);
        config
    };
    let label = |key: &str, value: &str| {
        let mut config = config();
        config.labels.insert(key.into(), value.into());
        config
    };
    let lowest = |digits: &str| {
        let id = Digest::parse(&format!("sha256:{}", digits.repeat(64))).unwrap();
        image(&|c| c.diff_ids = vec![crate::image::DiffId(id), crate::image::DiffId(digest())])
    };
    let zeros = digest().to_string();
    for (facts, config, asked) in [
        ("max_layers = 2".to_owned(), config(), ""),
        ("max_layers = 1".to_owned(), config(), "with 2 layers"),
        ("max_size = \"1000\"".to_owned(), config(), ""),
        (
            "max_size = \"999\"".to_owned(),
            config(),
            "1000 compressed bytes",
        ),
        (
            "users = [\"app\", \"100*\"]".to_owned(),
            image(&|c| c.user = "app:0".into()),
            "",
        ),
        (
            "users = [\"app\", \"100*\"]".to_owned(),
            image(&|c| c.user = "1000".into()),
            "",
        ),
        ("users = [\"app\"]".to_owned(), config(), "with USER root"),
        (
            "users = [\"app\"]".to_owned(),
            image(&|c| c.user = "0:app".into()),
            "with USER root",
        ),
        (
            "users = [\"app\"]".to_owned(),
            image(&|c| c.user = "000".into()),
            "with USER root",
        ),
        (
            "users = [\"1000\"]".to_owned(),
            image(&|c| c.user = "10000".into()),
            "with USER 10000",
        ),
        ("users = []".to_owned(), config(), "with USER root"),
        ("users = [\"0\"]".to_owned(), config(), ""),
        (
            "users = [\"root\"]".to_owned(),
            image(&|c| c.user = "00".into()),
            "",
        ),
        (
            "labels = { \"a.b\" = \"1.*\" }".to_owned(),
            label("a.b", "1.2"),
            "",
        ),
        (
            "labels = { \"a.b\" = \"1.*\" }".to_owned(),
            label("a.b", "\u{1b}]0;2\u{7}"),
            "with the label \"a.b\" = \"\\u{1b}]0;2\\u{7}\"",
        ),
        (
            "labels = { \"a.b\" = \"**\" }".to_owned(),
            config(),
            "without a label \"a.b\"",
        ),
        (format!("base = [\"{zeros}\"]"), lowest("0"), ""),
        (
            format!("base = [\"{zeros}\"]"),
            lowest("1"),
            "whose lowest layer is sha256:1111",
        ),
        (format!("base = [\"{zeros}\"]"), config(), "without layers"),
    ] {
        let reasons = admitted(&requiring(&facts), &config);
        match asked {
            "" => assert_eq!(reasons, [], "{facts}"),
            _ => one(reasons, asked, &facts),
        }
    }
}

#[test]
fn an_image_is_neither_too_old_nor_from_the_future() {
    let policy = requiring("max_age = \"90d\"");
    // NOW is midnight.
    for (created, asked) in [
        (Some("2026-11-22T23:59:59Z"), ""),
        (Some("2026-08-25T00:00:00Z"), ""),
        (Some("2026-08-24T23:59:59Z"), "made 2026-08-24T23:59:59Z"),
        (Some("1970-01-01T00:00:00Z"), "made 1970-01-01T00:00:00Z"),
        (Some("2026-11-23T23:59:59.5+00:00"), ""),
        (Some("2026-11-25T00:00:00Z"), "which is in the future"),
        (Some("9999-01-01T00:00:00Z"), "which is in the future"),
        (Some("yesterday\u{1b}[31m"), "which is no time"),
        (Some(""), "which is no time"),
        (None, "does not say when it was made"),
    ] {
        let mut config = config();
        config.created = created.map(Into::into);
        let reasons = admitted(&policy, &config);
        match asked {
            "" => assert_eq!(reasons, [], "{created:?}"),
            _ => one(reasons, asked, "max_age = \"90d\""),
        }
    }
}

/// Facts of an image whose merged tree was looked at: `paths` are what each pattern finds.
fn with_tree(policy: &Policy, change: impl FnOnce(&mut TreeFacts)) -> ImageFacts {
    let mut image = facts();
    let mut tree = policy
        .facts_wanted(&request().image, &image)
        .nothing_found();
    change(&mut tree);
    image.tree = Some(tree);
    image
}

#[test]
fn what_files_tell_is_judged_by_the_merged_tree() {
    let found = |found: &mut Option<Found>, paths: &[&str]| {
        let found = found.as_mut().unwrap();
        paths.iter().for_each(|path| found.note(path));
    };
    let judge =
        |policy: &Policy, image: &ImageFacts| match decide(policy, &request(), image, &host())
            .unwrap()
        {
            Verdict::Allow(_) => vec![],
            Verdict::Deny(reasons) => reasons,
        };
    // Hidden by an upper layer: every layer's list has it, the merged tree does not.
    let policy = requiring("setuid = \"none\"");
    assert_eq!(judge(&policy, &with_tree(&policy, |_| {})), []);
    let image = with_tree(&policy, |t| found(&mut t.setuid, &["/su"]));
    one(
        judge(&policy, &image),
        "with setuid files: \"/su\"",
        "setuid = \"none\"",
    );
    // Who did not look says what all layers have.
    one(
        judge(&policy, &facts()),
        "\"usr/bin/su\"",
        "setuid = \"none\"",
    );

    let policy = requiring("special = \"none\"");
    assert_eq!(judge(&policy, &with_tree(&policy, |_| {})), []);
    one(
        judge(&policy, &facts()),
        "\"dev/null\"",
        "special = \"none\"",
    );
    let policy = requiring("file_caps = \"none\"");
    assert_eq!(judge(&policy, &facts()), []);
    let mut image = facts();
    image.file_caps.push("/ping".into());
    one(judge(&policy, &image), "\"/ping\"", "file_caps = \"none\"");

    let policy = requiring("world_writable = \"none\"");
    assert_eq!(judge(&policy, &with_tree(&policy, |_| {})), []);
    let image = with_tree(&policy, |t| {
        found(&mut t.world_writable, &["/a", "/b\u{1b}", "/c", "/d", "/e"]);
    });
    one(
        judge(&policy, &image),
        "everybody may write: \"/a\", \"/b\\u{1b}\", \"/c\" and 2 more",
        "world_writable = \"none\"",
    );
    one(
        judge(&policy, &facts()),
        "were not looked at",
        "world_writable = \"none\"",
    );

    let policy = requiring("absent = [\"/root/.ssh/**\"]");
    assert_eq!(judge(&policy, &with_tree(&policy, |_| {})), []);
    let image = with_tree(&policy, |t| t.paths[0].1.note("/root/.ssh", false));
    one(
        judge(&policy, &image),
        "with \"/root/.ssh\"",
        "absent = [\"/root/.ssh/**\"]",
    );
    one(
        judge(&policy, &facts()),
        "were not looked at",
        "absent = [\"/root/.ssh/**\"]",
    );

    let policy = requiring("present = [\"/bin/sh\"]");
    one(
        judge(&policy, &with_tree(&policy, |_| {})),
        "without \"/bin/sh\"",
        "present = [\"/bin/sh\"]",
    );
    let image = with_tree(&policy, |t| t.paths[0].1.note("/bin/sh", true));
    assert_eq!(judge(&policy, &image), []);
    let image = with_tree(&policy, |t| t.paths[0].1.note("/bin/sh", false));
    assert_eq!(judge(&policy, &image).len(), 1, "a device is never made");
    one(
        judge(&policy, &facts()),
        "were not looked at",
        "present = [\"/bin/sh\"]",
    );
}

#[test]
fn a_flag_does_not_get_around_the_users() {
    let policy = requiring("users = [\"app\"]");
    let mut image = facts();
    image.config.user = "app".into();
    let judge = |user: Option<&str>| {
        let asked = Request {
            user: user.map(Into::into),
            ..request()
        };
        match decide(&policy, &asked, &image, &host()).unwrap() {
            Verdict::Allow(_) => vec![],
            Verdict::Deny(reasons) => reasons,
        }
    };
    assert_eq!(judge(None), []);
    assert_eq!(judge(Some("app:app")), []);
    one(judge(Some("0")), "-u 0", "users = [\"app\"]");
    one(judge(Some("0000:app")), "-u 0000:app", "users = [\"app\"]");
    one(judge(Some("")), "-u", "users = [\"app\"]");
}

#[test]
fn only_rules_about_files_want_files() {
    let name = request().image;
    let wanted = |rules: &str| extended(rules).facts_wanted(&name, &facts());
    assert!(strict().facts_wanted(&name, &facts()).is_empty());
    assert!(
        wanted("[[require]]\nimage = \"quay.example/**\"\nfacts = { absent = [\"/x\"] }\nreason = \"r\"")
            .is_empty()
    );
    let some = requiring("setuid = \"none\", file_caps = \"none\", special = \"none\"");
    let some = some.facts_wanted(&name, &facts());
    // No layer has any file capability.
    assert!(some.setuid && !some.file_caps && some.special && !some.world_writable);
    let some = wanted(
        "[[require]]\nfacts = { absent = [\"/b\", \"/a\"], present = [\"/c\"] }\nreason = \"r\"\n\
         [[require]]\nfacts = { absent = [\"/a\"], world_writable = \"none\" }\nreason = \"r\"",
    );
    assert_eq!(some.patterns, ["/a", "/b", "/c"]);
    assert!(some.world_writable && !some.setuid);
}

proptest! {
    /// A requirement more never lets more in.
    #[test]
    fn a_fact_only_takes_away(
        users in prop::option::of(prop::collection::vec("[a-b*0-1]{1,2}", 0..3)),
        label in prop::option::of(("[ab]", "[ab*]{0,2}")),
        age in prop::option::of(1..200u64),
        layers in prop::option::of(0..4u64),
        user in "[a-b0-1]{0,3}", value in "[ab]{0,2}", days in 0..300i64,
    ) {
        let mut facts = Vec::new();
        facts.extend(users.map(|u| format!("users = {u:?}")));
        facts.extend(label.map(|(k, v)| format!("labels = {{ {k} = {v:?} }}")));
        facts.extend(age.map(|a| format!("max_age = \"{a}d\"")));
        facts.extend(layers.map(|n| format!("max_layers = {n}")));
        let mut config = config();
        config.user = user;
        config.labels.insert("a".into(), value);
        config.created = Some(crate::policy::require::time(NOW - days * 86_400));
        let all = admitted(&requiring(&facts.join(", ")), &config);
        let mut alone = 0;
        for fact in &facts {
            alone += admitted(&requiring(fact), &config).len();
        }
        prop_assert_eq!(all.len(), alone);
    }
}
