//! The outer tar of an `oci-archive:` or `docker-archive:`, read where it lies.
//!
//! [`scan_archive`] notes where each member's bytes are and reads nothing else, so that blobs are
//! handed on as ranges of one file. It takes what archivers write (ustar, GNU long names, pax
//! `path`, `linkpath` and `size`: POSIX.1-2017 pax(1)) and refuses what two readers could read
//! differently. It needs a file descriptor and nothing else, and can run inside a confined worker.

#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};
use crate::image::quote::quoted;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The most members of an archive: one per layer and document, with room for old tools' folders.
const MAX_MEMBERS: usize = 100_000;

/// The longest name, PATH_MAX.
const MAX_NAME: u64 = 4096;

/// The most bytes of one member's pax records.
const MAX_PAX: u64 = 64 << 10;

/// The most bytes after the end marker: archivers fill up their last record (20 blocks; less than
/// this with any blocking factor in use).
const MAX_PADDING: u64 = 1 << 20;

const BLOCK: u64 = 512;

/// Where a member of an archive is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// The name: relative, without `.` and `..`, never empty.
    pub name: String,
    /// Where its bytes start in the archive.
    pub offset: u64,
    /// How many they are; 0 for all but regular files.
    pub size: u64,
    /// What it is.
    pub kind: MemberKind,
}

/// What a member of an archive is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symlink and its target, as written.
    Symlink(String),
    /// A hard link, a device or a fifo: nothing that an image archive needs.
    Other,
}

fn malformed(cause: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, cause)
}

/// Lists the members of a tar file in their order. `Unsupported` for a compressed archive, `Limit`
/// for counts and lengths, else `Malformed`.
pub fn scan_archive(file: &File) -> Result<Vec<Member>> {
    scan_up_to(file, MAX_MEMBERS)
}

fn scan_up_to(file: &File, most: usize) -> Result<Vec<Member>> {
    let length = file.metadata().map_err(|e| Error::io("fstat", &e))?.len();
    not_compressed(file, length)?;
    let mut scan = Scan {
        file,
        length,
        at: 0,
    };
    let mut members: Vec<Member> = Vec::new();
    let mut extra = Extra::default();
    let mut seen = 0;
    while let Some(header) = scan.header()? {
        seen += 1;
        if seen > most {
            return Err(Error::new(
                Kind::Limit,
                format!("the archive has more than {most} members"),
            ));
        }
        let size = header
            .entry_size()
            .map_err(|_| malformed("a member's size is not a number"))?;
        match type_of(&header) {
            b'x' => extra.pax(&scan.content(size, MAX_PAX)?)?,
            b'g' => global(&scan.content(size, MAX_PAX)?)?,
            b'L' => Extra::once(&mut extra.name, long_name(&scan.content(size, MAX_NAME)?)?)?,
            b'K' => Extra::once(&mut extra.link, long_name(&scan.content(size, MAX_NAME)?)?)?,
            _ => {
                let member = member(&header, size, std::mem::take(&mut extra), scan.at)?;
                scan.skip(member.size)?;
                // "./": the folder that was packed.
                if !member.name.is_empty() {
                    members.push(member);
                }
            }
        }
    }
    match extra.is_empty() {
        true => Ok(members),
        false => Err(malformed(
            "the archive ends after a long name, without its member",
        )),
    }
}

fn not_compressed(file: &File, length: u64) -> Result<()> {
    let mut magic = [0; 6];
    if length < BLOCK {
        return Err(malformed("the archive is shorter than a tar header"));
    }
    file.read_exact_at(&mut magic, 0)
        .map_err(|e| Error::io("read the archive", &e))?;
    let (name, tool) = match magic {
        [0x1f, 0x8b, ..] => ("gzip", "gunzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", "unzstd"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => ("xz", "unxz"),
        [b'B', b'Z', b'h', ..] => ("bzip2", "bunzip2"),
        _ => return Ok(()),
    };
    Err(Error::new(
        Kind::Unsupported,
        format!("the archive as a whole is compressed with {name}"),
    )
    .hint(format!(
        "unpack it once with {tool}: its layers are read in place"
    )))
}

struct Scan<'f> {
    file: &'f File,
    length: u64,
    at: u64,
}

