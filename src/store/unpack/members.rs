//! The members of a tar stream: ustar, pax and GNU long names, strictly.
//!
//! The `tar` crate knows the layout of a header; reading goes by our own blocks, because its raw
//! iterator takes a member's size from the header where pax says another.
use super::pax::{self, Pax};
use super::stream::Stream;
use super::{Limits, shown};
use crate::error::{Error, Kind, Result};
use crate::plan::tree::{MAX_TARGET, Special};
use tar::{EntryType, Header};

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    File,
    Dir,
    Symlink,
    Hardlink,
    Special(Special),
}

/// A member's header, all extensions applied. Reused from member to member.
#[derive(Debug)]
pub(super) struct Member {
    /// As written; never empty, no NUL.
    pub(super) path: Vec<u8>,
    /// Target of a symlink or hardlink, as written; else empty.
    pub(super) link: Vec<u8>,
    pub(super) what: What,
    pub(super) size: u64,
    /// Twelve bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    /// Sorted by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads members from a stream.
pub(super) struct Members<'a> {
    stream: Stream,
    limits: &'a Limits,
    /// Bytes of the current member's data that were not read yet, and of the padding after them.
    left: u64,
    padding: u64,
    pub(super) member: Member,
}

fn malformed(what: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, what)
}

impl<'a> Members<'a> {
    pub(super) fn new(stream: Stream, limits: &'a Limits) -> Self {
        Self {
            stream,
            limits,
            left: 0,
            padding: 0,
            member: Member {
                path: Vec::new(),
                link: Vec::new(),
                what: What::File,
                size: 0,
                mode: 0,
                uid: 0,
                gid: 0,
                mtime: (0, 0),
                xattrs: Vec::new(),
            },
        }
    }

    /// Steps to the next member and fills `self.member`; false after the last one, when everything
    /// up to the end of the stream was found to be zero.
    pub(super) fn step(&mut self) -> Result<bool> {
        self.skip()?;
        let mut block = [0; 512];
        let mut extension = None;
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_link: Option<Vec<u8>> = None;
        loop {
            if !self.stream.read_block(&mut block)? || block == [0; 512] {
                if extension.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(malformed("the archive ends before the member of a header"));
                }
                self.only_zeros()?;
                return Ok(false);
            }
            let header = Header::from_byte_slice(&block);
            checksum(&block)?;
            match header.entry_type() {
                EntryType::XHeader if extension.is_none() => {
                    let bytes = self.extension(&block)?;
                    extension = Some(pax::local(&bytes, self.limits)?);
                }
                EntryType::GNULongName if long_name.is_none() => {
                    long_name = Some(long(self.extension(&block)?)?);
                }
                EntryType::GNULongLink if long_link.is_none() => {
                    long_link = Some(long(self.extension(&block)?)?);
                }
                EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink => {
                    return Err(malformed("two headers of one kind before one member"));
                }
                EntryType::XGlobalHeader => pax::global(&self.extension(&block)?)?,
                _ => {
                    let pax = extension.unwrap_or_default();
                    self.fill(header, pax, long_name, long_link)?;
                    return Ok(true);
                }
            }
        }
    }

    /// The next bytes of the current member's data, as much as is at hand; empty at their end.
    pub(super) fn data(&mut self) -> Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.stream.fill();
        if bytes.is_empty() {
            return Err(malformed("the archive ends inside a member"));
        }
        let n = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(n)])
    }

    /// Takes `amount` of the bytes that [`Members::data`] gave.
    pub(super) fn consume(&mut self, amount: usize) {
        self.stream.consume(amount);
        self.left -= self.left.min(amount as u64);
    }

    fn skip(&mut self) -> Result<()> {
        while self.left > 0 {
            let n = self.data()?.len();
            self.consume(n);
        }
        // Without an end to the archive the last member's padding may be missing too: `umoci
        // insert` writes it so, and Go's tar reads it. Nothing of the member is lost, and the diff
        // id says that the stream is whole.
        let mut padding = std::mem::take(&mut self.padding);
        while padding > 0 {
            let at_hand = self.stream.fill().len() as u64;
            if at_hand == 0 {
                return Ok(());
            }
            let n = at_hand.min(padding);
            self.stream.consume(usize::try_from(n).unwrap_or(0));
            padding -= n;
        }
        Ok(())
    }

    fn only_zeros(&mut self) -> Result<()> {
        loop {
            let bytes = self.stream.fill();
            if bytes.is_empty() {
                return Ok(());
            }
            if bytes.iter().any(|b| *b != 0) {
                return Err(malformed("data behind the end of the archive"));
            }
            let n = bytes.len();
            self.stream.consume(n);
        }
    }

    /// The body of an extension header.
    fn extension(&mut self, block: &[u8; 512]) -> Result<Vec<u8>> {
        let size = number(&block[124..136]).ok_or_else(|| malformed("a size is malformed"))?;
        if size > self.limits.extension {
            return Err(Error::new(
                Kind::Limit,
                format!("an extension header of {size} bytes"),
            ));
        }
        self.begin(size);
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        while self.left > 0 {
            let bytes = self.data()?;
            let n = bytes.len();
            body.extend_from_slice(bytes);
            self.consume(n);
        }
        self.skip()?;
        Ok(body)
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % 512;
    }

    fn fill(
        &mut self,
        header: &Header,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<()> {
        let bytes = header.as_bytes();
        let field = |range: std::ops::Range<usize>, what: &str| {
            number(&bytes[range]).ok_or_else(|| malformed(format!("a {what} is malformed")))
        };
        let member = &mut self.member;
        take_path(&mut member.path, pax.path, long_name, &header.path_bytes())?;
        if member.path.is_empty() || member.path.contains(&0) {
            return Err(malformed("a member has no name"));
        }
        if member.path.len() > self.limits.path {
            return Err(Error::new(
                Kind::Limit,
                format!("a path of {} bytes", member.path.len()),
            ));
        }
        let name = shown(&member.path);
        let slash = member.path.ends_with(b"/");
        let size = match pax.size {
            Some(size) => size,
            None => field(124..136, "size")?,
        };
        member.what = match header.entry_type() {
            // The oldest archives have no type for folders but a slash at their names' ends.
            EntryType::Regular if bytes[156] == 0 && slash => What::Dir,
            EntryType::Regular | EntryType::Continuous => What::File,
            EntryType::Link => What::Hardlink,
            EntryType::Symlink => What::Symlink,
            EntryType::Directory => What::Dir,
            EntryType::Fifo => What::Special(Special::Fifo),
            kind @ (EntryType::Char | EntryType::Block) => {
                let number = |range| {
                    let number = field(range, "device number")?;
                    u32::try_from(number).map_err(|_| malformed("a device number is malformed"))
                };
                let (major, minor) = (number(329..337)?, number(337..345)?);
                What::Special(match kind {
                    EntryType::Char => Special::Char { major, minor },
                    _ => Special::Block { major, minor },
                })
            }
            EntryType::GNUSparse => return Err(pax::sparse().context(name)),
            other => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!(
                        "{name}: archive members of type {:?}",
                        other.as_byte() as char
                    ),
                ));
            }
        };
        if member.what != What::File && size != 0 {
            return Err(malformed(format!(
                "{name}: data behind a member without any"
            )));
        }
        if slash && member.what != What::Dir {
            return Err(malformed(format!(
                "{name}: only a folder's name ends in a slash"
            )));
        }
        member.size = size;
        if matches!(member.what, What::Symlink | What::Hardlink) {
            let old = header.link_name_bytes().unwrap_or_default();
            take_path(&mut member.link, pax.linkpath, long_link, &old)?;
            if member.link.is_empty() || member.link.contains(&0) {
                return Err(malformed(format!("{name}: a link to nothing")));
            }
            if member.link.len() > MAX_TARGET {
                return Err(Error::new(
                    Kind::Limit,
                    format!("{name}: a link that is too long"),
                ));
            }
        } else {
            member.link.clear();
        }
        let id = |number: u64| {
            // 2^32-1 means "leave as it is" to chown(2).
            u32::try_from(number)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| malformed(format!("{name}: an owner is not an id")))
        };
        member.uid = id(pax.uid.map_or_else(|| field(108..116, "uid"), Ok)?)?;
        member.gid = id(pax.gid.map_or_else(|| field(116..124, "gid"), Ok)?)?;
        // Old archives put the file type above the twelve bits.
        member.mode = u16::try_from(field(100..108, "mode")? & 0o7777).unwrap_or_default();
        member.mtime = match pax.mtime {
            Some(mtime) => mtime,
            // Before 1970 in a header: nobody needs it, and it must not wrap.
            None if bytes[136] == 0xff => (0, 0),
            None => {
                let secs = field(136..148, "mtime")?;
                (i64::try_from(secs).unwrap_or(i64::MAX), 0)
            }
        };
        member.xattrs = pax.xattrs;
        self.begin(size);
        Ok(())
    }
}

