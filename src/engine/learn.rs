//! `lazaret learn`: runs a command in a cell that goes with it, watches all that it does, and writes the
//! smallest policy that covers it. Nothing applies what is written.
//!
//! The run stands under every rule that is in force, with the capabilities of `compat` unless another
//! profile is named: nothing of this machine is had that was not asked for and allowed.

mod calls;
mod paths;

use super::journal::Journal;
use super::run::{Decision, check_terminal, decision, launch, plan_of};
use super::why::Cell;
use super::{LearnRequest, explain};
use crate::container::supervise::{Deeds, Used};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::own_nodes;
use crate::policy::{
    BROADER, Explain, Granted, HostFacts, ImageFacts, Learnt, Origin, Policy, Reason, Request,
    Verdict, decide, keep_id, shown,
};
use crate::report::{self, Destination};
use calls::Calls;
use paths::{below, generalised};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a cell is learnt under, unless another profile is named; `strict` where there is one id inside.
const PROFILE: &str = "compat";
/// Rounds in which the policy that was learnt is asked whether it allows what it was learnt from.
const ROUNDS: usize = 32;
/// Bytes of a policy, or of its system calls, that is learnt on.
const MOST: u64 = 1 << 20;

/// Runs, learns and writes; returns the command's exit code.
///
/// # Errors
/// As `run`; `Usage`: a name that a profile cannot have, a file that is there already; `Malformed`: what
/// is to be learnt on is no policy that was learnt.
pub fn learn(request: &LearnRequest) -> Result<u8> {
    let places = Places::of(request)?;
    let older = match &request.merge {
        Some(file) => Some(older(file, &places.json)?),
        None => None,
    };
    let toml = Destination::open("-o", &places.toml)?;
    let json = Destination::open("-o", &places.json)?;

    let mut run = request.run.clone();
    run.request.rm = true;
    if run.profile.is_none() {
        let store = super::place::open_store()?;
        let host = super::place::host(Some(&store))?;
        // With one id inside there is nobody to become or to give anything to, and to ask for it is refused.
        let one_id = super::place::map_of(&host).is_single();
        run.profile = Some(if one_id { "strict" } else { PROFILE }.to_owned());
    }
    let mut journal = Journal::start();
    let Decision {
        name,
        facts,
        mut grants,
        policy,
        store,
        host,
        map,
        rootfs,
        sources,
        ..
    } = decision(&run, &mut journal, None)?;
    check_terminal(&run)?;
    grants.explain = Some(Granted {
        value: Explain::Learn,
        origin: Origin::Always("lazaret learn watches all that a cell does"),
    });
    let plan = plan_of(&grants, &rootfs.lowers, map.clone(), &host, None)?;
    let exit = launch(plan, sources, false, &grants, &host, &mut journal, None)?;
    let Some(deeds) = &exit.deeds else {
        return Err(Error::new(Kind::Launch, "nobody watched the command"));
    };
    let asked = Request {
        image: name.clone(),
        ..run.request.clone()
    };

    let mut learnt = of_deeds(&policy, &asked, deeds)?;
    learnt.run(&line_of(&asked, &facts));
    cover(&mut learnt, &places.name, &asked, &facts, &host, deeds)?;
    let mut calls = Calls::of(deeds, &exit.denied);
    if let Some((before, more)) = older {
        learnt = before.and(learnt);
        calls = more.and(calls);
    }
    let file = places.json.file_name().unwrap_or_default();
    toml.write(&learnt.text(&places.name, &file.to_string_lossy()))?;
    json.write(&calls.profile()?)?;

    let (facts, host, store) = (facts.clone(), host.clone(), store.path().to_owned());
    let cell = || {
        let plan = plan_of(&grants, &rootfs.lowers, map, &host, None)?;
        let (policy, grants, host) = (Rc::clone(&policy), grants.clone(), host.clone());
        let rootfs = Some(rootfs);
        Ok(Cell::of_run(
            policy, asked, facts, grants, host, plan, rootfs, store,
        ))
    };
    explain::tell(&policy, &name, &grants, &exit, cell, &mut journal)?;
    tell(&places, &learnt, calls.len(), deeds);
    match exit.stream_error {
        Some(error) => Err(error),
        None => Ok(exit.how.exit_code()),
    }
}

