//! Tables as docker prints them: no lines, three spaces between columns, ten columns at least.

use super::clean::clean;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

/// `rows` (the first is the header) as text, each line ended. Cells are cleaned here.
pub fn table<R: AsRef<str>>(rows: &[Vec<R>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell.as_ref()).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(10)));
    }
    let mut out = String::new();
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_docker() {
        let rows = [
            vec!["REPOSITORY", "TAG", "SIZE"],
            vec!["a/long/repository", "x\x1by", "1MB"],
            vec!["", "", ""],
        ];
        assert_eq!(
            table(&rows),
            "REPOSITORY          TAG       SIZE\na/long/repository   x\u{fffd}y       1MB\n\n"
        );
    }
}
