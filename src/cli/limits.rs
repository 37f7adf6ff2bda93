//! `--ulimit` and `--pids-limit` as docker spells them. Pure.

use crate::error::{Error, Kind, Result};
use crate::image::quote::quoted;
use crate::policy::{Ulimit, Which};

fn usage(what: String) -> Error {
    Error::new(Kind::Usage, what)
}

/// A number; -1 and `unlimited` mean no limit.
fn amount(text: &str) -> Option<u64> {
    match text {
        "-1" | "unlimited" => Some(u64::MAX),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok()
        }
        _ => None,
    }
}

/// `--pids-limit N`; as with docker, 0 and -1 ask for no limit.
pub fn pids(text: &str) -> Result<u64> {
    match amount(text) {
        Some(0) => Ok(u64::MAX),
        Some(n) => Ok(n),
        None => Err(usage(format!("--pids-limit {} is no number", quoted(text)))),
    }
}

/// `--ulimit NAME=SOFT[:HARD]`, each; the last one of a name counts. `core=0` is taken and changes
/// nothing: no core is ever written.
pub fn ulimits(texts: &[String]) -> Result<Vec<Ulimit>> {
    let mut limits: Vec<Ulimit> = Vec::new();
    for text in texts {
        let Some(limit) = ulimit(text)? else { continue };
        limits.retain(|have| have.which != limit.which);
        limits.push(limit);
    }
    Ok(limits)
}

fn ulimit(text: &str) -> Result<Option<Ulimit>> {
    let shown = quoted(text);
    let (name, amounts) = text.split_once('=').ok_or_else(|| {
        usage(format!("--ulimit {shown} has no amount")).hint("write --ulimit nofile=1024:2048")
    })?;
    let (soft, hard) = amounts.split_once(':').unwrap_or((amounts, amounts));
    let (Some(soft), Some(hard)) = (amount(soft), amount(hard)) else {
        return Err(usage(format!("--ulimit {shown}: no number"))
            .hint("sizes are in bytes, times in seconds, -1 means unlimited"));
    };
    if soft > hard {
        return Err(usage(format!(
            "--ulimit {shown}: the soft limit is above the hard one"
        )));
    }
    if name == "core" && hard == 0 {
        return Ok(None);
    }
    let Some(which) = Which::ALL.into_iter().find(|which| which.name() == name) else {
        let why = match name {
            "core" => "no core is ever written, and a crash reaches no core handler outside",
            "nice" | "rtprio" | "rttime" => {
                "raising it takes a capability outside, which nothing here has"
            }
            "rss" => "the kernel has not known this limit since 2.4.30",
            "locks" => "the kernel has not known this limit since 2.4.25",
            _ => {
                let names = Which::ALL.map(Which::name).join(", ");
                return Err(usage(format!("--ulimit {shown}: no limit of that name"))
                    .hint(format!("there are {names}")));
            }
        };
        return Err(Error::new(Kind::Unsupported, format!("--ulimit {name} is refused")).hint(why));
    };
    Ok(Some(Ulimit { which, soft, hard }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Vec<Ulimit>> {
        ulimits(&[text.to_owned()])
    }

    #[test]
    fn dockers_spellings() {
        let limit = |which, soft, hard| vec![Ulimit { which, soft, hard }];
        assert_eq!(one("nofile=10").unwrap(), limit(Which::Nofile, 10, 10));
        assert_eq!(one("fsize=0:5").unwrap(), limit(Which::Fsize, 0, 5));
        assert_eq!(one("as=-1").unwrap(), limit(Which::As, u64::MAX, u64::MAX));
        assert_eq!(one("core=0").unwrap(), []);
        assert_eq!(one("core=0:0").unwrap(), []);
        let twice = ["cpu=1", "stack=2", "cpu=3"].map(str::to_owned);
        let got = ulimits(&twice).unwrap();
        assert_eq!((got.len(), got[1].soft), (2, 3));
        for (text, kind) in [
            ("nofile", Kind::Usage),
            ("nofile=", Kind::Usage),
            ("nofile=-2", Kind::Usage),
            ("nofile=+1", Kind::Usage),
            ("nofile=2:1", Kind::Usage),
            ("nofile=-1:5", Kind::Usage),
            ("nofile=99999999999999999999", Kind::Usage),
            ("nofiles=1", Kind::Usage),
            ("core=1", Kind::Unsupported),
            ("core=-1", Kind::Unsupported),
            ("rss=1", Kind::Unsupported),
            ("nice=1", Kind::Unsupported),
        ] {
            assert_eq!(one(text).unwrap_err().kind, kind, "{text}");
        }
    }

    #[test]
    fn processes() {
        assert_eq!(pids("7").unwrap(), 7);
        assert_eq!(pids("-1").unwrap(), u64::MAX);
        assert_eq!(pids("0").unwrap(), u64::MAX);
        for text in ["", "x", "1.5", "-2"] {
            assert!(pids(text).is_err(), "{text}");
        }
    }
}
