//! A private home for one test, the binary run inside it, and what came of it.

use super::program;
use rustix::process::{Pid, Signal};
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a run may take before the test fails; far more than any needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of its own for one test, removed at its end: `home`, `data`, `config`, `run` and the
/// working directory `work`.
pub struct Home {
    root: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Home {
    pub fn new() -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("lazaret-test-{}-{n}", std::process::id()));
        let mut make = std::fs::DirBuilder::new();
        make.mode(0o700);
        // A leftover of a killed run with our pid.
        remove(&root);
        for dir in ["", "home", "data", "config", "run", "work"] {
            make.create(root.join(dir)).unwrap();
        }
        Self { root }
    }

    /// A path in the working directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join("work").join(name)
    }

    /// The folder that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where lazaret keeps its store.
    pub fn store(&self) -> PathBuf {
        self.root.join("data/lazaret")
    }

    /// Makes these rules under `strict` the user's policy, private as lazaret wants it; the file.
    pub fn policy(&self, rules: &str) -> PathBuf {
        let folder = self.root.join("config/lazaret");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        let file = folder.join("policy.toml");
        std::fs::write(&file, format!("version = 1\nextends = \"strict\"\n{rules}")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        file
    }

    /// The binary under test with these arguments, in this home.
    pub fn lazaret<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Run {
        Run::new(self, Path::new(env!("CARGO_BIN_EXE_lazaret")), args)
    }

    /// Another program with these arguments, in this home.
    pub fn program<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, path: &Path, args: I) -> Run {
        Run::new(self, path, args)
    }

    /// Fails unless nothing of this home is mounted and no staging or runtime leftover exists.
    #[track_caller]
    pub fn clean(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = self.root.to_string_lossy().into_owned();
        let left: Vec<&str> = mounts.lines().filter(|l| l.contains(&root)).collect();
        assert!(left.is_empty(), "mounts are left: {left:#?}");
        // Empty lock files stay: removing them would let two hold the "same" lock.
        let mut left = list(&self.store().join("staging"));
        left.retain(|name| {
            let file = self.store().join("staging").join(name).symlink_metadata();
            !(name.ends_with(".lock") && file.is_ok_and(|m| m.is_file() && m.len() == 0))
        });
        assert!(left.is_empty(), "left in staging: {left:?}");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

/// The names in a folder; empty where there is none.
pub fn list(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut out: Vec<String> = entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    out.sort();
    out
}

/// Every path of a tree, below it; unreadable folders count as empty.
pub fn walk(dir: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for name in list(dir) {
        let path = dir.join(&name);
        if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            out.extend(
                walk(&path)
                    .into_iter()
                    .map(|below| format!("{name}/{below}")),
            );
        }
        out.push(name);
    }
    out
}

/// Removes a tree, also one that holds subordinate owners and closed folders.
pub fn remove(root: &Path) {
    fn open_up(dir: &Path) {
        if std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).is_err() {
            return;
        }
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open_up(&entry.path());
            }
        }
    }
    if !root.exists() || std::fs::remove_dir_all(root).is_ok() {
        return;
    }
    open_up(root);
    if std::fs::remove_dir_all(root).is_ok() {
        return;
    }
    // Files of subordinate ids: only a user namespace that maps them may remove them.
    let done = Command::new("unshare")
        .args([
            "--map-auto",
            "--map-root-user",
            "--",
            "chmod",
            "-R",
            "u+rwx",
        ])
        .arg(root)
        .stderr(Stdio::null())
        .status();
    drop(done);
    let done = Command::new("unshare")
        .args(["--map-auto", "--map-root-user", "--", "rm", "-rf"])
        .arg(root)
        .stderr(Stdio::null())
        .status();
    if !done.is_ok_and(|s| s.success()) {
        super::tell(&format!("note: {} could not be removed", root.display()));
    }
}

/// A run in the making.
pub struct Run {
    command: Command,
    what: String,
    report: PathBuf,
    stdin: Option<Vec<u8>>,
}

