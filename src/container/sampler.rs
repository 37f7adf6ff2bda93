//! Looks at all processes of a cell from outside: what holds memory and processor time where no
//! cgroup does.
//!
//! # Theory of operation
//!
//! pid 1 hands out the cell's own /proc, which lists exactly the processes of its pid namespace, and
//! its file systems in memory. What every process has in memory is one file of each (`status`).
//! Their sum counts what processes share more than once, so it is never less than the truth: while it
//! is within the bound, so is the cell. Past it the pages of files on disk are left out, and only past
//! it once more are the shares counted (`smaps`), which is dear.
//! To all of them come the tmpfs, SysV segments, and the files in memory that have no name (memfd),
//! found among the open descriptors.
//!
//! Between two looks a cell grows at most as fast as its processors clear pages. So far from the bound
//! there is time to sleep; close to it there is a look every [`SHORTEST`].
//!
//! What is not seen: memory that no process maps and no descriptor names (shared pages given back
//! with MADV_DONTNEED, files on their way through a socket), the kernel's own but for page tables
//! (buffers of pipes and sockets), and the time of children that nobody waits for (SIGCHLD ignored)
//! since they were last looked at.

use crate::error::{Context, Error, Kind, Result};
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, SeekFrom, StatxFlags, fstatfs, openat, seek, statx};
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
/// Descriptors that are looked at in one look; the others' turn is the next, which is soon.
pub const DESCRIPTORS: usize = 4096;
/// PROC_SUPER_MAGIC (statfs(2)).
const PROC: i64 = 0x9fa0;
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
    /// There are more descriptors than one look sees.
    pub behind: bool,
}

