//! `images`, `ps`, `system df` and `prune`: argv -> requests.

use super::args::{ContainerPruneArgs, DfArgs, ImagesArgs, PruneArgs, PsArgs};
use crate::engine::{
    ContainerFilter, DfRequest, ImageFilter, ImagesRequest, Prune, PruneFilter, PruneRequest,
    PsRequest,
};
use crate::error::{Error, Kind, Result};
use crate::report::Layout;

/// `images`.
///
/// # Errors
/// `Usage`: a template or filter that is none.
pub fn images(args: ImagesArgs) -> Result<ImagesRequest> {
    Ok(ImagesRequest {
        name: args.name,
        filters: args
            .filter
            .iter()
            .map(|f| image_filter(f))
            .collect::<Result<_>>()?,
        no_trunc: args.no_trunc,
        quiet: args.quiet,
        digests: args.digests,
        tree: args.tree,
        layout: layout(args.format)?,
    })
}

/// `ps`.
///
/// # Errors
/// `Usage`: a template or filter that is none.
pub fn ps(args: PsArgs) -> Result<PsRequest> {
    Ok(PsRequest {
        all: args.all,
        last: if args.latest { Some(1) } else { args.last },
        filters: args
            .filter
            .iter()
            .map(|f| container_filter(f))
            .collect::<Result<_>>()?,
        no_trunc: args.no_trunc,
        quiet: args.quiet,
        layout: layout(args.format)?,
    })
}

/// `system df`.
///
/// # Errors
/// `Usage`: a template that is none.
pub fn df(args: DfArgs) -> Result<DfRequest> {
    Ok(DfRequest {
        verbose: args.verbose,
        layout: layout(args.format)?,
    })
}

/// `image prune` and `system prune`.
///
/// # Errors
/// `Usage`: a filter that is none.
pub fn prune(what: Prune, args: PruneArgs) -> Result<PruneRequest> {
    Ok(PruneRequest {
        what,
        all: args.all,
        force: args.force,
        filters: prune_filters(&args.filter)?,
    })
}

/// `container prune`.
///
/// # Errors
/// As [`prune`].
pub fn container_prune(args: ContainerPruneArgs) -> Result<PruneRequest> {
    Ok(PruneRequest {
        what: Prune::Containers,
        all: false,
        force: args.force,
        filters: prune_filters(&args.filter)?,
    })
}

fn prune_filters(filters: &[String]) -> Result<Vec<PruneFilter>> {
    let label = |text: &str| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    };
    let one = |filter: &String| {
        let (key, value) = split(filter)?;
        Ok(match key {
            "until" => {
                let now = jiff::Timestamp::now();
                let at = super::instant::instant(value, now).ok_or_else(|| {
                    Error::new(Kind::Usage, format!("--filter {filter:?} is not a time"))
                        .hint("write until=24h, until=2026-01-31, until=2026-01-31T12:00:00Z or seconds since 1970")
                })?;
                PruneFilter::Until(at, value.to_owned())
            }
            "label" => {
                let (key, value) = label(value);
                PruneFilter::Label(key, value)
            }
            "label!" => {
                let (key, value) = label(value);
                PruneFilter::NotLabel(key, value)
            }
            _ => return Err(unknown(filter, "until label label!")),
        })
    };
    filters.iter().map(one).collect()
}

fn layout(format: Option<String>) -> Result<Layout> {
    Layout::parse(&format.unwrap_or_default())
}

fn split(filter: &str) -> Result<(&str, &str)> {
    match filter.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key, value)),
        _ => Err(
            Error::new(Kind::Usage, format!("--filter {filter:?} is not a filter"))
                .hint("filters are written KEY=VALUE"),
        ),
    }
}

fn unknown(filter: &str, known: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("--filter {filter:?} is none that there is"),
    )
    .hint(format!("there are: {known}"))
}

fn image_filter(filter: &str) -> Result<ImageFilter> {
    let (key, value) = split(filter)?;
    Ok(match key {
        "dangling" => match value {
            "true" | "1" => ImageFilter::Dangling(true),
            "false" | "0" => ImageFilter::Dangling(false),
            _ => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("--filter {filter:?}: true or false is meant"),
                ));
            }
        },
        "reference" => ImageFilter::Reference(value.to_owned()),
        "label" => match value.split_once('=') {
            Some((label, value)) => ImageFilter::Label(label.to_owned(), Some(value.to_owned())),
            None => ImageFilter::Label(value.to_owned(), None),
        },
        "before" => ImageFilter::Before(value.to_owned()),
        "since" => ImageFilter::Since(value.to_owned()),
        _ => return Err(unknown(filter, "dangling reference label before since")),
    })
}

fn container_filter(filter: &str) -> Result<ContainerFilter> {
    let (key, value) = split(filter)?;
    Ok(match key {
        "id" => ContainerFilter::Id(value.to_owned()),
        "name" => ContainerFilter::Name(value.to_owned()),
        "ancestor" => ContainerFilter::Ancestor(value.to_owned()),
        "status" if ["created", "running", "exited", "dead"].contains(&value) => {
            ContainerFilter::Status(value.to_owned())
        }
        "label" => match value.split_once('=') {
            Some((label, value)) => {
                ContainerFilter::Label(label.to_owned(), Some(value.to_owned()))
            }
            None => ContainerFilter::Label(value.to_owned(), None),
        },
        "status" => {
            return Err(Error::new(
                Kind::Usage,
                format!("--filter {filter:?}: no container is ever {value}"),
            )
            .hint("there are: created running exited dead"));
        }
        "exited" => ContainerFilter::Exited(value.parse().map_err(|_| {
            Error::new(
                Kind::Usage,
                format!("--filter {filter:?} is not an exit code"),
            )
        })?),
        _ => return Err(unknown(filter, "id name status ancestor exited label")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        assert_eq!(
            image_filter("label=a=b=c").unwrap(),
            ImageFilter::Label("a".to_owned(), Some("b=c".to_owned()))
        );
        assert_eq!(
            image_filter("dangling=true").unwrap(),
            ImageFilter::Dangling(true)
        );
        assert_eq!(
            image_filter("until=1h").unwrap_err().kind,
            Kind::Unsupported
        );
        for filter in ["", "=", "dangling", "dangling=maybe", "reference="] {
            assert_eq!(
                image_filter(filter).unwrap_err().kind,
                Kind::Usage,
                "{filter}"
            );
        }
        assert_eq!(
            container_filter("exited=137").unwrap(),
            ContainerFilter::Exited(137)
        );
        for filter in ["exited=256", "status=paused", "exited=x"] {
            assert_eq!(
                container_filter(filter).unwrap_err().kind,
                Kind::Usage,
                "{filter}"
            );
        }
        assert_eq!(
            container_filter("volume=x").unwrap_err().kind,
            Kind::Unsupported
        );
    }
}
