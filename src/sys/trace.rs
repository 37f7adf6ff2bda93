//! Watching what others' system calls come to (ptrace(2)). The kernel decides on each call; here one
//! only learns of it. Nothing of a thread that is watched is ever changed: no register, no memory, no
//! call.

use super::process::errno;
use rustix::io::{Errno, Result};
use rustix::process::Pid;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;

/// Who watches. ptrace(2) knows threads, so this cannot be sent to another one; when it ends, the
/// kernel kills all that it watches (PTRACE_O_EXITKILL).
#[derive(Debug)]
pub struct Tracer {
    /// Who stands still and has not been told of, the first first: the kernel tells of the youngest,
    /// and the others would wait for ever behind one that always has something.
    waiting: RefCell<VecDeque<(u32, i32)>>,
    here: PhantomData<*const ()>,
}

/// Why a thread that is watched stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Before a call that its filter hands over (SECCOMP_RET_TRACE): the number and the arguments.
    Call {
        /// The system call's number.
        number: u32,
        /// As they stand in registers.
        args: [u64; 6],
        /// What the filter says with it (SECCOMP_RET_DATA).
        said: u16,
    },
    /// After a call that [`Tracer::go_to_the_end`] let go on: what it returned, or its errno.
    Done(std::result::Result<u64, u16>),
    /// It has become another program; before, it was the thread of this number.
    Executed {
        /// The thread that called execve, which may have been another one.
        former: u32,
    },
    /// A signal is about to be delivered.
    Signal(i32),
    /// It was stopped by a signal, as by ^Z.
    Stopped,
    /// It has come to be watched, or has made somebody who is.
    Other,
    /// It has ended.
    Ended,
}

/// Signals that stop (signal(7)).
const STOPS: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

impl Tracer {
    /// Watches the process `pid`, of one thread, and everybody that it makes.
    ///
    /// # Errors
    /// `PERM`: somebody else watches it, or this machine lets nobody watch (Yama's ptrace_scope = 3);
    /// `SRCH`: it has ended.
    pub fn seize(pid: Pid) -> Result<Self> {
        let options = libc::PTRACE_O_EXITKILL
            | libc::PTRACE_O_TRACESECCOMP
            | libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE;
        let pid = pid.as_raw_nonzero().get();
        ptrace(
            libc::PTRACE_SEIZE,
            pid.cast_unsigned(),
            0,
            libc::c_ulong::from(options.cast_unsigned()),
        )?;
        Ok(Self {
            waiting: RefCell::default(),
            here: PhantomData,
        })
    }

    /// Waits for the next that stands still, or has ended.
    ///
    /// # Errors
    /// `CHILD`: nobody is left.
    pub fn wait(&self) -> Result<(u32, Stop)> {
        /// How many are taken in before the first of them is told of.
        const AT_ONCE: usize = 1024;
        let mut waiting = self.waiting.borrow_mut();
        while waiting.len() < AT_ONCE {
            match next(waiting.is_empty()) {
                Ok(Some(new)) => waiting.push_back(new),
                Ok(None) => break,
                // Those that are known are told of first.
                Err(_) if !waiting.is_empty() => break,
                Err(e) => return Err(e),
            }
        }
        let Some((thread, status)) = waiting.pop_front() else {
            return Err(Errno::CHILD);
        };
        let stop = match status & 0xff == 0x7f {
            false => Ok(Stop::Ended),
            true => stopped(thread, (status >> 8) & 0xff, status >> 16),
        };
        // Killed while it stood: its end is told next.
        Ok((thread, stop.unwrap_or(Stop::Other)))
    }

    /// It goes on, with this signal if it is not 0. That it has ended is no error: it is told.
    ///
    /// # Errors
    /// What ptrace(2) says, but ESRCH.
    pub fn go_on(&self, thread: u32, signal: i32) -> Result<()> {
        go(libc::PTRACE_CONT, thread, signal)
    }

    /// It goes on to the end of its call ([`Stop::Done`]); as [`Tracer::go_on`].
    ///
    /// # Errors
    /// As [`Tracer::go_on`].
    pub fn go_to_the_end(&self, thread: u32) -> Result<()> {
        go(libc::PTRACE_SYSCALL, thread, 0)
    }

