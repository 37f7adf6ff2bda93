//! Sizes and times as docker words them (docker/go-units).

use jiff::Timestamp;

/// Bytes as docker lists them: decimal units, three significant digits (`7.05MB`, `0B`).
pub fn human_size(bytes: u64) -> String {
    sized(bytes, 3)
}

/// Bytes as docker prints totals (`system df`, `Total reclaimed space`): four digits (`16.43MB`).
pub fn human_total(bytes: u64) -> String {
    sized(bytes, 4)
}

fn sized(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    // Exact until the last division: f64 holds 53 bits, and four digits are printed at most.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), UNITS[unit])
}

/// C's `%.3g` or `%.4g` for 0 <= value < 1000 (999.7 becomes `1e+03` with three digits there, and
/// here as in docker).
fn significant(value: f64, digits: usize) -> String {
    if value >= 999.5 && digits == 3 {
        return "1e+03".to_owned();
    }
    let whole = if value >= 100.0 {
        3
    } else if value >= 10.0 {
        2
    } else {
        1
    };
    let decimals = digits.saturating_sub(whole);
    let text = format!("{value:.decimals$}");
    // Rounding may have carried into another digit: 9.996 is 10, not 10.00.
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A duration as docker words it: `2 hours`, `About a minute`, `Less than a second`.
pub fn since(seconds: u64) -> String {
    let minutes = seconds / 60;
    // docker rounds hours to the nearest, and nothing else.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// How long before `now` the instant `then` was: `2 hours ago`. An instant that is not known, or
/// older than 1970 as reproducible builds write it, is as docker prints it: `N/A`.
pub fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    match then {
        Some(then) if then.as_second() > 0 => {
            let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
            format!("{} ago", since(seconds.unsigned_abs()))
        }
        _ => "N/A".to_owned(),
    }
}

/// Parses an RFC 3339 time as images and records write it.
pub fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234, "1.23kB"),
            (7_049_688, "7.05MB"),
            (9_996, "10kB"),
            (124_000_000, "124MB"),
            (999_700, "1e+03kB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (212, "212B"),
            (16_430_000, "16.43MB"),
            (1_092_600_000, "1.093GB"),
            (999_700, "999.7kB"),
            (124_000_000, "124MB"),
        ] {
            assert_eq!(human_total(bytes), text);
        }
    }

    #[test]
    fn durations_are_dockers() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (47 * 3600, "47 hours"),
            (3 * 86_400, "3 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(since(seconds), text, "{seconds}");
        }
        let now = Timestamp::from_second(10_000_000).unwrap();
        assert_eq!(ago(instant("1970-01-01T00:00:00Z"), now), "N/A");
        assert_eq!(ago(instant("1970-04-26T15:46:40Z"), now), "2 hours ago");
        // A clock that was ahead does not make a negative age.
        assert_eq!(
            ago(instant("2030-01-01T00:00:00Z"), now),
            "Less than a second ago"
        );
        assert_eq!(ago(instant("rubbish"), now), "N/A");
    }
}
