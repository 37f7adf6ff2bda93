//! `lazaret run`: the way through, stage by stage (DESIGN.md).

use super::cidfile::CidFile;
use super::journal::{Journal, Wanted, reported};
use super::why::Cell;
use super::{RunRequest, evidence, explain, limits, locked, obtain, place, source};
use crate::container::record::{Containers, Held, New, Owners};
use crate::container::supervise::{Beside, Exit, Signals, supervise};
use crate::error::{Context, Error, Kind, Result};
use crate::host::InForce;
use crate::image::ImageName;
use crate::plan::{self, Ground, IdMap, Lower, Plan};
use crate::policy::{
    Ear, Grants, HostFacts, IdMapKind, ImageFacts, Network, Policy, Reason, Request, SubIds,
    Verdict, decide, keep_id, wanted_devices,
};
use crate::report::{self, Progress};
use crate::sandbox::{self, Finding};
use crate::store::source::SourceImage;
use crate::store::unpack::Limits;
use crate::store::{LayerState, RootFs, Store};
use crate::sys::SingleThread;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Everything that is known once it is decided what a run gets.
pub(super) struct Decision {
    /// The image as rules name it.
    pub(super) name: ImageName,
    /// What was decided on.
    pub(super) facts: ImageFacts,
    pub(super) grants: Grants,
    pub(super) image: SourceImage,
    pub(super) policy: Rc<Policy>,
    pub(super) store: Store,
    pub(super) host: HostFacts,
    pub(super) map: IdMap,
    pub(super) rootfs: RootFs,
    /// The binds' sources and the devices, held open.
    pub(super) sources: Vec<OwnedFd>,
}

/// Who only looks, and so fetches nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks<'a> {
    /// The verb.
    pub(super) who: &'static str,
    /// What listens to which rule was asked what.
    pub(super) ear: Option<&'a Ear>,
}

/// The stages up to the decision: what `run`, `run --dry-run`, `policy explain` and `why` share.
pub(super) fn decision(
    request: &RunRequest,
    journal: &mut Journal,
    looks: Option<Looks<'_>>,
) -> Result<Decision> {
    let asked = &request.request;
    let store = place::open_store()?;
    journal.stage("open the store");
    let host = place::host(Some(&store))?;
    journal.host(&host);
    let own = place::map_of(&host);
    journal.stage("look at the machine");
    let InForce { policy, notes } = crate::host::policy(request.profile.as_deref())?;
    let policy = Rc::new(policy);
    journal.policy(&policy, request.profile.as_deref(), &notes);
    for note in &notes {
        report::note(note);
    }
    journal.stage("read the policy");
    let ear = looks.and_then(|looks| looks.ear);
    let looks = match (looks, request.dry_run) {
        (Some(looks), _) => Some(looks.who),
        (None, true) => Some("a dry run"),
        (None, false) => None,
    };
    let locked = locked::of(request, &policy, journal)?;
    let pinned = locked.as_ref().map(|lock| lock.request(request, &store));
    let pinned = pinned.transpose()?;
    let by = pinned.as_ref().unwrap_or(request);
    let image = obtain::image(by, looks, &policy, &store, &own)?;
    let policy = match ear {
        Some(ear) => Rc::new(Policy::clone(&policy).heard_by(ear)),
        None => policy,
    };
    if journal.is_kept() {
        journal.image(&asked.image.to_string(), &image);
    }
    let as_meant;
    let meant = match &locked {
        Some(lock) => lock.meant(&policy, &store, &image)?,
        None => source::meant(&asked.image, &image)?,
    };
    let request = match meant {
        None => request,
        Some(name) => {
            as_meant = RunRequest {
                request: Request {
                    image: name,
                    ..asked.clone()
                },
                ..request.clone()
            };
            &as_meant
        }
    };
    let asked = &request.request;
    journal.stage("verify manifest and config");
    let judged = evidence::judged(&policy, &asked.image, &image, &store)?;
    if !judged.reasons.is_empty() {
        return Err(refused(judged.reasons));
    }
    if let Some(lock) = &locked {
        lock.signed(&judged.evidence)?;
    }
    // Before the layers, which are kept apart for such a run.
    let map = match asked.keep_id {
        false => own,
        true => {
            let allowed = keep_id(&policy, &asked.image, &host);
            allowed.map_err(|reason| refused(vec![reason]))?;
            place::keeping_map_of(&host).unwrap_or(own)
        }
    };
    journal.stage("admit");
    let rootfs = layers(&store, &image, &map)?;
    journal.stage("layers");
    // Held open from here on: what is decided on is what is mounted.
    let devices = wanted_devices(&policy, &asked.image, &asked.devices);
    let (outside, sources) = crate::host::outside(&asked.binds, &devices, store.path())?;
    let host = limits::with_cgroup(
        HostFacts { outside, ..host },
        &policy,
        asked,
        looks.is_some(),
    );
    let facts = facts_of(&policy, asked, &image, &rootfs)?;
    let mut grants = match decide(&policy, asked, &facts, &host)? {
        Verdict::Allow(grants) => *grants,
        Verdict::Deny(reasons) => return Err(refused(reasons)),
    };
    explain::settle(&mut grants);
    journal.grants(&grants);
    journal.stage("decide");
    Ok(Decision {
        name: asked.image.clone(),
        facts,
        grants,
        image,
        policy,
        store,
        host,
        map,
        rootfs,
        sources,
    })
}