    /// It is killed, and its process with it. That it has ended is no error.
    ///
    /// # Errors
    /// What kill(2) says, but ESRCH.
    pub fn kill(&self, thread: u32) -> Result<()> {
        let Some(pid) = Pid::from_raw(thread.cast_signed()) else {
            return Ok(());
        };
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            other => other,
        }
    }

    /// It stays stopped until somebody continues it; as [`Tracer::go_on`].
    ///
    /// # Errors
    /// As [`Tracer::go_on`].
    pub fn stay(&self, thread: u32) -> Result<()> {
        go(libc::PTRACE_LISTEN, thread, 0)
    }

    /// What stands in a thread's memory at `address`, as many bytes of `buffer` as could be read.
    ///
    /// # Errors
    /// `FAULT`: nothing is there.
    pub fn read(&self, thread: u32, address: u64, buffer: &mut [u8]) -> Result<usize> {
        let here = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let there = libc::iovec {
            iov_base: std::ptr::with_exposed_provenance_mut(
                usize::try_from(address).map_err(|_| Errno::FAULT)?,
            ),
            iov_len: buffer.len(),
        };
        // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`, which is borrowed for
        // as long; `there` is an address of another process, never followed here.
        let read = unsafe {
            libc::process_vm_readv(
                thread.cast_signed(),
                &raw const here,
                1,
                &raw const there,
                1,
                0,
            )
        };
        usize::try_from(read).map_err(|_| errno())
    }
}

/// The next that stands still or has ended; `None`: nobody does now, unless `wait`.
fn next(wait: bool) -> Result<Option<(u32, i32)>> {
    // linux/wait.h: of this thread's alone, and of any kind.
    const WNOTHREAD: i32 = 0x2000_0000;
    let flags = libc::__WALL | WNOTHREAD | if wait { 0 } else { libc::WNOHANG };
    let mut status = 0;
    loop {
        // SAFETY: `status` is an int that the call may write.
        let answer = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        match u32::try_from(answer) {
            Ok(0) => return Ok(None),
            Ok(thread) => return Ok(Some((thread, status))),
            Err(_) => match errno() {
                Errno::INTR => {}
                other => return Err(other),
            },
        }
    }
}

fn stopped(thread: u32, signal: i32, event: i32) -> Result<Stop> {
    Ok(match event {
        0 if signal == libc::SIGTRAP | 0x80 => match call_info(thread)? {
            Info::Exit(outcome) => Stop::Done(outcome),
            _ => Stop::Other,
        },
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_SECCOMP => match call_info(thread)? {
            Info::Seccomp { number, args, said } => Stop::Call { number, args, said },
            _ => Stop::Other,
        },
        libc::PTRACE_EVENT_EXEC => Stop::Executed {
            former: message(thread)?,
        },
        libc::PTRACE_EVENT_STOP if STOPS.contains(&signal) => Stop::Stopped,
        _ => Stop::Other,
    })
}

/// struct ptrace_syscall_info (linux/ptrace.h), the part that every kernel since 5.3 has.
#[repr(C)]
#[derive(Default)]
struct RawInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction: u64,
    stack: u64,
    /// entry and seccomp: the number; exit: what was returned.
    first: u64,
    /// entry and seccomp: the arguments; exit: in the first byte, whether that is an error.
    rest: [u64; 6],
    /// seccomp: the filter's data, and room for what later kernels add.
    more: [u64; 2],
}

enum Info {
    Seccomp {
        number: u32,
        args: [u64; 6],
        said: u16,
    },
    Exit(std::result::Result<u64, u16>),
    Other,
}

fn call_info(thread: u32) -> Result<Info> {
    const EXIT: u8 = 2;
    const SECCOMP: u8 = 3;
    let mut raw = RawInfo::default();
    // SAFETY: the kernel writes at most as many bytes as it is told the structure has.
    let answer = unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            thread,
            size_of::<RawInfo>(),
            &raw mut raw,
        )
    };
    if answer == -1 {
        return Err(errno());
    }
    Ok(match raw.op {
        SECCOMP => Info::Seccomp {
            number: u32::try_from(raw.first).unwrap_or(u32::MAX),
            args: raw.rest,
            said: u16::try_from(raw.more[0] & 0xffff).unwrap_or(0),
        },
        EXIT if raw.rest[0] & 0xff != 0 => {
            let errno = u16::try_from(raw.first.cast_signed().unsigned_abs());
            Info::Exit(Err(errno.unwrap_or(u16::MAX)))
        }
        EXIT => Info::Exit(Ok(raw.first)),
        _ => Info::Other,
    })
}

/// The number that comes with an event.
fn message(thread: u32) -> Result<u32> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long.
    let answer = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, thread, 0, &raw mut message) };
    match answer {
        -1 => Err(errno()),
        _ => Ok(u32::try_from(message).unwrap_or(0)),
    }
}

fn go(request: libc::c_uint, thread: u32, signal: i32) -> Result<()> {
    match ptrace(
        request,
        thread,
        0,
        libc::c_ulong::from(signal.cast_unsigned()),
    ) {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// Requests whose arguments are numbers.
fn ptrace(
    request: libc::c_uint,
    thread: u32,
    address: libc::c_ulong,
    data: libc::c_ulong,
) -> Result<()> {
    // SAFETY: none of SEIZE, CONT, SYSCALL and LISTEN reads or writes memory of ours.
    let answer = unsafe { libc::ptrace(request, thread, address, data) };
    if answer == -1 { Err(errno()) } else { Ok(()) }
}
