//! A level out of its file and the profiles that it extends.

use super::compose::{Composed, Level, Sources, Wanted, WantedFile, Whose};
use super::parse::{self, Day, Parsed, PolicyFile, Problem};
use super::shipped::{self, NEVER, TOOL};
use super::words;
use crate::error::{Error, Kind, Result};

/// A level from its file and what that extends, or what must be read first.
pub(super) fn level(
    whose: Whose,
    file: Option<&PolicyFile<'_>>,
    sources: &Sources<'_>,
) -> Result<std::result::Result<Level, Composed>> {
    let mut rules = match file {
        Some(file) => read(file, sources)?,
        None => Parsed::default(),
    };
    let flag = sources.profile.filter(|_| whose == Whose::User);
    let first = match (flag, file) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Some(_)) => rules.extends.take(),
        (None, None) => Some("strict".to_owned()),
    };
    let name = file.map_or(sources.user_file, |file| file.name);
    let mut next = Some(first.ok_or_else(|| extends_nothing(name, whose))?);
    let mut chain = vec![match flag {
        Some(_) => "--profile".to_owned(),
        None => name.to_owned(),
    }];
    while let Some(base) = next.take() {
        let said_by = chain.last().map_or(name, String::as_str).to_owned();
        if chain.contains(&base) {
            let circle = format!("{} -> {}", chain.join(" -> "), words::shown(&base));
            return Err(Error::new(
                Kind::Malformed,
                format!("policy {name}: it extends itself: {circle}"),
            )
            .hint("one of them must extend \"strict\" or nothing"));
        }
        let mut found = match shipped::named(&base) {
            Some(shipped) if shipped.name == NEVER.name && !narrows(whose) => {
                return Err(no_profile(&said_by, &base)
                    .hint("never is a ceiling and gives nothing: extends = \"strict\""));
            }
            Some(shipped) if shipped.name == "strict" => {
                let mut rules = shipped.rules()?;
                // It speaks of tools alone, whom `strict` says nothing of.
                rules.extend(TOOL.rules()?);
                rules
            }
            Some(shipped) => shipped.rules()?,
            None if whose == Whose::Project => {
                return Err(no_profile(&said_by, &base)
                    .hint("a project extends \"never\" to only take away, or what is built in"));
            }
            None => {
                let wanted = Wanted {
                    system: whose == Whose::System,
                    name: base.clone(),
                    said_by: said_by.clone(),
                };
                if !is_name(&base) {
                    return Err(no_profile(&said_by, &base).hint(there_are()));
                }
                match sources.profiles.iter().find(|(name, _)| *name == wanted) {
                    Some((_, file)) => read(file, sources)?,
                    None => return Ok(Err(Composed::Needs(wanted))),
                }
            }
        };
        next = found.extends.take();
        for _ in 1..chain.len() {
            for head in found.heads_mut() {
                head.depth = head.depth.saturating_add(1);
            }
        }
        rules.extend(found);
        chain.push(base);
    }
    // Its first word is who extends the others.
    chain.remove(0);
    if let Some(wanted) = unread(whose, &rules, sources)? {
        return Ok(Err(Composed::NeedsFile(wanted)));
    }
    Ok(Ok(Level {
        whose,
        file: name.into(),
        extends: chain,
        rules,
    }))
}

/// A file that rules name and that has not been read yet.
fn unread(whose: Whose, rules: &Parsed, sources: &Sources<'_>) -> Result<Option<WantedFile>> {
    for named in &rules.beside {
        // What its reader trusted was the text alone.
        if whose == Whose::Project {
            let place = format!("{}:{}", named.file, named.line);
            let cause = format!("policy {place}: a project's keys stand in its policy itself");
            return Err(Error::new(Kind::Malformed, cause).hint(
                "key = \"\"\"-----BEGIN PUBLIC KEY-----...\"\"\": who trusts the file trusts them",
            ));
        }
        if !sources.beside.iter().any(|(path, _)| *path == named.path) {
            return Ok(Some(WantedFile {
                system: whose == Whose::System,
                path: named.path.clone(),
                said_by: format!("{}:{}", named.file, named.line),
            }));
        }
    }
    Ok(None)
}

/// Whether a level may only take away.
fn narrows(whose: Whose) -> bool {
    matches!(whose, Whose::System | Whose::Project)
}

/// Whether a word can be a profile's name, and so part of a path.
fn is_name(word: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    (1..=64).contains(&word.len()) && word.bytes().all(letters)
}

/// Every problem of a file, in the order of their places; none: it is understood. The files that its
/// rules name are not looked at.
pub fn problems(file: &PolicyFile<'_>, today: Day) -> Vec<Problem> {
    parse::parse(file, today, &[]).err().unwrap_or_default()
}

fn read(file: &PolicyFile<'_>, sources: &Sources<'_>) -> Result<Parsed> {
    parse::parse(file, sources.today, sources.beside)
        .map_err(|problems| parse::error(file.name, &problems))
}

fn there_are() -> String {
    let names: Vec<&str> = shipped::ALL.iter().map(|s| s.name).collect();
    format!(
        "built in are {}; others are files: profiles/NAME.toml beside the policy",
        names.join(", ")
    )
}

fn no_profile(said_by: &str, name: &str) -> Error {
    Error::new(
        Kind::NotFound,
        match said_by {
            "--profile" => format!("--profile: there is no profile {}", words::toml(name)),
            file => format!("policy {file}: there is no profile {}", words::toml(name)),
        },
    )
}

impl WantedFile {
    /// The error of a file that was looked for and is not there.
    pub fn not_there(&self) -> Error {
        let (place, path) = (&self.said_by, words::shown(&self.path));
        Error::new(
            Kind::NotFound,
            format!("policy {place}: there is no file {path}"),
        )
        .hint("a path is absolute, or begins in the folder of the policy")
    }
}

impl Wanted {
    /// The error of a profile that was looked for and is not there.
    pub fn not_there(&self) -> Error {
        let names: Vec<&str> = shipped::ALL.iter().map(|s| s.name).collect();
        no_profile(&self.said_by, &self.name).hint(match parse::nearest(&self.name, &names) {
            Some(near) => format!("did you mean {near}?"),
            None => there_are(),
        })
    }
}

fn extends_nothing(name: &str, whose: Whose) -> Error {
    Error::new(
        Kind::Malformed,
        format!("policy {name} does not say what it extends"),
    )
    .hint(match whose {
        Whose::User => "add a line: extends = \"strict\"",
        _ => {
            "extends = \"never\" to only take away; extends = \"strict\" where nothing more than \
             that may be had"
        }
    })
}
