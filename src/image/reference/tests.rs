use super::*;
use proptest::prelude::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn canonical(text: &str) -> String {
    Reference::parse(text).expect(text).to_string()
}

fn refused(text: &str) -> Error {
    ImageName::parse(text).expect_err(text)
}

#[test]
fn short_names_are_dockers() {
    for (text, full) in [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker:cli", "docker.io/library/docker:cli"),
        ("foo/bar", "docker.io/foo/bar:latest"),
        (
            "index.docker.io/busybox",
            "docker.io/library/busybox:latest",
        ),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("r.example/x/y/z:T_1.0-a", "r.example/x/y/z:T_1.0-a"),
        ("R.Example:5000/x", "r.example:5000/x:latest"),
        ("[2001:db8::1]:5000/x", "[2001:db8::1]:5000/x:latest"),
        ("[::1]/x", "[::1]/x:latest"),
        ("a__b/c---d.e_f", "docker.io/a__b/c---d.e_f:latest"),
        ("registry/x", "docker.io/registry/x:latest"),
    ] {
        assert_eq!(canonical(text), full);
    }
}

#[test]
fn a_digest_needs_no_tag_and_keeps_one() {
    assert_eq!(
        canonical(&format!("a@{DIGEST}")),
        format!("docker.io/library/a@{DIGEST}")
    );
    let both = Reference::parse(&format!("r.example:1/a:t@{DIGEST}")).unwrap();
    assert_eq!(both.tag.as_deref(), Some("t"));
    assert_eq!(both.digest, Some(Digest::of(b"")));
}

#[test]
fn what_docker_refuses_is_refused() {
    let long_path = "a/".repeat(127) + "abcdef";
    for text in [
        "",
        ":",
        "@",
        "/",
        "a/",
        "/a",
        "a//b",
        "a:",
        "a@",
        "a:b:c",
        "a b",
        "a\n",
        "a\u{1b}[m",
        "é",
        "Busybox",
        "Host/x",
        "foo/Bar",
        "r.example/Foo",
        "a..b",
        "a___b",
        "a._b",
        "-a",
        "a-",
        "_a",
        "a_",
        ".a",
        "a.",
        "a:-t",
        "a:.t",
        "a:t/",
        "a:ü",
        "r.example:x/a",
        "r.example:/a",
        "r.example:65536/a",
        ".example/a",
        "r..example/a",
        "-r.example/a",
        "r-.example/a",
        "[::1/a",
        "[::g]/a",
        "[::1]x/a",
        "[0:0::1]/a",
        "[::1]:05000/a",
        "evil.example:0443/a",
        "evil.example:0/a",
        "[::1]:/a",
        "a@sha256:00",
        "a@sha1:00",
        &"f".repeat(64),
        &long_path,
        &"a".repeat(300),
        &format!("a:{}", "t".repeat(129)),
        &format!("a@{DIGEST}@{DIGEST}"),
        &"x/".repeat(5000),
        "a\0b",
        "user:pass@r.example/a",
        "OCI:5000/x",
        "Dir:5000/x",
        "HTTPS:443/x",
    ] {
        refused(text);
    }
    assert!(Reference::parse(&format!("a:{}", "t".repeat(128))).is_ok());
    assert!(Reference::parse(&format!("r.example/{}", "a".repeat(245))).is_ok());
    assert!(Reference::parse(&format!("r.example/{}", "a".repeat(246))).is_err());
    assert!(refused("Busybox").cause.contains("lower case"));
    assert!(refused(&"f".repeat(64)).hint.unwrap().contains("digest"));
    assert_eq!(
        refused(&format!("a@sha512:{}", "0".repeat(128))).kind,
        Kind::Unsupported
    );
}

#[test]
fn a_prefix_is_a_transport() {
    let dir = |path: &str, tag: Option<&str>, digest: Option<Digest>| ImageName::OciDir {
        path: path.into(),
        tag: tag.map(Into::into),
        digest,
    };
    let empty = Some(Digest::of(b""));
    for (text, name) in [
        ("oci:dir", dir("dir", None, None)),
        ("oci:./a/b:stable", dir("./a/b", Some("stable"), None)),
        (
            "oci:/a:docker.io/library/x:latest",
            dir("/a", Some("docker.io/library/x:latest"), None),
        ),
        (&format!("oci:dir@{DIGEST}"), dir("dir", None, empty)),
        (&format!("oci:dir:t@{DIGEST}"), dir("dir", Some("t"), empty)),
        ("oci:a@b", dir("a@b", None, None)),
        ("oci:///a", dir("///a", None, None)),
        ("oci:latest", dir("latest", None, None)),
        ("builtin:probe", ImageName::Builtin("probe".into())),
        (
            "oci-archive:x.tar:v1",
            ImageName::OciArchive {
                path: "x.tar".into(),
                tag: Some("v1".into()),
            },
        ),
        (
            "docker-archive:x.tar:busybox",
            ImageName::DockerArchive {
                path: "x.tar".into(),
                reference: Some(Reference::parse("busybox").unwrap()),
            },
        ),
        (
            "docker.io/library/oci:latest",
            ImageName::Registry(Reference::parse("docker.io/library/oci:latest").unwrap()),
        ),
    ] {
        assert_eq!(ImageName::parse(text).expect(text), name);
        assert_eq!(ImageName::parse(&name.to_string()).unwrap(), name, "{name}");
    }
}

