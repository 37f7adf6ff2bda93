//! The answer to `why`: a screen of it, or JSON.

use super::clean::{clean, json_pretty};
use super::error::no_cure;
use super::wrap::wrap;
use crate::policy::{Origin, Reason};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Lines stay below this, terminal or not.
const NARROW: usize = 60;
/// Where what follows a label begins.
const INDENT: usize = 10;

/// What a cell may, may not, or holds of what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The question as it was written.
    pub question: String,
    /// `syscall`, `capability`, `path`, `host_path`, `network` or `socket`.
    pub kind: &'static str,
    /// The image; `None`: one that no rule names.
    pub image: Option<String>,
    /// Whether it is so as things stand.
    pub allowed: bool,
    /// The answer, behind yes or no.
    pub answer: String,
    /// The rule, flag or step that decides, as written.
    pub rule: String,
    /// Where that stands.
    pub origin: Origin,
    /// Its reason.
    pub why: String,
    /// What is to be known beside, each with its label: `set`, `needs`, `host`. In JSON every label has
    /// a list.
    pub facts: Vec<(&'static str, String)>,
    /// The narrowest change that would allow it, in lines; empty: none does; `None`: none is needed.
    pub cure: Option<Vec<String>>,
}

impl Answer {
    /// Takes over what a refusal says; its cure is followed by `flag`, which asks for it.
    pub fn refused(&mut self, reason: &Reason, flag: &str) {
        self.rule = reason.rule.clone();
        self.origin = reason.origin.clone();
        self.why = reason.why.clone();
        let mut cure = reason.cure.clone();
        // A cure of one line says what to do instead.
        if cure.len() > 1 && !flag.is_empty() {
            // Other ways may follow the rule.
            let rule = cure.iter().rposition(|line| line.starts_with("reason = "));
            let at = rule.map_or(cure.len(), |at| at + 1);
            cure.insert(at, format!("and run with {flag}"));
        }
        self.cure = Some(cure);
    }

    /// One line `yes:` or `no:`, then what decides, and what would change it.
    pub fn text(&self) -> String {
        let yes = if self.allowed { "yes: " } else { "no: " };
        // Writing to a String cannot fail.
        let mut out = format!(
            "{yes}{}\n",
            wrap(&clean(&self.answer), NARROW, yes.len(), INDENT)
        );
        let mut line = |label: &str, text: &str| {
            let _infallible = writeln!(
                out,
                "  {label:<7} {}",
                wrap(&clean(text), NARROW, INDENT, INDENT)
            );
        };
        line(
            "image",
            match &self.image {
                Some(image) => image,
                None => "one that no rule names; --in IMAGE: that one",
            },
        );
        if !self.rule.is_empty() {
            line("rule", &self.rule);
        }
        let place = if self.rule.is_empty() { "rule" } else { "" };
        line(place, &self.origin.to_string());
        if !self.why.is_empty() {
            line("why", &self.why);
        }
        for (label, text) in &self.facts {
            line(label, text);
        }
        match self.cure.as_deref() {
            None => {}
            Some([]) => {
                let none = match self.kind {
                    "syscall" => "no policy allows this".to_owned(),
                    _ => no_cure(&self.origin),
                };
                line("cure", &none);
            }
            Some([only]) => line("cure", only),
            // Lines of a policy are to be copied.
            Some(lines) => {
                out.push_str("cure: ");
                for line in lines {
                    out.push_str(&clean(line));
                    out.push('\n');
                }
            }
        }
        out
    }

    /// The same as a JSON document; `cure` is `null` where none is needed and empty where none is.
    pub fn json(&self) -> String {
        let mut facts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (label, text) in &self.facts {
            facts.entry(label).or_default().push(text);
        }
        let value = serde_json::json!({
            "question": self.question,
            "kind": self.kind,
            "image": self.image,
            "allowed": self.allowed,
            "answer": self.answer,
            "rule": self.rule,
            "origin": self.origin,
            "why": self.why,
            "facts": facts,
            "cure": self.cure,
        });
        json_pretty(&value) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            question: "x\u{1b}[2J".to_owned(),
            kind: "syscall",
            image: None,
            allowed: false,
            answer: "socket(AF_PACKET, ...) answers EAFNOSUPPORT".to_owned(),
            rule: "give syscalls = \"default\"".to_owned(),
            origin: Origin::Rule {
                file: "strict.toml".to_owned(),
                line: 31,
                builtin: true,
            },
            why: "local sockets, tcp, udp and icmp, and asking for routes".to_owned(),
            facts: vec![("set", "syscalls/default.toml:178 (built in)".to_owned())],
            cure: Some(Vec::new()),
        }
    }

    #[test]
    fn the_first_line_answers() {
        insta::assert_snapshot!(answer().text(), @r#"
        no: socket(AF_PACKET, ...) answers EAFNOSUPPORT
          image   one that no rule names; --in IMAGE: that one
          rule    give syscalls = "default"
                  strict.toml:31 (built in)
          why     local sockets, tcp, udp and icmp, and asking for
                  routes
          set     syscalls/default.toml:178 (built in)
          cure    no policy allows this
        "#);
    }

    #[test]
    fn lines_of_a_policy_can_be_copied_and_no_word_moves_the_cursor() {
        let mut hostile = answer();
        hostile.image = Some("a\u{1b}[2J".to_owned());
        hostile.why.push('\u{202e}');
        hostile.cure = Some(vec!["add".to_owned(), "[[allow]]\u{9b}".to_owned()]);
        let text = hostile.text();
        assert!(text.contains("\ncure: add\n[[allow]]"), "{text}");
        for text in [text, hostile.json()] {
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_followed_by_the_flag_that_asks() {
        let mut answer = answer();
        let mut reason = Reason {
            asked: String::new(),
            rule: "r".to_owned(),
            origin: Origin::Flag("-v"),
            why: "w".to_owned(),
            cure: vec!["a".to_owned(), "b".to_owned()],
        };
        answer.refused(&reason, "--cap-add X");
        assert_eq!(
            answer.cure.as_ref().unwrap().last().unwrap(),
            "and run with --cap-add X"
        );
        for cure in [vec![], vec!["only the administrator".to_owned()]] {
            reason.cure = cure.clone();
            answer.refused(&reason, "--cap-add X");
            assert_eq!(answer.cure, Some(cure));
        }
    }
}
