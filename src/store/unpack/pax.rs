//! Pax extended headers (POSIX.1-2017, pax, "pax Extended Header"), strictly.
//!
//! Tools disagree about malformed and repeated records, and an archive that two tools read
//! differently is an attack: anything but a clean record is refused.
use super::{Limits, shown};
use crate::error::{Error, Kind, Result};

/// What the pax header before a member says of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds since 1970, and nanoseconds from there on.
    pub(super) mtime: Option<(i64, u32)>,
    /// `SCHILY.xattr.*`, sorted by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

fn malformed(what: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, what)
}

/// Cuts a header into its records: `LENGTH KEY=VALUE\n`, LENGTH counting all of it.
fn records(mut bytes: &[u8], mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let bad = || malformed("a pax record is malformed");
    while !bytes.is_empty() {
        let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        let len = match digits {
            1..=9 => number(&bytes[..digits]).ok_or_else(bad)?,
            _ => return Err(bad()),
        };
        let len = usize::try_from(len).map_err(|_| bad())?;
        let (record, rest) = bytes.split_at_checked(len).ok_or_else(bad)?;
        let record = record
            .get(digits..)
            .and_then(|r| r.strip_prefix(b" "))
            .and_then(|r| r.strip_suffix(b"\n"))
            .ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() || key.contains(&0) {
            return Err(bad());
        }
        each(key, value)?;
        bytes = rest;
    }
    Ok(())
}

/// Reads the header of one member (typeflag `x`).
pub(super) fn local(bytes: &[u8], limits: &Limits) -> Result<Pax> {
    let mut pax = Pax::default();
    records(bytes, |key, value| {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return xattr(&mut pax, name, value, limits);
        }
        match key {
            b"path" => once(&mut pax.path, text(key, value)?, key),
            b"linkpath" => once(&mut pax.linkpath, text(key, value)?, key),
            b"size" => once(&mut pax.size, decimal(key, value)?, key),
            b"uid" => once(&mut pax.uid, decimal(key, value)?, key),
            b"gid" => once(&mut pax.gid, decimal(key, value)?, key),
            b"mtime" => {
                let time = time(value).ok_or_else(|| malformed("pax mtime is not a time"))?;
                once(&mut pax.mtime, time, key)
            }
            _ if key.starts_with(b"GNU.sparse.") => Err(sparse()),
            // atime, ctime, uname, gname, comment, hdrcharset and what vendors add: no use of it.
            _ => Ok(()),
        }
    })?;
    pax.xattrs.sort_unstable();
    if pax.xattrs.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(malformed("an extended attribute is given twice"));
    }
    Ok(pax)
}

/// Reads a global header (typeflag `g`), which may only comment: docker ignores what it says of
/// members, GNU tar obeys, so an archive that says anything has two meanings.
pub(super) fn global(bytes: &[u8]) -> Result<()> {
    records(bytes, |key, _| match key {
        b"path" | b"linkpath" | b"size" | b"uid" | b"gid" => Err(malformed(format!(
            "a global pax header sets {}",
            shown(key)
        ))),
        _ if key.starts_with(b"SCHILY.") || key.starts_with(b"GNU.sparse.") => Err(malformed(
            format!("a global pax header sets {}", shown(key)),
        )),
        _ => Ok(()),
    })
}

pub(super) fn sparse() -> Error {
    Error::new(
        Kind::Unsupported,
        "sparse archive members are not supported",
    )
    .hint("rebuild the layer without tar --sparse")
}

fn once<T>(slot: &mut Option<T>, value: T, key: &[u8]) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed(format!("pax {} is given twice", shown(key)))),
    }
}

fn text(key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    if value.is_empty() || value.contains(&0) {
        return Err(malformed(format!("pax {} is not a path", shown(key))));
    }
    Ok(value.to_vec())
}

fn decimal(key: &[u8], value: &[u8]) -> Result<u64> {
    number(value).ok_or_else(|| malformed(format!("pax {} is not a number", shown(key))))
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// `[-]SECONDS[.FRACTION]`, as seconds and the nanoseconds after them.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, fraction) = match value.iter().position(|b| *b == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    let secs = i64::try_from(number(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0'));
    let nanos = digits
        .take(9)
        .fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
    Some(match (negative, nanos) {
        (false, _) => (secs, nanos),
        (true, 0) => (-secs, 0),
        (true, _) => (-secs - 1, 1_000_000_000 - nanos),
    })
}

fn xattr(pax: &mut Pax, name: &[u8], value: &[u8], limits: &Limits) -> Result<()> {
    if name.is_empty() || name.contains(&0) {
        return Err(malformed("an extended attribute has no proper name"));
    }
    // overlayfs obeys these: an image must not speak to it.
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return Err(malformed(format!(
            "the archive sets the extended attribute {}",
            shown(name)
        )));
    }
    let bytes: usize = pax.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
    if name.len() > 255
        || value.len() > 64 << 10
        || pax.xattrs.len() >= 128
        || bytes + name.len() + value.len() > limits.entry_xattrs
    {
        return Err(Error::new(
            Kind::Limit,
            "the archive has too many or too long extended attributes",
        ));
    }
    pax.xattrs.push((name.to_vec(), value.to_vec()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Pax> {
        local(bytes, &Limits::default())
    }

    #[test]
    fn records_say_what_they_say() {
        let pax = read(
            b"11 path=a\n\n12 size=123\n22 mtime=-1.250000000\n26 SCHILY.xattr.user.a=\n\0\n14 comment=xy\n",
        )
        .unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\n"[..]));
        assert_eq!(pax.size, Some(123));
        assert_eq!(pax.mtime, Some((-2, 750_000_000)));
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"\n\0".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        assert!(read(b"9 path=a\n").is_ok());
        for bad in [
            &b"8 path=a\n"[..],
            b"11 path=a\n",
            b"8 path=a",
            b"9 path=a\nx",
            b"0000000010 path=a\n",
            b" 10 path=a\n",
            b"+10 path=a\n",
            b"-10 path=a\n",
            b"9999999999 path=a\n",
            b"9 path a\n",
            b"5 =a\n",
            b"0 \n",
            b"8 path=\n",
            b"10 path=a\0\n",
            b"8 size=\n",
            b"10 size=-1\n",
            b"11 size=0x1\n",
            b"29 size=18446744073709551616\n",
            b"10 mtime=x\n",
            b"12 mtime=1.x\n",
            b"9 path=a\n9 path=b\n",
            b"\0",
        ] {
            let err = read(bad).expect_err(&shown(bad));
            assert_eq!(err.kind, Kind::Malformed, "{}", shown(bad));
        }
    }

    #[test]
    fn overlay_attributes_and_sparse_maps_are_refused() {
        for (bad, kind) in [
            ("user.overlay.opaque", Kind::Malformed),
            ("trusted.overlay.redirect", Kind::Malformed),
        ] {
            let body = format!(" SCHILY.xattr.{bad}=y\n");
            let record = format!("{}{body}", body.len() + 2);
            assert_eq!(read(record.as_bytes()).unwrap_err().kind, kind);
        }
        assert_eq!(
            read(b"22 GNU.sparse.major=1\n").unwrap_err().kind,
            Kind::Unsupported
        );
    }

    #[test]
    fn a_global_header_may_only_comment() {
        assert!(global(b"14 comment=xy\n").is_ok());
        assert_eq!(global(b"9 path=a\n").unwrap_err().kind, Kind::Malformed);
        assert_eq!(global(b"9 size=1\n").unwrap_err().kind, Kind::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _pax = read(&bytes);
            let _nothing = global(&bytes);
        }
    }
}
