//! docker's `--format '{{.Field}}'`: the part of Go's text/template that people use with it.
//!
//! Fields (`.A.B`, `$.A`), strings, numbers, pipelines, parentheses, `range`, `if`, `else`, `end`,
//! trim marks and the functions in [`function`]. Everything else is refused by name. Data is a
//! [`serde_json::Value`]; a field that is not there is an error that names the ones that are.

use super::clean::{clean, json};
use crate::error::{Error, Kind, Result};
use serde_json::Value;

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Node>);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Show(Pipeline),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    If(Pipeline, Vec<Node>, Vec<Node>),
}

/// Commands, each fed with the one before it.
type Pipeline = Vec<Vec<Operand>>;

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Field(Vec<String>),
    Root(Vec<String>),
    Literal(Value),
    Function(String),
    Group(Pipeline),
}

/// A template cut into what stands outside `{{` and `}}` and what stands inside.
enum Piece {
    Text(String),
    Action(String),
}

impl Template {
    /// Parses `text`.
    ///
    /// # Errors
    /// `Usage`: not a template, or one that uses what is not built.
    pub fn parse(text: &str) -> Result<Self> {
        let mut pieces = cut(text)?.into_iter();
        let (nodes, end) = parse(&mut pieces, 0)?;
        match end {
            Stop::Input => Ok(Self(nodes)),
            Stop::Else | Stop::End => Err(wrong("an {{end}} or {{else}} without its beginning")),
        }
    }

    /// Fills the template with `data`.
    ///
    /// # Errors
    /// `Usage`: a field that is not there, a function that does not fit its arguments.
    pub fn render(&self, data: &Value) -> Result<String> {
        let mut out = String::new();
        Eval { root: data }.nodes(&self.0, data, &mut out)?;
        Ok(out)
    }

    /// As [`Self::render`] over the headers of a `table` template, where a function has no meaning.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_headers(&self, headers: &Value) -> Result<String> {
        let mut out = String::new();
        for node in &self.0 {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Show(pipeline) => {
                    let fields = pipeline.iter().flatten().find_map(|operand| match operand {
                        Operand::Field(path) => Some(path),
                        _ => None,
                    });
                    if let Some(path) = fields {
                        out.push_str(&show(&lookup(headers, path)?));
                    }
                }
                Node::Range(..) | Node::If(..) => {
                    return Err(wrong("a table template has fields and functions only"));
                }
            }
        }
        Ok(out)
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Kind::Usage, format!("--format: {}", what.into()))
}

fn cut(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let open = rest.find("{{");
        let mut plain = &rest[..open.unwrap_or(rest.len())];
        if trim_next {
            plain = plain.trim_start();
        }
        let Some(open) = open else {
            pieces.push(Piece::Text(plain.to_owned()));
            return Ok(pieces);
        };
        let mut inside = &rest[open + 2..];
        if let Some(trimmed) = inside.strip_prefix("- ") {
            plain = plain.trim_end();
            inside = trimmed;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.to_owned()));
        }
        let close = close_of(inside).ok_or_else(|| wrong("{{ without }}"))?;
        let action = &inside[..close];
        rest = &inside[close + 2..];
        trim_next = action.ends_with(" -");
        let action = action.strip_suffix(" -").unwrap_or(action).trim();
        if !action.starts_with("/*") {
            pieces.push(Piece::Action(action.to_owned()));
        }
    }
}

