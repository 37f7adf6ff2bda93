//! Files of registries.d (containers-registries.d(5)): whether containers' programs would look for
//! signatures at all, and where.

use super::super::words;
use crate::error::{Error, Kind, Result};
use crate::image::quote::plain;
use saphyr_parser::{Event, Parser};
use std::collections::BTreeMap;

/// The largest file, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting; an honest file has 3.
const MAX_DEPTH: usize = 16;

/// The files of a registries.d, put together.
#[derive(Debug, Default)]
pub struct Registries {
    default: Option<Section>,
    docker: BTreeMap<String, Section>,
    /// What is not known, a line each.
    pub(super) notes: Vec<String>,
}

/// What is said of a scope.
#[derive(Debug, Default)]
struct Section {
    attachments: Option<bool>,
    lookaside: bool,
}

impl Registries {
    /// Reads files by their names and bytes, in this order.
    ///
    /// # Errors
    /// `Malformed`, `Limit`: not such a file, or a scope is spoken of twice.
    pub fn parse(files: &[(String, Vec<u8>)]) -> Result<Self> {
        let mut all = Self::default();
        for (file, bytes) in files {
            let bad = |why: String| Error::new(Kind::Malformed, format!("{file}: {why}"));
            let node = read(bytes).map_err(|e| e.context(file))?;
            for (key, value) in node.mapping().map_err(bad)? {
                match key.as_str() {
                    "default-docker" => {
                        let section = all.section(file, "default-docker", value).map_err(bad)?;
                        if all.default.replace(section).is_some() {
                            return Err(bad("default-docker is in another file too".to_owned()));
                        }
                    }
                    "docker" => {
                        for (scope, value) in value.mapping().map_err(bad)? {
                            let section = all.section(file, scope, value).map_err(bad)?;
                            if all.docker.insert(scope.clone(), section).is_some() {
                                let scope = words::shown(scope);
                                return Err(bad(format!("{scope} is in another file too")));
                            }
                        }
                    }
                    other => all.unknown(file, other),
                }
            }
        }
        Ok(all)
    }

    fn unknown(&mut self, file: &str, key: &str) {
        let key = words::shown(key);
        self.notes.push(format!("{file}: {key} says nothing here"));
    }

    fn section(
        &mut self,
        file: &str,
        scope: &str,
        node: &Node,
    ) -> std::result::Result<Section, String> {
        let mut section = Section::default();
        for (key, value) in node.mapping()? {
            match key.as_str() {
                "use-sigstore-attachments" => {
                    section.attachments = Some(value.truth().ok_or_else(|| {
                        let scope = words::shown(scope);
                        format!("{scope}: use-sigstore-attachments is true or false")
                    })?);
                }
                // Their names of before containers/image 5.22.
                "lookaside" | "lookaside-staging" | "sigstore" | "sigstore-staging" => {
                    section.lookaside = true;
                    let scope = words::shown(scope);
                    self.notes.push(format!(
                        "{file}: {key} of {scope} is not used: signatures are looked for beside the \
                         image, in its registry"
                    ));
                }
                other => self.unknown(file, other),
            }
        }
        Ok(section)
    }

    /// Whether containers' programs would look for sigstore's signatures of what a scope of docker's
    /// is about: what the nearest section says that says anything.
    pub(super) fn attachments(&self, scope: &str) -> bool {
        let says = |scope: &str| self.docker.get(scope)?.attachments;
        around(scope)
            .iter()
            .find_map(|scope| says(scope))
            .or_else(|| self.default.as_ref()?.attachments)
            .unwrap_or(false)
    }
}

/// A scope and those around it, the nearest first.
fn around(scope: &str) -> Vec<String> {
    let mut all = vec![scope.to_owned()];
    let at = scope.rfind('/').map_or(0, |at| at + 1);
    let end = scope.get(at..).and_then(|last| last.find(['@', ':']));
    let mut name = match end {
        Some(end) if at > 0 => scope.get(..at + end).unwrap_or_default(),
        _ => scope,
    };
    loop {
        all.push(name.to_owned());
        match name.rsplit_once('/') {
            Some((before, _)) => name = before,
            None => break,
        }
    }
    let mut host = name.split(':').next().unwrap_or_default();
    while let Some((_, rest)) = host.split_once('.') {
        all.push(format!("*.{rest}"));
        host = rest;
    }
    all
}

/// YAML without what makes two readers disagree or one work without end: aliases, tags, keys that are
/// no text or stand twice.
#[derive(Debug)]
enum Node {
    Text(String),
    List,
    Mapping(Vec<(String, Node)>),
}

impl Node {
    fn mapping(&self) -> std::result::Result<&[(String, Node)], String> {
        match self {
            Self::Mapping(all) => Ok(all),
            // A key with nothing behind it.
            Self::Text(text) if matches!(text.as_str(), "" | "~" | "null") => Ok(&[]),
            _ => Err("what should be a mapping is not".to_owned()),
        }
    }

