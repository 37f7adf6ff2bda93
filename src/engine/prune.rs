//! `lazaret container prune`, `image prune` and `system prune`: what nothing refers to goes, after a
//! question, in docker's words.

use super::{Prune, PruneFilter, PruneRequest, place, ps, rmi};
use crate::container::record::{Containers, State};
use crate::error::{Error, Result};
use crate::report::{self, Format};
use crate::store::{ImageEntry, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead as _;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 4096;

/// Asks, then removes what nothing refers to, and says how many bytes that was. What cannot be
/// removed is told, and the rest is. Anything but `y` for an answer leaves all as it is, with exit
/// code 0, as docker has it.
///
/// # Errors
/// `Io`, `Store`: the store cannot be read; standard output.
pub fn prune(request: &PruneRequest) -> Result<u8> {
    if !request.force {
        report::stdout(&question(request))?;
        if !is_yes() {
            return Ok(0);
        }
    }
    let mut swept = Swept::default();
    if let Some(store) = place::look_at_store()? {
        if request.what != Prune::Images {
            containers(&store, request, &mut swept)?;
        }
        if request.what != Prune::Containers {
            images(&store, request, &mut swept)?;
        }
    }
    let bytes = report::human_total(swept.bytes);
    report::stdout(&format!("Total reclaimed space: {bytes}\n"))?;
    Ok(swept.code)
}

/// What came of it.
#[derive(Default)]
struct Swept {
    bytes: u64,
    code: u8,
}

impl Swept {
    /// What could not be removed is told, and does not keep the rest.
    fn failed(&mut self, error: Error, action: String) {
        let error = match error.action {
            Some(_) => error,
            None => error.action(action),
        };
        report::error(&error, Format::Text);
        self.code = error.exit_code();
    }
}

/// docker's warnings, as far as there are such things here.
fn question(request: &PruneRequest) -> String {
    let containers = "all stopped containers";
    let images = match request.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let mut text = "WARNING! This will remove".to_owned();
    match request.what {
        Prune::Containers => text.push_str(&format!(" {containers}.\n")),
        Prune::Images => text.push_str(&format!(" {images}.\n")),
        Prune::All => {
            text.push_str(&format!(":\n  - {containers}\n  - {images}\n\n"));
            if !request.filters.is_empty() {
                text.push_str("  Items to be pruned will be filtered with:\n");
                for filter in &request.filters {
                    text.push_str(&format!("  - {}\n", report::clean(&spelled(filter))));
                }
                text.push('\n');
            }
        }
    }
    text + "Are you sure you want to continue? [y/N] "
}

fn spelled(filter: &PruneFilter) -> String {
    let (word, key, value) = match filter {
        PruneFilter::Until(_, text) => return format!("until={text}"),
        PruneFilter::Label(key, value) => ("label", key, value),
        PruneFilter::NotLabel(key, value) => ("label!", key, value),
    };
    match value {
        Some(value) => format!("{word}={key}={value}"),
        None => format!("{word}={key}"),
    }
}

/// Whether the next line of standard input, terminal or not, is `y`. Nothing to read is a no.
fn is_yes() -> bool {
    let mut line = Vec::new();
    let mut input = std::io::Read::take(std::io::stdin().lock(), MAX_ANSWER);
    match input.read_until(b'\n', &mut line) {
        Ok(_) => line.trim_ascii().eq_ignore_ascii_case(b"y"),
        Err(_) => false,
    }
}

/// Whether all filters hold; those about labels by docker's rule, each by itself.
fn wanted(filters: &[PruneFilter], made: i64, labels: &BTreeMap<String, String>) -> bool {
    let has = |key: &String, value: &Option<String>| match (labels.get(key), value) {
        (Some(has), Some(value)) => has == value,
        (found, None) => found.is_some(),
        (None, _) => false,
    };
    filters.iter().all(|filter| match filter {
        PruneFilter::Until(at, _) => made < *at,
        PruneFilter::Label(key, value) => has(key, value),
        PruneFilter::NotLabel(key, value) => !has(key, value),
    })
}

/// Containers that do not run. Of damaged ones no label is known.
fn containers(store: &Store, request: &PruneRequest, swept: &mut Swept) -> Result<()> {
    let containers = Containers::new(store.containers()?);
    let survey = containers.survey()?;
    let none = BTreeMap::new();
    let mut gone = Vec::new();
    for container in survey.containers {
        let record = &container.record;
        let made = ps::instant(record.created).as_second();
        if container.state == State::Running || !wanted(&request.filters, made, &record.labels) {
            continue;
        }
        match place::forget_container(&containers, record) {
            Ok(bytes) => gone.push((record.id.clone(), bytes)),
            Err(e) => swept.failed(e, format!("remove container {}", record.name)),
        }
    }
    for damaged in survey.damaged {
        let made = ps::instant(damaged.written).as_second();
        if damaged.running || !wanted(&request.filters, made, &none) {
            continue;
        }
        match place::forget_damaged(store, &containers, &damaged) {
            Ok(bytes) => gone.push((damaged.id, bytes)),
            Err(e) => swept.failed(e, format!("remove container {}", damaged.short())),
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let mut text = "Deleted Containers:\n".to_owned();
    for (id, bytes) in gone {
        text.push_str(&format!("{id}\n"));
        swept.bytes = swept.bytes.saturating_add(bytes);
    }
    report::stdout(&(text + "\n"))
}

/// Images that no container is made of, where `-a` asks for those; then what no name refers to.
fn images(store: &Store, request: &PruneRequest, swept: &mut Swept) -> Result<()> {
    let mut text = String::new();
    if request.all {
        let map = place::own_map(Some(store))?;
        for entry in unused(store, &request.filters)? {
            let name = &entry.reference.name;
            match store.rmi(name, &map) {
                Ok(removed) => {
                    for name in &removed.untagged {
                        let name = rmi::familiar(name);
                        text.push_str(&format!("untagged: {}\n", report::clean(&name)));
                    }
                    for digest in &removed.deleted {
                        text.push_str(&format!("deleted: {digest}\n"));
                    }
                    swept.bytes = swept.bytes.saturating_add(removed.bytes);
                }
                Err(e) => swept.failed(e, format!("remove image {}", rmi::familiar(name))),
            }
        }
    }
    if request.filters.is_empty() {
        match rmi::sweep(store) {
            Ok(removed) => {
                for digest in &removed.deleted {
                    text.push_str(&format!("deleted: {digest}\n"));
                }
                swept.bytes = swept.bytes.saturating_add(removed.bytes);
            }
            Err(e) => swept.failed(e, "remove what no name refers to".to_owned()),
        }
    } else {
        // It has neither a label nor an age that could be asked for.
        report::note("what no name refers to stays, because a filter is given");
    }
    if text.is_empty() {
        return Ok(());
    }
    report::stdout(&format!("Deleted Images:\n{text}\n"))
}

/// Images that no container is made of and that all filters are for.
fn unused(store: &Store, filters: &[PruneFilter]) -> Result<Vec<ImageEntry>> {
    let containers = Containers::new(store.containers()?).list()?;
    let used: BTreeSet<_> = containers.iter().map(|c| c.record.image_id).collect();
    let mut entries = store.images()?;
    entries.retain(|entry| {
        let created = entry.created.as_deref().and_then(report::instant);
        // Who does not say when it was made is as old as its name here.
        let made = created.map_or(entry.reference.stored, |at| at.as_second());
        !used.contains(&entry.id) && wanted(filters, made, &entry.labels)
    });
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(what: Prune, all: bool, filters: Vec<PruneFilter>) -> PruneRequest {
        PruneRequest {
            what,
            all,
            force: false,
            filters,
        }
    }

    #[test]
    fn dockers_questions() {
        insta::assert_snapshot!(question(&request(Prune::Containers, false, vec![])), @"
        WARNING! This will remove all stopped containers.
        Are you sure you want to continue? [y/N] 
        ");
        insta::assert_snapshot!(question(&request(Prune::Images, true, vec![])), @"
        WARNING! This will remove all images without at least one container associated to them.
        Are you sure you want to continue? [y/N] 
        ");
        let filters = vec![
            PruneFilter::Until(0, "24h".to_owned()),
            PruneFilter::NotLabel("keep".to_owned(), None),
        ];
        insta::assert_snapshot!(question(&request(Prune::All, false, filters)), @"
        WARNING! This will remove:
          - all stopped containers
          - all dangling images

          Items to be pruned will be filtered with:
          - until=24h
          - label!=keep

        Are you sure you want to continue? [y/N] 
        ");
    }

    #[test]
    fn every_filter_must_hold() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let label = |key: &str, value: Option<&str>| {
            PruneFilter::Label(key.to_owned(), value.map(str::to_owned))
        };
        let not = |key: &str, value: Option<&str>| {
            PruneFilter::NotLabel(key.to_owned(), value.map(str::to_owned))
        };
        for (filters, want) in [
            (vec![], true),
            (vec![PruneFilter::Until(101, String::new())], true),
            (vec![PruneFilter::Until(100, String::new())], false),
            (vec![label("a", None)], true),
            (vec![label("a", Some("1"))], true),
            (vec![label("a", Some("2"))], false),
            (vec![label("b", None)], false),
            (vec![not("a", None)], false),
            (vec![not("a", Some("2"))], true),
            (vec![not("b", None)], true),
            (vec![label("a", None), not("a", Some("1"))], false),
        ] {
            assert_eq!(wanted(&filters, 100, &labels), want, "{filters:?}");
        }
    }
}
