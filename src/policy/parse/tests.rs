//! Policy files: understood, misspelt, broken.

use super::*;

fn read(text: &str) -> Result<Parsed, Vec<Problem>> {
    let file = PolicyFile {
        name: "p.toml",
        bytes: text.as_bytes(),
        builtin: false,
    };
    parse(&file, (2026, 11, 25), &[])
}

/// `line:column cause | hint` of every problem.
fn problems(text: &str) -> Vec<String> {
    let told = |p: &Problem| format!("{}:{} {} | {}", p.line, p.column, p.cause, p.hint);
    read(text).unwrap_err().iter().map(told).collect()
}

#[test]
fn all_problems_are_told_at_once() {
    insta::assert_snapshot!(problems(r#"version = 1
extend = "strict"
[[allow]]
cap = ["CHOWN"]
[[allow]]
mounts = ["data:rw", "/x:ro"]
limits = { pid = 3, tmp = "lots" }
reason = "é"
[[denny]]
env = ["A"]
[[deny]]
verify = "full"
reason = "r"
[[trust]]
image = "redis**"
accept = "none"
reason = "r"
[[require]]
facts = { max_size = "50%", setuids = "none", base = ["x"] }
verify = "off"
until = 10:00:00
reason = "r"
"#).join("\n"), @r#"
    2:1 unknown key extend in a policy | did you mean `extends`?
    3:1 a rule without a reason | every rule says why it is there: reason = "..."
    4:1 unknown key cap in [[allow]] | did you mean `caps`?
    6:10 mounts = "data:rw" is no path | a path begins with /, ./ (where you stand), ~/ (your home) or **, has no part that is empty, . or .., and ends with :ro or :rw where it is mounted
    7:12 no limit is called "pid" | did you mean `pids`?
    7:27 tmp = "lots" is no amount: it takes a size, or part of the memory as "25%" | tmp = "512MiB"
    9:3 unknown key denny in a policy | did you mean `deny`?
    12:1 unknown key verify in [[deny]] | [[deny]] has caps, syscalls, devices, network, mounts, targets, env, userns, etc, limits, image, until, reason
    15:9 "redis**" matches no image | names are compared in full: registry.example/path/name:tag; docker's own are docker.io/library/NAME
    16:10 accept = "none" means nothing | did you mean "reject"?
    19:22 max_size = "50%" is no size | max_size = "2GiB"
    19:29 unknown key setuids in facts | did you mean `setuid`?
    19:54 "x" is no diff id | a diff id is sha256: and 64 hex digits; `lazaret inspect IMAGE` lists those of an image
    20:10 verify = "off" means nothing | verify is "stat" or "full"; nothing runs unverified
    21:9 until is no date | until = 2027-03-31 is the rule's last day
    "#);
}

#[test]
fn a_broken_line_hides_no_other_rule() {
    let told = problems(
        "version = 1\n[[allow]]\nenv = [\"A\nreason = \"r\"\n[[deny]]\nenvs = [\"B\"]\nreason = \"r\"\n",
    );
    assert!(told.iter().any(|p| p.starts_with("3:")), "{told:?}");
    assert!(
        told.iter().any(|p| p.contains("unknown key envs")),
        "{told:?}"
    );
    assert!(
        told.iter().all(|p| !p.contains("without a reason")),
        "{told:?}"
    );
    // Not a list of rules.
    let told = problems("version = 1\n[allow]\nenv = [\"A\"]\nreason = \"r\"\n");
    assert!(told[0].contains("[[allow]]"), "{told:?}");
    let told = problems("version = 1\nallow = [1, 2]\n");
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn there_is_an_end_to_problems() {
    let text = format!("version = 1\n{}", "[[allow]]\nx = 1\n".repeat(5000));
    assert_eq!(problems(&text).len(), 100);
}

#[test]
fn images_have_one_spelling() {
    let images = |image: &str| {
        let text =
            format!("version = 1\n[[deny]]\nimage = {image}\nenv = [\"A\"]\nreason = \"r\"\n");
        read(&text).map(|parsed| parsed.deny[0].head.images.clone())
    };
    for (image, one) in [
        ("\"redis\"", "docker.io/library/redis"),
        ("\"redis:7\"", "docker.io/library/redis:7"),
        ("\"lab/x\"", "docker.io/lab/x"),
        ("\"localhost:5000/x\"", "localhost:5000/x"),
        ("\"registry.example/**\"", "registry.example/**"),
        ("\"**/redis:*\"", "**/redis:*"),
        ("\"oci:/srv/x\"", "oci:/srv/x"),
        ("\"oci:**\"", "oci:**"),
    ] {
        assert_eq!(images(image).unwrap(), [one]);
    }
    for image in [
        "\"lab/*\"",
        "\"Upper\"",
        "\"oci:./x\"",
        "\"oci:x\"",
        "\"docker-archive:/a/../b\"",
        "\"redis*\"",
        "\"\"",
        "[]",
        "3",
    ] {
        assert!(images(image).is_err(), "{image}");
    }
}

#[test]
fn a_wrong_clock_ends_no_rule() {
    let text = "version = 1\n[[deny]]\nenv = [\"A\"]\nuntil = 2027-01-01\nreason = \"r\"\n";
    let at = |today| {
        let file = PolicyFile {
            name: "p",
            bytes: text.as_bytes(),
            builtin: false,
        };
        parse(&file, today, &[])
    };
    assert_eq!(at((2026, 12, 31)).unwrap().deny.len(), 1);
    assert_eq!(at((2027, 1, 1)).unwrap().deny.len(), 1);
    let over = at((2027, 1, 2)).unwrap();
    assert_eq!((over.deny.len(), over.ended.len()), (0, 1));
    assert!(at((1970, 1, 1)).unwrap_err()[0].cause.contains("clock"));
}