/// Where what is learnt goes.
struct Places {
    /// The profile's name.
    name: String,
    toml: PathBuf,
    json: PathBuf,
}

impl Places {
    fn of(request: &LearnRequest) -> Result<Self> {
        let toml = request.output.as_ref().or(request.merge.as_ref());
        let toml = toml.cloned().unwrap_or_else(|| "learnt.toml".into());
        let name = toml.file_stem().and_then(|stem| stem.to_str());
        let is_name = |name: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !name.is_empty() && name.bytes().all(plain)
        };
        let is_toml = toml.extension().is_some_and(|end| end == "toml");
        let name = name.filter(is_name).filter(|_| is_toml).map(str::to_owned);
        let name = name.ok_or_else(|| {
            Error::new(Kind::Usage, format!("{toml:?} is no name of a profile"))
                .hint("NAME.toml, the name of letters, digits, - and _")
        })?;
        let places = Self {
            json: toml.with_extension("seccomp.json"),
            name,
            toml,
        };
        let own = |path: &Path| request.merge.as_deref() == Some(path);
        for path in [&places.toml, &places.json] {
            let is_there = std::fs::symlink_metadata(path).is_ok();
            if is_there && !own(&places.toml) {
                return Err(
                    Error::new(Kind::Usage, format!("{path:?} is there already")).hint(format!(
                        "--merge {} learns on; -o NAME.toml takes another name",
                        places.toml.display()
                    )),
                );
            }
        }
        Ok(places)
    }
}

/// What was learnt before: a policy, and the system calls beside it.
fn older(file: &Path, json: &Path) -> Result<(Learnt, Calls)> {
    let beside = match json.exists() {
        true => json.to_owned(),
        false => file.with_extension("seccomp.json"),
    };
    let text = |path: &Path| -> Result<String> {
        let size = std::fs::metadata(path).or_call(|| format!("stat {path:?}"))?;
        if !size.is_file() || size.len() > MOST {
            let cause = format!("{path:?} is no file that was learnt");
            return Err(Error::new(Kind::Malformed, cause));
        }
        std::fs::read_to_string(path).or_call(|| format!("read {path:?}"))
    };
    let learnt = Learnt::parse(&text(file)?, &file.to_string_lossy())?;
    Ok((learnt, Calls::parse(&text(&beside)?, &beside)?))
}

