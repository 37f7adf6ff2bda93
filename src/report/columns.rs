//! What `ps`, `images` and `system df` list, in each form that docker's `--format` knows.

use super::clean::{clean, json};
use super::table::table;
use super::template::Template;
use crate::error::Result;
use serde_json::Value;

/// A field of a listing.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in templates and JSON: `Repository`.
    pub field: &'static str,
    /// Its header in a table: `REPOSITORY`.
    pub header: &'static str,
    /// It stands in the table that is printed unasked.
    pub shown: bool,
}

/// How a listing is printed.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// A table: of the columns that are shown unasked, or of what a template picks.
    Table(Option<Template>),
    /// One JSON object per line.
    Json,
    /// A template per row.
    Lines(Template),
}

impl Layout {
    /// Reads `--format`: `table`, `table TEMPLATE`, `json` or `TEMPLATE`, where `\t` and `\n` may
    /// be written out.
    ///
    /// # Errors
    /// `Usage`: not a template.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        match text {
            "" | "table" => return Ok(Self::Table(None)),
            "json" => return Ok(Self::Json),
            _ => {}
        }
        let unescape = |t: &str| t.replace("\\t", "\t").replace("\\n", "\n");
        Ok(match text.strip_prefix("table ") {
            Some(columns) => Self::Table(Some(Template::parse(&unescape(columns.trim()))?)),
            None => Self::Lines(Template::parse(&unescape(text))?),
        })
    }
}

/// A listing.
#[derive(Debug, Clone)]
pub struct Rows {
    /// What each row has.
    pub columns: &'static [Column],
    /// One cell per column, in their order.
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    /// The listing as text.
    ///
    /// # Errors
    /// `Usage`: the template asks for a field that is not there.
    pub fn render(&self, layout: &Layout) -> Result<String> {
        match layout {
            Layout::Table(None) => Ok(self.plain_table()),
            Layout::Table(Some(template)) => {
                let headers = object(self.columns.iter().map(|c| (c.field, c.header)));
                let mut lines = vec![template.render_headers(&headers)?];
                for row in &self.rows {
                    lines.push(template.render(&self.row(row, Text::Clean))?);
                }
                let cells: Vec<Vec<&str>> = lines.iter().map(|l| l.split('\t').collect()).collect();
                Ok(table(&cells))
            }
            Layout::Json => {
                let lines = self.rows.iter().map(|row| json(&self.row(row, Text::Raw)));
                Ok(lines.map(|line| line + "\n").collect())
            }
            Layout::Lines(template) => {
                let mut out = String::new();
                // A field that does not exist is a mistake on an empty store too.
                if self.rows.is_empty() {
                    let headers = object(self.columns.iter().map(|c| (c.field, c.header)));
                    template.render(&headers)?;
                }
                for row in &self.rows {
                    out.push_str(&template.render(&self.row(row, Text::Clean))?);
                    out.push('\n');
                }
                Ok(out)
            }
        }
    }

    /// Only one field of each row, as `-q` prints ids.
    pub fn render_field(&self, field: &str) -> String {
        let at = self.columns.iter().position(|c| c.field == field);
        let cells = self.rows.iter().filter_map(|row| row.get(at?));
        cells.map(|cell| clean(cell).into_owned() + "\n").collect()
    }

    fn plain_table(&self) -> String {
        let pick = |cells: &mut dyn Iterator<Item = String>| {
            let shown = self.columns.iter().zip(cells).filter(|(c, _)| c.shown);
            shown.map(|(_, cell)| cell).collect::<Vec<_>>()
        };
        let mut rows = vec![pick(&mut self.columns.iter().map(|c| c.header.to_owned()))];
        rows.extend(self.rows.iter().map(|row| pick(&mut row.iter().cloned())));
        table(&rows)
    }

    fn row(&self, row: &[String], text: Text) -> Value {
        object(self.columns.iter().zip(row).map(|(column, cell)| {
            let cell = match text {
                Text::Raw => cell.clone(),
                Text::Clean => clean(cell).into_owned(),
            };
            (column.field, cell)
        }))
    }
}

/// Whether cells go through [`clean`]; JSON escapes instead.
#[derive(Clone, Copy)]
enum Text {
    Raw,
    Clean,
}

fn object<S: Into<String>>(pairs: impl Iterator<Item = (&'static str, S)>) -> Value {
    let pairs = pairs.map(|(field, cell)| (field.to_owned(), Value::String(cell.into())));
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 3]]) -> Rows {
        Rows {
            columns: &[
                Column {
                    field: "ID",
                    header: "IMAGE ID",
                    shown: true,
                },
                Column {
                    field: "Name",
                    header: "NAME",
                    shown: true,
                },
                Column {
                    field: "Extra",
                    header: "EXTRA",
                    shown: false,
                },
            ],
            rows: rows
                .iter()
                .map(|r| r.iter().map(|c| (*c).to_owned()).collect())
                .collect(),
        }
    }

    fn render(format: &str) -> String {
        let rows = rows(&[["1", "one\x1b", "x"], ["2", "two", "y"]]);
        match Layout::parse(format).and_then(|l| rows.render(&l)) {
            Ok(text) => text,
            Err(e) => format!("ERR {}", e.cause),
        }
    }

    #[test]
    fn every_layout() {
        assert_eq!(
            render("table"),
            "IMAGE ID   NAME\n1          one\u{fffd}\n2          two\n"
        );
        assert_eq!(
            render(r"table {{.Extra}}\t{{upper .Name}}"),
            "EXTRA     NAME\nx         ONE\u{fffd}\ny         TWO\n"
        );
        assert_eq!(render("{{.ID}}:{{.Extra}}"), "1:x\n2:y\n");
        assert_eq!(
            render("json"),
            "{\"Extra\":\"x\",\"ID\":\"1\",\"Name\":\"one\\u001b\"}\n{\"Extra\":\"y\",\"ID\":\"2\",\"Name\":\"two\"}\n"
        );
        assert_eq!(render("{{.No}}"), "ERR --format: there is no field \"No\"");
        let empty = rows(&[]);
        assert_eq!(
            empty.render(&Layout::Table(None)).unwrap(),
            "IMAGE ID   NAME\n"
        );
        assert_eq!(empty.render(&Layout::Json).unwrap(), "");
        assert!(empty.render(&Layout::parse("{{.No}}").unwrap()).is_err());
        assert_eq!(
            empty.render(&Layout::parse("{{.ID}}").unwrap()).unwrap(),
            ""
        );
        assert_eq!(rows(&[["1", "a", "b"]]).render_field("ID"), "1\n");
    }
}
