//! Errors, refusals and downgrades, in a person's words and in a program's.

use super::Format;
use super::clean::{clean, json};
use super::out::{Screen, stderr};
use super::wrap::wrap;
use crate::error::Error;
use crate::policy::{Downgrade, Origin, Reason};
use std::fmt::Write as _;

/// A refusal's lines stay below this, terminal or not: it is read in logs and issues too.
const NARROW: usize = 60;

/// Prints `error` on standard error: `lazaret: <action>: <cause>`, its details, `hint: ...`; with
/// `Format::Json` one object with the same fields and the exit code.
pub fn error(error: &Error, format: Format) {
    match format {
        Format::Json => stderr(&as_json(error)),
        Format::Text => stderr(&as_text(error, Screen::stderr())),
    }
}

/// Prints the one line that says that a promise is held by less than the best mechanism.
pub fn warning(downgrade: &Downgrade) {
    let text = format!(
        "weaker here: \"{}\": {} (see lazaret doctor)",
        clean(&downgrade.property),
        clean(&downgrade.instead)
    );
    stderr(&line(&text, Screen::stderr()));
}

/// Prints a line that is good to know before a command runs.
pub fn note(text: &str) {
    stderr(&line(&format!("note: {}", clean(text)), Screen::stderr()));
}

/// One line of ours, as wide as the terminal; of any width elsewhere.
fn line(text: &str, screen: Screen) -> String {
    let width = screen.columns.unwrap_or(usize::MAX);
    format!("lazaret: {}\n", wrap(text, width, "lazaret: ".len(), 2))
}

fn as_json(error: &Error) -> String {
    let value = serde_json::json!({
        "action": error.action,
        "kind": error.kind,
        "cause": error.cause,
        "hint": error.hint,
        "errno": error.errno,
        "detail": error.detail,
        "reasons": error.reasons,
        "exit_code": error.exit_code(),
    });
    json(&value) + "\n"
}

fn as_text(error: &Error, screen: Screen) -> String {
    let width = screen.columns.unwrap_or(usize::MAX);
    let mut head = String::new();
    for part in error.action.iter().chain([&error.cause]) {
        head.push_str(": ");
        head.push_str(&clean(part));
    }
    let mut out = format!(
        "{}{}\n",
        paint("lazaret", "1;31", screen),
        wrap(&head, width, "lazaret".len(), 2)
    );
    let hint = paint("hint:", "1;36", screen);
    if error.reasons.is_empty() {
        for line in &error.detail {
            out.push_str(&clean(line));
            out.push('\n');
        }
    }
    for reason in &error.reasons {
        out.push_str(&refusal(reason, &hint));
    }
    if let Some(text) = &error.hint {
        let mut lines = text.lines();
        let first = clean(lines.next().unwrap_or_default());
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{hint} {}", wrap(&first, width, 6, 6));
        for line in lines {
            out.push_str(&clean(line));
            out.push('\n');
        }
    }
    out
}

/// POLICY.md, "A refusal". Rules and cures are code and are not wrapped.
fn refusal(reason: &Reason, hint: &str) -> String {
    // Columns that somebody set out stay, as long as they fit.
    let why = |text: &str| match clean(text) {
        text if text.chars().count() <= NARROW - 10 => text.into_owned(),
        text => wrap(&text, NARROW, 10, 10),
    };
    let mut out = format!(
        "  asked   {}\n  rule    {}\n          {}\n  why     {}\n",
        why(&reason.asked),
        clean(&reason.rule),
        clean(&reason.origin.to_string()),
        why(&reason.why)
    );
    let mut cure = reason.cure.iter();
    if let Some(first) = cure.next() {
        let _infallible = writeln!(out, "{hint} {}", clean(first));
    }
    for line in cure {
        out.push_str(&clean(line));
        out.push('\n');
    }
    if reason.cure.is_empty() {
        let none = no_cure(&reason.origin);
        let _infallible = writeln!(out, "{hint} {}", wrap(&clean(&none), NARROW, 6, 6));
    }
    out
}

/// Who could not change it either.
pub(super) fn no_cure(origin: &Origin) -> String {
    match origin {
        Origin::Rule {
            file,
            builtin: true,
            ..
        } if file != "never.toml" => {
            format!("no rule of yours allows this: what {file} denies stays denied")
        }
        _ => "no policy allows this".to_owned(),
    }
}

