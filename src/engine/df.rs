//! `lazaret system df`.

use super::{DfRequest, place};
use crate::container::record::State;
use crate::error::Result;
use crate::report::{self, Column, Rows};
use crate::store::Usage;
use std::collections::BTreeSet;
use std::path::Path;

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

/// Prints how much the store holds, and how much of that nothing refers to.
///
/// # Errors
/// `Usage`: the template; `Io`, `Store`: the store cannot be read.
pub fn df(request: &DfRequest) -> Result<u8> {
    let mut total = Totals::default();
    if let Some(store) = place::look_at_store()? {
        total.usage = store.usage()?;
        let folder = store.path().join("containers");
        if let Some(containers) = super::containers(Some(&store))? {
            let mut used = BTreeSet::new();
            for container in containers.list()? {
                let size = match container.record.ephemeral {
                    true => 0,
                    false => tree_size(&folder.join(&container.record.id)),
                };
                total.containers += 1;
                total.container_bytes += size;
                if container.state == State::Running {
                    total.running += 1;
                } else {
                    total.idle_bytes += size;
                }
                used.insert(container.record.manifest);
            }
            let images = store.images()?;
            let active = images
                .iter()
                .filter(|i| used.contains(&i.reference.manifest));
            total.active_images = active.count() as u64;
        }
    }
    let rows = Rows {
        columns: COLUMNS,
        rows: total.rows(),
    };
    report::stdout(&rows.render(&request.layout)?)?;
    Ok(0)
}

#[derive(Default)]
struct Totals {
    usage: Usage,
    active_images: u64,
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
                report::human_size(free)
            } else {
                let percent = u128::from(free.min(size)) * 100 / u128::from(size);
                format!("{} ({percent}%)", report::human_size(free))
            };
            vec![
                what.to_owned(),
                total.to_string(),
                active.to_string(),
                report::human_size(size),
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
                usage.unused_blobs.bytes,
            ),
            row(
                "Unpacked Layers",
                layers.count,
                usage.leased_layers.count,
                layers.bytes,
                usage.unused_layers.bytes.min(idle),
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

/// Bytes of the regular files of a tree; what may not be read (a subordinate id's) counts nothing.
/// No symlink is followed.
fn tree_size(folder: &Path) -> u64 {
    let mut size = 0u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else {
                continue;
            };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.is_file() {
                size = size.saturating_add(meta.len());
            }
        }
    }
    size
}
