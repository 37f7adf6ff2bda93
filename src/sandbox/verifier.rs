//! The process that checks the unpacked layers against their records, inside the cell's own user
//! namespace (only there are files of other owners and mode 0700 readable) and beside the mounts.
//!
//! It is forked before pid 1 gives anything up and before anything untrusted runs; the payload's
//! execve waits for its exit status 0.

use super::check::{self, Outcome};
use super::launch::Launch;
use super::mounts::write_all;
use super::wire::{At, Fault, Record, send};
use crate::plan::{Actor, Step, VerifyMode};
use crate::sys::{self, SingleThread};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use sha2::{Digest, Sha256};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the verifier says of one layer, counted from the uppermost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Some stat record differs, every hash is right: these are the new records.
    Touched { layer: usize, stat: Vec<u8> },
    /// Something is not what it was: a path and what of it, one a line.
    Differs { layer: usize, lines: Vec<String> },
    /// The check itself failed.
    Broken { layer: usize, cause: String },
}

/// Forks the verifier; returns its pid to pid 1.
pub fn start(
    launch: &Launch,
    lowers: &[OwnedFd],
    network: OwnedFd,
    one: SingleThread,
) -> Result<Pid, Fault> {
    match sys::fork(one).at("fork the verifier")? {
        Some(pid) => Ok(pid),
        None => run(launch, lowers, &network),
    }
}

fn run(launch: &Launch, lowers: &[OwnedFd], network: &OwnedFd) -> ! {
    let mut report = Vec::new();
    let mut clean = true;
    // A change of ids cleared the signal of pid 1; this is the verifier's own parent, pid 1, whose
    // end takes the pid namespace along anyway.
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        sys::exit_now(125);
    }
    // Without all of them there is no exit status 0, and so no payload.
    for planned in launch.plan.steps() {
        if planned.actor != Actor::Verifier {
            continue;
        }
        match &planned.step {
            Step::CheckLayers { mode } => clean &= check_layers(launch, lowers, *mode, &mut report),
            step => {
                if let Err(fault) = take(step, network.as_fd()) {
                    clean = false;
                    let cause = format!("{step}: {}: {}", fault.call, fault.errno);
                    put(&mut report, b'B', 0, cause.as_bytes());
                }
            }
        }
    }
    let told = match &launch.theirs.report {
        Some(end) => write_all(end.as_fd(), &report).is_ok(),
        None => false,
    };
    sys::exit_now(if clean && told { 0 } else { 1 })
}

/// Whether every layer is as recorded; what is not goes to `report`.
fn check_layers(
    launch: &Launch,
    lowers: &[OwnedFd],
    mode: VerifyMode,
    report: &mut Vec<u8>,
) -> bool {
    if lowers.len() != launch.records.len() {
        put(report, b'B', 0, b"a layer has no record");
        return false;
    }
    let mut clean = true;
    for (layer, (lower, record)) in lowers.iter().zip(&launch.records).enumerate() {
        match one(lower, record, mode) {
            Ok(Outcome::Same) => {}
            Ok(Outcome::Touched { stat }) => put(report, b'T', layer, &stat),
            Ok(Outcome::Differs(differences)) => {
                clean = false;
                let lines: Vec<String> = differences
                    .iter()
                    .map(|d| format!("{}: {}", d.path, d.what))
                    .collect();
                put(report, b'D', layer, lines.join("\n").as_bytes());
            }
            Err(cause) => {
                clean = false;
                put(report, b'B', layer, cause.as_bytes());
            }
        }
    }
    clean
}

fn take(step: &Step, network: BorrowedFd<'_>) -> Result<(), Fault> {
    match step {
        Step::MakeNetwork => make_network(network),
        Step::LoopbackUp => sys::loopback_up().at("ioctl SIOCSIFFLAGS lo"),
        _ => Err(Fault {
            errno: Errno::NOSYS,
            call: "a step that the verifier does not know",
        }),
    }
}

