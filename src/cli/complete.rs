//! `lazaret __complete WORD...`: names of images and containers, and what `why` may be asked, for the
//! completion scripts.
//!
//! The words are those behind `lazaret` up to the cursor, the last one unfinished. clap's own table
//! of verbs says which of them are values of flags, so one answer serves every shell. It is asked at
//! each press of a key: it makes no store, says nothing of what is wrong, and ends with 0.

use super::args::Cli;
use crate::engine::names;
use crate::plan::seccomp::Arch;
use crate::policy::CAPABILITIES;
use crate::report;
use clap::{ArgAction, Command, CommandFactory};

/// What the word at the cursor may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Images,
    Containers,
    Both,
    /// System calls and capabilities.
    Questions,
}

/// At which of a verb's arguments names stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first; what follows is the command's own.
    First,
    /// All.
    Each,
}

/// The verbs that take names. Some come later, and then find their place here.
const VERBS: &[(&[&str], At, Wanted)] = &[
    (&["run"], At::First, Wanted::Images),
    (&["container", "run"], At::First, Wanted::Images),
    (&["policy", "explain"], At::First, Wanted::Images),
    (&["pull"], At::First, Wanted::Images),
    (&["image", "pull"], At::First, Wanted::Images),
    (&["push"], At::First, Wanted::Images),
    (&["image", "push"], At::First, Wanted::Images),
    (&["tag"], At::First, Wanted::Images),
    (&["image", "tag"], At::First, Wanted::Images),
    (&["lock"], At::Each, Wanted::Images),
    (&["images"], At::First, Wanted::Images),
    (&["image", "ls"], At::First, Wanted::Images),
    (&["rmi"], At::Each, Wanted::Images),
    (&["image", "rm"], At::Each, Wanted::Images),
    (&["image", "inspect"], At::Each, Wanted::Images),
    (&["save"], At::Each, Wanted::Images),
    (&["image", "save"], At::Each, Wanted::Images),
    (&["verify"], At::Each, Wanted::Images),
    (&["trust"], At::First, Wanted::Images),
    (&["rm"], At::Each, Wanted::Containers),
    (&["container", "rm"], At::Each, Wanted::Containers),
    (&["container", "inspect"], At::Each, Wanted::Containers),
    (&["inspect"], At::Each, Wanted::Both),
    (&["learn"], At::First, Wanted::Images),
    (&["why"], At::First, Wanted::Questions),
];

/// Prints what the last of `words` may become, a line each.
pub fn complete(words: &[String]) -> u8 {
    let Some((wanted, begun)) = wanted(words) else {
        return 0;
    };
    let mut all = Vec::new();
    if matches!(wanted, Wanted::Images | Wanted::Both) {
        all.extend(names::images());
    }
    if matches!(wanted, Wanted::Containers | Wanted::Both) {
        all.extend(names::containers());
    }
    // All of them help nobody.
    if wanted == Wanted::Questions && !begun.is_empty() {
        let arch = Arch::native();
        let calls = (0..=arch.last()).filter_map(|number| arch.name(number));
        all.extend(calls.chain(CAPABILITIES).map(str::to_owned));
    }
    let mut text = String::new();
    for name in all {
        if name.starts_with(begun) && is_plain(&name) {
            text.push_str(&name);
            text.push('\n');
        }
    }
    // A shell that has gone away needs no answer.
    let _gone = report::stdout(&text).is_ok();
    0
}

/// Whether a shell takes the name for one word and nothing else: what an image's author or a folder
/// is called must not become a command by a press of Tab.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-/:@+".contains(&b))
}

/// What the last word may name, and how much of it is there.
fn wanted(words: &[String]) -> Option<(Wanted, &str)> {
    let (begun, before) = words.split_last()?;
    let mut cli = Cli::command();
    let mut verb = &mut cli;
    let mut path: Vec<String> = Vec::new();
    let mut rest = before.iter();
    // Verbs may have one word more; flags of lazaret itself stand before none that takes names.
    while !VERBS.iter().any(|(words, ..)| *words == path) {
        let word = rest.next()?;
        verb.build();
        verb = verb.find_subcommand_mut(word)?;
        // Not the word: it may be an alias.
        path.push(verb.get_name().to_owned());
    }
    let (_, at, wanted) = VERBS.iter().find(|(words, ..)| *words == path)?;
    verb.build();
    if *wanted == Wanted::Questions && rest.as_slice().last().is_some_and(|word| word == "--in") {
        return (!begun.starts_with('-')).then_some((Wanted::Images, begun));
    }
    let arguments = arguments(verb, rest.as_slice())?;
    let here = match at {
        At::First => arguments == 0,
        At::Each => true,
    };
    (here && !begun.starts_with('-')).then_some((*wanted, begun))
}

