//! `lazaret ps`.

use super::{ContainerFilter, PsRequest, place};
use crate::container::record::{Container, Damaged, State, Survey};
use crate::error::Result;
use crate::image::ImageName;
use crate::report::{self, Column, Rows};
use jiff::Timestamp;

const fn column(field: &'static str, header: &'static str, shown: bool) -> Column {
    Column {
        field,
        header,
        shown,
    }
}

/// docker's columns.
const COLUMNS: &[Column] = &[
    column("ID", "CONTAINER ID", true),
    column("Image", "IMAGE", true),
    column("Command", "COMMAND", true),
    column("RunningFor", "CREATED", true),
    column("Status", "STATUS", true),
    column("Ports", "PORTS", true),
    column("Names", "NAMES", true),
    column("CreatedAt", "CREATED AT", false),
    column("State", "STATE", false),
    column("Labels", "LABELS", false),
    column("Mounts", "MOUNTS", false),
    column("Networks", "NETWORKS", false),
    column("LocalVolumes", "LOCAL VOLUMES", false),
    column("Size", "SIZE", false),
];

/// Prints containers: those that run, or all.
///
/// # Errors
/// `Usage`: the template; `Store`, `Io`: the records.
pub fn ps(request: &PsRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let all = match super::containers(store.as_ref())? {
        Some(containers) => containers.survey()?,
        // A store that is not there yet is an empty one.
        None => Survey::default(),
    };
    let now = Timestamp::now();
    tell_damaged(&all.damaged);
    let damaged = all.damaged.iter().filter(|d| shown_damaged(request, d));
    let damaged: Vec<_> = damaged
        .map(|d| damaged_row(d, request.no_trunc, now))
        .collect();
    let picked = pick(request, all.containers);
    let rows = picked.iter().map(|c| row(c, request.no_trunc, now));
    let rows = Rows {
        columns: COLUMNS,
        rows: rows.chain(damaged).collect(),
    };
    report::stdout(&if request.quiet {
        rows.render_field("ID")
    } else {
        rows.render(&request.layout)?
    })?;
    Ok(0)
}

/// docker's rules: `--filter status=` and `exited=` and `-n` look at all containers.
fn pick(request: &PsRequest, all: Vec<Container>) -> Vec<Container> {
    let of_all = request.all
        || request.last.is_some()
        || request
            .filters
            .iter()
            .any(|f| matches!(f, ContainerFilter::Status(_) | ContainerFilter::Exited(_)));
    let mut picked: Vec<_> = all
        .into_iter()
        .filter(|c| of_all || c.state == State::Running)
        .filter(|c| kinds_hold(&request.filters, c))
        .collect();
    if let Some(last) = request.last {
        picked.truncate(last);
    }
    picked
}

/// As with docker, filters of one kind are alternatives, and each kind must hold.
fn kinds_hold(filters: &[ContainerFilter], container: &Container) -> bool {
    filters.iter().all(|filter| {
        // Of labels, as with docker, each must be there.
        if matches!(filter, ContainerFilter::Label(..)) {
            return holds(filter, container);
        }
        let kind = std::mem::discriminant(filter);
        let mut same = filters
            .iter()
            .filter(|f| std::mem::discriminant(*f) == kind);
        same.any(|f| holds(f, container))
    })
}

fn holds(filter: &ContainerFilter, container: &Container) -> bool {
    let record = &container.record;
    match filter {
        ContainerFilter::Id(id) => record.id.starts_with(id.as_str()),
        ContainerFilter::Name(name) => record.name.contains(name.as_str()),
        ContainerFilter::Status(status) => state(container) == status,
        ContainerFilter::Label(key, value) => match (record.labels.get(key), value) {
            (Some(has), Some(wanted)) => has == wanted,
            (has, _) => has.is_some(),
        },
        ContainerFilter::Exited(code) => {
            matches!(container.state, State::Exited(end) if end.code == *code)
        }
        ContainerFilter::Ancestor(image) => {
            let named = ImageName::parse(image).map(|name| name.to_string());
            named.is_ok_and(|name| name == record.image)
                || (image.len() >= 12 && record.image_id.hex().starts_with(image.as_str()))
                || record.image_id.to_string() == *image
        }
    }
}

/// Says how damaged records are removed; nothing where there is none.
pub(super) fn tell_damaged(damaged: &[Damaged]) {
    if let Some(first) = damaged.first() {
        let others = match damaged.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        let short = first.short();
        report::note(&format!(
            "the record of container {short}{others} is damaged: {}; `lazaret rm -f {short}` removes it",
            first.why
        ));
    }
}

/// Of a damaged record nothing is known that a filter could ask for, but its id and its state.
fn shown_damaged(request: &PsRequest, damaged: &Damaged) -> bool {
    let state = damaged_state(damaged);
    let asked = |f: &ContainerFilter| match f {
        ContainerFilter::Id(id) => damaged.id.starts_with(id.as_str()),
        ContainerFilter::Status(status) => state == status,
        _ => false,
    };
    let of_all = request.all
        || damaged.running
        || request
            .filters
            .iter()
            .any(|f| matches!(f, ContainerFilter::Status(_)));
    of_all && request.last.is_none() && request.filters.iter().all(asked)
}

fn damaged_state(damaged: &Damaged) -> &'static str {
    match damaged.running {
        true => "running",
        false => "dead",
    }
}

pub(super) fn damaged_row(damaged: &Damaged, no_trunc: bool, now: Timestamp) -> Vec<String> {
    let written = instant(damaged.written);
    let mut row = vec![String::new(); COLUMNS.len()];
    row[0] = match no_trunc {
        true => damaged.id.clone(),
        false => damaged.short(),
    };
    row[1] = "<damaged>".to_owned();
    row[3] = report::ago(Some(written), now);
    row[4] = match damaged.running {
        true => "Up (damaged record)",
        false => "Dead (damaged record)",
    }
    .to_owned();
    row[7] = written.to_string();
    row[8] = damaged_state(damaged).to_owned();
    row
}

