//! What stands outside of the cell for hostile programs to reach.

use super::{HOST_NAME, Row, rows, support};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An ordinary user for the launcher, where this is root.
const SOMEBODY: u32 = 54_321;

/// What the rows reach for: a host file, a listener on loopback, an abstract socket, a folder that
/// is layer and host path at once.
pub struct Scene {
    pub folder: PathBuf,
    tcp: TcpListener,
    abstract_name: String,
    _abstract_socket: UnixListener,
}

impl Scene {
    /// Makes it all, readable for everybody.
    pub fn new() -> Self {
        let pid = std::process::id();
        let folder = std::env::temp_dir().join(format!("lazaret-protections-{pid}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("secret"), "what only the host may read").unwrap();
        // Each program has the same path inside and outside, so that it also runs without a pivot.
        let layer = folder.join("layer");
        let inside = layer.join(folder.strip_prefix("/").unwrap());
        std::fs::create_dir_all(inside.join("programs")).unwrap();
        std::fs::create_dir(folder.join("programs")).unwrap();
        std::fs::create_dir(layer.join("tmp")).ok();
        for row in rows().iter().filter(|row| !row.program.starts_with('/')) {
            let program = support::program(&format!("hostile/{}", row.program));
            let name = Path::new("programs").join(row.program);
            std::fs::copy(&program, folder.join(&name)).unwrap();
            std::fs::copy(&program, inside.join(&name)).unwrap();
        }
        std::fs::create_dir(folder.join("worker")).unwrap();
        // What the host has for /bound.
        let bound = folder.join("bound");
        std::fs::create_dir(&bound).unwrap();
        std::fs::write(bound.join("file"), "the host's").unwrap();
        let program = support::program("hostile/bind");
        std::fs::copy(&program, bound.join("program")).unwrap();
        std::fs::copy(&program, bound.join("setuid")).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), folder.join("launcher")).unwrap();
        open_to_all(&folder);
        std::os::unix::fs::symlink("/proc", layer.join("stray")).unwrap();
        if rustix::process::geteuid().is_root() {
            dangerous(&bound);
        }
        let abstract_name = format!("lazaret-protections-{pid}");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        Self {
            folder,
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            abstract_name,
            _abstract_socket: UnixListener::bind_addr(&address).unwrap(),
        }
    }

    /// The program's arguments.
    fn args(&self, row: &Row) -> Vec<String> {
        let first = match row.program {
            "tcp" => Some(self.tcp.local_addr().unwrap().port().to_string()),
            "abstract" => Some(self.abstract_name.clone()),
            "host_file" => Some(self.folder.join("secret").to_str().unwrap().to_owned()),
            "hostname" => Some(HOST_NAME.to_owned()),
            "/proc/self/exe" => Some("--inside".to_owned()),
            _ => None,
        };
        let given = row.args.iter().map(|arg| (*arg).to_owned());
        first.into_iter().chain(given).collect()
    }

    /// Runs a row's program in a cell with or without the protection.
    pub fn run(&self, row: &Row, which: &str) -> std::process::Output {
        let mut command = self.launcher(row.needs.contains(&"root"));
        command
            .args(["--cell", row.name, which])
            .arg(&self.folder)
            .args(self.args(row));
        command.output().unwrap()
    }

    /// This program again, as somebody unless it must be root.
    pub fn launcher(&self, as_root: bool) -> Command {
        let mut command = Command::new(self.folder.join("launcher"));
        command.current_dir("/").stdin(std::process::Stdio::null());
        if rustix::process::geteuid().is_root() && !as_root {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        command
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// Readable for everybody, and where this is root, somebody's own. A link is left as it is: it could
/// lead anywhere.
fn open_to_all(path: &Path) {
    if path.is_symlink() {
        return;
    }
    let is_folder = path.is_dir();
    if rustix::process::geteuid().is_root() {
        chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let mode = if is_folder || path.extension().is_none() {
        0o755
    } else {
        0o644
    };
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    if is_folder {
        for entry in std::fs::read_dir(path).unwrap() {
            open_to_all(&entry.unwrap().path());
        }
    }
}

/// A setuid program of container root's, and a device that nobody's mode protects.
fn dangerous(bound: &Path) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let setuid = bound.join("setuid");
    chown(&setuid, Some(super::RANGE), Some(super::RANGE)).unwrap();
    std::fs::set_permissions(&setuid, PermissionsExt::from_mode(0o4755)).unwrap();
    let device = bound.join("device");
    let kind = FileType::CharacterDevice;
    mknodat(
        CWD,
        &device,
        kind,
        Mode::from_raw_mode(0o666),
        makedev(1, 3),
    )
    .unwrap();
    std::fs::set_permissions(&device, PermissionsExt::from_mode(0o666)).unwrap();
}