/// What was run, on one line.
fn line_of(asked: &Request, facts: &ImageFacts) -> String {
    /// Characters of it that are kept.
    const LINE: usize = 400;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/:@+=,".contains(&b);
    let words =
        asked
            .command
            .iter()
            .map(|word| match !word.is_empty() && word.bytes().all(plain) {
                true => word.clone(),
                false => format!("{word:?}"),
            });
    let words: Vec<String> = words.collect();
    let (image, digest) = (&asked.image, facts.manifest.short());
    let line = format!("{image} ({digest}) {}", words.join(" "));
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// What the acts of a cell teach, but for what was asked for.
fn of_deeds(policy: &Policy, asked: &Request, deeds: &Deeds) -> Result<Learnt> {
    let image = asked.image.to_string();
    let mut learnt = Learnt::of(policy)?;
    for (cap, acts) in &deeds.caps {
        let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
        let reason = format!("learnt: {}", acts.join("; "));
        learnt.one("give", Some(&image), "caps", cap, &reason);
    }
    let needed = "lazaret hands it to every command as its standard input";
    learnt.one("give", None, "devices", "null", needed);
    for node in own_nodes().filter(|node| *node != "null") {
        if let Some(used) = deeds.paths.get(&format!("/dev/{node}")) {
            let reason = format!("learnt: opened {}", times(used.times));
            learnt.one("give", None, "devices", node, &reason);
        }
    }
    for (kind, used) in [
        ("read", (|used: &Used| used.read) as fn(&Used) -> bool),
        ("written", |used| used.written),
        ("executed", |used| used.executed),
    ] {
        let is_bound = |path: &str| asked.binds.iter().any(|bind| below(path, &bind.target));
        let paths = deeds.paths.iter();
        let paths = paths.filter(|(path, how)| used(how) && !is_bound(path));
        for (pattern, files, such) in generalised(paths.map(|(path, _)| path.as_str())) {
            let more = match files {
                1 => String::new(),
                files => format!("{files} files, such as {}", shown(&such)),
            };
            learnt.seen(kind, &pattern, &more);
        }
    }
    for (kind, all) in [
        ("reached", &deeds.reached),
        ("bound", &deeds.bound),
        ("socket", &deeds.sockets),
    ] {
        for one in all {
            learnt.seen(kind, one, "");
        }
    }
    Ok(learnt)
}

fn times(times: u64) -> String {
    match times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    }
}

/// Has the policy that was learnt asked whether it allows what was run, and takes the narrowest cures
/// in until it does.
fn cover(
    learnt: &mut Learnt,
    name: &str,
    asked: &Request,
    facts: &ImageFacts,
    host: &HostFacts,
    deeds: &Deeds,
) -> Result<()> {
    // Without the caller's own rules, which may allow as much by themselves: it stands for itself.
    let places = crate::host::Places {
        user: None,
        ..crate::host::Places::own()
    };
    for _ in 0..ROUNDS {
        let policy = crate::host::policy_under(&places, name, &learnt.rules_text(name))?.policy;
        let mut reasons: Vec<Reason> = Vec::new();
        if asked.keep_id {
            reasons.extend(keep_id(&policy, &asked.image, host).err());
        }
        if reasons.is_empty() {
            match decide(&policy, asked, facts, host)? {
                Verdict::Allow(_) => return Ok(()),
                Verdict::Deny(all) => reasons = all,
            }
        }
        let mut new = false;
        for reason in &reasons {
            new |= learnt.cure(&reason.cure, |keys| why(keys, reason, asked, deeds))?;
        }
        if !new {
            let asked = reasons.first().map_or("", |reason| reason.asked.as_str());
            report::note(&format!(
                "the policy that was learnt would refuse {}: no rule of yours can allow it",
                shown(asked)
            ));
            return Ok(());
        }
    }
    Ok(())
}

/// Why a rule is there that covers what was asked for, and whether it was used.
fn why(keys: &str, reason: &Reason, asked: &Request, deeds: &Deeds) -> String {
    let used = match keys {
        "mounts" => {
            let all = asked.binds.iter();
            let mut bind = all.filter(|bind| is_about(&reason.asked, &bind.target));
            bind.next()
                .map(|bind| of_bind(&bind.target, bind.read_only, deeds))
        }
        "devices" => {
            let all = asked.devices.iter();
            let mut device = all.filter(|device| is_about(&reason.asked, &device.target));
            device
                .next()
                .map(|device| match deeds.paths.get(&device.target) {
                    Some(used) => format!("opened {}", times(used.times)),
                    None => format!("{BROADER}: it was not opened"),
                })
        }
        "network" => Some(of_network(deeds)),
        "env" => Some("whether it is read cannot be seen".to_owned()),
        "caps" => {
            let held = deeds.caps.keys().any(|cap| is_about(&reason.asked, cap));
            (!held).then(|| format!("{BROADER}: no act was seen that takes it"))
        }
        _ => None,
    };
    // What was used first: a mark must not be cut off.
    match used {
        Some(used) => format!("{used}; asked for: {}", reason.asked),
        None => format!("asked for: {}", reason.asked),
    }
}

