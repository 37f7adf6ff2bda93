//! Other processes: seeing, signalling, reading and steering them.

use super::attempt::Tester;
use super::finding::{Findings, errno_name};
use crate::error::{Context, Result};
use crate::sys::probe_calls::{PROCESS_CALLS, init_memory, may_signal, session};
use rustix::io::Errno;

/// Pids are tried up to here.
const LAST_PID: i32 = 65_536;

/// Everything of this group.
pub fn look(t: Tester, f: &mut Findings) -> Result<()> {
    f.group("processes");
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let mut seen = Vec::new();
    for entry in std::fs::read_dir("/proc")
        .or_call(|| "list \"/proc\"")?
        .flatten()
    {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<i32>().ok());
        if let Some(pid) = pid.filter(|pid| *pid != 1 && *pid != me) {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            seen.push(format!("{pid} ({})", comm.trim_end()));
        }
    }
    f.none_of("processes in sight", "pid 1 and this one", &seen);
    let reached: Vec<String> = (2..LAST_PID)
        .filter(|pid| *pid != me && !matches!(may_signal(*pid), Err(Errno::SRCH)))
        .map(|pid| pid.to_string())
        .collect();
    f.none_of(
        "signals to any pid",
        format!("2 to {LAST_PID} tried"),
        &reached,
    );
    // kill(2): -1 is everybody but pid 1 and, on Linux, oneself.
    let everybody = may_signal(-1);
    f.holds(
        "signals to everybody (kill -1)",
        everybody.is_err(),
        match everybody {
            Ok(_) => "somebody would get it".to_owned(),
            Err(e) => errno_name(e.raw_os_error()),
        },
    );
    // getsid answers 0 for a leader in a pid namespace that cannot be seen from here.
    let session = session().unwrap_or(-1);
    f.holds(
        "a session of its own",
        session > 0,
        format!("session {session}"),
    );
    for call in PROCESS_CALLS {
        t.refused(f, call.name, &[], || call.attempt())?;
    }
    t.refused(f, "reading pid 1's memory", &[], || init_memory(false))?;
    t.refused(f, "writing pid 1's memory", &[], || init_memory(true))?;
    Ok(())
}
