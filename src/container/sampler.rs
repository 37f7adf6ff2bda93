//! Looks at all processes of a cell from outside: what holds memory and processor time where no
//! cgroup does.
//!
//! # Theory of operation
//!
//! pid 1 hands out the cell's own /proc, which lists exactly the processes of its pid namespace, and
//! its file systems in memory. What every process has in memory is one short file of each (`statm`).
//! Their sum counts what processes share more than once, so it is never less than the truth: while it
//! is within the bound, so is the cell. Past it the pages of files on disk are left out (`status`), and
//! only past it once more are the shares counted (`smaps`), which is dear.
//! To both come the tmpfs and the files in memory that have no name (memfd), found among the open
//! descriptors.
//!
//! Between two looks a cell grows at most as fast as its processors clear pages. So far from the bound
//! there is time to sleep; close to it there is a look every [`SHORTEST`].
//!
//! What is not seen: memory that no process maps and no descriptor names (shared pages given back
//! with MADV_DONTNEED, SysV segments without a process, files on their way through a socket), the
//! kernel's own (page tables, buffers of pipes and sockets), and the time of children that nobody
//! waits for (SIGCHLD ignored) since they were last looked at.

use crate::error::{Context, Error, Kind, Result};
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstatfs, openat, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The shortest time between two looks.
pub const SHORTEST: Duration = Duration::from_millis(5);
/// The longest that a dear look puts off the next one.
const LONGEST_NEAR: Duration = Duration::from_millis(15);
/// The longest time between two looks at all.
const LONGEST: Duration = Duration::from_secs(1);
/// Bytes that one processor clears in a second, at most: faults of huge pages on a fast machine.
const RATE: u64 = 8 << 30;
/// Descriptors that are looked at in one look; the others' turn is the next.
const DESCRIPTORS: usize = 4096;
/// proc(5): the fields of `stat` that are times are in hundredths of a second.
const TICK: u64 = 10_000_000;

/// What one look found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Bytes of memory and swap; not less than there are, and exact where `exact`.
    pub memory: u64,
    /// The shares were counted.
    pub exact: bool,
    /// Nanoseconds of processor time since the first look.
    pub time: u64,
    /// Processes.
    pub processes: usize,
}

/// A process as it was last looked at.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// When it started: a number may come again.
    started: u64,
    /// Its own time, nanoseconds.
    own: u64,
    /// That of its children that were waited for.
    children: u64,
    round: u64,
}

/// A file in memory without a name.
#[derive(Debug, Clone, Copy)]
struct Unnamed {
    bytes: u64,
    round: u64,
}

/// The looks at one cell.
#[derive(Debug)]
pub struct Sampler {
    proc: OwnedFd,
    in_memory: Vec<OwnedFd>,
    /// The device of files in memory without a name.
    shmem: (u32, u32),
    page: u64,
    seen: HashMap<i32, Seen>,
    unnamed: HashMap<u64, Unnamed>,
    /// The last process whose descriptors were looked at, and the rounds that began anew.
    cursor: i32,
    cycle: u64,
    round: u64,
    /// Time of children that nobody waited for.
    lost: u64,
    /// Time at the first look.
    base: Option<u64>,
    /// The largest sum that was followed by an exact look.
    largest: u64,
    /// A process whose descriptors are not shown to this user.
    blind: Option<i32>,
}

/// What a look counts.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Memory, and the bound past which it is counted exactly.
    pub memory: Option<u64>,
    /// Processor time.
    pub time: bool,
}

impl Sampler {
    /// `view`: what pid 1 handed out, /proc first.
    ///
    /// # Errors
    /// `Launch`: something else came, or it cannot be looked at.
    pub fn new(view: Vec<OwnedFd>) -> Result<Self> {
        let mut view = view.into_iter();
        let proc = view.next().ok_or_else(|| {
            Error::new(Kind::Launch, "pid 1 did not show the processes of the cell")
        })?;
        let in_memory: Vec<OwnedFd> = view.collect();
        let probe = rustix::fs::memfd_create(c"lazaret", rustix::fs::MemfdFlags::CLOEXEC)
            .or_call(|| "memfd_create")?;
        let stat = rustix::fs::fstat(&probe).or_call(|| "fstat a file in memory")?;
        Ok(Self {
            shmem: numbers(stat.st_dev),
            proc,
            in_memory,
            page: crate::sys::page_size(),
            seen: HashMap::new(),
            unnamed: HashMap::new(),
            cursor: 0,
            cycle: 0,
            round: 0,
            lost: 0,
            base: None,
            largest: 0,
            blind: None,
        })
    }

    /// A process of the cell whose descriptors the last looks were not let see, if any.
    pub fn blind(&mut self) -> Option<i32> {
        self.blind.take()
    }

