use super::super::unpack::tests::support::Scratch;
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

fn redis() -> Reference {
    Reference::parse("redis:7").unwrap()
}

fn file(store: &Store) -> PathBuf {
    let name = digest("docker.io/library/redis:7").hex();
    store.path().join("tags").join(name)
}

fn store(what: &str) -> (Scratch, Store) {
    let scratch = Scratch::new(what);
    let store = Store::open(&scratch.0.join("store")).unwrap();
    (scratch, store)
}

#[test]
fn a_tag_means_what_it_meant_until_somebody_accepts() {
    let (_scratch, store) = store("tags");
    let (a, b) = (digest("a"), digest("b"));
    assert_eq!(store.seen(&redis()).unwrap(), None);
    let first = store.record_seen(&redis(), &a, &a, 100).unwrap();
    assert_eq!((first.served, first.first, first.last), (a, 100, 100));
    assert!(first.means(&a) && !first.means(&b));
    let again = store.record_seen(&redis(), &a, &a, 200).unwrap();
    assert_eq!((again.first, again.last), (100, 200));
    // A clock that was set back.
    assert_eq!(store.record_seen(&redis(), &a, &a, 50).unwrap(), again);
    // Moved: what comes back is the old meaning, and nothing is written.
    assert_eq!(store.record_seen(&redis(), &b, &b, 300).unwrap(), again);
    assert_eq!(store.seen(&redis()).unwrap(), Some(again.clone()));
    assert_eq!(
        store.accept_moved(&redis(), &b, &b, 400).unwrap(),
        Some(again)
    );
    let now = store.seen(&redis()).unwrap().unwrap();
    assert_eq!((now.served, now.first, now.last), (b, 400, 400));
    assert!(!now.means(&a));
    // Nothing is left in staging, and only the user reads it.
    assert_eq!(
        fs::read_dir(store.path().join("staging")).unwrap().count(),
        0
    );
    let mode = fs::metadata(file(&store)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_index_has_a_manifest_for_each_platform() {
    let (_scratch, store) = store("tags-index");
    let (index, other) = (digest("index"), digest("other index"));
    let (amd, arm) = (digest("amd64"), digest("arm64"));
    store.record_seen(&redis(), &index, &amd, 1).unwrap();
    let both = store.record_seen(&redis(), &index, &arm, 2).unwrap();
    assert!(both.means(&index) && both.means(&amd) && both.means(&arm));
    // The same manifest out of another index is no other image, and vouches for no other either.
    let same = store.record_seen(&redis(), &other, &amd, 3).unwrap();
    assert_eq!((same.served, same.last), (index, 3));
    let new = digest("new arm64");
    let moved = store.record_seen(&redis(), &other, &new, 4).unwrap();
    assert!(!moved.means(&new) && moved.last == 3);
    // More than an index can have.
    for n in 0..70 {
        let full = store.record_seen(&redis(), &index, &digest(&n.to_string()), 5);
        assert_eq!(full.is_ok(), n < 62, "{n}");
    }
}

#[test]
fn only_tags_have_records() {
    let (_scratch, store) = store("tags-names");
    let a = digest("a");
    let pinned = Reference::parse(&format!("redis:7@{a}")).unwrap();
    assert_eq!(store.seen(&pinned).unwrap(), None);
    for refused in [
        store.record_seen(&pinned, &a, &a, 1).unwrap_err(),
        store.accept_moved(&pinned, &a, &a, 1).unwrap_err(),
    ] {
        assert_eq!(refused.kind, Kind::Usage);
    }
    assert!(!store.path().join("tags").exists());
    store.record_seen(&redis(), &a, &a, 1).unwrap();
    for other in ["redis", "redis:8", "a/redis:7", "quay.example/redis:7"] {
        let other = Reference::parse(other).unwrap();
        assert_eq!(store.seen(&other).unwrap(), None, "{other}");
    }
}

#[test]
fn what_is_not_understood_is_an_error() {
    let (_scratch, store) = store("tags-damage");
    let a = digest("a");
    store.record_seen(&redis(), &a, &a, 1).unwrap();
    let good = fs::read_to_string(file(&store)).unwrap();
    for (bad, word) in [
        (String::new(), "damaged"),
        ("{}".to_owned(), "damaged"),
        (good[..good.len() - 1].to_owned(), "damaged"),
        (good.replace("\"version\":1", "\"version\":0"), "damaged"),
        (
            good.replace("\"version\":1", "\"version\":2,\"more\":3"),
            "a newer lazaret's",
        ),
        (good.replace("\"first\"", "\"fist\""), "damaged"),
        (
            good.replace("\"first\"", "\"extra\":1,\"first\""),
            "damaged",
        ),
        (good.replace("redis:7", "redis:8"), "another name"),
        (good.replace("sha256:", "sha256:x"), "damaged"),
        (" ".repeat(MAX_RECORD) + &good, "more than"),
    ] {
        fs::write(file(&store), &bad).unwrap();
        let errors = [
            store.seen(&redis()).unwrap_err(),
            store.record_seen(&redis(), &a, &a, 2).unwrap_err(),
            store.accept_moved(&redis(), &a, &a, 2).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind, Kind::Store);
            assert!(error.cause.contains(word), "{bad:.60}: {}", error.cause);
        }
        assert_eq!(fs::read_to_string(file(&store)).unwrap(), bad);
    }
    // A link in its place leads nowhere.
    fs::remove_file(file(&store)).unwrap();
    std::os::unix::fs::symlink("/dev/zero", file(&store)).unwrap();
    assert!(store.seen(&redis()).is_err());
}

#[test]
fn of_many_that_are_first_one_is() {
    let (_scratch, store) = store("tags-race");
    let answers: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let store = &store;
                scope.spawn(move || {
                    let own = digest(&n.to_string());
                    store.record_seen(&redis(), &own, &own, n).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let meant = store.seen(&redis()).unwrap().unwrap();
    assert!(answers.iter().all(|seen| *seen == meant), "{answers:?}");
}
