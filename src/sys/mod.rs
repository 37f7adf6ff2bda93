//! The only room with `unsafe`: system calls that nix and rustix lack, and the few places where
//! memory of our own process must be touched.
//!
//! Every function is a safe wrapper whose safety argument stands beside its `unsafe` block.

mod args;
mod call;
mod clock;
mod notify;
mod probe;
pub mod probe_calls;
mod process;
mod trace;

pub use args::scrub_arguments_and_environment;
pub use call::{
    Filter, MountAttr, begin_writeback, close_range, close_range_cloexec, close_range_from,
    default_signal, install_filter, is_ignored, join_new_session_keyring, loopback_up,
    mount_setattr, new_cgroup_namespace, new_network_namespace, open_pty_peer, page_size,
    plain_personality, signal_pidfd,
};
pub use clock::clock_is_synchronised;
pub use notify::{Listener, Notification, install_told_filter};
pub use probe::landlock_abi;
pub use process::{
    Cloned, ExecArgs, Namespaces, SingleThread, Usage, clone3, execve, exit_now, fork,
    wait_with_usage,
};
pub use trace::{Stop, Tracer};
