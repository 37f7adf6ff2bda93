//! The last test binary: how many tests were skipped in this run of cargo, and for want of what.

mod support;

use std::collections::BTreeMap;

/// `skipped 5: subuids 3, umoci 2`, the most frequent first.
fn summary(skips: &str) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut total = 0;
    for line in skips.lines() {
        if let Some((name, _)) = line.split_once('\t') {
            *counts.entry(name).or_default() += 1;
            total += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    match total {
        0 => "skipped 0".into(),
        _ => format!("skipped {total}: {}", parts.join(", ")),
    }
}

#[test]
fn the_run_ends_with_what_was_skipped() {
    let file = support::skip_file();
    let skips = std::fs::read_to_string(&file).unwrap_or_default();
    support::tell(&summary(&skips));
    if let Ok(keep) = std::env::var("LAZARET_TEST_SKIPS") {
        std::fs::write(keep, &skips).unwrap();
    }
    // This run's file and those of runs that never came to their end.
    let folder = file.parent().unwrap();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix("skips-")
            .and_then(|r| r.split('-').next());
        if pid.is_some_and(|pid| {
            entry.path() == file || !std::fs::exists(format!("/proc/{pid}")).unwrap()
        }) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn skips_are_counted_by_what_was_missing() {
    assert_eq!(summary(""), "skipped 0");
    assert_eq!(
        summary("umoci\ta\nsubuids\tb\numoci\tc\nroot\td\n"),
        "skipped 4: umoci 2, root 1, subuids 1"
    );
}