/// The one name that a member has. Two that disagree would be two archives in one.
fn take_path(
    into: &mut Vec<u8>,
    pax: Option<Vec<u8>>,
    gnu: Option<Vec<u8>>,
    header: &[u8],
) -> Result<()> {
    match (pax, gnu) {
        (Some(_), Some(_)) => return Err(malformed("a member has a pax name and a GNU name")),
        (Some(long), None) | (None, Some(long)) => *into = long,
        (None, None) => {
            into.clear();
            into.extend_from_slice(header);
        }
    }
    Ok(())
}

/// A GNU long name: its bytes, then one NUL.
fn long(mut body: Vec<u8>) -> Result<Vec<u8>> {
    if body.last() == Some(&0) {
        body.pop();
    }
    if body.is_empty() || body.contains(&0) {
        return Err(malformed("a GNU long name is malformed"));
    }
    Ok(body)
}

fn checksum(block: &[u8; 512]) -> Result<()> {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
    let expected = sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..]);
    if number(&block[148..156]) != Some(expected) {
        return Err(malformed("a header's checksum is wrong"));
    }
    Ok(())
}

/// A header's number: octal between spaces and NULs, or GNU's base 256. `None` when it is neither,
/// negative, or more than 64 bits.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        if first & 0x40 != 0 {
            return None;
        }
        let top = u64::from(first & 0x7f);
        return rest.iter().try_fold(top, |n, byte| {
            (n >> 56 == 0).then_some(n << 8 | u64::from(*byte))
        });
    }
    let start = field.iter().position(|b| *b != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits
        .iter()
        .position(|b| *b == 0 || *b == b' ')
        .unwrap_or(digits.len());
    if digits[end..].iter().any(|b| *b != 0 && *b != b' ') {
        return None;
    }
    digits[..end].iter().try_fold(0u64, |n, b| {
        let digit = matches!(b, b'0'..=b'7').then(|| u64::from(b - b'0'))?;
        n.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b" 644 \0\0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"       \0", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\x01\0\0\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"+000644\0", None),
            (b"06\x00044\0\0", None),
            (b"0x0644\0\0", None),
            (b"        ", Some(0)),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
