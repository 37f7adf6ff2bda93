//! The manual pages, as the programs that show them read them.

mod support;

use support::{Home, find, list, need};

/// Every page in a folder of its own, by path.
fn written(home: &Home) -> Vec<std::path::PathBuf> {
    home.lazaret(["man", "--dir", "pages"])
        .run()
        .ok()
        .prints("");
    let mut pages = Vec::new();
    for section in ["pages/man1", "pages/man5"] {
        let names = list(&home.path(section));
        assert!(!names.is_empty(), "{section}");
        pages.extend(names.iter().map(|name| home.path(section).join(name)));
    }
    pages
}

#[test]
fn pages_are_printed_by_name() {
    let home = Home::new();
    let pages = written(&home);
    assert!(!home.store().exists());
    let page = |words: &[&str]| {
        let line = ["man"].iter().chain(words).copied();
        home.lazaret(line.collect::<Vec<_>>()).run().ok().out()
    };
    let run = std::fs::read_to_string(home.path("pages/man1/lazaret-run.1")).unwrap();
    for words in [&["run"][..], &["lazaret-run"], &["run.1"]] {
        assert_eq!(page(words), run, "{words:?}");
    }
    assert!(page(&[]).contains("EXIT STATUS"));
    assert!(page(&["image", "prune"]).contains("LAZARET-IMAGE-PRUNE"));
    assert!(page(&["policy.5"]).contains("[[require]]"));
    assert!(page(&["policy"]).contains("explain"));
    assert!(pages.len() > 25, "{pages:?}");
    home.lazaret(["man", "nosuch"])
        .run()
        .exits(125)
        .complains("there is no page \"nosuch\"")
        .complains("lazaret-run.1");
}

#[test]
fn man_shows_them_without_a_warning() {
    need!("man");
    let home = Home::new();
    let man = find("man").unwrap();
    for page in written(&home) {
        let page = page.to_str().unwrap();
        let ran = home
            .program(&man, ["--warnings", "-P", "cat", "-l", page])
            .env("LANG", "C.UTF-8")
            .env("MANWIDTH", "60")
            .run()
            .ok()
            .does_not_complain();
        assert!(ran.out().contains("NAME"), "{ran}");
    }
}

#[test]
fn mandoc_finds_nothing_to_complain_of() {
    need!("mandoc");
    let home = Home::new();
    let mandoc = find("mandoc").unwrap();
    for page in written(&home) {
        let page = page.to_str().unwrap();
        let ran = home
            .program(&mandoc, ["-T", "lint", "-W", "warning", page])
            .run();
        ran.ok().prints("");
    }
}