    /// The user namespace of a process; `None`: it is gone, or does not show it yet.
    pub fn user_namespace(&self, pid: i32) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat(&self.proc, format!("{pid}/ns/user"), flags, Mode::empty()).ok()
    }

    /// What it looks through.
    pub fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.proc].into_iter().chain(&self.in_memory)
    }

    /// Looks once.
    ///
    /// # Errors
    /// `Launch`: the list of processes cannot be read.
    pub fn look(&mut self, count: Count) -> Result<Sample> {
        self.round += 1;
        let pids = self.processes()?;
        let mut sample = Sample {
            processes: pids.len(),
            ..Sample::default()
        };
        if let Some(bound) = count.memory {
            self.find_unnamed(&pids);
            let files = self.files();
            let resident: u64 = pids.iter().map(|pid| self.resident(*pid)).sum();
            sample.memory = resident + files + swap_in_use();
            // Past the bound; and now and then, so that the most there was is known.
            let more = sample.memory > self.largest / 8 * 9;
            if sample.memory > bound || more {
                self.largest = self.largest.max(sample.memory);
                let own = pids.iter().map(|pid| self.own(*pid));
                sample.memory = files + own.sum::<u64>();
                // One process beside pid 1 shares with nobody, but for a file that it maps.
                sample.exact = pids.len() <= 2;
                if sample.memory > bound || more && !sample.exact {
                    let shares = pids.iter().map(|pid| self.share(*pid));
                    sample.memory = files + shares.sum::<u64>();
                    sample.exact = true;
                }
            }
        }
        if count.time {
            sample.time = self.time(&pids);
        }
        Ok(sample)
    }

    /// The processes of the cell, in the order of their numbers: one that is forked meanwhile has a
    /// higher one, and is found.
    fn processes(&self) -> Result<Vec<i32>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.proc, c".", flags, Mode::empty())
            .or_call(|| "open /proc of the container")?;
        let mut pids = Vec::with_capacity(16);
        for entry in Dir::new(folder).or_call(|| "read /proc of the container")? {
            let entry = entry.or_call(|| "read /proc of the container")?;
            if let Ok(name) = entry.file_name().to_str()
                && let Ok(pid) = name.parse()
            {
                pids.push(pid);
            }
        }
        Ok(pids)
    }

    /// A file of a process, at most `most` bytes; empty: the process is gone, or nobody may read it.
    /// What fits in a first read is read in one.
    fn read(&self, pid: i32, name: &str, most: usize) -> Vec<u8> {
        let path = format!("{pid}/{name}");
        let chunk = most.min(1 << 16);
        let mut bytes = Vec::with_capacity(chunk);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(file) = openat(&self.proc, path, flags, Mode::empty()) else {
            return bytes;
        };
        while bytes.len() < most {
            bytes.reserve(chunk);
            let read = || rustix::io::read(&file, spare_capacity(&mut bytes));
            match rustix::io::retry_on_intr(read) {
                Ok(n) if n > 0 && most > SMALL => {}
                _ => break,
            }
        }
        bytes
    }

    /// What a process has in memory, pages of files too (proc_pid_statm(5)).
    fn resident(&self, pid: i32) -> u64 {
        let bytes = self.read(pid, "statm", SMALL);
        numbers_of(&bytes)
            .nth(1)
            .unwrap_or(0)
            .saturating_mul(self.page)
    }

    /// What a process has in memory and swap beside the pages of files on disk (proc_pid_status(5)).
    fn own(&self, pid: i32) -> u64 {
        let bytes = self.read(pid, "status", SMALL);
        let of = |line: &[u8]| {
            let names: [&[u8]; 3] = [b"RssAnon:", b"RssShmem:", b"VmSwap:"];
            let rest = names.iter().find_map(|name| line.strip_prefix(*name))?;
            Some(numbers_of(rest).next()?.saturating_mul(1024))
        };
        bytes.split(|b| *b == b'\n').filter_map(of).sum()
    }

    /// What the file systems in memory hold, and files without a name.
    fn files(&self) -> u64 {
        let used = |fd: &OwnedFd| {
            let of = fstatfs(fd).map_or((0, 0), |s| {
                (s.f_blocks.saturating_sub(s.f_bfree), s.f_bsize)
            });
            of.0.saturating_mul(u64::try_from(of.1).unwrap_or(0))
        };
        let named: u64 = self.in_memory.iter().map(used).sum();
        named + self.unnamed.values().map(|file| file.bytes).sum::<u64>()
    }

    /// Looks for files in memory without a name among the descriptors, at no more than
    /// [`DESCRIPTORS`] of them: what was found before counts until its turn comes again.
    fn find_unnamed(&mut self, pids: &[i32]) {
        let mut left = DESCRIPTORS;
        let from = pids.partition_point(|pid| *pid <= self.cursor);
        for pid in pids.iter().skip(from).chain(pids.iter().take(from)) {
            if left == 0 {
                break;
            }
            if *pid <= self.cursor {
                self.cycle += 1;
            }
            self.cursor = *pid;
            left = self.find_unnamed_of(*pid, left);
        }
        if left > 0 {
            // Everybody had a turn.
            self.cycle += 1;
        }
        let cycle = self.cycle;
        self.unnamed.retain(|_, file| file.round + 2 >= cycle);
    }

    fn find_unnamed_of(&mut self, pid: i32, mut left: usize) -> usize {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.proc, format!("{pid}/fd"), flags, Mode::empty());
        let folder = match folder {
            Ok(folder) => folder,
            Err(e) => {
                // pid 1 shows them to nobody, and has none of these.
                if e == Errno::ACCESS && pid != 1 {
                    self.blind = Some(pid);
                }
                return left;
            }
        };
        let Ok(entries) = Dir::read_from(&folder) else {
            return left;
        };
        for entry in entries.flatten() {
            let name: &CStr = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            if left == 0 {
                break;
            }
            left -= 1;
            if let Ok(stat) = statat(&folder, name, AtFlags::empty())
                && numbers(stat.st_dev) == self.shmem
            {
                let bytes = u64::try_from(stat.st_blocks)
                    .unwrap_or(0)
                    .saturating_mul(512);
                let round = self.cycle;
                self.unnamed.insert(stat.st_ino, Unnamed { bytes, round });
            }
        }
        left
    }

    /// A process's share of what is in memory beside [`Sampler::files`]: what several map counts in
    /// parts (proc_pid_smaps(5), Pss).
    fn share(&self, pid: i32) -> u64 {
        let bytes = self.read(pid, "smaps", MOST_SMAPS);
        if bytes.is_empty() || bytes.len() >= MOST_SMAPS {
            return self.own(pid);
        }
        let mut counts = Counts::Nothing;
        let (mut sum, mut pss) = (0u64, 0u64);
        for line in bytes.split(|b| *b == b'\n') {
            let kilobytes = |rest: &[u8]| numbers_of(rest).next().unwrap_or(0).saturating_mul(1024);
            if let Some(rest) = line.strip_prefix(b"Pss:") {
                pss = kilobytes(rest);
                if counts == Counts::All {
                    sum = sum.saturating_add(pss);
                }
            } else if let Some(rest) = line.strip_prefix(b"Anonymous:") {
                if counts == Counts::Own {
                    sum = sum.saturating_add(kilobytes(rest).min(pss));
                }
            } else if let Some(rest) = line.strip_prefix(b"SwapPss:") {
                if counts != Counts::Nothing {
                    sum = sum.saturating_add(kilobytes(rest));
                }
            } else if !line.first().is_some_and(u8::is_ascii_uppercase) {
                counts = self.counts(line);
            }
        }
        sum
    }

    /// What of a mapping is memory that nothing else here counts; `line`: the mapping's first,
    /// `address perms offset device inode path`.
    fn counts(&self, line: &[u8]) -> Counts {
        let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
        let (perms, device) = (fields.nth(1), fields.nth(1));
        let (Some(perms), Some(device), Some(inode)) = (perms, device, fields.next()) else {
            return Counts::Nothing;
        };
        let inode = numbers_of(inode).next().unwrap_or(0);
        let own = match perms.last() {
            Some(b's') => Counts::Nothing,
            _ => Counts::Own,
        };
        match hex_device(device) {
            _ if inode == 0 => Counts::All,
            Some(device) if device == self.shmem && !self.unnamed.contains_key(&inode) => {
                Counts::All
            }
            _ => own,
        }
    }

    /// Processor time since the first look.
    fn time(&mut self, pids: &[i32]) -> u64 {
        let (mut grown, mut sum) = (0u64, 0u64);
        for pid in pids {
            let stat = self.read(*pid, "stat", SMALL);
            let Some(now) = Stat::of(&stat) else { continue };
            let mut own = now.own;
            if now.threads == 1 {
                // Exact, and for one thread only.
                let exact = self.read(*pid, "schedstat", SMALL);
                own = own.max(numbers_of(&exact).next().unwrap_or(0));
            }
            let before = self
                .seen
                .get(pid)
                .filter(|seen| seen.started == now.started);
            own = own.max(before.map_or(0, |seen| seen.own));
            grown += now
                .children
                .saturating_sub(before.map_or(0, |seen| seen.children));
            sum += own + now.children;
            let seen = Seen {
                started: now.started,
                own,
                children: now.children,
                round: self.round,
            };
            if let Some(other) = self.seen.insert(*pid, seen)
                && other.started != now.started
            {
                // Somebody else had this number, and is gone.
                self.lost += other.own + other.children;
            }
        }
        let round = self.round;
        let mut gone = 0;
        self.seen.retain(|_, seen| {
            let here = seen.round == round;
            if !here {
                gone += seen.own + seen.children;
            }
            here
        });
        // The time of who is gone is with those that waited for it, or nowhere.
        self.lost += gone.saturating_sub(grown);
        let sum = sum + self.lost;
        sum.saturating_sub(*self.base.get_or_insert(sum))
    }
}

