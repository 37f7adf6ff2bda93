//! Headers, limits, compression, digests.

use super::super::*;
use super::support::*;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn long_names_come_from_pax_or_gnu_and_never_from_both() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let target = "t".repeat(300);
    let done = good(
        tar()
            .pax(&[("path", long.as_bytes()), ("mtime", b"1.5")])
            .file("short", b"pax")
            .extension(b'L', b"gnu-name\0")
            .extension(b'K', format!("{target}\0").as_bytes())
            .link(b'2', "short", "short"),
    );
    assert_eq!(fs::read(done.at(&long)).unwrap(), b"pax");
    assert_eq!(
        fs::metadata(done.at(&long)).unwrap().mtime_nsec(),
        500_000_000
    );
    assert_eq!(
        fs::read_link(done.at("gnu-name")).unwrap(),
        Path::new(&target)
    );

    let twice = |t: &mut Tar| refused(Kind::Malformed, "header", t);
    twice(
        tar()
            .pax(&[("path", b"a")])
            .pax(&[("path", b"b")])
            .file("c", b""),
    );
    twice(
        tar()
            .extension(b'L', b"a\0")
            .extension(b'L', b"b\0")
            .file("c", b""),
    );
    twice(tar().pax(&[("path", b"a")]));
    twice(tar().extension(b'K', b"a\0"));
    refused(
        Kind::Malformed,
        "GNU name",
        tar()
            .pax(&[("path", b"a")])
            .extension(b'L', b"b\0")
            .file("c", b""),
    );
    refused(
        Kind::Malformed,
        "long name",
        tar().extension(b'L', b"a\0b\0").file("c", b""),
    );
    refused(
        Kind::Malformed,
        "..",
        tar().pax(&[("path", b"a/../b")]).file("c", b""),
    );
    refused(
        Kind::Malformed,
        "global",
        tar().extension(b'g', &record("path", b"x")).file("c", b""),
    );
}

/// CVE-2026-33055 and its like: two parsers that disagree about a member's size see two archives.
#[test]
fn the_size_of_pax_is_the_size() {
    let mut t = tar();
    let mut inner = tar();
    inner.file("smuggled", b"x");
    let body = inner.0;
    let size = body.len().to_string();
    t.pax(&[("size", size.as_bytes())])
        .raw(&head(b'0', "outer"), &body)
        .file("after", b"");
    good(&mut t).holds(&[
        ("/", "dir 755"),
        ("/after", "file 0 644"),
        ("/outer", "file 1024 644"),
    ]);
    refused(
        Kind::Malformed,
        "pax",
        tar().pax(&[("size", b"1"), ("size", b"2")]).file("a", b"x"),
    );
    for kind in [b'1', b'2', b'3', b'5', b'6'] {
        let head = Head {
            size: 512,
            link: b"x",
            device: (1, 3),
            ..head(kind, "a")
        };
        refused(Kind::Malformed, "without any", tar().raw(&head, &[0; 512]));
    }
}

#[test]
fn broken_headers_are_refused() {
    let whole = tar().file("a", b"hello").file("b", b"hello").end();
    let mut flipped = whole.clone();
    flipped[3] ^= 1;
    refused_raw(Kind::Malformed, "checksum", &flipped, &Limits::default());
    for cut in [1, 511, 513, 515, 1023 + 2, 1536 + 4] {
        refused_raw(Kind::Malformed, "ends", &whole[..cut], &Limits::default());
    }
    let mut junk = whole.clone();
    junk.push(1);
    refused_raw(Kind::Malformed, "behind the end", &junk, &Limits::default());
    let hidden = [&whole[..], &tar().file("c", b"").end()].concat();
    refused_raw(
        Kind::Malformed,
        "behind the end",
        &hidden,
        &Limits::default(),
    );
    let mut padded = whole;
    padded.resize(padded.len() + 9000, 0);
    assert!(try_plain(&padded, &Limits::default()).1.is_ok());

    for field in [100, 108, 116, 124, 136] {
        let mut t = tar();
        t.file("a", b"");
        let mut block = *t.0.first_chunk::<512>().unwrap();
        block[field] = b'9';
        refused(Kind::Malformed, "malformed", tar().block(block, b""));
    }
    for (kind, error) in [
        (b'S', "sparse"),
        (b'V', "type"),
        (b'M', "type"),
        (b'z', "type"),
    ] {
        refused(Kind::Unsupported, error, tar().raw(&head(kind, "a"), b""));
    }
    refused(Kind::Malformed, "slash", tar().file("a/", b""));
    refused(Kind::Malformed, "slash", tar().link(b'2', "a/", "x"));
    refused(Kind::Malformed, "no name", tar().file("", b""));
    refused(
        Kind::Malformed,
        "link to nothing",
        tar().link(b'2', "a", ""),
    );
    refused(
        Kind::Malformed,
        "not an id",
        tar().pax(&[("uid", b"4294967295")]).file("a", b""),
    );
}

