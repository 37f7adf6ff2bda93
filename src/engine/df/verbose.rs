//! `system df -v`: docker's tables, one for each kind of thing.

use super::Seen;
use crate::engine::{images, ps};
use crate::image::LayerId;
use crate::report;
use crate::store::Layered;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How many of the images have each layer. Names of one image count once.
pub(in crate::engine) fn users(all: &[Layered]) -> BTreeMap<LayerId, u64> {
    let mut users = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for image in all.iter().filter(|i| seen.insert(i.entry.id)) {
        let layers: std::collections::BTreeSet<LayerId> =
            image.layers.iter().map(|l| l.id).collect();
        for id in layers {
            *users.entry(id).or_insert(0) += 1;
        }
    }
    users
}

/// Bytes of an image that others have too, and that it alone has.
pub(in crate::engine) fn shared_and_unique(
    image: &Layered,
    users: &BTreeMap<LayerId, u64>,
) -> (u64, u64) {
    let (mut shared, mut unique) = (0u64, 0u64);
    for layer in &image.layers {
        let sum = match users.get(&layer.id) {
            Some(2..) => &mut shared,
            _ => &mut unique,
        };
        *sum = sum.saturating_add(layer.size);
    }
    (shared, unique)
}

/// Everything, thing by thing.
pub(super) fn text(seen: &Seen) -> String {
    let now = Timestamp::now();
    let mut out = "Images space usage:\n\n".to_owned();
    out.push_str(&report::table(&image_rows(seen, now)));
    out.push_str("\nContainers space usage:\n\n");
    out.push_str(&report::table(&container_rows(seen, now)));
    out.push_str("\nLocal Volumes space usage:\n\n");
    out.push_str(&report::table(&[header("VOLUME NAME|LINKS|SIZE")]));
    out.push_str("\nBuild cache usage: 0B\n\n");
    let columns = "CACHE ID|CACHE TYPE|SIZE|CREATED|LAST USED|USAGE|SHARED";
    out.push_str(&report::table(&[header(columns)]));
    out
}

fn header(columns: &str) -> Vec<String> {
    columns.split('|').map(str::to_owned).collect()
}

fn image_rows(seen: &Seen, now: Timestamp) -> Vec<Vec<String>> {
    let columns = "REPOSITORY|TAG|IMAGE ID|CREATED|SIZE|SHARED SIZE|UNIQUE SIZE|CONTAINERS";
    let mut rows = vec![header(columns)];
    let users = users(&seen.images);
    for image in &seen.images {
        let entry = &image.entry;
        let (repository, tag) = images::split_name(&entry.reference.name);
        let (shared, unique) = shared_and_unique(image, &users);
        let of_it = seen.containers.iter();
        let of_it = of_it.filter(|(c, _)| c.record.manifest == entry.reference.manifest);
        rows.push(vec![
            repository,
            tag,
            entry.id.short(),
            report::ago(entry.created.as_deref().and_then(report::instant), now),
            report::human_total(entry.size),
            report::human_total(shared),
            report::human_total(unique),
            of_it.count().to_string(),
        ]);
    }
    rows
}

fn container_rows(seen: &Seen, now: Timestamp) -> Vec<Vec<String>> {
    let columns = "CONTAINER ID|IMAGE|COMMAND|LOCAL VOLUMES|SIZE|CREATED|STATUS|NAMES";
    let mut rows = vec![header(columns)];
    let shown = seen
        .containers
        .iter()
        .map(|(c, size)| (ps::row(c, false, now), *size))
        .chain(
            seen.damaged
                .iter()
                .map(|(d, size)| (ps::damaged_row(d, false, now), *size)),
        );
    for (mut row, size) in shown {
        let mut take = |at: usize| std::mem::take(&mut row[at]);
        rows.push(vec![
            take(0),
            take(1),
            take(2),
            "0".to_owned(),
            report::human_total(size),
            take(3),
            take(4),
            take(6),
        ]);
    }
    rows
}