/// What a process has in memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    /// All of it in memory.
    all: u64,
    /// In memory and swap, beside the pages of files on disk.
    own: u64,
    /// The kernel's page tables for it.
    tables: u64,
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
    /// The table of SysV segments, and what they held at the last look.
    segments: Option<OwnedFd>,
    in_segments: u64,
    /// The device of files in memory without a name.
    shmem: (u32, u32),
    page: u64,
    seen: HashMap<i32, Seen>,
    unnamed: HashMap<u64, Unnamed>,
    /// The first descriptor that was not looked at yet and whose it is, and the rounds that began anew.
    cursor: (i32, u64),
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
        let is_table = |fd: &OwnedFd| fstatfs(fd).is_ok_and(|s| s.f_type == PROC);
        let (mut tables, in_memory): (Vec<_>, Vec<_>) = view.partition(is_table);
        let probe = rustix::fs::memfd_create(c"lazaret", rustix::fs::MemfdFlags::CLOEXEC)
            .or_call(|| "memfd_create")?;
        let stat = rustix::fs::fstat(&probe).or_call(|| "fstat a file in memory")?;
        Ok(Self {
            shmem: numbers(stat.st_dev),
            proc,
            in_memory,
            segments: tables.pop(),
            in_segments: 0,
            page: crate::sys::page_size(),
            seen: HashMap::new(),
            unnamed: HashMap::new(),
            cursor: (0, 0),
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
        let one = [&self.proc].into_iter();
        one.chain(&self.segments).chain(&self.in_memory)
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
            sample.behind = self.find_unnamed(&pids);
            self.in_segments = self.segments()?;
            let files = self.files();
            let held: Vec<Held> = pids.iter().map(|pid| self.held(*pid)).collect();
            let tables: u64 = held.iter().map(|held| held.tables).sum();
            let all: u64 = held.iter().map(|held| held.all).sum();
            sample.memory = all + tables + files + swap_in_use();
            // Past the bound; and now and then, so that the most there was is known.
            let more = sample.memory > self.largest / 8 * 9;
            if sample.memory > bound || more {
                self.largest = self.largest.max(sample.memory);
                let own: u64 = held.iter().map(|held| held.own).sum();
                sample.memory = own + tables + files;
                // One process beside pid 1 shares with nobody, but for a file that it maps.
                sample.exact = pids.len() <= 2;
                if sample.memory > bound || more && !sample.exact {
                    sample.memory = self.exact(&pids, &held, files);
                    sample.exact = true;
                    if sample.memory > bound {
                        // Processes that end meanwhile leave more to those that are looked at later,
                        // and what they shared counts twice: nobody is killed for one such look.
                        sample.memory = sample.memory.min(self.again()?);
                    }
                }
            }
        }
        if count.time {
            sample.time = self.time(&pids);
        }
        Ok(sample)
    }

    /// The sum without what is shared counted twice.
    fn exact(&self, pids: &[i32], held: &[Held], files: u64) -> u64 {
        let each = pids.iter().zip(held);
        let each = each.map(|(pid, held)| held.tables + self.share(*pid, *held));
        files + each.sum::<u64>()
    }

    /// That of a second look, right behind the first.
    fn again(&self) -> Result<u64> {
        let pids = self.processes()?;
        let held: Vec<Held> = pids.iter().map(|pid| self.held(*pid)).collect();
        Ok(self.exact(&pids, &held, self.files()))
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

    /// What a process has in memory (proc_pid_status(5)). Before what is looked for there stand its
    /// groups, up to 65536: who has so many is held to have as much as its pages of files count too.
    fn held(&self, pid: i32) -> Held {
        let bytes = self.read(pid, "status", SMALL);
        if bytes.len() < SMALL {
            return Held::of(&bytes);
        }
        let bytes = self.read(pid, "statm", SMALL);
        let pages = numbers_of(&bytes).nth(1).unwrap_or(0);
        let all = pages.saturating_mul(self.page);
        Held {
            all,
            own: all.saturating_add(swap_in_use()),
            tables: 0,
        }
    }

    /// What SysV segments hold in memory and swap, whether anybody is attached to them or not.
    fn segments(&self) -> Result<u64> {
        let Some(table) = &self.segments else {
            return Ok(0);
        };
        let mut text = Vec::new();
        loop {
            text.reserve(1 << 12);
            let at = text.len() as u64;
            let read = || rustix::io::pread(table, spare_capacity(&mut text), at);
            if rustix::io::retry_on_intr(read).or_call(|| "read /proc/sysvipc/shm")? == 0 {
                break;
            }
        }
        Ok(bytes_of_segments(&text))
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
        let unnamed: u64 = self.unnamed.values().map(|file| file.bytes).sum();
        named + unnamed + self.in_segments
    }

    /// Looks for files in memory without a name among the descriptors, at no more than
    /// [`DESCRIPTORS`] of them: what was found before counts until its turn comes again. Whether some
    /// were left.
    fn find_unnamed(&mut self, pids: &[i32]) -> bool {
        let mut left = DESCRIPTORS;
        let (at, descriptor) = self.cursor;
        let from = pids.partition_point(|pid| *pid < at);
        let mut anew = false;
        for pid in pids.iter().skip(from).chain(pids.iter().take(from)) {
            if *pid < at && !anew {
                anew = true;
                self.cycle += 1;
            }
            let first = if *pid == at { descriptor } else { 0 };
            if let Some(next) = self.find_unnamed_of(*pid, first, &mut left) {
                self.cursor = (*pid, next);
                self.forget_unnamed();
                return true;
            }
        }
        // Everybody had a turn.
        self.cursor = (0, 0);
        self.cycle += 1;
        self.forget_unnamed();
        false
    }

    fn forget_unnamed(&mut self) {
        let cycle = self.cycle;
        self.unnamed.retain(|_, file| file.round + 2 >= cycle);
    }

    /// Looks at the descriptors of a process from `first` on. The first that is left, if any is.
    fn find_unnamed_of(&mut self, pid: i32, first: u64, left: &mut usize) -> Option<u64> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.proc, format!("{pid}/fd"), flags, Mode::empty());
        let folder = match folder {
            Ok(folder) => folder,
            Err(e) => {
                // pid 1 shows them to nobody, and has none of these.
                if e == Errno::ACCESS && pid != 1 {
                    self.blind = Some(pid);
                }
                return None;
            }
        };
        // They are listed in order, behind "." and "..".
        if first > 0 && seek(&folder, SeekFrom::Start(first + 2)).is_err() {
            return None;
        }
        let Ok(entries) = Dir::new(folder) else {
            return None;
        };
        let Ok(folder) = entries
            .fd()
            .and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3))
        else {
            return None;
        };
        for entry in entries.flatten() {
            let name: &CStr = entry.file_name();
            let Some(number) = name.to_str().ok().and_then(|n| n.parse().ok()) else {
                continue;
            };
            if *left == 0 {
                return Some(number);
            }
            *left -= 1;
            // What the kernel knows by itself: a server of files that does not answer keeps nobody.
            let known = AtFlags::STATX_DONT_SYNC;
            if let Ok(stat) = statx(&folder, name, known, StatxFlags::BASIC_STATS)
                && (stat.stx_dev_major, stat.stx_dev_minor) == self.shmem
            {
                let bytes = stat.stx_blocks.saturating_mul(512);
                let round = self.cycle;
                self.unnamed.insert(stat.stx_ino, Unnamed { bytes, round });
            }
        }
        None
    }

    /// A process's share of what is in memory beside [`Sampler::files`]: what several map counts in
    /// parts (proc_pid_smaps(5), Pss).
    fn share(&self, pid: i32, held: Held) -> u64 {
        let bytes = self.read(pid, "smaps", MOST_SMAPS);
        if bytes.is_empty() {
            // One that ends has none any more, and nobody can take its memory for held.
            return self.held(pid).own;
        }
        if bytes.len() >= MOST_SMAPS {
            return held.own;
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
        let is_segment = fields.next().is_some_and(|path| path.starts_with(b"/SYSV"));
        let own = match perms.last() {
            Some(b's') => Counts::Nothing,
            _ => Counts::Own,
        };
        match hex_device(device) {
            // Its inode is its number, 0 or a memfd's too; its name is its own.
            Some(device) if device == self.shmem && is_segment && self.segments.is_some() => {
                Counts::Nothing
            }
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

impl Held {
    /// From `status`, whose lines are `Name: number kB`.
    fn of(bytes: &[u8]) -> Self {
        let mut held = Self::default();
        for line in bytes.split(|b| *b == b'\n') {
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                continue;
            };
            let (name, rest) = line.split_at(colon);
            let to = match name {
                b"VmRSS" => &mut held.all,
                b"RssAnon" | b"RssShmem" | b"VmSwap" => &mut held.own,
                b"VmPTE" => &mut held.tables,
                _ => continue,
            };
            let number = rest.get(1..).and_then(|rest| numbers_of(rest).next());
            *to = to.saturating_add(number.unwrap_or(0).saturating_mul(1024));
        }
        held
    }
}

/// The bytes of the segments of a table (proc_sysvipc(5)): the last two columns of each line but the
/// first, which names them.
fn bytes_of_segments(text: &[u8]) -> u64 {
    let lines = text.split(|b| *b == b'\n').skip(1);
    let bytes = lines.map(|line| {
        let columns: Vec<u64> = numbers_of(line).collect();
        columns.get(14..).map_or(0, |held| held.iter().sum())
    });
    bytes.sum()
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
    fn what_a_process_holds() {
        let status = b"Name:\tVmRSS: 9 kB\nGroups:\t1 2 \nVmRSS:\t     700 kB\nRssAnon:\t 100 kB\n\
            RssFile:\t 500 kB\nRssShmem:\t 100 kB\nVmPTE:\t  44 kB\nVmSwap:\t 8 kB\n";
        let (all, own, tables) = (700 << 10, 208 << 10, 44 << 10);
        assert_eq!(Held::of(status), Held { all, own, tables });
        assert_eq!(Held::of(b"Name:\tx\nGroups:\t1 2 3"), Held::default());
        let head =
            "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap";
        let table = format!(
            "{head}\n0 0 600 9999 2 2 0 0 0 0 0 1 2 3 4096 8192\n 5 1 600 1 2 2 0 0 0 0 0 1 2 3 1 0\n"
        );
        assert_eq!(bytes_of_segments(table.as_bytes()), 4096 + 8192 + 1);
        assert_eq!(bytes_of_segments(head.as_bytes()), 0);
    }

    #[test]
    fn words_of_the_kernel() {
        assert_eq!(hex_device(b"fd:1f"), Some((0xfd, 0x1f)));
        assert_eq!(hex_device(b"x"), None);
        let got: Vec<u64> = numbers_of(b"  12 kB 3").collect();
        assert_eq!(got, [12]);
    }
}