/// Whether `asked`, a flag as reasons write it, is about a target, a device or a capability:
/// `-v FROM:TARGET (read-only)`, `--device FROM:TARGET`, `--cap-add CAP`.
fn is_about(asked: &str, what: &str) -> bool {
    let flag = match asked.rsplit_once(" (") {
        Some((flag, end)) if end.ends_with(')') => flag,
        _ => asked,
    };
    let before = flag.strip_suffix(what);
    before.is_some_and(|before| before.ends_with([':', ' ']))
}

fn of_bind(target: &str, read_only: bool, deeds: &Deeds) -> String {
    let used: Vec<(&String, &Used)> = deeds
        .paths
        .iter()
        .filter(|(path, _)| below(path, target))
        .collect();
    if used.is_empty() {
        return format!("{BROADER}: nothing of it was used");
    }
    let written = used.iter().any(|(_, how)| how.written);
    let shapes = generalised(used.iter().map(|(path, _)| path.as_str()));
    let shapes: Vec<String> = shapes
        .iter()
        .take(4)
        .map(|(pattern, files, _)| match files {
            1 => shown(pattern),
            files => format!("{} ({files} files)", shown(pattern)),
        })
        .collect();
    let evidence = format!(
        "{} {}",
        if written {
            "written and read:"
        } else {
            "read:"
        },
        shapes.join(", ")
    );
    match (read_only, written) {
        (false, false) => format!("{BROADER}: nothing was written, :ro would do; {evidence}"),
        _ => evidence,
    }
}

fn of_network(deeds: &Deeds) -> String {
    let away = |all: &BTreeSet<String>| -> Vec<String> {
        let all = all.iter().filter(|at| {
            let at: Option<std::net::SocketAddr> = at.parse().ok();
            at.is_none_or(|at| !at.ip().is_loopback())
        });
        all.take(6).cloned().collect()
    };
    let (reached, bound) = (away(&deeds.reached), away(&deeds.bound));
    match (reached.is_empty(), bound.is_empty()) {
        (true, true) => format!("{BROADER}: nothing but loopback was used"),
        (false, true) => format!("reached {}", reached.join(", ")),
        (true, false) => format!("listened at {}", bound.join(", ")),
        (false, false) => {
            format!(
                "reached {}; listened at {}",
                reached.join(", "),
                bound.join(", ")
            )
        }
    }
}

/// What was learnt, in a few lines.
fn tell(places: &Places, learnt: &Learnt, calls: usize, deeds: &Deeds) {
    let caps: Vec<&str> = deeds.caps.keys().map(String::as_str).collect();
    let caps = match caps.is_empty() {
        true => "no capability".to_owned(),
        false => format!("the capabilities {}", caps.join(" ")),
    };
    report::note(&format!(
        "learnt: {calls} system calls, {caps}, {} paths; written to {} and {}, to be read before they are used",
        deeds.paths.len(),
        places.toml.display(),
        places.json.display(),
    ));
    match learnt.broader() {
        0 => {}
        many => report::note(&format!(
            "{many} of its rules grant more than was seen: look for {BROADER:?}"
        )),
    }
    if !deeds.unsure.is_empty() {
        let acts: Vec<String> = deeds.unsure.iter().map(|act| shown(act)).collect();
        report::note(&format!(
            "owner and mode could not be seen where this was done, and a capability that it took is not learnt: {}",
            acts.join("; ")
        ));
    }
    if deeds.more_paths > 0 {
        report::note(
            "there were more paths than are kept; the rest is not among those that were seen",
        );
    }
    report::note(&format!(
        "to run under it: put {} into profiles/ beside your policy.toml, and run with --profile {} --security-opt seccomp={}",
        places.toml.display(),
        places.name,
        places.json.display(),
    ));
}
