//! `--timings`: how long each stage took.

use super::Format;
use super::clean::{clean, json};
use super::out::stderr;
use std::fmt::Write as _;
use std::time::Duration;

/// Prints the stages in their order on standard error (standard output is the command's), in
/// microseconds, with their sum. A name that begins with a space is a part of the stage above it,
/// and is not added again.
pub fn timings(stages: &[(&str, Duration)], format: Format) {
    stderr(&match format {
        Format::Text => as_text(stages),
        Format::Json => {
            let stages: Vec<_> = stages
                .iter()
                .map(|(stage, time)| {
                    serde_json::json!({
                        "stage": stage.trim_start(),
                        "part": is_part(stage),
                        "us": micros(*time),
                    })
                })
                .collect();
            json(&serde_json::json!({ "timings": stages })) + "\n"
        }
    });
}

fn is_part(stage: &str) -> bool {
    stage.starts_with(' ')
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn as_text(stages: &[(&str, Duration)]) -> String {
    let whole = stages.iter().filter(|(stage, _)| !is_part(stage));
    let total: Duration = whole.map(|(_, time)| *time).sum();
    let mut out = String::from("STAGE                         MICROSECONDS\n");
    for (stage, time) in stages.iter().chain([&("total", total)]) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{:<30}{:>12}", clean(stage), micros(*time));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_their_sum() {
        let stages = [
            ("find image", Duration::from_micros(120)),
            ("run", Duration::from_millis(3)),
            ("  mount /", Duration::from_millis(1)),
        ];
        insta::assert_snapshot!(as_text(&stages), @r"
        STAGE                         MICROSECONDS
        find image                             120
        run                                   3000
          mount /                             1000
        total                                 3120
        ");
    }
}
