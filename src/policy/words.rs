//! Words of strangers in cures: quoted as TOML, harmless on a terminal.

use std::fmt::Write;
use std::time::Duration;

/// `text` as a TOML basic string. Control and format characters (terminal escapes, bidi overrides,
/// invisible ones) are escaped, so that what is shown is what would be pasted.
pub fn toml(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            // char::escape_debug keeps what has a width and a shape of its own.
            _ if c.escape_debug().len() == 1 => out.push(c),
            _ => {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// The strings as a TOML array.
pub fn toml_array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = texts.into_iter().map(toml).collect();
    format!("[{}]", quoted.join(", "))
}

/// Bytes as a person writes them: `512MiB`, exact, or plain bytes.
pub fn size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Reads what [`size`] writes, and `25%` of `whole`. Units are binary: `k`, `kb`, `KiB` are 1024.
pub fn parse_size(text: &str, whole: u64) -> Option<u64> {
    let text = text.trim();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 = percent.parse().ok().filter(|p| *p <= 100)?;
        return Some(whole / 100 * percent);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Reads processors: `2`, `0.5`, `1.25`; in thousandths, from 0.01 (which is the least that a cgroup
/// takes) to 8192.
pub fn parse_cpus(text: &str) -> Option<u64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) if digits(part) && part.len() <= 3 => (whole, format!("{part:0<3}")),
        Some(_) => return None,
        None => (text, "0".to_owned()),
    };
    let whole: u64 = digits(whole).then(|| whole.parse().ok())??;
    let millis = whole.checked_mul(1000)?.checked_add(part.parse().ok()?)?;
    (10..=8_192_000).contains(&millis).then_some(millis)
}

/// What [`parse_cpus`] reads.
pub fn cpus(millis: u64) -> String {
    let (whole, part) = (millis / 1000, millis % 1000);
    match part {
        0 => whole.to_string(),
        part => format!("{whole}.{part:03}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

/// Reads `90`, `90s`, `15m`, `2h`, `1d`; not 0.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    (total > 0 && total <= MAX_SECONDS).then(|| Duration::from_secs(total))
}

/// A century; timers take no more.
const MAX_SECONDS: u64 = 100 * 366 * 86_400;

/// A stranger's word where a person reads it: as it is if it is plain, else quoted; capped.
pub fn shown(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/:@+=,~".contains(&b);
    if !text.is_empty() && text.len() <= 200 && text.bytes().all(plain) {
        return text.to_owned();
    }
    crate::image::quote::quoted(text)
}

/// `text` as the rest of a comment's line: what ends a line or hides on a terminal is escaped, and
/// nothing is cut off.
pub fn comment(text: &str) -> String {
    let quoted = toml(text);
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or_default().replace("\\\"", "\"")
}

/// A parser's message in one line, capped, harmless on a terminal.
pub fn one_line(text: &str) -> String {
    crate::image::quote::plain(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Levenshtein's distance in bytes; for words of policy files only, which are short.
pub fn distance(a: &str, b: &str) -> usize {
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (row[j + 1] + 1)
                .min(row[j] + 1)
                .min(diagonal + usize::from(x != y));
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        let hostile = "x\x1b]0;owned\x07\"\\\n\u{202e}\u{9b}\u{200b}\u{feff}é";
        let quoted = toml(hostile);
        assert!(
            quoted
                .chars()
                .all(|c| !c.is_control() && !"\u{202e}\u{200b}\u{feff}".contains(c)),
            "{quoted:?}"
        );
        assert!(quoted.contains('é'));
    }

    proptest! {
        #[test]
        fn toml_reads_back(text in any::<String>()) {
            let table: ::toml::Table = ::toml::from_str(&format!("x = {}", toml(&text))).unwrap();
            prop_assert_eq!(table["x"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn sizes_read_back(bytes in any::<u64>()) {
            prop_assert_eq!(parse_size(&size(bytes), 0), Some(bytes));
        }
    }

    #[test]
    fn durations_and_distances() {
        assert_eq!(parse_duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("15m"), Some(Duration::from_secs(900)));
        for bad in [
            "",
            "s",
            "0",
            "0s",
            "-1s",
            "1.5s",
            "1w",
            "99999999999999999999",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(distance("reson", "reason"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn processors() {
        for (text, millis) in [("1", 1000), ("0.5", 500), ("1.25", 1250), ("0.01", 10)] {
            assert_eq!(parse_cpus(text), Some(millis));
            assert_eq!(cpus(millis), text);
        }
        for bad in ["", "0", "0.001", "-1", "1.", ".5", "1.2345", "1e3", "9999"] {
            assert_eq!(parse_cpus(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512MiB", 0), Some(512 << 20));
        assert_eq!(parse_size("64m", 0), Some(64 << 20));
        assert_eq!(parse_size("25%", 1000), Some(250));
        assert_eq!(size(512 << 20), "512MiB");
        for bad in [
            "",
            "MiB",
            "-1",
            "1.5G",
            "101%",
            "1X",
            "99999999999999999999",
            "20000000T",
        ] {
            assert_eq!(parse_size(bad, 1000), None, "{bad}");
        }
    }
}
