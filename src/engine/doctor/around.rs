//! What `doctor` looks at beside the kernel: the store, and a registry where one is named.

use crate::engine::{online, place};
use crate::error::{Error, Kind, Result};
use crate::host::{Check, Level};
use crate::image::Reference;
use crate::registry::{Client, Options, Ping};
use crate::report;
use crate::store::Store;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Less room than this, in bytes, is worth a word; less than a sixteenth of it is a problem.
const ROOM: u64 = 1 << 30;
/// The same in files.
const FILES: u64 = 20_000;

/// File systems that overlayfs writes to in no user namespace (magic numbers of statfs(2)).
const NO_UPPER: [(i64, &str); 8] = [
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x4d44, "vfat"),
    (0xf15f, "ecryptfs"),
];

/// Everything around: [`crate::host::around`] and the store; and the registry, if one is named.
pub(super) fn checks(store: &Result<Option<Store>>, registry: Option<&str>) -> Vec<Check> {
    let proxy = |text: &str| {
        let options = Options {
            proxy: Some(text.to_owned()),
            ..Options::default()
        };
        Client::new(&options).map(drop).map_err(|e| e.cause)
    };
    let mut checks = crate::host::around(&online::ROOTS, &proxy);
    checks.extend(of_store(store));
    if let Some(registry) = registry {
        checks.push(of_registry(registry));
    }
    checks
}

fn problem(about: &'static str, error: Error) -> Check {
    let mut what = error.to_string();
    if let Some(action) = &error.action {
        what = format!("{action}: {}", error.cause);
    }
    Check::problem(about, what, error.hint.unwrap_or_default())
}

fn of_store(store: &Result<Option<Store>>) -> Vec<Check> {
    let path = match place::store_path() {
        Ok(path) => path,
        Err(e) => return vec![problem("store", e)],
    };
    let mut checks = Vec::new();
    match store {
        Err(e) => checks.push(Check::problem(
            "store",
            e.cause.clone(),
            e.hint.clone().unwrap_or_default(),
        )),
        Ok(None) => checks.push(Check::ok(
            "store",
            format!("the store will be {}", path.display()),
        )),
        Ok(Some(store)) => match store.usage() {
            Ok(usage) => {
                let bytes = usage.blobs.bytes.saturating_add(usage.layers.bytes);
                checks.push(Check::ok(
                    "store",
                    format!(
                        "the store {} holds {} images in {}",
                        path.display(),
                        usage.images.count,
                        report::human_total(bytes)
                    ),
                ));
            }
            Err(e) => checks.push(problem("store", e)),
        },
    }
    // The nearest folder that is there is on the file system that the store will be on.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty()).ok();
    if let Some(folder) = path.ancestors().find_map(open) {
        checks.extend(room(&folder));
        checks.extend(kind(&folder));
    }
    checks
}

/// Bytes and files that the caller may still write.
fn room(folder: &OwnedFd) -> Vec<Check> {
    let Ok(stat) = rustix::fs::fstatvfs(folder) else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        checks.push(Check::problem(
            "store",
            "its file system is mounted read-only",
            "mount it read-write, or set LAZARET_STORE to a folder elsewhere",
        ));
    }
    let fix = "lazaret system df tells what takes room; lazaret system prune frees some";
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let left = format!("{} are free there", report::human_total(free));
    checks.push(level_of(free, ROOM, left, fix));
    // Some file systems (btrfs) count no inodes.
    if stat.f_files > 0 {
        let left = format!("{} more files fit there", stat.f_favail);
        checks.push(level_of(stat.f_favail, FILES, left, fix));
    }
    checks
}

fn level_of(have: u64, want: u64, what: String, fix: &str) -> Check {
    match have {
        have if have < want / 16 => Check::problem("store", what, fix),
        have if have < want => Check::note("store", what, fix),
        _ => Check::ok("store", what),
    }
}

/// Whether overlayfs can write there: it keeps its marks in `user.overlay.*` (overlayfs.rst,
/// "userxattr").
fn kind(folder: &OwnedFd) -> Option<Check> {
    let fix = "use --rm, or set LAZARET_STORE to a folder on ext4, xfs or btrfs";
    let kind = rustix::fs::fstatfs(folder).ok()?.f_type;
    let magic = NO_UPPER.iter().find(|(magic, _)| kind == *magic);
    if let Some((_, name)) = magic {
        return Some(Check::note(
            "store",
            format!("its file system is {name}, which overlayfs cannot write to: only --rm works"),
            fix,
        ));
    }
    let mut value = [0u8; 1];
    match rustix::fs::fgetxattr(folder, "user.lazaret", &mut value[..]) {
        Err(Errno::NOTSUP) => Some(Check::note(
            "store",
            "its file system has no user extended attributes, which overlayfs needs: only --rm works",
            fix,
        )),
        _ => Some(Check::ok(
            "store",
            "containers can keep what they write there",
        )),
    }
}

/// Speaks to a registry, in the worker that pulls do it in.
fn of_registry(registry: &str) -> Check {
    match ping(registry) {
        Ok(ping) => {
            let tls = match ping.tls {
                true => "speaks TLS with a certificate that holds",
                false => "speaks no TLS: what it says can be read and changed on the way",
            };
            let who = match ping.credentials {
                true => "it wants to know who asks",
                false => "it answers everybody",
            };
            let what = format!("{} {tls}; {who}", ping.origin);
            match ping.tls {
                true => Check::ok("registry", what),
                false => Check::note("registry", what, "give it a certificate"),
            }
        }
        Err(e) => problem("registry", e),
    }
}

fn ping(registry: &str) -> Result<Ping> {
    let reference = Reference::parse(&format!("{registry}/ping"))?;
    if reference.domain != registry {
        let cause = format!("{registry:?} is not the address of a registry");
        return Err(Error::new(Kind::Usage, cause).hint("a registry is named HOST[:PORT]"));
    }
    // Who asks is nobody's business here.
    let mut options = online::anonymous(registry, &[])?;
    options.limits.retries = 0;
    online::ask(|| Client::new(&options)?.ping(registry))
}

/// Whether the registry that was named answered.
pub(super) fn answered(checks: &[Check]) -> bool {
    let mut registry = checks.iter().filter(|c| c.about == "registry");
    registry.all(|c| c.level != Level::Problem)
}
