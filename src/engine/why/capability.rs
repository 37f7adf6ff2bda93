//! A capability: whether the command holds it, and what it would take.

use super::cell::{Beside, Cell};
use crate::error::Result;
use crate::plan::Step;
use crate::policy::{calls_of, shown};
use crate::report::Answer;

/// What holds of every capability of a cell.
const OWN: &str = "the cell's own namespaces only, and the files in them";

/// Answers whether `name` is held, without `CAP_`.
///
/// # Errors
/// As the decision.
pub(super) fn capability(cell: &Cell, name: &str, answer: &mut Answer) -> Result<()> {
    let (keep, origin) = cell.step(|step| match step {
        Step::SetCapabilities { keep } => Some(keep),
        _ => None,
    })?;
    let user = cell.grants.user.value.split(':').next().unwrap_or_default();
    let is_root = matches!(user, "" | "0" | "root");
    answer.facts.push(("over", OWN.to_owned()));
    if let Some(calls) = calls_of(name) {
        answer.facts.push(("for", calls.to_owned()));
    }
    if let Some(held) = keep.iter().find(|held| held.name == name) {
        answer.allowed = is_root;
        answer.origin = held.origin.clone();
        answer.answer = format!("root inside holds {name}");
        answer.why = "it is given, or was asked for and is allowed".to_owned();
        for note in cell.grants.notes.iter().filter(|note| note.contains(name)) {
            answer.facts.push(("note", note.clone()));
        }
        if !is_root {
            answer.answer = format!(
                "only root inside would hold {name}, and the command runs as {}",
                shown(user)
            );
            answer.cure = Some(vec!["-u 0".to_owned()]);
        }
        return Ok(());
    }
    answer.answer = format!("{name} is not held");
    answer.origin = origin.clone();
    answer.rule = match keep.is_empty() {
        true => "give caps = []".to_owned(),
        false => "a rule gives others".to_owned(),
    };
    let flag = match is_root {
        true => format!("--cap-add {name}"),
        false => format!("--cap-add {name} -u 0"),
    };
    // What a run takes away it need not ask for.
    if cell.request.caps.drop.iter().any(|drop| drop == name) {
        answer.rule = format!("--cap-drop {name}");
        answer.cure = Some(vec![format!("leave --cap-drop {name} out")]);
        return Ok(());
    }
    let asked = cell.ask(Beside::Nothing, |request| {
        request.caps.add.push(name.to_owned());
    })?;
    match asked.refused {
        Some(reason) => answer.refused(&reason, &flag),
        None => {
            answer.why = "it is not given, and may be asked for".to_owned();
            let notes = asked.notes.into_iter();
            for note in notes.filter(|note| note.contains(name)) {
                answer.facts.push(("note", note));
            }
            answer.cure = Some(vec![flag]);
        }
    }
    Ok(())
}