/// Runs a command in a new cell and returns its exit code as docker would.
///
/// # Errors
/// A refusal by policy, bytes that are not what was named, what this machine lacks, or a command
/// that could not be executed; nothing is left of the run then.
pub fn run(request: &RunRequest) -> Result<u8> {
    // What is not done is not reported.
    let wanted = Wanted {
        report: request.report.as_deref().filter(|_| !request.dry_run),
        receipt: request.receipt.as_deref().filter(|_| !request.dry_run),
    };
    reported("run", wanted, |journal| go(request, journal))
}

fn go(request: &RunRequest, journal: &mut Journal) -> Result<u8> {
    let asked = &request.request;
    let Decision {
        name,
        facts,
        grants,
        image,
        policy,
        store,
        host,
        map,
        rootfs,
        sources,
    } = decision(request, journal, None)?;
    if request.dry_run {
        let plan = plan_of(&grants, &rootfs.lowers, map, &host, None)?;
        report::plan(&plan, request.format)?;
        if let Some(lock) = journal.lock() {
            report::note(&lock.told());
        }
        return Ok(0);
    }
    check_terminal(request)?;
    let containers = Containers::new(store.containers()?);
    let new = New {
        name: request.name.clone(),
        image: asked.image.to_string(),
        image_id: image.manifest.config.digest,
        manifest: image.manifest.digest,
        argv: grants.argv.value.clone(),
        ephemeral: grants.ephemeral.value,
        owners: owners(&map),
        labels: labels(&image.config.labels, &request.labels),
    };
    let cidfile = request.cidfile.as_deref().map(CidFile::make).transpose()?;
    // A name may be taken, and what is to be kept needs its folder: nothing is launched before.
    let first = new.name.is_some() || !new.ephemeral;
    let mut written = Written::new(&containers, new, cidfile);
    if first {
        written.begin()?;
        journal.stage("write down the container");
    }
    let done = start(
        request,
        &grants,
        &rootfs,
        map.clone(),
        &host,
        sources,
        &store,
        journal,
        &mut written,
    );
    if let Some((id, name)) = &written.made {
        journal.container(id, name);
    }
    let code = match &done {
        Ok(exit) => exit.how.exit_code(),
        Err(e) => e.exit_code(),
    };
    let ended = match done.is_err() && !written.executed {
        // There is nothing that anybody could look at.
        true => written.forget(),
        false => written.end(code),
    };
    journal.stage("write down the end");
    // Why nothing ran, or the exit code of what ran, is what the caller waits for.
    if let Err(error) = ended {
        report::stderr(&format!(
            "lazaret: the container's end could not be written down: {error}\n"
        ));
    }
    let exit = done?;
    let cell = || {
        let asked = Request {
            image: name.clone(),
            ..asked.clone()
        };
        let plan = plan_of(&grants, &rootfs.lowers, map, &host, None)?;
        let (grants, host, store) = (grants.clone(), host.clone(), store.path().to_owned());
        let policy = Rc::clone(&policy);
        Ok(Cell::of_run(
            policy,
            asked,
            facts,
            grants,
            host,
            plan,
            Some(rootfs),
            store,
        ))
    };
    explain::tell(&policy, &name, &grants, &exit, cell, journal)?;
    if request.timings {
        report::timings(journal.stages(), request.format);
    }
    if let Some(error) = exit.stream_error {
        return Err(error);
    }
    Ok(code)
}

