//! What a cell was refused, one line each.

use super::clean::clean;
use super::out::{Screen, stderr};
use super::wrap::wrap;
use crate::policy;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Lines that are printed; the report has all.
const LINES: usize = 24;

/// A refusal, as often as it happened. Its words are ours but for the program's name.
#[derive(Debug, Clone, Serialize)]
pub struct Denial {
    /// The call with its arguments in words: `unshare(CLONE_NEWUSER)`.
    pub call: String,
    /// Its number; `null`: several.
    pub number: Option<u32>,
    /// The program, a path inside or a thread's name; `null`: nobody could tell.
    pub program: Option<String>,
    /// How often.
    pub count: u64,
    /// The errno that it got.
    pub errno: u16,
    /// The rule behind it, and what would let it pass.
    #[serde(flatten)]
    pub by: policy::Denial,
}

/// A refusal as it is printed: from a run that has just ended, or read from a report.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// As [`Denial::call`].
    pub call: &'a str,
    /// As [`Denial::program`].
    pub program: Option<&'a str>,
    /// As [`Denial::count`].
    pub count: u64,
    /// As [`Denial::errno`].
    pub errno: u16,
    /// The rule, as written.
    pub rule: &'a str,
    /// Where it stands.
    pub origin: &'a str,
    /// Its reason.
    pub why: &'a str,
    /// What would let it pass, in lines.
    pub cure: &'a [String],
}

/// Prints what was refused on standard error.
pub fn denials(denials: &[Denial]) {
    let origins: Vec<String> = denials.iter().map(|d| d.by.origin.to_string()).collect();
    let all = denials.iter().zip(&origins).map(|(denial, origin)| By {
        call: &denial.call,
        program: denial.program.as_deref(),
        count: denial.count,
        errno: denial.errno,
        rule: &denial.by.rule,
        origin,
        why: &denial.by.why,
        cure: &denial.by.cure,
    });
    let all: Vec<By<'_>> = all.collect();
    if !all.is_empty() {
        stderr(&denial_lines(
            "lazaret: ",
            &all,
            Screen::stderr().columns,
            LINES,
        ));
    }
}

/// A line for each, behind `head`; where there are more than `most`, one of each system call first.
pub fn denial_lines(head: &str, denials: &[By<'_>], columns: Option<usize>, most: usize) -> String {
    let width = columns.unwrap_or(usize::MAX);
    let mut seen = HashSet::new();
    let first = |by: &By<'_>| {
        by.call
            .split(['(', ','])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let (firsts, rest): (Vec<usize>, Vec<usize>) =
        (0..denials.len()).partition(|at| seen.insert(first(&denials[*at])));
    let mut chosen: Vec<usize> = firsts.into_iter().chain(rest).take(most).collect();
    chosen.sort_unstable();
    let mut out = String::new();
    for by in chosen.iter().filter_map(|at| denials.get(*at)) {
        let (text, code) = line(by);
        let _infallible = writeln!(out, "{head}{}", wrap(&text, width, head.len(), 2));
        for line in code {
            out.push_str(&clean(line));
            out.push('\n');
        }
    }
    let more = denials.len() - chosen.len();
    if more > 0 {
        let left = denials
            .iter()
            .enumerate()
            .filter(|(at, _)| !chosen.contains(at));
        let times = left.fold(0u64, |sum, (_, by)| sum.saturating_add(by.count));
        let text =
            format!("denied: {more} more, {times} calls together; --report FILE has them all");
        let _infallible = writeln!(out, "{head}{}", wrap(&text, width, head.len(), 2));
    }
    out
}

/// The line, and the lines of a policy that follow it as they are.
fn line<'a>(by: &By<'a>) -> (String, &'a [String]) {
    let program = match by.program {
        Some(program) => policy::shown(program),
        None => "somebody".to_owned(),
    };
    let times = match by.count {
        1 => String::new(),
        n => format!(", {n} times"),
    };
    let errno = nix::errno::Errno::from_raw(i32::from(by.errno));
    let (cure, code) = match by.cure {
        [] => ("no policy allows this".to_owned(), &[][..]),
        [only] => (format!("cure: {only}"), &[][..]),
        [first, code @ ..] => (format!("cure: {first}"), code),
    };
    let text = format!(
        "denied: {} by {program}{times}: {errno:?} of {} ({}), {}; {cure}",
        by.call, by.rule, by.origin, by.why
    );
    (clean(&text).into_owned(), code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(call: &str) -> By<'_> {
        By {
            call,
            program: None,
            count: 2,
            errno: 1,
            rule: "syscalls = \"default\"",
            origin: "strict.toml:31 (built in)",
            why: "why",
            cure: &[],
        }
    }

    #[test]
    fn a_program_words_nothing_but_its_name() {
        let hostile = By {
            program: Some("/bin/x\u{1b}[2J\n, 1 times: EPERM of \u{202e}"),
            ..by("bpf(...)")
        };
        let text = denial_lines("lazaret: ", &[hostile], Some(80), LINES);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(text.contains("by \"/bin/x\\u{1b}[2J\\n,"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn each_call_has_a_line_before_any_has_two() {
        let calls: Vec<String> = (0..40).map(|n| format!("unshare({n})")).collect();
        let mut all: Vec<By<'_>> = calls.iter().map(|call| by(call)).collect();
        all.push(by("bpf(...)"));
        let text = denial_lines("lazaret: ", &all, None, LINES);
        assert_eq!(text.lines().count(), LINES + 1);
        assert!(text.contains("bpf(...)"), "{text}");
        assert!(text.contains("17 more, 34 calls"), "{text}");
    }

    #[test]
    fn a_cure_of_several_lines_follows_as_it_is() {
        let cure = ["to allow it, add to x".to_owned(), "[[allow]]".to_owned()];
        let cured = By {
            cure: &cure,
            ..by("chroot(...)")
        };
        let text = denial_lines("lazaret: ", &[cured], None, LINES);
        assert!(
            text.ends_with("cure: to allow it, add to x\n[[allow]]\n"),
            "{text}"
        );
    }
}
