//! Records that cannot be understood: cut short by a full disk, edited, or another version's. They
//! hide no other container, and are removed by the beginning of their id.

use super::{Container, Containers, State, file_name, is_id};
use crate::error::{Context, Error, Kind, Result};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::process::Pid;
use std::os::fd::OwnedFd;

/// A container of which no more is known than its id.
#[derive(Debug, Clone)]
pub struct Damaged {
    /// 64 hex digits: the file's name.
    pub id: String,
    /// What is the matter with the record.
    pub why: String,
    /// Somebody holds its lock: it runs.
    pub running: bool,
    /// When the file was written, in milliseconds since 1970.
    pub written: u64,
}

/// Everything in the folder of containers.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Newest first.
    pub containers: Vec<Container>,
    /// By id.
    pub damaged: Vec<Damaged>,
}

impl Damaged {
    /// The beginning of the id that names it.
    pub fn short(&self) -> String {
        self.id.chars().take(12).collect()
    }

    /// `Store`, with what removes it.
    pub fn error(&self) -> Error {
        let short = self.short();
        let cause = format!("the record of container {short} is damaged: {}", self.why);
        Error::new(Kind::Store, cause).hint(format!("lazaret rm -f {short} removes it"))
    }
}

impl Containers {
    /// Every container, and every record that is none.
    ///
    /// # Errors
    /// `Io`: a call failed.
    pub fn survey(&self) -> Result<Survey> {
        let mut survey = Survey::default();
        let entries = Dir::new(self.reopen()?).or_call(|| "read the containers".to_owned())?;
        for entry in entries {
            let entry = entry.or_call(|| "read the containers".to_owned())?;
            let name = entry.file_name().to_str().ok();
            let Some(id) = name.and_then(|n| n.strip_suffix(".json")) else {
                continue;
            };
            if !is_id(id) {
                continue;
            }
            match self.look(id) {
                // Nothing is left of it but this: its supervisor was killed before it could tidy.
                Ok(Some(c)) if c.state == State::Killed && c.record.ephemeral => {
                    self.forget(&c.record)?;
                }
                Ok(found) => survey.containers.extend(found),
                Err(e) if is_damage(&e) => survey.damaged.extend(self.damaged(id, e)?),
                Err(e) => return Err(e),
            }
        }
        survey.containers.sort_by(|a, b| {
            let key = |c: &Container| (c.record.created, c.record.id.clone());
            key(b).cmp(&key(a))
        });
        survey.damaged.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(survey)
    }

    /// The damaged record whose id begins with `text`.
    ///
    /// # Errors
    /// `Usage`: several do; as [`Self::survey`].
    pub fn find_damaged(&self, text: &str) -> Result<Option<Damaged>> {
        among(self.survey()?.damaged, text)
    }

    /// The process that holds a damaged record, with its pid: no record names it.
    ///
    /// # Errors
    /// `Io`: a call failed.
    pub fn holder(&self, damaged: &Damaged) -> Result<Option<(i32, OwnedFd)>> {
        let entries = std::fs::read_dir("/proc").or_call(|| "read /proc".to_owned())?;
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        for pid in pids.filter_map(Pid::from_raw) {
            // Only processes of the caller's can be looked into, and only those can hold it.
            if let Ok(Some(pidfd)) = self.held_by(pid, &damaged.id) {
                return Ok(Some((pid.as_raw_pid(), pidfd)));
            }
        }
        Ok(None)
    }

    /// `None` where it has just gone.
    fn damaged(&self, id: &str, why: Error) -> Result<Option<Damaged>> {
        let name = file_name(id);
        let stat = match rustix::fs::statat(&self.folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e).or_call(|| format!("stat {name:?}")),
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.folder, &name, flags, Mode::empty());
        let running = file.is_ok_and(|file| {
            let lock = FlockOperation::NonBlockingLockShared;
            rustix::fs::flock(&file, lock) == Err(rustix::io::Errno::WOULDBLOCK)
        });
        Ok(Some(Damaged {
            id: id.to_owned(),
            why: why.cause,
            running,
            written: u64::try_from(stat.st_mtime).unwrap_or(0) * 1000,
        }))
    }
}

/// What no container is found by may be a damaged one.
pub(super) fn instead(damaged: Vec<Damaged>, text: &str, not_found: Error) -> Error {
    match among(damaged, text) {
        Ok(Some(damaged)) => damaged.error(),
        Ok(None) => not_found,
        Err(e) => e,
    }
}

fn among(damaged: Vec<Damaged>, text: &str) -> Result<Option<Damaged>> {
    let mut like = damaged
        .into_iter()
        .filter(|d| !text.is_empty() && d.id.starts_with(text));
    match (like.next(), like.next()) {
        (Some(_), Some(_)) => Err(Error::new(
            Kind::Usage,
            format!("several containers' ids begin with {text}"),
        )
        .hint("write more of it; `lazaret ps -a --no-trunc` shows whole ids")),
        (first, _) => Ok(first),
    }
}

/// The file itself is at fault: its contents, its kind, or its mode.
fn is_damage(error: &Error) -> bool {
    error.kind == Kind::Store
        || matches!(
            error.errno,
            Some(libc::ELOOP | libc::EISDIR | libc::EACCES | libc::ENXIO)
        )
}