/// The stages plan, prepare, spawn and supervise.
#[expect(
    clippy::too_many_arguments,
    reason = "what the stages before have made, each once"
)]
fn start(
    request: &RunRequest,
    grants: &Grants,
    rootfs: &RootFs,
    map: IdMap,
    host: &HostFacts,
    sources: Vec<OwnedFd>,
    store: &Store,
    journal: &mut Journal,
    written: &mut Written<'_>,
) -> Result<Exit> {
    let disk = match &written.held {
        Some(held) if !grants.ephemeral.value => {
            Some(writable_folder(store, written.containers, held, &map)?)
        }
        _ => None,
    };
    if disk.is_some() && journal.is_kept() {
        journal.shown(plan_of(grants, &rootfs.lowers, map.clone(), host, None)?);
    }
    let plan = plan_of(grants, &rootfs.lowers, map, host, disk)?;
    journal.stage("plan");
    let (timings, written) = (request.timings, Some(written));
    let exit = launch(plan, sources, timings, grants, host, journal, written)?;
    record_again(store, rootfs, &exit);
    Ok(exit)
}

/// The stages prepare, spawn and supervise of a plan, and what is said of it. `timings`: each step's
/// time is added; `written`: what is written down of it, if anything.
pub(super) fn launch(
    plan: Plan,
    sources: Vec<OwnedFd>,
    timings: bool,
    grants: &Grants,
    host: &HostFacts,
    journal: &mut Journal,
    mut written: Option<&mut Written<'_>>,
) -> Result<Exit> {
    let one = SingleThread::check()?;
    let signals = Signals::take()?;
    let cgroup = limits::make(&plan)?;
    let mut launch = sandbox::prepare(plan, sources, timings)?;
    limits::enter(&mut launch, cgroup.as_ref())?;
    journal.stage("prepare");
    let mut running = sandbox::spawn(launch, one).map_err(|e| why_no_cell(e, host))?;
    journal.stage("spawn");
    // Beside the mounts, and before the command can say anything: it waits for the release.
    if let Some(written) = &mut written {
        written.begin()?;
    }
    for downgrade in &grants.downgrades {
        report::warning(downgrade);
    }
    for note in &grants.notes {
        report::note(note);
    }
    running.release()?;
    let mut idle = Idle {
        digested: None,
        journal,
        written: written.as_deref_mut(),
    };
    let exit = supervise(&mut running, &signals, cgroup.as_ref(), &mut idle);
    let digested = idle.digested;
    if let Some(written) = written {
        written.executed = running.executed;
    }
    // Of what never went, too.
    let digested = digested.unwrap_or_else(|| journal.digest(running.plan()));
    let exit = exit?;
    digested?;
    journal.stage("run");
    journal.exit(&exit);
    if timings {
        for (step, nanoseconds) in &exit.took {
            if let Some(planned) = running.plan().steps().get(*step) {
                journal.part(planned.step.name(), Duration::from_nanos(*nanoseconds));
            }
        }
    }
    limits::tell(running.plan(), &exit);
    limits::leave(cgroup);
    Ok(exit)
}

