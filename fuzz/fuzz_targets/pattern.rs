//! Patterns: what matches is what the obvious recursion says, in bounded time; what could lie below
//! a folder is never missed.
#![no_main]

use lazaret::policy::pattern::{matches, matches_below};
use libfuzzer_sys::fuzz_target;

/// The obvious recursion, for texts that are short enough for it.
fn slow(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|n| slow(rest, &text[n..])),
        [b'*', rest @ ..] => (0..=text.len())
            .take_while(|n| !text[..*n].contains(&b'/'))
            .any(|n| slow(rest, &text[n..])),
        [c, rest @ ..] => text.first() == Some(c) && slow(rest, &text[1..]),
    }
}

fuzz_target!(|words: (&str, &str, &str)| {
    let (pattern, text, rest) = words;
    let found = matches(pattern, text);
    if pattern.matches('*').count() <= 4 && text.len() <= 24 {
        let whole = slow(pattern.as_bytes(), text.as_bytes());
        let folder = pattern
            .strip_suffix("/**")
            .is_some_and(|folder| slow(folder.as_bytes(), text.as_bytes()));
        assert_eq!(found, whole || folder, "{pattern:?} {text:?}");
    }
    let below = format!("{text}/{rest}");
    if matches(pattern, &below) && !matches(pattern, text) {
        // `/x/**` is `/x` too, which the text then is not.
        let itself = pattern
            .strip_suffix("/**")
            .is_some_and(|p| matches(p, &below));
        assert!(
            matches_below(pattern, text) || itself,
            "{pattern:?} {text:?} {rest:?}"
        );
    }
});