/// docker's word for a state; a container whose supervisor was killed is `dead`.
pub(super) fn state(container: &Container) -> &'static str {
    match container.state {
        State::Running => "running",
        State::Exited(_) => "exited",
        State::Killed => "dead",
    }
}

pub(super) fn row(container: &Container, no_trunc: bool, now: Timestamp) -> Vec<String> {
    let record = &container.record;
    let created = instant(record.created);
    let command = record.argv.join(" ");
    let command = if no_trunc {
        command
    } else {
        shorten(&command, 20)
    };
    let id_length = if no_trunc { 64 } else { 12 };
    let image = match ImageName::parse(&record.image) {
        Ok(ImageName::Registry(reference)) => reference.familiar(),
        _ => record.image.clone(),
    };
    let status = match container.state {
        State::Running => {
            let up = now.as_second() - created.as_second();
            format!("Up {}", report::since(up.max(0).unsigned_abs()))
        }
        State::Exited(end) => {
            let ended = instant(end.at);
            format!("Exited ({}) {}", end.code, report::ago(Some(ended), now))
        }
        State::Killed => "Dead".to_owned(),
    };
    let labels = record
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let labels: Vec<String> = labels.collect();
    vec![
        record.id.chars().take(id_length).collect(),
        image,
        format!("{command:?}"),
        report::ago(Some(created), now),
        status,
        String::new(),
        record.name.clone(),
        created.to_string(),
        state(container).to_owned(),
        labels.join(","),
        String::new(),
        "none".to_owned(),
        "0".to_owned(),
        String::new(),
    ]
}

/// At most `most` characters, the last of them an ellipsis if there were more.
fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Milliseconds since 1970 as a time; one that no calendar has is the epoch.
pub(super) fn instant(millis: u64) -> Timestamp {
    i64::try_from(millis)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::End;
    use crate::report::Layout;

    const HOUR: u64 = 3_600_000;

    /// Records can only be read, so these are.
    fn container(name: &str, hours: u64, state: State) -> Container {
        let digest = crate::image::Digest::of(b"config");
        let record = serde_json::json!({
            "version": 1, "id": format!("{:064x}", hours), "name": name,
            "image": "docker.io/library/busybox:latest", "image_id": digest.to_string(),
            "manifest": digest.to_string(), "argv": ["sh", "-c", "echo \u{1b}[2J; sleep 1000"],
            "created": 1_000_000_000_000u64 - hours * HOUR, "pid": 1, "ephemeral": false,
            "owners": "caller", "end": null,
        });
        Container {
            record: serde_json::from_value(record).unwrap(),
            state,
        }
    }

    fn all() -> Vec<Container> {
        let end = |code| End {
            code,
            at: 1_000_000_000_000,
        };
        vec![
            container("web", 2, State::Running),
            container("old-web", 50, State::Exited(end(3))),
            container("gone", 60, State::Killed),
        ]
    }

    fn request() -> PsRequest {
        PsRequest {
            all: false,
            last: None,
            filters: Vec::new(),
            no_trunc: false,
            quiet: false,
            layout: Layout::Table(None),
        }
    }

    fn names(request: &PsRequest) -> Vec<String> {
        pick(request, all())
            .into_iter()
            .map(|c| c.record.name)
            .collect()
    }

    #[test]
    fn which_are_shown() {
        assert_eq!(names(&request()), ["web"]);
        let mut asked = request();
        asked.all = true;
        assert_eq!(names(&asked), ["web", "old-web", "gone"]);
        asked.filters = vec![ContainerFilter::Name("web".to_owned())];
        assert_eq!(names(&asked), ["web", "old-web"]);
        let mut asked = request();
        asked.last = Some(2);
        assert_eq!(names(&asked), ["web", "old-web"]);
        let mut asked = request();
        asked.filters = vec![ContainerFilter::Exited(3)];
        assert_eq!(names(&asked), ["old-web"]);
        asked.filters.push(ContainerFilter::Exited(0));
        assert_eq!(names(&asked), ["old-web"]);
        asked.filters.push(ContainerFilter::Name("gone".to_owned()));
        assert!(names(&asked).is_empty());
        for image in ["busybox", "docker.io/library/busybox:latest"] {
            asked.filters = vec![ContainerFilter::Ancestor(image.to_owned())];
            assert_eq!(names(&asked), ["web"]);
        }
        asked.filters = vec![ContainerFilter::Ancestor("busybox:1".to_owned())];
        assert!(names(&asked).is_empty());
    }

    #[test]
    fn as_docker_prints_them() {
        let now = Timestamp::from_second(1_000_000_060).unwrap();
        let rows = Rows {
            columns: COLUMNS,
            rows: all().iter().map(|c| row(c, false, now)).collect(),
        };
        let text = rows.render(&Layout::Table(None)).unwrap();
        insta::assert_snapshot!(text, @r#"
        CONTAINER ID   IMAGE            COMMAND                       CREATED       STATUS                          PORTS     NAMES
        000000000000   busybox:latest   "sh -c echo \u{1b}[2J; sl…"   2 hours ago   Up 2 hours                                web
        000000000000   busybox:latest   "sh -c echo \u{1b}[2J; sl…"   2 days ago    Exited (3) About a minute ago             old-web
        000000000000   busybox:latest   "sh -c echo \u{1b}[2J; sl…"   2 days ago    Dead                                      gone
        "#);
    }
}
