//! The bounds of what is kept of an image's signatures.

use super::*;
use crate::trust::{Attachment, Attachments, Bytes, How, Over, Untaken};

fn attached(text: &str) -> Attachments {
    Attachments {
        index: None,
        found: vec![Attachment {
            over: Over::Manifest,
            how: How::Tag,
            manifest: Bytes(text.as_bytes().to_vec()),
            blobs: Vec::new(),
        }],
        untaken: Vec::new(),
    }
}

#[test]
fn of_many_places_those_that_were_asked_last_are_kept() {
    let scratch = Scratch::new("store");
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let image = Digest::of(b"image");
    let keep = |from: &str, text: &str, now: i64| {
        store
            .keep_signatures(&image, from, &attached(text), now)
            .unwrap();
    };
    for number in 0..9 {
        keep(&format!("r.example/{number}"), &format!("{number}"), number);
    }
    let from = || {
        let kept = store.signatures(&image).unwrap().unwrap();
        let places = kept.into_iter();
        places
            .map(|place| (place.from, place.attached.found[0].manifest.0.clone()))
            .collect::<Vec<_>>()
    };
    let expected: Vec<(String, Vec<u8>)> = (1..9)
        .rev()
        .map(|number| (format!("r.example/{number}"), number.to_string().into()))
        .collect();
    assert_eq!(from(), expected);
    // One that is asked again is replaced, and takes nobody's place.
    keep("r.example/1", "anew", 9);
    let now = from();
    assert_eq!(now.len(), 8);
    assert_eq!(now[0], ("r.example/1".to_owned(), b"anew".to_vec()));
    assert_eq!(now[7].0, "r.example/2");
}

#[test]
fn a_record_of_more_than_a_mebibyte_is_not_written() {
    let scratch = Scratch::new("store");
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let image = Digest::of(b"image");
    let keep = |from: &str| store.keep_signatures(&image, from, &attached("a"), 1);
    // All but the name of the place is the same.
    keep("").unwrap();
    let file = store.path().join("signatures").join(image.hex());
    let rest = fs::read(&file).unwrap().len();
    let longest = "x".repeat((1 << 20) - rest);
    fs::remove_file(&file).unwrap();
    keep(&longest).unwrap();
    assert_eq!(fs::read(&file).unwrap().len(), 1 << 20);
    fs::remove_file(&file).unwrap();
    let longer = format!("{longest}x");
    assert_eq!(keep(&longer).unwrap_err().kind, Kind::Limit);
    assert!(!file.exists());
    keep("r.example/x").unwrap();
    let error = keep(&longer).unwrap_err();
    assert!(error.cause.contains("they are too many"), "{}", error.cause);
    // What was kept before is there still.
    let kept = store.signatures(&image).unwrap().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].from, "r.example/x");
}

#[test]
fn of_what_was_not_taken_a_part_is_remembered() {
    let scratch = Scratch::new("store");
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let image = Digest::of(b"image");
    let untaken = Untaken {
        which: None,
        why: "ä".repeat(1000),
    };
    let all = Attachments {
        untaken: vec![untaken; 100],
        ..attached("a")
    };
    store
        .keep_signatures(&image, "r.example/x", &all, 1)
        .unwrap();
    let kept = store.signatures(&image).unwrap().unwrap();
    assert_eq!(kept[0].attached.untaken.len(), 32);
    assert_eq!(kept[0].attached.untaken[0].why, "ä".repeat(240));
}