impl Scan<'_> {
    /// The next header; `None` at the end marker.
    fn header(&mut self) -> Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        let start = self.at;
        self.skip(BLOCK)?;
        self.read(header.as_mut_bytes(), start)?;
        if header.as_bytes().iter().all(|b| *b == 0) {
            self.padding()?;
            return Ok(None);
        }
        let bytes = header.as_bytes();
        // The sum of all bytes, those of the sum itself taken as blanks.
        let sum: u32 = bytes[..148]
            .iter()
            .chain(&bytes[156..])
            .map(|b| u32::from(*b))
            .sum();
        match header.cksum() {
            Ok(told) if told == sum + 8 * u32::from(b' ') => Ok(Some(header)),
            _ if start == 0 => Err(malformed("the file is not a tar archive")),
            _ => Err(malformed(format!(
                "a header at {start} has a wrong checksum"
            ))),
        }
    }

    /// After the end marker only zeros, and not many.
    fn padding(&mut self) -> Result<()> {
        let rest = self.length - self.at;
        if rest > MAX_PADDING {
            return Err(malformed("bytes follow the end of the archive"));
        }
        let mut bytes = vec![0; usize::try_from(rest).unwrap_or(usize::MAX)];
        self.read(&mut bytes, self.at)?;
        match bytes.iter().all(|b| *b == 0) {
            true => Ok(()),
            false => Err(malformed("bytes follow the end of the archive")),
        }
    }

    fn read(&self, into: &mut [u8], at: u64) -> Result<()> {
        self.file
            .read_exact_at(into, at)
            .map_err(|e| Error::io("read the archive", &e))
    }

    /// Steps over `size` bytes and what fills their last block.
    fn skip(&mut self, size: u64) -> Result<()> {
        let end = size
            .checked_next_multiple_of(BLOCK)
            .and_then(|size| self.at.checked_add(size))
            .filter(|end| *end <= self.length)
            .ok_or_else(|| malformed("the archive is cut short"))?;
        self.at = end;
        Ok(())
    }

    /// The bytes of a member that says something about the next one.
    fn content(&mut self, size: u64, most: u64) -> Result<Vec<u8>> {
        if size > most {
            return Err(Error::new(
                Kind::Limit,
                format!("a member's name or attributes take {size} bytes, more than {most}"),
            ));
        }
        let start = self.at;
        self.skip(size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.read(&mut bytes, start)?;
        Ok(bytes)
    }
}

