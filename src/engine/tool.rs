//! `lazaret tool`: a program of this machine in a cell without an image. The stages are those of
//! `run`, less the store.

use super::journal::{Journal, Wanted, reported};
use super::run::{launch, refused};
use super::why::Cell;
use super::{ToolRequest, explain, limits, place};
use crate::error::{Error, Kind, Result};
use crate::host::InForce;
use crate::host::tool::{self as machine, Program};
use crate::image::{Digest, ImageConfig, ImageName, Platform};
use crate::plan::{self, Ground, IdMap, Plan};
use crate::policy::{
    self, BindAsk, Grants, HostFacts, ImageFacts, Network, Policy, Request, ToolAsk, Verdict,
    decide, keep_id, wanted_devices, wanted_etc,
};
use crate::report;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Runs a program of this machine in a cell of its own and returns its exit code.
///
/// # Errors
/// A refusal by policy, a program that is not there, may not be executed or is not the one that
/// `--sha256` names, what this machine lacks; nothing is left of the run then.
pub fn tool(request: &ToolRequest) -> Result<u8> {
    let wanted = Wanted {
        report: request.report.as_deref().filter(|_| !request.dry_run),
        receipt: request.receipt.as_deref().filter(|_| !request.dry_run),
    };
    reported("tool", wanted, |journal| go(request, journal))
}

fn go(request: &ToolRequest, journal: &mut Journal) -> Result<u8> {
    // Only real root's ids are written down in the store.
    let store = match rustix::process::geteuid().is_root() {
        true => Some(place::open_store()?),
        false => None,
    };
    let host = place::host(store.as_ref())?;
    journal.host(&host);
    journal.stage("look at the machine");
    let cwd = machine::current_folder()?;
    let program = machine::program(&request.program, &cwd)?;
    let name = ImageName::Tool(program.real.clone());
    journal.stage("find the program");
    let InForce { policy, notes } = crate::host::policy(request.profile.as_deref())?;
    let policy = Rc::new(policy);
    journal.policy(&policy, request.profile.as_deref(), &notes);
    for note in &notes {
        report::note(note);
    }
    journal.stage("read the policy");
    let asked = asked(request, &policy, &host, name, program, cwd)?;
    let devices = wanted_devices(&policy, &asked.image, &asked.devices);
    let (outside, sources) = crate::host::outside(&asked.binds, &devices, &place::store_path()?)?;
    let host = limits::with_cgroup(
        HostFacts { outside, ..host },
        &policy,
        &asked,
        request.dry_run,
    );
    journal.stage("open the sources");
    let facts = no_image(&policy, &asked.image);
    let mut grants = match decide(&policy, &asked, &facts, &host)? {
        Verdict::Allow(grants) => *grants,
        Verdict::Deny(reasons) => return Err(refused(reasons)),
    };
    explain::settle(&mut grants);
    journal.grants(&grants);
    let map = match asked.keep_id {
        true => place::keeping_map_of(&host).unwrap_or_else(|| place::map_of(&host)),
        false => place::map_of(&host),
    };
    journal.stage("decide");
    let plan = plan_of(&grants, map.clone(), &host)?;
    if request.dry_run {
        report::plan(&plan, request.format)?;
        return Ok(0);
    }
    journal.stage("plan");
    let timings = request.timings;
    // There is no record of it.
    let exit = launch(plan, sources, timings, &grants, &host, journal, None)?;
    let cell = || {
        let plan = plan_of(&grants, map, &host)?;
        let (policy, grants) = (Rc::clone(&policy), grants.clone());
        let (asked, host, store) = (asked.clone(), host.clone(), place::store_path()?);
        Ok(Cell::of_run(
            policy, asked, facts, grants, host, plan, None, store,
        ))
    };
    explain::tell(&policy, &asked.image, &grants, &exit, cell, journal)?;
    if request.timings {
        report::timings(journal.stages(), request.format);
    }
    match exit.stream_error {
        Some(error) => Err(error),
        None => Ok(exit.how.exit_code()),
    }
}

fn plan_of(grants: &Grants, id_map: IdMap, host: &HostFacts) -> Result<Plan> {
    let ground = Ground {
        lowers: Vec::new(),
        disk: None,
        id_map,
        landlock_abi: host.landlock_abi,
        resolv_conf: match grants.network.value {
            Network::None => String::new(),
            Network::Host => crate::host::resolv_conf(),
        },
    };
    plan::build(grants, &ground)
}

