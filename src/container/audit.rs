//! What the kernel's audit log says of the cell's Landlock domain (Documentation/admin-guide/LSM/landlock.rst),
//! where the caller may read it: CAP_AUDIT_READ in the first user namespace, and an audit that is on.
//!
//! The log says which right was missing, which no errno does. It is read where it is to be had, and
//! nothing is missed of what is told otherwise where it is not.

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

/// linux/audit.h: a refusal of Landlock's, and what is known of a domain.
const LANDLOCK_ACCESS: u16 = 1423;
const LANDLOCK_DOMAIN: u16 = 1424;
/// The group that every record goes to (AUDIT_NLGRP_READLOG).
const READLOG: u32 = 1;
/// struct nlmsghdr (netlink(7)).
const HEADER: usize = 16;
/// Distinct refusals that are kept, and records that are read of a run.
const MOST: usize = 64;
const RECORDS: usize = 65_536;

/// A refusal of Landlock's, as often as it was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The rights that were missing: `fs.ioctl_dev`, `scope.abstract_unix_socket`.
    pub blockers: String,
    /// The path inside, if it was about one.
    pub path: Option<String>,
    /// How often.
    pub times: u64,
}

/// The end at which records arrive.
#[derive(Debug)]
pub(super) struct Audit(OwnedFd);

impl Audit {
    /// Listens; `None`: the caller may not.
    pub(super) fn listen() -> Option<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::RAW;
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::AUDIT)).ok()?;
        bind(&socket, &SocketAddrNetlink::new(0, READLOG)).ok()?;
        Some(Self(socket))
    }

    /// What came of the domain that `init`, pid 1 of the cell as it is numbered here, has made.
    pub(super) fn read(&self, init: i32) -> Vec<Logged> {
        let mut records = Vec::new();
        let mut buffer = vec![0; 1 << 14];
        while records.len() < RECORDS {
            match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                Ok((read, _)) => records.extend(record(buffer.get(..read).unwrap_or_default())),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) => {}
                Err(_) => break,
            }
        }
        of_domain(&records, init)
    }
}

/// The kind and the text of a record that is about Landlock.
fn record(bytes: &[u8]) -> Option<(u16, String)> {
    let kind = u16::from_ne_bytes(*bytes.get(4..6)?.first_chunk()?);
    let text = bytes.get(HEADER..)?;
    let known = matches!(kind, LANDLOCK_ACCESS | LANDLOCK_DOMAIN);
    known.then(|| (kind, String::from_utf8_lossy(text).into_owned()))
}

/// A field's value: bare, in quotes, or in hexadecimal where it holds what could be mistaken.
fn field(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!(" {name}="))?;
    if let Some(quoted) = rest.strip_prefix('"') {
        return quoted.split('"').next().map(str::to_owned);
    }
    let word = rest.split([' ', '\0', '\n']).next()?;
    let digits = word.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    match (name, digits.collect::<Option<Vec<u8>>>()) {
        ("path", Some(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => Some(word.to_owned()),
    }
}

fn of_domain(records: &[(u16, String)], init: i32) -> Vec<Logged> {
    let of_init = |text: &String| field(text, "pid").is_some_and(|pid| pid == init.to_string());
    let domains: BTreeSet<String> = records
        .iter()
        .filter(|(kind, text)| *kind == LANDLOCK_DOMAIN && of_init(text))
        .filter_map(|(_, text)| field(text, "domain"))
        .collect();
    let mut logged: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    for (_, text) in records.iter().filter(|(kind, _)| *kind == LANDLOCK_ACCESS) {
        let ours = field(text, "domain").is_some_and(|domain| domains.contains(&domain));
        let (true, Some(blockers)) = (ours, field(text, "blockers")) else {
            continue;
        };
        let key = (blockers, field(text, "path"));
        if logged.len() < MOST || logged.contains_key(&key) {
            *logged.entry(key).or_default() += 1;
        }
    }
    let logged = logged.into_iter();
    logged
        .map(|((blockers, path), times)| Logged {
            blockers,
            path,
            times,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netlink(kind: u16, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn refusals_of_the_cells_domain_are_counted_and_no_others() {
        let access = |domain: &str, rest: &str| {
            let text = format!("audit(1.0:1): domain={domain} blockers={rest}");
            netlink(LANDLOCK_ACCESS, &text)
        };
        let all = [
            access(
                "a1",
                "fs.ioctl_dev path=\"/dev/null\" dev=\"devtmpfs\" ino=3 ioctlcmd=0x5401",
            ),
            netlink(
                LANDLOCK_DOMAIN,
                "audit(1.0:1): domain=a1 status=allocated mode=enforcing pid=77 uid=0 exe=\"/x pid=78\" comm=\"lazaret-init\"",
            ),
            access(
                "a1",
                "fs.ioctl_dev path=\"/dev/null\" dev=\"devtmpfs\" ino=3 ioctlcmd=0x5402",
            ),
            access("a1", "fs.refer path=2F61222062 dev=\"x\" ino=1"),
            access("a1", "scope.signal opid=3 ocomm=\"x\""),
            access("b2", "fs.refer path=\"/x\""),
            netlink(
                LANDLOCK_DOMAIN,
                "audit(1.0:2): domain=b2 status=allocated pid=78 exe=\" pid=77\"",
            ),
            netlink(1300, "audit(1.0:1): domain=a1 blockers=fs.refer"),
            vec![0; 3],
        ];
        let records: Vec<_> = all.iter().filter_map(|bytes| record(bytes)).collect();
        assert_eq!(records.len(), 7);
        let logged = of_domain(&records, 77);
        let told: Vec<_> = logged
            .iter()
            .map(|one| (one.blockers.as_str(), one.path.as_deref(), one.times))
            .collect();
        assert_eq!(
            told,
            [
                ("fs.ioctl_dev", Some("/dev/null"), 2),
                ("fs.refer", Some("/a\" b"), 1),
                ("scope.signal", None, 1),
            ]
        );
        assert!(of_domain(&records, 7).is_empty());
    }
}
