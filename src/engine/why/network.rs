//! Hosts, ports and Unix sockets: what the network of the cell reaches.

use super::cell::{Beside, Cell};
use super::path;
use crate::error::Result;
use crate::plan::Step;
use crate::policy::{FileKind, Network, Origin, shown};
use crate::report::Answer;

/// Whether the cell has a network namespace of its own, and where that comes from.
fn own(cell: &Cell, answer: &mut Answer) -> bool {
    let steps = cell.plan.steps().iter();
    let own = steps.filter(|planned| matches!(planned.step, Step::MakeNetwork));
    let own = own.count() > 0;
    answer.rule = match own {
        true => "network = \"none\"".to_owned(),
        false => "network = \"host\"".to_owned(),
    };
    answer.origin = cell.grants.network.origin.clone();
    own
}

/// What it takes to have this machine's network.
fn cure(cell: &Cell, answer: &mut Answer) -> Result<()> {
    let flag = "--network host";
    let asked = cell.ask(Beside::Nothing, |request| {
        request.network = Some(Network::Host);
    })?;
    match asked.refused {
        Some(reason) => answer.refused(&reason, flag),
        None => answer.cure = Some(vec![flag.to_owned()]),
    }
    Ok(())
}

/// Answers whether `host` is reached; `loopback`: it is this machine to itself.
///
/// # Errors
/// As the decision.
pub(super) fn network(cell: &Cell, host: &str, loopback: bool, answer: &mut Answer) -> Result<()> {
    match (own(cell, answer), loopback) {
        (true, true) => {
            answer.allowed = true;
            answer.answer = format!("{host} is the cell's own loopback");
            answer.why = "lo is its only interface, and nothing outside listens there".to_owned();
            let text = "what this machine listens to there is not reached";
            answer.facts.push(("host", text.to_owned()));
        }
        (true, false) => {
            answer.answer = format!("{host} is not reached: there is no network but lo");
            answer.why = "the network namespace is the cell's own".to_owned();
            cure(cell, answer)?;
        }
        (false, _) => {
            answer.allowed = true;
            answer.answer = format!("{host} is reached as from this machine");
            answer.why =
                "the network is this machine's, and no port is closed to the cell".to_owned();
            let what = match loopback {
                true => "what listens on this machine's loopback is reached too",
                false => "this machine's routes, name servers and firewall decide",
            };
            answer.facts.push(("host", what.to_owned()));
        }
    }
    Ok(())
}

/// Nobody listens on the cell's own loopback: what it takes to have this machine's.
///
/// # Errors
/// As the decision.
pub(super) fn loopback(cell: &Cell, host: &str, answer: &mut Answer) -> Result<()> {
    if own(cell, answer) {
        answer.allowed = false;
        answer.answer = format!("{host} is the cell's own loopback, and nobody listens there");
        answer.why = "this machine's loopback is another one".to_owned();
        cure(cell, answer)?;
    }
    Ok(())
}

/// Answers whether the socket at a path of this machine is reached: with the folder that it lies in,
/// because a socket itself is never mounted.
///
/// # Errors
/// As the decision.
pub(super) fn socket(cell: &Cell, path: &str, answer: &mut Answer) -> Result<()> {
    if let Some((bind, origin)) = path::mounted_from(cell, path) {
        answer.allowed = true;
        answer.answer = format!("{} is in a folder that is mounted", shown(path));
        answer.rule = format!("-v {}:{}", shown(&bind.source), shown(&bind.path));
        answer.origin = origin.clone();
        answer.why = "whoever listens there decides what comes of it".to_owned();
        return Ok(());
    }
    answer.answer = format!("the cell sees no {} of this machine", shown(path));
    answer.why = "its mounts are its own".to_owned();
    answer.origin = Origin::Always("no host file is reachable");
    path::hand_in(cell, path::parent_of(path), FileKind::Folder, false, answer)
}

/// Answers whether an abstract socket of this machine is reached (unix(7)).
///
/// # Errors
/// As the decision.
pub(super) fn abstract_socket(cell: &Cell, name: &str, answer: &mut Answer) -> Result<()> {
    let own = own(cell, answer);
    let (scoped, origin) = cell.step(|step| match step {
        Step::Landlock {
            scope_abstract_sockets,
            ..
        } => Some(*scope_abstract_sockets),
        _ => None,
    })?;
    answer.answer = format!("@{name} of this machine is not reached");
    match (own, scoped) {
        (true, _) => {
            answer.why =
                "abstract names are of the network namespace, which is the cell's own".to_owned();
            match scoped {
                // The network changes nothing where Landlock closes them as well.
                true => {
                    answer.origin = origin.clone();
                    answer.cure = Some(Vec::new());
                }
                false => cure(cell, answer)?,
            }
        }
        (false, true) => {
            answer.rule = "Landlock scopes abstract sockets".to_owned();
            answer.origin = origin.clone();
            answer.why = "no socket outside of the cell is connected to".to_owned();
            answer.cure = Some(Vec::new());
        }
        (false, false) => {
            answer.allowed = true;
            answer.answer = format!("@{name} is reached: this kernel's Landlock cannot scope it");
            answer.why = "the network is this machine's".to_owned();
        }
    }
    Ok(())
}