/// What earlier headers said about the member that follows.
#[derive(Default)]
struct Extra {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    pax: bool,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && !self.pax
    }

    /// Two names for one member: readers differ in which they take.
    fn once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(malformed("a member of the archive is described twice")),
        }
    }

    fn pax(&mut self, bytes: &[u8]) -> Result<()> {
        if std::mem::replace(&mut self.pax, true) {
            return Err(malformed("a member of the archive is described twice"));
        }
        for (key, value) in pax_records(bytes)? {
            match key {
                "path" => Self::once(&mut self.name, text(value)?)?,
                "linkpath" => Self::once(&mut self.link, text(value)?)?,
                "size" => {
                    let digits = value.iter().all(u8::is_ascii_digit);
                    let value = text(value)?;
                    match value.parse().ok().filter(|_| digits) {
                        Some(size) => Self::once(&mut self.size, size)?,
                        None => return Err(malformed("a member's size is not a number")),
                    }
                }
                _ if key.starts_with("GNU.sparse.") => {
                    return Err(malformed("the archive has a sparse member"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Global pax records: a comment (git archive writes one) and the like, nothing about members.
fn global(bytes: &[u8]) -> Result<()> {
    let about_members =
        |key: &str| matches!(key, "path" | "linkpath" | "size") || key.starts_with("GNU.sparse.");
    match pax_records(bytes)?
        .iter()
        .any(|(key, _)| about_members(key))
    {
        true => Err(malformed("the archive names all its members at once")),
        false => Ok(()),
    }
}

/// `LENGTH KEY=VALUE\n` records, whose length counts itself. Values may be binary (xattrs).
fn pax_records(bytes: &[u8]) -> Result<Vec<(&str, &[u8])>> {
    let broken = || malformed("a pax record of the archive is broken");
    let position = |bytes: &[u8], wanted| bytes.iter().position(|b| *b == wanted);
    let mut rest = bytes;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let space = position(rest, b' ').ok_or_else(broken)?;
        let digits = std::str::from_utf8(&rest[..space]).map_err(|_| broken())?;
        let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        let length: usize = digits
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or_else(broken)?;
        let (record, after) = rest.split_at_checked(length).ok_or_else(broken)?;
        let pair = record
            .strip_suffix(b"\n")
            .and_then(|record| record.get(space + 1..))
            .ok_or_else(broken)?;
        let equals = position(pair, b'=').ok_or_else(broken)?;
        let key = std::str::from_utf8(&pair[..equals]).map_err(|_| broken())?;
        records.push((key, &pair[equals + 1..]));
        rest = after;
    }
    Ok(records)
}

/// A GNU long name: the name and its NUL.
fn long_name(bytes: &[u8]) -> Result<String> {
    text(bytes.strip_suffix(b"\0").unwrap_or(bytes))
}

fn text(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(malformed(format!(
            "a name in the archive is not text: {}",
            quoted(&String::from_utf8_lossy(bytes))
        ))),
    }
}

/// The type as written: the crate reads the oldest form's 0 as `'0'`.
fn type_of(header: &tar::Header) -> u8 {
    header.as_bytes()[156]
}

fn member(header: &tar::Header, size: u64, extra: Extra, offset: u64) -> Result<Member> {
    let written = match extra.name {
        Some(name) => name,
        None => text(&header.path_bytes())?,
    };
    let size = match extra.size {
        // Writers leave the field empty where pax says more than it can.
        Some(told) if size != 0 && size != told => {
            return Err(malformed(format!("{} has two sizes", quoted(&written))));
        }
        Some(told) => told,
        None => size,
    };
    let kind = match type_of(header) {
        // The oldest tars have no type for folders but the slash.
        0 if written.ends_with('/') => MemberKind::Folder,
        0 | b'0' | b'7' if !written.ends_with('/') => MemberKind::File,
        b'5' => MemberKind::Folder,
        b'2' => MemberKind::Symlink(match extra.link {
            Some(link) => link,
            None => text(&header.link_name_bytes().unwrap_or_default())?,
        }),
        b'1' | b'3' | b'4' | b'6' => MemberKind::Other,
        other => {
            return Err(malformed(format!(
                "{} is a member of unknown type {other:#04x}",
                quoted(&written)
            )));
        }
    };
    if kind != MemberKind::File && size != 0 {
        // Whether bytes follow such a header is what readers differ in.
        return Err(malformed(format!(
            "{} is no file and has bytes",
            quoted(&written)
        )));
    }
    let name = relative(&written)?;
    if name.is_empty() && kind != MemberKind::Folder {
        return Err(malformed("a member of the archive has no name"));
    }
    Ok(Member {
        name,
        offset,
        size,
        kind,
    })
}

/// The name without `.` components and slashes that say nothing; `..` and a leading slash are refused.
fn relative(written: &str) -> Result<String> {
    let bad = written.starts_with('/') || written.split('/').any(|part| part == "..");
    if bad || u64::try_from(written.len()).is_ok_and(|length| length > MAX_NAME) {
        return Err(malformed(format!(
            "{} is not a name for a member of an archive",
            quoted(written)
        )));
    }
    let parts = written.split('/').filter(|part| !matches!(*part, "" | "."));
    Ok(parts.collect::<Vec<_>>().join("/"))
}

/// An archive with its members by name.
#[derive(Debug)]
pub struct Archive {
    /// The archive.
    pub file: File,
    members: HashMap<String, Slot>,
}

#[derive(Debug)]
enum Slot {
    One(Member),
    Several,
}

impl Archive {
    /// The archive with what [`scan_archive`] found in it (maybe in another process: offsets are
    /// checked again).
    pub fn new(file: File, found: Vec<Member>) -> Result<Self> {
        let length = file.metadata().map_err(|e| Error::io("fstat", &e))?.len();
        let mut members = HashMap::with_capacity(found.len());
        for member in found {
            if member
                .offset
                .checked_add(member.size)
                .is_none_or(|end| end > length)
            {
                return Err(malformed("a member lies outside the archive"));
            }
            let again = match members.get(&member.name) {
                // Folders are packed again by some writers, and are never looked up.
                Some(Slot::One(known)) => {
                    known.kind != MemberKind::Folder || member.kind != MemberKind::Folder
                }
                Some(Slot::Several) => true,
                None => false,
            };
            let name = member.name.clone();
            members.insert(
                name,
                if again {
                    Slot::Several
                } else {
                    Slot::One(member)
                },
            );
        }
        Ok(Self { file, members })
    }

    /// The regular file of this name. `Malformed` where there are several, or it is no file.
    pub fn find(&self, name: &str) -> Result<Option<&Member>> {
        match self.get(name)? {
            Some(member) if member.kind != MemberKind::File => Err(malformed(format!(
                "{} in the archive is not a file",
                quoted(name)
            ))),
            member => Ok(member),
        }
    }

    /// As [`Archive::find`], through one symlink: docker's old archives keep equal layers once,
    /// `a/layer.tar -> ../b/layer.tar`.
    pub fn find_through_link(&self, name: &str) -> Result<Option<&Member>> {
        let Some(Member {
            kind: MemberKind::Symlink(target),
            ..
        }) = self.get(name)?
        else {
            return self.find(name);
        };
        let mut path: Vec<&str> = name.split('/').collect();
        path.pop();
        for part in target.split('/') {
            let inside = match part {
                ".." => path.pop().is_some(),
                // An absolute target starts with an empty component.
                "" | "." => false,
                part => {
                    path.push(part);
                    true
                }
            };
            if !inside {
                return Err(malformed(format!(
                    "{} in the archive links to {}",
                    quoted(name),
                    quoted(target)
                )));
            }
        }
        self.find(&path.join("/"))
    }

    fn get(&self, name: &str) -> Result<Option<&Member>> {
        match self.members.get(name) {
            Some(Slot::One(member)) => Ok(Some(member)),
            Some(Slot::Several) => Err(malformed(format!(
                "{} is in the archive more than once",
                quoted(name)
            ))),
            None => Ok(None),
        }
    }

    /// The bytes of a member, of which there may be `most`.
    pub fn bytes(&self, member: &Member, most: u64) -> Result<Vec<u8>> {
        if member.size > most {
            return Err(Error::new(
                Kind::Limit,
                format!(
                    "{} has {} bytes, more than {most}",
                    quoted(&member.name),
                    member.size
                ),
            ));
        }
        let mut bytes = vec![0; usize::try_from(member.size).unwrap_or(usize::MAX)];
        self.file
            .read_exact_at(&mut bytes, member.offset)
            .map_err(|e| Error::io(format!("read {}", quoted(&member.name)), &e))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
