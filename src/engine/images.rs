//! `lazaret images`.

mod tree;

use super::{ImageFilter, ImagesRequest, find, place};
use crate::error::Result;
use crate::image::{ImageName, Reference};
use crate::report::{self, Column, Rows};
use crate::store::{ImageEntry, Store};
use jiff::Timestamp;

const fn column(field: &'static str, header: &'static str, shown: bool) -> Column {
    Column {
        field,
        header,
        shown,
    }
}

macro_rules! columns {
    ($digests:literal) => {
        &[
            column("Repository", "REPOSITORY", true),
            column("Tag", "TAG", true),
            column("Digest", "DIGEST", $digests),
            column("ID", "IMAGE ID", true),
            column("CreatedSince", "CREATED", true),
            column("Size", "SIZE", true),
            column("CreatedAt", "CREATED AT", false),
            column("Containers", "CONTAINERS", false),
            column("SharedSize", "SHARED SIZE", false),
            column("UniqueSize", "UNIQUE SIZE", false),
            column("VirtualSize", "VIRTUAL SIZE", false),
        ]
    };
}

/// docker's columns.
const COLUMNS: &[Column] = columns!(false);
const COLUMNS_WITH_DIGESTS: &[Column] = columns!(true);

/// Prints images, newest first.
///
/// # Errors
/// `Usage`: the template; `NotFound`: an image of a filter; `Store`, `Io`.
pub fn images(request: &ImagesRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let mut all = match &store {
        Some(store) => store.images()?,
        None => Vec::new(),
    };
    if let Some(store) = &store {
        let damaged = store.refs()?.len().saturating_sub(all.len());
        if damaged > 0 {
            report::note(&format!(
                "{damaged} damaged images are left out: lazaret verify -a names them"
            ));
        }
    }
    let limits = limits(store.as_ref(), &request.filters)?;
    all.retain(|entry| wanted(request, &limits, entry));
    all.sort_by_key(|entry| std::cmp::Reverse(created(entry)));
    if request.tree {
        let (images, whole) = match &store {
            Some(store) => (store.layered(all)?, store.layered(store.images()?)?),
            None => (Vec::new(), Vec::new()),
        };
        report::stdout(&tree::text(
            &images,
            &whole,
            report::Screen::stdout().columns,
        ))?;
        return Ok(0);
    }
    let now = Timestamp::now();
    let rows = Rows {
        columns: if request.digests {
            COLUMNS_WITH_DIGESTS
        } else {
            COLUMNS
        },
        rows: all.iter().map(|e| row(e, request.no_trunc, now)).collect(),
    };
    report::stdout(&if request.quiet {
        rows.render_field("ID")
    } else {
        rows.render(&request.layout)?
    })?;
    Ok(0)
}

fn created(entry: &ImageEntry) -> Option<Timestamp> {
    entry.created.as_deref().and_then(report::instant)
}

