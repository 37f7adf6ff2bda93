//! The files of the host that a request names: opened once, looked at, and held open, so that what
//! the policy decides on is what is mounted in the end.

use super::files::read;
use super::ids::user_name;
use super::policy_files::{policy_folder, system_folder};
use crate::error::{Error, Kind, Result};
use crate::policy::{BindAsk, DeviceAsk, DeviceFacts, FileKind, Outside, SourceFacts};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat2, statx,
};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// The longest path that is looked at, in bytes: PATH_MAX.
const MAX_PATH: usize = 4096;

/// Opens and describes the sources of all binds, then all devices, each in their order, and the
/// folders that rules speak from. Nothing is looked at where nothing is asked for.
///
/// `store` is where the store is, which is not to be mounted.
///
/// # Errors
/// `NotFound`: there is no such file, and none is made; `Io`: it cannot be reached; `Unsupported`:
/// a name that is not UTF-8.
pub fn outside(
    binds: &[BindAsk],
    devices: &[DeviceAsk],
    store: &Path,
) -> Result<(Outside, Vec<OwnedFd>)> {
    if binds.is_empty() && devices.is_empty() {
        return Ok((Outside::default(), Vec::new()));
    }
    let mounts = Mounts::read()?;
    let (mut facts, mut open) = (Vec::new(), Vec::new());
    for bind in binds {
        let named = open_path(&bind.source, bind.flag)?;
        let (source, through) = match &bind.subpath {
            None => (named, None),
            Some(subpath) => {
                let through = utf8_path_racy(named.as_fd(), bind.flag)?;
                let source = open_subpath(named.as_fd(), subpath, bind.flag)?;
                (source, Some(through))
            }
        };
        let facts_of = describe(source.as_fd(), bind.flag, &mounts)?;
        facts.push(SourceFacts {
            through,
            ..facts_of
        });
        open.push(source);
    }
    let mut nodes = Vec::new();
    for device in devices {
        let node = open_path(&device.source, "--device")?;
        nodes.push(describe_device(node.as_fd())?);
        open.push(node);
    }
    let cwd = real(".").ok_or_else(|| {
        Error::new(Kind::Io, "the current folder is gone or cannot be named")
            .hint("change to a folder that is there")
    })?;
    let own = std::env::var("HOME").ok().filter(|home| !home.is_empty());
    let mut homes: Vec<String> = own
        .into_iter()
        .chain(passwd_home())
        .filter(|home| home.starts_with('/'))
        .map(|home| real(&home).unwrap_or(home))
        .collect();
    homes.dedup();
    let own = [Some(store.to_owned()), policy_folder(), system_folder()];
    // Policy and key of a home stay what they are where XDG_CONFIG_HOME is elsewhere this time.
    let usual = homes
        .iter()
        .map(|home| Path::new(home).join(".config/lazaret"));
    let own = own
        .into_iter()
        .flatten()
        .chain(usual)
        .map(|path| path.to_string_lossy().into_owned())
        .map(|path| real(&path).unwrap_or(path))
        .collect();
    let outside = Outside {
        cwd,
        homes,
        own,
        sources: facts,
        devices: nodes,
    };
    Ok((outside, open))
}

/// The home that the user database has, which `HOME` may hide.
fn passwd_home() -> Option<String> {
    let passwd = read(Path::new("/"), "/etc/passwd")?;
    let name = user_name(&passwd, rustix::process::geteuid().as_raw())?;
    let line = passwd
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with(':')))?;
    line.split(':').nth(5).map(str::to_owned)
}

/// Links are followed, the kernel's magic ones (/proc/self/fd/3) are not.
pub(super) fn open_path(path: &str, flag: &str) -> Result<OwnedFd> {
    let shown: String = path.chars().take(200).collect();
    if path.len() >= MAX_PATH {
        let cause = format!("{flag}: a path of {} bytes: {shown:?}...", path.len());
        return Err(Error::new(Kind::Usage, cause).hint("a path has fewer than 4096 bytes"));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).map_err(|errno| {
        let error = Error::call(format!("{flag}: open {shown:?}"), errno.raw_os_error());
        match errno {
            Errno::NOENT if flag == "--device" => error
                .kind(Kind::NotFound)
                .hint("this machine has no such device"),
            Errno::NOENT => error
                .kind(Kind::NotFound)
                .hint("nothing is made outside for a mount: make the folder or file first"),
            Errno::LOOP => error.hint("links in /proc, as /proc/self/fd/3, are not followed"),
            _ => error,
        }
    })
}