#[test]
fn broken_transports_say_what_is_wrong() {
    for text in [
        "oci:",
        "oci::tag",
        "oci:dir:",
        "oci:dir:@0",
        "oci:dir:a b",
        "oci:dir:a\u{1b}",
        "oci:dir@sha256:0",
        "oci://r.example/x",
        "oci-archive:",
        "docker-archive:",
        "docker-archive:x:",
        "builtin:",
        "docker-archive:x:@0",
        "builtin:../x",
        "builtin:Probe",
        "builtin:a\u{7}",
        "oci:a\0b",
    ] {
        let error = refused(text);
        assert!(
            matches!(error.kind, Kind::Usage | Kind::Malformed),
            "{text}"
        );
        assert!(error.cause.chars().all(|c| !c.is_control()), "{text}");
    }
}

#[test]
fn transports_of_other_tools_get_a_remedy() {
    for text in [
        "docker://busybox",
        "docker-daemon:busybox:latest",
        "containers-storage:busybox",
        "dir:/x",
        "https://r.example/x",
        "http://r.example",
        "sif:x",
        "file:///x",
        "podman://x",
    ] {
        let error = refused(text);
        assert_eq!(error.kind, Kind::Usage);
        assert!(error.hint.is_some(), "{text}");
    }
    assert!(
        refused("docker://a/b:c")
            .hint
            .unwrap()
            .contains("\"a/b:c\"")
    );
}

#[test]
fn hostile_names_are_shown_harmlessly_and_short() {
    let hostile = format!("\u{1b}]0;x\u{7}\u{202e}{}", "y".repeat(4000));
    let error = refused(&hostile);
    assert!(
        error
            .cause
            .chars()
            .all(|c| !c.is_control() && c != '\u{202e}')
    );
    assert!(error.cause.chars().count() < 300);
}

#[test]
fn the_familiar_form_means_the_same() {
    for (text, familiar) in [
        ("busybox", "busybox:latest"),
        ("foo/bar:1", "foo/bar:1"),
        ("r.example/x", "r.example/x:latest"),
        // Shorter, these would be a transport, another registry or somebody else's library.
        ("docker.io/library/oci:x", "library/oci:x"),
        ("docker.io/library/dir:x", "library/dir:x"),
        ("docker.io/localhost/x", "docker.io/localhost/x:latest"),
        ("docker.io/foo.bar/x", "docker.io/foo.bar/x:latest"),
        ("docker.io/library/foo/bar", "library/foo/bar:latest"),
        (
            &format!("docker.io/library/{}@{DIGEST}", "f".repeat(64)),
            &format!("{}@{DIGEST}", "f".repeat(64)),
        ),
    ] {
        let reference = Reference::parse(text).expect(text);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(
            ImageName::parse(familiar).unwrap(),
            ImageName::Registry(reference)
        );
    }
}

fn reference() -> impl Strategy<Value = String> {
    let domain = "(([a-zA-Z0-9]{1,5}(-[a-z0-9]{1,3})?(\\.[a-zA-Z0-9]{1,5}){1,2}|localhost)(:[1-9][0-9]{0,3})?/)?";
    let component = "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}";
    // The first one without dots: alone before a slash it would be a registry.
    let first = "[a-z0-9]{1,4}((_|__|-{1,3})[a-z0-9]{1,3}){0,2}";
    let path = format!("{first}(/{component}){{0,2}}");
    let text =
        format!("{domain}{path}(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,8}})?(@sha256:[0-9a-f]{{64}})?");
    proptest::string::string_regex(&text).unwrap()
}

proptest! {
    #[test]
    fn what_is_displayed_parses_to_the_same(text in reference()) {
        let parsed = Reference::parse(&text).unwrap();
        prop_assert_eq!(&Reference::parse(&parsed.to_string()).unwrap(), &parsed);
        let familiar = ImageName::parse(&parsed.familiar()).unwrap();
        prop_assert_eq!(familiar, ImageName::Registry(parsed));
    }

    #[test]
    fn any_text_that_parses_round_trips(text in "[a-zA-Z0-9:/@._\\[\\]+-]{0,40}|\\PC{0,20}|(oci|oci-archive|docker-archive|builtin):[a-z:@/.]{0,20}") {
        if let Ok(name) = ImageName::parse(&text) {
            prop_assert_eq!(ImageName::parse(&name.to_string()).unwrap(), name);
        }
    }
}

#[test]
fn the_fuzz_seeds_are_honest() {
    for seed in [
        include_str!("../../../fuzz/seeds/reference/registry"),
        include_str!("../../../fuzz/seeds/reference/oci"),
        include_str!("../../../fuzz/seeds/reference/archive"),
    ] {
        ImageName::parse(seed).expect(seed);
    }
}
