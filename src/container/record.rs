//! What is written down of a container, and its state as the kernel knows it.
//!
//! A container is one file `ID.json` in the store's `containers`, and, where its writes are kept, a
//! folder `ID` beside it. The supervisor holds a flock(2) on the file from its making to its end, so
//! that the state needs no daemon and cannot be stale: locked means running; unlocked with an end
//! written down means exited; unlocked without one means that the supervisor was killed. The end is
//! written beside the file and renamed over it.

mod damaged;

pub use damaged::{Damaged, Survey};

use crate::error::{Context, Error, Kind, Result};
use crate::image::Digest;
use crate::policy::SubIds;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// The only version of the file's form.
const VERSION: u32 = 1;

/// A record is longer only if it is not one: argv and the image's name are all that grows.
const MAX: u64 = 4 << 20;

/// Whose ids the files of a container's folder have outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Owners {
    /// All are the caller's.
    Caller,
    /// Subordinate ids.
    Range { uid: SubIds, gid: SubIds },
    /// Subordinate ids, and of one number the caller's.
    Keep {
        uid: SubIds,
        gid: SubIds,
        kept: (u32, u32),
    },
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// docker's exit code.
    pub code: u8,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// What is written down of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// 64 hex digits.
    pub id: String,
    /// docker's grammar of names; unique among the containers.
    pub name: String,
    /// The image, as it was named.
    pub image: String,
    /// The digest of the image's config: docker's image id.
    #[serde(with = "as_text")]
    pub image_id: Digest,
    /// The digest of the image's manifest.
    #[serde(with = "as_text")]
    pub manifest: Digest,
    /// The whole command line, entrypoint first.
    pub argv: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// The supervisor.
    pub pid: i32,
    /// The writes live in memory and go with the run; there is no folder.
    pub ephemeral: bool,
    /// Who owns the folder's files.
    pub owners: Owners,
    /// The image's labels and those that it was given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How it ended; `None` while it runs, and for ever if the supervisor was killed.
    pub end: Option<End>,
}

mod as_text {
    use super::Digest;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).map_err(|e| D::Error::custom(e.cause))
    }
}

/// What a new container is made of; the rest of its record is made here.
#[derive(Debug, Clone)]
pub struct New {
    /// `--name`; `None`: one is made up.
    pub name: Option<String>,
    /// The image, as it was named.
    pub image: String,
    /// The digest of the image's config.
    pub image_id: Digest,
    /// The digest of the image's manifest.
    pub manifest: Digest,
    /// The whole command line.
    pub argv: Vec<String>,
    /// The writes live in memory.
    pub ephemeral: bool,
    /// Who owns the folder's files.
    pub owners: Owners,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A container's state, from its lock and its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its supervisor lives.
    Running,
    /// It ended.
    Exited(End),
    /// Its supervisor was killed, and everything inside with it.
    Killed,
}

/// A container and its state at the moment of looking.
#[derive(Debug, Clone)]
pub struct Container {
    /// What is written down.
    pub record: Record,
    /// How it is.
    pub state: State,
}

/// A running container's record: dropping it lets go of the lock.
#[derive(Debug)]
pub struct Held {
    file: File,
    record: Record,
}

/// The store's folder of containers.
#[derive(Debug)]
pub struct Containers {
    folder: OwnedFd,
}

impl Containers {
    /// Works in `folder`, the store's `containers`.
    pub fn new(folder: OwnedFd) -> Self {
        Self { folder }
    }

