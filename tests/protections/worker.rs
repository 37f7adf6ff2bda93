//! What a parser that was taken over would try in the worker.

use super::{Scene, last_line, words};
use lazaret::plan::IdMap;
use lazaret::sys;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;

/// The attempts. The worker has no plan to take a step out of, so each is tried outside of it too,
/// where it must get out.
pub const ATTEMPTS: &[&str] = &[
    "descriptors",
    "files",
    "sockets",
    "programs",
    "processes",
    "fifos",
    "memory",
];

pub fn judge(scene: &Scene, name: &str) -> Result<String, String> {
    let run = |which: &str| {
        let mut command = scene.launcher(false);
        command.args(["--worker", name, which]).arg(&scene.folder);
        command.output().unwrap()
    };
    let with = run("held");
    if last_line(&with) != "held" {
        return Err(format!("in it: {}", words(&with)));
    }
    let without = run("gone");
    match last_line(&without).strip_prefix("ESCAPED: ") {
        Some(how) => Ok(format!("outside it: {how}")),
        None => Err(format!("outside it: {}", words(&without))),
    }
}

/// `--worker ATTEMPT held|gone FOLDER`: the attempt as a worker's job, or just so.
pub fn run(args: &[String]) -> ExitCode {
    let [name, which, folder] = args else {
        panic!("--worker ATTEMPT held|gone FOLDER");
    };
    let secret = Path::new(folder).join("secret");
    let root = std::fs::File::open(Path::new(folder).join("worker")).unwrap();
    let map = IdMap::Single {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let said = if which == "held" {
        let job = |root: BorrowedFd<'_>| Ok(attempt(name, root, &secret).into_bytes());
        match lazaret::worker::run(&map, root.as_fd(), &[], job) {
            Ok(said) => String::from_utf8(said).unwrap(),
            // Killed for trying.
            Err(error) if error.cause.contains("died") => "held".to_owned(),
            Err(error) => format!("{error}"),
        }
    } else {
        attempt(name, root.as_fd(), &secret)
    };
    println!("{said}");
    ExitCode::SUCCESS
}

fn attempt(name: &str, root: BorrowedFd<'_>, secret: &Path) -> String {
    let escaped = match name {
        "descriptors" => leads_out(root),
        "files" => [
            secret,
            Path::new("/etc/passwd"),
            Path::new("/proc/self/exe"),
        ]
        .iter()
        .find(|path| rustix::fs::stat(**path).is_ok())
        .map(|path| format!("{} is there", path.display())),
        "sockets" => std::os::unix::net::UnixStream::pair()
            .ok()
            .map(|_| "a socket was made".to_owned()),
        "programs" => {
            let program = c"/bin/sh";
            // SAFETY: the strings are NUL-terminated and the array null-terminated.
            unsafe {
                let argv = [
                    program.as_ptr(),
                    c"-c".as_ptr(),
                    SAY.as_ptr(),
                    std::ptr::null(),
                ];
                libc::execv(program.as_ptr(), argv.as_ptr());
            }
            None
        }
        "processes" => {
            // SAFETY: the child ends at once.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                sys::exit_now(0);
            }
            (pid > 0).then(|| "a process was started".to_owned())
        }
        "fifos" => {
            let made = rustix::fs::mknodat(
                root,
                "fifo",
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            );
            made.ok().map(|()| "a fifo was made".to_owned())
        }
        "memory" => {
            let mut space: Vec<u8> = Vec::new();
            let got = space.try_reserve_exact(3 << 30);
            got.ok().map(|()| "3 GiB of address space".to_owned())
        }
        other => Some(format!("{other} is no attempt")),
    };
    escaped.map_or("held".to_owned(), |how| format!("ESCAPED: {how}"))
}

/// What a shell says that was executed.
const SAY: &std::ffi::CStr = c"echo ESCAPED: a program was executed";

/// A folder among the descriptors that has something above it.
fn leads_out(root: BorrowedFd<'_>) -> Option<String> {
    let inode = |fd: BorrowedFd<'_>, path: &str| {
        rustix::fs::statat(fd, path, rustix::fs::AtFlags::EMPTY_PATH)
            .ok()
            .map(|s| (s.st_dev, s.st_ino))
    };
    (0..1024).find_map(|number| {
        // SAFETY: only looked at, never closed; a number that is no descriptor answers EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let here = inode(fd, "")?;
        let above = inode(fd, "..")?;
        let also = inode(root, "")? == here;
        (above != here).then(|| format!("fd {number} leads out (root: {also})"))
    })
}
