//! How a cell is asked to end: `--stop-signal`, the image's `StopSignal`, `--stop-timeout`.

use super::grants::{Granted, Origin};
use super::request::Request;
use crate::image::ImageConfig;

/// The names of signal(7), by their numbers on the architectures that lazaret is built for.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first and the last real-time signal that the C library leaves to programs.
const REAL_TIME: (i32, i32) = (34, 64);

/// A signal as docker writes it: `SIGQUIT`, `quit`, `3`, `SIGRTMIN+3`, `RTMAX-1`. `None`: there is
/// none of that name or number.
pub fn signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        let plain = usize::try_from(number).is_ok_and(|n| (1..=NAMES.len()).contains(&n));
        return (plain || (REAL_TIME.0..=REAL_TIME.1).contains(&number)).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).ok();
    }
    let offset = |digits: &str| {
        let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        all.then(|| digits.parse::<i32>().ok()).flatten()
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => REAL_TIME.0,
        (_, Some("")) => REAL_TIME.1,
        (Some(rest), _) => REAL_TIME.0.checked_add(offset(rest.strip_prefix('+')?)?)?,
        (_, Some(rest)) => REAL_TIME.1.checked_sub(offset(rest.strip_prefix('-')?)?)?,
        _ => return None,
    };
    (REAL_TIME.0..=REAL_TIME.1)
        .contains(&number)
        .then_some(number)
}

/// What SIGTERM becomes on its way in; `None`: it stays what it is. What an image calls a signal and
/// is none is noted and nothing.
pub(super) fn stop_signal(
    request: &Request,
    config: &ImageConfig,
    notes: &mut Vec<String>,
) -> Option<Granted<i32>> {
    if let Some(value) = request.stop_signal {
        let origin = Origin::Flag("--stop-signal");
        return Some(Granted { value, origin });
    }
    let text = config.stop_signal.as_deref()?;
    let origin = Origin::Image("config.StopSignal");
    match signal(text) {
        Some(value) => Some(Granted { value, origin }),
        None => {
            notes.push(format!(
                "the image's StopSignal {text:?} is no signal: SIGTERM stays SIGTERM"
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_docker_does() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("SigQuit", 3),
            ("9", 9),
            ("HUP", 1),
            ("SYS", 31),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        for text in [
            "",
            "SIG",
            "0",
            "-1",
            "32",
            "65",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+-1",
            "TERMX",
            "15 ",
            "99999999999",
            "RTMAX-99999999999",
        ] {
            assert_eq!(signal(text), None, "{text}");
        }
    }
}
