//! `lazaret policy`: show, check, explain, test, diff, init, trust, on files of this test's own.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use support::{Home, Image, Ran, need};

fn policy(home: &Home, args: &[&str]) -> Ran {
    let line = ["policy"].iter().chain(args);
    home.lazaret(line).run()
}

/// Writes a file with mode 0600 in the working directory.
fn file(home: &Home, name: &str, text: &str) -> String {
    let path = home.path(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn own(home: &Home) -> PathBuf {
    home.root().join("config/lazaret/policy.toml")
}

fn json(ran: Ran) -> Value {
    serde_json::from_str(&ran.out()).unwrap_or_else(|e| panic!("{e}\n{ran}"))
}

const LAB: &str = "version = 1\nextends = \"strict\"\n
[[trust]]\nimage = \"registry.lab.example/**\"\naccept = \"pinned\"\nreason = \"our CI names what it builds\"\n
[[require]]\nimage = \"registry.lab.example/grade/**\"\nverify = \"full\"\nlimits = [\"pids\"]
facts = { setuid = \"none\", absent = [\"/root/.ssh/**\"] }\nreason = \"hostile submissions\"\n
[[allow]]\nimage = \"registry.lab.example/db/*\"\ncaps = [\"CHOWN\", \"SETUID\", \"SETGID\"]
devices = [\"/dev/dri/renderD128\"]\nmounts = [\"~/data/db:rw\"]\nuntil = 2099-03-31\nreason = \"postgres drops to its own user and keeps its data\"\n";

#[test]
fn init_writes_a_file_that_means_strict() {
    let home = Home::new();
    let path = own(&home);
    let said = policy(&home, &["init"]).ok().out();
    assert_eq!(said.trim(), path.to_str().unwrap());
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Commented rules are rules: with the marks gone it is understood.
    let text = std::fs::read_to_string(&path).unwrap();
    policy(&home, &["check"]).ok().says("ok");
    let keys = [
        "[[", "image ", "accept ", "reason ", "mounts ", "until ", "verify ", "facts ",
    ];
    let lived: String = text
        .split_inclusive('\n')
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if keys.iter().any(|key| rest.starts_with(key)) => rest,
            _ => line,
        })
        .collect();
    assert_eq!(lived.matches("\nreason").count(), 3, "{lived}");
    let lived = file(&home, "lived.toml", &lived);
    policy(&home, &["check", &lived]).ok().says("ok");
    policy(&home, &["diff", "strict", own(&home).to_str().unwrap()])
        .ok()
        .prints("nothing changes\n");
    // One that is there stays.
    std::fs::write(&path, "version = 1\nextends = \"compat\"\n").unwrap();
    policy(&home, &["init"])
        .exits(125)
        .complains("is there already");
    assert!(std::fs::read_to_string(&path).unwrap().contains("compat"));
    policy(&home, &["init", "--force"]).ok();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn check_tells_every_problem_with_its_place() {
    let home = Home::new();
    let good = file(&home, "good.toml", LAB);
    policy(&home, &["check", &good]).ok().says("good.toml: ok");
    // A project's is read as one, which may extend what gives nothing.
    let taking = "version = 1\nextends = \"never\"\n[[deny]]\nenv = [\"X\"]\nreason = \"r\"\n";
    let project = file(&home, "lazaret.toml", taking);
    policy(&home, &["check", &project]).ok().says("ok");
    let own = file(&home, "own.toml", taking);
    policy(&home, &["check", &own]).exits(1);
    let bad = file(
        &home,
        "bad.toml",
        "version = 1\nextends = \"strict\"\n[[allow]]\nenvs = [\"A\"]\nreason = \"r\"\n\
         [[allow]]\ncaps = [\"CHOWM\"]\n[[deny]]\nmounts = [\"x\"]\nreason = \"r\"\n",
    );
    let ran = policy(&home, &["check", &bad, &good]).exits(1);
    for told in [
        "bad.toml:4:1: unknown key envs in [[allow]]",
        "did you mean `env`?",
        "bad.toml:6:1: a rule without a reason",
        "bad.toml:7:8: no capability is called \"CHOWM\"",
        "did you mean \"CHOWN\"?",
        "bad.toml:9:10: mounts = \"x\" is no path",
        "good.toml: ok",
    ] {
        let out = ran.out().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(out.contains(told), "{told}\n{ran}");
    }
    let found = json(policy(&home, &["check", "--format", "json", &bad]).exits(1));
    assert_eq!(found["ok"], false);
    assert_eq!(found["files"][0]["problems"].as_array().unwrap().len(), 4);
    assert_eq!(found["files"][0]["problems"][2]["line"], 7);
    // What is understood and does nothing.
    let idle = file(
        &home,
        "idle.toml",
        "version = 1\nextends = \"strict\"\n\
         [[allow]]\ncaps = [\"SYS_ADMIN\"]\nreason = \"r\"\n\
         [[allow]]\nenv = [\"X\"]\nreason = \"r\"\n[[deny]]\nenv = [\"X\"]\nreason = \"r\"\n\
         [[deny]]\nenv = [\"Y\"]\nuntil = 2026-11-02\nreason = \"r\"\n\
         [[trust]]\nimage = \"**\"\naccept = \"any\"\nreason = \"r\"\n",
    );
    let ran = policy(&home, &["check", &idle]).ok();
    let out = ran.out().split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        "denied by a level around it: never.toml:",
        "denied beside it:",
        "its last day was 2026-11-02",
        "is stricter about the same images",
    ] {
        assert!(out.contains(told), "{told}\n{ran}");
    }
    // Not a policy at all.
    for (name, bytes, word) in [
        ("empty", Vec::new(), "version"),
        ("binary", vec![0u8, 159, 146, 150], "no text"),
        ("large", vec![b'#'; 10 << 20], "more than"),
    ] {
        std::fs::write(home.path(name), bytes).unwrap();
        policy(&home, &["check", home.path(name).to_str().unwrap()])
            .exits(1)
            .says(word);
    }
    policy(&home, &["check", "/nonexistent/x"])
        .exits(125)
        .complains("no file");
}

#[test]
fn show_prints_what_can_be_read_again() {
    let home = Home::new();
    policy(&home, &["init"]).ok();
    std::fs::write(own(&home), LAB).unwrap();
    let all = policy(&home, &["show"]).ok().out();
    for level in ["# level never:", "# level user:"] {
        assert!(all.contains(level), "{all}");
    }
    assert!(all.contains("# strict.toml:"), "{all}");
    // The user's level as a file of its own is the same policy.
    let level = policy(&home, &["show", "--level", "user"]).ok().out();
    let again = file(
        &home,
        "again.toml",
        &format!("version = 1\nextends = \"strict\"\n{level}"),
    );
    policy(&home, &["diff", "-", &again])
        .ok()
        .prints("nothing changes\n");
    policy(&home, &["show", "--level", "compat"])
        .ok()
        .says("extends = \"strict\"");
    policy(&home, &["show", "--level", "nobody"]).exits(125);
    let shown = json(policy(&home, &["show", "--format", "json"]).ok());
    assert_eq!(shown["levels"][1]["level"], "user");
    let rule = &shown["levels"][1]["rules"][0];
    assert!(rule["origin"]["rule"]["line"].is_u64(), "{rule}");
}

#[test]
fn explain_names_the_rule_behind_everything() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    std::fs::create_dir(home.path("src")).unwrap();
    let explain = |flags: &[&str]| {
        let line = ["policy", "explain"].iter().chain(flags).copied();
        home.lazaret(line.chain([image.as_str(), "true"])).run()
    };
    let ran = explain(&["-v", "./src:/src:ro", "-e", "A=b"]).ok();
    let out = ran.out();
    for told in [
        "trust image",
        "mounts ",
        "allow mounts = [\"./**:ro\", ...] (strict.toml:",
        "env A",
        "given",
        "network      none (strict.toml:",
    ] {
        assert!(out.contains(told), "{told}\n{ran}");
    }
    assert!(out.ends_with("\nallowed\n"), "{ran}");
    let ran = explain(&["-v", "./src:/src", "-v", "/etc:/etc:ro"]).exits(1);
    let out = ran.out();
    for told in [
        "not allowed  allow mounts",
        "denied       deny mounts = [\"/etc/**\", ...] (never.toml:",
        "refused for 2 reasons",
        "[[allow]]",
    ] {
        assert!(out.contains(told), "{told}\n{ran}");
    }
    let told = json(explain(&["--format", "json", "-v", "./src:/src"]).exits(1));
    assert_eq!(told["allowed"], false);
    let asked = told["asked"].as_array().unwrap();
    let mounts = asked.iter().find(|one| one["key"] == "mounts").unwrap();
    let answers = mounts["answers"].as_array().unwrap();
    assert_eq!(answers.last().unwrap()["said"], "not_allowed");
    // It is the real decision: what it says is what a run does.
    home.lazaret(["run", "--rm", "-v", "./src:/src", &image, "true"])
        .run()
        .exits(125);
    // Nothing was run and nothing is left.
    home.lazaret(["ps", "-aq"]).run().ok().prints("");
    home.clean();
}

#[test]
fn a_table_of_requests_is_held_against_a_policy() {
    let home = Home::new();
    let lab = file(&home, "lab.toml", LAB);
    let digest = "0".repeat(64);
    let table = format!(
        "version = 1\n
[[case]]\nname = \"the database keeps its data\"
run = \"-v ~/data/db:/data --cap-drop CHOWN registry.lab.example/db/pg@sha256:{digest}\"\nexpect = \"allow\"\n
[[case]]\nname = \"and nothing else\"
run = [\"-v\", \"/etc:/x\", \"registry.lab.example/db/pg@sha256:{digest}\"]\nexpect = \"deny\"\nbecause = \"never.toml\"\n
[[case]]\nname = \"by digest only\"
run = \"registry.lab.example/db/pg:16\"\nexpect = \"deny\"\nbecause = \"pinned\"\n
[[case]]\nname = \"keys\"
run = \"registry.lab.example/grade/x@sha256:{digest}\"\nexpect = \"deny\"\nbecause = \"absent\"
image = {{ paths = [\"/root/.ssh/id\"] }}\n
[[case]]\nname = \"power\"
run = \"registry.lab.example/grade/x@sha256:{digest}\"\nexpect = \"deny\"\nbecause = \"setuid\"
image = {{ setuid = [\"/bin/su\"] }}\n
[[case]]\nname = \"plain\"
run = \"registry.lab.example/grade/x@sha256:{digest}\"\nexpect = \"allow\"\n
[[case]]\nname = \"the socket\"
run = \"-v ./docker.sock:/s docker.io/library/redis:7\"\nexpect = \"deny\"
files = {{ \"./docker.sock\" = \"socket\" }}\n
[[case]]\nname = \"users need ids\"
run = \"-u app redis\"\nexpect = \"deny\"\nbecause = \"one id inside\"\nhost = {{ subids = false }}\n"
    );
    let table = table.replace(" --cap-drop CHOWN", "");
    let cases = file(&home, "cases.toml", &table);
    policy(&home, &["test", "--policy", &lab, &cases])
        .ok()
        .prints("8 passed, 0 failed\n");
    // Under strict alone some of it is otherwise, and each is named.
    let ran = policy(&home, &["test", &cases]).exits(1);
    ran.says("FAILED")
        .says("the database keeps its data")
        .says("expected allow, and it was denied");
    let told = json(policy(&home, &["test", "--format", "json", &cases]).exits(1));
    assert_eq!(
        told["passed"].as_u64().unwrap() + told["failed"].as_u64().unwrap(),
        8
    );
    for (text, word) in [
        ("version = 1\n", "without a case"),
        (
            "version = 1\n[[case]]\nrun = \"x\"\nexpect = \"maybe\"\n",
            "cases.toml:4",
        ),
        (
            "version = 1\n[[case]]\nrun = \"x\"\nexpct = \"deny\"\n",
            "expct",
        ),
    ] {
        let cases = file(&home, "cases.toml", text);
        policy(&home, &["test", &cases]).exits(125).complains(word);
    }
    let cases = file(
        &home,
        "cases.toml",
        "version = 1\n[[case]]\nrun = \"--no-such x\"\nexpect = \"deny\"\n",
    );
    policy(&home, &["test", &cases])
        .exits(1)
        .says("not a command line");
}

#[test]
fn a_difference_is_what_would_be_decided_otherwise() {
    let home = Home::new();
    let lab = file(&home, "lab.toml", LAB);
    let ran = policy(&home, &["diff", "strict", &lab]).exits(1);
    for told in [
        "registry.lab.example/db/*",
        "+ caps CHOWN: not allowed -> allowed",
        "+ mounts ~/data/db:rw: not allowed -> allowed",
        "- trust: tofu -> pinned",
        "- require verify = \"full\": not required -> required",
    ] {
        assert!(ran.out().contains(told), "{told}\n{ran}");
    }
    // The other way round it is the other way round.
    let back = policy(&home, &["diff", &lab, "strict"]).exits(1);
    back.says("- caps CHOWN: allowed -> not allowed")
        .says("+ trust: pinned -> tofu");
    // The same rules in another order are the same policy.
    let (head, rules) = LAB.split_once("\n\n").unwrap();
    let mut rules: Vec<&str> = rules.split("\n\n").map(str::trim).collect();
    rules.reverse();
    let turned = file(
        &home,
        "turned.toml",
        &format!("{head}\n{}\n", rules.join("\n")),
    );
    policy(&home, &["diff", &lab, &turned])
        .ok()
        .prints("nothing changes\n");
    policy(&home, &["diff", "strict", "nonesuch"])
        .exits(125)
        .complains("no profile");
    let changes = json(policy(&home, &["diff", "--format", "json", "strict", "compat"]).exits(1));
    assert!(
        changes
            .as_array()
            .unwrap()
            .iter()
            .all(|c| c["wider"] == true)
    );
}

#[test]
fn a_project_is_trusted_as_it_stands() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let below = home.path("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let text = "version = 1\nextends = \"never\"\n[[deny]]\nenv = [\"TOKEN\"]\nreason = \"tests need none\"\n\
                [[deny]]\nlimits = { pids = 50 }\nreason = \"small\"\n";
    std::fs::write(home.path("lazaret.toml"), text).unwrap();
    let run = |flags: &[&str]| {
        let line = ["run", "--rm"].iter().chain(flags).copied();
        home.lazaret(line.chain([image.as_str(), "toolbox", "rlimits"]))
            .cwd(&below)
            .run()
    };
    // Not before somebody read it.
    let ran = run(&["-e", "TOKEN=x"]).ok();
    ran.complains("is not used: read it, then `lazaret policy trust`")
        .says("512");
    let trust = |args: &[&str]| {
        home.lazaret(["policy", "trust"].iter().chain(args))
            .cwd(&below)
            .run()
    };
    trust(&[])
        .ok()
        .says("is trusted as it stands")
        .says("- env TOKEN: allowed -> not allowed")
        .says("limits pids most: 512 -> 50");
    run(&["-e", "TOKEN=x"])
        .exits(125)
        .complains("tests need none");
    let limits = run(&[]).ok().out();
    let processes = limits.lines().find(|l| l.starts_with("Max processes"));
    assert!(processes.unwrap().contains("50"), "{limits}");
    trust(&["--list"]).ok().says("trusted ");
    // A project widens nothing.
    let wide = format!("{text}[[allow]]\nmounts = [\"/**:rw\"]\nreason = \"all\"\n");
    std::fs::write(home.path("lazaret.toml"), wide).unwrap();
    run(&[])
        .exits(125)
        .complains("not the one that you trusted");
    trust(&["--list"]).ok().says("changed ");
    trust(&[]).ok();
    let elsewhere = home.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let mount = format!("{}:/x", elsewhere.display());
    run(&["-v", &mount]).exits(125).complains("strict.toml");
    trust(&["--forget"]).ok().says("trusted no longer");
    run(&["-e", "TOKEN=x"]).ok();
    trust(&["--forget"]).exits(125);
    // A file of no one's interest nearer to where one stands does not hide it, and one that is gone
    // is not forgotten by itself.
    trust(&[]).ok();
    std::os::unix::fs::symlink("/etc/shadow", below.join("lazaret.toml")).unwrap();
    run(&["-e", "TOKEN=x"])
        .exits(125)
        .complains("tests need none");
    std::fs::remove_file(home.path("lazaret.toml")).unwrap();
    run(&[]).exits(125).complains("is gone");
    trust(&["--forget"]).ok().says("trusted no longer");
    run(&[]).ok();
    std::fs::remove_file(below.join("lazaret.toml")).unwrap();
    std::fs::write(
        home.path("lazaret.toml"),
        "version = 1\nextend = \"never\"\n",
    )
    .unwrap();
    trust(&[]).exits(125).complains("did you mean `extends`");
    home.clean();
}

#[test]
fn a_profile_takes_the_place_of_what_is_extended() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let caps = |flags: &[&str]| {
        let line = ["run", "--rm", "--dry-run"].iter().chain(flags).copied();
        home.lazaret(line.chain([image.as_str(), "true"]))
            .run()
            .ok()
            .out()
    };
    assert!(!caps(&[]).contains("FOWNER"));
    // One id cannot be anybody else.
    let drop = [
        "--cap-drop",
        "CHOWN",
        "--cap-drop",
        "SETUID",
        "--cap-drop",
        "SETGID",
    ];
    let few = |flags: &[&'static str]| {
        let single = support::check("no-subuids").is_ok();
        [flags, if single { &drop } else { &[] }].concat()
    };
    let plan = caps(&few(&["--profile", "compat"]));
    assert!(
        plan.contains("FOWNER") && plan.contains("compat.toml:"),
        "{plan}"
    );
    assert!(!caps(&["--profile", "strict"]).contains("FOWNER"));
    let line = [
        &few(&["run", "--rm", "--profile", "compat"])[..],
        &[&image, "true"],
    ]
    .concat();
    home.lazaret(line).run().ok();
    home.lazaret(["run", "--rm", "--profile", "../x", &image, "true"])
        .run()
        .exits(125)
        .complains("no profile");
    home.clean();
}

/// The examples of the documents are rules that are understood, and mean what stands beside them.
#[test]
fn the_documents_mean_what_they_say() {
    let home = Home::new();
    let mut seen = 0;
    for name in ["README.md", "policies/README.md"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = std::fs::read_to_string(path).unwrap();
        let mut policy_of_this = None;
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            seen += 1;
            if block.contains("[[case]]") {
                let cases = file(&home, "cases.toml", block);
                let lab: &String = policy_of_this.as_ref().unwrap();
                policy(&home, &["test", "--policy", lab, &cases]).ok();
                continue;
            }
            if block.contains("[[registry]]") {
                let registries = home.root().join("config/lazaret/registries.toml");
                std::fs::create_dir_all(registries.parent().unwrap()).unwrap();
                std::fs::write(&registries, block).unwrap();
                // Nobody listens there; what is not understood is told before anybody is asked.
                home.lazaret(["pull", "localhost:1/a:1"])
                    .run()
                    .exits(125)
                    .complains("localhost:1");
                continue;
            }
            let whole = match block.contains("version = 1") {
                true => block.to_owned(),
                false => format!("version = 1\nextends = \"strict\"\n{block}"),
            };
            let path = file(&home, &format!("{seen}.toml"), &whole);
            policy(&home, &["check", &path]).ok().does_not_complain();
            policy_of_this.get_or_insert(path);
        }
    }
    assert!(seen >= 5, "{seen}");
}