    /// Writes down a new container and takes its lock; makes its folder unless it is ephemeral.
    ///
    /// # Errors
    /// `Usage`: the name is taken; `Io`: a call failed, and nothing is left.
    pub fn create(&self, new: New) -> Result<Held> {
        // Two who want the same name meet here; a made-up name follows from the id.
        let naming = match &new.name {
            Some(name) => Some(self.claim(name)?),
            None => None,
        };
        let mut record = Record {
            version: VERSION,
            name: String::new(),
            id: String::new(),
            image: new.image,
            image_id: new.image_id,
            manifest: new.manifest,
            argv: new.argv,
            created: now(),
            pid: rustix::process::getpid().as_raw_pid(),
            ephemeral: new.ephemeral,
            owners: new.owners,
            labels: new.labels,
            end: None,
        };
        let (mut file, name) = loop {
            record.id = random_id()?;
            let name = file_name(&record.id);
            if let Some(file) = self.claim_file(&name)? {
                break (file, name);
            }
        };
        record.name = new
            .name
            .unwrap_or_else(|| super::names::made_up(&record.id));
        let made = self.fill(&mut file, &record);
        drop(naming);
        match made {
            Ok(()) => Ok(Held { file, record }),
            Err(e) => {
                // Nothing of a container that never was; the first failure is the one to tell.
                let _told_already =
                    rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty()).is_ok();
                Err(e)
            }
        }
    }

    /// A new file under its lock; `None` where somebody took it for a leftover in between.
    fn claim_file(&self, name: &str) -> Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)
            .or_call(|| format!("create {name:?}"))?;
        rustix::fs::flock(&fd, FlockOperation::LockExclusive)
            .or_call(|| format!("flock {name:?}"))?;
        let stat = rustix::fs::fstat(&fd).or_call(|| format!("fstat {name:?}"))?;
        Ok((stat.st_nlink > 0).then(|| File::from(fd)))
    }

    fn fill(&self, file: &mut File, record: &Record) -> Result<()> {
        let name = file_name(&record.id);
        file.write_all(&encode(record)?)
            .or_call(|| format!("write {name:?}"))?;
        if record.ephemeral {
            return Ok(());
        }
        file.sync_all().or_call(|| format!("fsync {name:?}"))?;
        rustix::fs::mkdirat(&self.folder, &record.id, Mode::RWXU)
            .or_call(|| format!("mkdir {:?}", record.id))
    }

    /// Holds the lock on the folder while `name` is free; it is let go when the fd is dropped.
    fn claim(&self, name: &str) -> Result<OwnedFd> {
        let lock = self.reopen()?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .or_call(|| "flock the containers".to_owned())?;
        for other in self.list()? {
            if other.record.name == name {
                let short: String = other.record.id.chars().take(12).collect();
                let what = format!("the name {name:?} is taken by container {short}");
                return Err(Error::new(Kind::Usage, what).hint(match other.state {
                    State::Running => {
                        format!("choose another name, or end it: lazaret rm -f {name}")
                    }
                    _ => format!("choose another name, or remove it: lazaret rm {name}"),
                }));
            }
        }
        Ok(lock)
    }

    /// A description of its own, so that reading positions and locks are not shared.
    fn reopen(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, ".", flags, Mode::empty())
            .or_call(|| "open the containers".to_owned())
    }

    /// Every container, newest first; damaged records are [`Self::survey`]'s.
    ///
    /// # Errors
    /// `Io`: a call failed.
    pub fn list(&self) -> Result<Vec<Container>> {
        Ok(self.survey()?.containers)
    }

    /// The container that `text` names: its name, its id, or a beginning of its id that no other
    /// one has.
    ///
    /// # Errors
    /// `NotFound`; `Usage`: several ids begin like this; `Store`: its record is damaged; as
    /// [`Self::list`].
    pub fn find(&self, text: &str) -> Result<Container> {
        let Survey {
            containers: mut all,
            damaged,
        } = self.survey()?;
        let by_name = all
            .iter()
            .position(|c| c.record.name == text || c.record.id == text);
        if let Some(at) = by_name {
            return Ok(all.swap_remove(at));
        }
        let looks_like_id = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        let mut like = all
            .into_iter()
            .filter(|c| looks_like_id && c.record.id.starts_with(text));
        match (like.next(), like.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(Error::new(
                Kind::Usage,
                format!("several containers' ids begin with {text}"),
            )
            .hint("write more of it; `lazaret ps -a --no-trunc` shows whole ids")),
            (None, _) => Err(damaged::instead(
                damaged,
                text,
                Error::new(Kind::NotFound, format!("there is no container {text:?}"))
                    .hint("`lazaret ps -a` lists them"),
            )),
        }
    }

    /// Looks at one record; `None` where it has just gone, or was never filled.
    fn look(&self, id: &str) -> Result<Option<Container>> {
        let name = file_name(id);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(&self.folder, &name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e).or_call(|| format!("open {name:?}")),
        };
        let running = match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => false,
            Err(Errno::WOULDBLOCK) => true,
            Err(e) => return Err(e).or_call(|| format!("flock {name:?}")),
        };
        let mut bytes = Vec::new();
        (&file)
            .take(MAX + 1)
            .read_to_end(&mut bytes)
            .or_call(|| format!("read {name:?}"))?;
        if bytes.is_empty() {
            // Without the lock its maker was killed before it wrote; or has not taken it yet, and
            // then sees that the file is gone.
            if !running {
                match rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e).or_call(|| format!("unlink {name:?}")),
                }
            }
            return Ok(None);
        }
        let record = decode(&bytes, id)?;
        let state = match record.end {
            _ if running => State::Running,
            Some(end) => State::Exited(end),
            None => State::Killed,
        };
        Ok(Some(Container { record, state }))
    }

    /// The folder of a container whose writes are kept.
    ///
    /// # Errors
    /// `NotFound`: it has none; `Io`: a call failed.
    pub fn folder(&self, record: &Record) -> Result<OwnedFd> {
        self.folder_of(&record.id)
    }

    /// The folder of the container with this id.
    ///
    /// # Errors
    /// As [`Self::folder`].
    pub fn folder_of(&self, id: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.folder, id, flags, Mode::empty()) {
            Err(Errno::NOENT) => Err(Error::new(
                Kind::NotFound,
                format!("container {id} keeps nothing on disk"),
            )),
            other => other.or_call(|| format!("open {id:?}")),
        }
    }

    /// Removes the record, and the folder, which must be empty by now: its files may have owners
    /// that only a worker can act for.
    ///
    /// # Errors
    /// `Io`: a call failed; what is gone already is no error.
    pub fn forget(&self, record: &Record) -> Result<()> {
        self.forget_id(&record.id)
    }

    /// As [`Self::forget`], for a record that may be damaged.
    ///
    /// # Errors
    /// As [`Self::forget`].
    pub fn forget_id(&self, id: &str) -> Result<()> {
        let gone = |done: rustix::io::Result<()>| match done {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        };
        gone(rustix::fs::unlinkat(&self.folder, id, AtFlags::REMOVEDIR))
            .or_call(|| format!("rmdir {id:?}"))?;
        let name = file_name(id);
        // Left by a supervisor that was killed while it wrote down the end.
        let beside = format!("{name}.new");
        gone(rustix::fs::unlinkat(
            &self.folder,
            &beside,
            AtFlags::empty(),
        ))
        .or_call(|| format!("unlink {beside:?}"))?;
        gone(rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty()))
            .or_call(|| format!("unlink {name:?}"))
    }

    /// The process that holds a running container, to be ended through the pidfd; `None` if it has
    /// ended by itself. A pid that was given to somebody else meanwhile is not taken for it: only
    /// the supervisor has the record open with the lock.
    ///
    /// # Errors
    /// `Io`: a call failed.
    pub fn supervisor(&self, record: &Record) -> Result<Option<OwnedFd>> {
        let Some(pid) = rustix::process::Pid::from_raw(record.pid) else {
            return Ok(None);
        };
        self.held_by(pid, &record.id)
    }

    /// The process, if it has the record with this id open.
    fn held_by(&self, pid: rustix::process::Pid, id: &str) -> Result<Option<OwnedFd>> {
        let flags = rustix::process::PidfdFlags::empty();
        let number = pid.as_raw_pid();
        let pidfd = match rustix::process::pidfd_open(pid, flags) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(e) => return Err(e).or_call(|| format!("pidfd_open {number}")),
        };
        let name = file_name(id);
        let wanted = match rustix::fs::statat(&self.folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => (stat.st_dev, stat.st_ino),
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e).or_call(|| format!("stat {name:?}")),
        };
        let fds = format!("/proc/{number}/fd");
        let Ok(entries) = std::fs::read_dir(&fds) else {
            return Ok(None);
        };
        let holds = entries.flatten().any(|entry| {
            rustix::fs::stat(entry.path()).is_ok_and(|s| (s.st_dev, s.st_ino) == wanted)
        });
        Ok(holds.then_some(pidfd))
    }
}

