//! A policy file that is there counts: it refuses with its line and a cure that cures, and one that
//! cannot be trusted or understood stops everything.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use support::{Home, Image, Ran, need};

/// The lines that a refusal wants to have pasted.
fn cure(ran: &Ran) -> String {
    let text = ran.err();
    let lines = text.lines().skip_while(|line| !line.starts_with("[["));
    let cure: Vec<_> = lines.take_while(|line| !line.starts_with("hint")).collect();
    assert!(cure.len() >= 4, "no cure\n{ran}");
    cure.join("\n").replace("\"...\"", "\"asked for\"")
}

#[test]
fn a_refusal_says_where_and_its_cure_cures() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let file = home.policy("[[allow]]\nlimits = { tmp = \"1MiB\" }\nreason = \"small\"\n");
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.lines().next().unwrap();
    let total: u64 = total.split_whitespace().nth(1).unwrap().parse().unwrap();
    // More than the quarter that strict allows, less than the half that nobody gets past.
    let ask = |tenths| format!("/x:size={}k", total / 10 * tenths);
    let run = |tenths| {
        let tmpfs = ask(tenths);
        home.lazaret(["run", "--rm", "--tmpfs", &tmpfs, &image, "true"])
            .run()
    };
    let refused = run(3)
        .exits(125)
        .complains("refused by policy")
        .complains("rule    allow limits = { tmp = \"25%\" }")
        .complains("strict.toml:44 (built in)")
        .complains(&file.to_string_lossy());
    home.policy(&cure(&refused));
    run(3).ok();
    run(6).exits(125).complains("never.toml");
    home.clean();
}

#[test]
fn deny_beats_the_shipped_allow() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let file = home.policy("[[deny]]\nenv = [\"LD_*\"]\nreason = \"nothing is preloaded\"\n");
    home.lazaret(["run", "--rm", "-e", "LD_PRELOAD=x", &image, "true"])
        .run()
        .exits(125)
        .complains("asked   -e LD_PRELOAD")
        .complains("deny env = [\"LD_*\"]")
        .complains(&format!("{}:4", file.display()))
        .complains("nothing is preloaded");
    home.lazaret(["run", "--rm", "-e", "A=b", &image, "env"])
        .run()
        .ok()
        .says("A=b");
}

#[test]
fn an_image_that_is_not_trusted_is_not_unpacked() {
    let home = Home::new();
    // A folder's name is its author's choice.
    let image = Image::toolbox().layout(&home, "a\u{1b}[31m\"\u{202e}b");
    home.policy("[[trust]]\nimage = \"oci:**\"\naccept = \"reject\"\nreason = \"from nowhere\"\n");
    let refused = home
        .lazaret(["run", "--rm", &image, "true"])
        .run()
        .exits(125)
        .complains("from nowhere");
    let text = refused.err();
    assert!(
        text.chars()
            .all(|c| (!c.is_control() || c == '\n') && c != '\u{202e}'),
        "{text:?}"
    );
    let layers = support::walk(&home.store().join("layers"));
    assert!(layers.is_empty(), "{layers:?}");
    need!("userns", "overlay");
    home.policy(&cure(&refused));
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
}

#[test]
fn what_is_given_stands_in_the_plan_with_its_line() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let file = home.policy(
        "[[give]]\ncaps = [\"FOWNER\"]\nlimits = { pids = 40 }\nreason = \"it drops itself\"\n",
    );
    home.lazaret(["run", "--rm", "--dry-run", &image, "true"])
        .run()
        .ok()
        .says("processes: 40")
        .says("FOWNER")
        .says(&format!("{}:5", file.display()));
    home.policy("[[give]]\ncaps = [\"SYS_ADMIN\"]\nreason = \"r\"\n");
    home.lazaret(["run", "--rm", &image, "true"])
        .run()
        .exits(125)
        .complains("deny caps")
        .complains("never.toml")
        .complains("the way out");
}

#[test]
fn a_requirement_that_nothing_meets_is_a_refusal() {
    need!("userns", "overlay");
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    home.policy("[[require]]\nlimits = [\"output\"]\nreason = \"hostile submissions\"\n");
    home.lazaret(["run", "--rm", &image, "true"])
        .run()
        .exits(125)
        .complains("require limits = [\"output\"]");
    home.lazaret(["run", "--rm", "--output-limit", "1m", &image, "true"])
        .run()
        .ok();
    home.policy("[[require]]\nverify = \"full\"\nreason = \"shared machine\"\n");
    home.lazaret(["run", "--rm", &image, "true"]).run().ok();
    home.lazaret(["run", "--rm", "--verify", "stat", &image, "true"])
        .run()
        .exits(125)
        .complains("require verify = \"full\"");
}

#[test]
fn a_file_that_cannot_be_trusted_stops_everything() {
    let home = Home::new();
    let image = Image::toolbox().layout(&home, "img");
    let run = |word: &str| {
        home.lazaret(["run", "--rm", &image, "true"])
            .run()
            .exits(125)
            .complains(word);
    };
    let file = home.policy("");
    for mode in [0o660, 0o602] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        run("others may write");
    }
    std::fs::remove_file(&file).unwrap();
    symlink("/nonexistent", &file).unwrap();
    run("is a link");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    run("no regular file");
    std::fs::remove_dir(&file).unwrap();
    for (rules, word) in [
        ("[[allow]]\nenv = [\"A\"]\n", "a rule without a reason"),
        (
            "[[denny]]\nenv = [\"A\"]\nreason = \"r\"\n",
            "did you mean `deny`?",
        ),
        (
            "[[trust]]\nimage = \"x\"\naccept = { signed = [\"k\"] }\nreason = \"r\"\n",
            "there is no file",
        ),
        ("\u{0}", "policy.toml:3"),
    ] {
        home.policy(rules);
        run(word);
    }
    home.clean();
}