/// How many arguments stand among `words` that are neither flags nor their values; `None` where the
/// next word is a flag's value.
fn arguments(verb: &Command, words: &[String]) -> Option<usize> {
    let mut count = 0;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            return Some(count + words.count());
        }
        let takes = if let Some(long) = word.strip_prefix("--") {
            !long.contains('=') && takes_value(verb, |a| a.get_long() == Some(long))
        } else if let Some(shorts) = word.strip_prefix('-').filter(|s| !s.is_empty()) {
            // Of `-itv` only the last may have its value in the next word.
            let mut letters = shorts.chars();
            let first = letters.find(|c| takes_value(verb, |a| a.get_short() == Some(*c)));
            first.is_some() && letters.next().is_none()
        } else {
            count += 1;
            false
        };
        if takes {
            words.next()?;
        }
    }
    Some(count)
}

fn takes_value(verb: &Command, is: impl Fn(&clap::Arg) -> bool) -> bool {
    let mut found = verb.get_arguments().filter(|a| is(a));
    found.any(|a| {
        matches!(a.get_action(), ArgAction::Set | ArgAction::Append)
            && a.get_num_args().is_none_or(|n| n.min_values() > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<(Wanted, String)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        wanted(&words).map(|(wanted, begun)| (wanted, begun.to_owned()))
    }

    #[test]
    fn where_names_stand() {
        for (line, want) in [
            ("run ", Some((Wanted::Images, ""))),
            ("run deb", Some((Wanted::Images, "deb"))),
            ("run --rm -e A=B deb", Some((Wanted::Images, "deb"))),
            ("run --rm -eA=B deb", Some((Wanted::Images, "deb"))),
            ("run --env=A deb", Some((Wanted::Images, "deb"))),
            ("run -it deb", Some((Wanted::Images, "deb"))),
            ("run --rm -- deb", Some((Wanted::Images, "deb"))),
            // A flag, its value, and what is the command's.
            ("run --r", None),
            ("run -e ", None),
            ("run --name ", None),
            ("run debian ", None),
            ("run debian ls ", None),
            ("container run x", Some((Wanted::Images, "x"))),
            ("policy explain -v ./a:/a x", Some((Wanted::Images, "x"))),
            ("policy show x", None),
            ("rmi a b ", Some((Wanted::Images, ""))),
            ("image remove a b", Some((Wanted::Images, "b"))),
            ("image rm a b", Some((Wanted::Images, "b"))),
            ("rm -f a", Some((Wanted::Containers, "a"))),
            ("inspect --type image a", Some((Wanted::Both, "a"))),
            ("inspect -f ", None),
            ("container inspect a", Some((Wanted::Containers, "a"))),
            ("lock --update a ", Some((Wanted::Images, ""))),
            ("lock --lock-file ", None),
            ("verify ", Some((Wanted::Images, ""))),
            ("why mo", Some((Wanted::Questions, "mo"))),
            ("why --network host NET_", Some((Wanted::Questions, "NET_"))),
            ("why mount --in deb", Some((Wanted::Images, "deb"))),
            ("why --in deb", Some((Wanted::Images, "deb"))),
            ("why mount x", None),
            ("why -v ", None),
            ("doctor ", None),
            ("image ", None),
            ("nosuch a", None),
            ("", None),
            ("ru", None),
        ] {
            let want = want.map(|(wanted, begun)| (wanted, begun.to_owned()));
            assert_eq!(of(line), want, "{line:?}");
        }
        assert_eq!(wanted(&[]), None);
    }

    #[test]
    fn no_name_is_a_command() {
        for name in ["debian:1", "localhost:5000/a/b@sha256:00", "oci:/srv/x_y:1"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "", "-rf", "a b", "$(x)", "a;b", "a\nb", "\x1b", "é", "a'b", "`x`", "*", "~",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
