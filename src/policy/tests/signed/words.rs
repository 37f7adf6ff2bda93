//! What rules about signatures look like: in files, shown, compared, in tables.

use super::*;

#[test]
fn keys_stand_in_files_or_in_the_policy_itself() {
    // A file that is not there yet is asked for, by its path beside the policy.
    match read(&signed("[\"sub/other.pub\"]")).unwrap() {
        Composed::NeedsFile(wanted) => {
            assert_eq!(wanted.path, format!("{FOLDER}/sub/other.pub"));
            assert!(!wanted.system);
            assert_eq!(wanted.said_by, format!("{USER_FILE}:5"));
            assert!(wanted.not_there().cause.contains("there is no file"));
        }
        other => panic!("{other:?}"),
    }
    let inline = signed(&format!("[{{ key = '''{}''' }}]", pem(0)));
    let user = policy(&inline);
    assert_eq!(ask(&user, &[key(0)]), []);
    assert_eq!(ask(&user, &[key(1)]).len(), 1);
    // A project brings its keys in the text that was trusted, or not at all.
    let project = |rules: &str| {
        composed(
            None,
            None,
            Some(&format!(
                "version = 1\nextends = \"never\"\n[[trust]]\nimage = \"**\"\naccept = \"tofu\"\nreason = \"r\"\n{rules}"
            )),
            None,
        )
    };
    assert!(project(&inline).is_ok());
    let error = project(&signed("[\"a.pub\"]")).unwrap_err();
    assert!(error.cause.contains("/src/lazaret.toml:"), "{error}");
    assert!(
        error.cause.contains("keys stand in its policy itself"),
        "{error}"
    );
}

#[test]
fn what_is_not_understood_is_told_with_its_line() {
    let identity =
        |issuer: &str, name: &str| format!("[{{ issuer = \"{issuer}\", identity = \"{name}\" }}]");
    for (rule, words) in [
        ("[]", "nobody is named"),
        ("{ at_least = 2, of = [] }", "nobody is named"),
        (
            "{ at_least = 0, of = [\"a.pub\"] }",
            "at_least = 0 of 1 signers",
        ),
        (
            "{ at_least = 2, of = [\"a.pub\"] }",
            "at_least = 2 of 1 signers",
        ),
        ("{ at_least = 2 }", "there is any_of, or all_of"),
        ("{ of = [\"a.pub\"] }", "there is any_of, or all_of"),
        (
            "{ any_of = [\"a.pub\"], all_of = [\"b.pub\"] }",
            "there is any_of, or all_of",
        ),
        (
            "{ at_least = 1, any_of = [\"a.pub\"] }",
            "there is any_of, or all_of",
        ),
        (
            "{ all_of = [\"a.pub\"], some_of = [] }",
            "unknown key some_of",
        ),
        ("[\"a.pub\", \"a.pub\"]", "the same signer twice"),
        ("[\"a.pub\", \"/srv/a.pub\"]", "the same signer twice"),
        ("[\"/srv/bad.pub\"]", "not one PEM block"),
        ("[\"../a.pub\"]", "is no path"),
        ("[\"\"]", "is no path"),
        ("[\"/\"]", "is no path"),
        ("[1]", "this is no signer"),
        ("1", "these are no signers"),
        (
            "[{ key = \"a.pub\", issuer = \"x\" }]",
            "a signer is a key, or an identity",
        ),
        (
            "[{ issuer = \"https://x\" }]",
            "a signer is a key, or an identity",
        ),
        (
            "[{ identity = \"a@b\" }]",
            "a signer is a key, or an identity",
        ),
        ("[{ keys = \"a.pub\" }]", "unknown key keys"),
        (&identity("**", "a@b"), "issuer = \"**\" is anybody"),
        (&identity("https://**", "a@b"), "is anybody"),
        (&identity("https://x", "*@*"), "is anybody"),
        (&identity("https://x", ""), "is anybody"),
        (
            "[{ issuer = \"https://x\", identity = \"a@b\", root = \"a.pub\" }]",
            "trust root",
        ),
    ] {
        let error = read(&signed(rule)).unwrap_err();
        let told = format!("{} {}", error.cause, error.detail.join(" "));
        assert!(told.contains(words), "{rule}: {told}");
        assert!(told.contains("policy.toml:5:"), "{rule}: {told}");
    }
    for (rule, words) in [
        (
            "attested = { sbom = [\"a.pub\"] }",
            "no attestation is called \"sbom\"",
        ),
        ("attested = [\"slsa\"]", "attested is no table"),
        ("attested = { slsa = [] }", "nobody is named"),
    ] {
        let error = read(&format!("[[require]]\n{rule}\nreason = \"r\"")).unwrap_err();
        assert!(error.cause.contains(words), "{rule}: {}", error.cause);
    }
    let many: Vec<String> = (0..65).map(|at| format!("\"{at}.pub\"")).collect();
    let error = read(&signed(&format!("[{}]", many.join(",")))).unwrap_err();
    assert!(error.cause.contains("65 signers"), "{}", error.cause);
    let accept =
        "[[trust]]\nimage = \"x.y/z\"\naccept = { signed = \"a.pub\", until = 1 }\nreason = \"r\"";
    let error = read(accept).unwrap_err();
    assert!(error.cause.contains("unknown key until"), "{}", error.cause);
}