/// What of a mapping is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Nothing,
    /// What was written to a private mapping of a file.
    Own,
    All,
}

/// Bytes of the short files of a process, more than any has.
const SMALL: usize = 4096;
/// Bytes of `smaps` that are read; who has more mappings than that is not counted by shares.
const MOST_SMAPS: usize = 4 << 20;

/// What `stat` says of a process's time, in nanoseconds (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    own: u64,
    children: u64,
    threads: u64,
    started: u64,
}

impl Stat {
    /// `pid (name) state ...`; a name may hold anything, also brackets.
    fn of(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().rposition(|b| *b == b')')?;
        let rest = std::str::from_utf8(bytes.get(end + 1..)?).ok()?;
        // The state is field 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = |a: usize, b: usize| Some((field(a)? + field(b)?).saturating_mul(TICK));
        Some(Self {
            own: ticks(14, 15)?,
            children: ticks(16, 17)?,
            threads: field(20)?,
            started: field(22)?,
        })
    }
}

/// The decimal numbers of a text.
fn numbers_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let words = bytes
        .split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty());
    words.map_while(|word| std::str::from_utf8(word).ok()?.parse().ok())
}

fn numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// `00:1f` as smaps has it.
fn hex_device(text: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((
        u32::from_str_radix(major, 16).ok()?,
        u32::from_str_radix(minor, 16).ok()?,
    ))
}

