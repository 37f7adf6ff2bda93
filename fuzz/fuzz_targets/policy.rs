//! Policy files: any bytes are a policy or problems with a place, never a panic; what is shown of a
//! policy is read again as the same; both decisions answer.
#![no_main]

use lazaret::image::ImageName;
use lazaret::policy::{Composed, Policy, PolicyFile, Request, Sources, Table, diff, problems};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const TODAY: (u16, u8, u8) = (2026, 11, 25);

static CASE: LazyLock<Table> = LazyLock::new(|| {
    let table = b"version = 1\n[[case]]\nrun = \"redis:7\"\nexpect = \"allow\"\n\
                  image = { setuid = [\"/bin/su\"], paths = [\"/root/.ssh\"] }\n";
    Table::parse("case", table).expect("a table")
});

fn policy(bytes: &[u8]) -> Option<Policy> {
    let user = PolicyFile {
        name: "p",
        bytes,
        builtin: false,
    };
    let sources = Sources {
        user: Some(user),
        today: TODAY,
        ..Sources::default()
    };
    match Policy::compose(&sources) {
        Ok(Composed::Policy(policy)) => Some(policy),
        _ => None,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let file = PolicyFile {
        name: "p",
        bytes,
        builtin: false,
    };
    let lines = bytes.iter().filter(|b| **b == b'\n').count() + 1;
    let found = problems(&file, TODAY);
    assert!(found.len() <= 100);
    for problem in &found {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1);
        assert!(!problem.cause.chars().any(char::is_control), "{problem:?}");
    }
    let Some(policy) = policy(bytes) else { return };
    assert!(found.is_empty(), "{found:?}");
    drop(policy.idle());
    // Shown and read again: nothing changes. What it extends is not the file's own.
    let own = |policy: &Policy| {
        let rules = policy.view().into_iter().flat_map(|level| level.rules);
        let rules = rules.filter(|rule| rule.origin.to_string().starts_with("p:"));
        let rules: String = rules.map(|rule| rule.toml()).collect();
        let text = format!("version = 1\nextends = \"strict\"\n{rules}");
        self::policy(text.as_bytes()).expect("what is shown is understood")
    };
    let once = own(&policy);
    if let Ok(changes) = diff(&once, &own(&once)) {
        assert!(changes.is_empty(), "{changes:?}");
    }
    let request = Request::of(ImageName::parse("redis:7").expect("a name"));
    for case in &CASE.cases {
        drop(case.verdict(&policy, &request, 1_795_000_000));
    }
});
