//! Looks at a cell whose users are not the caller: their descriptors are listed for themselves alone.
//!
//! A process forked from the supervisor joins the cell's user namespace, which is the caller's own
//! making, and there holds what it takes to look and no more. It is in no other namespace of the cell, so that
//! nothing inside sees or reaches it; it looks when it is asked, and ends with its socket.

use super::sampler::{Count, Sample, Sampler};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::{self, SingleThread};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes of a request and of an answer.
const WORDS: usize = 4;
type Words = [u64; WORDS];
/// Bits of an answer's second word.
const EXACT: u64 = 1;
const BEHIND: u64 = 2;

/// The forked process. Dropping it ends it.
#[derive(Debug)]
pub struct Helper {
    pid: Pid,
    socket: Option<OwnedFd>,
}

impl Helper {
    /// Goes on with `sampler` in a process of the user namespace of `pid`, as the cell numbers it.
    /// `None`: that process shows no namespace now; another may.
    ///
    /// # Errors
    /// `Launch`: no process or socket can be made.
    pub fn start(sampler: &mut Sampler, pid: i32) -> Result<Option<Self>> {
        let Some(namespace) = sampler.user_namespace(pid) else {
            return Ok(None);
        };
        let one = SingleThread::check()?;
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
            .or_call(|| "socketpair")?;
        match sys::fork(one).or_call(|| "fork")? {
            None => serve(sampler, &namespace, &theirs),
            Some(pid) => Ok(Some(Self {
                pid,
                socket: Some(ours),
            })),
        }
    }

    /// [`Sampler::look`], over there.
    ///
    /// # Errors
    /// `Launch`: it has ended.
    pub fn look(&self, count: Count) -> Result<Sample> {
        let gone = || {
            Error::new(
                Kind::Launch,
                "what looks at the container's processes has ended",
            )
        };
        let socket = self.socket.as_ref().ok_or_else(gone)?;
        let bound = count.memory.unwrap_or(0);
        let asked = [count.memory.is_some().into(), bound, count.time.into(), 0];
        send(socket, asked).map_err(|_| gone())?;
        let [memory, flags, time, processes] = receive(socket).ok_or_else(gone)?;
        Ok(Sample {
            memory,
            exact: flags & EXACT != 0,
            behind: flags & BEHIND != 0,
            time,
            processes: usize::try_from(processes).unwrap_or(usize::MAX),
        })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.socket.take());
        // It ends of that; should somebody have ended it before, nothing is there to wait for.
        let wait = || waitpid(Some(self.pid), WaitOptions::empty());
        rustix::io::retry_on_intr(wait).unwrap_or_default();
    }
}

fn send(socket: &OwnedFd, words: Words) -> rustix::io::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rustix::io::retry_on_intr(|| rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL)).map(drop)
}

/// `None`: the other side is gone.
fn receive(socket: &OwnedFd) -> Option<Words> {
    let mut bytes = [0u8; WORDS * 8];
    let receive = || rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty());
    let (n, _) = rustix::io::retry_on_intr(receive).ok()?;
    let mut words = [0; WORDS];
    if n != bytes.len() {
        return None;
    }
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

/// The forked process: looks when it is asked to, until nobody is there to ask.
fn serve(sampler: &mut Sampler, namespace: &OwnedFd, socket: &OwnedFd) -> ! {
    let kept = [namespace, socket];
    let kept = kept.into_iter().chain(sampler.descriptors());
    // The command's streams and pid 1's socket end with the supervisor, not with this.
    if close_all_but(kept.map(AsRawFd::as_raw_fd).collect()).is_err()
        || become_a_helper(namespace.as_fd()).is_err()
    {
        sys::exit_now(1);
    }
    while let Some([counted, bound, time, _]) = receive(socket) {
        let count = Count {
            memory: (counted == 1).then_some(bound),
            time: time == 1,
        };
        let Ok(sample) = sampler.look(count) else {
            sys::exit_now(1);
        };
        let processes = u64::try_from(sample.processes).unwrap_or(u64::MAX);
        let exact = if sample.exact { EXACT } else { 0 };
        let behind = if sample.behind { BEHIND } else { 0 };
        let answer = [sample.memory, exact | behind, sample.time, processes];
        if send(socket, answer).is_err() {
            break;
        }
    }
    sys::exit_now(0)
}

/// Joins the user namespace of a cell and keeps few powers over it.
pub(super) fn become_a_helper(namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::User))?;
    keep_few_powers()
}

/// Of the powers over that namespace, what it takes to list others' descriptors and to look at them.
fn keep_few_powers() -> rustix::io::Result<()> {
    let few = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_PTRACE;
    let sets = CapabilitySets {
        effective: few,
        permitted: few,
        inheritable: CapabilitySet::empty(),
    };
    set_no_new_privs(true)?;
    set_capabilities(None, sets)
}

pub(super) fn close_all_but(mut keep: Vec<i32>) -> rustix::io::Result<()> {
    keep.sort_unstable();
    let mut next = 0;
    for fd in keep {
        sys::close_range(next, fd - 1)?;
        next = fd + 1;
    }
    sys::close_range_from(next)
}
