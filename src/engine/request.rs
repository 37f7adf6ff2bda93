//! What each verb is asked for: made by `cli`, complete and consistent by construction.

use crate::image::{Digest, ImageName, Platform, Reference};
use crate::plan::seccomp::words::Call;
use crate::policy;
use crate::report::{Format, Layout, Template};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// `run`.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// What the policy decides on.
    pub request: policy::Request,
    /// `--profile`: what the user's level of the policy extends instead.
    pub profile: Option<String>,
    /// `--locked`: nothing but what this lock says.
    pub locked: Option<LockPlace>,
    /// `--pull`; [`PullWhen::Always`] only of a registry's image.
    pub pull: PullWhen,
    /// `--quiet`: a fetch prints nothing.
    pub quiet: bool,
    /// `--platform`; `None`: this machine's.
    pub platform: Option<Platform>,
    /// `--name`; docker's grammar is checked.
    pub name: Option<String>,
    /// `--label`: written down of the container.
    pub labels: BTreeMap<String, String>,
    /// `--cidfile`: where the container's id is written.
    pub cidfile: Option<PathBuf>,
    /// `--dry-run`: print the plan and stop.
    pub dry_run: bool,
    /// `--timings`: print how long each stage took.
    pub timings: bool,
    /// `--report`: where the run is reported; `-` is standard output.
    pub report: Option<PathBuf>,
    /// `--receipt`: where the same goes, signed; `-` is standard output.
    pub receipt: Option<PathBuf>,
    /// How the plan, the timings and errors are printed.
    pub format: Format,
}

/// `tool`.
#[derive(Debug, Clone)]
pub struct ToolRequest {
    /// The program: a word that is looked up in PATH, or a path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// `--rw`: folders and files that it may write, as written.
    pub rw: Vec<String>,
    /// `--sha256`: what the program's file must be.
    pub sha256: Option<Digest>,
    /// `-e` and `--env-file`.
    pub env: Vec<(String, String)>,
    /// `-w`; `None`: where the caller stands.
    pub workdir: Option<String>,
    /// `--network`.
    pub network: Option<policy::Network>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--pids-limit`; `u64::MAX`: none.
    pub pids_limit: Option<u64>,
    /// `--memory` and its kin.
    pub resources: policy::ResourcesAsk,
    /// `--ulimit`, each name once.
    pub ulimits: Vec<policy::Ulimit>,
    /// `--profile`.
    pub profile: Option<String>,
    /// `-t`: a pty even where the output is no terminal.
    pub tty: bool,
    /// `-i`: standard input, whatever it is.
    pub interactive: bool,
    /// `--dry-run`: print the plan and stop.
    pub dry_run: bool,
    /// `--timings`: print how long each stage took.
    pub timings: bool,
    /// `--explain`; `None`: the policy's word, else whether somebody reads it.
    pub explain: Option<policy::Explain>,
    /// `--report`: where the run is reported; `-` is standard output.
    pub report: Option<PathBuf>,
    /// `--receipt`: where the same goes, signed; `-` is standard output.
    pub receipt: Option<PathBuf>,
    /// How the plan, the timings and errors are printed.
    pub format: Format,
}

/// `why`.
#[derive(Debug, Clone)]
pub struct WhyRequest {
    /// The question as it was written.
    pub text: String,
    /// What it means.
    pub question: WhyQuestion,
    /// The run that is asked about; its image counts where [`WhyRequest::named`].
    pub run: RunRequest,
    /// `--in`: an image was named. Else it is one that no rule names.
    pub named: bool,
}

/// What `why` asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyQuestion {
    /// A system call.
    Call(Call),
    /// A capability, by its name in capabilities(7), without `CAP_`.
    Capability(String),
    /// A path inside; absolute, without `.`, `..` and double slashes. `write`: is it to be written.
    Path { path: String, write: bool },
    /// A path of this machine, as written: from the home or the current folder.
    HostPath { path: String, write: bool },
    /// A host and port, over TCP or UDP; `loopback`: the host is this very machine.
    Network { host: String, loopback: bool },
    /// A Unix socket by its path.
    Socket(String),
    /// A Unix socket by its abstract name.
    Abstract(String),
}

/// `learn`.
#[derive(Debug, Clone)]
pub struct LearnRequest {
    /// What is run.
    pub run: RunRequest,
    /// `-o`: the profile to write, `NAME.toml`; its system calls go beside it. `None`: that which is
    /// learnt on, else `learnt.toml`.
    pub output: Option<PathBuf>,
    /// `--merge`: what was learnt before.
    pub merge: Option<PathBuf>,
}

/// `explain-report`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainReportRequest {
    /// What `--report` wrote; `-` is standard input.
    pub file: PathBuf,
}

/// `load`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadRequest {
    /// Where the image comes from.
    pub source: LoadSource,
    /// Only `Loaded image:` lines.
    pub quiet: bool,
}

/// Where `load` reads.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadSource {
    /// An archive on standard input.
    Stdin,
    /// An archive: an OCI layout or a docker archive, sniffed.
    File(PathBuf),
    /// An image named by a transport, and the name to keep it by.
    Named {
        image: Box<ImageName>,
        name: Option<Reference>,
    },
}

/// `images`.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagesRequest {
    /// Only images of this `REPOSITORY[:TAG]`, as written.
    pub name: Option<String>,
    /// All of these hold.
    pub filters: Vec<ImageFilter>,
    /// Full ids.
    pub no_trunc: bool,
    /// Only ids.
    pub quiet: bool,
    /// A column of manifest digests.
    pub digests: bool,
    /// Each image with its layers, and with whom it shares them.
    pub tree: bool,
    /// How they are printed.
    pub layout: Layout,
}

/// `images --filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFilter {
    /// Without any name, or with one.
    Dangling(bool),
    /// A pattern of names, with `*` and `?`.
    Reference(String),
    /// A label of the image's config, with this value if one is given.
    Label(String, Option<String>),
    /// Created before this image.
    Before(String),
    /// Created after this image.
    Since(String),
}

/// `rmi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RmiRequest {
    /// Names or ids, at least one.
    pub images: Vec<String>,
    /// Also where several names or a stopped container stand in the way.
    pub force: bool,
}

