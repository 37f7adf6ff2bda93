//! Progress of long verbs, on standard error: lines that are redrawn on a terminal, plain lines
//! once per change elsewhere.

use super::clean::clean;
use super::out::{Screen, stderr};
use super::units::human_size;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// The lines of one verb, one per layer or file.
#[derive(Debug)]
pub struct Progress {
    screen: Screen,
    quiet: bool,
    lines: Vec<(String, String)>,
    drawn: Option<Instant>,
    /// What was put is newer than what was drawn.
    behind: bool,
    /// How many lines the cursor stands below the first one that is drawn.
    up: usize,
}

/// A terminal is redrawn at most this often.
const PACE: Duration = Duration::from_millis(80);

impl Progress {
    /// Progress on standard error; `quiet` prints none.
    pub fn new(quiet: bool) -> Self {
        Self {
            screen: Screen::stderr(),
            quiet,
            lines: Vec::new(),
            drawn: None,
            behind: false,
            up: 0,
        }
    }

    /// `id` (a layer's short id, a file's name) is now in `state`: `Unpacking`, `Already exists`.
    pub fn state(&mut self, id: &str, state: &str) {
        if self.quiet {
            return;
        }
        let changed = self.put(id, state.to_owned());
        if self.screen.columns.is_some() {
            self.draw();
        } else if changed {
            stderr(&format!("{}: {}\n", clean(id), clean(state)));
        }
    }

    /// `id` has come to `done` bytes of `total` (0: nobody knows). Terminals only.
    pub fn bytes(&mut self, id: &str, state: &str, done: u64, total: u64) {
        let Some(columns) = self.screen.columns else {
            return;
        };
        if self.quiet {
            return;
        }
        self.behind |= self.put(id, format!("{state} {}", bar(done, total, columns)));
        self.tick();
    }

    /// Whether something is not drawn yet because it came too soon after the last: then
    /// [`Progress::tick`] is due.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Draws what is not drawn yet, if it is time to.
    pub fn tick(&mut self) {
        if self.behind && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PACE) {
            self.draw();
        }
    }

    fn put(&mut self, id: &str, text: String) -> bool {
        match self.lines.iter_mut().find(|(known, _)| known == id) {
            Some((_, old)) if *old == text => false,
            Some((_, old)) => {
                *old = text;
                true
            }
            None => {
                self.lines.push((id.to_owned(), text));
                true
            }
        }
    }

    fn draw(&mut self) {
        let columns = self.screen.columns.unwrap_or(80);
        // The cursor stands below the last line, and what has left the screen is out of reach.
        let shown = self.lines.len().min(self.screen.rows - 1);
        let mut out = String::new();
        if self.up > 0 {
            // Writing to a String cannot fail.
            let _infallible = write!(out, "\x1b[{}A", self.up);
        }
        for (id, text) in &self.lines[self.lines.len() - shown..] {
            let line: String = clean(&format!("{id}: {text}"))
                .chars()
                .take(columns - 1)
                .collect();
            let _infallible = write!(out, "\r{line}\x1b[K\n");
        }
        stderr(&out);
        (self.up, self.behind) = (shown, false);
        self.drawn = Some(Instant::now());
    }
}

fn bar(done: u64, total: u64, columns: usize) -> String {
    if total == 0 {
        return human_size(done);
    }
    let width = columns.saturating_sub(48).min(40);
    let share = (u128::from(done.min(total)) * width as u128) / u128::from(total);
    let filled = usize::try_from(share).unwrap_or(0);
    format!(
        "[{}>{}] {}/{}",
        "=".repeat(filled),
        " ".repeat(width - filled),
        human_size(done),
        human_size(total)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(bar(5, 10, 58), "[=====>     ] 5B/10B");
        assert_eq!(bar(11, 10, 58), "[==========>] 11B/10B");
        assert_eq!(bar(1000, 0, 58), "1kB");
        assert_eq!(bar(1, 2, 20), "[>] 1B/2B");
    }
}