/// What the policy decides on: the flags, and what the cell stands on.
fn asked(
    request: &ToolRequest,
    policy: &Policy,
    host: &HostFacts,
    image: ImageName,
    program: Program,
    cwd: String,
) -> Result<Request> {
    let bind = |flag, source: &str, target: &str, read_only| BindAsk {
        flag,
        source: source.to_owned(),
        subpath: None,
        target: target.to_owned(),
        read_only,
        no_exec: false,
    };
    let (folders, links) = machine::layout();
    let (mut binds, mut writable) = (Vec::new(), Vec::with_capacity(request.rw.len()));
    for path in &request.rw {
        let real = machine::real_path(path, "--rw")?;
        if writable.contains(&real) {
            let cause = format!("--rw {path:?} is asked for twice");
            return Err(Error::new(Kind::Usage, cause));
        }
        binds.push(bind("--rw", path, &real, false));
        writable.push(real);
    }
    let read = folders.iter().filter(|folder| !writable.contains(folder));
    binds.extend(read.map(|folder| bind(policy::ROOT, folder, folder, true)));
    let within = |path: &str, all: &[String]| {
        all.iter().any(|folder| {
            path.strip_prefix(folder.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    // What is seen already is not mounted again.
    if !within(&cwd, &folders) && !within(&cwd, &writable) {
        binds.push(bind(policy::CWD, &cwd, &cwd, true));
    }
    let seen = |path: &str| {
        within(path, &folders)
            || within(path, &writable)
            || within(path, std::slice::from_ref(&cwd))
            || links
                .iter()
                .any(|(link, _)| within(path, std::slice::from_ref(link)))
    };
    let sha256 = request.sha256;
    let own = (sha256.is_some() || !seen(&program.real)).then_some(binds.len());
    if own.is_some() {
        binds.push(bind(policy::PROGRAM, &program.real, &program.real, true));
    }
    // A checksum is of one file, whatever links lead to it by now; without one a program is called
    // by the name that it goes by.
    let path = match sha256.is_none() && seen(&program.found) {
        true => program.found,
        false => program.real,
    };
    let first = binds.len();
    for name in machine::etc(&wanted_etc(policy, &image)) {
        let path = format!("/etc/{name}");
        binds.push(bind(policy::ROOT, &path, &path, true));
    }
    let terminal = Terminals::look();
    let keep_id = keep_id(policy, &image, host).is_ok();
    Ok(Request {
        command: [&request.program]
            .into_iter()
            .chain(&request.args)
            .cloned()
            .collect(),
        env: request.env.clone(),
        workdir: request.workdir.clone(),
        tool: Some(ToolAsk {
            program: path,
            links,
            etc: first..binds.len(),
            bind: own,
            sha256,
            cwd,
        }),
        binds,
        keep_id,
        network: request.network,
        timeout: request.timeout,
        pids_limit: request.pids_limit,
        resources: request.resources.clone(),
        ulimits: request.ulimits.clone(),
        rm: true,
        explain: request.explain,
        tty: terminal.tty(request.tty)?,
        interactive: request.interactive || terminal.input(),
        ..Request::of(image)
    })
}

/// What this process's standard streams are.
struct Terminals {
    input: bool,
    /// Standard input is neither a terminal nor a way to nothing.
    pipe: bool,
    output: bool,
    error: bool,
}

impl Terminals {
    fn look() -> Self {
        use rustix::fs::{fstat, makedev};
        use rustix::stdio::{stderr, stdin, stdout};
        use rustix::termios::isatty;
        let input = isatty(stdin());
        let null = fstat(stdin()).map_or(true, |stat| stat.st_rdev == makedev(1, 3));
        Self {
            input,
            pipe: !input && !null,
            output: isatty(stdout()),
            error: isatty(stderr()),
        }
    }

    /// A pty where all three are terminals, or where one is asked for.
    fn tty(&self, asked: bool) -> Result<bool> {
        if asked && !self.input {
            return Err(Error::new(Kind::Usage, "standard input is not a terminal")
                .hint("leave -t out for a pipe"));
        }
        Ok(asked || self.input && self.output && self.error)
    }

    /// A pipe or file is read. A terminal is where the output is seen there too: else somebody
    /// else, a pager, reads the keys.
    fn input(&self) -> bool {
        self.pipe || self.input && self.output
    }
}

/// What `decide` knows of an image where there is none: nothing is in it.
pub(super) fn no_image(policy: &Policy, name: &ImageName) -> ImageFacts {
    let nothing = ImageFacts {
        manifest: Digest::from_bytes([0; 32]),
        config: ImageConfig {
            platform: Platform::native(),
            user: String::new(),
            env: Vec::new(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            working_dir: String::new(),
            volumes: Vec::new(),
            exposed_ports: Vec::new(),
            stop_signal: None,
            labels: BTreeMap::new(),
            diff_ids: Vec::new(),
            created: None,
            history: Vec::new(),
        },
        layers: 0,
        size: 0,
        files: 0,
        setuid: Vec::new(),
        file_caps: Vec::new(),
        special: Vec::new(),
        tree: None,
    };
    let wanted = policy.facts_wanted(name, &nothing);
    ImageFacts {
        tree: Some(wanted.nothing_found()),
        ..nothing
    }
}