/// Makes the cell's network namespace and sends it to pid 1, or why there is none. Before anything
/// is mounted over it, and afterwards too, /proc/self is this very process.
fn make_network(to: BorrowedFd<'_>) -> Result<(), Fault> {
    let made = sys::new_network_namespace().and_then(|()| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat(CWD, "/proc/self/ns/net", flags, Mode::empty())
    });
    match made {
        Ok(network) => send(to, &Record::Network, &[network.as_fd()]),
        Err(errno) => {
            let call = "unshare CLONE_NEWNET";
            let record = Record::Failed {
                step: 0,
                errno: errno.raw_os_error(),
                call: call.to_owned(),
            };
            send(to, &record, &[])?;
            Err(Fault { errno, call })
        }
    }
}

fn one(
    lower: &OwnedFd,
    record: &super::launch::LayerRecord,
    mode: VerifyMode,
) -> Result<Outcome, String> {
    let list = read_all(&record.list).map_err(|e| format!("read the layer's list: {e}"))?;
    if <[u8; 32]>::from(Sha256::digest(&list)) != record.sha256 {
        return Err("the layer's list is not the one that was recorded".to_owned());
    }
    let stat = read_all(&record.stat).map_err(|e| format!("read the layer's stat records: {e}"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root =
        openat(lower, ".", flags, Mode::empty()).map_err(|e| format!("open the layer: {e}"))?;
    check::check(root.as_fd(), &list, &stat, mode).map_err(|e| e.to_string())
}

fn read_all(file: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let size = usize::try_from(rustix::fs::fstat(file)?.st_size).map_err(|_| Errno::FBIG)?;
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        match rustix::io::pread(file, &mut bytes[at..], at as u64)? {
            0 => return Err(Errno::IO),
            n => at += n,
        }
    }
    Ok(bytes)
}

fn put(report: &mut Vec<u8>, tag: u8, layer: usize, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    report.push(tag);
    report.extend_from_slice(&u32::try_from(layer).unwrap_or(u32::MAX).to_le_bytes());
    report.extend_from_slice(&length.to_le_bytes());
    report.extend_from_slice(&bytes[..length as usize]);
}

/// The findings in a verifier's report; `None` if it is cut short or malformed.
pub fn findings(mut report: &[u8]) -> Option<Vec<Finding>> {
    let mut found = Vec::new();
    while !report.is_empty() {
        let (head, rest) = report.split_at_checked(9)?;
        let layer = u32::from_le_bytes(head[1..5].try_into().ok()?) as usize;
        let length = u32::from_le_bytes(head[5..9].try_into().ok()?) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        report = rest;
        let text = || String::from_utf8_lossy(body).into_owned();
        found.push(match head[0] {
            b'T' => Finding::Touched {
                layer,
                stat: body.to_vec(),
            },
            b'D' => Finding::Differs {
                layer,
                lines: text().lines().map(str::to_owned).collect(),
            },
            b'B' => Finding::Broken {
                layer,
                cause: text(),
            },
            _ => return None,
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_back_and_a_cut_one_is_not() {
        let mut report = Vec::new();
        put(&mut report, b'T', 0, b"stat");
        put(&mut report, b'D', 3, b"a: size\nb: gone");
        put(&mut report, b'B', 1, b"why");
        assert_eq!(
            findings(&report),
            Some(vec![
                Finding::Touched {
                    layer: 0,
                    stat: b"stat".to_vec()
                },
                Finding::Differs {
                    layer: 3,
                    lines: vec!["a: size".into(), "b: gone".into()]
                },
                Finding::Broken {
                    layer: 1,
                    cause: "why".into()
                },
            ])
        );
        assert_eq!(findings(&report[..report.len() - 1]), None);
        assert_eq!(findings(b"Xxxxxxxxx"), None);
        assert_eq!(findings(b""), Some(vec![]));
    }
}