/// `inspect`.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectRequest {
    /// Names or ids, at least one.
    pub names: Vec<String>,
    /// What they may name.
    pub kind: InspectKind,
    /// `--format`; `None`: one JSON array.
    pub format: Option<Template>,
}

/// What `inspect` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InspectKind {
    /// A container, else an image.
    Any,
    /// Containers only.
    Container,
    /// Images only.
    Image,
}

/// `verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Names or ids; empty: every image of the store.
    pub images: Vec<String>,
    /// How differences are printed.
    pub format: Format,
}

/// `ps`.
#[derive(Debug, Clone, PartialEq)]
pub struct PsRequest {
    /// Also those that do not run.
    pub all: bool,
    /// Only this many, newest first, whatever their state.
    pub last: Option<usize>,
    /// All of these hold.
    pub filters: Vec<ContainerFilter>,
    /// Full ids and commands.
    pub no_trunc: bool,
    /// Only ids.
    pub quiet: bool,
    /// How they are printed.
    pub layout: Layout,
}

/// `ps --filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerFilter {
    /// The id starts with this.
    Id(String),
    /// The name contains this.
    Name(String),
    /// `created`, `running`, `exited` or `dead`.
    Status(String),
    /// Made from this image: a name or an id.
    Ancestor(String),
    /// Ended with this code.
    Exited(u8),
    /// A label, with this value if one is given.
    Label(String, Option<String>),
}

/// `rm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RmRequest {
    /// Names or ids, at least one.
    pub containers: Vec<String>,
    /// End those that run, and do not complain of those that are gone.
    pub force: bool,
}

