//! What calls that are watched are about: where their arguments say it, and whether the cell can be why
//! they fail.

use crate::plan::{Plan, plain_path};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Folders of a system, which every image has its own of: that one lacks something of them there is
/// nothing of the cell's.
const SYSTEM: [&str; 9] = [
    "/bin", "/etc", "/lib", "/lib64", "/opt", "/sbin", "/usr", "/var", "/root",
];

/// What libraries look at to know how much of a machine there is, and do without.
const QUIET: [&str; 6] = [
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/hugepages",
    "/sys/kernel/mm/transparent_hugepage",
    "/sys/fs/selinux",
];

/// What was wanted of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// To read what is there.
    Read,
    /// To write, make, change or remove it.
    Write,
    /// To execute it.
    Execute,
}

/// What a call was about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Object {
    /// A path inside, from the root.
    Path {
        /// As the program wrote it, from its working directory or the folder it named.
        path: String,
        /// What was wanted of it.
        access: Access,
    },
    /// An address of the internet and a port.
    Address {
        /// The address.
        host: IpAddr,
        /// The port.
        port: u16,
    },
    /// A Unix socket, by its path.
    Socket(String),
    /// A Unix socket, by its abstract name.
    Abstract(String),
    /// A device by the path that it was opened by, and what was asked of its driver (ioctl(2)).
    Driver {
        /// The path.
        path: String,
        /// The request.
        request: u32,
    },
    /// The process itself.
    Own,
}

/// Where a call's arguments say what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A path, from the folder of a descriptor or the working directory.
    Path {
        folder: Option<usize>,
        path: usize,
        access: Access,
    },
    /// The same, and what is wanted stands in these flags.
    Open {
        folder: Option<usize>,
        path: usize,
        flags: usize,
    },
    /// The same, and they stand in the first word that this points to (open_how of openat2(2)).
    How,
    /// A file by its descriptor.
    File,
    /// The same, whose driver is asked for something.
    Driver,
    /// An address and its length.
    Address { address: usize, length: usize },
    /// Ids, or whom a signal goes to.
    Own,
}

pub(super) fn shape(name: &str) -> Option<Shape> {
    use Access::{Execute, Read, Write};
    let path = |folder, path, access| Shape::Path {
        folder,
        path,
        access,
    };
    Some(match name {
        "open" => Shape::Open {
            folder: None,
            path: 0,
            flags: 1,
        },
        "openat" => Shape::Open {
            folder: Some(0),
            path: 1,
            flags: 2,
        },
        "openat2" => Shape::How,
        "chdir" => path(None, 0, Read),
        "execve" => path(None, 0, Execute),
        "execveat" => path(Some(0), 1, Execute),
        "creat" | "mkdir" | "rmdir" | "unlink" | "rename" | "mknod" | "truncate" | "chmod"
        | "chown" | "lchown" | "utime" | "utimes" => path(None, 0, Write),
        "link" | "symlink" => path(None, 1, Write),
        "mkdirat" | "unlinkat" | "renameat" | "renameat2" | "mknodat" | "fchmodat"
        | "fchmodat2" | "fchownat" | "futimesat" | "utimensat" => path(Some(0), 1, Write),
        "symlinkat" => path(Some(1), 2, Write),
        "linkat" => path(Some(2), 3, Write),
        "fchown" | "fchmod" => Shape::File,
        "ioctl" => Shape::Driver,
        "connect" | "bind" => Shape::Address {
            address: 1,
            length: 2,
        },
        "sendto" => Shape::Address {
            address: 4,
            length: 5,
        },
        "setuid" | "setgid" | "setreuid" | "setregid" | "setresuid" | "setresgid" | "setgroups"
        | "kill" | "tkill" | "tgkill" => Shape::Own,
        _ => return None,
    })
}

/// An `int` argument.
pub(super) fn low(argument: u64) -> i32 {
    u32::try_from(argument & u64::from(u32::MAX))
        .unwrap_or(0)
        .cast_signed()
}

