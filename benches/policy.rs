//! What a decision costs: policies read, put together, and asked by a usual request.
//!
//! `cargo bench --bench policy` prints microseconds, the median of many. Goals: parse, admit and
//! decide together under 100 us with the shipped files, under 1 ms with 1,000 rules of one's own.
//! A case of a table (`policy test`) is what is asked, so making up its image and machine is
//! counted too.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and its numbers are small"
)]

use lazaret::image::ImageName;
use lazaret::policy::{
    BindAsk, Case, Composed, Outcome, Policy, PolicyFile, Request, Sources, Table,
};
use std::io::Write as _;
use std::time::Instant;

const ROUNDS: usize = 2000;
const NOW: i64 = 1_795_000_000;

fn main() {
    // `cargo test --all-targets` runs benches too, with --test; nothing to measure then.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let lab = "version = 1\nextends = \"strict\"\n\
        [[trust]]\nimage = \"registry.lab.example/**\"\naccept = \"pinned\"\nreason = \"our CI builds it\"\n\
        [[require]]\nimage = \"registry.lab.example/grade/**\"\nverify = \"full\"\nfacts = { setuid = \"none\", absent = [\"/root/.ssh/**\"] }\nreason = \"hostile submissions\"\n\
        [[allow]]\nimage = \"registry.lab.example/db/*\"\ncaps = [\"CHOWN\", \"SETUID\", \"SETGID\"]\nmounts = [\"~/data/db:rw\"]\nuntil = 2099-03-31\nreason = \"postgres keeps its data\"\n";
    tell("policy: microseconds, medians\n");
    measure("shipped files", "", Some(100.0));
    measure("a user's file of 3 rules", lab, None);
    measure(
        "1,000 rules about other images",
        &many("registry.example/p"),
        Some(1000.0),
    );
    measure("1,000 rules about this image", &many(""), Some(1000.0));
}

/// A thousand rules; each about an image of its own, or all about every image.
fn many(image: &str) -> String {
    let mut text = "version = 1\nextends = \"strict\"\n".to_owned();
    for n in 0..1000 {
        let about = match image {
            "" => String::new(),
            image => format!("image = \"{image}{n}/**\"\n"),
        };
        let rule = match n % 4 {
            0 => format!("[[allow]]\n{about}mounts = [\"/srv/data{n}/**:rw\"]\n"),
            1 => format!("[[allow]]\n{about}env = [\"VARIABLE_{n}\"]\n"),
            2 => format!("[[deny]]\n{about}mounts = [\"/srv/secret{n}/**\"]\n"),
            _ => format!("[[allow]]\n{about}limits = {{ pids = {} }}\n", 512 + n),
        };
        text.push_str(&rule);
        text.push_str("reason = \"one of many\"\n");
    }
    text
}

fn request() -> Request {
    Request {
        binds: vec![BindAsk {
            flag: "-v",
            source: "./src".to_owned(),
            subpath: None,
            target: "/src".to_owned(),
            read_only: true,
            no_exec: false,
        }],
        env: vec![("A".to_owned(), "b".to_owned())],
        rm: true,
        ..Request::of(ImageName::parse("docker.io/library/redis:7").unwrap())
    }
}

fn measure(what: &str, user: &str, goal: Option<f64>) {
    let table = b"version = 1\n[[case]]\nrun = \"redis:7\"\nexpect = \"allow\"\n";
    let table = Table::parse("bench", table).unwrap();
    let case = &table.cases[0];
    let request = request();
    // Read and put together; asked.
    let mut times = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let policy = policy(user);
        let read = start.elapsed();
        decide(case, &policy, &request);
        let all = start.elapsed();
        times.0.push(read);
        times.1.push(all - read);
        times.2.push(all);
    }
    let median = |times: &mut Vec<std::time::Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let (read, asked, all) = (
        median(&mut times.0),
        median(&mut times.1),
        median(&mut times.2),
    );
    let verdict = match goal {
        None => String::new(),
        Some(goal) if all <= goal => format!("   (goal {goal}: met)"),
        Some(goal) => format!("   (goal {goal}: MISSED)"),
    };
    tell(&format!(
        "{what:<34} read {read:>7.1}   decide {asked:>7.1}   together {all:>7.1}{verdict}\n"
    ));
}

fn policy(user: &str) -> Policy {
    let file = (!user.is_empty()).then_some(PolicyFile {
        name: "/home/ana/.config/lazaret/policy.toml",
        bytes: user.as_bytes(),
        builtin: false,
    });
    let sources = Sources {
        user: file,
        user_file: "/home/ana/.config/lazaret/policy.toml",
        today: (2026, 11, 25),
        ..Sources::default()
    };
    match Policy::compose(&sources).unwrap() {
        Composed::Policy(policy) => policy,
        Composed::Needs(wanted) => panic!("{wanted:?}"),
        Composed::NeedsFile(wanted) => panic!("{wanted:?}"),
    }
}

fn decide(case: &Case, policy: &Policy, request: &Request) {
    assert_eq!(case.verdict(policy, request, NOW), Outcome::Passed);
}

fn tell(line: &str) {
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}
