//! Blobs: size, digest, time, and what broke off in the middle.

use super::support::{Answer, Registry};
use super::{blob, blob_as, bytes_of, fails, layer_of, layout, options};
use lazaret::error::Kind;
use lazaret::image::Digest;
use std::time::Duration;

#[test]
fn blobs_that_are_not_what_was_named_are_refused() {
    let layout = layout();
    let good = bytes_of(&layout);
    let mut flipped = good.clone();
    flipped[300_000] ^= 1;
    let long = [&good[..], b"x"].concat();
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let chunked = Answer::head(200, &["Transfer-Encoding: chunked"]);
    let half = &good[..200_000];
    for (name, answer, kind, says) in [
        (
            "a flip",
            Answer::new(200, &[], &flipped),
            Kind::Integrity,
            "the bytes are",
        ),
        (
            "too long by header",
            Answer::new(200, &[], &long),
            Kind::Integrity,
            "announced",
        ),
        (
            "too short by header",
            Answer::new(200, &[], half),
            Kind::Integrity,
            "announced",
        ),
        (
            "too long in chunks",
            chunked.clone().bytes(chunk(&long)).bytes("0\r\n\r\n"),
            Kind::Integrity,
            "more came",
        ),
        (
            "too short in chunks",
            chunked.clone().bytes(chunk(half)).bytes("0\r\n\r\n"),
            Kind::Integrity,
            "200000 bytes came",
        ),
        (
            "endless chunks",
            chunked.clone().endless(chunk(&good)),
            Kind::Integrity,
            "",
        ),
        (
            "endless",
            Answer::head(200, &[]).endless(&good),
            Kind::Integrity,
            "more came",
        ),
        (
            "a web page",
            Answer::new(200, &["Content-Type: text/html"], "<html>"),
            Kind::Registry,
            "web page",
        ),
        (
            "unasked parts",
            Answer::new(206, &["Content-Range: bytes 0-1/2"], "xx"),
            Kind::Malformed,
            "unasked",
        ),
        (
            "stalled",
            Answer::head(200, &[]).bytes(half).hang(),
            Kind::Registry,
            "stalled",
        ),
        (
            "bad chunks",
            chunked.clone().bytes("zz\r\n"),
            Kind::Malformed,
            "HTTP",
        ),
        ("gone", Answer::new(404, &[], ""), Kind::NotFound, "404"),
    ] {
        let registry = Registry::new(move |_, _| answer.clone());
        let error = blob(&registry, &layer_of(&layout)).expect_err(name);
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(error.to_string().contains(says), "{name}: {error}");
    }
    let dripping = (0..60).fold(Answer::head(200, &[]), |answer, _| {
        answer.bytes("x").pause(Duration::from_millis(100))
    });
    let registry = Registry::new(move |_, _| dripping.clone());
    fails(
        blob(&registry, &layer_of(&layout)),
        Kind::Registry,
        "too slowly",
    );
}

/// A size that would allow for hours does not.
#[test]
fn a_large_blob_that_drips_ends_soon() {
    let layout = layout();
    let mut large = layer_of(&layout);
    large.size = 1 << 30;
    let mut options = options();
    options.limits.slowest = 256 << 10;
    let length = format!("Content-Length: {}", large.size);
    let dripping = (0..100).fold(Answer::head(200, &[&length]), |answer, _| {
        answer.bytes("x").pause(Duration::from_millis(100))
    });
    let registry = Registry::new(move |_, _| dripping.clone());
    let got = blob_as(options, &registry.image(), &large);
    fails(got, Kind::Registry, "too slowly");
    assert_eq!(registry.asked().len(), 1);
}

/// So does the reason of a failure.
#[test]
fn a_reason_that_drips_is_not_waited_for() {
    let layout = layout();
    let mut large = layer_of(&layout);
    large.size = 1 << 30;
    let mut options = options();
    options.limits.slowest = 1 << 10;
    let dripping = (0..200).fold(Answer::head(404, &[]), |answer, _| {
        answer.bytes(" ").pause(Duration::from_millis(100))
    });
    let registry = Registry::new(move |_, _| dripping.clone());
    let got = blob_as(options, &registry.image(), &large);
    fails(got, Kind::NotFound, "404");
}

