//! Giving a name while others take away what no name refers to, and what stays of that.

use super::*;
use rustix::fs::FlockOperation;

#[test]
fn an_image_that_lost_a_blob_meanwhile_gets_no_name() {
    let scratch = Scratch::new("store");
    let image = image(&layout(&scratch, "image", &[layer(1), layer(2)]));
    let store = Store::open(&scratch.0.join("store")).unwrap();
    drop(ensure(&store, &image).unwrap());
    store.put_ref("first", &image).unwrap();
    // Between the two steps of a load, somebody removes the one other name.
    drop(ensure(&store, &image).unwrap());
    rmi(&store, "first").unwrap();
    assert_eq!(store.put_whole_ref("second", &image).unwrap(), None);
    assert_eq!(store.refs().unwrap(), []);
    drop(ensure(&store, &image).unwrap());
    assert!(store.put_whole_ref("second", &image).unwrap().is_some());
    assert!(store.image(&store.refs().unwrap()[0]).is_ok());
}

#[test]
fn a_leftover_that_stays_keeps_no_other() {
    let scratch = Scratch::new("store");
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let folder = |label: &str| store.path().join(format!("staging/{label}+1-1-1-1"));
    for label in ["a-lost-map", "another"] {
        fs::create_dir_all(folder(label).join("fs")).unwrap();
    }
    let mut remove = |label: &str, _: std::os::fd::BorrowedFd<'_>| match label {
        "a-lost-map" => Err(Error::new(Kind::Host, "no such ids")),
        _ => Ok(()),
    };
    let error = store.collect_with(&mut remove).unwrap_err();
    assert!(error.hint.unwrap().contains("staging/a-lost-map+1"));
    assert!(folder("a-lost-map").exists());
    assert!(!folder("another").exists());
}

#[test]
fn removal_waits_for_those_who_give_names() {
    let scratch = Scratch::new("store");
    let image = image(&layout(&scratch, "image", &[layer(1)]));
    let path = scratch.0.join("store");
    let store = Store::open(&path).unwrap();
    drop(ensure(&store, &image).unwrap());
    store.put_ref("one", &image).unwrap();
    let naming = store.lock_names(FlockOperation::LockShared).unwrap();
    // Several may give names at once.
    store.put_ref("two", &image).unwrap();
    std::thread::scope(|scope| {
        let removal = scope.spawn(|| {
            let store = Store::open(&path).unwrap();
            rmi(&store, "one").unwrap();
            rmi(&store, "two").unwrap();
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!removal.is_finished());
        assert_eq!(store.refs().unwrap().len(), 2);
        drop(naming);
        removal.join().unwrap();
    });
    assert_eq!(store.usage().unwrap(), Usage::default());
}
