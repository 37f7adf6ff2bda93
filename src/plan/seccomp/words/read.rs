//! From a person's words to a system call: what [`super::call`] writes, and numbers.

use super::super::Arch;
use super::{Kind, shape, word};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::image::quote::quoted;

/// A system call that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its name; `None`: no call of this architecture has that number.
    pub name: Option<&'static str>,
    /// Its number; `None`: only other architectures have the call.
    pub number: Option<u32>,
    /// Its arguments, as far as they are known; bits that no filter looks at are 0.
    pub args: [Option<u64>; 6],
}

impl Call {
    /// The arguments, 0 for what is not known.
    pub fn filled(&self) -> [u64; 6] {
        self.args.map(Option::unwrap_or_default)
    }
}

fn usage(cause: String) -> Error {
    Error::new(ErrorKind::Usage, cause)
}

/// Reads `mount`, `165`, `socket(AF_PACKET, SOCK_RAW)`, `ioctl(TIOCSTI, ...)`: the arguments that
/// [`super::shown`] shows of this call, in their order, as names, numbers, or `_` for any; of others all from the first on, as
/// numbers. What is not written is not known.
///
/// # Errors
/// `Usage`: there is no such call, or an argument is none.
pub fn read(arch: Arch, text: &str) -> Result<Call> {
    let (word, args) = match text.split_once('(') {
        None => (text, None),
        Some((word, rest)) => match rest.strip_suffix(')') {
            Some(args) => (word, Some(args)),
            None => return Err(usage(format!("{} has no end: )", quoted(text)))),
        },
    };
    let word = word.trim();
    let mut call = match parse_number(word) {
        Some(number) => {
            let number = u32::try_from(number)
                .map_err(|_| usage(format!("{} is no system call's number", quoted(word))))?;
            Call {
                name: arch.name(number),
                number: Some(number),
                args: [None; 6],
            }
        }
        None => {
            let name = Arch::canonical(word)
                .ok_or_else(|| usage(format!("no system call is called {}", quoted(word))))?;
            Call {
                name: Some(name),
                number: arch.number(name),
                args: [None; 6],
            }
        }
    };
    let words: Vec<&str> = args.map_or_else(Vec::new, |args| args.split(',').collect());
    for (at, word) in words.iter().map(|word| word.trim()).enumerate() {
        let last = at + 1 == words.len();
        if word == "_" || last && matches!(word, "" | "...") {
            continue;
        }
        let (place, kind, mask) = argument(&call, at).ok_or_else(|| {
            usage(format!(
                "{} is one argument too many: they are written as refusals show them",
                quoted(word)
            ))
        })?;
        let value = value(kind, word).ok_or_else(|| unknown(&call, kind, word))?;
        if let Some(arg) = call.args.get_mut(place) {
            *arg = Some(value & mask);
        }
    }
    Ok(call)
}

/// The call as it was asked about: what is not known is `_`, or left to `...`.
pub fn asked(arch: Arch, call: &Call) -> String {
    let name = match (call.name, call.number) {
        (Some(name), _) => name.to_owned(),
        (None, Some(number)) => return format!("system call {number}"),
        (None, None) => return format!("a call that {} lacks", arch.go_name()),
    };
    let known: Vec<Option<String>> = (0..6)
        .map_while(|at| argument(call, at))
        .map(|(place, kind, _)| Some(word(kind, (*call.args.get(place)?)?)))
        .collect();
    let Some(last) = known.iter().rposition(Option::is_some) else {
        return name;
    };
    let words = known.iter().take(last + 1);
    let words: Vec<&str> = words.map(|word| word.as_deref().unwrap_or("_")).collect();
    let all = last + 1 == known.len() && call.name.and_then(shape).is_some_and(|s| !s.more);
    let more = if all { "" } else { ", ..." };
    format!("{name}({}{more})", words.join(", "))
}

/// Which argument the word at `at` is, how it is written, and its bits that count.
fn argument(call: &Call, at: usize) -> Option<(usize, Kind, u64)> {
    match call.name.and_then(shape) {
        Some(shape) => {
            let arg = shape.args.get(at)?;
            let kind = super::kind(shape, arg, at, call.args[0]);
            Some((usize::from(arg.place), kind, arg.mask))
        }
        None => (at < 6).then_some((at, Kind::Number, u64::MAX)),
    }
}

