use super::*;
use crate::store::source::tests::Scratch;
use std::io::Write;

/// One header, with a right checksum, and its content padded to blocks.
fn raw(kind: u8, name: &str, size: u64, content: &[u8], link: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_size(size);
    header.set_mode(0o644);
    header.as_mut_bytes()[156] = kind;
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn entry(kind: u8, name: &str, content: &[u8]) -> Vec<u8> {
    raw(kind, name, content.len() as u64, content, "")
}

fn link(name: &str, target: &str) -> Vec<u8> {
    raw(b'2', name, 0, b"", target)
}

fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let records: String = records
        .iter()
        .map(|(key, value)| record(key, value))
        .collect();
    entry(b'x', "PaxHeaders/x", records.as_bytes())
}

fn file_of(bytes: &[u8]) -> (Scratch, File) {
    let scratch = Scratch::new();
    let path = scratch.path("a.tar");
    std::fs::write(&path, bytes).unwrap();
    (scratch, File::open(path).unwrap())
}

fn closed(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn scan(parts: &[Vec<u8>]) -> Result<Vec<Member>> {
    let (_scratch, file) = file_of(&closed(parts));
    scan_archive(&file)
}

fn archive(parts: &[Vec<u8>]) -> (Scratch, Archive) {
    let (scratch, file) = file_of(&closed(parts));
    let members = scan_archive(&file).unwrap();
    (scratch, Archive::new(file, members).unwrap())
}

fn names(parts: &[Vec<u8>]) -> Vec<String> {
    scan(parts).unwrap().into_iter().map(|m| m.name).collect()
}

#[track_caller]
fn refused(parts: &[Vec<u8>]) -> Error {
    scan(parts).unwrap_err()
}

#[test]
fn members_are_found_where_they_are() {
    let (_scratch, archive) = archive(&[
        entry(b'5', "./", b""),
        entry(b'5', "blobs/", b""),
        entry(b'0', "./blobs/a", b"first"),
        entry(b'0', "empty", b""),
        entry(0, "old", &[7; 1000]),
        entry(0, "older/", b""),
        entry(b'3', "dev", b""),
        link("l", "blobs/a"),
    ]);
    let member = archive.find("blobs/a").unwrap().unwrap();
    assert_eq!(archive.bytes(member, 5).unwrap(), b"first");
    assert_eq!(archive.bytes(member, 4).unwrap_err().kind, Kind::Limit);
    let old = archive.find("old").unwrap().unwrap();
    assert_eq!(archive.bytes(old, 1000).unwrap(), [7; 1000]);
    assert_eq!(archive.find("empty").unwrap().unwrap().size, 0);
    assert!(archive.find("absent").unwrap().is_none());
    for not_a_file in ["blobs", "older", "dev", "l"] {
        assert_eq!(
            archive.find(not_a_file).unwrap_err().kind,
            Kind::Malformed,
            "{not_a_file}"
        );
    }
}

#[test]
fn what_the_tar_crate_writes_is_read() {
    let long = format!("{}/layer.tar", "d/".repeat(120));
    let mut builder = tar::Builder::new(Vec::new());
    for name in ["a", &long] {
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o600);
        builder
            .append_data(&mut header, name, b"abc".as_slice())
            .unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let (_scratch, file) = file_of(&bytes);
    let names: Vec<_> = scan_archive(&file)
        .unwrap()
        .into_iter()
        .map(|m| m.name)
        .collect();
    assert_eq!(names, ["a".to_owned(), long.replace("//", "/")]);
}

#[test]
fn long_names_and_pax_names_are_taken() {
    let long = "x/".repeat(100) + "y";
    assert_eq!(
        names(&[
            entry(b'L', "././@LongLink", format!("{long}\0").as_bytes()),
            entry(b'0', "s", b"")
        ]),
        std::slice::from_ref(&long)
    );
    assert_eq!(
        names(&[
            pax(&[("path", &long), ("mtime", "1.5"), ("comment", "a\nb")]),
            entry(b'0', "s", b"1")
        ]),
        [long]
    );
    let big = scan(&[pax(&[("size", "3")]), raw(b'0', "s", 0, b"abc", "")]).unwrap();
    assert_eq!(big[0].size, 3);
    let linked = scan(&[entry(b'K', "k", b"target\0"), link("s", "other")]).unwrap();
    assert_eq!(linked[0].kind, MemberKind::Symlink("target".into()));
    assert!(
        scan(&[
            entry(b'g', "g", record("comment", "0123").as_bytes()),
            entry(b'0', "s", b"")
        ])
        .is_ok()
    );
}

#[test]
fn members_that_two_readers_read_differently_are_refused() {
    let long = || entry(b'L', "l", b"one\0");
    let file = || entry(b'0', "s", b"abc");
    for parts in [
        vec![long(), long(), file()],
        vec![pax(&[("path", "a"), ("path", "b")]), file()],
        vec![pax(&[("path", "a")]), pax(&[("path", "b")]), file()],
        vec![long(), pax(&[("path", "two")]), file()],
        vec![pax(&[("size", "2")]), file()],
        vec![pax(&[("size", "+3")]), raw(b'0', "s", 0, b"abc", "")],
        vec![pax(&[("GNU.sparse.major", "1")]), file()],
        vec![entry(b'g', "g", record("path", "a").as_bytes()), file()],
        vec![entry(b'g', "g", record("size", "0").as_bytes()), file()],
        vec![long()],
        vec![pax(&[("mtime", "1")])],
        vec![entry(b'S', "sparse", b"")],
        vec![entry(b'?', "unknown", b"")],
        vec![entry(b'0', "file/", b"")],
        vec![raw(b'5', "folder", 512, &[0; 512], "")],
        vec![raw(b'1', "hardlink", 3, b"abc", "s")],
        vec![raw(b'2', "symlink", 3, b"abc", "s")],
    ] {
        assert_eq!(refused(&parts).kind, Kind::Malformed);
    }
}

#[test]
fn broken_pax_records_are_refused() {
    for records in [
        "x",
        "5 a=b",
        "6 a=b",
        "7 a=b\n",
        "5 a=b\n",
        "06 a=b\n",
        "+6 a=b\n",
        "6 ab \n",
        " a=b\n",
        "99999999999999999999 a=b\n",
        "6 a=b\nx",
        "0 a=b\n",
        "1 ",
        "2 \n",
    ] {
        refused(&[entry(b'x', "x", records.as_bytes()), entry(b'0', "s", b"")]);
    }
    assert!(scan(&[entry(b'x', "x", b"6 a=b\n"), entry(b'0', "s", b"")]).is_ok());
    // Other records than names may be binary: SELinux labels, xattrs.
    assert!(scan(&[entry(b'x', "x", b"7 a=\xff\0\n"), entry(b'0', "s", b"")]).is_ok());
    refused(&[entry(b'x', "x", b"10 path=\xff\n"), entry(b'0', "s", b"")]);
}

#[test]
fn names_stay_inside() {
    for name in ["/etc/passwd", "../a", "a/../b", "a/..", ".."] {
        assert_eq!(
            refused(&[entry(b'0', name, b"")]).kind,
            Kind::Malformed,
            "{name}"
        );
        assert_eq!(
            refused(&[pax(&[("path", name)]), entry(b'0', "s", b"")]).kind,
            Kind::Malformed
        );
    }
    for name in ["", ".", "./"] {
        assert_eq!(
            refused(&[pax(&[("path", name)]), entry(b'2', "s", b"")]).kind,
            Kind::Malformed
        );
    }
    refused(&[pax(&[("path", "a\0b")]), entry(b'0', "s", b"")]);
    assert_eq!(names(&[entry(b'0', ".//a/./b", b"")]), ["a/b"]);
}

#[test]
fn cut_and_continued_archives_are_refused() {
    let honest = closed(&[entry(b'0', "a", &[1; 700])]);
    let with = |bytes: &[u8]| {
        let (_scratch, file) = file_of(bytes);
        scan_archive(&file)
    };
    assert!(with(&honest).is_ok());
    for length in [0, 1, 511, 512, 513, 1024, 1211, 1535, 1536] {
        assert_eq!(
            with(&honest[..length]).unwrap_err().kind,
            Kind::Malformed,
            "{length}"
        );
    }
    // One block of the two that end an archive is enough to know that it ends.
    assert!(with(&honest[..2048]).is_ok());
    let mut hidden = honest.clone();
    hidden.extend(entry(b'0', "b", b""));
    assert_eq!(with(&hidden).unwrap_err().kind, Kind::Malformed);
    let mut padded = honest.clone();
    padded.resize(padded.len() + (2 << 20), 0);
    assert_eq!(with(&padded).unwrap_err().kind, Kind::Malformed);
    let mut flipped = honest;
    flipped[0] ^= 1;
    assert!(with(&flipped).unwrap_err().cause.contains("not a tar"));
}

#[test]
fn sizes_beyond_the_file_are_refused() {
    for size in [513, 1 << 33, u64::MAX >> 1, u64::MAX] {
        assert!(scan(&[raw(b'0', "a", size, b"", "")]).is_err(), "{size}");
    }
    let huge = (u64::MAX - 100).to_string();
    refused(&[pax(&[("size", &huge)]), raw(b'0', "s", 0, b"", "")]);
}

#[test]
fn memory_for_names_is_capped() {
    let long = raw(b'L', "l", MAX_NAME + 1, &[b'a'; 4097], "");
    assert_eq!(refused(&[long, entry(b'0', "s", b"")]).kind, Kind::Limit);
    // Sparse on disk, so that only the cap keeps the bytes from being read.
    let scratch = Scratch::new();
    let mut file = std::fs::File::create_new(scratch.path("a")).unwrap();
    file.write_all(&raw(b'x', "x", 1 << 36, b"", "")).unwrap();
    file.set_len(1 << 37).unwrap();
    let file = File::open(scratch.path("a")).unwrap();
    assert_eq!(scan_archive(&file).unwrap_err().kind, Kind::Limit);
}

#[test]
fn members_are_counted() {
    let parts = [
        entry(b'0', "a", b""),
        pax(&[("path", "b")]),
        entry(b'0', "s", b""),
    ];
    let (_scratch, file) = file_of(&closed(&parts));
    assert_eq!(scan_up_to(&file, 3).unwrap().len(), 2);
    assert_eq!(scan_up_to(&file, 2).unwrap_err().kind, Kind::Limit);
}

#[test]
fn compressed_archives_get_a_remedy() {
    for magic in [
        b"\x1f\x8b\x08\0\0\0".as_slice(),
        b"\x28\xb5\x2f\xfd\0\0",
        b"\xfd7zXZ\0",
        b"BZh91A",
    ] {
        let mut bytes = magic.to_vec();
        bytes.resize(2048, 1);
        let (_scratch, file) = file_of(&bytes);
        let error = scan_archive(&file).unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported);
        assert!(error.hint.is_some());
    }
}