/// Where the `}}` stands that is not inside a string.
fn close_of(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

enum Stop {
    Input,
    Else,
    End,
}

/// Templates nest this deep, so that parsing one cannot exhaust the stack.
const DEPTH: usize = 32;

fn parse(pieces: &mut std::vec::IntoIter<Piece>, depth: usize) -> Result<(Vec<Node>, Stop)> {
    if depth > DEPTH {
        return Err(wrong("nested too deeply"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, rest) = action.split_once(' ').unwrap_or((&action, ""));
        match word {
            "end" => return Ok((nodes, Stop::End)),
            "else" if rest.is_empty() => return Ok((nodes, Stop::Else)),
            "range" | "if" => {
                let range = word == "range";
                let pipeline = pipeline(rest)?;
                let (body, end) = parse(pieces, depth + 1)?;
                let otherwise = match end {
                    Stop::Else => match parse(pieces, depth + 1)? {
                        (nodes, Stop::End) => nodes,
                        _ => return Err(wrong(format!("{{{{{word}}}}} without {{{{end}}}}"))),
                    },
                    Stop::End => Vec::new(),
                    Stop::Input => {
                        return Err(wrong(format!("{{{{{word}}}}} without {{{{end}}}}")));
                    }
                };
                nodes.push(if range {
                    Node::Range(pipeline, body, otherwise)
                } else {
                    Node::If(pipeline, body, otherwise)
                });
            }
            "with" | "define" | "template" | "block" | "break" | "continue" | "else" => {
                return Err(wrong(format!("{{{{{action}}}}} is not built yet")));
            }
            _ => nodes.push(Node::Show(pipeline(&action)?)),
        }
    }
    Ok((nodes, Stop::Input))
}

/// Parses the inside of an action.
fn pipeline(text: &str) -> Result<Pipeline> {
    let mut chars = text.chars().peekable();
    let pipeline = group(&mut chars, text, 0)?;
    if chars.next().is_some() {
        return Err(wrong(format!("unexpected ) in {{{{{text}}}}}")));
    }
    Ok(pipeline)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Parses commands up to the end or to an unmatched `)`, which stays.
fn group(chars: &mut Chars<'_>, text: &str, depth: usize) -> Result<Pipeline> {
    if depth > DEPTH {
        return Err(wrong("nested too deeply"));
    }
    let mut commands = vec![Vec::new()];
    while let Some(&c) = chars.peek() {
        let operand = match c {
            ' ' | '\t' | '\n' => {
                chars.next();
                continue;
            }
            ')' => break,
            '|' => {
                chars.next();
                commands.push(Vec::new());
                continue;
            }
            '(' => {
                chars.next();
                let inner = group(chars, text, depth + 1)?;
                if chars.next() != Some(')') {
                    return Err(wrong(format!("( without ) in {{{{{text}}}}}")));
                }
                Operand::Group(inner)
            }
            '"' | '`' => Operand::Literal(Value::String(string(chars, text)?)),
            '.' => Operand::Field(path(&word(chars))),
            '$' => {
                let name = word(chars);
                if name != "$" && !name.starts_with("$.") {
                    return Err(wrong(format!("variables ({name}) are not built yet")));
                }
                Operand::Root(path(&name[1..]))
            }
            _ => {
                let name = word(chars);
                if name == "true" || name == "false" {
                    Operand::Literal(Value::Bool(name == "true"))
                } else if let Ok(number) = name.parse::<i64>() {
                    Operand::Literal(Value::from(number))
                } else if FUNCTIONS.contains(&name.as_str()) {
                    Operand::Function(name)
                } else {
                    return Err(wrong(format!("function {name:?} is not built yet"))
                        .hint(format!("there are: {}", FUNCTIONS.join(" "))));
                }
            }
        };
        if let Some(command) = commands.last_mut() {
            command.push(operand);
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err(wrong(format!("{{{{{text}}}}} lacks a value")));
    }
    Ok(commands)
}

fn word(chars: &mut Chars<'_>) -> String {
    let mut out = String::new();
    while let Some(&c) = chars.peek() {
        if matches!(c, ' ' | '\t' | '\n' | '|' | '(' | ')') {
            break;
        }
        out.push(c);
        chars.next();
    }
    out
}

fn path(word: &str) -> Vec<String> {
    word.split('.')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn string(chars: &mut Chars<'_>, text: &str) -> Result<String> {
    let quote = chars.next();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == quote => return Ok(out),
            '\\' if quote == Some('"') => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err(wrong(format!("a string without its end in {{{{{text}}}}}")))
}

struct Eval<'a> {
    root: &'a Value,
}

impl Eval<'_> {
    fn nodes(&self, nodes: &[Node], dot: &Value, out: &mut String) -> Result<()> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Show(p) => out.push_str(&show(&self.pipeline(p, dot)?)),
                Node::If(p, yes, no) => {
                    let nodes = if truth(&self.pipeline(p, dot)?) {
                        yes
                    } else {
                        no
                    };
                    self.nodes(nodes, dot, out)?;
                }
                Node::Range(p, body, no) => {
                    let items: Vec<Value> = match self.pipeline(p, dot)? {
                        Value::Array(items) => items,
                        Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
                        Value::Null => Vec::new(),
                        other => return Err(wrong(format!("cannot range over {}", show(&other)))),
                    };
                    if items.is_empty() {
                        self.nodes(no, dot, out)?;
                    }
                    for item in &items {
                        self.nodes(body, item, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn pipeline(&self, commands: &Pipeline, dot: &Value) -> Result<Value> {
        let mut piped = None;
        for command in commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or(Value::Null))
    }

    fn command(&self, operands: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value> {
        match operands.split_first() {
            Some((Operand::Function(name), rest)) => {
                let mut arguments = Vec::with_capacity(rest.len() + 1);
                for operand in rest {
                    arguments.push(self.operand(operand, dot)?);
                }
                arguments.extend(piped);
                function(name, &arguments)
            }
            Some((only, [])) if piped.is_none() => self.operand(only, dot),
            _ => Err(wrong("a value that is not a function takes no arguments")),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value> {
        match operand {
            Operand::Field(path) => lookup(dot, path),
            Operand::Root(path) => lookup(self.root, path),
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Group(commands) => self.pipeline(commands, dot),
            Operand::Function(name) => function(name, &[]),
        }
    }
}

fn lookup(value: &Value, path: &[String]) -> Result<Value> {
    let mut at = value;
    for name in path {
        at = match at {
            Value::Object(map) => map.get(name).ok_or_else(|| {
                let names: Vec<_> = map.keys().map(String::as_str).collect();
                wrong(format!("there is no field {name:?}"))
                    .hint(format!("there are: {}", clean(&names.join(" "))))
            })?,
            other => {
                return Err(wrong(format!(
                    "{} has no field {name:?}",
                    clean(&show(other))
                )));
            }
        };
    }
    Ok(at.clone())
}

const FUNCTIONS: [&str; 15] = [
    "json", "join", "split", "upper", "lower", "title", "truncate", "len", "index", "print",
    "println", "eq", "ne", "not", "pad",
];

/// docker's own template functions, and Go's where they make sense here.
fn function(name: &str, arguments: &[Value]) -> Result<Value> {
    let text = |f: &dyn Fn(&str) -> String, v: &Value| Ok(Value::String(f(&show(v))));
    match (name, arguments) {
        ("json", [v]) => Ok(Value::String(json(v))),
        ("upper", [v]) => text(&str::to_uppercase, v),
        ("lower", [v]) => text(&str::to_lowercase, v),
        ("title", [v]) => text(
            &|s| {
                let mut chars = s.chars();
                chars.next().map_or_else(String::new, |first| {
                    first.to_uppercase().chain(chars).collect()
                })
            },
            v,
        ),
        ("truncate", [v, Value::Number(n)]) => {
            let length = n
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0);
            text(&|s| s.chars().take(length).collect(), v)
        }
        ("pad", [v, Value::Number(before), Value::Number(after)]) => {
            let spaces = |n: &serde_json::Number| {
                let count = n.as_u64().unwrap_or(0).min(1000);
                " ".repeat(usize::try_from(count).unwrap_or(0))
            };
            text(&|s| format!("{}{s}{}", spaces(before), spaces(after)), v)
        }
        ("split", [v, Value::String(separator)]) => Ok(show(v)
            .split(separator.as_str())
            .map(|part| Value::String(part.to_owned()))
            .collect()),
        ("join", [Value::Array(items), Value::String(separator)]) => Ok(Value::String(
            items.iter().map(show).collect::<Vec<_>>().join(separator),
        )),
        ("join", [Value::Null, Value::String(_)]) => Ok(Value::String(String::new())),
        ("len", [Value::Array(items)]) => Ok(items.len().into()),
        ("len", [Value::Object(map)]) => Ok(map.len().into()),
        ("len", [Value::String(s)]) => Ok(s.len().into()),
        ("len", [Value::Null]) => Ok(0.into()),
        ("index", [value, keys @ ..]) if !keys.is_empty() => index(value, keys),
        ("print", values) => Ok(Value::String(
            values.iter().map(show).collect::<Vec<_>>().concat(),
        )),
        ("println", values) => Ok(Value::String(format!(
            "{}\n",
            values.iter().map(show).collect::<Vec<_>>().join(" ")
        ))),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => Ok(rest.contains(first).into()),
        ("ne", [a, b]) => Ok((a != b).into()),
        ("not", [v]) => Ok((!truth(v)).into()),
        _ => Err(wrong(format!(
            "{name} does not take {} argument(s) of this sort",
            arguments.len()
        ))),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value> {
    let mut at = value;
    for key in keys {
        let next = match (at, key) {
            (Value::Array(items), Value::Number(n)) => {
                let found = n.as_u64().and_then(|n| items.get(usize::try_from(n).ok()?));
                found.ok_or_else(|| {
                    wrong(format!(
                        "index {n} of a list of {} is out of range",
                        items.len()
                    ))
                })?
            }
            // As in Go, a key that is not in a map is its empty value.
            (Value::Object(map), Value::String(name)) => map.get(name).unwrap_or(&Value::Null),
            (Value::Null, _) => &Value::Null,
            _ => {
                return Err(wrong(
                    "index needs a list and a number, or a map and a string",
                ));
            }
        };
        at = next;
    }
    Ok(at.clone())
}

/// What Go takes for true: not false, not zero, not empty.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// A value as Go prints it: `[a b]`, `map[k:v]`, strings bare.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(s) => s.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<_> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", show(v)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> String {
        let data = json!({
            "Id": "abc", "Size": 7, "Tags": ["x:1", "y:2"], "None": null, "On": true,
            "Config": {"Env": ["A=1", "B=2"], "Labels": {"k": "v w"}},
        });
        match Template::parse(template).and_then(|t| t.render(&data)) {
            Ok(text) => text,
            Err(e) => format!("ERR {}", e.cause),
        }
    }

    #[test]
    fn what_people_write() {
        for (template, text) in [
            ("{{.Id}} is {{ .Size }}", "abc is 7"),
            ("{{json .Tags}}", r#"["x:1","y:2"]"#),
            ("{{.Tags}}", "[x:1 y:2]"),
            ("{{.Config.Labels}}", "map[k:v w]"),
            ("{{index .Tags 0}}", "x:1"),
            ("{{index .Config.Labels \"k\"}}", "v w"),
            ("{{index .Config.Labels \"absent\"}}", "<no value>"),
            ("{{range .Tags}}<{{.}}>{{end}}", "<x:1><y:2>"),
            ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
            ("{{range .None}}x{{else}}none{{end}}", "none"),
            ("{{if .On}}yes{{else}}no{{end}}", "yes"),
            ("{{if eq .Id \"abc\"}}same{{end}}", "same"),
            ("{{join .Tags \", \"}}", "x:1, y:2"),
            ("{{.Id | upper | json}}", "\"ABC\""),
            ("{{json (index .Tags 1)}}", "\"y:2\""),
            ("{{range .Tags}}{{$.Id}} {{end}}", "abc abc "),
            ("a {{- .Id -}} b", "aabcb"),
            ("{{/* nothing */}}x", "x"),
            ("{{\"}}\"}}", "}}"),
            ("{{len .Tags}}{{title .Id}}{{truncate .Id 2}}", "2Abcab"),
        ] {
            assert_eq!(render(template), text, "{template}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (template, text) in [
            ("{{.Nope}}", "ERR --format: there is no field \"Nope\""),
            ("{{.Id.X}}", "ERR --format: abc has no field \"X\""),
            ("{{.Id", "ERR --format: {{ without }}"),
            ("{{if .On}}x", "ERR --format: {{if}} without {{end}}"),
            (
                "x{{end}}",
                "ERR --format: an {{end}} or {{else}} without its beginning",
            ),
            (
                "{{frob .Id}}",
                "ERR --format: function \"frob\" is not built yet",
            ),
            (
                "{{with .Id}}x{{end}}",
                "ERR --format: {{with .Id}} is not built yet",
            ),
            (
                "{{index .Tags 7}}",
                "ERR --format: index 7 of a list of 2 is out of range",
            ),
            ("{{}}", "ERR --format: {{}} lacks a value"),
            ("{{(.Id}}", "ERR --format: ( without ) in {{(.Id}}"),
            ("{{.Id)}}", "ERR --format: unexpected ) in {{.Id)}}"),
        ] {
            assert_eq!(render(template), text, "{template}");
        }
        let deep = format!("{{{{{}.Id{}}}}}", "(".repeat(9999), ")".repeat(9999));
        assert_eq!(render(&deep), "ERR --format: nested too deeply");
        assert!(render(&"{{if .On}}".repeat(9999)).contains("nested too deeply"));
    }
}
