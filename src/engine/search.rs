//! `lazaret search`.

use super::{SearchRequest, online};
use crate::error::Result;
use crate::registry::{Client, Found};
use crate::report::{self, Column, Rows};

/// Characters of a description that are shown in a table, as docker cuts them.
const SHOWN: usize = 45;

const fn column(field: &'static str, header: &'static str, shown: bool) -> Column {
    Column {
        field,
        header,
        shown,
    }
}

/// docker's columns.
const COLUMNS: &[Column] = &[
    column("Name", "NAME", true),
    column("Description", "DESCRIPTION", true),
    column("StarCount", "STARS", true),
    column("IsOfficial", "OFFICIAL", true),
    column("IsAutomated", "AUTOMATED", false),
];

/// Prints the repositories that docker.io's index, or a registry's catalogue, has for a term.
///
/// # Errors
/// `Usage`: the template; `Registry` and others: there is no answer.
pub fn search(request: &SearchRequest) -> Result<u8> {
    let (term, limit) = (request.term.as_str(), request.limit);
    let found: Vec<Found> = match &request.registry {
        Some(registry) => {
            let options = online::options(registry, "", &request.insecure)?;
            online::ask(|| Client::new(&options)?.catalog(registry, term, limit))?
        }
        // Nobody's name is needed there, and none is told.
        None => {
            let options = online::anonymous("docker.io", &request.insecure)?;
            online::ask(|| Client::new(&options)?.search(term, limit))?
        }
    };
    let rows = Rows {
        columns: COLUMNS,
        rows: found
            .iter()
            .take(limit)
            .map(|found| row(found, request.no_trunc))
            .collect(),
    };
    report::stdout(&rows.render(&request.layout)?)?;
    Ok(0)
}

fn row(found: &Found, no_trunc: bool) -> Vec<String> {
    let ok = |is: bool| if is { "[OK]" } else { "" }.to_owned();
    let description = found.description.replace(['\n', '\r'], " ");
    let cut = !no_trunc && description.chars().count() > SHOWN;
    vec![
        found.name.clone(),
        match cut {
            true => description.chars().take(SHOWN - 1).chain(['…']).collect(),
            false => description,
        },
        found.stars.to_string(),
        ok(found.official),
        ok(found.automated),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_cut_as_docker_cuts_them() {
        let found = Found {
            name: "x".into(),
            description: "ä\n".repeat(40),
            stars: 3,
            official: true,
            automated: false,
        };
        let row_of = row(&found, false);
        assert_eq!(row_of[1].chars().count(), SHOWN);
        assert!(row_of[1].starts_with("ä ä ") && row_of[1].ends_with('…'));
        assert_eq!(row(&found, true)[1].chars().count(), 80);
        assert_eq!(row_of[2..], ["3", "[OK]", ""]);
    }
}