/// What lies below an open folder, by its descriptor: whoever may write there leads nobody out of it
/// (openat2(2); CVE-2017-1002101 and CVE-2021-25741 are subpaths looked up by name).
fn open_subpath(folder: BorrowedFd<'_>, subpath: &str, flag: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    openat2(folder, subpath, flags, Mode::empty(), resolve).map_err(|errno| {
        let shown: String = subpath.chars().take(200).collect();
        let error = Error::call(
            format!("{flag}: open the subpath {shown:?}"),
            errno.raw_os_error(),
        );
        match errno {
            Errno::NOENT => error
                .kind(Kind::NotFound)
                .hint("nothing is made outside for a mount: make the folder or file first"),
            Errno::LOOP => error.hint("no symbolic link is followed below the source"),
            Errno::XDEV => error.hint("a subpath stays below its source"),
            _ => error,
        }
    })
}

/// Where an open file is now. Somebody may rename it at any moment.
fn path_racy(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::readlinkat(CWD, link, Vec::new()).map(std::ffi::CString::into_bytes)
}

pub(super) fn real(path: &str) -> Option<String> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    String::from_utf8(path_racy(file.as_fd()).ok()?).ok()
}

pub(super) fn utf8_path_racy(file: BorrowedFd<'_>, flag: &str) -> Result<String> {
    let path = path_racy(file)
        .map_err(|e| Error::call(format!("{flag}: name a source"), e.raw_os_error()))?;
    // "(unreachable)/x": of a mount that is not in this process's tree.
    if path.first() != Some(&b'/') {
        let cause = format!("{flag}: a source that has no path from / on");
        return Err(Error::new(Kind::Io, cause));
    }
    String::from_utf8(path).map_err(|e| {
        let name = OsString::from_vec(e.into_bytes());
        Error::new(Kind::Unsupported, format!("{flag}: {name:?} is not UTF-8"))
            .hint("rules are text, and cannot speak of it")
    })
}

fn describe_device(node: BorrowedFd<'_>) -> Result<DeviceFacts> {
    let path = utf8_path_racy(node, "--device")?;
    let stat = fstat(node).map_err(|e| Error::call("fstat a device", e.raw_os_error()))?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    Ok(DeviceFacts {
        path,
        character,
        major,
        minor,
        name: character.then(|| kernel_name(major, minor)).flatten(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
    })
}

/// The name below /dev that the driver core has for a character device (sysfs(5), uevent).
fn kernel_name(major: u32, minor: u32) -> Option<String> {
    let uevent = read(
        Path::new("/"),
        &format!("/sys/dev/char/{major}:{minor}/uevent"),
    )?;
    let name = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(name.strip_prefix("/dev/").unwrap_or(name).to_owned())
}

fn describe(source: BorrowedFd<'_>, flag: &str, mounts: &Mounts) -> Result<SourceFacts> {
    let call = |what: &str, errno: Errno| {
        Error::call(format!("{flag}: {what} a source"), errno.raw_os_error())
    };
    let path = utf8_path_racy(source, flag)?;
    let stat = fstat(source).map_err(|e| call("fstat", e))?;
    let wanted = StatxFlags::MNT_ID;
    let mount = statx(source, "", AtFlags::EMPTY_PATH, wanted).map_err(|e| call("statx", e))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Folder,
        FileType::RegularFile => FileKind::File,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        _ => FileKind::Other,
    };
    Ok(SourceFacts {
        mounts: mounts.at_and_below(mount.stx_mnt_id, &path),
        through: None,
        path,
        kind,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
    })
}

/// What is mounted where (proc_pid_mountinfo(5)).
struct Mounts {
    /// Mount id, mount point, file system type.
    lines: Vec<(u64, String, String)>,
}

impl Mounts {
    fn read() -> Result<Self> {
        // The kernel tells no size, and writes anew what a short read leaves.
        let mut text = Vec::with_capacity(1 << 14);
        std::fs::File::open("/proc/self/mountinfo")
            .and_then(|mut file| file.read_to_end(&mut text))
            .map_err(|e| Error::io("read /proc/self/mountinfo", &e))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (left, right) = line.split_once(" - ")?;
            let mut fields = left.split(' ');
            let id = fields.next()?.parse().ok()?;
            let point = unescaped(fields.nth(3)?);
            Some((id, point, right.split(' ').next()?.to_owned()))
        };
        Self {
            lines: text.lines().filter_map(line).collect(),
        }
    }

    fn at_and_below(&self, id: u64, path: &str) -> Vec<(String, String)> {
        let below = |point: &str| match path {
            "/" => true,
            path => point
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/')),
        };
        self.lines
            .iter()
            .filter(|(mount, point, _)| *mount == id || below(point))
            .map(|(_, point, kind)| (point.clone(), kind.clone()))
            .collect()
    }
}

