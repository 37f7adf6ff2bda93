//! What others worded, made fit for a terminal.

use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

/// `text` with every character that moves a cursor, reorders or hides text replaced by U+FFFD:
/// C0 and C1 controls, bidirectional and other invisible format characters, line separators.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .map(|c| {
                if is_unsafe(c) {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect(),
    )
}

/// As [`clean`], for text whose line feeds and tabs are our own.
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    let is_hostile = |c: char| is_unsafe(c) && c != '\n' && c != '\t';
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let replace = |c| {
        if is_hostile(c) {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    Cow::Owned(text.chars().map(replace).collect())
}

/// A character that a terminal obeys instead of showing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `value` as JSON on one line, with the characters that [`clean`] replaces written as `\uXXXX`,
/// so that nothing is lost and nothing reaches a terminal.
pub fn json(value: &Value) -> String {
    escape(value.to_string())
}

/// As [`json`], indented by four spaces as docker does it.
pub fn json_pretty(value: &Value) -> String {
    // The alternate form of serde_json indents by two and cannot fail on a `Value`.
    let text = format!("{value:#}");
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start_matches(' ');
        for _ in 0..line.len() - bare.len() {
            out.push_str("  ");
        }
        out.push_str(bare);
    }
    escape(out)
}

/// As [`json_pretty`], of a typed value, whose members stay in the order of its type.
///
/// # Errors
/// What the type's own serialization says.
pub fn json_pretty_of(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::with_capacity(16 << 10);
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes,
        Indented {
            pretty: PrettyFormatter::with_indent(STEP),
            depth: 0,
        },
    ))?;
    let text = String::from_utf8(bytes).map_err(serde::de::Error::custom)?;
    Ok(escape(text))
}

/// One step of indentation.
const STEP: &[u8] = b"    ";

/// serde_json's own indentation, which writes text that is JSON already, so indented, to where it stands.
struct Indented {
    pretty: PrettyFormatter<'static>,
    depth: usize,
}

impl Formatter for Indented {
    fn begin_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.pretty.begin_array(out)
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        self.pretty.end_array(out)
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.pretty.begin_array_value(out, first)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(out)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.pretty.begin_object(out)
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        self.pretty.end_object(out)
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.pretty.begin_object_key(out, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(out)
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(out)
    }

    fn write_raw_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut lines = fragment.split('\n');
        out.write_all(lines.next().unwrap_or_default().as_bytes())?;
        lines.try_for_each(|line| {
            out.write_all(b"\n")?;
            (0..self.depth).try_for_each(|_| out.write_all(STEP))?;
            out.write_all(line.as_bytes())
        })
    }
}

/// Unsafe characters of a JSON text stand only inside its strings, except for line feeds, which
/// serde_json never leaves raw inside one.
fn escape(json: String) -> String {
    // Nearly all is plain, and told so many bytes at once.
    let plain = |b: &u8| matches!(b, b' '..=b'~' | b'\n');
    if json
        .as_bytes()
        .chunks(64)
        .all(|part| part.iter().fold(true, |all, b| all & plain(b)))
    {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_replaced() {
        assert_eq!(clean("plain ünïcode 名"), "plain ünïcode 名");
        assert_eq!(
            clean("a\x1b[31m\u{9b}2J\u{202e}\r\nb\u{7f}"),
            "a\u{fffd}[31m\u{fffd}2J\u{fffd}\u{fffd}\u{fffd}b\u{fffd}"
        );
    }

    #[test]
    fn json_that_is_there_already_stands_as_if_it_were_written() {
        let inner = serde_json::json!({"a": [1, {}, [], {"b": "x\ny"}], "c": {}});
        let ready = json_pretty_of(&inner).unwrap();
        let raw = serde_json::value::RawValue::from_string(ready.clone()).unwrap();
        let mut expected = Vec::new();
        let four = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut expected, four);
        serde::Serialize::serialize(&vec![("k", Some(&inner))], &mut serializer).unwrap();
        let expected = String::from_utf8(expected).unwrap();
        assert_eq!(
            json_pretty_of(&vec![("k", Some(&inner))]).unwrap(),
            expected
        );
        assert_eq!(json_pretty_of(&vec![("k", Some(&raw))]).unwrap(), expected);
    }

    #[test]
    fn json_keeps_the_value_and_shows_no_control() {
        let value = serde_json::json!({"a": "x\x1b\u{9b}\u{202e}\u{e0041}\ny"});
        let text = json_pretty(&value);
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.contains("\n    \"a\""), "{text}");
    }
}