impl Held {
    /// What is written down.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The locked file; it must not reach the cell.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Writes down the end, or removes the record of an ephemeral container.
    ///
    /// # Errors
    /// `Io`: a call failed; the record stays as it was, and nothing beside it.
    pub fn end(mut self, containers: &Containers, code: u8) -> Result<()> {
        let name = file_name(&self.record.id);
        if self.record.ephemeral {
            return rustix::fs::unlinkat(&containers.folder, &name, AtFlags::empty())
                .or_call(|| format!("unlink {name:?}"));
        }
        self.record.end = Some(End { code, at: now() });
        let beside = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = rustix::fs::openat(&containers.folder, &beside, flags, mode)
            .or_call(|| format!("create {beside:?}"))?;
        let mut file = File::from(fd);
        let folder = &containers.folder;
        let done = encode(&self.record).and_then(|bytes| {
            file.write_all(&bytes)
                .and_then(|()| file.sync_all())
                .or_call(|| format!("write {beside:?}"))?;
            rustix::fs::renameat(folder, &beside, folder, &name)
                .or_call(|| format!("rename {beside:?}"))
        });
        if done.is_err() {
            // The first failure is the one to tell; what stays goes with `rm`.
            let _told_already = rustix::fs::unlinkat(folder, &beside, AtFlags::empty()).is_ok();
        }
        done
    }
}