#[test]
fn a_name_that_is_there_twice_is_not_found_at_all() {
    let (_scratch, archive) = archive(&[
        entry(b'0', "manifest.json", b"1"),
        entry(b'5', "d", b""),
        entry(b'0', "once", b""),
        entry(b'5', "d/", b""),
        entry(b'0', "./manifest.json", b"2"),
        entry(b'0', "dd", b""),
        entry(b'5', "dd", b""),
    ]);
    for twice in ["manifest.json", "dd"] {
        let error = archive.find(twice).unwrap_err();
        assert!(error.cause.contains("more than once"), "{error}");
    }
    assert!(archive.find("once").unwrap().is_some());
}

#[test]
fn old_layers_links_are_followed_once_and_inside() {
    let (_scratch, archive) = archive(&[
        entry(b'0', "b/layer.tar", b"abc"),
        link("a/layer.tar", "../b/layer.tar"),
        link("chain/layer.tar", "../a/layer.tar"),
        link("self", "self"),
        link("out/layer.tar", "../../b/layer.tar"),
        link("absolute", "/b/layer.tar"),
        link("gone", "b/other"),
        link("empty", ""),
    ]);
    let found = archive.find_through_link("a/layer.tar").unwrap().unwrap();
    assert_eq!(found.name, "b/layer.tar");
    assert_eq!(
        archive.find_through_link("b/layer.tar").unwrap(),
        Some(found)
    );
    assert!(archive.find_through_link("gone").unwrap().is_none());
    for bad in [
        "chain/layer.tar",
        "self",
        "out/layer.tar",
        "absolute",
        "empty",
    ] {
        assert_eq!(
            archive.find_through_link(bad).unwrap_err().kind,
            Kind::Malformed,
            "{bad}"
        );
    }
    assert!(archive.find("a/layer.tar").is_err());
}

#[test]
fn members_from_another_process_are_checked_again() {
    let (_scratch, file) = file_of(&closed(&[entry(b'0', "a", b"abc")]));
    let lie = |offset, size| Member {
        name: "a".into(),
        offset,
        size,
        kind: MemberKind::File,
    };
    for (offset, size) in [
        (512, 10_000),
        (u64::MAX, 1),
        (10_000, 0),
        (u64::MAX, u64::MAX),
    ] {
        let file = file.try_clone().unwrap();
        assert!(
            Archive::new(file, vec![lie(offset, size)]).is_err(),
            "{offset} {size}"
        );
    }
}