    /// As containers' reader takes it (yaml.v3, for a field that is a truth).
    fn truth(&self) -> Option<bool> {
        let Self::Text(text) = self else { return None };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        }
    }
}

/// What is open while events are read.
enum Open {
    List,
    Mapping(Vec<(String, Node)>, Option<String>),
}

fn read(bytes: &[u8]) -> Result<Node> {
    let bad = |why: &str| Error::new(Kind::Malformed, why.to_owned());
    if bytes.len() > MAX_BYTES {
        let cause = format!("{} bytes, more than {MAX_BYTES}", bytes.len());
        return Err(Error::new(Kind::Limit, cause));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is no text"))?;
    let mut open: Vec<Open> = Vec::new();
    let mut whole: Option<Node> = None;
    for event in Parser::new_from_str(text) {
        let (event, at) = event.map_err(|e| bad(&plain(&e.to_string())))?;
        let line = at.start.line();
        let bad = |why: &str| bad(&format!("line {line}: {why}"));
        let node = match event {
            Event::Alias(_) => return Err(bad("aliases are not read")),
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return Err(bad("tags are not read")),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                let cause = format!("line {line}: nested deeper than {MAX_DEPTH}");
                return Err(Error::new(Kind::Limit, cause));
            }
            Event::DocumentStart(_) if whole.is_some() => return Err(bad("a second document")),
            Event::SequenceStart(..) => {
                open.push(Open::List);
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Vec::new(), None));
                continue;
            }
            Event::Scalar(text, ..) => Node::Text(text.into_owned()),
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::Mapping(all, _)) => Node::Mapping(all),
                _ => Node::List,
            },
            _ => continue,
        };
        match (open.last_mut(), node) {
            (None, node) => whole = Some(node),
            (Some(Open::List), _) => {}
            (Some(Open::Mapping(all, key @ None)), Node::Text(text)) => {
                if all.iter().any(|(known, _)| *known == text) {
                    return Err(bad(&format!("{} stands twice", words::shown(&text))));
                }
                *key = Some(text);
            }
            (Some(Open::Mapping(_, None)), _) => return Err(bad("a key is no text")),
            (Some(Open::Mapping(all, key)), node) => {
                all.push((key.take().unwrap_or_default(), node));
            }
        }
    }
    Ok(whole.unwrap_or(Node::Mapping(Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Registries> {
        let files = texts.iter().enumerate();
        let files: Vec<_> = files
            .map(|(at, text)| (format!("{at}.yaml"), text.as_bytes().to_vec()))
            .collect();
        Registries::parse(&files)
    }

    #[test]
    fn the_nearest_word_counts() {
        let all = parse(&[
            "# c\ndefault-docker:\n  use-sigstore-attachments: true\n",
            "docker:\n  a.example:\n    use-sigstore-attachments: false\n    lookaside: https://x\n  \
             a.example/b/c:\n    use-sigstore-attachments: yes\n  a.example/b:\n    lookaside: file:///x\n  \
             '*.lab.example': {use-sigstore-attachments: off}\n",
        ])
        .unwrap();
        for (scope, wanted) in [
            ("", true),
            ("b.example", true),
            ("a.example", false),
            ("a.example/b", false),
            ("a.example/b/c", true),
            ("a.example/b/c/d:1", true),
            ("a.example/b/c:1", true),
            ("a.example/b/cc", false),
            ("x.y.lab.example:5000/z", false),
        ] {
            assert_eq!(all.attachments(scope), wanted, "{scope}");
        }
        assert_eq!(all.notes.len(), 2, "{:?}", all.notes);
        assert!(!parse(&[""]).unwrap().attachments("a.example"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        let deepest = "[".repeat(100_000);
        let bomb = "a: &a [x,x]\nb: &b [*a,*a]\n";
        for (texts, why) in [
            (vec!["docker: {}\ndocker: {}"], "stands twice"),
            (
                vec!["docker: {a.b: {}}", "docker: {a.b: {}}"],
                "another file",
            ),
            (
                vec!["default-docker: {}", "default-docker: {}"],
                "another file",
            ),
            (vec![bomb], "aliases"),
            (vec![deep.as_str()], "nested deeper"),
            (vec![deepest.as_str()], "recursion limit"),
            (vec!["- a"], "mapping"),
            (vec!["docker: [a]"], "mapping"),
            (vec!["docker: !x {}"], "tags"),
            (vec!["? [a]\n: b"], "no text"),
            (vec!["{}\n---\n{}"], "second document"),
            (
                vec!["default-docker: {use-sigstore-attachments: maybe}"],
                "true or false",
            ),
            (vec!["a: [b"], "line"),
        ] {
            let cause = parse(&texts).unwrap_err().to_string();
            assert!(cause.contains(why), "{why}: {cause}");
        }
    }
}
