//! Runs a function of this same binary confined, and speaks a tiny typed protocol with it: one
//! byte that says which, then the answer's bytes or the error.

use crate::error::{Error, Kind, Result};
use crate::plan::IdMap;
pub use crate::sandbox::confined::Purpose;
use crate::sandbox::confined::{self, Confinement};
use crate::sys::SingleThread;
use std::os::fd::{BorrowedFd, RawFd};

/// An error on its way out of a worker.
#[derive(serde::Serialize, serde::Deserialize)]
struct Told {
    kind: Kind,
    cause: String,
    hint: Option<String>,
    errno: Option<i32>,
    detail: Vec<String>,
}

/// The longest text of a worker that is shown.
const MAX_TEXT: usize = 4096;

/// Runs `job` as container root of `map` with `root` as its whole file system (see
/// [`confined`]); `keep` are the descriptors that it uses. The calling process has one thread.
///
/// Errors: the job's own; `Worker` when it died or lied; `Host` when it cannot be confined.
pub fn run(
    map: &IdMap,
    root: BorrowedFd<'_>,
    keep: &[RawFd],
    job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    run_beside(map, root, keep, job, || {})
}

/// As [`run`]; `beside` runs here while the job does.
pub fn run_beside(
    map: &IdMap,
    root: BorrowedFd<'_>,
    keep: &[RawFd],
    job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>,
    beside: impl FnOnce(),
) -> Result<Vec<u8>> {
    start(Purpose::Unpack, map, root, keep, job, beside)
}

/// As [`run_beside`], for a job that speaks to a registry: it has this process's network, and of the
/// file system only `root`, where what name resolution needs must lie.
pub fn fetch(
    map: &IdMap,
    root: BorrowedFd<'_>,
    keep: &[RawFd],
    job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>,
    beside: impl FnOnce(),
) -> Result<Vec<u8>> {
    start(Purpose::Fetch, map, root, keep, job, beside)
}

fn start(
    purpose: Purpose,
    map: &IdMap,
    root: BorrowedFd<'_>,
    keep: &[RawFd],
    job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>,
    beside: impl FnOnce(),
) -> Result<Vec<u8>> {
    let worker = Worker::start(purpose, map, root, keep, job)?;
    beside();
    worker.finish()
}

/// A worker that was started. Dropped, it is killed.
#[derive(Debug)]
pub struct Worker(confined::Job);

impl Worker {
    /// Starts a job as [`run`] does, for who has something to do meanwhile. Its descriptors of `keep`
    /// are still open here.
    ///
    /// Errors: `Host` when it cannot be confined.
    pub fn start(
        purpose: Purpose,
        map: &IdMap,
        root: BorrowedFd<'_>,
        keep: &[RawFd],
        job: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let one = SingleThread::check()?;
        let at = Confinement {
            purpose,
            map,
            root,
            keep,
            landlock_abi: crate::sys::landlock_abi().unwrap_or(0),
        };
        let confined = |root: BorrowedFd<'_>| match job(root) {
            Ok(mut bytes) => {
                bytes.insert(0, b'+');
                bytes
            }
            Err(e) => {
                let told = Told {
                    kind: e.kind,
                    cause: e.cause,
                    hint: e.hint,
                    errno: e.errno,
                    detail: e.detail,
                };
                let mut bytes = serde_json::to_vec(&told).unwrap_or_default();
                bytes.insert(0, b'-');
                bytes
            }
        };
        confined::start(one, &at, confined).map(Self)
    }

    /// What poll(2) finds readable once the worker answers or ends.
    pub fn answer(&self) -> BorrowedFd<'_> {
        self.0.answer()
    }

    /// Waits for the answer.
    ///
    /// Errors: the job's own; `Worker` when it died or lied.
    pub fn finish(self) -> Result<Vec<u8>> {
        let answer = self.0.finish()?;
        match answer.split_first() {
            Some((b'+', _)) => {
                let mut answer = answer;
                answer.remove(0);
                Ok(answer)
            }
            Some((b'-', told)) => {
                let told: Told = serde_json::from_slice(told)
                    .map_err(|_| Error::new(Kind::Worker, "a worker's error is not one"))?;
                let short = |text: String| -> String { text.chars().take(MAX_TEXT).collect() };
                Err(Error {
                    hint: told.hint.map(short),
                    errno: told.errno,
                    detail: told.detail.into_iter().take(16).map(short).collect(),
                    ..Error::new(told.kind, short(told.cause))
                })
            }
            _ => Err(Error::new(Kind::Worker, "a worker answered nothing")),
        }
    }
}
