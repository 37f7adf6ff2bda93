//! What clap says of a wrong command line, in lazaret's words, with docker's flags known by name.

use super::refused::{self, Why};
use crate::error::{Error, Kind};
use crate::report::Format;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// Turns clap's error into ours. `argv` is the whole command line.
pub fn explain(error: &clap::Error, argv: &[OsString]) -> Error {
    let verb = verb_of(argv);
    let see = match verb.as_slice() {
        [] => "see 'lazaret --help'".to_owned(),
        words => format!("see 'lazaret {} --help'", words.join(" ")),
    };
    let argument = text(error, ContextKind::InvalidArg);
    let value = text(error, ContextKind::InvalidValue);
    let explained = match error.kind() {
        ErrorKind::UnknownArgument => {
            return unknown_flag(error, &argument, &verb, see);
        }
        ErrorKind::InvalidSubcommand => return unknown_verb(error, &verb, see),
        // The image of `run` is a subcommand to clap.
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            match verb.last() {
                Some(&"tool") => "missing PROGRAM".to_owned(),
                _ => "missing IMAGE".to_owned(),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            format!("missing {}", argument.replace(['<', '>'], ""))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
        ErrorKind::InvalidValue => {
            let valid = text(error, ContextKind::ValidValue);
            format!("{value:?} is not a value of {argument}; there are: {valid}")
        }
        ErrorKind::ValueValidation => format!("{value:?} is not a value of {argument}"),
        ErrorKind::TooManyValues => {
            let what = format!("{argument} takes no value, and was given {value:?}");
            let hint = format!("{argument} alone switches it on; without it, it is off");
            return named(Error::new(Kind::Usage, what), &verb).hint(hint);
        }
        ErrorKind::ArgumentConflict => {
            format!(
                "{argument} and {} exclude each other",
                text(error, ContextKind::PriorArg)
            )
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8 text".to_owned(),
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    named(Error::new(Kind::Usage, explained), &verb).hint(see)
}

fn named(error: Error, verb: &[&str]) -> Error {
    if verb.is_empty() {
        error
    } else {
        error.action(verb.join(" "))
    }
}

fn unknown_flag(error: &clap::Error, spelled: &str, verb: &[&str], see: String) -> Error {
    // Positional surplus comes as an unknown argument too.
    if !spelled.starts_with('-') {
        let what = format!("{spelled:?} is one argument too many");
        return named(Error::new(Kind::Usage, what), verb).hint(see);
    }
    // What explains a run takes and refuses what a run does.
    let words = verb.last().copied().unwrap_or_default();
    let of_run = matches!(words, "explain" | "why" | "learn");
    let known = refused::flag(if of_run { "run" } else { words }, spelled);
    let Some((long, _, why)) = known else {
        let hint = match text(error, ContextKind::SuggestedArg) {
            suggested if suggested.is_empty() => see,
            suggested => format!("did you mean {suggested}? {see}"),
        };
        let what = format!("unknown flag: {spelled}");
        return named(Error::new(Kind::Usage, what), verb).hint(hint);
    };
    let flag = if spelled.starts_with("--") {
        format!("--{long}")
    } else {
        format!("{} (--{long})", spelled.chars().take(2).collect::<String>())
    };
    named(refusal(&flag, why), verb)
}

fn refusal(what: &str, why: Why) -> Error {
    match why {
        Why::Later("") => Error::new(Kind::Unsupported, format!("{what} is not built yet")),
        Why::Later(meanwhile) => {
            Error::new(Kind::Unsupported, format!("{what} is not built yet")).hint(meanwhile)
        }
        Why::Never(why) => Error::new(Kind::Policy, format!("{what} is refused")).hint(why),
        Why::Always(holds) => Error::new(Kind::Unsupported, format!("{what} is not built yet"))
            .hint(format!("leave it out: {holds}")),
    }
}

fn unknown_verb(error: &clap::Error, group: &[&str], see: String) -> Error {
    let name = text(error, ContextKind::InvalidSubcommand);
    let spelled = match group {
        [] => name.clone(),
        words => format!("{} {name}", words.join(" ")),
    };
    if let Some(why) = refused::verb(&name) {
        return refusal(&format!("the command `{spelled}`"), why);
    }
    let hint = match text(error, ContextKind::SuggestedSubcommand) {
        suggested if suggested.is_empty() => see,
        // clap lists the likeliest last.
        suggested => {
            let likely: Vec<_> = suggested.rsplit(' ').collect();
            format!("did you mean {}? {see}", likely.join(" or "))
        }
    };
    Error::new(Kind::Usage, format!("unknown command: {spelled}")).hint(hint)
}

/// The words of the verb that was typed: `run`, `image rm`.
fn verb_of(argv: &[OsString]) -> Vec<&str> {
    let mut words = argv
        .iter()
        .skip(1)
        .map_while(|a| a.to_str())
        .filter(|a| !a.starts_with('-'));
    let Some(first) = words.next() else {
        return Vec::new();
    };
    const SIMPLE: [&str; 25] = [
        "why",
        "learn",
        "explain-report",
        "man",
        "pull",
        "push",
        "tag",
        "lock",
        "search",
        "login",
        "logout",
        "run",
        "tool",
        "images",
        "load",
        "save",
        "verify",
        "trust",
        "rmi",
        "ps",
        "rm",
        "inspect",
        "doctor",
        "version",
        "completion",
    ];
    match first {
        "image" | "container" | "system" | "policy" | "receipt" => {
            let second = words.next().filter(|w| {
                [
                    "ls", "list", "ps", "load", "save", "pull", "push", "tag", "rm", "remove",
                    "inspect", "run", "df", "prune", "show", "check", "explain", "test", "diff",
                    "import", "init", "trust", "verify", "key",
                ]
                .contains(w)
            });
            [first].into_iter().chain(second).collect()
        }
        first if SIMPLE.contains(&first) => vec![first],
        _ => Vec::new(),
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(s)) => s.clone(),
        Some(ContextValue::Strings(all)) => all.join(" "),
        Some(ContextValue::StyledStr(s)) => s.to_string(),
        Some(ContextValue::Number(n)) => n.to_string(),
        _ => String::new(),
    }
}

/// `run` without anything: docker calls that a mistake, clap a wish for help.
pub fn lacks_image(error: &clap::Error, argv: &[OsString]) -> bool {
    error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        && matches!(verb_of(argv).last(), Some(&("run" | "explain" | "tool")))
}

/// The format that was asked for, as far as a wrong command line tells.
pub fn format_of(argv: &[OsString]) -> Format {
    let json = argv
        .windows(2)
        .any(|pair| pair[0] == "--format" && pair[1] == "json")
        || argv.iter().any(|argument| argument == "--format=json");
    if json { Format::Json } else { Format::Text }
}
