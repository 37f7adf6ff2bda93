//! `man`: manual pages. Those of verbs are made of clap's own table, so that no page can fall behind
//! the flags, and no checked-in copy has to be kept; lazaret(1)'s end and lazaret-policy(5) are
//! written by hand.

use super::args::{Cli, ManArgs};
use crate::error::{Context as _, Error, Kind, Result};
use crate::report;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::path::Path;

const MANUAL: &str = "lazaret manual";
/// A page has a date, and no two builds of one version may differ.
const DATE: &str = "2026-11-26";
/// What lazaret(1) says beyond its verbs.
const ENDING: &str = include_str!("man/lazaret.1.end");
const POLICY: &str = include_str!("man/lazaret-policy.5");

/// A page: its file's name (`lazaret-run.1`) and its text in man(7).
struct Page {
    file: String,
    text: Vec<u8>,
}

/// Prints a page, or writes all of them below a folder, where `man -M` finds them.
///
/// # Errors
/// `Usage`: there is no such page; `Io`: a file cannot be written.
pub fn man(args: &ManArgs) -> Result<u8> {
    let pages = pages()?;
    if let Some(folder) = &args.dir {
        return write(folder, &pages);
    }
    let wanted = match &args.page[..] {
        [] => "lazaret".to_owned(),
        words => words.join("-"),
    };
    let wanted = wanted.strip_prefix("lazaret-").unwrap_or(&wanted);
    let named = |page: &&Page| {
        let file = page.file.strip_prefix("lazaret-").unwrap_or(&page.file);
        file == wanted || file.strip_suffix(".1") == Some(wanted)
    };
    let Some(page) = pages.iter().find(named) else {
        let known: Vec<_> = pages.iter().map(|p| &p.file[..]).collect();
        let cause = format!("there is no page {wanted:?}");
        return Err(Error::new(Kind::Usage, cause).hint(format!("there are: {}", known.join(" "))));
    };
    report::stdout(&String::from_utf8_lossy(&page.text))?;
    Ok(0)
}

/// DIR/man1 and DIR/man5.
fn write(folder: &Path, pages: &[Page]) -> Result<u8> {
    for page in pages {
        let section = page.file.rsplit('.').next().unwrap_or_default();
        let at = folder.join(format!("man{section}"));
        std::fs::create_dir_all(&at).or_call(|| format!("mkdir {}", at.display()))?;
        let file = at.join(&page.file);
        std::fs::write(&file, &page.text).or_call(|| format!("write {}", file.display()))?;
    }
    Ok(0)
}

fn pages() -> Result<Vec<Page>> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let mut pages = Vec::new();
    of(&cli, &mut pages)?;
    pages.push(Page {
        file: "lazaret-policy.5".to_owned(),
        text: POLICY.as_bytes().to_vec(),
    });
    Ok(pages)
}

/// The page of a verb, and of each below it.
fn of(verb: &Command, pages: &mut Vec<Page>) -> Result<()> {
    let name = verb.get_display_name().unwrap_or_else(|| verb.get_name());
    let man = Man::new(verb.clone())
        .title(name.to_uppercase())
        .manual(MANUAL)
        .date(DATE)
        .source(concat!("lazaret ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render(&mut text)
        .or_call(|| format!("write the page {name}"))?;
    match name {
        "lazaret" => text.extend(ENDING.as_bytes()),
        _ => text.extend(b".SH \"SEE ALSO\"\n.BR lazaret (1),\n.BR lazaret\\-policy (5)\n"),
    }
    pages.push(Page {
        file: format!("{name}.1"),
        text,
    });
    for below in verb.get_subcommands().filter(|v| !v.is_hide_set()) {
        of(below, pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        let pages = pages().unwrap();
        let has = |file: &str| pages.iter().any(|p| p.file == file);
        let mut cli = Cli::command();
        cli.build();
        for verb in cli.get_subcommands() {
            assert!(
                has(&format!("lazaret-{}.1", verb.get_name())),
                "{}",
                verb.get_name()
            );
        }
        for file in [
            "lazaret.1",
            "lazaret-image-prune.1",
            "lazaret-policy.1",
            "lazaret-policy.5",
        ] {
            assert!(has(file), "{file}");
        }
        let run = pages.iter().find(|p| p.file == "lazaret-run.1").unwrap();
        let text = String::from_utf8_lossy(&run.text);
        assert!(text.contains("\\-\\-read\\-only"), "{text}");
        assert!(text.contains("IMAGE [COMMAND] [ARG...]"), "{text}");
    }
}
