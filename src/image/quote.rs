//! Words of a stranger, made fit for a terminal. Everything that an image's author controls goes
//! through here before it stands in an error: an escape sequence in a tag is an attack.

#![forbid(unsafe_code)]

/// Characters of a stranger's string that are shown before `…`.
const SHOWN: usize = 100;

/// Characters of a parser's message that are shown; it quotes the document.
const MESSAGE: usize = 240;

/// `text` in double quotes; control, format and unassigned characters (terminal escapes, bidi
/// overrides) are escaped as Rust escapes them, and the length is capped.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// `text` without quotes, as [`quoted`] otherwise: for parsers' messages that quote the document.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(MESSAGE) {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(MESSAGE).is_some() {
        out.push('…');
    }
    out
}

/// The strings, quoted and separated by commas; at most `most`, then how many more there are.
pub fn listed<'a>(texts: impl Iterator<Item = &'a str>, most: usize) -> String {
    let all: Vec<&str> = texts.collect();
    let shown: Vec<String> = all.iter().take(most).map(|text| quoted(text)).collect();
    match all.len().checked_sub(most) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\x1b]0;owned\x07\u{202e}b\n\0\u{9b}31m";

    fn is_harmless(text: &str) -> bool {
        text.chars().all(|c| !c.is_control() && c != '\u{202e}')
    }

    #[test]
    fn escapes_and_overrides_do_not_reach_the_terminal() {
        assert!(!is_harmless(HOSTILE));
        assert!(is_harmless(&quoted(HOSTILE)));
        assert!(is_harmless(&plain(HOSTILE)));
        assert!(is_harmless(&listed([HOSTILE].into_iter(), 3)));
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(plain("a \"b\" c"), "a \"b\" c");
    }

    #[test]
    fn length_is_capped_in_characters() {
        let long = "é".repeat(5000);
        assert_eq!(quoted(&long).chars().count(), SHOWN + 3);
        assert_eq!(plain(&long).chars().count(), MESSAGE + 1);
        assert_eq!(quoted(&"x".repeat(SHOWN)).len(), SHOWN + 2);
    }

    #[test]
    fn lists_say_how_many_are_left_out() {
        assert_eq!(
            listed(["a", "b", "c"].into_iter(), 2),
            "\"a\", \"b\" and 1 more"
        );
        assert_eq!(listed(["a", "b"].into_iter(), 2), "\"a\", \"b\"");
    }
}
