//! What the probe found: one line each, and how it is printed.

use crate::error::strerror;
use std::io::{self, Write};

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Verdict {
    /// Tried, and refused, absent or harmless.
    #[serde(rename = "contained")]
    Contained,
    /// Weaker than the best that lazaret does, for a reason that the detail names.
    #[serde(rename = "downgraded")]
    Downgraded,
    /// The default cell promises that this is closed, and it is not.
    #[serde(rename = "OPEN")]
    Open,
}

impl Verdict {
    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Contained => "contained",
            Self::Downgraded => "downgraded",
            Self::Open => "OPEN",
        }
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The heading that it stands under.
    pub group: &'static str,
    /// What was tried.
    pub check: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What happened, or what is lost and what would cure it. Printable characters only.
    pub detail: String,
}

/// The findings so far, and the group that new ones belong to.
#[derive(Debug, Default)]
pub struct Findings {
    group: &'static str,
    list: Vec<Finding>,
}

impl Findings {
    /// What follows belongs to `group`.
    pub fn group(&mut self, group: &'static str) {
        self.group = group;
    }

    /// Everything found, in order.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many lines say `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.list.iter().filter(|f| f.verdict == verdict).count()
    }

    /// Adds a line.
    pub fn add(&mut self, check: impl Into<String>, verdict: Verdict, detail: impl Into<String>) {
        self.list.push(Finding {
            group: self.group,
            check: printable(&check.into()),
            verdict,
            detail: printable(&detail.into()),
        });
    }

    /// Adds a line that is contained if `leaks` is empty, and else OPEN and names them.
    pub fn none_of(&mut self, check: &str, tried: impl Into<String>, leaks: &[String]) {
        if leaks.is_empty() {
            self.add(check, Verdict::Contained, tried);
        } else {
            self.add(check, Verdict::Open, shorten(leaks));
        }
    }

    /// As [`Findings::none_of`]; what was granted is a downgrade that `granted` names.
    pub fn none_of_but(
        &mut self,
        check: &str,
        tried: impl Into<String>,
        leaks: &[String],
        granted: Option<&str>,
    ) {
        match granted {
            Some(granted) if !leaks.is_empty() => {
                let detail = format!("{granted}: {}", shorten(leaks));
                self.add(check, Verdict::Downgraded, detail);
            }
            _ => self.none_of(check, tried, leaks),
        }
    }

    /// Adds a line that is contained if `holds`, and else OPEN.
    pub fn holds(&mut self, check: &str, holds: bool, detail: impl Into<String>) {
        let verdict = if holds {
            Verdict::Contained
        } else {
            Verdict::Open
        };
        self.add(check, verdict, detail);
    }

    /// Writes the table: at most 60 columns, a group after the other, details only where something
    /// is not contained.
    pub fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let mut group = "";
        for finding in &self.list {
            if finding.group != group {
                let gap = if group.is_empty() { "" } else { "\n" };
                group = finding.group;
                writeln!(out, "{gap}{group}")?;
            }
            let indent = " ".repeat(13);
            let mut lines = wrap(&finding.check, 47).into_iter();
            let first = lines.next().unwrap_or_default();
            writeln!(out, "  {:<10} {first}", finding.verdict.word())?;
            for line in lines {
                writeln!(out, "{indent}{line}")?;
            }
            if finding.verdict != Verdict::Contained {
                for line in wrap(&finding.detail, 45) {
                    writeln!(out, "{indent}  {line}")?;
                }
            }
        }
        writeln!(
            out,
            "\n{} contained, {} downgraded, {} OPEN",
            self.count(Verdict::Contained),
            self.count(Verdict::Downgraded),
            self.count(Verdict::Open)
        )
    }

    /// Writes one JSON object: `checks` and the three counts.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let value = serde_json::json!({
            "checks": self.list,
            "contained": self.count(Verdict::Contained),
            "downgraded": self.count(Verdict::Downgraded),
            "open": self.count(Verdict::Open),
        });
        serde_json::to_writer(&mut *out, &value).map_err(io::Error::from)?;
        writeln!(out)
    }
}

/// The first few of a list, and how many more.
pub fn shorten(items: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = items
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if items.len() > SHOWN {
        text.push_str(&format!(" and {} more", items.len() - SHOWN));
    }
    text
}

/// The name of an errno that the probe expects to meet, else the kernel's words.
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EACCES => "EACCES",
        libc::ENOSYS => "ENOSYS",
        libc::EINVAL => "EINVAL",
        libc::EFAULT => "EFAULT",
        libc::EBADF => "EBADF",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::ESOCKTNOSUPPORT => "ESOCKTNOSUPPORT",
        libc::EROFS => "EROFS",
        libc::ENODEV => "ENODEV",
        libc::ENXIO => "ENXIO",
        libc::EAGAIN => "EAGAIN",
        libc::ENOTTY => "ENOTTY",
        libc::ESRCH => "ESRCH",
        libc::EIO => "EIO",
        libc::ENOSPC => "ENOSPC",
        other => return strerror(other).into_owned(),
    };
    name.to_owned()
}

/// Control characters as escapes: the text may come from whoever is outside.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let plain = !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}');
            let escaped = (!plain).then(|| c.escape_default());
            plain
                .then_some(c)
                .into_iter()
                .chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// Breaks at spaces into lines of at most `width` characters; a longer word is cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let word: Vec<char> = word.chars().collect();
        for piece in word.chunks(width) {
            if used > 0 && used + 1 + piece.len() > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.extend(piece);
            used += piece.len();
        }
    }
    if used > 0 {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_readable_at_60_columns_and_shows_no_control_characters() {
        let mut findings = Findings::default();
        findings.group("files");
        findings.add("x".repeat(200), Verdict::Open, "y\u{1b}[31m ".repeat(90));
        findings.add("plain", Verdict::Contained, "hidden detail");
        findings.add("weak", Verdict::Downgraded, "because of it");
        let mut out = Vec::new();
        findings.write_table(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|l| l.chars().count() <= 60), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains("\\u{1b}[31m"), "{text}");
        assert!(!text.contains("hidden detail"));
        assert!(text.contains("because of it"));
        assert!(text.ends_with("1 contained, 1 downgraded, 1 OPEN\n"));
    }

    #[test]
    fn json_carries_every_detail() {
        let mut findings = Findings::default();
        findings.group("files");
        findings.add("a", Verdict::Contained, "EPERM");
        findings.none_of("b", "3 tried", &["/etc/shadow".to_owned()]);
        let mut out = Vec::new();
        findings.write_json(&mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["open"], 1);
        assert_eq!(value["checks"][0]["detail"], "EPERM");
        assert_eq!(value["checks"][1]["verdict"], "OPEN");
        assert_eq!(value["checks"][1]["detail"], "/etc/shadow");
    }

    #[test]
    fn long_lists_are_shortened_and_say_so() {
        let items: Vec<String> = (0..15).map(|n| n.to_string()).collect();
        assert!(shorten(&items).ends_with("11 and 3 more"));
    }
}
