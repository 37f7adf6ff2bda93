//! `signed = ...`: who must have signed. Keys and trust roots stand in files beside the policy, whose
//! bytes come with it ([`super::Beside`]): nothing is opened here.

use super::reader::{Reader, Value};
use super::{Beside, Parsed};
use crate::policy::signed::{Attested, KINDS, MAX_SIGNERS, Names, Need, Signed, Signer};
use crate::policy::words;
use crate::trust::{Key, Root};
use std::ops::Range;
use std::rc::Rc;
use toml::de::{DeTable, DeValue};

const HINT: &str = "signed = [\"lab.pub\"], or { issuer = \"https://...\", identity = \"...\" } in \
                    the place of a key; { all_of = [...] } and { at_least = 2, of = [...] } want more \
                    than one";

/// The keys of a table that says how many of a list.
const NEEDS: [&str; 4] = ["any_of", "all_of", "at_least", "of"];

/// How a key begins that stands in the policy itself.
const PEM: &str = "-----BEGIN";

impl Reader<'_> {
    /// `attested = { slsa = [...] }`: who must have attested what.
    pub(super) fn attested(&mut self, parsed: &mut Parsed, value: &Value<'_>) -> Vec<Attested> {
        let hint = "attested = { slsa = [\"ci.pub\"], spdx = [\"ci.pub\"] }; beside slsa, spdx and \
                    cyclonedx there are predicate types in full: \"https://...\"";
        let Some(table) = value.get_ref().as_table() else {
            self.problem(&value.span(), "attested is no table", hint);
            return Vec::new();
        };
        let mut all = Vec::new();
        for (key, value) in table {
            let kind = key.get_ref().as_ref();
            let short = KINDS.iter().any(|(name, _)| *name == kind);
            // in-toto's are URIs.
            if !short && !kind.contains(':') {
                let cause = format!("no attestation is called {}", words::toml(kind));
                self.problem(&key.span(), cause, hint);
                continue;
            }
            let line = self.line(&value.span());
            if let Some(signed) = self.signed(parsed, value) {
                all.push(Attested {
                    kind: kind.to_owned(),
                    signed,
                    line,
                });
            }
        }
        all
    }

    /// A list of signers, or a table that says how many of one.
    pub(super) fn signed(&mut self, parsed: &mut Parsed, value: &Value<'_>) -> Option<Rc<Signed>> {
        let span = value.span();
        let (need, list) = match value.get_ref() {
            DeValue::Table(table) if is_need(table) => self.need(table, &span)?,
            _ => (Need::Any, value),
        };
        let items: Vec<&Value<'_>> = match list.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            DeValue::String(_) | DeValue::Table(_) => vec![list],
            _ => {
                self.problem(&span, "these are no signers", HINT);
                return None;
            }
        };
        if items.len() > MAX_SIGNERS {
            let cause = format!("{} signers, more than {MAX_SIGNERS}", items.len());
            self.problem(&span, cause, "");
            return None;
        }
        let mut of: Vec<Signer> = Vec::new();
        let mut whole = true;
        for item in items {
            let Some(signer) = self.signer(parsed, item) else {
                whole = false;
                continue;
            };
            if of.iter().any(|other| other.same(&signer)) {
                let cause = "the same signer twice: one signature would count as two";
                self.problem(&item.span(), cause, "leave one of them out");
                whole = false;
            }
            of.push(signer);
        }
        if !whole {
            return None;
        }
        let least = match need {
            Need::AtLeast(count) => count,
            _ => 1,
        };
        if !(1..=of.len()).contains(&least) {
            let cause = match of.len() {
                0 => "nobody is named, so nothing would come in".to_owned(),
                count => format!("at_least = {least} of {count} signers"),
            };
            self.problem(&span, cause, HINT);
            return None;
        }
        let names = Names::Any;
        Some(Rc::new(Signed { need, of, names }))
    }

    /// `names = "exact"`: what a signature must name.
    pub(super) fn names(&mut self, value: &Value<'_>) -> Option<Names> {
        match self.string(value, "names")?.as_str() {
            "repository" => Some(Names::Repository),
            "exact" => Some(Names::Exact),
            other => {
                let cause = format!("names = {} means nothing", words::toml(other));
                let hint = "names is \"repository\" or \"exact\"; without it a signature may name \
                            nothing";
                self.problem(&value.span(), cause, hint);
                None
            }
        }
    }

    /// How many of which list.
    fn need<'v, 'i>(
        &mut self,
        table: &'v DeTable<'i>,
        span: &Range<usize>,
    ) -> Option<(Need, &'v Value<'i>)> {
        let (mut lists, mut least) = (Vec::new(), None);
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            match word {
                "any_of" => lists.push((Some(Need::Any), value)),
                "all_of" => lists.push((Some(Need::All), value)),
                "of" => lists.push((None, value)),
                "at_least" => {
                    let count = self.number(value, word)?;
                    least = Some(Need::AtLeast(usize::try_from(count).unwrap_or(usize::MAX)));
                }
                other => {
                    self.unknown(&key.span(), other, "signed", &NEEDS);
                    return None;
                }
            }
        }
        match (lists.as_slice(), least) {
            ([(Some(need), list)], None) => Some((*need, list)),
            ([(None, list)], Some(least)) => Some((least, list)),
            _ => {
                let cause =
                    "there is any_of, or all_of, or at_least with of, and one of them alone";
                self.problem(span, cause, HINT);
                None
            }
        }
    }

    fn signer(&mut self, parsed: &mut Parsed, value: &Value<'_>) -> Option<Signer> {
        let span = value.span();
        let table = match value.get_ref() {
            DeValue::String(text) => return self.key(parsed, &span, text),
            DeValue::Table(table) => table,
            _ => {
                self.problem(&span, "this is no signer", HINT);
                return None;
            }
        };
        const KNOWN: [&str; 4] = ["key", "issuer", "identity", "root"];
        let mut found: [Option<(String, Range<usize>)>; 4] = [None, None, None, None];
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            let Some(at) = KNOWN.iter().position(|known| *known == word) else {
                self.unknown(&key.span(), word, "a signer", &KNOWN);
                return None;
            };
            found[at] = Some((self.string(value, word)?, value.span()));
        }
        match found {
            [Some((key, span)), None, None, None] => self.key(parsed, &span, &key),
            [None, Some(issuer), Some(identity), root] => {
                self.identity(parsed, issuer, identity, root)
            }
            _ => {
                let cause = "a signer is a key, or an identity with its issuer";
                self.problem(&span, cause, HINT);
                None
            }
        }
    }

    fn key(&mut self, parsed: &mut Parsed, span: &Range<usize>, text: &str) -> Option<Signer> {
        if text.trim_start().starts_with(PEM) {
            let name = format!("{}:{}", self.name, self.line(span));
            return self.read_key(span, &name, text.as_bytes(), text.to_owned());
        }
        let path = self.path(parsed, span, text, "key")?;
        match self.beside(&path) {
            None => Some(Signer::Unread { path }),
            Some(bytes) => self.read_key(span, &path.clone(), bytes, path),
        }
    }

    fn read_key(
        &mut self,
        span: &Range<usize>,
        name: &str,
        bytes: &[u8],
        text: String,
    ) -> Option<Signer> {
        match Key::from_pem(name, bytes) {
            Ok(key) => Some(Signer::Key {
                text,
                key: Rc::new(key),
            }),
            Err(error) => {
                self.problem_of(
                    error.kind,
                    span,
                    error.cause,
                    error.hint.unwrap_or_default(),
                );
                None
            }
        }
    }

    fn identity(
        &mut self,
        parsed: &mut Parsed,
        (issuer, issuer_span): (String, Range<usize>),
        (identity, identity_span): (String, Range<usize>),
        root: Option<(String, Range<usize>)>,
    ) -> Option<Signer> {
        for (what, text, span) in [
            ("issuer", &issuer, &issuer_span),
            ("identity", &identity, &identity_span),
        ] {
            // Stars and what is in every address and every URI.
            let says = text.trim_start_matches("https://");
            if says.bytes().all(|b| b"*@/:.".contains(&b)) {
                let cause = format!("{what} = {} is anybody", words::toml(text));
                let hint = "identity = \"ana@lab.example\", \"*@lab.example\" or \
                            \"https://github.com/lab/repo/.github/workflows/*\"";
                self.problem(span, cause, hint);
                return None;
            }
        }
        let (path, root) = match root {
            None => (None, Some(Rc::new(Root::public()))),
            Some((text, span)) => {
                let path = self.path(parsed, &span, &text, "root")?;
                let root = match self.beside(&path) {
                    None => None,
                    Some(bytes) => match Root::parse(&path, bytes) {
                        Ok(root) => Some(Rc::new(root)),
                        Err(error) => {
                            let hint = error.hint.unwrap_or_default();
                            self.problem_of(error.kind, &span, error.cause, hint);
                            return None;
                        }
                    },
                };
                (Some(path), root)
            }
        };
        Some(match (root, path) {
            (None, path) => Signer::Unread {
                path: path.unwrap_or_default(),
            },
            (Some(root), path) => Signer::Identity {
                issuer,
                identity,
                path,
                root,
            },
        })
    }

    /// The absolute path of a file that a rule names, which is wanted from now on.
    fn path(
        &mut self,
        parsed: &mut Parsed,
        span: &Range<usize>,
        text: &str,
        what: &str,
    ) -> Option<String> {
        let relative = text.strip_prefix('/').unwrap_or(text);
        if !relative
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
        {
            let cause = format!("{what} = {} is no path", words::toml(text));
            let hint = "a path is absolute, or begins in the folder of this file; it has no part \
                        that is empty, . or ..";
            self.problem(span, cause, hint);
            return None;
        }
        let path = match (text.starts_with('/'), self.name.rsplit_once('/')) {
            (false, Some((folder, _))) => format!("{folder}/{text}"),
            _ => text.to_owned(),
        };
        parsed.beside.push(Beside {
            path: path.clone(),
            line: self.line(span),
            file: Rc::clone(&self.name),
        });
        Some(path)
    }
}

/// Whether a table says how many of a list, and is no signer itself.
fn is_need(table: &DeTable<'_>) -> bool {
    NEEDS.iter().any(|word| table.contains_key(*word))
}
