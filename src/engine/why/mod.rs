//! `lazaret why QUESTION`: what a cell may, and by which rule, asked of policy and plan. Nothing runs.
//!
//! Every answer is read off the plan that a run would walk, or is the word of the decision that a run
//! with one flag more would get: there is no table of answers here.

mod call;
mod capability;
mod cell;
mod network;
mod outcome;
mod path;

use super::{WhyQuestion, WhyRequest};
use crate::error::Result;
use crate::policy::Origin;
use crate::report::{self, Answer, Format};
pub(super) use cell::Cell;
pub(super) use outcome::{denials, logged};

/// An answer before anybody has looked.
fn blank(question: &str, kind: &'static str) -> Answer {
    Answer {
        question: question.to_owned(),
        kind,
        image: None,
        allowed: false,
        answer: String::new(),
        rule: String::new(),
        origin: Origin::Always("the plan says so"),
        why: String::new(),
        facts: Vec::new(),
        cure: None,
    }
}

/// Answers the question and prints it. Exit code 0 if it is allowed, or held, as things stand; 1 if
/// not.
///
/// # Errors
/// As `run`, up to the plan; `Io`: standard output.
pub fn why(request: &WhyRequest) -> Result<u8> {
    let answer = match Cell::of(request) {
        Ok(cell) => answer(request, &cell)?,
        // Any other error is no answer of the policy.
        Err(error) if error.reasons.is_empty() => return Err(error),
        Err(error) => {
            let mut answer = blank(&request.text, kind(&request.question));
            let image = &request.run.request.image;
            answer.image = request.named.then(|| image.to_string());
            answer.answer = "a run like this is refused, whatever else is asked".to_owned();
            if let Some(reason) = error.reasons.first() {
                answer.refused(reason, "");
                answer.facts.push(("asked", reason.asked.clone()));
            }
            answer
        }
    };
    report::stdout(&match request.run.format {
        Format::Json => answer.json(),
        Format::Text => answer.text(),
    })?;
    Ok(u8::from(!answer.allowed))
}

fn kind(question: &WhyQuestion) -> &'static str {
    match question {
        WhyQuestion::Call(_) => "syscall",
        WhyQuestion::Capability(_) => "capability",
        WhyQuestion::Path { .. } => "path",
        WhyQuestion::HostPath { .. } => "host_path",
        WhyQuestion::Network { .. } => "network",
        WhyQuestion::Socket(_) | WhyQuestion::Abstract(_) => "socket",
    }
}

fn answer(request: &WhyRequest, cell: &Cell) -> Result<Answer> {
    let mut answer = blank(&request.text, kind(&request.question));
    // As rules name it.
    answer.image = request.named.then(|| cell.request.image.to_string());
    match &request.question {
        WhyQuestion::Call(wanted) => call::call(cell, wanted, &mut answer)?,
        WhyQuestion::Capability(name) => capability::capability(cell, name, &mut answer)?,
        WhyQuestion::Path { path, write } => {
            let lists = cell.lists()?;
            let image = cell::merged(lists.as_deref())?;
            path::inside(cell, image.as_ref(), path, *write, &mut answer)?;
        }
        WhyQuestion::HostPath { path, write } => path::outside(cell, path, *write, &mut answer)?,
        WhyQuestion::Network { host, loopback } => {
            network::network(cell, host, *loopback, &mut answer)?;
        }
        WhyQuestion::Socket(path) => network::socket(cell, path, &mut answer)?,
        WhyQuestion::Abstract(name) => network::abstract_socket(cell, name, &mut answer)?,
    }
    cell.nameless(&mut answer);
    Ok(answer)
}