/// What `before=` and `since=` mean: times.
#[derive(Debug, Default)]
struct Limits {
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

fn limits(store: Option<&Store>, filters: &[ImageFilter]) -> Result<Limits> {
    let mut limits = Limits::default();
    for filter in filters {
        let time = |name: &str| -> Result<Option<Timestamp>> {
            let found = find::image(store, name)?;
            Ok(found.entries.first().and_then(created))
        };
        match filter {
            ImageFilter::Before(name) => limits.before = time(name)?,
            ImageFilter::Since(name) => limits.since = time(name)?,
            _ => {}
        }
    }
    Ok(limits)
}

/// As with docker, all filters hold, but of several references one is enough.
fn wanted(request: &ImagesRequest, limits: &Limits, entry: &ImageEntry) -> bool {
    let mut references = request.filters.iter().filter_map(|filter| match filter {
        ImageFilter::Reference(pattern) => Some(pattern.as_str()),
        _ => None,
    });
    let has_references = references.clone().next().is_some();
    let named = request.name.iter().all(|name| is_called(entry, name));
    let referred = !has_references || references.any(|pattern| is_called(entry, pattern));
    named
        && referred
        && request.filters.iter().all(|filter| match filter {
            // Every image of the store has a name.
            ImageFilter::Dangling(dangling) => !dangling,
            ImageFilter::Label(key, value) => match (entry.labels.get(key), value) {
                (Some(has), Some(value)) => has == value,
                (Some(_), None) => true,
                (None, _) => false,
            },
            ImageFilter::Before(_) => created(entry) < limits.before,
            ImageFilter::Since(_) => created(entry) > limits.since,
            ImageFilter::Reference(_) => true,
        })
}

/// distribution/reference, `FamiliarMatch`: the pattern fits the familiar name with or without its
/// tag; or it is the whole name.
fn is_called(entry: &ImageEntry, pattern: &str) -> bool {
    let (repository, tag) = split_name(&entry.reference.name);
    glob(pattern, &repository)
        || glob(pattern, &format!("{repository}:{tag}"))
        || pattern == entry.reference.name
}

/// Go's path.Match without its classes: `*` and `?` stop at a slash.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some('?') if text[t] != '/' => {
                p += 1;
                t += 1;
            }
            Some(c) if *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // The last star takes one more, but never a slash.
                Some((sp, st)) if text[st] != '/' => {
                    star = Some((sp, st + 1));
                    p = sp + 1;
                    t = st + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// `REPOSITORY` and `TAG` of a name, as docker shows them.
pub(super) fn split_name(name: &str) -> (String, String) {
    let none = || "<none>".to_owned();
    match ImageName::parse(name) {
        Ok(ImageName::Registry(reference)) => {
            let tag = reference.tag.clone().unwrap_or_else(none);
            (repository(&reference), tag)
        }
        Ok(ImageName::OciDir { path, tag, .. }) => {
            (format!("oci:{path}"), tag.unwrap_or_else(none))
        }
        Ok(ImageName::OciArchive { path, tag }) => {
            (format!("oci-archive:{path}"), tag.unwrap_or_else(none))
        }
        _ => (name.to_owned(), none()),
    }
}

/// A reference's familiar name without its tag.
fn repository(reference: &Reference) -> String {
    // The familiar form depends on tag and digest only where they are written.
    let familiar = Reference {
        tag: Some("latest".to_owned()),
        digest: None,
        ..reference.clone()
    }
    .familiar();
    match familiar.strip_suffix(":latest") {
        Some(name) => name.to_owned(),
        None => familiar,
    }
}

fn row(entry: &ImageEntry, no_trunc: bool, now: Timestamp) -> Vec<String> {
    let (repository, tag) = split_name(&entry.reference.name);
    let created = created(entry);
    let size = report::human_size(entry.size);
    let not_known = || "N/A".to_owned();
    vec![
        repository,
        tag,
        entry.reference.manifest.to_string(),
        if no_trunc {
            entry.id.to_string()
        } else {
            entry.id.short()
        },
        report::ago(created, now),
        size.clone(),
        created.map_or_else(not_known, |time| time.to_string()),
        not_known(),
        not_known(),
        not_known(),
        size,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        for (pattern, text, fits) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("*", "busybox", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a/*", "a/b:1", true),
            ("b?sybox", "busybox", true),
            ("b?sybox", "bsybox", false),
            ("*x", "busybox", true),
            ("*s*b*", "busybox", true),
            ("", "", true),
            ("", "a", false),
            ("a**", "a", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
        // No pattern takes more than pattern times text.
        assert!(!glob(&"*a".repeat(200), &"a".repeat(199)));
    }

    #[test]
    fn names_are_split_as_docker_shows_them() {
        for (name, repository, tag) in [
            ("docker.io/library/busybox:latest", "busybox", "latest"),
            ("docker.io/me/x:1", "me/x", "1"),
            ("localhost:5000/x:1", "localhost:5000/x", "1"),
            ("oci:/srv/debian:stable", "oci:/srv/debian", "stable"),
            ("oci:/srv/debian", "oci:/srv/debian", "<none>"),
            ("builtin:probe", "builtin:probe", "<none>"),
        ] {
            let want = (repository.to_owned(), tag.to_owned());
            assert_eq!(split_name(name), want, "{name}");
        }
    }
}
