//! `lazaret tool`: what rules let a program of the host have.

use super::*;

const HOME: &str = "/home/ana";

fn source(path: &str) -> SourceFacts {
    SourceFacts {
        path: path.to_owned(),
        kind: FileKind::Folder,
        uid: 1000,
        gid: 1000,
        mode: 0o755,
        mounts: vec![(path.to_owned(), "ext4".to_owned())],
        through: None,
    }
}

/// A tool with these binds (flag, path, read-only), of which the last `etc` are names below /etc.
fn asked(binds: &[(&'static str, &str, bool)], etc: usize) -> (Request, HostFacts) {
    let cwd = "/home/ana/project".to_owned();
    let ask = |(flag, path, read_only): &(&'static str, &str, bool)| BindAsk {
        flag,
        source: (*path).to_owned(),
        subpath: None,
        target: (*path).to_owned(),
        read_only: *read_only,
        no_exec: false,
    };
    let request = Request {
        image: ImageName::Tool("/usr/bin/python3.11".to_owned()),
        command: vec!["python3".to_owned()],
        binds: binds.iter().map(ask).collect(),
        keep_id: true,
        tool: Some(ToolAsk {
            program: "/usr/bin/python3".to_owned(),
            links: Vec::new(),
            etc: binds.len() - etc..binds.len(),
            bind: None,
            sha256: None,
            cwd: cwd.clone(),
        }),
        ..request()
    };
    let host = HostFacts {
        outside: Outside {
            cwd,
            homes: vec![HOME.to_owned()],
            own: vec!["/home/ana/.local/share/lazaret".to_owned()],
            sources: binds.iter().map(|(_, path, _)| source(path)).collect(),
            devices: Vec::new(),
        },
        ..host()
    };
    (request, host)
}

fn no_image() -> ImageFacts {
    ImageFacts {
        config: ImageConfig {
            user: String::new(),
            env: Vec::new(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            working_dir: String::new(),
            ..config()
        },
        ..facts()
    }
}

const WHOLE: &[(&str, &str, bool)] = &[
    (ROOT, "/usr", true),
    (CWD, "/home/ana/project", true),
    ("--rw", "/home/ana/project/out", false),
    (ROOT, "/etc/ssl/certs", true),
    (ROOT, "/etc/python3.11", true),
];

#[test]
fn every_mount_has_its_rule() {
    let (request, host) = asked(WHOLE, 2);
    let granted = grants(&strict(), &request, &no_image(), &host);
    let rules: Vec<String> = granted.binds.iter().map(|b| b.origin.to_string()).collect();
    assert!(
        rules.iter().all(|at| at.ends_with(" (built in)")),
        "{rules:?}"
    );
    let tool = granted.tool.unwrap();
    assert!(tool.origin.to_string().starts_with("tool.toml:"));
    assert_eq!(granted.workdir.value, "/home/ana/project");
    assert_eq!(granted.user.value, "1000:1000");
    assert_eq!(granted.id_map.value, IdMapKind::Keep);
    assert!(granted.ephemeral.value);
    let home = granted.env.iter().find(|v| v.value.0 == "HOME").unwrap();
    assert_eq!(home.value.1, TOOL_HOME);
}

/// The same asked for an image gets none of it: the rules are about tools.
#[test]
fn an_image_has_none_of_it() {
    let (tool, host) = asked(&[(ROOT, "/usr", true)], 0);
    let run = Request {
        image: request().image,
        tool: None,
        keep_id: false,
        ..tool
    };
    let why = reasons(&strict(), &run, &facts(), &host);
    assert_eq!(why.len(), 1);
    assert!(wanted_etc(&strict(), &run.image).is_empty());
    let named = ImageName::parse("docker.io/library/tool:7").unwrap();
    assert!(wanted_etc(&strict(), &named).is_empty());
    assert!(!wanted_etc(&strict(), &ImageName::Tool("/usr/bin/x".into())).is_empty());
}

#[test]
fn names_of_etc_that_no_rule_can_give() {
    let all = extended("[[give]]\nimage = \"tool:**\"\netc = [\"**\"]\nreason = \"r\"\n");
    for name in [
        "shadow",
        "shadow-",
        "gshadow",
        "passwd",
        "group",
        "subuid",
        "sudoers",
        "sudoers.d/x",
        "ssh",
        "ssh/ssh_host_rsa_key",
        "ssl",
        "ssl/private",
        "ssl/x.key",
        "pki",
        "machine-id",
        "hostname",
        "hosts",
        "resolv.conf",
        "krb5.keytab",
        "NetworkManager/x",
        "lazaret",
        "security/opasswd",
        "cron.d",
    ] {
        let path = format!("/etc/{name}");
        let (request, host) = asked(&[(ROOT, &path, true)], 1);
        let why = reasons(&all, &request, &no_image(), &host);
        assert!(
            why[0].rule.starts_with("deny etc"),
            "{name}: {}",
            why[0].rule
        );
        assert!(why[0].cure.is_empty(), "{name}");
        // Nor is it had as what it is: a file to mount.
        for (flag, read_only) in [(CWD, true), ("--rw", false)] {
            let (request, host) = asked(&[(flag, &path, read_only)], 0);
            let _refused = reasons(&all, &request, &no_image(), &host);
        }
    }
    for name in ["ssl/certs", "vim", "ca-certificates"] {
        let path = format!("/etc/{name}");
        let (request, host) = asked(&[(ROOT, &path, true)], 1);
        let _granted = grants(&all, &request, &no_image(), &host);
    }
    // What is not given is not there for the asking.
    let (request, host) = asked(&[(ROOT, "/etc/vim", true)], 1);
    let why = reasons(&strict(), &request, &no_image(), &host);
    assert!(why[0].cure.contains(&"etc = [\"vim\"]".to_owned()));
}

#[test]
fn homes_and_places_of_sockets_are_no_project() {
    for (flag, read_only) in [(CWD, true), ("--rw", false)] {
        for path in [
            HOME,
            "/home/ana/.ssh",
            "/home",
            "/home/bob",
            "/root",
            "/tmp",
            "/tmp/.X11-unix",
            "/tmp/tmux-1000",
            "/var/tmp",
            "/run/user/1000",
            "/var",
            "/etc",
            "/home/ana/.local/share/lazaret",
        ] {
            let (mut request, mut host) = asked(&[(flag, path, read_only)], 0);
            host.outside.cwd = path.to_owned();
            if let Some(tool) = &mut request.tool {
                tool.cwd = path.to_owned();
            }
            let why = reasons(&strict(), &request, &no_image(), &host);
            assert_eq!(why.len(), 1, "{path}");
            if flag == CWD {
                assert!(
                    why[0].cure[0].starts_with("cd to"),
                    "{path}: {:?}",
                    why[0].cure
                );
            }
        }
    }
    let (request, host) = asked(&[("--rw", "/srv/data", false)], 0);
    let why = reasons(&strict(), &request, &no_image(), &host);
    assert!(
        why[0]
            .cure
            .contains(&"image = \"tool:/usr/bin/python3.11\"".to_owned())
    );
    assert!(
        why[0]
            .cure
            .contains(&"mounts = [\"/srv/data:rw\"]".to_owned())
    );
}

#[test]
fn a_program_is_trusted_by_every_level() {
    let tool = ImageName::Tool("/usr/bin/python3.11".to_owned());
    assert!(trusted(&strict(), &tool, false).is_ok());
    let rule = |accept: &str| {
        let image = "tool:/usr/bin/python3*";
        format!("[[trust]]\nimage = \"{image}\"\naccept = \"{accept}\"\nreason = \"r\"\n")
    };
    let reject = extended(&rule("reject"));
    let why = trusted(&reject, &tool, true).unwrap_err();
    assert!(why.rule.contains("accept = \"reject\""), "{}", why.rule);
    let pinned = extended(&rule("pinned"));
    let why = trusted(&pinned, &tool, false).unwrap_err();
    assert_eq!(why.cure, ["say which file it must be: --sha256 HEX"]);
    assert!(trusted(&pinned, &tool, true).is_ok());
    // The administrator's word counts whatever the user says.
    let text = format!("version = 1\nextends = \"never\"\n{}", rule("reject"));
    let system = system_policy(&text).unwrap();
    assert!(trusted(&system, &tool, true).is_err());
    let (request, host) = asked(WHOLE, 2);
    let why = reasons(&system, &request, &no_image(), &host);
    assert_eq!(why.len(), 1);
    // One that stays with strict says of tools what strict does.
    let system = system_policy("version = 1\nextends = \"strict\"\n").unwrap();
    let (request, host) = asked(WHOLE, 2);
    let _granted = grants(&system, &request, &no_image(), &host);
    // A file that was moved between two looks is an error, and not a grant.
    let (mut request, host) = asked(WHOLE, 2);
    request.binds[2].target = "/home/ana/project".to_owned();
    assert!(decide(&strict(), &request, &no_image(), &host).is_err());
}
