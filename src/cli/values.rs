//! Values of flags: durations, sizes, names; mounts are in `mounts`. Pure.

use crate::engine::LockPlace;
use crate::error::{Error, Kind, Result};
use crate::policy::{Explain, Network};
use std::path::PathBuf;
use std::time::Duration;

fn usage(what: String) -> Error {
    Error::new(Kind::Usage, what)
}

/// `--label KEY[=VALUE]`.
pub fn label(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key.is_empty() {
        true => Err(usage(format!("--label {text:?} has no key")).hint("write KEY=VALUE, or KEY")),
        false => Ok((key.to_owned(), value.to_owned())),
    }
}

/// `--stop-signal`: a name or a number.
pub fn signal(text: &str) -> Result<i32> {
    crate::policy::signal(text).ok_or_else(|| {
        usage(format!("--stop-signal {text:?} is no signal"))
            .hint("write SIGINT, INT, 2 or SIGRTMIN+3")
    })
}

/// `--stop-timeout`: whole seconds; -1 is without end.
pub fn stop_timeout(text: &str) -> Result<Option<Duration>> {
    match text.parse::<u32>() {
        _ if text == "-1" => Ok(None),
        Ok(seconds) if !text.starts_with('+') => Ok(Some(Duration::from_secs(seconds.into()))),
        _ => Err(
            usage(format!("--stop-timeout {text:?} is no number of seconds"))
                .hint("write 10, or -1 for no limit"),
        ),
    }
}

/// `--timeout` and `--cpu-time`: Go's durations (`1m30s`, `500ms`, `1.5h`), and a bare number of seconds as docker's
/// `--stop-timeout` has it.
pub fn duration(flag: &str, text: &str) -> Result<Duration> {
    let wrong = || {
        usage(format!("{flag} {text:?} is not a duration"))
            .hint("write 10s, 500ms, 1m30s, 2h, or a number of seconds")
    };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return check(text.parse().ok().map(Duration::from_secs), flag, text).ok_or_else(wrong)?;
    }
    let mut nanos: u128 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (digits, tail) = rest.split_at(number);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        // Nine digits of a fraction are more than a nanosecond of an hour needs; 12 of a whole
        // number of hours are beyond any clock.
        if (whole.is_empty() && fraction.is_empty()) || whole.len() > 12 || fraction.len() > 9 {
            return Err(wrong());
        }
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| wrong())?
        };
        let part: u128 = if fraction.is_empty() {
            0
        } else {
            let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
            fraction.parse::<u128>().map_err(|_| wrong())? * unit / scale
        };
        nanos += whole * unit + part;
        rest = tail;
    }
    check(
        u64::try_from(nanos).ok().map(Duration::from_nanos),
        flag,
        text,
    )
    .ok_or_else(wrong)?
}

/// Zero would kill the command before it starts, and no clock waits for a century.
fn check(time: Option<Duration>, flag: &str, text: &str) -> Option<Result<Duration>> {
    let time = time?;
    if time.is_zero() {
        return Some(Err(usage(format!("{flag} {text:?} is no time at all"))
            .hint(format!("leave {flag} out to set no limit"))));
    }
    (time <= Duration::from_secs(100 * 366 * 86_400)).then_some(Ok(time))
}

/// docker's sizes: `64m`, `1g`, `512k`, `100b`, `1024`, `1.5GiB`, each of 1024.
pub fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let split = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (fraction.is_empty() && number.contains('.')) {
        return None;
    }
    let bytes = u128::from(whole.parse::<u64>().ok()?) << shift;
    let part = match fraction {
        "" => 0,
        digits => {
            let scale = 10u128.pow(u32::try_from(digits.len()).ok()?);
            (digits.parse::<u128>().ok()? << shift) / scale
        }
    };
    u64::try_from(bytes + part).ok()
}

/// `--name`: docker's grammar.
pub fn container_name(text: &str) -> Result<String> {
    let good = text.len() >= 2
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && text.as_bytes()[0].is_ascii_alphanumeric();
    if good {
        Ok(text.to_owned())
    } else {
        Err(usage(format!("--name {text:?} is not a container's name"))
            .hint("two to 128 of A-Z a-z 0-9 _ . - beginning with a letter or a digit"))
    }
}

/// `--hostname`: what sethostname(2) takes and a resolver understands.
pub fn hostname(text: &str) -> Result<String> {
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.len() <= 64 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(usage(format!("--hostname {text:?} is not a host name"))
            .hint("at most 64 of A-Z a-z 0-9 - _ and dots between them"))
    }
}

/// `--userns`: `keep-id`, of podman's.
pub fn keep_id(text: &str) -> Result<bool> {
    match text {
        "keep-id" => Ok(true),
        "host" => Err(Error::new(Kind::Policy, "--userns host is refused").hint(
            "root inside would be root outside; no policy can allow it. --userns keep-id runs as \
             yourself",
        )),
        other => Err(Error::new(
            Kind::Unsupported,
            format!("--userns {other:?} is not built yet"),
        )
        .hint("--userns keep-id is; without it no id inside is you")),
    }
}

/// `--explain`: `calls`, `full` or `off`.
pub fn explain(text: &str) -> Result<Explain> {
    Explain::of(text).ok_or_else(|| {
        usage(format!("--explain={text} means nothing")).hint(
            "--explain=calls tells of refused system calls, --explain=full of refused files, \
             sockets and devices as well, --explain=off of nothing",
        )
    })
}

/// `--network`: `none` or `host`.
pub fn network(text: &str) -> Result<Network> {
    Network::of(text).ok_or_else(|| {
        Error::new(
            Kind::Unsupported,
            format!("--network {text} is not built yet"),
        )
        .hint(
            "--network none is the default: lo and nothing else; --network host asks for this \
             machine's",
        )
    })
}

/// `--workdir`: docker wants it absolute; what it is inside the image is looked up there.
pub fn workdir(text: &str) -> Result<String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(usage(format!("--workdir {text:?} is not an absolute path"))
            .hint("it is a path inside, and begins with /"))
    }
}

/// `--locked` and `--lock-file`.
pub fn lock_place(locked: bool, file: Option<PathBuf>) -> Option<LockPlace> {
    locked.then(|| file.map_or(LockPlace::Project, LockPlace::At))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("10", 10_000),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("2h", 7_200_000),
        ] {
            assert_eq!(
                duration("--timeout", text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "10x",
            "-1s",
            "1s-",
            "1 s",
            ".",
            ".s",
            "1..5s",
            "10s5",
            "ten",
            "0",
            "0s",
            "0.0000000000000001s",
            "99999999999999999999",
            "9999999999999h",
            "99999999h",
            "+5s",
        ] {
            assert_eq!(
                duration("--timeout", text).unwrap_err().kind,
                Kind::Usage,
                "{text}"
            );
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64m"), Some(64 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("1.5k"), Some(1536));
        assert_eq!(size("100"), Some(100));
        for text in [
            "",
            "m",
            "-1",
            "1x",
            "50%",
            ".5g",
            "1.g",
            "99999999999999999999",
            "99999999t",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn names() {
        assert!(container_name("web-1.a_b").is_ok());
        for name in ["", "a", "-ab", "a b", "a/b", "é1", "a\nb"] {
            assert!(container_name(name).is_err(), "{name}");
        }
        assert!(hostname("a.b-c").is_ok());
        for name in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a\n",
            &"a".repeat(65),
            &"a".repeat(64),
        ] {
            assert!(hostname(name).is_err(), "{name}");
        }
        assert!(workdir("/x").is_ok());
        assert!(workdir("x").is_err());
    }
}
