//! `lazaret policy import`: what podman and skopeo obey, as a policy of lazaret's, held against what
//! Debian's skopeo itself takes and refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers fail by panicking"
)]

mod support;

#[path = "support/signing.rs"]
mod signing;

#[path = "policy_import/skopeo.rs"]
mod skopeo;

use std::os::unix::fs::PermissionsExt as _;
use support::{Home, Ran};

fn import(home: &Home, args: &[&str]) -> Ran {
    let line = ["policy", "import"].iter().chain(args);
    home.lazaret(line).run()
}

/// Writes a file with mode 0600 below the home's root.
fn file(home: &Home, name: &str, text: &str) -> String {
    let path = home.root().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The policy that Debian's golang-github-containers-common installs.
const DEBIAN: &str = "{\n    \"default\": [\n        {\n            \"type\": \"insecureAcceptAnything\"\n        }\n    ]\n}\n";

/// containers-policy.json(5)'s example of a reasonably locked-down system, with names of our own.
const LOCKED: &str = r#"{
  "default": [{"type": "reject"}],
  "transports": {
    "docker": {
      "docker.io/lab": [{"type": "insecureAcceptAnything"}],
      "docker.io/library/busybox": [{"type": "insecureAcceptAnything"}],
      "*.project.example": [{"type": "insecureAcceptAnything"}],
      "host.example:5000/ns/full": [{"type": "sigstoreSigned", "keyPath": "KEY"}],
      "host.example:5000/ns/repo": [{"type": "sigstoreSigned", "keyPath": "KEY",
        "signedIdentity": {"type": "matchRepository"}}],
      "host.example:5000/vendor": [
        {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/vendor.gpg",
         "signedIdentity": {"type": "exactRepository", "dockerRepository": "vendor.example/a"}},
        {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/reviewer.gpg"}]
    },
    "dir": {"": [{"type": "insecureAcceptAnything"}]},
    "atomic": {"host.example:5000/official": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k.gpg"}]}
  }
}"#;

#[test]
fn debians_policy_comes_over_whole() {
    let home = Home::new();
    let source = file(&home, "policy.json", DEBIAN);
    let made = import(&home, &["--policy", &source]).ok();
    assert!(
        made.err()
            .contains("note: insecureAcceptAnything is written as"),
        "{made}"
    );
    let made = file(&home, "made.toml", &made.out());
    home.lazaret(["policy", "check", &made])
        .run()
        .ok()
        .says("ok");
    // It takes nothing that `strict` would not take.
    let diff = home.lazaret(["policy", "diff", "strict", &made]).run();
    assert!(
        !diff
            .out()
            .lines()
            .any(|line| line.starts_with("+ ") && !line.contains("lets more")),
        "{diff}"
    );
    // The same file as this machine has it.
    if let Ok(installed) = std::fs::read_to_string("/etc/containers/policy.json")
        && installed.trim() == DEBIAN.trim()
    {
        import(&home, &[])
            .ok()
            .says("/etc/containers/policy.json, default");
    }
}

#[test]
fn what_comes_over_and_what_does_not_is_told() {
    let home = Home::new();
    let signer = signing::Signer::new(signing::How::P256);
    let key = file(
        &home,
        "lab.pub",
        std::str::from_utf8(&signer.public).unwrap(),
    );
    let source = file(&home, "policy.json", &LOCKED.replace("KEY", &key));
    let registries = home.root().join("registries.d");
    file(
        &home,
        "registries.d/a.yaml",
        "docker:\n  host.example:5000/ns:\n    use-sigstore-attachments: true\n    lookaside: https://x.example\n",
    );
    file(&home, "registries.d/b.yml", "[ not looked at");
    let args = [
        "--policy",
        &source,
        "--registries-d",
        registries.to_str().unwrap(),
    ];
    let made = import(&home, &args).exits(1);
    let (out, err) = (made.out(), made.err());
    for rule in [
        "image = [\"**\"]\naccept = \"reject\"",
        "image = [\"oci:**\", \"oci-archive:**\", \"docker-archive:**\"]\naccept = \"reject\"",
        "image = [\"docker.io/lab/**\"]\naccept = \"tofu\"",
        "image = [\"docker.io/library/busybox/**\"]\naccept = \"tofu\"",
        "image = [\"*.project.example/**\", \"*.project.example:*/**\"]\naccept = \"tofu\"",
        &format!(
            "image = [\"host.example:5000/ns/full/**\"]\naccept = {{ signed = [\"{key}\"], names = \"exact\" }}"
        ),
        &format!(
            "image = [\"host.example:5000/ns/repo/**\"]\naccept = {{ signed = [\"{key}\"], names = \"repository\" }}"
        ),
        "image = [\"host.example:5000/vendor/**\"]\naccept = \"reject\"",
    ] {
        assert!(
            out.contains(&format!("[[trust]]\n{rule}\nreason = \"{source}, ")),
            "{rule}\n{made}"
        );
    }
    assert_eq!(out.matches("[[trust]]").count(), 8, "{made}");
    for line in [
        "note: transports.dir: lazaret takes no images from there",
        "note: transports.atomic: lazaret takes no images from there",
        "a.yaml: lookaside of host.example:5000/ns is not used",
        "note: not mapped: transports.docker[\"host.example:5000/vendor\"]: signedBy: signatures by GPG are not read",
    ] {
        assert!(err.contains(line), "{line}\n{made}");
    }
    assert!(!err.contains("use-sigstore-attachments"), "{made}");
    assert_eq!(err.matches("not mapped").count(), 1, "{made}");
    assert_eq!(out.matches("# not mapped").count(), 1, "{made}");
    // It is a policy, and says what its source said.
    let policy = file(&home, "made.toml", &out);
    home.lazaret(["policy", "check", &policy])
        .run()
        .ok()
        .prints(&format!("{policy}: ok\n"));
    let cases = [
        ("docker.io/lab/x:1", "", true),
        ("docker.io/labs/x:1", "", false),
        ("busybox", "", true),
        ("redis", "", false),
        ("a.b.project.example:8/x", "", true),
        ("project.example/x", "", false),
        (
            "host.example:5000/ns/full:1",
            "host.example:5000/ns/full:1",
            true,
        ),
        (
            "host.example:5000/ns/full:1",
            "host.example:5000/ns/full",
            false,
        ),
        ("host.example:5000/ns/full:1", "", false),
        (
            "host.example:5000/ns/repo:1",
            "host.example:5000/ns/repo",
            true,
        ),
        (
            "host.example:5000/vendor/a:1",
            "host.example:5000/vendor/a:1",
            false,
        ),
        ("oci:/srv/x", "", false),
    ];
    let mut table = "version = 1\n".to_owned();
    for (image, named, fine) in cases {
        let signed = match named {
            "" => String::new(),
            named => format!("image = {{ signed = [\"lab.pub\"], named = \"{named}\" }}\n"),
        };
        let expect = if fine { "allow" } else { "deny" };
        table += &format!("[[case]]\nrun = \"{image}\"\nexpect = \"{expect}\"\n{signed}");
    }
    let table = file(&home, "table.toml", &table);
    home.lazaret(["policy", "test", "--policy", &policy, &table])
        .run()
        .ok();
    // Without registries.d podman would find no signature.
    let empty = home.root().join("empty");
    std::fs::create_dir(&empty).unwrap();
    import(
        &home,
        &[
            "--policy",
            &source,
            "--registries-d",
            empty.to_str().unwrap(),
        ],
    )
    .exits(1)
    .complains("does not say use-sigstore-attachments: true");
}

#[test]
fn files_are_where_the_manuals_say() {
    let home = Home::new();
    let own = home.root().join("home/.config/containers");
    let source = DEBIAN.replace("insecureAcceptAnything", "reject");
    file(&home, "home/.config/containers/policy.json", &source);
    file(
        &home,
        "home/.config/containers/registries.d/x.yaml",
        "default-docker:\n  lookaside: https://l.example\n",
    );
    let made = import(&home, &[]).ok();
    assert!(
        made.out()
            .contains(own.join("policy.json").to_str().unwrap()),
        "{made}"
    );
    assert!(
        made.err().contains("x.yaml: lookaside of default-docker"),
        "{made}"
    );
    // A link is followed, as podman does; what is no file is not waited for.
    let linked = home.path("linked.json");
    std::os::unix::fs::symlink(own.join("policy.json"), &linked).unwrap();
    import(&home, &["--policy", linked.to_str().unwrap()]).ok();
    let fifo = home.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    import(&home, &["--policy", fifo.to_str().unwrap()])
        .exits(125)
        .complains("no regular file");
    import(&home, &["--policy", "none.json"])
        .exits(125)
        .complains("none.json");
    import(&home, &["--registries-d", "none.d"])
        .exits(125)
        .complains("none.d");
    file(
        &home,
        "home/.config/containers/registries.d/y.yaml",
        "docker: &x [*x]",
    );
    import(&home, &[]).exits(125).complains("y.yaml");
}

#[test]
fn what_is_there_is_not_written_over() {
    let home = Home::new();
    let source = file(&home, "policy.json", DEBIAN);
    let args = ["--policy", &source, "-o", "sub/made.toml"];
    import(&home, &args).ok().prints("sub/made.toml\n");
    let made = home.path("sub/made.toml");
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&made).unwrap();
    std::fs::write(&made, "mine").unwrap();
    import(&home, &args)
        .exits(125)
        .complains("is there already");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "mine");
    std::fs::remove_file(&made).unwrap();
    std::os::unix::fs::symlink("/nonexistent/x", &made).unwrap();
    import(&home, &args)
        .exits(125)
        .complains("is there already");
    std::fs::remove_file(&made).unwrap();
    // Of several at once one writes it, whole, and the others say so.
    let runs: Vec<_> = (0..6)
        .map(|_| {
            let line = ["policy", "import"].iter().chain(&args);
            home.lazaret(line).spawn()
        })
        .collect();
    let ended: Vec<Ran> = runs.into_iter().map(|run| run.wait()).collect();
    let won = ended
        .iter()
        .filter(|ran| ran.out() == "sub/made.toml\n")
        .count();
    assert_eq!(won, 1);
    assert_eq!(std::fs::read_to_string(&made).unwrap(), text);
    assert_eq!(support::list(&home.path("sub")), ["made.toml"]);
    // Nothing is left of what could not be written.
    import(&home, &["--policy", &source, "-o", "/dev/full/x"]).exits(125);
}

/// What comes out may be put in force at once, so a key that others may write is not in it.
#[test]
fn a_key_that_others_may_write_is_not_taken_over() {
    let home = Home::new();
    let signer = signing::Signer::new(signing::How::Ed25519);
    let key = file(
        &home,
        "lab.pub",
        std::str::from_utf8(&signer.public).unwrap(),
    );
    let text = format!(r#"{{"default": [{{"type": "sigstoreSigned", "keyPath": "{key}"}}]}}"#);
    let source = file(&home, "policy.json", &text);
    let made = import(&home, &["--policy", &source]).ok();
    assert!(
        made.out().contains(&format!(
            "image = [\"**\"]\naccept = {{ signed = [\"{key}\"]"
        )),
        "{made}"
    );
    assert!(
        made.out().contains(
            "\"oci:**\", \"oci-archive:**\", \"docker-archive:**\"]\naccept = \"reject\""
        ),
        "{made}"
    );
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o666)).unwrap();
    let made = import(&home, &["--policy", &source]).exits(1);
    assert!(made.err().contains("others may write"), "{made}");
    assert!(!made.out().contains("signed = ["), "{made}");
}

/// Any of several keys is enough, whatever their kinds.
#[test]
fn keys_of_every_kind_come_over() {
    let home = Home::new();
    let keys: Vec<String> = signing::How::ALL
        .into_iter()
        .map(|how| {
            let signer = signing::Signer::new(how);
            let text = std::str::from_utf8(&signer.public).unwrap();
            file(&home, &format!("{how:?}.pub"), text)
        })
        .collect();
    let listed = serde_json::to_string(&keys).unwrap();
    let text = format!(r#"{{"default": [{{"type": "sigstoreSigned", "keyPaths": {listed}}}]}}"#);
    let source = file(&home, "policy.json", &text);
    let made = import(&home, &["--policy", &source]).ok().out();
    let listed = format!("signed = [\"{}\"]", keys.join("\", \""));
    assert!(made.contains(&listed), "{made}");
    let made = file(&home, "made.toml", &made);
    home.lazaret(["policy", "check", &made]).run().ok();
}