/// Swap that anybody uses: no process of the cell has more there.
fn swap_in_use() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalswap
        .saturating_sub(info.freeswap)
        .saturating_mul(info.mem_unit.into())
}

/// How long no bound can be crossed: `memory` bytes and `time` nanoseconds are left to them, and the
/// last look took `took`, which is to be a hundredth of the time if that does not make it late.
pub fn pause(memory: Option<u64>, time: Option<u64>, processors: u64, took: Duration) -> Duration {
    let near = (took * 100).clamp(SHORTEST, LONGEST_NEAR);
    let rate = RATE.saturating_mul(processors);
    let memory = memory.map(|left| {
        let nanoseconds = u128::from(left) * 1_000_000_000 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    });
    let time = time.map(|left| Duration::from_nanos(left / processors));
    let far = memory.into_iter().chain(time).min().unwrap_or(LONGEST);
    far.clamp(near, LONGEST)
}

/// Processors that this process, and so the cell, may use.
pub fn processors() -> u64 {
    let set = rustix::thread::sched_getaffinity(None);
    set.map_or(1, |set| u64::from(set.count()).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_say_when() {
        let line = b"7 (x) 9 9 (9) S 1 7 7 0 -1 4194304 1 2 3 4 11 12 13 14 20 0 5 0 777 1 1";
        let stat = Stat::of(line).unwrap();
        assert_eq!(stat.own, 23 * TICK);
        assert_eq!(stat.children, 27 * TICK);
        assert_eq!((stat.threads, stat.started), (5, 777));
        assert_eq!(Stat::of(b"7 (x"), None);
        assert_eq!(Stat::of(b"7 (x) S 1"), None);
    }

    #[test]
    fn looks_are_near_where_the_bound_is() {
        let ms = Duration::from_millis;
        let of = |memory, time, took| pause(memory, time, 2, took);
        assert_eq!(of(Some(0), None, ms(0)), ms(5));
        assert_eq!(of(Some(2 << 30), None, ms(0)), ms(125));
        assert_eq!(of(Some(u64::MAX), None, ms(0)), ms(1000));
        assert_eq!(of(Some(2 << 30), Some(20_000_000), ms(0)), ms(10));
        // A dear look is not taken as often, and never late.
        assert_eq!(of(Some(0), None, Duration::from_micros(80)), ms(8));
        assert_eq!(of(Some(0), None, ms(9)), ms(15));
    }

    #[test]
    fn words_of_the_kernel() {
        assert_eq!(hex_device(b"fd:1f"), Some((0xfd, 0x1f)));
        assert_eq!(hex_device(b"x"), None);
        let got: Vec<u64> = numbers_of(b"  12 kB 3").collect();
        assert_eq!(got, [12]);
    }
}
