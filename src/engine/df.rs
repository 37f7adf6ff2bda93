//! `lazaret system df`.

mod verbose;

pub(super) use verbose::{shared_and_unique, users};

use super::{DfRequest, place};
use crate::container::record::{Container, Containers, Damaged, State};
use crate::error::{Kind, Result};
use crate::report::{self, Column, Rows};
use crate::store::{Layered, Store, Usage};
use std::collections::BTreeSet;
use std::os::fd::AsFd as _;

const fn column(field: &'static str, header: &'static str) -> Column {
    Column {
        field,
        header,
        shown: true,
    }
}

/// docker's columns.
const COLUMNS: &[Column] = &[
    column("Type", "TYPE"),
    column("TotalCount", "TOTAL"),
    column("Active", "ACTIVE"),
    column("Size", "SIZE"),
    column("Reclaimable", "RECLAIMABLE"),
];

/// Prints how much the store holds, and how much of that no container needs; with `-v`, thing by
/// thing.
///
/// # Errors
/// `Usage`: the template; `Io`, `Store`: the store cannot be read.
pub fn df(request: &DfRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let mut seen = Seen::default();
    if let Some(store) = &store
        && let Some(containers) = super::containers(Some(store))?
    {
        let survey = containers.survey()?;
        super::ps::tell_damaged(&survey.damaged);
        for container in survey.containers {
            let size = match container.record.ephemeral {
                true => 0,
                false => kept(&containers, &container.record.id)?,
            };
            seen.containers.push((container, size));
        }
        for damaged in survey.damaged {
            let size = kept(&containers, &damaged.id)?;
            seen.damaged.push((damaged, size));
        }
        seen.images = store.layered(store.images()?)?;
    }
    if request.verbose {
        report::stdout(&verbose::text(&seen))?;
        return Ok(0);
    }
    let total = match &store {
        Some(store) => totals(store, &seen)?,
        None => Totals::default(),
    };
    let rows = Rows {
        columns: COLUMNS,
        rows: total.rows(),
    };
    report::stdout(&rows.render(&request.layout)?)?;
    Ok(0)
}

/// What the store has of either kind, with what each container has written, in bytes.
#[derive(Default)]
struct Seen {
    containers: Vec<(Container, u64)>,
    damaged: Vec<(Damaged, u64)>,
    images: Vec<Layered>,
}

/// Bytes that a container has written. Folders that only a subordinate id may read count nothing.
fn kept(containers: &Containers, id: &str) -> Result<u64> {
    match containers.folder_of(id) {
        Ok(folder) => Ok(place::tree_size(folder.as_fd())),
        Err(e) if e.kind == Kind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

fn totals(store: &Store, seen: &Seen) -> Result<Totals> {
    let mut total = Totals {
        usage: store.usage()?,
        ..Totals::default()
    };
    let damaged = seen.damaged.iter().map(|(d, size)| (d.running, size));
    let sound = seen.containers.iter();
    let sound = sound.map(|(c, size)| (c.state == State::Running, size));
    for (running, size) in sound.chain(damaged) {
        total.containers += 1;
        total.container_bytes = total.container_bytes.saturating_add(*size);
        if running {
            total.running += 1;
        } else {
            total.idle_bytes = total.idle_bytes.saturating_add(*size);
        }
    }
    let used: BTreeSet<_> = seen
        .containers
        .iter()
        .map(|(c, _)| c.record.manifest)
        .collect();
    let images = seen.images.iter().map(|i| &i.entry.reference);
    let active: Vec<_> = images
        .filter(|r| used.contains(&r.manifest))
        .cloned()
        .collect();
    total.active_images = active.len() as u64;
    (total.active_blobs, total.active_layers) = store.needed_by(&active)?;
    Ok(total)
}

#[derive(Default)]
struct Totals {
    usage: Usage,
    active_images: u64,
    /// Bytes of blobs and of unpacked layers that containers' images need: the rest could go, as
    /// docker counts it (`image prune -a`).
    active_blobs: u64,
    active_layers: u64,
    containers: u64,
    running: u64,
    container_bytes: u64,
    idle_bytes: u64,
}

impl Totals {
    fn rows(&self) -> Vec<Vec<String>> {
        let usage = &self.usage;
        let row = |what: &str, total: u64, active: u64, size: u64, free: u64| {
            let reclaimable = if size == 0 {
                report::human_total(free)
            } else {
                let percent = u128::from(free.min(size)) * 100 / u128::from(size);
                format!("{} ({percent}%)", report::human_total(free))
            };
            vec![
                what.to_owned(),
                total.to_string(),
                active.to_string(),
                report::human_total(size),
                reclaimable,
            ]
        };
        let layers = usage.layers;
        let idle = layers.bytes.saturating_sub(usage.leased_layers.bytes);
        vec![
            row(
                "Images",
                usage.images.count,
                self.active_images,
                usage.blobs.bytes,
                usage.blobs.bytes.saturating_sub(self.active_blobs),
            ),
            row(
                "Unpacked Layers",
                layers.count,
                usage.leased_layers.count,
                layers.bytes,
                layers.bytes.saturating_sub(self.active_layers).min(idle),
            ),
            row(
                "Containers",
                self.containers,
                self.running,
                self.container_bytes,
                self.idle_bytes,
            ),
            row("Local Volumes", 0, 0, 0, 0),
            row("Build Cache", 0, 0, 0, 0),
        ]
    }
}
