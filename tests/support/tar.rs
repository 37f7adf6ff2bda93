//! A tar writer by hand (POSIX.1-1988 ustar, pax, GNU long names), so that every field can be
//! wrong.

use std::io::Write as _;

/// One entry; every field is written as it stands.
#[derive(Clone)]
pub struct Entry {
    pub path: Vec<u8>,
    /// The type flag: `0` file, `1` hard link, `2` symlink, `3` char, `4` block, `5` dir, `6` fifo.
    pub kind: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: u64,
    pub link: Vec<u8>,
    pub data: Vec<u8>,
    /// What the header says of the size, if not the data's length.
    pub size: Option<u64>,
    pub major: u32,
    pub minor: u32,
    /// pax records for this entry.
    pub pax: Vec<(String, Vec<u8>)>,
    /// The bytes of a pax header, instead of well-formed `pax` records.
    pub pax_raw: Option<Vec<u8>>,
    /// Raw changes to the header: (offset, bytes). The checksum is made after them.
    pub patch: Vec<(usize, Vec<u8>)>,
    /// A checksum that is one off.
    pub bad_checksum: bool,
}

impl Entry {
    pub fn new(kind: u8, path: impl AsRef<[u8]>, mode: u32) -> Self {
        Self {
            path: path.as_ref().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 1_600_000_000,
            link: Vec::new(),
            data: Vec::new(),
            size: None,
            major: 0,
            minor: 0,
            pax: Vec::new(),
            pax_raw: None,
            patch: Vec::new(),
            bad_checksum: false,
        }
    }

    pub fn file(path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self {
            data: data.as_ref().to_vec(),
            ..Self::new(b'0', path, 0o644)
        }
    }

    pub fn dir(path: impl AsRef<[u8]>) -> Self {
        Self::new(b'5', path, 0o755)
    }

    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            link: target.as_ref().to_vec(),
            ..Self::new(b'2', path, 0o777)
        }
    }

    pub fn hardlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            link: target.as_ref().to_vec(),
            ..Self::new(b'1', path, 0o644)
        }
    }

    pub fn fifo(path: impl AsRef<[u8]>) -> Self {
        Self::new(b'6', path, 0o644)
    }

    pub fn char_device(path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self {
            major,
            minor,
            ..Self::new(b'3', path, 0o666)
        }
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn pax_raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.pax_raw = Some(bytes.as_ref().to_vec());
        self
    }

    /// Says another size than the data has.
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    pub fn patch(mut self, offset: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.patch.push((offset, bytes.as_ref().to_vec()));
        self
    }

    pub fn bad_checksum(mut self) -> Self {
        self.bad_checksum = true;
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        for (key, value) in &self.pax {
            records.extend(pax_record(key, value));
        }
        if let Some(raw) = self
            .pax_raw
            .clone()
            .or((!records.is_empty()).then_some(records))
        {
            Self {
                data: raw,
                ..Self::new(b'x', "PaxHeaders/x", 0o644)
            }
            .write(out);
        }
        // GNU long names: type L for the path, K for the link's target.
        for (long, flag) in [(&self.path, b'L'), (&self.link, b'K')] {
            if long.len() > 100 {
                let mut data = long.clone();
                data.push(0);
                Self {
                    data,
                    ..Self::new(flag, "././@LongLink", 0)
                }
                .write(out);
            }
        }
        let mut header = [0u8; 512];
        field(&mut header, 0, 100, &self.path);
        octal(&mut header, 100, 8, u64::from(self.mode));
        octal(&mut header, 108, 8, self.uid);
        octal(&mut header, 116, 8, self.gid);
        octal(
            &mut header,
            124,
            12,
            self.size.unwrap_or(self.data.len() as u64),
        );
        octal(&mut header, 136, 12, self.mtime);
        header[156] = self.kind;
        field(&mut header, 157, 100, &self.link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut header, 329, 8, u64::from(self.major));
        octal(&mut header, 337, 8, u64::from(self.minor));
        for (offset, bytes) in &self.patch {
            header[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        header[148..156].fill(b' ');
        let sum = header.iter().map(|b| u64::from(*b)).sum::<u64>() + u64::from(self.bad_checksum);
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend(header);
        out.extend(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

fn field(header: &mut [u8; 512], at: usize, len: usize, bytes: &[u8]) {
    let n = bytes.len().min(len);
    header[at..at + n].copy_from_slice(&bytes[..n]);
}

/// Octal with a NUL, or GNU base-256 where it does not fit.
fn octal(header: &mut [u8; 512], at: usize, len: usize, value: u64) {
    let text = format!("{value:0width$o}", width = len - 1);
    if text.len() < len {
        header[at..at + len - 1].copy_from_slice(text.as_bytes());
    } else {
        header[at + len - 8..at + len].copy_from_slice(&value.to_be_bytes());
        header[at] |= 0x80;
    }
}

/// `LEN key=value\n`, where LEN counts itself.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    len = rest + len.to_string().len();
    let mut out = format!("{len} {key}=").into_bytes();
    out.extend(value);
    out.push(b'\n');
    out
}

/// A whole archive with its two zero blocks.
pub fn tar<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut out = tar_unended(entries);
    out.extend([0; 1024]);
    out
}

/// An archive without its end.
pub fn tar_unended<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        entry.write(&mut out);
    }
    out
}

/// How a layer is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pack {
    Plain,
    Gzip,
    /// As small as gzip gets: for bombs.
    GzipBest,
    /// Several gzip members, one stream.
    GzipMembers(usize),
    Zstd,
}

impl Pack {
    /// The packed bytes.
    pub fn pack(self, data: &[u8]) -> Vec<u8> {
        let gzip = |data: &[u8]| {
            let level = match self {
                Self::GzipBest => flate2::Compression::best(),
                _ => flate2::Compression::fast(),
            };
            let mut z = flate2::write::GzEncoder::new(Vec::new(), level);
            z.write_all(data).unwrap();
            z.finish().unwrap()
        };
        match self {
            Self::Plain => data.to_vec(),
            Self::Gzip | Self::GzipBest => gzip(data),
            Self::GzipMembers(n) => data
                .chunks(data.len().div_ceil(n).max(1))
                .flat_map(gzip)
                .collect(),
            Self::Zstd => zstd::bulk::compress(data, 1).unwrap(),
        }
    }

    /// What a layer's media type ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip | Self::GzipBest | Self::GzipMembers(_) => "+gzip",
            Self::Zstd => "+zstd",
        }
    }
}
