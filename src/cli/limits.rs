//! `--ulimit`, `--pids-limit`, `--memory` and their kin as docker spells them. Pure.

use super::args::ResourceArgs;
use super::values;
use crate::error::{Error, Kind, Result};
use crate::image::quote::quoted;
use crate::policy::{ResourcesAsk, Ulimit, Which};

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

/// `--memory` and its kin.
pub fn resources(args: &ResourceArgs) -> Result<ResourcesAsk> {
    let of = |flag: &'static str, text: &Option<String>| {
        text.as_deref().map(|text| bytes(flag, text)).transpose()
    };
    let memory = args.memory.as_deref().map(memory).transpose()?;
    let swap = args.memory_swap.as_deref();
    let cpu_time = args.cpu_time.as_deref();
    Ok(ResourcesAsk {
        memory,
        swap: swap.map(|text| swap_beside(text, memory)).transpose()?,
        cpus: args.cpus.as_deref().map(cpus).transpose()?,
        cpu_time: cpu_time
            .map(|text| values::duration("--cpu-time", text))
            .transpose()?,
        output: of("--output-limit", &args.output_limit)?,
        disk: of("--disk", &args.disk)?,
    })
}

/// A size that is something: `--memory 64m`.
fn bytes(flag: &'static str, text: &str) -> Result<u64> {
    match values::size(text) {
        Some(0) => Err(usage(format!("{flag} {} is nothing at all", quoted(text)))
            .hint(format!("leave {flag} out for what the policy gives"))),
        Some(n) => Ok(n),
        None => Err(usage(format!("{flag} {} is no size", quoted(text)))
            .hint("write 64m, 2g, 512k, or a number of bytes")),
    }
}

/// The least that a cell gets along with; docker's own least is the same.
const LEAST_MEMORY: u64 = 6 << 20;

/// `--memory SIZE`.
fn memory(text: &str) -> Result<u64> {
    match bytes("--memory", text)? {
        n if n < LEAST_MEMORY => Err(usage(format!("--memory {} is too little", quoted(text)))
            .hint("no command starts in less than 6m")),
        n => Ok(n),
    }
}

/// `--memory-swap SIZE` is memory and swap together, as with docker; -1 bounds the memory alone. What
/// is answered is the swap beside the memory.
fn swap_beside(text: &str, memory: Option<u64>) -> Result<u64> {
    let Some(memory) = memory else {
        return Err(usage("--memory-swap without --memory".to_owned())
            .hint("it is memory and swap together: give both"));
    };
    if text == "-1" {
        return Ok(u64::MAX);
    }
    let both = bytes("--memory-swap", text)?;
    both.checked_sub(memory).ok_or_else(|| {
        usage(format!(
            "--memory-swap {} is less than --memory",
            quoted(text)
        ))
        .hint("it is memory and swap together; the same as --memory means no swap")
    })
}

/// `--cpus N`: whole and parts of processors, in thousandths.
fn cpus(text: &str) -> Result<u64> {
    crate::policy::parse_cpus(text).ok_or_else(|| {
        usage(format!(
            "--cpus {} is no number of processors",
            quoted(text)
        ))
        .hint("write 2, 0.5 or 1.25; 0.01 is the least")
    })
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
    fn memory_and_swap() {
        assert_eq!(memory("64m").unwrap(), 64 << 20);
        for bad in ["", "0", "x", "1m", "-1", "5%"] {
            assert_eq!(memory(bad).unwrap_err().kind, Kind::Usage, "{bad}");
        }
        assert_eq!(swap_beside("64m", Some(64 << 20)).unwrap(), 0);
        assert_eq!(swap_beside("1g", Some(1 << 29)).unwrap(), 1 << 29);
        assert_eq!(swap_beside("-1", Some(1)).unwrap(), u64::MAX);
        assert_eq!(swap_beside("1g", None).unwrap_err().kind, Kind::Usage);
        assert_eq!(
            swap_beside("1m", Some(1 << 30)).unwrap_err().kind,
            Kind::Usage
        );
        assert_eq!(cpus("1.5").unwrap(), 1500);
        assert_eq!(cpus("0").unwrap_err().kind, Kind::Usage);
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