fn parse_number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if word.starts_with(|c: char| c.is_ascii_digit()) => word.parse().ok(),
        None => None,
    }
}

fn value(kind: Kind, word: &str) -> Option<u64> {
    let named = |names: &[(u64, &str)], word: &str| {
        let found = names.iter().find(|(_, name)| *name == word);
        found
            .map(|(value, _)| *value)
            .or_else(|| parse_number(word))
    };
    match kind {
        Kind::Number => parse_number(word),
        Kind::OneOf(names) => named(names, word),
        Kind::Flags(names) => {
            let mut bits = word.split('|').map(str::trim);
            bits.try_fold(0, |all, one| Some(all | named(names, one)?))
        }
    }
}

fn unknown(call: &Call, kind: Kind, word: &str) -> Error {
    let name = call.name.unwrap_or("this call");
    let error = usage(format!("{} is no argument of {name}", quoted(word)));
    match kind {
        Kind::Number => error.hint("a number is 123 or 0x7b, and _ is any"),
        Kind::OneOf(names) | Kind::Flags(names) => {
            let names: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
            error.hint(format!("a number, _ for any, or {}", names.join(" ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{call, shown};
    use super::*;

    const ARCH: Arch = Arch::X86_64;

    #[test]
    fn what_is_written_is_read() {
        for (name, args) in [
            ("unshare", &[0x1002_0000][..]),
            ("socket", &[17, 3, 768]),
            ("socket", &[2, 1, 262]),
            ("socket", &[16, 3, 9]),
            ("ioctl", &[0, 0x5412]),
            ("mount", &[0, 0, 0, 0x5000]),
            ("mknodat", &[0, 0, 0o020_000]),
            ("clone", &[0x2000_0000]),
            ("sync", &[]),
        ] {
            let mut six = [0; 6];
            six[..args.len()].copy_from_slice(args);
            let number = ARCH.number(name).unwrap();
            let written = call(ARCH, number, &shown(ARCH, number, &six));
            let read = read(ARCH, &written).unwrap_or_else(|e| panic!("{written}: {e}"));
            assert_eq!((read.name, read.filled()), (Some(name), six), "{written}");
        }
    }

    #[test]
    fn numbers_and_what_is_not_known() {
        let mount = read(ARCH, "165").unwrap();
        assert_eq!((mount.name, mount.args), (Some("mount"), [None; 6]));
        assert_eq!(read(ARCH, "0xa5").unwrap(), mount);
        assert_eq!(read(ARCH, "mount").unwrap(), mount);
        assert_eq!(read(ARCH, "4000").unwrap().name, None);
        let raw = read(ARCH, "socket(_, SOCK_RAW)").unwrap();
        assert_eq!(raw.args[..3], [None, Some(3), None]);
        assert_eq!(read(ARCH, "acct(7)").unwrap().args[0], Some(7));
        for (text, want) in [
            ("mount", "mount"),
            ("165", "mount"),
            ("4000", "system call 4000"),
            ("socket(AF_PACKET)", "socket(AF_PACKET, ...)"),
            ("socket(_,SOCK_RAW)", "socket(_, SOCK_RAW, ...)"),
            (
                "socket(AF_INET, SOCK_STREAM, 6)",
                "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)",
            ),
            ("ioctl(0x5412)", "ioctl(TIOCSTI, ...)"),
            ("acct(7)", "acct(7, ...)"),
        ] {
            assert_eq!(asked(ARCH, &read(ARCH, text).unwrap()), want);
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in [
            "",
            "klone",
            "mount(",
            "socket(AF_NOSUCH)",
            "socket(1,2,3,4)",
            "ioctl(x)",
            "acct(x)",
            "unshare(CLONE_NEWNET|x)",
            "99999999999",
            "acct(1,2,3,4,5,6,7)",
        ] {
            let error = read(ARCH, bad).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{bad}");
        }
    }
}
