//! Policy: what may come in, what must hold, what a cell has, what may be asked for, what may not.
//!
//! Pure: no I/O. [`admit`] decides on a reference, manifest and config before any layer is fetched,
//! [`decide`] on the whole request after unpacking. [`Grants`] come only out of
//! [`Verdict::Allow`]; every value in them knows where it comes from.

mod admit;
mod caps;
mod command;
mod compose;
mod cure;
mod decide;
mod denial;
mod devices;
mod diff;
mod digest;
mod explain;
mod facts;
mod grants;
pub mod import;
mod learnt;
mod levels;
mod limit;
mod lint;
mod lock;
mod mounts;
mod parse;
pub mod pattern;
pub mod property;
mod request;
mod require;
mod shipped;
mod signed;
mod stop;
mod subject;
mod table;
#[cfg(test)]
mod tests;
mod tool;
mod tree;
mod trust;
mod ulimits;
mod userns;
mod view;
mod words;

pub use self::caps::{NAMES as CAPABILITIES, call_needs, calls_of};
pub use admit::{Admit, admit};
pub use command::is_root;
pub use compose::{Composed, Policy, Sources, Wanted, WantedFile};
pub use decide::{decide, wants_cgroup};
pub use denial::{Denial, Denials, Refused};
pub use devices::wanted_devices;
pub use diff::{Change, diff};
pub use digest::LevelName;
pub use explain::{Answered, Ear, Heard, Said, TRUST};
pub use learnt::{BROADER, Learnt, profile_name};
pub use levels::problems;
pub use lint::Idle;
pub use lock::{Drift, Lock, Locked, LockedSigner, MAX_LOCK};
pub use parse::{MAX_FILE, PolicyFile, Problem};
pub use pattern::matches;

pub use facts::{
    Cgroup, DeviceFacts, FileKind, HostFacts, ImageFacts, Outside, SCOPE, SourceFacts, SubIds,
};
pub use grants::{
    BindMount, DeviceMount, Downgrade, Explain, Granted, Grants, IdMapKind, Network, Origin,
    Reason, Resources, TmpfsMount, ToolRoot, Verdict, VerifyMode,
};
pub use request::{BindAsk, CapsAsk, DeviceAsk, Request, ResourcesAsk, TmpfsAsk, ToolAsk};
pub use require::time;
pub use shipped::profile_text;
pub use signed::WantedSigners;
pub use stop::signal;
pub use table::{Case, Outcome, Table};
pub use tool::{CWD, PROGRAM, ROOT, TOOL_HOME, trusted, wanted_etc};
pub use tree::{FactsWanted, Found, FoundPath, TreeFacts};
pub use trust::{Seen, of_a_copy};
pub use ulimits::{Ulimit, Which};
pub use userns::keep_id;
pub use view::{LevelView, RuleView};
pub use words::{parse_cpus, shown};