/// `container prune`, `image prune` and `system prune`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneRequest {
    /// What is swept.
    pub what: Prune,
    /// `-a`: also images that have names and no container.
    pub all: bool,
    /// `-f`: do not ask.
    pub force: bool,
    /// All of these hold.
    pub filters: Vec<PruneFilter>,
}

/// What `prune` sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Containers that do not run.
    Containers,
    /// Images.
    Images,
    /// Both.
    All,
}

/// `prune --filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PruneFilter {
    /// Made before this time, in seconds since 1970; the second field is how it was written.
    Until(i64, String),
    /// With this label, and this value if one is given.
    Label(String, Option<String>),
    /// Without it.
    NotLabel(String, Option<String>),
}

/// `system df`.
#[derive(Debug, Clone, PartialEq)]
pub struct DfRequest {
    /// `-v`: docker's tables of each thing, in place of the totals.
    pub verbose: bool,
    /// How it is printed.
    pub layout: Layout,
}

/// `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorRequest {
    /// `--registry`: speak to this one and tell what holds; else nobody is spoken to.
    pub registry: Option<String>,
    /// How it is printed.
    pub format: Format,
}

/// `version`.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRequest {
    /// `--format`; `None`: text.
    pub format: Option<Template>,
}

/// `policy show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyShowRequest {
    /// Only this level, or the text of this built-in profile.
    pub level: Option<String>,
    /// `--profile`, as for `run`.
    pub profile: Option<String>,
    /// How it is printed.
    pub format: Format,
}

/// `policy check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCheckRequest {
    /// Empty: what is in force.
    pub files: Vec<PathBuf>,
    /// How it is printed.
    pub format: Format,
}

/// `policy test`.
#[derive(Debug, Clone)]
pub struct PolicyTestRequest {
    /// What the table is called.
    pub file: String,
    /// Its cases, with what their words mean as a run, or why they mean nothing.
    pub cases: Vec<(
        crate::policy::Case,
        crate::error::Result<crate::policy::Request>,
    )>,
    /// A file to test as the user's own; else what is in force.
    pub policy: Option<PathBuf>,
    /// `--profile`, as for `run`.
    pub profile: Option<String>,
    /// How it is printed.
    pub format: Format,
}

/// `policy diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDiffRequest {
    /// A file, a profile's name, or `-` for what is in force.
    pub before: String,
    /// The same.
    pub after: String,
    /// How it is printed.
    pub format: Format,
}

/// `policy import`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyImportRequest {
    /// The policy.json; `None`: where containers-policy.json(5) says.
    pub policy: Option<PathBuf>,
    /// The registries.d; `None`: where containers-registries.d(5) says.
    pub registries: Option<PathBuf>,
    /// The file to write, which must not be there; `None`: standard output.
    pub out: Option<PathBuf>,
}

/// `policy init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyInitRequest {
    /// Also where there is one already.
    pub force: bool,
}

/// `policy trust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTrustRequest {
    /// A project's policy; `None`: the nearest one at or above the current folder.
    pub file: Option<PathBuf>,
    /// Print those that are trusted.
    pub list: bool,
    /// Trust it no longer.
    pub forget: bool,
}

/// `pull`, and what `run` does with an image that the store lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// What to fetch.
    pub reference: Reference,
    /// `--platform`; `None`: this machine's.
    pub platform: Option<Platform>,
    /// `--accept`: what the tag means now is what it means from here on.
    pub accept: bool,
    /// `--locked`: what this lock says, and nothing else.
    pub locked: Option<LockPlace>,
    /// No progress, and the name alone at the end.
    pub quiet: bool,
    /// `--insecure-registry`: registries that may be spoken to without TLS.
    pub insecure: Vec<String>,
}

/// Where a lock is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockPlace {
    /// Beside the project's `lazaret.toml`, else in the current folder.
    Project,
    /// `--lock-file`.
    At(PathBuf),
}