/// Whether a refusal can be the cell's doing at all.
pub(super) fn worth_a_look(shape: Shape, errno: i32) -> bool {
    match shape {
        Shape::Address { .. } => matches!(
            errno,
            libc::EACCES
                | libc::EPERM
                | libc::ENOENT
                | libc::ECONNREFUSED
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EADDRNOTAVAIL
                | libc::EROFS
        ),
        Shape::Driver => errno == libc::EACCES,
        // Ids that the map does not have.
        Shape::Own | Shape::File | Shape::Path { .. } if errno == libc::EINVAL => true,
        _ => matches!(
            errno,
            libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOENT | libc::ENXIO | libc::ENODEV
        ),
    }
}

/// Whether the cell may be why nothing is at `path`: it has something of its own there, or this machine
/// has, where people keep what is theirs.
pub(super) fn may_be_the_cells(plan: &Plan, path: &str, access: Access) -> bool {
    let is_of = |folders: &[&str]| {
        folders.iter().any(|folder| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    if is_of(&QUIET) {
        return false;
    }
    let is_system = is_of(&SYSTEM);
    match plan.place(path) {
        Some(place) if place.is_root() => !is_system && is_here(path, access),
        _ => true,
    }
}

/// Whether this machine has it; or what it would be made in, where it is to be made.
fn is_here(path: &str, access: Access) -> bool {
    let has = |path: &str| std::fs::symlink_metadata(path).is_ok();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    has(path) && path != "/" || access == Access::Write && !folder.is_empty() && has(folder)
}

/// A sockaddr (ip(7), ipv6(7), unix(7)).
pub(super) fn address_of(bytes: &[u8]) -> Option<Object> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let port = || {
        rest.first_chunk::<2>()
            .map(|port| u16::from_be_bytes(*port))
    };
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let host = rest.get(2..6)?.first_chunk::<4>()?;
            Some(Object::Address {
                host: IpAddr::V4(Ipv4Addr::from(*host)),
                port: port()?,
            })
        }
        libc::AF_INET6 => {
            let host = rest.get(6..22)?.first_chunk::<16>()?;
            Some(Object::Address {
                host: IpAddr::V6(Ipv6Addr::from(*host)).to_canonical(),
                port: port()?,
            })
        }
        libc::AF_UNIX => {
            let text = |bytes: &[u8]| {
                let end = bytes.iter().position(|byte| *byte == 0);
                let end = end.unwrap_or(bytes.len());
                String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
            };
            match rest.split_first()? {
                (0, name) => Some(Object::Abstract(text(name))),
                _ => Some(Object::Socket(plain_path(&text(rest)))),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_half_ones_are_none() {
        let inet = [2, 0, 0, 80, 10, 0, 0, 1];
        let host = |text: &str, port| {
            let host = text.parse().unwrap();
            Some(Object::Address { host, port })
        };
        assert_eq!(address_of(&inet), host("10.0.0.1", 80));
        let mut six = [0; 28];
        (six[0], six[3], six[23]) = (10, 53, 1);
        assert_eq!(address_of(&six), host("::1", 53));
        let named = |text: &str| Some(Object::Socket(text.to_owned()));
        assert_eq!(address_of(b"\x01\0/run//x\0junk"), named("/run/x"));
        let name = Some(Object::Abstract("bus".to_owned()));
        assert_eq!(address_of(b"\x01\0\0bus"), name);
        for end in 0..8 {
            assert_eq!(address_of(&inet[..end]), None, "{end}");
        }
        assert_eq!(address_of(&[99, 0, 1, 2, 3, 4, 5, 6]), None);
    }

    /// Every call of the list has a shape, or it would be watched for nothing.
    #[test]
    fn what_is_watched_is_understood() {
        let list = include_str!("../../policies/syscalls/observed.toml");
        let table: toml::Table = list.parse().unwrap();
        let groups = table["observe"].as_array().unwrap();
        let names = groups.iter().map(|group| group["names"].as_str().unwrap());
        let names: Vec<&str> = names.flat_map(str::split_whitespace).collect();
        assert!(names.len() > 30);
        for name in names {
            assert!(shape(name).is_some(), "{name}");
        }
    }
}