/// `\040` and the like as the bytes that they are.
fn unescaped(text: &str) -> String {
    let (bytes, mut out) = (text.as_bytes(), Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal = text
            .get(at + 1..at + 4)
            .filter(|_| *byte == b'\\')
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(octal.unwrap_or(*byte));
        at += if octal.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_are_seen() {
        let text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    30 22 0:4 / /srv/a\\040b/proc rw,nosuid shared:5 - proc proc rw\n\
                    31 22 0:5 / /srv/a\\040bc rw - tmpfs tmpfs rw\nbroken\n1 2\n";
        let mounts = Mounts::parse(text);
        assert_eq!(
            mounts.at_and_below(22, "/srv/a b"),
            [
                ("/".to_owned(), "ext4".to_owned()),
                ("/srv/a b/proc".to_owned(), "proc".to_owned())
            ]
        );
        assert_eq!(mounts.at_and_below(31, "/srv/a bc/x").len(), 1);
        assert_eq!(mounts.at_and_below(9, "/").len(), 3);
        assert_eq!(unescaped("a\\134b\\"), "a\\b\\");
    }

    #[test]
    fn the_kernel_names_its_devices() {
        if Path::new("/sys/dev/char/1:3/uevent").is_file() {
            assert_eq!(kernel_name(1, 3).as_deref(), Some("null"));
        }
        assert_eq!(kernel_name(0, 0), None);
        let null = real("/dev/null").unwrap();
        let ask = DeviceAsk {
            source: null.clone(),
            target: null,
        };
        let (outside, open) = super::outside(&[], &[ask], Path::new("/none")).unwrap();
        let device = &outside.devices[0];
        assert_eq!((device.major, device.minor, open.len()), (1, 3, 1));
        assert!(device.character && device.path == "/dev/null");
    }

    #[test]
    fn a_source_is_what_its_links_lead_to() {
        let folder = std::env::temp_dir().join(format!("lazaret-outside-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        std::fs::write(folder.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        let ask = |source: &str| BindAsk {
            flag: "-v",
            source: source.to_owned(),
            subpath: None,
            target: "/x".to_owned(),
            read_only: true,
            no_exec: false,
        };
        let link = folder.join("link");
        let (outside, open) = super::outside(&[ask(link.to_str().unwrap())], &[], &folder).unwrap();
        let source = &outside.sources[0];
        assert_eq!(source.path, folder.join("file").to_str().unwrap());
        assert_eq!((source.kind, open.len()), (FileKind::File, 1));
        assert!(outside.cwd.starts_with('/'));
        assert!(outside.own.contains(&folder.to_str().unwrap().to_owned()));
        for (path, kind) in [
            (folder.join("none"), Kind::NotFound),
            ("/proc/self/cwd".into(), Kind::Io),
            ("x".repeat(10_000).into(), Kind::Usage),
        ] {
            let error = super::outside(&[ask(path.to_str().unwrap())], &[], &folder).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// A folder's subpath is below it: no link, and no `..`, leads out or anywhere.
    #[test]
    fn a_subpath_stays_below() {
        let folder = std::env::temp_dir().join(format!("lazaret-subpath-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("base/a/b")).unwrap();
        let folder = folder.canonicalize().unwrap();
        let base = folder.join("base");
        std::os::unix::fs::symlink("a", base.join("link")).unwrap();
        std::os::unix::fs::symlink("/", base.join("root")).unwrap();
        let look = |subpath: &str| {
            let ask = BindAsk {
                flag: "--mount",
                source: base.to_str().unwrap().to_owned(),
                subpath: Some(subpath.to_owned()),
                target: "/x".to_owned(),
                read_only: true,
                no_exec: false,
            };
            super::outside(&[ask], &[], Path::new("/none")).map(|(mut o, _)| o.sources.remove(0))
        };
        let found = look("a/b").unwrap();
        assert_eq!(found.path, base.join("a/b").to_str().unwrap());
        assert_eq!(found.through.as_deref(), base.to_str());
        assert_eq!(
            look("a/../a").unwrap().path,
            base.join("a").to_str().unwrap()
        );
        for (subpath, kind) in [
            ("link", Kind::Io),
            ("link/b", Kind::Io),
            ("root/etc", Kind::Io),
            ("..", Kind::Io),
            ("a/../../base", Kind::Io),
            ("/etc", Kind::Io),
            ("none", Kind::NotFound),
        ] {
            assert_eq!(look(subpath).unwrap_err().kind, kind, "{subpath}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