/// `lock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRequest {
    /// What is done.
    pub what: LockWhat,
    /// The lock.
    pub place: LockPlace,
    /// `--profile`, as for `run`.
    pub profile: Option<String>,
}

/// What `lock` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockWhat {
    /// Hold every entry against the store and the policy.
    Check,
    /// Write down what these mean.
    Write {
        /// At least one.
        images: Vec<Reference>,
        /// `--update`: also what is locked already.
        update: bool,
        /// `--platform`; `None`: this machine's, and with `update` those that are locked.
        platform: Option<crate::image::Platform>,
        /// `--pull`.
        pull: PullWhen,
        /// `--quiet`: a fetch prints nothing.
        quiet: bool,
        /// `--insecure-registry`, as for `pull`.
        insecure: Vec<String>,
    },
}

/// `run --pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullWhen {
    /// Where the store has no such image.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
}

/// `login`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// The registry, as references name it: `docker.io`, `registry.example:5000`.
    pub registry: String,
    /// `-u`.
    pub user: Option<String>,
    /// `--password-stdin`: all of standard input; the user is named.
    pub password_stdin: bool,
    /// `--insecure-registry`, as for `pull`.
    pub insecure: Vec<String>,
}

/// `logout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutRequest {
    /// As for `login`.
    pub registry: String,
}

/// `push`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRequest {
    /// A name with a tag and without a digest.
    pub reference: Reference,
    /// No progress, and the name alone at the end.
    pub quiet: bool,
    /// What the store keeps of its signatures goes along.
    pub signatures: bool,
    /// `--insecure-registry`, as for `pull`.
    pub insecure: Vec<String>,
}

/// `save`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveRequest {
    /// Names or ids.
    pub images: Vec<String>,
    /// Where to; `None` or `-`: standard output.
    pub output: Option<PathBuf>,
    /// As what.
    pub format: SaveFormat,
    /// What the store keeps of their signatures goes along.
    pub signatures: bool,
}

/// As what images are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveFormat {
    /// A tar of an OCI layout, which docker reads too.
    OciArchive,
    /// A folder with an OCI layout.
    OciDir,
}

/// `tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRequest {
    /// A name or an id.
    pub source: String,
    /// A name with a tag and without a digest.
    pub target: Reference,
}

/// `search`.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// Whose catalogue; `None`: docker.io's index.
    pub registry: Option<String>,
    /// What names must fit.
    pub term: String,
    /// The most that is shown.
    pub limit: usize,
    /// Whole descriptions.
    pub no_trunc: bool,
    /// How they are printed.
    pub layout: Layout,
    /// `--insecure-registry`, as for `pull`.
    pub insecure: Vec<String>,
}

/// `receipt verify`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptVerifyRequest {
    /// The receipt; `-` is standard input.
    pub file: PathBuf,
    /// `--key`: whose receipts are accepted; empty: one's own.
    pub keys: Vec<PathBuf>,
    /// `--image`: what it must be about.
    pub image: Option<WantedImage>,
    /// How it is printed.
    pub format: Format,
}

/// `receipt verify --image`.
#[derive(Debug, Clone, PartialEq)]
pub enum WantedImage {
    /// The digest of its manifest.
    Digest(Digest),
    /// The name that it was asked for by, or that policy calls it by.
    Name(Box<ImageName>),
}

/// `image inspect --remote`.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteRequest {
    /// At least one.
    pub names: Vec<Reference>,
    /// `--platform`; `None`: this machine's.
    pub platform: Option<Platform>,
    /// `--format`; `None`: one JSON array.
    pub format: Option<Template>,
    /// `--insecure-registry`, as for `pull`.
    pub insecure: Vec<String>,
}

/// `trust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRequest {
    /// A name or an id.
    pub image: String,
    /// Ask the registry first.
    pub fetch: bool,
    /// How it is printed.
    pub format: Format,
    /// `--insecure-registry`, as for `pull`.
    pub insecure: Vec<String>,
}