#[test]
fn what_is_shown_and_compared() {
    let rules = |what: &str| policy(&signed(what));
    let shown = |policy: &Policy| {
        let rules = policy.view().into_iter().flat_map(|level| level.rules);
        let own = rules.filter(|rule| rule.reason == "our CI signs");
        own.map(|rule| rule.lines.concat()).collect::<String>()
    };
    for (what, line) in [
        (
            "\"a.pub\"".to_owned(),
            format!("accept = {{ signed = [{{ key = \"{FOLDER}/a.pub\" }}] }}"),
        ),
        (
            format!(
                "{{ at_least = 1, of = [{{ issuer = \"{ISSUER}\", identity = \"a@b\", root = \"root.json\" }}] }}"
            ),
            format!(
                "accept = {{ signed = {{ at_least = 1, of = [{{ issuer = \"{ISSUER}\", identity = \"a@b\", root = \"{FOLDER}/root.json\" }}] }} }}"
            ),
        ),
    ] {
        let once = rules(&what);
        assert_eq!(shown(&once), line);
        // Read back it is the same.
        let text = line
            .strip_prefix("accept = { signed = ")
            .unwrap()
            .strip_suffix(" }")
            .unwrap();
        assert_eq!(shown(&rules(text)), line);
        assert_eq!(diff(&once, &rules(text)).unwrap(), []);
    }
    let inline = signed(&format!("['''{}''']", pem(2)));
    let line = shown(&policy(&inline));
    let text = line
        .strip_prefix("accept = { signed = ")
        .unwrap()
        .strip_suffix(" }")
        .unwrap();
    assert_eq!(shown(&rules(text)), line);
    // From tofu to signed is narrower; from one signer to another is for a person to judge.
    let changes = diff(&strict(), &rules("\"a.pub\"")).unwrap();
    assert!(
        changes.iter().all(|c| c.about == "trust" && !c.wider),
        "{changes:#?}"
    );
    assert_eq!(changes.len(), 1);
    let changes = diff(&rules("\"a.pub\""), &rules("[\"a.pub\", \"b.pub\"]")).unwrap();
    assert!(changes.len() == 1 && changes[0].wider, "{changes:#?}");
    let changes = diff(&rules("\"a.pub\""), &strict()).unwrap();
    assert!(changes.len() == 1 && changes[0].wider, "{changes:#?}");
    // Explained by the rule.
    let ear = Ear::default();
    let heard = rules("\"a.pub\"").heard_by(&ear);
    assert_eq!(ask(&heard, &[]).len(), 1);
    let heard = ear.take();
    let user = heard[0].answers.iter().find(|a| a.level == "user").unwrap();
    assert!(user.rule.contains("signed = ["), "{user:#?}");
    assert_eq!(user.said, Said::NotAllowed);
}

#[test]
fn a_key_counts_by_its_bytes_in_the_digest_of_a_policy() {
    let digest = |what: &str| policy(&signed(what)).digest();
    let all = [
        "\"a.pub\"",
        "\"b.pub\"",
        "[\"a.pub\", \"b.pub\"]",
        "{ all_of = [\"a.pub\", \"b.pub\"] }",
        "[{ issuer = \"https://x\", identity = \"a@b\" }]",
        "[{ issuer = \"https://x\", identity = \"a@b\", root = \"root.json\" }]",
    ];
    let digests: std::collections::BTreeSet<Digest> = all.iter().map(|what| digest(what)).collect();
    assert_eq!(digests.len(), all.len());
    assert_eq!(digest("\"a.pub\""), digest("\"/srv/a.pub\""));
    assert_eq!(digest("\"a.pub\""), digest(&format!("'''{}'''", pem(0))));
    let attested = |key: &str| {
        policy(&format!(
            "[[require]]\nattested = {{ spdx = \"{key}\" }}\nreason = \"r\"\n"
        ))
        .digest()
    };
    assert_ne!(attested("a.pub"), attested("b.pub"));
    assert_eq!(attested("a.pub"), attested("/srv/a.pub"));
}

