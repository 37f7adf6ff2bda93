//! `lazaret rmi`.

use super::{RmiRequest, find, place};
use crate::container::record::{Container, Containers, State};
use crate::error::{Error, Kind, Result};
use crate::image::ImageName;
use crate::plan::IdMap;
use crate::report::{self, Format};
use crate::store::{Removed, Store};

/// Takes names away, and images that no name is left of. What cannot be removed is told, and the
/// others are.
///
/// # Errors
/// `Io`, `Store`: the store cannot be opened; standard output.
pub fn rmi(request: &RmiRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let mut code = 0;
    let mut removed = false;
    for name in &request.images {
        let done = match &store {
            Some(store) => {
                let map = place::own_map(Some(store))?;
                remove(store, &map, name, request.force)
            }
            None => find::image(None, name).map(|_| ()),
        };
        removed |= done.is_ok();
        if let Err(error) = done {
            let error = match error.action {
                Some(_) => error,
                None => error.action(format!("rmi {name}")),
            };
            report::error(&error, Format::Text);
            code = error.exit_code();
        }
    }
    if removed
        && let Some(store) = &store
        && let Err(error) = sweep(store).and_then(|swept| {
            let lines = swept.deleted.iter().map(|d| format!("Deleted: {d}\n"));
            report::stdout(&lines.collect::<String>())
        })
    {
        // What was asked for is done.
        let hint = error.hint.as_deref().unwrap_or_default();
        report::note(&format!("what no name refers to stays: {error}; {hint}"));
    }
    Ok(code)
}

/// Takes away what no name refers to: of names that mean another image by now, and of processes
/// that were killed before they gave one. Not while a container is there whose image is among it.
pub(super) fn sweep(store: &Store) -> Result<Removed> {
    let named: Vec<_> = store.refs()?.iter().map(|r| r.manifest).collect();
    let survey = Containers::new(store.containers()?).survey()?;
    if let Some(damaged) = survey.damaged.first() {
        // Nobody knows of what image it is.
        return Err(damaged.error());
    }
    if survey
        .containers
        .iter()
        .any(|c| !named.contains(&c.record.manifest))
    {
        return Ok(Removed::default());
    }
    store.gc(&place::own_map(Some(store))?)
}

fn remove(store: &Store, map: &IdMap, text: &str, force: bool) -> Result<()> {
    let found = match find::image(Some(store), text) {
        // An image whose documents are damaged is not listed, and can be taken away all the same.
        Err(e) if e.kind == Kind::NotFound => match ImageName::parse(text) {
            Ok(name) if store.get_ref(&name.to_string())?.is_some() => {
                return take_away(store, map, &name.to_string());
            }
            _ => return Err(e),
        },
        found => found?,
    };
    let names: Vec<&str> = found
        .entries
        .iter()
        .map(|e| e.reference.name.as_str())
        .collect();
    let (going, last) = if found.by_name {
        (&names[..1], names.len() == 1)
    } else {
        (&names[..], true)
    };
    if going.len() > 1 && !force {
        return Err(Error::new(
            Kind::Busy,
            format!("the image has several names: {}", shown(&names)),
        )
        .hint("remove it by name, or all of them with -f"));
    }
    if last {
        let containers = Containers::new(store.containers()?).list()?;
        let manifests: Vec<_> = found.entries.iter().map(|e| e.reference.manifest).collect();
        let user = containers
            .iter()
            .filter(|c| manifests.contains(&c.record.manifest))
            .find(|c| !force || c.state == State::Running);
        if let Some(user) = user {
            return Err(in_use(user));
        }
    }
    going
        .iter()
        .try_for_each(|name| take_away(store, map, name))
}

/// Takes one name away, and prints what went with it in docker's words.
fn take_away(store: &Store, map: &IdMap, name: &str) -> Result<()> {
    let removed = store.rmi(name, map)?;
    let mut text = String::new();
    for name in &removed.untagged {
        text.push_str(&format!("Untagged: {}\n", report::clean(&familiar(name))));
    }
    for digest in &removed.deleted {
        text.push_str(&format!("Deleted: {digest}\n"));
    }
    report::stdout(&text)
}

fn in_use(container: &Container) -> Error {
    let name = &container.record.name;
    if container.state == State::Running {
        Error::new(Kind::Busy, format!("the running container {name} uses it"))
            .hint(format!("end it first: lazaret rm -f {name}"))
    } else {
        Error::new(Kind::Busy, format!("the stopped container {name} uses it")).hint(format!(
            "remove it first: lazaret rm {name}; or insist with -f"
        ))
    }
}

fn shown(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| familiar(name)).collect();
    names.join(" ")
}

/// A name of the store as people write it.
pub(super) fn familiar(name: &str) -> String {
    match ImageName::parse(name) {
        Ok(ImageName::Registry(reference)) => reference.familiar(),
        _ => name.to_owned(),
    }
}