/// What is done of a run while its supervisor waits: a launch has two processes busy already, and a
/// command's start and end have one.
struct Idle<'a, 'b> {
    journal: &'a mut Journal,
    written: Option<&'a mut Written<'b>>,
    digested: Option<Result<()>>,
}

impl Beside for Idle<'_, '_> {
    fn going(&mut self, plan: &Plan) {
        self.digested = Some(self.journal.digest(plan));
    }

    fn ended(&mut self) {
        if let Some(written) = &mut self.written {
            written.end_early();
        }
    }
}

/// What is written down of a run, each word once.
pub(super) struct Written<'a> {
    containers: &'a Containers,
    /// What is still to be written down.
    new: Option<New>,
    /// What is, and its end is not.
    held: Option<Held>,
    /// How writing down the end early went.
    early: Result<()>,
    /// Whether the command ran, also where the run failed.
    executed: bool,
    /// Id and name of what was written down.
    made: Option<(String, String)>,
    cidfile: Option<CidFile>,
}

impl<'a> Written<'a> {
    fn new(containers: &'a Containers, new: New, cidfile: Option<CidFile>) -> Self {
        Self {
            containers,
            new: Some(new),
            held: None,
            early: Ok(()),
            executed: false,
            made: None,
            cidfile,
        }
    }

    fn begin(&mut self) -> Result<()> {
        if let Some(new) = self.new.take() {
            let held = self.containers.create(new)?;
            if let Some(cidfile) = &mut self.cidfile {
                cidfile.write(&held.record().id)?;
            }
            self.made = Some((held.record().id.clone(), held.record().name.clone()));
            self.held = Some(held);
        }
        Ok(())
    }

    /// Beside the end of the cell, if there will be nothing to look at: what is kept has ended only
    /// once nothing inside can write to it any more.
    fn end_early(&mut self) {
        if let Some(held) = self.held.take_if(|held| held.record().ephemeral) {
            self.early = held.end(self.containers, 0);
        }
    }

    fn end(self, code: u8) -> Result<()> {
        if let Some(cidfile) = self.cidfile {
            cidfile.keep();
        }
        match self.held {
            Some(held) => held.end(self.containers, code),
            None => self.early,
        }
    }

    fn forget(self) -> Result<()> {
        match self.held {
            Some(held) => place::forget_container(self.containers, held.record()).map(drop),
            None => self.early,
        }
    }
}

/// Layers whose contents were found right and whose stat records were not: a restored backup. What
/// cannot be recorded is checked by hash again the next time, which is slow and not wrong.
fn record_again(store: &Store, rootfs: &RootFs, exit: &Exit) {
    for finding in &exit.findings {
        if let Finding::Touched { layer, stat } = finding
            && let Some(lower) = rootfs.lowers.get(*layer)
            && let Err(error) = store.record_again(&lower.stat, stat)
        {
            report::stderr(&format!(
                "lazaret: a layer's record could not be renewed: {error}\n"
            ));
        }
    }
}

pub(super) fn refused(reasons: Vec<Reason>) -> Error {
    Error {
        reasons,
        ..Error::new(Kind::Policy, "refused by policy")
    }
}

fn layers(store: &Store, image: &SourceImage, map: &IdMap) -> Result<RootFs> {
    let mut progress = Progress::new(false);
    let mut fresh = false;
    let rootfs = store.ensure_layers(image, map, &Limits::default(), false, &mut |event| {
        let state = match event.state {
            LayerState::Cached => return,
            LayerState::Waiting => "Waiting for another process",
            LayerState::Unpacking => "Unpacking",
            LayerState::Done => "Unpacked",
        };
        fresh = true;
        progress.state(&event.digest.short(), state);
    })?;
    drop(progress);
    let known = |r: crate::store::Ref| r.manifest == image.manifest.digest;
    if fresh || !store.get_ref(&image.canonical_name)?.is_some_and(known) {
        store.put_ref(&image.canonical_name, image)?;
    }
    Ok(rootfs)
}