#[test]
fn a_table_says_who_has_signed() {
    let policy = policy(&format!(
        "{}[[require]]\nimage = \"registry.lab.example/**\"\nattested = {{ spdx = \"b.pub\" }}\nreason = \"r\"\n",
        signed(&format!(
            "{{ all_of = [\"a.pub\", {{ issuer = \"{ISSUER}\", identity = \"*@lab.example\" }}] }}"
        )),
    ));
    let ana = format!("{{ issuer = \"{ISSUER}\", identity = \"ana@lab.example\" }}");
    for (image, fine) in [
        (
            format!("signed = [\"a.pub\", {ana}], attested = {{ spdx = [\"b.pub\"] }}"),
            true,
        ),
        (format!("signed = [\"a.pub\", {ana}]"), false),
        (
            format!("signed = [{ana}], attested = {{ spdx = [\"b.pub\"] }}"),
            false,
        ),
        (
            format!("signed = [\"c.pub\", {ana}], attested = {{ spdx = [\"b.pub\"] }}"),
            false,
        ),
        (
            format!("signed = [\"a.pub\", {ana}], attested = {{ slsa = [\"b.pub\"] }}"),
            false,
        ),
        (String::new(), false),
    ] {
        let expect = if fine { "allow" } else { "deny" };
        let text = format!(
            "version = 1\n[[case]]\nrun = \"{IMAGE}\"\nexpect = \"{expect}\"\nimage = {{ {image} }}\n"
        );
        let table = Table::parse("t", text.as_bytes()).unwrap();
        let request = Request::of(ImageName::parse(IMAGE).unwrap());
        let outcome = table.cases[0].verdict(&policy, &request, NOW);
        assert_eq!(outcome, Outcome::Passed, "{image}");
    }
}

#[test]
fn programs_of_this_machine_are_signed_by_nobody() {
    let text = "[[trust]]\nimage = \"tool:**\"\naccept = { signed = \"a.pub\" }\nreason = \"r\"\n";
    let tool = ImageName::Tool("/usr/bin/true".to_owned());
    let reason = trusted(&policy(text), &tool, true).unwrap_err();
    assert!(
        reason.cure[0].contains("nobody signs programs"),
        "{reason:#?}"
    );
}

/// `names`: a signature that names another tag, another repository or nothing is none.
#[test]
fn what_must_be_named() {
    let of = |names: &str| {
        format!(
            "[[trust]]\nimage = \"registry.lab.example/**\"\naccept = {{ signed = [\"a.pub\"], names = {names} }}\n\
             reason = \"our CI signs\"\n"
        )
    };
    let naming = |name: &str| Proof {
        reference: Some(name.to_owned()),
        ..key(0)
    };
    let here = "registry.lab.example/grade/judge";
    for (names, named, fine) in [
        ("\"repository\"", Some(here), true),
        (
            "\"repository\"",
            Some("registry.lab.example/grade/judge:2"),
            true,
        ),
        (
            "\"repository\"",
            Some("registry.lab.example/grade/other:1"),
            false,
        ),
        (
            "\"repository\"",
            Some("registry.lab.example:5000/grade/judge:1"),
            false,
        ),
        ("\"repository\"", Some("no/NAME"), false),
        ("\"repository\"", None, false),
        (
            "\"exact\"",
            Some("registry.lab.example/grade/judge:1"),
            true,
        ),
        (
            "\"exact\"",
            Some("registry.lab.example/grade/judge:2"),
            false,
        ),
        ("\"exact\"", Some(here), false),
        ("\"exact\"", None, false),
    ] {
        let policy = policy(&of(names));
        let proof = named.map_or(key(0), naming);
        let reasons = ask(&policy, &[proof]);
        assert_eq!(reasons.is_empty(), fine, "{names} {named:?}");
        if let [reason] = &reasons[..] {
            let told = named.map_or("names no image".to_owned(), |_| "and names ".to_owned());
            assert!(reason.asked.contains(&told), "{}", reason.asked);
            assert!(
                reason.rule.contains(&format!("names = {names}")),
                "{}",
                reason.rule
            );
        }
    }
    // A layout has no repository that could be named.
    let disk = of("\"repository\"").replace("registry.lab.example/**", "oci:/srv/**");
    let evidence = Evidence {
        proofs: vec![naming(here)],
        ..Evidence::default()
    };
    assert_eq!(ask_for(&policy(&disk), "oci:/srv/x", &evidence).len(), 1);
    for names in ["\"any\"", "\"\"", "1", "[\"exact\"]"] {
        assert!(read(&of(names)).is_err(), "{names}");
    }
    // Another word is another policy.
    let digests = ["\"repository\"", "\"exact\""].map(|names| policy(&of(names)).digest());
    assert!(digests[0] != digests[1]);
    assert!(!digests.contains(&policy(&signed("[\"a.pub\"]")).digest()));
}

/// A trust root that vouches for nobody is found before a signature needs it.
#[test]
fn a_root_of_no_use_is_found() {
    let identity = "{ issuer = \"https://lab.example\", identity = \"ana@lab.example\", root = \"root.json\" }";
    let error = policy(&signed(&format!("[{identity}]")))
        .check_roots()
        .unwrap_err();
    assert!(
        error.cause.contains("policy.toml:3") && error.cause.contains("trust root"),
        "{error}"
    );
    let attested = format!("[[require]]\nattested = {{ slsa = [{identity}] }}\nreason = \"r\"\n");
    assert!(policy(&attested).check_roots().is_err());
    let public = identity.replace(", root = \"root.json\"", "");
    assert!(
        policy(&signed(&format!("[{public}]")))
            .check_roots()
            .is_ok()
    );
    assert!(policy(&signed("[\"a.pub\"]")).check_roots().is_ok());
}