/// `umoci insert` writes no end and no padding behind the last member.
#[test]
fn the_last_padding_may_be_missing() {
    let whole = tar().file("a", b"hello").file("b", b"hello").end();
    let last = whole.len() - 1024 - 507;
    for cut in [last, last + 1, last + 506, last + 507] {
        let (scratch, unpacked) = try_plain(&whole[..cut], &Limits::default());
        assert_eq!(unpacked.unwrap().facts.files, 3, "{cut}");
        assert_eq!(fs::read(scratch.0.join("fs/b")).unwrap(), b"hello");
    }
    // Of an extension there is more to come.
    let open = tar().pax(&[("path", b"c")]).0.clone();
    let end = open.len() - 512 + b"9 path=c\n".len();
    refused_raw(Kind::Malformed, "ends", &open[..end], &Limits::default());
}

#[test]
fn what_an_image_wrote_is_quoted() {
    refused(
        Kind::Malformed,
        r"\u{1b}[31m",
        tar().file("\x1b[31m/../x", b""),
    );
}

#[test]
fn limits_hold() {
    let small = Limits {
        size: 1 << 20,
        entries: 50,
        depth: 10,
        path: 1000,
        entry_xattrs: 1000,
        layer_xattrs: 3000,
        list: 10_000,
        ..Limits::default()
    };
    let limited = |word: &str, t: &mut Tar| refused_raw(Kind::Limit, word, &t.end(), &small);
    limited("unpacks to more", tar().file("a", &vec![0; 1 << 20]));
    let mut many = tar();
    for n in 0..10 {
        many.dir(&format!("{n}/a/b/c/d/e/f"));
    }
    limited("entries", &mut many);
    let mut same = tar();
    for _ in 0..60 {
        same.file("a", b"");
    }
    limited("members", &mut same);
    limited("deep", tar().dir(&"d/".repeat(11)));
    assert!(
        try_plain(&tar().dir(&"d/".repeat(10)).end(), &small)
            .1
            .is_ok()
    );
    let long = "d/".repeat(600);
    limited(
        "a path of 1200 bytes",
        tar().pax(&[("path", long.as_bytes())]).dir("x"),
    );
    let name = "n".repeat(256);
    limited(
        "a name of 256",
        tar().pax(&[("path", name.as_bytes())]).file("x", b""),
    );
    let target = "t".repeat(4096);
    limited(
        "too long",
        tar()
            .pax(&[("linkpath", target.as_bytes())])
            .link(b'2', "x", "y"),
    );
    limited(
        "extended attributes",
        tar().pax(&[("SCHILY.xattr.user.a", &[1; 1000])]).dir("x"),
    );
    let mut xattrs = tar();
    for n in 0..4 {
        xattrs
            .pax(&[("SCHILY.xattr.user.a", &[1; 900])])
            .dir(&format!("d{n}"));
    }
    limited("extended attributes", &mut xattrs);
    limited(
        "extension header",
        tar().raw(
            &Head {
                size: 2 << 20,
                ..head(b'x', "x")
            },
            b"",
        ),
    );
    let mut index = tar();
    for n in 0..40 {
        let target = "t".repeat(400);
        index
            .pax(&[("linkpath", target.as_bytes())])
            .link(b'2', &format!("{n}"), "y");
    }
    limited("index", &mut index);
}

#[test]
fn deep_folders_are_refused_at_any_limit() {
    let limits = Limits {
        depth: 100_000,
        ..Limits::default()
    };
    let mut t = tar();
    t.pax(&[("path", "d/".repeat(2000).as_bytes())]).dir("x");
    refused_raw(Kind::Limit, "deep", &t.end(), &limits);
}

#[test]
fn every_compression_gives_the_same_tree() {
    let plain = tar().file("a", &vec![7; 1_000_000]).file("b", b"x").end();
    let (half, rest) = plain.split_at(plain.len() / 2);
    let members = [gzip(half), gzip(rest)].concat();
    let frames = [
        zstd::encode_all(half, 3).unwrap(),
        zstd::encode_all(rest, 3).unwrap(),
    ]
    .concat();
    let (_keep, first) = try_plain(&plain, &Limits::default());
    for (compression, blob) in [
        (Compression::Gzip, gzip(&plain)),
        (Compression::Gzip, members),
        (Compression::Zstd, zstd::encode_all(&plain[..], 3).unwrap()),
        (Compression::Zstd, frames),
    ] {
        let expect = expect(compression, &blob, &plain);
        let (_keep, unpacked) = try_with(compression, &blob, expect, &Limits::default());
        assert_eq!(unpacked.unwrap().list, first.as_ref().unwrap().list);
    }
}

