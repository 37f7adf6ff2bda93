//! Kernel code that has let people out before, and the entries that go around a filter.

use super::attempt::Tester;
use super::finding::Findings;
use crate::error::Result;
use crate::sys::probe_calls::KERNEL_CALLS;

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("system calls");
    for call in KERNEL_CALLS {
        t.refused(f, call.name, &[], || call.attempt())?;
    }
    #[cfg(target_arch = "x86_64")]
    {
        use crate::sys::probe_calls::{i386_getpid, x32_getpid};
        let outcome = t.in_child(|| Ok(i386_getpid()))?;
        other_entry(f, "i386 entry (int 0x80)", outcome);
        let outcome = t.in_child(x32_getpid)?;
        other_entry(f, "x32 numbers", outcome);
    }
    Ok(())
}

/// The process that tries must die; where the kernel has no such entry, it gets a signal or ENOSYS.
#[cfg(target_arch = "x86_64")]
fn other_entry(f: &mut Findings, check: &str, outcome: super::attempt::Outcome) {
    use super::attempt::Outcome;
    use super::finding::Verdict;
    let (verdict, detail) = match outcome {
        Outcome::Killed(libc::SIGSYS) => (Verdict::Contained, "killed".to_owned()),
        Outcome::Killed(libc::SIGSEGV) | Outcome::Refused(libc::ENOSYS) => (
            Verdict::Contained,
            "this kernel has no such entry".to_owned(),
        ),
        other => (Verdict::Open, other.describe()),
    };
    f.add(check, verdict, detail);
}
