//! A point in time as docker's filters are written.

use super::values;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `24h` before `now`; seconds since 1970 (`1767225600`, `1767225600.5`); a date (`2026-01-31`,
/// `2026-01-31T12:00:00`, UTC where it names no zone); RFC 3339. In seconds since 1970; `None`: it is
/// none of these.
pub fn instant(text: &str, now: Timestamp) -> Option<i64> {
    let number = text.split('.').next().unwrap_or_default();
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if digits(number) && text.split('.').skip(1).all(digits) && text.split('.').count() <= 2 {
        return number.parse().ok();
    }
    if let Ok(before) = values::duration("until", text) {
        return now
            .as_second()
            .checked_sub(i64::try_from(before.as_secs()).ok()?);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_second());
    }
    let at: DateTime = text.parse().ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_takes_them() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (text, want) in [
            ("24h", Some(1_000_000 - 86_400)),
            ("1h30m", Some(1_000_000 - 5_400)),
            ("1767225600", Some(1_767_225_600)),
            ("1767225600.123456789", Some(1_767_225_600)),
            ("2026-01-01", Some(1_767_225_600)),
            ("2026-01-01T00:00:01", Some(1_767_225_601)),
            ("2026-01-01T00:00", Some(1_767_225_600)),
            ("2026-01-01T01:00:00+01:00", Some(1_767_225_600)),
            ("2026-01-01T00:00:00.5Z", Some(1_767_225_600)),
            ("0", Some(0)),
            ("", None),
            ("yesterday", None),
            ("2026-13-01", None),
            ("-5", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(instant(text, now), want, "{text}");
        }
    }
}