impl Run {
    fn new<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(home: &Home, path: &Path, args: I) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let report = home.root.join(format!("report-{n}"));
        let args: Vec<OsString> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut command = Command::new(program("launch"));
        command
            .arg(&report)
            .arg(path)
            .args(&args)
            .current_dir(home.root.join("work"))
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", home.root.join("home"))
            .env("XDG_DATA_HOME", home.root.join("data"))
            .env("XDG_CONFIG_HOME", home.root.join("config"))
            .env("XDG_RUNTIME_DIR", home.root.join("run"))
            .env("LAZARET_STORE", home.root.join("data/lazaret"))
            .env("LANG", "C");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let shown: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        Self {
            command,
            what: format!("{name} {}", shown.join(" ")),
            report,
            stdin: None,
        }
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub fn env_remove(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What it reads from standard input; without this, /dev/null.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = Some(bytes.as_ref().to_vec());
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(mut self) -> Ran {
        let input = self.stdin.take();
        let mut running = self.start(input.is_some());
        let writer = input.map(|bytes| {
            let mut pipe = running.stdin.take().unwrap();
            // A program that ends without reading is no failure of the test's.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let ran = running.wait();
        if let Some(writer) = writer {
            writer.join().unwrap();
        }
        ran
    }

    /// Starts it with pipes on all three streams.
    #[track_caller]
    pub fn spawn(self) -> Running {
        self.start(true)
    }

    /// Starts it on these three streams, with the first as its controlling terminal.
    #[track_caller]
    pub fn on_terminal(mut self, terminal: &std::os::fd::OwnedFd) -> Running {
        let mut again = Command::new(self.command.get_program());
        again.arg("--tty").args(self.command.get_args()).env_clear();
        for (key, value) in self.command.get_envs() {
            if let Some(value) = value {
                again.env(key, value);
            }
        }
        if let Some(dir) = self.command.get_current_dir() {
            again.current_dir(dir);
        }
        again
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap());
        self.command = again;
        self.go()
    }

    #[track_caller]
    fn start(mut self, input: bool) -> Running {
        self.command
            .stdin(if input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.go()
    }

    #[track_caller]
    fn go(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let collect = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            pipe.map(|mut pipe| {
                let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
                let sink = seen.clone();
                let thread = std::thread::spawn(move || {
                    let mut buf = [0; 65536];
                    while let Ok(n @ 1..) = pipe.read(&mut buf) {
                        sink.lock().unwrap().extend_from_slice(&buf[..n]);
                    }
                });
                (seen, thread)
            })
        };
        let stdout = child.stdout.take().map(|p| Box::new(p) as _);
        let stderr = child.stderr.take().map(|p| Box::new(p) as _);
        let deadline = Instant::now() + PATIENCE;
        let pid = loop {
            let text = std::fs::read_to_string(&self.report).unwrap_or_default();
            let line = text.strip_prefix("pid ").and_then(|t| t.split_once('\n'));
            if let Some((pid, _)) = line {
                break pid.parse::<i32>().unwrap();
            }
            assert!(Instant::now() < deadline, "{}: did not start", self.what);
            std::thread::sleep(Duration::from_micros(200));
        };
        Running {
            stdin: child.stdin.take(),
            stdout: collect(stdout),
            stderr: collect(stderr),
            child,
            pid: Pid::from_raw(pid).unwrap(),
            what: self.what,
            report: self.report,
        }
    }
}

type Collected = (
    std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    std::thread::JoinHandle<()>,
);

/// A run under way.
pub struct Running {
    pub stdin: Option<ChildStdin>,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    child: Child,
    /// The program's own pid, not the harness's.
    pub pid: Pid,
    what: String,
    report: PathBuf,
}

impl Running {
    /// Sends a signal to the program.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid, signal).unwrap();
    }

    /// Sends a signal to a program that may have ended of itself; whoever calls waits for its end.
    pub fn signal_unless_ended(&self, signal: Signal) {
        match rustix::process::kill_process(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => panic!("kill {}: {e}", self.what),
        }
    }

    /// Waits until standard output holds `text`.
    #[track_caller]
    pub fn until_out(&self, text: &str) -> String {
        let (seen, _) = self.stdout.as_ref().unwrap();
        let mut deadline = Instant::now() + Duration::from_secs(30);
        let mut gone = false;
        loop {
            // What it said last may still be on its way to us.
            if !gone && self.child_is_gone() {
                gone = true;
                deadline = deadline.min(Instant::now() + Duration::from_secs(3));
            }
            let now = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
            if now.contains(text) {
                return now;
            }
            assert!(
                Instant::now() < deadline,
                "{}: stdout never held {text:?}, only {now:?}; stderr {:?}",
                self.what,
                self.stderr
                    .as_ref()
                    .map(|(s, _)| { String::from_utf8_lossy(&s.lock().unwrap()).into_owned() })
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn child_is_gone(&self) -> bool {
        let pid = self.child.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_none_or(|r| r.trim_start().starts_with('Z'))
    }

    /// Waits for the end. Fails if a process outlives the program.
    #[track_caller]
    pub fn wait(mut self) -> Ran {
        drop(self.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                rustix::process::kill_process(self.pid, Signal::KILL).ok();
                self.child.wait().unwrap();
                panic!("{}: no end after {PATIENCE:?}", self.what);
            }
            std::thread::sleep(Duration::from_micros(500));
        };
        let gather = |c: Option<Collected>| {
            c.map_or(Vec::new(), |(seen, thread)| {
                thread.join().unwrap();
                std::mem::take(&mut *seen.lock().unwrap())
            })
        };
        let ran = Ran {
            code: status.code(),
            signal: status.signal(),
            stdout: gather(self.stdout.take()),
            stderr: gather(self.stderr.take()),
            what: self.what,
        };
        let report = std::fs::read_to_string(&self.report).unwrap_or_default();
        let left: Vec<&str> = report.lines().filter(|l| l.starts_with("left")).collect();
        assert!(
            left.is_empty(),
            "processes outlive the run: {left:#?}\n{ran}"
        );
        ran
    }
}

/// What came of a run.
pub struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    what: String,
}

impl Ran {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == Some(code), "wanted exit code {code}\n{self}");
        self
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.out() == text, "wanted stdout {text:?}\n{self}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.out().contains(text),
            "wanted {text:?} on stdout\n{self}"
        );
        self
    }

    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        assert!(
            !self.out().contains(text),
            "unwanted {text:?} on stdout\n{self}"
        );
        self
    }

    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(
            self.err().contains(text),
            "wanted {text:?} on stderr\n{self}"
        );
        self
    }

    #[track_caller]
    pub fn does_not_complain(self) -> Self {
        assert!(self.stderr.is_empty(), "wanted nothing on stderr\n{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "--- {}", self.what)?;
        match self.signal {
            Some(signal) => writeln!(f, "ended by signal {signal}")?,
            None => writeln!(f, "exit code {}", self.code.unwrap_or(-1))?,
        }
        let cut = |s: String| s.chars().take(6000).collect::<String>();
        writeln!(f, "stdout:\n{}", cut(self.out()))?;
        writeln!(f, "stderr:\n{}---", cut(self.err()))
    }
}