fn file_name(id: &str) -> String {
    format!("{id}.json")
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn random_id() -> Result<String> {
    let mut bytes = [0; 32];
    // 256 bytes or fewer are never cut short (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .or_call(|| "getrandom".to_owned())?;
    Ok(Digest::from_bytes(bytes).hex())
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn encode(record: &Record) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|e| {
        Error::new(
            Kind::Store,
            format!("write down container {}: {e}", record.id),
        )
    })
}

fn decode(bytes: &[u8], id: &str) -> Result<Record> {
    let wrong = |what: String| Error::new(Kind::Store, what);
    if bytes.len() as u64 > MAX {
        return Err(wrong("too long".to_owned()));
    }
    let record: Record = serde_json::from_slice(bytes).map_err(|e| wrong(e.to_string()))?;
    if record.version != VERSION || record.id != id {
        return Err(wrong(
            "it is another version's, or another container's".to_owned(),
        ));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers(name: &str) -> (Containers, std::path::PathBuf) {
        let dir =
            std::env::temp_dir().join(format!("lazaret-record-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir(&dir).unwrap();
        let folder = OwnedFd::from(File::open(&dir).unwrap());
        (Containers::new(folder), dir)
    }

    fn new(name: Option<&str>, ephemeral: bool) -> New {
        New {
            name: name.map(str::to_owned),
            image: "docker.io/library/x:latest".to_owned(),
            image_id: Digest::of(b"config"),
            manifest: Digest::of(b"manifest"),
            argv: vec!["sh".to_owned(), "-c".to_owned(), "\u{1b}".to_owned()],
            ephemeral,
            owners: Owners::Caller,
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn the_state_follows_the_lock_and_the_end() {
        let (containers, dir) = containers("state");
        let held = containers.create(new(Some("web"), false)).unwrap();
        let found = containers.find("web").unwrap();
        assert_eq!(found.state, State::Running);
        assert_eq!(&found.record, held.record());
        assert!(containers.supervisor(&found.record).unwrap().is_some());
        assert!(containers.folder(&found.record).is_ok());
        held.end(&containers, 7).unwrap();
        let found = containers.find("web").unwrap();
        assert!(
            matches!(found.state, State::Exited(End { code: 7, .. })),
            "{found:?}"
        );
        // The pid lives, and is not its supervisor.
        assert!(containers.supervisor(&found.record).unwrap().is_none());
        containers.forget(&found.record).unwrap();
        containers.forget(&found.record).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        // A supervisor that was killed: no lock, no end.
        drop(containers.create(new(Some("web"), false)).unwrap());
        assert_eq!(containers.find("web").unwrap().state, State::Killed);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn nothing_is_left_of_an_ephemeral_one() {
        let (containers, dir) = containers("ephemeral");
        let held = containers.create(new(None, true)).unwrap();
        assert_eq!(containers.list().unwrap().len(), 1);
        assert!(containers.folder(held.record()).is_err());
        held.end(&containers, 0).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        drop(containers.create(new(None, true)).unwrap());
        assert!(containers.list().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn names_are_unique_and_ids_are_found_by_their_beginning() {
        let (containers, dir) = containers("names");
        let one = containers.create(new(Some("web"), true)).unwrap();
        let error = containers.create(new(Some("web"), true)).unwrap_err();
        assert!(error.cause.contains("is taken"), "{error}");
        let two = containers.create(new(None, false)).unwrap();
        for held in [&one, &two] {
            let id = &held.record().id;
            for text in [&id[..], &id[..12], &held.record().name] {
                assert_eq!(&containers.find(text).unwrap().record.id, id);
            }
        }
        assert_eq!(containers.find("").unwrap_err().kind, Kind::NotFound);
        assert_eq!(containers.find("nope").unwrap_err().kind, Kind::NotFound);
        let digits: Vec<_> = [&one, &two]
            .iter()
            .map(|h| h.record().id[..1].to_owned())
            .collect();
        if digits[0] == digits[1] {
            assert_eq!(containers.find(&digits[0]).unwrap_err().kind, Kind::Usage);
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_record_is_told() {
        let (containers, dir) = containers("damaged");
        let id = "a".repeat(64);
        // Made and not yet written: not there yet.
        let making = containers.claim_file(&file_name(&id)).unwrap().unwrap();
        assert!(containers.list().unwrap().is_empty());
        assert!(dir.join(file_name(&id)).exists());
        // And never to be written.
        drop(making);
        assert!(containers.list().unwrap().is_empty());
        assert!(!dir.join(file_name(&id)).exists());
        // It hides no other one, and is found by its id.
        let held = containers.create(new(Some("web"), true)).unwrap();
        let other = dir.join(file_name(&held.record().id));
        let told = |what: &str| {
            assert_eq!(containers.list().unwrap().len(), 1, "{what}");
            let damaged = containers.survey().unwrap().damaged;
            assert_eq!(damaged.len(), 1, "{what}");
            assert_eq!((&damaged[0].id, damaged[0].running), (&id, false), "{what}");
            let error = containers.find("aaaaaaaaaaaa").unwrap_err();
            assert_eq!(error.kind, Kind::Store, "{what}");
            assert!(
                error
                    .hint
                    .unwrap()
                    .contains("lazaret rm -f aaaaaaaaaaaa removes it")
            );
            assert!(containers.find("web").is_ok());
        };
        for text in ["{", "{}", "[]", "\0"] {
            std::fs::write(dir.join(file_name(&id)), text).unwrap();
            told(text);
        }
        // Another container's record under this name, and a link out of the store.
        std::fs::copy(&other, dir.join(file_name(&id))).unwrap();
        told("another's");
        std::fs::remove_file(dir.join(file_name(&id))).unwrap();
        std::os::unix::fs::symlink(&other, dir.join(file_name(&id))).unwrap();
        told("a link");
        let damaged = containers.find_damaged("aaa").unwrap().unwrap();
        assert!(containers.holder(&damaged).unwrap().is_none());
        containers.forget_id(&id).unwrap();
        assert!(containers.find_damaged("aaa").unwrap().is_none());
        assert!(containers.find("web").is_ok(), "the link's target stays");
        // One that runs, whose supervisor is found by what it has open.
        let damaged = dir.join(file_name(&held.record().id));
        std::fs::write(damaged, "{").unwrap();
        let damaged = containers.find_damaged(&held.record().id).unwrap().unwrap();
        assert!(damaged.running);
        let (pid, _) = containers.holder(&damaged).unwrap().unwrap();
        assert_eq!(pid, rustix::process::getpid().as_raw_pid());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