#[test]
fn what_follows_the_compressed_stream_is_refused() {
    let plain = tar().file("a", b"x").end();
    for (compression, whole) in [
        (Compression::Gzip, gzip(&plain)),
        (Compression::Zstd, zstd::encode_all(&plain[..], 3).unwrap()),
    ] {
        for junk in [
            &b"\0"[..],
            b"x",
            b"\x1f",
            b"\x1f\x8b",
            &[0; 512],
            b"garbage behind it",
        ] {
            let blob = [&whole[..], junk].concat();
            let expect = expect(compression, &blob, &plain);
            let (_keep, unpacked) = try_with(compression, &blob, expect, &Limits::default());
            assert_eq!(
                unpacked.unwrap_err().kind,
                Kind::Malformed,
                "{compression:?} {junk:?}"
            );
        }
        let cut = &whole[..whole.len() - 3];
        let expect = expect(compression, cut, &plain);
        let (_keep, unpacked) = try_with(compression, cut, expect, &Limits::default());
        assert_eq!(
            unpacked.unwrap_err().kind,
            Kind::Malformed,
            "{compression:?} cut"
        );
    }
}

#[test]
fn lies_about_digest_size_and_diff_id_are_found() {
    let plain = tar().file("a", &vec![7; 600_000]).end();
    let lie = DiffId(Digest::of(b"lie"));
    for (compression, blob) in [
        (Compression::None, plain.clone()),
        (Compression::Gzip, gzip(&plain)),
        (Compression::Zstd, zstd::encode_all(&plain[..], 3).unwrap()),
    ] {
        let honest = expect(compression, &blob, &plain);
        let size = honest.size;
        let mut flipped = blob.clone();
        flipped[blob.len() / 2] ^= 4;
        for (what, bytes, expect) in [
            (
                "diff id",
                &blob,
                Expect {
                    hashed: false,
                    diff_id: lie,
                    ..honest
                },
            ),
            (
                "digest",
                &blob,
                Expect {
                    digest: lie.0,
                    ..honest
                },
            ),
            (
                "longer",
                &blob,
                Expect {
                    size: size - 1,
                    ..honest
                },
            ),
            (
                "shorter",
                &blob,
                Expect {
                    size: size + 1,
                    ..honest
                },
            ),
            ("flip", &flipped, honest),
            ("cut", &blob[..blob.len() - 1].to_vec(), honest),
            ("empty", &Vec::new(), honest),
        ] {
            let (_keep, unpacked) = try_with(compression, bytes, expect, &Limits::default());
            let err = unpacked.unwrap_err();
            assert_eq!(err.kind, Kind::Integrity, "{compression:?} {what}: {err}");
        }
    }
}

#[test]
fn bombs_are_stopped_while_they_stream() {
    let limits = Limits {
        ratio: 100,
        ratio_floor: 4 << 20,
        ..Limits::default()
    };
    let bomb = tar().file("zeros", &vec![0; 64 << 20]).end();
    for (compression, blob) in [
        (Compression::Gzip, gzip(&bomb)),
        (Compression::Zstd, zstd::encode_all(&bomb[..], 3).unwrap()),
    ] {
        let expect = expect(compression, &blob, &bomb);
        let (scratch, unpacked) = try_with(compression, &blob, expect, &limits);
        assert_eq!(unpacked.unwrap_err().kind, Kind::Limit);
        let written = fs::metadata(scratch.0.join("fs/zeros")).map_or(0, |m| m.len());
        let most = (100 * blob.len() as u64).max(4 << 20) + (2 << 20);
        assert!(
            written <= most,
            "{written} bytes were written first, of {most}"
        );
        assert!(most < 16 << 20);
    }
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(26).unwrap();
    encoder.write_all(&bomb).unwrap();
    let blob = encoder.finish().unwrap();
    let expect = expect(Compression::Zstd, &blob, &bomb);
    let (_keep, unpacked) = try_with(Compression::Zstd, &blob, expect, &Limits::default());
    assert_eq!(
        unpacked.unwrap_err().kind,
        Kind::Malformed,
        "a window of 64 MiB"
    );
}