#[test]
fn what_is_refused_before_it_is_asked_for() {
    let registry = Registry::new(|_, _| Answer::nothing());
    let mut foreign = layer_of(&layout());
    foreign.media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    fails(blob(&registry, &foreign), Kind::Unsupported, "foreign");
    let mut huge = layer_of(&layout());
    huge.size = 1 << 50;
    fails(blob(&registry, &huge), Kind::Limit, "bytes");
    assert_eq!(registry.asked().len(), 0);
}

#[test]
fn a_blob_of_nothing_is_a_blob() {
    let mut layout = layout();
    let empty = layout.add("x/y", Vec::new());
    let registry = Registry::of(&layout, |_, _| None);
    let mut descriptor = layer_of(&layout);
    (descriptor.digest, descriptor.size) = (Digest::parse(&empty.digest).unwrap(), 0);
    assert_eq!(blob(&registry, &descriptor).unwrap(), (Vec::new(), 0));
}

#[test]
fn what_broke_off_is_taken_up_again() {
    let layout = layout();
    let good = bytes_of(&layout);
    let half =
        Answer::head(200, &[&format!("Content-Length: {}", good.len())]).bytes(&good[..150_000]);
    let ranges = |registry: &Registry| -> Vec<Option<String>> {
        let asked = registry.asked();
        asked
            .iter()
            .map(|a| a.header("range").map(str::to_owned))
            .collect()
    };
    // With a length, without one, and by a stall.
    let open = Answer::head(200, &[]).bytes(&good[..150_000]);
    for first in [half.clone(), open, half.clone().hang()] {
        let registry = Registry::of(&layout, move |_, count| (count == 0).then(|| first.clone()));
        assert_eq!(
            blob(&registry, &layer_of(&layout)).unwrap(),
            (good.clone(), good.len() as u64)
        );
        assert_eq!(ranges(&registry), [None, Some("bytes=150000-".into())]);
    }
    // A registry that knows no ranges, or others, or says that there is none.
    let whole = Answer::new(200, &[], &good);
    let other = Answer::new(206, &["Content-Range: bytes 0-9/10"], &good[..10]);
    let shifted = Answer::new(
        206,
        &[&format!("Content-Range: bytes 150001-{}/*", good.len() - 1)],
        &good[150_001..],
    );
    let none = Answer::new(416, &[], "");
    for (second, asked) in [(whole, 2), (other, 3), (shifted, 3), (none, 3)] {
        let half = half.clone();
        let registry = Registry::of(&layout, move |_, count| match count {
            0 => Some(half.clone()),
            1 => Some(second.clone()),
            _ => None,
        });
        assert_eq!(blob(&registry, &layer_of(&layout)).unwrap().0, good);
        assert_eq!(ranges(&registry).len(), asked);
        assert_eq!(ranges(&registry).get(2), (asked == 3).then_some(&None));
    }
    // Other bytes after the break are found out, whichever way they come.
    for status in [200, 206] {
        let half = half.clone();
        let mut wrong = good.clone();
        wrong[399_999] ^= 1;
        let registry = Registry::of(&layout, move |_, count| match (count, status) {
            (0, _) => Some(half.clone()),
            (_, 200) => Some(Answer::new(200, &[], &wrong)),
            _ => {
                let range = format!(
                    "Content-Range: bytes 150000-{}/{}",
                    wrong.len() - 1,
                    wrong.len()
                );
                Some(Answer::new(206, &[&range], &wrong[150_000..]))
            }
        });
        fails(
            blob(&registry, &layer_of(&layout)),
            Kind::Integrity,
            "the bytes are",
        );
    }
    // One byte at a time is not progress.
    let registry = Registry::of(&layout, move |asked, _| {
        let from = asked.header("range").map_or(0, |_| 1);
        (from == 0)
            .then(|| Answer::head(200, &[]).bytes(&good[..1]))
            .or_else(|| Some(Answer::nothing()))
    });
    fails(
        blob(&registry, &layer_of(&layout)),
        Kind::Registry,
        "closed",
    );
    assert_eq!(registry.asked().len(), 3);
}