fn paint(text: &str, code: &str, screen: Screen) -> String {
    if screen.colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::policy::Origin;

    const PIPE: Screen = Screen {
        columns: None,
        rows: 24,
        colour: false,
    };
    const NARROW_SCREEN: Screen = Screen {
        columns: Some(60),
        rows: 24,
        colour: false,
    };

    fn refused() -> Error {
        let mut error =
            Error::new(Kind::Policy, "refused by policy").action("run docker.io/library/redis:7");
        error.reasons.push(Reason {
            asked: "-v /home/ana/data:/data          (read-write)".to_owned(),
            rule: r#"allow mounts = ["./**:ro", "tmpfs"]"#.to_owned(),
            origin: Origin::Rule {
                file: "strict.toml".to_owned(),
                line: 29,
                builtin: true,
            },
            why: "the folder you stand in may be read; limits may be moved within reason"
                .to_owned(),
            cure: [
                "to allow it, add to /home/ana/.config/lazaret/policy.toml",
                "  [[allow]]",
                "  mounts = [\"/home/ana/data:rw\"]",
                "or read only: run from /home/ana with -v ./data:/data:ro",
            ]
            .map(str::to_owned)
            .to_vec(),
        });
        error
    }

    #[test]
    fn a_refusal_is_laid_out_as_the_policy_language_says() {
        insta::assert_snapshot!(as_text(&refused(), PIPE), @r#"
        lazaret: run docker.io/library/redis:7: refused by policy
          asked   -v /home/ana/data:/data          (read-write)
          rule    allow mounts = ["./**:ro", "tmpfs"]
                  strict.toml:29 (built in)
          why     the folder you stand in may be read; limits may be
                  moved within reason
        hint: to allow it, add to /home/ana/.config/lazaret/policy.toml
          [[allow]]
          mounts = ["/home/ana/data:rw"]
        or read only: run from /home/ana with -v ./data:/data:ro
        "#);
    }

    #[test]
    fn a_terminal_gets_lines_that_fit() {
        let error = Error::call(
            "openat2 \"/home/ana/.local/share/lazaret/version\"",
            libc::EACCES,
        )
        .action("images")
        .hint("the folder belongs to somebody else; set XDG_DATA_HOME to one of yours");
        insta::assert_snapshot!(as_text(&error, NARROW_SCREEN), @r#"
        lazaret: images: openat2
          "/home/ana/.local/share/lazaret/version": permission
          denied
        hint: the folder belongs to somebody else; set XDG_DATA_HOME
              to one of yours
        "#);
        assert_eq!(as_text(&error, PIPE).lines().count(), 2);
    }

    #[test]
    fn notes_fit_too() {
        let text = "weaker here: \"no process inside is the caller\": one id inside, which is the \
                    caller's (see lazaret doctor)";
        insta::assert_snapshot!(line(text, NARROW_SCREEN), @r#"
        lazaret: weaker here: "no process inside is the caller": one
          id inside, which is the caller's (see lazaret doctor)
        "#);
        assert_eq!(line(text, PIPE), format!("lazaret: {text}\n"));
    }

    #[test]
    fn colour_only_where_it_is_welcome() {
        let screen = Screen {
            columns: Some(80),
            rows: 24,
            colour: true,
        };
        let error = Error::new(Kind::Io, "x").hint("y");
        assert_eq!(
            as_text(&error, screen),
            "\x1b[1;31mlazaret\x1b[0m: x\n\x1b[1;36mhint:\x1b[0m y\n"
        );
        assert!(!as_text(&error, PIPE).contains('\x1b'));
    }

    #[test]
    fn nothing_that_others_word_moves_the_cursor() {
        let mut error = refused().action("run \x1b[2J").hint("a\x1bb\nc\x1bd");
        error.cause.push_str("\u{9b}31m\nlazaret: all is well");
        let reason = &mut error.reasons[0];
        for text in [
            &mut reason.asked,
            &mut reason.rule,
            &mut reason.why,
            &mut reason.cure[1],
        ] {
            text.push('\x1b');
        }
        for text in [as_text(&error, PIPE), as_json(&error)] {
            assert!(!text.contains(['\x1b', '\u{9b}']), "{text:?}");
            assert!(!text.contains("\nlazaret: all is well"), "{text:?}");
        }
    }

    #[test]
    fn json_has_the_same_fields() {
        let value: serde_json::Value = serde_json::from_str(&as_json(&refused())).unwrap();
        assert_eq!(value["kind"], "policy");
        assert_eq!(value["action"], "run docker.io/library/redis:7");
        assert_eq!(value["exit_code"], 125);
        assert_eq!(value["reasons"][0]["origin"]["rule"]["line"], 29);
        assert_eq!(value["reasons"][0]["cure"][1], "  [[allow]]");
    }
}
