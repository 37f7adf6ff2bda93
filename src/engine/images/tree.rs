//! `images --tree`: each image with its layers, and with whom it shares them.

use super::split_name;
use crate::engine::df::{shared_and_unique, users};
use crate::image::LayerId;
use crate::report;
use crate::store::Layered;
use std::collections::{BTreeMap, BTreeSet};

/// The widest a line is where nobody said how wide the terminal is.
const WIDTH: usize = 60;

/// The images, in their order, in lines of at most `width` columns, where their names allow it.
pub(super) fn text(images: &[Layered], all: &[Layered], width: Option<usize>) -> String {
    let width = width.unwrap_or(WIDTH).min(100);
    let users = users(all);
    let names = names(all);
    let mut out = String::new();
    for image in images {
        let (shared, unique) = shared_and_unique(image, &users);
        out.push_str(&report::clean(&name(image)));
        out.push('\n');
        let (shared, unique) = (report::human_total(shared), report::human_total(unique));
        out.push_str(&format!(
            "   {}  {shared} shared, {unique} its own\n",
            image.entry.id.short()
        ));
        for (at, layer) in image.layers.iter().enumerate() {
            let last = at + 1 == image.layers.len();
            let (branch, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let size = report::human_total(layer.size);
            let mut line = format!("{}  {size:>9}", layer.id.blob.short());
            let others = names.get(&layer.id).into_iter().flatten();
            let others: Vec<&str> = others
                .filter(|(id, _)| *id != image.entry.id)
                .map(|(_, name)| &name[..])
                .collect();
            if !others.is_empty() {
                let others = format!("also in {}", others.join(", "));
                line.push_str("\n      ");
                line.push_str(&report::wrap(&report::clean(&others), width, 6, 6));
            }
            out.push_str(branch);
            out.push_str(&line.replace("\n   ", &format!("\n{below}")));
            out.push('\n');
        }
    }
    out.push_str(&total(all, &users, width));
    out
}

/// What sharing saves.
fn total(all: &[Layered], users: &BTreeMap<LayerId, u64>, width: usize) -> String {
    let mut seen = BTreeSet::new();
    let images: Vec<_> = all.iter().filter(|i| seen.insert(i.entry.id)).collect();
    let mut layers = BTreeMap::new();
    let mut apart = 0u64;
    for layer in images.iter().flat_map(|i| &i.layers) {
        layers.insert(layer.id, layer.size);
        apart = apart.saturating_add(layer.size);
    }
    let together = layers
        .values()
        .fold(0u64, |sum, size| sum.saturating_add(*size));
    let shared = users.values().filter(|users| **users > 1).count();
    let line = format!(
        "{} images, {} layers, {shared} of them shared: {}, without sharing {}",
        images.len(),
        layers.len(),
        report::human_total(together),
        report::human_total(apart)
    );
    report::wrap(&line, width, 0, 0) + "\n"
}

fn name(image: &Layered) -> String {
    let (repository, tag) = split_name(&image.entry.reference.name);
    match &tag[..] {
        "<none>" => repository,
        tag => format!("{repository}:{tag}"),
    }
}

/// Each layer's images: their ids, each with its first name.
fn names(all: &[Layered]) -> BTreeMap<LayerId, Vec<(crate::image::Digest, String)>> {
    let mut names: BTreeMap<LayerId, Vec<_>> = BTreeMap::new();
    for image in all {
        let name = name(image);
        for layer in &image.layers {
            let known = names.entry(layer.id).or_default();
            if !known.iter().any(|(id, _)| *id == image.entry.id) {
                known.push((image.entry.id, name.clone()));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DiffId, Digest, Platform};
    use crate::store::{ImageEntry, Layer, Ref};

    fn image(name: &str, layers: &[(&str, u64)]) -> Layered {
        let layers: Vec<Layer> = layers
            .iter()
            .map(|(bytes, size)| Layer {
                id: LayerId {
                    diff_id: DiffId(Digest::of(bytes.as_bytes())),
                    blob: Digest::of(bytes.as_bytes()),
                },
                size: *size,
            })
            .collect();
        Layered {
            entry: ImageEntry {
                reference: Ref {
                    name: name.to_owned(),
                    manifest: Digest::of(name.as_bytes()),
                    media_type: String::new(),
                    size: 0,
                    platform: Platform::native(),
                    source: String::new(),
                    stored: 0,
                },
                id: Digest::of(name.as_bytes()),
                created: None,
                labels: BTreeMap::new(),
                size: layers.iter().map(|l| l.size).sum(),
                layers: layers.len(),
            },
            layers,
        }
    }

    #[test]
    fn sixty_columns() {
        let all = [
            image("docker.io/library/debian:stable", &[("base", 120_000_000)]),
            image(
                "registry.example:5000/team/tool:1",
                &[("base", 120_000_000), ("tool\u{1b}", 1_234)],
            ),
            image(
                "docker.io/library/app:2",
                &[("base", 120_000_000), ("app", 5)],
            ),
        ];
        let text = text(&all, &all, Some(60));
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        insta::assert_snapshot!(text, @"
        debian:stable
           d172560429a6  120MB shared, 0B its own
        └─ cae662172fd4      120MB
              also in registry.example:5000/team/tool:1, app:2
        registry.example:5000/team/tool:1
           b598fb7cd162  120MB shared, 1.234kB its own
        ├─ cae662172fd4      120MB
        │     also in debian:stable, app:2
        └─ 6102b0e20d57    1.234kB
        app:2
           5c0dbdf2c8be  120MB shared, 5B its own
        ├─ cae662172fd4      120MB
        │     also in debian:stable,
        │     registry.example:5000/team/tool:1
        └─ a172cedcae47         5B
        3 images, 3 layers, 1 of them shared: 120MB, without sharing
        360MB
        ");
        // What is not shown is shared all the same.
        let one = super::text(&all[..1], &all, None);
        assert!(one.contains("120MB shared, 0B its own"), "{one}");
    }
}