/// What a decision on `request` needs to know of the unpacked image.
fn facts_of(
    policy: &Policy,
    request: &Request,
    image: &SourceImage,
    rootfs: &RootFs,
) -> Result<ImageFacts> {
    let mut facts = ImageFacts {
        manifest: image.manifest.digest,
        config: (*image.config).clone(),
        layers: rootfs.facts.layers,
        size: rootfs.facts.size,
        files: rootfs.facts.files,
        setuid: rootfs.facts.setuid.clone(),
        file_caps: rootfs.facts.file_caps.clone(),
        special: rootfs.facts.special.clone(),
        tree: None,
    };
    let wanted = policy.facts_wanted(&request.image, &facts);
    if !wanted.is_empty() {
        let lists = rootfs.lists()?;
        let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
        facts.tree = Some(plan::tree_facts(&lists, &wanted)?);
    }
    Ok(facts)
}

/// The plan of what was granted.
pub(super) fn plan_of(
    grants: &Grants,
    lowers: &[Lower],
    id_map: IdMap,
    host: &HostFacts,
    disk: Option<PathBuf>,
) -> Result<Plan> {
    let matches = matches!(
        (&id_map, grants.id_map.value),
        (IdMap::Single { .. }, IdMapKind::Single)
            | (IdMap::Range { .. }, IdMapKind::Range)
            | (IdMap::Keep { .. }, IdMapKind::Keep)
    );
    if !matches {
        return Err(Error::new(
            Kind::Host,
            "the policy grants an id map that this machine does not offer",
        )
        .hint("`lazaret doctor` says what is missing"));
    }
    let ground = Ground {
        lowers: lowers.to_vec(),
        disk,
        id_map,
        landlock_abi: host.landlock_abi,
        resolv_conf: match grants.network.value {
            Network::None => String::new(),
            Network::Host => crate::host::resolv_conf(),
        },
    };
    plan::build(grants, &ground)
}

/// docker refuses a pty for an input that is none.
pub(super) fn check_terminal(request: &RunRequest) -> Result<()> {
    let asked = &request.request;
    if asked.tty && asked.interactive && !rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(Error::new(Kind::Usage, "standard input is not a terminal")
            .hint("use -i without -t for a pipe"));
    }
    Ok(())
}

/// The image's labels and, over them, those of the command line.
fn labels(
    of_image: &BTreeMap<String, String>,
    asked: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = of_image.clone();
    labels.extend(asked.clone());
    labels
}

fn owners(map: &IdMap) -> Owners {
    let ids = |r: &plan::IdRange| SubIds {
        base: r.outside,
        count: r.count,
    };
    match map {
        IdMap::Single { .. } => Owners::Caller,
        IdMap::Range { uid, gid, .. } => Owners::Range {
            uid: ids(uid),
            gid: ids(gid),
        },
        IdMap::Keep { uid, gid, kept, .. } => Owners::Keep {
            uid: ids(uid),
            gid: ids(gid),
            kept: *kept,
        },
    }
}

/// The folder for a container's writes. Container root may be another id than ours and must make
/// folders in it; its parent is private.
fn writable_folder(
    store: &Store,
    containers: &Containers,
    record: &Held,
    map: &IdMap,
) -> Result<PathBuf> {
    let path = store.path().join("containers").join(&record.record().id);
    if !map.is_single() {
        let found = containers.folder(record.record())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&found, ".", flags, Mode::empty())
            .or_call(|| format!("open {path:?}"))?;
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o777))
            .or_call(|| format!("chmod {path:?}"))?;
    }
    Ok(path)
}

/// A failed clone in this machine's own terms.
fn why_no_cell(error: Error, host: &HostFacts) -> Error {
    match (error.kind, crate::host::why_no_cell(host)) {
        (Kind::Host, Some(problem)) => error.hint(problem.fix),
        _ => error,
    }
}
